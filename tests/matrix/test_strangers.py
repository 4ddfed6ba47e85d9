"""Results of strangers, in run directories, packs and published files, are read and execute nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perbench import cli
from perbench.contracts.metric import mean_metric
from perbench.disk.archive import write_archive
from perbench.disk.digests import canonical_digest
from perbench.matrix.identity import EVAL_VERSION, target_inputs
from perbench.specs.load import load_task
from perbench.store import CellRecord, Labels, RunDir, Scores
from perbench.store.pack import Manifest

TASK = "embedded/sotu_writing"
MARK = "evil"
PROGRAM = {"data.python": "os:system", "data.test_split": f"touch {MARK}"}
CODE = f"""open({MARK!r}, "w").close()
def rows(split):
    return []
"""


def by_override(spec: dict[str, Any], name: str) -> str:
    spec["tasks"] = {TASK: PROGRAM}
    return name


def by_nested_override(spec: dict[str, Any], name: str) -> str:
    spec["tasks"] = {TASK: {"data": {"python": "os:system", "test_split": f"touch {MARK}"}}}
    return name


def by_row(spec: dict[str, Any], name: str) -> str:
    spec["targets"] = [{"task": TASK, **PROGRAM}]
    return name


def by_file(spec: dict[str, Any], name: str) -> str:
    """A task that an earlier unpacking left on this machine."""
    folder = Path("runs/left")
    folder.mkdir(parents=True)
    (folder / "own.py").write_text(CODE)
    written = load_task(TASK).path
    assert written is not None
    text = written.read_text("utf-8").replace("sotu_writing:rows", "own:rows")
    (folder / "mine.yaml").write_text(text)
    spec["targets"] = ["runs/left/mine.yaml"]
    return "runs/left/mine.yaml"


def write(path: Path, way: Callable[[dict[str, Any], str], str]) -> CellRecord:
    """A run directory, sealed like any other, whose matrix or record asks for a program to be run."""
    spec: dict[str, Any] = {"summary": "Nice results.", "models": ["m"], "targets": [TASK], "tasks": {}}
    name = way(spec, TASK)
    target = {**target_inputs(TASK, load_task(TASK).spec, {}), "name": name}
    inputs = {"version": EVAL_VERSION, "model": {}, "train": None, "target": target, "data": "0" * 64}
    inputs |= {"engine": "transformers", "seed": 0}
    run, identity = RunDir(path), canonical_digest(inputs)
    cell, labels = run.cell("eval", identity), Labels(model="m", target=name, seed=0)
    texts = [{"id": f"test/u{n}/0", "user": f"u{n}", "question": "q", "response": "r"} for n in range(3)]
    cell.begin()
    cell.append([{**text, "reference": "r", "finish_reason": "stop"} for text in texts])
    values = [0.5, 0.6, 0.7]
    users = [text["user"] for text in texts]
    cell.write_scores(Scores(ids=[text["id"] for text in texts], clusters=users, scores={"rougeL": values}))
    record = CellRecord(
        kind="eval",
        identity=identity,
        inputs=inputs,
        status="done",
        labels=labels,
        headline="rougeL",
        metrics={"rougeL": mean_metric(values, users, "rougeL")},
        counts={"samples": 3},
        seconds=1.0,
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:00:01Z",
        environment={},
        command="perbench run",
    )
    cell.finish(record)
    run.describe(matrix="m", spec=spec, command="perbench run", started="2026", cells={identity: labels})
    return record


@pytest.mark.parametrize("form", ["run", "pack", "published"])
@pytest.mark.parametrize(
    "way", [by_override, by_nested_override, by_row, by_file], ids=lambda way: way.__name__
)
def test_reading_results_executes_nothing_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[dict[str, Any], str], str], form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("theirs")
    record = write(run, way)
    shown = run
    if form == "pack":
        shown = Path("theirs.zip")
        members: dict[str, bytes | Path] = {
            f"run/{path.relative_to(run).as_posix()}": path for path in run.rglob("*.json*")
        }
        manifest = Manifest(run="theirs", perbench="0", weights=False, matrices=[], plugins=[], data=[])
        write_archive(shown, members, manifest.model_dump(mode="json"))
    if form == "published":
        shown = Path("published")
        assert cli.main(["leaderboard", "add", str(run), "--samples", "--out", str(shown)]) == 0
        (file,) = shown.iterdir()
        assert json.loads(file.read_text())["matrices"]["m"]["targets"]
        cli.main(["leaderboard", "check", str(shown)])
    assert cli.main(["leaderboard", "build", str(shown), "--out", "site"]) == 0
    assert cli.main(["leaderboard", "show", str(shown)]) == 0
    assert (Path("site/cells") / f"{record.identity[:16]}.html").is_file()
    if form == "run":
        for command in (["verify"], ["samples"], ["rescore"]):
            cli.main([*command, str(run)])
        cli.main(["samples", str(run), "--worst", "1"])
    assert not list(tmp_path.rglob(MARK))
