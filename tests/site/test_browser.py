"""Pages in a real browser: state in the address, keys, cards, narrow screens, paper, without script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlparse

import pytest

from perbench.site import build
from perbench.store import read_records
from tests.site.browsing import NARROW, PAPER, address, kinds, opened, pages

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.site.conftest import Bench, Board

ROWS = """() => [...document.querySelectorAll("#transfer-1 tbody tr")].filter(row => !row.hidden)
  .map(row => [row.dataset.trainer || "", row.dataset.source || "", row.dataset.row])"""
VALUES = """place => [...document.querySelectorAll("#transfer-1 tbody tr")]
  .filter(row => row.dataset.row !== "head").map(row => row.cells[place].dataset.v)"""


def state(page: Page) -> dict[str, str]:
    """What the address holds."""
    return {key: values[0] for key, values in parse_qs(urlparse(page.url).fragment).items()}


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f'form[data-filter="transfer-1"] select[name={name}]').select_option(value)


def test_filters_search_and_sort_are_in_the_address_and_come_back(browser: Browser, board: Board) -> None:
    with opened(browser, board.site) as page:
        everything = page.evaluate(ROWS)
        choose(page, "trainer", "perce")
        shown = page.evaluate(ROWS)
        assert {trainer for trainer, _, row in shown if row == "cell"} == {"perce"}
        assert "ce" in {trainer for trainer, _, row in shown if row == "context"}
        choose(page, "source", "made/write_1")
        page.locator("#transfer input[name=q]").fill("PERCE write_1")
        page.locator("#transfer-1 thead tr:last-child th:nth-child(4) button").click()
        narrowed = page.evaluate(ROWS)
        assert {source for _, source, row in narrowed if row == "cell"} == {"made/write_1"}
        assert page.locator("form[data-filter=transfer-1] [role=status]").inner_text() == "2 rows"
        assert state(page) == {
            "transfer-1.trainer": "perce",
            "transfer-1.source": "made/write_1",
            "transfer-1.q": "PERCE write_1",
            "transfer-1.sort": "3d",
        }
        page.reload()
        assert page.evaluate(ROWS) == narrowed
        assert page.locator("#transfer input[name=q]").input_value() == "PERCE write_1"
        with opened(browser, board.site, f"index.html#{urlparse(page.url).fragment}") as other:
            assert other.evaluate(ROWS) == narrowed
        page.goto(address(board.site, "index.html#transfer-1.trainer=nextquill"))  # only the hash changes
        assert {trainer for trainer, _, row in page.evaluate(ROWS) if row == "cell"} == {"nextquill"}
        page.goto(address(board.site, "index.html"))
        page.reload()
        assert page.evaluate(ROWS) == everything


def test_a_search_without_a_match_says_so_and_can_be_taken_back(browser: Browser, board: Board) -> None:
    with opened(browser, board.site, "index.html#transfer-1.q=unheard-of") as page:
        assert page.evaluate(ROWS) == []
        page.locator("#transfer-1-empty button").click()
        assert len(page.evaluate(ROWS)) > 5
        assert not page.locator("#transfer-1-empty").is_visible()
        assert urlparse(page.url).fragment == ""


def test_an_address_made_up_by_others_does_no_harm(browser: Browser, board: Board) -> None:
    for fragment in ("transfer-1.sort=99d&transfer-1.model=none", "%E0%A4%A=1&a", "=&=&&", "transfer-1.q=%"):
        with opened(browser, board.site, f"index.html#{fragment}") as page:
            assert len(page.evaluate(ROWS)) > 5


@pytest.mark.parametrize(("clicks", "up"), [(1, False), (2, True), (3, False)])
def test_a_column_is_sorted_by_its_numbers_and_blanks_stay_last(
    browser: Browser, board: Board, clicks: int, up: bool
) -> None:
    with opened(browser, board.site) as page:
        button = page.locator("#transfer-1 thead tr:last-child th:nth-child(4) button")
        for _ in range(clicks):
            button.click()
        values = page.evaluate(VALUES, 3)
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=not up)
        assert len(set(numbers)) > 3
        blanks = len(values) - len(numbers)
        assert blanks > 0
        assert values[-blanks:] == [""] * blanks
        sorting = page.locator("#transfer-1 thead tr:last-child th:nth-child(4)").get_attribute("aria-sort")
        assert sorting == ("ascending" if up else "descending")


def test_a_seed_shows_its_own_scores(browser: Browser, board: Board) -> None:
    records = {record.identity[:16]: record for run in board.runs for record, _ in read_records(run)}
    scores = """() => [...document.querySelectorAll("#transfer-1 td[data-seeds]")].map(cell =>
      [cell.querySelector(".s").textContent.trim(), [...cell.querySelectorAll("a")].map(one => one.href)])"""
    with opened(browser, board.site) as page:
        choose(page, "seed", "1")
        shown = page.evaluate(scores)
        assert len(shown) > 20
        compared = 0
        for text, links in shown:
            found = [records[link.rpartition("/")[2][:16]] for link in links]
            own = [record for record in found if record.labels.seed == 1 and record.status == "done"]
            if own and own[0].headline is not None:
                value = own[0].metrics[own[0].headline].value
                assert value == pytest.approx(float(text), abs=0.0051)
                compared += 1
        assert compared > 20
        assert state(page) == {"transfer-1.seed": "1"}
        choose(page, "seed", "")
        assert page.evaluate(scores) != shown


def test_arrow_keys_walk_the_cells_and_enter_opens_one(browser: Browser, board: Board) -> None:
    at = """() => { const cell = document.activeElement.closest("td"); const row = cell.parentNode;
      const rows = [...row.parentNode.rows].filter(one => one.querySelector(".c"));
      return [rows.indexOf(row), cell.cellIndex]; }"""
    with opened(browser, board.site) as page:
        page.locator("#transfer-1 .c").first.focus()
        assert page.evaluate(at) == [0, 1]
        found = []
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowUp"):
            page.keyboard.press(key)
            found.append(page.evaluate(at))
        assert found == [[0, 2], [1, 2], [2, 2], [2, 1], [2, 1], [1, 1]]
        assert page.locator("#transfer-1 .c:focus .tip").is_visible()
        assert page.locator("#transfer-1 .c[tabindex='0']").count() == 1
        page.keyboard.press("Enter")
        page.wait_for_url("**/cells/*.html")
        assert page.locator("h1").inner_text()


def test_a_card_opens_on_hover_and_at_the_foot_of_a_phone(browser: Browser, board: Board) -> None:
    with opened(browser, board.site) as page:
        cell = page.locator("#transfer-1 td[data-seeds] .c").nth(9)
        tip = cell.locator(".tip")
        assert not tip.is_visible()
        cell.hover()
        assert tip.is_visible()
        assert "to" in tip.inner_text()
    with opened(browser, board.site, viewport=NARROW, has_touch=True, is_mobile=True) as page:
        cell = page.locator("#transfer-1 td[data-seeds] .c").first
        cell.tap()
        box = cell.locator(".tip").bounding_box()
        assert box is not None
        assert (box["x"], round(box["width"])) == (0, NARROW["width"])
        assert round(box["y"] + box["height"]) == NARROW["height"]


def test_the_theme_follows_the_system_until_the_button_is_used(browser: Browser, board: Board) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    with opened(browser, board.site, color_scheme="dark") as page:
        dark = page.evaluate(ground)
        page.emulate_media(color_scheme="light")
        light = page.evaluate(ground)
        assert dark != light
        page.locator("#theme").click()
        assert page.evaluate(ground) == dark
        page.goto(address(board.site, "records.html"))
        assert page.evaluate(ground) == dark


def test_no_page_is_wider_than_a_phone(browser: Browser, board: Board) -> None:
    wide = "() => [document.scrollingElement.scrollWidth, innerWidth]"
    found = {}
    with opened(browser, board.site, viewport=NARROW) as page:
        for name in kinds(board.site, board.runs):
            page.goto(address(board.site, name))
            found[name] = page.evaluate(wide)
    assert {name: size for name, size in found.items() if size[0] > size[1]} == {}


def test_names_of_rows_are_whole_words_on_a_phone(browser: Browser, board: Board) -> None:
    with opened(browser, board.site, viewport=NARROW) as page:
        names = page.locator(".matrix tbody th[scope=row]")
        widths = names.evaluate_all("found => found.map(one => one.clientWidth)")
    assert widths
    assert min(widths) >= 80


def test_paper_has_the_scores_beside_the_gains(browser: Browser, board: Board) -> None:
    with opened(browser, board.site, viewport=PAPER) as page:
        page.emulate_media(media="print")
        scores = page.locator(".matrix .c .s")
        assert scores.count()
        assert all(score.is_visible() for score in scores.all())


def test_paper_shows_the_tables_and_no_controls(browser: Browser, board: Board) -> None:
    cut = """() => [...document.querySelectorAll(".scroll")]
      .filter(one => getComputedStyle(one).overflowX !== "visible").length"""
    controls = "nav:visible, button:not(thead button):visible, select:visible, input:visible"
    ground = "() => getComputedStyle(document.body).backgroundColor"
    with opened(browser, board.site, color_scheme="dark") as page:
        page.emulate_media(media="print")
        for name in kinds(board.site, board.runs):
            page.goto(address(board.site, name))
            assert page.locator(controls).count() == 0, name
            assert page.evaluate(cut) == 0, name
            assert page.evaluate(ground) == "rgb(255, 255, 255)"
            assert page.locator("h1").is_visible()


def test_without_script_no_control_is_left_that_would_do_nothing(browser: Browser, board: Board) -> None:
    with opened(browser, board.site, java_script_enabled=False) as page:
        for name in kinds(board.site, board.runs):
            page.goto(address(board.site, name))
            dead = page.locator("button:visible, select:visible, input:visible, [role=button]:visible")
            assert dead.evaluate_all("found => found.map(one => one.outerHTML)") == [], name
            assert page.locator("main").inner_text().strip()


def test_every_link_leads_to_a_file_of_the_site(browser: Browser, board: Board) -> None:
    names = set(pages(board.site)) | {
        path.relative_to(board.site).as_posix() for path in board.site.rglob("*")
    }
    links = "() => [...document.querySelectorAll('a[href]')].map(one => one.href)"
    with opened(browser, board.site) as page:
        for name in kinds(board.site, board.runs):
            page.goto(address(board.site, name))
            for link in page.evaluate(links):
                file = link.partition("#")[0].removeprefix(board.site.as_uri() + "/")
                assert file in names, f"{name} links to {link}"


POLICY = {
    "default-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "img-src": "data:",
}
INTRUDERS = """() => {
  const script = document.createElement("script"); script.textContent = "window.ran = 1";
  const button = document.createElement("div"); button.innerHTML = '<i id="i" onclick="window.ran = 2">x</i>';
  const image = document.createElement("img"); image.src = "https://example.org/x.png";
  const frame = document.createElement("iframe"); frame.src = "https://example.org/";
  const style = document.createElement("style"); style.textContent = "body { color: rgb(1, 2, 3) }";
  document.body.append(script, button, image, frame, style);
  document.getElementById("i").click();
  const far = document.createElement("script"); far.src = "https://example.org/x.js";
  document.body.append(far);
}"""


def test_every_page_has_the_policy_and_the_browser_holds_it(browser: Browser, board: Board) -> None:
    for name in pages(board.site):
        head = (board.site / name).read_text(encoding="utf-8").partition("<body")[0]
        assert head.count("Content-Security-Policy") == 1
        policy = head.partition('Content-Security-Policy" content="')[2].partition('"')[0]
        parts = (part.split(None, 1) for part in policy.replace("&#39;", "'").split(";"))
        assert {key: value.strip() for key, value in parts} == POLICY
        assert head.index("Content-Security-Policy") < head.index("<script") < head.rindex("</head>")
    context = browser.new_context()
    stopped: list[str | None] = []
    got: list[str] = []
    context.on("requestfailed", lambda request: stopped.append(request.failure))
    page = context.new_page()
    page.goto(address(board.site, "index.html"))
    context.on("requestfinished", lambda request: got.append(request.url))
    with page.expect_event("requestfailed"):
        page.evaluate(INTRUDERS)
    assert page.evaluate("() => window.ran") is None
    assert page.evaluate("() => getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
    context.close()
    assert got == []
    assert set(stopped) == {"csp"}


def test_the_list_of_files_is_complete(board: Board) -> None:
    listed = json.loads((board.site / "files.json").read_text())["files"]
    there = {path.relative_to(board.site).as_posix() for path in board.site.rglob("*") if path.is_file()}
    assert {*listed, "files.json"} == there


def test_rows_are_counted_as_they_are_shown(browser: Browser, bench: Bench, tmp_path: Path) -> None:
    bench.evaluate([0.1, 0.2, 0.3])
    bench.evaluate([0.2, 0.2, 0.4], trainer="ce", source="fam/write")
    build([bench.path], tmp_path / "site")
    with opened(browser, tmp_path / "site") as page:
        status = page.locator("form[data-filter=transfer-1] [role=status]")
        assert status.inner_text() == "2 rows"
        page.locator("#transfer input[name=q]").fill("nothing such")
        assert status.inner_text() == "0 rows"
