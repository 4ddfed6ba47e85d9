"""Where models run: the machine's accelerator, whatever its kind, else the CPU."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device() -> torch.device:
    """The accelerator (CUDA, an Apple GPU, ...), without an index: torch's current one, which is this
    process's own once `processes.group()` was asked. Else the CPU."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found if found is not None else torch.device("cpu")


def free() -> None:
    """Drop unreachable tensors, and give back to the accelerator what they and failed computations held."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.get_device_module(device()).empty_cache()
