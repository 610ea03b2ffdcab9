"""The hash commands beside redis-server: tables, and random programs from fixed seeds."""

from collections.abc import Sequence
from itertools import permutations, product
from random import Random

import pytest
from support.differential import (
    Case,
    Compare,
    Line,
    Step,
    Table,
    cases,
    near,
    pairs,
    shape,
    unordered,
)

MIN, MAX = -(1 << 63), (1 << 63) - 1
MAX_TIME = (1 << 46) - 1

INTEGERS = (
    *(b"%d" % n for n in (0, 1, -1, 10, MAX, MIN, MAX + 1, MIN - 1, 1 << 64, (1 << 32) + 1)),
    *(b"-0", b"+1", b"01", b"-01", b"00", b" 1", b"1 ", b"\t1", b"1\n", b"1\x00", b"\x001"),
    *(b"", b" ", b"-", b"--1", b"1.0", b"1e3", b"0x10", b"1_0", b"ten", b"\xff", b"1" * 40),
)
DECIMALS = (
    *(b"0", b"1", b"-1", b"1.5", b"-1.5", b"0.1", b"3.0e3", b"3.0e+3", b"1e-5", b"1E2", b"+2.5"),
    *(b".5", b"5.", b"-.5", b"-0", b"-0.0", b"00.5", b"0x10", b"0x1p-2", b"0xA.8", b"1e17"),
    *(b"123456789.123456789", b"1234567890123456789", b"18446744073709551616", b"1e-17", b"1e-18"),
    *(b"3.14159265358979323846", b"5e-18", b"1e-4000", b"1e30", b"1e4000", b"1e5000", b"-1e5000"),
    *(b"", b" ", b" 1", b"1 ", b"1\x00", b"\x00", b".", b"-", b"e5", b"1e", b"1e+", b"0x", b"1,5"),
    *(b"1_0", b"x", b"\xff", b"nan", b"NaN", b"-nan", b"inf", b"-inf", b"Infinity", b"infinit"),
)
TIMES = (
    *INTEGERS,
    *(b"%d" % n for n in (MAX_TIME, MAX_TIME + 1, MAX_TIME // 1000, MAX_TIME // 1000 + 1)),
    *(b"%d" % n for n in ((1 << 48) - 2, (1 << 48), MAX // 1000, MAX // 1000 + 1, 9_999_999_999)),
)
BINARY = (b"", b"\x00", b"\r\n", b"a\r\nb", b"\xff\xfe\x00\x80", bytes(range(256)), b"+OK\r\n")

# Fields that have expired and are still there: nothing but these commands removes them.
NO_ACTIVE_EXPIRE = "DEBUG SET-ACTIVE-EXPIRE 0"
ACTIVE_EXPIRE = "DEBUG SET-ACTIVE-EXPIRE 1"
PASS = "DEBUG SLEEP 0.005"
ONE_EXPIRED = ["DEL h", "HSET h a 1", "HPEXPIRE h 1 FIELDS 1 a", PASS]
TWO_EXPIRED = ["DEL h", "HSET h a 1 b 2 c 3", "HPEXPIRE h 1 FIELDS 2 a b", PASS]

STATE: list[Line | Step] = [
    "HGETALL h",
    "HLEN h",
    "OBJECT ENCODING h",
    near(60_000, "HPEXPIRETIME h FIELDS 3 a b c"),
    near(60_000, "HPEXPIRETIME h FIELDS 1 a"),
]

NAMES = (
    *("HDEL", "HEXISTS", "HEXPIRE", "HEXPIREAT", "HEXPIRETIME", "HGET", "HGETALL", "HGETDEL"),
    *("HGETEX", "HINCRBY", "HINCRBYFLOAT", "HKEYS", "HLEN", "HMGET", "HMSET", "HPERSIST"),
    *("HPEXPIRE", "HPEXPIREAT", "HPEXPIRETIME", "HPTTL", "HRANDFIELD", "HSCAN", "HSET", "HSETEX"),
    *("HSETNX", "HSTRLEN", "HTTL", "HVALS"),
)
ARITY: Table = {
    f"{name} with any number of arguments": [
        *(" ".join([name, *["h", "a", "1", "b", "2", "c", "3"][:n]]) for n in range(8)),
        *(" ".join([name, *["h", "FIELDS", "1", "a", "2"][:n]]) for n in range(6)),
    ]
    for name in NAMES
}

# A good call of each, and calls with something wrong behind the key.
CALLS = (
    *("HDEL h a", "HEXISTS h a", "HGET h a", "HGETALL h", "HINCRBY h a 1", "HINCRBY h a x"),
    *("HINCRBYFLOAT h a 1", "HINCRBYFLOAT h a x", "HKEYS h", "HLEN h", "HMGET h a b", "HVALS h"),
    *("HMSET h a 1", "HSET h a 1", "HSET h a 1 b", "HMSET h a 1 b", "HSETNX h a 1", "HSTRLEN h a"),
    *("HRANDFIELD h", "HRANDFIELD h 1", "HRANDFIELD h x", "HRANDFIELD h 0 x", "HSCAN h 0"),
    *("HSCAN h x", "HSCAN h 0 COUNT 0", "HSCAN h 0 COUNT x", "HSCAN h 0 MATCH", "HSCAN h 0 BOGUS"),
    *("HEXPIRE h 9 FIELDS 1 a", "HPEXPIRE h 9 FIELDS 1 a", "HEXPIRE h x FIELDS 1 a"),
    *("HEXPIREAT h 9 FIELDS 1 a", "HPEXPIREAT h 9 FIELDS 1 a", "HEXPIRE h 9 FIELDS 0 a"),
    *("HEXPIRE h 9 FIELDS 2 a", "HEXPIRE h 9 BOGUS 2 a", "HEXPIRE h -1 FIELDS 1 a"),
    *("HTTL h FIELDS 1 a", "HPTTL h FIELDS 1 a", "HEXPIRETIME h FIELDS 1 a", "HTTL h FIELDS 0 a"),
    *("HPEXPIRETIME h FIELDS 1 a", "HTTL h BOGUS 1 a", "HPERSIST h FIELDS 1 a"),
    *("HPERSIST h FIELDS 2 a", "HPERSIST h BOGUS 1 a", "HGETDEL h FIELDS 1 a"),
    *("HGETDEL h FIELDS 0 a", "HGETDEL h BOGUS 1 a", "HGETEX h FIELDS 1 a", "HGETEX h BOGUS 1 a"),
    *("HGETEX h EX x FIELDS 1 a", "HGETEX h EX 9 FIELDS 0 a", "HGETEX h EX -9 FIELDS 0 a"),
    *("HGETEX h EX 9 FIELDS 1 a", "HGETEX h PERSIST FIELDS 1 a", "HSETEX h FIELDS 1 a 1"),
    *("HSETEX h BOGUS 1 a 1", "HSETEX h EX x FIELDS 1 a 1", "HSETEX h FNX FXX FIELDS 1 a 1"),
    *("HSETEX h FNX FIELDS 1 a 1", "HSETEX h FXX FIELDS 1 a 1", "HSETEX h FIELDS 0 a 1"),
    *("HSETEX h EX 9 FIELDS 1 a 1", "HSETEX h KEEPTTL FIELDS 1 a 1", "HSETEX h FIELDS 2 a 1"),
)

BASICS: Table = {
    "a missing key": [step for call in CALLS for step in ("DEL h", call, "EXISTS h")],
    "a key of another type": ["SET h v", *CALLS, "GET h"],
    "an expired key": [
        NO_ACTIVE_EXPIRE,
        *(
            step
            for call in CALLS
            for step in ("DEL h", "HSET h a 1 b 2", "PEXPIRE h 1", PASS, call, "EXISTS h", "TTL h")
        ),
        ACTIVE_EXPIRE,
    ],
    "HSET and what reads": [
        *("HSET h a 1 b 2 c 3", "HSET h a 9 d 4", "HSET h a 8", "HGET h a", "HGET h no"),
        *("HMGET h a no c a", "HMGET h no", "HMGET h a", "HGETALL h", "HKEYS h", "HVALS h"),
        *("HLEN h", "HEXISTS h a", "HEXISTS h no", "HSTRLEN h a", "HSTRLEN h no", "TYPE h"),
        *("HMSET h a 100 e 5", "HGETALL h", "HSTRLEN h a", "OBJECT ENCODING h", "EXISTS h"),
    ],
    "a field twice in one command": [
        *("HSET h a 1 a 2", "HGETALL h", "HSET h a 3 b 1 b 2 a 4", "HGETALL h"),
        *("HMSET h c 1 c 2", "HGETALL h", "HDEL h a a b", "HGETALL h", "DEL h"),
        *("HMSET h a 1 a 1", "HGETALL h", "HLEN h"),
    ],
    "HSETNX": ["HSETNX h a 1", "HSETNX h a 2", "HSETNX h b 2", "HGETALL h"],
    "HDEL, and the order after it": [
        *("HSET h a 1 b 2 c 3 d 4", "HDEL h b", "HGETALL h", "HSET h b 5", "HGETALL h"),
        *("HDEL h no", "HDEL h no a d no", "HGETALL h", "HSET h d 1 a 2", "HGETALL h"),
        *("HDEL h a b c", "HKEYS h", "HDEL h d", "EXISTS h", "TYPE h", "HDEL h d", "HLEN h"),
        *("HSET h x 1", "HGETALL h"),
    ],
    "names that come in another order": [
        *("HSET h a 1 b 2", "HSET {h}g b 2 a 1", "HGETALL h", "HGETALL {h}g", "HSET {h}g c 1 a 3"),
        *("HSET h a 3 c 1", "HGETALL h", "HGETALL {h}g", "HDEL {h}g b", "HDEL h b", "HGETALL h"),
        "HGETALL {h}g",
    ],
    "any bytes": [
        step
        for b in BINARY
        for step in (
            (b"HSET", b"h" + b, b, b, b"other", b),
            (b"HGET", b"h" + b, b),
            pairs((b"HGETALL", b"h" + b)),
            (b"HSTRLEN", b"h" + b, b),
            (b"HEXISTS", b"h" + b, b),
            (b"HMGET", b"h" + b, b, b"other", b"no"),
            (b"HDEL", b"h" + b, b),
        )
    ],
    "long values": [
        (b"HSET", b"h", b"a", b"x" * 4095, b"b", b"y" * 4096, b"c", b"z" * 100_000),
        *("HGET h a", "HGET h b", "HMGET h a b c no", pairs("HGETALL h"), "HSTRLEN h c"),
        *(unordered("HVALS h"), unordered("HKEYS h")),
    ],
    "many fields": [
        *((b"HSET", b"h", b"field:%d" % i, b"value:%d" % (i % 7)) for i in range(1100)),
        *("HLEN h", "OBJECT ENCODING h", pairs("HGETALL h"), unordered("HKEYS h")),
        *(unordered("HVALS h"), "HGET h field:1000", "HMGET h field:0 no field:1099"),
        *((b"HDEL", b"h", b"field:%d" % i) for i in range(0, 1100, 2)),
        *("HLEN h", "OBJECT ENCODING h", pairs("HGETALL h"), "HEXISTS h field:2"),
        *("HINCRBY h new 5", "HLEN h", "DEL h", "EXISTS h"),
    ],
    "the key's expire time stays": [
        *("HSET h a 1", "EXPIRE h 1000", "HSET h b 1", "HINCRBY h a 1", "HDEL h b"),
        *("HSETEX h EX 10 FIELDS 1 c 1", "HEXPIRE h 10 FIELDS 1 a", near(1, "TTL h"), "PERSIST h"),
        *("TTL h", near(1, "HTTL h FIELDS 1 c")),
    ],
}

NUMBERS: Table = {
    "HINCRBY": [
        *("HINCRBY h a 5", "HINCRBY h a -7", "HGETALL h", "HSET h b 10", "HINCRBY h b 1"),
        *("HGET h b", "HINCRBY h c 0", "HGETALL h"),
    ],
    "HINCRBY by what may be no integer": [
        step for n in INTEGERS for step in ((b"HINCRBY", b"h", b"a", n), "DEL h")
    ],
    "HINCRBY of what may be no integer": [
        step for n in INTEGERS for step in ((b"HSET", b"h", b"a", n), "HINCRBY h a 1", "HGET h a")
    ],
    "HINCRBY at the ends": [
        step
        for start, by in product((MAX, MAX - 1, MIN, MIN + 1, 0), (1, -1, MAX, MIN))
        for step in (f"HSET h a {start}", f"HINCRBY h a {by}", "HGET h a")
    ],
    "HINCRBYFLOAT": [
        *("HINCRBYFLOAT h a 0.1", "HINCRBYFLOAT h a 0.2", "HINCRBYFLOAT h a -1e2", "HGETALL h"),
        *("HSET h b 10.50", "HINCRBYFLOAT h b 0.1", "HSET h b 5.0e3", "HINCRBYFLOAT h b 2.0e2"),
        "HGETALL h",
    ],
    "HINCRBYFLOAT by odd decimals": [
        step
        for n in DECIMALS
        for step in ((b"HINCRBYFLOAT", b"h", b"a", n), "HSET h a 10.5", "HGETALL h")
    ],
    "HINCRBYFLOAT of odd decimals": [
        step
        for n in DECIMALS
        for step in (
            *((b"HSET", b"h", b"a", n), "HINCRBYFLOAT h a 1", "HINCRBYFLOAT h a inf", "HGET h a"),
            "DEL h",
        )
    ],
    "beyond the largest": [
        *("HINCRBYFLOAT h a 1e4932", "HINCRBYFLOAT h a 1e4932", "HSTRLEN h a", "HSET h b 1e4932"),
        *("HINCRBYFLOAT h b 1e4932", "HGET h b"),
    ],
}

SCANS: Table = {
    "HSCAN of a small hash": [
        *("HSET h a 1 b 2 aa 3", "HSCAN h 0", "HSCAN h 0 COUNT 1", "HSCAN h 0 MATCH a*"),
        *("HSCAN h 0 match *a count 9", "HSCAN h 0 NOVALUES", "HSCAN h 0 novalues MATCH b"),
        *("HSCAN h 0 NOVALUES NOVALUES COUNT 1 COUNT 2 MATCH b MATCH a", "HSCAN h 0 MATCH no"),
        *("HSCAN h 5", "HSCAN h 99999999999", "HSCAN no 0", "HSCAN no 5 COUNT 3"),
    ],
    "HSCAN's errors": [
        *("HSET h a 1", "HSCAN h 0 COUNT", "HSCAN h 0 COUNT 0", "HSCAN h 0 COUNT -1"),
        *("HSCAN h 0 COUNT x", "HSCAN h 0 COUNT x BOGUS", "HSCAN h 0 BOGUS", "HSCAN h 0 BOGUS 1"),
        *("HSCAN h 0 TYPE hash", "HSCAN h 0 MATCH", "HSCAN h 0 NOVALUES 1", "HSCAN h -1"),
        *("HSCAN no -1", "HSCAN no 0 BOGUS", "HSCAN h x COUNT x", "HSCAN h 18446744073709551616"),
        *((b"HSCAN", b"h", n) for n in INTEGERS),
        *((b"HSCAN", b"h", b"0", b"COUNT", n) for n in INTEGERS),
    ],
    "all of a large hash in one HSCAN": [
        *((b"HSET", b"h", b"f%d" % i, b"%d" % i) for i in range(600)),
        *(unordered("HSCAN h 0 COUNT 100000"), unordered("HSCAN h 0 COUNT 9999 NOVALUES")),
    ],
    "patterns": [
        "HSET h hello 1 hallo 2 hxllo 3 h*llo 4 'h[a]llo' 5",
        *(
            f"HSCAN h 0 MATCH {p}"
            for p in ("h?llo", "h[ae]llo", "h[^e]llo", "h[a-f]llo", "h\\\\*llo", "*", "**", "''")
        ),
    ],
    "HRANDFIELD of one": ["HSET h a 1", "HRANDFIELD h", "HRANDFIELD h 1 WITHVALUES"],
    "HRANDFIELD of all": [
        *("HSET h a 1 b 2 c 3", unordered("HRANDFIELD h 3"), unordered("HRANDFIELD h 99")),
        *(unordered("HRANDFIELD h 3 withvalues"), shape("HRANDFIELD h")),
        *(shape("HRANDFIELD h 2"), shape("HRANDFIELD h -5"), shape("HRANDFIELD h -5 WITHVALUES")),
        *("HRANDFIELD h 0", "HRANDFIELD h 0 WITHVALUES", shape("HRANDFIELD h 2 WITHVALUES")),
    ],
    "HRANDFIELD of many": [
        *((b"HSET", b"h", b"f%d" % i, b"%d" % i) for i in range(600)),
        *(shape("HRANDFIELD h 10"), shape("HRANDFIELD h 599"), shape("HRANDFIELD h -1000")),
        *(unordered("HRANDFIELD h 600"), shape("HRANDFIELD h 300 WITHVALUES"), "HLEN h"),
    ],
    "HRANDFIELD's count": [
        "HSET h a 1",
        *((b"HRANDFIELD", b"h", n) for n in INTEGERS if n != b"%d" % MIN),
        *((b"HRANDFIELD", b"h", n, b"WITHVALUES") for n in INTEGERS),
        *(f"HRANDFIELD h {n} WITHVALUES" for n in (MAX // 2, MAX // 2 + 1, -(MAX // 2) - 1)),
        *("HRANDFIELD h 1 BOGUS", "HRANDFIELD h x BOGUS", "HRANDFIELD h 1 WITHVALUES x"),
        *(f"HRANDFIELD h {MIN}", f"HRANDFIELD no -{MAX}", f"HRANDFIELD no -{MAX} WITHVALUES"),
    ],
}

# Names and values of the listpack's largest size, and larger.
FITS, TOO_LONG = "x" * 64, "y" * 65

ENCODING: Table = {
    "a value's size": [
        step
        for line in (
            *(f"HSET h a {FITS}", f"HSET h {FITS} 1", f"HSET h a {TOO_LONG}"),
            *(f"HSET h {TOO_LONG} 1", f"HSETNX h a {TOO_LONG}", f"HMSET h a 1 b {TOO_LONG}"),
            *(f"HSETEX h FIELDS 1 a {TOO_LONG}", f"HSETEX h EX 9 FIELDS 1 {FITS} 1"),
            *(f"HINCRBY h {TOO_LONG} 1", f"HINCRBYFLOAT h {TOO_LONG} 1", f"HINCRBY h {FITS} 1"),
            *("HINCRBYFLOAT h a 1e70", "HINCRBYFLOAT h a 1e4000"),
        )
        for step in (line, "OBJECT ENCODING h", "HSET h a 1", "OBJECT ENCODING h", "DEL h")
    ],
    "the number of fields": [
        (b"HSET", b"h", *(b"%d" % (i // 2) for i in range(1024))),
        *("OBJECT ENCODING h", "HLEN h", "HSET h 5 x", "OBJECT ENCODING h", "HGETALL h"),
        *("HSETNX h 513 x", "OBJECT ENCODING h", "HDEL h 1 2 3 4 5", "OBJECT ENCODING h"),
        (b"HSET", b"{h}g", *(b"a" for i in range(1026))),
        *("OBJECT ENCODING {h}g", "HLEN {h}g"),
    ],
    "small thresholds": Case(
        "CONFIG SET hash-max-listpack-entries 3 hash-max-listpack-value 4",
        *(
            step
            for line in (
                *("HSET h a 1 b 1 c 1", "HSET h a 1 b 1 c 1 d 1", "HSET h a 1 a 2 a 3 a 4"),
                *("HMSET h a 1 a 2 a 3 a 4", "HSET h a 12345", "HSET h abcde 1"),
                *("HINCRBY h a 99999", "HINCRBY h a 9999", "HINCRBY h abcde 1"),
                *("HINCRBYFLOAT h a 0.125", "HINCRBYFLOAT h a 0.25", "HINCRBYFLOAT h abcde 1"),
                *("HSETNX h a 12345", "HSETEX h FIELDS 1 a 12345", "HSETEX h FIELDS 1 a 1"),
                *("HSETEX h EX 9 FIELDS 4 a 1 a 1 a 1 a 1", "HSETEX h KEEPTTL FIELDS 1 abcde 1"),
                *("HSETEX h EX 9 FIELDS 3 a 1 b 1 c 1", "HSETEX h EX 9 FNX FIELDS 1 abcde 1"),
                *("HSETEX h EX 9 FXX FIELDS 1 abcde 1",),
            )
            for step in (
                *("DEL h", line, "OBJECT ENCODING h", "HSET h a 1", "OBJECT ENCODING h"),
                *("HSET h b 1", "HSET h c 1", "OBJECT ENCODING h", "HINCRBY h d 1"),
                *("OBJECT ENCODING h", "HDEL h b c d", "OBJECT ENCODING h", "COPY h {h}g REPLACE"),
                *("OBJECT ENCODING {h}g", "HDEL h a abcde", "HSET h a 1", "OBJECT ENCODING h"),
            )
        ),
        cleanup=["CONFIG SET hash-max-listpack-entries 512 hash-max-listpack-value 64"],
    ),
    "conditions that are not met": Case(
        "CONFIG SET hash-max-listpack-entries 3 hash-max-listpack-value 4",
        *("HSET h a 1", "HSETEX h FXX FIELDS 1 b 12345", "OBJECT ENCODING h"),
        *("HSETEX h FNX FIELDS 2 b 12345 a 12345", "OBJECT ENCODING h", "HSETNX h a 12345"),
        *("OBJECT ENCODING h", "HINCRBY h abcde x", "HINCRBYFLOAT h abcde x", "HGETALL h"),
        "OBJECT ENCODING h",
        cleanup=["CONFIG SET hash-max-listpack-entries 512 hash-max-listpack-value 64"],
    ),
    "a threshold that falls": Case(
        *("HSET h a 1 b 2 c 3 d 4", "HEXPIRE h 99 FIELDS 1 a", "HSET {h}g a 1 b 2 c 3 d 4"),
        *("CONFIG SET hash-max-listpack-entries 3", "OBJECT ENCODING h", "HSET h a 2"),
        *(
            "OBJECT ENCODING h",
            "HSET {h}g a 2",
            "OBJECT ENCODING {h}g",
            "HSET {h}g e 2",
            "HSET h e 2",
        ),
        *("OBJECT ENCODING {h}g", "OBJECT ENCODING h"),
        cleanup=["CONFIG SET hash-max-listpack-entries 512"],
    ),
    "what makes a listpackex": [
        step
        for line in (
            *("HEXPIRE h 9 FIELDS 1 a", "HEXPIRE h 9 FIELDS 1 no", "HEXPIRE h 0 FIELDS 1 a"),
            *("HEXPIRE h 0 FIELDS 1 no", "HEXPIRE h 9 XX FIELDS 1 a", "HEXPIRE h 0 GT FIELDS 1 a"),
            *("HEXPIRE h 9 FIELDS 2 a", "HEXPIRE h -1 FIELDS 1 a", "HPERSIST h FIELDS 1 a"),
            *("HGETEX h FIELDS 1 a", "HGETEX h EX 9 FIELDS 1 a", "HGETEX h EX 9 FIELDS 1 no"),
            *("HGETEX h EX 0 FIELDS 1 a", "HGETEX h EX 0 FIELDS 1 no", "HSETEX h FIELDS 1 a 1"),
            *("HGETEX h PERSIST FIELDS 1 a", "HGETEX h PERSIST FIELDS 1 no"),
            *("HSETEX h EX 9 FIELDS 1 a 1", "HSETEX h EX 0 FIELDS 1 a 1", "HTTL h FIELDS 1 a"),
            *("HSETEX h KEEPTTL FIELDS 1 a 1", "HSETEX h FNX EX 9 FIELDS 1 a 1"),
            *("HSETEX h FXX EX 9 FIELDS 1 a 1", "HSETEX h FXX EX 9 FIELDS 1 no 1"),
            *("HSETEX h FNX EX 0 FIELDS 1 no 1", "HGETDEL h FIELDS 1 a"),
        )
        for step in ("DEL h", "HSET h a 1 b 2", line, "OBJECT ENCODING h", "HGETALL h")
    ],
}

ORDER: Table = {
    "by expire time": [
        "HSET h a 1 b 2 c 3 d 4 e 5 f 6",
        *(
            step
            for line in (
                *("HPEXPIREAT h 9999999999999 FIELDS 3 a b c", "HSET h d 7", "HSET h g 7"),
                *("HPEXPIREAT h 9999999999999 FIELDS 1 e", "HPEXPIREAT h 9999999999999 FIELDS 1 a"),
                *(
                    "HPEXPIREAT h 9999999999998 FIELDS 2 f b",
                    "HPEXPIREAT h 9999999999998 FIELDS 1 f",
                ),
                *("HSET h b 8", "HINCRBY h c 1", "HINCRBY h d 1", "HINCRBYFLOAT h a 1"),
                *("HDEL h f", "HPERSIST h FIELDS 2 e a", "HSET h f 1 e 8", "HSETNX h x 1"),
                *("HSETEX h PXAT 9999999999990 FIELDS 3 a 1 e 2 y 3", "HSETEX h FIELDS 2 e 1 z 2"),
                *("HSETEX h KEEPTTL FIELDS 2 a 5 b 5", "HGETEX h PERSIST FIELDS 2 y a"),
                *("HGETEX h PXAT 9999999999991 FIELDS 2 b y", "HGETDEL h FIELDS 2 y b"),
                *("COPY h {h}k", "RENAME {h}k h", "HPERSIST h FIELDS 9 a b c d e f g x y"),
                *("HMSET h a 9 q 9", "HDEL h a", "HSET h a 1"),
            )
            for step in (line, "HGETALL h", "HKEYS h", "HVALS h", "HSCAN h 0", "OBJECT ENCODING h")
        ),
    ],
    "of a hashtable, any": [
        (b"HSET", b"h", b"long", b"x" * 100, b"a", b"1", b"b", b"2"),
        *("HPEXPIREAT h 9999999999999 FIELDS 2 a b", pairs("HGETALL h"), "HSET h a 5"),
        *(pairs("HGETALL h"), "HPEXPIRETIME h FIELDS 3 a b long", "OBJECT ENCODING h"),
        *("HPERSIST h FIELDS 1 b", pairs("HGETALL h"), "OBJECT ENCODING h"),
    ],
}

CONDITIONS = ("", "NX", "XX", "GT", "LT", "nx", "gT", "BOGUS", "NX XX", "GT LT", "NX NX")
SETTERS = ("HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT")

FIELD_TIMES: Table = {
    **{
        f"{name} with conditions": [
            step
            for condition, time in product(CONDITIONS, (0, 5_000_000_000, 6_000_000_000))
            for step in (
                *("DEL h", "HSET h a 1 b 2 c 3", "HEXPIREAT h 7000000000 FIELDS 1 a"),
                f"{name} h {time} {condition} FIELDS 4 a b no a",
                *STATE,
            )
        ]
        for name in SETTERS
    },
    **{
        f"{name} and its number": [
            "HSET h a 1",
            *(
                step
                for n in TIMES
                if (name, n) not in (("HPEXPIRE", b"1"), ("HPEXPIRE", b"10"))  # over at once
                for step in (
                    (name.encode(), b"h", n, b"FIELDS", b"1", b"a"),
                    (name.encode(), b"h", n, b"BOGUS", b"1", b"a"),
                    (name.encode(), b"h", n, b"FIELDS", b"0", b"a"),
                    near(60_000, "HPEXPIRETIME h FIELDS 1 a"),
                    "HSET h a 1",
                )
            ),
        ]
        for name in SETTERS
    },
    **{
        f"{name} and how many fields": [
            step
            for key in ("h", "no")
            for step in (
                "HSET h a 1",
                *((name.encode(), key.encode(), *before, b"FIELDS", n, b"a") for n in INTEGERS),
                *(
                    (name.encode(), key.encode(), *before, b"FIELDS", n, b"a", b"b")
                    for n in INTEGERS
                ),
                (name.encode(), key.encode(), *before, b"fields", b"2", b"no", b"no"),
                (name.encode(), key.encode(), *before, b"FIELDS", b"1", b"a", b"NX"),
                (name.encode(), key.encode(), b"FIELDS", b"1", b"a", *before, b"x"),
                *STATE,
            )
        ]
        for name, before in (
            *((name, (b"5000000000",)) for name in SETTERS if name.endswith("AT")),
            *(("HEXPIREAT", (b"5000000000", condition)) for condition in (b"NX", b"xx")),
            *((name, ()) for name in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST")),
            *(("HGETDEL", ()), ("HGETEX", ()), ("HGETEX", (b"PERSIST",))),
            ("HGETEX", (b"EXAT", b"5000000000")),
        )
    },
    "what is left": [
        *("HSET h a 1 b 2", "HEXPIREAT h 7000000000 FIELDS 1 a", "HEXPIRETIME h FIELDS 2 a b"),
        *("HPEXPIRETIME h FIELDS 1 a", near(1, "HTTL h FIELDS 1 a"), "HTTL h FIELDS 2 b no"),
        *(near(60_000, "HPTTL h FIELDS 1 a"), "HPEXPIREAT h 3000000000001 FIELDS 1 a"),
        *("HEXPIRETIME h FIELDS 1 a", "HPEXPIREAT h 3000000000999 FIELDS 1 a"),
        *("HEXPIRETIME h FIELDS 1 a", "HPEXPIREAT h 3000000001000 FIELDS 1 a"),
        *("HEXPIRETIME h FIELDS 1 a", "HPERSIST h FIELDS 3 a b no", "HPERSIST h FIELDS 1 a"),
        "HTTL h FIELDS 1 a",
    ],
    "what keeps and what takes the time away": [
        step
        for line in (
            *("HSET h a 2", "HMSET h a 2", "HSETNX h a 2", "HINCRBY h a 1", "HINCRBYFLOAT h a 1"),
            *("HSETEX h FIELDS 1 a 2", "HSETEX h KEEPTTL FIELDS 1 a 2", "HGETEX h FIELDS 1 a"),
            *("HGETEX h PERSIST FIELDS 1 a", "HGETDEL h FIELDS 1 a", "HGET h a", "COPY h {h}g"),
            *("HSETEX h EXAT 6000000000 FIELDS 1 a 2", "HSETEX h PXAT 1 FIELDS 1 a 2"),
            *("RENAME h {h}g", "DEL h", "PERSIST h", "EXPIRE h 1000", "HDEL h a"),
        )
        for step in (
            *("DEL h {h}g", "HSET h a 1 b 2", "HEXPIREAT h 7000000000 FIELDS 2 a b", line),
            *("HPEXPIRETIME h FIELDS 2 a b", "HPEXPIRETIME {h}g FIELDS 2 a b", "HGETALL h"),
            *("HSET h a 5", "HPEXPIRETIME h FIELDS 2 a b", "HDEL h a b", "EXISTS h"),
        )
    ],
    "to another database and back": [
        *("HSET h a 1 b 2", "HEXPIREAT h 7000000000 FIELDS 1 a", "MOVE h 1", "EXISTS h"),
        *("SELECT 1", "HPEXPIRETIME h FIELDS 2 a b", "COPY h h DB 0", "SELECT 0"),
        *("HPEXPIRETIME h FIELDS 2 a b", "HGETALL h"),
    ],
    "in the past, all the fields": [
        step
        for line in (
            *(
                "HEXPIREAT h 1 FIELDS 2 a b",
                "HPEXPIRE h 0 FIELDS 3 a no b",
                "HEXPIRE h 0 FIELDS 1 a",
            ),
            *("HGETEX h PXAT 1 FIELDS 2 a b", "HGETEX h EX 0 FIELDS 3 b a b"),
            *("HSETEX h EXAT 1 FIELDS 2 a 1 b 1", "HSETEX h PX 0 FIELDS 2 b 1 b 2"),
            *("HSETEX h PX 0 FNX FIELDS 1 no 2", "HGETDEL h FIELDS 3 a b a"),
        )
        for step in ("HSET h a 1 b 2", line, "EXISTS h", *STATE, "DEL h", line, "EXISTS h")
    ],
    "many fields with times": [
        (b"HSET", b"h", *(b"%d" % (i // 2) for i in range(1400))),
        *(
            (b"HPEXPIREAT", b"h", b"%d" % (3 * 10**12 + i % 9), b"FIELDS", b"1", b"%d" % i)
            for i in range(0, 700, 1)
        ),
        *((b"HPEXPIRETIME", b"h", b"FIELDS", b"2", b"%d" % i, b"0") for i in range(0, 700, 50)),
        *(
            "HLEN h",
            "OBJECT ENCODING h",
            pairs("HGETALL h"),
            "HPERSIST h FIELDS 2 5 6",
            "HSET h 7 x",
        ),
        *("HPEXPIRETIME h FIELDS 3 5 6 7", "HDEL h 8", "HPEXPIREAT h 1 FIELDS 2 9 10", "HLEN h"),
        *("COPY h {h}g", "HPEXPIRETIME {h}g FIELDS 4 5 6 7 11", "HLEN {h}g"),
    ],
}

ON_EXPIRED = (
    *(
        "HGET h a",
        "HMGET h a",
        "HMGET h a b c",
        "HMGET h c",
        "HEXISTS h a",
        "HSTRLEN h a",
        "HLEN h",
    ),
    *("HGETALL h", "HKEYS h", "HVALS h", "HSCAN h 0", "HSCAN h 0 NOVALUES", "HRANDFIELD h"),
    *(
        "HRANDFIELD h 5",
        "HRANDFIELD h -5",
        "HRANDFIELD h 1 WITHVALUES",
        "HSET h a 5",
        "HSETNX h a 5",
    ),
    *("HMSET h a 5 z 6", "HINCRBY h a 5", "HINCRBYFLOAT h a 5", "HINCRBY h a x", "HDEL h a"),
    *("HDEL h a b c", "HGETDEL h FIELDS 1 a", "HGETDEL h FIELDS 3 c a c", "HGETEX h FIELDS 1 a"),
    *("HGETEX h EX 100 FIELDS 3 c a c", "HGETEX h PERSIST FIELDS 3 c a c", "HTTL h FIELDS 1 a"),
    *("HGETEX h PXAT 1 FIELDS 3 c a c", "HSETEX h FIELDS 1 a 5", "HSETEX h FNX FIELDS 1 a 5"),
    *("HSETEX h FXX FIELDS 1 a 5", "HSETEX h FXX FIELDS 2 c 9 b 8", "HSETEX h EX 9 FIELDS 1 a 5"),
    *("HSETEX h FNX FIELDS 2 c 9 b 8", "HSETEX h FNX FIELDS 2 b 9 c 8", "HPERSIST h FIELDS 1 a"),
    *("HSETEX h FXX FIELDS 2 a 9 b 8", "HSETEX h KEEPTTL FIELDS 1 a 5", "HEXPIRE h 9 FIELDS 1 a"),
    *("HEXPIRE h 9 NX FIELDS 1 a", "HEXPIRE h 9 XX FIELDS 1 a", "HEXPIRE h 9 GT FIELDS 1 a"),
    *("HEXPIRE h 9 LT FIELDS 1 a", "HEXPIRE h 0 FIELDS 1 a", "HEXPIRETIME h FIELDS 1 a"),
    *(
        "EXISTS h",
        "TYPE h",
        "OBJECT ENCODING h",
        "PERSIST h",
        "TTL h",
        "COPY h {h}g",
        "RENAME h {h}g",
    ),
    *("MOVE h 1", "EXPIRE h 100"),
)

EXPIRED: Table = {
    f"{line} on expired fields": Case(
        NO_ACTIVE_EXPIRE,
        *(
            step
            for before in (ONE_EXPIRED, TWO_EXPIRED)
            for step in (
                *("DEL {h}g", *before),
                line,
                *(
                    "HLEN h",
                    "HGETALL h",
                    "HLEN {h}g",
                    "HGETALL {h}g",
                    "HGET h a",
                    "HLEN h",
                    "EXISTS h",
                ),
            )
        ),
        cleanup=[ACTIVE_EXPIRE],
    )
    for line in ON_EXPIRED
}

GETEX_OPTIONS = (
    *("", "EX 100", "ex 0", "PX 100000", "EXAT 7000000000", "pxat 7000000000000", "PXAT 1"),
    *(
        "PERSIST",
        "persist",
        "KEEPTTL",
        "NX",
        "EX",
        "EX x",
        "EX -1",
        "PX -1",
        "EXAT -1",
        "EX 1 EX 2",
    ),
    *(
        "PERSIST EX 1",
        "EX 1 PERSIST",
        "PERSIST PERSIST",
        f"PXAT {MAX_TIME}",
        f"PXAT {MAX_TIME + 1}",
    ),
    *(f"EXAT {MAX_TIME // 1000}", f"EXAT {MAX_TIME // 1000 + 1}", f"EX {MAX}", f"PX {MAX}"),
    f"EX {MAX_TIME // 1000}",
)
SETEX_WORDS = (
    *("FNX", "fxx", "KEEPTTL", "EX 100", "px 0", "EXAT 7000000000", "PXAT 1", "EX x", "EX -1"),
    *("PERSIST", f"PXAT {MAX_TIME + 1}", "EX"),
)


@pytest.mark.parametrize("script", cases(ARITY, BASICS))
def test_basics(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(NUMBERS))
def test_numbers(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(SCANS))
def test_some_of_the_fields(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(ENCODING, ORDER))
def test_encodings(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(FIELD_TIMES))
def test_field_times(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(EXPIRED))
def test_expired_fields(script: Case, compare: Compare) -> None:
    compare(script)


def test_hgetex_options(compare: Compare) -> None:
    steps: list[Line | Step] = []
    for option in GETEX_OPTIONS:
        for rest in ("FIELDS 1 a", "FIELDS 3 b no a", "FIELDS 2 a a", "FIELDS 0 a", "", "FIELDS"):
            steps += ["DEL h", "HSET h a 1 b 2", "HEXPIREAT h 6000000000 FIELDS 1 b"]
            steps += [f"HGETEX h {option} {rest}", *STATE]
        steps += [f"HGETEX h FIELDS 1 a {option}", f"HGETEX no {option} FIELDS 1 a", *STATE]
    compare(steps)


def test_hsetex_options_in_every_order(compare: Compare) -> None:
    steps: list[Line | Step] = []
    for chosen in (words for n in range(3) for words in permutations(SETEX_WORDS, n)):
        options = " ".join(chosen)
        for pairs_ in ("FIELDS 1 a 5", "FIELDS 2 b 6 no 7"):
            steps += ["DEL h", "HSET h a 1 b 2", "HEXPIREAT h 6000000000 FIELDS 1 b"]
            steps += [f"HSETEX h {options} {pairs_}", *STATE]
    for word in SETEX_WORDS:
        steps += [f"HSETEX h {word} {word} FIELDS 1 a 1", f"HSETEX h FIELDS 1 a 1 {word}", *STATE]
        steps += [f"HSETEX h {word}", f"HSETEX h {word} FIELDS", f"HSETEX h {word} FIELDS 1 a"]
        steps += [f"HSETEX h {word} FIELDS 0 a 1", f"HSETEX h {word} {word} {word} {word}"]
        steps += ["DEL h", f"HSETEX h {word} FIELDS 2 a 1 b 2", *STATE, "SET h v"]
        steps += [f"HSETEX h {word} FIELDS 1 a 1", "DEL h"]
    steps += [(b"HSETEX", b"h", b"FIELDS", n, b"a", b"1") for n in (*INTEGERS, b"2147483648")]
    compare(steps)


def _program(random: Random, size: int) -> list[Line | Step]:
    """Return a random command, and what looks at its effect."""
    key = random.choice([b"h", b"{h}g"])
    fields = [b"%d" % random.randrange(size) for _ in range(random.choice([1, 1, 2, 3]))]
    value = random.choice(
        [b"1", b"2.5", b"x" * random.randrange(70), b"%d" % random.getrandbits(40)]
    )
    pairs_: Sequence[bytes] = [side for field in fields for side in (field, value)]
    time = b"%d" % (5 * 10**12 + random.randrange(3))
    counted = [b"FIELDS", b"%d" % len(fields), *fields]
    condition = random.choice([[], [], [b"NX"], [b"XX"], [b"GT"], [b"LT"]])
    how = random.choice([[], [b"KEEPTTL"], [b"PXAT", time], [b"FNX"], [b"FXX", b"PXAT", time]])
    argv = random.choice(
        [
            (b"HSET", key, *pairs_),
            (b"HSET", key, *pairs_),
            (b"HSETNX", key, fields[0], value),
            (b"HDEL", key, *fields),
            (b"HGETDEL", key, *counted),
            (b"HINCRBY", key, fields[0], b"3"),
            (b"HINCRBYFLOAT", key, fields[0], b"0.25"),
            (b"HMGET", key, *fields),
            (b"HPEXPIREAT", key, time, *condition, *counted),
            (b"HPEXPIREAT", key, time, *condition, *counted),
            (b"HPEXPIREAT", key, b"1", *condition, *counted),
            (b"HPERSIST", key, *counted),
            (b"HGETEX", key, b"PXAT", time, *counted),
            (b"HGETEX", key, b"PERSIST", *counted),
            (b"HSETEX", key, *how, b"FIELDS", b"%d" % len(fields), *pairs_),
            (b"COPY", b"h", b"{h}g", b"REPLACE"),
            (b"RENAME", b"{h}g", b"h"),
        ]
    )
    return [argv, (b"HPEXPIRETIME", key, *counted), (b"OBJECT", b"ENCODING", key), (b"HLEN", key)]


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_of_small_hashes(seed: int, compare: Compare) -> None:
    random = Random(seed)
    steps: list[Line | Step] = ["CONFIG SET hash-max-listpack-value 512"]
    for _ in range(400):
        steps += [*_program(random, 12), "HGETALL h", "HGETALL {h}g"]
    compare(Case(*steps, cleanup=["CONFIG SET hash-max-listpack-value 64"]))


@pytest.mark.parametrize("seed", range(2))
def test_random_changes_of_large_hashes(seed: int, compare: Compare) -> None:
    random = Random(seed)
    steps: list[Line | Step] = []
    for _ in range(900):
        steps += _program(random, 5000)
        steps.append((b"HSET", b"h", *(b"%d" % random.randrange(5000) for _ in range(8))))
    compare([*steps, pairs("HGETALL h"), pairs("HGETALL {h}g")])
