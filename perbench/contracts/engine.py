"""A loaded model that answers, and perhaps generates and scores from tokens, whatever serves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
"""Messages {"role", "content"}: at most one of role system, first; then user and assistant in turn, the last
of them the user's."""
Combine = Callable[["Tensor", "Tensor"], "Tensor"]
Absence = Literal["refused", "filtered", "tool_call", "only_thoughts", "no_text", "too_long"]
"""refused: the model refuses in so many words; filtered: the server withholds prompt or answer; tool_call: it
wants to call a tool; only_thoughts: it thought and answered nothing; no_text: the answer is null; too_long:
the request exceeds what the model reads at once, or what its task allows (`on_too_long: skip`)."""


@dataclass(frozen=True)
class Generation:
    """One answer, or word of its absence. `finish_reason` is "stop", "length" where the answer was cut at
    max_new_tokens, or what else a server says. `missing` is why there is no answer, `text` then being what
    came in its place; None where there is one, be it empty."""

    text: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    missing: Absence | None = None


LEFT_OUT = Generation("", "too_long", 0, 0, "too_long")
"""In place of the answer to a request that is too long."""


class Engine(ABC):
    """A loaded model. What it does not offer raises PerbenchError; every engine offers `chat`."""

    name: str
    """Shown in records: "transformers 5.x"."""
    offers: frozenset[Capability]
    batch: int = 8
    """Samples generated together; what a killed run may have to redo. Part of a number's definition: sampling
    draws for a whole batch, so another size gives other (equally valid) samples. Where several engines take
    part, the largest holds."""
    alone: bool = False
    """Whether an answer does not depend on the others of its batch. Its seed then leaves out the batch's
    number, so that a cache knows the request again in whatever batch."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        offers = vars(cls).get("offers")
        known_names("offers", offers if isinstance(offers, frozenset) else (), sorted(EVERYTHING))

    @property
    def who(self) -> str:
        """How messages name it."""
        return self.name

    @property
    def context(self) -> int | None:
        """Tokens that the model reads at once; None where that is unknown."""
        return None

    @property
    def tokenizer(self) -> Any:
        """A transformers tokenizer with a chat template."""
        raise self._lacks("shows no tokens")

    @abstractmethod
    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int, skip: bool = False
    ) -> list[Generation]:
        """The answer to each conversation's last message, in order; else as `generate`.

        Raises:
            TooLong: a conversation and its answer exceed what the model reads at once; with `skip` its place
                has LEFT_OUT instead.
        """

    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        """Answers in prompt order. The same prompts, sampling and seed give the same answers on one machine;
        a different set of prompts in a call may not, so callers keep their batches fixed."""
        raise self._lacks("takes messages, not token ids")

    def steer(
        self,
        prompts: Sequence[TokenIds],
        without: Sequence[TokenIds],
        sampling: SamplingSpec,
        *,
        combine: Combine,
        seed: int,
    ) -> list[Generation]:
        """As `generate`, each token from two contexts: the softmax of what `combine` makes of the logits
        [E, V] after `prompts` and after `without`, float32, before temperature and top_p. `prompt_tokens`
        counts both contexts."""
        raise self._lacks("gives no logits to steer by")

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[np.ndarray]:
        """Natural-log probability of each response token given its prompt, float32, one array [len(response)]
        per pair, in order. Batched inside by length."""
        raise self._lacks("gives no log-probs of given texts")

    def load_adapter(self, path: Path | None, user: Path | None = None) -> None:
        """Serve the adapter saved at `path`, None the base model; with the adapter `user` on top of it."""
        if path is not None or user is not None:
            raise self._lacks("serves no adapters")

    def _lacks(self, what: str) -> PerbenchError:
        return PerbenchError(
            f"{self.who} {what}; use a model whose weights are on this machine (hub, path or gguf)"
        )
