"""The rankings of `perbench.specs.registry`: of every example's items, by place, the most important first.

Each is called as `rank(spec, text, examples, models)`, where `text` is the template of what is compared with
the request and `models` loads what `spec` names; of an example, nothing is read but its id, its request and
its items. Any may raise PerbenchError, naming the example whose items lack what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.prompts.dense import similarities
from perbench.prompts.persona import by_priority, rendered
from perbench.prompts.retrieve import bm25, by_score, latest, query_of, shuffled
from perbench.specs.persona import PersonaSpec

if TYPE_CHECKING:
    from perbench.prompts.build import Models

Rankings = list[list[int]]


def standing_order(spec: PersonaSpec, text: str, examples: Sequence[Example], models: Models) -> Rankings:
    """As they stand, from the end that `priority` names."""
    return [by_priority(len(example.persona), spec) for example in examples]


def by_time(spec: PersonaSpec, text: str, examples: Sequence[Example], models: Models) -> Rankings:
    """Newest first."""
    found = []
    for example in examples:
        try:
            found.append(latest(example.persona, spec.time))
        except PerbenchError as error:
            raise PerbenchError(f"example {example.id}: {error}") from None
    return found


def at_random(spec: PersonaSpec, text: str, examples: Sequence[Example], models: Models) -> Rankings:
    """An order drawn for each example."""
    return [shuffled(len(example.persona), example.id, spec.seed) for example in examples]


def by_words(spec: PersonaSpec, text: str, examples: Sequence[Example], models: Models) -> Rankings:
    """By BM25 of the words they share with the request."""
    return [by_score(bm25(query_of(example.question, spec), rendered(text, example))) for example in examples]


def by_vectors(spec: PersonaSpec, text: str, examples: Sequence[Example], models: Models) -> Rankings:
    """By the similarity of an encoder's vectors."""
    requests = [(query_of(example.question, spec), rendered(text, example)) for example in examples]
    scores = similarities(models.encoder(spec.encoder), requests, cosine=spec.similarity == "cosine")
    return [by_score(own) for own in scores]
