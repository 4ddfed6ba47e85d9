"""What identifiers that look inside the model share: the torch model, and where the persona stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perbench.api import PersonaText
from perbench.errors import PerbenchError
from perbench.lm.prefix import common_length

PROBE = "§"
"""A persona that shares neither its first nor its last token with a real one."""


def torch_model(engine: Any) -> Any:
    """The torch module that the engine serves.

    Raises:
        PerbenchError: it serves none.
    """
    model = getattr(engine, "model", None)
    if model is None:
        raise PerbenchError(
            f"engine {engine.name} gives no access to the model's inside, which this identifier reads; use a "
            "model whose weights are on this machine (hub, path or gguf)"
        )
    return model


def persona_slot(text: PersonaText) -> range:
    """Positions of `text.factual` that hold the persona: where it differs from the same prompt with another
    persona. A token that also shows the frame around it counts. Empty when the prompt holds no persona."""
    assert text.prompt_with is not None, "given to every identifier that needs a model"
    if text.factual == text.counterfactual:
        return range(0)
    own, other = text.factual, text.prompt_with((PROBE,))
    start = common_length(own, other)
    return range(start, len(own) - common_length(own[start:][::-1], other[start:][::-1]))


@contextmanager
def with_attentions(model: Any) -> Iterator[None]:
    """Attention computed so that its weights can be returned; the fast kernels never hold them."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
