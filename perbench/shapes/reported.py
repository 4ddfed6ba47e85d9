"""Reported table: numbers that a paper prints. One file `leaderboard/reported/NAME.yaml` per table."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.templates import refuse

PRINTED = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)[%↑↓]?")
NOTHING = ("-", "–", "—")
"""Printed where the paper has no number."""
Text = Annotated[str, Field(min_length=1)]


class ReportedColumn(Strict):
    """A column under its printed `name`. `tasks` are those of perbench that are about the same, `measured` is
    the name of `metric` there, of one `turn` of dialogues where that is given."""

    name: Text
    metric: Text
    tasks: list[str] = []
    measured: str | None = None
    turn: Annotated[int, Field(ge=1)] | None = None
    better: Literal["higher", "lower"] | None = "higher"


class ReportedRow(Strict):
    """`values`: what the paper prints in each column, separated by blanks, to the digit; a dash is no number.

    `trained_on`, with `trainer`, says which models measured here are counterparts: a task; `own`, each
    column's task; `nothing`, models as they are. `metric` is what the row holds in place of the columns'
    metrics, such as a gain.
    """

    model: Text
    method: Text
    setting: str = ""
    metric: str | None = None
    trainer: str | None = None
    trained_on: str | None = None
    values: Text

    @property
    def printed(self) -> list[str]:
        return self.values.split()

    @model_validator(mode="after")
    def _consistent(self) -> ReportedRow:
        faults = [
            f"values: {word!r} is not a number as printed, such as 0.2430 or +40.57%; write - for none"
            for word in self.printed
            if word not in NOTHING and not PRINTED.fullmatch(word)
        ]
        if (self.trainer is not None) != (self.trained_on not in (None, "nothing")):
            faults.append("trainer: goes with trained_on, a task or own; give both or neither")
        refuse(faults)
        return self


class ReportedTable(Strict):
    """`table` of `paper`, under its `caption`, typed from its `version`. `differs` says in what the set-up
    differs from perbench's or is not stated, `notes` what looks wrong or cannot be read in the paper."""

    summary: str
    paper: Text
    title: Text
    version: Text
    table: Text
    caption: Text
    columns: Annotated[list[ReportedColumn], Field(min_length=1)]
    rows: Annotated[list[ReportedRow], Field(min_length=1)]
    differs: Annotated[list[str], Field(min_length=1)]
    notes: list[str] = []

    @property
    def label(self) -> str:
        """ "PerCE Table 1"."""
        return f"{self.paper} Table {self.table}"

    def decimals(self, column: int) -> int:
        """The most decimals printed in a column."""
        numbers = (PRINTED.fullmatch(row.printed[column]) for row in self.rows if row.metric is None)
        return max((len(found[1].partition(".")[2]) for found in numbers if found), default=0)

    @model_validator(mode="after")
    def _consistent(self) -> ReportedTable:
        faults = []
        heads = [(column.name, column.metric) for column in self.columns]
        for place, head in enumerate(heads):
            if head in heads[:place]:
                faults.append(f"columns.{place}: a second column {head[0]!r} of {head[1]}")
        names = [(row.model, row.method, row.setting, row.trained_on) for row in self.rows]
        for place, row in enumerate(self.rows):
            if len(row.printed) != len(self.columns):
                faults.append(
                    f"rows.{place}.values: {len(row.printed)} values for {len(self.columns)} columns"
                )
            if names[place] in names[:place]:
                faults.append(
                    f"rows.{place}: a second row {row.model} {row.method}; tell them apart by setting"
                )
        refuse(faults)
        return self


def number(printed: str) -> float | None:
    """The number that is printed, without its unit; None of a dash."""
    found = PRINTED.fullmatch(printed)
    return float(found[1]) if found else None
