"""Made-up tasks whose shortcuts and leaks are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

Rows = Sequence[Mapping[str, Any]]
Make = Callable[..., Path]

TASK = {
    "summary": "made up",
    "protocol": "generation",
    "license": "CC0",
    "data": {"files": "."},
    "fields": {"user": "user", "question": "question", "reference": "answer", "persona": "persona"},
    "prompt": "plain",
    "prompts": {"plain": {"system": "I wrote: {persona}", "item": "{text}"}},
    "metrics": ["rouge1"],
    "headline": "rouge1",
}


@pytest.fixture
def task_of(tmp_path: Path) -> Make:
    """Writes a task with these rows; returns its file."""

    def make(test: Rows, train: Rows = (), **changes: Any) -> Path:
        folder = tmp_path / "tasks" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in (("test", test), ("train", train)):
            if rows:
                text = "".join(f"{json.dumps(row)}\n" for row in rows)
                (folder / f"{split}.jsonl").write_text(text)
        path = folder / "write.yaml"
        path.write_text(yaml.safe_dump({**TASK, **changes}))
        return path

    return make


def row(user: str, question: str, answer: str, *persona: str) -> dict[str, Any]:
    return {"user": user, "question": question, "answer": answer, "persona": list(persona)}
