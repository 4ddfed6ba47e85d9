"""Archives: one zip file of many, whose manifest holds the size and sha256 of each.

An archive may come from anybody. Nothing of it is used before its manifest, its names, its sizes and the
digest of what is read have been checked, and nothing is written outside the folder that is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from perbench.disk.files import replacing
from perbench.disk.sealed import DIGEST
from perbench.errors import PerbenchError

MANIFEST = "manifest.json"
MOST_MANIFEST = 32 * 1024**2
"""Bytes of a manifest: 100,000 cells."""
MOST_MEMBERS = 500_000
ALWAYS = 256 * 1024**2
RATIO = 200
"""An archive may unpack to ALWAYS bytes, or to RATIO times its size if that is more: text with many equal
lines shrinks to a hundredth, a bomb to a thousandth."""
BLOCK = 1024**2
STORED = (".safetensors",)
"""Files that compression does not shrink."""
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\\:\ud800-\udfff]")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""


class BadArchive(PerbenchError):
    """An archive that cannot be used; `fault` says why, without the file, and `way_out` what to do."""

    def __init__(self, path: Path, fault: str, way_out: str = "Get it again from whoever made it") -> None:
        self.fault = fault
        super().__init__(f"{path}: {fault}; nothing of it was used. {way_out}")


def name_fault(name: str) -> str | None:
    """Why a name may not be unpacked, or None: only plain relative paths may."""
    parts = name.split("/")
    if not name or name.startswith("/"):
        return "an absolute path"
    if ".." in parts:
        return "a path that leads out of the folder (..)"
    if _ODD.search(name):
        return "a name with control characters, backslashes or colons"
    if any(not part or part == "." or len(part.encode()) > 255 for part in parts) or len(parts) > 20:
        return "not a plain path"
    return None


# ---------------------------------------------------------------- writing


def write_archive(
    path: Path, members: Mapping[str, bytes | Path], described: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Replace `path` by an archive of these members: contents, or files to copy. `described` is the manifest
    without its members. The same content gives the same bytes.

    Returns: size and sha256 of each member.

    Raises:
        PerbenchError: a member's name cannot be unpacked again.
        OSError: from the file system; `path` is then unchanged.
    """
    for name, fault in ((name, name_fault(name)) for name in members):
        if fault is not None:
            raise PerbenchError(f"{name!r} cannot be packed: {fault}; rename the file")
    found: dict[str, dict[str, Any]] = {}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(members):
            found[name] = _add(archive, name, members[name])
        text = json.dumps({**described, "members": found}, indent=1, sort_keys=True, allow_nan=False)
        _add(archive, MANIFEST, text.encode())
    return found


def _add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> dict[str, Any]:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
    size, digest = 0, hashlib.sha256()
    with archive.open(info, "w", force_zip64=True) as target:
        for block in _blocks(content):
            target.write(block)
            digest.update(block)
            size += len(block)
    return {"size": size, "sha256": digest.hexdigest()}


def _blocks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


# ---------------------------------------------------------------- reading


class Archive:
    """An archive to read, whose names and manifest have been checked; a member is checked when it is read.
    `content` is the manifest as it was written, which identifies the whole.

    Args:
        schema: the `schema_version` that is understood.

    Raises:
        BadArchive: it is not an archive of this schema, or not safe to unpack.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, schema: int) -> None:
        self.path = path
        with self._opened() as archive:
            self._infos = self._checked_names(archive)
            self.content = self._manifest(archive)
            self.manifest = self._parsed(schema)
            self.members = self._checked_members()

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            BadArchive: it is not what the manifest says.
        """
        return next(self.read_all([name]))

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """The contents of members, one after the other. Raises as `read`."""
        with self._opened() as archive:
            for name in names:
                yield b"".join(self._content(archive, name))

    def verify(self) -> None:
        """Read every member. Raises as `read`."""
        with self._opened() as archive:
            for name in self.members:
                for _ in self._content(archive, name):
                    pass

    def extract(self, folder: Path, names: Iterable[str], place: Callable[[str], str] = str) -> None:
        """Write members below `folder`, at the relative paths that `place` makes of their names.

        Raises:
            BadArchive: a member is not what the manifest says. Members before it have been written.
            PerbenchError: the disk has no room for them.
        """
        names = list(names)
        folder.mkdir(parents=True, exist_ok=True)
        size, free = sum(self.members[name]["size"] for name in names), shutil.disk_usage(folder).free
        if size > free:
            raise PerbenchError(
                f"{self.path} unpacks to {size:,} bytes, but {folder} has room for {free:,}: free some "
                "space, or write elsewhere: --out DIR"
            )
        with self._opened() as archive:
            for name in names:
                target = folder / place(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    for block in self._content(archive, name):
                        file.write(block)

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        if not self.path.exists():
            raise PerbenchError(f"{self.path}: no such file")
        if not self.path.is_file():
            raise BadArchive(self.path, "not a file", "Name the file of a pack")
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except zipfile.BadZipFile as error:
            raise self._bad(f"cut off, damaged or not an archive at all ({error})") from None
        except (zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, OverflowError) as error:
            raise self._bad(f"damaged ({error})") from None
        except RuntimeError as error:  # zipfile's for a member with a password
            raise self._bad(str(error)) from None

    def _bad(self, fault: str) -> BadArchive:
        return BadArchive(self.path, fault)

    def _checked_names(self, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
        infos = archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise self._bad(f"{len(infos):,} files, more than {MOST_MEMBERS:,}")
        found: dict[str, zipfile.ZipInfo] = {}
        folded: set[str] = set()
        for info in infos:
            fault = name_fault(info.orig_filename) or _info_fault(info)
            if fault is not None:
                raise self._bad(f"{info.orig_filename!r} is {fault}")
            if info.filename.casefold() in folded:  # the same file, on some systems
                raise self._bad(f"{info.filename!r} is in it twice")
            found[info.filename] = info
            folded.add(info.filename.casefold())
        if MANIFEST not in found:
            raise self._bad(f"no {MANIFEST}, so it is not a pack")
        whole, most = sum(info.file_size for info in infos), self._most()
        if whole > most:
            raise self._bad(f"it unpacks to {whole:,} bytes, over {most:,}, the limit for a file of its size")
        return found

    def _most(self) -> int:
        return max(ALWAYS, RATIO * self.path.stat().st_size)

    def _manifest(self, archive: zipfile.ZipFile) -> bytes:
        if self._infos[MANIFEST].file_size > MOST_MANIFEST:
            raise self._bad(f"{MANIFEST} has more than {MOST_MANIFEST:,} bytes")
        return b"".join(_bounded(archive, self._infos[MANIFEST]))

    def _parsed(self, schema: int) -> dict[str, Any]:
        try:
            value = json.loads(self.content, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise self._bad(f"{MANIFEST} is damaged ({error})") from None
        if not isinstance(value, dict):
            raise self._bad(f"{MANIFEST} is damaged (not a JSON object)")
        version = value.get("schema_version")
        if version != schema or isinstance(version, bool):
            raise BadArchive(
                self.path,
                f"{MANIFEST} has schema_version {version!r}, but this perbench reads {schema}",
                "Use the perbench that wrote it",
            )
        return value

    def _checked_members(self) -> dict[str, dict[str, Any]]:
        members = self.manifest.pop("members", None)
        if not isinstance(members, dict) or not all(map(_described, members.values())):
            raise self._bad(f"{MANIFEST} lacks the sizes and digests of its members")
        there = self._infos.keys() - {MANIFEST}
        for names, fault in (
            (members.keys() - there, "missing"),
            (there - members.keys(), f"not listed in {MANIFEST}"),
        ):
            if names:
                raise self._bad(f"{min(names)!r} is {fault}")
        for name, entry in members.items():
            if entry["size"] != self._infos[name].file_size:
                raise self._bad(f"{name!r} has {self._infos[name].file_size:,} bytes, not {entry['size']:,}")
        return members

    def _content(self, archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
        """The blocks of a member. The last one comes after the digest was found right."""
        digest, last = hashlib.sha256(), b""
        for block in _bounded(archive, self._infos[name]):
            digest.update(block)
            yield last
            last = block
        if digest.hexdigest() != self.members[name]["sha256"]:
            raise self._bad(f"{name!r} is not what was packed: its sha256 differs")
        yield last


def _info_fault(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    if kind not in (0, stat.S_IFREG) or info.is_dir():
        return "not a plain file"
    if info.flag_bits & 1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "compressed by a method that packs do not use"
    return None


def _bounded(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """The blocks of a member, whose whole never exceeds the size that it declares."""
    with archive.open(info) as file:
        yield from _read(file)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _described(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"size", "sha256"}
        and type(entry["size"]) is int
        and isinstance(entry["sha256"], str)
        and DIGEST.fullmatch(entry["sha256"]) is not None
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found
