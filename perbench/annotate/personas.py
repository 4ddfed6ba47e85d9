"""Reads personas to write questions about from a file, and draws some by a seed."""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perbench.data.jsonl import read_jsonl
from perbench.data.shape import faults
from perbench.data.spans import SENTENCES
from perbench.errors import PerbenchError, Problem, SpecError
from perbench.text.sentences import split_sentences

COLUMNS = ("user 1 personas", "user 2 personas")
"""Columns of Synthetic-Persona-Chat: a persona per cell, a sentence per line."""


@dataclass(frozen=True)
class Persona:
    sentences: tuple[str, ...]

    @property
    def id(self) -> str:
        """Equal for equal sentences, whatever the file."""
        return "p" + hashlib.sha256("\n".join(self.sentences).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Personas:
    """Personas of the lengths allowed in annotated data, each once; `left_out` counts the others by
    length."""

    usable: tuple[Persona, ...]
    left_out: dict[int, int]

    def draw(self, count: int, seed: int) -> list[Persona]:
        """`count` of them, or all; a larger count with the same seed begins with the same ones."""
        drawn = list(self.usable)
        random.Random(seed).shuffle(drawn)
        return drawn[:count]


def read_personas(path: Path) -> Personas:
    """A CSV file with the columns of Synthetic-Persona-Chat, prepared personas (JSONL), or a text file: a
    persona per line, or, with blank lines, a persona per paragraph and a sentence per line. A persona on one
    line is split into sentences by Punkt.

    Raises:
        PerbenchError: the file is missing, is not UTF-8, has other columns or fields, or holds no usable
            persona.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PerbenchError(f"--personas {path}: no such file") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise PerbenchError(f"--personas {path}: not a UTF-8 text file ({error})") from None
    forms = {".csv": _csv_cells, ".jsonl": _jsonl_cells}
    form = forms.get(path.suffix.lower())
    cells = form(path, text) if form is not None else _paragraphs(text)
    found = dict.fromkeys(sentences for cell in cells if (sentences := _sentences(cell)))
    usable = tuple(Persona(sentences) for sentences in found if len(sentences) in SENTENCES)
    lengths = Counter(len(sentences) for sentences in found if len(sentences) not in SENTENCES)
    if not usable:
        others = ", ".join(f"{count} of {length}" for length, count in sorted(lengths.items()))
        raise PerbenchError(
            f"--personas {path}: no persona of {SENTENCES.start} to {SENTENCES.stop - 1} sentences "
            f"(found by number of sentences: {others or 'none'})"
        )
    return Personas(usable, dict(sorted(lengths.items())))


def _csv_cells(path: Path, text: str) -> list[str]:
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = [name for name in rows.fieldnames or () if name in COLUMNS]
        if not columns:
            raise PerbenchError(
                f"--personas {path}: no column {' or '.join(map(repr, COLUMNS))}; use one, or a text file "
                "with a persona per line"
            )
        return [row[column] or "" for row in rows for column in columns]
    except csv.Error as error:
        raise PerbenchError(f"--personas {path}: not a CSV file: {error}") from None


def _jsonl_cells(path: Path, text: str) -> list[str]:
    """Prepared rows, whose `persona` is a list of sentences."""
    rows = read_jsonl(path)
    problems = [
        Problem(path, row.line, fault) for row in rows for fault in faults(row.fields, {"persona": [str]})
    ]
    if problems:
        raise SpecError(problems)
    return ["\n".join(row.fields["persona"]) for row in rows]


def _paragraphs(text: str) -> list[str]:
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return paragraphs if len(paragraphs) > 1 else text.splitlines()


def _sentences(cell: str) -> tuple[str, ...]:
    lines: Sequence[str] = [" ".join(line.split()) for line in cell.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = split_sentences(lines[0])
    return tuple(lines)
