"""Interrupted by a signal, a training keeps every update that it finished, and ends with the same bits."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from perbench.console.signals import Interrupted, ending_interrupts, held
from perbench.training import FitResult, network
from perbench.training.checkpoint import Checkpoints
from perbench.training.watch import Recorder

Train = Callable[..., FitResult]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the command line; a background job starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with ending_interrupts():
        yield
    signal.signal(signal.SIGINT, before)


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def steps(log: Path) -> list[int]:
    return [json.loads(line)["step"] for line in log.read_text().splitlines()]


def signal_at(owner: Any, name: str, call: int, signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the signal in the midst of the `call`-th call of a function, which then goes on."""
    original, calls = getattr(owner, name), 0

    def interrupted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signum)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, interrupted)


PLACES: list[tuple[Any, str, int, int]] = [
    # owner, function, its call, updates that are kept at least
    (torch.Tensor, "backward", 4, 3),  # in the fourth update, before its gradients
    (torch.nn.utils, "clip_grad_norm_", 3, 2),  # before its weights move
    (torch.optim.AdamW, "step", 3, 3),  # while they move
    (Recorder, "update", 1, 1),  # moved, not logged yet
    (Checkpoints, "save", 1, 2),  # before the first checkpoint of the schedule
    (network, "reference_logp", 1, 0),  # before the first update
]


CASES = [(place, signal.SIGINT) for place in PLACES]
CASES += [(PLACES[0], signal.SIGTERM), (PLACES[2], signal.SIGHUP)]


@pytest.mark.parametrize(
    ("place", "signum"), CASES, ids=lambda one: one[1] if isinstance(one, tuple) else one
)
def test_a_signal_loses_at_most_the_update_it_meets(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[Any, str, int, int],
    signum: signal.Signals,
) -> None:
    owner, name, call, kept = place
    whole = train(folder="whole")
    log = tmp_path / "training.jsonl"
    with monkeypatch.context() as patch:
        signal_at(owner, name, call, signum, patch)
        with pytest.raises(KeyboardInterrupt) as stopped:
            train(log=log)
    code = stopped.value.exit_code if isinstance(stopped.value, Interrupted) else 130
    assert code == 128 + signum
    checkpoints = [path.name for path in (tmp_path / "run").glob("step-*")]
    assert checkpoints == ([f"step-{kept:06d}"] if kept else [])
    starts: list[int] = []
    resumed = train(log=log, tick=lambda done, total, figures: starts.append(done))
    assert starts[0] == kept
    assert weights(resumed.checkpoint) == weights(whole.checkpoint)
    assert [row["step"] for row in resumed.log] == [row["step"] for row in whole.log]
    assert steps(log) == [1, 2, 3, 4, 5]


def test_a_second_signal_does_not_wait() -> None:
    reached = []

    def twice() -> None:
        with held() as signals:
            signal.raise_signal(signal.SIGINT)
            reached.append(signals.signum)
            signal.raise_signal(signal.SIGINT)
            reached.append(None)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert reached == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with ending_interrupts(), held() as signals:
            signal.raise_signal(signal.SIGHUP)
        assert signals.signum is None
    finally:
        signal.signal(signal.SIGHUP, before)
