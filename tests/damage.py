"""Damages of a file, as disks, kills, and hands do them. Each says whether anything changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path


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
