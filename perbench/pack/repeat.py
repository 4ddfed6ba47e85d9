"""Repeats a run from its pack: `perbench run --from`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perbench import plugins, processes
from perbench.console.printing import say
from perbench.errors import PerbenchError, suggest
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.options import Options
from perbench.matrix.session import carry_out
from perbench.pack.compare import SHORT, explained, other_plugins, repeated
from perbench.pack.unpack import PACK, unpack
from perbench.progress import counted
from perbench.shapes.base import Named
from perbench.specs import yaml
from perbench.specs.faults import check
from perbench.specs.matrices import matrix_of
from perbench.specs.matrix import MatrixSpec
from perbench.specs.outside import outside
from perbench.specs.rows import task_of
from perbench.store.pack import Pack, PackedMatrix

ROWS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet")
"""Files that are not listed as programs."""
MOST = 100
"""Files that are listed."""


def repeat(pack: Pack, name: str | None, sets: Sequence[str], options: Options) -> int:
    """Unpack into `options.out` unless that was done before, and run a matrix of the pack there. Returns the
    exit code, as `carry_out`.

    The files that the pack brings are executed only if the user includes their folders; without, they are
    listed, and nothing is run.

    Raises:
        BadArchive: the pack is damaged.
        PerbenchError: as `unpack` and `carry_out`; plugins that are not included, or not the pack's.
    """
    packed = _chosen(pack, name)
    group = processes.group()
    with group.agreed():
        if group.main and unpack(pack, options.out, wait=options.wait, notify=say):
            say(f"{pack.path}: unpacked into {options.out}")
    _check_plugins(pack, options.out)
    matrix = _matrix(packed, options.out, sets)
    options = replace(
        options,
        limit=packed.limit if options.limit is None else options.limit,
        train_only=packed.train_only,
    )

    begun = False

    def planned(cells: Sequence[Cell]) -> None:
        nonlocal begun
        begun = True
        for line in explained(pack, cells) if group.main else ():
            say(line)

    try:
        code = carry_out(matrix, options, planned=planned)
    except PerbenchError as error:
        if begun or not (absent := _absent(pack, matrix, options)):
            raise
        raise PerbenchError("\n".join(absent)) from error
    for line in repeated(pack, options.out) if group.main and not options.dry_run else ():
        say(line)
    return code


def _absent(pack: Pack, matrix: Named[MatrixSpec], options: Options) -> list[str]:
    """The models and data that are not on this machine, and how to get the pack's."""
    catalogue = Catalogue(matrix.spec, options.data, options.limit, draft=True)
    expand(matrix.spec, catalogue)
    return [
        *catalogue.unresolved.lines(),
        *dict.fromkeys(
            f"to get the examples of {one.task}: {one.get}"
            for one in pack.manifest.data
            if task_of(one.task) in catalogue.unresolved.tasks
        ),
    ]


def _chosen(pack: Pack, name: str | None) -> PackedMatrix:
    known = {one.name: one for one in pack.manifest.matrices}
    if name is None and len(known) != 1:
        raise PerbenchError(
            f"{pack.path} holds {len(known)} matrices; choose one: --matrix NAME.{suggest('', known)}"
        )
    if name is not None and name not in known:
        raise PerbenchError(f"{pack.path} holds no matrix {name!r}.{suggest(name, known)}")
    return known[name] if name is not None else next(iter(known.values()))


def _check_plugins(pack: Pack, out: Path) -> None:
    """Report plugins that are not the pack's. Code of third parties must be.

    Raises:
        PerbenchError: it is not here, or there is other code of its name.
    """
    here, foreign = plugins.discover(), {(one.kind, one.name) for one in pack.foreign}
    changed, faults, absent = [], [], False
    for one, digest in other_plugins(pack):
        key = one.kind, one.name
        digests = f"{(digest or '')[:SHORT]}… here, {one.sha256[:SHORT]}… in the pack"
        if digest is None:
            absent |= key in foreign
        elif key in foreign and plugins.KINDS[one.kind].base is not None:
            faults.append(
                f"{one.kind} {one.name} is not the pack's: {here[key].path} (sha256 {digests}); leave out "
                "its --include, uninstall its package, or restore the file"
            )
        else:
            changed.append(f"{one.kind} {one.name} ({digests})")
    if changed:
        say(f"not as in the pack, by sha256: {', '.join(changed)}")
    if faults:
        raise PerbenchError("\n".join(faults))
    if absent:
        raise PerbenchError(_unread(pack, out))


def _unread(pack: Pack, out: Path) -> str:
    """What the pack would execute, and how to allow it."""
    kinds = {one.file: f"  {one.kind} {one.name}" for one in pack.foreign}
    files = [name for root in pack.roots for name in pack.names(f"{root}/")]
    code = [name for name in files if not name.endswith(ROWS)]
    lines = [
        f"{pack.path} brings {counted(len(code), 'file')} that are not perbench's, and run as programs with "
        "your rights:",
        *(
            f"  {out / PACK / name}  sha256 {_digest(pack, name)}…{kinds.get(name, '')}"
            for name in code[:MOST]
        ),
        *([f"  and {len(code) - MOST} more in {out / PACK}/plugins"] if len(code) > MOST else []),
        "Nothing was run. Read them; to run with them, include their folders:",
        "  "
        + shlex.join(
            [
                *("perbench", "run", "--from", str(pack.path), "--out", str(out)),
                *(word for root in pack.roots for word in ("--include", str(out / PACK / root))),
            ]
        ),
    ]
    return "\n".join(lines)


def _digest(pack: Pack, name: str) -> str:
    return str(pack.archive.members[name]["sha256"])[:SHORT]


def _matrix(packed: PackedMatrix, out: Path, sets: Sequence[str]) -> Named[MatrixSpec]:
    """
    Raises:
        SpecError: faults of the matrix.
        PerbenchError: it names files or programs, which only the user may.
    """
    path = out / PACK / packed.file
    given = yaml.read(path)
    theirs = check(MatrixSpec, given.data, given.place)[0]
    matrix = matrix_of(packed.name, path, given, sets)
    before = {*outside(theirs if theirs is not None else matrix.spec)}
    for where, value in outside(matrix.spec):
        if (where, value) in before:
            raise PerbenchError(
                f"{path}: {where}: {value}, which may be any file or program of this machine: a pack's "
                f"matrix must not name it, but you may: --set {where}=…"
            )
    return matrix
