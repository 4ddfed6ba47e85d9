"""What a prompt and a response may take: max_prompt, and responses that are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from perbench.lm.context import TooLong
from perbench.matrix.identity import source_inputs, target_inputs
from perbench.prompts.chat import encode_answer, end_of_turn
from perbench.prompts.messages import build_request, guessed
from perbench.prompts.pair import build_pair, build_pairs
from tests.prompts.test_pair import example, task, tokenizer  # noqa: F401

PAST = [f"I hunt deer in the wood number {number}." for number in range(12)]
LONG = "in the woods " * 60


def request_tokens(tokenizer: Any) -> int:  # noqa: F811
    return len(build_pair(task(), example([]), tokenizer, with_response=False).factual)


def test_the_prompt_has_the_same_room_in_training_and_evaluation(tokenizer: Any) -> None:  # noqa: F811
    """NextQuill's code: the prompt in 2048 tokens and the response in 2048, here 80 and 120."""
    spec = task(max_length=200, max_prompt=80, sampling={"max_new_tokens": 120})
    trained = build_pair(spec, example(PAST), tokenizer, with_response=True)
    asked = build_pair(spec, example(PAST), tokenizer, with_response=False)
    assert trained.factual == asked.factual
    assert 0 < trained.kept < len(PAST)
    assert len(trained.factual) <= 80
    wider = build_pair(task(max_length=200), example(PAST), tokenizer, with_response=True)
    assert wider.kept > trained.kept


@pytest.mark.parametrize("keys", [{}, {"max_prompt": 60}, {"sampling": {"end": "eos"}}])
def test_a_long_response_is_cut_at_its_end(tokenizer: Any, keys: dict[str, Any]) -> None:  # noqa: F811
    spec = task(max_length=100, on_too_long="cut", **keys)
    end = spec.sampling.end
    whole = tuple(encode_answer(tokenizer, LONG, end=end))
    last = end_of_turn(tokenizer) if end == "turn" else (tokenizer.eos_token_id,)
    room = 100 - keys.get("max_prompt", request_tokens(tokenizer))
    pair = build_pair(spec, example(PAST, reference=LONG), tokenizer, with_response=True)
    assert pair.response == (*whole[: room - len(last)], *last)
    assert len(pair.response) == room
    assert pair.cut == len(whole) - room > 0
    assert len(pair.factual) + room <= 100
    short = build_pair(spec, example(PAST), tokenizer, with_response=True)
    assert short.cut == 0
    assert short.response == tuple(encode_answer(tokenizer, "in the woods", end=end))


def test_the_models_context_cuts_too(tokenizer: Any) -> None:  # noqa: F811
    spec = task(max_length=500, on_too_long="cut")
    pair = build_pair(spec, example([], reference=LONG), tokenizer, with_response=True, context=90)
    assert len(pair.counterfactual) + len(pair.response) == 90
    with pytest.raises(TooLong, match="context of 90"):
        build_pair(
            task(max_length=500), example([], reference=LONG), tokenizer, with_response=True, context=90
        )


@given(st.integers(1, 120), st.integers(1, 200), st.integers(0, 40))
def test_nothing_exceeds_its_room(tokenizer: Any, prompt: int, rest: int, words: int) -> None:  # noqa: F811
    spec = task(max_length=prompt + rest, max_prompt=prompt, on_too_long="cut")
    one = example(PAST, reference="in the woods " * words + "so")
    (pair,) = build_pairs(spec, [one], tokenizer, with_response=True, context=None)
    if pair is None:
        assert request_tokens(tokenizer) > prompt or rest <= len(end_of_turn(tokenizer))
        return
    assert len(pair.factual) <= prompt
    assert len(pair.response) <= rest
    assert pair.response[-1] == end_of_turn(tokenizer)[-1]
    assert len(pair.response) + pair.cut == len(encode_answer(tokenizer, one.reference))


def test_a_request_that_is_itself_too_long_is_skipped(tokenizer: Any) -> None:  # noqa: F811
    whale = example([], question="deer " * 300)
    spec = task(max_length=90, on_too_long="cut")
    assert build_pairs(spec, [whale], tokenizer, with_response=True, context=None) == [None]
    assert build_pairs(spec, [whale], tokenizer, with_response=False, context=None) == [None]


@pytest.mark.parametrize(
    ("keys", "one", "told"),
    [
        ({"max_prompt": 5}, {}, r"request takes \d+ tokens .*max_prompt 5; raise max_prompt, or .*skip"),
        ({"max_prompt": 100, "max_length": 300}, {"reference": LONG}, r"response takes 2\d\d tokens.*300"),
        ({"max_length": 100}, {"reference": LONG}, r"request takes .*max_length 100; raise max_length"),
    ],
)
def test_too_long_is_named(tokenizer: Any, keys: Any, one: Any, told: str) -> None:  # noqa: F811
    rows = [example([], **one)]
    with pytest.raises(TooLong, match=f"test/u/0: .*{told}"):
        build_pairs(task(**keys), rows, tokenizer, with_response=True, context=None)
    skips = task(**keys, on_too_long="skip")
    assert build_pairs(skips, rows, tokenizer, with_response=True, context=None) == [None]


def test_estimates_keep_to_the_prompts_room() -> None:
    past = example(["I hunt deer. " * 40] * 8)
    tight, loose = task(max_length=2000, max_prompt=300), task(max_length=2000)
    assert build_request(tight, past).kept < build_request(loose, past).kept == 8
    assert guessed(tight, past, 16)[0] == 316
    assert guessed(tight, past, 16)[1] == guessed(loose, past, 16)[1]


def test_identities_hold_what_was_set() -> None:
    plain, set_ = task(), task(max_prompt=80, on_too_long="cut")
    for inputs in (source_inputs("t", plain, {}), target_inputs("t", plain, {})):
        assert not {"max_prompt", "on_too_long"} & inputs.keys()
    for inputs in (source_inputs("t", set_, {}), target_inputs("t", set_, {})):
        assert (inputs["max_prompt"], inputs["on_too_long"]) == (80, "cut")


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"max_prompt": 0}, "max_prompt"),
        ({"max_prompt": 100, "max_length": 100}, "max_prompt: 100 leaves nothing"),
        ({"on_too_long": "error"}, "on_too_long"),
    ],
)
def test_impossible_values_are_named(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        task(**keys)


def test_only_tasks_with_responses_to_train_on_cut_them() -> None:
    from perbench.errors import SpecError
    from perbench.specs.load import load_task

    with pytest.raises(SpecError, match=r"on_too_long: protocol identification .*skip or fail"):
        load_task("identification/persona_qa", overrides={"on_too_long": "cut"})
    with pytest.raises(SpecError, match="max_prompt: is not used by protocol dialogue"):
        load_task("embedded/dialogue", overrides={"max_prompt": 100})
