"""A node of a stream: entries that lie together, packed to bytes when nobody looks.

Redis keeps the entries of a node in one listpack, and begins a new node when that has so many
entries or bytes. Approximate trimming removes whole nodes only, so where they begin can be seen;
therefore a node here knows how many bytes its listpack would have.

A packed node is one `bytes` object: the IDs as a few runs, or their milliseconds and sequence
numbers as arrays of the smallest width; then the values; the names of the fields only for entries
whose names are not the node's. A small entry takes some 20 bytes, as in Redis, where the objects
would be 170.

What always holds:
- a node has its lists (`ids`, `items`), or is packed, or both, if it was not changed since;
- the lists hold the entries that are there; those deleted are only counted, in `dead`;
- `names` are the fields of the first entry that was ever in the node. The item of an entry with the
  same names is its value, or the tuple of its values if they are several; of any other entry, a
  list of names and values, alternating.
"""

from __future__ import annotations

import marshal
import sys
from array import array
from bisect import bisect_left
from itertools import chain
from typing import Any, Final

from shoal.proto.numbers import parse_int
from shoal.worker.values.stream_id import SEQ_BITS, SEQ_MASK

Item = bytes | tuple[bytes, ...] | list[bytes]

# -- the size of a listpack ------------------------------------------------------------------------
# Source: "Listpack specification" (antirez/listpack), the encodings and the length behind each
# element; what a stream puts into it was measured on redis-server 8.2.

# Header of six bytes, and the end.
_EMPTY_BYTES: Final = 7
_FIRST_DIGIT: Final = ord("0")
_LAST_DIGIT: Final = ord("9")
# Strings that are longer are no integers.
INTEGER_DIGITS: Final = 20

# What an integer takes at most.
MAX_INTEGER_BYTES: Final = 10


def _with_length(size: int) -> int:
    """Return the bytes of an element of `size`, the length that follows it included."""
    if size < 128:
        return size + 1
    if size < 16_383:
        return size + 2
    if size < 2_097_151:
        return size + 3
    return size + 4 if size < 268_435_455 else size + 5


def _string_bytes(size: int) -> int:
    return _with_length(size + (1 if size < 64 else 2 if size < 4096 else 5))


# What strings take that are no integers, by their length.
STRING_BYTES: Final = [_string_bytes(size) for size in range(4096)]


def integer_bytes(number: int) -> int:
    """Return the bytes of an integer in a listpack."""
    if 0 <= number < 128:
        return 2
    if -4096 <= number < 4096:
        return 3
    if -32_768 <= number < 32_768:
        return 4
    if -8_388_608 <= number < 8_388_608:
        return 5
    return 6 if -2_147_483_648 <= number < 2_147_483_648 else MAX_INTEGER_BYTES


def text_bytes(text: bytes) -> int:
    """Return the bytes of a string in a listpack, which holds integers as such."""
    size = len(text)
    # A look at the first byte saves most strings the attempt to parse them.
    if 0 < size <= INTEGER_DIGITS and text[0] <= _LAST_DIGIT:
        if text.isdigit() and text[0] != _FIRST_DIGIT and size < INTEGER_DIGITS - 1:
            return integer_bytes(int(text))
        number = parse_int(text)
        if number is not None:
            return integer_bytes(number)
    return STRING_BYTES[size] if size < 4096 else _string_bytes(size)


# -- numbers ---------------------------------------------------------------------------------------

# Type codes of `array`, by width; the index is what is stored.
_CODES: Final = "BHIQ"

_Numbers = tuple[int, int, bytes]  # the smallest, the index of a type code, what exceeds it
_PackedIds = list[int] | tuple[_Numbers, _Numbers]


def _pack_ids(ids: list[int]) -> _PackedIds:
    """Pack ascending IDs.

    Returns: three numbers for each run of IDs that follow each other in one millisecond, the
        milliseconds, the first sequence number, the length; two arrays if there are many runs.
    """
    runs: list[int] = []
    size = len(ids)
    at = 0
    while at < size and len(runs) <= size // 4:
        first = ids[at]
        ms = first >> SEQ_BITS
        end = bisect_left(ids, (ms + 1) << SEQ_BITS, at)
        if ids[end - 1] - first != end - 1 - at:
            break  # some are missing
        runs += (ms, first & SEQ_MASK, end - at)
        at = end
    if at == size:
        return runs
    return (
        _pack_numbers([entry_id >> SEQ_BITS for entry_id in ids]),
        _pack_numbers([entry_id & SEQ_MASK for entry_id in ids]),
    )


def _unpack_ids(packed: _PackedIds, count: int) -> list[int]:
    """Return `count` IDs that `_pack_ids` packed."""
    if isinstance(packed, list):
        ids: list[int] = []
        numbers = iter(packed)
        for ms, seq, length in zip(numbers, numbers, numbers, strict=True):
            first = (ms << SEQ_BITS) + seq
            ids += range(first, first + length)
        return ids
    many_ms, many_seq = packed
    first = (many_ms[0] << SEQ_BITS) + many_seq[0]
    high = array(_CODES[many_ms[1]], many_ms[2])
    low = array(_CODES[many_seq[1]], many_seq[2])
    if not high:  # all of one millisecond
        return [first + number for number in low] if low else [first] * count
    if not low:
        return [first + (number << SEQ_BITS) for number in high]
    return [first + (one << SEQ_BITS) + two for one, two in zip(high, low, strict=True)]


def _pack_numbers(numbers: list[int]) -> _Numbers:
    base = min(numbers)
    spread = max(numbers) - base
    if not spread:
        return base, 0, b""
    width = 0 if spread < 1 << 8 else 1 if spread < 1 << 16 else 2 if spread < 1 << 32 else 3
    return base, width, array(_CODES[width], [number - base for number in numbers]).tobytes()


class Node:
    """See the module's text.

    Attributes:
        first: ID of the first entry that was ever in it; IDs in a listpack are relative to that.
        last: ID of the last entry that was ever in it.
        live, dead: how many entries are there, and how many were deleted.
        bytes_without_counts: what its listpack has, but for these two numbers.
        ids, items: the lists, None if it is only packed.
        packed: the bytes, None if they are not up to date.
        only_name: the name, if `names` is one.
        alike: whether all that were ever in it have these names.
        alike_bytes: what an entry with these names has in a listpack beside its ID and values: its
            flags, and the number of its elements.
        id_bytes, far: what the ID of the next entry has, if it is below `far`.
    """

    __slots__ = (
        "alike",
        "alike_bytes",
        "bytes_without_counts",
        "dead",
        "far",
        "first",
        "id_bytes",
        "ids",
        "items",
        "last",
        "live",
        "names",
        "only_name",
        "packed",
    )

    def __init__(self, first: int, names: tuple[bytes, ...]) -> None:
        """Begin a node with the ID and the field names of its first entry, which is yet to come."""
        self.first = self.last = first
        self.names = names
        self.live = self.dead = 0
        self.ids: list[int] | None = []
        self.items: list[Item] | None = []
        self.packed: bytes | None = None
        self.bytes_without_counts = (
            _EMPTY_BYTES + integer_bytes(len(names)) + sum(map(text_bytes, names)) + 2
        )
        self.alike_bytes = 2 + integer_bytes(len(names) + 3)
        self.alike = True
        self.only_name = names[0] if len(names) == 1 else None
        self.id_bytes = self.far = 0

    def listpack_bytes(self) -> int:
        """Return how many bytes Redis's listpack of this node has."""
        return self.bytes_without_counts + integer_bytes(self.live) + integer_bytes(self.dead)

    def lists(self) -> tuple[list[int], list[Item]]:
        """Return IDs and items, unpacked if necessary. They may be changed by methods only."""
        if self.ids is None or self.items is None:
            self.ids, self.items = self._unpack()
        return self.ids, self.items

    def append(self, entry_id: int, fields: tuple[bytes, ...]) -> None:
        """Add an entry behind the others; `fields` are names and values, alternating."""
        item: Item
        if len(fields) == 2 and fields[0] == self.only_name:  # the usual case
            text = fields[1]
            length = len(text)
            item = text
            texts_bytes = (
                STRING_BYTES[length] if INTEGER_DIGITS < length < 4096 else text_bytes(text)
            )
            size = self.alike_bytes
        else:
            texts = fields
            if fields[::2] == self.names:
                item = texts = fields[1::2]
                size = self.alike_bytes
            else:
                item = list(fields)
                self.alike = False
                count = len(fields)
                size = 2 + integer_bytes(count // 2) + integer_bytes(count + 4)
            texts_bytes = 0
            for text in texts:
                length = len(text)
                if INTEGER_DIGITS < length < 4096:
                    texts_bytes += STRING_BYTES[length]
                else:
                    texts_bytes += text_bytes(text)
        if entry_id >= self.far:
            self.find_id_bytes(entry_id)
        self.bytes_without_counts += size + self.id_bytes + texts_bytes
        ids, items = self.ids, self.items
        if ids is None or items is None:
            ids, items = self.lists()
        ids.append(entry_id)
        items.append(item)
        self.packed = None
        self.last = entry_id
        self.live += 1

    def find_id_bytes(self, entry_id: int) -> None:
        """Find `id_bytes` for an ID, and `far`."""
        # Its milliseconds and its sequence number are stored relative to those of the first.
        ms = (entry_id >> SEQ_BITS) - (self.first >> SEQ_BITS)
        seq = (entry_id & SEQ_MASK) - (self.first & SEQ_MASK)
        # As long as the milliseconds are the same, this holds up to the next limit, or to zero.
        limit = 128 if 0 <= seq < 128 else 0 if -4096 <= seq < 0 else seq
        self.far = entry_id - seq + limit
        self.id_bytes = integer_bytes(ms) + integer_bytes(_signed(seq))

    def delete(self, start: int, stop: int) -> None:
        """Delete the entries at these indexes of the lists."""
        ids, items = self.lists()
        del ids[start:stop], items[start:stop]
        self.packed = None
        self.live -= stop - start
        self.dead += stop - start

    def pack(self) -> None:
        """Keep the entries as bytes only."""
        if self.packed is None:
            self.packed = self._pack()
        self.ids = self.items = None
        self.far = 0  # a big number, found again if it is needed

    def _pack(self) -> bytes:
        ids, items = self.lists()
        values: list[Any] = items
        flat = self.alike and self.only_name is None
        if flat:
            values = list(chain.from_iterable(values))
        # no references: neither the time to find them nor the bytes
        return marshal.dumps((_pack_ids(ids), flat, values), 2)

    def _unpack(self) -> tuple[list[int], list[Item]]:
        assert self.packed is not None
        packed, flat, values = marshal.loads(self.packed)
        if flat:
            values = list(zip(*[iter(values)] * len(self.names), strict=True))
        return _unpack_ids(packed, self.live), values

    def clear(self) -> None:
        """Let go of all entries: the node is in no stream any more, whoever may still know it."""
        self.ids = self.items = self.packed = None

    def copy(self) -> Node:
        """Return a node of the same entries, packed."""
        twin = Node.__new__(Node)
        twin.first, twin.last, twin.names = self.first, self.last, self.names
        twin.live, twin.dead = self.live, self.dead
        twin.bytes_without_counts = self.bytes_without_counts
        twin.packed = self._pack() if self.packed is None else self.packed
        twin.ids = twin.items = None
        twin.alike = self.alike
        twin.alike_bytes, twin.only_name = self.alike_bytes, self.only_name
        twin.id_bytes = twin.far = 0
        return twin

    def memory_bytes(self) -> int:
        """Return about how many bytes it takes, without the names that it shares."""
        size = sys.getsizeof(self) + sys.getsizeof(self.first) + sys.getsizeof(self.last)
        if self.packed is not None:
            size += sys.getsizeof(self.packed)
        if self.ids is not None and self.items is not None:
            size += sys.getsizeof(self.ids) + sum(map(sys.getsizeof, self.ids))
            size += sys.getsizeof(self.items) + sum(map(sys.getsizeof, self.items))
            for item in self.items:
                size += 0 if isinstance(item, bytes) else sum(map(sys.getsizeof, item))
        return size

    def check(self) -> None:
        """Assert what the module's text says."""
        assert self.ids is not None or self.packed is not None
        ids, items = self._unpack() if self.ids is None else self.lists()
        assert len(ids) == len(items) == self.live
        assert ids == sorted(set(ids)), "out of order"
        assert not ids or self.first <= ids[0] <= ids[-1] <= self.last
        if self.ids is not None and self.packed is not None:
            assert self._unpack() == (ids, items), "packed before a change"
        width = len(self.names)
        for item in items:
            if item.__class__ is bytes:
                assert width == 1
            elif item.__class__ is tuple:
                assert len(item) == width > 1
            else:
                assert not self.alike
                assert tuple(item[::2]) != self.names
                assert not len(item) % 2


def _signed(number: int) -> int:
    """Return a difference of two sequence numbers as the 64 bits that are stored show it."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
