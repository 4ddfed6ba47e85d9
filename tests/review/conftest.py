"""Rows to review, and a file that holds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PERSONA = ["I am thin.", "I like to hunt.", "I sew.", "I live in Rome."]
ROWS = [
    {
        "id": "a",
        "persona_id": "p1",
        "persona": PERSONA,
        "question": "Ever catch anything?",
        "answer": "Got a 🦌 deer last season.",
        "gold": [{"start": 8, "end": 12, "text": "deer"}],
        "distractor": None,
    },
    {
        "id": "b",
        "persona_id": "p2",
        "persona": PERSONA[::-1],
        "question": "What do you do?",
        "answer": "I usually stitch clothes at home.",
        "gold": ["stitch"],
    },
    {
        "id": "c",
        "persona_id": "p3",
        "persona": [*PERSONA, "<script>alert(1)</script>"],
        "question": "<img src=x onerror=alert(1)>",
        "answer": "<b>Nothing</b> to see in this one.",
        "gold": [],
    },
]
DEER = {"start": 8, "end": 12, "kind": "inference", "sentence": 1}

Rows = list[dict[str, Any]]


@pytest.fixture
def originals() -> Rows:
    return [dict(row) for row in ROWS]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Rows], Path]:
    """Puts rows into the file under review."""

    def into(rows: Rows) -> Path:
        path = tmp_path / "qa.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return into


@pytest.fixture
def file(write: Callable[[Rows], Path], originals: Rows) -> Path:
    return write(originals)
