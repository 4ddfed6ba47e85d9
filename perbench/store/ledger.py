"""Records requests to endpoints and their cost on disk, so that a kill loses no paid request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from perbench.disk.sealed import SealedJournal
from perbench.progress import counted
from perbench.store.record import EndpointUse

COUNTS = (
    "requests",
    "answers",
    "reused",
    "unmetered",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "thoughts",
    "replaced",
)

Price = Callable[[str, EndpointUse], tuple[float, str] | None]
"""The cost of a model's answers and its currency; None if unknown."""
LOST = "lost"
"""Key of a line with the number of damaged entries that were dropped."""
ENTRIES_LOST = "more was asked of endpoints than is counted; damaged entries of endpoints.jsonl were lost"


class Ledger:
    """Entries of all threads, appended to a file (None: kept in memory) as they arise: a request before it is
    sent, its answer when it arrives. Entries of earlier starts count; damaged ones are left out, and `lost`
    counts them."""

    def __init__(self, journal: SealedJournal | None = None) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._totals: dict[str, EndpointUse] = {}
        self.lost = 0
        if journal is None:
            return
        found = journal.read()
        kept = []
        for row in [*found.rows, *found.later]:
            try:
                self.lost += row.pop(LOST, 0)
                if row:
                    self._count(row["model"], EndpointUse(**{k: v for k, v in row.items() if k != "model"}))
                    kept.append(row)
            except (KeyError, TypeError, ValueError):  # from an older perbench, without seals
                self.lost += 1
        self.lost += found.lost - len(found.later)
        if len(kept) < len(found.rows) or found.lost:
            journal.rewrite([*([{LOST: self.lost}] if self.lost else []), *kept])
        elif found.torn:
            journal.cut(found)

    def add(self, model: str, use: EndpointUse) -> None:
        """Record an entry, durably."""
        with self._lock:
            self._count(model, use)
            if self._journal is not None:
                self._journal.append([{"model": model, **use.model_dump(exclude_defaults=True)}])

    def notes(self) -> list[str]:
        """A caveat if entries were lost."""
        return [f"{ENTRIES_LOST}: {self.lost}"] if self.lost else []

    def totals(self, price: Price) -> dict[str, EndpointUse]:
        """All entries by model, with their cost; without cost if tokens of some answers were not reported."""
        found = {}
        for model, use in sorted(self._totals.items()):
            money = None if use.unmetered else price(model, use)
            cost = {} if money is None else dict(zip(("cost", "currency"), money, strict=True))
            found[model] = use.model_copy(update=cost)
        return found

    def _count(self, model: str, use: EndpointUse) -> None:
        self._totals[model] = added([self._totals.get(model, EndpointUse()), use])


def added(uses: Iterable[EndpointUse]) -> EndpointUse:
    """The sum of the counts and the union of the names, without cost."""
    found = list(uses)
    counts = {name: sum(getattr(use, name) for use in found) for name in COUNTS}
    return EndpointUse(
        served=sorted({name for use in found for name in use.served}),
        unsent=sorted({name for use in found for name in use.unsent}),
        **counts,
    )


def caveats(uses: Mapping[str, EndpointUse]) -> list[str]:
    """Caveats about each model's answers: another name, thoughts left out, sampling not sent."""
    found = []
    for model, use in uses.items():
        if use.served:
            found.append(f"{model}: the server calls it {', '.join(use.served)}")
        if use.thoughts:
            found.append(
                f"{model}: {counted(use.thoughts, 'answer')} began with a thought, which is left out"
            )
        if use.replaced:
            found.append(
                f"{model}: {counted(use.replaced, 'answer')} with U+FFFD in place of half a character"
            )
        if use.unsent:
            found.append(f"{model}: {', '.join(use.unsent)} not sent; the server's own setting holds")
    return found
