"""The task section `preference`: the conversation and its judge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER, SCORING
from perbench.shapes.rubric import NamedRubric, Rubric, RubricJudge
from perbench.shapes.templates import placeholders, refuse, template_faults

CHECKS = ("violates", "acknowledges", "hallucinates", "helpful")
METRICS = {
    "accurate": "helpful and not violates",
    # None if it is unknown whether a preference is acknowledged.
    "hallucinates": "acknowledges and (hallucinates or not acknowledges)",
}
BETTER = {"violates": "lower", "hallucinates": "lower"}
HOLDS = ("preference", "question", "response")


class CheckJudgeSpec(RubricJudge):
    """Instead of a rubric, or of its requests of these names, PrefEval's four checks may be given: each an
    instruction with a yes/no question that may hold {preference}, {question} and {response}."""

    rubric: Annotated[NamedRubric | None, SCORING] = None  # type: ignore[assignment]
    """Identities hold its instructions as if they were given here."""
    violates: Annotated[str | None, LATER] = None
    acknowledges: Annotated[str | None, LATER] = None
    hallucinates: Annotated[str | None, LATER] = None
    helpful: Annotated[str | None, LATER] = None

    @property
    def given(self) -> dict[str, str]:
        """The checks given here."""
        return {name: text for name in CHECKS if (text := getattr(self, name)) is not None}

    @property
    def asked(self) -> Rubric:
        if self.rubric is not None:
            return self.rubric.model_copy(update={"ask": {**self.rubric.ask, **self.given}})
        used = set().union(*map(placeholders, self.given.values()))
        return Rubric(
            answer="yes_no",
            holds=[word for word in HOLDS if word in used],
            ask=self.given,
            metrics=METRICS,
            better=BETTER,  # type: ignore[arg-type]
        )

    @model_validator(mode="after")
    def _whole(self) -> CheckJudgeSpec:
        known = CHECKS if self.rubric is None else tuple(self.rubric.ask)
        faults = [fault for name, text in self.given.items() for fault in template_faults(name, text, HOLDS)]
        faults += [f"{name}: the rubric has no such request" for name in self.given if name not in known]
        if self.rubric is None:
            absent = (name for name in CHECKS if name not in self.given)
            faults += [f"missing key {name!r}, or `rubric: NAME` for all checks" for name in absent]
        else:
            taken = {"answer", *type(self).model_fields}.difference(CHECKS).intersection(known)
            faults += [f"rubric: request {name!r} clashes with a judge's key" for name in sorted(taken)]
        refuse(faults)
        return self


class PreferenceSpec(Strict):
    """`turns` unrelated exchanges separate preference and question; each row holds them as `turns`, and the
    preference as `preference`."""

    opening: Annotated[Literal["stated", "conversation"], LATER] = "stated"
    """How the dialogue begins: the user states the preference and the model replies; or the conversation that
    reveals it, which is the row's history, of messages {role, text}."""
    turns: Annotated[int, Field(ge=0)] = 5
    system: str | None = None
    question: str = "{question}"
    judge: CheckJudgeSpec

    @model_validator(mode="after")
    def _placeholders(self) -> PreferenceSpec:
        refuse(template_faults("question", self.question, {"question"}))
        return self
