"""Dialogue: who is told what, resuming after a kill at any turn, trimming, and scores by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from perbench.api import Example
from perbench.contracts.data import Dataset
from perbench.contracts.engine import Conversation, Generation, TokenIds
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError, SpecError
from perbench.prompts.chat import chat_text, encode
from perbench.protocols.dialogue.section import DialogueSpec, JudgeSpec, SimulatorSpec
from perbench.protocols.dialogue.turns import PMI_SYSTEM, fit, strip_actions
from perbench.shapes.base import Named
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import FieldSpec, TaskSpec
from perbench.specs.compose import owner_of, task_spec
from perbench.specs.load import load_rubric, load_task
from tests.owners import run, score

Store = Any
"""A MemoryStore of conftest.py."""
SAMPLING = SamplingSpec(max_new_tokens=6, temperature=1.0)


def task(
    *, turns: int = 2, max_length: int = 400, report: Sequence[int] = (), **judge: Any
) -> Named[TaskSpec]:
    dialogue = DialogueSpec(
        turns=turns,
        report_turns=list(report),
        simulator=SimulatorSpec(
            model="simulator",
            instruction="You are {profile} Style: {personality}",
            opening="Begin.",
            sampling=SAMPLING,
        ),
        judge=JudgeSpec(
            model="judge",
            instruction="{profile}|{personality}|{message}|{response}",
            sampling=SamplingSpec(max_new_tokens=2, temperature=1.0),
            **judge,
        ),
    )
    return Named(
        "toy/dialogue",
        task_spec()(
            summary="test",
            protocol="dialogue",
            license="none",
            data={"files": "unread"},
            fields=FieldSpec(user="user", extra=["profile", "personality"]),
            max_length=max_length,
            sampling=SAMPLING,
            headline="rating",
            dialogue=dialogue,
        ),
        None,
    )


def persona(number: int) -> Example:
    told = {"profile": f"a hunter, {number} years old.", "personality": "kind"}
    return Example(f"p{number:02d}", f"u{number % 4}", "", "", (), told)


BATCH = TransformersEngine.batch
DATASET = Dataset([persona(number) for number in reversed(range(BATCH + 1))], "digest")


def quiet(done: int, total: int, figures: dict[str, float]) -> None:
    """A progress callback that shows nothing."""


class Cast:
    """One tiny model plays every part."""

    def __init__(self, subject: Any, **named: Any) -> None:
        self.subject = subject
        self._named = named

    def named(self, model: str) -> Any:
        return self._named.get(model, self.subject)


def rendered(tokenizer: Any, conversation: Conversation) -> str:
    system = conversation[0]["content"] if conversation[0]["role"] == "system" else None
    turns = [message["content"] for message in conversation[system is not None :]]
    return chat_text(tokenizer, system, turns)


class Scripted:
    """Notes the prompts it reads and answers by `say(call, place)`; scores by `logp(prompt, response)`."""

    name = "scripted"
    offers, batch, alone = TransformersEngine.offers, BATCH, False

    def __init__(self, tokenizer: Any, say: Any, logp: Any = None) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[list[str]] = []
        self._say = say
        self._logp = logp

    def generate(self, prompts: Sequence[TokenIds], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        call = len(self.prompts)
        self.prompts.append([self.tokenizer.decode(prompt) for prompt in prompts])
        said = [self._say(call, i) for i in range(len(prompts))]
        return [
            text if isinstance(text, Generation) else Generation(text, "stop", len(prompt), 1)
            for text, prompt in zip(said, prompts, strict=True)
        ]

    def chat(
        self, conversations: Sequence[Conversation], sampling: SamplingSpec, *, seed: int, skip: bool = False
    ) -> list[Generation]:
        return self.generate(
            [encode(self.tokenizer, rendered(self.tokenizer, one)) for one in conversations],
            sampling,
            seed=seed,
        )

    def score(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[Any]:
        return [self._logp(self.tokenizer.decode(p), r) for p, r in zip(prompts, responses, strict=True)]

    def load_adapter(self, path: Any) -> None:
        raise AssertionError("protocols load no adapters")


# ---------------------------------------------------------------- resuming


@pytest.fixture(scope="module")
def whole(stores: Any, engine: TransformersEngine) -> Store:
    store = stores()
    run(task(), DATASET, Cast(engine), store, seed=4, tick=quiet)
    return store


@pytest.mark.parametrize("fuse", range(2 * len(DATASET.examples)))
def test_killed_anywhere_and_resumed_equals_uninterrupted(
    stores: Any, engine: TransformersEngine, whole: Store, fuse: int
) -> None:
    store = stores(fuse=fuse)
    with pytest.raises(stores.Killed):
        run(task(), DATASET, Cast(engine), store, seed=4, tick=quiet)
    resumed = stores(store.rows)
    tokens = run(task(), DATASET, Cast(engine), resumed, seed=4, tick=quiet)
    assert resumed.rows == whole.rows
    assert tokens["generated"] == sum(sample["new_tokens"] for sample in whole.rows)
    assert tokens["judge_prompt"] == sum(sample["overhead"]["judge_prompt"] for sample in whole.rows)


def test_turns_come_one_after_the_other_for_all(whole: Store) -> None:
    expected = [f"p{number:02d}#{turn}" for turn in (1, 2) for number in range(BATCH + 1)]
    assert [sample["id"] for sample in whole.rows] == expected


def test_another_seed_gives_other_dialogues(stores: Any, engine: TransformersEngine, whole: Store) -> None:
    store = stores()
    run(task(), DATASET, Cast(engine), store, seed=5, tick=quiet)
    assert [s["response"] for s in store.rows] != [s["response"] for s in whole.rows]


def test_pmi_is_the_mean_gain_of_the_persona_per_token(engine: TransformersEngine, whole: Store) -> None:
    first, second = whole.rows[0], whole.rows[BATCH + 1]
    assert (first["id"], second["id"]) == ("p00#1", "p00#2")
    turns = [first["message"], first["response"], second["message"]]
    ids = encode(engine.tokenizer, second["response"])
    contexts = [
        encode(engine.tokenizer, chat_text(engine.tokenizer, system, turns))
        for system in (PMI_SYSTEM.format(profile="a hunter, 0 years old.", personality="kind"), None)
    ]
    told, untold = engine.score(contexts, [ids, ids])
    assert second["pmi"] == pytest.approx(float((told - untold).mean()), abs=1e-5)


# ---------------------------------------------------------------- who is told what


def test_each_part_is_told_what_it_may_know(stores: Any, engine: TransformersEngine) -> None:
    tokenizer = engine.tokenizer
    simulator = Scripted(tokenizer, lambda call, i: f"*waves*  hello {call}")
    subject = Scripted(tokenizer, lambda call, i: f"reply {call}")
    judge = Scripted(tokenizer, lambda call, i: "4", lambda prompt, response: np.zeros(len(response)))
    store = stores()
    data = Dataset([persona(7)], "digest")
    run(task(), data, Cast(subject, simulator=simulator, judge=judge), store, seed=0, tick=quiet)

    system = "You are a hunter, 7 years old. Style: kind"
    assert simulator.prompts == [
        [chat_text(tokenizer, system, ["Begin."])],
        [chat_text(tokenizer, system, ["Begin.", "hello 0", "reply 0"])],
    ]
    assert subject.prompts == [
        [chat_text(tokenizer, None, ["hello 0"])],
        [chat_text(tokenizer, None, ["hello 0", "reply 0", "hello 1"])],
    ]
    assert judge.prompts[1] == [chat_text(tokenizer, None, ["a hunter, 7 years old.|kind|hello 1|reply 1"])]
    assert [(s["message"], s["response"], s["rating"]) for s in store.rows] == [
        ("hello 0", "reply 0", 4),
        ("hello 1", "reply 1", 4),
    ]


def test_a_reply_never_rated_is_missing_and_an_empty_one_has_no_pmi(
    stores: Any, engine: TransformersEngine
) -> None:
    tokenizer = engine.tokenizer
    judge = Scripted(tokenizer, lambda call, i: f"no {call}", lambda prompt, response: np.ones(len(response)))
    subject = Scripted(tokenizer, lambda call, i: "" if call == 0 else "reply")
    store = stores()
    spec = task(retries=1)
    run(
        spec,
        Dataset([persona(1)], "digest"),
        Cast(subject, simulator=subject, judge=judge),
        store,
        seed=0,
        tick=quiet,
    )
    assert [sample["rating"] for sample in store.rows] == [None, None]
    assert [sample["rating_raw"] for sample in store.rows] == [["no 0", "no 1"], ["no 2", "no 3"]]
    found = score(spec, store.rows)
    assert (found.metrics["rating"].value, found.metrics["rating"].missing) == (None, 2)
    assert found.counts["missing_scores"] == 2
    assert found.counts["judge_retries"] == 2


def test_an_empty_reply_has_no_pmi(stores: Any, engine: TransformersEngine) -> None:
    subject = Scripted(engine.tokenizer, lambda call, i: "" if i == 0 else "yes")
    judge = Scripted(
        engine.tokenizer, lambda call, i: "3", lambda prompt, response: np.full(len(response), 2.0)
    )
    simulator = Scripted(engine.tokenizer, lambda call, i: "hello")
    store = stores()
    data = Dataset([persona(0), persona(1)], "digest")
    run(task(turns=1), data, Cast(subject, simulator=simulator, judge=judge), store, seed=0, tick=quiet)
    assert [sample["pmi"] for sample in store.rows] == [None, 0.0]
    assert score(task(turns=1), store.rows).metrics["pmi"].missing == 1


def test_without_pmi_nothing_is_scored(stores: Any, engine: TransformersEngine) -> None:
    scripted = Scripted(engine.tokenizer, lambda call, i: "3")  # scoring would call None
    store = stores()
    run(task(turns=1, pmi=False), Dataset([persona(0)], "digest"), Cast(scripted), store, seed=0, tick=quiet)
    assert "pmi" not in score(task(turns=1, pmi=False), store.rows).metrics


def test_a_persona_without_its_fields_is_named(stores: Any, engine: TransformersEngine) -> None:
    data = Dataset([Example("p1", "u", "", "", (), {"profile": "x"})], "digest")
    with pytest.raises(PerbenchError, match=r"example p1: no personality; .* fields\.extra"):
        run(task(), data, Cast(engine), stores(), seed=0, tick=quiet)


# ---------------------------------------------------------------- trimming


def test_the_oldest_turns_go_first_and_the_last_never(engine: TransformersEngine) -> None:
    tokenizer = engine.tokenizer

    def prompt(turns: list[str]) -> list[int]:
        return encode(tokenizer, chat_text(tokenizer, "sys", turns))

    turns = ["m1 deer", "r1 deer", "m2", "r2", "m3"]
    assert fit(tokenizer, "sys", turns, len(prompt(turns))) == (prompt(turns), 0)
    assert fit(tokenizer, "sys", turns, len(prompt(turns)) - 1) == (prompt(["m2", "r2", "m3"]), 1)
    assert fit(tokenizer, "sys", turns, len(prompt(["m3"]))) == (prompt(["m3"]), 2)
    opened = ["opening", "m1 deer", "r1 deer", "m2", "r2"]
    kept = prompt(["opening", "m2", "r2"])
    assert fit(tokenizer, "sys", opened, len(prompt(opened)) - 1, first=1) == (kept, 1)
    with pytest.raises(PerbenchError, match="raise max_length"):
        fit(tokenizer, "sys", ["far too long for this"], 5)


def test_a_long_dialogue_drops_turns_and_counts_them(stores: Any, engine: TransformersEngine) -> None:
    tokenizer = engine.tokenizer
    talker = Scripted(tokenizer, lambda call, i: "I like to hunt deer in the woods. " * 3)
    judge = Scripted(tokenizer, lambda call, i: "2", lambda prompt, response: np.zeros(len(response)))
    store = stores()
    spec = task(turns=6, max_length=330)
    run(spec, Dataset([persona(0)], "digest"), Cast(talker, judge=judge), store, seed=0, tick=quiet)
    dropped = [sample["turns_dropped"] for sample in store.rows]
    assert dropped[0] == 0
    assert dropped == sorted(dropped)
    assert dropped[-1] > 0
    assert max(sample["prompt_tokens"] for sample in store.rows) <= 330 - 6
    assert score(spec, store.rows).counts["turns_dropped"] == sum(dropped)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("*smiles* Hi there!", "Hi there!"),
        ("Well *sighs deeply* no.", "Well no."),
        ("a **bold** word", "a bold word"),
        ("*waves*", ""),
        ("2 * 3", "2 * 3"),
        ("line\n\n*walks away*\nbye", "line\n\n\nbye"),
        ("* tea\n* milk\n* bread", "* tea\n* milk\n* bread"),
    ],
)
def test_stage_directions_are_stripped(said: str, kept: str) -> None:
    assert strip_actions(said) == kept


# ---------------------------------------------------------------- scores


def row(user: str, turn: int, rating: int | None, pmi: float | None) -> dict[str, Any]:
    return {
        "id": f"{user}#{turn}",
        "user": user,
        "turn": turn,
        "message": "m",
        "response": "two words",
        "finish_reason": "length" if turn == 1 else "stop",
        "turns_dropped": 0,
        "rating": rating,
        "rating_raw": ["x"],
        "pmi": pmi,
    }


def test_scores_by_hand() -> None:
    rows = [row("u", 1, 2, 0.5), row("v", 1, 4, 0.1), row("u", 2, 5, 0.3), row("v", 2, None, -0.1)]
    found = score(task(), rows)
    rating, pmi = found.metrics["rating"], found.metrics["pmi"]
    assert (rating.value, rating.n, rating.missing) == (pytest.approx(11 / 3), 3, 1)
    assert [(turn.turn, turn.value, turn.n) for turn in rating.by_turn] == [(1, 3.0, 2), (2, 5.0, 1)]
    assert (rating.users, rating.ci) == (2, None)
    assert pmi.value == pytest.approx(0.2)
    assert [turn.value for turn in pmi.by_turn] == [pytest.approx(0.3), pytest.approx(0.1)]
    assert found.metrics["length"].value == 2.0
    assert found.counts["truncated"] == 2
    assert found.notes == ["rating: the judge judge is uncalibrated; its ratings are no measure of quality"]


def test_the_headline_is_over_the_reported_turns() -> None:
    rows = [row("u", turn, turn, 0.0) for turn in (1, 2, 3)]
    spec = task(turns=3, report=[2, 3], calibrated=True)
    found = score(spec, rows)
    assert found.metrics["rating"].value == 2.5
    assert len(found.metrics["rating"].by_turn) == 3
    assert found.scores.ids == ["u#2", "u#3"]
    assert found.scores.scores["rating"] == [2, 3]
    assert found.notes == []
    assert found.metrics["rating"].signature.endswith("turns:2,3")


def test_a_rubric_is_the_same_judge_as_its_instruction_inline() -> None:
    def identity(changes: dict[str, Any]) -> Any:
        spec = load_task("aloe/dialogue", overrides=changes).spec
        return owner_of(spec).inputs({"openai/gpt-4o-mini-2024-07-18": {}})["dialogue"]

    text = load_rubric("aloe").spec.ask["rating"]
    inline = {"dialogue.judge.instruction": text}
    assert identity({}) == identity(inline) == identity({**inline, "dialogue.judge.rubric": None})
    assert identity({})["judge"]["instruction"] == text
    second = {"dialogue.second_judge.model": "openai/gpt-4o-mini-2024-07-18"}
    given = [identity({**second, **more}) for more in ({}, {"dialogue.second_judge.rubric": "aloe"})]
    assert [one["second_judge"]["instruction"] for one in given] == [None, text]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dialogue.judge.rubric": None}, "missing key 'instruction'"),
        ({"dialogue.judge.rubric": "prefeval"}, "dialogue.judge: rubric: must be one request"),
        ({"dialogue.judge.rubric": "prefeval"}, "rubric: uses {question}"),
    ],
)
def test_rubrics_that_rate_no_reply(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        load_task("aloe/dialogue", overrides=change)
    assert said in str(error.value)


def test_report_turns_beyond_the_dialogue_are_refused() -> None:
    with pytest.raises(ValueError, match=r"report_turns \[6\] exceed"):
        task(turns=5, report=[6])
