"""Prompt lengths of prepared data, with and without the persona (PerCE, Table 7)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from perbench import plugins
from perbench.data.examples import load_examples
from perbench.persona.retrieve import absent
from perbench.shapes.base import Named
from perbench.specs.compose import family_in, persona_helpers, source_of
from perbench.specs.load import all_reported, load_task

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.progress import Tick
    from perbench.shapes.task import TaskSpec

Lengths = dict[str, dict[str, float | int]]
"""{"examples": {"count"}, "with persona" | "without" | "response": {"mean", "max"}}, in tokens."""
PUBLISHED = "tokens of the prompt"
"""The metric of reported tables of such lengths; their rows' settings are the columns here."""


class Words:
    """Replaces a missing tokenizer: white-space separated words, no control tokens."""

    chat_template = "the texts of the turns"
    added_tokens_decoder: dict[int, Any] = {}
    all_special_tokens: list[str] = []
    all_special_ids: list[int] = []
    eos_token_id = None

    def __call__(self, text: str | list[str], **options: Any) -> dict[str, Any]:
        split = text.split() if isinstance(text, str) else [part.split() for part in text]
        return {"input_ids": split}

    def decode(self, words: Sequence[str], **options: Any) -> str:
        return " ".join(words)

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        return "\n".join(message["content"] for message in messages)


def readers(family: str, folder: Path) -> dict[str, Named[TaskSpec]]:
    """The tasks that read a family's rows, from this folder."""
    found = {}
    for name in plugins.names("task"):
        if plugins.family_name(family_in(load_task(name).spec.data) or "") == family:
            found[name] = load_task(name, data={family: folder})
    return found


def ready(tasks: Mapping[str, Named[TaskSpec]]) -> tuple[list[str], list[str]]:
    """The tasks whose test split is there, and the others."""
    there, not_there = list[str](), list[str]()
    for name, task in tasks.items():
        data = task.spec.data
        (there if source_of(data).has(data.test_split, task.folder) else not_there).append(name)
    return there, not_there


def lengths(tasks: Mapping[str, Named[TaskSpec]], tokenizer: Any, tick: Tick) -> dict[str, Lengths]:
    """The lengths by "TASK, SPLIT", of the examples drawn by each task.

    For a task without a prompt form (dialogue, preference), the persona's texts and, if there is one, the
    question are measured. Tasks whose persona is built by a model, or by a package that is not installed, are
    left out.
    """
    found = {}
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    for done, (name, task) in enumerate(tasks.items()):
        tick(done, len(tasks), {})
        for split in splits:
            data = task.spec.data
            there = source_of(data).has(getattr(data, f"{split}_split"), task.folder)
            if there and not persona_helpers(task.spec.persona) and not absent(task.spec.persona):
                found[f"{name}, {split}"] = _measure(task, load_examples(task, split).examples, tokenizer)
    return found


def _measure(task: Named[TaskSpec], examples: Sequence[Example], tokenizer: Any) -> Lengths:
    from perbench.persona.build import build_personas
    from perbench.prompts.pair import build_pair

    columns: dict[str, list[int]]
    if task.spec.prompt is None:
        columns = {"with persona": [_count(tokenizer, _persona(task, example)) for example in examples]}
        if task.spec.fields.question is not None:
            columns["without"] = [_count(tokenizer, example.question) for example in examples]
            columns["with persona"] = [sum(both) for both in zip(*columns.values(), strict=True)]
    else:
        no_models: Any = None  # such tasks were left out
        built = build_personas(task.spec, examples, no_models).examples
        pairs = [build_pair(task.spec, example, tokenizer, with_response=True) for example in built]
        columns = {
            "with persona": [len(pair.factual) for pair in pairs],
            "without": [len(pair.counterfactual) for pair in pairs],
            "response": [len(pair.response) for pair in pairs],
        }
    measured: Lengths = {name: {"mean": mean(values), "max": max(values)} for name, values in columns.items()}
    return {"examples": {"count": len(examples)}, **measured}


def _persona(task: Named[TaskSpec], example: Example) -> str:
    if task.spec.fields.persona is not None:
        values = [value for item in example.persona for value in item.values()]
    else:
        values = [example.extra[name] for name in task.spec.fields.extra]
    return "\n".join(str(value) for value in values)


def _count(tokenizer: Any, text: str) -> int:
    from perbench.prompts.chat import encode

    return len(encode(tokenizer, text))


def published(tasks: Collection[str]) -> dict[str, dict[str, str]]:
    """What papers print of the tasks' lengths, "PerCE Table 7, longlamp/pag" -> column -> number."""
    found: dict[str, dict[str, str]] = {}
    for table in (named.spec for named in all_reported()):
        for place, column in enumerate(table.columns):
            for task in set(column.tasks).intersection(tasks) if column.metric == PUBLISHED else ():
                found[f"{table.label}, {task}"] = {row.setting: row.printed[place] for row in table.rows}
    return found
