"""Which scripts a metric can read, and whether a script separates words by spaces."""

from __future__ import annotations

import re
import unicodedata

MOST = 0.5
"""A text counts as readable, or as unspaced, if at least this share of its letters and digits does."""

NO_WORDS = "no words in the reference"
UNREAD = "reference in letters beyond a-z"
UNSPACED_REFERENCE = "reference in a script without spaces"
UNSPACED_ANSWER = "answer in a script without spaces"
SHORT = "reference of too few words"
BLANK = "empty reference"
"""Why a sample has no score, as shown with the value."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9df\uaa60-\uaa7f"
    "\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Tai, Balinese, Javanese, Chinese characters, Japanese kana."""


def letters(text: str) -> str:
    """The letters, marks and digits of a text, in any script."""
    return "".join(char for char in text if unicodedata.category(char)[0] in "LMN")


def latin(text: str) -> str | None:
    """Why a metric that reads only a-z and digits, in any case, cannot read a reference, or None. Accented
    letters are lost: "café" is readable, Vietnamese partly, Cyrillic not at all."""
    found = letters(text.lower())
    if not found:
        return NO_WORDS if text.strip() else BLANK
    read = sum(char.isascii() for char in found)
    return None if read >= MOST * len(found) else UNREAD


def spaced(text: str) -> str | None:
    """Why a metric over white-space separated words cannot read a reference, or None."""
    if not letters(text):
        return NO_WORDS if text.strip() else BLANK
    return UNSPACED_REFERENCE if unspaced(text) else None


def unspaced(text: str) -> bool:
    """Whether most letters are of scripts without spaces between words."""
    found = letters(text)
    return bool(found) and len(_UNSPACED.findall(found)) >= MOST * len(found)


def word_count(text: str) -> float | None:
    """White-space separated words; None for a script without spaces."""
    return None if unspaced(text) else float(len(text.split()))
