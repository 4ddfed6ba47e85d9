"""perbench new: the skeletons run, and their tests pass as written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perbench import cli, plugins

NAMES = {kind: f"own_{kind}" for kind in plugins.KINDS} | {"task": "fam/own_task", "matrix": "deep/er"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    for kind, name in NAMES.items():
        assert cli.main(["new", kind, name, "--into", str(folder)]) == 0
    return folder


def test_the_generated_tests_pass(root):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(root / "tests")],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert len(list((root / "tests").iterdir())) >= len(NAMES)


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_a_skeleton_is_listed_and_valid_and_holds_nothing_of_the_skeletons_name(root, kind, capsys):
    assert cli.main(["ls", plugins.KINDS[kind].plural, "--json", "--include", str(root)]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[NAMES[kind]]["summary"]
    assert cli.main(["validate", rows[NAMES[kind]]["path"]]) == 0
    files = [file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert not [
        file for file in files if f"my_{kind}" in file.name or f"my_{kind}" in file.read_text("utf-8")
    ]


def test_the_readme_shows_the_file_that_is_written(tmp_path):
    assert cli.main(["new", "trainer", "my_loss", "--into", str(tmp_path)]) == 0
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert f"```python\n{(tmp_path / 'trainers' / 'my_loss.py').read_text('utf-8')}```" in readme


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_a_skeleton_keeps_its_contract(root, kind):
    assert cli.main(["check", kind, NAMES[kind], "--include", str(root)]) == 0


def test_nothing_is_overwritten(root, capsys):
    path = root / "trainers" / "own_trainer.py"
    before = path.read_text(encoding="utf-8")
    assert cli.main(["new", "trainer", "own_trainer", "--into", str(root)]) == 2
    assert f"{path}, " in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("trainer", "ce", "trainer 'ce' exists"),
        ("trainer", "My-Loss", "write lower-case words"),
        ("trainer", "fam/loss", "cannot be the name of a trainer"),
        ("trainer", "class", "cannot be the name of a trainer"),
        ("task", "../up", "cannot be the name of a task"),
    ],
)
def test_bad_names_are_refused_and_write_nothing(tmp_path, kind, name, said, capsys):
    assert cli.main(["new", kind, name, "--into", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["new", "trainer", "mine", "--into", str(tmp_path / "file" / "sub")]) == 2
    said = capsys.readouterr().err
    assert "file/sub/trainers/mine.py: Not a directory; choose another --into" in said
