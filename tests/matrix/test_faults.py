"""Faults of machines while cells run: what is finished is kept, the cell says why, the rest goes on, and the
same command completes the run with the results of an undisturbed one."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench import cli
from perbench.engines.transformers.engine import TransformersEngine
from perbench.matrix import faults, fleet
from perbench.matrix.board import Board, lease_name
from perbench.matrix.brief import read_brief
from perbench.matrix.cells import Cell
from perbench.matrix.crew import Member
from perbench.matrix.run import Hang, Worker
from perbench.progress import Progress
from perbench.store import CellDir, RunDir, leases
from perbench.store.leases import MOST_DEATHS, Holder, born
from tests.matrix.conftest import Root
from tests.matrix.killing import until
from tests.matrix.runs import results


@pytest.fixture
def matrix(root: Root, monkeypatch: pytest.MonkeyPatch) -> Root:
    root.matrix(trainers=["perce"], targets=["tiny/writing"], identifiers=[], baseline=None)
    monkeypatch.setattr(faults, "FIRST_WAIT", 0.0)
    return root


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """Filled by `wanted`, once."""
    return {}


@pytest.fixture
def wanted(matrix: Root, tmp_path: Path, undisturbed: dict[str, Any]) -> dict[str, Any]:
    if not undisturbed:
        assert cli.main([*words(tmp_path / "undisturbed")]) == 0
        undisturbed.update(results(tmp_path / "undisturbed"))
    return undisturbed


def words(out: Path, *more: str) -> list[str]:
    return ["run", "--matrix", "small", "--out", str(out), *more]


def planned(matrix: Root, out: Path) -> list[Cell]:
    """The cells of a run that was interrupted before the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Member, "work", lambda self: None)
        assert cli.main(words(out)) == 2
    return read_brief(RunDir(out)).cells()[1]


def records(out: Path) -> dict[str, Any]:
    found = [json.loads(file.read_text()) for file in out.glob("cells/*/cell.json")]
    return {f"{one['kind']} {one['labels']['trainer']}": one for one in found}


def once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception, times: int = 1) -> None:
    """Let a method fail at its first calls."""
    original, left = getattr(owner, name), [times]

    def failing(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return original(*args, **options)

    monkeypatch.setattr(owner, name, failing)


def test_a_worker_that_slept_through_its_lease_leaves_the_cell_to_the_other(
    matrix: Root, tmp_path: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after SIGSTOP and SIGCONT: in the midst of a cell, the other takes it over and finishes the run."""
    out = tmp_path / "run"
    run, now = RunDir(out), [0.0]
    append, slept = CellDir.append, []

    def sleeping(cell: CellDir, samples: Any) -> None:
        if not slept:
            slept.append(cell.path.name)
            other = run.leases("other", clock=lambda: now[0])
            assert other.claim(cell.path.name) is None
            now[0] += other.expiry
            brief = read_brief(run)
            catalogue, cells = brief.cells()
            board = Board(cells, run, other, brief.again)
            worker = Worker(catalogue, run, brief.command, print)
            Member(board, worker, Progress(len(cells)), lambda own: None).work()
        append(cell, samples)

    monkeypatch.setattr(CellDir, "append", sleeping)
    assert cli.main(words(out)) == 0
    assert slept
    assert results(out) == wanted


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP], ids=lambda one: one.name)
def test_a_worker_that_is_killed_or_stopped_loses_nothing(
    matrix: Root,
    tmp_path: Path,
    wanted: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    signum: signal.Signals,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(leases, "EXPIRY", 5.0)
    monkeypatch.setattr(fleet, "GRACE", 1.0)
    out = tmp_path / "run"
    hit: list[Holder] = []

    def hitting() -> None:
        def held() -> list[Holder]:
            found = RunDir(out).leases().held()
            return [one for name, one in found.items() if name != "run" and one.worker == "w1"]

        hit.append(until(held)[0])
        os.kill(hit[0].pid, signum)

    thread = threading.Thread(target=hitting)
    thread.start()
    code = cli.main(words(out, "--workers", "2"))
    thread.join()
    errors = capfd.readouterr().err
    assert code == 0, errors
    assert results(out) == wanted
    assert born(hit[0].pid) == ""
    if signum == signal.SIGKILL:
        assert "worker w1 ended by signal 9; it is started again" in errors


def test_workers_end_with_the_first_process_and_the_same_command_completes(
    matrix: Root, tmp_path: Path, wanted: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "perbench", *words(out, "--workers", "1")]
    head = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        (worker,) = until(lambda: [one for one in RunDir(out).leases().held().values() if one.worker == "w1"])
    finally:
        head.kill()
        head.wait()
    until(lambda: born(worker.pid) == "")
    assert "Traceback" not in (out / ".workers" / "w1.log").read_text()
    assert cli.main(words(out)) == 0
    assert results(out) == wanted


def test_out_of_memory_is_tried_again_without_other_models_then_recorded(
    matrix: Root, tmp_path: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        once(patch, TransformersEngine, "generate", torch.OutOfMemoryError("out of memory"))
        assert cli.main(words(out)) == 0
    assert results(out) == wanted
    with monkeypatch.context() as patch:
        once(patch, TransformersEngine, "generate", torch.OutOfMemoryError("out of memory"), times=2)
        assert cli.main(words(tmp_path / "again")) == 1
    found = records(tmp_path / "again")
    assert {name: one["status"] for name, one in found.items()} == {
        "eval None": "failed",
        "train perce": "done",
        "eval perce": "done",
    }
    assert found["eval None"]["error"]["type"] == "OutOfMemoryError"
    assert cli.main(words(tmp_path / "again")) == 0
    assert results(tmp_path / "again") == wanted


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_fault_of_the_file_server_may_pass(
    matrix: Root, tmp_path: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    once(monkeypatch, TransformersEngine, "generate", OSError(number, os.strerror(number)), times=2)
    assert cli.main(words(tmp_path / "run")) == 0
    assert results(tmp_path / "run") == wanted


def test_what_would_come_again_is_not_tried_again(
    matrix: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, TransformersEngine, "generate", ValueError("a mistake"))
    assert cli.main(words(tmp_path / "run")) == 1
    assert [one["status"] for one in records(tmp_path / "run").values()].count("failed") == 1


def test_waits_between_tries_grow(
    matrix: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(faults, "FIRST_WAIT", 2.0)
    monkeypatch.setattr("perbench.matrix.run.time.sleep", waits.append)
    once(monkeypatch, TransformersEngine, "generate", OSError(errno.EIO, "io"), times=faults.TRIES)
    assert cli.main(words(tmp_path / "run")) == 1
    assert [wait for wait in waits if wait >= 2] == [2.0, 8.0]
    assert [one["status"] for one in records(tmp_path / "run").values()].count("failed") == 1


HEIRS = {
    "hung": ({"hung": 90.0}, "no progress for 90 s"),
    "died": ({"deaths": MOST_DEATHS - 1}, f"{MOST_DEATHS} workers died"),
}


@pytest.mark.parametrize("how", HEIRS)
def test_a_cell_that_ends_its_workers_is_recorded_as_failed_by_another(
    matrix: Root, tmp_path: Path, wanted: dict[str, Any], how: str
) -> None:
    out = tmp_path / "run"
    cell = next(cell for cell in planned(matrix, out) if cell.kind == "eval" and cell.needs is None)
    lease = RunDir(out).leases("w1").claim(lease_name(cell))
    assert lease is not None
    changes, why = HEIRS[how]
    lease.path.write_text(json.dumps(asdict(replace(lease.holder, born="1", **changes))))
    assert cli.main(words(out)) == 1
    found = records(out)
    assert why in found["eval None"]["error"]["message"]
    assert [one["status"] for one in found.values()].count("done") == 2
    assert cli.main(words(out)) == 0
    assert results(out) == wanted


def test_a_cell_without_progress_ends_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = RunDir(tmp_path).leases("w1").claim("cell")
    assert lease is not None
    now, ended = [0.0], []
    monkeypatch.setattr(os, "_exit", ended.append)
    hang = Hang(30.0, lease, clock=lambda: now[0])
    for _ in range(4):
        now[0] += 29.0
        hang.watch()
        hang.moved()
    assert ended == []
    now[0] += 30.0
    hang.watch()
    assert ended == [os.EX_TEMPFAIL]
    assert ended[0] not in fleet.SETTLED  # so the fleet starts another
    holder = RunDir(tmp_path).leases("w2").held()["cell"]
    assert holder.hung == 30.0


def test_a_broken_device_ends_the_worker_and_a_new_one_goes_on(
    matrix: Root, tmp_path: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    planned(matrix, out)
    once(monkeypatch, TransformersEngine, "generate", RuntimeError("CUDA error: an illegal memory access"))
    monkeypatch.setenv("PERBENCH_HEAD", f"{os.getpid()} ")
    assert cli.main(["work", str(out)]) == os.EX_TEMPFAIL
    (left,) = (out / ".workers" / "leases").iterdir()
    holder = Holder(**json.loads(left.read_text()))
    left.write_text(json.dumps(asdict(replace(holder, born="1"))))  # as if this process had ended
    assert cli.main(["work", str(out)]) == 0
    assert results(out) == wanted
