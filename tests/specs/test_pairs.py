"""Trainers of pairs in a matrix: which sources they may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench.specs.load import load_task
from perbench.specs.matrices import load_matrix
from tests.specs.diary import MATRIX, ROWS, SPOT, TASK, faults


def written(root: Path, trainers: str, *more: str) -> str:
    text = MATRIX.replace(ROWS, f"trainers: {trainers}") + "".join(more)
    (root / "leaderboard" / "matrices" / "small.yaml").write_text(text, encoding="utf-8")
    return f"{root}/leaderboard/matrices/small.yaml"


def test_a_source_without_rejected_answers_is_told_at_the_trainers_row(root: Path) -> None:
    file = written(root, "[plain, dpo]")
    (fault,) = faults(load_matrix, "small")
    assert fault.startswith(f"{file}:3: dpo learns from pairs")
    assert "source diary/notes" in fault
    assert "fields.rejected" in fault


@pytest.mark.parametrize("place", ["task", "matrix", "row"])
def test_the_field_may_be_named_by_the_task_or_for_it(root: Path, place: str) -> None:
    written(root, "[dpo]")
    if place == "task":
        text = TASK.replace("reference: r,", "reference: r, rejected: n,")
        (root / "tasks" / "diary" / "notes.yaml").write_text(text, encoding="utf-8")
    elif place == "matrix":
        written(root, "[dpo]", "tasks: {diary/notes: {fields.rejected: n}}\n")
    else:
        text = MATRIX.replace(ROWS, "trainers: [dpo]").replace(
            "sources: [diary/notes]", "sources: [{task: diary/notes, fields.rejected: n}]"
        )
        (root / "leaderboard" / "matrices" / "small.yaml").write_text(text, encoding="utf-8")
    assert load_matrix("small").spec.trainers == ["dpo"]


def test_tasks_that_may_be_sources_may_hold_pairs_whatever_their_protocol() -> None:
    for name, fits in (("prefeval/choice", True), ("embedded/chitchat_reply", True), (SPOT, False)):
        if fits:
            found = load_task(name, overrides={"fields.rejected": "worse"})
            assert found.spec.fields.rejected == "worse"
        else:
            (fault,) = faults(load_task, name, overrides={"fields.rejected": "worse"})
            assert "fields.rejected: is not used by protocol identification" in fault


def test_a_row_limited_to_other_sources_is_no_fault(root: Path) -> None:
    other = TASK.replace("reference: r,", "reference: r, rejected: n,")
    (root / "tasks" / "diary" / "pairs.yaml").write_text(other, encoding="utf-8")
    text = MATRIX.replace(ROWS, "trainers: [plain, {name: dpo, sources: [diary/pairs]}]").replace(
        "sources: [diary/notes]", "sources: [diary/notes, diary/pairs]"
    )
    (root / "leaderboard" / "matrices" / "small.yaml").write_text(text, encoding="utf-8")
    assert load_matrix("small").spec.sources == ["diary/notes", "diary/pairs"]


def test_history_items_are_no_pairs(root: Path) -> None:
    text = TASK.replace("reference: r,", "reference: r, rejected: n, item_example: {reference: '{text}'},")
    (root / "tasks" / "diary" / "notes.yaml").write_text(text, encoding="utf-8")
    file = written(root, "[{name: dpo, training: {per_user: true}}]")
    (fault,) = faults(load_matrix, "small")
    assert fault.startswith(f"{file}:3: dpo learns from pairs")
    assert "per_user.data: examples" in fault
    written(root, "[{name: dpo, training: {per_user: {data: examples}}}]")
    load_matrix("small")
