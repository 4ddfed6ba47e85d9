"""Metrics of stored samples against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.protocols.identification.scores import score_samples
from perbench.stats.spread import jackknife
from perbench.text.words import word_spans

RESPONSE = "a bb ccc dddd"


def sample(
    name: str,
    user: str,
    scores: list[float],
    gold: list[tuple[list[int], str | None]],
    *,
    split: str = "test",
    **more: Any,
) -> dict[str, Any]:
    return {
        "id": name,
        "split": split,
        "user": user,
        "response": RESPONSE,
        "gold": [place for place, _ in gold],
        "kinds": [kind for _, kind in gold],
        "sentences": [None] * len(gold),
        "distractors": [],
        "spans": [list(span) for span in word_spans(RESPONSE)],
        "scores": scores,
        "threshold": 1.0,
        "counts": {},
        **more,
    }


TEST = [
    # Gold "a bb": one of its two tokens, and one too many.
    sample(
        "x",
        "u",
        [2, 0, 2, 0],
        [([0, 4], "lexical")],
        counts={"unparsable": 1, "absent_keywords": 2},
        distractors=[[5, 8]],
    ),
    # Gold "ccc" and "dddd", which are one run of words; a score of 1 is not above 1.
    sample("y", "v", [0, 0, 1.0, 1.5], [([5, 8], "style"), ([9, 13], "lexical")], distractors=[[0, 1]]),
    sample("z", "v", [0, 0, 3, 0], []),
]
DEV = [
    sample("d", "w", [0.5, 0.9, 0.8, 0.1], [([2, 8], "style")], split="dev"),
    sample("e", "w", [0.7, 0, 0, 0], [([0, 1], "style")], split="dev"),
]


def values(samples: list[dict[str, Any]]) -> dict[str, float | None]:
    return {name: metric.value for name, metric in score_samples(samples).metrics.items()}


def test_metrics_by_hand() -> None:
    # Predicted: x "a", "ccc"; y "dddd"; z "ccc". Gold tokens: 4. Correct: x "a", y "dddd".
    expected = {
        "precision": 2 / 4,
        "recall": 2 / 4,
        "f1": 4 / 8,
        # Whole gold spans: "dddd" of y alone.
        "precision_strict": 1 / 4,
        "recall_strict": 1 / 4,
        "f1_strict": 2 / 8,
        # Words are tokens here.
        "word_precision": 2 / 4,
        "word_recall": 2 / 4,
        "word_f1": 4 / 8,
        "word_precision_strict": 1 / 4,
        "word_recall_strict": 1 / 4,
        "word_f1_strict": 2 / 8,
        # Runs predicted: "a", "ccc"; "dddd"; "ccc". Gold runs: "a bb"; "ccc dddd".
        "span_precision": 2 / 4,
        "span_recall": 2 / 2,
        "span_f1": 2 * 0.5 / 1.5,
        "span_precision_strict": 0.0,
        "span_recall_strict": 0.0,
        "span_f1_strict": 0.0,
        "recall_lexical": 2 / 3,
        "recall_style": 0 / 1,
        "false_distractor": 1 / 2,
        "false_none": 1 / 4,
        "threshold": 1.0,
        # By score: 3 wrong; 2 one right, one wrong; 1.5 right; 1.0 right; 0: one right in seven.
        "average_precision": (1 / 3 + 2 / 4 + 3 / 5 + 4 / 12) / 4,
        "word_average_precision": (1 / 3 + 2 / 4 + 3 / 5 + 4 / 12) / 4,
    }
    assert values(TEST) == pytest.approx(expected)


def test_the_threshold_of_dev_serves_on_test() -> None:
    # Dev: 0.9, 0.8, 0.7 are right, 0.5 is wrong: F1 is 1 between 0.7 and 0.5.
    scored = score_samples([*DEV, *TEST])
    found = {name: metric.value for name, metric in scored.metrics.items()}
    assert found["threshold_tuned"] == pytest.approx(0.6)
    # Above 0.6: the fixed predictions and y's "ccc".
    assert found["precision_tuned"] == 3 / 5
    assert found["recall_tuned"] == 3 / 4
    assert found["f1_tuned"] == pytest.approx(6 / 9)
    assert found["recall_style_tuned"] == 1.0
    assert found["span_f1_strict_tuned"] == pytest.approx(2 * (1 / 4) * (1 / 2) / (3 / 4))
    untuned = values(TEST)
    assert {name: value for name, value in found.items() if "tuned" not in name} == untuned
    assert scored.counts == {"samples": 3, "dev_samples": 2, "unparsable": 1, "absent_keywords": 2}
    assert scored.metrics["f1_tuned"].signature == "f1|token|contained|micro|score>0.6|v2"
    assert scored.metrics["threshold_tuned"].n == 2
    assert scored.notes == ["1 of 3 replies hold no list and count as naming nothing"]


def test_responses_may_have_thresholds_of_their_own() -> None:
    own = [
        {**one, "threshold": value, "threshold_of": "response"}
        for one, value in zip(TEST, (2, 0, 5), strict=True)
    ]
    found = score_samples(own).metrics
    fixed = [score_samples([{**one, "threshold": one["threshold"]}]).metrics for one in own]
    assert [round(one["threshold"].value or 0, 3) for one in fixed] == [2, 0, 5]
    assert found["threshold"].value == pytest.approx(7 / 3)
    assert found["threshold"].signature == "mean of each response's own"
    assert found["f1"].signature == "f1|token|contained|micro|score>each response's own|v2"
    scores = score_samples(own).scores.scores
    alone = [score_samples([one]).scores.scores for one in own]
    assert scores["tp"] == [one["tp"][0] for one in alone]
    assert found["recall"].value == pytest.approx(
        sum(scores["tp"]) / (sum(scores["tp"]) + sum(scores["fn"]))  # type: ignore[arg-type]
    )
    (single,) = (score_samples(own[:1]).metrics["f1"],)  # the wording does not depend on how many there are
    assert single.signature == found["f1"].signature


def test_scores_per_sample_and_intervals() -> None:
    scored = score_samples([*DEV, *TEST])
    scores = scored.scores
    assert (scores.ids, scores.clusters) == (["x", "y", "z"], ["u", "v", "v"])
    assert (scores.scores["tp"], scores.scores["fp"], scores.scores["fn"]) == (
        [1, 1, 0],
        [1, 0, 1],
        [1, 1, 0],
    )
    assert scores.scores["f1"] == [0.5, pytest.approx(2 / 3), 0.0]
    assert scores.scores["recall"] == [0.5, 0.5, None]
    assert scores.scores["tp_tuned"] == [1, 2, 0]
    assert (scored.metrics["precision"].ci, scored.metrics["precision"].users) == (None, 2)
    assert scored.metrics["f1"].signature == "f1|token|contained|micro|score>1|v2"


def test_intervals_are_over_users_that_bring_units() -> None:
    gold = [([0, 4], "lexical")]
    samples = [
        sample("x", "u", [2, 0, 0, 0], gold),
        sample("y", "v", [2, 2, 0, 0], gold),
        sample("z", "w", [0, 0, 2, 0], gold),
        sample("none", "t", [0, 0, 0, 0], []),
    ]
    found = score_samples(samples).metrics
    # Right of predicted: 1 of 1, 2 of 2, 0 of 1; without each: 2/3, 1/2, 1.
    left = np.array([2 / 3, 1 / 2, 1])
    spread = jackknife(3 / 4, left, np.array([1.0, 2.0, 1.0]))
    assert spread is not None
    low, high = spread.interval(3 / 4) or (0, 0)
    assert (found["precision"].value, found["precision"].users) == (3 / 4, 3)
    assert found["precision"].ci == pytest.approx((max(low, 0), min(high, 1)))
    assert found["average_precision"].users == 4
    assert found["average_precision"].ci is not None


def test_without_dev_nothing_is_tuned() -> None:
    scored = score_samples(TEST)
    assert not [name for name in scored.metrics if "tuned" in name]
    assert "no threshold was chosen: the task has no dev split" in scored.notes
    useless = score_samples([sample("d", "w", [1, 1, 1, 1], [], split="dev"), *TEST])
    assert not [name for name in useless.metrics if "tuned" in name]
    assert "no threshold was chosen: no token of the dev split can be right" in useless.notes


def test_a_threshold_that_predicts_everything_is_told() -> None:
    dev = [sample("d", "w", [1, 1, 1, 1], [([0, 8], None)], split="dev")]
    scored = score_samples([*dev, *TEST])
    assert scored.metrics["threshold_tuned"].value == 0.0
    assert "the threshold chosen on dev predicts every token: no other has a larger F1 there" in scored.notes


def test_sources() -> None:
    told = sample("x", "u", [0] * 4, [([0, 4], "lexical")], sentences=[1], sources=[1, 0, 1, None])
    assert score_samples([told]).metrics["source_accuracy"].value == 0.5
    untold = sample("x", "u", [0] * 4, [([0, 4], "lexical")], sentences=[1])
    assert "source_accuracy" not in score_samples([untold]).metrics


def test_no_prediction_has_no_precision() -> None:
    found = values([sample("x", "u", [0, 0, 0, 0], [([0, 1], None)])])
    assert found["precision"] is None
    assert found["recall"] == found["f1"] == found["span_f1"] == 0.0
    assert not {name for name in found if "recall_" in name and "strict" not in name}  # no kind is named


def test_nothing_gold_and_nothing_predicted_has_no_value() -> None:
    found = values([sample("x", "u", [0, 0, 0, 0], [])])
    assert found.pop("threshold") == 1.0
    assert found.pop("false_none") == 0.0
    assert set(found.values()) == {None}


def test_the_perfect_identifier_scores_one_everywhere() -> None:
    gold = [([0, 4], "lexical"), ([9, 13], "style")]
    found = values(
        [
            sample("d", "w", [2, 2, 0, 2], gold, split="dev"),
            sample("x", "u", [2, 2, 0, 2], gold),
            sample("y", "v", [0, 0, 0, 0], []),
        ]
    )
    rates = {name: value for name, value in found.items() if not name.startswith(("threshold", "false"))}
    assert set(rates.values()) == {1.0}
    assert {value for name, value in found.items() if name.startswith("false")} == {0.0}


GOLD = [[], [([0, 4], "lexical")], [([2, 4], "style"), ([9, 13], "lexical")]]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5]), min_size=4, max_size=4), st.sampled_from(GOLD)
        ),
        min_size=2,
        max_size=6,
    ),
    st.randoms(),
)
def test_the_order_of_samples_changes_nothing(
    drawn: list[tuple[list[float], list[tuple[list[int], str | None]]]], random: Any
) -> None:
    samples = [
        sample(str(i), f"u{i % 3}", scores, gold, split="dev" if i % 2 else "test")
        for i, (scores, gold) in enumerate(drawn)
    ]
    shuffled = random.sample(samples, len(samples))
    assert values(shuffled) == pytest.approx(values(samples), nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-5, 5), min_size=8, max_size=8))
def test_average_precision_sees_only_the_order_of_scores(scores: list[float]) -> None:
    # A map that keeps order: of rank, so that rounding can merge none.
    rank = {value: float(place) for place, value in enumerate(sorted(set(scores)))}
    gold: list[tuple[list[int], str | None]] = [([2, 8], None)]

    def found(of: list[float]) -> float | None:
        return values([sample("x", "u", of[:4], gold), sample("y", "v", of[4:], gold)])["average_precision"]

    assert found(scores) == found([rank[value] for value in scores])


def test_an_example_without_an_answer_counts_in_no_metric_and_for_no_threshold() -> None:
    def samples(split: str) -> list[dict[str, Any]]:
        return [
            sample(f"{split}1", "u1", [2.0, 0.0, 2.0, 0.0], [([0, 1], "a")], split=split),
            sample(f"{split}2", "u2", [0.0, 2.0, 0.0, 0.0], [([2, 4], "a")], split=split),
        ]

    there = [*samples("dev"), *samples("test")]
    silent = {"spans": [], "missing": "refused"}
    absent = [
        sample(f"{split}3", "u3", [], [([0, 1], "a")], split=split, **silent) for split in ("dev", "test")
    ]
    alone, with_absent = score_samples(there), score_samples([*there, *absent])
    assert alone.metrics.keys() == with_absent.metrics.keys()
    for name, metric in with_absent.metrics.items():
        known = alone.metrics[name]
        assert (metric.value, metric.ci, metric.n) == (known.value, known.ci, known.n)
        if not name.startswith("threshold"):
            assert (metric.missing, metric.why) == (1, {"refused": 1})
    assert with_absent.counts == {**alone.counts, "samples": 3, "missing_refused": 1}
    nothing = score_samples(absent).metrics["f1"]
    assert (nothing.value, nothing.n, nothing.missing, nothing.why) == (None, 0, 1, {"refused": 1})


def test_words_and_spans_have_no_score_where_the_script_parts_no_words() -> None:
    plain = [sample("a", "u1", [2.0, 0.0, 2.0, 0.0], [([0, 1], "a")]), sample("b", "u2", [0.0] * 4, [])]
    text = "我喜欢豆子"
    foreign = {
        **sample("c", "u3", [2.0, 0.0, 2.0, 0.0, 0.0], [([0, 1], "a")]),
        "response": text,
        "spans": [[place, place + 1] for place in range(len(text))],
    }
    alone, mixed = score_samples(plain), score_samples([*plain, foreign])
    for name, metric in mixed.metrics.items():
        of_words = name.startswith(("word_", "span_", "false_"))
        assert metric.why == ({"answer in a script without spaces": 1} if of_words else {})
        if of_words:
            known = alone.metrics[name]
            assert (metric.value, metric.n, metric.missing) == (known.value, known.n, 1)
    assert mixed.metrics["recall"].n == 3
    assert score_samples([foreign]).metrics["word_f1"].value is None


def test_precision_without_a_prediction_has_no_value_and_says_so() -> None:
    found = score_samples([sample("a", "u1", [0.0] * 4, [([0, 1], "a")])])
    assert (found.metrics["precision"].value, found.metrics["recall"].value) == (None, 0.0)
    assert "precision has no value: no token was predicted" in found.notes
