"""One file cut in two: nothing in both parts, every row in one, the same parts every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from perbench.contracts.source import Row
from perbench.data import load_examples
from perbench.data.overlap import Seen
from perbench.data.split import SplitSpec, cut
from perbench.errors import PerbenchError, SpecError
from perbench.shapes.base import Named
from perbench.shapes.task import FieldSpec, TaskSpec
from perbench.specs.compose import data_spec, source_of
from tests.data.test_examples import row, task

FIELDS = FieldSpec(user="u", question="q", reference="r", persona="p")
TEXT = "On Sundays we bake bread and walk along the river to the old mill."


def rows_of(*fields: dict[str, Any]) -> list[Row]:
    return [Row("rows.jsonl", line, one) for line, one in enumerate(fields, start=1)]


def named(folder: Path, rows: list[dict[str, Any]], **split: Any) -> Named[TaskSpec]:
    return task(folder, rows, data={"files": "rows.jsonl", **({"split": split} if split else {})})


users = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), min_size=2, max_size=20)


@settings(max_examples=60)
@given(users, st.sampled_from(["user", "row"]), st.floats(0.01, 0.99), st.integers(0, 3))
def test_the_parts_are_whole_and_share_nothing(
    drawn: list[tuple[str, str]], by: Any, share: float, seed: int
) -> None:
    rows = rows_of(*({"u": user, "q": question, "r": "here"} for user, question in drawn))
    keys = [one.fields["u"] if by == "user" else (one.fields["u"], one.fields["q"]) for one in rows]
    split = SplitSpec(by=by, test=share, seed=seed)
    if len(set(keys)) < 2:
        with pytest.raises(PerbenchError, match=f"rows.jsonl: data.split by {by} needs two {by}s, found 1"):
            cut(Path("rows.jsonl"), rows, FIELDS, split)
        return
    parts = cut(Path("rows.jsonl"), rows, FIELDS, split)
    assert sorted(one.line for part in parts.values() for one in part) == [one.line for one in rows]
    sides = [{keys[one.line - 1] for one in part} for part in parts.values()]
    assert not set.intersection(*sides)
    assert len(sides[1]) == min(max(round(len(set(keys)) * share), 1), len(set(keys)) - 1)
    assert parts == cut(Path("rows.jsonl"), rows, FIELDS, split)


def test_equal_texts_are_never_parted() -> None:
    rows = rows_of(*({"u": f"u{n}", "q": f"q{n}", "r": TEXT if n % 2 else f"r{n}"} for n in range(20)))
    for seed in range(5):
        parts = cut(Path("rows.jsonl"), rows, FIELDS, SplitSpec(by="row", seed=seed))
        assert len({name for name, part in parts.items() for one in part if one.fields["r"] == TEXT}) == 1


def test_a_cut_file_is_a_train_and_a_test_split(tmp_path: Path) -> None:
    rows = [row(f"u{n // 2}", q=f"q{n}") for n in range(20)]
    one = named(tmp_path, rows, by="user", test=0.2)
    train, test = (load_examples(one, split) for split in ("train", "test"))
    assert (len(train.examples), len(test.examples)) == (16, 4)
    assert not {e.user for e in train.examples} & {e.user for e in test.examples}
    assert Seen(train.examples).overlap(test.examples).seen == []
    assert test.source == {"files": "rows.jsonl", "split": "test", "by": "user", "test": 0.2, "seed": 0}
    assert {place.rpartition(":")[0] for place in test.places.values()} == {str(tmp_path / "rows.jsonl")}
    assert source_of(one.spec.data).has_train(tmp_path)
    again = load_examples(named(tmp_path, rows, by="user", test=0.2, seed=1), "test")
    assert again.digest != test.digest


def test_the_digest_holds_the_split_and_is_as_before_without_one(tmp_path: Path) -> None:
    rows = [row("a"), row("b")]
    whole = load_examples(named(tmp_path, rows), "test")
    digests = {whole.digest}
    for split in ({"by": "user"}, {"by": "row"}, {"by": "user", "test": 0.5}):  # which part them alike
        digests.add(load_examples(named(tmp_path, rows, **split), "test").digest)
    assert len(digests) == 4
    accepted = task(tmp_path, rows, data={"files": "rows.jsonl", "overlap": "accepted"})
    assert load_examples(accepted, "test").digest == whole.digest


@pytest.mark.parametrize(
    ("by", "names", "asked"),
    [
        ("user", {"user": "nmae"}, "nmae"),
        ("user", {"user": None, "persona": "profle"}, "profle"),
        ("row", {"question": "inptu"}, "inptu"),
        ("row", {"reference": "outptu"}, "outptu"),
    ],
)
def test_a_field_that_parts_the_rows_is_in_every_row(by: Any, names: dict[str, Any], asked: str) -> None:
    whole = {"name": "ann", "input": "q", "output": "r", "profile": []}
    fields = FieldSpec(
        **{"user": "name", "question": "input", "reference": "output", "persona": "profile"} | names
    )
    rows = rows_of({**whole, asked: "there"}, whole, {**whole, "name": "ben"})
    with pytest.raises(SpecError) as error:
        cut(Path("rows.jsonl"), rows, fields, SplitSpec(by=by))
    (problem,) = error.value.problems
    assert (problem.path, problem.line) == ("rows.jsonl", 2)
    assert f"no field {asked!r}" in problem.message
    assert "Did you mean" in problem.message
    assert "also in 1 further row" in problem.message


def test_a_split_is_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "test.jsonl").write_text(json.dumps(row()))
    one = task(tmp_path, [], data={"files": "folder", "split": {"by": "user"}})
    with pytest.raises(PerbenchError, match=r"folder: data\.split splits a single file"):
        load_examples(one, "test")
    with pytest.raises(ValidationError, match="split excludes train_split and test_split"):
        data_spec()(files="rows.jsonl", split=SplitSpec(by="user"), test_split="dev")
    with pytest.raises(ValidationError, match=r"split: is not used by data\.hub"):
        data_spec()(hub="o/n", config="c", split=SplitSpec(by="user"))
