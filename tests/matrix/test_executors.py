"""Executors: found by name, given jobs that other processes can work, and holding what a run promises."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from perbench import cli
from perbench.contracts.executor import Job
from perbench.errors import PerbenchError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import expand
from perbench.matrix.jobs import JobWork, jobs_of
from perbench.matrix.options import Options
from perbench.plugins import names
from perbench.specs.matrices import load_matrix
from perbench.specs.matrix import MatrixSpec
from perbench.store import RunDir, read_records
from tests.matrix.conftest import Root
from tests.matrix.runs import results

SPAWNED = '''
"""Every job in a process of its own, which starts with nothing but the pickled job."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from perbench.contracts.executor import Executor


class Spawned(Executor):
    def execute(self, jobs, work, say):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            for job in jobs:
                say(f"elsewhere: {job.name}")
                record = pool.submit(work, job).result()
                if record is not None:
                    yield record
'''


@pytest.fixture
def matrix(root: Root) -> Root:
    root.matrix(trainers=["perce"], targets=["tiny/writing"], identifiers=[], baseline=None)
    return root


def planned(out: Path, name: str = "small") -> list[Job]:
    matrix = load_matrix(name)
    cells = expand(matrix.spec, Catalogue(matrix.spec, {}, None))
    return jobs_of(cells, matrix, Options(out), "perbench run")


def test_an_executor_of_another_root_gives_the_run_of_this_process(
    matrix: Root, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = matrix.path / "executors"
    folder.mkdir()
    (folder / "spawned.py").write_text(SPAWNED)
    words = ["run", "--matrix", "small", "--out"]
    assert cli.main([*words, str(tmp_path / "here")]) == 0
    assert cli.main([*words, str(tmp_path / "there"), "--executor", "spawned"]) == 0
    assert capfd.readouterr().err.count("elsewhere: ") == 3
    assert results(tmp_path / "there") == results(tmp_path / "here")


def test_jobs_name_what_they_need_and_survive_pickling(matrix: Root, tmp_path: Path) -> None:
    jobs = planned(tmp_path)
    (training,) = [job for job in jobs if job.kind == "train"]
    assert [job.needs for job in jobs if job.kind == "eval"] == [None, training.identity]
    assert {job.model for job in jobs} == {"tiny"}
    assert pickle.loads(pickle.dumps(jobs)) == jobs


def test_a_process_that_plans_other_cells_refuses_the_job(matrix: Root, tmp_path: Path) -> None:
    (job, *_) = planned(tmp_path)
    matrix.task("writing", sampling={"max_new_tokens": 5, "temperature": 0.7})
    work = pickle.loads(pickle.dumps(JobWork(lambda job: pytest.fail("this is another process"))))
    with pytest.raises(PerbenchError, match=job.identity[:16]):
        work(job)
    assert not (tmp_path / "cells").exists()


def test_what_fails_elsewhere_is_a_record(
    matrix: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = planned(tmp_path)
    follower = next(job for job in jobs if job.needs is not None)
    with RunDir(tmp_path).lock():
        record = JobWork()(follower)
    assert record is not None
    assert record.error is not None
    assert [one for one, _ in read_records(tmp_path)] == [
        RunDir(tmp_path).cell("eval", follower.identity).record()
    ]
    assert f"FAILED {follower.name}" in capsys.readouterr().err


def test_every_matrix_is_the_same_after_its_journey() -> None:
    found = {name: load_matrix(name).spec for name in names("matrix")}
    assert len(found) > 5
    for name, spec in found.items():
        assert MatrixSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec, name


def test_an_unknown_executor_is_named_before_anything_runs(
    matrix: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main(["run", "--matrix", "small", "--out", str(out), "--executor", "locla"]) == 2
    assert "'local'" in capsys.readouterr().err
    assert not out.exists()
