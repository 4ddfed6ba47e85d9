"""Which texts may be in a pack."""

from __future__ import annotations

from perbench.pack.used import UsedTask


def withheld_licence(task: UsedTask | None) -> str | None:
    """The licence that forbids sharing a task's texts; None if they may be shared. `task` is None if it is
    not found any more."""
    if task is None:
        return "unknown, since the task is not found"
    if task.elsewhere:
        return "unknown, since the matrix says where the rows come from"
    spec = task.named.spec
    return spec.license if spec.license.lower().startswith("not stated") else None
