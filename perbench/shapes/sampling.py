"""SamplingSpec and DecodingSpec: how a model's answers are sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER
from perbench.shapes.plugged import plugin_of
from perbench.shapes.templates import Count


class SamplingSpec(Strict):
    """temperature 0 is greedy. max_new_tokens is also the room that a prompt reserves for the answer."""

    model_config = ConfigDict(allow_inf_nan=False)

    max_new_tokens: Count = 512
    temperature: Annotated[float, Field(ge=0)] = 0.4
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, Field(gt=0), LATER] = 1.0
    """Divides positive, and multiplies negative, logits of tokens that the prompt or the answer so far holds,
    as in transformers; 1 has no effect."""
    end: Annotated[Literal["turn", "eos"], LATER] = "turn"
    """What ends an answer: the chat template's end of turn, or any stop token of the checkpoint; or the
    tokenizer's end-of-sequence token alone. Training learns to end answers with the same."""


class DecodingSpec(Strict):
    """`method` names a decoding, one file in `decodings/`, which adds its own keys."""

    model_config = ConfigDict(allow_inf_nan=False)
    owned: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """Decoding classes by name, in the spec that `compose` makes of this one."""

    method: Annotated[str, plugin_of("decoding")] = "ordinary"
