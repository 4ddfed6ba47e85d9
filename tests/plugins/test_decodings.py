"""A decoding in one file of a third party: its keys, what it asks of a model, its identity, a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perbench import plugins
from perbench.cli.new import SKELETONS
from perbench.errors import SpecError
from perbench.specs.load import load_task

MATRIX = """
summary: s
models: [MODEL]
targets:
  - {task: my_decoding, as: plain, decoding.method: ordinary}
  - {task: my_decoding, as: steered, decoding: {method: context_steering, lam: -1.0}}
  - {task: my_decoding, as: mixed, decoding.my_decoding.share: [0.0, 1.0]}
"""


@pytest.fixture(autouse=True)
def included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_INCLUDE", str(shutil.copytree(SKELETONS / "decoding", tmp_path / "root")))


def run(tmp_path: Path, model: str, *options: str) -> subprocess.CompletedProcess[str]:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(MATRIX.replace("MODEL", model), encoding="utf-8")
    command = [sys.executable, "-m", "perbench", "run", "--matrix", str(matrix), "--out", str(tmp_path / "o")]
    return subprocess.run([*command, *options], check=False, capture_output=True, text=True)


def test_a_run_decodes_by_it_and_its_digest_enters_identities(tmp_path: Path, tiny_model_dir: Path) -> None:
    assert run(tmp_path, str(tiny_model_dir)).returncode == 0
    inputs: dict[str, dict[str, Any]] = {}
    answers: dict[str, list[str]] = {}
    for file in (tmp_path / "o").glob("cells/*/cell.json"):
        record = json.loads(file.read_text("utf-8"))
        name = record["labels"]["target"].partition("(")[2].rstrip(")")
        inputs[name] = record["inputs"]["target"]
        lines = (file.parent / "samples.jsonl").read_text("utf-8").splitlines()
        answers[name] = [json.loads(line)["response"] for line in lines]
    with_persona, without = (f"mixed, decoding.my_decoding.share={share}" for share in ("0.0", "1.0"))
    assert answers[with_persona] == answers["plain"]
    assert answers[without] == answers["steered"] != answers["plain"]
    assert inputs[without]["decoding"] == {
        "method": "my_decoding",
        "my_decoding": {"share": 1.0},
        "plugin": plugins.get("decoding", "my_decoding").digest(),
    }
    assert inputs["steered"]["decoding"] == {"method": "context_steering", "lam": -1.0}
    assert "decoding" not in inputs["plain"]


def test_a_model_that_only_chats_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "openai/some-model", "--dry-run")
    assert done.returncode == 2
    assert "openai/some-model" in done.stderr


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("method: my_decodin", "decoding.method: got 'my_decodin' (a string). Did you mean 'my_decoding'?"),
        ("method: my_decoding, my_decoding: {share: 2.0}", "decoding.my_decoding.share"),
        ("method: my_decoding, my_decodin: {share: 0.1}", "Did you mean 'my_decoding'?"),
    ],
)
def test_faults_are_told_by_line(tmp_path: Path, keys: str, said: str) -> None:
    text = (tmp_path / "root" / "tasks" / "my_decoding.yaml").read_text("utf-8")
    file = tmp_path / "wrong.yaml"
    file.write_text(text.replace("method: my_decoding", keys), encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_task(file)
    line = text.splitlines().index("decoding: {method: my_decoding}") + 1
    assert any(str(one).startswith(f"{file}:{line}: ") and said in str(one) for one in error.value.problems)
