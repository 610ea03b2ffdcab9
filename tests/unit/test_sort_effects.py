"""What SORT logs and announces, and which keys it looks up.

Events are those redis-server 8.2 publishes (with notify-keyspace-events KEAmnoc). Its AOF has the
SORT itself; here it is what the SORT stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import shoal.worker.commands.hashes
import shoal.worker.commands.keys
import shoal.worker.commands.lists
import shoal.worker.commands.sets
import shoal.worker.commands.sort
import shoal.worker.commands.sorted_sets
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.proto.slots import key_slot, owner_of, slot_range
from shoal.worker.registry import COMMANDS, NeedKeys
from support.keyspace import NOW_MS, Partition, check_store
from support.raw import split_line

# name: (lines before, the line, what it logs, its events).
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

LIST = ("RPUSH l 2 1",)
STORED = ["RPUSH d 1 2"]
AGAIN = ["DEL d", "RPUSH d 1 2"]

ROWS: dict[str, Row] = {
    f"{line} after {', '.join(lines) or 'nothing'}": (lines, line, logged, events)
    for lines, line, logged, events in (
        (LIST, "SORT l", (), []),
        (LIST, "SORT_RO l", (), []),
        ((), "SORT n", (), ["m:keymiss n"]),
        ((), "SORT_RO n", (), ["m:keymiss n"]),
        (("ZADD z 1 a",), "SORT_RO z BY nosort", (), []),
        (LIST, "SORT l STORE d", STORED, ["n:new d", "l:sortstore d"]),
        (
            (*LIST, "SET d 1"),
            "SORT l STORE d",
            AGAIN,
            ["o:overwritten d", "c:type_changed d", "l:sortstore d"],
        ),
        ((*LIST, "RPUSH d 9"), "SORT l STORE d", AGAIN, ["o:overwritten d", "l:sortstore d"]),
        (LIST, "SORT l STORE l", ["DEL l", "RPUSH l 1 2"], ["o:overwritten l", "l:sortstore l"]),
        (LIST, "SORT l GET x STORE d", ['RPUSH d "" ""'], ["n:new d", "l:sortstore d"]),
        (("RPUSH d 1",), "SORT n STORE d", ["DEL d"], ["m:keymiss n", "g:del d"]),
        ((*LIST, "SET d 1"), "SORT l LIMIT 5 5 STORE d", ["DEL d"], ["g:del d"]),
        ((), "SORT n STORE d", (), ["m:keymiss n"]),
        ((*LIST, "RPUSH l x", "RPUSH d 1"), "SORT l STORE d", (), []),
        (
            LIST,
            "SORT l BY w_* GET # GET h_*->f",
            (),
            ["m:keymiss w_2", "m:keymiss w_1", "m:keymiss h_1", "m:keymiss h_2"],
        ),
        ((*LIST, "HSET h_1 f 1"), "SORT l GET h_*->x", (), ["m:keymiss h_2"]),
        ((*LIST, "SET w_1 x"), "SORT l BY w_*", (), ["m:keymiss w_2"]),
        (
            ("RPUSH l 1", f"SET w_1 5 PXAT {NOW_MS + 1}"),
            "SORT l BY w_*",
            ["DEL w_1"],
            ["x:expired w_1", "m:keymiss w_1"],
        ),
        (
            ("RPUSH l 1", "HSET h_1 f 5", f"HPEXPIREAT h_1 {NOW_MS + 1} FIELDS 1 f"),
            "SORT l GET h_*->f",
            ["HDEL h_1 f"],
            ["h:hexpired h_1", "g:del h_1"],
        ),
        (
            (*LIST, f"SET d 5 PXAT {NOW_MS + 1}"),
            "SORT l STORE d",
            ["DEL d", *STORED],
            ["x:expired d", "n:new d", "l:sortstore d"],
        ),
    )
}


def after(*lines: str, slots: range = range(1 << 14)) -> Partition:
    """Return a partition in which these lines have run, 2 ms ago."""
    return Partition.after(*lines, pass_ms=2, slots=slots)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = after(*before)
    partition.run(split_line(line))
    assert partition.logged == [(0, tuple(split_line(effect))) for effect in logged]
    assert partition.events == [f"0 {event}" for event in events]
    check_store(partition.store)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    first, second = after(*before), after(*before)
    first.run(split_line(line))
    for _, argv in first.logged:
        second.run(argv)
    for key in (b"l", b"d"):
        assert first.run([b"TYPE", key]) == second.run([b"TYPE", key])
        assert first.run([b"TTL", key]) == second.run([b"TTL", key])
        assert first.run([b"LRANGE", key, b"0", b"-1"]) == second.run([b"LRANGE", key, b"0", b"-1"])


def test_a_large_result_is_logged_in_pieces() -> None:
    partition = after()
    partition.run([b"RPUSH", b"l", *(b"%d" % n for n in range(3000, 0, -1))])
    assert partition.run(split_line("SORT l STORE l")) == b":3000\r\n"
    pieces = [argv for _, argv in partition.logged]
    assert [argv[:2] for argv in pieces] == [(b"DEL", b"l"), *([(b"RPUSH", b"l")] * 3)]
    assert [element for argv in pieces for element in argv[2:]] == [
        b"%d" % n for n in range(1, 3001)
    ]
    assert max(map(len, pieces)) <= 1026


HALF = slot_range(0, 2)
HERE = next(b"{%d}" % n for n in range(99) if owner_of(key_slot(b"{%d}" % n), 2) == 0).decode()
AWAY = next(b"{%d}" % n for n in range(99) if owner_of(key_slot(b"{%d}" % n), 2) == 1).decode()


@pytest.mark.parametrize(
    "options",
    [
        f"BY {AWAY}w*",
        f"GET {AWAY}w*",
        f"GET {AWAY}h*->f",
        f"BY {HERE}w* GET {AWAY}w* STORE {HERE}d",
        f"BY nosort GET # GET {AWAY}w* STORE {HERE}d",
    ],
)
def test_keys_of_another_partition_are_asked_for(options: str) -> None:
    partition = after(f"RPUSH {HERE}l 1 2", f"SET {HERE}d old", slots=HALF)
    with pytest.raises(NeedKeys) as need:
        partition.run(split_line(f"SORT {HERE}l {options}"))
    field = b"h" if "h*" in options else b"w"
    assert need.value.keys == tuple([(0, AWAY.encode() + field + end) for end in (b"1", b"2")])
    assert partition.run(split_line(f"GET {HERE}d")) == b"$3\r\nold\r\n"


@pytest.mark.parametrize(
    "options",
    [
        f"BY {HERE}w*",
        f"GET {HERE}h*->f",
        f"BY {AWAY}nosort",
        f"GET {AWAY}",
        f"LIMIT 9 9 GET {AWAY}*",
    ],
)
def test_only_keys_that_are_looked_up_must_be_here(options: str) -> None:
    partition = after(f"RPUSH {HERE}l 1 2", slots=HALF)
    assert partition.run(split_line(f"SORT {HERE}l {options}"))[:1] == b"*"


def test_where_it_stores_is_one_of_its_keys() -> None:
    """The router sends it to the owner of both, or refuses it."""
    spec = COMMANDS[b"sort"].spec
    for line, keys in {
        "SORT k": [1],
        "SORT k BY store GET store ALPHA": [1],
        "SORT k store d": [1, 3],
        "SORT k STORE d STORE e": [1, 5],
        "SORT k LIMIT 0 STORE STORE d": [1, 6],
        "SORT k STORE": [1],
    }.items():
        assert spec.key_positions(split_line(line)) == keys
    assert COMMANDS[b"sort_ro"].spec.key_positions(split_line("SORT_RO k STORE d")) == [1]
