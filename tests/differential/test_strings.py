"""The string commands beside redis-server: tables, and random programs from fixed seeds."""

from collections.abc import Iterator
from itertools import chain, combinations, permutations, product
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases, mask, near, unordered

MIN, MAX = -(1 << 63), (1 << 63) - 1

# What might be taken for an integer, and mostly is none.
INTEGERS = (
    *(b"%d" % n for n in (0, 1, -1, 10, MAX, MIN, MAX + 1, MIN - 1, 1 << 64, -(1 << 64))),
    *(b"-0", b"+1", b"01", b"-01", b"00", b" 1", b"1 ", b"\t1", b"1\n", b"1\x00", b"\x001"),
    *(b"", b" ", b"-", b"--1", b"1.0", b"1e3", b"0x10", b"1_0", b"ten", b"\xff", b"\xd9\xa1"),
    *(b"9" * 19, b"0" * 30, b"1" * 40, b"1" * 5000),
)
# The same for decimals; the last line is what Redis rejects or what overflows.
DECIMALS = (
    *(b"0", b"1", b"-1", b"1.5", b"-1.5", b"0.1", b"3.0e3", b"3.0e+3", b"1e-5", b"1E2", b"+2.5"),
    *(b".5", b"5.", b"-.5", b"-0", b"-0.0", b"00.5", b"0x10", b"0x1p-2", b"0xA.8", b"1e17"),
    *(b"123456789.123456789", b"1234567890123456789", b"18446744073709551616", b"1e-17", b"1e-18"),
    *(b"3.14159265358979323846", b"0.000000000000000004", b"5e-18", b"1e-4000", b"1e30"),
    *(b"", b" ", b" 1", b"1 ", b"1\x00", b"\x00", b".", b"-", b"e5", b"1e", b"1e+", b"0x", b"1,5"),
    *(b"1_0", b"x", b"\xff", b"nan", b"NaN", b"-nan", b"inf", b"-inf", b"Infinity", b"infinit"),
    *(b"1e5000", b"-1e5000", b"1" * 300),
)

# An expired key that active expiry must not remove before the command does.
EXPIRED = "SET k old PXAT 1"
# Every byte, and what would end a line or a C string.
BINARY = (b"", b"\x00", b"\r\n", b"a\r\nb", b"\xff\xfe\x00\x80", bytes(range(256)), b"+OK\r\n")


def every_arity(*names: str) -> Table:
    """Return a case for each command that gives it 0 to 5 arguments, keys of one slot."""
    words = ["{t}k", "{t}v", "{t}w", "{t}x", "{t}y"]
    return {
        f"{name} with any number of arguments": [" ".join([name, *words[:n]]) for n in range(6)]
        for name in names
    }


ARITY = every_arity(
    *("GET", "SETNX", "SETEX", "PSETEX", "GETSET", "GETDEL", "GETEX", "STRLEN", "APPEND"),
    *("SETRANGE", "GETRANGE", "SUBSTR", "INCR", "DECR", "INCRBY", "DECRBY", "INCRBYFLOAT"),
    *("SET", "LCS", "MGET", "MSET", "MSETNX"),
)

GET_SET: Table = {
    "missing key": ["GET k", "STRLEN k", "GETDEL k", "GETEX k", "GETRANGE k 0 -1", "MGET k"],
    "SET and GET": ["SET k v", "GET k", "SET k w", "get k", "GeT k"],
    "empty value": ['SET k ""', "GET k", "STRLEN k", "EXISTS k"],
    "empty key": ['SET "" v', 'GET ""', 'APPEND "" w', 'GETDEL ""', 'GET ""'],
    "any bytes": [
        (name, *args)
        for b in BINARY
        for name, *args in [(b"SET", b, b), (b"GET", b), (b"STRLEN", b), (b"GETSET", b, b"w" + b)]
    ],
    "any bytes as options": [(b"SET", b"k", b"v", b) for b in BINARY],
    "long value": [(b"SET", b"k", b"x" * 100_000), "GET k", "STRLEN k", "GETDEL k"],
    "SETNX": ["SETNX k v", "SETNX k w", "GET k"],
    "GETSET": ["GETSET k v", "GETSET k w", "GET k"],
    "GETSET ends an expire": ["SET k v EX 100", "GETSET k w", "TTL k"],
    "SET ends an expire": ["SET k v EX 100", "SET k w", "TTL k"],
    "GETDEL": ["SET k v", "GETDEL k", "EXISTS k", "GETDEL k"],
    "GETDEL of a volatile key": ["SET k v EX 100", "GETDEL k", "EXISTS k", "DBSIZE"],
    "hits and misses": [
        "CONFIG RESETSTAT",
        *("SET k v", "SET k v GET", "SET m v XX GET", "SETNX k v", "GETDEL m", "GETEX k"),
        *("APPEND k v", "SETRANGE k 0 x", "GETRANGE m 0 0", "STRLEN k", "GETSET k 1", "INCR k"),
        *("MGET k m k", "LCS {t}a {t}b", "GETDEL k"),
        mask(r"(?m)(^(?!keyspace_hits:|keyspace_misses:).*\n?)+", "INFO stats"),
    ],
}

OPTIONS: Table = {
    "NX": ["SET k v NX", "SET k w NX", "GET k", "SET k w nX"],
    "XX": ["SET k v XX", "GET k", "SET k v", "SET k w xx", "GET k"],
    "GET": ["SET k v GET", "SET k w GET", "GET k"],
    "NX GET": ["SET k v NX GET", "SET k w NX GET", "GET k"],
    "XX GET": ["SET k v XX GET", "EXISTS k", "SET k v", "SET k w XX GET", "GET k"],
    "KEEPTTL": [
        "SET k v PXAT 9999999999999",
        *("SET k w KEEPTTL", "PEXPIRETIME k", "GET k", "SET k x", "PEXPIRETIME k"),
        *("SET k y keepttl", "PEXPIRETIME k", "SET n v KEEPTTL", "PEXPIRETIME n"),
    ],
    "EXAT": ["SET k v EXAT 9999999999", "EXPIRETIME k", "PEXPIRETIME k", "GET k"],
    "PXAT": ["SET k v PXAT 9999999999999", "EXPIRETIME k", "PEXPIRETIME k", "GET k"],
    "EX": ["SET k v EX 100", near(5000, "PTTL k"), "SET k w ex 200", near(5000, "PTTL k")],
    "PX": ["SET k v PX 100000", near(5000, "PTTL k"), "GET k"],
    "the last of several": [
        *("SET k v EXAT 9999999999 EXAT 8888888888", "EXPIRETIME k"),
        *("SET k v PXAT 1 PXAT 9999999999999", "PEXPIRETIME k"),
        "SET k v PXAT 9999999999999 PXAT x",
    ],
    "an option is a value": ["SET NX XX NX", "GET NX", "SET EX EX GET", "SET k v EX EX"],
    "no such option": [
        *("SET k v PERSIST", "SET k v EXX 1", "SET k v N", "SET k v NXX", "SET k v GET x"),
        *("SET k v IFEQ v", "SET k v 100", 'SET k v ""', "SET k v NX extra", "EXISTS k"),
    ],
    "argument is missing": [
        *(f"SET k v {option}" for option in ("EX", "PX", "EXAT", "PXAT", "NX EX", "GET PX")),
        *("SET k v EX NX", "SET k v EX PX 10", "GETEX k EX", "GETEX k PERSIST EXAT", "EXISTS k"),
    ],
    "errors come before changes": [
        *("SET k v", "SET k w GET EX 0", "SET k w EX x GET", "SET k w NX EX 0", "GET k", "TTL k"),
    ],
    "SETEX": ["SETEX k 100 v", near(5000, "PTTL k"), "GET k", "SETEX k 0 w", "GET k"],
    "PSETEX": ["PSETEX k 100000 v", near(5000, "PTTL k"), "GET k", "PSETEX k -1 w", "GET k"],
    "GETEX": [
        *("SET k v", "GETEX k", "PEXPIRETIME k", "GETEX k EXAT 9999999999", "PEXPIRETIME k"),
        *("GETEX k", "PEXPIRETIME k", "GETEX k pxat 9999999999999", "PEXPIRETIME k"),
        *("GETEX k EX 100", near(5000, "PTTL k"), "GETEX k PX 200000", near(5000, "PTTL k")),
        *("GETEX k PERSIST", "PEXPIRETIME k", "GETEX k persist", "GETEX k PERSIST PERSIST"),
    ],
    "GETEX into the past": [
        *("SET k v", "GETEX k EXAT 1", "EXISTS k", "SET k v", "GETEX k PXAT 1", "EXISTS k"),
    ],
    "GETEX takes no options of SET": [
        "SET k v",
        *(f"GETEX k {o}" for o in ("NX", "XX", "GET", "KEEPTTL", "EX 9 PERSIST", "PX 9 EX 9")),
        "PEXPIRETIME k",
    ],
    "GETEX looks for the key before the time": ["GETEX k EX 0", "SET k v", "GETEX k EX 0"],
}


def expire_edges() -> Iterator[tuple[str, list[Line | Step]]]:
    """Yield a case for each option with a time: every odd number, and what the key has then."""
    seconds = (MAX // 1000, MAX // 1000 + 1, MAX // 1000 - 1_000_000_000, 9_000_000_000_000_000)
    edges = (*INTEGERS, *(b"%d" % n for n in (*seconds, MAX - 1, MAX - 1_000_000_000_000, -5)))
    shown = near(60_000, "PEXPIRETIME k")
    for name in (b"EX", b"PX", b"EXAT", b"PXAT"):
        # 1 and 10 ms or seconds from now: the key may be gone on one server and not on the other.
        for_key = [e for e in edges if name not in (b"EX", b"PX") or e not in (b"1", b"10")]
        after_set = [((b"SET", b"k", b"v", name, e), shown, "DEL k") for e in for_key]
        yield f"SET {name.decode()}", [step for steps in after_set for step in steps]
        after_getex = [("SET k v", (b"GETEX", b"k", name, e), shown) for e in for_key]
        yield f"GETEX {name.decode()}", [step for steps in after_getex for step in steps]
    for name in (b"SETEX", b"PSETEX"):
        steps = [((name, b"k", e, b"v"), shown) for e in edges if e not in (b"1", b"10")]
        yield name.decode(), [step for pair in steps for step in pair]


EXPIRE_EDGES: Table = dict(expire_edges())

ON_EXPIRED: Table = {
    f"{line} finds it expired": Case(
        *("DEBUG SET-ACTIVE-EXPIRE 0", EXPIRED, line, "MGET k", "TTL k"),
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    )
    for line in (
        *("GET k", "SET k w", "SET k w GET", "SET k w NX", "SET k w XX", "SET k w KEEPTTL"),
        *("SETNX k w", "GETSET k w", "GETDEL k", "GETEX k PERSIST", "GETEX k EXAT 9999999999"),
        *("APPEND k w", "SETRANGE k 3 w", "GETRANGE k 0 -1", "STRLEN k", "INCR k", "DECRBY k 4"),
        *("INCRBYFLOAT k 1.5", "MSET j 1 k 2", "MSETNX k 1 k 2", "LCS k k LEN"),
    )
}

SEVERAL: Table = {
    "MGET": ["MSET a 1 b 2 c 3", "MGET a b c", "MGET c nothing a a", "MGET nothing"],
    "MGET finds expired keys": ["SET a 1 PXAT 1", "SET b 2", "MGET a b a"],
    "MGET of a buffer": ["SET a 1", "APPEND a 2", "SETRANGE b 3 x", "MGET a b"],
    "MGET of many": [
        (b"MSET", *(b"key:%d" % (i // 2) for i in range(400))),
        (b"MGET", *(b"key:%d" % i for i in range(250, -1, -1))),
    ],
    "MSET": ["MSET a 1", "MSET a 2 b 3 a 4", "MGET a b", "MSET a b c", "MSET a b c d e", "MGET c"],
    "an odd MSET stores nothing": ["MSET a 1 b 2 c 3 d 4 e", unordered("KEYS *")],
    "MSET ends expires": ["SET a 1 EX 100", "SET b 1 EX 100", "MSET a 2 b 2", "TTL a", "TTL b"],
    "MSET of any bytes": [
        (b"MSET", *(b for pair in zip(BINARY, BINARY[::-1], strict=True) for b in pair)),
        (b"MGET", *BINARY),
    ],
    "MSETNX": [
        *("MSETNX {t}a 1 {t}b 2", "MSETNX {t}c 3 {t}b 4", "MGET {t}a {t}b {t}c", "MSETNX {t}c 3"),
        *("MSETNX {t}x 1 {t}x 2", "GET {t}x", "MSETNX {t}y 1 {t}z", "MSETNX {t}a 1 {t}z"),
    ],
    "MSETNX over expired keys": ["SET {t}a 1 PXAT 1", "MSETNX {t}a 2 {t}b 3", "MGET {t}a {t}b"],
}

APPEND: Table = {
    "makes the key": ["APPEND k v", "GET k", "APPEND k wx", "GET k", "STRLEN k"],
    "nothing": ['APPEND k ""', "EXISTS k", 'APPEND k ""', "GET k"],
    "any bytes": [(b"APPEND", b"k", b) for b in BINARY] + ["GET k", "STRLEN k"],
    "keeps the expire": ["SET k v EXAT 9999999999", "APPEND k w", "EXPIRETIME k", "GET k"],
    "numbers": ["SET k 1", "APPEND k 2", "INCR k", "APPEND k .5", "INCRBYFLOAT k 1", "GET k"],
    "replies are no aliases": [
        *("SET k value", "APPEND k 1", "GET k", "GETRANGE k 0 -1", "APPEND k 2", "GETSET k w"),
        *("APPEND k 3", "SET k x GET", "GET k", "APPEND k y", "SETRANGE k 0 z", "GETDEL k"),
    ],
    "a buffer is replaced": ["SET k v", "APPEND k w", "SET k x", "APPEND k y", "GET k"],
    "a buffer expires and lasts": [
        *("SET k v", "APPEND k w", "GETEX k EXAT 9999999999", "EXPIRETIME k", "APPEND k x"),
        *("EXPIRETIME k", "GETEX k PERSIST", "EXPIRETIME k", "APPEND k y", "SET k z KEEPTTL"),
    ],
}

RANGES: Table = {
    "SETRANGE": ["SET k hello", "SETRANGE k 1 EY", "GET k", "SETRANGE k 4 OOO", "GET k"],
    "SETRANGE fills up": ["SETRANGE k 3 x", "GET k", "SETRANGE k 7 yz", "GET k"],
    "SETRANGE at the end": ["SET k ab", "SETRANGE k 2 cd", "SETRANGE k 5 f", "GET k"],
    "SETRANGE of nothing": [
        *('SETRANGE k 5 ""', "EXISTS k", "SET k v", 'SETRANGE k 5 ""', "GET k"),
        'SETRANGE k 536870912 ""',
    ],
    "SETRANGE keeps the expire": ["SET k v EXAT 9999999999", "SETRANGE k 1 w", "EXPIRETIME k"],
    "SETRANGE of any bytes": [(b"SETRANGE", b"k", b"2", b) for b in BINARY] + ["GET k"],
    "SETRANGE's limit": [
        *(f"SETRANGE k {at} v" for at in (536870912, 536870913, MAX, MAX - 1, -1, MIN)),
        *("SETRANGE k 536870911 vw", 'SETRANGE k -1 ""', "EXISTS k"),
    ],
    "SETRANGE's offset": [  # the large ones exceed the limit before anything is made
        (b"SETRANGE", b"k", at, b"v") for at in INTEGERS
    ]
    + ["GET k"],
    "GETRANGE of a missing key": ["GETRANGE k 0 -1", "GETRANGE k x 0", "GETRANGE k 0 x"],
    "GETRANGE's bounds": ["SET k hello"]
    + [
        f"{name} k {start} {end}"
        for name in ("GETRANGE", "SUBSTR")
        for start, end in product((0, 1, 4, 5, 6, -1, -5, -6, -100, 100, MIN, MAX), repeat=2)
    ],
    "GETRANGE's numbers": ["SET k hello"]
    + [(b"GETRANGE", b"k", n, b"2") for n in INTEGERS]
    + [(b"GETRANGE", b"k", b"2", n) for n in INTEGERS],
    "GETRANGE of an empty string": [
        'SET k ""',
        "GETRANGE k 0 -1",
        "GETRANGE k -1 0",
        "SUBSTR k 0 0",
    ],
    "GETRANGE of a buffer": ["SETRANGE k 3 abc", "GETRANGE k 2 4", "GETRANGE k -2 -1"],
}

NUMBERS: Table = {
    "INCR": ["INCR k", "INCR k", "GET k", "DECR k", "DECR k", "DECR k", "GET k"],
    "INCRBY": ["INCRBY k 5", "INCRBY k -7", "DECRBY k 5", "DECRBY k -9", "INCRBY k 0", "GET k"],
    "the ends of 64 bits": [
        *(f"SET k {MAX}", "INCR k", "INCRBY k 1", "DECRBY k -1", "INCRBY k 0", f"INCRBY k {MIN}"),
        *(f"SET k {MIN}", "DECR k", "INCRBY k -1", "DECRBY k 1", f"DECRBY k {MAX}", "GET k"),
        *(f"SET k {MIN}", f"INCRBY k {MIN}", f"INCRBY k {MAX}", "INCR k"),
        *(f"DECRBY k {MIN}", "SET k -1", f"DECRBY k {MIN}", f"INCRBY k {MIN}", f"DECRBY m {MAX}"),
        *(f"INCRBY n {MIN}", f"INCRBY o {MAX}", f"DECRBY p {MIN}", "EXISTS p"),
    ],
    "odd numbers in the key": [
        step
        for n in INTEGERS
        for step in ((b"SET", b"k", n), "INCR k", "DECR k", "INCRBY k 2", "DECRBY k 3", "GET k")
    ],
    "odd numbers in a buffer": [
        step
        for n in INTEGERS
        for step in ((b"SETRANGE", b"k", b"0", n), "INCR k", "GET k", "DEL k")
    ],
    "odd increments": [
        step
        for n in INTEGERS
        for step in ((b"INCRBY", b"k", n), (b"DECRBY", b"k", n), "GET k", "SET k 1")
    ],
    "the argument is looked at first": ["SET k x", "INCRBY k y", "DECRBY k 1", "INCRBYFLOAT k y"],
    "keep the expire": [
        *("SET k 1 EXAT 9999999999", "INCR k", "EXPIRETIME k", "INCRBYFLOAT k 1", "EXPIRETIME k"),
        *("DECRBY k 9", "EXPIRETIME k", "INCR k extra"),
    ],
    "INCRBYFLOAT": [
        *("INCRBYFLOAT k 1.5", "INCRBYFLOAT k 1.5", "GET k", "INCRBYFLOAT k -3", "GET k"),
        *("INCRBYFLOAT k 5.0e3", "INCRBYFLOAT k 0.1", "INCRBYFLOAT k 0.2", "INCRBYFLOAT k -5000.3"),
        *("SET k 3.0", "INCRBYFLOAT k 1.000000000000000005", "GET k", "INCR k"),
    ],
    "odd decimals in the key": [
        step
        for n in DECIMALS
        for step in ((b"SET", b"k", n), "INCRBYFLOAT k 1", "INCRBYFLOAT k 0.3", "GET k")
    ],
    "odd decimals in a buffer": [
        step
        for n in DECIMALS
        for step in ((b"SETRANGE", b"k", b"0", n), "INCRBYFLOAT k 1", "DEL k")
    ],
    "odd decimals to add": [
        step for n in DECIMALS for step in ((b"INCRBYFLOAT", b"k", n), "SET k 10.5")
    ],
    "beyond the largest": [
        *("INCRBYFLOAT k 1e4000", "INCRBYFLOAT k 1e4000", "STRLEN k", "SET k 1e4932"),
        *("INCRBYFLOAT k 1e4932", "GET k", "SET k -inf", "INCRBYFLOAT k inf", "GET k"),
    ],
}

LCS: Table = {
    "LCS": [
        *("MSET {t}a ohmytext {t}b mynewtext", "LCS {t}a {t}b", "LCS {t}b {t}a", "LCS {t}a {t}a"),
        *("LCS {t}a {t}b LEN", "LCS {t}a {t}b IDX", "LCS {t}a {t}b IDX MINMATCHLEN 4"),
        *("LCS {t}a {t}b idx withmatchlen", "LCS {t}b {t}a MINMATCHLEN 4 WITHMATCHLEN IDX"),
    ],
    "options that mean nothing": [
        *("MSET {t}a abc {t}b bcd", "LCS {t}a {t}b WITHMATCHLEN", "LCS {t}a {t}b MINMATCHLEN 9"),
        *(
            "LCS {t}a {t}b LEN LEN WITHMATCHLEN",
            "LCS {t}a {t}b IDX IDX MINMATCHLEN 1 MINMATCHLEN 3",
        ),
    ],
    "missing and empty": [
        *("LCS {t}a {t}b", "LCS {t}a {t}b LEN", "LCS {t}a {t}b IDX", 'SET {t}a ""', "SET {t}b x"),
        *("LCS {t}a {t}b", "LCS {t}b {t}a IDX", "LCS {t}b {t}c LEN", "LCS {t}b {t}b IDX"),
    ],
    "bad options": [
        *("LCS {t}a {t}b LEN IDX", "LCS {t}a {t}b IDX LEN", "LCS {t}a {t}b bogus"),
        *(
            "LCS {t}a {t}b MINMATCHLEN",
            "LCS {t}a {t}b LEN IDX bogus",
            "LCS {t}a {t}b IDX MINMATCHLEN",
        ),
    ],
    "MINMATCHLEN's number": ["MSET {t}a axbyyczzz {t}b apbqqcrrrzzz"]
    + [(b"LCS", b"{t}a", b"{t}b", b"IDX", b"MINMATCHLEN", n) for n in INTEGERS],
    "bytes": [
        (b"MSET", b"{t}a", bytes(range(256)), b"{t}b", bytes(range(255, -1, -1))),
        *("LCS {t}a {t}b", "LCS {t}b {t}a IDX", "LCS {t}a {t}a IDX WITHMATCHLEN", "APPEND {t}a x"),
        *("LCS {t}a {t}b", "LCS {t}a {t}a LEN"),
    ],
    "too large": [
        (b"MSET", b"{t}a", b"x" * 11_001, b"{t}b", b"x" * 12_300),
        "LCS {t}a {t}b LEN",
    ],
}


@pytest.mark.parametrize("script", cases(ARITY, GET_SET, OPTIONS, EXPIRE_EDGES))
def test_get_and_set(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ON_EXPIRED))
def test_expired_keys(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SEVERAL))
def test_several_keys(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(APPEND, RANGES))
def test_parts(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(NUMBERS))
def test_numbers(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(LCS))
def test_lcs(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("before", ["DEL k", "SET k v", "SET k v EXAT 8888888888"])
def test_options_in_every_order(before: str, compare: Compare) -> None:
    words = ["NX", "xx", "Get", "KEEPTTL", "PERSIST"]
    words += ["EX 100", "exat 9999999999", "PXAT 9999999999999"]
    steps: list[Line | Step] = []
    for chosen in chain(*(permutations(words, n) for n in (1, 2)), combinations(words, 3)):
        options = " ".join(chosen)
        steps += [before, f"SET k w {options}", near(60_000, "PEXPIRETIME k"), "GET k"]
        steps += [before, f"GETEX k {options}", near(60_000, "PEXPIRETIME k")]
    compare(steps)


@pytest.mark.parametrize("seed", range(3))
def test_random_changes(seed: int, compare: Compare) -> None:
    random = Random(seed)
    steps: list[Line | Step] = []
    for _ in range(400):
        key = random.choice([b"a", b"b"])
        size = random.choice([0, 1, 2, 9, 300])
        value = random.randbytes(size)
        start, end = (b"%d" % random.randint(-40, 40) for _ in range(2))
        offset = b"%d" % random.choice([0, 1, random.randint(0, 400), -1])
        steps.append(
            random.choice(
                [
                    (b"APPEND", key, value),
                    (b"APPEND", key, value),
                    (b"SETRANGE", key, offset, value),
                    (b"SETRANGE", key, offset, value),
                    (b"GETRANGE", key, start, end),
                    (b"SUBSTR", key, start, end),
                    (b"GETEX", key, b"EXAT", b"9999999999"),
                    (b"GETEX", key, b"PERSIST"),
                    (b"SET", key, value, *[b"KEEPTTL", b"GET"][: random.randrange(3)]),
                    (b"SET", key, b"%d" % random.randint(-9, 9)),
                    (b"INCRBY", key, b"%d" % random.randint(-9, 9)),
                    (b"GETDEL", key),
                    (b"MSET", b"a", value, b"b", value),
                ]
            )
        )
        steps += ["MGET a b", (b"PEXPIRETIME", key), (b"STRLEN", key)]
    compare(steps)


@pytest.mark.parametrize("seed", range(3))
def test_random_lcs(seed: int, compare: Compare) -> None:
    random = Random(seed)
    steps: list[Line | Step] = []
    for _ in range(150):
        alphabet = random.choice([b"a", b"ab", b"abc", b"abcdefghij", bytes(range(256))])
        first, second = (
            bytes(random.choices(alphabet, k=random.choice([0, 1, 5, 20, 70]))) for _ in range(2)
        )
        least = b"%d" % random.randint(-1, 4)
        keys = (b"{t}a", b"{t}b")
        steps += [
            (b"MSET", keys[0], first, keys[1], second),
            (b"LCS", *keys),
            (b"LCS", *keys, b"LEN"),
            (b"LCS", *keys, b"IDX"),
            (b"LCS", *keys, b"MINMATCHLEN", least, b"IDX", b"WITHMATCHLEN"),
        ]
    compare(steps)
