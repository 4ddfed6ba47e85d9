"""What holds of every page of a site: valid, readable by machines, escaped, nothing asked of elsewhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest

from perbench.site.render import CSP
from tests.site.conftest import Bench
from tests.site.filled import everywhere, fill, vary
from tests.site.pages import Element, Site, check_isolated, site_of, split_all

EVIL = "<script>alert('x')</script>&\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"
HOSTILE = "\u202e\u2066\u200f\x1b[2J\x9b\u2028\x7f"
HEBREW = "\u05d0\u05d1"
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
FILLED: dict[str, Callable[[Bench], object]] = {
    "full": fill,
    "varied": vary,
    "evil": lambda bench: everywhere(bench, EVIL),
    "hostile": lambda bench: everywhere(bench, HOSTILE + HEBREW),
    "one": lambda bench: bench.identify("percontrast", 0.5),
}
SPLIT = ("split full", "split varied", "split evil", "split hostile")
HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
BLOCKS = HEADINGS | {*("p", "div", "section", "ul", "ol", "dl", "table", "form", "details", "figure", "pre")}
PHRASING = HEADINGS | {*("p", "span", "b", "i", "em", "strong", "code", "pre", "small", "bdi", "label")}
PHRASING |= {"button", "summary", "a", "title", "option"}
"""Elements that hold no blocks."""
CHILDREN = {
    "ul": {"li"},
    "ol": {"li"},
    "dl": {"dt", "dd", "div"},
    "table": {"caption", "colgroup", "thead", "tbody", "tfoot"},
    "thead": {"tr"},
    "tbody": {"tr"},
    "tr": {"th", "td"},
    "select": {"option"},
}
INTERACTIVE = {"a", "button", "select", "input", "summary"}


@pytest.fixture(scope="module", params=[*FILLED, *SPLIT, "board"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    if request.param == "board":
        return Site(request.getfixturevalue("board").site)
    folder = tmp_path_factory.mktemp("site")
    bench = Bench(folder / "run")
    FILLED[request.param.removeprefix("split ")](bench)
    with pytest.MonkeyPatch.context() as patch:
        if request.param in SPLIT:
            split_all(patch)
        return site_of(bench, out=folder / "site")


def test_elements_hold_what_they_may(site: Site) -> None:
    for name, page in site.pages.items():
        for one in page.everything():
            below = {child.tag for child in one.elements}
            where = (name, one.tag, one.attributes)
            if one.tag in PHRASING:
                assert not below & BLOCKS - (HEADINGS if one.tag == "summary" else set()), where
            if one.tag in CHILDREN:
                assert below <= CHILDREN[one.tag], (where, below)
                assert below or one.tag == "tbody", where
                assert not "".join(c for c in one.children if isinstance(c, str)).strip(), where
            if one.tag in INTERACTIVE:
                assert not [outer.tag for outer in one.around() if outer.tag in INTERACTIVE], where


def test_ids_are_unique_and_references_lead_somewhere(site: Site) -> None:
    for name, page in site.pages.items():
        elements = page.everything()
        ids = [one.attributes["id"] for one in elements if "id" in one.attributes]
        assert len(ids) == len(set(ids)), name
        for one in elements:
            for key in (
                "aria-labelledby",
                "aria-describedby",
                "aria-controls",
                "for",
                "data-filter",
                "data-clear",
            ):
                for target in (one.attributes.get(key) or "").split():
                    assert target in ids, (name, key, target)


def test_links_are_relative_and_lead_to_what_is_there(site: Site) -> None:
    ids = {name: {one.attributes.get("id") for one in page.everything()} for name, page in site.pages.items()}
    files = set(site.files)
    reached = set()
    for name, page in site.pages.items():
        for link in page.all("a"):
            href = link.attributes["href"] or ""
            path, _, fragment = href.partition("#")
            assert not re.match(r"[a-z]+:|/", path), (name, href)
            target = resolved(name, path)
            assert target in files, (name, href)
            if target.endswith(".html"):
                reached.add(target)
            if "=" in fragment:  # a state: "transfer-1.source=fam%2Fwrite&…"
                keys = [part.partition("=")[0] for part in fragment.split("&")]
                assert {key.rpartition(".")[0] for key in keys if "." in key} <= ids[target[:-5]], (
                    name,
                    href,
                )
            elif fragment:
                assert unquote(fragment) in ids[target[:-5]], (name, href)
    assert reached == {file for file in files if file.endswith(".html")}, "a page that no link leads to"


def resolved(page: str, path: str) -> str:
    """The file that a relative link of a page names."""
    parts: list[str] = []
    for part in (
        (PurePosixPath(page).parent / unquote(path)).parts if path else [*PurePosixPath(f"{page}.html").parts]
    ):
        assert part != ".." or parts, f"{path} leaves the site"
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def test_tables_can_be_read_by_machines(site: Site) -> None:
    for name, page in site.pages.items():
        for table in page.all("table"):
            rows = table.all("tr")
            widths = {sum(int(cell.attributes.get("colspan") or 1) for cell in row.elements) for row in rows}
            assert len(widths) == 1, (name, widths)
            for head in table.all("thead")[0].all("th"):
                assert head.attributes["scope"] in ("col", "colgroup")
                assert head.text, name
            for row in [row for body in table.all("tbody") for row in body.elements]:
                group = len(row.elements) == 1 and bool(table.all("thead")[0].all("th")[1:])
                scopes = [head.attributes["scope"] for head in row.all("th")]
                assert scopes == (["rowgroup"] if group else ["row"]), name
                assert group or row.attributes.get("data-row") != "head", name
            assert [one for one in table.around() if one.attributes.get("role") in ("region", "group")], name


def test_what_takes_the_focus_has_a_name(site: Site) -> None:
    for name, page in site.pages.items():
        elements = page.everything()
        for one in elements:
            where = (name, one.tag, one.attributes)
            role = one.attributes.get("role")
            if role in ("region", "group"):
                assert one.attributes.get("tabindex") == "0", where
                assert named(one, page), where
            if one.tag in ("a", "button", "summary"):
                assert one.text or one.attributes.get("aria-label"), where
            if one.tag in ("input", "select", "textarea"):
                labels = [outer.text for outer in one.around() if outer.tag == "label"]
                assert any(labels) or named(one, page), where
            if one.tag == "form":
                shown = [
                    "".join(c for c in label.children if isinstance(c, str)) for label in one.all("label")
                ]
                assert len(set(shown)) == len(shown), where
            if one.tag == "svg":
                assert one.attributes.get("aria-hidden") == "true" or role == "img", where
                assert role != "img" or named(one, page), where
        names = [named(one, page) for one in elements if one.attributes.get("role") == "region"]
        heads = [
            one.text
            for one in page.all(cls="part")
            if "numbers" not in [c for o in one.around() for c in o.classes]
        ]
        assert len(set(names)) == len(names), (name, names)
        assert len(set(heads)) == len(heads), (name, heads)
        current = [link for link in page.all("nav")[0].all("a") if "aria-current" in link.attributes]
        assert len(current) == 1, name


def named(one: Element, page: Element) -> str:
    by = one.attributes.get("aria-labelledby")
    return (
        " ".join(page.by_id(part).text for part in by.split())
        if by
        else one.attributes.get("aria-label") or ""
    )


def test_pages_have_a_title_a_language_and_headings_in_order(site: Site) -> None:
    for name, page in site.pages.items():
        assert page.all("html")[0].attributes["lang"] == "en"
        (title,) = page.all("title")
        assert title.text.removesuffix("· perbench").strip(), name
        levels = [int(one.tag[1]) for one in page.everything() if one.tag in HEADINGS]
        assert levels.count(1) == 1, (name, levels)
        assert levels[0] == 1, (name, levels)
        assert all(low <= high + 1 for high, low in pairwise(levels)), (name, levels)
        assert not [one for one in page.everything() if one.tag in HEADINGS and not one.text], name
        (main,) = page.all("main")
        assert page.all("a")[0].attributes["href"] == f"#{main.attributes['id']}"


def test_nothing_is_requested_and_nothing_runs_but_our_own(site: Site) -> None:
    for name, page in site.pages.items():
        elements = page.everything()
        for one in elements:
            where = (name, one.tag, one.attributes)
            assert not {"srcset", "style", "action", "formaction", "ping"} & one.attributes.keys(), where
            assert not [key for key in one.attributes if key.startswith("on")], where
            assert one.tag not in {"style", "img", "iframe", "object", "embed", "base", "use", "image"}, where
            assert "src" not in one.attributes or one.tag == "script", where
            if one.tag == "script":
                assert one.attributes.keys() <= {"src", "defer"}, where  # modules do not load from file://
                assert resolved(name, one.attributes["src"] or "") in site.files, where
                assert not one.children, where
        links = {link.attributes["rel"]: link.attributes["href"] or "" for link in page.all("link")}
        assert links.pop("icon") == "data:,"
        assert {rel: resolved(name, href) for rel, href in links.items()} == {"stylesheet": "site.css"}
        head = page.all("head")[0].elements
        (policy,) = [one for one in head if "http-equiv" in one.attributes]
        assert policy.attributes["content"] == CSP
        loading = [place for place, one in enumerate(head) if one.tag in ("link", "script")]
        assert head.index(policy) < min(loading), "what is loaded before its policy is not bound by it"


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in CSP.split(";"))
    assert rules.pop("img-src") == "data:"
    assert {name: rules.pop(name) for name in ("style-src", "script-src")} == {
        **dict.fromkeys(("style-src", "script-src"), "'self'")
    }
    assert rules["default-src"] == "'none'"
    assert set(rules.values()) == {"'none'"}


def test_style_and_script_ask_for_nothing_and_write_no_markup(site: Site) -> None:
    css, script = (site.files[name].decode() for name in ("site.css", "site.js"))
    assert not re.search(r"url\(|@import|https?:", css)
    assert not re.search(r"fetch\(|import\(|https?:|XMLHttp|sendBeacon|WebSocket|EventSource", script)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", script)


def test_every_class_is_known_to_style_or_script(site: Site) -> None:
    css, script = (site.files[name].decode() for name in ("site.css", "site.js"))
    known = set(re.findall(r"\.(-?[A-Za-z_][\w-]*)", css)) | set(re.findall(r"[\w-]+", script))
    used = {
        (name, cls) for name, page in site.pages.items() for one in page.everything() for cls in one.classes
    }
    assert {(name, cls) for name, cls in used if cls not in known} == set()


@pytest.fixture
def pages(bench: Bench, tmp_path: Path) -> Callable[[str], Site]:
    def made(text: str) -> Site:
        everywhere(bench, text)
        return site_of(bench, out=tmp_path / "site")

    return made


def test_all_that_records_say_is_escaped(pages: Callable[[str], Site]) -> None:
    site = pages(EVIL)
    for page in site.pages.values():
        assert [script.attributes.keys() for script in page.all("script")] == [{"src"}]
        assert not page.all("img")
    text = " ".join(page.text for page in site.pages.values())
    assert text.count("alert('x')") > 60
    assert text.count("{{ 7 * 7 }}") > 60
    assert not [name for name in site.files if "<" in name]


def test_nothing_that_records_say_reorders_a_page(pages: Callable[[str], Site]) -> None:
    site = pages(HOSTILE + HEBREW)
    assert unicodedata.bidirectional(HEBREW[0]) == "R"
    for name, source in site.sources.items():
        assert not [c for c in source if unicodedata.category(c) in HIDDEN and c != "\n"], name
    shown = r"\u202e\u2066\u200f\u001b[2J\u009b\u2028\u007f"
    assert sum(source.count(shown) for source in site.sources.values()) > 60
    assert sum(check_isolated(page, HEBREW) for page in site.pages.values()) > 60
