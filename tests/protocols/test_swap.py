"""Persona swap: who is tried, what is scored, and that it lives in the samples."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from perbench.api import Example
from perbench.data import Dataset
from perbench.engines.base import Engine
from perbench.engines.transformers import TransformersEngine
from perbench.prompts.chat import encode_response
from perbench.prompts.pair import build_pair
from perbench.protocols.generation import run, score
from perbench.protocols.swap import others, swap_logp
from perbench.specs.load import Named
from perbench.specs.task import PersonaSwapSpec, TaskSpec
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
    (found,) = swap_logp(spec, [(first, response)], EXAMPLES, engine)
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


def test_personas_that_do_not_fit_tie(engine: TransformersEngine) -> None:
    long = [example(user, 0, f"{user} " + "likes deer and bread " * 60) for user in "abc"]
    bare = build_pair(swapped().spec, replace(long[0], persona=()), engine.tokenizer, with_response=False)
    spec = swapped(max_length=len(bare.factual) + 10).spec
    (found,) = swap_logp(spec, [(long[0], "so it goes")], long, engine)
    assert len(set(found["response"])) == 1


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
