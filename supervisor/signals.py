"""Signals: a handler only puts its number into a pipe, which the loop reads between two turns."""

from __future__ import annotations

import os
import signal
from typing import Final

INTERRUPT: Final = int(signal.SIGINT)
HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Signals:
    """The signals that have come and nobody has dealt with.

    Attributes:
        fd: readable while there are any.
    """

    def __init__(self) -> None:
        """Install the handlers, in the main thread."""
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The interpreter writes the number itself, in the C part of its handler; when the pipe is
        # full, 65536 signals are waiting already.
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in HANDLED:
            signal.signal(number, _enqueued)
        # As in Redis: neither a closed terminal nor a client that has gone ends the server.
        for number in (signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    def take(self) -> list[int]:
        """Return the numbers of the signals that have come, in order."""
        try:
            return list(os.read(self.fd, 65536))
        except BlockingIOError:
            return []

    def name(self, number: int) -> str:
        """Return what a signal is called."""
        return signal.Signals(number).name

    def forget(self) -> None:
        """Undo it all in a forked child, which is stopped over its pipe.

        Ctrl-C in a terminal goes to the whole process group; workers leave it to the supervisor.
        """
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self.fd)
        os.close(self._write_fd)


def _enqueued(number: int, frame: object) -> None:
    """Do nothing: its being here makes Python write the number to the pipe."""
