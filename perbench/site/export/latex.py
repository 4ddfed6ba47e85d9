"""A table for a paper: scores with intervals, gains below them, the best in bold. Requires booktabs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from perbench.contracts.results import Loaded, Matrix, ModelRow, Outcome, TargetColumn
from perbench.disk.files import write_text
from perbench.progress import counted
from perbench.site.export.places import place, status_of
from perbench.site.format import MINUS, interval, number
from perbench.site.matrix import FEWEST_RANKED, MOST_RANKED

SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    MINUS: "$-$",
    "–": "--",
    "→": r"$\rightarrow$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "\n": " ",
}
MARK = r"\textdagger"
NO_RANKS = {
    "few": f"fewer than {FEWEST_RANKED} models with scores by sample: no ranks",
    "many": f"more than {MOST_RANKED} models: no ranks",
    "untested": "no pair of models could be tested here: no ranks",
}
"""By `TargetColumn.unranked`."""


def escape(text: str) -> str:
    """Text escaped for LaTeX."""
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found[0]], text)


def write(loaded: Loaded, matrix: Matrix, out: Path, left_out: Callable[[str], None]) -> list[Path]:
    file = place(out, "transfer.tex")
    write_text(file, table(matrix))
    return [file]


class _Notes:
    """Numbered caveats below the table, without duplicates."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, texts: list[str], *before: str) -> str:
        """A superscript that refers to these notes."""
        self.texts += [text for text in dict.fromkeys(texts) if text not in self.texts]
        numbers = sorted(self.texts.index(text) + 1 for text in set(texts))
        signs = ",".join([*before, *map(str, numbers)])
        return rf"\textsuperscript{{{signs}}}" if signs else ""


def table(matrix: Matrix) -> str:
    notes = _Notes()
    heads = [_head(column, notes) for column in matrix.columns]
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(matrix)}}}",
        r"\small",
        rf"\begin{{tabular}}{{@{{}}lll{'r' * len(heads)}@{{}}}}",
        r"\toprule",
        _line(["Model", "Method", "Trained on", *(name for name, _ in heads)]),
        _line(["", "", "", *(metric for _, metric in heads)]),
        r"\midrule",
    ]
    best = [_best(matrix, index) for index in range(len(matrix.columns))]
    group: tuple[str, str | None] | None = None
    for row, outcomes in matrix.rows:
        if group not in (None, (row.model, row.source)):
            lines.append(r"\addlinespace")
        group = row.model, row.source
        pairs = list(zip(outcomes, matrix.columns, best, strict=True))
        lines.append(_line([*_names(row, notes), *(_score(*pair, notes) for pair in pairs)]))
        if any(outcome.gain is not None for outcome in outcomes):
            gains = [_gain(outcome, column) for outcome, column, _ in pairs]
            over = rf"\quad gain over {escape(matrix.baseline or '')}"
            lines.append(_line(["", over, "", *gains]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    if notes.texts:
        foot = (
            rf"\textsuperscript{{{place}}}~{escape(text)}." for place, text in enumerate(notes.texts, start=1)
        )
        lines += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {' '.join(foot)}}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _caption(matrix: Matrix) -> str:
    parts = ["Scores with 95% intervals over users. Values of different columns are not comparable."]
    ranked = any(column.ranked for column in matrix.columns)
    if any(column.better for column in matrix.columns):
        parts.append("Bold: the best of its column.")
    if ranked:
        parts.append(
            f"{MARK}: no model of the column is significantly better, "
            "by tests of all pairs at 5% after Holm's correction."
        )
    if matrix.gains:
        parts.append(
            f"Gains over {matrix.baseline} are paired by sample. *: the gain's own interval excludes 0; "
            f"**: the gain differs from 0 after Holm's correction over all {len(matrix.gains)} gains, too."
        )
    if matrix.of_one_seed:
        single = counted(matrix.of_one_seed, "gain")
        parts.append(f"Intervals of {single} with one training seed do not cover other seeds.")
    return rf"{MARK}{{}}".join(map(escape, " ".join(parts).split(MARK)))


def _head(column: TargetColumn, notes: _Notes) -> tuple[str, str]:
    arrow = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", None: ""}[column.better]
    remarks = [*column.notes, *([NO_RANKS[column.unranked]] if column.unranked else [])]
    return escape(column.title), escape(column.headline or "no headline") + arrow + notes.mark(remarks)


def _names(row: ModelRow, notes: _Notes) -> list[str]:
    method = " ".join(filter(None, (row.trainer or "base model", row.variation)))
    mark = notes.mark([flag.text for flag in row.flags])
    return [escape(row.model), escape(method) + mark, escape(row.source or "--")]


def _best(matrix: Matrix, index: int) -> float | None:
    """The best value of a column; None if neither direction is better."""
    better = matrix.columns[index].better
    means = [outcomes[index].mean for _, outcomes in matrix.rows]
    values = [mean.value for mean in means if mean is not None and mean.value is not None]
    if better is None or not values:
        return None
    return max(values) if better == "higher" else min(values)


def _score(outcome: Outcome, column: TargetColumn, best: float | None, notes: _Notes) -> str:
    mean = outcome.mean
    failed = sum(record.status == "failed" for record in outcome.records)
    if mean is None or mean.value is None:
        return rf"\textit{{{escape(status_of(outcome))}}}"
    remarks = [flag.text for flag in mean.flags] + list(filter(None, [mean.aside]))
    remarks += [f"{counted(failed, 'seed')} failed and left out"] if failed else []
    value = escape(number(mean.value, column.digits))
    mark = [MARK] if outcome.rank is not None and outcome.rank[0] == 1 and mean.value != best else []
    text = (rf"\textbf{{{value}}}" if mean.value == best else value) + notes.mark(remarks, *mark)
    return text + (rf" {{\scriptsize {escape(interval(mean.ci, column.digits))}}}" if mean.ci else "")


def _gain(outcome: Outcome, column: TargetColumn) -> str:
    gain = outcome.gain
    if gain is None or gain.value is None:
        return ""
    stars = "$^{**}$" if gain.remains else "$^{*}$" if gain.excludes_zero else ""
    text = escape(number(gain.value, column.digits, signed=True)) + stars
    if gain.ci is not None:
        text += f" {escape(interval(gain.ci, column.digits, signed=True))}"
    return rf"{{\scriptsize {text}}}"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
