"""The life of one worker, as the supervisor sees it (no I/O): its states, its deaths, our patience.

    STARTING --scanned--> LOADING --loaded--> SERVING --asked to leave--> LEAVING
        |                    |                   |                           |
        +--------------------+-------died--------+---------------------------+
                                       v
                            DOWN --time has come--> STARTING, or we give up

A worker that dies is started again at once, and after each further death in CRASH_WINDOW_MS twice
as long after: a fault that comes back must not keep a core busy. After MAX_CRASHES deaths in that
time, or one before it has ever served, the server gives up: whatever it is, a restart does not mend
it. A worker that leaves because it was asked to does not count.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from shoal.proto.limits import CRASH_WINDOW_MS, FIRST_RESTART_DELAY_MS, MAX_CRASHES


class State(Enum):
    """What a worker is doing; the value is what STATUS shows."""

    STARTING = "starting"  # forked, or looking through its log
    LOADING = "loading"
    SERVING = "serving"
    LEAVING = "leaving"  # asked to finish what it has and to exit
    DOWN = "down"


class Event(Enum):
    """What happens to a worker."""

    FORKED = "forked"
    SCANNED = "scanned"
    LOADED = "loaded"
    ASKED_TO_LEAVE = "asked to leave"
    DIED = "died"


NEXT: Final[dict[tuple[State, Event], State]] = {
    (State.DOWN, Event.FORKED): State.STARTING,
    (State.STARTING, Event.SCANNED): State.LOADING,
    (State.LOADING, Event.LOADED): State.SERVING,
    (State.SERVING, Event.ASKED_TO_LEAVE): State.LEAVING,
    (State.STARTING, Event.DIED): State.DOWN,
    (State.LOADING, Event.DIED): State.DOWN,
    (State.SERVING, Event.DIED): State.DOWN,
    (State.LEAVING, Event.DIED): State.DOWN,
}


class Lifecycle:
    """One worker's state and history.

    Attributes:
        state: see State.
        restarts: how often it was started again.
        restart_at_ms: when it shall be, monotonic; meaningful while DOWN.
        has_served: some process of it has.
        hopeless: it has died too often: the server should give up.
    """

    def __init__(self) -> None:
        """Start DOWN and never started."""
        self.state = State.DOWN
        self.restarts = -1
        self.restart_at_ms = 0
        self.hopeless = False
        self.has_served = False
        self._crashes: deque[int] = deque(maxlen=MAX_CRASHES)

    def on(self, event: Event, now_ms: int) -> None:
        """Take an event at a monotonic time. Raises: KeyError for one that cannot happen now."""
        before = self.state
        self.state = NEXT[before, event]
        if event is Event.FORKED:
            self.restarts += 1
        elif event is Event.LOADED:
            self.has_served = True
        elif event is Event.DIED:
            self.restart_at_ms = now_ms
            if before is not State.LEAVING:
                self._on_crash(now_ms)

    def _on_crash(self, now_ms: int) -> None:
        crashes = self._crashes
        crashes.append(now_ms)
        recent = [at_ms for at_ms in crashes if now_ms - at_ms < CRASH_WINDOW_MS]
        if not self.has_served or len(recent) >= MAX_CRASHES:
            self.hopeless = True
        if len(recent) > 1:
            self.restart_at_ms = now_ms + (FIRST_RESTART_DELAY_MS << (len(recent) - 2))
