"""What context steering costs: `steer`, ordinary generation, and two whole passes for every token.

    python benchmarks/steering.py                         # smollm2-135m, CPU
    python benchmarks/steering.py --device cuda --examples 32 --new-tokens 128

All three answer the same requests of embedded/sotu_writing greedily, on one model in one process, in turn,
round after round; reported are medians of the rounds, of which the first does not count. `re-prefill` is how
the formula reads: both contexts with the answer so far, whole, for every token, in the same batch of both. It
must give the same answers as `steer`, in float32 (in less, rounding may choose between two tokens); exit
code 1 when it does not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from perbench.contracts.engine import TokenIds
from perbench.data import load_examples
from perbench.decodings.context_steering import ContextSteering
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.models import resolve
from perbench.prompts.pair import build_pair
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import decoding_spec
from perbench.specs.load import load_model, load_task

TASK = "embedded/sotu_writing"
Prompts = list[TokenIds]


def main() -> int:
    import torch

    options = arguments()
    engine = TransformersEngine(resolve(load_model(options.model)).folder, dtype=options.dtype)
    engine.model.to(options.device)
    prompts, without = requests(engine, options.examples, options.persona_tokens)
    sampling = SamplingSpec(temperature=0.0, max_new_tokens=options.new_tokens)
    print(f"{options.model}, {engine.model.dtype}, {engine.model.device}, {torch.get_num_threads()} threads;")
    print(
        f"{len(prompts)} requests, {statistics.mean(map(len, prompts)):.0f} tokens with context and "
        f"{statistics.mean(map(len, without)):.0f} without, {options.new_tokens} new; "
        f"load of the machine: {os.getloadavg()[0]:.1f}"
    )
    combine = ContextSteering(decoding_spec()(method="context_steering", lam=options.lam)).combine
    methods: dict[str, Callable[[], list[str]]] = {
        "steer": lambda: [
            one.text for one in engine.steer(prompts, without, sampling, combine=combine, seed=0)
        ],
        "generate": lambda: [one.text for one in engine.generate(prompts, sampling, seed=0)],
        "re-prefill": lambda: re_prefill(engine, prompts, without, options.lam, options.new_tokens),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    answers: dict[str, list[str]] = {}
    for number in range(options.rounds + 1):
        for name, method in methods.items():
            begun = time.perf_counter()
            answers[name] = method()
            if number:
                seconds[name].append(time.perf_counter() - begun)
    for name, times in seconds.items():
        print(f"{name:12}{statistics.median(times):8.2f} s  ({min(times):.2f}-{max(times):.2f})")
    for name in ("generate", "re-prefill"):
        ratio = statistics.median(
            ours / peer for ours, peer in zip(seconds["steer"], seconds[name], strict=True)
        )
        print(f"steer / {name}: {ratio:.3f}")
    same = sum(ours == peer for ours, peer in zip(answers["steer"], answers["re-prefill"], strict=True))
    print(f"{same} of {len(prompts)} answers are the same as by re-prefill")
    return 0 if same == len(prompts) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cost of context steering")
    parser.add_argument("--model", default="smollm2-135m", help="registry name, local folder or hub name")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", default="float32", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--lam", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds")
    parser.add_argument("--examples", type=int, default=4)
    parser.add_argument("--persona-tokens", type=int, default=400, help="of the history in a prompt, at most")
    parser.add_argument("--new-tokens", type=int, default=24)
    return parser.parse_args()


def requests(engine: TransformersEngine, number: int, persona_tokens: int) -> tuple[Prompts, Prompts]:
    task = load_task(TASK)
    persona = task.spec.persona.model_copy(update={"max_tokens": persona_tokens})
    spec = task.spec.model_copy(update={"persona": persona})
    examples = load_examples(task, "test").examples[:number]
    pairs = [build_pair(spec, example, engine.tokenizer, with_response=False) for example in examples]
    return [pair.factual for pair in pairs], [pair.counterfactual for pair in pairs]


def re_prefill(
    engine: TransformersEngine, prompts: Prompts, without: Prompts, lam: float, new_tokens: int
) -> list[str]:
    """Answers without any cache: every token costs a pass over all that stands before it."""
    import torch

    stop = sorted(engine.stop_tokens)
    rows: list[list[int]] = [[*prompt] for prompt in (*prompts, *without)]
    answers: list[list[int]] = [[] for _ in prompts]
    width = max(map(len, rows))
    pad = stop[0]
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=engine.model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=ids.device)
    for _ in range(new_tokens):
        with torch.no_grad():
            logits: Any = engine.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                use_cache=False,
                logits_to_keep=1,
            ).logits[:, -1]
        logp = logits.float().log_softmax(-1)
        context, none = logp.chunk(2)
        drawn = (context + lam * (context - none)).argmax(-1)
        for answer, token in zip(answers, drawn.tolist(), strict=True):
            if not answer or answer[-1] not in stop:
                answer.append(token)
        if all(answer[-1] in stop for answer in answers):
            break
        ids = torch.cat([ids, drawn.repeat(2)[:, None]], 1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    return [
        engine.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for answer in answers
    ]


if __name__ == "__main__":
    sys.exit(main())
