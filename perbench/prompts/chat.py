"""A model's chat template: prompts as token ids, and the tokens that end an answer."""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

_SYSTEM, _USER, _ANSWER = "a-system-text", "a-user-text", "an-answer"
"""Probe texts: no template quotes them by itself."""


def chat_text(tokenizer: Any, system: str | None, turns: Sequence[str]) -> str:
    """The prompt that asks for the answer to the last of `turns` (user, assistant, user, ...), rendered.

    A template without a system role gets the system text as the first paragraph of the first user turn. A
    template that adds a system prompt of its own when none is given keeps it: that is the model's format.
    What a text spells like a special token ("<|im_end|>") gets a space ("< |im_end|>"): only the template
    opens and closes turns. A template that can ask for thoughts before the answer (Qwen3's) asks for none:
    all that a model writes is taken for its answer.
    """
    turns = [_inert(tokenizer, turn) for turn in turns]
    system = None if system is None else _inert(tokenizer, system)
    if system is not None and not has_system_role(tokenizer):
        turns, system = [folded(system, turns[0]), *turns[1:]], None
    return _render(tokenizer, system, turns, ask=True)


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered prompt, with no tokens added around it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def encode_response(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a response, none of them special: what it spells like a special token stays text."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def end_of_turn(tokenizer: Any) -> tuple[int, ...]:
    """The ids that the template writes after an answer, up to the first special token; the tokenizer's
    end-of-sequence token where the template writes no special token there."""
    return _facts(tokenizer).end


def has_system_role(tokenizer: Any) -> bool:
    """Whether the template shows a system turn; some refuse it, others leave it out without a word."""
    return _facts(tokenizer).system_role


def folded(system: str, turn: str) -> str:
    """The first user turn of a dialogue under a template without a system role."""
    return f"{system}\n\n{turn}"


def _inert(tokenizer: Any, text: str) -> str:
    return _facts(tokenizer).special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


class _Facts(NamedTuple):
    """What a tokenizer's chat template and special tokens are like."""

    system_role: bool
    end: tuple[int, ...]
    special: re.Pattern[str]


_known: weakref.WeakKeyDictionary[Any, tuple[str, _Facts]] = weakref.WeakKeyDictionary()


def _facts(tokenizer: Any) -> _Facts:
    template = str(tokenizer.chat_template)
    known = _known.get(tokenizer)
    if known is None or known[0] != template:
        facts = _Facts(_probe_system(tokenizer), _probe_end(tokenizer), _spelled_special(tokenizer))
        known = _known[tokenizer] = template, facts
    return known[1]


def _spelled_special(tokenizer: Any) -> re.Pattern[str]:
    """Matches the text of every special token; those of one character cannot be broken up."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    spelled = {text for text in (*added, *tokenizer.all_special_tokens) if len(text) > 1}
    return re.compile("|".join(map(re.escape, sorted(spelled, key=len, reverse=True))) or "(?!)")


def _probe_system(tokenizer: Any) -> bool:
    from jinja2.exceptions import TemplateError

    try:
        # Some templates refuse a system turn, others leave it out without a word.
        return _SYSTEM in _render(tokenizer, _SYSTEM, [_USER], ask=True)
    except TemplateError:
        return False


def _probe_end(tokenizer: Any) -> tuple[int, ...]:
    after = encode(tokenizer, _render(tokenizer, None, [_USER, _ANSWER], ask=False).rpartition(_ANSWER)[2])
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    special.update(tokenizer.all_special_ids)
    for position, token in enumerate(after):
        if token in special:
            return tuple(after[: position + 1])
    return () if tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)


def _render(tokenizer: Any, system: str | None, turns: Sequence[str], *, ask: bool) -> str:
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=ask, enable_thinking=False
    )
    return text
