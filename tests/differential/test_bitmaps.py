"""The commands of bitmaps beside redis-server: tables, and random programs from fixed seeds."""

from itertools import permutations, product
from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases

MIN, MAX = -(1 << 63), (1 << 63) - 1

INTEGERS = (
    *(b"%d" % n for n in (0, 1, -1, 7, 8, 100, MAX, MIN, MAX + 1, MIN - 1, 1 << 64)),
    *(b"-0", b"+1", b"01", b" 1", b"1 ", b"1\x00", b"", b"1.0", b"0x1", b"ten", b"\xff", b"1" * 40),
)
# Around the last bit of the longest string.
OFFSETS = (*INTEGERS, *(b"%d" % n for n in (4294967295, 4294967296, 4294967297)))
BINARY = (b"", b"\x00", b"\r\n", b"\xff\xfe\x00\x80", bytes(range(256)))
# An expired key that active expiry must not remove before the command does.
EXPIRED = "SET {t}k abc PXAT 1"


def lines(*items: Line) -> tuple[Line, ...]:
    """Return the lines, for mypy's sake with the type that a table has."""
    return items


ARITY: Table = {
    f"{name} with any number of arguments": [
        " ".join([name, *["{t}k", "{t}l", "{t}m", "{t}n", "{t}o", "{t}p"][:n]]) for n in range(7)
    ]
    for name in (
        *("SETBIT", "GETBIT", "BITCOUNT", "BITPOS", "BITFIELD", "BITFIELD_RO", "BITOP"),
        *("BITOP AND", "BITOP NOT", "BITOP DIFF", "BITOP ONE", "BITOP WHAT", "BITFIELD {t}k GET"),
        *("BITFIELD {t}k SET", "BITFIELD {t}k OVERFLOW", "BITFIELD_RO {t}k GET"),
    )
}

WRONG_TYPE: Table = {
    "a list, and which error comes first": [
        "RPUSH {t}l v",
        *("SETBIT {t}l 1 1", "SETBIT {t}l x 1", "SETBIT {t}l 1 2", "SETBIT {t}l x 2"),
        *(
            "GETBIT {t}l 1",
            "GETBIT {t}l x",
            "BITCOUNT {t}l",
            "BITCOUNT {t}l 1",
            "BITCOUNT {t}l 1 x",
        ),
        *("BITCOUNT {t}l 1 2", "BITCOUNT {t}l 1 2 WHAT", "BITCOUNT {t}l x 2 WHAT"),
        *("BITPOS {t}l 1", "BITPOS {t}l 2", "BITPOS {t}l x", "BITPOS {t}l 2 x", "BITPOS {t}l 1 x"),
        *("BITPOS {t}l 1 1 2 WHAT", "BITPOS {t}l 1 1 x WHAT", "BITPOS {t}l 1 x 1 WHAT"),
        *("BITPOS {t}l 2 x 1 WHAT", "BITPOS {t}l 1 1 1 BIT 1", "BITPOS {t}l 2 1 1 BIT 1"),
        *("BITOP AND {t}d {t}l", "BITOP NOT {t}d {t}l {t}l", "BITOP DIFF {t}d {t}l"),
        *("BITOP AND {t}d {t}missing {t}l", "BITOP WHAT {t}d {t}l", "EXISTS {t}d"),
        *("BITFIELD {t}l", "BITFIELD {t}l GET u8 0", "BITFIELD {t}l SET u8 0 1"),
        *("BITFIELD {t}l SET u8 0 x", "BITFIELD {t}l GET u8 0 WHAT", "BITFIELD_RO {t}l"),
        *("BITFIELD_RO {t}l GET u8 0", "BITFIELD_RO {t}l SET u8 0 1", "BITFIELD_RO {t}l SET u8 0"),
        *("LRANGE {t}l 0 -1", "BITOP OR {t}l {t}missing", "EXISTS {t}l"),
    ],
    "the destination may be a list": [
        *("RPUSH {t}l v", "SET {t}s abc", "BITOP NOT {t}l {t}s", "TYPE {t}l", "GET {t}l"),
    ],
}

SINGLE: Table = {
    "offsets": [
        "SET k ab",
        *[(b"GETBIT", b"k", arg) for arg in OFFSETS],
    ],
    "offsets of SETBIT": [
        step
        for arg in OFFSETS
        if len(arg) < 10 or arg in (b"4294967296", b"4294967297")
        for step in lines((b"SETBIT", b"k", arg, b"1"), "STRLEN k")
    ],
    "bits": [(b"SETBIT", b"k", b"3", arg) for arg in (*INTEGERS, b"2")],
    "every bit of two bytes": [
        "SET k abc",
        *[f"GETBIT k {at}" for at in range(26)],
        *[step for at in range(20) for step in (f"SETBIT k {at} {at % 3 & 1}", "GET k")],
    ],
    "SETBIT makes and lengthens": [
        *("SETBIT k 9 0", "GET k", "SETBIT k 30 1", "GET k", "SETBIT k 31 0", "GET k"),
        *("SETBIT k 100 0", "STRLEN k", "SETBIT k 1000000 1", "STRLEN k", "BITCOUNT k"),
    ],
    "encodings": [
        *("SET k 1", "GETBIT k 2", "OBJECT ENCODING k", "SETBIT k 0 0", "OBJECT ENCODING k"),
        *("SET k short", "SETBIT k 0 0", "OBJECT ENCODING k", "GET k", "SETBIT n 1 1"),
        *("OBJECT ENCODING n", "SET k 12", "SETBIT k 9 1", "GET k", "OBJECT ENCODING k", "INCR k"),
    ],
    "SETBIT keeps the expire": ["SET k a EXAT 9999999999", "SETBIT k 20 1", "EXPIRETIME k"],
    "expired": [EXPIRED, "GETBIT {t}k 1", EXPIRED, "SETBIT {t}k 1 1", "GET {t}k", "TTL {t}k"],
    "binary keys": [
        step
        for key in BINARY
        for step in lines((b"SETBIT", key, b"5", b"1"), (b"GETBIT", key, b"5"), (b"BITCOUNT", key))
    ],
    "a reply is no alias": ["APPEND k a", "SETBIT k 1 0", "GET k", "APPEND k b", "GET k"],
    "COPY and RENAME after SETBIT": [
        *("SETBIT {t}k 1 1", "COPY {t}k {t}c", "SETBIT {t}k 2 1", "GET {t}c", "RENAME {t}k {t}r"),
        *("SETBIT {t}r 3 1", "GET {t}r", "GETRANGE {t}r 0 -1", "SETRANGE {t}r 3 x", "GET {t}r"),
    ],
}

# Long runs of equal bytes, around the sizes that are compared at once.
_LONG = [
    (b"\x00" * n + tail, b"\xff" * n + other)
    for n in (255, 256, 257, 4095, 4096, 65535, 65536, 70001)
    for tail, other in ((b"", b""), (b"\x01", b"\xfe"), (b"\x80\x00", b"\x7f\xff"))
]
_INDEXES = (0, 1, 2, 3, 5, 6, -1, -2, -3, -4, -7, 100, -100, MAX, MIN)

RANGES: Table = {
    "missing": [
        f"{line} {rest}"
        for line in ("BITCOUNT k", "BITPOS k 0", "BITPOS k 1")
        for rest in ("", "0 -1", "0 -1 BIT", "0 0", "1 2 byte", "-1 -2", "5 5 BIT")
    ],
    "empty": [
        'SET k ""',
        *[
            f"{line} {rest}"
            for line in ("BITCOUNT k", "BITPOS k 0", "BITPOS k 1")
            for rest in ("", "0 -1", "0 -1 BIT", "0 0", "1 2 byte", "-1 -2", "5 5 BIT")
        ],
        *("BITPOS k 0 0", "BITPOS k 1 0", "BITPOS k 0 -1"),
    ],
    "BITCOUNT of ranges": [
        (b"SET", b"k", b"\xff\x00\x0f\xf0\xaa\x55"),
        "BITCOUNT k",
        *[
            f"BITCOUNT k {start} {end} {unit}"
            for start, end, unit in product(_INDEXES, _INDEXES, ("", "BYTE", "bit"))
        ],
    ],
    "BITPOS of ranges": [
        step
        for value in (b"\x00\xff\xf0", b"\xff\x00\x0f", b"\x00" * 3, b"\xff" * 3, b"\x00\x08\x00")
        for step in lines(
            (b"SET", b"k", value),
            *[f"BITPOS k {bit} {start}" for bit in (0, 1) for start in ("", *_INDEXES)],
            *[
                f"BITPOS k {bit} {start} {end} {unit}"
                for bit, start, end, unit in product((0, 1), _INDEXES, _INDEXES, ("", "bYTE"))
            ],
        )
    ],
    "BITPOS of bit ranges": [
        step
        for value in (b"\x00\xff\xf0", b"\xff\x00\x0f", b"\x00" * 3, b"\xff" * 3, b"\x00\x08\x00")
        for step in lines(
            (b"SET", b"k", value),
            *[
                f"BITPOS k {bit} {start} {end} BIT"
                for bit, start, end in product((0, 1), (0, 3, 8, 13, -1, -9), range(-25, 26, 3))
            ],
        )
    ],
    "long ones": [
        step
        for pair in _LONG
        for value in pair
        for step in lines(
            (b"SET", b"k", value),
            *("BITCOUNT k", "BITPOS k 0", "BITPOS k 1", "BITCOUNT k 100 -100 BIT"),
            *("BITPOS k 0 1 -2", "BITPOS k 1 1 -2", "BITPOS k 0 3 -1 BIT", "BITPOS k 1 3 -2 BIT"),
        )
    ],
    "numbers": [
        step
        for arg in INTEGERS
        for step in lines(
            (b"BITCOUNT", b"k", arg, b"-1"),
            (b"BITCOUNT", b"k", b"0", arg),
            (b"BITCOUNT", b"k", b"0", b"1", arg),
            (b"BITPOS", b"k", arg),
            (b"BITPOS", b"k", b"1", arg),
            (b"BITPOS", b"k", b"1", b"0", arg),
            (b"BITPOS", b"k", b"1", b"0", b"1", arg),
        )
    ],
    "expired": [EXPIRED, "BITCOUNT {t}k", EXPIRED, "BITPOS {t}k 0", "EXISTS {t}k"],
    "of an integer": ["SET k 12", "BITCOUNT k", "BITPOS k 1", "OBJECT ENCODING k"],
}

_OPERATIONS = ("AND", "or", "Xor", "NOT", "DIFF", "diff1", "AndOr", "ONE")
_SOURCES = ("{t}a", "{t}b", "{t}c", "{t}missing", "{t}a {t}b", "{t}a {t}a", "{t}c {t}a")
_MORE_SOURCES = ("{t}a {t}missing", "{t}missing {t}a", "{t}missing {t}missing", "{t}a {t}b {t}c")

BITOP: Table = {
    "operations": [
        (b"MSET", b"{t}a", b"\xff\x0f\xaa", b"{t}b", b"\x3c\xf0", b"{t}c", b"\x55\x33\x99\x01\x80"),
        *[
            step
            for operation in _OPERATIONS
            for sources in (*_SOURCES, *_MORE_SOURCES, "{t}d {t}a {t}b {t}c")
            for step in (f"BITOP {operation} {{t}}d {sources}", "GET {t}d")
        ],
    ],
    "names end at a NUL": [
        *("SET {t}a v", 'BITOP "OR\\x00X" {t}d {t}a', 'BITCOUNT {t}a 0 3 "BIT\\x00"'),
        *('BITPOS {t}a 0 0 3 "bit\\x00x"', 'BITFIELD {t}a "GET\\x00" "u8\\x00" 0'),
        *('BITFIELD {t}a "OVERFLOW\\x00" "SAT\\x00" SET u8 0 300', "GET {t}a"),
        'COMMAND GETKEYSANDFLAGS BITFIELD k "GET\\x00" u8 0',
    ],
    "names that are none": [
        *("SET {t}a v", "BITOP NAND {t}d {t}a", 'BITOP "" {t}d {t}a', 'BITOP "OR\\x00" {t}d {t}a'),
    ],
    "empty results": [
        *("SET {t}d v", "BITOP AND {t}d {t}x {t}y", "EXISTS {t}d", 'SET {t}e ""', "SET {t}d v"),
        *("BITOP NOT {t}d {t}e", "EXISTS {t}d", "BITOP OR {t}d {t}e", "BITOP XOR {t}e {t}e"),
    ],
    "its own destination": [
        *("MSET {t}a abc {t}b b", "BITOP XOR {t}a {t}a {t}b", "GET {t}a", "BITOP NOT {t}a {t}a"),
        *("GET {t}a", "SETBIT {t}a 0 1", "BITOP ONE {t}a {t}a", "GET {t}a", "GET {t}b"),
    ],
    "encodings": [
        *("MSET {t}i 12 {t}s abc", "BITOP OR {t}d {t}i", "GET {t}d", "OBJECT ENCODING {t}d"),
        *("BITOP NOT {t}i {t}s", "OBJECT ENCODING {t}i", "OBJECT ENCODING {t}s"),
    ],
    "the expire goes": [
        *("SET {t}d v EX 100", "SET {t}a w EX 100", "BITOP OR {t}d {t}a", "TTL {t}d"),
    ],
    "expired": [
        *(EXPIRED, "BITOP OR {t}d {t}k", "EXISTS {t}d {t}k", "SET {t}a v", EXPIRED),
        *("BITOP OR {t}k {t}a", "GET {t}k", "TTL {t}k"),
    ],
    "long ones": [
        (b"SET", b"{t}a", Random(1).randbytes(200_001)),
        (b"SET", b"{t}b", Random(2).randbytes(65_536)),
        (b"SET", b"{t}c", Random(3).randbytes(131_073)),
        *[
            step
            for operation in _OPERATIONS
            for sources in ("{t}a {t}b {t}c", "{t}b {t}a", "{t}c {t}b", "{t}a")
            for step in (f"BITOP {operation} {{t}}d {sources}", "GET {t}d")
        ],
    ],
}

_TYPES = (
    *(b"u8", b"i8", b"u1", b"i1", b"u63", b"i64", b"i63", b"u33"),
    *(b"u64", b"i65", b"u0", b"i0", b"U8", b"I8", b"u08", b"u+8", b"u 8", b"u-1", b"u", b"i", b""),
    *(b"8", b"x8", b"u8\x00", b"u8\x00x", b"u\x00", b"\x00", b"u8 ", b"u999999999999999999999"),
)
_FIELD_OFFSETS = (
    *INTEGERS,
    *(b"4294967288", b"4294967295", b"4294967296"),
    *(b"#0", b"#1", b"#-1", b"#", b"#x", b"# 1", b"##1", b"#01", b"#536870911", b"#536870912"),
    *(b"#2305843009213693952", b"#2305843009213693953", b"#4611686018427387904"),
    *(b"#9223372036854775807", b"#9223372036854775808", b"#1\x00", b"1#"),
)

BITFIELD: Table = {
    "types": [
        (b"SET", b"k", bytes(range(100, 116))),
        *[
            step
            for kind in _TYPES
            for step in lines(
                (b"BITFIELD", b"k", b"GET", kind, b"3"),
                (b"BITFIELD_RO", b"k", b"GET", kind, b"#1"),
                (b"BITFIELD", b"k", b"SET", kind, b"5", b"1"),
                (b"BITFIELD", b"k", b"INCRBY", kind, b"9", b"-3"),
                "GET k",
            )
        ],
    ],
    "offsets": [
        (b"SET", b"k", b"\x12\x34\x56"),
        *[(b"BITFIELD", b"k", b"GET", b"u8", offset) for offset in _FIELD_OFFSETS],
        *[(b"BITFIELD_RO", b"k", b"GET", b"i64", offset) for offset in _FIELD_OFFSETS],
        *[
            (b"BITFIELD", b"k", b"SET", b"u4", offset, b"1")
            for offset in _FIELD_OFFSETS
            if len(offset) < 5
        ],
        "GET k",
    ],
    "numbers": [
        step
        for arg in INTEGERS
        for step in lines(
            (b"BITFIELD", b"k", b"SET", b"i64", b"0", arg),
            (b"BITFIELD", b"k", b"INCRBY", b"u63", b"0", arg),
            (b"BITFIELD", b"k", b"INCRBY", b"u8", b"100", arg),
            "GET k",
        )
    ],
    "the longest string, and beyond": Case(
        *("SETBIT k 4294967295 1", "STRLEN k", "GETBIT k 4294967295", "BITPOS k 1", "BITCOUNT k"),
        *("BITFIELD k SET u8 4294967290 255", "STRLEN k", "BITFIELD k GET u8 4294967290"),
        *("BITFIELD k GET i64 4294967295", "BITPOS k 1", "BITFIELD k SET u1 4294967296 1"),
        resp=2,  # half a gigabyte on each side, once will do
    ),
    "order of errors": [
        *("BITFIELD k WHAT", "BITFIELD k GET x8 x", "BITFIELD k SET u8 x x", "BITFIELD k SET u8 0"),
        *("BITFIELD k GET u8 0 GET", "BITFIELD k SET x8 0 1 WHAT", "BITFIELD k SET u8 0 1 WHAT"),
        *("BITFIELD k OVERFLOW", "BITFIELD k OVERFLOW WHAT", "BITFIELD k OVERFLOW WHAT GET x8 0"),
        *("BITFIELD k OVERFLOW SAT WHAT", "BITFIELD_RO k SET u8 0 x", "BITFIELD_RO k SET u8 x 1"),
        *("BITFIELD_RO k SET u8 0 1 GET", "BITFIELD_RO k OVERFLOW WHAT", "EXISTS k"),
    ],
    "subcommands in any case": [
        "bitfield k set u8 0 200 get u8 0 incrby u8 0 100 overflow sat incrby u8 0 250",
        "BITFIELD k Overflow Fail IncrBy u8 0 250 OVERFLOW fail OVERFLOW WRAP INCRBY u8 0 250",
        "BITFIELD_RO k Get u8 0 overflow FAIL gEt i8 #0",
    ],
    "reading makes nothing": [
        *("BITFIELD k", "BITFIELD k GET u8 100", "BITFIELD k OVERFLOW SAT", "EXISTS k"),
        *("BITFIELD_RO k", "BITFIELD_RO k GET u8 0 GET u8 1", "EXISTS k"),
    ],
    "writing makes and lengthens": [
        *("BITFIELD k SET u8 0 0", "GET k", "BITFIELD k INCRBY u4 20 0", "GET k"),
        *("BITFIELD n OVERFLOW FAIL INCRBY u2 20 100", "GET n"),
        *("BITFIELD n OVERFLOW FAIL INCRBY u2 50 100", "STRLEN n"),
        *("BITFIELD n GET u8 4 SET u8 100 7 GET u8 100 INCRBY i5 100 -1 GET u8 100", "GET n"),
    ],
    "encodings and the expire": [
        *("SET k 1 EXAT 9999999999", "BITFIELD k GET u8 0", "OBJECT ENCODING k"),
        *("BITFIELD k SET u8 0 49", "OBJECT ENCODING k", "GET k", "EXPIRETIME k", "INCR k"),
    ],
    "expired": [
        *(EXPIRED, "BITFIELD {t}k GET u8 0", EXPIRED, "BITFIELD {t}k SET u8 8 1", "GET {t}k"),
        *("TTL {t}k", EXPIRED, "BITFIELD_RO {t}k GET u8 0", "EXISTS {t}k"),
    ],
    "flags of the key": [
        f"COMMAND GETKEYSANDFLAGS BITFIELD k {rest}"
        for rest in (
            *("", "GET u8 0", "get u8 0 GET u8 1", "OVERFLOW SAT", "OVERFLOW SAT GET u8 0"),
            *("SET u8 0 1", "GET u8 0 INCRBY u8 0 1", "WHAT", "GET", "GET u8", "GET u8 0 GET u8"),
            *("OVERFLOW", "GET u8 0 WHAT u8 0"),
        )
    ],
}


@pytest.mark.parametrize("script", cases(ARITY, WRONG_TYPE))
def test_arguments_and_types(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SINGLE))
def test_single_bits(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(RANGES))
def test_ranges(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(BITOP))
def test_bitop(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(BITFIELD))
def test_bitfield(script: Case, compare: Compare) -> None:
    compare(script)


def _edges(bits: int, signed: bool) -> list[int]:
    low, high = (-1 << (bits - 1), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    near = [edge + by for edge in (low, high, 0) for by in (-2, -1, 0, 1, 2)]
    far = [MIN, MIN + 1, MIN + high, MIN + high + 1, MIN + high + 2, MAX - 1, MAX]
    return [number for number in (*near, *far) if MIN <= number <= MAX]


@pytest.mark.parametrize("overflow", ["WRAP", "SAT", "FAIL"])
def test_overflows(overflow: str, compare: Compare) -> None:
    steps: list[Line | Step] = []
    for kind in ("i1", "u1", "i2", "u7", "i8", "u8", "i33", "u62", "i63", "u63", "i64"):
        edges = _edges(int(kind[1:]), kind[0] == "i")
        do = f"BITFIELD k OVERFLOW {overflow}"
        steps += [f"{do} SET {kind} 3 {number} GET {kind} 3" for number in edges]
        for start, by in permutations(edges, 2):
            steps.append(
                f"BITFIELD k SET {kind} 3 {start} OVERFLOW {overflow} INCRBY {kind} 3 {by} "
                f"GET {kind} 3"
            )
    compare(steps)


@pytest.mark.parametrize("seed", range(3))
def test_random_changes(seed: int, compare: Compare) -> None:
    random = Random(seed)
    keys = (b"{t}a", b"{t}b", b"{t}c")

    def number(least: int, most: int) -> bytes:
        return b"%d" % random.randint(least, most)

    def field() -> list[bytes]:
        kind = random.choice([b"i%d" % random.randint(1, 64), b"u%d" % random.randint(1, 63)])
        return [kind, random.choice([number(0, 300), b"#" + number(0, 6)])]

    def operations() -> list[bytes]:
        chosen: list[bytes] = []
        for _ in range(random.randint(1, 5)):
            big = number(*random.choice([(-3, 3), (-300, 300), (MIN, MAX)]))
            chosen += random.choice(
                [
                    [b"GET", *field()],
                    [b"SET", *field(), big],
                    [b"INCRBY", *field(), big],
                    [b"OVERFLOW", random.choice([b"WRAP", b"SAT", b"FAIL"])],
                ]
            )
        return chosen

    steps: list[Line | Step] = []
    for _ in range(400):
        key = random.choice(keys)
        ends = (number(-400, 400), number(-400, 400), random.choice([b"BIT", b"BYTE"]))
        operation = random.choice(_OPERATIONS[:3] + _OPERATIONS[4:]).encode()
        steps.append(
            random.choice(
                [
                    (b"SETBIT", key, number(0, 400), number(0, 1)),
                    (b"SETBIT", key, number(0, 400), number(0, 1)),
                    (b"GETBIT", key, number(0, 400)),
                    (b"BITFIELD", key, *operations()),
                    (b"BITFIELD", key, *operations()),
                    (b"BITFIELD_RO", key, b"GET", *field()),
                    (b"BITOP", operation, key, *random.choices(keys, k=random.randint(1, 4))),
                    (b"BITOP", b"NOT", key, random.choice(keys)),
                    (b"BITCOUNT", key, *ends[: random.choice([0, 2, 3])]),
                    (b"BITPOS", key, number(0, 1), *ends[: random.randint(0, 3)]),
                    (b"SETRANGE", key, number(0, 40), random.randbytes(random.randint(0, 9))),
                    (b"SET", key, b"\xff" * random.randint(0, 40)),
                    (b"APPEND", key, bytes(random.randint(0, 9))),
                    (b"SET", key, number(0, 1000)),
                ]
            )
        )
        steps += [(b"MGET", *keys), (b"OBJECT", b"ENCODING", key)]
    compare(steps)
