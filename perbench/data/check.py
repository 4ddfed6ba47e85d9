"""Checks the rows of a task's own files before anything runs: all faults, and overlaps of the splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from perbench.contracts.data import Dataset
from perbench.data import spans
from perbench.data.examples import load_examples
from perbench.data.overlap import Seen, notes
from perbench.errors import PerbenchError, Problem, SpecError
from perbench.specs.compose import owner_of, source_of

if TYPE_CHECKING:
    from perbench.shapes.base import Named
    from perbench.shapes.task import TaskSpec

Split = Literal["train", "test"]


def check_rows(task: Named[TaskSpec]) -> list[str]:
    """Read every split of the user's own files that a run could read.

    Returns: remarks that are not faults, one line each.

    Raises:
        SpecError: every fault of the rows by file and line, and test examples that are also in the train
            split, unless the task accepts that.
        PerbenchError: a file is missing.
    """
    if not source_of(task.spec.data).own:
        return []
    if owner_of(task.spec).cells == "identify":
        spans.check(task)
    splits, lines = _splits(task)
    problems: list[Problem] = []
    found: dict[Split, Dataset] = {}
    for split in splits:
        try:
            found[split] = load_examples(task, split, every_field=True)
        except SpecError as error:
            problems += error.problems
        except PerbenchError as error:
            problems.append(Problem(task.path or task.name, None, str(error)))
    if len(found) == 2:
        overlap = Seen(found["train"].examples).overlap(found["test"].examples)
        remarks = notes(overlap.counts, overlap.tested, "the train split")
        if overlap.seen and task.spec.data.overlap is None:
            places = found["test"].places
            first = ", ".join(places[one] for one in overlap.seen[:3])
            message = f"{remarks.pop(0)} (first: {first}); take them out, or set data.overlap: accepted"
            problems.append(Problem(task.path or task.name, None, message))
        lines += remarks
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return lines


def _splits(task: Named[TaskSpec]) -> tuple[list[Split], list[str]]:
    """The splits that exist and are read, and remarks on missing ones."""
    data, source, owner = task.spec.data, source_of(task.spec.data), owner_of(task.spec)
    trained = (owner.trains or owner.tunes) and source.has_train(task.folder)
    if source.file(task.folder) is not None:
        line = "one file is either a source or a target; to use it as both, set data.split: {by: user}"
        return ["test"], [line] if owner.trains else []
    if trained and not source.has(data.test_split, task.folder) and "test_split" not in data.model_fields_set:
        return ["train"], [f"data.test_split: no {data.test_split!r}, so the task can only be a source"]
    return (["train", "test"] if trained else ["test"]), []
