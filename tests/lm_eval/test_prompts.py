"""lm-eval's prompts under chat templates that open a thought, and its padding."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from perbench.engines.transformers.engine import TransformersEngine
from perbench.prompts.hflm import served
from tests.prompts.shapes import CHATML_THINK


def test_a_thought_is_closed_and_padding_is_a_token_of_the_model(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    engine.tokenizer.chat_template = CHATML_THINK
    engine.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    model = served(engine, 8)
    asked = [{"role": "user", "content": "U"}]
    closed = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert model.apply_chat_template(asked) == f"<|im_start|>user\nU<|im_end|>\n{closed}"
    assert model.tokenizer.pad_token_id < engine.model.get_input_embeddings().num_embeddings
