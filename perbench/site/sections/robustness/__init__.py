"""How scores depend on what a matrix varies as numbers: learning rates, clip bounds, any hyperparameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean, pvariance

from perbench.contracts.chart import Axis, Chart, Empty, Panel, Point, Role, Series
from perbench.contracts.results import Loaded, Matrix
from perbench.contracts.section import Block, ColumnHead, RowHead, Section, Table, Value
from perbench.progress import counted
from perbench.site.format import any_of, number, tick
from perbench.site.values import of_one_seed, outcome_value
from perbench.stats.paired import Estimate

from .grid import Heat, heats
from .papers import Paper, beside, papers
from .varied import Along, Varied

DECADE = 10
"""Positive values that span as much are drawn on a log axis."""
ELSEWHERE = "Reported numbers were measured elsewhere, under a set-up that differs."


class Robustness(Section):
    title = "Robustness"
    order = 25

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        if not any(row.trainer is not None for row, _ in matrix.rows):
            return []
        varied, known = Varied(matrix), papers()
        blocks: list[Block] = []
        for key, lines in varied.lines().items():
            found = varied.along(lines)
            blocks += [*_charts(key, found, matrix.baseline, known), *_tables(key, found, known)]
        blocks += heats(varied.grids(), matrix, known)
        return blocks or [
            Empty(
                "No number was varied. A matrix with several values of learning_rate, or of a trainer's "
                "hyperparameter, fills this page.",
                "perbench run --matrix perce_lr_robustness",
            )
        ]

    def verdict(self, loaded: Loaded, matrix: Matrix) -> Sequence[str]:
        varied, said = Varied(matrix), []
        gains: list[Estimate] = []
        for key, lines in varied.lines().items():
            methods: dict[str, list[Along]] = defaultdict(list)
            for one in varied.along(lines):
                methods[one.line.whose.name].append(one)
                gains += [gain for _, _, gain in one.pairs]
            said += [_sentence(key, name, found) for name, found in methods.items()]
        trainers: dict[tuple[str, tuple[str, str], str], list[Heat]] = defaultdict(list)
        for heat in heats(varied.grids(), matrix, ()):
            trainers[heat.trainer, heat.keys, heat.reference].append(heat)
            gains += [value.gain for column in heat.numbers for value in column if value.gain is not None]
        said += [_of_grids(*whose, found) for whose, found in trainers.items()]
        return [*(line for _, line in sorted(said, key=lambda one: one[0])), *of_one_seed(gains)]


# ---------------------------------------------------------------- one number


def _charts(
    key: str, found: Sequence[Along], baseline: str | None, known: Sequence[Paper]
) -> Iterator[Chart]:
    """For each model: on the task trained on, and on others."""
    models = list(dict.fromkeys(one.line.whose.model for one in found))
    for model in models:
        for own, where in ((True, "on the task trained on"), (False, "on other tasks")):
            part = [one for one in found if one.line.whose.model == model and one.own == own]
            methods = [one for one in part if one.line.whose.trainer != baseline] or part
            if not part:
                continue
            names = {one.line.whose.name for one in methods}
            panels = tuple(_panel(one, _grey(one, part, baseline), known, len(names) > 1) for one in methods)
            values = sorted({at for one in part for at, _ in one.outcomes})
            metrics = list(dict.fromkeys(one.column.metric or one.column.headline or "" for one in part))
            yield Chart(
                caption=f"Score over {key}, {where}",
                x=Axis(key, log=_log(values), ticks=tuple(values)),
                y=Axis(", ".join(metrics), digits=max(one.column.digits for one in part)),
                panels=panels,
                explanation=(
                    "Blue: the method. Grey: the baseline. Bands are 95% intervals. “Told apart”: a test, "
                    "corrected over all pairs of values here, separates two of them. Scales differ by panel."
                ),
                own_scale=True,
                tabled=True,
                apart=model if len(models) > 1 else "",
            )


def _log(values: Sequence[float]) -> bool:
    return values[0] > 0 and values[-1] >= DECADE * values[0]


def _grey(one: Along, part: Sequence[Along], baseline: str | None) -> Along | None:
    """The baseline's line beside a method's: same model, data and settings of training."""
    whose = one.line.whose
    if whose.trainer == baseline:
        return None
    same = (whose.model, whose.source, whose.training, one.column)
    for other in part:
        base = other.line.whose
        if base.trainer == baseline and (base.model, base.source, base.training, other.column) == same:
            return other
    return None


def _panel(one: Along, grey: Along | None, known: Sequence[Paper], several: bool) -> Panel:
    shown: list[tuple[Along, Role]] = [(one, "method")]
    if grey is not None:
        shown.insert(0, (grey, "baseline"))
    series = [line for along, role in shown for line in _series(along, role, known)]
    aside = ", ".join(_range(along) for along, _ in reversed(shown))
    significant, name = one.apart is not None, one.line.whose.name
    if several:
        return Panel(name, tuple(series), aside, significant, column=_where(one))
    return Panel(_where(one), tuple(series), aside, significant)


def _series(one: Along, role: Role, known: Sequence[Paper]) -> Iterator[Series]:
    whose, key = one.line.whose, one.line.key
    points = tuple(
        Point(at, mean.value, mean.ci) if mean is not None and mean.value is not None else Point(at, None)
        for at, outcome in one.outcomes
        for mean in [outcome.mean]
    )
    yield Series(whose.name, points, role, label=whose.name)
    by_label: dict[str, list[Point]] = defaultdict(list)
    for (at,), paper in sorted(beside(known, whose, one.column, (key,)).items()):
        by_label[paper.label].append(Point(at, paper.value))
    for label, reported in by_label.items():
        yield Series(whose.name, tuple(reported), role, "dots", reported=label)


def _range(one: Along) -> str:
    spread = max(one.scored.values()) - min(one.scored.values())
    tested = " (told apart)" if one.apart else "" if one.tested else " (not tested)"
    return f"{one.line.whose.name} varies by {number(spread, one.column.digits)}{tested}"


def _where(one: Along) -> str:
    return one.column.title if one.own else f"{one.line.whose.source} → {one.column.title}"


def _tables(key: str, found: Sequence[Along], known: Sequence[Paper]) -> Iterator[Table]:
    """A table per target: a row per line, a column per value."""
    for column in dict.fromkeys(one.column for one in found):
        part = [one for one in found if one.column == column]
        values = sorted({at for one in part for at, _ in one.outcomes})
        rows: list[tuple[RowHead, tuple[Value | str, ...]]] = []
        reported = False
        for one in part:
            whose = one.line.whose
            head = RowHead(
                whose.trainer, whose.words, trained_on=whose.source, model=whose.model, group=(whose.source,)
            )
            measured = {
                at: replace(outcome_value(outcome, column), rank=None) for at, outcome in one.outcomes
            }
            shown = (measured.get(at, "—") for at in values)
            rows.append((head, (*shown, *_spread(one, values))))
            printed = beside(known, whose, column, (key,))
            for label in dict.fromkeys(paper.label for paper in printed.values()):
                reported = True
                texts = {at: paper for (at,), paper in printed.items() if paper.label == label}
                said = (
                    Value(texts[at].value, text=texts[at].printed, better=column.better)
                    if at in texts
                    else "—"
                    for at in values
                )
                rows.append((replace(head, reported=label), (*said, "—", "—")))
        yield Table(
            caption=f"{column.metric or column.headline} by {key}",
            first="trained",
            columns=(
                *(ColumnHead(f"{key} {tick(at)}") for at in values),
                ColumnHead("mean", metric="over the values"),
                ColumnHead("variance", metric="of the values, × 10⁻⁴"),
            ),
            rows=tuple(rows),
            target=column.target,
            apart=column.apart,
            explanation=ELSEWHERE if reported else "",
            notes=column.notes,
            compact=True,
        )


def _spread(one: Along, values: Sequence[float]) -> tuple[Value | str, Value | str]:
    """The mean and the population's variance over the values, if all have a score (PerCE, Table 2)."""
    scored = [one.scored[at] for at in values if at in one.scored]
    if len(scored) < len(values):
        return "—", "—"
    digits = one.column.digits + 1
    better, variance = one.column.better, 1e4 * pvariance(scored)
    text = f"{variance:.4g}"
    return Value(fmean(scored), digits=digits, better=better), Value(variance, text=text, better="lower")


# ---------------------------------------------------------------- the verdict


def _sentence(key: str, name: str, found: Sequence[Along]) -> tuple[int, str]:
    """What the tests say of a method's curves, after its place among the sentences."""
    tested = [one for one in found if one.tested]
    curves = counted(len(tested), "curve")
    if not tested:
        return 2, f"No two values of {key} can be tested for {name}: too few users or no spread."
    apart = [(one, *one.apart) for one in tested if one.apart is not None]
    if not apart:
        return 1, f"No two values of {key} can be told apart for {name}, in {any_of(len(tested), 'curve')}."
    one, low, high = max(apart, key=lambda case: abs(case[0].scored[case[1]] - case[0].scored[case[2]]))
    ends = ", ".join(f"{number(one.scored[at], one.column.digits)} at {tick(at)}" for at in (low, high))
    return 0, f"The score of {name} depends on {key} in {len(apart)} of {curves} ({_where(one)}: {ends})."


def _of_grids(name: str, keys: tuple[str, str], reference: str, found: Sequence[Heat]) -> tuple[int, str]:
    """As `_sentence`, of a trainer's tables."""
    values = [value for heat in found for column in heat.numbers for value in column]
    tested = [value for value in values if value.gain is not None and value.gain.adjusted is not None]
    numbers = f"settings of {' and '.join(keys)}"
    if not tested:
        why = "too few users or no spread" if reference else "its defaults were not run"
        return 2, f"No {numbers} can be tested for {name}: {why}."
    better, worse = (
        sum(value.verdict == side for value in tested if value.gain is not None and value.gain.remains)
        for side in ("up", "down")
    )
    if not better and not worse:
        return 1, f"None of {len(tested)} {numbers} can be told from the defaults of {name} ({reference})."
    return 0, (
        f"Of {len(tested)} {numbers}, {name} is better than at its defaults ({reference}) in "
        f"{better or 'none'} and worse in {worse or 'none'}."
    )
