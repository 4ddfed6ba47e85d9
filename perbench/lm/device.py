"""The device that models run on: the machine's accelerator, else the CPU."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device() -> torch.device:
    """The accelerator (CUDA, an Apple GPU, ...), else the CPU. It has no index: torch's current device is
    this process's own once `processes.group()` was called."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found if found is not None else torch.device("cpu")


def free() -> None:
    """Drop unreachable tensors, and return cached memory to the accelerator."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.get_device_module(device()).empty_cache()
