"""Builds the conversation of an example, and its sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.api import Example
from perbench.contracts import missing
from perbench.errors import PerbenchError

from .samples import JudgedAnswer
from .section import PreferenceSpec

if TYPE_CHECKING:
    from perbench.contracts.engine import Generation
    from perbench.contracts.resume import Sample
    from perbench.judges.protocol import Verdicts

Message = dict[str, str]


def opening(spec: PreferenceSpec, example: Example) -> list[Message]:
    preference, turns = example.extra.get("preference"), example.extra.get("turns")
    if not isinstance(preference, str) or not preference.strip():
        raise PerbenchError(f"example {example.id}: no text `preference`; add it to the task's fields.extra")
    fits = isinstance(turns, Sequence) and all(
        isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in turns
    )
    if spec.turns and (not fits or len(turns or ()) < spec.turns):
        raise PerbenchError(
            f"example {example.id}: `turns` must hold at least {spec.turns} [user, assistant] pairs (found "
            f"{len(turns) if fits and turns else 'none'}); lower preference.turns"
        )
    system = [{"role": "system", "content": spec.system}] if spec.system is not None else []
    return [*system, {"role": "user", "content": preference}]


def conversation(spec: PreferenceSpec, example: Example, opened: list[Message], reply: str) -> list[Message]:
    between = [
        {"role": role, "content": text}
        for pair in (example.extra["turns"][: spec.turns] if spec.turns else [])
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    question = spec.question.format_map({"question": example.question})
    answered = {"role": "assistant", "content": reply}
    return [*opened, answered, *between, {"role": "user", "content": question}]


def asked(
    spec: PreferenceSpec | None, sample: Sample, example: Example | None
) -> tuple[tuple[str, str], ...]:
    """Role and text of the messages before a stored sample's answer; only those before the reply to the
    preference if that is missing. Without `example` the unrelated exchanges are left out, without `spec` also
    the words around the question."""
    opened: list[Message] = [{"role": "user", "content": sample["preference"]}]
    if spec is not None and spec.system is not None:
        opened.insert(0, {"role": "system", "content": spec.system})
    if not sample["first_reply"] and missing.reason(sample) is not None:
        return tuple((one["role"], one["content"]) for one in opened)
    if spec is None:
        replied = [{"role": "assistant", "content": sample["first_reply"]}]
        opened += [*replied, {"role": "user", "content": sample["question"]}]
        return tuple((one["role"], one["content"]) for one in opened)
    if example is None:
        spec, example = spec.model_copy(update={"turns": 0}), Example("", "", sample["question"], "")
    talk = conversation(spec, example, opened, sample["first_reply"])
    return tuple((one["role"], one["content"]) for one in talk)


def sample(
    example: Example, first: Generation, answer: Generation | None, verdicts: Verdicts
) -> JudgedAnswer:
    """`answer` is None if the reply to the preference is missing and the question was not asked."""
    last = first if answer is None else answer
    made = JudgedAnswer(
        id=example.id,
        user=example.user,
        preference=example.extra["preference"],
        question=example.question,
        turns_from=example.extra.get("turns_from"),
        first_reply=first.text,
        response="" if answer is None else answer.text,
        finish_reason=last.finish_reason,
        prompt_tokens=first.prompt_tokens + (0 if answer is None else answer.prompt_tokens),
        new_tokens=first.new_tokens + (0 if answer is None else answer.new_tokens),
        **verdicts,  # type: ignore[typeddict-item]  # whether there is a `missing` is known below
    )
    if last.missing is not None:
        made[missing.MISSING] = last.missing
    return made
