"""The dtype that `dtype: auto` stands for on this machine; known without torch, since plans hold it."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Native = Literal["bfloat16", "float32"]
USUAL: Native = "bfloat16"
"""Left out of identities, as it was before they held the dtype."""
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
CPU_FLAGS = frozenset({"avx512_bf16", "amx_tile"})
CAPABILITY = """
import ctypes
cuda, found = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
assert cuda.cuInit(0) == 0
assert cuda.cuDeviceGetAttribute(ctypes.byref(found), 75, 0) == 0
print(found.value)
"""
"""Prints the major compute capability of the first visible GPU. CUDA stays out of this process: those forked
from it could not use it."""


@cache
def native() -> Native:
    """bfloat16 if the device computes it natively (CUDA from capability 8, CPUs with AVX512-BF16 or AMX),
    else float32: emulated bfloat16 is slower and less exact."""
    if "torch" not in sys.modules and (known := _without_torch()) is not None:
        return known
    import torch

    if torch.cuda.is_available():
        found = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if found else "float32"


def _without_torch() -> Native | None:
    """None if only torch can tell."""
    try:
        built = version("torch").partition("+")[2]
    except PackageNotFoundError:
        return None
    info = Path("/proc/cpuinfo")
    if built != "cpu" and any(Path(gpu).exists() for gpu in GPUS):
        if built.startswith("rocm"):
            return None
        code = [sys.executable, "-S", "-c", CAPABILITY]
        done = subprocess.run(code, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return "bfloat16" if int(done.stdout) >= 8 else "float32"
        return None
    if not info.is_file():
        return None
    flags = next((line for line in info.read_text().splitlines() if line.startswith("flags")), "")
    return "bfloat16" if CPU_FLAGS & {*flags.split()} else "float32"
