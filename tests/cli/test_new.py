"""perbench new: the skeletons run, and their tests pass as written."""

import json
import subprocess
import sys

import pytest

from perbench import cli


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    for kind, name in [
        ("trainer", "my_loss"),
        ("identifier", "my_words"),
        ("task", "flat"),
        ("task", "fam/my_task"),
        ("matrix", "my_matrix"),
        ("matrix", "deep/er"),
    ]:
        assert cli.main(["new", kind, name, "--dir", str(folder)]) == 0
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
    assert "8 passed" in done.stdout


def test_the_plugins_are_listed_and_valid(root, capsys):
    assert cli.main(["ls", "--json", "--include", str(root)]) == 0
    rows = {(row["kind"], row["name"]): row["summary"] for row in json.loads(capsys.readouterr().out)}
    for key in [
        ("trainer", "my_loss"),
        ("identifier", "my_words"),
        ("task", "flat"),
        ("task", "fam/my_task"),
        ("matrix", "my_matrix"),
        ("matrix", "deep/er"),
    ]:
        assert rows[key].startswith(key[1])
    files = [
        str(path)
        for path in root.rglob("*")
        if path.parent.name != "tests" and path.suffix in (".yaml", ".py")
    ]
    assert len(files) == 6
    assert cli.main(["validate", *files]) == 0


def test_nothing_is_overwritten(root, capsys):
    path = root / "trainers" / "my_loss.py"
    before = path.read_text(encoding="utf-8")
    assert cli.main(["new", "trainer", "my_loss", "--dir", str(root)]) == 2
    assert f"{path}, " in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("trainer", "ce", "trainer 'ce' exists"),
        ("trainer", "My-Loss", "write it in lower case"),
        ("trainer", "fam/loss", "is no name of this kind, trainer"),
        ("trainer", "class", "is no name of this kind, trainer"),
        ("task", "../up", "is no name of this kind, task"),
    ],
)
def test_bad_names_are_refused_and_write_nothing(tmp_path, kind, name, said, capsys):
    assert cli.main(["new", kind, name, "--dir", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["new", "trainer", "mine", "--dir", str(tmp_path / "file" / "sub")]) == 2
    said = capsys.readouterr().err
    assert "file/sub/trainers/mine.py: Not a directory; choose another --dir" in said
