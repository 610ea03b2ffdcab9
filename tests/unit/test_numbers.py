"""Redis's integers and doubles. Every row of the tables is what redis-server 8.2.3 answers."""

import math
import struct
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings
from shoal.proto.errors import ReplyError
from shoal.proto.numbers import (
    INFINITE,
    INT64_MAX,
    INT64_MIN,
    UINT64_MAX,
    LongDouble,
    add_long_double,
    format_double,
    format_long_double,
    incrbyfloat,
    parse_double,
    parse_int,
    parse_int32,
    parse_long_double,
    parse_uint64,
)

# -- integers --------------------------------------------------------------------------------------

INTEGERS: dict[bytes, int | None] = {
    b"0": 0,
    b"1": 1,
    b"-1": -1,
    b"10": 10,
    b"9223372036854775807": INT64_MAX,
    b"-9223372036854775808": INT64_MIN,
    b"9223372036854775808": None,
    b"-9223372036854775809": None,
    b"18446744073709551615": None,
    b"1" * 20: None,
    b"1" * 5000: None,
    b"": None,
    b"-": None,
    b"+": None,
    b"-0": None,
    b"+1": None,
    b"01": None,
    b"-01": None,
    b"00": None,
    b" 1": None,
    b"1 ": None,
    b"1\n": None,
    b"1\0": None,
    b"\x001": None,
    b"1_0": None,
    b"1.0": None,
    b"1e3": None,
    b"0x1": None,
    b"--1": None,
    b"\xb2": None,
    b"\xd9\xa1": None,  # ARABIC-INDIC DIGIT ONE in UTF-8
    b"inf": None,
}


@pytest.mark.parametrize("text", INTEGERS, ids=lambda text: repr(text[:24]))
def test_integers(text: bytes) -> None:
    assert parse_int(text) == INTEGERS[text]


@given(st.integers(-(1 << 66), 1 << 66))
@settings(max_examples=200, deadline=None)
def test_integers_come_back(number: int) -> None:
    fits = INT64_MIN <= number <= INT64_MAX
    assert parse_int(b"%d" % number) == (number if fits else None)


@given(st.lists(st.sampled_from(b"0123456789-+ _.ex\0\n"), max_size=21).map(bytes))
@settings(max_examples=300, deadline=None)
def test_only_the_printed_form_is_an_integer(text: bytes) -> None:
    number = parse_int(text)
    assert number is None or b"%d" % number == text


def test_integers_of_32_bits() -> None:
    assert [parse_int32(text) for text in (b"2147483647", b"-2147483648")] == [2**31 - 1, -(2**31)]
    for text in (b"2147483648", b"-2147483649", b"9223372036854775807"):
        with pytest.raises(ReplyError, match="out of range, value must between"):
            parse_int32(text)
    for text in (b"x", b"", b"01", b"9223372036854775808"):
        with pytest.raises(ReplyError, match="ERR value is not an integer or out of range"):
            parse_int32(text)


# As SCAN takes them for a cursor.
UNSIGNED: dict[bytes, int | None] = {
    b"0": 0,
    b"7": 7,
    b"18446744073709551615": UINT64_MAX,
    b"18446744073709551616": None,
    b"9" * 30: None,
    b"0" * 30 + b"7": 7,
    b"007": 7,
    b"+7": 7,
    b" 7": 7,
    b"\t\n\v\f\r +7": 7,
    b"7 ": None,
    b"7x": None,
    b"7\0x": 7,
    b"\x007": None,
    b"": None,
    b"-": None,
    b"+": None,
    b"-1": None,
    b"-9223372036854775808": None,
    b"-0": 0,
    b"-07": UINT64_MAX - 6,
    b"-9223372036854775809": 2**63 - 1,
    b"--1": None,
    b"x": None,
    b"0x7": None,
    b"1_0": None,
}


@pytest.mark.parametrize("text", UNSIGNED, ids=repr)
def test_unsigned_integers(text: bytes) -> None:
    assert parse_uint64(text) == UNSIGNED[text]


# -- doubles ---------------------------------------------------------------------------------------

# What ZADD takes for a score, and how ZSCORE prints it; None is "not a valid float".
DOUBLES: dict[bytes, bytes | None] = {
    b"0": b"0",
    b"0.0": b"0",
    b"1": b"1",
    b"+1": b"1",
    b"01": b"1",
    b"1.": b"1",
    b".5": b"0.5",
    b"-.5": b"-0.5",
    b"1.50": b"1.5",
    b"0.1": b"0.1",
    b"0.3": b"0.3",
    b"1e3": b"1000",
    b"1E3": b"1000",
    b"1e+3": b"1000",
    b"1e-3": b"0.001",
    b"0.0001": b"0.0001",
    b"0.000001": b"0.000001",
    b"0.0000001": b"1e-7",
    b"0.00000012": b"1.2e-7",
    b"12345.6789123": b"1.23456789123e+4",
    b"1e19": b"1e+19",
    b"100000000000000000000": b"1e+20",
    b"1e20": b"1e+20",
    b"1e21": b"1e+21",
    b"123456789012345680000": b"123456789012345680000",
    b"4611686018427387904": b"4611686018427387904",
    b"9223372036854775807": b"9223372036854776000",
    b"9007199254740993": b"9007199254740992",
    b"3.141592653589793": b"3.141592653589793",
    b"1.7976931348623157e308": b"1.7976931348623157e+308",
    b"-1.7976931348623157e308": b"-1.7976931348623157e+308",
    b"2.2250738585072014e-308": b"2.2250738585072014e-308",
    b"5e-324": b"5e-324",
    b"inf": b"inf",
    b"+inf": b"inf",
    b"-inf": b"-inf",
    b"INF": b"inf",
    b"Infinity": b"inf",
    b"-infinity": b"-inf",
    b"0x10": b"16",
    b"-0x1.8p3": b"-12",
    b"0X.8P1": b"1",
    b"1e400": None,
    b"-1e400": None,
    b"1e-400": None,
    b"0e400": b"0",
    b"nan": None,
    b"-nan": None,
    b"infinit": None,
    b"": None,
    b"-": None,
    b".": None,
    b"e3": None,
    b"1e": None,
    b"0x": None,
    b"0x1p": None,
    b" 1": None,
    b"1 ": None,
    b"1\0": None,
    b"1_0": None,
    b"1,5": None,
    b"--1": None,
    b"x": None,
}


@pytest.mark.parametrize("text", DOUBLES, ids=repr)
def test_doubles(text: bytes) -> None:
    number = parse_double(text)
    assert (None if number is None else format_double(number)) == DOUBLES[text]


def test_the_sign_of_zero() -> None:
    # As the reply to ZADD INCR -0; a small sorted set then forgets the sign.
    number = parse_double(b"-0")
    assert number is not None
    assert format_double(number) == b"-0"


_doubles = st.floats(allow_nan=False)


@given(_doubles)
@settings(max_examples=500, deadline=None)
@example(5e-324)
@example(2.0**62)
@example(math.nextafter(2.0**62, math.inf))
@example(9007199254740993.0)
@example(-0.0)
def test_a_printed_double_reads_back(number: float) -> None:
    text = format_double(number)
    back = parse_double(text)
    assert back is not None
    assert struct.pack("<d", back) == struct.pack("<d", number)
    assert len(text) <= 25
    assert format_double(back) == text


@given(_doubles)
@settings(max_examples=200, deadline=None)
def test_a_double_is_printed_with_about_the_fewest_digits(number: float) -> None:
    def digits(text: str) -> int:
        return len(text.partition("e")[0].replace(".", "").strip("-0"))

    # Grisu2 gives the fewest nearly always, and never many more.
    printed = format_double(number).decode()
    if math.isfinite(number) and not number.is_integer():
        assert digits(repr(number)) <= digits(printed) <= digits(repr(number)) + 1


# -- long doubles ----------------------------------------------------------------------------------

# (value, increment) -> what INCRBYFLOAT stores and answers; None: value is not a valid float.
FLOAT_SUMS: dict[tuple[bytes, bytes], bytes | None] = {
    (b"0", b"0"): b"0",
    (b"0", b"-0"): b"0",
    (b"-0", b"-0"): b"0",
    (b"10.5", b"0.1"): b"10.6",
    (b"10.6", b"-5"): b"5.6",
    (b"3.0e3", b"200"): b"3200",
    (b"5.0e3", b"2.0e2"): b"5200",
    (b"0.1", b"0.2"): b"0.3",
    (b"0", b"1e-17"): b"0.00000000000000001",
    (b"0", b"1e-18"): b"0",
    (b"0", b"-1e-18"): b"0",
    (b"1", b"1e-17"): b"1.00000000000000001",
    (b"3", b"1.000000000000005"): b"4.000000000000005",
    (b"9007199254740993", b"0"): b"9007199254740993",
    (b"9223372036854775807", b"1"): b"9223372036854775808",
    (b"18446744073709551615", b"1"): b"18446744073709551616",
    (b"18446744073709551617", b"0"): b"18446744073709551616",
    (b"1e20", b"1"): b"100000000000000000000",
    (b"0x10", b"0x.8"): b"16.5",
    (b"+1", b"01"): b"2",
    (b"1", b"inf"): None,
    (b"1", b"nan"): None,
    (b"1", b"1e5000"): None,
    (b"1", b"x"): None,
    (b"1", b""): None,
    (b"1", b" 1"): None,
    (b"1 ", b"1"): None,
    (b"", b"1"): None,
    (b"1", b"1e-5000"): None,
}

_REFUSALS = (
    b"ERR value is not a valid float",
    b"ERR increment would produce NaN or Infinity",
)


@pytest.mark.parametrize("pair", FLOAT_SUMS, ids=repr)
def test_float_sums(pair: tuple[bytes, bytes]) -> None:
    expected = FLOAT_SUMS[pair]
    if expected is None:
        with pytest.raises(ReplyError) as refused:
            incrbyfloat(*pair)
        assert refused.value.text == _REFUSALS[pair[1] == b"inf"]
    else:
        assert incrbyfloat(*pair) == expected


def test_the_largest_long_double() -> None:
    largest = b"1.18973149535723176502e4932"
    value = parse_long_double(largest)
    assert value == LongDouble(UINT64_MAX, 16_384 - 64)
    printed = incrbyfloat(largest, b"0")
    assert len(printed) == 4933
    # In two parts, as Python does not convert so many digits at once.
    exact = int(printed[:4000]) * 10**933 + int(printed[4000:])
    assert exact == UINT64_MAX * 2 ** (16_384 - 64)
    with pytest.raises(ReplyError, match="NaN or Infinity"):
        incrbyfloat(largest, largest)
    assert parse_long_double(b"1.19e4932") is None
    assert parse_long_double(b"0" * 5000 + b"7") == LongDouble(7 << 61, -61)
    assert parse_long_double(b"0" * 5120) is None, "longer than Redis's buffer"


_decimals = st.decimals(allow_nan=False, allow_infinity=False, places=12, max_value=10**17).map(
    lambda number: f"{number:f}".encode()
)


def _exact(value: LongDouble) -> Fraction:
    return Fraction(value.mantissa) * Fraction(2) ** value.exponent


@given(_decimals)
@settings(max_examples=200, deadline=None)
def test_a_long_double_is_the_nearest(text: bytes) -> None:
    value = parse_long_double(text)
    assert value is not None
    exact = Fraction(text.decode())
    assert abs(value.mantissa).bit_length() <= 64
    if exact:
        assert abs(value.mantissa).bit_length() == 64, "normalized"
        assert abs(_exact(value) - exact) * 2 <= Fraction(2) ** value.exponent


@given(_decimals, _decimals)
@settings(max_examples=200, deadline=None)
def test_sums_are_rounded_once(first: bytes, second: bytes) -> None:
    a, b = parse_long_double(first), parse_long_double(second)
    assert a is not None
    assert b is not None
    total = add_long_double(a, b)
    assert total is not None
    assert total == add_long_double(b, a)
    assert abs(_exact(total) - (_exact(a) + _exact(b))) * 2 <= Fraction(2) ** total.exponent
    printed = format_long_double(total)
    assert abs(Fraction(printed.decode()) - _exact(total)) * 2 <= Fraction(1, 10**17)
    assert b"e" not in printed
    assert printed != b"-0"


def test_infinity_adds_up_to_nothing() -> None:
    assert parse_long_double(b"-inf") is INFINITE
    assert add_long_double(INFINITE, LongDouble(1, 0)) is None
    assert add_long_double(LongDouble(1, 0), INFINITE) is None
