"""Progress: few plain lines off a terminal, bars on one, and no colour when none is wanted."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.progress import Progress, duration, shortened


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream: io.TextIOBase, units: int) -> None:
    progress = Progress(2, stream)  # type: ignore[arg-type]
    with progress.shown():
        with progress.cell("train a") as tick:
            for done in range(units + 1):
                tick(done, units, {"loss": 2.123456, "tok/s": 1234.5})
        progress.say("note")
        with progress.cell("eval b") as tick:
            tick(3, 3, {})


def test_plain_lines_are_first_last_and_every_tenth() -> None:
    stream = io.StringIO()
    run(stream, 1000)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[1/2] train a"
    counts = [re.match(r"\[1/2\]   (\d+)/1000 in [\d.]+ s", line) for line in lines[1:12]]
    assert [int(match.group(1)) for match in counts if match] == list(range(0, 1001, 100))
    assert lines[11].endswith("loss 2.12, tok/s 1,234")
    assert lines[12:14] == ["note", "[2/2] eval b"]
    assert re.fullmatch(r"\[2/2\]   3/3 in [\d.]+ s", lines[14])
    assert len(lines) == 15
    assert "left" not in lines[11]
    assert "about" in lines[2]


@pytest.mark.parametrize("colour", [True, False])
def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    run(stream, 10)
    shown = stream.getvalue()
    assert "all cells" in shown
    assert re.search(r"\[1/2\] train a: [\d.]+ s", shown)
    assert "note" in shown
    assert "2/2" in shown
    colours = re.findall(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", shown)
    assert bool(colours) == colour


def test_a_cell_counts_as_done_even_when_it_fails() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream)
    with pytest.raises(ValueError, match="inside"), progress.cell("a"):
        raise ValueError("inside")
    with progress.cell("b"):
        pass
    assert stream.getvalue().splitlines() == ["[1/2] a", "[2/2] b"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (75, "1 min 15 s"),
        (3600, "1 h 0 min"),
        (7290, "2 h 1 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_bars_count_from_where_others_left_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    progress = Progress(3, stream)
    with progress.shown():
        progress.finished("train a", None)
        progress.begin()
        with progress.cell("eval b") as tick:
            tick(1, 2, {"loss": 1.0})
            progress._bars.refresh()
    assert "2/3" in stream.getvalue()


@given(st.text("abc →", max_size=40), st.integers(1, 60))
def test_shortened_names_keep_both_ends(text: str, room: int) -> None:
    found = shortened(text, room)
    assert len(found) == min(len(text), room)
    start, cut, end = found.partition("…")
    assert text.startswith(start)
    assert text.endswith(end)
    assert bool(cut) == (len(text) > room)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_other_workers_have_a_line_each(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "12")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    progress = Progress(30, stream)
    cell = f"eval {'a-model-with-a-long-name' * 9} \x1b[31mred"
    with progress.shown():
        progress.crew([(f"w{n}", cell, n, 8) for n in range(3)])
        progress._bars.refresh()
        progress.finished("train b", "loss 2.1")
        progress.crew([(f"node-{n:02}.cluster:123456", cell, 0, 0) for n in range(20)])
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", stream.getvalue())]
    assert max(map(len, lines)) <= width
    for n in range(3):
        assert re.search(rf"^w{n} +{n}/8 +0:00:00 +eval a-model", "\n".join(lines), re.M)
    assert "[1/30] train b: loss 2.1" in lines
    assert any("1/30" in line and line.startswith("all cells") for line in lines)
    assert any(line.startswith("node-05.cluster:123") and "starting" in line for line in lines)
    assert not any(line.startswith("node-19") for line in lines)
    assert "and 14 more" in [line.strip() for line in lines]
