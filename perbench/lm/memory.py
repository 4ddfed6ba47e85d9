"""Peak memory of the GPU or of this process, and allocator settings that keep freed memory."""

from __future__ import annotations

import ctypes
import re
import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Reset the peak where possible: on CUDA and Linux. Elsewhere it is that of the whole process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if CLEAR.exists():
        with suppress(OSError):  # a sandbox may refuse; the peak is then the whole process's
            CLEAR.write_text("5", encoding="ascii")  # proc(5): resets the peak resident set size


def peak_mb() -> int:
    """Peak megabytes (10^6 bytes) since `reset_peak`: allocated by torch on the GPU if used, else
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
    """Make glibc keep up to 1 GiB of freed memory in this process. By default it returns activations to the
    system after a backward pass and pays a page fault per 4 kB in the next: up to 7% of a small model's step
    on a CPU. No effect without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # mallopt(3); setting one disables both adaptations
        mallopt(mmap_threshold, 2**25)  # the maximum, which it would adapt to
        mallopt(trim_threshold, 2**30)
