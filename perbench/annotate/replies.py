"""Parses replies with a question, an answer and its keywords (PerCE paper, App. D.2) strictly: nothing is
inferred."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perbench.data.spans import ANSWER_WORDS
from perbench.judges.keywords import parse_keywords
from perbench.text.words import Span, occurrences, whole_words

PROMPT = """Now I have a paragraph of a person's persona:

{persona}

I want you to write a short question to this person and a corresponding short answer. Note that the answer should be concise, able to be inferred from his/her persona (but not the question), and may have words that are different from those in the persona. Highlight the keywords in the answer that reflect his/her persona. The keywords should also be short, not the whole sentence."""  # noqa: E501
"""App. D.2, "Prompt for the synthetic data construction", verbatim."""

LABEL = re.compile(
    r"^[ \t]*(?:[#>*_-]+[ \t]*)*(?:short[ \t]+)?(?P<name>question|answer|key[ \t]?words?|q|a)"
    r"(?:[ \t]+(?:in|of)[ \t]+the[ \t]+answer)?[ \t]*\d?[ \t]*[*_]*[ \t]*:[*_]*",
    re.IGNORECASE | re.MULTILINE,
)
"""Question: **Question:** ## Question: Q: and the like, at the start of a line."""
HIGHLIGHT = re.compile(
    r"(\*\*|__|\*|_|`|==)(?=\S)(?P<text>[^\n*_`=]*?\S)\1|<(b|u|mark|strong|em)>(?P<tag>[^\n<]+)</\3>"
)
STRAY = re.compile(r"\*\*|__|==|`|</?(?:b|u|mark|strong|em)>")
QUOTES = {'"': '"', "“": "”", "'": "'"}


@dataclass(frozen=True)
class ParsedReply:
    """A usable reply; `spans` are [start, end) characters of `answer`, sorted, without nesting."""

    question: str
    answer: str
    keywords: tuple[str, ...]
    spans: tuple[Span, ...]


class Unusable(Exception):
    """A reply that gives no row: `reason` is one of a few, for counting; the text holds details."""

    def __init__(self, reason: str, found: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {found}" if found else reason)


def parse_reply(text: str) -> ParsedReply:
    """The question, answer and keywords of a reply: labelled parts, in this order; the keywords are
    highlighted in the answer, or listed under their own label.

    Raises:
        Unusable: parts are missing or repeated; there are no keywords; a keyword is not in the answer, or is
            all of it; the answer is too short or too long.
    """
    text = text.rpartition("</think>")[2]
    labels = list(LABEL.finditer(text))
    names = [label["name"][0].lower() for label in labels]
    ends = [label.start() for label in labels[1:]] + [len(text)]
    if names not in (["q", "a"], ["q", "a", "k"]):
        found = ", ".join({"q": "question", "a": "answer", "k": "keywords"}[name] for name in names)
        raise Unusable("no single question with its answer", found or "no labelled part")
    parts = [text[label.end() : end].strip() for label, end in zip(labels, ends, strict=True)]
    question = _plain(_paragraph(parts[0]))[0]
    answer, highlighted = _plain(_paragraph(parts[1]))
    if not question or not answer:
        raise Unusable("no single question with its answer", "an empty part")
    if STRAY.search(answer):
        raise Unusable("a highlight begins or ends nowhere", answer)
    words = len(answer.split())
    if words not in ANSWER_WORDS:
        allowed = f"{ANSWER_WORDS.start} to {ANSWER_WORDS.stop - 1}"
        raise Unusable(f"the answer is not of {allowed} words", str(words))
    listed = parse_keywords(parts[2]) if len(parts) == 3 else None
    spans = [span for keyword in listed or () for span in _places(answer, keyword)] or highlighted
    if not spans:
        raise Unusable("no keywords")
    spans = _outermost(spans)
    if len({word for word in whole_words(answer) if _inside(word, spans)}) == len(whole_words(answer)):
        raise Unusable("the whole answer is a keyword")
    return ParsedReply(question, answer, tuple(answer[start:end] for start, end in spans), tuple(spans))


def _paragraph(part: str) -> str:
    """The text up to a blank line, which excludes remarks."""
    return re.split(r"\n\s*\n", part, maxsplit=1)[0].strip()


def _plain(part: str) -> tuple[str, list[Span]]:
    """A part without highlights, on one line, and the spans of the highlights."""
    part = " ".join(part.split())
    if len(part) > 1 and QUOTES.get(part[0]) == part[-1] and part.count(part[0]) <= 2:
        part = part[1:-1].strip()
    plain, spans, at = "", [], 0
    for match in HIGHLIGHT.finditer(part):
        before, after = part[: match.start()][-1:], part[match.end() :][:1]
        if match[1] == "_" and (before.isalnum() or after.isalnum()):
            continue  # snake_case names are not highlights
        plain += part[at : match.start()]
        shown = match["text"] or match["tag"]
        lead = len(shown) - len(shown.lstrip())
        spans.append((len(plain) + lead, len(plain) + len(shown.rstrip())))
        plain, at = plain + shown, match.end()
    plain += part[at:]
    left = len(plain) - len(plain.lstrip())
    return plain.strip(), [(start - left, end - left) for start, end in spans if start < end]


def _places(answer: str, keyword: str) -> list[Span]:
    found = occurrences(answer, keyword)
    if not found:
        raise Unusable("a keyword is not in the answer", repr(keyword))
    return found


def _outermost(spans: list[Span]) -> list[Span]:
    """Sorted, with nested spans removed and overlapping ones joined."""
    joined: list[Span] = []
    for start, end in sorted(set(spans)):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _inside(word: Span, spans: list[Span]) -> bool:
    return any(start <= word[0] and word[1] <= end for start, end in spans)
