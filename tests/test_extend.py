"""docs/extend.md runs as written: its files and commands, in order, in an empty folder. Only the model is not
the one written there: a tiny one, so that it takes seconds."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from perbench import cli, plugins

TEXT = (Path(__file__).parents[1] / "docs" / "extend.md").read_text("utf-8")
FILES = re.findall(r"^`(mine/[\w/.]+)`\n\n```\w+\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def test_there_is_an_example_of_every_kind_and_a_row_of_the_table() -> None:
    assert {words[1] for words in COMMANDS if words[0] == "check"} == set(plugins.KINDS)
    rows = re.findall(r"^\| \[(?:a|an) .*?\]\(#.*?\) \| `(.*?)/NAME\.\w+`", TEXT, re.MULTILINE)
    assert sorted(rows) == sorted(kind.folder for kind in plugins.KINDS.values())


def test_everything_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text.replace("models: [smollm2-135m]", f"models: [{tiny_model_dir}]"), "utf-8")
    for words in COMMANDS:
        assert cli.main(words) == 0, (words, capsys.readouterr())
        plugins.discover()  # --include holds for one command
    records = [json.loads(path.read_bytes()) for path in Path("runs/mine").glob("cells/*/cell.json")]
    assert {record["labels"]["trainer"] for record in records} == {None, "likelier"}
    assert {name for record in records for name in record["metrics"]} >= {"drift", "kind", "rougeL"}
    page = Path("site/index.html").read_text("utf-8")
    for text in ("likelier", "short", "openings", "shy", "warmth", "Seconds", "Barista Table 2"):
        assert text in page
