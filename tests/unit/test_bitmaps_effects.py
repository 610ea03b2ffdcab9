"""What the commands of bitmaps log and announce, and what they leave alone.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc), with one difference: a string that only grew, for
fields that overflow and are not set, is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest
import shoal.worker.commands.bitmaps
import shoal.worker.commands.keys
import shoal.worker.commands.lists
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.worker.commands.bitmaps import combine, count_ones, find_bit
from support.keyspace import Partition, check_log, check_store, check_watchers
from support.raw import split_line

# name: (lines before, the line, whether it is logged, its events)
Row = tuple[Sequence[str], str, bool, Sequence[str]]

ABC = ["SET k abc EX 100"]
NEW = ["n:new k", "$:setbit k"]

EFFECTS: dict[str, Row] = {
    "SETBIT makes": ([], "SETBIT k 7 1", True, NEW),
    "SETBIT makes zeros": ([], "SETBIT k 7 0", True, NEW),
    "SETBIT": (ABC, "SETBIT k 3 1", True, ["$:setbit k"]),
    "SETBIT clears": (ABC, "setbit k 7 0", True, ["$:setbit k"]),
    "SETBIT changes nothing": (ABC, "SETBIT k 7 1", False, []),
    "SETBIT lengthens by zeros": (ABC, "SETBIT k 99 0", True, ["$:setbit k"]),
    "SETBIT with a bad bit": (ABC, "SETBIT k 3 2", False, []),
    "GETBIT": (ABC, "GETBIT k 3", False, []),
    "GETBIT of nothing": ([], "GETBIT k 3", False, ["m:keymiss k"]),
    "BITCOUNT": (ABC, "BITCOUNT k 0 -1 BIT", False, []),
    "BITCOUNT of nothing": ([], "BITCOUNT k", False, ["m:keymiss k"]),
    "BITPOS": (ABC, "BITPOS k 1", False, []),
    "BITPOS of nothing": ([], "BITPOS k 0", False, ["m:keymiss k"]),
    "BITOP": (["MSET a x b y"], "BITOP AND k a b", True, ["n:new k", "$:set k"]),
    "BITOP over a string": (
        [*ABC, "SET a x"],
        "bitop not k a",
        True,
        ["o:overwritten k", "$:set k"],
    ),
    "BITOP over a list": (
        ["RPUSH k v", "SET a x"],
        "BITOP NOT k a",
        True,
        ["o:overwritten k", "c:type_changed k", "$:set k"],
    ),
    "BITOP of nothing": (ABC, "BITOP OR k a b", True, ["m:keymiss a", "m:keymiss b", "g:del k"]),
    "BITOP of nothing into nothing": ([], "BITOP OR k a", False, ["m:keymiss a"]),
    "BITOP of a list": ([*ABC, "RPUSH l v"], "BITOP OR k k l", False, []),
    "BITFIELD GET": (ABC, "BITFIELD k GET u8 0", False, []),
    "BITFIELD GET of nothing": ([], "BITFIELD k GET u8 0", False, ["m:keymiss k"]),
    "BITFIELD without operations": ([], "BITFIELD k OVERFLOW SAT", False, ["m:keymiss k"]),
    "BITFIELD SET": (ABC, "BITFIELD k SET u8 0 7 SET u8 8 7", True, ["$:setbit k"]),
    "BITFIELD INCRBY": (ABC, "BITFIELD k INCRBY u8 0 -1 GET u8 0", True, ["$:setbit k"]),
    "BITFIELD changes nothing": (ABC, "BITFIELD k SET u8 0 97 INCRBY i9 3 0", False, []),
    "BITFIELD makes zeros": ([], "BITFIELD k SET u8 0 0", True, NEW),
    "BITFIELD lengthens by zeros": (ABC, "BITFIELD k INCRBY u8 90 0", True, ["$:setbit k"]),
    "BITFIELD FAIL": (ABC, "BITFIELD k OVERFLOW FAIL INCRBY u8 0 999", False, []),
    "BITFIELD with a bad number": (ABC, "BITFIELD k SET u8 0 1 SET u8 0 x", False, []),
    "BITFIELD_RO": (ABC, "BITFIELD_RO k GET u8 0", False, []),
    "BITFIELD_RO of nothing": ([], "BITFIELD_RO k GET u8 0", False, ["m:keymiss k"]),
    "BITFIELD_RO SET": (ABC, "BITFIELD_RO k SET u8 0 1", False, []),
}
# Not logged by Redis: the key or its length would be another after a restart.
GROWN: dict[str, Row] = {
    "BITFIELD FAIL makes": ([], "BITFIELD k OVERFLOW FAIL SET u2 9 9", True, ["n:new k"]),
    "BITFIELD FAIL lengthens": (ABC, "BITFIELD k OVERFLOW FAIL SET u2 90 9", True, []),
}
ROWS = EFFECTS | GROWN


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = Partition.after(*before)
    partition.run(split_line(line))
    assert partition.logged == ([(0, tuple(split_line(line)))] if logged else [])
    assert partition.events == [f"0 {event}" for event in events]
    check_store(partition.store)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    check_log(before, line)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_watchers_hear_of_every_key_that_changed(row: Row) -> None:
    before, line, *_ = row
    check_watchers(before, line)


def test_a_changed_string_is_nobody_elses() -> None:
    partition = Partition.after("SET k abc", "COPY k c", "SETBIT k 0 1", "COPY k d", "SETBIT k 1 0")
    assert partition.run([b"MGET", b"k", b"c", b"d"]).split(b"\r\n")[2::2] == [
        b"\xa1bc",
        b"abc",
        b"\xe1bc",
    ]


# -- long strings, beside what looks at each bit ---------------------------------------------------

SIZES = (1, 2, 255, 256, 257, 4097, 65_535, 65_536, 65_537, 140_000)


def _bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def _sparse(random: Random, size: int) -> bytes:
    """Return bytes that are all 0 or all 255 but for a few."""
    data = bytearray([random.choice([0, 255])]) * size
    for _ in range(random.randrange(4)):
        data[random.randrange(size)] = random.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("size", SIZES)
def test_counting_and_finding(size: int) -> None:
    random = Random(size)
    for _ in range(6):
        data = random.choice([random.randbytes(size), _sparse(random, size)])
        bits = _bits(data)
        for _ in range(20):
            first, last = sorted(random.choices(range(8 * size), k=2))
            assert count_ones(data, first, last) == bits.count("1", first, last + 1)
            for bit in (0, 1):
                expected = bits.find(str(bit), first, last + 1)
                assert find_bit(bytearray(data), bit, first, last) == expected, (first, last, bit)


OPERATIONS: dict[bytes, Callable[[list[int]], object]] = {
    b"AND": all,
    b"OR": any,
    b"XOR": lambda bits: sum(bits) % 2 == 1,
    b"DIFF": lambda bits: bits[0] and not any(bits[1:]),
    b"DIFF1": lambda bits: any(bits[1:]) and not bits[0],
    b"ANDOR": lambda bits: bits[0] and any(bits[1:]),
    b"ONE": lambda bits: sum(bits) == 1,
    b"NOT": lambda bits: not bits[0],
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_combining(operation: bytes) -> None:
    random = Random(1)
    count = 1 if operation == b"NOT" else 3
    for size in (0, 1, 300, 70_000):
        strings = [random.randbytes(random.choice([size, size // 2])) for _ in range(count - 1)]
        strings.insert(random.randrange(count), random.randbytes(size))
        result = combine(operation, strings)
        assert len(result) == size
        for at in random.choices(range(size), k=50) if size else ():
            bytes_there = [data[at] if at < len(data) else 0 for data in strings]
            for bit in range(8):
                bits = [byte >> bit & 1 for byte in bytes_there]
                assert result[at] >> bit & 1 == OPERATIONS[operation](bits), (at, bits)
