"""A figure of the gains with intervals: one panel per target, each with its own scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.results import Loaded, Matrix, ModelRow, Outcome, TargetColumn
from perbench.contracts.section import Value
from perbench.disk.files import replacing
from perbench.errors import PerbenchError
from perbench.site.export.places import place, status_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"up": "#0b62a4", "down": "#c05a00", "": "#444444"}
"""As on the page: blue is better, orange worse."""
ACROSS = 3
"""Panels per row."""
FIXED: Any = {"svg.hashsalt": "perbench", "svg.fonttype": "none", "font.size": 8}
"""Without a salt, ids in an SVG are random."""


def write_svg(loaded: Loaded, matrix: Matrix, out: Path, left_out: Callable[[str], None]) -> list[Path]:
    return [_write(matrix, out, "svg", {"Date": None, "Creator": None})]


def write_png(loaded: Loaded, matrix: Matrix, out: Path, left_out: Callable[[str], None]) -> list[Path]:
    return [_write(matrix, out, "png", {"Software": None})]


def _write(matrix: Matrix, out: Path, kind: str, metadata: dict[str, Any]) -> Path:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise PerbenchError(
            f"--format {kind} needs the package matplotlib; run: pip install 'perbench[results]'"
        ) from error
    shown = [
        (row, outcomes) for row, outcomes in matrix.rows if any(one.gain is not None for one in outcomes)
    ]
    columns = [i for i in range(len(matrix.columns)) if any(outcomes[i].gain for _, outcomes in shown)]
    if not columns:
        raise PerbenchError(
            f"--format {kind}: there is no gain to draw; name the trainer of a baseline that was evaluated "
            "on the same targets: --baseline TRAINER"
        )
    across = min(len(columns), ACROSS)
    down = -(-len(columns) // across)
    file = place(out, f"gains.{kind}")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's style
        matplotlib.rcParams.update(FIXED)
        figure = Figure(figsize=(2.2 + 2.4 * across, down * (1.0 + 0.25 * len(shown))), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharey=True).flat
        for axes, index in zip(panels, columns, strict=False):
            _panel(axes, matrix.columns[index], [(row, outcomes[index]) for row, outcomes in shown])
        for axes in panels[len(columns) :]:
            axes.remove()
        figure.supxlabel(_plain(_caption(matrix)), fontsize=7)
        with replacing(file) as temporary:
            figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)
    return file


def _panel(axes: Axes, column: TargetColumn, cells: list[tuple[ModelRow, Outcome]]) -> None:
    axes.set_title(_plain(column.title), fontsize=8)
    direction = {"higher": "", "lower": " (lower is better)", None: " (neither is better)"}[column.better]
    axes.set_xlabel(_plain((column.headline or "") + direction))
    axes.axvline(0, color="#999999", linewidth=0.8)
    axes.locator_params(axis="x", nbins=4)
    several = len({row.model for row, _ in cells}) > 1
    axes.set_yticks(range(len(cells)), [_plain(_name(row, several)) for row, _ in cells])
    axes.set_ylim(len(cells) - 0.5, -0.5)
    for height, (_, outcome) in enumerate(cells):
        gain = outcome.gain
        if gain is None or gain.value is None:
            status = status_of(outcome)
            text = "nothing to compare" if status == "done" else status
            axes.text(0, height, f" {text}", color="#777777", fontsize=6, va="center")
            continue
        colour = COLOURS[Value(gain=gain, better=column.better).verdict if gain.remains else ""]
        if gain.ci is not None:
            axes.hlines(height, *gain.ci, color=colour, linewidth=1.2)
        axes.plot(
            gain.value, height, "o", color=colour, markersize=4, mfc=colour if gain.remains else "white"
        )


def _caption(matrix: Matrix) -> str:
    return (
        f"Gain over {matrix.baseline} with 95% interval, each panel on its own scale. Blue: better, orange: "
        f"worse.\nFilled: differs from 0 after Holm's correction over all {len(matrix.gains)} gains."
    )


def _name(row: ModelRow, with_model: bool) -> str:
    """ "perce clip=0.1 ← fam/write"."""
    method = " ".join(filter(None, (row.trainer, row.variation)))
    return f"{method} ← {row.source}" + (f" ({row.model})" if with_model else "")


def _plain(text: str) -> str:
    """Text without matplotlib's mathematics."""
    return text.replace("$", r"\$")
