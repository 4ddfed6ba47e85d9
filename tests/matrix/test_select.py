"""`select` on records with a known answer: on validation, on test, ties, failures, missing seeds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench import cli
from perbench.errors import PerbenchError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.publish import publish
from perbench.matrix.select import decided, reported
from perbench.matrix.stages import Stage, first_stage
from perbench.site.load import load
from perbench.site.view import build_view
from perbench.specs.matrices import load_matrix
from perbench.store import CellRecord, Failure, Metric, RunDir, read_records
from perbench.store.selection import Candidate, Choice
from tests.matrix.conftest import Root, write_rows, writing_rows
from tests.matrix.runs import Runs

RATES = [0.001, 0.002, 0.004]
Scores = Mapping[tuple[float, int], float | None]
"""By learning rate and seed; None: the evaluation failed."""


@pytest.fixture
def chosen_among(root: Root) -> Root:
    """A matrix of three rates, two seeds, one trainer; the validation split lies beside the others."""
    for name, shift in (("writing", 12), ("other", 18)):
        write_rows(root.path / "data" / name / "val.jsonl", writing_rows(shift, 4))
        root.task(name, data={"files": f"../../data/{name}", "val_split": "val"})
    matrix(root)
    return root


def matrix(root: Root, **changes: Any) -> None:
    base = {
        "trainers": ["ce"],
        "targets": ["own", "tiny/other"],
        "identifiers": [],
        "baseline": None,
        "base_rows": False,
        "seeds": [0, 1],
        "training": {"learning_rate": RATES, "epochs": 1.0, "precision": "fp32"},
        "select": {"axis": "learning_rate"},
    }
    root.matrix(**{**base, **changes})


def start(out: Path) -> tuple[Stage, Catalogue]:
    spec = load_matrix("small").spec
    catalogue = Catalogue(spec, {}, None)
    return first_stage(spec, catalogue, RunDir(out)), catalogue


def rate(cell: Cell) -> float:
    trained = cell.needs or cell
    assert trained.training is not None
    return trained.training.learning_rate


def record(out: Path, cell: Cell, value: float | None = 0.5, better: str = "higher") -> None:
    folder = RunDir(out).cell(cell.kind, cell.identity)
    folder.begin()
    made = CellRecord(
        kind=cell.kind,
        identity=cell.identity,
        inputs=cell.inputs,
        status="done",
        labels=cell.labels,
        headline=cell.task.spec.headline if cell.kind == "eval" else None,
        metrics={"rouge1": Metric(value=value, n=4, signature="s")} if cell.kind == "eval" else {},
        seconds=1.0,
        started="2026-01-01T10:00:00Z",
        finished="2026-01-01T10:00:01Z",
        environment={},
        command="perbench run",
        trained_by=cell.needs.identity if cell.needs is not None else None,
    )
    if value is None:
        error = Failure(type="E", message="went wrong", traceback="")
        folder.fail(made.model_copy(update={"status": "failed", "error": error, "metrics": {}}))
    else:
        folder.finish(made)


def write(out: Path, stage: Stage, scores: Scores) -> None:
    """Records of a stage, as if it had run."""
    for cell in stage.cells:
        scored = cell.kind == "eval" and cell.candidacy is not None
        record(out, cell, scores[rate(cell), cell.seed] if scored else 0.5)


def evaluated(stage: Stage) -> list[tuple[float, int, str | None]]:
    """The evaluations that are no comparison of candidates."""
    found = [cell for cell in stage.cells if cell.kind == "eval" and cell.candidacy is None]
    return [(rate(cell), cell.seed, cell.labels.target) for cell in found]


CLEAR: Scores = dict(
    zip(((rate, seed) for rate in RATES for seed in (0, 1)), [0.1, 0.2, 0.4, 0.3, 0.2, 0.3], strict=True)
)


def test_on_validation_only_the_best_goes_on_to_the_targets(chosen_among: Root, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stage, catalogue = start(out)
    kinds = [cell.kind for cell in stage.cells]
    assert (kinds.count("train"), kinds.count("eval"), len(stage.later)) == (3 * 2, 3 * 2, 2 * 2)
    assert {cell.labels.target for cell in stage.cells} == {None, "tiny/writing (validation)"}
    assert evaluated(stage) == []
    write(out, stage, CLEAR)
    then = stage.next(catalogue, RunDir(out))
    assert then is not None
    (choice,) = then.choices
    assert choice.winner is not None
    assert choice.winner.values == {"learning_rate": 0.002}
    assert [one.score for one in choice.candidates] == pytest.approx([0.15, 0.35, 0.25])
    assert (choice.on, choice.metric, choice.seeds, choice.notes) == ("val", "rouge1", [0, 1], [])
    targets = ("tiny/writing", "tiny/other")
    assert evaluated(then) == [(0.002, seed, target) for seed in (0, 1) for target in targets]
    write(out, then, CLEAR)
    assert then.next(catalogue, RunDir(out)) is None
    again, _ = start(out)
    assert [cell.identity for cell in again.cells] == [cell.identity for cell in then.cells]
    assert again.choices == then.choices


def test_the_validation_split_is_another_cell_than_the_test_split(chosen_among: Root, tmp_path: Path) -> None:
    stage, _ = start(tmp_path / "run")
    by_target = {cell.labels.target: cell for cell in (*stage.cells, *stage.later) if cell.needs is not None}
    val, test = by_target["tiny/writing (validation)"], by_target["tiny/writing"]
    assert len(val.data.examples) == 4
    assert all(example.id.startswith("val/") for example in val.data.examples)
    assert val.inputs["target"] == test.inputs["target"]
    assert val.inputs["data"] != test.inputs["data"]


def test_on_test_a_candidates_own_evaluation_is_its_result(chosen_among: Root, tmp_path: Path) -> None:
    matrix(chosen_among, select={"axis": "learning_rate", "on": "test"})
    out = tmp_path / "run"
    stage, catalogue = start(out)
    targets = [cell.labels.target for cell in stage.cells if cell.kind == "eval"]
    assert targets == ["tiny/writing"] * 6
    assert len(stage.later) == 2  # the other target, for both seeds
    write(out, stage, CLEAR)
    then = stage.next(catalogue, RunDir(out))
    assert then is not None
    assert evaluated(then) == [(0.002, seed, "tiny/other") for seed in (0, 1)]
    assert "TEST" in "".join(reported(then.choices, set()))


def test_a_failed_candidate_is_left_out_and_said(chosen_among: Root, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stage, catalogue = start(out)
    write(out, stage, {**CLEAR, (0.002, 0): None, (0.002, 1): None})
    then = stage.next(catalogue, RunDir(out))
    assert then is not None
    (choice,) = then.choices
    assert choice.winner is not None
    assert choice.winner.values == {"learning_rate": 0.004}
    assert choice.candidates[1].left_out == "failed"
    assert any("0.002" in note for note in choice.notes)
    again, _ = start(out)  # the next run tries it again before it chooses
    assert again.chosen == frozenset()


def test_missing_seeds_are_missing_for_all(chosen_among: Root, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stage, catalogue = start(out)
    write(out, stage, {**CLEAR, (0.002, 0): None, (0.002, 1): 0.1})
    then = stage.next(catalogue, RunDir(out))
    assert then is not None
    (choice,) = then.choices
    assert choice.winner is not None
    assert choice.winner.values == {"learning_rate": 0.004}  # 0.3 with seed 1, against 0.2 and 0.1
    assert choice.seeds == [1]
    assert [one.score for one in choice.candidates] == pytest.approx([0.2, 0.1, 0.3])
    assert any("1 seed of 2" in note for note in choice.notes)
    assert [seed for _, seed, _ in evaluated(then)] == [0, 0, 1, 1]


def test_of_equal_candidates_the_first_is_chosen_and_said(chosen_among: Root, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stage, catalogue = start(out)
    write(out, stage, dict.fromkeys(CLEAR, 0.25))
    then = stage.next(catalogue, RunDir(out))
    assert then is not None
    assert then.choices[0].chosen == 0
    (note,) = then.choices[0].notes
    assert all(str(one) in note for one in RATES)


def test_nothing_scored_is_nothing_chosen(chosen_among: Root, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stage, catalogue = start(out)
    write(out, stage, dict.fromkeys(CLEAR))
    then = stage.next(catalogue, RunDir(out))
    assert then is not None
    assert then.choices[0].chosen is None
    assert evaluated(then) == []
    assert then.next(catalogue, RunDir(out)) is None


def test_before_all_candidates_are_recorded_nothing_is_chosen(chosen_among: Root, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stage, catalogue = start(out)
    scored = [cell for cell in stage.cells if cell.kind == "eval"]
    for cell in scored[:-1]:
        record(out, cell, CLEAR[rate(cell), cell.seed])
    assert stage.next(catalogue, RunDir(out)) is None
    assert start(out)[0].chosen == frozenset()


def test_each_trainer_and_source_has_its_own_choice(chosen_among: Root, tmp_path: Path) -> None:
    rows = ["ce", {"name": "perce", "params": {"clip_max": 3.0}, "training": {"learning_rate": 0.001}}]
    matrix(chosen_among, trainers=rows, sources=["tiny/writing", "tiny/other"], targets="own", seeds=[0])
    out = tmp_path / "run"
    stage, catalogue = start(out)
    # Of perce there is one rate, so nothing to choose.
    assert evaluated(stage) == [(0.001, 0, "tiny/writing"), (0.001, 0, "tiny/other")]
    best = {"tiny/writing": 0.002, "tiny/other": 0.004}
    for cell in stage.cells:
        record(out, cell, 0.9 if rate(cell) == best.get(cell.labels.source or "") else 0.1)
    then = stage.next(catalogue, RunDir(out))
    assert then is not None
    found = {one.source: one.winner.values["learning_rate"] for one in then.choices if one.winner is not None}
    assert found == best
    assert evaluated(then) == [
        (0.002, 0, "tiny/writing"),
        (0.001, 0, "tiny/writing"),
        (0.004, 0, "tiny/other"),
        (0.001, 0, "tiny/other"),
    ]


def test_a_metric_without_a_better_side_chooses_nothing(chosen_among: Root, tmp_path: Path) -> None:
    matrix(chosen_among, select={"axis": "learning_rate", "by": "length"})
    with pytest.raises(PerbenchError, match=r"select\.by: .*length"):
        start(tmp_path / "run")


def choice_of(scores: list[dict[str, float]], better: str = "higher") -> Choice:
    candidates = [
        Candidate(values={"learning_rate": place}, trainings=["a", "b", "c"], scores=one)
        for place, one in enumerate(scores)
    ]
    made = {"model": "m", "trainer": "ce", "source": "s", "on": "val", "metric": "x", "better": better}
    return decided(Choice.model_validate({**made, "candidates": candidates}))


SCORES = st.lists(
    st.dictionaries(st.sampled_from(["0", "1", "2"]), st.floats(0, 1).map(lambda x: round(x, 2))),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)  # a busy machine is no fault
@given(SCORES, st.sampled_from(["higher", "lower"]))
def test_the_chosen_one_is_the_best_of_those_compared_over_the_same_seeds(
    scores: list[dict[str, float]], better: str
) -> None:
    found = choice_of(scores, better)
    compared = [one for one in found.candidates if one.score is not None]
    assert all((one.score is None) == bool(one.left_out) for one in found.candidates)
    assert (found.winner is None) == (not any(scores))
    if found.winner is None:
        return
    for one in compared:
        assert {str(seed) for seed in found.seeds} <= set(one.scores)
        assert one.score == pytest.approx(fmean(one.scores[str(seed)] for seed in found.seeds))
    best = (max if better == "higher" else min)(one.score for one in compared if one.score is not None)
    assert found.winner.score == best
    assert found.chosen == next(place for place, one in enumerate(found.candidates) if one.score == best)


def test_lower_may_be_better() -> None:
    assert choice_of([{"0": 0.3}, {"0": 0.1}, {"0": 0.2}], "lower").chosen == 1


def test_candidates_without_a_common_seed() -> None:
    found = choice_of([{"0": 0.1, "1": 0.1}, {"1": 0.9}, {"2": 0.99}])
    assert found.chosen == 1
    assert found.candidates[2].left_out == "no seed in common with the others"


def test_a_run_chooses_and_goes_on_and_is_finished_when_run_again(
    chosen_among: Root, runs: Runs, tmp_path: Path
) -> None:
    matrix(chosen_among, seeds=[0], targets="own", training={"learning_rate": [0.001, 0.1], "epochs": 1.0})
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out))
    code, output, errors = runs(chosen_among.path, *words, "--dry-run", "--json")
    assert code == 0, errors
    total = json.loads(output)["total"]
    assert (total["train"], total["eval"], total["after_selection"]) == (2, 2, 1)
    code, _, errors = runs(chosen_among.path, *words)
    assert code == 0, errors
    described = RunDir(out).description()
    (made,) = described["choices"]["small"]
    assert made["candidates"][made["chosen"]]["trainings"][0] in described["plans"]["small"]
    assert len(described["plans"]["small"]) == 5
    assert described["commands"][0]["runs"] == 1
    assert "selection: ce on tiny/writing, tiny: learning_rate=" in errors
    code, _, errors = runs(chosen_among.path, *words)
    assert code == 0
    assert "5 cells reused; to do: 0 train, 0 evaluate, 0 identify" in errors
    code, output, errors = runs(chosen_among.path, "rescore", str(out))
    assert code == 0, errors
    added = publish(out, tmp_path / "published", samples=True)
    assert not added.left_out
    before, after = (build_view(load([path])) for path in (out, tmp_path / "published"))
    (row, outcomes), *others = before.matrix.rows
    assert not others
    assert row.chosen_on == "val"
    assert [one.status for one in outcomes] == ["done"]
    assert [found for found, _ in after.matrix.rows] == [row]
    assert [one.name for one in before.sections] == [one.name for one in after.sections]
    assert "selection" in [one.name for one in after.sections]


def test_workers_go_through_all_stages(chosen_among: Root, runs: Runs, tmp_path: Path) -> None:
    matrix(chosen_among, seeds=[0], targets="own", training={"learning_rate": [0.001, 0.1], "epochs": 1.0})
    out = tmp_path / "run"
    code, _, errors = runs(chosen_among.path, "run", "--matrix", "small", "--out", str(out), "--workers", "1")
    assert code == 0, errors
    (made,) = RunDir(out).description()["choices"]["small"]
    assert made["chosen"] is not None
    assert len(read_records(out)) == 5


def test_killed_between_the_stages_a_run_goes_on(chosen_among: Root, runs: Runs, tmp_path: Path) -> None:
    matrix(chosen_among, seeds=[0], targets="own", training={"learning_rate": [0.001, 0.1], "epochs": 1.0})
    out = tmp_path / "run"
    words = ("run", "--matrix", "small", "--out", str(out))
    assert runs(chosen_among.path, *words, kill=("finish", 4))[0] < 0  # all candidates are recorded
    joined = shutil.copytree(out, tmp_path / "joined")
    code, _, errors = runs(chosen_among.path, "work", str(joined))
    assert code == 0, errors
    assert len(read_records(joined)) == 5
    code, _, errors = runs(chosen_among.path, *words)
    assert code == 0, errors
    assert "4 cells reused; to do: 0 train, 1 evaluate, 0 identify" in errors


def test_the_way_out_without_a_validation_split_is_named(
    root: Root, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix(root)
    assert cli.main(["run", "--matrix", "small", "--out", str(tmp_path / "run")]) == 2
    errors = capsys.readouterr().err
    assert "tiny/writing" in errors
    assert "val_split" in errors
