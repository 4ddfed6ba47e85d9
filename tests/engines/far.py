"""A plugin root for evaluations of one endpoint: no model of it is on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

TASK = {
    "summary": "What people cook.",
    "protocol": "generation",
    "license": "Apache-2.0",
    "data": {"files": "data"},
    "fields": {"user": "user", "question": "ask", "reference": "answer", "persona": "past"},
    "prompt": "plain",
    "prompts": {"plain": {"system": "About me:\n{persona}", "user": "{question}", "item": "- {text}"}},
    "max_length": 512,
    "sampling": {"max_new_tokens": 8, "temperature": 0.0},
    "metrics": ["rouge1"],
    "headline": "rouge1",
}


def write_root(root: Path, address: str, questions: list[str], **endpoint: Any) -> list[str]:
    """Write task, data and model; the words of `perbench` that evaluate it, less its `--out`."""
    rows = [
        {"user": f"u{i % 2}", "ask": ask, "answer": "A bean stew", "past": ["I like beans."]}
        for i, ask in enumerate(questions)
    ]
    (root / "data").mkdir(parents=True)
    (root / "data" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "task.yaml").write_text(yaml.safe_dump(TASK))
    models = root / "leaderboard" / "models"
    models.mkdir(parents=True)
    spec = {"model": "m", "base_url": address, "api_key_env": "TEST_KEY", "timeout": 5.0, **endpoint}
    (models / "far.yaml").write_text(yaml.safe_dump({"summary": "far away", "endpoint": spec}))
    return ["--include", str(root), "eval", "--model", "far", "--target", str(root / "task.yaml")]
