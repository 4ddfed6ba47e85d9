"""Trains a model with a trainer's loss; independent of micro-batches and interruptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perbench.training.loop import FitResult, fit

__all__ = ["FitResult", "fit"]


def __getattr__(name: str) -> Any:  # lazy: plans read only settings
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from perbench.training import loop

    return getattr(loop, name)
