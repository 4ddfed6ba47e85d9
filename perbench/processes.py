"""The processes of a run started by torchrun or `accelerate launch`; usually there is one.

All processes go through the same cells in the same way. Only the first, `main`, writes and prints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from perbench.errors import CellError, PerbenchError
from perbench.lm.device import device

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")

STUCK = timedelta(minutes=30)
"""Timeout for collective operations on tensors."""
IDLE = timedelta(days=30)
"""Timeout for control messages: the others wait while the main process evaluates; if it dies, the launcher
ends them."""


class SharedFailure(CellError):
    """A failure known to all processes, which leave the cell at the same point and can continue."""


@dataclass(frozen=True)
class Group:
    """Process `rank` (from 0) of `world`."""

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    @cached_property
    def device(self) -> torch.device:
        """This process's own accelerator on its machine, else the CPU."""
        import torch

        kind = device()
        if self.world == 1 or kind.type == "cpu":
            return kind
        index = int(os.environ["LOCAL_RANK"])
        if index >= torch.accelerator.device_count():
            raise PerbenchError(
                f"process {self.rank} has no {kind.type} device of its own: this machine has "
                f"{torch.accelerator.device_count()}; start no more processes than devices"
            )
        torch.accelerator.set_device_index(index)
        return torch.device(kind.type, index)

    def gather(self, value: Value) -> list[Value]:
        """Every process's value (small, picklable), by rank. All must call it."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self._control)
        return values

    def broadcast(self, value: Value) -> Value:
        """The main process's value (small, picklable). All must call it."""
        return self.gather(value)[0]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """If the block fails on one process, it fails on all, once all have left it. All must enter it, and
        it must not communicate.

        Raises:
            SharedFailure: replaces another exception if there are several processes.
        """
        if self.world == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Exception as error:
            failed = error
        messages = self.gather(_message(failed))
        if any(messages):
            ranks = {message: rank for rank, message in reversed(list(enumerate(messages))) if message}
            everywhere = len(ranks) == 1 and all(messages)
            text = "; ".join(
                m if everywhere else f"process {r} of {self.world}: {m}" for m, r in ranks.items()
            )
            raise SharedFailure(text) from failed

    def failure(self, message: str) -> CellError:
        """A failure that every process detects by itself at the same point."""
        return CellError(message) if self.world == 1 else SharedFailure(message)

    @cached_property
    def _control(self) -> Any:
        import torch.distributed as dist

        return dist.new_group(backend="gloo", timeout=IDLE)


def _message(error: Exception | None) -> str | None:
    if error is None:
        return None
    return str(error) if isinstance(error, PerbenchError) else f"{type(error).__name__}: {error}"


@cache
def group() -> Group:
    """The processes that this one was started with; the first call connects to them.

    Raises:
        PerbenchError: they cannot be reached.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Group()
    import torch.distributed

    dist: Any = torch.distributed  # its type stubs are incomplete
    found = Group(int(os.environ["RANK"]), world)
    device = found.device
    try:
        store, rank, _ = next(dist.rendezvous("env://", timeout=STUCK))
        # A launcher that restarts processes keeps the store, with stale addresses.
        store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        gpu = device if device.type == "cuda" else None
        dist.init_process_group(store=store, rank=rank, world_size=world, timeout=STUCK, device_id=gpu)
        found.gather(None)
    except (ValueError, RuntimeError) as error:
        raise PerbenchError(
            f"process {found.rank} of {world} does not reach the others: {error}; start them together with "
            "torchrun or accelerate launch, or unset WORLD_SIZE"
        ) from error
    return found


def close() -> None:
    """Leave the process group at the end of a successful run."""
    if group().world > 1:
        import torch.distributed as dist

        dist.destroy_process_group()
        group.cache_clear()
