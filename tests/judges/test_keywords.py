"""Keyword lists out of free replies, nasty ones included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.judges.keywords import MAX_WORDS, parse_keywords


@pytest.mark.parametrize(
    ("reply", "keywords"),
    [
        ("deer", ["deer"]),
        ("deer, last season", ["deer", "last season"]),
        ("deer; season; and hunt.", ["deer", "season", "hunt"]),
        ("- deer\n- last season", ["deer", "last season"]),
        ("* deer\n\n• season", ["deer", "season"]),
        ("1. deer\n2) season", ["deer", "season"]),
        ('["deer", "season"]', ["deer", "season"]),
        ("['deer', 'season']", ["deer", "season"]),
        ('```json\n{"keywords": ["deer", "season"]}\n```', ["deer", "season"]),
        ('Sure! [{"keyword": "deer"}] is what I found.', ["deer"]),
        ("Keywords: deer, season", ["deer", "season"]),
        ("**Keywords:** deer", ["deer"]),
        ("Here are the keywords:\n\n* deer\n* season", ["deer", "season"]),
        ("Keywords in user 1's speech: deer", ["deer"]),
        ('The keywords are "deer" and “last season”.', ["deer", "last season"]),
        ("**deer**: shows that he hunts\n**season**: a time", ["deer", "season"]),
        ('1. **Deer** - reflects "I like to hunt"', ["Deer"]),
        ("- deer (he hunts)\n- season: when he hunts", ["deer", "season"]),
        ("deer\n\nExplanation: the user hunts", ["deer"]),
        ("deer, Deer, DEER", ["deer"]),
        ("cover  my\tears", ["cover my ears"]),
        ("rock and roll", ["rock and roll"]),
        ("<think>hunt? no</think>\n\ndeer", ["deer"]),
        ("none", []),
        ("Keywords: None.", []),
        ("[]", []),
        ('{"keywords": []}', []),
    ],
)
def test_lists(reply: str, keywords: list[str]) -> None:
    assert parse_keywords(reply) == keywords


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n\t",
        "...",
        "[",
        "Here are the keywords:",
        "I think the user enjoys hunting because he said that he got a deer.",
        "<think>It could be deer, or season",
        "User 1: Got a deer, last season.",
        "User 1: I hunt.\n\n**User 2:** Sure, why not?",
        "[[[[" * 5000,
    ],
)
def test_no_list(reply: str) -> None:
    assert parse_keywords(reply) is None


@given(st.text())
def test_any_reply_gives_short_distinct_entries_or_none(reply: str) -> None:
    found = parse_keywords(reply)
    assert found is None or all(entry.strip() == entry != "" for entry in found)
    assert found is None or all(len(entry.split()) <= MAX_WORDS for entry in found)
    assert found is None or len({entry.casefold() for entry in found}) == len(found)


@given(st.lists(st.sampled_from(["deer", "last season", "ears", "rock music"]), min_size=1, unique=True))
def test_common_styles_agree(words: list[str]) -> None:
    for style in (", ".join(words), "\n".join(f"- {w}" for w in words), str(words), "\n".join(words)):
        assert parse_keywords(style) == words
