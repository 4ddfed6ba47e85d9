"""Builds the conversation of an example, and its sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perbench.api import Example
from perbench.contracts import missing
from perbench.errors import PerbenchError
from perbench.prompts.talk import chats, dialogue

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
    system = [("system", spec.system)] if spec.system is not None else []
    if spec.opening == "stated":
        return chats(*dialogue([*system, ("user", preference)]))
    said = [(item.get("role"), item.get("text")) for item in example.persona]
    if not said or not all(isinstance(part, str) for message in said for part in message):
        raise PerbenchError(
            f"example {example.id}: the history must hold the conversation that reveals the preference, as "
            "messages {role, text}; or set preference.opening: stated"
        )
    try:
        return chats(*dialogue([*system, *((str(role), str(text)) for role, text in said)]))
    except PerbenchError as error:
        raise PerbenchError(f"example {example.id}: {error}") from None


def conversation(
    spec: PreferenceSpec, example: Example, opened: list[Message], reply: str | None
) -> list[Message]:
    """`reply` is that to the stated preference, None if the dialogue began otherwise."""
    between = [
        {"role": role, "content": text}
        for pair in (example.extra["turns"][: spec.turns] if spec.turns else [])
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    question = spec.question.format_map({"question": example.question})
    answered = [] if reply is None else [{"role": "assistant", "content": reply}]
    return [*opened, *answered, *between, {"role": "user", "content": question}]


def asked(
    spec: PreferenceSpec | None, sample: Sample, example: Example | None
) -> tuple[tuple[str, str], ...]:
    """Role and text of the messages before a stored sample's answer; only those before the reply to the
    preference if that is missing. Without `example` the unrelated exchanges are left out, without `spec` also
    the words around the question."""
    stated = spec is None or spec.opening == "stated"
    opened: list[Message] = [{"role": "user", "content": sample["preference"]}] if stated else []
    if spec is not None and spec.system is not None:
        opened.insert(0, {"role": "system", "content": spec.system})
    if stated and not sample["first_reply"] and missing.reason(sample) is not None:
        return tuple((one["role"], one["content"]) for one in opened)
    reply = sample["first_reply"] if stated else None
    if spec is None:
        question = {"role": "user", "content": sample["question"]}
        opened += [{"role": "assistant", "content": sample["first_reply"]}, question]
        return tuple((one["role"], one["content"]) for one in opened)
    if example is None:
        spec, example = spec.model_copy(update={"turns": 0}), Example("", "", sample["question"], "")
    elif not stated:
        opened = opening(spec, example)
    talk = conversation(spec, example, opened, reply)
    return tuple((one["role"], one["content"]) for one in talk)


def sample(
    example: Example, first: Generation | None, answer: Generation | None, verdicts: Verdicts
) -> JudgedAnswer:
    """`first` is the reply to the stated preference, None if there is none; `answer` is None if that reply is
    missing and the question was not asked."""
    there = [one for one in (first, answer) if one is not None]
    last = there[-1]
    made = JudgedAnswer(
        id=example.id,
        user=example.user,
        preference=example.extra["preference"],
        question=example.question,
        turns_from=example.extra.get("turns_from"),
        first_reply="" if first is None else first.text,
        response="" if answer is None else answer.text,
        finish_reason=last.finish_reason,
        prompt_tokens=sum(one.prompt_tokens for one in there),
        new_tokens=sum(one.new_tokens for one in there),
        **verdicts,  # type: ignore[typeddict-item]  # whether there is a `missing` is known below
    )
    if last.missing is not None:
        made[missing.MISSING] = last.missing
    return made
