"""Which items of a history enter the prompts of a data set, and the summaries that replace them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.prompts.persona import SUMMARY, rendered
from perbench.prompts.retrieve import absent
from perbench.prompts.summary import summarise
from perbench.specs.persona import PersonaSpec
from perbench.specs.task import TaskSpec

if TYPE_CHECKING:
    import numpy as np

    from perbench.engines.base import Engine


class Models(Protocol):
    """What personas are built with, by registry name; nothing is loaded before it is used."""

    def encoder(self, name: str) -> Callable[[Sequence[str]], np.ndarray[Any, Any]]:
        """Texts -> vectors."""

    def summariser(self, name: str) -> tuple[str, Callable[[], Engine]]:
        """What identifies the model, and what loads it."""


@dataclass(frozen=True)
class Built:
    """`examples` with the items that prompts are made of, in the order they stand in; `counts` go into the
    record: {"summaries", "summaries_truncated", "persona_items_cut"} of a summarised history, and
    "summaries_missing" where the model left a block of a history without a summary."""

    examples: list[Example]
    counts: dict[str, int] = field(default_factory=dict)


def build_personas(task: TaskSpec, examples: Sequence[Example], models: Models) -> Built:
    """Retrieve, then summarise, as the task's `persona` says. Every user's own items only; of an example,
    nothing is read but its id, its request and its items.

    Raises:
        PerbenchError: naming the example whose items lack what the task reads; a model that cannot be
            had; a package that is not installed.
    """
    if not task.persona.resolved:
        return Built(list(examples))
    if missing := absent(task.persona):
        raise PerbenchError(missing[0])
    assert task.prompt is not None, "the spec of a generation task names its prompt"
    form, spec = task.prompts[task.prompt], task.persona
    text = form.item if task.ranked_text is None else task.ranked_text
    module, _, function = spec.ranking.rank.partition(":")
    rankings = getattr(import_module(module), function)(spec, text, examples, models)
    chosen = [
        replace(example, persona=tuple(example.persona[place] for place in standing(ranking, spec)))
        for example, ranking in zip(examples, rankings, strict=True)
    ]
    if spec.summarise == "none":
        return Built(chosen)
    assert spec.summary is not None, "the spec's validator saw to it"
    digest, engine = models.summariser(spec.summary.model)
    histories = [rendered(form.item, example) for example in chosen]
    found = summarise(histories, spec.summary, digest, engine)
    return Built(
        [
            replace(example, persona=({SUMMARY: one.text},) if one.text else ())
            for example, one in zip(chosen, found, strict=True)
        ],
        {
            "summaries": sum(bool(one.text) for one in found),
            "summaries_truncated": sum(one.truncated for one in found),
            "persona_items_cut": sum(one.cut for one in found),
            **({"summaries_missing": lost} if (lost := sum(bool(one.missing) for one in found)) else {}),
        },
    )


def standing(ranking: Sequence[int], spec: PersonaSpec) -> list[int]:
    """Of a ranking, best first: the places of the `k` best, in the order they stand in a prompt."""
    if spec.retrieve == "all":
        return sorted(ranking[: spec.k])
    best = list(ranking[: spec.k])
    return best if spec.order == "best_first" else best[::-1]
