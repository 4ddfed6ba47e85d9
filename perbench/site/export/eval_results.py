"""Hugging Face's `.eval_results/*.yaml`: a folder for the repository of each model and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import yaml

from perbench.contracts.results import Loaded, Matrix
from perbench.disk.files import write_text
from perbench.site.export.places import EvaluatedModel, empty_folder, evaluated_models, slug
from perbench.store import CellRecord
from perbench.store.record import Metric


def write(loaded: Loaded, matrix: Matrix, out: Path, left_out: Callable[[str], None]) -> list[Path]:
    """Write entries, each of which names a dataset on the hub: targets with other data are left out."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    root = empty_folder(out, "eval_results")
    names = Counter(model.name for model in evaluated_models(loaded))
    files = []
    for model in evaluated_models(loaded):
        alone = names[model.name] == 1
        folder = root / (model.name if alone else f"{model.name}-{model.records[0].identity[:8]}")
        for record in model.records:
            metric = record.metrics.get(record.headline or "")
            source = record.environment.get("data") or {}
            why = None
            if record.status == "failed":
                why = "failed"
            elif metric is None or metric.value is None:
                why = "no score"
            elif not source.get("hub"):
                why = "its data are not from the hub"
            if why is not None or metric is None:
                left_out(f"eval_results: {model.name} on {record.labels.target}: {why}")
                continue
            revision = source.get("revision")
            entry = EvalResultEntry(
                dataset_id=source["hub"],
                task_id=source.get("config") or "default",
                value=metric.value,
                dataset_revision=revision if _is_commit(revision) else None,
                date=record.finished,
                notes=_notes(model, record, metric),
            )
            file = folder / ".eval_results" / f"{slug(record.labels.target or '')}-{record.identity[:8]}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False))
            files.append(file)
    return files


def _notes(model: EvaluatedModel, record: CellRecord, metric: Metric) -> str:
    labels = record.labels
    parts = [f"perbench {labels.target}", f"{record.headline} ({metric.signature})"]
    if metric.ci is not None:
        parts.append(f"95% interval [{metric.ci[0]:.6g}, {metric.ci[1]:.6g}]")
    parts.append(f"n {metric.n}, {metric.missing} missing")
    if labels.trainer is not None:
        parts.append(f"trained by {labels.trainer} on {labels.source}")
    parts += [flag.text for flag in model.row.flags]
    parts += [f"seed {labels.seed}", *record.notes, f"cell {record.identity[:16]}"]
    return "; ".join(parts)


def _is_commit(revision: object) -> bool:
    return isinstance(revision, str) and len(revision) == 40 and not set(revision) - set("0123456789abcdef")
