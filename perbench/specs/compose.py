"""Composes specs from their base and the keys of all owners in the current roots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any, Literal, cast

from pydantic import Field, model_validator

from perbench import plugins
from perbench.contracts.base import Inputs, Role
from perbench.contracts.decoding import Decoding
from perbench.contracts.engine_kind import EngineKind
from perbench.contracts.persona import Ranking, Summariser
from perbench.contracts.protocol import Protocol
from perbench.contracts.source import Source
from perbench.errors import PerbenchError, suggest
from perbench.shapes.base import Named, Strict
from perbench.shapes.fields import unread
from perbench.shapes.model import WEIGHTS, ModelSpec
from perbench.shapes.persona import PersonaSpec
from perbench.shapes.sampling import DecodingSpec
from perbench.shapes.task import DataSpec, TaskSpec
from perbench.shapes.templates import refuse
from perbench.specs.keys import Owners, S, absent_keys, composed

ALL = ("summary", "protocol", "license", "redistributable", "notes", "headline", "data")
"""Keys of tasks under every protocol."""


def owners(kind: str) -> Owners:
    """The loadable owners of a kind, by name."""
    return _loaded(_files())[kind]


def protocols() -> Mapping[str, type[Protocol[Any]]]:
    return cast("Mapping[str, type[Protocol[Any]]]", owners("protocol"))


def engines() -> Mapping[str, type[EngineKind[Any]]]:
    return cast("Mapping[str, type[EngineKind[Any]]]", owners("engine"))


def _files() -> tuple[tuple[str, str, str, int], ...]:
    return tuple(
        (kind, name, str(plugin.path), plugin.path.stat().st_mtime_ns)
        for (kind, name), plugin in plugins.discover(*SPECS).items()
    )


@lru_cache(maxsize=8)
def _loaded(files: tuple[tuple[str, str, str, int], ...]) -> dict[str, Owners]:
    return {kind: plugins.classes(kind) for kind in SPECS}


# ---------------------------------------------------------------- owners in force


def owner_of(task: TaskSpec) -> Protocol[Any]:
    """The protocol of a task, instantiated for it."""
    return cast("Protocol[Any]", task.owned["protocol"][task.protocol](task))


def source_of(data: DataSpec) -> Source[Any]:
    """The source of a task's rows."""
    return next(cls for cls in sources(data) if getattr(data, cls.key) is not None)(data)


def sources(data: DataSpec | type[DataSpec]) -> list[type[Source[Any]]]:
    """All sources of rows, including those of protocols."""
    return [cls for owned in data.owned.values() for cls in owned.values()]


def family_in(data: DataSpec) -> str | None:
    """The dataset family that a task names, if any."""
    source = source_of(data)
    return cast(str, getattr(data, source.key)) if source.family else None


def decoding_of(spec: DecodingSpec) -> Decoding[Any]:
    return cast("Decoding[Any]", spec.owned["decoding"][spec.method](spec))


def ranking_of(persona: PersonaSpec) -> Ranking[Any]:
    return cast("Ranking[Any]", persona.owned["ranking"][persona.retrieve](persona))


def summariser_of(persona: PersonaSpec) -> Summariser[Any] | None:
    found = persona.owned["summariser"]
    return None if persona.summarise == "none" else cast("Summariser[Any]", found[persona.summarise](persona))


def engine_name(model: ModelSpec) -> str:
    """The engine of a model: the one its file names, the one whose keys it has, or the default."""
    kinds = model.owned["engine"]
    own = [name for name, cls in kinds.items() if _given(model, cls.Keys.model_fields)]
    return model.engine or [*own, *(name for name, cls in kinds.items() if cls.default)][0]


def engine_of(model: Named[ModelSpec]) -> EngineKind[Any]:
    return cast("EngineKind[Any]", model.spec.owned["engine"][engine_name(model.spec)](model))


def engine_inputs(model: Named[ModelSpec]) -> str | Inputs:
    """A model's engine in identities."""
    engine, name = engine_of(model), engine_name(model.spec)
    if engine.identity is not None:
        return engine.identity
    plugin = engine.version is None
    version = {"plugin": plugins.get("engine", name).digest()} if plugin else {"version": engine.version}
    return {"name": name, **version, **engine.inputs({})}


def served_by(model: Named[ModelSpec]) -> Inputs:
    """The engine's part of a model's identity, if the model does not imply it."""
    found = engine_inputs(model)
    return {} if isinstance(found, str) else {"engine": found}


def _given(spec: Strict, keys: Collection[str]) -> list[str]:
    return [key for key in keys if key in spec.model_fields_set and getattr(spec, key) is not None]


def persona_roles(persona: PersonaSpec) -> list[Role]:
    """The models that build a persona."""
    summariser = summariser_of(persona)
    return [*ranking_of(persona).roles(), *(summariser.roles() if summariser is not None else ())]


def persona_helpers(persona: PersonaSpec) -> list[str]:
    return [role.model for role in persona_roles(persona) if role.model is not None]


def roles_of(task: TaskSpec) -> list[Role]:
    """The models that take part: of the protocol, of its decoding, and those that build the persona."""
    return [
        *owner_of(task).roles(),
        *decoding_of(task.decoding).roles(),
        *persona_roles(task.persona),
    ]


def helpers_of(task: TaskSpec) -> set[str]:
    """Models besides the one under evaluation, by registry name."""
    return {role.model for role in roles_of(task) if role.model is not None}


def ranked_text(task: TaskSpec) -> str | None:
    """`fields.item_text` if `persona.retrieve` compares texts, else None."""
    return task.fields.item_text if "fields.item_text" in ranking_of(task.persona).reads else None


def metric_keys(task: TaskSpec | type[TaskSpec]) -> dict[str, set[str]]:
    """The keys of a task that each metric reads, by the metric's name."""
    return {name: set(cls.Keys.model_fields) for name, cls in task.owned["metric"].items()}


def keys_under(protocol: type[Protocol[Any]], task: TaskSpec | type[TaskSpec]) -> set[str]:
    """The keys of a task that are used under a protocol: its own, those that it reads, that of trainers of
    pairs if its tasks may be sources, and those of metrics of answers, if it has any."""
    keys = {*ALL, *protocol.reads, *protocol.Keys.model_fields, *(["fields.rejected"] * protocol.trains)}
    return keys.union(*metric_keys(task).values()) if "metrics" in protocol.reads else keys


def leading(persona: PersonaSpec) -> Literal["first", "last"]:
    """The end of the ordered items that is kept longest."""
    if ranking_of(persona).keeps_order:
        return persona.priority
    return "first" if persona.order == "best_first" else "last"


# ---------------------------------------------------------------- the whole specs


class _Persona(PersonaSpec):
    @model_validator(mode="after")
    def _complete(self) -> _Persona:
        for part in filter(None, (ranking_of(self), summariser_of(self))):
            refuse([f"{key}: required by {part.called}" for key in absent_keys(type(part), self)])
        return self


class _Decoding(DecodingSpec):
    @model_validator(mode="after")
    def _complete(self) -> _Decoding:
        own = decoding_of(self)
        refuse([f"{key}: required by {own.called}" for key in absent_keys(type(own), self)])
        return self


def _loading(kind: str, spec: type[Strict], values: Any) -> Any:
    """`values`. A key that is unknown because its owner does not load is reported with the reason."""
    unknown = set(values) - set(spec.model_fields) if isinstance(values, dict) else set()
    for name in sorted(unknown & set(plugins.names(kind))) if unknown else ():
        try:
            plugins.get(kind, name).load_class()
        except PerbenchError as error:
            raise ValueError(f"{name}: {error}") from None
    return values


class _Data(DataSpec):
    @model_validator(mode="before")
    @classmethod
    def _loadable(cls, values: Any) -> Any:
        return _loading("source", cls, values)

    @model_validator(mode="after")
    def _one_source(self) -> _Data:
        known = sorted(cls.key for cls in sources(self))
        named = [key for key in known if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"give exactly one of {', '.join(known)} (got {', '.join(named) or 'none'})")
        source = source_of(self)
        reads = {*type(source).Keys.model_fields, *(key.removeprefix("data.") for key in source.reads)}
        unknown = [f"{key}: is not used by data.{source.key}; remove it" for key in unread(self, reads)]
        refuse([*source.faults(), *unknown])
        return self


class _Task(TaskSpec):
    @model_validator(mode="after")
    def _consistent(self) -> _Task:
        owner, name = owner_of(self), self.protocol
        faults = [
            f"{key}: is not used by protocol {name}; remove it"
            for key in unread(self, keys_under(type(owner), self))
        ]
        faults += [
            f"{key}: required by metric {metric}"
            for metric in (self.metrics if "metrics" in owner.reads else ())
            for key in absent_keys(self.owned["metric"][metric], self)
        ]
        faults += [
            f"fields.{key} is required by protocol {name}"
            for key in owner.fields
            if getattr(self.fields, key) is None
        ]
        if absent := [name for name in owner.extra if name not in self.fields.extra]:
            names = ", ".join(absent)
            faults.append(f"fields.extra: protocol {name} also reads these fields of a row: [{names}]")
        faults += self._source_faults(type(source_of(self.data)), owner.source)
        if self.max_prompt is not None and self.max_prompt >= self.max_length:
            faults.append(
                f"max_prompt: {self.max_prompt} leaves nothing of max_length {self.max_length} for an answer"
            )
        if self.on_too_long == "cut" and not owner.trains:
            faults.append(f"on_too_long: protocol {name} has no responses to cut; set skip or fail")
        missing = absent_keys(type(owner), self)
        faults += [f"protocol {name} needs a `{key}:` section" for key in missing]
        if owner.prompted:
            faults += self._prompt_faults()
        if not missing:
            faults += [*owner.faults(), *self._headline_faults(owner.headlines())]
        refuse(faults)
        return self

    def _source_faults(self, given: type[Source[Any]], own: type[Source[Any]] | None) -> Iterator[str]:
        """A protocol's own data can only be used with that protocol."""
        for name, cls in self.owned["protocol"].items() if given is not own else ():
            if cls.source is not None and cls.source in (given, own):
                yield f"data.{cls.source.key} and protocol {name} belong together; name both or neither"

    def _prompt_faults(self) -> list[str]:
        faults = []
        if self.prompt not in self.prompts:
            hint = suggest(self.prompt or "", self.prompts)
            faults.append(f"prompt {self.prompt!r} is not one of prompts.{hint}")
        for name, form in self.prompts.items():
            faults += form.faults(name, self.fields.extra)
        return faults

    def _headline_faults(self, known: Sequence[str] | None) -> list[str]:
        if known is None or self.headline in known:
            return []
        if "metrics" in owner_of(self).reads:
            if not self.metrics:
                return ["metrics: name at least one"]
            return [f"headline {self.headline!r} is not among metrics.{suggest(self.headline, known)}"]
        hint = suggest(self.headline, known)
        return [f"headline {self.headline!r} is not a metric of protocol {self.protocol}.{hint}"]


class _Model(ModelSpec):
    @model_validator(mode="before")
    @classmethod
    def _loadable(cls, values: Any) -> Any:
        return _loading("engine", cls, values)

    @model_validator(mode="after")
    def _served(self) -> _Model:
        name, kinds = engine_name(self), self.owned["engine"]
        engine = kinds[name]
        others = [key for cls in kinds.values() if cls is not engine for key in cls.Keys.model_fields]
        faults = [f"{key}: is not used by engine {name}; remove it" for key in _given(self, others)]
        faults += [f"{key}: required by engine {name}" for key in absent_keys(engine, self)]
        given = _given(self, WEIGHTS)
        if len(given) != engine.weights:
            instead = [key for cls in kinds.values() if not cls.weights for key in cls.Keys.model_fields]
            given += _given(self, instead)
            names = ", ".join((*WEIGHTS, *instead))
            faults = [f"give exactly one of {names} (got {', '.join(given) or 'none'})"]
        refuse(faults)
        return self


@lru_cache(maxsize=8)
def _composed(files: tuple[tuple[str, str, str, int], ...]) -> dict[str, Any]:
    """What `_once` has made for a set of plugin files. It is kept and dropped together, since a task's spec
    holds the class of its persona's."""
    return {}


def _once(make: Callable[[], type[S]]) -> Callable[[], type[S]]:
    """`make`, called once for each set of plugin files."""

    @wraps(make)
    def made() -> type[S]:
        found = _composed(_files())
        if make.__name__ not in found:
            found[make.__name__] = make()
        return cast("type[S]", found[make.__name__])

    return made


@_once
def model_spec() -> type[ModelSpec]:
    """ModelSpec with the keys of all engines."""
    return composed(_Model, {"engine": owners("engine")})


@_once
def persona_spec() -> type[PersonaSpec]:
    """PersonaSpec with the keys of all rankings and summarisers."""
    return composed(_Persona, {kind: owners(kind) for kind in ("ranking", "summariser")})


@_once
def decoding_spec() -> type[DecodingSpec]:
    """DecodingSpec with the keys of all decodings."""
    return composed(_Decoding, {"decoding": owners("decoding")})


@_once
def data_spec() -> type[DataSpec]:
    """DataSpec with the keys of all sources, including those of protocols."""
    own = {name: cls.source for name, cls in protocols().items() if cls.source is not None}
    return composed(_Data, {"protocol": own, "source": owners("source")})


@_once
def task_spec() -> type[TaskSpec]:
    """TaskSpec with the keys of all owners."""
    inner = {"persona": persona_spec(), "decoding": decoding_spec()}
    replaced: dict[str, tuple[Any, Any]] = {
        name: (spec, Field(default_factory=spec)) for name, spec in inner.items()
    }
    replaced["data"] = (data_spec(), ...)
    return composed(_Task, {kind: owners(kind) for kind in ("protocol", "metric")}, replaced)


SPECS: Mapping[str, Callable[[], type[Strict]]] = {
    "protocol": task_spec,
    "metric": task_spec,
    "source": data_spec,
    "decoding": decoding_spec,
    "ranking": persona_spec,
    "summariser": persona_spec,
    "engine": model_spec,
}
"""The spec that the owners of a kind bring their keys to."""
