"""A training loss: one file `trainers/NAME.py`. Shapes: `N` response tokens of a micro-batch (all its
examples concatenated, in order), `D` hidden size, `V` vocabulary, `E` examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from perbench.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class View:
    """The N response tokens in one context. `logp` [N], natural log, float32; `hidden` [N, D], the states
    that the language-model head reads to predict the tokens."""

    logp: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class ReferenceLogp:
    """Log-probs [N] of the same tokens under a frozen reference model, float32, without gradient."""

    factual: Tensor
    counterfactual: Tensor


class TokenBatch(Protocol):
    """The input of a loss: the same N response tokens with (factual) and without the persona
    (counterfactual). An example of a trainer of pairs has the tokens of two answers to one prompt, the chosen
    one's first.

    `counterfactual` and `reference` exist only if the trainer requests them (`Trainer.counterfactual`,
    `Trainer.reference`), `factual` unless it declines; reading a missing one raises an error.
    """

    @property
    def targets(self) -> Tensor:
        """Token ids [N]."""

    @property
    def example(self) -> Tensor:
        """Index [N] of the example each token belongs to, 0..E-1, non-decreasing."""

    @property
    def rejected(self) -> Tensor:
        """Whether each token [N] belongs to its example's rejected answer, bool; only for a trainer of pairs
        (`Trainer.examples`)."""

    @property
    def progress(self) -> float:
        """Progress of the training: 0 at the first update, 1 at the last."""

    @property
    def factual(self) -> View: ...

    @property
    def counterfactual(self) -> View: ...

    @property
    def reference(self) -> ReferenceLogp: ...

    @property
    def entropy(self) -> Tensor:
        """Entropy [N] in nats of the factual predictions, float32, without gradient. Computed lazily, by one
        more product with the head."""

    @property
    def collision(self) -> Tensor:
        """Collision probability [N] of the factual predictions, sum_v P(v)^2 (exp of minus their Rényi
        entropy of order 2), float32, without gradient. Computed lazily, by one more product with the head."""

    def watch(self, name: str, values: Tensor, bounds: tuple[float, float] | None = None) -> None:
        """Log `values` [N], such as token weights: mean, range and histogram over all tokens of the update,
        and with `bounds` the share of tokens at each bound. Has no effect on training."""

    def difference_logp(self, *, detach_counterfactual: bool = False) -> Tensor:
        """log softmax(z_h - z_0)[target], [N], with factual logits z_h and counterfactual logits z_0.

        A linear head gives z_h - z_0 = (h_h - h_0) W^T, so no logits are kept (a head bias cancels); a head
        with logit soft-capping is computed in chunks instead.
        """


class Trainer(Hyperparameters, ABC):
    """A training loss: one file in `trainers/`, named as the method, with exactly one subclass.

    Hyperparameters are annotated class fields with defaults. They are validated, shown by `perbench show
    trainer NAME`, and part of a cell's identity.
    """

    examples: ClassVar[Literal["responses", "pairs"]] = "responses"
    """What an example holds: a response; or a pair of answers, of which the user chose one and rejected the
    other (`fields.rejected` of the source)."""

    factual: ClassVar[bool] = True
    """Whether the pass with the persona is needed; always with gradient."""

    counterfactual: ClassVar[Literal["none", "no_grad", "grad"]] = "none"
    """Whether the pass without the persona is needed, and whether gradients flow through it."""

    def reference(self) -> str | None:
        """The frozen model whose log-probs the loss reads: None, "initial" (the model before training), or a
        model's name or path. Computed once, before the first update."""
        return None

    @abstractmethod
    def loss(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Return (numerator [N], denominator [N]). The loss of an update is sum(numerator) / sum(denominator)
        over all its tokens, micro-batches and devices. The denominator carries no gradient."""
