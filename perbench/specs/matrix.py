"""MatrixSpec: one YAML file in `leaderboard/matrices/`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from perbench.errors import suggest
from perbench.shapes.base import Strict
from perbench.shapes.fields import LATER, sampled
from perbench.shapes.templates import Count, refuse
from perbench.specs.rows import OWN, TaskRow, task_variants

NonEmpty = Field(min_length=1)
Schedule = Literal["cosine", "linear", "constant"]


class LoraSpec(Strict):
    """Low-rank adapters on linear layers of the body, never of the head (the chunked loss reads it)."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Annotated[str, NonEmpty] = "all-linear"
    """Names of linear layers, separated by commas, or all of them."""


class PerUserSpec(Strict):
    """After the training, one adapter per user of the source's test split on top of it, from that user's
    data. Keys that are null, and those of the training that are not here, are as the training's."""

    data: Literal["history", "examples", "both"] = "history"
    """The user's history items, training examples, or both."""
    history: Annotated[Literal["others", "earlier"], LATER] = "others"
    """The history of an example made from an item: the user's other items, or only earlier ones, as in OPPU's
    code (arXiv 2402.04401)."""
    rank: Count = 8
    alpha: Count = 8
    target_modules: Annotated[str, NonEmpty] = "q_proj,v_proj"
    epochs: Annotated[float, Field(gt=0)] = 2.0
    batch_size: Count = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    dropout: Annotated[float, Field(ge=0, lt=1), LATER] = 0.0
    """Of the adapter."""
    schedule: Annotated[Schedule | None, LATER] = None
    warmup_ratio: Annotated[float | None, Field(ge=0, le=1), LATER] = None
    weight_decay: Annotated[float | None, Field(ge=0), LATER] = None
    max_grad_norm: Annotated[float | None, Field(gt=0), LATER] = None


class TrainingSpec(Strict):
    """One training run. Defaults follow PerCE, App. B.1, where specified (betas, warm-up, epochs, length)."""

    model_config = ConfigDict(allow_inf_nan=False)

    method: Literal["lora", "full"] = "lora"
    lora: LoraSpec = LoraSpec()
    epochs: Annotated[float, Field(gt=0)] = 3.0
    batch_size: Count = 32
    """Examples per update, over all devices."""
    reduce: Annotated[Literal["tokens", "examples"], LATER] = "tokens"
    """The loss of an update: one division over all its tokens, or the mean of its examples' own."""
    micro_batch_tokens: Count = 8192
    """Padded tokens of one forward pass; affects only rounding, never the update."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    schedule: Schedule = "cosine"
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.04
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    gradient_checkpointing: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: whole weights on each (ddp), or a part of every weight on each (fsdp)."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 if the device computes it natively, else fp32."""
    save_every: Count = 50
    """Updates between checkpoints; a killed run repeats at most these."""
    per_user: PerUserSpec | None = None
    """`true` means the defaults, `false` none."""

    @field_validator("per_user", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @property
    def inputs(self) -> dict[str, Any]:
        """The keys that determine the trained weights up to rounding, as JSON. With LoRA's dropout, which
        draws noise per micro-batch, they include `micro_batch_tokens` and `parallel`."""
        left_out = set(ROUNDING_ONLY)
        if self.per_user is None:
            left_out |= {"per_user"}
        if self.method != "lora":
            left_out |= {"lora"}
        if any(stage.method == "lora" and stage.lora.dropout for stage in self.stages):
            left_out -= {"micro_batch_tokens", "parallel"}
        return {key: value for key, value in sampled(self, {}).items() if key not in left_out}

    @property
    def stages(self) -> list[TrainingSpec]:
        """This training, and that of users' own adapters, if any."""
        return [self] if self.per_user is None else [self, self.user_stage]

    @property
    def user_stage(self) -> TrainingSpec:
        """The settings of one user's adapter."""
        own = self.per_user
        assert own is not None
        lora = LoraSpec(
            rank=own.rank, alpha=own.alpha, dropout=own.dropout, target_modules=own.target_modules
        )
        named = {key: getattr(own, key) for key in ("epochs", "batch_size", "learning_rate")}
        for key in ("schedule", "warmup_ratio", "weight_decay", "max_grad_norm"):
            if getattr(own, key) is not None:
                named[key] = getattr(own, key)
        return self.model_copy(update={"method": "lora", "lora": lora, "per_user": None, **named})


ROUNDING_ONLY = frozenset({"micro_batch_tokens", "gradient_checkpointing", "parallel", "save_every"})
"""TrainingSpec keys that affect memory, speed and rounding but never the update: they may be changed to run
on another machine, keeping finished cells and resuming others. `TrainingSpec.inputs` has the exceptions."""


class MethodRow(Strict):
    """A trainer or identifier with hyperparameters; a list as a value is an axis of the grid."""

    name: str
    params: dict[str, Any] = {}


class TrainerRow(MethodRow):
    """A trainer that may have its own `training` settings: TrainingSpec keys that replace the matrix's for
    it; a list as a value is an axis here, too.

    A hyperparameter or training key may have a value, or a list, for each source: {"fam/a": 1e-5, "fam/b":
    2e-5}. `sources` restricts the row to some of the matrix's sources, by task or name in tables; `targets`
    replace the matrix's for its models.
    """

    training: dict[str, Any] = {}
    sources: Annotated[list[str], NonEmpty] | None = None
    targets: Annotated[list[str | TaskRow], NonEmpty] | None = None

    @field_validator("targets", mode="before")
    @classmethod
    def _own(cls, value: object) -> object:
        return listed_own(value)


def listed_own(value: object) -> object:
    """`targets: own` is a list of one."""
    return [OWN] if value == OWN else value


class SelectSpec(Strict):
    """Of the trainings that differ only in the values of `axis` (and in their seeds), one is chosen by its
    score on its own source, and only that one is evaluated on the targets."""

    axis: str | Annotated[list[str], NonEmpty]
    """Training keys ("learning_rate", "lora.rank") or hyperparameters of trainers ("alpha")."""
    on: Literal["val", "test"] = "val"
    """The source's split that chooses. The number of a model that was chosen on the test split is biased
    upward (docs/statistics.md)."""
    by: str = "headline"
    """A metric of the sources, or their headlines."""

    @property
    def axes(self) -> tuple[str, ...]:
        return (self.axis,) if isinstance(self.axis, str) else tuple(self.axis)


class BaselineSpec(Strict):
    """Gains over a trainer's models on another variant of the same task: that which is named `target` by its
    row's `as`."""

    trainer: str
    target: str


class MatrixSpec(Strict):
    """models x trainers x sources x targets x seeds, and their hyperparameter lists.

    `training` holds TrainingSpec keys; a list as a value is an axis of the grid. A source or target is a
    task's name, or a TaskRow that changes keys of its spec. `tasks` overrides keys of a task's spec wherever
    it is named, by dotted path ({"embedded/dialogue": {"dialogue.turns": 3}}). Targets of protocol
    identification are evaluated for every identifier on every base model. Gains are measured against the
    trainer `baseline`. The target OWN, or a row of it, is each model's own source. `profile` is the one of
    the file's `profiles` that was applied (`perbench.specs.profiles`). `engine` serves all `models` of
    weights, whatever their files say: its name, or {name: vllm} with keys of its section.
    """

    summary: str
    models: Annotated[list[str], NonEmpty]
    trainers: list[str | TrainerRow] = []
    sources: list[str | TaskRow] = []
    targets: Annotated[list[str | TaskRow], NonEmpty]
    identifiers: list[str | MethodRow] = []
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], NonEmpty] = [0]
    base_rows: bool = True
    baseline: str | BaselineSpec | None = None
    select: SelectSpec | None = None
    training: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = {}
    profile: str | None = None
    engine: str | dict[str, Any] | None = None

    @field_validator("targets", mode="before")
    @classmethod
    def _own(cls, value: object) -> object:
        return listed_own(value)

    @property
    def base_trainer(self) -> str | None:
        return self.baseline.trainer if isinstance(self.baseline, BaselineSpec) else self.baseline

    @property
    def serving(self) -> dict[str, Any]:
        """`engine` as keys of a model's file: {"engine": "vllm", "vllm": {...}}; empty without one."""
        given = {"name": self.engine} if isinstance(self.engine, str) else dict(self.engine or {})
        name = given.pop("name", None)
        return {} if name is None else {"engine": name, **({name: given} if given else {})}

    @model_validator(mode="after")
    def _consistent(self) -> MatrixSpec:
        faults = []
        if bool(self.trainers) != bool(self.sources):
            given, absent = ("trainers", "sources") if self.trainers else ("sources", "trainers")
            faults.append(f"{given} given without {absent}: name both, or neither for base rows only")
        if not self.trainers and not self.base_rows and not self.identifiers:
            faults.append("nothing to run: no trainers, no base_rows, no identifiers")
        names = [row if isinstance(row, str) else row.name for row in self.trainers]
        if (base := self.base_trainer) is not None and base not in names:
            faults.append(f"baseline {base!r} is not among the trainers.{suggest(base, names)}")
        for axis in ("models", "sources", "targets", "seeds"):
            values = getattr(self, axis)
            if axis in ("sources", "targets"):
                values = [variant.label() for variant in task_variants(values)]
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                faults.append(f"{axis} names {', '.join(twice)} twice; remove one")
        if isinstance(self.engine, dict) and not isinstance(self.engine.get("name"), str):
            faults.append("engine: name the engine, too: {name: vllm, ...}, or --engine vllm")
        refuse(faults)
        return self
