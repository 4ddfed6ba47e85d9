"""Accuracy and macro F1 over a task's labels: gold numbers, LaMP's rules written out, scikit-learn."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import f1_score

from perbench.contracts.metric import Texts
from perbench.errors import PerbenchError
from perbench.metrics import TextScores, score_texts, text_metric
from perbench.specs.compose import task_spec
from tests.metrics.tasks import answered

TAGS = [
    *("sci-fi", "based on a book", "comedy", "action", "twist ending", "dystopia", "dark comedy", "classic"),
    *("psychology", "fantasy", "romance", "thought-provoking", "social commentary", "violence", "true story"),
]
GOLD = ["comedy", "comedy", "sci-fi", "action", "romance"]
ANSWERS = ["comedy ", "Comedy", "sci-fi", "comedy", "romance."]


def score(
    answers: list[str], gold: list[str], labels: list[str], users: list[str] | None = None
) -> TextScores:
    spec = answered(metrics=["accuracy", "macro_f1"], labels=labels)
    texts = Texts(answers, gold, users or ["u"] * len(gold), [False] * len(gold))
    return score_texts(spec.metrics, texts, spec)


def official(answers: list[str], gold: list[str], labels: list[str]) -> tuple[float, float]:
    """LaMP's eval/evaluation.py: index in the list or -1, then scikit-learn over all indices."""
    found, right = (
        [labels.index(x) if x in labels else -1 for x in map(str.strip, t)] for t in (answers, gold)
    )
    share = sum(a == b for a, b in zip(found, right, strict=True)) / len(gold)
    numbers = list(range(len(labels)))
    return share, f1_score(right, found, labels=numbers, average="macro", zero_division=0)


def test_the_gold_numbers() -> None:
    """comedy: 1 hit of 2 answers and 2 references, F1 1/2; sci-fi 1; action, romance 0; eleven labels absent:
    1.5 / 15."""
    found = score(ANSWERS, GOLD, TAGS)
    assert found.per_sample["accuracy"] == [1, 0, 1, 0, 0]
    assert found.metrics["accuracy"].value == pytest.approx(0.4)
    assert found.metrics["macro_f1"].value == pytest.approx(0.1)
    assert official(ANSWERS, GOLD, TAGS) == (pytest.approx(0.4), pytest.approx(0.1))
    assert found.counts == {"unparsed": 2}


def test_what_lowers_a_number_is_said_beside_it() -> None:
    unparsed, absent = score(ANSWERS, GOLD, TAGS).notes
    assert "2 of 5 answers" in unparsed
    assert "11 of" in absent
    assert "dystopia" in absent
    assert not score(["a", "b"], ["a", "b"], ["a", "b"]).notes


def predictions(count: int, labels: list[str], seed: int) -> tuple[list[str], list[str], list[str]]:
    draw = random.Random(seed)
    wrong = ["", " ", "none", "Sci-Fi", "comedy, action", "[3]", "1", "nan", "é"]
    gold = [draw.choice(labels[: max(2, len(labels) - 3)]) for _ in range(count)]
    answers = [
        draw.choice(
            [right, f" {right}\n", right.upper(), f"{right}.", draw.choice(labels), draw.choice(wrong)]
        )
        for right in gold
    ]
    return answers, gold, [f"user-{draw.randrange(12)}" for _ in range(count)]


@pytest.mark.parametrize("labels", [TAGS, ["[1]", "[2]"]], ids=["tags", "citations"])
@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_those_of_the_official_rules(labels: list[str], seed: int) -> None:
    answers, gold, users = predictions(300, labels, seed)
    found = score(answers, gold, labels, users)
    accuracy, f1 = official(answers, gold, labels)
    assert found.metrics["accuracy"].value == pytest.approx(accuracy)
    assert found.metrics["macro_f1"].value == pytest.approx(f1)
    assert found.counts["unparsed"] == sum(answer.strip() not in labels for answer in answers) > 50


def test_the_interval_of_macro_f1_is_over_users() -> None:
    """The jackknife's: the statistic without each user in turn, from sums that add up over samples."""
    answers, gold, users = predictions(120, TAGS, 7)
    found = score(answers, gold, TAGS, users)
    metric, sums = found.metrics["macro_f1"], found.sums["macro_f1"]
    assert metric.users == len(set(users))
    assert metric.ci is not None
    assert metric.ci[0] < (metric.value or 0) < metric.ci[1]
    kept = [number for number, user in enumerate(users) if user != users[0]]
    part = score([answers[n] for n in kept], [gold[n] for n in kept], TAGS, [users[n] for n in kept])
    assert part.sums["macro_f1"] == [sums[n] for n in kept]


def test_a_reference_outside_the_labels_has_no_score() -> None:
    """Rows with one are refused; stored samples of other data may hold it."""
    found = score(["a", "b", "c"], ["a", "b", "c"], ["a", "b"])
    for metric in found.metrics.values():
        assert (metric.value, metric.n, metric.missing) == (1.0, 2, 1)
        assert metric.why == {"reference outside the labels": 1}


def test_no_answers_no_value() -> None:
    assert [metric.value for metric in score([], [], TAGS).metrics.values()] == [None, None]


@pytest.mark.parametrize(
    ("labels", "word"),
    [(["a"], "two"), ([], "two"), (["a", "b", "a"], "'a'"), (["a", " b"], "' b'"), (["a", ""], "''")],
)
def test_labels_that_cannot_be_told_apart_are_refused(labels: list[str], word: str) -> None:
    with pytest.raises(ValueError, match="labels") as error:
        answered(metrics=["accuracy"], labels=labels)
    assert word in str(error.value)


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"metrics": ["accuracy"]}, "labels: required by metric accuracy"),
        ({"metrics": ["rmse"]}, "ratings: required by metric rmse"),
        ({"metrics": ["rouge1"], "label": ["a", "b"]}, "label"),
    ],
)
def test_keys_of_metrics_are_keys_of_tasks(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        answered(**keys)
    assert {"labels", "ratings"} <= task_spec().model_fields.keys()
    assert text_metric("accuracy").titles["macro_f1"] == "macro F1"


PLUGIN = """
from perbench.contracts.metric import Measured, TextMetric, mean_metric
from perbench.shapes.base import Strict


class Keys(Strict):
    KEY


class Own(TextMetric):
    Keys = Keys

    def measure(self, name, texts):
        values = [float(text.startswith(self.keys.NAME)) for text in texts.predictions]
        metric = mean_metric(values, texts.clusters, name)
        return Measured(metric, values, counts={"tried": len(values)}, notes=["a note"])
"""


def own_metric(root: Path, name: str, key: str) -> None:
    (root / "metrics").mkdir(exist_ok=True)
    text = PLUGIN.replace("KEY", key).replace("NAME", key.partition(":")[0])
    (root / "metrics" / f"{name}.py").write_text(text)


def test_a_metric_of_a_third_party_brings_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_metric(tmp_path, "starts", "start: str = 'a'")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    for keys, value in (({}, 1.0), ({"start": "b"}, 0.0)):
        spec = answered(metrics=["starts"], **keys)
        found = score_texts(["starts"], Texts(["an answer"], ["x"], ["u"], [False]), spec)
        assert found.metrics["starts"].value == value
        assert (found.counts, found.notes) == ({"tried": 1}, ["a note"])
    with pytest.raises(ValueError, match="start"):
        answered(metrics=["starts"], start=3)


def test_two_metrics_with_one_key_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_metric(tmp_path, "starts", "labels: str = 'a'")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    with pytest.raises(PerbenchError, match="'labels' differently") as error:
        task_spec()
    assert str(tmp_path / "metrics" / "starts.py") in str(error.value)
    assert "labels.py" in str(error.value)
