"""Small tasks of every kind in lm-eval's format, each evaluated by perbench and by plain lm-eval."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
WORDS = ["Paris", "eight legs", "blue", "Mars", "gold", "a dog", "seven", "the Pacific", "cold"]


class _Function(str):
    pass


class _Loader(yaml.SafeLoader):
    pass


class _Dumper(yaml.SafeDumper):
    pass


_Loader.add_constructor("!function", lambda loader, node: _Function(node.value))
_Dumper.add_representer(_Function, lambda dumper, value: dumper.represent_scalar("!function", str(value)))


def row(i: int) -> dict[str, Any]:
    choices = [WORDS[(i + k) % len(WORDS)] for k in range(3)]
    gold = (i * i) % 3
    question = f"What is {'really ' * (i % 4)}number {i}, the one after {i - 1}?"
    text = f"Number {i} is {choices[gold]}. Many people know that it is {choices[gold]}, and some forget it."
    return {
        "question": question,
        "answer": choices[gold],
        "choices": choices,
        "gold": gold,
        "even": (i // 2) % 2,
        "text": text,
    }


def write_rows(folder: Path, test: int = 9, train: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, numbers in (("test", range(test)), ("train", range(20, 20 + train))):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row(i)) + "\n" for i in numbers))


def write_table(root: Path) -> list[str]:
    """A root with all tasks of tasks.yaml, its rows and functions; the names of the tasks."""
    folder = root / "lm_eval"
    write_rows(root / "data")
    folder.mkdir(parents=True)
    (folder / "utils.py").write_text((HERE / "utils.py").read_text())
    text = (HERE / "tasks.yaml").read_text()
    text = text.replace("DATA", str(root / "data")).replace("CACHE", str(root / "cache"))
    tasks = yaml.load(text, Loader=_Loader)
    for name, config in tasks.items():
        if not name.startswith("_"):
            write_task(folder / f"{name}.yaml", config if "group" in config else {**config, "task": name})
    return [name for name in tasks if not name.startswith("_")]


def write_task(file: Path, config: Mapping[str, Any]) -> None:
    kept = {key: value for key, value in config.items() if value is not None}
    file.write_text(yaml.dump(kept, Dumper=_Dumper, sort_keys=False))
