"""KL on worked numbers (of inseq's attribute-context), and against full logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, stdev

import pytest
import torch

from perbench.api import PersonaText
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.head import Head
from perbench.plugins import load_identifier

P_WITH = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.8, 0.1, 0.1]]
P_WITHOUT = [[0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]
MakeText = Callable[..., PersonaText]


@pytest.mark.parametrize("rows", [1, 512])
def test_both_directions(rows: int) -> None:
    given, absent = (torch.tensor(p, dtype=torch.float64).log() for p in (P_WITH, P_WITHOUT))
    head = Head(torch.eye(3, dtype=torch.float64), dtype=torch.float64)
    # By hand, first row: .1 ln(.1/.6) + .6 ln(.6/.3) + .3 ln(.3/.1) = .566296
    assert head.kl(absent, given, rows=rows).tolist() == pytest.approx([0.566296, 0, 0.045157], abs=1e-6)
    assert head.kl(given, absent, rows=rows).tolist() == pytest.approx([0.757250, 0, 0.037510], abs=1e-6)


def test_pir_is_p_cxmi_in_nats() -> None:
    """P-CXMI (arXiv 2109.07446) in bits, positive where the context helps: log2 of .6/.1, .5/.5, .8/.7."""
    head, tokens = Head(torch.eye(3, dtype=torch.float64), dtype=torch.float64), torch.tensor([0, 1, 0])
    given, absent = (
        head.logp(torch.tensor(p, dtype=torch.float64).log(), tokens) for p in (P_WITH, P_WITHOUT)
    )
    bits = [2.584963, 0.0, 0.192645]
    assert (given - absent).tolist() == pytest.approx([math.log(2) * one for one in bits], abs=1e-6)


def test_a_response_is_cut_at_its_mean_and_one_standard_deviation(make_text: MakeText) -> None:
    text, scores = make_text(), [0.566296, 0.0, 0.045157]
    found = load_identifier("kl")._selected(text, scores)  # type: ignore[attr-defined]
    assert found.threshold == pytest.approx(0.518544, abs=1e-6)
    assert [place for place, score in enumerate(found.scores) if score > found.threshold] == [0]
    loose = load_identifier("kl", {"threshold": 0.0})._selected(text, scores)  # type: ignore[attr-defined]
    assert loose.threshold == pytest.approx(fmean(scores))


def test_scores_are_those_of_full_logits(engine: TransformersEngine, make_text: MakeText) -> None:
    texts = [make_text(), make_text(answer="No."), make_text(("I sail.",), "We bake, then hunt.")]
    found = load_identifier("kl").score(texts, engine)
    for text, scores in zip(texts, found, strict=True):
        given, absent = (
            engine.model(torch.tensor([[*prompt, *text.tokens]])).logits[0, len(prompt) - 1 : -1].detach()
            for prompt in (text.factual, text.counterfactual)
        )
        expected = torch.nn.functional.kl_div(
            given.log_softmax(-1), absent.log_softmax(-1), reduction="none", log_target=True
        ).sum(-1)
        assert scores.spans == text.spans
        assert scores.scores == pytest.approx(expected.tolist(), abs=1e-4)
        assert max(scores.scores) > 0.01
        if len(scores.scores) > 1:
            assert scores.threshold == pytest.approx(fmean(scores.scores) + stdev(scores.scores))


def test_without_a_persona_nothing_is_selected(engine: TransformersEngine, make_text: MakeText) -> None:
    bare, silent = load_identifier("kl").score([make_text(()), make_text(answer="")], engine)
    assert bare.threshold is not None
    assert not [score for score in bare.scores if score > bare.threshold]
    assert (silent.scores, silent.threshold) == ((), None)
