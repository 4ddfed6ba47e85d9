"""PersonaSpec: what of a user's history enters the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER
from perbench.shapes.plugged import plugin_of
from perbench.shapes.templates import Count


class PersonaSpec(Strict):
    """Which items of the history enter the prompt, and in what order.

    retrieve names a ranking, one file in `rankings/`; the best items stand first (`order`) or last. Whole
    items are kept, from the most important on, until `k` items or `max_tokens` rendered tokens are reached
    (or the prompt's room, whichever is less). summarise names what rewrites them, one file in `summarisers/`.
    Rankings and summarisers bring keys of their own (`composed`).
    """

    owned: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """The classes of rankings and summarisers by name, in the spec that `compose` makes of this one."""

    retrieve: Annotated[str, plugin_of("ranking"), LATER] = "all"
    k: Count | None = None
    priority: Literal["first", "last"] = "first"
    order: Literal["best_first", "best_last"] = "best_first"
    max_tokens: Count | None = None
    summarise: Annotated[str, plugin_of("summariser", "none")] = "none"

    @property
    def resolved(self) -> bool:
        """Whether items are chosen or rewritten before prompts are built (`perbench.persona.build`)."""
        return self.retrieve != type(self).model_fields["retrieve"].default or self.summarise != "none"
