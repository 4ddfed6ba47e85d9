"""Dialogues in which a reply, a message or a rating is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perbench.contracts.data import Dataset
from perbench.contracts.engine import LEFT_OUT, Generation
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import CellError
from perbench.lm.context import TooLong
from perbench.protocols.dialogue.section import SecondJudgeSpec
from tests.owners import run, score
from tests.protocols.test_dialogue import Cast, Scripted, persona, quiet, task

ABSENT = Generation("", "content_filter", 5, 0, "filtered")


def test_a_dialogue_ends_where_a_reply_is_missing_and_the_others_go_on(
    stores: Any, engine: TransformersEngine
) -> None:
    tokenizer = engine.tokenizer
    # First turn: p01's simulator and p02's model say nothing. Only p00 has a second turn.
    simulator = Scripted(tokenizer, lambda call, i: ABSENT if (call, i) == (0, 1) else f"hello {call}")
    subject = Scripted(tokenizer, lambda call, i: ABSENT if (call, i) == (0, 1) else f"reply {call}")
    judge = Scripted(
        tokenizer, lambda call, i: "4" if call == 0 else ABSENT, lambda prompt, ids: np.zeros(len(ids))
    )
    spec, store = task().spec.model_copy(update={"max_missing": 0.8}), stores()
    chosen, cast = replace(task(), spec=spec), Cast(subject, simulator=simulator, judge=judge)
    run(chosen, Dataset([persona(0), persona(1), persona(2)], "d"), cast, store, seed=0, tick=quiet)
    assert {sample["id"]: sample.get("missing") for sample in store.rows} == {
        "p00#1": None,
        "p01#1": "simulator_filtered",
        "p02#1": "filtered",
        "p00#2": None,
        "p01#2": "dialogue_ended",
        "p02#2": "dialogue_ended",
    }
    assert [len(prompts) for prompts in simulator.prompts] == [3, 1]
    assert [len(prompts) for prompts in subject.prompts] == [2, 1]
    assert len(judge.prompts[0]) == 1
    found = score(chosen, store.rows)
    ended = {"dialogue_ended": 2, "filtered": 1, "simulator_filtered": 1}
    assert {f"missing_{why}": number for why, number in ended.items()}.items() <= found.counts.items()
    assert found.counts["missing_scores"] == 1
    for name, why in (("rating", ended | {"judge_filtered": 1}), ("pmi", ended), ("length", ended)):
        metric = found.metrics[name]
        assert metric.why == why
        assert metric.n == 6 - sum(why.values())
    again = Cast(Scripted(tokenizer, None))  # would fail if asked
    run(chosen, Dataset([persona(0), persona(1), persona(2)], "d"), again, store, seed=0, tick=quiet)
    assert len(store.rows) == 6


def test_too_many_missing_replies_fail_the_dialogues(stores: Any, engine: TransformersEngine) -> None:
    tokenizer, store = engine.tokenizer, stores()
    silent = Scripted(tokenizer, lambda call, i: ABSENT)
    cast = Cast(silent, simulator=Scripted(tokenizer, lambda call, i: "hi"), judge=silent)
    with pytest.raises(CellError, match=r"1 of 2 answers are missing \(1 filtered\).*max_missing 0.1"):
        run(task(), Dataset([persona(0)], "d"), cast, store, seed=0, tick=quiet)


def test_judges_of_one_rating_have_no_kappa_and_a_note_says_why() -> None:
    second = SecondJudgeSpec(model="second")
    spec = task(turns=1).spec
    assert spec.dialogue is not None
    dialogue = spec.dialogue.model_copy(update={"second_judge": second})
    chosen = replace(task(), spec=spec.model_copy(update={"dialogue": dialogue}))
    common = {
        "turn": 1,
        "response": "a",
        "message": "b",
        "finish_reason": "stop",
        "turns_dropped": 0,
        "pmi": 0.0,
    }
    samples = [
        {"id": f"p{i}#1", "user": f"u{i}", **common, "rating": 4, "rating_raw": ["4"], "rating_second": 4}
        for i in range(3)
    ]
    found = score(chosen, samples)
    assert found.metrics["judge_kappa"].value is None
    (note,) = [note for note in found.notes if note.startswith("judge_kappa")]
    assert "one rating" in note


def lenient(**changes: Any) -> Any:
    update = {"on_too_long": "skip", "max_missing": 0.0, **changes}
    return replace(task(), spec=task(turns=3).spec.model_copy(update=update))


def test_turns_after_one_beyond_the_context_are_too_long_and_earlier_ones_count(
    stores: Any, engine: TransformersEngine
) -> None:
    tokenizer = engine.tokenizer
    # Second turn: too long for p00's simulator, and for p01's model. p02 goes on.
    simulator = Scripted(tokenizer, lambda call, i: LEFT_OUT if (call, i) == (1, 0) else f"hello {call}")
    subject = Scripted(tokenizer, lambda call, i: LEFT_OUT if (call, i) == (1, 0) else f"reply {call}")
    judge = Scripted(tokenizer, lambda call, i: "4", lambda prompt, ids: np.zeros(len(ids)))
    store, cast = stores(), Cast(subject, simulator=simulator, judge=judge)
    run(lenient(), Dataset([persona(i) for i in range(3)], "d"), cast, store, seed=0, tick=quiet)
    gone = {"p00#2", "p00#3", "p01#2", "p01#3"}
    assert {sample["id"] for sample in store.rows if sample.get("missing") == "too_long"} == gone
    assert [sample["id"] for sample in store.rows if "missing" not in sample] == [
        *("p00#1", "p01#1", "p02#1"),
        *("p02#2", "p02#3"),
    ]
    assert [len(prompts) for prompts in simulator.prompts] == [3, 3, 1]
    found = score(lenient(), store.rows)
    assert found.counts["missing_too_long"] == 4
    for name in ("rating", "pmi", "length"):
        metric = found.metrics[name]
        assert (metric.n, metric.missing, metric.why) == (5, 4, {"too_long": 4})
    assert [turn.n for turn in found.metrics["rating"].by_turn or []] == [3, 1, 1]


def test_a_message_beyond_max_length_or_the_context_ends_a_dialogue_or_fails(
    stores: Any, engine: TransformersEngine
) -> None:
    tokenizer = engine.tokenizer
    long = "I hunt deer in the woods. "
    # 500: more than max_length has room for; 5000, with room for it: more than the model's context.
    for times, room in ((100, 400), (700, 100_000)):
        simulator = Scripted(tokenizer, lambda call, i, n=times: long * n if (call, i) == (1, 0) else "hi")
        judge = Scripted(tokenizer, lambda call, i: "4", lambda prompt, ids: np.zeros(len(ids)))
        cast, data = Cast(engine, simulator=simulator, judge=judge), Dataset([persona(0), persona(1)], "d")
        store = stores()
        run(lenient(max_length=room), data, cast, store, seed=0, tick=quiet)
        assert {sample["id"] for sample in store.rows if sample.get("missing") == "too_long"} == {
            "p00#2",
            "p00#3",
        }
        simulator.prompts.clear()
        strict = lenient(max_length=room, on_too_long="fail")
        with pytest.raises(TooLong, match=r"max_length.*on_too_long: skip"):
            run(strict, data, cast, stores(), seed=0, tick=quiet)
