"""A third party's metric and protocol, one file each: names, faults by line, a run, resuming."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perbench import plugins
from perbench.conformance.protocol import MemoryStore
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import SpecError
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task

ROOT = Path(__file__).parents[1] / "owner_root"


@pytest.fixture(autouse=True)
def included(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_INCLUDE", str(ROOT))


def test_names_are_read_without_importing() -> None:
    assert {"accuracy", "macro_f1", "rouge1", "rougeL"} <= set(plugins.names("metric"))
    assert "choice" in plugins.names("protocol")
    code = (
        "import sys; from perbench.cli import main; main(['ls']); "
        "assert not {'torch', 'transformers', 'pydantic', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_faults_of_its_section_are_told_by_line(tmp_path: Path) -> None:
    text = (ROOT / "tasks/quiz/colours.yaml").read_text("utf-8")
    file = tmp_path / "wrong.yaml"
    file.write_text(text.replace("options: options}", "option: options, length: max}"), encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_task(file)
    line = text.splitlines().index("choice: {options: options}") + 1
    assert {str(one).partition(": ")[0] for one in error.value.problems} == {f"{file}:{line}"}
    assert "unknown key 'option' in choice. Did you mean 'options'" in str(error.value)
    file.write_text(text + "sampling: {temperature: 0.0}\n", encoding="utf-8")
    with pytest.raises(SpecError, match="sampling: has no reader under protocol choice; remove it"):
        load_task(file)


def test_it_runs_and_resumes(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(tiny_model_dir, dtype="float32")

    class Engines:
        subject, users = engine, None

    task = load_task("quiz/colours")
    data = load_examples(task, "test")
    owner, whole = owner_of(task.spec), MemoryStore()
    tokens = owner.run(data, Engines(), whole, planned=owner.sample_ids(data), seed=0, tick=lambda *_: None)  # type: ignore[arg-type]
    for fuse in (0, 3, 8, 19):
        store = MemoryStore(fuse=fuse)
        with pytest.raises(MemoryStore.Killed):
            owner.run(data, Engines(), store, planned=owner.sample_ids(data), seed=0, tick=lambda *_: None)  # type: ignore[arg-type]
        store.fuse = None
        assert (
            owner.run(data, Engines(), store, planned=owner.sample_ids(data), seed=0, tick=lambda *_: None)
            == tokens
        )  # type: ignore[arg-type]
        assert store.rows == whole.rows
    assert set(owner.score(whole.rows).metrics) == {"accuracy", "margin"}


def test_its_cells_carry_its_digest(tiny_model_dir: Path, tmp_path: Path) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(
        f"summary: s\nmodels: [{tiny_model_dir}]\ntargets: [quiz/colours, quiz/name]\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "perbench", "run", "--matrix", str(matrix), "--out", str(tmp_path / "o")]
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True)
    cells = {one["labels"]["target"]: one for one in json.loads(done.stdout)["cells"]}
    assert {name: one["status"] for name, one in cells.items()} == {
        "quiz/colours": "done",
        "quiz/name": "done",
    }
    assert cells["quiz/name"]["headline"] == "accuracy"
    record = next((tmp_path / "o" / "cells").glob(f"eval-{cells['quiz/colours']['identity'][:16]}/cell.json"))
    target = json.loads(record.read_text("utf-8"))["inputs"]["target"]
    assert target["plugin"] == plugins.get("protocol", "choice").digest()
    assert target["choice"] == {"options": "options", "length": "mean"}
