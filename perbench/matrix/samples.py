"""A cell's stored samples for reading, completed from the task's data.

Samples hold neither prompts nor histories, which may be large or not redistributable; both come from the
task's data on this machine, if available and unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perbench.api import Example
from perbench.contracts import missing
from perbench.data import load_examples
from perbench.errors import PerbenchError, suggest
from perbench.matrix.cells import describe
from perbench.matrix.rescore import task_of
from perbench.progress import counted
from perbench.prompts.pair import turns_with, turns_without
from perbench.prompts.persona import by_priority, persona_texts
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import owner_of
from perbench.store import CellRecord, DamagedRecord, RunDir, read_records
from perbench.store.check import read_record, read_samples, read_scores
from perbench.store.rundir import cells_of

HELD = "⟨persona⟩"
"""Placeholder for the persona in a prompt."""
MOST = 10
"""Maximum cells listed in a message."""


@dataclass(frozen=True)
class Shown:
    """One sample; unknown parts are None, explained by `notes`. `scores` has every metric of the sample."""

    id: str
    user: str | None
    persona: tuple[str, ...] | None
    prompt: tuple[tuple[str, str], ...]
    """Role and text of each message, with HELD in place of the persona."""
    answer: str
    missing: str | None
    reference: str | None
    scores: Mapping[str, float | None]
    notes: tuple[str, ...]


def find_cell(place: Path, words: Sequence[str]) -> tuple[CellRecord, Path]:
    """A finished evaluation or identification, given by its folder, or by a run directory and the start of
    its identity or words of its description.

    Raises:
        PerbenchError: none or several match; the message lists them.
    """
    if place.parent.name == "cells":
        if not place.is_dir():
            names = [folder.name for folder in cells_of(place.parent.parent).iterdir()]
            raise PerbenchError(f"{place}: no such cell.{suggest(place.name, names)}")
        record = read_record(place)
        if record is None:
            raise PerbenchError(f"{place} holds no finished cell; finish it by the command that started it")
        return record, place
    damaged: list[DamagedRecord] = []
    held = [pair for pair in read_records(place, damaged) if pair[0].kind != "train"]
    chosen = [pair for pair in held if _matches(pair[0], words, whole=True)]
    chosen = chosen or [pair for pair in held if _matches(pair[0], words, whole=False)]
    if len(chosen) == 1:
        return chosen[0]
    listed = chosen or held
    lines = [f"  {one.identity[:8]}  {describe(one.kind, one.labels)}" for one, _ in listed[:MOST]]
    more = [f"  and {len(listed) - MOST} more"] if len(listed) > MOST else []
    more += map(str, damaged)
    asked = f" match {' '.join(words)!r}" if words else ""
    raise PerbenchError(
        "\n".join([f"{place}: {counted(len(chosen), 'evaluation')}{asked}; name one:", *lines, *more])
    )


def _matches(record: CellRecord, words: Sequence[str], *, whole: bool) -> bool:
    """Whether each word starts the cell's identity or folder, or occurs in its description (as a `whole`
    word, so that "ce" does not match "perce")."""
    names = (record.identity, f"{record.kind}-{record.identity}")
    text = describe(record.kind, record.labels)
    ends = (r"(?<!\w)", r"(?!\w)") if whole else ("", "")
    return all(
        any(name.startswith(word) for name in names) or re.search(re.escape(word).join(ends), text)
        for word in words
    )


def shown_samples(
    record: CellRecord, folder: Path, *, worst: int | None, most: int, data: Mapping[str, Path]
) -> tuple[list[Shown], int]:
    """The chosen samples, and the total number: the `worst` by the headline, worst first, else the first
    `most`.

    Raises:
        PerbenchError: no sample has a score by the headline, or its values are neither better nor worse.
    """
    samples = [s for s in read_samples(folder, record.identity) if s.get("split", "test") == "test"]
    scores = _scores(folder)
    chosen = samples[:most]
    if worst is not None:
        headline = record.headline or ""
        scored = [s for s in samples if scores.get(s["id"], {}).get(headline) is not None]
        if not scored:
            raise PerbenchError(
                f"{folder}: no sample has a score of its own by {headline or 'a headline'}; remove --worst"
            )
        better = record.better_of(headline)
        if better is None:
            raise PerbenchError(f"{folder}: no value of {headline} is better than another; remove --worst")
        sign = -1 if better == "lower" else 1
        scored.sort(key=lambda one: (sign * (scores[one["id"]][headline] or 0.0), one["id"]))
        chosen = scored[:worst]
    try:
        task: TaskSpec | None = None
        described = RunDir(folder.parents[1]).description()
        named = task_of(record, described.get("matrices", {}), data)
        task, examples = named.spec, {one.id: one for one in load_examples(named, "test").examples}
        note = None
    except PerbenchError as error:
        examples, note = {}, str(error)
    return [_shown(s, scores.get(s["id"], {}), task, examples, note) for s in chosen], len(samples)


def _scores(folder: Path) -> dict[str, dict[str, float | None]]:
    held = read_scores(folder)
    if held is None:
        return {}
    return {
        name: {metric: values[place] for metric, values in held.scores.items()}
        for place, name in enumerate(held.ids)
    }


def _shown(
    sample: Mapping[str, Any],
    scores: Mapping[str, float | None],
    task: TaskSpec | None,
    examples: Mapping[str, Example],
    note: str | None,
) -> Shown:
    name = sample["id"]
    example = examples.get(owner_of(task).example_of(name)) if task is not None else None
    notes = [f"persona and prompt cannot be shown: {note}"] if note else []
    persona = tuple(sample["persona"]) if "persona" in sample else None
    asked = sample.get("message", sample.get("question", ""))
    prompt: tuple[tuple[str, str], ...] = (("user", asked),) if asked else ()
    if persona is not None:
        notes = []
    elif task is not None and example is not None:
        if sample.get("question", example.question) != example.question:
            notes.append("the task's data have changed since, so the persona may differ")
        persona, more = _persona(sample, task, example)
        notes += more
        if "message" not in sample and task.prompt is not None:
            prompt = _prompt(sample, task, example)
    elif task is not None:
        notes.append("persona and prompt cannot be shown: the task's data no longer have this example")
    answer = sample.get("response", "")
    reference = sample.get("reference", example.reference if example is not None else None)
    gold = ", ".join(answer[start:end] for start, end in sample.get("gold", ()))
    if gold:
        reference = f"gold spans: {gold}"
    return Shown(
        name,
        sample.get("user"),
        persona,
        prompt,
        answer,
        missing.reason(sample),
        reference or None,
        scores,
        tuple(notes),
    )


def _persona(
    sample: Mapping[str, Any], task: TaskSpec, example: Example
) -> tuple[tuple[str, ...], list[str]]:
    """The items in the prompt; the whole history if the prompt held ranked items or a summary of it."""
    form = task.prompts[task.prompt] if task.prompt is not None else None
    if form is None or task.persona.resolved:
        items = [
            " · ".join(str(value) for value in item.values() if value is not None) for item in example.persona
        ]
        note = "the prompt held ranked items or a summary of this history, which are not stored"
        return tuple(items), [note] if form is not None else []
    items = persona_texts(task, form, example.persona)
    kept = sample.get("persona_kept", len(items))
    return tuple(items[i] for i in sorted(by_priority(len(items), task.persona)[:kept])), []


def _prompt(sample: Mapping[str, Any], task: TaskSpec, example: Example) -> tuple[tuple[str, str], ...]:
    assert task.prompt is not None
    form = task.prompts[task.prompt]
    turns = turns_with(form, example, HELD) if sample.get("persona_kept", 1) else turns_without(form, example)
    return tuple((role, text) for role, text in zip(("system", "user"), turns, strict=True) if text)
