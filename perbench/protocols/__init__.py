"""Protocols: how a target task turns a model into samples, and samples into scores."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from perbench.errors import PerbenchError, suggest
from perbench.specs.registry import PROTOCOLS


def get(name: str) -> ModuleType:
    """The module of a protocol, imported on first use. Each has `score(task, samples) -> Scored`, pure,
    `sample_ids(task, dataset, dev=None)`, the ids that a finished cell's samples have, and

        run(task, dataset, engines, store, *, seed, tick) -> token counts

    or, for identification,

        run_identifier(task, dataset, identifier, engine, store, *, tick) -> token counts.

    Raises:
        PerbenchError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise PerbenchError(f"unknown protocol {name!r}.{suggest(name, PROTOCOLS)}")
    return import_module(PROTOCOLS[name].module)
