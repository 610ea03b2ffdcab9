"""The commands of HyperLogLog beside redis-server, with the strings they make, byte for byte."""

from random import Random

import pytest
from support.differential import Case, Compare, Line, Step, Table, cases

EXPIRED = "SET {t}k v PXAT 1"
BINARY = (b"", b"\x00", b"\r\n", b"\xff\xfe\x00\x80", bytes(range(256)), b"x" * 5000)
# Every length that the hash treats in its own way, and some around them.
LENGTHS = (*range(36), 63, 64, 65, 247, 248, 255, 256, 257, 1000, 4099)

HEADER = b"HYLL\x01" + bytes(10) + b"\x80"
DENSE_HEADER = b"HYLL" + bytes(11) + b"\x80"


def zeros(count: int) -> bytes:
    """Return the opcode for a run of zeros, long or short as Redis writes it."""
    return bytes([count - 1]) if count <= 64 else (0x3FFF + count).to_bytes(2, "big")


def run(value: int, count: int = 1) -> bytes:
    """Return the opcode for a run of another value."""
    return bytes([0x80 | (value - 1) << 2 | (count - 1)])


def lines(*items: Line) -> tuple[Line, ...]:
    """Return the lines, for mypy's sake with the type that a table has."""
    return items


def seen(key: str = "k") -> list[Line]:
    """Return the commands that show all of a HyperLogLog, and change none."""
    return [f"GET {key}", f"STRLEN {key}", f"OBJECT ENCODING {key}", f"TTL {key}"]


ARITY: Table = {
    f"{name} with any number of arguments": [
        " ".join([name, *["{t}k", "{t}l", "{t}m", "{t}n", "{t}o", "{t}p"][:n]]) for n in range(7)
    ]
    for name in ("PFADD", "PFCOUNT", "PFMERGE", "PFSELFTEST")
} | {
    "PFDEBUG with any number of arguments": [
        " ".join(["PFDEBUG", *words])
        for words in (
            *([], ["ENCODING"], ["ENCODING", "k"], ["ENCODING", "k", "x"], ["WHAT", "k"]),
            *(["GETREG", "k", "x"], ["SIMD"], ["SIMD", "ON", "x"], ["WHAT", "k", "x", "y"]),
        )
    ],
}

BASICS: Table = {
    "PFADD": [
        *("PFADD k", *seen(), "PFADD k", "PFADD k a", *seen(), "PFADD k a a", "PFADD k a b c d"),
        *(*seen(), "PFADD k d c b a", "PFADD n a b c", "GET n", "PFDEBUG DECODE n"),
    ],
    "PFCOUNT": [
        *("PFCOUNT k", "PFADD k", "PFCOUNT k", *seen(), "PFADD k a b", "PFCOUNT k", *seen()),
        *("PFADD k a", *seen(), "PFADD k c", *seen(), "PFCOUNT k", "PFCOUNT k", *seen()),
    ],
    "PFCOUNT of several": [
        *("PFADD {t}a 1 2 3", "PFADD {t}b 3 4", "PFCOUNT {t}a {t}b", "PFCOUNT {t}b {t}missing"),
        *("PFCOUNT {t}missing {t}missing", "PFCOUNT {t}a {t}a", "GET {t}a", "GET {t}b"),
        *("PFDEBUG TODENSE {t}b", "PFCOUNT {t}a {t}b", "PFCOUNT {t}b {t}a {t}b", "GET {t}a"),
    ],
    "PFMERGE": [
        *("PFMERGE {t}k", *seen("{t}k"), "PFMERGE {t}k", "PFMERGE {t}k {t}missing", "GET {t}k"),
        *("PFADD {t}a 1 2 3", "PFADD {t}b 3 4", "PFMERGE {t}k {t}a {t}b", *seen("{t}k")),
        *("PFCOUNT {t}k", "PFMERGE {t}k {t}a", *seen("{t}k"), "PFMERGE {t}a {t}a", "GET {t}a"),
        *("PFMERGE {t}n {t}a {t}missing {t}a", "GET {t}n", "PFDEBUG ENCODING {t}n"),
    ],
    "PFMERGE with a dense one": [
        *("PFADD {t}a 1 2 3", "PFADD {t}b 3 4", "PFDEBUG TODENSE {t}b", "PFMERGE {t}a {t}b"),
        *(*seen("{t}a"), "PFMERGE {t}b {t}a", "GET {t}b", "PFMERGE {t}n {t}b", "GET {t}n"),
        *("PFADD {t}s x", "PFMERGE {t}b {t}s", "GET {t}b", "PFCOUNT {t}b", "GET {t}b"),
    ],
    "PFDEBUG": [
        *("PFDEBUG ENCODING k", "PFDEBUG WHAT k", "PFADD k a b c d e", "PFDEBUG encoding k"),
        *("PFDEBUG Decode k", "PFDEBUG WHAT k", 'PFDEBUG "a\\x00b\\r\\n" k', *seen()),
        *("PFDEBUG TODENSE k", *seen(), "PFDEBUG todense k", "PFDEBUG ENCODING k"),
        *("PFDEBUG DECODE k", "PFDEBUG GETREG k", "PFADD k f", "GET k", "PFADD n a b"),
        *("PFDEBUG GETREG n", "PFDEBUG ENCODING n", "GET n", 'PFDEBUG "ENCODING\\x00" n'),
    ],
    "PFDEBUG SIMD": ["PFDEBUG SIMD on", "PFDEBUG simd OFF", 'PFDEBUG SIMD "ON\\x00"'],
    "the self test": ["PFSELFTEST"],
    "elements of any bytes": [
        *[(b"PFADD", b"k", element) for element in BINARY],
        *(*seen(), (b"PFADD", b"k", *BINARY), "PFCOUNT k", "PFDEBUG DECODE k"),
    ],
    "elements of any length": [
        step
        for length in LENGTHS
        for step in lines(
            (b"PFADD", b"%d" % length, Random(length).randbytes(length)),
            (b"PFADD", b"all", Random(length).randbytes(length), b"a" * length),
            (b"GET", b"%d" % length),
            "GET all",
        )
    ],
    "the expire stays": [
        *("PFADD {t}k a", "EXPIREAT {t}k 9999999999", "PFADD {t}k b", "EXPIRETIME {t}k"),
        *("PFADD {t}a x", "PFMERGE {t}k {t}a", "EXPIRETIME {t}k", "PFCOUNT {t}k"),
        *("PFDEBUG TODENSE {t}k", "EXPIRETIME {t}k", "PERSIST {t}k", "PFADD {t}k c", "GET {t}k"),
    ],
    "expired": [
        *(EXPIRED, "PFADD {t}k a", "GET {t}k", "TTL {t}k", EXPIRED, "PFCOUNT {t}k", EXPIRED),
        *("PFCOUNT {t}k {t}l", EXPIRED, "PFMERGE {t}k {t}l", "GET {t}k", EXPIRED),
        *("PFDEBUG ENCODING {t}k", "EXISTS {t}k"),
    ],
    "a string like any other": [
        *("PFADD {t}k a b c", "COPY {t}k {t}c", "PFADD {t}c d", "PFCOUNT {t}k", "PFCOUNT {t}c"),
        *("GET {t}k", "RENAME {t}c {t}r", "PFADD {t}r e", "GET {t}r", "TYPE {t}r"),
        *(
            "GETRANGE {t}r 0 3",
            "SETBIT {t}r 120 1",
            "PFCOUNT {t}r",
            "APPEND {t}r x",
            "PFCOUNT {t}r",
        ),
        *(
            "SETRANGE {t}k 0 hyll",
            "PFADD {t}k z",
            "SETRANGE {t}k 0 HYLL",
            "PFADD {t}k z",
            "GET {t}k",
        ),
        *("BITFIELD {t}k SET u8 120 128", "PFCOUNT {t}k", "GET {t}k", "SET {t}k v", "PFADD {t}k a"),
    ],
    "encoding of a string that was set": [
        step
        for line in ("PFADD k", "PFADD k a", "PFCOUNT k", "PFDEBUG ENCODING k", "PFMERGE k")
        for step in lines((b"SET", b"k", HEADER + zeros(16384)), "OBJECT ENCODING k", line, *seen())
    ],
}

WRONG_TYPE: Table = {
    "other types and strings": [
        *("RPUSH {t}l v", "MSET {t}s abc {t}i 12345678901234567890 {t}n 12345", 'SET {t}e ""'),
        *("PFADD {t}h a", (b"SET", b"{t}m", b"HYLK" + HEADER[4:] + zeros(16384))),
        (b"SET", b"{t}c", b"HYLL\x02" + HEADER[5:] + zeros(16384)),
        (b"SET", b"{t}d", DENSE_HEADER + bytes(12287)),
        (b"SET", b"{t}b", DENSE_HEADER + bytes(12289)),
        (b"SET", b"{t}x", HEADER[:15]),
        *[
            step
            for key in "lsinemcdbx"
            for step in (
                *(f"PFADD {{t}}{key}", f"PFADD {{t}}{key} a", f"PFCOUNT {{t}}{key}"),
                *(f"PFCOUNT {{t}}h {{t}}{key}", f"PFCOUNT {{t}}{key} {{t}}l"),
                *(f"PFMERGE {{t}}new {{t}}h {{t}}{key}", f"PFMERGE {{t}}{key} {{t}}h"),
                *(f"PFDEBUG GETREG {{t}}{key}", f"PFDEBUG WHAT {{t}}{key}"),
                *(f"TYPE {{t}}{key}", f"OBJECT ENCODING {{t}}{key}"),
            )
        ],
        "EXISTS {t}new",
    ],
}

# What does not cover 16384 registers, or is more than that, or ends inside of an opcode.
DAMAGED = {
    "no opcodes": b"",
    "too few": zeros(16383),
    "far too few": run(1) + zeros(3),
    "too many": zeros(16384) + zeros(1),
    "far too many": zeros(16384) * 3 + run(32, 4),
    "a run over the end": zeros(16382) + run(7, 4),
    "half an opcode": b"\x7f",
    "half an opcode after others": run(3) + zeros(70) + b"\x7f",
    "text": b"hello",
}

DAMAGE: Table = {
    name: [
        step
        for line in (
            *("PFCOUNT {t}k", "PFCOUNT {t}k {t}missing", "PFMERGE {t}n {t}k", "PFMERGE {t}k"),
            *("PFDEBUG DECODE {t}k", "PFDEBUG TODENSE {t}k", "PFDEBUG GETREG {t}k"),
            *("PFADD {t}k", "PFADD {t}k a", "PFADD {t}k a b c d e f g h i j k l m n o p"),
            *("PFDEBUG ENCODING {t}k", "PFDEBUG WHAT {t}k"),
        )
        for step in lines((b"SET", b"{t}k", HEADER + opcodes), line, "GET {t}k", "EXISTS {t}n")
    ]
    for name, opcodes in DAMAGED.items()
} | {
    "the remembered estimate is believed": [
        (b"SET", b"k", b"HYLL\x01\0\0\0" + b"\x39\x30" + bytes(6) + b"damaged"),
        *("PFCOUNT k", 'SETRANGE k 8 "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x7f"', "PFCOUNT k"),
        *("PFCOUNT {t}k {t}l", "PFADD k", "GET k"),
    ],
    "bytes of the header": [
        (b"SET", b"k", b"HYLL\x01abc" + b"\xff" * 8 + zeros(16384)),
        *("PFADD k a", "GET k", "PFCOUNT k", "GET k", "PFDEBUG TODENSE k", "GET k"),
    ],
    "dense registers that no element makes": [
        step
        for byte in (0x00, 0xFF, 0x55, 0xC7, 0x01)
        for step in lines(
            (b"SET", b"{t}k", DENSE_HEADER + bytes([byte]) * 12288),
            *("PFCOUNT {t}k", "GET {t}k", "PFCOUNT {t}k", "PFADD {t}k a b c", "GET {t}k"),
            *("PFCOUNT {t}k {t}l", "PFMERGE {t}n {t}k", "GET {t}n", "PFDEBUG GETREG {t}n"),
        )
    ],
}


@pytest.mark.parametrize("script", cases(ARITY, BASICS, WRONG_TYPE))
def test_commands(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(DAMAGE))
def test_damaged_strings(script: Case, compare: Compare) -> None:
    compare(script)


# As large as a sparse string may become; the default is 3000.
LIMITS = (0, 18, 20, 21, 22, 60, 61, 62, 300, 3000, 20_000)


@pytest.mark.parametrize("limit", LIMITS)
def test_growth(limit: int, compare: Compare) -> None:
    random = Random(limit)
    steps: list[Step | Line] = [f"CONFIG SET hll-sparse-max-bytes {limit}"]
    size = 0
    while size < 12_000:
        count = 1 + size // 40
        elements = [b"%d" % random.randrange(20_000) for _ in range(count)]
        steps += [(b"PFADD", b"{t}k", *elements), "GET {t}k"]
        if random.random() < 0.2:
            steps += ["PFCOUNT {t}k", "PFDEBUG ENCODING {t}k", "PFMERGE {t}m {t}k", "GET {t}m"]
        size += count
    compare(Case(*steps, cleanup=["CONFIG SET hll-sparse-max-bytes 3000"]))


# Elements of chosen hashes (each step of MurmurHash64A can be undone): count 32, the highest in a
# sparse string; then 33, 33, 37, 50 and 51, the highest of all.
COUNT_32 = b"\xfc(\xb9`\x15\x0b\xe6\x15"
HIGHER_COUNTS = (
    *(b"I\x9b\xde_a\xa0\x9cU", b"4\x81t\xb2<\xd8\x11K", b"Q\xcc\xb2\x91\x13\xd8k\xf0"),
    *(b"\x9c\xa9\x9e%4\xd1\xea\xe6", b"\xfa\xea\xfdB}\x8br\x13"),
)


def test_high_counts(compare: Compare) -> None:
    steps: list[Step | Line] = []
    for element in HIGHER_COUNTS:
        steps += [(b"PFADD", b"{t}k", b"a", COUNT_32, COUNT_32), "PFDEBUG DECODE {t}k"]
        steps += ["PFCOUNT {t}k", (b"PFADD", b"{t}k", element), "GET {t}k", "PFCOUNT {t}k"]
        steps += ["PFADD {t}s x", "PFMERGE {t}s {t}k", "GET {t}s", "DEL {t}k {t}s"]
    steps += [(b"PFADD", b"{t}k", *HIGHER_COUNTS), "GET {t}k", "PFCOUNT {t}k"]
    compare(steps)


def _opcodes(random: Random, runs: int) -> bytes:
    """Return opcodes for 16384 registers: any lengths, equal neighbours that could be joined."""
    opcodes: list[bytes] = []
    left = 16_384
    while left:
        kind = random.random()
        if len(opcodes) >= runs:
            count = left
            opcodes.append(zeros(count))
        elif kind < 0.6:
            count = min(left, random.randint(1, 4))
            opcodes.append(run(random.choice([1, 1, 1, 2, 32]), count))
        elif kind < 0.8:
            count = min(left, random.randint(1, 64))
            opcodes.append(zeros(count))
        else:  # a long opcode also for what a short one could say
            count = min(left, random.choice([1, 2, 64, 65, 300]))
            opcodes.append((0x3FFF + count).to_bytes(2, "big"))
        left -= count
    return b"".join(opcodes)


@pytest.mark.parametrize("seed", range(3))
def test_opcodes_that_redis_would_not_write(seed: int, compare: Compare) -> None:
    random = Random(seed)
    steps: list[Step | Line] = []
    for _ in range(25):
        opcodes = _opcodes(random, random.choice([3, 10, 40, 400]))
        # Elements where the opcodes are, not where a last long run of zeros is.
        elements = [b"%d" % random.randrange(100_000) for _ in range(60)]
        steps += [(b"SET", b"{t}k", HEADER + opcodes), "PFDEBUG DECODE {t}k", "PFCOUNT {t}k"]
        steps += [
            step for element in elements for step in lines((b"PFADD", b"{t}k", element), "GET {t}k")
        ]
        steps += ["PFCOUNT {t}k", "PFMERGE {t}m {t}k", "GET {t}m", "PFMERGE {t}k", "GET {t}k"]
        steps += ["PFDEBUG GETREG {t}m", "PFDEBUG DECODE {t}k", "DEL {t}m"]
    compare(steps)


@pytest.mark.parametrize("seed", range(3))
def test_random_changes(seed: int, compare: Compare) -> None:
    random = Random(seed)
    limit = random.choice([40, 100, 3000])
    keys = (b"{t}a", b"{t}b", b"{t}c", b"{t}d")
    steps: list[Step | Line] = [f"CONFIG SET hll-sparse-max-bytes {limit}"]
    for _ in range(300):
        key = random.choice(keys)
        some = random.choices(keys, k=random.randint(1, 4))
        most = random.choice([3, 30, 300])
        elements = [b"%d" % random.randrange(10**6) for _ in range(random.randrange(most))]
        steps.append(
            random.choice(
                [
                    (b"PFADD", key, *elements),
                    (b"PFADD", key, *elements),
                    (b"PFADD", key, *elements),
                    (b"PFCOUNT", key),
                    (b"PFCOUNT", *some),
                    (b"PFMERGE", key, *some),
                    (b"PFDEBUG", b"ENCODING", key),
                    (b"PFDEBUG", b"DECODE", key),
                    (b"PFDEBUG", b"TODENSE", key) if random.random() < 0.1 else (b"GET", key),
                    (b"DEL", key),
                    (b"COPY", key, random.choice(keys), b"REPLACE"),
                    (b"APPEND", key, b"\x00") if random.random() < 0.1 else (b"STRLEN", key),
                    (b"SETRANGE", key, b"15", b"\x80") if random.random() < 0.3 else (b"TYPE", key),
                ]
            )
        )
        steps += [(b"MGET", *keys), (b"OBJECT", b"ENCODING", key)]
    compare(Case(*steps, cleanup=["CONFIG SET hll-sparse-max-bytes 3000"]))
