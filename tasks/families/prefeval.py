"""PrefEval (arXiv 2502.09597): preferences, and questions that tempt to ignore them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perbench.api import Family, RawData, Remote, Skip, mixed

TOPICS = (
    "education_learning_styles",
    "education_resources",
    "entertain_games",
    "entertain_music_book",
    "entertain_shows",
    "entertain_sports",
    "lifestyle_beauty",
    "lifestyle_dietary",
    "lifestyle_fit",
    "lifestyle_health",
    "pet_ownership",
    "professional_work_location_style",
    "shop_fashion",
    "shop_home",
    "shop_motors",
    "shop_technology",
    "travel_activities",
    "travel_hotel",
    "travel_restaurant",
    "travel_transportation",
)
BLOBS = {
    "explicit_preference": """
        fde7ba879a7ef1af3b6511188155ec44f098e81e ef148d78cfbbd1a3fe35a53170bbade0f8d893dd
        73062b3cd0ced5650b3d657115f6f96cda7adc8d 41825f17c16687e9a3fe8ddd862f6c4102edfd2f
        b1da39fa8b7395c86793df887408f346960b6d50 9bc3afa82c5f4fd8bf9eab2990ab4f2ef6a39706
        685f427f65fcea0fcb38f6655edec880617eba5a 6dcf29a5ea3be02bf1169d8fe19cefe15e7c84c1
        48f955781e43b5292d3535872dda0ab908c8f134 c00664398a8cd64bbe4560980db272bb20e4b3ff
        3b7d6545ae46eb82c55510d4f0cdfca67d784533 b90adeff889ffe11a07199412e74c24437a175bd
        11b44ffaade4261842a21b72f34ffda206583ebc b07c6bc564686918af7abe175ba0505935e93ef8
        18a13e7bce6edc5fb43d03b78d1c2e6711d74d7e 7028ce33e8373955dfb7bc1728b9463a30f555be
        2a3def2f7128556c9a9834cd44b70f7b85f4162d b82ad1fedf5811e9c6277fecf0d44e0ce67f9a93
        7133941fb8d44487475de8ec4be6817d8734cba0 c8ade812327f7334454d001eb40eed29cfb62fb4
    """,
    "mcq_options": """
        f448881b2eda43b4e35d4c50c702c87e0a2647e0 dea11a0c4b10814e4c3711fb1bd7bcbe3065d33a
        1261c21edb8555e79d34eb14ea931ebcd981a293 edd730d43ceb953b1956ac53c8c431313bee3f75
        0af84313c67dac6353e7369f3d0cf9a613dd2030 81699de31f34f3f46c2042cd6f0687b85a92dd0f
        70134287e9bcc1bf3a8a6677ec2ec9b8650fd022 64ff943ae6c13ed87d2812e1773aeb7ffc8455e0
        8dc2e628210d1b0ed5957c2bbd92b45314b3c241 2e8382f4f4decb49124d65085ab54410d9866df3
        406631a49589cdd5056dc3daf9e893ce7c6e5b14 e5641e6d88019d4c09b6c18afc304c2916499b13
        875c326a2fe7b104377818bd49b1be0641b98bb0 d885f3f242a19d8b7d244191eaba8cec50013682
        4cbdf84a07ef2255d6563bc0dfae8055210fddc1 05bccedfc3d037bf4e23d8181141ad693588a3f8
        d98b2c4b6b92d638b3dc316691b9f611f8bb71f9 83fa58faf84f01fc8214aef3eb73f0da55839fc5
        5be1726102cd41ed656db9b00e065ae4d5010ec1 0989af3c78a60e0b3d568e4697dceb4a59df4bcb
    """,
    "implicit_preference/choice-based": """
        bee3e811e06f560a7d94bbff1370a8e4f53598ee a266dfdb90dfd45bdd3269a8141611c9e4fecddc
        8039db1e31a5a0ab490ec2acc2c92ca887dd400a f2b9fba2b09293ee2711b78f94701f07275315ba
        623ec700913f9093f604ba3dca512fc4e9d47576 4f10e6360d36f5c1fba0fa167fddb5ce52fc99a8
        8a2c0ad3d7df451fc2661ddccf05dbdd52a3dd50 f0acaa0f93b3d2de250996ad5961eebc719482f1
        c9c5d6bb50c21997f3ebf91c2e84b47ac6135bba 99ab34f1719deb60a5d7cb24425588b41ae971c3
        208b02a7ae6bcff74022c480b9bc8ca638f44229 ac2895154c62f56af4baf2ba04dd61fec32c1f69
        86fcbf77d54237d1ac4a1b049bd68eae26844e67 f4d05a7ede24914e75b6c74a1d7a5e8b5fc5bf4b
        f93ed273909ee18736cdff6dbcd39b7a39a0d0a2 cb191e365b0dfb997a1df393b1aea1d8c03b8704
        39bf5280009278c7b1b63acdbb92d998db9ca592 52a46c48d4b70d77cffca8eaa8e4be0bb80cafc9
        c92b89cceff623b91bae29aa4d5e9fcbc6826c1c 3bc350c4bc0c4f8021972a2dafb86da448c97ca2
    """,
    "implicit_preference/persona-driven": """
        349673912abaa1ac8f846f24a3e850f03569bdc7 906bfbeb0efc846f0051f08f13ef03cf404db858
        7580968c37aa2288f0c9c9e1358033d3e8f11b3a 0f47b411abdc10db72404aa336e38978c0c74672
        00545690ad3a655c904e866bda8f32f79319be02 c5250fa0fbcefbe2989b5d00cbaeb54261008ada
        ec5b868a949c2e6804ac1fa5fc170df8e569ee81 ac7c372d4f101fec86ac78fdbd143bce05c4caca
        4a96ca4cc9dcc64f3403b1805440067ab3d5f357 615764722e5380f8dabfbbbf7f4ae6e0969d9062
        b4ba2480f894229bea3068106fca4e195f2dd7bf 30f1cbba71ffe579a78acf4d65f25a22ae49938e
        fcd77ddeb241d5f83b6af0fe446e751a6271f10d 65cdd09b82d6442912d5b424e487fcffa7a7df5c
        4413b442012abbc4b35063161a186ce4a5b7b622 1133a59c0d709c49b204df4b758efcc021ba9127
        93a3d70c61734cf5e319b4c3f00209c9e257d920 ad6c7db6fac4b9c48ece4b71c03b1e35d7fb7170
        9302e0d65ee0f11a859f80f2eece9bd3b78b7ad4 dfd85dac966b4ff0b01b2951bcd1c10fc5473a7c
    """,
}
"""By folder, git's blob id of every topic's file, in the order of TOPICS. `mcq_options` also holds a stray
"travel_hotel copy.json"."""
FOLDER = "benchmark_dataset"
DISTRACTORS = "filtered_inter_turns"
OWN_EXCHANGES = Path(__file__).parents[1] / "prefeval" / "exchanges.jsonl"
ACKNOWLEDGED = "Thanks for telling me. I'll keep that in mind."
"""Replies to a stated preference in `choice`; in PrefEval's code the model itself writes five tokens."""
QUESTION = {"preference": str, "question": str}
OPTIONS = {**QUESTION, "classification_task_options": [str]}
CHOSEN = {
    "conversation": dict.fromkeys(
        ("query", "assistant_options", "user_selection", "assistant_acknowledgment"), str
    )
}
TALKED = {"conversation": {"0": {"user": str, "assistant": str}}}
CONVERSATION = {"conversation": [{"role": str, "content": str}]}
TURN = {"user": str, "assistant": str}
REVEALED = {
    "implicit_choice/test": ("implicit_preference/choice-based", {**QUESTION, **CHOSEN}),
    "implicit_persona/test": ("implicit_preference/persona-driven", {**QUESTION, **TALKED}),
}
"""Where conversations that reveal a preference are, and their shape."""


class PrefEval(Family):
    """explicit/test: {user, topic, preference, question, explanation, persona: [preference]}. exchanges/test,
    one row: {turns, turns_from}. `turns` are [user, assistant] exchanges that have nothing to do with any
    preference, the same for all as in PrefEval's code: all of its own where that file is there (turns_from
    "official"), else ten written for this project ("perbench").

    choice/test, implicit_choice/test, implicit_persona/test: {user, topic, preference, question, explanation,
    options, gold, reference, persona: [{role, text}]}. The persona is the conversation in which the
    preference is stated; shown by choosing one of four options; or revealed in passing. The options are those
    of `mcq_options`, which puts the right one first: here they are in an order by hash. Forms are joined by
    preference and question, because the files of `explicit_preference` differ from the others in 30 rows.
    """

    remotes = (
        Remote(
            "github",
            "amazon-science/PrefEval",
            {
                **{
                    f"{FOLDER}/{folder}/{topic}.json": f"git:{blob}"
                    for folder, blobs in BLOBS.items()
                    for topic, blob in zip(TOPICS, blobs.split(), strict=True)
                },
                f"{FOLDER}/{DISTRACTORS}.json": "git:3cd79e3acda8c00e896ac63f3262508a141bf1d3",
            },
            "50795054b5ff5f418d2b768a331d71e480f93331",
        ),
    )
    tables = ("explicit/test", "exchanges/test", "choice/test", *REVEALED)

    def rows(self, table: str, raw: RawData) -> Iterator[Mapping[str, Any] | Skip]:
        if table == "exchanges/test":
            turns, turns_from = _turns(raw)
            yield {"turns": turns, "turns_from": turns_from}
            return
        for topic in TOPICS:
            yield from _explicit(raw, topic) if table == "explicit/test" else _choices(raw, table, topic)


def _names(folder: str, topic: str) -> tuple[str, str]:
    return f"{FOLDER}/{folder}/{topic}", f"{folder}/{topic}"


def _explicit(raw: RawData, topic: str) -> Iterator[Mapping[str, Any] | Skip]:
    names = (*_names("explicit_preference", topic), topic)
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


def _choices(raw: RawData, table: str, topic: str) -> Iterator[Mapping[str, Any] | Skip]:
    conversations = None
    if table in REVEALED:
        folder, shape = REVEALED[table]
        found = raw.records(*_names(folder, topic), shape=shape)
        conversations = {_key(row): list(_messages(row["conversation"])) for row in found}
    for number, row in enumerate(raw.records(*_names("mcq_options", topic), shape=OPTIONS)):
        stated = [("user", row["preference"]), ("assistant", ACKNOWLEDGED)]
        said = stated if conversations is None else conversations.get(_key(row))
        if said is None:
            yield Skip("no conversation of this preference and question")
            continue
        if len(row["classification_task_options"]) < 2:
            yield Skip("fewer than two options")
            continue
        options, gold = mixed(row["classification_task_options"], 0, "\n".join(_key(row)))
        yield {
            "user": f"{topic}-{number}",
            "topic": topic,
            "preference": row["preference"],
            "question": row["question"],
            "explanation": row.get("explanation"),
            "options": options,
            "gold": gold,
            "reference": options[gold],
            "persona": [{"role": role, "text": text} for role, text in said],
        }


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["preference"], row["question"]


def _messages(conversation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Role and text. Conversations of one choice have four named messages, the others numbered exchanges."""
    if "query" in conversation:
        for place, name in enumerate(CHOSEN["conversation"]):
            yield ("assistant" if place % 2 else "user"), conversation[name]
        return
    for number in sorted(conversation, key=int):
        yield "user", conversation[number]["user"]
        yield "assistant", conversation[number]["assistant"]


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
