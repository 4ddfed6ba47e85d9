"""Prepares and loads WordNet for METEOR, from the user cache (`perbench data prepare wordnet`)."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from perbench.disk.digests import content_sha256
from perbench.disk.folder import cache_dir
from perbench.disk.locks import locked
from perbench.errors import MetricAbsent, PerbenchError
from perbench.progress import Progress

COMMAND = "perbench data prepare wordnet"
DEBIAN = Path("/usr/share/wordnet")
WAY_OUT = (
    f"install it with `apt-get install wordnet-base wordnet-sense-index` and run `{COMMAND}`, or name a "
    f"folder or zip file of WordNet 3.0's dict files: `{COMMAND} --from PATH`"
)

PARTS = ("noun", "verb", "adj", "adv")
FILES = (
    "cntlist.rev",
    "index.sense",
    *(f"{kind}.{part}" for kind in ("index", "data") for part in PARTS),
    *(f"{part}.exc" for part in PARTS),
)
"""What NLTK's reader opens, besides lexnames."""
SEAL = "sha256"
"""The file with the sha256 over all others."""

NOUN_TOPICS = (
    "Tops act animal artifact attribute body cognition communication event feeling food group location "
    "motive object person phenomenon plant possession process quantity relation shape state substance time"
)
VERB_TOPICS = (
    "body change cognition communication competition consumption contact creation emotion motion perception "
    "possession social stative weather"
)


def lexnames() -> str:
    """The file `lexnames` (lexnames(5WN)), which Debian's packages lack: number, name, part of speech."""
    rows = [("adj.all", 3), ("adj.pert", 3), ("adv.all", 4)]
    rows += [(f"noun.{topic}", 1) for topic in NOUN_TOPICS.split()]
    rows += [(f"verb.{topic}", 2) for topic in VERB_TOPICS.split()]
    rows += [("adj.ppl", 3)]
    return "".join(f"{number:02d}\t{name}\t{part}\n" for number, (name, part) in enumerate(rows))


@dataclass(frozen=True)
class WordNet:
    """NLTK's corpus reader; `digest` is the sha256 over all files, for the metric's signature."""

    reader: Any
    version: str
    digest: str


def folder() -> Path:
    """Its folder in the layout that NLTK expects below an entry of its data path."""
    return cache_dir() / "nltk_data" / "corpora" / "wordnet"


def load() -> WordNet:
    """The prepared WordNet.

    Raises:
        MetricAbsent: it is not prepared, or one of its files is damaged.
    """
    if _digest(folder()) is None:
        state = f"in {folder()} is damaged" if folder().is_dir() else "is not prepared"
        raise MetricAbsent(f"WordNet {state}; run `{COMMAND}`")
    return _load(folder())


@lru_cache(maxsize=1)
def _load(root: Path) -> WordNet:
    import warnings

    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class English(WordNetCorpusReader):  # type: ignore[misc]
        def map_wn(self, version: str = "wordnet") -> None:
            """Skipped: two thirds of the loading time, for languages that METEOR does not use."""

    # NLTK opens only files below its data path.
    data = str(root.parents[1])
    if data not in nltk.data.path:
        nltk.data.path.insert(0, data)
    with warnings.catch_warnings():
        # It warns of missing languages.
        warnings.simplefilter("ignore", UserWarning)
        reader = English(nltk.data.FileSystemPathPointer(str(root)), None)
    # METEOR looks up the same words repeatedly, each time in files.
    reader.synsets = lru_cache(maxsize=None)(reader.synsets)
    return WordNet(reader, str(reader.get_version()), str(_digest(root)))


def prepare(source: Path | None = None) -> Path:
    """Copy WordNet into the user cache, from `source` (a folder or zip file), else from an installed NLTK
    corpus, else from Debian's packages, else by NLTK's downloader. An identical copy is left untouched, so
    that any number of jobs may start with this; a different one is replaced once the copy is complete. If
    another process is preparing it, this waits.

    Raises:
        PerbenchError: it was not found, or is incomplete.
    """
    place = folder()
    place.parent.mkdir(parents=True, exist_ok=True)

    def wait(_: IO[str]) -> None:
        Progress(0).say("WordNet is being prepared by another process; waiting for it to finish")

    with (
        locked(place.with_name(".wordnet.lock"), wait),
        tempfile.TemporaryDirectory(dir=place.parent, prefix=".wordnet-") as draft,
    ):
        origin = source if source is not None else _find(Path(draft))
        built = Path(draft) / "wordnet"
        _build(origin, built)
        if _digest(place) != _digest(built):
            if place.exists():
                os.replace(place, Path(draft) / "old")
            os.replace(built, place)
    _load.cache_clear()
    return place


def _build(origin: Path, built: Path) -> None:
    built.mkdir()
    _copy(origin, built)
    missing = [name for name in FILES if not (built / name).is_file()]
    if missing:
        raise PerbenchError(f"{origin} is not a complete WordNet: {', '.join(missing)} missing; {WAY_OUT}")
    if not (built / "lexnames").is_file():
        (built / "lexnames").write_text(lexnames(), encoding="ascii")
    (built / SEAL).write_text(_content(built) + "\n", encoding="ascii")


def _digest(root: Path) -> str | None:
    """The sha256 over all files in `root`; None if it is not the one written by `_build`."""
    if not (root / SEAL).is_file():
        return None
    found = _content(root)
    return found if (root / SEAL).read_bytes() == f"{found}\n".encode() else None


def _content(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.iterdir()):
        if path.name != SEAL and path.is_file() and not path.name.startswith("."):
            digest.update(path.name.encode() + b"\0" + bytes.fromhex(content_sha256(path)))
    return digest.hexdigest()


def _find(draft: Path) -> Path:
    import nltk

    for place in nltk.data.path:
        for name in ("wordnet", "wordnet.zip"):
            found = Path(place) / "corpora" / name
            if found.exists():
                return found
    if DEBIAN.is_dir():
        return DEBIAN
    if nltk.download("wordnet", download_dir=str(draft / "nltk"), quiet=True):
        return draft / "nltk" / "corpora" / "wordnet.zip"
    raise PerbenchError(
        f"WordNet is neither in NLTK's data nor at {DEBIAN}, and could not be downloaded; {WAY_OUT}"
    )


def _copy(origin: Path, target: Path) -> None:
    wanted = {*FILES, "lexnames"}
    if origin.is_dir():
        for path in sorted(origin.rglob("*")):
            if path.name in wanted and path.is_file():
                shutil.copyfile(path, target / path.name)
    elif zipfile.is_zipfile(origin):
        with zipfile.ZipFile(origin) as archive:
            for entry in archive.infolist():
                name = entry.filename.rpartition("/")[2]
                if name in wanted:
                    (target / name).write_bytes(archive.read(entry))
    else:
        raise PerbenchError(f"{origin} is neither a folder nor a zip file; {WAY_OUT}")
