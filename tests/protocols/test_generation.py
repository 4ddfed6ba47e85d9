"""Generation: what is stored, resuming after a kill at any point, and scores by hand."""

from __future__ import annotations

from typing import Any

import pytest

from perbench.api import Example
from perbench.data import Dataset
from perbench.engines.base import Engine
from perbench.engines.transformers import TransformersEngine
from perbench.errors import PerbenchError
from perbench.prompts.pair import build_pair
from perbench.protocols import get
from perbench.protocols.base import BATCH, chunks
from perbench.protocols.generation import run, score
from perbench.specs.load import Named
from perbench.specs.persona import PersonaSpec
from perbench.specs.task import DataSpec, FieldSpec, PromptSpec, SamplingSpec, TaskSpec

TASK: Named[TaskSpec] = Named(
    "toy/writing",
    TaskSpec(
        summary="test",
        protocol="generation",
        license="none",
        data=DataSpec(files="unread"),
        fields=FieldSpec(user="user", question="question", reference="answer", persona="persona"),
        prompt="plain",
        prompts={"plain": PromptSpec(system="I wrote: {persona}", item="{text}", join="\n")},
        persona=PersonaSpec(k=2),
        max_length=90,
        sampling=SamplingSpec(max_new_tokens=8, temperature=1.0),
        metrics=["rouge1", "length", "truncated"],
        headline="rouge1",
    ),
    None,
)
Store = Any
"""A MemoryStore of conftest.py."""
LONG = "I like to hunt deer in the woods with my old dog every autumn. " * 2


def quiet(done: int, total: int, figures: dict[str, float]) -> None:
    """A progress callback that shows nothing."""


def example(number: int) -> Example:
    persona = ({"text": "I hunt deer."}, {"text": LONG}, {"text": "never: k is 2"})
    return Example(
        f"e{number:02d}", f"u{number % 3}", "What now? " + "deer " * (number % 7), "I hunt.", persona
    )


DATASET = Dataset([example(number) for number in range(BATCH + 3)], "digest")


class One:
    """The subject alone: generation uses no other model."""

    def __init__(self, subject: Engine) -> None:
        self.subject = subject

    def named(self, model: str) -> Engine:
        raise AssertionError(f"generation asked for {model}")


@pytest.fixture(scope="module")
def whole(stores: Any, engine: TransformersEngine) -> Store:
    store = stores()
    run(TASK, DATASET, One(engine), store, seed=4, tick=quiet)
    return store


def test_a_sample_says_all_that_scoring_and_reading_need(engine: TransformersEngine, whole: Store) -> None:
    assert sorted(sample["id"] for sample in whole.rows) == [example.id for example in DATASET.examples]
    examples = {example.id: example for example in DATASET.examples}
    for sample in whole.rows:
        source = examples[sample["id"]]
        pair = build_pair(TASK.spec, source, engine.tokenizer, with_response=False)
        assert sample["user"] == source.user
        assert sample["question"] == source.question
        assert sample["reference"] == "I hunt."
        assert sample["prompt_tokens"] == len(pair.factual)
        assert (sample["persona_kept"], sample["persona_trimmed"]) == (pair.kept, pair.trimmed) == (1, 1)
        assert sample["finish_reason"] in ("stop", "length")
        assert 1 <= sample["new_tokens"] <= 8


def test_long_prompts_come_first(whole: Store) -> None:
    lengths = [sample["prompt_tokens"] for sample in whole.rows]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("fuse", range(len(DATASET.examples)))
def test_killed_anywhere_and_resumed_equals_uninterrupted(
    stores: Any, engine: TransformersEngine, whole: Store, fuse: int
) -> None:
    store = stores(fuse=fuse)
    with pytest.raises(stores.Killed):
        run(TASK, DATASET, One(engine), store, seed=4, tick=quiet)
    assert len(store.rows) == fuse
    resumed = stores(store.rows)
    tokens = run(TASK, DATASET, One(engine), resumed, seed=4, tick=quiet)
    assert resumed.rows == whole.rows
    assert tokens == {
        "prompt": sum(sample["prompt_tokens"] for sample in whole.rows),
        "generated": sum(sample["new_tokens"] for sample in whole.rows),
    }


def test_a_finished_cell_generates_nothing(stores: Any, engine: TransformersEngine, whole: Store) -> None:
    store = stores(whole.rows, fuse=len(whole.rows))
    ticks: list[tuple[int, int]] = []
    run(TASK, DATASET, One(engine), store, seed=4, tick=lambda done, total, _: ticks.append((done, total)))
    assert ticks == [(11, 11)]


def test_another_seed_gives_other_samples(stores: Any, engine: TransformersEngine, whole: Store) -> None:
    store = stores()
    run(TASK, DATASET, One(engine), store, seed=5, tick=quiet)
    assert store.rows != whole.rows


def test_a_request_that_cannot_fit_is_named_before_anything_is_generated(
    stores: Any, engine: TransformersEngine
) -> None:
    data = Dataset([example(0), Example("huge", "u", "deer " * 200, "", ())], "digest")
    store = stores()
    with pytest.raises(PerbenchError, match=r"example huge: .*raise max_length"):
        run(TASK, data, One(engine), store, seed=0, tick=quiet)
    assert store.rows == []


def row(number: int, user: str, response: str, **other: Any) -> dict[str, Any]:
    fields = {"finish_reason": "stop", "persona_kept": 2, "persona_trimmed": 1, **other}
    return {"id": f"e{number}", "user": user, "reference": "a b", "response": response, **fields}


def test_scores_by_hand() -> None:
    rows = [row(0, "u", "a b"), row(1, "u", "a c"), row(2, "v", "", finish_reason="length")]
    found = score(TASK, rows)
    assert found.scores.ids == ["e0", "e1", "e2"]
    assert found.scores.clusters == ["u", "u", "v"]
    assert found.scores.scores == {
        "rouge1": [1.0, 0.5, 0.0],
        "length": [2.0, 2.0, 0.0],
        "truncated": [0.0, 0.0, 1.0],
    }
    assert found.metrics["rouge1"].value == 0.5
    # Two users: a draw is u and u (mean 0.75), v and v (0), or both (0.5).
    assert found.metrics["rouge1"].ci == (0.0, 0.75)
    assert found.counts == {
        "samples": 3,
        "truncated": 1,
        "empty": 1,
        "persona_items_kept": 6,
        "persona_items_trimmed": 3,
    }


def test_chunks() -> None:
    assert chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert chunks([], 2) == []


def test_an_unknown_protocol() -> None:
    with pytest.raises(PerbenchError, match="unknown protocol 'dialog'"):
        get("dialog")
    assert get("generation").run is run
