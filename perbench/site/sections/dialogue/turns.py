"""A metric of dialogues at each turn: values with intervals, and gains over the baseline's model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from perbench.contracts.results import Entry, Matrix, ModelRow, TargetColumn
from perbench.contracts.section import Value
from perbench.site.format import digits_for
from perbench.site.matrix import better_of, method_of
from perbench.site.naming import metric_title
from perbench.site.rows import Baselines
from perbench.site.values import at_turn, value_of
from perbench.stats.paired import Aligned, Estimate, holm_adjusted
from perbench.store import CellRecord
from perbench.store.record import Better


@dataclass(frozen=True)
class Turns:
    """`cells` are the records of each row, `bases` the baseline's row of each other one; `gains` are those of
    a row over it at each turn, corrected over all of them. `scores` are those of all samples; empty if a
    record comes without them."""

    metric: str
    title: str
    """The metric's, for readers."""
    column: TargetColumn
    cells: Mapping[ModelRow, Sequence[CellRecord]]
    bases: Mapping[ModelRow, ModelRow]
    turns: tuple[int, ...]
    means: Mapping[ModelRow, Value]
    values: Mapping[ModelRow, tuple[Value, ...]]
    gains: Mapping[ModelRow, Mapping[int, Estimate]]
    scores: Sequence[float]
    better: Better | None
    digits: int

    @property
    def name(self) -> str:
        """ "rating" of "rating, 1 to 5"."""
        return self.title.partition(",")[0]

    @property
    def records(self) -> list[CellRecord]:
        return [record for found in self.cells.values() for record in found]

    @property
    def constant(self) -> float | None:
        """The score of every sample, if they all have the same one."""
        return self.scores[0] if len(set(self.scores)) == 1 else None

    def sides(self, row: ModelRow) -> dict[int, int]:
        """At each turn with a test: 1 if the row is better than its baseline's after the correction, -1 if it
        is worse, else 0."""
        sign = {"higher": 1, "lower": -1, None: 0}[self.better]
        return {
            turn: (sign if (gain.value or 0.0) > 0 else -sign) if gain.remains else 0
            for turn, gain in self.gains.get(row, {}).items()
            if gain.adjusted is not None
        }


def turns_of(metric: str, place: int, matrix: Matrix, entries: Mapping[str, Entry]) -> Turns:
    """A metric with values by turn of the target in the matrix's column `place`; `entries` by identity."""
    cells = {row: outcomes[place].records for row, outcomes in matrix.rows}
    records = [record for found in cells.values() for record in found if metric in record.metrics]
    by_turn = [one for record in records for one in record.metrics[metric].by_turn]
    digits = digits_for(one.value for one in by_turn)
    bases = Baselines(cells, matrix.baseline)
    against = {row: base for row in cells if (base := bases.of(row)) is not None and base != row}
    scores, places = _aligned(metric, cells, entries)
    whole = _values(scores, places)
    means = {
        row: _with_interval(value_of(found, metric, digits), metric, found, whole.get(row))
        for row, found in cells.items()
    }
    values: dict[ModelRow, list[Value]] = {row: [] for row in cells}
    gains: list[tuple[ModelRow, int, Estimate]] = []
    turns = sorted({one.turn for one in by_turn})
    for turn in turns:
        scores, places = _aligned(metric, cells, entries, turn)
        whole = _values(scores, places)
        for row, found in values.items():
            value = at_turn(means[row], metric, turn)
            found.append(_with_interval(value, metric, means[row].records, whole.get(row)))
        rows = [row for row in values if row in places and against.get(row) in places]
        estimates = scores.estimates([(places[row], places[against[row]]) for row in rows])
        gains += [(row, turn, gain) for row, gain in zip(rows, estimates, strict=True)]
    corrected: dict[ModelRow, dict[int, Estimate]] = defaultdict(dict)
    for (row, turn, _), gain in zip(gains, holm_adjusted([one for _, _, one in gains]), strict=True):
        corrected[row][turn] = gain
    return Turns(
        metric,
        metric_title(matrix.columns[place].protocol, metric),
        matrix.columns[place],
        cells,
        against,
        tuple(turns),
        means,
        {row: tuple(found) for row, found in values.items()},
        corrected,
        _scores(metric, records, entries),
        better_of(records, metric),
        digits,
    )


def _aligned(
    metric: str,
    cells: Mapping[ModelRow, Sequence[CellRecord]],
    entries: Mapping[str, Entry],
    turn: int | None = None,
) -> tuple[Aligned, dict[ModelRow, int]]:
    """The scores at one turn, or at all, and each row's place among them. A sample's id ends in "#" and its
    turn."""

    last: tuple[Sequence[str], list[int]] = (), []

    def at(samples: Sequence[str]) -> list[int]:
        nonlocal last
        if samples != last[0]:  # most often all rows have the same samples
            last = samples, [place for place, name in enumerate(samples) if name.endswith(f"#{turn}")]
        return last[1]

    methods = {}
    for row, records in cells.items():
        done = [entries[record.identity] for record in records if record.status == "done"]
        method = method_of(done, metric, row.trainer is not None, None if turn is None else at)
        if method is not None and all(seed.ids for seed in method.seeds):
            methods[row] = method
    return Aligned(list(methods.values())), {row: place for place, row in enumerate(methods)}


def _values(scores: Aligned, places: Mapping[ModelRow, int]) -> dict[ModelRow, Estimate]:
    return dict(zip(places, scores.estimates([(place,) for place in places.values()]), strict=True))


def _with_interval(
    value: Value, metric: str, records: Sequence[CellRecord], estimate: Estimate | None
) -> Value:
    """The value with its interval over users, and over training seeds if there are several."""
    if estimate is None or value.value is None:
        return value
    bounds = next(record.metrics[metric] for record in records if metric in record.metrics)
    return replace(value, ci=bounds.clipped(estimate.ci))


def _scores(metric: str, records: Sequence[CellRecord], entries: Mapping[str, Entry]) -> list[float]:
    found: list[float] = []
    for record in records:
        scores = entries[record.identity].scores
        if scores is None or metric not in scores.scores:
            return []
        found += [score for score in scores.scores[metric] if score is not None]
    return found
