"""The page: complete, escaped, self-contained, the same bytes for the same records."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perbench.errors import PerbenchError
from perbench.site import build
from perbench.store import Labels
from tests.site.isolated import check_isolated

if TYPE_CHECKING:
    from tests.site.conftest import Bench

VOID = {"meta", "link", "input", "br", "wbr", "img", "hr"}
EVIL = "<script>alert('x')</script>&\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str) -> list[Element]:
        below = [c for c in self.children if isinstance(c, Element)]
        return [hit for c in below for hit in ([c] if c.tag == tag else []) + c.all(tag)]

    @property
    def text(self) -> str:
        parts = [c if isinstance(c, str) else c.text for c in self.children]
        return " ".join(" ".join(parts).split())


class Tree(HTMLParser):
    """A strict tree: a closing tag that does not close the open element is an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.root = Element("#document", {})
        self.stack = [self.root]
        self.feed(source)
        self.close()
        assert self.stack == [self.root], f"left open: {[e.tag for e in self.stack[1:]]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        element = Element(tag, dict(attrs))
        self.stack[-1].children.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


def everything(root: Element) -> list[Element]:
    below = [c for c in root.children if isinstance(c, Element)]
    return below + [hit for c in below for hit in everything(c)]


def page(*benches: Bench, out: Path) -> Element:
    return Tree(build([bench.path for bench in benches], out).read_text("utf-8")).root


@pytest.fixture
def full(bench: Bench) -> Bench:
    """One of everything: base, baseline, gain, failure, absence, dialogue, identification, training."""
    bench.describe(baseline="ce")
    bench.evaluate([0.1, 0.2, 0.3])
    trained = bench.cell(
        "train",
        Labels(model="tiny", trainer="ce", source="fam/write", seed=0),
        training_log=[
            {"step": 1, "loss": 2.5, "lr": 1e-5, "tokens_per_second": 13412.6},
            {"step": 2, "loss": 2.25, "lr": 5e-6},
        ],
        tokens={"response": 4242},
    )
    bench.evaluate([0.2, 0.2, 0.3], trainer="ce", source="fam/write", trained_by=trained.identity)
    other = bench.cell("train", Labels(model="tiny", trainer="perce", source="fam/write", seed=0))
    method = {"trainer": "perce", "source": "fam/write", "trained_by": other.identity}
    bench.evaluate([0.4, 0.5, 0.9], **method, counts={"truncated": 77})
    bench.evaluate(None, **method, target="fam/other")
    talk = {"target": "fam/talk", "headline": "rating", "notes": ["judge uncalibrated"]}
    bench.evaluate([3, 4, 2], turns=[2.5, None], beside={"ir": -0.125}, **talk)
    bench.evaluate(
        [4, 4, 5], turns=[4.25, 4.5], trainer="ce", source="fam/write", trained_by=trained.identity, **talk
    )
    bench.identify("percontrast", 0.5, tokens={"timed_examples": 30, "timed_ms": 1500})
    return bench


def cells_of(table: Element) -> list[list[str]]:
    body = table.all("tbody")[0]
    return [[c.text for c in row.all("th") + row.all("td")] for row in body.all("tr")]


def test_the_matrix_holds_every_cell(full: Bench, tmp_path: Path) -> None:
    matrix = page(full, out=tmp_path / "site").all("table")[0]
    heads = [head.text for head in matrix.all("thead")[0].all("th")]
    assert heads[0] == "Trained"
    assert [head.split(" · ")[0] for head in heads[1:]] == [
        "fam/ other rougeL",
        "fam/ talk rating",
        "fam/ write rougeL",
    ]
    rows = cells_of(matrix)
    assert [row[0].split()[0] for row in rows] == ["base", "ce", "perce"]
    assert [row[1].split(" no gain")[0] for row in rows] == ["no record", "no record", "failed CellError"]
    assert rows[2][2] == "no record"
    assert rows[0][3].startswith("0.200 [−0.048, 0.448] few users rank 1–3")
    assert rows[1][3] == "0.233 [0.090, 0.377] few users rank 1–3 baseline"
    assert "gain +0.367 [−0.150, +0.884] 1 seed" in rows[2][3]
    assert "excludes" not in rows[2][3]


def test_the_tally_of_gains(full: Bench, tmp_path: Path) -> None:
    reading = page(full, out=tmp_path / "site").all("section")[0].text
    assert "0 of 1 gains over ce remain" in reading
    assert "0 have an interval that excludes 0" in reading
    assert "about 0.1 interval would exclude 0 by chance" in reading
    assert reading.startswith(
        "The run is too small to tell any method from ce. 1 of 1 comparison rests on 1 seed"
    )
    assert "1 of 9 cells failed" in reading


def test_dialogue_turns_and_identification(full: Bench, tmp_path: Path) -> None:
    _, talk, spans, *_ = page(full, out=tmp_path / "site").all("table")
    assert "judge uncalibrated" in talk.all("caption")[0].text
    assert [head.text for head in talk.all("thead")[0].all("th")] == [
        *("Trained", "mean", "turn 1", "turn 2"),
        "ir",
    ]
    assert [row[2:] for row in cells_of(talk)] == [
        ["2.50", "no score", "−0.12"],
        ["4.25", "4.50", "no score"],
        ["no record", "no record", "no record"],
    ]
    assert cells_of(spans)[0][1:] == [
        "0.550 [0.450, 0.650]",
        "0.450 [0.350, 0.550]",
        "0.500 [0.400, 0.600]",
        "50",
        "12 s",
        "20.0",
    ]


def test_every_record_is_there_with_its_provenance(full: Bench, tmp_path: Path) -> None:
    root = page(full, out=tmp_path / "site")
    records = {d.attributes["id"]: d.text for d in root.all("details") if "id" in d.attributes}
    stored = [json.loads(file.read_text()) for file in full.path.glob("cells/*/cell.json")]
    assert len(records) == len(stored) == 9
    for record in stored:
        text = records[f"cell-{record['identity'][:16]}"]
        for part in (record["identity"], record["command"], record["started"], record["finished"], "d" * 64):
            assert part in text
        for metric in record["metrics"].values():
            assert metric["signature"] in text
    everything_said = " ".join(records.values())
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
    bench.evaluate(
        [0.5, 0.7], endpoints={"far": use, "openai/gpt-4o": {**use, "cost": 0.25, "currency": "EUR"}}
    )
    root = page(bench, out=tmp_path / "site")
    told = "5 requests, 3 answers, 2 from the cache; 40 tokens read, 9 written"
    text = " ".join(d.text for d in root.all("details"))
    assert f"Endpoint openai/gpt-4o {told}; 0.25 EUR" in " ".join(text.split())
    assert f"Endpoint far {told} Endpoint" in " ".join(text.split())


def test_links_lead_to_records_and_ids_are_unique(full: Bench, tmp_path: Path) -> None:
    elements = everything(page(full, out=tmp_path / "site"))
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    links = [e.attributes["href"] or "" for e in elements if e.tag == "a"]
    assert {link[1:] for link in links} <= set(ids)
    assert sum(link.startswith("#cell-") for link in links) >= 8


def test_tables_can_be_read_by_machines(full: Bench, tmp_path: Path) -> None:
    root = page(full, out=tmp_path / "site")
    regions = [e for e in everything(root) if e.attributes.get("role") in {"region", "group"}]
    assert all(e.attributes.get("tabindex") == "0" and e.attributes.get("aria-label") for e in regions)
    for table in root.all("table"):
        assert table.all("caption")[0].text
        width = len(table.all("thead")[0].all("th"))
        assert all(head.attributes["scope"] == "col" for head in table.all("thead")[0].all("th"))
        for row in table.all("tbody")[0].all("tr"):
            assert [head.attributes["scope"] for head in row.all("th")] == ["row"]
            assert len(row.all("th") + row.all("td")) == width
        assert any(table in region.all("table") for region in regions)
    assert root.all("html")[0].attributes["lang"] == "en"


def test_nothing_is_requested_and_nothing_runs_but_our_own(full: Bench, tmp_path: Path) -> None:
    root = page(full, out=tmp_path / "site")
    elements = everything(root)
    assert not [e for e in elements if {"src", "srcset", "style", "action"} & e.attributes.keys()]
    assert not [e for e in elements if any(name.startswith("on") for name in e.attributes)]
    assert not [e for e in elements if e.tag in {"link", "img", "iframe", "object", "embed", "base"}]
    assert not [e for e in elements if e.tag == "a" and not (e.attributes["href"] or "").startswith("#")]
    css, script = root.all("style")[0].children[0], root.all("script")[0].children[0]
    assert isinstance(css, str)
    assert isinstance(script, str)
    assert len(root.all("style")) == len(root.all("script")) == 1
    assert "type" not in root.all("script")[0].attributes  # modules do not load from file://
    assert not re.search(r"url\(|@import|https?:", css)
    assert not re.search(r"fetch\(|import\(|https?:", script)
    policy = next(e.attributes["content"] or "" for e in elements if "http-equiv" in e.attributes)
    assert "default-src 'none'" in policy
    for content in (css, script):
        assert f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy


def everywhere(bench: Bench, evil: str) -> None:
    """A run with the text in every place of its records."""
    bench.describe(Labels(model="tiny", target=evil + "planned", seed=0), summary=evil)
    labels = {"model_label": evil, "training": {evil: evil}, "trainer_params": {evil: [evil]}}
    for value, trainer in ((0.1, "ce"), (0.2, evil)):
        bench.evaluate(
            [value, value],
            trainer=trainer,
            source=evil,
            target=evil,
            model=evil,
            labels=labels,
            headline=evil,
            turns=[0.5],
            notes=[evil],
            counts={evil: 1},
            tokens={evil: 1},
            environment={evil: evil},
            command=evil,
            inputs={"digest" + evil: evil, "target": evil},
        )
    error = {"type": evil, "message": evil, "traceback": evil}
    label = Labels(model=evil, trainer="ce", source=evil, target="fam/write", seed=0)
    bench.cell("eval", label, status="failed", error=error, training_log=[{evil: 1.0}])
    bench.identify(evil, 0.5, target=evil, notes=[evil])


def test_all_that_records_say_is_escaped(bench: Bench, tmp_path: Path) -> None:
    everywhere(bench, EVIL)
    root = page(bench, out=tmp_path / "site")
    assert len(root.all("script")) == 1
    assert not root.all("img")
    assert root.text.count("alert('x')") > 30
    assert "{{ 7 * 7 }}" in root.text


HOSTILE = "\u202e\u2066\u200f\x1b[2J\x9b\u2028\x7f"
HEBREW = "\u05d0\u05d1"


def test_nothing_that_records_say_reorders_the_page(bench: Bench, tmp_path: Path) -> None:
    everywhere(bench, HOSTILE + HEBREW)
    source = build([bench.path], tmp_path / "site").read_text(encoding="utf-8")
    assert unicodedata.bidirectional(HEBREW[0]) == "R"
    assert not [c for c in source if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c != "\n"]
    assert source.count(r"\u202e\u2066\u200f\u001b[2J\u009b\u2028\u007f") > 30
    opened = check_isolated(source, HEBREW)
    assert opened > 20


def test_same_records_same_bytes(full: Bench, new_bench: Callable[[str], Bench], tmp_path: Path) -> None:
    other = new_bench("other")
    other.describe(summary="another matrix", baseline="ce")
    other.evaluate([0.7, 0.8], trainer="dpo", source="fam/write", finished="2030-05-06T07:08:09+00:00")
    first = build([full.path, other.path], tmp_path / "one").read_bytes()
    assert build([other.path, full.path], tmp_path / "two").read_bytes() == first
    assert build([full.path, other.path], tmp_path / "one").read_bytes() == first
    assert b'newest record <time datetime="2030-05-06T07:08:09+00:00">' in first
    assert str(tmp_path).encode() not in first


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


def test_a_killed_build_leaves_the_old_page_and_no_obstacle(full: Bench, tmp_path: Path) -> None:
    out = tmp_path / "site"
    build([full.path], out)
    (out / ".index.html.123.tmp").write_text("half a pa")
    build([full.path], out)
    assert (out / "index.html").read_text().endswith("</html>\n")


def test_nothing_is_written_when_a_run_cannot_be_read(full: Bench, tmp_path: Path) -> None:
    with pytest.raises(PerbenchError, match="not a run directory"):
        build([full.path, tmp_path / "absent"], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_one_cell_alone_makes_a_page(bench: Bench, tmp_path: Path) -> None:
    bench.identify("percontrast", 0.5)
    root = page(bench, out=tmp_path / "site")
    assert [s.attributes.get("id") for s in root.all("section")] == [None, "identification", "records"]


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
