"""Local weights, served by vLLM: many requests at once on GPUs (extra: vllm)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from perbench.contracts.base import Capability, Inputs
from perbench.contracts.engine_kind import EngineKind, Host
from perbench.shapes.base import Strict

from .section import RANKS, Vllm, too_large

if TYPE_CHECKING:
    from .engine import VllmEngine

OFFERS: frozenset[Capability] = frozenset({"chat", "tokens", "score", "adapters", "penalty", "eos"})
INSTALL = (
    "it gets an environment of its own, since it pins torch; in perbench's checkout, run: python3 -m venv "
    ".venv-vllm && .venv-vllm/bin/pip install -e '.[vllm]' (on a CPU: make .venv-vllm/installed), then use "
    ".venv-vllm/bin/perbench"
)


class Keys(Strict):
    vllm: Vllm | None = None


class VllmKind(EngineKind[Keys]):
    Keys = Keys
    offers = OFFERS
    what = "a model of engine vllm"
    requires = ("vllm", INSTALL)
    version = 1

    @property
    def section(self) -> Vllm:
        return self.keys.vllm or Vllm()

    def inputs(self, helpers: Mapping[str, Inputs]) -> Inputs:
        return self.section.identity

    def faults(self, rank: int) -> Iterator[str]:
        most = self.section.max_lora_rank or RANKS[-1]
        if self.section.adapters == "swap" and rank > most:
            yield too_large(rank, most)

    def open(self, host: Host) -> VllmEngine:
        from .engine import VllmEngine

        return VllmEngine(
            host.weights(), self.section, dtype=self.spec.dtype, longest=host.longest, rank=host.rank
        )
