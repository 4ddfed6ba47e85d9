"""Samples under users' own adapters: which adapter made each is stored, counted and noted.

After a training with users' own adapters, an evaluation on the source task serves each user's examples with
that user's adapter, and those of users without one with the adapter of the task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

OWN: Final = "own_adapter"
"""The key of a stored sample: whether the user's own adapter made it; absent where no user has one."""


def mark(samples: Sequence[Any], users: object, user: str | None) -> None:
    """Store who made the samples: `users` are those with adapters, None without; `user` the one served."""
    if users is not None:
        for sample in samples:
            sample[OWN] = user is not None


def counts(samples: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The counts for a record; empty where no user has an adapter."""
    own = _own(samples)
    return {OWN: sum(own), "task_adapter": len(own) - sum(own)} if own else {}


def notes(samples: Sequence[Mapping[str, Any]], what: str) -> list[str]:
    """A note if not all are by their user's own adapter; `what` they are, as "answers"."""
    own = _own(samples)
    others = len(own) - sum(own)
    return [f"{others} of {len(own)} {what} by no adapter of the user's own"] if others else []


def _own(samples: Sequence[Mapping[str, Any]]) -> list[bool]:
    return [sample[OWN] for sample in samples if OWN in sample]
