"""Listpacks, ziplists, zipmaps and intsets: round trips, known bytes, and damage."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto import intset, listpack, ziplist
from shoal.proto.errors import DamagedValueError
from shoal.worker.values.quicklist import LISTPACK_BYTES, entry_size
from support import old_encodings

EDGES = [
    sign * ((1 << bits) + step)
    for bits in (0, 6, 7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 62)
    for step in (-1, 0, 1)
    for sign in (-1, 1)
]
INTEGERS = [*EDGES, (1 << 63) - 1, -(1 << 63)]
TEXTS = [
    b"",
    b"-0",
    b"007",
    b"+1",
    b" 1",
    b"1 ",
    b"1.5",
    b"9223372036854775808",
    b"9" * 30,
    b"\xff",
]
LENGTHS = [1, 62, 63, 64, 65, 125, 126, 127, 4094, 4095, 4096, 16377, 16378, 16379, 70_000]

integers = st.one_of(st.sampled_from(INTEGERS), st.integers(-(1 << 63), (1 << 63) - 1))
elements = st.one_of(
    st.binary(max_size=80), integers.map(lambda number: b"%d" % number), st.sampled_from(TEXTS)
)


@given(st.lists(elements, max_size=40))
def test_listpack_round_trip(items: list[bytes]) -> None:
    data = listpack.encode(items)
    assert listpack.decode(data) == items
    assert len(data) == LISTPACK_BYTES + sum(map(entry_size, items))


@pytest.mark.parametrize("size", LENGTHS)
def test_listpack_of_long_elements(size: int) -> None:
    items = [b"x" * size, b"1", b"y" * size]
    data = listpack.encode(items)
    assert listpack.decode(data) == items
    assert len(data) == LISTPACK_BYTES + sum(map(entry_size, items))


@pytest.mark.parametrize("number", INTEGERS)
def test_listpack_of_an_integer(number: int) -> None:
    assert listpack.decode(listpack.encode([b"%d" % number])) == [b"%d" % number]
    assert listpack.entry(b"%d" % number) == listpack.integer_entry(number)


# What DUMP of redis-server 8.2 has for RPUSH k and these elements.
KNOWN = {
    b"a 1 -1": "0f00000003008161020101dfff02ff",
    b"127 128 -4096 4095": "1200000004007f01c08002d00002cfff02ff",
    b"4096 -4097 32768": "140000000300f1001003f1ffef03f200800004ff",
    b"8388608 2147483648": "170000000200f30000800005f4000000800000000009ff",
}


@pytest.mark.parametrize("line", KNOWN, ids=lambda line: line.decode())
def test_listpack_as_redis_writes_it(line: bytes) -> None:
    data = bytes.fromhex(KNOWN[line])
    assert listpack.decode(data) == line.split()
    assert listpack.encode(line.split()) == data


def test_a_listpack_may_have_more_elements_than_it_counts() -> None:
    items = [b"%d" % (at % 100) for at in range(70_000)]
    data = listpack.encode(items)
    assert data[4:6] == b"\xff\xff"
    assert listpack.decode(data) == items


@given(st.lists(elements, max_size=40))
def test_ziplist(items: list[bytes]) -> None:
    assert ziplist.decode(old_encodings.ziplist(items)) == items


@pytest.mark.parametrize("size", LENGTHS)
def test_ziplist_of_long_elements(size: int) -> None:
    items = [b"x" * size, b"1", b"y" * size, b"z" * size, b""]
    assert ziplist.decode(old_encodings.ziplist(items)) == items


@given(st.lists(st.tuples(elements, elements), max_size=20))
def test_zipmap(pairs: list[tuple[bytes, bytes]]) -> None:
    items = [side for pair in [*pairs, (b"k" * 254, b"v" * 300)] for side in pair]
    assert ziplist.decode_zipmap(old_encodings.zipmap(items)) == items


@given(st.sets(st.integers(-(1 << 63), (1 << 63) - 1)))
def test_intset(numbers: set[int]) -> None:
    assert intset.decode(intset.encode(sorted(numbers))) == sorted(numbers)


@pytest.mark.parametrize(
    ("numbers", "data"),
    [
        ([], "0200000000000000"),
        ([-32768, 32767], "02000000020000000080ff7f"),
        ([0, 32768], "04000000020000000000000000800000"),
        ([-(1 << 31) - 1], "0800000001000000ffffff7fffffffff"),
    ],
)
def test_intset_as_redis_writes_it(numbers: list[int], data: str) -> None:
    assert intset.encode(numbers) == bytes.fromhex(data)


SOUND: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "listpack": (
        listpack.decode,
        listpack.encode([b"a", b"1", b"-300", b"x" * 70, b"y" * 5000, b"99999", b"%d" % (1 << 40)]),
    ),
    "ziplist": (
        ziplist.decode,
        old_encodings.ziplist([b"a", b"1", b"-300", b"x" * 70, b"y" * 500, b"99999", b"70000"]),
    ),
    "zipmap": (
        ziplist.decode_zipmap,
        old_encodings.zipmap([b"a", b"1", b"b" * 300, b"", b"", b"c"]),
    ),
    "intset": (intset.decode, intset.encode([-5, 7, 70_000, 1 << 40])),
}


@pytest.mark.parametrize("name", SOUND)
def test_damage_is_told_or_harmless(name: str) -> None:
    """Whatever a byte becomes: the bytes decode to something that is not larger, or are refused."""
    decode, data = SOUND[name]
    for at in range(min(len(data), 120)):
        for value in range(0, 256, 5):
            damaged = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                found = decode(damaged)
            except DamagedValueError:
                continue
            assert sum(len(one) if isinstance(one, bytes) else 1 for one in found) <= 20 * len(data)


@pytest.mark.parametrize("name", SOUND)
def test_what_is_cut_short_is_refused(name: str) -> None:
    decode, data = SOUND[name]
    for size in range(len(data)):
        with pytest.raises(DamagedValueError):
            decode(data[:size])
    with pytest.raises(DamagedValueError):
        decode(data + b"\xff")


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("seed", range(3))
def test_any_bytes(name: str, seed: int) -> None:
    random = Random(seed)
    decode, data = SOUND[name]
    header = {"listpack": 6, "ziplist": 10, "zipmap": 1, "intset": 8}[name]
    for _ in range(300):
        noise = data[:header] + random.randbytes(len(data) - header - 1) + data[-1:]
        try:
            decode(noise)
        except DamagedValueError:
            continue
