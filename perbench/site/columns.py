"""The columns of the matrix: cells of one target with the same task and scoring, which can be compared."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perbench.contracts.results import Entry
from perbench.site.apart import Namesake, key, tell_apart
from perbench.store import CellRecord

ASKED = ("version", "data", "target")
"""Inputs that define the task and its scoring, independent of the model."""


@dataclass(frozen=True)
class ColumnKey:
    """A target with its task definition as JSON and the computation of its headline (`Metric.signature`)."""

    target: str
    asked: str
    headline: str | None
    signature: str

    @property
    def protocol(self) -> str:
        """The name of the task's protocol, "" if its records do not say."""
        target = json.loads(self.asked).get("target")
        return str(target.get("protocol") or "") if isinstance(target, dict) else ""


def asked(record: CellRecord, names: Sequence[str]) -> dict[str, Any]:
    """Inputs that two records must share to be comparable."""
    return {name: record.inputs.get(name) for name in names}


def columns_of(entries: Sequence[Entry], names: Sequence[str] = ASKED) -> dict[str, ColumnKey]:
    """The column of each entry, by identity. Entries without a headline value go into the first column of
    their task definition."""
    same: dict[tuple[str, str], list[CellRecord]] = defaultdict(list)
    texts: dict[str, str] = {}  # thousands of cells have the same target
    for entry in entries:
        inputs = asked(entry.record, names)
        if (alike := repr(inputs)) not in texts:
            texts[alike] = key(inputs)
        same[entry.record.labels.target or "", texts[alike]].append(entry.record)
    found: dict[str, ColumnKey] = {}
    for (target, question), records in same.items():
        headline = _headline(records)
        signatures = {
            record.identity: record.metrics[headline].signature
            for record in records
            if record.status == "done" and headline in record.metrics
        }
        first = min(signatures.values(), default="")
        for record in records:
            signature = signatures.get(record.identity, first)
            found[record.identity] = ColumnKey(target, question, headline, signature)
    return found


def told_apart(held: Mapping[ColumnKey, Sequence[Entry]]) -> dict[ColumnKey, str]:
    """Each column with the words that distinguish it from others of its target."""
    by_target: dict[str, dict[ColumnKey, Sequence[Entry]]] = defaultdict(dict)
    for place, entries in held.items():
        by_target[place.target][place] = entries
    found: dict[ColumnKey, str] = {}
    for places in by_target.values():
        variants = [
            Namesake(
                {**json.loads(place.asked), "signature": place.signature},
                next(filter(None, (entry.size for entry in entries)), None),
                tuple(sorted({entry.run for entry in entries})),
            )
            for place, entries in places.items()
        ]
        found.update(zip(places, tell_apart(variants), strict=True))
    return found


def _headline(records: Sequence[CellRecord]) -> str | None:
    """The headline of the newest record that has one."""
    named = [record for record in records if record.headline]
    return max(named, key=lambda r: (r.status == "done", r.finished, r.identity)).headline if named else None
