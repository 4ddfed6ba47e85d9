"""A tiny model sharpened on its own examples, so that personas matter to it: weights are then truly mixed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.lm.models import load_causal_lm
from perbench.plugins import load_trainer
from perbench.prompts.pair import PromptPair
from perbench.training.batch import TokenLoss


def drawn_pairs(count: int, vocabulary: int, seed: int = 0) -> list[PromptPair]:
    generator = torch.Generator().manual_seed(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        length = int(torch.randint(low, high, (1,), generator=generator))
        return tuple(torch.randint(3, vocabulary, (length,), generator=generator).tolist())

    pairs = []
    for _ in range(count):
        question = ids(2, 6)
        pairs.append(PromptPair((*ids(8, 25), *question), question, ids(6, 15), 1, 0))
    return pairs


def sharpen(model: Any, pairs: list[PromptPair], updates: int = 8) -> Any:
    loss, optimizer = (
        TokenLoss(model, load_trainer("ce", {}), nullcontext),
        torch.optim.AdamW(model.parameters(), 3e-3),
    )
    for _ in range(updates):
        optimizer.zero_grad()
        numerator, denominator = loss(pairs, None)
        (numerator / denominator).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model


@pytest.fixture(scope="session")
def pairs() -> list[PromptPair]:
    return drawn_pairs(5, 80)


@pytest.fixture(scope="session")
def llama(tiny_model_dir: Path, pairs: list[PromptPair]) -> Any:
    return sharpen(load_causal_lm(tiny_model_dir, "float32"), pairs, updates=2)


@pytest.fixture(scope="session")
def gemma2(pairs: list[PromptPair]) -> Any:
    """Its head caps logits, so that differences of logits are not linear in the hidden states."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=80,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=6.0,
        initializer_range=0.3,
    )
    return sharpen(Gemma2ForCausalLM(config), pairs)


@pytest.fixture(scope="session")
def phi(pairs: list[PromptPair]) -> Any:
    """Its head has a bias and is not tied to the embeddings."""
    from transformers import PhiConfig, PhiForCausalLM

    torch.manual_seed(0)
    config = PhiConfig(
        vocab_size=80,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
        resid_pdrop=0.0,
    )
    return sharpen(PhiForCausalLM(config), pairs)
