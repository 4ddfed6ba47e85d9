"""Identities: the same for the same inputs in any order, another for any other input."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.matrix.identity import (
    changes,
    differing,
    eval_inputs,
    identity_of,
    plugin_inputs,
    source_inputs,
    target_inputs,
    train_inputs,
)
from perbench.plugins import names
from perbench.protocols.generation.section import SWAP_VERSION
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import helpers_of, task_spec
from perbench.specs.matrix import TrainingSpec
from perbench.specs.readers import idle

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
INPUTS = st.dictionaries(
    st.text(max_size=3), SCALARS | st.dictionaries(st.text(max_size=3), SCALARS, max_size=3)
)


def reversed_keys(value: Any) -> Any:
    return {k: reversed_keys(v) for k, v in reversed(value.items())} if isinstance(value, dict) else value


@given(INPUTS)
def test_the_order_of_keys_is_nothing(inputs: dict[str, Any]) -> None:
    assert identity_of(reversed_keys(inputs)) == identity_of(inputs)
    assert differing(inputs, reversed_keys(inputs)) == []


@given(INPUTS, INPUTS)
def test_identity_differs_exactly_where_differing_names_a_path(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    same = repr(sorted(one.items())) == repr(sorted(two.items())) or one == two
    if identity_of(one) == identity_of(two):
        assert same
        assert differing(one, two) == []
    else:
        assert differing(one, two) != [] or one == two  # 1 == True in Python, not in JSON


def test_identity_is_a_known_sha256() -> None:
    # printf '{"a":[1,null],"b":"é"}' | sha256sum
    assert identity_of({"b": "é", "a": [1, None]}).startswith("e03c3c1ebb5fccd7")


def test_differing_names_leaves_and_tells_absent_from_null() -> None:
    old = {"data": "x", "trainer": {"params": {"alpha": 1, "beta": 2}}, "train": None}
    new = {"data": "y", "trainer": {"params": {"alpha": 1, "beta": 3}}}
    assert differing(old, new) == ["data", "train", "trainer.params.beta"]


def test_changes_name_a_section_once() -> None:
    model = {"model": {"engine": "transformers", "name": "m"}}
    old = {"engine": "transformers", "target": {"judge": model, "k": 1}, "train": None}
    engine = {"name": "vllm", "version": 1}
    judge = {"model": {"engine": engine, "name": "m"}}
    new = {"engine": engine, "target": {"judge": judge, "k": 1}, "decoding": {"a": {"b": 1}, "c": 2}}
    assert differing(old, new)[:3] == ["decoding.a.b", "decoding.c", "engine"]
    expected = ["decoding", "engine", "target.judge.model.engine", "train"]
    assert changes(old, new) == changes(new, old) == expected
    assert changes({"engine": engine}, {"engine": {**engine, "version": 2}}) == ["engine.version"]
    assert changes(old, old) == []


TASK: dict[str, Any] = {
    "summary": "s",
    "protocol": "generation",
    "license": "l",
    "data": {"files": "x"},
    "fields": {"user": "u", "question": "q", "reference": "r", "persona": "p"},
    "prompt": "one",
    "prompts": {
        "one": {"system": "{persona}", "item": "{text}"},
        "two": {"system": "{persona}!", "item": "{text}"},
    },
    "metrics": ["rouge1", "rouge2"],
    "headline": "rouge1",
}


def task(**changes: Any) -> TaskSpec:
    return task_spec()(**{**copy.deepcopy(TASK), **changes})


def train(spec: TaskSpec, **changes: Any) -> str:
    values: dict[str, Any] = {
        "model": {"weights_sha256": "m"},
        "trainer": plugin_inputs("ce", "d", {}),
        "source": "t",
        "data": "d",
        "training": TrainingSpec(),
        "seed": 0,
        "helpers": {},
    }
    values |= changes
    values["source"] = source_inputs(values["source"], spec, values.pop("helpers"))
    values["training"] = values["training"].inputs
    return identity_of(train_inputs(**values))


def evaluation(spec: TaskSpec, **changes: Any) -> str:
    values: dict[str, Any] = {
        "model": {"weights_sha256": "m"},
        "train": None,
        "target": "t",
        "data": "d",
        "engine": "transformers",
        "computed": {},
        "seed": 0,
        "helpers": {},
    }
    values |= changes
    values["target"] = target_inputs(values["target"], spec, values.pop("helpers"))
    return identity_of(eval_inputs(**values))


def test_own_data_and_its_recipe_are_inputs_of_a_training() -> None:
    with_users = {"training": TrainingSpec(per_user={}), "own_data": "a"}
    base = train(task(), **with_users)
    assert base != train(task())
    assert base != train(task(), **{**with_users, "own_data": "b"})
    assert base != train(task(), **{**with_users, "training": TrainingSpec(per_user={"rank": 4})})


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": "other"},
        {"license": "other"},
        {"notes": "other"},
        {"data": {"files": "moved/elsewhere"}},  # the data's digest stands for it
        {"metrics": ["rouge1"]},  # recomputed from the samples
        {"headline": "rouge2"},
        {
            "prompts": {
                **TASK["prompts"],
                "two": {"user": "{persona}{question}", "user_without": "{question}", "item": "{x}"},
            }
        },
    ],
)
def test_what_cannot_change_a_sample_is_left_out(changes: dict[str, Any]) -> None:
    assert train(task(**changes)) == train(task())
    assert evaluation(task(**changes)) == evaluation(task())


@pytest.mark.parametrize("changes", [{"prompt": "two"}, {"persona": {"k": 1}}, {"max_length": 9}])
def test_what_changes_a_prompt_is_in(changes: dict[str, Any]) -> None:
    assert train(task(**changes)) != train(task())
    assert evaluation(task(**changes)) != evaluation(task())


RANKED: dict[str, Any] = {"retrieve": "bm25", "k": 2}
DENSE: dict[str, Any] = {"retrieve": "dense", "encoder": "here"}
SUMMARY: dict[str, Any] = {"summarise": "recurrent", "summary": {"model": "here"}}


def test_options_that_nothing_reads_are_left_out() -> None:
    unread = {"order": "best_last", "time": "t", "seed": 3, "query_after": ":", "encoder": "e"}
    assert evaluation(task(persona=unread)) == evaluation(task())
    assert evaluation(task(persona={"summary": {"model": "m"}})) == evaluation(task())
    assert evaluation(task(persona={**RANKED, "time": "t", "seed": 3})) == evaluation(task(persona=RANKED))
    assert evaluation(task(decoding={"lam": 3.0})) == evaluation(task())


@pytest.mark.parametrize(
    "changed",
    [
        {"order": "best_last"},
        {"query_after": ":"},
        {"query_match": "(.)"},
        {"k": 3},
        {"retrieve": "latest"},
        {"retrieve": "random"},
        {"retrieve": "random", "seed": 1},
        {"retrieve": "latest", "time": "year"},
    ],
)
def test_what_a_ranking_reads_is_in(changed: dict[str, Any]) -> None:
    found = [evaluation(task(persona={**RANKED, **change})) for change in ({}, changed)]
    assert len(set(found)) == 2
    assert train(task(persona={**RANKED, **changed})) != train(task(persona=RANKED))


@pytest.mark.parametrize(("persona", "read"), [({}, False), ({"retrieve": "latest"}, False), (RANKED, True)])
def test_the_text_that_is_ranked_is_in_where_texts_are_ranked(persona: dict[str, Any], read: bool) -> None:
    specs = [
        task(persona=persona, fields={**TASK["fields"], **fields})
        for fields in ({}, {"item_text": "{a}"}, {"item_text": "{b}"})
    ]
    assert len({evaluation(spec) for spec in specs}) == len({train(spec) for spec in specs}) == 1 + 2 * read


CHANGED: dict[str, Any] = {
    "persona.k": 3,
    "persona.max_tokens": 9,
    "persona.priority": "last",
    "persona.order": "best_last",
    "persona.time": "t",
    "persona.seed": 1,
    "persona.query_after": ":",
    "persona.encoder": "there",
    "persona.similarity": "cosine",
    "persona.summary": {"model": "there"},
    "fields.item_text": "{a}",
    "decoding.lam": 3.0,
    "prompts.two": {"system": "{persona}?", "item": "{text}"},
    "prompts.one": {"system": "{persona}?", "item": "{text}"},
    "max_length": 9,
}


@pytest.mark.parametrize("retrieve", names("ranking"))
@pytest.mark.parametrize(
    "switches", [{}, {"persona.summarise": "recurrent"}, {"decoding.method": "context_steering"}]
)
def test_a_row_may_set_exactly_what_its_identity_depends_on(retrieve: str, switches: dict[str, Any]) -> None:
    def given(**changes: Any) -> TaskSpec:
        values = copy.deepcopy(TASK)
        values["persona"] = {"retrieve": retrieve, "summary": {"model": "here"}, "encoder": "here"}
        for key, value in {**switches, **changes}.items():
            section, _, name = key.rpartition(".")
            (values.setdefault(section, {}) if section else values)[name] = value
        return task_spec()(**values)

    helpers = {name: {"weights_sha256": name} for name in ("here", "there")}
    plain = given()
    idle_keys = idle(plain, "targets", own_adapters=False)
    for key, value in CHANGED.items():
        same = evaluation(given(**{key: value}), helpers=helpers) == evaluation(plain, helpers=helpers)
        assert same == (key in idle_keys), key


@pytest.mark.parametrize("persona", [DENSE, SUMMARY])
def test_the_models_that_build_a_persona_enter_by_content(persona: dict[str, Any]) -> None:
    spec, other = task(persona=persona), {"there": {"weights_sha256": "w"}}
    known = evaluation(spec, helpers={"here": {"weights_sha256": "w"}})
    assert known != evaluation(spec, helpers={"here": {"weights_sha256": "v"}})
    moved = {**persona, **({"encoder": "there"} if persona is DENSE else {"summary": {"model": "there"}})}
    assert known == evaluation(task(persona=moved), helpers=other)
    assert helpers_of(spec) == {"here"}
    assert helpers_of(task(persona={"encoder": "here", "summary": {"model": "here"}})) == set()


def test_decoding_matters_to_evaluation_only() -> None:
    steered = [task(decoding={"method": "context_steering", "lam": lam}) for lam in (0.0, 1.0)]
    assert len({evaluation(spec) for spec in (task(), *steered)}) == 3
    assert train(steered[0]) == train(task())


def test_identities_of_before_hold() -> None:
    inputs = target_inputs("t", task(persona={"k": 4}), {})
    assert inputs["persona"] == {"k": 4, "priority": "first", "max_tokens": None}
    assert inputs.keys() == {"name", "protocol", "prompt", "persona", "max_length", "sampling"}


def test_the_version_of_persona_swap_is_in_where_a_task_has_one() -> None:
    inputs = target_inputs("t", task(persona_swap={}), {})
    assert inputs["persona_swap"] == {"version": SWAP_VERSION, "others": 4, "scorer": None}
    assert train(task(persona_swap={})) == train(task())


def test_sampling_matters_to_evaluation_only() -> None:
    changed = task(sampling={"temperature": 0.0})
    assert train(changed) == train(task())
    assert evaluation(changed) != evaluation(task())


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"weights_sha256": "other"}},
        {"trainer": plugin_inputs("ce", "edited file", {})},
        {"trainer": plugin_inputs("ce", "d", {"alpha": 1})},
        {"source": "other"},
        {"data": "other"},
        {"training": TrainingSpec(epochs=1)},
        {"training": TrainingSpec(lora={"rank": 2})},
        {"seed": 1},
    ],
)
def test_every_input_of_a_training_is_in(changes: dict[str, Any]) -> None:
    assert train(task(), **changes) != train(task())


def test_training_options_that_only_round_are_left_out() -> None:
    same = TrainingSpec(micro_batch_tokens=1, gradient_checkpointing=True, save_every=1)
    assert train(task(), training=same) == train(task())
    full = TrainingSpec(method="full")
    ignored = TrainingSpec(method="full", lora={"rank": 2})
    assert train(task(), training=full) == train(task(), training=ignored)
    assert train(task(), training=full) != train(task())


def test_what_dropouts_noise_depends_on_is_in() -> None:
    noisy = {"lora": {"dropout": 0.1}}
    several = [{}, {"micro_batch_tokens": 1}, {"parallel": "fsdp"}]
    specs = [TrainingSpec.model_validate({**noisy, **changes}) for changes in several]
    assert len({train(task(), training=spec) for spec in specs}) == 3
    rounding = TrainingSpec.model_validate({**noisy, "gradient_checkpointing": True, "save_every": 1})
    assert train(task(), training=rounding) == train(task(), training=specs[0])
    full = [TrainingSpec.model_validate({**noisy, "method": "full", **changes}) for changes in several]
    assert len({train(task(), training=spec) for spec in full}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"train": "x"},
        {"target": "o"},
        {"data": "o"},
        {"engine": "vllm"},
        {"computed": {"computed": "float32"}},
        {"seed": 1},
        {"model": {"hub": "o"}},
    ],
)
def test_every_input_of_an_evaluation_is_in(changes: dict[str, Any]) -> None:
    assert evaluation(task(), **changes) != evaluation(task())


def test_a_dialogue_depends_on_what_its_helpers_are_not_on_their_names() -> None:
    sampling = {"max_new_tokens": 4}
    section = {
        "turns": 2,
        "simulator": {"model": "a/path", "instruction": "i", "opening": "o", "sampling": sampling},
        "judge": {"model": "a/path", "instruction": "i", "sampling": sampling},
    }
    common = {key: TASK[key] for key in ("summary", "license", "data")}
    fields = {"user": "u", "extra": ["profile", "personality"]}
    common |= {"protocol": "dialogue", "fields": fields, "headline": "pmi"}
    spec = task_spec()(**common, dialogue=section)
    one = evaluation(spec, helpers={"a/path": {"weights_sha256": "w"}})
    assert one != evaluation(spec, helpers={"a/path": {"weights_sha256": "v"}})
    moved = {
        **section,
        "simulator": {**section["simulator"], "model": "b"},
        "judge": {**section["judge"], "model": "b"},
    }
    spec = task_spec()(
        **common,
        dialogue={**moved, "report_turns": [2], "judge": {**moved["judge"], "calibrated": True}},
    )
    assert one == evaluation(spec, helpers={"b": {"weights_sha256": "w"}})


def test_a_reference_model_is_named_by_content() -> None:
    here = plugin_inputs(
        "nextquill", "d", {"effect_model": "/here", "alpha": 1}, ("/here", {"weights_sha256": "w"})
    )
    there = plugin_inputs(
        "nextquill", "d", {"effect_model": "/there", "alpha": 1}, ("/there", {"weights_sha256": "w"})
    )
    assert here == there
    assert here["params"] == {"effect_model": "reference", "alpha": 1}
