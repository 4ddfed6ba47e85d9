"""Batched log-probs of both contexts equal one plain forward pass per sequence with all its logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perbench.errors import PerbenchError
from perbench.lm.contrast import contrast, response_logp
from perbench.lm.models import ResolvedModel, load_causal_lm, load_tokenizer
from perbench.lm.padding import batches, even_groups
from perbench.prompts.pair import PromptPair

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(0, 400))
def test_even_groups_hold_all_and_pad_little(lengths: list[int], slack: int) -> None:
    groups = even_groups(lengths, slack)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert [lengths[i] for group in groups for i in group] == sorted(lengths, reverse=True)
    for group in groups:
        assert sum(lengths[group[0]] - lengths[i] for i in group) <= slack


def plain(model: Any, prompt: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0].float()
    values = [logits[len(prompt) - 1 + i].log_softmax(-1)[token] for i, token in enumerate(response)]
    return torch.stack(values) if values else torch.zeros(0)


def drawn_pairs(count: int, vocabulary: int, seed: int = 0) -> list[PromptPair]:
    generator = torch.Generator().manual_seed(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        length = int(torch.randint(low, high, (1,), generator=generator))
        return tuple(torch.randint(3, vocabulary, (length,), generator=generator).tolist())

    pairs = []
    for _ in range(count):
        question = ids(1, 8)
        pairs.append(PromptPair((*ids(0, 30), *question), question, ids(1, 12), 1, 0))
    return pairs


def assert_plain(model: Any, pairs: list[PromptPair], budget: int, tolerance: float = 1e-4) -> None:
    for pair, both in zip(pairs, contrast(model, pairs, token_budget=budget), strict=True):
        expected = plain(model, pair.factual, pair.response), plain(model, pair.counterfactual, pair.response)
        torch.testing.assert_close(both.factual, expected[0], rtol=0, atol=tolerance)
        torch.testing.assert_close(both.counterfactual, expected[1], rtol=0, atol=tolerance)
        torch.testing.assert_close(
            both.factual - both.counterfactual, expected[0] - expected[1], rtol=0, atol=2 * tolerance
        )
        assert both.factual.dtype == torch.float32


def architecture(name: str) -> Any:
    import transformers

    options: dict[str, dict[str, Any]] = {
        "Gemma2": {
            "num_key_value_heads": 1,
            "head_dim": 16,
            "final_logit_softcapping": 2.0,
            "sliding_window": 6,
        },
        "Phi": {},  # its head has a bias
        "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2},
        "Qwen3": {"num_key_value_heads": 1, "head_dim": 16},
    }
    torch.manual_seed(0)
    sizes = {} if name == "GPT2" else SMALL
    config = getattr(transformers, f"{name}Config")(
        vocab_size=80, **sizes, initializer_range=0.3, **options[name]
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("budget", [1, 60, 100_000])
def test_equals_full_logits_for_any_budget(tiny_model_dir: Path, budget: int) -> None:
    model = load_causal_lm(tiny_model_dir, "float32")
    assert model.config._attn_implementation == "sdpa"
    assert_plain(model, drawn_pairs(9, 380), budget)


@pytest.mark.parametrize("name", ["Gemma2", "Phi", "GPT2", "Qwen3"])
def test_equals_full_logits_for_other_heads_and_bodies(name: str) -> None:
    assert_plain(architecture(name), drawn_pairs(6, 80), 64)


def test_equals_full_logits_on_a_real_model(smollm2: ResolvedModel) -> None:
    tokenizer = load_tokenizer(smollm2.folder)

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    personas = ["My name is Ada, I keep bees and restore old clocks.", "I sail alone, and I hate cold soup."]
    question = ids("user: What would you like to do this weekend?\nassistant:")
    answers = [" I will visit the hives, then oil the pendulum.", " Sail, if the wind holds."]
    pairs = [
        PromptPair((*ids(persona), *question), question, ids(answer), 1, 0)
        for persona, answer in zip(personas, answers, strict=True)
    ]
    model = load_causal_lm(smollm2.folder, "float32")
    assert_plain(model, pairs, 8192)
    found = contrast(model, pairs)[0]
    pir = found.factual - found.counterfactual
    assert pir[ids(answers[0]).index(ids(" hives")[0])] > 1  # the persona keeps bees


def test_adapters_are_seen_and_the_mode_is_kept(tiny_model_dir: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        load_causal_lm(tiny_model_dir, "float32"),
        LoraConfig(
            target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False, lora_dropout=0.5
        ),
    )
    pairs = drawn_pairs(4, 380)
    model.train()
    with model.disable_adapter():
        base = contrast(model, pairs)
    adapted = contrast(model, pairs)
    assert model.base_model.model.model.layers[0].training
    assert (base[0].factual - adapted[0].factual).abs().max() > 1e-3
    assert_plain(model.eval(), pairs, 64)


def test_recurring_sequences_are_computed_once(tiny_model_dir: Path) -> None:
    model = load_causal_lm(tiny_model_dir, "float32")
    seen: list[int] = []
    model.model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0]))
    response_logp(model, [(5, 6)], [(9, 8)])
    seen.clear()
    values = response_logp(model, [(5, 6)] * 3 + [(7,)] + [(5, 6)] * 2, [(9, 8)] * 6)
    assert sum(seen) == 2
    assert all(torch.equal(values[0], values[i]) for i in (1, 2, 4, 5))
    assert not torch.equal(values[0], values[3])


def test_empty_responses_and_prompts(tiny_model_dir: Path) -> None:
    model = load_causal_lm(tiny_model_dir, "float32")
    values = response_logp(model, [(5, 6), (5, 6)], [(), (7,)])
    assert [len(v) for v in values] == [0, 1]
    assert response_logp(model, [], []) == []
    with pytest.raises(PerbenchError, match="prompt 1 is empty"):
        response_logp(model, [(5,), ()], [(6,), (7,)])


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_batches_partition_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = batches(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget
