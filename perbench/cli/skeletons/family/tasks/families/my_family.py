"""my_family: describe the data in this line, for `perbench ls`; then where they are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perbench.api import Family, RawData, Remote, Skip


class MyFamily(Family):
    """Diaries: a row asks for the last entry, the others are the history."""

    remotes = (Remote("huggingface", "someone/diaries", {"data/*.jsonl": None}),)
    tables = ("days/train", "days/test")  # written as days/train.jsonl, days/test.jsonl

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        split = table.partition("/")[2]
        for row in raw.records(f"data/{split}", split, shape={"name": str, "days": [str]}):
            if row["days"]:
                *history, last = row["days"]
                yield {
                    "user": row["name"],
                    "question": "What of today?",
                    "reference": last,
                    "history": history,
                }
            else:
                yield Skip("no days")
