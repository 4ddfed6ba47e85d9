"""Texts in the prompts of a small model, and slow log-probs to compare with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from perbench.api import Example, PersonaText
from perbench.engines.transformers.engine import TransformersEngine
from perbench.protocols.identification.scoring import persona_text
from perbench.shapes.task import FieldSpec, PromptSpec
from perbench.specs.compose import task_spec

TASK = task_spec()(
    summary="test",
    protocol="identification",
    license="none",
    data={"files": "unread.jsonl"},
    fields=FieldSpec(question="question", reference="answer", persona="persona", extra=["gold"]),
    prompt="plain",
    prompts={"plain": PromptSpec(system="You are: {persona} Answer.", item="{text}", join="\n")},
    headline="f1",
)
PERSONAS = (
    ("I hunt deer.", "I bake bread at night.", "I am old."),
    ("I sail alone.", "I hate soup."),
    ("I paint houses.",),
)
MakeText = Callable[..., PersonaText]


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> TransformersEngine:
    return TransformersEngine(tiny_model_dir, dtype="float32")


@pytest.fixture
def make_text(engine: TransformersEngine) -> MakeText:
    def make(
        persona: tuple[str, ...] = PERSONAS[0],
        answer: str = "We bake, then hunt.",
        background: tuple[tuple[str, ...], ...] = PERSONAS,
    ) -> PersonaText:
        items = tuple({"text": sentence} for sentence in persona)
        example = Example(f"{persona}/{answer}", "user", "What now?", answer, items)
        return persona_text(TASK, example, engine, background)

    return make


@pytest.fixture
def plain_logp(engine: TransformersEngine) -> Callable[[tuple[int, ...], tuple[int, ...]], torch.Tensor]:
    """Log-probs from all logits of one sequence."""

    def logp(prompt: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
        with torch.no_grad():
            logits = engine.model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]

    return logp
