"""MIGRATE beside redis-server, each to a redis-server of its own; and keys from Shoal to Shoal."""

import re
import socket
from collections.abc import Iterator

import pytest
from support.differential import Case, Compare, Table, cases
from support.raw import bulk_text, split_reply
from support.servers import Oracle, Server, Shoal, free_port

ERRORS: Table = {
    "any number of arguments": ["MIGRATE", *("MIGRATE" + " a" * n for n in range(1, 5))],
    "no key": ["MIGRATE 127.0.0.1 1 k 0 100", 'MIGRATE 127.0.0.1 1 "" 0 100 KEYS {t}a {t}b'],
    "nobody listens": [
        "SET k v",
        *(f"MIGRATE 127.0.0.1 {port} k 0 {ms}" for port in ("1", "x") for ms in ("100", "0", "-5")),
        "MIGRATE 127.0.0.1 -1 k 0 100",
        "MIGRATE nosuchhost.invalid 1 k 0 100",
        "GET k",
    ],
    "wrong arguments": [
        "SET k v",
        *(f"MIGRATE 127.0.0.1 1 k {db} {ms}" for db in ("x", "0", "") for ms in ("x", "1.5", " 1")),
        *(f"MIGRATE 127.0.0.1 1 k x x {o}" for o in ("FOO", "AUTH", "AUTH2", "AUTH2 a", "COPY x")),
        *("MIGRATE 127.0.0.1 1 k 0 9 KEYS k", "MIGRATE 127.0.0.1 1 k x y KEYS", "EXISTS k"),
    ],
    "keys of a call": [
        'COMMAND GETKEYS MIGRATE h 1 "" 0 100 COPY KEYS k j',
        "COMMAND GETKEYS MIGRATE h 1 k 0 100 COPY",
        'COMMAND GETKEYS MIGRATE h 1 "" 0 100 COPY',
        'COMMAND GETKEYSANDFLAGS MIGRATE h 1 "" 0 100 KEYS k j',
    ],
}


@pytest.mark.parametrize("script", cases(ERRORS))
def test_errors(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.fixture(scope="module")
def targets() -> Iterator[tuple[Oracle, Oracle]]:
    with Oracle() as theirs, Oracle() as ours:
        yield theirs, ours


BEFORE = [
    "SET {t}s string",
    "SET {t}v volatile PXAT 9999999999999",
    "RPUSH {t}l 1 2 3",
    "SADD {t}t a",
    "HSET {t}h f v",
    "ZADD {t}z 1 m",
    "XADD {t}x 1-1 f v",
]
NAMES = [f"{{t}}{name}" for name in "svlthzx"]
MOVES = {
    "one": [f"{name} 0 5000" for name in NAMES],
    "several": [f'"" 3 5000 KEYS {" ".join(NAMES)} {{t}}missing'],
    "copy": [f"{NAMES[0]} 0 5000 COPY", f"{NAMES[0]} 0 5000 COPY", f"{NAMES[0]} 0 5000 REPLACE"],
    "some are there already": [
        f"{NAMES[2]} 0 5000 COPY",
        f'"" 0 5000 KEYS {" ".join(NAMES)}',
        f'"" 0 5000 REPLACE KEYS {" ".join(NAMES)}',
    ],
    "no such database": [f"{NAMES[0]} 99 5000", f'"" 99 5000 COPY KEYS {" ".join(NAMES)}'],
    "a password that nobody wants": [f"{NAMES[0]} 0 5000 AUTH x", f"{NAMES[0]} 0 5000 AUTH2 a b"],
    "to a user": [f"{NAMES[0]} 0 5000 COPY AUTH2 default x"],
}


def contents(server: Server) -> list[bytes]:
    """Return what the target holds, by DUMP, and its expire times."""
    found = []
    with server.client() as client:
        for db in (0, 3):
            client.call(b"SELECT", b"%d" % db)
            for key in sorted(map(bulk_text, split_reply(client.call(b"KEYS", b"*"))[1])):
                dumped = client.call(b"DUMP", key)
                found += [b"%d" % db, key, dumped, client.call(b"TYPE", key)]
    return found


@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES.keys())
def test_moves(moves: list[str], targets: tuple[Oracle, Oracle], compare: Compare) -> None:
    sides = ((compare.oracle, targets[0]), (compare.subject, targets[1]))
    seen = []
    for source, target in sides:
        target.raw("FLUSHALL")
        source.raw("FLUSHALL")
        with source.client() as client:
            replies = [client.call_line(line) for line in BEFORE]
            for move in moves:
                replies.append(client.call_line(f"MIGRATE 127.0.0.1 {target.port} {move}"))
                replies.append(client.call_line(f"EXISTS {' '.join(NAMES)}"))
        ttl = target.raw(f"PTTL {NAMES[1]}")
        seen.append((replies, contents(target), re.sub(rb"\d{6}\r", b"", ttl)))
    assert seen[0] == seen[1]


def test_from_shoal_to_shoal() -> None:
    with Shoal(workers=3) as one, Shoal("--requirepass", "secret", workers=2) as other:
        with one.client() as client:
            for number in range(20):
                client.call(b"RPUSH", b"list:%d" % number, b"a", b"b")
                reply = client.call_line(
                    f"MIGRATE 127.0.0.1 {other.port} list:{number} 0 5000 AUTH secret"
                )
                assert reply == b"+OK\r\n"
            assert client.call(b"DBSIZE") == b":0\r\n"
        with other.client() as client:
            client.call(b"AUTH", b"secret")
            assert client.call(b"DBSIZE") == b":20\r\n"
            assert client.call(b"LRANGE", b"list:7", b"0", b"-1") == b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"


def test_a_target_that_does_not_answer() -> None:
    with Shoal(workers=1) as shoal, socket.socket() as mute:
        mute.bind(("127.0.0.1", free_port()))
        mute.listen()
        with shoal.client() as client:
            client.call(b"SET", b"k", b"v")
            reply = client.call_line(f"MIGRATE 127.0.0.1 {mute.getsockname()[1]} k 0 50")
            assert reply == b"-IOERR error or timeout reading from target instance\r\n"
            assert client.call(b"GET", b"k") == b"$1\r\nv\r\n"
