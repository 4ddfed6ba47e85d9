"""A third party adds one of everything, a file each, without a change of perbench: in a folder and as a pip
package, checked, run on a small model, shown on page and terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.cli import main
from perbench.specs.load import load_task
from tests.site.pages import Site

PACKAGE = Path(__file__).parents[1] / "third_party" / "perbench_extra"
ADDED = {
    "trainer": ["halved_ce"],
    "identifier": ["long_words"],
    "protocol": ["likeliest", "tact"],
    "metric": ["agreement", "agreement_f1", "edits"],
    "ranking": ["longest"],
    "summariser": ["asked"],
    "decoding": ["halfway"],
    "source": ["sheet"],
    "engine": ["parrot"],
    "rubric": ["tactful"],
    "section": ["slowest"],
    "executor": ["loud"],
    "task": ["quiz/colours", "quiz/name", "quiz/tact", "quiz/told"],
    "model": ["polly"],
    "reported": ["parrots"],
}
MATRIX = """
summary: everything of a third party
models: [TINY]
trainers: [{name: halved_ce, params: {factor: 0.25}}]
sources: [quiz/told]
targets: [quiz/told, quiz/colours, quiz/tact, identification/persona_qa]
identifiers: [long_words]
tasks: {quiz/tact: {tact.judge.model: TINY}}
training: {epochs: 1, lora: {rank: 4}}
"""


def test_it_is_one_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_INCLUDE", str(PACKAGE))
    found = [key for key, plugin in plugins.discover().items() if PACKAGE in plugin.path.parents]
    assert found == sorted((kind, name) for kind, names in ADDED.items() for name in names)
    assert plugins.KINDS.keys() - ADDED == {"family", "matrix"}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in ADDED.items() for name in names])
def test_each_keeps_its_contract(kind: str, name: str) -> None:
    assert main(["check", kind, name, "--include", str(PACKAGE)]) == 0


def test_it_runs_and_is_shown_the_same_from_a_folder_and_installed(
    tiny_model_dir: Path, third_party_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX.replace("TINY", str(tiny_model_dir)), encoding="utf-8")
    folder = _run(tmp_path, "folder", {**os.environ, "PERBENCH_INCLUDE": str(PACKAGE)})
    package = _run(tmp_path, "package", third_party_env)
    assert folder.keys() == package.keys()
    _look_at([*folder.values()])


def _run(folder: Path, how: str, environment: dict[str, str]) -> dict[str, Any]:
    """The records by identity, once page and terminal have been looked at."""

    def perbench(*words: str) -> tuple[str, str]:
        own = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PERBENCH_CACHE": str(folder / "cache")}
        command = [sys.executable, "-m", "perbench", *words]
        done = subprocess.run(command, env=environment | own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    matrix, out = str(folder / "m.yaml"), folder / how
    _, told = perbench("run", "--matrix", matrix, "--executor", "loud", "--out", str(out), "--limit", "3")
    assert told.count("LOUD w1\n") == 1
    perbench("leaderboard", "build", str(out), "--out", str(out / "site"))
    shown, _ = perbench("leaderboard", "show", str(out))
    site = Site(out / "site")
    for word, page in {
        "halved_ce": "index",
        "quiz/ told": "index",
        "edits": "index",
        "long_words": "identification",
        "tactful": "index",
        "slowest cell": "slowest",
        "Parrots Table 1": "reported",
    }.items():
        assert word in site.pages[page].text
        assert word.replace("/ ", "/") in shown
    drawn = [chart.attributes.get("aria-label") or "" for chart in site.pages["slowest"].all("svg")]
    assert [label for label in drawn if label.startswith("all cells. seconds over cell")]
    records = [json.loads(file.read_text("utf-8")) for file in out.glob("cells/*/cell.json")]
    return {record["identity"]: record for record in records}


def _look_at(cells: list[dict[str, Any]]) -> None:
    assert {cell["status"] for cell in cells} == {"done"}
    by_target: dict[str | None, list[dict[str, Any]]] = {}
    for cell in cells:
        by_target.setdefault(cell["labels"]["target"], []).append(cell)
    assert {name: len(found) for name, found in by_target.items()} == {
        None: 1,  # the training
        "quiz/told": 2,
        "quiz/colours": 2,
        "quiz/tact": 2,
        "identification/persona_qa": 1,
    }
    for cell in by_target["quiz/told"]:
        assert cell["better"] == {"edits": "lower"}
        assert cell["counts"]["summaries"] == 3
        assert cell["metrics"]["edits"]["n"] == 3
    for cell in by_target["quiz/tact"]:
        assert cell["better"] == {"blunt": "lower"}


@pytest.mark.parametrize(
    ("kind", "name", "task"),
    [
        ("protocol", "likeliest", "quiz/colours"),
        ("ranking", "longest", "quiz/told"),
        ("summariser", "asked", "quiz/told"),
        ("decoding", "halfway", "quiz/told"),
    ],
)
def test_cells_carry_the_digest_of_its_code(
    kind: str, name: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perbench.matrix.identity import target_inputs

    root = shutil.copytree(PACKAGE, tmp_path / "root")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(root))
    file = plugins.get(kind, name).path
    inputs = []
    for _ in range(2):
        inputs.append(target_inputs(task, load_task(task).spec, {"polly": {}}))
        assert plugins.get(kind, name).digest() in json.dumps(inputs[-1])
        file.write_text(file.read_text("utf-8") + "\n# an edit\n", encoding="utf-8")
    assert inputs[0] != inputs[1]
