"""The list commands beside redis-server: tables, and random programs from fixed seeds.

Those that wait are in test_blocking_lists.py; here they find something, or may not wait.
"""

from collections.abc import Iterator
from itertools import permutations
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases, mask

MIN, MAX = -(1 << 63), (1 << 63) - 1

# What might be taken for an integer, and mostly is none.
INTEGERS = (
    *(b"%d" % n for n in (0, 1, -1, 2, -3, MAX, MIN, MIN + 1, MAX + 1, MIN - 1, 1 << 64)),
    *(b"-0", b"+1", b"01", b" 1", b"1 ", b"1\x00", b"", b"-", b"1.0", b"1e3", b"0x10", b"1_0"),
    *(b"ten", b"\xff", b"\xd9\xa1", b"9" * 40),
)
# The same for the seconds of a timeout; a list is there, so nobody waits.
TIMEOUTS = (
    *(b"0", b"1", b"-1", b"0.5", b"-0.0001", b"-0.001", b"-0.002", b"-0", b"1e2", b"+1", b".5"),
    *(b"5.", b"0x1p3", b"inf", b"-inf", b"Infinity", b"nan", b"-nan", b"1e400", b"-1e400"),
    *(b"1e-400", b"1e5000", b"1e-5000", b"9e15", b"9223372036854774", b"9223372036854776"),
    *(b"-9223372036854776", b" 1", b"1 ", b"", b"1\x00", b"1_0", b"x", b"0" * 5117 + b"1"),
    *(b"0" * 5200 + b"1", b"1" * 300),
)
BINARY = (b"", b"\x00", b"\r\n", b"a\r\nb", b"\xff\xfe\x00\x80", bytes(range(256)), b"+OK\r\n")

ALL = "LRANGE {t}k 0 -1"
ABC = "RPUSH {t}k a b c"
MANY = "RPUSH {t}k a b a c a b d"
EXPIRED = ["RPUSH {t}k old", "PEXPIREAT {t}k 1"]
COMMANDS = (
    *("LPUSH", "RPUSH", "LPUSHX", "RPUSHX", "LPOP", "RPOP", "LLEN", "LINDEX", "LSET", "LINSERT"),
    *("LRANGE", "LTRIM", "LREM", "LPOS", "LMOVE", "RPOPLPUSH", "LMPOP"),
)
BLOCKING = ("BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP")

# Good calls on {t}k, by command.
CALLS = {
    **{name: f"{name} {{t}}k x y" for name in ("LPUSH", "RPUSH", "LPUSHX", "RPUSHX")},
    "LPOP": "LPOP {t}k",
    "RPOP": "RPOP {t}k",
    "LPOP count": "LPOP {t}k 2",
    "RPOP count": "RPOP {t}k 2",
    "LLEN": "LLEN {t}k",
    "LINDEX": "LINDEX {t}k 0",
    "LSET": "LSET {t}k 0 x",
    "LINSERT": "LINSERT {t}k BEFORE old x",
    "LPOS": "LPOS {t}k old",
    "LRANGE": "LRANGE {t}k 0 -1",
    "LTRIM": "LTRIM {t}k 0 0",
    "LREM": "LREM {t}k 0 old",
    "LPOS COUNT": "LPOS {t}k old COUNT 0",
    "LMOVE": "LMOVE {t}k {t}m LEFT RIGHT",
    "LMOVE to": "LMOVE {t}m {t}k LEFT RIGHT",
    "RPOPLPUSH": "RPOPLPUSH {t}k {t}m",
    "RPOPLPUSH to": "RPOPLPUSH {t}m {t}k",
    "LMPOP": "LMPOP 1 {t}k LEFT",
    "LMPOP second": "LMPOP 2 {t}no {t}k RIGHT COUNT 5",
}


def every_arity(*names: str) -> Table:
    """Return a case for each command that gives it 0 to 6 arguments, keys of one slot."""
    words = ["{t}k", "{t}v", "{t}w", "{t}x", "{t}y", "{t}z"]
    return {
        f"{name} with any number of arguments": [" ".join([name, *words[:n]]) for n in range(7)]
        for name in names
    }


ARITY = every_arity(*COMMANDS)
ARITY_OF_BLOCKING: Table = {
    # With a timeout that is none, so that nobody waits.
    f"{name} with any number of arguments": [
        " ".join([name, *["{t}k"] * (n - 1), "x"][: n + 1]) for n in range(1, 8)
    ]
    for name in BLOCKING
}

KINDS: Table = {
    **{
        f"{name} on another type": ["SET {t}k v", "RPUSH {t}m 1", line, "GET {t}k", "LLEN {t}m"]
        for name, line in CALLS.items()
    },
    **{f"{name} on nothing": [line, "EXISTS {t}k", "EXISTS {t}m"] for name, line in CALLS.items()},
    **{
        f"{name} on what has expired": [
            *("DEBUG SET-ACTIVE-EXPIRE 0", *EXPIRED, "RPUSH {t}m 1 2", line),
            *("EXISTS {t}k", ALL, "LRANGE {t}m 0 -1", "DEBUG SET-ACTIVE-EXPIRE 1"),
        ]
        for name, line in CALLS.items()
    },
    **{
        f"{name} keeps the expire": [
            *("RPUSH {t}k old 1 2 3", "EXPIREAT {t}k 9999999999", line, "EXPIRETIME {t}k"),
        ]
        for name, line in CALLS.items()
    },
    **{
        f"{name} on one element": ["RPUSH {t}k old", line, "EXISTS {t}k", "TYPE {t}k", ALL]
        for name, line in CALLS.items()
    },
    "hits and misses": [
        "CONFIG RESETSTAT",
        *("RPUSH {t}k a b a b a b a b a b", *CALLS.values()),
        mask(r"(?m)(^(?!keyspace_hits:|keyspace_misses:).*\n?)+", "INFO stats"),
    ],
}

ENDS: Table = {
    "LPUSH and RPUSH": ["LPUSH {t}k a b c", "RPUSH {t}k d e", ALL, "lpush {t}k x", ALL],
    "LPUSHX and RPUSHX": [ABC, "LPUSHX {t}k x y", "RPUSHX {t}k z", ALL],
    "LPOP and RPOP": [ABC, "LPOP {t}k", "RPOP {t}k", "LPOP {t}k", "EXISTS {t}k", "RPOP {t}k"],
    "any bytes": [
        (name, *args)
        for b in BINARY
        for name, *args in [(b"RPUSH", b, b, b"x", b), (b"LRANGE", b, b"0", b"-1"), (b"LPOP", b)]
    ],
    "long elements": [
        *((b"RPUSH", b"{t}k", b"x" * n) for n in (4095, 4096, 100_000)),
        *(ALL, "RPOP {t}k", "LPOP {t}k 2"),
    ],
    "empty key": ['RPUSH "" a', 'LRANGE "" 0 -1', 'LPOP ""', 'EXISTS ""'],
    "counts": [
        (name, *args)
        for n in INTEGERS
        for name, *args in [
            *(
                (b"DEL", b"{t}k"),
                (b"RPUSH", b"{t}k", b"a", b"b", b"c", b"d"),
                (b"LPOP", b"{t}k", n),
            ),
            *((b"RPOP", b"{t}k", n), (b"LRANGE", b"{t}k", b"0", b"-1"), (b"LPOP", b"{t}no", n)),
        ]
    ],
    "counts of the rest": [
        *(ABC, "LPOP {t}k 2", "LPOP {t}k 9", "EXISTS {t}k", ABC, "RPOP {t}k 2", ALL),
        *(ABC, "RPOP {t}k 4", "EXISTS {t}k", ABC, "LPOP {t}k 3", "EXISTS {t}k"),
    ],
    "a count on another type": [
        *("SET {t}s v", "LPOP {t}s -1", "LPOP {t}s 0", "LPOP {t}s x", "LPOP {t}s 1 2"),
        *("LPOP {t}no 0", "LPOP {t}no 1", "LPOP {t}no -1", "LPOP {t}no 1 2", "RPOP {t}no 1 2 3"),
    ],
}

INDEXES: Table = {
    "LINDEX": [ABC, *(f"LINDEX {{t}}k {i}" for i in range(-5, 5))],
    "LINDEX with any integer": [ABC, *((b"LINDEX", b"{t}k", n) for n in INTEGERS)],
    "LSET": [ABC, *(f"LSET {{t}}k {i} x{i}" for i in range(-5, 5)), ALL],
    "LSET with any integer": [
        step for n in INTEGERS for step in ("DEL {t}k", ABC, (b"LSET", b"{t}k", n, b"x"), ALL)
    ],
    "LRANGE": [
        *(ABC, "RPUSH {t}k d"),
        *(f"LRANGE {{t}}k {start} {stop}" for start in range(-6, 7) for stop in range(-6, 7)),
    ],
    "LRANGE with any integer": [
        ABC,
        *((b"LRANGE", b"{t}k", n, b"-1") for n in INTEGERS),
        *((b"LRANGE", b"{t}k", b"0", n) for n in INTEGERS),
    ],
    "LTRIM": [
        step
        for start in range(-5, 6)
        for stop in range(-5, 6)
        for step in ("DEL {t}k", ABC, f"LTRIM {{t}}k {start} {stop}", ALL, "EXISTS {t}k")
    ],
    "LTRIM with any integer": [
        step
        for n in INTEGERS
        for step in (
            *("DEL {t}k", ABC, (b"LTRIM", b"{t}k", n, b"-1"), ALL),
            *("DEL {t}k", ABC, (b"LTRIM", b"{t}k", b"1", n), ALL),
        )
    ],
    "which error comes first": [
        *("SET {t}s v", ABC, "LINDEX {t}s x", "LINDEX {t}no x", "LRANGE {t}s x 1"),
        *("LRANGE {t}no 1 x", "LTRIM {t}s x 1", "LTRIM {t}no 1 x", "LSET {t}no x y"),
        *("LSET {t}s x y", "LSET {t}k x y", "LREM {t}s x y", "LREM {t}no x y"),
        *("LINSERT {t}s MIDDLE a b", "LINSERT {t}no MIDDLE a b", "LPOS {t}s a RANK 0"),
        *("LPOS {t}s a FOO 1", "LPOS {t}no a COUNT -1", "LMOVE {t}no {t}s UP LEFT"),
        *("LMOVE {t}no {t}s LEFT LEFT", "LMOVE {t}s {t}no LEFT UP", "LMPOP 0 {t}s UP"),
        *("LMPOP 1 {t}s UP", "LMPOP 1 {t}s LEFT COUNT 0", "LMPOP 2 {t}no {t}s LEFT"),
        *("LMPOP 2 {t}k {t}s LEFT", "LLEN {t}s", "RPUSHX {t}s a"),
    ],
}

MIDDLE: Table = {
    "LINSERT": [
        *(MANY, "LINSERT {t}k BEFORE a x", ALL, "LINSERT {t}k after d y", ALL),
        *("LINSERT {t}k Before b z", ALL, "LINSERT {t}k AFTER c w", ALL, "LINSERT {t}k AFTER q w"),
        *("LINSERT {t}k AFTER a a", "LINSERT {t}k BEFORE a a", ALL),
    ],
    "LINSERT of integers": [
        *("RPUSH {t}k 1 01 -1 +1 1.0", "LINSERT {t}k BEFORE 01 2", "LINSERT {t}k AFTER +1 3"),
        *(ALL, "LINSERT {t}k AFTER 1 99999999999999999999", ALL),
    ],
    "LREM": [
        step
        for count in (0, 1, 2, 9, -1, -2, -9)
        for element in "abq"
        for step in ("DEL {t}k", MANY, f"LREM {{t}}k {count} {element}", ALL)
    ],
    "LREM of all": ["RPUSH {t}k a a", "LREM {t}k 0 a", "EXISTS {t}k", "LREM {t}k 0 a"],
    "LREM with any integer": [
        step for n in INTEGERS for step in ("DEL {t}k", MANY, (b"LREM", b"{t}k", n, b"a"), ALL)
    ],
    "LREM of any bytes": [
        (name, b"{t}k", *args)
        for b in BINARY
        for name, *args in [
            *((b"RPUSH", b"x", b, b"y", b), (b"LREM", b"-1", b), (b"LPOS", b)),
            *((b"LINSERT", b"AFTER", b, b"z" + b), (b"LRANGE", b"0", b"-1")),
        ]
    ],
}

_RANKS = ("", "RANK 1", "RANK 2", "RANK -1", "rank -2", "RANK 9", f"RANK {MAX}", f"RANK {-MAX}")
_COUNTS = ("", "COUNT 0", "count 1", "COUNT 2", f"COUNT {MAX}")
_LENGTHS = ("", "MAXLEN 0", "maxlen 1", "MAXLEN 3", f"MAXLEN {MAX}")

LPOS: Table = {
    "LPOS": [MANY, "LPOS {t}k a", "LPOS {t}k d", "LPOS {t}k q", "lpos {t}k A"],
    "LPOS with all options": [
        MANY,
        *(
            f"LPOS {{t}}k {element} {rank} {count} {length}"
            for element in "aq"
            for rank in _RANKS
            for count in _COUNTS
            for length in _LENGTHS
        ),
    ],
    "LPOS with options in any order": [
        *(MANY, "LPOS {t}no a COUNT 1", "LPOS {t}no a"),
        *(
            "LPOS {t}k a " + " ".join(options)
            for options in permutations(["RANK -1", "COUNT 2", "MAXLEN 5", "COUNT 1"], 3)
        ),
        *(
            "LPOS {t}k a RANK 1 RANK 2",
            "LPOS {t}k a RANK 0 RANK 1",
            "LPOS {t}k a MAXLEN 1 MAXLEN 0",
        ),
    ],
    "LPOS with bad options": [
        MANY,
        *(
            f"LPOS {{t}}k a {options}"
            for options in ("RANK", "COUNT", "MAXLEN", "COUNT 1 RANK", "FOO 1", "1", "COUNT 1 2")
        ),
    ],
    **{
        f"LPOS {word} with any integer": [
            MANY,
            *((b"LPOS", b"{t}k", b"a", word.encode(), n) for n in INTEGERS),
            *((b"LPOS", b"{t}k", b"a", b"COUNT", b"0", word.encode(), n) for n in INTEGERS),
        ]
        for word in ("RANK", "COUNT", "MAXLEN")
    },
}

_SIDES = ("LEFT", "right", "RIGHT", "left")
BOTH = ["LRANGE {t}k 0 -1", "LRANGE {t}m 0 -1"]

MOVES: Table = {
    "LMOVE": [
        step
        for source in _SIDES
        for target in _SIDES
        for step in (
            *("DEL {t}k {t}m", ABC, "RPUSH {t}m 1 2", f"LMOVE {{t}}k {{t}}m {source} {target}"),
            *(*BOTH, f"LMOVE {{t}}k {{t}}k {source} {target}", *BOTH),
        )
    ],
    "LMOVE of the last one": [
        *("RPUSH {t}k a", "LMOVE {t}k {t}m LEFT LEFT", "EXISTS {t}k", "LMOVE {t}m {t}m LEFT RIGHT"),
        *BOTH,
    ],
    "LMOVE's words": [
        ABC,
        *(f"LMOVE {{t}}k {{t}}m {a} {b}" for a in ("UP", "LEFT", "") for b in ("RIGHT", "L", "1")),
    ],
    "LMOVE of any bytes": [
        (name, *args)
        for b in BINARY
        for name, *args in [
            *((b"RPUSH", b"{t}k", b), (b"LMOVE", b"{t}k", b"{t}m", b"LEFT", b"RIGHT")),
            (b"RPOPLPUSH", b"{t}m", b"{t}m"),
        ]
    ],
    "RPOPLPUSH": [
        *(ABC, "RPOPLPUSH {t}k {t}m", *BOTH, "RPOPLPUSH {t}k {t}k", *BOTH, "RPOPLPUSH {t}m {t}k"),
        *(*BOTH, "EXISTS {t}m", "RPOPLPUSH {t}m {t}k", "SET {t}s v", "RPOPLPUSH {t}k {t}s", *BOTH),
        *("RPOPLPUSH {t}m {t}s", "RPOPLPUSH {t}s {t}k"),
    ],
    "LMPOP": [
        *(ABC, "LMPOP 1 {t}k LEFT", "LMPOP 2 {t}no {t}k right", "LMPOP 1 {t}k LEFT", "EXISTS {t}k"),
        *("LMPOP 1 {t}k LEFT", "RPUSH {t}k 1 2 3 4 5", "LMPOP 3 {t}k {t}k {t}k RIGHT COUNT 2"),
        *("LMPOP 1 {t}k LEFT count 99", "EXISTS {t}k", "LMPOP 2 {t}a {t}b LEFT COUNT 9"),
    ],
    "LMPOP's options": [
        ABC,
        *(
            f"LMPOP {rest}"
            for rest in (
                *("1 {t}k", "2 {t}k LEFT", "1 {t}k {t}m LEFT", "1 {t}k MIDDLE", "3 {t}k LEFT"),
                *(
                    "1 {t}k LEFT COUNT",
                    "1 {t}k LEFT COUNT 1 COUNT 1",
                    "1 {t}k LEFT 1",
                    "1 {t}k LEFT x y",
                ),
                *(
                    "1 {t}k LEFT COUNT 0 x",
                    "1 {t}k LEFT COUNT 1 x",
                    "1 LEFT LEFT",
                    "2 {t}k LEFT COUNT 1",
                ),
            )
        ),
    ],
    "LMPOP's numbers": [
        step
        for n in INTEGERS
        if n != b"%d" % MAX  # redis-server adds to it
        for step in (
            *("DEL {t}k", ABC, (b"LMPOP", n, b"{t}k", b"LEFT")),
            (b"LMPOP", b"1", b"{t}k", b"LEFT", b"COUNT", n),
        )
    ],
}

READY: Table = {
    "BLPOP and BRPOP": [
        *(ABC, "BLPOP {t}k 0", "BRPOP {t}no {t}k {t}m 0.1", "BLPOP {t}k {t}k 1e1", "EXISTS {t}k"),
    ],
    "BLMOVE": [
        step
        for source in _SIDES
        for target in _SIDES
        for step in (
            *("DEL {t}k {t}m", ABC, "RPUSH {t}m 1", f"BLMOVE {{t}}k {{t}}m {source} {target} 0"),
            *BOTH,
        )
    ],
    "BRPOPLPUSH": [ABC, "BRPOPLPUSH {t}k {t}m 0", "BRPOPLPUSH {t}k {t}k 0", *BOTH],
    "BLMPOP": [
        *("RPUSH {t}k 1 2 3 4 5", "BLMPOP 0 2 {t}no {t}k LEFT", "BLMPOP 0 1 {t}k RIGHT COUNT 2"),
        *("blmpop 0 1 {t}k left count 9", "EXISTS {t}k"),
    ],
    "timeouts": [
        step for timeout in TIMEOUTS for step in (ABC, (b"BLPOP", b"{t}k", timeout), "LLEN {t}k")
    ],
    "timeouts of the others": [
        (name, *args)
        for timeout in TIMEOUTS
        for name, *args in [
            *((b"RPUSH", b"{t}k", b"a", b"b"), (b"BRPOPLPUSH", b"{t}k", b"{t}k", timeout)),
            (b"BLMOVE", b"{t}k", b"{t}k", b"LEFT", b"LEFT", timeout),
            *((b"BLMPOP", timeout, b"1", b"{t}k", b"LEFT"), (b"BRPOP", b"{t}k", timeout)),
        ]
    ],
    "BLMPOP's options": [
        ABC,
        *(
            f"BLMPOP 1 {rest}"
            for rest in (
                *(
                    "0 {t}k LEFT",
                    "x {t}k LEFT",
                    "1 {t}k",
                    "2 {t}k LEFT",
                    "1 {t}k UP",
                    "-1 {t}k LEFT",
                ),
                *("1 {t}k LEFT COUNT", "1 {t}k LEFT COUNT 0", "1 {t}k LEFT COUNT 1 COUNT 1"),
                *("1 {t}k LEFT FOO 1", "1 {t}k LEFT COUNT x", "1 {t}k LEFT COUNT 1 x"),
            )
        ),
    ],
    "which error comes first": [
        *("SET {t}s v", ABC, "BLPOP {t}s x", "BLPOP {t}s {t}k 0", "BLPOP {t}no {t}s {t}k 0"),
        *("BLPOP {t}k {t}s 0", "BLMOVE {t}s {t}k UP LEFT x", "BLMOVE {t}s {t}k LEFT LEFT x"),
        *("BLMOVE {t}k {t}s LEFT LEFT 0", "BLMOVE {t}s {t}k LEFT LEFT 0", "BRPOPLPUSH {t}s {t}k x"),
        *("BRPOPLPUSH {t}s {t}k 0", "BRPOPLPUSH {t}k {t}s 0", "BLMPOP x 0 {t}k LEFT"),
        *("BLMPOP x 1 {t}k UP", "BLMPOP x 1 {t}k LEFT", "BLMPOP -1 1 {t}k LEFT COUNT 0"),
        *("BLMPOP -1 1 {t}s LEFT", "BLMPOP 0 2 {t}no {t}s LEFT", "BLPOP {t}s -1", "BRPOP {t}s nan"),
    ],
}

SIZE = "list-max-listpack-size"
KIND = "OBJECT ENCODING {t}k"
ENTRIES = [str(n) for n in range(12)]


def _limit(value: int) -> str:
    return f"CONFIG SET {SIZE} {value}"


def _around_the_limit() -> Iterator[Line | Step]:
    """Grow by one byte or element at a time over the limit and shrink to and below half of it."""
    for fill, elements in ((-1, [b"x" * 90] * 50), (-1, [b"12345"] * 900), (5, [b"x"] * 12)):
        yield _limit(fill)
        yield "DEL {t}k"
        for element in elements:
            yield (b"RPUSH", b"{t}k", element)
            yield KIND
        for _ in elements[1:]:
            yield "LPOP {t}k"
            yield KIND


ENCODINGS: Table = {
    "around the limit": Case(*_around_the_limit(), cleanup=[_limit(-2)]),
    "every limit": Case(
        *(
            step
            for fill in (-1, -2, -3, -4, -5, -6, -1000, 0, 1, 2, 3, 100, 8192, 100_000)
            for step in (
                *(_limit(fill), "DEL {t}k", "RPUSH {t}k a", KIND, "RPUSH {t}k b", KIND),
                *((b"RPUSH", b"{t}k", *[b"x"] * 98), KIND, (b"RPUSH", b"{t}k", *[b"y" * 30] * 200)),
                *(KIND, (b"LPUSH", b"{t}k", *[b"z" * 30] * 2000), KIND, "LTRIM {t}k -150 -1", KIND),
                *("LTRIM {t}k -50 -1", KIND, "LTRIM {t}k -1 -1", KIND, "LSET {t}k 0 a", KIND),
            )
        ),
        cleanup=[_limit(-2)],
    ),
    "one push over the limit": Case(
        *(_limit(4), "RPUSH {t}k 1 2 3 4", KIND, "DEL {t}k", "RPUSH {t}k 1 2 3 4 5", KIND),
        *("RPOP {t}k 3", KIND, "RPUSH {t}k 3", KIND, "RPUSH {t}k 4 5 6", KIND, ALL),
        cleanup=[_limit(-2)],
    ),
    "a large element": [
        *((b"RPUSH", b"{t}k", b"x" * 8200), KIND, "LSET {t}k 0 a", KIND),
        *((b"LSET", b"{t}k", b"0", b"x" * 8200), KIND, "RPUSH {t}k a", "LREM {t}k 1 a", KIND),
        *("RPUSH {t}k a", "LPOP {t}k", KIND),
    ],
    "LSET and LINSERT that fail make room": [
        *("RPUSH {t}k a", (b"LSET", b"{t}k", b"5", b"x" * 8200), KIND, "DEL {t}k", "RPUSH {t}k a"),
        *((b"LINSERT", b"{t}k", b"AFTER", b"q", b"x" * 8200), KIND, "LTRIM {t}k 0 -1", KIND),
    ],
    "LINSERT, LREM and LSET": Case(
        *(_limit(6), "RPUSH {t}k 1 2 3 4 5 6", "LINSERT {t}k BEFORE 3 x", KIND, "LREM {t}k 1 1"),
        *(KIND, "LREM {t}k 1 2", KIND, "LREM {t}k 1 9", KIND, "LREM {t}k -1 6", KIND),
        *("LREM {t}k 0 x", KIND, "LSET {t}k 0 y", KIND, ALL),
        cleanup=[_limit(-2)],
    ),
    "several nodes": Case(
        *(_limit(4), f"RPUSH {{t}}k {' '.join(ENTRIES)}"),
        *(step for n in (1, 2, 5, 6, 9, 10, 4, 8, 3, 7) for step in (f"LREM {{t}}k 0 {n}", KIND)),
        cleanup=[_limit(-2)],
    ),
    "LINSERT joins nodes": Case(
        *(_limit(4), f"RPUSH {{t}}k {' '.join(ENTRIES)}", "LREM {t}k 0 0", "LREM {t}k 0 1"),
        *(
            "LREM {t}k 0 8",
            "LREM {t}k 0 9",
            "LREM {t}k 0 10",
            "LINSERT {t}k AFTER 5 x",
            "RPOP {t}k",
        ),
        *(KIND, "LPOP {t}k", KIND, "LPOP {t}k", KIND, "LPOP {t}k", KIND, "LPOP {t}k", KIND),
        *("LPOP {t}k", KIND, ALL),
        cleanup=[_limit(-2)],
    ),
    "the limit changes": Case(
        *(
            f"RPUSH {{t}}k {' '.join(ENTRIES)}",
            _limit(4),
            KIND,
            "LPOP {t}k",
            KIND,
            "LRANGE {t}k 0 1",
        ),
        *(
            KIND,
            "LSET {t}k 0 x",
            KIND,
            "LTRIM {t}k 0 5",
            KIND,
            _limit(100),
            KIND,
            "LPOP {t}k",
            KIND,
        ),
        cleanup=[_limit(-2)],
    ),
    "moves": Case(
        *(_limit(3), "RPUSH {t}k 1 2 3 4 5", "LMOVE {t}k {t}m LEFT LEFT", KIND),
        *("LMOVE {t}k {t}m LEFT LEFT", "OBJECT ENCODING {t}m", "LMOVE {t}k {t}m LEFT LEFT", KIND),
        *("LMOVE {t}k {t}m LEFT LEFT", "OBJECT ENCODING {t}m", KIND, "RPOPLPUSH {t}m {t}m"),
        *("OBJECT ENCODING {t}m", "LMPOP 1 {t}m LEFT COUNT 3", "OBJECT ENCODING {t}m"),
        cleanup=[_limit(-2)],
    ),
    "an integer moved out of a quicklist counts nothing": Case(
        _limit(-1),
        *(
            step
            for other in (b"z", b"z" * 5000)
            for element in (b"12", b"123456789012", b"abcdefghijkl", b"-0")
            for size in range(4064, 4084)
            for step in (
                *("DEL {t}k {t}m", (b"RPUSH", b"{t}k", b"x" * size)),
                *((b"RPUSH", b"{t}m", other, element), "RPOPLPUSH {t}m {t}k", KIND),
                *("RPOPLPUSH {t}k {t}k", KIND, "OBJECT ENCODING {t}m"),
            )
        ),
        cleanup=[_limit(-2)],
    ),
    "copies": Case(
        *(_limit(3), "RPUSH {t}k 1 2 3 4 5", "LREM {t}k 0 3", "COPY {t}k {t}m", "LTRIM {t}m 1 2"),
        *("OBJECT ENCODING {t}m", "LPOP {t}m", "OBJECT ENCODING {t}m", KIND, "RENAME {t}k {t}m"),
        *("OBJECT ENCODING {t}m",),
        cleanup=[_limit(-2)],
    ),
}


def _program(random: Random, steps: int) -> Iterator[Line | Step]:
    """Yield random commands on two lists, each followed by looks at both."""
    numbers = [0, 1, -1, 127, 128, 4095, 4096, -4097, 32_768, 1 << 23, 1 << 31, 1 << 62, 1 << 63]
    words = [b"%d" % n for n in numbers] + [b"", b"-", b"01", b"\n", b"\xff\x00", b"a" * 63]
    words += [b"a", b"b", b"c", b"b" * 64, b"c" * 126, b"d" * 1000, b"e" * 4096, b"f" * 8193]
    for _ in range(steps):
        key, other = random.sample([b"{t}k", b"{t}m"], 2)
        element, pivot = random.choices(words, k=2)
        index, stop = (b"%d" % random.choice([0, -1, random.randint(-60, 60)]) for _ in "ab")
        count = b"%d" % random.choice([0, 1, 2, 7, 40, -1, -3])
        some = random.choices(words, k=random.choice([1, 2, 30]))
        sides = random.choices([b"LEFT", b"RIGHT"], k=2)
        where = random.choice([b"BEFORE", b"AFTER"])
        growing: list[tuple[bytes, ...]] = [
            (b"RPUSH", key, *some),
            (b"LPUSH", key, *some),
            (b"RPUSHX", key, element),
            (b"LINSERT", key, where, pivot, element),
            (b"LINSERT", key, where, pivot, element),
            (b"LSET", key, index, element),
            (b"LSET", key, index, element),
        ]
        others: list[tuple[bytes, ...]] = [
            (b"LPOP", key),
            (b"RPOP", key),
            (b"LPOP", key, count),
            (b"RPOP", key, count),
            (b"LREM", key, count, pivot),
            (b"LMOVE", key, other, *sides),
            (b"LMOVE", key, key, *sides),
            (b"RPOPLPUSH", key, other),
            (b"LMPOP", b"2", key, other, sides[0], b"COUNT", b"3"),
            (b"BLMOVE", key, key, *sides, b"0.001"),
            (b"LTRIM", key, b"1", b"-2"),
            (b"LTRIM", key, index, stop),
            (b"LPOS", key, pivot, b"RANK", random.choice([b"1", b"-2"]), b"COUNT", b"0"),
            (b"LRANGE", key, index, stop),
            (b"LINDEX", key, index),
            (b"COPY", key, other, b"REPLACE"),
            (b"CONFIG", b"SET", SIZE.encode(), random.choice([b"-1", b"-2", b"3", b"20"])),
        ]
        yield random.choice(growing if random.random() < 0.6 else others)
        for each in (key, other):
            yield (b"OBJECT", b"ENCODING", each)
            yield (b"LLEN", each)
            yield (b"LRANGE", each, b"0", b"-1") if random.random() < 0.1 else (b"EXISTS", each)


@pytest.mark.parametrize("script", cases(ARITY, ARITY_OF_BLOCKING))
def test_arity(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(KINDS))
def test_what_the_key_holds(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ENDS, INDEXES, MIDDLE))
def test_one_list(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(LPOS))
def test_lpos(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(MOVES))
def test_several_lists(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(READY))
def test_nobody_has_to_wait(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ENCODINGS))
def test_encoding(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("seed", range(3))
def test_random_programs(seed: int, compare: Compare) -> None:
    compare(Case(*_program(Random(seed), 400), cleanup=[_limit(-2)]))
