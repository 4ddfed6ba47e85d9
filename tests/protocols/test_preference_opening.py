"""Preference following: a conversation that reveals the preference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perbench.contracts.data import Dataset
from perbench.errors import PerbenchError
from perbench.shapes.base import Named
from perbench.specs.compose import owner_of
from tests.owners import run, score
from tests.protocols.test_generation import quiet
from tests.protocols.test_preference import TASK, Far, Two, example


def test_a_conversation_reveals_the_preference(stores: Any) -> None:
    spec = TASK.spec.model_copy(
        update={"preference": TASK.spec.preference.model_copy(update={"opening": "conversation"})}  # type: ignore[attr-defined]
    )
    task = Named("toy/preference", spec, None)
    said = ({"role": "user", "text": "Any trip?"}, {"role": "assistant", "text": "By boat?"})
    subject = Far(lambda messages: "Walk.")
    store = stores()
    one = replace(example(0), persona=said)
    run(task, Dataset([one], "d"), Two(subject, Far(lambda m: "yes")), store, seed=0, tick=quiet)
    (asked,) = subject.asked  # no reply to a stated preference
    assert [message["content"] for message in asked] == [
        "Be good.",
        "Any trip?",
        "By boat?",
        "What is 2+2?",
        "4.",
        "And 3+3?",
        "6.",
        "How do I cross the lake? (Be short.)",
    ]
    (sample,) = store.rows
    assert (sample["first_reply"], sample["response"], sample["prompt_tokens"]) == ("", "Walk.", 10)
    owner = owner_of(spec)
    assert [text for _, text in owner.shown([sample], one).prompt] == [m["content"] for m in asked]
    assert owner.shown([sample], None).prompt[-1][1] == asked[-1]["content"]
    assert "opening:conversation" in score(task, [sample]).metrics["accurate"].signature
    assert owner.asks([one])["subject"].requests == 1
    with pytest.raises(PerbenchError, match=r"e00: .*preference\.opening"):
        run(task, Dataset([example(0)], "d"), Two(subject, subject), stores(), seed=0, tick=quiet)
