"""Writes answers token by token: prompts are read once with what they share, keys and values are written in
place, and answers that have ended leave the batch.

The right token of a row is its last: sequences are aligned on the right, so that a step is one column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from perbench.lm.head import body_of
from perbench.lm.padding import batches, even_groups, slack
from perbench.lm.prefix import Pass, can_continue, continued, shared_prefixes

PREFILL = 8192
"""Padded tokens of prompts read in one pass."""
ENDED = 4
"""Ended answers leave the batch once they are one in so many: leaving copies all keys and values."""

Choose = Callable[[Tensor, Sequence[int]], Tensor]
"""(logits [n, C, V] of an answer's next token in each of its C contexts, the n answers) -> tokens [n]."""


def can_decode(model: Any) -> bool:
    """Whether the model's state is a key-value cache that `decode` can fill."""
    body = body_of(model)
    return body is not None and can_continue(body)


def decode(
    model: Any,
    prompts: Sequence[Sequence[Sequence[int]]],
    new_tokens: int,
    stop: frozenset[int],
    choose: Choose,
) -> list[list[int]]:
    """The tokens that continue each prompt, up to and with its first of `stop`, at most `new_tokens`. A
    prompt is the token ids of C contexts, which all continue with the same tokens; C is the same for all.

    `can_decode(model)` must hold.
    """
    contexts = len(prompts[0])
    sequences = [tuple(ids) for prompt in prompts for ids in prompt]
    answers: list[list[int]] = [[] for _ in prompts]
    # The last token of a prompt is not read with the others: its step gives the first logits.
    state = _State(model, [ids[:-1] for ids in sequences], new_tokens)
    rows = list(range(len(prompts)))  # of the state; some have ended
    tokens = torch.tensor([ids[-1] for ids in sequences], device=model.device)
    for _ in range(new_tokens):
        logits = state.step(tokens)
        logits = logits.view(len(rows), contexts, -1)
        places = [place for place, row in enumerate(rows) if not _ended(answers[row], stop)]
        if len(places) < len(rows):
            logits = logits[torch.tensor(places, device=logits.device)]
        chosen = choose(logits, [rows[place] for place in places]).tolist()
        for place, token in zip(places, chosen, strict=True):
            answers[rows[place]].append(token)
        going = [place for place in places if not _ended(answers[rows[place]], stop)]
        if not going:
            break
        if (len(rows) - len(going)) * ENDED >= len(rows):
            state.keep([place * contexts + context for place in going for context in range(contexts)])
            rows = [rows[place] for place in going]
        # What an ended answer reads is never used.
        tokens = torch.tensor(
            [answers[row][-1] for row in rows for _ in range(contexts)], device=model.device
        )
    return answers


def _ended(answer: Sequence[int], stop: frozenset[int]) -> bool:
    return bool(answer) and answer[-1] in stop


class _State:
    """Keys and values of sequences that are aligned on the right, with room for `new_tokens` more."""

    def __init__(self, model: Any, sequences: Sequence[tuple[int, ...]], new_tokens: int) -> None:
        self._model = model
        width = max(map(len, sequences))
        count = model.config.get_text_config().num_hidden_layers
        self._layers = [_Layer(len(sequences), width, new_tokens) for _ in range(count)]
        for one in _read(model, [i for i, ids in enumerate(sequences) if ids], sequences):
            for layer, read in zip(self._layers, one.cache.layers, strict=True):
                for row, (index, start) in enumerate(zip(one.indices, one.starts, strict=True)):
                    part = slice(start, start + len(sequences[index]))
                    layer.write(index, read.keys[row, :, part], read.values[row, :, part])
        lengths = torch.tensor([len(ids) for ids in sequences], device=model.device)
        self._padding = (width - lengths)[:, None]  # columns before a row's first token
        self._padded = bool(self._padding.any())
        self._cache = Cache(layers=list(self._layers))

    def step(self, tokens: Tensor) -> Tensor:
        """Logits [rows, V], float32, after one more token [rows] of each row."""
        used = self._layers[0].used
        columns = torch.arange(used + 1, device=tokens.device)[None]
        options = {"attention_mask": columns >= self._padding} if self._padded else {}
        output = self._model(
            input_ids=tokens[:, None],
            position_ids=used - self._padding,
            past_key_values=self._cache,
            use_cache=True,
            **options,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        kept = torch.tensor(rows, device=self._padding.device)
        empty = int(self._padding[kept].min())
        self._padding = self._padding[kept] - empty
        self._padded = bool(self._padding.any())
        for layer in self._layers:
            layer.keep(kept, empty)


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer's keys and values; a new token is written in place, where a DynamicLayer copies all others."""

    def __init__(self, rows: int, used: int, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows, self.used, self._room = rows, used, room

    def _both(self, *like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, [rows, heads, columns, D]. What is not written yet must be finite: attention
        multiplies it with 0."""
        if self.keys is None or self.values is None:
            self.keys, self.values = (
                one.new_zeros(self._rows, one.shape[-3], self.used + self._room, one.shape[-1])
                for one in like
            )
            self.is_initialized = True
        return self.keys, self.values

    def write(self, row: int, *states: Tensor) -> None:
        """The states [heads, n, D] of a row's last n tokens."""
        for whole, one in zip(self._both(*states), states, strict=True):
            whole[row, :, self.used - one.shape[-2] : self.used] = one

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        states = key_states, value_states
        stop = self.used + key_states.shape[-2]
        keys, values = self._both(*states)
        for whole, one in zip((keys, values), states, strict=True):
            whole[:, :, self.used : stop] = one
        self.used = stop
        return keys[:, :, :stop], values[:, :, :stop]

    def get_seq_length(self) -> int:
        return self.used

    def keep(self, rows: Tensor, empty: int) -> None:
        """Forget all other rows, and the first `empty` columns."""
        keys, values = (whole[rows, :, empty:] for whole in self._both())
        self.keys, self.values, self.used = keys, values, self.used - empty


def _read(model: Any, indices: Sequence[int], sequences: Sequence[tuple[int, ...]]) -> Iterator[Pass]:
    """Passes over the sequences of `indices`; a prefix that several share is read once."""
    body = body_of(model)
    groups = [
        (prefix, [indices[i] for i in members])
        for prefix, members in shared_prefixes([sequences[i] for i in indices])
    ]
    yield from continued(
        body, [(prefix, members) for prefix, members in groups if prefix], sequences, PREFILL
    )
    alone = [index for prefix, members in groups for index in members if not prefix]
    for even in even_groups([len(sequences[i]) for i in alone], slack(body, model.device)):
        for batch in batches([len(sequences[alone[i]]) for i in even], PREFILL):
            chosen = [alone[even[i]] for i in batch]
            width = max(len(sequences[index]) for index in chosen)
            ids = [[*sequences[index], *[0] * (width - len(sequences[index]))] for index in chosen]
            cache = DynamicCache()  # without a config: it keeps what lies outside a sliding window
            # Padding on the right needs no mask: nothing attends to what follows it.
            states = body(
                input_ids=torch.tensor(ids, device=model.device), past_key_values=cache, use_cache=True
            ).last_hidden_state
            yield Pass(chosen, states, cache, [0] * len(chosen))
