"""What identifying personal tokens costs: percontrast, a plain loop over both contexts, and llm_judge.

    python benchmarks/identification.py                                         # smollm2-135m, CPU
    python benchmarks/identification.py --device cuda --model-shape llama-8b  # random weights of that shape

All run on one model in one process, in turn, round after round; reported is the median of the rounds, of
which the first does not count. percontrast gets the batches that a run gives it; the plain loop is two
forward passes per answer with all logits, one sequence at a time. llm_judge gets its prompts by length, in
batches of the size that was fastest in the round that does not count: `judge` writes with transformers'
`generate`, as people do, `judge here` with perbench's own loop, which reads once what prompts share. The
plain loop and `judge` use the model as transformers loads it, the others as perbench's engine serves it (on
a CPU with its weights laid out for oneDNN).
Personas are those of identification/persona_qa as they are, and strung together to a given length, several
answers each.

FLOPs are counted in the first round. The floor of a method is what it needs at least: every distinct
beginning read once, no padding, attention to the past only, the head at the tokens that are scored or
written. The ratio of two floors is that of two methods that reach them and compute equally fast.

Targets, on the long personas: 10 times as fast as the judge, 3 times as fast as the plain loop.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from train_step import SHAPES, random_model
from train_step_contenders import flop_counter

from perbench.api import Example, PersonaText
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm import decode
from perbench.lm.memory import peak_mb, reset_peak
from perbench.lm.models import resolve
from perbench.lm.onednn import lay_out, restore
from perbench.lm.prefix import common_length
from perbench.plugins import load_identifier
from perbench.prompts.chat import chat_text, encode
from perbench.protocols.identification.scoring import BATCH, persona_text, personas
from perbench.specs.load import load_model, load_task

TASK = "identification/persona_qa"
METHODS = ["percontrast", "plain loop", "judge", "judge here"]
PEERS = ("plain loop", "judge")
"""What people would write without perbench: on the model as it is loaded."""
Method = Callable[[Sequence[PersonaText]], None]
Read = tuple[Sequence[int], int]
"""A sequence, and how many of its last tokens the head is applied for."""


@dataclass(frozen=True)
class Timing:
    """One round: seconds of the clock and of this process's threads, megabytes held at most."""

    wall: float
    cpu: float
    memory: int


def main() -> None:
    import torch

    options = arguments()
    engine = TransformersEngine(resolve(load_model(options.model)).folder, dtype=options.dtype)
    if options.model_shape:
        engine.model = random_model(options.model_shape, engine.model.dtype, options.device).eval()
    engine.model.to(options.device)
    parameters = sum(p.numel() for p in engine.model.parameters()) / 1e6
    name = f"random weights, shape {options.model_shape}" if options.model_shape else options.model
    print(f"{name}: {parameters:.0f} M parameters, {engine.model.dtype}, {engine.model.device}")
    print(f"threads: {torch.get_num_threads()}; load of the machine: {os.getloadavg()[0]:.1f}")
    for title, examples in (
        (f"personas of {options.persona_tokens} tokens", long_personas(options, engine)),
        ("personas as they are", natural(options)),
    ):
        compared(title, examples, engine, options, options.rounds)


def compared(
    title: str,
    examples: Sequence[Example],
    engine: TransformersEngine,
    options: argparse.Namespace,
    count: int,
) -> list[dict[str, Any]]:
    """Let the methods take turns, print the table, and return its figures."""
    texts = prepared(examples, engine)
    judges = {"judge": Judge(engine, options, theirs=True), "judge here": Judge(engine, options)}
    methods: dict[str, Method] = {
        "percontrast": lambda texts: percontrast(engine, texts),
        "plain loop": lambda texts: plain_loop(engine, texts),
        **judges,
    }
    methods = {name: methods[name] for name in getattr(options, "methods", METHODS)}
    rounds, flops = measured(methods, engine.model, texts, count)
    floors = dict.fromkeys(("percontrast", "plain loop"), floor(engine.model, contexts(texts)))
    floors |= {name: floor(engine.model, judge.reads) for name, judge in judges.items()}
    found = {name: (flops[name], floors[name]) for name in methods}
    tell(title, texts, rounds, judges, found)
    return [
        {
            "texts": title,
            "method": name,
            "examples/s": len(texts) / median(timings).wall,
            "percontrast is faster by": ratio(rounds, name, "wall"),
            "by floors": floors[name] / floors["percontrast"],
            "GFLOP": flops[name] / 1e9,
        }
        for name, timings in rounds.items()
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cost of percontrast, a plain loop and llm_judge")
    parser.add_argument("--model", default="smollm2-135m", help="registry name, local folder or hub name")
    parser.add_argument("--model-shape", choices=SHAPES, help="random weights, with --model's tokenizer")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds")
    parser.add_argument("--personas", type=int, default=2, help="long personas")
    parser.add_argument("--answers", type=int, default=8, help="answers to each long persona")
    parser.add_argument("--persona-tokens", type=int, default=800, help="tokens of a long persona, at least")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--judge-batch", type=int, help="take this size instead of the fastest")
    parser.add_argument("--natural", type=int, default=32, help="examples with their own personas")
    return parser.parse_args()


# ---------------------------------------------------------------- data


def natural(options: argparse.Namespace) -> list[Example]:
    """The data set's examples, those of one user side by side as in a run."""
    examples = load_examples(load_task(TASK), "test").examples
    return sorted(examples, key=lambda example: example.user)[: options.natural]


def long_personas(options: argparse.Namespace, engine: TransformersEngine) -> list[Example]:
    """Users who unite as many of the data set's users as fill `persona_tokens`; their answers are theirs."""
    by_user: dict[str, list[Example]] = {}
    for example in load_examples(load_task(TASK), "test").examples:
        by_user.setdefault(example.user, []).append(example)
    users = iter(by_user.values())
    made: list[Example] = []
    for number in range(options.personas):
        items: list[Any] = []
        answers: list[Example] = []
        while len(answers) < options.answers or tokens_of(items, engine) < options.persona_tokens:
            of_user = next(users)
            items += of_user[0].persona
            answers += of_user
        made += [
            Example(f"{number}/{one.id}", str(number), one.question, one.reference, tuple(items))
            for one in answers[: options.answers]
        ]
    return made


def tokens_of(items: Sequence[Any], engine: TransformersEngine) -> int:
    text = "\n".join(item["text"] for item in items)
    return len(engine.tokenizer(text, add_special_tokens=False)["input_ids"])


def prepared(examples: Sequence[Example], engine: TransformersEngine) -> list[PersonaText]:
    spec = load_task(TASK).spec
    background = personas(spec, examples)
    return [persona_text(spec, example, engine, background) for example in examples]


# ---------------------------------------------------------------- methods


def percontrast(engine: TransformersEngine, texts: Sequence[PersonaText]) -> None:
    identifier = load_identifier("percontrast")
    for start in range(0, len(texts), BATCH):
        identifier.score(texts[start : start + BATCH], engine)


def plain_loop(engine: TransformersEngine, texts: Sequence[PersonaText]) -> None:
    import torch

    for text in texts:
        response = torch.tensor(text.tokens, device=engine.model.device)[:, None]
        logps = []
        for prompt in (text.factual, text.counterfactual):
            ids = torch.tensor([[*prompt, *text.tokens]], device=engine.model.device)
            with torch.no_grad():
                logits = engine.model(input_ids=ids, use_cache=False).logits[0].float()
            logp = logits.log_softmax(-1)[len(prompt) - 1 : -1]
            logps.append(logp.gather(1, response)[:, 0])
        (logps[0] - logps[1]).tolist()


class Judge:
    """llm_judge in batches of one size, prompts by length; keeps what it read and wrote. `theirs`: its
    answers are written by transformers' `generate`."""

    SIZES = (1, 4, 8, 16, 32)

    def __init__(self, engine: TransformersEngine, options: argparse.Namespace, theirs: bool = False) -> None:
        self.engine = engine
        self.theirs = theirs
        self.size: int | None = options.judge_batch
        self.reads: list[Read] = []

    def __call__(self, texts: Sequence[PersonaText]) -> None:
        assert self.size is not None, "choose() comes first"
        self.judge(texts, self.size)

    def choose(self, texts: Sequence[PersonaText]) -> None:
        """Take the fastest size, unless one is given."""
        if self.size is None:
            sizes = [size for size in self.SIZES if size < len(texts)] + [len(texts)]
            self.size = min(sizes, key=lambda size: timed(lambda texts: self.judge(texts, size), texts).cpu)

    def judge(self, texts: Sequence[PersonaText], size: int) -> None:
        self.reads = []
        ordered = sorted(texts, key=lambda text: len(text.factual))
        able = decode.can_decode
        decode.can_decode = (lambda model: False) if self.theirs else able
        try:
            for start in range(0, len(texts), size):
                load_identifier("llm_judge").score(ordered[start : start + size], Listening(self))
        finally:
            decode.can_decode = able


class Listening:
    """The engine, noting what is read and written."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def __getattr__(self, name: str) -> Any:
        return getattr(self.judge.engine, name)

    def chat(self, conversations: Any, *given: Any, **options: Any) -> Any:
        engine = self.judge.engine
        answers = engine.chat(conversations, *given, **options)
        for (message,), answer in zip(conversations, answers, strict=True):
            prompt = encode(engine.tokenizer, chat_text(engine.tokenizer, None, [message["content"]]))
            # Which tokens were written does not matter, and the last of them is not read.
            self.judge.reads.append(([*prompt, *[-1] * (answer.new_tokens - 1)], answer.new_tokens))
        return answers


# ---------------------------------------------------------------- floors


def contexts(texts: Sequence[PersonaText]) -> list[Read]:
    """What percontrast reads: every answer after both prompts."""
    return [
        ([*prompt, *text.tokens[:-1]], len(text.tokens))
        for text in texts
        for prompt in (text.factual, text.counterfactual)
    ]


def floor(model: Any, reads: Sequence[Read]) -> float:
    """FLOPs needed at least. Equal answers after equal prompts are counted for each."""
    config = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    head = model.get_output_embeddings().weight.numel()
    matrices = sum(one.numel() for one in model.model.layers.parameters() if one.dim() == 2)
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * width
    total, before = 0.0, ()
    for ids, scored in sorted((tuple(ids), scored) for ids, scored in reads):
        shared, size = common_length(before, ids), len(ids)
        past = size * (size + 1) // 2 - shared * (shared + 1) // 2
        total += 2.0 * matrices * (size - shared) + attention * past + 2.0 * head * scored
        before = ids
    return total


# ---------------------------------------------------------------- rounds


def measured(
    methods: dict[str, Method], model: Any, texts: Sequence[PersonaText], rounds: int
) -> tuple[dict[str, list[Timing]], dict[str, float]]:
    """The rounds, and the FLOPs of each method; torch cannot count those of layers laid out for oneDNN."""
    found: dict[str, list[Timing]] = {name: [] for name in methods}
    flops: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, method in methods.items():
            (restore if name in PEERS else lay_out)(model)
            if number:
                found[name].append(timed(method, texts))
                continue
            if isinstance(method, Judge):
                method.choose(texts)
            restore(model)
            with flop_counter() as counter:
                method(texts)
            flops[name] = counter.get_total_flops()
    lay_out(model)
    return found, flops


def timed(method: Method, texts: Sequence[PersonaText]) -> Timing:
    reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    method(texts)
    synchronise()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu, peak_mb())


def synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def tell(
    title: str,
    texts: Sequence[PersonaText],
    rounds: dict[str, list[Timing]],
    judges: dict[str, Judge],
    flops: dict[str, tuple[float, float]],
) -> None:
    tokens = sum(len(text.tokens) for text in texts)
    prompt = statistics.mean(len(text.factual) for text in texts)
    users = len({text.persona for text in texts})
    print(
        f"\n{title}: {len(texts)} answers of {users} users; tokens per answer {tokens / len(texts):.1f}, per "
        f"prompt {prompt:.0f} with persona"
    )
    for name, judge in judges.items():
        if judge.reads:
            written = statistics.mean(new for _, new in judge.reads)
            read = statistics.mean(len(ids) for ids, _ in judge.reads) - written + 1
            print(f"{name}, in batches of {judge.size}, reads {read:.0f}, writes {written:.1f}")
    print(f"{'':14}{'examples/s':>12}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}{'GFLOP':>10}{'floor':>10}")
    middle = {name: median(timings) for name, timings in rounds.items()}
    for name, timing in middle.items():
        counted, least = (value / 1e9 for value in flops[name])
        print(
            f"{name:14}{len(texts) / timing.wall:12.2f}{timing.wall:10.2f}{timing.cpu:10.2f}"
            f"{timing.memory:10d}{counted:10.0f}{least:10.0f}"
            + ("  counted below the floor: torch misses an operation" if counted < least else "")
        )
    for other, target in (("judge", " (target 10)"), ("judge here", ""), ("plain loop", " (target 3)")):
        if other not in rounds or "percontrast" not in rounds:
            continue
        wall, cpu = (ratio(rounds, other, of) for of in ("wall", "cpu"))
        counted, least = (a / b for a, b in zip(flops[other], flops["percontrast"], strict=True))
        print(
            f"percontrast against {other}: {wall:.1f} times as fast{target}, {cpu:.1f} by CPU time, "
            f"{counted:.1f} by FLOPs, {least:.1f} by floors"
        )


def ratio(rounds: dict[str, list[Timing]], other: str, of: str) -> float:
    """Median over the rounds of percontrast's gain over another method."""
    pairs = zip(rounds[other], rounds["percontrast"], strict=True)
    return statistics.median(getattr(slow, of) / getattr(fast, of) for slow, fast in pairs)


def median(timings: Sequence[Timing]) -> Timing:
    return Timing(
        statistics.median(timing.wall for timing in timings),
        statistics.median(timing.cpu for timing in timings),
        max(timing.memory for timing in timings),
    )


if __name__ == "__main__":
    main()
