"""The engines of a run: the subject, whose adapters are swapped, and simulators, judges and scorers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.base import Asked
from perbench.contracts.engine_kind import EngineKind, Host
from perbench.disk.digests import canonical_digest
from perbench.lm import models
from perbench.lm.device import free
from perbench.lm.logp_cache import cached_logp
from perbench.matrix.catalogue import Catalogue
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.specs.compose import engine_of
from perbench.store.record import EndpointUse

if TYPE_CHECKING:
    import numpy as np

    from perbench.contracts.engine import Engine, TokenIds
    from perbench.persona.dense import Encoder
    from perbench.store.ledger import Ledger


class EnginePool:
    """Loads each model once. `subject` always has its own engine, so that a simulator or judge of the same
    model never uses the subject's adapter. `cached`: whether paid models answer repeated requests from a
    cache; `say` reports their retries."""

    def __init__(
        self, catalogue: Catalogue, *, cached: bool = True, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._ledger: Ledger | None = None
        self._kinds: dict[str, EngineKind[Any]] = {}
        self._catalogue = catalogue
        self._cached = cached
        self._say = say
        self._named: dict[str, Engine] = {}
        self._subject: Engine | None = None
        self._base: Engine | None = None
        self._serving: tuple[Named[ModelSpec], Path | None] | None = None
        self.users: Mapping[str, Path] | None = None
        """See `perbench.contracts.run.Engines.users`."""

    @property
    def subject(self) -> Engine:
        assert self._subject is not None, "serve() comes before subject"
        return self._subject

    def serve(
        self, model: Named[ModelSpec], checkpoint: Path | None, users: Mapping[str, Path] | None = None
    ) -> Engine:
        """Make `subject` this model with the weights of `checkpoint` (None: the base model). `users` maps
        users to their own adapters on top."""
        self.users = users
        if self._serving == (model, checkpoint):
            return self.subject
        if self._subject is None or self._serving is None or self._serving[0] != model:
            self.release_subject()
            self._subject = self.open(model, subject=True)
        # A failure from here on must not leave one cell's weights serving another.
        self._serving = None
        self._subject.load_adapter(checkpoint)
        self._serving = (model, checkpoint)
        return self._subject

    @contextmanager
    def subject_of(self, user: str | None) -> Iterator[Engine]:
        """See `perbench.contracts.run.Engines.subject_of`."""
        assert self._serving is not None, "serve() comes before subject_of()"
        if user is None or not self.users:
            yield self.subject
            return
        serving, self._serving = self._serving, None  # as above, for a user's weights
        self.subject.load_adapter(serving[1], self.users[user])
        yield self.subject
        self.subject.load_adapter(serving[1])
        self._serving = serving

    @contextmanager
    def booking(self, ledger: Ledger) -> Iterator[None]:
        """Record requests to paid models during the block in `ledger`, the running cell's."""
        self._ledger = ledger
        try:
            yield
        finally:
            self._ledger = None

    def named(self, model: str) -> Engine:
        """The engine of a simulator or judge."""
        if model not in self._named:
            self._named[model] = self.open(self._catalogue.model(model))
        return self._named[model]

    def scorer(self, model: str | None) -> Engine:
        """See `perbench.contracts.run.Engines.scorer`."""
        assert self._serving is not None, "serve() comes before scorer()"
        base, checkpoint = self._serving
        if model is not None:
            return self.named(model)
        if checkpoint is None:
            return self.subject
        if self._base is None:
            self._base = self.open(base, subject=True)
        return self._base

    @property
    def untrained(self) -> bool:
        """See `perbench.contracts.run.Engines.untrained`."""
        assert self._serving is not None, "serve() comes before untrained"
        return self._serving[1] is None

    def base_logp(
        self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]
    ) -> list[np.ndarray[Any, Any]]:
        """See `perbench.contracts.run.Engines.base_logp`. The subject's engine serves the untrained weights
        meanwhile: a second copy might not fit into memory."""
        assert self._serving is not None, "serve() comes before base_logp()"
        model, checkpoint = self._serving

        def score(some: Sequence[TokenIds], texts: Sequence[TokenIds]) -> list[np.ndarray[Any, Any]]:
            if self._serving is not None and checkpoint is not None:
                self._serving = None  # as in serve()
                self.subject.load_adapter(None)
            return self.subject.score(some, texts)

        found = cached_logp(self._catalogue.helper_inputs(model.name), prompts, responses, score)
        if self._serving is None:
            self.subject.load_adapter(checkpoint)
            self._serving = model, checkpoint
        return found

    def open(self, model: Named[ModelSpec], *, subject: bool = False) -> Engine:
        """An engine owned by the caller; requests to paid models are booked. `subject`: of the model under
        evaluation, which serves trained weights, and requests of the targets' lengths only."""
        self._kinds[model.name] = engine_of(model)

        def book(use: EndpointUse) -> None:
            if self._ledger is not None:
                self._ledger.add(model.name, use)

        def weights() -> Path:
            return self._catalogue.resolve(model).folder

        host = Host(weights, self._cached, book, self._say)
        if subject:
            host = replace(host, longest=self._catalogue.longest, rank=self._catalogue.rank)
        return self._kinds[model.name].open(host)

    def price(self, model: str, use: EndpointUse) -> tuple[float, str] | None:
        """The cost of a model's answers, by its name; None for models that this run has not opened."""
        if model not in self._kinds:
            return None
        asked = Asked(use.answers, use.input_tokens, use.output_tokens, use.cached_input_tokens)
        return self._kinds[model].price(asked)

    def release_subject(self) -> None:
        """Free the memory of the subject and its untrained copy."""
        self._subject = self._base = self._serving = None
        free()

    def release(self) -> None:
        """Free the memory of all models."""
        self._named.clear()
        self.release_subject()


class PersonaModels:
    """Implements `perbench.persona.build.Models`. What it loads, by `load`, is freed with it."""

    def __init__(self, catalogue: Catalogue, load: Callable[[Named[ModelSpec]], Engine]) -> None:
        self._catalogue = catalogue
        self._load = load
        self._engines: dict[str, Engine] = {}

    def encoder(self, name: str) -> Encoder:
        from perbench.persona.dense import Encoder

        return Encoder(
            lambda: self._catalogue.resolve(self._catalogue.model(name)).folder, self._digest(name)
        )

    def summariser(self, name: str) -> tuple[str, Callable[[], Engine]]:
        def engine() -> Engine:
            if name not in self._engines:
                self._engines[name] = self._load(self._catalogue.model(name))
            return self._engines[name]

        return self._digest(name), engine

    def _digest(self, name: str) -> str:
        return canonical_digest(self._catalogue.helper_inputs(name))


def open_model(model: Named[ModelSpec], *, say: Callable[[str], None] = lambda line: None) -> Engine:
    """The engine of a model, outside a run."""
    return engine_of(model).open(Host(lambda: models.resolve(model).folder, say=say))
