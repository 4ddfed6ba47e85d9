"""What protocol likelihood costs beside one pass over the texts under their own personas.

    python benchmarks/likelihood.py                       # smollm2-135m, CPU: 120 texts, 4 other users each
    python benchmarks/likelihood.py --device cuda --examples 500

In one process, on one model, in turn, round after round: `likelihood` scores every text of
embedded/chitchat_reply under the user's own persona, without one and under 4 others' (6 contexts); `own` is
`Engine.score` under the own persona alone; `plain` the same with transformers alone: padded batches of 8 and
log_softmax. Medians of the rounds; seconds are of the CPU where the model is on it; tokens read count
padding, and prefixes that prompts share once. Exit code 1 if the log-probs under the own persona differ from
`plain`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from perbench.contracts.data import Dataset
from perbench.contracts.engine import Engine
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.models import resolve
from perbench.protocols.likelihood.scoring import TextScoring
from perbench.specs.load import load_model, load_task

TASK = "embedded/chitchat_reply"
CLOSE = 2e-3
"""In float32; log-probs are stored to five decimals."""


class Alone:
    """The untrained model, without the cache."""

    users, untrained = None, True

    def __init__(self, engine: Engine) -> None:
        self.subject = engine

    @contextmanager
    def subject_of(self, user: str | None) -> Iterator[Engine]:
        yield self.subject

    def base_logp(self, prompts: Sequence[Any], responses: Sequence[Any]) -> list[Any]:
        return self.subject.score(prompts, responses)


def main() -> int:
    import torch

    options = arguments()
    engine = TransformersEngine(resolve(load_model(options.model)).folder, dtype=options.dtype)
    engine.model.to(options.device)
    given = {"protocol": "likelihood", "examples.test": options.examples}
    task = load_task(TASK, overrides={**given, "persona.max_tokens": options.persona_tokens})
    found = load_examples(task, "test")
    clock = time.process_time if options.device == "cpu" else time.perf_counter

    def scoring() -> TextScoring:
        return TextScoring(task.spec, options.others, found, cast(Any, Alone(engine)))

    texts = [text for text in scoring().texts.values() if text is not None]
    prompts, answers = [text.pair.factual for text in texts], [text.ids for text in texts]
    print(f"{options.model}, {engine.model.dtype}, {engine.model.device}, {torch.get_num_threads()} threads;")
    print(
        f"{len(texts)} texts of {len({text.example.user for text in texts})} users, "
        f"{statistics.mean(map(len, prompts)):.0f} + {statistics.mean(map(len, answers)):.0f} tokens each, "
        f"{options.others} other users; load of the machine: {os.getloadavg()[0]:.1f}"
    )
    methods: dict[str, Callable[[], list[list[float]]]] = {
        "likelihood": lambda: likelihood(scoring(), found),
        "own": lambda: [logp.tolist() for logp in engine.score(prompts, answers)],
        "plain": lambda: plain(engine, prompts, answers),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    values: dict[str, list[list[float]]] = {}
    tokens: dict[str, int] = {}
    read: list[int] = []
    engine.model.get_input_embeddings().register_forward_hook(
        lambda module, given, output: read.append(given[0].numel())
    )
    for number in range(options.rounds + options.warm_up):
        for name, method in methods.items():
            read.clear()
            begun = clock()
            values[name] = method()
            if number >= options.warm_up:
                seconds[name].append(clock() - begun)
            tokens[name] = sum(read)
    for name, times in seconds.items():
        spread = f"({min(times):.2f}-{max(times):.2f})"
        print(f"{name:12}{statistics.median(times):8.2f} s  {spread}, {tokens[name]} tokens read")
    for name in ("own", "plain"):
        ratio = statistics.median(
            ours / peer for ours, peer in zip(seconds["likelihood"], seconds[name], strict=True)
        )
        more = tokens["likelihood"] / tokens[name]
        print(f"likelihood / {name}: {ratio:.2f} in seconds, {more:.2f} in tokens")
    apart = max(
        abs(one - other)
        for mine, peer in zip(values["likelihood"], values["plain"], strict=True)
        for one, other in zip(mine, peer, strict=True)
    )
    print(f"largest difference from plain: {apart:.1e} nats")
    return 0 if apart < options.close else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cost of protocol likelihood")
    parser.add_argument("--model", default="smollm2-135m", help="registry name, local folder or hub name")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", default="float32", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--close", type=float, default=CLOSE, help="largest difference allowed, in nats")
    parser.add_argument("--rounds", type=int, default=1, help="counted rounds")
    parser.add_argument("--warm-up", type=int, default=0, help="rounds before these")
    parser.add_argument("--examples", type=int, default=120)
    parser.add_argument("--others", type=int, default=4)
    parser.add_argument("--persona-tokens", type=int, default=128, help="of the history in a prompt, at most")
    return parser.parse_args()


def likelihood(scoring: TextScoring, data: Dataset) -> list[list[float]]:
    """The log-probs under the own personas, in the order of the data."""
    found: dict[str, list[float]] = {}
    for batch in scoring.batches():
        found |= {sample["id"]: sample["own"] for sample in batch.make({})}
    return [found[example.id] for example in data.examples if scoring.texts[example.id] is not None]


def plain(
    engine: TransformersEngine, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> list[list[float]]:
    """With transformers alone: batches of 8 of similar length, padded on the right."""
    import torch

    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
    found: dict[int, list[float]] = {}
    for start in range(0, len(order), 8):
        group = order[start : start + 8]
        width = len(rows[group[0]])
        ids = torch.tensor(
            [rows[i] + [0] * (width - len(rows[i])) for i in group], device=engine.model.device
        )
        mask = torch.tensor([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in group]).to(ids.device)
        with torch.no_grad():
            logp = engine.model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
        for row, place in enumerate(group):
            first = len(prompts[place]) - 1
            found[place] = [
                float(logp[row, first + step, token]) for step, token in enumerate(answers[place])
            ]
    return [found[place] for place in range(len(rows))]


if __name__ == "__main__":
    sys.exit(main())
