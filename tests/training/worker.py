"""Run by torchrun: fits every case of a JSON file on this process, and notes what it saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from perbench import processes
from perbench.lm.models import ResolvedModel
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import accumulate, fit
from perbench.training.shard import whole

STEP: Any = torch.optim.AdamW.step
PASS: Any = accumulate.GradientAccumulator._pass


class Stop(Exception):
    pass


def run(case: dict[str, Any], given: dict[str, Any], folder: Path) -> None:
    """`stop`: the update to interrupt after; `spoil`: the call of a pass that fails on one process."""
    group = processes.group()
    stop, spoil = case.pop("stop", 0), case.pop("spoil", None)
    trainer = load_trainer(case.pop("trainer"), {})
    pairs = [PromptPair(tuple(f), tuple(c), tuple(r), 1, 0) for f, c, r in given["pairs"]]
    seen: dict[str, Any] = {}
    calls = 0
    folder.mkdir(exist_ok=True)

    def step(optimizer: Any) -> None:
        weights = [p for parameters in optimizer.param_groups for p in parameters["params"]]
        grads = {str(i): whole(p.grad).clone() for i, p in enumerate(weights)}
        if not seen:
            seen["kinds"] = sorted({type(p.grad).__name__ for p in weights})
            if group.main:
                save_file(grads, folder / "gradients.safetensors")
        STEP(optimizer)

    def spoiled(self: Any, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if group.rank == spoil["rank"] and calls == spoil["call"]:
            if spoil["kind"] == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            raise ValueError("a fault of one process")
        return PASS(self, *given)

    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        if done == stop and figures:
            raise Stop

    first_start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    torch.optim.AdamW.step = step  # type: ignore[method-assign,assignment]
    accumulate.GradientAccumulator._pass = spoiled if spoil and first_start else PASS  # type: ignore[method-assign]
    arguments: Any = (
        ResolvedModel("tiny", Path(given["model"]), "0" * 64),
        trainer,
        pairs,
        [f"example-{i}" for i in range(len(pairs))],
        TrainingSpec.model_validate({**given["spec"], **case}),
    )
    try:
        try:
            result = fit(*arguments, seed=0, folder=folder / "run", tick=tick)
        except Stop:
            result = fit(*arguments, seed=0, folder=folder / "run", tick=lambda *_: None)
        seen.update(log=result.log, notes=result.notes)
    except processes.SharedFailure as error:
        seen["error"] = str(error)
    everybody = group.gather(seen)
    if group.main:
        (folder / "seen.json").write_text(json.dumps(everybody))


def main(folder: Path) -> None:
    given = json.loads((folder / "cases.json").read_text())
    for name, case in given["cases"].items():
        run(case, given, folder / name)
    processes.close()


main(Path(sys.argv[1]))
