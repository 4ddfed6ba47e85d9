"""`--model perbench`: trained models of a run, users' own adapters included; files of `lm-eval write`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("lm_eval")

from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig

from perbench.cli import main
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.harness.model import PerbenchLM
from perbench.store import read_records
from tests.harness.conftest import logged, own
from tests.lm_eval.plain import plain_model, plain_results
from tests.lm_eval.table import write_table
from tests.matrix.conftest import MATRIX, Root, write_rows, writing_rows

Theirs = Callable[..., dict[str, Any]]
GREEDY = {"max_new_tokens": 6, "temperature": 0.0}


@pytest.fixture
def run(root: Root, tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A training with users' own adapters, of a model with generation options of its own; one user has no
    history."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    own_options = GenerationConfig.from_pretrained(folder)
    own_options.repetition_penalty = 1.5
    own_options.save_pretrained(folder)
    stranger = {"user": "stranger", "ask": "Who are you?", "answer": "Nobody.", "past": []}
    write_rows(root.path / "data/writing/test.jsonl", [*writing_rows(7, 5), stranger])
    root.task("writing", sampling=GREEDY)
    root.write("leaderboard/models/tiny", {"summary": "tiny", "path": str(folder), "dtype": "float32"})
    root.matrix(
        trainers=["ce"],
        targets=["tiny/writing"],
        identifiers=[],
        training={
            **MATRIX["training"],
            "epochs": 1.0,
            "per_user": {"batch_size": 2, "learning_rate": 0.02},
        },
    )
    out = tmp_path / "run"
    assert main(["run", "--matrix", "small", "--out", str(out)]) == 0
    return out


def test_answers_are_those_of_the_run(run: Path, theirs: Theirs, capsys: pytest.CaptureFixture[str]) -> None:
    cells = {
        record.labels.trainer: [json.loads(line) for line in (folder / "samples.jsonl").open()]
        for record, folder in read_records(run)
        if record.kind == "eval"
    }
    for trainer, stored in cells.items():
        model = PerbenchLM(run=str(run), trainer=trainer or "base")
        rows = logged(theirs("perbench_tiny_writing", model=model), "perbench_tiny_writing")
        expected = {row["id"]: row["response"] for row in stored if "id" in row}
        assert {name: row["filtered_resps"][0] for name, row in rows.items()} == expected
    assert {row["own_adapter"] for row in cells["ce"] if "id" in row} == {True, False}

    with pytest.raises(PerbenchError, match=r"trainer=cee.*Did you mean 'ce'"):
        PerbenchLM(run=str(run), trainer="cee")
    with pytest.raises(PerbenchError, match=r"0 trainings match(.|\n)*cell="):
        PerbenchLM(run=str(run), trainer="ce", seed=7)
    with pytest.raises(PerbenchError, match=r"'trainr'.*Did you mean 'trainer'"):
        PerbenchLM(run=str(run), trainr="ce")
    with pytest.raises(PerbenchError, match="run=DIR"):
        PerbenchLM(trainer="ce")

    # The whole command, with all arguments passed on.
    output = run.parent / "results"
    words = ["--model", "perbench", "--model_args", f"run={run},trainer=ce,source=tiny/writing"]
    words += ["--tasks", "perbench_tiny_writing", "--apply_chat_template", "--limit", "2"]
    assert main(["lm-eval", "run", *words, "--log_samples", "--output_path", str(output)]) == 0
    (results,) = output.rglob("results_*.json")
    assert json.loads(results.read_text())["n-samples"]["perbench_tiny_writing"]["effective"] == 2
    assert "rouge1" in capsys.readouterr().out

    (folder,) = (folder for record, folder in read_records(run) if record.kind == "train")
    with (folder / "checkpoint/final/adapter_model.safetensors").open("ab") as file:
        file.write(b"0")
    with pytest.raises(PerbenchError, match="trained weights have changed"):
        PerbenchLM(run=str(run), trainer="ce")


@pytest.fixture
def base(run: Path) -> PerbenchLM:
    return PerbenchLM(run=str(run), trainer="base", batch_size=3)


def test_tasks_of_lm_eval_are_asked_as_by_plain_lm_eval(base: PerbenchLM, run: Path, tmp_path: Path) -> None:
    """Without a template a prompt begins with the tokenizer's own first token, and the checkpoint's own
    options and those of the task apply."""
    write_table(tmp_path / "table")
    plain = plain_model(run.parent / "model", batch=3)
    for lm in (base, plain):
        begin = TemplateProcessing(single="<|im_end|> $A", special_tokens=[("<|im_end|>", 1)])
        lm.tokenizer.backend_tokenizer.post_processor = begin
    texts = []
    for chat in (False, True):
        for options in ({}, {"gen_kwargs": {"do_sample": True, "temperature": 0.01, "top_k": 1}}):
            found = [
                plain_results(tmp_path / "table", lm, "gen", chat=chat, limit=4, **options)["samples"]["gen"]
                for lm in (base, plain)
            ]
            mine, theirs = ([(row["arguments"], row["resps"]) for row in rows] for rows in found)
            assert mine == theirs
            texts.append(mine)
    assert len({repr(one) for one in texts}) > 1


@pytest.mark.parametrize(
    ("key", "value"), [("top_k", 5), ("num_beams", 2), ("min_p", 0.1), ("eos_token_id", [0])]
)
def test_options_that_perbench_does_not_know(
    base: PerbenchLM, theirs: Theirs, key: str, value: object
) -> None:
    with pytest.raises(PerbenchError, match=rf"--gen_kwargs.*{key}"):
        theirs("perbench_tiny_writing", model=base, gen_kwargs={key: value})


def test_written_tasks_need_no_other_file(
    root: Root, theirs: Theirs, tiny_model_dir: Path, engine: TransformersEngine, tmp_path: Path
) -> None:
    root.task("writing", sampling=GREEDY)
    model = {"summary": "tiny", "path": str(tiny_model_dir), "dtype": "float32"}
    root.write("leaderboard/models/tiny", model)
    out = tmp_path / "written"
    words = ["tiny/writing", "tiny/talk", "--limit", "2", "--model", "tiny"]
    assert main(["lm-eval", "write", str(out), *words]) == 0
    samples, _ = own("tiny/writing", engine, limit=2)
    for folder in (root.path / "data", root.path / "tasks"):
        folder.rename(folder.with_name(f"{folder.name}.gone"))
    rows = logged(theirs("perbench_tiny_writing", folder=out), "perbench_tiny_writing")
    assert {name: row["samples"] for name, row in rows.items()} == {
        name: [sample] for name, sample in samples.items()
    }
    text = (out / "perbench_tiny_writing.yaml").read_text().replace("!function", "")
    found = yaml.safe_load(text)
    assert found["generation_kwargs"] == {"until": [], "max_gen_toks": 6, "do_sample": False}
    about = found["perbench"]
    assert (about["license"], about["headline"], about["examples"]) == ("Apache-2.0", "rouge1", 2)
    assert about["trimmed_by"] == "tiny"
    assert str(root.path) not in text
    assert theirs("perbench_tiny_talk", folder=out)["results"]["perbench_tiny_talk"]["samples,none"] == 4

    file = out / "perbench_tiny_writing.jsonl"
    file.write_text(file.read_text().replace("Once", "Twice"))
    with pytest.raises(PerbenchError, match=r"perbench_tiny_writing.jsonl has been changed"):
        theirs("perbench_tiny_writing", folder=out)


def test_writing_tasks_without_data(root: Root, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["lm-eval", "write", str(tmp_path / "out"), "longlamp/prw"]) == 2
    assert "perbench data prepare longlamp" in capsys.readouterr().err
    assert main(["lm-eval", "write", str(tmp_path / "out"), "longlamp/prv"]) == 2
    assert "Did you mean 'longlamp/prw'?" in capsys.readouterr().err


def test_writing_tasks_into_a_file(root: Root, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    assert main(["lm-eval", "write", str(tmp_path / "out"), "tiny/writing"]) == 2
    assert f"{tmp_path / 'out'} is a file" in capsys.readouterr().err
