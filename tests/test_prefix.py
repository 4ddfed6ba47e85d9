"""Prompts that share a beginning: the best partition, and log-probs equal to plain forward passes."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perbench.lm import prefix
from perbench.lm.contrast import response_logp
from perbench.lm.head import body_and_head
from perbench.lm.models import ResolvedModel, load_causal_lm, load_tokenizer
from perbench.lm.prefix import can_continue, common_length, shared_prefixes

Ids = tuple[int, ...]


def plain(model: Any, prompt: Ids, response: Ids) -> torch.Tensor:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]


def personas_and_answers(vocabulary: int, seed: int = 0) -> tuple[list[Ids], list[Ids]]:
    """Three personas (two with a common head) with three questions each, and two prompts without one."""
    generator = torch.Generator().manual_seed(seed)

    def ids(length: int) -> Ids:
        return tuple(torch.randint(3, vocabulary, (length,), generator=generator).tolist())

    head = ids(20)
    personas = [head + ids(40), head + ids(23), ids(30)]
    prompts = [persona + ids(1 + 3 * i) for persona in personas for i in range(3)] + [ids(7), head[:5]]
    return prompts, [ids(1 + (5 * i) % 11) for i in range(len(prompts))]


def seen_tokens(model: Any) -> list[int]:
    """Filled with the padded tokens of every forward pass."""
    seen: list[int] = []
    body_and_head(model)[0].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return seen


# ---------------------------------------------------------------- which prompts share


def test_groups_by_hand() -> None:
    a, b = tuple(range(100, 140)), tuple(range(200, 230))
    prompts = [(*b, 1), (*a, 1, 2), (5, 6), (*a, 3), (*b, 2), (*a, 1, 4)]
    assert sorted((length, sorted(members)) for length, members in shared_prefixes(prompts)) == [
        (0, [2]),
        (30, [0, 4]),
        (40, [1, 3, 5]),
    ]


def test_the_last_token_is_never_shared() -> None:
    prompt = tuple(range(30))
    assert shared_prefixes([prompt, prompt]) == [(29, [0, 1])]
    assert shared_prefixes([prompt, (*prompt, 99)]) == [(29, [0, 1])]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6).map(tuple), max_size=7))
def test_no_partition_of_neighbours_saves_more(prompts: list[Ids]) -> None:
    least, prefix.LEAST = prefix.LEAST, 2
    try:
        groups = shared_prefixes(prompts)
    finally:
        prefix.LEAST = least
    assert sorted(index for _, members in groups for index in members) == list(range(len(prompts)))
    for length, members in groups:
        assert all(prompts[i][:length] == prompts[members[0]][:length] for i in members)
        assert length == 0 or (length >= 2 and all(length < len(prompts[i]) for i in members))

    def saved(members: list[Ids]) -> int:
        length = min([common_length(members[0], m) for m in members] + [len(m) - 1 for m in members])
        return length * (len(members) - 1) if length >= 2 else 0

    ordered = sorted(prompts)
    best = 0
    for cuts in (c for k in range(len(prompts)) for c in combinations(range(1, len(prompts)), k)):
        edges = [0, *cuts, len(prompts)]
        best = max(best, sum(saved(ordered[i:j]) for i, j in pairwise(edges)))
    assert sum(length * (len(members) - 1) for length, members in groups) == best


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("budget", [100, 300, 8192])
def test_equals_full_logits(tiny_model_dir: Path, budget: int) -> None:
    model = load_causal_lm(tiny_model_dir, "float32")
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    prompts, responses = personas_and_answers(380)
    seen = seen_tokens(model)
    found = response_logp(model, prompts, responses, token_budget=budget)
    assert max(seen) <= budget
    if budget == 8192:
        prefixes = [len(prompts[0]) - 1, len(prompts[3]) - 1, len(prompts[6]) - 1]
        assert len(seen) == 4  # prefixes, continuations in two lengths, the two prompts without one
        assert seen[0] == 3 * max(prefixes)
    for prompt, response, logp in zip(prompts, responses, found, strict=True):
        torch.testing.assert_close(logp, plain(model, prompt, response), rtol=0, atol=2e-5)


def test_short_continuations_are_not_read_with_long_ones(tiny_model_dir: Path) -> None:
    model = load_causal_lm(tiny_model_dir, "float32")
    generator = torch.Generator().manual_seed(0)
    head, *rests = (
        tuple(torch.randint(3, 380, (length,), generator=generator).tolist())
        for length in (30, 200, 5, 190, 8)
    )
    prompts, seen = [(*head, *rest) for rest in rests], seen_tokens(model)
    found = response_logp(model, prompts, [(7,)] * 4)
    assert seen == [30, 2 * 200, 2 * 8]  # the head; the rests in two passes
    for prompt, logp in zip(prompts, found, strict=True):
        torch.testing.assert_close(logp, plain(model, prompt, (7,)), rtol=0, atol=2e-5)


def architecture(name: str) -> Any:
    import transformers

    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    options: dict[str, dict[str, Any]] = {
        "Gemma2": {"num_key_value_heads": 1, "head_dim": 16, "sliding_window": 6},
        "Mistral": {"num_key_value_heads": 2, "sliding_window": 6},
        "Qwen3": {"num_key_value_heads": 1, "head_dim": 16},
        "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2},
        "Bloom": {"n_layer": 2, "n_head": 2},
        "Mamba": {},
    }
    torch.manual_seed(0)
    sizes = {**({} if name == "GPT2" else small), **options[name]}
    config = getattr(transformers, f"{name}Config")(vocab_size=80, **sizes, initializer_range=0.3)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    ("name", "continues"),
    [
        ("Gemma2", True),
        ("Mistral", True),
        ("Qwen3", True),
        ("GPT2", True),
        ("Bloom", False),
        ("Mamba", False),
    ],
)
def test_equals_full_logits_for_other_bodies(name: str, continues: bool) -> None:
    model = architecture(name)
    assert can_continue(body_and_head(model)[0]) is continues
    prompts, responses = personas_and_answers(80)
    for prompt, response, logp in zip(
        prompts, responses, response_logp(model, prompts, responses), strict=True
    ):
        torch.testing.assert_close(logp, plain(model, prompt, response), rtol=0, atol=2e-5)


def test_sliding_windows_matter_here() -> None:
    """The windows of the models above are shorter than what they read, or the test would show nothing."""
    model = architecture("Mistral")
    prompts, responses = personas_and_answers(80)
    narrow = plain(model, prompts[0], responses[0])
    model.config.sliding_window = 1000
    assert (plain(model, prompts[0], responses[0]) - narrow).abs().max() > 1e-3


def test_half_the_tokens_on_a_real_model(smollm2: ResolvedModel) -> None:
    tokenizer = load_tokenizer(smollm2.folder)
    model = load_causal_lm(smollm2.folder, "float32")

    def ids(text: str) -> Ids:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    persona = ids("My name is Ada, I keep bees and restore old clocks. I sail alone and I hate cold soup.")
    prompts = [(*persona, *ids(question)) for question in ("What now?", "And then?", "Where to, and when?")]
    responses = [ids(answer) for answer in (" To the hives.", " I sail.", " Home, at noon.")]
    expected = [plain(model, *pair) for pair in zip(prompts, responses, strict=True)]
    seen = seen_tokens(model)
    found = response_logp(model, prompts, responses)
    for logp, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(logp, reference, rtol=0, atol=5e-5)
    assert sum(seen) < 0.7 * sum(map(len, prompts))
