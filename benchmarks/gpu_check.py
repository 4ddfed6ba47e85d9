"""One command that checks and times perbench on a GPU: at most 10 minutes, nothing is downloaded.

    python benchmarks/gpu_check.py --out gpu_check      # writes gpu_check.json and gpu_check.md
    python benchmarks/gpu_check.py --small              # the same parts at toy sizes, a minute on a CPU

Weights are random, of the papers' shapes; the tokenizer is perbench's tiny one. Parts, in this order, each
left out with the reason once the time is up:

    conformance     seeds, ends of answers and swapped adapters of the transformers engine, in bfloat16
    attention       log-probs by torch's flash kernels beside its plain attention; FlashAttention 2's unpadded
                    passes beside SDPA, if flash-attn is installed
    generation      tokens per second of perbench's own loop and of transformers' `generate`; equal texts
    identification  percontrast beside the batched judge, by its own two ways of writing
    training        one update of ce, perce, nextquill beside the stock Trainer, TRL and Liger, with MFU

MFU is the objective's least FLOPs (train_step_contenders.floor) over the GPU's peak: --peak-tflops, else as
specified for the GPUs listed in PEAK, else that of one large product, measured. Exit code 1: a check failed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import identification
from gpu_check_parts import attention, conformance, generation, identified, open_engine, training

PEAK = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "B200": 2250.0}
"""Dense bfloat16 TFLOP/s by a part of the GPU's name."""
PACKAGES = ("perbench", "torch", "transformers", "peft", "accelerate", "trl", "liger-kernel", "flash-attn")
SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "engine": "qwen3-4b",
        "prompts": 32,
        "prompt_tokens": 1364,
        "new_tokens": 128,
        "identification": {"personas": 4, "answers": 16, "persona_tokens": 3200, "natural": 64},
        "training": [("qwen3-0.6b", {}), ("qwen3-4b", {"lora": True})],
        "examples": 8,
        "per_device": 4,
        "product": 8192,
    },
    "small": {
        "engine": "tiny",
        "prompts": 4,
        "prompt_tokens": 48,
        "new_tokens": 6,
        "identification": {"personas": 1, "answers": 2, "persona_tokens": 100, "natural": 2},
        "training": [("tiny", {})],
        "examples": 2,
        "per_device": 2,
        "product": 256,
    },
}


class Check:
    """The parts' results; `add` runs a part unless the time is up or `--parts` leaves it out."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.size = options, SIZES["small" if options.small else "full"]
        self.begun = time.perf_counter()
        self.found: dict[str, Any] = {"machine": machine(options), "checks": [], "left_out": []}

    def add(self, part: str, make: Callable[[Check], Any]) -> None:
        spent = time.perf_counter() - self.begun
        if part not in self.options.parts:
            return
        if spent > 60 * self.options.minutes * 0.9:
            self.left_out(part, f"the time is up: {spent:.0f} s")
            return
        print(f"{part} ...", file=sys.stderr, flush=True)
        found = make(self)
        if found is not None:
            self.found[part] = found

    def check(self, name: str, passed: bool, detail: str) -> None:
        self.found["checks"].append({"name": name, "passed": passed, "detail": detail})

    def left_out(self, what: str, why: str) -> None:
        self.found["left_out"].append({"what": what, "why": why})


def main() -> int:
    options = arguments()
    check = Check(options)
    from perbench.lm.device import free

    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        check.add("conformance", lambda check: conformance(check, where))
        if {"attention", "generation", "identification"} & set(options.parts):
            engine = open_engine(check, where)
            check.add("attention", lambda check: attention(check, engine))
            check.add("generation", lambda check: generation(check, engine))
            check.add("identification", lambda check: identified(check, engine))
            engine.model = None
            free()
        check.add("training", lambda check: training(check, where))
    check.found["seconds"] = round(time.perf_counter() - check.begun, 1)
    text = markdown(check.found)
    out = Path(options.out)
    out.with_suffix(".json").write_text(json.dumps(check.found, indent=2) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if all(one["passed"] for one in check.found["checks"]) else 1


PARTS = ["conformance", "attention", "generation", "identification", "training"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="checks and times perbench on a GPU")
    parser.add_argument("--small", action="store_true", help="toy sizes, which a CPU runs in a minute")
    parser.add_argument("--out", default="gpu_check", help="the two files' path, without an ending")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1, help="of each timing, after one that warms up")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in bfloat16")
    return parser.parse_args()


# ---------------------------------------------------------------- the machine


def machine(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    side = SIZES["small" if options.small else "full"]["product"]
    measured = product_tflops(side)
    named = next((peak for part, peak in PEAK.items() if part in name), None)
    return {
        "device": name,
        "kind": "cuda" if cuda else "cpu",
        "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if cuda else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": versions,
        "command": " ".join(["python", "benchmarks/gpu_check.py", *sys.argv[1:]]),
        "product_tflops": round(measured, 3),
        "peak_tflops": options.peak_tflops or named or measured,
    }


def product_tflops(side: int) -> float:
    """TFLOP/s of a bfloat16 matrix product of this size."""
    import torch

    from perbench.lm.device import device

    one = torch.ones(side, side, dtype=torch.bfloat16, device=device())
    seconds = min(identification.timed(lambda _: one @ one, ()).wall for _ in range(5))
    return 2 * side**3 / seconds / 1e12


# ---------------------------------------------------------------- what is written


def markdown(found: Mapping[str, Any]) -> str:
    of = found["machine"]
    memory = f", {of['memory_gb']} GB" if of["memory_gb"] else ""
    versions = ", ".join(f"{name} {number}" for name, number in of["versions"].items())
    lines = [
        f"{of['device']}{memory}; CUDA {of['cuda']}, Python {of['python']}; {versions}.",
        f"`{of['command']}`, {found['seconds']} s; a bfloat16 product reaches {of['product_tflops']:.3g} "
        f"TFLOP/s, MFU is of {of['peak_tflops']:.3g}.",
        "",
        *rows_of([{"check": one["name"], **one} for one in found["checks"]], ["check", "passed", "detail"]),
    ]
    for part in ("generation", "identification", "training"):
        if found.get(part):
            lines += ["", *rows_of(found[part], list(found[part][0]))]
    if found["left_out"]:
        lines += ["", *rows_of(found["left_out"], ["what", "why"])]
    return "\n".join(lines) + "\n"


def rows_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return lines + ["| " + " | ".join(shown(row[name]) for name in columns) + " |" for row in rows]


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    text = "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
