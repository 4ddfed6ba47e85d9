"""What one training update costs: our CE, PerCE and NextQuill beside what people use now.

    python benchmarks/train_step.py                                       # small Qwen3-shaped models, CPU
    python benchmarks/train_step.py --setting vocabulary equal
    python benchmarks/train_step.py --device cuda --model-shape qwen3-4b  # random weights of that shape

Each contender is a process of its own over the same random weights and examples. They take turns:
round after round each makes one update of the weights, in an order that moves on. An update is
everything between two states of the weights: passes, gradients, clipping, AdamW. The first is not reported:
in it the FLOPs are counted. On a GPU, where two models seldom fit, each turn starts the process anew.

    stock       transformers.Trainer: cross-entropy, full logits, its own collator
    naive       PerCE as the paper describes it: the same with a second full-logit pass without the persona
    published   NextQuill as its public code is built: two full-logit passes padded on the left to one length
    trl         TRL's SFTTrainer on completions, batches grouped by length (pip install trl==1.16.0)
    liger       stock with Liger's kernels, on a GPU (pip install liger-kernel, 0.8.5 or later)
    ce, perce, nextquill   perbench.training.fit

Lengths: prompts of 1364 tokens with the persona and 96 without, the means of PerContrast's Table 7, which
tells no spread. We take quantiles of normal distributions, standard deviations 520 and 45, and responses
of 150 to 250 tokens. NextQuill's effects under the initial model are computed once, before the first update.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from train_step_contenders import PACKAGES, examples, floor, work


def shape(
    hidden: int, layers: int, heads: int, groups: int, width: int, inner: int, words: int
) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": width,
        "intermediate_size": inner,
        "vocab_size": words,
    }


SHAPES = {
    "tiny": shape(64, 2, 4, 2, 16, 128, 1312),
    "small": shape(512, 2, 8, 4, 64, 1536, 1312),
    "vocabulary": shape(256, 12, 4, 2, 64, 768, 151936),
    "qwen3-0.6b": shape(1024, 28, 16, 8, 128, 3072, 151936),
    "qwen3-4b": shape(2560, 36, 32, 8, 128, 9728, 151936),
    "llama-8b": shape(4096, 32, 32, 8, 128, 14336, 128256),
}
"""small: head and body in Qwen3-4B's proportion (9.7% of the matrices' parameters in the head)."""

TIED = ("qwen3-0.6b", "qwen3-4b")
ALL = ["stock", "naive", "published", "trl", "liger", "ce", "perce", "nextquill"]
OWN = ["stock", "ce", "perce"]
EQUAL = {"shape": "small", "contenders": OWN, "examples": 2, "per_device": 1, "equal": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "variable": {"shape": "small", "contenders": ALL, "examples": 3, "per_device": 3},
    "vocabulary": {"shape": "vocabulary", "contenders": [*OWN, "nextquill"], "examples": 2, "per_device": 2},
    "equal": EQUAL,
    "checkpointing": {**EQUAL, "checkpointing": True},
    "lora": {**EQUAL, "lora": True},
}
"""per_device: sequences in a batch of the Trainers, 3 in PerContrast's Table 6."""


def main() -> None:
    options = arguments()
    if options.worker:
        work(json.loads(options.worker))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in options.setting:
            setting = {**SETTINGS[name], "device": options.device, "seed": options.seed}
            setting["shape"] = options.model_shape or setting["shape"]
            setting["contenders"] = options.contenders or setting["contenders"]
            setting["folder"] = str(Path(folder) / setting["shape"])
            if not Path(setting["folder"]).exists():
                save_model(setting["shape"], Path(setting["folder"]), options.device)
            measure(name, setting, options)


def random_model(name: str, dtype: Any, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

    torch.manual_seed(0)
    config = (LlamaConfig if name.startswith("llama") else Qwen3Config)(
        **SHAPES[name], max_position_embeddings=8192, tie_word_embeddings=name in TIED
    )
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def save_model(name: str, folder: Path, device: str) -> None:
    """Random weights and a tokenizer that only pads."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    random_model(name, dtype, device).save_pretrained(folder)
    backend = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
    tokenizer.save_pretrained(folder)


class Contender:
    """A process that makes one update at a time, when asked to."""

    def __init__(self, name: str, setting: dict[str, Any]) -> None:
        self._command = [sys.executable, __file__, "--worker", json.dumps({**setting, "contender": name})]
        self._stays, self._process = setting["device"] == "cpu", None
        self.flops = 0.0

    def turn(self) -> dict[str, float]:
        """{"wall", "cpu": seconds; "peak": MB above what the process held before its model; "flops"}"""
        if self._process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self._process = subprocess.Popen(self._command, **pipes)
            self.flops = self._update()["flops"]
        found = self._update()
        if not self._stays:
            self.end()
        return found

    def _update(self) -> dict[str, float]:
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"a contender ended early: {self._command[-1]}")

    def end(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


def absent(name: str, device: str) -> str | None:
    """Why a contender cannot take part; None if it can."""
    if name == "liger" and device == "cpu":
        return "Liger's kernels need a GPU"
    module, command = PACKAGES.get(name, (None, ""))
    return f"not installed ({command})" if module and importlib.util.find_spec(module) is None else None


def measure(name: str, setting: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Let the contenders take turns, print the table, and return its figures."""
    names = list(setting["contenders"])
    for each in [*names]:
        if (why := absent(each, setting["device"])) is not None:
            names.remove(each)
            print(f"without {each}: {why}")
    contenders = {each: Contender(each, setting) for each in names}
    rounds: dict[str, list[dict[str, float]]] = {each: [] for each in names}
    try:
        for number in range(options.rounds):
            shift = number % len(names)
            for each in [*names[shift:], *names[:shift]]:
                rounds[each].append(contenders[each].turn())
            walls = " ".join(f"{each} {found[-1]['wall']:.2f}" for each, found in rounds.items())
            print(f"  round {number + 1}: {walls}", flush=True)
    finally:
        for contender in contenders.values():
            contender.end()
    rows = figures(setting, rounds, {each: contenders[each].flops for each in names}, options)
    report(name, setting, rows)
    return rows


def figures(
    setting: dict[str, Any],
    rounds: dict[str, list[dict[str, float]]],
    flops: dict[str, float],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """A row of the table for each contender."""
    tokens = sum(len(row["factual"]) + len(row["response"]) for row in examples(setting))
    rows = []
    for each, found in rounds.items():
        walls = [turn["wall"] for turn in found]
        wall, least = statistics.median(walls), floor(setting, SHAPES[setting["shape"]], each)
        rows.append(
            {
                "step": each,
                "s": wall,
                "min": min(walls),
                "max": max(walls),
                "/ stock": ratio("wall", found, rounds.get("stock")),
                "/ our CE": ratio("wall", found, rounds.get("ce")),
                "CPU s / stock": ratio("cpu", found, rounds.get("stock")),
                "peak MB": statistics.median(turn["peak"] for turn in found),
                "peak / stock": ratio("peak", found, rounds.get("stock")),
                "tok/s": tokens / wall,
                "TFLOP": flops[each] / 1e12,
                "floor": least / 1e12,
                "MFU": least / wall / options.peak_tflops / 1e12 if options.peak_tflops else None,
            }
        )
    return rows


def report(name: str, setting: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    lengths = [len(row["factual"]) + len(row["response"]) for row in examples(setting)]
    print(
        f"\n{name}: shape {setting['shape']}, {setting['device']}, {len(lengths)} examples an update, "
        f"{setting['per_device']} a batch of stock, lengths {lengths}; load {os.getloadavg()[0]:.1f}"
    )
    columns = ["step", "s (min-max)", "/ stock", "/ our CE", "CPU s / stock", "peak MB", "/ stock", "tok/s"]
    print("| " + " | ".join([*columns, "TFLOP", "floor"]) + " |")
    print("|---" * 10 + "|")
    for row in rows:
        use = f" (MFU {row['MFU']:.0%})" if row["MFU"] is not None else ""
        ratios = {key: "" if row[key] is None else f"{row[key]:.3f}" for key in row if "/ " in key}
        cells = [
            row["step"],
            f"{row['s']:.2f} ({row['min']:.2f}-{row['max']:.2f})",
            *(ratios[key] for key in ("/ stock", "/ our CE", "CPU s / stock")),
            f"{row['peak MB']:.0f}",
            ratios["peak / stock"],
            f"{row['tok/s']:.0f}",
            f"{row['TFLOP']:.3f}",
            f"{row['floor']:.3f}{use}",
        ]
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


def ratio(key: str, mine: list[dict[str, float]], base: list[dict[str, float]] | None) -> float | None:
    """Median over the rounds of the ratio within a round; None without a base."""
    if base is None:
        return None
    return statistics.median(one[key] / other[key] for one, other in zip(mine, base, strict=True))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=["variable"])
    parser.add_argument("--contenders", nargs="+", choices=ALL)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--model-shape", choices=SHAPES)
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in bf16 (H100: 989), to tell MFU")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
