"""What RESTORE logs and announces, as redis-server 8.2 does; values of every class through DUMP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from shoal.proto.rdb_format import Kind, Reader, Writer, read_value, seal
from shoal.worker.commands import load_all
from shoal.worker.values import rdb
from support.keyspace import NOW_MS, Partition, check_store
from support.raw import bulk_text, split_line

load_all()

PAYLOAD = seal(Kind.STRING, b"\x05hello")
LATER = NOW_MS + 9000

# name: (lines before, the line, what it logs, its events). P stands for a dump.
Row = tuple[Sequence[str], str, Sequence[str], Sequence[str]]

NEW = ["0 n:new k", "0 g:restore k"]

EFFECTS: dict[str, Row] = {
    "RESTORE": ([], "RESTORE k 0 P", ["RESTORE k 0 P"], NEW),
    "RESTORE with options": (
        [],
        "RESTORE k 0 P FREQ 5 replace",
        ["RESTORE k 0 P FREQ 5 replace"],
        NEW,
    ),
    "RESTORE to a key that is there": (["SET k v"], "RESTORE k 0 P", [], []),
    "RESTORE REPLACE": (
        ["SET k v EX 9"],
        "RESTORE k 0 P REPLACE",
        ["RESTORE k 0 P REPLACE"],
        [*NEW, "0 o:overwritten k"],
    ),
    "RESTORE REPLACE of another type": (
        ["RPUSH k v"],
        "RESTORE k 0 P REPLACE",
        ["RESTORE k 0 P REPLACE"],
        [*NEW, "0 o:overwritten k", "0 c:type_changed k"],
    ),
    "RESTORE with a time": (
        [],
        "RESTORE k 9000 P IDLETIME 7",
        [f"RESTORE k {LATER} P IDLETIME 7 ABSTTL"],
        NEW,
    ),
    "RESTORE ABSTTL": (
        [],
        f"RESTORE k {LATER} P absttl",
        [f"RESTORE k {LATER} P absttl"],
        NEW,
    ),
    "RESTORE ABSTTL without a time": ([], "RESTORE k 0 P ABSTTL", ["RESTORE k 0 P ABSTTL"], NEW),
    "RESTORE in the past": ([], "RESTORE k 1000 P ABSTTL", [], []),
    "RESTORE REPLACE in the past": (
        ["SET k v"],
        "RESTORE k 1000 P ABSTTL REPLACE",
        ["DEL k"],
        ["0 g:del k"],
    ),
    "RESTORE after the end of time": (["SET k v"], f"RESTORE k {(1 << 63) - 1} P", [], []),
    "RESTORE REPLACE after the end of time": (
        ["SET k v"],
        f"RESTORE k {(1 << 63) - 1} P REPLACE",
        ["DEL k"],
        ["0 g:del k"],
    ),
    "RESTORE of nothing": (["SET k v"], "RESTORE k 0 nothing REPLACE", [], []),
    "DUMP": (["SET k v"], "DUMP k", [], []),
    "DUMP of a missing key": ([], "DUMP k", [], ["0 m:keymiss k"]),
}


def words(line: str) -> list[bytes]:
    return [PAYLOAD if word == b"P" else word for word in split_line(line)]


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = Partition.after(*before)
    partition.run(words(line))
    assert partition.logged == [(0, tuple(words(effect))) for effect in logged]
    assert partition.events == events
    check_store(partition.store)


def test_the_expire_time() -> None:
    partition = Partition.after()
    partition.run(words("RESTORE k 9000 P"))
    assert partition.run([b"PEXPIRETIME", b"k"]) == b":%d\r\n" % LATER
    partition.run(words(f"RESTORE k {LATER + 1} P REPLACE ABSTTL"))
    assert partition.run([b"PEXPIRETIME", b"k"]) == b":%d\r\n" % (LATER + 1)
    partition.run(words("RESTORE k 0 P REPLACE"))
    assert partition.run([b"PEXPIRETIME", b"k"]) == b":-1\r\n"


MANY = " ".join(f"m{n} {n}" for n in range(700))
LONG = "x" * 100

VALUES: dict[str, Sequence[str]] = {
    "string": ["SET k v"],
    "string with an expire time": ["SET k v EX 9"],
    "string changed in place": ["SET k v", "APPEND k w"],
    "list": ["RPUSH k a 1 -5"],
    "list of several nodes": [f"RPUSH k {MANY}", f"LPUSH k {MANY}", f"RPUSH k {'y' * 9000}"],
    "intset": ["SADD k 1 5 -70000"],
    "set": ["SADD k b a 7"],
    "large set": [f"SADD k {MANY}"],
    "set of a long member": [f"SADD k {LONG}"],
    "hash": ["HSET k f v g 1"],
    "large hash": [f"HSET k {MANY}"],
    "hash of a long value": [f"HSET k f {LONG}"],
    "hash with times": [
        "HSET k f v g 1 h 2 i 3",
        f"HPEXPIREAT k {LATER} FIELDS 2 g i",
        f"HPEXPIREAT k {LATER} FIELDS 1 f",
        f"HPEXPIREAT k {LATER - 1} FIELDS 1 h",
    ],
    "large hash with times": [
        f"HSET k {MANY}",
        f"HPEXPIREAT k {LATER} FIELDS 2 m5 m9",
        f"HPEXPIREAT k {LATER + 5} FIELDS 1 m699",
    ],
    "sorted set": ["ZADD k 1 a -2.5 b inf c"],
    "large sorted set": [f"ZADD k {' '.join(MANY.split()[::-1])}"],
    "stream": ["XADD k 5-1 a 1 b 2", "XADD k 5-2 a 3 b 4", "XADD k 9-0 c 5"],
    "empty stream": ["XADD k 5-1 a 1", "XDEL k 5-1"],
    "stream of several nodes": [f"XADD k {n}-0 a {n} b {LONG}" for n in range(1, 250)],
    "stream with groups": [
        *("XADD k 5-1 a 1", "XADD k 5-2 a 2", "XADD k 5-3 a 3", "XDEL k 5-2"),
        *("XGROUP CREATE k g 0", "XGROUP CREATE k empty $ ENTRIESREAD 2"),
        *("XREADGROUP GROUP g alice COUNT 1 STREAMS k >", "XREADGROUP GROUP g bob STREAMS k >"),
        "XGROUP CREATECONSUMER k g carol",
    ],
}


def all_words(value: Any) -> list[bytes]:
    """Return all that the commands say that rebuild a value, in no order."""
    return sorted(word for argv in value.commands(b"k") for word in argv)


@pytest.mark.parametrize("lines", VALUES.values(), ids=VALUES.keys())
def test_every_value_comes_back(lines: Sequence[str]) -> None:
    partition = Partition.after(*lines)
    value: Any = partition.ks.find(b"k")
    dump = bulk_text(partition.run([b"DUMP", b"k"]))
    assert partition.run([b"RESTORE", b"copy", b"0", dump]) == b"+OK\r\n"
    copy: Any = partition.ks.find(b"copy")
    if hasattr(value, "check"):
        value.check()
        copy.check()
        assert copy.encoding == value.encoding
        assert all_words(copy) == all_words(value)
    assert bulk_text(partition.run([b"DUMP", b"copy"])) == dump
    check_store(partition.store)


def test_a_deleted_entry_is_not_written() -> None:
    partition = Partition.after("XADD k 5-1 a 1", "XADD k 5-2 a 2", "XADD k 5-3 a 3", "XDEL k 5-2")
    writer = Writer()
    kind = rdb.save(partition.ks.find(b"k"), writer)
    found: Any = read_value(kind, Reader(writer.take()))
    assert [entry.deleted for node in found.nodes for entry in node.entries] == [False, False]
    assert (found.length, found.entries_added) == (2, 3)
