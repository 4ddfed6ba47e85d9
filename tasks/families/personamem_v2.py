"""PersonaMem-v2 (arXiv 2512.06688): requests whose best answer follows from preferences implied in chats."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from typing import Any

from perbench.api import Family, RawData, Remote, Skip, mixed
from perbench.errors import PerbenchError

FILES = {"32k/train": "train", "32k/val": "val", "32k/test": "benchmark"}
ROW = {
    "persona_id": str,
    "user_query": str,
    "correct_answer": str,
    "incorrect_answers": str,
    "chat_history_32k_link": str,
}
KEPT = ("preference", "pref_type", "who", "updated")


class PersonaMemV2(Family):
    """Tables 32k/train, 32k/val and 32k/test (the file `benchmark`): {user, question, options, gold,
    reference, persona: [{role, text}], preference, pref_type, who, updated}. The persona is the linked chat
    history without its first system message, as the authors' code reads it. Options are the right answer and
    the first three wrong ones, in an order by hash (the code shuffles them by the row's number). Histories of
    128k tokens and rows about images are left out. No commit of the dataset is known to us, so the first
    fetch pins the newest."""

    remotes = (
        Remote(
            "huggingface",
            "bowen-upenn/PersonaMem-v2",
            {"benchmark/text/*.csv": None, "data/chat_history_32k/*.json": None},
        ),
    )
    tables = tuple(FILES)

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        file, link, history = FILES[table], None, list[dict[str, str]]()
        names = (f"benchmark/text/{file}", f"data/benchmark/text/{file}", file)
        for number, row in enumerate(raw.records(*names, shape=ROW), start=1):
            if row["chat_history_32k_link"] != link:
                link = row["chat_history_32k_link"]
                history = _history(raw, link, f"{file}, row {number}")
            yield _row(row, history, f"{file}, row {number}")


def _row(row: Mapping[str, Any], history: list[dict[str, str]], where: str) -> dict[str, Any] | Skip:
    wrong = _literal(row["incorrect_answers"])
    if not isinstance(wrong, list) or not all(isinstance(option, str) for option in wrong):
        raise PerbenchError(f"{where}: incorrect_answers is not a Python list of texts; fetch it again")
    asked = _literal(row["user_query"])
    question = str(asked.get("content", "")) if isinstance(asked, dict) else row["user_query"]
    given = [row["correct_answer"], *wrong[:3]]
    if not question.strip() or not row["correct_answer"].strip():
        return Skip("empty request or answer")
    if (
        len({option.strip() for option in given}) < len(given)
        or len(given) < 2
        or not all(map(str.strip, given))
    ):
        return Skip("equal or empty options")
    options, gold = mixed(given, 0, f"{row['persona_id']}\n{question}")
    return {
        "user": row["persona_id"],
        "question": question,
        "options": options,
        "gold": gold,
        "reference": options[gold],
        "persona": history,
        **{name: row.get(name) for name in KEPT},
    }


def _history(raw: RawData, link: str, where: str) -> list[dict[str, str]]:
    text = raw.source(link)
    if text is None:
        raise PerbenchError(
            f"{where}: its chat history {link} is not there; fetch it, too, into the same folder"
        )
    try:
        value = json.loads(text)
    except ValueError as error:
        raise PerbenchError(f"{link}: not JSON: {error}; fetch it again") from None
    messages: Any = value.get("chat_history") if isinstance(value, dict) else value
    try:
        said = [{"role": str(one["role"]), "text": str(one["content"])} for one in messages]
    except (TypeError, KeyError):
        raise PerbenchError(f"{link}: holds no list of messages as chat_history; fetch it again") from None
    return said[1:] if said and said[0]["role"] == "system" else said


def _literal(text: str) -> Any:
    """A Python literal, as the file holds lists and objects; None if it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
