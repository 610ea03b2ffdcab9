"""What the list commands log and announce, and when they wait.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import shoal.worker.commands.keys
import shoal.worker.commands.lists
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.proto.errors import ReplyError
from shoal.worker.registry import Wait, resolve
from shoal.worker.values import LAZY_FREE_ABOVE
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.list import List
from support.keyspace import NOW_MS, Partition, check_store
from support.raw import split_line

# name: (lines before, the line, what it logs, its events).
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

EFFECTS: dict[str, Row] = {
    "LPUSH": ([], "LPUSH a 1 2", ["0 LPUSH a 1 2"], ["0 n:new a", "0 l:lpush a"]),
    "LPUSH to a list": (["RPUSH a 1"], "LPUSH a 2", ["0 LPUSH a 2"], ["0 l:lpush a"]),
    "RPUSH": ([], "RPUSH a 1 2", ["0 RPUSH a 1 2"], ["0 n:new a", "0 l:rpush a"]),
    "RPUSH to a list": (["RPUSH a 1"], "RPUSH a 2 3", ["0 RPUSH a 2 3"], ["0 l:rpush a"]),
    "LPUSHX": (["RPUSH a 1"], "LPUSHX a 2", ["0 LPUSHX a 2"], ["0 l:lpush a"]),
    "LPUSHX to nothing": ([], "LPUSHX a 2", [], []),
    "RPUSHX": (["RPUSH a 1"], "RPUSHX a 2", ["0 RPUSHX a 2"], ["0 l:rpush a"]),
    "RPUSHX to nothing": ([], "RPUSHX a 2", [], []),
    "LPOP": (["RPUSH a 1 2"], "LPOP a", ["0 LPOP a"], ["0 l:lpop a"]),
    "LPOP of the last one": (["RPUSH a 1"], "LPOP a", ["0 LPOP a"], ["0 l:lpop a", "0 g:del a"]),
    "LPOP of nothing": ([], "LPOP a", [], []),
    "LPOP count": (["RPUSH a 1 2 3"], "LPOP a 2", ["0 LPOP a 2"], ["0 l:lpop a"]),
    "LPOP count of all": (
        ["RPUSH a 1 2 3"],
        "LPOP a 9",
        ["0 LPOP a 9"],
        ["0 l:lpop a", "0 g:del a"],
    ),
    "LPOP 0": (["RPUSH a 1 2 3"], "LPOP a 0", [], []),
    "RPOP": (["RPUSH a 1 2"], "RPOP a", ["0 RPOP a"], ["0 l:rpop a"]),
    "RPOP of the last one": (["RPUSH a 1"], "RPOP a", ["0 RPOP a"], ["0 l:rpop a", "0 g:del a"]),
    "RPOP count": (["RPUSH a 1 2 3"], "RPOP a 2", ["0 RPOP a 2"], ["0 l:rpop a"]),
    "RPOP count of all": (
        ["RPUSH a 1 2 3"],
        "RPOP a 3",
        ["0 RPOP a 3"],
        ["0 l:rpop a", "0 g:del a"],
    ),
    "LLEN": (["RPUSH a 1"], "LLEN a", [], []),
    "LLEN of nothing": ([], "LLEN a", [], ["0 m:keymiss a"]),
    "LINDEX": (["RPUSH a 1"], "LINDEX a 0", [], []),
    "LINDEX of nothing": ([], "LINDEX a 0", [], ["0 m:keymiss a"]),
    "LRANGE": (["RPUSH a 1"], "LRANGE a 0 -1", [], []),
    "LRANGE of nothing": ([], "LRANGE a 0 -1", [], ["0 m:keymiss a"]),
    "LPOS": (["RPUSH a 1"], "LPOS a 1", [], []),
    "LPOS of nothing": ([], "LPOS a 1 COUNT 0", [], ["0 m:keymiss a"]),
    "LSET": (["RPUSH a 1"], "LSET a 0 2", ["0 LSET a 0 2"], ["0 l:lset a"]),
    "LSET to the same": (["RPUSH a 1"], "LSET a 0 1", ["0 LSET a 0 1"], ["0 l:lset a"]),
    "LSET out of range": (["RPUSH a 1"], "LSET a 1 1", [], []),
    "LSET of nothing": ([], "LSET a 1 1", [], []),
    "LINSERT": (
        ["RPUSH a 1"],
        "LINSERT a BEFORE 1 0",
        ["0 LINSERT a BEFORE 1 0"],
        ["0 l:linsert a"],
    ),
    "LINSERT without pivot": (["RPUSH a 1"], "LINSERT a BEFORE 7 0", [], []),
    "LINSERT into nothing": ([], "LINSERT a AFTER 7 0", [], []),
    "LREM": (["RPUSH a 1 2 1 2"], "LREM a -1 2", ["0 LREM a -1 2"], ["0 l:lrem a"]),
    "LREM of all": (["RPUSH a 1 1"], "LREM a 0 1", ["0 LREM a 0 1"], ["0 l:lrem a", "0 g:del a"]),
    "LREM of what is not there": (["RPUSH a 1 1"], "LREM a 0 2", [], []),
    "LREM of nothing": ([], "LREM a 0 2", [], []),
    "LTRIM": (["RPUSH a 1 2 3"], "LTRIM a 1 1", ["0 LTRIM a 1 1"], ["0 l:ltrim a"]),
    "LTRIM to nothing": (
        ["RPUSH a 1 2 3"],
        "LTRIM a 5 9",
        ["0 LTRIM a 5 9"],
        ["0 l:ltrim a", "0 g:del a"],
    ),
    "LTRIM that keeps all": (["RPUSH a 1 2 3"], "LTRIM a 0 -1", [], ["0 l:ltrim a"]),
    "LTRIM of nothing": ([], "LTRIM a 0 -1", [], []),
    "LMOVE": (
        ["RPUSH a 1 2"],
        "LMOVE a b left RIGHT",
        ["0 LMOVE a b left RIGHT"],
        ["0 n:new b", "0 l:rpush b", "0 l:lpop a"],
    ),
    "LMOVE of the last one": (
        ["RPUSH a 1", "RPUSH b 2"],
        "LMOVE a b RIGHT LEFT",
        ["0 LMOVE a b RIGHT LEFT"],
        ["0 l:lpush b", "0 l:rpop a", "0 g:del a"],
    ),
    "LMOVE to itself": (
        ["RPUSH a 1 2"],
        "LMOVE a a LEFT RIGHT",
        ["0 LMOVE a a LEFT RIGHT"],
        ["0 l:rpush a", "0 l:lpop a"],
    ),
    "LMOVE of one to itself": (
        ["RPUSH a 1"],
        "LMOVE a a LEFT RIGHT",
        ["0 LMOVE a a LEFT RIGHT"],
        ["0 l:rpush a", "0 l:lpop a"],
    ),
    "LMOVE of nothing": ([], "LMOVE a b LEFT RIGHT", [], []),
    "RPOPLPUSH": (
        ["RPUSH a 1 2"],
        "RPOPLPUSH a b",
        ["0 RPOPLPUSH a b"],
        ["0 n:new b", "0 l:lpush b", "0 l:rpop a"],
    ),
    "RPOPLPUSH of the last one": (
        ["RPUSH a 1"],
        "RPOPLPUSH a b",
        ["0 RPOPLPUSH a b"],
        ["0 n:new b", "0 l:lpush b", "0 l:rpop a", "0 g:del a"],
    ),
    "RPOPLPUSH to itself": (
        ["RPUSH a 1 2"],
        "RPOPLPUSH a a",
        ["0 RPOPLPUSH a a"],
        ["0 l:lpush a", "0 l:rpop a"],
    ),
    "RPOPLPUSH of nothing": ([], "RPOPLPUSH a b", [], []),
    "LMPOP": (["RPUSH b 1 2"], "LMPOP 2 a b LEFT", ["0 LPOP b 1"], ["0 l:lpop b"]),
    "LMPOP count": (["RPUSH b 1 2 3"], "LMPOP 2 a b RIGHT COUNT 2", ["0 RPOP b 2"], ["0 l:rpop b"]),
    "LMPOP of all": (
        ["RPUSH b 1 2 3"],
        "LMPOP 2 a b RIGHT COUNT 99",
        ["0 RPOP b 3"],
        ["0 l:rpop b", "0 g:del b"],
    ),
    "LMPOP of nothing": ([], "LMPOP 2 a b LEFT", [], []),
    "BLPOP": (["RPUSH b 1 2"], "BLPOP a b 0", ["0 LPOP b"], ["0 l:lpop b"]),
    "BLPOP of the last one": (
        ["RPUSH b 1"],
        "BLPOP a b 0",
        ["0 LPOP b"],
        ["0 l:lpop b", "0 g:del b"],
    ),
    "BRPOP": (["RPUSH a 1 2"], "BRPOP a b 0", ["0 RPOP a"], ["0 l:rpop a"]),
    "BLMPOP": (["RPUSH b 1 2"], "BLMPOP 0 2 a b LEFT", ["0 LPOP b 1"], ["0 l:lpop b"]),
    "BLMPOP of all": (
        ["RPUSH b 1 2"],
        "BLMPOP 0 2 a b right count 3",
        ["0 RPOP b 2"],
        ["0 l:rpop b", "0 g:del b"],
    ),
    "BLMOVE": (
        ["RPUSH a 1 2"],
        "BLMOVE a b left Right 0",
        ["0 LMOVE a b left Right"],
        ["0 n:new b", "0 l:rpush b", "0 l:lpop a"],
    ),
    "BLMOVE of the last one": (
        ["RPUSH a 1"],
        "BLMOVE a b RIGHT LEFT 0",
        ["0 LMOVE a b RIGHT LEFT"],
        ["0 n:new b", "0 l:lpush b", "0 l:rpop a", "0 g:del a"],
    ),
    "BRPOPLPUSH": (
        ["RPUSH a 1 2"],
        "BRPOPLPUSH a b 0",
        ["0 RPOPLPUSH a b"],
        ["0 n:new b", "0 l:lpush b", "0 l:rpop a"],
    ),
    "BRPOPLPUSH of the last one": (
        ["RPUSH a 1"],
        "BRPOPLPUSH a b 0",
        ["0 RPOPLPUSH a b"],
        ["0 n:new b", "0 l:lpush b", "0 l:rpop a", "0 g:del a"],
    ),
    "BRPOPLPUSH to itself": (
        ["RPUSH a 1 2"],
        "BRPOPLPUSH a a 0",
        ["0 RPOPLPUSH a a"],
        ["0 l:lpush a", "0 l:rpop a"],
    ),
}


def run(partition: Partition, lines: Sequence[str]) -> None:
    for line in lines:
        partition.run(split_line(line))


def logged(partition: Partition) -> list[str]:
    return [f"{db} {b' '.join(argv).decode()}" for db, argv in partition.logged]


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_effects_and_events(row: Row) -> None:
    before, line, effects, events = row
    partition = Partition()
    run(partition, before)
    partition.run(split_line(line))
    assert logged(partition) == effects
    assert partition.events == events
    check_store(partition.store)
    # Whoever loads the log has the same lists in the end.
    replica = Partition()
    run(replica, before)
    for _, argv in list(partition.logged):
        replica.run(argv)
    for key in (b"a", b"b"):
        ours, theirs = (side.ks.find(key) for side in (partition, replica))
        assert list(ours or ()) == list(theirs or ())


@pytest.mark.parametrize(
    ("line", "events"),
    [
        ("LPUSHX a 2", ["0 x:expired a"]),
        ("RPUSH a 2", ["0 x:expired a", "0 n:new a", "0 l:rpush a"]),
        ("LPOP a", ["0 x:expired a"]),
        ("LRANGE a 0 -1", ["0 x:expired a", "0 m:keymiss a"]),
        ("LMOVE b a LEFT LEFT", ["0 x:expired a", "0 n:new a", "0 l:lpush a", "0 l:lpop b"]),
        ("LMPOP 2 a b LEFT", ["0 x:expired a", "0 l:lpop b"]),
        ("BLPOP a b 0", ["0 x:expired a", "0 l:lpop b"]),
    ],
)
def test_expired_lists(line: str, events: Sequence[str]) -> None:
    partition = Partition()
    run(partition, ["RPUSH a 1", f"PEXPIREAT a {NOW_MS + 1}", "RPUSH b 1 2"])
    partition.store.now_ms += 1
    partition.run(split_line(line))
    assert logged(partition)[0] == "0 DEL a"
    assert partition.events == events
    check_store(partition.store)


WAITS = {
    "BLPOP a b 0.5": ((b"a", b"b"), 500, b"*-1\r\n", b"*-1\r\n"),
    "BRPOP a 0": ((b"a",), 0, b"*-1\r\n", b"*-1\r\n"),
    "BLMPOP 0.0001 2 a b LEFT COUNT 3": ((b"a", b"b"), 1, b"*-1\r\n", b"*-1\r\n"),
    "BLMOVE a c LEFT RIGHT 1e1": ((b"a",), 10_000, b"*-1\r\n", b"$-1\r\n"),
    "BRPOPLPUSH a c 2": ((b"a",), 2000, b"*-1\r\n", b"$-1\r\n"),
}


@pytest.mark.parametrize("line", WAITS)
def test_what_is_waited_for(line: str) -> None:
    partition = Partition()
    argv = split_line(line)
    command = resolve(argv)
    wait = command.handler(partition.ks, *argv[1:])
    assert isinstance(wait, Wait)
    keys, timeout_ms, timeout_reply, denied_reply = WAITS[line]
    assert (wait.keys, wait.timeout_ms, wait.kind) == (keys, timeout_ms, List)
    assert wait.timeout_reply.encode(2) == timeout_reply  # type: ignore[union-attr]
    assert wait.encode(2) == denied_reply
    assert wait.encode(3) == b"_\r\n"
    assert wait.argv is None
    assert not wait.on_nokey
    assert not partition.store.dirty
    assert partition.store.effects is None
    # Called again when there is something, it is served.
    partition.run([b"RPUSH", b"a", b"1"])
    assert b"$1\r\n1\r\n" in partition.run(argv)
    assert not partition.ks.exists(b"a")


def test_a_wait_looks_at_the_keys_in_order_when_it_is_tried_again() -> None:
    partition = Partition()
    run(partition, ["SET a x", "RPUSH b 1"])
    with pytest.raises(ReplyError, match="WRONGTYPE"):
        resolve([b"BLPOP", b"a", b"b", b"0"]).handler(partition.ks, b"a", b"b", b"0")
    assert partition.run(split_line("LLEN b")) == b":1\r\n"


def test_timeouts_end_before_the_clock_does() -> None:
    partition = Partition()
    for line in ("BLPOP a 9223372036854774", "BLMOVE a b LEFT LEFT inf", "BRPOPLPUSH a b 1e400"):
        assert partition.run(split_line(line)) == b"-ERR timeout is out of range\r\n"


def test_a_big_list_is_freed_in_slices() -> None:
    partition = Partition()
    partition.run([b"RPUSH", b"a", *[b"%d" % i for i in range(50_000)]])
    partition.run([b"RPUSH", b"b", *[b"%d" % i for i in range(LAZY_FREE_ABOVE)]])
    partition.run([b"DEL", b"a", b"b"])
    garbage = partition.store.garbage
    assert len(garbage) == 1
    slices = 0
    while garbage:
        partition.store.free_some(1000)
        slices += 1
    assert slices > 5


def test_lset_and_linsert_make_room_even_if_they_change_nothing() -> None:
    # As in Redis, where OBJECT ENCODING shows it.
    partition = Partition()
    run(partition, ["RPUSH a 1", "RPUSH b 1"])
    large = b"x" * (-LIMITS.list_max_listpack_size * 4096 + 1)
    assert partition.run([b"LSET", b"a", b"7", large]) == b"-ERR index out of range\r\n"
    assert partition.run([b"LINSERT", b"b", b"AFTER", b"7", large]) == b":-1\r\n"
    for key in (b"a", b"b"):
        assert partition.run([b"OBJECT", b"ENCODING", key]) == b"$9\r\nquicklist\r\n"
