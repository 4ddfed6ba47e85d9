"""A scored text for reading."""

from __future__ import annotations

from dataclasses import replace

from perbench.contracts import adapters, missing
from perbench.contracts.resume import Sample
from perbench.contracts.shown import Shown
from perbench.progress import counted

NOTE = "the user's own text: the model scored it, and wrote nothing"


def shown(found: Shown, sample: Sample) -> Shown:
    """`found` with the text that was scored in place of an answer."""
    if missing.reason(sample) is not None:
        return found
    notes = [*found.notes, NOTE]
    if sample.get("cut"):
        notes.append(f"not scored: the last {counted(sample['cut'], 'token')} (on_too_long: cut)")
    if not sample.get(adapters.OWN, True):
        notes.append("scored without an adapter of the user's own")
    return replace(found, answer=sample["reference"], reference=None, notes=tuple(notes))
