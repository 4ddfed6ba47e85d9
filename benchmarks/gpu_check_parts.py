"""The parts of gpu_check.py."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import identification
import train_step

if TYPE_CHECKING:
    from gpu_check import Check

CLOSE = {"torch.float32": 2e-3, "torch.bfloat16": 0.25}
"""Largest difference of log-probs between two ways of computing them."""


def open_engine(check: Check, folder: Path) -> Any:
    """perbench's engine over random weights of the shape, with the tiny model's tokenizer."""
    from perbench.conformance.tiny import write_model
    from perbench.engines.transformers.engine import TransformersEngine

    write_model(folder / "engine")
    engine = TransformersEngine(folder / "engine", dtype=dtype(check))
    name = check.size["engine"]
    engine.model = train_step.random_model(name, engine.model.dtype, str(engine.model.device)).eval()
    return engine


def dtype(check: Check) -> str:
    """On a CPU float32, so that equal means equal."""
    return "bfloat16" if check.found["machine"]["kind"] == "cuda" else "float32"


def prompts_of(check: Check) -> list[list[int]]:
    """One persona's prompts: a half in common, lengths from a half to the whole of `prompt_tokens`."""
    count, longest = check.size["prompts"], check.size["prompt_tokens"]
    shared = [3 + 7 * i % 390 for i in range(longest // 2)]
    rest = [(longest - len(shared)) * (i + 1) // count for i in range(count)]
    return [[*shared, *(3 + (11 * j + 17 * i) % 390 for j in range(size))] for i, size in enumerate(rest)]


def conformance(check: Check, folder: Path) -> None:
    """What every engine promises, by a tiny model in bfloat16; adapters A, B and A again."""
    import torch
    from peft import LoraConfig, get_peft_model

    from perbench.conformance.tiny import write_model
    from perbench.engines.transformers.engine import TransformersEngine
    from perbench.lm.models import load_causal_lm
    from perbench.shapes.sampling import SamplingSpec

    write_model(folder / "tiny")
    engine = TransformersEngine(folder / "tiny", dtype="bfloat16")
    texts = ("Tea?", "What do you usually do on a free afternoon?", "\u4f60\u597d e\u0301 \U0001d518")
    talks = [[{"role": "user", "content": text}] for text in texts]
    warm = SamplingSpec(max_new_tokens=8, temperature=1.0)
    first, again, other = (engine.chat(talks, warm, seed=seed) for seed in (1, 1, 2))
    check.check("conformance: seeds", first == again != other, "the same seed repeats, another one differs")
    one = SamplingSpec(max_new_tokens=1, temperature=0.0)
    (cut,) = engine.chat(talks[:1], one, seed=0)
    shown = f"{cut.finish_reason} after {cut.new_tokens}"
    check.check("conformance: length", (cut.finish_reason, cut.new_tokens) == ("length", 1), shown)
    stop = engine.stop_tokens
    engine.stop_tokens = frozenset(range(len(engine.tokenizer)))
    (ended,) = engine.chat(talks[:1], warm, seed=0)
    engine.stop_tokens = stop
    shown = f"{ended.finish_reason} after {ended.new_tokens}, {ended.text!r}"
    check.check("conformance: stop", (ended.finish_reason, ended.text) == ("stop", ""), shown)
    paths: list[Path | None] = [None]
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        paths.append(folder / f"adapter{seed}")
        get_peft_model(load_causal_lm(folder / "tiny", "float32"), config).save_pretrained(str(paths[-1]))
    prompts, answers = [[5, 6, 7, 8]], [[9, 10, 11]]
    base, a, b, a_again, base_again = (scored(engine, paths[i], prompts, answers) for i in (0, 1, 2, 1, 0))
    passed = a == a_again and base == base_again and len({base, a, b}) == 3
    check.check(
        "conformance: adapters", passed, "A, B, A and none: equal where they should be, else different"
    )


def scored(engine: Any, path: Path | None, *given: Any) -> tuple[float, ...]:
    engine.load_adapter(path)
    return tuple(engine.score(*given)[0].tolist())


def attention(check: Check, engine: Any) -> None:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    prompts = prompts_of(check)[:4]
    answers = [prompt[:16] for prompt in prompts]
    limit = CLOSE[str(engine.model.dtype)]

    def differs(name: str, one: Sequence[Any], other: Sequence[Any]) -> None:
        largest = max(float(abs(a - b).max()) for a, b in zip(one, other, strict=True))
        check.check(
            name, largest <= limit, f"largest difference of a log-prob {largest:.2g} (limit {limit:g})"
        )

    def whole() -> list[Any]:
        """Log-probs by one unpadded pass per answer."""
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([[*prompt, *answer]], device=engine.model.device)
            with torch.inference_mode():
                logits = engine.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
            chosen = torch.tensor(answer, device=logits.device)[:, None]
            found.append(logits.log_softmax(-1).gather(1, chosen)[:, 0].cpu().numpy())
        return found

    plain = whole()
    differs("attention: shared prefixes beside whole passes", engine.score(prompts, answers), plain)
    kernels = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel(backend):
            kernels[backend] = whole()
    differs("attention: flash beside math", *kernels.values())
    if "flash-attn" not in check.found["machine"]["versions"]:
        check.left_out("FlashAttention 2's unpadded passes", "flash-attn is not installed")
        return
    engine.model.set_attn_implementation("flash_attention_2")
    packed = engine.score(prompts, answers)
    engine.model.set_attn_implementation("sdpa")
    differs("attention: FlashAttention 2, unpadded, beside SDPA", packed, plain)


def generation(check: Check, engine: Any) -> list[dict[str, Any]]:
    from perbench.lm import decode
    from perbench.shapes.sampling import SamplingSpec

    prompts = prompts_of(check)
    greedy = SamplingSpec(max_new_tokens=check.size["new_tokens"], temperature=0.0)
    able, stop = decode.can_decode, engine.stop_tokens
    engine.stop_tokens = frozenset()  # random weights end nowhere in particular
    rows, texts = [], {}
    try:
        for name, batch, own in (("perbench", 32, True), ("generate, batch 8", 8, False)):
            decode.can_decode = able if own else lambda model: False

            def write(batch: int = batch) -> list[Any]:
                parts = [prompts[i : i + batch] for i in range(0, len(prompts), batch)]
                return [answer for part in parts for answer in engine.generate(part, greedy, seed=0)]

            texts[name] = write()
            seconds = statistics.median(
                identification.timed(lambda _: write(), ()).wall for _ in range(check.options.rounds)
            )
            written = sum(answer.new_tokens for answer in texts[name])
            rows.append({"writes": name, "s": seconds, "new tok/s": written / seconds})
    finally:
        decode.can_decode, engine.stop_tokens = able, stop
    ours, theirs = texts.values()
    same = sum(one.text == other.text for one, other in zip(ours, theirs, strict=True))
    exact = str(engine.model.dtype) == "torch.float32"  # under bfloat16 rounding decides between near tokens
    check.check(
        "generation: greedy texts equal generate's",
        same == len(ours) or not exact,
        f"{same} of {len(ours)} under {engine.model.dtype}",
    )
    return rows


def identified(check: Check, engine: Any) -> list[dict[str, Any]]:
    sizes = argparse.Namespace(**check.size["identification"], judge_batch=16)
    rows = []
    for title, examples in (
        (f"personas of {sizes.persona_tokens} tokens", identification.long_personas(sizes, engine)),
        ("personas as they are", identification.natural(sizes)),
    ):
        rows += identification.compared(title, examples, engine, sizes, check.options.rounds)
    return rows


def training(check: Check, folder: Path) -> list[dict[str, Any]]:
    rows = []
    contenders = ["stock", "trl", "liger", "ce", "perce", "nextquill"]
    kind = check.found["machine"]["kind"]
    for each in contenders:
        if (why := train_step.absent(each, kind)) is not None:
            check.left_out(f"training: {each}", why)
    for shape, more in check.size["training"]:
        where = folder / shape
        train_step.save_model(shape, where, kind)
        setting = {
            "shape": shape,
            "contenders": contenders,
            "examples": check.size["examples"],
            "per_device": check.size["per_device"],
            "device": kind,
            "seed": 0,
            "folder": str(where),
            **more,
        }
        options = argparse.Namespace(
            rounds=check.options.rounds, peak_tflops=check.found["machine"]["peak_tflops"]
        )
        title = f"{shape}{', LoRA' if more else ''}"
        rows += [{"model": title, **row} for row in train_step.measure(title, setting, options)]
    return rows
