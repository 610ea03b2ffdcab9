"""HyperLogLog: an estimate of how many different elements were seen, in at most 12304 bytes.

It is a string, byte for byte the one of Redis, because GET, DUMP and RESTORE show it:

    "HYLL", encoding (0 dense, 1 sparse), 3 zeros, cached estimate (u64 little-endian, its highest
    bit set while it is out of date), registers

An element's hash chooses one of 16384 registers, and what is left of it gives a count, 1 to 51: the
place of its first one bit. A register keeps the highest count. Registers are stored

- dense: 6 bits each, the first in the lowest bits of the first byte;
- sparse: opcodes for runs of registers, `00nnnnnn` n+1 zeros, `01nnnnnn nnnnnnnn` n+1 zeros,
  `1vvvvvnn` n+1 times v+1. It becomes dense when a count exceeds 32 or the string would exceed
  hll-sparse-max-bytes, and never sparse again.

`HyperLogLog` is the buffer of such a string. Functions take any bytes-like string; what they call
registers is 16384 bytes, one for each. Work over all registers is done by slices, tables and long
integers, 30 to 100 us; a loop would take some ms.

Sources: Flajolet et al., "HyperLogLog", 2007 (registers); Ertl, "New cardinality estimation
algorithms for HyperLogLog sketches", 2017 (the estimate); Appleby's MurmurHash64A (the hash).
"""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice
from math import inf, sqrt
from random import Random
from struct import Struct, iter_unpack
from typing import Final

from shoal.proto import errors
from shoal.worker.values.limits import LIMITS

INDEX_BITS: Final = 14
REGISTERS: Final = 1 << INDEX_BITS
COUNT_BITS: Final = 64 - INDEX_BITS
HEADER_BYTES: Final = 16
DENSE_BYTES: Final = HEADER_BYTES + REGISTERS * 6 // 8
SPARSE_MAX_COUNT: Final = 32
# "HYLL", sparse, an estimate of 0 that is up to date, one run of zeros.
EMPTY: Final = b"HYLL\1" + bytes(11) + b"\x7f\xff"

DENSE, SPARSE = 0, 1

Data = bytes | bytearray

# -- the hash --------------------------------------------------------------------------------------

_SEED: Final = 0xADC83B19
_FACTOR: Final = 0xC6A4A7935BD1E995
_MASK: Final = (1 << 64) - 1
_STARTS: Final = [_SEED ^ size * _FACTOR & _MASK for size in range(256)]
_WORDS: Final = [Struct(f"<{count}Q").unpack_from for count in range(32)]
_THREE_WORDS: Final = Struct("<3Q").unpack_from


def murmur_hash(data: bytes) -> int:
    """Return the 64-bit MurmurHash64A of the data, with the seed of HyperLogLog.

    >>> hex(murmur_hash(b"")), hex(murmur_hash(b"HyperLogLog"))
    ('0xd8dfea6585bc9732', '0xdea010c5d61a8b25')
    """
    # Products are cut to 64 bits only where a shift looks at their upper half: bits go upwards.
    size = len(data)
    if size < 8:
        value = _STARTS[size]
        if size:
            value = (value ^ int.from_bytes(data, "little")) * _FACTOR & _MASK
    elif size < 16:
        number = int.from_bytes(data, "little")
        word = (number & _MASK) * _FACTOR & _MASK
        value = (_STARTS[size] ^ (word ^ word >> 47) * _FACTOR) * _FACTOR
        if size > 8:
            value = (value ^ number >> 64) * _FACTOR
        value &= _MASK
    elif size < 24:
        word, second, rest = _THREE_WORDS(data + b"\0\0\0\0\0\0\0\0")
        word = word * _FACTOR & _MASK
        value = (_STARTS[size] ^ (word ^ word >> 47) * _FACTOR) * _FACTOR
        word = second * _FACTOR & _MASK
        value = (value ^ (word ^ word >> 47) * _FACTOR) * _FACTOR
        if size > 16:
            value = ((value & _MASK) ^ rest) * _FACTOR
        value &= _MASK
    else:
        words: Iterable[int]
        if size < 256:
            value, words = _STARTS[size], _WORDS[size >> 3](data)
        else:
            value = _SEED ^ size * _FACTOR & _MASK
            words = (word for (word,) in iter_unpack("<Q", memoryview(data)[: size & -8]))
        for word in words:
            word = word * _FACTOR & _MASK
            value = (value ^ (word ^ word >> 47) * _FACTOR) * _FACTOR & _MASK
        if size & 7:
            value = (value ^ int.from_bytes(data[size & -8 :], "little")) * _FACTOR & _MASK
    value = (value ^ value >> 47) * _FACTOR & _MASK
    return value ^ value >> 47


def place(element: bytes) -> tuple[int, int]:
    """Return an element's register and count."""
    value = murmur_hash(element)
    rest = value >> INDEX_BITS | 1 << COUNT_BITS
    return value & (REGISTERS - 1), (rest & -rest).bit_length()


# -- all registers at once -------------------------------------------------------------------------

# A byte of the dense registers holds parts of two of four registers.
_LOW_6: Final = bytes([byte & 63 for byte in range(256)])
_HIGH_2: Final = bytes([byte >> 6 for byte in range(256)])
_LOW_4_UP: Final = bytes([(byte & 15) << 2 for byte in range(256)])
_HIGH_4: Final = bytes([byte >> 4 for byte in range(256)])
_LOW_2_UP: Final = bytes([(byte & 3) << 4 for byte in range(256)])
_HIGH_6: Final = bytes([byte >> 2 for byte in range(256)])

_LOW_2_TO_TOP: Final = bytes([byte << 6 & 255 for byte in range(256)])
_LOW_4_TO_TOP: Final = bytes([byte << 4 & 255 for byte in range(256)])
_TO_TOP: Final = bytes([byte << 2 & 255 for byte in range(256)])

_TOP_BITS: Final = int.from_bytes(b"\x80" * REGISTERS, "little")


def _or(first: Data, second: Data) -> bytes:
    number = int.from_bytes(first, "little") | int.from_bytes(second, "little")
    return number.to_bytes(len(first), "little")


def _unpack(data: Data) -> bytearray:
    """Return the registers of a dense string."""
    first, second, third = (data[HEADER_BYTES + at :: 3] for at in range(3))
    registers = bytearray(REGISTERS)
    registers[0::4] = first.translate(_LOW_6)
    registers[1::4] = _or(first.translate(_HIGH_2), second.translate(_LOW_4_UP))
    registers[2::4] = _or(second.translate(_HIGH_4), third.translate(_LOW_2_UP))
    registers[3::4] = third.translate(_HIGH_6)
    return registers


def _pack(header: Data, registers: Data) -> bytearray:
    """Return the dense string of such a header, but for its encoding, and registers."""
    r0, r1, r2, r3 = (registers[at::4] for at in range(4))
    data = bytearray(DENSE_BYTES)
    data[:HEADER_BYTES] = header
    data[4] = DENSE
    data[HEADER_BYTES + 0 :: 3] = _or(r0, r1.translate(_LOW_2_TO_TOP))
    data[HEADER_BYTES + 1 :: 3] = _or(r1.translate(_HIGH_6), r2.translate(_LOW_4_TO_TOP))
    data[HEADER_BYTES + 2 :: 3] = _or(r2.translate(_HIGH_4), r3.translate(_TO_TOP))
    return data


def _expand(data: Data) -> bytes:
    """Return the registers of a sparse string. Raises: ReplyError if they are not 16384."""
    runs = []
    size = 0
    rest = islice(data, HEADER_BYTES, None)
    for opcode in rest:
        if opcode & 0x80:
            run = _RUNS[opcode]
        elif opcode & 0x40:
            run = bytes(((opcode & 0x3F) << 8 | next(rest, 0)) + 1)
        else:
            run = bytes(opcode + 1)
        runs.append(run)
        size += len(run)
        if size > REGISTERS:
            raise errors.corrupted_hyperloglog()
    if size < REGISTERS:
        raise errors.corrupted_hyperloglog()
    return b"".join(runs)


_RUNS: Final = {
    opcode: bytes([(opcode >> 2 & 0x1F) + 1]) * ((opcode & 3) + 1) for opcode in range(0x80, 0x100)
}


def check_string(data: Data) -> None:
    """Raise the ReplyError that says so unless the string begins as a HyperLogLog does and, if it
    is dense, has its size.
    """
    if (
        len(data) < HEADER_BYTES
        or data[:4] != b"HYLL"
        or data[4] > SPARSE
        or (data[4] == DENSE and len(data) != DENSE_BYTES)
    ):
        raise errors.not_a_hyperloglog()


def registers_of(data: Data) -> Data:
    """Return the registers of a string. Raises: ReplyError if it is no HyperLogLog or damaged."""
    check_string(data)
    return _expand(data) if data[4] == SPARSE else _unpack(data)


def merge(first: Data, second: Data) -> bytes:
    """Return the higher of each two registers, which are below 128."""
    a, b = int.from_bytes(first, "little"), int.from_bytes(second, "little")
    higher = ((a | _TOP_BITS) - b) & _TOP_BITS  # the top bit of a byte stays where a >= b
    higher |= higher - (higher >> 7)  # now all its bits
    return (b ^ ((a ^ b) & higher)).to_bytes(REGISTERS, "little")


# -- the estimate ----------------------------------------------------------------------------------


def estimate(registers: Data) -> int:
    """Return how many different elements such registers have seen, about; the standard error is
    0.81 %.
    """
    counts = [0] * 64
    left = REGISTERS
    for count in range(64):
        counts[count] = found = registers.count(count)
        left -= found
        if not left:
            break
    # In this very order: the last bits of a double decide how .5 is rounded.
    size = float(REGISTERS)
    total = size * _tau((size - counts[COUNT_BITS + 1]) / size)
    for count in range(COUNT_BITS, 0, -1):
        total += counts[count]
        total *= 0.5
    total += size * _sigma(counts[0] / size)
    if not total:  # no register that an element could have made: not infinite, but as C casts it
        return 1 << 63
    number = 0.721347520444481703680 * size * size / total
    whole = int(number)
    return whole + (number - whole >= 0.5)


def _sigma(x: float) -> float:
    if x == 1.0:
        return inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) * (1 - x) * y
    return z / 3


# -- one HyperLogLog -------------------------------------------------------------------------------

# Bytes of a sparse string above which it is not walked to find a register.
_INDEX_ABOVE: Final = 48
_NO_INDEX: Final = array("H")

# A zero run of over 64 registers, one other register, another such run.
_SPLIT: Final = Struct(">HBH").pack
_COUNTED: Final = re.compile(rb"[^\0]", re.DOTALL)


def _opcode(value: int, count: int) -> tuple[int, ...]:
    """Return the opcode for a run of so many registers: up to 16384 zeros, 4 of another value."""
    count -= 1
    if value:
        return (0x80 | (value - 1) << 2 | count,)
    return (count,) if count < 64 else (0x40 | count >> 8, count & 0xFF)


# Those bits of a hash that hold the counts up to this one.
_BITS_UP_TO: Final = [
    ((1 << min(count, COUNT_BITS)) - 1) << INDEX_BITS for count in range(SPARSE_MAX_COUNT * 2)
]


class HyperLogLog(bytearray):
    """The buffer of a HyperLogLog string, with what finds a register in a sparse one.

    `_starts` has an entry for each byte after the header: the first register of the opcode that the
    byte belongs to. So bisection finds a register's opcode; walking there takes 50 us in a long
    string. It is None in a short string and a dense one, empty where the opcodes do not cover the
    registers exactly: those are walked as far as they go, as Redis does.
    """

    __slots__ = ("_starts",)

    encoding = b"raw"  # OBJECT ENCODING of the string

    def __init__(self, data: Data = EMPTY) -> None:
        """Copy a HyperLogLog string. Raises: ReplyError if it is none."""
        check_string(data)
        super().__init__(data)
        self._starts: array[int] | None = None

    def __sizeof__(self) -> int:
        """Return the bytes in memory, those of the index included."""
        starts = self._starts
        return super().__sizeof__() + (sys.getsizeof(starts) if starts else 0)

    @property
    def dense(self) -> bool:
        """Whether the registers are stored at fixed places."""
        return self[4] == DENSE

    @property
    def cached(self) -> int | None:
        """The estimate that the string remembers, None while it is out of date."""
        return None if self[15] & 0x80 else int.from_bytes(self[8:16], "little")

    def remember(self, number: int) -> None:
        """Keep the estimate in the string."""
        self[8:16] = number.to_bytes(8, "little")

    def forget(self) -> None:
        """Mark the estimate in the string as out of date."""
        self[15] |= 0x80

    def add(self, element: bytes, limit: int | None = None) -> bool:
        """Count an element; tell whether a register has changed.

        Args:
            element: which may have been counted before.
            limit: bytes above which it becomes dense, None for hll-sparse-max-bytes.
        Raises: ReplyError if the register cannot be found, in a damaged string.
        """
        value = murmur_hash(element)  # `place` and the reading half of `_raise_dense`, for speed
        rest = value >> INDEX_BITS | 1 << COUNT_BITS
        count = (rest & -rest).bit_length()
        index = value & (REGISTERS - 1)
        if self[4]:
            return self._raise_sparse(index, count, limit)
        bit = index * 6
        at = HEADER_BYTES + (bit >> 3)
        shift = bit & 7
        word = self[at] if shift <= 2 else self[at] | self[at + 1] << 8
        return word >> shift & 63 < count and self._raise_dense(index, count)

    def has(self, element: bytes) -> bool:
        """Tell whether it is dense and has counted an element, or others that hide it, for certain:
        then `add` would change nothing.
        """
        if self[4]:
            return False
        value = murmur_hash(element)
        bit = (value & 16383) * 6
        at = HEADER_BYTES + (bit >> 3)
        shift = bit & 7
        word = self[at] if shift <= 2 else self[at] | self[at + 1] << 8
        # A higher count is the place of a one bit behind so many zeros.
        return value & _BITS_UP_TO[word >> shift & 63] != 0

    def raise_to(self, registers: Data, *, dense: bool, limit: int | None = None) -> None:
        """Take over these registers, none of which is below its own, those of Redis's PFMERGE.

        It becomes dense if told so, or if it must; `limit` is as in `add`.
        """
        if not dense:
            for match in _COUNTED.finditer(registers):
                index = match.start()
                self._raise_sparse(index, registers[index], limit)
                if self.dense:
                    break
            else:
                return
        self.to_dense()
        self[:] = _pack(self[:HEADER_BYTES], registers)

    def to_dense(self) -> bool:
        """Become dense; tell whether it was sparse. Raises: ReplyError if it is damaged."""
        if self.dense:
            return False
        self[:] = _pack(self[:HEADER_BYTES], _expand(self))
        self._starts = None
        return True

    def opcodes(self) -> bytes:
        """Return a sparse string's opcodes as PFDEBUG DECODE shows them."""
        shown = []
        rest = islice(self, HEADER_BYTES, None)
        for opcode in rest:
            if opcode & 0x80:
                shown.append(b"v:%d,%d" % ((opcode >> 2 & 0x1F) + 1, (opcode & 3) + 1))
            elif opcode & 0x40:
                shown.append(b"Z:%d" % (((opcode & 0x3F) << 8 | next(rest, 0)) + 1))
            else:
                shown.append(b"z:%d" % (opcode + 1))
        return b" ".join(shown)

    def check(self) -> None:
        """Assert that the registers and the index are whole."""
        registers_of(self)
        starts = self._starts
        if self.dense:
            assert starts is None, "an index of a dense string"
        elif starts is not None:
            assert starts == self._index(), "the index is not that of the opcodes"

    # -- one register ------------------------------------------------------------------------------

    def _raise_dense(self, index: int, count: int) -> bool:
        bit = index * 6
        at = HEADER_BYTES + (bit >> 3)
        shift = bit & 7
        if shift <= 2:  # all in one byte, such as the very last register
            old = self[at] >> shift & 63
            if old >= count:
                return False
            self[at] += (count - old) << shift
            return True
        word = self[at] | self[at + 1] << 8
        old = word >> shift & 63
        if old >= count:
            return False
        word += (count - old) << shift
        self[at] = word & 0xFF
        self[at + 1] = word >> 8
        return True

    def _raise_sparse(self, index: int, count: int, limit: int | None) -> bool:
        if count > SPARSE_MAX_COUNT:
            self.to_dense()
            return self._raise_dense(index, count)
        before, at, first = self._find(index)
        value, run, size = self._decode(at)
        if value >= count:
            return False
        left, right = index - first, first + run - 1 - index
        between_zeros = not value and left > 64 and right > 64  # as good as always, and quicker
        if between_zeros:
            new = _SPLIT(0x3FFF + left, 0x7C + (count << 2), 0x3FFF + right)
            starts_of_new: tuple[int, ...] = (first, first, index, index + 1, index + 1)
        else:
            head = _opcode(value, left) if left else ()
            tail = _opcode(value, right) if right else ()
            new = bytes((*head, *_opcode(count, 1), *tail))
            starts_of_new = (first,) * len(head) + (index,) + (index + 1,) * len(tail)
        growth = len(new) - size
        if limit is None:
            limit = LIMITS.hll_sparse_max_bytes
        if growth > 0 and len(self) + growth > limit:
            self.to_dense()
            return self._raise_dense(index, count)
        broken = at + size > len(self)  # a damaged string ends in the middle of its last opcode
        self[at : at + size] = new
        if broken:
            del self[-1]
        starts = self._starts
        if starts:
            at -= HEADER_BYTES
            starts[at : at + size] = array("H", starts_of_new)
            at += HEADER_BYTES
        if not between_zeros:
            self._join_runs(before, 5)
        elif at + 5 < len(self) and self[at + 5] & 0x80:
            self._join_runs(at + 5, 2 if before == at else 1)
        return True

    def _join_runs(self, at: int, steps: int) -> None:
        """Join runs of one value from `at` on: Redis looks at five opcodes, from the one before the
        changed one on.
        """
        starts = self._starts
        for _ in range(steps):
            if at + 1 >= len(self):
                break
            opcode = self[at]
            if opcode < 0x80:
                at += 2 if opcode & 0x40 else 1
                continue
            following = self[at + 1]
            count = (opcode & 3) + (following & 3) + 1
            if following & 0xFC == opcode & 0xFC and count < 4:
                self[at : at + 2] = bytes((opcode & 0xFC | count,))
                if starts:
                    del starts[at + 1 - HEADER_BYTES]
            else:
                at += 1

    def _decode(self, at: int) -> tuple[int, int, int]:
        """Return value, registers and bytes of the opcode at a place."""
        opcode = self[at]
        if opcode & 0x80:
            return (opcode >> 2 & 0x1F) + 1, (opcode & 3) + 1, 1
        if opcode & 0x40:
            low = self[at + 1] if at + 1 < len(self) else 0
            return 0, ((opcode & 0x3F) << 8 | low) + 1, 2
        return 0, opcode + 1, 1

    def _find(self, index: int) -> tuple[int, int, int]:
        """Return where a register's opcode is, after where the one before it is (the same place if
        there is none) and before the first register that it covers. Raises: ReplyError.
        """
        starts = self._starts
        if starts is None and len(self) > _INDEX_ABOVE:
            starts = self._starts = self._index()
        if not starts:
            return self._walk(index)
        at = bisect_right(starts, index) - 1
        first = starts[at]
        if at and starts[at - 1] == first:
            at -= 1
        before = at - 1 if at else 0
        if before and starts[before - 1] == starts[before]:
            before -= 1
        return before + HEADER_BYTES, at + HEADER_BYTES, first

    def _walk(self, index: int) -> tuple[int, int, int]:
        before = at = HEADER_BYTES
        end = len(self)
        first = 0
        while at < end:
            opcode = self[at]
            following = at + 1
            if opcode & 0x80:
                after = first + (opcode & 3) + 1
            elif opcode & 0x40:
                low = self[following] if following < end else 0
                after = first + ((opcode & 0x3F) << 8 | low) + 1
                following += 1
            else:
                after = first + opcode + 1
            if index < after:
                return before, at, first
            before, at, first = at, following, after
        raise errors.corrupted_hyperloglog()

    def _index(self) -> array[int]:
        starts = array("H")
        at, first = HEADER_BYTES, 0
        while at < len(self) and first < REGISTERS:
            _, run, size = self._decode(at)
            starts.extend((first,) * size)
            at += size
            first += run
        return starts if at == len(self) and first == REGISTERS else _NO_INDEX


# -- self test -------------------------------------------------------------------------------------

_KNOWN_HASHES: Final = {
    b"": 0xD8DFEA6585BC9732,
    b"a": 0x53D2470A9B43B1A7,
    b"12345678": 0x95EBB86389132953,
    b"HyperLogLog": 0xDEA010C5D61A8B25,
    b"0123456789abcdef": 0x9F8565428EAA573D,
    bytes(range(256)) * 2: 0x219854854261B7B,
}
_TEST_ELEMENTS: Final = 400


def self_test(random: Random) -> str:
    """Try the hash, both encodings and the estimate, for some ms; return what is wrong, or ""."""
    for data, value in _KNOWN_HASHES.items():
        if murmur_hash(data) != value:
            return f"the hash of {data!r} is wrong"
    first, second = (random.randbytes(REGISTERS).translate(_LOW_6) for _ in range(2))
    if _unpack(_pack(EMPTY[:HEADER_BYTES], first)) != first:
        return "dense registers are not found again"
    if merge(first, second) != bytes(map(max, first, second)):
        return "merged registers are not the highest ones"
    sparse, dense = HyperLogLog(), HyperLogLog()
    dense.to_dense()
    best = bytearray(REGISTERS)
    for element in (random.randbytes(8) for _ in range(_TEST_ELEMENTS)):
        index, count = place(element)
        new = count > best[index]
        best[index] = max(best[index], count)
        if dense.add(element) != new or sparse.add(element) != new:
            return "a changed register is not reported, or one that is not"
    if registers_of(dense) != best or registers_of(sparse) != best:
        return "the registers are not the highest counts"
    # Few elements make different registers but for some: here their number is nearly exact.
    error = abs(estimate(best) - _TEST_ELEMENTS) / _TEST_ELEMENTS
    return f"the estimate is {error:.1%} off" if error > 0.05 else ""
