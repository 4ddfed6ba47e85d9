"""The axes of drawn charts: where values lie, and which are labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isinf, log10

from perbench.contracts.chart import Axis

STEPS = 4
"""About as many labelled steps on an axis."""
LEAST = 1e-9
"""Values whose range is below this share of their size are drawn as equal."""


@dataclass(frozen=True)
class DrawnScale:
    """Maps `low` to `start` and `high` to `end`, in drawing units; values beyond are drawn at the ends."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        low, high, at = (self._in(one) for one in (self.low, self.high, value))
        share = min(1.0, max(0.0, (at - low) / (high - low)))
        return round(self.start + share * (self.end - self.start), 1)

    def _in(self, value: float) -> float:
        return log10(value) if self.log else value / 4  # a range of the largest floats stays finite


def scale_of(axis: Axis, values: Sequence[float], start: float, end: float, *, round_up: bool) -> DrawnScale:
    """The scale of an axis for these values. `round_up`: its ends are ticks."""
    found = [*values, *axis.ticks, *(one for one in (axis.low, axis.high) if one is not None)]
    low, high = (min(found), max(found)) if found else (1.0, 10.0) if axis.log else (0.0, 1.0)
    if axis.log:
        low, high, ticks = _decades(low, high)
    else:
        low, high, ticks = _steps(low, high)
    if not round_up and found and not _equal(min(found), max(found)):
        low, high = min(found), max(found)
    low = low if axis.low is None else axis.low
    high = high if axis.high is None else axis.high
    ticks = axis.ticks or tuple(tick for tick in ticks if low <= tick <= high)
    return DrawnScale(low, high, start, end, axis.log, tuple(sorted(set(ticks))))


def _equal(low: float, high: float) -> bool:
    """Whether a range is drawn as one value: too small for its numbers, or for floats."""
    return high - low <= max(LEAST * max(abs(low), abs(high)), 1e-290)


def _steps(low: float, high: float) -> tuple[float, float, tuple[float, ...]]:
    """Ends and ticks at multiples of 1, 2 or 5 times a power of ten."""
    if _equal(low, high):
        margin = abs(low) / 20 or 1.0
        low, high = low - margin, high + margin
    step = high / STEPS - low / STEPS
    if isinf(low) or isinf(high) or step > 1e300 or step < 1e-290:
        low, high = max(low, -1.7e308), min(high, 1.7e308)
        return low, high, (low, high)
    power = 10.0 ** floor(log10(step))
    step = next((k * power for k in (1, 2, 5) if k * power >= step * (1 - 1e-9)), 10 * power)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = tuple(float(f"{n * step:.12g}") for n in range(first, last + 1))
    return min(low, ticks[0]), max(high, ticks[-1]), ticks


def _decades(low: float, high: float) -> tuple[float, float, tuple[float, ...]]:
    """Ends and ticks at powers of ten."""
    first = min(max(floor(log10(low)), -307), 307)
    last = max(first + 1, min(ceil(log10(high)), 308))
    ticks = tuple(10.0**n for n in range(first, last + 1, ceil((last - first) / STEPS)))
    return min(low, ticks[0]), max(high, ticks[-1]), ticks
