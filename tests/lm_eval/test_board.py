"""A board of a run with two of lm-eval's tasks: a column each, with the numbers of the records."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
import yaml

pytest.importorskip("lm_eval")

from perbench.cli import main
from perbench.store import read_records

TARGETS = ["lm_eval:tiny_choice", "lm_eval:tiny_words"]


def test_two_columns_of_lm_eval(lm_root: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    matrix = {"summary": "two", "models": [str(tiny_model_dir)], "targets": TARGETS, "base_rows": True}
    file = lm_root / "two.yaml"
    file.write_text(yaml.safe_dump(matrix))
    out, site = tmp_path / "run", tmp_path / "site"
    assert main(["run", "--matrix", str(file), "--out", str(out)]) == 0
    assert main(["leaderboard", "build", str(out), "--out", str(site)]) == 0
    values = {}
    for record, _ in read_records(out):
        assert record.headline is not None
        values[record.labels.target] = record.metrics[record.headline].value
    assert sorted(values) == TARGETS
    (table,) = re.findall(r"<table[^>]*>(?:(?!</table>).)*tiny_choice.*?</table>", _page(site), re.DOTALL)
    heads = [_text(head) for head in re.findall(r"<th[^>]*col.*?</th>", table, re.DOTALL)]
    for target in TARGETS:
        name = target.removeprefix("lm_eval:")
        assert sum(name in head for head in heads) == 1
    row = _text(table[table.index("<tbody") :])
    for value in values.values():
        assert value is not None
        assert f"{100 * value:.1f}" in row or f"{value:.3f}" in row or f"{value:.2f}" in row


def _page(site: Path) -> str:
    return (site / "index.html").read_text(encoding="utf-8")


def _text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
