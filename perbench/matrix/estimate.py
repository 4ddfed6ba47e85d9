"""How much a plan will cost: tokens from the data, seconds from what past cells took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from perbench import models
from perbench.api import Example
from perbench.matrix.catalogue import UNRESOLVED, Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.engines import PersonaModels, open_model
from perbench.matrix.spend import (
    Spend,
    dialogue_parts,
    identify_spend,
    preference_parts,
    spend,
    summary_spend,
    total,
)
from perbench.prompts.build import build_personas
from perbench.prompts.messages import CHARS_PER_TOKEN
from perbench.prompts.persona import SUMMARY
from perbench.prompts.retrieve import absent
from perbench.specs.persona import PersonaSpec
from perbench.specs.task import TaskSpec
from perbench.store import CellRecord, DamagedRecord, Labels, read_records


@dataclass(frozen=True)
class Estimate:
    """Tokens of a cell as the model reads and at most writes them, None where its data are not at hand;
    `exact` says they were counted with its tokenizer. `seconds` is None where no past cell tells."""

    tokens: int | None
    exact: bool
    seconds: float | None
    spends: dict[str, Spend] = field(default_factory=dict)
    """What endpoints are asked, by model name."""


class Estimator:
    """Estimates cells; past speeds come from `out` and the run directories beside it."""

    def __init__(self, catalogue: Catalogue, out: Path) -> None:
        self._catalogue = catalogue
        self._tokenizers: dict[str, Any] = {}
        self._tokens: dict[tuple[str, str, str, bool], tuple[int, bool]] = {}
        self._spends: dict[tuple[str, str], dict[str, Spend]] = {}
        self._speeds = _speeds(out)

    def __call__(self, cell: Cell) -> Estimate:
        if not self._catalogue.examples(
            cell
        ):  # not to be had here, or lm-eval's, which are loaded when needed
            return Estimate(None, False, None)
        tokens, exact = self._count(cell)
        if cell.training is not None:
            per_example = tokens / len(self._catalogue.examples(cell))
            tokens = round(tokens * cell.training.epochs)
            own = self._catalogue.own_data(cell.task, cell.training)
            if own is not None:  # taken to be as long as the others
                count = sum(map(len, own.examples.values()))
                tokens += round(per_example * count * cell.training.user_stage.epochs)
                exact = False
        work = len(self._catalogue.examples(cell)) if cell.kind == "identify" else tokens
        speed = self._speeds.get(_pace(cell.kind, cell.labels, cell.task.spec.protocol))
        spends = self._spend(cell) if cell.kind == "eval" else {}
        if cell.identifier is not None:
            spends = identify_spend(cell.identifier, cell.model, self._examples(cell))
        return Estimate(tokens, exact, work * speed if speed is not None else None, spends)

    def _examples(self, cell: Cell) -> list[Example]:
        """What the cell reads, with the personas it will see; those that need a model, which a plan does not
        load, or an absent package have stand-ins: the first items, a summary as long as it may be."""
        examples = self._catalogue.examples(cell)
        persona = cell.task.spec.persona
        if persona.summarise != "none" and persona.summary is not None:
            text = "x" * CHARS_PER_TOKEN * persona.summary.max_new_tokens
            return [replace(e, persona=({SUMMARY: text},) if e.persona else ()) for e in examples]
        if _stood_in(persona):
            return examples
        lent = PersonaModels(self._catalogue, open_model)
        return build_personas(cell.task.spec, examples, lent).examples

    def _spend(self, cell: Cell) -> dict[str, Spend]:
        key = (cell.model.name, cell.labels.target or cell.task.name)
        if key not in self._spends:
            spec, model = cell.task.spec, self._catalogue.model
            answers = spend(spec, cell.model, self._examples(cell), model)
            self._spends[key] = total([answers, summary_spend(spec, self._catalogue.examples(cell), model)])
        return self._spends[key]

    def _count(self, cell: Cell) -> tuple[int, bool]:
        if cell.identifier is not None and not cell.identifier.needs_model:
            return 0, True
        labels, factual = cell.labels, cell.trainer is None or cell.trainer.factual
        key = (cell.kind, cell.model.name, labels.target or labels.source or "", factual)
        if key not in self._tokens:
            spec = cell.task.spec
            examples = self._examples(cell)
            tokenizer = self._tokenizer(cell.model.name)
            if spec.preference is not None:
                parts = preference_parts(spec, examples).values()
                self._tokens[key] = sum(part.input + part.output for part in parts), False
            elif spec.dialogue is not None:
                parts = dialogue_parts(spec, examples).values()
                self._tokens[key] = sum(part.input + part.output for part in parts), False
            elif tokenizer is None:
                self._tokens[key] = sum(_guess(cell, spec, example) for example in examples), False
            else:
                counted = sum(_tokens(cell, spec, example, tokenizer) for example in examples)
                self._tokens[key] = counted, not _stood_in(spec.persona)
        return self._tokens[key]

    def _tokenizer(self, name: str) -> Any:
        """The model's tokenizer if its folder is at hand; a plan neither downloads nor converts."""
        if name not in self._tokenizers:
            known = UNRESOLVED not in self._catalogue.model_inputs(name)
            folder = models.at_hand(self._catalogue.model(name)) if known else None
            self._tokenizers[name] = models.load_tokenizer(folder) if folder is not None else None
        return self._tokenizers[name]


def _stood_in(persona: PersonaSpec) -> bool:
    return bool(persona.helpers or absent(persona))


def _tokens(cell: Cell, spec: TaskSpec, example: Example, tokenizer: Any) -> int:
    from perbench.prompts.pair import build_pairs

    (pair,) = build_pairs(spec, [example], tokenizer, with_response=cell.kind != "eval", context=None)
    if pair is None:
        return 0
    if cell.kind == "eval":
        swapped = 2 * spec.persona_swap.others + 2 if spec.persona_swap is not None else 0
        steered = spec.decoding.method == "context_steering"
        beside = len(pair.counterfactual) + spec.sampling.max_new_tokens if steered else 0
        return (1 + swapped) * (len(pair.factual) + spec.sampling.max_new_tokens) + beside
    alone = cell.trainer is not None and not cell.trainer.factual
    passes = len(pair.counterfactual if alone else pair.factual) + len(pair.response)
    return passes if cell.kind == "train" else passes + len(pair.counterfactual) + len(pair.response)


def _guess(cell: Cell, spec: TaskSpec, example: Example) -> int:
    items = example.persona[: spec.persona.k]
    persona = _length(*(str(value) for item in items for value in item.values()))
    answer = spec.sampling.max_new_tokens if cell.kind == "eval" else _length(example.reference)
    bare = _length(example.question) + answer
    whole = min(bare + min(persona, spec.persona.max_tokens or persona), spec.max_length)
    return whole + bare if cell.kind == "identify" else whole


def _length(*texts: str) -> int:
    return sum(map(len, texts)) // CHARS_PER_TOKEN


Pace = tuple[str, str, str]


def _pace(kind: str, labels: Labels, protocol: str) -> Pace:
    """Cells that go at one speed: of one kind and model, and one trainer, identifier or protocol."""
    return kind, labels.model, (labels.trainer if kind == "train" else labels.identifier) or protocol


def _speeds(out: Path) -> dict[Pace, float]:
    """Seconds of past cells per token; of identification per example: methods differ in what they read."""
    seconds: defaultdict[Pace, float] = defaultdict(float)
    work: defaultdict[Pace, int] = defaultdict(int)
    for record in _past(out):
        spent = _spent(record)
        if record.status == "done" and spent:
            protocol = record.inputs.get("target", {}).get("protocol", "generation")
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


def _past(out: Path) -> Sequence[CellRecord]:
    found: list[CellRecord] = []
    beside = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    for run in {out, *beside}:
        if (run / "cells").is_dir():
            damaged: list[DamagedRecord] = []  # no concern of a guess
            found += [record for record, _ in read_records(run, damaged)]
    return found
