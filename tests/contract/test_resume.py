"""The one loop over a cell's batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from perbench.conformance.protocol import MemoryStore
from perbench.contracts.resume import Batch, Sample, resume
from perbench.errors import CellError

IDS = ["a#1", "b#1", "a#2", "b#2"]


def counting(ids: Sequence[str], asked: list[str]) -> Batch:
    """Each sample of turn 2 holds what turn 1 of its example said."""

    def make(stored: Mapping[str, Sample]) -> Sequence[Sample]:
        asked.extend(ids)
        before = {name: stored[f"{name[0]}#1"]["said"] if name.endswith("#2") else "" for name in ids}
        return [{"id": name, "user": "u", "said": f"{before[name]}{name[0]}"} for name in ids]

    return Batch(ids, make)


def work(store: MemoryStore, batches: Sequence[Sequence[str]], planned: Sequence[str]) -> list[str]:
    """The ids that were made."""
    asked: list[str] = []
    found = [counting(ids, asked) for ids in batches]
    resume(found, store, lambda *_: None, planned=planned, most_missing=0.0)
    return asked


@pytest.mark.parametrize("fuse", range(1, len(IDS)))
def test_batches_that_read_stored_samples_go_on_after_a_kill(fuse: int) -> None:
    whole = MemoryStore()
    assert work(whole, [IDS[:2], IDS[2:]], IDS) == IDS
    cut = MemoryStore(fuse=fuse)
    with pytest.raises(MemoryStore.Killed):
        work(cut, [IDS[:2], IDS[2:]], IDS)
    again = MemoryStore(cut.rows)
    assert work(again, [IDS[:2], IDS[2:]], IDS) == IDS[fuse // 2 * 2 :]
    assert again.rows == whole.rows
    assert [row["said"] for row in again.rows] == ["a", "b", "aa", "bb"]


@pytest.mark.parametrize(
    ("batches", "planned", "said"),
    [
        ([["a#1"], ["a#1"]], ["a#1", "a#1"], "'a#1'"),
        ([["a#1", "a#1"]], ["a#1"], "'a#1'"),
        ([["a#1"]], ["a#1", "b#1"], "'b#1'"),
        ([["a#1"], ["b#1"]], ["a#1"], "'b#1'"),
    ],
)
def test_an_id_is_planned_and_made_once(batches: Any, planned: Any, said: str) -> None:
    store = MemoryStore()
    with pytest.raises(CellError, match=said):
        work(store, batches, planned)
    assert store.rows == []
