"""An evaluation of endpoints alone imports nothing that loads a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.engines.far import write_root
from tests.engines.standin import Server
from tests.processes import ROOT

HEAVY = """
import json, sys
from perbench.cli import main
from perbench.engines.openai.wire import Wire

heavy = {"torch", "transformers", "peft", "accelerate", "numpy", "scipy", "pandas", "nltk", "datasets"}
found = {}
post = Wire.post
def first(*words):
    found.setdefault("start", sorted(heavy & set(sys.modules)))
    return post(*words)

Wire.post = first
code = main(sys.argv[1:])
found["end"] = sorted({"torch", "transformers", "peft", "accelerate"} & set(sys.modules))
print(json.dumps([code, found]), file=sys.stderr)
"""


def test_an_evaluation_of_an_endpoint_imports_no_torch(server: Server, tmp_path: Path) -> None:
    words = write_root(tmp_path / "root", server.address, ["hi", "ho"])
    done = subprocess.run(
        [sys.executable, "-c", HEAVY, *words, "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "PERBENCH_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stderr.splitlines()[-1]) == [0, {"start": [], "end": []}], done.stderr
    assert len(server.requests) == 2
