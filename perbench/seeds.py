"""Seeds for the parts of a run, independent of interruptions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from perbench.disk.digests import canonical_text

UTF8 = ("utf-8", "surrogatepass")


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**60) that depends only on the parts: not on order of execution, process or platform."""
    *first, last = parts
    return derive_seeds(first, [last])[0]


def derive_seeds(first: Iterable[int | str], last: Iterable[int | str]) -> list[int]:
    """`derive_seed(*first, one)` for each one of `last`."""
    begun = hashlib.sha256(f"[{''.join(f'{canonical_text(part)},' for part in first)}".encode(*UTF8))
    found = []
    for one in last:
        whole = begun.copy()
        whole.update(f"{canonical_text(one)}]".encode(*UTF8))
        found.append(int(whole.hexdigest()[:15], 16))
    return found
