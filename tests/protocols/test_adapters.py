"""Which adapter made a sample is stored, counted and noted, also where some users have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perbench.engines.transformers.engine import TransformersEngine
from perbench.specs.compose import owner_of
from tests.owners import run, score
from tests.protocols.test_choice import One, dataset, task
from tests.protocols.test_generation import quiet


@pytest.mark.parametrize("by", ["sum", "reply"])
def test_choices_by_no_adapter_of_the_users_own_are_counted(
    by: str, engine: TransformersEngine, stores: Any
) -> None:
    named, pool, store = task(by=by), One(engine), stores()
    pool.users = {"u0": Path("a"), "nobody here": Path("b")}  # type: ignore[assignment]
    run(named, dataset(6), pool, store, seed=0, tick=quiet)
    assert {row["user"] for row in store.rows if row["own_adapter"]} == {"u0"}
    found = score(named, store.samples())
    assert (found.counts["own_adapter"], found.counts["task_adapter"]) == (2, 4)
    assert "4 of 6 choices by no adapter of the user's own" in found.notes
    seen = {row["user"]: owner_of(named.spec).shown([row], None).notes for row in store.rows}
    assert any("without an adapter" in note for note in seen["u1"])
    assert not any("without an adapter" in note for note in seen["u0"])

    store = stores()
    run(named, dataset(2), One(engine), store, seed=0, tick=quiet)
    assert not any("own_adapter" in row for row in store.rows)
    assert "own_adapter" not in score(named, store.samples()).counts
