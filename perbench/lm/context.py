"""The context size of models, and the error for sequences that exceed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perbench.errors import PerbenchError


class TooLong(PerbenchError):
    """A request that is too long with its answer, even without any history."""


def context_of(config: Any) -> int | None:
    """The context size of a transformers config; None if unbounded."""
    room: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return room


def context_in(folder: Path) -> int | None:
    """The context size of the model in a folder.

    Raises:
        PerbenchError: its config does not load.
    """
    from transformers import AutoConfig

    try:
        return context_of(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    except (OSError, ValueError) as error:
        raise PerbenchError(f"{folder}: the model's config does not load: {error}") from error


def check_room(room: int | None, prompt: int, new: int) -> None:
    """Check a prompt and the most tokens of its answer against a model's context.

    Raises:
        TooLong: they exceed it.
    """
    if room is not None and prompt + new > room:
        raise TooLong(
            f"a prompt of {prompt} tokens and max_new_tokens {new} exceed the model's context of {room}; "
            "lower the task's max_length, or the turns before its question"
        )


def check_context(room: int | None, prompt: int, answer: int, *, what: str) -> None:
    """Check that a prompt and its response, both in tokens, fit the model's context of `room`.

    Raises:
        PerbenchError: they do not fit; `what` names the prompt.
    """
    if room is not None and prompt + answer > room:
        raise PerbenchError(
            f"{what}: a prompt of {prompt} tokens and its response of {answer} exceed the model's context of "
            f"{room}; lower the task's max_length to {room}"
        )
