"""Memory of this process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def growing() -> Iterator[None]:
    """Around what makes many objects and drops few, such as reading 20,000 records: the garbage collector
    would look at all of them again and again, a quarter of the time. Cycles dropped meanwhile are freed
    afterwards, by its next full collection."""
    before, frozen = gc.isenabled(), gc.get_freeze_count()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.freeze()  # what is new is old at once: or the next collection, due now, looks at it all
            if not frozen:
                gc.unfreeze()
            gc.enable()


@contextmanager
def settled() -> Iterator[None]:
    """Around work that drops little of what there is already: the collector looks only at what is new."""
    _within.append(True)
    gc.freeze()
    try:
        yield
    finally:
        _within.pop()
        if not _within:
            gc.unfreeze()


_within: list[bool] = []
"""One entry per active `settled`; the outermost unfreezes."""
