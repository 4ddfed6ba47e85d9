"""From a cell to a sample to two cells side by side, in a browser: order, search, permalinks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import pytest

from perbench.matrix.reading import SampleReader
from perbench.site import build
from perbench.site.cells import SampleTexts
from perbench.store import CellRecord
from tests.site.browsing import address, opened
from tests.site.test_cells import EVIL, answers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.site.conftest import Bench

ANSWERS = """() => [...document.querySelectorAll("#samples article")].filter(one => !one.hidden)
  .map(one => one.querySelector(".txt").textContent)"""
PAIRS = """() => [...document.querySelectorAll("#compare-answers article")]
  .map(one => [...one.querySelectorAll(".ref")].map(text => text.textContent))"""


@pytest.fixture
def cells(bench: Bench) -> dict[str, CellRecord]:
    """ce, perce and the base model on one target, ce and perce on another; one text is malicious."""
    bench.describe(baseline="ce")
    found = {}
    for target in ("fam/write", "fam/talk"):
        for trainer, values in {"ce": [0.5, 0.2, 0.4, 0.3], "perce": [0.1, 0.6, 0.4, None]}.items():
            texts = answers(values)
            for one in texts:
                one["response"] = f"{trainer} {one['response']}"
            if trainer == "perce":
                texts[0]["response"] = EVIL
            model: dict[str, Any] = {"trainer": trainer, "source": "fam/read", "target": target}
            found[f"{trainer} {target}"] = bench.evaluate(values, samples=texts, **model)
    base = [0.1, 0.1, 0.1, 0.1]
    found["base"] = bench.evaluate(base, samples=answers(base))
    return found


@pytest.fixture
def site(bench: Bench, cells: dict[str, CellRecord], tmp_path: Path) -> Path:
    build([bench.path], tmp_path / "site", texts=SampleTexts(SampleReader({})))
    return tmp_path / "site"


def name(record: CellRecord) -> str:
    return record.identity[:16]


def state(page: Page) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlparse(page.url).fragment).items()}


def test_samples_are_ordered_and_searched_and_the_address_says_so(
    browser: Browser, site: Path, cells: dict[str, CellRecord]
) -> None:
    cell = f"cells/{name(cells['perce fam/write'])}.html"
    with opened(browser, site, cell) as page:
        worst = page.evaluate(ANSWERS)
        assert [one[:14] for one in worst[1:]] == ["perce Answer 2", "perce Answer 1", "perce Answer 3"]
        page.locator("select[name=order]").select_option("score down")
        assert page.evaluate(ANSWERS) == [worst[2], worst[1], worst[0], worst[3]]
        page.locator("select[name=order]").select_option("diff up")
        assert page.evaluate(ANSWERS) == [worst[0], worst[1], worst[2], worst[3]]
        page.locator("input[name=q]").fill("gold 2.")
        assert page.evaluate(ANSWERS) == [worst[1]]
        assert page.locator("form [role=status]").inner_text() == "1 sample"
        assert state(page) == {"samples.order": "diff up", "samples.q": "gold 2."}
        page.reload()
        assert page.evaluate(ANSWERS) == [worst[1]]
        page.locator("input[name=q]").fill("unheard-of")
        page.locator("#samples-empty button").click()
        assert len(page.evaluate(ANSWERS)) == 4


def test_from_a_sample_to_two_cells_and_back(
    browser: Browser, site: Path, cells: dict[str, CellRecord]
) -> None:
    perce, ce = cells["perce fam/write"], cells["ce fam/write"]
    with opened(browser, site, f"cells/{name(perce)}.html") as page:
        article = page.locator("#samples article").nth(2)
        key = str(article.get_attribute("id"))
        article.get_by_text("compare").click()
        page.wait_for_selector("#compare-answers article")
        assert state(page) == {"a": name(perce), "b": name(ce), "s": key[2:]}
        assert page.locator("h1").inner_text() == "perce and ce, on the same 4 examples"
        points = page.locator("#compare-points").inner_text()
        assert "Mean difference 0.000 " in points  # -0.4, +0.4, 0
        assert "perce scores higher on 1, equal on 1, lower on 1" in points
        assert page.evaluate(PAIRS)[1] == ["perce Answer 1.", "ce Answer 1."]
        assert page.locator(f"#{key} .exh").inner_text().split("\n")[1] == "difference +0.400"
        assert page.evaluate(f"document.getElementById('{key}').getBoundingClientRect().top < innerHeight")
        page.locator(f"#{key} h4 a").first.click()
        page.wait_for_url(f"**/cells/{name(perce)}.html#{key}")
        assert page.locator(f"#{key} .txt").first.inner_text() == "perce Answer 1."


def test_the_choice_of_cells_is_in_the_address(
    browser: Browser, site: Path, cells: dict[str, CellRecord]
) -> None:
    ce, base, talk = cells["ce fam/write"], cells["base"], cells["perce fam/talk"]
    with opened(browser, site, f"compare.html#a={name(ce)}") as page:
        page.wait_for_selector("#compare-answers article")
        page.locator("select[name=b]").select_option(name(base))
        page.wait_for_function("document.querySelector('h1').textContent.startsWith('ce and base model')")
        assert state(page) == {"a": name(ce), "b": name(base)}
        page.reload()
        page.wait_for_selector("#compare-answers article")
        assert page.locator("select[name=b]").input_value() == name(base)
        page.locator("select[name=t]").select_option(label="fam/talk")
        page.wait_for_function("document.querySelector('select[name=a]').value !== '" + name(ce) + "'")
        assert page.locator("select[name=a]").input_value() == name(talk)
        page.goto(address(site, f"compare.html#a={name(ce)}&b={name(talk)}"))
        page.wait_for_selector("#compare-fault:not([hidden])")
        assert "different targets" in page.locator("#compare-fault").inner_text()


@pytest.mark.parametrize("hash_", ["", "#a=nothing&b=%E0%A4%A&s=x", "#a=__proto__&b=constructor&s=%3Cimg%3E"])
def test_an_address_made_up_by_others_shows_two_cells(browser: Browser, site: Path, hash_: str) -> None:
    with opened(browser, site, f"compare.html{hash_}") as page:
        page.wait_for_selector("#compare-answers article")
        assert " and " in page.locator("h1").inner_text()


def test_texts_are_set_as_text(browser: Browser, site: Path, cells: dict[str, CellRecord]) -> None:
    with opened(browser, site, f"compare.html#a={name(cells['perce fam/write'])}") as page:
        page.wait_for_selector("#compare-answers article")
        assert "<script>alert('x')</script>" in page.locator("#compare-answers").inner_text()
        assert page.locator("#compare-answers img, #compare-answers script").count() == 0


def test_without_script_all_samples_are_there_and_compare_says_what_to_do(
    browser: Browser, site: Path, cells: dict[str, CellRecord]
) -> None:
    with opened(browser, site, "compare.html", java_script_enabled=False) as page:
        assert "Records" in page.locator("noscript, .note").first.inner_text()
        page.goto(address(site, f"cells/{name(cells['perce fam/write'])}.html"))
        assert page.locator("#samples article:visible").count() == 4
        assert page.locator("form.tools:visible").count() == 0
