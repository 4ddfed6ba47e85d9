"""Leases: one holder at a time, whatever the clocks say, and no write of a worker that lost its own."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perbench.disk.files import append_journal, write_json
from perbench.disk.sealed import SealedJournal
from perbench.errors import PerbenchError
from perbench.store import LostLock, RunDir
from perbench.store.leases import BEATS, MOST_DEATHS, Holder, Lease, Leases
from perbench.store.leftovers import inherit
from perbench.store.rundir import WHOLE

EXPIRY = 60.0


class Clock:
    """A machine's monotone clock, set by hand."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def seen_by(folder: Path, name: str, start: float = 0.0) -> tuple[Leases, Clock]:
    clock = Clock(start)
    return Leases(folder, name, expiry=EXPIRY, clock=clock), clock


def claimed(found: Lease | None) -> Lease:
    assert found is not None
    return found


def test_one_of_many_gets_a_lease_and_the_next_after_its_release(tmp_path: Path) -> None:
    found: list[Lease | None] = []
    start = threading.Barrier(8)

    def claim(number: int) -> None:
        own = Leases(tmp_path, f"w{number}")
        start.wait()
        found.append(own.claim("cell"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (held,) = [lease for lease in found if lease is not None]
    assert [path.name for path in tmp_path.iterdir()] == ["cell"]  # no half-made files
    held.release()
    assert not (tmp_path / "cell").exists()
    again = claimed(Leases(tmp_path, "next").claim("cell"))
    assert again.before is None


def test_a_lease_lives_by_its_counter_on_whichever_clock(tmp_path: Path) -> None:
    """Clocks of machines differ by hours: only the observer's own differences count."""
    lease = claimed(seen_by(tmp_path, "a", start=7e6)[0].claim("cell", "the cell", "tiny"))
    others, clock = seen_by(tmp_path, "b", start=-3e5)
    for _ in range(4 * BEATS):
        assert others.claim("cell") is None
        assert others.held()["cell"].worker == "a"
        clock.now += EXPIRY * 0.9
        lease.beat()
    lease.progress(3, 8)
    lease.beat()
    holder = others.held()["cell"]
    assert (holder.what, holder.model, holder.done, holder.total) == ("the cell", "tiny", 3, 8)
    assert others.claim("cell") is None
    clock.now += EXPIRY - 1
    assert others.claim("cell") is None
    clock.now += 1
    assert others.held() == {}
    taken = claimed(others.claim("cell"))
    assert taken.before is not None
    assert taken.before.worker == "a"


def test_two_that_take_over_at_once_do_not_both_get_it(tmp_path: Path) -> None:
    claimed(Leases(tmp_path, "dead").claim("cell"))
    one, first = seen_by(tmp_path, "b")
    two, second = seen_by(tmp_path, "c")
    assert (one.claim("cell"), two.claim("cell")) == (None, None)
    first.now = second.now = EXPIRY
    stale = (tmp_path / "cell").read_bytes()
    taken = claimed(one.claim("cell"))
    assert two._remove("cell", stale) is False  # it had looked before the other took over
    taken.check()
    assert two.claim("cell") is None
    taken.check()


def test_a_dead_process_of_this_machine_loses_its_lease_at_once(tmp_path: Path) -> None:
    code = "import sys, pathlib\nfrom perbench.store.leases import Leases\n"
    code += "assert Leases(pathlib.Path(sys.argv[1]), 'gone').claim('cell')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "cell").exists()
    taken = claimed(Leases(tmp_path, "b").claim("cell"))
    assert taken.before is not None
    assert taken.before.worker == "gone"


def test_a_reused_process_number_and_other_machines_are_no_evidence(tmp_path: Path) -> None:
    own = claimed(Leases(tmp_path).claim("cell")).holder
    assert not own.dead
    assert replace(own, born="1").dead  # this number belongs to a younger process now
    assert not replace(own, born="1", machine="elsewhere").dead
    assert not replace(own, pid=2**22 + 1, machine="elsewhere").dead
    assert replace(own, pid=2**22 + 1).dead


@pytest.mark.parametrize("how", ["taken", "removed", "replaced", "folder removed"])
def test_a_worker_that_lost_its_lease_writes_nothing(tmp_path: Path, how: str) -> None:
    lease = claimed(Leases(tmp_path / "leases", "a").claim("cell"))
    write_json(tmp_path / "record", {"n": 1}, lease.check)
    append_journal(tmp_path / "rows", [{"n": 1}], guard=lease.check)
    if how == "taken":
        others, clock = seen_by(tmp_path / "leases", "b")
        assert others.claim("cell") is None
        clock.now = EXPIRY
        claimed(others.claim("cell"))
    elif how == "removed":
        lease.path.unlink()
    elif how == "folder removed":
        shutil.rmtree(tmp_path / "leases")
    else:
        lease.path.unlink()
        lease.path.write_text("something else")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    lease.beat()  # a heartbeat that comes late
    writes: list[Callable[[], Any]] = [
        lambda: write_json(tmp_path / "record", {"n": 2}, lease.check),
        lambda: append_journal(tmp_path / "rows", [{"n": 2}], guard=lease.check),
    ]
    for write in writes:
        with pytest.raises(LostLock) as lost:
            write()
        assert lost.value.taken == (how != "folder removed")
    lease.release()
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_worker_stopped_between_its_last_check_and_its_write_writes_nothing(tmp_path: Path) -> None:
    """The narrowest place: the check was passed, then the process stood still until another took over."""
    folder = tmp_path / "eval-1"
    folder.mkdir()
    journal = folder / "samples.jsonl"
    SealedJournal(journal, "cell").append([{"id": "a"}])

    def taken_over() -> None:
        inherit(folder, taken_over=True)

    with pytest.raises(FileNotFoundError):
        write_json(folder / "cell.json", {"by": "the stopped one"}, taken_over)
    assert not (folder / "cell.json").exists()
    SealedJournal(journal, "cell", taken_over).append([{"id": "late"}])
    assert [row["id"] for row in SealedJournal(journal, "cell").read().rows] == ["a"]
    assert sorted(path.name for path in folder.iterdir()) == ["samples.jsonl"]


def test_a_cell_whose_workers_die_without_progress_is_given_up() -> None:
    fresh = Holder("t", "w", "host", 1, "elsewhere", "1")
    dead = replace(fresh, done=4)  # its progress may be lost with it, so the same again is no progress
    for _ in range(1, MOST_DEATHS):
        assert dead.over is None
        dead = replace(dead.heir(fresh), done=4)
    assert dead.over is not None
    assert "process 1 on host" in dead.over
    further = replace(dead, done=5)
    assert further.over is None
    assert (further.heir(fresh).deaths, further.heir(fresh).best) == (1, 5)


def test_the_first_progress_of_a_worker_outlives_its_sudden_death(tmp_path: Path) -> None:
    """Also between two heartbeats."""
    name, leases = "cell", Leases(tmp_path, "w1")
    lease = claimed(leases.claim(name))
    for done in (0, 2, 3):
        lease.progress(done, 8)
    lease.path.write_text(lease.path.read_text().replace(lease.holder.born, "1"))  # it died
    heir = claimed(leases.claim(name))
    assert heir.before is not None
    assert heir.before.done == 2
    assert (heir.holder.best, heir.holder.deaths) == (2, 1)
    heir.progress(2, 8)  # what it resumes from
    assert '"done": 0' in heir.path.read_text()
    heir.progress(4, 8)
    assert '"done": 4' in heir.path.read_text()


def test_a_worker_that_hung_tells_its_heir(tmp_path: Path) -> None:
    lease = claimed(Leases(tmp_path, "a").claim("cell"))
    lease.hung(90.0)
    others, clock = seen_by(tmp_path, "b")
    assert others.claim("cell") is None
    clock.now = EXPIRY
    before = claimed(others.claim("cell")).before
    assert before is not None
    assert "90 s" in (before.over or "")


def test_without_links_creation_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    lease = claimed(Leases(tmp_path, "a").claim("cell"))
    lease.check()
    assert Leases(tmp_path, "b").claim("cell") is None
    assert json.loads((tmp_path / "cell").read_text())["worker"] == "a"
    assert len([*tmp_path.iterdir()]) == 1


def test_a_lost_answer_to_a_link_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def unheard(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "the request was sent twice")

    monkeypatch.setattr(os, "link", unheard)
    claimed(Leases(tmp_path, "a").claim("cell")).check()


def test_a_folder_in_place_of_a_lease_is_named(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    with pytest.raises(PerbenchError, match="cell cannot be read"):
        Leases(tmp_path).claim("cell")


def test_a_full_disk_leaves_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        Leases(tmp_path, "a").claim("cell")
    assert [*tmp_path.iterdir()] == []


def test_the_background_renews_and_stops(tmp_path: Path) -> None:
    lease = claimed(Leases(tmp_path, "a").claim("cell"))
    beats = threading.Event()
    with lease.beating(0.001, beats.set):
        assert beats.wait(60)
    count = lease.holder.beat
    assert count >= 1
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_the_lock_of_a_run_is_a_lease_like_others(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with run.lock():
        assert run.leases().held()[WHOLE].pid == os.getpid()
    assert run.leases().held() == {}
