"""Strict parsing of replies, asking again, and the likeliest answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from perbench.contracts.engine import Conversation, Generation, TokenIds
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.judges import Judged, ask, parse
from perbench.prompts.chat import chat_text, encode
from perbench.shapes.rubric import Rubric
from perbench.shapes.sampling import SamplingSpec

RATING = Rubric(answer="1..5", holds=["text"], ask={"rating": "{text}"})
CHECK = Rubric(answer="yes_no", holds=["text"], ask={"check": "{text}"})
STANCE = Rubric(answer=["agrees", "ignores", "No"], holds=["text"], ask={"stance": "{text}"})


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
def test_ratings(reply: str, value: int | None) -> None:
    assert parse(RATING, reply) == value


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
def test_checks(reply: str, value: bool | None) -> None:
    assert parse(CHECK, reply) is value


@pytest.mark.parametrize(
    ("reply", "value"), [("agrees", "agrees"), (" IGNORES! ", "ignores"), ("no.", "No"), ("agree", None)]
)
def test_labels(reply: str, value: str | None) -> None:
    assert parse(STANCE, reply) == value


class Judge:
    """Answers each question (its number) from a script, and notes what it was asked."""

    tokenizer = None
    name = "script"
    offers, batch, alone = frozenset({"chat"}), 64, True

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


WARM = SamplingSpec(temperature=1.0)


def asked(*numbers: int) -> list[dict[str, str]]:
    return [{"text": str(number)} for number in numbers]


def ratings(judge: Judge, numbers: Sequence[int], sampling: SamplingSpec, seed: int = 0) -> list[Judged]:
    found = ask(judge, RATING, asked(*numbers), sampling, retries=2, seed=seed)  # type: ignore[arg-type]
    return [one["rating"] for one in found]


def test_only_the_unparsed_are_asked_again_each_time_with_another_seed() -> None:
    judge = Judge({1: ["3"], 2: ["good", "4"], 3: ["no", "?", "still no"]})
    found = ratings(judge, [1, 2, 3], WARM, seed=7)
    assert [rating.value for rating in found] == [3, 4, None]
    assert [rating.raw for rating in found] == [("3",), ("good", "4"), ("no", "?", "still no")]
    assert [numbers for numbers, _ in judge.asked] == [[1, 2, 3], [2, 3], [3]]
    assert len({seed for _, seed in judge.asked}) == 3
    assert [(rating.prompt_tokens, rating.new_tokens) for rating in found] == [(10, 2), (20, 4), (30, 6)]


def test_nobody_is_asked_when_all_have_answered() -> None:
    judge = Judge({1: ["3"], 2: ["4"]})
    ratings(judge, [1, 2], WARM)
    assert len(judge.asked) == 1


def test_a_greedy_judge_is_asked_once() -> None:
    judge = Judge({1: ["no", "5"]})
    (found,) = ratings(judge, [1], SamplingSpec(temperature=0))
    assert (found.value, found.raw, found.why) == (None, ("no",), "judge_unreadable")


@pytest.mark.parametrize("rubric", [RATING, CHECK, STANCE])
def test_the_likeliest_answer_is_the_verdict(tiny_model_dir: Path, rubric: Rubric) -> None:
    import torch

    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    tokenizer = engine.tokenizer
    words = [tokenizer.encode(word, add_special_tokens=False) for word in rubric.options]
    texts = ["I bake bread", "Is it red?", "Do you hunt? {brackets}"]
    found = ask(engine, rubric, [{"text": text} for text in texts], WARM, method="likeliest")
    (name,) = rubric.ask
    for text, one in zip(texts, found, strict=True):
        prompt = encode(tokenizer, chat_text(tokenizer, None, [text]))
        sums = []
        for word in words:
            with torch.no_grad():
                logits = engine.model(torch.tensor([[*prompt, *word]])).logits[0].log_softmax(-1)
            sums.append(sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(word)))
        assert one[name].value == list(rubric.options.values())[sums.index(max(sums))]
        assert [float(part) for part in one[name].raw[0].split()] == pytest.approx(sums, abs=2e-3)
        assert (one[name].prompt_tokens, one[name].new_tokens) == (len(prompt), 0)


@pytest.mark.parametrize(("rubric", "value"), [(RATING, 1), (CHECK, False), (STANCE, "agrees")])
def test_of_equals_the_first_the_lowest_or_no(tiny_model_dir: Path, rubric: Rubric, value: object) -> None:
    import numpy as np

    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    engine.score = lambda prompts, responses: [np.zeros(1)] * len(prompts)  # type: ignore[method-assign]
    (found,) = ask(engine, rubric, [{"text": "Is it red?"}], WARM, method="likeliest")
    assert [one.value for one in found.values()] == [value]


def test_a_question_longer_than_its_room_is_refused(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    with pytest.raises(PerbenchError, match=r"raise max_length"):
        ask(engine, CHECK, [{"text": "Is it red? " * 9}], WARM, room=12)
    (found,) = ask(engine, CHECK, [{"text": "Is it red?"}], SamplingSpec(max_new_tokens=4), room=40)
    assert found["check"].value is None  # a random model babbles
    assert 0 < found["check"].new_tokens <= 4
