"""What of a text a metric can read: its letters, and whether its script parts words with spaces."""

from __future__ import annotations

import re
import unicodedata

MOST = 0.5
"""A text is read, or written without spaces, when at least this share of its letters and digits is."""

NO_WORDS = "no words in the reference"
UNREAD = "reference in letters beyond a-z"
UNSPACED_REFERENCE = "reference in a script without spaces"
UNSPACED_ANSWER = "answer in a script without spaces"
SHORT = "reference of too few words"
BLANK = "empty reference"
"""Why a sample has no score, as shown at the number."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9df\uaa60-\uaa7f"
    "\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Tai, Balinese, Javanese, Chinese characters, Japanese kana."""


def letters(text: str) -> str:
    """The characters that words are made of: letters, their marks, digits; of any script."""
    return "".join(char for char in text if unicodedata.category(char)[0] in "LMN")


def latin(text: str) -> str | None:
    """Why a metric that reads the letters a-z and digits, in any case, cannot read a reference; None where it
    can. An accent costs the letter: "café" is read, Vietnamese in part, Cyrillic not at all."""
    found = letters(text.lower())
    if not found:
        return NO_WORDS if text.strip() else BLANK
    read = sum(char.isascii() for char in found)
    return None if read >= MOST * len(found) else UNREAD


def spaced(text: str) -> str | None:
    """Why a metric of the words between white space cannot read a reference; None where it can."""
    if not letters(text):
        return NO_WORDS if text.strip() else BLANK
    return UNSPACED_REFERENCE if unspaced(text) else None


def unspaced(text: str) -> bool:
    """Whether most of the letters are of scripts that are written without spaces between words."""
    found = letters(text)
    return bool(found) and len(_UNSPACED.findall(found)) >= MOST * len(found)


def word_count(text: str) -> float | None:
    """White-space separated words; None for a script that does not part them."""
    return None if unspaced(text) else float(len(text.split()))
