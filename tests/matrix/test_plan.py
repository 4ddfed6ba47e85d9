"""Plans: how many cells, in what order, and why each runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.disk.manifest import seal_folder
from perbench.errors import PerbenchError, SpecError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.matrix.plan import Plan, make_plan
from perbench.specs.compose import owner_of
from perbench.specs.matrices import load_matrix
from perbench.store import CellRecord, Failure, Metric, RunDir
from tests.matrix.conftest import Root, write_rows, writing_rows


def cells_of(root: Root, limit: int | None = None, sets: tuple[str, ...] = (), **changes: Any) -> list[Cell]:
    spec = load_matrix(root.matrix(**changes), sets).spec
    return expand(spec, Catalogue(spec, {}, limit))


def record(cell: Cell, **changes: Any) -> CellRecord:
    names = cell.task.spec.metrics if cell.kind == "eval" else []
    values: dict[str, Any] = {
        "kind": cell.kind,
        "identity": cell.identity,
        "inputs": cell.inputs,
        "status": "done",
        "labels": cell.labels,
        "metrics": {name: Metric(value=0.5, n=1, signature="s") for name in names},
        "headline": cell.task.spec.headline if cell.kind != "train" else None,
        "seconds": 10.0,
        "started": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:00:10Z",
        "environment": {},
        "command": "c",
    }
    values |= changes
    better = owner_of(cell.task.spec).better(values["metrics"]) if cell.kind == "eval" else {}
    return CellRecord(**{"better": better, **values})


def finish(run: RunDir, cell: Cell, **changes: Any) -> None:
    folder = run.cell(cell.kind, cell.identity)
    folder.begin()
    if cell.kind == "train":
        final = folder.checkpoint / "final"
        final.mkdir(parents=True)
        (final / "state.json").write_text('{"name": "final"}')
        seal_folder(final)
    folder.finish(record(cell, **changes))


def reasons(plan: Plan) -> dict[str, str]:
    return {f"{step.action}: {step.reason}": str(step.cell) for step in plan.steps}


def test_every_model_is_trained_once_and_evaluated_everywhere(root: Root) -> None:
    cells = cells_of(
        root,
        sources=["tiny/writing", "tiny/other"],
        targets=["tiny/writing", "tiny/other", "tiny/talk", "tiny/qa"],
        trainers=["ce", {"name": "perce", "params": {"clip_max": [3.0, 5.0]}}],
        identifiers=["percontrast", {"name": "word_matching"}],
        training={"learning_rate": [1e-3, 1e-4], "lora": {"rank": [2, 4]}},
        seeds=[0, 1],
    )
    trained = 2 * 3 * 4 * 2  # sources, trainer variants, training variants, seeds
    assert Counter(cell.kind for cell in cells) == {
        "train": trained,
        "eval": trained * 3 + 3 * 2,
        "identify": 2,
    }
    assert len({cell.identity for cell in cells}) == len(cells)
    places = {cell.identity: place for place, cell in enumerate(cells)}
    assert all(places[cell.needs.identity] < place for place, cell in enumerate(cells) if cell.needs)
    served = [cell.needs.identity if cell.needs else None for cell in cells if cell.kind == "eval"]
    loads = 1 + sum(one != two for one, two in pairwise(served))
    assert loads == trained + 1  # each checkpoint is loaded once, the base model once
    example = next(cell for cell in cells if cell.labels.training)
    assert set(example.labels.training) == {"learning_rate", "lora.rank"}


def test_a_trainers_own_settings_are_its_cells_and_told_in_their_names(root: Root) -> None:
    rows = ["ce", {"name": "ce", "training": {"per_user": True, "learning_rate": 2e-5}}]
    plain, own = (cell for cell in cells_of(root, trainers=rows) if cell.kind == "train")
    assert plain.training is not None
    assert plain.training.per_user is None
    assert own.training is not None
    assert own.training.per_user is not None
    assert own.training.learning_rate == 2e-5 != plain.training.learning_rate
    assert str(own) == str(plain).replace(
        "ce ", "ce(training.learning_rate=2e-05, training.per_user=True) ", 1
    )


def test_rows_that_turn_history_items_into_other_examples_train_users_on_them(root: Root) -> None:
    asked = "fields.item_example.question"
    rows = [
        {"task": "tiny/writing", "as": name, asked: question} for name, question in (("a", "A?"), ("b", "B?"))
    ]
    cells = cells_of(root, sources=rows, trainers=[{"name": "ce", "training": {"per_user": True}}])
    one, two = (cell for cell in cells if cell.kind == "train")
    assert one.inputs["own_data"] != two.inputs["own_data"]


def test_base_rows_can_be_left_out(root: Root) -> None:
    assert all(cell.needs for cell in cells_of(root, base_rows=False) if cell.kind == "eval")


def test_limit_changes_the_data_and_so_every_identity(root: Root) -> None:
    one, two = cells_of(root), cells_of(root, limit=1)
    assert len(one) == len(two)
    assert not {cell.identity for cell in one} & {cell.identity for cell in two}


def test_settings_that_a_trainer_refuses_fail_the_plan(root: Root) -> None:
    noisy = {"lora": {"rank": 2, "dropout": 0.1}}
    cells_of(root, trainers=["ce"], training=noisy)
    with pytest.raises(PerbenchError, match=r"lora\.dropout 0\.1 with PerCE: .* set lora\.dropout to 0"):
        cells_of(root, trainers=["ce", "perce"], training=noisy)


def test_two_names_of_one_model_are_refused(root: Root) -> None:
    (root.path / "leaderboard/models/again.yaml").write_text(
        (root.path / "leaderboard/models/tiny.yaml").read_text()
    )
    with pytest.raises(PerbenchError, match=r"same work twice: \[eval tiny base .*\] and \[eval again base"):
        cells_of(root, models=["tiny", "again"])


def test_a_local_folder_is_known_by_its_last_part_only(root: Root, tiny_model_dir: Path) -> None:
    cells = cells_of(root, models=[str(tiny_model_dir)])
    assert {cell.labels.model for cell in cells} == {"tiny"}
    assert str(tiny_model_dir) not in json.dumps([cell.inputs for cell in cells])
    assert {cell.identity for cell in cells} == {cell.identity for cell in cells_of(root)}


def test_a_reference_in_a_local_folder_too(root: Root, tiny_model_dir: Path) -> None:
    trainers = [{"name": "nextquill", "params": {"effect_model": str(tiny_model_dir), "alpha": 0.1}}]
    cells = [cell for cell in cells_of(root, trainers=trainers, baseline=None) if cell.labels.trainer]
    assert {json.dumps(cell.labels.trainer_params) for cell in cells} == {
        '{"alpha": 0.1, "effect_model": "tiny"}'
    }
    assert str(tiny_model_dir) not in json.dumps([cell.inputs for cell in cells])


def test_reasons_of_each_state(root: Root, tmp_path: Path) -> None:
    cells = cells_of(root)
    run = RunDir(tmp_path / "run")
    assert reasons(make_plan(cells, run)).keys() == {"run: no record"}
    train = [cell for cell in cells if cell.kind == "train"]
    evals = [cell for cell in cells if cell.kind == "eval"]
    finish(run, train[0])
    (run.cell("train", train[1].identity).checkpoint / "step-000002").mkdir(parents=True)
    (run.cell("train", train[1].identity).checkpoint / "step-000002-1").mkdir()  # renamed by hand
    finish(run, evals[0])
    error = Failure(type="E", message="loss is nan\nand more", traceback="")
    failed = run.cell("eval", evals[1].identity)
    failed.fail(record(evals[1], status="failed", error=error))
    run.cell("eval", evals[2].identity).begin()
    run.cell("eval", evals[2].identity).append([{"id": "a"}, {"id": "b"}])
    found = reasons(make_plan(cells, run))
    assert found == {
        "reuse: finished 2026-01-01T00:00:10Z": str(train[0]),  # evals[0] too
        "resume: checkpoint at step 2": str(train[1]),
        "run: failed before: loss is nan": str(evals[1]),
        "resume: 2 samples stored": str(evals[2]),
        "run: no record": str(cells[-1]),
    }
    counts = make_plan(cells, run).counts()
    assert counts == {"train": 1, "eval": len(evals) - 1, "identify": 1, "reuse": 2}


def test_stale_cells_name_the_input_that_changed(root: Root, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    for cell in cells_of(root):
        finish(run, cell)
    changed = reasons(make_plan(cells_of(root, sets=("training.learning_rate=1.0",)), run))
    assert set(changed) == {
        "reuse: finished 2026-01-01T00:00:10Z",  # base rows and identification
        "run: stale: training.learning_rate changed since",
        "run: stale: train changed since",
    }
    root.task("writing", max_length=399)
    assert "run: stale: source.max_length changed since" in reasons(make_plan(cells_of(root), run))
    root.task("writing")
    rows = root.path / "data/writing/test.jsonl"
    rows.write_text(rows.read_text().replace("night", "bear"))
    found = make_plan(cells_of(root), run)
    assert {step.reason for step in found.todo} == {"stale: data changed since"}
    assert {step.cell.task.name for step in found.todo} == {"tiny/writing"}


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (shutil.rmtree, "final is missing"),
        (lambda final: (final / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda final: (final / "state.json").write_text("{}"), "state.json is damaged"),
        (lambda final: (final / "adapter_config.json").touch(), "adapter_config.json is unexpected"),
        (lambda final: seal_folder(final), None),
    ],
)
def test_a_training_whose_weights_are_not_there_runs_again_only_if_needed(
    root: Root, tmp_path: Path, damage: Callable[[Path], object], fault: str | None
) -> None:
    run = RunDir(tmp_path / "run")
    cells = cells_of(root)
    for cell in cells:
        finish(run, cell)
    first_cell = next(cell for cell in cells if cell.kind == "train")
    first = run.cell("train", first_cell.identity)
    damage(first.checkpoint / "final")
    assert make_plan(cells, run).todo == ()
    wanting = next(cell for cell in cells if cell.needs is first_cell)
    (run.cell("eval", wanting.identity).path / "cell.json").unlink()
    found = make_plan(cells, run).todo
    assert [step.cell for step in found] == [*([first_cell] if fault else []), wanting]
    assert fault is None or fault in found[0].reason


def test_a_metric_the_record_lacks_is_pointed_out(root: Root, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    cell = next(cell for cell in cells_of(root) if cell.kind == "eval")
    finish(run, cell, metrics={})
    [step] = make_plan([cell], run).steps
    assert step.action == "reuse"
    assert "without rouge1, length: `perbench rescore" in step.reason
    assert step.rescore == ""  # its record says why it is not there


def test_a_headline_other_than_the_tasks_is_pointed_out(root: Root, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    cell = next(cell for cell in cells_of(root) if cell.kind == "eval")
    finish(run, cell, headline="length")
    [step] = make_plan([cell], run).steps
    assert (step.action, step.rescore) == ("reuse", "headline length, not rouge1")
    finish(run, cell, headline="rouge1")
    assert make_plan([cell], run).steps[0].rescore == ""


def test_the_dev_split_is_part_of_what_an_identification_is(root: Root, tmp_path: Path) -> None:
    def identify(limit: int | None = None) -> Cell:
        return next(cell for cell in cells_of(root, limit) if cell.kind == "identify")

    bare = identify()
    assert bare.inputs["dev"] is None
    rows = [{**row, "gold": []} for row in writing_rows(9, 4)]
    write_rows(root.path / "data" / "qa" / "train.jsonl", rows)
    tuned = identify()
    assert tuned.identity != bare.identity
    assert tuned.inputs["data"] == bare.inputs["data"]
    write_rows(root.path / "data" / "qa" / "train.jsonl", rows[:3])
    assert identify().identity != tuned.identity
    assert len(identify().examples) == 3 + 3
    assert make_plan([tuned], RunDir(tmp_path / "run")).todo[0].cell is tuned


def test_planning_imports_no_torch(root: Root) -> None:
    code = (
        "import sys; from pathlib import Path; from perbench.matrix.options import Options;"
        "from perbench.matrix.session import carry_out;"
        "from perbench.specs.matrices import load_matrix; from perbench.store import RunDir;"
        "from perbench.matrix.catalogue import Catalogue; from perbench.matrix.cells import expand;"
        "from perbench.matrix.plan import make_plan;"
        f"spec = load_matrix({str(root.matrix())!r}).spec;"
        "cells = expand(spec, Catalogue(spec, {}, None));"
        f"plan = make_plan(cells, RunDir(Path({str(root.path / 'none')!r})));"
        "assert len(plan.todo) == 9, len(plan.todo);"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


VARIED: dict[str, Any] = {
    "prompts": {
        "plain": {"system": "Persona:\n{persona}", "item": "{text}"},
        "other": {"system": "{persona}", "item": "- {text}"},
    }
}


def test_a_row_that_changes_a_task_is_a_column_of_its_own(root: Root) -> None:
    root.task("writing", **VARIED)
    target, source = ({"task": "tiny/writing", "prompt": "other", "persona": {"k": [1, 2]}} for _ in "ab")
    source["as"] = "o"
    rows = {"targets": ["tiny/writing", target], "sources": ["tiny/writing", source]}
    cells = cells_of(root, identifiers=[], **rows)
    evals = [cell for cell in cells if cell.kind == "eval"]
    columns = [f"tiny/writing{t}" for t in ("", *(f" (persona.k={k}, prompt=other)" for k in (1, 2)))]
    assert list(dict.fromkeys(cell.labels.target for cell in evals)) == columns
    trained = [cell.labels.source for cell in cells if cell.kind == "train" and cell.labels.trainer == "ce"]
    assert trained == ["tiny/writing", "tiny/writing (o, persona.k=1)", "tiny/writing (o, persona.k=2)"]
    assert len({cell.identity for cell in cells}) == len(cells) == 6 + 3 + 18
    assert {cell.inputs["target"]["name"] for cell in evals} == {"tiny/writing"}
    assert {cell.inputs["data"] for cell in evals} == {evals[0].inputs["data"]}
    assert {cell.task.spec.persona.k for cell in evals} == {None, 1, 2}


def test_what_a_row_asks_of_the_data_is_missed_before_anything_runs(root: Root) -> None:
    nope = "has no field 'nope', which "
    for fields, asks, said in (
        ({"fields.item_text": "{nope}"}, {"retrieve": "bm25"}, "fields.item_text names"),
        ({}, {"retrieve": "latest", "time": "nope"}, "persona.time names"),
    ):
        row = {"task": "tiny/writing", "persona": asks}
        rows = {"targets": ["tiny/writing", row], "tasks": {"tiny/writing": fields}}
        with pytest.raises(SpecError, match=nope + said):
            cells_of(root, trainers=[], sources=[], identifiers=[], baseline=None, **rows)


@pytest.mark.parametrize("spelt", ["my-diary", "my_diary"])
@pytest.mark.parametrize("prepared", ["my-diary", "my_diary"])
def test_dashes_in_a_familys_name_are_read_as_in_its_files(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str], spelt: str, prepared: str
) -> None:
    file = root.task("writing", data={"prepared": prepared, "config": "c"})
    write_rows(tmp_path / "rows" / "c" / "test.jsonl", writing_rows(0, 4))
    words = ["eval", "--model", "tiny", "--target", str(file), "--dry-run", "--out", str(tmp_path / "run")]
    assert main([*words, "--data", f"{spelt}={tmp_path / 'rows'}"]) == 0
    assert "data of" not in "".join(capsys.readouterr())
    assert main([*words, "--data", f"mine={tmp_path / 'rows'}"]) == 2
    assert "--data mine=…: the matrix has no task of this family" in capsys.readouterr().err
    assert main(words) == 2, "as the run would be refused"
    assert "data of" in "".join(capsys.readouterr()), "which are not prepared"


def test_a_row_is_the_same_work_as_the_override_it_stands_for(root: Root) -> None:
    root.task("writing", **VARIED)
    row = {"task": "tiny/writing", "prompt": "other"}
    bare: dict[str, Any] = {"trainers": [], "sources": [], "identifiers": [], "baseline": None}
    override = {"tiny/writing": {"prompt": "other"}}
    by_row = cells_of(root, targets=[row], **bare)
    by_override = cells_of(root, targets=["tiny/writing"], tasks=override, **bare)
    assert [cell.identity for cell in by_row] == [cell.identity for cell in by_override]
    with pytest.raises(PerbenchError, match="the same work twice"):
        cells_of(root, targets=["tiny/writing", row], tasks=override, **bare)
