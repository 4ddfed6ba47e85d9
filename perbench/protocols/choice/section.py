"""The task section `choice`: how an option is picked, and how options are shown and replies read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.fields import SCORING
from perbench.shapes.templates import Count, placeholders, refuse, template_faults

Rule = Literal["sum", "per_token", "pmi", "reply"]
Read = Literal["letter", "choice_tag", "final_answer", "boxed"]


class ReplySpec(Strict):
    """Under `by: reply`, the user's turn with the lettered options, and how the reply is read (`replies`)."""

    ask: str = "{question}\n\n{options}\n\nAnswer with the letter of one option."
    """May hold {question} and {options}."""
    option: str = "{letter}. {text}"
    """One option; holds {letter} and {text}."""
    letters: Literal["upper", "lower"] = "upper"
    shown: Literal["lines", "list"] = "lines"
    """Options as one per line, or as a Python list of texts, as PersonaMem's files hold them."""
    read: Annotated[Read, SCORING] = "letter"

    @model_validator(mode="after")
    def _templates(self) -> ReplySpec:
        faults = []
        for key, words in (("ask", {"question", "options"}), ("option", {"letter", "text"})):
            template = getattr(self, key)
            found = template_faults(key, template, words)
            faults += found or [f"{key}: needs {{{word}}}" for word in sorted(words - placeholders(template))]
        if self.read == "choice_tag" and self.letters == "lower":
            faults.append("letters: read choice_tag knows capital letters only; set letters: upper")
        refuse(faults)
        return self


class RatedSpec(Strict):
    """Each row has `ratings`, a number per option: a ranking is measured instead of a single pick."""

    scale: Annotated[list[float], Field(min_length=2, max_length=2)]
    """The lowest and the highest possible rating; a rating outside is a fault of the data."""
    threshold: Annotated[float, Field(ge=0), SCORING] = 0.0
    """Pairs of options are compared whose ratings differ, by at least this much."""

    @model_validator(mode="after")
    def _ordered(self) -> RatedSpec:
        low, high = self.scale
        refuse([] if low < high else [f"scale: got [{low:g}, {high:g}]; give the lowest, then the highest"])
        return self


class ChoiceSpec(Strict):
    """Each row has `options`, a list of two or more texts, and `gold`, the place of the right one, from 0; or
    `ratings` (see `rated`)."""

    by: Rule = "per_token"
    """sum, per_token: the option with the highest log-prob as the answer, summed or per token; pmi: that
    whose summed log-prob grows most over the prompt without persona; reply: the one that the model's own
    answer names."""
    turns: Annotated[int, Field(ge=0)] = 0
    """Exchanges on other subjects between history and question: the first of the row's `turns`, a list of
    [user, assistant]."""
    permutations: Count = 1
    """Under `by: reply`, each example is asked so many times, its options moved on by one each time, and
    scored by the mean; at most once per option."""
    reply: ReplySpec = Field(default_factory=ReplySpec)
    rated: RatedSpec | None = None

    @model_validator(mode="after")
    def _scores(self) -> ChoiceSpec:
        if self.rated is not None and self.by == "reply":
            raise ValueError("by: a reply names one option and ranks none; with `rated`, use log-probs")
        return self
