"""The most memory that a piece of work held: on the GPU where there is one, else of this process."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Start anew, where the system can: CUDA and Linux. Elsewhere the peak is that of the process so far."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if CLEAR.exists():
        with suppress(OSError):  # a sandbox may refuse: the peak is then the process's so far
            CLEAR.write_text("5", encoding="ascii")  # proc(5): resets the peak resident set size


def peak_mb() -> int:
    """Megabytes (10^6 bytes) at most since `reset_peak`: allocated by torch on the GPU if it was used, else
    resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated() / 1e6)
    if STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text(encoding="ascii"))
        if found is not None:
            return round(int(found[1]) * 1024 / 1e6)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
