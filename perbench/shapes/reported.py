"""Tables of numbers reported in papers: one file `leaderboard/reported/NAME.yaml` per table."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.templates import refuse

PRINTED = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)[%↑↓]?")
NOTHING = ("-", "–", "—")
"""Printed if the paper has no number."""
Text = Annotated[str, Field(min_length=1)]


class ReportedColumn(Strict):
    """A column with its printed `name`. `tasks` are the corresponding perbench tasks, `measured` is the name
    of `metric` there, for one `turn` of dialogues if given."""

    name: Text
    metric: Text
    tasks: list[str] = []
    measured: str | None = None
    turn: Annotated[int, Field(ge=1)] | None = None
    better: Literal["higher", "lower"] | None = "higher"


class ReportedRow(Strict):
    """`values`: what the paper prints in each column, separated by blanks, digit for digit; a dash means no
    number.

    `trained_on`, with `trainer`, identifies the measured counterparts: a task; `own`, each column's task;
    `nothing`, base models. `varied` is `setting` as hyperparameters. `metric` replaces the columns' metrics
    for the row, such as a gain. `suspect`: columns whose number looks wrong, and why.
    """

    model: Text
    method: Text
    setting: str = ""
    metric: str | None = None
    trainer: str | None = None
    trained_on: str | None = None
    varied: dict[str, float] = {}
    suspect: dict[str, Text] = {}
    values: Text

    @property
    def printed(self) -> list[str]:
        return self.values.split()

    @model_validator(mode="after")
    def _consistent(self) -> ReportedRow:
        faults = [
            f"values: {word!r} is not a number such as 0.2430 or +40.57%; write - for none"
            for word in self.printed
            if word not in NOTHING and not PRINTED.fullmatch(word)
        ]
        if (self.trainer is not None) != (self.trained_on not in (None, "nothing")):
            faults.append("trainer: needs trained_on, a task or own; give both or neither")
        refuse(faults)
        return self


class ReportedTable(Strict):
    """`table` of `paper` ("1", or "Figure 4"), with its `caption`, copied from its `version`; `profile`: that
    of matrices that repeat it. `differs` lists differences from perbench's set-up and what is not stated,
    `notes` apparent errors and illegible parts of the paper."""

    summary: str
    paper: Text
    title: Text
    version: Text
    table: Text
    caption: Text
    columns: Annotated[list[ReportedColumn], Field(min_length=1)]
    rows: Annotated[list[ReportedRow], Field(min_length=1)]
    profile: str | None = None
    differs: Annotated[list[str], Field(min_length=1)]
    notes: list[str] = []

    @property
    def label(self) -> str:
        """ "PerCE Table 1", "PerCE Figure 4"."""
        return f"{self.paper} {'' if self.table.startswith('Figure ') else 'Table '}{self.table}"

    def decimals(self, column: int) -> int:
        """The maximum decimals printed in a column."""
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
            unknown = row.suspect.keys() - {name for name, _ in heads}
            faults += [f"rows.{place}.suspect: no column {name!r}" for name in sorted(unknown)]
            if names[place] in names[:place]:
                faults.append(
                    f"rows.{place}: a second row {row.model} {row.method}; distinguish them by setting"
                )
        refuse(faults)
        return self


def number(printed: str) -> float | None:
    """The printed number without its unit; None for a dash."""
    found = PRINTED.fullmatch(printed)
    return float(found[1]) if found else None
