"""Pairs a model's scores on a task under the user's own persona, none and others', sample by sample."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perbench.contracts.protocol import Beside, Protocol
from perbench.contracts.results import Entry, Loaded, Matrix, ModelRow, TargetColumn
from perbench.published.follows import protocol_of, statistic_of
from perbench.stats.paired import Aligned, Effect, Estimate, Method, Sampled, holm_adjusted
from perbench.stats.spread import FEWEST_USERS, LEVEL, Floats, Spread, Statistic, user_df
from perbench.store import CellRecord

OWN, NONE, OTHER = "own", "none", "other"
MOST = 60
"""Rows, above which only untrained models are compared."""
WHOSE = re.compile(r"(?:, )?persona\.whose=(?:own|none|other)(?:, )?")
"""In the label of a target."""


@dataclass(frozen=True)
class PersonaShare:
    """The share of a score that the persona is responsible for; `ci` over users."""

    value: float
    ci: tuple[float, float] | None
    users: int


@dataclass(frozen=True)
class PersonaComparison:
    """A model on a task. `values` are by whose persona the prompts held; `over` are the differences of the
    own persona from "none" and "other". `floor` is the score of answers at random, None if there is none.

    `part` is (own - none) / (own - floor), or for a metric whose lower values are better (none - own) / none;
    None without an interval, and if `own` is not significantly above the floor.
    """

    task: str
    row: ModelRow
    column: TargetColumn
    records: Mapping[str, tuple[CellRecord, ...]]
    values: Mapping[str, Estimate]
    over: Mapping[str, Estimate]
    floor: Estimate | None
    above: Estimate | None
    """The own persona over the floor."""
    part: PersonaShare | None
    beside: Beside


def compared(loaded: Loaded, matrix: Matrix) -> list[PersonaComparison]:
    """Every model on every task of which there are scores with the own persona and without, or with
    another's; of very many, the models that were not trained. The p of all differences are corrected
    together."""
    held = {entry.record.identity: entry for entry in loaded.results}
    asked = [one for places in _places(matrix) for one in _of_task(places, matrix, held)]
    if len(asked) > MOST:
        asked = [one for one in asked if one.row.trainer is None]
    found = [one for one in map(_compared, asked) if one is not None]
    adjusted = iter(holm_adjusted([gain for one in found for gain in one.over.values()]))
    return [replace(one, over={whose: next(adjusted) for whose in one.over}) for one in found]


# ---------------------------------------------------------------- which cells belong together


def _places(matrix: Matrix) -> list[dict[str, int]]:
    """For each task on the same data, the columns of the matrix by whose persona the prompts held; those with
    a column of the own persona."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for place, column in enumerate(matrix.columns):
        records = [record for _, outcomes in matrix.rows for record in outcomes[place].records]
        target = records[0].inputs.get("target") if records else None
        if not isinstance(target, Mapping):
            continue
        persona = target.get("persona")
        rest = dict(persona) if isinstance(persona, Mapping) else {}
        whose = rest.pop("whose", OWN)
        asked = {**target, "persona": rest, "data": records[0].inputs.get("data"), "by": column.headline}
        if whose in (OWN, NONE, OTHER):
            found[json.dumps(asked, sort_keys=True)].setdefault(whose, place)
    return [places for places in found.values() if OWN in places]


@dataclass(frozen=True)
class _Pairing:
    """A model's done cells on a task, by whose persona; `metric` is the headline."""

    row: ModelRow
    column: TargetColumn
    metric: str
    cells: Mapping[str, Sequence[Entry]]
    protocol: type[Protocol[Any]] | None

    @property
    def beside(self) -> Beside:
        return _beside(self.protocol, self.metric, [entry.record for entry in self.cells[OWN]])


def _beside(protocol: type[Protocol[Any]] | None, metric: str, records: Sequence[CellRecord]) -> Beside:
    found = next((record.metrics[metric].signature for record in records if metric in record.metrics), "")
    return protocol.beside_of(metric, found) if protocol is not None else Beside()


def _of_task(places: Mapping[str, int], matrix: Matrix, held: Mapping[str, Entry]) -> Iterator[_Pairing]:
    column = matrix.columns[places[OWN]]
    records = [record for _, outcomes in matrix.rows for record in outcomes[places[OWN]].records]
    protocol, metric = protocol_of(records[0]), column.headline
    if metric is None or (len(places) < 2 and _beside(protocol, metric, records) == Beside()):
        return
    for row, outcomes in matrix.rows:
        cells = {
            whose: [
                held[record.identity]
                for record in outcomes[place].records
                if record.status == "done" and record.identity in held
            ]
            for whose, place in places.items()
        }
        if cells[OWN]:
            yield _Pairing(row, column, metric, cells, protocol)


def named(column: TargetColumn) -> str:
    """The task's label without whose persona it is about."""
    name = WHOSE.sub("", column.target).replace(" ()", "")
    return " · ".join(filter(None, (name, column.apart)))


# ---------------------------------------------------------------- scores


def _compared(asked: _Pairing) -> PersonaComparison | None:
    row, column, metric, cells, beside = asked.row, asked.column, asked.metric, asked.cells, asked.beside
    record = cells[OWN][0].record
    given = None
    if metric in record.metrics and metric in _sums(cells[OWN]):
        given = statistic_of(asked.protocol, metric, record.metrics[metric])
    statistic = given[0] if given is not None else None
    lower = column.better == "lower"
    sides = (OWN, OTHER) if beside.incomparable else (OWN, NONE, OTHER)
    methods = {whose: _method(cells.get(whose, ()), metric, statistic) for whose in sides}
    if methods.get(NONE) is None and beside.none:
        methods[NONE] = _method(cells[OWN], beside.none, statistic)
    for whose, gain in ((NONE, beside.over_none), (OTHER, beside.over_other)):
        if methods.get(whose) is None and gain:
            methods[whose] = _method(cells[OWN], metric, statistic, less=gain, sign=1 if lower else -1)
    floor = _floor(cells[OWN], metric, beside.floor)
    there = {whose: method for whose, method in methods.items() if method is not None}
    if OWN not in there or (len(there) < 2 and not beside.incomparable):
        return None
    names = list(there)
    try:
        table = Aligned([*there.values(), *([floor] if floor is not None else [])])
    except ValueError:  # a stranger's records of one task, which hold a sample under two users
        return None
    place = {whose: names.index(whose) for whose in names}
    above = table.gain(place[OWN], len(names)) if floor is not None else None
    return PersonaComparison(
        named(column),
        row,
        column,
        {whose: tuple(entry.record for entry in cells.get(whose, ())) for whose in names},
        {whose: table.value(place[whose]) for whose in names},
        {whose: table.gain(place[OWN], place[whose]) for whose in names if whose != OWN},
        table.value(len(names)) if floor is not None else None,
        above,
        _part(table, place, None if floor is None else len(names), above, lower),
        beside,
    )


def _floor(entries: Sequence[Entry], metric: str, floor: str | float) -> Method | None:
    if isinstance(floor, str):
        return _method(entries, floor, None) if floor else None
    found = _method(entries, metric, None)
    if found is None:
        return None
    seeds = [replace(seed, rows=np.full_like(seed.rows, floor)) for seed in found.seeds]
    return replace(found, seeds=seeds, share=False)


def _sums(entries: Sequence[Entry]) -> Mapping[str, Any]:
    return entries[0].scores.sums if entries[0].scores is not None else {}


def _method(
    entries: Sequence[Entry], metric: str, statistic: Statistic | None, *, less: str = "", sign: int = 1
) -> Method | None:
    """The scores of cells that differ in their seeds. With `less`, `sign` times another metric is added,
    which has the same denominators where scores are sums. Seeds are averaged: it is these models that are
    compared, on samples of users."""
    seeds = []
    for entry in entries:
        rows = _rows(entry, metric, summed=statistic is not None)
        if rows is not None and less:
            gains = _rows(entry, less, summed=statistic is not None)
            rows = None if gains is None else _added(rows, gains, sign)
        if rows is None or entry.scores is None:
            return None
        seeds.append(Sampled(entry.scores.ids, entry.scores.clusters, rows))
    if not seeds or any(np.isnan(seed.rows[:, 0]).all() for seed in seeds):
        return None
    share = statistic is None and all(
        bool(np.isin(seed.rows[~np.isnan(seed.rows)], (0.0, 1.0)).all()) for seed in seeds
    )
    return Method(seeds, trained=False, statistic=statistic, share=share)


def _added(rows: Floats, gains: Floats, sign: int) -> Floats:
    found = rows.copy()
    found[:, 0] += sign * gains[:, 0]
    return found


def _rows(entry: Entry, metric: str, *, summed: bool) -> Floats | None:
    """[N, K] the scores, or sums, of the samples; nan where one has none."""
    if entry.scores is None:
        return None
    if not summed:
        values = entry.scores.scores.get(metric)
        return None if values is None else np.array(values, dtype=np.float64)[:, None]
    sums = entry.scores.sums.get(metric)
    widths = {len(row) for row in sums or () if row is not None}
    if not sums or len(widths) != 1:
        return None
    (width,) = widths
    return np.array([[np.nan] * width if row is None else row for row in sums], dtype=np.float64)


def _part(
    table: Aligned, place: Mapping[str, int], floor: int | None, above: Estimate | None, lower: bool
) -> PersonaShare | None:
    if NONE not in place:
        return None
    if lower:
        top, bottom = table.effect(place[NONE], place[OWN]), table.effect(place[NONE])
    else:
        if above is not None and (above.ci is None or above.ci[0] <= 0):
            return None
        top = table.effect(place[OWN], place[NONE])
        bottom = table.effect(place[OWN]) if floor is None else table.effect(place[OWN], floor)
    return _ratio(top, bottom)


def _ratio(top: Effect, bottom: Effect) -> PersonaShare | None:
    """A ratio with Fieller's interval: all r for which top - r x bottom does not differ from 0. It holds
    0 if and only if the interval of the difference does."""
    there = (top.sizes > 0) & (bottom.sizes > 0)
    users = int(there.sum())
    if users < FEWEST_USERS or not bottom.value > 0:
        return None
    off = np.stack([top.left_out - top.value, bottom.left_out - bottom.value])[:, there]
    if not np.isfinite(off).all():
        return None
    (of_top, both), (_, of_bottom) = ((users - 1) / users * off @ off.T).tolist()
    t2 = Spread(of_bottom, user_df(top.sizes[there])).quantile((1 + LEVEL) / 2) ** 2
    square = bottom.value**2 - t2 * of_bottom
    half = top.value * bottom.value - t2 * both
    root = half**2 - square * (top.value**2 - t2 * of_top)
    value = top.value / bottom.value
    if square <= 0 or root <= 0:  # the bottom does not differ from 0, or nothing varies
        return PersonaShare(value, None, users) if square > 0 else None
    return PersonaShare(value, ((half - root**0.5) / square, (half + root**0.5) / square), users)
