"""Yes/no checks: strict reading, and the likelier word."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench.engines.transformers import TransformersEngine
from perbench.judges.checks import check, check_likeliest, parse_yes_no
from perbench.prompts.chat import chat_text, encode


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Yes", True),
        (" no.\n", False),
        ("YES!", True),
        ("No", False),
        ("", None),
        ("Yes, it does", None),
        ("yes or no", None),
        ("Answer: Yes", None),
        ("nope", None),
    ],
)
def test_a_reply_is_one_word(reply: str, value: bool | None) -> None:
    assert parse_yes_no(reply) is value


def test_the_likelier_word(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    texts = ["Is it red?", "Do you hunt?", "Is bread good at night?"]
    for text, found in zip(texts, check_likeliest(engine, texts), strict=True):
        prompt = encode(engine.tokenizer, chat_text(engine.tokenizer, None, [text]))
        words = [engine.tokenizer.encode(word, add_special_tokens=False) for word in ("Yes", "No")]
        yes, no = (float(engine.score([prompt], [word])[0].sum()) for word in words)
        assert found.value is (yes > no)
        assert found.raw == f"{yes:.3f} {no:.3f}"
        assert (found.prompt_tokens, found.new_tokens) == (len(prompt), 0)


def test_what_does_not_parse_is_missing_and_kept(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    (found,) = check(engine, ["Is it red?"], 8)  # a random model babbles
    assert found.value is None
    assert found.raw
    assert 0 < found.new_tokens <= 8
