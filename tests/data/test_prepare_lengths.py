"""Lengths that a preparation reports, and what its manifest holds of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.prepare.lengths import Words, lengths, published, readers
from perbench.prepare.prepare import Request, describe, prepare

from .conftest import write

pytestmark = pytest.mark.usefixtures("cache")


TASK = """\
summary: Diaries
protocol: generation
license: CC0
data: {prepared: diaries, config: short}
fields: {user: user, question: user, reference: text, persona: past}
prompt: plain
prompts: {plain: {system: "I wrote: {persona}", item: "{text}"}}
metrics: [rougeL]
headline: rougeL
"""


def measured(family: str, folder: Path) -> dict[str, Any]:
    return dict(lengths(readers(family, folder), Words(), lambda done, total, figures: None))


def test_lengths_with_persona_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks" / "diaries").mkdir(parents=True)
    (tmp_path / "tasks" / "diaries" / "short.yaml").write_text(TASK)
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    past = [{"text": "one two three"}]
    write(
        tmp_path / "out" / "short" / "test.jsonl",
        [
            {"user": "a b", "text": "five words are in this", "past": past},
            {"user": "c", "text": "one", "past": past * 2},
        ],
    )
    # With persona: "I wrote:" and 3 or 6 words, and the request of 2 or 1 words.
    assert measured("diaries", tmp_path / "out") == {
        "diaries/short, test": {
            "examples": {"count": 2},
            "with persona": {"mean": 8.0, "max": 9},
            "without": {"mean": 1.5, "max": 2},
            "response": {"mean": 3.0, "max": 5},
        }
    }


def test_lengths_are_of_the_items_that_the_task_retrieves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tasks" / "diaries"
    folder.mkdir(parents=True)
    latest = TASK + "persona: {retrieve: latest, k: 1, time: at}\n"
    (folder / "short.yaml").write_text(latest)
    (folder / "dense.yaml").write_text(TASK + "persona: {retrieve: dense, k: 1}\n")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    past = [{"text": "one two three", "at": 2}, {"text": "one", "at": 1}]
    write(tmp_path / "out" / "short" / "test.jsonl", [{"user": "a", "text": "b", "past": past}])
    found = measured("diaries", tmp_path / "out")
    assert list(found) == ["diaries/short, test"]
    assert found["diaries/short, test"]["with persona"]["max"] == 6


def test_lengths_are_of_the_tasks_that_name_the_family_with_dashes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks" / "mine").mkdir(parents=True)
    (tmp_path / "tasks" / "mine" / "short.yaml").write_text(TASK.replace("diaries", "my-diaries"))
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    write(tmp_path / "out" / "short" / "test.jsonl", [{"user": "a", "text": "b", "past": [{"text": "c"}]}])
    assert list(measured("my_diaries", tmp_path / "out")) == ["mine/short, test"]


def test_a_family_that_extends_another_is_of_the_code_of_both(raw: Path) -> None:
    folder = raw.parent / "root" / "tasks" / "families"
    (folder / "late_diaries.py").write_text(
        '"""Diaries, later."""\n\nfrom .diaries import Diaries\n\n\n'
        'class LateDiaries(Diaries):\n    tables = ("short/train",)\n'
    )

    def settings(family: str) -> str:
        return str(prepare(Request(family, raw))[1]["tables"]["short/train"]["settings"])

    both = {name: settings(name) for name in ("diaries", "late_diaries")}
    (folder / "diaries.py").write_text((folder / "diaries.py").read_text() + "\n# another version\n")
    assert all(settings(name) != before for name, before in both.items())
    after = {name: settings(name) for name in both}
    (folder / "late_diaries.py").write_text((folder / "late_diaries.py").read_text() + "# another\n")
    assert settings("diaries") == after["diaries"]
    assert settings("late_diaries") != after["late_diaries"]


def test_lengths_without_a_prompt_form_are_of_the_bare_texts(tmp_path: Path) -> None:
    row = {
        "user": "u",
        "topic": "t",
        "preference": "I like tea.",
        "question": "What is there?",
    }
    row |= {"persona": ["I like tea."]}  # type: ignore[dict-item]
    write(tmp_path / "explicit" / "test.jsonl", [row])
    write(tmp_path / "exchanges" / "test.jsonl", [{"turns": [["a b c d e", "f"]], "turns_from": "x"}])
    found = measured("prefeval", tmp_path)["prefeval/explicit, test"]
    assert found["with persona"] == {"mean": 6, "max": 6}
    assert found["without"] == {"mean": 3, "max": 3}


def test_the_manifest_holds_the_lengths(raw: Path) -> None:
    out, manifest = prepare(Request("diaries", raw))
    described = describe(out, manifest, Words(), "words")
    assert (described["lengths"], described["length_unit"]) == ({}, "words")
    assert json.loads((out / "manifest.json").read_text()) == described
    kept = prepare(Request("diaries", raw))[1]
    assert kept == described
    assert describe(out, kept, None, "words") == described  # measured before: no tokenizer is asked
    assert describe(out, kept, Words(), "tokens of x")["length_unit"] == "tokens of x"
    assert plugins.get("family", "diaries").summary == "Diaries, short and long."


def test_lengths_that_papers_print_stand_below() -> None:
    assert published({"longlamp/prw", "reviews/books"}) == {
        "PerCE Table 7, longlamp/prw": {"with persona": "2062.6", "without": "168.9"}
    }
