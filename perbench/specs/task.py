"""TaskSpec: one YAML file under `tasks/`. Its name is its path there without the suffix."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perbench.errors import suggest
from perbench.specs.base import Strict
from perbench.specs.dialogue import DialogueSpec
from perbench.specs.identification import IDENTIFICATION_METRICS
from perbench.specs.persona import PersonaSpec
from perbench.specs.preference import PREFERENCE_METRICS, PreferenceSpec
from perbench.specs.readers import unread
from perbench.specs.registry import METRICS, PROTOCOLS, SOURCES, one_of
from perbench.specs.sampling import DecodingSpec, SamplingSpec
from perbench.specs.templates import Count, placeholders, refuse, template_faults


class SplitSpec(Strict):
    """How one file of rows becomes a part to train on and a part to test on (perbench.data.split)."""

    by: Literal["user", "row"]
    """Whether all rows of a user stay together, so that the tested users are new ones."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The share of the users, or rows, that are tested."""
    seed: Annotated[int, Field(ge=0)] = 0


class DataSpec(Strict):
    """Where rows come from: exactly one of `python`, `hub`, `files`, `prepared`, `lm_eval`.

    python: "package.module:function", called with the split's name, yields rows (mappings);
    hub: a dataset repository `owner/name` with `config` and `revision`;
    files: a JSONL file (one split) or a folder of <split>.jsonl, relative to the YAML file;
    prepared: the family whose rows `perbench data prepare` wrote into the user cache, of them `config`;
    lm_eval: a task of lm-evaluation-harness, which reads its own documents.
    `shared`: a folder beside `config` whose one row's fields are every row's, so that they are stored once.
    `split` cuts a single file in two; without it, such a file serves a matrix as a source or as a target.
    `data_dir` replaces hub and cache by a local folder holding <config>/<split>.jsonl; `--data FAMILY=DIR`
    sets it.
    """

    python: str | None = None
    requires: str | None = None
    """The pip requirement a `python` source needs, for the message when it is missing."""
    hub: str | None = None
    config: str | None = None
    shared: str | None = None
    revision: str | None = None
    files: str | None = None
    prepared: str | None = None
    lm_eval: str | None = None
    data_dir: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    split: SplitSpec | None = None
    overlap: Literal["accepted"] | None = None
    """Of a target: evaluate it even after a training that saw some of its answers (perbench.data.overlap)."""

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            told = ", ".join(SOURCES)
            raise ValueError(f"give exactly one of {told} (got {', '.join(given) or 'none'})")
        if self.python is not None and self.python.count(":") != 1:
            raise ValueError("python must be 'package.module:function'")
        if self.prepared is not None and self.config is None:
            raise ValueError("prepared needs a config, a folder of the prepared family")
        if self.data_dir is not None and (self.config is None or (self.hub or self.prepared) is None):
            raise ValueError("data_dir stands in for a hub dataset or prepared family with a config")
        if self.shared is not None and (self.config is None or (self.hub or self.prepared) is None):
            raise ValueError("shared is a folder of a hub dataset or prepared family, beside config")
        if self.split is not None and {"train_split", "test_split"} & self.model_fields_set:
            raise ValueError("split names no files: remove train_split and test_split")
        (source,) = given
        unknown = unread(self, {source, *SOURCES[source]})
        refuse([f"{key}: has no reader beside data.{source}; remove it" for key in unknown])
        return self


class ItemExampleSpec(Strict):
    """How a history item becomes a training example of its user (`training.per_user`): templates over the
    item's fields. Fields of `fields.extra` are taken from the item's of the same name."""

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
    """May be absent under protocol identification, where then every distinct persona is a user."""
    question: str | None = None
    reference: str | None = None
    persona: str | None = None
    """A list of strings or of mappings; a string counts as {"text": string}."""
    item_aliases: dict[str, str] = {}
    """Older names of a persona item's fields: {missing name: name to read instead}."""
    item_example: ItemExampleSpec | None = None
    item_text: str | None = None
    """Of bm25 and dense: the text of a history item that is compared with the request, a template over the
    item's fields; None: the item as the prompt form renders it."""
    extra: list[str] = []
    """Row fields carried through in Example.extra (gold spans, ratings); prompts may hold them."""

    @model_validator(mode="after")
    def _braces(self) -> FieldSpec:
        refuse(template_faults("item_text", self.item_text))
        return self


class PromptSpec(Strict):
    """One prompt form. `{persona}` is the joined, trimmed items; `{question}` the user's request; row fields
    that `fields.extra` lists may stand in it, too. In `item` stand the item's fields, and `{number}`, its
    place in the history, from 1.

    Without the persona: a `system` that holds {persona} is dropped unless `system_without` replaces it;
    a `user` that holds {persona} needs `user_without`. (PerCE, App. D.1: drop the system prompt, keep the
    turn.)
    """

    system: str | None = None
    user: str = "{question}"
    item: str
    join: str = "\n\n"
    system_without: str | None = None
    user_without: str | None = None

    @model_validator(mode="after")
    def _braces(self) -> PromptSpec:
        names = ("item", "system", "user", "system_without", "user_without")
        refuse([fault for name in names for fault in template_faults(name, getattr(self, name))])
        return self

    def faults(self, name: str, extra: Collection[str]) -> list[str]:
        """What is wrong with the placeholders of form `name`, given the row fields it may hold."""
        faults = []
        for key in ("system", "user", "system_without", "user_without"):
            allowed = {"question", *extra, *(() if key.endswith("without") else ("persona",))}
            faults += template_faults(f"prompts.{name}.{key}", getattr(self, key), allowed)
        if faults:
            return faults
        holds = [key for key in ("system", "user") if "persona" in placeholders(getattr(self, key) or "")]
        if len(holds) != 1:
            faults.append(f"prompts.{name}: {{persona}} must be in exactly one of system and user")
        if holds == ["user"] and self.user_without is None:
            faults.append(
                f"prompts.{name}: user holds {{persona}}, so user_without must say the persona-free turn"
            )
        without = self.user_without if self.user_without is not None else self.user
        request = {"question", *extra}
        if not (request & placeholders(without) and request & placeholders(self.user)):
            told = " or a field of fields.extra" if extra else ""
            faults.append(f"prompts.{name}: user must hold {{question}}{told}, with the persona and without")
        return faults


class ExamplesSpec(Strict):
    """How many examples are drawn from a split, with a fixed seed, when it holds more; None is all."""

    train: Count | None = 2000
    test: Count | None = 500


SWAP_METRICS = ("persona_swap", "persona_swap_reference")
"""What a `persona_swap` section adds to a task's metrics, and may be its headline."""


class PersonaSwapSpec(Strict):
    """Whether the right persona explains an answer better than other users' (metrics.persona_swap)."""

    others: Count = 4
    """Other users whose personas are tried with every answer; fewer when the test split has fewer."""
    scorer: str | None = None
    """Model whose log-probs decide; None: the model under evaluation as it was before any training, so that
    all rows of a model are measured alike."""


class LmEvalSpec(Strict):
    """How a task of lm-evaluation-harness is put to the model."""

    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """None: as many as the task itself says."""
    chat_template: bool = False


class TaskSpec(Strict):
    """One task. `prompt` names the form in force out of `prompts`."""

    summary: str
    protocol: Annotated[str, one_of(PROTOCOLS)]
    license: str
    notes: str = ""
    data: DataSpec
    fields: FieldSpec = FieldSpec()
    prompt: str | None = None
    prompts: dict[str, PromptSpec] = {}
    persona: PersonaSpec = PersonaSpec()
    examples: ExamplesSpec = ExamplesSpec()
    max_length: Count = 5000
    """Prompt and response together, in tokens; the persona is trimmed to fit, never question or response."""
    on_too_long: Literal["fail", "skip"] = "fail"
    """What becomes of an example that exceeds `max_length`, or the model's context, without any history."""
    max_missing: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of answers that may be missing (refused, filtered...); with more the cell fails."""
    sampling: SamplingSpec = SamplingSpec()
    decoding: DecodingSpec = DecodingSpec()
    metrics: list[Annotated[str, one_of(METRICS)]] = []
    headline: str
    dialogue: DialogueSpec | None = None
    persona_swap: PersonaSwapSpec | None = None
    lm_eval: LmEvalSpec = LmEvalSpec()
    preference: PreferenceSpec | None = None

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        protocol = self.protocol
        faults = [
            f"{key}: has no reader under protocol {protocol}; remove it"
            for key in unread(self, PROTOCOLS[protocol].reads)
        ]
        if (protocol == "lm_eval") != (self.data.lm_eval is not None):
            faults.append("data.lm_eval and protocol lm_eval go together: name both or neither")
        if protocol != "lm_eval":
            faults += self._needs()
        refuse(faults)
        return self

    def _needs(self) -> list[str]:
        """What the protocol cannot do without, and whether the headline is one of its metrics."""
        protocol, faults = self.protocol, []
        needed = ["user"] if protocol != "identification" else []
        needed += ["question"] if protocol == "preference" else []
        prompted = protocol in ("generation", "identification")
        needed += ["question", "reference", "persona"] if prompted else []
        for name in needed:
            if getattr(self.fields, name) is None:
                faults.append(f"fields.{name} is needed by protocol {protocol}")
        if protocol in ("dialogue", "preference") and getattr(self, protocol) is None:
            faults.append(f"protocol {protocol} needs a `{protocol}:` section")
        reads = {
            "identification": ["gold"],
            "dialogue": ["profile", "personality"],
            "preference": ["preference"],
        }
        if absent := [name for name in reads.get(protocol, ()) if name not in self.fields.extra]:
            told = ", ".join(absent)
            faults.append(f"fields.extra: protocol {protocol} reads these fields of a row, too: [{told}]")
        if prompted:
            if self.prompt not in self.prompts:
                faults.append(
                    f"prompt {self.prompt!r} is not one of prompts.{suggest(self.prompt or '', self.prompts)}"
                )
            for name, form in self.prompts.items():
                faults += form.faults(name, self.fields.extra)
        if protocol == "generation" and not self.metrics:
            faults.append("metrics: name at least one")
        elif self.headline not in (known := self._headlines()):
            among = "among metrics" if protocol == "generation" else f"a metric of protocol {protocol}"
            faults.append(f"headline {self.headline!r} is not {among}.{suggest(self.headline, known)}")
        return faults

    def _headlines(self) -> Sequence[str]:
        if self.protocol == "generation":
            return [*self.metrics, *self.swap_metrics]
        if self.protocol == "dialogue":
            return ["rating", "pmi"] if self.dialogue is None or self.dialogue.judge.pmi else ["rating"]
        return PREFERENCE_METRICS if self.protocol == "preference" else IDENTIFICATION_METRICS

    @property
    def single_file(self) -> bool:
        """Whether the rows are those of one file, uncut: the same for training and for testing."""
        files = self.data.files
        return files is not None and files.endswith((".jsonl", ".json")) and self.data.split is None

    @property
    def swap_metrics(self) -> tuple[str, ...]:
        return SWAP_METRICS if self.persona_swap is not None else ()

    @property
    def ranked_text(self) -> str | None:
        """`fields.item_text` where `persona.retrieve` compares texts, None elsewhere."""
        return self.fields.item_text if self.persona.ranking.compares else None

    @property
    def helpers(self) -> set[str]:
        """Models besides the one under evaluation, by registry name: simulator, judges, scorer, and those
        that build the persona."""
        named = set(self.persona.helpers)
        if self.dialogue is not None:
            named |= self.dialogue.models()
        if self.persona_swap is not None and self.persona_swap.scorer is not None:
            named.add(self.persona_swap.scorer)
        if self.preference is not None:
            named.add(self.preference.judge.model)
        return named
