"""The CSV and JSON files beside a table hold the numbers that the page shows to a reader without script."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.site.browsing import address, opened, pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.site.conftest import Board

TABLES = """() => [...document.querySelectorAll("table[data-sort]")].map(table => ({
  name: table.id,
  rows: [...table.tBodies[0].rows].filter(row => row.dataset.row !== "head").map(row => ({
    head: [...row.querySelectorAll("th")].map(one => one.innerText).join(" "),
    model: row.dataset.model || "",
    source: row.dataset.source || "",
    cells: [...row.querySelectorAll("td[data-v]")].map(cell => [cell.dataset.v, cell.innerText])
  }))
}))"""
NUMBERED = re.compile(r"-\d+$")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def numbers(text: str) -> list[str]:
    """As shown: true minus, thousands with commas, padded with figure spaces."""
    return NUMBER.findall(text.replace("\u2212", "-").replace(",", "").replace("\u2007", ""))


def shows(text: str, value: str) -> bool:
    """Whether the text has the value, rounded to some decimals."""
    return any(
        abs(float(one) - float(value)) <= 0.5 * 10.0 ** -len(one.partition(".")[2]) + 1e-9
        for one in numbers(text)
    )


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shown_tables(page: Page, site: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every numbered table of a section, as a reader without script sees it who opens all details."""
    found = []
    for name in pages(site):
        if not name.startswith("cells/"):
            page.goto(address(site, name))
            page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
            found += [(name, table) for table in page.evaluate(TABLES) if NUMBERED.search(table["name"])]
    return found


def test_the_files_hold_what_the_tables_show(browser: Browser, board: Board) -> None:
    with opened(browser, board.site, java_script_enabled=False) as page:
        tables = shown_tables(page, board.site)
    compared = 0
    for place, table in tables:
        told = lines(board.site / "data" / f"{table['name']}.csv")
        cells = [(row, cell) for row in table["rows"] for cell in row["cells"]]
        assert len(told) == len(cells) > 0, f"{place}: {table['name']}"
        for line, (row, (value, text)) in zip(told, cells, strict=True):
            where = f"{place}: {table['name']}, {line['row']}, {line['trained_on']} → {line['column']}"
            if row["model"]:
                assert (row["model"], row["source"]) == (line["model"], line["trained_on"]), where
            if line["value"]:
                assert float(value) in {float(line[key]) for key in ("value", "gain") if line[key]}, where
                assert shows(text, line["value"]) or line["text"] in text, f"{where}: {text!r}"
                compared += 1
            else:
                assert value == "", where
                assert line["text"].partition(":")[0] in text, where
            assert not line["gain"] or shows(text, line["gain"]), f"{where}: {text!r}"
    assert {table["name"].rpartition("-")[0] for _, table in tables} >= {"transfer", "identification"}
    assert compared > 100


def test_every_table_has_both_files_and_they_agree(board: Board) -> None:
    files = sorted((board.site / "data").glob("*.csv"))
    assert len(files) >= 3
    for path in files:
        whole = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        values = [(head, value) for head in whole["rows"] for value in head["values"]]
        told = lines(path)
        assert len(told) == len(values)
        for line, (head, value) in zip(told, values, strict=True):
            assert line["row"] == head["name"]
            if isinstance(value, str):
                assert (line["text"], line["value"]) == (value, "")
                continue
            pairs = {"value": value["value"], "n": value["n"], "missing": value["missing"]}
            pairs |= dict(zip(("ci_low", "ci_high"), value["ci"] or (None, None), strict=True))
            gain = value["gain"] or dict.fromkeys(("value", "p", "adjusted"))
            pairs |= {"gain": gain["value"], "gain_p": gain["p"], "gain_p_holm": gain["adjusted"]}
            for key, number in pairs.items():
                assert (float(line[key]) if line[key] else None) == number, f"{path.name}: {line}"
            assert line["cells"].split() == value["cells"]


def test_a_page_links_the_files_of_its_tables(browser: Browser, board: Board) -> None:
    links = "() => [...document.querySelectorAll('a[download]')].map(one => one.href)"
    linked: set[str] = set()
    with opened(browser, board.site) as page:
        for name in pages(board.site):
            if not name.startswith("cells/"):
                page.goto(address(board.site, name))
                linked |= {link.rpartition("/")[2] for link in page.evaluate(links)}
    assert linked == {path.name for path in (board.site / "data").glob("*.*")}


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("+0.044 0.358", "0.3583", True),
        ("+0.044 0.358", "0.0441", True),
        ("\u22120.03", "-0.0312", True),
        ("\u22120.03", "0.0312", False),
        ("0.358", "0.3595", False),
        ("13,413", "13412.6", True),
        ("no record", "0", False),
    ],
)
def test_what_counts_as_shown(text: str, value: str, shown: bool) -> None:
    assert shows(text, value) is shown
