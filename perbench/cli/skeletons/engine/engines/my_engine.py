"""my_engine: describe in this line what serves its models, for `perbench ls`."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.contracts.engine import Conversation, Engine, Generation, Seeds
from perbench.contracts.engine_kind import EngineKind, Host
from perbench.shapes.base import Strict
from perbench.shapes.sampling import SamplingSpec


class MyEngineSpec(Strict):
    answer: str
    """The model's answer to every request."""


class Keys(Strict):
    my_engine: MyEngineSpec


class Opened(Engine):
    name = "my_engine 1"
    offers = frozenset({"chat"})
    alone = True

    def __init__(self, spec: MyEngineSpec) -> None:
        self._spec = spec

    def chat(
        self,
        conversations: Sequence[Conversation],
        sampling: SamplingSpec,
        *,
        seed: Seeds,
        skip: bool = False,
    ) -> list[Generation]:
        read = [sum(len(message["content"].split()) for message in messages) for messages in conversations]
        return [Generation(self._spec.answer, "stop", tokens, 1) for tokens in read]


class MyEngine(EngineKind[Keys]):
    Keys = Keys
    weights = False  # True: the model's file gives hub, path or gguf, and host.weights() is their folder
    what = "a model of my_engine"

    def absent(self) -> list[str]:
        return []  # packages, keys and servers that are missing here

    def open(self, host: Host) -> Opened:
        return Opened(self.keys.my_engine)
