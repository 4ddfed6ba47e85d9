"""The transformers engine: a model in this process, on one GPU or the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.contracts.base import EVERYTHING
from perbench.contracts.engine import Combine, Conversation, Engine, Generation, Seeds, TokenIds, seed_of_each
from perbench.lm.adapters import adapted, is_adapter
from perbench.lm.context import check_room, context_of
from perbench.lm.contrast import response_logp
from perbench.lm.device import device
from perbench.lm.finite import check_finite
from perbench.lm.models import load_causal_lm, load_tokenizer
from perbench.prompts.chat import decode_response
from perbench.prompts.serving import chat_by_tokens, ends, stop_tokens
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TOKEN_BUDGET = 32768
"""Padded tokens of prompts and answers generated at once; bounds the key-value cache."""


_CHANGING = Path()
"""Served folder while weights change, so that a failed change is not mistaken for a completed one."""


class TransformersEngine(Engine):
    """`model` is the torch module being served; any of `stop_tokens` ends an answer, unless `sampling.end`
    says otherwise. `own_generation`: the options of the checkpoint, which are not used here."""

    offers = EVERYTHING
    together = 4
    tokenizer: Any = None

    def __init__(self, folder: Path, *, dtype: str = "auto") -> None:
        from perbench.lm.onednn import lay_out

        self.name = f"transformers {version('transformers')}"
        self.tokenizer = load_tokenizer(folder)
        self._folder = folder
        self._dtype = dtype
        self.stop_tokens: frozenset[int] = frozenset()
        self._served: Path | None = None
        self._user: Path | None = None
        self.model: Any = self._load(folder)
        lay_out(self.model)

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
        from perbench.lm.onednn import lay_out, restore

        if self._user is not None and (path, user) != (self._served, self._user):
            self.model, self._user = self.model.unload(), None
            lay_out(self.model)  # in place of layers that the user's adapter replaced stand copies
        if path != self._served:
            adapter = path is not None and is_adapter(path)
            untouched, self._served = self._served is None, _CHANGING
            if not (adapter and untouched):
                self.model = None  # freed before its successor is loaded
                self.model = self._load(self._folder if path is None or adapter else path)
            if path is not None and adapter:
                restore(self.model)
                self.model = adapted(self.model, path, merge=True)
            lay_out(self.model)  # before users' adapters, whose layers change with each of them
            self._served = path
        if user != self._user and user is not None:
            served, self._served = self._served, _CHANGING
            self.model = adapted(self.model, user, merge=False)
            self._served, self._user = served, user

    def _load(self, folder: Path) -> Any:
        from transformers import GenerationConfig

        model = load_causal_lm(folder, self._dtype).to(device())
        if not self.stop_tokens:
            self.stop_tokens = stop_tokens(folder, self.tokenizer, model.generation_config)
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
        self,
        conversations: Sequence[Conversation],
        sampling: SamplingSpec,
        *,
        seed: Seeds,
        skip: bool = False,
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.chat`."""
        return chat_by_tokens(self, conversations, sampling, seed=seed, skip=skip)

    def generate(
        self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: Seeds
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.generate`. What is computed together is bounded by a fixed
        token budget; `new_tokens` counts the stop token, while the text holds no special token.

        Raises:
            TooLong: a prompt and its answer exceed the model's context.
        """
        return self._write([(prompt,) for prompt in prompts], sampling, seed, lambda logits: logits[:, 0])

    def steer(
        self,
        prompts: Sequence[TokenIds],
        without: Sequence[TokenIds],
        sampling: SamplingSpec,
        *,
        combine: Combine,
        seed: Seeds,
    ) -> list[Generation]:
        """See `perbench.contracts.engine.Engine.steer`; batches and errors as in `generate`."""
        pairs = list(zip(prompts, without, strict=True))
        return self._write(pairs, sampling, seed, lambda logits: combine(logits[:, 0], logits[:, 1]))

    def _write(
        self,
        prompts: Sequence[Sequence[TokenIds]],
        sampling: SamplingSpec,
        seed: Seeds,
        combine: Callable[[Tensor], Tensor],
    ) -> list[Generation]:
        """`prompts`: the contexts of each answer; `combine`: their logits [n, C, V] into one [n, V]."""
        import torch

        from perbench.lm.decode import can_decode, decode
        from perbench.lm.draws import Draws, packs

        from .forced import generated

        lengths = [max(map(len, contexts)) for contexts in prompts]
        check_room(self.context, max(lengths, default=0), sampling.max_new_tokens)
        if not prompts:
            return []
        write, stop = decode if can_decode(self.model) else generated, ends(self, self.stop_tokens, sampling)
        answers: dict[int, Generation] = {}
        generators: dict[int, Any] = {}
        sizes = [length + sampling.max_new_tokens for length in lengths]
        seeds = seed_of_each(seed, len(prompts))
        drawn = seeds if sampling.temperature > 0 else None
        with torch.inference_mode():
            for groups in packs(sizes, drawn, TOKEN_BUDGET // len(prompts[0])):
                members = [index for _, group in groups for index in group]
                chosen = [prompts[index] for index in members]
                first = [contexts[0] for contexts in chosen]
                draws = Draws(sampling, groups, first, self.model.device, generators)

                def choose(logits: Tensor, rows: Sequence[int], draws: Draws = draws) -> Tensor:
                    check_finite(logits.amax(-1), "logits")  # a padded vocabulary may hold -inf
                    return draws(combine(logits), rows)

                rows = write(self.model, chosen, sampling.max_new_tokens, stop, choose)
                for index, row in zip(members, rows, strict=True):
                    ended = row[-1] in stop
                    text = decode_response(self.tokenizer, row[:-1] if ended else row)
                    read = sum(map(len, prompts[index]))
                    answers[index] = Generation(text, "stop" if ended else "length", read, len(row))
        return [answers[index] for index in range(len(prompts))]
