"""The training loop: updates of whole batches, split into micro-batches that fit."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench import processes
from perbench.api import Trainer
from perbench.console.signals import Held, Interrupted, held
from perbench.disk.files import unguarded
from perbench.disk.manifest import seal_of
from perbench.disk.sealed import SealedJournal
from perbench.errors import CellError
from perbench.lm.context import context_in
from perbench.lm.device import free
from perbench.lm.memory import keep_freed, peak_mb
from perbench.plugins.faults import place_of
from perbench.progress import Tick
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import TrainingSpec
from perbench.training import network
from perbench.training.accumulate import GradientAccumulator, lowered
from perbench.training.checkpoint import Checkpoints
from perbench.training.inputs import check, count_tokens, fingerprint
from perbench.training.plan import UpdatePlan
from perbench.training.shard import add_gradients, shard_examples, shard_weights, whole
from perbench.training.watch import Distribution, Recorder, mend
from perbench.training.weights import Weights

if TYPE_CHECKING:
    import torch

    from perbench.lm.models import ResolvedModel

LOG_ENTRIES = 200


@dataclass(frozen=True)
class FitResult:
    """`checkpoint`: a peft adapter folder, or a full model in the HF format. `tokens`: response, total (with
    the persona) and counterfactual (without) tokens of the updates. `log`: {step, loss, lr, grad_norm,
    tokens_per_second, weight_mean, ... (watched by the loss)}, thinned to at most 200 entries. `notes`:
    adjustments made by the run. `seal` identifies the content of `checkpoint`."""

    checkpoint: Path
    log: list[dict[str, float]]
    tokens: dict[str, int]
    steps: int
    notes: list[str]
    seal: str


def fit(
    model: ResolvedModel,
    trainer: Trainer,
    pairs: Sequence[PromptPair],
    ids: Sequence[str],
    spec: TrainingSpec,
    *,
    seed: int,
    folder: Path,
    tick: Tick,
    log: SealedJournal | None = None,
    track: str | None = None,
    start: Path | None = None,
) -> FitResult:
    """Train `model` on `pairs` (named by `ids`) with the trainer's loss. `log` gets a row per update, as does
    `track`, a tracker (`perbench.training.watch`). `start` is a checkpoint of an earlier training of `model`
    to begin from; an adapter is merged into the weights.

    `folder` belongs to this run. Called again with the same arguments after any interruption, this resumes
    from the last good checkpoint and ends with the weights of an uninterrupted run (bit-identical on one
    machine with deterministic kernels); called after the end, it returns the result.

    With several processes (`perbench.processes`), all call it with the same arguments and a shared folder;
    the main one writes. `tick` is called on each.

    Raises:
        PerbenchError: inputs that cannot be trained on; a folder that holds another run's checkpoints.
        CellError: a non-finite loss or gradient, a loss without weight, a full disk.
    """
    group = processes.group()
    with group.agreed():
        check(trainer, pairs, ids, spec, context_in(model.folder))
        plan = UpdatePlan(len(pairs), spec, seed)
        inputs = fingerprint(model, trainer, pairs, spec, seed, start)
        guard = log.guard if log is not None else unguarded
        checkpoints = Checkpoints(folder, inputs, main=group.main, guard=guard)
    with group.agreed():
        final = checkpoints.final() if group.main else None
        if group.main and log is not None:
            mend(log)
    if (final := group.broadcast(final)) is None:
        final = _Run(model, trainer, pairs, ids, plan, checkpoints, start).train(tick, log, track)
    state = checkpoints.state(final)
    tokens = count_tokens(plan, trainer, pairs)
    return FitResult(final, state["log"], tokens, plan.steps, state["notes"], seal_of(final))


class _Run:
    """State of a run: the wrapped model, its optimizer, and the gradient accumulator."""

    def __init__(
        self,
        model: ResolvedModel,
        trainer: Trainer,
        pairs: Sequence[PromptPair],
        ids: Sequence[str],
        plan: UpdatePlan,
        checkpoints: Checkpoints,
        start: Path | None = None,
    ) -> None:
        from perbench.training.batch import TokenLoss

        self._group = group = processes.group()
        self._model, self._pairs, self._ids = model, pairs, ids
        self._plan, self._checkpoints = plan, checkpoints
        self._sharded = plan.spec.parallel == "fsdp" and group.world > 1
        budget = group.broadcast(checkpoints.budget(plan.spec.micro_batch_tokens))
        self._log: list[dict[str, float]] = []
        self._done = self._saved = 0
        region = network.autocast(plan.spec, group.device)
        if group.device.type == "cpu":
            keep_freed()
        with group.agreed():
            base = network.load(model, plan.spec, group.device, start)
            if not self._sharded:
                base.to(group.device)
        # Before adapting or loading a checkpoint, so that a resumed run has the same reference.
        reference = network.reference_logp(trainer, base, model, pairs, region, budget, group.device, start)
        if self._sharded:  # sharding moves layers to the device one by one
            base.to("cpu")
            free()
        self._network: Any = network.adapt(base, plan.spec, seed=plan.seed)
        loss: Any = TokenLoss(self._network, trainer, region, plan.spec.reduce)
        if self._sharded:
            shard_weights(loss, group.device, network.compute_dtype(plan.spec))
        self._trained = [p for p in self._network.parameters() if p.requires_grad]
        self._optimizer = _adamw(self._trained, plan.spec)
        self._accumulator = GradientAccumulator(
            loss,
            self._optimizer,
            trainer,
            pairs,
            reference,
            plan,
            checkpoints,
            budget=budget,
            sharded=self._sharded,
        )
        self._weights = Weights(self._network, self._optimizer, main=group.main)

    def train(self, tick: Tick, log: SealedJournal | None = None, track: str | None = None) -> Path:
        """Run all updates after the last good checkpoint; returns the path of the final weights."""
        first, main = self._resume(), self._group.main
        with self._group.agreed():
            recorder = Recorder(log if main else None, track if main else None, first)
        # Several processes must stop after the same update, whenever each gets the signal.
        hold = held() if self._group.world > 1 else nullcontext(Held())
        with closing(recorder), hold as signals:
            try:
                self._updates(first, recorder, tick, signals)
            except KeyboardInterrupt:
                if self._saved < self._done:
                    recorder.flush()
                    self._save(self._done)
                raise
        return self._finish()

    def _updates(self, first: int, recorder: Recorder, tick: Tick, signals: Held) -> None:
        plan, stride = self._plan, math.ceil(self._plan.steps / (LOG_ENTRIES - 1))
        tick(first, plan.steps, {})
        for step in range(first, plan.steps):
            started, done = time.perf_counter(), step + 1
            loss, norm, tokens, spreads, stop = self._gradients(step, signals)
            figures = {"loss": loss, "lr": plan.learning_rate(step), "grad_norm": norm}
            if self._accumulator.budget != plan.spec.micro_batch_tokens:
                figures["micro_batch_tokens"] = self._accumulator.budget
            with held():  # an update and its row must not be separated
                self._step(figures["lr"])
                speed = tokens / (time.perf_counter() - started)
                watched = recorder.update(done, {**figures, "tokens_per_second": speed}, spreads)
                if done % stride == 0 or done == plan.steps:
                    self._log.append({"step": done, **figures, "tokens_per_second": speed, **watched})
                self._done = done
            if done % plan.spec.save_every == 0 and done < plan.steps:
                recorder.flush()
                self._save(done)
            if stop is not None:
                raise Interrupted(signum=stop)
            tick(done, plan.steps, {**figures, "tok/s": speed, **watched, "MB": peak_mb()})

    def _gradients(
        self, step: int, signals: Held
    ) -> tuple[float, float, int, dict[str, Distribution], int | None]:
        """The gradients of one update; returns its loss, gradient norm, processed tokens, watched values, and
        the signal, if any, that ends the run after it, over all processes."""
        import torch

        group, spec = self._group, self._plan.spec
        members = self._plan.batch(step)
        lengths = [self._accumulator.length(i) for i in members]
        shards = [[members[i] for i in shard] for shard in shard_examples(lengths, group.world)]
        # Scaled to protect the gradients' precision; the exact divisor is known only at the end.
        tokens = sum(self._pairs[i].answer_tokens for i in members)
        scale = 1 / tokens
        # Sharded passes communicate, so a failure inside one cannot be shared.
        with nullcontext() if self._sharded else group.agreed():
            sums, tally = self._accumulator.accumulate(step, shards, scale)
        found = group.gather((*sums, self._accumulator.budget, signals.signum))
        *gathered, budgets, stops = zip(*found, strict=True)
        numerator, denominator, *odd = map(sum, gathered)
        budget = min(budgets)
        self._accumulator.limit(budget)
        granted = self._checkpoints.budget(spec.micro_batch_tokens)
        if budget != granted and group.main:
            self._checkpoints.lower(spec.micro_batch_tokens, budget, lowered(step, granted, budget))
        if what := self._odd(odd, tokens):
            raise self._fault(step, members, what, "fix the loss, with `perbench check trainer`")
        if not denominator > 0:
            raise self._fault(
                step, members, f"the loss's denominators sum to {denominator}, so no token has weight"
            )
        if not self._sharded:
            add_gradients(self._trained, group)
        gradients = [p.grad for p in self._trained if p.grad is not None]
        # Sharding averages over the processes, hence their number.
        factor = (group.world if self._sharded else 1) * (tokens / denominator)
        if factor != 1:  # else a needless pass over all weights
            torch._foreach_mul_(gradients, factor)
        norm = float(whole(torch.nn.utils.clip_grad_norm_(self._trained, spec.max_grad_norm)))
        loss = numerator / denominator
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._fault(step, members, f"loss {loss}, gradient norm {norm}")
        stop = next((signum for signum in stops if signum is not None), None)
        return loss, norm, sum(lengths), tally.spreads(), stop

    def _step(self, learning_rate: float) -> None:
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _odd(self, odd: Sequence[float], tokens: int) -> str | None:
        """The non-finite values that the loss returned, if the log-probs were finite."""
        parts = [
            f"{number:.0f} of {tokens} {name}"
            for number, name in zip(odd, ("numerators", "denominators"), strict=False)
            if number
        ]
        if not parts or odd[2]:
            return None
        trainer = self._accumulator.trainer
        return (
            f"{place_of(trainer, 'loss')}: {type(trainer).__name__}.loss returned {' and '.join(parts)} that "
            "are NaN or infinite, at finite log-probs"
        )

    def _fault(
        self,
        step: int,
        members: Sequence[int],
        what: str,
        remedy: str = "inspect these examples, or lower learning_rate",
    ) -> CellError:
        names = ", ".join(dict.fromkeys(self._ids[i] for i in members))
        return self._group.failure(
            f"step {step + 1} of {self._plan.steps}: {what} (examples of this update: {names}); {remedy}; "
            f"{self._checkpoints.kept()}"
        )

    def _resume(self) -> int:
        """Load the last good checkpoint, if any; returns the number of completed updates."""
        path = self._group.broadcast(self._checkpoints.latest() if self._group.main else None)
        if path is None:
            return 0
        with self._group.agreed():
            self._weights.load(path)
            state = self._checkpoints.state(path)
        self._log = state["log"]
        self._done = self._saved = int(state["step"])
        return self._done

    def _save(self, step: int) -> None:
        write = self._weights.saving()
        with self._group.agreed():
            if self._group.main:
                self._checkpoints.save(step, {"step": step, "log": self._log}, write)
        self._saved = step

    def _finish(self) -> Path:
        from perbench.lm.models import load_tokenizer

        export = self._weights.exporting(self._plan.spec.method)

        def write(path: Path) -> None:
            export(path)
            if self._plan.spec.method == "full":
                load_tokenizer(self._model.folder).save_pretrained(path)

        with self._group.agreed():
            if self._group.main:
                state = {"step": self._plan.steps, "log": self._log, "notes": self._checkpoints.notes()}
                self._checkpoints.finish(state, write)
        return self._checkpoints.folder / "final"


def _adamw(weights: Sequence[torch.Tensor], spec: TrainingSpec) -> torch.optim.Optimizer:
    import torch

    # Norms and biases are not decayed, as is usual.
    groups: list[dict[str, Any]] = [
        {"params": [p for p in weights if p.ndim > 1]},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    betas = spec.adam_beta1, spec.adam_beta2
    return torch.optim.AdamW(
        groups, lr=spec.learning_rate, betas=betas, weight_decay=spec.weight_decay, fused=True
    )
