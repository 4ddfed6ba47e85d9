"""A plan tells tables whose rows come from different engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perbench.cli import main
from perbench.matrix.offers import mixed_engines
from perbench.specs.load import load_model

TARGET = "embedded/sotu_writing"


def model(folder: Path, name: str, text: str) -> str:
    file = folder / f"{name}.yaml"
    file.write_text(f"summary: s\n{text}", encoding="utf-8")
    return str(file)


def test_only_models_of_weights_count(tmp_path: Path) -> None:
    one = load_model(model(tmp_path, "one", "hub: a/b\n"))
    two = load_model(model(tmp_path, "two", "hub: a/c\nengine: vllm\n"))
    far = load_model("openai/gpt-4o")
    assert mixed_engines([("t", one), ("t", far), ("u", two)]) == []
    (line,) = mixed_engines([("t", one), ("u", one), ("u", two), ("v", two), ("v", one)])
    assert line.startswith("u, v: ")
    assert "--engine vllm --against transformers --model two" in line


def test_a_dry_run_tells(tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = [
        model(tmp_path, "one", f"path: {tiny_model_dir}\n"),
        model(tmp_path, "two", f"path: {tiny_model_dir}\nengine: vllm\n"),
    ]
    matrix = tmp_path / "m.yaml"
    for given, engine, count in ((models, None, 1), (models[:1], "vllm", 0)):
        values = {"summary": "s", "models": given, "targets": [TARGET], "engine": engine}
        matrix.write_text(json.dumps(values))
        main(["run", "--matrix", str(matrix), "--out", str(tmp_path / "out"), "--limit", "1", "--dry-run"])
        assert capsys.readouterr().err.count("by different engines") == count
