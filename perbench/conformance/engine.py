"""Tests an engine's contract: with a tiny model if it serves weights, else with a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from perbench import plugins
from perbench.conformance.report import Fault, Finding, Report
from perbench.conformance.weights import TOKENS, Opened, Tiny
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
SHORT = SamplingSpec(max_new_tokens=8)
WARM = SamplingSpec(max_new_tokens=8, temperature=1.0)
ODD = "\U0001f469\u200d\U0001f467 \u05e9\u05dc\u202eabc e\u0301 \u4f60\u597d \U0001d518 <|im_end|>"
"""Text whose characters take several bytes, join, turn or look like a special token."""


def check(cls: type[EngineKind[Any]], given: Mapping[str, Any]) -> Report:
    """
    Args:
        given: for an engine of weights, keys of the tiny model's file; else `model`, the name of the model to
            test, which may cost something.

    Raises:
        PerbenchError: other keys.
    """
    valid = Finding("valid", True, "the file")
    if cls.weights:
        return _of_weights(cls, given, valid)
    if set(given) - {"model"}:
        raise PerbenchError("an engine is tested with its models as their files are: --param model=NAME")
    model = load_model(given["model"]) if given else None if cls.paid else _model(cls)
    if model is None:
        return Report(cls, "open", [valid])
    if type(engine_of(model)) is not cls:
        raise PerbenchError(f"--param model={model.name}: is served by another engine")
    opened = Opened(lambda: open_model(model))
    checks = {name: partial(one, cls, opened) for name, one in CHECKS.items()}
    return Report(engine_of(model), "open", [valid]).run(
        {"chat": partial(_chat, cls, model, opened), **checks}
    )


def _of_weights(cls: type[EngineKind[Any]], given: Mapping[str, Any], valid: Finding) -> Report:
    name = next(name for name, one in plugins.classes("engine").items() if one is cls)
    with TemporaryDirectory() as folder:
        tiny = Tiny(name, Path(folder), given)
        absent = engine_of(tiny.named).absent()
        if absent:
            return Report(cls, "open", [valid, Finding("opened", None, f"not run: {absent[0]}")])
        opened = Opened(tiny.open)
        checks = {name: partial(one, cls, opened) for name, one in CHECKS.items()}
        more = {
            name: partial(one, tiny, opened) for name, (need, one) in TOKENS.items() if need in cls.offers
        }
        report = Report(engine_of(tiny.named), "open", [valid])
        return report.run({"chat": partial(_chat, cls, tiny.named, opened), **checks, **more})


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


# ---------------------------------------------------------------- of every engine


def _chat(cls: type[EngineKind[Any]], model: Named[ModelSpec], opened: Opened) -> str:
    engine = opened.engine
    if engine.offers != cls.offers:
        own, declared = (", ".join(sorted(offers)) for offers in (engine.offers, cls.offers))
        raise Fault(f"the engine from open() offers {own}, but {cls.__name__} declares {declared}")
    found: object = engine.chat(CHATS, SHORT, seed=0)
    if not isinstance(found, list) or not all(isinstance(one, Generation) for one in found):
        raise Fault(f"chat() returned {found!r}; return a list of Generation")
    if len(found) != len(CHATS):
        raise Fault(f"chat() gave {len(found)} answers to {len(CHATS)} conversations")
    return f"model {model.name}: an answer to each conversation"


def _nothing(cls: type[EngineKind[Any]], opened: Opened) -> str:
    if found := opened.engine.chat([], SHORT, seed=0):
        raise Fault(f"chat() gave {found!r} to no conversation")
    return "no answer to no conversation"


def _turns(cls: type[EngineKind[Any]], opened: Opened) -> str:
    roles = ("system", "user", "assistant", "user")
    texts = ("Answer briefly.", "Tea or coffee?", "Tea.", ODD)
    talk = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    (found,) = opened.engine.chat([talk], SHORT, seed=0)
    try:
        found.text.encode()
    except UnicodeEncodeError as error:
        raise Fault(f"the answer {found.text!r} is no text: {error}") from None
    return "a system message, several turns, any characters"


def _counts(cls: type[EngineKind[Any]], opened: Opened) -> str:
    for limit in (1, SHORT.max_new_tokens):
        for one in opened.engine.chat(CHATS, SamplingSpec(max_new_tokens=limit), seed=0):
            if one.missing is None and not (one.prompt_tokens > 0 and 0 <= one.new_tokens <= limit):
                raise Fault(
                    f"with max_new_tokens {limit} an answer counts {one.new_tokens} tokens, its prompt "
                    f"{one.prompt_tokens}"
                )
            if one.finish_reason == "length" and one.new_tokens < limit:
                raise Fault(f"an answer of {one.new_tokens} tokens ends by length under a limit of {limit}")
    return "at most max_new_tokens; a prompt has some"


def _seeds(cls: type[EngineKind[Any]], opened: Opened) -> str:
    engine = opened.engine
    first = engine.chat(CHATS, WARM, seed=1)
    if engine.chat(CHATS, WARM, seed=1) != first:
        raise Fault("the same chats with the same seed got other answers")
    if engine.alone and [engine.chat([one], WARM, seed=1)[0] for one in CHATS] != first:
        raise Fault("`alone`, but an answer depends on what else is asked")
    if "tokens" in engine.offers and engine.chat(CHATS, WARM, seed=2) == first:
        raise Fault("another seed got the same answers at temperature 1")
    return "the same seed repeats, alone and among others" if engine.alone else "the same seed repeats"


CHECKS: Mapping[str, Callable[[type[EngineKind[Any]], Opened], str]] = {
    "nothing": _nothing,
    "turns": _turns,
    "counts": _counts,
    "seeds": _seeds,
}
