"""Chooses, by their scores on their own source, the trained models that go on to the targets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from perbench.errors import PerbenchError
from perbench.matrix.cells import Cell
from perbench.progress import counted
from perbench.specs.compose import owner_of
from perbench.specs.grid import leaves
from perbench.specs.matrix import MatrixSpec, SelectSpec
from perbench.store import CellRecord, DamagedRecord, RunDir
from perbench.store.selection import Candidate, Choice

Records = Callable[[Cell], CellRecord | None]


def recorded(run: RunDir) -> Records:
    """A cell's record; None without one, or if it is damaged."""

    def record(cell: Cell) -> CellRecord | None:
        try:
            return run.cell(cell.kind, cell.identity).record()
        except DamagedRecord:
            return None

    return record


def choices(
    spec: MatrixSpec, cells: Sequence[Cell], records: Records, *, retry: bool = False
) -> list[Choice]:
    """The choices of a matrix, made or not, in its order; settings given for each source among them.

    Args:
        retry: failed cells will run again, so that their choices are not made yet.

    Raises:
        PerbenchError: no value of the metric is better than another.
    """
    contests: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    given: dict[str, list[Cell]] = defaultdict(list)
    scoring: dict[str, Cell] = {}
    for cell in cells:
        if cell.candidacy is not None and cell.kind == "train":
            contests[cell.labels.model, cell.candidacy.contest].append(cell)
        elif cell.candidacy is not None and cell.needs is not None:
            scoring[cell.needs.identity] = cell
        if cell.by_source:
            given[cell.labels.model_copy(update={"seed": 0}).model_dump_json()].append(cell)
    found = [_given(held) for held in given.values()]
    if spec.select is not None:
        for held in contests.values():
            found.append(_Contest(spec.select, held, scoring, records).choice(retry))
    return found


def chosen(found: Sequence[Choice]) -> frozenset[str]:
    """The identities of the trainings that were chosen."""
    return frozenset(name for one in found for name in (one.winner.trainings if one.winner else ()))


def any_of_each(found: Sequence[Choice]) -> frozenset[str]:
    """As `chosen`, with some candidate where there is no choice yet: to count what follows."""
    return frozenset(name for one in found for name in (one.winner or one.candidates[0]).trainings)


def _given(held: Sequence[Cell]) -> Choice:
    labels = held[0].labels
    values = {axis: value_of(held[0], axis) for axis in sorted(held[0].by_source)}
    candidate = Candidate(values=values, trainings=[cell.identity for cell in held])
    return Choice(
        model=labels.model,
        trainer=labels.trainer or "",
        source=labels.source or "",
        on="source",
        candidates=[candidate],
        chosen=0,
    )


def value_of(cell: Cell, axis: str) -> Any:
    """A training's value of a hyperparameter or training key."""
    if cell.trainer is not None and axis in cell.trainer.params:
        return cell.trainer.params[axis]
    assert cell.training is not None
    return leaves(cell.training.model_dump(mode="json"))[tuple(axis.split("."))]


@dataclass(frozen=True)
class _Contest:
    """The trainings of all candidates, by candidate and seed; the evaluations by their identities."""

    select: SelectSpec
    trainings: Sequence[Cell]
    scoring: Mapping[str, Cell]
    records: Records

    def choice(self, retry: bool) -> Choice:
        labels, scoring = self.trainings[0].labels, self.scoring[self.trainings[0].identity]
        by = self.select.by
        metric = scoring.task.spec.headline if by == "headline" else by
        better = owner_of(scoring.task.spec).scale(metric).better
        if better is None:
            raise PerbenchError(f"select.by: no value of {metric} is better than another; name another")
        made = Choice(
            model=labels.model,
            trainer=labels.trainer or "",
            source=labels.source or "",
            on=self.select.on,
            metric=metric,
            better=better,
            candidates=[*self._candidates(metric)],
        )
        cells = [self.scoring[cell.identity] for cell in self.trainings]
        found = [self.records(cell) for cell in cells]
        if any(one is None or (retry and one.status == "failed") for one in found):
            return made
        return decided(made)

    def _candidates(self, metric: str) -> Iterator[Candidate]:
        held: dict[str, list[Cell]] = defaultdict(list)
        for cell in self.trainings:
            held[repr(cell.candidacy)].append(cell)
        for cells in held.values():
            assert cells[0].candidacy is not None
            scores: dict[str, float] = {}
            for cell in cells:
                record = self.records(self.scoring[cell.identity])
                if record is not None and record.status == "done" and metric in record.metrics:
                    value = record.metrics[metric].value
                    scores |= {str(cell.seed): value} if value is not None else {}
            yield Candidate(
                values=dict(cells[0].candidacy.values),
                trainings=[cell.identity for cell in cells],
                cells=[self.scoring[cell.identity].identity for cell in cells],
                scores=scores,
            )


def decided(made: Choice) -> Choice:
    """The choice, by the mean over the seeds for which every candidate has a score.

    A candidate without a score is left out. If no seed is common to the others, those with the fewest scores
    are left out, too, the last first. Of equal candidates, the first in the matrix's order is chosen.
    """
    compared = [place for place, one in enumerate(made.candidates) if one.scores]
    left_out = {place: "failed" for place, one in enumerate(made.candidates) if not one.scores}
    while compared and not (common := _common(made, compared)):
        fewest = min(reversed(compared), key=lambda place: len(made.candidates[place].scores))
        left_out[fewest] = "no seed in common with the others"
        compared.remove(fewest)
    candidates = [
        one.model_copy(update={"left_out": left_out[place]})
        if place in left_out
        else one.model_copy(update={"score": fmean(one.scores[seed] for seed in common)})
        for place, one in enumerate(made.candidates)
    ]
    notes = [*_left_out(candidates)]
    if not compared:
        notes.append("no candidate has a score")
        return made.model_copy(update={"candidates": candidates, "notes": notes})
    sign = -1 if made.better == "lower" else 1
    best = max(sign * (candidates[place].score or 0.0) for place in compared)
    equal = [place for place in compared if sign * (candidates[place].score or 0.0) == best]
    if len(equal) > 1:
        names = " and ".join(words(candidates[place].values) for place in equal)
        notes.append(f"{names} have the same score; the first was chosen")
    planned = len(made.candidates[0].trainings)
    if len(common) < planned:
        notes.append(f"compared over {counted(len(common), 'seed')} of {planned}, those that all have")
    seeds = sorted(map(int, common))
    changed = {"candidates": candidates, "chosen": equal[0], "seeds": seeds, "notes": notes}
    return made.model_copy(update=changed)


def _common(made: Choice, places: Sequence[int]) -> set[str]:
    return set.intersection(*({*made.candidates[place].scores} for place in places))


def _left_out(candidates: Sequence[Candidate]) -> Iterator[str]:
    for one in candidates:
        if one.left_out:
            yield f"{words(one.values)} was left out: {one.left_out}"


def words(values: Mapping[str, Any]) -> str:
    """ "learning_rate=2e-05"."""
    return ", ".join(f"{axis}={value}" for axis, value in values.items())


def reported(found: Sequence[Choice], said: set[str]) -> Iterator[str]:
    """A line for each choice that was made, but for those in `said`, to which it is added."""
    for one in found:
        if one.on == "source" or one.key in said or (one.winner is None and not one.notes):
            continue
        said.add(one.key)
        who = f"{one.trainer} on {one.source}, {one.model}"
        notes = f" ({'; '.join(one.notes)})" if one.notes else ""
        if one.winner is None:
            yield f"selection: {who}: none of {counted(len(one.candidates), 'candidate')}{notes}"
        else:
            split = "the validation split" if one.on == "val" else "the TEST split: biased upward"
            score = f"{one.metric} {one.winner.score:.4f} on {split}"
            yield f"selection: {who}: {words(one.winner.values)} of {len(one.candidates)}, {score}{notes}"
