"""What log-probs of several answers to one request cost: read once, and each with its whole prompt.

    python benchmarks/choice.py                      # smollm2-135m, CPU
    python benchmarks/choice.py --device cuda --prompt-tokens 8000 --examples 8

Both score the same answers of embedded/chitchat_reply after the same prompts, on one model in one process.
`once` is `Engine.score` with all of them in one call; `each` scores every answer in a call of its own. The
output is CPU seconds (wall-clock on a GPU), the tokens that the model read, and the largest difference of a
log-prob.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.lm.head import body_and_head
from perbench.lm.models import resolve
from perbench.prompts.chat import chat_text, encode, encode_response
from perbench.specs.load import load_model, load_task


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--examples", type=int, default=2)
    parser.add_argument("--options", type=int, default=4)
    parser.add_argument("--prompt-tokens", type=int, default=1000)
    given = parser.parse_args()
    engine = TransformersEngine(resolve(load_model(given.model)).folder, dtype=given.dtype)
    engine.model.to(given.device)
    prompts, answers = requests(engine, given)
    read = count_tokens(engine)
    now = time.process_time if given.device == "cpu" else time.perf_counter
    found: dict[str, Any] = {}
    for name in ("warm-up", "once", "each"):
        read.clear()
        begun = now()
        if name == "each":
            pairs = zip(prompts, answers, strict=True)
            logp = [engine.score([prompt], [answer])[0] for prompt, answer in pairs]
        else:
            logp = engine.score(prompts, answers)
        found[name] = (now() - begun, sum(read), np.concatenate(logp))
        if name != "warm-up":
            print(f"{name}: {found[name][0]:.2f} s, {found[name][1]} tokens read")
    seconds, tokens, logp = found["each"]
    print(
        f"once / each: {found['once'][0] / seconds:.2f} of the time, {found['once'][1] / tokens:.2f} of the "
        f"tokens, log-probs within {np.abs(found['once'][2] - logp).max():.1e}"
    )


def requests(engine: TransformersEngine, given: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts of the wanted length, each repeated for its options, and the options."""
    examples = load_examples(
        load_task("embedded/chitchat_reply"), "test", given.examples * given.options
    ).examples
    text = "\n".join(str(item["text"]) for example in examples for item in example.persona)
    ids = encode(engine.tokenizer, text * (1 + given.prompt_tokens // max(1, len(text) // 8)))
    prompts, answers = [], []
    for number in range(given.examples):
        own = engine.tokenizer.decode(ids[number * 50 : number * 50 + given.prompt_tokens])
        prompt = encode(engine.tokenizer, chat_text(engine.tokenizer, None, [own]))
        prompts += [prompt] * given.options
        mine = examples[number * given.options : (number + 1) * given.options]
        answers += [encode_response(engine.tokenizer, example.reference) for example in mine]
    return prompts, answers


def count_tokens(engine: TransformersEngine) -> list[int]:
    read: list[int] = []
    body, _ = body_and_head(engine.model)
    body.register_forward_pre_hook(
        lambda _, args, options: read.append((args[0] if args else options["input_ids"]).numel()),
        with_kwargs=True,
    )
    return read


if __name__ == "__main__":
    main()
