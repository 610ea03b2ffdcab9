"""Arguments of several commands: numbers, ranges of indexes, cursors, timeouts, key counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from shoal.proto import errors
from shoal.proto.glob import compile_glob
from shoal.proto.numbers import INT64_MAX, parse_double, parse_int

# -- numbers ---------------------------------------------------------------------------------------


def integer(arg: bytes) -> int:
    """Return a signed 64-bit integer. Raises: ReplyError."""
    number = parse_int(arg)
    if number is None:
        raise errors.not_an_integer()
    return number


def double(arg: bytes) -> float:
    """Return a double. Raises: ReplyError."""
    number = parse_double(arg)
    if number is None:
        raise errors.not_a_float()
    return number


def index_range(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return what start and stop (inclusive, negative from the end) select of `size` elements, as
    first index and end (exclusive); the end is not above the first index when they select nothing.
    """
    if start < 0:
        start += size
        if start < 0:
            start = 0
    if stop < 0:
        stop += size
    elif stop >= size:
        stop = size - 1
    return start, stop + 1


# -- keys after their number -----------------------------------------------------------------------


def keys_by_number(args: Sequence[bytes], number: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Cut args, from the first key on, behind so many keys. Raises: ReplyError: there are fewer."""
    if number > len(args):
        raise errors.syntax_error()
    return args[:number], args[number:]


# -- blocking --------------------------------------------------------------------------------------


def timeout_ms(arg: bytes) -> int:
    """Return a timeout given in seconds (a double) in ms, rounded up; 0 for none. Raises:
    ReplyError.
    """
    seconds = parse_double(arg)
    if seconds is None:
        raise errors.timeout_not_a_float()
    if seconds * 1000 > INT64_MAX:
        raise errors.timeout_out_of_range()
    ms = -int(-seconds * 1000 // 1)
    if seconds < 0:
        raise errors.timeout_is_negative()
    return ms


# -- cursors ---------------------------------------------------------------------------------------

_CURSOR: Final = re.compile(rb"[ \t-\r]*([+-]?)0*(\d{1,20})\Z")


def cursor(text: bytes) -> int:
    """Return a cursor, 0 to 2**64 - 1, read as strtoull does unless it is a plain number. Raises:
    ReplyError.
    """
    number = parse_int(text)
    if number is not None and number >= 0:
        return number
    found = _CURSOR.match(text.partition(b"\0")[0])
    if number is not None or found is None:
        raise errors.invalid_cursor()
    number = int(found[2])
    if number >= 1 << 64:
        raise errors.invalid_cursor()
    return -number % (1 << 64) if found[1] == b"-" else number


class ScanOptions(NamedTuple):
    """Options of SCAN and its kind.

    Attributes:
        limit: COUNT, about how many to return.
        matches: tells whether a key or element is wanted, None for all.
        kind: of SCAN, lower-case type name; empty for all.
        novalues: of HSCAN.
    """

    limit: int
    matches: Callable[[bytes], bool] | None
    kind: bytes
    novalues: bool


def scan_options(options: Sequence[bytes], command: bytes) -> ScanOptions:
    """Read the options of `command` (lower case: scan, hscan, sscan, zscan), in any order; the last
    of equal ones counts. Raises: ReplyError.
    """
    count, pattern, kind, novalues = 10, b"*", b"", False
    rest = iter(options)
    for option in rest:
        word = option.upper()
        if word == b"NOVALUES":
            if command != b"hscan":
                raise errors.novalues_outside_hscan()
            novalues = True
            continue
        value = next(rest, None)
        if value is None:
            raise errors.syntax_error()
        if word == b"COUNT":
            number = parse_int(value)
            if number is None:
                raise errors.not_an_integer()
            if number < 1:
                raise errors.syntax_error()
            count = number
        elif word == b"MATCH":
            pattern = value
        elif word == b"TYPE" and command == b"scan":
            kind = value.lower()
        else:
            raise errors.syntax_error()
    matches = None if pattern == b"*" else compile_glob(pattern)
    return ScanOptions(count, matches, kind, novalues)
