"""MONITOR beside redis-server: which commands it shows, how, and what its client may call."""

import re

import pytest
from support.differential import (
    Case,
    Compare,
    Line,
    Step,
    Table,
    cases,
    closes,
    head,
    mask,
    on,
    reply,
    shape,
)
from support.raw import RawClient, pack, split_line
from support.servers import Server

STAMP = re.compile(rb"\+\d+\.\d{6} \[(\d+) 127\.0\.0\.1:\d+\] ")

# Lines of a client, each of which the monitor sees or does not see.
SHOWN: dict[str, list[Line]] = {
    "plain commands": ["PING", "SET k v", "GET k", "get K", "DEL k", "LPUSH l 1", "LPOP l"],
    "quoting": [
        (b"SET", b"k", b"\x00\r\n\t\a\b\\\"'\x7f\xff v"),
        (b"ECHO", b""),
        (b"set", b"a b", b"\xc3\xa9"),
    ],
    "databases": ["SELECT 3", "SET k v", "SELECT 99", "SELECT x", "GET k", "SELECT 0", "GET k"],
    "failures of the command itself": ["SET k v", "LPUSH k v", "INCR k", "SET k v nonsense"],
    "what is refused before": ["nosuch", "GET", "CLIENT nosuch", "SET k", "CLIENT"],
    "administrative commands": [
        *("CONFIG GET port", "CLIENT LIST", "CLIENT KILL ID 999999", "CLIENT NO-EVICT ON"),
        *("CLIENT SETNAME me", "CLIENT GETNAME", "DBSIZE", "COMMAND COUNT", "INFO server"),
    ],
    "passwords": [
        *("AUTH x", "AUTH default x", "HELLO 2 AUTH default x SETNAME n", "HELLO 2 AUTH"),
        "MIGRATE 127.0.0.1 1 nokey 0 100 AUTH secret",
        'MIGRATE 127.0.0.1 1 "" 0 100 AUTH2 me secret KEYS nokey auth',
    ],
    "pub/sub": ["PUBLISH a b", "SUBSCRIBE a", "GET x", "PING", "UNSUBSCRIBE", "PUBSUB CHANNELS"],
    "RESET": ["SELECT 4", "RESET", "PING"],
    "several keys": ["MSET a 1 b 2 c 3", "MGET a b c", "DEL a b c", "FLUSHALL", "KEYS *"],
}


@pytest.mark.parametrize("name", SHOWN)
def test_lines(name: str, oracle: Server, subject: Server, resp: int) -> None:
    seen = []
    for server in (oracle, subject):
        monitor, client = server.client(), server.client()
        server.raw("FLUSHALL")
        if resp == 3:
            monitor.call(b"HELLO", b"3")
        assert monitor.call(b"MONITOR") == b"+OK\r\n"
        for line in SHOWN[name]:
            client.call(*(split_line(line) if isinstance(line, str) else line))
        client.call(b"RESET")
        client.call(b"ECHO", b"the end")
        seen.append(lines_until(monitor, b"the end"))
        client.finish()
        monitor.finish()
    assert seen[1] == seen[0]


def lines_until(monitor: RawClient, end: bytes) -> list[bytes]:
    """Return the monitor's lines without their times and addresses."""
    found: list[bytes] = []
    while not found or end not in found[-1]:
        line = monitor.read_reply()
        stamp = STAMP.match(line)
        assert stamp is not None, line
        found.append(stamp[1] + b" " + line[stamp.end() :])
    return found


def test_a_pipeline_is_shown_in_its_order(oracle: Server, subject: Server, resp: int) -> None:
    commands = [(b"SET", b"k%d" % n, b"%d" % n) for n in range(40)] + [(b"MGET", b"k1", b"k2")]
    for server in (oracle, subject):
        monitor, client = server.client(), server.client()
        monitor.call(b"MONITOR")
        client.send(b"".join(pack(*argv) for argv in [*commands, (b"ECHO", b"the end")]))
        for _ in range(len(commands) + 1):
            client.read_reply()
        lines = lines_until(monitor, b"the end")
        assert len(lines) == len(commands) + 1
        for argv, line in zip(commands, lines, strict=False):
            assert line == b"0 " + b" ".join(b'"%b"' % word for word in argv) + b"\r\n"
        client.finish()
        monitor.finish()


STAMPED = r"\d+\.\d{6} \[\d+ [^\]]*\]"


def both(line: str) -> Step:
    """Send a command of the monitor itself; its reply and its line may come in any order."""

    def normal(replies: bytes) -> bytes:
        return b"".join(sorted(STAMP.sub(b"", replies).splitlines()))

    step = on("a", line)
    return Step(line, step.data, 2, alike=lambda one, other: normal(one) == normal(other))


CONTEXT: Table = {
    "what it may not call": [
        "MONITOR",
        *("GET x", "SET x 1", "PUBLISH a b", "SPUBLISH a b", "KEYS *", "DBSIZE", "FLUSHALL"),
        *("SCAN 0", "BLPOP q 0.01", "MGET a b", "OBJECT ENCODING x", "SORT x", "SWAPDB 0 1"),
        *("nosuch", "GET", "OBJECT nosuch"),
    ],
    "what it may": [
        "MONITOR",
        *("CONFIG GET databases", shape("CLIENT ID"), mask(STAMPED, reply())),
        *("PING", mask(STAMPED, reply()), "SELECT 2", mask(STAMPED, reply())),
    ],
    "and subscribe": [
        *("MONITOR", both("SUBSCRIBE q"), both("UNSUBSCRIBE q"), "GET x"),
    ],
    "RESET": ["MONITOR", "RESET", "GET x", "PING"],
    "once, though it had to wait": [
        *("MONITOR", on("b", "CLIENT PAUSE 50 WRITE"), on("b", "SET k v"), mask(STAMPED, reply())),
        *(on("b", "ECHO x"), mask(STAMPED, reply())),
    ],
    "again": ["MONITOR", mask(STAMPED, on("b", "PING")), mask(STAMPED, reply())],
    "QUIT": [head("MONITOR"), closes(pack(b"QUIT"))],
    "CLIENT LIST": [
        on("b", "CLIENT SETNAME mon"),
        on("b", "MONITOR"),
        mask(
            r"(?s)^.*?(?=name=mon)|(?<=name=mon)[^\n]*?(?= flags=)|(?<=flags=O).*$", "CLIENT LIST"
        ),
        "CLIENT LIST TYPE pubsub",
    ],
}


@pytest.mark.parametrize("script", cases(CONTEXT))
def test_context(script: Case, compare: Compare) -> None:
    compare(script)


def test_everybody_is_shown_to_everybody(subject: Server) -> None:
    monitors = [subject.client() for _ in range(4)]
    clients = [subject.client() for _ in range(4)]
    for monitor in monitors:
        assert monitor.call(b"MONITOR") == b"+OK\r\n"
    for number, client in enumerate(clients):
        client.call(b"SET", b"k%d" % number, b"v")
    clients[0].call(b"ECHO", b"the end")
    for monitor in monitors:
        seen: set[bytes] = set()
        while len(seen) < len(clients) + 1:
            seen.add(STAMP.sub(b"", monitor.read_reply()))
        assert {b'"SET" "k%d" "v"\r\n' % number for number in range(len(clients))} < seen
    for client in (*monitors, *clients):
        client.finish()
