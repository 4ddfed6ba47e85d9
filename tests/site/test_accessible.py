"""Every kind of page under axe: WCAG 2.0 to 2.2, A and AA, in light and dark, wide and narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.site.browsing import NARROW, WIDE, kinds, opened
from tests.site.conftest import Board, build_board
from tests.site.made import Shape

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RUN = """async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const found = await axe.run(document, {runOnly: tags, resultTypes: ["violations"], preload: false});
  return found.violations.map(one => `${one.id}: ${one.nodes.map(node => node.html).slice(0, 3).join(" ")}`);
}"""  # with `preload` it would request the style sheet


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """Small, since axe looks at each element many times."""
    return build_board(tmp_path_factory.mktemp("board"), Shape(trainers=3, sources=1, targets=4, seeds=1))


def violations(page: Page) -> dict[str, list[str]]:
    """What axe finds, by size and colours; all details and a card are open, and two cells are compared."""
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    if "/compare.html" in page.url:
        page.locator("#compare-list").wait_for()
    for card in page.locator(".c").all()[:1]:
        card.focus()
    page.evaluate(Axe().axe_script)
    found = {}
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found[f"{size['width']} px, {scheme}"] = page.evaluate(RUN)
    return {place: faults for place, faults in found.items() if faults}


def test_axe_finds_no_violation(browser: Browser, board: Board) -> None:
    found = {}
    for name in kinds(board.site, board.runs):
        with opened(browser, board.site, name) as page:
            found[name] = violations(page)
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_axe_finds_a_violation_where_there_is_one(browser: Browser, board: Board) -> None:
    with opened(browser, board.site) as page:
        page.evaluate("document.querySelector('h1').style.color = '#ddd'")
        assert violations(page).keys() == {"1240 px, light", "390 px, light"}
