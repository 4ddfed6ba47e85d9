"""Completes cells' stored samples for reading.

Samples hold neither prompts nor histories, which may be large or not redistributable; both come from the
task's data on this machine, if available and unchanged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from perbench import plugins
from perbench.api import Example
from perbench.contracts.protocol import Protocol, Sample
from perbench.contracts.shown import Score, Shown, StoredCell, mean, plain, tested
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError, suggest
from perbench.matrix.rescore import OtherTask, data_of, same_task
from perbench.persona.build import build_personas
from perbench.persona.retrieve import absent
from perbench.prompts.pair import turns_with, turns_without
from perbench.prompts.persona import by_priority, persona_texts
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import owner_of, persona_helpers
from perbench.specs.load import load_task
from perbench.store import CellRecord, RunDir
from perbench.store.check import read_samples, read_scores

HELD = "⟨persona⟩"
"""Placeholder for the persona in a prompt."""
LACKING = "the task's data do not hold this example"


def stored(record: CellRecord, folder: Path) -> StoredCell:
    """A cell of a run directory."""
    matrices = RunDir(folder.parents[1]).description().get("matrices", {})
    return StoredCell(record, partial(read_samples, folder, record.identity), read_scores(folder), matrices)


@dataclass(frozen=True)
class StoredExample:
    """The samples of one example, and their mean scores by metric."""

    id: str
    samples: Sequence[Sample]
    scores: Mapping[str, Score]


@dataclass
class _KnownTask:
    """What is known of the task of some cells. `owner` is None if its protocol is not installed; `why` is the
    reason why there are no `examples`, None for a protocol that needs none."""

    owner: Protocol[Any] | None = None
    examples: Mapping[str, Example] = field(default_factory=dict)
    why: str | None = ""
    built: dict[str, Example] = field(default_factory=dict)
    """Examples with the items that their prompts hold, unless a model chooses or rewrites them."""


class SampleReader:
    """Reads the samples of many cells; each task is loaded once. `data` as in `load_task`.

    Raises:
        PerbenchError: no task is of a family of `data`.
    """

    def __init__(self, data: Mapping[str, Path]) -> None:
        known = {plugins.family_name(name.partition("/")[0]) for name in plugins.names("task")}
        known |= set(plugins.names("family"))
        for family, folder in data.items():
            if plugins.family_name(family) not in known:
                raise PerbenchError(
                    f"--data {family}={folder}: there is no such dataset family.{suggest(family, known)}"
                )
        self._data = data
        self._tasks: dict[str, _KnownTask] = {}

    def read(self, cell: StoredCell) -> list[Shown]:
        """All samples of the test split, by example, in stored order.

        Raises:
            DamagedRecord: a file differs from what was written.
        """
        return self.shown(cell, self.groups(cell))

    def scores(self, cell: StoredCell) -> dict[str, dict[str, Score]]:
        """Scores by example and metric; of several samples, the mean."""
        if cell.scores is None:
            return {}
        example_of = self._example_of(cell)
        found: dict[str, dict[str, list[Score]]] = {}
        for place, name in enumerate(cell.scores.ids):
            columns = found.setdefault(example_of(name), defaultdict(list))
            for metric, values in cell.scores.scores.items():
                columns[metric].append(values[place])
        return {
            name: {metric: mean(values) for metric, values in columns.items()}
            for name, columns in found.items()
        }

    def prompted(self, cell: StoredCell) -> tuple[TaskSpec | None, Mapping[str, Example]]:
        """The task and the examples read so far, with the items in their prompts, if these use a form with
        the persona and no model chose the items; else None."""
        task = self._task(cell)
        if task.owner is None or task.owner.spec is None or not task.owner.prompted:
            return None, {}
        return task.owner.spec, task.built

    def groups(self, cell: StoredCell) -> list[StoredExample]:
        """The samples of the test split by example, in stored order."""
        example_of, scores = self._example_of(cell), self.scores(cell)
        found: dict[str, list[Sample]] = defaultdict(list)
        for sample in tested(cell.samples()):
            found[example_of(sample["id"])].append(sample)
        return [StoredExample(name, samples, scores.get(name, {})) for name, samples in found.items()]

    def shown(self, cell: StoredCell, groups: Sequence[StoredExample]) -> list[Shown]:
        """The groups for reading."""
        task = self._task(cell)
        _build(task, [group.id for group in groups])
        return [self._shown(task, group) for group in groups]

    def _shown(self, task: _KnownTask, group: StoredExample) -> Shown:
        example = task.examples.get(group.id)
        shown = _by_protocol(task.owner, group.samples, example)
        notes = shown.notes
        if shown.persona is None and example is None:
            if task.why is not None:
                notes = (*notes, f"persona and prompt cannot be shown: {task.why or LACKING}")
        elif shown.persona is None and example is not None and task.owner is not None:
            shown = _with_persona(shown, task.owner.spec, example, task.built.get(group.id))
            notes = shown.notes
        return replace(shown, scores=group.scores, notes=notes)

    def _example_of(self, cell: StoredCell) -> Callable[[str], str]:
        owner = self._task(cell).owner
        return str if owner is None else owner.example_of

    def _task(self, cell: StoredCell) -> _KnownTask:
        inputs = cell.record.inputs
        key = canonical_digest([cell.record.kind, *map(inputs.get, ("version", "target", "data"))])
        if key not in self._tasks:
            self._tasks[key] = self._load(cell)
        return self._tasks[key]

    def _load(self, cell: StoredCell) -> _KnownTask:
        try:
            name = cell.record.inputs["target"]["name"]
            task = same_task(cell.record, cell.matrices, self._data, scoring=False)
        except KeyError as error:
            return _KnownTask(_without_task(cell.record), why=f"the record's inputs hold no {error}")
        except OtherTask as error:
            return _KnownTask(owner_of(load_task(name).spec), why=str(error))
        except PerbenchError as error:
            return _KnownTask(_without_task(cell.record), why=str(error))
        owner = owner_of(task.spec)
        if owner.late:
            return _KnownTask(owner, why=None)
        count = len({owner.example_of(sample["id"]) for sample in tested(cell.samples())})
        try:
            found, _ = data_of(cell.record, task, count)
        except PerbenchError as error:
            return _KnownTask(owner, why=str(error))
        return _KnownTask(owner, {example.id: example for example in found.examples})


def _by_protocol(owner: Protocol[Any] | None, samples: Sequence[Sample], example: Example | None) -> Shown:
    """As its protocol shows it; as it is if that fails, since samples may be of another version."""
    if owner is None:
        return plain(samples[0])
    try:
        return owner.shown(samples, example)
    except Exception as error:
        what = f"{owner.called} cannot read this sample: {type(error).__name__}: {error}"
        return replace(plain(samples[0]), notes=(what,))


def _without_task(record: CellRecord) -> Protocol[Any] | None:
    """The protocol of a record whose task is not installed; None if it is not installed either."""
    try:
        found: Protocol[Any] = plugins.get("protocol", record.inputs["target"]["protocol"]).load_class()(None)
    except (PerbenchError, KeyError):
        return None
    return found


def _build(task: _KnownTask, names: Sequence[str]) -> None:
    """Add examples to `task.built`."""
    due = [task.examples[name] for name in names if name in task.examples and name not in task.built]
    if task.owner is None or task.owner.spec is None or not due:
        return
    spec = task.owner.spec
    if spec.persona.resolved and (persona_helpers(spec.persona) or absent(spec.persona)):
        return
    for example in build_personas(spec, due, NoModels()).examples:
        task.built[example.id] = example


class NoModels:
    """For rankings that use no model."""

    def encoder(self, name: str) -> NoReturn:
        raise PerbenchError(f"personas for reading are built without models, but one asks for {name}")

    summariser = encoder


def _with_persona(shown: Shown, spec: TaskSpec, example: Example, built: Example | None) -> Shown:
    """With the items in the prompt, and the prompt, under the task's form; the whole history if a model chose
    or rewrote the items."""
    form = spec.prompts[spec.prompt] if spec.prompt is not None else None
    if form is None or built is None:
        items = (filter(None, map(str, item.values())) for item in example.persona)
        note = "the prompt held items that a model chose or rewrote from this history, and are not stored"
        notes = shown.notes if form is None else (*shown.notes, note)
        return replace(shown, persona=tuple(map(" · ".join, items)), notes=notes)
    texts = persona_texts(spec, form, built.persona)
    kept = len(texts) if shown.kept is None else shown.kept
    places = sorted(by_priority(len(texts), spec.persona)[:kept])
    turns = turns_without(form, built) if shown.kept == 0 else turns_with(form, built, HELD)
    system, user = zip(("system", "user"), turns, strict=True)
    said = [(str(built.persona[place].get("role")), texts[place]) for place in places if form.messages]
    return replace(
        shown,
        persona=tuple(texts[place] for place in places),
        prompt=tuple((role, text) for role, text in (system, *said, user) if text),
    )
