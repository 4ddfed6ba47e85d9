"""The checks of identification data: every fault planted once, each reported with its line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perbench.cli import main
from perbench.data import spans
from perbench.errors import SpecError
from perbench.specs.load import load_task

SPEC = """\
summary: test
protocol: identification
license: none
data: {files: rows, train_split: dev}
fields: {user: persona_id, question: question, reference: answer, persona: persona, extra: [gold]}
prompt: plain
prompts: {plain: {system: "{persona}", item: "{text}"}}
headline: f1
"""


def row(number: int, **changes: Any) -> dict[str, Any]:
    answer = f"I hunt deer with friend {number}."
    gold = [{"start": 7, "end": 11, "text": "deer", "kind": "inference", "sentence": 1}]
    persona = [f"I am {number}.", "I like to hunt.", "I am thin.", "I sing."]
    filled = {
        "id": f"e{number}",
        "persona_id": f"p{number}",
        "persona": persona,
        "question": "And you?",
        "answer": answer,
        "gold": gold,
        "distractor": None,
        "first": gold,
        "second": [],
    }
    return copy.deepcopy({**filled, **changes})


def span(**changes: Any) -> dict[str, Any]:
    return {"start": 7, "end": 11, "text": "deer", "kind": "inference", "sentence": 1, **changes}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to(dev: list[Any], test: list[Any]) -> Path:
        (tmp_path / "rows").mkdir(exist_ok=True)
        for name, rows in (("dev", dev), ("test", test)):
            lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
            (tmp_path / "rows" / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        path = tmp_path / "task.yaml"
        path.write_text(SPEC, encoding="utf-8")
        return path

    return to


def faults(path: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        spans.check(load_task(str(path)))
    return [str(problem).removeprefix(f"{path.parent}/rows/") for problem in caught.value.problems]


def test_sound_rows_pass(write: Callable[..., Path]) -> None:
    splits = spans.check(load_task(str(write([row(1)], [row(2), row(3)]))))
    assert {split: len(rows) for split, rows in splits.items()} == {"dev": 1, "test": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"persona": ["I sing."] * 3}, "3 sentences in the persona; there must be 4 to 6"),
        ({"persona": "I sing."}, "persona must be a list of texts"),
        ({"persona": ["I sing.", ""]}, "persona must be a list of texts"),
        ({"question": " "}, "question must be a text, not ' '"),
        ({"answer": None}, "answer must be a text, not None"),
        ({"answer": "I hunt deer here."}, "4 words in the answer; there must be 5 to 20"),
        ({"answer": "I hunt deer" + " now" * 18}, "21 words in the answer"),
        ({"gold": "deer"}, "gold must be a list, not 'deer'"),
        ({"gold": ["deer"]}, "gold[0] must be {start, end, text, kind, sentence}, not 'deer'"),
        ({"gold": [span(start=7.0)]}, "gold[0]: start 7.0 and end 11 are not a span of 26 characters"),
        ({"gold": [span(start=True)]}, "gold[0]: start True and end 11 are not a span"),
        ({"gold": [span(start=11)]}, "gold[0]: start 11 and end 11 are not a span"),
        ({"gold": [span(end=27)]}, "gold[0]: start 7 and end 27 are not a span"),
        ({"gold": [span(text="dear")]}, "gold[0]: text is 'dear', but 7 to 11 is 'deer'"),
        ({"gold": [{"start": 7, "end": 11, "kind": "style", "sentence": 0}]}, "gold[0]: text is None"),
        ({"gold": [span(start=6, text=" deer")]}, "gold[0]: ' deer' begins or ends with white space"),
        ({"gold": [span(kind="inferrence")]}, "unknown kind 'inferrence'. Did you mean 'inference'?"),
        ({"gold": [span(sentence=4)]}, "gold[0]: sentence 4 is not one of the persona's 4, counted from 0"),
        ({"gold": [span(sentence=-1)]}, "gold[0]: sentence -1 is not one"),
        ({"gold": [span(), span(start=2, end=8, text="hunt d")]}, "gold[0] overlaps gold[1]"),
        ({"second": [span(end=12)]}, "second[0]: text is 'deer', but 7 to 12 is 'deer '"),
        (
            {"answer": "I hunt \ud83d deer with friend 3.", "gold": []},
            "field 'answer' holds '\\ud83d', a lone",
        ),
        ({"keywords": [{"\udc00": 1}]}, "field 'keywords' holds '\\udc00', a lone surrogate"),
        ({"distractor": 3}, "distractor must be a word or null, not 3"),
        ({"distractor": "friend"}, "distractor 'friend' does not occur in the persona as whole words"),
        (
            {"distractor": "with", "persona": ["I am without.", "I hunt.", "I am thin.", "I sing."]},
            "distractor 'with' does not occur in the persona as whole words",
        ),
        ({"gold": 5, "distractor": "hunt"}, "gold must be a list, not 5"),
        ({"gold": True, "distractor": "hunt"}, "gold must be a list, not True"),
        ({"gold": [span(start="x")], "distractor": "hunt"}, "gold[0]: start 'x' and end 11 are not a span"),
        ({"distractor": "sing"}, "distractor 'sing' does not occur in the answer outside the gold spans"),
        (
            {"distractor": "hunt", "gold": [span(start=2, text="hunt deer")]},
            "distractor 'hunt' does not occur in the answer outside the gold spans",
        ),
        ({"id": "e1"}, "its id is also in dev.jsonl:1"),
        ({"answer": "I hunt DEER  with friend 1."}, "its answer is also in dev.jsonl:1"),
        ({"persona_id": "p1"}, "p1 has another persona in dev.jsonl:1"),
        ({"persona_id": "p1"}, "its persona id is also in split 'dev': dev.jsonl:1"),
        ({"persona": row(1)["persona"]}, "its persona is p1's in dev.jsonl:1"),
        ({"persona": row(1)["persona"]}, "its persona is also in split 'dev': dev.jsonl:1"),
        ({"answer": row(1)["answer"]}, "its question and answer is also in split 'dev': dev.jsonl:1"),
    ],
)
def test_each_fault_names_its_line(changes: dict[str, Any], message: str, write: Callable[..., Path]) -> None:
    found = faults(write([row(1)], [row(2), row(3, **changes)]))
    assert any(line.startswith("test.jsonl:2: ") and message in line for line in found), found
    assert all(line.startswith("test.jsonl:2: ") for line in found)


def test_a_missing_field_is_told(write: Callable[..., Path]) -> None:
    rows = row(2)
    del rows["gold"]
    assert faults(write([row(1)], [rows])) == ["test.jsonl:1: the row has no field 'gold'"]


def test_all_faults_of_all_splits_at_once(write: Callable[..., Path]) -> None:
    found = faults(write([row(1, gold=[span(kind="odd")]), row(2, distractor="x")], [row(3, gold=3)]))
    assert [line.split(": ")[0] for line in found] == [
        "dev.jsonl:1",
        "dev.jsonl:2",
        "dev.jsonl:2",
        "test.jsonl:1",
    ]


def test_broken_lines_of_both_splits(write: Callable[..., Path]) -> None:
    found = faults(write(["{", json.dumps(row(1))], ["[]"]))
    assert [line.split(": ")[0] for line in found] == ["dev.jsonl:1", "test.jsonl:1"]


def test_the_papers_bare_form_needs_no_kinds_and_no_lengths(tmp_path: Path) -> None:
    bare = {"persona": ["I hunt."], "question": "And?", "answer": "A deer.", "gold": ["deer"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(bare) + "\n", encoding="utf-8")
    path = tmp_path / "task.yaml"
    text = SPEC.replace("files: rows", "files: rows.jsonl").replace("user: persona_id, ", "")
    path.write_text(text, encoding="utf-8")
    assert set(spans.check(load_task(str(path)))) == {"test"}
    (tmp_path / "rows.jsonl").write_text(json.dumps({**bare, "gold": ["stag"]}) + "\n", encoding="utf-8")
    with pytest.raises(SpecError, match="'stag' does not occur in"):
        spans.check(load_task(str(path)))


def test_a_task_that_does_not_carry_its_gold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(SPEC.replace(", extra: [gold]", ""), encoding="utf-8")
    with pytest.raises(SpecError, match=r"fields\.extra: protocol identification also reads .*\[gold\]"):
        load_task(str(path))


def test_validate_checks_the_data_of_a_task(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write([row(1)], [row(2)])
    assert main(["validate", str(path)]) == 0
    assert main(["validate", str(write([row(1)], [row(1)]))]) == 2
    said = capsys.readouterr().err
    assert "test.jsonl:1: its id is also in dev.jsonl:1" in said
    assert "5 faults" in said  # id, answer; persona id, persona, question and answer across splits
