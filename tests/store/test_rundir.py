"""Cells, records and the lock of a run directory."""

from __future__ import annotations

import importlib.metadata
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perbench.errors import PerbenchError
from perbench.store import CellDir, CellRecord, Failure, Labels, Metric, RunDir, Scores, read_records
from perbench.store.cell import read_scores
from perbench.store.environment import capture, shorten

IDENTITY = "0123456789abcdef" * 4
LABELS = Labels(model="m", target="t", seed=0)


def record(**changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "kind": "eval",
        "identity": IDENTITY,
        "inputs": {"seed": 0},
        "status": "done",
        "labels": LABELS,
        "headline": "rouge1",
        "metrics": {"rouge1": Metric(value=0.25, ci=(0.1, 0.4), n=2, signature="s")},
        "seconds": 1.5,
        "started": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:00:02Z",
        "environment": {},
        "command": "perbench run",
    }
    return CellRecord(**{**values, **changes})


FAILED = {"status": "failed", "error": Failure(type="CellError", message="loss is nan", traceback="...")}


@pytest.fixture
def cell(tmp_path: Path) -> CellDir:
    return RunDir(tmp_path).cell("eval", IDENTITY)


def test_the_life_of_a_cell(cell: CellDir, tmp_path: Path) -> None:
    assert cell.path == tmp_path / "cells" / "eval-0123456789abcdef"
    assert (cell.record(), read_scores(cell.path), cell.samples()) == (None, None, [])
    cell.begin()
    cell.append([{"id": "a"}, {"id": "b"}])
    assert cell.stored() == 2
    scores = Scores(ids=["a", "b"], clusters=["u", "v"], scores={"rouge1": [0.5, None]})
    cell.write_scores(scores)
    assert cell.record() is None  # the record is what finishes a cell
    cell.finish(record())
    assert (cell.record(), read_scores(cell.path)) == (record(), scores)
    assert read_records(tmp_path) == [(record(), cell.path)]


def test_planning_reads_a_torn_file_without_touching_it(cell: CellDir) -> None:
    cell.begin()
    cell.append([{"id": "a"}])
    file = cell.path / "samples.jsonl"
    file.write_bytes(file.read_bytes() + b'{"id"')
    assert cell.stored() == 1
    assert file.read_bytes().endswith(b'{"id"')
    assert [row["id"] for row in cell.samples()] == ["a"]
    assert cell.torn == 1
    cell.samples()
    assert cell.torn == 1


def test_a_failed_cell_is_a_record_and_keeps_its_samples(cell: CellDir, tmp_path: Path) -> None:
    cell.begin()
    cell.append([{"id": "a"}])
    cell.fail(record(**FAILED))
    assert [entry.status for entry, _ in read_records(tmp_path)] == ["failed"]
    assert cell.samples() == [{"id": "a"}]
    with pytest.raises(ValueError, match=r"finish\(\) takes a done record"):
        cell.finish(record(**FAILED))
    with pytest.raises(ValueError, match=r"fail\(\) takes a failed record"):
        cell.fail(record())


def test_seconds_add_up_over_starts(tmp_path: Path) -> None:
    cell = RunDir(tmp_path).cell("train", IDENTITY)
    cell.begin()
    (cell.path / "attempts.json").write_text('{"seconds": 100.0, "starts": 1}')
    again = RunDir(tmp_path).cell("train", IDENTITY)
    again.begin()
    assert again.seconds() >= 100
    again.save_clock()
    assert json.loads((cell.path / "attempts.json").read_text())["starts"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema_version": 1, "kind"', "damaged: Expecting"),
        ("[]", "schema_version None"),
        ('{"schema_version": 2}', "schema_version 2; this perbench reads 1. Use the perbench that wrote it"),
        (record().model_dump_json().replace('"done"', '"fine"'), "damaged: status"),
        (record(identity="f" * 64).model_dump_json(), "record of another cell"),
    ],
)
def test_a_damaged_record_is_an_error_with_the_way_out(cell: CellDir, content: str, message: str) -> None:
    cell.begin()
    (cell.path / "cell.json").write_text(content)
    with pytest.raises(
        PerbenchError, match=r"Delete the folder .*eval-0123456789abcdef to run the cell again"
    ) as e:
        cell.record()
    assert message in str(e.value)


def test_only_finished_cells_are_read(tmp_path: Path, cell: CellDir) -> None:
    with pytest.raises(PerbenchError, match="no run directory"):
        read_records(tmp_path)
    cell.begin()
    assert read_records(tmp_path) == []


HOLD = """
import sys
from pathlib import Path
from perbench.store import RunDir
with RunDir(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_refuses_or_waits_and_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    run = RunDir(tmp_path)
    with (
        pytest.raises(PerbenchError, match=rf"in use by process {holder.pid} on .*--no-wait"),
        run.lock(wait=False),
    ):
        pytest.fail("two holders")
    messages: list[str] = []

    def kill(message: str) -> None:
        messages.append(message)
        holder.send_signal(signal.SIGKILL)

    with run.lock(notify=kill):
        assert holder.wait() == -signal.SIGKILL
    assert [f"process {holder.pid}" in message for message in messages] == [True]
    with run.lock(wait=False, notify=messages.append):
        assert len(messages) == 1


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with (
            pytest.raises(PerbenchError, match=f"{path} cannot be made a folder.*--out DIR"),
            RunDir(path).lock(),
        ):
            pytest.fail("locked")


def test_run_json_keeps_each_matrix_and_each_command_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.describe(
        matrix="a", spec={"seeds": [0]}, command="perbench run --matrix a", started="1", cells={"x": LABELS}
    )
    run.describe(matrix="b", spec={"seeds": [1]}, command="perbench run --matrix b", started="2")
    run.describe(
        matrix="a", spec={"seeds": [2]}, command="perbench run --matrix a", started="3", cells={"y": LABELS}
    )
    assert run.description() == {
        "schema_version": 1,
        "matrices": {"a": {"seeds": [2]}, "b": {"seeds": [1]}},
        "plans": {"a": ["y"], "b": []},
        "names": {"a": ["model m", "target t"], "b": []},
        "commands": [
            {"command": "perbench run --matrix a", "matrix": "a", "first": "1", "last": "3", "runs": 2},
            {"command": "perbench run --matrix b", "matrix": "b", "first": "2", "last": "2", "runs": 1},
        ],
    }
    (tmp_path / "run.json").write_text('{"schema_version"')
    with pytest.raises(PerbenchError, match=r"damaged.*Delete it"):
        run.description()


def test_the_environment_names_versions_but_neither_host_nor_paths() -> None:
    found = capture()
    assert found["perbench"] == "0.1.0"
    assert found["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert socket.gethostname() not in found.values()
    assert "/" not in json.dumps(found)


def test_a_deleted_working_folder_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert shorten(f"{Path.home()}/a file") == "~/a file"
