"""What serves a model: one file `engines/NAME.py`. How it is opened, what it offers, what identifies it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from perbench.contracts.base import EVERYTHING, Asked, Capability, Inputs, K, Owner, known_names
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine
    from perbench.store.record import EndpointUse


@dataclass(frozen=True)
class Host:
    """What a run lends to an engine that it opens."""

    weights: Callable[[], Path]
    """The folder of the model's weights in the HF format, downloaded or converted first where need be."""
    cached: bool = True
    """Whether what was asked before may be answered from a cache."""
    book: Callable[[EndpointUse], None] = lambda use: None
    """Is told of every request that costs money, and of every answer."""
    say: Callable[[str], None] = lambda line: None
    """Shows a line to the user."""


class EngineKind(Owner[K]):
    """`Keys` are keys of a model's file: by convention one, named as the engine, whose value is a section. A
    model is served by the `engine` that its file names, else by the one whose section it has, else by the
    default."""

    spec: ModelSpec

    default: ClassVar[bool] = False
    weights: ClassVar[bool] = True
    """Whether it serves weights on this machine, which the file names by one of WEIGHTS; else its own keys
    say which model it is."""
    offers: ClassVar[frozenset[Capability]] = frozenset({"chat"})
    """As of the engine that `open` returns. What offers "tokens" reads prompts that perbench made token ids
    of; what offers "adapters" evaluates trainings."""
    what: ClassVar[str] = "a model of another engine"
    """How messages name one of its models: "an endpoint"."""
    paid: ClassVar[bool] = False
    """Whether requests may cost money: plans and records count them."""
    identity: ClassVar[str | None] = None
    """All that stands for it in identities, where `identify` says the rest; None: its name, its version and
    its `inputs`."""

    prefix: ClassVar[str | None] = None
    """Begins the names of models that are no file: what follows goes to `values`."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        known_names("offers", cls.offers, sorted(EVERYTHING))

    @classmethod
    def values(cls, name: str) -> dict[str, Any]:
        """What a YAML file of the model "<prefix>NAME" would hold."""
        raise NotImplementedError

    def __init__(self, model: Named[ModelSpec]) -> None:
        super().__init__(model.spec)
        self.model = model

    def identify(self) -> Inputs:
        """What identifies the weights, whatever serves them: JSON values, cheap, without torch.

        Raises:
            PerbenchError: the model cannot be had, with the way out.
        """
        from perbench.lm.models import identify

        return identify(self.model)

    def absent(self) -> list[str]:
        """Packages, keys and servers that it needs and this machine lacks, each with the way out."""
        from perbench.lm.gguf_package import absent

        return absent(self.spec.gguf) if self.spec.gguf is not None else []

    def price(self, asked: Asked) -> tuple[float, str] | None:
        """What so much costs, and in what currency; None where that is unknown."""
        return None

    @abstractmethod
    def open(self, host: Host) -> Engine:
        """The loaded model; what it takes to load is imported here."""
