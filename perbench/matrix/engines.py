"""A run's engines: the subject, whose adapters are swapped, and the models it talks to and is judged by."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perbench import models
from perbench.errors import PerbenchError
from perbench.matrix.cells import Catalogue
from perbench.specs.load import Named
from perbench.specs.model import ModelSpec

if TYPE_CHECKING:
    from perbench.engines.base import Engine


class EnginePool:
    """Loads each model once. `subject` is always an engine of its own, so that a simulator or judge of the
    same model never sees the subject's adapter."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._named: dict[str, Engine] = {}
        self._subject: Engine | None = None
        self._base: Engine | None = None
        self._serving: tuple[Named[ModelSpec], Path | None] | None = None

    @property
    def subject(self) -> Engine:
        assert self._subject is not None, "serve() comes before subject"
        return self._subject

    def serve(self, model: Named[ModelSpec], checkpoint: Path | None) -> Engine:
        """Make `subject` this model with this checkpoint's weights; None is the model as it was."""
        if self._serving == (model, checkpoint):
            return self.subject
        if self._subject is None or self._serving is None or self._serving[0] != model:
            self.release_subject()
            self._subject = open_model(model)
        # Whatever fails from here on must not leave the weights of one cell serving another.
        self._serving = None
        self._subject.load_adapter(checkpoint)
        self._serving = (model, checkpoint)
        return self._subject

    def named(self, model: str) -> Engine:
        """The engine of a simulator or judge."""
        if model not in self._named:
            self._named[model] = open_model(self._catalogue.model(model))
        return self._named[model]

    def scorer(self, model: str | None) -> Engine:
        """See `perbench.protocols.base.Engines.scorer`."""
        assert self._serving is not None, "serve() comes before scorer()"
        base, checkpoint = self._serving
        named = base if model is None else self._catalogue.model(model)
        if named.spec.endpoint is not None:
            raise PerbenchError(
                f"persona_swap: model {named.name} is an endpoint, which gives no log-probs of given texts; "
                "name a local model: persona_swap.scorer"
            )
        if model is not None:
            return self.named(model)
        if checkpoint is None:
            return self.subject
        if self._base is None:
            self._base = open_model(base)
        return self._base

    def release_subject(self) -> None:
        """Give back the subject's memory, and that of its untrained copy."""
        self._subject = self._base = self._serving = None
        free_memory()


def free_memory() -> None:
    """Drop unreachable tensors, and on a GPU return their memory to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def open_model(model: Named[ModelSpec]) -> Engine:
    """The engine of a model, wherever it runs."""
    if model.spec.endpoint is not None:
        from perbench.engines.openai import OpenAIEngine

        return OpenAIEngine(model.spec.endpoint)
    from perbench.engines import open_engine

    return open_engine(models.resolve(model), dtype=model.spec.dtype)
