"""Run directories made of records written by hand, as the store lays them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perbench.contracts.metric import mean_metric
from perbench.disk.digests import canonical_digest
from perbench.store import CellRecord, Failure, Labels, Metric, RunDir, Scores, TurnValue
from tests.site.filled import fill
from tests.site.made import Shape, write_run


class Bench:
    """Writes cells into one run directory; every call returns the record it wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.run = RunDir(path)

    def describe(self, *planned: Labels, **spec: Any) -> None:
        spec = {"summary": "A synthetic matrix.", "models": ["tiny"], "targets": ["fam/write"], **spec}
        cells = {f"{number:064x}": labels for number, labels in enumerate(planned)}
        command = "perbench run --matrix m"
        self.run.describe(matrix="m", spec=spec, command=command, started="2026-01-01", cells=cells)

    def cell(
        self,
        kind: str,
        labels: Labels,
        scores: Scores | None = None,
        samples: Sequence[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> CellRecord:
        inputs = fields.pop(
            "inputs", {"data": "d" * 64, "target": {"name": labels.target}, "seed": labels.seed}
        )
        # Labels are no inputs; what no table compares makes these cells others.
        inputs = {**inputs, "seed": canonical_digest([kind, labels.model_dump(mode="json")])}
        identity = canonical_digest(inputs)
        record = CellRecord.model_validate(
            {
                "kind": kind,
                "identity": identity,
                "inputs": inputs,
                "status": "done",
                "labels": labels,
                "seconds": 12.5,
                "peak_memory_mb": 321,
                "started": "2026-01-01T10:00:00+00:00",
                "finished": "2026-01-01T10:00:12+00:00",
                "environment": {"perbench": "0.1.0", "packages": {"numpy": "2.0"}},
                "command": "perbench run --matrix m",
                **fields,
            }
        )
        cell = self.run.cell(record.kind, identity)
        cell.begin()
        cell.append(samples)
        if scores is not None:
            cell.write_scores(scores)
        (cell.finish if record.status == "done" else cell.fail)(record)
        return record

    def evaluate(
        self,
        values: Sequence[float | None] | None,
        *,
        trainer: str | None = None,
        source: str | None = None,
        target: str = "fam/write",
        model: str = "tiny",
        seed: int = 0,
        users: Sequence[str] | None = None,
        headline: str = "rougeL",
        turns: Sequence[float | None] = (),
        beside: Mapping[str, float] | None = None,
        labels: dict[str, Any] | None = None,
        **fields: Any,
    ) -> CellRecord:
        """An eval cell with the given per-sample headline scores; None instead of a list makes it fail."""
        label = Labels(
            model=model, trainer=trainer, source=source, target=target, seed=seed, **(labels or {})
        )
        if values is None:
            error = Failure(type="CellError", message="loss is nan at step 3", traceback="Traceback: here")
            return self.cell("eval", label, status="failed", error=error, headline=headline, **fields)
        users = users or [f"u{i}" for i in range(len(values))]
        by_turn = [TurnValue(turn=i + 1, value=v, ci=None, n=3) for i, v in enumerate(turns)]
        metric = mean_metric(values, users, f"{headline}|test").model_copy(update={"by_turn": by_turn})
        scores = Scores(
            ids=[f"s{i}" for i in range(len(values))], clusters=list(users), scores={headline: list(values)}
        )
        others = {
            name: Metric(value=v, n=3, signature=f"{name}|{headline}|x") for name, v in (beside or {}).items()
        }
        fields = {"headline": headline, "metrics": {headline: metric, **others}, **fields}
        return self.cell("eval", label, scores, **fields)

    def identify(
        self,
        identifier: str,
        f1: float,
        *,
        target: str = "fam/spans",
        model: str = "tiny",
        label: str | None = None,
        **fields: Any,
    ) -> CellRecord:
        labels = Labels(model=model, model_label=label, identifier=identifier, target=target, seed=0)
        metrics = {
            name: Metric(value=value, ci=(value - 0.1, value + 0.1), users=8, n=40, signature=f"{name}|words")
            for name, value in (("f1", f1), ("precision", f1 + 0.05), ("recall", f1 - 0.05))
        }
        fields = {"metrics": metrics, "headline": "f1", "counts": {"samples": 50}, **fields}
        return self.cell("identify", labels, **fields)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "run")


@pytest.fixture
def new_bench(tmp_path: Path) -> Callable[[str], Bench]:
    return lambda name: Bench(tmp_path / name)


@dataclass(frozen=True)
class Board:
    """A built site and the runs it shows."""

    site: Path
    runs: tuple[Path, ...]


def build_all(runs: Sequence[Path], out: Path) -> Path:
    """The site with all samples, as `perbench leaderboard build` makes it."""
    from perbench.matrix.reading import SampleReader
    from perbench.site import build
    from perbench.site.cells import SampleTexts

    return build(runs, out, texts=SampleTexts(SampleReader({})))


def build_board(folder: Path, shape: Shape) -> Board:
    """The site of an invented run and of the golden one, which has every protocol."""
    runs = (write_run(folder / "made", shape), Path(__file__).parents[1] / "golden" / "finished")
    build_all(runs, folder / "site")
    return Board(folder / "site", runs)


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return build_board(tmp_path_factory.mktemp("board"), Shape(trainers=3, sources=2, targets=4, seeds=2))


@pytest.fixture
def full(bench: Bench) -> Bench:
    fill(bench)
    return bench
