"""How tokens are decoded from a model: one file `decodings/NAME.py`, named by `decoding.method`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from perbench.contracts.base import Inputs, K, Owner, Role
from perbench.lm.contrast import Pair as Pair

if TYPE_CHECKING:
    from perbench.contracts.engine import Engine, Generation, Seeds
    from perbench.shapes.sampling import DecodingSpec, SamplingSpec


class Decoding(Owner[K]):
    """`Keys` are keys of `decoding`."""

    spec: DecodingSpec
    together: ClassVar[bool] = False
    """Whether `decode` takes several batches with a seed for each prompt, as `Engine.generate` does."""

    def roles(self) -> Sequence[Role]:
        message = (
            f"decoding.method {self.spec.method} needs tokens, but {{model}} is {{what}} and has none; "
            "use a model whose weights are on this machine"
        )
        return [Role("subject", None, {"tokens": message})]

    def inputs(self, helpers: Mapping[str, Inputs]) -> Inputs:
        return {"method": self.spec.method, **super().inputs(helpers)}

    def work(self, prompt: Pair, answer: int) -> int:
        """Tokens read and at most written for an answer of `answer` tokens."""
        return len(prompt.factual) + answer

    @abstractmethod
    def decode(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seed: Seeds
    ) -> list[Generation]:
        """One answer per prompt, in order. Equal calls give equal answers, as in `Engine.generate`."""

    def stream(
        self, engine: Engine, prompts: Sequence[Pair], sampling: SamplingSpec, *, seeds: Sequence[int]
    ) -> Iterator[tuple[int, Generation]]:
        """As `Engine.stream`, of a `continuous` engine; by default one after another."""
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            (answer,) = self.decode(engine, [prompt], sampling, seed=seed)
            yield place, answer
