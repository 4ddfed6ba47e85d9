"""Choice: what is asked, how options are picked, beside what, and which rows are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perbench.api import Example
from perbench.contracts.data import Dataset
from perbench.contracts.engine import Generation
from perbench.data import load_examples
from perbench.engines.transformers.engine import TransformersEngine
from perbench.errors import SpecError
from perbench.lm.head import body_and_head
from perbench.prompts.chat import encode_response
from perbench.shapes.base import Named
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.task import FieldSpec, PromptSpec, TaskSpec
from perbench.specs.compose import owner_of, task_spec
from tests.owners import run, score
from tests.protocols.test_generation import quiet

TURNS = [["What is 2+2?", "4."], ["And 3+3?", "6."]]
OPTIONS = ["by the bridge", "by boat", "swim, it is warm enough today", "fly"]
SYSTEM = "Be good."


def task(**choice: Any) -> Named[TaskSpec]:
    rated = choice.get("rated") is not None
    spec = task_spec()(
        summary="test",
        protocol="choice",
        license="none",
        data={"files": "unread"},
        fields=FieldSpec(
            user="user",
            question="question",
            reference="reference",
            persona="persona",
            extra=["options", "ratings" if rated else "gold", "turns", *(["models"] if rated else [])],
        ),
        prompt="talk",
        prompts={"talk": PromptSpec(system=SYSTEM, item="{text}", messages=True)},
        sampling=SamplingSpec(max_new_tokens=3, temperature=0.0),
        headline="pairwise" if rated else "accuracy",
        choice=choice,
    )
    return Named("toy/choice", spec, None)


def example(number: int, **changes: Any) -> Example:
    gold = number % 4
    extra = {"options": OPTIONS, "gold": gold, "turns": TURNS}
    said = ({"role": "user", "text": f"I hate boats {number}."}, {"role": "assistant", "text": "Noted."})
    made = Example(
        f"e{number:02d}", f"u{number // 2}", "How do I cross the lake?", OPTIONS[gold], said, extra
    )
    return replace(made, **changes)


def dataset(count: int) -> Dataset:
    return Dataset([example(number) for number in range(count)], "digest")


class One:
    users = None

    def __init__(self, subject: Any) -> None:
        self.subject = subject

    def subject_of(self, user: str | None) -> Any:
        from contextlib import nullcontext

        return nullcontext(self.subject)


def samples_of(named: Named[TaskSpec], data: Dataset, engine: Any, stores: Any) -> list[dict[str, Any]]:
    store = stores()
    run(named, data, One(engine), store, seed=0, tick=quiet)
    return store.rows  # type: ignore[no-any-return]


# ---------------------------------------------------------------- by log-prob


@pytest.mark.parametrize("by", ["sum", "per_token", "pmi"])
def test_options_are_picked_by_their_log_probs(by: str, engine: TransformersEngine, stores: Any) -> None:
    named = task(by=by, turns=1)
    (sample,) = samples_of(named, Dataset([example(1)], "d"), engine, stores)
    tokenizer = engine.tokenizer
    start = "<|im_start|>{}\n{}<|im_end|>\n".format
    end = start("user", "What is 2+2?") + start("assistant", "4.") + start("user", example(1).question)
    talk = start("user", "I hate boats 1.") + start("assistant", "Noted.")
    totals = {}
    for name, middle in (("logp", talk), ("logp_without", "")):
        prompt = tokenizer(
            start("system", SYSTEM) + middle + end + "<|im_start|>assistant\n", add_special_tokens=False
        )["input_ids"]
        answers = [encode_response(tokenizer, option) for option in OPTIONS]
        totals[name] = [float(_plain(engine, prompt, answer)) for answer in answers]
        np.testing.assert_allclose(sample[name], totals[name], rtol=1e-4)
    sizes = [len(encode_response(tokenizer, option)) for option in OPTIONS]
    by_rule = {
        "sum": totals["logp"],
        "per_token": [a / n for a, n in zip(totals["logp"], sizes, strict=True)],
        "pmi": [a - b for a, b in zip(totals["logp"], totals["logp_without"], strict=True)],
    }
    assert sample["response"] == OPTIONS[int(np.argmax(by_rule[by]))]
    assert sample["persona_kept"] == 2


def _plain(engine: TransformersEngine, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """The summed log-prob of an answer by one whole forward pass."""
    import torch

    with torch.no_grad():
        logits = engine.model(torch.tensor([[*prompt, *answer]])).logits[0].float().log_softmax(-1)
    return float(sum(logits[len(prompt) - 1 + i, token] for i, token in enumerate(answer)))


def test_metrics_by_hand() -> None:
    # Options of 13, 7, 29 and 3 characters.
    rows = [
        # per token: 0 is best with the persona (-1), 1 without (-2)
        {"gold": 0, "logp": [-2.0, -9.0, -9.0, -9.0], "logp_without": [-6.0, -4.0, -9.0, -9.0]},
        {"gold": 2, "logp": [-2.0, -9.0, -9.0, -9.0], "logp_without": [-9.0, -9.0, -3.0, -9.0]},
        {"gold": 3, "logp": [-9.0, -9.0, -9.0, -2.0], "logp_without": [-9.0, -9.0, -3.0, -9.0]},
        # all equal: the first in its order
        {"gold": 1, "logp": [-2.0] * 4, "logp_without": [-2.0] * 4},
    ]
    orders = [[0, 1, 2, 3], [2, 0, 1, 3], [0, 1, 2, 3], [1, 0, 2, 3]]
    samples = [
        {
            "id": f"e{i}",
            "user": f"u{i}",
            "options": OPTIONS,
            "option_tokens": [2] * 4,
            "orders": [order],
            "persona_kept": 1,
            "persona_trimmed": 0,
            **row,
        }
        for i, (row, order) in enumerate(zip(rows, orders, strict=True))
    ]
    found = score(task(by="per_token"), samples)
    values = {name: metric.value for name, metric in found.metrics.items()}
    assert values == {
        "accuracy": 3 / 4,
        "no_persona": 2 / 4,
        "gain": 1 / 4,
        "chance": 1 / 4,
        "longest": 1 / 4,
        "shortest": 1 / 4,
        "first": 3 / 4,
    }
    assert found.metrics["accuracy"].ci_method == "wilson-t"
    assert found.scores.scores["gain"] == [1.0, -1.0, 1.0, 0.0]
    # PMI: 4, -5, 0, 0; 7, 0, -6, 0; 0, 0, -6, 7; all 0
    by_pmi = score(task(by="pmi"), samples)
    assert by_pmi.scores.scores["accuracy"] == [1.0, 0.0, 1.0, 1.0]
    assert [("log-prob" in note) for note in by_pmi.notes] == [True]
    assert not found.notes


def test_equally_long_options_share_the_shortcut() -> None:
    sample = {
        "id": "e",
        "user": "u",
        "options": ["ab", "cd", "e"],
        "gold": 1,
        "option_tokens": [1, 1, 1],
        "orders": [[0, 1, 2]],
        "persona_kept": 0,
        "persona_trimmed": 0,
        "logp": [0.0, -1.0, -1.0],
        "logp_without": [0.0, -1.0, -1.0],
    }
    found = score(task(), [sample]).metrics
    assert (found["longest"].value, found["shortest"].value) == (0.5, 0.0)


def test_the_order_of_options_depends_on_the_example_alone(engine: TransformersEngine, stores: Any) -> None:
    alone = samples_of(task(), Dataset([example(3)], "d"), engine, stores)[0]
    among = samples_of(task(), dataset(20), engine, stores)
    assert alone["orders"] == among[3]["orders"]
    firsts = [sample["orders"][0][0] for sample in among]
    assert set(firsts) == {0, 1, 2, 3}


def test_a_persona_that_does_not_fit_leaves_the_prompt_without(
    engine: TransformersEngine, stores: Any
) -> None:
    named = task()
    short = named.spec.model_copy(update={"max_length": 70})
    (sample,) = samples_of(Named("t", short, None), Dataset([example(0)], "d"), engine, stores)
    assert (sample["persona_kept"], sample["persona_trimmed"]) == (0, 2)
    assert sample["logp"] == sample["logp_without"]


def test_what_is_too_long_is_left_out_or_told(engine: TransformersEngine, stores: Any) -> None:
    from perbench.lm.context import TooLong

    spec = task().spec.model_copy(update={"max_length": 30})
    with pytest.raises(TooLong, match="e00"):
        samples_of(Named("t", spec, None), dataset(1), engine, stores)
    named = Named("t", spec.model_copy(update={"on_too_long": "skip"}), None)
    samples = samples_of(named, dataset(1), engine, stores)
    assert samples[0]["missing"] == "too_long"
    found = score(named, samples)
    assert found.metrics["accuracy"].value is None
    assert found.counts["missing_too_long"] == 1


# ---------------------------------------------------------------- the context is read once


def test_the_context_is_read_once_for_all_options(engine: TransformersEngine, stores: Any) -> None:
    body, _ = body_and_head(engine.model)
    read: list[int] = []
    hook = body.register_forward_pre_hook(
        lambda _, given, options: read.append((given[0] if given else options["input_ids"]).numel()),
        with_kwargs=True,
    )
    try:
        (sample,) = samples_of(task(turns=2), Dataset([example(1)], "d"), engine, stores)
    finally:
        hook.remove()
    prompts, options = sample["prompt_tokens"], sample["option_tokens"]
    padded = 2 * len(options) * (max(options) + 1)
    assert sum(read) <= 1.2 * prompts + padded  # both prompts in one padded pass, then the options
    assert sum(read) < 0.5 * (len(options) * prompts + 2 * sum(options))


# ---------------------------------------------------------------- by reply


class Far:
    name = "far"
    offers, batch, alone = frozenset({"chat"}), 8, True

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def chat(self, conversations: Any, sampling: Any, *, seed: int, skip: bool = False) -> list[Generation]:
        self.asked += conversations
        answers = [self.answer(messages) for messages in conversations]
        return [one if isinstance(one, Generation) else Generation(one, "stop", 10, 2) for one in answers]


def right_letter(text: str, option: str) -> str:
    return next(line[0] for line in text.splitlines() if line.endswith(f". {option}"))


def test_lettered_options_are_moved_on_and_averaged(stores: Any) -> None:
    """It knows the answer, by the persona alone, unless it stands first."""

    def answer(messages: Sequence[Mapping[str, str]]) -> str:
        letter = right_letter(messages[-1]["content"], OPTIONS[1])
        return letter if len(messages) > 2 and letter != "A" else "I cannot say."

    far = Far(answer)
    named = task(by="reply", permutations=4)
    samples = samples_of(named, Dataset([example(1)], "d"), far, stores)
    assert len(far.asked) == 8
    firsts = {right_letter(messages[-1]["content"], OPTIONS[1]) for messages in far.asked}
    assert firsts == {"A", "B", "C", "D"}
    found = score(named, samples)
    values = {name: metric.value for name, metric in found.metrics.items()}
    assert values["accuracy"] == 3 / 4
    assert values["no_persona"] == 0
    assert values["unparsed"] == 1 / 4
    assert values["first"] == 1 / 4
    assert (found.counts["replies"], found.counts["unparsed"]) == (4, 1)
    assert any(note.startswith("1 of 4 replies") for note in found.notes)
    assert [message["role"] for message in far.asked[0]] == ["system", "user", "assistant", "user"]
    assert [message["role"] for message in far.asked[1]] == ["system", "user"]
    twice = task(by="reply", permutations=9)
    assert len(samples_of(twice, Dataset([example(1)], "d"), far, stores)[0]["replies"]) == 4


def test_a_refusal_is_missing(stores: Any) -> None:
    far = Far(lambda messages: Generation("", "stop", 1, 0, "refused"))
    named = Named("t", task(by="reply").spec.model_copy(update={"max_missing": 1.0}), None)
    samples = samples_of(named, dataset(2), far, stores)
    found = score(named, samples)
    assert found.metrics["accuracy"].missing == 2
    assert found.counts["missing_refused"] == 2


def test_options_as_a_python_list(stores: Any) -> None:
    far = Far(lambda messages: "a")
    form = {"ask": "{question}|{options}", "option": "({letter}) {text}", "letters": "lower", "shown": "list"}
    samples_of(task(by="reply", reply=form), Dataset([example(0)], "d"), far, stores)
    question, options = far.asked[0][-1]["content"].split("|")
    assert question == "How do I cross the lake?"
    import ast

    assert sorted(text[4:] for text in ast.literal_eval(options)) == sorted(OPTIONS)


def test_replies_of_a_local_model_are_resumed(engine: TransformersEngine, stores: Any) -> None:
    named, data = task(by="reply", permutations=2), dataset(10)
    whole = samples_of(named, data, engine, stores)
    store = stores(fuse=3)
    with pytest.raises(stores.Killed):
        run(named, data, One(engine), store, seed=0, tick=quiet)
    store.fuse = None
    run(named, data, One(engine), store, seed=0, tick=quiet)
    assert store.rows == whole
    shown = owner_of(named.spec).shown([whole[0]], data.examples[0])
    assert len(shown.details) == 5


# ---------------------------------------------------------------- rows and specs


GOOD = {"user": "u", "question": "How?", "reference": "by boat", "persona": [], "turns": TURNS}
ROW = {**GOOD, "options": OPTIONS, "gold": 1, "ratings": [1, 2, 3, 4], "models": None}


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"options": ["by boat"], "gold": 0}, "options: there must be 2"),
        ({"options": ["fly", "by boat", " by boat"]}, "options[2] equals options[1]"),
        ({"options": ["fly", "by boat", " "]}, "options[2] is empty"),
        ({"options": "by boat"}, "options: must be a list"),
        ({"gold": 4}, "gold is 4, but"),
        ({"gold": True}, "gold is True"),
        ({"gold": 0}, "the reference is not options[0]"),
        ({"turns": TURNS[:1]}, "turns: has 1"),
        ({"turns": [["only"]]}, "turns: must be"),
    ],
)
def test_a_faulty_row_is_told_by_line(row: dict[str, Any], place: str, tmp_path: Path) -> None:
    _refused(task(turns=2), row, place, tmp_path)


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"ratings": [1, 2, 3, 400]}, "ratings[3] is 400"),
        ({"ratings": [1, 2, 3]}, "ratings: must be a list of 4"),
        ({"ratings": [1, 2, 3, "4"]}, "ratings: must be a list of 4"),
        ({"reference": "none of them"}, "options: none is the reference"),
        ({"models": ["a"]}, "models: must be"),
    ],
)
def test_a_faulty_rating_is_told_by_line(row: dict[str, Any], place: str, tmp_path: Path) -> None:
    rated = {"ratings": [1, 2, 3, 4], "models": None, **row}
    _refused(task(rated={"scale": [1, 100]}), rated, place, tmp_path)


def _refused(named: Named[TaskSpec], row: dict[str, Any], place: str, folder: Path) -> None:
    lines = [json.dumps({**ROW, "user": "v"}), json.dumps({**ROW, **row})]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    data = type(named.spec.data)(files="rows.jsonl")
    spec = named.spec.model_copy(update={"data": data})
    with pytest.raises(SpecError) as error:
        load_examples(Named("t", spec, folder / "t.yaml"), "test")
    (problem,) = error.value.problems
    assert problem.line == 2
    assert place in problem.message


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ({"by": "likely"}, "by"),
        ({"by": "reply", "rated": {"scale": [1, 5]}}, "by"),
        ({"rated": {"scale": [5, 1]}}, "scale"),
        ({"reply": {"ask": "{question}"}}, "ask"),
        ({"reply": {"option": "{letter} {words}"}}, "option"),
        ({"permutations": 0}, "permutations"),
        ({"turns": -1}, "turns"),
    ],
)
def test_a_faulty_section_is_refused(choice: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        task(**choice)


def test_pmi_needs_a_persona() -> None:
    given = {**task(by="pmi").spec.model_dump(exclude_unset=True), "persona": {"whose": "none"}}
    with pytest.raises(ValueError, match=r"choice\.by: pmi .*persona\.whose none"):
        task_spec()(**given)


def test_the_fields_of_a_row_must_be_listed() -> None:
    fields = (spec := task().spec).fields.model_copy(update={"extra": ["options"]})
    given = {**spec.model_dump(exclude_unset=True), "fields": fields}
    with pytest.raises(ValueError, match="'gold'"):
        task_spec()(**given)
