"""MEMORY beside redis-server: its words, errors and shapes; the figures are each one's own."""

import re

import pytest
from support.differential import Case, Compare, Table, cases, shape
from support.servers import Oracle, Shoal

KINDS = {
    "string": "SET k v",
    "volatile string": "SET k v EX 100",
    "integer": "SET k 12",
    "empty string": 'SET k ""',
    "bits": "SETBIT k 1000 1",
    "HyperLogLog": "PFADD k a b c",
    "list": "RPUSH k a b c",
    "set": "SADD k a b c",
    "hash": "HSET k a 1 b 2",
    "sorted set": "ZADD k 1 a 2 b",
    "stream": "XADD k 1-1 a b",
}

USAGE: Table = {
    "arity": [
        *("MEMORY", "MEMORY USAGE", "MEMORY USAGE k", "MEMORY WHAT", "MEMORY HELP x"),
        *("MEMORY DOCTOR x", "MEMORY PURGE x", "MEMORY STATS x", "MEMORY MALLOC-STATS x"),
    ],
    "options": [
        "SET k v",
        *[
            shape(f"memory usage {key} {options}")
            for key in ("k", "missing")
            for options in (
                *("", "SAMPLES 0", "samples 1", "SAMPLES 9223372036854775807"),
                *("SAMPLES 5 SAMPLES 6", '"SAMPLES\\x00" 5'),
            )
        ],
    ],
    "bad options": [
        "SET k v",
        *[
            f"MEMORY USAGE {key} {options}"
            for key in ("k", "missing")
            for options in (
                *("SAMPLES", "SAMPLES -1", "SAMPLES x", "SAMPLES 1.5", 'SAMPLES ""', "WHAT"),
                *("WHAT 1", "5", "SAMPLES 9223372036854775808", "SAMPLES 1 x"),
                *("SAMPLES 5 SAMPLES", "SAMPLES -1 WHAT", "SAMPLES x WHAT"),
            )
        ],
    ],
    "keys of any bytes": [(b"SET", b"\x00\r\n", b"v"), shape((b"MEMORY", b"USAGE", b"\x00\r\n"))],
}

USAGE_OF: Table = {
    name: [line, shape("MEMORY USAGE k"), shape("MEMORY USAGE k SAMPLES 0")]
    for name, line in KINDS.items()
}

REST: Table = {
    "help": ["MEMORY HELP", "memory help"],
    "purge": ["MEMORY PURGE", "SET k v", "memory purge", "GET k"],
}


@pytest.mark.parametrize("script", cases(USAGE, USAGE_OF, REST))
def test_memory(script: Case, compare: Compare) -> None:
    compare(script)


def test_stats_are_among_those_of_redis(oracle: Shoal, subject: Shoal) -> None:
    replies = []
    for server in (oracle, subject):
        with server.client() as client:
            client.call(b"FLUSHALL")
            client.call(b"MSET", b"{t}a", b"1", b"{t}b", b"2")
            client.call(b"SELECT", b"3")
            client.call(b"SET", b"k", b"v")
            replies.append(client.call(b"MEMORY", b"STATS"))
            client.call(b"FLUSHALL")
    names = [re.findall(rb"\$\d+\r\n([a-z][^\r]+)\r\n", reply) for reply in replies]
    assert set(names[1]) <= set(names[0])
    assert [name for name in names[0] if name in names[1]] == names[1], "in another order"
    found = dict(re.findall(rb"\$\d+\r\n([a-z.]+)\r\n:(\d+)\r\n", replies[1]))
    assert found[b"keys.count"] == b"3"
    assert int(found[b"overhead.hashtable.main"]) > 0
    # The workers' Python alone takes more than this.
    assert int(found[b"peak.allocated"]) >= int(found[b"total.allocated"]) > 8_000_000


def test_there_are_no_figures_of_an_allocator(subject: Shoal) -> None:
    text = b"Stats not supported for the current allocator"
    assert subject.raw("MEMORY MALLOC-STATS") == b"$%d\r\n%b\r\n" % (len(text), text)


def test_the_doctor_of_an_empty_server() -> None:
    # Both of its own: what the doctor says is about a server's whole past, its peak of memory too.
    with Oracle() as redis, Shoal("--appendonly", "no", workers=2) as fresh:
        for protocol in (b"2", b"3"):
            with redis.client() as right, fresh.client() as client:
                for each in (right, client):
                    each.call(b"HELLO", protocol)
                assert client.call(b"MEMORY", b"DOCTOR") == right.call(b"MEMORY", b"DOCTOR")


def test_the_doctor_with_keys() -> None:
    with Shoal("--appendonly", "no", workers=2) as fresh:  # which had no peak of memory yet
        assert fresh.raw("SET k v") == b"+OK\r\n"
        assert fresh.raw("MEMORY DOCTOR").startswith((b"$", b"=")), "a bulk string"
        assert b"Hi Sam, I can't find any memory issue" in fresh.raw("MEMORY DOCTOR")
