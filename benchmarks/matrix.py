"""What the evaluations of a matrix cost: perbench inline beside the scripts that people write.

    python benchmarks/matrix.py                     # two models of SmolLM2-135M's shape, CPU
    python benchmarks/matrix.py --layers 8 --examples 16 --new-tokens 48

2 base models x 2 trainers x 2 targets: the trainings are made first and reused; what is measured are the 8
evaluations, greedy and in float32, each contender in a process of its own, round after round.

    naive     each cell loads its model and its adapter and writes one answer after the other
    usual     each base model is loaded once, adapters are swapped, batches of 8 in the order of the data
    perbench  `perbench run`

The scripts are given the token ids of all prompts and compute no metrics; perbench plans, builds the prompts,
scores and records. All write the same texts, or the number of those that differ is printed. Goals: 4 times as
fast as naive, 1.5 times as fast as usual, one engine per base model.

The models are SmolLM2-135M-Instruct with its first `--layers` layers, and the same with 1% of noise.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAINERS = ("ce", "perce")
SOURCE = "embedded/sotu_writing"
TARGETS = (SOURCE, "embedded/chitchat_reply")
MODELS = ("first", "second")
CONTENDERS = ("naive", "usual", "perbench")
GOALS = {"naive": 4.0, "usual": 1.5}
BATCH = 8

Key = tuple[str, str, str]
"""Model, trainer and target of a cell."""


@dataclass(frozen=True)
class Turn:
    """One round of one contender: seconds of the clock and of all its threads, loads of a model."""

    wall: float
    cpu: float
    loads: int
    texts: Mapping[Key, Mapping[str, str]]
    """Answers by cell and example."""


def main() -> int:
    options = arguments()
    if options.worker:
        WORKERS[options.worker](Path(options.job))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options)
        bench.prepare()
        rounds: dict[str, list[Turn]] = {name: [] for name in CONTENDERS}
        for number in range(options.rounds):
            shift = number % len(CONTENDERS)
            for name in [*CONTENDERS[shift:], *CONTENDERS[:shift]]:
                rounds[name].append(bench.turn(name))
            shown = ", ".join(f"{name} {turns[-1].cpu:.1f}" for name, turns in rounds.items())
            print(f"round {number + 1}, CPU seconds: {shown}", file=sys.stderr, flush=True)
    found = summary(rounds, options)
    print(json.dumps(found, indent=2) if options.json else table(found))
    return 0 if not any(found["differing"].values()) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cost of a matrix's evaluations")
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--tiny", action="store_true", help="a random model of two layers, to test this file")
    parser.add_argument("--examples", type=int, default=32, help="of each target")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--persona-tokens", type=int, default=256, help="of the history in a prompt, at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args()


# ---------------------------------------------------------------- what is run


class Bench:
    """Models, trainings and prompts, made once; then the turns of contenders."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder, self._options = folder, options
        self._trained = folder / "trained"
        self._cells: list[dict[str, Any]] = []
        self._turns = 0

    def prepare(self) -> None:
        write_models(self._folder, self._options)
        self._run_perbench(self._trained, limit=1)  # makes the trainings
        adapters: dict[tuple[str, str], Path] = {}
        for record, folder in records(self._trained, "train"):
            labels = record["labels"]
            adapters[labels["model"], labels["trainer"]] = folder / "checkpoint" / "final"
        for _, folder in records(self._trained, "eval"):
            shutil.rmtree(folder)
        for model in MODELS:
            prompts = {target: self._prompts(model, target) for target in TARGETS}
            self._cells += [
                {
                    "key": [model, trainer, target],
                    "model": str(self._folder / model),
                    "adapter": str(adapters[model, trainer]),
                    "prompts": prompts[target],
                    "new_tokens": self._options.new_tokens,
                }
                for trainer in TRAINERS
                for target in TARGETS
            ]

    def _prompts(self, model: str, target: str) -> dict[str, list[int]]:
        """Token ids by example, in the order of the data."""
        from perbench.data import load_examples
        from perbench.lm.models import load_tokenizer
        from perbench.prompts.pair import build_pairs
        from perbench.specs.load import load_task

        task = load_task(target, overrides=overrides(self._options))
        examples = load_examples(task, "test").examples
        tokenizer = load_tokenizer(self._folder / model)
        pairs = build_pairs(task.spec, examples, tokenizer, with_response=False, context=None)
        return {
            example.id: list(pair.factual)
            for example, pair in zip(examples, pairs, strict=True)
            if pair is not None
        }

    def turn(self, name: str) -> Turn:
        self._turns += 1
        folder = self._folder / f"turn{self._turns}"
        if name == "perbench":
            shutil.copytree(self._trained, folder)
            wall, cpu, loads = self._run_perbench(folder)
            texts = {key_of(record): answers(at) for record, at in records(folder, "eval")}
        else:
            folder.mkdir()
            (folder / "job.json").write_text(json.dumps(self._cells))
            wall, cpu = timed(self._command(name, folder), self._options)
            done = json.loads((folder / "done.json").read_text())
            loads, texts = done["loads"], {tuple(key): found for key, found in done["texts"]}
        shutil.rmtree(folder)
        return Turn(wall, cpu, loads, texts)

    def _run_perbench(self, out: Path, *, limit: int | None = None) -> tuple[float, float, int]:
        """(wall, CPU seconds, loads) of the matrix in this run directory."""
        matrix = self._folder / f"matrix{limit}.yaml"
        tasks = {target: overrides(self._options) for target in TARGETS}
        tasks[SOURCE] = {**tasks[SOURCE], "examples.train": 4}
        if limit is not None:
            tasks = {name: {**keys, "examples.test": limit} for name, keys in tasks.items()}
        document = {
            "summary": "Benchmark.",
            "models": list(MODELS),
            "trainers": list(TRAINERS),
            "base_rows": False,
            "sources": [SOURCE],
            "targets": list(TARGETS),
            "training": {"method": "lora", "epochs": 1, "batch_size": 4, "learning_rate": 2e-4},
            "tasks": tasks,
        }
        matrix.write_text(json.dumps(document))  # JSON is YAML
        job = out.with_suffix(".json")
        words = ["--include", str(self._folder), "run", "--matrix", str(matrix), "--out", str(out)]
        job.write_text(json.dumps(words))
        wall, cpu = timed(self._command("perbench", job), self._options)
        return wall, cpu, json.loads(job.with_suffix(".loads").read_text())

    def _command(self, worker: str, job: Path) -> list[str]:
        return [sys.executable, __file__, "--worker", worker, "--job", str(job)]


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "examples.test": options.examples,
        "sampling.temperature": 0.0,
        "sampling.max_new_tokens": options.new_tokens,
        "persona.max_tokens": options.persona_tokens,
    }


def write_models(root: Path, options: argparse.Namespace) -> None:
    """Both models' weights, and a plugin root that names them."""
    import torch

    from perbench.conformance.tiny import write_model
    from perbench.lm.models import load_causal_lm, load_tokenizer, resolve
    from perbench.specs.load import load_model

    base = root / "base"
    if options.tiny:
        write_model(base)
    else:
        base = resolve(load_model("smollm2-135m")).folder
    model = load_causal_lm(base, "float32")
    stop = model.generation_config.eos_token_id
    model.model.layers = model.model.layers[: options.layers]
    model.config.num_hidden_layers = len(model.model.layers)
    named = root / "leaderboard" / "models"
    named.mkdir(parents=True)
    torch.manual_seed(0)
    for name in MODELS:
        model.save_pretrained(root / name)
        load_tokenizer(base).save_pretrained(root / name)
        assert stop is not None
        spec = {"summary": "Of the benchmark.", "path": str(root / name), "dtype": "float32"}
        (named / f"{name}.yaml").write_text(json.dumps(spec))
        with torch.no_grad():
            for weight in model.model.layers.parameters():
                weight.mul_(1 + 0.01 * torch.randn_like(weight))


def records(out: Path, kind: str) -> list[tuple[dict[str, Any], Path]]:
    files = sorted((out / "cells").glob(f"{kind}-*/cell.json"))
    return [(json.loads(file.read_text()), file.parent) for file in files]


def key_of(record: dict[str, Any]) -> Key:
    labels = record["labels"]
    return labels["model"], labels["trainer"], labels["target"]


def answers(folder: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return {row["id"]: row["response"] for row in rows}


def timed(command: list[str], options: argparse.Namespace) -> tuple[float, float]:
    """Seconds of the clock, and of all threads of the process and its children."""
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


# ---------------------------------------------------------------- the contenders' processes


def naive(job: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    texts, loads = [], 0
    for cell in json.loads((job / "job.json").read_text()):
        model: Any = AutoModelForCausalLM.from_pretrained(cell["model"], dtype="float32")
        loads += 1
        model = PeftModel.from_pretrained(model, cell["adapter"]).eval()
        texts.append((cell["key"], written(model, cell, 1)))
    (job / "done.json").write_text(json.dumps({"loads": loads, "texts": texts}))


def usual(job: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    texts, loads, loaded, model = [], 0, None, None
    for cell in json.loads((job / "job.json").read_text()):
        if loaded != cell["model"]:
            model = AutoModelForCausalLM.from_pretrained(cell["model"], dtype="float32")
            loads, loaded, adapters = loads + 1, cell["model"], {}
        name = adapters.setdefault(cell["adapter"], f"adapter{len(adapters)}")
        if not isinstance(model, PeftModel):
            model = PeftModel.from_pretrained(model, cell["adapter"], adapter_name=name).eval()
        elif name not in model.peft_config:
            model.load_adapter(cell["adapter"], adapter_name=name)
        model.set_adapter(name)
        texts.append((cell["key"], written(model, cell, BATCH)))
    (job / "done.json").write_text(json.dumps({"loads": loads, "texts": texts}))


def written(model: Any, cell: dict[str, Any], size: int) -> dict[str, str]:
    """The answers to a cell's prompts, in batches of `size`, by example."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(cell["model"], padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    found: list[str] = []
    prompts = list(cell["prompts"].values())
    for start in range(0, len(prompts), size):
        rows = [{"input_ids": ids} for ids in prompts[start : start + size]]
        batch = tokenizer.pad(rows, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                **batch,
                max_new_tokens=cell["new_tokens"],
                do_sample=False,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = output[:, batch["input_ids"].shape[1] :]
        found += tokenizer.batch_decode(new, skip_special_tokens=True)
    return dict(zip(cell["prompts"], found, strict=True))


def perbench(job: Path) -> None:
    from perbench.cli import main as command
    from perbench.engines.transformers.engine import TransformersEngine

    loads = 0
    start = TransformersEngine.__init__

    def counted(*given: Any, **options: Any) -> None:
        nonlocal loads
        loads += 1
        start(*given, **options)

    TransformersEngine.__init__ = counted  # type: ignore[method-assign]
    status = command(json.loads(job.read_text()))
    job.with_suffix(".loads").write_text(json.dumps(loads))
    raise SystemExit(status)


WORKERS = {"naive": naive, "usual": usual, "perbench": perbench}


# ---------------------------------------------------------------- what is reported


def summary(rounds: Mapping[str, list[Turn]], options: argparse.Namespace) -> dict[str, Any]:
    ours = rounds["perbench"]

    def ratio(name: str, of: str) -> float:
        pairs = zip(rounds[name], ours, strict=True)
        return round(statistics.median(getattr(a, of) / getattr(b, of) for a, b in pairs), 2)

    def differing(name: str) -> int:
        theirs = rounds[name][0].texts
        return sum(
            theirs[key][name].strip() != text.strip()
            for key, texts in ours[0].texts.items()
            for name, text in texts.items()
        )

    return {
        "threads": options.threads,
        "load": round(os.getloadavg()[0], 1),
        "cells": len(ours[0].texts),
        "answers": sum(map(len, ours[0].texts.values())),
        "contenders": {
            name: {
                "wall_s": round(statistics.median(turn.wall for turn in turns), 1),
                "cpu_s": round(statistics.median(turn.cpu for turn in turns), 1),
                "loads": turns[0].loads,
            }
            for name, turns in rounds.items()
        },
        "times_as_fast": {name: {of: ratio(name, of) for of in ("wall", "cpu")} for name in GOALS},
        "differing": {name: differing(name) for name in GOALS},
    }


def table(found: Mapping[str, Any]) -> str:
    lines = [
        f"{found['cells']} cells, {found['answers']} answers, {found['threads']} threads; "
        f"load of the machine: {found['load']}",
        f"{'':10}{'wall s':>10}{'CPU s':>10}{'loads':>8}",
    ]
    for name, row in found["contenders"].items():
        lines.append(f"{name:10}{row['wall_s']:10.1f}{row['cpu_s']:10.1f}{row['loads']:8d}")
    for name, row in found["times_as_fast"].items():
        lines.append(
            f"perbench against {name}: {row['wall']:.2f} times as fast ({row['cpu']:.2f} by CPU time; goal "
            f"{GOALS[name]:g}); {found['differing'][name]} of {found['answers']} texts differ"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
