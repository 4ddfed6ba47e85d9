"""Charts of identifiers: precision over recall, recall by kind of span, and speed against F1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perbench.contracts import missing
from perbench.contracts.chart import Axis, Chart, Panel, Point, Series
from perbench.contracts.results import Entry
from perbench.site.format import between, number
from perbench.stats.curve import Curve
from perbench.store import CellRecord, DamagedRecord
from perbench.store.record import Metric
from perbench.text.marks import read

MOST_POINTS = 40
"""Of a drawn curve."""
MOST_BEHIND = 9
"""Identifiers that are drawn in grey behind each other."""
FALSE = {"false_distractor": "distractors", "false_none": "no gold"}
Named = Sequence[tuple[str, Entry]]
"""Identifiers of one model on one data set, by their names for readers."""
Place = tuple[str, str]
"""`target` and `apart` of a chart."""


def precision_and_recall(named: Named, place: Place) -> Iterator[Chart]:
    """From stored samples; identifiers whose samples are not here have no curve."""
    curves = {name: points for name, entry in named if (points := _curve(entry))}
    behind = curves if len(curves) <= MOST_BEHIND else {}
    panels = []
    for name, entry in named:
        if name not in curves:
            continue
        grey = [Series(other, points) for other, points in behind.items() if other != name]
        own = [Series(name, curves[name], "method"), *_operating(name, entry.record)]
        panels.append(Panel(name, (*grey, *own), _average(entry.record.metrics.get("average_precision"))))
    if panels:
        yield Chart(
            caption="Precision and recall of tokens",
            x=_share("recall"),
            y=_share("precision"),
            panels=tuple(panels),
            explanation=(
                f"At most {MOST_POINTS} thresholds, from high to low; the dot is the identifier's own. "
                + "Grey: the other identifiers. " * (len(behind) > 1)
                + "Tokens are each identifier's own; compare those with other tokens by words, below. "
                "Thin lines have equal F1."
            ),
            iso_f1=True,
            target=place[0],
            apart=place[1],
        )


def _share(label: str) -> Axis:
    return Axis(label, low=0.0, high=1.0, ticks=(0.0, 0.5, 1.0), digits=2)


def _curve(entry: Entry) -> tuple[Point, ...]:
    if entry.samples is None or entry.record.status != "done":
        return ()
    try:
        with entry.reading():
            stored = [sample for sample in entry.samples() if sample["split"] == "test"]
            tokens = [token for sample in missing.answered(stored) for token in read(sample).tokens]
            gold = sum(bool(token.touched) for token in tokens)
            found = Curve(
                [token.score for token in tokens],
                [token.inside for token in tokens],
                [0] * len(tokens),
                [gold],
            ).points()
    except DamagedRecord:  # it is listed among what was left out
        return ()
    chosen = sorted({round(n * (len(found) - 1) / (MOST_POINTS - 1)) for n in range(MOST_POINTS)})
    return tuple(Point(*found[place]) for place in chosen) if found else ()


def _operating(name: str, record: CellRecord) -> Iterator[Series]:
    recall, precision = (record.metrics.get(metric) for metric in ("recall", "precision"))
    if recall is None or precision is None or recall.value is None or precision.value is None:
        return
    yield Series(f"{name}, own threshold", (Point(recall.value, precision.value),), "method", "dots")


def _average(metric: Metric | None) -> str:
    if metric is None or metric.value is None:
        return ""
    ci = f" ({between(metric.ci, 2)})" if metric.ci else ""
    return f"average precision {number(metric.value, 2)}{ci}"


def by_kind(named: Named, kinds: Sequence[str], place: Place) -> Iterator[Chart]:
    """`kinds` are the metrics recall_KIND that records have."""
    false = [name for name in FALSE if any(name in entry.record.metrics for _, entry in named)]
    metrics = [*kinds, *false]
    panels = [
        Panel(
            name,
            (
                Series("recall", _points(entry.record, metrics, kinds), "method", "dots"),
                Series("predicted falsely", _points(entry.record, metrics, false), "other", "dots"),
            ),
        )
        for name, entry in named
        if any(metric in entry.record.metrics for metric in metrics)
    ]
    if panels and kinds:
        yield Chart(
            caption="Recall by kind of span, and what is predicted falsely",
            x=Axis("kind"),
            y=_share("share"),
            panels=tuple(panels),
            explanation=(
                "Blue: share of the tokens of such spans that are found, at the identifier's own threshold. "
                "Grey, below the line: share of words predicted falsely, of distractors and of answers "
                "without gold. Hollow: no interval."
            ),
            categories=tuple(FALSE.get(name, name.removeprefix("recall_")) for name in metrics),
            tabled=True,
            target=place[0],
            apart=place[1],
        )


def _points(record: CellRecord, metrics: Sequence[str], of: Sequence[str]) -> tuple[Point, ...]:
    found = ((metrics.index(name), record.metrics.get(name)) for name in of)
    return tuple(
        Point(at, metric.value, metric.ci)
        for at, metric in found
        if metric is not None and metric.value is not None
    )


def speed(named: Named, place: Place) -> Iterator[Chart]:
    """One dot per identifier that was timed."""
    series = []
    for name, entry in named:
        f1, rate = entry.record.metrics.get("f1"), rate_of(entry.record)
        if f1 is not None and f1.value is not None and rate:
            series.append(Series(name, (Point(rate, f1.value, f1.ci),), drawn="dots", label=name))
    if len(series) > 1:
        yield Chart(
            caption="Speed against F1",
            x=Axis("examples a second", log=True),
            y=Axis("F1 of tokens", low=0.0, digits=2),
            panels=(Panel("", tuple(series)),),
            explanation="Each at its own threshold, with 95% intervals. Speed is that of scoring alone.",
            tabled=True,
            target=place[0],
            apart=place[1],
        )


def rate_of(record: CellRecord) -> float | None:
    """Examples per second of scoring alone, without loading."""
    milliseconds = record.tokens.get("timed_ms", 0)
    return 1000 * record.tokens["timed_examples"] / milliseconds if milliseconds else None
