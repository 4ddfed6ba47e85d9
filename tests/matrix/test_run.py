"""Whole runs of a tiny matrix: killed at every phase, on a full disk, side by side, broken, rescored."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.matrix.identity import IDENTIFY_VERSION
from perbench.progress import counted
from perbench.site.load import load
from perbench.site.view import build_view
from perbench.store import RunDir, read_records
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs, results

CELLS = 9


KILLS = [
    ("save", 1),  # in training, after a checkpoint
    ("finish weights", 1),  # trained, not recorded
    ("generate", 2),  # an answer computed, not stored
    ("append", 1),  # between two batches
    ("append", 2),  # between two turns of a dialogue
    ("torn", 2),  # in the midst of writing a sample
    ("write_scores", 1),  # samples and scores stored, not recorded
    ("finish", CELLS),  # the last cell recorded, the table not printed
]


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: f"{kill[0]}-{kill[1]}")
def test_killed_and_started_again_a_run_ends_as_if_nothing_had_been(
    root: Root, runs: Runs, tmp_path: Path, expected: dict[str, Any], kill: tuple[str, int]
) -> None:
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"))
    code, _, errors = runs(root.path, *words, kill=kill)
    assert code == -signal.SIGKILL, errors
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    assert results(tmp_path / "run") == expected
    reused = re.search(r"(\d+) cells? reused", errors)
    assert reused is not None
    counts = dict.fromkeys(re.findall(r"^\[(\d+)/(\d+)\]", errors, re.MULTILINE))
    assert [*counts] == [(str(n), str(CELLS)) for n in range(int(reused[1]) + 1, CELLS + 1)]
    code, _, errors = runs(root.path, *words)
    assert code == 0
    assert f"{CELLS} cells reused; to do: 0 train, 0 evaluate, 0 identify" in errors


def test_a_full_disk_stops_the_run_and_loses_nothing(
    root: Root, runs: Runs, tmp_path: Path, expected: dict[str, Any]
) -> None:
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"))
    code, _, errors = runs(root.path, *words, full=3)
    assert code == 2
    assert "No space left on device" in errors
    assert "free some space, or write elsewhere: --out DIR" in errors
    before = [record.identity for record, _ in read_records(tmp_path / "run")]
    assert before
    code, _, errors = runs(root.path, *words)
    assert code == 0, errors
    assert f"{counted(len(before), 'cell')} reused" in errors
    assert results(tmp_path / "run") == expected


def test_an_interrupted_run_says_so_and_goes_on(
    root: Root, runs: Runs, tmp_path: Path, expected: dict[str, Any]
) -> None:
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"))
    code, _, errors = runs(root.path, *words, kill=("interrupt", 2))
    assert code == 130
    assert "Traceback" not in errors
    assert all(record.status == "done" for record, _ in read_records(tmp_path / "run"))
    assert runs(root.path, *words)[0] == 0
    assert results(tmp_path / "run") == expected


def test_two_processes_share_the_cells_of_a_run_directory(
    root: Root, tmp_path: Path, expected: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    environment = {**os.environ, "PERBENCH_INCLUDE": str(root.path), "OMP_NUM_THREADS": "1"}

    def start(*more: str) -> subprocess.Popen[str]:
        words = ["-m", "perbench", "run", "--matrix", "small", "--out", str(out), "--json", *more]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *words], env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
        output, errors = process.communicate()
        return process.returncode, output, errors

    with RunDir(out).lock():
        code, _, errors = end(start("--no-wait"))
        assert code == 2
        assert f"in use by process {os.getpid()}" in errors
        waiting = [start(), start()]
        for process in waiting:
            assert process.stderr is not None
            assert "waiting for it to finish" in process.stderr.readline()
    ended = [end(process) for process in waiting]
    assert [code for code, *_ in ended] == [0, 0], ended
    first, second = (json.loads(output) for _, output, _ in ended)
    assert first == second
    assert (first["done"], first["failed"], len(first["cells"])) == (CELLS, 0, CELLS)
    # Lines of cells that the other one has finished end with their results.
    begun = [re.findall(r"^\[\d+/\d+\] (\w+ tiny .* seed \d+)$", errors, re.M) for *_, errors in ended]
    assert len({*begun[0], *begun[1]}) == len(begun[0]) + len(begun[1]) == CELLS
    assert results(out) == expected


FAILING = '''
"""Fails on request."""

from pathlib import Path

from perbench.api import Trainer


class Failing(Trainer):
    def loss(self, batch):
        HOW
        return -batch.factual.logp, batch.factual.logp.detach() * 0 + 1
'''


def test_a_failing_cell_is_recorded_and_tried_again_and_the_others_run(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    switch = tmp_path / "broken"
    switch.touch()
    how = f"if Path({str(switch)!r}).exists(): raise RuntimeError('a fault of the plugin')"
    root.trainer("failing", FAILING.replace("HOW", how))
    root.trainer("diverging", FAILING.replace("HOW", "batch.factual.logp.data.fill_(float('nan'))"))
    root.matrix(trainers=["failing", "diverging", "ce"], targets=["tiny/writing"], identifiers=[])
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out))
    code, output, errors = runs(root.path, *words)
    assert code == 1
    assert "4 of 7 cells failed; run the same command to retry them" in errors
    assert "cells failed" not in output
    assert errors.count("FAILED train tiny failing") == 1
    assert errors.count("FAILED ") == 4
    records = {(r.kind, r.labels.trainer): r for r, _ in read_records(out)}
    assert {key for key, record in records.items() if record.status == "done"} == {
        ("train", "ce"),
        ("eval", "ce"),
        ("eval", None),
    }
    failure = records["train", "failing"].error
    assert failure is not None
    line = next(n for n, text in enumerate(FAILING.splitlines(), 1) if "HOW" in text)
    told = f"trainers/failing.py:{line}: trainer 'failing' raised RuntimeError: a fault of the plugin"
    assert (failure.type, failure.message) == ("RuntimeError", told)
    assert 'trainers/failing.py", line' in failure.traceback
    follower = records["eval", "failing"].error
    assert follower is not None
    assert follower.message == f"its training did not finish: {told}"
    nan = records["train", "diverging"].error
    assert nan is not None
    assert "step 1 of" in nan.message
    assert "test/" not in nan.message
    assert "train/user" in nan.message  # the ids of the examples
    switch.unlink()
    code, _, errors = runs(root.path, *words)
    assert code == 1
    assert "3 cells reused; to do: 2 train, 2 evaluate" in errors
    done = {r.labels.trainer for r, _ in read_records(out) if r.status == "done" and r.kind == "eval"}
    assert done == {None, "ce", "failing"}


def test_rescore_computes_anew_from_samples_alone(
    root: Root, runs: Runs, tmp_path: Path, expected: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    assert runs(root.path, "run", "--matrix", "small", "--out", str(out))[0] == 0
    code, output, _ = runs(root.path, "rescore", str(out))
    assert code == 0
    assert "nothing changed" in output
    assert results(out) == expected
    root.task("writing", metrics=["rouge1", "rougeL"], headline="rougeL")
    code, output, errors = runs(root.path, "rescore", str(out), "--json")
    assert code == 0, errors
    changed = {tuple(entry["changed"]) for entry in json.loads(output)}
    assert changed == {(), ("length", "rougeL")}
    records = [record for record, _ in read_records(out) if record.labels.target == "tiny/writing"]
    assert {record.headline for record in records} == {"rougeL"}
    assert all(list(record.metrics) == ["rouge1", "rougeL"] for record in records)
    root.task("writing", sampling={"max_new_tokens": 6, "temperature": 0.1})
    code, _, errors = runs(root.path, "rescore", str(out))
    assert code == 2
    assert "(sampling.temperature); restore it, or run the matrix again" in errors
    assert runs(root.path, "run", "--matrix", "small", "--out", str(out))[0] == 0
    code, output, errors = runs(root.path, "rescore", str(out), "--json")
    assert code == 0, "what the latest plan left behind stands in nobody's way"
    assert errors.count("of an earlier plan, not changed") == 3
    assert len(json.loads(output)) == CELLS - 2  # of the plan, all but the two trainings


def test_rescore_keeps_what_only_the_run_could_note(
    root: Root, runs: Runs, tmp_path: Path, tiny_model_dir: Path
) -> None:
    model, out = tmp_path / "clock", tmp_path / "run"
    shutil.copytree(tiny_model_dir, model)
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text("{{ strftime_now('%Y') }}" + template)
    words = ("--model", str(model), "--target", "tiny/writing", "--out", str(out))
    code, _, errors = runs(root.path, "eval", *words)
    assert code == 0, errors
    [(record, _)] = read_records(out)
    assert any("2024-07-26" in note for note in record.notes)
    cell = RunDir(out).cell("eval", record.identity)
    told = {"notes": ["of an older scoring", *record.notes, "lost"], "run_notes": [*record.run_notes, "lost"]}
    cell.finish(record.model_copy(update=told))
    assert runs(root.path, "rescore", str(out))[0] == 0
    [(again, _)] = read_records(out)
    assert again.notes == [*record.notes, "lost"]


def test_rescore_refuses_samples_of_another_version_of_the_protocol(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ("--model", "tiny", "--task", "tiny/qa", "--identifier", "word_matching", "--out", str(out))
    assert runs(root.path, "identify", *words)[0] == 0
    [(record, folder)] = read_records(out)
    inputs = {**record.inputs, "version": 1}
    older = RunDir(out).cell("identify", canonical_digest(inputs))
    folder.rename(older.path)
    older.finish(record.model_copy(update={"inputs": inputs, "identity": older.identity}))
    [(name, spec)] = RunDir(out).description()["matrices"].items()
    planned = {older.identity: record.labels}
    RunDir(out).describe(matrix=name, spec=spec, command="c", started="1", cells=planned)
    code, _, errors = runs(root.path, "rescore", str(out))
    assert code == 2
    told = f"protocol version 1; this perbench reads {IDENTIFY_VERSION}: run the matrix again"
    assert told in errors


def test_the_latest_plan_is_shown_even_when_it_reuses_older_cells(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    root.matrix(targets=["tiny/writing"], identifiers=[], trainers=["ce"], training={"batch_size": 3})
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"))
    first = runs(root.path, *words)
    changed = runs(root.path, *words, "--set", "training.learning_rate=0.05", "--set", "training.epochs=9")
    again = runs(root.path, *words)
    assert [code for code, *_ in (first, changed, again)] == [0, 0, 0]
    assert "3 cells reused" in again[2]
    assert first[1] != changed[1]
    assert again[1] == first[1]


def test_matrices_that_share_a_directory_and_trainings_each_print_their_own_table(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    keys = {"targets": ["tiny/writing"], "identifiers": [], "training": {"batch_size": 3}}
    root.matrix("one", **keys, trainers=["ce", "perce"], baseline="ce")
    root.matrix("two", **keys, trainers=["sft", "perce"], baseline="sft", base_rows=False)
    out = str(tmp_path / "run")
    first = runs(root.path, "run", "--matrix", "one", "--out", out)
    second = runs(root.path, "run", "--matrix", "two", "--out", out)
    again = runs(root.path, "run", "--matrix", "one", "--out", out)
    assert [code for code, *_ in (first, second, again)] == [0, 0, 0], second[2]
    assert "2 cells reused; to do: 1 train, 1 evaluate" in second[2]
    assert "gain over sft" in second[1]
    assert not {"ce", "base"} & {line.split()[0] for line in second[1].splitlines() if line.strip()}
    assert again[1] == first[1]
    with pytest.raises(PerbenchError, match="different baselines: ce, sft"):
        load([tmp_path / "run"])


def test_two_forms_of_one_task_stand_side_by_side_under_the_names_of_the_latest_matrix(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    forms = {"plain": "{text}", "bare": "- {text}"}
    prompts = {name: {"system": "{persona}", "item": item} for name, item in forms.items()}
    root.task("writing", prompts=prompts)
    out = tmp_path / "run"

    def run(**changes: str) -> tuple[str, str, list[str | None]]:
        row = {"task": "tiny/writing", "prompt": "bare", **changes}
        root.matrix(targets=["tiny/writing", row], identifiers=[], trainers=[], sources=[], baseline=None)
        code, shown, said = runs(root.path, "run", "--matrix", "small", "--out", str(out))
        assert code == 0, said
        return shown, said, sorted(record.labels.target or "" for record, _ in read_records(out))

    shown, _, targets = run()
    assert targets == ["tiny/writing", "tiny/writing (prompt=bare)"]
    assert "writing (prompt=bare)" in shown  # below its family
    assert "older" not in shown
    shown, said, targets = run(**{"as": "short"})
    assert "2 cells reused; to do: 0 train, 0 evaluate" in said
    assert targets == ["tiny/writing", "tiny/writing (short)"]
    assert "writing (short)" in shown
    assert runs(root.path, "rescore", str(out))[0] == 0


def test_a_model_in_a_folder_that_ran_is_not_said_to_be_planned_only(
    root: Root, runs: Runs, tmp_path: Path, tiny_model_dir: Path
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "foo").symlink_to(tiny_model_dir)
    folder = os.path.relpath(tmp_path / "models" / "foo")
    out = tmp_path / "run"
    code, _, errors = runs(
        root.path, "eval", "--model", folder, "--target", "tiny/writing", "--out", str(out)
    )
    assert code == 0, errors
    assert [record.labels.model for record, _ in read_records(out)] == ["foo"]
    assert list(RunDir(out).description()["names"].values()) == [["model foo", "target tiny/writing"]]
    assert build_view(load([out])).matrix.unrecorded == ()


def test_short_forms_are_matrices_of_one_cell(root: Root, runs: Runs, tmp_path: Path) -> None:
    single = ("--model", "tiny", "--out", str(tmp_path / "run"), "--json", "--set", "training.epochs=1")
    training = (*single, "--trainer", "perce", "--source", "tiny/writing", "--param", "clip_max=2.0")
    code, output, errors = runs(root.path, "train", *training)
    assert code == 0, errors
    [trained] = json.loads(output)["cells"]
    assert (trained["kind"], trained["labels"]["trainer_params"]) == ("train", {"clip_max": 2.0})
    (following,) = [line for line in errors.splitlines() if line.startswith("next: ")]
    _, _, *words = shlex.split(following)
    code, output, errors = runs(root.path, *words, "--dry-run", "--json")
    assert code == 0, errors
    assert [cell["action"] for cell in json.loads(output)["cells"]] == ["reuse", "run"]
    code, output, errors = runs(root.path, "eval", *training, "--target", "tiny/other")
    assert code == 0, errors
    assert "1 cell reused; to do: 0 train, 1 evaluate" in errors
    assert [cell["kind"] for cell in json.loads(output)["cells"]] == ["train", "eval"]
    code, output, _ = runs(
        root.path, "eval", *single[:-2], "--target", "tiny/qa", "--identifier", "percontrast"
    )
    assert code == 0
    assert [cell["labels"]["identifier"] for cell in json.loads(output)["cells"]] == ["percontrast"]
    code, _, errors = runs(root.path, "eval", *single, "--target", "tiny/other", "--trainer", "ce")
    assert code == 2
    assert "give both --trainer and --source" in errors


def test_dry_run_counts_tokens_and_knows_the_pace_of_past_cells(
    root: Root, runs: Runs, tmp_path: Path
) -> None:
    words = ("run", "--matrix", "small", "--out", str(tmp_path / "run"), "--dry-run", "--json")
    code, output, errors = runs(root.path, *words)
    assert code == 0, errors
    assert not (tmp_path / "run").exists()
    plan = json.loads(output)
    assert plan["total"]["seconds"] is None
    assert (plan["total"]["train"], plan["total"]["eval"], plan["total"]["identify"]) == (2, 6, 1)
    assert runs(root.path, *words[:-2])[0] == 0
    limited = json.loads(runs(root.path, *words, "--limit", "2")[1])
    assert limited["total"]["seconds"] > 0
    assert {cell["reason"].partition(" 20")[0] for cell in limited["cells"]} == {
        "stale: data changed since",
        "stale: data, train changed since",
        "stale: train changed since",  # the dialogue has two examples anyway
        "finished",
    }
    by_kind = {cell["kind"]: cell for cell in plan["cells"]}
    trained = next(r for r, _ in read_records(tmp_path / "run") if r.kind == "train")
    assert by_kind["train"]["tokens"] == trained.tokens["total"]
    assert by_kind["train"]["tokens_exact"]
