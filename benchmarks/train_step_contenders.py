"""The contenders of train_step.py: each makes an update when a line comes in, and tells what it took."""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PACKAGES = {
    "trl": ("trl", "pip install trl==1.16.0"),
    "liger": ("liger_kernel", "pip install liger-kernel"),
}
"""Module of a contender, and how to install it."""
OURS = ("ce", "perce", "nextquill")
RESPONSE = (150, 250)


def examples(setting: dict[str, Any]) -> list[dict[str, list[int]]]:
    """Token ids of an update's examples: {"factual", "counterfactual", "response"}."""
    generator, count = random.Random(setting["seed"]), setting["examples"]
    low, high = RESPONSE

    def ids(length: int) -> list[int]:
        return [generator.randrange(3, 1300) for _ in range(length)]

    def quantiles(mean: float, deviation: float, least: int) -> list[int]:
        drawn = [statistics.NormalDist(mean, deviation).inv_cdf((i + 0.5) / count) for i in range(count)]
        return [max(least, round(value)) for value in generator.sample(drawn, count)]

    if setting.get("equal"):
        sizes = [(1364, 96, (low + high) // 2)] * count
    else:
        responses = [round(low + (high - low) * (i + 0.5) / count) for i in range(count)]
        sizes = list(zip(quantiles(1364, 520, 350), quantiles(96, 45, 30), responses, strict=True))
    rows = []
    for persona, question, response in sizes:
        asked = ids(question)
        rows.append(
            {
                "factual": ids(persona - question) + asked,
                "counterfactual": asked,
                "response": ids(response),
            }
        )
    return rows


def floor(setting: dict[str, Any], shape: dict[str, Any], contender: str) -> float:
    """FLOPs that the contender's objective needs at least: no padding, the head at response tokens only,
    attention to the past only."""
    width = shape.get("head_dim", shape["hidden_size"] // shape["num_attention_heads"])
    heads = shape["num_attention_heads"]
    matrices = shape["hidden_size"] * (
        width * 2 * (heads + shape["num_key_value_heads"]) + 3 * shape["intermediate_size"]
    )

    def body(context: str) -> float:
        lengths = [len(row[context]) + len(row["response"]) for row in examples(setting)]
        per_layer = sum(2 * matrices * length + 2 * heads * width * length**2 for length in lengths)
        return float(shape["num_hidden_layers"] * per_layer)

    head = (
        2.0
        * shape["hidden_size"]
        * shape["vocab_size"]
        * sum(len(row["response"]) for row in examples(setting))
    )
    passes = 3 - bool(setting.get("lora")) + bool(setting.get("checkpointing"))
    products = 2 if setting.get("lora") else 3
    cost = passes * body("factual") + products * head
    if contender in ("perce", "naive"):
        cost += body("counterfactual") + head
    if contender in ("nextquill", "published"):
        cost += passes * body("counterfactual") + products * head
    return cost


class Turns:
    """Waits for a line before each update, answers with what the update took."""

    def __init__(self) -> None:
        from perbench.lm.memory import peak_mb, reset_peak

        reset_peak()
        self._before, self._peak, self._reset = peak_mb(), peak_mb, reset_peak
        self._flops: Any = None
        self._first = True

    def begin(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit
        if self._first:
            self._flops = flop_counter()
            self._flops.__enter__()
        self._reset()
        synchronise()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        synchronise()
        wall, cpu, flops = time.perf_counter() - self._wall, time.process_time() - self._cpu, 0
        if self._first:
            self._flops.__exit__(None, None, None)
            flops, self._first = self._flops.get_total_flops(), False
        answer = {"wall": wall, "cpu": cpu, "flops": flops, "peak": self._peak() - self._before}
        print("\n" + json.dumps(answer), flush=True)


def synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def flop_counter() -> Any:
    """torch's, which does not know the CPU's attention; attention counts in full, as it does for others."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

    def forward(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(q, k, v))

    def backward(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_backward_flop_count(grad, q, k, v))

    ops = torch.ops.aten
    known = {
        ops._scaled_dot_product_flash_attention_for_cpu: forward,
        ops._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    return FlopCounterMode(display=False, custom_mapping=known)


def work(setting: dict[str, Any]) -> None:
    import peft  # noqa: F401  # what libraries hold is nobody's step
    import transformers
    import transformers.models.qwen3.modeling_qwen3

    import perbench.training.batch
    import perbench.training.loop  # noqa: F401

    transformers.Trainer  # noqa: B018
    transformers.utils.logging.set_verbosity_error()
    if setting["contender"] in OURS:
        ours(setting)
    else:
        theirs(setting)


def ours(setting: dict[str, Any]) -> None:
    from perbench.lm.models import ResolvedModel
    from perbench.plugins import load_trainer
    from perbench.prompts.pair import PromptPair
    from perbench.specs.matrix import LoraSpec, TrainingSpec
    from perbench.training import fit
    from perbench.training.batch import held_tokens

    # The weights are random and have no identity: what is cached of them must not outlive them.
    os.environ["PERBENCH_CACHE"] = setting["folder"] + "-cache"
    rows = examples(setting)
    pairs = [
        PromptPair(tuple(r["factual"]), tuple(r["counterfactual"]), tuple(r["response"]), 1, 0) for r in rows
    ]
    trainer = load_trainer(setting["contender"], {})
    # As many examples at once as a batch of the stock Trainer holds.
    budget = setting["per_device"] * max(held_tokens(trainer, pair) for pair in pairs)
    spec = TrainingSpec(
        method="lora" if setting.get("lora") else "full",
        lora=LoraSpec(rank=16, alpha=32),
        epochs=1000,
        batch_size=len(rows),
        micro_batch_tokens=budget,
        learning_rate=1e-6,
        gradient_checkpointing=bool(setting.get("checkpointing")),
        precision="fp32" if setting["device"] == "cpu" else "bf16",
        save_every=10**6,
    )
    turns = Turns()

    def tick(done: int, _: int, __: dict[str, float]) -> None:
        if done:
            turns.end()
        turns.begin()

    model = ResolvedModel("random", Path(setting["folder"]), "0" * 64)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            trainer,
            pairs,
            [str(i) for i in range(len(rows))],
            spec,
            seed=0,
            folder=Path(folder),
            tick=tick,
        )


def theirs(setting: dict[str, Any]) -> None:
    from train_step_peers import peer
    from transformers import TrainerCallback

    turns = Turns()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.end()

    with tempfile.TemporaryDirectory() as folder:
        trainer = peer(setting, examples(setting), folder)
        trainer.add_callback(Clock())
        trainer.train()
