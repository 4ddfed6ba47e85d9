"""The one loop over a cell's batches: make missing samples, append them, report progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    in order; an incomplete batch is made again as a whole.

    Samples of a `streamed` batch depend on no other: `make` yields only those that are not stored, in any
    order, and each is stored as it comes."""

    ids: Sequence[str]
    make: Callable[[Mapping[str, Sample]], Iterable[Sample]]
    streamed: bool = False


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
        spent, written, made = 0.0, 0, 0
        begun = time.perf_counter()
        for part in _parts(batch, stored):
            spent += time.perf_counter() - begun
            due = [sample for sample in part if sample["id"] not in stored]
            store.append(due)
            stored.update((sample["id"], sample) for sample in due)
            found.samples += part
            if any(missing.reason(sample) is not None for sample in part):
                missing.check(list(stored.values()), len(planned), most_missing)
            made += len(part)
            written += sum(sample.get("new_tokens", 0) for sample in part)
            speed = {"tok/s": written / spent} if written else {"ex/s": made / spent}
            tick(len(stored), len(planned), speed)
            begun = time.perf_counter()
        found.seconds += spent
    if any(batch.streamed for batch in batches):
        store.arrange([name for batch in batches for name in batch.ids])
    return found


def _parts(batch: Batch, stored: Mapping[str, Sample]) -> Iterator[list[Sample]]:
    """The samples that are stored together, checked."""
    if not batch.streamed:
        made = [_whole(sample) for sample in batch.make(stored)]
        _same([sample["id"] for sample in made], batch.ids, "make()", "its batch")
        yield made
        return
    left = dict.fromkeys(name for name in batch.ids if name not in stored)
    for sample in batch.make(stored):
        if _whole(sample)["id"] not in left:
            _same([sample["id"]], (), "make()", "its batch")
        del left[sample["id"]]
        yield [sample]
    _same((), list(left), "make()", "its batch")


def _whole(sample: Sample) -> Sample:
    if absent := [key for key in NEEDED if key not in sample]:
        raise CellError(f"make() gives a sample without {', '.join(absent)}; it holds {', '.join(sample)}")
    return sample


def _same(found: Sequence[str], wanted: Sequence[str], what: str, where: str) -> None:
    extra, lacking = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
    for names, verb, other in ((extra, "gives", f"that {where} does not"), (lacking, "lacks", f"of {where}")):
        if names:
            first = ", ".join(map(repr, list(names)[:3]))
            raise CellError(f"{what} {verb} {counted(names.total(), 'sample id')} {other}: {first}")
