"""LongLaMP (arXiv 2407.11016), user setting: abstracts, product reviews, topics to write on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perbench.api import Family, RawData, Remote, Skip

TEXT = (str, None)
POST = {"content": str, "summary": TEXT}
OLDER_POST = {"output": str, "input": TEXT}
PROFILES: dict[str, tuple[str, Any]] = {
    "abstract_generation": ("name", {"abstract": str, "title": TEXT}),
    "product_review": (
        "reviewerId",
        {"reviewText": str, "summary": TEXT, "overall": object, "description": object},
    ),
    "topic_writing": ("author", (POST, OLDER_POST)),
}
"""The user's field and an item of the profile, by task; a configuration is TASK_SETTING."""


def remotes_of(setting: str) -> tuple[Remote, ...]:
    files: dict[str, str | None] = {f"{task}_{setting}/*.parquet": None for task in PROFILES}
    return (Remote("huggingface", "LongLaMP/LongLaMP", files),)


def tables_of(setting: str) -> tuple[str, ...]:
    return tuple(f"{task}_{setting}/{split}" for task in PROFILES for split in ("train", "val", "test"))


class LongLaMP(Family):
    """Tables CONFIG/SPLIT in the schema of the hub. Topic writing's older names of an item's fields, `output`
    and `input`, become `content` and `summary`. No commit of the dataset is known to us, so the first fetch
    pins the newest."""

    remotes = remotes_of("user")
    tables = tables_of("user")

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        user, item = PROFILES[table.partition("/")[0].rpartition("_")[0]]
        shape = {user: (str, int), "input": str, "output": str, "profile": [item]}
        for row in raw.records(table, shape=shape):
            empty = [name for name in ("input", "output") if not row[name].strip()]
            if empty or not row["profile"]:
                yield Skip(f"empty {empty[0] if empty else 'profile'}")
            else:
                yield {**row, "profile": [_newer(post) for post in row["profile"]]}


def _newer(post: dict[str, Any]) -> dict[str, Any]:
    if "content" in post or "output" not in post:
        return post
    return {{"output": "content", "input": "summary"}.get(name, name): value for name, value in post.items()}
