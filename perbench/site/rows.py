"""The rows of the matrix: which trained models are distinct, and their order."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perbench.contracts.results import Entry, Loaded, ModelRow
from perbench.contracts.section import RowHead
from perbench.site.apart import Namesake, Path, key, tell_apart
from perbench.site.format import natural, variation
from perbench.specs.grid import leaves, nest
from perbench.store import CellRecord, Labels

ON_TEST = "chosen on TEST"
"""Said in red of models that a matrix chose by test scores."""


def varied_params(records: Sequence[CellRecord]) -> Mapping[str, frozenset[str]]:
    """Hyperparameters that differ between a trainer's records, by trainer."""
    seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record.labels.trainer is not None:
            seen[record.labels.trainer].append(record.labels.trainer_params)
    return {
        trainer: frozenset(
            name
            for name in {name for params in found for name in params}
            if len({json.dumps(params.get(name), sort_keys=True) for params in found}) > 1
        )
        for trainer, found in seen.items()
    }


def rows_of(loaded: Loaded) -> dict[str, ModelRow]:
    """The row of each train and eval cell, by identity. Models of one name trained on other data, with other
    settings or from other weights get separate rows."""
    entries = [entry for entry in loaded.results if entry.record.kind != "identify"]
    varied = varied_params([entry.record for entry in entries])
    own = {path for entry in entries for path in _own_paths(entry.record)}
    if any(path[1] == "per_user" for path in own):
        own.add(("own_data",))
    trained: dict[tuple[str | None, str], tuple[str, str]] = {}
    for entry in entries:
        if (at := _trained(entry)) not in trained:
            trained[at] = _settings(entry, loaded, own)
    made: dict[tuple[str | None, str], list[tuple[Any, Any, ModelRow]]] = defaultdict(list)
    found: dict[str, ModelRow] = {}
    for entry in entries:
        at, record = _trained(entry), entry.record
        model, who = record.inputs.get("model"), _who(record.labels)
        row = next((one for its, names, one in made[at] if names == who and its == model), None)
        if row is None:  # most often that of the training's other cells
            row = _row(entry, loaded, varied, *trained[at])
            made[at].append((model, who, row))
        found[record.identity] = row
    held: dict[ModelRow, list[Entry]] = defaultdict(list)
    for entry in entries:
        held[found[entry.record.identity]].append(entry)
    named = _told_apart(held, loaded.profiles)
    return {identity: named[row] for identity, row in found.items()}


def _trained(entry: Entry) -> tuple[str | None, str]:
    """The training that an entry is, or evaluates (None: the base model), and the entry's run."""
    record = entry.record
    return record.identity if record.kind == "train" else record.trained_by, entry.run


def _settled(entry: Entry, loaded: Loaded) -> tuple[dict[str, Any], set[str]]:
    """Values that a selection chose, or the matrix gives by source, by axis; and the splits that chose."""
    settled = loaded.settled.get(_trained(entry)[0] or "", ())
    values = {axis: value for one in settled if one.winner for axis, value in one.winner.values.items()}
    return values, {str(one.on) for one in settled} - {"source"}


def _settings(entry: Entry, loaded: Loaded, own: Iterable[Path]) -> tuple[str, str]:
    """Setting and method of the model's training, as in `ModelRow`."""
    record = entry.record
    trained = record.inputs if record.kind == "train" else loaded.trainings.get(record.trained_by or "")
    inputs = leaves(trained or {})
    for axis in _settled(entry, loaded)[0]:
        inputs.pop(("trainer", "params", axis), None)
        inputs.pop(("training", *axis.split(".")), None)
    method = {path: inputs[path] for path in inputs if path[0] == "trainer" or path in own}
    setting = {
        path: inputs[path] for path in inputs if path not in method and path[0] not in ("model", "seed")
    }
    if trained is None and record.trained_by is not None:
        setting = {("training",): entry.run}  # its record no longer exists
    return key(nest(setting)), key(nest(method))


def _row(
    entry: Entry, loaded: Loaded, varied: Mapping[str, frozenset[str]], setting: str, method: str
) -> ModelRow:
    record, labels = entry.record, entry.record.labels
    named = varied.get(labels.trainer or "", frozenset())
    values, how = _settled(entry, loaded)
    params = {k: v for k, v in labels.trainer_params.items() if k.removeprefix("training.") not in values}
    # Always show a trainer's own settings: its baseline was trained with others.
    shown = {k: v for k, v in params.items() if k in named or k.startswith("training.")}
    training = {k: v for k, v in labels.training.items() if k not in values}
    return ModelRow(
        model=labels.model,
        model_label=labels.model_label,
        trainer=labels.trainer,
        source=labels.source,
        variation=", ".join(filter(None, (variation(shown), variation(training), _chosen(values, how)))),
        training=key(training),
        params=key(params),
        start=key({"model": record.inputs.get("model")}),
        setting=setting,
        method=method,
        chosen=key(values) if values else "",
        chosen_on="test" if "test" in how else "val" if how else "",
    )


def _who(labels: Labels) -> tuple[Any, ...]:
    """The labels that a row is made from."""
    return (
        labels.model,
        labels.model_label,
        labels.trainer,
        labels.source,
        labels.trainer_params,
        labels.training,
    )


def _chosen(values: Mapping[str, Any], how: Collection[str]) -> str:
    """ "chosen on validation: learning_rate=2e-05"."""
    where = ON_TEST if "test" in how else "chosen on validation" if how else ""
    return ": ".join(filter(None, (where, variation(values))))


def _own_paths(record: CellRecord) -> list[Path]:
    """Inputs that a trainer sets for itself."""
    return [tuple(name.split(".")) for name in record.labels.trainer_params if name.startswith("training.")]


def _told_apart(
    held: Mapping[ModelRow, Sequence[Entry]], by_cell: Mapping[str, Sequence[str]]
) -> dict[ModelRow, ModelRow]:
    """Rows with distinguishing words, by the rows without. `by_cell`: profiles by identity."""
    sizes = {
        entry.record.identity: entry.record.counts.get("examples")
        for entries in held.values()
        for entry in entries
        if entry.record.kind == "train"
    }
    size, runs, apart = {}, {}, {}
    profiles = _profiles(held, by_cell)
    for row, entries in held.items():
        trained = [entry.record.trained_by or entry.record.identity for entry in entries]
        size[row] = next((found for name in trained if (found := sizes.get(name)) is not None), None)
        runs[row] = tuple(sorted({entry.run for entry in entries}))
        apart[row] = list[str]()
    levels: list[tuple[Callable[[ModelRow], Any], Callable[[ModelRow], str]]] = [
        (lambda row: row.model, lambda row: row.start),
        (lambda row: (row.model, row.source), lambda row: row.setting),
        (lambda row: replace(row, model_label=None, method=""), lambda row: row.method),
    ]
    for scope, inputs in levels:
        groups: dict[Any, list[ModelRow]] = defaultdict(list)
        for row in held:
            groups[scope(row)].append(row)
        for group in groups.values():
            variants = [Namesake(json.loads(inputs(row)), size[row], runs[row], _named(row)) for row in group]
            for row, words in zip(group, tell_apart(variants), strict=True):
                apart[row].append(words)
    return {
        row: replace(
            row,
            variation=", ".join(filter(None, (row.variation, *apart[row], profiles[row]))),
            apart=tuple(apart[row]),
            runs=frozenset(runs[row]),
        )
        for row in held
    }


def _profiles(
    held: Mapping[ModelRow, Sequence[Entry]], by_cell: Mapping[str, Sequence[str]]
) -> dict[ModelRow, str]:
    """The profiles whose matrices planned a row: "profile as_code"."""
    found = {
        row: sorted({name for entry in entries for name in by_cell.get(entry.record.identity, ())})
        for row, entries in held.items()
    }
    return {row: f"profile {' and '.join(names)}" if names else "" for row, names in found.items()}


def _named(row: ModelRow) -> list[Path]:
    """Inputs shown by the row's labels: what the matrix varies in training."""
    varied = [("training", *name.split(".")) for name in json.loads(row.training)]
    return [*varied, *([("own_data",)] if any(path[1] == "per_user" for path in varied) else [])]


def order(row: ModelRow, baseline: str | None) -> tuple[Any, ...]:
    """Sort key: model, base rows first, then source and settings, the baseline before other trainers."""
    start, setting, method = map(natural, row.apart)
    return (
        natural(row.model),
        start,
        row.trainer is not None,
        natural(row.source or ""),
        _by_value(row.training),
        setting,
        row.trainer != baseline,
        row.trainer or "",
        _by_value(row.params),
        method,
    )


def head_of(row: ModelRow) -> RowHead:
    return RowHead(
        name=row.trainer or "base model",
        variation=row.variation,
        flags=row.flags,
        trained_on=row.source or "",
        model=row.model,
        model_label=row.model_label,
        group=(row.model, row.source or "", row.training),
    )


class Baselines:
    """Of rows, the one against which gains are measured: trained by the baseline from the same weights, on
    the same data and with the same settings. If its own parameters vary, one that was chosen alike, from the
    row's runs, else the first."""

    def __init__(self, rows: Iterable[ModelRow], baseline: str | None) -> None:
        self._held: dict[tuple[str | None, ...], list[ModelRow]] = defaultdict(list)
        for row in rows:
            if row.trainer == baseline:
                self._held[_alike(row)].append(row)

    def of(self, row: ModelRow) -> ModelRow | None:
        return min(
            self._held.get(_alike(row), ()) if row.trainer is not None else (),
            key=lambda other: (other.chosen_on != row.chosen_on, not other.runs & row.runs),
            default=None,
        )


def _alike(row: ModelRow) -> tuple[str | None, ...]:
    return row.model, row.source, row.training, row.start, row.setting


def _by_value(parameters: str) -> list[tuple[str, bool, float, str]]:
    """Sort key of hyperparameters: numbers by size, the rest as text."""
    found = sorted(json.loads(parameters).items())
    numeric = {name: isinstance(value, int | float) for name, value in found}
    return [(name, not numeric[name], value if numeric[name] else 0.0, str(value)) for name, value in found]
