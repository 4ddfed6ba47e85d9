"""Files and folders that are checked when they are read: each carries the sha256 of what was written.

A seal finds damage (flipped bits, cuts, renames, mixed-up folders), whatever its cause. It is no signature:
who can write a file on purpose can also seal it anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from perbench.cache import content_sha256
from perbench.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.store.files import write_text

MANIFEST = "manifest.json"
SEAL = "seal"
THREADS = 4
"""Files hashed at once: hashing releases the interpreter."""


class Damaged(PerbenchError):
    """A file or folder is not what was written; `faults` names what is wrong, file by file."""

    def __init__(self, faults: list[str], way_out: str) -> None:
        self.faults = faults
        super().__init__(f"{'; '.join(faults)}. {way_out}")


class Unsealed(ValueError):
    """A JSON object without a seal: written by an earlier version, or not by perbench."""


# ---------------------------------------------------------------- one JSON file


def write_sealed(path: Path, value: Mapping[str, Any]) -> str:
    """Replace `path` by a JSON object with the sha256 of its content beside its keys, durably.

    Returns: the seal, 64 hexadecimal digits.
    """
    seal = canonical_digest(value)
    # In ASCII: a text may hold half a surrogate pair, which no encoding but an escape keeps.
    write_text(path, json.dumps({**value, SEAL: seal}, indent=1, allow_nan=False) + "\n")
    return seal


def read_sealed(path: Path, *, seal: str | None = None) -> dict[str, Any]:
    """What `write_sealed` wrote, without the seal. `seal` is what it returned, where that is known: another
    sealed file in its place is a fault.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its content is not what was written; the message says how, without the path.
        Unsealed: a ValueError, where it never had a seal.
    """
    value, found = _opened(path)
    if seal is not None and found != seal:
        raise ValueError("not the file that was written here: its seal is another")
    return value


def _opened(path: Path) -> tuple[dict[str, Any], str]:
    try:
        value = json.loads(path.read_bytes())
        if isinstance(value, dict) and SEAL not in value:
            raise Unsealed("damaged (without a seal)")
        found = value.pop(SEAL) if isinstance(value, dict) else None
        expected = canonical_digest(value)
    except Unsealed:
        raise
    except (ValueError, RecursionError):
        raise ValueError("damaged (not a sealed JSON object)") from None
    if found != expected:
        raise ValueError("damaged (its content does not have the sha256 it names)")
    return value, expected


# ---------------------------------------------------------------- a folder


def seal_folder(folder: Path) -> str:
    """Write `manifest.json`, last: size and sha256 of every file below `folder`, names that begin with a dot
    apart. Files are to be flushed before.

    Returns: the manifest's seal: it stands for the content of the whole folder.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    files = _files(folder)
    with ThreadPoolExecutor(THREADS) as threads:
        digests = list(threads.map(content_sha256, files.values()))
    described = {
        name: {"size": path.stat().st_size, "sha256": digest}
        for (name, path), digest in zip(files.items(), digests, strict=True)
    }
    return write_sealed(folder / MANIFEST, {"files": described})


def faults(
    folder: Path, *, seal: str | None = None, digest: Callable[[Path], str] = content_sha256
) -> list[str]:
    """What is wrong with a sealed folder, a phrase for each file that is missing, damaged or unexpected; an
    empty list when it is intact.

    Args:
        seal: what `seal_folder` returned, where it is known: another sealed folder in its place is a fault.
        digest: how files are hashed: read by this process (the default), or `perbench.cache.file_sha256`.
    """
    if not folder.is_dir():
        return [f"{folder} is missing"]
    try:
        manifest, found_seal = _opened(folder / MANIFEST)
        expected = {str(name): (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        return [f"{folder / MANIFEST} is missing"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return [f"{folder / MANIFEST}: {error}"]
    if seal is not None and found_seal != seal:
        return [f"{folder} is not the folder that was written here: its manifest is another"]
    found = _files(folder)
    wrong = [f"{folder / name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{folder / name} is unexpected" for name in found.keys() - expected.keys() - {MANIFEST}]
    same = sorted(expected.keys() & found.keys())
    with ThreadPoolExecutor(THREADS) as threads:
        differ = threads.map(lambda name: _fault(found[name], *expected[name], digest), same)
        wrong += [fault for fault in differ if fault is not None]
    return sorted(wrong)


def verify(
    folder: Path,
    way_out: str,
    *,
    seal: str | None = None,
    digest: Callable[[Path], str] = content_sha256,
) -> None:
    """Raises:
    Damaged: `faults` finds any; the message ends on `way_out`, a sentence.
    """
    if found := faults(folder, seal=seal, digest=digest):
        raise Damaged(found, way_out)


def seal_of(folder: Path) -> str:
    """The seal in a folder's manifest.

    Raises:
        FileNotFoundError, ValueError: as `read_sealed`.
    """
    return _opened(folder / MANIFEST)[1]


def _files(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    return {
        name.as_posix(): path
        for name, path in found.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def _fault(path: Path, size: int, sha256: str, digest: Callable[[Path], str]) -> str | None:
    try:
        found = path.stat().st_size
        if found != size:
            return f"{path} is damaged (size {found}, not {size})"
        return None if digest(path) == sha256 else f"{path} is damaged (its sha256 differs)"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
