"""A third party's section on page, terminal and JSON; what is better decides how gains are marked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.contracts.section import Table, Value
from perbench.errors import PerbenchError
from perbench.site import build
from perbench.site.data import read_results
from perbench.site.draw import largest_gains, shade
from perbench.site.load import load
from perbench.site.terminal import print_results
from perbench.site.view import build_view
from perbench.store import Metric
from tests.site.pages import Site, cards_of, cells_of, rows_of, site_of

if TYPE_CHECKING:
    from tests.site.conftest import Bench

LENGTHS = '''"""How long answers are."""
from perbench.contracts.section import ColumnHead, Section, Table
from perbench.site.rows import head_of
from perbench.site.values import value_of


class Lengths(Section):
    title = "Lengths of answers"
    order = 15

    def build(self, loaded, matrix):
        rows = [(head_of(row), (value_of(cells[0].records, "length"),)) for row, cells in matrix.rows]
        return [Table("Words", "trained", (ColumnHead("length"),), tuple(rows))] if rows else []
'''


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "root" / "sections"
    folder.mkdir(parents=True)
    (folder / "lengths.py").write_text(LENGTHS, encoding="utf-8")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(folder.parent))
    yield folder.parent
    monkeypatch.undo()
    plugins.discover()


def measured(bench: Bench, value: float, trainer: str | None = None) -> str:
    metrics = {
        "rougeL": Metric(value=0.5, n=3, signature="r"),
        "length": Metric(value=value, ci=(value - 1, value + 1), users=8, n=3, missing=1, signature="l"),
    }
    source = "fam/read" if trainer else None
    return bench.evaluate([0.5] * 3, trainer=trainer, source=source, metrics=metrics).identity


def test_it_stands_on_the_page_in_the_terminal_and_in_json(
    root: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = measured(bench, 12.5)
    measured(bench, 25.0, "ce")
    site = site_of(bench, out=tmp_path / "site")
    for page in site.pages.values():
        links = [(link.text, link.attributes["href"]) for link in page.all("nav")[0].all("a")]
        assert "Lengths" in [text for text, _ in links]
    html = site.pages["lengths"]
    (section,) = html.all("section")
    assert html.all("h1")[0].text == "Lengths of answers"
    (table,) = section.all("table")
    assert [row[0] for row in cells_of(table)] == ["base model not trained", "ce trained on fam/ read"]
    assert [row[1].split()[0] for row in cells_of(table)] == ["12.50", "25.0"]
    flag = "1 of 4 without a score"
    for (card,), ci in zip(cards_of(table), ("(11.50 to 13.50)", "(24.0 to 26.0)"), strict=True):
        assert ci in card
        assert flag in card
    assert table.all("a")[0].attributes["href"] == f"cells/{identity[:16]}.html"
    print_results(bench.path)
    out = capsys.readouterr().out
    assert "Words [95% interval]" in out
    assert "12.50 [11.50, 13.50]" in out
    assert f"base model tiny, length: {flag}" in out
    found = read_results(bench.path)
    assert found["verdict"][0].startswith("Nothing but ce")
    lengths = next(one for one in found["sections"] if one["name"] == "lengths")
    names = [one["name"] for one in found["sections"]]
    assert names.index("transfer") < names.index("lengths")
    (table,) = json.loads(json.dumps(lengths["tables"]))
    row, _ = table["rows"]
    assert (row["name"], row["model"]) == ("base model", "tiny")
    (value,) = row["values"]
    assert (value["value"], value["ci"], value["missing"]) == (12.5, [11.5, 13.5], 1)
    assert value["cells"] == [identity]


def test_a_folder_draws_itself(root: Path, bench: Bench, tmp_path: Path) -> None:
    folder = root / "sections" / "lengths"
    folder.mkdir()
    (root / "sections" / "lengths.py").rename(folder / "__init__.py")
    (folder / "section.html").write_text(
        '{% from "table.html" import draw with context %}<h2>{{ s.tables[0].caption }}: {{ s.name }}</h2>'
        "<p>{{ view.matrix.rows|length }} models {{ s.title }}</p>{{ draw(s.tables[0]) }}",
        encoding="utf-8",
    )
    measured(bench, 12.5)
    section = site_of(bench, out=tmp_path / "site").pages["lengths"].all("section")[0]
    assert section.all("h2")[0].text == "Words: lengths"
    assert len(section.all("table")) == 1
    for broken in ("{{ s.tables[7].caption }}", "{% if %}"):
        (folder / "section.html").write_text(f"<p>\n{broken}</p>", encoding="utf-8")
        with pytest.raises(PerbenchError, match=r"lengths/section\.html:2: "):
            site_of(bench, out=tmp_path / "site")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name\n", "nothing_of_this_name"),
        (LENGTHS.replace("title = ", "return = "), "line 8"),
        (LENGTHS.replace("cells[0]", "cells[7]"), "lengths.py:12"),
        (LENGTHS.replace("return [", "return ['hi'] or ["), "returned a str"),
        (LENGTHS.replace('(ColumnHead("length"),)', "()"), "1 values for 0 columns"),
    ],
)
def test_a_broken_one_is_named_and_breaks_no_other(
    root: Path, bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = root / "sections" / "lengths.py"
    file.write_text(text, encoding="utf-8")
    measured(bench, 12.5)
    assert main(["leaderboard", "build", str(bench.path), "--out", str(tmp_path / "site")]) == 2
    err = capsys.readouterr().err
    assert "section lengths" in err
    assert said in err
    html = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "section lengths" in html
    assert str(tmp_path) not in html
    print_results(bench.path)
    out = " ".join(capsys.readouterr().out.split())
    assert "section lengths" in out
    assert "Score" in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('page = "../../x"', "lengths.py: its page '../../x'"),
        ('page = "a b"', "lengths.py: its page 'a b'"),
        ('page = "records"', "lengths.py: its page 'records' is taken"),
        ("def verdict(self, loaded, matrix): return [1 / 0]", "lengths.py:10"),
    ],
)
def test_one_that_cannot_have_its_page_is_left_out(
    root: Path, bench: Bench, tmp_path: Path, line: str, said: str
) -> None:
    text = LENGTHS.replace("    order = 15\n", f"    order = 15\n    {line}\n")
    (root / "sections" / "lengths.py").write_text(text, encoding="utf-8")
    measured(bench, 12.5)
    told: list[str] = []
    build([bench.path], tmp_path / "home" / "site", left_out=told.append)
    assert [said in one for one in told] == [True]
    site = Site(tmp_path / "home" / "site")
    assert "section lengths" in site.pages["index"].text
    assert "lengths" not in site.pages
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["site"]


def test_sections_may_share_a_page(root: Path, bench: Bench, tmp_path: Path) -> None:
    for name, order in (("lengths", 15), ("others", 12)):
        text = LENGTHS.replace("order = 15\n", f'order = {order}\n    page = "both"\n')
        text += f"\n    def verdict(self, loaded, matrix):\n        return ['Of {name}.', 'And more.']\n"
        (root / "sections" / f"{name}.py").write_text(text, encoding="utf-8")
    measured(bench, 12.5)
    page = site_of(bench, out=tmp_path / "site").pages["both"]
    assert [one.attributes.get("id") for one in page.all("section")] == ["others", "lengths"]
    assert [one.text for one in page.all("h1")] == ["Of others."]
    assert "Of lengths." in page.text
    assert len(page.all("table")) == 2


# ---------------------------------------------------------------- what is better


def compared(bench: Bench, **fields: object) -> tuple[Table, Value]:
    """A gain of about +0.5 over the baseline, whose interval excludes 0."""
    bench.evaluate([0.1, 0.2, 0.3], trainer="ce", source="s", **fields)  # type: ignore[arg-type]
    bench.evaluate([0.61, 0.7, 0.79], trainer="perce", source="s", **fields)  # type: ignore[arg-type]
    (transfer,) = [one for one in build_view(load([bench.path])).sections if one.name == "transfer"]
    (table,) = transfer.tables
    (value,) = table.rows[1][1]
    assert isinstance(value, Value)
    return table, value


@pytest.mark.parametrize(
    ("better", "verdict", "shown", "arrow"),
    [({}, "up", "b4", " ↑"), ({"rougeL": "lower"}, "down", "o4", " ↓"), ({"rougeL": None}, "", "ns", "")],
)
def test_gains_are_marked_by_what_is_better(
    bench: Bench, tmp_path: Path, better: dict[str, str | None], verdict: str, shown: str, arrow: str
) -> None:
    table, value = compared(bench, better=better)
    assert value.verdict == verdict
    assert shade(value, largest_gains(table)[0]) == shown
    drawn = site_of(bench, out=tmp_path / "site").by_id("transfer-1")
    metrics, targets = drawn.all("thead")[0].elements
    assert metrics.all("th")[0].text == f"rougeL{arrow}"
    lower = better.get("rougeL", "higher") == "lower"
    assert targets.elements[1].attributes.get("data-better") == ("lower" if lower else None)
    cell = rows_of(drawn)[1].all("td")[0]
    assert cell.classes == [shown]
    assert [mark.classes for mark in cell.all("g")] == [[verdict] if verdict else []]
    (said,) = re.findall(r"test (.*?),", cards_of(drawn)[1][0])
    assert said == {"up": "better than ce", "down": "worse than ce", "": "differs from ce"}[verdict]


def test_a_record_that_says_what_is_better_speaks_for_older_ones(bench: Bench) -> None:
    bench.evaluate([0.1, 0.2, 0.3], trainer="ce", source="s", finished="2025-01-01T00:00:00+00:00")
    bench.evaluate([0.61, 0.7, 0.79], trainer="perce", source="s", better={"rougeL": "lower"})
    (column,) = build_view(load([bench.path])).matrix.columns
    assert column.better == "lower"


def test_no_code_of_the_site_but_sections_names_a_method_or_protocol() -> None:
    names = {name for kind in ("protocol", "trainer", "identifier") for name in plugins.names(kind)}
    site = Path(plugins.__file__).parents[1] / "site"
    told = {
        (file.name, name)
        for file in site.glob("*.py")
        for name in names - {"random", "generation"}
        if f'"{name}"' in file.read_text(encoding="utf-8")
    }
    assert told == set()


@pytest.mark.parametrize(
    ("given", "said"), [("nosuch=.", "no such dataset family"), ("longlamp=absent", "no such folder")]
)
def test_data_that_are_not_there_are_refused(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    bench.evaluate([0.1, 0.2, 0.3])
    words = ["leaderboard", "build", str(bench.path), "--out", str(tmp_path / "site"), "--data", given]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert f"--data {given}" in err
    assert said in err
