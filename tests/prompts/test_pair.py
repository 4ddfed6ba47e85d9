"""The prompt pair: what is never trimmed, what is, and what both prompts share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perbench.api import Example
from perbench.errors import PerbenchError
from perbench.lm.models import ResolvedModel, load_tokenizer
from perbench.prompts.chat import encode, end_of_turn
from perbench.prompts.pair import PromptPair, build_pair, build_prompt
from perbench.shapes.task import TaskSpec
from perbench.specs.compose import task_spec

SYSTEM = {"system": "Known of the user:\n{persona}\nAnswer so.", "item": "<<{text}>>"}
USER = {"user": "{persona}. Now: {question}", "user_without": "Now: {question}", "item": "<<{text}>>"}


def task(form: dict[str, str] = SYSTEM, **keys: Any) -> TaskSpec:
    return task_spec().model_validate(
        {
            "summary": "t",
            "protocol": "generation",
            "license": "MIT",
            "data": {"files": "t.jsonl"},
            "fields": {"user": "u", "question": "q", "reference": "r", "persona": "p"},
            "prompt": "form",
            "prompts": {"form": form},
            "metrics": ["rougeL"],
            "headline": "rougeL",
            "sampling": {"max_new_tokens": 16},
            **keys,
        }
    )


def example(persona: list[str], question: str = "where?", reference: str = "in the woods") -> Example:
    return Example("test/u/0", "u", question, reference, tuple({"text": text} for text in persona))


@pytest.fixture(scope="session")
def tokenizer(tiny_model_dir: Path) -> Any:
    return load_tokenizer(tiny_model_dir)


def test_a_persona_within_the_request(tokenizer: Any) -> None:
    form = {
        "user": "{before}, and {persona}{after}",
        "user_without": "{question}",
        "item": '"{text}"',
        "join": ", and ",
        "split_after": "title",
    }
    asked = 'The paper with the title "T", not the title "U"'
    for persona, shown in (
        (["A", "B"], 'The paper with the title, and "A", and "B" "T", not the title "U"'),
        ([], asked),
    ):
        pair = build_pair(task(form), example(persona, asked), tokenizer, with_response=False)
        assert f"user\n{shown}<" in tokenizer.decode(pair.factual)


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ({"user": "{before}{persona}{after}", "user_without": "{question}"}, "unknown {after}"),
        ({"user": "{before}{persona}", "user_without": "{question}", "split_after": "x"}, "split_after"),
        ({"system": "{persona}", "split_after": "x"}, "split_after"),
        ({"system": "{persona}", "split_after": ""}, "split_after"),
    ],
)
def test_both_parts_of_a_split_request_are_used(form: dict[str, str], key: str) -> None:
    with pytest.raises(ValueError, match="prompts") as error:
        task({"item": "{text}", **form})
    assert key in str(error.value)


def test_both_prompts(tokenizer: Any) -> None:
    pair = build_pair(task(), example(["I hunt.", "I bake."]), tokenizer, with_response=True)
    assert tokenizer.decode(pair.factual) == (
        "<|im_start|>system\nKnown of the user:\n<<I hunt.>>\n\n<<I bake.>>\nAnswer so.<|im_end|>\n"
        "<|im_start|>user\nwhere?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(pair.counterfactual) == (
        "<|im_start|>user\nwhere?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(pair.response) == "in the woods<|im_end|>"
    assert (pair.kept, pair.trimmed) == (2, 0)


@pytest.mark.parametrize(
    ("form", "without"),
    [
        (USER, "<|im_start|>user\nNow: where?<|im_end|>\n<|im_start|>assistant\n"),
        (
            {**SYSTEM, "system_without": "Nothing known."},
            "<|im_start|>system\nNothing known.<|im_end|>\n"
            "<|im_start|>user\nwhere?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            {**USER, "system": "Be brief, not {{persona}}."},
            "<|im_start|>system\nBe brief, not {persona}.<|im_end|>\n"
            "<|im_start|>user\nNow: where?<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_without_the_persona(tokenizer: Any, form: dict[str, str], without: str) -> None:
    pair = build_pair(task(form), example(["I hunt."]), tokenizer, with_response=False)
    assert tokenizer.decode(pair.counterfactual) == without
    assert "<<I hunt.>>" in tokenizer.decode(pair.factual)
    assert pair.response == ()


def test_priority_last_keeps_the_newest_in_their_own_order(tokenizer: Any) -> None:
    spec = task(persona={"k": 2, "priority": "last"})
    pair = build_pair(spec, example(["one", "two", "three"]), tokenizer, with_response=True)
    assert "<<two>>\n\n<<three>>" in tokenizer.decode(pair.factual)
    assert "one" not in tokenizer.decode(pair.factual)
    assert (pair.kept, pair.trimmed) == (2, 0)


def test_max_tokens_bounds_the_items(tokenizer: Any) -> None:
    persona = ["alpha " * 10, "beta " * 10, "gamma " * 10]
    cost = len(encode(tokenizer, f"<<{persona[0]}>>\n\n"))
    pair = build_pair(task(persona={"max_tokens": cost}), example(persona), tokenizer, with_response=True)
    assert (pair.kept, pair.trimmed) == (1, 2)


def test_without_items_the_prompts_are_one(tokenizer: Any) -> None:
    pair = build_pair(task(), example([]), tokenizer, with_response=True)
    assert pair.factual == pair.counterfactual
    assert (pair.kept, pair.trimmed) == (0, 0)


def test_a_prompt_with_another_persona(tokenizer: Any) -> None:
    own = example(["I hunt.", "I bake."])
    pair = build_pair(task(), own, tokenizer, with_response=True)
    assert build_prompt(task(), own, tokenizer, ["<<I hunt.>>", "<<I bake.>>"]) == pair.factual
    assert tokenizer.decode(build_prompt(task(), own, tokenizer, ["I sail."])) == (
        "<|im_start|>system\nKnown of the user:\nI sail.\nAnswer so.<|im_end|>\n"
        "<|im_start|>user\nwhere?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "Known of the user:\n\nAnswer so." in tokenizer.decode(build_prompt(task(), own, tokenizer, []))


def test_a_prompt_with_another_persona_is_trimmed_alike(tokenizer: Any) -> None:
    own, other = example(["I hunt."]), example(["I hunt.", "I bake.", "I sail round the world."])
    rendered = ["<<I hunt.>>", "<<I bake.>>", "<<I sail round the world.>>"]
    whole = build_pair(task(), other, tokenizer, with_response=True)
    kept = set()
    for limit in range(len(whole.counterfactual), len(whole.factual) + 1):
        short = task(max_length=limit + len(whole.response))
        pair = build_pair(short, other, tokenizer, with_response=True)
        assert build_prompt(short, own, tokenizer, rendered) == pair.factual
        kept.add(pair.kept)
    assert kept >= {0, 1, 2}


def test_request_and_response_too_long(tokenizer: Any) -> None:
    with pytest.raises(PerbenchError, match=r"example test/u/0: .*response \d+ exceeds max_length 20; raise"):
        build_pair(task(max_length=20), example(["a"], reference="word " * 30), tokenizer, with_response=True)
    with pytest.raises(PerbenchError, match="max_new_tokens 16 exceeds max_length 20"):
        build_pair(task(max_length=20), example(["a"]), tokenizer, with_response=False)


def test_item_without_its_field(tokenizer: Any) -> None:
    spec = task({**SYSTEM, "item": "{txt}"})
    with pytest.raises(PerbenchError, match=r"example test/u/0: persona item 0 has no field 'txt'"):
        build_pair(spec, example(["a"]), tokenizer, with_response=True)


# ---------------------------------------------------------------- for every text

plain = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"), exclude_characters="<|>"),
    min_size=1,
    max_size=60,
)
personas = st.lists(plain, max_size=6)
forms = st.sampled_from([SYSTEM, USER])


@given(
    persona=personas,
    question=plain,
    reference=plain,
    form=forms,
    max_length=st.integers(40, 500),
    more=st.integers(0, 200),
    with_response=st.booleans(),
)
def test_pair_properties(
    tokenizer: Any,
    persona: list[str],
    question: str,
    reference: str,
    form: dict[str, str],
    max_length: int,
    more: int,
    with_response: bool,
) -> None:
    row = example(persona, question, reference)

    def build(length: int) -> PromptPair:
        return build_pair(task(form, max_length=length), row, tokenizer, with_response=with_response)

    roomy = build(100_000)
    assert roomy.kept == len(persona)
    reserved = len(roomy.response) if with_response else 16
    if len(roomy.counterfactual) + reserved > max_length:
        with pytest.raises(PerbenchError, match=r"test/u/0: .* exceeds max_length"):
            build(max_length)
        return
    pair = build(max_length)
    assert len(pair.factual) + reserved <= max_length
    assert pair.counterfactual == roomy.counterfactual
    assert pair.response == roomy.response
    if with_response:
        assert pair.response == (*encode(tokenizer, reference), *end_of_turn(tokenizer))

    shared = f"{question}<|im_end|>\n<|im_start|>assistant\n"
    factual, counterfactual = tokenizer.decode(pair.factual), tokenizer.decode(pair.counterfactual)
    assert factual.endswith(shared)
    assert counterfactual.endswith(shared)
    assert "<<" not in counterfactual

    assert pair.kept + pair.trimmed == len(persona)
    items = "\n\n".join(f"<<{text}>>" for text in persona[: pair.kept])
    assert items in factual
    assert factual.count("<<") == pair.kept  # what is not whole is not there
    if pair.kept == 0:
        assert pair.factual == pair.counterfactual

    assert build(max_length + more).kept >= pair.kept


def test_embedded_model_trims_by_whole_items(smollm2: ResolvedModel) -> None:
    tokenizer = load_tokenizer(smollm2.folder)
    persona = [f"Fact number {index}: I have seen {index} whales." for index in range(200)]
    pair = build_pair(task(max_length=400), example(persona), tokenizer, with_response=True)
    text = tokenizer.decode(pair.factual)
    assert 0 < pair.kept < 200
    assert pair.trimmed == 200 - pair.kept
    assert f"<<{persona[pair.kept - 1]}>>\nAnswer so." in text
    # The next item would not have fitted.
    assert len(pair.factual) + len(encode(tokenizer, f"\n\n<<{persona[pair.kept]}>>")) > 400 - len(
        pair.response
    )


def test_row_fields_stand_in_the_prompt(tokenizer: Any) -> None:
    form = {
        "user": "About {item}, {stars} stars.\n{persona}Write.",
        "user_without": "About {item}, {stars} stars.\nNone\nWrite.",
        "item": "{number}. {text}\n",
        "join": "",
    }
    fields = {"user": "u", "question": "q", "reference": "r", "persona": "p", "extra": ["item", "stars"]}
    told = example(["I hunt.", "I bake.", "I read."])
    told = Example(told.id, "u", "q", "r", told.persona, {"item": "a {lamp}", "stars": 4.0})
    pair = build_pair(task(form, fields=fields, persona={"k": 2}), told, tokenizer, with_response=False)
    assert "About a {lamp}, 4.0 stars.\n1. I hunt.\n2. I bake.\nWrite.<" in tokenizer.decode(pair.factual)
    assert "About a {lamp}, 4.0 stars.\nNone\nWrite.<" in tokenizer.decode(pair.counterfactual)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({**USER, "user": "{persona} {item}"}, r"prompts\.form\.user: unknown \{item\}; allowed: "),
        (
            {**USER, "user_without": "{stars}, now: {question} {persona}"},
            r"user_without: unknown \{persona\}",
        ),
        ({**USER, "user_without": "no request"}, r"user needs \{question\} or a field of fields\.extra"),
    ],
)
def test_a_form_may_hold_the_rows_listed_fields_only(form: dict[str, str], said: str) -> None:
    fields = {"user": "u", "question": "q", "reference": "r", "persona": "p", "extra": ["stars"]}
    with pytest.raises(ValueError, match=said):
        task(form, fields=fields)
