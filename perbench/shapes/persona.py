"""PersonaSpec: the part of a user's history that enters the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER
from perbench.shapes.plugged import plugin_of
from perbench.shapes.templates import Count


class PersonaSpec(Strict):
    """Which items of the history enter the prompt, and in what order.

    retrieve names a ranking, one file in `rankings/`; the best items come first (`order`) or last. Whole
    items are kept, in order of importance, up to `k` items, `max_tokens` rendered tokens or the prompt's
    room. summarise names a summariser, one file in `summarisers/`, which rewrites them. Both add their own
    keys (`composed`).

    whose persona the prompts of a target hold: the user's own, none, or another user's
    (`perbench.persona.whose`), to measure what the answers owe to it.
    """

    owned: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """Ranking and summariser classes by name, in the spec that `compose` makes of this one."""

    retrieve: Annotated[str, plugin_of("ranking"), LATER] = "all"
    k: Count | None = None
    priority: Literal["first", "last"] = "first"
    order: Literal["best_first", "best_last"] = "best_first"
    max_tokens: Count | None = None
    whose: Annotated[Literal["own", "none", "other"], LATER] = "own"
    summarise: Annotated[str, plugin_of("summariser", "none")] = "none"

    @property
    def resolved(self) -> bool:
        """Whether items are selected or rewritten before prompts are built (`perbench.persona.build`)."""
        return self.retrieve != type(self).model_fields["retrieve"].default or self.summarise != "none"
