"""Replies to the construction prompt: what is read, and what is refused for which reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.annotate.replies import PROMPT, Unusable, parse_reply


def test_the_prompt_has_one_place() -> None:
    assert PROMPT.format(persona="I am thin.").startswith(
        "Now I have a paragraph of a person's persona:\n\nI am thin.\n\nI want you to write a short question"
    )


@pytest.mark.parametrize(
    ("reply", "answer", "keywords"),
    [
        (
            "Question: Ever catch anything?\nAnswer: Got a **deer** last season.",
            "Got a deer last season.",
            ["deer"],
        ),
        (
            "**Question:** Ever catch anything?\n\n**Answer:** Got a deer last season.\n\n**Keywords:** deer",
            "Got a deer last season.",
            ["deer"],
        ),
        (
            'Here.\n\n### Question: Anything?\n### Short answer: "Got a <b>deer</b> last __season__."',
            "Got a deer last season.",
            ["deer", "season"],
        ),
        (
            "Q: What now?\nA: My *old dog* and my `dog` sleep.\n\nThe keywords show the persona.",
            "My old dog and my dog sleep.",
            ["old dog", "dog"],
        ),
        (
            "Question: What now?\nAnswer: My old dog and my dog sleep.\nKeywords in the answer: dog, old dog",
            "My old dog and my dog sleep.",
            ["old dog", "dog"],
        ),
        (
            "<think>Answer: no</think>\nQuestion: x?\nAnswer: we run my_old_script with **care** daily",
            "we run my_old_script with care daily",
            ["care"],
        ),
    ],
)
def test_usable_replies(reply: str, answer: str, keywords: list[str]) -> None:
    found = parse_reply(reply)
    assert found.answer == answer
    assert list(found.keywords) == keywords
    assert [answer[start:end] for start, end in found.spans] == keywords


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no single question with its answer: no labelled part"),
        ("I like deer.", "no single question with its answer: no labelled part"),
        ("Answer: Got a **deer** last season.", "no single question with its answer: answer"),
        ("Question: a?\nAnswer: b\nQuestion: c?\nAnswer: d", "question, answer, question, answer"),
        ("Question:\nAnswer: Got a **deer** last season.", "an empty part"),
        ("Question: a?\nAnswer: A **deer**.", "the answer is not of 5 to 20 words: 2"),
        ("Question: a?\nAnswer: " + "so " * 20 + "**much**", "the answer is not of 5 to 20 words: 21"),
        ("Question: a?\nAnswer: Got a deer last season.", "no keywords"),
        ("Question: a?\nAnswer: Got a deer last season.\nKeywords: none", "no keywords"),
        (
            "Question: a?\nAnswer: Got a deer last season.\nKeywords: stag",
            "a keyword is not in the answer: 'stag'",
        ),
        ("Question: a?\nAnswer: Got a **deer last season.", "a highlight begins or ends nowhere"),
        ("Question: a?\nAnswer: **Got a deer last season.**", "the whole answer is a keyword"),
    ],
)
def test_unusable_replies(reply: str, reason: str) -> None:
    with pytest.raises(Unusable) as refused:
        parse_reply(reply)
    assert reason in str(refused.value)
    assert str(refused.value).startswith(refused.value.reason)


PARTS = [
    "Question:",
    "Answer:",
    "Keywords:",
    "**",
    "_",
    "`",
    "\n",
    "\n\n",
    " ",
    '"',
    "deer",
    "a b c d e",
    "<b>",
    "</b>",
]


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=25).map("".join))
def test_any_reply_is_read_or_refused(reply: str) -> None:
    try:
        found = parse_reply(reply)
    except Unusable:
        return
    assert tuple(found.answer[start:end] for start, end in found.spans) == found.keywords
    assert all(text and text == text.strip() for text in found.keywords)
    assert all(before[1] <= after[0] for before, after in zip(found.spans, found.spans[1:], strict=False))
