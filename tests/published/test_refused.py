"""`perbench leaderboard check` refuses forged and broken files, each by its file, key and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perbench import cli
from tests.published.conftest import Edit, forge, one_of, reidentified

WRITING, TALK, MARKS, CE = (
    "base--probe-writing--",
    "base--probe-talk",
    "tfidf",
    "ce--probe-writing--probe-writing--",
)
Value = dict[str, Any]


def record(value: Value, place: int = 0) -> Value:
    found: Value = value["cells"][place]["record"]
    return found


def of(*path: str | int, to: Any) -> Edit:
    """Sets a value below the first cell's record."""

    def edit(value: Value) -> None:
        at = record(value)
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = to

    return edit


def below(*path: str | int, to: Any) -> Edit:
    """Sets a value below the whole file."""

    def edit(value: Value) -> None:
        at: Any = value
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = to

    return edit


def higher(metric: str, column: str | None = None) -> Edit:
    """A better value, its interval moved along."""

    def edit(value: Value) -> None:
        found = record(value)["metrics"][metric]
        found["value"] += 0.01
        if "ci" in found:
            found["ci"] = [end + 0.01 for end in found["ci"]]

    return edit


def narrower(value: Value) -> None:
    found = record(value)["metrics"]["length"]
    middle = found["value"]
    found["ci"] = [middle + 0.5 * (end - middle) for end in found["ci"]]


def better_samples(value: Value) -> None:
    """Answers that deserve more than the scores say."""
    for sample in value["cells"][0]["samples"]:
        sample["response"] = sample["reference"]


def second(value: Value) -> None:
    value["cells"].append(json.loads(json.dumps(value["cells"][0])))


def other_task(value: Value) -> None:
    """A cell of another seed and other settings in the same file."""
    second(value)
    reidentified(record(value, 1), seed=5, data="0" * 64)
    record(value, 1)["labels"]["seed"] = 5


def other_seed(value: Value) -> None:
    record(value)["labels"]["seed"] = 5


def other_inputs(value: Value) -> None:
    record(value)["inputs"]["seed"] = 5
    record(value)["labels"]["seed"] = 5


def hidden_turn(value: Value) -> None:
    record(value)["metrics"]["rating"]["by_turn"][-1]["value"] = 5.0


def more_found(value: Value) -> None:
    """A miss of an identifier counted as found, its F1 left as it was."""
    scores = value["cells"][0]["scores"]["scores"]
    scores["tp"][0] += 1.0


def without_samples(value: Value) -> None:
    """A tenth of the samples lose their scores, and the record does not say so."""
    scores = value["cells"][0]["scores"]["scores"]["rouge1"]
    scores[0] = None


def lost_training(value: Value) -> None:
    value["trainings"] = []


def stray_training(value: Value) -> None:
    second_one = json.loads(json.dumps(value["trainings"][0]))
    reidentified(second_one["record"], seed=5)
    second_one["record"]["labels"]["seed"] = 5
    value["trainings"].append(second_one)


FORGED: dict[str, tuple[str, Edit, str, str]] = {
    # kind: (file, forgery, what the key ends with, what the message holds)
    "another version": (WRITING, below("schema_version", to=2), "schema_version", "version 2"),
    "an unknown key": (WRITING, of("judge", to=1), "cells[0].record.judge", "'judge'"),
    "an unknown key of a metric": (WRITING, of("metrics", "rouge1", "p", to=0.01), "metrics.rouge1.p", "'p'"),
    "a missing key": (WRITING, lambda value: record(value).pop("seconds"), "record.seconds", "missing"),
    "a number as a text": (WRITING, of("seconds", to="3"), "record.seconds", '"3"'),
    "a record of an older perbench": (WRITING, of("schema_version", to=1), "record.schema_version", "1"),
    "no cells": (WRITING, below("cells", to=[]), "cells", "empty"),
    "a value that the scores do not give": (WRITING, higher("rouge1"), "metrics.rouge1.value", "per-sample"),
    "a corpus score that the sums do not give": (WRITING, higher("chrf"), "metrics.chrf.value", "per-sample"),
    "an interval that the scores do not give": (WRITING, narrower, "metrics.length.ci", "per-sample"),
    "F1 that the counts do not give": (MARKS, higher("f1"), "metrics.f1.value", "per-sample"),
    "counts that F1 does not give": (MARKS, more_found, "metrics.f1.value", "per-sample"),
    "a turn's value": (TALK, hidden_turn, "metrics.rating.by_turn", "per-sample"),
    "n of other samples": (WRITING, of("metrics", "rouge1", "n", to=2), "metrics.rouge1.n", "2, but 3"),
    "missing scores that are not counted": (WRITING, without_samples, "metrics.rouge1.missing", "0, but 1"),
    "users of other samples": (
        WRITING,
        of("metrics", "rouge1", "users", to=2),
        "metrics.rouge1.users",
        "2, but 3",
    ),
    "a value outside the bounds": (
        WRITING,
        of("metrics", "rouge1", "value", to=1.5),
        "metrics.rouge1.value",
        "1.5 is outside",
    ),
    "wider bounds": (
        WRITING,
        of("metrics", "chrf", "bounds", to=[0.0, 200.0]),
        "metrics.chrf.bounds",
        "200.0",
    ),
    "bounds upside down": (
        WRITING,
        of("metrics", "chrf", "bounds", to=[1.0, 0.0]),
        "metrics.chrf.bounds",
        "[1.0, 0.0]",
    ),
    "a score outside the bounds": (
        WRITING,
        below("cells", 0, "scores", "scores", "rouge1", 0, to=7.5),
        "scores.scores.rouge1",
        "7.5",
    ),
    "a negative n": (WRITING, of("metrics", "rouge1", "n", to=-3), "metrics.rouge1.n", "-3"),
    "a negative count": (WRITING, of("counts", "truncated", to=-1), "counts.truncated", "-1"),
    "more cut answers than answers": (WRITING, of("counts", "truncated", to=400), "counts.truncated", "400"),
    "fewer samples than scores": (WRITING, of("counts", "samples", to=1), "counts.samples", "1, but"),
    "negative seconds": (WRITING, of("seconds", to=-1.0), "record.seconds", "-1"),
    "negative tokens": (WRITING, of("tokens", "generated", to=-9), "tokens.generated", "-9"),
    "reasons beyond the missing": (
        WRITING,
        of("metrics", "rouge1", "why", to={"refused": 9}),
        "metrics.rouge1.why",
        "9",
    ),
    "an interval without its method": (
        WRITING,
        lambda value: record(value)["metrics"]["length"].pop("ci_method"),
        "metrics.length.ci_method",
        "older",
    ),
    "the other direction": (
        WRITING,
        of("better", "rouge1", to="lower"),
        "better.rouge1",
        "lower, but higher",
    ),
    "a headline that is not there": (WRITING, of("headline", to="charm"), "record.headline", "charm"),
    "a future date": (WRITING, of("finished", to="2999-01-01T00:00:00Z"), "record.finished", "2999"),
    "finished before the start": (
        WRITING,
        of("finished", to="2020-01-01T00:00:00Z"),
        "record.finished",
        "2020",
    ),
    "no date": (WRITING, of("started", to="yesterday"), "record.started", "yesterday"),
    "a date without zone": (WRITING, of("started", to="2026-01-01T00:00:00"), "record.started", "2026-01-01"),
    "inputs of another identity": (WRITING, other_inputs, "record.identity", "inputs"),
    "another identity": (WRITING, of("identity", to="0" * 64), "record.identity", "0000"),
    "labels of another seed": (WRITING, other_seed, "labels.seed", "is 5, but 0"),
    "labels of another trainer": (CE, of("labels", "trainer", to="perce"), "labels", "training"),
    "labels of another target": (
        WRITING,
        of("labels", "target", to="probe/talk"),
        "labels.target",
        "probe/talk",
    ),
    "labels of another identifier": (
        MARKS,
        of("labels", "identifier", to="best"),
        "labels.identifier",
        "best",
    ),
    "a training's label of another source": (
        CE,
        below("trainings", 0, "record", "labels", "source", to="probe/talk"),
        "labels.source",
        "probe/talk",
    ),
    "an evaluation without a target": (WRITING, of("labels", "target", to=None), "labels.target", "null"),
    "an invisible character in a name": (
        WRITING,
        of("labels", "model", to="ti\u202eny"),
        "labels.model",
        "ti",
    ),
    "a name without end": (WRITING, of("labels", "model", to="x" * 5000), "labels.model", "xxx"),
    "no training": (CE, lost_training, "record.trained_by", "not among"),
    "another training": (CE, of("trained_by", to="0" * 64), "record.trained_by", "0000"),
    "a training of nothing": (CE, stray_training, "trainings[1].record.identity", "no model"),
    "a training among the cells": (
        CE,
        lambda value: value["cells"].append(value["trainings"][0]),
        "record.kind",
        "train",
    ),
    "a cell twice": (WRITING, second, "cells[1].record.identity", "also in"),
    "cells of other settings": (WRITING, other_task, "cells[1].record", "more than its seed"),
    "a failed cell with numbers": (WRITING, of("status", to="failed"), "record.error", "failed"),
    "a finished cell without scores": (
        WRITING,
        lambda value: value["cells"][0].pop("scores"),
        "cells[0].scores",
        "missing",
    ),
    "scores of another number of samples": (
        WRITING,
        lambda value: value["cells"][0]["scores"]["clusters"].pop(),
        "cells[0].scores",
        "one entry per sample",
    ),
    "a sample's scores twice": (
        WRITING,
        lambda value: value["cells"][0]["scores"]["ids"].__setitem__(
            0, value["cells"][0]["scores"]["ids"][1]
        ),
        "cells[0].scores",
        "twice",
    ),
    "samples of other scores": (WRITING, better_samples, "cells[0]", "rouge1"),
    "samples that nobody can score": (
        WRITING,
        lambda value: value["cells"][0]["samples"][0].pop("response"),
        "cells[0].samples",
        "cannot be scored",
    ),
    "a sample less": (
        WRITING,
        lambda value: (value["cells"][0]["samples"].pop(), value["cells"][0]["digests"].pop()),
        "cells[0].samples",
        "missing",
    ),
    "fewer digests than samples": (
        TALK,
        lambda value: value["cells"][0]["digests"].clear() or value["cells"][0]["digests"].append("f" * 64),
        "digests",
        "1, but",
    ),
    "a digest that is none": (TALK, below("cells", 0, "digests", 0, to="abc"), "digests[0]", "abc"),
    "samples of a task that forbids it": (
        TALK,
        lambda value: value["cells"][0].update(
            samples=[{"id": name, "response": "hello"} for name in value["cells"][0]["scores"]["ids"]],
            digests=["f" * 64] * len(value["cells"][0]["scores"]["ids"]),
        ),
        "cells[0].samples",
        "Apache-2.0",
    ),
    "a path of a machine": (
        WRITING,
        of("command", to="perbench run --out /home/me/out"),
        "record.command",
        "/home/me",
    ),
    "a run without a name": (WRITING, below("cells", 0, "run", to="a\nb"), "run", "a\\nb"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_file_is_refused_by_its_place(
    files: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, edit, key, what = FORGED[kind]
    path = forge(one_of(files, words), edit)
    assert cli.main(["leaderboard", "check", str(path)]) == 2
    faults = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAULT")]
    mine = [line for line in faults if line.startswith(f"FAULT {path}: ")]
    places = [line.removeprefix(f"FAULT {path}: ").partition(": ") for line in mine]
    assert [place for place, _, rest in places if place.endswith(key) and what in rest], faults
    assert all("; " in line for line in mine)  # the way out
