"""PrefEval (arXiv 2502.09597): stated preferences, and questions that tempt to ignore them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perbench.api import Family, RawData, Remote, Skip

TOPICS = {
    "education_learning_styles": "fde7ba879a7ef1af3b6511188155ec44f098e81e",
    "education_resources": "ef148d78cfbbd1a3fe35a53170bbade0f8d893dd",
    "entertain_games": "73062b3cd0ced5650b3d657115f6f96cda7adc8d",
    "entertain_music_book": "41825f17c16687e9a3fe8ddd862f6c4102edfd2f",
    "entertain_shows": "b1da39fa8b7395c86793df887408f346960b6d50",
    "entertain_sports": "9bc3afa82c5f4fd8bf9eab2990ab4f2ef6a39706",
    "lifestyle_beauty": "685f427f65fcea0fcb38f6655edec880617eba5a",
    "lifestyle_dietary": "6dcf29a5ea3be02bf1169d8fe19cefe15e7c84c1",
    "lifestyle_fit": "48f955781e43b5292d3535872dda0ab908c8f134",
    "lifestyle_health": "c00664398a8cd64bbe4560980db272bb20e4b3ff",
    "pet_ownership": "3b7d6545ae46eb82c55510d4f0cdfca67d784533",
    "professional_work_location_style": "b90adeff889ffe11a07199412e74c24437a175bd",
    "shop_fashion": "11b44ffaade4261842a21b72f34ffda206583ebc",
    "shop_home": "b07c6bc564686918af7abe175ba0505935e93ef8",
    "shop_motors": "18a13e7bce6edc5fb43d03b78d1c2e6711d74d7e",
    "shop_technology": "7028ce33e8373955dfb7bc1728b9463a30f555be",
    "travel_activities": "2a3def2f7128556c9a9834cd44b70f7b85f4162d",
    "travel_hotel": "b82ad1fedf5811e9c6277fecf0d44e0ce67f9a93",
    "travel_restaurant": "7133941fb8d44487475de8ec4be6817d8734cba0",
    "travel_transportation": "c8ade812327f7334454d001eb40eed29cfb62fb4",
}
FOLDER = "benchmark_dataset"
DISTRACTORS = "filtered_inter_turns"
OWN_EXCHANGES = Path(__file__).parents[1] / "prefeval" / "exchanges.jsonl"
QUESTION = {"preference": str, "question": str}
CONVERSATION = {"conversation": [{"role": str, "content": str}]}


class PrefEval(Family):
    """explicit/test: {user, topic, preference, question, explanation, persona: [preference]}; exchanges/test,
    one row: {turns, turns_from}. `turns` are [user, assistant] exchanges that have nothing to do with any
    preference, the same for all as in PrefEval's code: all of its own where that file is there (turns_from
    "official"), else ten written for this project ("perbench")."""

    remotes = (
        Remote(
            "github",
            "amazon-science/PrefEval",
            {
                **{
                    f"{FOLDER}/explicit_preference/{topic}.json": f"git:{blob}"
                    for topic, blob in TOPICS.items()
                },
                f"{FOLDER}/{DISTRACTORS}.json": "git:3cd79e3acda8c00e896ac63f3262508a141bf1d3",
            },
            "50795054b5ff5f418d2b768a331d71e480f93331",
        ),
    )
    tables = ("explicit/test", "exchanges/test")

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        if table == "exchanges/test":
            turns, turns_from = _turns(raw)
            yield {"turns": turns, "turns_from": turns_from}
            return
        for topic in TOPICS:
            names = (f"{FOLDER}/explicit_preference/{topic}", f"explicit_preference/{topic}", topic)
            for number, row in enumerate(raw.records(*names, shape=QUESTION)):
                empty = [name for name in ("preference", "question") if not row[name].strip()]
                if empty:
                    yield Skip(f"empty {empty[0]}")
                    continue
                yield {
                    "user": f"{topic}-{number}",
                    "topic": topic,
                    "preference": row["preference"],
                    "question": row["question"],
                    "explanation": row.get("explanation"),  # one published row has none
                    "persona": [row["preference"]],
                }


def _turns(raw: RawData) -> tuple[list[list[str]], str]:
    if raw.source(f"{FOLDER}/{DISTRACTORS}.json") is None and raw.source(f"{DISTRACTORS}.json") is None:
        turns = []
        for line in OWN_EXCHANGES.read_text(encoding="utf-8").splitlines():
            turn = json.loads(line)
            turns.append([turn["user"], turn["assistant"]])
            raw.note(f"exchanges are perbench's own, not PrefEval's: {DISTRACTORS}.json is not there")
        return turns, "perbench"
    records = raw.records(f"{FOLDER}/{DISTRACTORS}", DISTRACTORS, shape=CONVERSATION)
    said = [turn for record in records for turn in record["conversation"]]
    pairs = zip(said[::2], said[1::2], strict=False)
    return [[asked["content"], told["content"]] for asked, told in pairs], "official"
