"""Detects out-of-memory errors and chooses smaller micro-batches."""

from __future__ import annotations

from collections.abc import Sequence

from perbench.lm.padding import batches


def ran_out_of_memory(error: Exception) -> bool:
    """Whether `error` reports that the device or machine is out of memory."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def lower(lengths: Sequence[int], budget: int) -> int | None:
    """`budget` halved until examples of these lengths form more micro-batches; None if each has its own
    already."""
    count = len(batches(lengths, budget))
    if count == len(lengths):
        return None
    while len(batches(lengths, budget)) == count:
        budget //= 2
    return budget
