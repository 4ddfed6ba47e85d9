"""A loaded model that chats and, depending on the engine, generates from and scores tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perbench.contracts.base import EVERYTHING, Capability, known_names
from perbench.errors import PerbenchError
from perbench.shapes.sampling import SamplingSpec

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TokenIds = Sequence[int]
Conversation = Sequence[Mapping[str, str]]
"""Messages {"role", "content"}: optionally a system message, then user and assistant alternately, ending with
the user."""
Seeds = int | Sequence[int]
"""One seed for all prompts, or one for each. Prompts of one seed are drawn together, as by a call of their
own; without sampling seeds have no effect."""


def seed_of_each(seed: Seeds, count: int) -> list[int]:
    """The seed of each of `count` prompts."""
    return [seed] * count if isinstance(seed, int) else list(seed)


Combine = Callable[["Tensor", "Tensor"], "Tensor"]
Absence = Literal["refused", "filtered", "tool_call", "only_thoughts", "no_text", "too_long"]
"""refused: by the model itself; filtered: the server withholds prompt or answer; tool_call: the model wants
to call a tool; only_thoughts: thoughts without an answer; no_text: the answer is null; too_long: the request
exceeds the model's context, or the task's limit (`on_too_long: skip`)."""


@dataclass(frozen=True)
class Generation:
    """One answer, or its absence. `finish_reason` is "stop", "length" if truncated at max_new_tokens, or a
    server's own word. `missing` is why there is no answer (`text` is then what came instead), or None; an
    answer may be empty."""

    text: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    missing: Absence | None = None


LEFT_OUT = Generation("", "too_long", 0, 0, "too_long")
"""Replaces the answer to a request that is too long."""


class Engine(ABC):
    """A loaded model. Every engine offers `chat`; what it does not offer raises PerbenchError."""

    name: str
    """Shown in records: "transformers 5.x"."""
    offers: frozenset[Capability]
    batch: int = 8
    """Samples generated together, and repeated after a kill. Part of a number's definition: sampling draws
    for a whole batch, so another size gives other (equally valid) samples. With several engines, the largest
    applies."""
    together: int = 1
    """Batches that one call computes best, each with its own seed. No part of a number's definition, but for
    rounding."""
    alone: bool = False
    """Whether an answer is independent of the others in its batch. Its seed then omits the batch number, so
    that a cache recognises the request in any batch."""
    continuous: bool = False
    """Whether `stream` answers many prompts side by side: protocols then hand it a whole target instead of
    batches."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        offers = vars(cls).get("offers")
        known_names("offers", offers if isinstance(offers, frozenset) else (), sorted(EVERYTHING))

    @property
    def who(self) -> str:
        """Its name in messages."""
        return self.name

    @property
    def context(self) -> int | None:
        """The model's context size in tokens; None if unknown."""
        return None

    @property
    def tokenizer(self) -> Any:
        """A transformers tokenizer with a chat template."""
        raise self._lacks("exposes no tokens")

    @abstractmethod
    def chat(
        self,
        conversations: Sequence[Conversation],
        sampling: SamplingSpec,
        *,
        seed: Seeds,
        skip: bool = False,
    ) -> list[Generation]:
        """The answer to each conversation's last message, in order; otherwise as `generate`.

        Raises:
            TooLong: a conversation and its answer exceed the model's context; with `skip`, LEFT_OUT is
                returned instead.
        """

    def generate(
        self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: Seeds
    ) -> list[Generation]:
        """Answers in prompt order. The same prompts, sampling and seed give the same answers on one machine;
        other sets of prompts in a call may not, so callers keep their batches fixed."""
        raise self._lacks("takes messages, not token ids")

    def stream(
        self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Generation]]:
        """Every prompt's place and answer, as answers finish. An answer depends only on its prompt and its
        own seed, whatever else is asked. By default one after another."""
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            (answer,) = self.generate([prompt], sampling, seed=seed)
            yield place, answer

    def steer(
        self,
        prompts: Sequence[TokenIds],
        without: Sequence[TokenIds],
        sampling: SamplingSpec,
        *,
        combine: Combine,
        seed: Seeds,
    ) -> list[Generation]:
        """As `generate`, with each token from two contexts: the softmax of `combine` applied to the logits
        [E, V] after `prompts` and after `without`, float32, before temperature and top_p. `prompt_tokens`
        counts both contexts."""
        raise self._lacks("gives no logits to steer by")

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[np.ndarray]:
        """Natural-log probability of each response token given its prompt, float32, one array [len(response)]
        per pair, in order. Batched internally by length."""
        raise self._lacks("gives no log-probs of given texts")

    def load_adapter(self, path: Path | None, user: Path | None = None) -> None:
        """Serve the adapter saved at `path` (None: the base model), with the adapter `user` on top."""
        if path is not None or user is not None:
            raise self._lacks("serves no adapters")

    def _lacks(self, what: str) -> PerbenchError:
        return PerbenchError(
            f"{self.who} {what}; use a model whose weights are on this machine (hub, path or gguf)"
        )
