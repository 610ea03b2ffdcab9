"""What the commands that store their result have in common."""

from __future__ import annotations

from shoal.worker.keyspace import Keyspace, Value
from shoal.worker.values import type_name


def store_result(ks: Keyspace, key: bytes, value: Value | None, kind: bytes, event: bytes) -> None:
    """Put a computed value at key, or nothing (None), and announce it.

    Args:
        ks: keyspace.
        key: whatever is there goes, with its expire time.
        value: an object of a value class.
        kind: letter of notify-keyspace-events for `event`, which the command has if it stores.
        event: its name; if nothing is stored but something was there, the event is `del`.
    """
    old = ks.store_result(key, value)
    if value is None:
        if old is not None:
            ks.notify(b"g", b"del", key)
        return
    if old is not None:
        ks.notify(b"o", b"overwritten", key)
        if type_name(old) != type_name(value):
            ks.notify(b"c", b"type_changed", key)
    ks.notify(kind, event, key)
