"""PersonaSwapSpec: a task's section `persona_swap`."""

from __future__ import annotations

from perbench.shapes.base import Strict
from perbench.shapes.fields import ModelName
from perbench.shapes.templates import Count

SWAP_METRICS = ("persona_swap", "persona_swap_reference")
"""What a `persona_swap` section adds to a task's metrics, and may be its headline."""
SWAP_VERSION = 2
"""Of what the section adds to samples; 1 compared with personas that do not fit, too."""


class PersonaSwapSpec(Strict):
    """Whether the right persona explains an answer better than other users' (`swap_scores`)."""

    others: Count = 4
    """Other users whose personas are tried with every answer; fewer when the test split has fewer."""
    scorer: ModelName | None = None
    """Model whose log-probs decide; None: the model under evaluation as it was before any training, so that
    all rows of a model are measured alike."""
