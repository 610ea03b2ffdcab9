"""What the commands of HyperLogLog log and announce.

Effects and events are those redis-server 8.2 writes to its AOF (with aof-use-rdb-preamble no) and
publishes (with notify-keyspace-events KEAmnoc), with two differences: what PFADD added to a damaged
string before its error is logged, as a SET; and so is that a string became dense, which in Redis
may go otherwise when the log is read under another hll-sparse-max-bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import shoal.worker.commands.keys
import shoal.worker.commands.lists
import shoal.worker.commands.strings  # noqa: F401, declares the commands
from shoal.proto.errors import ReplyError
from shoal.worker.commands.hyperloglog import pfadd
from shoal.worker.replay import Replayer
from shoal.worker.values.hyperloglog import HyperLogLog, place
from shoal.worker.values.limits import LIMITS
from support.keyspace import Partition, check_log, check_store, check_watchers
from support.raw import split_line

# name: (lines before, the line, whether it is logged, its events)
Row = tuple[Sequence[str], str, bool, Sequence[str]]

# Registers 1 to 64 alone, none of which "a" to "d" have.
DAMAGED = r'SET k "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x3f"'
ABC = ["PFADD k a b c", "EXPIRE k 100"]
COUNTED = [*ABC, "PFCOUNT k"]

EFFECTS: dict[str, Row] = {
    "PFADD makes": ([], "PFADD k a", True, ["n:new k", "$:pfadd k"]),
    "PFADD makes an empty one": ([], "PFADD k", True, ["n:new k", "$:pfadd k"]),
    "PFADD": (ABC, "pfadd k d", True, ["$:pfadd k"]),
    "PFADD of several": (ABC, "PFADD k a d e a", True, ["$:pfadd k"]),
    "PFADD of what is there": (COUNTED, "PFADD k a b", False, []),
    "PFADD of nothing": (ABC, "PFADD k", False, []),
    "PFADD to a list": (["RPUSH k v"], "PFADD k a", False, []),
    "PFADD to another string": (["SET k v"], "PFADD k a", False, []),
    "PFADD to a damaged one": ([DAMAGED], "PFADD k a", False, []),
    "PFCOUNT": (ABC, "PFCOUNT k", True, []),
    "PFCOUNT again": (COUNTED, "PFCOUNT k", False, []),
    "PFCOUNT of an empty one": (["PFADD k"], "PFCOUNT k", True, []),
    "PFCOUNT of nothing": ([], "PFCOUNT k", False, ["m:keymiss k"]),
    "PFCOUNT of several": (ABC, "PFCOUNT k a", False, ["m:keymiss a"]),
    "PFCOUNT of a damaged one": ([DAMAGED], "PFCOUNT k", False, []),
    "PFMERGE makes": (
        ["PFADD a 1"],
        "PFMERGE k a b",
        True,
        ["m:keymiss k", "m:keymiss b", "n:new k", "$:pfadd k"],
    ),
    "PFMERGE": ([*ABC, "PFADD a 1"], "pfmerge k a", True, ["$:pfadd k"]),
    "PFMERGE of nothing new": (COUNTED, "PFMERGE k k", True, ["$:pfadd k"]),
    "PFMERGE of nothing": ([], "PFMERGE k", True, ["m:keymiss k", "n:new k", "$:pfadd k"]),
    "PFMERGE of another string": (["SET a v"], "PFMERGE k a", False, ["m:keymiss k"]),
    "PFMERGE of a damaged one": ([DAMAGED], "PFMERGE a k", False, ["m:keymiss a"]),
    "PFDEBUG GETREG": (ABC, "PFDEBUG GETREG k", True, []),
    "PFDEBUG GETREG of a dense one": ([*ABC, "PFDEBUG TODENSE k"], "PFDEBUG GETREG k", False, []),
    "PFDEBUG TODENSE": (ABC, "PFDEBUG TODENSE k", True, []),
    "PFDEBUG TODENSE again": ([*ABC, "PFDEBUG TODENSE k"], "PFDEBUG TODENSE k", False, []),
    "PFDEBUG DECODE": (ABC, "PFDEBUG DECODE k", False, []),
    "PFDEBUG ENCODING": (ABC, "PFDEBUG ENCODING k", False, []),
    "PFDEBUG of nothing": ([], "PFDEBUG ENCODING k", False, []),
    "PFDEBUG SIMD": ([], "PFDEBUG SIMD ON", False, []),
    "PFSELFTEST": ([], "PFSELFTEST", False, []),
}


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_what_is_logged_and_announced(row: Row) -> None:
    before, line, logged, events = row
    partition = Partition.after(*before)
    partition.run(split_line(line))
    assert partition.logged == ([(0, tuple(split_line(line)))] if logged else [])
    assert partition.events == [f"0 {event}" for event in events]
    check_store(partition.store)


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_the_log_leads_to_the_same_strings(row: Row) -> None:
    before, line, *_ = row
    check_log(before, line)


@pytest.mark.parametrize("row", EFFECTS.values(), ids=EFFECTS.keys())
def test_watchers_hear_of_every_key_that_changed(row: Row) -> None:
    before, line, *_ = row
    check_watchers(before, line)


@pytest.mark.parametrize(
    "lines", [["PFADD k b c d"], ["PFADD a b c d", "PFMERGE k a"], ["PFDEBUG TODENSE k"]]
)
@pytest.mark.parametrize("then", [0, 100_000])
def test_the_log_says_when_a_string_became_dense(
    lines: list[str], then: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIMITS, "hll_sparse_max_bytes", 29)
    partition = Partition()
    logged = []
    for line in ("PFADD k a", *lines, "SETRANGE k 16 x", "APPEND a x"):
        partition.run(split_line(line))
        logged += partition.logged
    monkeypatch.setattr(LIMITS, "hll_sparse_max_bytes", then)
    replayed = Partition()
    replayer = Replayer(replayed.store)
    for _, argv in logged:
        replayer.apply(argv)
    assert replayed.contents() == partition.contents()
    assert len(replayed.run([b"GET", b"k"])) > 12_000


def test_a_changed_string_is_nobody_elses() -> None:
    partition = Partition.after("PFADD k a b c", "COPY k a")
    then = partition.run([b"GET", b"a"])
    partition.run([b"PFADD", b"k", b"d"])
    assert partition.run([b"GET", b"a"]) == then != partition.run([b"GET", b"k"])


def test_what_is_stored_follows_the_last_command() -> None:
    # The buffer with an index is not left to commands that change bytes as they like.
    partition = Partition.after("PFADD k a b c")
    assert partition.ks.lookup_read(b"k").__class__ is HyperLogLog
    for line in ("SETRANGE k 8 x", "APPEND k x"):
        partition.run(split_line(line))
        assert partition.ks.lookup_read(b"k").__class__ is bytearray, line
        partition.run(split_line("PFADD k d"))
        assert partition.ks.lookup_read(b"k").__class__ is HyperLogLog, line


def test_what_was_added_before_an_error_is_logged() -> None:
    inside = next(e for e in (b"%d" % n for n in range(10**6)) if place(e)[0] < 64)
    first, second, before = (Partition.after(DAMAGED, "EXPIRE k 100") for _ in range(3))
    store = first.store
    store.dirty, store.effects = 0, None
    with pytest.raises(ReplyError, match="INVALIDOBJ"):
        pfadd(first.ks, b"k", inside, b"a")
    assert store.dirty
    assert store.effects is not None
    for effect in store.effects:
        second.run(effect)
    assert first.contents() == second.contents() != before.contents()
