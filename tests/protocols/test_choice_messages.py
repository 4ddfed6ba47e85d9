"""Choice: the prompt, if a history is of messages."""

from __future__ import annotations

from perbench.engines.transformers.engine import TransformersEngine
from perbench.prompts.pair import build_pair
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
