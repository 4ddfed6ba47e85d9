"""Protocols: how a target task turns a model into samples, and samples into scores."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from perbench.errors import PerbenchError, suggest

MODULES = {
    "generation": "perbench.protocols.generation",
    "dialogue": "perbench.protocols.dialogue",
    "identification": "perbench.protocols.identification",
    "preference": "perbench.protocols.preference",
    "lm_eval": "perbench.lm_eval.protocol",
}


def get(name: str) -> ModuleType:
    """The module of a protocol, imported on first use. Each has `score(task, samples) -> Scored`, pure, and

        run(task, dataset, engines, store, *, seed, tick) -> token counts

    or, for identification,

        run_identifier(task, dataset, identifier, engine, store, *, tick) -> token counts.

    Raises:
        PerbenchError: no such protocol.
    """
    if name not in MODULES:
        raise PerbenchError(f"unknown protocol {name!r}.{suggest(name, MODULES)}")
    return import_module(MODULES[name])
