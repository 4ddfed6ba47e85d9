"""The TokenBatch a loss reads, and the module that turns a micro-batch into the loss's two sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import torch
from torch import Tensor, nn

from perbench.api import ReferenceLogp, Trainer, View
from perbench.contrast import Contrast, response_hidden
from perbench.errors import PerbenchError
from perbench.head import body_and_head
from perbench.prompts.pair import PromptPair
from perbench.training.watch import Watched

Autocast = Callable[[], AbstractContextManager[object]]


class Batch:
    """`perbench.api.TokenBatch` over prompt pairs. Passes run when first read, so a loss pays only for what
    it reads; each runs in an autocast region of its own, because a weight cast under no_grad would be
    remembered there without its gradient."""

    def __init__(
        self,
        model: nn.Module,
        trainer: Trainer,
        pairs: Sequence[PromptPair],
        reference: Sequence[Contrast] | None,
        autocast: Autocast,
        progress: float = 0.0,
    ) -> None:
        self.progress, self.watched = progress, dict[str, Watched]()
        with autocast():
            self._body, self._head = body_and_head(model)
        self._trainer, self._pairs, self._reference, self._autocast = trainer, pairs, reference, autocast
        self._device = self._head.weight.device
        lengths = [len(pair.response) for pair in pairs]
        self.targets = torch.tensor([token for pair in pairs for token in pair.response], device=self._device)
        self.example = torch.repeat_interleave(torch.arange(len(pairs)), torch.tensor(lengths)).to(
            self._device
        )

    @cached_property
    def factual(self) -> View:
        if not self._trainer.factual:
            raise PerbenchError(
                f"{_name(self._trainer)}.loss reads the pass with the persona; leave out factual = False"
            )
        return self._view(self._states([pair.factual for pair in self._pairs], grad=True), grad=True)

    @cached_property
    def counterfactual(self) -> View:
        grad = self._trainer.counterfactual == "grad"
        return self._view(self._free(grad), grad=grad)

    @cached_property
    def reference(self) -> ReferenceLogp:
        if self._reference is None:
            raise PerbenchError(
                f"{_name(self._trainer)}.loss reads batch.reference; let its reference() name a model"
            )
        return ReferenceLogp(
            torch.cat([part.factual for part in self._reference]).to(self._device),
            torch.cat([part.counterfactual for part in self._reference]).to(self._device),
        )

    @cached_property
    def entropy(self) -> Tensor:
        return self._head.entropy(self.factual.hidden)

    def watch(self, name: str, values: Tensor, bounds: tuple[float, float] | None = None) -> None:
        if values.shape != self.targets.shape:
            raise PerbenchError(
                f"{_name(self._trainer)}.loss watches {name!r} of shape {tuple(values.shape)}; it must hold "
                f"one value per token: [{len(self.targets)}]"
            )
        self.watched[name] = Watched(values.detach().float(), bounds)

    def difference_logp(self, *, detach_counterfactual: bool = False) -> Tensor:
        grad = self._trainer.counterfactual == "grad" and not detach_counterfactual
        with torch.enable_grad():
            return self._head.difference_logp(
                self.factual.hidden, self._free(grad), self.targets, detach_other=detach_counterfactual
            )

    def _free(self, grad: bool) -> Tensor:
        if self._trainer.counterfactual == "none":
            raise PerbenchError(
                f"{_name(self._trainer)}.loss reads the pass without the persona; declare "
                'counterfactual = "no_grad" or "grad"'
            )
        return self._free_grad if grad or "_free_grad" in self.__dict__ else self._free_no_grad

    @cached_property
    def _free_grad(self) -> Tensor:
        return self._states([pair.counterfactual for pair in self._pairs], grad=True)

    @cached_property
    def _free_no_grad(self) -> Tensor:
        return self._states([pair.counterfactual for pair in self._pairs], grad=False)

    def _states(self, prompts: Sequence[Sequence[int]], *, grad: bool) -> Tensor:
        with torch.set_grad_enabled(grad), self._autocast():
            return response_hidden(self._body, prompts, [pair.response for pair in self._pairs])

    def _view(self, hidden: Tensor, *, grad: bool) -> View:
        with torch.set_grad_enabled(grad):
            return View(self._head.logp(hidden, self.targets), hidden)


class TokenLoss(nn.Module):
    """One forward of this module runs every pass that a loss needs, so that wrappers which hook into
    `forward` (data parallel, sharding) see them all."""

    def __init__(self, model: nn.Module, trainer: Trainer, autocast: Autocast) -> None:
        super().__init__()
        self.model, self.trainer, self.autocast = model, trainer, autocast
        self.watched: dict[str, Watched] = {}
        """What the loss watched in the latest forward."""

    def forward(
        self, pairs: Sequence[PromptPair], reference: Sequence[Contrast] | None, progress: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """(sum of numerators, with gradient; sum of denominators, without), both float32 scalars.

        Raises:
            PerbenchError: the loss returned another shape, or a numerator without gradient.
        """
        batch = Batch(self.model, self.trainer, pairs, reference, self.autocast, progress)
        returned: object = self.trainer.loss(batch)
        self.watched = batch.watched
        expected = tuple(batch.targets.shape)
        if not (
            isinstance(returned, tuple)
            and len(returned) == 2
            and all(isinstance(part, torch.Tensor) for part in returned)
        ):
            raise PerbenchError(
                f"{_name(self.trainer)}.loss returned {_kinds(returned)}; it must return two tensors, "
                f"numerator and denominator, of shape [{expected[0]}]"
            )
        numerator, denominator = returned
        if tuple(numerator.shape) != expected or tuple(denominator.shape) != expected:
            raise PerbenchError(
                f"{_name(self.trainer)}.loss returned shapes {tuple(numerator.shape)} and "
                f"{tuple(denominator.shape)}; it must return two of shape [{expected[0]}]"
            )
        if not numerator.requires_grad:
            raise PerbenchError(
                f"{_name(self.trainer)}.loss returned a numerator without gradient; was it detached?"
            )
        return numerator.sum(), denominator.detach().float().sum()


def _name(trainer: Trainer) -> str:
    return type(trainer).__name__


def _kinds(returned: object) -> str:
    if isinstance(returned, tuple):
        return f"({', '.join(type(part).__name__ for part in returned)})"
    return f"a {type(returned).__name__}"
