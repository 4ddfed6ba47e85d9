"""What a run says of a folder that is no run directory, or no longer one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrix.conftest import Root
from tests.matrix.runs import Runs


def test_a_run_whose_folder_is_deleted_under_it_says_so(root: Root, runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, errors = runs(
        root.path, "run", "--matrix", "small", "--out", str(out), env={"DELETE_AT_APPEND": str(out)}
    )
    assert code == 2, errors
    assert ".workers/leases/" in errors
    assert "was removed or replaced" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("place", ["", ".workers/leases/run", "run.json", "cells"])
def test_things_that_are_no_files_or_folders_are_named(
    root: Root, runs: Runs, tmp_path: Path, place: str
) -> None:
    out = tmp_path / "run" if place else tmp_path / ("x" * 300)
    if place == "cells":
        out.mkdir()
        (out / place).write_text("a file")
    elif place:
        (out / place).mkdir(parents=True)
    code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out))
    assert code == 2, errors
    assert str(out / place) in errors
    assert "Traceback" not in errors
    assert "internal error" not in errors
