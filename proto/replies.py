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
# What stands between two elements: the end of the one and the header of the next, of this length.
_BETWEEN: Final[list[bytes]] = [CRLF + header for header in BULK_HEADERS]

# Different lengths of the values of maps with the same keys that a `MapTemplate` prepares for.
_FORMATS_MAX: Final = 8


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


class _BulkSet(Node):
    """A RESP3 set of bulk strings; in RESP2 an array. Made for many."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[bytes]) -> None:
        self._items = items

    def encode(self, resp: int) -> bytes:
        items = self._items
        return _behind(b"%b%d" % (b"*" if resp == 2 else b"~", len(items)), items)


class _Scored(Node):
    """Members and their scores: pairs in RESP3 or if nested, else flat. Made for many."""

    __slots__ = ("_members", "_nested", "_scores")

    def __init__(self, members: Sequence[bytes], scores: Sequence[float], nested: bool) -> None:
        self._members, self._scores, self._nested = members, scores, nested

    def encode(self, resp: int) -> bytes:
        members = self._members
        texts = [format_double(score) for score in self._scores]
        size = len(members)
        if resp == 2 and not self._nested:
            flat = texts * 2
            flat[::2] = members
            flat[1::2] = texts
            return bulk_list(flat)
        scores = [bulk(text) if resp == 2 else b",%b\r\n" % text for text in texts]
        pairs = [
            b"*2\r\n" + bulk(member) + score for member, score in zip(members, scores, strict=True)
        ]
        return b"*%d\r\n%b" % (size, b"".join(pairs))


class _BulkMap(Node):
    """A RESP3 map of bulk strings, keys and values in turn; in RESP2 an array."""

    __slots__ = ("_sides",)

    def __init__(self, sides: Sequence[bytes]) -> None:
        self._sides = sides

    def encode(self, resp: int) -> bytes:
        sides = self._sides
        count = len(sides)
        return _behind(b"*%d" % count if resp == 2 else b"%%%d" % (count // 2), sides)


class _PairMap(Node):
    """A RESP3 map of encoded keys and values; in RESP2 an array of arrays of two."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Sequence[tuple[bytes, Reply]]) -> None:
        self._pairs = pairs

    def encode(self, resp: int) -> bytes:
        mark, start = (b"*", b"*2\r\n") if resp == 2 else (b"%", b"")
        pieces = [b"%b%d\r\n" % (mark, len(self._pairs))]
        for key, value in self._pairs:
            pieces += (start, key, encode(value, resp))
        return b"".join(pieces)


class MapTemplate:
    """A map of bulk strings that lacks its values: what many maps with the same keys share."""

    __slots__ = ("_formats", "_head2", "_head3", "_keys", "_pieces")

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Prepare the maps that have these keys (at least one), in this order."""
        self._head2 = b"*%d" % (2 * len(keys))
        self._head3 = b"%%%d" % len(keys)
        self._keys = [CRLF + bulk(key) for key in keys]
        # Between two keys come a value's header and the value.
        self._pieces = [piece for key in self._keys for piece in (key, b"", b"")]
        self._pieces.append(CRLF)
        # By the lengths of the values: maps of the same keys often have values of the same lengths,
        # and it takes two thirds of the time then. None after too many different ones.
        self._formats: dict[tuple[int, ...], tuple[bytes, bytes]] | None = {}

    def fill(self, values: tuple[bytes, ...]) -> Node:
        """Return the map with these values: in RESP2 an array."""
        return _FilledMap(self, values)

    def encode(self, values: tuple[bytes, ...], resp: int) -> bytes:
        """Return the bytes of the map with these values."""
        formats = self._formats
        if formats is not None:
            sizes = tuple(map(len, values))
            known = formats.get(sizes)
            if known is not None:
                return known[resp == 3] % values
            self._learn(sizes)
        head = self._head2 if resp == 2 else self._head3
        pieces = self._pieces.copy()
        try:
            pieces[1::3] = [BULK_HEADERS[len(value)] for value in values]
        except IndexError:  # one of them is long
            pieces[1::3] = [b"$%d\r\n" % len(value) for value in values]
        pieces[2::3] = values
        return head + b"".join(pieces)

    def _learn(self, sizes: tuple[int, ...]) -> None:
        formats = self._formats
        assert formats is not None
        if len(formats) >= _FORMATS_MAX:
            self._formats = None
            return
        parts = [
            b"%b$%d\r\n%%b" % (key.replace(b"%", b"%%"), size)
            for key, size in zip(self._keys, sizes, strict=True)
        ]
        body = b"".join([*parts, CRLF])
        formats[sizes] = self._head2 + body, self._head3.replace(b"%", b"%%") + body


class _FilledMap(Node):
    __slots__ = ("_template", "_values")

    def __init__(self, template: MapTemplate, values: tuple[bytes, ...]) -> None:
        self._template, self._values = template, values

    def encode(self, resp: int) -> bytes:
        return self._template.encode(self._values, resp)


class _Double(Node):
    """A double, printed when it is known for which protocol."""

    __slots__ = ("_value",)

    def __init__(self, value: float) -> None:
        self._value = value

    def encode(self, resp: int) -> bytes:
        text = format_double(self._value)
        return bulk(text) if resp == 2 else b",%b\r\n" % text


class _MemberAndScore(Node):
    __slots__ = ("_member", "_score")

    def __init__(self, member: bytes, score: float) -> None:
        self._member, self._score = member, score

    def encode(self, resp: int) -> bytes:
        text = format_double(self._score)
        if resp == 2:
            return bulk_list((self._member, text))
        return b"*2\r\n%b,%b\r\n" % (bulk(self._member), text)


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


def bulks(items: Sequence[bytes]) -> bytes:
    """Return bulk strings, one behind the other."""
    return _behind(b"", items)[2:]


def bulk_list(items: Sequence[bytes]) -> bytes:
    """Return an array of bulk strings, encoded."""
    return _behind(b"*%d" % len(items), items)


def _behind(header: bytes, items: Sequence[bytes]) -> bytes:
    """Return a header, given without its CRLF, and the bulk strings behind it."""
    count = len(items)
    if not count:
        return header + CRLF
    try:
        size = len(items[0])
        between = _BETWEEN[size]
        # Of equal length they often are, and it takes half the time then.
        if size == len(items[-1]) and list(map(len, items)).count(size) == count:
            return b"".join((header, between, between.join(items), CRLF))
        pieces = [CRLF] * (2 * count + 1)
        pieces[:-1:2] = [_BETWEEN[len(item)] for item in items]
        pieces[1::2] = items
        return header + b"".join(pieces)
    except IndexError:  # one of them is long
        return b"".join((header, CRLF, *map(bulk, items)))


def bulk_set(items: Sequence[bytes]) -> Node:
    """Return a RESP3 set of bulk strings; in RESP2 an array."""
    return _BulkSet(items)


def map_reply(pairs: Iterable[tuple[Reply, Reply]]) -> Node:
    """Return a RESP3 map; in RESP2 a flat array of keys and values."""
    return _Aggregate(b"%", [side for pair in pairs for side in pair], 2)


def bulk_map(keys: Sequence[bytes], values: Sequence[bytes]) -> Node:
    """Return a RESP3 map of bulk strings; in RESP2 a flat array of keys and values."""
    flat = [b""] * (2 * len(keys))
    flat[::2] = keys
    flat[1::2] = values
    return _BulkMap(flat)


def bulk_pairs(pairs: Sequence[tuple[bytes, bytes]]) -> Node:
    """Return a RESP3 array of pairs of bulk strings; in RESP2 a flat array."""
    flat = bulk_list([side for pair in pairs for side in pair])
    nested = b"".join([b"*2\r\n" + bulks(pair) for pair in pairs])
    return _Twofold(flat, b"*%d\r\n%b" % (len(pairs), nested))


def pair_map(pairs: Sequence[tuple[bytes, Reply]]) -> Node:
    """Return a RESP3 map, its keys encoded; in RESP2 an array of [key, value] (XREAD)."""
    return _PairMap(pairs)


def set_reply(items: Iterable[Reply]) -> Node:
    """Return a RESP3 set; in RESP2 an array."""
    return _Aggregate(b"~", list(items), 1)


def push(items: Iterable[Reply]) -> Node:
    """Return a RESP3 push; in RESP2 an array, as pub/sub messages are there."""
    return _Aggregate(b">", list(items), 1)


def double(value: float) -> Node:
    """Return a RESP3 double; in RESP2 a bulk string of the same digits."""
    return _Double(value)


def scored(members: Sequence[bytes], scores: Sequence[float], *, nested: bool = False) -> Node:
    """Return an array of members, each with its score: pairs in RESP3 or if nested, else flat."""
    return _Scored(members, scores, nested)


def member_and_score(member: bytes, score: float) -> Node:
    """Return an array of the two, which is flat in both protocols."""
    return _MemberAndScore(member, score)


def boolean(value: bool) -> Node:
    """Return a RESP3 boolean; in RESP2 the integer 1 or 0."""
    return _Twofold(ONE, b"#t\r\n") if value else _Twofold(ZERO, b"#f\r\n")


def verbatim(text: bytes, kind: bytes = b"txt") -> Node:
    """Return a RESP3 verbatim string of a three-letter kind; in RESP2 a bulk string."""
    return _Twofold(bulk(text), b"=%d\r\n%b:%b\r\n" % (len(text) + 4, kind, text))
