"""The TokenBatch that a loss reads, and the module that computes the loss's two sums for a micro-batch.

Weights do not change between the micro-batches of an update. So a pass without the persona that needs no
gradient runs once for the whole update (`persona_free`): its sequences are short, may recur, and fill batches
of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from perbench.api import ReferenceLogp, Trainer, View
from perbench.errors import PerbenchError
from perbench.lm.contrast import Contrast, packs, response_hidden
from perbench.lm.head import body_and_head
from perbench.lm.padding import batches
from perbench.plugins.faults import place_of
from perbench.prompts.pair import PromptPair
from perbench.training.watch import RESERVED, Watched

Autocast = Callable[[], AbstractContextManager[object]]


class PairBatch:
    """`perbench.api.TokenBatch` over prompt pairs. Passes run lazily, so a loss pays only for what it reads;
    each has its own autocast region, because a weight cast under no_grad would be cached without gradient."""

    def __init__(
        self,
        model: nn.Module,
        trainer: Trainer,
        pairs: Sequence[PromptPair],
        reference: Sequence[Contrast] | None,
        autocast: Autocast,
        progress: float = 0.0,
        free: Sequence[View] | None = None,
    ) -> None:
        self.progress, self.watched = progress, dict[str, Watched]()
        with autocast():
            self._body, self._head = body_and_head(model)
        self._trainer, self._pairs, self._reference, self._autocast = trainer, pairs, reference, autocast
        self._given = free
        self._device = self._head.weight.device
        self._sides = [side for pair in pairs for side in pair.sides]
        lengths = [pair.answer_tokens for pair in pairs]
        self.targets = torch.tensor(
            [token for side in self._sides for token in side.response], device=self._device
        )
        self.example = torch.repeat_interleave(torch.arange(len(pairs)), torch.tensor(lengths)).to(
            self._device
        )

    @cached_property
    def rejected(self) -> Tensor:
        if self._trainer.examples != "pairs":
            raise PerbenchError(
                f'{_name(self._trainer)}.loss reads batch.rejected; declare examples = "pairs"'
            )
        lengths = [len(side.response) for side in self._sides]
        second = torch.tensor([False, True]).repeat(len(self._pairs))
        return torch.repeat_interleave(second, torch.tensor(lengths)).to(self._device)

    @cached_property
    def factual(self) -> View:
        if not self._trainer.factual:
            raise PerbenchError(
                f"{_name(self._trainer)}.loss reads the pass with the persona; remove factual = False"
            )
        return self._view(self._both[0] if "_both" in self.__dict__ else self._states("factual"))

    @cached_property
    def counterfactual(self) -> View:
        if self._trainer.counterfactual == "grad":
            return self._view(self._free())
        if self._given is not None:
            return View(torch.cat([view.logp for view in self._given]), self._free())
        with torch.no_grad():
            return self._view(self._free())

    @cached_property
    def reference(self) -> ReferenceLogp:
        if self._reference is None:
            raise PerbenchError(
                f"{_name(self._trainer)}.loss reads batch.reference; make its reference() name a model"
            )
        return ReferenceLogp(
            torch.cat([part.factual for part in self._reference]).to(self._device),
            torch.cat([part.counterfactual for part in self._reference]).to(self._device),
        )

    @cached_property
    def entropy(self) -> Tensor:
        return self._head.entropy(self.factual.hidden)

    @cached_property
    def collision(self) -> Tensor:
        return self._head.collision(self.factual.hidden)

    def watch(self, name: str, values: Tensor, bounds: tuple[float, float] | None = None) -> None:
        if name in RESERVED:
            raise PerbenchError(
                f"{_name(self._trainer)}.loss watches {name!r}, a column of the log; use another name"
            )
        if values.shape != self.targets.shape:
            raise PerbenchError(
                f"{_name(self._trainer)}.loss watches {name!r} of shape {tuple(values.shape)}; it must hold "
                f"one value per token: [{len(self.targets)}]"
            )
        self.watched[name] = Watched(values.detach().float(), bounds)

    def difference_logp(self, *, detach_counterfactual: bool = False) -> Tensor:
        free = self._free(detached=detach_counterfactual)  # first, as it may compute both
        return self._head.difference_logp(
            self.factual.hidden, free, self.targets, detach_other=detach_counterfactual
        )

    @torch.no_grad()
    def odd(self, *returned: Tensor) -> Tensor:
        """Numbers of non-finite values, [len(returned) + 1]: of each tensor, then of the log-probs that the
        loss has read."""
        held = self.__dict__
        read = [held[name].logp for name in ("factual", "counterfactual") if name in held]
        if "reference" in held:
            read += [self.reference.factual, self.reference.counterfactual]
        given = torch.cat(read) if read else self.targets
        return torch.stack([(~torch.isfinite(values)).sum() for values in (*returned, given)]).float()

    def _free(self, *, detached: bool = False) -> Tensor:
        if self._trainer.counterfactual == "none":
            raise PerbenchError(
                f"{_name(self._trainer)}.loss reads the pass without the persona; declare "
                'counterfactual = "no_grad" or "grad"'
            )
        if self._given is not None:
            return torch.cat([view.hidden for view in self._given])
        if self._joint:
            return self._both[1]
        grad = self._trainer.counterfactual == "grad" and not detached
        return self._free_grad if grad or "_free_grad" in self.__dict__ else self._free_no_grad

    @cached_property
    def _free_grad(self) -> Tensor:
        return self._states("counterfactual")

    @cached_property
    def _free_no_grad(self) -> Tensor:
        with torch.no_grad():
            return self._states("counterfactual")

    @property
    def _joint(self) -> bool:
        """Whether to run both contexts in one pass, which is faster without padding; not if the factual one
        has already run, as losses that need no other avoid its cost."""
        alone = "factual" in self.__dict__ and "_both" not in self.__dict__
        wanted = self._trainer.factual and self._trainer.counterfactual == "grad"
        return wanted and not alone and packs(self._body)

    @cached_property
    def _both(self) -> tuple[Tensor, Tensor]:
        factual, free = self._states("factual", "counterfactual").chunk(2)
        return factual, free

    def _states(self, *contexts: str) -> Tensor:
        prompts = [getattr(side, context) for context in contexts for side in self._sides]
        with self._autocast():
            return response_hidden(
                self._body, prompts, [side.response for _ in contexts for side in self._sides]
            )

    def _view(self, hidden: Tensor) -> View:
        return View(self._head.logp(hidden, self.targets), hidden)


class TokenLoss(nn.Module):
    """One forward runs every pass that a loss needs, so that wrappers that hook into `forward` (data
    parallel, sharding) see them all."""

    def __init__(
        self,
        model: nn.Module,
        trainer: Trainer,
        autocast: Autocast,
        reduce: Literal["tokens", "examples"] = "tokens",
    ) -> None:
        super().__init__()
        self.model, self.trainer, self.autocast, self.reduce = model, trainer, autocast, reduce
        self.watched: dict[str, Watched] = {}
        """Values watched by the loss in the latest forward."""
        self.odd = torch.zeros(3)
        """Numbers of non-finite values in the latest forward: numerators, denominators, and log-probs passed
        to the loss."""

    def forward(
        self,
        pairs: Sequence[PromptPair],
        reference: Sequence[Contrast] | None,
        progress: float = 0.0,
        free: Sequence[View] | None = None,
        *,
        only_free: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(sum of numerators, with gradient; sum of denominators, without), both float32 scalars; reduced by
        examples, (sum of the examples' quotients; number of examples with weight).

        Args:
            free: each pair's part of `persona_free`; computed here if absent.
            only_free: return that part instead, log-probs [N] and states [N, D] without the persona.

        Raises:
            PerbenchError: the loss returned another shape, a numerator without gradient or a denominator with
                one; the message names the trainer's file and line.
        """
        batch = PairBatch(self.model, self.trainer, pairs, reference, self.autocast, progress, free)
        if only_free:
            return batch.counterfactual.logp, batch.counterfactual.hidden
        returned: object = self.trainer.loss(batch)
        self.watched = batch.watched
        numerator, denominator = checked(self.trainer, returned, len(batch.targets))
        self.odd = batch.odd(numerator, denominator)
        if self.reduce == "examples":
            numerator, denominator = by_example(
                numerator, denominator, [pair.answer_tokens for pair in pairs]
            )
        return numerator.sum(), denominator.float().sum()


def checked(trainer: Trainer, returned: object, tokens: int) -> tuple[Tensor, Tensor]:
    """A loss's result, after checking its form (not its values).

    Raises:
        PerbenchError: it violates the contract; the message names the trainer's file and line.
    """
    at = f"{_name(trainer)}.loss returned"
    if not (
        isinstance(returned, tuple)
        and len(returned) == 2
        and all(isinstance(part, torch.Tensor) for part in returned)
    ):
        raise PerbenchError(
            f"{at} {_kinds(returned)}; it must return two tensors, numerator and denominator, of shape "
            f"[{tokens}]"
        )
    numerator, denominator = returned
    if tuple(numerator.shape) != (tokens,) or tuple(denominator.shape) != (tokens,):
        raise PerbenchError(
            f"{at} shapes {list(numerator.shape)} and {list(denominator.shape)}; it must return two of shape "
            f"[{tokens}], a value for each response token"
        )
    if not numerator.requires_grad:
        raise PerbenchError(f"{at} a numerator without gradient; was it detached?")
    if denominator.requires_grad:
        raise PerbenchError(f"{at} a denominator with gradient; detach() its inputs")
    return numerator, denominator


def by_example(numerator: Tensor, denominator: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Each example's quotient, [E], and 1, or 0 for an example whose denominators sum to 0: it has no weight.

    Args:
        numerator, denominator: [N].
        lengths: tokens of each example.
    """
    above, below = (
        torch.stack([part.sum() for part in torch.split(values, list(lengths))])
        for values in (numerator, denominator.to(numerator.dtype))
    )
    counted = below != 0
    return torch.where(counted, above, 0) / torch.where(counted, below, 1), counted


@torch.no_grad()
def persona_free(
    loss: nn.Module, trainer: Trainer, pairs: Sequence[PromptPair], token_budget: int
) -> list[View] | None:
    """Each pair's response without the persona under the current weights, for all micro-batches of an update;
    None unless the trainer declares this pass without gradient.

    Args:
        loss: a TokenLoss, or a wrapper of one.
        token_budget: padded tokens of one pass. Pairs are ordered by length; duplicates are computed once.
    """
    if trainer.counterfactual != "no_grad":
        return None
    sides = [side for pair in pairs for side in pair.sides]
    unique = list(dict.fromkeys((side.counterfactual, side.response) for side in sides))
    found: dict[tuple[Sequence[int], Sequence[int]], View] = {}
    for group in batches([len(prompt) + len(response) for prompt, response in unique], token_budget):
        members = [unique[i] for i in group]
        chosen = [PromptPair((), prompt, response, 0, 0) for prompt, response in members]
        sizes = [len(response) for _, response in members]
        logp, hidden = (part.split(sizes) for part in loss(chosen, None, only_free=True))
        found |= {key: View(*parts) for key, *parts in zip(members, logp, hidden, strict=True)}
    views = [[found[side.counterfactual, side.response] for side in pair.sides] for pair in pairs]
    return [
        View(torch.cat([view.logp for view in own]), torch.cat([view.hidden for view in own]))
        for own in views
    ]


def held_tokens(trainer: Trainer, pair: PromptPair) -> int:
    """Tokens of a pair whose activations the backward pass needs."""
    factual, free = (
        len(pair.sides) * len(prompt) + pair.answer_tokens for prompt in (pair.factual, pair.counterfactual)
    )
    if trainer.counterfactual == "grad":
        return factual * trainer.factual + free
    return max(factual, free)


def _name(trainer: Trainer) -> str:
    """The trainer with the location of its loss: "trainers/my_loss.py:17: MyLoss"."""
    return f"{place_of(trainer, 'loss')}: {type(trainer).__name__}"


def _kinds(returned: object) -> str:
    if isinstance(returned, tuple):
        return f"({', '.join(type(part).__name__ for part in returned)})"
    return f"a {type(returned).__name__}"
