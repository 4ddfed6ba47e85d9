"""A plugin root of small tasks, and the matrix over them that the tests plan and run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from perbench import plugins
from perbench.engines.openai import retry
from tests.matrix.chat import KEY, PEOPLE, PRICES, Chat, far_task
from tests.matrix.runs import Runs, results

WORDS = [
    *("hunt", "deer", "woods", "dog", "autumn", "paint", "red", "houses"),
    *("violin", "night", "bake", "bread", "long", "novels", "green"),
    *("river", "stone", "lamp", "cold"),
]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def writing_rows(shift: int, count: int) -> list[dict[str, Any]]:
    def text(start: int) -> str:
        return " ".join(WORDS[(start + step) % len(WORDS)] for step in range(4))

    return [
        {
            "user": f"user {index % 3}",
            "ask": f"What do you do, {WORDS[(index + shift) % len(WORDS)]}?",
            "answer": f"I {text(index + shift)}.",
            "past": [f"Once {text(index + shift + item)}." for item in range(3)],
        }
        for index in range(count)
    ]


WRITING = {
    "summary": "Answers of three users.",
    "protocol": "generation",
    "license": "Apache-2.0",
    "data": {"files": "../../data/NAME"},
    "fields": {
        "user": "user",
        "question": "ask",
        "reference": "answer",
        "persona": "past",
        "item_example": {"question": "What did you do?", "reference": "{text}"},
    },
    "prompt": "plain",
    "prompts": {"plain": {"system": "Persona:\n{persona}", "item": "{text}"}},
    "max_length": 400,
    "sampling": {"max_new_tokens": 6, "temperature": 0.7},
    "metrics": ["rouge1", "length"],
    "headline": "rouge1",
}
TALK = {
    "summary": "Two turns with a simulated user.",
    "protocol": "dialogue",
    "license": "Apache-2.0",
    "data": {"files": "../../data/talk"},
    "fields": {"user": "name", "extra": ["profile", "personality"]},
    "max_length": 800,
    "sampling": {"max_new_tokens": 5, "temperature": 0.7},
    "headline": "pmi",
    "dialogue": {
        "turns": 2,
        "simulator": {
            "model": "tiny",
            "instruction": "Be {profile}, {personality}.",
            "opening": "Say hello.",
            "sampling": {"max_new_tokens": 5, "temperature": 0.7},
        },
        "judge": {
            "model": "tiny",
            "instruction": "{profile} {personality} said {message}, heard {response}. 1-5?",
            "sampling": {"max_new_tokens": 2, "temperature": 0.0},
            "retries": 0,
        },
    },
}
QA = {
    "summary": "Whose words are personal?",
    "protocol": "identification",
    "license": "Apache-2.0",
    "data": {"files": "../../data/qa"},
    "fields": {
        "user": "user",
        "question": "ask",
        "reference": "answer",
        "persona": "past",
        "extra": ["gold"],
    },
    "prompt": "plain",
    "prompts": {"plain": {"system": "Persona:\n{persona}", "item": "{text}"}},
    "max_length": 400,
    "headline": "f1",
}
MATRIX = {
    "summary": "Everything, small.",
    "models": ["tiny"],
    "trainers": ["ce", {"name": "perce", "params": {"clip_max": 3.0}}],
    "sources": ["tiny/writing"],
    "targets": ["tiny/writing", "tiny/talk", "tiny/qa"],
    "identifiers": ["percontrast"],
    "baseline": "ce",
    "training": {
        "epochs": 2.0,
        "batch_size": 2,
        "learning_rate": 0.005,
        "save_every": 2,
        "precision": "fp32",
        "lora": {"rank": 4},
    },
}


class Root:
    """A folder of tasks, models, trainers and matrices; `write` (over)writes one of its YAML files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, value: dict[str, Any]) -> Path:
        file = self.path / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(value))
        return file

    def matrix(self, name: str = "small", **changes: Any) -> Path:
        return self.write(f"leaderboard/matrices/{name}", {**MATRIX, **changes})

    def task(self, name: str, **changes: Any) -> Path:
        base = {"writing": WRITING, "other": WRITING, "talk": TALK, "qa": QA}[name]
        filled = yaml.safe_load(yaml.safe_dump(base).replace("NAME", name))
        return self.write(f"tasks/tiny/{name}", {**filled, **changes})

    def trainer(self, name: str, text: str) -> None:
        file = self.path / "trainers" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


def write_root(path: Path, model: Path) -> Root:
    """A root at `path` with a model of this folder."""
    root = Root(path)
    for name, shift in (("writing", 0), ("other", 5)):
        write_rows(root.path / "data" / name / "train.jsonl", writing_rows(shift, 6))
        write_rows(root.path / "data" / name / "test.jsonl", writing_rows(shift + 7, 5))
        root.task(name)
    people = [{"name": f"p{i}", "profile": f"a {WORDS[i]} fan", "personality": "calm"} for i in range(2)]
    write_rows(root.path / "data" / "talk" / "test.jsonl", people)
    root.task("talk")
    rows = [{**row, "gold": [row["answer"].split()[1]]} for row in writing_rows(0, 3)]
    write_rows(root.path / "data" / "qa" / "test.jsonl", rows)
    root.task("qa")
    root.write("leaderboard/models/tiny", {"summary": "tiny random model", "path": str(model)})
    root.matrix()
    return root


@pytest.fixture
def make_root(tiny_model_dir: Path, tmp_path: Path) -> Callable[[], Root]:
    return lambda: write_root(tmp_path / "root", tiny_model_dir)


@pytest.fixture
def root(make_root: Callable[[], Root], monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    """The root, included in this process."""
    made = make_root()
    monkeypatch.setenv("PERBENCH_INCLUDE", str(made.path))
    yield made
    monkeypatch.undo()
    plugins.discover()  # looks at the roots anew


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """One process that all runs are forked from: starting it takes longer than most of them."""
    process = Runs()
    yield process
    process.close()


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Chat]:
    found = Chat()
    for name, value in {"TEST_KEY": KEY, "PERBENCH_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    yield found
    found.close()


@pytest.fixture
def talk(root: Root, chat: Chat) -> Root:
    """A matrix of one cell: ten turns of three people, everybody behind the endpoint."""
    endpoint = {"model": "m", "base_url": chat.address, "api_key_env": "TEST_KEY", "timeout": 3.0}
    model = {"summary": "behind the test's server", "endpoint": {**endpoint, "prices": PRICES}}
    root.write("leaderboard/models/far", model)
    people = [
        {"name": f"p{i}", "profile": f"p{i}", "personality": "calm", "id": f"p{i}"} for i in range(PEOPLE)
    ]
    write_rows(root.path / "data" / "talk" / "test.jsonl", people)
    far_task(root)
    root.matrix(
        models=["far"],
        trainers=[],
        sources=[],
        targets=["tiny/talk"],
        identifiers=[],
        baseline=None,
        training={},
    )
    return root


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """Filled by `expected`, once."""
    return {}


@pytest.fixture
def expected(root: Root, runs: Runs, tmp_path: Path, whole: dict[str, Any]) -> dict[str, Any]:
    if not whole:
        out = tmp_path / "whole"
        code, _, errors = runs(root.path, "run", "--matrix", "small", "--out", str(out))
        assert code == 0, errors
        whole.update(results(out))
    return whole
