"""The matrices of a run, as resolved and as written, and how they were run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perbench import plugins
from perbench.errors import PerbenchError
from perbench.pack.public import as_yaml
from perbench.pack.run import RunFiles
from perbench.specs.matrices import load_matrix
from perbench.store.pack import PackedMatrix


def packed_matrices(
    found: Mapping[str, Any], renamed: Mapping[str, Any], files: RunFiles
) -> tuple[list[PackedMatrix], dict[str, bytes | Path]]:
    """What the manifest says of the matrices in run.json, and their members by place in the pack; `renamed`
    are these matrices with names in place of paths. A file that is missing or has changed becomes a note."""
    kinds = {record.identity: record.kind for record in files.records}
    matrices: list[PackedMatrix] = []
    members: dict[str, bytes | Path] = {}
    for number, (name, spec) in enumerate(sorted(found["matrices"].items()), start=1):
        resolved, written = f"resolved/matrices/{number}.yaml", f"written/matrices/{number}.yaml"
        members[resolved] = as_yaml(renamed[name])
        commands = [entry for entry in found["commands"] if entry["matrix"] == name]
        latest = str(max(commands, key=lambda entry: str(entry["last"]))["command"]) if commands else ""
        options = _options(latest)
        file = _as_written(name, spec, options)
        if file is not None:
            members[written] = file
        elif options.matrix is not None:
            files.notes.append(
                f"matrix {name}: its file is not here or has changed; packed as it was resolved"
            )
        matrices.append(
            PackedMatrix(
                name=name,
                file=resolved,
                written=written if file is not None else None,
                command=latest,
                limit=int(options.limit) if options.limit is not None else None,
                train_only={kinds.get(identity) for identity in found["plans"].get(name, ())} == {"train"},
            )
        )
    return matrices, members


def _as_written(name: str, spec: Mapping[str, Any], options: argparse.Namespace) -> Path | None:
    """The file of a matrix, registered or named by the command in this folder, if it still says the same."""
    given = Path(options.matrix or name)
    registered = plugins.discover("matrix").get(("matrix", options.matrix or name))
    if given.suffix not in (".yaml", ".yml"):
        if options.matrix is None or registered is None:
            return None
        given = registered.path
    try:
        found = load_matrix(given, options.set, spec.get("profile")).spec
    except PerbenchError:
        return None
    return given if found.model_dump(mode="json", by_alias=True) == spec else None


def _options(command: str) -> argparse.Namespace:
    """Those of `perbench run` that say what ran, from its command line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--matrix")
    parser.add_argument("--set", action="append", default=[])
    try:
        return parser.parse_known_args(shlex.split(command))[0]
    except (ValueError, argparse.ArgumentError):
        return argparse.Namespace(limit=None, matrix=None, set=[])
