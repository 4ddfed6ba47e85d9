"""Nothing that is printed drives a terminal, reorders a line or breaks JSON, whoever wrote it."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.console.printing import console, folded, guarded, guarded_streams, keep_lines, printable
from perbench.progress import Progress

NASTY = (
    "\x1b[2J\x1b]0;title\x07\x1b]8;;http://x\x1b\\link \x9b31m\x08\r\x00\x7f\x85\u061c\u200f\u202e\u2066"
    "\u2028\ufeff\U000e0041\ud800"
)
HOSTILE = st.text(st.one_of(st.characters(), st.sampled_from(NASTY)))
GIVEN_TO_PEOPLE = "Grüße, 我喜欢 \U0001f469\u200d\U0001f52c, می\u200cخواهم\n\tשלום − ▁A"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def hostile(text: str) -> list[str]:
    """The characters that must not reach a terminal."""
    return [
        char
        for char in text
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char not in "\n\t\u200c\u200d"
    ]


@given(HOSTILE)
def test_any_text_becomes_printable_and_json_keeps_its_value(text: str) -> None:
    assert hostile(printable(text)) == []
    assert printable(printable(text)) == printable(text)
    dumped = json.dumps({text: [text]}, ensure_ascii=False)
    assert json.loads(printable(dumped)) == json.loads(json.dumps({text: [text]}))


def test_what_people_write_stays_as_it_is() -> None:
    assert printable(GIVEN_TO_PEOPLE) == GIVEN_TO_PEOPLE
    assert printable("a\x1b[31m\u202e\U000e0041") == r"a\u001b[31m\u202e\udb40\udc41"


def test_prints_and_tracebacks_are_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded_streams():
        print(NASTY, GIVEN_TO_PEOPLE)
        print(NASTY, file=sys.stderr)
        sys.stderr.writelines([NASTY])
        sys.excepthook(ValueError, ValueError(NASTY), None)
    out, err = capsys.readouterr()
    assert hostile(out + err) == []
    assert r"\u001b[2J" in out
    assert GIVEN_TO_PEOPLE in out
    assert err.count(r"\u202e") == 3


@settings(deadline=None)  # the first example imports rich
@given(HOSTILE)
def test_tables_are_guarded(text: str) -> None:
    from rich.cells import cell_len
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    stream = io.StringIO()
    table = Table(title=text)
    for heading in (text, "b"):
        table.add_column(heading, overflow="fold")
    table.add_row(text, "[b]x")
    shown = console(guarded(stream), width=40)
    for one in (table, text, Rule(text)):
        shown.print(one)
    assert all(cell_len(line) <= 40 for line in stream.getvalue().split("\n"))
    assert "[b]x" in stream.getvalue()
    shown.print(Text(text))
    assert hostile(stream.getvalue()) == []


def test_bars_and_what_is_printed_beside_them_are_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress(1, stream)
    with progress.shown(), progress.cell(NASTY) as tick:
        tick(1, 2, {NASTY: 1.0})
        progress.say(NASTY)
        print(NASTY, file=sys.stderr)
    shown = stream.getvalue()
    for piece in ("\x1b[2J", "\x1b]", "\x9b", "\x07", "\u202e", "\ud800", "\U000e0041"):
        assert piece not in shown.replace("\x1b[2K", "")


def test_a_stream_of_another_encoding_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with guarded_streams():
        print("tea \u2615 caf\xe9", flush=True)
    assert raw.getvalue() == rb"tea \u2615 caf\xe9" + b"\n"


@pytest.mark.parametrize(("columns", "width"), [("90", 90), ("", 133), ("wide", 133), ("0", 133)])
def test_a_pipe_is_as_wide_as_columns_says_or_the_terminal_behind_it(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((133, 40)))
    assert console(io.StringIO()).width == width
    assert console(guarded(io.StringIO())).width == width


def test_without_any_terminal_a_pipe_has_the_usual_width(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(number: int) -> os.terminal_size:
        raise OSError(errno.ENOTTY, "no terminal")

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", none)
    assert console(io.StringIO()).width == 80


def test_a_terminal_gets_lines_folded_between_words_and_json_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    path = "/a/path/without/spaces/that/is/longer/than/a/line.yaml"
    with guarded_streams():
        print("error: a sentence that goes on for more than forty columns")
        print("  name    what it is, in more words than one line holds")
        print(path)
        keep_lines()
        print(json.dumps(["word"] * 20))
    lines = stream.getvalue().splitlines()
    assert lines[:4] == [
        "error: a sentence that goes on for more",
        "    than forty columns",
        "  name    what it is, in more words than",
        "          one line holds",
    ]
    assert lines[4] == path
    assert json.loads(lines[5]) == ["word"] * 20
    assert len(lines) == 6


@pytest.mark.parametrize("lead", ["4 left; to go on:", "next:", "         ->"])
def test_a_command_to_go_on_with_stays_whole(lead: str) -> None:
    command = "perbench train --model smollm2-135m --trainer perce --source embedded/sotu_writing"
    assert folded(f"{lead} {command}", 40).split("\n") == [lead, f"    {command}"]
    assert folded(f"{lead} {command}", 200) == f"{lead} {command}"


@given(st.text(st.sampled_from("ab  \n-")), st.integers(10, 60))
def test_folding_loses_no_word_and_no_line_is_too_long(text: str, width: int) -> None:
    shown = folded(text, width)
    assert shown.split() == text.split()
    longest = max(map(len, text.split()), default=0)
    assert all(len(line) <= max(width, width // 2 + longest) for line in shown.split("\n") if line.strip())
