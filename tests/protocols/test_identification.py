"""Identification end to end: batches, resuming, what plugins may get wrong, and metrics by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perbench.api import Example, Identifier, PersonaText, TokenScores
from perbench.contracts.data import Dataset
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import CellError
from perbench.plugins import load_identifier
from perbench.protocols.identification.scoring import BATCH, persona_text
from perbench.shapes.base import Named
from perbench.shapes.task import FieldSpec, PromptSpec, TaskSpec
from perbench.specs.compose import task_spec
from perbench.text.words import word_spans
from tests.owners import run_identifier

TASK: Named[TaskSpec] = Named(
    "identification/test",
    task_spec()(
        summary="test",
        protocol="identification",
        license="none",
        data={"files": "unread.jsonl"},
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

    def arrange(self, ids: Sequence[str]) -> None:
        raise AssertionError("nothing was streamed")


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


def run(
    identifier: Identifier,
    examples: list[Example],
    store: Store,
    engine: Any = None,
    dev: list[Example] | None = None,
) -> dict[str, int]:
    ticks: list[tuple[int, int]] = []
    tokens = run_identifier(
        TASK,
        Dataset(examples, "digest"),
        identifier,
        engine,
        store,
        dev=Dataset(dev, "digest") if dev is not None else None,
        tick=lambda done, total, _: ticks.append((done, total)),
    )
    total = len(examples) + len(dev or ())
    assert ticks[-1] == (total, total)
    return tokens


def test_samples_hold_what_pages_and_rescoring_need() -> None:
    store = Store()
    tokens = run(Words(), [example(3)], store)
    assert store.kept == [
        {
            "id": "e3",
            "split": "test",
            "user": "u3",
            "persona": ["I like to hunt.", "I am 3."],
            "question": "And you?",
            "response": "I hunt deer.",
            "gold": [[7, 11]],
            "kinds": [None],
            "sentences": [None],
            "distractors": [],
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
    by_user = sorted(examples, key=lambda one: one.user)
    assert identifier._calls == [
        [e.id for e in by_user[BATCH : 2 * BATCH]],
        [e.id for e in by_user[2 * BATCH :]],
    ]
    assert resumed.kept == whole.kept
    assert tokens["response"] == 3 * len(examples)
    assert tokens["timed_examples"] == BATCH + 3

    again = Words()
    assert run(again, examples, resumed)["timed_examples"] == 0
    assert not hasattr(again, "_calls")


def test_the_dev_split_is_scored_first_in_batches_of_its_own() -> None:
    store, identifier = Store(), Sourced()
    dev = [replace(example(i), id=f"d{i}") for i in range(3)]
    tokens = run(identifier, [example(7)], store, dev=dev)
    assert [(sample["id"], sample["split"]) for sample in store.kept] == [
        ("d0", "dev"),
        ("d1", "dev"),
        ("d2", "dev"),
        ("e7", "test"),
    ]
    assert identifier._calls == [["d0", "d1", "d2"], ["e7"]]
    assert [len(text.background) for text in identifier._texts] == [3, 3, 3, 1]
    assert (tokens["response"], tokens["timed_examples"]) == (12, 4)


def test_kinds_sentences_and_distractors_are_stored() -> None:
    store = Store()
    gold = {"start": 7, "end": 11, "kind": "inference", "sentence": 0}
    one = replace(example(1, gold=[gold]), extra={"gold": [gold], "distractor": "hunt"})
    run(Words(), [one], store)
    (kept,) = store.kept
    assert (kept["gold"], kept["kinds"], kept["sentences"]) == ([[7, 11]], ["inference"], [0])
    assert kept["distractors"] == [[2, 6]]


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
        ([GOOD], "a list of 2 TokenScores for the examples 'e0' to 'e1', one each, but returned 1 results"),
        (None, "but returned None"),
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
            "example 'e1': source 2 is not one of the 2 sentences",
        ),
    ],
)
def test_a_plugins_faults_name_it_and_the_example(answer: Any, message: str) -> None:
    store = Store()
    with pytest.raises(CellError) as caught:
        run(faulty(answer), [example(0), example(1)], store)
    assert "test_identification.py:" in str(caught.value)
    assert "identifier test_identification" in str(caught.value)
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
    run(
        identifier,
        [replace(example(i % 20), id=f"e{i}") for i in range(BATCH + 9)],
        Store(),
        engine if with_model else None,
    )
    personas = tuple(("I like to hunt.", f"I am {i}.") for i in range(20))
    assert [text.background for text in identifier._texts] == [personas] * (BATCH + 9)


def test_sources_are_stored() -> None:
    store = Store()
    run(Sourced(), [example(3)], store)
    assert store.kept[0]["sources"] == [None, None, 1]


def test_an_identifier_that_only_chats_gets_no_tokens(engine: TransformersEngine) -> None:
    class Chatting(Sourced):
        needs_model = True
        needs_tokens = False

    identifier = Chatting()
    run(identifier, [example(3)], Store(), engine)
    assert (identifier._texts[0].factual, identifier._texts[0].tokens) == ((), ())


def test_percontrast_scores_every_token_of_the_response(engine: TransformersEngine) -> None:
    store = Store()
    run(load_identifier("percontrast"), [example(i) for i in range(3)], store, engine)
    for sample in store.kept:
        assert "".join(sample["response"][s:e] for s, e in sample["spans"]) == "Ihuntdeer."
        assert any(sample["scores"])
    assert store.kept[0]["scores"] != store.kept[1]["scores"]  # another persona, other scores


class Silent(Words):
    """Has no answer to the first example of each batch."""

    def score(self, examples: Sequence[PersonaText], engine: Any) -> list[TokenScores]:
        return [TokenScores((), (), missing="no_text"), *super().score(examples, engine)[1:]]


def test_an_example_without_an_answer_is_stored_so_and_too_many_fail_the_cell() -> None:
    store, examples = Store(), [example(i) for i in range(BATCH)]
    run(Silent(), examples, store)
    assert [sample.get("missing") for sample in store.kept] == ["no_text"] + [None] * (BATCH - 1)
    few = Store()
    for _ in range(2):
        with pytest.raises(CellError, match=r"1 of 2 answers are missing \(1 no text\)"):
            run(Silent(), examples[:2], few)
        assert len(few.kept) == 2
