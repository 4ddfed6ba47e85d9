"""Local weights, served by transformers in this process on one GPU or the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perbench.contracts.base import EVERYTHING, NoKeys
from perbench.contracts.engine_kind import EngineKind, Host

if TYPE_CHECKING:
    from .engine import TransformersEngine


class Transformers(EngineKind[NoKeys]):
    default = True
    offers = EVERYTHING
    identity = "transformers"
    version = 1

    def open(self, host: Host) -> TransformersEngine:
        from .engine import TransformersEngine

        return TransformersEngine(host.weights(), dtype=self.spec.dtype)
