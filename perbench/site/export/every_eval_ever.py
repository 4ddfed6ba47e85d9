"""Every Eval Ever 0.3.0 (github.com/evaleval/every_eval_ever): a JSON file for each model and seed, with
every metric of its records."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from perbench.contracts.results import Loaded, Matrix
from perbench.disk.digests import canonical_digest
from perbench.disk.files import write_json
from perbench.site.export.places import EvaluatedModel, empty_folder, evaluated_models
from perbench.store import CellRecord
from perbench.store.record import Metric

VERSION = "0.3.0"
OPEN_END = ("-Infinity", "Infinity")


def write(loaded: Loaded, matrix: Matrix, out: Path, left_out: Callable[[str], None]) -> list[Path]:
    folder = empty_folder(out, "eee")
    files = []
    for model in evaluated_models(loaded):
        for record in model.records:
            if record.status == "failed":
                left_out(f"eee: {model.name} on {record.labels.target}: failed")
        log = log_of(model)
        for name in json.loads(log["source_metadata"]["additional_details"]["without_score"]):
            left_out(f"eee: {model.name} on {name}: no score")
        if log["evaluation_results"]:
            files.append(folder / f"{_uuid(model)}.json")
            write_json(files[-1], log)
    return files


def log_of(model: EvaluatedModel) -> dict[str, Any]:
    """A log in the format's schema, which has no place for failed evaluations and missing scores: they are
    listed in additional details."""
    done = [record for record in model.records if record.status == "done"]
    metrics = [(record, name, metric) for record in done for name, metric in record.metrics.items()]
    newest = max(model.records, key=lambda record: (record.finished, record.identity))
    environment = newest.environment
    source = {
        "without_score": [
            f"{r.labels.target}: {name}" for r, name, metric in metrics if metric.value is None
        ],
        "failed": [record.labels.target for record in model.records if record.status == "failed"],
    }
    return {
        "schema_version": VERSION,
        "evaluation_id": f"perbench/{model.name}/{_uuid(model)}",
        "evaluation_timestamp": newest.finished,
        # The time of writing would make the output depend on it.
        "retrieved_timestamp": str(int(datetime.fromisoformat(newest.finished).timestamp())),
        "source_metadata": {
            "source_name": "perbench",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
            "additional_details": _details(source),
        },
        "eval_library": {
            "name": "perbench",
            "version": str(environment.get("perbench", "unknown")),
            "additional_details": _details({"commit": environment.get("commit", "unknown")}),
        },
        "model_info": _model(model),
        "evaluation_results": [_result(*found) for found in metrics if found[2].value is not None],
    }


def _uuid(model: EvaluatedModel) -> UUID:
    """Version 4 in form, as the collection's file names require, but derived from the records."""
    digest = canonical_digest([record.identity for record in model.records])
    return UUID(bytes=bytes.fromhex(digest)[:16], version=4)


def _model(model: EvaluatedModel) -> dict[str, Any]:
    """A trained model differs from the model it was trained from, and must not have its name."""
    row, base = model.row, model.records[0].inputs.get("model") or {}
    remote = "endpoint" in base
    name = str(base.get("hub") or base.get("endpoint") or row.model)
    details = {
        "deployment_type": "unknown" if remote else "self_deployed",
        "model_availability": "open_weights" if "hub" in base else "unknown",
        "base_model": name,
        "weights": {key: base[key] for key in ("revision", "weights_sha256", "gguf_sha256") if key in base},
        "trainer": row.trainer,
        "trained_on": row.source,
        "variation": row.variation,
        "seed": model.seed,
        "trained_by_cell": model.records[0].trained_by,
    }
    return {
        "name": model.name if row.trainer else row.model,
        "id": f"perbench/{model.name}" if row.trainer else name,
        "additional_details": _details(details),
    }


def _result(record: CellRecord, name: str, metric: Metric) -> dict[str, Any]:
    better = record.better_of(name)
    config: dict[str, Any] = {
        "metric_id": f"perbench.{name}",
        "metric_name": name,
        "metric_parameters": {"signature": metric.signature},
        "lower_is_better": better == "lower",
        "additional_details": {"better": better or "neither"},
    }
    if metric.bounds is not None:
        low, high = (
            end if bound is None else bound for bound, end in zip(metric.bounds, OPEN_END, strict=True)
        )
        config |= {"score_type": "continuous", "min_score": low, "max_score": high}
    score: dict[str, Any] = {
        "score": metric.value,
        "details": _details(
            {
                "n": metric.n,
                "missing": metric.missing,
                "why_missing": metric.why,
                "users": metric.users,
                "headline": name == record.headline,
                "notes": record.notes,
            }
        ),
    }
    if metric.ci is not None:
        low, high = metric.ci
        method = metric.ci_method or "bootstrap over users, percentiles"
        ci = {"lower": low, "upper": high, "confidence_level": 0.95, "method": method}
        score["uncertainty"] = {"confidence_interval": ci, "num_samples": metric.n}
    return {
        "evaluation_result_id": f"{record.identity}/{name}",
        "evaluation_name": f"perbench.{record.labels.target}",
        "evaluation_timestamp": record.finished,
        "source_data": _data(record),
        "metric_config": config,
        "score_details": score,
        "generation_config": _generation(record),
    }


def _data(record: CellRecord) -> dict[str, Any]:
    found = record.environment.get("data") or {}
    details = {"sha256": record.inputs.get("data"), "source": found}
    named = {"dataset_name": record.labels.target, "additional_details": _details(details)}
    if isinstance(found, dict) and found.get("hub"):
        return {**named, "source_type": "hf_dataset", "hf_repo": found["hub"], "hf_split": found["split"]}
    return {**named, "source_type": "other"}


def _generation(record: CellRecord) -> dict[str, Any]:
    target = record.inputs.get("target") or {}
    sampling = target.get("sampling") or {}
    taken = {"temperature": "temperature", "top_p": "top_p", "max_tokens": "max_new_tokens"}
    arguments = {key: sampling[name] for key, name in taken.items() if sampling.get(name) is not None}
    return {
        "generation_args": {**arguments, "execution_command": record.command},
        "additional_details": _details({"identity": record.identity, "target": target}),
    }


def _details(values: dict[str, Any]) -> dict[str, str]:
    """The format's additional details: all values are strings."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        for key, value in values.items()
        if value is not None
    }
