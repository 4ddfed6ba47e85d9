"""Describes the memory that trainings of a matrix need per device, without weights, data or torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError
from perbench.lm import models
from perbench.specs.expand import trainings
from perbench.specs.load import load_model
from perbench.specs.matrix import MatrixSpec, TrainingSpec
from perbench.training.budget import RESERVE, Budget, Shape, budget

GB = 1e9


def memory_lines(spec: MatrixSpec, devices: int, memory: int | None) -> Iterator[str]:
    """A few lines for each model and training settings that differ in memory; none if nothing is trained.

    Args:
        memory: GB per device, to find the largest micro-batch that fits; or None.
    """
    for name in spec.models if spec.trainers else ():
        try:
            shape = Shape.read(*_config(name))
        except PerbenchError as error:
            yield f"memory of {name}: unknown. {error}"
            continue
        alike: dict[tuple[str, ...], list[str]] = {}
        for which, training in _settings(spec).items():
            alike.setdefault((*_needs(shape, training, devices, memory),), []).append(which)
        for (how, *lines), settings in alike.items():
            which = "" if len(alike) == 1 or "" in settings else ";".join(settings)
            yield f"memory of {name}{which}, {how}, per device:"
            yield from lines


def _needs(shape: Shape, training: TrainingSpec, devices: int, memory: int | None) -> Iterator[str]:
    """How it is trained, and lines on what that takes."""
    yield f"{training.method}, {training.parallel} on {devices}" if devices > 1 else training.method
    found = budget(shape, training, devices=devices)
    yield from _lines(found, training, memory)
    if training.parallel == "fsdp" and devices > 1:
        yield (
            "  before the first update a trainer's reference model is whole on each device: "
            f"{found.weights * devices / GB:.1f} GB; every process loads as much into host memory"
        )


def _settings(spec: MatrixSpec) -> dict[str, TrainingSpec]:
    """The settings of trainers, by what distinguishes them."""
    found: dict[str, TrainingSpec] = {}
    for one in trainings(spec):
        own = {".".join(path): value for path, value in one.trainer.training.items()}
        words = (f" {key}={value}" for key, value in {**one.varied, **own}.items())
        found.setdefault("".join(words), one.spec)
    return found


def parameters(count: float) -> str:
    """134.5e6 -> "135 M", 4.02e9 -> "4.02 B"."""
    for unit, letter in ((GB, " B"), (1e6, " M"), (1e3, " k")):
        if count >= unit * 0.9995:
            return (
                f"{count / unit:.{2 if count < 9.995 * unit else 1 if count < 99.95 * unit else 0}f}{letter}"
            )
    return f"{count:.0f}"


def _lines(found: Budget, spec: TrainingSpec, memory: int | None) -> Iterator[str]:
    # For a toy model, everything would be 0.0 GB.
    toy = found.parameters < GB / 100
    unit, byte, below = (1e6, "MB", "kB") if toy else (GB, "GB", "MB")
    yield (
        f"  {parameters(found.parameters)} parameters, {parameters(found.trainable)} of them trained; "
        f"weights {found.weights / unit:.1f} {byte}, gradients {found.gradients / unit:.1f}, "
        f"AdamW {found.moments / unit:.1f}, gathered or cast weights {found.gathered / unit:.1f}, "
        f"head {found.head / unit:.1f}: {found.fixed / unit:.1f} {byte}"
    )
    checkpointed = "with" if spec.gradient_checkpointing else "without"
    yield (
        f"  activations {found.per_token / unit * 1e3:.2f} {below} a token "
        f"({checkpointed} gradient checkpointing): "
        f"{found.at(spec.micro_batch_tokens) / unit:.1f} {byte} in all at micro_batch_tokens "
        f"{spec.micro_batch_tokens}"
    )
    if memory is not None:
        tokens = found.tokens(memory * GB)
        largest = f"micro_batch_tokens {tokens}" if tokens else "nothing: it does not fit"
        yield f"  largest that fits {memory} GB, {RESERVE:.0%} kept free: {largest}"


def _config(name: str) -> tuple[dict[str, Any], str]:
    model = load_model(name)
    if model.spec.shape is not None:
        return model.spec.shape, f"shape of {name}"
    try:
        folder = models.at_hand(model)
    except PerbenchError:  # why it is unavailable, the plan says
        folder = None
    file = (folder or Path()) / "config.json"
    if folder is None or not file.is_file():
        raise PerbenchError(
            f"config.json is not on this machine; for a hub model run: hf download {model.spec.hub or name} "
            "config.json, or give its sizes as shape in the model's YAML"
        )
    return json.loads(file.read_text(encoding="utf-8")), str(file)
