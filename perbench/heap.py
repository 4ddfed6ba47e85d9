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
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            around = gc.get_freeze_count() > 0  # within `settled`, which unfreezes later
            gc.freeze()  # what is new is old at once: or the next collection, due now, looks at it all
            if not around:
                gc.unfreeze()
            gc.enable()


@contextmanager
def settled() -> Iterator[None]:
    """Around work that drops little of what there is already: the collector looks only at what is new."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
