"""What a pack holds of what was given by file, and what its matrices may name."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from perbench import cli, plugins
from perbench.disk.archive import write_archive
from perbench.pack.public import public_yaml
from perbench.pack.write import write_pack
from perbench.store.pack import Manifest, PackedMatrix
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs

TASK_FILE = plugins.get("task", "embedded/sotu_writing").path.read_text("utf-8")
SMUGGLED: dict[str, bytes | Path] = {
    "plugins/1/task.yaml": TASK_FILE.replace("sotu_writing:rows", "own:rows").encode(),
    "plugins/1/own.py": b"open('evil', 'w').close()\ndef rows(split):\n    return []\n",
    "plugins/1/model.yaml": b"summary: m\nendpoint: {model: m, base_url: 'http://127.0.0.1:9/v1'}\n",
}
"""Files that the manifest does not list as plugins."""


def bare(path: Path, **matrices: dict[str, Any]) -> Path:
    """A pack of matrices that never ran."""
    members: dict[str, bytes | Path] = {"run/run.json": b"{}", **SMUGGLED}
    packed = []
    for name, spec in matrices.items():
        members[f"resolved/matrices/{name}.yaml"] = json.dumps({"summary": "Odd.", **spec}).encode()
        packed.append(PackedMatrix(name=name, file=f"resolved/matrices/{name}.yaml", command=""))
    manifest = Manifest(run="bare", perbench="0", weights=False, matrices=packed, plugins=[], data=[])
    write_archive(path, members, manifest.model_dump(mode="json"))
    return path


ORIGINS = {
    "a program": {"tasks": {"TASK": {"data.python": "os:system", "data.test_split": "touch evil"}}},
    "a file": {"tasks": {"TASK": {"data": {"files": "/etc/passwd"}}}},
    "a task by its file": {"targets": ["runs/bare/pack/plugins/1/task.yaml"]},
    "a model by its file": {"models": ["runs/bare/pack/plugins/1/model.yaml"]},
    "a simulator by its file": {
        "targets": ["embedded/dialogue"],
        "tasks": {"embedded/dialogue": {"dialogue.simulator.model": "runs/bare/pack/plugins/1/model.yaml"}},
    },
    "a row": {"targets": [{"task": "TASK", "data.python": "os:system", "data.test_split": "touch evil"}]},
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_matrix_of_a_pack_names_neither_files_nor_programs(
    tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    task = "embedded/sotu_writing"
    spec = {"models": ["smollm2-135m"], "targets": [task]}
    spec |= json.loads(json.dumps(ORIGINS[origin]).replace("TASK", task))
    pack = bare(tmp_path / "bare.zip", odd=spec)
    assert cli.main(["run", "--from", str(pack), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert "resolved/matrices/odd.yaml" in error
    assert f"--set tasks.{task}.data." in error or "plugins/1/" in error
    assert not list(tmp_path.rglob("evil"))


def test_a_matrix_is_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"models": ["smollm2-135m"], "targets": ["embedded/sotu_writing"]}
    pack = bare(tmp_path / "bare.zip", first=spec, second=spec)
    out = ["--out", str(tmp_path / "out")]
    assert cli.main(["run", "--from", str(pack), *out]) == 2
    assert "first, second" in capsys.readouterr().err
    assert cli.main(["run", "--from", str(pack), "--matrix", "secnd", *out]) == 2
    assert "Did you mean 'second'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_pack_and_a_missing_matrix_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--from", str(tmp_path / "none.zip")]) == 2
    assert f"{tmp_path / 'none.zip'}: no such file" in capsys.readouterr().err
    assert cli.main(["run"]) == 2
    assert "--matrix" in capsys.readouterr().err
    assert cli.main(["verify", str(bare(tmp_path / "bare.zip"))]) == 2
    assert "perbench run --from" in capsys.readouterr().err


def test_what_was_given_by_its_file_gets_a_name(
    root: Root, runs: Runs, tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix, a task and a model's folder, outside of every root."""
    own, made = tmp_path / "own", tmp_path / "made"
    own.mkdir()
    root.task("writing", license="CC-BY-4.0", redistributable=True)
    shutil.copytree(root.path / "data" / "writing", own / "rows")
    task = (root.path / "tasks" / "tiny" / "writing.yaml").read_text()
    (own / "mine.yaml").write_text(task.replace("../../data/writing", "rows"))
    shutil.copytree(tiny_model_dir, own / "small")
    matrix = {"summary": "By file.", "models": [str(own / "small")], "targets": [str(own / "mine.yaml")]}
    (own / "matrix.yaml").write_text(json.dumps(matrix))
    monkeypatch.setenv("PERBENCH_INCLUDE", "")
    env = {"PERBENCH_INCLUDE": ""}
    words = ("run", "--matrix", str(own / "matrix.yaml"), "--out", str(made))
    code, _, errors = runs(root.path, *words, env=env)
    assert code == 0, errors
    written = write_pack(made, tmp_path / "made.zip")
    assert "plugins/1/tasks/mine.yaml" in written.members
    assert "plugins/1/tasks/rows/test.jsonl" in written.members
    assert any("model small was a folder" in note for note in written.manifest.notes)
    with zipfile.ZipFile(written.path) as archive:
        for name in ("run/run.json", written.manifest.matrices[0].file):
            assert str(own) not in json.dumps(json.loads(archive.read(name)).get("matrices", "")), name
        assert archive.read(str(written.manifest.matrices[0].written)) == (own / "matrix.yaml").read_bytes()
    for name in ("mine.yaml", "rows", "matrix.yaml"):
        (own / name).rename(own / f"{name}.gone")
    again = ("run", "--from", str(written.path), "--out", str(tmp_path / "again"))
    code, _, errors = runs(root.path, *again, "--set", f"models=[{own / 'small'}]", env=env)
    assert code == 2
    assert "pack/plugins/1/tasks/mine.yaml  sha256" in errors
    include = ("--include", str(tmp_path / "again" / "pack" / "plugins" / "1"))
    code, _, errors = runs(root.path, *again, *include, env=env)
    assert code == 2
    assert "unknown model 'small'" in errors
    code, _, errors = runs(root.path, *again, *include, "--set", f"models=[{own / 'small'}]", env=env)
    assert code == 0, errors
    assert "1 cell reused; to do: 0 train, 0 evaluate" in errors


def test_the_address_of_a_server_is_not_packed(root: Root, tmp_path: Path) -> None:
    endpoint = {"model": "m", "base_url": "http://10.1.2.3:8000/v1", "api_key_env": "MY_KEY"}
    path = root.write("leaderboard/models/far", {"summary": "A server.", "endpoint": endpoint})
    content = public_yaml(path)
    assert content is not None
    assert b"10.1.2.3" not in content
    assert json.loads(content)["endpoint"] == {"model": "m", "api_key_env": "MY_KEY"}
    assert public_yaml(root.path / "leaderboard" / "models" / "tiny.yaml") is None
