"""Logs a training: one row per update, to a JSONL file, a tracker and the progress line."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench import processes
from perbench.disk.sealed import SEAL, SealedJournal
from perbench.errors import PerbenchError
from perbench.lm.memory import peak_mb
from perbench.progress import Progress, counted

if TYPE_CHECKING:
    from torch import Tensor

BINS = 16
RESERVED = {
    *("step", "loss", "lr", "grad_norm", "micro_batch_tokens", "tokens_per_second", "peak_memory_mb"),
    *("tok/s", "MB", SEAL),
}
"""Columns of rows and the progress line, which no loss may use for watched values."""
PACKAGES = {"tensorboard": "tensorboard", "trackio": "trackio"}
"""Trackers and their pip packages."""


@dataclass(frozen=True)
class Watched:
    """Values [N] of one micro-batch watched by a loss, float32, and the bounds to which they were clipped."""

    values: Tensor
    bounds: tuple[float, float] | None


@dataclass(frozen=True)
class Distribution:
    """Distribution of watched values over all tokens of an update. `at_low` and `at_high`: shares at or
    beyond the bounds, None without bounds. `counts`: BINS equal bins from `low` to `high`, which are the
    bounds or, without them, the minimum and maximum; values beyond are in the outer bins. Non-finite values
    are counted (`not_finite`) and otherwise ignored; mean, min and max are None without finite values."""

    mean: float | None
    min: float | None
    max: float | None
    at_low: float | None
    at_high: float | None
    low: float
    high: float
    counts: list[int]
    not_finite: int

    @property
    def scalars(self) -> dict[str, float]:
        figures = {"mean": self.mean, "at_low": self.at_low, "at_high": self.at_high}
        figures["not_finite"] = self.not_finite or None
        return {name: figure for name, figure in figures.items() if figure is not None}

    def row(self) -> dict[str, Any]:
        histogram = {"from": self.low, "to": self.high, "counts": self.counts}
        return {"mean": self.mean, **self.scalars, "min": self.min, "max": self.max, "histogram": histogram}


class WatchTally:
    """Collects watched values over the micro-batches of one update, on all processes."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Watched]] = {}

    def add(self, watched: Mapping[str, Watched]) -> None:
        """Call once per micro-batch, after its backward pass, so that a repeated one counts once."""
        for name, part in watched.items():
            self._parts.setdefault(name, []).append(part)

    def spreads(self) -> dict[str, Distribution]:
        """By name, sorted; the same on every process and for any split of the update."""
        mine = {
            name: (parts[0].bounds, [value for part in parts for value in part.values.tolist()])
            for name, parts in self._parts.items()
        }
        merged: dict[str, tuple[tuple[float, float] | None, list[float]]] = {}
        for process in processes.group().gather(mine):
            for name, (bounds, values) in process.items():
                merged.setdefault(name, (bounds, []))[1].extend(values)
        return {name: _spread(values, bounds) for name, (bounds, values) in sorted(merged.items())}


def _spread(values: list[float], bounds: tuple[float, float] | None) -> Distribution:
    import numpy as np

    given = np.asarray(values, dtype=np.float32)
    found = np.sort(given[np.isfinite(given)])  # sorted, so that sums are independent of order
    least, most = (float(found[0]), float(found[-1])) if len(found) else (None, None)
    # In the values' precision, in which a clipped value equals its bound.
    low, high = np.sort(np.asarray(bounds or (-np.inf, np.inf), dtype=np.float32))
    shares = bounds is not None and len(found) > 0
    at_low, at_high = (
        (float((found <= low).mean()), float((found >= high).mean())) if shares else (None, None)
    )
    # An open end is the minimum or maximum.
    low, high = low if np.isfinite(low) else least or 0, high if np.isfinite(high) else most or 0
    low, high = np.sort(np.asarray((low, high), dtype=np.float32))
    # In float64, bins neither vanish between neighbouring values nor overflow.
    clipped = found.clip(low, high).astype(np.float64)
    counts, _ = np.histogram(clipped, bins=BINS, range=(float(low), float(high)))
    return Distribution(
        mean=float(found.mean(dtype=np.float64)) if len(found) else None,
        min=least,
        max=most,
        at_low=at_low,
        at_high=at_high,
        low=float(low),
        high=float(high),
        counts=counts.tolist(),
        not_finite=len(given) - len(found),
    )


def mend(log: SealedJournal) -> None:
    """Remove damaged rows and those after them, and report it."""
    found = log.read()
    if found.torn or found.fault:
        log.cut(found)
    if found.fault is not None:
        line, what = found.fault
        Progress(0).say(f"{log.path}:{line}: {what}; {counted(found.lost, 'row')} from there on removed")


class Recorder:
    """Writes one row per update to `log`, which must be intact, and, flattened, to a tracker. `first` updates
    are complete: rows of later ones, left by an interrupted run, are removed.

    Raises:
        PerbenchError: `track` names a tracker that is not installed.
        OSError: from the file system.
    """

    def __init__(self, log: SealedJournal | None, track: str | None, first: int) -> None:
        self._log = log
        if log is not None:
            found = log.read()
            kept = len(list(takewhile(lambda row: row.get("step", 0) <= first, found.rows)))
            if kept < len(found.rows):
                log.cut(found, kept)
        folder = log.path.parent if log is not None else Path()
        self._tracker = _tracker(track, folder, first) if track is not None else None

    def update(
        self, step: int, figures: Mapping[str, float], spreads: Mapping[str, Distribution]
    ) -> dict[str, float]:
        """Write the row of update `step` (from 1); returns watched means as figures: {"weight_mean": 1.2}."""
        spread_rows = {name: spread.row() for name, spread in spreads.items()}
        row = {"step": step, **figures, "peak_memory_mb": peak_mb(), **spread_rows}
        if self._log is not None:
            self._log.append([row], durable=False)
        if self._tracker is not None:
            self._tracker.log(_scalars(row), step=step)
        return {f"{name}_{key}": n for name, all in spreads.items() for key, n in all.scalars.items()}

    def flush(self) -> None:
        """Make the rows durable; call before the checkpoint that covers them."""
        if self._log is not None:
            self._log.flush()

    def close(self) -> None:
        if self._tracker is not None:
            self._tracker.finish()


def check_tracker(name: str | None) -> None:
    """Raise a PerbenchError with the install command if the tracker's package is missing."""
    if name is not None and importlib.util.find_spec(PACKAGES[name]) is None:
        raise PerbenchError(
            f"--track {name} needs the package {PACKAGES[name]}; run: pip install 'perbench[track]'"
        )


def _tracker(name: str, folder: Path, first: int) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, TrackioTracker

    check_tracker(name)
    PartialState()  # trackers read the process's rank from it
    tracker: Any
    if name == "tensorboard":
        tracker = TensorBoardTracker("tensorboard", logging_dir=folder, purge_step=first + 1)
    else:
        tracker = TrackioTracker("perbench", name=folder.name, resume="allow")
    tracker.start()
    return tracker


def _scalars(row: Mapping[str, Any]) -> dict[str, float]:
    flat = {name: value for name, value in row.items() if isinstance(value, (int, float)) and name != "step"}
    for name, spread in row.items():
        if isinstance(spread, Mapping):
            flat.update({f"{name}/{key}": n for key, n in spread.items() if isinstance(n, (int, float))})
    return flat
