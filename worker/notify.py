"""Keyspace events: what `notify-keyspace-events` asks for is published, from the key's owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_KEYSPACE: Final = ord("K")
_KEYEVENT: Final = ord("E")

Notify = Callable[[int, bytes, bytes, bytes], None]


def notifier(flags: bytes, publish: Callable[[bytes, bytes], None]) -> Notify | None:
    """Return what `Store.notify` is to be, None if no event is wanted.

    Args:
        flags: the directive's value.
        publish: `publish(channel, message)`.
    """
    wanted = frozenset(bytes((flag,)) for flag in flags)
    keyspace, keyevent = _KEYSPACE in flags, _KEYEVENT in flags
    if not keyspace and not keyevent:
        return None

    def notify(db: int, kind: bytes, event: bytes, key: bytes) -> None:
        if kind not in wanted:
            return
        if keyspace:
            publish(b"__keyspace@%d__:%b" % (db, key), event)
        if keyevent:
            publish(b"__keyevent@%d__:%b" % (db, event), key)

    return notify


def notifies_of_misses(flags: bytes) -> bool:
    """Tell whether reading a missing key is an event."""
    return b"m" in flags and (b"K" in flags or b"E" in flags)
