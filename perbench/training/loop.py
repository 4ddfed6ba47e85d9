"""The training loop: updates of whole batches, cut into micro-batches that fit."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench.api import Trainer
from perbench.contrast import Contrast, batches
from perbench.engines.base import Tick
from perbench.errors import CellError, PerbenchError
from perbench.memory import peak_mb
from perbench.prompts.pair import PromptPair
from perbench.specs.matrix import ROUNDING_ONLY, TrainingSpec
from perbench.training import network
from perbench.training.checkpoint import Checkpoints
from perbench.training.plan import Plan
from perbench.training.watch import Recorder, Spread, Tally

if TYPE_CHECKING:
    from perbench.models import ResolvedModel

LOG_ENTRIES = 200


@dataclass(frozen=True)
class FitResult:
    """`checkpoint`: a peft adapter folder, or a full model in the HF format. `tokens`: response, total (with
    the persona) and counterfactual (without), as seen by the updates. `log`: {step, loss, lr, grad_norm,
    tokens_per_second, weight_mean, ...: what the loss watches}, thinned to at most 200 entries."""

    checkpoint: Path
    log: list[dict[str, float]]
    tokens: dict[str, int]
    steps: int


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
    log: Path | None = None,
    track: str | None = None,
) -> FitResult:
    """Train `model` on `pairs` (named by `ids`) under the trainer's loss. `log` is a JSONL file that gets a
    row per update, `track` a tracker that gets it too (`perbench.training.watch`).

    `folder` is this run's own. Called again after any interruption with the same arguments, it continues from
    the last good checkpoint there and ends with the weights of an uninterrupted run (the same bits on one
    machine with deterministic kernels); called after the end, it returns what is there.

    Raises:
        PerbenchError: inputs that cannot be trained on; a folder that holds another run's checkpoints.
        CellError: a loss or gradient that is not finite, a loss without weight, a disk that is full.
    """
    _check(trainer, pairs, ids, spec)
    plan = Plan(len(pairs), spec, seed)
    checkpoints = Checkpoints(folder, _fingerprint(model, trainer, pairs, spec, seed))
    if (final := checkpoints.final()) is None:
        final = _Run(model, trainer, pairs, ids, plan, checkpoints).train(tick, log, track)
    return FitResult(final, checkpoints.state(final)["log"], _tokens(plan, trainer, pairs), plan.steps)


class _Run:
    """What one run holds in memory: the wrapped model, its optimizer, the reference's log-probs."""

    def __init__(
        self,
        model: ResolvedModel,
        trainer: Trainer,
        pairs: Sequence[PromptPair],
        ids: Sequence[str],
        plan: Plan,
        checkpoints: Checkpoints,
    ) -> None:
        import torch
        from accelerate import Accelerator

        from perbench.training.batch import TokenLoss

        self._model, self._trainer, self._pairs, self._ids, self._plan, self._checkpoints = (
            model,
            trainer,
            pairs,
            ids,
            plan,
            checkpoints,
        )
        self._accelerator = Accelerator()
        device = self._accelerator.device
        region = network.autocast(plan.spec, device)
        base = network.load(model, plan.spec, device)
        # Before adapting and before any checkpoint is loaded: so a resumed run reads the very same reference.
        self._reference: list[Contrast] | None = network.reference_logp(
            trainer, base, model, pairs, region, plan.spec.micro_batch_tokens
        )
        self._network: Any = network.adapt(base, plan.spec, seed=plan.seed)
        self._weights = {name: p for name, p in self._network.named_parameters() if p.requires_grad}
        self._token_loss = TokenLoss(self._network, trainer, region)
        self._loss = self._accelerator.prepare(self._token_loss)
        spec = plan.spec
        # Norms and biases are not decayed, as is usual.
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self._weights.values() if p.ndim > 1]},
            {"params": [p for p in self._weights.values() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(
            groups,
            lr=spec.learning_rate,
            betas=(spec.adam_beta1, spec.adam_beta2),
            weight_decay=spec.weight_decay,
        )
        self._log: list[dict[str, float]] = []

    def train(self, tick: Tick, log: Path | None = None, track: str | None = None) -> Path:
        """All updates from the last good checkpoint on; the path of the final weights."""
        plan, stride = self._plan, math.ceil(self._plan.steps / (LOG_ENTRIES - 1))
        first = self._resume()
        main = self._accelerator.is_main_process
        recorder = Recorder(log if main else None, track if main else None, first)
        tick(first, plan.steps, {})
        for step in range(first, plan.steps):
            started, done = time.perf_counter(), step + 1
            loss, norm, tokens, spreads = self._update(step)
            speed = tokens / (time.perf_counter() - started)
            figures = {"loss": loss, "lr": plan.learning_rate(step), "grad_norm": norm}
            watched = recorder.update(done, {**figures, "tokens_per_second": speed}, spreads)
            if done % stride == 0 or done == plan.steps:
                self._log.append({"step": done, **figures, "tokens_per_second": speed, **watched})
            if done % plan.spec.save_every == 0 and done < plan.steps:
                recorder.flush()
                self._save(done)
            tick(done, plan.steps, {**figures, "tok/s": speed, **watched, "MB": peak_mb()})
        recorder.close()
        return self._finish()

    def _update(self, step: int) -> tuple[float, float, int, dict[str, Spread]]:
        """One update of the weights; its loss, gradient norm, processed tokens of this process, and what the
        loss watched."""
        import torch

        from perbench.training.batch import held_tokens, persona_free

        accelerator, spec = self._accelerator, self._plan.spec
        members = self._plan.batch(step)
        mine = members[accelerator.process_index :: accelerator.num_processes]
        lengths = [held_tokens(self._trainer, self._pairs[i]) for i in mine]
        progress = self._plan.progress(step)
        groups = batches(lengths, spec.micro_batch_tokens)
        # Gradients of the plain sum would be large for their precision; the exact divisor is known only at
        # the end.
        scale = 1 / sum(len(self._pairs[i].response) for i in members)
        sums, tally = torch.zeros(2, device=accelerator.device), Tally()
        rng: Any = torch.random.fork_rng() if spec.lora.dropout else nullcontext()
        with rng:
            if spec.lora.dropout:
                torch.manual_seed(self._plan.noise_seed(step) + accelerator.process_index)
            chosen = [self._pairs[i] for i in mine]
            free = persona_free(self._loss, self._trainer, chosen, spec.micro_batch_tokens)
            for number, group in enumerate(groups, 1):
                indices = [mine[i] for i in group]
                last = number == len(groups)
                with nullcontext() if last else accelerator.no_sync(self._loss):
                    reference = self._reference and [self._reference[i] for i in indices]
                    pairs = [self._pairs[i] for i in indices]
                    parts = free and [free[i] for i in group]
                    numerator, denominator = self._loss(pairs, reference, progress, parts)
                    accelerator.backward(numerator * scale)
                tally.add(self._token_loss.watched)
                sums += torch.stack([numerator.detach(), denominator])
        numerator_sum, denominator_sum = accelerator.reduce(sums, reduction="sum").tolist()
        if not denominator_sum > 0:
            raise self._fault(
                step, members, f"the loss's denominators sum to {denominator_sum}, so no token has weight"
            )
        gradients = [p.grad for p in self._weights.values() if p.grad is not None]
        # Processes' gradients arrive averaged, hence their number.
        torch._foreach_mul_(gradients, accelerator.num_processes / (scale * denominator_sum))
        norm = float(accelerator.clip_grad_norm_(list(self._weights.values()), spec.max_grad_norm))
        loss = numerator_sum / denominator_sum
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._fault(step, members, f"loss {loss}, gradient norm {norm}")
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = self._plan.learning_rate(step)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss, norm, sum(lengths), tally.spreads()

    def _fault(self, step: int, members: Sequence[int], what: str) -> CellError:
        names = ", ".join(dict.fromkeys(self._ids[i] for i in members))
        return CellError(
            f"step {step + 1} of {self._plan.steps}: {what}. Examples of this update: {names}. "
            f"{self._checkpoints.kept()} Look at these examples, or lower learning_rate"
        )

    def _resume(self) -> int:
        """Load the last good checkpoint, if any; the number of updates done."""
        import torch
        from safetensors.torch import load_file

        path = self._checkpoints.latest()
        if path is None:
            return 0
        stored = load_file(path / "weights.safetensors")
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(stored[name])
        self._optimizer.load_state_dict(
            torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
        )
        state = self._checkpoints.state(path)
        self._log = state["log"]
        return int(state["step"])

    def _save(self, step: int) -> None:
        import torch
        from safetensors.torch import save_file

        def write(path: Path) -> None:
            weights = {name: weight.detach().contiguous() for name, weight in self._weights.items()}
            save_file(weights, path / "weights.safetensors")
            torch.save(self._optimizer.state_dict(), path / "optimizer.pt")

        if self._accelerator.is_main_process:
            self._checkpoints.save(step, {"step": step, "log": self._log}, write)
        self._accelerator.wait_for_everyone()

    def _finish(self) -> Path:
        from perbench.models import load_tokenizer

        def write(path: Path) -> None:
            if self._plan.spec.method == "lora":
                self._network.save_pretrained(path, save_embedding_layers=False)
            else:
                self._network.save_pretrained(path)
                load_tokenizer(self._model.folder).save_pretrained(path)

        if self._accelerator.is_main_process:
            self._checkpoints.finish({"step": self._plan.steps, "log": self._log}, write)
        self._accelerator.wait_for_everyone()
        return self._checkpoints.folder / "final"


def _check(trainer: Trainer, pairs: Sequence[PromptPair], ids: Sequence[str], spec: TrainingSpec) -> None:
    if not pairs:
        raise PerbenchError("no training examples; raise the task's examples.train or --limit")
    for name, pair in zip(ids, pairs, strict=True):
        if not pair.response:
            raise PerbenchError(
                f"example {name} has an empty response: there is nothing to train on; drop it from the data"
            )
    compares = trainer.factual and trainer.counterfactual != "none"
    if spec.lora.dropout and (compares or trainer.reference() is not None):
        raise PerbenchError(
            f"lora.dropout {spec.lora.dropout} with {type(trainer).__name__}: its two passes would differ by "
            "the dropout's noise, not only by the persona; set lora.dropout to 0"
        )


def _tokens(plan: Plan, trainer: Trainer, pairs: Sequence[PromptPair]) -> dict[str, int]:
    seen = [pairs[i] for step in range(plan.steps) for i in plan.batch(step)]
    tokens = {"response": sum(len(pair.response) for pair in seen)}
    if trainer.factual:
        tokens["total"] = sum(len(pair.factual) + len(pair.response) for pair in seen)
    if trainer.counterfactual != "none":
        tokens["counterfactual"] = sum(len(pair.counterfactual) + len(pair.response) for pair in seen)
    return tokens


def _fingerprint(
    model: ResolvedModel, trainer: Trainer, pairs: Sequence[PromptPair], spec: TrainingSpec, seed: int
) -> str:
    plugin = [type(trainer).__name__, trainer.params]
    sequences = [[pair.factual, pair.counterfactual, pair.response] for pair in pairs]
    settings = spec.model_dump(mode="json", exclude=set(ROUNDING_ONLY))
    inputs = [model.digest, plugin, settings, seed, sequences]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
