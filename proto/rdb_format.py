"""How values are written by DUMP, and in snapshots: the RDB format, version 12.

A value is a byte that tells its kind, and a body. `Writer` makes the body of a value that is given
in plain Python types, and returns the kind; `read_value` returns such types for any kind that a
server since 2.2 may have written. `seal` and `unseal` add and take off what DUMP puts behind a
value: the version and a checksum.

Whatever the bytes are, reading ends: with a value, or with DamagedValueError. Nothing is allocated
by a number that was read, and each element that was announced takes bytes that have to be there.

Source: rdb.h and rdb.c are the only specification there is; what is here was learned from the
"Redis RDB file format" of the rdbtools project and from the dumps of redis-server 7.0 and 8.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from shoal.proto import intset, listpack, lzf, ziplist
from shoal.proto.crc64 import crc64
from shoal.proto.errors import DamagedValueError
from shoal.proto.limits import MAX_COMPRESSED_BYTES
from shoal.proto.numbers import INT64_MAX, format_double, parse_double, parse_int

VERSION: Final = 12

FUNCTION_2: Final = 245
"""What stands before the text of a library of functions."""


class Kind(IntEnum):
    """What the first byte of a value says. Those with a comment are only read."""

    STRING = 0
    LIST = 1  # before 3.2
    SET = 2
    SORTED_SET = 3  # scores as text; before 4.0
    HASH = 4
    SORTED_SET_2 = 5
    HASH_ZIPMAP = 9  # before 2.6
    LIST_ZIPLIST = 10  # before 3.2
    SET_INTSET = 11
    SORTED_SET_ZIPLIST = 12  # before 7.0
    HASH_ZIPLIST = 13  # before 7.0
    LIST_QUICKLIST = 14  # before 7.0
    STREAM_LISTPACKS = 15  # before 7.0
    HASH_LISTPACK = 16
    SORTED_SET_LISTPACK = 17
    LIST_QUICKLIST_2 = 18
    STREAM_LISTPACKS_2 = 19  # before 7.2
    SET_LISTPACK = 20
    STREAM_LISTPACKS_3 = 21
    HASH_METADATA_OLD = 22  # candidates of 7.4
    HASH_LISTPACK_EX_OLD = 23  # candidates of 7.4
    HASH_METADATA = 24
    HASH_LISTPACK_EX = 25


# -- values in plain types -------------------------------------------------------------------------


class ListNode(NamedTuple):
    """Elements of a list that lie together; `plain`: it is one that is too large for a listpack."""

    elements: list[bytes]
    plain: bool = False


@dataclass(slots=True)
class ListValue:
    """A list.

    Attributes:
        nodes: in order, none of them empty; one if it was written without nodes.
        kind: LIST, LIST_ZIPLIST or LIST_QUICKLIST_2.
    """

    nodes: list[ListNode]
    kind: Kind = Kind.LIST_QUICKLIST_2


@dataclass(slots=True)
class SetValue:
    """A set of different members, in the form that it was written in.

    Attributes:
        members: all of them; of an intset in ascending order.
        kind: SET_INTSET, SET_LISTPACK or SET.
    """

    members: list[bytes]
    kind: Kind


@dataclass(slots=True)
class HashValue:
    """A hash of different fields.

    Attributes:
        pairs: fields and values.
        times: expire times of fields, ms since the epoch.
        kind: HASH_LISTPACK, HASH_LISTPACK_EX or HASH.
    """

    pairs: list[tuple[bytes, bytes]]
    times: dict[bytes, int]
    kind: Kind


@dataclass(slots=True)
class SortedSetValue:
    """A sorted set of different members; `kind` is SORTED_SET_LISTPACK or SORTED_SET_2."""

    elements: list[tuple[bytes, float]]
    kind: Kind


class Entry(NamedTuple):
    """An entry of a stream; an ID is ms << 64 | seq. Fields are names and values, alternating."""

    id: int
    fields: list[bytes]
    deleted: bool = False


@dataclass(slots=True)
class StreamNode:
    """Entries that lie together, in order.

    Attributes:
        first: the ID that those of the entries are relative to: that of the first entry ever in it.
        names: the field names that need not be repeated: those of the first entry.
        entries: all, deleted ones included as far as they are known.
    """

    first: int
    names: list[bytes]
    entries: list[Entry]


@dataclass(slots=True)
class StreamConsumer:
    """A member of a consumer group; times are ms since the epoch, active_ms -1 for never."""

    name: bytes
    seen_ms: int
    active_ms: int
    pending: list[int]


@dataclass(slots=True)
class StreamGroup:
    """A consumer group; entries_read is None if it is not known.

    Attributes:
        pending: ID -> time of the last delivery in ms since the epoch, number of deliveries; each
            is also pending of exactly one consumer.
    """

    name: bytes
    last_id: int
    entries_read: int | None
    pending: dict[int, tuple[int, int]]
    consumers: list[StreamConsumer] = field(default_factory=list)


@dataclass(slots=True)
class StreamValue:
    """A stream. entries_added is None, and the two IDs are 0, if it was written before 7.0."""

    nodes: list[StreamNode]
    length: int
    last_id: int
    first_id: int
    max_deleted_id: int
    entries_added: int | None
    groups: list[StreamGroup]


Value = bytes | ListValue | SetValue | HashValue | SortedSetValue | StreamValue

# -- numbers ---------------------------------------------------------------------------------------

_U16: Final = Struct("<H")
_U64: Final = Struct("<Q")
_I64: Final = Struct("<q")
_DOUBLE: Final = Struct("<d")
_ID: Final = Struct(">QQ")
_MASK_64: Final = (1 << 64) - 1

# The upper two bits of the first byte of a length, or all of it.
_LENGTH_14: Final = 0x40
_LENGTH_32: Final = 0x80
_LENGTH_64: Final = 0x81
_ENCODED: Final = 0xC0
_INT8, _INT16, _INT32, _LZF = range(_ENCODED, _ENCODED + 4)

# Strings that might become shorter.
_LEAST_COMPRESSED: Final = 21
_LEAST_SAVED: Final = 4
_LONGEST_INT32: Final = 11

# What a field without expire time has in place of it.
_NO_TIME: Final = 0
_MAX_TIME: Final = (1 << 48) - 2


def _length(number: int) -> bytes:
    if number < 1 << 6:
        return b"%c" % number
    if number < 1 << 14:
        return b"%c%c" % (_LENGTH_14 | number >> 8, number & 0xFF)
    if number < 1 << 32:
        return b"%c%b" % (_LENGTH_32, number.to_bytes(4, "big"))
    return b"%c%b" % (_LENGTH_64, number.to_bytes(8, "big"))


def _id(entry_id: int) -> bytes:
    return _length(entry_id >> 64) + _length(entry_id & _MASK_64)


# -- writing ---------------------------------------------------------------------------------------


class Writer:
    """Makes the bodies of values, one after the other; `take` gives what has been written.

    Args of the methods are as the attributes of the classes of values above.
    """

    def __init__(self, compressible: int = MAX_COMPRESSED_BYTES) -> None:
        """Begin with nothing.

        Args:
            compressible: so many bytes of strings will be compressed if that is worth it.
        """
        self._parts: list[bytes] = []
        self._compressible = compressible

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._parts.append(data)

    def length(self, number: int) -> None:
        """Write a number of up to 64 bits, short if it is small."""
        self._parts.append(_length(number))

    def text(self, data: bytes) -> None:
        """Write a string: as an integer of up to 32 bits, compressed, or as it is."""
        size = len(data)
        if size <= _LONGEST_INT32 and (number := parse_int(data)) is not None:
            if -1 << 7 <= number < 1 << 7:
                self._parts.append(b"%c%c" % (_INT8, number & 0xFF))
                return
            if -1 << 15 <= number < 1 << 15:
                self._parts.append(b"%c%b" % (_INT16, number.to_bytes(2, "little", signed=True)))
                return
            if -1 << 31 <= number < 1 << 31:
                self._parts.append(b"%c%b" % (_INT32, number.to_bytes(4, "little", signed=True)))
                return
        if _LEAST_COMPRESSED <= size <= self._compressible:
            self._compressible -= size
            smaller = lzf.compress(data, size - _LEAST_SAVED)
            if smaller is not None:
                self._parts += (b"%c" % _LZF, _length(len(smaller)), _length(size), smaller)
                return
        self._parts += (_length(size), data)

    def string(self, data: bytes) -> Kind:
        """Write a string."""
        self.text(data)
        return Kind.STRING

    def list(self, nodes: Collection[ListNode]) -> Kind:
        """Write a list."""
        self.length(len(nodes))
        for elements, plain in nodes:
            self.length(1 if plain else 2)
            self.text(elements[0] if plain else listpack.encode(elements))
        return Kind.LIST_QUICKLIST_2

    def set(self, members: Collection[bytes]) -> Kind:
        """Write a set that is a hash table."""
        self.length(len(members))
        for member in members:
            self.text(member)
        return Kind.SET

    def set_listpack(self, members: Iterable[bytes]) -> Kind:
        """Write a set that is a listpack."""
        self.text(listpack.encode(members))
        return Kind.SET_LISTPACK

    def set_intset(self, numbers: Sequence[int]) -> Kind:
        """Write a set of integers, which ascend."""
        self.text(intset.encode(numbers))
        return Kind.SET_INTSET

    def sorted_set(self, elements: Collection[tuple[bytes, float]]) -> Kind:
        """Write a sorted set that is a skiplist; the elements come from the last to the first."""
        self.length(len(elements))
        for member, score in elements:
            self.text(member)
            self.raw(_DOUBLE.pack(score))
        return Kind.SORTED_SET_2

    def sorted_set_listpack(self, elements: Iterable[tuple[bytes, float]]) -> Kind:
        """Write a sorted set that is a listpack, in order."""
        entries = []
        for member, score in elements:
            entries.append(listpack.entry(member))
            # The zero of a listpack has no sign.
            entries.append(listpack.entry(format_double(score) if score else b"0"))
        self.text(listpack.join(entries))
        return Kind.SORTED_SET_LISTPACK

    def hash(self, pairs: Collection[tuple[bytes, bytes]], times: dict[bytes, int]) -> Kind:
        """Write a hash that is a hash table."""
        first = min(times.values(), default=0)
        if times:
            self.raw(_U64.pack(first))
        self.length(len(pairs))
        for name, value in pairs:
            if times:
                at_ms = times.get(name)
                self.length(_NO_TIME if at_ms is None else at_ms - first + 1)
            self.text(name)
            self.text(value)
        return Kind.HASH_METADATA if times else Kind.HASH

    def hash_listpack(self, pairs: Iterable[tuple[bytes, bytes]]) -> Kind:
        """Write a hash that is a listpack."""
        self.text(listpack.encode([side for pair in pairs for side in pair]))
        return Kind.HASH_LISTPACK

    def hash_listpack_ex(
        self, pairs: Iterable[tuple[bytes, bytes]], times: dict[bytes, int]
    ) -> Kind:
        """Write a hash that is a listpack with expire times; fields come by time, those without
        one last.
        """
        self.raw(_U64.pack(min(times.values(), default=0)))
        entries = []
        for name, value in pairs:
            entries.append(listpack.entry(name))
            entries.append(listpack.entry(value))
            entries.append(listpack.integer_entry(times.get(name, _NO_TIME)))
        self.text(listpack.join(entries))
        return Kind.HASH_LISTPACK_EX

    def stream(self, value: StreamValue) -> Kind:
        """Write a stream, whose `entries_added` is known."""
        assert value.entries_added is not None
        self.length(len(value.nodes))
        for node in value.nodes:
            self.text(_ID.pack(node.first >> 64, node.first & _MASK_64))
            self.text(_stream_listpack(node))
        self.length(value.length)
        for entry_id in (value.last_id, value.first_id, value.max_deleted_id):
            self.raw(_id(entry_id))
        self.length(value.entries_added)
        self.length(len(value.groups))
        for group in value.groups:
            self.text(group.name)
            self.raw(_id(group.last_id))
            self.length(_MASK_64 if group.entries_read is None else group.entries_read)
            self.length(len(group.pending))
            for entry_id, (time_ms, count) in group.pending.items():
                self.raw(_ID.pack(entry_id >> 64, entry_id & _MASK_64) + _I64.pack(time_ms))
                self.length(count)
            self.length(len(group.consumers))
            for consumer in group.consumers:
                self.text(consumer.name)
                self.raw(_I64.pack(consumer.seen_ms) + _I64.pack(consumer.active_ms))
                self.length(len(consumer.pending))
                self._parts += [_ID.pack(one >> 64, one & _MASK_64) for one in consumer.pending]
        return Kind.STREAM_LISTPACKS_3


# Flags of an entry.
_DELETED: Final = 1
_SAME_NAMES: Final = 2


def _stream_listpack(node: StreamNode) -> bytes:
    """Return the entries of a node in their listpack; deleted ones are left out."""
    integer = listpack.integer_entry
    live = [one for one in node.entries if not one.deleted]
    entries = [integer(len(live)), integer(0), integer(len(node.names))]
    entries += map(listpack.entry, node.names)
    entries.append(integer(0))
    for entry_id, fields, _ in live:
        same = fields[::2] == node.names
        entries.append(integer(_SAME_NAMES if same else 0))
        entries.append(integer(_signed((entry_id >> 64) - (node.first >> 64))))
        entries.append(integer(_signed((entry_id & _MASK_64) - (node.first & _MASK_64))))
        if same:
            entries += map(listpack.entry, fields[1::2])
            entries.append(integer(len(node.names) + 3))
        else:
            entries.append(integer(len(fields) // 2))
            entries += map(listpack.entry, fields)
            entries.append(integer(len(fields) + 4))
    return listpack.join(entries)


def _signed(number: int) -> int:
    """Return what is left of a number in 64 bits with a sign."""
    return (number + (1 << 63) & _MASK_64) - (1 << 63)


# -- reading ---------------------------------------------------------------------------------------


class Reader:
    """Reads the parts of values. All methods raise DamagedValueError when bytes are missing."""

    def __init__(self, data: bytes) -> None:
        """Read from the start of `data`."""
        self._data = data
        self.at = 0
        self._end = len(data)

    @property
    def at_end(self) -> bool:
        """Whether all was read."""
        return self.at >= self._end

    def raw(self, size: int) -> bytes:
        """Return so many bytes as they are."""
        start = self.at
        if size > self._end - start:
            raise DamagedValueError("cut short")
        self.at = start + size
        return self._data[start : start + size]

    def byte(self) -> int:
        """Return one byte."""
        at = self.at
        if at >= self._end:
            raise DamagedValueError("cut short")
        self.at = at + 1
        return self._data[at]

    def length(self) -> int:
        """Return a number."""
        first = self.byte()
        if first < _LENGTH_14:
            return first
        if first < _LENGTH_32:
            return (first & 0x3F) << 8 | self.byte()
        if first == _LENGTH_32:
            return int.from_bytes(self.raw(4), "big")
        if first == _LENGTH_64:
            return int.from_bytes(self.raw(8), "big")
        raise DamagedValueError("no length")

    def count(self) -> int:
        """Return the number of elements that follow, each of at least a byte."""
        number = self.length()
        if number > self._end - self.at:
            raise DamagedValueError("cut short")
        return number

    def filled(self) -> int:
        """Return the number of elements that follow, at least one."""
        number = self.count()
        if not number:
            raise DamagedValueError("an empty collection")
        return number

    def text(self) -> bytes:
        """Return a string."""
        at = self.at
        first = self._data[at] if at < self._end else 0
        if first < _ENCODED:
            return self.raw(self.length())
        self.at = at + 1
        if first == _LZF:
            packed_size = self.length()
            size = self.length()
            return lzf.decompress(self.raw(packed_size), size)
        if first > _LZF:
            raise DamagedValueError("a string of no known kind")
        width = 1 << first - _ENCODED
        return b"%d" % int.from_bytes(self.raw(width), "little", signed=True)

    def entry_id(self) -> int:
        """Return an ID that is two numbers."""
        high = self.length()
        return high << 64 | self.length()

    def raw_id(self) -> int:
        """Return an ID of 16 bytes."""
        high, low = _ID.unpack(self.raw(_ID.size))
        return int(high) << 64 | int(low)

    def time(self) -> int:
        """Return a time of 8 bytes."""
        return int(_I64.unpack(self.raw(_I64.size))[0])


def read_value(kind: int, reader: Reader) -> Value:
    """Read the body of a value of a kind.

    Raises: DamagedValueError: there is no such kind (here: modules have none), or the body is not
        one.
    """
    read = _READ.get(kind)
    if read is None:
        raise DamagedValueError("a value of no known kind")
    return read(reader)


def _different(members: Sequence[bytes]) -> None:
    if not members:
        raise DamagedValueError("an empty collection")
    if len(set(members)) != len(members):
        raise DamagedValueError("the same element twice")


def _tuples(elements: list[bytes], width: int) -> Iterator[tuple[bytes, ...]]:
    if len(elements) % width:
        raise DamagedValueError("an odd number of elements")
    return zip(*[iter(elements)] * width, strict=True)


def _list(nodes: list[ListNode]) -> ListValue:
    nodes = [node for node in nodes if node.elements]
    if not nodes:
        raise DamagedValueError("an empty collection")
    return ListValue(nodes)


def _read_list(reader: Reader) -> ListValue:
    elements = [reader.text() for _ in range(reader.filled())]
    return ListValue([ListNode(elements)], Kind.LIST)


def _read_list_ziplist(reader: Reader) -> ListValue:
    value = _list([ListNode(ziplist.decode(reader.text()))])
    value.kind = Kind.LIST_ZIPLIST
    return value


def _read_quicklist(reader: Reader) -> ListValue:
    return _list([ListNode(ziplist.decode(reader.text())) for _ in range(reader.filled())])


def _read_quicklist_2(reader: Reader) -> ListValue:
    nodes = []
    for _ in range(reader.filled()):
        container = reader.length()
        if container not in (1, 2):
            raise DamagedValueError("a node of no known kind")
        data = reader.text()
        plain = container == 1
        nodes.append(ListNode([data] if plain else listpack.decode(data), plain))
    return _list(nodes)


def _set(members: list[bytes], kind: Kind) -> SetValue:
    _different(members)
    return SetValue(members, kind)


def _read_set(reader: Reader) -> SetValue:
    return _set([reader.text() for _ in range(reader.filled())], Kind.SET)


def _read_set_listpack(reader: Reader) -> SetValue:
    return _set(listpack.decode(reader.text()), Kind.SET_LISTPACK)


def _read_intset(reader: Reader) -> SetValue:
    return _set([b"%d" % number for number in intset.decode(reader.text())], Kind.SET_INTSET)


def _sorted_set(elements: list[tuple[bytes, float]], kind: Kind) -> SortedSetValue:
    _different([member for member, _ in elements])
    if any(math.isnan(score) for _, score in elements):
        raise DamagedValueError("a score that is no number")
    return SortedSetValue(elements, kind)


def _read_sorted_set(reader: Reader) -> SortedSetValue:
    elements = []
    for _ in range(reader.filled()):
        member = reader.text()
        size = reader.byte()
        if size >= 253:
            score = (math.nan, math.inf, -math.inf)[size - 253]
        else:
            score = _score(reader.raw(size))
        elements.append((member, score))
    return _sorted_set(elements, Kind.SORTED_SET_2)


def _read_sorted_set_2(reader: Reader) -> SortedSetValue:
    elements = []
    for _ in range(reader.filled()):
        member = reader.text()
        elements.append((member, float(_DOUBLE.unpack(reader.raw(8))[0])))
    return _sorted_set(elements, Kind.SORTED_SET_2)


def _score(text: bytes) -> float:
    number = parse_double(text)
    if number is None:
        raise DamagedValueError("a score that is no number")
    return number


def _sorted_set_pairs(elements: list[bytes]) -> SortedSetValue:
    pairs = [(member, _score(score)) for member, score in _tuples(elements, 2)]
    return _sorted_set(pairs, Kind.SORTED_SET_LISTPACK)


def _read_sorted_set_listpack(reader: Reader) -> SortedSetValue:
    return _sorted_set_pairs(listpack.decode(reader.text()))


def _read_sorted_set_ziplist(reader: Reader) -> SortedSetValue:
    return _sorted_set_pairs(ziplist.decode(reader.text()))


def _hash(
    pairs: list[tuple[bytes, bytes]], kind: Kind, times: dict[bytes, int] | None = None
) -> HashValue:
    _different([name for name, _ in pairs])
    return HashValue(pairs, times or {}, kind)


def _read_hash(reader: Reader) -> HashValue:
    pairs = [(reader.text(), reader.text()) for _ in range(reader.filled())]
    return _hash(pairs, Kind.HASH)


def _hash_pairs(elements: list[bytes]) -> HashValue:
    return _hash([(name, value) for name, value in _tuples(elements, 2)], Kind.HASH_LISTPACK)


def _read_zipmap(reader: Reader) -> HashValue:
    value = _hash_pairs(ziplist.decode_zipmap(reader.text()))
    value.kind = Kind.HASH  # nobody ever said how long its elements may be
    return value


def _read_hash_ziplist(reader: Reader) -> HashValue:
    return _hash_pairs(ziplist.decode(reader.text()))


def _read_hash_listpack(reader: Reader) -> HashValue:
    return _hash_pairs(listpack.decode(reader.text()))


def _time(at_ms: int) -> int:
    if not 0 <= at_ms <= _MAX_TIME:
        raise DamagedValueError("an expire time out of range")
    return at_ms


def _read_hash_metadata(reader: Reader) -> HashValue:
    return _read_timed_pairs(reader, _time(reader.time()) - 1)


def _read_hash_metadata_old(reader: Reader) -> HashValue:
    return _read_timed_pairs(reader, 0)


def _read_timed_pairs(reader: Reader, base_ms: int) -> HashValue:
    """Read fields that have numbers, to which this time is to be added, in front of them."""
    pairs, times = [], {}
    for _ in range(reader.filled()):
        number = reader.length()
        name = reader.text()
        if number:
            times[name] = _time(base_ms + number)
        pairs.append((name, reader.text()))
    return _hash(pairs, Kind.HASH, times)


def _read_hash_listpack_ex(reader: Reader) -> HashValue:
    reader.time()  # the earliest: a hint, that may be out of date
    return _read_hash_listpack_ex_old(reader)


def _read_hash_listpack_ex_old(reader: Reader) -> HashValue:
    pairs, times = [], {}
    for name, value, time in _tuples(listpack.decode(reader.text()), 3):
        pairs.append((name, value))
        at_ms = _time(_number(time))
        if at_ms:
            times[name] = at_ms
    return _hash(pairs, Kind.HASH_LISTPACK_EX, times)


def _number(text: bytes) -> int:
    number = parse_int(text)
    if number is None:
        raise DamagedValueError("no number")
    return number


def _read_stream_1(reader: Reader) -> StreamValue:
    return _read_stream(reader, 1)


def _read_stream_2(reader: Reader) -> StreamValue:
    return _read_stream(reader, 2)


def _read_stream_3(reader: Reader) -> StreamValue:
    return _read_stream(reader, 3)


def _read_stream(reader: Reader, version: int) -> StreamValue:
    nodes = []
    last = -1
    for _ in range(reader.count()):
        key = reader.text()
        if len(key) != _ID.size:
            raise DamagedValueError("a node without an ID")
        node = _read_stream_node(int.from_bytes(key, "big"), reader.text(), last)
        last = node.entries[-1].id
        nodes.append(node)
    value = StreamValue(nodes, reader.length(), reader.entry_id(), 0, 0, None, [])
    live = sum(not entry.deleted for node in nodes for entry in node.entries)
    if value.length != live or value.last_id < last:
        raise DamagedValueError("a stream of another length")
    if version > 1:
        value.first_id = reader.entry_id()
        value.max_deleted_id = reader.entry_id()
        value.entries_added = reader.length()
    for _ in range(reader.count()):
        value.groups.append(_read_group(reader, version))
    if len({group.name for group in value.groups}) != len(value.groups):
        raise DamagedValueError("the same group twice")
    return value


def _read_stream_node(first: int, data: bytes, before: int) -> StreamNode:
    """Decode the entries of a node; all IDs are above `before`."""
    elements = listpack.decode(data)
    rest = iter(elements)
    take = rest.__next__
    entries: list[Entry] = []
    try:
        total = _number(take()) + _number(take())
        names = [take() for _ in _times(take(), elements)]
        if not names:
            raise DamagedValueError("an entry without fields")
        take()
        for _ in range(total):
            flags = _number(take())
            ms = (first >> 64) + _number(take()) & _MASK_64
            entry_id = ms << 64 | (first & _MASK_64) + _number(take()) & _MASK_64
            if entry_id <= before:
                raise DamagedValueError("entries out of order")
            before = entry_id
            if flags & _SAME_NAMES:
                fields = [side for name in names for side in (name, take())]
            else:
                fields = [take() for _ in _times(take(), elements) for _ in (0, 1)]
                if not fields:
                    raise DamagedValueError("an entry without fields")
            take()
            entries.append(Entry(entry_id, fields, bool(flags & _DELETED)))
    except StopIteration:
        raise DamagedValueError("a node that is cut short") from None
    if not entries or next(rest, None) is not None:
        raise DamagedValueError("a node of another length")
    return StreamNode(first, names, entries)


def _times(count: bytes, elements: list[bytes]) -> range:
    """Return as many numbers as a count says, which is at most the number of elements."""
    number = _number(count)
    if not 0 <= number <= len(elements):
        raise DamagedValueError("cut short")
    return range(number)


def _read_group(reader: Reader, version: int) -> StreamGroup:
    group = StreamGroup(reader.text(), reader.entry_id(), None, {})
    if version > 1:
        read = reader.length()
        group.entries_read = read if read <= INT64_MAX else None
    for _ in range(reader.count()):
        entry_id = reader.raw_id()
        group.pending[entry_id] = reader.time(), reader.length()
    taken: set[int] = set()
    for _ in range(reader.count()):
        name, seen_ms = reader.text(), reader.time()
        active_ms = reader.time() if version > 2 else seen_ms
        pending = [reader.raw_id() for _ in range(reader.count())]
        taken.update(pending)
        group.consumers.append(StreamConsumer(name, seen_ms, active_ms, pending))
    shares = sum(len(consumer.pending) for consumer in group.consumers)
    if taken != group.pending.keys() or shares != len(taken):
        raise DamagedValueError("an entry that is not pending of one consumer")
    if len({consumer.name for consumer in group.consumers}) != len(group.consumers):
        raise DamagedValueError("the same consumer twice")
    return group


_READ: Final[dict[int, Callable[[Reader], Value]]] = {
    Kind.STRING: Reader.text,
    Kind.LIST: _read_list,
    Kind.LIST_ZIPLIST: _read_list_ziplist,
    Kind.LIST_QUICKLIST: _read_quicklist,
    Kind.LIST_QUICKLIST_2: _read_quicklist_2,
    Kind.SET: _read_set,
    Kind.SET_INTSET: _read_intset,
    Kind.SET_LISTPACK: _read_set_listpack,
    Kind.SORTED_SET: _read_sorted_set,
    Kind.SORTED_SET_2: _read_sorted_set_2,
    Kind.SORTED_SET_ZIPLIST: _read_sorted_set_ziplist,
    Kind.SORTED_SET_LISTPACK: _read_sorted_set_listpack,
    Kind.HASH: _read_hash,
    Kind.HASH_ZIPMAP: _read_zipmap,
    Kind.HASH_ZIPLIST: _read_hash_ziplist,
    Kind.HASH_LISTPACK: _read_hash_listpack,
    Kind.HASH_METADATA_OLD: _read_hash_metadata_old,
    Kind.HASH_METADATA: _read_hash_metadata,
    Kind.HASH_LISTPACK_EX_OLD: _read_hash_listpack_ex_old,
    Kind.HASH_LISTPACK_EX: _read_hash_listpack_ex,
    Kind.STREAM_LISTPACKS: _read_stream_1,
    Kind.STREAM_LISTPACKS_2: _read_stream_2,
    Kind.STREAM_LISTPACKS_3: _read_stream_3,
}

# -- what DUMP adds --------------------------------------------------------------------------------

_FOOTER_BYTES: Final = _U16.size + _U64.size


def seal(kind: Kind, body: bytes) -> bytes:
    """Return what DUMP answers for a value."""
    return seal_bare(b"%c%b" % (kind, body))


def seal_bare(body: bytes) -> bytes:
    """Return a payload with its version and checksum (FUNCTION DUMP)."""
    data = body + _U16.pack(VERSION)
    return data + _U64.pack(crc64(data))


def unseal(payload: bytes) -> Reader | None:
    """Return a reader of kind and body, None if the version is newer or the checksum wrong.

    A body that is too short goes on in the version and the checksum, as Redis reads it.
    """
    end = len(payload) - _FOOTER_BYTES
    if end < 0 or _U16.unpack_from(payload, end)[0] > VERSION:
        return None
    if _U64.unpack_from(payload, end + _U16.size)[0] != crc64(payload[: end + _U16.size]):
        return None
    return Reader(payload)
