"""Charts of identifiers, tests between them and what the page says first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from perbench.contracts.chart import Chart
from perbench.contracts.results import Entry, Loaded
from perbench.contracts.section import Table, Value
from perbench.plugins import get
from perbench.site.load import load
from perbench.site.view import ShownSection, build_view
from perbench.store import Metric, Scores

if TYPE_CHECKING:
    from tests.site.conftest import Bench

USERS = ("ada", "bo", "cy", "di", "ed")
GOOD = [(4, 1, 0), (4, 0, 1), (5, 1, 1), (4, 1, 1), (5, 0, 0)]
"""Right, false and not found, by user: F1 44 / 50."""
BAD = [(1, 4, 3), (1, 3, 4), (2, 4, 4), (1, 5, 4), (0, 4, 5)]
"""F1 10 / 50."""
Counts = Sequence[tuple[int, int, int]]


def told(bench: Bench, name: str, counts: Counts, suffixes: Sequence[str] = ("",), **fields: Any) -> None:
    columns = {
        f"{key}{suffix}": [float(row[place]) for row in counts]
        for suffix in suffixes
        for place, key in enumerate(("tp", "fp", "fn"))
    }
    scores = Scores(ids=[f"s{user}" for user in USERS], clusters=list(USERS), scores=columns)
    right, false, missed = map(sum, zip(*counts, strict=True))
    values = {
        "f1": 2 * right / (2 * right + false + missed),
        "precision": right / (right + false),
        "recall": right / (right + missed),
        **fields.pop("more", {}),
    }
    metrics = {
        key: Metric(
            value=value, ci=(value - 0.05, value + 0.05), users=5, n=5, signature=signature(key, fields)
        )
        for key, value in values.items()
    }
    for suffix in suffixes[1:]:
        metrics |= {f"{key}{suffix}": metrics[key] for key in values}
        metrics[f"threshold{suffix}"] = Metric(value=0.5, n=5, signature="dev")
    fields.pop("threshold", None)
    bench.identify(name, 0.5, scores=scores, metrics=metrics, **fields)


def signature(key: str, fields: Mapping[str, Any]) -> str:
    return f"{key}|token|contained|micro|score>{fields.get('threshold', 0.5)}|v2"


def shown(bench: Bench) -> ShownSection:
    (found,) = [one for one in build_view(load([bench.path])).sections if one.name == "identification"]
    return found


def ranks(bench: Bench) -> dict[str, str]:
    table = shown(bench).tables[0]
    assert table.columns[0].name == "rank"
    return {
        " ".join((head.name, head.detail)).strip(): values[0].text
        if isinstance(values[0], Value)
        else values[0]
        for head, values in table.rows
    }


# ---------------------------------------------------------------- ranks and the verdict


def test_a_test_of_f1_leaves_out_one_user_at_a_time(bench: Bench) -> None:
    """Against a jackknife in plain loops: p of the difference of two F1."""
    from scipy.special import stdtr

    from perbench.site.sections.identification.pairs import ranks_of
    from perbench.stats.paired import Aligned

    def f1(rows: Counts) -> float:
        right, false, missed = map(sum, zip(*rows, strict=True))
        return 2 * right / (2 * right + false + missed)

    whole = f1(GOOD) - f1(BAD)
    left = [
        f1([row for place, row in enumerate(GOOD) if place != user])
        - f1([row for place, row in enumerate(BAD) if place != user])
        for user in range(5)
    ]
    variance = 4 / 5 * sum((one - whole) ** 2 for one in left)
    expected = 2 * stdtr(4, -whole / variance**0.5)
    assert whole == pytest.approx(44 / 50 - 10 / 50)
    told(bench, "percontrast", GOOD)
    told(bench, "tfidf", BAD)
    entries = load([bench.path]).entries
    found = ranks_of(entries, "")
    assert (found.examples, found.tested, found.separated) == (5, 1, 1)
    from perbench.site.sections.identification import pairs

    methods = [pairs._method(entry, "") for entry in entries]
    ((*_, p),) = Aligned([method for method in methods if method is not None]).pairs()
    assert p == pytest.approx(expected)


def test_the_best_is_named_if_it_beats_all(bench: Bench) -> None:
    told(bench, "percontrast", GOOD)
    told(bench, "tfidf", BAD)
    assert ranks(bench) == {"percontrast": "1", "tfidf": "2"}
    assert shown(bench).verdict == ("percontrast has the highest F1 of 2 identifiers on 5 examples.",)


def test_those_that_no_test_tells_apart_share_the_first_ranks(bench: Bench) -> None:
    told(bench, "percontrast", GOOD)
    told(bench, "attention", GOOD[::-1])
    told(bench, "tfidf", BAD)
    assert ranks(bench) == {"attention": "1–2", "percontrast": "1–2", "tfidf": "3"}
    (said,) = shown(bench).verdict
    assert said == "attention or percontrast may have the highest F1 of 3 identifiers on 5 examples."


def test_nothing_is_claimed_where_nothing_is_told_apart(bench: Bench) -> None:
    told(bench, "percontrast", GOOD)
    told(bench, "attention", GOOD[::-1])
    assert set(ranks(bench).values()) == {"1–2"}
    assert shown(bench).verdict == ("No identifier can be told from another by F1 on 5 examples.",)


def test_ranks_at_the_threshold_from_dev_are_apart(bench: Bench) -> None:
    told(bench, "percontrast", GOOD, ("", "_tuned"))
    told(bench, "tfidf", BAD, ("", "_tuned"))
    assert list(ranks(bench).values()) == ["1", "1", "2", "2"]
    own, dev = shown(bench).verdict
    assert "threshold from dev" in dev
    assert "threshold" not in own


def test_records_without_counts_have_no_ranks(bench: Bench) -> None:
    bench.identify("percontrast", 0.5)
    bench.identify("tfidf", 0.2)
    assert shown(bench).tables[0].columns[0].name == "precision"
    assert shown(bench).verdict == ()


def test_identifiers_of_other_thresholds_share_a_table(bench: Bench) -> None:
    told(bench, "percontrast", GOOD, threshold=1)
    told(bench, "tfidf", BAD, threshold=0.5)
    assert [(table.apart, len(table.rows)) for table in shown(bench).tables][:1] == [("", 2)]


# ---------------------------------------------------------------- charts


def of(bench: Bench, caption: str) -> Chart:
    (found,) = [
        block
        for block in shown(bench).blocks
        if isinstance(block, Chart) and block.caption.startswith(caption)
    ]
    return found


def test_recall_by_kind_and_false_predictions(bench: Bench) -> None:
    more = {"recall_style": 0.25, "recall_lexical": 0.75, "false_none": 0.1}
    told(bench, "percontrast", GOOD, more=more)
    chart = of(bench, "Recall by kind")
    assert (chart.categories, chart.tabled) == (("lexical", "style", "no gold"), True)
    (panel,) = chart.panels
    recall, false = panel.series
    assert (recall.role, [(point.x, point.y) for point in recall.points]) == (
        "method",
        [(0, 0.75), (1, 0.25)],
    )
    assert (false.role, [(point.x, point.y) for point in false.points]) == ("other", [(2, 0.1)])
    assert recall.points[0].ci == pytest.approx((0.7, 0.8))


def test_speed_against_f1(bench: Bench) -> None:
    told(bench, "percontrast", GOOD, tokens={"timed_examples": 30, "timed_ms": 1500})
    told(bench, "tfidf", BAD, tokens={"timed_examples": 30, "timed_ms": 15})
    told(bench, "random", BAD)
    chart = of(bench, "Speed")
    assert (chart.x.log, chart.tabled) == (True, True)
    (panel,) = chart.panels
    assert [(one.label, one.points[0].x, one.points[0].y) for one in panel.series] == [
        ("percontrast", 20.0, pytest.approx(0.88)),
        ("tfidf", 2000.0, pytest.approx(0.2)),
    ]


def marked(scores: Sequence[float], split: str = "test") -> dict[str, Any]:
    """The answer "a b c d" whose first and last word are gold, with a score for each word."""
    return {
        "id": f"s{split}",
        "split": split,
        "user": "ada",
        "response": "a b c d",
        "gold": [[0, 1], [6, 7]],
        "kinds": [None, None],
        "sentences": [None, None],
        "distractors": [],
        "spans": [[0, 1], [2, 3], [4, 5], [6, 7]],
        "scores": list(scores),
        "threshold": 0.5,
    }


def test_precision_and_recall_are_drawn_from_stored_samples(bench: Bench) -> None:
    """Scores 4 3 2 1, right at 4 and 1: recall 1/2, 1/2, 1/2, 1, precision 1, 1/2, 1/3, 1/2."""
    told(bench, "percontrast", GOOD, more={"average_precision": 0.75})
    told(bench, "tfidf", BAD)
    stored = {
        "percontrast": [marked([4, 3, 2, 1]), marked([0, 9, 9, 0], "dev")],
        "tfidf": [marked([1, 1, 1, 1]), {"id": "gone", "split": "test", "user": "bo", "missing": "too_long"}],
    }
    entries = tuple(
        Entry(one.record, one.scores, one.run, True, lambda name=one.record.labels.identifier: stored[name])
        for one in load([bench.path]).entries
    )
    loaded = Loaded(entries, (), {}, None, (), ())
    chart, *_ = get("section", "identification").load_class()().build(loaded, build_view(loaded).matrix)
    assert isinstance(chart, Chart)
    assert (chart.iso_f1, chart.tabled) == (True, False)
    first, second = chart.panels
    assert (first.title, first.aside) == ("percontrast", "average precision 0.75 (0.70 to 0.80)")
    grey, own, dot = first.series
    half = 1 / 2
    assert [(point.x, point.y) for point in own.points] == [
        *((half, 1.0), (half, half)),
        *((half, pytest.approx(1 / 3)), (1.0, half)),
    ]
    assert (grey.name, grey.role, [(point.x, point.y) for point in grey.points]) == (
        "tfidf",
        "other",
        [(1.0, half)],
    )
    assert (dot.drawn, dot.points[0].x, dot.points[0].y) == (
        "dots",
        pytest.approx(22 / 25),
        pytest.approx(22 / 25),
    )
    assert [one.name for one in second.series[:2]] == ["percontrast", "tfidf"]


def test_without_samples_there_is_no_curve(bench: Bench) -> None:
    told(bench, "percontrast", GOOD)
    assert all(isinstance(block, Table) for block in shown(bench).blocks)


def test_a_long_curve_is_thinned_to_both_its_ends() -> None:
    from perbench.site.sections.identification.charts import MOST_POINTS, _curve
    from perbench.store import CellRecord

    record = CellRecord.model_construct(status="done")
    samples = [marked([4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3]) for n in range(100)]
    points = _curve(Entry(record, None, "run", True, lambda: samples))
    assert len(points) == MOST_POINTS
    assert (points[0].x, points[0].y) == (1 / 200, 1.0)
    assert (points[-1].x, points[-1].y) == (1.0, 0.5)
