"""Loads specs by name, path or hub name, reporting all faults of the files at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from perbench import plugins
from perbench.errors import PerbenchError, Problem, SpecError, suggest
from perbench.shapes.base import Named, Strict
from perbench.shapes.fields import MODEL, RUBRIC, marked_keys
from perbench.shapes.model import WEIGHTS, ModelSpec
from perbench.shapes.reported import ReportedTable
from perbench.shapes.rubric import Rubric
from perbench.shapes.task import TaskSpec
from perbench.specs import yaml
from perbench.specs.compose import engines, keys_under, model_spec, protocols, sources, task_spec
from perbench.specs.faults import check, empties, path_fault
from perbench.specs.yaml import Document, Place

S = TypeVar("S", bound=Strict)


SERVING = Place("engine")
Given = Mapping[str, tuple[Any, Place]]
"""Values by dotted key path, and where each is given."""


def load_task(
    name_or_path: str | Path,
    *,
    data: Mapping[str, Path] = {},
    shared: Mapping[str, Any] = {},
    overrides: Mapping[str, Any] = {},
) -> Named[TaskSpec]:
    """A task by name or YAML file.

    Args:
        data: local folders by family; `{"longlamp": PATH}` sets `data.data_dir` of the tasks that read it.
        shared: values by dotted key path, `{"dialogue.turns": 3}`, for all rows of a matrix with this task.
        overrides: those of one row. If they give another `protocol`, the keys of the file and of `shared`
            that only the former one reads are dropped.

    Raises:
        SpecError: every fault of the file and the overrides.
        PerbenchError: there is no such task.
    """
    groups = [
        {key: (value, Place(f"override {key}")) for key, value in given.items()}
        for given in (shared, overrides)
    ]
    named, problems = checked_task(name_or_path, data=data, shared=groups[0], overrides=groups[1])
    if named is None:
        raise SpecError(problems)
    return named


def checked_task(
    name_or_path: str | Path,
    *,
    data: Mapping[str, Path] = {},
    shared: Mapping[str, tuple[Any, Place]] = {},
    overrides: Mapping[str, tuple[Any, Place]] = {},
) -> tuple[Named[TaskSpec] | None, list[Problem]]:
    """As `load_task`, returning the faults; each override has its place."""
    whole = task_spec()
    name, path, document = _task_document(name_or_path)
    problems = [
        place.problem(f"task {name}: {fault}")
        for place, fault in _applied(whole, document, shared, overrides)
        if fault is not None
    ]
    family = family_of(name, _family_in(whole, document))
    folders = {plugins.family_name(given): folder for given, folder in data.items()}
    if family in folders:
        option, folder = f"--data {family}={folders[family]}", folders[family].expanduser().absolute()
        fault = put(document, ["data", "data_dir"], str(folder), Place(option))
        if fault:
            problems.append(Problem(option, None, f"task {name}: {fault}"))
    spec, found = _checked(whole, document)
    if found and (shared or overrides):
        unchanged = _task_document(name_or_path)[2]
        own = _checked(whole, unchanged)[1]
        found = [
            fault
            if fault in own or fault.path != path
            else _brought(fault, name, name_or_path, shared, overrides)
            for fault in found
        ]
    problems += found
    for keys in marked_keys(whole, MODEL):
        model = yaml.at(document.data, keys)
        if isinstance(model, str):
            problems += model_problems(model, document.place(keys))
    if spec is None or problems:
        return None, problems
    return Named(name, spec, path), []


def _checked(whole: type[TaskSpec], document: Document) -> tuple[TaskSpec | None, list[Problem]]:
    """The task in a document. A rubric's name is replaced by the content of its file, with its lines."""
    problems: list[Problem] = []
    for keys in marked_keys(whole, RUBRIC):
        name = yaml.at(document.data, keys)
        plugin = plugins.discover("rubric").get(("rubric", name)) if isinstance(name, str) else None
        if plugin is not None:
            try:
                content = yaml.read(plugin.path)
            except SpecError as error:
                problems += error.problems
                continue
            yaml.at(document.data, keys[:-1])[keys[-1]] = content.data
            document.places |= {(*keys, *path): place for path, place in content.places.items() if path}
    spec, found = check(whole, document.data, document.place)
    return spec, problems + found


def _override(whole: type[TaskSpec], document: Document, key: str, value: Any, place: Place) -> str | None:
    """Set the value at a dotted key path; returns the fault, if any."""
    keys = key.split(".")
    if fault := path_fault(whole, key):
        return fault
    if value == {} and empties(whole, key, there=yaml.at(document.data, tuple(keys)) is not None):
        return f"{key}: {{}} changes nothing; name keys in it, or remove it"
    return put(document, keys, value, place)


def _applied(whole: type[TaskSpec], document: Document, *groups: Given) -> Iterator[tuple[Place, str | None]]:
    """Set values, group by group: where each was given, and its fault. A group with another `protocol` first
    drops the keys that stand in the document and only the former one reads."""
    for group in groups:
        if "protocol" in group:
            _change_protocol(whole, document, group["protocol"][0])
        for key, (value, place) in sorted(group.items(), key=lambda one: one[0] != "protocol"):
            yield place, _override(whole, document, key, value, place)


def _change_protocol(whole: type[TaskSpec], document: Document, name: Any) -> None:
    old, new = (protocols().get(one) for one in (document.data.get("protocol"), name) if isinstance(one, str))
    if old is None or new is None or old is new:
        return
    kept = keys_under(new, whole)
    _drop(document.data, kept, keys_under(old, whole) - kept)
    if new.headline is not None:
        document.data["headline"] = new.headline


def _drop(section: dict[str, Any], kept: Collection[str], dropped: Collection[str], under: str = "") -> None:
    """Remove the keys that are among `dropped`, and not among `kept`."""
    for name in [*section]:
        key, inner = f"{under}{name}", section[name]
        if key in kept:
            continue
        if isinstance(inner, dict) and any(one.startswith(f"{key}.") for one in kept):
            _drop(inner, kept, dropped, f"{key}.")
        elif any(f"{key}.".startswith(f"{one}.") or one.startswith(f"{key}.") for one in dropped):
            del section[name]


def _brought(fault: Problem, name: str, name_or_path: str | Path, *groups: Given) -> Problem:
    """A fault that a task has only because of its overrides: reported at the first that causes it, not at the
    conflicting line of the task's file."""
    whole, document = task_spec(), _task_document(name_or_path)[2]
    given = {key for group in groups for key in group}
    place = Place(str(name_or_path))
    for place, _ in _applied(whole, document, *groups):  # noqa: B007
        if fault.message in (one.message for one in _checked(whole, document)[1]):
            break
    chosen = fault.message.partition(" ")[0]  # which an override may have removed from the choice
    too = f" Also set {chosen}." if chosen in ("headline", "prompt") and chosen not in given else ""
    return place.problem(f"task {name}: {fault.message}{too}")


def _family_in(whole: type[TaskSpec], document: Document) -> str | None:
    """`compose.family_in` of a task's file, even if it has other faults."""
    data: Any = whole.model_fields["data"].annotation
    keys = [cls.key for cls in sources(data) if cls.family]
    named = (yaml.at(document.data, ("data", key)) for key in keys)
    return next((value for value in named if isinstance(value, str)), None)


def family_of(name: str, family: str | None) -> str:
    """The name of a task's data for --data (with dashes, too): the family in `data`, else the task's
    folder."""
    return plugins.family_name(family if family is not None else name.partition("/")[0])


def _task_document(name_or_path: str | Path) -> tuple[str, Path | None, Document]:
    """A task's name, file and content; a target known by a protocol's prefix has no file."""
    text = str(name_or_path)
    for cls in protocols().values() if ":" in text else ():
        if cls.prefix is not None and text.startswith(cls.prefix):
            values = cls.values(text.removeprefix(cls.prefix))
            return text, None, Document(values, {(): Place(text)})
    name, path = find("task", name_or_path)
    return name, path, yaml.read(path)


def load_model(name: str, serving: Mapping[str, Any] = {}, place: Place = SERVING) -> Named[ModelSpec]:
    """A model by its name in the registry, its YAML file, a local folder, a name with an engine's prefix
    (`openai/<model>`), or its hub name `owner/name`.

    Args:
        serving: `MatrixSpec.serving`, which replaces these keys of a model with weights; given at `place`.

    Raises:
        SpecError: every fault of the YAML file.
        PerbenchError: there is no such model; the message has a suggestion.
    """
    if name.endswith((".yaml", ".yml")) or ("model", name) in plugins.discover("model"):
        name, path = find("model", name)
        document = yaml.read(path)
        _serve(document, serving, place)
        spec, problems = check(model_spec(), document.data, document.place)
        if spec is None:
            raise SpecError(problems)
        return Named(name, spec, path)
    if Path(name).is_dir():
        folder = {"summary": "local folder", "path": str(Path(name).resolve())}
        return _bare(name.rstrip("/"), folder, serving, place)
    for cls in engines().values():
        if cls.prefix is not None and name.startswith(cls.prefix) and name != cls.prefix:
            return _bare(name, cls.values(name.removeprefix(cls.prefix)), serving, place)
    if re.fullmatch(r"[\w.-]*\w[\w.-]*/[\w.-]*\w[\w.-]*", name):
        return _bare(name, {"summary": "from the hub", "hub": name}, serving, place)
    raise PerbenchError(
        f"unknown model {name!r}: not in the registry, a local folder or a hub name owner/name."
        + suggest(name, plugins.names("model"))
    )


def _bare(name: str, values: dict[str, Any], serving: Mapping[str, Any], place: Place) -> Named[ModelSpec]:
    """A model without a file."""
    document = Document(values, {(): place})
    _serve(document, serving, place)
    spec, problems = check(model_spec(), document.data, document.place)
    if spec is None:
        raise SpecError(problems)
    return Named(name, spec, None)


def _serve(document: Document, serving: Mapping[str, Any], place: Place) -> None:
    """Let another engine load a model's weights: its keys are added, those of the others removed."""
    if not serving or not any(document.data.get(key) for key in WEIGHTS):
        return
    chosen = engines().get(serving["engine"])
    try:
        plugins.get("engine", serving["engine"])
    except PerbenchError as error:
        raise SpecError([place.problem(str(error))]) from None
    if chosen is not None and not chosen.weights:
        able = ", ".join(name for name, cls in engines().items() if cls.weights)
        fault = f"engine {serving['engine']} cannot load a model's weights; engines that can: {able}"
        raise SpecError([place.problem(fault)])
    keys = serving.get(serving["engine"])
    if chosen is not None and keys and serving["engine"] not in chosen.Keys.model_fields:
        given = ", ".join(map(str, keys))
        fault = (
            f"engine {serving['engine']} has no keys (got {given}); remove them, or name another by --engine"
        )
        raise SpecError([place.problem(fault)])
    for name, cls in engines().items():
        if name != serving["engine"]:
            for key in cls.Keys.model_fields:
                document.data.pop(key, None)
    for key, value in serving.items():
        if isinstance(value, dict):
            for inner, own in value.items():
                put(document, [key, inner], own, place)
        else:
            put(document, [key], value, place)


def load_rubric(name_or_path: str | Path) -> Named[Rubric]:
    """A rubric by name or YAML file; raises as `_load`."""
    return _load("rubric", Rubric, name_or_path)


def load_reported(name_or_path: str | Path) -> Named[ReportedTable]:
    """A table of reported numbers by name or YAML file; raises as `_load`."""
    return _load("reported", ReportedTable, name_or_path)


def all_reported() -> list[Named[ReportedTable]]:
    """All tables of reported numbers, by name; raises as `_load`."""
    return [load_reported(name) for name in plugins.names("reported")]


def _load(kind: str, shape: type[S], name_or_path: str | Path) -> Named[S]:
    """
    Raises:
        SpecError: every fault of the file.
        PerbenchError: no such plugin.
    """
    name, path = find(kind, name_or_path)
    document = yaml.read(path)
    spec, problems = check(shape, document.data, document.place)
    if spec is None:
        raise SpecError(problems)
    return Named(name, spec, path)


def find(kind: str, name_or_path: str | Path) -> tuple[str, Path]:
    """(name, file) of a spec given by name or by its YAML file.

    Raises:
        PerbenchError: there is neither.
    """
    text = str(name_or_path)
    if not text.endswith((".yaml", ".yml")):
        return text, plugins.get(kind, text).path
    path = Path(text)
    for plugin in plugins.discover(kind).values() if path.exists() else ():
        if plugin.path.samefile(path):
            return plugin.name, path
    return path.stem, path


def put(document: Document, keys: Sequence[str], value: Any, place: Place) -> str | None:
    """Set a value deep in a document; returns the obstacle, if any."""
    inner = document.data
    for depth, key in enumerate(keys[:-1], 1):
        if inner.get(key) is None:
            inner[key] = {}
            document.places[tuple(keys[:depth])] = place
        inner = inner[key]
        if not isinstance(inner, dict):
            return f"{'.'.join(keys[:depth])} is {yaml.describe(inner)} and has no key {keys[depth]!r}"
    inner[keys[-1]] = deepcopy(value)  # later changes must not reach the caller's value
    whole = tuple(keys)
    document.places = {path: at for path, at in document.places.items() if path[: len(whole)] != whole}
    document.places[whole] = place
    return None


def model_problems(
    name: str, place: Place, serving: Mapping[str, Any] = {}, served: Place | None = None
) -> list[Problem]:
    """Faults of a model named at `place`; `serving` as in `load_model`, given at `served`."""
    try:
        load_model(name, serving, served or place)
    except SpecError as error:
        return list(error.problems)
    except PerbenchError as error:
        return [place.problem(str(error))]
    return []
