"""The lock of a run directory, between processes and when its file is removed."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from perbench.disk.locks import locked, same_file
from perbench.errors import PerbenchError
from perbench.store import RunDir

HOLD = """
import sys
from pathlib import Path
from perbench.store import RunDir
with RunDir(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_refuses_or_waits_and_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    run = RunDir(tmp_path)
    with (
        pytest.raises(PerbenchError, match=rf"in use by process {holder.pid} on .*--no-wait"),
        run.lock(wait=False),
    ):
        pytest.fail("two holders")
    messages: list[str] = []

    def kill(message: str) -> None:
        messages.append(message)
        holder.send_signal(signal.SIGKILL)

    with run.lock(notify=kill):
        assert holder.wait() == -signal.SIGKILL
    assert [f"process {holder.pid}" in message for message in messages] == [True]
    with run.lock(wait=False, notify=messages.append):
        assert len(messages) == 1


def test_a_lock_that_was_removed_while_one_waited_for_it_is_taken_anew(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with ExitStack() as first:
        first.enter_context(locked(path))

        def removed(file: Any) -> None:
            path.unlink()
            first.close()

        with locked(path, removed) as held:
            assert same_file(path, held)
