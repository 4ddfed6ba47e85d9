"""Tests a protocol's contract on the first examples of a task that uses it, with random weights."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from inspect import getfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

from perbench import plugins
from perbench.api import Identifier, PersonaText, TokenScores
from perbench.conformance.report import Fault, Report
from perbench.conformance.tiny import write_model
from perbench.contracts.data import Dataset
from perbench.contracts.engine import Engine, TokenIds
from perbench.contracts.protocol import Protocol, Sample
from perbench.contracts.run import Scored
from perbench.contracts.shown import Shown, tested
from perbench.data import load_examples
from perbench.errors import PerbenchError
from perbench.matrix.engines import open_model
from perbench.progress import counted
from perbench.published.follows import contradictions, recomputed
from perbench.shapes.base import Named, Strict
from perbench.shapes.task import TaskSpec
from perbench.specs import yaml
from perbench.specs.compose import owner_of
from perbench.specs.load import load_model, load_task

S = TypeVar("S", bound=Strict)
EXAMPLES = 18
"""More than two batches of a local model."""
TOKENS = 8
"""Maximum tokens of an answer: random weights never end one."""


class MemoryStore:
    """Stores samples as JSON would. After `fuse` samples it raises, even during an append."""

    class Killed(BaseException):
        """Simulates the death of the process: nothing may catch it."""

    def __init__(self, rows: Sequence[dict[str, Any]] = (), *, fuse: int | None = None) -> None:
        self.rows = list(rows)
        self.fuse = fuse

    def samples(self) -> list[dict[str, Any]]:
        return deepcopy(self.rows)

    def append(self, samples: Sequence[Mapping[str, Any]]) -> None:
        for sample in samples:
            if self.fuse is not None and len(self.rows) >= self.fuse:
                raise self.Killed
            self.rows.append(json.loads(json.dumps(sample, allow_nan=False)))
            for key, value in self.rows[-1].items():
                if sample.get(key) != value:
                    raise Fault(f"sample {sample['id']}: {key} comes back from JSON as {value!r}")

    def arrange(self, ids: Sequence[str]) -> None:
        self.rows.sort(key=lambda row: ids.index(row["id"]))


class ByLength(Identifier):
    """An identifier for protocols that evaluate identifiers."""

    needs_model = False
    threshold: float = 4.5

    def score(self, examples: Sequence[PersonaText], engine: Engine | None) -> list[TokenScores]:
        found = []
        for example in examples:
            words = list(re.finditer(r"\w+", example.response))
            scores = tuple(float(len(word[0])) for word in words)
            found.append(TokenScores(tuple(word.span() for word in words), scores))
        return found


class SoleEngine:
    """One engine for all models."""

    users = None

    def __init__(self, engine: Engine, roles: set[str | None]) -> None:
        self.subject, self._roles = engine, roles

    @contextmanager
    def subject_of(self, user: str | None) -> Iterator[Engine]:
        yield self.subject

    def named(self, model: str) -> Engine:
        if model not in self._roles:
            raise Fault(f"uses the model {model!r}, which roles() does not return, so identities lack it")
        return self.subject

    def scorer(self, model: str | None) -> Engine:
        return self.subject if model is None else self.named(model)

    untrained = True

    def base_logp(self, prompts: Sequence[TokenIds], responses: Sequence[TokenIds]) -> list[Any]:
        return self.subject.score(prompts, responses)


class ProtocolTry:
    def __init__(self, task: Named[TaskSpec], dataset: Dataset, engine: Engine) -> None:
        # Replies of judges with random weights cannot be parsed, and may count as missing.
        spec = _short(task.spec).model_copy(update={"max_missing": 1.0})
        self.owner: Protocol[Any] = owner_of(spec)
        self.name, self.spec, self.dataset = task.name, spec, dataset
        self.engines = SoleEngine(engine, {role.model for role in self.owner.roles()})

    def __call__(self, store: MemoryStore) -> list[dict[str, Any]]:
        """All samples, some of which may be stored."""
        owner, data, engines = self.owner, self.dataset, cast(Any, self.engines)
        ids = owner.sample_ids(data)
        if owner.cells == "identify":
            owner.identify(data, ByLength(), None, store, planned=ids, tick=lambda *_: None)
        else:
            owner.run(data, engines, store, planned=ids, seed=0, tick=lambda *_: None)
        return store.rows


def _short(spec: S) -> S:
    """The spec with every larger `max_new_tokens` reduced to TOKENS."""
    inner = {name: getattr(spec, name) for name in type(spec).model_fields}
    changed: dict[str, Any] = {
        name: _short(value) for name, value in inner.items() if isinstance(value, Strict)
    }
    changed |= {name: min(inner[name], TOKENS) for name in inner if name == "max_new_tokens"}
    return spec.model_copy(update=changed)


def check(cls: type[Protocol[Any]], given: Mapping[str, Any]) -> Report:
    """`given` are keys of the task, by dotted path.

    Raises:
        PerbenchError: no task of the protocol, with data, is available.
    """
    task, dataset = _task(cls, given)
    with TemporaryDirectory() as folder:
        write_model(Path(folder))
        engine = open_model(load_model(folder))
        run = ProtocolTry(task, dataset, engine)
        samples: list[dict[str, Any]] = []
        return Report(run.owner, "score" if cls.cells == "identify" else "batches").run(
            {
                "samples": partial(_samples, run, samples),
                "resume": partial(_resume, run, samples),
                "score": partial(_score, run, samples),
                "shown": partial(_shown, run, samples),
                "plan": partial(_plan, run),
                "audit": partial(_audit, run, samples),
            }
        )


def _task(cls: type[Protocol[Any]], given: Mapping[str, Any]) -> tuple[Named[TaskSpec], Dataset]:
    """A task of the protocol, or one that can be run under it, and its first examples; of several, the one
    nearest to its file."""
    protocol, file = cls.__module__.rpartition(".")[2], getfile(cls)
    found = plugins.discover("task").values()
    users = [task for task in found if yaml.read(task.path).data.get("protocol") == protocol]
    if not users and cls.headline is not None:  # it takes over tasks of others
        users, given = [*found], {**given, "protocol": protocol}
    if not users:
        raise PerbenchError(f"no task has `protocol: {protocol}`; write one with some rows to test it")
    faults = []
    for plugin in sorted(users, key=lambda task: -len(os.path.commonpath([task.path, file]))):
        try:
            task = load_task(plugin.name, overrides=given)
            return task, load_examples(task, "test", EXAMPLES)
        except PerbenchError as error:
            faults.append(f"task {plugin.name}: {error}")
    raise PerbenchError("\n".join([f"no task of protocol {protocol} can be used:", *faults]))


def _samples(run: ProtocolTry, samples: list[dict[str, Any]]) -> str:
    """That the ids match sample_ids() is checked when they are made."""
    samples += run(MemoryStore())
    names = Counter(sample["id"] for sample in samples)
    if len(names) < len(samples):
        raise Fault(f"{names.most_common(1)[0][0]!r} is the id of several samples")
    bare = [sample["id"] for sample in samples if not isinstance(sample.get("user"), str)]
    if bare:
        raise Fault(f"sample {bare[0]} names no user, which intervals need")
    return (
        f"{len(samples)} of {counted(len(run.dataset.examples), 'example')} of task {run.name}, JSON values"
    )


def _resume(run: ProtocolTry, samples: Sequence[Sample]) -> str:
    number = len(samples)
    places = sorted({1, number // 3, 2 * number // 3, number - 1} & {*range(number)})
    for fuse in places:
        store = MemoryStore(fuse=fuse)
        try:
            run(store)
        except MemoryStore.Killed:
            store.fuse = None
        if run(store) != samples:
            raise Fault(
                f"killed after {counted(fuse, 'sample')} and run again, it stores other samples; use a seed "
                "per batch, and make a batch depend only on its ids"
            )
    return f"killed after {', '.join(map(str, places))} samples and run again: the same samples"


def _score(run: ProtocolTry, samples: list[dict[str, Any]]) -> str:
    given = deepcopy(samples)
    scored: object = run.owner.score(given)
    if not isinstance(scored, Scored):
        raise Fault(f"score() returned {type(scored).__name__}; return Scored")
    if given != samples or run.owner.score(given) != scored:
        raise Fault("score() changes the samples, or gives other scores the second time; make it pure")
    if scored.scores.ids != [sample["id"] for sample in samples]:
        raise Fault("the ids of the scores differ from those of the samples")
    if run.spec.headline not in scored.metrics:
        raise Fault(
            f"the headline {run.spec.headline!r} is not among the metrics {', '.join(scored.metrics)}"
        )
    run.owner.checked(given)
    found = recomputed(type(run.owner), scored.metrics, scored.scores)
    for key, old, new in contradictions(scored.metrics, found):
        raise Fault(
            f"{key} is {old}, but {new} by the scores per sample of that name; compute it by mean_metric, "
            "name the scores otherwise, or override implied()"
        )
    return f"pure, of every sample; {counted(len(scored.metrics), 'metric')}, {run.spec.headline} among them"


def _shown(run: ProtocolTry, samples: Sequence[Sample]) -> str:
    groups: dict[str, list[Sample]] = {}
    for sample in tested(deepcopy(samples)):
        groups.setdefault(run.owner.example_of(sample["id"]), []).append(sample)
    examples = {example.id: example for example in run.dataset.examples}
    strange = [name for name in groups if name not in examples and not run.owner.late]
    if strange:
        raise Fault(f"example_of() returns {strange[0]!r}, which is no example's id")
    texts = 0
    without_task: Protocol[Any] = type(run.owner)(None)
    for name, group in groups.items():
        for owner, example in ((run.owner, examples.get(name)), (run.owner, None), (without_task, None)):
            before = deepcopy(group)
            found: object = owner.shown(group, example)
            if not isinstance(found, Shown):
                raise Fault(f"shown() returned {type(found).__name__}; return Shown")
            if found.id != name:
                raise Fault(f"shown() gives the id {found.id!r} to example {name!r}")
            if group != before or owner.shown(group, example) != found:
                raise Fault("shown() changes the samples, or differs the second time; make it pure")
            texts += bool(found.answer or found.missing or any(turn.reply for turn in found.turns))
    if not texts:
        raise Fault("shown() has no text of the model in any sample; set `answer` or `turns`")
    return f"{counted(len(groups), 'example')}, with and without their data and task"


def _plan(run: ProtocolTry) -> str:
    examples, roles = run.dataset.examples, run.owner.roles()
    strange = {*run.owner.asks(examples)} - {"subject", *(role.name for role in roles)}
    if strange:
        raise Fault(f"asks() has {', '.join(sorted(strange))}, which roles() does not return")
    for tokenizer in (None, run.engines.subject.tokenizer):
        tokens, _ = run.owner.work(examples, tokenizer)
        if tokens < 0:
            raise Fault(f"work() returns {tokens} tokens")
    names = [role.name for role in roles if role.model is not None]
    return f"{tokens} tokens, asks {', '.join(names) or 'no model'} beside the one under evaluation"


def _audit(run: ProtocolTry, samples: Sequence[Sample]) -> str:
    metrics = run.owner.score(deepcopy(samples)).metrics
    for metric, beside in type(run.owner).beside.items():
        named = (value for value in vars(beside).values() if isinstance(value, str))
        absent = [name for name in (*named, *beside.shortcuts) if name and name not in metrics]
        if metric in metrics and absent:
            raise Fault(f"beside[{metric!r}] names {absent[0]!r}, which is not among the metrics of score()")
    offers = {example.id: run.owner.offered(example) for example in run.dataset.examples}
    offered = [name for name, one in offers.items() if one is not None]
    if offered and len(offered) < len(offers):
        raise Fault(f"offered() returns answers of example {offered[0]}, but not of every one")
    for name, one in offers.items():
        if one is not None and not (len(one.options) > 1 and 0 <= one.gold < len(one.options)):
            raise Fault(f"offered() returns place {one.gold} among {len(one.options)} answers of {name}")
    accompanied = ", ".join(metric for metric in type(run.owner).beside if metric in metrics)
    return f"answers are {'offered' if offered else 'written'}; metrics beside {accompanied or 'none'}"
