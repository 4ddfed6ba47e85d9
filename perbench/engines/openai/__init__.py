"""Endpoints with OpenAI's chat API: your own server (vLLM, llama.cpp) or a provider's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perbench.contracts.base import Asked, Capability, Inputs
from perbench.contracts.engine_kind import EngineKind, Host
from perbench.shapes.base import Strict

from .section import Endpoint

if TYPE_CHECKING:
    from .engine import OpenAIEngine


class Keys(Strict):
    endpoint: Endpoint


class OpenAI(EngineKind[Keys]):
    Keys = Keys
    weights = False
    what = "an endpoint"
    paid = True
    identity = "openai"
    version = 1
    prefix = "openai/"
    """Models of this owner on the hub need a YAML file."""

    @classmethod
    def values(cls, name: str) -> dict[str, Any]:
        return {"summary": "an endpoint's model", "endpoint": {"model": name}}

    def can(self, need: Capability) -> bool:
        """Its server may take a repetition penalty, if the model's file says under which name."""
        return super().can(need) or (need == "penalty" and "repetition_penalty" in self.keys.endpoint.names)

    def identify(self) -> Inputs:
        return self.keys.endpoint.identity

    def absent(self) -> list[str]:
        return self.keys.endpoint.absent()

    def price(self, asked: Asked) -> tuple[float, str] | None:
        prices = self.keys.endpoint.prices
        return (prices.cost(asked), prices.currency) if prices is not None else None

    def open(self, host: Host) -> OpenAIEngine:
        from .engine import OpenAIEngine
        from .replies import ReplyCache

        cache = ReplyCache() if host.cached else None
        return OpenAIEngine(self.keys.endpoint, cache=cache, book=host.book, say=host.say)
