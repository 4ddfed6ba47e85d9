"""Leases: which worker writes to which cell, on file systems that several machines share.

A lease is a file that its holder rewrites with a higher count every few seconds. It is stale if the count
has not changed for EXPIRY seconds of the *observer's* clock, so that it does not matter if the clocks of
machines differ; or if its process is dead, as observers on the same machine can see. Only `link`, `rename`
and O_EXCL decide who holds a lease: they are atomic on NFS, where file locks may be missing.

Fencing: a holder that was stopped and goes on may have lost its lease. It calls `Lease.check` after it has
prepared a write and before the write takes effect (`perbench.disk.files`), and whoever takes over a cell
first removes prepared writes and copies journals to new files (`perbench.store.leftovers`), which an open
file of the earlier holder does not reach.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path

from perbench.errors import PerbenchError

EXPIRY = 60.0
"""Seconds of an observer's clock without a heartbeat, after which a lease is stale."""
BEATS = 6
"""Heartbeats per EXPIRY."""
MOST_DEATHS = 5
"""Workers in a row that may die in a cell without getting further, before it is recorded as failed."""


class LostLock(PerbenchError):
    """A lease is no longer held, so another process may write there. `taken`: the work has gone over to
    another worker; otherwise the folder of leases was removed."""

    def __init__(self, message: str, *, taken: bool) -> None:
        super().__init__(message)
        self.taken = taken


@dataclass(frozen=True)
class Holder:
    """The content of a lease: who holds it for what, and how far that is (`done` of `total` units).

    `deaths` counts the holders before it that died without getting further than `best` units. `hung`: the
    seconds without progress after which the holder ended itself.
    """

    token: str
    worker: str
    host: str
    pid: int
    machine: str
    born: str
    what: str = ""
    model: str = ""
    done: int = 0
    total: int = 0
    deaths: int = 0
    best: int = 0
    hung: float | None = None
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def dead(self) -> bool:
        """Whether its process is known to have ended; False if that cannot be seen from here."""
        if self.machine != machine():
            return False
        now = born(self.pid)
        return now == "" or (now is not None and self.born not in ("", now))

    @property
    def over(self) -> str | None:
        """Why the cell should not be tried again, after the deaths of its workers; None if it should."""
        if self.hung is not None:
            return f"no progress for {self.hung:g} s (--cell-timeout); {self} ended itself"
        deaths = self._deaths()
        if deaths < MOST_DEATHS:
            return None
        return (
            f"{deaths} workers died or stopped one after the other while they worked on this cell, the last "
            f"was {self}: out of memory, or a crash; its log may tell"
        )

    def heir(self, new: Holder) -> Holder:
        """`new`, taking over after this one's death."""
        return replace(new, deaths=self._deaths(), best=max(self.best, self.done))

    def _deaths(self) -> int:
        return 1 if self.done > self.best else self.deaths + 1


TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float | None": (int, float, type(None)),
}
"""Of Holder's fields, by their annotation."""


class Lease:
    """A lease that this process holds; it is renewed by `beat`, or by a thread during `beating`."""

    def __init__(self, path: Path, holder: Holder, descriptor: int, before: Holder | None) -> None:
        self.path = path
        self.holder = holder
        self.before = before
        """The dead holder that it was taken over from, if any."""
        self._descriptor = descriptor
        self._width = 0
        self._lock = threading.Lock()

    def check(self) -> None:
        """Call before each write takes effect.

        Raises:
            LostLock: another worker took the lease over, or its file was removed.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise LostLock(
                f"{self.path} was removed or replaced while this run held it ({error.strerror}), so another "
                "run may write there; stop the other run and run the same command again",
                taken=self.path.parent.is_dir(),  # then by one that has finished with it since
            ) from None
        if not content.startswith(_start(self.holder.token)):
            other = _parsed(content)
            raise LostLock(f"{self.path} was taken over by {other or 'another process'}", taken=True)

    def progress(self, done: int, total: int) -> None:
        """Told with the next heartbeat; at once if it is the first beyond earlier holders, which decides
        whether the cell is given up after this one's death."""
        with self._lock:
            further = self.holder.done <= self.holder.best < done
            self.holder = replace(self.holder, done=done, total=total)
        if further:
            self.beat()

    def hung(self, seconds: float) -> None:
        """Tell who takes over that this worker made no progress for `seconds`, and ends itself."""
        self.holder = replace(self.holder, hung=seconds)
        self.beat()

    def beat(self) -> None:
        """Renew the lease. In place: the file of a new holder is another one, which this cannot touch."""
        with self._lock:
            self.holder = replace(self.holder, beat=self.holder.beat + 1)
            self._write()

    def _write(self) -> None:
        line = _line(self.holder).ljust(self._width)
        self._width = len(line)
        with suppress(OSError):  # a server that is away; `check` decides before anything is written
            os.pwrite(self._descriptor, line, 0)
            os.fsync(self._descriptor)

    @contextmanager
    def beating(self, every: float, watch: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Renew the lease in the background during the block; `watch` is called with each heartbeat."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(every):
                watch()
                self.beat()

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def abandon(self) -> None:
        """Leave the lease to whoever takes it over, once it is stale."""
        os.close(self._descriptor)

    def release(self) -> None:
        """Give the lease back, if it is still held."""
        try:
            with suppress(LostLock, OSError):
                self.check()
                self.path.unlink()
        finally:
            os.close(self._descriptor)


class Leases:
    """The leases in `folder`, one file per name, as one worker sees them.

    Args:
        worker: its name, for people.
        expiry, clock: seconds until a lease is stale, by this monotone clock.
    """

    def __init__(
        self,
        folder: Path,
        worker: str = "",
        *,
        expiry: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.expiry = EXPIRY if expiry is None else expiry
        self._worker = worker
        self._clock = clock
        self._seen: dict[str, tuple[bytes, float]] = {}

    @property
    def every(self) -> float:
        """Seconds between heartbeats."""
        return self.expiry / BEATS

    def held(self) -> Mapping[str, Holder]:
        """The holders of all leases but stale ones, by name."""
        try:
            names = sorted(os.listdir(self.folder))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        found = {name: self.holder(name) for name in names if not name.startswith(".")}
        return {name: holder for name, holder in found.items() if holder is not None}

    def holder(self, name: str) -> Holder | None:
        """Who holds a lease; None if nobody does, or it is stale."""
        content = self._content(name)
        if content is None or self._stale(name, content):
            return None
        return _parsed(content) or Holder("", "", "a machine unknown yet", 0, "", "")

    def claim(self, name: str, what: str = "", model: str = "") -> Lease | None:
        """The lease, if it is free or stale; None if another worker holds it or was quicker.

        Raises:
            OSError: from the file system, such as a full disk.
        """
        content = self._content(name)
        before = None
        if content is not None:
            if not self._stale(name, content) or not self._remove(name, content):
                return None
            before = _parsed(content)
        process = os.getpid()
        new = Holder(
            secrets.token_hex(8),
            self._worker or f"process {process}",
            socket.gethostname(),
            process,
            machine(),
            born(process) or "",
            what,
            model,
        )
        return self._create(name, before.heir(new) if before is not None else new, before)

    def _create(self, name: str, holder: Holder, before: Holder | None) -> Lease | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path, made = self.folder / name, self.folder / f".{holder.token}.tmp"
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        lease = Lease(path, holder, descriptor, before)
        try:
            lease.beat()
            try:
                os.link(made, path)
                won = True
            except FileExistsError:
                won = os.fstat(descriptor).st_nlink == 2  # NFS may have lost the answer to a success
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                return self._create_alone(lease, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            made.unlink(missing_ok=True)
        if not won:
            os.close(descriptor)
            return None
        return lease

    def _create_alone(self, lease: Lease, descriptor: int) -> Lease | None:
        """As `_create`, on a file system without links."""
        os.close(descriptor)
        try:
            descriptor = os.open(lease.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return None
        made = Lease(lease.path, lease.holder, descriptor, lease.before)
        made.beat()
        return made

    def _remove(self, name: str, stale: bytes) -> bool:
        """Remove a stale lease; False if another worker did so first."""
        path, aside = self.folder / name, self.folder / f".{secrets.token_hex(8)}.old"
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return False
        try:
            ours = aside.read_bytes() == stale
            if not ours:  # it was renewed or replaced meanwhile: put it back
                with suppress(FileExistsError):
                    os.link(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        return ours

    def _content(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
                raise PerbenchError(
                    f"{self.folder / name} cannot be read ({error.strerror}); delete it, or name another "
                    "folder: --out DIR"
                ) from None
            self._seen.pop(name, None)
            return None

    def _stale(self, name: str, content: bytes) -> bool:
        now = self._clock()
        seen, since = self._seen.setdefault(name, (content, now))
        if seen != content:
            self._seen[name] = content, now
            since = now
        holder = _parsed(content)
        return (holder is not None and holder.dead) or now - since >= self.expiry


def _start(token: str) -> bytes:
    return f'{{"token": "{token}"'.encode()


def _line(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _parsed(content: bytes) -> Holder | None:
    """The holder in a lease's file, None if it holds something else."""
    try:
        found = Holder(**json.loads(content))
    except (ValueError, TypeError, RecursionError):
        return None
    fits = (isinstance(getattr(found, field.name), TYPES[str(field.type)]) for field in fields(Holder))
    return found if all(fits) else None


@cache
def machine() -> str:
    """Names a set of processes that see each other: of one kernel since its start, in one container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def born(process: int) -> str | None:
    """When a process of this machine began, in the kernel's ticks, "" if it has ended; None if unknown."""
    try:
        # After the name in parentheses: state, ..., the start time as the 20th field. Z is a dead one.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        pass
    except (OSError, IndexError):
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return None
    return None
