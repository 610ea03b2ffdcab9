"""SCAN's guarantee: what is there from the first call to the last is returned, whatever else
happens.

Calls go from partition to partition as the router takes them.
"""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shoal.proto.errors import ReplyError
from shoal.proto.glob import compile_glob
from shoal.proto.slots import SLOTS, key_slot, owner_of, slot_range
from shoal.worker.commands import keys as commands
from shoal.worker.commands.keys import scan_tables
from shoal.worker.commands.parse import cursor as parse_cursor
from shoal.worker.keyspace import Database, Store
from shoal.worker.registry import COMMANDS
from support.keyspace import NOW_MS
from support.raw import bulk_text, split_reply


class Server:
    """The partitions of a server of so many workers, without anything around them."""

    def __init__(self, workers: int) -> None:
        self.stores = [Store(slot_range(i, workers), 16, Random(i)) for i in range(workers)]
        for store in self.stores:
            store.now_ms = NOW_MS

    def store(self, key: bytes) -> Store:
        return self.stores[owner_of(key_slot(key), len(self.stores))]

    def set(self, key: bytes, expire_ms: int = 0) -> None:
        self.store(key).view(0).set(key, b"v", expire_ms)

    def delete(self, key: bytes) -> None:
        self.store(key).view(0).delete(key)

    def scan(self, cursor: int, *options: bytes) -> tuple[int, list[bytes]]:
        argv = [b"SCAN", b"%d" % cursor, *options]
        scan = COMMANDS[b"scan"]
        assert scan.route is not None
        store = self.stores[owner_of(scan.route(argv), len(self.stores))]
        _, (after, found) = split_reply(scan.handler(store.view(0), *argv[1:]).encode(2))
        return int(bulk_text(after)), [bulk_text(item) for item in split_reply(found)[1]]


# Keys of their own slots, keys of two shared ones, and keys that end up where partitions meet.
names = st.one_of(
    st.integers(0, 300).map(lambda i: b"%d" % i),
    st.integers(0, 60).map(lambda i: b"{t}%d" % i),
    st.integers(0, 60).map(lambda i: b"{\x00}%d" % i),
)
changes = st.tuples(st.booleans(), names)


@settings(deadline=None)
@given(
    stays=st.sets(names),
    comes_and_goes=st.sets(names),
    between=st.lists(st.lists(changes, max_size=12), max_size=30),
    workers=st.integers(1, 5),
    count=st.integers(1, 20),
    whole_slot=st.sampled_from([1, 4, 512]),
    passes=st.sampled_from([1, 3, 64]),
)
@example(
    stays={b"{t}%d" % i for i in range(61)},
    comes_and_goes={b"{t}%d" % i for i in range(61)},
    between=[[(False, b"{t}1")], [(True, b"{t}1")]],
    workers=3,
    count=1,
    whole_slot=4,
    passes=64,
)
def test_what_stays_is_found(
    stays: set[bytes],
    comes_and_goes: set[bytes],
    between: list[list[tuple[bool, bytes]]],
    workers: int,
    count: int,
    whole_slot: int,
    passes: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "WHOLE_SLOT", whole_slot)
        patch.setattr(commands, "SLOT_PASSES", passes)
        server = Server(workers)
        for key in stays | comes_and_goes:
            server.set(key)
        ever = stays | comes_and_goes | {key for batch in between for _, key in batch}
        found: list[bytes] = []
        pending = list(between)
        cursor = 0
        while True:
            cursor, some = server.scan(cursor, b"COUNT", b"%d" % count)
            found += some
            if not cursor:
                break
            for comes, key in pending.pop(0) if pending else []:
                if comes:
                    server.set(key)
                elif key not in stays:
                    server.delete(key)
        assert stays <= set(found)
        assert set(found) <= ever
        assert len(found) == len(set(found)), "a key has one place: it is never given twice"


@given(
    st.sets(names),
    st.integers(1, 5),
    st.sampled_from([b"*", b"1*", b"{t}*", b"{t}1?", b"7", b"*}2"]),
)
@settings(deadline=None, max_examples=50)
def test_a_pattern_filters(present: set[bytes], workers: int, pattern: bytes) -> None:
    server = Server(workers)
    for key in present:
        server.set(key)
    found: list[bytes] = []
    cursor, calls = 0, 0
    while True:
        cursor, some = server.scan(cursor, b"MATCH", pattern, b"COUNT", b"1000")
        found += some
        calls += 1
        if not cursor:
            break
    matches = compile_glob(pattern)
    assert sorted(found) == sorted(filter(matches, present))
    assert calls == (1 if pattern in (b"{t}*", b"{t}1?", b"7") else workers)


@given(st.sets(names, min_size=1), st.integers(0, (1 << 64) - 1), st.integers(1, 5))
@settings(deadline=None)
def test_any_cursor_ends(present: set[bytes], cursor: int, workers: int) -> None:
    server = Server(workers)
    for key in present:
        server.set(key)
    seen = 0
    while True:
        after, some = server.scan(cursor, b"COUNT", b"3")
        seen += len(some)
        if not after:
            break
        assert (after % SLOTS, after) > (cursor % SLOTS, cursor), "a scan only goes forward"
        cursor = after
    assert seen <= len(present)


def test_expired_keys_are_not_found_and_go() -> None:
    server = Server(1)
    for i in range(50):
        server.set(b"%d" % i, NOW_MS + 10 if i % 2 else 0)
    (store,) = server.stores
    store.now_ms += 20
    _, found = server.scan(0, b"COUNT", b"1000")
    assert sorted(found) == sorted(b"%d" % i for i in range(0, 50, 2))
    assert len(store.view(0)) == 25


def test_an_empty_slot_takes_no_place_in_a_call() -> None:
    db = Database(0, range(SLOTS))
    assert scan_tables(db, 0, 10) == (0, [])
    db.keys_in(9000)[b"k"] = b"v"
    assert scan_tables(db, 0, 1) == (0, [(b"k", b"v")])
    db.keys_in(16383)[b"l"] = b"v"
    assert scan_tables(db, 0, 1) == (16383, [(b"k", b"v")])
    assert scan_tables(db, 16383, 1) == (0, [(b"l", b"v")])


def test_a_huge_slot_comes_in_pieces() -> None:
    server = Server(2)
    names = {b"{t}%d" % i for i in range(20_000)}
    for key in names:
        server.set(key)
    cursor, calls, found = 0, 0, set[bytes]()
    while True:
        cursor, some = server.scan(cursor, b"COUNT", b"1")
        # 312 on average; the positions are random, and this far off by chance is once in 10**60
        # calls.
        assert len(some) < 650
        found |= set(some)
        calls += 1
        if not cursor:
            break
    assert found == names
    assert calls <= commands.SLOT_PASSES + 3


CURSORS = {
    b"0": 0,
    b"17": 17,
    b"18446744073709551615": (1 << 64) - 1,
    b"007": 7,
    b"+7": 7,
    b" \t\n\v\f\r7": 7,
    b"7\x00x": 7,
    b"-0": 0,
    b"-01": (1 << 64) - 1,
    b" -2": (1 << 64) - 2,
    b"0" * 100 + b"7": 7,
}


@pytest.mark.parametrize(("text", "cursor"), CURSORS.items())
def test_cursors_are_read_as_redis_reads_them(text: bytes, cursor: int) -> None:
    assert parse_cursor(text) == cursor


BAD = [
    b"",
    b" ",
    b"x",
    b"-1",
    b"7 ",
    b"1.0",
    b"0x7",
    b"+",
    b"- 7",
    b"18446744073709551616",
    b"9" * 9999,
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_cursor(text: bytes) -> None:
    with pytest.raises(ReplyError, match="invalid cursor"):
        parse_cursor(text)


@given(st.binary(max_size=12), names)
def test_a_pattern_is_routed_to_the_slot_of_all_its_keys(tail: bytes, key: bytes) -> None:
    for pattern in (key, b"{t}" + tail, b"{" + tail + b"}*", key + b"*", tail):
        slot = commands._pattern_slot(pattern)
        if slot is None:
            continue
        matches = compile_glob(pattern)
        for name in (key, pattern, b"{t}", b"{t}" + tail, b"{" + tail + b"}" + key):
            assert not matches(name) or key_slot(name) == slot
