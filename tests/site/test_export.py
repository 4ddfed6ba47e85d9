"""The transfer table in other formats holds the page's numbers, and nothing that the records do not."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from perbench import cli
from perbench.cli.leaderboard import FORMATS
from perbench.errors import PerbenchError
from perbench.site import build, matrix
from perbench.site.export import WRITERS, export, latex
from perbench.site.export.figure import COLOURS
from perbench.site.export.latex import escape
from perbench.site.load import load
from perbench.site.matrix import matrix_of

if TYPE_CHECKING:
    from tests.site.conftest import Bench

FINISHED = Path(__file__).parents[1] / "golden" / "finished"
SCHEMA = Path(__file__).parent / "every_eval_ever" / "eval.schema.json"
HUB = {"hub": "org/data", "config": "write_5%", "split": "test", "revision": "a" * 40}
LOW = [0.1, 0.2, 0.3, 0.4, 0.2, 0.3]
HIGH = [value + 0.4 + 0.01 * place for place, value in enumerate(LOW)]


@pytest.fixture
def filled(bench: Bench) -> Bench:
    """Three methods on two targets: clearly better, about as good, failed, without a score, not run."""
    hub = {"environment": {"perbench": "0.1.0", "data": HUB}}
    bench.evaluate(LOW, **hub)
    bench.evaluate(LOW, trainer="ce", source="fam/write", **hub)
    bench.evaluate(HIGH, trainer="a_b", source="fam/write", **hub)
    bench.evaluate([value + 0.02 for value in reversed(HIGH)], trainer="c&d", source="fam/write", **hub)
    lower = {"target": "fam/50%_read", "headline": "loss", "better": {"loss": "lower"}}
    bench.evaluate([2.0, 2.1, None, 2.2], trainer="ce", source="fam/write", **lower)
    bench.evaluate(None, trainer="a_b", source="fam/write", **lower)
    bench.evaluate([None, None], trainer="c&d", source="fam/write", **lower)
    return bench


def test_latex_names_why_there_are_no_ranks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for trainer, shift in (("ce", 0.0), ("a", 0.1), ("b", 0.2)):
        bench.evaluate(
            [value + shift * (1 + n % 3) for n, value in enumerate(LOW)],
            trainer=trainer,
            source="s",
            target="fam/many",
        )
        bench.evaluate([0.1 + shift, 0.3], trainer=trainer, source="s", target="fam/untested")
    bench.evaluate(LOW, trainer="ce", source="s", target="fam/few")
    monkeypatch.setattr(matrix, "MOST_RANKED", 2)
    shown = matrix_of(load([bench.path]))
    assert {column.target: column.unranked for column in shown.columns} == {
        "fam/many": "many",
        "fam/untested": "many",
        "fam/few": "few",
    }
    assert latex.NO_RANKS["many"] in latex.table(shown)
    assert latex.NO_RANKS["untested"] not in latex.table(shown)
    build([bench.path], bench.path.parent / "site")
    assert "No ranks in fam/many, fam/untested" in (bench.path.parent / "site/index.html").read_text()
    monkeypatch.undo()
    shown = matrix_of(load([bench.path]))
    assert {column.target: column.unranked for column in shown.columns} == {
        "fam/many": "",
        "fam/untested": "untested",
        "fam/few": "few",
    }


def lines(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open(encoding="utf-8", newline="")))


def text(value: object) -> str:
    return "" if value is None else str(value)


def test_the_command_knows_every_format() -> None:
    assert list(FORMATS) == list(WRITERS)


@pytest.mark.parametrize("golden", [True, False])
def test_csv_holds_the_matrix(golden: bool, filled: Bench, tmp_path: Path) -> None:
    run = FINISHED if golden else filled.path
    (file,) = export([run], tmp_path / "out", ["csv"])
    matrix = matrix_of(load([run]))
    found = iter(lines(file))
    for row, outcomes in matrix.rows:
        for column, outcome in zip(matrix.columns, outcomes, strict=True):
            line = next(found)
            assert (line["trainer"], line["source"]) == (text(row.trainer), text(row.source))
            assert (line["target"], line["metric"]) == (column.target, column.headline)
            mean, gain = outcome.mean, outcome.gain
            assert line["value"] == text(mean and mean.value)
            assert [line["ci_low"], line["ci_high"]] == [
                text(end) for end in (mean and mean.ci) or (None, None)
            ]
            assert (line["n"], line["missing"]) == (text(mean and mean.n), text(mean and mean.missing))
            assert line["gain"] == text(gain and gain.value)
            assert [line["gain_ci_low"], line["gain_ci_high"]] == [
                text(end) for end in (gain and gain.ci) or (None, None)
            ]
            assert line["cells"].split() == [record.identity for record in outcome.records]
    assert next(found, None) is None


def test_csv_says_what_is_missing_and_failed(filled: Bench, tmp_path: Path) -> None:
    (file,) = export([filled.path], tmp_path, ["csv"])
    found = {(line["trainer"], line["target"]): line for line in lines(file)}
    status = {trainer: found[trainer, "fam/50%_read"]["status"] for trainer in ("", "ce", "a_b", "c&d")}
    assert status == {"": "no record", "ce": "done", "a_b": "failed", "c&d": "no score"}
    assert found["a_b", "fam/50%_read"]["seeds_failed"] == "0"
    assert found["ce", "fam/50%_read"]["missing"] == "1"
    assert "1 of 4" in found["ce", "fam/50%_read"]["caveats"]
    assert found["ce", "fam/50%_read"]["better"] == "lower"


def test_latex_is_balanced_and_escaped(filled: Bench, tmp_path: Path) -> None:
    (file,) = export([filled.path], tmp_path, ["latex"])
    tex = file.read_text()
    bare = re.sub(r"\\[\\&%$#_{}]", "", tex)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert tex.isascii()
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", tex):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    body = tex.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {4}
    assert "%" not in re.sub(r"\\%", "", body)
    assert r"c\&d" in body
    assert r"fam/50\%\_read" in body


def test_latex_marks_the_best_and_what_is_not_worse(filled: Bench, tmp_path: Path) -> None:
    (file,) = export([filled.path], tmp_path, ["latex"])
    tex = file.read_text()
    (a_b,) = re.findall(r"^tiny & a\\_b .*$", tex, re.MULTILINE)
    (c_d,) = re.findall(r"^tiny & c\\&d .*$", tex, re.MULTILINE)
    (ce,) = re.findall(r"^tiny & ce .*$", tex, re.MULTILINE)
    last = [row.split(" & ")[-1] for row in (a_b, c_d, ce)]
    assert r"\textbf{" in last[1]
    assert (r"\textdagger" in last[0], r"\textdagger" in last[1], r"\textdagger" in last[2]) == (
        True,
        False,
        False,
    )
    assert r"\textbf{" not in last[2]
    assert r"\textit{failed}" in a_b
    assert r"\textit{no score}" in c_d
    assert r"\textdagger{}: no model of the column" in tex


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("a_b & 5% #1 {x}", r"a\_b \& 5\% \#1 \{x\}"),
        ("C:\\~^", r"C:\textbackslash{}\textasciitilde{}\textasciicircum{}"),
        ("−0.5 → x<y", r"$-$0.5 $\rightarrow$ x\textless{}y"),
    ],
)
def test_escape(plain: str, escaped: str) -> None:
    assert escape(plain) == escaped


def test_figures_show_every_gain_and_are_the_same_each_time(filled: Bench, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = export([filled.path], tmp_path / "a", ["svg", "png"])
    again = export([filled.path], tmp_path / "b", ["svg", "png"])
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in again]
    svg = first[0].read_text(encoding="utf-8")
    assert "<dc:date>" not in svg
    for name in ("a_b ← fam/write", "c&amp;d ← fam/write", "fam/write"):
        assert f">{name}</text>" in svg
    assert first[1].read_bytes().startswith(b"\x89PNG")
    separable = [gain for gain in matrix_of(load([filled.path])).gains if gain.remains]
    assert bool(separable) == any(COLOURS[side] in svg for side in ("up", "down"))


def test_a_figure_without_gains_is_refused(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench.evaluate(LOW)
    with pytest.raises(PerbenchError, match="--baseline"):
        export([bench.path], tmp_path / "out", ["svg"])


def test_without_matplotlib_the_extra_is_named(
    filled: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PerbenchError, match=r"perbench\[results\]"):
        export([filled.path], tmp_path, ["png"])


@pytest.mark.parametrize("golden", [True, False])
def test_every_eval_ever_validates_and_holds_every_score(golden: bool, filled: Bench, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    run = FINISHED if golden else filled.path
    schema = json.loads(SCHEMA.read_text())
    checked = jsonschema.Draft7Validator(schema)
    results: dict[str, Any] = {}
    ids = set()
    for file in export([run], tmp_path / "out", ["eee"]):
        log = json.loads(file.read_text())
        checked.validate(log)
        assert log["schema_version"] == schema["version"]
        ids.add((log["evaluation_id"], log["model_info"]["id"]))
        for result in log["evaluation_results"]:
            results[result["evaluation_result_id"]] = result
    records = [entry.record for entry in load([run]).entries if entry.record.kind == "eval"]
    scores = {
        f"{record.identity}/{name}": (record, name, metric)
        for record in records
        for name, metric in record.metrics.items()
        if metric.value is not None
    }
    assert results.keys() == scores.keys()
    for key, (record, name, metric) in scores.items():
        found = results[key]
        assert found["score_details"]["score"] == metric.value
        assert found["metric_config"]["lower_is_better"] == (record.better_of(name) == "lower")
        interval = found["score_details"].get("uncertainty", {}).get("confidence_interval")
        assert (interval and (interval["lower"], interval["upper"])) == metric.ci
    assert len({model for _, model in ids}) == len(ids)


def test_every_eval_ever_names_what_it_cannot_hold(filled: Bench, tmp_path: Path) -> None:
    told: list[str] = []
    files = export([filled.path], tmp_path, ["eee"], left_out=told.append)
    logs = [json.loads(file.read_text()) for file in files]
    details = {
        log["model_info"]["additional_details"].get("trainer"): log["source_metadata"]["additional_details"]
        for log in logs
    }
    assert json.loads(details["a_b"]["failed"]) == ["fam/50%_read"]
    assert json.loads(details["c&d"]["without_score"]) == ["fam/50%_read: loss"]
    assert len(told) == 2
    sources = [result["source_data"] for log in logs for result in log["evaluation_results"]]
    assert {source.get("hf_repo") for source in sources} == {"org/data", None}


def test_eval_results_are_read_back(filled: Bench, tmp_path: Path) -> None:
    told: list[str] = []
    files = export([filled.path], tmp_path, ["eval_results"], left_out=told.append)
    records = {
        record.identity[:16]: record
        for entry in load([filled.path]).entries
        if (record := entry.record).labels.target == "fam/write"
    }
    assert len(files) == len(records) == 4
    assert len({file.parent for file in files}) == 4
    for file in files:
        assert file.parent.name == ".eval_results"
        (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
        record = records[(entry.notes or "").rpartition("cell ")[2]]
        assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("org/data", "write_5%", "a" * 40)
        assert entry.value == record.metrics["rougeL"].value
        assert entry.date == record.finished
    assert len(told) == 3


def test_the_command(filled: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["leaderboard", "export", str(filled.path), "--out", str(out), "--format", "csv"]
    assert cli.main([*words, "--format", "eee", "--json"]) == 0
    said = capsys.readouterr()
    files = json.loads(said.out)["files"]
    assert files[0] == str(out / "transfer.csv")
    assert all(Path(file).is_file() for file in files)
    assert said.err.count("left out") == 2
    assert cli.main(words) == 0  # a file is replaced
    assert cli.main([*words, "--format", "eee"]) == 2  # a folder of files of other names is not
    assert str(out / "eee") in capsys.readouterr().err
    filled.run.path.joinpath("cells").glob("*/cell.json").__next__().write_text("{}")
    assert cli.main(words) == 2
    assert "damaged" in capsys.readouterr().err
