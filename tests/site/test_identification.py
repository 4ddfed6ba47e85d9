"""The tables of identifiers: a line per threshold, columns as far as records have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perbench.contracts.section import Table, Value
from perbench.site.load import load
from perbench.site.view import build_view
from perbench.store import CellRecord, Metric
from tests.site.conftest import Bench


def metrics(**values: float) -> dict[str, Metric]:
    return {
        name: Metric(value=value, ci=(value - 0.1, value + 0.1), n=4, signature="s")
        for name, value in values.items()
    }


def tables(*benches: Bench) -> tuple[Table, ...]:
    (found,) = build_view(load([b.path for b in benches])).sections
    assert found.name == "identification"
    return found.tables


def names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def values(table: Table, count: int) -> list[list[float | None]]:
    """The first columns of each row."""
    return [[one.value for one in row[:count] if isinstance(one, Value)] for _, row in table.rows]


def told(bench: Bench, name: str = "percontrast", **fields: Any) -> CellRecord:
    return bench.identify(name, 0.5, **fields)


TIMED = ["samples", "time", "examples/s"]
TUNED = {
    "threshold": 1.0,
    "threshold_tuned": 0.3519,
    "precision": 0.6,
    "recall": 0.4,
    "f1": 0.48,
    "f1_strict": 0.3,
    "precision_tuned": 0.5,
    "recall_tuned": 0.7,
    "f1_tuned": 0.58,
    "recall_strict": 0.2,
    "recall_style": 0.1,
    "recall_style_tuned": 0.2,
    "false_none": 0.3,
    "average_precision": 0.55,
}


def test_a_line_for_each_threshold(bench: Bench) -> None:
    told(bench, metrics=metrics(**TUNED), notes=["a caveat"], better={"false_none": "lower"})
    quality, where, levels = tables(bench)
    assert names(quality) == ["precision", "recall", "F1", "average precision", *TIMED]
    assert [head.detail for head, _ in quality.rows] == ["threshold 1", "threshold 0.352 from dev"]
    assert values(quality, 4) == [[0.6, 0.4, 0.48, 0.55], [0.5, 0.7, 0.58, 0.55]]
    assert names(where) == ["style", "false: words of answers without gold"]
    assert values(where, 2) == [[0.1, 0.3], [0.2, 0.3]]
    assert [[one.better for one in column] for column in where.numbers] == [["higher"] * 2, ["lower"] * 2]
    assert names(levels) == ["tokens", "tokens, strict"]
    assert [table.remarks for table in (quality, where, levels)] == [("a caveat (percontrast)",), (), ()]


def test_a_record_without_thresholds_has_one_line_and_one_table(bench: Bench) -> None:
    told(bench)
    (table,) = tables(bench)
    ((head, _),) = table.rows
    assert head.detail == ""
    assert names(table) == ["precision", "recall", "F1", *TIMED]


def test_the_spans_that_a_person_has_checked_are_beside_the_numbers(bench: Bench) -> None:
    told(bench)
    (table,) = tables(bench)
    assert table.remarks == ()  # a record of an older perbench does not say
    told(bench, "tfidf", counts={"samples": 50, "gold_spans": 1428, "gold_spans_checked": 7})
    (table,) = tables(bench)
    assert table.remarks == ("a person has checked 7 of the 1,428 gold spans",)


def test_notes_name_whom_they_are_about(bench: Bench) -> None:
    for name in ("percontrast", "word_matching"):
        told(bench, name, notes=["no dev split"])
    (table,) = tables(bench)
    assert table.remarks == ("no dev split (percontrast, word_matching)",)


def test_other_data_is_a_section_of_its_own(new_bench: Callable[[str], Bench]) -> None:
    """No table puts scores on 8 answers beside scores on 30, or those of two tasks."""
    few, many = new_bench("few"), new_bench("many")
    target = {"name": "fam/spans"}
    told(few, inputs={"data": "a", "target": target}, counts={"samples": 8}, notes=["no dev split"])
    told(many, inputs={"data": "b", "target": target}, counts={"samples": 30})
    told(many, "tfidf", inputs={"data": "b", "target": target}, counts={"samples": 30})
    told(many, inputs={"data": "c", "target": {"name": "fam/other"}}, target="fam/other")
    assert [(one.title, len(one.rows), one.remarks) for one in tables(few, many)] == [
        ("fam/other", 1, ()),
        ("fam/spans · 8 examples", 1, ("no dev split (percontrast)",)),
        ("fam/spans · 30 examples", 2, ()),
    ]


def test_identifiers_of_one_name_are_told_apart(new_bench: Callable[[str], Bench]) -> None:
    benches = [new_bench("a"), new_bench("b")]
    for place, one in enumerate(benches):
        inputs = {"data": "d", "identifier": {"plugin": f"{place}" * 64, "params": {"threshold": 0.5}}}
        told(one, inputs=inputs)
    (table,) = tables(*benches)
    assert [head.variation for head, _ in table.rows] == [
        "code of the identifier as in run a",
        "code of the identifier as in run b",
    ]
