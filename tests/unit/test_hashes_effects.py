"""What the commands of hashes log and announce.

Effects and events are those redis-server 8.2.3 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc), with these differences: no condition is logged, and
of the fields of HGETEX and HSETEX only those that it changed, once if it deleted them; HMGET
announces also that it removed a hash in which nothing but the one field was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import shoal.worker.commands.hashes
import shoal.worker.commands.keys
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.proto.slots import SLOTS, key_slot
from shoal.worker.keyspace import Store
from shoal.worker.replay import Replayer
from shoal.worker.values import rebuild
from shoal.worker.values.hash import Hash
from support.keyspace import NOW_MS, Partition, check_store, check_watchers
from support.raw import split_line

# name: (lines before, the line, what it logs, its events). NOW stands for the time of the line, 0:
# for the database.
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

PLAIN = ["HSET h a 1 b 2 c 3"]
TIMED = [*PLAIN, "HEXPIREAT h 5000000000 FIELDS 1 a"]
# Fields that have expired and are still there when the line runs, 2 ms later.
ONE = ["HSET h a 1", "HPEXPIRE h 1 FIELDS 1 a"]
TWO = [*PLAIN, "HPEXPIRE h 1 FIELDS 2 a b"]

EFFECTS: dict[str, Row] = {
    "HSET": ([], "HSET h a 1 b 2", ["0 HSET h a 1 b 2"], ["0 n:new h", "0 h:hset h"]),
    "HSET over fields": (PLAIN, "HSET h a 1 d 2", ["0 HSET h a 1 d 2"], ["0 h:hset h"]),
    "HSET of a field that expires": (TIMED, "HSET h a 1", ["0 HSET h a 1"], ["0 h:hset h"]),
    "HMSET": ([], "HMSET h a 1", ["0 HMSET h a 1"], ["0 n:new h", "0 h:hset h"]),
    "HSETNX": ([], "HSETNX h a 1", ["0 HSETNX h a 1"], ["0 n:new h", "0 h:hset h"]),
    "HSETNX of what is there": (PLAIN, "HSETNX h a 1", [], []),
    "HDEL": (PLAIN, "HDEL h a no b", ["0 HDEL h a no b"], ["0 h:hdel h"]),
    "HDEL of the last": (PLAIN, "HDEL h a b c", ["0 HDEL h a b c"], ["0 h:hdel h", "0 g:del h"]),
    "HDEL of the only one that expires": (TIMED, "HDEL h a", ["0 HDEL h a"], ["0 h:hdel h"]),
    "HDEL of nothing": (PLAIN, "HDEL h no", [], []),
    "HDEL of no hash": ([], "HDEL h a", [], []),
    "HINCRBY": (PLAIN, "HINCRBY h a 5", ["0 HINCRBY h a 5"], ["0 h:hincrby h"]),
    "HINCRBY of nothing": (
        [],
        "HINCRBY h a 5",
        ["0 HINCRBY h a 5"],
        ["0 n:new h", "0 h:hincrby h"],
    ),
    "HINCRBYFLOAT": (
        PLAIN,
        "HINCRBYFLOAT h a 0.5",
        ["0 HSETEX h KEEPTTL FIELDS 1 a 1.5"],
        ["0 h:hincrbyfloat h"],
    ),
    "HINCRBYFLOAT of nothing": (
        [],
        "HINCRBYFLOAT h a 0.5",
        ["0 HSETEX h KEEPTTL FIELDS 1 a 0.5"],
        ["0 n:new h", "0 h:hincrbyfloat h"],
    ),
    "HGET": (PLAIN, "HGET h a", [], []),
    "HGET of no hash": ([], "HGET h a", [], ["0 m:keymiss h"]),
    "HMGET of no hash": ([], "HMGET h a", [], ["0 m:keymiss h"]),
    "HGETALL": (TIMED, "HGETALL h", [], []),
    "HGETALL of no hash": ([], "HGETALL h", [], ["0 m:keymiss h"]),
    "HLEN of no hash": ([], "HLEN h", [], ["0 m:keymiss h"]),
    "HSCAN of no hash": ([], "HSCAN h 0", [], ["0 m:keymiss h"]),
    "HRANDFIELD of no hash": ([], "HRANDFIELD h", [], ["0 m:keymiss h"]),
    "HTTL of no hash": ([], "HTTL h FIELDS 1 a", [], ["0 m:keymiss h"]),
    "HTTL": (TIMED, "HTTL h FIELDS 1 a", [], []),
    "HGETDEL": (PLAIN, "HGETDEL h FIELDS 3 a no b", ["0 HDEL h a no b"], ["0 h:hdel h"]),
    "HGETDEL of the last": (
        PLAIN,
        "HGETDEL h FIELDS 4 a b c a",
        ["0 HDEL h a b c a"],
        ["0 h:hdel h", "0 g:del h"],
    ),
    "HGETDEL of nothing": (PLAIN, "HGETDEL h FIELDS 1 no", [], []),
    "HGETDEL of no hash": ([], "HGETDEL h FIELDS 1 no", [], []),
    "HEXPIRE": (
        PLAIN,
        "HEXPIRE h 100 FIELDS 2 a b",
        ["0 HPEXPIREAT h NOW+100000 FIELDS 2 a b"],
        ["0 h:hexpire h"],
    ),
    "HPEXPIRE": (
        PLAIN,
        "HPEXPIRE h 100 FIELDS 1 a",
        ["0 HPEXPIREAT h NOW+100 FIELDS 1 a"],
        ["0 h:hexpire h"],
    ),
    "HEXPIREAT": (
        PLAIN,
        "HEXPIREAT h 5000000000 FIELDS 1 a",
        ["0 HPEXPIREAT h 5000000000000 FIELDS 1 a"],
        ["0 h:hexpire h"],
    ),
    "HPEXPIREAT": (
        PLAIN,
        "hpexpireat h 5000000000000 fields 2 a a",
        ["0 HPEXPIREAT h 5000000000000 FIELDS 2 a a"],
        ["0 h:hexpire h"],
    ),
    "HEXPIRE of some": (
        TIMED,
        "HEXPIRE h 100 NX FIELDS 4 a b no c",
        ["0 HPEXPIREAT h NOW+100000 FIELDS 2 b c"],
        ["0 h:hexpire h"],
    ),
    "HEXPIRE whose condition fails": (TIMED, "HEXPIRE h 100 NX FIELDS 1 a", [], []),
    "HEXPIRE of nothing": (PLAIN, "HEXPIRE h 100 FIELDS 1 no", [], []),
    "HEXPIRE of no hash": ([], "HEXPIRE h 100 FIELDS 1 no", [], []),
    "HEXPIRE now": (
        PLAIN,
        "HEXPIRE h 0 FIELDS 3 a no b",
        ["0 HDEL h a", "0 HDEL h b"],
        ["0 h:hdel h"],
    ),
    "HEXPIREAT in the past, all": (
        TIMED,
        "HEXPIREAT h 1 LT FIELDS 4 a b c a",
        ["0 HDEL h a", "0 HDEL h b", "0 HDEL h c"],
        ["0 h:hdel h", "0 g:del h"],
    ),
    "HPERSIST": (
        TIMED,
        "HPERSIST h FIELDS 2 a b",
        ["0 HPERSIST h FIELDS 2 a b"],
        ["0 h:hpersist h"],
    ),
    "HPERSIST of a lasting field": (TIMED, "HPERSIST h FIELDS 1 b", [], []),
    "HPERSIST of no hash": ([], "HPERSIST h FIELDS 1 b", [], []),
    "HGETEX": (TIMED, "HGETEX h FIELDS 2 a b", [], []),
    "HGETEX EX": (
        PLAIN,
        "HGETEX h EX 100 FIELDS 2 a b",
        ["0 HPEXPIREAT h NOW+100000 FIELDS 2 a b"],
        ["0 h:hexpire h"],
    ),
    "HGETEX PX": (
        PLAIN,
        "HGETEX h px 100 FIELDS 1 a",
        ["0 HPEXPIREAT h NOW+100 FIELDS 1 a"],
        ["0 h:hexpire h"],
    ),
    "HGETEX EXAT": (
        PLAIN,
        "HGETEX h EXAT 5000000000 FIELDS 1 a",
        ["0 HPEXPIREAT h 5000000000000 FIELDS 1 a"],
        ["0 h:hexpire h"],
    ),
    "HGETEX PXAT": (
        PLAIN,
        "HGETEX h PXAT 5000000000000 FIELDS 3 a no a",
        ["0 HPEXPIREAT h 5000000000000 FIELDS 2 a a"],
        ["0 h:hexpire h"],
    ),
    "HGETEX in the past": (
        PLAIN,
        "HGETEX h EX 0 FIELDS 3 a b a",
        ["0 HDEL h a", "0 HDEL h b"],
        ["0 h:hdel h"],
    ),
    "HGETEX in the past, all": (
        PLAIN,
        "HGETEX h EXAT 1 FIELDS 3 a b c",
        ["0 HDEL h a", "0 HDEL h b", "0 HDEL h c"],
        ["0 h:hdel h", "0 g:del h"],
    ),
    "HGETEX PERSIST": (
        TIMED,
        "HGETEX h PERSIST FIELDS 1 a",
        ["0 HPERSIST h FIELDS 1 a"],
        ["0 h:hpersist h"],
    ),
    "HGETEX PERSIST of a lasting field": (TIMED, "HGETEX h PERSIST FIELDS 1 b", [], []),
    "HGETEX EX of nothing": (PLAIN, "HGETEX h EX 100 FIELDS 1 no", [], []),
    "HGETEX of no hash": ([], "HGETEX h EX 100 FIELDS 1 no", [], []),
    "HSETEX": (
        [],
        "HSETEX h FIELDS 2 a 1 b 2",
        ["0 HSETEX h FIELDS 2 a 1 b 2"],
        ["0 n:new h", "0 h:hset h"],
    ),
    "HSETEX EX": (
        PLAIN,
        "HSETEX h EX 100 FIELDS 2 a 1 d 2",
        ["0 HSETEX h PXAT NOW+100000 FIELDS 2 a 1 d 2"],
        ["0 h:hset h", "0 h:hexpire h"],
    ),
    "HSETEX PX": (
        [],
        "HSETEX h PX 100 FIELDS 1 a 1",
        ["0 HSETEX h PXAT NOW+100 FIELDS 1 a 1"],
        ["0 n:new h", "0 h:hset h", "0 h:hexpire h"],
    ),
    "HSETEX EXAT": (
        [],
        "HSETEX h EXAT 5000000000 FIELDS 1 a 1",
        ["0 HSETEX h PXAT 5000000000000 FIELDS 1 a 1"],
        ["0 n:new h", "0 h:hset h", "0 h:hexpire h"],
    ),
    "HSETEX KEEPTTL": (
        TIMED,
        "HSETEX h KEEPTTL FIELDS 2 a 1 d 2",
        ["0 HSETEX h KEEPTTL FIELDS 2 a 1 d 2"],
        ["0 h:hset h"],
    ),
    "HSETEX FNX": (
        PLAIN,
        "HSETEX h FNX EX 100 FIELDS 1 d 1",
        ["0 HSETEX h PXAT NOW+100000 FIELDS 1 d 1"],
        ["0 h:hset h", "0 h:hexpire h"],
    ),
    "HSETEX FXX": (
        PLAIN,
        "HSETEX h FXX PXAT 5000000000000 FIELDS 1 a 1",
        ["0 HSETEX h PXAT 5000000000000 FIELDS 1 a 1"],
        ["0 h:hset h", "0 h:hexpire h"],
    ),
    "HSETEX whose condition fails": (PLAIN, "HSETEX h FNX FIELDS 2 d 1 a 1", [], []),
    "HSETEX FXX of no hash": ([], "HSETEX h FXX FIELDS 1 a 1", [], []),
    "HSETEX in the past": (
        PLAIN,
        "HSETEX h PX 0 FIELDS 2 a 1 d 2",
        ["0 HDEL h a", "0 HDEL h d"],
        ["0 h:hset h", "0 h:hdel h"],
    ),
    "HSETEX in the past, all": (
        [],
        "HSETEX h EXAT 1 FIELDS 2 a 1 d 2",
        ["0 HDEL h a", "0 HDEL h d"],
        ["0 n:new h", "0 h:hset h", "0 h:hdel h", "0 g:del h"],
    ),
    "COPY": (TIMED, "COPY h g", ["0 COPY h g"], ["0 n:new g", "0 g:copy_to g"]),
    "RENAME": (
        TIMED,
        "RENAME h g",
        ["0 RENAME h g"],
        ["0 n:new g", "0 g:rename_from h", "0 g:rename_to g"],
    ),
    "MOVE": (TIMED, "MOVE h 1", ["0 MOVE h 1"], ["1 n:new h", "0 g:move_from h", "1 g:move_to h"]),
    "DEL": (TIMED, "DEL h", ["0 DEL h"], ["0 g:del h"]),
    "SET over it": (
        TIMED,
        "SET h v",
        ["0 SET h v"],
        ["0 o:overwritten h", "0 c:type_changed h", "0 $:set h"],
    ),
}

GONE: dict[str, Row] = {
    f"{line} after {lines[-1]}": (lines, line, logged, events)
    for lines, line, logged, events in (
        (TWO, "HGET h a", ["0 HDEL h a"], ["0 h:hexpired h"]),
        (TWO, "HMGET h a c b", ["0 HDEL h a", "0 HDEL h b"], ["0 h:hexpired h"]),
        (TWO, "HEXISTS h a", ["0 HDEL h a"], ["0 h:hexpired h"]),
        (TWO, "HSTRLEN h a", ["0 HDEL h a"], ["0 h:hexpired h"]),
        (TWO, "HGETALL h", [], []),
        (TWO, "HLEN h", [], []),
        (TWO, "HSCAN h 0", [], []),
        (TWO, "HTTL h FIELDS 1 a", [], []),
        (TWO, "HRANDFIELD h", ["0 HDEL h b", "0 HDEL h a"], ["0 h:hexpired h"]),
        (TWO, "HSET h a 5", ["0 HSET h a 5"], ["0 h:hset h"]),
        (TWO, "HSETNX h a 5", ["0 HDEL h a", "0 HSETNX h a 5"], ["0 h:hexpired h", "0 h:hset h"]),
        (
            TWO,
            "HINCRBY h a 5",
            ["0 HDEL h a", "0 HINCRBY h a 5"],
            ["0 h:hexpired h", "0 h:hincrby h"],
        ),
        (
            TWO,
            "HINCRBYFLOAT h a 5",
            ["0 HDEL h a", "0 HSETEX h KEEPTTL FIELDS 1 a 5"],
            ["0 h:hexpired h", "0 h:hincrbyfloat h"],
        ),
        (TWO, "HDEL h a", ["0 HDEL h a"], ["0 h:hdel h"]),
        (
            TWO,
            "HGETDEL h FIELDS 2 a c",
            ["0 HDEL h a", "0 HDEL h a c"],
            ["0 h:hexpired h", "0 h:hdel h"],
        ),
        (
            TWO,
            "HGETEX h PX 100 FIELDS 3 c a c",
            ["0 HDEL h a", "0 HPEXPIREAT h NOW+100 FIELDS 2 c c"],
            ["0 h:hexpired h", "0 h:hexpire h"],
        ),
        (TWO, "HGETEX h PERSIST FIELDS 1 a", ["0 HDEL h a"], ["0 h:hexpired h"]),
        (TWO, "HPERSIST h FIELDS 1 a", [], []),
        (
            TWO,
            "HPEXPIRE h 100 FIELDS 1 a",
            ["0 HPEXPIREAT h NOW+100 FIELDS 1 a"],
            ["0 h:hexpire h"],
        ),
        (TWO, "HEXPIRE h 0 FIELDS 1 a", ["0 HDEL h a"], ["0 h:hdel h"]),
        (
            TWO,
            "HSETEX h FNX FIELDS 1 a 5",
            ["0 HDEL h a", "0 HSETEX h FIELDS 1 a 5"],
            ["0 h:hexpired h", "0 h:hset h"],
        ),
        (TWO, "HSETEX h FXX FIELDS 2 a 5 b 6", ["0 HDEL h a"], ["0 h:hexpired h"]),
        (TWO, "HSETEX h FIELDS 1 a 5", ["0 HSETEX h FIELDS 1 a 5"], ["0 h:hset h"]),
        (TWO, "COPY h g", ["0 COPY h g"], ["0 n:new g", "0 g:copy_to g"]),
        (ONE, "HGET h a", ["0 HDEL h a"], ["0 h:hexpired h", "0 g:del h"]),
        (ONE, "HMGET h a", ["0 HDEL h a"], ["0 h:hexpired h", "0 g:del h"]),
        (ONE, "HEXISTS h a", ["0 HDEL h a"], ["0 h:hexpired h", "0 g:del h"]),
        (ONE, "HGETALL h", [], []),
        (ONE, "HRANDFIELD h 5", ["0 HDEL h a"], ["0 h:hexpired h", "0 g:del h"]),
        (ONE, "HSET h a 5", ["0 HSET h a 5"], ["0 h:hset h"]),
        (
            ONE,
            "HSETNX h a 5",
            ["0 HDEL h a", "0 HSETNX h a 5"],
            ["0 h:hexpired h", "0 g:del h", "0 n:new h", "0 h:hset h"],
        ),
        (
            ONE,
            "HINCRBY h a 5",
            ["0 HDEL h a", "0 HINCRBY h a 5"],
            ["0 h:hexpired h", "0 g:del h", "0 n:new h", "0 h:hincrby h"],
        ),
        (ONE, "HDEL h a", ["0 HDEL h a"], ["0 h:hdel h", "0 g:del h"]),
        (ONE, "HGETDEL h FIELDS 1 a", ["0 HDEL h a"], ["0 h:hexpired h", "0 g:del h"]),
        (ONE, "HGETEX h PX 100 FIELDS 1 a", ["0 HDEL h a"], ["0 h:hexpired h", "0 g:del h"]),
        (
            ONE,
            "HPEXPIRE h 100 FIELDS 1 a",
            ["0 HPEXPIREAT h NOW+100 FIELDS 1 a"],
            ["0 h:hexpire h"],
        ),
        (ONE, "HEXPIRE h 0 FIELDS 1 a", ["0 HDEL h a"], ["0 h:hdel h", "0 g:del h"]),
        (
            ONE,
            "HSETEX h FNX FIELDS 1 a 5",
            ["0 HDEL h a", "0 HSETEX h FIELDS 1 a 5"],
            ["0 h:hexpired h", "0 h:hset h"],
        ),
        (ONE, "HSETEX h FXX FIELDS 1 a 5", ["0 HDEL h a"], ["0 h:hexpired h", "0 g:del h"]),
        (ONE, "EXISTS h", [], []),
    )
}

ROWS = EFFECTS | GONE


def after(*lines: str, pass_ms: int = 2) -> tuple[Partition, list[tuple[int, tuple[bytes, ...]]]]:
    """Return a partition in which these lines have run some time ago, and what they logged."""
    partition = Partition(databases=4)
    logged = []
    for line in lines:
        reply = partition.run(split_line(line))
        assert reply[:1] != b"-", (line, reply)
        logged += partition.logged
    partition.store.now_ms += pass_ms
    return partition, logged


def contents(store: Store) -> dict[tuple[int, bytes], list[tuple[bytes, ...]]]:
    """Return the commands that make each key again, what has expired included."""
    return {
        (db.index, key): list(rebuild(key, value)) for db in store.databases() for key, value in db
    }


def _with_time(word: bytes) -> bytes:
    now, plus, ms = word.partition(b"+")
    return b"%d" % (NOW_MS + 2 + int(ms)) if now == b"NOW" and plus else word


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition, _ = after(*before)
    partition.run(split_line(line))
    expected = [[_with_time(word) for word in split_line(effect)] for effect in logged]
    assert partition.logged == [(int(db), tuple(argv)) for db, *argv in expected]
    assert partition.events == events
    check_store(partition.store)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_log_leads_to_the_same_keys(row: Row) -> None:
    before, line, *_ = row
    partition, logged = after(*before)
    partition.run(split_line(line))
    replayed = replay([*logged, *partition.logged])
    assert contents(replayed) == contents(partition.store)
    check_store(replayed)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_watchers_hear_of_every_key_that_changed(row: Row) -> None:
    before, line, *_ = row
    # HEXPIRE of nothing changes the encoding, as in Redis, and nobody hears of that.
    check_watchers(before, line, encodings=False, pass_ms=2, databases=4)


def replay(logged: Sequence[tuple[int, tuple[bytes, ...]]]) -> Store:
    """Return the store that a log leads to."""
    store = Store(range(SLOTS), 4, Random(1))
    replayer = Replayer(store)
    for db, argv in logged:
        replayer.apply((b"SELECT", b"%d" % db))
        replayer.apply(argv)
    return store


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_are_logged_as_they_ran(seed: int) -> None:
    random = Random(seed)
    slot = key_slot(b"{t}")
    partition = Partition(range(slot, slot + 1))
    store = partition.store
    logged: list[tuple[int, tuple[bytes, ...]]] = []
    for _ in range(400):
        key = random.choice([b"{t}a", b"{t}b"])
        fields = [b"%d" % random.randrange(9) for _ in range(random.choice([1, 1, 2, 4]))]
        pairs = [side for field in fields for side in (field, b"%d" % random.randrange(99))]
        counted = [b"FIELDS", b"%d" % len(fields), *fields]
        time = b"%d" % random.choice([0, 1, 2, 5, 1000])
        condition = random.choice([[], [b"NX"], [b"XX"], [b"GT"], [b"LT"]])
        how = random.choice([[], [b"FNX"], [b"FXX"], [b"PX", time], [b"KEEPTTL"]])
        partition.run(
            random.choice(
                [
                    (b"HSET", key, *pairs),
                    (b"HSETNX", key, fields[0], b"7"),
                    (b"HDEL", key, *fields),
                    (b"HGET", key, fields[0]),
                    (b"HMGET", key, *fields),
                    (b"HGETALL", key),
                    (b"HRANDFIELD", key),
                    (b"HINCRBY", key, fields[0], b"3"),
                    (b"HINCRBYFLOAT", key, fields[0], b"0.5"),
                    (b"HPEXPIRE", key, time, *condition, *counted),
                    (b"HPEXPIRE", key, time, *condition, *counted),
                    (b"HPERSIST", key, *counted),
                    (b"HGETDEL", key, *counted),
                    (b"HGETEX", key, b"PX", time, *counted),
                    (b"HGETEX", key, b"PERSIST", *counted),
                    (b"HSETEX", key, *how, b"FIELDS", b"%d" % len(fields), *pairs),
                    (b"PEXPIRE", key, b"30"),
                    (b"COPY", b"{t}a", b"{t}b", b"REPLACE"),
                    (b"RENAME", b"{t}b", b"{t}a"),
                    (b"HSET", key, *pairs),
                    (b"HSET", key, *pairs),
                ]
            )
        )
        logged += partition.logged
        check_store(store)
        store.now_ms += random.choice([0, 0, 1])
    assert store.expired_subkeys
    assert contents(replay(logged)) == contents(store)


def test_while_expiry_is_paused_expired_fields_are_hidden_and_stay() -> None:
    partition, _ = after(*TWO)
    partition.store.expire_paused = True
    said = {
        line: partition.run(split_line(line))
        for line in (
            *("HGET h a", "HMGET h a c", "HEXISTS h a", "HSTRLEN h a", "HGETALL h", "HKEYS h"),
            *("HVALS h", "HSCAN h 0 NOVALUES", "HRANDFIELD h", "HRANDFIELD h 5", "HLEN h"),
            "HTTL h FIELDS 1 a",
        )
    }
    assert said == {
        "HGET h a": b"$-1\r\n",
        "HMGET h a c": b"*2\r\n$-1\r\n$1\r\n3\r\n",
        "HEXISTS h a": b":0\r\n",
        "HSTRLEN h a": b":0\r\n",
        "HGETALL h": b"*2\r\n$1\r\nc\r\n$1\r\n3\r\n",
        "HKEYS h": b"*1\r\n$1\r\nc\r\n",
        "HVALS h": b"*1\r\n$1\r\n3\r\n",
        "HSCAN h 0 NOVALUES": b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nc\r\n",
        "HRANDFIELD h": b"$1\r\nc\r\n",
        "HRANDFIELD h 5": b"*1\r\n$1\r\nc\r\n",
        "HLEN h": b":3\r\n",
        "HTTL h FIELDS 1 a": b"*1\r\n:-2\r\n",
    }
    assert partition.store.expired_subkeys == 0
    check_store(partition.store)


def test_a_wrong_command_changes_nothing() -> None:
    partition, _ = after(*TIMED)
    then = contents(partition.store)
    for line in (
        *("HSET h a 5 b", "HINCRBY h a x", "HEXPIRE h 9 FIELDS 2 a", "HGETEX h EX 9 FIELDS 2 a"),
        *("HSETEX h EX 9 FIELDS 2 a 5", "HSETEX h FNX FIELDS 2 d 5 a 5", "HINCRBYFLOAT h a x"),
    ):
        partition.run(split_line(line))
        assert partition.logged == []
        assert partition.events == []
    assert contents(partition.store) == then


def test_the_random_reply_is_bounded() -> None:
    partition, _ = after("HSET h a 1")
    for count in (b"-4194305", b"-4611686018427387903"):
        reply = partition.run([b"HRANDFIELD", b"h", count])
        assert reply.startswith(b"-ERR value is out of range"), reply


def test_a_large_hash_that_is_deleted_is_freed_in_slices() -> None:
    partition = Partition()
    for i in range(1000):
        partition.run([b"HSET", b"h", b"%d" % i, b"v"])
    partition.run([b"HPEXPIRE", b"h", b"9", b"FIELDS", b"600", *(b"%d" % i for i in range(600))])
    partition.run([b"DEL", b"h"])
    store = partition.store
    (value,) = store.garbage
    assert isinstance(value, Hash)
    slices = 0
    while store.garbage:
        store.free_some(100)
        slices += 1
    assert slices >= 10
    check_store(store)
