"""When an endpoint is asked again, how long that waits, when it ends. No test waits: the clock is ours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perbench.engines.openai.retry import (
    FIRST_WAIT,
    LONGEST_WAIT,
    PATIENCE,
    STRANGERS,
    Halted,
    Passing,
    Retry,
    asked_to_wait,
    seconds_of,
    used_up,
)
from perbench.errors import PerbenchError
from tests.engines.standin import Time


class Asking:
    """`Retry` outside a loop; keeps the lines that it says."""

    def __init__(self, retry: Retry) -> None:
        self.retry = retry
        self.lines: list[str] = []

    def __call__(self, ask: Script, halt: asyncio.Event | None = None) -> str:
        async def asked() -> str:
            return await self.retry(ask, halt or asyncio.Event(), self.lines.append)

        return asyncio.run(asked())


def retry(time: Time, draw: float = 1.0) -> Asking:
    return Asking(Retry(clock=time.clock, pause=time.pause, draw=lambda: draw))


class Script:
    """Raises its failures one after the other, then answers."""

    def __init__(self, *failures: Passing) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


def test_the_bound_of_the_wait_doubles_up_to_the_longest() -> None:
    time, script = Time(), Script(*[Passing("busy", alive=True)] * 9)
    assert retry(time)(script) == "answer"
    assert time.waits == [min(LONGEST_WAIT, FIRST_WAIT * 2**n) for n in range(9)]


def test_a_wait_is_drawn_from_nothing_to_its_bound() -> None:
    time = Time()
    retry(time, draw=0.25)(Script(*[Passing("busy", alive=True)] * 2))
    assert time.waits == [0.25, 0.5]


def test_what_the_server_asks_for_is_kept() -> None:
    time = Time()
    retry(time)(Script(Passing("busy", wait=17.0, alive=True)))
    assert time.waits == [17.0]


def test_a_limit_holds_back_everybody() -> None:
    time = Time()
    asked = retry(time, draw=0.0)
    assert asked(Script(Passing("slow down", wait=5.0, alive=True, limited=True)))
    assert time.waits == [5.0]
    asked.retry.hold(3.0)
    asked(Script())
    assert time.waits == [5.0, 3.0]


def test_patience_ends() -> None:
    time, script = Time(), Script(*[Passing("busy", alive=True)] * 999)
    with pytest.raises(PerbenchError, match=r"^busy \(given up after \d+ attempts in \d+ s\)$"):
        retry(time)(script)
    assert PATIENCE - LONGEST_WAIT <= time.now <= PATIENCE
    with pytest.raises(PerbenchError, match="the server asks to wait 90000 s"):
        retry(time)(Script(Passing("quota", wait=90000.0, alive=True, limited=True)))


def test_a_server_that_never_answered_is_given_up_soon() -> None:
    script = Script(*[Passing("nobody there")] * 99)
    with pytest.raises(PerbenchError, match="nobody there"):
        retry(Time())(script)
    assert script.asked == STRANGERS


def test_one_that_answered_before_is_waited_for() -> None:
    asked, script = retry(Time()), Script(*[Passing("gone")] * (STRANGERS + 2))
    asked(Script())
    assert asked(script) == "answer"


def test_a_halt_ends_the_waiting() -> None:
    time, halt, script = Time(), asyncio.Event(), Script(*[Passing("busy", alive=True)] * 9)
    time.then[2] = halt.set
    with pytest.raises(Halted):
        retry(time)(script, halt)
    assert script.asked == 2


def test_the_real_pause_is_cut_short_by_a_halt() -> None:
    async def halted() -> None:
        halt = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, halt.set)
        await Retry(draw=lambda: 1.0)(Script(Passing("busy", wait=600.0, alive=True)), halt)

    with pytest.raises(Halted):
        asyncio.run(halted())


def test_every_further_attempt_is_announced_with_the_time_to_it() -> None:
    asked = retry(Time())
    limit = Passing("slow down", wait=17.0, alive=True, limited=True)
    asked(Script(Passing("busy", alive=True), Passing("gone", wait=5.0), limit))
    assert asked.lines == [
        "busy; attempt 2 in 1.0 s",
        "gone; attempt 3 in 5.0 s",
        "slow down; attempt 4 in 17.0 s",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("soon", None),
        ("5 s and a bit", None),
        ("", None),
        (None, None),
        ("-3", None),
    ],
)
def test_durations(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


def test_headers_that_ask_to_wait() -> None:
    reset = {"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "1m0s"}
    spent = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "12", **reset}
    assert asked_to_wait({}) is None
    assert asked_to_wait({"retry-after": "3", "retry-after-ms": "1500"}) == 1.5
    assert asked_to_wait({"retry-after": "3", **spent}) == 3.0
    assert asked_to_wait({"retry-after": "whenever"}) is None
    assert asked_to_wait(spent) == used_up(spent) == 2.0
    assert used_up({**spent, "x-ratelimit-remaining-tokens": "0"}) == 60.0
    assert used_up(reset) is None
    later = datetime.now(UTC) + timedelta(seconds=100)
    wait = asked_to_wait({"retry-after": format_datetime(later, usegmt=True)})
    assert wait is not None
    assert 90 < wait <= 100
    assert asked_to_wait({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}) == 0.0


@given(st.text() | st.from_regex(r"\w{3}, -?\d{1,30} (Jan|Feb) -?\d{1,30} \d{1,4}:\d\d:\d\d [+-]?\d{1,20}"))
@example("Wed, 21 Oct 2015 07:28:00 +99999999999999")
@example("1 Jan 99999999999999 0:0:0 GMT")
@example("9" * 400)
@example("-5")
def test_no_header_is_more_than_a_wait(text: str) -> None:
    found = asked_to_wait({"retry-after": text})
    assert found is None or found >= 0
