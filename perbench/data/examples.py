"""Turns rows into examples: checked fields by name and type, a fixed draw, and the digest of the result."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from perbench.api import Example
from perbench.contracts.data import Dataset
from perbench.contracts.source import Row
from perbench.data.values import MOST_PROBLEMS
from perbench.disk.digests import canonical_digest
from perbench.errors import PerbenchError, Problem, SpecError, closest, listed, suggest
from perbench.persona.whose import with_persona_of
from perbench.progress import counted
from perbench.shapes.task import FieldSpec, Split, TaskSpec
from perbench.shapes.templates import placeholders
from perbench.specs.compose import owner_of, ranked_text, ranking_of, source_of

__all__ = ["Dataset", "load_examples", "needed_fields"]

if TYPE_CHECKING:
    from perbench.shapes.base import Named

DRAW = 0
"""Seed of every draw: a task has one set of examples, whatever the run's seed."""


def load_examples(
    task: Named[TaskSpec],
    split: Split,
    limit: int | None = None,
    *,
    every_field: bool = False,
) -> Dataset:
    """The examples of a split, in a fixed random order: `examples.<split>` of the spec keeps the first of
    that order, `limit` the first of those, so that a smaller set is always part of a larger one. Those to
    evaluate on hold the personas of `persona.whose`, drawn among them.

    `every_field`: also require the fields of history items that only `training.per_user` reads.

    A protocol may have its own data (`Protocol.dataset`).

    Raises:
        PerbenchError: the data is missing, or none of it is usable.
        SpecError: every row that lacks a field or has a wrong type, and under protocol identification every
            fault of the gold spans, by file and line.
    """
    spec = task.spec
    own = owner_of(spec).dataset(limit)
    if own is not None:
        return own
    name = {"train": spec.data.train_split, "val": spec.data.val_split, "test": spec.data.test_split}[split]
    if name is None:
        raise PerbenchError(
            f"task {task.name} has no validation split; name one by data.val_split, such as "
            f"--set 'tasks.{task.name}.data.val_split=val'"
        )
    source = source_of(spec.data).read(name, task.folder, spec.fields)
    reader = _Reader(spec, name, trains=split == "train")
    if every_field and (form := spec.fields.item_example) is not None:
        asked = placeholders(form.question) | placeholders(form.reference) | set(spec.fields.extra)
        for field_name in sorted(asked):
            reader.needed.setdefault(field_name, ", which fields.item_example reads")
    places: dict[str, str] = {}
    examples = []
    for index, row in enumerate(source.rows):
        if (example := reader.read(index, row)) is not None:
            examples.append(example)
            places[example.id] = f"{row.place}:{row.line}"
    if reader.faults:
        raise SpecError(reader.problems())
    if not examples:
        skipped = ", ".join(f"{count} {reason}" for reason, count in reader.skipped.items()) or "no rows"
        raise PerbenchError(
            f"{source.place}: split {name!r} of task {task.name} holds no usable example ({skipped})"
        )
    if split != "train" and (faults := [*owner_of(spec).split_faults(examples)]):
        where = f"split {name!r} of task {task.name}"
        raise SpecError([Problem(source.place, None, f"{where}: {fault}") for fault in faults])
    # Ordered by a hash of the id, so that an added row does not change the order of the others.
    examples.sort(key=lambda example: hashlib.sha256(f"{DRAW}/{example.id}".encode()).digest())
    most = min((count for count in (getattr(spec.examples, split), limit) if count is not None), default=None)
    examples = examples[:most]
    try:
        digest = _digest(
            examples, {name: source.shared[name] for name in spec.fields.extra if name in source.shared}
        )
    except (TypeError, ValueError) as error:
        raise PerbenchError(f"task {task.name}: a row holds what JSON cannot represent: {error}") from None
    if source.cut is not None:
        digest = canonical_digest({"split": source.cut, "examples": digest})
    whose = spec.persona.whose if split != "train" else "own"
    try:
        examples = with_persona_of(whose, examples)
    except PerbenchError as error:
        raise PerbenchError(f"task {task.name}, split {name!r}: {error}") from None
    counts = Counter[str]()
    for example in examples:
        counts.update(reader.counts[example.id])
    left_out = dict(sorted(reader.skipped.items()))
    return Dataset(examples, digest, left_out, source.described, places, whose, dict(counts))


def needed_fields(spec: TaskSpec) -> dict[str, str]:
    """The fields that every persona item needs, for the prompt or for retrieval: {field: ", which
    persona.time names"}, or "" for the prompt."""
    form = spec.prompts[spec.prompt] if spec.prompt is not None else None
    names = placeholders(form.item) - {"number"} if form is not None else ()
    needed = dict.fromkeys(sorted(names), "")
    if form is not None and form.messages:
        needed.setdefault("role", f", which prompts.{spec.prompt}.messages needs")
    for name, asker in ranking_of(spec.persona).item_fields().items():
        needed.setdefault(name, asker)
    for name in sorted(placeholders(ranked_text(spec) or "") - {"number"}):
        needed.setdefault(name, ", which fields.item_text names")
    return needed


def _digest(examples: Sequence[Example], shared: Mapping[str, Any]) -> str:
    if not shared:
        return canonical_digest([example.values for example in examples])
    own = (
        replace(example, extra={name: value for name, value in example.extra.items() if name not in shared})
        for example in examples
    )
    return canonical_digest({"shared": dict(shared), "examples": [example.values for example in own]})


def _no_fields(missing: Sequence[str], there: Mapping[str, Any]) -> str:
    names = [str(name) for name in there]
    if len(missing) == 1:
        return f"the row has no field {missing[0]!r}.{suggest(missing[0], names)}"
    quoted = ", ".join(
        f"{name!r} ({close!r}?)" if (close := closest(name, names)) else repr(name) for name in missing
    )
    return f"the row has no fields {quoted}. There are: {listed(names)}."


class _Reader:
    """Turns rows into examples, collecting all faults."""

    def __init__(self, spec: TaskSpec, split: str, *, trains: bool) -> None:
        self.rejected = spec.fields.rejected if trains else None
        self.fields: FieldSpec = spec.fields
        self.owner = owner_of(spec)
        self.split = split
        self.needed = needed_fields(spec)
        self.split_after = spec.prompts[spec.prompt].split_after if spec.prompt is not None else None
        self.skipped: Counter[str] = Counter()
        self.counts: dict[str, Mapping[str, int]] = {}
        """`Protocol.row_counts` of each example's row, by id."""
        self.faults: dict[str, list[Row]] = {}
        """Fault -> the rows that have it."""
        self.lacking: dict[str, None] = {}
        """Fields missing in the current row."""
        self.found = 0

    def problems(self) -> list[Problem]:
        """Each fault once, at its first row, since a missing column is missing in every row."""
        problems = []
        for message, (first, *others) in islice(self.faults.items(), MOST_PROBLEMS):
            more = f" (also in {counted(len(others), 'further row')})" if others else ""
            problems.append(Problem(first.place, first.line, message + more))
        return problems

    def read(self, index: int, row: Row) -> Example | None:
        """The example, or None if the row is skipped (counted) or faulty (recorded)."""
        before = self.found
        self.lacking.clear()
        user = self._text(row, self.fields.user, number=True)
        question = self._text(row, self.fields.question)
        reference = self._text(row, self.fields.reference)
        rejected = self._text(row, self.rejected)
        persona = self._persona(row)
        if self.fields.user is None:
            user = f"persona-{hashlib.sha256(repr(persona).encode(errors='surrogatepass')).hexdigest()[:12]}"
        extra = {name: self._get(row, name) for name in self.fields.extra}
        if question.strip() and self.split_after is not None and self.split_after not in question:
            self._fault(
                row,
                f"field {self.fields.question!r} does not contain {self.split_after!r}, after which the "
                "prompt form splits it (split_after); correct the row, or choose another prompt",
            )
        for fault in self.owner.row_faults(row.fields, reference, len(persona)):
            self._fault(row, fault)
        if self.rejected is not None and rejected.strip() and rejected.strip() == reference.strip():
            self._fault(
                row,
                f"field {self.rejected!r} holds the same answer as {self.fields.reference!r}, so the pair "
                "says nothing about what the user likes; remove the row",
            )
        if self.lacking:
            self._fault(row, _no_fields(list(self.lacking), row.fields))
        if self.found > before:
            return None
        for name, text in (
            (self.fields.user, user),
            (self.fields.question, question),
            (self.fields.reference, reference),
            (self.rejected, rejected),
        ):
            if name is not None and not text.strip():
                self.skipped[f"empty {name}"] += 1
                return None
        name = f"{self.split}/{user}/{index}"
        self.counts[name] = self.owner.row_counts(row.fields, reference)
        return Example(name, user, question, reference, persona, extra, rejected)

    def _fault(self, row: Row, message: str) -> None:
        self.found += 1
        self.faults.setdefault(message, []).append(row)

    def _get(self, row: Row, name: str) -> Any:
        if name not in row.fields:
            self.lacking[name] = None
            return None
        return row.fields[name]

    def _text(self, row: Row, name: str | None, *, number: bool = False) -> str:
        """A text field; null counts as empty. A user may be identified by a number."""
        if name is None or (value := self._get(row, name)) is None:
            return ""
        if isinstance(value, str):
            return value
        if number and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        self._fault(row, f"field {name!r} is {type(value).__name__}, not a text")
        return ""

    def _persona(self, row: Row) -> tuple[Mapping[str, Any], ...]:
        name = self.fields.persona
        if name is None or (items := self._get(row, name)) is None:
            return ()
        if not isinstance(items, (list, tuple)):
            way_out = '; write a list: ["..."]' if isinstance(items, str) else ""
            self._fault(row, f"field {name!r} is {type(items).__name__}, not a list{way_out}")
            return ()
        return tuple(self._item(row, name, number, item) for number, item in enumerate(items))

    def _item(self, row: Row, name: str, number: int, item: Any) -> dict[str, Any]:
        if isinstance(item, str):
            item = {"text": item}
        if not isinstance(item, Mapping):
            self._fault(row, f"{name}[{number}] is {type(item).__name__}, not a text or an object")
            return {}
        fields = dict(item)
        for missing, older in self.fields.item_aliases.items():
            if missing not in fields and older in fields:
                fields[missing] = fields.pop(older)
        for missing, asker in self.needed.items():
            if missing not in fields:
                there = suggest(missing, map(str, fields))
                self._fault(row, f"{name}[{number}] has no field {missing!r}{asker}.{there}")
            elif fields[missing] is None:
                self._fault(
                    row,
                    f"{name}[{number}] holds null as {missing!r}{asker}, which would become the word None; "
                    'write a text, "" if there is none',
                )
        return fields
