"""The most memory that a piece of work held, on the GPU where there is one, else of this process; and keeping
what it freed for the next."""

from __future__ import annotations

import ctypes
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


def keep_freed() -> None:
    """Have glibc hold up to 1 GiB of freed memory for the rest of this process. By default it hands
    activations back to the system after a backward pass and takes a page fault for each 4 kB of them in the
    next: up to 7% of a small model's step on a CPU. Elsewhere than under glibc nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # mallopt(3); setting one stops the other from adapting
        mallopt(mmap_threshold, 2**25)  # its greatest value, which it would adapt to
        mallopt(trim_threshold, 2**30)
