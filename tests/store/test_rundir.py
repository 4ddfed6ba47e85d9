"""Cells and records of a run directory."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perbench.disk.digests import canonical_digest
from perbench.disk.files import append_journal, write_json
from perbench.disk.sealed import seal
from perbench.errors import PerbenchError
from perbench.store import (
    CellDir,
    CellRecord,
    DamagedRecord,
    Failure,
    Labels,
    LostLock,
    Metric,
    RunDir,
    Scores,
    read_records,
)
from perbench.store.cell import CLOCK_LOST
from perbench.store.check import read_scores
from perbench.store.environment import capture, shorten
from perbench.store.leftovers import inherit, sweep_old

INPUTS = {"seed": 0}
IDENTITY = canonical_digest(INPUTS)
LABELS = Labels(model="m", target="t", seed=0)


def record(**changes: Any) -> CellRecord:
    values: dict[str, Any] = {
        "kind": "eval",
        "identity": IDENTITY,
        "inputs": INPUTS,
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
    assert cell.path == tmp_path / "cells" / f"eval-{IDENTITY[:16]}"
    assert (cell.record(), read_scores(cell.path), cell.samples()) == (None, None, [])
    cell.begin()
    cell.append([{"id": "a"}, {"id": "b"}])
    assert cell.stored() == 2
    scores = Scores(ids=["a", "b"], clusters=["u", "v"], scores={"rouge1": [0.5, None]})
    cell.write_scores(scores)
    assert cell.record() is None  # the record is what finishes a cell
    cell.finish(record())
    found = cell.record()
    assert found is not None
    assert found.model_copy(update={"files": {}, "sha256": None}) == record()
    assert sorted(found.files) == ["samples.jsonl", "scores.json"]
    assert read_scores(cell.path) == scores
    assert read_records(tmp_path) == [(found, cell.path)]


def test_planning_reads_a_torn_file_without_touching_it(cell: CellDir) -> None:
    cell.begin()
    cell.append([{"id": "a"}])
    file = cell.path / "samples.jsonl"
    file.write_bytes(file.read_bytes() + b'{"id"')
    assert cell.stored() == 1
    assert file.read_bytes().endswith(b'{"id"')
    assert cell.mend(["a"]) == {"torn_lines_cut": 1}
    assert cell.mend(["a"]) == {}
    assert [row["id"] for row in cell.samples()] == ["a"]


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


def sealed(**changes: Any) -> dict[str, Any]:
    value = json.loads(record(**changes).model_dump_json(exclude={"sha256"}))
    return seal(value) if value["schema_version"] > 1 else value


UNLIKE = {"inputs": {"seed": 1}, "identity": canonical_digest({"seed": 1})}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema_version": 1, "kind"', "damaged: EOF"),
        ("[]", "schema_version None"),
        ("[" * 10**5, "damaged: "),
        ('{"schema_version": true}', "schema_version True"),
        (
            '{"schema_version": 3}',
            "schema_version 3; this perbench reads 1 and 2; use the perbench that wrote",
        ),
        (json.dumps(sealed()).replace('"done"', '"fine"'), "edited or damaged"),
        (json.dumps(seal({**sealed(), "status": "fine"})), "damaged: status"),
        (json.dumps({**sealed(), "seconds": 0.5}), "edited or damaged"),
        (json.dumps({key: part for key, part in sealed().items() if key != "sha256"}), "edited or damaged"),
        (
            json.dumps(sealed(schema_version=1, seconds=float("1e300"))).replace("1e+300", "1e999"),
            "damaged: ",
        ),
        (json.dumps(sealed(**UNLIKE)), "the record of another cell"),
        (json.dumps(sealed(schema_version=1, **UNLIKE)), "the record of another cell"),
        (json.dumps(sealed(inputs={"seed": 1})), "do not match its identity"),
        (json.dumps(sealed(schema_version=1, inputs={"seed": 1})), "do not match its identity"),
    ],
)
def test_a_damaged_record_is_an_error_with_the_way_out(cell: CellDir, content: str, message: str) -> None:
    cell.begin()
    (cell.path / "cell.json").write_text(content)
    with pytest.raises(DamagedRecord, match=rf"{cell.path.name}/cell.json: .*delete the folder") as e:
        cell.record()
    assert message in str(e.value)


def test_all_damaged_cells_are_named_at_once_and_hide_no_other(cell: CellDir, tmp_path: Path) -> None:
    cell.begin()
    cell.finish(record())
    shutil.copytree(cell.path, cell.path.with_name("eval-copied"))
    (tmp_path / "cells" / "train-folder" / "cell.json").mkdir(parents=True)
    damaged: list[DamagedRecord] = []
    [(found, _)] = read_records(tmp_path, damaged)
    assert found.identity == IDENTITY
    assert [damage.here.partition(": ")[0] for damage in damaged] == [
        "cells/eval-copied/cell.json",
        "cells/train-folder/cell.json",
    ]
    with pytest.raises(PerbenchError, match=r"(?s)eval-copied.*train-folder"):
        read_records(tmp_path)


@pytest.mark.parametrize("name", ["samples.jsonl", "scores.json", "training.jsonl", "endpoints.jsonl"])
def test_a_finished_cell_needs_its_files_as_they_were(cell: CellDir, name: str) -> None:
    cell.begin()
    cell.append([{"id": "a"}])
    for other in ("training.jsonl", "endpoints.jsonl", "scores.json"):
        (cell.path / other).write_text("{}\n")
    cell.finish(record())
    assert cell.record() is not None
    file = cell.path / name
    content = file.read_bytes()
    for change in (content + b" ", content[:-1], None):
        if change is None:
            file.unlink()
        else:
            file.write_bytes(change)
        with pytest.raises(DamagedRecord, match=rf"{name}: "):
            cell.record()


def test_a_record_of_an_older_perbench_is_read_and_gets_no_digests_by_a_new_name(cell: CellDir) -> None:
    cell.begin()
    append_journal(cell.path / "samples.jsonl", [{"id": "a"}, {"id": "b"}])
    write_json(cell.path / "cell.json", sealed(schema_version=1))
    found = cell.record()
    assert found is not None
    assert not found.verifiable
    assert [row["id"] for row in cell.samples()] == ["a", "b"]
    labels = LABELS.model_copy(update={"model": "other"})
    cell.relabel(found.model_copy(update={"labels": labels}))
    again = cell.record()
    assert again is not None
    assert (again.labels.model, again.verifiable) == ("other", False)
    append_journal(cell.path / "samples.jsonl", [{"id": "b"}])
    with pytest.raises(DamagedRecord, match=r"samples.jsonl: .* 1 more than once \(b\)"):
        cell.record()


def test_samples_that_were_changed_swapped_or_copied_are_cut_with_what_follows(tmp_path: Path) -> None:
    def stored(*rows: dict[str, Any], owner: str = IDENTITY) -> list[bytes]:
        cell = RunDir(tmp_path / owner[:8]).cell("eval", owner)
        cell.begin()
        cell.append(rows)
        return (cell.path / "samples.jsonl").read_bytes().splitlines(keepends=True)

    rows = [{"id": name, "response": f"answer {name}"} for name in "abcd"]
    lines, foreign = stored(*rows), stored(*rows, owner="f" * 64)
    cell = RunDir(tmp_path / IDENTITY[:8]).cell("eval", IDENTITY)
    damages = {
        "changed": ([lines[0], lines[1].replace(b"answer b", b"answer B"), *lines[2:]], 1),
        "half a seal": ([lines[0], lines[1].replace(b'"sha256"', b'"sha257"'), *lines[2:]], 1),
        "swapped": ([lines[0], lines[2], lines[1], lines[3]], 1),
        "copied": ([*lines[:3], lines[0], lines[3]], 3),
        "removed": ([lines[0], *lines[2:]], 1),
        "of another cell": ([*lines[:2], *foreign[2:]], 2),
        "no JSON": ([*lines[:2], b"{]\n", lines[3]], 2),
        "cut at a line's end": (lines[:2], 2),
    }
    for name, (content, kept) in damages.items():
        (cell.path / "samples.jsonl").write_bytes(b"".join(content))
        said: list[str] = []
        again = RunDir(tmp_path / IDENTITY[:8]).cell("eval", IDENTITY, said.append)
        assert again.stored() == kept, name
        dropped = len(content) - kept
        counts = again.mend([row["id"] for row in rows])
        assert counts == ({"damaged_samples_dropped": dropped} if dropped else {}), name
        assert again.samples() == rows[:kept], name
        assert [f"samples.jsonl:{kept + 1}: " in line for line in said] == [True][:dropped]
        again.append(rows[kept:])
        assert (cell.path / "samples.jsonl").read_bytes() == b"".join(lines), name


def test_samples_that_are_not_the_plans_or_stand_twice_are_cut(cell: CellDir) -> None:
    cell.begin()
    append_journal(cell.path / "samples.jsonl", [{"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": "c"}])
    assert cell.mend(["a", "b", "c"]) == {"damaged_samples_dropped": 2}
    assert [row["id"] for row in cell.samples()] == ["a", "b"]
    assert cell.mend(["a", "c"]) == {"damaged_samples_dropped": 1}
    assert [row["id"] for row in cell.samples()] == ["a"]


@pytest.mark.parametrize("content", ["", "[]", '{"seconds": "x", "starts": 1}', "{}", None])
def test_a_damaged_clock_begins_anew_and_is_said(cell: CellDir, content: str | None) -> None:
    cell.begin()
    file = cell.path / "attempts.json"
    file.write_text(file.read_text().replace("0.0", "9.0") if content is None else content)
    said: list[str] = []
    again = CellDir(cell.path, "eval", IDENTITY, say=said.append)
    assert again.begin() == [CLOCK_LOST]
    assert again.seconds() < 5
    assert "attempts.json" in said[0]


def test_nothing_is_written_once_the_lock_is_another_file(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with run.lock():
        cell = run.cell("eval", IDENTITY)
        cell.begin()
        cell.append([{"id": "a"}])
        (tmp_path / ".workers" / "leases" / "run").unlink()
        with RunDir(tmp_path).lock(wait=False):  # another run, which finds no lock
            writes: list[Callable[[], Any]] = [
                cell.begin,
                cell.save_clock,
                lambda: cell.append([{"id": "b"}]),
                lambda: cell.write_scores(Scores(ids=[], clusters=[], scores={})),
                lambda: cell.finish(record()),
                lambda: cell.fail(record(**FAILED)),
                lambda: cell.relabel(record()),
                lambda: run.describe(matrix="m", spec={}, command="c", started="1"),
            ]
            before = {file: file.read_bytes() for file in tmp_path.rglob("*.json*")}
            for write in writes:
                with pytest.raises(LostLock, match=r"run was (removed or replaced|taken over)"):
                    write()
            assert {file: file.read_bytes() for file in tmp_path.rglob("*.json*")} == before
        shutil.rmtree(tmp_path)
        with pytest.raises(LostLock):
            cell.append([{"id": "b"}])
        assert not tmp_path.exists()


def test_what_killed_writes_left_is_removed_and_nothing_else(cell: CellDir, tmp_path: Path) -> None:
    cell.begin()
    left = [tmp_path / ".run.json.0123abcd.tmp", cell.path / ".cell.json.0123abcd.tmp"]
    left.append(cell.path / ".samples.jsonl.89abcdef.tmp")
    kept = [cell.path / ".notes.txt.0123abcd.tmp", cell.path / ".cell.json.tmp", tmp_path / "run.json.tmp"]
    for file in (*left, *kept):
        file.write_text("half")
    with RunDir(tmp_path).lock():
        inherit(cell.path, taken_over=False)
        assert [file.exists() for file in left] == [False] * 3
    assert all(file.exists() for file in kept)


def test_only_finished_cells_are_read(tmp_path: Path, cell: CellDir) -> None:
    with pytest.raises(PerbenchError, match="not a run directory"):
        read_records(tmp_path)
    cell.begin()
    assert read_records(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with (
            pytest.raises(PerbenchError, match=f"{path} cannot be created.*--out DIR"),
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
    with pytest.raises(PerbenchError, match=r"damaged.*delete it"):
        run.description()


def test_the_environment_names_versions_but_neither_host_nor_paths() -> None:
    found = capture()
    assert found["perbench"] == "0.1.0"
    assert found["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert socket.gethostname() not in found.values()
    assert "/" not in json.dumps(found)


def test_where_others_may_be_writing_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    left = [tmp_path / ".index.html.0123abcd.tmp", tmp_path / ".0f.json.89abcdef.tmp"]
    kept = [tmp_path / "index.html", tmp_path / ".index.html.tmp", tmp_path / ".new.json.0123abcd.tmp"]
    for file in (*left, *kept):
        file.touch()
    for file in (*left, *kept[:2]):
        os.utime(file, (0, 0))
    sweep_old([tmp_path / "gone", tmp_path])
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "locked"])


def test_a_deleted_working_folder_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert shorten(f"{Path.home()}/a file") == "~/a file"
    assert shorten("odd \udcff name") == r"odd \udcff name"  # which no record could hold
