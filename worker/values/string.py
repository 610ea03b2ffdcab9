"""Strings that a plain `bytes` cannot represent: those with an expire time, and those changed in
place.
"""

from __future__ import annotations


class String:
    """A string with an expire time or with a mutable buffer.

    A plain string is a `bytes` in the keyspace. It becomes a `String` when it gets an expire time,
    or when APPEND, SETRANGE or SETBIT changes it in place: then `data` is a `bytearray`, so that a
    growing string is not copied at each step, and OBJECT ENCODING calls it `raw`, as Redis does.

    Attributes:
        data: the string.
        expire_ms: milliseconds since the Unix epoch at which it expires, 0 for never.
    """

    __slots__ = ("data", "expire_ms")

    def __init__(self, data: bytes | bytearray, expire_ms: int = 0) -> None:
        """Wrap `data`; a bytearray is kept, not copied."""
        self.data = data
        self.expire_ms = expire_ms
