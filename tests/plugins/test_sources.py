"""A source of rows in one file of a third party: its keys and rows, faults by line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perbench.cli.new import SKELETONS
from perbench.data import load_examples
from perbench.errors import SpecError
from perbench.specs.load import load_task

DATA = "my_source: my_source.csv, lists: [history]"
TASK = (SKELETONS / "source" / "tasks" / "my_source.yaml").read_text("utf-8")


@pytest.fixture(autouse=True)
def included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_INCLUDE", str(shutil.copytree(SKELETONS / "source", tmp_path / "root")))


def test_its_rows_are_read_by_split() -> None:
    found = load_examples(load_task("my_source"), "test")
    assert found.source == {"my_source": "my_source.csv", "split": "test"}
    assert [example.user for example in found.examples] == ["ben"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("my_source: rows.tsv", "data: my_source: must end on .csv"),
        ("my_source: rows.csv, list: [past]", "unknown key 'list' in data. Did you mean 'lists'"),
        ("my_source: rows.csv, config: x", "config: is not used by data.my_source"),
        ("my_source: rows.csv, files: x.jsonl", "(got files, my_source)"),
        ("lm_eval: drop", "data.lm_eval and protocol lm_eval belong together"),
    ],
)
def test_faults_are_told_by_line(tmp_path: Path, keys: str, said: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(TASK.replace(DATA, keys), encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_task(file)
    assert any(str(one).startswith(f"{file}:4: ") and said in str(one) for one in error.value.problems), error


def test_one_that_does_not_load_breaks_the_tasks_that_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, file = tmp_path / "sources" / "sheet.py", tmp_path / "wrong.yaml"
    broken.parent.mkdir()
    broken.write_text("from no_such_module import rows\n", encoding="utf-8")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    file.write_text(TASK.replace(DATA, "sheet: rows"), encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_task(file)
    assert any(str(one).startswith(f"{file}:4: ") and str(broken) in str(one) for one in error.value.problems)
    assert load_task("embedded/sotu_writing").spec.protocol == "generation"
