"""A run directory of any size, made of invented scores and texts and written by the store.

Everything of a record that perbench can check without the tasks follows from it: identities, seals, digests,
means with their intervals. The tasks exist nowhere, so `perbench verify` recomputes no metric. The same shape
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from perbench.contracts.metric import Scale, mean_metric
from perbench.disk.digests import canonical_digest
from perbench.store import CellRecord, Failure, Labels, Metric, RunDir, Scores, TurnValue
from perbench.store.cell import Kind

TRAINERS = ("ce", "perce", "nextquill", "entropy_ce", "long_ce", "loss_ce", "sft", "invented_ce")
"""The baseline first; only the last is not built in."""
GAINS = (0.0, 0.03, 0.02, 0.008, -0.01, 0.004, 0.0, -0.02)
"""What a trainer adds to a score between 0 and 1."""
KINDS = ("generation", "generation", "dialogue", "preference")
"""Of the targets, in turn; sources are of the first kind."""
NAMES = {"generation": "write", "dialogue": "talk", "preference": "wish"}
TURNS = 3
COMMAND = "perbench run --matrix made --out made"
TEXT = (
    "the a my and but of with from near over kettle tram harbour bread seed lamp river letter garden quiet "
    "early tired walked kept said wrote found never always Sunday winter uncle"
)
WORDS = TEXT.split()
EVERY = 211
"""Of so many evaluations one failed, one was not run, one was cut short and one was planned anew."""


@dataclass(frozen=True)
class Shape:
    """How many of each; `each`: samples of a user."""

    models: int = 1
    trainers: int = 3
    sources: int = 2
    targets: int = 4
    seeds: int = 2
    users: int = 8
    each: int = 2
    identifiers: int = 2

    @property
    def evaluations(self) -> int:
        return self.models * (1 + self.trainers * self.sources) * self.targets * self.seeds

    @property
    def names(self) -> dict[str, list[str]]:
        """By key of a matrix; without identifiers."""
        return {
            "models": [f"sample-{place + 1}b" for place in range(self.models)],
            "trainers": list(TRAINERS[: self.trainers]),
            "sources": [task(place) for place in range(2 * self.sources) if place % 4 < 2][: self.sources],
            "targets": [task(place) for place in range(self.targets)],
        }


def task(place: int) -> str:
    return f"made/{NAMES[protocol_of(place)]}_{place}"


def protocol_of(place: int) -> str:
    return KINDS[place % len(KINDS)]


@dataclass
class _Made:
    """What is written, and what the plan of run.json holds."""

    run: RunDir
    shape: Shape
    planned: dict[str, Labels] = field(default_factory=dict)
    effects: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def write_run(path: Path, shape: Shape) -> Path:
    """A run directory of that shape, with some cells failed, missing, cut short and superseded."""
    with not_durable():
        return _write_run(path, shape)


@contextmanager
def not_durable() -> Iterator[None]:
    """Invented files need not outlive a power cut, and a busy disk takes its time to see to that."""
    with patch("os.fsync", lambda descriptor: None):
        yield


def _write_run(path: Path, shape: Shape) -> Path:
    made = _Made(RunDir(path), shape)
    names = shape.names
    number = 0
    for model, seed in product(names["models"], range(shape.seeds)):
        for trainer, source in [(None, None), *product(names["trainers"], names["sources"])]:
            trained = _train(made, model, trainer, source, seed) if trainer and source else None
            for place, target in enumerate(names["targets"]):
                labels = Labels(model=model, trainer=trainer, source=source, target=target, seed=seed)
                _evaluate(made, labels, place, trained, number % EVERY)
                number += 1
        for place in range(shape.identifiers if seed == 0 else 0):
            _identify(made, model, ("percontrast", "word_matching", "tfidf")[place])
    made.run.describe(
        matrix="made",
        spec={
            "summary": "Invented scores.",
            "seeds": list(range(shape.seeds)),
            "baseline": "ce",
            "tasks": {},
            **names,
        },
        command=COMMAND,
        started="2026-11-20T08:00:00Z",
        cells=made.planned,
    )
    return path


def _rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng(int(canonical_digest(list(map(str, parts)))[:15], 16))


def _model(name: str) -> dict[str, Any]:
    return {"weights_sha256": canonical_digest(name), "dtype": "auto"}


def _train(made: _Made, model: str, trainer: str, source: str, seed: int) -> str:
    inputs = {
        "version": 2,
        "model": _model(model),
        "trainer": {"name": trainer, "plugin": canonical_digest(trainer), "params": {}},
        "source": {"name": source, "persona": {"k": 8}, "max_length": 1024},
        "data": canonical_digest(source),
        "training": {"method": "lora", "epochs": 1.0, "batch_size": 4, "learning_rate": 2e-4},
        "seed": seed,
    }
    log = [
        {"step": float(step), "loss": 3.4 - 0.2 * step, "lr": 2e-4, "tokens_per_second": 200.0 + step}
        for step in range(1, 5)
    ]
    labels = Labels(model=model, trainer=trainer, source=source, seed=seed)
    fields = {"counts": {"examples": 16, "steps": 4}, "tokens": {"response": 1719, "total": 4975}}
    return _write(made, "train", labels, inputs, training_log=log, **fields)


def _evaluate(made: _Made, labels: Labels, place: int, trained: str | None, state: int) -> None:
    target = {"name": labels.target, "protocol": protocol_of(place), "max_length": 1024}
    inputs = {
        "version": 3,
        "model": _model(labels.model),
        "train": trained,
        "target": target,
        "data": canonical_digest(labels.target),
        "engine": "transformers",
        "seed": labels.seed,
    }
    if state == 3:  # planned, but not run
        made.planned[canonical_digest(inputs)] = labels
        return
    if state == 5:
        error = Failure(type="CellError", message="loss is nan at step 3", traceback="Traceback: invented")
        _write(made, "eval", labels, inputs, trained_by=trained, status="failed", error=error)
        return
    found = _results(made, labels, place)
    counts = {"samples": len(found["samples"]), "truncated": 0, "empty": 0}
    if state == 7:
        counts["truncated"] = len(found["samples"]) // 2
    if state == 11:  # an earlier plan asked for longer prompts
        earlier = {**inputs, "target": {**target, "max_length": 2048}}
        finished = "2026-11-19T10:00:12Z"
        write_cell(
            made.run, "eval", labels, earlier, finished=finished, trained_by=trained, counts=counts, **found
        )
    tokens = {"prompt": 4418, "generated": 512}
    _write(made, "eval", labels, inputs, trained_by=trained, counts=counts, tokens=tokens, **found)


def _results(made: _Made, labels: Labels, place: int) -> dict[str, Any]:
    """Fields of the record, the samples and the scores of an evaluation."""
    shape, protocol = made.shape, protocol_of(place)
    users = [f"u{user:03}" for user in range(shape.users) for _ in range(shape.each)]
    ids = [f"test/{user}/{number}" for number, user in enumerate(users)]
    turns = TURNS if protocol == "dialogue" else 1
    values = _values(made, labels, place, turns)
    rng = _rng(labels.target, labels.model, labels.trainer, labels.source, labels.seed, "texts")
    headline = {"generation": "rougeL", "dialogue": "rating", "preference": "accurate"}[protocol]
    signature = f"{headline}|invented"
    scale = Scale("higher", (1.0, 5.0)) if protocol == "dialogue" else Scale("higher", (0.0, 1.0))
    if protocol == "dialogue":
        parts = list(product(range(len(ids)), range(turns)))
        samples = [
            {
                "id": f"{ids[at]}#{turn + 1}",
                "user": users[at],
                "turn": turn + 1,
                "message": _text(rng),
                "response": _text(rng),
                "finish_reason": "stop",
                "rating": int(values[at, turn]),
                "rating_raw": [str(int(values[at, turn]))],
            }
            for at, turn in parts
        ]
        scores = Scores(
            ids=[str(sample["id"]) for sample in samples],
            clusters=[users[at] for at, _ in parts],
            scores={headline: [float(values[at, turn]) for at, turn in parts]},
        )
        by_turn = [
            TurnValue(turn=turn + 1, value=one.value, ci=one.ci, n=one.n)
            for turn in range(turns)
            for one in [mean_metric(values[:, turn].tolist(), users, signature, scale=scale)]
        ]
    else:
        by_turn = []
        samples = [
            {
                "id": name,
                "user": user,
                "question": f"Write about {_text(_rng(labels.target, name, 'q'), 3)}",
                "reference": _text(_rng(labels.target, name, "reference"), 24),
                "response": _text(rng, 20),
                "finish_reason": "stop",
                "prompt_tokens": 180,
                "new_tokens": 24,
            }
            for name, user in zip(ids, users, strict=True)
        ]
        scores = Scores(ids=ids, clusters=users, scores={headline: values[:, 0].tolist()})
    metric = mean_metric(scores.scores[headline], scores.clusters, signature, scale=scale)
    length = Metric(value=20.0, n=metric.n, users=shape.users, signature="length|words:whitespace")
    metrics = {headline: metric.model_copy(update={"by_turn": by_turn}), "length": length}
    better = {"length": None}
    return {"headline": headline, "metrics": metrics, "better": better, "samples": samples, "scores": scores}


def _values(made: _Made, labels: Labels, place: int, turns: int) -> Any:
    """Scores [N, turns]: what samples and users share on a target, what the trainer adds, and noise."""
    shape, target = made.shape, str(labels.target)
    size = shape.users * shape.each
    if target not in made.effects:
        rng = _rng(target)
        made.effects[target] = (
            np.repeat(rng.normal(0, 0.05, shape.users), shape.each),
            rng.normal(0, 0.06, size),
        )
    user, sample = made.effects[target]
    rng = _rng(target, labels.model, labels.trainer, labels.source, labels.seed, "scores")
    gain = GAINS[TRAINERS.index(labels.trainer)] if labels.trainer else -0.03
    own = 0.02 if labels.source == labels.target else 0.0
    level = 0.3 + 0.04 * shape.names["models"].index(labels.model) + gain + own + rng.normal(0, 0.004)
    found = level + (user + sample)[:, None] + rng.normal(0, 0.03, (size, turns))
    if protocol_of(place) == "dialogue":
        return np.clip(np.rint(1 + 8 * found + 0.2 * np.arange(turns)), 1, 5)
    if protocol_of(place) == "preference":
        return (rng.random((size, turns)) < np.clip(2 * found, 0, 1)).astype(float)
    return np.clip(found, 0, 1)


def _identify(made: _Made, model: str, identifier: str) -> None:
    target = {"name": "made/marks", "protocol": "identification", "max_length": 1024}
    inputs = {
        "version": 3,
        "model": _model(model),
        "identifier": {"name": identifier, "plugin": canonical_digest(identifier), "params": {}},
        "target": target,
        "data": canonical_digest("marks"),
        "engine": "transformers",
    }
    rng = _rng(model, identifier)
    samples = [marked(f"u{place}", rng) for place in range(made.shape.users)]
    metrics = {
        name: Metric(value=value, ci=(value - 0.1, value + 0.1), users=8, n=8, signature=f"{name}|invented")
        for name, value in (("f1", 0.5), ("precision", 0.55), ("recall", 0.45))
    }
    labels = Labels(model=model, identifier=identifier, target="made/marks", seed=0)
    fields: dict[str, Any] = {"counts": {"samples": 8}, "tokens": {"timed_examples": 8, "timed_ms": 400}}
    _write(made, "identify", labels, inputs, samples=samples, metrics=metrics, headline="f1", **fields)


def marked(user: str, rng: np.random.Generator) -> dict[str, Any]:
    """A sample of an identification."""
    return {
        "id": f"test/{user}",
        "split": "test",
        "user": user,
        "persona": ["I am thin.", "I like to hunt."],
        "question": "Ever catch anything?",
        "response": "Got a deer last season.",
        "gold": [[6, 10], [11, 22]],
        "kinds": ["inference", "lexical"],
        "sentences": [1, 1],
        "distractors": [],
        "spans": [[0, 3], [3, 5], [5, 10], [10, 15], [15, 22], [22, 23]],
        "scores": rng.normal(0.5, 1.5, 6).round(3).tolist(),
        "threshold": 1.0,
        "counts": {},
    }


def _text(rng: np.random.Generator, words: int = 8) -> str:
    chosen = " ".join(WORDS[at] for at in rng.integers(0, len(WORDS), words))
    return f"{chosen[0].upper()}{chosen[1:]}."


def write_cell(
    run: RunDir,
    kind: Kind,
    labels: Labels,
    inputs: Mapping[str, Any],
    *,
    samples: Sequence[Mapping[str, Any]] = (),
    scores: Scores | None = None,
    **fields: Any,
) -> CellRecord:
    """A finished cell with its files; `fields` of the record replace invented ones."""
    record = CellRecord.model_validate(
        {
            "kind": kind,
            "identity": canonical_digest(inputs),
            "inputs": inputs,
            "status": "done",
            "labels": labels,
            "seconds": 12.5,
            "peak_memory_mb": 1037,
            "started": "2026-11-20T10:00:00Z",
            "finished": "2026-11-20T10:00:12Z",
            "environment": {"perbench": "0.1.0", "python": "3.11.7", "packages": {"torch": "2.13.0"}},
            "command": COMMAND,
            **fields,
        }
    )
    cell = run.cell(kind, record.identity)
    cell.path.mkdir(parents=True)
    if samples:
        cell.append(samples)
    if scores is not None:
        cell.write_scores(scores)
    (cell.finish if record.status == "done" else cell.fail)(record)
    return record


def _write(made: _Made, kind: Kind, labels: Labels, inputs: Mapping[str, Any], **fields: Any) -> str:
    """A cell of the plan."""
    identity = write_cell(made.run, kind, labels, inputs, **fields).identity
    made.planned[identity] = labels
    return identity
