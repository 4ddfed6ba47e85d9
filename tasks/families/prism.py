"""PRISM (arXiv 2404.16019): real people from 75 countries who rated models' answers to their own prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from perbench.api import Family, RawData, Remote, Skip

SURVEY = {"user_id": str, "self_description": (str, None), "system_string": (str, None)}
UTTERANCE = {
    "conversation_id": str,
    "user_id": str,
    "turn": int,
    "user_prompt": str,
    "model_response": str,
    "model_name": str,
    "score": float,
    "if_chosen": bool,
}
TESTED = 2
"""Conversations of a user whose openings are tested: the last."""
SHARE = 0.3
"""Of users, tested in the split by user."""
Answers = list[dict[str, Any]]
Conversation = dict[int, Answers]
"""Rated answers by turn."""


class Prism(Family):
    """user/train, user/test, time/train, time/test: {user, conversation, question, options, ratings, models,
    reference, rejected, persona: [{text}]}. A row is the opening turn of a conversation, with up to four
    models' answers; the reference is the chosen one, `rejected` the one rated lowest, empty if it is not
    below the chosen one. The persona is what the user wrote in the survey (self_description, system_string),
    then their earlier conversations with the chosen answers, latest first. Conversations are in the order of
    the file.

    time: the openings of every user's last two conversations are tested, but never of the first; the earlier
    ones are for training. user: 30% of users, by hash, are tested, on the same openings; all openings of the
    others are for training. No commit of the dataset is known to us, so the first fetch pins the newest."""

    remotes = (
        Remote(
            "huggingface",
            "HannahRoseKirk/prism-alignment",
            {"survey.jsonl": None, "utterances.jsonl": None},
        ),
    )
    tables = ("user/train", "user/test", "time/train", "time/test")

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        split, _, part = table.partition("/")
        about = {
            row["user_id"]: [text for name in ("self_description", "system_string") if (text := row[name])]
            for row in raw.records("survey", shape=SURVEY)
        }
        for user, conversations in _conversations(raw).items():
            if split == "user" and (part == "test") != _tested(user):
                continue
            if user not in about:
                raw.note(f"user {user} is not in the survey: nothing but conversations is known")
            names = list(conversations)
            for place, name in enumerate(names):
                last = place >= max(1, len(names) - TESTED)
                if (last if part == "test" else split == "user" or not last) and 0 in conversations[name]:
                    earlier = [conversations[one] for one in reversed(names[:place])]
                    yield _row(
                        user, name, conversations[name][0], [*about.get(user, []), *map(_told, earlier)]
                    )


def _conversations(raw: RawData) -> dict[str, dict[str, Conversation]]:
    """By user and id, in the order of the file."""
    found: dict[str, dict[str, Conversation]] = {}
    for row in raw.records("utterances", shape=UTTERANCE):
        conversation = found.setdefault(row["user_id"], {}).setdefault(row["conversation_id"], {})
        conversation.setdefault(row["turn"], []).append(row)
    return found


def _tested(user: str) -> bool:
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big") < SHARE * 2**64


def _told(conversation: Conversation) -> str:
    """An earlier conversation, with the chosen answers."""
    lines = []
    for turn in sorted(conversation):
        chosen = [answer for answer in conversation[turn] if answer["if_chosen"]]
        lines.append(f"User: {conversation[turn][0]['user_prompt']}")
        lines += [f"Preferred answer: {answer['model_response']}" for answer in chosen[:1]]
    return "\n".join(lines)


def _row(user: str, name: str, answers: Answers, persona: list[str]) -> dict[str, Any] | Skip:
    chosen = [answer for answer in answers if answer["if_chosen"]]
    texts = [answer["model_response"] for answer in answers]
    if len(chosen) != 1:
        return Skip("no single chosen answer")
    if len(answers) < 2 or len({text.strip() for text in texts}) < len(texts):
        return Skip("fewer than two answers, or equal ones")
    if not all(text.strip() for text in texts) or not answers[0]["user_prompt"].strip():
        return Skip("empty prompt or answer")
    worst = min((one for one in answers if one is not chosen[0]), key=lambda answer: answer["score"])
    below = worst["score"] < chosen[0]["score"]
    return {
        "user": user,
        "conversation": name,
        "question": answers[0]["user_prompt"],
        "options": texts,
        "ratings": [answer["score"] for answer in answers],
        "models": [answer["model_name"] for answer in answers],
        "reference": chosen[0]["model_response"],
        "rejected": worst["model_response"] if below else "",
        "persona": [{"text": text} for text in persona],
    }
