"""The RDB format of values: known dumps, round trips of every kind, and damage of every kind."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto import intset, listpack, lzf
from shoal.proto.crc64 import crc64
from shoal.proto.errors import DamagedValueError
from shoal.proto.rdb_format import (
    VERSION,
    Entry,
    HashValue,
    Kind,
    ListNode,
    ListValue,
    Reader,
    SetValue,
    SortedSetValue,
    StreamConsumer,
    StreamGroup,
    StreamNode,
    StreamValue,
    Value,
    Writer,
    read_value,
    seal,
    unseal,
)
from support.old_encodings import length, text, ziplist, zipmap

MS = 64  # an ID is ms << 64 | seq


def read(payload: bytes) -> Value:
    reader = unseal(payload)
    assert reader is not None, "version or checksum"
    return read_value(reader.byte(), reader)


def dumped(write: Callable[[Writer], Kind], compressible: int = 1 << 16) -> bytes:
    writer = Writer(compressible)
    kind = write(writer)
    return seal(kind, writer.take())


# -- checksum and compression ----------------------------------------------------------------------


def naive_crc(data: bytes, crc: int) -> int:
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


def test_crc_of_the_usual_digits() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA


@pytest.mark.parametrize(
    "size", [0, 1, 7, 8, 9, 63, 64, 65, 66, 100, 215, 216, 1000, 32_768, 70_001]
)
def test_crc(size: int) -> None:
    random = Random(size)
    data, before = random.randbytes(size), random.getrandbits(64)
    assert crc64(data, before) == naive_crc(data, before)
    assert crc64(data[size // 3 :], crc64(data[: size // 3], before)) == naive_crc(data, before)


words = st.lists(st.sampled_from([b"a", b"ab", b"the ", b"quick", b"\0\0\0", b"z" * 300]))
compressible = st.one_of(
    st.binary(max_size=300), words.map(b"".join), st.integers(0, 9000).map(bytes)
)


@given(compressible, st.integers(0, 9000))
def test_compression(data: bytes, limit: int) -> None:
    packed = lzf.compress(data, limit)
    if packed is not None:
        assert len(packed) <= limit
        assert lzf.decompress(packed, len(data)) == data


def test_compression_bites() -> None:
    assert len(lzf.compress(b"x" * 1000, 996) or b"") < 30
    assert lzf.compress(Random(1).randbytes(1000), 996) is None


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        (b"\x20\x00", 3),  # a copy from before the start
        (b"\x04ab", 5),  # fewer literals than announced
        (b"\xe0", 9),
        (b"\x00a\x20", 4),
        (b"\x00a", 2),
        (b"\x01ab", 1),
        (b"\x00a\xe0\xff\x00", 1 << 40),
        (b"", 1),
    ],
)
def test_damaged_compression(packed: bytes, size: int) -> None:
    with pytest.raises(DamagedValueError):
        lzf.decompress(packed, size)


# -- known dumps -----------------------------------------------------------------------------------

STREAM = StreamValue(
    nodes=[
        StreamNode(
            5 << MS | 1,
            [b"a", b"b"],
            [
                Entry(5 << MS | 1, [b"a", b"1", b"b", b"2"]),
                Entry(7 << MS, [b"a", b"3", b"b", b"4"], deleted=True),
                Entry(7 << MS | 5, [b"c", b"x"]),
            ],
        )
    ],
    length=2,
    last_id=7 << MS | 5,
    first_id=5 << MS | 1,
    max_deleted_id=7 << MS,
    entries_added=3,
    groups=[
        StreamGroup(
            b"g",
            5 << MS | 1,
            1,
            {5 << MS | 1: (1_600_000_000_000, 3)},
            [StreamConsumer(b"alice", 1_795_511_934_180, 1_795_511_934_180, [5 << MS | 1])],
        )
    ],
)
LIST = ListValue([ListNode([b"a", b"1", b"-300", b"x" * 30])])
ZSET = [(b"c", float("-inf")), (b"a", 1.0), (b"b", 2.5)]

# Of redis-server 8.2.3: what DUMP gave, and what it was; all of it is written the same way.
DUMPS: dict[str, tuple[str, Value, Callable[[Writer], Kind]]] = {
    "string": ("000568656c6c6f0c00a804ebb69f1ebe43", b"hello", lambda w: w.string(b"hello")),
    "integer": ("00c290eefeff0c00e303eabbe9c1b649", b"-70000", lambda w: w.string(b"-70000")),
    "compressed": (
        "00c30a3c02616261e02e010161620c007060e72b54455b3d",
        b"ab" * 30,
        lambda w: w.string(b"ab" * 30),
    ),
    "list": (
        "120102c3172f0f2f00000004008161020101ded4029e78e01400011fff0c0057aed0793b90bd6f",
        LIST,
        lambda w: w.list(LIST.nodes),
    ),
    "intset": (
        "0b140400000003000000ffffffff05000000701101000c0024ac8c3b8e6ed0c1",
        SetValue([b"-1", b"5", b"70000"], Kind.SET_INTSET),
        lambda w: w.set_intset([-1, 5, 70_000]),
    ),
    "set": (
        "140f0f00000003008161020101816202ff0c00fc4a5ef47c72389a",
        SetValue([b"a", b"1", b"b"], Kind.SET_LISTPACK),
        lambda w: w.set_listpack([b"a", b"1", b"b"]),
    ),
    "set table": (
        "020101610c00a9e0ddbebef88424",
        SetValue([b"a"], Kind.SET),
        lambda w: w.set([b"a"]),
    ),
    "hash": (
        "1012120000000400816602817602816e020c01ff0c00ca40a0412971173d",
        HashValue([(b"f", b"v"), (b"n", b"12")], {}, Kind.HASH_LISTPACK),
        lambda w: w.hash_listpack([(b"f", b"v"), (b"n", b"12")]),
    ),
    "hash table": (
        "04010161c0010c008be72e50312d150c",
        HashValue([(b"a", b"1")], {}, Kind.HASH),
        lambda w: w.hash([(b"a", b"1")], {}),
    ),
    "hash with times": (
        "19ff9f724e180900001d1d00000006008161020101f4ff9f724e180900000981620202010001ff0c00d30f2e6b"
        "61a94a0d",
        HashValue([(b"a", b"1"), (b"b", b"2")], {b"a": 9_999_999_999_999}, Kind.HASH_LISTPACK_EX),
        lambda w: w.hash_listpack_ex([(b"a", b"1"), (b"b", b"2")], {b"a": 9_999_999_999_999}),
    ),
    "hash table with times": (
        "18ff9f724e1809000001010161c0010c007aa1ea4228330f93",
        HashValue([(b"a", b"1")], {b"a": 9_999_999_999_999}, Kind.HASH),
        lambda w: w.hash([(b"a", b"1")], {b"a": 9_999_999_999_999}),
    ),
    "sorted set": (
        "111d1d0000000600816302842d696e6605816102010181620283322e3504ff0c00f2e4075b1b35ac74",
        SortedSetValue(ZSET, Kind.SORTED_SET_LISTPACK),
        lambda w: w.sorted_set_listpack(ZSET),
    ),
    "skiplist": (
        "05010161000000000000f83f0c008ed59c4fbec3c793",
        SortedSetValue([(b"a", 1.5)], Kind.SORTED_SET_2),
        lambda w: w.sorted_set([(b"a", 1.5)]),
    ),
}
STREAM_DUMP = (
    "150110000000000000000500000000000000013e3e00000019000201010102018161028162020001020100010001"
    "01010201050103010201dfff0203010401050100010201040101018163028178020601ff02070505010700030101"
    "67050101010000000000000005000000000000000100806e8774010000030105616c696365e4dcd90ca2010000e4"
    "dcd90ca201000001000000000000000500000000000000010c00421c3d40e4d3cde2"
)
# The same of redis-server 7.0, but for what it does not have.
DUMPS_OF_7 = {
    "string": "000568656c6c6f0a006372df766534200a",
    "list": "120102c3172f0f2f00000004008161020101ded4029e78e01400011fff0a009cd8e4b9c1ba2326",
    "hash": "1012120000000400816602817602816e020c01ff0a0001369481d35b8974",
    "sorted set": "111d1d0000000600816302842d696e6605816102010181620283322e3504ff0a0039"
    "92339be11f323d",
}
STREAM_DUMP_OF_7 = (
    "130110000000000000000500000000000000013e3e00000019000201010102018161028162020001020100010001"
    "01010201050103010201dfff0203010401050100010201040101018163028178020601ff02070505010700030101"
    "67050101010000000000000005000000000000000100806e8774010000030105616c696365e4dcd90ca201000001"
    "00000000000000050000000000000001"
)


@pytest.mark.parametrize("name", DUMPS)
def test_dumps_of_redis(name: str) -> None:
    dump, value, write = DUMPS[name]
    assert read(bytes.fromhex(dump)) == value
    assert dumped(write).hex() == dump


@pytest.mark.parametrize("name", DUMPS_OF_7)
def test_dumps_of_redis_7(name: str) -> None:
    assert read(bytes.fromhex(DUMPS_OF_7[name])) == DUMPS[name][1]


def test_a_stream_of_redis() -> None:
    assert read(bytes.fromhex(STREAM_DUMP)) == STREAM
    body = bytes.fromhex(STREAM_DUMP_OF_7)
    assert read(seal(Kind.STREAM_LISTPACKS_2, body[1:])) == STREAM


def test_a_stream_of_redis_5() -> None:
    """Then there were no first and last deleted ID, and no count of what was ever added."""
    body = bytes.fromhex(STREAM_DUMP_OF_7)
    cut = body.index(bytes.fromhex("02070505010700030101670501"))
    old = body[1 : cut + 3] + bytes.fromhex("0101670501") + body[cut + 14 :]
    found = read(seal(Kind.STREAM_LISTPACKS, old))
    assert isinstance(found, StreamValue)
    assert (found.length, found.last_id, found.entries_added) == (2, STREAM.last_id, None)
    assert found.nodes == STREAM.nodes
    assert found.groups[0].entries_read is None
    assert found.groups[0].pending == STREAM.groups[0].pending


# -- round trips -----------------------------------------------------------------------------------

strings = st.one_of(
    st.binary(max_size=40),
    st.integers(-(1 << 34), 1 << 34).map(lambda n: b"%d" % n),
    st.integers(1, 200).map(lambda n: b"ab" * n),
)
times = st.integers(1, (1 << 47) - 1)


@given(strings, st.integers(0, 500))
def test_strings(data: bytes, compressed: int) -> None:
    assert read(dumped(lambda w: w.string(data), compressed)) == data


@given(st.lists(st.lists(strings, min_size=1, max_size=9), min_size=1, max_size=9), strings)
def test_lists(lists: list[list[bytes]], large: bytes) -> None:
    nodes = [*map(ListNode, lists), ListNode([large], plain=True)]
    assert read(dumped(lambda w: w.list(nodes))) == ListValue(nodes)


@given(st.lists(strings, min_size=1, max_size=20, unique=True))
def test_sets(members: list[bytes]) -> None:
    assert read(dumped(lambda w: w.set(members))) == SetValue(members, Kind.SET)
    found = read(dumped(lambda w: w.set_listpack(members)))
    assert found == SetValue(members, Kind.SET_LISTPACK)


@given(
    st.lists(
        st.tuples(strings, strings, st.none() | times),
        min_size=1,
        max_size=20,
        unique_by=lambda t: t[0],
    )
)
def test_hashes(fields: list[tuple[bytes, bytes, int | None]]) -> None:
    pairs = [(name, value) for name, value, _ in fields]
    expire = {name: at_ms for name, _, at_ms in fields if at_ms is not None}
    assert read(dumped(lambda w: w.hash_listpack(pairs))) == HashValue(
        pairs, {}, Kind.HASH_LISTPACK
    )
    assert read(dumped(lambda w: w.hash(pairs, expire))) == HashValue(pairs, expire, Kind.HASH)
    found = read(dumped(lambda w: w.hash_listpack_ex(pairs, expire)))
    assert found == HashValue(pairs, expire, Kind.HASH_LISTPACK_EX)


@given(
    st.lists(
        st.tuples(strings, st.floats(allow_nan=False)),
        min_size=1,
        max_size=20,
        unique_by=lambda t: t[0],
    )
)
def test_sorted_sets(elements: list[tuple[bytes, float]]) -> None:
    found = read(dumped(lambda w: w.sorted_set(elements)))
    assert found == SortedSetValue(elements, Kind.SORTED_SET_2)
    found = read(dumped(lambda w: w.sorted_set_listpack(elements)))
    assert isinstance(found, SortedSetValue)
    assert found.kind == Kind.SORTED_SET_LISTPACK
    # What is smaller than any double reads as an error, and Redis cannot write it either.
    assert found.elements == elements


@pytest.mark.parametrize("seed", range(20))
def test_streams(seed: int) -> None:
    random = Random(seed)
    value = StreamValue([], 0, 0, 0, 0, 0, [])
    at = 0
    for _ in range(random.randrange(4)):
        names = [b"n%d" % n for n in range(random.randint(1, 3))]
        entries = []
        for _ in range(random.randint(1, 5)):
            at += random.choice([1, 1 << MS, (3 << MS) + (1 << 63), 1 << 100])
            some = random.choice([names, [b"other", b"5"]])
            entries.append(
                Entry(at, [side for name in some for side in (name, random.randbytes(3))])
            )
        value.nodes.append(StreamNode(entries[0].id, names, entries))
        value.length += len(entries)
    value.last_id = at
    value.first_id = value.nodes[0].first if value.nodes else 0
    value.max_deleted_id, value.entries_added = random.getrandbits(128), random.getrandbits(40)
    for name in (b"g", b"h")[: random.randrange(3)]:
        ids = sorted(random.getrandbits(128) for _ in range(random.randrange(6)))
        group = StreamGroup(name, random.getrandbits(70), random.choice([None, 0, 1 << 40]), {})
        group.pending = {one: (random.getrandbits(41), random.randint(1, 99)) for one in ids}
        group.consumers = [
            StreamConsumer(b"c%d" % n, 5, random.choice([-1, 7]), ids[n::3]) for n in range(3)
        ]
        value.groups.append(group)
    assert read(dumped(lambda w: w.stream(value))) == value


# -- what only old servers wrote -------------------------------------------------------------------

PAIRS = [(b"f", b"v"), (b"g", b"12"), (b"long", b"x" * 300)]
FLAT = [side for pair in PAIRS for side in pair]

OLD: dict[str, tuple[Kind, bytes, Value]] = {
    "list": (
        Kind.LIST,
        length(2) + text(b"a") + text(b"1"),
        ListValue([ListNode([b"a", b"1"])], Kind.LIST),
    ),
    "list of a ziplist": (
        Kind.LIST_ZIPLIST,
        text(ziplist(FLAT)),
        ListValue([ListNode(FLAT)], Kind.LIST_ZIPLIST),
    ),
    "quicklist": (
        Kind.LIST_QUICKLIST,
        length(3) + text(ziplist(FLAT)) + text(ziplist([])) + text(ziplist([b"a"])),
        ListValue([ListNode(FLAT), ListNode([b"a"])]),
    ),
    "zipmap": (
        Kind.HASH_ZIPMAP,
        text(zipmap(FLAT)),
        HashValue(PAIRS, {}, Kind.HASH),
    ),
    "hash of a ziplist": (
        Kind.HASH_ZIPLIST,
        text(ziplist(FLAT)),
        HashValue(PAIRS, {}, Kind.HASH_LISTPACK),
    ),
    "sorted set of a ziplist": (
        Kind.SORTED_SET_ZIPLIST,
        text(ziplist([b"a", b"1", b"b", b"2.5", b"c", b"inf"])),
        SortedSetValue([(b"a", 1.0), (b"b", 2.5), (b"c", float("inf"))], Kind.SORTED_SET_LISTPACK),
    ),
    "sorted set with scores as text": (
        Kind.SORTED_SET,
        length(3) + text(b"a") + b"\x032.5" + text(b"b") + b"\xfe" + text(b"c") + b"\xff",
        SortedSetValue(
            [(b"a", 2.5), (b"b", float("inf")), (b"c", float("-inf"))], Kind.SORTED_SET_2
        ),
    ),
    "hash table with times": (
        Kind.HASH_METADATA_OLD,
        length(2) + length(0) + text(b"a") + text(b"1") + length(77) + text(b"b") + text(b"2"),
        HashValue([(b"a", b"1"), (b"b", b"2")], {b"b": 77}, Kind.HASH),
    ),
    "hash with times": (
        Kind.HASH_LISTPACK_EX_OLD,
        text(listpack.encode([b"b", b"2", b"77", b"a", b"1", b"0"])),
        HashValue([(b"b", b"2"), (b"a", b"1")], {b"b": 77}, Kind.HASH_LISTPACK_EX),
    ),
}


@pytest.mark.parametrize("name", OLD)
def test_old_kinds(name: str) -> None:
    kind, body, value = OLD[name]
    assert read(seal(kind, body)) == value


# -- damage ----------------------------------------------------------------------------------------

HUGE = b"\x81" + b"\x7f" + b"\xff" * 7

NO_VALUES: dict[str, tuple[int, bytes]] = {
    "no such kind": (8, b"\x01a"),
    "a module": (7, b"\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    "the end of a file": (255, b""),
    "no body": (Kind.STRING, b""),
    "a string that is cut short": (Kind.STRING, b"\x05abc"),
    "a string of an unknown encoding": (Kind.STRING, b"\xc4abc"),
    "a huge string": (Kind.STRING, HUGE + b"a"),
    "a huge compressed string": (Kind.STRING, b"\xc3\x02" + HUGE + b"\x00a"),
    "a huge number of huge bytes": (Kind.STRING, b"\xc3" + HUGE + HUGE + b"\x00a"),
    "a length that is a string": (Kind.LIST, b"\xc0\x01"),
    "an empty list": (Kind.LIST, b"\x00"),
    "an empty quicklist": (Kind.LIST_QUICKLIST_2, b"\x00"),
    "a quicklist of empty nodes": (Kind.LIST_QUICKLIST_2, b"\x01\x02" + text(listpack.encode([]))),
    "a node of another kind": (Kind.LIST_QUICKLIST_2, b"\x01\x03\x01a"),
    "a huge list": (Kind.LIST, HUGE + b"\x01a"),
    "a huge set": (Kind.SET, HUGE + b"\x01a"),
    "a huge hash": (Kind.HASH, HUGE + b"\x01a\x01b"),
    "an empty set": (Kind.SET, b"\x00"),
    "an empty intset": (Kind.SET_INTSET, text(intset.encode([]))),
    "a set with a member twice": (Kind.SET, b"\x02\x01a\x01a"),
    "an intset in disorder": (Kind.SET_INTSET, text(b"\x02\0\0\0\x02\0\0\0\x05\0\x04\0")),
    "an intset of odd width": (Kind.SET_INTSET, text(b"\x03\0\0\0\x01\0\0\0\x05\0\x04")),
    "a listpack with a member twice": (Kind.SET_LISTPACK, text(listpack.encode([b"a", b"a"]))),
    "an empty hash": (Kind.HASH, b"\x00"),
    "a hash with a field twice": (Kind.HASH, b"\x02\x01a\x01b\x01a\x01c"),
    "an odd hash": (Kind.HASH_LISTPACK, text(listpack.encode([b"a", b"1", b"b"]))),
    "a score that is no number": (Kind.SORTED_SET_LISTPACK, text(listpack.encode([b"a", b"x"]))),
    "a score of NaN": (Kind.SORTED_SET_2, b"\x01\x01a" + b"\0\0\0\0\0\0\xf8\x7f"),
    "an old score of NaN": (Kind.SORTED_SET, b"\x01\x01a\xfd"),
    "an odd sorted set": (Kind.SORTED_SET_LISTPACK, text(listpack.encode([b"a", b"1", b"b"]))),
    "a time out of range": (Kind.HASH_METADATA, b"\0" * 8 + b"\x01" + HUGE + b"\x01a\x01b"),
    "a negative time": (Kind.HASH_METADATA, b"\xff" * 8 + b"\x01\x01\x01a\x01b"),
    "a time that is text": (
        Kind.HASH_LISTPACK_EX,
        b"\0" * 8 + text(listpack.encode([b"a", b"1", b"x"])),
    ),
    "a stream node without entries": (
        Kind.STREAM_LISTPACKS_3,
        b"\x01" + text(b"\0" * 16) + text(listpack.encode([b"0", b"0", b"1", b"a", b"0"])),
    ),
    "a stream node with a short ID": (Kind.STREAM_LISTPACKS_3, b"\x01\x02ab" + text(b"")),
    "a stream node of many names": (
        Kind.STREAM_LISTPACKS_3,
        b"\x01" + text(b"\0" * 16) + text(listpack.encode([b"1", b"0", b"%d" % (1 << 60), b"a"])),
    ),
    "a stream of another length": (Kind.STREAM_LISTPACKS_3, b"\x00\x05" + b"\x00" * 8),
}


@pytest.mark.parametrize("name", NO_VALUES)
def test_no_values(name: str) -> None:
    kind, body = NO_VALUES[name]
    with pytest.raises(DamagedValueError):
        read_value(kind, Reader(body))


def test_versions_and_checksums() -> None:
    dump = seal(Kind.STRING, b"\x05hello")
    assert read(dump) == b"hello"
    for at in range(len(dump)):
        for bit in range(8):
            assert unseal(dump[:at] + bytes([dump[at] ^ 1 << bit]) + dump[at + 1 :]) is None
    for size in range(len(dump)):
        assert unseal(dump[:size]) is None
    newer = dump[:-10] + (VERSION + 1).to_bytes(2, "little")
    assert unseal(newer + crc64(newer).to_bytes(8, "little")) is None
    older = dump[:-10] + (1).to_bytes(2, "little")
    assert unseal(older + crc64(older).to_bytes(8, "little")) is not None


SAMPLES = [
    *(bytes.fromhex(dump)[:-10] for dump, _, _ in DUMPS.values()),
    bytes.fromhex(STREAM_DUMP)[:-10],
    *(bytes([kind]) + body for kind, body, _ in OLD.values()),
]


def read_anything(data: bytes) -> None:
    """Read what may be no value; it must end in little memory."""
    reader = Reader(data)
    try:
        read_value(reader.byte(), reader)
    except DamagedValueError:
        return


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: Kind(data[0]).name)
def test_damage_ends_in_a_value_or_its_error(data: bytes) -> None:
    random = Random(len(data))
    tracemalloc.start()
    try:
        for at in range(len(data)):
            read_anything(data[:at])
            for value in (0, 1, 0x7F, 0x80, 0x81, 0xC3, 0xFF, data[at] ^ 1, random.randrange(256)):
                read_anything(data[:at] + bytes([value]) + data[at + 1 :])
        for _ in range(300):
            noise = bytearray(data)
            for _ in range(random.randint(1, 6)):
                noise[random.randrange(1, len(noise))] = random.randrange(256)
            start, end = sorted(random.randrange(len(noise)) for _ in range(2))
            read_anything(bytes(noise))
            read_anything(bytes(noise[: start + 1] + noise[end:]))
            read_anything(bytes(noise[:end] + noise[start:]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, "memory by a number that was read"


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes(seed: int) -> None:
    random = Random(seed)
    for _ in range(500):
        read_anything(bytes([random.choice(list(Kind))]) + random.randbytes(random.randrange(60)))
