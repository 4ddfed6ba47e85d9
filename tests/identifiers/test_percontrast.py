"""PerContrast equals the difference of plain forward passes, whatever stands for the absent persona."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from perbench.api import PersonaText
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.plugins import load_identifier

Logp = Callable[[tuple[int, ...], tuple[int, ...]], torch.Tensor]
MakeText = Callable[..., PersonaText]


def score(engine: TransformersEngine, *texts: PersonaText, **params: object) -> list[list[float]]:
    found = load_identifier("percontrast", params).score(texts, engine)
    assert [one.spans for one in found] == [text.spans for text in texts]
    return [list(one.scores) for one in found]


def test_scores_are_the_difference_of_full_logits(
    engine: TransformersEngine, make_text: MakeText, plain_logp: Logp
) -> None:
    texts = [make_text(), make_text(answer="No."), make_text(("I sail.",), "We bake, then hunt.")]
    for text, scores in zip(texts, score(engine, *texts), strict=True):
        expected = plain_logp(text.factual, text.tokens) - plain_logp(text.counterfactual, text.tokens)
        assert scores == pytest.approx(expected.tolist(), abs=1e-4)
        assert max(map(abs, scores)) > 0.1  # the contrast is not trivially zero


def test_without_a_persona_all_scores_are_zero(engine: TransformersEngine, make_text: MakeText) -> None:
    text = make_text(())
    assert score(engine, text) == [[0.0] * len(text.tokens)]


def test_a_response_without_tokens_has_no_scores(engine: TransformersEngine, make_text: MakeText) -> None:
    for params in ({}, {"words": "mean"}, {"counterfactual": "swap", "swaps": 2}):
        assert score(engine, make_text(answer=""), **params) == [[]]


def test_empty_keeps_the_frame(engine: TransformersEngine, make_text: MakeText, plain_logp: Logp) -> None:
    text = make_text()
    frame = "<|im_start|>system\nYou are:  Answer.<|im_end|>\n<|im_start|>user\nWhat now?<|im_end|>\n"
    ids = engine.tokenizer(frame + "<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    expected = plain_logp(text.factual, text.tokens) - plain_logp(tuple(ids), text.tokens)
    (scores,) = score(engine, text, counterfactual="empty")
    assert scores == pytest.approx(expected.tolist(), abs=1e-4)


def test_swap_averages_other_personas(
    engine: TransformersEngine, make_text: MakeText, plain_logp: Logp
) -> None:
    text = make_text()
    strangers = [make_text(persona) for persona in text.background[1:]]
    others = torch.stack([plain_logp(stranger.factual, text.tokens) for stranger in strangers]).mean(0)
    (scores,) = score(engine, text, counterfactual="swap", swaps=2)
    assert scores == pytest.approx((plain_logp(text.factual, text.tokens) - others).tolist(), abs=1e-4)


def test_swaps_are_drawn_by_seed_and_persona(engine: TransformersEngine, make_text: MakeText) -> None:
    background = tuple((f"I am number {i}.",) for i in range(9))

    def drawn(text: PersonaText, seed: int) -> list[tuple[int, ...]]:
        identifier = load_identifier("percontrast", {"counterfactual": "swap", "swaps": 3, "seed": seed})
        return identifier._others(text)  # type: ignore[attr-defined, no-any-return]

    one, two = make_text(background[0], "Yes.", background), make_text(background[0], "No.", background)
    assert drawn(one, 0) == drawn(two, 0)  # one user's answers share their prompts
    assert len(set(drawn(one, 0))) == 3
    assert make_text(background[0]).factual not in drawn(one, 0)
    assert any(drawn(one, 0) != drawn(one, seed) for seed in range(1, 4))


def test_too_few_personas_to_swap(engine: TransformersEngine, make_text: MakeText) -> None:
    with pytest.raises(PerbenchError, match=r"swaps=3 needs as many other personas.* has 2; lower swaps"):
        score(engine, make_text(), counterfactual="swap", swaps=3)


@pytest.mark.parametrize("how", ["max", "sum", "mean"])
def test_words(engine: TransformersEngine, make_text: MakeText, how: str) -> None:
    text = make_text(answer="  Housewarming (quietly), at\tnight. ")
    (tokens,), (words,) = score(engine, text), score(engine, text, words=how)
    together = {"max": max, "sum": sum, "mean": lambda values: sum(values) / len(values)}[how]
    seen = []
    for word in ("Housewarming", "(quietly),", "at", "night."):
        start = text.response.index(word)
        members = [i for i, (s, e) in enumerate(text.spans) if start <= s < e <= start + len(word)]
        expected = together([tokens[i] for i in members])
        assert [words[i] for i in members] == pytest.approx([expected] * len(members))
        seen += members
    assert all(tokens[i] == words[i] for i in range(len(tokens)) if i not in seen)  # white space
    assert [text.spans[i][0] == text.spans[i][1] for i in range(len(tokens))].count(True) == len(
        tokens
    ) - len(seen)


CONTENT = ("Housewarmings", "quietly", "fun", "night", "bake")


@pytest.mark.parametrize("how", ["none", "max"])
def test_only_content_words(engine: TransformersEngine, make_text: MakeText, how: str) -> None:
    text = make_text(answer="Housewarmings are quietly fun, and at night they bake.")
    (every,), (content,) = (score(engine, text, words=how, content_words=only) for only in (False, True))
    places = [(text.response.index(word), len(word)) for word in CONTENT]
    inside = [any(s < start + length and start < e for start, length in places) for s, e in text.spans]
    assert 5 <= sum(inside) < len(inside)
    assert content == [s if held else min(s, 0.0) for s, held in zip(every, inside, strict=True)]
    assert content != every


def test_the_threshold_is_the_papers() -> None:
    assert load_identifier("percontrast").params == {
        "threshold": 1.0,
        "words": "none",
        "counterfactual": "remove",
        "content_words": False,
        "swaps": 4,
        "seed": 0,
    }
