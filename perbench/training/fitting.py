"""When memory runs out: what says so, and how much smaller the micro-batches become."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.lm.contrast import batches


def ran_out_of_memory(error: Exception) -> bool:
    """Whether `error` is a device's or the machine's way to say so."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def lower(lengths: Sequence[int], budget: int) -> int | None:
    """`budget` halved until examples of these lengths fall into more micro-batches; None when each has one of
    its own already."""
    count = len(batches(lengths, budget))
    if count == len(lengths):
        return None
    while len(batches(lengths, budget)) == count:
        budget //= 2
    return budget
