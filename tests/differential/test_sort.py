"""SORT and SORT_RO beside redis-server: tables, and random programs from fixed seeds."""

from collections.abc import Iterator
from itertools import permutations, product
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases, mask, unordered

MIN, MAX = -(1 << 63), (1 << 63) - 1

# What might be taken for an integer, and mostly is none.
INTEGERS = (
    *(b"%d" % n for n in (0, 1, -1, 2, 10, MAX, MIN, MAX + 1, MIN - 1, 1 << 31, -(1 << 32))),
    *(b"-0", b"+1", b"01", b" 1", b"1 ", b"1\x00", b"", b"-", b"1.0", b"1e3", b"0x10", b"ten"),
)
# What might be taken for a score.
SCORES = (
    *(b"1", b" 1", b"1 ", b"\t1", b"\n1", b"1\x00x", b"", b"\x00", b"\x001", b"-", b"+", b"."),
    *(b"0x10", b"0X1p2", b"0x", b"1e5", b"1E+2", b"1e-2", b"1e", b"1e+", b"e5", b"1e5.5", b".5e1"),
    *(b"inf", b"-inf", b"+inf", b"INF", b"infinity", b"-Infinity", b"infinit", b"nan", b"-nan"),
    *(
        b"nan(1)",
        b"1e400",
        b"-1e400",
        b"1e-400",
        b"-1e-400",
        b"4.9e-324",
        b"1e-310",
        b"-0",
        b"-0.0",
    ),
    *(
        b"1.5",
        b"-1.5",
        b".5",
        b"-.5",
        b"5.",
        b"+1",
        b"+.5",
        b"--1",
        b"+-1",
        b"1_0",
        b"1,5",
        b"1.5.5",
    ),
    *(b"abc", b"1f", b"1d", b"1" * 400, b"0" * 400, b"0." + b"1" * 400, b"x" * 300, b"\xff"),
    *(b"\xd9\xa1", b"9007199254740993", b"%d" % MAX, b"%d" % MIN, b"%d" % (1 << 64), b"1;", b"1\n"),
)

LISTS: Table = {
    "SORT with any number of arguments": ["SORT", *(f"SORT {{t}}k{' x' * n}" for n in range(6))],
    "SORT_RO with any number of arguments": [
        "SORT_RO",
        "SORT_RO k",
        "SORT_RO k x",
        "SORT_RO k x y",
    ],
    "missing key": [
        *("SORT k", "SORT k ALPHA", "SORT k BY x* GET #", "SORT k LIMIT 0 1", "SORT_RO k"),
        *(
            "SORT {t}k STORE {t}d",
            "EXISTS {t}d",
            "SET {t}d v",
            "SORT {t}k STORE {t}d",
            "EXISTS {t}d",
        ),
    ],
    "numbers": [
        *("RPUSH k 3 1 2 10 -5 2.5 1e1 -0 0", "SORT k", "SORT k ASC", "SORT k DESC", "SORT k asc"),
        *(
            "SORT k DESC ASC",
            "SORT k ASC DESC",
            "SORT_RO k DESC",
            "SORT k ALPHA",
            "SORT k alpha desc",
        ),
    ],
    "equal scores": [
        *("RPUSH k 1.0 1 1.00 01 1e0 +1", "SORT k", "SORT k DESC", "SORT k LIMIT 1 3"),
        f"RPUSH l 9007199254740993 9007199254740992 {MAX} {MAX - 1} {MIN} 9007199254740992.0",
        *("SORT l", "SORT l DESC"),
    ],
    "texts": [
        *("RPUSH k banana apple Cherry apple10 apple9 Banana _x", "SORT k ALPHA", "SORT k"),
        *(
            "SORT k ALPHA DESC",
            "SORT k ALPHA LIMIT 2 3",
            "SORT k DESC ALPHA LIMIT 0 2",
            "SORT k DESC",
        ),
    ],
    "any bytes": [
        (
            b"RPUSH",
            b"{t}k",
            b"a\x00z",
            b"a\x00b",
            b"a",
            b"b",
            b"\xff",
            b"\x80",
            b"A",
            b"a\x00",
            b"",
            b"\r\n",
        ),
        *("SORT {t}k ALPHA", "SORT {t}k ALPHA DESC", "SORT {t}k ALPHA LIMIT 1 4"),
        *("SORT {t}k ALPHA STORE {t}d", "LRANGE {t}d 0 -1", "SORT {t}k ALPHA DESC STORE {t}d"),
        *("LRANGE {t}d 0 -1", "SORT {t}k BY nosort", "SORT {t}k"),
    ],
    "a wrong type": [
        *("SET {t}k v", "SORT {t}k", "SORT_RO {t}k", "SORT {t}k x", "SORT {t}k LIMIT x y"),
        *("SORT {t}k STORE {t}d", "HSET {t}h f v", "SORT {t}h", "SORT {t}h BY nosort", "GET {t}k"),
        *("RPUSH {t}l 1", "GET {t}l", "SORT {t}l STORE {t}k", "LRANGE {t}k 0 -1"),
    ],
    "expired": Case(
        *("DEBUG SET-ACTIVE-EXPIRE 0", "RPUSH {t}k 2 1", "MSET {t}w_1 5 {t}w_2 3"),
        *(
            "SET {t}w_1 5 PXAT 1",
            "SORT {t}k BY {t}w_* GET {t}w_*",
            "EXISTS {t}w_1",
            "PEXPIRE {t}k 1",
        ),
        *(
            "DEBUG SLEEP 0.005",
            "SORT {t}k",
            "SET {t}d v PXAT 1",
            "SORT {t}k STORE {t}d",
            "EXISTS {t}d",
        ),
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    ),
    "hits and misses": [
        *("RPUSH {t}k 1 2", "SET {t}w_1 5", "HSET {t}h_2 f 1", "CONFIG RESETSTAT", "SORT {t}k"),
        *(
            "SORT {t}k BY {t}w_*",
            "SORT {t}k BY {t}h_*->f GET {t}w_* GET # GET {t}h_*->g",
            "SORT {t}n",
        ),
        *("SORT {t}k BY nosort STORE {t}n", "SET {t}w_2 x", "SORT {t}k BY {t}w_*"),
        mask(r"(?m)(^(?!keyspace_hits:|keyspace_misses:).*\n?)+", "INFO stats"),
    ],
}

SCORE_TEXTS: Table = {
    f"the score {text[:20]!r}": [
        *((b"RPUSH", b"{t}k", text, b"0.25"), "SORT {t}k", "SORT {t}k DESC", "SORT {t}k LIMIT 0 1"),
        *((b"MSET", b"{t}w1", text, b"{t}w2", b"0.25"), "RPUSH {t}l 1 2 3", "SORT {t}l BY {t}w*"),
        *("SORT {t}l BY {t}w* DESC GET {t}w*", (b"SADD", b"{t}s", text, b"0.25"), "SORT {t}s"),
    ]
    for text in SCORES
}

LIMITS: Table = {
    "LIMIT's range": ["RPUSH k 3 1 2", "SADD s 3 1 2", "ZADD z 1 3 2 1 3 2"]
    + [
        f"SORT {key} LIMIT {start} {count}{by}"
        for key in "ksz"
        for start, count in product((0, 1, 2, 3, 9, -1, -9, MAX, MIN), repeat=2)
        for by in ("", " BY nosort", " BY nosort DESC")
        if key != "s" or not by
    ],
    "LIMIT's numbers": ["RPUSH k 3 1 2"]
    + [(b"SORT", b"k", b"LIMIT", n, b"2") for n in INTEGERS]
    + [(b"SORT", b"k", b"LIMIT", b"1", n) for n in INTEGERS],
    "LIMIT of nothing": [
        *("SORT k LIMIT 0 0", "SORT k LIMIT 5 5 BY nosort", "RPUSH k a b", "SORT k LIMIT 0 0"),
        *("SORT k LIMIT 9 9", "SORT k LIMIT 0 0 ALPHA", "SORT {t}k LIMIT 0 0 ALPHA STORE {t}k"),
    ],
    "the last LIMIT counts": [
        "RPUSH k 3 1 2",
        "SORT k LIMIT 0 1 LIMIT 1 2",
        "SORT k LIMIT 0 1 LIMIT x",
    ],
}

PATTERNS: Table = {
    "BY": [
        *("RPUSH {t}k 1 2 3 4", "MSET {t}w_1 30 {t}w_2 10 {t}w_3 20", "SORT {t}k BY {t}w_*"),
        *(
            "SORT {t}k BY {t}w_* DESC",
            "SORT {t}k BY {t}w_* ALPHA",
            "SORT {t}k BY {t}w_* ALPHA DESC",
        ),
        *("SORT {t}k BY {t}w_* LIMIT 1 2", "SORT {t}k BY {t}x_*", "SORT {t}k BY {t}x_* DESC"),
        *("SORT {t}k BY {t}w_* ASC GET # GET {t}w_*", "SET {t}w_4 x", "SORT {t}k BY {t}w_*"),
        *(
            "SORT {t}k BY {t}w_* GET #",
            "SORT {t}k BY {t}w_* LIMIT 0 0",
            "SORT {t}k BY {t}w_* ALPHA",
        ),
    ],
    "BY without a star": [
        *("RPUSH {t}k 3 1 2", "SORT {t}k BY nosort", "SORT {t}k BY nosort DESC", "SORT {t}k BY #"),
        *('SORT {t}k BY ""', "SORT {t}k BY {t}w_*->f", "SORT {t}k BY nosort BY {t}w_*"),
        *("SORT {t}k BY {t}w_* BY nosort", "SORT {t}k BY nosort ALPHA", "SORT {t}k BY h->f DESC"),
        *("SORT {t}k BY nosort STORE {t}d", "LRANGE {t}d 0 -1", "SORT_RO {t}k BY nosort LIMIT 1 1"),
        *(
            "SORT {t}k BY nosort DESC STORE {t}d",
            "LRANGE {t}d 0 -1",
            (b"SORT", b"{t}k", b"BY", b"x\0*"),
        ),
    ],
    "GET": [
        *("RPUSH {t}k 3 1 2", "MSET {t}w_1 a {t}w_3 c", "SORT {t}k GET {t}w_*", "SORT {t}k GET #"),
        *(
            "SORT {t}k GET # GET {t}w_* GET # GET {t}x_*",
            "SORT {t}k GET nostar",
            'SORT {t}k GET ""',
        ),
        *(
            "SORT {t}k GET {t}w_* LIMIT 1 1 DESC",
            "SORT {t}k GET {t}w_* STORE {t}d",
            "LRANGE {t}d 0 -1",
        ),
        *("SORT {t}k GET {t}k*", "SORT {t}k GET ##", (b"SORT", b"{t}k", b"GET", b"#\0x")),
        *((b"SORT", b"{t}k", b"GET", b"x\0*"), "SORT_RO {t}k GET {t}w_* BY nosort"),
        *(
            "SETRANGE {t}w_2 0 xyz",
            "APPEND {t}w_1 q",
            "SORT {t}k GET {t}w_* BY nosort",
            "SET {t}w_2 7",
        ),
        "SORT {t}k GET {t}w_* GET {t}w_*",
    ],
    "fields": [
        *("RPUSH {t}k 1 2 3", "HSET {t}h_1 f 9 g a", "HSET {t}h_2 f 8", "SET {t}h_3 v"),
        *("SORT {t}k BY {t}h_*->f", "SORT {t}k BY {t}h_*->g", "SORT {t}k BY {t}h_*->g ALPHA"),
        *("SORT {t}k GET {t}h_*->f GET {t}h_*->g GET {t}h_* GET {t}h_*->", "SORT {t}k GET {t}*->f"),
        *("SORT {t}k BY {t}h_*->f GET # STORE {t}d", "LRANGE {t}d 0 -1", "SORT {t}k BY {t}k*->f"),
    ],
    "odd patterns": [
        *("RPUSH {t}k 1 2", "SET {t}w1-> v", "SET {t}w1->f v", "HSET {t}w2 ->f x f->g y -> z f* q"),
        *("SORT {t}k GET {t}w*->", "SORT {t}k GET {t}w*->f->g", "SORT {t}k GET {t}w*->->f"),
        *(
            "SORT {t}k GET {t}w*->->",
            "SORT {t}k GET {t}w*->f*",
            "SET {t}a->1 v",
            "SORT {t}k GET {t}a->*",
        ),
        *("SET {t}b1* v", "SORT {t}k GET {t}b**", "HSET {t}c1x f v", "SORT {t}k GET {t}c*x->f"),
        *("SET {t}d1- v", "SORT {t}k GET {t}d*-", "SET {t}d1> v", "SORT {t}k GET {t}d*>"),
        (b"HSET", b"{t}e1\0", b"f\0g", b"v"),
        *((b"SORT", b"{t}k", b"GET", p) for p in (b"{t}e*\0->f\0g", b"{t}e*\0->f", b"{t}e*->f\0g")),
        *((b"HSET", b"{t}f1", b"f\0g", b"v"), (b"SORT", b"{t}k", b"GET", b"{t}f*->f\0g")),
        *((b"SET", b"{t}g1\0", b"v"), (b"SORT", b"{t}k", b"GET", b"{t}g*\0")),
        (b"SORT", b"{t}k", b"GET", b"{t}f*->\0"),
    ],
    "weights of any bytes": [
        *("RPUSH {t}k 1 2 3 4 5", (b"MSET", b"{t}w1", b"b\0z", b"{t}w2", b"b\0a", b"{t}w3", b"b")),
        *((b"MSET", b"{t}w4", b""), "SORT {t}k BY {t}w* ALPHA", "SORT {t}k BY {t}w* ALPHA DESC"),
        *("SORT {t}k BY {t}w* ALPHA STORE {t}d", "LRANGE {t}d 0 -1"),
        *("SORT {t}k BY {t}w* ALPHA DESC STORE {t}d", "LRANGE {t}d 0 -1", "SORT {t}k BY {t}w*"),
        (b"SADD", b"{t}s", b"\r\n", b"\0", b"\xff"),
        *((b"SET", b"{t}w" + element, b"v" + element) for element in (b"\r\n", b"\0", b"\xff")),
        "SORT {t}s ALPHA BY {t}w* GET {t}w* GET #",
    ],
    "a field that expired": Case(
        *("DEBUG SET-ACTIVE-EXPIRE 0", "RPUSH {t}k 1 2", "HSET {t}h1 f 5 g 6", "HSET {t}h2 f 5"),
        *("HPEXPIRE {t}h1 1 FIELDS 1 f", "HPEXPIRE {t}h2 1 FIELDS 1 f", "DEBUG SLEEP 0.005"),
        *("SORT {t}k GET {t}h*->f GET {t}h*->g", "EXISTS {t}h1 {t}h2", "HLEN {t}h1"),
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    ),
}

TYPES: Table = {
    "sets": [
        *(
            "SADD {t}i 3 1 2 10",
            "SADD {t}p b c 3 a",
            "SORT {t}i",
            "SORT {t}i DESC",
            "SORT {t}p ALPHA",
        ),
        *("SORT {t}p", "SORT {t}i BY nosort", "SORT {t}i BY nosort DESC", "SORT {t}p BY nosort"),
        *(
            "SORT {t}p BY nosort DESC LIMIT 1 2",
            "SORT {t}i BY nosort STORE {t}d",
            "LRANGE {t}d 0 -1",
        ),
        *("SORT {t}p BY nosort DESC STORE {t}d", "LRANGE {t}d 0 -1", "SORT {t}i ALPHA DESC"),
        *("SORT {t}i BY nosort DESC STORE {t}d LIMIT 1 2", "LRANGE {t}d 0 -1"),
        (b"SADD", b"{t}h", *(b"m%d" % n for n in range(300))),
        *("SORT {t}h ALPHA", "SORT {t}h ALPHA DESC LIMIT 5 10", unordered("SORT {t}h BY nosort")),
        *("SORT {t}h BY nosort STORE {t}d", "LRANGE {t}d 0 -1", "OBJECT ENCODING {t}i"),
    ],
    "sorted sets": [
        *(
            "ZADD z 3 a 1 b 2 c 2 d",
            "OBJECT ENCODING z",
            "SORT z ALPHA",
            "OBJECT ENCODING z",
            "SORT z",
        ),
        *("SORT z BY nosort", "SORT z BY nosort DESC", "SORT z BY nosort LIMIT 1 2"),
        *(
            "SORT z BY nosort DESC LIMIT 1 2",
            "SORT z BY nosort LIMIT 1 -1 DESC",
            "SORT z ALPHA DESC",
        ),
        *("ZADD y 3 1 1 3 2 2", "SORT y", "SORT y DESC LIMIT 0 2", "SORT y BY nosort DESC GET #"),
    ],
    "sorted sets, stored": [
        *("ZADD {t}z 3 a 1 b 2 c", "SORT {t}z BY nosort STORE {t}d", "LRANGE {t}d 0 -1"),
        *(
            "SORT {t}z BY nosort DESC STORE {t}d LIMIT 0 2",
            "LRANGE {t}d 0 -1",
            "MSET {t}wa 1 {t}wb 3",
        ),
        *(
            "SORT {t}z BY {t}w* GET {t}w* GET #",
            "SORT {t}z BY {t}w* STORE {t}z",
            "LRANGE {t}z 0 -1",
        ),
    ],
    "SORT makes a skiplist": [
        *(
            "ZADD a 1 1",
            "SORT a x",
            "OBJECT ENCODING a",
            "SORT a",
            "OBJECT ENCODING a",
            "ZADD b 1 x",
        ),
        *("SORT b", "OBJECT ENCODING b", "ZADD c 1 1", "SORT_RO c BY nosort", "OBJECT ENCODING c"),
        *("ZADD d 1 1", "SORT d LIMIT 5 5", "OBJECT ENCODING d", "ZADD d 2 2", "ZRANGE d 0 -1"),
    ],
    "large lists": [
        (b"RPUSH", b"k", *(b"%d" % (n * 7919 % 5003) for n in range(3000))),
        *("SORT k", "SORT k DESC LIMIT 10 20", "SORT k BY nosort LIMIT 1000 50"),
        *(
            "SORT k BY nosort DESC LIMIT 1000 50",
            "SORT k ALPHA LIMIT 2990 100",
            "SORT k BY nosort DESC",
        ),
    ],
}

STORES: Table = {
    "STORE": [
        *(
            "RPUSH {t}k 3 1 2",
            "SORT {t}k STORE {t}d",
            "LRANGE {t}d 0 -1",
            "TYPE {t}d",
            "SET {t}d v EX 99",
        ),
        *("SORT {t}k DESC STORE {t}d", "LRANGE {t}d 0 -1", "TTL {t}d", "SORT {t}k STORE {t}k"),
        *(
            "LRANGE {t}k 0 -1",
            "SORT {t}k LIMIT 9 9 STORE {t}d",
            "EXISTS {t}d",
            "OBJECT ENCODING {t}k",
        ),
        *("SORT {t}k LIMIT 9 9 STORE {t}d", "SORT {t}k STORE {t}d STORE {t}e", "EXISTS {t}d {t}e"),
        *(
            "RPUSH {t}k x",
            "SORT {t}k STORE {t}e",
            "LRANGE {t}e 0 -1",
            "SORT {t}k STORE {t}k LIMIT 9 9",
        ),
    ],
    "SORT_RO stores nothing": ["RPUSH {t}k 1", "SORT_RO {t}k STORE {t}d", "SORT_RO {t}k STORE"],
    "a large result": [
        (b"RPUSH", b"{t}k", *(b"%d" % (n % 97) for n in range(2500)), b"5" * 3000),
        *("SORT {t}k STORE {t}d", "OBJECT ENCODING {t}d", "LLEN {t}d", "LRANGE {t}d 0 -1"),
        *(
            "SORT {t}k LIMIT 0 50 STORE {t}d",
            "OBJECT ENCODING {t}d",
            "SORT {t}k DESC LIMIT 0 1 STORE {t}d",
        ),
        *("OBJECT ENCODING {t}d", "SORT {t}k GET {t}x* LIMIT 0 1500 STORE {t}d", "LINDEX {t}d -1"),
    ],
}

SYNTAX: Table = {
    "arguments are missing": [
        "RPUSH {t}k 1",
        *(
            f"SORT {{t}}k {words}"
            for words in ("LIMIT", "LIMIT 0", "BY", "GET", "STORE", "ALPHA BY")
        ),
        *(
            "SORT {t}k LIMIT LIMIT 0",
            "SORT {t}k BY BY",
            "SORT {t}k GET GET",
            "SORT {t}k x",
            'SORT {t}k ""',
        ),
        *(
            "SORT {t}k LIMIT 0 1 2",
            "SORT {t}k GET # LIMIT x",
            "SORT {t}k LIMIT x 0 y",
            "SORT {t}k NOSORT",
        ),
        *(
            "SORT {t}k BY STORE STORE {t}d",
            "LRANGE {t}d 0 -1",
            "SORT {t}k STORE {t}d x",
            "SORT {t}k #",
        ),
    ],
    "GETKEYS": [
        f"COMMAND GETKEYS {line}"
        for line in (
            *("SORT", "SORT k", "SORT k STORE d", "SORT k STORE d STORE e", "SORT k BY STORE d"),
            *(
                "SORT k BY x LIMIT STORE d STORE f",
                "SORT k BY w_* GET STORE STORE d",
                "SORT k STORE",
            ),
            *(
                "SORT k LIMIT 1 STORE STORE d",
                "SORT k LIMIT 1 2 store d",
                "SORT STORE d",
                "SORT STORE",
            ),
            *("SORT k xx STORE d", "SORT k STORE STORE d", "SORT k GET a GET STORE d", "SORT_RO"),
            *(
                "SORT k STORE a BY STORE b STORE c",
                "SORT_RO k",
                "SORT_RO k STORE d",
                "SORT k LIMIT",
            ),
        )
    ],
    "GETKEYSANDFLAGS": [
        *("COMMAND GETKEYSANDFLAGS SORT k", "COMMAND GETKEYSANDFLAGS SORT k STORE d ALPHA"),
        "COMMAND GETKEYSANDFLAGS SORT_RO k BY x*",
    ],
}


def _orders() -> Iterator[str]:
    """Yield options in every order."""
    for count in range(1, 5):
        for chosen in permutations(("DESC", "alpha", "Limit 1 2", "BY {t}w*", "get #"), count):
            yield " ".join(chosen)


@pytest.mark.parametrize("script", cases(LISTS, SYNTAX))
def test_sort(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SCORE_TEXTS))
def test_scores(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(LIMITS, PATTERNS))
def test_options(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(TYPES, STORES))
def test_types_and_results(script: Case, compare: Compare) -> None:
    compare(script)


def test_options_in_every_order(compare: Compare) -> None:
    compare(
        [
            *("RPUSH {t}k 10 9 1 100", "MSET {t}w10 4 {t}w9 3 {t}w1 2 {t}w100 1"),
            *(f"SORT {{t}}k {options}" for options in _orders()),
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_random_programs(seed: int, compare: Compare) -> None:
    random = Random(seed)
    steps: list[Line | Step] = []
    # By the weights of these patterns no two elements are equal, or their texts decide.
    weights = [b"nosort", b"{t}w*", b"{t}h*->f", b"{t}x*"]
    for _ in range(300):
        element = b"%d" % random.randrange(30)
        number = random.choice([b"%d" % random.randrange(99), b"%.2f" % random.uniform(-9, 9)])
        key = random.choice([b"{t}l", b"{t}s", b"{t}z"])
        steps.append(
            random.choice(
                [
                    (b"RPUSH", b"{t}l", element, number),
                    (b"SADD", b"{t}s", element, number),
                    (b"ZADD", b"{t}z", number, element),
                    (b"SET", b"{t}w" + element, number),
                    (b"HSET", b"{t}h" + element, b"f", number),
                    (b"DEL", random.choice([key, b"{t}w" + element, b"{t}h" + element])),
                ]
            )
        )
        by = random.choice(weights)
        argv = [b"SORT", key]
        if random.random() < 0.5:
            argv += [b"BY", by]
            if by == b"nosort" and key == b"{t}s":
                argv += [b"STORE", b"{t}d"]  # a large set has no order
        elif random.random() < 0.3:
            argv.append(b"ALPHA")
        if random.random() < 0.4:
            argv += [b"LIMIT", b"%d" % random.randrange(-1, 9), b"%d" % random.randrange(-1, 9)]
        argv += random.choice(
            [[], [b"DESC"], [b"GET", b"#", b"GET", b"{t}w*", b"GET", b"{t}h*->f"]]
        )
        argv += random.choice([[], [], [b"STORE", b"{t}d"]])
        steps += [tuple(argv), "LRANGE {t}d 0 -1", "OBJECT ENCODING {t}d"]
    compare(steps)
