"""Writes a pack of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import perbench
from perbench.disk.archive import write_archive
from perbench.disk.masking import without_paths
from perbench.pack.environment import constraints
from perbench.pack.files import plugin_files
from perbench.pack.match import check_sources
from perbench.pack.matrices import packed_matrices
from perbench.pack.public import public_spec
from perbench.pack.readme import readme
from perbench.pack.run import RunFiles, described, run_files
from perbench.pack.used import Used, used
from perbench.progress import counted
from perbench.specs.compose import source_of
from perbench.store.check import RECORD
from perbench.store.pack import CHECKPOINT, Manifest, PackedData
from perbench.store.rundir import RUN

RESOLVED = "resolved/"


@dataclass(frozen=True)
class Written:
    """A pack that was written."""

    path: Path
    manifest: Manifest
    members: Mapping[str, Mapping[str, Any]]


def write_pack(run: Path, out: Path, *, weights: bool = False) -> Written:
    """Pack a run directory; nothing in it is changed, and the same run gives the same bytes.

    Raises:
        PerbenchError: something that the run used is not found, differs from what made its cells, or is
            damaged.
        OSError: `out` cannot be written.
    """
    found = described(run)
    using = used(found["matrices"])
    local = _folders(using)
    names = {**using.given, **local}
    renamed = {name: _renamed(spec, names) for name, spec in found["matrices"].items()}
    files = run_files(run, {**found, "matrices": renamed}, using, weights=weights)
    files.notes += [
        f"model {name} was a folder; whoever repeats the run gives its place: --set models=[PATH]"
        for name in sorted(set(local.values()))
    ]
    check_sources(files, found["matrices"])
    code = plugin_files(using)
    matrices, specs = packed_matrices(found, renamed, files)
    tasks = {f"{RESOLVED}tasks/{_plain(label)}.json": task.named.spec for label, task in using.tasks.items()}
    models = {f"{RESOLVED}models/{_plain(Path(name).name)}.json": m.spec for name, m in using.models.items()}
    members: dict[str, bytes | Path] = {
        **files.members,
        **code.members,
        **specs,
        **{name: public_spec(spec) for name, spec in {**tasks, **models}.items()},
        "constraints.txt": constraints(files.records, using.models.values(), code.imported).encode(),
    }
    manifest = Manifest(
        run=run.resolve().name,
        perbench=perbench.__version__,
        weights=weights,
        matrices=matrices,
        plugins=code.plugins,
        data=list(_data(files, using, code.get)),
        withheld=files.withheld,
        notes=[*files.notes, *code.notes, *_paths(members)],
    )
    members["README.txt"] = readme(manifest).encode()
    return Written(out, manifest, write_archive(out, members, manifest.model_dump(mode="json")))


def _renamed(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A matrix with these names in place of others, wherever they occur."""

    def rename(value: Any) -> Any:
        if isinstance(value, str):
            return names.get(value, value)
        if isinstance(value, Mapping):
            return {names.get(key, key): rename(inner) for key, inner in value.items()}
        return [rename(inner) for inner in value] if isinstance(value, list) else value

    return {str(key): rename(value) for key, value in spec.items()}


def _folders(using: Used) -> dict[str, str]:
    """The models that were given as local folders: their paths, and their names in records."""
    return {
        given: Path(given).name
        for given, model in using.models.items()
        if model.path is None and model.spec.path is not None
    }


def _data(files: RunFiles, using: Used, there: Mapping[str, str]) -> Iterator[PackedData]:
    """The examples of the latest plans' cells, each set once. `there`: where rows are, by task label."""
    seen = set()
    for record in files.records:
        label = (record.labels.source if record.kind == "train" else record.labels.target) or ""
        if record.identity not in files.planned or record.status != "done" or label not in using.tasks:
            continue
        sets: dict[Literal["train", "test"], str] = {
            "train" if record.kind == "train" else "test": record.inputs["data"]
        }
        if (dev := record.inputs.get("dev")) is not None:
            sets["train"] = dev
        for split, digest in sets.items():
            if (label, split, digest) not in seen:
                seen.add((label, split, digest))
                origin = record.environment.get("data", {})
                get = source_of(using.tasks[label].named.spec.data).get(origin)
                get = get or there.get(label, "no command gets them: ask whoever made the pack")
                yield PackedData(task=label, split=split, digest=digest, origin=origin, get=get)


def _paths(members: Mapping[str, bytes | Path]) -> list[str]:
    """A note on files that name folders of this machine: they are packed as they are."""
    found = []
    for name, content in sorted(members.items()):
        if name.endswith((".yaml", RECORD, RUN)) or (CHECKPOINT in name and name.endswith(".json")):
            text = (content if isinstance(content, bytes) else content.read_bytes()).decode(errors="replace")
            found += [name] if without_paths(text) != text else []
    if not found:
        return []
    names = ", ".join(found[:3])
    return [
        f"{counted(len(found), 'file')} may name folders of this machine: {names}{', …' * (len(found) > 3)}"
    ]


def _plain(name: str) -> str:
    """A name as the name of a file; "/" stays, since the names of tasks are paths."""
    return "/".join(re.sub(r"[^\w.,=() +-]", "_", part) or "_" for part in name.split("/"))
