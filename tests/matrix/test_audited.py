"""`perbench audit TASK --model M`: the runs it makes, and what it prints of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perbench.store import read_records
from tests.matrix.conftest import Root, write_rows, writing_rows
from tests.matrix.runs import Runs


def test_writing_is_audited_by_likelihood_and_resumed(root: Root, runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["audit", "tiny/writing", "--model", "tiny", "--out", str(out)]
    code, output, errors = runs(root.path, *words)
    assert code == 0, errors
    assert "5 examples of 3 users, 6 training examples" in output
    for part in ("Own", "None", "Another's", "With tiny, tiny/writing"):
        assert part in output, output
    ((record, _),) = read_records(out)
    code, output, errors = runs(root.path, *words, "--json")
    assert code == 0, errors
    ((again, _),) = read_records(out)
    assert again == record
    found = json.loads(output)
    assert [leak["name"] for leak in found["leaks"]][-1] == "train_rows"
    (table,) = found["model"]["tables"]
    (row,) = table["rows"]
    value = {
        column["name"]: value["value"] for column, value in zip(table["columns"], row["values"], strict=True)
    }
    metric = {name: one.value for name, one in record.metrics.items()}
    assert value["Own"] == pytest.approx(metric["nll"])
    # How much likelier the own persona makes the texts is how much it lowers their NLL.
    assert value["Own − none"] == pytest.approx(-(metric["gain_over_none"] or 0))
    assert value["Own − another's"] == pytest.approx(-(metric["gain_over_other"] or 0))
    assert value["None"] - value["Own"] == pytest.approx(metric["gain_over_none"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tiny/talk", "--model", "tiny"], ["tiny/talk", "dialogue", "--model"]),
        (["tiny/qa", "--model", "tiny"], ["tiny/qa", "identification", "--model"]),
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


def test_one_user_has_no_other_persona(root: Root, runs: Runs, tmp_path: Path) -> None:
    rows = [row for row in writing_rows(7, 5) if row["user"] == "user 0"]
    write_rows(root.path / "data/writing/test.jsonl", rows)
    words = ["audit", "tiny/writing", "--model", "tiny", "--out", str(tmp_path / "run")]
    code, _, errors = runs(root.path, *words)
    assert code == 2
    for part in ("tiny/writing", "likelihood.others", "rows of other users"):
        assert part in errors
