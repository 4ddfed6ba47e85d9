"""Helpers for identifiers that inspect the model: its torch module, and the persona's place in the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perbench.api import PersonaText
from perbench.errors import PerbenchError
from perbench.lm.prefix import common_length

PROBE = "§"
"""A persona whose first and last tokens differ from those of real ones."""


def torch_model(engine: Any) -> Any:
    """The torch module that the engine serves.

    Raises:
        PerbenchError: it serves none.
    """
    model = getattr(engine, "model", None)
    if model is None:
        raise PerbenchError(
            f"this identifier inspects the model, to which engine {engine.name} gives no access; use a model "
            "whose weights are on this machine (hub, path or gguf)"
        )
    return model


def persona_slot(text: PersonaText) -> range:
    """Positions of `text.factual` that hold the persona, found by comparison with the same prompt with
    another persona. Tokens that overlap the surrounding text count. Empty if the prompt holds no persona."""
    assert text.prompt_with is not None, "every identifier that needs a model gets it"
    if text.factual == text.counterfactual:
        return range(0)
    own, other = text.factual, text.prompt_with((PROBE,))
    start = common_length(own, other)
    return range(start, len(own) - common_length(own[start:][::-1], other[start:][::-1]))


@contextmanager
def with_attentions(model: Any) -> Iterator[None]:
    """Use an attention implementation that can return its weights, unlike the fast kernels."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
