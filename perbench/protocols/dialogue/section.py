"""DialogueSpec: who plays the user, how long they talk, and who rates the replies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER, SCORING, ModelName
from perbench.shapes.rubric import NamedRubric, Rubric
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.templates import Count, placeholders, refuse, template_faults


class SimulatorSpec(Strict):
    """The user simulator of a dialogue task: `instruction` may hold {profile}, {personality}."""

    model: ModelName
    instruction: str
    opening: str
    """The turn that asks the simulator for its first message."""
    sampling: SamplingSpec

    @model_validator(mode="after")
    def _placeholders(self) -> SimulatorSpec:
        refuse(template_faults("instruction", self.instruction, {"profile", "personality"}))
        return self


HOLDS = {"profile", "personality", "message", "response"}
"""Placeholders of a judge's instruction."""


class Rater(Strict):
    """Rates replies from 1 to 5. `instruction` may hold {profile}, {personality}, {message} and {response},
    and asks for one digit; alternatively, `rubric` names a rubric with one such request.

    method reply: the judge's reply must be that digit; likeliest: the rating is the digit that the model
    finds likeliest as the start of its reply, for small models that do not follow the instruction.
    """

    model: ModelName
    rubric: Annotated[NamedRubric | None, SCORING] = None
    """Identities hold its instruction as if it were given here."""
    instruction: str | None = None
    method: Literal["reply", "likeliest"] = "reply"

    @property
    def text(self) -> str | None:
        """The instruction in force."""
        if self.instruction is not None or self.rubric is None:
            return self.instruction
        (text,) = self.rubric.ask.values()
        return text

    @model_validator(mode="after")
    def _rates(self) -> Rater:
        rubric, faults = self.rubric, template_faults("instruction", self.instruction, HOLDS)
        if rubric is not None:
            if rubric.answer != "1..5" or len(rubric.ask) > 1 or set(rubric.better.values()) - {"higher"}:
                faults.append("rubric: must be one request with answer 1..5, of which higher is better")
            faults += [f"rubric: uses {{{word}}}; dialogues have none" for word in set(rubric.holds) - HOLDS]
        refuse(faults)
        return self


class JudgeSpec(Rater):
    sampling: SamplingSpec
    retries: Annotated[int, Field(ge=0)] = 2
    calibrated: Annotated[bool, SCORING] = False
    pmi: bool = True
    """Also score mean log P(response | persona, dialogue) - log P(response | dialogue) with the judge's
    model."""

    @property
    def asked(self) -> Rubric:
        """Its instruction as a rubric."""
        text = self.text or ""
        return Rubric(answer="1..5", holds=sorted(placeholders(text)), ask={"rating": text})

    @model_validator(mode="after")
    def _given(self) -> JudgeSpec:
        refuse([] if self.text is not None else ["missing key 'instruction', or `rubric: NAME`"])
        return self


class SecondJudgeSpec(Rater):
    """Rates the same replies again to measure agreement: another model, another wording, or the first judge
    with other seeds. Sampling, retries and, by default, the instruction are the first judge's."""


class DialogueSpec(Strict):
    turns: Count = 10
    report_turns: Annotated[list[Count], SCORING] = []
    """Turns whose mean is the headline (PerCE: 6..10); empty means all."""
    simulator: SimulatorSpec
    judge: JudgeSpec
    second_judge: Annotated[SecondJudgeSpec | None, LATER] = None

    def judges(self) -> list[JudgeSpec]:
        """The judge, and the second judge, if any, completed from the first."""
        second = self.second_judge
        if second is None:
            return [self.judge]
        changes = {"model": second.model, "method": second.method, "pmi": False}
        if second.text is not None:
            changes |= {"instruction": second.text}
        return [self.judge, self.judge.model_copy(update=changes)]

    @model_validator(mode="after")
    def _within(self) -> DialogueSpec:
        if max(self.report_turns, default=0) > self.turns:
            refuse(
                [
                    f"report_turns {self.report_turns} exceed the dialogue's {self.turns} turns; set "
                    f"dialogue.report_turns to turns from 1 to {self.turns}, or [] for all"
                ]
            )
        return self
