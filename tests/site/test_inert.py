"""Whatever records and samples say, pages show it and nothing of it runs, loads, links or computes."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from perbench.console.printing import printable
from perbench.site.tabular import FORMULA
from tests.site.browsing import address, kinds, opened, pages
from tests.site.conftest import build_all
from tests.site.hostile import write_run
from tests.site.payloads import PAYLOADS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCRIPTED = {"bdi", "tr hidden", "th aria-sort", "tbody", "b dir", "span dir", "a dir", "h4 dir"}
"""Beside what pages of words consist of: what keeps right-to-left text to itself, and what a script adds."""
GROUPS = 4
"""Sites, so that no table has a row and a column for each payload."""
PARTS = """() => [...new Set([...document.querySelectorAll("*")].flatMap(one =>
  [one.localName, ...[...one.attributes].map(its => `${one.localName} ${its.name}`.toLowerCase())]))]"""
LINKS = """() => [...new Set([...document.querySelectorAll("*")].flatMap(one =>
  ["href", "src", "action", "formaction", "xlink:href", "data", "poster", "srcset", "background"]
  .filter(name => one.hasAttribute(name)).map(name => one.getAttribute(name))))]"""
FOUND = f"() => [window.xss === undefined, ({PARTS})(), ({LINKS})()]"
TYPED = """(one, text) => {
  one.value = text;
  one.dispatchEvent(new Event("input", {bubbles: true}));
}"""
SAFE = re.compile(r"(data:,|(\.\./)?[\w.-]+(/[\w.-]+)*\.(html|css|js|csv|json)(#.*)?|#.*)?")


@dataclass(frozen=True)
class Attack:
    site: Path
    texts: list[str]


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> list[Attack]:
    """Sites whose records hold the payloads."""
    folder = tmp_path_factory.mktemp("attacks")
    found = []
    for group in range(GROUPS):
        texts = PAYLOADS[group::GROUPS]
        build_all([write_run(folder / f"run{group}", texts)], folder / f"site{group}")
        found.append(Attack(folder / f"site{group}", texts))
    return found


class Parts(HTMLParser):
    """Elements, and attributes with their element, of a page whose texts hold no markup."""

    def __init__(self) -> None:
        super().__init__()
        self.found = set(SCRIPTED)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(f"{tag} {name}" for name, _ in attrs)}


@pytest.fixture(scope="module")
def known(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """All that the pages consist of where records hold words, with what the script adds."""
    folder = tmp_path_factory.mktemp("plain")
    site = folder / "site"
    run = write_run(folder / "run", [f"word{place}" for place in range(len(PAYLOADS) // GROUPS + 1)])
    build_all([run], site)
    parser = Parts()
    for name in pages(site):
        parser.feed((site / name).read_text(encoding="utf-8"))
    with opened(browser, site) as page:
        for name in kinds(site, [run]):
            page.goto(address(site, name))
            parser.found |= set(page.evaluate(PARTS))
    return parser.found


def check(page: Page, name: str, known: set[str]) -> None:
    """Nothing ran, and the page consists of what pages of words consist of."""
    quiet, parts, links = page.evaluate(FOUND)
    assert quiet, name
    assert set(parts) - known == set(), name
    assert [link for link in links if not SAFE.fullmatch(link)] == [], name


def test_there_are_enough_payloads() -> None:
    assert len({printable(payload) for payload in PAYLOADS}) == len(PAYLOADS) >= 60


def test_no_page_runs_loads_or_links_what_records_say(
    browser: Browser, attacks: list[Attack], known: set[str]
) -> None:
    for attack in attacks:
        with opened(browser, attack.site) as page:
            for name in pages(attack.site):
                page.goto(address(attack.site, name))
                check(page, name, known)


def test_every_payload_is_shown_as_text(browser: Browser, attacks: list[Attack]) -> None:
    for attack in attacks:
        with opened(browser, attack.site) as page:
            shown = squeezed(page.locator("main").text_content() or "")
            assert [text for text in attack.texts if squeezed(printable(text)) not in shown] == []


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_a_reader_who_uses_everything_runs_nothing(
    browser: Browser, attacks: list[Attack], known: set[str]
) -> None:
    """Search words, filters, sorting and cards handle the same texts."""
    for attack in attacks:
        with opened(browser, attack.site) as page:
            search = page.locator('form[data-filter="transfer-1"] input[name=q]')
            for text in attack.texts:
                search.evaluate(TYPED, text)
            search.fill("")
            source = page.locator('form[data-filter="transfer-1"] select[name=source]')
            for place in range(1, 4):
                source.select_option(index=place)
            source.select_option("")
            page.locator("#transfer-1 thead tr:last-child th:nth-child(2) button").click()
            page.locator("#transfer-1 td .c").first.hover()
            check(page, "index.html", known)


def test_an_address_runs_nothing(browser: Browser, attacks: list[Attack], known: set[str]) -> None:
    """Someone else's link may hold anything."""
    site = attacks[0].site
    keys = [
        f"{table}.{key}" for table in ("transfer-1", "records") for key in ("q", "sort", "source", "seed")
    ]
    for name in [name for name in pages(site) if "/" not in name]:
        with opened(browser, site, name) as page:
            for place, text in enumerate(PAYLOADS):
                state = quote(text, safe="") if place % 2 else text
                parts = "&".join(f"{key}={state}" for key in [*keys, "a", "b"])
                page.evaluate("state => { location.hash = state; }", parts)
            check(page, name, known)


def fields(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            yield from row


def number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?", text) is not None


def test_no_spreadsheet_computes_a_text(attacks: list[Attack]) -> None:
    seen = set()
    for attack in attacks:
        for path in (attack.site / "data").glob("*.csv"):
            for text in fields(path):
                assert not text.startswith(FORMULA) or number(text), f"{path.name}: {text!r}"
                seen.add(text)
    assert {f"'{payload}" for payload in PAYLOADS if payload.startswith(FORMULA)} <= seen
    assert {payload for payload in PAYLOADS if payload.startswith("<script")} <= seen


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def test_json_holds_the_texts_as_they_are(attacks: list[Attack]) -> None:
    for attack in attacks:
        held: set[str] = set()
        for path in (attack.site / "data").rglob("*.json"):
            held |= set(strings(json.loads(path.read_text(encoding="utf-8"))))
        assert set(attack.texts) <= held


def test_no_text_names_a_file(attacks: list[Attack]) -> None:
    for attack in attacks:
        for path in attack.site.rglob("*"):
            assert re.fullmatch(r"[\w.-]+", path.name), path
            assert path.resolve().is_relative_to(attack.site.resolve())
        listed = json.loads((attack.site / "files.json").read_text())["files"]
        assert all((attack.site / name).is_file() for name in listed)
