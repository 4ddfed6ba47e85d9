"""What identifying personal tokens costs: percontrast, a plain loop over both contexts, and llm_judge.

    python benchmarks/identification.py                                    # smollm2-135m, CPU
    python benchmarks/identification.py --device cuda --model-shape 7b     # random weights of that shape

All three run on one model in one process, in turn, round after round; what is told is the median of the
rounds, of which the first does not count. percontrast gets the batches that a run gives it; the plain loop is
two forward passes per answer with all logits, one sequence at a time; llm_judge gets its prompts by length,
in batches of the size that was fastest in the round that does not count. Personas are those of
identification/persona_qa as they are, and strung together to a given length, several answers each.

Targets, on the long personas: 10 times as fast as llm_judge, 3 times as fast as the plain loop.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perbench.api import Example, PersonaText
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.memory import peak_mb, reset_peak
from perbench.lm.models import resolve
from perbench.plugins import load_identifier
from perbench.protocols.identification.scoring import BATCH, persona_text, personas
from perbench.specs.load import load_model, load_task

TASK = "identification/persona_qa"
SHAPES = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
"""Llama's sizes, with grouped-query attention as in its later versions."""

Method = Callable[[Sequence[PersonaText]], None]


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
        engine.model = random_model(options.model_shape, options.device, engine)
    engine.model.to(options.device)
    parameters = sum(p.numel() for p in engine.model.parameters()) / 1e6
    name = f"random weights, shape {options.model_shape}" if options.model_shape else options.model
    print(f"{name}: {parameters:.0f} M parameters, {engine.model.dtype}, {engine.model.device}")
    print(f"threads: {torch.get_num_threads()}; load of the machine: {os.getloadavg()[0]:.1f}")
    for title, examples in (
        (f"personas of {options.persona_tokens} tokens", long_personas(options, engine)),
        ("personas as they are", natural(options)),
    ):
        texts = prepared(examples, engine)
        judge = Judge(engine)
        methods: dict[str, Method] = {
            "percontrast": lambda texts: percontrast(engine, texts),
            "plain loop": lambda texts: plain_loop(engine, texts),
            "llm_judge": judge,
        }
        rounds = measured(methods, texts, options.rounds)
        tell(title, texts, rounds, judge)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cost of percontrast, a plain loop and llm_judge")
    parser.add_argument("--model", default="smollm2-135m", help="registry name, local folder or hub name")
    parser.add_argument(
        "--model-shape", choices=sorted(SHAPES), help="random weights, with --model's tokenizer"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds")
    parser.add_argument("--personas", type=int, default=2, help="long personas")
    parser.add_argument("--answers", type=int, default=8, help="answers to each long persona")
    parser.add_argument("--persona-tokens", type=int, default=800, help="tokens of a long persona, at least")
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


def random_model(shape: str, device: str, engine: TransformersEngine) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = SHAPES[shape]
    config = LlamaConfig(vocab_size=len(engine.tokenizer), max_position_embeddings=8192, **sizes)
    before = torch.get_default_dtype()
    torch.set_default_dtype(engine.model.dtype)
    try:
        with torch.device(device):
            model: Any = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.eval()
    model.generation_config = engine.model.generation_config
    return model


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
    """llm_judge in batches of one size, prompts by length; keeps how much it wrote."""

    SIZES = (1, 4, 8, 16, 32)

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self.size: int | None = None
        self.written: list[int] = []
        self.read: list[int] = []

    def __call__(self, texts: Sequence[PersonaText]) -> None:
        """Judge all; the first call tries every size, and later ones take what was fastest then."""
        if self.size is None:
            sizes = [size for size in self.SIZES if size < len(texts)] + [len(texts)]
            self.size = min(sizes, key=lambda size: timed(lambda texts: self.judge(texts, size), texts).wall)
        self.judge(texts, self.size)

    def judge(self, texts: Sequence[PersonaText], size: int) -> None:
        self.written, self.read = [], []
        ordered = sorted(texts, key=lambda text: len(text.factual))
        for start in range(0, len(texts), size):
            load_identifier("llm_judge").score(ordered[start : start + size], Listening(self))


class Listening:
    """The engine, noting what is generated."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.judge.engine, name)
        if name not in ("generate", "chat"):
            return found

        def noted(*args: Any, **kwargs: Any) -> Any:
            answers = found(*args, **kwargs)
            self.judge.written += [answer.new_tokens for answer in answers]
            self.judge.read += [answer.prompt_tokens for answer in answers]
            return answers

        return noted


# ---------------------------------------------------------------- rounds


def measured(
    methods: dict[str, Method], texts: Sequence[PersonaText], rounds: int
) -> dict[str, list[Timing]]:
    found: dict[str, list[Timing]] = {name: [] for name in methods}
    for number in range(rounds + 1):
        for name, method in methods.items():
            timing = timed(method, texts)
            if number:
                found[name].append(timing)
    return found


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


def tell(title: str, texts: Sequence[PersonaText], rounds: dict[str, list[Timing]], judge: Judge) -> None:
    tokens = sum(len(text.tokens) for text in texts)
    prompt = statistics.mean(len(text.factual) for text in texts)
    users = len({text.persona for text in texts})
    print(
        f"\n{title}: {len(texts)} answers of {users} users; tokens per answer "
        f"{tokens / len(texts):.1f}, per prompt {prompt:.0f} with persona; the judge, in batches of "
        f"{judge.size}, reads {statistics.mean(judge.read):.0f}, writes {statistics.mean(judge.written):.1f}"
    )
    print(f"{'':14}{'examples/s':>12}{'tokens/s':>12}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}")
    middle = {name: median(timings) for name, timings in rounds.items()}
    for name, timing in middle.items():
        rates = f"{len(texts) / timing.wall:12.2f}{tokens / timing.wall:12.1f}"
        print(f"{name:14}{rates}{timing.wall:10.2f}{timing.cpu:10.2f}{timing.memory:10d}")
    for other, target in (("llm_judge", 10), ("plain loop", 3)):
        pairs = list(zip(rounds[other], rounds["percontrast"], strict=True))
        wall = statistics.median(slow.wall / fast.wall for slow, fast in pairs)
        cpu = statistics.median(slow.cpu / fast.cpu for slow, fast in pairs)
        print(
            f"percontrast against {other}: {wall:.1f} times as fast ({cpu:.1f} by CPU time; target {target})"
        )


def median(timings: Sequence[Timing]) -> Timing:
    return Timing(
        statistics.median(timing.wall for timing in timings),
        statistics.median(timing.cpu for timing in timings),
        max(timing.memory for timing in timings),
    )


if __name__ == "__main__":
    main()
