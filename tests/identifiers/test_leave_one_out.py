"""Leaving out sentences: equal to plain forward passes of prompts built by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from perbench.api import Example, PersonaText
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.models import ResolvedModel
from perbench.plugins import load_identifier
from perbench.protocols.identification.scoring import persona_text
from perbench.specs.load import load_task


def test_equals_full_logits_without_each_sentence(
    engine: TransformersEngine,
    make_text: Callable[..., PersonaText],
    plain_logp: Callable[[tuple[int, ...], tuple[int, ...]], torch.Tensor],
) -> None:
    personas = [("I hunt deer.", "I bake bread at night.", "I am old."), ("I sail.",)]
    texts = [make_text(persona) for persona in personas]
    found = load_identifier("leave_one_out").score(texts, engine)
    for text, scores in zip(texts, found, strict=True):
        full = plain_logp(text.factual, text.tokens)
        drops = []
        for left in range(len(text.persona)):
            persona = "\n".join(s for i, s in enumerate(text.persona) if i != left)
            prompt = (
                f"<|im_start|>system\nYou are: {persona} Answer.<|im_end|>\n"
                "<|im_start|>user\nWhat now?<|im_end|>\n<|im_start|>assistant\n"
            )
            ids = engine.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            drops.append(full - plain_logp(tuple(ids), text.tokens))
        best, source = torch.stack(drops).max(0)
        assert scores.scores == pytest.approx(best.tolist(), abs=1e-4)
        expected = [s if b > 0 else None for s, b in zip(source.tolist(), best.tolist(), strict=True)]
        assert list(scores.sources) == expected


def test_without_a_persona_nothing_has_a_source(
    engine: TransformersEngine, make_text: Callable[..., PersonaText]
) -> None:
    text = make_text(())
    (found,) = load_identifier("leave_one_out").score([text], engine)
    assert set(found.scores) == {0.0}
    assert set(found.sources) == {None}


def test_a_real_model_names_the_sentence(smollm2: ResolvedModel) -> None:
    engine = TransformersEngine(smollm2.folder, dtype="float32")
    task = load_task("identification/persona_qa").spec
    persona = ("I keep bees.", "I am afraid of heights.", "I play the violin.")
    example = Example(
        "e", "u", "What do you do after work?", "I look after my hives.", tuple({"text": s} for s in persona)
    )
    (found,) = load_identifier("leave_one_out").score([persona_text(task, example, engine)], engine)
    words = [example.reference[start:end] for start, end in found.spans]
    hives = words.index("hives") if "hives" in words else words.index("h")
    assert found.scores[hives] > 1
    assert found.sources[hives] == 0
