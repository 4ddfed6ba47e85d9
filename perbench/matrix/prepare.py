"""Prepares the inputs of a cell: data with personas, prompt pairs, trained weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perbench import processes
from perbench.contracts.data import Dataset
from perbench.disk.digests import canonical_digest
from perbench.errors import CellError, PerbenchError
from perbench.lm import models
from perbench.lm.context import context_in
from perbench.lm.device import free
from perbench.matrix.catalogue import Catalogue
from perbench.matrix.cells import Cell
from perbench.matrix.engines import EnginePool, PersonaModels
from perbench.matrix.weights import serving_weights
from perbench.specs.compose import engine_of, owner_of
from perbench.store import CellDir, RunDir

if TYPE_CHECKING:
    from perbench.api import Example
    from perbench.persona.build import BuiltPersonas
    from perbench.prompts.pair import PromptPair

SKIPPED, CUT = "examples_skipped_too_long", "responses_cut"
"""Counts in a training's record; the prefix `own_` marks users' own adapters."""


@dataclass(frozen=True)
class TrainingInput:
    """Input of a training. `own`: pairs of users' own adapters, by user and example id, or None. `counts` and
    `notes` are for the record."""

    pairs: list[PromptPair]
    ids: list[str]
    own: dict[str, dict[str, PromptPair]] | None
    counts: dict[str, int]
    notes: list[str]


@dataclass(frozen=True)
class EvaluationInput:
    """Input of an evaluation. `ids`: of the samples to make; `checkpoint`: trained weights, None for the base
    model; `users`: their own adapters on top."""

    data: Dataset
    ids: Sequence[str]
    counts: dict[str, int]
    notes: list[str]
    checkpoint: Path | None = None
    users: Mapping[str, Path] | None = None


@dataclass
class Preparation:
    """Prepares cells one by one. What several cells read is made once, by the digest of its inputs."""

    catalogue: Catalogue
    pool: EnginePool
    _personas: dict[str, tuple[Dataset, dict[str, int]]] = field(default_factory=dict, init=False)
    _pairs: dict[str, list[PromptPair | None]] = field(default_factory=dict, init=False)
    _notes: dict[str, list[str]] = field(default_factory=dict, init=False)

    def training(self, cell: Cell) -> TrainingInput:
        """Called by all processes; the main one prepares, since models may be downloaded or queried."""
        self.pool.release_subject()
        group = processes.group()
        with group.agreed():
            made = self._training(cell) if group.main else None
        found = group.broadcast(made)
        assert found is not None, "the main process made it, or all failed"
        free()
        return found

    def evaluation(self, cell: Cell, run: RunDir, folder: CellDir) -> EvaluationInput:
        """Reads and checks trained weights, and removes stored samples that are not in the plan.

        Raises:
            CellError: the training did not finish, or its weights are missing or damaged.
        """
        checkpoint, users, notes = None, None, self._template_notes(cell)
        if cell.needs is not None:
            trained = run.cell("train", cell.needs.identity)
            record = trained.record()
            if record is None or record.status != "done":
                why = record.error.message if record is not None and record.error else "it did not run"
                raise CellError(f"its training did not finish: {why}")
            weights = serving_weights(cell, cell.needs, trained, record)
            checkpoint, users = weights.checkpoint, weights.users
            notes = [*left_out(cell.labels.source, record.counts, record.inputs), *notes]
        data, counts = self._with_personas(cell)
        owner = owner_of(cell.task.spec)
        if owner.late:
            ids = owner.late_ids(data, lambda: self.catalogue.resolve(cell.model).folder)
        else:
            ids = owner.sample_ids(data, cell.dev)
        counts = {**counts, **folder.mend(ids)}
        return EvaluationInput(data, ids, counts, notes, checkpoint, users)

    def _training(self, cell: Cell) -> TrainingInput:
        assert cell.training is not None
        data, counts = self._with_personas(cell)
        assert cell.trainer is not None
        read = [cell.inputs[name] for name in ("model", "source", "data")]
        key = canonical_digest([*read, cell.trainer.examples])
        if key not in self._pairs:
            # Consecutive cells differ only in the trainer, so one entry suffices.
            self._pairs = {key: self._built_pairs(cell, data.examples)}
        pairs = self._pairs[key]
        made = {one.id: pair for one, pair in zip(data.examples, pairs, strict=True) if pair is not None}
        if not made:
            from perbench.prompts.pair import nothing_fits

            folder = self.catalogue.resolve(cell.model).folder
            tokenizer, context = models.load_tokenizer(folder), context_in(folder)
            raise PerbenchError(
                nothing_fits(cell.task, data.examples, tokenizer, with_response=True, context=context)
            )
        counts = {
            **counts,
            "examples": len(made),
            "persona_items_kept": sum(pair.kept for pair in made.values()),
            "persona_items_trimmed": sum(pair.trimmed for pair in made.values()),
            **_too_long("", len(pairs) - len(made), made.values()),
        }
        own, own_counts = self._own_pairs(cell)
        counts |= own_counts
        notes = left_out(cell.labels.source, counts, cell.inputs)
        return TrainingInput([*made.values()], [*made], own, counts, [*notes, *self._template_notes(cell)])

    def _own_pairs(self, cell: Cell) -> tuple[dict[str, dict[str, PromptPair]] | None, dict[str, int]]:
        """Prompt pairs of users' own adapters, and their counts for the record."""
        assert cell.training is not None
        own = self.catalogue.own_data(cell.task, cell.training)
        if own is None:
            return None, {}
        examples = self._build(cell, [one for ones in own.examples.values() for one in ones]).examples
        found: dict[str, dict[str, PromptPair]] = {}
        for example, pair in zip(examples, self._built_pairs(cell, examples), strict=True):
            if pair is not None:
                found.setdefault(example.user, {})[example.id] = pair
        made = sum(map(len, found.values()))
        return found, {
            "users": own.users,
            "users_with_adapter": len(found),
            "own_examples": made,
            "own_examples_held_out": own.held_out,
            **_too_long("own_", len(examples) - made, [p for own in found.values() for p in own.values()]),
        }

    def _built_pairs(self, cell: Cell, examples: Sequence[Example]) -> list[PromptPair | None]:
        from perbench.prompts.pair import build_pairs

        folder = self.catalogue.resolve(cell.model).folder
        tokenizer, context = models.load_tokenizer(folder), context_in(folder)
        assert cell.trainer is not None
        return build_pairs(
            cell.task.spec,
            examples,
            tokenizer,
            with_response=True,
            context=context,
            with_rejected=cell.trainer.examples == "pairs",
        )

    def _with_personas(self, cell: Cell) -> tuple[Dataset, dict[str, int]]:
        """The cell's data with the personas that its task requests, and their counts for the record."""
        if not cell.task.spec.persona.resolved:
            return cell.data, {}
        task = cell.inputs["source" if cell.kind == "train" else "target"]
        key = canonical_digest([cell.inputs["data"], task["prompt"], task["persona"]])
        if key not in self._personas:
            found = self._build(cell, cell.data.examples)
            self._personas[key] = replace(cell.data, examples=found.examples), found.counts
        return self._personas[key]

    def _build(self, cell: Cell, examples: Sequence[Example]) -> BuiltPersonas:
        from perbench.persona.build import build_personas

        self.pool.release_subject()
        found = build_personas(cell.task.spec, examples, PersonaModels(self.catalogue, self.pool.open))
        free()
        return found

    def _template_notes(self, cell: Cell) -> list[str]:
        """Notes about the chat template of the cell's model, if it renders prompts in this process."""
        from perbench.prompts.chat import template_notes

        asked = cell.identifier is None or cell.identifier.needs_model
        if not (asked and owner_of(cell.task.spec).renders()):
            return []
        key = canonical_digest(cell.inputs["model"])
        if key not in self._notes:
            self._notes[key] = []
            if "tokens" in engine_of(cell.model).offers:
                tokenizer = models.load_tokenizer(self.catalogue.resolve(cell.model).folder)
                self._notes[key] = template_notes(tokenizer)
        return self._notes[key]


def _too_long(whose: str, skipped: int, pairs: Iterable[PromptPair]) -> dict[str, int]:
    """The counts of what was too long."""
    found = {SKIPPED: skipped, CUT: sum(pair.cut > 0 for pair in pairs)}
    return {f"{whose}{name}": count for name, count in found.items() if count}


def left_out(source: str | None, counts: Mapping[str, int], inputs: Mapping[str, Any]) -> list[str]:
    """Notes about training examples skipped or cut as too long, from the counts and inputs of a training on
    `source`: for its record, and for evaluations of the model."""
    found, setting = [], f"(on_too_long: {inputs['source'].get('on_too_long')})"
    for prefix, whose in (("", ""), ("own_", " (users' own adapters)")):
        kept = counts.get(f"{prefix}examples", 0)
        skipped, cut = (counts.get(f"{prefix}{name}", 0) for name in (SKIPPED, CUT))
        if skipped:
            found.append(
                f"left out of training on {source}{whose}: {skipped} of {kept + skipped} examples, as too "
                f"long {setting}"
            )
        if cut:
            found.append(
                f"cut in training on {source}{whose}: the responses of {cut} of {kept} examples, as too long "
                f"{setting}"
            )
    return found
