"""Does text keep its direction to itself on a page?"""

from __future__ import annotations

from html.parser import HTMLParser


class Isolated(HTMLParser):
    """Every text with `word` must lie in a <bdi> or in an element with its own direction; attributes, the
    title and options must hold no markup."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word, self.found = word, 0
        self.open: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [value for _, value in attrs if value and "<bdi>" in value], tag
        if tag not in ("meta", "link", "wbr", "br", "line", "circle", "input"):
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle"):
            assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        if "title" in tags or "option" in tags:
            assert "<bdi>" not in data
        elif self.word in data:
            assert "bdi" in tags or any("dir" in attrs for _, attrs in self.open), (tags, data)
            self.found += 1


def check_isolated(source: str, word: str) -> int:
    """How many texts of a page hold `word`, each of which must keep its direction to itself."""
    parser = Isolated(word)
    parser.feed(source)
    assert not parser.open
    return parser.found
