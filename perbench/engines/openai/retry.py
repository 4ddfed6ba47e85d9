"""Retries requests to an endpoint: how long to wait after a transient failure, and when to give up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from perbench.errors import PerbenchError

T = TypeVar("T")

FIRST_WAIT = 1.0
"""Maximum seconds before the second attempt; the bound doubles with each attempt."""
LONGEST_WAIT = 60.0
PATIENCE = 900.0
"""Seconds from the first to the last attempt: enough for a restart or a renewed limit."""
STRANGERS = 3
"""Attempts at a server that has never answered: its address is probably wrong."""


class Passing(Exception):
    """A failure that may be transient. `wait`: seconds that the server asks to wait, or None; `alive`: the
    server answered; `limited`: all requests must wait, not only this one."""

    def __init__(
        self, message: str, *, wait: float | None = None, alive: bool = False, limited: bool = False
    ) -> None:
        super().__init__(message)
        self.wait = wait
        self.alive = alive
        self.limited = limited


class Halted(Exception):
    """The wait was cut short: another request of the call failed, or the user interrupted."""


async def wait_for(halt: asyncio.Event, seconds: float) -> None:
    """Wait `seconds`, or until `halt` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await halt.wait()


class Retry:
    """Retries the requests of all tasks to one server and keeps them within its rate limit.

    The wait after a failure is drawn from [0, FIRST_WAIT * 2**n], at most LONGEST_WAIT ("full jitter",
    Brooker 2015, Exponential Backoff And Jitter), so that clients that failed together do not return
    together. It is at least what the server asks for. A rate limit holds back all tasks.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[asyncio.Event, float], Awaitable[None]] = wait_for,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._draw = draw
        self._open_at = 0.0
        self._known = False

    async def __call__(
        self,
        ask: Callable[[], Awaitable[T]],
        halt: asyncio.Event,
        say: Callable[[str], None] = lambda line: None,
    ) -> T:
        """Call `ask` until it succeeds and return its result; `say` receives a line before every retry.

        Raises:
            PerbenchError: the last failure, after the patience is exhausted.
            Halted: `halt` was set.
        """
        begun, attempt = self._clock(), 0
        while True:
            await self._until_open(halt)
            if halt.is_set():
                raise Halted
            attempt += 1
            try:
                found = await ask()
            except Passing as failure:
                self._known = self._known or failure.alive
                wait = self._wait(failure, attempt)
                spent = self._clock() - begun
                if (attempt >= STRANGERS and not self._known) or spent + wait > PATIENCE:
                    raise PerbenchError(
                        f"{failure} (given up after {attempt} attempts in {spent:.0f} s"
                        + (f"; the server asks to wait {wait:.0f} s)" if failure.wait else ")")
                    ) from None
                if failure.limited:
                    self.hold(wait)
                    wait = max(0.0, self._open_at - self._clock())
                say(f"{failure}; attempt {attempt + 1} in {wait:.1f} s")
                if not failure.limited:
                    await self._pause(halt, wait)
            else:
                self._known = True
                return found

    def hold(self, seconds: float) -> None:
        """Start no request for `seconds` from now."""
        self._open_at = max(self._open_at, self._clock() + seconds)

    def _wait(self, failure: Passing, attempt: int) -> float:
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 99))
        return max(self._draw() * bound, failure.wait or 0.0)

    async def _until_open(self, halt: asyncio.Event) -> None:
        while (left := self._open_at - self._clock()) > 0 and not halt.is_set():
            # Plus up to a tenth, so that waiting tasks do not all start at once.
            await self._pause(halt, left * (1 + self._draw() / 10))


# ---------------------------------------------------------------- rate limit headers

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str | None) -> float | None:
    """Seconds of "1.5", "20ms", "6m0s" or "1h2m3.5s"; None for anything else."""
    if text is None:
        return None
    if re.fullmatch(r"\d+(?:\.\d+)?", text.strip()):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the reply's headers: `retry-after-ms`, `retry-after` (seconds or a date, RFC 9110
    section 10.2.3), else the time until an exhausted limit is renewed; None without them."""
    milliseconds = seconds_of(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    if given is not None:
        found = seconds_of(given)
        return _until(given) if found is None else found
    return used_up(headers)


def used_up(headers: Mapping[str, str]) -> float | None:
    """Seconds until the exhausted limits are renewed (`x-ratelimit-remaining-requests` and `-tokens` with
    their `-reset-`); None if none is exhausted."""
    waits = [
        seconds_of(headers.get(f"x-ratelimit-reset-{kind}"))
        for kind in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _until(date: str) -> float | None:
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # an invalid date
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
