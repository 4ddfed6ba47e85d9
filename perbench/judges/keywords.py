"""Parse a list of keywords from a model's free-form reply."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_WORDS = 8
"""A longer entry is a sentence about the keywords, not a keyword."""

FENCE = re.compile(r"^\s*```.*$", re.MULTILINE)
BULLET = re.compile(r"^(?:[-*•–—+]\s+|\(?\d{1,2}[.):]\s*|\(?[a-z]\)\s+)")
LABEL = re.compile(r"^\W*(?:the\s+)?(?:key\s?words?|answer)\b[^:\n]{0,60}:\W*", re.IGNORECASE)
MARKED = re.compile(r'"([^"\n]+)"|“([^”\n]+)”|`([^`\n]+)`|\*\*([^*\n]+)\*\*')
REMARK = re.compile(r"\s+[-–—(]\s*|:\s|\s*(?:->|=>|→)")
NOTHING = re.compile(r"\W*(?:none|n/?a|nothing|no (?:such )?key\s?words?)\W*", re.IGNORECASE)
COMMENT = re.compile(r"\W*(?:(?:explanation|reason(?:ing)?|note)s?\b|user \d\W*:)", re.IGNORECASE)
"""Matches the start of a line without keywords; small models often repeat the conversation."""
EDGES = " \t\r\"'“”‘’`*_[](){}.!?:;"


def parse_keywords(reply: str) -> list[str] | None:
    """The keywords in `reply`, in order and without duplicates; [] if it says that there are none.

    Reads JSON, bulleted, numbered, quoted and comma-separated lists, with or without a heading, a code fence
    or remarks after the entries. None if there is no list (an empty reply, or only sentences).
    """
    text = FENCE.sub("", reply.rpartition("</think>")[2]).strip()
    if "<think>" in text:  # truncated while thinking: there is no answer
        return None
    if NOTHING.fullmatch(LABEL.sub("", text)):
        return []
    entries = _json_strings(text)
    if entries is None:
        entries = [entry for line in text.splitlines() for entry in _entries(line.strip())]
        if not entries:
            return None
    found = (" ".join(entry.strip(EDGES).split()) for entry in entries)
    kept = [entry for entry in found if entry and len(entry.split()) <= MAX_WORDS]
    if entries and not kept:
        return None
    return list({entry.casefold(): entry for entry in reversed(kept)}.values())[::-1]


def _entries(line: str) -> list[str]:
    item = BULLET.sub("", line, count=1)
    bulleted, item = item != line, LABEL.sub("", item, count=1)
    marked = ["".join(groups) for groups in MARKED.findall(item)]
    marked = [text for text in marked if not text.rstrip().endswith(":")]
    if marked:
        return marked[:1] if bulleted and "," not in item else marked
    if item.endswith(":") or COMMENT.match(item):
        return []
    item = REMARK.split(item, maxsplit=1)[0]
    return [re.sub(r"^\s*and\s+", "", part, flags=re.IGNORECASE) for part in re.split(r"[,;、،]", item)]


def _json_strings(text: str) -> list[str] | None:
    """All strings in the first JSON list or object of the reply; None without one, or without strings."""
    start = re.search(r"[\[{]", text)
    if start is None:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start.start())
    except (json.JSONDecodeError, RecursionError):
        return None
    found: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, (list, dict)):
            waiting += reversed(list(item.values()) if isinstance(item, dict) else item)
        else:
            return None  # numbers and the like
    return found
