"""Checks the trainers and identifiers of a matrix and the settings of its trainings, by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perbench import plugins
from perbench.contracts.trainer import Trainer
from perbench.errors import PerbenchError, Problem, suggest
from perbench.specs.expand import given_by_source
from perbench.specs.faults import check
from perbench.specs.grid import grid, leaves, nest
from perbench.specs.listed import items, names_of_sources, sources_in
from perbench.specs.load import model_problems
from perbench.specs.matrix import TrainingSpec
from perbench.specs.yaml import Document, KeyPath, Place


def training_problems(document: Document) -> list[Problem]:
    settings: list[tuple[KeyPath, Any]] = [(("training",), document.data.get("training"))]
    for index, row in enumerate(items(document, "trainers")):
        if isinstance(row, dict):
            settings.append((("trainers", index, "training"), row.get("training")))
    problems: list[Problem] = []
    by_source = given_by_source(names_of_sources(document))
    for where, training in settings:
        for keys, value in leaves(training, whole=by_source).items() if isinstance(training, dict) else ():
            for item, place in _values(document, (*where, *keys), value, problems):
                problems += check(TrainingSpec, nest({keys: item}), lambda _, place=place: place)[1]  # type: ignore[misc]
    return problems


def _values(
    document: Document, where: KeyPath, value: Any, problems: list[Problem]
) -> Iterator[tuple[Any, Place]]:
    """`axis_values` of a value, or of each source's."""
    names = names_of_sources(document)
    if not isinstance(value, dict) or not given_by_source(names)(value):
        yield from axis_values(document, where, value, problems)
        return
    for name, one in value.items():
        here = (*where, name)
        if name not in names:
            fault = f"{where[-1]}: {name!r} is not among the sources.{suggest(str(name), names)}"
            problems.append(document.place(here).problem(fault))
        yield from axis_values(document, here, one, problems)
    row = document.data["trainers"][where[1]] if where[0] == "trainers" else {}
    limited = row.get("sources")
    for source in sources_in(document):
        own = {source.task, source.label()}
        if own.isdisjoint(value) and not (isinstance(limited, list) and own.isdisjoint(limited)):
            fault = (
                f"{where[-1]}: no value for source {source.label()!r}; give one, or name the row's `sources`"
            )
            problems.append(document.place(where).problem(fault))


def axis_values(
    document: Document, where: KeyPath, value: Any, problems: list[Problem]
) -> Iterator[tuple[Any, Place]]:
    """The values of a hyperparameter with their places; a list is an axis."""
    place = document.place(where)
    if not isinstance(value, list):
        yield value, place
        return
    name = where[-1]
    if not value:
        problems.append(place.problem(f"{name}: an empty axis; name at least one value or remove the key"))
    if any(item in value[:index] for index, item in enumerate(value)):
        problems.append(place.problem(f"{name}: the axis names a value twice; remove one"))
    for index, item in enumerate(value):
        yield item, document.place((*where, index))


def row_problems(document: Document, where: KeyPath, row: Any) -> list[Problem]:
    """A trainer or identifier: a name, or a mapping with a name and hyperparameters."""
    kind = str(where[0])[:-1]
    params = row.get("params", {}) if isinstance(row, dict) else {}
    name = row.get("name") if isinstance(row, dict) else row
    if not isinstance(name, str) or not isinstance(params, dict):
        return []
    try:
        cls = plugins.get(kind, name).load_class()
    except PerbenchError as error:
        return [document.place((*where, "name")).problem(str(error))]
    problems: list[Problem] = []
    given = set()
    values = _values if kind == "trainer" else axis_values
    for key, value in params.items():
        here = (*where, "params", key)
        for item, place in values(document, here, value, problems):
            problems += [
                place.problem(f"{name}: {fault}") for about, fault in cls.invalid({key: item}) if about == key
            ]
        given.add(key)
    required = [fault for about, fault in cls.invalid({}) if about not in given]
    problems += [document.place(where).problem(f"{name}: {fault}") for fault in required]
    problems += _row_sources(document, where, row)
    if problems:
        return problems
    points = _points(document, params)
    found = dict.fromkeys(fault for point in points for fault in cls.faults(point))
    for about, fault in found:
        key = about if about in params else next(iter(params))
        problems.append(document.place((*where, "params", key)).problem(f"{name}: {fault}"))
    return problems or _references(document, where, cls, points)


def _points(document: Document, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of a row's values, source by source."""
    by_source = given_by_source(names_of_sources(document))
    named = {key: value for key, value in params.items() if isinstance(value, dict) and by_source(value)}
    if not named:
        return grid(params)
    shared = {key: value for key, value in params.items() if key not in named}
    sources = dict.fromkeys(source for values in named.values() for source in values)
    own = [{key: values[source] for key, values in named.items() if source in values} for source in sources]
    return [point for one in own for point in grid({**shared, **one})]


def _row_sources(document: Document, where: KeyPath, row: Any) -> Iterator[Problem]:
    """Names in a trainer's `sources` that are none of the matrix's."""
    names = names_of_sources(document)
    given = row.get("sources") if isinstance(row, dict) else None
    for index, source in enumerate(given if isinstance(given, list) else ()):
        if isinstance(source, str) and source not in names:
            fault = f"sources: {source!r} is not among the matrix's.{suggest(source, names)}"
            yield document.place((*where, "sources", index)).problem(fault)


def _references(
    document: Document, where: KeyPath, cls: type[Any], points: list[dict[str, Any]]
) -> list[Problem]:
    """Unavailable frozen reference models, at the hyperparameter that names them."""
    problems: list[Problem] = []
    for point in points if issubclass(cls, Trainer) else []:
        model = cls(**point).reference()
        if model is not None and model != "initial":
            keys = [key for key, value in point.items() if value == model]
            problems += model_problems(model, document.place((*where, "params", *keys[:1])))
    return problems
