"""What a training shows of itself: exact over any split, one row per update, resumed without a double."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.api import TokenBatch, Trainer
from perbench.disk.sealed import SealedJournal
from perbench.errors import PerbenchError
from perbench.plugins import load_trainer
from perbench.training import FitResult
from perbench.training.watch import Distribution, Recorder, Watched, WatchTally, check_tracker

Train = Callable[..., FitResult]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def spread(values: list[float], bounds: tuple[float, float] | None, parts: int = 1) -> Distribution:
    tally = WatchTally()
    for start in range(parts):
        tally.add({"weight": Watched(torch.tensor(values[start::parts]), bounds)})
    return tally.spreads()["weight"]


def test_spread_by_hand() -> None:
    found = spread([0.8, 0.8, 1.0, 2.9, 5.0], (0.8, 5.0))
    assert found.mean == pytest.approx(10.5 / 5)
    assert (found.min, found.max) == (pytest.approx(0.8), 5.0)
    assert (found.at_low, found.at_high) == (0.4, 0.2)  # although 0.8 is no float32
    # Sixteen bins of 0.2625: 1.0 lies in the first, 2.9 begins the ninth, 5.0 closes the last.
    assert found.counts == [3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert found.row()["histogram"] == {"from": pytest.approx(0.8), "to": 5.0, "counts": found.counts}


def test_spread_without_bounds_takes_the_values_own_range() -> None:
    found = spread([0.0, 1.0, 4.0], None)
    assert (found.low, found.high, found.at_low, found.at_high) == (0.0, 4.0, None, None)
    assert (found.counts[0], found.counts[4], found.counts[15]) == (1, 1, 1)
    assert set(found.row()) == {"mean", "min", "max", "histogram"}
    assert spread([2.0, 2.0], None).row()["histogram"]["counts"].count(0) == 15
    assert spread([0.1, 0.9], (0.9, 0.1)).at_low == 0.5  # bounds in either order


def test_spread_of_values_that_are_not_finite() -> None:
    inf, nan = float("inf"), float("nan")
    found = spread([1.0, nan, 3.0, inf, -inf], (0.0, 3.0))
    assert (found.mean, found.min, found.max, found.at_low, found.at_high) == (2.0, 1.0, 3.0, 0.0, 0.5)
    assert sum(found.counts) == 2
    assert found.scalars["not_finite"] == 3
    none = spread([nan, inf], None)
    assert (none.mean, none.scalars, sum(none.counts)) == (None, {"not_finite": 2}, 0)
    json.dumps(none.row(), allow_nan=False)
    half = spread([1.0, 2.0, 3.0], (2.0, inf))
    assert (half.low, half.high, half.at_low, half.at_high) == (2.0, 3.0, pytest.approx(2 / 3), 0.0)


def test_spread_of_neighbouring_and_of_huge_values() -> None:
    near = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0)).item()
    assert spread([1.0, near], None).counts == [1, *[0] * 14, 1]
    assert spread([-3e38, 3e38], None).counts == [1, *[0] * 14, 1]


def test_spread_is_the_same_for_any_split() -> None:
    values = (torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 6).tolist()
    assert spread(values, (0.8, 5.0)) == spread(values, (0.8, 5.0), parts=7)


def test_weights_of_an_update_do_not_depend_on_micro_batches(train: Train, tmp_path: Path) -> None:
    for name, size in (("whole", 100_000), ("split", 1)):
        train("perce", folder=name, epochs=0.4, micro_batch_tokens=size, log=tmp_path / f"{name}.jsonl")
    (whole,), (split,) = (rows(tmp_path / f"{name}.jsonl") for name in ("whole", "split"))
    assert split["weight"]["mean"] == pytest.approx(whole["weight"]["mean"], rel=1e-5)
    for key in ("at_low", "at_high", "histogram"):
        assert split["weight"][key] == whole["weight"][key]
    tokens = sum(whole["weight"]["histogram"]["counts"])
    assert whole["weight"]["at_low"] * tokens == pytest.approx(round(whole["weight"]["at_low"] * tokens))


class Stop(Exception):
    pass


def stop_after(step: int) -> Callable[[int, int, dict[str, float]], None]:
    def tick(done: int, total: int, figures: dict[str, float]) -> None:
        if done == step and figures:
            raise Stop

    return tick


def test_one_row_per_update_whatever_the_interruptions(train: Train, tmp_path: Path) -> None:
    log = tmp_path / "training.jsonl"
    whole = train("perce", folder="whole", log=tmp_path / "whole.jsonl")
    for step in (1, 3, 4):  # before the first checkpoint, between two, right at one
        with pytest.raises(Stop):
            train("perce", tick=stop_after(step), log=log)
    with log.open("a") as file:
        file.write('{"step": 5, "lo')  # torn by a kill
    train("perce", log=log)
    found, expected = rows(log), rows(tmp_path / "whole.jsonl")
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5]
    for ours, theirs, entry in zip(found, expected, whole.log, strict=True):
        for name in ("tokens_per_second", "peak_memory_mb", "sha256"):
            assert ours.pop(name)
            del theirs[name]
        assert ours == theirs
        assert ours["loss"] == entry["loss"]
        assert ours["weight"]["mean"] == entry["weight_mean"]
    assert set(found[0]) == {"step", "loss", "lr", "grad_norm", "weight"}
    train("perce", log=log)
    assert len(rows(log)) == 5


def test_a_row_that_is_not_what_was_written_is_dropped_with_those_after_it(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "training.jsonl"
    with pytest.raises(Stop):
        train("perce", tick=stop_after(4), log=log)
    log.write_text(log.read_text().replace('"step": 2', '"step": 3'))
    train("perce", log=log)
    assert [row["step"] for row in rows(log)] == [1, 5]
    assert f"{log}:2: not what was written there; 3 rows" in capsys.readouterr().err
    log.write_text(log.read_text().replace('"step": 5', '"step": 4'))
    train("perce", log=log)  # which has ended: what is recorded is checked all the same
    assert [row["step"] for row in rows(log)] == [1]


def test_a_loss_that_watches_nothing_has_rows_too(train: Train, tmp_path: Path) -> None:
    train("ce", epochs=0.4, log=tmp_path / "log.jsonl")
    assert set(rows(tmp_path / "log.jsonl")[0]) == {
        *("step", "loss", "lr", "grad_norm", "tokens_per_second", "peak_memory_mb", "sha256")
    }


class Progressing(Trainer):
    def loss(self, batch: TokenBatch) -> Any:
        logp = batch.factual.logp
        batch.watch("progress", torch.full_like(logp, batch.progress))
        return -logp, torch.ones_like(logp)


class Broken(Trainer):
    """Watches weights without a finite one, or by a name of the row's own."""

    name: str

    def loss(self, batch: TokenBatch) -> Any:
        logp = batch.factual.logp
        batch.watch(self.name, torch.full_like(logp, float("nan")))
        return -logp, torch.ones_like(logp)


def test_what_is_watched_cannot_break_a_training(train: Train, tmp_path: Path) -> None:
    result = train(Broken(name="weight"), epochs=0.4, log=tmp_path / "log.jsonl")
    (row,) = rows(tmp_path / "log.jsonl")
    assert row["weight"]["mean"] is None
    assert row["weight"]["not_finite"] == result.log[0]["weight_not_finite"] > 0
    for name in (*row, "tok/s", "MB"):
        if name != "weight":
            with pytest.raises(PerbenchError, match=f"Broken.loss watches {name!r}.*another name"):
                train(Broken(name=name), folder="refused", epochs=0.4)


def test_progress_runs_from_zero_to_one(train: Train) -> None:
    log = train(Progressing(), micro_batch_tokens=1).log
    assert [entry["progress_mean"] for entry in log] == [0, 0.25, 0.5, 0.75, 1]
    assert train(Progressing(), folder="one", epochs=0.1).log[0]["progress_mean"] == 0


def test_perce_opens_its_bounds_over_the_training(train: Train, tmp_path: Path) -> None:
    train(load_trainer("perce", {"open_over": 0.5}), log=tmp_path / "log.jsonl")
    spreads = [row["weight"]["histogram"] for row in rows(tmp_path / "log.jsonl")]
    assert [spread["from"] for spread in spreads] == pytest.approx([1, 0.9, 0.8, 0.8, 0.8])
    assert [spread["to"] for spread in spreads] == pytest.approx([1, 3, 5, 5, 5])


PROCESSES = """
import json, os, sys
import torch, torch.multiprocessing as mp

def work(rank, port):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                      MASTER_PORT=port)
    from perbench import processes
    from perbench.training.watch import WatchTally, Watched
    values = torch.arange(10.0)
    tally = WatchTally()
    if rank == 0 or len(sys.argv) == 2:
        tally.add({"weight": Watched(values[rank::2], (1.0, 8.0))})
    found = tally.spreads()["weight"].row()
    if rank == 1:
        print(json.dumps(found))
    processes.close()

if __name__ == "__main__":
    mp.spawn(work, (sys.argv[1],), nprocs=2)
"""


def test_processes_are_tallied_together(tmp_path: Path, free_port: str) -> None:
    script = tmp_path / "two.py"
    script.write_text(PROCESSES)
    done = subprocess.run(
        [sys.executable, str(script), free_port], capture_output=True, text=True, check=True
    )
    expected = spread([float(value) for value in range(10)], (1.0, 8.0)).row()
    assert json.loads(done.stdout.splitlines()[-1]) == expected


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PerbenchError, match=r"trackio.*pip install 'perbench\[track\]'"):
        check_tracker("trackio")
    check_tracker(None)


def test_tensorboard_gets_the_figures_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from accelerate.state import PartialState
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    PartialState._reset_state()  # as in a process in which nothing has set it up
    found = spread([1.0, 5.0], (0.8, 5.0))
    for first, steps in ((0, (1, 2, 3)), (2, (3, 4))):  # killed after the third, resumed from the second
        recorder = Recorder(SealedJournal(tmp_path / "training.jsonl", "cell"), "tensorboard", first)
        for step in steps:
            recorder.update(step, {"loss": step + first / 10}, {"weight": found})
        recorder.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (1, 1.0),
        (2, 2.0),
        (3, pytest.approx(3.2)),
        (4, pytest.approx(4.2)),
    ]
    assert [event.value for event in events.Scalars("weight/at_high")] == [0.5] * 4
    assert [row["step"] for row in rows(tmp_path / "training.jsonl")] == [1, 2, 3, 4]
