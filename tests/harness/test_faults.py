"""Bad input under lm-eval: one clear line, exit code 2, never a lost persona."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from perbench.cli import main
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.harness import version
from perbench.harness.folder import task_folder
from tests.harness.conftest import LONGLAMP, logged, own
from tests.matrix.conftest import Root
from tests.prompts.shapes import CHATML

NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
Theirs = Callable[..., dict[str, Any]]
SHORT: dict[str, dict[str, Any]] = {
    "set": {"sampling.temperature": 0.0, "sampling.max_new_tokens": 4, "max_length": 900}
}


@pytest.fixture
def bare_model(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A model whose template refuses system turns."""
    folder = tmp_path / "no-system"
    shutil.copytree(tiny_model_dir, folder)
    (folder / "chat_template.jinja").write_text(NO_SYSTEM)
    return folder


def test_a_template_without_a_system_role_keeps_the_persona(theirs: Theirs, bare_model: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(bare_model), dtype="float32", device="cpu")
    found = theirs("perbench_longlamp_prw", metadata=SHORT, data={"longlamp": LONGLAMP}, model=model)
    (row, *_) = logged(found, "perbench_longlamp_prw").values()
    prompt = row["arguments"][0][0]
    assert "previous reviews from the user" in prompt
    assert row["samples"][0]["persona_kept"] > 0


def test_missing_and_misplaced_options(theirs: Theirs) -> None:
    given: dict[str, Any] = {"data": {"longlamp": LONGLAMP}}
    with pytest.raises(PerbenchError, match=r"perbench_longlamp_prw.*--apply_chat_template"):
        theirs("perbench_longlamp_prw", apply_chat_template=False, **given)
    with pytest.raises(PerbenchError, match="--system_instruction"):
        theirs("perbench_longlamp_prw", system_instruction="Be kind.", **given)


def test_a_prompt_beyond_the_context_is_not_cut(theirs: Theirs) -> None:
    with pytest.raises(PerbenchError, match=r"exceed the model's context of 2048.*max_length"):
        theirs(
            "perbench_longlamp_prw",
            data={"longlamp": LONGLAMP},
            metadata={"set": {"sampling.max_new_tokens": 1850}},
        )


def test_metadata_of_another_shape(theirs: Theirs) -> None:
    with pytest.raises(PerbenchError, match="--metadata: data must be an object"):
        theirs("perbench_longlamp_prw", metadata={"data": "longlamp"})
    with pytest.raises(PerbenchError, match=r"--metadata: unknown key 'sett'.*'set'"):
        theirs("perbench_longlamp_prw", metadata={"sett": {"sampling.temperature": 0}})
    with pytest.raises(PerbenchError, match=r"sampling.temprature.*Did you mean 'temperature'"):
        theirs("perbench_longlamp_prw", metadata={"set": {"sampling.temprature": 0}})


def test_examples_that_the_task_skips(theirs: Theirs, engine: TransformersEngine) -> None:
    skip = {**SHORT["set"], "max_length": 153, "on_too_long": "skip"}
    given: dict[str, Any] = {"data": {"longlamp": LONGLAMP}}
    found = theirs("perbench_longlamp_prw", metadata={"set": skip}, **given)
    samples, scored = own("longlamp/prw", engine, overrides=skip, **given)
    rows = logged(found, "perbench_longlamp_prw")
    assert {name: row["samples"] for name, row in rows.items()} == {
        name: [sample] for name, sample in samples.items()
    }
    assert 0 < sum("missing" in sample for sample in samples.values()) < len(samples)
    value = found["results"]["perbench_longlamp_prw"]["rougeL,none"]
    assert value == pytest.approx(scored.metrics["rougeL"].value)


class Chats:
    """A server of chats without a tokenizer, as lm-eval sees it."""

    rank, world_size, tokenizer = 0, 1, None

    def apply_chat_template(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:
        return json.dumps(messages)


def test_a_model_without_a_tokenizer(theirs: Theirs, tiny_model_dir: Path) -> None:
    from perbench.harness.asking import Asker
    from perbench.specs.load import load_task

    task = load_task("longlamp/prw")
    with pytest.raises(PerbenchError, match=r'longlamp/prw.*--metadata.*"tokenizer"'):
        Asker(Chats().apply_chat_template, None, task, needed=True)
    lent = Asker(Chats().apply_chat_template, str(tiny_model_dir), task, needed=True)
    assert lent.tokenizer.chat_template is not None
    assert lent.context is None
    assert Asker(Chats().apply_chat_template, None, task, needed=False).tokenizer is None


def test_a_tokenizer_without_a_template(theirs: Theirs, engine: TransformersEngine) -> None:
    from copy import deepcopy

    from lm_eval.models.huggingface import HFLM

    tokenizer = deepcopy(engine.tokenizer)
    tokenizer.chat_template = None
    model = HFLM(pretrained=engine.model, tokenizer=tokenizer, backend="causal")
    with pytest.raises(PerbenchError, match="no chat template"):
        theirs("perbench_longlamp_prw", data={"longlamp": LONGLAMP}, model=model)


def test_a_task_that_lm_eval_cannot_ask_is_left_out(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    root.task("other", decoding={"method": "context_steering"})
    assert main(["lm-eval", "path"]) == 0
    shown = capsys.readouterr()
    assert "tiny/other is left out" in shown.err
    assert "context_steering needs logits" in shown.err
    folder = Path(shown.out.strip())
    assert not (folder / "perbench_tiny_other.yaml").exists()
    assert (folder / "perbench_tiny_writing.yaml").exists()


@pytest.mark.parametrize("found", [None, "0.4.12", "0.5.0"])
def test_lm_eval_of_another_version(
    found: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(name: str) -> str:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(version, "version", fake)
    assert main(["lm-eval", "run", "--tasks", "perbench_longlamp_prw"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (found or "not installed") in line
    assert "perbench[lm-eval]" in line


def test_an_unknown_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm-eval", "run", "--tasks", "perbench_longlamp_prv,arc_easy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'perbench_longlamp_prv'" in line
    assert "Did you mean 'perbench_longlamp_prw'?" in line


def test_the_command_ends_with_one_line(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Data that are not prepared, under plain lm-eval."""
    options = [
        *("--include_path", str(task_folder({})), "--tasks", "perbench_longlamp_prw"),
        *("--model", "hf", "--model_args", f"pretrained={tiny_model_dir}", "--device", "cpu"),
        "--apply_chat_template",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PERBENCH_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("perbench: error: ")
    assert "perbench data prepare longlamp" in done.stderr.splitlines()[-1]


def test_the_folder_is_kept_and_follows_its_tasks(root: Root) -> None:
    first = task_folder({})
    before = (first / "perbench_tiny_writing.yaml").stat().st_mtime_ns
    assert task_folder({}) == first
    assert (first / "perbench_tiny_writing.yaml").stat().st_mtime_ns == before
    root.task("writing", summary="Another summary.")
    second = task_folder({})
    assert second != first
    assert "Another summary." in (second / "perbench_tiny_writing.yaml").read_text()
    assert not [path for path in first.parent.iterdir() if path.name.startswith(".")]
