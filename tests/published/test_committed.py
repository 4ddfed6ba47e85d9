"""The results in this repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench.cli import main

PUBLISHED = Path(__file__).parents[2] / "leaderboard" / "published"


def test_published_results_have_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(map(str, PUBLISHED.glob("*.json")))
    assert main(["leaderboard", "check", *files]) == 0
    said = capsys.readouterr()
    assert f"{len(files)} files" in said.out + said.err
