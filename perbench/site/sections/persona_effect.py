"""How the persona changes the probability of tokens: distributions over all tokens of a task, by model."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from perbench.contracts import missing
from perbench.contracts.chart import Axis, Chart, Panel, Point, Series
from perbench.contracts.results import Entry, Loaded, Matrix, ModelRow
from perbench.contracts.section import Block, Section
from perbench.site.rows import Baselines, head_of
from perbench.store import DamagedRecord

METRIC = "gain_over_none"
"""Of records whose samples hold log-probs with and without the persona."""
EDGES = tuple(place / 4 for place in range(-12, 13))
"""Nats; a bin more on either side holds what lies beyond."""
MOST = 24
"""Panels of a task, above which only untrained models are shown."""
EXPLAINED = (
    "Log-probability of each token of the users' own texts with the persona minus that without it, in nats: "
    "right of 0 the persona makes a token likelier. The outermost steps hold all that lies beyond "
    f"{EDGES[-1]:g}."
)


class PersonaEffect(Section):
    """NextQuill's Figure 3 shows such distributions of logits; these are of log-probs, which do not depend on
    what else a model shifts in all logits alike."""

    title = "What the persona does to each token"
    order = 28

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        entries = {entry.record.identity: entry for entry in loaded.results}
        return [chart for place in range(len(matrix.columns)) for chart in _charts(entries, matrix, place)]


def _charts(entries: Mapping[str, Entry], matrix: Matrix, place: int) -> Iterator[Chart]:
    found: dict[ModelRow, tuple[Point, ...]] = {}
    shares: dict[ModelRow, float] = {}
    for row, outcomes in matrix.rows:
        values = [
            value
            for record in outcomes[place].records
            if METRIC in record.metrics and record.identity in entries
            for value in differences(entries[record.identity])
        ]
        if values:
            found[row] = steps(values)
            shares[row] = sum(value > 0 for value in values) / len(values)
    if len(found) > MOST:
        found = {row: points for row, points in found.items() if row.trainer is None}
    if not found:
        return
    column = matrix.columns[place]
    bases = Baselines((row for row, _ in matrix.rows), matrix.baseline)
    several = len({row.model for row in found}) > 1
    panels = []
    for row, points in found.items():
        head, base = head_of(row), bases.of(row)
        behind = [found[base]] if base is not None and base in found and base != row else []
        words = " ".join(filter(None, (row.model if several else "", head.name, head.variation)))
        panels.append(
            Panel(
                f"{words}, trained on {row.source}" if row.source else words,
                (
                    *(Series(matrix.baseline or "", grey, "baseline", "steps") for grey in behind),
                    Series(head.name, points, "method", "steps"),
                ),
                f"{shares[row]:.0%} of tokens likelier",
            )
        )
    grey = f" Grey: {matrix.baseline}." if any(len(panel.series) > 1 for panel in panels) else ""
    yield Chart(
        caption="Effect of the persona on tokens",
        x=Axis(
            "difference, nats", low=EDGES[0] - 0.25, high=EDGES[-1] + 0.25, ticks=(-3.0, 0.0, 3.0), digits=0
        ),
        y=Axis("share of tokens", low=0.0, digits=2),
        panels=tuple(panels),
        explanation=EXPLAINED + grey,
        target=column.target,
        apart=column.apart,
    )


def differences(entry: Entry) -> list[float]:
    """Log-prob with the persona minus that without it, of every token of the stored samples whose prompt
    holds one; empty if the samples are not here."""
    if entry.samples is None or entry.record.status != "done":
        return []
    try:
        with entry.reading():
            return [
                own - none
                for sample in missing.answered(entry.samples())
                if sample["persona_kept"]
                for own, none in zip(sample["own"], sample["none"], strict=True)
            ]
    except DamagedRecord:  # it is listed among what was left out
        return []


def steps(values: Sequence[float]) -> tuple[Point, ...]:
    """Shares of the values by bin, as a line of steps: the bin of [EDGES[i], EDGES[i + 1]) begins at its
    lower edge."""
    counts = [0] * (len(EDGES) + 1)
    for value in values:
        counts[bisect_right(EDGES, value)] += 1
    width = EDGES[1] - EDGES[0]
    starts = (EDGES[0] - width, *EDGES)
    shares = [Point(start, count / len(values)) for start, count in zip(starts, counts, strict=True)]
    return (*shares, Point(EDGES[-1] + width, shares[-1].y))
