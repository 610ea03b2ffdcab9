"""The set commands beside redis-server: tables, and random programs from fixed seeds."""

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases, mask, shape, unordered

MIN, MAX = -(1 << 63), (1 << 63) - 1

# What might be taken for an integer, and mostly is none.
INTEGERS = (
    *(b"%d" % n for n in (0, 1, -1, 10, MAX, MIN, MAX + 1, MIN - 1, 1 << 64, -(1 << 64))),
    *(b"-0", b"+1", b"01", b"-01", b"00", b" 1", b"1 ", b"\t1", b"1\n", b"1\x00", b"\x001"),
    *(b"", b" ", b"-", b"--1", b"1.0", b"1e3", b"0x10", b"1_0", b"ten", b"\xff", b"\xd9\xa1"),
    *(b"9" * 19, b"0" * 30, b"1" * 40, b"1" * 5000),
)
# Every byte, and what would end a line or a C string.
BINARY = (b"", b"\x00", b"\r\n", b"a\r\nb", b"\xff\xfe\x00\x80", bytes(range(256)), b"+OK\r\n")

MULTI = ("SINTER", "SUNION", "SDIFF")
STORE = tuple(f"{name}STORE" for name in MULTI)

THRESHOLDS = ("set-max-intset-entries", "set-max-listpack-entries", "set-max-listpack-value")
DEFAULTS = [
    f"CONFIG SET {name} {value}" for name, value in zip(THRESHOLDS, (512, 128, 64), strict=True)
]


def every_arity(*names: str) -> Table:
    """Return a case for each command that gives it 0 to 6 arguments, keys of one slot."""
    words = ["{t}k", "{t}v", "{t}w", "{t}x", "{t}y", "{t}z"]
    return {
        f"{name} with any number of arguments": [" ".join([name, *words[:n]]) for n in range(7)]
        for name in names
    }


def sadd(key: str, members: Sequence[object]) -> tuple[bytes, ...]:
    """Return the argv that adds these members, printed as text."""
    return (b"SADD", key.encode(), *(str(member).encode() for member in members))


def hashtable(key: str, members: Sequence[object]) -> list[Line]:
    """Return the steps that make a hashtable of these members."""
    return [sadd(key, [*members, "x" * 65]), f"SREM {key} {'x' * 65}"]


def texts(count: int, first: int = 0) -> list[str]:
    """Return so many members that are no integers."""
    return [f"m{n}" for n in range(first, first + count)]


ARITY = every_arity(
    *("SADD", "SREM", "SMOVE", "SISMEMBER", "SMISMEMBER", "SCARD", "SMEMBERS", "SSCAN", "SPOP"),
    *("SRANDMEMBER", "SINTER", "SINTERCARD", "SINTERSTORE", "SUNION", "SUNIONSTORE", "SDIFF"),
    "SDIFFSTORE",
)

MEMBERS: Table = {
    "missing key": [
        *("SCARD k", "SMEMBERS k", "SISMEMBER k a", "SMISMEMBER k a b", "SREM k a", "SPOP k"),
        *("SPOP k 3", "SRANDMEMBER k", "SRANDMEMBER k 3", "SRANDMEMBER k -3", "SSCAN k 0"),
        *("OBJECT ENCODING k", "TYPE k", "EXISTS k"),
    ],
    "SADD and SREM": [
        *("SADD k a", "SADD k a", "SADD k b a c b", "SCARD k", "SMEMBERS k", "TYPE k"),
        *("SREM k a a", "SREM k x", "SREM k a x b", "SMEMBERS k", "SREM k c", "EXISTS k"),
        *("SADD k a b", "SREM k a b c", "EXISTS k", "SADD k 1", "OBJECT ENCODING k"),
    ],
    "the order of a listpack": [
        *("SADD k c a b d", "SMEMBERS k", "SREM k a", "SMEMBERS k", "SADD k a", "SMEMBERS k"),
        *("SADD k 3 1 2", "SMEMBERS k", "SREM k b 1", "SMEMBERS k", "SADD k d c e", "SMEMBERS k"),
    ],
    "the order of an intset": [
        *("SADD k 3 1 2 -5", "SMEMBERS k", f"SADD k {MAX} {MIN} 0", "SMEMBERS k", "SREM k 1"),
        *("SMEMBERS k", "SADD k x", "SMEMBERS k", "SREM k x 2", "SADD k 2 1 x", "SMEMBERS k"),
    ],
    "the order of a listpack of 128": [
        sadd("k", [*texts(100), *range(28)]),
        *("SMEMBERS k", "OBJECT ENCODING k", "SREM k m3 7 m99", "SADD k 9000 m3", "SMEMBERS k"),
        *("SADD k one-more", "OBJECT ENCODING k", unordered("SMEMBERS k")),
    ],
    "is it there": [
        *("SADD k a b 1", "SISMEMBER k a", "SISMEMBER k x", "SISMEMBER k 1", "SISMEMBER k 01"),
        *("SMISMEMBER k a x b 1 a", "SADD i 1 2", "SMISMEMBER i 1 3 a 01 +1 2", "SISMEMBER i a"),
    ],
    "integers and what looks like them": [
        *((b"SADD", b"k", n) for n in INTEGERS[:6]),
        *((b"SADD", b"k", n) for n in INTEGERS),
        *((b"SISMEMBER", b"k", n) for n in INTEGERS),
        unordered("SMEMBERS k"),
        *((b"SREM", b"k", n) for n in INTEGERS),
        "EXISTS k",
    ],
    "one integer or what looks like it": [
        step
        for n in INTEGERS
        for step in ((b"SADD", b"k", n), "OBJECT ENCODING k", "SMEMBERS k", "SPOP k")
    ],
    "asked of an intset": [
        "SADD k 1 0 -1 10",
        *((b"SISMEMBER", b"k", n) for n in INTEGERS),
        *((b"SREM", b"k", n) for n in INTEGERS),
        "SMEMBERS k",
    ],
    "any bytes": [
        (b"SADD", b"k", *BINARY),
        unordered("SMEMBERS k"),
        (b"SMISMEMBER", b"k", *BINARY, b"\x00\x00"),
        *((b"SREM", b"k", b) for b in BINARY),
        unordered("SMEMBERS k"),
    ],
    "any bytes as key": [
        step for b in BINARY for step in ((b"SADD", b, b"a"), (b"SMEMBERS", b), (b"SPOP", b))
    ],
    "a long member": [
        (b"SADD", b"k", b"x" * 5000, b"y" * 100_000, b"z"),
        unordered("SMEMBERS k"),
        "SCARD k",
    ],
    "expire times stay": [
        *("SADD k a b c", "EXPIREAT k 9999999999", "SADD k d", "EXPIRETIME k", "SREM k a"),
        *("EXPIRETIME k", shape("SPOP k"), "EXPIRETIME k", "SADD k x y z", shape("SPOP k 2")),
        "EXPIRETIME k",
        *(sadd("k", texts(600)), shape("SPOP k 590"), "EXPIRETIME k", "SCARD k"),
    ],
    "hits and misses": [
        *("SADD {t}k a b", "CONFIG RESETSTAT", "SADD {t}k c", "SREM {t}k c", "SISMEMBER {t}k a"),
        *("SMISMEMBER {t}n a", "SCARD {t}k", "SMEMBERS {t}n", "SSCAN {t}n 0", "SRANDMEMBER {t}n"),
        *(shape("SRANDMEMBER {t}k 1"), "SMOVE {t}k {t}n a", "SPOP {t}n", "SPOP {t}n 1"),
        *("SINTER {t}k {t}n", "SINTERCARD 2 {t}n {t}k", "SUNIONSTORE {t}d {t}k {t}n"),
        *("SDIFFSTORE {t}d {t}k {t}n {t}d", "SINTERSTORE {t}d {t}n {t}k"),
        mask(r"(?m)(^(?!keyspace_hits:|keyspace_misses:).*\n?)+", "INFO stats"),
    ],
}

WRONG_TYPE_CALLS = (
    *("SADD {t}k a", "SREM {t}k a", "SMOVE {t}k {t}s a", "SMOVE {t}s {t}k a", "SMOVE {t}n {t}k a"),
    *("SMOVE {t}s {t}k none", "SMOVE {t}k {t}n a", "SMOVE {t}k {t}k a", "SISMEMBER {t}k a"),
    *("SMISMEMBER {t}k a b", "SCARD {t}k", "SMEMBERS {t}k", "SSCAN {t}k 0", "SSCAN {t}k x"),
    *("SSCAN {t}k 0 COUNT x", "SPOP {t}k", "SPOP {t}k 1", "SPOP {t}k 0", "SPOP {t}k x"),
    *("SPOP {t}k -1", "SPOP {t}k 1 2", "SRANDMEMBER {t}k", "SRANDMEMBER {t}k 1"),
    *("SRANDMEMBER {t}k 0", "SRANDMEMBER {t}k x", "SRANDMEMBER {t}k 1 2"),
    *(f"{name} {keys}" for name in MULTI for keys in ("{t}k", "{t}k {t}s", "{t}s {t}n {t}k")),
    *(f"{name} {{t}}d {keys}" for name in STORE for keys in ("{t}k", "{t}n {t}k", "{t}s {t}k")),
    *("SINTERCARD 1 {t}k", "SINTERCARD 2 {t}n {t}k", "SINTERCARD 1 {t}k LIMIT x"),
    *("SINTERCARD 2 {t}k", "SINTERCARD 1 {t}k LIMIT", "SINTERCARD 0 {t}k"),
)

WRONG_TYPE: Table = {
    "a string is no set": ["SET {t}k v", "SADD {t}s a b", *WRONG_TYPE_CALLS, "GET {t}k"],
    "what stores replaces any type": [
        step
        for name in STORE
        for step in (
            *("SET {t}k v EX 100", "SADD {t}s a", f"{name} {{t}}k {{t}}s", "TYPE {t}k", "TTL {t}k"),
            *("SET {t}k v", f"{name} {{t}}k {{t}}n", "EXISTS {t}k", "DEL {t}k {t}s"),
        )
    ],
    "other commands on a set": [
        "SADD k a",
        "GET k",
        "INCR k",
        "STRLEN k",
        "APPEND k v",
        "GETDEL k",
    ],
}

ON_EXPIRED: Table = {
    f"{line} finds it expired": Case(
        *("DEBUG SET-ACTIVE-EXPIRE 0", "SADD {t}k a b", "PEXPIRE {t}k 1", "DEBUG SLEEP 0.005"),
        *("SADD {t}s a", line, unordered("SMEMBERS {t}k"), "TTL {t}k"),
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    )
    for line in (
        *("SADD {t}k c", "SREM {t}k a", "SISMEMBER {t}k a", "SCARD {t}k", "SMEMBERS {t}k"),
        *("SPOP {t}k", "SPOP {t}k 1", "SRANDMEMBER {t}k", "SSCAN {t}k 0", "SMOVE {t}k {t}s b"),
        *("SMOVE {t}s {t}k a", "SINTER {t}k {t}s", "SUNION {t}k {t}s", "SDIFFSTORE {t}k {t}s {t}k"),
        *("SUNIONSTORE {t}k {t}k", "SINTERCARD 1 {t}k"),
    )
}

MOVES: Table = {
    "SMOVE": [
        *("SADD {t}a 1 2 x", "SMOVE {t}a {t}b x", "SMEMBERS {t}a", "SMEMBERS {t}b"),
        *("SMOVE {t}a {t}b x", "SMOVE {t}a {t}b 1", "SMEMBERS {t}b", "SMOVE {t}a {t}b 2"),
        *("EXISTS {t}a", "SMEMBERS {t}b", "SMOVE {t}a {t}b 2", "SMOVE {t}b {t}b 2"),
        *("SMOVE {t}b {t}b y", "SMEMBERS {t}b"),
    ],
    "SMOVE of what is there already": [
        *("SADD {t}a x y", "SADD {t}b x", "SMOVE {t}a {t}b x", "SMEMBERS {t}a", "SMEMBERS {t}b"),
    ],
    "SMOVE's encodings": [
        *("SADD {t}a 1 2 3", "SMOVE {t}a {t}b 1", "OBJECT ENCODING {t}b", "SADD {t}c x"),
        *("SMOVE {t}a {t}c 2", "OBJECT ENCODING {t}c", "SMEMBERS {t}c"),
        *(*hashtable("{t}h", ["q", 7]), "SMOVE {t}h {t}i 7", "OBJECT ENCODING {t}i"),
        *("SMOVE {t}h {t}j q", "OBJECT ENCODING {t}j", "SMOVE {t}j {t}i q", "OBJECT ENCODING {t}i"),
    ],
}

COUNTS: Table = {
    "SPOP of one": ["SADD k a", "SPOP k", "EXISTS k", "SADD k a b", shape("SPOP k"), "SCARD k"],
    "SPOP of several": [
        *("SADD k a b c d", shape("SPOP k 0"), "SCARD k", shape("SPOP k 3"), "SCARD k"),
        *(shape("SPOP k 9"), "EXISTS k", "SADD k 3 1 2", "SPOP k 3", "EXISTS k"),
        *("SADD k b c a", unordered("SPOP k 4"), "EXISTS k"),
    ],
    "SPOP's count": [
        step for n in INTEGERS for step in ("SADD k a", (b"SPOP", b"k", n), (b"SPOP", b"n", n))
    ],
    "SRANDMEMBER of one": ["SADD k a", "SRANDMEMBER k", "SADD k b", shape("SRANDMEMBER k")],
    "SRANDMEMBER of several": [
        *("SADD k a b c d", "SRANDMEMBER k 0", shape("SRANDMEMBER k 3"), "SRANDMEMBER k 4"),
        *("SRANDMEMBER k 100", shape("SRANDMEMBER k -3"), shape("SRANDMEMBER k -50"), "SCARD k"),
        *("SRANDMEMBER k -0", "SADD one x", "SRANDMEMBER one -3", "SRANDMEMBER one 1"),
        *("SADD i 3 1 2", "SRANDMEMBER i 3", shape("SRANDMEMBER i 2")),
    ],
    "SRANDMEMBER's count": [(b"SRANDMEMBER", b"k", n) for n in INTEGERS]
    + ["SADD k a"]
    + [(b"SRANDMEMBER", b"k", n) for n in INTEGERS],
    "SRANDMEMBER's lowest count": [f"SRANDMEMBER k {MIN + 1}", f"SRANDMEMBER k {MIN // 2}"],
    "many of large sets": [
        *(sadd("k", texts(1000)), shape("SRANDMEMBER k 10"), shape("SRANDMEMBER k 700")),
        *(
            shape("SRANDMEMBER k 999"),
            unordered("SRANDMEMBER k 1000"),
            shape("SRANDMEMBER k -5000"),
        ),
        *(shape("SPOP k 10"), "SCARD k", shape("SPOP k 500"), "SCARD k", shape("SPOP k 480")),
        *("SCARD k", shape("SPOP k 10"), "EXISTS k"),
    ],
}


SPOP_LEFT: Table = {
    f"{left} left of {name}": [
        *steps,
        shape(f"SPOP k {size - left}"),
        "OBJECT ENCODING k",
        "SCARD k",
    ]
    for name, size, steps in (
        ("an intset", 500, [sadd("k", range(500))]),
        ("a listpack", 120, [sadd("k", texts(120))]),
        ("a listpack of integers", 100, [sadd("k", ["x", *range(100)]), "SREM k x"]),
        ("a hashtable", 600, [sadd("k", texts(600))]),
        ("a hashtable of integers", 600, [sadd("k", range(600))]),
        ("a small hashtable", 60, hashtable("k", texts(60))),
    )
    for left in (1, 2, size // 6 - 1, size // 6, size // 6 + 1, size // 2, size - 1)
}

SCANS: Table = {
    "SSCAN of a small set": [
        *("SADD k c a b", "SSCAN k 0", "SSCAN k 5", "SSCAN k 0 COUNT 1", "SSCAN k 0 MATCH a"),
        *("SSCAN k 0 MATCH [ab] COUNT 100", "SSCAN k 0 count 5 match *", "SSCAN k 0 MATCH x"),
        *("SADD i 3 1 2", "SSCAN i 0 COUNT 1", "SSCAN i 77 MATCH 1"),
    ],
    "SSCAN's cursor": [(b"SSCAN", b"n", n) for n in INTEGERS]
    + ["SADD k a"]
    + [(b"SSCAN", b"k", n) for n in INTEGERS],
    "SSCAN's COUNT": ["SADD k a"] + [(b"SSCAN", b"k", b"0", b"COUNT", n) for n in INTEGERS],
    "SSCAN's options": [
        "SADD k a b",
        *(f"SSCAN k 0 {o}" for o in ("COUNT", "MATCH", "TYPE set", "NOVALUES", "x", "MATCH a x")),
        *(f"SSCAN k 0 {o}" for o in ("MATCH a MATCH b", "COUNT 1 COUNT 0", "COUNT x NOVALUES")),
        *(f"SSCAN n 0 {o}" for o in ("COUNT x", "TYPE set", "NOVALUES", "x")),
    ],
    "SSCAN of all of a large set": [
        sadd("k", range(2000)),
        unordered("SSCAN k 0 COUNT 100000"),
        unordered("SSCAN k 0 COUNT 100000 MATCH *99"),
    ],
}

WHOLE: Table = {
    "combinations": [
        *("SADD {t}a 1 2 3 4", "SADD {t}b 3 4 5", "SADD {t}c 4 6 x"),
        *(
            unordered(f"{name} {keys}")
            for name in MULTI
            for keys in (
                *(
                    "{t}a",
                    "{t}a {t}b",
                    "{t}b {t}a",
                    "{t}a {t}b {t}c",
                    "{t}c {t}a",
                    "{t}n",
                    "{t}n {t}a",
                ),
                *("{t}a {t}n", "{t}a {t}a", "{t}b {t}n {t}c", "{t}c {t}c {t}a", "{t}a {t}b {t}a"),
            )
        ),
        *(
            step
            for name in STORE
            for keys in ("{t}a", "{t}a {t}b", "{t}c {t}b", "{t}n", "{t}n {t}a", "{t}a {t}b {t}c")
            for step in (
                f"{name} {{t}}d {keys}",
                unordered("SMEMBERS {t}d"),
                "OBJECT ENCODING {t}d",
            )
        ),
    ],
    "results of integers come in order": [
        *("SADD {t}a 9 1 5 30", "SADD {t}b 5 2 30 -7", "SADD {t}c 1 5 9"),
        *(f"{name} {keys}" for name in MULTI for keys in ("{t}a {t}b", "{t}b {t}a {t}c", "{t}a")),
    ],
    "stored onto a source": [
        step
        for name in STORE
        for keys in ("{t}a", "{t}a {t}b", "{t}b {t}a", "{t}b {t}c", "{t}n {t}a", "{t}n")
        for step in (
            *("DEL {t}a {t}b", "SADD {t}a 1 2 x", "SADD {t}b 2 x 3", "EXPIRE {t}a 100"),
            *(f"{name} {{t}}a {keys}", unordered("SMEMBERS {t}a"), "TTL {t}a"),
        )
    ],
    "nothing is left": [
        *("SADD {t}a 1", "SADD {t}b 2", "SADD {t}d x", "SINTERSTORE {t}d {t}a {t}b", "EXISTS {t}d"),
        *("SADD {t}d x", "SDIFFSTORE {t}d {t}a {t}a", "EXISTS {t}d", "SDIFFSTORE {t}d {t}a {t}a"),
        *("SADD {t}d x", "SUNIONSTORE {t}d {t}n {t}m", "EXISTS {t}d", "SUNIONSTORE {t}d {t}n"),
    ],
    "SINTERCARD": [
        *("SADD {t}a 1 2 3 4 5", "SADD {t}b 2 3 4 5 6 x", "SINTERCARD 2 {t}a {t}b"),
        *(f"SINTERCARD 2 {{t}}a {{t}}b LIMIT {n}" for n in (0, 1, 3, 4, 5, 100)),
        *("SINTERCARD 1 {t}a limit 2", "SINTERCARD 1 {t}a LIMIT 2 LIMIT 3 Limit 1"),
        *("SINTERCARD 2 {t}a {t}n", "SINTERCARD 1 {t}n LIMIT 1", "SINTERCARD 3 {t}a {t}a {t}b"),
        *("SINTERCARD 1 {t}a {t}b", "SINTERCARD 1 {t}a LIMIT", "SINTERCARD 1 {t}a LIMIT LIMIT"),
        *("SINTERCARD 3 {t}a {t}b", "SINTERCARD 2 {t}a LIMIT", "SINTERCARD -1 {t}a"),
    ],
    "SINTERCARD's numbers": ["SADD {t}a 1"]
    + [(b"SINTERCARD", n, b"{t}a") for n in INTEGERS]
    + [(b"SINTERCARD", b"1", b"{t}a", b"LIMIT", n) for n in INTEGERS],
    "keys are not options": ["SADD LIMIT 1 2", "SINTERCARD 1 LIMIT LIMIT 1", "SMEMBERS LIMIT"],
}


def encodings() -> Iterator[tuple[str, Case]]:
    """Yield cases about OBJECT ENCODING, with the default thresholds and with small ones."""
    for name, members in (
        ("integers", range(512)),
        ("one integer too many", range(513)),
        ("texts", texts(128)),
        ("one text too many", texts(129)),
        ("a text of 64", ["x" * 64]),
        ("a text of 65", ["x" * 65]),
        ("integers, then a text", [*range(127), "x"]),
        ("more integers, then a text", [*range(128), "x"]),
        ("integers, then a text of 65", [1, 2, "x" * 65]),
        ("a text, then integers", ["x", *range(127)]),
        ("a text, then more integers", ["x", *range(128)]),
    ):
        sizes = (1, 2, 60, 127, 128, 129, 511, 512, len(members))
        one_by_one: list[Line | Step] = [sadd("k", [member]) for member in members]
        yield f"{name}, one by one", Case(*one_by_one, "OBJECT ENCODING k", unordered("SMEMBERS k"))
        for cut in sorted({size for size in sizes if size < len(members)}):
            yield (
                f"{name}, the first {cut} at once",
                Case(
                    *(sadd("k", members[:cut]), "OBJECT ENCODING k", sadd("k", members[cut:])),
                    *("OBJECT ENCODING k", unordered("SMEMBERS k"), sadd("k", members[:1])),
                    *("OBJECT ENCODING k", "SREM k x", sadd("k", ["x"]), "OBJECT ENCODING k"),
                ),
            )
    for name, count, member in (
        *(("at once", n, m) for n in (128, 129, 512, 513) for m in ("1", "a")),
    ):
        many = sadd("k", [member] * count)
        yield (
            f"{count} times {member} {name}",
            Case(
                *(many, "OBJECT ENCODING k", "DEL k", sadd("k", [member]), many),
                *("OBJECT ENCODING k", "DEL k", sadd("k", [1, "a"]), many, "OBJECT ENCODING k"),
            ),
        )
    grown: list[Line] = [
        "SADD k 1 2 3",
        "SADD k 4",
        "SADD k a",
        "SADD k b c",
        "SADD k dd",
        "SREM k a b",
    ]
    for entries, packed, value in product((0, 2, 3, 512), (0, 3, 4, 128), (0, 1, 64)):
        config = " ".join(
            f"{name} {n}" for name, n in zip(THRESHOLDS, (entries, packed, value), strict=True)
        )
        yield (
            f"thresholds {entries} {packed} {value}",
            Case(
                f"CONFIG SET {config}",
                *(step for line in grown for step in (line, "OBJECT ENCODING k")),
                *("DEL k", "SADD k a", "OBJECT ENCODING k", "SADD k 1", "OBJECT ENCODING k"),
                *("DEL k", "SADD k a 1 bb", "OBJECT ENCODING k", "SMOVE k k a", "DEL k"),
                *("SADD k 10 -5", "SADD k a", "OBJECT ENCODING k", "DEL k", "SADD k 1"),
                *("SADD k a", "OBJECT ENCODING k", "SADD k a", "OBJECT ENCODING k"),
                cleanup=DEFAULTS,
            ),
        )
    yield (
        "thresholds that change",
        Case(
            *(sadd("{t}k", range(20)), sadd("{t}l", texts(20)), f"CONFIG SET {THRESHOLDS[0]} 5"),
            *(f"CONFIG SET {THRESHOLDS[1]} 5", "OBJECT ENCODING {t}k", "OBJECT ENCODING {t}l"),
            *("SREM {t}k 1", "SREM {t}l m1", "OBJECT ENCODING {t}k", "OBJECT ENCODING {t}l"),
            *("SADD {t}k 2", "SADD {t}l m2", "OBJECT ENCODING {t}k", "OBJECT ENCODING {t}l"),
            *(
                step
                for name in STORE
                for key in ("{t}k", "{t}l", "{t}k {t}l", "{t}l {t}k")
                for step in (f"{name} {{t}}d {key}", "OBJECT ENCODING {t}d")
            ),
            *("COPY {t}k {t}c", "OBJECT ENCODING {t}c", "SADD {t}k 99", "SADD {t}l 99"),
            *("OBJECT ENCODING {t}k", "OBJECT ENCODING {t}l"),
            cleanup=DEFAULTS,
        ),
    )


ENCODINGS: Table = dict(encodings())

# Sets of every encoding, for combinations of two.
SOURCES: dict[str, list[Line]] = {
    "missing": [],
    "few integers": [sadd("{t}KEY", range(0, 10, 2))],
    "integers": [sadd("{t}KEY", range(400))],
    "integers in a hashtable": [sadd("{t}KEY", range(600))],
    "few integers in a listpack": [sadd("{t}KEY", ["x", *range(5)]), "SREM {t}KEY x"],
    "few integers in a hashtable": hashtable("{t}KEY", range(3, 8)),
    "few texts": [sadd("{t}KEY", texts(5))],
    "few texts in a hashtable": hashtable("{t}KEY", texts(5, 3)),
    "texts": [sadd("{t}KEY", texts(120))],
    "many texts": [sadd("{t}KEY", texts(300))],
    "both": [sadd("{t}KEY", [*texts(60), *range(60)])],
    "a long one": [sadd("{t}KEY", [1, 2, "m1", "m2", "y" * 65])],
}


def _named(steps: Sequence[Line], key: str) -> list[Line | Step]:
    return [
        step.replace("KEY", key)
        if isinstance(step, str)
        else tuple(word.replace(b"KEY", key.encode()) for word in step)
        for step in steps
    ]


COMBINED: Table = {
    f"{first} and {second}": [
        *(_named(SOURCES[first], "a") + _named(SOURCES[second], "b")),
        *(
            step
            for name in STORE
            for keys in ("{t}a {t}b", "{t}a {t}b {t}b {t}n", "{t}a {t}n", "{t}b {t}a {t}a")
            for step in (f"{name} {{t}}d {keys}", "OBJECT ENCODING {t}d", "SCARD {t}d")
        ),
        *(unordered(f"{name} {{t}}a {{t}}b") for name in MULTI),
        *("SINTERCARD 2 {t}a {t}b", "SINTERCARD 2 {t}b {t}a LIMIT 4", "OBJECT ENCODING {t}a"),
    ]
    for first, second in product(SOURCES, repeat=2)
}

MANY: Table = {
    "differences by removal": [
        *(sadd("{t}a", texts(200)), *(sadd(f"{{t}}{n}", texts(3, n)) for n in range(12))),
        *(
            step
            for n in (1, 2, 3, 6, 12)
            for keys in (" ".join(f"{{t}}{i}" for i in range(n)),)
            for step in (
                *(f"SDIFFSTORE {{t}}d {{t}}a {keys}", "OBJECT ENCODING {t}d", "SCARD {t}d"),
                *(unordered(f"SDIFF {{t}}a {keys}"), f"SDIFFSTORE {{t}}d {{t}}5 {{t}}a {keys}"),
                *("EXISTS {t}d", f"SDIFFSTORE {{t}}d {{t}}a {keys} {{t}}a", "EXISTS {t}d"),
            )
        ),
    ],
    "large ones": [
        *(sadd("{t}a", range(3000)), sadd("{t}b", range(1500, 4000)), sadd("{t}c", texts(600))),
        *(
            step
            for name in MULTI
            for keys in ("{t}a {t}b", "{t}c {t}a", "{t}b {t}c", "{t}a {t}b {t}c")
            for step in (
                *(unordered(f"{name} {keys}"), f"{name}STORE {{t}}d {keys}", "SCARD {t}d"),
                *(unordered("SMEMBERS {t}d"), "OBJECT ENCODING {t}d"),
            )
        ),
        "SCARD {t}a",
    ],
    "a large one among small ones": [
        *(sadd("{t}a", texts(1000)), "SADD {t}b m1 x", "SADD {t}c 5"),
        *(
            step
            for name in STORE
            for keys in ("{t}b {t}a {t}c", "{t}a {t}b", "{t}a {t}a", "{t}a")
            for step in (
                f"{name} {{t}}d {keys}",
                unordered("SMEMBERS {t}d"),
                "SADD {t}d new",
                "SCARD {t}a",
            )
        ),
    ],
}

OTHERS: Table = {
    "COPY and RENAME": [
        *("SADD {t}a 1 2", "COPY {t}a {t}b", "SADD {t}b x", "SMEMBERS {t}a", "SMEMBERS {t}b"),
        *("OBJECT ENCODING {t}b", "RENAME {t}b {t}c", "SMEMBERS {t}c", "OBJECT ENCODING {t}c"),
    ],
    "SCAN's TYPE": ["SADD k 1", "SET s v", "SCAN 0 MATCH k TYPE set", "SCAN 0 MATCH k TYPE list"],
}


@pytest.mark.parametrize("script", cases(ARITY, MEMBERS, WRONG_TYPE, MOVES))
def test_members(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ON_EXPIRED))
def test_expired_keys(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(COUNTS, SPOP_LEFT))
def test_random_members(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SCANS, OTHERS))
def test_scans(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(WHOLE, MANY, COMBINED))
def test_several_sets(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ENCODINGS))
def test_encodings(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("seed", range(3))
def test_random_programs(seed: int, compare: Compare) -> None:
    random = Random(seed)
    keys = [b"{t}a", b"{t}b", b"{t}c", b"{t}d"]
    steps: list[Line | Step] = []
    for _ in range(400):
        pool = random.choice([6, 40, 300])
        kinds = random.choice([[b"%d"], [b"m%d"], [b"%d", b"m%d"], [b"%d", b"-%d", b"0%d", b"%dx"]])
        members = [
            random.choice(kinds) % random.randrange(pool)
            for _ in range(random.choice([1, 1, 2, 5, 60, 150]))
        ]
        if random.random() < 0.03:
            members.append(b"z" * 65)
        key = random.choice(keys)
        some = random.choices(keys, k=random.randint(1, 4))
        name = random.choice([b"SINTER", b"SUNION", b"SDIFF"])
        choices: list[Line | Step] = [
            *[(b"SADD", key, *members)] * 3,
            *[(b"SREM", key, *members)] * 2,
            (b"SMISMEMBER", key, *members),
            (b"SMOVE", key, random.choice(keys), members[0]),
            (b"SINTERCARD", b"%d" % len(some), *some, b"LIMIT", b"%d" % random.randrange(5)),
            unordered((name, *some)),
            (name + b"STORE", key, *some),
            (b"DEL", key),
            unordered((b"SPOP", key, b"100000")),
        ]
        steps.append(random.choice(choices))
        steps += [(b"OBJECT", b"ENCODING", key), (b"SCARD", key), unordered((b"SMEMBERS", key))]
    compare(steps)
