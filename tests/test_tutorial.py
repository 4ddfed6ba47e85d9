"""docs/tutorial.md runs as written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.walkthrough import Walkthrough

PAGE = Walkthrough("tutorial.md")


def test_the_method_gets_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [Path(name).suffix for name, _ in PAGE.files] == [".jsonl", ".yaml", ".py", ".yaml"]
    PAGE.run(tiny_model_dir)
    page = Path("site/index.html").read_text("utf-8")
    table = Path("site/data/transfer-1.csv").read_text("utf-8")
    records = [json.loads(path.read_bytes()) for path in Path("runs/soft").glob("cells/eval-*/cell.json")]
    rows = [record for record in records if record["labels"]["trainer"] == "soft_perce"]
    assert len(rows) == 2
    for record in rows:
        assert f"cells/{record['identity'][:16]}.html" in page
        assert str(record["metrics"]["rougeL"]["value"]) in table
        assert f"temperature={record['labels']['trainer_params']['temperature']}" in page
