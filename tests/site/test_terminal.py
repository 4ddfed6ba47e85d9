"""The printed tables say what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perbench.cli import main
from perbench.site.finished import print_finished
from perbench.site.format import digits_for, interval, number, variation
from perbench.site.terminal import print_results
from perbench.store import Metric

if TYPE_CHECKING:
    from tests.site.conftest import Bench


def test_print_results(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.evaluate([0.1, 0.2, 0.3])
    bench.evaluate([0.2, 0.2, 0.3], trainer="ce", source="fam/write")
    bench.evaluate([0.4, 0.5, 0.9], trainer="perce", source="fam/write")
    bench.evaluate(None, trainer="perce", source="fam/write", target="fam/other")
    bench.evaluate(
        [3, None, 4, None],
        target="fam/talk",
        headline="rating",
        turns=[2.5, 4.5],
        beside={"judge_kappa": 0.375},
        notes=["judge uncalibrated"],
    )
    bench.identify("[red]percontrast", 0.5)
    print_results(bench.path)
    out, err = capsys.readouterr()
    assert err == ""
    for part in (
        "fam/write",
        "0.233 [0.090, 0.377]",
        "baseline",
        "+0.367 [−0.150, +0.884]",
        "failed",
        "no record",
        "fam/talk: rating per turn (judge uncalibrated)",
        "4.50",
        "judge_kappa",
        "0.38",
        "2 of 4 missing",
        "base model tiny, fam/talk: 2 of 4 without a score",
        "[red]percontrast",  # names are text, never markup
        "0.450 [0.350, 0.550]",
        "0 of 1 gain over ce remains",
        "The only comparison rests on 1 seed",
    ):
        assert part in out


def test_command(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench.evaluate([0.1, 0.2])
    out = tmp_path / "site"
    assert main(["leaderboard", "build", str(bench.path), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert main(["leaderboard", "build", str(bench.path), "--out", str(out), "--json"]) == 0
    assert capsys.readouterr().out == f'{{"page": "{out / "index.html"}"}}\n'
    assert main(["leaderboard", "build", str(tmp_path / "absent"), "--out", str(out)]) == 2
    assert f"{tmp_path / 'absent'} does not exist (yet)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "digits", "signed", "expected"),
    [
        (0.12345, 3, False, "0.123"),
        (-0.5, 2, False, "−0.50"),
        (0.5, 2, True, "+0.50"),
        (-0.0004, 3, True, "0.000"),
        (0.0, 1, True, "0.0"),
    ],
)
def test_numbers(value: float, digits: int, signed: bool, expected: str) -> None:
    assert number(value, digits, signed=signed) == expected


def test_other_formats() -> None:
    assert interval((-0.5, 1), 1, signed=True) == "[−0.5, +1.0]"
    assert [digits_for(v) for v in ([], [0.3, None], [4.5], [-31.0])] == [3, 3, 2, 1]
    assert [digits_for([4.2], [width]) for width in (0.05, 0.02, 0.019, 0.001, 0.0)] == [2, 2, 3, 3, 2]
    assert [digits_for([42.0], [3.0, width]) for width in (0.3, 0.19, 0.01)] == [1, 2, 3]
    assert variation({"b": "x", "a": 1e-05, "c": {"r": 8}}) == 'a=1e-05, b=x, c={"r": 8}'


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_table_wider_than_the_terminal_goes_on_below(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    targets = [f"fam/target_{name}" for name in ("one", "two", "three", "four", "five")]
    for target in targets:
        bench.evaluate([0.1, 0.2, 0.3], target=target)
    print_results(bench.path)
    out = capsys.readouterr().out
    tables = [line for line in out.splitlines() if "fam/target" in line or "[−0.048, 0.448]" in line]
    assert all(len(line) <= width for line in out.splitlines())
    assert sum(line.count("[−0.048, 0.448]") for line in tables) == 5  # no number is torn
    assert [word for line in tables for word in line.split() if word.startswith("fam/")].count(
        targets[0]
    ) == 1


@pytest.mark.parametrize(("width", "tables"), [(80, 2), (100, 1), (200, 1)])
def test_identifiers_take_few_tables(
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    tables: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    metrics = {
        name: Metric(value=0.5, ci=(0.4, 0.6), users=8, n=40, signature=f"{name}|words")
        for name in ("precision", "recall", "f1", "average_precision")
    }
    metrics["threshold"] = Metric(value=1.25, n=40, signature="threshold|words")
    for identifier in ("percontrast", "word_matching"):
        bench.identify(identifier, 0.5, model="smollm2-135m", metrics=metrics)
    print_results(bench.path)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("fam/spans: Personal tokens") for line in lines) == tables
    beside = any("0.500 [0.400, 0.600]" in line for line in lines)
    assert beside == (width == 200)
    assert sum("smollm2-135m" in line for line in lines) == (2 if beside else tables)


def test_two_targets_fit_into_80_columns_whatever_is_flagged(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for target in ("embedded/sotu_writing", "embedded/chitchat_reply"):
        for trainer, value in (("ce", 0.4), ("nextquill", 0.1)):
            bench.evaluate(
                [value, 0.2, None, 0.3 + value],
                trainer=trainer,
                source="embedded/sotu_writing",
                target=target,
                model="smollm2-135m",
                counts={"samples": 4, "truncated": 4},
            )
    print_results(bench.path)
    out = capsys.readouterr().out
    assert "continued" not in out
    assert any(line.count("100% cut") == 2 for line in out.splitlines())
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize(("targets", "sources"), [(2, 2), (8, 12)])
def test_a_finished_run_is_one_screen(
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    targets: int,
    sources: int,
) -> None:
    for source in (f"family/source_{i}" for i in range(sources)):
        for target in (f"family/target_{i}" for i in range(targets)):
            bench.evaluate([0.1, 0.2, 0.3], trainer="ce", source=source, target=target)
            bench.evaluate([0.6, 0.7, 0.81], trainer="perce", source=source, target=target)
    for target in (f"family/target_{i}" for i in range(5)):
        bench.evaluate(None, trainer="other", source="family/source_0", target=target)
    bench.identify("percontrast", 0.5)
    for width in (80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        print_finished(bench.path)
        out = capsys.readouterr().out
        lines = out.splitlines()
        assert len(lines) <= 40
        assert max(len(line) for line in lines) <= width
        assert max(len(line.rstrip()) for line in lines if "─" in line or "<-" in line) <= 100
        assert lines[0].startswith("perce beats ce in ")
        assert "0.703 +0.503▲" in out
        assert out.count("failed: other") == 3
        assert "2 more failed" in out
        assert "percontrast" not in out
        assert "leaderboard show" in out
        assert any("rows" in line and line.startswith("…") for line in lines) == (targets == 8)


def test_show_prints_a_section_whole(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.evaluate([0.1, 0.2, 0.3], trainer="ce", source="s")
    bench.evaluate([0.61, 0.7, 0.79], trainer="perce", source="s")
    bench.identify("percontrast", 0.5)

    def show(*words: str) -> str:
        assert main(["leaderboard", "show", str(bench.path), *words]) == 0
        return capsys.readouterr().out

    everything, transfer, spans = show(), show("transfer"), show("identification")
    assert everything.startswith("perce beats ce")
    assert [("percontrast" in out, "▲" in out) for out in (everything, transfer, spans)] == [
        (True, True),
        (False, True),
        (True, False),
    ]
    found = json.loads(show("transfer", "--json"))
    assert found["verdict"][0].startswith("perce beats ce")
    assert [one["name"] for one in found["sections"]] == ["transfer"]
    assert main(["leaderboard", "show", str(bench.path), "transfr"]) == 2
    assert "transfer" in capsys.readouterr().err
