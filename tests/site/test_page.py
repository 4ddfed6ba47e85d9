"""The site: complete, the same bytes for the same records, and no danger to what else is on the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perbench.errors import PerbenchError
from perbench.site import build
from tests.site.pages import cards_of, cells_of, site_of

if TYPE_CHECKING:
    from tests.site.conftest import Bench


def test_the_matrix_holds_every_cell(full: Bench, tmp_path: Path) -> None:
    site = site_of(full, out=tmp_path / "site")
    matrix = site.by_id("transfer-1")
    assert site.page_of(matrix) == "index"
    metrics, targets = matrix.all("thead")[0].elements
    heads = [head.text for head in targets.elements]
    assert [head.partition(" 3 ")[0].strip() for head in heads] == [
        *("Trained with", "fam/ other", "fam/ write", "fam/ talk")
    ]
    assert [(head.text, head.attributes["colspan"]) for head in metrics.all("th")] == [
        *(("rougeL ↑", "2"), ("rating ↑", "1"))
    ]
    shown, cards = cells_of(matrix), cards_of(matrix)
    assert [row[0].split(" ←")[0] for row in shown] == ["not trained", "ce baseline", "perce"]
    assert [row[1] for row in shown] == ["no record", "no record", "failed"]
    assert "failed: CellError" in cards[2][0]
    assert shown[2][3] == "no record"
    assert [row[2] for row in shown] == ["0.200", "0.233", "+0.367 0.600"]
    assert "score 0.200 (−0.048 to 0.448), few users rank 1–3 from 3 answers, 1 seed" in cards[0][1]
    assert "score 0.233 (0.090 to 0.377), few users rank 1–3 from 3 answers" in cards[1][1]
    assert "gain +0.367 (−0.150 to +0.884) test not separable from ce" in cards[2][1]
    assert "excludes" not in cards[2][1]
    assert "from 3 answers, 3 users, 1 seed" in cards[2][1]


def test_a_cell_leads_to_its_record(full: Bench, tmp_path: Path) -> None:
    site = site_of(full, out=tmp_path / "site")
    (head, *_) = site.by_id("transfer-1").all("tbody")[0].all("tr")
    (link,) = head.all("td")[1].all("a")
    page = site.pages[(link.attributes["href"] or "").removesuffix(".html")]
    assert page.all("h1")[0].text == "tiny, not trained, evaluated on fam/write"
    assert "seed 0" in page.text


def test_the_tally_of_gains(full: Bench, tmp_path: Path) -> None:
    page = site_of(full, out=tmp_path / "site").pages["index"]
    assert page.all("h1")[0].text == "The run is too small to tell any method from ce."
    reading = page.all("section")[0].text
    assert "0 of 1 gain over ce remains" in reading
    assert "0 have an interval that excludes 0" in reading
    assert "about 0.1 interval would exclude 0 by chance" in reading
    assert "The only comparison rests on 1 seed" in reading
    assert "1 of 9 cells failed" in reading


def test_dialogue_turns_and_identification(full: Bench, tmp_path: Path) -> None:
    site = site_of(full, out=tmp_path / "site")
    (talk,) = [table for table in site.pages["dialogue"].all("table") if "mean" in table.text]
    spans = site.by_id("identification-1")
    assert site.page_of(spans) == "identification"
    assert "judge uncalibrated" in [note.text for note in talk.within("block").all("p", "note")]
    assert [head.text for head in talk.all("thead")[0].all("th")] == [
        *("Trained", "mean", "ir", "turn 1", "turn 2")
    ]
    assert [row[2:] for row in cells_of(talk)] == [
        ["−0.12", "2.50", "no score"],
        ["no score", "4.25", "4.50"],
        ["no record", "no record", "no record"],
    ]
    assert cells_of(spans)[0][1:] == ["0.550", "0.450", "0.500", "50", "12 s", "20.0"]
    (cards,) = cards_of(spans)
    for card, ci in zip(cards, ("0.450 to 0.650", "0.350 to 0.550", "0.400 to 0.600"), strict=False):
        assert f"({ci})" in card


def test_every_record_has_a_page_with_its_provenance(full: Bench, tmp_path: Path) -> None:
    site = site_of(full, out=tmp_path / "site")
    pages = {name for name in site.pages if name.startswith("cells/")}
    stored = [json.loads(file.read_text()) for file in full.path.glob("cells/*/cell.json")]
    assert len(pages) == len(stored) == 9
    listed = [link.attributes["href"] for link in site.by_id("records").all("a")]
    assert sorted(listed) == sorted(f"{name}.html" for name in pages)
    for record in stored:
        text = site.cell(record["identity"]).text
        for part in (record["identity"], record["command"], record["started"], record["finished"], "d" * 64):
            assert part in text
        for metric in record["metrics"].values():
            assert metric["signature"] in text
    everything_said = " ".join(site.pages[name].text for name in pages)
    for part in (
        "loss is nan at step 3",
        "Traceback: here",
        "truncated 77",
        "response tokens 4242",
        "2.25",
        "5e-06",
        "13,413",
        "321 MB",
    ):
        assert part in everything_said


def test_what_endpoints_were_asked_and_cost(bench: Bench, tmp_path: Path) -> None:
    use = {"requests": 5, "answers": 3, "reused": 2, "input_tokens": 40, "output_tokens": 9}
    record = bench.evaluate(
        [0.5, 0.7], endpoints={"far": use, "openai/gpt-4o": {**use, "cost": 0.25, "currency": "EUR"}}
    )
    text = site_of(bench, out=tmp_path / "site").cell(record.identity).text
    told = "5 3 answers, 2 from the cache; 40 tokens read, 9 written"
    assert f"Requests to openai/gpt-4o {told}; 0.25 EUR" in text
    assert f"Requests to far {told} Requests" in text


def test_same_records_same_bytes(full: Bench, new_bench: Callable[[str], Bench], tmp_path: Path) -> None:
    other = new_bench("other")
    other.describe(summary="another matrix", baseline="ce")
    other.evaluate([0.7, 0.8], trainer="dpo", source="fam/write", finished="2030-05-06T07:08:09+00:00")
    site = site_of(full, other, out=tmp_path / "one")
    first = site.files
    assert len(first) > 15
    assert site_of(other, full, out=tmp_path / "two").files == first
    assert site_of(full, other, out=tmp_path / "one").files == first
    for source in site.sources.values():
        assert 'newest record <time datetime="2030-05-06T07:08:09+00:00">' in source
    assert not [name for name, content in first.items() if str(tmp_path).encode() in content]


def test_a_folder_of_something_else_is_left_alone(full: Bench, tmp_path: Path) -> None:
    out = tmp_path / "home"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(PerbenchError, match=r"home holds 'thesis.tex'.*--out DIR"):
        build([full.path], out)
    assert [file.name for file in out.iterdir()] == ["thesis.tex"]
    (out / "thesis.tex").rename(out / "index.html")
    with pytest.raises(PerbenchError, match=r"holds 'index.html'"):
        build([full.path], out)
    assert (out / "index.html").read_text() == "years of work"
    with pytest.raises(PerbenchError, match="is a file"):
        build([full.path], out / "index.html")


def test_nothing_is_written_when_a_run_cannot_be_read(full: Bench, tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match="absent does not exist"):
        build([full.path, tmp_path / "absent"], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_one_cell_alone_makes_a_site(bench: Bench, tmp_path: Path) -> None:
    record = bench.identify("percontrast", 0.5)
    site = site_of(bench, out=tmp_path / "site")
    pages = {"index", "identification", "records", f"cells/{record.identity[:16]}"}
    assert pages <= set(site.pages)
    assert [s.attributes.get("id") for s in site.pages["identification"].all("section")] == ["identification"]
    assert cells_of(site.by_id("identification-1"))[0][3] == "0.500"


def test_building_does_not_import_torch(full: Bench, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from perbench.site import build; "
        "from perbench.site.terminal import print_results; "
        "build([Path(sys.argv[1])], Path(sys.argv[2])); print_results(Path(sys.argv[1])); "
        "sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    )
    subprocess.run(
        [sys.executable, "-c", code, full.path, tmp_path / "site"], check=True, capture_output=True
    )
