"""Formats numbers for the page and the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Any

from perbench.progress import counted
from perbench.specs.grid import leaves

MINUS = "−"
FIGURE = "\u2007"
"""A space as wide as a digit."""


def digits_for(values: Iterable[float | None], widths: Iterable[float] = ()) -> int:
    """Decimals of a column: three for shares and log-probs, two for ratings, one for percentages. More, up to
    three, if the narrowest of its gains' intervals, of these half `widths`, is under two units of the
    last."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    digits = 3 if largest < 2 else 2 if largest < 20 else 1
    narrowest = min((width for width in widths if width > 0), default=inf)
    while digits < 3 and narrowest < 2 * 10.0**-digits:
        digits += 1
    return digits


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with a real minus sign, and with `signed` a plus sign; no sign if it rounds to zero."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(ci: tuple[float, float], digits: int, *, signed: bool = False) -> str:
    return f"[{number(ci[0], digits, signed=signed)}, {number(ci[1], digits, signed=signed)}]"


def between(ci: tuple[float, float], digits: int, *, signed: bool = False) -> str:
    """ "0.045 to 0.150"."""
    return f"{number(ci[0], digits, signed=signed)} to {number(ci[1], digits, signed=signed)}"


def padded(value: float, digits: int, *, signed: bool = False, width: int = 1) -> str:
    """A number whose decimal point aligns with those of others of `width` digits before it."""
    text = number(value, digits, signed=signed)
    sign = text[0] if text[0] in f"+{MINUS}" else FIGURE * signed
    text = text.lstrip(f"+{MINUS}")
    return sign + FIGURE * (width - len(text.partition(".")[0])) + text


def part_of(count: int, total: int, noun: str) -> str:
    """2, 3 "test" -> "2 of 3 tests"; 3, 3 -> "All 3 tests"; 2, 2 -> "Both tests"; 1, 1 -> "The only test"."""
    if count != total or not total:
        return f"{count:,} of {counted(total, noun)}"
    return {1: f"The only {noun}", 2: f"Both {noun}s"}.get(total, f"All {counted(total, noun)}")


def any_of(total: int, noun: str) -> str:
    """3, "test" -> "any of 3 tests"; 2 -> "either test", 1 -> "the only test"."""
    return {1: f"the only {noun}", 2: f"either {noun}"}.get(total, f"any of {counted(total, noun)}")


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def day(time: str) -> str:
    """ "29 Nov 2026" of an ISO time; what is no time is given as it is."""
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        return time
    return f"{found.day} {found:%b %Y}"


def tick(value: float) -> str:
    """A setting, or a label of an axis: "0.05", "2e−6", "10,000"."""
    text = f"{value:g}" if abs(value) < 1e-3 or abs(value) >= 1e6 else f"{value:,.6g}"
    mantissa, e, power = text.partition("e")
    return f"{mantissa}{e}{int(power)}".replace("-", MINUS) if e else text.replace("-", MINUS)


def measured(value: float) -> str:
    """A logged value of any magnitude, with four digits: "2.5e-05", "6.541", "13,410"."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def variation(values: Mapping[str, Any]) -> str:
    """Hyperparameters on one line: "learning_rate=1e-05, method=lora"."""
    return ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, sort_keys=True)}"
        for name, value in sorted(values.items())
    )


@lru_cache(maxsize=4096)
def natural(text: str) -> tuple[tuple[tuple[bool, float, str], ...], str]:
    """Sort key: as text, but with numbers (also -1.0 and 1e-05) by size; equal for equal texts only."""
    parts = re.split(r"((?:(?<!\w)-)?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)", text)
    by_size = (
        (n % 2 == 0, float(part) if n % 2 else 0.0, "" if n % 2 else part) for n, part in enumerate(parts)
    )
    return tuple(by_size), text


def flatten(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Leaves of nested JSON as (dotted path, text), in key order."""
    return [
        (
            ".".join(path),
            leaf if isinstance(leaf, str) else json.dumps(leaf, ensure_ascii=False, sort_keys=True),
        )
        for path, leaf in sorted(leaves(value).items())
    ]
