"""PersonaMem (arXiv 2504.14225): questions about a user whose persona evolves over many chats."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from perbench.api import Family, RawData, Remote, Skip
from perbench.errors import PerbenchError

SIZES = ("32k", "128k")
ROW = {
    "question_id": str,
    "question_type": str,
    "topic": str,
    "correct_answer": str,
    "all_options": str,
    "shared_context_id": str,
    "end_index_in_shared_context": str,
}
MESSAGES = [{"role": str, "content": str}]


class PersonaMem(Family):
    """Tables 32k/test and 128k/test: {user, id, type, topic, question, options, gold, reference, persona:
    [{role, text}]}. The persona is the whole chat before the question, in which a system message at the start
    of each session states the user's persona. Options lose their letters; their order is the file's. Older
    files, with the column `question` and without persona_id, are read, too: a shared context then is a user.
    The third size, 1M, is left out. No commit of the dataset is known to us, so the first fetch pins the
    newest."""

    remotes = (
        Remote(
            "huggingface",
            "bowen-upenn/PersonaMem-v1",
            {
                f"{name}_{size}.{suffix}": None
                for size in SIZES
                for name, suffix in (("questions", "csv"), ("shared_contexts", "jsonl"))
            },
        ),
    )
    tables = tuple(f"{size}/test" for size in SIZES)

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        size = table.partition("/")[0]
        contexts: dict[str, Any] = {}
        for record in raw.records(f"shared_contexts_{size}", shape=dict):
            contexts.update(record)
        for row in raw.records(f"questions_{size}", shape=ROW):
            yield _row(row, contexts, f"questions_{size}, question {row['question_id']}")


def _row(row: Mapping[str, Any], contexts: Mapping[str, Any], where: str) -> dict[str, Any] | Skip:
    name, end = row["shared_context_id"], row["end_index_in_shared_context"]
    messages = contexts.get(name)
    if messages is None:
        raise PerbenchError(
            f"{where}: its context {name} is not in the file of contexts; fetch both files of one size again"
        )
    if not _are_messages(messages):
        raise PerbenchError(
            f"context {name}: must be a list of messages with role and content; fetch it again"
        )
    if not end.isdecimal():
        raise PerbenchError(f"{where}: end_index_in_shared_context is {end!r}, not a number; fetch it again")
    question = row.get("user_question_or_message") or row.get("question") or ""
    options = _options(row["all_options"], where)
    gold = ord(row["correct_answer"].strip("() ").lower() or "?") - ord("a")
    if not 0 <= gold < len(options):
        raise PerbenchError(
            f"{where}: correct_answer is {row['correct_answer']!r}, which is no option's letter"
        )
    if not question.strip():
        return Skip("empty question")
    if len({option.strip() for option in options}) < len(options) or len(options) < 2:
        return Skip("equal options")
    return {
        "user": str(row.get("persona_id") or f"context-{name[:12]}"),
        "id": row["question_id"],
        "type": row["question_type"],
        "topic": row["topic"],
        "question": question,
        "options": options,
        "gold": gold,
        "reference": options[gold],
        "persona": [{"role": said["role"], "text": said["content"]} for said in messages[: int(end)]],
    }


def _are_messages(messages: Any) -> bool:
    return isinstance(messages, list) and all(
        isinstance(said, dict) and isinstance(said.get("role"), str) and isinstance(said.get("content"), str)
        for said in messages
    )


def _options(text: str, where: str) -> list[str]:
    """The texts of a Python list, as the file holds it, without "(a) "."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        found = None
    if not isinstance(found, list) or not all(isinstance(option, str) for option in found):
        raise PerbenchError(f"{where}: all_options is not a Python list of texts; fetch it again")
    return [re.sub(r"^\([a-z]\)\s*", "", option) for option in found]
