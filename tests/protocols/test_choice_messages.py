"""Choice: the prompt, if a history is of messages; and one that is too long."""

from __future__ import annotations

import pytest

from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.context import TooLong
from perbench.prompts.pair import build_pair
from perbench.specs.compose import owner_of
from tests.protocols.test_choice import SYSTEM, example, task


def test_messages_before_the_question(engine: TransformersEngine) -> None:
    """Every template gets user and assistant alternately, whatever the history holds."""
    said = (
        {"role": "system", "text": "It is May."},
        {"role": "assistant", "text": "Hello!"},
        {"role": "user", "text": "Hi."},
        {"role": "system", "text": "It is June."},
        {"role": "user", "text": "I hate boats."},
    )
    pair = build_pair(task().spec, example(0, persona=said), engine.tokenizer, with_response=False)
    text = engine.tokenizer.decode(pair.factual)
    start = "<|im_start|>{}\n{}<|im_end|>\n".format
    assert text == (
        start("system", f"{SYSTEM}\n\nIt is May.")
        + start("user", "")
        + start("assistant", "Hello!")
        + start("user", "Hi.\n\nIt is June.\n\nI hate boats.\n\nHow do I cross the lake?")
        + "<|im_start|>assistant\n"
    )
    assert pair.kept == 5


def test_a_plan_refuses_what_the_run_would_refuse(engine: TransformersEngine) -> None:
    """Under on_too_long fail; under skip, what is too long costs nothing."""
    whole, _ = owner_of(task().spec).work([example(0)], engine.tokenizer)
    assert whole > 0
    refused = owner_of(task().spec.model_copy(update={"max_length": 30}))
    with pytest.raises(TooLong, match=r"example e00.* max_length 30"):
        refused.work([example(0)], engine.tokenizer)
    skipped = owner_of(task().spec.model_copy(update={"max_length": 30, "on_too_long": "skip"}))
    assert skipped.work([example(0)], engine.tokenizer) == (0, True)
