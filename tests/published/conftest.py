"""A real finished run, its published files, and ways to forge them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perbench import cli, plugins
from perbench.disk.digests import canonical_digest
from perbench.disk.sealed import seal
from perbench.matrix.publish import publish
from perbench.published.form import file_name, text_of
from perbench.published.shape import Published
from tests.golden.planned import HERE, make_root

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of tests/golden, its root, and the files published from it, with samples. Of its
    tasks only probe/writing is redistributable; in whole/ are files that hold the samples of all."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(HERE / "finished", folder / "finished")
    task = make_root(folder / "root") / "tasks" / "probe" / "writing.yaml"
    task.write_text(task.read_text("utf-8").replace("\nnotes:", "\nredistributable: true\nnotes:"), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        _environment(patch, folder)
        assert cli.main(["rescore", str(folder / "finished"), "--json"]) == 0
        publish(folder / "finished", folder / "published", samples=True)
        patch.setattr("perbench.matrix.publish.withheld", lambda record, matrices: None)
        publish(folder / "finished", folder / "whole", samples=True)
    plugins.discover()
    return folder


def _environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("PERBENCH_CACHE", str(folder / "cache"))
    patch.setenv("PERBENCH_INCLUDE", str(folder / "root"))


@pytest.fixture(autouse=True)
def environment(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    _environment(monkeypatch, kept)
    monkeypatch.chdir(tmp_path)
    yield
    monkeypatch.undo()
    plugins.discover()  # looks at the roots anew


@pytest.fixture
def run(kept: Path) -> Path:
    """Not to be written to."""
    return kept / "finished"


@pytest.fixture
def files(kept: Path, tmp_path: Path) -> Path:
    """Published files to forge."""
    return Path(shutil.copytree(kept / "published", tmp_path / "published"))


def one_of(folder: Path, words: str) -> Path:
    (found,) = folder.glob(f"*{words}*.json")
    return found


def forge(path: Path, edit: Edit) -> Path:
    """Change a file as one who knows the format: seals, digests and, if the content can be named, the name
    are made to fit again."""
    value = json.loads(path.read_bytes())
    edit(value)
    for part in ("cells", "trainings"):
        for cell in value.get(part, []):
            for place, sample in enumerate(cell.get("samples") or []):
                identity = cell["record"]["identity"]
                cell["digests"][place] = canonical_digest([identity, place, sample])
        value[part] = [seal(cell) for cell in value.get(part, [])]
    text = text_of(value)
    path.write_text(text, "utf-8")
    try:
        return path.rename(path.with_name(own_name(text)))
    except (ValueError, IndexError):
        return path


def own_name(text: str) -> str:
    found = Published.model_validate_json(text)
    cell = (found.cells or found.trainings)[0]
    return file_name(cell.record, found.training_of(cell))


def reidentified(record: dict[str, Any], **inputs: Any) -> None:
    """Give a record other inputs, and the identity that belongs to them."""
    record["inputs"] |= inputs
    record["identity"] = canonical_digest(record["inputs"])
