"""docs/extend.md runs as written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from perbench import plugins
from tests.walkthrough import Walkthrough

PAGE = Walkthrough("extend.md")


def test_there_is_an_example_of_every_kind_and_a_row_of_the_table() -> None:
    assert {words[1] for words in PAGE.commands if words[0] == "check"} == set(plugins.KINDS)
    rows = re.findall(r"^\| \[(?:a|an) .*?\]\(#.*?\) \| `(.*?)/NAME\.\w+`", PAGE.text, re.MULTILINE)
    assert sorted(rows) == sorted(kind.folder for kind in plugins.KINDS.values())


def test_everything_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    PAGE.run(tiny_model_dir)
    records = [json.loads(path.read_bytes()) for path in Path("runs/mine").glob("cells/*/cell.json")]
    assert {record["labels"]["trainer"] for record in records} == {None, "likelier"}
    assert {name for record in records for name in record["metrics"]} >= {"drift", "kind", "rougeL"}
    for page, texts in {
        "index": ("likelier", "short", "openings", "shy", "warmth"),
        "speed": ("Seconds",),
        "reported": ("Barista Table 2",),
    }.items():
        source = Path(f"site/{page}.html").read_text("utf-8")
        for text in texts:
            assert text in source
