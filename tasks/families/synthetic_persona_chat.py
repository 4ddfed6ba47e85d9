"""Synthetic-Persona-Chat (arXiv 2312.10007): the personas, each once, to write questions about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perbench.api import Family, RawData, Remote, Skip

FILES = {
    "train": ("Synthetic-Persona-Chat_train", "5d1156c9fdd0ebe4252aaadace8fbfab694632f9"),
    "valid": ("Synthetic-Persona-Chat_valid", "0d35b439a5c7659863848f5456720fc7945ea2f8"),
    "test": ("Synthetic-Persona-Chat_test", "9cc6c3058189e8ad7ac0028544356e37585a6a4b"),
    "new": ("New-Persona-New-Conversations", "527a65bbd7134a89c66459d56f6d6843279e2a0a"),
}
USERS = ("user 1 personas", "user 2 personas")


class SyntheticPersonaChat(Family):
    """Tables personas/SPLIT, {user, persona: a list of sentences}; `new` holds the personas that are not
    Persona-Chat's. `perbench data build persona-qa --personas FILE` reads them. The conversations are left
    out."""

    remotes = (
        Remote(
            "github",
            "google-research-datasets/Synthetic-Persona-Chat",
            {f"data/{name}.csv": f"git:{blob}" for name, blob in FILES.values()},
            "1f367a0f05d388ca96ebbbc9e5752ab19ac76510",
        ),
    )
    tables = tuple(f"personas/{split}" for split in FILES)

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        split = table.partition("/")[2]
        name, _ = FILES[split]
        seen: dict[tuple[str, ...], None] = {}
        for row in raw.records(f"data/{name}", name, shape=dict.fromkeys(USERS, str)):
            for user in USERS:
                persona = tuple(" ".join(line.split()) for line in row[user].splitlines() if line.strip())
                if not persona:
                    yield Skip("empty persona")
                elif persona in seen:
                    yield Skip("persona of an earlier conversation")
                else:
                    seen[persona] = None
                    yield {"user": f"{split}-{len(seen)}", "persona": list(persona)}
