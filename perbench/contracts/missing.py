"""Samples without an answer: refused, filtered, left out. They are stored, counted and shown, never scored.

A stored sample may carry `missing`, the reason in one word; what else it holds is up to its protocol. It has
no score under any metric. The record counts such samples by reason (`missing_<reason>`), and every metric
says why its missing ones have no score (`Metric.why`), so that page and terminal can show it at the number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from perbench.errors import CellError
from perbench.progress import counted

MISSING: Final = "missing"
"""The key of a stored sample, and what its counts in a record begin with."""

TOO_LONG: Final = "too_long"
"""The reason of what a task leaves out of its own will (`on_too_long: skip`); it fails no cell."""


def reason(sample: Mapping[str, Any]) -> str | None:
    """Why a stored sample has no answer; None where it has one."""
    return sample.get(MISSING)


def reasons(samples: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """`reason` of each."""
    return [reason(sample) for sample in samples]


S = TypeVar("S", bound=Mapping[str, Any])


def answered(samples: Sequence[S]) -> list[S]:
    """The samples that have an answer."""
    return [sample for sample in samples if reason(sample) is None]


def counts(samples: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What a record counts: {"missing_refused": 2}; nothing where no answer is missing."""
    found = Counter(why for why in reasons(samples) if why is not None)
    return {f"{MISSING}_{why}": number for why, number in sorted(found.items())}


def told(why: Mapping[str, int]) -> str:
    """Reasons in words, the most frequent first: "3 filtered, 1 tool call"."""
    by_number = sorted(why.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in by_number)


def check(samples: Sequence[Mapping[str, Any]], planned: int, most: float) -> None:
    """Called before the first batch and after each: once too many answers are missing, no more are asked for.

    Args:
        planned: how many samples the cell has when it is whole.
        most: the share of them that may be missing (`max_missing` of the task).

    Raises:
        CellError: more are missing, those that the task itself leaves out not counted.
    """
    found = Counter(why for why in reasons(samples) if why not in (None, TOO_LONG))
    number = sum(found.values())
    if number > most * planned:
        raise CellError(
            f"{number} of {counted(planned, 'answer')} are missing ({told(found)}), more than the task's "
            f"max_missing {most:g} allows. They are kept and not asked for again; raise max_missing to score "
            "the others, or mend the cause, delete the cell's folder and run with --no-cache"
        )
