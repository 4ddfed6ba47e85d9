"""Masks an endpoint's key and address in everything written, in any form in which a server may echo them.

Replies are masked before they are parsed, and recorded errors once more (`masked`).
"""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

KEY, ADDRESS = "[key]", "[address]"
SHORTEST = 8
"""Minimum length of a part of a random key that is masked, and of a key that is masked anywhere; a shorter
one may be an ordinary word ("m", "none") and is masked only as a credential ("Bearer m")."""
PIECES = 12
"""Letters and digits of a part that is masked even if interrupted by other characters."""
LONG = 20
"""Letters in a row, of one case and without digits, that are not a word."""
ENCODED = 16
"""Length of a part of a secret's base64 or hexadecimal form that is masked."""
OPENAI = "api.openai.com"
PUBLIC = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", OPENAI})
"""Hosts that reveal nothing without their port."""

OTHERS = str.maketrans("", "", "".join(char for char in map(chr, range(128)) if not char.isalnum()))
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
ESCAPE = re.compile(
    r"%(?P<percent>[0-9a-f]{2})|&#0*(?P<decimal>\d{1,7});|(?:&#x0*|\\u\{?0*|\\x)(?P<hex>[0-9a-f]{2,4})[;}]?",
    re.IGNORECASE,
)

Span = tuple[int, int, str]


class Mask:
    """Replaces a key and an address in texts: whole, truncated, split, escaped, in base64 or hexadecimal.

    A key made of words is masked only as a whole: parts of it may be ordinary words.
    """

    def __init__(self, key: str, url: str, *more: str) -> None:
        """`more` are further secrets that are sent, such as an account's name."""
        self.secrets = (key, url, *more)
        parts = urlsplit(url)
        keys = [one for one in (key, *_hidden_in(url), *more) if one]
        host = (parts.hostname or "").lower()
        names = [] if host == OPENAI else [url.rstrip("/"), parts.netloc.rpartition("@")[2]]
        names += [host] if host not in PUBLIC and re.search(r"[.:]|.{4}\d", host) else []
        names = [name for name in names if name not in ("", *PUBLIC)]
        distinct = [one for one in keys if _distinct(one)]
        self._whole = [
            (one.translate(LOWER), _whole(one, bounded=len(one) < 2 * SHORTEST), KEY) for one in distinct
        ]
        self._whole += [(name.translate(LOWER), _whole(name, bounded=True), ADDRESS) for name in names]
        self._whole += [
            (f"{scheme} ", re.compile(rf"(?<=\b{scheme} ){re.escape(one)}(?![\w-])", re.IGNORECASE), KEY)
            for one in keys
            for scheme in ("bearer", "basic")
        ]
        random = [one for one in distinct if _random(one)]
        self._parts = [_Parts(one, SHORTEST) for one in random]
        letters = [re.sub("[^0-9A-Za-z]", "", one) for one in random]
        self._pieces = [_Parts(one, PIECES) for one in letters if len(one) >= PIECES]
        self._encoded = _Grams([form for one in (*distinct, *names) for form in _encodings(one)], ENCODED)

    def __call__(self, text: str) -> str:
        """`text` with "[key]" and "[address]" in their place."""
        shown, starts, ends = _decoded(text)
        return _replaced(text, [(starts[a], ends[b - 1], kind) for a, b, kind in self._spans(shown)])

    def _spans(self, text: str) -> Iterator[Span]:
        low = text.translate(LOWER)
        for begin, form, kind in self._whole:
            if begin in low:
                yield from ((*match.span(), kind) for match in form.finditer(text))
        yield from ((a, b, KEY) for a, b in self._encoded.spans(text))
        for parts in self._parts:
            yield from ((a, b, KEY) for a, b in parts.spans(low))
        if self._pieces:
            letters = low.translate(OTHERS) if low.isascii() else re.sub("[^0-9a-z]", "", low)
            found = [span for parts in self._pieces for span in parts.spans(letters)]
            at = [match.start() for match in re.finditer("[0-9a-z]", low)] if found else []
            yield from ((at[a], at[b - 1] + 1, KEY) for a, b in found)


class _Grams:
    """All substrings of `secrets` of `size` characters."""

    def __init__(self, secrets: Sequence[str], size: int) -> None:
        self._size = size
        self._known = {one[at : at + size] for one in secrets for at in range(len(one) - size + 1)}
        alphabet = "".join(map(re.escape, sorted(set("".join(self._known)))))
        self._runs = re.compile(f"[{alphabet}]{{{size},}}") if self._known else None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they occur in `text`, overlaps merged."""
        for run in self._runs.finditer(text) if self._runs is not None else ():
            begun = end = -1
            for at in range(run.start(), run.end() - self._size + 1):
                if text[at : at + self._size] in self._known:
                    if at > end:
                        if begun >= 0:
                            yield begun, end
                        begun = at
                    end = at + self._size
            if begun >= 0:
                yield begun, end


class _Parts:
    """The parts of a random key of at least `size` characters that occur in no word."""

    def __init__(self, key: str, size: int) -> None:
        self._key, self._low = key, key.translate(LOWER)
        self._grams = _Grams([self._low], size)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they occur in a lower-case text."""
        for a, b in self._grams.spans(text):
            at = self._low.find(text[a:b])
            part = self._key[at : at + b - a] if at >= 0 else self._key
            if b - a >= min(LONG, 0.75 * len(self._key)) or _mixed(part):
                yield a, b


_masks: dict[tuple[str, ...], Mask] = {}


def remember(mask: Mask) -> None:
    """Apply `mask` in `masked`, too, for the rest of this process."""
    _masks[mask.secrets] = mask


def masked(text: str) -> str:
    """`text` without the keys and addresses of all endpoints used by this process."""
    for mask in _masks.values():
        text = mask(text)
    return text


START = r"(?<![\w/.:~<\]-])/"
PATHS = re.compile(
    rf"""{START}(?:[^\s/'"<>|:;,()\[\]{{}}]+/)+(?=[^\s/'"])"""
    r"""|(?<!\w)[A-Za-z]:\\(?:[^\\\s'"<>|:;,]+\\)+"""
)
"""Absolute paths up to their last part, of POSIX and Windows."""
QUOTED = re.compile(r"""(['"])(?:(?!\1)[^\n])+\1""")
IN_QUOTES = re.compile(rf"""{START}[^'"\n]*/(?=[^/'"\n])""")
"""With spaces, as a shell quotes them."""


def without_paths(text: str) -> str:
    """`text` with the folders of absolute paths replaced: "--data x=/home/me/x" -> "--data x=[path]/x"."""
    text = QUOTED.sub(lambda found: IN_QUOTES.sub("[path]/", found[0]), text)
    return PATHS.sub("[path]/", text)


def _whole(secret: str, *, bounded: bool) -> re.Pattern[str]:
    form = re.escape(secret)
    return re.compile(rf"(?<![0-9A-Za-z]){form}(?![0-9A-Za-z])" if bounded else form, re.IGNORECASE)


def _hidden_in(url: str) -> list[str]:
    """Keys in an address: a password, a parameter."""
    parts = urlsplit(url)
    return [
        *(unquote(part) for part in (parts.password, parts.username) if part),
        *dict(parse_qsl(parts.query)).values(),
    ]


def _distinct(key: str) -> bool:
    """Whether a key may be masked anywhere, because it is not an ordinary word."""
    return len(key) >= SHORTEST and (len(key) >= 2 * SHORTEST or not (key.isalpha() and key.islower()))


def _random(key: str) -> bool:
    """Whether a key looks random, so that its parts are not ordinary words."""
    return len(key) >= 2 * SHORTEST and (
        any(char.isdigit() for char in key) or len(max(re.split(r"\W|_", key), key=len)) >= LONG
    )


def _mixed(part: str) -> bool:
    """Whether no word is spelled like this."""
    inner = part[1:]
    return any(char.isdigit() for char in part) or not (inner.islower() or inner.isupper())


def _encodings(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield from (raw.hex(), raw.hex().upper())
    for shift in range(3):  # base64 of a longer text that contains the secret
        whole = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = whole[(0, 2, 3)[shift] : len(whole) - (1 if (shift + len(raw)) % 3 else 0)]
        yield from (inner, inner.translate(str.maketrans("+/", "-_")))


def _decoded(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """The text with URL, HTML and JSON escapes decoded, and where each character begins and ends in
    `text`."""
    if not ESCAPE.search(text):
        return text, range(len(text)), range(1, len(text) + 1)
    shown: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in ESCAPE.finditer(text):
        shown.append(text[at : match.start()])
        starts += range(at, match.start())
        ends += range(at + 1, match.start() + 1)
        code = int(match["decimal"]) if match["decimal"] else int(match["percent"] or match["hex"], 16)
        shown.append(chr(code) if code < 0x110000 else "?")
        starts.append(match.start())
        ends.append(match.end())
        at = match.end()
    return (
        "".join([*shown, text[at:]]),
        [*starts, *range(at, len(text))],
        [*ends, *range(at + 1, len(text) + 1)],
    )


def _replaced(text: str, found: Iterable[Span]) -> str:
    parts, end = [], 0
    for a, b, kind in sorted(found, key=lambda span: (span[0], -span[1])):
        if a >= end:
            parts += [text[end:a], kind]
        end = max(end, b)
    return "".join([*parts, text[end:]])
