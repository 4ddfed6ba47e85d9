"""Processes started together, as on a machine with several devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def torchrun(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Two processes on the CPU (gloo) under torchrun, ended after four minutes."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *words]
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **quiet},
    )
