"""Loads matrices by name or path, reporting all faults of them and of what they name at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from perbench.errors import Problem, SpecError
from perbench.shapes.base import Named
from perbench.specs import yaml
from perbench.specs.contests import select_problems, without_idle_axes
from perbench.specs.faults import check
from perbench.specs.load import find
from perbench.specs.matrix import MatrixSpec
from perbench.specs.names import apply_sets, name_problems
from perbench.specs.pairs import pair_problems
from perbench.specs.profiles import apply_profile, profiles_of
from perbench.specs.yaml import Document


def load_matrix(
    name_or_path: str | Path, sets: Sequence[str] = (), profile: str | None = None
) -> Named[MatrixSpec]:
    """A matrix by name or YAML file, under a profile of its own (default: the first), which its name then
    holds, too; `sets` are "dotted.path=value" with values parsed as YAML
    ("training.learning_rate=1e-4", "tasks.embedded/dialogue.dialogue.turns=3").

    Raises:
        SpecError: every fault of the file, of the tasks, models and plugins it names, and of the sets.
        PerbenchError: there is no such matrix or profile.
    """
    name, path = find("matrix", name_or_path)
    return matrix_of(name, path, yaml.read(path), sets, profile)


def every_profile(name_or_path: str | Path) -> Iterator[Named[MatrixSpec]]:
    """A matrix under each of its profiles; raises as `load_matrix`."""
    _, path = find("matrix", name_or_path)
    names: list[str | None] = [*profiles_of(yaml.read(path))]
    for profile in names or [None]:
        yield load_matrix(name_or_path, (), profile)


def matrix_of(
    name: str,
    path: Path | None,
    document: Document,
    sets: Sequence[str] = (),
    profile: str | None = None,
) -> Named[MatrixSpec]:
    """`load_matrix` from a document that was read before or is not a file."""
    resolved = document.data.get("profile")  # of a run
    named, problems = apply_profile(document, profile)
    name = f"{name}-{named}" if named is not None and resolved is None else name
    problems += apply_sets(document, sets)
    spec, found = check(MatrixSpec, document.data, document.place)
    problems += found + name_problems(document)
    if spec is not None and not problems:
        if sets and not any(text.startswith("select") for text in sets):
            spec = without_idle_axes(spec)
        problems += [*select_problems(spec, document), *pair_problems(spec, document)]
    if spec is None or problems:
        raise SpecError(in_order(problems))
    return Named(name, spec, path)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Faults without duplicates; a file's faults by line, files in order of appearance."""
    files = list(dict.fromkeys(str(problem.path) for problem in problems))
    return sorted(
        dict.fromkeys(problems), key=lambda problem: (files.index(str(problem.path)), problem.line or 0)
    )
