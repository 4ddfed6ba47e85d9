"""Benchmarks in their small forms: they run, their contenders agree, and they write what they promise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "benchmarks"


def run(name: str, *words: str, at: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PERBENCH_CACHE": str(at / "cache")}
    command = [sys.executable, str(FOLDER / name), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=at)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_matrix_writes_what_the_scripts_write_and_loads_each_model_once(tmp_path: Path) -> None:
    sizes = ["--examples", "3", "--new-tokens", "5", "--persona-tokens", "40"]
    found = json.loads(run("matrix.py", "--tiny", "--json", "--rounds", "1", *sizes, at=tmp_path))
    assert found["cells"] == 8
    assert found["answers"] == 24
    assert found["differing"] == {"naive": 0, "usual": 0}
    loads = {name: one["loads"] for name, one in found["contenders"].items()}
    assert loads == {"naive": 8, "usual": 2, "perbench": 2}
    assert found["times_as_fast"].keys() == {"naive", "usual"}
    assert all(ratio > 0 for one in found["times_as_fast"].values() for ratio in one.values())


def test_the_gpu_check_in_its_small_form(tmp_path: Path) -> None:
    printed = run("gpu_check.py", "--small", "--out", "found", at=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert printed.endswith((tmp_path / "found.md").read_text() + "\n")
    assert found["machine"]["command"].endswith("gpu_check.py --small --out found")
    assert {"torch", "transformers", "perbench"} <= found["machine"]["versions"].keys()
    checks: dict[str, Any] = {one["name"]: one for one in found["checks"]}
    assert {name.split(":")[0] for name in checks} == {"conformance", "attention", "generation"}
    assert all(one["passed"] for one in checks.values())
    assert [row["writes"] for row in found["generation"]] == ["perbench", "generate, batch 8"]
    methods = {row["method"] for row in found["identification"]}
    assert methods == {"percontrast", "plain loop", "judge", "judge here"}
    steps = {row["step"]: row for row in found["training"]}
    assert {"stock", "ce", "perce", "nextquill"} <= steps.keys()
    assert all(row["MFU"] > 0 and row["s"] > 0 for row in steps.values())
    left_out = {one["what"]: one["why"] for one in found["left_out"]}
    if found["machine"]["kind"] == "cpu":
        assert "GPU" in left_out["training: liger"]


def test_parts_beyond_the_time_are_left_out_with_the_reason(tmp_path: Path) -> None:
    words = ["--small", "--out", "found", "--parts", "generation", "--minutes", "0"]
    printed = run("gpu_check.py", *words, at=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [one["what"] for one in found["left_out"]] == ["generation"]
    assert "time is up" in printed


def test_likelihood_agrees_with_a_plain_pass(tiny_model_dir: Path, tmp_path: Path) -> None:
    words = ["--model", str(tiny_model_dir), "--examples", "5", "--others", "2", "--persona-tokens", "40"]
    printed = run("likelihood.py", *words, at=tmp_path)
    assert "5 texts of" in printed
    assert re.search(r"likelihood / own: \d", printed)
    assert re.search(r"likelihood / plain: \d", printed)
