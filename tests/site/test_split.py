"""Sites of thousands of cells: long tables, records and cells have pages by model; all of it reads without
script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from perbench import cli
from perbench.site import build, split
from perbench.site.cells import SampleTexts
from perbench.store import read_records
from tests.site.browsing import NARROW, opened, pages
from tests.site.made import Shape, write_run
from tests.site.pages import Site, split_all
from tests.site.test_accessible import violations

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from perbench.contracts.shown import Score, Shown, StoredCell

SHAPE = Shape(models=2, trainers=3, sources=2, targets=4, seeds=2, users=24, each=1)


class NoTexts:
    """A split site shows samples as they are stored."""

    def read(self, cell: StoredCell) -> list[Shown]:
        raise AssertionError

    def scores(self, cell: StoredCell) -> dict[str, dict[str, Score]]:
        raise AssertionError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("split") / "made", SHAPE)


@pytest.fixture(scope="module")
def folder(run: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        split_all(patch)
        build([run], run.parent / "site", texts=SampleTexts(NoTexts()))
    return run.parent / "site"


@pytest.fixture(scope="module")
def site(folder: Path) -> Site:
    return Site(folder)


def test_few_cells_are_not_split(run: Path, tmp_path: Path) -> None:
    assert SHAPE.evaluations < split.CELLS
    build([run], tmp_path / "site")
    assert [name for name in pages(tmp_path / "site") if name.startswith(("transfer-", "records-"))] == []


def test_what_a_large_site_lacks_is_said(
    site: Site, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["leaderboard", "build", str(run), "--shade", "2", "--out"]
    assert split.LACKS in site.pages["index"].text
    assert all(split.LACKS not in page.text for name, page in site.pages.items() if name != "index")
    split_all(monkeypatch)
    assert cli.main([*small, str(tmp_path / "large")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"perbench: warning: {split.LACKS}"
    for what in ("samples", "Compare", "--shade", "5,000"):
        assert what in line


def test_a_small_site_lacks_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leaderboard", "build", str(run), "--out", str(tmp_path / "site")]) == 0
    assert "warning" not in capsys.readouterr().err
    assert split.LACKS not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_a_matrix_has_a_page_for_each_model(site: Site) -> None:
    table = site.pages["index"].by_id("transfer-1")
    assert [one.text for one in table.all("a", "name")] == ["sample-1b", "sample-2b"]
    for number, model in enumerate(("sample-1b", "sample-2b"), 1):
        part = site.pages[f"transfer-1-{number}"]
        rows = [
            row for row in part.by_id(f"transfer-1-{number}-1").all("tr") if row.attributes.get("data-row")
        ]
        assert {row.attributes.get("data-model") for row in rows} == {model}
        assert len([row for row in rows if row.attributes["data-row"] == "cell"]) == 4  # 2 methods, 2 sources


def test_counts_are_those_of_the_parts(site: Site) -> None:
    for number, row in enumerate(site.pages["index"].by_id("transfer-1").all("tr")[1:], 1):
        better, worse, tested, missing = (int(cell.text) for cell in row.all("td")[:4])
        cells = [one for one in site.pages[f"transfer-1-{number}"].all("td") if one.all("span", "c")]
        filled = [name for one in cells for name in one.classes]
        assert sum(name.startswith("b") for name in filled) == better
        assert sum(name.startswith("o") for name in filled) == worse
        assert tested > better + worse
        assert better  # so that the counts say something
        assert sum("void" in one.classes for one in cells) == missing


def test_every_cell_is_on_the_page_of_its_model(site: Site, run: Path) -> None:
    records = [record for record, _ in read_records(run)]
    known = {record.identity: record for record in records}
    pages_of = {name: page for name, page in site.pages.items() if name.startswith("cells/")}
    where = {
        str(one.attributes["id"]): name
        for name, page in pages_of.items()
        for one in page.everything()
        if (one.attributes.get("id") or "").startswith("c-")
    }
    shown = [one for one in records if f"c-{one.identity[:16]}" in where]
    assert len(shown) > SHAPE.evaluations
    assert [one.identity for one in records if one.status == "failed" and one not in shown] == []
    for one in shown:
        if one.trained_by in known:
            assert where[f"c-{one.identity[:16]}"] == where[f"c-{str(one.trained_by)[:16]}"]
    assert len(pages_of) == 2 * 2 * (1 + 3 * 2)


def test_samples_are_as_stored(site: Site, run: Path) -> None:
    page = next(
        page for name, page in site.pages.items() if name.startswith("cells/") and "trained on" in page.text
    )
    (link,) = [
        str(one.attributes["href"]) for one in page.all("a") if "../samples/" in str(one.attributes["href"])
    ]
    lines = [json.loads(line) for line in (site.folder / "cells" / link).read_text().splitlines()]
    for name in {line["cell"] for line in lines}:
        stored = (run / "cells" / f"eval-{name}" / "samples.jsonl").read_text().splitlines()
        assert [line for line in lines if line["cell"] == name] == [
            {"cell": name, **json.loads(one)} for one in stored
        ]


def test_records_are_divided_by_model(site: Site) -> None:
    rows = site.pages["records"].by_id("records").all("tr")[1:]
    for number, row in enumerate(rows, 1):
        counts = [int(cell.text) for cell in row.all("td")[:3]]
        assert len(site.pages[f"records-{number}"].by_id("records").all("tr")) - 1 == sum(counts)


def test_csv_holds_the_whole_table(folder: Path) -> None:
    lines = (folder / "data" / "transfer-1.csv").read_text().splitlines()
    assert len(lines) - 1 == SHAPE.models * (1 + SHAPE.trainers * SHAPE.sources) * SHAPE.targets
    assert not list(folder.glob("data/transfer-1-*.csv"))


def test_a_reader_goes_from_the_first_page_to_a_cell_without_script(browser: Browser, folder: Path) -> None:
    with opened(browser, folder, java_script_enabled=False) as page:
        page.locator("#transfer-1 a.name").nth(1).click()
        assert page.locator("h1").inner_text() == "sample-2b"
        page.get_by_role("link", name="Records", exact=True).click()
        page.locator("#records a.name").first.click()
        page.locator("#records a.name").nth(30).click()
        assert "/cells/" in page.url
        page.get_by_role("link", name="All samples").click()
        assert page.url.endswith(".txt")
        assert "response" in page.locator("body").inner_text()


def test_a_method_leads_to_its_rows(browser: Browser, folder: Path) -> None:
    with opened(browser, folder, "methods/perce.html") as page:
        page.get_by_role("link", name="sample-2b").click()
        page.wait_for_url("**/transfer-1-2.html#*")
        shown = page.locator("tr[data-row=cell]:visible")
        assert {one.get_attribute("data-trainer") for one in shown.all()} == {"perce"}


def test_pages_are_accessible_and_fit_a_phone(browser: Browser, folder: Path, site: Site) -> None:
    cell = next(name for name in site.pages if name.startswith("cells/"))
    for name in ("index", "transfer-1-1", "dialogue", "records", "records-1", "methods/perce", cell):
        with opened(browser, folder, f"{name}.html", viewport=NARROW) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
            assert violations(page) == {}
