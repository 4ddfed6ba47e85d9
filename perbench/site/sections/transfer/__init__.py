"""Every trained model on every target task, with its gain over the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perbench.contracts.results import Loaded, Matrix, Outcome, TargetColumn
from perbench.contracts.section import ColumnHead, Section, Table, Value
from perbench.site.format import number
from perbench.site.rows import head_of
from perbench.site.values import absent


class Transfer(Section):
    title = "Transfer"
    order = 10
    baseline = "ce"

    def build(self, loaded: Loaded, matrix: Matrix) -> Sequence[Table]:
        if not matrix.columns:
            return []
        columns = tuple(
            ColumnHead(c.target, c.apart, c.headline or "no headline", _sizes(c), c.notes)
            for c in matrix.columns
        )
        rows = tuple(
            (head_of(row), tuple(map(_value, outcomes, matrix.columns))) for row, outcomes in matrix.rows
        )
        over = f", gain over {matrix.baseline}" if matrix.baseline else ""
        return [Table(f"Score{over}", "trained", columns, rows)]


def _value(outcome: Outcome, column: TargetColumn) -> Value:
    mean = outcome.mean
    if mean is None:
        return replace(absent(outcome.records), own=outcome.own)
    return Value(
        value=mean.value,
        ci=mean.ci,
        ci_aside=mean.aside,
        digits=column.digits,
        text="no score" if mean.value is None else "",
        n=mean.n,
        missing=mean.missing,
        flags=mean.flags,
        records=outcome.records,
        versus=outcome.versus,
        gain=outcome.gain,
        rank=outcome.rank,
        better=column.better,
        own=outcome.own,
    )


def _sizes(column: TargetColumn) -> str:
    """ "n 40–50 · 12 users · under 0.031 mostly unseen"."""
    found = (("n {}", column.sizes), ("{} users", column.users))
    parts = [text.format("–".join(map(str, sorted(set(span))))) for text, span in found if span]
    if column.detectable is not None:
        parts.append(f"under {number(column.detectable, column.digits)} mostly unseen")
    return " · ".join(parts)
