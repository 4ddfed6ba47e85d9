"""Rows of identification data: their format and its checks.

A row is {id, persona, question, answer, gold, distractor, first, second} with a field for the persona's id;
the task's `fields` name the common ones. `perbench.data.gold` defines the entries of `gold`, and of `first`
and `second`, the annotators' spans before adjudication. Those two and `distractor` are optional. Data without
kinds, such as the paper's, need only valid spans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.source import Row
from perbench.data.gold import REVIEWS, checked, gold_faults, places
from perbench.data.values import value_faults
from perbench.errors import Problem, SpecError, suggest
from perbench.specs.compose import source_of
from perbench.text.words import occurrences, touching

if TYPE_CHECKING:
    from perbench.shapes.base import Named
    from perbench.shapes.task import TaskSpec

SENTENCES = range(4, 7)
ANSWER_WORDS = range(5, 21)
LAYERS = ("gold", "first", "second")


@dataclass(frozen=True)
class Names:
    """The fields of a row, as the task names them; `user` is None if every persona is a user."""

    user: str | None
    persona: str
    question: str
    answer: str


def names_of(task: TaskSpec) -> Names:
    """The field names of an identification task."""
    fields = task.fields
    assert fields.persona is not None, "its protocol asks for these fields"
    assert fields.question is not None, "its protocol asks for these fields"
    assert fields.reference is not None, "its protocol asks for these fields"
    return Names(fields.user, fields.persona, fields.question, fields.reference)


def read_splits(task: Named[TaskSpec]) -> dict[str, list[Row]]:
    """The rows of the train (dev) split, if there is one, and of the test split.

    Raises:
        PerbenchError: a file is missing.
        SpecError: malformed lines of any split.
    """
    data, source = task.spec.data, source_of(task.spec.data)
    splits = [data.train_split] if source.has_train(task.folder) else []
    rows: dict[str, list[Row]] = {}
    problems: list[Problem] = []
    for split in [*splits, data.test_split]:
        try:
            rows[split] = source.read(split, task.folder, task.spec.fields).rows
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return rows


def check(task: Named[TaskSpec]) -> dict[str, list[Row]]:
    """The rows of every split, after all checks.

    Raises:
        SpecError: every fault of every split, by file and line.
        PerbenchError: a file is missing.
    """
    names = names_of(task.spec)
    splits = read_splits(task)
    annotated = any(_has_kinds(row) for rows in splits.values() for row in rows)
    problems = [
        Problem(row.place, row.line, fault)
        for rows in splits.values()
        for row in rows
        for fault in row_faults(row.fields, names, annotated=annotated)
    ]
    problems += _duplicates(splits, names) + _leaks(splits, names)
    if problems:
        raise SpecError(sorted(problems, key=lambda p: (str(p.path), p.line or 0)))
    return splits


def _has_kinds(row: Row) -> bool:
    layers = [row.fields.get(layer) for layer in LAYERS]
    entries = [entry for layer in layers if isinstance(layer, list) for entry in layer]
    return any(isinstance(entry, Mapping) and "kind" in entry for entry in entries)


# ---------------------------------------------------------------- one row


def row_faults(row: Mapping[str, Any], names: Names, *, annotated: bool) -> Iterator[str]:
    """The faults of a row; `annotated`: the data use the full format."""
    yield from value_faults(row)
    persona, answer = row.get(names.persona), row.get(names.answer)
    if not isinstance(answer, str) or not answer.strip():
        yield f"{names.answer} must be a text, not {answer!r}"
        return
    if not isinstance(persona, list) or not all(isinstance(line, str) and line.strip() for line in persona):
        yield f"{names.persona} must be a list of texts"
        return
    if not isinstance(row.get(names.question), str) or not row[names.question].strip():
        yield f"{names.question} must be a text, not {row.get(names.question)!r}"
    if annotated:
        yield from _lengths(persona, answer)
    for layer in LAYERS:
        if layer in row:
            yield from gold_faults(layer, row[layer], answer, len(persona), annotated=annotated)
        elif layer == "gold":
            yield "the row has no field 'gold'"
    if annotated and "review" in row and not checked(row):
        yield f"unknown review {row['review']!r}.{suggest(str(row['review']), REVIEWS)}"
    yield from _distractor_faults(row, persona, answer)


def _lengths(persona: Sequence[str], answer: str) -> Iterator[str]:
    for count, allowed, what in (
        (len(persona), SENTENCES, "sentences in the persona"),
        (len(answer.split()), ANSWER_WORDS, "words in the answer"),
    ):
        if count not in allowed:
            yield f"{count} {what}; there must be {allowed.start} to {allowed.stop - 1}"


def _distractor_faults(row: Mapping[str, Any], persona: Sequence[str], answer: str) -> Iterator[str]:
    word = row.get("distractor")
    if word is None:
        return
    if not isinstance(word, str) or not word.strip():
        yield f"distractor must be a word or null, not {word!r}"
        return
    if not any(occurrences(sentence, word) for sentence in persona):
        yield f"distractor {word!r} does not occur in the persona as whole words"
    entries = row.get("gold")
    gold = [
        place for entry in (entries if isinstance(entries, list) else ()) for place in places(entry, answer)
    ]
    if all(touching(gold, occurrences(answer, word))):
        yield f"distractor {word!r} does not occur in the answer outside the gold spans"


# ---------------------------------------------------------------- across rows


def _duplicates(splits: Mapping[str, Sequence[Row]], names: Names) -> list[Problem]:
    """Duplicate ids and answers, personas with two persona ids, persona ids with two personas."""
    problems = []
    seen: dict[tuple[str, str], Row] = {}
    for row in (row for rows in splits.values() for row in rows):
        user, persona = _user(row, names), text_key(row.fields.get(names.persona))
        for what, value in (("id", row.fields.get("id")), ("answer", text_key(row.fields.get(names.answer)))):
            other = row if value is None else seen.setdefault((what, str(value)), row)
            if other is not row:
                problems.append(_problem(row, f"its {what} is also in {_place(other)}"))
        if user is not None and persona is not None:
            other = seen.setdefault(("persona", persona), row)
            if _user(other, names) != user:
                problems.append(_problem(row, f"its persona is {_user(other, names)}'s in {_place(other)}"))
            other = seen.setdefault(("user", user), row)
            if text_key(other.fields.get(names.persona)) != persona:
                problems.append(_problem(row, f"{user} has another persona in {_place(other)}"))
    return problems


def _leaks(splits: Mapping[str, Sequence[Row]], names: Names) -> list[Problem]:
    """Persona ids, personas, and questions with their answers that are in two splits."""
    problems = []
    seen: dict[tuple[str, str], tuple[str, Row]] = {}
    for split, rows in splits.items():
        for row in rows:
            for what, value in _leak_keys(row, names):
                first, other = seen.setdefault((what, value), (split, row))
                if first != split:
                    place = _place(other)
                    problems.append(_problem(row, f"its {what} is also in split {first!r}: {place}"))
    return problems


def _leak_keys(row: Row, names: Names) -> list[tuple[str, str]]:
    question, answer = text_key(row.fields.get(names.question)), text_key(row.fields.get(names.answer))
    keys = {
        "persona id": _user(row, names),
        "persona": text_key(row.fields.get(names.persona)),
        "question and answer": f"{question}\n{answer}" if question and answer else None,
    }
    return [(what, value) for what, value in keys.items() if value is not None]


def text_key(value: Any) -> str | None:
    """Equal for texts, or lists of texts, that differ only in case and white space; None for other values."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    return " ".join(value.split()).casefold() if isinstance(value, str) else None


def _user(row: Row, names: Names) -> str | None:
    return str(row.fields.get(names.user)) if names.user is not None else None


def _problem(row: Row, message: str) -> Problem:
    return Problem(row.place, row.line, message)


def _place(row: Row) -> str:
    return f"{Path(row.place).name}:{row.line}"
