"""Which tasks lm-eval can ask, under which name and with which settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perbench.contracts.base import Capability
from perbench.contracts.independent import Independent
from perbench.errors import PerbenchError
from perbench.shapes.base import Named
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import decoding_of, owner_of

PREFIX = "perbench_"
TAG = "perbench"
OFFERS: frozenset[Capability] = frozenset({"chat"})
"""What lm-eval's models offer a protocol, besides requests known in advance."""


def lm_eval_name(task: str) -> str:
    """The name of a task or of a folder of tasks in lm-eval: letters, digits and underscores."""
    return PREFIX + re.sub(r"\W+", "_", task)


def is_ours(task: str | None) -> bool:
    """Whether lm-eval's name of a task is of one of perbench's, or of a conversation that it holds (TAG)."""
    return task is not None and (task == TAG or task.startswith(PREFIX))


def independent(task: Named[TaskSpec]) -> Independent | None:
    """How lm-eval asks a task's requests; None if the protocol itself holds its conversations with lm-eval's
    model.

    Raises:
        PerbenchError: lm-eval cannot do what the task needs.
    """
    owner = owner_of(task.spec)
    own = owner.independent()
    roles = [*decoding_of(task.spec.decoding).roles(), *(owner.roles() if own is None else ())]
    for role in roles:
        lacking = [message for need, message in role.needs.items() if need not in OFFERS]
        if role.model is None and lacking:
            raise PerbenchError(lacking[0].format(model="lm-eval's model", what="a model of lm-eval"))
    if own is None and owner.cells == "identify":
        raise PerbenchError(f"{owner.called} does not define independent()")
    return own


def output_of(own: Independent | None) -> str:
    """lm-eval's `output_type`. A conversation is shown as what its last reply is."""
    return "generate_until" if own is None else own.output


def sampled(sampling: SamplingSpec) -> dict[str, Any]:
    """lm-eval's `generation_kwargs` for a task's sampling."""
    options: dict[str, Any] = {"until": [], "max_gen_toks": sampling.max_new_tokens}
    if sampling.repetition_penalty != 1:
        options["repetition_penalty"] = sampling.repetition_penalty
    if sampling.temperature == 0:
        return {**options, "do_sample": False}
    return {**options, "do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p}


def config(task: Named[TaskSpec], own: Independent | None, **source: Any) -> dict[str, Any]:
    """lm-eval's configuration of a task, without its class; `source` says where its examples come from."""
    output = output_of(own)
    return {
        "task": lm_eval_name(task.name),
        "tag": [TAG],
        "output_type": output,
        **({"generation_kwargs": sampled(task.spec.sampling)} if output == "generate_until" else {}),
        "num_fewshot": 0,
        "perbench": {
            "task": task.name,
            "summary": task.spec.summary,
            "license": task.spec.license,
            "headline": task.spec.headline,
            **(own.says if own is not None else {}),
            **source,
        },
    }


def yaml_text(values: Mapping[str, Any]) -> str:
    """A task's YAML file."""
    import yaml

    text: str = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=110)
    return f"{text}class: !function perbench.harness.task.Task\n"


def groups(names: Mapping[str, str]) -> dict[str, list[str]]:
    """lm-eval's groups: a folder's tasks.

    Args:
        names: lm-eval's name of each task.
    """
    found: dict[str, list[str]] = {}
    for task, name in names.items():
        folder = Path(task).parent.as_posix()
        if folder != ".":
            found.setdefault(lm_eval_name(folder), []).append(name)
    return {group: members for group, members in found.items() if group not in names.values()}
