"""Where the log goes: standard output, or a file that may be rotated under us.

All processes append to one file. It is opened with O_APPEND and each line is one write(2), so lines
do not interleave. The descriptor is kept (a log that must open a file cannot report that there are
no descriptors left), and before a write the path is compared with it: after `mv shoal.log
shoal.log.1` the next line makes a new file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from shoal.proto.log_line import LEVELS, Log

_OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_STDOUT = 1


class LogFile:
    """An append-only file that is followed by its path.

    A message that cannot be written is counted, not raised: a full disk must not end the server.
    The count goes in front of the next message that can be written.

    Args:
        path: where to append, best absolute, as the process may change its directory; "" is stdout.

    Raises: OSError if the file cannot be opened now; later, nothing.
    """

    def __init__(self, path: str) -> None:
        """Open the file, creating it if need be."""
        self._path = path
        self._fd = os.open(path, _OPEN_FLAGS, 0o644) if path else _STDOUT
        self._lost = 0
        self._why = ""

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        trouble = self._follow() if self._path else ""
        note = f"{self._lost} log messages were lost: {self._why}" if self._lost else trouble
        if note:
            # The newline first: what was lost may have been the end of a line.
            lines = f"\n[{note}]\n".encode(errors="backslashreplace") + lines
        try:
            written = os.write(self._fd, lines)
        except OSError as error:
            self._lost += 1
            self._why = error.strerror or str(error)
            return
        self._lost = 0
        if written < len(lines):
            self._lost = 1
            self._why = "only a part could be written"

    def fileno(self) -> int:
        """Return the descriptor that is written to now."""
        return self._fd

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self._path:
            os.close(self._fd)

    def _follow(self) -> str:
        """Open the path again if it leads elsewhere by now; return what prevents it, or ""."""
        mine = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
            if (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev):
                return ""
        except FileNotFoundError:
            pass  # moved away: open makes a new one
        except OSError as error:
            return f"{self._path} cannot be examined: {error.strerror}"
        try:
            fd = os.open(self._path, _OPEN_FLAGS, 0o644)
        except OSError as error:
            # The old file still takes lines, which is better than none; the next write tries again.
            return f"{self._path} cannot be opened again: {error.strerror}"
        os.close(self._fd)
        self._fd = fd
        return ""


def now_ms() -> int:
    """Return the wall clock, ms since the Unix epoch."""
    return time.time_ns() // 1_000_000


def open_log(
    path: str,
    level: str,
    pid: int,
    role: str = "M",
    clock: Callable[[], int] = now_ms,
) -> Log:
    """Open a log.

    Args:
        path: the `logfile`, made absolute by the caller; "" is stdout.
        level: one of LEVELS.
        pid: of this process; after a fork take `log.of_process(os.getpid(), "C")`.
        role: M for a master, S for a replica, C for a child, X for a sentinel.
        clock: wall clock, ms since the epoch.

    Raises: OSError if the file cannot be opened.
    """
    file = LogFile(path)
    return Log(file.write, clock, time.localtime, pid, role, LEVELS.index(level), file.fileno)
