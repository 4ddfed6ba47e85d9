"""What the page and the terminal show, as plain data: records in, no markup out."""

from __future__ import annotations

from dataclasses import dataclass

from perbench.site.apart import Variant, tell_apart
from perbench.site.dialogue import Turns, turn_tables
from perbench.site.identification import Section, identification
from perbench.site.load import Entry, Loaded
from perbench.site.transfer import Matrix, transfer
from perbench.store import CellRecord


@dataclass(frozen=True)
class View:
    """`newest` is the latest `finished` of all records: the page's only date. `entries` are in page
    order; `superseded` names the records that are not shown."""

    matrix: Matrix
    turns: tuple[Turns, ...]
    identification: tuple[Section, ...]
    entries: tuple[Entry, ...]
    models: tuple[tuple[str, str | None], ...]
    runs: tuple[str, ...]
    summaries: tuple[str, ...]
    superseded: tuple[str, ...]
    newest: str
    damaged: tuple[str, ...] = ()
    """What is left out because it is not as perbench left it."""
    unverifiable: int = 0
    """Records without digests."""

    @property
    def failed(self) -> int:
        return sum(entry.record.status == "failed" for entry in self.entries)


def build_view(loaded: Loaded) -> View:
    """
    Raises:
        PerbenchError: two cells of one target hold the same sample under different users.
    """
    records = [entry.record for entry in loaded.entries]
    matrix = transfer(loaded)
    order = {"train": 0, "eval": 1, "identify": 2}
    entries = sorted(
        loaded.entries,
        key=lambda entry: (order[entry.record.kind], title(entry.record), entry.record.identity),
    )
    return View(
        matrix=matrix,
        turns=turn_tables(matrix),
        identification=identification(loaded.entries),
        entries=tuple(entries),
        models=tuple(sorted({(r.labels.model, r.labels.model_label) for r in records}, key=str)),
        runs=tuple(sorted({entry.run for entry in loaded.entries})),
        summaries=tuple(sorted({spec["summary"] for spec in loaded.matrices if spec.get("summary")})),
        superseded=tuple(_hidden(old, new) for old, new in loaded.superseded),
        newest=max(record.finished for record in records),
        damaged=tuple(sorted({damage.here for damage in loaded.damaged})),
        unverifiable=loaded.unverifiable,
    )


def _hidden(old: Entry, new: Entry) -> str:
    """ "ce · fam/read → fam/write · tiny · seed 0, of run a: 8 examples"."""
    variants = [Variant(entry.record.inputs, entry.size, (entry.record.finished,)) for entry in (old, new)]
    return f"{title(old.record)}, of run {old.run}: {tell_apart(variants)[0]}"


def title(record: CellRecord) -> str:
    """A cell's name in words: "perce · embedded/sotu_writing → embedded/dialogue · smollm2-135m · seed 0"."""
    labels = record.labels
    who = labels.identifier or labels.trainer or "base model"
    path = " → ".join(task for task in (labels.source, labels.target) if task)
    return " · ".join(filter(None, (who, path, labels.model, f"seed {labels.seed}")))
