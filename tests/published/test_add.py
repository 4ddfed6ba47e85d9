"""What `perbench leaderboard add` writes shows the same as the run, and nothing that must stay private."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from perbench import cli, results
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.matrix.publish import publish
from perbench.published import read_published
from perbench.site import build
from perbench.site.data import sections_of
from perbench.site.load import load
from perbench.site.view import SiteView, build_view
from perbench.store import CellRecord, Failure, RunDir, read_records
from perbench.store.check import read_samples, read_scores
from tests.published.conftest import one_of


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pages_of_published_files_are_those_of_the_run(run: Path, kept: Path) -> None:
    build([run], Path("of_run"))
    build([kept / "whole"], Path("of_files"))
    assert len(contents(Path("of_run"))) > 15
    assert contents(Path("of_files")) == contents(Path("of_run"))


def test_without_samples_all_tables_are_those_of_the_run(run: Path) -> None:
    publish(run, Path("files"))
    one, other = (build_view(load([place])) for place in (run, Path("files")))
    assert one.verdict == other.verdict
    assert one.summaries == other.summaries
    assert one.runs == other.runs
    assert numbers(one) == numbers(other)


def numbers(view: SiteView) -> list[dict[str, Any]]:
    """All tables, and charts as tables; a curve over thresholds needs the scores of each token."""
    return [
        table
        for section in sections_of(view)
        for table in section["tables"]
        if table["caption"] != "Precision and recall of tokens"
    ]


def test_files_and_run_together_show_each_cell_once(run: Path, kept: Path) -> None:
    build([run], Path("of_run"))
    build([*sorted((kept / "whole").glob("*.json")), run, kept / "whole"], Path("of_all"))
    assert contents(Path("of_all")) == contents(Path("of_run"))


def test_data_frames_are_those_of_the_run(run: Path, files: Path) -> None:
    one, other = results.load(run), results.load(files)
    assert one.records.equals(other.records[one.records.columns])
    assert one.samples.equals(other.samples)


def test_there_is_a_file_for_each_method_and_target(files: Path) -> None:
    names = [re.sub("--[0-9a-f]{10}.json$", "", path.name) for path in sorted(files.iterdir())]
    assert names == [
        "tiny--base--probe-talk",
        "tiny--base--probe-wishes",
        "tiny--base--probe-writing",
        "tiny--base--probe-writing-swapped",
        "tiny--ce--probe-writing--probe-talk",
        "tiny--ce--probe-writing--probe-wishes",
        "tiny--ce--probe-writing--probe-writing",
        "tiny--ce--probe-writing--probe-writing-swapped",
        "tiny--percontrast--probe-marks",
        "tiny--tfidf--probe-marks",
    ]


def test_adding_again_changes_no_byte(run: Path, files: Path) -> None:
    before = contents(files)
    assert set(publish(run, files, samples=True).files.values()) == {"unchanged"}
    assert contents(files) == before
    assert set(publish(run, Path("other"), samples=True).files.values()) == {"new"}
    assert contents(Path("other")) == before


def test_keys_are_sorted_and_every_list_of_scores_is_one_line(files: Path) -> None:
    path = one_of(files, "base--probe-writing--")
    text = path.read_text("utf-8")
    assert text.index('"cells"') < text.index('"matrices"') < text.index('"trainings"')
    scores = json.loads(text)["cells"][0]["scores"]
    assert f'"rougeL": {json.dumps(scores["scores"]["rougeL"])}' in text


def test_samples_are_those_of_the_run_or_only_their_digests(run: Path, files: Path) -> None:
    given = {}
    for path in files.iterdir():
        for cell in read_published(path).cells:
            folder = next(run.glob(f"cells/*-{cell.record.identity[:16]}"))
            lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text("utf-8").splitlines()]
            assert cell.digests == [line["sha256"] for line in lines]
            if cell.samples is not None:
                assert cell.samples == read_samples(folder, cell.record.identity)
            given[cell.record.labels.target] = cell.samples is not None
    assert given == {
        **dict.fromkeys(("probe/writing", "probe/writing (swapped)"), True),
        **dict.fromkeys(("probe/talk", "probe/wishes", "probe/marks"), False),
    }


def test_no_text_of_a_task_without_permission_is_in_any_file(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leaderboard", "add", str(run), "--out", "out", "--samples", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["digests_only"]
    assert told.keys() == {"probe/talk", "probe/wishes", "probe/marks"}
    assert "Apache-2.0" in told["probe/talk"]
    text = "".join(path.read_text("utf-8") for path in Path("out").iterdir())
    for record, folder in read_records(run):
        if record.labels.target in told:
            for sample in read_samples(folder, record.identity):
                for part in (sample.get("response"), sample.get("message"), sample.get("question")):
                    assert not part or json.dumps(part, ensure_ascii=False) not in text


def test_without_samples_there_is_neither_a_text_nor_a_digest(run: Path) -> None:
    publish(run, Path("out"))
    for path in Path("out").iterdir():
        assert not {"samples", "digests"} & {
            key for cell in json.loads(path.read_bytes())["cells"] for key in cell
        }


def test_data_that_a_matrix_takes_from_elsewhere_are_withheld(run: Path) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    described = json.loads((copy / "run.json").read_bytes())
    spec = described["matrices"]["finished"]
    spec["tasks"]["probe/writing"] |= {"data.files": "mine"}
    RunDir(copy).describe(matrix="finished", spec=spec, command="perbench run", started="2026")
    assert "other data" in publish(copy, Path("out"), samples=True).digests_only["probe/writing"]


def added_seed(run: Path, seed: int, **changes: object) -> CellRecord:
    """A further evaluation of the base model, as with another seed."""
    record, folder = next(
        pair
        for pair in read_records(run)
        if pair[0].trained_by is None and pair[0].labels.target == "probe/writing"
    )
    inputs = {**record.inputs, "seed": seed}
    new = record.model_copy(
        update={
            "inputs": inputs,
            "identity": canonical_digest(inputs),
            "labels": record.labels.model_copy(update={"seed": seed}),
            **changes,
        }
    )
    cell = RunDir(run).cell("eval", new.identity)
    cell.begin()
    if new.status == "failed":
        cell.fail(new)
    else:
        scores = read_scores(folder)
        assert scores is not None
        cell.append(read_samples(folder, record.identity))
        cell.write_scores(scores)
        cell.finish(new)
    return new


def test_seeds_of_several_runs_gather_in_one_file(run: Path, files: Path) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    shutil.rmtree(copy / "cells")
    added_seed(Path(shutil.copytree(run, "whole")), 7)
    record, _ = next(pair for pair in read_records(Path("whole")) if pair[0].labels.seed == 7)
    (copy / "cells").mkdir()
    shutil.copytree(
        f"whole/cells/eval-{record.identity[:16]}", copy / "cells" / f"eval-{record.identity[:16]}"
    )
    path = one_of(files, "base--probe-writing--")
    before = read_published(path)
    assert publish(copy, files).files == {path: "changed"}
    after = read_published(path)
    assert [cell.record.labels.seed for cell in after.cells] == [0, 7]
    assert after.cells[0] == before.cells[0]


def test_a_failed_cell_is_published_without_the_machine_s_paths(run: Path) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    trace = 'File "/home/me/my project/x.py", line 3, in f\n  OSError: /srv/secret/data/rows.jsonl'
    failed = added_seed(
        copy,
        3,
        status="failed",
        metrics={},
        better={},
        command="perbench run --matrix /home/me/m.yaml --data fam=/srv/secret/data",
        error=Failure(type="OSError", message="no /srv/secret/data/rows.jsonl", traceback=trace),
    )
    added = publish(copy, Path("out"))
    assert added.left_out == []
    cell = read_published(one_of(Path("out"), "base--probe-writing--")).cells[1]
    assert cell.record.identity == failed.identity
    assert cell.record.command == "perbench run --matrix [path]/m.yaml --data fam=[path]/data"
    assert cell.record.error is not None
    assert cell.record.error.message == "no [path]/rows.jsonl"
    text = "".join(path.read_text("utf-8") for path in Path("out").iterdir())
    assert not [word for word in ("/home/me", "/srv/secret", "my project") if word in text]


def test_a_training_without_evaluations_has_a_file_of_its_own(run: Path) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    for folder in copy.glob("cells/[ei]*"):
        shutil.rmtree(folder)
    (path,) = publish(copy, Path("out")).files
    assert path.name.startswith("tiny--ce--probe-writing--training--")
    build([copy], Path("of_run"))
    build([Path("out")], Path("of_files"))
    page = Path("of_files/records.html").read_text("utf-8")
    assert page == Path("of_run/records.html").read_text("utf-8")


def test_what_is_damaged_or_lacks_its_training_is_left_out(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, "copy"))
    shutil.rmtree(next(copy.glob("cells/train-*")))
    damaged = next(copy.glob("cells/identify-*/scores.json"))
    damaged.write_text("{}")
    assert cli.main(["leaderboard", "add", str(copy), "--out", "out"]) == 2
    told = capsys.readouterr().err
    assert str(damaged) in told
    assert told.count("the record of its training is missing") == 4
    assert len(list(Path("out").iterdir())) == 5


def test_an_interval_of_an_older_perbench_is_left_out(kept: Path) -> None:
    from tests.golden.planned import HERE

    added = publish(HERE / "finished", Path("out"))
    assert [line for line in added.left_out if "ci_method" in line and "perbench rescore" in line]
    assert not [path for path in added.files if "writing" in path.name]


def test_a_damaged_file_is_not_overwritten(run: Path, files: Path) -> None:
    path = one_of(files, "tfidf")
    path.write_text(path.read_text("utf-8").replace('"seed": 0', '"seed": 1'), "utf-8")
    with pytest.raises(PerbenchError, match=re.escape(str(path))):
        publish(run, files)


def test_only_a_run_can_be_added(files: Path) -> None:
    with pytest.raises(PerbenchError, match="not a run directory"):
        publish(files, Path("out"))


def test_a_file_in_place_of_the_folder_is_named_and_kept(run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(PerbenchError, match=r"taken is a file.*--out FOLDER"):
        publish(run, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
