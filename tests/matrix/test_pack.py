"""A run is packed, read in its pack, and repeated from it where nothing else of it is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from perbench import cli, plugins
from perbench.disk.digests import read_sha256
from perbench.errors import PerbenchError
from perbench.matrix.cells import describe
from perbench.pack.compare import repeated
from perbench.pack.write import write_pack
from perbench.site.load import load
from perbench.store import RunDir
from perbench.store.pack import Pack
from tests.matrix.conftest import Root
from tests.matrix.packing import TRAINER, Packed, differing, fill, not_shared, texts_of, tree
from tests.matrix.runs import Runs


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
