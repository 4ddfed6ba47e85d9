"""Which trainings of a matrix `select` chooses from: those that differ only in the values of its axes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perbench.disk.digests import canonical_digest
from perbench.errors import Problem, suggest
from perbench.specs.expand import Training, trainings
from perbench.specs.grid import leaves, nest
from perbench.specs.matrix import MatrixSpec
from perbench.specs.yaml import Document


@dataclass(frozen=True)
class Candidacy:
    """A training's part in a choice: `values` along the axes, by axis; `contest` is equal for the trainings
    from which one is chosen, each for every model."""

    contest: str
    values: Mapping[str, Any]


def candidacies(spec: MatrixSpec, found: Sequence[Training]) -> list[Candidacy | None]:
    """Of each training; None for those without a rival."""
    if spec.select is None:
        return [None] * len(found)
    axes = spec.select.axes
    made = [_candidacy(one, axes) for one in found]
    rivals: dict[str, set[str]] = defaultdict(set)
    for one in made:
        rivals[one.contest].add(canonical_digest(dict(one.values)))
    return [one if len(rivals[one.contest]) > 1 else None for one in made]


def _candidacy(one: Training, axes: Sequence[str]) -> Candidacy:
    params = dict(one.trainer.params)
    settings = leaves(one.spec.model_dump(mode="json"))
    paths = {axis: tuple(axis.split(".")) for axis in axes}
    values = {
        axis: params.pop(axis) if axis in params else settings.pop(path)
        for axis, path in paths.items()
        if axis in params or path in settings
    }
    rest = [one.source.label(), one.trainer.name, params, nest(settings)]
    return Candidacy(canonical_digest(rest), values)


def without_idle_axes(spec: MatrixSpec) -> MatrixSpec:
    """The matrix without the axes of its `select` along which sets have left nothing to choose."""
    if spec.select is None:
        return spec
    varied = _varied(spec, [*trainings(spec)])
    axes = [axis for axis in spec.select.axes if axis in varied]
    select = spec.select.model_copy(update={"axis": axes}) if axes else None
    return spec if len(axes) == len(spec.select.axes) else spec.model_copy(update={"select": select})


def select_problems(spec: MatrixSpec, document: Document) -> Iterator[Problem]:
    """Axes along which there is nothing to choose."""
    if spec.select is None:
        return
    found = [*trainings(spec)]
    varied = _varied(spec, found)
    listed = {name for one in found for name in (*one.varied, *one.trainer.params)}
    for axis in spec.select.axes:
        if axis not in varied:
            yield document.place(("select", "axis")).problem(
                f"select.axis: no trainer has several values of {axis!r} on one source; list them, or remove "
                f"select.{suggest(axis, listed - {axis})}"
            )


def _varied(spec: MatrixSpec, found: Sequence[Training]) -> set[str]:
    """The axes along which some candidates differ."""
    held: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in candidacies(spec, found):
        for axis, value in one.values.items() if one is not None else ():
            assert one is not None
            held[axis][one.contest].add(canonical_digest(value))
    return {axis for axis, contests in held.items() if any(len(values) > 1 for values in contests.values())}
