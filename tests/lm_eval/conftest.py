"""A plugin root with small tasks in lm-eval's own format, their documents in files beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from perbench import plugins

COLOURS = ["red", "green", "blue"]


def choice_rows(count: int) -> list[dict[str, Any]]:
    return [{"question": f"Which colour is number {i}?", "answer": i % 3} for i in range(count)]


def write_tasks(root: Path, rows: list[dict[str, Any]]) -> Path:
    """tiny_choice (multiple choice), tiny_words (generation, two filters), tiny_rolling (perplexity), and the
    group tiny_all of the first two."""
    folder = root / "lm_eval"
    folder.mkdir(parents=True)
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "utils.py").write_text("def answer(doc):\n    return ['red', 'green', 'blue'][doc['answer']]\n")
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(root / "cache")},
        "test_split": "test",
        "doc_to_text": "Q: {{question}}\nA:",
    }
    texts = {
        "tiny_choice": {
            **shared,
            "output_type": "multiple_choice",
            "doc_to_choice": COLOURS,
            "doc_to_target": "answer",
        },
        "tiny_words": {
            **shared,
            "output_type": "generate_until",
            "doc_to_target": "TARGET",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
            "filter_list": [
                {"name": "first", "filter": [{"function": "take_first"}]},
                {
                    "name": "word",
                    "filter": [
                        {"function": "regex", "regex_pattern": "([a-z]+)"},
                        {"function": "take_first"},
                    ],
                },
            ],
        },
        "tiny_rolling": {**shared, "output_type": "loglikelihood_rolling", "doc_to_text": ""},
    }
    texts["tiny_rolling"]["doc_to_target"] = "{{question}}"
    for name, config in texts.items():
        text = yaml.safe_dump({"task": name, **config}).replace("TARGET", "!function utils.answer")
        (folder / f"{name}.yaml").write_text(text)
    group = {"group": "tiny_all", "task": ["tiny_choice", "tiny_words"]}
    (folder / "tiny_all.yaml").write_text(yaml.safe_dump(group))
    return root


@pytest.fixture
def lm_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = write_tasks(tmp_path / "root", choice_rows(7))
    monkeypatch.setenv("PERBENCH_INCLUDE", str(made))
    yield made
    monkeypatch.undo()
    plugins.discover()
