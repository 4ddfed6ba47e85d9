"""Renders dialogues with a model's chat template, deterministically.

A template is a program: transformers gives it the clock (`strftime_now`), Jinja a random choice (`random`)
and random text (`lipsum`), so that prompts of one identity could differ. The clock is fixed here, and a
template that draws at random is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from perbench.errors import PerbenchError

CLOCK = datetime(2024, 7, 26)
"""The time that templates see; Llama 3's own template uses this day if it has no clock."""


def render(tokenizer: Any, system: str | None, turns: Sequence[str], *, ask: bool) -> str:
    """The dialogue (user, assistant, user, ...) rendered by the tokenizer's template; `ask` adds the opening
    of the next answer. Thinking is disabled if the template allows it (Qwen3).

    Raises:
        PerbenchError: the template refuses the dialogue, or draws at random.
    """
    from jinja2.exceptions import TemplateError

    try:
        return attempt(tokenizer, system, turns, ask=ask)
    except TemplateError as error:
        roles = " and ".join((*(() if system is None else ("system",)), f"{len(turns)} turns"))
        raise PerbenchError(
            f"the model's chat template refuses a dialogue of {roles}: {error}; use another model, or fix "
            "chat_template.jinja in a copy of the model's folder"
        ) from None


def attempt(tokenizer: Any, system: str | None, turns: Sequence[str], *, ask: bool) -> str:
    """`render`, raising Jinja's TemplateError if the template refuses."""
    pin(tokenizer)
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=ask, enable_thinking=False
    )
    return text


def pin(tokenizer: Any) -> None:
    """Fix the tokenizer's template for everything that renders it in this process, including lm-eval."""
    from transformers.utils import chat_template_utils

    template = template_of(tokenizer)
    if template is None:
        return
    # transformers caches compiled templates, each with its own environment.
    environment = chat_template_utils._compile_jinja_template(template).environment
    environment.globals["strftime_now"] = CLOCK.strftime
    environment.globals["lipsum"] = _refuse
    environment.filters["random"] = _refuse


def reads_clock(tokenizer: Any) -> bool:
    return "strftime_now" in (template_of(tokenizer) or "")


def template_of(tokenizer: Any) -> str | None:
    """The text of the active template; of several named ones, the default."""
    found = tokenizer.chat_template
    return found.get("default") if isinstance(found, Mapping) else found


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise PerbenchError(
        "the model's chat template draws at random (Jinja's random or lipsum), so prompts are not "
        "reproducible; remove that from chat_template.jinja in a copy of the model's folder"
    )


# ---------------------------------------------------------------- thoughts

_WORD = r"[\w:.-]*(?:think|thought|reason)[\w:.-]*"
_OPEN = re.compile(
    rf"(?:<(?P<tag>{_WORD})>|\[(?P<box>{_WORD})\]|<\|(?P<word>start|begin)(?P<bar>_{_WORD})\|>)(?P<rest>\s*)$",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"(?:</[^<>]+>|\[/[^\[\]]+\]|<\|end_[^<>|]+\|>)\s*$", re.IGNORECASE)


def closes(prompt: str) -> str:
    """The text that closes the thought opened at a prompt's end ("<think>", "[THINK]", "<|START_THINKING|>"),
    leaving it empty; "" if none is open."""
    found = _OPEN.search(prompt)
    if found is None:
        return ""
    if found["tag"]:
        close = f"</{found['tag']}>"
    elif found["box"]:
        close = f"[/{found['box']}]"
    else:
        close = f"<|{'END' if found['word'].isupper() else 'end'}{found['bar']}|>"
    return "\n" * max(0, 2 - found["rest"].count("\n")) + close + "\n\n"


def is_thought(text: str) -> bool:
    """Whether a text is only a thought, opened or closed, without words in it."""
    closed = _CLOSED.search(text)
    opened = _OPEN.search(text if closed is None else text[: closed.start()])
    return opened is not None and not (text[: opened.start()]).strip()
