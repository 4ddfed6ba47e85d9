"""The documentation names what there is, and its examples run."""

import json
import re
import shlex
from pathlib import Path

import pytest

from perbench import cli, plugins
from perbench.data.prepare import Request, prepare
from perbench.specs.matrix import LoraSpec, MatrixSpec, PerUserSpec, TrainerRow, TrainingSpec
from perbench.specs.model import Endpoint, GgufPackage, ModelSpec, Prices
from perbench.specs.persona import PersonaSpec, SummarySpec
from perbench.specs.task import (
    DataSpec,
    DecodingSpec,
    DialogueSpec,
    ExamplesSpec,
    FieldSpec,
    ItemExampleSpec,
    JudgeSpec,
    PromptSpec,
    SamplingSpec,
    SecondJudgeSpec,
    SimulatorSpec,
    TaskSpec,
)

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
COMMANDS = [
    shlex.split(line, comments=True)
    for page in PAGES
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("perbench ")
]
NAMES = {name for name, _ in cli._commands()}
TASKS = [DataSpec, DialogueSpec, ExamplesSpec, FieldSpec, JudgeSpec, PersonaSpec, PromptSpec, SamplingSpec]
OTHERS = [
    DecodingSpec,
    SummarySpec,
    Endpoint,
    SimulatorSpec,
    TaskSpec,
    LoraSpec,
    ItemExampleSpec,
    MatrixSpec,
    TrainerRow,
    PerUserSpec,
    TrainingSpec,
    GgufPackage,
    ModelSpec,
    Prices,
    SecondJudgeSpec,
]


@pytest.mark.parametrize("spec", [*TASKS, *OTHERS])
def test_every_key_is_in_the_reference(spec):
    told = set(
        re.findall(r"[a-z_0-9]+", " ".join(re.findall(r"`[^`\n]+`", (DOCS / "specs.md").read_text("utf-8"))))
    )
    assert set(spec.model_fields) <= told


def test_defaults_in_the_training_table_are_the_specs():
    rows = re.findall(
        r"^\| `([a-z_0-9]+)` \| (`?[^|`]+`?) \|", (DOCS / "specs.md").read_text("utf-8"), re.MULTILINE
    )
    told = {key: default.strip("` ") for key, default in rows}
    for key, default in TrainingSpec().model_dump().items():
        if key in told:
            shown = str(default).lower() if default is None or isinstance(default, bool) else default
            assert told[key] == shown or float(told[key]) == default
    assert {"epochs", "batch_size", "learning_rate", "warmup_ratio", "save_every", "precision"} <= set(told)


def test_the_examples_are_plugins_that_load(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "plugins.md").read_text("utf-8"), re.DOTALL)
    folders, names = ("trainers", "identifiers", "tasks/families"), ("my_loss", "my_words", "diaries")
    assert len(blocks) == 3
    for folder, name, text in zip(folders, names, blocks, strict=True):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    assert plugins.load_trainer("my_loss").params == {"weight": 2.0}
    assert plugins.load_identifier("my_words").params == {"threshold": 0.5}
    days = [{"text": "calm"}, {"text": "storm"}]
    for split in ("train", "test"):
        (tmp_path / f"{split}.json").write_text(json.dumps([{"sailor": "Ann", "days": days}]))
    out, _ = prepare(Request("diaries", tmp_path, tmp_path / "out"))
    row = {"sailor": "Ann", "past": days[:1], "ask": "Write today's entry.", "last": "storm"}
    assert json.loads((out / "sea" / "test.jsonl").read_text()) == row


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_can_be_given_as_written(words):
    assert cli._parser().parse_args(words[1:]).command == next(word for word in words[1:] if word in NAMES)


def test_there_are_commands_in_the_documentation():
    assert {"run", "train", "eval", "identify"} <= {word for words in COMMANDS for word in words}
