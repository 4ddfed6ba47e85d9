"""A table of more than 500 values: its cards are in a file that the page reads when one is wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from perbench.site import build
from perbench.site.cards import LARGE
from tests.site.browsing import NARROW, opened
from tests.site.made import Shape, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

SHAPE = Shape(models=2, trainers=8, sources=3, targets=11, seeds=1, users=3, each=1)
MOST = 3e6 / 5000
"""Bytes of a page for each value: 5,000 are to stay under 3 MB."""
CELL = "#transfer-1 tbody tr[data-row=cell] td:nth-child(3)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    build([write_run(folder / "run", SHAPE)], folder / "site")
    return folder / "site"


def test_the_page_is_light_and_holds_no_cards(site: Path) -> None:
    assert SHAPE.evaluations > LARGE
    source = (site / "index.html").read_text(encoding="utf-8")
    table = source[
        source.index('id="transfer-1"') : source.index("</table>", source.index('id="transfer-1"'))
    ]
    assert 'class="tip"' not in table
    assert len(source) < MOST * SHAPE.evaluations
    assert len(re.findall(r'<a class="(?:s|word)" href="cells/', table)) > SHAPE.evaluations - 10


def test_a_card_is_read_when_it_is_wanted(browser: Browser, site: Path) -> None:
    with opened(browser, site) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        cell = page.locator(CELL).first
        cell.hover()
        tip = cell.locator(".tip")
        tip.wait_for()
        assert asked == ["transfer-1.js"]
        gain = cell.locator(".g").inner_text().strip()
        score = cell.locator(".s").inner_text().strip()
        lines = tip.inner_text().splitlines()
        assert re.fullmatch(r"\w+, made/\w+ → made/\w+", lines[0])
        assert [line.split(" ")[:2] for line in lines[1:3]] == [["score", score], ["gain", gain]]
        assert lines[3].startswith("test ")
        other = page.locator(CELL).nth(9)
        other.locator(".c").focus()
        other.locator(".tip").wait_for()
        assert asked == ["transfer-1.js"]
        page.keyboard.press("Enter")
        page.wait_for_url("**/cells/*.html")


def test_a_search_does_not_depend_on_the_cards_read(browser: Browser, site: Path) -> None:
    rows = "() => document.querySelectorAll('#transfer-1 tbody tr[data-row=cell]:not([hidden])').length"
    with opened(browser, site) as page:
        page.locator(CELL).first.hover()
        page.locator(f"{CELL} .tip").first.wait_for()
        page.locator("form[data-filter=transfer-1] input[name=q]").fill("samples and record")
        assert page.evaluate(rows) == 0


def test_without_script_a_number_leads_to_its_record(browser: Browser, site: Path) -> None:
    with opened(browser, site, java_script_enabled=False) as page:
        page.locator(f"{CELL} a.s").first.click()
        assert "/cells/" in page.url


def test_a_card_is_at_the_foot_of_a_phone(browser: Browser, site: Path) -> None:
    with opened(browser, site, viewport=NARROW, has_touch=True, is_mobile=True) as page:
        cell = page.locator(CELL).first
        cell.locator(".g").tap()
        cell.locator(".tip").wait_for()
        box = cell.locator(".tip").bounding_box()
        assert box is not None
        assert round(box["y"] + box["height"]) == NARROW["height"]
