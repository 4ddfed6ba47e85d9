"""The transformers engine: a model in this process, on one GPU or the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.base import EVERYTHING
from perbench.contracts.engine import LEFT_OUT, Combine, Conversation, Engine, Generation, TokenIds
from perbench.errors import PerbenchError
from perbench.lm.adapters import adapted, is_adapter
from perbench.lm.context import TooLong, context_of
from perbench.lm.contrast import batches, response_logp
from perbench.lm.device import device
from perbench.lm.finite import Finite
from perbench.lm.models import load_causal_lm, load_tokenizer
from perbench.prompts.chat import chat_text, decode_response, encode, end_of_sequence, end_of_turn
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    import numpy as np

TOKEN_BUDGET = 32768
"""Padded tokens of prompts and answers generated at once; bounds the key-value cache."""


_CHANGING = Path()
"""Served folder while weights change, so that a failed change is not mistaken for a completed one."""


class TransformersEngine(Engine):
    """`model` is the torch module being served; any of `stop_tokens` ends an answer, unless `sampling.end`
    says otherwise. `own_generation`: the options of the checkpoint, which are not used here."""

    offers = EVERYTHING
    tokenizer: Any = None

    def __init__(self, folder: Path, *, dtype: str = "auto") -> None:
        self.name = f"transformers {version('transformers')}"
        self.tokenizer = load_tokenizer(folder)
        self._folder = folder
        self._dtype = dtype
        self.stop_tokens: frozenset[int] = frozenset()
        self._served: Path | None = None
        self._user: Path | None = None
        self.model: Any = self._load(folder)

    # ------------------------------------------------------------ weights

    def load_adapter(self, path: Path | None, user: Path | None = None) -> None:
        """Serve a peft adapter folder or a full model folder; None restores the base model bit for bit.

        An adapter is merged: unmerged, it costs a third of the generation speed on a CPU. Merging rounds to
        the weights' dtype, which changes log-probs far less than computing in bfloat16. The base is reloaded
        from its folder, so no second copy is held. The adapter `user` is added unmerged on top, since users
        change often and removing one must restore the weights exactly.

        Raises:
            PerbenchError: the folder holds neither, or does not load.
        """
        if self._user is not None and (path, user) != (self._served, self._user):
            self.model, self._user = self.model.unload(), None
        if path != self._served:
            adapter = path is not None and is_adapter(path)
            self._served = _CHANGING
            self.model = None  # freed before its successor is loaded
            self.model = self._load(self._folder if path is None or adapter else path)
            if path is not None and adapter:
                self.model = adapted(self.model, path, merge=True)
            self._served = path
        if user != self._user and user is not None:
            served, self._served = self._served, _CHANGING
            self.model = adapted(self.model, user, merge=False)
            self._served, self._user = served, user

    def _load(self, folder: Path) -> Any:
        from transformers import GenerationConfig

        model = load_causal_lm(folder, self._dtype).to(device())
        if not self.stop_tokens:
            named = model.generation_config.eos_token_id
            stop = {named} if isinstance(named, int) else set(named or ())
            stop.update(end_of_turn(self.tokenizer)[-1:])
            self.stop_tokens = frozenset(stop)
            if not stop:
                raise PerbenchError(
                    f"{folder}: neither generation_config.json nor the chat template ends a turn"
                )
        # generate() takes unset options from here, such as a checkpoint's own temperature or penalties.
        self.own_generation = model.generation_config
        model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
        return model

    @property
    def context(self) -> int | None:
        """See `perbench.contracts.engine.Engine.context`."""
        return context_of(self.model.config)

    # ------------------------------------------------------------ the protocol

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[np.ndarray[Any, Any]]:
        """See `perbench.contracts.engine.Engine.score`."""
        return [logp.numpy() for logp in response_logp(self.model, prompts, responses)]

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int, skip: bool = False
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.chat`."""
        prompts = []
        for messages in conversations:
            system = messages[0]["content"] if messages[0]["role"] == "system" else None
            turns = [message["content"] for message in messages[system is not None :]]
            prompts.append(encode(self.tokenizer, chat_text(self.tokenizer, system, turns)))
        room = self.context
        fitting = [
            i
            for i, prompt in enumerate(prompts)
            if not skip or room is None or len(prompt) + sampling.max_new_tokens <= room
        ]
        found = self.generate([prompts[i] for i in fitting], sampling, seed=seed)
        answers = dict(zip(fitting, found, strict=True))
        return [answers.get(i, LEFT_OUT) for i in range(len(prompts))]

    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.generate`. The batch is split by a fixed token budget;
        `new_tokens` counts the stop token, while the text holds no special token.

        Raises:
            TooLong: a prompt and its answer exceed the model's context.
        """
        lengths = [len(prompt) for prompt in prompts]

        def answer(group: list[int]) -> list[Generation]:
            chosen = [prompts[index] for index in group]
            rows = self._rows(chosen, sampling, **_drawing(sampling))
            return [
                self._answer(len(prompt), row, sampling) for prompt, row in zip(chosen, rows, strict=True)
            ]

        return self._in_groups(lengths, TOKEN_BUDGET, sampling, seed, answer)

    def steer(
        self,
        prompts: Sequence[TokenIds],
        without: Sequence[TokenIds],
        sampling: SamplingSpec,
        *,
        combine: Combine,
        seed: int,
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.steer`; batches and errors as in `generate`."""
        from .steering import Steering

        lengths = [max(len(one), len(other)) for one, other in zip(prompts, without, strict=True)]
        steering = Steering(combine, sampling)

        def answer(group: list[int]) -> list[Generation]:
            pairs = [*(prompts[index] for index in group), *(without[index] for index in group)]
            rows = self._rows(pairs, sampling, steering)
            read = [len(prompts[index]) + len(without[index]) for index in group]
            kept = rows[: len(group)]
            return [self._answer(count, row, sampling) for count, row in zip(read, kept, strict=True)]

        return self._in_groups(lengths, TOKEN_BUDGET // 2, sampling, seed, answer)

    def _in_groups(
        self,
        lengths: Sequence[int],
        token_budget: int,
        sampling: SamplingSpec,
        seed: int,
        answer: Callable[[list[int]], list[Generation]],
    ) -> list[Generation]:
        import torch

        room, longest = self.context, max(lengths, default=0)
        if room is not None and longest + sampling.max_new_tokens > room:
            raise TooLong(
                f"a prompt of {longest} tokens and max_new_tokens "
                f"{sampling.max_new_tokens} exceed the model's context of {room}; lower the task's "
                "max_length, or under protocol preference its preference.turns"
            )
        answers: dict[int, Generation] = {}
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for group in batches([length + sampling.max_new_tokens for length in lengths], token_budget):
                answers.update(zip(group, answer(group), strict=True))
        return [answers[index] for index in range(len(lengths))]

    def _rows(
        self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *processors: Any, **options: Any
    ) -> list[list[int]]:
        """The padded new tokens of each prompt."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        stop = sorted(self._stops(sampling))
        width = max(map(len, prompts))
        # Left padding, so that every answer directly follows its prompt. It is masked, but a repetition
        # penalty reads it, so a prompt is padded with a token of its own.
        ids = torch.tensor([[*prompt[:1] * (width - len(prompt)), *prompt] for prompt in map(tuple, prompts)])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=stop,
            pad_token_id=0,  # any valid id: what follows the end of an answer is cut
            use_cache=True,
            **options,
        )
        device = self.model.device
        output = self.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=config,
            logits_processor=LogitsProcessorList([Finite(), *processors]),
        )
        rows: list[list[int]] = output[:, width:].tolist()
        return rows

    def _stops(self, sampling: SamplingSpec) -> frozenset[int]:
        return self.stop_tokens if sampling.end == "turn" else frozenset({end_of_sequence(self.tokenizer)})

    def _answer(self, prompt_tokens: int, row: list[int], sampling: SamplingSpec) -> Generation:
        stops = self._stops(sampling)
        end = next((place for place, token in enumerate(row) if token in stops), None)
        text = decode_response(self.tokenizer, row[:end])
        if end is None:
            return Generation(text, "length", prompt_tokens, len(row))
        return Generation(text, "stop", prompt_tokens, end + 1)


def _drawing(sampling: SamplingSpec) -> dict[str, Any]:
    """GenerationConfig's sampling options."""
    penalty = {"repetition_penalty": sampling.repetition_penalty} if sampling.repetition_penalty != 1 else {}
    if sampling.temperature == 0:
        return {"do_sample": False, **penalty}
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return {"do_sample": True, **drawn, **penalty}
