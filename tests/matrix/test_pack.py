"""A run is packed, read in its pack, and repeated from it where nothing else of it is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from perbench import cli, plugins
from perbench.disk.archive import write_archive
from perbench.disk.digests import read_sha256
from perbench.errors import PerbenchError
from perbench.matrix.cells import describe
from perbench.pack.compare import repeated
from perbench.pack.public import public_yaml
from perbench.pack.write import write_pack
from perbench.site.load import load
from perbench.store import RunDir
from perbench.store.pack import Manifest, Pack, PackedMatrix
from tests.matrix.conftest import Root
from tests.matrix.runs import Runs

TRAINER = '''"""Cross-entropy, times a factor of another file."""

import os
from pathlib import Path

from perbench.api import Trainer

from .shared import FACTOR

if place := os.environ.get("IMPORTED"):
    Path(place).touch()


class Doubled(Trainer):
    def loss(self, batch):
        logp = batch.factual.logp
        return -FACTOR * logp, logp.new_ones(logp.shape)
'''
METRIC = '''"""The share of vowels."""

from perbench.contracts.metric import UNIT, Measured, TextMetric, mean_metric


class Vowels(TextMetric):
    scale = UNIT

    def measure(self, name, texts):
        values = [sum(c in "aeiou" for c in one) / max(1, len(one)) for one in texts.predictions]
        return Measured(mean_metric(values, texts.clusters, "vowels"), values)
'''


def tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def differing(one: Path, other: Path) -> set[str]:
    """The files in which two sites differ."""
    first, second = tree(one), tree(other)
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


@dataclass
class Packed:
    """A finished run, its pages and its pack; `root`: tasks and a model, `extra`: a trainer and a metric."""

    root: Root
    extra: Root
    run: Path
    site: Path
    pack: Path


def fill(root: Root, extra: Root) -> None:
    extra.path.mkdir()
    extra.trainer("doubled", TRAINER)
    extra.trainer("shared", "FACTOR = 2.0\n")
    extra.trainer("unused", TRAINER.replace("Doubled", "Unused"))
    (extra.path / "metrics").mkdir()
    (extra.path / "metrics" / "vowels.py").write_text(METRIC)
    root.task("writing", license="CC-BY-4.0", redistributable=True)
    root.task("other", license="Not stated")
    root.matrix(
        trainers=["ce", "doubled"],
        targets=["tiny/writing", "tiny/other"],
        identifiers=[],
        tasks={name: {"metrics": ["rouge1", "vowels"]} for name in ("tiny/writing", "tiny/other")},
        training={"epochs": 1.0, "batch_size": 3, "learning_rate": 0.005, "precision": "fp32"},
    )


def not_shared(cell: Path) -> bool:
    return bool(json.loads((cell / "cell.json").read_text())["labels"]["target"] == "tiny/other")


def texts_of(cells: set[str]) -> set[str]:
    """The files of a site that hold or list samples of these cells, all on one target."""
    own = {file for name in cells for file in (f"cells/{name}.html", f"data/samples/{name}.js")}
    return {*own, "data/samples/target-1.js", "data/samples/cells.js", "files.json"}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run is kept that all tests copy."""
    return tmp_path_factory.mktemp("packed")


@pytest.fixture
def packed(root: Root, runs: Runs, tmp_path: Path, once: Path, monkeypatch: pytest.MonkeyPatch) -> Packed:
    extra = Root(tmp_path / "extra")
    fill(root, extra)
    monkeypatch.setenv("PERBENCH_INCLUDE", os.pathsep.join(map(str, (root.path, extra.path))))
    if not (once / "made.zip").exists():
        words = ("run", "--matrix", "small", "--out", str(once / "made"), "--limit", "4")
        code, _, errors = runs(root.path, *words, env={"PERBENCH_INCLUDE": os.environ["PERBENCH_INCLUDE"]})
        assert code == 0, errors
        assert cli.main(["leaderboard", "build", str(once / "made"), "--out", str(once / "site")]) == 0
        assert cli.main(["pack", str(once / "made"), "--out", str(once / "made.zip")]) == 0
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return Packed(root, extra, tmp_path / "made", tmp_path / "site", tmp_path / "made.zip")


def repeat(runs: Runs, packed: Packed, fresh: Path, *words: str, **env: str) -> tuple[int, str]:
    """`run --from` on a machine that has only the pack."""
    out = ("--out", str(fresh / "again"))
    code, _, errors = runs(
        fresh / "none", "run", "--from", str(packed.pack), *out, *words, env={"PERBENCH_INCLUDE": "", **env}
    )
    return code, errors


def here(packed: Packed) -> tuple[str, ...]:
    """Options of somebody who has the plugins."""
    return ("--include", str(packed.root.path), "--include", str(packed.extra.path))


def test_a_run_is_repeated_from_its_pack_alone(
    packed: Packed, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = packed.root.path / "data" / "other"
    kept = {path.name: path.read_bytes() for path in rows.iterdir()}
    before = tree(packed.run)
    shutil.rmtree(packed.extra.path)
    shutil.move(packed.run, tmp_path / "elsewhere")
    fresh = tmp_path / "fresh"
    fresh.mkdir()

    # read
    monkeypatch.setenv("PERBENCH_INCLUDE", str(packed.root.path))
    assert cli.main(["leaderboard", "build", str(packed.pack), "--out", str(fresh / "site")]) == 0
    other = {
        folder.name[5:] for folder in (tmp_path / "elsewhere").glob("cells/eval-*") if not_shared(folder)
    }
    assert differing(fresh / "site", packed.site) == texts_of(other)
    for name in other:
        assert (
            "not redistributable (license: Not stated)" in (fresh / "site/cells" / f"{name}.html").read_text()
        )
    shutil.rmtree(packed.root.path)
    monkeypatch.delenv("PERBENCH_INCLUDE")

    # its code is listed, and not executed
    mark = fresh / "imported"
    code, errors = repeat(runs, packed, fresh, IMPORTED=str(mark))
    assert code == 2
    found = fresh / "again" / "pack" / "plugins"
    (place,) = (file.parents[2] for file in found.glob("*/tasks/tiny/writing.yaml"))
    (other,) = (file.parents[1] for file in found.glob("*/metrics/vowels.py"))
    for file in (
        other / "trainers/doubled.py",
        other / "trainers/shared.py",
        place / "tasks/tiny/writing.yaml",
    ):
        assert f"{file}  sha256 {read_sha256(file)[:12]}" in errors
    assert f"--include {found / '1'} --include {found / '2'}" in errors
    assert not mark.exists()
    assert "unused" not in errors

    # texts that may not be shared are asked for
    include = ("--include", str(place), "--include", str(other))
    code, errors = repeat(runs, packed, fresh, *include)
    assert code == 2
    assert "tiny/other" in errors
    assert "to get the examples of tiny/other: no command gets them" in errors
    for name, content in kept.items():
        (place / "data" / "other").mkdir(exist_ok=True)
        (place / "data" / "other" / name).write_bytes(content)

    # what is there is reused, what is not is run
    code, errors = repeat(runs, packed, fresh, *include, IMPORTED=str(mark))
    assert code == 0, errors
    assert "8 cells reused; to do: 0 train, 0 evaluate, 0 identify" in errors
    assert mark.exists()
    cells = fresh / "again" / "cells"
    gone = [
        folder.name
        for folder in sorted(cells.iterdir())
        if json.loads((folder / "cell.json").read_text())["labels"]["trainer"] == "doubled"
        and folder.name.startswith("eval")
    ]
    assert len(gone) == 2
    for name in gone:
        shutil.rmtree(cells / name)
    code, errors = repeat(runs, packed, fresh, *include)
    assert code == 0, errors
    assert "to do: 1 train, 2 evaluate" in errors  # its weights are not in the pack
    assert "3 cells of the pack repeated: 3 equal to it, 0 not" in errors
    for name in gone:
        for file in ("samples.jsonl", "scores.json"):
            assert (cells / name / file).read_bytes() == before[f"cells/{name}/{file}"]


def test_texts_that_may_not_be_shared_are_in_no_file_of_the_pack(packed: Packed) -> None:
    pack = Pack(packed.pack)
    assert [(one.task, one.cells) for one in pack.manifest.withheld] == [("tiny/other", 3)]
    named = {name: pack.archive.read(name) for name in pack.archive.members}
    shown = {name for name, content in named.items() if b'"question"' in content and b"sha256" in content}
    assert len(shown) == 3
    answers = []
    for folder in (packed.run / "cells").glob("eval-*"):
        record = json.loads((folder / "cell.json").read_text())
        rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        if record["labels"]["target"] == "tiny/other":
            answers += [row["response"] for row in rows if len(row["response"]) > 8]
            held = json.loads(named[f"run/cells/{folder.name}/samples.withheld.json"])
            assert "Not stated" in held["why"]
            assert held["samples"] == {row["id"]: row["sha256"] for row in rows}
            assert f"run/cells/{folder.name}/samples.jsonl" not in named
    assert answers
    assert not any(answer.encode() in content for answer in answers for content in named.values())
    assert not any("/data/other/" in name for name in named)
    assert any("/data/writing/" in name for name in named)


def test_results_are_published_from_a_pack_as_from_the_run(packed: Packed, tmp_path: Path) -> None:
    for source, out in ((packed.run, "a"), (packed.pack, "b")):
        assert cli.main(["leaderboard", "add", str(source), "--samples", "--out", str(tmp_path / out)]) == 0
    found = tree(tmp_path / "a")
    assert found == tree(tmp_path / "b")
    cells = [cell for content in found.values() for cell in json.loads(content)["cells"]]
    with_texts = {cell["record"]["labels"]["target"] for cell in cells if "samples" in cell}
    assert with_texts == {"tiny/writing"}
    assert all(len(cell["digests"]) == 4 for cell in cells)


def test_withheld_samples_are_told_where_samples_are_read(
    packed: Packed, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again"
    repeat(runs, packed, tmp_path)
    folder = min(path.parent for path in out.glob("cells/*/samples.withheld.json"))
    assert cli.main(["samples", str(folder)]) == 2
    assert "Not stated" in capsys.readouterr().err
    assert cli.main(["verify", str(out)]) == 0
    assert "its samples are not in this copy" in capsys.readouterr().out
    before = tree(folder)
    assert cli.main(["rescore", str(out)]) == 0
    assert "its samples are not in this copy" in capsys.readouterr().err
    assert tree(folder) == before
    (folder / "samples.withheld.json").write_text("{}")
    assert cli.main(["verify", str(out)]) == 2
    assert "samples.withheld.json" in capsys.readouterr().out


def test_the_same_run_gives_the_same_bytes_and_is_not_changed(packed: Packed, tmp_path: Path) -> None:
    before = tree(packed.run)
    write_pack(packed.run, tmp_path / "second.zip")
    assert (tmp_path / "second.zip").read_bytes() == packed.pack.read_bytes()
    assert tree(packed.run) == before


def test_the_manifest_says_what_was_used(packed: Packed) -> None:
    manifest = Pack(packed.pack).manifest
    found = {(one.kind, one.name): one for one in manifest.plugins}
    for name in ("doubled", "ce"):
        assert found["trainer", name].sha256 == plugins.get("trainer", name).digest()
    places = {
        ("trainer", "ce"): None,
        ("trainer", "doubled"): "trainers/doubled.py",
        ("metric", "vowels"): "metrics/vowels.py",
        ("task", "tiny/writing"): "tasks/tiny/writing.yaml",
        ("model", "tiny"): "leaderboard/models/tiny.yaml",
    }
    for key, place in places.items():
        file = found[key].file
        assert (file and re.sub(r"^plugins/[12]/", "", file)) == place
    assert {"protocol", "source", "engine", "ranking", "decoding"} <= {kind for kind, _ in found}
    assert ("trainer", "unused") not in found
    (matrix,) = manifest.matrices
    assert (matrix.name, matrix.limit) == ("small", 4)
    assert matrix.command.startswith("perbench run --matrix small")
    with zipfile.ZipFile(packed.pack) as archive:
        written = packed.root.path / "leaderboard" / "matrices" / "small.yaml"
        assert archive.read(str(matrix.written)) == written.read_bytes()
        assert b"torch==" in archive.read("constraints.txt")
    data = {(one.task, one.split): one for one in manifest.data}
    assert data["tiny/writing", "train"].get == "they are in this pack"
    assert "ask" in data["tiny/other", "test"].get


def test_weights_are_packed_on_request(packed: Packed, runs: Runs, tmp_path: Path) -> None:
    written = write_pack(packed.run, tmp_path / "heavy.zip", weights=True)
    assert sum(name.endswith("adapter_model.safetensors") for name in written.members) == 2
    assert not any("/checkpoint/" in name for name in Pack(packed.pack).archive.members)
    heavy = replace(packed, pack=tmp_path / "heavy.zip")
    fresh, include = tmp_path / "fresh", here(packed)
    fresh.mkdir()
    code, errors = repeat(runs, heavy, fresh, *include)
    assert code == 0, errors
    (cell, *_) = (
        path.parent
        for path in sorted(fresh.glob("again/cells/eval-*/cell.json"))
        if json.loads(path.read_text())["trained_by"]
    )
    shutil.rmtree(cell)
    code, errors = repeat(runs, heavy, fresh, *include)
    assert code == 0, errors
    assert "to do: 0 train, 1 evaluate" in errors
    assert "1 cell of the pack repeated: 1 equal" in errors
    shutil.rmtree(next(packed.run.glob("cells/train-*/checkpoint")))
    with pytest.raises(PerbenchError, match="checkpoint/final is missing"):
        write_pack(packed.run, tmp_path / "other.zip", weights=True)
    assert not (tmp_path / "other.zip").exists()


def test_other_plugins_of_the_same_name_are_told_with_digests(
    packed: Packed, runs: Runs, tmp_path: Path
) -> None:
    file = packed.extra.path / "trainers" / "doubled.py"
    old = read_sha256(file)
    file.write_text(TRAINER + "# changed\n")
    code, errors = repeat(runs, packed, tmp_path, *here(packed))
    assert code == 2
    for part in ("trainer doubled", str(file), read_sha256(file)[:12], old[:12]):
        assert part in errors


def changed_trainer(packed: Packed) -> str:
    file = packed.extra.path / "trainers" / "doubled.py"
    file.write_text(TRAINER + "# changed\n")
    return str(file)


def changed_task(packed: Packed) -> str:
    packed.root.task("writing", sampling={"max_new_tokens": 7, "temperature": 0.7})
    return "sampling.max_new_tokens"


def lost_task(packed: Packed) -> str:
    (packed.root.path / "tasks" / "tiny" / "other.yaml").unlink()
    return "tiny/other"


def damaged_scores(packed: Packed) -> str:
    file = next(packed.run.glob("cells/eval-*/scores.json"))
    file.write_text(file.read_text() + " ")
    return str(file)


def lost_description(packed: Packed) -> str:
    (packed.run / "run.json").unlink()
    return "run.json"


def older_record(packed: Packed) -> str:
    file = next(packed.run.glob("cells/eval-*/cell.json"))
    record = json.loads(file.read_text())
    del record["sha256"]
    file.write_text(json.dumps({**record, "schema_version": 1, "files": {}}))
    return "perbench rescore"


def nothing_finished(packed: Packed) -> str:
    for file in packed.run.glob("cells/*/cell.json"):
        file.unlink()
    return "no finished cells"


FAULTS: list[Callable[[Packed], str]] = [
    *(changed_trainer, changed_task, lost_task, damaged_scores, lost_description, older_record),
    nothing_finished,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_run_that_nobody_could_repeat_is_not_packed(
    packed: Packed, tmp_path: Path, fault: Callable[[Packed], str]
) -> None:
    told = fault(packed)
    with pytest.raises(PerbenchError) as caught:
        write_pack(packed.run, tmp_path / "not.zip")
    assert told in str(caught.value)
    assert not (tmp_path / "not.zip").exists()


def test_unfinished_cells_are_left_to_whoever_repeats_it(packed: Packed, tmp_path: Path) -> None:
    next(packed.run.glob("cells/eval-*/cell.json")).unlink()
    written = write_pack(packed.run, tmp_path / "part.zip")
    assert any("1 planned cell not finished" in note for note in written.manifest.notes)
    assert len(load([tmp_path / "part.zip"]).entries) == 7


def test_a_folder_that_holds_something_else_is_not_unpacked_into(
    packed: Packed, runs: Runs, tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "notes.txt").write_text("mine")
    code, errors = repeat(runs, packed, tmp_path)
    assert code == 2
    assert f"{tmp_path / 'again'} holds something else" in errors
    assert tree(tmp_path / "again") == {"notes.txt": b"mine"}


def test_examples_that_differ_are_told(packed: Packed, runs: Runs, tmp_path: Path) -> None:
    rows = packed.root.path / "data" / "writing" / "test.jsonl"
    rows.write_text(rows.read_text().replace("Once", "Twice"))
    code, errors = repeat(runs, packed, tmp_path, *here(packed), "--dry-run")
    assert code == 0, errors
    assert "the test examples of tiny/writing are not the pack's" in errors
    assert RunDir(tmp_path / "again").description()["plans"].keys() == {"small"}


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


def test_only_a_pack_is_overwritten(
    packed: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path / "notes.txt", tmp_path, tmp_path / "none" / "a.zip"):
        assert cli.main(["pack", str(packed.run), "--out", str(out)]) == 2
        assert f"--out {out}" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert cli.main(["pack", str(packed.run), "--out", str(packed.pack), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "made"


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


def test_a_cell_that_came_out_otherwise_is_told(packed: Packed, runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "again"
    repeat(runs, packed, tmp_path)
    folder = next(path.parent for path in sorted(out.glob("cells/eval-*/samples.jsonl")))
    identity = json.loads((folder / "cell.json").read_text())["identity"]
    cell = RunDir(out).cell("eval", identity)
    samples = cell.samples()
    found = cell.record()
    assert found is not None
    value = found.metrics["rouge1"].model_copy(update={"value": 0.75})
    cell.begin()
    (folder / "samples.jsonl").unlink()
    again = RunDir(out).cell("eval", identity)
    again.append([samples[0], {**samples[1], "response": "other"}, *samples[2:]])
    again.finish(found.model_copy(update={"finished": "2030-01-01T00:00:00Z", "metrics": {"rouge1": value}}))
    first, line = repeated(Pack(packed.pack), out)
    assert "1 cell of the pack repeated: 0 equal to it, 1 not" in first
    for part in (describe("eval", found.labels), "1 of 4 samples", samples[1]["id"], "0.75 here"):
        assert part in line
