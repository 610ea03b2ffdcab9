"""Clients that wait for lists, beside redis-server: who is served, when, with what, and who is not.

Connection "a" changes the lists, the others wait; `blocked(n)` makes sure that they do.
"""

import re

import pytest
from support.differential import (
    Case,
    Compare,
    Line,
    Step,
    Table,
    blocked,
    cases,
    mask,
    on,
    raw,
    reply,
    sends,
    until,
)
from support.raw import RawClient, pack, split_line
from support.servers import Server, wait_until

BOTH = ["LRANGE {t}k 0 -1", "LRANGE {t}m 0 -1"]


def waits(client: str, line: str, waiting: int) -> list[Step]:
    """Send a line that is not answered, and wait until `waiting` clients wait."""
    return [on(client, sends(line)), blocked(waiting)]


def these(*steps: Step | Line) -> tuple[Step | Line, ...]:
    """Return the steps; mypy finds no common type for them in a literal."""
    return steps


def gets(*clients: str) -> list[Step]:
    """Read a reply of each."""
    return [on(client, reply()) for client in clients]


SERVED: Table = {
    "BLPOP": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("RPUSH {t}k 1 2 3", *gets("b"), "LRANGE {t}k 0 -1"),
    ],
    "BRPOP": [
        *waits("b", "BRPOP {t}k 0", 1),
        *these("RPUSH {t}k 1 2 3", *gets("b"), "LRANGE {t}k 0 -1"),
    ],
    "after the whole command": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("LPUSH {t}k 1 2 3", *gets("b"), "LRANGE {t}k 0 -1"),
    ],
    "the last element": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("RPUSH {t}k 1", *gets("b"), "EXISTS {t}k", "DBSIZE"),
    ],
    "with a timeout": [*waits("b", "BLPOP {t}k 100", 1), "RPUSH {t}k 1", *gets("b")],
    "BLMPOP": [
        *waits("b", "BLMPOP 0 2 {t}no {t}k RIGHT COUNT 2", 1),
        *these("RPUSH {t}k 1 2 3", *gets("b"), "LRANGE {t}k 0 -1"),
        *waits("b", "BLMPOP 0 1 {t}m LEFT COUNT 9", 1),
        *these("RPUSH {t}m 1 2 3", *gets("b"), "EXISTS {t}m"),
    ],
    "BLMOVE": [
        *waits("b", "BLMOVE {t}k {t}m left RIGHT 0", 1),
        *these("RPUSH {t}m x", "RPUSH {t}k 1 2 3", *gets("b"), *BOTH),
    ],
    "BRPOPLPUSH": [
        *waits("b", "BRPOPLPUSH {t}k {t}m 0", 1),
        *these("RPUSH {t}m x", "RPUSH {t}k 1 2 3", *gets("b"), *BOTH),
    ],
    "to itself": [
        *waits("b", "BLMOVE {t}k {t}k LEFT RIGHT 0", 1),
        *these("RPUSH {t}k 1 2 3", *gets("b"), *BOTH),
        *these("DEL {t}k", *waits("b", "BRPOPLPUSH {t}k {t}k 0", 1)),
        *these("RPUSH {t}k 1", *gets("b"), *BOTH),
    ],
    "any bytes": [
        *[on("b", sends((b"BLPOP", b"{t}\r\n\x00\xff", b"0"))), blocked(1)],
        *these((b"RPUSH", b"{t}\r\n\x00\xff", b"\x00\r\n"), *gets("b")),
    ],
    "several keys": [
        *waits("b", "BLPOP {t}k {t}m {t}n 0", 1),
        *these("RPUSH {t}m 1", *gets("b"), *waits("b", "BRPOP {t}k {t}m {t}n 0", 1)),
        *these("RPUSH {t}n 1 2", *gets("b"), "RPUSH {t}k 1", "DBSIZE"),
    ],
    "one key twice": [
        *waits("b", "BLPOP {t}k {t}k 0", 1),
        *these("RPUSH {t}k 1 2", *gets("b"), "LRANGE {t}k 0 -1"),
    ],
    "again and again": [
        step
        for n in range(5)
        for step in these(
            *waits("b", "BLPOP {t}k 0", 1),
            *these(f"RPUSH {{t}}k {n}", *gets("b"), blocked(0)),
        )
    ],
    "by another database": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("SELECT 1", "RPUSH {t}k 1", blocked(1), "SELECT 0", "RPUSH {t}k 2", *gets("b")),
        *("SELECT 1", "LRANGE {t}k 0 -1"),
    ],
    "in another database": [
        *these(on("b", "SELECT 3"), *waits("b", "BLPOP {t}k 0", 1), "RPUSH {t}k 1", blocked(1)),
        *these("SELECT 3", "RPUSH {t}k 2", *gets("b"), "DBSIZE"),
    ],
}

ORDER: Table = {
    "who waits longest is first": [
        *waits("b", "BLPOP {t}k 0", 1),
        *waits("c", "BLPOP {t}k 0", 2),
        *waits("d", "BLPOP {t}k 0", 3),
        *these("RPUSH {t}k 1", *gets("b"), "RPUSH {t}k 2", *gets("c"), "RPUSH {t}k 3", *gets("d")),
    ],
    "several of one command": [
        *waits("b", "BLPOP {t}k 0", 1),
        *waits("c", "BLPOP {t}k 0", 2),
        *waits("d", "BLPOP {t}k 0", 3),
        *these("RPUSH {t}k 1 2", *gets("b", "c"), blocked(1), "RPUSH {t}k 3 4", *gets("d")),
        "LRANGE {t}k 0 -1",
    ],
    "each in its own way": [
        *waits("b", "BLPOP {t}k 0", 1),
        *waits("c", "BRPOP {t}k 0", 2),
        *waits("d", "BLMPOP 0 1 {t}k RIGHT COUNT 2", 3),
        *waits("e", "BRPOPLPUSH {t}k {t}m 0", 4),
        *waits("f", "BLMOVE {t}k {t}m LEFT RIGHT 0", 5),
        *these("RPUSH {t}k 1 2 3 4 5 6 7 8", *gets("b", "c", "d", "e", "f"), *BOTH),
    ],
    "who waits again is last": [
        *waits("b", "BLPOP {t}k 0", 1),
        *waits("c", "BLPOP {t}k 0", 2),
        *these("RPUSH {t}k 1", *gets("b"), *waits("b", "BLPOP {t}k 0", 2)),
        *these("RPUSH {t}k 2", *gets("c"), "RPUSH {t}k 3", *gets("b")),
    ],
    "one key of several": [
        *waits("b", "BLPOP {t}k {t}m 0", 1),
        *waits("c", "BLPOP {t}m 0", 2),
        *waits("d", "BLPOP {t}m {t}k 0", 3),
        *these("RPUSH {t}m 1", *gets("b"), "RPUSH {t}k 2", *gets("d"), "RPUSH {t}m 3", *gets("c")),
    ],
    "one that times out is passed over": [
        *waits("b", "BLPOP {t}k 0.05", 1),
        *waits("c", "BLPOP {t}k 0", 2),
        *these(*gets("b"), "RPUSH {t}k 1", *gets("c"), "EXISTS {t}k"),
    ],
}

CHAINS: Table = {
    "from list to list": [
        *waits("b", "BLMOVE {t}k {t}m LEFT RIGHT 0", 1),
        *waits("c", "BLMOVE {t}m {t}n LEFT RIGHT 0", 2),
        *waits("d", "BLPOP {t}n 0", 3),
        *these("RPUSH {t}k 1", *gets("b", "c", "d"), "DBSIZE"),
    ],
    "the other way round": [
        *waits("b", "BLPOP {t}n 0", 1),
        *waits("c", "BRPOPLPUSH {t}m {t}n 0", 2),
        *waits("d", "BRPOPLPUSH {t}k {t}m 0", 3),
        *these("RPUSH {t}k 1 2", *gets("d", "c", "b"), *BOTH, "DBSIZE"),
    ],
    "in a circle": [
        *waits("b", "BLMOVE {t}k {t}m LEFT RIGHT 0", 1),
        *waits("c", "BLMOVE {t}m {t}k LEFT RIGHT 0", 2),
        *these("RPUSH {t}k 1", *gets("b", "c"), *BOTH),
    ],
    "to one who waits for what is moved on": [
        *waits("b", "BLPOP {t}m 0", 1),
        *these("RPUSH {t}k 1 2", "LMOVE {t}k {t}m RIGHT LEFT", *gets("b"), *BOTH),
        *these(*waits("b", "BLPOP {t}m 0", 1), "RPOPLPUSH {t}k {t}m", *gets("b"), "DBSIZE"),
    ],
    "two for one list": [
        *waits("b", "BLMOVE {t}k {t}m LEFT RIGHT 0", 1),
        *waits("c", "BLPOP {t}k 0", 2),
        *waits("d", "BLPOP {t}m 0", 3),
        *these("RPUSH {t}k 1 2", *gets("b", "c", "d"), "DBSIZE"),
    ],
}

OTHER_TYPES: Table = {
    "a string is not waited for": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("SET {t}k v", blocked(1), "APPEND {t}k w", "DEL {t}k", "RPUSH {t}k 1", *gets("b")),
    ],
    "a string among the keys": [
        *waits("b", "BLPOP {t}k {t}m 0", 1),
        *these("SET {t}k v", blocked(1), "RPUSH {t}m 1", *gets("b"), *BOTH),
    ],
    "a string behind the key": [
        *waits("b", "BLPOP {t}k {t}m 0", 1),
        *these("SET {t}m v", blocked(1), "RPUSH {t}k 1", *gets("b"), "EXISTS {t}k {t}m"),
    ],
    "the target is a string": [
        *waits("b", "BLMOVE {t}k {t}m LEFT RIGHT 0", 1),
        *waits("c", "BRPOPLPUSH {t}k {t}m 0", 2),
        *waits("d", "BLPOP {t}k 0", 3),
        *these("SET {t}m v", "RPUSH {t}k 1 2", *gets("b", "c", "d"), "LRANGE {t}k 0 -1"),
    ],
    "a set, a hash, a sorted set": [
        *waits("b", "BLPOP {t}k 0", 1),
        *("SADD {t}k 1", "DEL {t}k", "HSET {t}k f v", "DEL {t}k", "ZADD {t}k 1 a", blocked(1)),
        *these("DEL {t}k", "LPUSH {t}k 1", *gets("b")),
    ],
}

APPEARS: Table = {
    "RENAME": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("RPUSH {t}m 1 2", "RENAME {t}m {t}k", *gets("b"), *BOTH),
    ],
    "RENAMENX": [
        *waits("b", "BRPOP {t}k 0", 1),
        *these("RPUSH {t}m 1 2", "RENAMENX {t}m {t}k", *gets("b"), *BOTH),
    ],
    "RENAME over a string": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("SET {t}k v", "RPUSH {t}m 1 2", "RENAME {t}m {t}k", *gets("b"), *BOTH),
    ],
    "RENAME of a string": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these(
            "SET {t}m 1", "RENAME {t}m {t}k", blocked(1), "DEL {t}k", "RPUSH {t}k 1", *gets("b")
        ),
    ],
    "COPY": [
        *waits("b", "BLMPOP 0 1 {t}k LEFT COUNT 2", 1),
        *these("RPUSH {t}m 1 2 3", "COPY {t}m {t}k", *gets("b"), *BOTH),
    ],
    "COPY to another database": [
        *these(on("b", "SELECT 2"), *waits("b", "BLPOP {t}k 0", 1), "RPUSH {t}k 1 2"),
        *these("COPY {t}k {t}k DB 2", *gets("b"), "LLEN {t}k"),
    ],
    "MOVE": [
        *these(on("b", "SELECT 2"), *waits("b", "BLPOP {t}k 0", 1), "RPUSH {t}k 1 2"),
        *these("MOVE {t}k 2", *gets("b"), "EXISTS {t}k", on("b", "LLEN {t}k")),
    ],
    "SORT STORE": [
        *waits("b", "BLPOP {t}k 0", 1),
        *these("RPUSH {t}m 3 1 2", "SORT {t}m STORE {t}k", *gets("b"), *BOTH),
    ],
    "SWAPDB": [
        *(waits("b", "BLPOP {t}k 0", 1)),
        *these("SELECT 1", "RPUSH {t}k 1 2", "SWAPDB 0 1", *gets("b"), "SELECT 0", "LLEN {t}k"),
    ],
    "not by what pushes nothing": [
        *waits("b", "BLPOP {t}k 0", 1),
        *("LPUSHX {t}k 1", "RPUSHX {t}k 1", "LINSERT {t}k BEFORE a b", "LMOVE {t}m {t}k LEFT LEFT"),
        *("RENAME {t}m {t}k", "COPY {t}m {t}k", "SORT {t}m STORE {t}k", blocked(1)),
        *these("FLUSHALL", "FLUSHDB", blocked(1), "RPUSH {t}k 1", *gets("b")),
    ],
}

TIMEOUTS: Table = {
    **{
        f"{line} with nothing there": [line, "EXISTS {t}k {t}m", line.lower()]
        for line in (
            *("BLPOP {t}k 0.01", "BRPOP {t}k {t}m 0.001", "BLMPOP 0.02 2 {t}k {t}m LEFT"),
            *("BLMOVE {t}k {t}m LEFT RIGHT 0.01", "BRPOPLPUSH {t}k {t}m 1e-2"),
            *("BLPOP {t}k 0.0001", "BLPOP {t}k 0x1p-9"),
        )
    },
    "zero from below is for ever": [
        *waits("b", "BLPOP {t}k -0.0001", 1),
        *these("RPUSH {t}k 1", *gets("b")),
    ],
    "the target is a string, and nothing there": [
        *("SET {t}m v", "BLMOVE {t}k {t}m LEFT LEFT 0.01", "BRPOPLPUSH {t}k {t}m 0.01"),
    ],
    "another type comes meanwhile": [
        *waits("b", "BLPOP {t}k 0.2", 1),
        *these("SET {t}k v", *gets("b"), "GET {t}k"),
    ],
    "several at once": [
        *(on("b", sends("BLPOP {t}k 0.03")), on("c", sends("BLPOP {t}k 0.02"))),
        *(on("d", sends("BLMOVE {t}k {t}m LEFT LEFT 0.01")), *gets("b", "c", "d"), blocked(0)),
        "RPUSH {t}k 1",
    ],
}


def together(*lines: str) -> bytes:
    """Return the bytes of several commands."""
    return b"".join(pack(*split_line(line)) for line in lines)


PIPELINES: Table = {
    "what follows waits too": [
        on("b", raw(together("SET {t}n 1", "BLPOP {t}k 0", "INCR {t}n", "GET {t}n"), 1)),
        *(blocked(1), "GET {t}n", "RPUSH {t}k x", on("b", reply(3)), "GET {t}n"),
    ],
    "what follows after a timeout": [
        on("b", raw(together("BLPOP {t}k 0.02", "PING", "BLPOP {t}k 0.01", "PING"), 4)),
    ],
    "several that wait": [
        on("b", raw(together(*["BLPOP {t}k 0"] * 3, "PING"), 0)),
        *(blocked(1), "RPUSH {t}k 1", on("b", reply()), blocked(1), "RPUSH {t}k 2 3"),
        *(on("b", reply(3)), "EXISTS {t}k"),
    ],
    "its own push": [
        raw(together("RPUSH {t}k 1", "BLPOP {t}k 0", "RPUSH {t}k 2 3", "BRPOP {t}k 0"), 4),
        "LRANGE {t}k 0 -1",
    ],
    "served in the middle of one": [
        *waits("b", "BLPOP {t}k 0", 1),
        raw(together("RPUSH {t}k 1 2", "LLEN {t}k", "LPOP {t}k", "RPUSH {t}k 3", "LLEN {t}k"), 5),
        *gets("b"),
    ],
    "many that wait, many pushes": [
        *[step for n in range(1, 20) for step in waits(f"b{n}", "BLPOP {s}k {s}m 0", n)],
        *(f"RPUSH {{s}}{'km'[n % 2]} {n}" for n in range(1, 20)),
        *gets(*(f"b{n}" for n in range(1, 20))),
        *("LRANGE {s}k 0 -1", "LRANGE {s}m 0 -1"),
    ],
}

COUNTS: Table = {
    "INFO clients": [
        *waits("b", "BLPOP {t}k {t}m 0", 1),
        *waits("c", "BLMOVE {t}k {t}n LEFT LEFT 0", 2),
        # A home counts its client as blocked before the owner has heard of the keys.
        until(r"total_blocking_keys:2\r", "INFO clients"),
        mask(r"(?m)(^(?!blocked_clients:|total_blocking_keys).*\n?)+", "INFO clients"),
        *these("RPUSH {t}k 1 2", *gets("b", "c"), blocked(0)),
        mask(r"(?m)(^(?!blocked_clients:|total_blocking_keys).*\n?)+", "INFO clients"),
    ],
}


@pytest.mark.parametrize("script", cases(SERVED, ORDER))
def test_who_is_served(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(CHAINS, OTHER_TYPES, APPEARS))
def test_how_lists_appear(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(TIMEOUTS))
def test_timeouts(script: Case, compare: Compare) -> None:
    compare(script)


@pytest.mark.parametrize("script", cases(PIPELINES, COUNTS))
def test_pipelines(script: Case, compare: Compare) -> None:
    compare(script)


class Waiter:
    """A client that waits, and its id."""

    def __init__(self, server: Server, resp: int) -> None:
        self.client: RawClient = server.client()
        if resp == 3:
            self.client.call(b"HELLO", b"3")
        self.id = self.client.call(b"CLIENT", b"ID").strip(b":\r\n")

    def waits(self, line: str, server: Server, count: int) -> None:
        self.client.send(pack(*split_line(line)))
        wait_until_blocked(server, count)


def wait_until_blocked(server: Server, count: int) -> None:
    expected = re.compile(rb"blocked_clients:%d\r" % count)
    wait_until(lambda: expected.search(server.raw("INFO clients")), f"{count} blocked clients")


def unblocks(server: Server, resp: int) -> list[bytes]:
    """Return what is said when waiting clients are unblocked by name."""
    said = [server.raw("FLUSHALL")]
    first, second = Waiter(server, resp), Waiter(server, resp)
    with server.client() as boss:
        for line in (
            *("BLPOP {t}k 0", "BLMOVE {t}k {t}m LEFT RIGHT 0", "BRPOPLPUSH {t}k {t}m 0"),
            "BLMPOP 0 1 {t}k LEFT",
        ):
            for reason in ((), (b"TIMEOUT",), (b"error",)):
                said.append(boss.call(b"CLIENT", b"UNBLOCK", first.id, *reason))  # does not wait
                first.waits(line, server, 1)
                second.waits(line, server, 2)
                said.append(boss.call(b"CLIENT", b"UNBLOCK", first.id, *reason))
                said.append(first.client.read_reply())
                said.append(first.client.call(b"PING"))
                said.append(boss.call(b"RPUSH", b"{t}k", b"1"))
                said.append(second.client.read_reply())
                said.append(boss.call(b"DEL", b"{t}k", b"{t}m"))
    for waiter in (first, second):
        waiter.client.finish()
    return said


def test_unblock(oracle: Server, subject: Server, resp: int) -> None:
    assert unblocks(subject, resp) == unblocks(oracle, resp)


def leaves(server: Server, resp: int) -> list[bytes]:
    """Return what is said when one who waits has gone before a push."""
    said = [server.raw("FLUSHALL")]
    first, second = Waiter(server, resp), Waiter(server, resp)
    first.waits("BLPOP {t}k 0", server, 1)
    second.waits("BLPOP {t}k 0", server, 2)
    first.client.finish()
    wait_until_blocked(server, 1)
    said.append(server.raw("RPUSH {t}k 1 2"))
    said.append(second.client.read_reply())
    said.append(server.raw("LRANGE {t}k 0 -1"))
    second.waits("BLPOP {t}m 0", server, 1)
    said.append(server.raw(f"CLIENT KILL ID {second.id.decode()}"))
    wait_until_blocked(server, 0)
    said.append(server.raw("RPUSH {t}m 1"))
    said.append(server.raw("LLEN {t}m"))
    second.client.finish()
    return said


def test_one_who_has_gone_gets_nothing(oracle: Server, subject: Server, resp: int) -> None:
    assert leaves(subject, resp) == leaves(oracle, resp)
