"""Lists as axes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.specs.expand import Variant, trainers_on, training_variants
from perbench.specs.grid import leaves, nest
from perbench.specs.matrix import MatrixSpec, TrainingSpec
from perbench.specs.rows import TaskVariant


def matrix(**keys):
    return MatrixSpec(summary="s", models=["m"], targets=["t"], **keys)


CE, S = Variant("ce"), TaskVariant("s")


def test_nothing_varied_is_one_variant_with_nothing_to_tell():
    assert training_variants(matrix(), CE, S) == [(TrainingSpec(), {})]
    assert training_variants(matrix(training={"epochs": 1.0}), CE, S) == [(TrainingSpec(epochs=1.0), {})]
    assert training_variants(matrix(training={"epochs": [2.0]}), CE, S) == [(TrainingSpec(epochs=2.0), {})]


def test_training_lists_are_multiplied_and_only_varied_keys_are_told():
    training = {"learning_rate": [1e-5, 2e-5], "lora": {"rank": [8, 16], "alpha": 32}, "batch_size": 4}
    variants = training_variants(matrix(training=training), CE, S)
    assert [varied for _, varied in variants] == [
        {"learning_rate": 1e-5, "lora.rank": 8},
        {"learning_rate": 1e-5, "lora.rank": 16},
        {"learning_rate": 2e-5, "lora.rank": 8},
        {"learning_rate": 2e-5, "lora.rank": 16},
    ]
    spec = variants[1][0]
    assert (spec.learning_rate, spec.lora.rank, spec.lora.alpha, spec.batch_size) == (1e-5, 16, 32, 4)


def test_trainer_rows_expand_in_order():
    rows = ["ce", {"name": "perce", "params": {"clip_max": [2.0, 5.0], "clip_min": 0.5}}]
    found = trainers_on(matrix(trainers=rows, sources=["s"]), S)
    assert [(variant.name, variant.params) for variant in found] == [
        ("ce", {}),
        ("perce", {"clip_max": 2.0, "clip_min": 0.5}),
        ("perce", {"clip_max": 5.0, "clip_min": 0.5}),
    ]


def test_a_trainers_own_settings_take_the_place_of_the_matrixs():
    own = {"learning_rate": [1e-4, 2e-4], "lora": {"rank": 4}, "per_user": True}
    rows = ["ce", {"name": "perce", "params": {"clip_max": 5.0}, "training": own}]
    spec = matrix(
        trainers=rows,
        sources=["s"],
        training={"learning_rate": [1e-5, 2e-5], "epochs": [1.0, 2.0], "lora": {"rank": 8, "alpha": 9}},
    )
    ce, *perce = trainers_on(spec, S)
    assert ce.shown({}) == {}
    trained = [found for variant in perce for found in training_variants(spec, variant, S)]
    assert [varied for _, varied in trained] == [
        {"learning_rate": rate, "epochs": epochs} for rate in (1e-4, 2e-4) for epochs in (1.0, 2.0)
    ]
    told = {"clip_max": 5.0, "training.lora.rank": 4, "training.per_user": True}
    assert [variant.shown(trained[0][1]) for variant in perce] == [told, told]
    assert len(training_variants(spec, ce, S)) == 4
    assert {(s.learning_rate, s.lora.rank, s.lora.alpha) for s, _ in trained} == {(1e-4, 4, 9), (2e-4, 4, 9)}
    assert all(s.per_user is not None for s, _ in trained)


@pytest.mark.parametrize("shared", [True, {"rank": 4, "epochs": [1.0, 2.0]}])
def test_a_trainers_switch_replaces_all_settings_below_it(shared):
    row = {"name": "ce", "training": {"per_user": False}}
    spec = matrix(trainers=[row], sources=["s"], training={"per_user": shared})
    (variant,) = trainers_on(spec, S)
    assert training_variants(spec, variant, S) == [(TrainingSpec(), {})]


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.dictionaries(
        st.text("ab", min_size=1, max_size=2),
        st.integers() | st.dictionaries(st.text("cd", min_size=1, max_size=2), st.integers()),
        max_size=4,
    )
)
def test_nest_is_the_inverse_of_leaves(mapping):
    assert nest(leaves(mapping)) == mapping
