"""Generic commands beside redis-server: keys of every type, expire times, SCAN, whole databases.

Keys of one command share a hash tag where the command does not span partitions.
"""

from itertools import permutations
from typing import Any

import pytest
from support.differential import Case, Compare, Table, cases, near, unordered
from support.raw import RawClient, split_reply
from support.servers import Server, Shoal

ARITY: Table = {
    f"wrong number of arguments: {line}": [line]
    for line in (
        "DEL",
        "UNLINK",
        "EXISTS",
        "TOUCH",
        "TYPE",
        "TYPE a b",
        "EXPIRE",
        "EXPIRE k",
        "PEXPIRE k",
        "EXPIREAT k",
        "PEXPIREAT k",
        "TTL",
        "TTL a b",
        "PTTL",
        "EXPIRETIME",
        "PEXPIRETIME a b",
        "PERSIST",
        "PERSIST a b",
        "RENAME k",
        "RENAME a b c",
        "RENAMENX k",
        "COPY k",
        "MOVE k",
        "MOVE k 1 2",
        "RANDOMKEY x",
        "KEYS",
        "KEYS a b",
        "SCAN",
        "DBSIZE x",
        "SWAPDB 0",
        "SWAPDB 0 1 2",
        "OBJECT",
        "OBJECT ENCODING",
        "object encoding a b",
        "OBJECT REFCOUNT",
        "OBJECT IDLETIME",
        "OBJECT FREQ",
        "OBJECT HELP x",
        "OBJECT NOSUCH",
        "OBJECT NOSUCH k",
    )
}

DELETE: Table = {
    "DEL counts each key once": ["MSET a 1 b 2 c 3", "DEL a b a nokey", "EXISTS a b c"],
    "UNLINK counts each key once": ["MSET a 1 b 2 c 3", "UNLINK a b a nokey", "EXISTS a b c"],
    "DEL of one": ["SET a 1", "DEL a", "DEL a", "GET a"],
    "DEL of a volatile key": ["SET a 1 EX 100", "DEL a", "TTL a", "SET a 2", "TTL a"],
    "EXISTS counts as often as asked": ["MSET a 1 b 2", "EXISTS a a b nokey a", "EXISTS nokey"],
    "TOUCH": ["MSET a 1 b 2", "TOUCH a a b nokey", "TOUCH nokey"],
    "TYPE": ["SET a 1", "TYPE a", "TYPE nokey", "APPEND a 1", "TYPE a", "EXPIRE a 9", "TYPE a"],
    "the empty key and binary keys": [
        (b"SET", b"", b"v"),
        (b"SET", b"\x00\r\n\xff", b"v"),
        (b"EXISTS", b"", b"\x00\r\n\xff"),
        (b"DEL", b"", b"\x00\r\n\xff"),
        "DBSIZE",
    ],
}

# Seconds and milliseconds, relative and absolute; 4102444800 is in the year 2100.
EXPIRE: dict[str, Any] = {
    "EXPIRE": ["SET k v", "EXPIRE k 100", near(2, "TTL k"), near(5000, "PTTL k"), "GET k"],
    "PEXPIRE": ["SET k v", "PEXPIRE k 100500", near(2, "TTL k"), near(5000, "PEXPIRETIME k")],
    "EXPIREAT": ["SET k v", "EXPIREAT k 4102444800", "EXPIRETIME k", "PEXPIRETIME k"],
    "PEXPIREAT": ["SET k v", "PEXPIREAT k 4102444800123", "EXPIRETIME k", "PEXPIRETIME k"],
    "EXPIRETIME rounds": ["SET k v", "PEXPIREAT k 4102444800500", "EXPIRETIME k"],
    "of no key": ["EXPIRE k 1", "PEXPIRE k 1", "EXPIREAT k 1", "PEXPIREAT k 1"],
    "times of no key": ["TTL k", "PTTL k", "EXPIRETIME k", "PEXPIRETIME k"],
    "times of a lasting key": ["SET k v", "TTL k", "PTTL k", "EXPIRETIME k", "PEXPIRETIME k"],
    "a new time replaces the old": [
        "SET k v EX 10",
        "EXPIREAT k 4102444800",
        "PEXPIREAT k 4102444900000",
        "PEXPIRETIME k",
    ],
    "PERSIST": ["SET k v EX 100", "PERSIST k", "TTL k", "PERSIST k", "PERSIST nokey", "GET k"],
    "of a changed string": ["SET k v", "APPEND k w", "EXPIRE k 50", "PERSIST k", "GET k", "TTL k"],
    "changes keep it": ["SET k 1 EX 100", "INCR k", "APPEND k 1", near(2, "TTL k")],
    "SET removes it": ["SET k v EX 100", "SET k v", "TTL k"],
} | {
    f"in the past: {line}": ["SET k v", line, "EXISTS k", "TTL k", "DBSIZE"]
    for line in (
        "EXPIRE k 0",
        "EXPIRE k -1",
        "PEXPIRE k 0",
        "PEXPIRE k -9223372036854775808",
        "EXPIREAT k 0",
        "EXPIREAT k 1000",
        "PEXPIREAT k 0",
        "PEXPIREAT k -1",
        "EXPIRE k -1 NX",
        "EXPIRE k -1 XX",
        "EXPIRE k -1 GT",
        "EXPIRE k -1 LT",
    )
}

BAD_EXPIRE: Table = {
    line: ["SET k v EX 1000", line, near(2, "TTL k"), line.replace(" k ", " nokey ", 1)]
    for line in (
        "EXPIRE k abc",
        'EXPIRE k ""',
        "EXPIRE k 1.5",
        "EXPIRE k +1",
        'EXPIRE k " 1"',
        "EXPIRE k 010",
        "EXPIRE k 9223372036854775807",
        "EXPIRE k 9223372036854775808",
        "EXPIRE k 9223372036854775",
        "EXPIRE k -9223372036854775808",
        "EXPIRE k -9223372036854776",
        "PEXPIRE k 9223372036854775807",
        "EXPIREAT k 9223372036854775807",
        "EXPIREAT k 9223372036854776",
        "EXPIREAT k -9223372036854776",
        "PEXPIREAT k 9223372036854775808",
        "EXPIRE k 10 FOO",
        "expire k abc foo",
        'EXPIRE k 10 ""',
        'EXPIRE k 10 "a\\r\\nb"',
        "EXPIRE k 10 NX FOO",
        "EXPIRE k 10 NX XX",
        "EXPIRE k 10 nx gt",
        "EXPIRE k 10 LT NX",
        "EXPIRE k 10 GT LT",
        "EXPIRE k 10 XX LT GT",
        "EXPIRE k 10 NX GT LT",
        "EXPIRE k 10 GT LT FOO",
        "PEXPIRE k 10 EX",
        "EXPIREAT k 10 KEEPTTL",
        "PEXPIREAT k 10 NX XX",
    )
}

FAR: Table = {
    "EXPIREAT of the last second": ["SET k v", "EXPIREAT k 9223372036854775", "PEXPIRETIME k"],
    "PEXPIREAT of the last millisecond": [
        "SET k v",
        "PEXPIREAT k 9223372036854775807",
        "PEXPIRETIME k",
        "EXPIRETIME k",
        near(5000, "PTTL k"),
    ],
}

# From a lasting key, and from one that expires between the two new times.
CONDITIONS: Table = {
    f"{setup}, then {' '.join(words)} of {at}": [
        setup,
        f"PEXPIREAT k {at} {' '.join(words)}",
        "PEXPIRETIME k",
    ]
    for setup in ("SET k v", "SET k v PXAT 4102444800000", "DEL k")
    for at in (4102444700000, 4102444800000, 4102444900000)
    for words in (
        *permutations(["NX", "nx"], 1),
        *permutations(["xx", "GT"]),
        *permutations(["XX", "lt"]),
        *permutations(["XX", "gt", "GT"]),
        ["Gt"],
        ["LT"],
        ["XX"],
        ["NX", "NX"],
    )
}

RENAME: Table = {
    "RENAME": ["SET {t}a 1", "RENAME {t}a {t}b", "GET {t}a", "GET {t}b", "DBSIZE"],
    "RENAME replaces": ["MSET {t}a 1 {t}b 2", "RENAME {t}a {t}b", "GET {t}b", "DBSIZE"],
    "RENAME of no key": ["RENAME {t}a {t}b", "SET {t}b 1", "RENAME {t}a {t}b", "GET {t}b"],
    "RENAME to itself": ["RENAME a a", "SET a 1 EX 50", "RENAME a a", "GET a", near(2, "TTL a")],
    "RENAME takes the expire time along": [
        "SET {t}a 1 PXAT 4102444800000",
        "SET {t}b 2 PXAT 4102444900000",
        "RENAME {t}a {t}b",
        "PEXPIRETIME {t}b",
        "SET {t}c 3",
        "RENAME {t}c {t}b",
        "TTL {t}b",
        "GET {t}b",
    ],
    "RENAMENX": ["SET {t}a 1", "RENAMENX {t}a {t}b", "GET {t}b", "EXISTS {t}a"],
    "RENAMENX does not replace": ["MSET {t}a 1 {t}b 2", "RENAMENX {t}a {t}b", "MGET {t}a {t}b"],
    "RENAMENX of no key": ["RENAMENX {t}a {t}b", "SET {t}b 1", "RENAMENX {t}a {t}b"],
    "RENAMENX to itself": ["RENAMENX a a", "SET a 1", "RENAMENX a a", "GET a"],
}

COPY: Table = {
    "COPY": ["SET {t}a 1", "COPY {t}a {t}b", "MGET {t}a {t}b"],
    "COPY does not replace": ["MSET {t}a 1 {t}b 2", "COPY {t}a {t}b", "GET {t}b"],
    "COPY of no key": ["COPY {t}a {t}b", "SET {t}b 1", "COPY {t}a {t}b REPLACE", "GET {t}b"],
    "COPY to itself": ["COPY a a", "SET a 1", "COPY a a", "COPY a a DB 0", "COPY a a REPLACE"],
    "COPY takes the expire time along": [
        "SET {t}a 1 PXAT 4102444800000",
        "SET {t}b 2 EX 50",
        "COPY {t}a {t}b REPLACE",
        "PEXPIRETIME {t}a",
        "PEXPIRETIME {t}b",
    ],
    "copies do not share": [
        "SET {t}a 1",
        "APPEND {t}a 2",
        "COPY {t}a {t}b",
        "APPEND {t}b 3",
        "APPEND {t}a 4",
        "MGET {t}a {t}b",
    ],
    "to another database": [
        "SET k 1 PXAT 4102444800000",
        "COPY k k DB 3",
        "COPY k k DB 3",
        "COPY k k DB 3 REPLACE",
        "SELECT 3",
        "GET k",
        "PEXPIRETIME k",
        "COPY k k DB 0",
        "COPY k k DB 3",
    ],
    "the last DB counts": ["SET {t}a 1", "COPY {t}a {t}b DB 1 DB 2", "SELECT 2", "GET {t}b"],
} | {
    f"COPY options {' '.join(words)}": [
        "MSET {t}a 1 {t}b 2",
        f"COPY {{t}}a {{t}}b {' '.join(words)}",
        "GET {t}b",
        "SELECT 1",
        "GET {t}b",
    ]
    for words in (
        ["REPLACE", "DB", "1"],
        ["db", "1", "replace"],
        ["Replace", "REPLACE"],
        ["DB"],
        ["REPLACE", "DB"],
        ["FOO"],
        ["REPLACE", "FOO", "DB", "99"],
        ["DB", "99", "FOO"],
        ["DB", "16"],
        ["DB", "15"],
        ["DB", "-1"],
        ["DB", "abc"],
        ["DB", "1.0"],
        ["DB", "2147483647"],
        ["DB", "2147483648"],
        ["DB", "-2147483649"],
        ["DB", "9223372036854775808"],
        ["DB", "99", "DB", "0"],
    )
}

MOVE: Table = {
    "MOVE": ["SET k 1", "MOVE k 2", "GET k", "SELECT 2", "GET k", "DBSIZE"],
    "MOVE does not replace": ["SET k 1", "SELECT 2", "SET k 2", "MOVE k 0", "GET k"],
    "MOVE of no key": ["MOVE k 2", "SELECT 2", "SET k 1", "SELECT 0", "MOVE k 2"],
    "MOVE to the same database": ["MOVE k 0", "SET k 1", "MOVE k 0", "GET k"],
    "MOVE takes the expire time along": [
        "SET k 1 PXAT 4102444800000",
        "MOVE k 2",
        "SELECT 2",
        "PEXPIRETIME k",
    ],
} | {
    f"MOVE k {db}": ["SET k 1", f"MOVE k {db}", f"MOVE nokey {db}", "GET k"]
    for db in (
        "15",
        "16",
        "-1",
        "abc",
        "1.0",
        '""',
        "2147483647",
        "2147483648",
        "-2147483649",
        "9223372036854775808",
    )
}

DATABASES: Table = {
    "DBSIZE": ["DBSIZE", "MSET a 1 b 2 c 3", "DBSIZE", "SELECT 1", "DBSIZE", "SET d 1", "DBSIZE"],
    "FLUSHDB": ["MSET a 1 b 2", "SELECT 1", "SET c 1", "FLUSHDB", "DBSIZE", "SELECT 0", "DBSIZE"],
    "FLUSHALL": ["MSET a 1 b 2", "SELECT 1", "SET c 1", "FLUSHALL", "DBSIZE", "SELECT 0", "DBSIZE"],
    "a flush takes the expire times": ["SET a 1 EX 9", "FLUSHALL", "TTL a", "SET a 1", "TTL a"],
    "SWAPDB": [
        "SET a 0",
        "SET e 0 PXAT 4102444800000",
        "SELECT 1",
        "SET a 1",
        "SWAPDB 0 1",
        "GET a",
        "PEXPIRETIME e",
        "DBSIZE",
        "SELECT 0",
        "GET a",
        "DBSIZE",
        "SWAPDB 1 0",
        "GET a",
    ],
    "SWAPDB with itself or an empty one": [
        "SET a 0",
        "SWAPDB 0 0",
        "GET a",
        "SWAPDB 0 9",
        "GET a",
        "SELECT 9",
        "GET a",
    ],
} | {
    line: ["SET a 1", line, "DBSIZE"]
    for line in (
        "FLUSHDB ASYNC",
        "flushdb sync",
        "FLUSHDB foo",
        "FLUSHDB ASYNC SYNC",
        "FLUSHDB SYNC SYNC",
        "FLUSHALL ASYNC",
        "flushall Sync",
        "FLUSHALL foo",
        "FLUSHALL SYNC ASYNC",
        'FLUSHALL ""',
        "SWAPDB a b",
        "SWAPDB 0 b",
        "SWAPDB 99 b",
        "SWAPDB 0 16",
        "SWAPDB 16 0",
        "SWAPDB -1 0",
        "SWAPDB 0 -1",
        "SWAPDB 2147483647 0",
        "SWAPDB 2147483648 0",
        "SWAPDB 0 -2147483649",
        "SWAPDB 0 99999999999999999999",
    )
}

_NAMES = "MSET one 1 two 2 three 3 four 4 {user}:1 5 {user}:2 6 user 7 h[llo 8 hello 9 hallo 10"

KEYS: dict[str, Any] = {
    "RANDOMKEY": ["RANDOMKEY", "SET only 1", "RANDOMKEY", "SELECT 1", "RANDOMKEY"],
    "KEYS of nothing": ["KEYS *", "SET a 1", "SELECT 1", "KEYS *"],
    "KEYS with the empty key": [(b"SET", b"", b"v"), "KEYS *", 'KEYS ""', "KEYS ?", "KEYS **"],
    "KEYS leaves out what has expired": Case(
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "SET a 1",
        "SET b 1 PX 1",
        "DEBUG SLEEP 0.005",
        "KEYS *",
        "DBSIZE",
        "EXISTS b",
        "DBSIZE",
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    ),
} | {
    f"KEYS {pattern}": [_NAMES, unordered(f"KEYS {pattern}")]
    for pattern in (
        "*",
        "**",
        "?????",
        "*o*",
        "t*",
        "h[ae]llo",
        "h[^e]llo",
        "h[a-e]llo",
        "h\\\\[llo",
        "hello",
        "nosuch",
        "{user}*",
        "{user}:?",
        "{user}:1",
        "{us*",
        "{us?r}*",
        "*{user}*",
        "{user",
        "user",
        "{}*",
        '""',
    )
}

# A call ends with its partition, so only one slot's keys come in one call whatever the number of
# workers. What a whole iteration finds is in tests/unit/test_scan.py and, through the sockets, in
# test_scan_finds_all below.
SCAN: dict[str, Any] = (
    {
        "options in any order": [
            unordered(f"SCAN 0 {' '.join(' '.join(option) for option in options)}")
            for options in permutations(
                [["match", "{a}*"], ["COUNT", "100000"], ["Type", "STRING"]]
            )
        ],
        "a pattern with a hash tag": [
            "MSET {s}1 1 {s}2 2 {s}3 3 u 4",
            unordered("SCAN 0 MATCH {s}* COUNT 1000"),
            unordered("SCAN 0 MATCH {s}[12] COUNT 1000 TYPE string"),
            "SCAN 0 MATCH {s}1 COUNT 1000",
            "SCAN 0 MATCH {s}9 COUNT 1000",
            "SCAN 0 MATCH {s}* COUNT 1000 TYPE list",
            "SCAN 0 MATCH {s}* COUNT 1000 TYPE nosuch",
            'SCAN 0 MATCH {s}* COUNT 1000 TYPE ""',
            r'SCAN 0 MATCH {s}* COUNT 1000 TYPE "\x00string"',
            "SCAN 0 MATCH x MATCH {s}2 COUNT 1000",
            "SELECT 1",
            "SCAN 0 MATCH {s}* COUNT 1000",
        ],
        "in a partition's last slot": ["SCAN 16383 COUNT 1000"],
    }
    | {
        f"wrong: {line}": [line]
        for line in (
            "SCAN abc",
            "SCAN -1",
            'SCAN ""',
            "SCAN 0x10",
            'SCAN "1 "',
            "SCAN 1.0",
            "SCAN 18446744073709551616",
            "SCAN -9223372036854775808",
            "SCAN 99999999999999999999999999999999",
            "SCAN abc COUNT 0",
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT -1",
            "SCAN 0 COUNT abc",
            "SCAN 0 COUNT 1.5",
            "SCAN 0 COUNT 9223372036854775808",
            "SCAN 0 COUNT 10 COUNT abc",
            "SCAN 0 COUNT",
            "SCAN 0 MATCH",
            "SCAN 0 TYPE",
            "SCAN 0 FOO",
            "SCAN 0 FOO BAR",
            "SCAN 0 MATCH x COUNT",
            "SCAN 0 TYPE foo FOO bar",
            "SCAN 0 NOVALUES",
            "SCAN 0 novalues COUNT 0",
            "SCAN 0 COUNT 0 NOVALUES",
            "SCAN 0 MATCH NOVALUES NOVALUES",
        )
    }
    | {
        # What is no plain number goes through strtoull. The last slot of all is the last
        # partition's.
        f"a cursor at the end: {cursor}": [f"SCAN {cursor} COUNT 100000"]
        for cursor in ("18446744073709551615", "-01", '" -1"', "+18446744073709551615")
    }
)

OBJECT: Table = {
    "HELP": ["OBJECT HELP", "object help"],
    "of no key": [f"OBJECT {name} nokey" for name in ("ENCODING", "REFCOUNT", "IDLETIME", "FREQ")],
    "REFCOUNT, IDLETIME and FREQ": [
        "SET k 5",
        "OBJECT REFCOUNT k",
        "OBJECT IDLETIME k",
        "OBJECT FREQ k",
        "set k abc EX 100",
        "OBJECT REFCOUNT k",
        "object freq k",
    ],
    "a string changed in place is raw": [
        "SET k 5",
        "APPEND k 6",
        "OBJECT ENCODING k",
        "INCR k",
        "OBJECT ENCODING k",
        "SETRANGE k 0 1",
        "OBJECT ENCODING k",
        "EXPIRE k 100",
        "OBJECT ENCODING k",
        "PERSIST k",
        "OBJECT ENCODING k",
    ],
    "a copy of a raw string is raw": [
        "SET {t}a 5",
        "APPEND {t}a 6",
        "COPY {t}a {t}b",
        "OBJECT ENCODING {t}b",
        "RENAME {t}b {t}c",
        "OBJECT ENCODING {t}c",
    ],
} | {
    f"ENCODING of {value}": [
        f"SET k {value}",
        "OBJECT ENCODING k",
        "EXPIRE k 9",
        "OBJECT ENCODING k",
    ]
    for value in (
        "0",
        "5",
        "-5",
        "-0",
        "+5",
        "007",
        '" 5"',
        '""',
        "1.0",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "10000000000000000000",
        "abc",
    )
}

ENCODING_BY_LENGTH: Table = {
    f"key of {key}, value of {value}": [
        f"SET {'k' * key} {'v' * value}",
        f"OBJECT ENCODING {'k' * key}",
        f"SET {'x' * key} {'v' * value} EX 100",
        f"OBJECT ENCODING {'x' * key}",
    ]
    for key in (1, 2, 10, 31)
    for value in (1, 32, 33, 40, 41, 44, 45)
    if value > 33 - key or key == 1
} | {
    f"sum {total} for a key of {key}": [
        f"SET {'k' * key} {'v' * (total - key)} {option}",
        f"OBJECT ENCODING {'k' * key}",
    ]
    for key in (1, 2, 10, 31)
    for total, option in ((41, ""), (42, ""), (33, "EX 100"), (34, "EX 100"))
}

EXPIRED: Table = {
    f"an expired key is missing to {line}": Case(
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "SET {k} v PX 1",
        "DEBUG SLEEP 0.005",
        line,
        "DBSIZE",
        "EXISTS {k}",
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    )
    for line in (
        "EXISTS {k}",
        "TOUCH {k}",
        "TYPE {k}",
        "TTL {k}",
        "PEXPIRETIME {k}",
        "PERSIST {k}",
        "EXPIRE {k} 100",
        "EXPIRE {k} -1",
        "DEL {k}",
        "UNLINK {k}",
        "RENAME {k} {k}2",
        "RENAMENX {k} {k}",
        "COPY {k} {k}2",
        "MOVE {k} 3",
        "OBJECT ENCODING {k}",
        "RANDOMKEY",
        "SCAN 0 MATCH {k}*",
    )
} | {
    f"an expired target is missing to {line}": Case(
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "SET {k} v PX 1",
        "SELECT 1",
        "SET {k} v PX 1",
        "SELECT 0",
        "DEBUG SLEEP 0.005",
        "SET {k}2 w",
        line,
        "DBSIZE",
        "TTL {k}",
        "SELECT 1",
        "TTL {k}",
        "DBSIZE",
        cleanup=["DEBUG SET-ACTIVE-EXPIRE 1"],
    )
    for line in ("RENAMENX {k}2 {k}", "COPY {k}2 {k}", "COPY {k}2 {k} DB 1", "RENAME {k}2 {k}")
}


@pytest.mark.parametrize(
    "script",
    cases(
        ARITY,
        DELETE,
        EXPIRE,
        BAD_EXPIRE,
        FAR,
        CONDITIONS,
        RENAME,
        COPY,
        MOVE,
        DATABASES,
        KEYS,
        SCAN,
        OBJECT,
        ENCODING_BY_LENGTH,
        EXPIRED,
    ),
)
def test_keys(script: Case, compare: Compare) -> None:
    compare(script)


def scan(client: RawClient, *options: bytes) -> list[bytes]:
    """Iterate to the end; return the bulks of all keys, as often as they came."""
    found: list[bytes] = []
    cursor = b"0"
    while True:
        _, (next_cursor, keys) = split_reply(client.call(b"SCAN", cursor, *options))
        found += split_reply(keys)[1]
        cursor = next_cursor.split(b"\r\n")[1]
        if cursor == b"0":
            return found


@pytest.mark.parametrize(
    "options",
    ["", "COUNT 1", "COUNT 1000", "MATCH *7*", "MATCH {t}*", "TYPE string", "TYPE list"],
)
def test_scan_finds_all(options: str, oracle: Server, subject: Shoal) -> None:
    results = []
    for server in (oracle, subject):
        with server.client() as client:
            client.call(b"FLUSHALL")
            for name in (b"key:%d", b"{t}:%d"):
                pairs = [word for i in range(1000) for word in (name % i, b"v")]
                client.call(b"MSET", *pairs)
            found = scan(client, *options.encode().split())
            assert len(set(found)) == len(found), "nothing changed: each key comes once"
            results.append(sorted(found))
    assert results[0] == results[1]
