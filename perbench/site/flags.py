"""What is said right at a number: samples without a score and why, answers that were cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from perbench.protocols.missing import MISSING, told
from perbench.store import CellRecord

MOST_CUT = 0.1
"""The share of answers cut at max_new_tokens beyond which a number is flagged: it is one of half answers."""


def flags(records: Sequence[CellRecord], metric: str) -> tuple[str, ...]:
    """Of a metric's value over these records (seeds), in words."""
    found = [record.metrics[metric] for record in records if metric in record.metrics]
    missing, whole = sum(one.missing for one in found), sum(one.n + one.missing for one in found)
    why = Counter[str]()
    for one in found:
        why.update(one.why)
    said = []
    if missing:
        reasons = f": {told(why)}" if why else ""
        said.append(f"{missing} of {whole} without a score{reasons}")
    counts = Counter[str]()
    for record in records:
        counts.update(record.counts)
    absent = sum(
        number for name, number in counts.items() if name.startswith(f"{MISSING}_") and _of_answers(name)
    )
    answers, cut = counts["samples"] - absent, counts["truncated"]
    if answers and cut > MOST_CUT * answers and metric != "truncated":
        said.append(f"{100 * cut / answers:.0f}% of answers cut at the limit")
    if counts["summaries_missing"]:
        said.append(f"{counts['summaries_missing']} personas without their whole summary")
    return tuple(said)


def _of_answers(name: str) -> bool:
    """Whether a count is of samples without an answer, not of scores that judges did not give."""
    return name not in ("missing_scores", "missing_second_scores")
