r"""Reads which option a reply names. A reply that names none counts as wrong, and is also counted apart.

letter          the whole reply is a letter, as in "B", "B." or "(b)"
choice_tag      PrefEval (utils/utils_mcq.py): the first of the letters inside the first <choice> tag, which
                may be left open; none if it holds other tags; "Cannot" there is C
final_answer    PersonaMem (inference_standalone_openai.py): after the last <final_answer>, the letters in
                parentheses, or if there are none the words a to d (the article, too); one letter is a pick.
                The whole reply is read alike, and the example is right if either pick is
boxed           PersonaMem-v2 (implicit_persona.py): the content of the last \boxed{}, without white space
                and case, is the letter
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from string import ascii_lowercase
from typing import Any

from .section import Read

Letters = str
"""The letters of the options, in lower case."""


def picks(read: Read, reply: str, count: int) -> frozenset[int]:
    """The places, among `count` shown options, that a reply may be said to name; empty if it names none."""
    letters = ascii_lowercase[:count]
    return frozenset(letters.index(letter) for letter in READERS[read](reply, letters))


def _letter(reply: str, letters: Letters) -> set[str]:
    found = re.fullmatch(rf"\(?([{letters}])\)?[.:)]?", reply.strip(), re.IGNORECASE)
    return {found[1].lower()} if found else set()


def _choice_tag(reply: str, letters: Letters) -> set[str]:
    parser = _Tree()
    parser.feed(reply)
    parser.close()
    text = _string(parser.first) if parser.first is not None else None
    found = re.search(f"[{letters.upper()}]", text or "")
    return {found[0].lower()} if found else set()


class _Tree(HTMLParser):
    """The first <choice> with what it holds, as BeautifulSoup builds it: tags that are not closed end with
    what they are in."""

    VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"))

    def __init__(self) -> None:
        super().__init__()
        self.first: list[Any] | None = None
        self._open: list[tuple[str, list[Any]]] = [("", [])]

    def handle_starttag(self, tag: str, attrs: object) -> None:
        node: list[Any] = []
        self._open[-1][1].append(node)
        if tag == "choice" and self.first is None:
            self.first = node
        if tag not in self.VOID:
            self._open.append((tag, node))

    def handle_endtag(self, tag: str) -> None:
        for place in range(len(self._open) - 1, 0, -1):
            if self._open[place][0] == tag:
                del self._open[place:]
                return

    def handle_data(self, data: str) -> None:
        held = self._open[-1][1]
        if held and isinstance(held[-1], str):
            held[-1] += data
        else:
            held.append(data)


def _string(node: list[Any]) -> str | None:
    """The text of a tag that holds nothing else, or only one tag with such a text."""
    while len(node) == 1:
        if isinstance(node[0], str):
            return node[0]
        node = node[0]
    return None


def _final_answer(reply: str, letters: Letters) -> set[str]:
    last = reply.strip().split("<final_answer>")[-1].strip().removesuffix("</final_answer>").strip()
    named = (_named(text, letters) for text in (last, reply))
    return set().union(*(letters_ for letters_ in named if len(letters_) == 1))


def _named(text: str, letters: Letters) -> set[str]:
    text = text.lower()
    return set(re.findall(rf"\(([{letters}])\)", text)) or set(re.findall(rf"\b([{letters}])\b", text))


def _boxed(reply: str, letters: Letters) -> set[str]:
    found = _last_boxed(reply)
    inside = "" if found is None else found.replace(" ", "").replace("\n", "").lower()
    return {inside} if len(inside) == 1 and inside in letters else set()


def _last_boxed(reply: str) -> str | None:
    r"""What the last \boxed{...} holds; "\boxed X" and \fbox{...} are read as MATH's code reads them."""
    if "\\boxed " in reply:
        return reply.split("\\boxed ")[-1].split("$")[0]
    start = reply.rfind("\\boxed")
    if start < 0:
        start = reply.rfind("\\fbox")
    if start < 0:
        return None
    depth = 0
    for place in range(start, len(reply)):
        depth += {"{": 1, "}": -1}.get(reply[place], 0)
        if reply[place] == "}" and depth == 0:
            whole = reply[start : place + 1]
            return whole.removeprefix("\\boxed{")[:-1] if whole.startswith("\\boxed{") else None
    return None


READERS: Mapping[Read, Callable[[str, Letters], set[str]]] = {
    "letter": _letter,
    "choice_tag": _choice_tag,
    "final_answer": _final_answer,
    "boxed": _boxed,
}
