"""The fused commands of streams beside the plain handlers: the same replies, the same streams, the
same log, the same statistics.
"""

from random import Random
from typing import Any, cast

import pytest
from shoal.proto.slots import SLOTS
from shoal.worker.commands import load_all
from shoal.worker.direct import DirectCommands
from shoal.worker.hot_streams import WRITES, HotStreams
from shoal.worker.keyspace import Store
from shoal.worker.values.limits import LIMITS
from shoal.worker.values.stream import Stream
from shoal.worker.values.stream_id import MAX_ID
from support.keyspace import NOW_MS, Partition, check_store
from support.mesh import Log

load_all()

KEYS = [b"{t}a", b"{t}b", b"{t}c"]
VALUES = [b"a", b"", b"7", b"-3", b"007", b"x" * 20, b"9" * 21, b"\x00\r\n", b"y" * 70, b"z" * 5000]
ADD = [b"XADD", KEYS[0], b"*", b"f", b"v"]
READ = [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"1", b"STREAMS", KEYS[0], b">"]


class Fused:
    """A partition whose commands go by the fused ones, and the generic way where these say so."""

    def __init__(self, resp: int, *, logs: bool = True) -> None:
        self.resp = resp
        self.store = Store(range(SLOTS), 16, Random(1))
        self.store.now_ms = NOW_MS
        self.log = Log()
        self.logs = logs
        segment = cast(Any, self.log) if logs else None
        self.direct = DirectCommands(self.store, 0, resp, segment, lambda text: None)
        short = self.direct.table(reads=True, writes=True)
        self.hot = HotStreams(self.store, 0, resp, segment, short)
        self.table = self.hot.table(reads=True, writes=True)
        self.plain = Partition()
        self.plain.store = self.store
        self.store.log = self.log.log if logs else None

    def run(self, argv: list[bytes]) -> bytes:
        way = self.table.get(argv[0])
        reply = None if way is None else way(argv)
        assert not isinstance(reply, int), "no slot is closed, and all are ours"
        if isinstance(reply, tuple):
            assert len(reply[0]) >= 4096
            return reply[0]
        if reply is not None:
            return reply
        reply = self.plain.run(argv, self.resp)
        if self.logs:
            self.log.records += self.plain.logged
        return reply


def contents(store: Store) -> list[object]:
    """Return all that is in the streams, which are checked."""
    found: list[object] = []
    for key in KEYS:
        value = store.view(0).find(key)
        if isinstance(value, Stream):
            value.check()
            found += [key, value.node_count, value.radix_nodes, value.first_id, value.last_id]
            found += value.commands(key)
            found += [
                (name, one.seen_ms, one.active_ms, group.entries_read, group.last_id)
                for group in value.groups.values()
                for name, one in group.consumers.items()
            ]
    return found


def command(random: Random) -> list[bytes]:
    """Return a command on one of a few streams; most are of the forms that are fused."""
    key, value, name = random.choice(KEYS), random.choice(VALUES), random.choice([b"f", b"f", b"g"])
    group, consumer = random.choice([b"g", b"g", b"h"]), random.choice([b"c", b"c", b"d"])
    count = random.choice([b"1", b"1", b"2", b"9", b"0", b"-1", b"x"])
    text = b"%d-%d" % (NOW_MS + random.randrange(-3, 300), random.randrange(3))
    read = [b"XREADGROUP", b"GROUP", group, consumer]
    lines: list[tuple[int, list[bytes]]] = [
        (30, [b"XADD", key, b"*", name, value]),
        (20, [*read, b"COUNT", count, b"STREAMS", key, b">"]),
        (2, [*read, b"STREAMS", key, b">"]),
        (2, [*read, b"count", count, b"streams", key, b">"]),
        (2, [*read, b"NOACK", b"COUNT", count, b"STREAMS", key, b">"]),
        (2, [*read, b"COUNT", count, b"STREAMS", key, b"0"]),
        (1, [*read, b"STREAMS", key, random.choice(KEYS), b">", b">"]),
        (3, [b"XADD", key, b"*", b"f", value, name, value]),
        (6, [b"XADD", key, b"MAXLEN", b"~", b"%d" % random.randrange(40), b"*", name, value]),
        (1, [b"XADD", key, b"maxlen", b"~", count, b"*", name, value]),
        (1, [b"XADD", key, b"MAXLEN", b"=", b"%d" % random.randrange(40), b"*", name, value]),
        (2, [b"XADD", key, text, name, value]),
        (1, [b"XADD", key, b"*", name]),
        (2, [b"XDEL", key, text]),
        (1, [b"XTRIM", key, b"MAXLEN", b"%d" % random.randrange(20)]),
        (3, [b"XACK", key, group, text]),
        (2, [b"XGROUP", b"CREATE", key, group, random.choice([b"0", b"$", text]), b"MKSTREAM"]),
        (2, [b"XGROUP", b"SETID", key, group, random.choice([b"0", b"$", text])]),
        (1, [b"XGROUP", b"DELCONSUMER", key, group, consumer]),
        (1, [b"XSETID", key, text]),
        (1, [b"XRANGE", key, b"-", b"+"]),
        (1, [b"XREAD", b"COUNT", count, b"STREAMS", key, text]),
        (1, [b"XREAD", b"STREAMS", key, random.choice([text, b"$", b"+", b"x"])]),
        (1, [b"EXPIRE", key, random.choice([b"100", b"0"])]),
        (1, [b"SET", key, b"v"]),
        (2, [b"DEL", key]),
    ]
    argv = random.choices([line for _, line in lines], [weight for weight, _ in lines])[0]
    if random.random() < 0.2:
        argv = [argv[0].lower(), *argv[1:]]
    return argv


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_the_same_as_the_plain_handlers(
    seed: int, resp: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr(LIMITS, "stream_node_max_entries", random.choice([0, 1, 4, 100]))
    monkeypatch.setattr(LIMITS, "stream_node_max_bytes", random.choice([0, 300, 4096, 1 << 40]))
    fused, plain = Fused(resp), Partition()
    logged = []
    for step in range(3000):
        argv = command(random)
        expected = plain.run(argv, resp)
        assert fused.run(list(argv)) == expected, argv
        logged += plain.logged
        if random.random() < 0.3:
            fused.store.now_ms = plain.store.now_ms = plain.store.now_ms + random.choice([1, 1, 40])
        if not step % 100:
            assert contents(fused.store) == contents(plain.store)
    assert contents(fused.store) == contents(plain.store)
    assert fused.log.records == logged
    check_store(fused.store)
    fused.hot.take_counts()
    assert (fused.store.hits, fused.store.misses) == (plain.store.hits, plain.store.misses)


def test_nothing_is_said_that_nobody_logs() -> None:
    fused, plain = Fused(2, logs=False), Partition()
    for argv in ([b"XGROUP", b"CREATE", KEYS[0], b"g", b"$", b"MKSTREAM"], ADD, READ, ADD, READ):
        assert fused.run(list(argv)) == plain.run(argv)
    assert contents(fused.store) == contents(plain.store)


@pytest.mark.parametrize("last_id", [MAX_ID, MAX_ID - 1, (1 << 64) - 2, (NOW_MS << 64) + 1022])
def test_ids_at_the_limits(last_id: int) -> None:
    fused, plain = Fused(2), Partition()
    fused.store.now_ms = plain.store.now_ms = 0 if last_id < 1 << 65 else NOW_MS
    setid = [b"XSETID", KEYS[0], b"%d-%d" % (last_id >> 64, last_id & (1 << 64) - 1)]
    for argv in ([b"XADD", KEYS[0], b"0-1", b"f", b"v"], setid, *[ADD] * 4):
        assert fused.run(list(argv)) == plain.run(argv)
    assert contents(fused.store) == contents(plain.store)


def test_every_call_is_counted_once() -> None:
    fused = Fused(2)
    for argv in ([b"XGROUP", b"CREATE", KEYS[0], b"g", b"$", b"MKSTREAM"], ADD, READ):
        fused.run(list(argv))  # this one makes the consumer, the generic way
    for argv in (ADD, READ, READ):
        fused.run(list(argv))
    before = fused.store.dirty_total
    assert fused.hot.take_counts() == {b"xadd": 2, b"xreadgroup": 2}
    assert fused.store.dirty_total - before == 3  # one had nothing to read
    assert not any(fused.hot.take_counts().values())


def test_what_is_closed_is_left_alone() -> None:
    fused = Fused(2)
    for argv in ([b"XGROUP", b"CREATE", KEYS[0], b"g", b"$", b"MKSTREAM"], ADD, READ, ADD):
        fused.run(list(argv))
    fused.store.gate.close(0, KEYS[0], True)
    before = contents(fused.store)
    assert isinstance(fused.table[b"XADD"](list(ADD)), int)
    assert isinstance(fused.table[b"XREADGROUP"](list(READ)), int)
    assert contents(fused.store) == before
    assert {name.upper() for name in fused.table} == set(WRITES)
