"""TaskSpec: one YAML file in `tasks/`, named by its path there without suffix."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER
from perbench.shapes.persona import PersonaSpec
from perbench.shapes.plugged import plugin_of
from perbench.shapes.sampling import DecodingSpec, SamplingSpec
from perbench.shapes.templates import Count, placeholders, refuse, template_faults


class DataSpec(Strict):
    """Where rows come from: the key of one source, and the keys that it reads. Sources, one file each in
    `sources/`, add their keys (`compose.data_spec`)."""

    owned: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """Source classes by name, in the spec that `compose` makes of this one."""

    train_split: str = "train"
    test_split: str = "test"
    val_split: str | None = None
    """On which a matrix with `select` chooses among the models trained on this task."""
    overlap: Literal["accepted"] | None = None
    """For targets: evaluate even after a training that saw some of the answers (perbench.data.overlap)."""


class ItemExampleSpec(Strict):
    """How a history item becomes a training example of its user (`training.per_user`): templates over the
    item's fields. Fields in `fields.extra` are taken from the item's of the same name."""

    question: str = ""
    reference: str

    @model_validator(mode="after")
    def _braces(self) -> ItemExampleSpec:
        refuse(
            [fault for key in ("question", "reference") for fault in template_faults(key, getattr(self, key))]
        )
        return self


class FieldSpec(Strict):
    """Names of a row's fields. `question` and `reference` may be absent in dialogue tasks."""

    user: str | None = None
    """Optional under protocol identification, where every distinct persona is then a user."""
    question: str | None = None
    reference: str | None = None
    rejected: str | None = None
    """Of training rows: the answer that the user liked less than `reference`, for trainers of pairs (dpo)."""
    persona: str | None = None
    """A list of strings or mappings; a string is read as {"text": string}."""
    item_aliases: dict[str, str] = {}
    """Older names of a persona item's fields: {missing name: name to read instead}."""
    item_example: ItemExampleSpec | None = None
    item_text: str | None = None
    """For bm25 and dense: the text of a history item that is compared with the request, a template over the
    item's fields; None: the item as the prompt form renders it."""
    extra: list[str] = []
    """Row fields passed on in Example.extra (gold spans, ratings); prompts may hold them."""

    @model_validator(mode="after")
    def _braces(self) -> FieldSpec:
        refuse(template_faults("item_text", self.item_text))
        return self


class PromptSpec(Strict):
    """One prompt form. `{persona}` is the joined, trimmed items; `{question}` the user's request; row fields
    in `fields.extra` may be used, too, and with `split_after` `{before}` and `{after}`, its two parts. `item`
    may hold the item's fields, and `{number}`, its 1-based index.

    Without the persona, a `system` that holds {persona} is dropped unless `system_without` replaces it; a
    `user` that holds {persona} needs `user_without`. (PerCE, App. D.1: drop the system prompt, keep the
    turn.)

    With `messages`, the items are messages of a dialogue before the user's turn, by their field `role`
    (system, user or assistant), instead of {persona}.
    """

    system: str | None = None
    user: str = "{question}"
    item: str
    join: str = "\n\n"
    system_without: str | None = None
    user_without: str | None = None
    split_after: Annotated[str | None, LATER, Field(min_length=1)] = None
    """{before} is the request up to and with the first occurrence of this text, {after} the rest."""
    messages: Annotated[bool, LATER] = False

    @model_validator(mode="after")
    def _braces(self) -> PromptSpec:
        names = ("item", "system", "user", "system_without", "user_without")
        refuse([fault for name in names for fault in template_faults(name, getattr(self, name))])
        return self

    def faults(self, name: str, extra: Collection[str]) -> list[str]:
        """Faults of the placeholders of form `name`, given the row fields it may hold."""
        faults = []
        parts = {"before", "after"} if self.split_after is not None else set()
        for key in ("system", "user", "system_without", "user_without"):
            allowed = {"question", *parts, *extra, *(() if key.endswith("without") else ("persona",))}
            faults += template_faults(f"prompts.{name}.{key}", getattr(self, key), allowed)
        if faults:
            return faults
        holds = [key for key in ("system", "user") if "persona" in placeholders(getattr(self, key) or "")]
        if self.messages and holds:
            faults.append(
                f"prompts.{name}.{holds[0]}: holds {{persona}}, whose items are messages; remove one"
            )
        elif not self.messages and len(holds) != 1:
            faults.append(f"prompts.{name}: {{persona}} must be in exactly one of system and user")
        if holds == ["user"] and self.user_without is None:
            faults.append(
                f"prompts.{name}: user holds {{persona}}, so user_without must give the persona-free turn"
            )
        without = self.user_without if self.user_without is not None else self.user
        if parts and not parts <= placeholders(self.user):
            faults.append(
                f"prompts.{name}.split_after: user must hold {{before}} and {{after}}; or remove it"
            )
        request = {"question", *parts, *extra}
        if not (request & placeholders(without) and request & placeholders(self.user)):
            others = " or a field of fields.extra" if extra else ""
            faults.append(f"prompts.{name}: user needs {{question}}{others}, with and without the persona")
        return faults


Split = Literal["train", "val", "test"]


class ExamplesSpec(Strict):
    """Number of examples drawn from each split, with a fixed seed; None for all."""

    train: Count | None = 2000
    val: Count | None = 500
    test: Count | None = 500


class TaskSpec(Strict):
    """One task. `prompt` names the form of `prompts` in force."""

    owned: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """Protocol classes by name, in the spec that `compose` makes of this one."""

    summary: str
    protocol: Annotated[str, plugin_of("protocol")]
    license: str
    redistributable: bool = False
    """Whether `license` allows to publish the texts with results, for any purpose
    (`perbench leaderboard add --samples`)."""
    notes: str = ""
    data: DataSpec
    fields: FieldSpec = FieldSpec()
    prompt: str | None = None
    prompts: dict[str, PromptSpec] = {}
    persona: PersonaSpec = Field(default_factory=PersonaSpec)
    examples: ExamplesSpec = ExamplesSpec()
    max_length: Count = 5000
    """Maximum tokens of prompt and response together; only the persona is trimmed to fit."""
    max_prompt: Count | None = None
    """Maximum tokens of the prompt; a response that is trained on has the rest of `max_length`. None: a
    prompt has what its response leaves."""
    on_too_long: Literal["fail", "skip", "cut"] = "fail"
    """What happens to an example that exceeds `max_length`, `max_prompt` or the model's context without any
    history. cut: its response is cut where that suffices, else it is skipped."""
    max_missing: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Maximum share of missing answers (refused, filtered...); beyond it the cell fails."""
    sampling: SamplingSpec = SamplingSpec()
    decoding: DecodingSpec = Field(default_factory=DecodingSpec)
    metrics: list[Annotated[str, plugin_of("metric")]] = []
    headline: str
