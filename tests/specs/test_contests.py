"""Values for each source, targets of one's own, and what `select` chooses among."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.errors import SpecError
from perbench.specs.contests import candidacies
from perbench.specs.expand import base_targets, every_task, trainings
from perbench.specs.matrices import load_matrix
from perbench.specs.matrix import MatrixSpec
from tests.specs.diary import MATRIX

RATES = [1e-5, 2e-5]


def matrix(**keys: Any) -> MatrixSpec:
    given = {"trainers": ["ce"], "sources": ["fam/a", "fam/b"], "targets": ["fam/a", "fam/c"], **keys}
    return MatrixSpec.model_validate({"summary": "s", "models": ["m"], **given})


def rates(spec: MatrixSpec) -> list[tuple[str, str, float]]:
    return [(one.source.label(), one.trainer.name, one.spec.learning_rate) for one in trainings(spec)]


def test_a_value_for_each_source() -> None:
    by_source = {"fam/a": 1e-5, "fam/b": [2e-5, 3e-5]}
    wanted = [("fam/a", "ce", 1e-5), ("fam/b", "ce", 2e-5), ("fam/b", "ce", 3e-5)]
    shared = matrix(training={"learning_rate": by_source, "epochs": 1.0})
    own = matrix(trainers=[{"name": "ce", "training": {"learning_rate": by_source}}])
    assert rates(shared) == rates(own) == wanted
    assert [one.by_source for one in trainings(shared)] == [{"learning_rate"}] * 3
    assert [one.varied for one in trainings(shared)] == [{"learning_rate": rate} for *_, rate in wanted]
    assert [one.trainer.training for one in trainings(own)] == [
        {("learning_rate",): rate} for *_, rate in wanted
    ]


def test_a_hyperparameter_and_a_key_of_a_section_may_be_given_by_source_too() -> None:
    row = {
        "name": "perce",
        "params": {"clip_max": {"fam/a": 3.0, "fam/b": 5.0}, "clip_min": 0.5},
        "training": {"lora": {"rank": {"fam/a": 4, "fam/b": 8}, "alpha": 16}},
    }
    found = [*trainings(matrix(trainers=[row]))]
    assert [(one.trainer.params["clip_max"], one.spec.lora.rank) for one in found] == [(3.0, 4), (5.0, 8)]
    assert all(one.by_source == {"clip_max", "lora.rank"} and one.spec.lora.alpha == 16 for one in found)


def test_a_variant_of_a_source_has_its_own_value_or_its_tasks() -> None:
    sources = ["fam/a", {"task": "fam/a", "as": "short", "persona.k": 1}]
    one = matrix(sources=sources, training={"learning_rate": {"fam/a": 1e-5, "fam/a (short)": 2e-5}})
    assert rates(one) == [("fam/a", "ce", 1e-5), ("fam/a (short)", "ce", 2e-5)]
    both = matrix(sources=sources, training={"learning_rate": {"fam/a": 1e-5}})
    assert rates(both) == [("fam/a", "ce", 1e-5), ("fam/a (short)", "ce", 1e-5)]


def test_a_row_for_some_sources() -> None:
    rows = [
        {"name": "ce", "sources": ["fam/b"]},
        {"name": "sft", "training": {"learning_rate": {"fam/a": 1e-5}}, "sources": ["fam/a"]},
    ]
    assert [(source, name) for source, name, _ in rates(matrix(trainers=rows))] == [
        ("fam/a", "sft"),
        ("fam/b", "ce"),
    ]


def test_targets_of_ones_own() -> None:
    without = {"task": "own", "as": "without", "persona.k": 1}
    rows = ["ce", {"name": "sft", "targets": [without]}]
    spec = matrix(
        trainers=rows, targets="own", sources=["fam/a", {"task": "fam/b", "as": "x", "prompt": "p"}]
    )
    found = {(one.trainer.name, one.source.label()): one.targets(spec) for one in trainings(spec)}
    assert {key: [target.label() for target in held] for key, held in found.items()} == {
        ("ce", "fam/a"): ["fam/a"],
        ("sft", "fam/a"): ["fam/a (without)"],
        ("ce", "fam/b (x)"): ["fam/b (x)"],
        ("sft", "fam/b (x)"): ["fam/b (x, without)"],
    }
    assert found["sft", "fam/b (x)"][0].overrides == {"prompt": "p", "persona.k": 1}
    assert [target.label() for target in base_targets(spec)] == ["fam/a", "fam/b (x)"]
    labels = ["fam/a", "fam/b (x)", "fam/a (without)", "fam/b (x, without)"]
    assert [target.label() for target in every_task(spec)] == labels


def test_own_beside_others_is_evaluated_once() -> None:
    spec = matrix(targets=["own", "fam/a", "fam/c"])
    found = [[target.label() for target in one.targets(spec)] for one in trainings(spec)]
    assert found == [["fam/a", "fam/c"], ["fam/b", "fam/a", "fam/c"]]


def contests(spec: MatrixSpec) -> dict[str, list[dict[str, Any]]]:
    held: dict[str, list[dict[str, Any]]] = {}
    for one in candidacies(spec, [*trainings(spec)]):
        if one is not None:
            held.setdefault(one.contest, []).append(dict(one.values))
    return held


def test_each_trainer_chooses_on_each_source_and_in_each_setting_besides() -> None:
    rows = ["ce", {"name": "perce", "params": {"clip_max": [3.0, 5.0]}}]
    training = {"learning_rate": RATES, "epochs": [1.0, 2.0]}
    found = contests(matrix(trainers=rows, training=training, select={"axis": "learning_rate"}))
    assert len(found) == 2 * (1 + 2) * 2  # sources; ce and two settings of perce; epochs
    assert all(held == [{"learning_rate": rate} for rate in RATES] for held in found.values())


def test_several_axes_are_chosen_together_and_one_alone_has_no_rival() -> None:
    rows = ["ce", {"name": "nextquill", "params": {"alpha": [0.01, 0.1], "lam": [0.7, 0.9]}}]
    spec = matrix(trainers=rows, select={"axis": ["alpha", "lam"]})
    found = contests(spec)
    assert [len(held) for held in found.values()] == [4, 4]
    found_ce = [one for one in trainings(spec) if one.trainer.name == "ce"]
    assert candidacies(spec, found_ce) == [None, None]


def test_rows_with_different_rates_are_candidates_of_one_choice() -> None:
    rows = [{"name": "ce", "training": {"learning_rate": rate}} for rate in RATES]
    assert [
        len(held) for held in contests(matrix(trainers=rows, select={"axis": "learning_rate"})).values()
    ] == [
        2,
        2,
    ]


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.lists(st.floats(1e-6, 1e-3), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=2, unique=True),
    st.lists(st.floats(2.0, 9.0), min_size=1, max_size=3, unique=True),
)
def test_every_training_has_all_its_rivals(
    rates: list[float], epochs: list[float], clips: list[float]
) -> None:
    row = {"name": "perce", "params": {"clip_max": clips}}
    training = {"learning_rate": rates, "epochs": epochs}
    spec = matrix(trainers=[row], training=training, select={"axis": "learning_rate"})
    found = [*trainings(spec)]
    assert len(found) == 2 * len(rates) * len(epochs) * len(clips)
    held = contests(spec)
    if len(rates) == 1:
        assert not held
    else:
        assert len(held) == 2 * len(epochs) * len(clips)
        assert all([one["learning_rate"] for one in values] == rates for values in held.values())


FAULTS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "no validation split": (
        {"select": {"axis": "learning_rate"}, "training": {"learning_rate": RATES}},
        "select:",
        ("diary/notes", "data.val_split", "on: test"),
    ),
    "tested on what selects": (
        {
            "select": {"axis": "learning_rate"},
            "training": {"learning_rate": RATES},
            "tasks": {"diary/notes": {"data.val_split": "test"}},
        },
        "select:",
        ("diary/notes", "test split", "data.val_split: test"),
    ),
    "selected on what trains": (
        {
            "select": {"axis": "learning_rate"},
            "training": {"learning_rate": RATES},
            "tasks": {"diary/notes": {"data.val_split": "train"}},
        },
        "select:",
        ("diary/notes", "training split", "data.val_split: train"),
    ),
    "nothing varies": ({"select": {"axis": "epochs", "on": "test"}}, "axis: epochs", ("'epochs'",)),
    "no such metric": (
        {
            "select": {"axis": "learning_rate", "on": "test", "by": "rouge3"},
            "training": {"learning_rate": RATES},
        },
        "by: rouge3",
        ("select.by", "'rouge3'"),
    ),
    "a source without a value": (
        {"training": {"learning_rate": {"diary/notes (x)": 1e-5}}},
        "learning_rate:",
        ("no value", "'diary/notes'"),
    ),
    "a value for no source": (
        {"training": {"learning_rate": {"diary/notes": 1e-5, "diary/noted": 1e-5}}},
        "diary/noted: ",
        ("'diary/noted'", "diary/notes"),
    ),
    "a wrong value for a source": (
        {"training": {"learning_rate": {"diary/notes": -1.0}}},
        "diary/notes: -1.0",
        ("learning_rate",),
    ),
    "a row for no source": (
        {"trainers": [{"name": "plain", "sources": ["diary/nots"]}], "baseline": None},
        "- diary/nots",
        ("'diary/nots'",),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_where_they_are(name: str, root: Path) -> None:
    changes, line, words = FAULTS[name]
    file = root / "leaderboard/matrices/small.yaml"
    spec = {**yaml.safe_load(MATRIX), **changes}
    if name == "a source without a value":
        spec["sources"] = ["diary/notes", {"task": "diary/notes", "as": "x", "persona": {"k": 1}}]
    file.write_text(yaml.safe_dump(spec))
    with pytest.raises(SpecError) as caught:
        load_matrix("small")
    lines = file.read_text().splitlines()
    (problem,) = caught.value.problems
    assert line in lines[(problem.line or 0) - 1]
    assert all(word in problem.message for word in words)
