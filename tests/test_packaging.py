"""sdist and wheel carry the built-in folders, and an installed wheel finds them."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from perbench.plugins import discover
from perbench.plugins.roots import KINDS

REPOSITORY = Path(__file__).parents[1]


def run(*words, **options):
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True, **options).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """sdist and wheel; the wheel is built from the sdist, so that nothing it needs can be missing there."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, REPOSITORY)
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    run(*pip, target, wheel)
    return target


def test_both_carry_every_built_in_plugin_and_no_leftovers(built):
    (sdist,) = built.glob("*.tar.gz")
    (wheel,) = built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    builtin = [plugin.path.relative_to(REPOSITORY).as_posix() for plugin in discover().values()]
    assert len(builtin) > 5
    carried = [path for path in (REPOSITORY / "tasks").rglob("*") if path.suffix in (".jsonl", ".md")]
    assert len(carried) > 3
    beside = [path.relative_to(REPOSITORY).as_posix() for path in carried]
    for path in [*builtin, *beside, "leaderboard/templates/page.html"]:
        assert path in in_sdist
        assert (path if path.startswith("perbench/") else f"perbench/builtin/{path}") in in_wheel
    assert "perbench/cli/skeletons/trainer/trainers/my_trainer.py" in in_wheel
    assert {"LICENSE", "README.md", "pyproject.toml", "constraints.txt", "Makefile"} <= in_sdist
    tops = {name.partition("/")[0] for name in in_wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"perbench"}
    assert not [
        name for name in in_wheel | in_sdist if "__pycache__" in name or name.startswith((".venv", "runs"))
    ]


def test_an_installed_wheel_finds_its_roots(installed, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(installed)}
    out = run(sys.executable, "-m", "perbench", "ls", "--json", cwd=tmp_path, env=env)
    rows = {(row["kind"], row["name"]): Path(row["path"]) for row in json.loads(out)}
    assert set(rows) == set(discover())
    for (kind, _), path in rows.items():
        inner = KINDS[kind].home or f"builtin/{KINDS[kind].folder}"
        assert path.is_relative_to(installed / "perbench" / inner)
    shown = run(sys.executable, "-m", "perbench", "show", "trainer", "perce", "--json", cwd=tmp_path, env=env)
    assert json.loads(shown)["path"] == str(rows["trainer", "perce"])


def test_an_installed_wheel_writes_skeletons(installed, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(installed)}
    run(sys.executable, "-m", "perbench", "new", "trainer", "mine", cwd=tmp_path, env=env)
    assert "class Mine(Trainer)" in (tmp_path / "trainers" / "mine.py").read_text(encoding="utf-8")
