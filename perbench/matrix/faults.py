"""Which errors are of the machine, so that trying again may help, and which of the work."""

from __future__ import annotations

import errno
import sys
from typing import Literal

Fault = Literal["transient", "memory", "device"]
TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "ENOLCK", "EREMOTEIO", "ECONNRESET", "ECONNABORTED"),
        *("ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EPIPE"),
    )
    if hasattr(errno, name)
)
"""Errors of a file server or network that may pass."""
TRIES = 3
"""Tries of a cell within one worker."""
FIRST_WAIT = 2.0
"""Seconds before the second try; each further wait is four times as long."""


def wait_before(tries: int) -> float:
    """Seconds to wait after so many tries."""
    return float(FIRST_WAIT * 4 ** (tries - 1))


def fault_of_machine(error: BaseException) -> Fault | None:
    """The kind of an infrastructure fault, also as the cause of another error; None for all others, which
    would come again. "memory" may be gone with other models, "device" only with this process."""
    seen: BaseException | None = error
    while seen is not None:
        if _out_of_memory(seen):
            return "memory"
        if _device(seen):
            return "device"
        if isinstance(seen, OSError) and seen.errno in TRANSIENT:
            return "transient"
        seen = seen.__cause__
    return None


def _out_of_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def _device(error: BaseException) -> bool:
    """After which every further call on the device of this process fails."""
    torch = sys.modules.get("torch")
    kind = getattr(torch, "AcceleratorError", None)
    return (kind is not None and isinstance(error, kind)) or (
        isinstance(error, RuntimeError) and str(error).startswith("CUDA error")
    )
