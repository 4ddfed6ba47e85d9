"""Which items of a history are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.errors import PerbenchError
from perbench.prompts.persona import affordable, by_priority, render_items
from perbench.specs.compose import persona_spec


def test_items_render_fields_and_leave_braces_in_values_alone() -> None:
    items = [{"title": "A {title} {0}", "year": 1999, "abstract": None}]
    assert render_items('"{title}" ({year}){abstract}', items) == ['"A {title} {0}" (1999)']


def test_missing_field_is_named_with_what_there_is() -> None:
    with pytest.raises(PerbenchError, match=r"item 1 has no field 'title'\. Did you mean 'titel'\?"):
        render_items("{title}", [{"title": "x"}, {"titel": "y"}])


@pytest.mark.parametrize(
    ("priority", "k", "expected"),
    [("first", None, [0, 1, 2]), ("first", 2, [0, 1]), ("last", None, [2, 1, 0]), ("last", 2, [2, 1])],
)
def test_priority(priority: str, k: int | None, expected: list[int]) -> None:
    spec = persona_spec().model_validate({"priority": priority, "k": k})
    assert by_priority(3, spec) == expected


def test_an_item_that_does_not_fit_ends_the_row() -> None:
    assert affordable([5, 100, 1], 10) == 1
    assert affordable([5, 5], 10) == 2
    assert affordable([5], 4) == 0
    assert affordable([], 4) == 0


@given(st.lists(st.integers(0, 50)), st.integers(0, 200), st.integers(0, 50))
def test_more_room_never_keeps_less(costs: list[int], room: int, more: int) -> None:
    kept = affordable(costs, room)
    assert sum(costs[:kept]) <= room
    assert kept == len(costs) or sum(costs[: kept + 1]) > room
    assert affordable(costs, room + more) >= kept
