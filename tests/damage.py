"""Damages of a file, as disks, kills, and hands do them. Each says whether anything changed."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from perbench.disk.cache import DiskCache


def flip(path: Path, chance: random.Random) -> bool:
    """One bit."""
    content = bytearray(path.read_bytes())
    if not content:
        return False
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return True


def zero(path: Path, chance: random.Random) -> bool:
    """A stretch of zeros, as of a lost page."""
    content = bytearray(path.read_bytes())
    start = chance.randrange(len(content) + 1)
    stop = min(len(content), start + 1 + chance.randrange(4096))
    changed = any(content[start:stop])
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)
    return changed


def cut(path: Path, chance: random.Random) -> bool:
    """The end is lost."""
    content = path.read_bytes()
    if not content:
        return False
    path.write_bytes(content[: chance.randrange(len(content))])
    return True


def append(path: Path, chance: random.Random) -> bool:
    """Bytes that do not belong there."""
    path.write_bytes(path.read_bytes() + chance.randbytes(1 + chance.randrange(8)))
    return True


def rename(path: Path, chance: random.Random) -> bool:
    """The name changes."""
    path.rename(path.with_name(f"{path.stem}-{chance.randrange(1000)}{path.suffix}"))
    return True


def remove(path: Path, chance: random.Random) -> bool:
    path.unlink()
    return True


DAMAGES: dict[str, Callable[[Path, random.Random], bool]] = {
    damage.__name__: damage for damage in (flip, zero, cut, append, rename, remove)
}


def flip_entries(cache: DiskCache) -> int:
    """One bit of every value that a cache keeps; how many there are."""
    with closing(sqlite3.connect(cache.path)) as table, table:
        kept = table.execute("SELECT value, key FROM sealed").fetchall()
        damaged = [(value[:-1] + bytes([value[-1] ^ 1]), key) for value, key in kept]
        table.executemany("UPDATE sealed SET value = ? WHERE key = ?", damaged)
    return len(kept)


def damage_run(run: Path, draw: random.Random, among: Callable[[Path], bool] = lambda file: True) -> str:
    """Do one thing to one file; what was done."""
    file = draw.choice([file for file in sorted(run.rglob("*")) if file.is_file() and among(file)])
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    kind = draw.choice(["flip", "cut", "swap", "copy", "remove", "rename", "exchange"])
    twins = [other for other in sorted(run.rglob(file.name)) if other != file and other.is_file()]
    if kind == "rename" or not content:
        file.rename(file.with_name(f"{file.name}.old"))
    elif kind == "exchange" and twins:
        twin = draw.choice(twins)
        file.write_bytes(twin.read_bytes())
        twin.write_bytes(content)
    elif kind in ("swap", "copy", "remove") and len(lines) > 1:
        one, two = draw.sample(range(len(lines)), 2)
        if kind == "swap":
            lines[one], lines[two] = lines[two], lines[one]
        elif kind == "copy":
            lines.insert(two, lines[one])
        else:
            del lines[one]
        file.write_bytes(b"".join(lines))
    elif kind == "cut":
        file.write_bytes(content[: draw.randrange(len(content))])
    else:
        kind, place = "flip", draw.randrange(len(content))
        file.write_bytes(
            content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
        )
    return f"{kind} {file.relative_to(run)}"
