"""`perbench audit TASK --model M`: the runs it makes, and what it prints of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perbench.store import read_records
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs


def test_a_model_is_run_under_every_persona_and_resumed(root: Root, runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["audit", "tiny/writing", "--model", "tiny", "--out", str(out)]
    code, output, errors = runs(root.path, *words)
    assert code == 0, errors
    assert "5 examples of 3 users, 6 training examples" in output
    for part in ("Own", "None", "Another's", "With tiny, tiny/writing"):
        assert part in output, output
    made = {record.identity for record, _ in read_records(out)}
    code, output, errors = runs(root.path, *words, "--json")
    assert code == 0, errors
    assert {record.identity for record, _ in read_records(out)} == made
    found = json.loads(output)
    assert found["leaks"][0]["of"] >= 0
    (table,) = found["model"]["tables"]
    assert [head["name"] for head in table["columns"]][:1] == ["Own"]
    assert table["rows"][0]["values"][0]["value"] is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tiny/talk", "--model", "tiny"], ["tiny/talk", "dialogue", "--model"]),
        (["tiny/qa", "--model", "tiny"], ["tiny/qa", "identification", "--model"]),
        (["tiny/writing", "--model", "tiny", "--limit", "1"], ["persona.whose other", "--limit"]),
        (["tiny/writing", "--model", "tinny"], ["tinny", "'tiny'"]),
        (["tiny/writing", "--out", "x"], ["--out", "--model"]),
    ],
)
def test_bad_input(words: list[str], said: list[str], root: Root, runs: Runs, tmp_path: Path) -> None:
    given = words if "--out" in words else [*words, "--out", str(tmp_path / "run")]
    code, _, errors = runs(root.path, "audit", *given)
    assert code == 2
    for part in said:
        assert part in errors
