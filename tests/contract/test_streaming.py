"""Samples that are stored as they finish: in any order, killed at any point, the same in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from perbench.conformance.protocol import MemoryStore
from perbench.contracts.resume import Batch, Sample, resume
from perbench.errors import CellError
from perbench.store import CellDir

IDS = ["d", "a", "c", "b", "e"]


def batch(order: list[str], made: list[str]) -> Batch:
    def make(stored: Mapping[str, Sample]) -> Iterator[Sample]:
        for name in order:
            if name not in stored:
                made.append(name)
                yield {"id": name, "user": "u", "new_tokens": 2}

    return Batch(IDS, make, streamed=True)


def work(store: Any, order: list[str]) -> list[str]:
    made: list[str] = []
    resume([batch(order, made)], store, lambda *_: None, planned=IDS, most_missing=0.0)
    return made


@pytest.mark.parametrize("fuse", range(len(IDS)))
def test_a_kill_loses_no_finished_sample(fuse: int) -> None:
    whole = MemoryStore()
    work(whole, IDS)
    cut = MemoryStore(fuse=fuse)
    order = sorted(IDS)
    with pytest.raises(MemoryStore.Killed):
        work(cut, order)
    assert [row["id"] for row in cut.rows] == order[:fuse]
    again = MemoryStore(cut.rows)
    assert work(again, list(reversed(order))) == list(reversed(order[fuse:]))
    assert again.rows == whole.rows
    assert [row["id"] for row in again.rows] == IDS


def test_a_cells_file_does_not_tell_which_was_finished_first(tmp_path: Any) -> None:
    contents = []
    for order in (IDS, sorted(IDS)):
        cell = CellDir(tmp_path / order[0], "eval", "f" * 64)
        cell.path.mkdir()
        work(cell, order)
        contents.append((cell.path / "samples.jsonl").read_bytes())
        assert [row["id"] for row in cell.samples()] == IDS
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("order", "said"),
    [([*IDS, "f"], "'f'"), ([*IDS, "a"], "'a'"), (IDS[:-1], "'e'")],
)
def test_a_batch_yields_each_of_its_samples_once(order: list[str], said: str) -> None:
    def make(stored: Mapping[str, Sample]) -> Iterator[Sample]:
        return ({"id": name, "user": "u"} for name in order)

    store = MemoryStore()
    with pytest.raises(CellError, match=said):
        resume([Batch(IDS, make, True)], store, lambda *_: None, planned=IDS, most_missing=0.0)
    assert len(store.rows) == len(set(order) & set(IDS))


def test_too_many_missing_answers_end_the_stream() -> None:
    def make(stored: Mapping[str, Sample]) -> Iterator[Sample]:
        return ({"id": name, "user": "u", "missing": "refused"} for name in IDS)

    store = MemoryStore()
    with pytest.raises(CellError, match="max_missing"):
        resume([Batch(IDS, make, True)], store, lambda *_: None, planned=IDS, most_missing=0.3)
    assert len(store.rows) == 2
