"""The section `vllm` of a model's file, and of `engine` in a matrix."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from perbench.shapes.base import Strict
from perbench.shapes.templates import Count

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM can reserve room for."""
Rank = Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]


class Vllm(Strict):
    """How vLLM serves a model. What is not in `identity` changes memory, speed and rounding, never what is
    computed."""

    model_config = ConfigDict(allow_inf_nan=False)

    adapters: Literal["swap", "merge"] = "swap"
    """swap: LoRA adapters stay apart, and one engine serves all of a base model; merge: each is merged into a
    copy of the weights, which an engine of its own serves."""
    batch_invariant: bool = False
    """vLLM's batch-invariant kernels (NVIDIA GPUs from capability 8.0): a request's numbers do not depend on
    what else is in its batch."""
    tensor_parallel: Count = 1
    """Devices that share each layer."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of each device's memory for weights and cache. Several engines at a time must share it."""
    cache_gb: Annotated[float, Field(gt=0)] | None = None
    """GB (10^9 bytes) of key-value cache; None: what `gpu_memory_utilization` leaves, 1 GB on a CPU."""
    max_model_len: Count | None = None
    """The longest request with its answer, in tokens; None: the longest that the run's tasks allow, or the
    model's context."""
    max_lora_rank: Rank | None = None
    """Largest rank of adapters; None: of those that the run trains."""
    max_batched_tokens: Count = 2048
    """Tokens of one step. Log-probs of a prompt take about this many times the vocabulary times 10 bytes,
    which vLLM does not reserve."""
    max_sequences: Count = 256
    """Requests in progress at once."""
    prefix_caching: bool = True
    """Whether prompts that begin alike are read once."""
    eager: bool = False
    """Whether to do without compiled graphs: slower, but starts in seconds."""

    @property
    def identity(self) -> dict[str, Any]:
        """The keys that enter identities, where they differ from the defaults."""
        own = {"adapters": self.adapters, "batch_invariant": self.batch_invariant}
        return {key: value for key, value in own.items() if value != type(self).model_fields[key].default}


def too_large(rank: int, most: int) -> str:
    """The fault of an adapter."""
    return (
        f"engine vllm: an adapter of rank {rank}, but vllm.max_lora_rank allows {most}; raise it (at most "
        f"{RANKS[-1]}), lower training.lora.rank, or set vllm.adapters: merge"
    )
