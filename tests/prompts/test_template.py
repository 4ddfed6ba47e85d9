"""What a chat template can read besides the messages, and thoughts that it opens."""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from perbench.errors import PerbenchError
from perbench.lm.models import load_tokenizer
from perbench.lm.template import closes, is_thought
from perbench.prompts.chat import chat_text, encode_answer, encode_response, template_notes
from tests.prompts.shapes import CHATML, SHAPES, shape

PLAIN = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"


@pytest.fixture
def tokenizer(tiny_model_dir: Path) -> Any:
    return load_tokenizer(tiny_model_dir)


class Later(datetime):
    @classmethod
    def now(cls, *_: Any) -> Later:
        return cls(2031, 5, 17, 23, 59)


@pytest.mark.parametrize("name", SHAPES)
def test_prompts_are_those_of_any_other_day(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = copy.copy(shape(name))
    today = chat_text(tokenizer, "S", ["U"]), encode_answer(tokenizer, "A")
    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    chat_template_utils._compile_jinja_template.cache_clear()
    later = copy.copy(tokenizer)
    assert (chat_text(later, "S", ["U"]), encode_answer(later, "A")) == today
    assert ("26 Jul 2024" in today[0]) == (name == "llama3_clock")


def test_the_clock_stands_still_for_whoever_renders_a_loaded_template(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lm-eval renders by itself."""
    tokenizer = load_tokenizer(tiny_model_dir)
    tokenizer.chat_template = "{{ strftime_now('%Y-%m-%d %H:%M') }} " + PLAIN
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    loaded = copy.deepcopy(load_tokenizer(tmp_path))
    shown = loaded.apply_chat_template([{"role": "user", "content": "U"}], tokenize=False)
    assert shown == "2024-07-26 00:00 U<|im_end|>"
    assert any("2024-07-26" in note for note in template_notes(loaded))


@pytest.mark.parametrize(
    "draw", ["{{ [1, 2] | random }}", "{{ [[1, 2]] | map('random') | list }}", "{{ lipsum() }}"]
)
def test_a_template_that_draws_is_refused(tokenizer: Any, draw: str) -> None:
    tokenizer.chat_template = draw + PLAIN
    with pytest.raises(PerbenchError, match=r"draws at random .*chat_template\.jinja"):
        chat_text(tokenizer, None, ["U"])


def test_a_refusal_of_the_template_is_the_users_to_act_on(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% if messages | length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + CHATML
    )
    assert "U" in chat_text(tokenizer, "S", ["U"])
    with pytest.raises(PerbenchError, match="3 turns: one turn only"):
        chat_text(tokenizer, None, ["U", "A", "V"])
    tokenizer.chat_template = "{{ messages[7].content }}"
    with pytest.raises(PerbenchError, match="chat template"):
        chat_text(tokenizer, None, ["U"])


@pytest.mark.parametrize(
    ("end", "closed"),
    [
        ("<think>", "<think>\n\n</think>\n\n"),
        ("<think>\n", "<think>\n\n</think>\n\n"),
        ("[THINK]", "[THINK]\n\n[/THINK]\n\n"),
        ("<seed:think>\n", "<seed:think>\n\n</seed:think>\n\n"),
        ("<|START_THINKING|>", "<|START_THINKING|>\n\n<|END_THINKING|>\n\n"),
        ("<|begin_of_thought|>", "<|begin_of_thought|>\n\n<|end_of_thought|>\n\n"),
        ("<think>\n\n</think>\n\n", "<think>\n\n</think>\n\n"),
        ("<think></think>", "<think></think>"),
        ("assistant\n", "assistant\n"),
        ("<answer>", "<answer>"),
    ],
)
def test_an_open_thought_is_closed(tokenizer: Any, end: str, closed: str) -> None:
    assert end + closes("user\nI think\n" + end) == closed
    assert is_thought(end) == (end != "assistant\n" and end != "<answer>")
    if not is_thought(end):
        return
    of_prompts = CHATML.replace("assistant\n{% endif %}", f"assistant\n{end}{{% endif %}}")
    of_both = of_prompts.replace(
        "{{ m.content", "{% if m.role == 'assistant' %}" + end + "{% endif %}{{ m.content"
    )
    for template in (of_prompts, of_both):
        tokenizer.chat_template = template
        assert chat_text(tokenizer, None, ["U"]).endswith(f"<|im_start|>assistant\n{closed}")
        assert tokenizer.decode(encode_answer(tokenizer, "A")) == "A<|im_end|>"
        assert any("opens a thought" in note for note in template_notes(tokenizer)) == (closed != end)


def test_a_prompt_that_begins_no_dialogue_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML.replace("assistant\n{% endif %}", "assistant\n<answer>{% endif %}")
    with pytest.raises(PerbenchError, match=r"ends prompts with '<answer>'.*chat_template\.jinja"):
        chat_text(tokenizer, None, ["U"])
    with pytest.raises(PerbenchError, match="ends prompts with"):
        encode_response(tokenizer, "A")


def test_what_stands_before_every_answer_stands_in_the_prompt(tokenizer: Any) -> None:
    """A template without a generation prompt, and one whose answers have a channel."""
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>\n{% endfor %}"
    assert chat_text(tokenizer, None, ["U"]) == "user: U<|im_end|>\nassistant:"
    assert tokenizer.decode(encode_answer(tokenizer, "A")) == " A<|im_end|>"
    assert chat_text(shape("harmony"), None, ["U"]).endswith("<|start|>assistant<|channel|>final<|message|>")


def test_a_template_without_answers_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ messages[0].content }}<|im_end|>"
    with pytest.raises(PerbenchError, match="leaves the answer out"):
        chat_text(tokenizer, None, ["U"])
