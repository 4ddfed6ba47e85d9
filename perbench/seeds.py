"""Seeds for the parts of a run, independent of interruptions."""

from __future__ import annotations

from perbench.disk.digests import canonical_digest


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**60) that depends only on the parts: not on order of execution, process or platform."""
    return int(canonical_digest(list(parts))[:15], 16)
