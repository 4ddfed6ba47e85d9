"""Downloads files of public repositories at one commit: resumable, checked, and atomic.

A file is written as NAME.part and renamed once its checksum matches.
"""

from __future__ import annotations

import fnmatch
import hashlib
import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from perbench.api import Remote
from perbench.disk.files import write_json
from perbench.disk.folder import cache_dir
from perbench.disk.locks import locked
from perbench.errors import PerbenchError
from perbench.progress import Progress

if TYPE_CHECKING:
    from perbench.progress import Tick

GITHUB = "https://raw.githubusercontent.com"
HUGGINGFACE = "https://huggingface.co"
WEB = "https:/"
NO_COMMIT = "unversioned"
"""In place of a commit, of files without one."""
TIMEOUT = 30
"""Seconds without a byte after which a connection counts as lost."""
ATTEMPTS = 3
"""Connections per file; each resumes where the previous one broke off."""
CHUNK = 1 << 18
LOST = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
"""Exceptions of a lost or refused connection."""
LISTING = ".listing.json"
"""The hub's file list of a commit, so that a complete download needs no network."""
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Listed:
    """A file at a commit: its URL and expected checksum."""

    path: str
    url: str
    checksum: str | None


def fetch(remote: Remote, revision: str | None) -> tuple[str, Path]:
    """Download a remote's missing files into the user cache. If another process is doing so, this waits.

    Args:
        revision: the commit, on Hugging Face also a branch or tag; None for the remote's own, else the
            newest.

    Returns: the commit, and the folder of the files.

    Raises:
        PerbenchError: the host is unreachable or lacks a file, or a checksum differs.
    """
    commit, files = _list(remote, revision or remote.revision)
    folder = _folder(remote, commit)
    if not _missing(files, folder):
        return commit, folder  # without the lock, which needs a writable cache
    folder.mkdir(parents=True, exist_ok=True)

    def wait(_: IO[str]) -> None:
        name = f"{remote.repository} at {commit}"
        Progress(0).say(f"{name} is being fetched by another process; waiting for it to finish")

    with locked(folder / ".lock", wait):
        missing = _missing(files, folder)
        progress = Progress(len(missing))
        with progress.shown():
            for file in missing:
                with progress.cell(f"fetch {file.path}") as tick:
                    _download(file, folder / file.path, tick)
    return commit, folder


def _missing(files: Sequence[Listed], folder: Path) -> list[Listed]:
    return [file for file in files if not (folder / file.path).is_file()]


def _folder(remote: Remote, commit: str) -> Path:
    return cache_dir() / "downloads" / f"{remote.host}--{remote.repository.replace('/', '--')}" / commit


def checksum(path: Path, kind: str) -> str:
    """A file's checksum with its kind, "sha256" or "git" (git's blob id), as prefix."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size) if kind == "git" else hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"


# ---------------------------------------------------------------- file lists


def _list(remote: Remote, revision: str | None) -> tuple[str, list[Listed]]:
    if remote.host == "web":
        if revision not in (None, NO_COMMIT):
            raise PerbenchError(f"{remote.repository} has no commits; remove --revision")
        base = f"{WEB}/{remote.repository}"
        files = [Listed(path, f"{base}/{quote(path)}", known) for path, known in remote.files.items()]
        return NO_COMMIT, files
    if remote.host == "github":
        if revision is None or not COMMIT.fullmatch(revision):
            raise PerbenchError(f"{remote.repository}: name a whole commit of 40 digits, not {revision!r}")
        pinned = revision == remote.revision
        files = [
            Listed(path, f"{GITHUB}/{remote.repository}/{revision}/{quote(path)}", known if pinned else None)
            for path, known in remote.files.items()
        ]
        return revision, files
    return _list_hub(remote, revision or "main")


def _list_hub(remote: Remote, revision: str) -> tuple[str, list[Listed]]:
    host = os.environ.get("HF_ENDPOINT", HUGGINGFACE).rstrip("/")
    known = _folder(remote, revision) / LISTING
    if known.is_file():
        return revision, [Listed(**entry) for entry in json.loads(known.read_text(encoding="utf-8"))]
    place = f"{host}/api/datasets/{remote.repository}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        with _open(place, {}) as answer:
            text = answer.read()
    except LOST as error:
        raise _unreachable(place, error) from None
    try:
        found = json.loads(text)
        commit = found["sha"]
        listed = {entry["rfilename"]: entry for entry in found["siblings"]}
    except (ValueError, KeyError, TypeError):
        raise PerbenchError(
            f"{place}: not a file list of a dataset; try again later, or use --from PATH"
        ) from None
    files = []
    for pattern in remote.files:
        paths = sorted(fnmatch.filter(listed, pattern))
        if not paths:
            raise PerbenchError(
                f"{remote.repository} at {commit} has no file {pattern}, only {', '.join(listed)[:500]}; "
                f"name an earlier commit by --revision, or local files by --from PATH"
            )
        for path in paths:
            url = f"{host}/datasets/{remote.repository}/resolve/{commit}/{quote(path)}"
            files.append(Listed(path, url, _hub_checksum(listed[path])))
    known = _folder(remote, commit) / LISTING
    known.parent.mkdir(parents=True, exist_ok=True)
    write_json(known, [asdict(file) for file in files])
    return commit, files


def _hub_checksum(entry: Mapping[str, Any]) -> str | None:
    """Large files are listed with their sha256, others with git's blob id."""
    large = entry.get("lfs")
    if large:
        return f"sha256:{large['sha256']}"
    return f"git:{entry['blobId']}" if "blobId" in entry else None


# ---------------------------------------------------------------- one file


def _download(file: Listed, target: Path, tick: Tick) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _append(file.url, part, tick)
            break
        except LOST as error:
            if attempt == ATTEMPTS:
                raise _unreachable(file.url, error) from None
    if file.checksum is not None:
        found = checksum(part, file.checksum.partition(":")[0])
        if found != file.checksum:
            part.unlink()
            raise PerbenchError(
                f"{file.url}: the checksum is {found}, not {file.checksum}; the download was deleted: run "
                f"the command again; if the error persists, the file has changed at its source"
            )
    os.replace(part, target)


def _append(url: str, part: Path, tick: Tick) -> None:
    """Download the rest of a file, or all of it if the server does not support ranges."""
    have = part.stat().st_size if part.exists() else 0
    with _open(url, {"Range": f"bytes={have}-"} if have else {}) as answer:
        if answer.status == 416:
            return
        if answer.headers.get_content_type() == "text/html":  # a page about an error, sent as a file
            raise PerbenchError(
                f"{url} is a web page, not a file of data; the file may have moved: use local files: --from "
                "PATH"
            )
        if answer.status != 206:
            have = 0
        left = answer.headers.get("Content-Length")
        total = have + int(left) if left is not None else None
        with part.open("ab" if have else "wb") as out:
            while chunk := answer.read(CHUNK):
                out.write(chunk)
                have += len(chunk)
                tick(have // 1024, (total or have) // 1024, {})
            out.flush()
            os.fsync(out.fileno())
    if total is not None and have < total:
        raise ConnectionError(f"the connection broke off after {have} of {total} bytes")


def _open(url: str, headers: Mapping[str, str]) -> Any:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise PerbenchError(
            f"{url}: HF_HUB_OFFLINE is set, so nothing is downloaded; use local files: --from PATH"
        )
    request = urllib.request.Request(url, headers={"User-Agent": "perbench", **headers})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the file is complete
            return error
        if error.code >= 500:
            raise ConnectionError(f"HTTP {error.code} {error.reason}") from None
        raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> PerbenchError:
    reason = getattr(error, "reason", None) or error
    if isinstance(error, urllib.error.HTTPError):
        reason = f"HTTP {error.code} {error.reason}"
    return PerbenchError(
        f"{url} cannot be downloaded: {reason}; run the same command again to resume, or without a network, "
        f"name a folder of the same files: --from PATH"
    )
