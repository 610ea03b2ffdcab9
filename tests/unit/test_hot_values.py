"""The fused commands of the collections, and the short way of all others, beside the plain
handlers: the same replies, the same values, the same log, the same statistics.
"""

from random import Random
from typing import Any, cast

import pytest
from shoal.proto.slots import SLOTS
from shoal.worker.commands import load_all
from shoal.worker.direct import TIMED, DirectCommands
from shoal.worker.hot_values import READS, WRITES, HotValues
from shoal.worker.keyspace import Store
from shoal.worker.registry import COMMANDS
from shoal.worker.values import encoding, rebuild
from shoal.worker.values.limits import LIMITS
from support.keyspace import NOW_MS, Partition, check_store
from support.mesh import Log

load_all()

KEYS = [b"{t}%d" % n for n in range(6)]
MEMBERS = [b"a", b"b", b"17", b"-3", b"0", b"", b"\x00\r\n", b"x" * 70, b"y" * 5000]
NUMBERS = [b"1", b"0", b"-1", b"2.5", b"007", b"1e3", b"inf", b"-inf", b"nan", b"x", b"", b"-0"]
DEGREES = [b"1", b"-71.25", b"3e1", b"0", b"91", b"-180", b"180", b"x", b"", b" 1", b"1_0", b"nan"]
# Where most commands of a type find a value of it.
HOMES = {
    name: key
    for key, names in zip(
        KEYS,
        [
            (b"LPUSH", b"RPUSH", b"LPOP", b"RPOP"),
            (b"SADD", b"SREM", b"SPOP", b"SISMEMBER"),
            (b"HSET", b"HGET", b"HGETALL", b"HDEL"),
            (b"ZADD", b"GEOADD", b"ZSCORE", b"ZREM"),
            (b"SETBIT", b"APPEND"),
            (b"PFADD",),
        ],
        strict=True,
    )
    for name in names
}


class Fused:
    """A partition whose commands go by the tables, and the generic way where these say so."""

    def __init__(self, resp: int) -> None:
        self.resp = resp
        self.store = Store(range(SLOTS), 16, Random(1))
        self.store.now_ms = NOW_MS
        self.log = Log()
        self.store.log = self.log.log
        self.errors: list[bytes] = []
        segment = cast(Any, self.log)
        self.direct = DirectCommands(self.store, 0, resp, segment, self.errors.append)
        short = self.direct.table(reads=True, writes=True)
        self.hot = HotValues(self.store, 0, resp, segment, short)
        self.table = short | self.hot.table(reads=True, writes=True)
        self.plain = Partition()
        self.plain.store = self.store
        self.generic = 0

    def run(self, argv: list[bytes]) -> bytes:
        way = self.table.get(argv[0])
        reply = None if way is None else way(argv)
        assert not isinstance(reply, int), "no slot is closed, and all are ours"
        if isinstance(reply, tuple):
            return reply[0]
        if reply is not None:
            return reply
        self.generic += 1
        reply = self.plain.run(argv, self.resp)
        self.log.records += self.plain.logged
        return reply


def contents(store: Store) -> list[Any]:
    """Return every key with its encoding and the commands that make it."""
    view = store.view(0)
    found = []
    for slot in range(SLOTS):
        for key, value in view.live_keys(slot):
            found.append((key, encoding(key, value), list(rebuild(key, value))))
    return found


def command(random: Random) -> list[bytes]:
    """Return a command on one of a few keys; most are of the right form."""
    key, member = random.choice(KEYS), random.choice(MEMBERS)
    if random.random() < 0.4:
        member = b"m%d" % random.randrange(200)
    number = random.choice(NUMBERS) if random.random() < 0.3 else b"%d" % random.randrange(50)
    lines = [
        *([name, key, member] for name in (b"LPUSH", b"RPUSH", b"SADD", b"SREM", b"HGET")),
        *([name, key] for name in (b"LPOP", b"RPOP", b"LLEN", b"SCARD", b"HGETALL", b"TYPE")),
        *([name, key] for name in (b"SPOP", b"HGETALL")),
        *([b"PFADD", key, m] for m in (member, b"a", b"b")),
        [b"PFDEBUG", b"TODENSE", HOMES[b"PFADD"]],
        *([name, key, member] for name in (b"SISMEMBER", b"ZSCORE", b"ZRANK", b"ZREM", b"HDEL")),
        [b"HSET", key, random.choice(MEMBERS), member],
        [b"HSET", key, b"f%d" % random.randrange(100), member],
        [b"ZADD", key, number, member],
        [b"SETBIT", key, random.choice([number, b"4100"]), random.choice([b"0", b"1", b"1", b"2"])],
        [b"GEOADD", key, random.choice(DEGREES), random.choice(DEGREES), member],
        [b"ZADD", key, random.choice([b"XX", b"NX", b"CH"]), number, member],
        [b"LPUSH", key, *[member] * random.randrange(1, 40)],
        [b"PERSIST", key],
        [b"LRANGE", key, b"0", b"-1"],
        [b"SMEMBERS", key],
        [b"APPEND", key, member],
    ]
    rare = [
        [b"EXPIRE", key, random.choice([b"100", b"0"])],
        [b"HEXPIRE", key, b"100", b"FIELDS", b"1", b"f1"],
        [b"SADD", key, *[b"n%d" % n for n in range(random.choice([5, 600]))]],
        [b"GETDEL", key],
        [b"DEL", key],
    ]
    argv = random.choice(rare if random.random() < 0.03 else lines)
    if argv[0] in HOMES and random.random() < 0.97:
        argv[1] = HOMES[argv[0]]
    if random.random() < 0.03:
        argv = argv[: random.randrange(2, 5)]
    if random.random() < 0.2:
        argv = [argv[0].lower(), *argv[1:]]
    return argv


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_the_same_as_the_plain_handlers(
    seed: int, resp: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    for limit in (
        "hash_max_listpack_entries",
        "set_max_listpack_entries",
        "set_max_intset_entries",
    ):
        monkeypatch.setattr(LIMITS, limit, random.choice([0, 3, 20, 500]))
    monkeypatch.setattr(LIMITS, "list_max_listpack_size", random.choice([-2, 1, 5]))
    monkeypatch.setattr(LIMITS, "zset_max_listpack_entries", random.choice([0, 5, 128]))
    fused, plain = Fused(resp), Partition()
    logged = []
    for _ in range(3000):
        argv = command(random)
        name = argv[0].upper()
        reply = fused.run(list(argv))
        expected = plain.run(argv, resp)
        # An unordered reply is as it comes out of equal structures, so it is equal too.
        assert reply == expected, argv
        logged += plain.logged
        if name == b"LPUSH" and random.random() < 0.01:
            fused.store.now_ms = plain.store.now_ms = plain.store.now_ms + 50_000
    assert contents(fused.store) == contents(plain.store)
    assert fused.log.records == logged
    check_store(fused.store)
    assert (fused.store.hits, fused.store.misses) != (0, 0)
    counts = fused.hot.take_counts()
    if resp == 3:
        del counts[b"zscore"]  # a double there, which the short way writes
    assert [name for name, calls in counts.items() if not calls] == []
    assert (fused.store.hits, fused.store.misses) == (plain.store.hits, plain.store.misses)


def test_every_call_is_counted_once() -> None:
    fused = Fused(2)
    for name in (*READS, *WRITES):
        arguments = COMMANDS[name.lower()].spec.arity
        for _ in range(5):
            fused.run([name, KEYS[0], *[b"1"] * (abs(arguments) - 2)])
    counts = fused.hot.take_counts()
    for name, calls in fused.direct.take_counts().items():
        counts[name] = counts.get(name, 0) + calls
    assert sum(counts.values()) + fused.generic == 5 * len(READS + WRITES)
    assert not any(fused.hot.take_counts().values())
    assert not fused.direct.take_counts()


def test_some_calls_of_the_short_way_are_timed() -> None:
    fused = Fused(2)
    for _ in range(10 * TIMED):
        fused.run([b"STRLEN", b"k"])
    assert fused.generic == 10


def test_what_is_closed_is_left_alone() -> None:
    fused = Fused(2)
    fused.run([b"RPUSH", KEYS[0], b"a", b"b"])
    fused.store.gate.close(0, KEYS[0], True)
    before = contents(fused.store)
    for name in WRITES:
        arity = abs(COMMANDS[name.lower()].spec.arity)
        assert isinstance(fused.table[name]([name, KEYS[0], *[b"1"] * (arity - 2)]), int)
    assert contents(fused.store) == before
    assert fused.table[b"LLEN"]([b"LLEN", KEYS[0]]) == b":2\r\n"
    fused.store.gate.close(0, KEYS[0], False)
    for name in (*READS, b"LLEN"):
        arity = abs(COMMANDS[name.lower()].spec.arity)
        assert isinstance(fused.table[name]([name, KEYS[0], *[b"1"] * (arity - 2)]), int)


def test_errors_are_counted() -> None:
    fused = Fused(2)
    fused.run([b"APPEND", KEYS[0], b"v"])
    assert fused.run([b"LPUSH", KEYS[0], b"v"]).startswith(b"-WRONGTYPE")
    assert fused.errors == [b"WRONGTYPE Operation against a key holding the wrong kind of value"]
