"""ROUGE, BLEU, chrF, length and truncation: numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu

from perbench.contracts.metric import UNIT, Scale, Texts, mean_metric
from perbench.errors import PerbenchError
from perbench.metrics import score_texts, text_metric
from perbench.plugins import names
from perbench.stats.spread import jackknife
from tests.metrics.tasks import answered

METRICS = names("metric")
SPEC = answered(metrics=["accuracy"], labels=["The cat sat", "a mat"], ratings=[1, 5])

MAT = ("the cat sat on the mat", "the cat was on the mat")


def texts(pairs: list[tuple[str, str]], clusters: list[str] | None = None) -> Texts:
    users = clusters or [f"u{i}" for i in range(len(pairs))]
    return Texts([p for p, _ in pairs], [r for _, r in pairs], users, [False] * len(pairs))


@pytest.mark.parametrize(
    ("name", "pair", "gold"),
    [
        ("rouge1", MAT, 5 / 6),
        ("rouge2", MAT, 3 / 5),
        ("rougeL", MAT, 5 / 6),
        ("rouge1", ("dogs", "dog"), 0.0),  # no stemmer
        ("rouge1", ("Dog!", "dog"), 1.0),
        ("rouge1", ("a b", "a b c d"), 2 / 3),  # P 1, R 1/2
        ("rougeL", ("b a", "a b"), 1 / 2),
        # rougeL runs over the whole text; rougeLsum, by lines, would give 1
        ("rougeL", ("c d\na b", "a b\nc d"), 1 / 2),
        ("rouge2", ("", "a b"), 0.0),
        ("length", ("two  words\n", ""), 2.0),
        ("length", ("", "a"), 0.0),
    ],
)
def test_gold_per_sample(name: str, pair: tuple[str, str], gold: float) -> None:
    assert score_texts([name], texts([pair])).per_sample[name] == [pytest.approx(gold)]


@pytest.mark.parametrize(
    ("name", "pair", "gold"),
    [
        ("bleu", ("the cat is on the mat", "the cat is on the mat"), 100.0),
        # precisions 5/6, 3/5, 1/4, and 0/3 smoothed to 1/(2*3); no brevity penalty
        ("bleu", MAT, 100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25),
        ("bleu", ("", "a b c d"), 0.0),
        # 1-grams: 1 of 2, 2-grams: 0 of 1; mean P = mean R = 1/4, so F2 = 1/4
        ("chrf", ("ab", "ac"), 25.0),
        ("chrf", ("same", "same"), 100.0),
    ],
)
def test_gold_corpus(name: str, pair: tuple[str, str], gold: float) -> None:
    found = score_texts([name], texts([pair]))
    assert found.metrics[name].value == pytest.approx(gold, abs=1e-6)
    assert found.metrics[name].ci is None  # one user
    assert found.per_sample == {}


def test_corpus_scores_are_sacrebleus_and_lie_in_their_intervals() -> None:
    pairs = [
        MAT,
        ("a b c d e", "a b c d f"),
        ("x y z", "x y q z"),
        ("one two three four", "one two three four"),
    ]
    found = score_texts(["bleu", "chrf"], texts(pairs, ["u", "u", "v", "w"]))
    hypotheses, references = [p for p, _ in pairs], [[r for _, r in pairs]]
    assert found.metrics["bleu"].value == pytest.approx(sacrebleu.corpus_bleu(hypotheses, references).score)
    assert found.metrics["chrf"].value == pytest.approx(sacrebleu.corpus_chrf(hypotheses, references).score)
    for metric in found.metrics.values():
        assert metric.value is not None
        assert metric.ci is not None
        assert metric.ci[0] < metric.value < metric.ci[1]


def test_a_corpus_interval_leaves_out_users() -> None:
    pairs = [("a b c d", "a b c d"), ("a b c d", "a b c d"), ("p q r s", "w x y z"), ("k l m n", "k l m o")]
    found = score_texts(["bleu"], texts(pairs, ["right", "right", "wrong", "near"]))
    metric, sums = found.metrics["bleu"], found.sums["bleu"]
    left = [
        sacrebleu.corpus_bleu([p for p, _ in kept], [[r for _, r in kept]], force=True).score
        for kept in (pairs[2:], [*pairs[:2], pairs[3]], pairs[:3])
    ]
    spread = jackknife(metric.value or 0.0, np.array(left), np.array([2.0, 1.0, 1.0]))
    assert spread is not None
    low, high = spread.interval(metric.value or 0.0) or (0, 0)
    assert metric.ci == pytest.approx((max(low, 0), min(high, 100)))
    assert (metric.users, metric.ci_method) == (3, "jackknife-t")
    whole = np.sum([row for row in sums if row is not None], axis=0)
    assert text_metric("bleu").of_sums("bleu", whole[None]) == pytest.approx([metric.value])


def test_right_and_wrong_have_wilsons_interval() -> None:
    metric = mean_metric([1.0, 1.0, 1.0, 1.0], list("uvwx"), "s")
    assert (metric.ci_method, metric.users) == ("wilson-t", 4)
    assert metric.ci is not None
    assert metric.ci[0] < metric.ci[1] == 1.0
    ratings = mean_metric([1.0] * 4, list("uvwx"), "s", scale=Scale(bounds=(1.0, 5.0)))
    assert (ratings.value, ratings.ci, ratings.ci_method) == (1.0, None, None)


def test_an_interval_ends_where_the_metric_does() -> None:
    values, users = [0.0, 0.1, 0.95], list("uvw")
    assert (mean_metric(values, users, "s").ci or (0, 0))[0] < 0
    assert (mean_metric(values, users, "s", scale=UNIT).ci or (1, 1))[0] == 0


def test_truncation_is_a_share() -> None:
    metric = score_texts(
        ["truncated"], Texts(["a"] * 4, ["a"] * 4, list("uvwx"), [True, False, False, False])
    )
    assert metric.metrics["truncated"].value == 0.25


def test_every_signature_names_library_and_version_or_rule() -> None:
    names = [name for name in METRICS if name != "meteor"]
    found = score_texts(names, texts([MAT]), SPEC)
    assert found.metrics["rougeL"].signature.startswith("rougeL|f1|stem:no|unreadable:missing|rouge-score:")
    assert found.metrics["bleu"].signature.startswith(
        "bleu|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:"
    )
    assert found.metrics["chrf"].signature.startswith(
        "chrf|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:"
    )
    assert len({metric.signature for metric in found.metrics.values()}) == len(names)


def test_every_registered_metric_has_its_code() -> None:
    found = score_texts(list(METRICS), texts([MAT]), SPEC)
    told = {note.split()[1] for note in found.notes}  # "metric meteor absent: ..."
    assert found.metrics.keys() | told == set(METRICS)


def test_no_samples_give_no_numbers() -> None:
    found = score_texts(["rouge1", "bleu", "truncated"], texts([]))
    assert all(metric.value is None and metric.n == 0 for metric in found.metrics.values())


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(PerbenchError, match=r"unknown metric 'rogue1'\. Did you mean 'rouge1'\?"):
        score_texts(["rogue1"], texts([MAT]))
