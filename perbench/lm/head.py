"""The language-model head, applied only to chosen hidden states, a few rows at a time.

Logits are `[N, V]` and V is large. Up to `KEEP` bytes of log-probs are kept for the backward pass; beyond
that, at most `CHUNK` rows exist at once and are recomputed. torch's own
`linear_cross_entropy(reduction="none")` rounds losses to the input's dtype, which is too coarse for
differences of log-probs.
"""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from perbench.errors import PerbenchError
from perbench.lm.finite import check_finite
from perbench.lm.onednn import LaidOut

CHUNK = 512
"""Rows of logits held at once: 100 MB of float32 with a vocabulary of 49k."""
KEEP = 2**30
"""Maximum bytes of float32 log-probs [N, V] kept for the backward pass; recomputing them takes a quarter of a
trained head's products."""


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, softcap: float | None) -> Tensor:
    logits = F.linear(hidden, weight, bias)
    return logits if softcap is None else softcap * torch.tanh(_wide(logits) / softcap)


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _log_softmax(logits: Tensor) -> Tensor:
    return F.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


class _Logp(torch.autograd.Function):
    """log softmax(logits)[target].

    The gradient of a token's log-prob by its hidden state is one vector, scaled by one number in the backward
    pass. With a frozen head it is computed in the forward pass, from the logits at hand, so they are never
    recomputed. A trainable head's own gradient needs the log-probs again, kept or recomputed. `low_weight`
    and `low_bias` are the head in the dtype of the product; gradients flow to the head itself, unrounded.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        low_weight: Tensor,
        low_bias: Tensor | None,
        target: Tensor,
        softcap: float | None,
        rows: int,
        keeps: bool,
    ) -> Tensor:
        trains_head = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        keeps_slope = ctx.needs_input_grad[0] and not trains_head
        values, slopes, kept = [], [], []
        for part in _parts(len(target), rows):
            logits = _logits(hidden[part], low_weight, low_bias, softcap)
            logp = _log_softmax(logits)
            values.append(logp.gather(-1, target[part, None])[:, 0])
            if keeps_slope:
                slope = _slope(logp.exp_(), logits, target[part], softcap)
                slopes.append(slope.to(low_weight.dtype) @ low_weight)
            elif trains_head and keeps:
                kept.append(logp)
        ctx.softcap, ctx.rows, ctx.trains_head = softcap, rows, trains_head
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        if trains_head:
            ctx.save_for_backward(hidden, low_weight, low_bias, target, *kept)
        elif keeps_slope:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad, rest = -grad[:, None], (None,) * 6
        if not ctx.trains_head:
            (slope,) = ctx.saved_tensors
            return (grad * slope).to(slope.dtype), None, None, *rest
        hidden, weight, bias, target, *kept = ctx.saved_tensors
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=grad.dtype) if wants_weight else None
        grad_bias = torch.zeros_like(bias, dtype=grad.dtype) if wants_bias else None
        for number, part in enumerate(_parts(len(target), ctx.rows)):
            if kept:
                slope = _slope(kept[number].exp(), None, target[part], None)
            else:
                logits = _logits(hidden[part], weight, bias, ctx.softcap)
                slope = _slope(_log_softmax(logits).exp_(), logits, target[part], ctx.softcap)
            if grad_bias is not None:
                grad_bias += grad[part, 0] @ slope
            slope = slope.to(weight.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = grad[part] * (slope @ weight)
            if grad_weight is not None:
                scaled = (grad[part] * hidden[part]).to(weight.dtype)
                if grad_weight.dtype == slope.dtype:
                    grad_weight.addmm_(slope.t(), scaled)
                else:
                    grad_weight += slope.t() @ scaled
        weight_dtype, bias_dtype = ctx.dtypes
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight_dtype),
            None if grad_bias is None else grad_bias.to(bias_dtype),
            *rest,
        )


def _slope(slope: Tensor, logits: Tensor | None, target: Tensor, softcap: float | None) -> Tensor:
    """-d logp[target] / d logits [rows, V], before the soft cap, computed in place from the probabilities."""
    slope.scatter_add_(-1, target[:, None], torch.full_like(slope[:, :1], -1))
    if softcap is None:
        return slope
    assert logits is not None
    return slope.mul_(1 - (logits / softcap).square())


def _parts(length: int, rows: int) -> list[slice]:
    return [slice(start, start + rows) for start in range(0, length, rows)]


@dataclass(frozen=True, eq=False)
class Head:
    """The head of a causal language model: logits = softcap(hidden @ weight.T + bias).

    The matrix product uses `dtype`; log-probs are float32 (float64 for float64 heads).
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None
    dtype: torch.dtype = torch.float32

    def logp(self, hidden: Tensor, target: Tensor, *, rows: int = CHUNK) -> Tensor:
        """Natural-log probability [N] of `target` [N] given `hidden` [N, D]."""
        low_weight, low_bias = self._low
        if not len(target):
            return hidden.new_zeros(0, dtype=torch.promote_types(self.dtype, torch.float32))
        logp: Tensor
        if torch.is_grad_enabled():
            states = hidden.to(self.dtype)
            fits = len(target) * len(self.weight) * 4 <= KEEP
            if not fits and hidden.is_cuda and self.weight.requires_grad and importlib.util.find_spec("trl"):
                return kernel_logp(states, self.weight, self.bias, target, self.softcap)
            logp = _Logp.apply(  # type: ignore[no-untyped-call]
                states,
                self.weight,
                self.bias,
                low_weight,
                low_bias,
                target,
                self.softcap,
                rows,
                fits and self.softcap is None,
            )
            return logp
        values = []
        for part in _parts(len(target), rows):
            logits = _logits(hidden[part].to(self.dtype), low_weight, low_bias, self.softcap)
            values.append(_log_softmax(logits).gather(-1, target[part, None])[:, 0])
        return torch.cat(values)

    def entropy(self, hidden: Tensor, *, rows: int = CHUNK) -> Tensor:
        """Entropy [N] in nats of the predictions from `hidden` [N, D], without gradient."""
        return self._summed(hidden, lambda logp: torch.special.entr(logp.exp_()), rows)

    def collision(self, hidden: Tensor, *, rows: int = CHUNK) -> Tensor:
        """Sum [N] of the squared probabilities of the predictions from `hidden` [N, D], without gradient."""
        return self._summed(hidden, lambda logp: logp.mul_(2).exp_(), rows)

    @torch.no_grad()
    def kl(self, hidden: Tensor, other: Tensor, *, rows: int = CHUNK) -> Tensor:
        """KL(P(hidden) || P(other)) in nats, [N], of the predictions from `hidden` and `other`, both [N, D],
        at least 0, without gradient."""
        values = [hidden.new_zeros(0, dtype=torch.promote_types(self.dtype, torch.float32))]
        weight, bias = self._low
        for part in _parts(len(hidden), rows):
            p, q = (
                _log_softmax(_logits(states[part].to(self.dtype), weight, bias, self.softcap))
                for states in (hidden, other)
            )
            values.append((p.exp() * (p - q)).sum(-1).clamp(min=0))
        return torch.cat(values)

    @torch.no_grad()
    def _summed(self, hidden: Tensor, terms: Callable[[Tensor], Tensor], rows: int) -> Tensor:
        """Sum [N] over the vocabulary of `terms` of the log-probs [rows, V], which it may overwrite."""
        values = [hidden.new_zeros(0, dtype=torch.promote_types(self.dtype, torch.float32))]
        weight, bias = self._low
        for part in _parts(len(hidden), rows):
            logits = _logits(hidden[part].to(self.dtype), weight, bias, self.softcap)
            values.append(terms(_log_softmax(logits)).sum(-1))
        return torch.cat(values)

    def difference_logp(
        self, hidden: Tensor, other: Tensor, target: Tensor, *, detach_other: bool = False, rows: int = CHUNK
    ) -> Tensor:
        """log softmax(z(hidden) - z(other))[target], [N]. detach_other: no gradient flows through z(other),
        to `other` or to the head."""
        if self.softcap is None and not (detach_other and self.weight.requires_grad):
            difference = _wide(hidden) - _wide(other.detach() if detach_other else other)
            head = self if self.bias is None else Head(self.weight, dtype=self.dtype)
            return head.logp(difference, target, rows=rows)
        weight = self.weight.to(self.dtype)
        bias = None if self.bias is None else self.bias.to(self.dtype)

        def logp(h: Tensor, h0: Tensor, t: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            z, z0 = (_wide(_logits(states, weight, bias, self.softcap)) for states in (h, h0))
            return _log_softmax(z - (z0.detach() if detach_other else z0)).gather(-1, t[:, None])[:, 0]

        hidden, other = hidden.to(self.dtype), other.to(self.dtype)
        values = [
            checkpoint(logp, hidden[part], other[part], target[part], weight, bias, use_reentrant=False)
            for part in _parts(len(target), rows)
        ]
        return torch.cat(values) if values else self.logp(hidden, target)

    @cached_property
    def _low(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in `dtype`, without gradient."""
        bias = None if self.bias is None else self.bias.detach().to(self.dtype)
        return self.weight.detach().to(self.dtype), bias


def kernel_logp(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, softcap: float | None
) -> Tensor:
    """`Head.logp` by TRL's function, whose Triton kernels hold neither [N, V] nor [rows, V] on a GPU."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    logp: Tensor = ChunkedLogProbFunction.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, target, 1.0, 32768, softcap, 1.0, ()
    )[0]
    return logp


def _base(model: Any) -> Any:
    """The model without peft's wrapper; its layers stay."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def body_of(model: Any) -> Any:
    """The model without its head (peft layers inside stay active); None if it has no separate body."""
    base = _base(model)
    return getattr(base, getattr(base, "base_model_prefix", "") or "-", None)


def body_and_head(model: nn.Module) -> tuple[nn.Module, Head]:
    """The model without its head (peft layers inside stay active) and its head, computing in autocast's dtype
    if enabled, else in the weight's.

    Raises:
        PerbenchError: there is no separate linear head, or an adapter changes it.
    """
    base, body = _base(model), body_of(model)
    layer = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    name = type(base).__name__
    if body is None or not isinstance(layer, nn.Linear) or type(layer) not in (nn.Linear, LaidOut):
        found = "no body" if body is None else f"head {type(layer).__name__}"
        raise PerbenchError(
            f"{name}: log-probs need a decoder body and a plain linear head without adapters, found {found}; "
            "use another model, or leave the head out of the adapter's target_modules"
        )
    device = layer.weight.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else layer.weight.dtype
    softcap = getattr(base.config.get_text_config(), "final_logit_softcapping", None)
    head = Head(layer.weight, layer.bias, softcap, dtype)
    if base not in _checked:
        _check(base, body, head)
        _checked.add(base)
    return body, head


_checked: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@torch.no_grad()
def _check(base: Any, body: nn.Module, head: Head) -> None:
    """Some architectures scale or shift logits outside the head; log-probs would be silently wrong."""
    ids = torch.arange(4, device=head.weight.device)[None] % len(head.weight)
    with evaluating(base):
        theirs = base(input_ids=ids, use_cache=False).logits[0].float()
        hidden = body(input_ids=ids, use_cache=False).last_hidden_state[0]
    weight, bias = head._low
    ours = _logits(hidden.to(head.dtype), weight, bias, head.softcap).float()
    check_finite(theirs.amax(-1), "logits")
    gap, size = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    if not gap <= 0.05 * size:
        raise PerbenchError(
            f"{type(base).__name__}: its logits are not its linear head's (gap {gap:.3g} of {size:.3g}): it "
            "scales or masks them elsewhere, which perbench does not support; use another model"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Disables dropout, and restores each module's mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
