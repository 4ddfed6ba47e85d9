"""Accumulates the gradients of one update over micro-batches that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from perbench import processes
from perbench.api import Trainer, View
from perbench.errors import CellError
from perbench.lm.contrast import Contrast
from perbench.lm.device import free
from perbench.lm.padding import batches
from perbench.prompts.pair import PromptPair
from perbench.training import fitting
from perbench.training.checkpoint import Checkpoints
from perbench.training.plan import UpdatePlan
from perbench.training.watch import WatchTally

if TYPE_CHECKING:
    import torch

Sums = tuple[tuple[float, ...], WatchTally]
"""Sums of the loss's numerators and denominators, the numbers of non-finite values (`TokenLoss.odd`, three);
and the watched values."""


class GradientAccumulator:
    """Runs examples through a loss, a `TokenLoss` over the network that `optimizer` updates. `budget`: padded
    tokens of a micro-batch, reduced when memory runs out."""

    def __init__(
        self,
        loss: Any,
        optimizer: torch.optim.Optimizer,
        trainer: Trainer,
        pairs: Sequence[PromptPair],
        reference: Sequence[Contrast] | None,
        plan: UpdatePlan,
        checkpoints: Checkpoints,
        *,
        budget: int,
        sharded: bool,
    ) -> None:
        self._loss, self._optimizer, self.trainer = loss, optimizer, trainer
        self._pairs, self._reference, self._plan = pairs, reference, plan
        self._checkpoints, self._sharded, self._group = checkpoints, sharded, processes.group()
        self.budget = budget

    def accumulate(self, step: int, shards: Sequence[Sequence[int]], scale: float) -> Sums:
        """Add the gradients of this process's examples, `shards[rank]` of update `step`, times `scale`. If
        memory runs out, repeat with smaller micro-batches.

        Raises:
            CellError: a single example does not fit; or one of several processes with sharded weights ran out
                of memory, and a restart must use the smaller budget.
        """
        while True:
            try:
                return self._accumulate(step, shards, scale)
            except (RuntimeError, MemoryError) as error:
                if not fitting.ran_out_of_memory(error):
                    raise
                reason = str(error).partition("\n")[0]
            self._optimizer.zero_grad()
            free()
            held = shards if self._sharded else [shards[self._group.rank]]
            lengths = [self.length(i) for shard in held for i in shard]
            lower = fitting.lower(lengths, self.budget)
            if lower is None:
                raise CellError(
                    f"step {step + 1}: out of memory with one example of at most {max(lengths)} tokens at a "
                    f"time ({reason}); set gradient_checkpointing: true, parallel: fsdp with more devices, "
                    f"or a smaller max_length of the task; {self._checkpoints.kept()}"
                )
            if self._sharded:
                note = lowered(step, self.budget, lower)
                self._checkpoints.lower(self._plan.spec.micro_batch_tokens, lower, note)
                raise CellError(
                    f"{note}; the processes share every weight, so all must restart: run the same command "
                    f"again (torchrun --max-restarts N does so automatically); {self._checkpoints.kept()}"
                )
            self.budget = lower

    def _accumulate(self, step: int, shards: Sequence[Sequence[int]], scale: float) -> Sums:
        import torch

        group, spec = self._group, self._plan.spec
        from perbench.training.batch import persona_free

        split = [batches([self.length(i) for i in shard], self.budget) for shard in shards]
        mine = [[shards[group.rank][i] for i in part] for part in split[group.rank]]
        idle = 0
        if self._sharded:  # every process takes part in every pass, even without examples
            idle = max(map(len, split)) - len(mine)
            shortest = min((i for shard in shards for i in shard), key=self.length)
        sums, tally, progress = torch.zeros(5, device=group.device), WatchTally(), self._plan.progress(step)
        rng: Any = torch.random.fork_rng() if spec.lora.dropout else nullcontext()
        with rng:
            if spec.lora.dropout:
                torch.manual_seed(self._plan.noise_seed(step) + group.rank)
            views = None
            if not self._sharded:  # the number of passes depends on the examples
                pairs = [self._pairs[i] for indices in mine for i in indices]
                views = persona_free(self._loss, self.trainer, pairs, self.budget)
            parts = iter(views or ())
            for indices in mine:
                chosen = views and [next(parts) for _ in indices]
                numerator, denominator = self._pass(indices, progress, chosen)
                (numerator * scale).backward()
                tally.add(self._loss.watched)
                sums += torch.cat([torch.stack([numerator.detach(), denominator]), self._loss.odd])
            for _ in range(idle):
                (self._pass([shortest], progress)[0] * 0).backward()
        return tuple(sums.tolist()), tally

    def _pass(self, indices: Sequence[int], progress: float, free: list[View] | None = None) -> Any:
        reference = self._reference and [self._reference[i] for i in indices]
        return self._loss([self._pairs[i] for i in indices], reference, progress, free)

    def limit(self, budget: int) -> None:
        """Limit micro-batches to `budget` padded tokens from now on."""
        self.budget = budget

    def length(self, index: int) -> int:
        """Tokens of an example whose activations are kept."""
        from perbench.training.batch import held_tokens

        return held_tokens(self.trainer, self._pairs[index])


def lowered(step: int, before: int, after: int) -> str:
    """The note about smaller micro-batches."""
    return f"out of memory at step {step + 1}: micro_batch_tokens {before} -> {after}"
