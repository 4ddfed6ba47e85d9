"""The base of all owners: their own YAML keys, the keys they read, the models they use."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast, get_args

from perbench.errors import suggest
from perbench.plugins import roots
from perbench.shapes.base import Strict
from perbench.shapes.fields import sampled
from perbench.shapes.sampling import SamplingSpec

Capability = Literal["chat", "tokens", "score", "steer", "vectors", "adapters", "module", "penalty", "eos"]
"""What an engine can offer: chats; token ids (`generate`, a tokenizer); log-probs of given texts; steered
decoding; weights as an encoder; adapters; the torch module in this process; `sampling.repetition_penalty`;
`sampling.end: eos`."""
EVERYTHING: frozenset[Capability] = frozenset(get_args(Capability))

Inputs = dict[str, Any]


class NoKeys(Strict):
    """No keys of its own."""


K = TypeVar("K", bound=Strict)


@dataclass(frozen=True)
class Role:
    """A model that takes part. `model` is its name, None for the model under evaluation. `needs` maps each
    capability it must have to the error message otherwise: with {model} and {what} ("an endpoint").
    `sampling` is how its answers are sampled, if the task says so at `sampling_key`."""

    name: str
    model: str | None
    needs: Mapping[Capability, str] = field(default_factory=dict)
    sampling: SamplingSpec | None = None
    sampling_key: str = "sampling"


@dataclass(frozen=True)
class Asked:
    """Requests of one role in a cell; tokens are estimates, of which output is a maximum. `cached` are those
    of `input` that the server had cached."""

    requests: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0

    def __add__(self, other: Asked) -> Asked:
        return Asked(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class Owner(ABC, Generic[K]):
    """Base of the contracts. `Keys` are the keys it adds to its spec, each with its own default; one without
    a default is required if the owner is in force, and only then. Checks across keys belong in a validator of
    a section, or in the contract's `faults`."""

    Keys: ClassVar[type[Strict]] = NoKeys
    reads: ClassVar[frozenset[str]] = frozenset()
    """The keys of others that it reads, as dotted paths of a task; a section's name includes its keys."""
    version: ClassVar[int | None] = None
    """Raised by hand when the same inputs give another result; 1 leaves no trace in identities. None:
    identities hold the digest of the plugin's file instead, if samples depend on it."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    @property
    def called(self) -> str:
        """Its name in messages."""
        *_, folder, name = type(self).__module__.split(".")
        return f"{folder[:-1]} {name}"

    @property
    def keys(self) -> K:
        own = type(self).Keys
        return cast(K, own.model_construct(**{name: getattr(self.spec, name) for name in own.model_fields}))

    def roles(self) -> Sequence[Role]:
        """The models that take part, as its keys name them."""
        return ()

    def inputs(self, helpers: Mapping[str, Inputs]) -> Inputs:
        """The part of its keys that enters identities, without absent sections."""
        return {name: value for name, value in sampled(self.keys, helpers).items() if value is not None}

    def idle(self) -> dict[str, str]:
        """Keys of its own that its other settings make unused: {"x.retries": "under x.method y"}."""
        return {}


def known_names(attribute: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError: a class attribute holds a name that is not among `known`."""
    known = list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"{attribute}: unknown {name!r}.{suggest(name, known)}")


def folders(name: str) -> list[Path]:
    """The folders of this name in plugin roots, in which an owner may look up files."""
    return [root.path / name for root in roots() if (root.path / name).is_dir()]
