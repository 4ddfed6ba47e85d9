"""PreferenceSpec: how a stated preference is put to the model, and how its answer is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.fields import SCORING, ModelName
from perbench.shapes.templates import Count, refuse, template_faults

CHECKS = ("violates", "acknowledges", "hallucinates", "helpful")
CHECK_TOKENS = 8
"""Room for one word and what some models put around it."""
PREFERENCE_METRICS = ("accurate", *CHECKS)


class CheckJudgeSpec(Strict):
    """Four instructions, each a yes/no question about an answer; they may hold {preference}, {question},
    {response}.

    method reply: the judge answers greedily, and its answer must be yes or no; likeliest: the likelier of the
    two words as its answer's beginning, for small models that do not keep to an instruction.
    """

    model: ModelName
    violates: str
    acknowledges: str
    hallucinates: str
    helpful: str
    method: Literal["reply", "likeliest"] = "reply"
    max_new_tokens: Count = CHECK_TOKENS
    """Of a reply. A judge that thinks before it answers needs hundreds, or all it gives is thoughts."""
    calibrated: Annotated[bool, SCORING] = False

    @model_validator(mode="after")
    def _placeholders(self) -> CheckJudgeSpec:
        allowed = {"preference", "question", "response"}
        refuse([fault for name in CHECKS for fault in template_faults(name, getattr(self, name), allowed)])
        return self


class PreferenceSpec(Strict):
    """`turns` exchanges about other things stand between the preference and the question; each row holds them
    as `turns`, and the preference as `preference`."""

    turns: Annotated[int, Field(ge=0)] = 5
    system: str | None = None
    question: str = "{question}"
    judge: CheckJudgeSpec

    @model_validator(mode="after")
    def _placeholders(self) -> PreferenceSpec:
        refuse(template_faults("question", self.question, {"question"}))
        return self
