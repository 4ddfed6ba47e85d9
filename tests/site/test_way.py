"""A reader's way: overview, cell, sample, two models on it, and back by the address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from perbench.store import read_records
from perbench.store.check import read_samples, read_scores
from tests.site.browsing import NARROW, WIDE, address, opened
from tests.site.test_downloads import shows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from perbench.store import CellRecord, Scores
    from tests.site.conftest import Board

Cell = tuple["CellRecord", list[dict[str, Any]], "Scores"]
ROWS = "() => [...document.querySelectorAll('#transfer-1 tbody tr:not([hidden])')].map(one => one.innerText)"
START = "index.html#transfer-1.trainer=perce&transfer-1.source=made%2Fwrite_1&transfer-1.seed=0"


@pytest.fixture(scope="module")
def cells(board: Board) -> dict[str, Cell]:
    """Finished evaluations of the invented run with their samples, by the start of their identity."""
    found: dict[str, Cell] = {}
    for record, folder in read_records(board.runs[0]):
        scores = read_scores(folder) if record.status == "done" else None
        if scores is not None:
            found[record.identity[:16]] = record, read_samples(folder, record.identity), scores
    return found


def identity(page: Page) -> str:
    return re.findall(r"/cells/([0-9a-f]{16})", page.url)[0]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1240 px", "390 px"])
def test_from_the_overview_to_a_sample_of_two_models_and_back(
    browser: Browser, board: Board, cells: dict[str, Cell], size: dict[str, int]
) -> None:
    with opened(browser, board.site, START, viewport=size) as page:
        rows = page.evaluate(ROWS)
        cell = page.locator("#transfer-1 tr[data-row=cell]:not([hidden]) td[data-seeds] .c").nth(2)
        cell.click()  # its card
        cell.locator(".tip a").first.click()
        page.wait_for_url("**/cells/*.html")
        record, samples, scores = cells[identity(page)]
        assert record.labels.trainer == "perce"
        assert record.labels.source == "made/write_1"
        assert record.labels.seed == 0
        answers = page.locator("#samples article")
        assert answers.count() == len(samples)
        wanted = samples[3]
        page.locator("form[data-filter=samples] input[name=q]").fill(wanted["user"])
        own = [sample["response"] for sample in samples if sample["user"] == wanted["user"]]
        assert page.locator("#samples article:visible").count() == len(own) == 2
        found = page.locator("#samples article:visible", has_text=wanted["response"])
        for text in (wanted["question"], wanted["reference"], wanted["response"]):
            assert text in found.inner_text()
        score = scores.scores[record.headline or ""][scores.ids.index(wanted["id"])]
        assert shows(found.locator(".sc").inner_text(), str(score))
        reading = page.url
        found.get_by_role("link", name="compare").click()
        page.wait_for_url("**/compare.html#*")
        link = page.url
        state = dict(part.split("=") for part in link.partition("#")[2].split("&"))
        other, others, other_scores = cells[state["b"]]
        assert state["a"] == record.identity[:16]
        assert (other.labels.trainer, other.labels.source, other.labels.seed) == ("ce", "made/write_1", 0)
        article = page.locator(f"#s-{state['s']}")
        article.wait_for()
        same = next(sample for sample in others if sample["id"] == wanted["id"])
        text = article.inner_text()
        assert wanted["response"] in text
        assert same["response"] in text
        base = other_scores.scores[record.headline or ""][other_scores.ids.index(wanted["id"])]
        assert score is not None
        assert base is not None
        assert shows(article.locator(".sc").inner_text(), str(score - base))
        page.reload()
        page.locator(f"#s-{state['s']}").wait_for()
        assert page.url == link
        page.go_back()
        page.wait_for_url(reading)
        assert page.locator("#samples article:visible").count() == 2
        page.goto(address(board.site, START))
        assert page.evaluate(ROWS) == rows


def test_without_script_every_sample_can_be_read(
    browser: Browser, board: Board, cells: dict[str, Cell]
) -> None:
    """Of a cell of each protocol; the other answers are closed, not missing."""
    protocols = {record.inputs["target"]["protocol"]: name for name, (record, _, _) in cells.items()}
    assert len(protocols) >= 3
    with opened(browser, board.site, java_script_enabled=False) as page:
        for name in protocols.values():
            record, samples, _ = cells[name]
            page.goto(address(board.site, f"cells/{record.identity[:16]}.html"))
            page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
            text = " ".join(page.locator("main").inner_text().split())
            missing = [sample["id"] for sample in samples if sample["response"] not in text]
            assert missing == [], record.labels
