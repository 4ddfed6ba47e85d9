"""LmEvalSpec: how a task of lm-evaluation-harness is put to the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perbench.shapes.base import Strict


class LmEvalSpec(Strict):
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """None: as many as the task itself says."""
    chat_template: bool = False
