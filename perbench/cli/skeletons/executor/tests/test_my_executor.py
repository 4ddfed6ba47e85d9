import sys
import time
from pathlib import Path

from perbench.contracts.executor import Running, WorkerStart
from perbench.plugins import get, include

include(Path(__file__).parents[1])


def start(log: Path, code: str) -> Running:
    """A worker that runs `code`, in place of cells."""
    executor = get("executor", "my_executor").load_class()(None)
    running = executor.start(WorkerStart(0, "w1", (sys.executable, "-c", code), log))
    assert isinstance(running, Running)
    return running


def wait(running: Running) -> int:
    for _ in range(600):
        if (code := running.ended()) is not None:
            return code
        time.sleep(0.1)
    running.kill()
    raise AssertionError("it does not end")


def test_a_worker_runs_and_its_output_is_kept(tmp_path: Path) -> None:
    assert wait(start(tmp_path / "w1.log", "print('worked'); raise SystemExit(7)")) == 7
    assert (tmp_path / "w1.log").read_text() == "worked\n"


def test_a_worker_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    running = start(tmp_path / "w1.log", "import time; time.sleep(600)")
    assert running.ended() is None
    running.stop()
    assert wait(running) != 0
