"""Likelihood: what is scored under which persona, gold numbers, and resuming after a kill at any point."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perbench.api import Example
from perbench.contracts.data import Dataset
from perbench.contracts.engine import Engine
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.persona.others import alone, others
from perbench.persona.whose import Whose, with_persona_of
from perbench.prompts.chat import encode_response
from perbench.prompts.pair import build_pair
from perbench.protocols.likelihood import scoring
from perbench.protocols.likelihood.section import LikelihoodSpec, metric_names
from perbench.published.follows import contradictions, recomputed
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import owner_of, persona_spec, task_spec
from tests.owners import run, score
from tests.protocols.test_generation import TASK as WRITING
from tests.protocols.test_generation import quiet

KEYS = ("data", "fields", "prompt", "prompts", "persona", "max_length")


def scored(count: int = 2, **changes: Any) -> Named[TaskSpec]:
    given = {key: getattr(WRITING.spec, key) for key in KEYS}
    own = {"likelihood": LikelihoodSpec(others=count), "max_length": 400, **changes}
    words = {"summary": "test", "protocol": "likelihood", "license": "none", "headline": "nll"}
    return Named("toy/writing", task_spec()(**{**given, **words, **own}), None)


def example(user: str, number: int, text: str | None = None) -> Example:
    persona = ({"text": text or f"I am {user}; I hunt and paint."},)
    return Example(f"{user}{number}", user, "What now? " + "deer " * number, f"I bake {user}.", persona)


EXAMPLES = [example(user, number) for user in "abcde" for number in range(2)]
DATA = Dataset(EXAMPLES, "digest")


class Pool:
    """The model under evaluation, and the one before training, which may be the same."""

    def __init__(self, subject: Any, base: Any = None, users: dict[str, Path] | None = None) -> None:
        self.subject, self._base, self.users = subject, base, users
        self.asked: list[int] = []
        self.served: list[str | None] = []

    @property
    def untrained(self) -> bool:
        return self._base is None

    @contextmanager
    def subject_of(self, user: str | None) -> Iterator[Engine]:
        self.served.append(user)
        yield self.subject

    def base_logp(self, prompts: Sequence[Any], responses: Sequence[Any]) -> list[Any]:
        self.asked.append(len(prompts))
        return (self._base or self.subject).score(prompts, responses)  # type: ignore[no-any-return]


class Liking:
    """An engine that finds every token of a text as likely as `liked` says of the words in its prompt."""

    context = None

    def __init__(self, engine: TransformersEngine, liked: dict[str, float]) -> None:
        self.tokenizer, self._liked = engine.tokenizer, liked

    def score(self, prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> list[Any]:
        found = []
        for prompt, text in zip(prompts, texts, strict=True):
            shown = self.tokenizer.decode(prompt)
            value = sum(value for word, value in self._liked.items() if word in shown)
            found.append(np.full(len(text), value, dtype=np.float32))
        return found


# ---------------------------------------------------------------- what is scored


def test_log_probs_are_those_of_a_plain_forward_pass_in_float64(
    stores: Any, engine: TransformersEngine, tiny_model_dir: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    task, store = scored(2), stores()
    tokens = run(task, DATA, Pool(engine), store, seed=0, tick=quiet)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float64)

    def gold(prompt: Sequence[int], text: Sequence[int]) -> list[float]:
        ids = torch.tensor([[*prompt, *text]])
        with torch.no_grad():
            logp = plain(ids).logits[0].log_softmax(-1)
        return [float(logp[len(prompt) - 1 + place, token]) for place, token in enumerate(text)]

    read = 0
    for sample in store.rows:
        (one,) = [example for example in EXAMPLES if example.id == sample["id"]]
        text = encode_response(engine.tokenizer, one.reference)  # without the end of turn
        chosen = others(one, EXAMPLES, 2)
        assert sample["others"] == [other.user for other in chosen]
        own, *theirs = (
            build_pair(task.spec, replace(one, persona=who.persona), engine.tokenizer, with_response=True)
            for who in (one, *chosen)
        )
        golds = [gold(pair.factual, text) for pair in (own, *theirs)]
        none = gold(own.counterfactual, text)
        assert sample["own"] == pytest.approx(golds[0], abs=2e-5)
        assert sample["none"] == pytest.approx(none, abs=2e-5)
        assert sample["other"] == [pytest.approx(gold, abs=2e-5) for gold in golds[1:]]
        assert sample["personal"] == [
            place for place, (a, b) in enumerate(zip(golds[0], none, strict=True)) if a - b > 1
        ]
        assert sample["characters"] == len(one.reference)
        read += len(own.factual) + len(own.counterfactual) + sum(len(pair.factual) for pair in theirs)
    assert tokens == {"prompt": read, "scored": sum(4 * len(row["own"]) for row in store.rows)}
    work, exact = owner_of(task.spec).work(EXAMPLES, engine.tokenizer)
    ends = len(store.rows) * 4  # a plan counts the end of turn, too
    assert (exact, work) == (True, sum(tokens.values()) + ends)


def test_the_model_before_training_decides_which_tokens_are_personal(
    stores: Any, engine: TransformersEngine
) -> None:
    """By hand: PIR is 1.5 at c's persona alone, under the base model; the subject sees it otherwise."""
    base = Liking(engine, {"am c": 1.5, "am": 0.5, "What": -5.0})
    subject = Liking(engine, {"am a": 3.0, "What": -4.0})
    pool, store = Pool(subject, base), stores()
    run(scored(2), DATA, pool, store, seed=0, tick=quiet)
    assert pool.asked == [2 * len(EXAMPLES)]  # once for all
    for sample in store.rows:
        whole = [*range(len(sample["own"]))]
        assert sample["personal"] == (whole if sample["user"] == "c" else [])
        assert set(sample["own"]) == {-1.0 if sample["user"] == "a" else -4.0}
        assert set(sample["none"]) == {-4.0}
        for user, logp in zip(sample["others"], sample["other"], strict=True):
            assert set(logp) == {-1.0 if user == "a" else -4.0}
    found = score(scored(2), store.samples()).metrics
    assert found["nll"].value == pytest.approx(4.0 - 3.0 * share(store.rows, "a"))
    assert found["gain_over_none"].value == pytest.approx(3.0 * share(store.rows, "a"))
    assert (found["gain_over_none_personal"].value, found["gain_over_none_personal"].users) == (0.0, 1)
    assert found["win_over_none"].value == 0.2
    assert found["win_over_none_rest"].value == 0.25
    assert found["win_over_none_personal"].value == 0.0


def share(samples: Sequence[Any], user: str) -> float:
    """Of a user's tokens."""
    sizes = [(sample["user"] == user, len(sample["own"])) for sample in samples]
    return sum(size for mine, size in sizes if mine) / sum(size for _, size in sizes)


def test_personas_that_do_not_fit_are_left_out(stores: Any, engine: TransformersEngine) -> None:
    people = [example(user, 0, text) for user, text in (("a", "I fish."), ("b", "I bake."), ("c", "I sew."))]
    people.append(example("d", 0, "I paint. " + "I like deer and bread. " * 60))
    bare = build_pair(scored().spec, replace(people[0], persona=()), engine.tokenizer, with_response=True)
    task, store = scored(3, max_length=len(bare.factual) + len(bare.response) + 60), stores()
    run(task, Dataset(people, "digest"), Pool(engine), store, seed=0, tick=quiet)
    rows = {row["user"]: row for row in store.rows}
    assert [sorted(rows[user]["others"]) for user in "abcd"] == [["b", "c"], ["a", "c"], ["a", "b"], []]
    assert [rows[user]["left_out"] for user in "abcd"] == [1, 1, 1, 3]
    found = score(task, store.samples())
    assert found.metrics["gain_over_other"].why == {"no persona in the prompt": 1}
    assert (found.metrics["gain_over_none"].n, found.metrics["nll"].n) == (3, 4)
    assert found.counts["others_left_out"] == 6
    assert any("6 comparisons" in note and "none left: 1" in note for note in found.notes)


@pytest.mark.parametrize("how", ["fail", "skip", "cut"])
def test_a_text_that_is_too_long(stores: Any, engine: TransformersEngine, how: str) -> None:
    long = replace(example("f", 0), reference="I bake bread. " * 40)
    people = [*EXAMPLES[:4], long]
    task, store = scored(1, max_length=120, on_too_long=how), stores()
    pool = Pool(engine)
    if how == "fail":
        with pytest.raises(PerbenchError, match=r"example f0.*max_length 120"):
            run(task, Dataset(people, "digest"), pool, store, seed=0, tick=quiet)
        return
    run(task, Dataset(people, "digest"), pool, store, seed=0, tick=quiet)
    (row,) = [row for row in store.rows if row["id"] == "f0"]
    found = score(task, store.samples())
    if how == "skip":
        assert (row["missing"], row["own"]) == ("too_long", [])
        assert found.metrics["nll"].why == {"too_long": 1}
        assert found.counts["missing_too_long"] == 1
    else:
        whole = encode_response(engine.tokenizer, long.reference)
        assert len(row["own"]) == len(whole) - row["cut"] < len(whole)
        assert row["characters"] == len(engine.tokenizer.decode(whole[: len(row["own"])]))
        assert found.counts["responses_cut"] == 1
    assert json.dumps(owner_of(task.spec).shown([row], None).notes)


def test_other_personas_have_the_room_that_the_own_one_has(
    stores: Any, engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context that cuts a text further than max_length leaves room for everybody's persona."""
    long = replace(example("f", 0), reference="I bake bread. " * 200)
    task, store = scored(2, max_length=700, on_too_long="cut"), stores()
    bare = build_pair(task.spec, replace(long, persona=()), engine.tokenizer, with_response=True)
    monkeypatch.setattr(Liking, "context", len(bare.factual) + 100)
    people = [*EXAMPLES[:4], long]
    run(task, Dataset(people, "digest"), Pool(Liking(engine, {})), store, seed=0, tick=quiet)
    (row,) = [row for row in store.rows if row["id"] == "f0"]
    assert (row["persona_kept"], len(row["others"]), row["left_out"]) == (1, 2, 0)


def test_a_users_own_adapter_scores_that_users_texts(stores: Any, engine: TransformersEngine) -> None:
    pool, store = Pool(engine, engine, {"b": Path("b"), "z": Path("z")}), stores()
    run(scored(1), DATA, pool, store, seed=0, tick=quiet)
    assert pool.served == [None, "b"]
    assert {row["user"] for row in store.rows if row["own_adapter"]} == {"b"}
    found = score(scored(1), store.samples())
    assert (found.counts["own_adapter"], found.counts["task_adapter"]) == (2, 8)
    assert found.notes == ["8 of 10 texts scored by no adapter of the user's own"]


@pytest.mark.parametrize("fuse", range(len(EXAMPLES)))
def test_killed_anywhere_and_resumed_equals_uninterrupted(
    stores: Any, engine: TransformersEngine, fuse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BATCH", 4)
    whole, store = stores(), stores(fuse=fuse)
    run(scored(), DATA, Pool(engine), whole, seed=0, tick=quiet)
    with pytest.raises(stores.Killed):
        run(scored(), DATA, Pool(engine), store, seed=0, tick=quiet)
    resumed = stores(store.rows)
    run(scored(), DATA, Pool(engine), resumed, seed=0, tick=quiet)
    assert resumed.rows == whole.rows


# ---------------------------------------------------------------- other users


def test_without_anybody_else_there_is_nothing_to_compare_with() -> None:
    one_user = [example("a", number) for number in range(3)]
    same = [replace(example(user, 0), persona=EXAMPLES[0].persona) for user in "ab"]
    bare = [EXAMPLES[0], replace(EXAMPLES[2], persona=())]
    for people in (one_user, same, bare, []):
        assert alone(people)
        if people:
            (fault,) = owner_of(scored(2).spec).split_faults(people)
            assert fault.startswith("likelihood.others: ")
            assert "set likelihood.others: 0" in fault
        assert [*owner_of(scored(0).spec).split_faults(people)] == []
    assert not alone(EXAMPLES)


def test_fewer_others_than_asked_for_are_said(stores: Any, engine: TransformersEngine) -> None:
    store = stores()
    run(scored(9), DATA, Pool(engine), store, seed=0, tick=quiet)
    (note,) = score(scored(9), store.samples()).notes
    assert re.search(r"4 other personas.* 9$", note)


@pytest.mark.parametrize("whose", ["none", "other"])
def test_prompts_that_hold_another_persona_are_compared_with_none_only(
    stores: Any, engine: TransformersEngine, whose: Whose
) -> None:
    task, store = scored(2, persona=persona_spec()(k=2, whose=whose)), stores()
    owner = owner_of(task.spec)
    assert owner.idle() == {"likelihood.others": f"under persona.whose {whose}"}
    assert owner.headlines() == metric_names(0)
    assert [*owner.split_faults(EXAMPLES[:1])] == []
    data = Dataset(with_persona_of(whose, EXAMPLES), "digest")
    run(task, data, Pool(engine), store, seed=0, tick=quiet)
    assert {len(row["others"]) + row["left_out"] for row in store.rows} == {0}
    found = score(task, store.samples())
    assert (found.metrics["nll"].n, found.notes) == (10, [])
    assert found.metrics["gain_over_none"].n == (10 if whose == "other" else 0)


@pytest.mark.parametrize("headline", ["nll_personal", "nll_rest", "gain_over_none_personal"])
def test_a_headline_counts_the_same_tokens_under_every_persona(headline: str) -> None:
    assert scored(headline=headline).spec.headline == headline
    for whose in ("none", "other"):
        with pytest.raises(ValueError, match=f"headline: {headline} .*persona.whose {whose}"):
            scored(headline=headline, persona=persona_spec()(whose=whose))


# ---------------------------------------------------------------- scores


def row(
    name: str, own: list[float], none: list[float], other: list[list[float]], personal: list[int], chars: int
) -> dict[str, Any]:
    return {
        "id": name,
        "user": name[0],
        "question": "q",
        "reference": "r" * chars,
        "own": own,
        "none": none,
        "others": [f"o{place}" for place in range(len(other))],
        "other": other,
        "left_out": 0,
        "personal": personal,
        "characters": chars,
        "cut": 0,
        "prompt_tokens": 10,
        "persona_kept": 1,
        "persona_trimmed": 0,
    }


HAND = [
    row("a0", [-1.0, -2.0, -0.5], [-1.5, -4.0, -0.5], [[-1.0, -3.0, -0.5], [-2.0, -4.0, -1.5]], [1], 7),
    row("b0", [-3.0], [-2.0], [[-2.5], [-3.5]], [], 4),
    row("c0", [-1.0, -1.0], [-3.0, -2.5], [[-1.5, -2.0], [-2.5, -1.0]], [0, 1], 5),
]
GOLD = {
    "nll": (3.5 + 3 + 2) / 6,
    "nll_personal": (2 + 2) / 3,
    "nll_rest": (1.5 + 3) / 3,
    "gain_over_none": (2.5 - 1 + 3.5) / 6,
    "gain_over_none_personal": (2 + 3.5) / 3,
    "gain_over_none_rest": (0.5 - 1) / 3,
    "gain_over_other": (2.5 + 0 + 1.5) / 6,
    "gain_over_other_personal": (1.5 + 1.5) / 3,
    "gain_over_other_rest": (1 + 0) / 3,
    "win_over_none": 2 / 3,
    "win_over_none_personal": 1.0,
    "win_over_none_rest": 1 / 2,
    "win_over_other": 2 / 3,
    "win_over_other_personal": 1.0,
    "win_over_other_rest": 1 / 2,
    "bits_per_character": 8.5 / log(2) / 16,
}


def test_scores_by_hand() -> None:
    found = score(scored(2), HAND)
    assert {name: metric.value for name, metric in found.metrics.items()} == pytest.approx(GOLD)
    assert set(found.metrics) == set(metric_names(2))
    assert found.scores.scores["nll"] == pytest.approx([3.5 / 3, 3.0, 1.0])
    assert found.scores.sums["gain_over_other_rest"] == [[1.0, 2.0], [0.0, 1.0], None]
    assert found.metrics["gain_over_other_rest"].why == {"personal tokens only": 1}
    assert found.metrics["nll_personal"].why == {"no personal token": 1}
    assert found.counts["personal_tokens"] == 3
    owner = owner_of(scored(2).spec)
    assert owner.better(found.metrics) == dict.fromkeys(
        ("nll", "nll_personal", "nll_rest", "bits_per_character"), "lower"
    )


def test_the_interval_is_the_jackknife_over_users() -> None:
    """By hand: nll without each user, t with the degrees of freedom of three equal users."""
    from scipy.stats import t

    metric = score(scored(2), HAND).metrics["nll"]
    left = np.array([(3 + 2) / 3, (3.5 + 2) / 5, (3.5 + 3) / 4])
    half = t.ppf(0.975, 2) * np.sqrt(2 / 3 * ((left - GOLD["nll"]) ** 2).sum())
    assert metric.ci == pytest.approx((max(GOLD["nll"] - half, 0.0), GOLD["nll"] + half))
    assert (metric.ci_method, metric.users) == ("jackknife-t", 3)


def test_published_numbers_follow_from_the_sums() -> None:
    found = score(scored(2), HAND)
    cls = type(owner_of(scored(2).spec))
    again = recomputed(cls, found.metrics, found.scores)
    assert set(again) == set(found.metrics)
    assert [*contradictions(found.metrics, again)] == []
    forged = found.metrics["nll"].model_copy(update={"value": 1.0})
    wrong = contradictions({**found.metrics, "nll": forged}, again)
    assert [key for key, _, _ in wrong] == ["nll.value"]


def test_without_others_their_metrics_are_absent() -> None:
    bare = [{**one, "others": [], "other": []} for one in HAND]
    found = score(scored(0), bare).metrics
    assert [name for name in found if "other" in name] == []
    assert found["nll"].value == pytest.approx(GOLD["nll"])
    assert metric_names(0)[0] == metric_names(2)[0] == "nll"
    with pytest.raises(ValueError, match="headline 'gain_over_other'"):
        scored(0, headline="gain_over_other")
