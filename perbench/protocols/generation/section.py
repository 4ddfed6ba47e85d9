"""The task section `persona_swap`."""

from __future__ import annotations

from perbench.shapes.base import Strict
from perbench.shapes.fields import ModelName
from perbench.shapes.templates import Count

SWAP_METRICS = ("persona_swap", "persona_swap_reference")
"""Metrics added by a `persona_swap` section; each may be the headline."""
SWAP_VERSION = 2
"""Version of the stored log-probs; version 1 also compared with personas that do not fit."""


class PersonaSwapSpec(Strict):
    """Measures whether the right persona explains an answer better than other users' (`swap_scores`)."""

    others: Count = 4
    """Number of other users whose personas are compared; fewer if the test split has fewer."""
    scorer: ModelName | None = None
    """Model that computes the log-probs; None: the model under evaluation before any training, so that all
    rows of a model are measured alike."""
