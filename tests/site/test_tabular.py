"""CSV and JSON of a table: every value once, in full, as text that computes nothing."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.cli import main
from perbench.contracts.results import Flag
from perbench.contracts.section import ColumnHead, RowHead, Table, Value
from perbench.site.tabular import FORMULA, as_csv, as_json
from perbench.stats.paired import Estimate
from tests.site.pages import site_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.site.conftest import Bench

GAIN = Estimate(1 / 3, n=6, missing=0, users=3, ci=(-0.1, 0.7), p=0.02, seeds=1, adjusted=0.04)
FULL = Value(
    2 / 3,
    ci=(0.1, 0.9),
    n=6,
    missing=2,
    gain=GAIN,
    rank=(1, 3),
    better="lower",
    flags=(Flag("5% cut", "cut"), Flag("few", "few")),
)
HEAD = RowHead("perce", "lr=1", trained_on="s", model="m", model_label="old")
COLUMNS = (ColumnHead("t", "8 users", "m"), ColumnHead("u"))


def lines(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(table), newline="")))


def test_a_line_holds_all_of_a_value_in_full() -> None:
    first, second = lines(Table("Scores", "trained", COLUMNS, ((HEAD, (FULL, "no record")),), target="x"))
    assert first == {
        "task": "x",
        "row": "perce",
        "variation": "lr=1",
        "detail": "",
        "trained_on": "s",
        "model": "m",
        "model_label": "old",
        "reported": "",
        "column": "t · 8 users",
        "metric": "m",
        "value": str(2 / 3),
        "ci_low": "0.1",
        "ci_high": "0.9",
        "text": "",
        "n": "6",
        "missing": "2",
        "better": "lower",
        "gain": str(1 / 3),
        "gain_ci_low": "-0.1",
        "gain_ci_high": "0.7",
        "gain_p": "0.02",
        "gain_p_holm": "0.04",
        "rank_best": "1",
        "rank_worst": "3",
        "seeds": "",
        "caveats": "5% cut; few",
        "cells": "",
    }
    assert (second["column"], second["text"], second["value"], second["gain"]) == ("u", "no record", "", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Value(text="failed", aside="CellError"), "failed: CellError"),
        (Value(text="no score"), "no score"),
        (Value(12.5, text="12 s"), "12 s"),
        ("as it is", "as it is"),
    ],
)
def test_what_is_no_number_is_text(value: Value | str, text: str) -> None:
    (line,) = lines(Table("Scores", "trained", COLUMNS[1:], ((HEAD, (value,)),)))
    assert line["text"] == text
    assert line["value"] == ("12.5" if text == "12 s" else "")


def test_lines_are_in_the_order_of_the_table() -> None:
    rows = tuple((RowHead(name), (Value(1.0), Value(2.0))) for name in ("b", "a"))
    found = [(line["row"], line["column"]) for line in lines(Table("Scores", "trained", COLUMNS, rows))]
    assert found == [(row, column) for row in ("b", "a") for column in ("t · 8 users", "u")]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
starts = st.sampled_from(["", *FORMULA, "=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", '"', ",", "\n=", "\r\n="])


@given(st.lists(st.builds(str.__add__, starts, texts), min_size=5, max_size=5))
def test_any_text_comes_back_and_none_is_a_formula(found: list[str]) -> None:
    name, source, model, column, text = found
    head = RowHead(name, name, trained_on=source, model=model, reported=text)
    table = Table("Scores", "trained", (ColumnHead(column, metric=column),), ((head, (text,)),), target=name)
    (line,) = lines(table)
    for key, value in {
        "task": name,
        "row": name,
        "variation": name,
        "trained_on": source,
        "model": model,
        "reported": text,
        "column": column,
        "metric": column,
        "text": text,
    }.items():
        assert line[key] == (f"'{value}" if value.startswith(FORMULA) else value)
    assert not [value for value in line.values() if value.startswith(FORMULA)]


def test_a_negative_number_stays_a_number() -> None:
    (line,) = lines(Table("Scores", "trained", COLUMNS[1:], ((HEAD, (Value(-0.5),)),)))
    assert float(line["value"]) == -0.5


def test_json_has_the_section_and_what_csv_has() -> None:
    table = Table("Scores", "trained", COLUMNS, ((HEAD, (FULL, "no record")),), notes=("a",), remarks=("b",))
    found = json.loads(as_json("transfer", table))
    assert (found["section"], found["caption"], found["notes"]) == ("transfer", "Scores", ["a", "b"])
    value, text = found["rows"][0]["values"]
    assert (value["value"], value["ci"], value["gain"]["adjusted"], value["rank"]) == (
        *(2 / 3, [0.1, 0.9], 0.04),
        [1, 3],
    )
    assert text == "no record"


def test_the_files_hold_what_show_prints_as_json(
    full: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = site_of(full, out=tmp_path / "site")
    assert main(["leaderboard", "show", str(full.path), "--json"]) == 0
    shown: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["sections"]
    files = {name: json.loads(content) for name, content in site.files.items() if name.endswith(".json")}
    del files["files.json"]
    assert files == {
        f"data/{section['name']}-{number}.json": {"section": section["name"], **table}
        for section in shown
        for number, table in enumerate(section["tables"], 1)
    }
    assert len(files) == sum(len(section["tables"]) for section in shown) > 3
