"""Turns any list of chat messages into a dialogue that every chat template accepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perbench.errors import PerbenchError, suggest

Message = tuple[str, str]
"""Role ("system", "user" or "assistant") and text."""
ROLES = ("system", "user", "assistant")
APART = "\n\n"


def dialogue(messages: Iterable[Message]) -> tuple[str | None, list[str]]:
    """The system text (None without one), and turns of user and assistant alternately, the user first.

    System messages at the start become the system text; a later one becomes the first paragraph of the user's
    next turn, since most templates accept none there. Consecutive messages of one role are paragraphs of one
    turn. A dialogue that the assistant begins starts with an empty user turn.

    Raises:
        PerbenchError: a message has another role.
    """
    system: list[str] = []
    turns: list[list[str]] = []
    for role, text in messages:
        if role not in ROLES:
            raise PerbenchError(
                f"a message has the role {role!r}, not one of {', '.join(ROLES)}.{suggest(role, ROLES)}"
            )
        if role == "system" and not turns:
            system.append(text)
            continue
        if not turns and role == "assistant":
            turns.append([""])
        is_users = role != "assistant"
        if turns and len(turns) % 2 == is_users:
            turns[-1].append(text)
        else:
            turns.append([text])
    return APART.join(system) if system else None, [APART.join(turn) for turn in turns]


def chats(system: str | None, turns: Sequence[str]) -> list[dict[str, str]]:
    """A dialogue as chat messages."""
    found = [] if system is None else [{"role": "system", "content": system}]
    return found + [{"role": ROLES[1 + place % 2], "content": turn} for place, turn in enumerate(turns)]
