"""Training one model under one loss, exact under any split into micro-batches and any interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perbench.training.loop import FitResult, fit

__all__ = ["FitResult", "fit"]


def __getattr__(name: str) -> Any:  # imported where something is trained: a plan reads settings only
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from perbench.training import loop

    return getattr(loop, name)
