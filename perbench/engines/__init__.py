"""Engines: a model that generates and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perbench.engines.transformers import TransformersEngine
    from perbench.lm.models import ResolvedModel


def open_engine(model: ResolvedModel, *, dtype: str = "auto") -> TransformersEngine:
    """Load a model with its tokenizer onto the GPU if there is one, else the CPU.

    `dtype` is a torch dtype's name, or "auto" as in `perbench.lm.models.load_causal_lm`.

    Raises:
        PerbenchError: the model or its tokenizer does not load.
    """
    from perbench.engines.transformers import TransformersEngine

    return TransformersEngine(model.folder, dtype=dtype)
