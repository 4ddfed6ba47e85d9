"""Faults that end or disturb whole workers: what is finished is kept, the cell says why, the rest goes on,
and the same command completes the run with the results of an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perbench import cli
from perbench.matrix.brief import read_brief
from perbench.matrix.crew import Member
from perbench.store import RunDir, leases
from tests.matrix.conftest import Root
from tests.matrix.killing import PAUSE, run_killed, slow_root
from tests.matrix.runs import Runs, results
from tests.matrix.test_faults import records

WORDS = ["run", "--matrix", "small", "--out"]


@pytest.fixture
def matrix(root: Root) -> Root:
    root.matrix(trainers=["perce"], targets=["tiny/writing"], identifiers=[], baseline=None)
    return root


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """Filled by `wanted`, once."""
    return {}


@pytest.fixture
def wanted(matrix: Root, tmp_path: Path, undisturbed: dict[str, Any]) -> dict[str, Any]:
    if not undisturbed:
        assert cli.main([*WORDS, str(tmp_path / "undisturbed")]) == 0
        undisturbed.update(results(tmp_path / "undisturbed"))
    return undisturbed


@pytest.fixture
def out(matrix: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was planned and not begun, with leases that expire soon."""
    with monkeypatch.context() as patch:
        patch.setattr(Member, "work", lambda self: None)
        patch.setattr(leases, "EXPIRY", 2.0)
        assert cli.main([*WORDS, str(tmp_path / "run")]) == 2
    return tmp_path / "run"


def test_an_engine_that_hangs_fails_its_cell_and_the_rest_goes_on(
    out: Path, root: Root, runs: Runs, wanted: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    replace(read_brief(RunDir(out)), cell_timeout=600.0).write(RunDir(out))
    code, _, errors = runs(root.path, "work", str(out), hang=1, env={"PERBENCH_HEAD": f"{os.getpid()} "})
    assert code == os.EX_TEMPFAIL, errors
    assert "in forever" in errors  # where it hung
    assert cli.main(["work", str(out)]) == 1
    found = records(out)
    assert [one["status"] for one in found.values()].count("done") == 2
    (failed,) = [one for one in found.values() if one["error"] is not None]
    assert "600 s (--cell-timeout)" in failed["error"]["message"]
    assert cli.main([*WORDS, str(out)]) == 0
    assert results(out) == wanted


def test_a_full_disk_ends_one_worker_and_the_next_goes_on(
    out: Path, root: Root, runs: Runs, wanted: dict[str, Any]
) -> None:
    code, _, errors = runs(root.path, "work", str(out), full=2)
    assert code == 2
    assert "No space left on device" in errors
    assert [*(out / ".workers" / "leases").iterdir()] == []  # nobody waits for it
    assert len(records(out)) == 2
    assert cli.main(["work", str(out)]) == 0
    assert results(out) == wanted


@pytest.mark.parametrize("saved", [1, 2])
def test_a_damaged_checkpoint_is_found_and_trained_again_by_the_next_worker(
    out: Path, root: Root, runs: Runs, wanted: dict[str, Any], saved: int
) -> None:
    assert runs(root.path, "work", str(out), kill=("save", saved))[0] < 0
    (state,) = out.glob("cells/train-*/checkpoint/step-*/*.safetensors")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    code, _, errors = runs(root.path, "work", str(out))
    assert code == 0
    assert str(state.parent) in errors
    assert results(out) == wanted


def test_weights_damaged_before_another_worker_evaluates_them_are_trained_again(
    out: Path, root: Root, runs: Runs, wanted: dict[str, Any]
) -> None:
    cells = {cell.kind: cell for cell in read_brief(RunDir(out)).cells()[1]}
    while not RunDir(out).cell("train", cells["train"].identity).path.joinpath("cell.json").exists():
        assert runs(root.path, "work", str(out), kill=("finish", 1))[0] < 0
    (weights,) = out.glob("cells/train-*/checkpoint/final/*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-8])
    code, _, errors = runs(root.path, "work", str(out))
    if code == 1:
        (failed,) = [one for one in records(out).values() if one["error"] is not None]
        assert str(weights.parent) in failed["error"]["message"] or weights.name in failed["error"]["message"]
        assert cli.main([*WORDS, str(out)]) == 0, errors
    assert results(out) == wanted


@pytest.mark.parametrize("skews", [(2e5, -2e5), (-2e5, 2e5)])
def test_workers_whose_clocks_differ_by_days_go_on_from_each_other(
    out: Path, root: Root, runs: Runs, wanted: dict[str, Any], skews: Sequence[float]
) -> None:
    assert runs(root.path, "work", str(out), skew=skews[0], kill=("save", 2))[0] < 0
    assert runs(root.path, "work", str(out), skew=skews[1], kill=("append", 1))[0] < 0
    assert runs(root.path, *WORDS, str(out), skew=skews[0])[0] == 0
    assert results(out) == wanted


def test_workers_build_the_same_caches_at_once(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes need the same digests, converted weights and summaries in the same second."""
    summary = {"model": "tiny", "max_new_tokens": 4}
    row = {"task": "tiny/writing", "as": "summary", "persona": {"summarise": "recurrent", "summary": summary}}
    root.matrix(trainers=[], sources=[], targets=[row], identifiers=[], seeds=[0, 1, 2], baseline=None)
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "first"))
    assert cli.main([*WORDS, str(tmp_path / "whole")]) == 0
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Member, "work", lambda self: None)
        assert cli.main([*WORDS, str(out)]) == 2
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "second"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "perbench", "work", str(out)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], errors
    assert results(out) == results(tmp_path / "whole")


def test_random_kills_of_random_workers_change_nothing(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`benchmarks/workers.py` does this with 30 kills."""
    root = slow_root(tmp_path / "root", tiny_model_dir)
    monkeypatch.setenv("PERBENCH_INCLUDE", str(root.path))
    words, out = ["run", "--matrix", "killed", "--out"], tmp_path / "run"
    assert cli.main([*words, str(tmp_path / "whole")]) == 0
    env = {"OMP_NUM_THREADS": "1", PAUSE: "0.5"}
    found = run_killed(
        [*words, str(out), "--workers", "2"], out, env=env, kills=3, seed=0, most_cells=3, longest=2.0
    )
    assert found.code == 0
    assert len(found.kills) == 3
    assert results(out) == results(tmp_path / "whole")
