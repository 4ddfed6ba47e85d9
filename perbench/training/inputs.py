"""Checks the inputs of a training run, counts their tokens and computes their fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perbench.api import Trainer
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError
from perbench.lm.context import check_context
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training.checkpoint import fingerprint_of
from perbench.training.network import precision
from perbench.training.plan import UpdatePlan

if TYPE_CHECKING:
    from perbench.lm.models import ResolvedModel


def check(
    trainer: Trainer,
    pairs: Sequence[PromptPair],
    ids: Sequence[str],
    spec: TrainingSpec,
    context: int | None = None,
) -> None:
    """`context`: the model's context size in tokens.

    Raises:
        PerbenchError: inputs that cannot be trained on.
    """
    if not pairs:
        raise PerbenchError("no training examples; raise the task's examples.train or --limit")
    for name, pair in zip(ids, pairs, strict=True):
        if not pair.response:
            raise PerbenchError(
                f"example {name} has an empty response, which cannot be trained on; remove it from the data"
            )
        if trainer.examples == "pairs" and not pair.rejected:
            raise PerbenchError(
                f"example {name} has no rejected answer, and {type(trainer).__name__} learns from pairs of "
                "answers; remove it from the data"
            )
        for prompt in _read(trainer, pair):
            longest = max(len(side.response) for side in pair.sides)
            check_context(context, len(prompt), longest, what=f"example {name}")
    check_settings(trainer, spec)


def _read(trainer: Trainer, pair: PromptPair) -> list[tuple[int, ...]]:
    """The prompts that updates, or the reference, read."""
    compares = trainer.counterfactual != "none" or trainer.reference() is not None
    return [
        *([pair.factual] if trainer.factual or trainer.reference() is not None else []),
        *([pair.counterfactual] if compares else []),
    ]


def check_settings(trainer: Trainer, spec: TrainingSpec) -> None:
    """Raise a PerbenchError for settings that the trainer does not support."""
    own = spec.per_user
    if own is not None and own.data == "examples" and own.history != "others":
        raise PerbenchError(
            f"per_user.history {own.history} with per_user.data examples: their histories are their own; "
            "remove it"
        )
    compares = trainer.factual and trainer.counterfactual != "none"
    for key, stage in zip(("lora.dropout", "per_user.dropout"), spec.stages, strict=False):
        if stage.lora.dropout and (compares or trainer.reference() is not None):
            raise PerbenchError(
                f"{key} {stage.lora.dropout} with {type(trainer).__name__}: its two passes would differ by "
                f"the dropout's noise, not only by the persona; set {key} to 0"
            )


def count_tokens(plan: UpdatePlan, trainer: Trainer, pairs: Sequence[PromptPair]) -> dict[str, int]:
    """Tokens read by all updates: response, total (with the persona) and counterfactual (without)."""
    seen = [side for step in range(plan.steps) for i in plan.batch(step) for side in pairs[i].sides]
    tokens = {"response": sum(len(pair.response) for pair in seen)}
    if trainer.factual:
        tokens["total"] = sum(len(pair.factual) + len(pair.response) for pair in seen)
    if trainer.counterfactual != "none":
        tokens["counterfactual"] = sum(len(pair.counterfactual) + len(pair.response) for pair in seen)
    return tokens


def fingerprint(
    model: ResolvedModel,
    trainer: Trainer,
    pairs: Sequence[PromptPair],
    spec: TrainingSpec,
    seed: int,
    start: Path | None,
) -> str:
    """sha256 of everything that determines the trained weights, up to rounding, with the precision in use."""
    plugin = [type(trainer).__name__, trainer.params]
    sequences = [
        [pair.factual, pair.counterfactual, *(side.response for side in pair.sides)] for pair in pairs
    ]
    settings = {**spec.inputs, "precision": precision(spec)}
    inputs = [model.digest, plugin, settings, seed, sequences]
    if start is not None:
        inputs.append(fingerprint_of(start))
    return canonical_digest(inputs)
