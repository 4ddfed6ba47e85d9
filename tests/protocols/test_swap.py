"""Persona swap: who is tried, what is scored, and that it lives in the samples."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perbench.api import Example
from perbench.contracts.data import Dataset
from perbench.contracts.engine import Engine
from perbench.engines.transformers.engine import TransformersEngine
from perbench.persona.others import others
from perbench.prompts.chat import encode_response
from perbench.prompts.pair import build_pair
from perbench.protocols.generation.section import PersonaSwapSpec
from perbench.protocols.generation.swap import swap_logp
from perbench.protocols.generation.swap_scores import measure
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec
from tests.owners import run, score
from tests.protocols.test_generation import TASK, quiet


def swapped(count: int = 2, **changes: Any) -> Named[TaskSpec]:
    update = {"persona_swap": PersonaSwapSpec(others=count), "max_length": 400, **changes}
    return replace(TASK, spec=TASK.spec.model_copy(update=update))


def example(user: str, number: int, text: str | None = None) -> Example:
    persona = ({"text": text or f"I am {user}; I hunt and paint."},)
    return Example(f"{user}{number}", user, "What now?", "I bake bread.", persona)


EXAMPLES = [example(user, number) for user in "abcde" for number in range(2)]


def test_others_are_other_users_each_once_and_the_same_whoever_else_is_there() -> None:
    first = EXAMPLES[0]
    for count in range(6):
        chosen = others(first, EXAMPLES, count)
        users = [other.user for other in chosen]
        assert len(set(users)) == len(users) == min(count, 4)
        assert "a" not in users
        assert chosen == others(first, EXAMPLES[::-1], count) or all(o.id.endswith("0") for o in chosen)
    order = [other.user for other in others(first, EXAMPLES, 4)]
    fewer = [one for one in EXAMPLES if one.user != order[0]]
    assert [other.user for other in others(first, fewer, 4)] == order[1:]
    assert {tuple(o.user for o in others(one, EXAMPLES, 2)) for one in EXAMPLES} != {tuple(order[:2])}


def test_a_user_without_a_persona_or_with_the_same_one_is_no_rival() -> None:
    bare = replace(example("x", 0), persona=())
    double = replace(example("y", 0), persona=EXAMPLES[0].persona)
    assert others(EXAMPLES[0], [bare, double, EXAMPLES[0]], 3) == []


def test_log_probs_are_those_of_the_prompts_answers_come_from(engine: TransformersEngine) -> None:
    spec, first, response = swapped().spec, EXAMPLES[0], "deer in the woods"
    (found,) = swap_logp(spec, spec.persona_swap.others, [(first, response)], EXAMPLES, engine)
    chosen = others(first, EXAMPLES, 2)
    assert found["others"] == [other.user for other in chosen]
    contexts = [
        build_pair(spec, replace(first, persona=one.persona), engine.tokenizer, with_response=False).factual
        for one in (first, *chosen)
    ]
    tokens = 0
    for name, text in (("response", response), ("reference", first.reference)):
        ids = encode_response(engine.tokenizer, text)[:8]
        plain = [float(engine.score([context], [ids])[0].sum(dtype="float64")) for context in contexts]
        assert found[name] == pytest.approx(plain, abs=1e-4)
        tokens += sum(len(context) + len(ids) for context in contexts)
    assert found["tokens"] == tokens


class Liking:
    """A scorer that finds every token of a text so likely as `liked` says of the persona in its prompt."""

    def __init__(self, engine: TransformersEngine, liked: dict[str, float]) -> None:
        self.tokenizer, self._liked = engine.tokenizer, liked
        self.prompts: list[str] = []

    def score(self, prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> list[Any]:
        shown = [self.tokenizer.decode(prompt) for prompt in prompts]
        self.prompts += shown
        values = [[value for word, value in self._liked.items() if word in text] for text in shown]
        return [np.full(len(ids), sum(found)) for found, ids in zip(values, texts, strict=True)]


def test_personas_that_do_not_fit_are_left_out(engine: TransformersEngine) -> None:
    """By hand: a against b (likelier), c (less likely) and d (does not fit); d against none."""
    people = [example(user, 0, text) for user, text in (("a", "I fish."), ("b", "I bake."), ("c", "I sew."))]
    people.append(example("d", 0, "I paint. " + "I like deer and bread. " * 60))
    bare = build_pair(swapped().spec, replace(people[0], persona=()), engine.tokenizer, with_response=False)
    spec = swapped(3, max_length=len(bare.factual) + 60).spec
    scorer: Any = Liking(engine, {"fish": -2.0, "bake": -1.0, "sew": -3.0})
    found = swap_logp(spec, spec.persona_swap.others, [(one, "so it goes") for one in people], people, scorer)
    assert [sorted(one["others"]) for one in found] == [["b", "c"], ["a", "c"], ["a", "b"], []]
    assert [one["left_out"] for one in found] == [1, 1, 1, 3]
    assert (found[3]["response"], found[3]["reference"], found[3]["tokens"]) == ([], [], 0)
    assert all(any(word in prompt for word in ("fish", "bake", "sew")) for prompt in scorer.prompts)
    assert (
        swap_logp(spec, spec.persona_swap.others, [(people[3], "so it goes")], people, engine) == found[3:]
    )  # a batch of nothing
    samples = [{"user": one.user, "persona_swap": swap} for one, swap in zip(people, found, strict=True)]
    assert spec.persona_swap is not None
    measured = measure(spec.persona_swap, samples, 8)
    for name in ("persona_swap", "persona_swap_reference"):
        assert measured[name].per_sample == [0.5, 1.0, 0.0, None]
        assert (measured[name].metric.value, measured[name].metric.missing) == (0.5, 1)


class Two:
    """A subject and a scorer of its own."""

    users = None

    def __init__(self, subject: Engine, scorer: Engine) -> None:
        self.subject = subject
        self._scorer = scorer
        self.asked: list[str | None] = []

    def subject_of(self, user: str | None) -> AbstractContextManager[Engine]:
        assert user is None
        return nullcontext(self.subject)

    def named(self, model: str) -> Engine:
        raise AssertionError(f"generation asked for {model}")

    def scorer(self, model: str | None) -> Engine:
        self.asked.append(model)
        return self._scorer


def test_a_run_stores_what_scoring_needs(stores: Any, engine: TransformersEngine) -> None:
    task = swapped(2)
    engines = Two(engine, engine)
    store = stores()
    tokens = run(task, Dataset(EXAMPLES, "digest"), engines, store, seed=1, tick=quiet)
    assert set(engines.asked) == {None}
    found = score(task, store.samples())
    assert set(found.metrics) == {"rouge1", "length", "truncated", "persona_swap", "persona_swap_reference"}
    assert found.metrics["persona_swap_reference"].n == len(EXAMPLES)
    assert found.metrics["persona_swap_reference"].ci is not None
    assert len(found.scores.scores["persona_swap"]) == len(EXAMPLES)
    assert found.counts["persona_swap_left_out"] == 0
    assert tokens["scored"] == sum(sample["persona_swap"]["tokens"] for sample in store.rows)
    plain = stores()
    run(TASK, Dataset(EXAMPLES, "digest"), engines, plain, seed=1, tick=quiet)
    for with_swap, without in zip(store.rows, plain.rows, strict=True):
        assert {key: with_swap[key] for key in without} == without  # the answers do not depend on it


@pytest.mark.parametrize("fuse", [0, 3, 9])
def test_killed_and_resumed_equals_uninterrupted(stores: Any, engine: TransformersEngine, fuse: int) -> None:
    task, data, engines = swapped(), Dataset(EXAMPLES, "digest"), Two(engine, engine)
    whole, store = stores(), stores(fuse=fuse)
    run(task, data, engines, whole, seed=1, tick=quiet)
    with pytest.raises(stores.Killed):
        run(task, data, engines, store, seed=1, tick=quiet)
    resumed = stores(store.rows)
    run(task, data, engines, resumed, seed=1, tick=quiet)
    assert resumed.rows == whole.rows
