"""What training costs beside the baseline, where both were measured on the same kind of machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perbench.contracts.results import Matrix, ModelRow
from perbench.site.rows import Baselines
from perbench.store import CellRecord

MACHINE = ("device", "platform", "cpus", "threads", "processes", "precision")
"""Keys of an environment on which the speed of a training depends."""
UNEVEN = 2.0
"""Factor between a method's ratios of time above which they get a caveat."""


@dataclass(frozen=True)
class Cost:
    """Ratios to the baseline's training: of seconds, and of tokens read. None without a pair of trainings to
    compare; `why` then says why there is no ratio of seconds. `trainings` are the pairs behind `seconds`,
    `ends` the lowest and the highest of their own ratios."""

    seconds: float | None
    tokens: float | None
    trainings: int = 0
    why: str = ""
    ends: tuple[float, float] | None = None

    @property
    def uneven(self) -> bool:
        """Whether the ratios of seconds differ so much that something else slowed some of the trainings."""
        return self.ends is not None and self.ends[1] >= UNEVEN * self.ends[0]


def cost(rows: Sequence[ModelRow], matrix: Matrix) -> Cost:
    """Of a method's trainings by source and seed, each beside the baseline's of that source and seed."""
    bases = Baselines((row for row, _ in matrix.rows), matrix.baseline)
    pairs = [
        (mine, theirs)
        for row in rows
        if (base := bases.of(row)) is not None
        for mine, theirs in _by_seed(matrix.trained.get(row, ()), matrix.trained.get(base, ()))
    ]
    alike = [(mine, theirs) for mine, theirs in pairs if machine(mine) == machine(theirs)]
    each = [
        mine.seconds / theirs.seconds for mine, theirs in alike if mine.seconds > 0 and theirs.seconds > 0
    ]
    why = "" if alike else "other machines" if pairs else "no training beside the baseline's"
    return Cost(
        seconds=_ratio((mine.seconds, theirs.seconds) for mine, theirs in alike),
        tokens=_ratio((tokens_read(mine), tokens_read(theirs)) for mine, theirs in pairs),
        trainings=len(alike),
        why=why,
        ends=(min(each), max(each)) if each else None,
    )


def machine(record: CellRecord) -> Mapping[str, object]:
    """The kind of machine that a cell ran on, as far as its record says."""
    return {key: record.environment.get(key) for key in MACHINE}


def _by_seed(
    mine: Sequence[CellRecord], theirs: Sequence[CellRecord]
) -> Iterable[tuple[CellRecord, CellRecord]]:
    others = {record.labels.seed: record for record in theirs if record.status == "done"}
    return (
        (record, others[record.labels.seed])
        for record in mine
        if record.status == "done" and record.labels.seed in others
    )


def tokens_read(record: CellRecord) -> int:
    """Of a training, in all passes, with and without the persona."""
    return record.tokens.get("total", 0) + record.tokens.get("counterfactual", 0)


def _ratio(pairs: Iterable[tuple[float, float]]) -> float | None:
    found = list(pairs)
    mine, theirs = (sum(pair[side] for pair in found) for side in (0, 1))
    return mine / theirs if mine > 0 and theirs > 0 else None
