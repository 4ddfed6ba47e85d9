"""Samples without an answer (refused, filtered, left out): stored, counted and shown, never scored.

Such a sample has `missing`, the reason in one word; the rest is up to its protocol. It has no score under any
metric. The record counts these samples by reason (`missing_<reason>`), and every metric lists the reasons for
its missing scores (`Metric.why`), shown on page and terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from perbench.errors import CellError
from perbench.progress import counted

MISSING: Final = "missing"
"""The key of a stored sample, and the prefix of its counts in a record."""

TOO_LONG: Final = "too_long"
"""The reason of samples that a task chooses to leave out (`on_too_long: skip`); it fails no cell."""


def reason(sample: Mapping[str, Any]) -> str | None:
    """Why a stored sample has no answer; None if it has one."""
    return sample.get(MISSING)


def reasons(samples: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """`reason` of each sample."""
    return [reason(sample) for sample in samples]


S = TypeVar("S", bound=Mapping[str, Any])


def answered(samples: Sequence[S]) -> list[S]:
    """The samples that have an answer."""
    return [sample for sample in samples if reason(sample) is None]


def counts(samples: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The counts for a record: {"missing_refused": 2}; empty if no answer is missing."""
    found = Counter(why for why in reasons(samples) if why is not None)
    return {f"{MISSING}_{why}": number for why, number in sorted(found.items())}


def in_words(why: Mapping[str, int]) -> str:
    """Reasons in words, most frequent first: "3 filtered, 1 tool call"."""
    by_number = sorted(why.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in by_number)


def check(samples: Sequence[Mapping[str, Any]], planned: int, most: float) -> None:
    """Called before the first batch and after each, to stop asking once too many answers are missing.

    Args:
        planned: number of samples of the complete cell.
        most: maximum share of missing answers (`max_missing` of the task).

    Raises:
        CellError: more are missing, not counting those that the task leaves out.
    """
    found = Counter(why for why in reasons(samples) if why not in (None, TOO_LONG))
    number = sum(found.values())
    if number > most * planned:
        raise CellError(
            f"{number} of {counted(planned, 'answer')} are missing ({in_words(found)}), more than the task's "
            f"max_missing {most:g} allows; raise max_missing to score the others, or fix the cause, delete "
            "the cell's folder and run with --no-cache to ask again"
        )
