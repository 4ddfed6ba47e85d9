"""Selects the history items that enter prompts, and replaces them by summaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from perbench.api import Example
from perbench.contracts.persona import Models
from perbench.errors import PerbenchError
from perbench.persona.retrieve import absent
from perbench.prompts.persona import SUMMARY, rendered
from perbench.shapes.persona import PersonaSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import ranked_text, ranking_of, summariser_of


@dataclass(frozen=True)
class BuiltPersonas:
    """`examples` with the items for prompts, in prompt order; `counts` go into the record: {"summaries",
    "summaries_truncated", "persona_items_cut"} of a summarised history, and "summaries_missing" if the model
    gave no summary for a block."""

    examples: list[Example]
    counts: dict[str, int] = field(default_factory=dict)


def build_personas(task: TaskSpec, examples: Sequence[Example], models: Models) -> BuiltPersonas:
    """Retrieve, then summarise, as the task's `persona` specifies. Only the example's id, its request and its
    user's own items are read.

    Raises:
        PerbenchError: an example's items lack a field that the task reads; a model is unavailable; a package
            is not installed.
    """
    if not task.persona.resolved:
        return BuiltPersonas(list(examples))
    if missing := absent(task.persona):
        raise PerbenchError(missing[0])
    assert task.prompt is not None, "tasks with personas name their prompt"
    form, spec = task.prompts[task.prompt], task.persona
    text = ranked_text(task) or form.item
    rankings = ranking_of(spec).rank(text, examples, models)
    chosen = [
        replace(example, persona=tuple(example.persona[place] for place in standing(ranking, spec)))
        for example, ranking in zip(examples, rankings, strict=True)
    ]
    summariser = summariser_of(spec)
    if summariser is None:
        return BuiltPersonas(chosen)
    found = summariser.rewrite([rendered(form.item, example) for example in chosen], models)
    return BuiltPersonas(
        [
            replace(example, persona=({SUMMARY: one},) if one else ())
            for example, one in zip(chosen, found.texts, strict=True)
        ],
        found.counts,
    )


def standing(ranking: Sequence[int], spec: PersonaSpec) -> list[int]:
    """The indices of the `k` best of a ranking (best first), in prompt order."""
    if ranking_of(spec).keeps_order:
        return sorted(ranking[: spec.k])
    best = list(ranking[: spec.k])
    return best if spec.order == "best_first" else best[::-1]
