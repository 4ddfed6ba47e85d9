"""The pages of a built site as strict trees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

from perbench.site import build, split

if TYPE_CHECKING:
    import pytest

    from tests.site.conftest import Bench

VOID = {"meta", "link", "input", "br", "wbr", "img", "hr"}


def split_all(patch: pytest.MonkeyPatch) -> None:
    """Build sites as those of thousands of cells, with every table divided that can be."""
    for name in ("CELLS", "LONG", "MOST_PANELS"):
        patch.setattr(split, name, 0)


@dataclass(eq=False)
class Element:
    tag: str
    attributes: dict[str, str | None]
    parent: Element | None = field(default=None, repr=False)
    children: list[Element | str] = field(default_factory=list)

    @property
    def elements(self) -> list[Element]:
        return [child for child in self.children if isinstance(child, Element)]

    @property
    def classes(self) -> list[str]:
        return (self.attributes.get("class") or "").split()

    @property
    def text(self) -> str:
        return self.text_without("")

    def text_without(self, name: str) -> str:
        """The text, without that of elements of a class."""
        parts = [
            one if isinstance(one, str) else "" if name in one.classes else one.text_without(name)
            for one in self.children
        ]
        return " ".join(" ".join(parts).split())

    def everything(self) -> list[Element]:
        return [hit for child in self.elements for hit in [child, *child.everything()]]

    def all(self, tag: str = "", cls: str = "") -> list[Element]:
        return [
            one
            for one in self.everything()
            if (not tag or one.tag == tag) and (not cls or cls in one.classes)
        ]

    def by_id(self, name: str) -> Element:
        (found,) = [one for one in self.everything() if one.attributes.get("id") == name]
        return found

    def around(self) -> Iterator[Element]:
        """What it lies in, from the inside out."""
        inner = self.parent
        while inner is not None:
            yield inner
            inner = inner.parent

    def within(self, cls: str) -> Element:
        """The nearest element of a class that it lies in."""
        return next(one for one in self.around() if cls in one.classes)


class Tree(HTMLParser):
    """A strict tree: a closing tag that does not close the open element is an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.root = Element("#document", {})
        self.stack = [self.root]
        self.feed(source)
        self.close()
        assert self.stack == [self.root], f"left open: {[e.tag for e in self.stack[1:]]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = self._add(tag, attrs)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)

    def _add(self, tag: str, attrs: list[tuple[str, str | None]]) -> Element:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        element = Element(tag, dict(attrs), self.stack[-1])
        self.stack[-1].children.append(element)
        return element

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


class Site:
    """The pages of a folder by name, such as "index" or "cells/0123456789abcdef"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = {
            path.relative_to(folder).as_posix().removesuffix(".html"): path.read_text("utf-8")
            for path in sorted(folder.rglob("*.html"))
        }
        self.pages = {name: Tree(source).root for name, source in self.sources.items()}

    def cell(self, identity: str) -> Element:
        return self.pages[f"cells/{identity[:16]}"]

    def by_id(self, name: str) -> Element:
        """The element of an id, which only one page has."""
        found = [one for page in self.pages.values() for one in page.everything()]
        (element,) = [one for one in found if one.attributes.get("id") == name]
        return element

    def page_of(self, element: Element) -> str:
        *_, root = element.around()
        return next(name for name, page in self.pages.items() if page is root)

    @property
    def files(self) -> dict[str, bytes]:
        """All of the folder, pages or not."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


def site_of(*benches: Bench, out: Path) -> Site:
    first = build([bench.path for bench in benches], out)
    assert first == out / "index.html"
    return Site(out)


def rows_of(table: Element) -> list[Element]:
    """The rows that hold values."""
    (body,) = table.all("tbody")
    return [row for row in body.elements if row.attributes.get("data-row") != "head"]


def cells_of(table: Element) -> list[list[str]]:
    """What its rows show unasked, without the cards."""
    return [[cell.text_without("tip") for cell in row.elements] for row in rows_of(table)]


def cards_of(table: Element) -> list[list[str]]:
    """The details of each value, which are shown when asked for."""
    return [
        [" ".join(tip.text for tip in cell.all("span", "tip")) for cell in row.all("td")]
        for row in rows_of(table)
    ]


def check_isolated(root: Element, word: str) -> int:
    """How many texts hold `word`, each of which must lie in a <bdi> or in an element with its own direction;
    attributes, the title and options must hold no markup."""

    def count(element: Element, isolated: bool) -> int:
        assert not [v for v in element.attributes.values() if v and "<bdi>" in v], element
        isolated = isolated or element.tag == "bdi" or "dir" in element.attributes
        found = 0
        for child in element.children:
            if isinstance(child, Element):
                found += count(child, isolated)
            elif element.tag in ("title", "option"):
                assert "<bdi>" not in child
            elif word in child:
                assert isolated, (element, child)
                found += 1
        return found

    return count(root, False)
