"""PerContrast equals the difference of two plain forward passes, at the characters its tokens show."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perbench.api import PersonaText
from perbench.engines.transformers import TransformersEngine
from perbench.plugins import load_identifier


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


def text(name: str, factual: list[int], counterfactual: list[int], tokens: list[int]) -> PersonaText:
    spans = tuple((i, i + 1) for i in range(len(tokens)))
    return PersonaText(
        name, (), "", "x" * len(tokens), tuple(factual), tuple(counterfactual), tuple(tokens), spans
    )


def plain_logp(model: torch.nn.Module, prompt: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]


def test_scores_are_the_difference_of_full_logits(engine: TransformersEngine) -> None:
    examples = [
        text("a", [1, 5, 17, 200, 9], [1, 9], [33, 4, 310, 33]),
        text("b", [1, 8], [1, 7, 8, 9, 10, 11], [250]),
        text("c", [1, 5], [1, 5], [20, 21]),
    ]
    found = load_identifier("percontrast").score(examples, engine)
    for example, scores in zip(examples, found, strict=True):
        with_persona = plain_logp(engine.model, example.factual, example.tokens)
        without = plain_logp(engine.model, example.counterfactual, example.tokens)
        assert scores.scores == pytest.approx((with_persona - without).tolist(), abs=1e-4)
        assert scores.spans == example.spans
    assert max(map(abs, found[0].scores)) > 0.1  # the contrast is not trivially zero
    assert found[2].scores == (0.0, 0.0)  # the same context twice


def test_a_response_without_tokens_has_no_scores(engine: TransformersEngine) -> None:
    (found,) = load_identifier("percontrast").score([text("empty", [1, 5], [1], [])], engine)
    assert found.spans == found.scores == ()


def test_the_threshold_is_the_papers() -> None:
    assert load_identifier("percontrast").params == {"threshold": 1.0}
