"""A third party's trainer and identifier are run and shown, without a line of perbench's changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.matrix.conftest import Root

PACKAGE = Path(__file__).parents[1] / "third_party" / "perbench_extra"


@pytest.mark.parametrize("how", ["an installed package", "a plain folder"])
def test_a_third_partys_plugins_are_run_and_shown(
    root: Root, third_party_env: dict[str, str], tmp_path: Path, how: str
) -> None:
    installed = how == "an installed package"
    include = [] if installed else ["--include", str(PACKAGE)]
    environment = {
        **(third_party_env if installed else os.environ),
        "PERBENCH_INCLUDE": str(root.path),
        "OMP_NUM_THREADS": "1",
    }

    def perbench(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "perbench", *include, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    root.matrix(
        trainers=["ce", {"name": "halved_ce", "params": {"factor": 0.25}}],
        targets=["tiny/writing", "tiny/qa"],
        identifiers=["long_words"],
    )
    table = perbench("run", "--matrix", "small", "--out", str(tmp_path / "run"))
    assert "halved_ce" in table
    assert "long_words" in table
    perbench("leaderboard", "build", str(tmp_path / "run"), "--out", str(tmp_path / "site"))
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert '<span class="who">halved_ce</span>' in page
    assert '<span class="who">long_words</span>' in page
