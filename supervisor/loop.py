"""The supervisor's event loop: descriptors with their callbacks, and one deadline."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Final

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT

Callback = Callable[[int], None]


class Loop:
    """Calls `callback(events)` for each descriptor that is ready."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._poll = select.epoll()
        self._callbacks: dict[int, Callback] = {}

    def watch(self, fd: int, events: int, callback: Callback) -> None:
        """Begin to watch a descriptor, or change what it is watched for."""
        if fd in self._callbacks:
            self._poll.modify(fd, events)
        else:
            self._poll.register(fd, events)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor, before it is closed; it need not be watched."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self, deadline_ms: int) -> None:
        """Wait until something is ready, or the monotonic time comes; then call what is ready."""
        timeout_s = max(deadline_ms - monotonic_ms(), 0) / 1000
        for fd, events in self._poll.poll(timeout_s):
            callback = self._callbacks.get(fd)
            if callback is not None:  # else unwatched by an earlier callback of this round
                callback(events)

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._poll.close()


def monotonic_ms() -> int:
    """Return the monotonic clock, in milliseconds."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Return the wall clock, milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
