"""Tests engines of weights against plain forward passes of a tiny model in float32."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from perbench.conformance.report import Fault
from perbench.conformance.tiny import write_model
from perbench.contracts.base import Capability
from perbench.contracts.engine import LEFT_OUT, Engine, Generation
from perbench.contracts.engine_kind import Host
from perbench.lm.adapters import adapted
from perbench.lm.context import TooLong
from perbench.lm.models import load_causal_lm
from perbench.prompts.chat import chat_text, decode_response, encode
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import engine_of, model_spec

NEW = 12
GREEDY = SamplingSpec(max_new_tokens=NEW, temperature=0)
WARM = SamplingSpec(max_new_tokens=NEW, temperature=1.0, top_p=0.9)
RANK = 4
NEAR = 2e-3
"""Difference of log-probs in float32."""
QUESTIONS = (
    "Hi",
    "What do you usually do on a free afternoon?",
    "Deer?",
    "I like to hunt in the woods. " * 20,
)


class Opened:
    """The engine under test, opened when first used."""

    def __init__(self, open_it: Callable[[], Engine]) -> None:
        self._open = open_it
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._open()
        return self._engine


class Tiny:
    """The tiny model under an engine, with other weights of its own: two adapters, a full model, and a copy
    in which some answers end early."""

    def __init__(self, engine: str, folder: Path, given: Mapping[str, Any]) -> None:
        self.folder = folder
        write_model(folder / "tiny", heads=2)
        values = {"summary": "tiny", "engine": engine, "path": str(folder / "tiny"), "dtype": "float32"}
        self.named: Named[ModelSpec] = Named("tiny", model_spec().model_validate({**values, **given}), None)

    def open(self, folder: Path | None = None) -> Engine:
        where = folder or self.folder / "tiny"
        return engine_of(self.named).open(Host(lambda: where, rank=RANK, longest=512))

    @cached_property
    def base(self) -> Any:
        return load_causal_lm(self.folder / "tiny", "float32")

    @cached_property
    def adapters(self) -> list[Path]:
        import torch
        from peft import LoraConfig, get_peft_model

        found = []
        for seed in (1, 2):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                config = LoraConfig(
                    r=RANK, lora_alpha=8, target_modules="all-linear", init_lora_weights=False
                )
                network = get_peft_model(load_causal_lm(self.folder / "tiny", "float32"), config)
            found.append(self.folder / f"adapter{seed}")
            network.save_pretrained(str(found[-1]))
        return found

    def with_adapter(self, path: Path | None) -> Any:
        """The module with an adapter merged into it."""
        if path is None:
            return self.base
        return adapted(load_causal_lm(self.folder / "tiny", "float32"), path, merge=True)

    @cached_property
    def full(self) -> tuple[Path, Any]:
        import torch

        model = load_causal_lm(self.folder / "tiny", "float32")
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
        model.save_pretrained(self.folder / "full")
        return self.folder / "full", model

    def ending(self, *stops: int) -> Path:
        """A copy of the model that stops at these tokens, too, and has other sampling options."""
        to = shutil.copytree(self.folder / "tiny", self.folder / "ending")
        loud = {"do_sample": True, "temperature": 0.01, "repetition_penalty": 9.0, "max_length": 3}
        own = json.loads((to / "generation_config.json").read_bytes())
        ends = [own["eos_token_id"], *stops]
        (to / "generation_config.json").write_text(json.dumps({**loud, "eos_token_id": ends}))
        return to


def prompts(engine: Engine) -> list[list[int]]:
    return [encode(engine.tokenizer, chat_text(engine.tokenizer, None, [text])) for text in QUESTIONS]


def greedy(model: Any, prompt: Sequence[int]) -> list[int]:
    """The reference: no cache, no batch, one token at a time."""
    import torch

    ids = list(prompt)
    with torch.no_grad():
        for _ in range(NEW):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def answer(engine: Engine, prompt: Sequence[int], ids: Sequence[int], stops: Sequence[int]) -> Generation:
    end = next((place for place, token in enumerate(ids) if token in stops), None)
    text = decode_response(engine.tokenizer, ids[:end])
    if end is None:
        return Generation(text, "length", len(prompt), len(ids))
    return Generation(text, "stop", len(prompt), end + 1)


def logp(model: Any, prompt: Sequence[int], response: Sequence[int]) -> Any:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0].float().log_softmax(-1)
    rows = torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1)
    return logits[rows, torch.tensor(response, dtype=torch.long)].numpy()


def _same(found: Sequence[Generation], wanted: Sequence[Generation], what: str) -> None:
    for question, one, other in zip(QUESTIONS, found, wanted, strict=True):
        if one != other:
            raise Fault(f"{what}, {question[:30]!r}: {one}, but plain forward passes give {other}")


# ---------------------------------------------------------------- checks


def _generate(tiny: Tiny, opened: Opened) -> str:
    engine = opened.engine
    asked, stops = prompts(engine), [engine.tokenizer.eos_token_id]
    wanted = [answer(engine, prompt, greedy(tiny.base, prompt), stops) for prompt in asked]
    _same(engine.generate(asked, GREEDY, seed=0), wanted, "greedy")
    if engine.generate([], GREEDY, seed=0):
        raise Fault("generate() answers no prompt")
    return "greedy answers, finish reasons and token counts are those of plain forward passes"


def _template(tiny: Tiny, opened: Opened) -> str:
    engine = opened.engine
    chats = [[{"role": "user", "content": text}] for text in QUESTIONS]
    if engine.chat(chats, GREEDY, seed=0) != engine.generate(prompts(engine), GREEDY, seed=0):
        raise Fault("chat() is not generate() under the model's chat template")
    return "chat() is generate() under the chat template"


def _stops(tiny: Tiny, opened: Opened) -> str:
    engine = opened.engine
    asked = prompts(engine)
    ids = [greedy(tiny.base, prompt) for prompt in asked]
    stops = [engine.tokenizer.eos_token_id, ids[0][0], ids[1][5]]
    other = tiny.open(tiny.ending(*stops[1:]))
    wanted = [answer(engine, prompt, one, stops) for prompt, one in zip(asked, ids, strict=True)]
    _same(other.generate(asked, GREEDY, seed=0), wanted, f"with stop tokens {stops}")
    if wanted[0].text:
        raise Fault("the answer that stops at once is not empty")
    return "answers end at every stop token of generation_config.json, whose sampling options are not used"


def _too_long(tiny: Tiny, opened: Opened) -> str:
    engine = opened.engine
    room = engine.context
    if room is None:
        return "no context is known"
    try:
        engine.generate([[5] * (room - NEW + 1)], GREEDY, seed=0)
    except TooLong:
        pass
    else:
        raise Fault(f"a prompt of {room - NEW + 1} tokens with {NEW} new ones exceeds {room}: raise TooLong")
    (fits,) = engine.generate([[5] * (room - NEW)], GREEDY, seed=0)
    if fits.prompt_tokens != room - NEW:
        raise Fault(f"a prompt of {room - NEW} tokens counts {fits.prompt_tokens}")
    chats = [[{"role": "user", "content": text}] for text in ("deer " * room, QUESTIONS[0])]
    left, kept = engine.chat(chats, GREEDY, seed=0, skip=True)
    if left != LEFT_OUT or kept.missing is not None:
        raise Fault("chat(skip=True) must return LEFT_OUT for what is too long, and answer the rest")
    return f"beyond {room} tokens: refused, or left out"


def _seeds(tiny: Tiny, opened: Opened) -> str:
    engine = opened.engine
    asked = prompts(engine)
    first = engine.generate(asked, WARM, seed=5)
    if engine.generate(asked, WARM, seed=5) != first:
        raise Fault("the same prompts with the same seed got other answers")
    if engine.generate(asked, WARM, seed=6) == first:
        raise Fault("another seed got the same answers at temperature 1")
    places = [2, 0, 3, 1]
    whole = dict(engine.stream(asked, WARM, seeds=[10, 11, 12, 13]))
    part = dict(engine.stream([asked[i] for i in places[:3]], WARM, seeds=[10 + i for i in places[:3]]))
    if [part[n] for n in range(3)] != [whole[i] for i in places[:3]]:
        raise Fault("stream(): an answer depends on more than its prompt and its seed")
    same = dict(engine.stream([asked[0]] * 8, WARM, seeds=range(8)))
    if len({one.text for one in same.values()}) < 2:
        raise Fault("stream(): one prompt got the same answer under eight seeds")
    return "a seed fixes answers; streamed ones depend on their own seed alone"


def _score(tiny: Tiny, opened: Opened) -> str:
    engine = opened.engine
    asked, responses = prompts(engine), [[7, 8, 9], [10], [], [11, 12, 13, 14, 15]]
    return f"log-probs within {_distance(engine, tiny.base, asked, responses):.1e} of plain forward passes"


def _distance(
    engine: Engine, model: Any, asked: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> float:
    import numpy as np

    worst = 0.0
    found = engine.score(asked, responses)
    for prompt, response, values in zip(asked, responses, found, strict=True):
        if values.dtype != np.float32 or values.shape != (len(response),):
            raise Fault(
                f"score() gave {values.dtype} {list(values.shape)} for {len(response)} tokens; return "
                "float32, one value per token"
            )
        wanted = logp(model, prompt, response)
        worst = max(worst, float(np.abs(values - wanted).max(initial=0)))
        if not worst <= NEAR:
            raise Fault(f"log-probs {values.tolist()}, but plain forward passes give {wanted.tolist()}")
    return worst


def _adapters(tiny: Tiny, opened: Opened) -> str:
    """A, B, A again, none, a full model, a user's adapter on top of A: whatever is cached, each answers as
    its own weights do."""
    engine = opened.engine
    asked, stops = prompts(engine), [engine.tokenizer.eos_token_id]
    one, two = tiny.adapters
    seen = {}
    for path in (one, two, one, None):
        engine.load_adapter(path)
        model = tiny.with_adapter(path)
        name = path.name if path is not None else "no adapter"
        found = engine.generate(asked, GREEDY, seed=0)
        _same(found, [answer(engine, prompt, greedy(model, prompt), stops) for prompt in asked], name)
        seen[name] = [generation.text for generation in found]
        if "score" in engine.offers:
            _distance(engine, model, asked, [[7, 8, 9]] * len(asked))
    if len({tuple(texts) for texts in seen.values()}) < len(seen):
        raise Fault("two adapters gave the same answers")
    path, model = tiny.full
    engine.load_adapter(path)
    wanted = [answer(engine, prompt, greedy(model, prompt), stops) for prompt in asked]
    _same(engine.generate(asked, GREEDY, seed=0), wanted, "a full model")
    engine.load_adapter(one, two)
    model = adapted(tiny.with_adapter(one), two, merge=True)
    wanted = [answer(engine, prompt, greedy(model, prompt), stops) for prompt in asked]
    _same(engine.generate(asked, GREEDY, seed=0), wanted, "a user's adapter on top")
    engine.load_adapter(None)
    return "A, B, A, none, a full model, a user's on top of A: each answers as its own weights do"


TOKENS: Mapping[str, tuple[Capability, Callable[[Tiny, Opened], str]]] = {
    "greedy": ("tokens", _generate),
    "template": ("tokens", _template),
    "own seeds": ("tokens", _seeds),
    "log-probs": ("score", _score),
    "adapters": ("adapters", _adapters),
    "too long": ("tokens", _too_long),
    "stop tokens": ("tokens", _stops),
}
