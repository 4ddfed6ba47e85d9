"""`perbench data prepare FAMILY`: converts raw files to checked tables and a manifest; resumable.

A table is renamed into place when complete; the manifest is written after each. A rerun repeats only what is
missing, damaged, or made from other files or settings.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from perbench import __version__, plugins
from perbench.contracts.family import DatasetBuilder
from perbench.data.prepared import MANIFEST, prepared_folder, read_manifest
from perbench.disk.digests import canonical_digest, read_sha256
from perbench.disk.files import write_json
from perbench.disk.locks import locked
from perbench.errors import PerbenchError, suggest
from perbench.prepare.fetch import checksum, fetch
from perbench.prepare.lengths import lengths, readers
from perbench.prepare.raw import Missing, RawFiles
from perbench.prepare.tables import TableMaker
from perbench.progress import Progress


@dataclass(frozen=True)
class Request:
    """What to prepare. `source`: a local folder instead of the remotes; `revisions`: commits by repository,
    "" for the only one; `sample`: maximum rows of a train split, a quarter of it for any other (PerCE: 2,000
    and 500), drawn by `seed`."""

    family: str
    source: Path | None = None
    out: Path | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)
    sample: int | None = None
    seed: int = 0
    command: str = ""


def prepare(request: Request) -> tuple[Path, dict[str, Any]]:
    """Make the missing tables of a family.

    Returns: the folder, and its manifest.

    Raises:
        PerbenchError: an unknown family, an unreachable host, a missing file, a local folder with none of the
            family's, a wrong checksum, a table without rows, a folder in use.
        SpecError: raw rows that are not JSON or do not match the family's shape, by file and line.
    """
    plugin = plugins.get("family", request.family)
    family = plugin.load_class()()
    assert isinstance(family, DatasetBuilder), "the kind family has this base"
    out = request.out if request.out is not None else prepared_folder(plugin.name)
    with _locked(out):
        manifest = read_manifest(out)
        if manifest.get("family", plugin.name) != plugin.name:
            raise PerbenchError(
                f"{out} holds the family {manifest['family']}; name another folder: --out DIR"
            )
        folders, origin = _source(family, request, manifest.get("origin", {}))
        made_by = {"plugin": _code(family), "sample": request.sample, "seed": request.seed}
        if request.sample is None:
            del made_by["seed"]
        maker = TableMaker(
            family,
            folders,
            out,
            settings=canonical_digest(made_by),
            sample=request.sample,
            seed=request.seed,
        )
        known = manifest.get("tables", {})
        manifest = {
            "family": plugin.name,
            "origin": origin,
            "complete": False,
            "command": request.command,
            "perbench": __version__,
            "sample": made_by.get("sample") and {"rows": request.sample, "seed": request.seed},
            "tables": {name: known[name] for name in family.tables if name in known},
            "absent": {},
            **{key: manifest[key] for key in ("lengths_of", "length_unit", "lengths") if key in manifest},
        }
        todo = [
            name for name in family.tables if name not in known or not maker.is_current(name, known[name])
        ]
        progress = Progress(len(todo))
        with progress.shown():
            for name in todo:
                manifest["tables"].pop(name, None)
                try:
                    with progress.cell(name) as tick:
                        manifest["tables"][name] = maker.make(name, tick)
                except Missing as missing:
                    if request.source is None:
                        raise
                    manifest["absent"][name] = str(missing)
                write_json(out / MANIFEST, manifest)
        read = any(digest for table in manifest["tables"].values() for digest in table["inputs"].values())
        if not manifest["tables"] or (manifest["absent"] and not read):
            reasons = "\n  ".join(dict.fromkeys(manifest["absent"].values()))
            raise PerbenchError(f"no file of the family {plugin.name} is in {request.source}:\n  {reasons}")
        manifest["specs"] = maker.specs()
        manifest["official"] = request.source is None or _official(family, manifest["tables"], folders)
        manifest["digest"] = canonical_digest(
            {name: table["sha256"] for name, table in manifest["tables"].items()}
        )
        manifest["complete"] = True
        write_json(out / MANIFEST, manifest)
    return out, manifest


def describe(out: Path, manifest: Mapping[str, Any], tokenizer: Any, unit: str) -> dict[str, Any]:
    """The manifest with the lengths of the prompts, in the tokenizer's units, which are stored and measured
    again only if rows, tasks or units change."""
    tasks = readers(manifest["family"], out)
    data = {"data_dir"}  # machine-dependent, without effect on lengths
    specs = {name: task.spec.model_dump(mode="json", exclude={"data": data}) for name, task in tasks.items()}
    key = canonical_digest([manifest["digest"], unit, specs])
    if manifest.get("lengths_of") == key:
        return dict(manifest)
    progress = Progress(1)
    with progress.shown(), progress.cell("lengths of the prompts") as tick:
        found = lengths(tasks, tokenizer, tick)
    described = {**manifest, "lengths_of": key, "length_unit": unit, "lengths": found}
    with _locked(out):
        write_json(out / MANIFEST, described)
    return described


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Lock the folder."""

    def busy(_: IO[str]) -> None:
        raise PerbenchError(f"{out} is being prepared by another process; wait for it") from None

    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(out / ".lock", busy))
        except OSError as error:
            raise PerbenchError(
                f"{out} cannot be written as a folder ({error.strerror}); name another: --out DIR"
            ) from None
        yield


def _code(family: DatasetBuilder) -> str | list[str]:
    """sha256 of the family's file, and of those of families that it extends."""
    own = [
        cls for cls in type(family).__mro__ if issubclass(cls, DatasetBuilder) and cls is not DatasetBuilder
    ]
    digests = [read_sha256(Path(inspect.getfile(cls))) for cls in own]
    return digests if len(digests) > 1 else digests[0]


# ---------------------------------------------------------------- raw files


def _source(
    family: DatasetBuilder, request: Request, known: Mapping[str, Any]
) -> tuple[list[Path], dict[str, Any]]:
    """The folders of the raw files, and their origin for the manifest."""
    if request.source is not None:
        if not request.source.is_dir():
            wrong = "is a file; name its folder" if request.source.exists() else "no such folder"
            raise PerbenchError(f"--from {request.source}: {wrong}")
        if request.revisions:
            raise PerbenchError("--revision applies to downloads only; remove it, or --from")
        return [request.source], {"local": request.source.name}
    _check_revisions(family, request.revisions)
    folders, origin = [], {}
    for remote in family.remotes:
        name = f"{remote.host}:{remote.repository}"
        given = request.revisions.get(remote.repository, request.revisions.get(""))
        # Pinned by the first download: a folder never mixes two commits.
        pinned = known.get(name)
        commit, folder = fetch(remote, given or pinned)
        if pinned is not None and commit != pinned:
            raise PerbenchError(
                f"--revision {given}: this folder holds data of {name} at {pinned}; name another: --out DIR"
            )
        folders.append(folder)
        origin[name] = commit
    return folders, origin


def _check_revisions(family: DatasetBuilder, revisions: Mapping[str, str]) -> None:
    repositories = [remote.repository for remote in family.remotes]
    for name in revisions:
        if name == "" and len(repositories) > 1:
            choices = " or ".join(f"--revision {repository}=COMMIT" for repository in repositories)
            raise PerbenchError(f"the family has several repositories; name one: {choices}")
        if name and name not in repositories:
            raise PerbenchError(f"--revision {name}=…: no such repository.{suggest(name, repositories)}")


def _official(family: DatasetBuilder, tables: Mapping[str, Any], folders: list[Path]) -> bool | None:
    """Whether local files are the published ones: every checksum is the one known to the family (True), one
    differs (False), or one is unknown or none was read (None)."""
    published = {path: known for remote in family.remotes for path, known in remote.files.items()}
    raw = RawFiles(folders)
    verdicts: set[bool | None] = set()
    for name in {name for table in tables.values() for name, digest in table["inputs"].items() if digest}:
        path = raw.path(name)
        known = [value for place, value in published.items() if f"/{place}".endswith(f"/{name}")]
        if path is None or not known or None in known:
            verdicts.add(None)
        else:
            verdicts.add(any(value == checksum(path, value.partition(":")[0]) for value in known if value))
    return False if False in verdicts else True if verdicts == {True} else None
