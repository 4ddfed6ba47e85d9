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
"""What a judge's instruction may hold."""


class Rater(Strict):
    """Rates replies from 1 to 5. `instruction` may hold {profile}, {personality}, {message}, {response} and
    asks for one digit; or `rubric` names one that makes such a request.

    method reply: the judge answers, and its answer must be that digit; likeliest: the rating is the digit the
    model finds likeliest as its answer's beginning, for small models that do not keep to an instruction.
    """

    model: ModelName
    rubric: Annotated[NamedRubric | None, SCORING] = None
    """In identities, its instruction is as if it were given here."""
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
            faults += [f"rubric: holds {{{word}}}; a dialogue has none" for word in set(rubric.holds) - HOLDS]
        refuse(faults)
        return self


class JudgeSpec(Rater):
    sampling: SamplingSpec
    retries: Annotated[int, Field(ge=0)] = 2
    calibrated: Annotated[bool, SCORING] = False
    pmi: bool = True
    """Also score mean log P(response | persona, dialogue) - log P(response | dialogue) under the judge's
    model."""

    @property
    def asked(self) -> Rubric:
        """What it is asked, as a rubric."""
        text = self.text or ""
        return Rubric(answer="1..5", holds=sorted(placeholders(text)), ask={"rating": text})

    @model_validator(mode="after")
    def _given(self) -> JudgeSpec:
        refuse([] if self.text is not None else ["missing key 'instruction', or `rubric: NAME`"])
        return self


class SecondJudgeSpec(Rater):
    """Rates the same replies once more, for the agreement of judges: another model, another wording, or the
    first judge again with other seeds. Sampling and retries are the first judge's, and the instruction where
    none is given."""


class DialogueSpec(Strict):
    turns: Count = 10
    report_turns: Annotated[list[Count], SCORING] = []
    """Turns whose mean is the headline (PerCE: 6..10); empty means all."""
    simulator: SimulatorSpec
    judge: JudgeSpec
    second_judge: Annotated[SecondJudgeSpec | None, LATER] = None

    def judges(self) -> list[JudgeSpec]:
        """The judge, and the second as one of its own where there is one."""
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
                    f"report_turns {self.report_turns} go beyond the dialogue's {self.turns} turns; set "
                    f"dialogue.report_turns, too: some of 1 to {self.turns}, or [] for all"
                ]
            )
        return self
