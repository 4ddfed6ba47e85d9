"""Executors: found by name, and starting workers that give the run of one process."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from perbench import cli, plugins
from perbench.console.signals import kept_handlers
from perbench.contracts.executor import WorkerStart
from perbench.errors import PerbenchError
from perbench.executors.ray import Ray, RayKeys, answers, latest_cluster
from perbench.matrix.brief import Brief, read_brief
from perbench.plugins import names
from perbench.specs.matrices import load_matrix
from perbench.specs.matrix import MatrixSpec
from perbench.store import RunDir
from tests.matrix.conftest import Root
from tests.matrix.killing import children, until
from tests.matrix.runs import Runs, results

POLITE = '''
"""Workers that let others go first."""

from dataclasses import replace

from perbench.contracts.executor import Child, Executor


class Polite(Executor):
    def start(self, worker):
        return Child(replace(worker, command=("nice", *worker.command)))
'''
CELLS = 9


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"needs: pip install {package}"
    )


EXECUTORS = [
    pytest.param(["--workers", "3"], id="local"),
    pytest.param(["--executor", "ray"], id="ray", marks=needs("ray")),
    pytest.param(
        ["--executor", "slurm", "--workers", "2", "--executor-set", "cluster=local"],
        id="slurm",
        marks=needs("submitit"),
    ),
    pytest.param(["--executor", "polite"], id="of another root"),
]


@pytest.mark.parametrize("words", EXECUTORS)
def test_every_executor_gives_the_run_of_one_process(
    root: Root,
    tmp_path: Path,
    expected: dict[str, object],
    words: list[str],
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "ray" in words:
        request.getfixturevalue("two_fake_gpus")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (root.path / "executors").mkdir()
    (root.path / "executors" / "polite.py").write_text(POLITE)
    out = tmp_path / "run"
    code = cli.main(["run", "--matrix", "small", "--out", str(out), *words])
    errors = capfd.readouterr().err
    logs = "\n".join(log.read_text() for log in (out / ".workers").glob("w*.log"))
    assert code == 0, errors + logs
    assert results(out) == expected
    assert errors.count(f"/{CELLS}] ") == CELLS  # each is shown once by the first process
    assert [*(out / ".workers" / "leases").iterdir()] == []
    if "ray" in words:
        assert sorted(re.findall(r"^worker (w\d) .* GPU (\d)$", logs, re.M)) in (
            [("w1", "0"), ("w2", "1")],
            [("w1", "1"), ("w2", "0")],
        )


@pytest.fixture
def two_fake_gpus(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    import ray

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        with kept_handlers():
            ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # of ray's own, without a type
        if "timed out during startup" not in str(error):
            raise
        pytest.skip(f"Ray does not start on this machine, which may be too busy: {error}")
    yield
    ray.shutdown()


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs: pip install submitit")
def test_submitit_leaves_logs_of_other_libraries_alone() -> None:
    code = (
        "import logging; from perbench.executors import slurm; "
        "handler = logging.StreamHandler(); handler.close = lambda: print('closed'); "
        "slurm._submitit(); print(logging.getLogger('submitit').handlers); handler.close = lambda: None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs: pip install ray")
def test_ray_leaves_signals_to_perbench(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def init(**_: object) -> None:  # as ray 2.60 does it
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    Ray(RayKeys())._connect()
    assert signal.getsignal(signal.SIGTERM) is before


PREEMPTED = """
import signal, sys
from pathlib import Path
from types import SimpleNamespace
log = Path(sys.argv[1])
starts = log.read_text().count("started") if log.exists() else 0
def note(what):
    with log.open("a") as file:
        file.write(what + " ")
def saved(*_):
    note("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, saved)
note("started")
if not starts:
    signal.pause()
"""


@needs("submitit")
def test_a_preempted_slurm_job_has_its_worker_save_and_is_queued_again(tmp_path: Path) -> None:
    """Through submitit's own queue for one machine, which sends no signals of its own."""
    executor = plugins.get("executor", "slurm").load_class()
    log = tmp_path / "log"
    words = (sys.executable, "-c", PREEMPTED, str(log))
    start = WorkerStart(0, "w1", words, tmp_path / "w1.log")
    (running,) = executor(executor.Keys(cluster="local")).start_all([start])
    until(lambda: log.exists() and log.read_text() == "started ")
    (job,) = children(running._job._process.pid)
    os.kill(job, signal.SIGUSR2)  # as Slurm does before it takes the machine away
    until(lambda: running.ended() is not None)
    assert running.ended() == 0
    assert log.read_text() == "started saved started "


def test_a_ray_cluster_that_is_gone_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address)
    assert not answers(address)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert latest_cluster() is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(address)
    assert latest_cluster() == address
    begun: list[dict[str, object]] = []
    stub = SimpleNamespace(is_initialized=lambda: False, init=lambda **given: begun.append(given))
    monkeypatch.setattr("perbench.executors.ray._ray", lambda: stub)
    Ray(RayKeys())._connect()
    assert [given["address"] for given in begun] == ["local"]
    named = Ray(RayKeys(address=address))
    with pytest.raises(PerbenchError, match=address):
        named._connect()


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
@pytest.mark.parametrize("count", [[], ["--workers", "2"]])
def test_an_executor_without_its_package_names_the_extra(
    root: Root,
    tmp_path: Path,
    name: str,
    package: str,
    count: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / "run"
    assert cli.main(["run", "--matrix", "small", "--out", str(out), "--executor", name, *count]) == 2
    told = capsys.readouterr().err
    assert f"'perbench[{name}]'" in told
    assert f"{package}, which is not installed" in told
    assert not out.exists()


def test_what_is_asked_of_workers_survives_its_journey(root: Root, runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out), "--limit", "2")
    assert runs(root.path, *words, kill=("append", 1))[0] < 0
    brief = read_brief(RunDir(out))
    assert isinstance(brief, Brief)
    _, cells = brief.cells()
    assert [cell.identity for cell in cells] == brief.todo
    assert len(cells) == CELLS
    root.task("writing", sampling={"max_new_tokens": 5, "temperature": 0.7})
    with pytest.raises(PerbenchError, match="other data, models, plugins or settings"):
        brief.cells()


def test_every_matrix_is_the_same_after_its_journey() -> None:
    found = {name: load_matrix(name).spec for name in names("matrix")}
    assert len(found) > 5
    for name, spec in found.items():
        assert MatrixSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec, name


REFUSED = [
    (["--executor", "locla"], "'local'"),
    (["--workers", "2", "--gpus-per-cell", "4"], "--gpus-per-cell 0"),
    (["--gpus-per-cell", "1"], "--workers N"),
    (["--executor-set", "a=1"], "--workers N"),
    (["--cell-timeout", "5"], "--workers 1"),
    (["--workers", "1", "--executor-set", "cpus=1"], "--executor-set cpus"),
    pytest.param(
        ["--executor", "slurm", "--executor-set", "minuets=3"], "'minutes'", marks=needs("submitit")
    ),
    pytest.param(["--executor", "slurm"], "cluster=local", marks=needs("submitit")),
]


@pytest.mark.parametrize(("words", "way_out"), REFUSED)
def test_what_cannot_be_started_is_refused_before_anything_runs(
    root: Root,
    tmp_path: Path,
    words: list[str],
    way_out: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    out = tmp_path / "run"
    assert cli.main(["run", "--matrix", "small", "--out", str(out), *words]) == 2
    assert way_out in capsys.readouterr().err
    assert not out.exists()


def test_workers_beside_torchrun_are_refused(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from perbench import processes

    monkeypatch.setattr(processes, "group", lambda: processes.Group(0, 2))
    for words in (["--executor", "ray"], ["--workers", "2"]):
        assert cli.main(["run", "--matrix", "small", "--out", str(tmp_path / "run"), *words]) == 2
        errors = capsys.readouterr().err
        assert " ".join(words) in errors
        assert "--gpus-per-cell" in errors
    assert not (tmp_path / "run").exists()
