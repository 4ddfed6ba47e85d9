"""Rows become examples: what is checked, what is skipped, what is drawn."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from perbench.data import load_examples
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError, SpecError
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import task_spec


def row(user: object = "ann", **keys: Any) -> dict[str, Any]:
    return {"u": user, "q": "where?", "r": "here", "p": [{"text": "I hunt."}], **keys}


def task(folder: Path, rows: list[Any], **keys: Any) -> Named[TaskSpec]:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    spec = {
        "summary": "t",
        "protocol": "generation",
        "license": "MIT",
        "data": {"files": "rows.jsonl"},
        "fields": {"user": "u", "question": "q", "reference": "r", "persona": "p", **keys.pop("fields", {})},
        "prompt": "form",
        "prompts": {"form": {"system": "{persona}", "item": keys.pop("item", "{text}")}},
        "metrics": ["rougeL"],
        "headline": "rougeL",
        **keys,
    }
    return Named("mine/t", task_spec().model_validate(spec), folder / "t.yaml")


def test_fields(tmp_path: Path) -> None:
    named = task(tmp_path, [row(7, p=["I bake.", {"text": "x", "year": 1}], z=[1])], fields={"extra": ["z"]})
    (example,) = load_examples(named, "test").examples
    assert (example.id, example.user) == ("test/7/0", "7")
    assert (example.question, example.reference) == ("where?", "here")
    assert example.persona == ({"text": "I bake."}, {"text": "x", "year": 1})
    assert example.extra == {"z": [1]}


PAIRS = {"rejected": "other"}


def test_pairs_are_read_from_training_rows(tmp_path: Path) -> None:
    rows = [row(other="there"), row(other=" "), row(other=None)]
    train = load_examples(task(tmp_path, rows, fields=PAIRS), "train")
    assert [example.rejected for example in train.examples] == ["there"]
    assert train.skipped == {"empty other": 2}
    test = load_examples(task(tmp_path, [row()], fields=PAIRS), "test")  # which need not have any
    assert test.examples[0].rejected == ""


def test_a_rejected_answer_is_part_of_what_identifies_a_training_set(tmp_path: Path) -> None:
    def digest(*rows: dict[str, Any], **fields: Any) -> str:
        return load_examples(task(tmp_path, list(rows), **fields), "train").digest

    plain = digest(row(other="there"))
    pair, another = (digest(row(other=text), fields=PAIRS) for text in ("there", "home"))
    assert len({plain, pair, another}) == 3
    given = asdict(load_examples(task(tmp_path, [row()]), "train").examples[0])
    del given["rejected"]
    assert plain == canonical_digest([given])  # as before there were pairs


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(other=" here "), "field 'other' holds the same answer as 'r'"),
        (row(), "the row has no field 'other'"),
        (row(other=["there"]), "field 'other' is list, not a text"),
    ],
)
def test_faulty_pairs_are_named_by_line(tmp_path: Path, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        load_examples(task(tmp_path, [row(other="there"), bad], fields=PAIRS), "train")
    (problem,) = error.value.problems
    assert (problem.path, problem.line) == (tmp_path / "rows.jsonl", 2)
    assert said in problem.message


def test_older_item_fields_are_read(tmp_path: Path) -> None:
    rows = [row(p=[{"output": "a", "input": "b"}, {"content": "c", "output": "d", "input": "e"}])]
    aliases = {"item_aliases": {"content": "output", "summary": "input"}}
    named = task(tmp_path, rows, fields=aliases, item="{summary}: {content}")
    (example,) = load_examples(named, "test").examples
    assert example.persona[0] == {"content": "a", "summary": "b"}
    assert example.persona[1] == {"content": "c", "output": "d", "summary": "e"}


def test_empty_texts_are_skipped_and_counted(tmp_path: Path) -> None:
    rows = [row(), row(q=" "), row(r=""), row(r=None), row(p=None), row("")]
    dataset = load_examples(task(tmp_path, rows), "test")
    assert {example.id for example in dataset.examples} == {"test/ann/0", "test/ann/4"}
    assert dataset.skipped == {"empty q": 1, "empty r": 2, "empty u": 1}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"user": "ann", "q": "", "r": "", "p": []}, "the row has no field 'u'. There are: p, q, r, user."),
        (
            {"user": "ann", "qq": "", "r": ""},
            "the row has no fields 'u', 'q' ('qq'?), 'p'. There are: qq, r, user.",
        ),
        (row(q=3), "field 'q' is int, not a text"),
        (row(True), "field 'u' is bool, not a text"),
        (row(p="I hunt."), "field 'p' is str, not a list; write a list: [\"...\"]"),
        (row(p=[{"text": "a"}, 3]), "p[1] is int, not a text or an object"),
        (
            row(p=[{"text": "a"}, {"text": None}]),
            "p[1] holds null as 'text', which would become the word None; "
            'write a text, "" if there is none',
        ),
        (row(p=[{"txt": "a"}]), "p[0] has no field 'text'. Did you mean 'txt'? There are: txt."),
    ],
)
def test_faulty_rows_are_named_by_line(tmp_path: Path, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_examples(task(tmp_path, [row(), "", bad, row()]), "test")
    assert str(error.value) == f"{tmp_path}/rows.jsonl:3: {message}"


def test_the_field_of_time_is_looked_for_beforehand(tmp_path: Path) -> None:
    rows = [row(p=[{"text": "a", "year": 1}])]
    latest = {"retrieve": "latest", "time": "year"}
    assert load_examples(task(tmp_path, rows, persona=latest), "test").examples
    unread = {"time": "yeer"}  # of latest alone
    assert load_examples(task(tmp_path, rows, persona=unread), "test").examples
    with pytest.raises(
        SpecError, match=r"p\[0\] has no field 'yeer', which persona.time names. Did you mean"
    ):
        load_examples(task(tmp_path, rows, persona={**latest, "time": "yeer"}), "test")


def test_the_fields_that_retrieval_ranks_by_are_looked_for_beforehand(tmp_path: Path) -> None:
    rows = [row(p=[{"text": "a", "title": "b"}]), row(p=[{"text": "a", "titel": "b"}])]
    fields = {"item_text": "{number} {title} {text}"}
    assert len(load_examples(task(tmp_path, rows, fields=fields), "test").examples) == 2  # nothing ranks
    for retrieve in ("bm25", "dense"):
        with pytest.raises(SpecError) as error:
            load_examples(task(tmp_path, rows, fields=fields, persona={"retrieve": retrieve}), "test")
        assert str(error.value) == (
            f"{tmp_path}/rows.jsonl:2: p[0] has no field 'title', which fields.item_text names. "
            "Did you mean 'titel'? There are: text, titel."
        )


def test_each_fault_is_told_once_with_its_first_row_up_to_a_screenful(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load_examples(task(tmp_path, [row(), *[row(q=3)] * 50, {"u": "ann"}]), "test")
    first, *others = error.value.problems
    assert (first.line, len(others)) == (2, 1)
    assert "also in 49 further rows" in first.message
    assert {problem.line for problem in others} == {52}  # it lacks q, r and p
    with pytest.raises(SpecError) as error:
        load_examples(task(tmp_path, [row(p=[{f"text{n}": "x"}]) for n in range(50)]), "test")
    assert [problem.line for problem in error.value.problems] == [*range(1, 21)]


def test_nothing_usable(tmp_path: Path) -> None:
    file = re.escape(f"{tmp_path}/rows.jsonl")
    with pytest.raises(PerbenchError, match=rf"^{file}: split 'test' of task mine/t .*\(2 empty r\)"):
        load_examples(task(tmp_path, [row(r=""), row(r=" ")]), "test")
    with pytest.raises(PerbenchError, match=rf"^{file}: .*\(no rows\)"):
        load_examples(task(tmp_path, []), "test")


# ---------------------------------------------------------------- the draw


def test_a_smaller_draw_is_part_of_a_larger_one(tmp_path: Path) -> None:
    rows = [row(f"user{index}") for index in range(30)]
    named = task(tmp_path, rows, examples={"test": 20, "train": None})
    drawn = [example.id for example in load_examples(named, "test").examples]
    assert len(drawn) == 20
    assert drawn != sorted(drawn)
    assert [example.id for example in load_examples(named, "test", limit=5).examples] == drawn[:5]
    assert [example.id for example in load_examples(named, "test", limit=25).examples] == drawn
    everything = [example.id for example in load_examples(named, "train").examples]
    assert len(set(everything)) == 30


def test_another_row_leaves_the_order_of_the_others(tmp_path: Path) -> None:
    rows = [row(f"user{index}") for index in range(10)]
    before = load_examples(task(tmp_path, rows), "test")
    after = load_examples(task(tmp_path, [*rows, row("new")]), "test")
    assert [e.id for e in after.examples if e.user != "new"] == [e.id for e in before.examples]


def test_what_all_rows_share_stands_once_in_the_digest(tmp_path: Path) -> None:
    def digest(shared: Any) -> str:
        for name, lines in (("conf", [row(), row("bob")]), ("all", [shared])):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
        data = {"hub": "o/n", "config": "conf", "shared": "all", "data_dir": str(tmp_path)}
        dataset = load_examples(task(tmp_path, [], data=data, fields={"extra": ["z"]}), "test")
        assert [example.extra for example in dataset.examples] == [{"z": shared["z"]}] * 2
        return dataset.digest

    assert digest({"z": 1}) == digest({"z": 1, "unread": 2})
    assert digest({"z": 1}) != digest({"z": 2})
    plain = load_examples(task(tmp_path, [row(z=1), row("bob", z=1)], fields={"extra": ["z"]}), "test")
    found = canonical_digest(
        {"shared": {"z": 1}, "examples": [{**one.values, "extra": {}} for one in plain.examples]}
    )
    assert digest({"z": 1}) == found


def test_digest_follows_the_examples(tmp_path: Path) -> None:
    rows = [row("a"), row("b")]
    digest = load_examples(task(tmp_path, rows), "test").digest
    assert load_examples(task(tmp_path, rows), "test").digest == digest
    assert load_examples(task(tmp_path, [*rows, row(r="")]), "test").digest == digest  # a skipped row
    assert load_examples(task(tmp_path, [row("a"), row("b", r="there")]), "test").digest != digest
    # sha256 of the canonical JSON, by hand
    one = task(tmp_path, [row(p=[])], fields={"extra": []})
    text = '[{"extra":{},"id":"test/ann/0","persona":[],"question":"where?","reference":"here","user":"ann"}]'
    import hashlib

    assert load_examples(one, "test").digest == hashlib.sha256(text.encode()).hexdigest()
