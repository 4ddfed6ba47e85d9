"""What serves a model, one file `engines/NAME.py`: how to open it, what it offers, what identifies it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
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
    """Services of a run for the engines that it opens."""

    weights: Callable[[], Path]
    """The folder of the model's weights in the HF format, downloaded or converted if necessary."""
    cached: bool = True
    """Whether repeated requests may be answered from a cache."""
    book: Callable[[EndpointUse], None] = lambda use: None
    """Called with every request that costs money, and every answer."""
    say: Callable[[str], None] = lambda line: None
    """Shows a line to the user."""
    longest: int | None = None
    """Tokens of the longest request with its answer that the run's tasks allow; None: unknown. Longer ones
    must be served all the same."""
    rank: int = 0
    """The largest rank of the LoRA adapters that are to be served, 0 for none; likewise."""


class EngineKind(Owner[K]):
    """`Keys` are keys of a model's file: by convention one section, named as the engine. A model is served by
    the `engine` in its file, else by the engine whose section it has, else by the default."""

    spec: ModelSpec

    default: ClassVar[bool] = False
    weights: ClassVar[bool] = True
    """Whether it serves local weights, named in the file by one of WEIGHTS; otherwise its own keys identify
    the model."""
    offers: ClassVar[frozenset[Capability]] = frozenset({"chat"})
    """As of the engine that `open` returns. With "tokens", prompts are passed as token ids; with "adapters",
    trained models can be evaluated."""
    what: ClassVar[str] = "a model of another engine"
    """How messages describe one of its models: "an endpoint"."""
    paid: ClassVar[bool] = False
    """Whether requests may cost money: plans and records count them."""
    identity: ClassVar[str | None] = None
    """All of its part in identities, with the rest from `identify`; None: its name, its version and its
    `inputs`."""

    requires: ClassVar[tuple[str, str] | None] = None
    """A package that it needs beyond perbench's own: its module, and how to install it."""
    prefix: ClassVar[str | None] = None
    """Prefix of model names without a file; the rest is passed to `values`."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        known_names("offers", cls.offers, sorted(EVERYTHING))

    @classmethod
    def values(cls, name: str) -> dict[str, Any]:
        """The equivalent YAML file of the model "<prefix>NAME"."""
        raise NotImplementedError

    def __init__(self, model: Named[ModelSpec]) -> None:
        super().__init__(model.spec)
        self.model = model

    def can(self, need: Capability) -> bool:
        """Whether its model has a capability; some may depend on the keys of its file."""
        return need in self.offers

    def identify(self) -> Inputs:
        """What identifies the weights, whatever serves them: JSON values, cheap, without torch.

        Raises:
            PerbenchError: the model is unavailable; the message says what to do.
        """
        from perbench.lm.models import identify

        return identify(self.model)

    def absent(self) -> list[str]:
        """Packages, keys and servers that it needs but this machine lacks, each with what to do."""
        from perbench.lm.gguf_package import absent

        lacking = self.lacking()
        found = [lacking] if lacking is not None else []
        return found + (absent(self.spec.gguf) if self.spec.gguf is not None else [])

    @classmethod
    def lacking(cls) -> str | None:
        """The message that its package is not installed, if so."""
        if cls.requires is None or find_spec(cls.requires[0]) is not None:
            return None
        module, install = cls.requires
        return f"{cls.what} needs the package {module}, which is not installed; {install}"

    def faults(self, rank: int) -> Iterator[str]:
        """Why it cannot serve LoRA adapters of this rank, when planning; each says what to do."""
        return iter(())

    def price(self, asked: Asked) -> tuple[float, str] | None:
        """The cost of these requests and its currency; None if unknown."""
        return None

    @abstractmethod
    def open(self, host: Host) -> Engine:
        """The loaded model; heavy imports belong here."""
