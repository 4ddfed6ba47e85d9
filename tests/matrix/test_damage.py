"""Run directories that were damaged, edited, mixed up or forged: found, or without effect on any number."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.disk.digests import read_sha256
from perbench.disk.sealed import seal
from perbench.matrix.rescore import rescore
from perbench.matrix.verify import verify
from perbench.site.load import load
from perbench.store import CellDir, CellRecord, RunDir, Scores, read_records
from tests.damage import damage_run
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs, results

SEEDS = range(60)
SPARED = ("plan.json", "run.json")


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    """Filled by `finished` and `unfinished`, once."""
    return {}


@pytest.fixture
def finished(
    root: Root, runs: Runs, made: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A fresh copy of a finished run of two trainings, and of tasks of three protocols."""
    if "finished" not in made:
        out = made["finished"] = tmp_path_factory.mktemp("finished") / "run"
        code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out))
        assert code == 0, errors
    return Path(shutil.copytree(made["finished"], tmp_path / "run"))


@pytest.fixture
def unfinished(
    root: Root, runs: Runs, made: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A fresh copy of the same run, killed between two turns of a dialogue."""
    if "unfinished" not in made:
        out = made["unfinished"] = tmp_path_factory.mktemp("unfinished") / "run"
        runs(root.path, "run", "--matrix", "small", "--out", str(out), kill=("append", 2))
        assert (out / "cells").is_dir()
    return Path(shutil.copytree(made["unfinished"], tmp_path / "killed"))


def numbers(run: Path) -> dict[str, str]:
    """All records and scores that a page of a run is made of."""
    return {entry.record.identity: repr((entry.record, entry.scores)) for entry in load([run]).entries}


def test_random_damages_of_a_finished_run_are_found_or_change_no_number(finished: Path) -> None:
    before = numbers(finished)
    whole = finished.with_name("whole")
    finished.rename(whole)
    found = []
    for seed in SEEDS:
        shutil.rmtree(finished, ignore_errors=True)
        shutil.copytree(whole, finished)
        what = damage_run(finished, random.Random(seed))
        faults = [fault for checked in verify(RunDir(finished)) for fault in checked.faults]
        found.append(bool(faults))
        kept = numbers(finished)
        assert kept.items() <= before.items(), f"{seed}: {what}"  # nothing else is shown as a result
        if not faults and kept != before:
            assert what.startswith("rename"), f"{seed}: {what}"  # a cell without cell.json is not finished
    assert sum(found) > len(SEEDS) // 2  # most damages matter


def test_random_damages_of_an_unfinished_run_cost_at_most_what_follows(unfinished: Path) -> None:
    planned = {identity for plan in RunDir(unfinished).description()["plans"].values() for identity in plan}

    def cells(run: Path) -> list[CellDir]:
        folders = {folder.name for folder in (run / "cells").iterdir()}
        kinds = [(kind, name) for kind in ("train", "eval", "identify") for name in sorted(planned)]
        made = [RunDir(run).cell(kind, name) for kind, name in kinds]  # type: ignore[arg-type]
        return [cell for cell in made if cell.path.name in folders]

    def stored(run: Path) -> list[tuple[str, list[dict[str, Any]], float, CellRecord | None]]:
        found = []
        for cell in cells(run):
            record = None
            if (cell.path / "cell.json").is_file():
                try:
                    record = cell.record()
                except Exception as error:
                    assert "delete the folder" in str(error)  # noqa: PT017
            samples = cell.samples()
            seconds, _ = cell._past() or (0.0, 0)
            found.append((cell.path.name, samples, seconds, record))
        return found

    before = {name: rest for name, *rest in stored(unfinished)}
    assert any(samples for samples, _, record in before.values() if record is None)
    for seed in SEEDS:
        copied = unfinished.with_name(f"copy-{seed}")
        shutil.copytree(unfinished, copied)
        what = damage_run(copied, random.Random(seed), lambda file: "checkpoint" not in file.parts)
        for name, samples, seconds, record in stored(copied):
            old_samples, old_seconds, old_record = before[name]
            assert samples == old_samples[: len(samples)], f"{seed}: {what}"
            assert seconds in (0, old_seconds), f"{seed}: {what}"
            assert record in (None, old_record), f"{seed}: {what}"
        shutil.rmtree(copied)


@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_was_damaged_in_many_places_ends_as_if_nothing_had_been(
    root: Root, runs: Runs, unfinished: Path, expected: dict[str, Any], seed: int
) -> None:
    draw = random.Random(seed)
    told = [
        damage_run(
            unfinished,
            draw,
            lambda file: file.name not in SPARED and "final" not in file.parts,
        )
        for _ in range(6)
    ]
    words = ("run", "--matrix", "small", "--out", str(unfinished))
    code, _, errors = runs(root.path, *words, expiry=2.0)  # a damaged lease names nobody, so it is waited for
    assert code == 0, (told, errors)
    found = results(unfinished)
    for record in found.values():
        if isinstance(record, dict):
            record["counts"].pop("damaged_samples_dropped", None)
            for notes in ("notes", "run_notes"):
                record[notes] = [note for note in record[notes] if "attempts.json" not in note]
    assert {name: found[name] for name in expected if not name.endswith("/log")} == {
        name: value for name, value in expected.items() if not name.endswith("/log")
    }, told


# ---------------------------------------------------------------- forgeries


def pair(run: Path) -> tuple[CellDir, CellDir]:
    """Two evaluations of one task."""
    cells = [
        RunDir(run).cell("eval", record.identity)
        for record, _ in read_records(run)
        if record.kind == "eval" and record.labels.target == "tiny/writing"
    ]
    return cells[0], cells[1]


def edit(cell: CellDir, change: Callable[[dict[str, Any]], None], *, sealed: bool) -> None:
    """Edit a record; a careful forger seals it anew, with the digests of what lies beside it."""
    file = cell.path / "cell.json"
    value = json.loads(file.read_bytes())
    change(value)
    if sealed:
        value["files"] = {name: read_sha256(cell.path / name) for name in value["files"]}
        value = seal(value)
    file.write_text(json.dumps(value))


def edit_samples(cell: CellDir, change: Callable[[list[dict[str, Any]]], Any], *, sealed: bool) -> None:
    file = cell.path / "samples.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    change(rows)
    if sealed:
        rows = [seal(row, cell.identity, place) for place, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if sealed:
        edit(cell, lambda record: None, sealed=True)


def forge_metric(run: Path, sealed: bool) -> None:
    def better(record: dict[str, Any]) -> None:
        record["metrics"]["rouge1"]["value"] = 0.99

    edit(pair(run)[0], better, sealed=sealed)


def forge_count(run: Path, sealed: bool) -> None:
    edit(pair(run)[0], lambda record: record["counts"].update(truncated=0, samples=400), sealed=sealed)


def forge_inputs(run: Path, sealed: bool) -> None:
    edit(pair(run)[0], lambda record: record["inputs"].update(seed=7), sealed=sealed)


def forge_labels(run: Path, sealed: bool) -> None:
    edit(pair(run)[0], lambda record: record["labels"].update(seed=7), sealed=sealed)


def swap_samples(run: Path, sealed: bool) -> None:
    one, two = pair(run)
    mine, theirs = ((cell.path / "samples.jsonl").read_text().splitlines() for cell in (one, two))
    for cell, lines in ((one, theirs), (two, mine)):
        edit_samples(
            cell,
            lambda rows, lines=lines: rows.__setitem__(slice(None), map(json.loads, lines)),
            sealed=sealed,
        )


def cut_samples(run: Path, sealed: bool) -> None:
    cell = pair(run)[0]
    edit_samples(cell, lambda rows: rows.pop(), sealed=sealed)
    if sealed:
        rescore_all(run)  # with metrics and scores of what is left


def edit_reference(run: Path, sealed: bool) -> None:
    cell = pair(run)[0]
    edit_samples(cell, lambda rows: rows[0].update(reference=rows[0]["response"]), sealed=sealed)
    if sealed:
        rescore_all(run)


def edit_score(run: Path, sealed: bool) -> None:
    cell = pair(run)[0]
    file = cell.path / "scores.json"
    scores = Scores.model_validate_json(file.read_bytes())
    name, column = next(iter(scores.scores.items()))
    cell.write_scores(scores.model_copy(update={"scores": {**scores.scores, name: [0.99, *column[1:]]}}))
    if sealed:
        edit(cell, lambda record: None, sealed=True)


def edit_log(run: Path, sealed: bool) -> None:
    """As bits that rot before the record is written, which takes its digest of what is there."""
    trained = next(record for record, _ in read_records(run) if record.kind == "train")
    cell = RunDir(run).cell("train", trained.identity)
    file = cell.path / "training.jsonl"
    file.write_text(file.read_text().replace('"loss": ', '"loss": 1', 1))
    if sealed:
        edit(cell, lambda record: None, sealed=True)


def copy_cell(run: Path, sealed: bool) -> None:
    one, two = pair(run)
    shutil.rmtree(two.path)
    shutil.copytree(one.path, two.path)
    if sealed:
        edit(two, lambda record: record.update(identity=two.identity), sealed=True)


def rescore_all(run: Path) -> None:
    assert list(rescore(RunDir(run), print, []))


FORGERIES = [
    *(forge_metric, forge_count, forge_inputs, forge_labels, swap_samples, cut_samples, edit_reference),
    *(edit_score, edit_log, copy_cell),
]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_forgeries_are_never_shown_and_those_that_are_sealed_anew_are_found_by_verify(
    root: Root, finished: Path, forge: Callable[[Path, bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {folder.name for folder in (finished / "cells").iterdir()}
    careful = shutil.copytree(finished, finished.with_name("careful") / "run")
    forge(finished, False)
    damaged = load([finished]).damaged
    assert damaged
    out = finished.parent / "site"
    assert main(["leaderboard", "build", str(finished), "--out", str(out)]) == 2
    page, said = (out / "index.html").read_text(), capsys.readouterr()
    for one in damaged:
        assert one.folder.name in page
        assert one.folder.name in said.err
        assert one.folder.name in names
        assert f'id="cell-{one.folder.name.partition("-")[2]}"' not in page
    assert main(["rescore", str(finished)]) == 2
    assert main(["verify", str(finished)]) == 2
    forge(careful, True)
    assert main(["verify", str(careful), "--json"]) == 2
    faults = [
        fault for cell in json.loads(capsys.readouterr().out.splitlines()[-1]) for fault in cell["faults"]
    ]
    assert faults


def test_a_run_as_it_was_written_passes_and_what_was_not_checked_is_said(
    root: Root, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()}
    assert main(["verify", str(finished)]) == 0
    said = capsys.readouterr()
    assert "FAULT" not in said.out
    assert "the judges' verdicts" in said.out
    assert "9 cells checked" in said.err
    assert {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()} == before
    (root.path / "tasks/tiny/writing.yaml").unlink()
    assert main(["verify", str(finished)]) == 0
    assert "metrics: " in capsys.readouterr().out
    assert main(["verify", str(finished.parent / "none")]) == 2


def test_verify_counts_what_is_not_finished_and_what_failed(
    root: Root, finished: Path, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def counted(run: Path) -> tuple[Counter[str], str]:
        assert main(["verify", str(run), "--json"]) == 0  # which is no damage
        said = capsys.readouterr()
        return Counter(cell["status"] for cell in json.loads(said.out)), said.err

    found, said = counted(finished)
    assert found == {"": 1, "done": 9}
    assert [word for word in ("not finished", "failed") if word in said] == []
    (record, folder), *_ = [one for one in read_records(finished) if one[0].kind == "eval"]
    CellDir(folder, "eval", record.identity).fail(record.model_copy(update={"status": "failed"}))
    assert counted(finished)[0] == {"": 1, "done": 8, "failed": 1}
    assert "1 cell failed" in counted(finished)[1]
    found, said = counted(unfinished)
    assert (found.total(), found["unfinished"]) == (10, 1)
    assert f"{found['unfinished'] + found['not started']} cells not finished" in said
    assert f"perbench status {unfinished}" in said


def test_a_run_names_all_damaged_cells_and_makes_them_again(
    root: Root, runs: Runs, finished: Path, expected: dict[str, Any]
) -> None:
    cells = [RunDir(finished).cell(record.kind, record.identity) for record, _ in read_records(finished)]
    broken = [cell for cell in cells if cell.kind != "train"][:4]
    (broken[0].path / "cell.json").write_text("{")
    (broken[1].path / "samples.jsonl").write_text("")
    (broken[2].path / "scores.json").unlink()
    (broken[2].path / "scores.json").mkdir()
    (broken[3].path / "cell.json").unlink()
    (broken[3].path / "cell.json").mkdir()
    (finished / "run.json").write_text("[]")
    trained = next(cell for cell in cells if cell.kind == "train")
    shutil.copytree(trained.path, finished / "cells" / "train-0123456789abcdef")
    words = ("run", "--matrix", "small", "--out", str(finished))
    code, _, errors = runs(root.path, *words)
    for cell in broken:
        assert cell.path.name in errors
    assert "train-0123456789abcdef/cell.json: the record of another cell" in errors
    assert "run.json" in errors
    assert code == 2
    assert errors.count("FAILED ") == errors.count("NOT RECORDED ") == 1  # where folders are in files' places
    (broken[2].path / "scores.json").rmdir()
    (broken[3].path / "cell.json").rmdir()
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    shutil.rmtree(finished / "cells" / "train-0123456789abcdef")
    found = results(finished)
    for record in found.values():
        if isinstance(record, dict):
            record["counts"].pop("damaged_samples_dropped", None)
    assert found == expected


def test_a_samples_file_that_two_runs_wrote_is_no_finished_cell(
    root: Root, runs: Runs, finished: Path, expected: dict[str, Any]
) -> None:
    """As an older perbench left it: no digests, no seals, every sample twice."""
    cell = pair(finished)[0]

    def old(record: dict[str, Any]) -> None:
        record["schema_version"] = 1
        del record["sha256"], record["files"]

    edit(cell, old, sealed=False)
    edit_samples(
        cell, lambda rows: [row.pop("sha256") for row in rows] and rows.extend(rows[:]), sealed=False
    )
    assert [one.folder for one in load([finished]).damaged] == [cell.path]
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(finished))
    assert code == 0, errors
    assert "more than once" in errors
    assert len(cell.samples()) == len({sample["id"] for sample in cell.samples()}) == 5


def test_records_of_an_older_perbench_are_reused_shown_and_said_to_be_unverifiable(
    root: Root, runs: Runs, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for record, folder in read_records(finished):
        cell = RunDir(finished).cell(record.kind, record.identity)
        value = json.loads((folder / "cell.json").read_bytes())
        value["schema_version"] = 1
        del value["sha256"], value["files"]
        (folder / "cell.json").write_text(json.dumps(value))
        if (folder / "samples.jsonl").exists():
            edit_samples(cell, lambda rows: [row.pop("sha256") for row in rows], sealed=False)
    code, output, errors = runs(root.path, "run", "--matrix", "small", "--out", str(finished))
    assert code == 0, errors
    assert "9 cells reused" in errors
    assert "9 records from an older perbench, without digests" in output
    assert load([finished]).unverifiable == 9
    assert main(["verify", str(finished)]) == 0
    assert capsys.readouterr().out.count("changes cannot be detected") == 9
