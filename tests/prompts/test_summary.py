"""Recurrent summaries: which requests are made, what is kept on disk, and what stands in the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from perbench.api import Example
from perbench.contracts.engine import Generation
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import PerbenchError
from perbench.persona.build import build_personas
from perbench.persona.summarisers.recurrent import FIRST, NEXT, SummarySpec, summarise
from perbench.prompts.pair import build_pair
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import TaskSpec
from tests.prompts.test_retrieve import task


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERBENCH_CACHE", str(tmp_path / "cache"))


class Counting:
    """An engine whose answer to its n-th new request is "summary n"; it remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.absent: dict[int, Generation] = {}
        self.opened = 0
        self.drawn: list[tuple[SamplingSpec, Any]] = []

    def open(self) -> Any:
        self.opened += 1
        return self

    def chat(self, conversations: Sequence[Any], sampling: SamplingSpec, *, seed: Any) -> list[Generation]:
        self.drawn.append((sampling, seed))
        answers = []
        for (message,) in conversations:
            self.asked.append(message["content"])
            text = f" summary {len(self.asked)}\n"
            answers.append(self.absent.get(len(self.asked), Generation(text, "stop", 1, 1)))
        return answers

    def encoder(self, name: str) -> Any:
        raise AssertionError("nothing is retrieved densely here")

    def summariser(self, name: str) -> tuple[str, Callable[[], Any]]:
        return name, self.open


SPEC = SummarySpec(model="m", block=2)


def test_a_block_without_an_answer_leaves_the_summary_so_far_and_is_counted_and_not_asked_again() -> None:
    engine = Counting()
    engine.absent = {2: Generation("", "content_filter", 1, 0, "filtered")}
    for _ in range(2):
        (found,) = summarise([["a", "b", "c", "d", "e"]], SPEC, "digest", engine.open)
        assert engine.asked == [
            FIRST.format(items="a\n\nb"),
            NEXT.format(summary="summary 1", items="c\n\nd"),
            NEXT.format(summary="summary 1", items="e"),
        ]
        assert (found.text, found.truncated, found.missing) == ("summary 3", 0, 1)


def test_each_block_renews_the_summary_of_those_before() -> None:
    engine = Counting()
    (found,) = summarise([["a", "b", "c", "d", "e"]], SPEC, "digest", engine.open)
    assert engine.asked == [
        FIRST.format(items="a\n\nb"),
        NEXT.format(summary="summary 1", items="c\n\nd"),
        NEXT.format(summary="summary 2", items="e"),
    ]
    assert (found.text, found.cut, found.truncated) == ("summary 3", 0, 0)


def test_what_was_answered_is_kept_and_the_model_then_not_loaded() -> None:
    first, again = Counting(), Counting()
    histories = [["a", "b", "c"], ["a", "b"], [], ["a", "b", "c"]]
    found = summarise(histories, SPEC, "digest", first.open)
    assert (first.opened, len(first.asked)) == (2, 2)  # equal requests are made once
    assert [one.text for one in found] == ["summary 2", "summary 1", "", "summary 2"]
    assert summarise(histories, SPEC, "digest", again.open) == found
    assert again.opened == 0
    summarise([["a", "b"]], SPEC, "another model", again.open)
    assert len(again.asked) == 1


def test_answers_to_prompts_of_another_version_are_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    summarise([["a", "b"]], SPEC, "digest", engine.open)
    monkeypatch.setattr("perbench.persona.summarisers.recurrent.VERSION", 99)
    summarise([["a", "b"]], SPEC, "digest", engine.open)
    assert len(engine.asked) == 2


def test_a_killed_run_goes_on_from_the_last_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from perbench.persona.summarisers import recurrent as summary

    monkeypatch.setattr(summary, "AT_ONCE", 1)
    engine, rest = Counting(), Counting()
    chat = engine.chat

    def dying(conversations: Sequence[Any], sampling: SamplingSpec, *, seed: int) -> list[Generation]:
        if len(engine.asked) == 2:
            raise KeyboardInterrupt
        return chat(conversations, sampling, seed=seed)

    engine.chat = dying  # type: ignore[method-assign]
    histories = [["a"], ["bb"], ["ccc"]]
    with pytest.raises(KeyboardInterrupt):
        summarise(histories, SPEC, "digest", engine.open)
    assert [one.text for one in summarise(histories, SPEC, "digest", rest.open)] == [
        *("summary 1", "summary 2", "summary 1")
    ]
    assert len(rest.asked) == 1


def test_summaries_are_greedy_unless_they_are_to_be_sampled() -> None:
    engine, histories = Counting(), [["a", "b"], ["c"]]
    summarise(histories, SPEC, "digest", engine.open)
    assert engine.drawn == [(SamplingSpec(max_new_tokens=256, temperature=0.0), 0)]
    warm = SummarySpec(model="m", block=2, temperature=0.6, top_p=0.9, max_new_tokens=150)
    summarise(histories, warm, "digest", engine.open)
    ((sampling, seeds),) = engine.drawn[1:]
    assert sampling == SamplingSpec(max_new_tokens=150, temperature=0.6, top_p=0.9)
    assert len(set(seeds)) == 2
    # A request has its seed and its answer whatever is asked beside it.
    alone = Counting()
    summarise([["c"]], warm, "other digest", alone.open)
    assert alone.drawn[0][1][0] in seeds
    asked = len(engine.asked)
    summarise([["c"]], warm, "digest", engine.open)
    assert len(engine.asked) == asked
    summarise([["c"]], warm.model_copy(update={"seed": 1}), "digest", engine.open)
    assert len(engine.asked) == asked + 1
    assert engine.drawn[-1][1][0] not in seeds


def test_a_chat_model_draws_the_same_summaries_alone_and_in_company(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    engine = TransformersEngine(tiny_model_dir, dtype="float32")
    warm = SummarySpec(model="m", temperature=1.0, max_new_tokens=12)
    histories = [["I hunt deer."], ["I bake bread.", "I read."], ["Tea."]]
    together = summarise(histories, warm, "one", lambda: engine)
    alone = [summarise([history], warm, "two", lambda: engine)[0] for history in histories]
    assert together == alone
    greedy = summarise(histories, warm.model_copy(update={"temperature": 0.0}), "one", lambda: engine)
    assert [one.text for one in greedy] != [one.text for one in together]


def test_sampling_enters_identities_only_if_it_is_set() -> None:
    from perbench.matrix.identity import target_inputs

    def summary(**changes: Any) -> Any:
        spec = task(summarise="recurrent", summary={"model": "m", **changes})
        return target_inputs("t", spec, {"m": {"weights": "w"}})["persona"]["summary"]

    assert not {"temperature", "top_p", "seed"} & summary().keys()
    assert summary(temperature=0.6, seed=3).items() >= {"temperature": 0.6, "seed": 3}.items()
    for key, value in {"temperature": -1.0, "top_p": 0.0, "seed": -1}.items():
        with pytest.raises(ValidationError, match=key):
            SummarySpec(model="m", **{key: value})  # type: ignore[arg-type]


def test_long_items_are_read_in_part_and_counted() -> None:
    engine = Counting()
    spec = SummarySpec(model="m", item_words=2)
    (found,) = summarise([["one two three", "one  two", "x"]], spec, "digest", engine.open)
    assert found.cut == 1
    assert engine.asked == [FIRST.format(items="one two\n\none  two\n\nx")]


def built(engine: Counting, persona: tuple[dict[str, Any], ...], **changes: Any) -> tuple[TaskSpec, Any]:
    spec = task(summarise="recurrent", summary={"model": "m", "block": 2}, **changes)
    example = Example("e", "u", "What now?", "I hunt.", persona)
    return spec, build_personas(spec, [example], engine)


def test_the_summary_replaces_the_history_and_counts_as_one_item(tiny_model_dir: Path) -> None:
    from perbench.lm.models import load_tokenizer

    items = tuple({"text": text} for text in ("old", "newer", "newest {text}"))
    spec, found = built(Counting(), items)
    assert found.counts == {"summaries": 1, "summaries_truncated": 0, "persona_items_cut": 0}
    (example,) = found.examples
    tokenizer = load_tokenizer(tiny_model_dir)
    pair = build_pair(spec, example, tokenizer, with_response=False)
    assert (pair.kept, pair.trimmed) == (1, 0)
    assert "summary 2" in tokenizer.decode(pair.factual)
    assert "old" not in tokenizer.decode(pair.factual)
    whole = Example("e", "u", "What now?", "I hunt.", items)
    bare = build_pair(task(), whole, tokenizer, with_response=False)
    assert pair.counterfactual == bare.counterfactual
    with pytest.raises(PerbenchError, match="example e: its history is not summarised"):
        build_pair(spec, whole, tokenizer, with_response=False)


def test_what_is_retrieved_is_summarised_in_the_order_it_would_stand_in() -> None:
    engine = Counting()
    items = tuple({"text": text} for text in ("old", "newer", "newest"))
    built(engine, items, retrieve="latest", k=2, order="best_last")
    assert engine.asked == [FIRST.format(items="newer\n\nnewest")]
    engine = Counting()
    built(engine, items, k=2, priority="last")
    assert engine.asked == []  # the same request: it was answered before


def test_a_record_counts_the_histories_that_lack_a_block() -> None:
    engine = Counting()
    engine.absent = {2: Generation("", "content_filter", 1, 0, "filtered")}
    _, found = built(engine, tuple({"text": text} for text in "abcde"))
    assert (found.counts["summaries"], found.counts["summaries_missing"]) == (1, 1)


def test_without_history_there_is_no_summary() -> None:
    engine = Counting()
    _, found = built(engine, ())
    assert found.examples[0].persona == ()
    assert (found.counts["summaries"], engine.opened) == (0, 0)


def test_a_real_model_summarises_and_says_what_is_too_long(tiny_model_dir: Path) -> None:
    def engine() -> Any:
        return TransformersEngine(tiny_model_dir, dtype="float32")

    spec = SummarySpec(model="tiny", max_new_tokens=5)
    (found,) = summarise([["I hunt deer in the woods."] * 6], spec, "tiny", engine)
    assert found.truncated == 2
    assert summarise([["I hunt deer in the woods."] * 6], spec, "tiny", engine) == [found]
    long = SummarySpec(model="tiny", item_words=3000)
    with pytest.raises(PerbenchError, match=r"model tiny: .*lower persona\.summary\.block or item_words"):
        summarise([["deer " * 3000]], long, "tiny", engine)
