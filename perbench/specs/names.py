"""Checks the names in a matrix (tasks, models, trainers, identifiers, hyperparameters) by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from perbench.errors import PerbenchError, Problem, SpecError, suggest
from perbench.shapes.base import Named
from perbench.shapes.task import TaskSpec
from perbench.specs import yaml
from perbench.specs.compose import owner_of, protocols
from perbench.specs.faults import path_fault
from perbench.specs.grid import grid, leaves
from perbench.specs.listed import items, names_of_sources, strings, task_names, task_rows
from perbench.specs.load import Given, checked_task, model_problems, put
from perbench.specs.matrix import MatrixSpec, TrainingSpec
from perbench.specs.methods import axis_values, row_problems, training_problems
from perbench.specs.readers import dropped, idle, idle_in_row, idle_sets
from perbench.specs.rows import is_axis
from perbench.specs.yaml import Document, KeyPath, Place

ENGINE = "--engine "
"""Of "--engine NAME", a change to a matrix that is not given by --set."""


def apply_sets(document: Document, sets: Sequence[str]) -> list[Problem]:
    """Apply "dotted.path=value", or "--engine NAME", to a matrix's document; returns their faults. Sets
    that leave out tasks also remove the file's overrides for them, its identifiers with the last target that
    uses them, values given for sources that are left out, and its baseline with the trainers."""
    problems = []
    before, touched = set(task_names(document)), set()
    sources = names_of_sources(document)
    for text in sets:
        if text.startswith(ENGINE):
            put(document, ["engine"], {"name": text.removeprefix(ENGINE)}, Place(text))
            continue
        place = Place(f"--set {text}")
        key, equals, value = text.partition("=")
        if not equals:
            problems.append(place.problem("expected PATH=VALUE, such as training.learning_rate=1e-4"))
            continue
        keys, fault = set_path(document, key.strip())
        if keys[0] in ("profile", "profiles"):
            fault = "a profile is chosen by --profile NAME"
        if keys[0] == "engine" and len(keys) > 1 and isinstance(named := document.data.get("engine"), str):
            put(document, ["engine"], {"name": named}, document.place(("engine",)))
        touched.add(keys[1] if keys[0] == "tasks" and len(keys) > 1 else keys[0])
        try:
            fault = fault or put(document, keys, yaml.parse_value(value, str(place.source)), place)
        except SpecError as error:
            problems += error.problems
        if fault:
            problems.append(place.problem(fault))
    overrides = document.data.get("tasks")
    if isinstance(overrides, dict) and "tasks" not in touched:
        for name in before.difference(task_names(document), touched).intersection(overrides):
            del overrides[name]
    if "sources" in touched:
        _leave_out(document, sources - names_of_sources(document))
    if "targets" in touched and "identifiers" not in touched and not _identifies(document):
        document.data.pop("identifiers", None)
    if "trainers" in touched and "baseline" not in touched:
        names = [row.get("name") if isinstance(row, dict) else row for row in items(document, "trainers")]
        baseline = document.data.get("baseline")
        if (baseline.get("trainer") if isinstance(baseline, dict) else baseline) not in names:
            document.data.pop("baseline", None)
    return problems


def _leave_out(document: Document, sources: frozenset[str]) -> None:
    """Remove the values that are given for some sources, and trainers that are for these only."""
    rows = [row for row in items(document, "trainers") if isinstance(row, dict)]
    for place in (document.data, *rows):
        for key in ("training", "params"):
            _without(place.get(key), sources)
    for row in rows:
        if isinstance(row.get("sources"), list):
            row["sources"] = [name for name in row["sources"] if name not in sources]
            if not row["sources"]:
                document.data["trainers"].remove(row)


def _without(values: Any, sources: frozenset[str]) -> None:
    for key, value in [*values.items()] if isinstance(values, dict) else ():
        _without(value, sources)
        if key in sources or (isinstance(value, dict) and not value):
            del values[key]


def _identifies(document: Document) -> bool:
    """Whether a target is of protocol identification, or is faulty and may have been meant to be."""
    for _, _, name, _ in task_rows(document, "targets"):
        try:
            task, _ = checked_task(name)
        except PerbenchError:
            return True
        if task is None or owner_of(task.spec).cells == "identify":
            return True
    return False


def set_path(document: Document, dotted: str) -> tuple[list[str], str | None]:
    """The keys of a dotted path into a matrix, and its fault, if any."""
    head, _, rest = dotted.partition(".")
    if head == "tasks" and rest:
        # A task's name may hold dots: use the one at the start of the path, else up to the first dot.
        names = [name for name in task_names(document) if rest.startswith(f"{name}.")]
        task = max(names, key=len, default=rest.partition(".")[0])
        return ["tasks", task, rest[len(task) + 1 :]], None
    keys = dotted.split(".")
    if head == "training" and rest:
        return keys, path_fault(TrainingSpec, rest)
    return keys, path_fault(MatrixSpec, dotted)


def name_problems(document: Document) -> list[Problem]:
    """Faults of the names in a matrix, whatever else is wrong with it."""
    problems = training_problems(document)
    serving, served = _serving(document)
    for index, name in strings(document, "models"):
        problems += model_problems(name, document.place(("models", index)), serving, served)
    for axis in ("trainers", "identifiers"):
        rows = items(document, axis)
        for index, row in enumerate(rows):
            if row in rows[:index]:
                problems.append(
                    document.place((axis, index)).problem(f"{axis}: names a row twice; remove one")
                )
            problems += row_problems(document, (axis, index), row)
    return problems + _tasks(document)


def _serving(document: Document) -> tuple[dict[str, Any], Place]:
    """`MatrixSpec.serving` of a matrix that may have faults, and where it is given."""
    given, place = document.data.get("engine"), document.place(("engine",))
    named = isinstance(given, str) or (isinstance(given, dict) and isinstance(given.get("name"), str))
    return MatrixSpec.model_construct(engine=given).serving if named else {}, place


def _tasks(document: Document) -> list[Problem]:
    problems: list[Problem] = []
    overrides = document.data.get("tasks")
    overrides = overrides if isinstance(overrides, dict) else {}
    named = set(task_names(document))
    for name in overrides:
        if name not in named:
            fault = f"tasks: {name!r} is neither a source nor a target; remove it or add it to targets."
            fault += suggest(name, named)
            problems.append(document.place(("tasks", name)).problem(fault))
    benchmarks, complete = [], True
    own_adapters = _own_adapters(document)
    idle_in: dict[str, list[dict[str, str]]] = {}
    axes: tuple[Literal["sources", "targets"], ...] = ("sources", "targets")
    for axis in axes:
        for row, where, name, changes in task_rows(document, axis):
            place = document.place(where)
            loaded = _variants(document, row, where, name, changes, overrides.get(name), problems)
            complete = complete and bool(loaded) and None not in loaded
            found = [idle(task.spec, axis, own_adapters=own_adapters) for task in loaded if task is not None]
            shared = overrides.get(name)
            idle_in.setdefault(name, []).extend(
                {**keys, **dropped(task.spec, shared if isinstance(shared, dict) else {})}
                for keys, task in zip(found, filter(None, loaded), strict=True)
            )
            problems += idle_in_row(document, row, changes, found)
            owners = {task.spec.protocol: owner_of(task.spec) for task in loaded if task is not None}
            if axis == "sources":
                problems += [
                    place.problem(
                        f"source {name!r} is of protocol {protocol}; only {_training_protocols()} train"
                    )
                    for protocol, owner in sorted(owners.items())
                    if not owner.trains
                ]
                problems += _selects(document, [task for task in loaded if task is not None])
            elif row[0] == "trainers":
                problems += [
                    place.problem(f"target {name!r} is of protocol {protocol}, which is for identifiers")
                    for protocol, owner in sorted(owners.items())
                    if owner.cells != "eval"
                ]
            elif any(owner.cells == "identify" for owner in owners.values()):
                benchmarks.append((name, place))
    problems += idle_sets(document, overrides, idle_in)
    identifiers = document.data.get("identifiers")
    if benchmarks and not identifiers:
        problems += [
            place.problem(
                f"target {name!r} is of protocol {_protocols('identify')}: name "
                f"{'--identifier NAME' if place.option else '`identifiers:`'} to evaluate on it"
            )
            for name, place in benchmarks
            if place.option != "--source"  # the only target of `perbench train`, reported above
        ]
    if identifiers and complete and not benchmarks:
        target, given = document.place(("targets", 0)), document.place(("identifiers",))
        wanted = f"of protocol {_protocols('identify')}"
        if target.option:
            out = f"; or remove {given.option}" if given.option == "--identifier" else ""
            fault = f"is not {wanted}, so no identifier can be scored on it; name a task that is{out}"
            problems.append(target.problem(fault))
        else:
            problems.append(given.problem(f"identifiers: no target is {wanted}; add one or remove the key"))
    return problems


def _selects(document: Document, sources: Sequence[Named[TaskSpec]]) -> Iterator[Problem]:
    """Sources whose models cannot be chosen among as the matrix's `select` says."""
    select = document.data.get("select")
    if not isinstance(select, dict):
        return
    by, on = select.get("by", "headline"), select.get("on", "val")
    for task in sources:
        metrics = [*(owner_of(task.spec).headlines() or ())]
        data = task.spec.data
        others = {data.test_split: "test", data.train_split: "training"}
        if on == "val" and data.val_split in others:
            yield document.place(("select",)).problem(
                f"select: task {task.name} has its {others[data.val_split]} split for validation, "
                f"data.val_split: {data.val_split}. Name another, or choose by tests openly: select.on: test"
            )
        if on == "val" and data.val_split is None:
            yield document.place(("select",)).problem(
                f"select: task {task.name} has no validation split. Name one in its file, data.val_split, or "
                f"in the matrix, tasks: {{{task.name}: {{data.val_split: NAME}}}}; or choose on the test "
                "split, select.on: test, which is biased"
            )
        if by not in ("headline", *metrics):
            known = suggest(str(by), metrics)
            yield document.place(("select", "by")).problem(
                f"select.by: {by!r} is not among the metrics of {task.name}.{known}"
            )


def _training_protocols() -> str:
    """ "choice, generation and likelihood tasks", for messages."""
    *found, last = [name for name, cls in protocols().items() if cls.trains]
    return f"{', '.join(found)}{' and ' if found else ''}{last} tasks"


def _protocols(cells: str) -> str:
    """The names of the protocols whose targets become such cells."""
    return " or ".join(name for name, cls in protocols().items() if cls.cells == cells)


def _own_adapters(document: Document) -> bool:
    """Whether any training continues with users' own adapters."""
    rows = [row for row in items(document, "trainers") if isinstance(row, dict)]
    settings = [part.get("training") for part in (document.data, *rows)]
    return any(one.get("per_user") not in (None, False) for one in settings if isinstance(one, dict))


def _variants(
    document: Document,
    row: KeyPath,
    where: KeyPath,
    name: str,
    changes: dict[str, Any],
    overrides: Any,
    problems: list[Problem],
) -> list[Named[TaskSpec] | None]:
    """The task for each combination of a row's lists; None if it has faults."""
    place = document.place(where)
    given = overrides if isinstance(overrides, dict) else {}
    shared = {key: (value, document.place(("tasks", name, key))) for key, value in given.items()}
    axes: dict[str, Any] = {}
    for keys, value in leaves(changes).items():
        key, here = ".".join(keys), (*row, *keys)
        if key in axes:
            problems.append(document.place(here).problem(f"{key} is in the row twice; remove one"))
        axes[key] = (value, document.place(here))
        if is_axis(key, value):
            axes[key] = list(axis_values(document, here, value, problems))
    return [_task(name, shared, point, place, problems) for point in grid(axes)]


def _task(
    name: str, shared: Given, overrides: Given, place: Place, problems: list[Problem]
) -> Named[TaskSpec] | None:
    try:
        task, found = checked_task(name, shared=shared, overrides=overrides)
    except SpecError as error:
        problems += error.problems
    except PerbenchError as error:
        problems.append(place.problem(str(error)))
    else:
        problems += found
        return task
    return None
