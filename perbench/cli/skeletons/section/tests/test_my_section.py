from pathlib import Path
from typing import Any

from perbench.contracts.results import Entry, Loaded
from perbench.plugins import get, include
from perbench.site.matrix import matrix_of
from perbench.store import CellRecord

include(Path(__file__).parents[1])
RECORD: dict[str, Any] = {
    "kind": "eval",
    "identity": "0" * 64,
    "inputs": {},
    "status": "done",
    "labels": {"model": "tiny", "target": "notes", "seed": 0},
    "headline": "rougeL",
    "metrics": {name: {"value": 0.5, "n": 2, "signature": name} for name in ("rougeL", "length")},
    "seconds": 1.0,
    "started": "2026-01-01T10:00:00Z",
    "finished": "2026-01-01T10:00:01Z",
    "environment": {},
    "command": "perbench run",
}


def test_every_metric_has_a_column() -> None:
    entry = Entry(CellRecord.model_validate(RECORD), None, "run")
    loaded = Loaded((entry,), (), {}, None, (), ())
    (table,) = get("section", "my_section").load_class()().build(loaded, matrix_of(loaded))
    assert [column.name for column in table.columns] == ["length", "rougeL"]
    ((head, (length, _)),) = table.rows
    assert (table.title, head.name, length.value, length.n) == ("notes", "base model", 0.5, 2)
