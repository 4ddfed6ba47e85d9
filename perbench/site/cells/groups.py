"""Pages of split sites: one for each trained model, with its evaluations and a file of their samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perbench.contracts.results import Entry
from perbench.disk.digests import read_bytes
from perbench.site.cells.facts import Fact, baseline_trainings, cut, facts, sentence, setting_of, title_of
from perbench.site.cells.places import places_of
from perbench.site.cells.samples import name_of
from perbench.site.format import between, number
from perbench.site.templates import Page
from perbench.site.view import SiteView
from perbench.store import CellRecord
from perbench.store.check import SAMPLES

FOLDER = "samples"


@dataclass(frozen=True)
class CellLine:
    """A cell on its model's page. `gain` is over all seeds, with its interval and test in `test`; `others`
    are its metrics but the headline."""

    entry: Entry
    metric: str
    score: str
    interval: str
    gain: str
    test: str
    others: str
    caveat: str

    @property
    def record(self) -> CellRecord:
        return self.entry.record


@dataclass(frozen=True)
class CellGroup:
    """A trained model, or one as it came: its cells, its training first."""

    entries: Sequence[Entry]
    page: str
    samples: str
    """The file of its samples, "" if there are none here."""

    @property
    def first(self) -> CellRecord:
        return self.entries[0].record

    @cached_property
    def training(self) -> CellRecord | None:
        return self.first if self.first.kind == "train" else None


class GroupPages:
    """As `CellPages`, of sites so large that a page of each sample would take hours. `samples`: whether there
    are files of them."""

    compares = False

    def __init__(self, view: SiteView, *, samples: bool) -> None:
        self._view, self._samples, self._over = view, samples, view.matrix.baseline
        held: dict[tuple[str, ...], list[Entry]] = {}
        for entry in view.entries:
            held.setdefault(_model_of(entry), []).append(entry)
        self.groups = [_group(entries, samples) for entries in held.values()]
        self._address = {
            entry.record.identity: f"cells/{group.page}#c-{entry.record.identity[:16]}"
            for group in self.groups
            for entry in group.entries
        }
        self._places = places_of(view.matrix)
        self._bases = baseline_trainings((entry.record for entry in view.entries), self._over)

    def address(self, record: CellRecord) -> str:
        return self._address[record.identity]

    def files(self, page: Page) -> Iterator[tuple[str, str | bytes]]:
        """The path and content of each file."""
        seeds: dict[str, list[CellGroup]] = {}
        for group in self.groups:
            seeds.setdefault(_apart_from_seed(group.first), []).append(group)
        for group in self.groups:
            others = [one for one in seeds[_apart_from_seed(group.first)] if one is not group]
            yield (
                f"cells/{group.page}",
                page("group.html", "records", root="../", **self._values(group, others)),
            )
            if group.samples:
                yield f"{FOLDER}/{group.samples}", _samples(group)

    def _values(self, group: CellGroup, others: Sequence[CellGroup]) -> dict[str, Any]:
        first, training = group.entries[0], group.training
        base = self._bases.get(setting_of(training)) if training is not None else None
        known: list[Fact] = []
        if training is not None and training.status == "done":
            mine = None if training.labels.trainer == self._over else base
            known = facts(first, None, None, mine, self._over)
        records = [entry.record for entry in group.entries]
        return {
            "group": group,
            "record": group.first,
            "training": training,
            "facts": known,
            "sentence": sentence(group.first)
            if training is not None
            else f"{group.first.labels.model}, not trained",
            "others": others,
            "lines": [self._line(entry) for entry in group.entries if entry.record.kind != "train"],
            "runs": sorted({entry.run for entry in group.entries}),
            "commands": list(dict.fromkeys(record.command for record in records)),
            "notes": list(dict.fromkeys(note for record in records for note in record.notes)),
        }

    def _line(self, entry: Entry) -> CellLine:
        record, place = entry.record, self._places.get(entry.record.identity)
        metric = record.metrics.get(record.headline or "")
        digits = place.column.digits if place is not None else 3
        gain = place.gain(self._over) if place is not None else None
        score = "failed" if record.status == "failed" else "no score"
        if metric is not None and metric.value is not None:
            score = number(metric.value, digits)
        return CellLine(
            entry,
            title_of(record, record.headline) if record.headline else "",
            score,
            between(metric.ci, digits) if metric is not None and metric.ci else "",
            *(gain or ("", "")),
            ", ".join(_others(record)),
            record.error.message if record.error is not None else cut(record),
        )


def _others(record: CellRecord) -> Iterator[str]:
    for name, metric in sorted(record.metrics.items()):
        if name != record.headline:
            yield f"{name} {'none' if metric.value is None else number(metric.value, 3)}"


def _model_of(entry: Entry) -> tuple[str, ...]:
    """Equal for the cells of one model: a training and what it was evaluated on, or a model as it came."""
    record = entry.record
    if trained := record.identity if record.kind == "train" else record.trained_by:
        return (trained,)
    return record.labels.model, record.labels.model_label or "", str(record.labels.seed), entry.run


def _group(entries: Sequence[Entry], samples: bool) -> CellGroup:
    first = entries[0].record
    held = samples and any(entry.folder is not None and entry.samples is not None for entry in entries)
    return CellGroup(entries, name_of(first, 1), f"{first.identity[:16]}.txt" if held else "")


def _apart_from_seed(record: CellRecord) -> str:
    return record.kind + record.labels.model_dump_json(
        exclude={"seed", "target", "identifier", "identifier_params"}
    )


def _samples(group: CellGroup) -> bytes:
    """The stored samples of a model's evaluations: their JSON lines as they are, each with its cell."""
    found: list[bytes] = []
    for entry in group.entries:
        if entry.folder is not None and entry.samples is not None:
            head = f'{{"cell": "{entry.record.identity[:16]}", '.encode()
            lines = read_bytes(entry.folder / SAMPLES)
            found += [head, lines[1:].replace(b"\n{", b"\n" + head)] if lines else []
    return b"".join(found)
