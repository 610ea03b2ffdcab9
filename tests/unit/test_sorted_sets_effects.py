"""What the sorted set commands log and announce.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import shoal.worker.commands.keys
import shoal.worker.commands.sets
import shoal.worker.commands.sorted_sets
import shoal.worker.commands.strings
from shoal.worker.registry import Wait
from shoal.worker.values.sorted_set import SortedSet
from support.keyspace import Partition, check_log
from support.raw import split_line

# name: (lines before, the line, what it logs: SAME is the line itself, its events).
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

SAME = ("",)
ONE = ("ZADD z 1 a",)
TWO = ("ZADD z 1 a 1 b",)

ROWS: dict[str, Row] = {
    f"{line} after {', '.join(lines) or 'nothing'}": (lines, line, logged, events)
    for lines, line, logged, events in (
        ((), "ZADD z 1 a", SAME, ["n:new z", "z:zadd z"]),
        ((), "ZADD z NX 1 a 2 b", SAME, ["n:new z", "z:zadd z"]),
        ((), "ZADD z INCR 1 a", SAME, ["n:new z", "z:zincr z"]),
        ((), "ZADD z XX 1 a", (), []),
        ((), "ZADD z XX INCR 1 a", (), []),
        (ONE, "ZADD z 1 a", (), []),
        (ONE, "ZADD z 2 a", SAME, ["z:zadd z"]),
        (ONE, "ZADD z 2 b", SAME, ["z:zadd z"]),
        (ONE, "ZADD z CH 2 a 3 b", SAME, ["z:zadd z"]),
        (ONE, "ZADD z NX 2 a", (), []),
        (ONE, "ZADD z GT 0 a", (), []),
        (ONE, "ZADD z INCR 0 a", (), []),
        (ONE, "ZADD z INCR 1 a", SAME, ["z:zincr z"]),
        (ONE, "ZADD z INCR 1 b", SAME, ["z:zincr z"]),
        (ONE, "ZADD z NX INCR 1 a", (), []),
        (ONE, "ZINCRBY z 1 a", SAME, ["z:zincr z"]),
        (ONE, "ZINCRBY z 0 a", (), []),
        ((), "ZINCRBY z 0 a", SAME, ["n:new z", "z:zincr z"]),
        (TWO, "ZREM z a", SAME, ["z:zrem z"]),
        (TWO, "ZREM z x", (), []),
        (TWO, "ZREM z a b c", SAME, ["z:zrem z", "g:del z"]),
        ((), "ZREM z a", (), []),
        (TWO, "ZREMRANGEBYSCORE z 5 6", (), []),
        (TWO, "ZREMRANGEBYSCORE z 1 1", SAME, ["z:zremrangebyscore z", "g:del z"]),
        (TWO, "ZREMRANGEBYRANK z 0 0", SAME, ["z:zremrangebyrank z"]),
        (TWO, "ZREMRANGEBYRANK z 0 -1", SAME, ["z:zremrangebyrank z", "g:del z"]),
        (TWO, "ZREMRANGEBYLEX z [a [a", SAME, ["z:zremrangebylex z"]),
        (TWO, "ZREMRANGEBYLEX z - +", SAME, ["z:zremrangebylex z", "g:del z"]),
        ((), "ZREMRANGEBYRANK z 0 1", (), []),
        (TWO, "ZPOPMIN z", SAME, ["z:zpopmin z"]),
        (TWO, "ZPOPMAX z 9", SAME, ["z:zpopmax z", "g:del z"]),
        (TWO, "ZPOPMAX z 0", (), []),
        ((), "ZPOPMAX z", (), []),
        (TWO, "ZMPOP 2 no z MIN", ["ZPOPMIN z 1"], ["z:zpopmin z"]),
        (TWO, "ZMPOP 2 no z MAX COUNT 5", ["ZPOPMAX z 2"], ["z:zpopmax z", "g:del z"]),
        ((), "ZMPOP 2 no z MAX COUNT 5", (), []),
        (TWO, "BZPOPMIN no z 0", ["ZPOPMIN z"], ["z:zpopmin z"]),
        (ONE, "BZPOPMAX no z 0", ["ZPOPMAX z"], ["z:zpopmax z", "g:del z"]),
        (TWO, "BZMPOP 0 2 no z MIN", ["ZPOPMIN z 1"], ["z:zpopmin z"]),
        (TWO, "BZMPOP 0 2 no z MAX COUNT 5", ["ZPOPMAX z 2"], ["z:zpopmax z", "g:del z"]),
        (TWO, "ZUNIONSTORE d 2 z no", SAME, ["m:keymiss no", "n:new d", "z:zunionstore d"]),
        (
            (*TWO, "SET d v"),
            "ZUNIONSTORE d 1 z",
            SAME,
            ["o:overwritten d", "c:type_changed d", "z:zunionstore d"],
        ),
        (("SADD z a",), "ZUNIONSTORE d 1 z", SAME, ["n:new d", "z:zunionstore d"]),
        (("ZADD d 1 a",), "ZUNIONSTORE d 1 no", SAME, ["m:keymiss no", "g:del d"]),
        ((), "ZUNIONSTORE d 1 no", (), ["m:keymiss no"]),
        (TWO, "ZINTERSTORE d 1 z", SAME, ["n:new d", "z:zinterstore d"]),
        (TWO, "ZINTERSTORE z 2 z no", SAME, ["m:keymiss no", "g:del z"]),
        (TWO, "ZINTERSTORE z 2 z z", SAME, ["o:overwritten z", "z:zinterstore z"]),
        (TWO, "ZDIFFSTORE d 2 z no", SAME, ["m:keymiss no", "n:new d", "z:zdiffstore d"]),
        (TWO, "ZRANGESTORE d z 0 0", SAME, ["n:new d", "z:zrangestore d"]),
        (
            (*TWO, "SET d v"),
            "ZRANGESTORE d z 0 0",
            SAME,
            ["o:overwritten d", "c:type_changed d", "z:zrangestore d"],
        ),
        (("SET d v",), "ZRANGESTORE d no 0 0", SAME, ["m:keymiss no", "g:del d"]),
        (TWO, "ZRANGESTORE d z 5 6", (), []),
        (TWO, "ZRANGESTORE z z 0 0", SAME, ["o:overwritten z", "z:zrangestore z"]),
        (TWO, "ZRANGESTORE z z 5 6", SAME, ["g:del z"]),
        *(
            ((), line, (), ["m:keymiss no"])
            for line in (
                *("ZRANGE no 0 1", "ZRANGE no 0 1 WITHSCORES", "ZREVRANGEBYLEX no + -"),
                *("ZSCORE no a", "ZCARD no", "ZUNION 1 no", "ZINTERCARD 1 no", "ZDIFF 1 no"),
                *("ZRANDMEMBER no", "ZRANDMEMBER no 3", "ZRANK no a", "ZMSCORE no a b"),
                *("ZSCAN no 0", "ZCOUNT no 1 1", "ZLEXCOUNT no - +"),
            )
        ),
        *(
            (TWO, line, (), [])
            for line in (
                *("ZRANGE z 0 1", "ZSCORE z no", "ZCARD z", "ZINTER 1 z", "ZRANDMEMBER z"),
                *("ZREVRANK z a", "ZMSCORE z a", "ZSCAN z 0", "ZCOUNT z 1 1", "ZLEXCOUNT z - +"),
            )
        ),
        (
            (*TWO, "PEXPIREAT z 1700000000001"),
            "ZADD z 1 a",
            ["DEL z", "ZADD z 1 a"],
            ["x:expired z", "n:new z", "z:zadd z"],
        ),
        ((*TWO, "PEXPIREAT z 1700000000001"), "ZPOPMIN z", ["DEL z"], ["x:expired z"]),
    )
}


def after(*lines: str) -> Partition:
    """Return a partition in which these lines have run, 2 ms ago."""
    return Partition.after(*lines, pass_ms=2)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = after(*before)
    partition.run(split_line(line))
    expected = [split_line(line if effect == "" else effect) for effect in logged]
    assert partition.logged == [(0, tuple(argv)) for argv in expected]
    assert partition.events == [f"0 {event}" for event in events]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    check_log(before, line, pass_ms=2)


@pytest.mark.parametrize(
    ("line", "keys", "timeout_ms"),
    [
        ("BZPOPMIN a 0", (b"a",), 0),
        ("BZPOPMAX a b a 1.5", (b"a", b"b", b"a"), 1500),
        ("BZMPOP 0.0001 2 a b MIN", (b"a", b"b"), 1),
        ("BZMPOP 2 1 a MAX COUNT 3", (b"a",), 2000),
    ],
)
def test_what_blocking_commands_wait_for(
    line: str, keys: tuple[bytes, ...], timeout_ms: int
) -> None:
    partition = after()
    name, *args = split_line(line)
    assert partition.run((name, *args)) == b"*-1\r\n"
    assert not partition.logged
    handler = getattr(shoal.worker.commands.sorted_sets, name.decode().lower())
    wait = handler(partition.ks, *args)
    assert isinstance(wait, Wait)
    assert (wait.keys, wait.timeout_ms, wait.kind) == (keys, timeout_ms, SortedSet)


def test_a_large_set_is_freed_in_slices() -> None:
    partition = after()
    words = [word for at in range(3000) for word in (b"%d" % at, b"m%d" % at)]
    partition.run((b"ZADD", b"z", *words))
    partition.run((b"SET", b"z", b"v"))
    garbage = partition.store.garbage
    assert [len(value) for value in garbage] == [3000]
    partition.store.free_some(500)
    assert 0 < len(garbage[0]) < 3000
    for _ in range(20):
        partition.store.free_some(500)
    assert not garbage
