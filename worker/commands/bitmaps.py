"""The commands that see a string as an array of bits.

Bit 0 is the highest bit of the first byte, and a string is followed by as many zeros as one likes.
SETBIT and BITFIELD change a `bytearray` in place. Nothing here goes through bits one by one: long
strings are counted, searched and combined in pieces, by C code that takes a piece at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_, or_, xor
from typing import Final, NamedTuple

from shoal.proto import errors
from shoal.proto.limits import MAX_STRING_BYTES
from shoal.proto.numbers import INT64_MAX, parse_int
from shoal.proto.replies import NULL, ONE, ZERO, Array, Reply
from shoal.proto.replies import integer as integer_reply
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands.parse import integer, word
from shoal.worker.commands.store import store_result
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import command
from shoal.worker.values.string import String

WRITE, READONLY = CommandFlag.WRITE, CommandFlag.READONLY
DENYOOM, FAST = CommandFlag.DENYOOM, CommandFlag.FAST
BITMAP: Final = ("bitmap",)

# Of SETBIT, GETBIT, and a field's first bit: a field may reach beyond, and does so in Redis.
MAX_OFFSET: Final = MAX_STRING_BYTES * 8 - 1

_BITS: Final = (ZERO, ONE)
_ZERO_DIGIT: Final = ord("0")
_NEGATIVE_ONE: Final = integer_reply(-1)

# Bytes taken at once: as many as a processor's cache holds several times.
_PIECE: Final = 1 << 16

Data = bytes | bytearray

# -- single bits -----------------------------------------------------------------------------------


def _offset(arg: bytes) -> int:
    # Quicker than parse_int: without a sign and a leading zero the digits are canonical.
    if arg.isdigit() and len(arg) <= 10 and (arg[0] != _ZERO_DIGIT or len(arg) == 1):
        number = int(arg)
        if number <= MAX_OFFSET:
            return number
    raise errors.bad_bit_offset()


def _lengthen(ks: Keyspace, key: bytes, data: bytearray | None, size: int) -> bytearray:
    """Return the string at key with zeros added up to a size; a new one if there is none."""
    if data is None:
        data = bytearray(size)
        ks.set(key, data)
    else:
        data += bytes(size - len(data))
    return data


@command(
    "SETBIT",
    since="2.2.0",
    arity=4,
    group="bitmap",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "RW access update"),
    acl=BITMAP,
    complexity="O(1)",
)
def setbit(ks: Keyspace, key: bytes, offset: bytes, bit: bytes) -> Reply:
    """Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist."""
    at = _offset(offset)
    if bit != b"1" and bit != b"0":
        raise errors.bad_bit()
    data: bytearray | None = ks.lookup_buffer(key)
    mask = 128 >> (at & 7)
    at >>= 3
    grown = False
    if data is None or at >= len(data):
        data, grown = _lengthen(ks, key, data, at + 1), True
    byte = data[at]
    new = byte | mask if bit == b"1" else byte & ~mask
    if grown or new != byte:
        data[at] = new
        ks.changed(key)
        ks.notify(b"$", b"setbit", key)
    return ONE if byte & mask else ZERO


@command(
    "GETBIT",
    since="2.2.0",
    arity=3,
    group="bitmap",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=BITMAP,
    complexity="O(1)",
)
def getbit(ks: Keyspace, key: bytes, offset: bytes) -> Reply:
    """Returns a bit value by offset."""
    at = _offset(offset)
    data = ks.lookup_read(key, bytes)
    if data is None or at >> 3 >= len(data):
        return ZERO
    return _BITS[data[at >> 3] >> (~at & 7) & 1]


# -- ranges ----------------------------------------------------------------------------------------


def _counts_bits(unit: bytes) -> bool:
    name = word(unit)
    if name not in (b"BIT", b"BYTE"):
        raise errors.syntax_error()
    return name == b"BIT"


def _bit_range(start: int, end: int, in_bits: bool, size: int) -> tuple[int, int]:
    """Return first and last bit of a range in a string of `size` bytes; the last is below the first
    when the range is empty.
    """
    total = size * 8 if in_bits else size
    if start < 0:
        start = max(start + total, 0)
    if end < 0:
        end = max(end + total, 0)
    if end >= total:
        end = total - 1
    return (start, end) if in_bits else (start * 8, end * 8 + 7)


def count_ones(data: Data, first: int, last: int) -> int:
    """Return the number of ones from bit `first` to bit `last`, both inside of the string."""
    start, end = first >> 3, (last >> 3) + 1
    ones = 0
    for at in range(start, end, _PIECE):
        ones += int.from_bytes(data[at : min(at + _PIECE, end)], "little").bit_count()
    before = data[start] >> (8 - (first & 7))
    after = data[end - 1] & (127 >> (last & 7))
    return ones - before.bit_count() - after.bit_count()


# By the bit that is looked for: the byte without any, and runs of it.
_VOID: Final = (0xFF, 0x00)
_VOID_BYTE: Final = (b"\xff", b"\x00")
_VOID_RUNS: Final = tuple([[byte * size for size in (_PIECE, 4096, 256)] for byte in _VOID_BYTE])


def _skip_void(data: Data, bit: int, start: int, end: int) -> int:
    """Return the index of the first byte from `start` on that has such a bit, or `end`."""
    for run in _VOID_RUNS[bit]:  # a comparison with each, until it is not equal
        while start + len(run) <= end and data.startswith(run, start):
            start += len(run)
    rest = data[start : min(start + 256, end)]
    return start + len(rest) - len(rest.lstrip(_VOID_BYTE[bit]))


def find_bit(data: Data, bit: int, first: int, last: int) -> int:
    """Return the position of the first such bit (0 or 1) from bit `first` to bit `last`, both
    inside of the string, or -1.
    """
    at, end = first >> 3, (last >> 3) + 1
    # What is looked for becomes a one.
    byte = (data[at] ^ _VOID[bit]) & (255 >> (first & 7))
    if not byte:
        at = _skip_void(data, bit, at + 1, end)
        if at == end:
            return -1
        byte = data[at] ^ _VOID[bit]
    found = at * 8 + 8 - byte.bit_length()
    return found if found <= last else -1


@command(
    "BITCOUNT",
    since="2.6.0",
    arity=-2,
    group="bitmap",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=BITMAP,
    complexity="O(N)",
    history=(("7.0.0", "Added the `BYTE|BIT` option."),),
)
def bitcount(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Counts the number of set bits (population counting) in a string."""
    start, end, in_bits = 0, -1, False
    if args:
        if len(args) not in (2, 3):
            raise errors.syntax_error()
        start, end = integer(args[0]), integer(args[1])
        if len(args) == 3:
            in_bits = _counts_bits(args[2])
    data = ks.lookup_read(key, bytes)
    if data is None or (end < start and end < 0 and start < 0):
        return ZERO
    first, last = _bit_range(start, end, in_bits, len(data))
    return ZERO if last < first else integer_reply(count_ones(data, first, last))


@command(
    "BITPOS",
    since="2.8.7",
    arity=-3,
    group="bitmap",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=BITMAP,
    complexity="O(N)",
    history=(("7.0.0", "Added the `BYTE|BIT` option."),),
)
def bitpos(ks: Keyspace, key: bytes, bit: bytes, *args: bytes) -> Reply:
    """Finds the first set (1) or clear (0) bit in a string."""
    wanted = integer(bit)
    if wanted not in (0, 1):
        raise errors.bit_not_0_or_1()
    start, end, in_bits = 0, -1, False
    if args:
        if len(args) > 3:
            raise errors.syntax_error()
        start = integer(args[0])
        if len(args) == 3:
            in_bits = _counts_bits(args[2])
        if len(args) > 1:
            end = integer(args[1])
    data = ks.lookup_read(key, bytes)
    if data is None:
        return _NEGATIVE_ONE if wanted else ZERO
    first, last = _bit_range(start, end, in_bits, len(data))
    if last < first:
        return _NEGATIVE_ONE
    found = find_bit(data, wanted, first, last)
    if found < 0 and not wanted and len(args) < 2:  # without an end the zeros behind it count too
        found = len(data) * 8
    return integer_reply(found)


# -- several strings -------------------------------------------------------------------------------


def _difference(numbers: list[int]) -> int:
    return numbers[0] & ~reduce(or_, numbers[1:])


def _difference_1(numbers: list[int]) -> int:
    return ~numbers[0] & reduce(or_, numbers[1:])


def _and_or(numbers: list[int]) -> int:
    return numbers[0] & reduce(or_, numbers[1:])


def _exactly_one(numbers: list[int]) -> int:
    odd = several = 0
    for number in numbers:
        several |= odd & number
        odd ^= number
    return odd & ~several


_OPERATIONS: Final[dict[bytes, Callable[[list[int]], int]]] = {
    b"AND": lambda numbers: reduce(and_, numbers),
    b"OR": lambda numbers: reduce(or_, numbers),
    b"XOR": lambda numbers: reduce(xor, numbers),
    b"DIFF": _difference,
    b"DIFF1": _difference_1,
    b"ANDOR": _and_or,
    b"ONE": _exactly_one,
}
_FIRST_AND_OTHERS: Final = frozenset({b"DIFF", b"DIFF1", b"ANDOR"})
_INVERTED: Final = bytes(range(255, -1, -1))


def combine(operation: bytes, strings: Sequence[Data]) -> bytearray:
    """Return the result of BITOP, as long as the longest string; shorter ones end with zeros."""
    if operation == b"NOT":
        return bytearray(strings[0].translate(_INVERTED))
    function = _OPERATIONS[operation]
    size = max(map(len, strings))
    result = bytearray()
    for at in range(0, size, _PIECE):
        end = min(at + _PIECE, size)
        number = function([int.from_bytes(data[at:end], "little") for data in strings])
        result += number.to_bytes(end - at, "little")
    return result


@command(
    "BITOP",
    since="2.6.0",
    arity=-4,
    group="bitmap",
    flags=WRITE | DENYOOM,
    keys=(KeySpec(2, flags=("OW", "update")), KeySpec(3, last=-1, flags=("RO", "access"))),
    acl=BITMAP,
    complexity="O(N)",
)
def bitop(ks: Keyspace, name: bytes, destination: bytes, *keys: bytes) -> Reply:
    """Performs bitwise operations on multiple strings, and stores the result."""
    operation = word(name)
    if operation == b"NOT":
        if len(keys) > 1:
            raise errors.bitop_needs_one_key()
    elif operation not in _OPERATIONS:
        raise errors.syntax_error()
    elif len(keys) < 2 and operation in _FIRST_AND_OTHERS:
        raise errors.bitop_needs_two_keys(operation)
    result = combine(operation, [ks.lookup_read(key, bytes) or b"" for key in keys])
    store_result(ks, destination, String(result) if result else None, b"$", b"set")
    return integer_reply(len(result))


# -- fields ----------------------------------------------------------------------------------------


class _Field(NamedTuple):
    """One operation of BITFIELD.

    Attributes:
        name: GET, SET or INCRBY.
        signed, bits, offset: which field; its first bit is the highest.
        number: to be set or added.
        overflow: WRAP, SAT or FAIL.
    """

    name: bytes
    signed: bool
    bits: int
    offset: int
    number: int
    overflow: bytes


_FIELD_TYPES: Final = {b"i%d" % bits: (True, bits) for bits in range(1, 65)} | {
    b"u%d" % bits: (False, bits) for bits in range(1, 64)
}
_SIZES: Final = {b"GET": 3, b"SET": 4, b"INCRBY": 4, b"OVERFLOW": 2}
_OVERFLOWS: Final = frozenset({b"WRAP", b"SAT", b"FAIL"})


def _field_offset(arg: bytes, bits: int) -> int:
    """Return the first bit of a field; `#7` is the one after seven fields of as many bits."""
    if arg[:1] != b"#":
        return _offset(arg)
    number = parse_int(arg[1:])
    if number is None:
        raise errors.bad_bit_offset()
    at = (number * bits) % (1 << 64)  # as a C long long would wrap
    if at > MAX_OFFSET:
        raise errors.bad_bit_offset()
    return at


def _parse_fields(args: Sequence[bytes]) -> list[_Field]:
    """Read the operations of BITFIELD and BITFIELD_RO. Raises: ReplyError."""
    fields = []
    overflow = b"WRAP"
    at = 0
    while at < len(args):
        name = word(args[at])
        size = _SIZES.get(name)
        if size is None or at + size > len(args):
            raise errors.syntax_error()
        if name == b"OVERFLOW":
            overflow = word(args[at + 1])
            if overflow not in _OVERFLOWS:
                raise errors.bad_overflow_type()
        else:
            kind = _FIELD_TYPES.get(args[at + 1].partition(b"\0")[0])  # read as a C string
            if kind is None:
                raise errors.bad_bitfield_type()
            signed, bits = kind
            offset = _field_offset(args[at + 2], bits)
            number = integer(args[at + 3]) if size == 4 else 0
            fields.append(_Field(name, signed, bits, offset, number, overflow))
        at += size
    return fields


def _read_field(data: Data, field: _Field) -> int:
    first, end = field.offset >> 3, (field.offset + field.bits + 7) >> 3
    piece = data[first:end]
    word = int.from_bytes(piece, "big") << 8 * (end - first - len(piece))
    value = word >> (-(field.offset + field.bits) & 7) & ((1 << field.bits) - 1)
    return value - (1 << field.bits) if field.signed and value >> (field.bits - 1) else value


def _write_field(data: bytearray, field: _Field, value: int) -> None:
    first, end = field.offset >> 3, (field.offset + field.bits + 7) >> 3
    shift = -(field.offset + field.bits) & 7
    mask = ((1 << field.bits) - 1) << shift
    word = int.from_bytes(data[first:end], "big") & ~mask | value << shift & mask
    data[first:end] = word.to_bytes(end - first, "big")


def _new_value(old: int, field: _Field) -> int | None:
    """Return what SET or INCRBY makes of a field, None if it overflows and may not."""
    bits = field.bits
    low = -1 << (bits - 1) if field.signed else 0
    high = low + (1 << bits) - 1
    value = field.number
    if field.name == b"INCRBY":
        value += old
    elif not field.signed:
        value %= 1 << 64  # as a C unsigned long long
    if low <= value <= high:
        return value
    if field.overflow == b"WRAP":
        value &= (1 << bits) - 1
        return value - (1 << bits) if value > high else value
    if field.overflow == b"SAT":
        # From a very negative number to `high` is too far for a C long long, so it counts as above.
        too_far = field.name == b"SET" and high - value > INT64_MAX
        return low if value < low and not too_far else high
    return None


def _get_fields(ks: Keyspace, key: bytes, fields: list[_Field]) -> Reply:
    data = ks.lookup_read(key, bytes) or b""
    return Array([integer_reply(_read_field(data, field)) for field in fields])


def _bitfield_key_flags(argv: Sequence[bytes]) -> tuple[str, ...]:
    at = 2
    while at < len(argv):
        size = _SIZES.get(word(argv[at]), 4)
        if size == 4 or at + size > len(argv):
            return ("RW", "access", "update")
        at += size
    return ("RO", "access")


@command(
    "BITFIELD",
    since="3.2.0",
    arity=-2,
    group="bitmap",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(
            1,
            flags=("RW", "access", "update", "variable_flags"),
            notes="This command allows both access and modification of the key",
        ),
    ),
    acl=BITMAP,
    complexity="O(1) for each subcommand specified",
    key_flags=_bitfield_key_flags,
)
def bitfield(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Performs arbitrary bitfield integer operations on strings."""
    fields = _parse_fields(args)
    last_bits = [field.offset + field.bits - 1 for field in fields if field.name != b"GET"]
    if not last_bits:
        return _get_fields(ks, key, fields)
    data: bytearray | None = ks.lookup_buffer(key)
    size = (max(last_bits) >> 3) + 1
    grown = False
    if data is None or size > len(data):
        data, grown = _lengthen(ks, key, data, size), True
    replies: list[Reply] = []
    changed = False
    for field in fields:
        old = _read_field(data, field)
        if field.name == b"GET":
            replies.append(integer_reply(old))
            continue
        new = _new_value(old, field)
        if new is None:
            replies.append(NULL)
            continue
        replies.append(integer_reply(old if field.name == b"SET" else new))
        if grown or new != old:
            changed = True
            _write_field(data, field, new)
    # A string that only grew, for fields that overflow, is announced to nobody. It is logged here
    # (not in Redis): it could not be found again after a restart otherwise.
    if grown or changed:
        ks.changed(key)
    if changed:
        ks.notify(b"$", b"setbit", key)
    return Array(replies)


@command(
    "BITFIELD_RO",
    since="6.0.0",
    arity=-2,
    group="bitmap",
    flags=READONLY | FAST,
    keys=key_at(1, "RO access"),
    acl=BITMAP,
    complexity="O(1) for each subcommand specified",
)
def bitfield_ro(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Performs arbitrary read-only bitfield integer operations on strings."""
    fields = _parse_fields(args)
    if any(field.name != b"GET" for field in fields):
        raise errors.bitfield_ro_only_gets()
    return _get_fields(ks, key, fields)
