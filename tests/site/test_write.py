"""A new site replaces the old one whole, or not at all, and never anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perbench import cli
from perbench.errors import PerbenchError
from perbench.site.write import GENERATOR, PAGES, write
from perbench.store.leftovers import DAY

OLD = {"index.html": "old", "cells/a.html": "a", "data/x-1.csv": "1"}
NEW = {"index.html": "new", "cells/b.html": "b"}


def held(folder: Path) -> dict[str, str]:
    """The files of a folder, without the list of them."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in found.items() if name != PAGES}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    assert write(OLD.items(), tmp_path / "site") == tmp_path / "site" / "index.html"
    return tmp_path / "site"


def listing(out: Path, files: Any, generator: str = GENERATOR) -> None:
    (out / PAGES).write_text(json.dumps({"generator": generator, "files": files}), encoding="utf-8")


def test_the_new_site_replaces_the_old_one_whole(out: Path) -> None:
    assert held(out) == OLD
    assert json.loads((out / PAGES).read_text())["files"] == sorted(OLD)
    write(NEW.items(), out)
    assert held(out) == NEW
    assert not (out / "data").exists()
    assert os.listdir(out.parent) == ["site"]


def test_the_page_of_an_older_perbench_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<!doctype html><meta name="generator" content="perbench 0.1.0">')
    write(NEW.items(), tmp_path)
    assert held(tmp_path) == NEW


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "cells/notes.txt", "deep/er/notes.txt"])
def test_a_file_of_someone_else_stops_it(out: Path, name: str) -> None:
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(PerbenchError, match=rf"site holds '{name}'.*--out DIR"):
        write(NEW.items(), out)
    assert held(out) == {**OLD, name: "mine"}


def test_a_link_of_someone_else_stops_it(out: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (out / "home").symlink_to(tmp_path / "home", target_is_directory=True)
    with pytest.raises(PerbenchError, match="holds 'home'"):
        write(NEW.items(), out)
    assert (out / "home").is_symlink()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "null",
        '{"files": ["notes.txt"]}',
        '{"generator": "another", "files": ["notes.txt"]}',
        json.dumps({"generator": GENERATOR, "files": None}),
        json.dumps({"generator": GENERATOR, "files": {"index.html": 1}}),
    ],
)
def test_a_list_that_is_not_its_own_counts_for_nothing(out: Path, text: str) -> None:
    (out / PAGES).write_text(text)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(PerbenchError, match="was written"):
        write(NEW.items(), out)
    assert held(out) == {**OLD, "notes.txt": "mine"}


def test_a_list_reaches_nothing_outside_its_folder(out: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    (tmp_path / "beside.txt").write_text("mine")
    (out / "link").symlink_to(home, target_is_directory=True)
    hostile = [
        "../beside.txt",
        "../home",
        "../home/thesis.tex",
        str(home),
        "cells/../../home",
        "link",
        "..",
        "/",
    ]
    listing(out, [*OLD, *hostile])
    write(NEW.items(), out)
    assert held(out) == NEW
    assert (home / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "beside.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["beside.txt", "home", "site"]


def test_a_link_to_a_folder_is_followed_to_it(out: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(out, target_is_directory=True)
    write(NEW.items(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert held(out) == NEW


def test_a_build_that_fails_leaves_the_old_site(out: Path) -> None:
    def files() -> Iterator[tuple[str, str]]:
        yield "index.html", "half"
        raise PerbenchError("a template is broken")

    with pytest.raises(PerbenchError, match="template"):
        write(files(), out)
    assert held(out) == OLD
    assert os.listdir(out.parent) == ["site"]


def test_a_disk_that_refuses_the_swap_leaves_the_old_site(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, 0

    def full(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write(NEW.items(), out)
    assert held(out) == OLD
    assert os.listdir(out.parent) == ["site"]


KILLED = """
import os, sys
from pathlib import Path
from perbench.site.write import write

def files():
    yield "index.html", "half"
    os.kill(os.getpid(), 9)

write(files(), Path(sys.argv[1]))
"""


def test_a_killed_build_leaves_the_old_site_and_no_obstacle(out: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert held(out) == OLD
    (left,) = [path for path in out.parent.iterdir() if path != out]
    assert held(left) == {"index.html": "half"}
    write(NEW.items(), out)
    assert held(out) == NEW
    assert left.exists(), "another build may be at work on it"
    os.utime(left, (0, time.time() - 2 * DAY))
    beside = out.parent / ".site.mine.tmp"
    beside.mkdir()
    os.utime(beside, (0, 0))
    write(NEW.items(), out)
    assert not left.exists()
    assert beside.exists()


@pytest.mark.parametrize(
    "words", [["status"], ["verify"], ["rescore"], ["leaderboard", "show"], ["samples"]], ids=" ".join
)
def test_a_built_site_is_no_run(
    out: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "real" / "cells").mkdir(parents=True)
    (out / "cells").mkdir(exist_ok=True)
    write({**NEW, "cells/one.html": "a cell"}.items(), out)
    assert cli.main([*words, str(out)]) == 2
    assert f"{out} holds pages that `perbench leaderboard build` wrote" in capsys.readouterr().err
    assert cli.main([*words, str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'none'} does not exist (yet)" in said
    assert str(tmp_path / "real") in said
    assert str(out) not in said
