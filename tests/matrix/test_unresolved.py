"""What a plan could not find is reported once for all tasks and splits that have one remedy."""

from __future__ import annotations

from perbench.errors import NotThere, PerbenchError
from perbench.matrix.unresolved import Unresolved


def test_splits_and_tasks_with_one_remedy_share_a_line() -> None:
    found = Unresolved(models=["model m: away", "model m: away"])
    for task in ("far/a", "far/b"):
        for split in ("train", "test"):
            error = NotThere(f"no {task[-1]}/{split}.jsonl", "run `get far`")
            found.data.append(("far", task, split, error))
    found.data.append(("far", "far/c", "test", NotThere("no folder", "check --data")))
    found.data.append(("near", "near/a", "test", NotThere("no a/test.jsonl", "run `get far`")))
    found.data += [("near", "near/a", split, PerbenchError("broken")) for split in ("train", "val")]
    assert found.tasks == {"far/a", "far/b", "far/c", "near/a"}
    model, far, folder, near, broken = found.lines()
    assert model == "model m: away"
    assert far.startswith("data of far/a (train, test), far/b (train, test): no a/train.jsonl")
    assert " 3 " in far
    assert far.endswith("; run `get far`")
    assert folder == "data of far/c (test): no folder; check --data"
    assert near == "data of near/a (test): no a/test.jsonl; run `get far`"
    assert broken == "data of near/a (train, val): broken"


def test_a_missing_thing_reads_as_one_message() -> None:
    assert str(NotThere("no file", "run `x`")) == "no file; run `x`"
