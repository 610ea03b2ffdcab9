"""What the stream commands log and announce.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc), but for this:
- several entries that became pending alike share one XCLAIM;
- what XGROUP takes less of than ENTRIESREAD says is logged as taken;
- trimming that was made exact is logged without LIMIT and NOMKSTREAM, which it does not need;
- a consumer that nothing else in the log makes is logged, as is what DELREF does to entries that
  were deleted already: Redis forgets both when it is started again.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import shoal.worker.commands.consumer_groups
import shoal.worker.commands.keys
import shoal.worker.commands.streams
import shoal.worker.commands.strings
from shoal.worker.registry import Wait
from shoal.worker.values.stream import CLAIMED_AT_ONCE, Stream
from support.keyspace import NOW_MS, Partition
from support.raw import split_line

# name: (lines before, the line, what it logs: SAME is the line itself, its events). NOW stands for
# the time of the line, THEN for that of the lines before.
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

SAME = ("",)
MAX_ID = "18446744073709551615-18446744073709551615"
ONE = ("XADD s 5 f v",)
THREE = ("XADD s 5 f v", "XADD s 6 f v", "XADD s 7 f v")
GROUP = (*THREE, "XGROUP CREATE s g 0")
READ = (*GROUP, "XREADGROUP GROUP g c COUNT 2 STREAMS s >")
GONE = (*READ, "XDEL s 5")
XADD, XDEL, XTRIM = "t:xadd s", "t:xdel s", "t:xtrim s"
MADE = "t:xgroup-createconsumer s"
CLAIM = "XCLAIM s g {} 0 {} TIME {} RETRYCOUNT {} FORCE JUSTID LASTID {}"

EFFECTS: tuple[Row, ...] = (
    # XADD
    ((), "XADD s 5 f v", SAME, ["n:new s", XADD]),
    ((), "XADD s 5-* f v", ["XADD s 5-0 f v"], ["n:new s", XADD]),
    ((), "XADD s * f v", ["XADD s NOW-0 f v"], ["n:new s", XADD]),
    ((), "XADD s nomkstream * f v", (), []),
    (ONE, "xadd s nomkstream 5-* f v", ["XADD s nomkstream 5-1 f v"], [XADD]),
    (ONE, "XADD s NOMKSTREAM KEEPREF 6 f v", SAME, [XADD]),
    (ONE, "XADD s 5 f v", (), []),
    (ONE, "XADD s MAXLEN 5 6 f v", SAME, [XADD]),
    (ONE, "XADD s MAXLEN 1 6 f v", SAME, [XADD, XTRIM]),
    (ONE, "XADD s MAXLEN = 1 6-* f v", ["XADD s MAXLEN = 1 6-0 f v"], [XADD, XTRIM]),
    (ONE, "XADD s MAXLEN ~ 1 6 f v", ["XADD s MAXLEN = 2 6-0 f v"], [XADD]),
    (ONE, "XADD s MAXLEN ~ 0 LIMIT 9 6 f v", ["XADD s MAXLEN = 0 6-0 f v"], [XADD, XTRIM]),
    (ONE, "XADD s DELREF MAXLEN ~ 0 6 f v", ["XADD s DELREF MAXLEN = 2 6-0 f v"], [XADD]),
    (ONE, "XADD s MINID ~ 6 7 f v", ["XADD s MINID = 5-0 7-0 f v"], [XADD]),
    (ONE, "XADD s MINID 6 7 f v", SAME, [XADD, XTRIM]),
    # XTRIM
    ((), "XTRIM s MAXLEN 0", (), []),
    (THREE, "XTRIM s MAXLEN 3", (), []),
    (THREE, "XTRIM s MAXLEN 1", SAME, [XTRIM]),
    (THREE, "XTRIM s MINID 6 KEEPREF", SAME, [XTRIM]),
    (THREE, "XTRIM s MAXLEN ~ 1", (), []),
    (THREE, "XTRIM s MAXLEN ~ 0 LIMIT 3", ["XTRIM s MAXLEN = 0"], [XTRIM]),
    (THREE, "XTRIM s MINID ~ 9 LIMIT 0", [f"XTRIM s MINID = {MAX_ID}"], [XTRIM]),
    (READ, "XTRIM s MAXLEN 0 ACKED", (), []),
    (READ, "XTRIM s MAXLEN 0 DELREF", SAME, [XTRIM]),
    # XDEL, XDELEX, XSETID
    ((), "XDEL s 5", (), []),
    (ONE, "XDEL s 6", (), []),
    (THREE, "XDEL s 6 5 4", SAME, [XDEL]),
    (ONE, "XDEL s 5", SAME, [XDEL]),
    ((), "XDELEX s IDS 1 5", (), []),
    (ONE, "XDELEX s IDS 1 6", (), []),
    (THREE, "XDELEX s ACKED IDS 2 5 9", SAME, [XDEL]),
    (READ, "XDELEX s ACKED IDS 1 5", (), []),
    (READ, "XDELEX s DELREF IDS 1 5", SAME, [XDEL]),
    (GONE, "XDELEX s DELREF IDS 1 5", SAME, []),
    (ONE, "XSETID s 9", SAME, ["t:xsetid s"]),
    (ONE, "XSETID s 9 ENTRIESADDED 5 MAXDELETEDID 3", SAME, ["t:xsetid s"]),
    # what only reads
    (ONE, "XLEN s", (), []),
    ((), "XLEN s", (), ["m:keymiss s"]),
    ((), "XRANGE s - +", (), ["m:keymiss s"]),
    ((), "XREAD STREAMS s $", (), ["m:keymiss s", "m:keymiss s"]),
    (ONE, "XREAD BLOCK 0 STREAMS s 0", (), []),
    (READ, "XPENDING s g - + 10", (), []),
    ((), "XINFO STREAM s", (), ["m:keymiss s"]),
    (READ, "XINFO STREAM s FULL", (), []),
    # XGROUP
    (ONE, "XGROUP CREATE s g $", SAME, ["t:xgroup-create s"]),
    ((), "XGROUP CREATE s g 0 MKSTREAM", SAME, ["n:new s", "t:xgroup-create s"]),
    (GROUP, "XGROUP CREATE s g 0", (), []),
    (GROUP, "XGROUP SETID s g $ ENTRIESREAD 2", SAME, ["t:xgroup-setid s"]),
    *(
        (GROUP, f"XGROUP SETID s g {text} ENTRIESREAD 9", [logged], ["t:xgroup-setid s"])
        for text, logged in (
            ("5", "XGROUP SETID s g 5-0 ENTRIESREAD 3"),
            ("$", "XGROUP SETID s g 7-0 ENTRIESREAD 3"),
        )
    ),
    (
        ONE,
        "XGROUP CREATE s g $ ENTRIESREAD 9",
        ["XGROUP CREATE s g 5-0 ENTRIESREAD 1"],
        ["t:xgroup-create s"],
    ),
    (
        (),
        "XGROUP CREATE s g 5 ENTRIESREAD 9 MKSTREAM",
        ["XGROUP CREATE s g 5-0 MKSTREAM ENTRIESREAD 0"],
        ["n:new s", "t:xgroup-create s"],
    ),
    (GROUP, "XGROUP CREATECONSUMER s g c", SAME, [MADE]),
    (READ, "XGROUP CREATECONSUMER s g c", (), []),
    (READ, "XGROUP DELCONSUMER s g c", SAME, ["t:xgroup-delconsumer s"]),
    (GROUP, "XGROUP DELCONSUMER s g c", (), []),
    (READ, "XGROUP DESTROY s g", SAME, ["t:xgroup-destroy s"]),
    (ONE, "XGROUP DESTROY s g", (), []),
    # XREADGROUP
    (
        GROUP,
        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
        [CLAIM.format("c", "5-0", "NOW", 1, "5-0"), "XGROUP SETID s g 5-0 ENTRIESREAD 1"],
        [MADE],
    ),
    (
        READ,
        "XREADGROUP GROUP g c STREAMS s >",
        [CLAIM.format("c", "7-0", "NOW", 1, "7-0"), "XGROUP SETID s g 7-0 ENTRIESREAD 3"],
        [],
    ),
    (
        (*GROUP, "XDEL s 6"),
        "XREADGROUP GROUP g c STREAMS s >",
        [CLAIM.format("c", "5-0 7-0", "NOW", 1, "7-0"), "XGROUP SETID s g 7-0 ENTRIESREAD 3"],
        [MADE],
    ),
    (
        (*GROUP, "XDEL s 6"),
        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
        [CLAIM.format("c", "5-0", "NOW", 1, "5-0"), "XGROUP SETID s g 5-0 ENTRIESREAD -1"],
        [MADE],
    ),
    (
        GROUP,
        "XREADGROUP GROUP g c NOACK STREAMS s >",
        ["XGROUP CREATECONSUMER s g c", "XGROUP SETID s g 7-0 ENTRIESREAD 3"],
        [MADE],
    ),
    (
        READ,
        "XREADGROUP GROUP g c NOACK STREAMS s >",
        ["XGROUP SETID s g 7-0 ENTRIESREAD 3"],
        [],
    ),
    (READ, "XREADGROUP GROUP g c STREAMS s 0", (), []),
    (READ, "XREADGROUP GROUP g d STREAMS s 0", ["XGROUP CREATECONSUMER s g d"], [MADE]),
    (
        (*READ, "XREADGROUP GROUP g c STREAMS s >"),
        "XREADGROUP GROUP g e BLOCK 0 STREAMS s >",
        ["XGROUP CREATECONSUMER s g e"],
        [MADE],
    ),
    # XACK, XACKDEL
    (READ, "XACK s g 5 6 7", SAME, []),
    (READ, "XACK s g 7", (), []),
    (READ, "XACKDEL s g IDS 1 5", SAME, [XDEL]),
    (READ, "XACKDEL s g ACKED IDS 1 7", (), []),
    (GONE, "XACKDEL s g IDS 1 5", SAME, []),
    ((*READ, "XGROUP CREATE s h 0"), "XACKDEL s g ACKED IDS 1 5", SAME, []),
    # XCLAIM, XAUTOCLAIM
    (READ, "XCLAIM s g c 0 5", [CLAIM.format("c", "5-0", "NOW", 2, "6-0")], []),
    (READ, "XCLAIM s g d 0 5 JUSTID", [CLAIM.format("d", "5-0", "NOW", 1, "6-0")], [MADE]),
    (READ, "XCLAIM s g c 9 5", (), []),
    (READ, "XCLAIM s g d 9 5", ["XGROUP CREATECONSUMER s g d"], [MADE]),
    (READ, "XCLAIM s g c 0 7", (), []),
    (READ, "XCLAIM s g c 0 7 FORCE", [CLAIM.format("c", "7-0", "NOW", 2, "6-0")], []),
    (
        READ,
        "XCLAIM s g c 0 5 6 TIME 77 RETRYCOUNT 9 LASTID 7",
        [
            CLAIM.format("c", "5-0", "77", 9, "7-0"),
            CLAIM.format("c", "6-0", "77", 9, "7-0"),
        ],
        [],
    ),
    (READ, "XCLAIM s g c 9 5 LASTID 7", ["XGROUP SETID s g 7-0 ENTRIESREAD 2"], []),
    (
        GONE,
        "XCLAIM s g d 0 5",
        [CLAIM.format("c", "5-0", "THEN", 1, "6-0"), "XGROUP CREATECONSUMER s g d"],
        [MADE],
    ),
    (
        READ,
        "XAUTOCLAIM s g d 0 0",
        [
            CLAIM.format("d", "5-0", "NOW", 2, "6-0"),
            CLAIM.format("d", "6-0", "NOW", 2, "6-0"),
        ],
        [MADE],
    ),
    (READ, "XAUTOCLAIM s g c 0 6 JUSTID", [CLAIM.format("c", "6-0", "NOW", 1, "6-0")], []),
    (
        GONE,
        "XAUTOCLAIM s g c 0 0",
        [
            CLAIM.format("c", "5-0", "THEN", 1, "6-0"),
            CLAIM.format("c", "6-0", "NOW", 2, "6-0"),
        ],
        [],
    ),
    (READ, "XAUTOCLAIM s g c 9 0", (), []),
)

ROWS: dict[str, Row] = {
    f"{line} after {', '.join(lines) or 'nothing'}": (lines, line, logged, events)
    for lines, line, logged, events in EFFECTS
}


def after(*lines: str) -> Partition:
    """Return a partition in which these lines have run, 2 ms ago."""
    return Partition.after(*lines, pass_ms=2)


def timed(effect: str) -> tuple[bytes, ...]:
    effect = effect.replace("NOW", str(NOW_MS + 2)).replace("THEN", str(NOW_MS))
    return tuple(split_line(effect))


def _stream(partition: Partition, key: bytes) -> Stream:
    stream = partition.ks.find(key)
    assert isinstance(stream, Stream)
    return stream


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = after(*before)
    partition.run(split_line(line))
    assert partition.logged == [(0, timed(line if effect == "" else effect)) for effect in logged]
    assert partition.events == [f"0 {event}" for event in events]


# What Redis does not call a change of the key: WATCH and tracking do not hear of it.
UNSEEN = (
    *("XGROUP CREATE s h 0", "XGROUP SETID s g 0", "XGROUP CREATECONSUMER s g e"),
    *("XGROUP DELCONSUMER s g c", "XREADGROUP GROUP g c STREAMS s >", "XACK s g 5"),
    *("XREADGROUP GROUP g c STREAMS s 0", "XCLAIM s g d 0 5", "XAUTOCLAIM s g d 0 0"),
    *("XSETID s 9", "XLEN s", "XDEL s 99", "XTRIM s MAXLEN 9"),
)
SEEN = (
    *("XADD s 9 f v", "XTRIM s MAXLEN 1", "XDEL s 5", "XDELEX s IDS 1 5", "XACKDEL s g IDS 1 5"),
    "XGROUP DESTROY s g",  # to wake those who wait for its entries
)


@pytest.mark.parametrize("line", [*SEEN, *UNSEEN])
def test_who_is_told_of_a_change(line: str) -> None:
    partition = after(*READ)
    told = []
    partition.store.on_change = lambda _, key: told.append(key)
    partition.run(split_line(line))
    assert bool(told) == (line in SEEN)


def test_entries_delivered_together_share_their_claims() -> None:
    partition = after(*(f"XADD s {n} f v" for n in range(1, 101)), "XGROUP CREATE s g 0")
    partition.run(split_line("XREADGROUP GROUP g c STREAMS s >"))
    claims = [argv for _, argv in partition.logged if argv[0] == b"XCLAIM"]
    assert [len(argv) - 13 for argv in claims] == [CLAIMED_AT_ONCE, 100 - CLAIMED_AT_ONCE]
    assert [word for argv in claims for word in argv[5 : len(argv) - 8]] == [
        b"%d-0" % n for n in range(1, 101)
    ]


def test_reading_history_is_not_logged_yet_counts() -> None:
    partition = after(*READ)
    partition.run(split_line("XREADGROUP GROUP g c COUNT 1 STREAMS s 0"))
    assert not partition.logged
    reply = partition.run(split_line("XPENDING s g - + 9"))
    assert reply == (
        b"*2\r\n*4\r\n$3\r\n5-0\r\n$1\r\nc\r\n:0\r\n:2\r\n*4\r\n$3\r\n6-0\r\n$1\r\nc\r\n:2\r\n:1\r\n"
    )


@pytest.mark.parametrize(
    ("line", "keys", "timeout_ms", "argv"),
    [
        ("XREAD BLOCK 0 STREAMS s $", (b"s",), 0, "BLOCK 0 STREAMS s 7-0"),
        ("XREAD BLOCK 5 STREAMS s no $ $", (b"s", b"no"), 5, "BLOCK 5 STREAMS s no 7-0 0-0"),
        ("XREAD COUNT 1 BLOCK 0 STREAMS no +", (b"no",), 0, "COUNT 1 BLOCK 0 STREAMS no +"),
        ("XREAD BLOCK 0 STREAMS s 9", (b"s",), 0, "BLOCK 0 STREAMS s 9"),
        ("XREADGROUP GROUP h c BLOCK 9 STREAMS s >", (b"s",), 9, ""),
    ],
)
def test_what_blocking_commands_wait_for(
    line: str, keys: tuple[bytes, ...], timeout_ms: int, argv: str
) -> None:
    partition = after(*GROUP, "XGROUP CREATE s h $", "XGROUP CREATECONSUMER s h c")
    name, *args = split_line(line)
    assert partition.run((name, *args)) == b"*-1\r\n"
    assert not partition.logged
    grouped = name == b"XREADGROUP"
    families = shoal.worker.commands
    handler = families.consumer_groups.xreadgroup if grouped else families.streams.xread
    wait = handler(partition.ks, *args)
    assert isinstance(wait, Wait)
    assert (wait.keys, wait.timeout_ms, wait.kind, wait.on_nokey) == (
        keys,
        timeout_ms,
        Stream,
        grouped,
    )
    assert wait.argv == (tuple(split_line(argv)) if argv else None)


def test_a_large_stream_is_freed_in_slices() -> None:
    partition = after(*(f"XADD s {n} f v" for n in range(1, 3001)))
    partition.run((b"SET", b"s", b"v"))
    garbage = partition.store.garbage
    assert [len(value) for value in garbage] == [3000]
    for _ in range(40):
        partition.store.free_some(100)
    assert not garbage


def test_what_a_group_has_read_may_exceed_what_was_added_in_the_log() -> None:
    lines = ("XADD s 14 f v", "XADD s 16 f v", "XGROUP CREATE s g 15 ENTRIESREAD 9")
    partition = after(*lines)
    partition.run(split_line("XREADGROUP GROUP g c STREAMS s >"))
    said = [argv for _, argv in partition.logged if argv[0] == b"XGROUP"]
    assert said == [(b"XGROUP", b"SETID", b"s", b"g", b"16-0", b"ENTRIESREAD", b"3")]
    replayed = after(*lines)
    replayed.store.now_ms = 0
    for argv in (*said, *_stream(partition, b"s").commands(b"copy")):
        replayed.run(argv)
    for key in (b"s", b"copy"):
        assert _stream(replayed, key).groups[b"g"].entries_read == 3


def test_consumers_that_only_the_log_knows_are_idle_from_the_first_look_on() -> None:
    partition = Partition()
    partition.store.now_ms = 0  # the log is read
    for line in ("XGROUP CREATE s g 0 MKSTREAM", "XGROUP CREATECONSUMER s g c", "XADD s 5 f v"):
        partition.run(split_line(line))
    claim = f"XCLAIM s g d 0 5-0 TIME {NOW_MS - 7} RETRYCOUNT 3 FORCE JUSTID LASTID 5-0"
    partition.run(split_line(claim))
    for later, idle in ((0, (0, 7)), (5, (5, 12))):
        partition.store.now_ms = NOW_MS + later
        reply = partition.run(split_line("XINFO CONSUMERS s g"), resp=3)
        found = [int(line[1:]) for line in reply.split(b"\r\n") if line[:1] == b":"]
        # pending, idle, inactive of both
        assert found == [0, idle[0], -1, 1, idle[1], idle[1]]
