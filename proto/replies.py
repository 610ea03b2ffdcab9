"""RESP replies, and the only place that knows RESP2 from RESP3.

A handler returns a `Reply`: either `bytes`, a reply that is the same in both protocols and is
encoded already, or a `Node`, whose encoding depends on the protocol of the client that asked.
`encode` turns either into bytes. Source: the RESP specification of the Redis documentation, and
redis-server 8.2 where it is silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from shoal.proto.numbers import format_double

CRLF: Final = b"\r\n"
OK: Final = b"+OK\r\n"
PONG: Final = b"+PONG\r\n"
QUEUED: Final = b"+QUEUED\r\n"
ZERO: Final = b":0\r\n"
ONE: Final = b":1\r\n"
EMPTY_ARRAY: Final = b"*0\r\n"
NULL_BULK_2: Final = b"$-1\r\n"
NULL_3: Final = b"_\r\n"

# Headers of short bulks and small integers are looked up: a third of the price of formatting them.
BULK_HEADERS: Final[list[bytes]] = [b"$%d\r\n" % n for n in range(4096)]
INTEGERS: Final[list[bytes]] = [b":%d\r\n" % n for n in range(4096)]


class Node:
    """A reply that RESP2 and RESP3 write differently."""

    __slots__ = ()

    def encode(self, resp: int) -> bytes:
        """Return the bytes for protocol version `resp`, 2 or 3."""
        raise NotImplementedError


Reply = bytes | Node


def encode(reply: Reply, resp: int) -> bytes:
    """Return the bytes of a reply for protocol version `resp`, 2 or 3."""
    return reply if isinstance(reply, bytes) else reply.encode(resp)


class _Null(Node):
    __slots__ = ("_resp2",)

    def __init__(self, resp2: bytes) -> None:
        self._resp2 = resp2

    def encode(self, resp: int) -> bytes:
        return self._resp2 if resp == 2 else NULL_3


NULL: Final[Node] = _Null(NULL_BULK_2)
NULL_ARRAY: Final[Node] = _Null(b"*-1\r\n")


class Array(Node):
    """An array of replies; kept open so that parts of it can be merged with those of other
    partitions.
    """

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Reply]) -> None:
        self.items = items

    def encode(self, resp: int) -> bytes:
        """Return the array's bytes."""
        return b"*%d\r\n%b" % (len(self.items), b"".join([encode(i, resp) for i in self.items]))


class _Aggregate(Node):
    """A RESP3 map, set or push; in RESP2 a flat array."""

    __slots__ = ("_items", "_mark", "_width")

    def __init__(self, mark: bytes, items: Sequence[Reply], width: int) -> None:
        self._mark, self._items, self._width = mark, items, width

    def encode(self, resp: int) -> bytes:
        body = b"".join([encode(i, resp) for i in self._items])
        if resp == 2:
            return b"*%d\r\n%b" % (len(self._items), body)
        return b"%b%d\r\n%b" % (self._mark, len(self._items) // self._width, body)


class _Twofold(Node):
    """A reply whose two encodings are known from the start."""

    __slots__ = ("_resp2", "_resp3")

    def __init__(self, resp2: bytes, resp3: bytes) -> None:
        self._resp2, self._resp3 = resp2, resp3

    def encode(self, resp: int) -> bytes:
        return self._resp2 if resp == 2 else self._resp3


def bulk(data: bytes | bytearray) -> bytes:
    """Return a bulk string."""
    size = len(data)
    if size < 4096:
        return BULK_HEADERS[size] + data + CRLF
    return b"".join((b"$%d\r\n" % size, data, CRLF))


def integer(number: int) -> bytes:
    """Return an integer."""
    return INTEGERS[number] if 0 <= number < 4096 else b":%d\r\n" % number


def simple(text: bytes) -> bytes:
    """Return a simple string (status); the text holds neither CR nor LF."""
    return b"+%b\r\n" % text


def array(items: Iterable[Reply]) -> Array:
    """Return an array."""
    return Array(items if isinstance(items, (list, tuple)) else list(items))


def bulk_array(items: Iterable[bytes]) -> Array:
    """Return an array of bulk strings."""
    return Array([bulk(item) for item in items])


def map_reply(pairs: Iterable[tuple[Reply, Reply]]) -> Node:
    """Return a RESP3 map; in RESP2 a flat array of keys and values."""
    return _Aggregate(b"%", [side for pair in pairs for side in pair], 2)


def set_reply(items: Iterable[Reply]) -> Node:
    """Return a RESP3 set; in RESP2 an array."""
    return _Aggregate(b"~", list(items), 1)


def push(items: Iterable[Reply]) -> Node:
    """Return a RESP3 push; in RESP2 an array, as pub/sub messages are there."""
    return _Aggregate(b">", list(items), 1)


def double(value: float) -> Node:
    """Return a RESP3 double; in RESP2 a bulk string of the same digits."""
    text = format_double(value)
    return _Twofold(bulk(text), b",%b\r\n" % text)


def boolean(value: bool) -> Node:
    """Return a RESP3 boolean; in RESP2 the integer 1 or 0."""
    return _Twofold(ONE, b"#t\r\n") if value else _Twofold(ZERO, b"#f\r\n")


def verbatim(text: bytes, kind: bytes = b"txt") -> Node:
    """Return a RESP3 verbatim string of a three-letter kind; in RESP2 a bulk string."""
    return _Twofold(bulk(text), b"=%d\r\n%b:%b\r\n" % (len(text) + 4, kind, text))
