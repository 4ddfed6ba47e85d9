"""Scores of stored documents: lm-eval's aggregations by hand, their intervals, groups, published results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from perbench.contracts.metric import UNKNOWN
from perbench.protocols.lm_eval import scores as scoring
from perbench.protocols.lm_eval.aggregates import aggregation, median
from perbench.protocols.lm_eval.catalogue import GroupMetric
from perbench.protocols.lm_eval.section import LmEvalSpec
from perbench.protocols.lm_eval.values import stored
from perbench.published.follows import recomputed
from perbench.stats.spread import jackknife


def sample(name: str, metrics: dict[str, Any] | None = None, corpus: dict[str, Any] | None = None) -> Any:
    return {
        "id": name,
        "user": name,
        "task": name.split("/")[0],
        "lm_eval": "0",
        "metrics": metrics or {},
        "corpus": corpus or {},
        "unscored": {},
    }


@pytest.mark.parametrize(
    ("kind", "values", "gold"),
    [
        ("perplexity", [-1.0, -3.0, -2.0], math.exp(2)),
        ("weighted_perplexity", [[-4.0, 2], [-6.0, 2], [-2.0, 4]], math.exp(12 / 8)),
        ("bits_per_byte", [[-4.0, 2], [-6.0, 2], [-2.0, 4]], 12 / 8 / math.log(2)),
        ("f1", [[1, 1], [1, 0], [0, 1], [0, 0], [1, 1]], 2 * 2 / (2 * 2 + 1 + 1)),
        ("f1", [[0, 0], [0, 0]], 0.0),
        ("matthews_corrcoef", [[1, 1], [1, 1], [0, 0], [0, 1]], (2 * 1 - 1 * 0) / math.sqrt(3 * 2 * 1 * 2)),
        ("matthews_corrcoef", [[1, 1], [1, 0]], 0.0),
    ],
)
def test_aggregations_by_hand(kind: str, values: list[Any], gold: float) -> None:
    rows = [sample(f"t/{i}", corpus={"m": [kind, value]}) for i, value in enumerate(values)]
    scored = scoring.score("t", LmEvalSpec(), rows)
    assert scored.metrics["m"].value == pytest.approx(gold)
    assert scored.metrics["m"].n == len(values)
    one = aggregation(kind)
    assert one is not None
    whole = np.array(one.rows(values))
    left = [float(one.of(whole.sum(0, keepdims=True) - row)[0]) for row in whole]
    spread = jackknife(gold, np.array(left), np.ones(len(left)))
    ci = spread.interval(gold) if spread is not None else None
    assert scored.metrics["m"].ci == (None if ci is None else pytest.approx(ci))


def test_a_metric_that_cannot_read_its_values_leaves_the_others() -> None:
    rows = [sample(f"t/{i}", {"acc": 1.0}, {"m": ["f1", [2, 1]]}) for i in range(2)]
    scored = scoring.score("t", LmEvalSpec(), rows)
    assert scored.metrics["acc"].value == 1.0
    assert "m" not in scored.metrics or scored.metrics["m"].value is None
    assert any("m" in note and "0 and 1" in note for note in scored.notes)


def test_the_median_is_the_upper_one() -> None:
    assert (median([4, 1, 3, 2]), median([5.0])) == (3, 5.0)


def group(rules: list[GroupMetric]) -> Any:
    values = {"a": [1.0, 0.0, 1.0, 1.0], "b": [0.0, 1.0]}
    rows = [
        sample(f"{task}/{i}", {"acc": one, "acc_norm": one}, {"perp": ["perplexity", -one]})
        for task, own in values.items()
        for i, one in enumerate(own)
    ]
    return scoring.score("g", LmEvalSpec(), rows, rules)


def test_a_group_weighs_its_tasks_as_it_says() -> None:
    plain = group([])
    assert plain.metrics["acc"].value == pytest.approx(4 / 6)
    assert plain.metrics["perp"].value == pytest.approx(math.exp(4 / 6))
    own = group([GroupMetric("acc", None, False), GroupMetric("perp", None, True)])
    assert own.metrics["acc"].value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert own.metrics["acc_norm"].value == pytest.approx(4 / 6)
    assert own.metrics["perp"].value == pytest.approx((4 * math.exp(3 / 4) + 2 * math.exp(1 / 2)) / 6)
    assert own.metrics["acc"].ci is not None
    assert "acc" not in own.scores.scores, "its value is no mean of documents"
    assert group([GroupMetric("acc", ("strict",), False)]).metrics["acc"].value == pytest.approx(4 / 6)


def test_published_values_follow_from_their_sums() -> None:
    from perbench.protocols.lm_eval import LmEval

    found = group([GroupMetric("acc", None, False), GroupMetric("perp", None, True)])
    again = recomputed(LmEval, found.metrics, found.scores)
    assert again.keys() == found.metrics.keys()
    for name, metric in found.metrics.items():
        assert again[name].value == pytest.approx(metric.value), name
        assert again[name].ci == pytest.approx(metric.ci), name
    forged = found.metrics["acc"].model_copy(update={"signature": "acc|by:mean|tasks:7 equal"})
    with pytest.raises(ValueError, match="sums of acc"):
        recomputed(LmEval, {"acc": forged}, found.scores)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.bool_(True), 1.0),
        (True, 1.0),
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array([2.0]), 2.0),
        (np.array(2.0), 2.0),
        (float("nan"), None),
        (float("-inf"), None),
    ],
)
def test_every_number_of_a_task_is_kept(value: Any, kept: float | None) -> None:
    found = sample("t/0")
    stored(found, "m", None, value)
    assert (found["metrics"], found["unscored"]) == ({"m": kept}, {})


@pytest.mark.parametrize("value", [{}, None, "right", [1, 2], object()])
def test_what_is_no_number_is_named(value: Any) -> None:
    found = sample("t/0")
    stored(found, "m", None, value)
    assert not found["metrics"]
    assert type(value).__name__ in found["unscored"]["m"]


def test_documents_without_a_number_are_missing() -> None:
    rows = [sample(f"t/{i}", {"m": value}) for i, value in enumerate([1.0, None, 3.0])]
    metric = scoring.score("t", LmEvalSpec(), rows).metrics["m"]
    assert (metric.value, metric.n, metric.missing, metric.why) == (2.0, 2, 1, {scoring.NAN: 1})
    assert UNKNOWN.holds(metric.value or 0)
