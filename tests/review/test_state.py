"""Decisions: kept, resumed, exported, and refused when they break the rules of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench.annotate.review.state import Review, journal_file
from perbench.errors import PerbenchError, SpecError

DEER = {"start": 8, "end": 12, "kind": "inference", "sentence": 1}
Rows = list[dict[str, Any]]


def rows(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_accepted_rows_are_exported_with_kinds(file: Path, originals: Rows, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Review.open(file, out) as review:
        assert rows(out) == []
        assert review.decide("a", "accepted", [DEER]) == {"decision": "accepted", "faults": []}
        stitch = {"start": 10, "end": 24, "kind": "paraphrase", "sentence": 1}
        review.decide("b", "accepted", [stitch])
        review.decide("c", "rejected", [])
        found = rows(out)
    assert found[0] == {**originals[0], "gold": [{**DEER, "text": "deer"}], "review": "accepted"}
    assert found[1]["gold"][0]["text"] == "stitch clothes"
    assert found[1]["review"] == "edited"
    assert len(found) == 2


def test_what_breaks_a_rule_stays_open_and_kept(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Review.open(file, out) as review:
        told = review.decide("a", "accepted", [{**DEER, "kind": None, "sentence": 7}])
        assert told["decision"] == "open"
        assert [fault.partition(".")[0] for fault in told["faults"]] == [
            "gold[0]: unknown kind None",
            "gold[0]: sentence 7 is not one of the persona's 4, counted from 0",
        ]
        assert "overlaps" in review.decide("a", "accepted", [DEER, {**DEER, "start": 9}])["faults"][0]
        assert rows(out) == []
    with Review.open(file, out) as review:
        assert len(review.items["a"].gold) == 2


def test_faults_that_no_span_mends_do_not_stand_in_the_way(
    write: Any, originals: Rows, tmp_path: Path
) -> None:
    file = write([{**originals[0], "persona": ["I am thin.", "I like to hunt."]}])
    with Review.open(file, tmp_path / "out.jsonl") as review:
        assert review.decide("a", "accepted", [DEER])["decision"] == "accepted"


def test_nothing_is_lost_on_interruption(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Review.open(file, out) as review:
        review.decide("a", "accepted", [DEER])
        review.decide("b", "rejected", [])
    exported = out.read_bytes()
    out.unlink()
    with journal_file(out).open("ab") as torn:
        torn.write(b'{"id": "a", "decis')
    with Review.open(file, out) as review:
        assert out.read_bytes() == exported
        assert review.counts() == {"accepted": 1, "rejected": 1, "open": 1}


def test_a_decision_on_a_row_that_changed_is_open_again(
    file: Path, write: Any, originals: Rows, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with Review.open(file, out) as review:
        review.decide("a", "accepted", [DEER])
        review.decide("b", "accepted", [{**DEER, "start": 10, "end": 16}])
    short = {**originals[0], "answer": "No.", "gold": []}
    write([short, {**originals[1], "answer": " I usually stitch some clothes."}])
    with Review.open(file, out) as review:
        assert [item.decision for item in review.items.values()] == ["open", "open"]
        assert rows(out) == []


@pytest.mark.parametrize(
    ("name", "decision", "gold"),
    [
        ("x", "accepted", []),
        ("a", "maybe", []),
        ("a", "open", None),
        ("a", "open", [3]),
        ("a", "open", [{**DEER, "end": 99}]),
        ("a", "open", [{**DEER, "start": True}]),
        ("a", "open", [{**DEER, "kind": "<b>"}]),
        ("a", "open", [{**DEER, "sentence": "1"}]),
    ],
)
def test_what_a_page_cannot_mean_is_refused(
    name: str, decision: str, gold: Any, file: Path, tmp_path: Path
) -> None:
    with Review.open(file, tmp_path / "out.jsonl") as review:
        with pytest.raises(ValueError, match=r"no |not |invalid|must be"):
            review.decide(name, decision, gold)
        assert journal_file(tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a", "decision": "accepted"}',
        '{"decision": "open", "gold": []}',
        '{"id": "a", "gold": []}',
        "x",
    ],
)
def test_a_journal_line_that_is_no_decision_is_named(line: str, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with Review.open(file, out) as review:
        review.decide("b", "rejected", [])
    journal = journal_file(out)
    whole = journal.read_text(encoding="utf-8")
    journal.write_text(whole + line + "\n" + whole, encoding="utf-8")
    with pytest.raises(PerbenchError, match=r"out\.decisions\.jsonl:2: .*, or remove the line"):
        Review.open(file, out).__enter__()
    assert journal.read_text(encoding="utf-8") == whole + line + "\n" + whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gold": [{**DEER, "kind": ["a"]}]}, r"qa\.jsonl:1: gold\[0\]: unknown kind \['a'\]"),
        ({"gold": [{**DEER, "sentence": "x"}]}, "sentence 'x' is not one of the persona's 4"),
        ({"gold": True, "distractor": "thin"}, "gold must be a list, not True"),
        ({"answer": "Half a \ud800 deer here.", "gold": []}, r"'\\ud800', a lone surrogate"),
        ({"id": "\ud800"}, r"field 'id' holds '\\ud800', a lone surrogate"),
    ],
)
def test_rows_that_no_page_can_show_are_refused(
    changes: dict[str, Any], message: str, write: Any, originals: Rows, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        Review.open(write([{**originals[0], **changes}]), tmp_path / "out.jsonl").__enter__()


def test_files_are_not_mixed_up(file: Path, write: Any, originals: Rows, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(PerbenchError, match="is not an earlier review"), Review.open(file, out):
        pass
    assert out.read_text(encoding="utf-8") == "mine"
    with pytest.raises(PerbenchError, match="no data file"), Review.open(tmp_path / "none.jsonl", out):
        pass
    first, second = (Review.open(file, tmp_path / "b.jsonl") for _ in range(2))
    with first, pytest.raises(PerbenchError, match="under review by another"):
        second.__enter__()
    write([originals[0], originals[0], {**originals[1], "gold": ["sew"]}])
    with pytest.raises(SpecError, match=r"(?s)qa.jsonl:2: id 'a'.*qa.jsonl:3: gold.0.: 'sew' does not"):
        Review.open(file, tmp_path / "c.jsonl").__enter__()
