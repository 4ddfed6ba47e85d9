"""Caveats shown next to a value: samples without a score and why, truncated answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from perbench.contracts.missing import MISSING, in_words
from perbench.contracts.results import Flag
from perbench.store import CellRecord

MOST_CUT = 0.1
"""Share of answers truncated at max_new_tokens above which a value is flagged."""

OLD_INTERVAL = Flag(
    "old interval, by bootstrap",
    "old interval",
    "old interval: percentile bootstrap, too narrow for few users; `perbench rescore` recomputes it",
)


def flags(records: Sequence[CellRecord], metric: str) -> tuple[Flag, ...]:
    """The flags of a metric's value over these records (seeds)."""
    found = [record.metrics[metric] for record in records if metric in record.metrics]
    missing, whole = sum(one.missing for one in found), sum(one.n + one.missing for one in found)
    why = Counter[str]()
    for one in found:
        why.update(one.why)
    flagged = []
    if missing:
        reasons = f": {in_words(why)}" if why else ""
        flagged.append(
            Flag(f"{missing} of {whole} without a score{reasons}", f"{missing} of {whole} missing")
        )
    counts = Counter[str]()
    for record in records:
        counts.update(record.counts)
    answers, cut = answers_of(counts)
    if answers and cut > MOST_CUT * answers and metric != "truncated":
        share = f"{100 * cut / answers:.0f}%"
        key = "cut: share of answers cut at the limit (max_new_tokens)"
        flagged.append(Flag(f"{share} of answers cut at the limit", f"{share} cut", key))
    if lost := counts["summaries_missing"]:
        flagged.append(Flag(f"{lost} personas without their whole summary", f"{lost} summaries lost"))
    if len(found) == 1 and found[0].ci is not None and found[0].users is None:
        flagged.append(OLD_INTERVAL)
    return tuple(flagged)


def answers_of(counts: Mapping[str, int]) -> tuple[int, int]:
    """How many answers there are by a record's counts, and how many of them are cut at the limit."""
    absent = sum(
        number for name, number in counts.items() if name.startswith(f"{MISSING}_") and _of_answers(name)
    )
    return counts.get("samples", 0) - absent, counts.get("truncated", 0)


def _of_answers(name: str) -> bool:
    """Whether a count is of samples without an answer, not of missing verdicts."""
    return name not in ("missing_scores", "missing_second_scores")
