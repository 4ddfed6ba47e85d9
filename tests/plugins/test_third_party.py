"""A third party's plugins: pip-installed with an entry point, and in a plain folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perbench import cli

PACKAGE = Path(__file__).parents[1] / "third_party" / "perbench_extra"


def perbench(*words, env=None):
    return subprocess.run(
        [sys.executable, "-m", "perbench", *map(str, words)],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )


def listed(done):
    assert done.returncode == 0, done.stderr
    return {(row["kind"], row["name"]): row for row in json.loads(done.stdout)}


def test_an_installed_package_is_a_root(third_party_env):
    target = third_party_env["PYTHONPATH"]
    rows = listed(perbench("ls", "--json", env=third_party_env))
    assert rows["trainer", "halved_ce"]["summary"] == "Cross-entropy times a factor."
    assert rows["identifier", "long_words"]["path"].startswith(target)
    assert ("trainer", "ce") in rows
    shown = perbench("show", "trainer", "halved_ce", "--json", env=third_party_env)
    assert json.loads(shown.stdout)["hyperparameters"][0]["default"] == 0.5
    assert ("trainer", "halved_ce") not in listed(perbench("ls", "--json"))


def test_a_plain_folder_is_a_root(tmp_path):
    rows = listed(perbench("ls", "--json", "--include", PACKAGE))
    assert {("trainer", "halved_ce"), ("identifier", "long_words")} <= set(rows)
    shown = perbench("--include", PACKAGE, "show", "identifier", "long_words")
    assert "threshold: float, default 6.0" in shown.stdout


def test_both_at_once_is_a_duplicate_that_names_both_files(third_party_env):
    done = perbench("ls", "--include", PACKAGE, env=third_party_env)
    assert done.returncode == 2
    assert "two files define trainer 'halved_ce'" in done.stderr
    assert str(PACKAGE / "trainers" / "halved_ce.py") in done.stderr
    assert third_party_env["PYTHONPATH"] in done.stderr


def broken(folder, value, files):
    """An installed package in `folder` that announces the root `value`."""
    info = folder / "broken-1.0.dist-info"
    files = {
        **files,
        f"{info.name}/METADATA": "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n",
        f"{info.name}/entry_points.txt": f"[perbench.roots]\nmine = {value}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "files", "said"),
    [
        ("gone_package", {}, "'gone_package' is not an importable package"),
        ("raises.inner", {"raises/__init__.py": "1 / 0"}, "cannot find 'raises.inner': ZeroDivisionError"),
        ("empty_package", {"empty_package/__init__.py": ""}, "empty_package has none of the folders tasks"),
    ],
)
def test_a_broken_installation_is_named_and_breaks_nobody_else(tmp_path, monkeypatch, value, files, said):
    broken(tmp_path, value, files)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = perbench("ls", "trainers", "--json")
    assert ("trainer", "ce") in listed(done)
    assert "entry point mine of broken" in done.stderr
    assert said in done.stderr
    unknown = perbench("show", "trainer", "mine")
    assert unknown.returncode == 2
    assert said in unknown.stderr


def test_a_broken_installation_makes_validation_fail(tmp_path, monkeypatch, capsys):
    broken(tmp_path, "gone_package", {})
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["validate"]) == 2
    assert "'gone_package' is not an importable package" in capsys.readouterr().err
