"""Folders that are checked when they are read: a sealed manifest names the sha256 of every file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perbench.disk.digests import content_sha256
from perbench.disk.sealed import open_sealed, write_sealed
from perbench.errors import PerbenchError

MANIFEST = "manifest.json"
THREADS = 4
"""Files hashed at once: hashing releases the interpreter."""


class Damaged(PerbenchError):
    """A file or folder is not what was written; `faults` names what is wrong, file by file."""

    def __init__(self, faults: list[str], way_out: str) -> None:
        self.faults = faults
        super().__init__(f"{'; '.join(faults)}. {way_out}")


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
        digest: how files are hashed: by reading them (the default), or `file_sha256`.
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
        return [f"{folder} is not the folder that was written here: its manifest is another"]
    found = _files(folder)
    wrong = [f"{folder / name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{folder / name} is unexpected" for name in found.keys() - expected.keys() - {MANIFEST}]
    same = sorted(expected.keys() & found.keys())
    with ThreadPoolExecutor(THREADS) as threads:
        differ = threads.map(lambda name: _fault(found[name], *expected[name], digest), same)
        wrong += [fault for fault in differ if fault is not None]
    return sorted(wrong)


def verify(folder: Path, way_out: str) -> None:
    """Raises:
    Damaged: `faults` finds any; the message ends on `way_out`, a sentence.
    """
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
