"""Building rows through an engine: what is kept, counted, resumed and refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from perbench.annotate.build import NAMES, BuiltRows, build, unusable_file
from perbench.annotate.personas import Persona
from perbench.cli import main
from perbench.contracts.engine import Conversation, Generation
from perbench.data.spans import row_faults
from perbench.errors import PerbenchError

MADE_BY = {"model": "scripted", "digest": "0"}
PERSONAS = [Persona((f"I own {n} dogs.", "I hunt.", "I sew.", "I am old.")) for n in range(20)]


class Scripted:
    """Stands for a model: answers by the number of dogs in the prompt; `fail_at` interrupts a call."""

    name = "scripted"

    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.fail_at = fail_at

    def chat(self, conversations: Sequence[Conversation], sampling: Any, *, seed: int) -> list[Generation]:
        if self.fail_at is not None and len(self.asked) >= self.fail_at:
            raise KeyboardInterrupt
        texts = [message["content"] for (message,) in conversations]
        self.asked += texts
        return [self._answer(int(text.split("I own ")[1].split()[0])) for text in texts]

    def _answer(self, dogs: int) -> Generation:
        text = f"Question: Pets?\nAnswer: Yes, I walk {dogs} **dogs** each day."
        if dogs % 4 == 1:
            text = "I cannot do that."
        if dogs == 6:
            text = "Question: Pets?\nAnswer: Yes, I walk 2 **dogs** each day."
        return Generation(text, "length" if dogs == 3 else "stop", 9, 9)


def run(out: Path, **options: Any) -> tuple[BuiltRows, Scripted]:
    engine = Scripted(**options)
    return build(PERSONAS, engine, MADE_BY, out, tick=lambda *_: None), engine  # type: ignore[arg-type]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_hold_and_failures_are_counted(tmp_path: Path) -> None:
    out = tmp_path / "qa.jsonl"
    built, engine = run(out)
    assert "I own 0 dogs. I hunt. I sew. I am old.\n\nI want you to write" in engine.asked[0]
    found = rows(out)
    assert len(found) == built.rows == 13
    assert built.reasons == {
        "no single question with its answer": 5,
        "cut off at 160 tokens": 1,
        "another persona has this answer": 1,
    }
    assert built.report() == (
        "13 of 20 replies usable; unusable: no single question with its answer, 5; "
        "cut off at 160 tokens, 1; another persona has this answer, 1"
    )
    assert found[0] == {
        "id": f"{PERSONAS[0].id}-1",
        "persona_id": PERSONAS[0].id,
        "persona": list(PERSONAS[0].sentences),
        "question": "Pets?",
        "answer": "Yes, I walk 0 dogs each day.",
        "gold": [{"start": 14, "end": 18, "text": "dogs"}],
        "distractor": None,
        "keywords": ["dogs"],
        "made_by": MADE_BY,
    }
    assert not [fault for row in found for fault in row_faults(row, NAMES, annotated=False)]
    assert [
        row["fault"] for row in rows(unusable_file(out)) if row["reply"].endswith("walk 2 **dogs** each day.")
    ]


def test_an_interrupted_build_goes_on(tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "qa.jsonl"
    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(out, fail_at=16)
    kept = out.read_bytes()
    out.write_bytes(kept[:-7])  # a torn last line
    _, engine = run(out)
    assert len(engine.asked) == 20, "the batch of the torn row is asked again, whole"
    assert {row["id"]: row for row in rows(out)} == {row["id"]: row for row in rows(whole)}
    assert sorted(map(str, rows(unusable_file(out)))) == sorted(map(str, rows(unusable_file(whole))))
    _, engine = run(out)
    assert engine.asked == []


def test_rows_of_another_model_are_not_mixed(tmp_path: Path) -> None:
    out = tmp_path / "qa.jsonl"
    run(out)
    with pytest.raises(PerbenchError, match=r"was made by .*scripted.*name another file"):
        build(PERSONAS, Scripted(), {"model": "other"}, out, tick=lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notes without a newline", "not a file of this command"),
        ('{"id": "mine", "answer": "a whole row"}', "not a file of this command"),
        ("notes\nof two lines\n", "qa.jsonl:1: not a JSON object.* or name another one: --out FILE"),
        ('{"id": "mine"}\ntorn', "was made by None"),
    ],
)
@pytest.mark.parametrize("place", [lambda out: out, unusable_file])
def test_a_foreign_file_stays_as_it_is(
    text: str, message: str, place: Callable[[Path], Path], tmp_path: Path
) -> None:
    out = tmp_path / "qa.jsonl"
    place(out).write_text(text, encoding="utf-8")
    with pytest.raises(PerbenchError, match=message.replace("qa.jsonl", place(out).name)):
        run(out)
    assert place(out).read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [place(out)]


def test_no_file_is_cut_before_both_are_known(tmp_path: Path) -> None:
    out = tmp_path / "qa.jsonl"
    run(out)
    torn = out.read_bytes()[:-7]
    out.write_bytes(torn)
    unusable_file(out).write_text("notes", encoding="utf-8")
    with pytest.raises(PerbenchError, match="not a file of this command"):
        run(out)
    assert out.read_bytes() == torn


@pytest.mark.parametrize("kept", [1, 30, -7])
def test_a_kill_in_the_first_row_is_mended(kept: int, tmp_path: Path) -> None:
    out = tmp_path / "qa.jsonl"
    run(out)
    whole = out.read_bytes()
    out.write_bytes(whole.splitlines(keepends=True)[0][:kept])
    run(out)
    assert sorted(out.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_from_the_command_line(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    personas = tmp_path / "personas.txt"
    personas.write_text("I am 1. I hunt. I sew. I am old.\nI am alone.\n", encoding="utf-8")
    words = ["data", "build", "persona-qa", "--personas", personas, "--model", tiny_model_dir]
    words += ["--out", tmp_path / "qa.jsonl"]
    assert main([*map(str, words)]) == 0
    said = capsys.readouterr()
    assert "0 of 1 replies usable; unusable: " in said.out, "a random model writes nothing of use"
    assert "1 persona of 1 sentences left out" in said.err
    assert main([*map(str, words), "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["unusable"].values()) == 1
    assert main([*map(str, words[:-1]), str(personas)]) == 2
    assert "would overwrite --personas" in capsys.readouterr().err
    assert personas.read_text(encoding="utf-8").startswith("I am 1.")
    assert main([*map(str, words[:-1]), str(tmp_path / "no" / "qa.jsonl")]) == 2
    assert "name a file in a folder that exists" in capsys.readouterr().err
