"""Caveats beside the verdict: how much was run, and what is missing, old or cut short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from perbench.contracts.results import Loaded
from perbench.progress import counted
from perbench.site.flags import MOST_CUT, answers_of
from perbench.site.format import day
from perbench.store import CellRecord


@dataclass(frozen=True)
class Alert:
    """`grave`: shown with every number, in a terminal, too."""

    text: str
    level: Literal["bad", "warn", ""] = ""
    grave: bool = False


def facts(loaded: Loaded) -> str:
    """ "2 models · 4 trainers · 3 sources · 7 targets · 3 seeds · newest 29 Nov 2026"."""
    records = [entry.record for entry in loaded.entries]
    labels = [record.labels for record in records]
    names = ("model", "trainer", "source", "target", "identifier", "seed")
    found = [(name, {str(getattr(one, name)) for one in labels} - {"None"}) for name in names]
    counts = [
        next(iter(values)) if name == "model" and len(values) == 1 else counted(len(values), name)
        for name, values in found
        if values
    ]
    return " · ".join([*counts, f"newest {day(max(record.finished for record in records))}"])


def alerts(loaded: Loaded) -> list[Alert]:
    """Cells that failed, were not run, are from an older plan, or whose answers were cut short."""
    records = [entry.record for entry in loaded.entries]
    found = []
    if failed := sum(record.status == "failed" for record in records):
        found.append(Alert(f"{failed} of {counted(len(records), 'cell')} failed", "bad"))
    if biased := _chosen_on_test(loaded):
        who = "1 model was" if biased == 1 else f"{biased} models were"
        where = f"{who} chosen by test scores on the task trained on"
        found.append(Alert(f"{where}: scores there are biased upward", "bad", grave=True))
    if len(profiles := sorted({name for names in loaded.profiles.values() for name in names})) > 1:
        found.append(
            Alert(f"profiles {', '.join(profiles)} side by side: each row names its own", "bad", grave=True)
        )
    if open_ := sum(one.winner is None for one in loaded.choices):
        found.append(Alert(f"{open_} of {counted(len(loaded.choices), 'selection')} not made"))
    if loaded.waiting:
        found.append(Alert(f"{loaded.waiting} not run"))
    planned = {entry.run for entry in loaded.entries if entry.planned}
    if stale := sum(not entry.planned and entry.run in planned for entry in loaded.entries):
        found.append(Alert(f"{stale} from an older plan"))
    return [*found, *_cut(records)]


def _chosen_on_test(loaded: Loaded) -> int:
    choices = [one for one in loaded.choices if one.on == "test" and one.winner is not None]
    return len(choices)


def _cut(records: Sequence[CellRecord]) -> list[Alert]:
    """Said of all answers if it is so of most cells."""
    found = [answers_of(record.counts) for record in records if "truncated" in record.counts]
    counts = [(answers, cut) for answers, cut in found if answers]
    many = [cut for answers, cut in counts if cut > MOST_CUT * answers]
    if not many:
        return []
    if 2 * len(many) > len(counts):
        answers, cut = (sum(pair[side] for pair in counts) for side in (0, 1))
        return [Alert(f"{cut:,} of {answers:,} answers are cut off at max_new_tokens", "warn")]
    share = f"{100 * MOST_CUT:.0f}%"
    return [Alert(f"{len(many)} with more than {share} of the answers cut off", "warn")]
