"""A run whose matrix selected among learning rates, made of records written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from perbench.matrix.select import decided
from perbench.store import CellRecord, Labels
from perbench.store.selection import Candidate, Choice
from tests.site.conftest import Bench

RATES = (1e-05, 2e-05, 5e-05)
SOURCES = ("fam/read", "fam/write")
BEST = {
    ("ce", "fam/read"): 1e-05,
    ("ce", "fam/write"): 2e-05,
    ("perce", "fam/read"): 2e-05,
    ("perce", "fam/write"): 5e-05,
}
LEVEL = {"ce": 0.2, "perce": 0.3}
USERS = 24


def scores(level: float) -> list[float]:
    """Of USERS users; their mean is `level`."""
    return [level + 0.04 * ((place % 5) - 2) / 2 for place in range(USERS - USERS % 5)]


def trained(bench: Bench, trainer: str, source: str, rate: float, seed: int, **labels: Any) -> CellRecord:
    label = Labels(
        model="tiny", trainer=trainer, training={"learning_rate": rate}, source=source, seed=seed, **labels
    )
    inputs = {
        "model": {"weights_sha256": "w"},
        "trainer": {"name": trainer, "plugin": "p", "params": {}},
        "source": {"name": source},
        "data": "d" * 64,
        "training": {"learning_rate": rate, "epochs": 1.0},
    }
    return bench.cell("train", label, inputs=inputs)


def evaluated(
    bench: Bench, training: CellRecord, target: str, level: float | None, data: str = "test"
) -> CellRecord:
    labels = training.labels
    return bench.evaluate(
        None if level is None else scores(level),
        trainer=labels.trainer,
        source=labels.source,
        target=target,
        seed=labels.seed,
        labels={"training": labels.training},
        trained_by=training.identity,
        inputs={
            "model": {"weights_sha256": "w"},
            "data": data,
            "target": {"name": target.partition(" (")[0], "protocol": "generation"},
        },
    )


def level_of(trainer: str, source: str, rate: float) -> float:
    """The best rate of a trainer on a source is 0.05 better than the others."""
    return LEVEL[trainer] + 0.05 * (BEST[trainer, source] == rate) + 0.01 * SOURCES.index(source)


def choose(
    bench: Bench,
    on: Literal["val", "test"] = "val",
    *,
    failed: Mapping[tuple[str, str, float], Sequence[int]] = {},
    seeds: Sequence[int] = (0, 1),
    finished: bool = True,
    name: str = "m",
    **spec: Any,
) -> list[Choice]:
    """Write the candidates' records, the choices, and, if `finished`, the evaluations of the chosen models on
    their own task and on fam/talk. `failed`: seeds whose evaluation failed, by trainer, source and rate."""
    found, cells = [], dict[str, Labels]()

    def held(record: CellRecord) -> CellRecord:
        cells[record.identity] = record.labels
        return record

    for source in SOURCES:
        for trainer in LEVEL:
            candidates, trainings = [], {}
            for rate in RATES:
                one = Candidate(values={"learning_rate": rate}, trainings=[])
                lost = failed.get((trainer, source, rate), ())
                for seed in seeds:
                    training = held(trained(bench, trainer, source, rate, seed))
                    level = None if seed in lost else level_of(trainer, source, rate)
                    target = f"{source} (validation)" if on == "val" else source
                    cell = held(evaluated(bench, training, target, level, on))
                    one.trainings.append(training.identity)
                    one.cells.append(cell.identity)
                    value = cell.metrics["rougeL"].value if level is not None else None
                    one.scores.update({str(seed): value} if value is not None else {})
                    trainings[rate, seed] = training
                candidates.append(one)
            named = {
                "model": "tiny",
                "trainer": trainer,
                "source": source,
                "metric": "rougeL",
                "better": "higher",
            }
            choice = Choice.model_validate({**named, "on": on, "candidates": candidates})
            choice = decided(choice) if finished else choice
            found.append(choice)
            if choice.winner is None:
                continue
            rate = choice.winner.values["learning_rate"]
            for seed in seeds:
                for target in ("fam/talk",) if on == "test" else (source, "fam/talk"):
                    held(evaluated(bench, trainings[rate, seed], target, level_of(trainer, source, rate)))
    given = {"summary": "A selection.", "models": ["tiny"], "targets": ["own", "fam/talk"], "tasks": {}}
    bench.run.describe(
        matrix=name,
        spec={**given, "baseline": "ce", "select": {"axis": "learning_rate", "on": on}, **spec},
        command=f"perbench run --matrix {name}",
        started="2026-01-01",
        cells=cells,
        choices=found,
    )
    return found
