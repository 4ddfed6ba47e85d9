"""Lists as axes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.specs.expand import training_variants, variants
from perbench.specs.grid import leaves, nest
from perbench.specs.matrix import MatrixSpec, TrainingSpec


def matrix(**keys):
    return MatrixSpec(summary="s", models=["m"], targets=["t"], **keys)


def test_nothing_varied_is_one_variant_with_nothing_to_tell():
    assert training_variants(matrix()) == [(TrainingSpec(), {})]
    assert training_variants(matrix(training={"epochs": 1.0})) == [(TrainingSpec(epochs=1.0), {})]
    assert training_variants(matrix(training={"epochs": [2.0]})) == [(TrainingSpec(epochs=2.0), {})]


def test_training_lists_are_multiplied_and_only_varied_keys_are_told():
    training = {"learning_rate": [1e-5, 2e-5], "lora": {"rank": [8, 16], "alpha": 32}, "batch_size": 4}
    variants = training_variants(matrix(training=training))
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
    found = variants(matrix(trainers=rows, sources=["s"]).trainers)
    assert [(variant.name, variant.params) for variant in found] == [
        ("ce", {}),
        ("perce", {"clip_max": 2.0, "clip_min": 0.5}),
        ("perce", {"clip_max": 5.0, "clip_min": 0.5}),
    ]


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.dictionaries(
        st.text("ab", min_size=1, max_size=2),
        st.integers() | st.dictionaries(st.text("cd", min_size=1, max_size=2), st.integers(), min_size=1),
        max_size=4,
    )
)
def test_nest_is_the_inverse_of_leaves(mapping):
    assert nest(leaves(mapping)) == mapping
