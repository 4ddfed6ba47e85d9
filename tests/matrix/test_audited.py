"""`perbench audit TASK --model M`: the runs it makes, and what it prints of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


PICK = {
    "summary": "Pick an answer.",
    "protocol": "choice",
    "license": "CC0",
    "data": {"files": "../../data/pick"},
    "fields": {
        "user": "user",
        "question": "ask",
        "reference": "answer",
        "persona": "past",
        "extra": ["options", "gold"],
    },
    "prompt": "plain",
    "prompts": {"plain": {"system": "Persona:\n{persona}", "item": "{text}"}},
    "max_length": 400,
    "headline": "accuracy",
    "choice": {"by": "per_token"},
}


def picks() -> list[dict[str, Any]]:
    """The right option is the longest in 4 of 6 rows, the shortest in the others, and the first in 3."""
    rows = []
    for number in range(6):
        right, wrong = ("a red house by the sea", "bread") if number < 4 else ("tea", "a long walk in rain")
        options = [right, wrong] if number % 2 else [wrong, right]
        rows.append(
            {
                "user": f"user {number % 3}",
                "ask": "What do you like?",
                "options": options,
                "gold": options.index(right),
                "answer": right,
                "past": [f"I like {right}.", f"My number is {number % 3}."],
            }
        )
    return rows


def test_choice_is_audited_with_its_shortcuts(root: Root, runs: Runs, tmp_path: Path) -> None:
    root.write("tasks/tiny/pick", PICK)
    write_rows(root.path / "data/pick/test.jsonl", picks())
    out = tmp_path / "run"
    words = ["audit", "tiny/pick", "--model", "tiny", "--out", str(out), "--json"]
    code, output, errors = runs(root.path, *words)
    assert code == 0, errors
    found = json.loads(output)
    assert (found["answers"], found["chance"]) == ("offered", 0.5)
    rules = {one["name"]: one["metrics"]["accuracy"]["value"] for one in found["shortcuts"]}
    assert rules == {
        "longest": pytest.approx(4 / 6),
        "shortest": pytest.approx(2 / 6),
        "first": 0.5,
        "usual_place": 0.5,
        "persona_words": pytest.approx((4 + 2 / 2) / 6),  # "tea" has no word of four letters; both tie
        "question_words": pytest.approx(1 / 2),  # no option has any
    }
    by_whose = {
        record.inputs["target"]["persona"].get("whose", "own"): record for record, _ in read_records(out)
    }
    assert by_whose.keys() == {"own", "other"}  # choice itself also asks without the persona
    scores, shortcuts = found["model"]["tables"]
    value = dict(zip([one["name"] for one in scores["columns"]], scores["rows"][0]["values"], strict=True))
    assert value["Own"]["value"] == by_whose["own"].metrics["accuracy"].value
    assert value["None"]["value"] == by_whose["own"].metrics["no_persona"].value
    assert value["Another's"]["value"] == by_whose["other"].metrics["accuracy"].value
    assert scores["rows"][0]["name"] == "tiny/pick"
    names = [one["name"] for one in shortcuts["columns"]]
    assert names == ["chance", "longest option", "shortest option", "first option"]
    assert shortcuts["rows"][0]["values"][1]["value"] == pytest.approx(4 / 6)
