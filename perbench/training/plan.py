"""The plan of updates, a function of the update's number alone, so that resuming needs no stored position."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from perbench.specs.matrix import TrainingSpec


@dataclass(frozen=True)
class UpdatePlan:
    """`size` examples, seen `spec.epochs` times, in a new random order per epoch; updates take `batch_size`
    examples from that stream, the last one the remainder."""

    size: int
    spec: TrainingSpec
    seed: int

    @property
    def examples(self) -> int:
        """Number of examples seen; at least one."""
        return max(1, round(self.spec.epochs * self.size))

    @property
    def steps(self) -> int:
        return math.ceil(self.examples / self.spec.batch_size)

    def batch(self, step: int) -> list[int]:
        """Indices of the examples of update `step` (from 0)."""
        first = step * self.spec.batch_size
        stop = min(first + self.spec.batch_size, self.examples)
        orders = {
            epoch: self._order(epoch) for epoch in range(first // self.size, (stop - 1) // self.size + 1)
        }
        return [orders[position // self.size][position % self.size] for position in range(first, stop)]

    def _order(self, epoch: int) -> list[int]:
        order = list(range(self.size))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        return order

    def noise_seed(self, step: int) -> int:
        """Seed of an update's dropout, repeated on resuming."""
        return random.Random(f"{self.seed}/noise/{step}").getrandbits(62)

    def progress(self, step: int) -> float:
        """0 at the first update, 1 at the last."""
        return step / max(1, self.steps - 1)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up over ceil(warmup_ratio * steps) updates, starting above zero; then the schedule,
        which reaches zero one update after the last."""
        warm = math.ceil(self.spec.warmup_ratio * self.steps)
        if step < warm:
            return self.spec.learning_rate * (step + 1) / warm
        left = 1 - (step - warm) / (self.steps - warm)
        factor = {"constant": 1.0, "linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}
        return self.spec.learning_rate * factor[self.spec.schedule]
