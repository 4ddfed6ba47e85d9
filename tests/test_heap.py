"""Phases without the cyclic garbage collector end with it, however they end."""

from __future__ import annotations

import gc

import pytest

from perbench.heap import growing, settled


@growing()
def _fail() -> None:
    assert not gc.isenabled()
    with growing():
        pass
    assert not gc.isenabled()
    raise KeyError


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_is_as_before(before: bool) -> None:
    if not before:
        gc.disable()
    try:
        with pytest.raises(KeyError):
            _fail()
        assert gc.isenabled() == before
    finally:
        gc.enable()


def test_what_is_there_is_not_looked_at_again_until_the_end() -> None:
    with settled():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_what_grew_is_not_looked_at_by_the_next_collection() -> None:
    with settled():
        with growing():
            held = [[number] for number in range(5_000)]
        assert gc.get_freeze_count() > len(held)
    with growing():
        held = [[number] for number in range(5_000)]
    assert gc.get_count()[0] < len(held)
    assert gc.get_freeze_count() == 0
