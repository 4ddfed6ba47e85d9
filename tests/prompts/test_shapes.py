"""For every tokenizer and template: ids(prompt) + ids(response) + ids(end) = ids(rendered dialogue)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.api import Example
from perbench.prompts.chat import chat_text, encode, encode_answer, encode_response, end_of_turn
from perbench.prompts.pair import build_pair
from perbench.prompts.spans import encode_with_spans
from tests.prompts.shapes import SHAPES, shape
from tests.prompts.test_pair import SYSTEM, task

SHORT = st.sampled_from(
    ["A", "in the woods", " ", "  ", "\n", "\n\n", " \n", "\t", "- It", "é", "\U0001f98b", "\u3000", "1", "."]
)
BITS = SHORT | st.sampled_from(["</think>", "<think>", "▁", "<0x0A>", "[/INST]", "assistant", "Yes"])
TEXTS = st.lists(BITS, max_size=6).map("".join) | st.text(max_size=12)
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
OPENED = {
    "chatml_think": "<|im_start|>assistant\n",
    "chatml_think_gpt2": "<|im_start|>assistant\n",
    "deepseek_r1": "<|Assistant|>",
}
"""Whose dialogues hold no thought where their prompts open one, and what is before it."""


def dialogue(name: str, tokenizer: Any, question: str, response: str) -> str:
    """The dialogue up to the end of its last turn, as transformers renders it."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    if name in OPENED:
        before, header, after = text.rpartition(OPENED[name])
        text = before + header + EMPTY_THOUGHT + after
    end = "<|im_end|>" if "<|im_end|>" in text else "<|end|>" if name.startswith("phi3") else None
    for known in (end, "</s>", "<|eot|>", "<|stop|>"):
        if known and known in text:
            return text[: text.rindex(known) + len(known)]
    raise AssertionError(f"no end in {text!r}")


def spelled(tokenizer: Any, ids: list[int]) -> str:
    return "".join(tokenizer.convert_ids_to_tokens(ids))


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None, max_examples=40)
@given(question=TEXTS, response=TEXTS)
@case(question="where?", response="A")
@case(question="where? ", response=" A\n")
@case(question="where?", response="")
@case(question="where?", response="\n- It")
@case(question="where?", response="\U0001f98b")
def test_prompt_and_response_are_the_dialogue(name: str, question: str, response: str) -> None:
    tokenizer = shape(name)
    prompt = encode(tokenizer, chat_text(tokenizer, None, [question]))
    answer = encode_answer(tokenizer, response)
    if "think>" in response or any(token in question + response for token in tokenizer.all_special_tokens):
        return  # the template would not show the texts as they are
    whole = encode(tokenizer, dialogue(name, tokenizer, question, response))
    if prompt + answer != whole:  # then a token of the dialogue spans the prompt's end
        assert whole[: len(prompt)] != prompt
        assert spelled(tokenizer, prompt + answer) == spelled(tokenizer, whole)
    assert tuple(answer[-len(end_of_turn(tokenizer)) :])[-1] == end_of_turn(tokenizer)[-1]


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"chatml_think_gpt2", "zephyr_unigram"}))
@settings(deadline=None, max_examples=20)
@given(response=st.text(st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=8))
def test_no_token_spans_the_boundary_before_a_word(name: str, response: str) -> None:
    tokenizer = shape(name)
    prompt = encode(tokenizer, chat_text(tokenizer, None, ["where?"]))
    whole = encode(tokenizer, dialogue(name, tokenizer, "where?", response))
    assert prompt + encode_answer(tokenizer, response) == whole


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None, max_examples=40)
@given(persona=st.lists(TEXTS, max_size=2), question=TEXTS, response=TEXTS)
def test_a_response_is_the_same_in_both_contexts(
    name: str, persona: list[str], question: str, response: str
) -> None:
    tokenizer = shape(name)
    row = Example("test/u/0", "u", question, response, tuple({"text": text} for text in persona))
    pair = build_pair(task(SYSTEM), row, tokenizer, with_response=True)
    assert pair.response == tuple(encode_answer(tokenizer, response))
    ids, spans = encode_with_spans(tokenizer, response)
    assert pair.response[: len(ids)] == tuple(ids)
    assert all(0 <= start <= end <= len(response) for start, end in spans)
    special = {token for token in pair.response if token in tokenizer.added_tokens_decoder}
    assert special <= {*end_of_turn(tokenizer)[-1:], tokenizer.unk_token_id}
    shown = {i for start, end in spans for i in range(start, end)}
    if name != "zephyr_unigram":  # it knows no bytes
        assert {i for i, char in enumerate(response) if not char.isspace()} <= shown


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"zephyr_unigram"}))  # it knows no bytes
def test_what_a_response_spells_like_a_special_token_stays_text(name: str) -> None:
    tokenizer = shape(name)
    added = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = set(added) - {tokenizer.unk_token_id}
    for token in sorted(set(added.values()) - {"<unk>"}):
        for response in (token, f"A{token}B", f"{token} {token}\n", f" A {token}"):
            ids = encode_answer(tokenizer, response)
            assert not special.intersection(encode_response(tokenizer, response))
            assert [i for i in ids if i in special] == [*end_of_turn(tokenizer)[-1:]]
            prompt = encode(tokenizer, chat_text(tokenizer, None, ["where?"]))
            shown = tokenizer.decode([*prompt, *encode_response(tokenizer, response)])
            assert shown.rstrip().endswith(response.strip())


@pytest.mark.parametrize(
    ("name", "response", "expected"),
    [
        ("zephyr_first", "in", ["in", "</s>"]),  # by itself it would be "▁in"
        ("llama2_first", "in", ["▁in", "▁", "</s>"]),
        ("phi3_never", "in", ["in", "<|end|>"]),
        ("phi3_always", "in", ["▁in", "<|end|>"]),
        ("chatml", "\nA", ["Ċ", "A", "<|im_end|>"]),  # the dialogue has "ĊĊ"; the prompt keeps its "Ċ"
        ("qwen3", "A", ["A", "<|im_end|>"]),
    ],
)
def test_by_hand(name: str, response: str, expected: list[str]) -> None:
    tokenizer = shape(name)
    assert tokenizer.convert_ids_to_tokens(encode_answer(tokenizer, response)) == expected


def test_a_template_that_cuts_what_seems_a_thought_cuts_no_response() -> None:
    for name in ("qwen3", "qwen3_always_thinks", "deepseek_r1"):
        tokenizer = shape(name)
        response = "<think>so</think>A"
        shown = tokenizer.decode(encode_response(tokenizer, response))
        assert shown == response
