"""A disk in memory that fails, and that a crash brings back to what had been synced.

`FakeDisk` takes the place of the worker's Disk (`shoal.worker.aof`) and of the supervisor's
(`shoal.supervisor.recovery`). What is modelled:

- A file's bytes are in the page cache until fdatasync. `crash` keeps of the others a seeded part:
  all, none, a beginning torn at any byte, or that with zeros behind, as where a file system wrote
  the size ahead of the data.
- A name (made, renamed, deleted) is in the cache until sync_directory. `crash` keeps any subset of
  the changes since.
- A failed fdatasync may drop the pages: reads give what was on the disk, the next fdatasync has
  nothing to write and succeeds.
- Calls fail with an errno, once or until repaired; a pwrite takes fewer bytes than it was given.
- The power goes off in front of any call that changes something (`crash_before`), from which on
  every call raises PowerError until `crash` has been called; or `kill`, where only the processes
  died there: the page cache survives them.
"""

from __future__ import annotations

import errno
import os
from collections import Counter, defaultdict, deque
from random import Random
from typing import Final

from shoal.supervisor import recovery
from shoal.supervisor.recovery import RecoveryError
from shoal.worker import aof

MAX_ZEROS: Final = 5000


class PowerError(BaseException):
    """The process is gone; no `except` of the code under test may swallow it."""


class _File:
    """One inode: its bytes as a reader sees them, and as they are on the disk."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = b""


_Change = dict[str, _File | None]
"""What one call makes of names in a directory, None for one that goes: all of it or nothing."""


class FakeDisk(aof.Disk, recovery.Disk):
    """Files in memory; see the module's text.

    Attributes:
        calls: how often each call was made, failed ones included.
        broken: call -> errno that it fails with as long as it stands here.
        drop_pages: whether a failed fdatasync drops the pages.
        crash_before: how many changing calls succeed until the power goes off; None for never.
    """

    def __init__(self, seed: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.broken: dict[str, int] = {}
        self.drop_pages = True
        self.crash_before: int | None = None
        self._random = Random(seed)
        self._failures: defaultdict[str, deque[int]] = defaultdict(deque)
        self._short: deque[int] = deque()
        self._names: dict[str, _File] = {}  # path -> file, as a reader sees them
        self._durable: dict[str, _File] = {}
        self._changes: list[_Change] = []  # of names, since they were synced
        self._open: dict[int, _File] = {}
        self._locked: dict[int, tuple[str, int]] = {}
        self._next_fd = 3
        self._off = False

    # -- what a test does to it -------------------------------------------------------------------

    def fail(self, call: str, *errnos: int) -> None:
        """Let the next calls of that name fail, each with one of the errnos; 0 lets one succeed."""
        self._failures[call].extend(errnos)

    def shorten(self, *counts: int) -> None:
        """Let each of the next pwrites that succeed take at most that many bytes."""
        self._short.extend(counts)

    def repair(self) -> None:
        """Let every call succeed from now on."""
        self.broken.clear()
        self._failures.clear()
        self._short.clear()

    def crash(self) -> None:
        """Lose the power and come back: nothing is open, some of what was not synced is gone."""
        for change in self._changes:
            if self._random.random() < 0.5:
                _apply(change, self._durable)
        self._changes.clear()
        self._names = dict(self._durable)
        for file in self._names.values():
            file.durable = self._remains(file)
            file.data = bytearray(file.durable)
        self.kill()

    def kill(self) -> None:
        """End the processes: nothing is open or locked, no byte is lost."""
        self._open.clear()
        self._locked.clear()
        self._off = False
        self.crash_before = None

    def data(self, path: str) -> bytes:
        """Return what a reader sees in a file."""
        return bytes(self._names[path].data)

    def durable(self, path: str) -> bytes:
        """Return what of a file is sure to survive a crash, if its name does."""
        return self._names[path].durable

    def put(self, path: str, data: bytes) -> None:
        """Make a file, or replace its bytes, all of it durable."""
        file = self._names.get(path) or _File()
        file.data = bytearray(data)
        file.durable = data
        self._names[path] = self._durable[path] = file

    @property
    def descriptors(self) -> int:
        """The number of open files and locks."""
        return len(self._open) + len(self._locked)

    # -- the worker's calls -----------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> int:
        self._call("open", changes=create)
        if create:
            self._make(path)
        fd = self._descriptor()
        self._open[fd] = self._at(path)
        return fd

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self._call("pread")
        return bytes(self._open[fd].data[offset : offset + size])

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._call("pwrite", changes=True)
        count = min(len(data), self._short.popleft()) if self._short else len(data)
        target = self._open[fd].data
        target.extend(bytes(max(0, offset - len(target))))
        target[offset : offset + count] = data[:count]
        return count

    def fdatasync(self, fd: int) -> None:
        file = self._open[fd]
        try:
            self._call("fdatasync", changes=True)
        except OSError:
            if self.drop_pages:
                # The size is the kernel's, not the page's: it may stay, with zeros for the data.
                lost = max(0, len(file.data) - len(file.durable))
                zeros = min(MAX_ZEROS, lost) if self._random.random() < 0.5 else 0
                file.data = bytearray(file.durable + bytes(zeros))
            raise
        file.durable = bytes(file.data)

    def ftruncate(self, fd: int, size: int) -> None:
        self._call("ftruncate", changes=True)
        data = self._open[fd].data
        data.extend(bytes(max(0, size - len(data))))
        del data[size:]

    def size(self, fd: int) -> int:
        return len(self._open[fd].data)

    def close(self, fd: int) -> None:
        del self._open[fd]

    def sync_directory(self, path: str) -> None:
        self._call("sync_directory", changes=True)
        changes, self._changes = self._changes, []
        for change in changes:
            if os.path.dirname(next(iter(change))) == path:
                _apply(change, self._durable)
            else:
                self._changes.append(change)

    # -- the supervisor's calls -------------------------------------------------------------------

    def make_directory(self, path: str) -> None:
        self._call("make_directory", changes=True)

    def names(self, path: str) -> list[str]:
        self._call("names")
        return [os.path.basename(name) for name in self._names if os.path.dirname(name) == path]

    def file_size(self, path: str) -> int:
        return len(self._at(path).data)

    def read_file(self, path: str, limit: int) -> bytes:
        self._call("read_file")
        return bytes(self._at(path).data[:limit])

    def write_file(self, path: str, data: bytes) -> None:
        # Three changes, so that the power can go off in between.
        self._call("write_file", changes=True)
        self._make(path)
        self._call("write_file", changes=True)
        file = self._at(path)
        file.data = bytearray(data)
        self._call("write_file", changes=True)
        file.durable = data

    def rename(self, source: str, target: str) -> None:
        self._call("rename", changes=True)
        self._change({target: self._at(source), source: None})

    def unlink(self, path: str) -> None:
        self._call("unlink", changes=True)
        self._at(path)
        self._change({path: None})

    def lock(self, path: str, pid: int) -> int:
        self._call("lock", changes=True)
        for held, holder in self._locked.values():
            if held == path:
                raise RecoveryError(f"{path} is in use (pid {holder})")
        if path not in self._names:
            self._make(path)
        fd = self._descriptor()
        self._locked[fd] = (path, pid)
        return fd

    def unlock(self, fd: int) -> None:
        del self._locked[fd]

    # -- inside -----------------------------------------------------------------------------------

    def _call(self, name: str, *, changes: bool = False) -> None:
        if changes and self.crash_before is not None:
            self._off |= self.crash_before == 0
            self.crash_before -= 1
        if self._off:
            raise PowerError
        self.calls[name] += 1
        failures = self._failures[name]
        code = failures.popleft() if failures else self.broken.get(name)
        if code:
            raise OSError(code, os.strerror(code))

    def _at(self, path: str) -> _File:
        file = self._names.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return file

    def _make(self, path: str) -> None:
        file = self._names.get(path)
        if file is None:
            self._change({path: _File()})
        else:
            file.data.clear()

    def _change(self, change: _Change) -> None:
        self._changes.append(change)
        _apply(change, self._names)

    def _descriptor(self) -> int:
        self._next_fd += 1
        return self._next_fd

    def _remains(self, file: _File) -> bytes:
        """Return what a crash leaves of a file."""
        data, durable = bytes(file.data), file.durable
        if data == durable:
            return durable
        outcome = self._random.randrange(4)
        if outcome < 2:
            return data if outcome else durable
        if durable.startswith(data):  # a truncation, which happens as a whole
            return durable
        shared = len(durable) if data.startswith(durable) else 0
        cut = self._random.randint(shared, len(data))
        zeros = self._random.randint(0, MAX_ZEROS) if outcome == 3 else 0
        return data[:cut] + bytes(zeros)


def _apply(change: _Change, names: dict[str, _File]) -> None:
    for path, file in change.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


class FakeSyncer:
    """A Syncer whose fsyncs end when the test says so; `wait` ends the one that runs."""

    def __init__(self, disk: aof.Disk) -> None:
        self.running: int | None = None
        self.closed = False
        self._disk = disk
        self._outcome: aof.Synced | None = None

    def start(self, fd: int) -> None:
        assert self.running is None
        assert self._outcome is None, "the last outcome was not taken"
        self.running = fd

    def poll(self) -> aof.Synced | None:
        outcome, self._outcome = self._outcome, None
        return outcome

    def wait(self) -> aof.Synced:
        if self.running is not None:
            self.finish()
        outcome = self.poll()
        assert outcome is not None, "nothing to wait for"
        return outcome

    def close(self) -> None:
        assert self.running is None
        self.closed = True

    def finish(self, took_ms: int = 1) -> None:
        """Let the running fsync end, as the disk has it now."""
        assert self.running is not None
        fd, self.running = self.running, None
        error = None
        try:
            self._disk.fdatasync(fd)
        except OSError as failure:
            error = failure
        self._outcome = aof.Synced(error, took_ms)

    @property
    def untaken(self) -> bool:
        """Whether an fsync has ended that the segment has not heard of."""
        return self._outcome is not None
