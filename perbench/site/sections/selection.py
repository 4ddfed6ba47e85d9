"""Every method on the task it was trained on, with averages and gains, and how its settings were chosen."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from perbench.contracts.results import CHOSEN_ON_TEST, Flag, Loaded, Matrix, ModelRow, Outcome, TargetColumn
from perbench.contracts.section import Block, ColumnHead, RowHead, Section, Table, Value
from perbench.progress import counted
from perbench.site.format import number, tick
from perbench.site.rows import ON_TEST, Baselines, head_of
from perbench.site.values import outcome_value
from perbench.specs.rows import task_of
from perbench.store.selection import Candidate, Choice

DIGITS = 4
"""Decimals, as papers print such tables."""
AS_IT_IS = "the task as it is"
"""In place of a variant's name."""
CHOSEN = {"val": "chosen on validation", "test": ON_TEST}
Row = tuple[RowHead, tuple[Value | str, ...]]


class Selection(Section):
    title = "On the task trained on"
    order = 15

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Block]:
        if not loaded.choices and loaded.baseline_target is None and not matrix.sparse:
            return []
        return [*_results(matrix, loaded), *_candidates(loaded.choices)]

    def verdict(self, loaded: Loaded, matrix: Matrix) -> Sequence[str]:
        said = []
        for on in ("test", "val"):
            found = [one for one in loaded.choices if one.on == on]
            if not found:
                continue
            axes = ", ".join(dict.fromkeys(axis for one in found for axis in one.axes))
            what = f"{axes} was chosen for each model, method and source by"
            if on == "test":
                said.append(f"{what} the TEST scores: those of the chosen models are biased upward.")
            else:
                said.append(f"{what} scores on the validation split.")
        return said


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class _Line:
    """A method on one variant of the tasks that it is trained on. `trained`: the variant that it is trained
    on, if there are several. `cells` and `rows` are by task."""

    row: ModelRow
    trained: str
    variant: str
    cells: dict[str, tuple[Outcome, TargetColumn]]
    rows: dict[str, ModelRow]


def _results(matrix: Matrix, loaded: Loaded) -> Iterator[Table]:
    """A table for each model and metric: a row per method, a column per task, their average."""
    kinds: dict[tuple[Any, ...], list[_Line]] = defaultdict(list)
    for line in _lines(matrix):
        column = next(iter(line.cells.values()))[1]
        kinds[line.row.model, line.row.start, column.headline, column.profile].append(line)
    several = len({model for model, *_ in kinds}) > 1
    for (model, _, headline, _), lines in kinds.items():
        tasks = sorted({task for line in lines for task in line.cells})
        metric = next(iter(lines[0].cells.values()))[1].metric or headline
        heads = [ColumnHead(task, metric=metric) for task in tasks]
        if len(tasks) > 1:
            heads.append(ColumnHead("average", metric=metric))
        rows = [_scores(line, tasks) for line in lines]
        rows += _gains(lines, tasks, matrix.baseline, loaded.baseline_target)
        yield Table(
            caption="Each model on the task it was trained on",
            first="method",
            columns=tuple(heads),
            rows=tuple(rows),
            apart=model if several else "",
            explanation=(
                "Averages are over tasks, each with the same weight. A relative gain compares two numbers of "
                "this table, in percent of the baseline's."
            ),
        )


def _lines(matrix: Matrix) -> Iterator[_Line]:
    """Trainings on several variants of one task have lines of their own."""
    held: list[tuple[tuple[Any, ...], ModelRow, TargetColumn, Outcome]] = []
    sources: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for row, outcomes in matrix.rows:
        for column, outcome in zip(matrix.columns, outcomes, strict=True):
            if not outcome.own or row.source is None or outcome.status == "no record":
                continue
            method = (row.model, row.start, row.trainer, row.params, row.method, row.training, row.apart)
            sources[method, task_of(row.source)].add(row.source)
            held.append((method, row, column, outcome))
    varied = {method for (method, _), names in sources.items() if len(names) > 1}
    found: dict[tuple[Any, ...], _Line] = {}
    for method, row, column, outcome in held:
        assert row.source is not None
        trained = (_tag(row.source) or AS_IT_IS) if method in varied else ""
        task, variant = task_of(column.target), _variant(row.source, column.target)
        key = (method, column.headline, column.profile, trained, variant)
        line = found.setdefault(key, _Line(row, trained, variant, {}, {}))
        line.cells.setdefault(task, (outcome, column))
        line.rows.setdefault(task, row)
    yield from found.values()


def _tag(label: str) -> str:
    return label.partition(" (")[2].removesuffix(")")


def _variant(source: str, target: str) -> str:
    """What a target changes of the source: "without history"; "" if nothing."""
    tag, own = _tag(target), _tag(source)
    if tag == own:
        return ""
    return tag.removeprefix(f"{own}, ") or f"evaluated on {AS_IT_IS}"


def _scores(line: _Line, tasks: Sequence[str]) -> Row:
    values: list[Value | str] = []
    for task in tasks:
        if task not in line.cells:
            values.append("—")
            continue
        found = outcome_value(*line.cells[task])
        flags = _chosen(line, task, found)
        values.append(replace(found, digits=DIGITS, rank=None, gain=None, versus="", flags=flags))
    if len(tasks) > 1:
        mean = _average(line, tasks)
        better = next(iter(line.cells.values()))[1].better
        values.append("—" if mean is None else Value(mean, digits=DIGITS, better=better))
    return _head(line), tuple(values)


def _chosen(line: _Line, task: str, found: Value) -> tuple[Flag, ...]:
    """What was chosen for a value, before its other caveats."""
    row = line.rows[task]
    if not row.chosen:
        return found.flags
    values = json.loads(row.chosen)
    axes, words = ", ".join(values), ", ".join(f"{axis} {_short(value)}" for axis, value in values.items())
    how = CHOSEN.get(row.chosen_on, "")
    text = " ".join(filter(None, (words, how)))
    flag = Flag(text, words, f"{axes}: as chosen for the model", grave=row.chosen_on == "test")
    return (flag, *found.flags)


def _average(line: _Line, tasks: Sequence[str]) -> float | None:
    values = [_score(line, task) for task in tasks]
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(tasks) else None


def _score(line: _Line, task: str) -> float | None:
    outcome = line.cells[task][0] if task in line.cells else None
    return outcome.mean.value if outcome is not None and outcome.mean is not None else None


def _head(line: _Line, gain_over: str = "") -> RowHead:
    """Without the words of a single source's choice, which stand at its value."""
    alike = {row.variation for row in line.rows.values()}
    words = alike.pop() if len(alike) == 1 else ""
    axes = list(json.loads(line.row.chosen)) if line.row.chosen else []
    how = CHOSEN.get(line.row.chosen_on, "by task")
    if not words and axes:
        words = f"{how}: {', '.join(axes)}"
    trained = f"trained on {line.trained}" if line.trained else ""
    detail = ", ".join(filter(None, (trained, line.variant, gain_over)))
    flags = line.row.flags
    if flags:
        flags = (replace(flags[0], text="biased upward"),)
    head = head_of(line.row)
    group = (head.model or "",)
    return replace(head, variation=words, detail=detail, trained_on=None, flags=flags, group=group)


def _gains(
    lines: Sequence[_Line], tasks: Sequence[str], baseline: str | None, baseline_target: str | None
) -> Iterator[Row]:
    """A row for each method that has a baseline."""
    known = [row for line in lines for row in line.rows.values()]
    for line in lines:
        base = _base(line, lines, known, baseline, baseline_target)
        if base is None:
            continue
        shown: list[Value | str] = [_relative(_score(line, task), _score(base, task), line) for task in tasks]
        if len(tasks) > 1:
            shown.append(_relative(_average(line, tasks), _average(base, tasks), line))
        over = f"relative gain over {baseline}"
        over += f", {base.variant}" if base.variant != line.variant and base.variant else ""
        yield _head(line, over), tuple(shown)


def _base(
    line: _Line,
    lines: Sequence[_Line],
    known: Sequence[ModelRow],
    baseline: str | None,
    baseline_target: str | None,
) -> _Line | None:
    """The line that a method is compared with: the baseline's, on the same variant or `baseline_target`."""
    task, row = next(iter(line.rows.items()))
    base = Baselines(known, baseline).of(row)
    variant = baseline_target if baseline_target is not None else line.variant
    if base is None or (base == row and variant == line.variant):
        return None
    return next((one for one in lines if one.rows.get(task) == base and one.variant == variant), None)


def _relative(value: float | None, base: float | None, line: _Line) -> Value | str:
    if value is None or not base:
        return "—"
    percent = 100 * (value - base) / abs(base)
    better = next(iter(line.cells.values()))[1].better
    return Value(percent, text=f"{number(percent, 2, signed=True)}%", digits=2, better=better)


# ---------------------------------------------------------------- candidates


def _candidates(choices: Sequence[Choice]) -> Iterator[Table]:
    """A table for each set of axes, metric and split: a row per choice, a column per candidate."""
    held: dict[tuple[Any, ...], list[Choice]] = defaultdict(list)
    for one in choices:
        if one.on != "source":
            held[tuple(one.axes), one.metric, one.on].append(one)
    for (axes, metric, on), found in held.items():
        names = list(dict.fromkeys(_named(one) for choice in found for one in choice.candidates))
        where = "validation split" if on == "val" else "TEST split"
        biased = " The scores of the chosen models there are biased upward." if on == "test" else ""
        yield Table(
            caption=f"Candidates: {metric} on the {where}",
            first="trained",
            columns=tuple(ColumnHead(name) for name in names),
            rows=tuple(_contest(choice, names) for choice in found),
            explanation=f"{' and '.join(axes)}, chosen by the mean {metric} over the seeds.{biased}",
            remarks=tuple(
                f"{choice.trainer} on {choice.source}, {choice.model}: {note}"
                for choice in found
                for note in choice.notes
            ),
        )


def _contest(choice: Choice, names: Sequence[str]) -> Row:
    flags = () if choice.winner is not None else (Flag("not chosen yet", "not chosen yet"),)
    if choice.winner is not None and choice.on == "test":
        flags = (Flag("biased upward", "biased upward", CHOSEN_ON_TEST, grave=True),)
    head = RowHead(
        choice.trainer,
        CHOSEN[choice.on] if choice.winner is not None and choice.on == "test" else "",
        f"mean of {counted(len(choice.seeds), 'seed')}" if len(choice.seeds) > 1 else "",
        trained_on=choice.source,
        model=choice.model,
        flags=flags,
        group=(choice.model, choice.source),
    )
    by_name = {_named(one): one for one in choice.candidates}
    return head, tuple(_candidate(by_name[name], choice) if name in by_name else "—" for name in names)


def _candidate(one: Candidate, choice: Choice) -> Value:
    if one.left_out:
        return Value(text="failed" if one.left_out == "failed" else "left out", aside=one.left_out)
    score = one.score if one.score is not None else fmean(one.scores.values()) if one.scores else None
    if score is None:
        return Value(text="no record")
    won = one == choice.winner
    words = CHOSEN[choice.on]
    key = "chosen: the best of its candidates"
    flag = Flag(f"{words} of {len(choice.candidates)}", "chosen", key, grave=choice.on == "test")
    flags = (flag,) if won else ()
    return Value(score, digits=DIGITS, n=len(one.scores), flags=flags, better=choice.better)


def _named(one: Candidate) -> str:
    return ", ".join(f"{axis} {_short(value)}" for axis, value in one.values.items())


def _short(value: Any) -> str:
    return tick(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
