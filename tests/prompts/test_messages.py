"""Requests as messages: what they say is what the prompt pair says, trimmed by estimated tokens."""

from __future__ import annotations

from typing import Any

import pytest

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.prompts.messages import build_request, estimated
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import FieldSpec, PromptSpec, TaskSpec
from perbench.specs.compose import persona_spec, task_spec


def task(form: dict[str, Any], **changes: Any) -> TaskSpec:
    return task_spec()(
        summary="test",
        protocol="generation",
        license="none",
        data={"files": "unread"},
        fields=FieldSpec(user="user", question="ask", reference="answer", persona="past"),
        prompt="plain",
        prompts={"plain": PromptSpec(item="{text}", join="; ", **form)},
        sampling=SamplingSpec(max_new_tokens=10),
        metrics=["rouge1"],
        headline="rouge1",
        **changes,
    )


ITEMS = tuple({"text": f"item number {i}"} for i in range(3))  # 13 characters, 15 with the joint: 4 tokens
EXAMPLE = Example("e1", "u", "And you?", "Me too.", ITEMS)
SYSTEM = {"system": "Past: {persona}"}


def test_both_turns() -> None:
    found = build_request(task(SYSTEM), EXAMPLE)
    assert found.messages == [
        {"role": "system", "content": "Past: item number 0; item number 1; item number 2"},
        {"role": "user", "content": "And you?"},
    ]
    assert (found.kept, found.trimmed) == (3, 0)
    assert found.tokens == estimated("Past: item number 0; item number 1; item number 2") + 2


def test_the_persona_in_the_users_turn() -> None:
    form = {"user": "{persona}? {question}", "user_without": "Just {question}"}
    found = build_request(task(form, persona=persona_spec()(k=1, priority="last")), EXAMPLE)
    assert found.messages == [{"role": "user", "content": "item number 2? And you?"}]
    nobody = Example("e2", "u", "And you?", "Me too.")
    assert build_request(task(form), nobody).messages == [{"role": "user", "content": "Just And you?"}]


@pytest.mark.parametrize(
    ("room", "kept"), [(10 + 4 + 12, 3), (10 + 4 + 11, 2), (10 + 4 + 4, 1), (10 + 4 + 3, 0), (1, 0)]
)
def test_whole_items_that_fit(room: int, kept: int) -> None:
    """Answer 10, frame 2 + 2, each item 4."""
    found = build_request(task(SYSTEM, max_length=room), EXAMPLE)
    assert (found.kept, found.trimmed) == (kept, 3 - kept)
    assert len(found.messages) == (2 if kept else 1)


def test_the_personas_own_limit() -> None:
    spec = task(SYSTEM, persona=persona_spec()(max_tokens=8, priority="last"))
    found = build_request(spec, EXAMPLE)
    assert found.messages[0]["content"] == "Past: item number 1; item number 2"


def test_a_field_that_an_item_lacks_is_named() -> None:
    with pytest.raises(PerbenchError, match="example e3: persona item 0 has no field 'text'"):
        build_request(task(SYSTEM), Example("e3", "u", "q", "r", ({"words": "x"},)))
