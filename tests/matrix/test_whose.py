"""Targets under the user's own persona, none, and another user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from perbench.data import load_examples
from perbench.errors import PerbenchError
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell, expand
from perbench.persona.others import others
from perbench.specs.load import load_task
from perbench.specs.matrices import load_matrix
from perbench.store import read_records
from perbench.store.check import read_samples
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs

THREE = {"task": "tiny/writing", "persona.whose": ["own", "none", "other"]}


def base(root: Root, targets: list[Any]) -> Path:
    """The file of a matrix of the untrained model."""
    return root.matrix(trainers=[], sources=[], targets=targets, identifiers=[], baseline=None, training={})


def cells(root: Root, targets: list[Any]) -> dict[str, Cell]:
    spec = load_matrix(base(root, targets)).spec
    return {cell.labels.target or "": cell for cell in expand(spec, Catalogue(spec, {}, None))}


def test_only_another_persona_makes_another_cell(root: Root) -> None:
    (plain,) = cells(root, ["tiny/writing"]).values()
    found = cells(root, [THREE])
    own, none, other = (found[f"tiny/writing (persona.whose={whose})"] for whose in ("own", "none", "other"))
    assert own.identity == plain.identity
    assert len({own.identity, none.identity, other.identity}) == 3
    assert {cell.inputs["data"] for cell in (own, none, other)} == {own.inputs["data"]}  # the same rows
    assert "whose" not in own.inputs["target"]["persona"]
    assert none.inputs["target"]["persona"]["whose"] == "none"


def test_the_other_persona_is_the_first_of_the_others(root: Root) -> None:
    def examples(whose: str) -> dict[str, Any]:
        task = load_task("tiny/writing", overrides={"persona.whose": whose})
        return {example.id: example for example in load_examples(task, "test").examples}

    own, none, other = map(examples, ("own", "none", "other"))
    assert list(own) == list(none) == list(other)
    for name, example in own.items():
        (drawn,) = others(example, list(own.values()), 1)
        assert drawn.user != example.user
        assert other[name].persona == drawn.persona != example.persona
        assert none[name].persona == ()
        assert {other[name].user, none[name].user} == {example.user}
    task = load_task("tiny/writing", overrides={"persona.whose": "other"})
    trained = load_task("tiny/writing")
    assert load_examples(task, "train") == load_examples(trained, "train")  # what is trained on is the user's


def test_one_user_has_no_other_persona(root: Root) -> None:
    task = load_task("tiny/writing", overrides={"persona.whose": "other"})
    with pytest.raises(PerbenchError, match=r"tiny/writing, split 'test': persona.whose other: .*test/user"):
        load_examples(task, "test", 1)
    assert len(load_examples(load_task("tiny/writing"), "test", 1).examples) == 1


def test_prompts_hold_the_persona_of_the_target(root: Root, runs: Runs, tmp_path: Path) -> None:
    matrix, out = base(root, [THREE]), tmp_path / "run"
    code, _, errors = runs(root.path, "run", "--matrix", str(matrix), "--out", str(out))
    assert code == 0, errors
    found = {
        (record.labels.target or "").partition("=")[2].rstrip(")"): (
            record,
            {sample["id"]: sample for sample in read_samples(folder, record.identity)},
        )
        for record, folder in read_records(out)
    }
    own, none, other = (found[whose][1] for whose in ("own", "none", "other"))
    assert own.keys() == none.keys() == other.keys()
    assert {one["persona_kept"] for one in none.values()} == {0}
    assert {one["persona_kept"] for one in other.values()} == {3}
    assert all(none[name]["prompt_tokens"] < own[name]["prompt_tokens"] for name in own)
    code, shown, errors = runs(root.path, "samples", str(out), "whose=other", "--json")
    assert code == 0, errors
    row = json.loads(shown)[0]
    assert row["persona"]
    assert not set(row["persona"]) & set(_past(root, row["id"]))
    code, output, errors = runs(root.path, "rescore", str(out))
    assert (code, "nothing changed" in output) == (0, True), errors
    code, output, errors = runs(root.path, "verify", str(out))
    assert code == 0, errors


def _past(root: Root, name: str) -> list[str]:
    rows = [json.loads(line) for line in (root.path / "data/writing/test.jsonl").read_text().splitlines()]
    return list(rows[int(name.rpartition("/")[2])]["past"])


def test_swapped_personas_are_not_compared_again(root: Root) -> None:
    given = {"persona_swap.others": 2, "headline": "persona_swap", "persona.whose": "none"}
    with pytest.raises(PerbenchError, match=r"persona_swap: .*persona.whose"):
        load_task("tiny/writing", overrides=given)
    qa = yaml.safe_load((root.path / "tasks/tiny/qa.yaml").read_text())
    root.write("tasks/tiny/marked", {**qa, "persona": {"whose": "none"}})
    with pytest.raises(PerbenchError, match=r"persona.whose: is not used by protocol identification"):
        load_task("tiny/marked")
