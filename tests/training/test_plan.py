from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.specs.matrix import TrainingSpec
from perbench.training.plan import UpdatePlan


@given(st.integers(1, 30), st.integers(1, 12), st.floats(0.1, 4), st.integers(0, 3))
def test_each_epoch_sees_every_example_once(size: int, batch_size: int, epochs: float, seed: int) -> None:
    plan = UpdatePlan(size, TrainingSpec(batch_size=batch_size, epochs=epochs), seed)
    stream = [i for step in range(plan.steps) for i in plan.batch(step)]
    assert len(stream) == plan.examples == max(1, round(epochs * size))
    for start in range(0, len(stream), size):
        epoch = stream[start : start + size]
        assert len(set(epoch)) == len(epoch)
    assert all(len(plan.batch(step)) == batch_size for step in range(plan.steps - 1))
    counts = Counter(stream)
    assert max(counts.values()) <= math.ceil(epochs)


def test_order_depends_on_seed_and_epoch() -> None:
    spec = TrainingSpec(batch_size=50, epochs=2)
    first, other = UpdatePlan(50, spec, 0), UpdatePlan(50, spec, 1)
    assert first.batch(0) != other.batch(0)
    assert first.batch(0) != first.batch(1)
    assert first.batch(1) == UpdatePlan(50, spec, 0).batch(1)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_learning_rates_warm_up_then_follow_the_schedule(schedule: str, expected: list[float]) -> None:
    spec = TrainingSpec.model_validate(
        {"batch_size": 1, "epochs": 1, "learning_rate": 2.0, "warmup_ratio": 0.3, "schedule": schedule}
    )
    plan = UpdatePlan(6, spec, 0)
    assert [plan.learning_rate(step) / 2 for step in range(6)] == pytest.approx(expected)
