"""DUMP and RESTORE beside redis-server: the same bytes where Redis's are determined, and each
server reads what the other wrote; ours also what redis-server 7.0 wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

import pytest
from shoal.proto import intset, listpack
from shoal.proto.crc64 import crc64
from shoal.proto.rdb_format import VERSION, Kind, seal
from support.differential import Case, Compare, Line, Step, Table, cases, near, pairs, unordered
from support.old_encodings import length, text, ziplist, zipmap
from support.raw import RawClient, bulk_text, pack
from support.servers import DebianRedis, Oracle, Shoal

HELLO = seal(Kind.STRING, b"\x05hello")


def restore(
    payload: bytes, *options: bytes, key: bytes = b"k", ttl: bytes = b"0"
) -> tuple[bytes, ...]:
    return (b"RESTORE", key, ttl, payload, *options)


def element(random: Random) -> bytes:
    """Return an element of any kind that an encoding may treat in its own way."""
    kind = random.randrange(6)
    if kind == 0:
        return b"%d" % random.randint(-200, 200)
    if kind == 1:
        bits = random.choice([7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 62])
        return b"%d" % (random.choice([1, -1]) * ((1 << bits) + random.randint(-1, 1)))
    if kind == 2:
        return random.randbytes(random.randrange(9))
    if kind == 3:
        return random.choice([b"", b"-0", b"007", b"1.5", b" 1", b"\xff\n\0", b"9" * 20])
    if kind == 4:
        return random.choice([b"ab", b"c"]) * random.choice([1, 9, 20, 30, 63, 64, 125, 126])
    return b"e%d" % random.randrange(99)


# -- the same bytes --------------------------------------------------------------------------------

STRINGS = (
    *(b"", b"a", b"0", b"-1", b"127", b"128", b"-128", b"-129", b"32767", b"32768", b"-32769"),
    *(b"2147483647", b"2147483648", b"-2147483648", b"-2147483649", b"9223372036854775807"),
    *(b"01", b"-0", b"+1", b" 1", b"1 ", b"1.0", b"\x00\xff\r\n", b"a" * 20, b"a" * 21, b"a" * 63),
    *(b"a" * 64, b"ab" * 8000, b"x" * 65_000, bytes(range(256)) * 3, b"abc" * 7 + b"d" * 400),
    *(Random(1).randbytes(size) for size in (20, 21, 63, 64, 300, 16383, 16384)),
)
SCORES = (
    "-inf a -1e300 b -2.5 c -1 d 0 e 0.1 f 1 g 3.0 h 1e18 i 1e19 j 5e-324 k inf l "
    "9007199254740993 m"
)
NUMBERS = " ".join(map(str, range(1, 600)))

DUMPS: Table = {
    "strings": [line for s in STRINGS for line in ((b"SET", b"k", s), (b"DUMP", b"k"))],
    "strings that were changed": [
        "SET k a",
        "APPEND k b",
        "DUMP k",
        "SETRANGE k 30 x",
        "DUMP k",
        "INCR n",
        "DUMP n",
    ],
    "an expire time is not dumped": [
        "SET k v EX 100",
        "DUMP k",
        "RPUSH l a",
        "EXPIRE l 100",
        "DUMP l",
    ],
    "missing and expired": ["DUMP k", "SET k v PXAT 1", "DUMP k"],
    "lists": [
        *("RPUSH k a", "DUMP k", "RPUSH k 1 -1 127 128 -4096 4096 70000 8388608", "DUMP k"),
        *(f"RPUSH k {'x' * 63}", "DUMP k", f"LPUSH k {'y' * 64} {'z' * 4096}", "DUMP k"),
        *("RPOP k", "LPOP k", "DUMP k", "LINSERT k BEFORE 1 new", "LSET k 0 set", "DUMP k"),
    ],
    "lists of several nodes": [
        *(f"RPUSH k {NUMBERS}", "DUMP k", f"RPUSH k {'x' * 5000} {'y' * 5000}", "DUMP k"),
        *(f"RPUSH l {'x' * 9000} a b", "DUMP l", f"LPUSH l {'z' * 9000}", "DUMP l"),
    ],
    "sets": [
        *(
            "SADD k b a c",
            "DUMP k",
            "SADD k 5 -7 70000",
            "SREM k a",
            "DUMP k",
            f"SADD k {'x' * 64}",
            "DUMP k",
        ),
        *(
            "SADD i 3 1 2",
            "DUMP i",
            "SADD i -1 32767",
            "DUMP i",
            "SADD i 32768",
            "DUMP i",
            "SADD i 5000000000",
        ),
        *("DUMP i", f"SADD j {NUMBERS[:1500]}", "DUMP j", "SADD i x", "DUMP i"),
    ],
    "hashes": [
        *(
            "HSET k f v g 1 h 99999",
            "DUMP k",
            "HDEL k f",
            "HSET k g 2",
            "DUMP k",
            f"HSET k l {'x' * 64}",
            "DUMP k",
        ),
        *(f"HSET k m {'x' * 65}", "HDEL k g h l", "DUMP k"),
    ],
    "hashes with expire times": [
        *("HSET k f v g 1 h 2", "HPEXPIREAT k 9999999999999 FIELDS 2 f h", "DUMP k"),
        *("HPEXPIREAT k 9999999999999 FIELDS 1 g", "DUMP k", "HSET k i 5", "DUMP k"),
        *(
            f"HSET t f {'x' * 65}",
            "HPEXPIREAT t 9999999999999 FIELDS 1 f",
            "DUMP t",
            "HPERSIST t FIELDS 1 f",
            "DUMP t",
        ),
    ],
    "sorted sets": [
        *(
            f"ZADD k {SCORES}",
            "DUMP k",
            f"ZADD k 5 {'x' * 64}",
            "DUMP k",
            f"ZADD k 5.5 {'x' * 65}",
            "DUMP k",
        ),
        *("ZADD l -0 a", "DUMP l", f"ZADD m {NUMBERS.rpartition(' ')[0]}", "DUMP m"),
        *("GEOADD g 13.361389 38.115556 Palermo", "DUMP g"),
    ],
    "bits and counts": ["SETBIT k 77 1", "DUMP k", "PFADD h a b c d", "DUMP h"],
    "streams": [
        *(
            "XADD k 5-1 a 1 b 2",
            "DUMP k",
            "XADD k 5-2 a 3 b 4",
            "XADD k 9-0 c 5",
            "XADD k 99999-3 a x b y",
            "DUMP k",
        ),
        *(
            "XGROUP CREATE k g 0",
            "XGROUP CREATE k e 5-2 ENTRIESREAD 2",
            "XGROUP CREATE k f $",
            "DUMP k",
        ),
        *(f"XADD l {n}-{n % 3} name {n} other {'x' * n}" for n in range(1, 150)),
        *(
            "DUMP l",
            "XTRIM l MAXLEN ~ 50",
            "DUMP l",
            "XADD l 9999-9 x y",
            "XTRIM l MAXLEN 0",
            "DUMP l",
        ),
        *("XADD m 1-18446744073709551615 a b", "XADD m 18446744073709551615-0 a b", "DUMP m"),
    ],
}

OPTIONS: Table = {
    "DUMP with any number of arguments": ["DUMP", "DUMP k", "DUMP k l", "DUMP k l m"],
    "RESTORE with any number of arguments": [
        " ".join(["RESTORE", *["k", "0", "x", "REPLACE", "ABSTTL"][:n]]) for n in range(6)
    ],
    "REPLACE": [
        *(
            restore(HELLO),
            "GET k",
            restore(HELLO),
            "SET k v EX 99",
            restore(HELLO, b"REPLACE"),
            "GET k",
        ),
        *("TTL k", "RPUSH l a", restore(HELLO, b"replace", b"Replace", key=b"l"), "TYPE l"),
    ],
    "over an expired key": ["SET k v PXAT 1", restore(HELLO), "GET k", "TTL k"],
    "expire times": [
        *(restore(HELLO, ttl=b"100000"), near(5000, "PTTL k")),
        *(restore(HELLO, b"ABSTTL", b"REPLACE", ttl=b"9999999999999"), "PEXPIRETIME k"),
        *(restore(HELLO, b"REPLACE", b"ABSTTL", ttl=b"1000"), "EXISTS k"),
        *(restore(HELLO, b"ABSTTL", ttl=b"1"), "EXISTS k", restore(HELLO, b"ABSTTL"), "TTL k"),
        *(restore(HELLO, b"REPLACE", ttl=b"9223372036854775807"), "EXISTS k"),
        *(restore(HELLO, b"REPLACE", b"absttl", ttl=b"9223372036854775807"), "PEXPIRETIME k"),
    ],
    "bad expire times": [
        *(
            restore(HELLO, ttl=ttl)
            for ttl in (b"-1", b"x", b"", b"1.5", b" 1", b"9223372036854775808")
        ),
        "EXISTS k",
    ],
    "IDLETIME and FREQ": [
        *(
            restore(HELLO, b"IDLETIME", n, b"REPLACE")
            for n in (b"0", b"5", b"-1", b"x", b"99999999999")
        ),
        *(restore(HELLO, b"FREQ", n, b"REPLACE") for n in (b"0", b"255", b"256", b"-1", b"x")),
        *(restore(HELLO, b"REPLACE", b"IDLETIME"), restore(HELLO, b"FREQ"), restore(HELLO, b"x")),
        *(
            restore(HELLO, b"FREQ", b"5", b"IDLETIME", b"5"),
            restore(HELLO, b"IDLETIME", b"5", b"FREQ", b"5"),
        ),
        restore(HELLO, b"REPLACE", b"freq", b"5", b"FREQ", b"6", b"ABSTTL", b"ABSTTL"),
    ],
    "which error comes first": [
        "SET k v",
        *(
            restore(HELLO, b"x"),
            restore(HELLO, ttl=b"x"),
            restore(HELLO, b"REPLACE", ttl=b"x"),
            restore(b"", ttl=b"x"),
        ),
        *(
            restore(b"", b"REPLACE", ttl=b"-1"),
            restore(b"", b"REPLACE"),
            restore(b"", b"FREQ", b"x"),
        ),
        *(restore(b"", b"FREQ", b"5", b"x"), "GET k"),
    ],
    "any type of key": [
        step
        for make in ("RPUSH k a", "SADD k a", "HSET k f v", "ZADD k 1 a", "XADD k 1-1 f v")
        for step in ("DEL k", make, restore(HELLO), restore(HELLO, b"REPLACE"), "TYPE k", "GET k")
    ],
}

FLAT = [b"f", b"v", b"g", b"12", b"long", b"x" * 50]
LONG = [b"f", b"v", b"g", b"y" * 70]


BAD: dict[str, bytes] = {
    "nothing": b"",
    "nine bytes": b"\0" * 9,
    "no checksum": HELLO[:-8] + b"\0" * 8,
    "a wrong checksum": HELLO[:-1] + bytes([HELLO[-1] ^ 1]),
    "a changed byte": HELLO[:3] + b"E" + HELLO[4:],
    "cut short": HELLO[:-1],
    "one byte more": HELLO + b"\0",
    "a string that is cut short": seal(Kind.STRING, b"\x10hello"),
    "an empty list": seal(Kind.LIST, b"\x00"),
    "an empty set": seal(Kind.SET, b"\x00"),
    "an empty hash": seal(Kind.HASH, b"\x00"),
    "an empty sorted set": seal(Kind.SORTED_SET_2, b"\x00"),
    "an empty listpack": seal(Kind.HASH_LISTPACK, text(listpack.encode([]))),
    "an empty intset": seal(Kind.SET_INTSET, text(intset.encode([]))),
    "a listpack of another size": seal(Kind.SET_LISTPACK, text(listpack.encode([b"a"]) + b"\xff")),
    "an odd hash": seal(Kind.HASH_ZIPLIST, text(ziplist([b"a", b"b", b"c"]))),
    "a member twice": seal(Kind.SET, b"\x02\x01a\x01a"),
    "NaN": seal(Kind.SORTED_SET_2, b"\x01\x01a\0\0\0\0\0\0\xf8\x7f"),
}

GOOD: dict[str, bytes] = {
    "a string that goes on in version and checksum": seal(Kind.STRING, b"\x0ehello"),
    "a string that is all checksum": b"\0" * 11,
    "nothing but version and checksum": b"\0" * 10,
    "trailing bytes": seal(Kind.STRING, b"\x05hello, and more"),
    "list": seal(Kind.LIST, length(3) + text(b"a") + text(b"1") + text(b"x" * 90)),
    "long list": seal(
        Kind.LIST, length(900) + b"".join(text(b"element %d" % n) for n in range(900))
    ),
    "list of a ziplist": seal(Kind.LIST_ZIPLIST, text(ziplist(FLAT))),
    "quicklist": seal(Kind.LIST_QUICKLIST, length(2) + text(ziplist(FLAT)) + text(ziplist(LONG))),
    "set": seal(Kind.SET, length(3) + text(b"a") + text(b"1") + text(b"x" * 60)),
    "set of integers": seal(Kind.SET, length(3) + text(b"7") + text(b"1") + text(b"-5")),
    "set of integers and a long member": seal(Kind.SET, length(2) + text(b"7") + text(b"x" * 70)),
    "sorted set": seal(
        Kind.SORTED_SET,
        length(3) + text(b"a") + b"\x032.5" + text(b"b") + b"\xfe" + text(b"c") + b"\xff",
    ),
    "sorted set of a ziplist": seal(
        Kind.SORTED_SET_ZIPLIST, text(ziplist([b"c", b"-1.5", b"a", b"1", b"b", b"2.5"]))
    ),
    "hash": seal(Kind.HASH, length(3) + b"".join(map(text, FLAT))),
    "hash of a long value": seal(Kind.HASH, length(2) + b"".join(map(text, LONG))),
    "zipmap": seal(Kind.HASH_ZIPMAP, text(zipmap(FLAT))),
    "zipmap of a long value": seal(Kind.HASH_ZIPMAP, text(zipmap(LONG))),
    "hash of a ziplist": seal(Kind.HASH_ZIPLIST, text(ziplist(FLAT))),
    "hash of a ziplist with a long value": seal(Kind.HASH_ZIPLIST, text(ziplist(LONG))),
    "listpack with a long value": seal(Kind.HASH_LISTPACK, text(listpack.encode(LONG))),
    "listpack with a long member": seal(
        Kind.SET_LISTPACK, text(listpack.encode([b"a", b"x" * 70]))
    ),
    "listpack of scores": seal(
        Kind.SORTED_SET_LISTPACK, text(listpack.encode([b"x" * 70, b"1", b"b", b"2.5"]))
    ),
    "times of a candidate": seal(
        Kind.HASH_METADATA_OLD,
        length(2)
        + length(0)
        + text(b"a")
        + text(b"1")
        + b"\x81\0\0\x09\x18\x4e\x72\x9f\xff"
        + text(b"b")
        + text(b"2"),
    ),
    "times of a candidate in a listpack": seal(
        Kind.HASH_LISTPACK_EX_OLD,
        text(listpack.encode([b"b", b"2", b"9999999999999", b"a", b"1", b"0"])),
    ),
}

LOOK: dict[str, list[Line | Step]] = {
    "string": ["GET k"],
    "list": ["LRANGE k 0 -1"],
    "set": [unordered("SMEMBERS k")],
    "zset": ["ZRANGE k 0 -1 WITHSCORES"],
    "hash": [pairs("HGETALL k"), "HPEXPIRETIME k FIELDS 4 a b f g"],
    "stream": ["XRANGE k - +", "XINFO STREAM k", "XINFO GROUPS k"],
}


def type_of(payload: bytes) -> str:
    name = Kind(payload[0]).name
    types = {"LIST": "list", "SET": "set", "SORTED_SET": "zset", "HASH": "hash", "STREAM": "stream"}
    return next((kind for start, kind in types.items() if name.startswith(start)), "string")


PAYLOADS: Table = {
    **{f"bad: {name}": [restore(payload), "EXISTS k"] for name, payload in BAD.items()},
    **{
        name: [restore(payload), "TYPE k", "OBJECT ENCODING k", *LOOK[type_of(payload)]]
        for name, payload in GOOD.items()
    },
}

SMALL = (
    "CONFIG SET list-max-listpack-size 2 set-max-intset-entries 2 set-max-listpack-entries 2 "
    "hash-max-listpack-entries 2 zset-max-listpack-entries 2"
)
USUAL = (
    "CONFIG SET list-max-listpack-size -2 set-max-intset-entries 512 set-max-listpack-entries 128 "
    "hash-max-listpack-entries 512 zset-max-listpack-entries 128"
)
THRESHOLDS: Table = {
    name: Case(
        *(SMALL, restore(payload), "OBJECT ENCODING k", *LOOK[type_of(payload)]),
        cleanup=[USUAL],
    )
    for name, payload in GOOD.items()
}


@pytest.mark.parametrize("script", cases(DUMPS))
def test_dump(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(OPTIONS))
def test_restore(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(PAYLOADS))
def test_payloads(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(THRESHOLDS))
def test_small_thresholds(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("seed", range(4))
def test_random_dumps(seed: int, compare: Compare) -> None:
    random = Random(seed)
    steps: list[Line | Step] = []
    for _ in range(60):
        some = [element(random) for _ in range(random.choice([1, 2, 20]))]
        name, *args = random.choice(
            [
                [b"RPUSH", *some],
                [b"LPUSH", *some],
                [b"SADD", b"member", *some],
                [b"HSET", *(side for one in some for side in (one, element(random)))],
                [
                    b"ZADD",
                    *(side for one in some for side in (b"%d" % random.randint(-9, 9999), one)),
                ],
                [
                    b"XADD",
                    b"%d-1" % (len(steps) + 1),
                    *(side for one in some for side in (one, b"v")),
                ],
            ]
        )
        key = name[-4:]
        steps += [(name, key, *args), f"OBJECT ENCODING {key.decode()}"]
        if name != b"SADD" and name != b"HSET":  # which may have become tables, in no order
            steps.append((b"DUMP", key))
    compare(steps)


# -- each reads the other's ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_7() -> Iterator[DebianRedis]:
    """The Redis 7.0 of Debian."""
    with DebianRedis() as server:
        yield server


def program(random: Random, kind: str, *, times: bool) -> list[tuple[bytes, ...]]:
    """Return commands that make a value of a type at key k."""
    made: list[tuple[bytes, ...]] = []
    size = random.choice([1, 5, 50, 300])
    for step in range(3):
        some = [element(random) for _ in range(size)]
        if kind == "string":
            made.append((b"SET", b"k", b"".join(some)))
        elif kind == "list":
            made.append((random.choice([b"RPUSH", b"LPUSH"]), b"k", *some))
        elif kind == "set":
            made.append((b"SADD", b"k", *some))
        elif kind == "zset":
            scores = [b"%.17g" % random.uniform(-9, 9) for _ in some]
            made.append(
                (b"ZADD", b"k", *(w for pair in zip(scores, some, strict=True) for w in pair))
            )
        elif kind == "hash":
            made.append(
                (b"HSET", b"k", b"f", b"1", b"g", b"2", *(w for one in some for w in (one, one)))
            )
            if times:
                at_ms = b"%d" % random.randint(10**13, 2 * 10**13)
                made.append(
                    (b"HPEXPIREAT", b"k", at_ms, b"FIELDS", b"1", random.choice([b"f", b"g"]))
                )
        else:
            for n, one in enumerate(some):
                made.append(
                    (
                        b"XADD",
                        b"k",
                        b"%d-%d" % (1000 * step + n + 1, n),
                        b"f",
                        one,
                        *some[: n % 3 // 2],
                        *some[: n % 3 // 2],
                    )
                )
            made.append((b"XDEL", b"k", b"%d-%d" % (1000 * step + 1, 0)))
            group = b"g%d" % step
            made.append((b"XGROUP", b"CREATE", b"k", group, b"%d" % (500 * step)))
            made.append(
                (b"XREADGROUP", b"GROUP", group, b"c", b"COUNT", b"3", b"STREAMS", b"k", b">")
            )
            made.append((b"XCLAIM", b"k", group, b"d", b"0", b"2-1", b"3-2", b"FORCE", b"JUSTID"))
    return made


CONTENTS: dict[str, Sequence[str]] = {
    "string": ["GET k"],
    "list": ["LRANGE k 0 -1"],
    "set": ["SMEMBERS k"],
    "zset": ["ZRANGE k 0 -1 WITHSCORES"],
    "hash": ["HGETALL k"],
    "stream": [
        "XRANGE k - +",
        "XINFO STREAM k FULL COUNT 0",
        "XPENDING k g1",
        "XPENDING k g2 - + 99",
    ],
}


def contents(client: RawClient, kind: str, lines: Sequence[str]) -> list[bytes]:
    """Return what is at k, as lines in no order; times of now and texts of doubles are left out."""
    said = b"".join(client.call_line(line) for line in lines)
    said = re.sub(rb":1\d{12}\r\n|:\d{1,4}\r\n(?=:[1-9]\r\n)", b":time\r\n", said)
    if kind == "zset":
        found = re.split(rb"\$\d+\r\n", said)
        return sorted(
            b"%.15g" % float(w) if re.fullmatch(rb"-?\d+\.\d+(e-?\d+)?\r\n", w) else w
            for w in found
        )
    return sorted(said.split(b"\r\n"))


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("seed", range(6))
def test_each_reads_the_others(seed: int, kind: str, oracle: Oracle, subject: Shoal) -> None:
    random = Random(f"{seed} {kind}")
    with oracle.client() as theirs, subject.client() as ours:
        for client in (theirs, ours):
            client.call(b"FLUSHALL")
        for argv in program(random, kind, times=True):
            assert theirs.call(*argv)[:1] == ours.call(*argv)[:1], argv[:5]
        their_dump, our_dump = (
            bulk_text(theirs.call(b"DUMP", b"k")),
            bulk_text(ours.call(b"DUMP", b"k")),
        )
        lines = [*CONTENTS[kind], "OBJECT ENCODING k"]
        expected = contents(theirs, kind, lines)
        assert contents(ours, kind, lines) == expected
        for client, dump in ((theirs, our_dump), (ours, their_dump), (ours, our_dump)):
            assert client.call(*restore(dump, b"REPLACE")) == b"+OK\r\n"
            found = contents(client, kind, lines)
            if b"hashtable" not in expected and b"quicklist" not in expected:
                assert found == expected
            else:  # it may be small enough for a compact encoding by now
                assert [w for w in found if w not in ENCODINGS] == [
                    w for w in expected if w not in ENCODINGS
                ]


ENCODINGS = {b"hashtable", b"quicklist", b"listpack", b"listpackex", b"$9", b"$8", b"$10"}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("seed", range(4))
def test_dumps_of_redis_7(seed: int, kind: str, redis_7: DebianRedis, subject: Shoal) -> None:
    random = Random(f"{seed} {kind}")
    lines = CONTENTS[kind][:1]
    with redis_7.client() as theirs, subject.client() as ours:
        for client in (theirs, ours):
            client.call(b"FLUSHALL")
        for argv in program(random, kind, times=False):
            assert theirs.call(*argv)[:1] != b"-", argv[:5]
        assert ours.call(*restore(bulk_text(theirs.call(b"DUMP", b"k")))) == b"+OK\r\n"
        assert contents(ours, kind, lines) == contents(theirs, kind, lines)


def test_redis_checks_what_we_write(oracle: Oracle, subject: Shoal) -> None:
    """With sanitize-dump-payload every element is looked at."""
    random = Random(7)
    with oracle.client() as theirs, subject.client() as ours:
        theirs.call_line("CONFIG SET sanitize-dump-payload yes")
        try:
            for kind in CONTENTS:
                for client in (theirs, ours):
                    client.call(b"FLUSHALL")
                for argv in program(random, kind, times=True):
                    assert ours.call(*argv)[:1] != b"-", argv[:5]
                dump = bulk_text(ours.call(b"DUMP", b"k"))
                assert theirs.call(*restore(dump)) == b"+OK\r\n", kind
        finally:
            theirs.call_line("CONFIG SET sanitize-dump-payload no")


VALUES = (
    *("SET k 12345", f"SET k {'ab' * 40}", "RPUSH k a 1 -300 70000", f"RPUSH k {NUMBERS}"),
    *("SADD k 1 5 70000", "SADD k a 1", f"SADD k a {'x' * 70}", "HSET k f v g 1"),
    *(f"HSET k f v g {'x' * 70}", "ZADD k 1 a 2.5 b", f"ZADD k 1 a 2.5 {'x' * 70}"),
)
READS = (
    *("DUMP k", "TYPE k", "OBJECT ENCODING k", "GET k", "LRANGE k 0 -1", "SMEMBERS k", "HGETALL k"),
    *("ZRANGE k 0 -1 WITHSCORES", "XRANGE k - +", "XREVRANGE k + -", "XINFO STREAM k FULL"),
    *(
        "XREADGROUP GROUP g c STREAMS k >",
        "XPENDING k g - + 9",
        "LPUSH k x",
        "SADD k x",
        "ZADD k 1 x",
    ),
    *(
        "HSET k x y",
        "XADD k * x y",
        "XADD k MAXLEN 1 * x y",
        "HPEXPIRE k 99 FIELDS 1 f",
        "COPY k l",
    ),
)


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_refused_and_nothing_else_happens(seed: int, subject: Shoal) -> None:
    """Whatever a payload with a right checksum has in it, the server answers and goes on."""
    random = Random(seed)
    payloads = [*GOOD.values(), *BAD.values()]
    workers = subject.worker_pids()
    with subject.client() as client:
        client.call(b"FLUSHALL")
        for line in VALUES:
            assert client.call_line(line)[:1] != b"-", line
            payloads.append(bulk_text(client.call_line("DUMP k")))
            client.call_line("HPEXPIREAT k 9999999999999 FIELDS 1 f")
            payloads.append(bulk_text(client.call_line("DUMP k")))
            client.call_line("DEL k")
        for argv in program(random, "stream", times=False):
            client.call(*argv)
        streams = [bulk_text(client.call_line("DUMP k"))]
        for line in ("XTRIM k MAXLEN 3", "XTRIM k MAXLEN 0"):
            client.call_line(line)
            streams.append(bulk_text(client.call_line("DUMP k")))
        for _ in range(1500):
            body = bytearray(random.choice(random.choice([payloads, streams]))[:-10])
            for _ in range(random.choice([1, 1, 2, 5]) if body else 0):
                near = random.choice([60, len(body)])
                value = random.choice([0, 1, 127, 128, 129, 195, 255, random.randrange(256)])
                body[random.randrange(min(near, len(body)))] = value
            cut = random.randrange(len(body) + 1)
            whole = bytes(body[: random.choice([len(body), len(body), cut])])
            whole += VERSION.to_bytes(2, "little")
            payload = whole + crc64(whole).to_bytes(8, "little")
            client.send(pack(b"RESTORE", b"k", b"0", payload, b"REPLACE"))
            said = client.read_reply()
            assert said in (b"+OK\r\n", b"-ERR Bad data format\r\n"), whole
            if said == b"+OK\r\n":
                for line in READS:
                    client.call_line(line)
        assert client.call(b"PING") == b"+PONG\r\n"
    assert subject.worker_pids() == workers, "one died"
