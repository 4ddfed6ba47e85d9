"""What a protocol says to follow from per-sample scores alone is what it computes from the samples."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.protocols.dialogue.scores import implied as of_dialogues
from perbench.protocols.dialogue.scores import score as score_dialogues
from perbench.protocols.dialogue.section import DialogueSpec, JudgeSpec, SimulatorSpec
from perbench.protocols.identification.scores import implied as of_identification
from perbench.protocols.identification.scores import score_samples
from perbench.published.follows import contradictions
from perbench.shapes.sampling import SamplingSpec
from perbench.store.record import Metric, Scores

SAMPLING = SamplingSpec(max_new_tokens=6, temperature=1.0)
RATING = st.integers(1, 5) | st.none()


def differences(found: dict[str, Metric], recorded: dict[str, Metric]) -> list[str]:
    return [key for key, *_ in contradictions(recorded, found)]


@st.composite
def talks(draw: st.DrawFn) -> tuple[int, list[int], list[dict[str, Any]]]:
    turns = draw(st.integers(1, 4))
    report = sorted(draw(st.sets(st.integers(1, turns))))
    samples = [
        {
            "id": f"p{person}#{turn}",
            "user": f"u{person % 4}",
            "turn": turn,
            "message": "hello",
            "response": "a b",
            "finish_reason": "stop",
            "turns_dropped": 0,
            "rating": draw(RATING),
            "rating_raw": ["1"],
            "rating_missing": "no rating",
            "pmi": draw(st.floats(-3, 3) | st.none()),
        }
        for turn in range(1, turns + 1)
        for person in range(draw(st.integers(1, 6)))
    ]
    return turns, report, samples


@settings(max_examples=60)
@given(talks())
def test_turns_and_improvement_of_dialogues(made: tuple[int, list[int], list[dict[str, Any]]]) -> None:
    turns, report, samples = made
    spec = DialogueSpec(
        turns=turns,
        report_turns=report,
        simulator=SimulatorSpec(
            model="m", instruction="{profile}{personality}", opening="Hi", sampling=SAMPLING
        ),
        judge=JudgeSpec(model="m", instruction="{message}{response}", sampling=SAMPLING, pmi=True),
    )
    scored = score_dialogues(spec, samples)
    found = of_dialogues(scored.scores, scored.metrics)
    assert differences(found, scored.metrics) == []
    everything = not report or len(report) == turns
    improvement = {"ir", "r2", "n_ir", "n_r2"} & scored.metrics.keys() if everything else set()
    assert found.keys() == {"rating", "pmi"} | improvement


def test_an_id_without_a_turn_is_no_score_of_a_dialogue() -> None:
    metric = Metric(value=1.0, n=1, signature="rating")
    scores = Scores(ids=["no turn"], clusters=["u"], scores={"rating": [1.0]})
    with pytest.raises(ValueError, match="turn"):
        of_dialogues(scores, {"rating": metric})


WORDS = ["one", "two", "three", "four"]
SPANS = [[0, 3], [4, 7], [8, 13], [14, 18]]


@st.composite
def marked(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{split}{number}",
            "split": split,
            "user": f"u{draw(st.integers(0, 4))}",
            "response": " ".join(WORDS),
            "gold": draw(st.lists(st.sampled_from(SPANS), unique_by=tuple, max_size=3)),
            "kinds": [],
            "sentences": [],
            "distractors": [],
            "spans": SPANS,
            "scores": draw(st.lists(st.floats(-2, 2), min_size=4, max_size=4)),
            "threshold": 0.5,
            "counts": {},
        }
        for split, most in (("dev", 4), ("test", 8))
        for number in range(draw(st.integers(1, most)))
    ]


@settings(max_examples=60)
@given(marked())
def test_precision_recall_and_f1_of_identification(samples: list[dict[str, Any]]) -> None:
    for sample in samples:
        sample["kinds"] = sample["sentences"] = [None] * len(sample["gold"])
    scored = score_samples(samples)
    found = of_identification(scored.scores, scored.metrics)
    assert differences(found, scored.metrics) == []
    tuned = {f"{name}_tuned" for name in ("precision", "recall", "f1")}
    assert found.keys() == {"precision", "recall", "f1"} | (tuned & scored.metrics.keys())
