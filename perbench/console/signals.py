"""Turns Ctrl-C and the signals of schedulers and closing terminals into one kind of interrupt."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """KeyboardInterrupt with a message and the exit code, 128 plus the signal's number."""

    def __init__(self, message: str = "interrupted", signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.message, self.signum = message, int(signum)

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


def as_interrupted(error: KeyboardInterrupt) -> Interrupted:
    return error if isinstance(error, Interrupted) else Interrupted()


@contextmanager
def ending_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Interrupted during the block, unless already ignored or handled, or outside
    the main thread."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        free = [one for one in ENDING if signal.getsignal(one) is signal.SIG_DFL]
        before = {one: signal.signal(one, _interrupt) for one in free}
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Handlers of signals are after the block as before it: for libraries that replace them."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: signal.getsignal(one) for one in (signal.SIGINT, *ENDING)}
    try:
        yield
    finally:
        _restore(before)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("terminated" if signum == signal.SIGTERM else "the terminal was closed", signum)


class Held:
    """`signum`: the first signal received while held, or None."""

    signum: int | None = None


@contextmanager
def held(on_first: Callable[[], object] = lambda: None) -> Iterator[Held]:
    """Delay interrupts until the end of the block; `on_first` is called for the first one, and a second one
    is raised at once."""
    found = Held()
    before: dict[signal.Signals, Any] = {}

    def hold(signum: int, frame: FrameType | None) -> None:
        if found.signum is not None:
            _restore(before)
            os.kill(os.getpid(), signum)
        else:
            found.signum = signum
            on_first()

    if threading.current_thread() is threading.main_thread():
        handled = [one for one in (signal.SIGINT, *ENDING) if callable(signal.getsignal(one))]
        before = {one: signal.signal(one, hold) for one in handled}
    try:
        yield found
    finally:
        _restore(before)
        if found.signum is not None:
            signal.raise_signal(found.signum)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for one, handler in handlers.items():
        signal.signal(one, handler)
