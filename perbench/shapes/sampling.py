"""SamplingSpec and DecodingSpec: how a model's answers are drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from perbench.shapes.base import Strict
from perbench.shapes.registry import DECODINGS, one_of
from perbench.shapes.templates import Count


class SamplingSpec(Strict):
    """temperature 0 is greedy. max_new_tokens is also what a prompt reserves for the answer."""

    model_config = ConfigDict(allow_inf_nan=False)

    max_new_tokens: Count = 512
    temperature: Annotated[float, Field(ge=0)] = 0.4
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class DecodingSpec(Strict):
    """How answers are decoded. context_steering: log p = log p_c + lam (log p_c - log p_nc) up to a constant,
    of the next token with the persona (c) and without (nc), before temperature and top_p. lam 0 is the
    ordinary way, -1 leaves the persona out (CoS, arXiv 2405.01768)."""

    model_config = ConfigDict(allow_inf_nan=False)

    method: Annotated[str, one_of(DECODINGS)] = "ordinary"
    lam: float = 1.0
    """Of context_steering."""
