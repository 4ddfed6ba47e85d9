"""`perbench validate` reads the rows of a task's files: each fault with file, line and way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from perbench.cli import main

TEXT = "On Sundays we bake bread and walk along the river to the old mill."
TASK: dict[str, Any] = {
    "summary": "Notes",
    "protocol": "generation",
    "license": "CC0",
    "data": {"files": "rows"},
    "fields": {
        "user": "uid",
        "question": "ask",
        "reference": "answer",
        "persona": "notes",
        "item_example": {"reference": "{text}"},
    },
    "prompt": "plain",
    "prompts": {"plain": {"system": "{persona}", "item": "{text}"}},
    "metrics": ["rougeL"],
    "headline": "rougeL",
}


def row(user: str, **keys: Any) -> dict[str, Any]:
    return {"uid": user, "ask": "Where?", "answer": "Here.", "notes": ["Old."], **keys}


class Folder:
    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = path, capsys
        (path / "rows").mkdir()
        self.write("train", row("ann"))
        self.write("test", row("bob"))

    def write(self, split: str, *rows: dict[str, Any] | bytes) -> None:
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in rows]
        (self.path / "rows" / f"{split}.jsonl").write_bytes(b"\n".join(lines))

    def validate(self, **changes: Any) -> tuple[int, str]:
        file = self.path / "notes.yaml"
        file.write_text(yaml.safe_dump({**TASK, **changes}))
        return main(["validate", str(file)]), self._capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(tmp_path, capsys)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row("cem", answer="half \ud83d"), "field 'answer' holds '\\ud83d', a lone surrogate"),
        (row("c\ud83dm"), "field 'uid' holds '\\ud83d', a lone surrogate"),
        (row("cem", notes=[{"text": float("nan")}]), "NaN is not a JSON number; write null"),
        (b'{"uid": "cem", "ask": "?", "answer": "a", "answer": "b", "notes": []}', "'answer' appears twice"),
        (row("cem", notes="Old."), "field 'notes' is str, not a list; write a list"),
        (row("cem", notes=[{"txt": "Old."}]), "notes[0] has no field 'text'"),
        ({"uid": "cem", "ask": "?", "answr": "a", "notes": []}, "no field 'answer'. Did you mean 'answr'?"),
        (row("cem", answer=3), "field 'answer' is int, not a text"),
        ("ü".encode("latin1"), "not UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_at_fault_is_named_in_either_split(folder: Folder, split: str, bad: Any, said: str) -> None:
    folder.write(split, row("dan"), bad)
    code, told = folder.validate()
    assert code == 2
    (line,) = [line for line in told.splitlines() if said in line]
    assert line.startswith(f"{folder.path}/rows/{split}.jsonl:2: ")


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (b"uid,ask,answer\nann,?,x\n", "test.jsonl:1", "looks like CSV"),
        (b'[{"uid": "ann"}]', "test.jsonl:1", "a JSON array"),
        (b"", "test.jsonl", "no rows"),
        (b"\n\n", "test.jsonl", "no rows"),
    ],
)
def test_a_file_of_another_form_is_named(folder: Folder, content: bytes, place: str, said: str) -> None:
    folder.write("test", content)
    code, told = folder.validate()
    assert code == 2
    assert any(f"rows/{place}: " in line and said in line for line in told.splitlines()), told


def test_splits_that_are_not_there(folder: Folder) -> None:
    assert folder.validate(data={"files": "rows", "test_split": "tset"})[0] == 2
    (folder.path / "rows" / "test.jsonl").rename(folder.path / "rows" / "valid.jsonl")
    code, told = folder.validate()
    assert code == 0
    assert "can only be a source" in told
    code, told = folder.validate(data={"files": "rows", "test_split": "valid"})
    assert (code, "alone" in told) == (0, False)
    (folder.path / "rows" / "train.jsonl").unlink()
    code, told = folder.validate()
    assert code == 2
    assert "no split 'test'" in told
    assert "There are: valid" in told
    code, told = folder.validate(data={"files": "gone"})
    assert code == 2
    assert f"{folder.path}/gone" in told


def test_what_only_users_own_adapters_read_is_looked_for(folder: Folder) -> None:
    example = {"reference": "{text}", "question": "About {title}?"}
    code, told = folder.validate(fields={**TASK["fields"], "item_example": example})
    assert code == 2
    assert told.count("notes[0] has no field 'title', which fields.item_example reads") == 2


def test_what_splits_share_is_a_fault_unless_it_is_accepted(folder: Folder) -> None:
    folder.write(
        "train", row("ann"), row("dan", answer=TEXT), row("eve", notes=[f"Dear diary: {TEXT[:-1]}?"])
    )
    folder.write("test", row("ann"), row("bob", answer=TEXT), row("bob", answer=TEXT[:-1]), row("new"))
    code, told = folder.validate()
    assert code == 2
    (line,) = [line for line in told.splitlines() if " saw " in line]
    assert line.startswith(f"{folder.path}/notes.yaml: ")
    for part in ("3 of the 4", "1 as the same row, 1 as the same text, 1 in a history", "rows/test.jsonl:1"):
        assert part in line
    code, told = folder.validate(data={"files": "rows", "overlap": "accepted"})
    assert code == 0
    assert "saw 3 of the 4" in told


def test_one_file_is_one_axis_or_cut(folder: Folder) -> None:
    folder.write("test", row("ann"), row("bob"))
    one = {"files": "rows/test.jsonl"}
    code, told = folder.validate(data=one)
    assert code == 0
    assert "data.split: {by: user}" in told
    code, told = folder.validate(data={**one, "split": {"by": "user", "test": 0.5}})
    assert (code, "data.split" in told) == (0, False)
    assert folder.validate(data={**one, "split": {"by": "person"}})[0] == 2
    folder.write("test", row("ann"), row("ann"))
    code, told = folder.validate(data={**one, "split": {"by": "user"}})
    assert code == 2
    assert "needs two users, found 1" in told


def test_fields_that_a_protocol_reads_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[2] / "tasks" / "embedded" / "dialogue.yaml"
    text = path.read_text(encoding="utf-8").replace("extra: [profile, personality]", "extra: [profile]")
    (tmp_path / "talk.yaml").write_text(text, encoding="utf-8")
    assert main(["validate", str(tmp_path / "talk.yaml")]) == 2
    assert "fields.extra: protocol dialogue" in capsys.readouterr().err
