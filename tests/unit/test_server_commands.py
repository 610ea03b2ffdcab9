"""The commands about the server: what a handler does, and what it asks others to do."""

import json
from typing import Any

import pytest
from shoal.proto.errors import ReplyError
from shoal.proto.messages import SUPERVISOR
from shoal.proto.replies import OK, encode
from shoal.proto.spec import REDIS_VERSION
from shoal.worker.client import Client, Link
from shoal.worker.commands import load_all
from shoal.worker.registry import COMMANDS, LATER, PartAnswer, Scope, resolve
from shoal.worker.server import Server
from support.keyspace import NOW_MS
from support.raw import bulk_text, split_line, split_reply
from support.workers import make_client, make_server

load_all()

NOT_ALLOWED = (
    b'-ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you '
    b"can run it from a local connection, otherwise you need to set this option in the "
    b"configuration file, and then restart the server.\r\n"
)


class Calls(Link):
    """A link that keeps what the supervisor is asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[Any, ...]] = []

    def call_supervisor(self, request: tuple[Any, ...]) -> None:
        self.requests.append(request)


@pytest.fixture
def server() -> Server:
    server = make_server()
    server.config.set_at_start(b"enable-debug-command", [b"yes"])
    return server


def run(server: Server, line: str, client: Client | None = None) -> bytes:
    """Run a command as the dispatcher does, its one part here; return the reply's bytes."""
    client = client or make_client(server)
    argv = split_line(line)
    try:
        entry = resolve(argv)
        if entry.guard is not None:
            entry.guard(client)
        first = {
            Scope.CLIENT: client,
            Scope.SERVER: server,
            Scope.KEYSPACE: server.store.view(client.db),
        }
        reply = entry.handler(first[entry.scope], *argv[entry.skip :])
        assert reply is not LATER
        return encode(reply, client.resp)
    except ReplyError as error:
        return error.encode()


def asked(line: str) -> list[tuple[Any, ...]]:
    """Return what the supervisor is asked to do, after a command whose reply comes later."""
    client = make_client(make_server())
    client.link = link = Calls()
    argv = split_line(line)
    entry = resolve(argv)
    assert entry.scope is Scope.CLIENT
    assert entry.handler(client, *argv[entry.skip :]) is LATER
    return link.requests


ASKED: dict[str, tuple[bytes, ...]] = {
    "CONFIG SET hz 20": (b"CONFIG", b"SET", b"hz", b"20"),
    "config set nope 1 Hz x": (b"CONFIG", b"SET", b"nope", b"1", b"Hz", b"x"),
    "SHUTDOWN": (b"SHUTDOWN",),
    "shutdown nosave now Force": (b"SHUTDOWN", b"NOSAVE", b"NOW", b"FORCE"),
    "SHUTDOWN save save": (b"SHUTDOWN", b"SAVE", b"SAVE"),
    "SHUTDOWN abort": (b"SHUTDOWN", b"ABORT"),
    "SHUTDOWN ABORT ABORT": (b"SHUTDOWN", b"ABORT", b"ABORT"),
}


@pytest.mark.parametrize(("line", "request_"), ASKED.items())
def test_what_is_for_the_supervisor(line: str, request_: tuple[bytes, ...]) -> None:
    assert asked(line) == [request_]


SYNTAX = [
    "CONFIG SET a b c",
    "SHUTDOWN foo",
    "SHUTDOWN SAVE NOSAVE",
    "SHUTDOWN NOSAVE NOW save",
    "SHUTDOWN ABORT NOW",
    "SHUTDOWN FORCE ABORT",
]


@pytest.mark.parametrize("line", SYNTAX)
def test_what_never_reaches_the_supervisor(line: str, server: Server) -> None:
    assert run(server, line) == b"-ERR syntax error\r\n"


def test_info_meets_at_the_home() -> None:
    servers = [make_server(index, 3) for index in range(3)]
    for each in servers:
        each.stats.commands = 5
    answers = [
        PartAnswer(SUPERVISOR, (), json.dumps({"rejected_connections": 4}).encode()),
        *(PartAnswer(each.index, (), run(each, "info STATS")) for each in servers),
    ]
    spanning = COMMANDS[b"info"].spanning
    assert spanning is not None
    assert spanning.supervisor
    reply = spanning.merge(answers)
    text = bulk_text(encode(reply, 2))
    assert text.startswith(b"# Stats\r\n")
    assert b"total_commands_processed:15\r\n" in text
    assert b"rejected_connections:4\r\n" in text
    assert encode(reply, 3) == b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text)


def test_resetstat_asks_everybody(server: Server) -> None:
    server.stats.commands = 5
    assert run(server, "CONFIG RESETSTAT") == OK
    assert server.stats.commands == 0
    spanning = COMMANDS[b"config"].subcommands[b"resetstat"].spanning
    assert spanning is not None
    assert spanning.supervisor
    assert spanning.merge([PartAnswer(SUPERVISOR, (), b"{}"), PartAnswer(0, (), OK)]) == OK


def test_time_and_lastsave(server: Server) -> None:
    server.time_us = lambda: 1_700_000_000_000_042
    assert run(server, "TIME") == b"*2\r\n$10\r\n1700000000\r\n$2\r\n42\r\n"
    assert run(server, "LASTSAVE") == b":%d\r\n" % (NOW_MS // 1000 - 100)


# -- LOLWUT ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "columns", "rows"),
    [
        ("LOLWUT", 44, 9),
        ("LOLWUT VERSION 8 nonsense", 44, 9),
        ("LOLWUT VERSION", 44, 9),
        ("LOLWUT VERSION 5 20", 20, 9),
        ("lolwut version 6 20 3", 20, 3),
        ("LOLWUT VERSION 5 -5 100000 3", 1, 128),
    ],
)
def test_lolwut(line: str, columns: int, rows: int, server: Server) -> None:
    for _ in range(20):
        picture, empty, version, end = bulk_text(run(server, line)).decode().rsplit("\n", 3)
        assert (empty, version, end) == ("", f"Redis ver. {REDIS_VERSION}", "")
        lines = picture.split("\n")
        assert len(lines) == rows
        assert max(map(len, lines)) <= columns


def test_lolwut_swims(server: Server) -> None:
    assert len({run(server, "LOLWUT") for _ in range(10)}) > 1
    assert b"><>" in run(server, "LOLWUT VERSION 6 100 100")


# -- DEBUG -----------------------------------------------------------------------------------------

MAY_DEBUG: dict[str, tuple[str, bytes, bool, bool]] = {
    "no": ("no", b"127.0.0.1:5", False, False),
    "yes": ("yes", b"10.0.0.1:5", False, True),
    "local, and it is": ("local", b"127.0.0.1:5", False, True),
    "local, IPv6": ("local", b"[::1]:5", False, True),
    "local, unix socket": ("local", b"/run/shoal.sock:0", True, True),
    "local, from elsewhere": ("local", b"10.0.0.1:5", False, False),
    "local, another loopback address": ("local", b"127.0.0.2:5", False, False),
}
WORDS = ["nope", "SLEEP 0", "OBJECT k", "RELOAD", "LOADAOF", "PROTOCOL string", "HELP"]


@pytest.mark.parametrize(
    ("setting", "addr", "is_unix", "may"), MAY_DEBUG.values(), ids=MAY_DEBUG.keys()
)
@pytest.mark.parametrize("word", WORDS)
def test_who_may_debug(
    setting: str, addr: bytes, is_unix: bool, may: bool, word: str, server: Server
) -> None:
    server.config.set_at_start(b"enable-debug-command", [setting.encode()])
    client = make_client(server, addr)
    client.is_unix = is_unix
    assert (run(server, f"DEBUG {word}", client) != NOT_ALLOWED) == may


def test_a_variant_is_the_command_itself() -> None:
    base = COMMANDS[b"debug"]
    assert base.variants
    assert not base.subcommands
    for word, entry in base.variants.items():
        argv = [b"DEBUG", word, *[b"x"] * (abs(entry.arity) - 2)]
        assert resolve(argv) is entry
        assert resolve([b"DEBUG", word.upper(), *argv[2:]]) is entry
        assert (entry.name, entry.guard, entry.skip) == (b"debug", base.guard, 2)
        if entry.arity > 0:
            assert resolve([*argv, b"x"]) is base
    assert resolve([b"DEBUG", b"nope"]) is base


@pytest.mark.parametrize(
    ("text", "slept_s"),
    [
        (b"0.25", 0.25),
        (b" 1e-2x", 0.01),
        (b".5", 0.5),
        (b"3", 3.0),
        (b"-1", None),
        (b"x", None),
        (b"", None),
        (b"0", None),
        (b"1e400", None),
        (b"inf", None),
        (b"nan", None),
    ],
)
def test_debug_sleep(text: bytes, slept_s: float | None, server: Server) -> None:
    slept: list[float] = []
    server.sleep = slept.append
    assert resolve([b"DEBUG", b"SLEEP", text]).handler(server, text) == OK
    assert slept == ([] if slept_s is None else [slept_s])


@pytest.mark.parametrize(
    ("text", "runs"), [("0", False), ("1", True), ("-2x", True), ("x", False), ('""', False)]
)
def test_debug_set_active_expire(text: str, runs: bool, server: Server) -> None:
    server.store.active_expire = not runs
    assert run(server, f"DEBUG SET-ACTIVE-EXPIRE {text}") == OK
    assert server.store.active_expire is runs


def test_debug_loadaof_needs_a_log(server: Server) -> None:
    reloads: list[int] = []
    server.reload = lambda: reloads.append(1)
    assert run(server, "DEBUG LOADAOF").startswith(b"-ERR Error trying to load the AOF files")
    assert not reloads
    assert run(server, "DEBUG RELOAD") == OK
    assert reloads


@pytest.mark.parametrize("line", ["DEBUG RELOAD", "DEBUG LOADAOF", "DEBUG LOADAOF x"])
def test_debug_reload(line: str, server: Any) -> None:
    server.segment = object()

    def reload() -> None:  # what replaying the log does
        server.store.view(0).set(b"k", b"v")
        server.store.view(0).propagate(b"SET", b"k", b"v")

    server.reload = reload
    assert run(server, line) == OK
    assert (server.store.dirty, server.store.effects) == (0, None)
    entry = resolve(split_line(line))
    assert entry.write
    assert entry.spanning is not None


@pytest.mark.parametrize("options", ["nosave", "NOFLUSH MERGE"])
def test_debug_reload_of_a_snapshot(options: str, server: Any) -> None:
    server.segment = object()
    server.reload = lambda: pytest.fail("reloaded")
    assert run(server, f"DEBUG RELOAD {options}").startswith(b"-ERR there is no snapshot")


def test_debug_object(server: Server) -> None:
    ks = server.store.view(0)
    ks.set(b"k", b"12")
    lru = NOW_MS // 1000 % (1 << 24)
    start, *words = run(server, "DEBUG OBJECT k").split(b" ", 2)
    assert start == b"+Value"
    assert words[1] == b"refcount:1 encoding:int lru:%d lru_seconds_idle:0\r\n" % lru
    assert run(server, "DEBUG OBJECT nope") == b"-ERR no such key\r\n"


def test_debug_log(server: Server) -> None:
    logged: list[str] = []
    server.log_warning = logged.append
    assert run(server, r'DEBUG LOG "a \xff"') == OK
    assert logged == ["DEBUG LOG: a \udcff"]


def test_debug_help_lists_what_there_is(server: Server) -> None:
    _, lines = split_reply(run(server, "DEBUG HELP"))
    words = {line[1:-2].split()[0].lower() for line in lines[1:] if line[1:2] != b" "}
    assert words == COMMANDS[b"debug"].variants.keys()
