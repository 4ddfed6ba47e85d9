"""Samples made from requests that are known in advance, which a harness may ask in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from perbench.contracts.data import Example
    from perbench.contracts.resume import Sample
    from perbench.contracts.run import Scored
    from perbench.shapes.task import TaskSpec

Reply = str | float
"""A generated answer, or the natural-log probability of a given text."""


@dataclass(frozen=True)
class IndependentRequest:
    """A system text (None without one) and a user's turn. They ask for an answer or, given `answer`, for the
    log-probability of that text after the beginning `begun` of the answer."""

    system: str | None
    user: str
    answer: str | None = None
    begun: str = ""


@dataclass(frozen=True)
class Asking:
    """The requests of one example. `facts` are JSON values that `Independent.sample` needs besides."""

    requests: Sequence[IndependentRequest]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Independent(ABC):
    """How a protocol makes its samples from such requests (`Protocol.independent`)."""

    output: ClassVar[Literal["generate_until", "loglikelihood", "multiple_choice"]]
    """What is asked, in lm-evaluation-harness's words."""
    says: ClassVar[Mapping[str, Any]] = {}
    """What readers of the numbers must know."""

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec

    @property
    @abstractmethod
    def metrics(self) -> Sequence[str]:
        """The metrics of `score` to report."""

    @abstractmethod
    def ask(self, example: Example, tokenizer: Any, context: int | None) -> Asking:
        """The requests of an example whose persona is built.

        Args:
            tokenizer: of the model under evaluation; None: tokens are estimated from characters.
            context: the model's context size; None if unknown.

        Raises:
            TooLong: the request alone is too long.
        """

    @abstractmethod
    def sample(self, example: Example, asking: Asking, replies: Sequence[Reply], tokenizer: Any) -> Sample:
        """The stored sample; `replies` has one entry per request."""

    @abstractmethod
    def left_out(self, example: Example) -> Sample:
        """The sample of an example that the task skips as too long."""

    @abstractmethod
    def score(self, samples: Sequence[Sample]) -> Scored:
        """As `Protocol.score`."""
