"""The tutorial runs as written: its files and commands, in order, in an empty folder. Only the model is not
the one written there: a tiny one, so that it takes seconds."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from perbench import cli, plugins

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text("utf-8")
FILES = re.findall(r"^`(mine/[\w/.]+)`\n\n```\w+\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def test_the_method_gets_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text.replace("models: [smollm2-135m]", f"models: [{tiny_model_dir}]"), "utf-8")
    assert [Path(name).suffix for name, _ in FILES] == [".jsonl", ".yaml", ".py", ".yaml"]
    for words in COMMANDS:
        assert cli.main(words) == 0, (words, capsys.readouterr())
        plugins.discover()  # --include holds for one command
    page = Path("site/index.html").read_text("utf-8")
    records = [json.loads(path.read_bytes()) for path in Path("runs/soft").glob("cells/eval-*/cell.json")]
    rows = [record for record in records if record["labels"]["trainer"] == "soft_perce"]
    assert len(rows) == 2
    for record in rows:
        assert f'"{record["metrics"]["rougeL"]["value"]}"' in page
        assert f"temperature={record['labels']['trainer_params']['temperature']}" in page
