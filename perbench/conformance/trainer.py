"""Tests a trainer's contract on four short examples under a model of some hundred weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from perbench.api import Trainer
from perbench.conformance.report import Fault, Report, settings
from perbench.lm.contrast import Contrast, joined, response_hidden
from perbench.lm.head import body_and_head
from perbench.progress import counted
from perbench.prompts.pair import PromptPair
from perbench.training.batch import PairBatch, checked

VOCABULARY, WIDTH = 29, 8
PAIRS = (
    PromptPair((1, 5, 6, 7, 2, 9, 3), (1, 2, 9, 3), (11, 12, 13, 4), 1, 0),
    PromptPair((1, 8, 2, 10, 3), (1, 2, 10, 3), (14,), 1, 0),
    PromptPair((1, 5, 8, 15, 16, 17, 2, 9, 3), (1, 2, 9, 3), (18, 11, 19, 20, 11, 21, 4), 1, 0),
    PromptPair((1, 2, 22, 3), (1, 2, 22, 3), (23, 24, 4), 0, 0),
)
"""Of several lengths, one of a single token; the last has no persona."""
REJECTED = ((15, 13, 4), (16, 17, 18, 4), (20,), (12, 4))
"""The other answers, for trainers of pairs."""
ALL = range(len(PAIRS))
SPLITS: tuple[tuple[Sequence[int], ...], ...] = (((0,), (1,), (2,), (3,)), ((0, 2), (1, 3)), ((3, 2, 1, 0),))


class TinyBody(nn.Module):
    """Each position's state depends on it and on earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mix = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.config = SimpleNamespace(_attn_implementation="eager")

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> Any:
        states = self.embedding(input_ids)
        places = torch.arange(1, states.shape[1] + 1)[None, :, None]
        return SimpleNamespace(last_hidden_state=torch.tanh(self.mix(states.cumsum(1) / places)) + states)


class TinyModel(nn.Module):
    """A causal language model with the interface that perbench's passes need."""

    base_model_prefix = "body"

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body, self.head = TinyBody(), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(final_logit_softcapping=None))

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> Any:
        return SimpleNamespace(logits=self.head(self.body(input_ids).last_hidden_state))


class Noted(PairBatch):
    """A batch that records whether the pass without the persona was read."""

    freed = False

    def _free(self, *, detached: bool = False) -> Tensor:
        states = super()._free(detached=detached)
        self.freed = True
        return states


@torch.no_grad()
def _reference(pairs: Sequence[PromptPair]) -> list[Contrast]:
    """Log-probs under other weights."""
    body, head = body_and_head(TinyModel(1))

    def read(side: PromptPair) -> Contrast:
        factual, free = (
            head.logp(response_hidden(body, [prompt], [side.response]), torch.tensor(side.response))
            for prompt in (side.factual, side.counterfactual)
        )
        return Contrast(factual, free)

    return [joined([read(side) for side in pair.sides]) for pair in pairs]


class TrainerTry:
    """A trainer's loss of some of the examples, always on the same weights."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.model = trainer, TinyModel(0)
        self.pairs: Sequence[PromptPair] = PAIRS
        if trainer.examples == "pairs":
            self.pairs = tuple(replace(pair, rejected=ids) for pair, ids in zip(PAIRS, REJECTED, strict=True))
        self._reference = None if trainer.reference() is None else _reference(self.pairs)

    def __call__(self, chosen: Iterable[int] = ALL, progress: float = 0.5) -> tuple[Noted, Tensor, Tensor]:
        """The batch, and the numerators and denominators [N]."""
        members = list(chosen)
        reference = self._reference and [self._reference[i] for i in members]
        pairs = [self.pairs[i] for i in members]
        batch = Noted(self.model, self.trainer, pairs, reference, nullcontext, progress)
        returned: object = self.trainer.loss(batch)
        return batch, *checked(self.trainer, returned, len(batch.targets))


def check(cls: type[Trainer], given: Mapping[str, Any]) -> Report:
    """
    Raises:
        PerbenchError: `given` are not hyperparameters of the trainer.
    """
    trainer = cls(**given)
    run = TrainerTry(trainer)
    return Report(trainer, "loss").run(
        {
            "shapes": partial(_shapes, run),
            "values": partial(_values, run),
            "gradient": partial(_gradient, run),
            "denominator": partial(_denominator, run),
            "split": partial(_split, run),
            "same again": partial(_again, run),
            "batch kept": partial(_kept, run),
            "settings": partial(_settings, cls, given),
            "passes": partial(_passes, cls, given),
        }
    )


def _shapes(run: TrainerTry) -> str:
    """Also dtypes and gradients: what `checked` refuses."""
    batch, numerator, denominator = run()
    if not (numerator.is_floating_point() and denominator.is_floating_point()):
        raise Fault(f"returned {numerator.dtype} and {denominator.dtype}; return floating-point numbers")
    return f"numerator and denominator [{len(batch.targets)}], {_short(numerator)} and {_short(denominator)}"


def _short(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _values(run: TrainerTry) -> str:
    for progress in (0.0, 0.5, 1.0):
        _, *parts = run(progress=progress)
        for name, part in zip(("numerators", "denominators"), parts, strict=True):
            odd = int((~torch.isfinite(part)).sum())
            if odd:
                raise Fault(f"{odd} of {len(part)} {name} are NaN or infinite at progress {progress:g}")
    return "finite from the first update to the last"


def _gradient(run: TrainerTry) -> str:
    run.model.zero_grad()
    _, numerator, _ = run()
    torch.autograd.backward(numerator.sum())
    grads = [parameter.grad for parameter in run.model.body.parameters()]
    if not all(grad is None or bool(torch.isfinite(grad).all()) for grad in grads):
        raise Fault("the gradient is NaN or infinite where the loss is not: look for sqrt, log or / at 0")
    if not any(grad is not None and bool(grad.any()) for grad in grads):
        raise Fault("no gradient reaches the model through the log-probs; is something detached?")
    return "reaches the model through the log-probs, finite"


def _denominator(run: TrainerTry) -> str:
    _, _, denominator = run()
    if bool((denominator < 0).any()):
        raise Fault(f"a denominator is negative: {denominator.min().item():g}; weigh tokens by 0 or more")
    if not denominator.sum() > 0:
        raise Fault("the denominators sum to 0, so no token has weight; give some token a weight above 0")
    return f"no gradient, none below 0, sum {denominator.sum().item():g}"


def _split(run: TrainerTry) -> str:
    whole = [part.detach().double().sum() for part in run()[1:]]
    for split in SPLITS:
        sums = [torch.zeros((), dtype=torch.float64)] * 2
        for members in split:
            parts = run(members)[1:]
            sums = [total + part.detach().double().sum() for total, part in zip(sums, parts, strict=True)]
        for name, one, other in zip(("numerators", "denominators"), whole, sums, strict=True):
            if not torch.allclose(one, other, rtol=1e-4, atol=1e-6):
                cut = " + ".join(str(len(members)) for members in split)
                raise Fault(
                    f"the {name} of 4 examples sum to {one.item():.6g} in one micro-batch but to "
                    f"{other.item():.6g} in micro-batches of {cut}, so the result would depend on memory; "
                    "rank and normalise within an example (batch.example), not over the batch"
                )
    return "the same sums however a batch is split and ordered"


def _again(run: TrainerTry) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = run()[1:]
        torch.manual_seed(2)
        second = run()[1:]
    if not all(map(torch.equal, first, second)):
        raise Fault("the same batch gave other values the second time; use no randomness and keep no state")
    return "the same batch, the same values"


def _kept(run: TrainerTry) -> str:
    before = run(ALL)[0]
    fresh = Noted(run.model, run.trainer, run.pairs, None, nullcontext, 0.5)
    if not (torch.equal(before.targets, fresh.targets) and torch.equal(before.example, fresh.example)):
        raise Fault("changes batch.targets or batch.example, which all losses share; clone() first")
    if "factual" in before.__dict__ and not torch.equal(before.factual.logp, fresh.factual.logp):
        raise Fault("changes batch.factual.logp in place; clone() first")
    return "nothing of it is changed in place"


def _settings(cls: type[Trainer], given: Mapping[str, Any]) -> str:
    tried = settings(cls, given)
    for name, params in tried.items():
        try:
            _, numerator, denominator = TrainerTry(cls(**params))()
        except Exception as error:
            error.add_note(f"with {name}")
            raise
        if not (bool(torch.isfinite(numerator).all()) and bool(torch.isfinite(denominator).all())):
            raise Fault(f"values are NaN or infinite with {name}; narrow the bounds of the hyperparameter")
    return f"{counted(len(tried), 'setting')} tried: {', '.join(tried)}"


def _passes(cls: type[Trainer], given: Mapping[str, Any]) -> str:
    """Declared passes are read, under some setting at least, because each costs as much as the others."""
    factual = free = through = rejected = False
    for params in settings(cls, given).values():
        trainer = cls(**params)
        run = TrainerTry(trainer)
        batch, numerator, _ = run()
        states = batch.__dict__.get("_free_grad")
        if states is not None:
            states.retain_grad()
            torch.autograd.backward(numerator.sum())
            through |= states.grad is not None and bool(states.grad.any())
        factual |= "factual" in batch.__dict__
        free |= batch.freed
        rejected |= "rejected" in batch.__dict__
        if trainer.reference() is not None and "reference" not in batch.__dict__:
            raise Fault("reference() names a model, but batch.reference is not read; return None")
    if cls.examples == "pairs" and not rejected:
        raise Fault('declares examples = "pairs" but never reads batch.rejected; declare "responses"')
    if cls.factual and not factual:
        raise Fault("the pass with the persona is never read; declare factual = False")
    declared = cls.counterfactual
    if declared != "none" and not free:
        raise Fault(f'declares counterfactual = "{declared}" but never reads that pass; declare "none"')
    if declared == "grad" and not through:
        raise Fault('declares counterfactual = "grad" but no gradient flows through it; declare "no_grad"')
    return f'counterfactual "{declared}", {"" if cls.factual else "factual not needed, "}as it is read'
