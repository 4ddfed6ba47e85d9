"""A worker that joins a run executes and reads nothing that its user did not name: a plan is a stranger's."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from perbench import cli
from perbench.disk.sealed import write_sealed
from perbench.matrix.brief import Brief, read_brief
from perbench.matrix.crew import Member
from perbench.specs.load import load_task
from perbench.store import RunDir
from tests.matrix.conftest import Root
from tests.matrix.runs import results

TASK = "embedded/sotu_writing"
MARK = "evil"
CODE = """
from pathlib import Path
Path({mark!r}).touch()
def rows(split):
    return []
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is made by code which must not run."""
    return tmp_path / MARK


@pytest.fixture
def out(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was planned and not begun; the plugins in `root` are included here."""
    root.matrix(trainers=[], sources=[], targets=["tiny/writing"], identifiers=[], baseline=None)
    with monkeypatch.context() as patch:
        patch.setattr(Member, "work", lambda self: None)
        assert cli.main(["run", "--matrix", "small", "--out", str(tmp_path / "run")]) == 2
    return tmp_path / "run"


def rewrite(out: Path, **changes: Any) -> Brief:
    """Seal another plan, as its author could."""
    brief = replace(read_brief(RunDir(out)), **changes)
    brief.write(RunDir(out))
    return brief


def by_plugins(out: Path, mark: Path) -> str:
    theirs = out / "plugins"
    (theirs / "trainers").mkdir(parents=True)
    (theirs / "trainers" / "ce.py").write_text(CODE.format(mark=str(mark)))
    rewrite(out, include=[str(theirs)])
    return f"--include {theirs}"


def matrix(out: Path, **changes: Any) -> None:
    rewrite(out, matrix={**read_brief(RunDir(out)).matrix, **changes})


def by_program(out: Path, mark: Path) -> str:
    matrix(
        out, targets=[TASK], tasks={TASK: {"data.python": "os:system", "data.test_split": f"touch {mark}"}}
    )
    return f"tasks.{TASK}.data.python: os:system"


def by_row(out: Path, mark: Path) -> str:
    inner = {"data": {"python": "os:system", "test_split": f"touch {mark}"}}
    matrix(out, targets=[{"task": TASK, **inner}])
    return f"tasks.{TASK}.data.python: os:system"


def task_file(folder: Path, mark: Path) -> Path:
    written = load_task(TASK).path
    assert written is not None
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    file = folder / "mine.yaml"
    file.write_text(written.read_text("utf-8").replace("sotu_writing:rows", "own:rows"))
    return file


def by_file(out: Path, mark: Path) -> str:
    file = task_file(out, mark)
    matrix(out, targets=[str(file)])
    return f"targets: {file}"


def by_file_beside_the_plan(out: Path, mark: Path) -> str:
    task_file(out, mark)
    matrix(out, targets=["./mine.yaml"])
    rewrite(out, folder=str(out))
    return "targets: ./mine.yaml"


def by_server(out: Path, mark: Path) -> str:
    """A model behind an endpoint, which would be sent a key."""
    file = out / "model.yaml"
    endpoint = {"model": "m", "base_url": "http://127.0.0.1:9", "api_key_env": "HOME"}
    file.write_text(yaml.safe_dump({"summary": "theirs", "endpoint": endpoint}))
    matrix(out, models=[str(file)])
    return f"models: {file}"


def by_data(out: Path, mark: Path) -> str:
    rewrite(out, data={"tiny": "/home"})
    return "--data: tiny=/home"


WAYS = [by_plugins, by_program, by_row, by_file, by_file_beside_the_plan, by_server, by_data]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_plan_executes_and_reads_nothing_that_was_not_named(
    out: Path, mark: Path, way: Callable[[Path, Path], str], capsys: pytest.CaptureFixture[str]
) -> None:
    named = way(out, mark)
    assert cli.main(["work", str(out)]) == 2
    errors = capsys.readouterr().err
    assert named in errors
    assert f"perbench work {out}" in errors
    assert not mark.exists()
    assert not (out / "cells").exists()


def test_the_command_that_the_error_names_is_the_way_in(
    out: Path, root: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(out, data={"tiny": str(root.path / "data")})
    assert cli.main(["work", str(out)]) == 2
    (command,) = re.findall(r"^  perbench (work .*)$", capsys.readouterr().err, re.M)
    brief = read_brief(RunDir(out))
    assert shlex.split(command)[-2:] == ["--plan", brief.digest]
    assert brief.allow(out, brief.digest)
    matrix(out, seeds=[7])  # another plan than the one that was looked at
    assert cli.main(shlex.split(command)) == 2
    assert brief.digest in capsys.readouterr().err


def test_a_run_is_joined_with_the_folders_that_it_was_started_with(
    out: Path, root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PERBENCH_INCLUDE")
    assert cli.main(["work", str(out)]) == 2
    assert f"--include {root.path}" in capsys.readouterr().err
    assert cli.main(["work", str(out), "--include", str(root.path)]) == 0
    assert len(results(out)) == 3


def test_a_worker_on_a_terminal_shows_its_cells(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["work", str(out)]) == 0
    assert len(results(out)) == 3
    assert re.search(r"\[(\d)/\1\] ", terminal.getvalue())


def test_the_plan_is_the_same_whenever_the_command_is_started(out: Path) -> None:
    before = read_brief(RunDir(out)).digest
    changes: dict[str, Any] = {"started": "later", "todo": [], "again": {"a": "b"}}
    assert rewrite(out, **changes).digest == before
    assert rewrite(out, folder="/elsewhere").digest != before


MISFITS = {
    "include": ("here", "include"),
    "matrix": ({"summary": "s", "models": 3, "targets": ["t"]}, "models"),
    "todo": ([1], "todo"),
    "cached": ("yes", "cached"),
    "limit": ("2", "limit"),
}


@pytest.mark.parametrize("key", MISFITS)
def test_a_plan_of_another_shape_is_named(out: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    value, named = MISFITS[key]
    rewrite(out, **{key: value})
    assert cli.main(["work", str(out)]) == 2
    errors = capsys.readouterr().err
    assert f"plan.json: {named}" in errors


def test_a_worker_counts_all_cells_of_the_plan_as_run_and_status_do(
    root: Root, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = RunDir(out).description()
    plan = ["0" * 64, *described["plans"]["small"]]  # whose first cell was finished before
    write_sealed(out / "run.json", {**described, "plans": {"small": plan}}, "run.json")
    capsys.readouterr()
    assert cli.main(["work", str(out)]) == 0
    errors = capsys.readouterr().err
    assert "[2/2] " in errors
    assert "/1] " not in errors


@pytest.mark.parametrize("place", ["folder", "samples.jsonl", "checkpoint"])
def test_nothing_is_written_through_a_link(
    out: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (identity,) = read_brief(RunDir(out)).todo
    cell, mine = out / "cells" / f"eval-{identity[:16]}", tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    link = cell if place == "folder" else cell / place
    link.parent.mkdir(parents=True)
    link.symlink_to(mine / "file" if place.endswith(".jsonl") else mine)
    assert cli.main(["work", str(out)]) == 2
    assert str(link) in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [("file", "mine")]
    link.unlink()
    assert cli.main(["work", str(out)]) == 0


@pytest.mark.parametrize("value", [{"pid": "1"}, {"worker": ["w"]}, {"done": None}, {"more": 1}])
def test_a_lease_of_another_shape_does_no_harm(
    out: Path, value: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    leases = RunDir(out).leases("w1")
    lease = leases.claim(f"eval-{read_brief(RunDir(out)).todo[0][:16]}")
    assert lease is not None
    lease.path.write_text(json.dumps({**json.loads(lease.path.read_text()), **value}))
    assert cli.main(["status", str(out)]) == 0
    assert "a machine unknown yet" in capsys.readouterr().out


def test_a_file_and_a_folder_without_a_run_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for name, said in (("file", "is a file"), ("rum", "does not exist (yet)")):
        assert cli.main(["work", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert str(tmp_path / name) in error
        assert said in error
