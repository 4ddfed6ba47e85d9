"""Estimates the cost of a plan: tokens from the data, seconds from past cells."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.lm import models
from perbench.lm.context import TooLong
from perbench.matrix.catalogue import UNRESOLVED, Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.engines import PersonaModels, open_model
from perbench.matrix.identity import part_text
from perbench.matrix.spend import (
    Spend,
    asks_paid,
    identify_spend,
    persona_spend,
    spend,
    total,
)
from perbench.persona.build import build_personas
from perbench.persona.retrieve import absent
from perbench.prompts.messages import CHARS_PER_TOKEN
from perbench.prompts.persona import SUMMARY
from perbench.shapes.persona import PersonaSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import engine_of, owner_of, persona_helpers, summariser_of
from perbench.store import CellRecord, DamagedRecord, Labels
from perbench.store.cell import Kind
from perbench.store.rundir import each_record, is_run

COUNTED = 256
"""Examples of a cell whose tokens are counted; of more, so many at equal distances are taken for all."""
PAST = 200
"""Records of each kind that are read of a run directory beside this one."""


@dataclass(frozen=True)
class CellEstimate:
    """Tokens that the model reads and at most writes, None if the data are unavailable; `exact`: whether they
    were counted with its tokenizer. `seconds` is None without a similar past cell."""

    tokens: int | None
    exact: bool
    seconds: float | None
    spends: dict[str, Spend] = field(default_factory=dict)
    """Requests to endpoints, by model name."""
    unavailable: bool = False
    """Whether its data are unavailable here; else, without tokens, only the run loads them."""
    unasked: bool = False
    """Whether it asks endpoints, but how much is unknown."""


class Estimator:
    """Estimates cells; past speeds come from the `past` records of the run directory `out`, and from the run
    directories beside it."""

    def __init__(self, catalogue: Catalogue, out: Path, past: Sequence[CellRecord]) -> None:
        self._catalogue = catalogue
        self._out, self._past = out, past
        self._folders: dict[str, Path | None] = {}
        self._tokenizers: dict[Path, Any] = {}
        self._tokens: dict[tuple[Question, Path | None, tuple[bool, str] | None], tuple[int, bool]] = {}
        self._spends: dict[Question, dict[str, Spend]] = {}

    @cached_property
    def _speeds(self) -> dict[Pace, float]:
        return _speeds([*self._past, *_beside(self._out)])

    def __call__(self, cell: Cell) -> CellEstimate:
        if not cell.size:
            missing = cell.data.digest.startswith(UNRESOLVED)
            return CellEstimate(None, False, None, unavailable=missing, unasked=self._asks(cell))
        tokens, exact = self._count(cell)
        if cell.training is not None:
            per_example = tokens / cell.size
            tokens = round(tokens * cell.training.epochs)
            own = self._catalogue.own_data(cell.task, cell.training)
            if own is not None:  # assumed to be as long as the others
                count = sum(map(len, own.examples.values()))
                tokens += round(per_example * count * cell.training.user_stage.epochs)
                exact = False
        work = cell.size if cell.kind == "identify" else tokens
        speed = self._speeds.get(_pace(cell.kind, cell.labels, cell.task.spec.protocol))
        spends = self._spend(cell) if cell.kind == "eval" else {}
        if cell.identifier is not None:
            spends = identify_spend(cell.identifier, cell.model, lambda: self._examples(cell, cell.examples))
        return CellEstimate(tokens, exact, work * speed if speed is not None else None, spends)

    def _asks(self, cell: Cell) -> bool:
        """Whether it asks endpoints."""
        if cell.identifier is not None:
            return cell.identifier.needs_model and engine_of(cell.model).paid
        return cell.kind == "eval" and asks_paid(cell.task.spec, cell.model, self._catalogue.model)

    def _examples(self, cell: Cell, examples: list[Example]) -> list[Example]:
        """Of the cell's examples, with their personas; those that need a model, which a plan does not load,
        or a missing package are approximated: the first items, a summary of maximum length."""
        persona = cell.task.spec.persona
        summariser = summariser_of(persona)
        if summariser is not None:
            text = "x" * CHARS_PER_TOKEN * summariser.longest()
            return [replace(e, persona=({SUMMARY: text},) if e.persona else ()) for e in examples]
        if _stood_in(persona):
            return examples
        lent = PersonaModels(self._catalogue, open_model)
        return build_personas(cell.task.spec, examples, lent).examples

    def _spend(self, cell: Cell) -> dict[str, Spend]:
        key = _asked(cell)
        if key not in self._spends:
            spec, model = cell.task.spec, self._catalogue.model
            answers = spend(spec, cell.model, lambda: self._examples(cell, cell.examples), model)
            self._spends[key] = total([answers, persona_spend(spec, lambda: cell.examples, model)])
        return self._spends[key]

    def _count(self, cell: Cell) -> tuple[int, bool]:
        if cell.identifier is not None and not cell.identifier.needs_model:
            return 0, True
        folder = self._folder(cell.model.name)
        reads = (cell.trainer.factual, cell.trainer.examples) if cell.trainer is not None else None
        key = (_read(cell), folder, reads)
        if key not in self._tokens:
            drawn = cell.examples[:: -(-cell.size // COUNTED)]
            examples, tokenizer = self._examples(cell, drawn), self._tokenizer(folder)
            spec = cell.task.spec
            count, exact = _tokens(cell, examples, tokenizer)
            if not count and tokenizer is not None and owner_of(spec).prompted:
                self._check_any(cell, tokenizer)
            exact = exact and not _stood_in(spec.persona) and len(drawn) == cell.size
            self._tokens[key] = round(count * cell.size / len(drawn)), exact
        return self._tokens[key]

    def _check_any(self, cell: Cell, tokenizer: Any) -> None:
        """
        Raises:
            PerbenchError: every example is too long and would be skipped.
        """
        from perbench.prompts.pair import nothing_fits

        examples = self._examples(cell, cell.examples)
        if _tokens(cell, examples, tokenizer)[0]:
            return
        given = cell.kind == "train" or "sampling" not in owner_of(cell.task.spec).reads
        fault = nothing_fits(cell.task, examples, tokenizer, with_response=given, context=None)
        raise PerbenchError(f"{cell.task.path}: {fault}")

    def _folder(self, name: str) -> Path | None:
        """The model's folder if it is available; a plan neither downloads nor converts."""
        if name not in self._folders:
            known = UNRESOLVED not in self._catalogue.model_inputs(name)
            self._folders[name] = models.at_hand(self._catalogue.model(name)) if known else None
        return self._folders[name]

    def _tokenizer(self, folder: Path | None) -> Any:
        if folder is not None and folder not in self._tokenizers:
            self._tokenizers[folder] = models.load_tokenizer(folder)
        return self._tokenizers[folder] if folder is not None else None


Question = tuple[str, ...]


def _asked(cell: Cell) -> Question:
    """What is asked of which model, whatever it was trained on."""
    return (part_text(cell.inputs["model"]), *_read(cell))


def _read(cell: Cell) -> Question:
    """What is asked, of any model."""
    parts = ("source", "target", "data", "dev")
    return tuple(part_text(cell.inputs[part]) if part in cell.inputs else "" for part in parts)


def _stood_in(persona: PersonaSpec) -> bool:
    return bool(persona_helpers(persona) or absent(persona))


def _tokens(cell: Cell, examples: Sequence[Example], tokenizer: Any) -> tuple[int, bool]:
    """Tokens of these examples, and whether they are exact.

    Raises:
        PerbenchError: one is too long, under `on_too_long: fail`.
    """
    spec = cell.task.spec
    try:
        if cell.kind == "train":
            return sum(_trained(cell, spec, one, tokenizer) for one in examples), tokenizer is not None
        return owner_of(spec).work(examples, tokenizer)
    except TooLong as error:
        raise PerbenchError(f"{cell.task.path}: task {cell.task.name}: {error}") from None


def _trained(cell: Cell, spec: TaskSpec, example: Example, tokenizer: Any) -> int:
    from perbench.prompts.messages import guessed
    from perbench.prompts.pair import build_pairs

    assert cell.trainer is not None
    paired = cell.trainer.examples == "pairs"
    if tokenizer is None:
        answers = (example.reference, example.rejected) if paired else (example.reference,)
        return sum(guessed(spec, replace(example, reference=answer), None)[0] for answer in answers)
    (pair,) = build_pairs(spec, [example], tokenizer, with_response=True, context=None, with_rejected=paired)
    sides = () if pair is None else pair.sides
    alone = not cell.trainer.factual
    return sum(len(side.counterfactual if alone else side.factual) + len(side.response) for side in sides)


Pace = tuple[str, str, str]


def _pace(kind: str, labels: Labels, protocol: str) -> Pace:
    """Cells with the same speed: of one kind and model, and one trainer, identifier or protocol."""
    return kind, labels.model, (labels.trainer if kind == "train" else labels.identifier) or protocol


def _speeds(past: Iterable[CellRecord]) -> dict[Pace, float]:
    """Seconds of past cells per token; for identification per example, as methods read different texts."""
    seconds: defaultdict[Pace, float] = defaultdict(float)
    work: defaultdict[Pace, int] = defaultdict(int)
    for record in past:
        spent = _spent(record)
        if record.status == "done" and spent:
            protocol = record.inputs.get("target", {}).get("protocol", "")
            pace = _pace(record.kind, record.labels, protocol)
            seconds[pace] += record.seconds
            work[pace] += spent
    return {pace: seconds[pace] / work[pace] for pace in work}


def _spent(record: CellRecord) -> int:
    if record.kind == "train":
        passes = "total" if "total" in record.tokens else "counterfactual"
        return record.tokens.get(passes, 0) + record.tokens.get(f"own_{passes}", 0)
    if record.kind == "identify":
        return record.counts.get("samples", 0) + record.counts.get("dev_samples", 0)
    return sum(record.tokens.values())


def _beside(out: Path) -> Iterator[CellRecord]:
    """Records of the run directories beside `out`: of each kind the first, whose names are digests."""
    damaged: list[DamagedRecord] = []  # irrelevant to an estimate
    for run in sorted(out.parent.iterdir()) if out.parent.is_dir() else []:
        if run != out and is_run(run):
            for kind in get_args(Kind):
                folders = heapq.nsmallest(PAST, (run / "cells").glob(f"{kind}-*"))
                yield from (record for record, _ in each_record(folders, damaged))
