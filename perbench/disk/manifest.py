"""Folders with a sealed manifest of the sha256 of every file, checked when read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perbench.disk.digests import content_sha256
from perbench.disk.sealed import open_sealed, write_sealed
from perbench.errors import PerbenchError

MANIFEST = "manifest.json"
THREADS = 4
"""Files hashed concurrently: hashing releases the GIL."""


class Damaged(PerbenchError):
    """A file or folder differs from what was written; `faults` lists the problems by file."""

    def __init__(self, faults: list[str], way_out: str) -> None:
        self.faults = faults
        super().__init__(f"{'; '.join(faults)}; {way_out}")


def seal_folder(folder: Path) -> str:
    """Write `manifest.json`, last: size and sha256 of every file below `folder`, except names that begin with
    a dot. Files must be flushed before.

    Returns: the manifest's seal, which identifies the content of the whole folder.
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
    """What is wrong with a sealed folder: a phrase per missing, damaged or unexpected file; empty if intact.

    Args:
        seal: from `seal_folder`, if known: another sealed folder in its place is a fault.
        digest: how to hash files: `content_sha256`, which reads them, or `file_sha256`.
    """
    if not folder.is_dir():
        return [f"{folder} is missing"]
    try:
        manifest, found_seal = open_sealed(folder / MANIFEST)
        expected = {str(name): (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        return [f"{folder / MANIFEST} is missing"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return [f"{folder / MANIFEST}: {error}"]
    if seal is not None and found_seal != seal:
        return [f"{folder} is not the folder that was written here: its manifest differs"]
    found = _files(folder)
    wrong = [f"{folder / name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{folder / name} is unexpected" for name in found.keys() - expected.keys() - {MANIFEST}]
    same = sorted(expected.keys() & found.keys())
    with ThreadPoolExecutor(THREADS) as threads:
        differ = threads.map(lambda name: _fault(found[name], *expected[name], digest), same)
        wrong += [fault for fault in differ if fault is not None]
    return sorted(wrong)


def verify(folder: Path, way_out: str) -> None:
    """Raise Damaged if `faults` finds any; the message ends with `way_out`, a clause."""
    if found := faults(folder):
        raise Damaged(found, way_out)


def seal_of(folder: Path) -> str:
    """The seal in a folder's manifest.

    Raises:
        FileNotFoundError, ValueError: as `open_sealed`.
    """
    return open_sealed(folder / MANIFEST)[1]


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
