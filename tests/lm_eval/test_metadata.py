"""Tasks that make their own documents get the model's folder and the task's metadata, as from lm-eval."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from perbench import plugins
from perbench.conformance.protocol import MemoryStore
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError, SpecError
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task
from tests.lm_eval.plain import One

TASK = """\
task: made
custom_dataset: !function rows.rows
dataset_kwargs: {suffix: "!"}
metadata: {version: 2}
test_split: test
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
"""
ROWS = """\
import datasets
from transformers import AutoTokenizer


def rows(pretrained, suffix, count=2, **known):
    tokens = AutoTokenizer.from_pretrained(pretrained, trust_remote_code=True)
    assert known["version"] == 2 and "config_source" in known
    lengths = [len(tokens(str(i)).input_ids) for i in range(count)]
    made = [{"question": f"Number {i}{suffix}", "answer": f" {one}"} for i, one in enumerate(lengths)]
    return {"test": datasets.Dataset.from_list(made)}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = tmp_path / "root"
    (made / "lm_eval").mkdir(parents=True)
    (made / "lm_eval" / "made.yaml").write_text(TASK)
    (made / "lm_eval" / "rows.py").write_text(ROWS)
    monkeypatch.setenv("PERBENCH_INCLUDE", str(made))
    yield made
    monkeypatch.undo()
    plugins.discover()


def evaluate(folder: Path, **overrides: Any) -> Any:
    task = load_task("lm_eval:made", overrides=overrides)
    owner, dataset, store = owner_of(task.spec), load_examples(task, "test"), MemoryStore()
    ids = owner.late_ids(dataset, lambda: folder)
    engine = TransformersEngine(folder, dtype="float32")
    owner.run(dataset, One(engine), store, planned=ids, seed=0, tick=lambda *_: None)  # type: ignore[arg-type]
    return owner.score(store.samples()), store.samples()


def test_documents_are_made_from_the_models_folder_and_the_metadata(root: Path, tiny_model_dir: Path) -> None:
    scored, samples = evaluate(tiny_model_dir, **{"lm_eval.metadata": {"count": 3}})
    assert [sample["question"] for sample in samples] == ["Number 0!", "Number 1!", "Number 2!"]
    assert [sample["reference"] for sample in samples] == [" 1"] * 3
    assert scored.notes == []
    assert len(evaluate(tiny_model_dir)[1]) == 2


def test_metadata_are_in_the_identity_only_if_given(root: Path) -> None:
    found = [
        owner_of(load_task("lm_eval:made", overrides=given).spec).inputs({})["lm_eval"]
        for given in ({}, {"lm_eval.metadata": {"count": 3}})
    ]
    assert "metadata" not in found[0]
    assert found[1]["metadata"] == {"count": 3}


@pytest.mark.parametrize(
    "metadata",
    [
        {"pretrained": "evil"},
        {"tokenizer": "evil"},
        {"trust_remote_code": True},
        {"file": "/etc/passwd"},
        {"name": "someone/repository"},
        {"names": ["http://example.org"]},
        {"deep": {"pretrained": "evil"}},
    ],
)
def test_metadata_name_neither_models_nor_files(root: Path, metadata: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"lm_eval\.metadata"):
        load_task("lm_eval:made", overrides={"lm_eval.metadata": metadata})


@pytest.mark.parametrize("kind", ["a file", "auto_map"])
def test_code_of_a_model_is_not_trusted(root: Path, tiny_model_dir: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    if kind == "a file":
        (folder / "tokens.py").write_text("raise SystemExit('executed')\n")
    else:
        config = folder / "tokenizer_config.json"
        config.write_text(
            json.dumps({**json.loads(config.read_text()), "auto_map": {"AutoTokenizer": ["a.B", None]}})
        )
    with pytest.raises(PerbenchError, match=r"made.*(tokens\.py|auto_map)"):
        evaluate(folder)
