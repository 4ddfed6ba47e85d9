"""For every tokenizer and template: ids(prompt) + ids(response) + ids(end) = ids(rendered dialogue)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.api import Example
from perbench.prompts.chat import (
    chat_text,
    decode_response,
    encode,
    encode_answer,
    encode_response,
    end_of_turn,
)
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


# ---------------------------------------------------------------- what is generated

BYTES = sorted(
    set(SHAPES) - {name for name in SHAPES if name.startswith(("llama2", "zephyr", "tiny", "phi3"))}
)
"""Shapes whose vocabulary is one of bytes."""


def trimmed(name: str, text: str) -> str:
    """What template and tokenizer leave of an answer."""
    if name.startswith(("llama2", "llama3", "gemma")):
        return text.strip()
    if name in ("phi3_first", "phi3_always"):  # their special tokens take the white space behind them
        return re.sub(r"^[^\S\x1c-\x1f]+", "", text)  # these are white space to Python alone
    return text.lstrip("\n") if name.startswith("qwen3") else text


def raw(tokenizer: Any, ids: list[int]) -> str:
    """What ids show after a word."""
    before = encode(tokenizer, "in the woods")
    shown = tokenizer.decode([*before, *ids], clean_up_tokenization_spaces=False)
    return str(shown[len(tokenizer.decode(before, clean_up_tokenization_spaces=False)) :])


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_decoded_answer_is_encoded_as_what_was_generated(name: str, data: Any) -> None:
    tokenizer = shape(name)
    ordinary = sorted(set(range(len(tokenizer))) - set(tokenizer.added_tokens_decoder))
    drawn = st.lists(st.sampled_from(ordinary), max_size=6) | TEXTS.map(lambda text: encode(tokenizer, text))
    ids = [i for i in data.draw(drawn) if i in set(ordinary)]
    text = decode_response(tokenizer, ids)
    if "\ufffd" in text or "▁" in text or "think>" in text:
        return  # half a character; what the vocabulary has no sign for; what a template takes for a thought
    if text.isspace():
        return  # the white space before every answer, and nothing else, is an empty answer
    again = encode_response(tokenizer, text, generated=True)
    # The start of an answer in a dialogue is never left out, whether or not it was generated.
    start = raw(tokenizer, encode_response(tokenizer, "A")).removesuffix("A")
    begun = raw(tokenizer, ids).startswith(start)
    if begun or name not in BYTES:
        assert decode_response(tokenizer, again) == trimmed(name, text)
    if begun and trimmed(name, text) == text and text:
        assert raw(tokenizer, again) == raw(tokenizer, ids)


@pytest.mark.parametrize("name", BYTES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_bytes_are_decoded_as_they_always_were(name: str, data: Any) -> None:
    tokenizer = shape(name)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=8))  # special ones, too
    plain = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert decode_response(tokenizer, ids) == plain


@pytest.mark.parametrize(
    ("name", "tokens", "expected"),
    [
        ("zephyr_first", ["▁in", "▁the"], " in the"),
        ("zephyr_first", ["in", "▁the"], "in the"),
        ("zephyr_unigram", ["▁"], " "),
        ("llama2_first", ["▁in", "▁the"], "in the"),  # every answer of a dialogue begins with this space
        ("llama2_first", ["in"], "in"),
        ("tinyllama_first", ["<0x0A>", "in"], "in"),  # and here with a line break
        ("tinyllama_first", ["▁in"], " in"),
        ("phi3_always", ["▁in"], "in"),
        ("phi3_never", ["▁in"], " in"),
        ("phi3_never", ["<|user|>", "▁in"], " in"),
        ("chatml", ["Ġin", "Ġthe"], " in the"),
    ],
)
def test_decoded_by_hand(name: str, tokens: list[str], expected: str) -> None:
    tokenizer = shape(name)
    ids = tokenizer.convert_tokens_to_ids(tokens)
    assert None not in ids
    assert tokenizer.unk_token_id not in ids
    assert decode_response(tokenizer, ids) == expected
