"""The rows of a task's own files, read before anything runs: every fault, and what the splits share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perbench.data import spans
from perbench.data.examples import Dataset, load_examples
from perbench.data.overlap import Seen, notes
from perbench.data.sources import has_train_split
from perbench.errors import PerbenchError, Problem, SpecError
from perbench.specs.compose import owner_of

if TYPE_CHECKING:
    from perbench.shapes.base import Named
    from perbench.shapes.task import TaskSpec

Split = Literal["train", "test"]


def check_rows(task: Named[TaskSpec]) -> list[str]:
    """Read every split that a run could read.

    Returns: what is no fault and is good to know, a line each.

    Raises:
        SpecError: every fault of the rows by file and line, and test examples that are also in the train
            split, unless the task accepts that.
        PerbenchError: a file is not there.
    """
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
        said = notes(overlap.counts, overlap.tested, "the train split")
        if overlap.seen and task.spec.data.overlap is None:
            places = found["test"].places
            first = ", ".join(places[one] for one in overlap.seen[:3])
            message = f"{said.pop(0)} (first: {first}); take them out, or set data.overlap: accepted"
            problems.append(Problem(task.path or task.name, None, message))
        lines += said
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return lines


def _splits(task: Named[TaskSpec]) -> tuple[list[Split], list[str]]:
    """The splits that are there and read, and what to say of one that is not."""
    data, beside = task.spec.data, task.path.parent if task.path is not None else Path()
    owner = owner_of(task.spec)
    trained = (owner.trains or owner.tunes) and has_train_split(data, beside)
    if task.spec.single_file:
        line = "one file is either a source or a target; to use it as both, split it: data.split: {by: user}"
        return ["test"], [line] if owner.trains else []
    assert data.files is not None, "whose rows are checked"
    folder = beside / Path(data.files).expanduser()
    tested = data.split is not None or (folder / f"{data.test_split}.jsonl").is_file()
    if trained and not tested and "test_split" not in data.model_fields_set:
        return ["train"], [f"{folder} has no split {data.test_split!r}, so it can only be a source"]
    return (["train", "test"] if trained else ["test"]), []
