"""Strict parsing of ratings, and asking again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from perbench.contracts.engine import Conversation, Generation, TokenIds
from perbench.judges import parse_rating, rate, rate_likeliest
from perbench.shapes.sampling import SamplingSpec


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("4", 4),
        (" 4\n", 4),
        ("4.", 4),
        ("5/5", 5),
        ("3 / 5.", 3),
        ("1", 1),
        ("", None),
        ("0", None),
        ("6", None),
        ("45", None),
        ("4.5", None),
        ("-3", None),
        ("4/10", None),
        ("4 5", None),
        ("4 or 5", None),
        ("Score: 4", None),
        ("four", None),
        ("4!", None),
        ("４", None),
        ("**4**", None),
        ("4\n\nBecause it suits her.", None),
    ],
)
def test_table(reply: str, value: int | None) -> None:
    assert parse_rating(reply) == value


class Judge:
    """Answers each question (its number) from a script, and notes what it was asked."""

    tokenizer = None
    name = "script"
    chat_only = True

    def __init__(self, script: dict[int, list[str]]) -> None:
        self.script = script
        self.asked: list[tuple[list[int], int]] = []

    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        raise AssertionError("a judge is asked by messages")

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        numbers = [int(conversation[0]["content"]) for conversation in conversations]
        self.asked.append((numbers, seed))
        return [Generation(self.script[number].pop(0), "stop", 10, 2) for number in numbers]

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[object]:
        raise AssertionError("a rating needs no score")

    def load_adapter(self, path: object) -> None:
        raise AssertionError("a judge has no adapter")


def test_the_likeliest_digit_is_the_rating(tiny_model_dir: Path) -> None:
    import torch

    from perbench.engines import open_engine
    from perbench.lm.models import ResolvedModel

    engine = open_engine(ResolvedModel("tiny", tiny_model_dir, "digest", None), dtype="float32")
    prompts = [engine.tokenizer.encode(text) for text in ("I bake bread", "She paints houses", "Persona")]
    digits = [engine.tokenizer.encode(str(digit), add_special_tokens=False) for digit in range(1, 6)]
    expected = []
    for prompt in prompts:
        sums = []
        for digit in digits:
            with torch.no_grad():
                logits = engine.model(torch.tensor([[*prompt, *digit]])).logits[0].log_softmax(-1)
            sums.append(sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(digit)))
        expected.append(1 + sums.index(max(sums)))
    found = rate_likeliest(engine, prompts)
    assert [rating.value for rating in found] == expected
    assert [(rating.prompt_tokens, rating.new_tokens) for rating in found] == [(len(p), 0) for p in prompts]


WARM = SamplingSpec(temperature=1.0)


def asked(*numbers: int) -> list[Conversation]:
    return [[{"role": "user", "content": str(number)}] for number in numbers]


def test_only_the_unparsed_are_asked_again_each_time_with_another_seed() -> None:
    judge = Judge({1: ["3"], 2: ["good", "4"], 3: ["no", "?", "still no"]})
    found = rate(judge, asked(1, 2, 3), WARM, retries=2, seed=7)
    assert [rating.value for rating in found] == [3, 4, None]
    assert [rating.raw for rating in found] == [("3",), ("good", "4"), ("no", "?", "still no")]
    assert [numbers for numbers, _ in judge.asked] == [[1, 2, 3], [2, 3], [3]]
    assert len({seed for _, seed in judge.asked}) == 3
    assert [(rating.prompt_tokens, rating.new_tokens) for rating in found] == [(10, 2), (20, 4), (30, 6)]


def test_nobody_is_asked_when_all_have_answered() -> None:
    judge = Judge({1: ["3"], 2: ["4"]})
    rate(judge, asked(1, 2), WARM, retries=2, seed=0)
    assert len(judge.asked) == 1


def test_a_greedy_judge_is_asked_once() -> None:
    judge = Judge({1: ["no", "5"]})
    assert rate(judge, asked(1), SamplingSpec(temperature=0), retries=2, seed=0)[0].value is None
