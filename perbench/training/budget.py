"""Memory of a training run per device, computed from the model's config without torch.

Weights, gradients and moments are exact. Activations are the bytes per token that autograd keeps of a decoder
layer in transformers with fused attention; `KEPT` holds measured values (tests measure them again).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perbench.errors import PerbenchError
from perbench.specs.matrix import TrainingSpec

KINDS = ("llama", "mistral", "qwen2", "qwen3")
RESERVE = 0.08
"""Share of a device's memory reserved for its context, fragmentation and kernel workspaces."""
CHUNK, KEEP = 512, 2**30
"""As in `perbench.lm.head`, which imports torch."""
STEP = 256
"""Token budgets are multiples of this."""


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes, named as in config.json."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool

    @classmethod
    def read(cls, config: Mapping[str, Any], where: str) -> Shape:
        """Raises PerbenchError for an unsupported kind of model, or a missing size."""
        kind = config.get("model_type")
        if kind not in KINDS:
            raise PerbenchError(
                f"{where}: model_type {kind!r}: memory is computed for {', '.join(KINDS)} only"
            )
        try:
            hidden, heads = config["hidden_size"], config["num_attention_heads"]
            return cls(
                model_type=kind,
                hidden_size=hidden,
                intermediate_size=config["intermediate_size"],
                num_hidden_layers=config["num_hidden_layers"],
                num_attention_heads=heads,
                num_key_value_heads=config.get("num_key_value_heads") or heads,
                head_dim=config.get("head_dim") or hidden // heads,
                vocab_size=config["vocab_size"],
                tie_word_embeddings=config.get("tie_word_embeddings", False),
            )
        except KeyError as error:
            raise PerbenchError(f"{where}: no {error.args[0]}") from None

    @property
    def query(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def key(self) -> int:
        return self.num_key_value_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Parameters of the embedding and the head, counted once if they are tied."""
        return self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    @property
    def layer(self) -> int:
        """Parameters of one decoder layer."""
        hidden = self.hidden_size
        linear = sum(inner * outer for inner, outer in self.linears)
        biases = self.query + 2 * self.key if self.model_type == "qwen2" else 0
        norms = 2 * hidden + (2 * self.head_dim if self.model_type == "qwen3" else 0)
        return linear + biases + norms

    @property
    def parameters(self) -> int:
        return self.embedding + self.num_hidden_layers * self.layer + self.hidden_size

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of a layer's linear modules."""
        hidden, inner = self.hidden_size, self.intermediate_size
        attention = [(hidden, self.query), (hidden, self.key), (hidden, self.key), (self.query, hidden)]
        return [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]


Layer = tuple[int, int, int, int]
KEPT: dict[tuple[str, str], Layer] = {
    ("full", "fp32"): (24, 16, 8, 8),
    ("full", "bf16"): (26, 8, 4, 6),
    ("full", "half"): (16, 8, 4, 6),
    ("lora", "fp32"): (16, 16, 8, 4),
    ("lora", "bf16"): (12, 8, 4, 4),
}
"""Bytes per token that autograd keeps of a decoder layer, per unit of hidden size, of MLP size, of query and
key sizes (with the values), and of the latter two if normed (qwen3). "half": bf16 with bf16 layer inputs, as
under fsdp."""


@dataclass(frozen=True)
class Budget:
    """Bytes on one device: fixed parts, then the bytes per token of a micro-batch.

    `gathered`: weights for computation (bf16 copies, or gathered layers); `head`: the logits of a chunk and
    the head's gradient before it is added; `logits`: bytes per token of the log-probs kept by a trained head,
    up to KEEP in total, if all tokens belong to responses.
    """

    parameters: int
    trainable: int
    weights: int
    gradients: int
    moments: int
    gathered: int
    head: int
    per_token: int
    logits: int

    @property
    def fixed(self) -> int:
        return self.weights + self.gradients + self.moments + self.gathered + self.head

    def at(self, tokens: int) -> int:
        """Peak bytes of an update with micro-batches of `tokens`."""
        return self.fixed + tokens * self.per_token + min(KEEP, tokens * self.logits)

    def tokens(self, memory: float) -> int:
        """The largest micro-batch that fits into `memory` bytes; 0 if none does."""
        left = memory * (1 - RESERVE) - self.fixed - (KEEP if self.logits else 0)
        return max(0, int(left // self.per_token) // STEP * STEP)


def budget(
    shape: Shape,
    spec: TrainingSpec,
    *,
    devices: int = 1,
    bf16: bool = True,
) -> Budget:
    """Memory of training a model of this shape; `bf16`: the value of `precision: auto` on the devices."""
    lora, layers = spec.method == "lora", shape.num_hidden_layers
    half = spec.precision == "bf16" or (spec.precision == "auto" and bf16)
    sharded = spec.parallel == "fsdp" and devices > 1
    parts = devices if sharded else 1
    compute = 2 if half else 4
    adapters = layers * spec.lora.rank * sum(map(sum, shape.linears))
    trainable = adapters if lora else shape.parameters
    held = shape.parameters * (compute if lora else 4) + (4 * adapters if lora else 0)
    gathered = 0
    if sharded:  # other weights stay gathered during an update; a layer in use, and the next
        outside = shape.embedding + shape.hidden_size
        gathered = compute * (outside + 2 * shape.layer) + (0 if lora else 4 * (outside + shape.layer))
    elif half and not lora:
        gathered = compute * shape.parameters
    head = CHUNK * shape.vocab_size * (2 * compute + 4)
    if not lora:
        head += 4 * shape.vocab_size * shape.hidden_size
    return Budget(
        parameters=shape.parameters,
        trainable=trainable,
        weights=held // parts,
        gradients=4 * trainable // parts,
        moments=8 * trainable // parts,
        gathered=gathered,
        head=head,
        per_token=_per_token(shape, spec, half=half, sharded=sharded),
        logits=0 if lora else 4 * shape.vocab_size,
    )


def kept(shape: Shape, spec: TrainingSpec, *, half: bool, sharded: bool = False) -> int:
    """Bytes per token that autograd keeps of one decoder layer without activation checkpointing."""
    lora = spec.method == "lora"
    form = "half" if half and sharded and not lora else "bf16" if half else "fp32"
    hidden, inner, attention, normed = KEPT[spec.method, form]
    heads = shape.query + shape.key
    total = hidden * shape.hidden_size + inner * shape.intermediate_size + attention * heads
    if shape.model_type == "qwen3":
        total += normed * (shape.query + shape.key)
    total += 4 * shape.num_attention_heads
    return total + (7 * spec.lora.rank * (2 if half else 4) if lora else 0)


def _per_token(shape: Shape, spec: TrainingSpec, *, half: bool, sharded: bool) -> int:
    layer = kept(shape, spec, half=half, sharded=sharded)
    residual = shape.hidden_size * (2 if half and (sharded or spec.method == "lora") else 4)
    # A layer's backward pass also holds the gradients of its activations.
    if spec.gradient_checkpointing:
        return shape.num_hidden_layers * residual + 2 * layer + 2 * residual
    return (shape.num_hidden_layers + 1) * layer + 2 * residual
