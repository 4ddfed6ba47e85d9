"""Which cell a worker takes next, and how the first process keeps workers going: nothing is run here."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from perbench import cli
from perbench.contracts.base import NoKeys
from perbench.contracts.executor import LOST, Executor, Running, WorkerStart
from perbench.matrix import fleet
from perbench.matrix.board import Board, lease_name
from perbench.matrix.brief import record_seal
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.fleet import MOST_RESTARTS, Fleet
from perbench.matrix.status import status_of
from perbench.matrix.watch import Watch
from perbench.progress import Progress
from perbench.specs.matrices import load_matrix
from perbench.store import CellRecord, Failure, RunDir
from tests.matrix.conftest import Root


@pytest.fixture
def cells(root: Root, tiny_model_dir: Path) -> list[Cell]:
    other = shutil.copytree(tiny_model_dir, root.path / "other_model")
    (other / "generation_config.json").write_text("{}")
    root.write("leaderboard/models/second", {"summary": "another", "path": str(other), "dtype": "bfloat16"})
    matrix = {"models": ["tiny", "second"], "trainers": ["ce"], "targets": ["tiny/writing", "tiny/other"]}
    root.matrix(**matrix, identifiers=[], baseline=None)
    spec = load_matrix("small").spec
    return expand(spec, Catalogue(spec, {}, None))


def board_of(cells: Sequence[Cell], out: Path, worker: str, **again: str) -> Board:
    run = RunDir(out)
    return Board(cells, run, run.leases(worker), again)


def finish(out: Path, cell: Cell, status: str = "done") -> None:
    """Record a cell, without its work."""
    folder = RunDir(out).cell(cell.kind, cell.identity)
    folder.begin()
    record = CellRecord(
        kind=cell.kind,
        identity=cell.identity,
        inputs=cell.inputs,
        status="done",
        labels=cell.labels,
        seconds=2.0,
        started="2026-01-01T10:00:00Z",
        finished="2026-01-01T10:00:02Z",
        environment={},
        command="perbench run",
    )
    if status == "done":
        folder.finish(record)
    else:
        error = Failure(type="E", message="went wrong", traceback="")
        folder.fail(record.model_copy(update={"status": "failed", "error": error}))


def taken(board: Board) -> Cell:
    claim = board.claim()
    assert claim is not None
    return claim.cell


def test_a_worker_stays_with_a_model_and_evaluates_what_it_trained(cells: list[Cell], tmp_path: Path) -> None:
    first, second = board_of(cells, tmp_path, "w1"), board_of(cells, tmp_path, "w2")
    order: dict[str, list[Cell]] = {"w1": [], "w2": []}
    while not (first.ended and second.ended):
        for name, board in (("w1", first), ("w2", second)):
            claim = board.claim()
            if claim is not None:
                order[name].append(claim.cell)
                finish(tmp_path, claim.cell)
                board.finished(claim.cell)
                claim.lease.release()
    assert sum(map(len, order.values())) == len(cells)
    assert len({cell.identity for found in order.values() for cell in found}) == len(cells)
    for found in order.values():
        places = {cell.identity: place for place, cell in enumerate(found)}
        for cell in found:
            if cell.needs is not None and cell.needs.identity in places:
                assert places[cell.needs.identity] < places[cell.identity]


def test_two_workers_begin_with_different_models(cells: list[Cell], tmp_path: Path) -> None:
    first, second = board_of(cells, tmp_path, "w1"), board_of(cells, tmp_path, "w2")
    models = [taken(first).model.name, taken(second).model.name]
    assert sorted(models) == ["second", "tiny"]
    assert [taken(first).model.name, taken(second).model.name] == models


def test_an_evaluation_waits_for_its_training_and_follows_it_at_once(
    cells: list[Cell], tmp_path: Path
) -> None:
    own = [cell for cell in cells if cell.model.name == "tiny" and (cell.kind == "train" or cell.needs)]
    training, *evaluations = own
    board, other = board_of(own, tmp_path, "w1"), board_of(own, tmp_path, "w2")
    claim = board.claim()
    assert claim is not None
    assert claim.cell is training
    assert other.claim() is None
    assert not other.ended
    (holder,) = other.others()
    assert (holder.worker, holder.what) == ("w1", str(training))
    finish(tmp_path, training, "failed")  # its evaluations fail then, each with the reason
    claim.lease.release()
    assert [taken(other), taken(board)] == evaluations


def test_a_failure_of_an_earlier_run_is_tried_again_once(cells: list[Cell], tmp_path: Path) -> None:
    cell = cells[0]
    finish(tmp_path, cell, "failed")
    board = board_of([cell], tmp_path, "w1")
    assert board.claim() is None
    assert board.ended
    seal = record_seal(RunDir(tmp_path), cell)
    assert seal is not None
    again = board_of([cell], tmp_path, "w1", **{cell.identity: seal})
    claim = again.claim()
    assert claim is not None
    RunDir(tmp_path).cell(cell.kind, cell.identity).begin()
    (tmp_path / "cells" / lease_name(cell) / "cell.json").unlink()
    finish(tmp_path, cell)
    claim.lease.release()
    assert again.claim() is None
    assert again.ended


def test_status_tells_what_runs_where_and_how_much_is_left(
    cells: list[Cell], root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    run = RunDir(out)
    with run.lock():
        labels = {cell.identity: cell.labels for cell in cells}
        run.describe(matrix="small", spec={}, command="c", started="1", cells=labels)
    finish(out, cells[0])
    finish(out, cells[1], "failed")
    claim = board_of(cells[2:], out, "w7").claim()
    assert claim is not None
    claim.lease.progress(3, 8)
    claim.lease.beat()
    found = status_of(out)
    left = len(cells) - 2
    failed = {lease_name(cells[1]): "went wrong"}
    assert (found.done, found.failed, found.damaged, found.left) == (1, failed, [], left)
    assert found.seconds == 2.0 * (left - 3 / 8)
    shown = status(out, capsys)
    for part in ("w7", "3/8", f"{left} left", "1 running", f"{lease_name(cells[1])}: went wrong"):
        assert part in shown


def test_status_lists_workers_by_number(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with RunDir(out).lock():
        labels = {cell.identity: cell.labels for cell in cells}
        RunDir(out).describe(matrix="small", spec={}, command="c", started="1", cells=labels)
    names = ["w10", "w2", "w1"]
    for name, cell in zip(names, sorted(cells, key=lease_name), strict=False):
        assert RunDir(out).leases(name).claim(lease_name(cell), str(cell)) is not None
    shown = status(out, capsys)
    assert shown.index("w1 ") < shown.index("w2 ") < shown.index("w10 ")


def status(out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert cli.main(["status", str(out)]) == 0
    return capsys.readouterr().out


def test_status_of_a_run_where_nothing_runs(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main(["status", str(out)]) == 2
    assert f"{out} does not exist (yet)" in capsys.readouterr().err
    (out / ".workers").mkdir(parents=True)  # as a run makes it before its plan
    for command in ("status", "verify"):
        assert cli.main([command, str(out)]) == 2
        assert f"{out} holds no cells yet" in capsys.readouterr().err
    run, command = RunDir(out), "perbench run --matrix small"
    with run.lock():
        labels = {cell.identity: cell.labels for cell in cells[:2]}
        run.describe(matrix="small", spec={}, command=command, started="1", cells=labels)
    shown = status(out, capsys)
    assert "0 cells done, 0 failed, 2 left, of which 0 running" in shown
    assert command in shown
    finish(out, cells[0])
    finish(out, cells[1])
    shown = status(out, capsys)
    assert "all done: 2 cells" in shown
    assert shown.endswith(f"perbench leaderboard show {out}\n")
    assert command not in shown
    finish(out, cells[2])  # of an earlier plan
    (run.cell(cells[1].kind, cells[1].identity).path / "cell.json").write_text("{")
    shown = status(out, capsys)
    assert f"damaged: {run.cell(cells[1].kind, cells[1].identity).path}" in shown
    assert "1 cell done, 0 failed, 1 left" in shown
    (out / "run.json").write_text("{")
    assert cli.main(["status", str(out)]) == 2
    assert str(out / "run.json") in capsys.readouterr().err


def test_a_worker_shows_what_others_finish_and_do(cells: list[Cell], tmp_path: Path) -> None:
    """However they were started, and whether this one works meanwhile or looks for work."""
    board, other = board_of(cells, tmp_path, "w1"), board_of(cells, tmp_path, "far:7")
    stream, crew = io.StringIO(), []
    progress = Progress(len(cells), stream)
    progress.crew = crew.append  # type: ignore[method-assign, assignment]
    watch = Watch(board, RunDir(tmp_path), progress, lines=True)
    own, theirs = board.claim(), other.claim()
    assert own is not None
    assert theirs is not None
    theirs.lease.progress(3, 8)
    theirs.lease.beat()
    assert not watch.look(own.lease.holder.token)
    assert crew[-1] == [("far:7", str(theirs.cell), 3, 8)]
    finish(tmp_path, theirs.cell, "failed")
    theirs.lease.release()
    assert not board.finished(own.cell)
    assert board.finished(theirs.cell)  # as found on the way to the next cell
    assert watch.look()
    assert not watch.look()
    assert stream.getvalue().count(f"[1/{len(cells)}] {theirs.cell}: FAILED: went wrong") == 1
    assert crew[-1] == [("w1", str(own.cell), 0, 0)]
    finish(tmp_path, own.cell)
    board.finished(own.cell, mine=True)
    assert not watch.look()


class Scripted(Running):
    """A worker that ends on demand: with a code after a number of looks."""

    def __init__(self, code: int, looks: int = 0) -> None:
        self.code, self.looks, self.asked = code, looks, ""

    def ended(self) -> int | None:
        self.looks -= 1
        return self.code if self.looks < 0 or self.asked else None

    def stop(self) -> None:
        self.asked += "stop "

    def kill(self) -> None:
        self.asked += "kill "


class Script(Executor[NoKeys]):
    """Starts what the script says for each worker, in order; `does` are the cells finished by each."""

    def __init__(
        self, script: dict[str, list[Running]], does: dict[str, list[list[Cell]]], out: Path
    ) -> None:
        super().__init__(None)
        self.script, self.does, self.out = script, does, out
        self.closed = False

    def start(self, worker: WorkerStart) -> Running:
        for cell in self.does[worker.name].pop(0) if worker.name in self.does else ():
            finish(self.out, cell)
        return self.script[worker.name].pop(0)

    def close(self) -> None:
        self.closed = True


def run_fleet(
    cells: Sequence[Cell],
    out: Path,
    script: dict[str, list[Running]],
    does: dict[str, list[list[Cell]]],
    gpus: int | None = None,
) -> tuple[Board, float]:
    """The cells after a run of these workers, and the seconds that it waited."""
    run, executor = RunDir(out), Script(script, does, out)
    board = Board(cells, run, run.leases("head"), {})
    starts = [
        WorkerStart(n, name, (), run.workers / f"{name}.log", gpus=gpus) for n, name in enumerate(script)
    ]
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    Fleet(executor, starts, board, run, Progress(len(cells)), clock=lambda: now[0], sleep=sleep).work()
    assert executor.closed
    return board, now[0]


@pytest.mark.parametrize("code", [-9, LOST, -11, 75, 137, 143])
def test_a_worker_that_dies_is_started_again_after_a_while(
    cells: list[Cell], tmp_path: Path, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    script: dict[str, list[Running]] = {"w1": [Scripted(code), Scripted(code), Scripted(0, 99)]}
    board, waited = run_fleet(cells[:1], tmp_path, script, {"w1": [[], [], cells[:1]]})
    assert board.ended
    assert capsys.readouterr().err.count("w1 ended") == 2
    assert waited >= fleet.FIRST_WAIT * (1 + 2)


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_worker_that_ends_for_a_reason_is_not_and_the_rest_goes_on(
    cells: list[Cell], tmp_path: Path, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a full disk on one machine: exit code 2."""
    script: dict[str, list[Running]] = {"w1": [Scripted(code)], "w2": [Scripted(LOST), Scripted(0, 3)]}
    (tmp_path / ".workers").mkdir()
    (tmp_path / ".workers" / "w1.log").write_text("perbench: error: No space left on device\n")
    board, _ = run_fleet(cells[:2], tmp_path, script, {"w2": [[], cells[:2]]})
    assert board.ended
    assert script == {"w1": [], "w2": []}
    errors = capsys.readouterr().err
    assert f"w1 ended with exit code {code}; it is not started again" in errors
    assert "No space left on device" in errors


def test_a_launcher_of_several_processes_hides_how_they_ended(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """torchrun ends with 1 if a process of its was killed, and if cells failed."""
    script: dict[str, list[Running]] = {"w1": [Scripted(1), Scripted(1)]}
    board, _ = run_fleet(cells[:1], tmp_path, script, {"w1": [[], cells[:1]]}, gpus=2)
    assert board.ended
    assert script == {"w1": []}
    assert capsys.readouterr().err.count("is started again") == 1


def test_a_worker_that_only_dies_is_given_up(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script: dict[str, list[Running]] = {"w1": [Scripted(LOST) for _ in range(MOST_RESTARTS + 1)]}
    board, waited = run_fleet(cells[:1], tmp_path, script, {})
    assert script == {"w1": []}
    assert not board.ended
    assert waited >= sum(min(fleet.LONGEST_WAIT, fleet.FIRST_WAIT * 2**n) for n in range(MOST_RESTARTS))
    assert "not started again" in capsys.readouterr().err


def test_at_the_end_a_worker_that_stands_still_is_ended(cells: list[Cell], tmp_path: Path) -> None:
    class Stopped(Scripted):
        """As after SIGSTOP: it does not react, until it is killed."""

        def ended(self) -> int | None:
            return -9 if "kill" in self.asked else None

    stopped = Stopped(0)
    board, _ = run_fleet(cells[:1], tmp_path, {"w1": [stopped]}, {"w1": [cells[:1]]})
    assert board.ended
    assert stopped.asked.split() == ["stop", "kill"]
