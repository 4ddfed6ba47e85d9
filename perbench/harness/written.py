"""`perbench lm-eval write`: tasks as files that need no data of this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perbench import __version__
from perbench.disk.digests import read_sha256
from perbench.disk.files import SURROGATE, write_text
from perbench.errors import PerbenchError
from perbench.harness.rows import SpecRows, written
from perbench.harness.tasks import config, groups, lm_eval_name, yaml_text


@dataclass(frozen=True)
class WrittenTask:
    task: str
    file: Path
    examples: int
    license: str
    redistributable: bool


def write_task(
    folder: Path, task: str, data: Mapping[str, str], *, limit: int | None, model: str | None
) -> WrittenTask:
    """Write lm-eval's YAML file of a task and its examples with all requests, as JSONL beside it.

    Args:
        model: whose tokens trim histories; None: tokens are estimated from characters.

    Raises:
        PerbenchError: the task's data are not on this machine, or an example is too long.
    """
    rows = SpecRows(task, data, limit=limit)
    tokenizer = _tokenizer(model) if model is not None else None
    asked = rows.asked(range(len(rows.examples)), tokenizer, None)
    name = lm_eval_name(task)
    file = folder / f"{name}.jsonl"
    lines = (json.dumps(written(one), ensure_ascii=False) for one in asked)
    text = "".join(f"{line}\n" for line in lines)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text))
    spec = rows.task.spec
    source: dict[str, Any] = {
        "rows": file.name,
        "rows_sha256": read_sha256(file),
        "data_sha256": rows.digest,
        "examples": len(asked),
        "trimmed_by": "characters" if model is None else model,
        "perbench": __version__,
        "spec": _portable(spec.model_dump(mode="json", exclude_unset=True)),
    }
    write_text(folder / f"{name}.yaml", yaml_text(config(rows.task, rows.own, **source)))
    return WrittenTask(task, folder / f"{name}.yaml", len(asked), spec.license, spec.redistributable)


def write_groups(folder: Path, tasks: Sequence[str]) -> None:
    for group, members in groups({task: lm_eval_name(task) for task in tasks}).items():
        write_text(folder / f"{group}.group.yaml", json.dumps({"group": group, "task": members}))


def _portable(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec without the machine's folder of its data, which are in the written file."""
    spec["data"] = {key: value for key, value in spec["data"].items() if key != "data_dir"}
    return spec


def _tokenizer(model: str) -> Any:
    from perbench.lm.models import load_tokenizer, resolve
    from perbench.specs.load import load_model

    named = load_model(model)
    if "tokens" not in _offers(named):
        raise PerbenchError(f"--model {model} has no tokenizer here; name a model with local weights")
    return load_tokenizer(resolve(named).folder)


def _offers(named: Any) -> Any:
    from perbench.specs.compose import engine_of

    return engine_of(named).offers
