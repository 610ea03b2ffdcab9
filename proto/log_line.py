"""Redis's log line, and the Log that every process writes through.

    4711:M 22 Nov 2026 15:42:08.805 * Ready to accept connections
    pid:role day month year time.ms level message

A Log decides what is said and how it looks; where it goes is the `write` it is given (a process
opens one with `shoal.supervisor.log.open_log`, a worker inherits its supervisor's), so this module
does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shoal.proto.limits import MAX_LOG_LINE_BYTES

LEVELS = ("debug", "verbose", "notice", "warning", "nothing")
"""The values of `loglevel`, the most talkative first."""

DEBUG, VERBOSE, NOTICE, WARNING, NOTHING = range(5)

ROLES = "XCMS"
"""Sentinel, child, master, replica, as Redis marks who speaks."""

_MARKS = ".-*#"
# Not strftime: its month names follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class LocalTime(Protocol):
    """What is wanted of a `time.struct_time`."""

    @property
    def tm_year(self) -> int:
        """The year, 2026."""

    @property
    def tm_mon(self) -> int:
        """The month, 1 to 12."""

    @property
    def tm_mday(self) -> int:
        """The day of the month, from 1."""

    @property
    def tm_hour(self) -> int:
        """The hour, 0 to 23."""

    @property
    def tm_min(self) -> int:
        """The minute."""

    @property
    def tm_sec(self) -> int:
        """The second."""


def format_log(pid: int, role: str, local: LocalTime, ms: int, level: int, message: str) -> bytes:
    """Return the bytes to log: a line, or one for each line of the message.

    Args:
        pid: of the process that speaks.
        role: one of ROLES.
        local: the local time to the second, `ms` (0 to 999) the milliseconds over it.
        level: DEBUG to WARNING.
        message: text; of each of its lines MAX_LOG_LINE_BYTES are kept. Control characters and what
            is no text (surrogates) are escaped, so that a client cannot forge a line or talk to a
            terminal.
    """
    head = (
        f"{pid}:{role} {local.tm_mday:02} {_MONTHS[local.tm_mon - 1]} {local.tm_year}"
        f" {local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}.{ms:03} {_MARKS[level]} "
    ).encode()
    return b"".join(b"%b%b\n" % (head, _printable(line)) for line in message.split("\n"))


def _printable(line: str) -> bytes:
    if not line.isprintable():
        line = "".join(c if c.isprintable() else _escape(c) for c in line)
    raw = line.encode()
    if len(raw) <= MAX_LOG_LINE_BYTES:
        return raw
    return raw[:MAX_LOG_LINE_BYTES].decode(errors="ignore").encode() + b"..."


def _escape(char: str) -> str:
    # A surrogate stands for a byte that was no UTF-8: show that byte.
    code = ord(char)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(char)[1:-1]


class Log:
    """One process's log.

    Attributes:
        fileno: returns the descriptor that is written to, which a forked process must keep open.
        level: DEBUG to NOTHING; assign to it to change it while running (`loglevel`).
        role: one of ROLES, may be assigned when a master becomes a replica.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        now_ms: Callable[[], int],
        localtime: Callable[[float], LocalTime],
        pid: int,
        role: str = "M",
        level: int = NOTICE,
        fileno: Callable[[], int] = lambda: 1,
    ) -> None:
        """Make a log of process `pid`.

        Args:
            write: takes whole lines with their newline and raises nothing.
            now_ms: the wall clock, ms since the Unix epoch.
            localtime: seconds since the epoch to local time, `time.localtime`.
            pid: of the process that speaks.
            role: one of ROLES.
            level: what is below it is not written.
            fileno: see Log; by default standard output's.
        """
        assert role in ROLES, role
        self._write = write
        self._now_ms = now_ms
        self._localtime = localtime
        self._pid = pid
        self.fileno = fileno
        self.role = role
        self.level = level

    def of_process(self, pid: int, role: str) -> Log:
        """Return the same log for another process, to be called after a fork."""
        return Log(self._write, self._now_ms, self._localtime, pid, role, self.level, self.fileno)

    def debug(self, message: str) -> None:
        """Say what helps only those who develop or test."""
        self.write(DEBUG, message)

    def verbose(self, message: str) -> None:
        """Say what is rarely useful."""
        self.write(VERBOSE, message)

    def notice(self, message: str) -> None:
        """Say what one wants to see in production."""
        self.write(NOTICE, message)

    def warning(self, message: str) -> None:
        """Say what is important or critical."""
        self.write(WARNING, message)

    def write(self, level: int, message: str) -> None:
        """Log the message if the level is high enough."""
        if level < self.level:
            return
        now_ms = self._now_ms()
        local = self._localtime(now_ms // 1000)
        self._write(format_log(self._pid, self.role, local, now_ms % 1000, level, message))
