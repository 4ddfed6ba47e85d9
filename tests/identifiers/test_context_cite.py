"""ContextCite on the numbers of its published code, and against plain passes of prompts built by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from perbench.api import PersonaText
from perbench.engines.transformers.engine import TransformersEngine
from perbench.plugins import load_identifier
from perbench.stats.lasso import standardised_lasso

MakeText = Callable[..., PersonaText]
Logp = Callable[[tuple[int, ...], tuple[int, ...]], torch.Tensor]


def parts() -> Any:
    """The module of the identifier's file."""
    import sys

    return sys.modules[type(load_identifier("context_cite")).__module__]


def test_a_span_of_two_tokens() -> None:
    """Each token's log-odds are -1 + 3 m0 + m1 / 2; the weights are scikit-learn's."""
    masks = np.array(list(product([0, 1], repeat=3)))
    odds = -1 + 3 * masks[:, 0] + 0.5 * masks[:, 1]
    logp = -np.log1p(np.exp(-odds))
    joint = 2 * logp
    y = joint - np.log1p(-np.exp(joint))
    assert y == pytest.approx(np.repeat([-2.551445, -1.794377, 1.241376, 1.766630], 2), abs=1e-6)
    _, bias = standardised_lasso(masks.astype(float), y[:, None] / 2, 0.01)
    assert bias[0] * 2 == pytest.approx(-2.453491, abs=1e-5)
    weights = parts().attributions(masks, np.stack([logp, logp], axis=1), [1, 1], 0.01)
    for token in range(2):
        assert weights[:, token] == pytest.approx([3.636914, 0.601161, 0.0], abs=1e-5)


def test_a_single_token_has_its_own_log_odds() -> None:
    masks = np.array(list(product([0, 1], repeat=3)))
    odds = -1 + 3 * masks[:, 0] + 0.5 * masks[:, 1]
    weights = parts().attributions(masks, -np.log1p(np.exp(-odds))[:, None], [0], 0.0)
    assert weights[:, 0] == pytest.approx([3, 0.5, 0], abs=1e-8)
    # With a penalty each weight shrinks by alpha / sd of its column = .01 / .5.
    weights = parts().attributions(masks, -np.log1p(np.exp(-odds))[:, None], [0], 0.01)
    assert weights[:, 0] == pytest.approx([2.98, 0.48, 0], abs=1e-8)


def test_masks_are_those_of_the_published_code() -> None:
    masks = load_identifier("context_cite")._masks(4)  # type: ignore[attr-defined]
    assert masks.shape == (64, 4)
    assert masks[:4].astype(int).tolist() == [[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 1]]


def test_a_certain_token_has_finite_log_odds() -> None:
    masks = np.array([[0], [1]])
    weights = parts().attributions(masks, np.array([[np.log(0.5), -0.1], [0.0, -0.1]]), [0, 1], 0.0)
    assert weights[0] == pytest.approx([np.log(1e6), 0.0], abs=1e-5)


@pytest.mark.parametrize("target", ["token", "word"])
def test_equals_plain_passes(
    engine: TransformersEngine, make_text: MakeText, plain_logp: Logp, target: str
) -> None:
    texts = [make_text(), make_text(("I sail.",), "We bake, then hunt.")]
    identifier = load_identifier("context_cite", {"masks": 9, "target": target})
    found = identifier.score(texts, engine)
    for text, scores in zip(texts, found, strict=True):
        masks = np.stack(
            [
                np.random.RandomState(seed).choice([False, True], size=len(text.persona), p=[0.5, 0.5])
                for seed in range(9)
            ]
        )
        rows = []
        for mask in masks:
            persona = "\n".join(one for one, kept in zip(text.persona, mask, strict=True) if kept)
            prompt = (
                f"<|im_start|>system\nYou are: {persona} Answer.<|im_end|>\n"
                "<|im_start|>user\nWhat now?<|im_end|>\n<|im_start|>assistant\n"
            )
            ids = engine.tokenizer(prompt, add_special_tokens=False)["input_ids"]
            rows.append(plain_logp(tuple(ids), text.tokens).double().numpy())
        logp = np.stack(rows)
        words = [text.response[:end].count(" ") if target == "word" else i for i, (_, end) in places(text)]
        for token, word in enumerate(words):
            members = [other for other, its in enumerate(words) if its == word]
            joint = logp[:, members].sum(1)
            y = (joint - np.log1p(-np.exp(joint))) / len(members)
            weights, _ = standardised_lasso(masks.astype(float), y[:, None], 0.01)
            best = weights[:, 0].max() * len(members)
            assert scores.scores[token] == pytest.approx(best, abs=2e-3)
            if best > 0.01:
                assert scores.sources[token] == weights[:, 0].argmax()
            if best < -0.01:
                assert scores.sources[token] is None
        assert max(map(abs, scores.scores)) > 0.05


def places(text: PersonaText) -> list[tuple[int, tuple[int, int]]]:
    return list(enumerate(text.spans))


def test_each_distinct_prompt_is_read_once(
    engine: TransformersEngine, make_text: MakeText, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    score = engine.score

    def noted(prompts: Any, responses: Any) -> Any:
        asked.append(len(prompts))
        return score(prompts, responses)

    monkeypatch.setattr(engine, "score", noted)
    load_identifier("context_cite").score([make_text(), make_text(("I sail.",))], engine)
    assert asked == [8 + 2]


def test_without_persona_or_answer(engine: TransformersEngine, make_text: MakeText) -> None:
    bare, silent = load_identifier("context_cite").score([make_text(()), make_text(answer="")], engine)
    assert set(bare.scores) == {0.0}
    assert (silent.scores, silent.spans) == ((), ())
