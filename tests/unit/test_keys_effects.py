"""What the generic commands log and announce, and what they do to values of other types.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc), with two differences: the conditions of EXPIRE are
not logged, and a flush of what is empty is not logged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
import shoal.worker.commands.keys
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.proto.replies import Array, encode
from shoal.proto.slots import key_slot, owner_of, slot_range
from shoal.worker.keyspace import Store
from shoal.worker.registry import COMMANDS, PartAnswer
from shoal.worker.values import LAZY_FREE_ABOVE
from support.keyspace import NOW_MS, Partition, check_log, check_store, check_watchers
from support.raw import split_line

# name: (lines before, the line, what it logs, its events). NOW stands for the time of the line, 0:
# for what database 0 logs or announces.
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

EFFECTS: dict[str, Row] = {
    "DEL": (["MSET a 1 b 2"], "DEL a no b a", ["0 DEL a no b a"], ["0 g:del a", "0 g:del b"]),
    "DEL of nothing": ([], "DEL a", [], []),
    "UNLINK": (["SET a 1"], "UNLINK a no", ["0 UNLINK a no"], ["0 g:del a"]),
    "UNLINK of nothing": ([], "UNLINK a", [], []),
    "EXISTS": (["SET a 1"], "EXISTS a no", [], ["0 m:keymiss no"]),
    "TOUCH": (["SET a 1"], "TOUCH a no", [], ["0 m:keymiss no"]),
    "TYPE": (["SET a 1"], "TYPE a", [], []),
    "TYPE of nothing": ([], "TYPE a", [], ["0 m:keymiss a"]),
    "TTL": (["SET a 1 EX 9"], "TTL a", [], []),
    "TTL of nothing": ([], "TTL a", [], ["0 m:keymiss a"]),
    "OBJECT of nothing": ([], "OBJECT ENCODING a", [], []),
    "EXPIRE": (["SET a 1"], "EXPIRE a 9", ["0 PEXPIREAT a NOW+9000"], ["0 g:expire a"]),
    "PEXPIRE": (["SET a 1"], "PEXPIRE a 9", ["0 PEXPIREAT a NOW+9"], ["0 g:expire a"]),
    "EXPIREAT": (
        ["SET a 1"],
        "EXPIREAT a 99999999999",
        ["0 PEXPIREAT a 99999999999000"],
        ["0 g:expire a"],
    ),
    "PEXPIREAT": (
        ["SET a 1"],
        "pexpireat a 99999999999999",
        ["0 PEXPIREAT a 99999999999999"],
        ["0 g:expire a"],
    ),
    "EXPIRE with conditions": (
        ["SET a 1 EX 5"],
        "EXPIRE a 9 XX GT",
        ["0 PEXPIREAT a NOW+9000"],
        ["0 g:expire a"],
    ),
    "EXPIRE whose condition fails": (["SET a 1"], "EXPIRE a 9 GT", [], []),
    "EXPIRE of nothing": ([], "EXPIRE a 9", [], []),
    "EXPIRE in the past": (["SET a 1"], "EXPIRE a -1", ["0 DEL a"], ["0 g:del a"]),
    "EXPIRE now": (["SET a 1"], "EXPIRE a 0 NX", ["0 DEL a"], ["0 g:del a"]),
    "PEXPIREAT in the past": (["SET a 1 EX 9"], "PEXPIREAT a 0", ["0 DEL a"], ["0 g:del a"]),
    "PERSIST": (["SET a 1 EX 9"], "PERSIST a", ["0 PERSIST a"], ["0 g:persist a"]),
    "PERSIST of a lasting key": (["SET a 1"], "PERSIST a", [], []),
    "RENAME": (
        ["SET a 1 EX 9"],
        "RENAME a b",
        ["0 RENAME a b"],
        ["0 n:new b", "0 g:rename_from a", "0 g:rename_to b"],
    ),
    "RENAME over a key": (
        ["MSET a 1 b 2"],
        "RENAME a b",
        ["0 RENAME a b"],
        ["0 n:new b", "0 g:rename_from a", "0 g:rename_to b", "0 o:overwritten b"],
    ),
    "RENAME to itself": (["SET a 1"], "RENAME a a", [], []),
    "RENAME of nothing": ([], "RENAME a b", [], []),
    "RENAMENX": (
        ["SET a 1"],
        "RENAMENX a b",
        ["0 RENAMENX a b"],
        ["0 n:new b", "0 g:rename_from a", "0 g:rename_to b"],
    ),
    "RENAMENX over a key": (["MSET a 1 b 2"], "RENAMENX a b", [], []),
    "COPY": (["SET a 1 EX 9"], "COPY a b", ["0 COPY a b"], ["0 n:new b", "0 g:copy_to b"]),
    "COPY REPLACE": (
        ["MSET a 1 b 2"],
        "COPY a b REPLACE",
        ["0 COPY a b REPLACE"],
        ["0 n:new b", "0 g:copy_to b", "0 o:overwritten b"],
    ),
    "COPY without REPLACE": (["MSET a 1 b 2"], "COPY a b", [], []),
    "COPY of nothing": ([], "COPY a b", [], ["0 m:keymiss a"]),
    "COPY DB": (
        ["SET a 1"],
        "COPY a a DB 1",
        ["0 COPY a a DB 1"],
        ["1 n:new a", "1 g:copy_to a"],
    ),
    "MOVE": (
        ["SET a 1 EX 9"],
        "MOVE a 1",
        ["0 MOVE a 1"],
        ["1 n:new a", "0 g:move_from a", "1 g:move_to a"],
    ),
    "MOVE onto a key": (["SET a 1", "COPY a a DB 1"], "MOVE a 1", [], []),
    "MOVE of nothing": ([], "MOVE a 1", [], []),
    "SWAPDB": (["SET a 1"], "SWAPDB 0 1", ["0 SWAPDB 0 1"], []),
    "SWAPDB of empty ones": ([], "SWAPDB 2 3", ["0 SWAPDB 2 3"], []),
    "FLUSHDB": (["SET a 1"], "FLUSHDB ASYNC", ["0 FLUSHDB ASYNC"], []),
    "FLUSHDB of nothing": ([], "FLUSHDB", [], []),
    "FLUSHALL": (["SET a 1", "COPY a a DB 1"], "FLUSHALL", ["0 FLUSHALL"], []),
    "FLUSHALL of another database": (["SET a 1", "MOVE a 1"], "FLUSHALL", ["0 FLUSHALL"], []),
    "FLUSHALL of nothing": ([], "FLUSHALL", [], []),
    "RANDOMKEY": (["SET a 1"], "RANDOMKEY", [], []),
    "KEYS": (["SET a 1"], "KEYS *", [], []),
    "SCAN": (["SET a 1"], "SCAN 0", [], []),
    "DBSIZE": (["SET a 1"], "DBSIZE", [], []),
}

SOURCE_GONE = ["SET a 1 PX 1", "SET b 1"]
TARGET_GONE = ["SET a 1", "SET b 1 PX 1"]

GONE: dict[str, Row] = {
    f"{line} after {', '.join(lines)}": (lines, line, logged, events)
    for lines, line, logged, events in (
        (SOURCE_GONE, "EXISTS a", ["0 DEL a"], ["0 x:expired a", "0 m:keymiss a"]),
        (SOURCE_GONE, "DEL a", ["0 DEL a"], ["0 x:expired a"]),
        (SOURCE_GONE, "EXPIRE a 9", ["0 DEL a"], ["0 x:expired a"]),
        (SOURCE_GONE, "PERSIST a", ["0 DEL a"], ["0 x:expired a"]),
        (SOURCE_GONE, "RENAME a c", ["0 DEL a"], ["0 x:expired a"]),
        (SOURCE_GONE, "MOVE a 1", ["0 DEL a"], ["0 x:expired a"]),
        (SOURCE_GONE, "COPY a c", ["0 DEL a"], ["0 x:expired a", "0 m:keymiss a"]),
        (SOURCE_GONE, "SCAN 0", ["0 DEL a"], ["0 x:expired a"]),
        (SOURCE_GONE, "KEYS *", [], []),
        (SOURCE_GONE, "DBSIZE", [], []),
        (
            TARGET_GONE,
            "RENAME a b",
            ["0 DEL b", "0 RENAME a b"],
            ["0 x:expired b", "0 n:new b", "0 g:rename_from a", "0 g:rename_to b"],
        ),
        (
            TARGET_GONE,
            "COPY a b",
            ["0 DEL b", "0 COPY a b"],
            ["0 x:expired b", "0 n:new b", "0 g:copy_to b"],
        ),
    )
}

ROWS = EFFECTS | GONE


def after(*lines: str) -> Partition:
    """Return a partition in which these lines have run, 2 ms ago."""
    return Partition.after(*lines, pass_ms=2, databases=4)


def _with_time(word: bytes) -> bytes:
    now, plus, ms = word.partition(b"+")
    return b"%d" % (NOW_MS + 2 + int(ms)) if now == b"NOW" and plus else word


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = after(*before)
    partition.run(split_line(line))
    expected = [[_with_time(word) for word in split_line(effect)] for effect in logged]
    assert partition.logged == [(int(db), tuple(argv)) for db, *argv in expected]
    assert partition.events == events
    check_store(partition.store)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    check_log(before, line, pass_ms=2, databases=4)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_watchers_hear_of_every_key_that_changed(row: Row) -> None:
    before, line, *_ = row
    if not line.startswith(("FLUSH", "SWAPDB")):  # whole databases are announced as such
        check_watchers(before, line, pass_ms=2, databases=4)


class Collection(list[int]):
    """A value of a type that there is not."""

    type_name = b"collection"
    encoding = b"listpack"
    expire_ms = 0

    def copy(self) -> Collection:
        return Collection(self)

    def free(self, steps: int) -> int:
        freed = len(self[-steps:])
        del self[-steps:]
        return freed


def test_values_of_other_types() -> None:
    partition = Partition()
    ks, value = partition.ks, Collection([1, 2, 3])
    ks.set(b"c", value)
    assert partition.run([b"TYPE", b"c"]) == b"+collection\r\n"
    assert partition.run([b"OBJECT", b"ENCODING", b"c"]) == b"$8\r\nlistpack\r\n"
    assert partition.run([b"SCAN", b"0", b"TYPE", b"Collection"]).endswith(b"*1\r\n$1\r\nc\r\n")
    assert partition.run([b"SCAN", b"0", b"TYPE", b"string"]).endswith(b"*0\r\n")
    assert partition.run([b"PEXPIREAT", b"c", b"%d" % (NOW_MS + 50)]) == b":1\r\n"
    assert partition.run([b"PTTL", b"c"]) == b":50\r\n"
    assert partition.run([b"COPY", b"c", b"d"]) == b":1\r\n"
    copied = ks.find(b"d")
    assert copied == value
    assert copied is not value
    assert copied.expire_ms == value.expire_ms
    assert partition.run([b"PERSIST", b"c"]) == b":1\r\n"
    assert partition.run([b"SET", b"s", b"v"]) == b"+OK\r\n"
    assert partition.run([b"RENAME", b"d", b"s"]) == b"+OK\r\n"
    assert partition.events[-2:] == ["0 o:overwritten s", "0 c:type_changed s"]
    assert ks.find(b"s") is copied
    assert partition.run([b"PTTL", b"s"]) == b":50\r\n"
    assert partition.run([b"MOVE", b"c", b"1"]) == b":1\r\n"
    assert ks.other(1).find(b"c") is value
    check_store(partition.store)


BIG = range(LAZY_FREE_ABOVE + 1)


@pytest.mark.parametrize(
    "line",
    [
        "UNLINK big small",
        "DEL big small",
        "SET big v",
        "RENAME small big",
        "COPY small big REPLACE",
    ],
)
def test_a_big_value_that_goes_is_freed_in_slices(line: str) -> None:
    partition = Partition()
    partition.ks.set(b"big", Collection(BIG))
    partition.ks.set(b"small", Collection(range(LAZY_FREE_ABOVE)))
    partition.run(split_line(line))
    store = partition.store
    assert [len(item) for item in store.garbage] == [len(BIG)]
    store.free_some(10)
    assert [len(item) for item in store.garbage] == [len(BIG) - 10]
    store.free_some(len(BIG))
    assert not store.garbage


@pytest.mark.parametrize("line", ["RENAME big other", "MOVE big 1", "COPY big other"])
def test_a_big_value_that_stays_is_not_freed(line: str) -> None:
    partition = Partition()
    partition.ks.set(b"big", Collection(BIG))
    partition.run(split_line(line))
    assert not partition.store.garbage


def test_big_values_of_a_flushed_table_are_freed_in_slices() -> None:
    partition = Partition()
    for n in range(5):
        partition.ks.set(b"{t}%d" % n, Collection(range(1000)))
    partition.run([b"FLUSHALL"])
    slices = 0
    while partition.store.garbage:
        partition.store.free_some(100)
        slices += 1
    assert slices >= 50


def test_the_random_key_of_several_partitions_is_drawn_by_their_sizes() -> None:
    stores = [Store(slot_range(i, 4), 1, Random(i)) for i in range(4)]
    for i in range(600):
        owner = owner_of(key_slot(b"%d" % i), 4)
        if owner in (1, 2) or (owner == 0 and i % 10 == 0):  # few keys, many, many, none
            stores[owner].view(0).set(b"%d" % i, b"v")
    sizes = [len(store.view(0)) for store in stores]
    assert sizes[0] * 5 < sizes[1]
    total = sum(sizes)
    spanning = COMMANDS[b"randomkey"].spanning
    assert spanning is not None
    assert spanning.part is not None
    drawn: Counter[bytes] = Counter()
    for _ in range(20 * total):
        parts = []
        for index, store in enumerate(stores):
            answer = spanning.part(store.view(0))
            assert isinstance(answer, Array)
            parts.append(PartAnswer(index, (), [encode(item, 2) for item in answer.items]))
        drawn[encode(spanning.merge(parts), 2)] += 1
    assert len(drawn) == total
    assert min(drawn.values()) >= 3  # 20 each, on average; the seeds are fixed
    assert max(drawn.values()) <= 50
    nothing = [PartAnswer(index, (), []) for index in range(4)]
    assert encode(spanning.merge(nothing), 3) == b"_\r\n"
