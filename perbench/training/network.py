"""Prepares a model for training: precision, adapters, activation checkpointing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.api import Trainer
from perbench.errors import CellError, PerbenchError
from perbench.lm.adapters import adapted, is_adapter
from perbench.lm.contrast import Contrast, contrast, joined
from perbench.lm.device import free
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import fitting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from perbench.lm.models import ResolvedModel
    from perbench.training.batch import Autocast


def uses_bf16(spec: TrainingSpec) -> bool:
    import torch

    from perbench.lm.models import native_dtype

    return spec.precision == "bf16" or (spec.precision == "auto" and native_dtype() is torch.bfloat16)


def precision(spec: TrainingSpec) -> str:
    """The value of `precision` on this machine: "bf16" or "fp32"."""
    return "bf16" if uses_bf16(spec) else "fp32"


def compute_dtype(spec: TrainingSpec) -> torch.dtype | None:
    """The dtype of matrix products; None: that of the weights."""
    import torch

    return torch.bfloat16 if uses_bf16(spec) else None


def autocast(spec: TrainingSpec, device: torch.device) -> Autocast:
    import torch

    if not uses_bf16(spec):
        return nullcontext

    def region() -> AbstractContextManager[object]:
        return torch.autocast(device.type, dtype=torch.bfloat16)

    return region


def load(model: ResolvedModel, spec: TrainingSpec, device: torch.device, start: Path | None = None) -> Any:
    """The model before training, on the CPU: `model`, or its checkpoint `start` with an adapter merged, to be
    trained on `device`. Trained weights are float32; a body frozen under LoRA has its compute dtype, which
    avoids casts in every pass."""
    import torch
    from transformers.utils.import_utils import is_flash_attn_2_available

    from perbench.lm.models import load_causal_lm

    frozen_bf16 = spec.method == "lora" and uses_bf16(spec)
    adapter = start is not None and is_adapter(start)
    folder = model.folder if start is None or adapter else start
    network: Any = load_causal_lm(folder, torch.bfloat16 if frozen_bf16 else torch.float32)
    if start is not None and adapter:
        network = adapted(network, start, merge=True)
    if device.type == "cuda" and uses_bf16(spec) and is_flash_attn_2_available():
        network.set_attn_implementation("flash_attention_2")  # no padding needed
    return network


def adapt(network: Any, spec: TrainingSpec, seed: int) -> nn.Module:
    """Wrap with LoRA (initialised from `seed`) or unfreeze all weights; set which modules are in training
    mode."""
    import torch
    from transformers.modeling_layers import GradientCheckpointingLayer

    from perbench.training.lora import Fused

    if spec.gradient_checkpointing:
        enable = (
            getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
        )
        enable({"use_reentrant": False})
    result: Any = network
    if spec.method == "lora":
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=spec.lora.rank,
            lora_alpha=spec.lora.alpha,
            lora_dropout=spec.lora.dropout,
            target_modules=_target_modules(spec),
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                result = get_peft_model(network, config)
            except ValueError as error:  # unknown module names
                raise PerbenchError(f"target_modules {spec.lora.target_modules}: {error}") from None
    # The base model's dropout stays off, so that two passes of an update do not differ by noise. Activation
    # checkpointing works only in training mode.
    result.eval()
    for name, module in result.named_modules():
        if spec.gradient_checkpointing and isinstance(module, GradientCheckpointingLayer):
            module.training = True
        if ".lora_dropout." in name:
            module.training = True
        if hasattr(module, "lora_variant"):
            module.cast_input_dtype_enabled = False  # autocast does it, or the dtypes agree
            module.lora_variant.update(dict.fromkeys(module.lora_A, Fused()))
    return result  # type: ignore[no-any-return]


def _target_modules(spec: TrainingSpec) -> str | list[str]:
    named = spec.lora.target_modules
    return named if named == "all-linear" else [part.strip() for part in named.split(",")]


def reference_logp(
    trainer: Trainer,
    network: nn.Module,
    model: ResolvedModel,
    pairs: Sequence[PromptPair],
    region: Autocast,
    budget: int,
    device: torch.device,
    start: Path | None = None,
) -> list[Contrast] | None:
    """Log-probs of all pairs under the trainer's reference (`network` as it is for "initial"), from the user
    cache if available; otherwise `device` holds the whole reference, and `network`, if it is the reference,
    stays there. `start` as in `load`.

    Raises:
        PerbenchError: the reference model has another vocabulary.
        CellError: a single example does not fit into memory.
    """
    import torch

    from perbench.training.reference import cached

    name = trainer.reference()
    if name is None:
        return None
    weight = next(network.parameters())
    with region():
        low = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if low else weight.dtype
    resolved = model if name == "initial" else _of_same_vocabulary(name, model)

    def compute(share: Sequence[PromptPair]) -> list[Contrast]:
        other: Any = network
        if name != "initial":
            from perbench.lm.models import load_causal_lm

            other = load_causal_lm(resolved.folder, weight.dtype)
        with region():
            return _contrast_that_fits(other.to(device), share, budget)

    if name == "initial" and start is not None:  # the model's digest does not cover these weights
        return compute(pairs)
    return cached(resolved.digest, f"{weight.dtype} {dtype}", pairs, compute)


def _contrast_that_fits(network: nn.Module, pairs: Sequence[PromptPair], budget: int) -> list[Contrast]:
    """`contrast` with batches that are reduced when memory runs out."""
    sides = [side for pair in pairs for side in pair.sides]
    lengths = [len(side.response) + max(len(side.factual), len(side.counterfactual)) for side in sides]
    while True:
        try:
            found = iter(contrast(network, sides, token_budget=budget))
            return [joined([next(found) for _ in pair.sides]) for pair in pairs]
        except (RuntimeError, MemoryError) as error:
            if not fitting.ran_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
        free()
        lower = fitting.lower(lengths, budget)
        if lower is None:
            raise CellError(
                f"effects of the reference: out of memory with one example of at most {max(lengths)} tokens "
                f"at a time ({reason}); set a smaller max_length of the task, or use a larger device"
            )
        budget = lower


def _of_same_vocabulary(name: str, model: ResolvedModel) -> ResolvedModel:
    from perbench.lm.models import load_tokenizer, resolve
    from perbench.specs.load import load_model

    resolved = resolve(load_model(name))
    if load_tokenizer(resolved.folder).get_vocab() != load_tokenizer(model.folder).get_vocab():
        raise PerbenchError(
            f"reference model {name} has another vocabulary than {model.name}, so their token probabilities "
            "cannot be compared; name a model of the same family"
        )
    return resolved
