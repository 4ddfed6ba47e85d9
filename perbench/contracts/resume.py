"""The one loop over a cell's batches: make missing samples, append them, report progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perbench.contracts import missing
from perbench.errors import CellError
from perbench.progress import counted

if TYPE_CHECKING:
    from perbench.contracts.run import SampleStore
    from perbench.progress import Tick

Sample = Mapping[str, Any]
"""A stored sample: JSON values, among them a unique "id" and the "user"; one that is not of the test split
has another "split". Each protocol types its own."""

NEEDED = ("id", "user")


@dataclass(frozen=True)
class Batch:
    """Samples made together. `make` gets all stored samples by id, and returns one sample for each of `ids`,
    in order; an incomplete batch is made again as a whole."""

    ids: Sequence[str]
    make: Callable[[Mapping[str, Sample]], Sequence[Sample]]


@dataclass
class Made:
    """The samples made by a call of `resume`, including those already stored, and the seconds it took."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0


def resume(
    batches: Sequence[Batch], store: SampleStore, tick: Tick, *, planned: Sequence[str], most_missing: float
) -> Made:
    """Make every incomplete batch and append its missing samples. A run that was killed and restarted stores
    the same samples as an uninterrupted one.

    Args:
        planned: the ids of a finished cell's samples.
        most_missing: maximum share of samples without an answer.

    Raises:
        CellError: an id is planned twice; the batches do not match `planned`, or a batch's samples its ids;
            or more answers are missing than the task allows.
    """
    _same(planned, [*dict.fromkeys(planned)], "sample_ids()", "a set of ids")
    _same([name for batch in batches for name in batch.ids], planned, "batches()", "sample_ids()")
    stored: dict[str, Sample] = {sample["id"]: sample for sample in store.samples()}
    missing.check(list(stored.values()), len(planned), most_missing)
    tick(len(stored), len(planned), {})
    found = Made()
    for batch in batches:
        if all(name in stored for name in batch.ids):
            continue
        begun = time.perf_counter()
        made = batch.make(stored)
        spent = time.perf_counter() - begun
        for sample in made:
            if absent := [key for key in NEEDED if key not in sample]:
                raise CellError(
                    f"make() gives a sample without {', '.join(absent)}; it holds {', '.join(sample)}"
                )
        _same([sample["id"] for sample in made], batch.ids, "make()", "its batch")
        due = [sample for sample in made if sample["id"] not in stored]
        store.append(due)
        stored.update((sample["id"], sample) for sample in due)
        found.samples += made
        found.seconds += spent
        missing.check(list(stored.values()), len(planned), most_missing)
        written = sum(sample.get("new_tokens", 0) for sample in made)
        tick(
            len(stored), len(planned), {"tok/s": written / spent} if written else {"ex/s": len(made) / spent}
        )
    return found


def _same(found: Sequence[str], wanted: Sequence[str], what: str, where: str) -> None:
    extra, lacking = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
    for names, verb, other in ((extra, "gives", f"that {where} does not"), (lacking, "lacks", f"of {where}")):
        if names:
            first = ", ".join(map(repr, list(names)[:3]))
            raise CellError(f"{what} {verb} {counted(names.total(), 'sample id')} {other}: {first}")
