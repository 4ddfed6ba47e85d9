"""Groups padded sequences into batches under a token budget."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices grouped so that a group's padded size, members times longest, stays within `token_budget`; a
    longer sequence is a group of its own. Longest first, ties in order: deterministic."""
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not groups or (len(groups[-1]) + 1) * longest > token_budget:
            groups.append([])
            longest = lengths[index]
        groups[-1].append(index)
    return groups
