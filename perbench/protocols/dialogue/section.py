"""DialogueSpec: who plays the user, how long they talk, and who rates the replies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER, SCORING, ModelName
from perbench.shapes.sampling import SamplingSpec
from perbench.shapes.templates import Count, refuse, template_faults


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


JUDGED = {"profile", "personality", "message", "response"}
"""What a judge's instruction may hold."""


class JudgeSpec(Strict):
    """`instruction` may hold {profile}, {personality}, {message}, {response} and asks for one digit, 1-5.

    method reply: the judge answers, and its answer must be that digit; likeliest: the rating is the digit the
    model finds likeliest as its answer's beginning, for small models that do not keep to an instruction.
    """

    model: ModelName
    instruction: str
    method: Literal["reply", "likeliest"] = "reply"
    sampling: SamplingSpec
    retries: Annotated[int, Field(ge=0)] = 2
    calibrated: Annotated[bool, SCORING] = False
    pmi: bool = True
    """Also score mean log P(response | persona, dialogue) - log P(response | dialogue) under the judge's
    model."""

    @model_validator(mode="after")
    def _placeholders(self) -> JudgeSpec:
        refuse(template_faults("instruction", self.instruction, JUDGED))
        return self


class SecondJudgeSpec(Strict):
    """Rates the same replies once more, for the agreement of judges: another model, another wording, or the
    first judge again with other seeds. Sampling and retries are the first judge's."""

    model: ModelName
    instruction: str | None = None
    """None is the first judge's."""
    method: Literal["reply", "likeliest"] = "reply"

    @model_validator(mode="after")
    def _placeholders(self) -> SecondJudgeSpec:
        refuse(template_faults("instruction", self.instruction, JUDGED))
        return self


class DialogueSpec(Strict):
    turns: Count = 10
    report_turns: Annotated[list[Count], SCORING] = []
    """Turns whose mean is the headline (PerCE: 6..10); empty means all."""
    simulator: SimulatorSpec
    judge: JudgeSpec
    second_judge: Annotated[SecondJudgeSpec | None, LATER] = None

    def judges(self) -> list[JudgeSpec]:
        """The judge, and the second as one of its own where there is one."""
        given = [self.judge]
        if self.second_judge is not None:
            changes = self.second_judge.model_dump(exclude_none=True)
            given.append(self.judge.model_copy(update={**changes, "pmi": False}))
        return given

    def models(self) -> set[str]:
        """The names of all models but the one under evaluation."""
        return {self.simulator.model, *(judge.model for judge in self.judges())}

    @model_validator(mode="after")
    def _within(self) -> DialogueSpec:
        if max(self.report_turns, default=0) > self.turns:
            refuse(
                [
                    f"report_turns {self.report_turns} go beyond the dialogue's {self.turns} turns; set "
                    f"dialogue.report_turns, too: some of 1 to {self.turns}, or [] for all"
                ]
            )
        return self
