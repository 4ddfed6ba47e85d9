"""Identification end to end: batches, resuming, what plugins may get wrong, and metrics by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perbench.api import Example, Identifier, PersonaText, TokenScores
from perbench.data import Dataset
from perbench.engines.transformers import TransformersEngine
from perbench.errors import CellError, PerbenchError
from perbench.plugins import load_identifier
from perbench.protocols.identification import BATCH, persona_text, run_identifier, score
from perbench.specs.load import Named
from perbench.specs.task import DataSpec, FieldSpec, PromptSpec, TaskSpec
from perbench.words import word_spans

TASK: Named[TaskSpec] = Named(
    "identification/test",
    TaskSpec(
        summary="test",
        protocol="identification",
        license="none",
        data=DataSpec(files="unread.jsonl"),
        fields=FieldSpec(question="question", reference="answer", persona="persona", extra=["gold"]),
        prompt="plain",
        prompts={"plain": PromptSpec(system="You are: {persona}", item="{text}", join="\n")},
        headline="f1",
    ),
    None,
)


def example(number: int, reference: str = "I hunt deer.", gold: Any = ("deer",)) -> Example:
    persona = ({"text": "I like to hunt."}, {"text": f"I am {number}."})
    return Example(f"e{number}", f"u{number % 5}", "And you?", reference, persona, {"gold": list(gold)})


class Store:
    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.writes: list[int] = []

    def samples(self) -> list[dict[str, Any]]:
        return list(self.kept)

    def append(self, samples: Sequence[dict[str, Any]]) -> None:
        self.kept += samples
        self.writes.append(len(samples))


class Words(Identifier):
    """Scores a word by its place; remembers what it was given."""

    needs_model = False
    threshold: float = 1.5

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        self._calls = [*getattr(self, "_calls", []), [text.id for text in examples]]
        return [
            TokenScores(tuple(spans), tuple(map(float, range(len(spans)))), {"odd": 1})
            for spans in (word_spans(text.response) for text in examples)
        ]


def run(identifier: Identifier, examples: list[Example], store: Store, engine: Any = None) -> dict[str, int]:
    ticks: list[tuple[int, int]] = []
    tokens = run_identifier(
        TASK,
        Dataset(examples, "digest"),
        identifier,
        engine,
        store,
        tick=lambda done, total, _: ticks.append((done, total)),
    )
    assert ticks[-1] == (len(examples), len(examples))
    return tokens


def test_samples_hold_what_pages_and_rescoring_need() -> None:
    store = Store()
    tokens = run(Words(), [example(3)], store)
    assert store.kept == [
        {
            "id": "e3",
            "user": "u3",
            "persona": ["I like to hunt.", "I am 3."],
            "question": "And you?",
            "response": "I hunt deer.",
            "gold": [[7, 11]],
            "spans": [[0, 1], [2, 6], [7, 11]],
            "scores": [0.0, 1.0, 2.0],
            "threshold": 1.5,
            "counts": {"odd": 1},
        }
    ]
    assert (tokens["response"], tokens["timed_examples"], tokens["timed_tokens"]) == (3, 1, 3)


def test_a_resumed_run_sees_the_same_batches_and_stores_each_sample_once() -> None:
    examples = [example(i) for i in range(2 * BATCH + 3)]
    whole, resumed = Store(), Store()
    run(Words(), examples, whole)
    assert whole.writes == [BATCH, BATCH, 3]

    resumed.kept = whole.kept[: BATCH + 2]  # killed in the middle of a write: two samples of the second batch
    identifier = Words()
    tokens = run(identifier, examples, resumed)
    assert identifier._calls == [
        [e.id for e in examples[BATCH : 2 * BATCH]],
        [e.id for e in examples[2 * BATCH :]],
    ]
    assert resumed.kept == whole.kept
    assert tokens["response"] == 3 * len(examples)
    assert tokens["timed_examples"] == BATCH + 3

    again = Words()
    assert run(again, examples, resumed)["timed_examples"] == 0
    assert not hasattr(again, "_calls")


def test_bad_gold_stops_before_anything_is_scored() -> None:
    identifier, store = Words(), Store()
    with pytest.raises(PerbenchError, match="'e1': gold 'stag'"):
        run(identifier, [example(0), example(1, gold=["stag"])], store)
    assert not hasattr(identifier, "_calls")


def faulty(answer: Any) -> Identifier:
    class Faulty(Identifier):
        threshold: float = 0.0

        def score(self, examples: Sequence[PersonaText], engine: Any) -> Any:
            return answer

    return Faulty()


GOOD = TokenScores(((0, 1),), (0.0,))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([GOOD], "a list of 2 TokenScores for the examples 'e0' to 'e1', one each, and returned 1 results"),
        (None, "and returned None"),
        ([GOOD, [0.0]], "example 'e1': score() must return TokenScores, not list"),
        ([GOOD, TokenScores(((0, 1), (2, 6)), (1.0,))], "example 'e1': 1 scores for 2 spans"),
        ([TokenScores(((0, 99),), (1.0,)), GOOD], "example 'e0': span [0, 99] is outside"),
        ([TokenScores(((-1, 2),), (1.0,)), GOOD], "example 'e0': span [-1, 2] is outside"),
        ([TokenScores(((3, 2),), (1.0,)), GOOD], "example 'e0': span [3, 2] is outside"),
        ([GOOD, TokenScores(((0, 1),), (float("nan"),))], "example 'e1': score nan of span [0, 1]"),
        ([GOOD, TokenScores(((0, 1),), (float("inf"),))], "is not finite"),
        ([GOOD, TokenScores(((0, 1),), (0.0,), {}, (0, 1))], "example 'e1': 2 sources for 1 spans"),
        (
            [GOOD, TokenScores(((0, 1),), (0.0,), {}, (2,))],
            "example 'e1': source 2 is none of the 2 sentences",
        ),
    ],
)
def test_a_plugins_faults_name_it_and_the_example(answer: Any, message: str) -> None:
    store = Store()
    with pytest.raises(CellError) as caught:
        run(faulty(answer), [example(0), example(1)], store)
    assert str(caught.value).startswith("identifier test_identification")
    assert message in str(caught.value)
    assert store.kept == []


# ---------------------------------------------------------------- token ids


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


def test_an_identifier_with_a_model_gets_the_prompt_pair(engine: TransformersEngine) -> None:
    text = persona_text(TASK.spec, example(3), engine)
    decode = engine.tokenizer.decode
    turn = "<|im_start|>user\nAnd you?<|im_end|>\n<|im_start|>assistant\n"
    assert decode(text.counterfactual) == turn
    assert decode(text.factual) == f"<|im_start|>system\nYou are: I like to hunt.\nI am 3.<|im_end|>\n{turn}"
    assert decode(text.tokens) == "I hunt deer."
    assert len(text.spans) == len(text.tokens)
    assert "".join(text.response[s:e] for s, e in text.spans) == "Ihuntdeer."


def test_prompts_with_other_personas(engine: TransformersEngine) -> None:
    text = persona_text(TASK.spec, example(3), engine)
    assert text.prompt_with is not None
    decode = engine.tokenizer.decode
    turn = "<|im_start|>user\nAnd you?<|im_end|>\n<|im_start|>assistant\n"
    assert text.prompt_with(text.persona) == text.factual
    assert decode(text.prompt_with(["I bake."])) == f"<|im_start|>system\nYou are: I bake.<|im_end|>\n{turn}"
    assert decode(text.prompt_with([])) == f"<|im_start|>system\nYou are: <|im_end|>\n{turn}"


class Sourced(Words):
    """Keeps what it was given; says that the last word comes from the second sentence."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        self._texts = [*getattr(self, "_texts", []), *examples]
        found = super().score(examples, engine)
        return [replace(one, sources=(*[None] * (len(one.spans) - 1), 1)) for one in found]


@pytest.mark.parametrize("with_model", [False, True])
def test_an_identifier_sees_the_personas_of_all_users_once(
    engine: TransformersEngine, with_model: bool
) -> None:
    identifier = Sourced()
    run(identifier, [example(i % 20) for i in range(BATCH + 9)], Store(), engine if with_model else None)
    personas = tuple(("I like to hunt.", f"I am {i}.") for i in range(20))
    assert [text.background for text in identifier._texts] == [personas] * (BATCH + 9)


def test_sources_are_stored() -> None:
    store = Store()
    run(Sourced(), [example(3)], store)
    assert store.kept[0]["sources"] == [None, None, 1]


def test_percontrast_scores_every_token_of_the_response(engine: TransformersEngine) -> None:
    store = Store()
    run(load_identifier("percontrast"), [example(i) for i in range(3)], store, engine)
    for sample in store.kept:
        assert "".join(sample["response"][s:e] for s, e in sample["spans"]) == "Ihuntdeer."
        assert any(sample["scores"])
    assert store.kept[0]["scores"] != store.kept[1]["scores"]  # another persona, other scores


# ---------------------------------------------------------------- metrics


def sample(name: str, user: str, scores: list[float], gold: list[list[int]], **counts: int) -> dict[str, Any]:
    response = "a bb ccc dddd"
    return {
        "id": name,
        "user": user,
        "response": response,
        "gold": gold,
        "spans": [list(span) for span in word_spans(response)],
        "scores": scores,
        "threshold": 1.0,
        "counts": counts,
    }


def test_metrics_by_hand() -> None:
    scored = score(
        TASK,
        [
            sample("x", "u", [2, 0, 2, 0], [[0, 4]], unparsable=1, absent_keywords=2),  # tp 1, fp 1, fn 1
            sample(
                "y", "v", [0, 0, 1.0, 1.01], [[5, 13]], unparsable=0
            ),  # tp 1, fn 1: a score of 1 is not above 1
            sample("z", "v", [0, 0, 0, 0], []),
        ],
    )
    values = {name: metric.value for name, metric in scored.metrics.items()}
    assert values == pytest.approx({"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7, "word_recall": 2 / 4})
    assert scored.scores.ids == ["x", "y", "z"]
    assert scored.scores.clusters == ["u", "v", "v"]
    assert scored.scores.scores["tp"] == [1, 1, 0]
    assert scored.scores.scores["fp"] == [1, 0, 0]
    assert scored.scores.scores["fn"] == [1, 1, 0]
    assert scored.scores.scores["f1"] == [0.5, pytest.approx(2 / 3), None]
    assert scored.counts == {"samples": 3, "unparsable": 1, "absent_keywords": 2}
    assert scored.notes == ["1 of 3 replies hold no list and count as naming nothing"]
    low, high = scored.metrics["precision"].ci or (None, None)
    assert (low, high) == (0.5, 1.0)  # the users' own values: u 1/2, v 1/1
    assert scored.metrics["f1"].signature == "f1|micro|score>1|token in gold span|v1"


def test_no_prediction_has_no_precision() -> None:
    scored = score(TASK, [sample("x", "u", [0, 0, 0, 0], [[0, 1]])])
    assert scored.metrics["precision"].value is None
    assert scored.metrics["recall"].value == scored.metrics["f1"].value == 0.0
    assert scored.metrics["f1"].ci is None


def test_all_personal_and_none_personal() -> None:
    everything = score(TASK, [sample(n, n, [2, 2, 2, 2], [[0, 13]]) for n in "ab"])
    assert {metric.value for metric in everything.metrics.values()} == {1.0}
    assert everything.metrics["f1"].ci == (1.0, 1.0)
    nothing = score(TASK, [sample("a", "u", [0, 0, 0, 0], [])])
    assert {metric.value for metric in nothing.metrics.values()} == {None}
