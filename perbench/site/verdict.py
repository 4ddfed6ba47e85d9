"""The verdict: what the tests of the transfer table show for each method, in plain sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from perbench.contracts.results import FEW_USERS, Matrix, ModelRow, Outcome, TargetColumn
from perbench.progress import counted
from perbench.site.format import number
from perbench.site.rows import baseline_of
from perbench.stats.paired import Estimate

UNTESTED = "without a test (under 3 users, no spread, or no samples to pair)"


@dataclass(frozen=True)
class _Comparison:
    """A tested gain: of a method on one model, source and target."""

    row: ModelRow
    column: TargetColumn
    gain: Estimate

    @property
    def side(self) -> int:
        """1 if the method beats the baseline after Holm's correction, -1 if it loses, else 0."""
        if not self.gain.remains or not self.gain.value or self.column.better is None:
            return 0
        return 1 if (self.gain.value > 0) == (self.column.better == "higher") else -1


def verdict(matrix: Matrix) -> list[str]:
    """Sentences from the corrected tests alone: a line per method, the strongest first, or that the run is
    too small to distinguish any from the baseline; then what the data cannot show. Empty without targets."""
    over = matrix.baseline
    if not matrix.columns:
        return []
    if over is None:
        return ["No row was trained by a baseline, so no method is compared."]
    tested, left_out = _comparisons(matrix, over)
    if not tested and not left_out:
        return [f"Nothing but {over} was trained and evaluated, so no method is compared."]
    if not tested and not left_out[UNTESTED]:
        return [f"No method can be compared with {over} yet.", *_limits(matrix, tested, over, left_out)]
    directed = [one for one in tested if one.column.better is not None]
    neither = [one for one in tested if one.column.better is None]
    return [
        *_answer(directed, neither, over, len({one.row.model for one in tested}) > 1),
        *_limits(matrix, tested, over, left_out),
    ]


def _comparisons(matrix: Matrix, over: str) -> tuple[list[_Comparison], Counter[str]]:
    """The comparisons with a test, and how many there are not, by the reason."""
    cells, rows = dict(matrix.rows), [row for row, _ in matrix.rows]
    tested, left_out = [], Counter[str]()
    for row, outcomes in matrix.rows:
        base = baseline_of(row, rows, over)
        if row.trainer is None or base == row:
            continue
        others: Sequence[Outcome | None] = cells[base] if base is not None else [None] * len(outcomes)
        for column, outcome, other in zip(matrix.columns, outcomes, others, strict=True):
            if outcome.gain is not None and outcome.gain.adjusted is not None:
                tested.append(_Comparison(row, column, outcome.gain))
            else:
                left_out[_reason(outcome, other, over)] += 1
    return tested, left_out


def _reason(outcome: Outcome, other: Outcome | None, over: str) -> str:
    if outcome.status != "done":
        return "failed" if outcome.status == "failed" else "without a record"
    if outcome.mean is None or outcome.mean.value is None:
        return "without a score"
    if other is None or other.mean is None or other.mean.value is None:
        return f"without {over} to compare with"
    return UNTESTED


def _answer(
    directed: Sequence[_Comparison], neither: Sequence[_Comparison], over: str, several_models: bool
) -> list[str]:
    lines = []
    if any(one.side for one in directed):
        methods: dict[str, list[_Comparison]] = defaultdict(list)
        for one in directed:
            methods[_method(one.row, over)].append(one)
        for name in sorted(methods, key=lambda name: _strength(methods[name], name)):
            lines.append(_line(name, methods[name], over, several_models))
    elif not any(one.gain.remains for one in neither):
        return [_too_small(directed or neither, len(directed) + len(neither), over, several_models)]
    elif directed:
        lines.append(f"No method can be told from {over} in any of {_count(directed)} with a better side.")
    if neither:
        apart = sum(one.gain.remains for one in neither)
        metrics = ", ".join(sorted({one.column.headline or "" for one in neither}))
        lines.append(
            f"{metrics} (neither side is better) differs from {over} in {apart} of {_count(neither)}."
        )
    return lines


def _method(row: ModelRow, over: str) -> str:
    """All rows of a trainer are one method; other rows of the baseline go by their settings."""
    return f"{row.trainer} ({row.variation})" if row.trainer == over else row.trainer or ""


def _strength(found: Sequence[_Comparison], name: str) -> tuple[float, int, str]:
    return -sum(one.side for one in found) / len(found), -sum(one.side > 0 for one in found), name


def _line(name: str, found: Sequence[_Comparison], over: str, several_models: bool) -> str:
    won, lost = (sum(one.side == side for one in found) for side in (1, -1))
    named = next((f" ({_where(one, several_models)})" for one in found if one.side < 0 and lost == 1), "")
    if len(found) == 1:
        how = {1: f"beats {over}", -1: f"loses to {over}", 0: f"cannot be told from {over}"}[found[0].side]
        return f"{name} {how} in its only comparison{named}."
    if won:
        return f"{name} beats {over} in {won} of {_count(found)} and loses in {lost or 'none'}{named}."
    if lost:
        return f"{name} loses to {over} in {lost} of {_count(found)}{named} and beats it in none."
    return f"{name} cannot be told from {over} in any of {_count(found)}."


def _too_small(found: Sequence[_Comparison], tests: int, over: str, several_models: bool) -> str:
    """With the users that the clearest difference needs, were it as large as it looks: fewest of all."""
    small = f"The run is too small to tell any method from {over}"
    needed = [
        (users, one)
        for one in found
        if one.gain.users >= FEW_USERS and (users := one.gain.users_needed(tests)) is not None
    ]
    if not needed:
        return f"{small}."
    users, one = min(needed, key=lambda pair: pair[0])
    gain = number(one.gain.value or 0.0, one.column.digits, signed=True)
    return (
        f"{small}; about {users:,} users would do if the true difference of {_method(one.row, over)} "
        f"({_where(one, several_models)}) is the {gain} observed with {one.gain.users}."
    )


def _limits(matrix: Matrix, tested: Sequence[_Comparison], over: str, left_out: Counter[str]) -> list[str]:
    lines = []
    open_ = sum(not one.gain.remains for one in tested)
    if open_ < len(tested) and open_:
        lines.append(f"With these users {open_} of {_count(tested)} cannot tell the method from {over}.")
    if single := sum(one.gain.seeds == 1 for one in tested):
        rest = "rests" if single == 1 else "rest"
        lines.append(
            f"{single} of {_count(tested)} {rest} on 1 seed: other trainings may come out otherwise."
        )
    outcomes = [one for _, found in matrix.rows for one in found if one.status == "done"]
    if part := sum(any(record.status == "failed" for record in one.records) for one in outcomes):
        lines.append(f"{counted(part, 'value')} without the seeds that failed.")
    if left_out:
        lines.append("Not compared: " + ", ".join(f"{n} {why}" for why, n in sorted(left_out.items())) + ".")
    return lines


def _where(one: _Comparison, several_models: bool) -> str:
    model = one.row.model if several_models else ""
    return ", ".join(filter(None, (model, one.row.variation, f"{one.row.source} → {one.column.title}")))


def _count(found: Sequence[_Comparison]) -> str:
    return counted(len(found), "comparison")
