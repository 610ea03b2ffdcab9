"""Arguments of several commands: numbers, ranges of indexes, cursors, timeouts, key counts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Sequence
from typing import Final, NamedTuple

from shoal.proto import errors
from shoal.proto.glob import compile_glob
from shoal.proto.numbers import (
    INFINITE,
    INT64_MAX,
    ceil_thousandfold,
    parse_double,
    parse_int,
    parse_long_double,
)
from shoal.proto.spec import word as word

# -- numbers ---------------------------------------------------------------------------------------

_SMALL: Final = {b"%d" % number: number for number in range(-128, 1024)}


def integer(arg: bytes) -> int:
    """Return a signed 64-bit integer. Raises: ReplyError."""
    number = _SMALL.get(arg)  # as indexes and counts mostly are; a quarter of the price
    if number is None:
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


# -- ranges of sorted sets -------------------------------------------------------------------------

# As fast_float reads it: no blanks, no hexadecimal, no NaN; what overflows is infinite.
_SCORE: Final = re.compile(
    rb"[+-]?(?:inf(?:inity)?|(?=\.?[0-9])[0-9]*(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?)", re.IGNORECASE
)


def score_range(low: bytes, high: bytes) -> tuple[float, float, bool, bool]:
    """Return the ends of a range of scores, and whether each is left out, as
    `SortedSet.ranks_by_score` takes them. Raises: ReplyError.
    """
    least, low_open = _score_end(low)
    most, high_open = _score_end(high)
    return least, most, low_open, high_open


_INFINITIES: Final = {
    b"inf": (math.inf, False),
    b"+inf": (math.inf, False),
    b"-inf": (-math.inf, False),
}


def _score_end(arg: bytes) -> tuple[float, bool]:
    if arg.isdigit():
        return float(arg), False
    known = _INFINITIES.get(arg)
    if known is not None:
        return known
    is_open = arg[:1] == b"("
    text = (arg[1:] if is_open else arg).partition(b"\0")[0]  # Redis reads a C string
    if not text:
        return 0.0, is_open
    if _SCORE.fullmatch(text) is None:
        raise errors.not_a_score_range()
    return float(text), is_open


LexEnd = tuple[bytes | None, bool]


def lex_range(low: bytes, high: bytes) -> tuple[LexEnd, LexEnd]:
    """Return the ends of a range of members, as `SortedSet.ranks_by_member` takes them. Raises:
    ReplyError.
    """
    return _lex_end(low, b"("), _lex_end(high, b"[")


def _lex_end(arg: bytes, behind: bytes) -> LexEnd:
    sign = arg[:1]
    if sign in (b"[", b"("):
        return arg[1:], sign == behind
    if arg == b"-":
        return b"", False
    if arg == b"+":
        return None, False
    raise errors.not_a_lex_range()


# -- keys after their number -----------------------------------------------------------------------


def keys_by_number(args: Sequence[bytes], number: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Cut args, from the first key on, behind so many keys. Raises: ReplyError: there are fewer."""
    if number > len(args):
        raise errors.syntax_error()
    return args[:number], args[number:]


def pops(args: Sequence[bytes], sides: Container[bytes]) -> tuple[Sequence[bytes], bytes, int]:
    """Read what LMPOP and ZMPOP take, the number of keys first.

    Args:
        sides: the words, upper case, that say where to pop.
    Returns: the keys, the word, and how many elements at most. Raises: ReplyError.
    """
    number = parse_int(args[0])
    if number is None or number < 1:
        raise errors.numkeys_not_positive()
    keys, rest = keys_by_number(args[1:], number)
    if not rest or (side := word(rest[0])) not in sides:
        raise errors.syntax_error()
    if len(rest) == 1:
        return keys, side, 1
    if len(rest) == 2 or word(rest[1]) != b"COUNT":
        raise errors.syntax_error()
    count = parse_int(rest[2])
    if count is None or count < 1:
        raise errors.count_should_be_positive()
    if len(rest) > 3:
        raise errors.syntax_error()
    return keys, side, count


# -- blocking --------------------------------------------------------------------------------------


# So few digits are no number that is too large for anything.
_FEW_DIGITS: Final = 9


def timeout_ms(arg: bytes, now_ms: int = 0) -> int:
    """Return a timeout given in seconds (a long double) in ms, rounded up; 0 for none. Raises:
    ReplyError, also if it ends later than a 64-bit clock that shows now_ms.
    """
    if len(arg) <= _FEW_DIGITS and arg.isdigit():  # as it is nearly always
        return int(arg) * 1000
    seconds = parse_long_double(arg)
    if seconds is None:
        raise errors.timeout_not_a_float()
    ms = ceil_thousandfold(seconds)
    if seconds is INFINITE and arg[:1] == b"-":
        ms = -ms
    if ms > INT64_MAX - now_ms:
        raise errors.timeout_out_of_range()
    if ms < 0:
        raise errors.timeout_is_negative()
    return ms


def milliseconds(arg: bytes, now_ms: int = 0) -> int:
    """Return a timeout given in whole milliseconds; 0 for none. Raises: ReplyError, also if it ends
    later than a 64-bit clock that shows now_ms.
    """
    ms = parse_int(arg)
    if ms is None:
        raise errors.timeout_not_an_integer()
    if ms < 0:
        raise errors.timeout_is_negative()
    if ms > INT64_MAX - now_ms:
        raise errors.timeout_out_of_range()
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
        name = word(option)
        if name == b"NOVALUES":
            if command != b"hscan":
                raise errors.novalues_outside_hscan()
            novalues = True
            continue
        value = next(rest, None)
        if value is None:
            raise errors.syntax_error()
        if name == b"COUNT":
            number = parse_int(value)
            if number is None:
                raise errors.not_an_integer()
            if number < 1:
                raise errors.syntax_error()
            count = number
        elif name == b"MATCH":
            pattern = value
        elif name == b"TYPE" and command == b"scan":
            kind = word(value).lower() or b"\0"  # no type has this name
        else:
            raise errors.syntax_error()
    matches = None if pattern == b"*" else compile_glob(pattern)
    return ScanOptions(count, matches, kind, novalues)
