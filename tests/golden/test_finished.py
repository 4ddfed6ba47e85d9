"""A run directory of an earlier perbench is shown, verified, rescored and resumed by this one.

finished/ was written at commit b17b862 by `perbench run --matrix finished --out finished` with the root that
`planned.make_root` makes. It is never written anew: it stands for what people have on their disks. Its
checkpoint is left out.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perbench import cli, plugins
from perbench.disk.sealed import write_sealed
from perbench.lm.native import USUAL
from perbench.store import CellRecord, cell, check, rundir
from tests.golden.planned import HERE, make_root

RUN = Path("finished")
CELLS = 11
RULED = "accurate", "hallucinates"
"""Metrics whose signatures have come to hold the rubric's rule."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(HERE / "finished", RUN)
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PERBENCH_INCLUDE", str(make_root(tmp_path / "root")))
    monkeypatch.setattr("perbench.matrix.catalogue.native", lambda: USUAL)  # on every machine the same
    yield
    monkeypatch.undo()
    plugins.discover()  # looks at the roots anew


def records(kind: str = "") -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(RUN.glob(f"cells/{kind}*/cell.json"))]


def results(*names: str) -> dict[str, bytes]:
    """The files of these names in all cells."""
    return {str(path): path.read_bytes() for name in names for path in RUN.glob(f"cells/*/{name}")}


def headlines() -> list[float]:
    found = [record["metrics"][record["headline"]]["value"] for record in records() if record["headline"]]
    assert len(found) == CELLS - 1
    return found


def test_the_page_holds_every_score(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leaderboard", "build", str(RUN), "--out", "site"]) == 0
    tables = [row for path in Path("site/data").glob("*.csv") for row in csv.DictReader(path.open())]
    for one in records():
        page = Path(f"site/cells/{one['identity'][:16]}.html").read_text()
        assert one["identity"] in page
        if one["headline"]:
            value = one["metrics"][one["headline"]]["value"]
            assert f"{value:.4f}".replace("-", "−") in page
            assert {row["cells"] for row in tables if row["value"] == str(value)} >= {one["identity"]}
    assert "damaged" not in capsys.readouterr().err


def test_nothing_is_damaged_and_every_metric_comes_out_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(RUN), "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert len(checked) == 1 + CELLS
    assert [one["faults"] for one in checked if one["faults"]] == []
    told = [line for one in checked for line in one["unchecked"] if "differently today" in line]
    assert {line.split()[1].rstrip(":") for line in told} == {*RULED}
    assert sum(one["metrics"] for one in checked) + len(told) == sum(len(one["metrics"]) for one in records())


def scores() -> dict[str, Any]:
    """Per-sample scores, without the sums that older ones do not hold."""
    found = {path: json.loads(content) for path, content in results("scores.json").items()}
    for one in found.values():
        one.pop("sums", None)
    return found


def test_rescoring_changes_intervals_and_says_which_values_are_better(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run's intervals are percentiles of a bootstrap."""
    before, old, scored = results("samples.jsonl"), records(), scores()
    assert cli.main(["rescore", str(RUN), "--json"]) == 0
    assert results("samples.jsonl") == before
    assert scores() == scored
    new = records()
    for one, other in zip(new, old, strict=True):
        for name, metric in one["metrics"].items():
            assert metric["ci"] is None or metric["ci_method"] is not None
            assert metric["ci"] is None or metric["users"] >= 3
            kept = other["metrics"][name]
            turns = zip(metric["by_turn"], kept["by_turn"], strict=True)
            by_turn = [{**turn, "ci": before["ci"]} for turn, before in turns]
            if name in RULED:
                rule = re.search(r"\|if:[a-z() ]+", metric["signature"])
                assert rule, metric["signature"]
                metric["signature"] = metric["signature"].replace(rule[0], "")
            del metric["ci_method"], metric["users"]
            metric.pop("bounds", None)
            metric |= {"ci": kept["ci"], "by_turn": by_turn}
        if one["files"].get("scores.json") != other["files"].get("scores.json"):
            assert {"bleu", "chrf"} & one["metrics"].keys()  # whose sums are kept
            one["files"]["scores.json"] = other["files"]["scores.json"]
    better = [one.pop("better", {}) for one in new]
    assert [{**one, "sha256": ""} for one in new] == [{**one, "sha256": ""} for one in old]
    assert {name: found for one in better for name, found in one.items()} == {
        **dict.fromkeys(("length", "threshold", "threshold_tuned")),
        **dict.fromkeys(("violates", "hallucinates", "false_distractor", "false_distractor_tuned"), "lower"),
    }
    again = results("cell.json")
    assert cli.main(["rescore", str(RUN), "--json"]) == 0
    assert results("cell.json") == again


def test_verify_finds_a_forged_direction(capsys: pytest.CaptureFixture[str]) -> None:
    path = next(RUN.glob("cells/identify*/cell.json"))
    forged = {**json.loads(path.read_bytes()), "better": {"false_distractor": "lower", "recall": "lower"}}
    write_sealed(path, forged)
    assert cli.main(["verify", str(RUN), "--json"]) == 2
    (fault,) = [fault for one in json.loads(capsys.readouterr().out) for fault in one["faults"]]
    assert fault.startswith("better.recall: ")


def test_a_run_reuses_every_cell_and_prints_its_scores(capsys: pytest.CaptureFixture[str]) -> None:
    before = results("*.json*")
    words = ["run", "--matrix", "finished", "--out", str(RUN)]
    assert cli.main([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(cell["action"], cell["reason"]) for cell in plan["cells"] if cell["action"] != "reuse"] == []
    assert plan["total"]["reuse"] == CELLS
    assert cli.main(words) == 0
    assert counted_since(before) == {"gold_spans", "gold_spans_checked"}
    before = results("*.json*")
    screen = capsys.readouterr().out
    assert len(screen.splitlines()) <= 40
    assert "leaderboard show finished" in screen
    assert cli.main([*words, "--json"]) == 0
    (sentence, *_) = json.loads(capsys.readouterr().out)["verdict"]
    assert screen.startswith(sentence)
    assert cli.main(["leaderboard", "show", str(RUN)]) == 0
    table = capsys.readouterr().out
    shown = [{f"{value:.{digits}f}".replace("-", "−") for digits in (2, 3)} for value in headlines()]
    assert [texts for texts in shown if not any(text in table for text in texts)] == []
    assert results("*.json*") == before


def counted_since(before: dict[str, bytes]) -> set[str]:
    """The counts that records have gained, in which alone a file may differ from what it was."""
    gained = set[str]()
    for path, content in results("*.json*").items():
        if content != before[path]:
            new, old = (CellRecord.model_validate_json(text) for text in (content, before[path]))
            gained |= new.counts.keys() - old.counts.keys()
            kept = {name: new.counts[name] for name in old.counts}
            assert new.model_copy(update={"counts": kept, "sha256": old.sha256}) == old
    return gained


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_run_that_reuses_every_cell_reads_each_record_once(
    more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Counter[str]()
    found = check.read_record

    def counted(folder: Path) -> CellRecord | None:
        read[folder.name] += 1
        return found(folder)

    for module in (rundir, cell):
        monkeypatch.setattr(module, "read_record", counted)
    assert cli.main(["run", "--matrix", "finished", "--out", str(RUN), *more]) == 0
    assert read == dict.fromkeys((path.parent.name for path in RUN.glob("cells/*/cell.json")), 1)


def test_a_run_without_its_records_resumes_to_the_same_results() -> None:
    """Every evaluation resumes from its samples, one of them from its first alone, so that the others are
    generated again. The training runs again: the weights that evaluations need are gone."""
    before, scored = results("samples.jsonl"), scores()
    base = [one for one in records("eval") if one["trained_by"] is None]
    (identity,) = [one["identity"] for one in base if one["labels"]["target"] == "probe/writing"]
    for path in RUN.glob("cells/[!t]*/cell.json"):
        path.unlink()
    samples = RUN / "cells" / f"eval-{identity[:16]}" / "samples.jsonl"
    samples.write_bytes(samples.read_bytes().splitlines(keepends=True)[0])
    assert cli.main(["run", "--matrix", "finished", "--out", str(RUN)]) == 0
    assert results("samples.jsonl") == before
    assert scores() == scored
    assert len(records()) == CELLS
