"""Stored samples as people read them, by protocol."""

from __future__ import annotations

from typing import Any

from perbench.contracts.shown import Shown, worst_first
from perbench.specs.compose import owner_of
from perbench.specs.load import load_task
from tests.protocols.test_dialogue import persona
from tests.protocols.test_dialogue import row as turn
from tests.protocols.test_preference import TASK as PREFERENCE
from tests.protocols.test_preference import TURNS, example
from tests.site.test_spans import sample as marked


def shown(task: str, samples: list[dict[str, Any]], example: Any = None) -> Shown:
    return owner_of(load_task(task).spec).shown(samples, example)


def answer(**fields: Any) -> dict[str, Any]:
    text = {"id": "test/ada/1", "user": "ada", "question": "Q?", "reference": "Gold.", "response": "A."}
    count = {"new_tokens": 5, "persona_kept": 2, "persona_trimmed": 3}
    return {**text, **count, "finish_reason": "stop", **fields}


def test_an_answer() -> None:
    found = shown("embedded/sotu_writing", [answer(finish_reason="length", own_adapter=False)])
    assert (found.id, found.user, found.answer, found.reference) == ("test/ada/1", "ada", "A.", "Gold.")
    assert (found.persona, found.kept, found.trimmed) == (None, 2, 3)
    assert found.prompt == (("user", "Q?"),)
    cut, adapter = found.notes
    assert "5 tokens" in cut
    assert "adapter" in adapter
    assert shown("embedded/sotu_writing", [answer(missing="refused")]).missing == "refused"


def test_a_dialogue_is_one_example_of_several_samples() -> None:
    ended = {**turn("p01", 3, None, None), "missing": "simulator_filtered", "message": "", "response": ""}
    rows = [turn("p01", 1, 4, 0.5), {**turn("p01", 2, None, 0.1), "turns_dropped": 1}, ended]
    rows[1] |= {"rating_missing": "judge_unreadable", "rating_second": 3}
    found = shown("embedded/dialogue", rows, persona(1))
    assert found.id == "p01"
    assert found.persona == ("a hunter, 1 years old.", "kind")
    assert (found.prompt, found.answer) == ((), "")
    one, two, three = found.turns
    assert (one.sample, one.message, one.reply) == ("p01#1", "m", "two words")
    assert one.scores == {"rating": 4, "pmi": 0.5}
    assert [note.split()[0] for note in one.notes] == ["cut"]
    assert two.scores == {"rating": None, "second judge": 3, "pmi": 0.1}
    assert any("1 earlier turn " in note for note in two.notes)
    assert any("judge unreadable" in note for note in two.notes)
    assert three.missing == "simulator_filtered"
    assert shown("embedded/dialogue", rows).persona is None


def judged(**fields: Any) -> dict[str, Any]:
    return {
        "id": "e01",
        "user": "u1",
        "preference": "I hate boats 1.",
        "question": "How do I cross the lake?",
        "first_reply": "Noted.",
        "response": "Take the bridge.",
        "finish_reason": "stop",
        "new_tokens": 3,
        "checks": {"violates": False, "helpful": True, "acknowledges": None},
        "checks_raw": {"violates": "No", "helpful": "Yes", "acknowledges": "Perhaps."},
        "checks_missing": {"acknowledges": "judge_unreadable"},
        **fields,
    }


def test_a_preference_with_its_conversation_and_verdicts() -> None:
    owner = owner_of(PREFERENCE.spec)
    found = owner.shown([judged()], example(1))
    assert found.prompt == (
        ("system", "Be good."),
        ("user", "I hate boats 1."),
        ("assistant", "Noted."),
        *((role, text) for pair in TURNS[:2] for role, text in zip(("user", "assistant"), pair, strict=True)),
        ("user", "How do I cross the lake? (Be short.)"),
    )
    assert found.persona == ("I hate boats 1.",)
    verdicts = dict(found.details)
    assert (verdicts["violates"], verdicts["helpful"]) == ("no", "yes")
    assert "judge unreadable" in verdicts["acknowledges"]
    assert "Perhaps." in verdicts["acknowledges"]
    assert found.notes == ()
    bare = owner.shown([judged()], None)
    assert [text for _, text in bare.prompt][-2:] == ["Noted.", "How do I cross the lake? (Be short.)"]
    assert len(bare.notes) == 1
    untasked = type(owner)(None).shown([judged()], None)
    assert [text for _, text in untasked.prompt] == ["I hate boats 1.", "Noted.", "How do I cross the lake?"]
    silent = owner.shown([judged(first_reply="", response="", missing="refused")], example(1))
    assert silent.prompt[-1] == ("user", "I hate boats 1.")
    assert silent.details == ()


def test_marked_tokens_with_gold_and_errors() -> None:
    found = shown("identification/persona_qa", [marked()])
    assert "".join(piece.text for piece in found.pieces) == found.answer == "Got a deer last season."
    assert found.persona == ("I am thin.", "I like to hunt.")
    assert dict(found.details) == {
        "gold": "deer, last season",
        "wrong": "Got 1.50",
        "missed": "last 0.20, season 0.90",
    }
    skipped = {"id": "test/1", "split": "test", "user": "u", "missing": "too_long"}
    assert shown("identification/persona_qa", [skipped]).missing == "too_long"


def test_the_worst_come_first() -> None:
    scores = {"b": 0.5, "a": 0.5, "none": None, "low": 0.1}
    assert worst_first(scores, "higher") == ["low", "a", "b"]
    assert worst_first(scores, "lower") == ["a", "b", "low"]
