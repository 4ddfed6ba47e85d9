"""Tests an engine's contract by two chats with an available model without weights or costs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from perbench import plugins
from perbench.conformance.report import Fault, Finding, Report
from perbench.contracts.engine import Generation
from perbench.contracts.engine_kind import EngineKind
from perbench.errors import PerbenchError
from perbench.matrix.engines import open_model
from perbench.shapes.base import Named
from perbench.shapes.model import ModelSpec
from perbench.shapes.sampling import SamplingSpec
from perbench.specs.compose import engine_of
from perbench.specs.load import load_model

CHATS = [[{"role": "user", "content": text}] for text in ("Tea?", "Or milk in it? Say one word.")]


def check(cls: type[EngineKind[Any]], given: Mapping[str, Any]) -> Report:
    """
    Raises:
        PerbenchError: keys are `given`; models are tested as their files are.
    """
    if given:
        raise PerbenchError("an engine is tested with its models as their files are; remove --param")
    valid = Finding("valid", True, "the file")
    model = None if cls.weights or cls.paid else _model(cls)
    if model is None:
        return Report(cls, "open", [valid])
    return Report(engine_of(model), "open", [valid]).run({"chat": partial(_chat, cls, model)})


def _model(cls: type[EngineKind[Any]]) -> Named[ModelSpec] | None:
    """A valid model of the engine that lacks nothing on this machine."""
    for name in plugins.names("model"):
        try:
            model = load_model(name)
        except PerbenchError:
            continue
        if type(engine := engine_of(model)) is cls and not engine.absent():
            return model
    return None


def _chat(cls: type[EngineKind[Any]], model: Named[ModelSpec]) -> str:
    engine = open_model(model)
    if engine.offers != cls.offers:
        own, declared = (", ".join(sorted(offers)) for offers in (engine.offers, cls.offers))
        raise Fault(f"the engine from open() offers {own}, but {cls.__name__} declares {declared}")
    found: object = engine.chat(CHATS, SamplingSpec(max_new_tokens=8), seed=0)
    if not isinstance(found, list) or not all(isinstance(one, Generation) for one in found):
        raise Fault(f"chat() returned {found!r}; return a list of Generation")
    if len(found) != len(CHATS):
        raise Fault(f"chat() gave {len(found)} answers to {len(CHATS)} conversations")
    return f"model {model.name}: an answer to each conversation"
