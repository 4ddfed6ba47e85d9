"""Batches of padded sequences under a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices grouped so that a group's padded size, members times longest, stays within `token_budget` (one
    that exceeds it alone stands alone). Longest first, ties in order: the same input gives the same
    groups."""
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not groups or (len(groups[-1]) + 1) * longest > token_budget:
            groups.append([])
            longest = lengths[index]
        groups[-1].append(index)
    return groups
