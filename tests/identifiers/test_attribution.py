"""Attention and gradients equal slow, obvious computations on one sequence at a time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from perbench.api import PersonaText
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.plugins import load_identifier
from perbench.prompts.attribution import persona_slot

MakeText = Callable[..., PersonaText]


def test_the_slot_shows_the_persona_and_nothing_else(engine: TransformersEngine, make_text: MakeText) -> None:
    for persona in (("I hunt deer.", "I am old."), ("§",), ("x" * 40,)):
        text = make_text(persona)
        slot = persona_slot(text)
        shown = engine.tokenizer.decode(text.factual[slot.start : slot.stop])
        assert shown.strip() == ("\n".join(persona) if persona != ("§",) else "")
    assert persona_slot(make_text(())) == range(0)


@pytest.mark.parametrize(
    ("layers", "kept"), [("all", [0, 1]), ("lower", [0]), ("middle", [0, 1]), ("upper", [1])]
)
def test_attention_by_hand(
    engine: TransformersEngine, make_text: MakeText, layers: str, kept: list[int]
) -> None:
    texts = [make_text(), make_text(("I sail.",), "No.")]
    found = load_identifier("attention", {"layers": layers}).score(texts, engine)
    engine.model.set_attn_implementation("eager")
    for text, scores in zip(texts, found, strict=True):
        ids = torch.tensor([[*text.factual, *text.tokens]])
        with torch.no_grad():
            weights = engine.model(ids, output_attentions=True).attentions
        slot = persona_slot(text)
        for i, score in enumerate(scores.scores):
            reading = len(text.factual) + i - 1
            looks = [
                weights[layer][0, head, reading, j].item()
                for layer in kept
                for head in range(4)
                for j in slot
            ]
            assert score == pytest.approx(sum(looks) / (4 * len(kept)), abs=1e-6)
            assert 0 < score < 1
    engine.model.set_attn_implementation("sdpa")


def test_attention_leaves_the_model_as_it_was(engine: TransformersEngine, make_text: MakeText) -> None:
    load_identifier("attention").score([make_text()], engine)
    assert engine.model.config._attn_implementation == "sdpa"


def test_gradients_token_by_token(engine: TransformersEngine, make_text: MakeText) -> None:
    texts = [make_text(), make_text(("I sail.",), "No.")]
    found = load_identifier("gradient_input").score(texts, engine)
    for text, scores in zip(texts, found, strict=True):
        slot = persona_slot(text)
        for i, score in enumerate(scores.scores):
            prefix = torch.tensor([[*text.factual, *text.tokens[:i]]])
            embedded = engine.model.get_input_embeddings()(prefix).detach().requires_grad_()
            logits = engine.model(inputs_embeds=embedded).logits[0, -1]
            logits.log_softmax(-1)[text.tokens[i]].backward()
            assert embedded.grad is not None
            expected = sum(abs(float(embedded.grad[0, j] @ embedded[0, j].detach())) for j in slot)
            assert score == pytest.approx(expected, rel=1e-3, abs=1e-5)
            assert score > 0
    engine.model.zero_grad()


def test_gradients_equal_finite_differences(engine: TransformersEngine, make_text: MakeText) -> None:
    """d log P / d alpha of scaling one embedding by alpha is gradient x input."""
    text = make_text(("Deer.",), "Yes.")
    (found,) = load_identifier("gradient_input").score([text], engine)
    ids = torch.tensor([[*text.factual, *text.tokens[:-1]]])
    embedded = engine.model.get_input_embeddings()(ids).detach()
    total, step = torch.zeros(len(text.tokens)), 0.02  # the model rounds to float32 inside: no smaller step
    for j in persona_slot(text):
        sides = []
        for alpha in (1 + step, 1 - step):
            scaled = embedded.clone()
            scaled[0, j] *= alpha
            with torch.no_grad():
                logits = engine.model(inputs_embeds=scaled).logits[0, len(text.factual) - 1 :]
            sides.append(logits.log_softmax(-1).gather(1, torch.tensor(text.tokens)[:, None])[:, 0])
        total += ((sides[0] - sides[1]) / (2 * step)).abs()
    assert list(found.scores) == pytest.approx(total.tolist(), rel=0.02)


def test_gradients_leave_no_trace(engine: TransformersEngine, make_text: MakeText) -> None:
    load_identifier("gradient_input").score([make_text()], engine)
    assert all(parameter.grad is None for parameter in engine.model.parameters())


@pytest.mark.parametrize("name", ["attention", "gradient_input"])
def test_without_a_persona_nothing_is_personal(
    engine: TransformersEngine, make_text: MakeText, name: str
) -> None:
    text = make_text(())
    (found,) = load_identifier(name).score([text], engine)
    assert found.scores == (0.0,) * len(text.tokens)
    (found,) = load_identifier(name).score([make_text(answer="")], engine)
    assert found.scores == ()


@pytest.mark.parametrize("name", ["attention", "gradient_input"])
def test_an_engine_without_weights_is_refused(make_text: MakeText, name: str) -> None:
    with pytest.raises(PerbenchError, match="engine remote gives no access"):
        load_identifier(name).score([make_text()], SimpleNamespace(name="remote"))
