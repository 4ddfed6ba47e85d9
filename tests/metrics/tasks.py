"""A generation task with given metrics and their keys."""

from __future__ import annotations

from typing import Any

from perbench.shapes.task import TaskSpec
from perbench.specs.compose import task_spec


def answered(**keys: Any) -> TaskSpec:
    task = {
        "summary": "s",
        "protocol": "generation",
        "license": "none",
        "data": {"files": "rows.jsonl"},
        "fields": {"user": "user", "question": "ask", "reference": "answer", "persona": "past"},
        "prompt": "plain",
        "prompts": {"plain": {"system": "{persona}", "item": "{text}"}},
        "headline": keys["metrics"][0],
        **keys,
    }
    return task_spec().model_validate(task)
