"""PersonaSpec: what of a user's history enters the prompt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.specs.base import Strict
from perbench.specs.registry import RANKINGS, Ranking, one_of
from perbench.specs.templates import Count


class SummarySpec(Strict):
    """Recurrent summarisation (LLM-TRSR, Zheng et al. 2024): `model` summarises the first `block` items, then
    renews its summary with each further block."""

    model: str
    block: Count = 5
    max_new_tokens: Count = 256
    item_words: Count = 400
    """Words of an item that the summariser reads; what is cut off is counted."""


class PersonaSpec(Strict):
    """Which items of the history enter the prompt, and in what order.

    retrieve all: every item, in the history's order, from the `priority` end. latest, random, bm25 and dense
    rank the items, and the best stand first (`order`) or last. Whole items are kept, from the most important
    on, until `k` items or `max_tokens` rendered tokens are reached (or the prompt's room, whichever is less).
    """

    retrieve: Annotated[str, one_of(RANKINGS)] = "all"
    k: Count | None = None
    priority: Literal["first", "last"] = "first"
    order: Literal["best_first", "best_last"] = "best_first"
    max_tokens: Count | None = None
    time: str | None = None
    """Of latest: the item's field that holds its time, a number; None: items stand oldest first."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of random; a run's seed changes no choice."""
    query_after: str | None = None
    """Of bm25 and dense: the query is the request's text after this marker, where it holds it."""
    encoder: str = "facebook/contriever"
    """Of dense: an encoder's name; texts are compared by the mean of its last states."""
    similarity: Literal["dot", "cosine"] = "dot"
    summarise: Literal["none", "recurrent"] = "none"
    summary: SummarySpec | None = None

    @model_validator(mode="after")
    def _has_summariser(self) -> PersonaSpec:
        if self.summarise == "recurrent" and self.summary is None:
            raise ValueError("summary: name the model that summarises, summary: {model: NAME}")
        return self

    @property
    def ranking(self) -> Ranking:
        return RANKINGS[self.retrieve]

    @property
    def resolved(self) -> bool:
        """Whether items are chosen or rewritten before prompts are built (`perbench.prompts.build`)."""
        return self.retrieve != "all" or self.summarise != "none"

    @property
    def leading(self) -> Literal["first", "last"]:
        """The end of the items, as they stand, that is kept longest."""
        if self.retrieve == "all":
            return self.priority
        return "first" if self.order == "best_first" else "last"

    @property
    def helpers(self) -> list[str]:
        """Models that build the persona, by registry name."""
        summariser = [self.summary.model] if self.summarise != "none" and self.summary is not None else []
        return [*([self.encoder] if self.retrieve == "dense" else []), *summariser]
