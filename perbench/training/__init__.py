"""Training one model under one loss, exact under any split into micro-batches and any interruption."""

from perbench.training.loop import FitResult, fit

__all__ = ["FitResult", "fit"]
