"""The root of `diary`, where plugins are looked for."""

import pytest

from tests.specs.diary import MATRIX, TASK, TRAINER


@pytest.fixture
def root(tmp_path, monkeypatch):
    for name, text in {
        "tasks/diary/notes.yaml": TASK,
        "leaderboard/models/toy.yaml": "summary: a toy\nhub: org/toy\nrevision: abc\n",
        "leaderboard/matrices/small.yaml": MATRIX,
        "trainers/plain.py": TRAINER,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    return tmp_path
