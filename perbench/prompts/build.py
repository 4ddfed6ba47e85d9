"""Which items of a history enter the prompts of a data set, and the summaries that replace them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.prompts.dense import similarities
from perbench.prompts.persona import SUMMARY, by_priority, render_items
from perbench.prompts.retrieve import bm25, by_score, latest, query_of, shuffled
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
    record: {"summaries", "summaries_truncated", "persona_items_cut"} of a summarised history."""

    examples: list[Example]
    counts: dict[str, int] = field(default_factory=dict)


def build_personas(task: TaskSpec, examples: Sequence[Example], models: Models) -> Built:
    """Retrieve, then summarise, as the task's `persona` says. Every user's own items only; of an example,
    nothing is read but its id, its request and its items.

    Raises:
        PerbenchError: naming the example whose items lack what the task reads; a model that cannot be had.
    """
    if not task.persona.resolved:
        return Built(list(examples))
    assert task.prompt is not None, "the spec of a generation task names its prompt"
    form, spec = task.prompts[task.prompt], task.persona
    text = form.item if task.ranked_text is None else task.ranked_text
    rankings = _rankings(spec, text, examples, models)
    chosen = [
        replace(example, persona=tuple(example.persona[place] for place in standing(ranking, spec)))
        for example, ranking in zip(examples, rankings, strict=True)
    ]
    if spec.summarise == "none":
        return Built(chosen)
    assert spec.summary is not None, "the spec's validator saw to it"
    digest, engine = models.summariser(spec.summary.model)
    histories = [_rendered(form.item, example) for example in chosen]
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
        },
    )


def standing(ranking: Sequence[int], spec: PersonaSpec) -> list[int]:
    """Of a ranking, best first: the places of the `k` best, in the order they stand in a prompt."""
    if spec.retrieve == "all":
        return sorted(ranking[: spec.k])
    best = list(ranking[: spec.k])
    return best if spec.order == "best_first" else best[::-1]


def _rankings(spec: PersonaSpec, text: str, examples: Sequence[Example], models: Models) -> list[list[int]]:
    """Of each example's items, best first; `text` is the template of what a request is compared with."""
    if spec.retrieve == "dense":
        requests = [(query_of(example.question, spec), _rendered(text, example)) for example in examples]
        encode = models.encoder(spec.encoder)
        scores = similarities(encode, requests, cosine=spec.similarity == "cosine")
        return [by_score(own) for own in scores]
    return [_ranking(spec, text, example) for example in examples]


def _ranking(spec: PersonaSpec, text: str, example: Example) -> list[int]:
    if spec.retrieve == "bm25":
        return by_score(bm25(query_of(example.question, spec), _rendered(text, example)))
    if spec.retrieve == "random":
        return shuffled(len(example.persona), example.id, spec.seed)
    if spec.retrieve == "latest":
        try:
            return latest(example.persona, spec.time)
        except PerbenchError as error:
            raise PerbenchError(f"example {example.id}: {error}") from None
    return by_priority(len(example.persona), spec)


def _rendered(template: str, example: Example) -> list[str]:
    try:
        return render_items(template, example.persona)
    except PerbenchError as error:
        raise PerbenchError(f"example {example.id}: {error}") from None
