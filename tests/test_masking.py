"""Keys and addresses in every form that a server may echo; texts that only look like them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.disk.masking import ADDRESS, KEY, Mask, without_paths

CANARY = "sk-proj-9aB3xQ7LmN2pR5tV8wY1zC4dE6fG0hJ"
URL = "http://gpu7.corp.example:8123/v1"
MASK = Mask(CANARY, URL)


def escaped(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(char)) for char in text)


def encoded(prefix: str) -> Callable[[str], str]:
    return lambda text: base64.b64encode(f"{prefix}{text}".encode()).decode()


ECHOES: dict[str, Callable[[str], str]] = {
    "whole": lambda key: f"Incorrect API key provided: {key}.",
    "as it was sent": lambda key: f"Authorization: Bearer {key}",
    "in the midst of a word": lambda key: f"x{key}x",
    "in an HTML page": lambda key: f"<html><body><h1>401</h1><pre>{key}</pre></body></html>",
    "in JSON": lambda key: json.dumps({"error": {"message": key}}),
    "the first half": lambda key: key[: len(key) // 2],
    "the second half": lambda key: key[len(key) // 2 :],
    "the first dozen": lambda key: f"{key[:12]}...",
    "starred": lambda key: f"{key[:12]}********{key[-8:]}",
    "two lines": lambda key: f"{key[:17]}\n{key[17:]}",
    "two strings": lambda key: json.dumps([key[:17], key[17:]]),
    "letter by letter": lambda key: " ".join(key),
    "with tags": lambda key: "<wbr>".join(key[at : at + 12] for at in range(0, len(key), 12)),
    "zero width": lambda key: "\u200b".join(key),
    "in capitals": str.upper,
    "URL": escaped("%{:02x}"),
    "HTML, decimal": escaped("&#{};"),
    "HTML, hexadecimal": escaped("&#x{:X};"),
    "JSON escapes": escaped("\\u{:04x}"),
    "Python escapes": escaped("\\x{:02x}"),
    "base64": encoded(""),
    "base64, shifted": encoded("x"),
    "base64 of the header": encoded("Bearer "),
    "base64 of a login": encoded("user:"),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base64, cut": lambda key: encoded("")(key)[:30],
    "hexadecimal": lambda key: key.encode().hex(),
    "HEXADECIMAL": lambda key: key.encode().hex().upper(),
}


def parts(key: str, size: int) -> set[str]:
    return {key[at : at + size] for at in range(len(key) - size + 1)}


FORMS = (CANARY.lower(), CANARY.encode().hex(), *(encoded(p)(CANARY).lower() for p in ("", "x", "xy")))


def assert_gone(text: str) -> None:
    """No twelve characters of the canary are in `text`, plain or encoded, whatever is between them."""
    for shown in (text, unquote(text), html.unescape(text)):
        plain = "".join(char for char in shown.lower() if char.isascii() and (char.isalnum() or char in "-_"))
        assert not any(part in plain for form in FORMS for part in parts(form, 12))


@pytest.mark.parametrize("name", ECHOES)
def test_no_echo_of_a_key_gets_through(name: str) -> None:
    shown = MASK(ECHOES[name](CANARY))
    assert KEY in shown
    assert_gone(shown)


@pytest.mark.parametrize(
    "text",
    [
        f"404: {URL}/chat/completions not found",
        "Apache at gpu7.corp.example Port 8123",
        "upstream gpu7.corp.example:8123 timed out",
        quote(URL, safe=""),
        html.escape(f"<a href='{URL}'>"),
        f"GET {URL.upper()}",
        base64.b64encode(URL.encode()).decode(),
    ],
)
def test_no_echo_of_an_address_gets_through(text: str) -> None:
    shown = MASK(text)
    assert ADDRESS in shown or KEY in shown
    assert "corp.example" not in shown.lower()
    assert "gpu7" not in shown.lower()


@pytest.mark.parametrize("key", ["m", "k", "abc", "none", "EMPTY", "1234", "token", "password", "x-y"])
def test_a_short_key_garbles_no_message(key: str) -> None:
    mask = Mask(key, "http://127.0.0.1:8000/v1")
    text = f"the model m is not known: {key}, abc, none, 1234, 'password' and tokens at k x-y {key}"
    assert mask(text) == text
    assert mask(f"Authorization: Bearer {key}") == f"Authorization: Bearer {KEY}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "api.openai.com", "vllm"])
def test_the_words_of_an_address_are_no_secret(host: str) -> None:
    text = f"start it at {host}, as https://api.openai.com/v1 says"
    assert Mask("any-long-text", f"http://{host}:8000/v1")(text) == text


def test_a_key_of_words_is_masked_whole_and_its_words_are_not() -> None:
    mask = Mask("any-long-text", "http://127.0.0.1:8000/v1")
    assert mask("any-long-text: a long-text, any long text") == f"{KEY}: a long-text, any long text"
    words = Mask("sk-canary-personalisation-2026", "http://127.0.0.1:8000/v1")
    assert words("personalisation of a canary in 2026") == "personalisation of a canary in 2026"


def test_passwords_and_parameters_of_an_address_are_keys() -> None:
    mask = Mask("m", "https://user:hunter2-hunter2@host.example/v1?code=9f8e7d6c5b4a39281706")
    assert mask("hunter2-hunter2 and 9f8e7d6c5b4a39281706") == f"{KEY} and {KEY}"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.integers(0, 200))
def test_whatever_stands_around_it_the_key_is_found_and_the_rest_stays(text: str, at: int) -> None:
    before, after = text[:at], text[at:]
    shown = MASK(f"{before}\n{CANARY}\n{after}")
    assert CANARY not in shown
    assert KEY in shown
    if not any(part in text.lower() for part in parts(CANARY.lower(), 4)):
        assert MASK(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "perbench run --data fam=/home/me/x --out=/srv/a/b",
            "perbench run --data fam=[path]/x --out=[path]/b",
        ),
        ("--data 'fam=/home/me/my data/x'", "--data 'fam=[path]/x'"),
        ("'/home/me/my data/x'", "'[path]/x'"),
        ('File "/usr/lib/py 3/x.py", line 3', 'File "[path]/x.py", line 3'),
        (r"at C:\Users\me\x.yaml", r"at [path]/x.yaml"),
        ("no /srv/a/, then", "no [path]/, then"),
        *(
            (same, same)
            for same in ("https://host/v1/x", "fam/read", "12 tokens/s", "~/x/y", "</b>/x", "/data", "")
        ),
    ],
)
def test_folders_of_machines_are_replaced(text: str, shown: str) -> None:
    assert without_paths(text) == shown
    assert without_paths(shown) == shown
