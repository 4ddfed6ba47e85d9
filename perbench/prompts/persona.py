"""Renders the user's history as prompt text, and selects the items that fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perbench.api import Example
from perbench.errors import PerbenchError, suggest
from perbench.shapes.persona import PersonaSpec
from perbench.shapes.task import PromptSpec, TaskSpec
from perbench.specs.compose import leading, summariser_of


def render_items(template: str, persona: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each item rendered by a template over its fields; null renders as nothing, {number} as the item's index
    in `persona`, from 1.

    Raises:
        PerbenchError: the template names a field that an item lacks.
    """
    rendered = []
    for number, item in enumerate(persona):
        fields: dict[str, Any] = {name: "" if value is None else value for name, value in item.items()}
        fields.setdefault("number", number + 1)
        try:
            rendered.append(template.format_map(fields))
        except KeyError as error:
            missing = str(error.args[0])
            raise PerbenchError(
                f"persona item {number} has no field {missing!r}.{suggest(missing, fields)}"
            ) from None
    return rendered


def rendered(template: str, example: Example) -> list[str]:
    """The items of an example under a template.

    Raises:
        PerbenchError: as `render_items`, naming the example.
    """
    try:
        return render_items(template, example.persona)
    except PerbenchError as error:
        raise PerbenchError(f"example {example.id}: {error}") from None


SUMMARY = "summary"
"""The only field of the item that replaces a summarised history."""


def persona_texts(task: TaskSpec, form: PromptSpec, persona: Sequence[Mapping[str, Any]]) -> list[str]:
    """The texts of a persona in a prompt: its items under the form, or its summary unchanged.

    Raises:
        PerbenchError: the form names a field that an item lacks, or the history is not summarised yet.
    """
    if summariser_of(task.persona) is None:
        return render_items(form.item, persona)
    if any(SUMMARY not in item for item in persona):
        raise PerbenchError("its history is not summarised; call perbench.persona.build first")
    return [item[SUMMARY] for item in persona]


def persona_messages(
    task: TaskSpec, form: PromptSpec, persona: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """The role and text of each item in a prompt. The role is empty unless the form makes messages of the
    items; that of a summary is then "system".

    Raises:
        PerbenchError: as `persona_texts`.
    """
    roles = [str(item.get("role", "system")) if form.messages else "" for item in persona]
    return list(zip(roles, persona_texts(task, form, persona), strict=True))


def by_priority(count: int, spec: PersonaSpec) -> list[int]:
    """Indices of the `spec.k` items to try, most important first."""
    order = list(range(count)) if leading(spec) == "first" else list(reversed(range(count)))
    return order[: spec.k]


def affordable(costs: Sequence[int], room: int) -> int:
    """Number of leading items that fit `room` tokens together. It stops at the first that does not fit, so
    that a longer prompt never holds less of the history."""
    total = 0
    for number, cost in enumerate(costs):
        total += cost
        if total > room:
            return number
    return len(costs)
