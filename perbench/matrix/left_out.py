"""Training examples that a task skips as too long: said in the training's record, and wherever the model is
evaluated."""

from __future__ import annotations

from collections.abc import Mapping

SKIPPED = "examples_skipped_too_long"
"""What a training's record counts; `own_` before it: of users' own adapters."""


def left_out(source: str | None, counts: Mapping[str, int]) -> list[str]:
    """The notes that the counts of a training on `source` call for."""
    stages = (("examples", SKIPPED, ""), ("own_examples", f"own_{SKIPPED}", " (users' own adapters)"))
    return [
        f"left out of training on {source}{whose}: {skipped} of {counts[kept] + skipped} examples, as too "
        "long (on_too_long: skip)"
        for kept, name, whose in stages
        if (skipped := counts.get(name, 0))
    ]
