"""Gold spans that a person has checked are counted from the rows, and never a reason to run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perbench.store import read_records
from tests.matrix.conftest import Root, write_rows
from tests.matrix.runs import Runs


def test_checked_spans_are_counted_anew_for_finished_cells(root: Root, runs: Runs, tmp_path: Path) -> None:
    root.matrix(trainers=[], sources=[], targets=["tiny/qa"], identifiers=["random"], baseline=None)
    file, out = root.path / "data" / "qa" / "test.jsonl", tmp_path / "run"

    def run() -> tuple[str, dict[str, int]]:
        code, _, said = runs(root.path, "run", "--matrix", "small", "--out", str(out))
        assert code == 0, said
        ((record, _),) = read_records(out)
        counts = {name: record.counts[name] for name in ("gold_spans", "gold_spans_checked")}
        shown = " ".join(runs(root.path, "leaderboard", "show", str(out), "identification")[1].split())
        checked, spans = counts["gold_spans_checked"], counts["gold_spans"]
        assert f"a person has checked {checked} of the {spans} gold spans" in shown
        return said, counts

    rows: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    assert run()[1] == {"gold_spans": 3, "gold_spans_checked": 0}
    write_rows(file, [{**rows[0], "review": "accepted"}, {**rows[1], "review": "a film"}, rows[2]])
    said, counts = run()
    assert "1 cell reused" in said
    assert counts == {"gold_spans": 3, "gold_spans_checked": 1}
