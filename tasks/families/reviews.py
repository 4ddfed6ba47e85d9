"""Amazon Reviews 2023 in the schema of DPL (arXiv 2503.02450), as NextQuill uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perbench.api import Family, RawData, Remote, Skip

CATEGORIES = {"books": "Books", "movies_tv": "Movies_and_TV", "cds": "CDs_and_Vinyl"}
TEXT = (str, None)
REVIEW = {"rating": float, "title": TEXT, "text": TEXT, "asin": str, "timestamp": int}
ROW = {"user_id": str, "profile": [REVIEW], "data": REVIEW}
ITEM = {"asin": str, "title": TEXT, "description": TEXT}


class Reviews(Family):
    """Every review joined with its item's title and description. The history stands newest first, without
    reviews later than the one to write, or the same word for word (DPL keeps one of such). An item that the
    metadata lack has an empty title and description. `input` is the request without the history. No commit of
    the datasets is known to us, so the first fetch pins the newest."""

    remotes = tuple(
        Remote(
            "huggingface",
            f"SnowCharmQ/{name}",
            {f"{category}/*.parquet": None for category in CATEGORIES.values()},
        )
        for name in ("DPL-main", "DPL-meta")
    )
    tables = tuple(f"{name}/{split}" for name in (*CATEGORIES, "all") for split in ("train", "val", "test"))

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        name, _, split = table.partition("/")
        for category in CATEGORIES.values() if name == "all" else [CATEGORIES[name]]:
            yield from self._category(category, split, raw)

    def _category(self, category: str, split: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        records = raw.records(f"{category}/meta", f"{category}/full", shape=ITEM)
        items = {item["asin"]: (item["title"] or "", item["description"] or "") for item in records}
        for row in raw.records(f"{category}/{split}", shape=ROW):
            target = row["data"]
            if not (target["text"] or "").strip():
                yield Skip("empty review")
                continue
            past = [review for review in row["profile"] if review["timestamp"] <= target["timestamp"]]
            if len(past) < len(row["profile"]):
                raw.note("rows with reviews later than the one to write, which are left out")
            said_anew = [review for review in past if review["text"] != target["text"]]
            if len(said_anew) < len(past):
                raw.note("rows whose history held the review to write itself, word for word: left out there")
            if target["asin"] not in items:
                raw.note("rows whose item has no metadata: title and description are empty")
            said_anew.sort(key=lambda review: -review["timestamp"])
            review = _joined(target, items)
            yield {
                "user_id": row["user_id"],
                "input": _request(review),
                **review,
                "profile": [_joined(review, items) for review in said_anew],
            }


def _joined(review: Mapping[str, Any], items: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    title, description = items.get(review["asin"], ("", ""))
    return {
        **review,
        "rating": float(review["rating"]),
        "title": review["title"] or "",
        "text": review["text"] or "",
        "item_title": title,
        "item_description": description,
    }


def _request(review: Mapping[str, Any]) -> str:
    return (
        f"[Item Title]: {review['item_title']}\n[Item Description]: {review['item_description']}\n"
        f"[Output Review Rating]: {review['rating']}\n[Output Review Title]: {review['title']}"
    )
