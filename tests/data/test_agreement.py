"""Statistics of annotated data against numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench.annotate.agreement import agreement, describe, table
from perbench.cli import main
from perbench.data.spans import Names
from perbench.errors import PerbenchError

NAMES = Names("user", "persona", "question", "answer")


def span(start: int, end: int, kind: str = "lexical", sentence: int = 0) -> dict[str, Any]:
    return {"start": start, "end": end, "kind": kind, "sentence": sentence}


def row(user: str, first: list[Any], second: list[Any], gold: list[Any], **more: Any) -> dict[str, Any]:
    return {"user": user, "answer": "aa bb, cc dd!", "first": first, "second": second, "gold": gold, **more}


AA, BB, CC, DD = (0, 2), (3, 5), (7, 9), (10, 12)
ROWS = [
    row("u", [span(*AA), span(*BB)], [span(*AA)], [span(*AA)], distractor="bb"),
    row("u", [span(*AA, "style")], [span(*AA), span(*CC)], [span(*AA, "style")]),
    row("v", [span(*DD)], [span(*DD, sentence=1)], [span(*DD, sentence=2)], distractor=None),
    row("w", [span(0, 5)], [span(0, 5)], [span(0, 5)]),
    row("w", [], [], []),
]


def test_agreement_by_hand() -> None:
    # 20 words; first marks 2+1+1+2 = 6, second 1+2+1+2 = 6, both 1+1+1+2 = 5, with one kind 4 of 5.
    # p_o = (5 + 20 - 7) / 20 = 0.9; p_e = 0.3 * 0.3 + 0.7 * 0.7 = 0.58; kappa = 0.32 / 0.42.
    assert agreement(ROWS, NAMES) == pytest.approx(
        {
            "words": 20,
            "Cohen's kappa of the words": 0.32 / 0.42,
            "F1 of the words": 10 / 12,
            "same kind where both mark": 4 / 5,
            "examples adjudicated": 3,
            "adjudicated as first": 1 / 3,
            "adjudicated as second": 1 / 3,
            "adjudicated as other": 1 / 3,
        }
    )


def test_description_by_hand() -> None:
    found = describe(ROWS, NAMES)
    assert {name: found[name] for name in list(found)[:12]} == pytest.approx(
        {
            "examples": 5,
            "personas": 3,
            "answer words, mean": 4.0,
            "spans": 4,
            "spans, lexical": 3 / 4,
            "spans, paraphrase": 0.0,
            "spans, inference": 0.0,
            "spans, style": 1 / 4,
            "spans checked by a person": 0,
            "words that are personal": 5 / 20,
            "examples with no span": 1 / 5,
            "examples with a distractor": 1 / 5,
        }
    )


def test_kappa_of_annotators_who_agree_and_who_mark_nothing() -> None:
    same = [row("u", [span(*AA)], [span(*AA)], [span(*AA)])]
    assert agreement(same, NAMES)["Cohen's kappa of the words"] == pytest.approx(1.0)
    none = agreement([row("u", [], [], [])], NAMES)
    assert none["Cohen's kappa of the words"] is None
    assert none["F1 of the words"] is none["adjudicated as first"] is None


def test_agreement_needs_both_annotators_everywhere() -> None:
    single = [ROWS[0], {name: value for name, value in ROWS[1].items() if name != "second"}]
    assert "words" not in describe(single, NAMES)


def test_a_table_of_two_columns() -> None:
    columns = {"dev": {"examples": 2, "share": 0.125}, "test": {"examples": 3, "share": None}}
    assert table(columns) == (
        "|  | dev | test |\n| --- | ---: | ---: |\n| examples | 2 | 3 |\n| share | 12.5% |  |"
    )


def test_bare_data_cannot_be_described() -> None:
    with pytest.raises(PerbenchError, match="only annotated data can be described"):
        describe([{"answer": "aa", "gold": ["aa"]}], NAMES)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "describe", "identification/persona_qa", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["dev", "test", "all"]
    assert main(["data", "describe", "embedded/dialogue"]) == 2
    assert "is of protocol dialogue and has no gold spans" in capsys.readouterr().err


def test_the_datasheet_says_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "describe", "identification/persona_qa"]) == 0
    sheet = Path(__file__).parents[2] / "tasks" / "identification" / "DATASHEET.md"
    assert capsys.readouterr().out in sheet.read_text(encoding="utf-8")


def test_the_built_in_data_is_as_balanced_as_it_claims(capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "describe", "identification/persona_qa", "--json"])
    found = json.loads(capsys.readouterr().out)["all"]
    assert found["examples"] == 486
    assert found["personas"] == 165
    assert found["examples with no span"] >= 0.1
    assert found["examples with a distractor"] >= 0.1
    assert found["spans, lexical"] < 0.25
    assert found["Cohen's kappa of the words"] == pytest.approx(0.774, abs=5e-4)
    assert found["words"] == 4617
    assert found["examples adjudicated"] == 185
