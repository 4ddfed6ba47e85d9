"""Dialogues through a real llama.cpp server with faults in between: benchmarks/endpoint_faults.py, small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "endpoint_faults.py"


@pytest.mark.skipif(
    sys.platform != "linux", reason="xllamacpp, among the extra dev there, has wheels for Linux"
)
def test_it_finishes_counts_rightly_and_pays_nothing_twice() -> None:
    words = [sys.executable, SCRIPT, "--turns", "2", "--people", "2", "--every", "3", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert all(found["checks"].values())
    assert found["samples"] == 4
    assert {"429", "500", "no number", "truncated JSON"} <= found["faults"].keys()
    assert found["use"]["requests"] > found["use"]["answers"] >= 12
