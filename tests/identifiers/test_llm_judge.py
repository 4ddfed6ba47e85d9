"""The judge: its prompt is the paper's, its replies become word scores, unreadable ones are counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from perbench.api import PersonaText
from perbench.contracts.engine import Conversation, Generation
from perbench.engines.transformers.engine import TransformersEngine
from perbench.plugins import load_identifier
from perbench.shapes.sampling import SamplingSpec

HUNTER = PersonaText(
    "hunter",
    ("I am thin.", "I like to hunt."),
    "Ever catch anything?",
    "Got a deer last season. Deer, oh deer!",
)


class Scripted:
    """An engine that answers from a script: what a judge says is not up to these tests."""

    name = "scripted"

    def __init__(self, replies: Sequence[str | Generation]) -> None:
        self.replies = replies
        self.conversations: list[Conversation] = []
        self.sampling: SamplingSpec | None = None

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int
    ) -> list[Generation]:
        self.conversations, self.sampling = list(conversations), sampling
        return [one if isinstance(one, Generation) else Generation(one, "stop", 1, 1) for one in self.replies]


def test_the_prompt_is_appendix_d2() -> None:
    engine = Scripted(["deer"])
    load_identifier("llm_judge", {"max_new_tokens": 7}).score([HUNTER], engine)
    text = (
        "This is the persona of user 1:\n\nI am thin.\nI like to hunt.\n\n"
        "This is the conversation between two users:\n\n"
        "User 2: Ever catch anything?\n\nUser 1: Got a deer last season. Deer, oh deer!\n\n"
        "Identify the keywords in user 1's speech in the conversation that reflect his/her persona "
        "(but not words in the description of his/her persona).\n\nKeywords:"
    )
    assert engine.conversations == [[{"role": "user", "content": text}]]
    assert engine.sampling == SamplingSpec(max_new_tokens=7, temperature=0.0)


@pytest.mark.parametrize(
    ("reply", "named", "unparsable", "absent"),
    [
        ("deer", ["deer", "Deer", "deer"], 0, 0),
        ("Last  season, hunting", ["last", "season"], 0, 1),
        ("dee", [], 0, 1),  # part of a word is not the word
        ("none", [], 0, 0),
        ("", [], 1, 0),
        ("I believe that this person is somebody who often goes hunting.", [], 1, 0),
    ],
)
def test_replies(reply: str, named: list[str], unparsable: int, absent: int) -> None:
    (found,) = load_identifier("llm_judge").score([HUNTER], Scripted([reply]))
    words = [HUNTER.response[start:end] for start, end in found.spans]
    assert words == ["Got", "a", "deer", "last", "season", "Deer", "oh", "deer"]
    assert [word for word, score in zip(words, found.scores, strict=True) if score == 1.0] == named
    assert found.counts == {"unparsable": unparsable, "absent_keywords": absent, "truncated": 0}


def test_a_missing_reply_names_nothing_rather_than_no_keyword() -> None:
    filtered = Generation("", "content_filter", 1, 0, "filtered")
    cut = Generation("deer, sea", "length", 1, 64)
    missing, found = load_identifier("llm_judge").score([HUNTER, HUNTER], Scripted([filtered, cut]))
    assert (missing.missing, missing.spans, missing.scores, missing.counts) == ("filtered", (), (), {})
    assert (found.missing, found.counts["truncated"]) == (None, 1)


def test_braces_in_texts_are_only_text() -> None:
    odd = PersonaText("odd", ("{persona}",), "{0}", "{response} {")
    engine = Scripted(["{"])
    load_identifier("llm_judge").score([odd], engine)
    assert "User 1: {response} {\n" in engine.conversations[0][0]["content"]


def test_a_real_model_may_say_anything(tiny_model_dir: Path) -> None:
    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    (found,) = load_identifier("llm_judge", {"max_new_tokens": 8}).score([HUNTER], engine)
    assert len(found.scores) == len(found.spans) == 8
    assert set(found.scores) <= {0.0, 1.0}
