"""What the set commands log and announce, and what SPOP costs.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import pytest
import shoal.worker.commands.keys
import shoal.worker.commands.sets
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.proto.limits import MAX_RANDOM_ELEMENTS
from shoal.worker.values.set import HASHTABLE, Set
from shoal.worker.values.table import Table
from support.keyspace import NOW_MS, Partition, check_log, check_store, check_watchers
from support.raw import split_line

# name: (lines before, the line, what it logs: SAME is the line itself, its events).
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

SAME = ("",)
ONE = ("SADD s a",)
TWO = ("SADD s a b",)
BOTH = ("SADD s a b", "SADD t b")

ROWS: dict[str, Row] = {
    f"{line} after {', '.join(lines) or 'nothing'}": (lines, line, logged, events)
    for lines, line, logged, events in (
        ((), "SADD s a b a", SAME, ["n:new s", "s:sadd s"]),
        (ONE, "SADD s b a", SAME, ["s:sadd s"]),
        (TWO, "SADD s a", (), []),
        (TWO, "SREM s a x", SAME, ["s:srem s"]),
        (TWO, "SREM s a b a", SAME, ["s:srem s", "g:del s"]),
        (TWO, "SREM s x", (), []),
        ((), "SREM s a", (), []),
        (TWO, "SMOVE s d a", SAME, ["s:srem s", "n:new d", "s:sadd d"]),
        (ONE, "SMOVE s d a", SAME, ["s:srem s", "g:del s", "n:new d", "s:sadd d"]),
        ((*ONE, "SADD d a"), "SMOVE s d a", SAME, ["s:srem s", "g:del s"]),
        ((*ONE, "SADD d b"), "SMOVE s d a", SAME, ["s:srem s", "g:del s", "s:sadd d"]),
        (ONE, "SMOVE s s a", (), []),
        (ONE, "SMOVE s d x", (), []),
        (ONE, "SMOVE n d x", (), []),
        (ONE, "SPOP s", ["SREM s a"], ["s:spop s", "g:del s"]),
        (ONE, "SPOP s 1", ["DEL s"], ["s:spop s", "g:del s"]),
        (TWO, "SPOP s 2", ["DEL s"], ["s:spop s", "g:del s"]),
        (TWO, "SPOP s 5", ["DEL s"], ["s:spop s", "g:del s"]),
        (ONE, "SPOP s 0", (), []),
        ((), "SPOP n", (), []),
        ((), "SPOP n 1", (), []),
        (BOTH, "SUNIONSTORE d s t n", SAME, ["m:keymiss n", "n:new d", "s:sunionstore d"]),
        (
            (*BOTH, "SET d 1"),
            "SUNIONSTORE d s t",
            SAME,
            ["o:overwritten d", "c:type_changed d", "s:sunionstore d"],
        ),
        ((*ONE, "SADD d 1"), "SUNIONSTORE d s", SAME, ["o:overwritten d", "s:sunionstore d"]),
        (ONE, "SUNIONSTORE s s", SAME, ["o:overwritten s", "s:sunionstore s"]),
        (("SADD d a",), "SUNIONSTORE d n", SAME, ["m:keymiss n", "g:del d"]),
        (("SET d a",), "SUNIONSTORE d n", SAME, ["m:keymiss n", "g:del d"]),
        ((), "SUNIONSTORE d n", (), ["m:keymiss n"]),
        (BOTH, "SINTERSTORE d s t", SAME, ["n:new d", "s:sinterstore d"]),
        ((*ONE, "SADD t c", "SADD d x"), "SINTERSTORE d s t", SAME, ["g:del d"]),
        (("SADD d a",), "SINTERSTORE d n m", SAME, ["m:keymiss n", "m:keymiss m", "g:del d"]),
        (ONE, "SINTERSTORE d s n m", (), ["m:keymiss n", "m:keymiss m"]),
        (BOTH, "SDIFFSTORE d s t", SAME, ["n:new d", "s:sdiffstore d"]),
        ((*BOTH, "SADD d x"), "SDIFFSTORE d t s", SAME, ["g:del d"]),
        (("SADD d x",), "SDIFFSTORE d n d", SAME, ["m:keymiss n", "g:del d"]),
        ((), "SUNION n m", (), ["m:keymiss n", "m:keymiss m"]),
        ((), "SINTER n m", (), ["m:keymiss n", "m:keymiss m"]),
        ((), "SDIFF n m", (), ["m:keymiss n", "m:keymiss m"]),
        ((), "SINTERCARD 2 n m", (), ["m:keymiss n", "m:keymiss m"]),
        *(
            ((), line, (), ["m:keymiss n"])
            for line in (
                *("SISMEMBER n a", "SMISMEMBER n a", "SMEMBERS n", "SCARD n", "SSCAN n 0"),
                *("SRANDMEMBER n", "SRANDMEMBER n 2", "SRANDMEMBER n 0"),
            )
        ),
        *(
            (BOTH, line, (), [])
            for line in (
                *("SISMEMBER s a", "SMISMEMBER s a", "SMEMBERS s", "SCARD s", "SSCAN s 0"),
                *("SRANDMEMBER s", "SRANDMEMBER s 2", "SRANDMEMBER s -9", "SINTER s t"),
                *("SUNION s t", "SDIFF s t", "SINTERCARD 2 s t"),
            )
        ),
        (
            (*ONE, f"PEXPIREAT s {NOW_MS + 1}"),
            "SADD s b",
            ["DEL s", "SADD s b"],
            ["x:expired s", "n:new s", "s:sadd s"],
        ),
        (
            (*BOTH, f"PEXPIREAT s {NOW_MS + 1}"),
            "SMOVE t s b",
            ["DEL s", "SMOVE t s b"],
            ["x:expired s", "s:srem t", "g:del t", "n:new s", "s:sadd s"],
        ),
        ((*ONE, f"PEXPIREAT s {NOW_MS + 1}"), "SPOP s", ["DEL s"], ["x:expired s"]),
    )
}


def after(*lines: str, seed: int = 1) -> Partition:
    """Return a partition in which these lines have run, 2 ms ago."""
    return Partition.after(*lines, pass_ms=2, seed=seed)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = after(*before)
    partition.run(split_line(line))
    expected = [split_line(line if effect == "" else effect) for effect in logged]
    assert partition.logged == [(0, tuple(argv)) for argv in expected]
    assert partition.events == [f"0 {event}" for event in events]
    check_store(partition.store)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    check_log(before, line, pass_ms=2)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_watchers_hear_of_every_key_that_changed(row: Row) -> None:
    before, line, *_ = row
    check_watchers(before, line, pass_ms=2)


# -- SPOP ------------------------------------------------------------------------------------------


def bulks(reply: bytes) -> list[bytes]:
    """Return the bulk strings of an array of them; none has a CRLF inside."""
    return reply.split(b"\r\n")[2::2]


def the_set(partition: Partition) -> Set:
    found = partition.ks.find(b"s")
    assert isinstance(found, Set)
    return found


def with_members(count: int, seed: int = 1) -> Partition:
    partition = after(seed=seed)
    partition.run([b"SADD", b"s", *(b"m%d" % n for n in range(count))])
    partition.run([b"PEXPIREAT", b"s", b"%d" % (NOW_MS + 99)])
    return partition


@pytest.mark.parametrize("size", [10, 100, 500, 5000])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.9, 0.999])
def test_what_spop_gives_is_what_goes(size: int, share: float) -> None:
    partition, twin = with_members(size), with_members(size)
    before = set(the_set(partition))
    count = min(int(size * share), size - 1)
    popped = bulks(partition.run([b"SPOP", b"s", b"%d" % count]))
    assert len(popped) == len(set(popped)) == count
    left = the_set(partition)
    left.check()
    assert set(left) | set(popped) == before
    assert set(left).isdisjoint(popped)
    assert left.expire_ms == NOW_MS + 99
    assert partition.events == ["0 s:spop s"]
    assert [argv[:2] for _, argv in partition.logged] == [(b"SREM", b"s")] * -(-count // 1024)
    assert [member for _, argv in partition.logged for member in argv[2:]] == popped
    for _, argv in partition.logged:
        assert len(argv) <= 1026
        twin.run(argv)
    assert set(the_set(twin)) == set(left)
    check_store(partition.store)


def test_spop_takes_any_member() -> None:
    popped: Counter[bytes] = Counter()
    for seed in range(600):
        partition = with_members(6, seed)
        popped.update(bulks(partition.run([b"SPOP", b"s", b"2"])))
        partition.run([b"SPOP", b"s"])
        popped.update(argv[2] for _, argv in partition.logged)
    assert popped.total() == 1800
    assert len(popped) == 6
    # 300 each on average, with a standard deviation below 16.
    assert min(popped.values()) > 220
    assert max(popped.values()) < 380


def _never(*_: object) -> Iterator[bytes]:
    raise AssertionError("goes through all members")


def test_spop_from_a_million_costs_what_it_pops(monkeypatch: pytest.MonkeyPatch) -> None:
    value = Set(HASHTABLE)
    value.update(b"%d" % n for n in range(1_000_000))
    partition = Partition()
    partition.ks.set(b"s", value)
    asked = 0

    class CountingRandom(Random):
        def random(self) -> float:
            nonlocal asked
            asked += 1
            return super().random()

    partition.store.random = CountingRandom(1)
    for name in ("__iter__", "items", "keys", "buckets", "copy"):
        monkeypatch.setattr(Table, name, _never)
    for count in (1, 10, 1000):
        asked = 0
        assert len(bulks(partition.run([b"SPOP", b"s", b"%d" % count]))) == count
        assert asked < 8 * count + 100
    partition.run([b"SPOP", b"s"])
    assert len(bulks(partition.run([b"SRANDMEMBER", b"s", b"-100"]))) == 100
    assert len(bulks(partition.run([b"SRANDMEMBER", b"s", b"100"]))) == 100
    assert partition.run([b"SCARD", b"s"]) == b":998988\r\n"


@pytest.mark.parametrize("line", ["SPOP s 4990", "SPOP s 5000", "SUNIONSTORE s t", "DEL s"])
def test_a_large_set_that_goes_is_freed_in_slices(line: str) -> None:
    partition = with_members(5000)
    partition.run([b"SADD", b"t", b"a"])
    partition.run(split_line(line))
    store = partition.store
    assert [len(value) for value in store.garbage] == [5000]
    store.free_some(500)
    assert 0 < len(store.garbage[0]) < 5000
    for _ in range(20):
        store.free_some(500)
    assert not store.garbage


# -- others ----------------------------------------------------------------------------------------


def test_a_reply_of_random_members_is_bounded() -> None:
    partition = after("SADD s a")
    ask = f"SRANDMEMBER s -{MAX_RANDOM_ELEMENTS + 1}"
    assert partition.run(split_line(ask)).startswith(b"-ERR value is out of range, value must betw")
    assert partition.run(split_line("SRANDMEMBER n -9223372036854775807")) == b"*0\r\n"


def test_what_combinations_give_is_not_what_they_were_made_of() -> None:
    partition = after("SADD s 1 2 x", "SADD t 1")
    partition.run([b"SADD", b"big", *(b"%d" % n for n in range(2000))])
    for source in (b"s", b"big"):
        for argv in (
            (b"SUNIONSTORE", b"d", source),
            (b"SINTERSTORE", b"d", source, source),
            (b"SDIFFSTORE", b"d", source, b"none"),
            (b"COPY", source, b"d", b"REPLACE"),
        ):
            before = partition.run([b"SCARD", source])
            partition.run(argv)
            partition.run([b"SADD", b"d", b"new"])
            partition.run([b"SREM", b"d", b"1"])
            assert partition.run([b"SCARD", source]) == before, argv
            assert partition.run([b"SMISMEMBER", source, b"new", b"1"]) == b"*2\r\n:0\r\n:1\r\n"


def test_a_scan_of_a_large_set_goes_in_steps() -> None:
    partition = with_members(5000)
    found: set[bytes] = set()
    cursor, calls = b"0", 0
    while True:
        lines = partition.run([b"SSCAN", b"s", cursor, b"COUNT", b"100"]).split(b"\r\n")
        cursor = lines[2]
        found.update(lines[5::2])
        calls += 1
        assert len(lines[5::2]) < 300
        if cursor == b"0":
            break
    assert found == {b"m%d" % n for n in range(5000)}
    assert 15 < calls < 60
