"""Redis's integers and doubles, both ways: what text is a number, and how a number is printed.

Three kinds of number exist. Integers are canonical text of 64 bits. Doubles (scores) are read like
C's strtod and printed with nearly always the fewest digits that read back. INCRBYFLOAT and
HINCRBYFLOAT calculate in the 80-bit long double of x86-64, which Python lacks: here it is a pair of
integers, rounded by hand.

All of it is byte for byte what redis-server 8.2 does on x86-64.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, NamedTuple

from shoal.proto import errors

INT32_MIN: Final = -(1 << 31)
INT32_MAX: Final = (1 << 31) - 1
INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
UINT64_MAX: Final = (1 << 64) - 1

# Integral doubles up to here are printed in full.
_MAX_PLAIN: Final = 2.0**62

# Python refuses to convert more than 4300 digits at once; a long double has up to 4933.
_DIGITS_AT_ONCE: Final = 4000

_UNSIGNED: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
_NUMBER: Final = re.compile(
    rb"""[+-]?(?:
      (?P<infinity> inf(?:inity)? )
    | (?P<hex> 0x (?=\.?[0-9a-f])
        (?P<hex_int>[0-9a-f]*) (?:\.(?P<hex_fraction>[0-9a-f]*))?
        (?:p(?P<hex_exponent>[+-]?[0-9]+))? )
    | (?=\.?[0-9]) (?P<int>[0-9]*) (?:\.(?P<fraction>[0-9]*))? (?:e(?P<exponent>[+-]?[0-9]+))?
    )""",
    re.VERBOSE | re.IGNORECASE,
)


def parse_int(data: bytes) -> int | None:
    """Return a signed 64-bit integer, None unless the text is the one that `%d` prints.

    >>> parse_int(b"-7"), parse_int(b"+7"), parse_int(b"07"), parse_int(b"-0"), parse_int(b" 7")
    (-7, None, None, None, None)
    """
    if len(data) > 20:
        return None
    try:
        number = int(data)
    except ValueError:
        return None
    # int() takes more than Redis does; printing it again shows whether the text was canonical.
    if b"%d" % number != data or not INT64_MIN <= number <= INT64_MAX:
        return None
    return number


def parse_int32(data: bytes) -> int:
    """Return an argument that is a C int.

    Raises: ReplyError if it is no integer, or (with another text) one of more than 32 bits.
    """
    number = parse_int(data)
    if number is None:
        raise errors.not_an_integer()
    if not INT32_MIN <= number <= INT32_MAX:
        raise errors.out_of_bounds(INT32_MIN, INT32_MAX)
    return number


def parse_uint64(data: bytes) -> int | None:
    """Return an unsigned 64-bit integer, as in stream IDs and SCAN cursors.

    Read by C's strtoull, so blanks and a sign in front are taken, a NUL ends the text, and a minus
    sign counts down from 2**64; only a canonical negative integer is refused.

    >>> parse_uint64(b" +7"), parse_uint64(b"-7"), parse_uint64(b"-07") == 2**64 - 7
    (7, None, True)
    """
    data = data.partition(b"\0")[0]
    number = parse_int(data)
    if number is not None:
        return number if number >= 0 else None
    match = _UNSIGNED.fullmatch(data)
    if match is None:
        return None
    digits = match[2].lstrip(b"0")
    if len(digits) > 20:
        return None
    size = int(digits or b"0")
    if size > UINT64_MAX:
        return None
    return -size & UINT64_MAX if match[1] == b"-" else size


def parse_double(data: bytes) -> float | None:
    """Return a double, None where Redis answers "not a valid float".

    Decimal, hexadecimal (`0x1.8p3`) and infinite (`inf`, `infinity`) texts are taken, no blanks,
    no NaN, and nothing that overflows or that only becomes zero by rounding.
    """
    if len(data) < 32 and data.isdigit():  # scores mostly are; a quarter of the price
        return float(data)
    match = _NUMBER.fullmatch(data)
    if match is None:
        return None
    if match["infinity"]:
        return float(data)
    if match["hex"]:
        digits = match["hex_int"] + (match["hex_fraction"] or b"")
        try:
            number = float.fromhex(data.decode("ascii"))
        except OverflowError:
            return None
    else:
        digits = match["int"] + (match["fraction"] or b"")
        number = float(data)
        if math.isinf(number):
            return None
    if number == 0.0 and digits.strip(b"0"):
        return None
    return number


def format_double(number: float) -> bytes:
    """Print a double as ZSCORE does, in RESP2 and RESP3.

    >>> format_double(3.0), format_double(1e18), format_double(1e21), format_double(12345.6789123)
    (b'3', b'1000000000000000000', b'1e+21', b'1.23456789123e+4')
    """
    if number.is_integer() and -_MAX_PLAIN <= number <= _MAX_PLAIN:
        return b"%d" % number if number else b"-0" if math.copysign(1.0, number) < 0 else b"0"
    return _format_fraction(number)


# The same scores are shown again and again, and these take twenty times as long as integers.
@lru_cache(maxsize=16_384)
def _format_fraction(number: float) -> bytes:
    """Print what is not zero, and no integer of moderate size."""
    if not math.isfinite(number):
        return b"nan" if number != number else b"inf" if number > 0 else b"-inf"
    sign = b"-" if number < 0 else b""
    digits, exponent = _shortest(abs(number))
    size = len(digits)
    leading = size + exponent - 1  # the power of ten of the first digit
    if exponent >= 0 and leading < size + 7:
        return sign + digits + b"0" * exponent
    if -7 < exponent < 0 or (exponent < 0 and abs(leading) < 4):
        digits = digits.rjust(1 - exponent, b"0")
        return b"%b%b.%b" % (sign, digits[:exponent], digits[exponent:])
    point = b"." if size > 1 else b""
    return b"%b%b%b%be%+d" % (sign, digits[:1], point, digits[1:], leading)


# Grisu2: Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers",
# 2010. Redis prints with it, and in about 4 of 1000 doubles it gives a digit more than needed, or
# another one. So repr() will not do, yet it tells how many digits are needed, where Grisu2's search
# can begin.


class _Float64(NamedTuple):
    """mantissa * 2**exponent, the mantissa of exactly 64 bits."""

    mantissa: int
    exponent: int


def _power_of_ten(power: int) -> _Float64:
    """Round 10**power to a mantissa of 64 bits."""
    top, bottom = 10 ** max(power, 0), 10 ** max(-power, 0)
    exponent = top.bit_length() - bottom.bit_length() - 64
    exponent += _divide_half_even(top, bottom, exponent).bit_length() - 64
    return _Float64(_divide_half_even(top, bottom, exponent), exponent)


def _divide_half_even(top: int, bottom: int, exponent: int) -> int:
    """Return top / bottom / 2**exponent, rounded to the nearest integer, ties to even."""
    if exponent < 0:
        top <<= -exponent
    else:
        bottom <<= exponent
    quotient, rest = divmod(top, bottom)
    rest *= 2
    return quotient + (rest > bottom or (rest == bottom and quotient & 1))


_FIRST_POWER: Final = -348
_POWER_STEP: Final = 8
_POWERS: Final = [_power_of_ten(_FIRST_POWER + _POWER_STEP * i) for i in range(87)]


def _scale_for(exponent: int) -> tuple[int, _Float64]:
    """Return a power of ten that brings a 64-bit mantissa's exponent into -60 to -32."""
    index = int((int(-(exponent + 87) * 0.30102999566398114) - _FIRST_POWER) / _POWER_STEP)
    while not -60 <= exponent + _POWERS[index].exponent + 64 <= -32:
        index += 1 if exponent + _POWERS[index].exponent + 64 < -60 else -1
    return _FIRST_POWER + _POWER_STEP * index, _POWERS[index]


def _shortest(number: float) -> tuple[bytes, int]:
    """Return digits and exponent: number is near int(digits) * 10**exponent. It is finite and >
    0.
    """
    fraction, binary = math.frexp(number)
    binary = max(binary - 53, -1074)
    mantissa = int(math.ldexp(fraction, 53 + min(0, math.frexp(number)[1] + 1021)))
    # The halfway points to the neighbours, in quarters; below a power of two they are closer.
    upper = 4 * mantissa + 2
    lower = 4 * mantissa - (1 if mantissa == 1 << 52 else 2)
    shift = 64 - upper.bit_length()
    power, scale = _scale_for(binary - 2 - shift)

    def scaled(quarters: int) -> int:
        return ((quarters << shift) * scale.mantissa + (1 << 63)) >> 64

    # One unit inside on both sides, as the scaled values may be off by as much.
    high = scaled(upper) - 1
    width = high - (scaled(lower) + 1)
    distance = high - scaled(4 * mantissa)
    bits = -(binary - 2 - shift + scale.exponent + 64)

    whole = len(b"%d" % (high >> bits))
    count = len(repr(number).partition("e")[0].replace(".", "").strip("0"))
    while True:
        # `dropped` decimal places of the whole part go, or -dropped decimals stay.
        dropped = whole - count
        up = 10 ** max(-dropped, 0)
        unit = 10 ** max(dropped, 0) << bits
        digits, rest = divmod(high * up, unit)
        if rest < width * up or (dropped >= 0 and rest == width):
            break
        count += 1
    # Step down from the upper end to what is closest to the number itself.
    target, room = distance * up, width * up
    while (
        rest < target
        and room - rest >= unit
        and (rest + unit < target or target - rest > rest + unit - target)
    ):
        digits -= 1
        rest += unit
    return b"%d" % digits, dropped - power


# Long doubles: 64 bits of mantissa, exponents of 15 bits.


class LongDouble(NamedTuple):
    """mantissa * 2**exponent; the mantissa is signed and has 64 bits at most."""

    mantissa: int
    exponent: int


INFINITE: Final = LongDouble(1, 1 << 15)
"""Either infinity: it can be parsed, and whatever it is added to gives no finite sum."""

_MIN_EXPONENT: Final = -16_445
_MAX_EXPONENT: Final = 16_384
# Redis copies the text into a buffer of 5 kB.
_MAX_LONG_DOUBLE_BYTES: Final = 5 * 1024 - 1


def parse_long_double(data: bytes) -> LongDouble | None:
    """Return a long double, None where INCRBYFLOAT answers "not a valid float".

    The grammar is `parse_double`'s; the range is that of a long double, the text at most 5119
    bytes.
    """
    match = _NUMBER.fullmatch(data)
    if match is None or len(data) > _MAX_LONG_DOUBLE_BYTES:
        return None
    if match["infinity"]:
        return INFINITE
    negative = data[:1] == b"-"
    if match["hex"]:
        fraction = match["hex_fraction"] or b""
        top = int(match["hex_int"] + fraction, 16)
        bottom = 1
        scale = _exponent(match["hex_exponent"]) - 4 * len(fraction)
        if not -(1 << 17) < scale < 1 << 17:
            # Twice as far as 5 kB of digits could make good.
            return None if top else LongDouble(0, 0)
    else:
        fraction = match["fraction"] or b""
        top = _to_int(match["int"] + fraction)
        power = _exponent(match["exponent"]) - len(fraction)
        if not -20_000 < power < 20_000:
            return None if top else LongDouble(0, 0)
        top, bottom, scale = top * 10 ** max(power, 0), 10 ** max(-power, 0), 0
    value = _round(top, bottom, scale)
    if value is INFINITE or (top and not value.mantissa):
        return None
    return LongDouble(-value.mantissa, value.exponent) if negative else value


def add_long_double(a: LongDouble, b: LongDouble) -> LongDouble | None:
    """Return the rounded sum, None when it is infinite or no number."""
    if a is INFINITE or b is INFINITE:
        return None
    exponent = min(a.exponent, b.exponent)
    total = (a.mantissa << (a.exponent - exponent)) + (b.mantissa << (b.exponent - exponent))
    value = _round(abs(total), 1, exponent)
    if value is INFINITE:
        return None
    return LongDouble(-value.mantissa, value.exponent) if total < 0 else value


def ceil_thousandfold(value: LongDouble) -> int:
    """Return value * 1000, rounded to a long double and then up: seconds as milliseconds.

    >>> [ceil_thousandfold(parse_long_double(text)) for text in (b"1.5", b"1e-9", b"-0.001")]
    [1500, 1, 0]
    """
    mantissa, exponent = _round(abs(value.mantissa) * 1000, 1, value.exponent)
    if value.mantissa < 0:
        mantissa = -mantissa
    return mantissa << exponent if exponent >= 0 else -(-mantissa >> -exponent)


def format_long_double(value: LongDouble) -> bytes:
    """Print like `%.17Lf`, without the zeros at the end; never in exponent form, never `-0`."""
    scaled = _divide_half_even(abs(value.mantissa) * 10**17, 1, -value.exponent)
    digits = _to_digits(scaled).rjust(18, b"0")
    text = b"%b.%b" % (digits[:-17], digits[-17:])
    text = text.rstrip(b"0").removesuffix(b".")
    return b"-" + text if value.mantissa < 0 and text != b"0" else text


def incrbyfloat(old: bytes, increment: bytes) -> bytes:
    """Return the text of old + increment, as INCRBYFLOAT stores and answers it.

    Raises ReplyError when one of them is no long double, or the sum is not finite.

    >>> incrbyfloat(b"3.0e3", b"200"), incrbyfloat(b"0.1", b"0.2")
    (b'3200', b'0.3')
    """
    value, step = parse_long_double(old), parse_long_double(increment)
    if value is None or step is None:
        raise errors.not_a_float()
    total = add_long_double(value, step)
    if total is None:
        raise errors.sum_not_finite()
    return format_long_double(total)


def _round(top: int, bottom: int, scale: int) -> LongDouble:
    """Round top / bottom * 2**scale, which is not negative, to the nearest long double, ties to
    even.
    """
    if not top:
        return LongDouble(0, 0)
    exponent = max(top.bit_length() - bottom.bit_length() + scale - 64, _MIN_EXPONENT)
    mantissa = _divide_half_even(top, bottom, exponent - scale)
    if mantissa > UINT64_MAX:
        # One bit too many was kept; round once more, from the exact quotient.
        exponent += 1
        mantissa = _divide_half_even(top, bottom, exponent - scale)
    if mantissa.bit_length() + exponent > _MAX_EXPONENT:
        return INFINITE
    return LongDouble(mantissa, exponent)


def _exponent(text: bytes | None) -> int:
    """Read an exponent; what no text of 5 kB could balance becomes a large number."""
    if text is None:
        return 0
    digits = text.lstrip(b"+-").lstrip(b"0")
    size = int(digits or b"0") if len(digits) < 10 else 10**9
    return -size if text[:1] == b"-" else size


def _to_int(digits: bytes) -> int:
    """Convert up to 5119 decimal digits."""
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    tail = digits[-_DIGITS_AT_ONCE:]
    high: int = int(digits[:-_DIGITS_AT_ONCE]) * 10**_DIGITS_AT_ONCE
    return high + int(tail)


def _to_digits(number: int) -> bytes:
    """Print up to 4951 decimal digits."""
    head, tail = divmod(number, 10**_DIGITS_AT_ONCE)
    if not head:
        return b"%d" % tail
    return b"%d%0*d" % (head, _DIGITS_AT_ONCE, tail)
