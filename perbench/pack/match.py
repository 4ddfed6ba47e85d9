"""Whether the plugins and tasks of today are those that made the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perbench import plugins
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.matrix.cells import describe
from perbench.matrix.rescore import OtherTask, same_task
from perbench.pack.run import RunFiles
from perbench.store import CellRecord


def check_sources(files: RunFiles, matrices: Mapping[str, Any]) -> None:
    """Compare the plugins and tasks in the records of the latest plans with the files to be packed. What
    cannot be compared, because models are not on this machine, becomes a note.

    Raises:
        PerbenchError: they differ, so nobody could repeat the run from the pack.
    """
    records = [record for record in files.records if record.identity in files.planned]
    faults = [*_methods(records)]
    seen: set[str] = set()
    for record in records:
        key = canonical_digest(record.inputs.get("target"))
        if record.kind == "train" or record.status != "done" or key in seen:
            continue
        seen.add(key)
        try:
            same_task(record, matrices, {})
        except OtherTask as error:
            faults.append(f"[{describe(record.kind, record.labels)}]: {error}")
        except PerbenchError as error:
            files.notes.append(
                f"[{describe(record.kind, record.labels)}]: its task was not compared: {error}"
            )
    if faults:
        raise PerbenchError("\n".join(dict.fromkeys(faults)))


def _methods(records: list[CellRecord]) -> Iterator[str]:
    for record in records:
        for kind in ("trainer", "identifier"):
            made = record.inputs.get(kind)
            if made is None:
                continue
            plugin = plugins.get(kind, made["name"])
            if (digest := plugin.digest()) != made["plugin"]:
                yield (
                    f"{kind} {made['name']} is not the one that made the run: {plugin.path} has sha256 "
                    f"{digest[:12]}…, its cells {made['plugin'][:12]}…; restore it, or run the matrix again"
                )
