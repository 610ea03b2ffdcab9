"""The clock of the log's stamps, which never goes back, not over a restart either."""

from __future__ import annotations

from typing import Final

_NS_PER_MS: Final = 1_000_000


class StampClock:
    """Milliseconds since the epoch that only rise, made from a monotonic clock.

    The supervisor chooses the base once, before it forks, so that all its workers, also those that
    it starts later, count alike; CLOCK_MONOTONIC is one for all processes of a machine.

    >>> clock = StampClock(base_wall_ms=1_000, base_monotonic_ns=5_000_000)
    >>> clock.now_ms(7_999_999)
    1002
    """

    __slots__ = ("base_monotonic_ns", "base_wall_ms")

    def __init__(self, base_wall_ms: int, base_monotonic_ns: int) -> None:
        """Count from a base.

        Args:
            base_wall_ms: the time at the base; see `first_stamp`.
            base_monotonic_ns: CLOCK_MONOTONIC at the base.
        """
        self.base_wall_ms = base_wall_ms
        self.base_monotonic_ns = base_monotonic_ns

    def now_ms(self, monotonic_ns: int) -> int:
        """Return the time at a reading of CLOCK_MONOTONIC, which must not precede the base."""
        return self.base_wall_ms + (monotonic_ns - self.base_monotonic_ns) // _NS_PER_MS


def first_stamp(wall_ms: int, last_stamp_ms: int) -> int:
    """Return the base for a clock whose stamps follow all that the segments hold.

    Args:
        wall_ms: now.
        last_stamp_ms: the largest stamp in any segment, 0 if there is none. It lies in the future
            when the wall clock was set back meanwhile.
    """
    return max(wall_ms, last_stamp_ms + 1)
