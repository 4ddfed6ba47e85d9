"""Preference following: the conversation, four checks, resuming, and scores by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perbench.api import Example
from perbench.contracts.data import Dataset
from perbench.contracts.engine import LEFT_OUT, Engine, Generation
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import CellError, PerbenchError, SpecError
from perbench.protocols.preference.section import CheckJudgeSpec, PreferenceSpec
from perbench.shapes.base import Named
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import FieldSpec, TaskSpec
from perbench.specs.compose import helpers_of, owner_of, task_spec
from perbench.specs.load import load_rubric, load_task
from tests.owners import run, score
from tests.protocols.test_generation import quiet

JUDGE = CheckJudgeSpec(
    model="judge",
    violates="violates {preference} {question} {response}",
    acknowledges="acknowledges {response}",
    hallucinates="hallucinates {preference} {response}",
    helpful="helpful {question} {response}",
)
TASK: Named[TaskSpec] = Named(
    "toy/preference",
    task_spec()(
        summary="test",
        protocol="preference",
        license="none",
        data={"files": "unread"},
        fields=FieldSpec(user="user", question="question", extra=["preference", "turns"]),
        sampling=SamplingSpec(max_new_tokens=6, temperature=1.0),
        headline="accurate",
        preference=PreferenceSpec(turns=2, system="Be good.", question="{question} (Be short.)", judge=JUDGE),
    ),
    None,
)
TURNS = [["What is 2+2?", "4."], ["And 3+3?", "6."], ["And 4+4?", "8."]]


def example(number: int, **extra: Any) -> Example:
    given = {"preference": f"I hate boats {number}.", "turns": TURNS, **extra}
    return Example(f"e{number:02d}", f"u{number}", "How do I cross the lake?", "", (), given)


class Far:
    """An endpoint: keeps what it is asked, answers by rule."""

    name = "far"
    offers, batch, alone = frozenset({"chat"}), 64, True

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Sequence[Any]] = []
        self.seeds: dict[str, int] = {}
        self.longest = 0
        self.skips: set[bool] = set()

    def chat(
        self, conversations: Sequence[Any], sampling: SamplingSpec, *, seed: int, skip: bool = False
    ) -> list[Generation]:
        self.asked += conversations
        self.skips.add(skip)
        self.seeds |= {str(messages): seed for messages in conversations}
        self.longest = sampling.max_new_tokens
        answers = [self.answer(messages) for messages in conversations]
        return [one if isinstance(one, Generation) else Generation(one, "stop", 10, 2) for one in answers]


class Two:
    def __init__(self, subject: Any, judge: Any) -> None:
        self.subject, self._judge = subject, judge

    def named(self, model: str) -> Engine:
        assert model == "judge"
        return self._judge  # type: ignore[no-any-return]

    scorer = named  # type: ignore[assignment]


def test_the_conversation_is_prefevals(stores: Any) -> None:
    subject = Far(lambda messages: f"reply {len(messages)}")
    judge = Far(lambda messages: "No" if messages[0]["content"].startswith(("viol", "hall")) else "yes.")
    store = stores()
    tokens = run(TASK, Dataset([example(1)], "digest"), Two(subject, judge), store, seed=0, tick=quiet)
    system = {"role": "system", "content": "Be good."}
    told = {"role": "user", "content": "I hate boats 1."}
    assert subject.asked == [
        [system, told],
        [
            system,
            told,
            {"role": "assistant", "content": "reply 2"},
            {"role": "user", "content": "What is 2+2?"},
            {"role": "assistant", "content": "4."},
            {"role": "user", "content": "And 3+3?"},
            {"role": "assistant", "content": "6."},
            {"role": "user", "content": "How do I cross the lake? (Be short.)"},
        ],
    ]
    assert [messages[0]["content"] for messages in judge.asked] == [
        "violates I hate boats 1. How do I cross the lake? reply 8",
        "acknowledges reply 8",
        "hallucinates I hate boats 1. reply 8",
        "helpful How do I cross the lake? reply 8",
    ]
    (sample,) = store.rows
    assert sample["checks"] == {
        "violates": False,
        "acknowledges": True,
        "hallucinates": False,
        "helpful": True,
    }
    assert sample["checks_raw"]["helpful"] == "yes."
    assert tokens == {"prompt": 20, "generated": 4, "judge_prompt": 40, "judge_generated": 8}


def test_more_examples_ask_an_endpoint_nothing_twice(stores: Any) -> None:
    """The cache knows a request by its messages and seed, so both must outlive a larger limit."""

    def asked(numbers: Sequence[int]) -> dict[str, int]:
        subject, judge = Far(lambda messages: "fine"), Far(lambda messages: "yes")
        data = Dataset([example(number) for number in numbers], "digest")
        run(TASK, data, Two(subject, judge), stores(), seed=0, tick=quiet)
        return subject.seeds

    few, many = asked(range(5, 14)), asked(range(70))
    assert few.items() <= many.items()


@pytest.mark.parametrize("fuse", [0, 3, 9])
def test_killed_and_resumed_equals_uninterrupted(stores: Any, engine: TransformersEngine, fuse: int) -> None:
    spec = TASK.spec.preference
    assert spec is not None
    likeliest = spec.model_copy(update={"judge": JUDGE.model_copy(update={"method": "likeliest"})})
    task = replace(TASK, spec=TASK.spec.model_copy(update={"preference": likeliest}))
    data, engines = Dataset([example(number) for number in range(10)], "digest"), Two(engine, engine)
    whole, store = stores(), stores(fuse=fuse)
    run(task, data, engines, whole, seed=3, tick=quiet)
    with pytest.raises(stores.Killed):
        run(task, data, engines, store, seed=3, tick=quiet)
    resumed = stores(store.rows)
    run(task, data, engines, resumed, seed=3, tick=quiet)
    assert resumed.rows == whole.rows
    assert all(value is not None for sample in whole.rows for value in sample["checks"].values())


@pytest.mark.parametrize(
    ("checks", "accurate", "hallucinates"),
    [
        # violates, acknowledges, hallucinates, helpful
        ((False, True, False, True), 1.0, 0.0),
        ((True, True, False, True), 0.0, 0.0),  # PrefEval's "inconsistent"
        ((True, True, True, True), 0.0, 1.0),  # its "hallucination of preference"
        ((True, False, True, True), 0.0, 0.0),  # its "preference-unaware"; nothing ascribed, nothing made up
        ((False, False, False, False), 0.0, 0.0),  # its "unhelpful"
        ((False, True, True, True), 1.0, 1.0),
        ((None, True, False, True), None, 0.0),
        ((None, True, False, False), 0.0, 0.0),
        ((True, None, True, None), 0.0, None),
        ((False, True, None, None), None, None),
        ((False, None, False, True), 1.0, None),
    ],
)
def test_outcomes_by_hand(
    checks: tuple[bool | None, ...], accurate: float | None, hallucinates: float | None
) -> None:
    given = dict(zip(("violates", "acknowledges", "hallucinates", "helpful"), checks, strict=True))
    for rubric in (JUDGE.asked, load_rubric("prefeval").spec):
        found = rubric.values(given)
        assert (found["accurate"], found["hallucinates"]) == (accurate, hallucinates)


def row(number: int, *checks: bool | None) -> dict[str, Any]:
    names = ("violates", "acknowledges", "hallucinates", "helpful")
    return {
        "id": f"e{number}",
        "user": f"u{number}",
        "response": "text" if number else " ",
        "finish_reason": "length" if number == 1 else "stop",
        "checks": dict(zip(names, checks, strict=True)),
    }


def test_scores_by_hand() -> None:
    rows = [
        row(0, False, True, False, True),
        row(1, True, False, False, True),
        row(2, None, True, True, True),
    ]
    found = score(TASK, rows)
    values = {name: metric.value for name, metric in found.metrics.items()}
    assert values == {
        "accurate": 0.5,
        "violates": 0.5,
        "acknowledges": pytest.approx(2 / 3),
        "hallucinates": pytest.approx(1 / 3),
        "helpful": 1.0,
    }
    assert (found.metrics["accurate"].n, found.metrics["accurate"].missing) == (2, 1)
    assert found.scores.scores["accurate"] == [1.0, 0.0, None]
    assert found.counts == {"samples": 3, "truncated": 1, "empty": 1, "missing_scores": 1}
    assert found.notes == ["the judge judge is uncalibrated; its checks are no measure of quality"]
    assert "judge:judge|method:reply|instructions:" in found.metrics["accurate"].signature


@pytest.mark.parametrize(
    ("writer", "signed", "noted"), [("official", True, False), ("perbench", True, True), (None, False, False)]
)
def test_exchanges_of_another_hand_are_told(writer: str | None, signed: bool, noted: bool) -> None:
    found = score(TASK, [{**row(0, False, True, False, True), "turns_from": writer}])
    assert (f"|turns_from:{writer}" in found.metrics["accurate"].signature) == signed
    said = "the exchanges between preference and question are not the benchmark's own: perbench"
    assert (said in found.notes) == noted


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"preference": " "}, "example e07: no text `preference`"),
        ({"turns": TURNS[:1]}, r"example e07: `turns` .* at least 2 .*\(found 1\); lower preference.turns"),
        ({"turns": ["a", "b"]}, r"at least 2 .* \(found none\)"),
    ],
)
def test_rows_that_lack_something(stores: Any, extra: dict[str, Any], said: str) -> None:
    store = stores()
    with pytest.raises(PerbenchError, match=said):
        run(TASK, Dataset([example(7, **extra)], "d"), Two(Far(str), Far(str)), store, seed=0, tick=quiet)
    assert store.rows == []


def test_the_task_that_comes_with_perbench() -> None:
    task = load_task("prefeval/explicit")
    assert helpers_of(task.spec) == {"openai/gpt-4o-mini-2024-07-18"}
    with pytest.raises(SpecError, match=r"Did you mean 'helpful'"):
        load_task("prefeval/explicit", overrides={"headline": "helpfull"})
    for key, value in (("metrics", ["rouge1"]), ("max_length", 100)):
        with pytest.raises(SpecError, match=f"{key}: is not used by protocol preference"):
            load_task("prefeval/explicit", overrides={key: value})
    with pytest.raises(SpecError, match=r"violates: unknown \{answer\}"):
        load_task("prefeval/explicit", overrides={"preference.judge.violates": "{answer}?"})


def identity(overrides: Mapping[str, Any]) -> Any:
    spec = load_task("prefeval/explicit", overrides=overrides).spec
    return owner_of(spec).inputs({"openai/gpt-4o-mini-2024-07-18": {"name": "judge"}})


def test_other_checks_by_a_rubric_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "rubrics" / "kind.yaml").write_text(
        "answer: yes_no\nholds: [response]\nask: {kind: 'Is {response} kind?'}\n", encoding="utf-8"
    )
    monkeypatch.setenv("PERBENCH_INCLUDE", str(tmp_path))
    changes = {"preference.judge.rubric": "kind", "headline": "kind"}
    spec = load_task("prefeval/explicit", overrides=changes).spec
    assert owner_of(spec).headlines() == ["kind"]
    judge = owner_of(spec).inputs({"openai/gpt-4o-mini-2024-07-18": {}})["preference"]["judge"]
    assert judge == {"model": {}, "method": "reply", "max_new_tokens": 8, "kind": "Is {response} kind?"}
    (tmp_path / "rubrics" / "grade.yaml").write_text(
        "answer: 1..5\nholds: [response]\nask: {kind: 'Is {response} kind?'}\n", encoding="utf-8"
    )
    graded = load_task("prefeval/explicit", overrides={**changes, "preference.judge.rubric": "grade"}).spec
    assert owner_of(graded).inputs({"openai/gpt-4o-mini-2024-07-18": {}})["preference"]["judge"] != judge
    with pytest.raises(SpecError, match=r"helpful: the rubric has no such request"):
        load_task("prefeval/explicit", overrides={**changes, "preference.judge.helpful": "{response}?"})


def test_a_rubric_is_the_same_judge_as_its_instructions_inline() -> None:
    asked = load_rubric("prefeval").spec.ask
    inline = {f"preference.judge.{name}": text for name, text in asked.items()}
    assert identity({}) == identity(inline) == identity({**inline, "preference.judge.rubric": None})
    replaced = owner_of(load_task("prefeval/explicit", overrides=inline).spec)
    assert "preference.judge.rubric" in replaced.idle()
    assert "preference.judge.rubric" not in owner_of(load_task("prefeval/explicit").spec).idle()
    other = identity({"preference.judge.helpful": "{response}?"})
    assert other["preference"]["judge"] == {
        **identity({})["preference"]["judge"],
        "helpful": "{response}?",
    }
    with pytest.raises(SpecError, match="missing key 'helpful'"):
        load_task("prefeval/explicit", overrides={"preference.judge.rubric": None})
    with pytest.raises(SpecError, match=r"preference.judge.rubric: .*Did you mean 'prefeval'"):
        load_task("prefeval/explicit", overrides={"preference.judge.rubric": "prefevl"})


# ---------------------------------------------------------------- what is missing

THOUGHT = Generation("", "length", 10, 8, "only_thoughts")
FILTERED = Generation("", "content_filter", 0, 0, "filtered")


def spared(most: float, **judge: Any) -> Named[TaskSpec]:
    """The task where so many answers may be missing, with changes of its judge."""
    preference = TASK.spec.preference
    assert preference is not None
    changed = preference.model_copy(update={"judge": JUDGE.model_copy(update=judge)})
    return replace(TASK, spec=TASK.spec.model_copy(update={"preference": changed, "max_missing": most}))


def test_a_missing_reply_is_neither_judged_nor_scored(stores: Any) -> None:
    def answer(messages: Sequence[Any]) -> Any:
        last = messages[-1]["content"]
        if "boats 1" in last:
            return FILTERED  # the reply to the preference: the question is not put
        asked = len(messages) > 2 and "boats 2" in messages[1]["content"]
        return THOUGHT if asked else "fine"

    subject, judge, store = Far(answer), Far(lambda messages: "No"), stores()
    data = Dataset([example(number) for number in range(4)], "digest")
    run(spared(0.5), data, Two(subject, judge), store, seed=0, tick=quiet)
    assert [sample.get("missing") for sample in store.rows] == [None, "filtered", "only_thoughts", None]
    assert [sample["finish_reason"] for sample in store.rows] == ["stop", "content_filter", "length", "stop"]
    assert len(subject.asked) == 4 + 3
    assert len(judge.asked) == 2 * 4
    found = score(spared(0.5), store.rows)
    assert {name: found.counts[name] for name in ("missing_filtered", "missing_only_thoughts", "empty")} == {
        "missing_filtered": 1,
        "missing_only_thoughts": 1,
        "empty": 0,
    }
    assert found.counts["missing_scores"] == found.counts["truncated"] == 0
    for metric in found.metrics.values():
        assert (metric.n, metric.missing, metric.why) == (2, 2, {"filtered": 1, "only_thoughts": 1})


def test_too_many_missing_replies_fail_the_cell_at_every_start_without_a_request(stores: Any) -> None:
    subject, judge, store = Far(lambda messages: FILTERED), Far(lambda messages: "No"), stores()
    data = Dataset([example(number) for number in range(70)], "digest")
    for _ in range(2):
        with pytest.raises(CellError, match=r"64 of 70.*64 filtered.*max_missing 0.1"):
            run(spared(0.1), data, Two(subject, judge), store, seed=0, tick=quiet)
        assert len(subject.asked) == 64


def test_the_judge_has_the_tokens_that_the_task_gives_it(stores: Any) -> None:
    for given, tokens in (({}, 8), ({"max_new_tokens": 900}, 900)):
        judge = Far(lambda messages: "No")
        data = Dataset([example(1)], "digest")
        run(spared(0, **given), data, Two(Far(lambda messages: "fine"), judge), stores(), seed=0, tick=quiet)
        assert judge.longest == tokens


def test_a_judge_that_gives_no_verdict_is_said_with_the_key_that_helps(stores: Any) -> None:
    judge, store = Far(lambda m: THOUGHT if m[0]["content"].startswith("help") else "perhaps"), stores()
    data = Dataset([example(1), example(2)], "digest")
    run(spared(0), data, Two(Far(lambda messages: "fine"), judge), store, seed=0, tick=quiet)
    found = score(spared(0), store.rows)
    assert found.counts["missing_scores"] == 8
    assert found.metrics["accurate"].missing == sum(found.metrics["accurate"].why.values()) == 2
    (note,) = [note for note in found.notes if "neither yes nor no" in note]
    assert "8 of 8" in note
    assert "6 judge unreadable, 2 judge only thoughts" in note
    assert "preference.judge.max_new_tokens is 8" in note


def test_a_conversation_that_is_too_long_is_skipped_counted_and_not_asked_again(stores: Any) -> None:
    def answer(messages: Sequence[Any]) -> Any:
        said = messages[1]["content"]
        return LEFT_OUT if "boats 1" in said or ("boats 2" in said and len(messages) > 2) else "fine"

    subject, judge, store = Far(answer), Far(lambda messages: "No"), stores()
    data = Dataset([example(number) for number in range(3)], "digest")
    chosen = replace(TASK, spec=TASK.spec.model_copy(update={"on_too_long": "skip", "max_missing": 0.0}))
    for _ in range(2):
        run(chosen, data, Two(subject, judge), store, seed=0, tick=quiet)
    assert subject.skips == {True}
    assert len(subject.asked) == 3 + 2
    assert [sample.get("missing") for sample in store.rows] == [None, "too_long", "too_long"]
    found = score(chosen, store.rows)
    assert found.counts["missing_too_long"] == 2
    for metric in found.metrics.values():
        assert (metric.n, metric.missing, metric.why) == (1, 2, {"too_long": 2})
    run(TASK, data, Two(subject, judge), stores(), seed=0, tick=quiet)
    assert subject.skips == {True, False}
