"""Context steering against a slow reference that reads both contexts anew for every token."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.contracts.engine import Combine, Generation
from perbench.engines.transformers.engine import TransformersEngine
from perbench.prompts.chat import chat_text, encode
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import decoding_of, decoding_spec

GREEDY = SamplingSpec(max_new_tokens=10, temperature=0)
WARM = SamplingSpec(max_new_tokens=10, temperature=0.8, top_p=0.9)
PAIRS = [
    ("I hunt deer in the woods with my dog.", "Hi"),
    ("I paint houses red.", "What do you usually do on a free afternoon?"),
    ("I bake bread. I read long novels. I play the violin at night.", "Deer?"),
    ("Tea.", "What do you usually do?"),
]


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


@pytest.fixture(scope="module")
def contexts(engine: TransformersEngine) -> tuple[list[list[int]], list[list[int]]]:
    def prompts(told: bool) -> list[list[int]]:
        texts = [chat_text(engine.tokenizer, one if told else None, [question]) for one, question in PAIRS]
        return [encode(engine.tokenizer, text) for text in texts]

    return prompts(True), prompts(False)


def combine(lam: float) -> Combine:
    """As decoding context_steering has it."""
    found: Combine = decoding_of(decoding_spec()(method="context_steering", lam=lam)).combine  # type: ignore[attr-defined]
    return found


def steer(engine: TransformersEngine, *contexts: Any, lam: float, seed: int) -> list[Generation]:
    return engine.steer(*contexts, combine=combine(lam), seed=seed)


def distribution(model: Any, prompt: list[int], without: list[int], answer: list[int], lam: float) -> Any:
    """log p of the next token, by the definition: normalised log-probs of both contexts, full passes."""
    with torch.no_grad():
        one, other = (
            model(torch.tensor([[*ids, *answer]])).logits[0, -1].double().log_softmax(-1)
            for ids in (prompt, without)
        )
    return (one + lam * (one - other)).log_softmax(-1)


def reference(
    engine: TransformersEngine,
    prompt: list[int],
    without: list[int],
    lam: float,
    sampling: SamplingSpec,
    seed: int,
) -> str:
    """One answer, alone; drawn from the top_p nucleus of the tempered distribution with torch's generator."""
    answer: list[int] = []
    torch.manual_seed(seed)
    for _ in range(sampling.max_new_tokens):
        logp = distribution(engine.model, prompt, without, answer, lam)
        if sampling.temperature == 0:
            token = int(logp.argmax())
        else:
            p = (logp / sampling.temperature).softmax(-1)
            ranked, order = p.sort(descending=True)
            outside = ranked.cumsum(0) - ranked >= sampling.top_p
            p[order[outside]] = 0
            token = int(torch.multinomial((p / p.sum()).float(), 1))
        if token in engine.stop_tokens:
            break
        answer.append(token)
    text: str = engine.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


@pytest.mark.parametrize("lam", [-1.0, 0.0, 0.5, 1.0, 3.0])
def test_greedy_answers_are_those_of_the_definition(
    engine: TransformersEngine, contexts: tuple[list[list[int]], list[list[int]]], lam: float
) -> None:
    found = steer(engine, *contexts, GREEDY, lam=lam, seed=0)
    expected = [reference(engine, one, other, lam, GREEDY, 0) for one, other in zip(*contexts, strict=True)]
    assert [answer.text for answer in found] == expected
    read = [len(one) + len(other) for one, other in zip(*contexts, strict=True)]
    assert [answer.prompt_tokens for answer in found] == read


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sampled_answers_are_those_of_the_definition(
    engine: TransformersEngine, contexts: tuple[list[list[int]], list[list[int]]], seed: int
) -> None:
    for one, other in zip(*contexts, strict=True):
        (found,) = steer(engine, [one], [other], WARM, lam=1.0, seed=seed)
        assert found.text == reference(engine, one, other, 1.0, WARM, seed)


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_0_is_ordinary_decoding_and_minus_1_leaves_the_context_out(
    engine: TransformersEngine, contexts: tuple[list[list[int]], list[list[int]]], sampling: SamplingSpec
) -> None:
    def texts(answers: list[Generation]) -> list[tuple[str, str, int]]:
        return [(answer.text, answer.finish_reason, answer.new_tokens) for answer in answers]

    told, untold = contexts
    ordinary = texts(engine.generate(told, sampling, seed=5))
    assert texts(steer(engine, told, untold, sampling, lam=0.0, seed=5)) == ordinary
    assert texts(steer(engine, told, untold, sampling, lam=2.0, seed=5)) != ordinary
    for one, other in zip(*contexts, strict=True):
        found = texts(steer(engine, [one], [other], sampling, lam=-1.0, seed=5))
        assert found == texts(engine.generate([other], sampling, seed=5))


def test_an_answer_does_not_depend_on_its_batch(
    engine: TransformersEngine,
    contexts: tuple[list[list[int]], list[list[int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = steer(engine, *contexts, GREEDY, lam=1.5, seed=0)
    alone = [
        steer(engine, [one], [other], GREEDY, lam=1.5, seed=0)[0]
        for one, other in zip(*contexts, strict=True)
    ]
    assert together == alone
    monkeypatch.setattr("perbench.engines.transformers.engine.TOKEN_BUDGET", 150)
    assert steer(engine, *contexts, GREEDY, lam=1.5, seed=0) == together


def test_one_batched_pass_a_token_reads_each_prompt_once(
    engine: TransformersEngine,
    contexts: tuple[list[list[int]], list[list[int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes, read = [], []
    body, whole = engine.model.model.forward, engine.model.forward

    def counting(seen: list[tuple[int, ...]], forward: Any) -> Any:
        @wraps(forward)
        def counted(**options: Any) -> Any:
            seen.append(tuple(options["input_ids"].shape))
            return forward(**options)

        return counted

    monkeypatch.setattr(engine.model.model, "forward", counting(read, body))
    monkeypatch.setattr(engine.model, "forward", counting(shapes, whole))
    longest = max(len(answer.text) for answer in steer(engine, *contexts, GREEDY, lam=1.0, seed=0))
    assert longest
    assert {length for _, length in shapes} == {1}
    assert shapes[0] == (2 * len(PAIRS), 1)
    assert len(shapes) <= GREEDY.max_new_tokens
    prompts = sum(map(len, [*contexts[0], *contexts[1]]))
    assert sum(rows * length for rows, length in read if length > 1) < 1.5 * prompts


def test_both_contexts_end_with_the_stop_token(
    engine: TransformersEngine, contexts: tuple[list[list[int]], list[list[int]]]
) -> None:
    told, untold = contexts
    first = int(distribution(engine.model, told[0], untold[0], [], 1.0).argmax())
    second = steer(engine, told[1:2], untold[1:2], GREEDY, lam=1.0, seed=0)
    stop = engine.stop_tokens
    try:
        engine.stop_tokens = frozenset({first})
        found = steer(engine, told[:2], untold[:2], GREEDY, lam=1.0, seed=0)
    finally:
        engine.stop_tokens = stop
    assert (found[0].text, found[0].finish_reason, found[0].new_tokens) == ("", "stop", 1)
    if first not in engine.tokenizer(second[0].text)["input_ids"]:
        assert found[1] == second[0]


def test_equal_contexts_steer_nowhere(
    engine: TransformersEngine, contexts: tuple[list[list[int]], list[list[int]]]
) -> None:
    told, _ = contexts
    found = steer(engine, told, told, WARM, lam=4.0, seed=2)
    assert [answer.text for answer in found] == [a.text for a in engine.generate(told, WARM, seed=2)]


def test_what_both_contexts_rule_out_stays_ruled_out() -> None:
    context, without = torch.tensor([[1.0, 2.0, -torch.inf]]), torch.tensor([[3.0, 1.0, -torch.inf]])
    assert combine(1.0)(context, without).tolist() == [[-1.0, 3.0, -torch.inf]]
