"""Tokenizers and chat templates of the shapes that models in use have, trained on a few sentences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from perbench.conformance.tiny import CORPUS

TEXTS = [
    *CORPUS,
    "- one\n- two\n\nAnd:\n\n\n  a list. \n - It ends  here.\n",
    "0 1 2 3 4 5 6 7 8 9 Yes No",
] * 4

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_THINK = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
LLAMA2 = (
    "{% if messages[0].role == 'system' %}"
    "{% set s = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}"
    "{% set ms = messages[1:] %}{% else %}{% set s = '' %}{% set ms = messages %}{% endif %}"
    "{% for m in ms %}{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (s if loop.first else '') + (m.content | trim) + ' [/INST]' }}"
    "{% else %}{{ ' ' + (m.content | trim) + ' ' + eos_token }}{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
TINYLLAMA = ZEPHYR.replace("'<|assistant|>\n'", "'<|assistant|>'")  # the line break belongs to the answer
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
LLAMA3 = (
    "{% set date = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}{{ bos_token }}"
    "<|start|>system<|stop|>\n\nToday Date: {{ date }}\n\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content | trim }}{% set messages = messages[1:] %}"
    "{% endif %}<|eot|>{% for m in messages %}"
    "{{ '<|start|>' + m.role + '<|stop|>\n\n' + m.content | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|stop|>\n\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set content = m.content %}{% set thought = '' %}"
    "{% if '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>assistant\n{% if loop.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}"
    "{{ content.lstrip('\n') }}<|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
QWEN3_ALWAYS = QWEN3.replace(
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}",
    "<think>\n",
)
R1 = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<|User|>' + m.content }}{% else %}{% set content = m.content %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<|Assistant|>' + content + '<|stop|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)
HARMONY = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|stop|>"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)

DEEPSEEK_LLM = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content + '\n\n' }}"
    "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + '<|stop|>' }}"
    "{% else %}{{ m.content + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"  # the space belongs to the answer
)


WORDS = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
"""The beginning of Qwen's and Llama 3's expression."""


def byte_level(special: Iterable[str], *, lines: bool) -> Tokenizer:
    """`lines`: line breaks are words of their own, as in newer models; else GPT-2 cuts white space."""
    backend = Tokenizer(models.BPE())
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not lines)
    split = pre_tokenizers.Split(Regex(WORDS + r"|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_]) if lines else bytes_
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=450,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return backend


def sentence_piece(scheme: str, special: Iterable[str] = ()) -> Tokenizer:
    """BPE over "▁" with bytes for unknown characters; `scheme`: where "▁" goes before a text ("legacy": by a
    normalizer, before each)."""
    special = ["<unk>", "<s>", "</s>", *special]
    space = pre_tokenizers.Metaspace("▁", prepend_scheme="first" if scheme == "legacy" else scheme)
    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    trained.pre_tokenizer = space
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    trained.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=700, special_tokens=[*special, *bytes_], show_progress=False)
    )
    parts = json.loads(trained.to_str())
    parts["added_tokens"] = [token for token in parts["added_tokens"] if token["content"] in special]
    backend = Tokenizer.from_str(json.dumps(parts))
    if scheme == "legacy":
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend


def unigram() -> Tokenizer:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first")
    backend.decoder = decoders.Metaspace("▁", prepend_scheme="first")
    backend.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=300,
            special_tokens=["<unk>", "<s>", "</s>"],
            unk_token="<unk>",
            initial_alphabet=sorted({char for text in TEXTS for char in text}),
            show_progress=False,
        ),
    )
    return backend


def _llama(scheme: str, template: str, *, own_bos: bool = False) -> Any:
    backend = sentence_piece(scheme)
    if own_bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _tokenizer(backend, template, "<s>", "</s>")


def _phi(scheme: str, *, strips: bool) -> Any:
    names = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    backend = sentence_piece(scheme, names)
    backend.add_special_tokens([AddedToken(name, rstrip=strips, special=True) for name in names])
    return _tokenizer(backend, PHI3, "<s>", "</s>")


def _bytes(template: str, *special: str) -> Any:
    backend = byte_level(["<|begin|>", "<|stop|>", *special], lines=True)
    return _tokenizer(backend, template, "<|begin|>", "<|stop|>")


def _chatml(template: str, *, lines: bool = True) -> Any:
    backend = byte_level(["<|im_start|>", "<|im_end|>"], lines=lines)
    return _tokenizer(backend, template, "<|im_start|>", "<|im_end|>")


def _tokenizer(backend: Tokenizer, template: str, bos: str, eos: str) -> Any:
    unknown = "<unk>" if backend.token_to_id("<unk>") is not None else None
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos, unk_token=unknown)
    made.chat_template = template
    return made


SHAPES: dict[str, Callable[[], Any]] = {
    "chatml": lambda: _chatml(CHATML),
    "chatml_gpt2": lambda: _chatml(CHATML, lines=False),
    "chatml_think": lambda: _chatml(CHATML_THINK),
    "chatml_think_gpt2": lambda: _chatml(CHATML_THINK, lines=False),
    "gemma": lambda: _chatml(GEMMA),
    "qwen3": lambda: _chatml(QWEN3),
    "qwen3_always_thinks": lambda: _chatml(QWEN3_ALWAYS),
    "llama2_first": lambda: _llama("first", LLAMA2),
    "llama2_always": lambda: _llama("always", LLAMA2),
    "llama2_legacy": lambda: _llama("legacy", LLAMA2),
    "llama2_own_bos": lambda: _llama("first", LLAMA2, own_bos=True),
    "zephyr_first": lambda: _llama("first", ZEPHYR),
    "zephyr_legacy": lambda: _llama("legacy", ZEPHYR),
    "zephyr_unigram": lambda: _tokenizer(unigram(), ZEPHYR, "<s>", "</s>"),
    "tinyllama_first": lambda: _llama("first", TINYLLAMA),
    "tinyllama_always": lambda: _llama("always", TINYLLAMA),
    "phi3_first": lambda: _phi("first", strips=True),
    "phi3_always": lambda: _phi("always", strips=True),
    "phi3_never": lambda: _phi("never", strips=False),
    "llama3_clock": lambda: _bytes(LLAMA3, "<|start|>", "<|eot|>"),
    "deepseek_r1": lambda: _bytes(R1, "<|User|>", "<|Assistant|>"),
    "deepseek_llm": lambda: _bytes(DEEPSEEK_LLM),
    "harmony": lambda: _bytes(HARMONY, "<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
}


@cache
def shape(name: str) -> Any:
    """The tokenizer of a shape, built once; its template stays as it is."""
    return SHAPES[name]()
