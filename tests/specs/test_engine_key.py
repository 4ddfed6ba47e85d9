"""The engine that a matrix names for its models."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench.errors import SpecError
from perbench.specs.matrices import load_matrix


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["engine=openai"], ("--set engine=openai:", "openai", "weights", "transformers, vllm")),
        (["--engine openai"], ("--engine openai:", "weights", "transformers, vllm")),
        (["--engine vlm"], ("--engine vlm:", "unknown engine 'vlm'", "'vllm'")),
        (["engine={name: transformers, foo: 1}"], ("engine transformers has no keys", "foo", "--engine")),
        (["engine.eager=true"], ("--set engine.eager=true:", "engine", "--engine")),
        (["--engine vllm", "engine.eagr=true"], ("'eagr'", "'eager'")),
    ],
)
def test_an_engine_that_cannot_serve_the_models_as_told(
    root: Path, sets: list[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SpecError) as caught:
        load_matrix("small", sets)
    assert all(word in str(caught.value) for word in words)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "sets", [["--engine vllm", "engine.eager=true"], ["engine=vllm", "engine.eager=true"]]
)
def test_keys_join_an_engine_that_is_named_before_them(root: Path, sets: list[str]) -> None:
    assert load_matrix("small", sets).spec.serving == {"engine": "vllm", "vllm": {"eager": True}}
