"""Loads matrices by name or path, reporting all faults of them and of what they name at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perbench.errors import Problem, SpecError
from perbench.shapes.base import Named
from perbench.specs import yaml
from perbench.specs.contests import select_problems
from perbench.specs.faults import check
from perbench.specs.load import find
from perbench.specs.matrix import MatrixSpec
from perbench.specs.names import apply_sets, name_problems
from perbench.specs.yaml import Document


def load_matrix(name_or_path: str | Path, sets: Sequence[str] = ()) -> Named[MatrixSpec]:
    """A matrix by name or YAML file; `sets` are "dotted.path=value" with values parsed as YAML
    ("training.learning_rate=1e-4", "tasks.embedded/dialogue.dialogue.turns=3").

    Raises:
        SpecError: every fault of the file, of the tasks, models and plugins it names, and of the sets.
        PerbenchError: there is no such matrix.
    """
    name, path = find("matrix", name_or_path)
    return matrix_of(name, path, yaml.read(path), sets)


def matrix_of(
    name: str, path: Path | None, document: Document, sets: Sequence[str] = ()
) -> Named[MatrixSpec]:
    """`load_matrix` from a document that was read before or is not a file."""
    problems = apply_sets(document, sets)
    spec, found = check(MatrixSpec, document.data, document.place)
    problems += found + name_problems(document)
    if spec is not None and not problems:
        problems += select_problems(spec, document)
    if spec is None or problems:
        raise SpecError(in_order(problems))
    return Named(name, spec, path)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Faults without duplicates; a file's faults by line, files in order of appearance."""
    files = list(dict.fromkeys(str(problem.path) for problem in problems))
    return sorted(
        dict.fromkeys(problems), key=lambda problem: (files.index(str(problem.path)), problem.line or 0)
    )
