"""The engine that a matrix names for its models."""

from __future__ import annotations

from pathlib import Path

import pytest

from perbench.errors import SpecError
from perbench.specs.matrices import load_matrix


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["engine=openai"], ("--set engine=openai", "serves no models of weights", "transformers")),
        (["engine={name: transformers, foo: 1}"], ("engine transformers has no keys", "foo")),
    ],
)
def test_an_engine_that_cannot_serve_the_models_as_told(
    root: Path, sets: list[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SpecError) as caught:
        load_matrix("small", sets)
    assert all(word in str(caught.value) for word in words)
    assert len(caught.value.problems) == 1
