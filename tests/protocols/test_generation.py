"""Generation: what is stored, resuming after a kill at any point, and scores by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.api import Example
from perbench.contracts.data import Dataset
from perbench.contracts.engine import Engine
from perbench.contracts.run import chunks
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import CellError, PerbenchError
from perbench.prompts.pair import build_pair
from perbench.shapes.base import Named
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import FieldSpec, PromptSpec, TaskSpec
from perbench.specs.compose import persona_spec, task_spec
from tests.owners import run, score

TASK: Named[TaskSpec] = Named(
    "toy/writing",
    task_spec()(
        summary="test",
        protocol="generation",
        license="none",
        data={"files": "unread"},
        fields=FieldSpec(user="user", question="question", reference="answer", persona="persona"),
        prompt="plain",
        prompts={"plain": PromptSpec(system="I wrote: {persona}", item="{text}", join="\n")},
        persona=persona_spec()(k=2),
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


BATCH = TransformersEngine.batch
DATASET = Dataset([example(number) for number in range(BATCH + 3)], "digest")


class One:
    """The subject alone: generation uses no other model. `users` have adapters of their own."""

    def __init__(self, subject: Engine, users: dict[str, Path] | None = None) -> None:
        self.subject, self.users = subject, users

    @contextmanager
    def subject_of(self, user: str | None) -> Iterator[Engine]:
        own = (self.users or {}).get(user or "")
        self.subject.load_adapter(None, own)
        yield self.subject
        self.subject.load_adapter(None)

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


def test_batches_computed_together_give_the_samples_of_each_alone(
    stores: Any, engine: TransformersEngine, whole: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    generate = engine.generate

    def noted(prompts: Any, *given: Any, **options: Any) -> Any:
        calls.append(len(prompts))
        return generate(prompts, *given, **options)

    monkeypatch.setattr(engine, "generate", noted)
    run(TASK, DATASET, One(engine), stores(), seed=4, tick=quiet)
    monkeypatch.setattr(engine, "together", 1)
    store = stores()
    run(TASK, DATASET, One(engine), store, seed=4, tick=quiet)
    assert calls == [BATCH + 3, BATCH, 3]
    assert store.rows == whole.rows


def test_a_finished_cell_generates_nothing(stores: Any, engine: TransformersEngine, whole: Store) -> None:
    store = stores(whole.rows, fuse=len(whole.rows))
    ticks: list[tuple[int, int]] = []
    run(TASK, DATASET, One(engine), store, seed=4, tick=lambda done, total, _: ticks.append((done, total)))
    assert ticks == [(11, 11)]


class Continuous(TransformersEngine):
    """Answers one by one, those that are asked for last first."""

    continuous = True

    def stream(self, prompts: Any, sampling: SamplingSpec, *, seeds: Any) -> Iterator[tuple[int, Any]]:
        yield from reversed(list(super().stream(prompts, sampling, seeds=seeds)))


@pytest.fixture(scope="module")
def continuous(tiny_model_dir: Path) -> Continuous:
    return Continuous(tiny_model_dir, dtype="float32")


@pytest.mark.parametrize("fuse", [0, 1, 7, 10])
def test_streamed_answers_depend_on_no_other_and_keep_the_order(
    stores: Any, continuous: Continuous, whole: Store, fuse: int
) -> None:
    straight, cut = stores(), stores(fuse=fuse)
    tokens = run(TASK, DATASET, One(continuous), straight, seed=4, tick=quiet)
    assert [row["id"] for row in straight.rows] == [row["id"] for row in whole.rows]
    with pytest.raises(stores.Killed):
        run(TASK, DATASET, One(continuous), cut, seed=4, tick=quiet)
    assert [row["id"] for row in cut.rows] == [row["id"] for row in reversed(whole.rows)][:fuse]
    resumed = stores(cut.rows)
    assert run(TASK, DATASET, One(continuous), resumed, seed=4, tick=quiet) == tokens
    assert resumed.rows == straight.rows
    few = Dataset(DATASET.examples[:3], "digest")
    part = stores()
    run(TASK, few, One(continuous), part, seed=4, tick=quiet)
    assert part.rows == [row for row in straight.rows if row["id"] in ("e00", "e01", "e02")]


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
    assert (found.metrics["rouge1"].users, found.metrics["rouge1"].ci) == (2, None)
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
        plugins.get("protocol", "dialog")


@pytest.fixture(scope="module")
def users(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Strong adapters of two users of three."""
    import torch
    from peft import LoraConfig, get_peft_model

    from perbench.lm.models import load_causal_lm

    found = {}
    for seed, user in enumerate(("u0", "u2")):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        found[user] = tmp_path_factory.mktemp(user)
        get_peft_model(load_causal_lm(tiny_model_dir, "float32"), config).save_pretrained(str(found[user]))
    return found


@pytest.fixture(scope="module")
def adapted(stores: Any, engine: TransformersEngine, users: dict[str, Path]) -> Store:
    store = stores()
    run(TASK, DATASET, One(engine, users), store, seed=4, tick=quiet)
    return store


def test_each_answer_is_by_its_users_adapter(
    engine: TransformersEngine, adapted: Store, users: dict[str, Path], stores: Any
) -> None:
    assert len(adapted.rows) == len(DATASET.examples)
    greedy = Named(
        "toy/greedy",
        TASK.spec.model_copy(update={"sampling": SamplingSpec(max_new_tokens=8, temperature=0.0)}),
        None,
    )
    store = stores()
    run(greedy, DATASET, One(engine, users), store, seed=4, tick=quiet)
    by_id = {sample["id"]: sample for sample in store.rows}
    differing = 0
    for example in DATASET.examples:
        pair = build_pair(TASK.spec, example, engine.tokenizer, with_response=False)
        answers = {}
        for user in (None, *users):
            engine.load_adapter(None, users.get(user or ""))
            answers[user] = engine.generate([pair.factual], greedy.spec.sampling, seed=0)[0].text
        engine.load_adapter(None)
        own = example.user if example.user in users else None
        assert by_id[example.id]["response"] == answers[own]
        assert by_id[example.id]["own_adapter"] == (own is not None)
        differing += len(set(answers.values())) == 3
    assert differing > 5  # so that another's adapter would show


def test_users_adapters_are_counted(adapted: Store, whole: Store) -> None:
    scored = score(TASK, adapted.samples())
    own = sum(example.user != "u1" for example in DATASET.examples)
    assert (scored.counts["own_adapter"], scored.counts["task_adapter"]) == (own, len(DATASET.examples) - own)
    assert (
        f"{len(DATASET.examples) - own} of {len(DATASET.examples)} answers by no adapter of the user's own"
        in scored.notes
    )
    assert "own_adapter" not in score(TASK, whole.samples()).counts


def test_a_users_samples_depend_on_no_other_user(
    engine: TransformersEngine, adapted: Store, users: dict[str, Path], stores: Any
) -> None:
    store = stores()
    rest = Dataset([example for example in DATASET.examples if example.user != "u0"], "digest")
    run(TASK, rest, One(engine, {"u2": users["u2"]}), store, seed=4, tick=quiet)
    kept = [sample for sample in adapted.rows if sample["user"] != "u0"]
    assert sorted(store.rows, key=lambda row: row["id"]) == sorted(kept, key=lambda row: row["id"])


@pytest.mark.parametrize("fuse", [1, 4, 6, 9])
def test_killed_among_users_and_started_again(
    engine: TransformersEngine, adapted: Store, users: dict[str, Path], stores: Any, fuse: int
) -> None:
    store = stores(fuse=fuse)
    with pytest.raises(stores.Killed):
        run(TASK, DATASET, One(engine, users), store, seed=4, tick=quiet)
    engine.load_adapter(None)
    store.fuse = None
    run(TASK, DATASET, One(engine, users), store, seed=4, tick=quiet)
    assert store.rows == adapted.rows


class Refusing(TransformersEngine):
    """Answers, but refuses what it is asked first in each batch."""

    together = 1

    def generate(self, *args: Any, **options: Any) -> list[Any]:
        first, *others = super().generate(*args, **options)
        return [replace(first, text="", finish_reason="content_filter", missing="filtered"), *others]


def test_a_missing_answer_is_stored_with_its_reason_counted_and_never_scored(
    tiny_model_dir: Path, stores: Any
) -> None:
    store, subject = stores(), Refusing(tiny_model_dir, dtype="float32")
    task = replace(TASK, spec=TASK.spec.model_copy(update={"max_missing": 0.5}))
    run(task, DATASET, One(subject), store, seed=0, tick=quiet)
    absent = [sample for sample in store.samples() if "missing" in sample]
    assert [(one["missing"], one["finish_reason"]) for one in absent] == [("filtered", "content_filter")] * 2
    found = score(task, store.samples())
    assert found.counts["missing_filtered"] == 2
    assert found.counts["empty"] == 0
    for name, scores in found.scores.scores.items():
        assert [value is None for value in scores] == ["missing" in sample for sample in store.samples()]
        assert (found.metrics[name].missing, found.metrics[name].why) == (2, {"filtered": 2})


def test_too_many_missing_answers_fail_the_cell_and_are_not_asked_for_again(
    tiny_model_dir: Path, stores: Any
) -> None:
    store, subject = stores(), Refusing(tiny_model_dir, dtype="float32")
    task = replace(TASK, spec=TASK.spec.model_copy(update={"max_missing": 0.0}))
    for _ in range(2):
        with pytest.raises(CellError, match="1 filtered"):
            run(task, DATASET, One(subject), store, seed=0, tick=quiet)
        assert len(store.samples()) == BATCH  # at the second start nothing more is asked
