"""Groups padded sequences into batches under a token budget, or with little padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


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


def even_groups(lengths: Sequence[int], slack: float) -> list[list[int]]:
    """Indices, longest first, split where a group's padding would exceed `slack` tokens."""
    groups: list[list[int]] = []
    longest, padding = 0, 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        padding += longest - lengths[index]
        if not groups or padding > slack:
            groups.append([])
            longest, padding = lengths[index], 0
        groups[-1].append(index)
    return groups


SLACK = {"cpu": 32.0, "cuda": 512.0}
"""Estimated number of tokens that cost as much as the overhead of another pass, by device."""


def slack(body: nn.Module, device: Any) -> float:
    """Padding worth another pass on this device, in tokens."""
    # Processes that share a model's layers must run the same number of passes.
    shared = any(hasattr(parameter, "full_tensor") for parameter in body.parameters())
    return float("inf") if shared else SLACK.get(device.type, SLACK["cuda"])
