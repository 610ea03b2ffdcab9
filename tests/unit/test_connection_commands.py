"""The commands of connections, through links without sockets and over several workers.

The replies are those redis-server 8.2.3 gives; tests/differential/test_connection.py compares them.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import pytest
import shoal.worker.commands.connection  # noqa: F401, declares CLIENT as well
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto.directives import Config
from shoal.proto.errors import ReplyError
from shoal.proto.replies import Array, Reply, encode
from shoal.proto.resp_reader import RequestReader
from shoal.worker.client import Client, Link, ReplyMode
from shoal.worker.connection import Connection
from shoal.worker.dispatch import Dispatcher
from shoal.worker.keyspace import Store
from shoal.worker.registry import COMMANDS, PartAnswer, Scope, resolve
from shoal.worker.server import Facts, Server
from support.raw import bulk_text, pack, split_line

NOW_MS = 1_700_000_000_000


class FakeLink(Link):
    """A connection that notes what is done to it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.closed_for: str | None = None
        self.changes = 0
        self.query = 0
        self.queue = (0, 0)
        self.paused = False
        client.link = self

    def state_changed(self) -> None:
        self.changes += 1

    def close(self, reason: str) -> None:
        self.closed_for = reason
        del self.client.server.clients[self.client.id]

    def query_bytes(self) -> int:
        return self.query

    def output_queue(self) -> tuple[int, int]:
        return self.queue

    def is_paused(self) -> bool:
        return self.paused


def server_of(index: int, workers: int, config: Config) -> Server:
    store = Store(range(16384), 16, Random(1))
    store.now_ms = NOW_MS
    facts = Facts("0" * 40, 1, NOW_MS, "", "", "0", 6379, [])
    return Server(index, workers, config, store, facts, 100 + index)


@dataclass
class House:
    """Some workers and their clients; a new client goes to the next worker in turn.

    Attributes:
        prepared: argv of the parts of the last command that ran on every worker.
    """

    workers: int = 3
    config: Config = field(default_factory=Config)
    last_id: int = 0
    prepared: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.servers = [server_of(at, self.workers, self.config) for at in range(self.workers)]

    @property
    def now_ms(self) -> int:
        return self.servers[0].store.now_ms

    @now_ms.setter
    def now_ms(self, now_ms: int) -> None:
        for server in self.servers:
            server.store.now_ms = now_ms

    def client(self) -> Client:
        self.last_id += 1
        number = self.last_id
        server = self.servers[number % self.workers]
        client = Client(server, number, b"127.0.0.1:%d" % (50_000 + number), b"127.0.0.1:6379", 8)
        server.clients[number] = client
        FakeLink(client)
        return client

    def run(self, client: Client, line: str) -> bytes:
        """Run a command as the dispatcher does; return the encoded reply, or the error."""
        argv = split_line(line)
        try:
            command = resolve(argv)
            client.last_command = command.name
            client.commands += 1
            args: tuple[bytes, ...] = tuple(argv[command.skip :])
            if command.scope is Scope.CLIENT:
                return encode(command.handler(client, *args), client.resp)
            spanning = command.spanning
            assert spanning is not None
            if spanning.prepare is not None:
                args = spanning.prepare(client, args)
            self.prepared = [*argv[: command.skip], *args]
            assert resolve(self.prepared) is command, "the parts check the arity again"
            parts = []
            for server in self.servers:
                reply: Reply = command.handler(server, *args)
                answer: Any = encode(reply, client.resp)
                if isinstance(reply, Array):
                    answer = [encode(item, client.resp) for item in reply.items]
                parts.append(PartAnswer(server.index, (), answer))
            return encode(spanning.merge(parts), client.resp)
        except ReplyError as error:
            return error.encode()

    def ids(self) -> list[int]:
        """Ids of the clients that are connected."""
        return sorted(number for server in self.servers for number in server.clients)


def link_of(client: Client) -> FakeLink:
    assert isinstance(client.link, FakeLink)
    return client.link


def fields(line: bytes) -> dict[str, str]:
    """Return the fields of a line of CLIENT LIST, in order."""
    return dict(field.split("=", 1) for field in line.decode().rstrip("\n").split(" "))


def listed(house: House, client: Client, line: str) -> list[int]:
    """Run a CLIENT LIST; return the ids in its order."""
    text = bulk_text(house.run(client, line))
    return [int(fields(one)["id"]) for one in text.splitlines()]


HELLO_FIELDS = (
    b"$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n8.2.3\r\n$5\r\nproto\r\n:%d\r\n"
    b"$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
    b"$7\r\nmodules\r\n*0\r\n"
)
HELLO_2 = b"*14\r\n" + HELLO_FIELDS % 2
HELLO_3 = b"%7\r\n" + HELLO_FIELDS % 3
OK = b"+OK\r\n"
WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
BAD_NAME = b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
SYNTAX = b"-ERR syntax error\r\n"

# What one client sends, and what it is answered.
Talk = Sequence[tuple[str, bytes]]

OPEN: dict[str, Talk] = {
    "PING": [("PING", b"+PONG\r\n"), ('PING ""', b"$0\r\n\r\n"), ("PING x", b"$1\r\nx\r\n")],
    "PING with too much": [("PING a b", b"-ERR wrong number of arguments for 'ping' command\r\n")],
    "ECHO": [("ECHO x", b"$1\r\nx\r\n")],
    "SELECT": [("SELECT 15", OK)],
    "SELECT outside": [("SELECT 16", b"-ERR DB index is out of range\r\n")],
    "SELECT below": [("SELECT -1", b"-ERR DB index is out of range\r\n")],
    "SELECT of a word": [("SELECT x", b"-ERR value is not an integer or out of range\r\n")],
    "SELECT beyond a C int": [
        (
            "SELECT 2147483648",
            b"-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
        )
    ],
    "AUTH without a password set": [
        (
            "AUTH x",
            b"-ERR AUTH <password> called without any password configured for the default user. "
            b"Are you sure your configuration is correct?\r\n",
        ),
        ("AUTH default x", OK),
        ("AUTH other x", WRONGPASS),
        ("AUTH a b c", SYNTAX),
    ],
    "HELLO tells the protocol": [("HELLO", HELLO_2), ("HELLO 3", HELLO_3), ("HELLO", HELLO_3)],
    "HELLO changes it back": [("HELLO 3", HELLO_3), ("HELLO 2", HELLO_2)],
    "HELLO options in any order": [
        ("HELLO 3 SETNAME a AUTH default x", HELLO_3),
        ("CLIENT GETNAME", b"$1\r\na\r\n"),
        ("hello 2 auth default x setname b", HELLO_2),
        ("CLIENT GETNAME", b"$1\r\nb\r\n"),
        ('HELLO 2 SETNAME ""', HELLO_2),
        ("CLIENT GETNAME", b"$-1\r\n"),
    ],
    "HELLO version": [
        ("HELLO x", b"-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 1", b"-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 4", b"-NOPROTO unsupported protocol version\r\n"),
    ],
    "HELLO fails whole": [
        ("HELLO 3 FOO", b"-ERR Syntax error in HELLO option 'FOO'\r\n"),
        ("HELLO 3 auth a", b"-ERR Syntax error in HELLO option 'auth'\r\n"),
        ("HELLO 3 SETNAME", b"-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
        ("HELLO 3 SETNAME 'a b'", BAD_NAME),
        ("HELLO 3 SETNAME a AUTH other x", WRONGPASS),
        ("CLIENT GETNAME", b"$-1\r\n"),
        ("HELLO", HELLO_2),
    ],
    "CLIENT alone": [("CLIENT", b"-ERR wrong number of arguments for 'client' command\r\n")],
    "CLIENT with another word": [
        ("CLIENT x", b"-ERR unknown subcommand 'x'. Try CLIENT HELP.\r\n")
    ],
    "CLIENT ID": [("CLIENT ID", b":1\r\n")],
    "CLIENT SETNAME": [
        ("CLIENT GETNAME", b"$-1\r\n"),
        ("CLIENT SETNAME ~!", OK),
        ("CLIENT GETNAME", b"$2\r\n~!\r\n"),
        ("CLIENT SETNAME 'a b'", BAD_NAME),
        (r'CLIENT SETNAME "\x7f"', BAD_NAME),
        (r'CLIENT SETNAME "a\n"', BAD_NAME),
        ("CLIENT GETNAME", b"$2\r\n~!\r\n"),
    ],
    "CLIENT GETNAME is a null": [("HELLO 3", HELLO_3), ("CLIENT GETNAME", b"_\r\n")],
    "CLIENT SETINFO": [
        ("CLIENT SETINFO lib-name a", OK),
        ("CLIENT SETINFO LIB-VER 1.0", OK),
        ("CLIENT SETINFO name a", b"-ERR Unrecognized option 'name'\r\n"),
        (
            "CLIENT SETINFO lib-ver 'a b'",
            b"-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n",
        ),
    ],
    "CLIENT flags": [
        ("CLIENT NO-EVICT maybe", SYNTAX),
        ("CLIENT NO-TOUCH maybe", SYNTAX),
        ("CLIENT REPLY maybe", SYNTAX),
    ],
    "CLIENT tracking is off": [
        ("CLIENT GETREDIR", b":-1\r\n"),
        (
            "CLIENT TRACKINGINFO",
            b"*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n"
            b"$8\r\nprefixes\r\n*0\r\n",
        ),
        ("HELLO 3", HELLO_3),
        (
            "CLIENT TRACKINGINFO",
            b"%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n"
            b"$8\r\nprefixes\r\n*0\r\n",
        ),
    ],
    "CLIENT UNBLOCK": [
        ("CLIENT UNBLOCK 1", b":0\r\n"),
        ("CLIENT UNBLOCK 1 error", b":0\r\n"),
        ("CLIENT UNBLOCK x", b"-ERR value is not an integer or out of range\r\n"),
        ("CLIENT UNBLOCK x y", b"-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n"),
        (
            "CLIENT UNBLOCK 1 ERROR x",
            b"-ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. "
            b"Try CLIENT HELP.\r\n",
        ),
    ],
    "CLIENT LIST": [
        ("CLIENT LIST TYPE", SYNTAX),
        ("CLIENT LIST TYPE normal x", SYNTAX),
        ("CLIENT LIST TYPE x", b"-ERR Unknown client type 'x'\r\n"),
        ("CLIENT LIST ID", SYNTAX),
        ("CLIENT LIST ID 1 x", b"-ERR Invalid client ID\r\n"),
        ("CLIENT LIST NAME x", SYNTAX),
        ("CLIENT LIST TYPE pubsub", b"$0\r\n\r\n"),
        ("CLIENT LIST ID 99", b"$0\r\n\r\n"),
    ],
    "CLIENT KILL": [
        ("CLIENT KILL x", b"-ERR No such client\r\n"),
        ("CLIENT KILL ID 99", b":0\r\n"),
        ("CLIENT KILL ID 0", b"-ERR client-id should be greater than 0\r\n"),
        ("CLIENT KILL ID x", b"-ERR client-id should be greater than 0\r\n"),
        ("CLIENT KILL TYPE x", b"-ERR Unknown client type 'x'\r\n"),
        ("CLIENT KILL USER x", b"-ERR No such user 'x'\r\n"),
        ("CLIENT KILL SKIPME x", SYNTAX),
        ("CLIENT KILL MAXAGE x", b"-ERR maxage is not an integer or out of range\r\n"),
        ("CLIENT KILL MAXAGE 0", b"-ERR maxage should be greater than 0\r\n"),
        ("CLIENT KILL ID 99 TYPE", SYNTAX),
        ("CLIENT KILL ID 0 TYPE", b"-ERR client-id should be greater than 0\r\n"),
        ("CLIENT KILL NAME x", SYNTAX),
    ],
    "CLIENT PAUSE": [
        ("CLIENT PAUSE x", b"-ERR timeout is not an integer or out of range\r\n"),
        ("CLIENT PAUSE -1", b"-ERR timeout is negative\r\n"),
        ("CLIENT PAUSE 9223372036854775807", b"-ERR timeout is out of range\r\n"),
        ("CLIENT PAUSE x y", b"-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n"),
        (
            "CLIENT PAUSE 1 ALL x",
            b"-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. "
            b"Try CLIENT HELP.\r\n",
        ),
    ],
}


@pytest.mark.parametrize("talk", OPEN.values(), ids=OPEN.keys())
@pytest.mark.parametrize("workers", [1, 3])
def test_replies_without_a_password(talk: Talk, workers: int) -> None:
    house = House(workers)
    client = house.client()
    for line, reply in talk:
        assert house.run(client, line) == reply, line
    assert house.ids() == [1]
    assert all(server.pause.until_ms == 0 for server in house.servers)


HELLO_NOAUTH = (
    b"-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
    b"<proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP "
    b"protocol version at the same time\r\n"
)

# What a client sends, what it is answered, and whether it is authenticated then.
CLOSED: dict[str, Sequence[tuple[str, bytes, bool]]] = {
    "AUTH": [("AUTH secret", OK, True)],
    "AUTH with the user": [("AUTH default secret", OK, True)],
    "AUTH wrong": [
        ("AUTH secre", WRONGPASS, False),
        ("AUTH default secrets", WRONGPASS, False),
        ("AUTH other secret", WRONGPASS, False),
        ("AUTH default secret x", SYNTAX, False),
        (r'AUTH "\xff"', WRONGPASS, False),
    ],
    "AUTH wrong stays in": [("AUTH secret", OK, True), ("AUTH x", WRONGPASS, True)],
    "HELLO alone": [
        ("HELLO", HELLO_NOAUTH, False),
        ("HELLO 3 SETNAME a", HELLO_NOAUTH, False),
        ("HELLO 4", b"-NOPROTO unsupported protocol version\r\n", False),
    ],
    "HELLO AUTH": [("HELLO 3 AUTH default secret", HELLO_3, True)],
    "HELLO AUTH wrong": [
        ("HELLO 3 AUTH default x", WRONGPASS, False),
        ("HELLO 3 AUTH other secret", WRONGPASS, False),
        ("HELLO 3 AUTH default secret SETNAME 'a b'", BAD_NAME, False),
        ("HELLO 3 AUTH default secret x", b"-ERR Syntax error in HELLO option 'x'\r\n", False),
        ("HELLO 2 AUTH default secret", HELLO_2, True),
    ],
    "RESET takes the way in back": [("AUTH secret", OK, True), ("RESET", b"+RESET\r\n", False)],
    "QUIT": [("QUIT", OK, False)],
}


@pytest.mark.parametrize("talk", CLOSED.values(), ids=CLOSED.keys())
def test_replies_with_a_password(talk: Sequence[tuple[str, bytes, bool]]) -> None:
    house = House(1)
    house.config.set_at_start(b"requirepass", [b"secret"])
    client = house.client()
    assert not client.authenticated
    for line, reply, authenticated in talk:
        changes = link_of(client).changes
        was = client.authenticated
        assert house.run(client, line) == reply, line
        assert client.authenticated is authenticated, line
        if was is not authenticated:
            assert link_of(client).changes > changes, "the connection learns of it"


def test_only_the_handshake_runs_before_auth() -> None:
    allowed = {name for name, entry in COMMANDS.items() if entry.no_auth}
    assert allowed == {b"auth", b"hello", b"quit", b"reset"}
    assert not any(sub.no_auth for entry in COMMANDS.values() for sub in entry.subcommands.values())


def test_reset_returns_to_the_start_but_for_the_library() -> None:
    house = House(1)
    client = house.client()
    for line in (
        "HELLO 3 SETNAME a",
        "SELECT 3",
        "CLIENT NO-EVICT ON",
        "CLIENT NO-TOUCH on",
        "CLIENT SETINFO LIB-NAME lib",
        "CLIENT SETINFO LIB-VER 1",
        "CLIENT REPLY OFF",
    ):
        assert house.run(client, line)[:1] != b"-", line
    before = fields(bulk_text(house.run(client, "CLIENT INFO")))
    assert [before[name] for name in ("name", "db", "flags", "resp")] == ["a", "3", "eT", "3"]
    assert house.run(client, "RESET") == b"+RESET\r\n"
    after = fields(bulk_text(house.run(client, "CLIENT INFO")))
    assert [after[name] for name in ("name", "db", "flags", "resp")] == ["", "0", "N", "2"]
    assert [after[name] for name in ("lib-name", "lib-ver")] == ["lib", "1"]
    assert client.reply_mode is ReplyMode.ON


def test_quit_closes_after_the_reply() -> None:
    house = House(1)
    client = house.client()
    assert house.run(client, "QUIT now please") == OK
    assert client.close_after_reply
    assert link_of(client).closed_for is None


# -- CLIENT LIST -----------------------------------------------------------------------------------

FIELDS = (
    "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem "
    "multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver io-thread "
    "tot-net-in tot-net-out tot-cmds"
)


def test_info_says_what_is_known() -> None:
    house = House(1)
    client = house.client()
    client.created_ms, client.last_ms = NOW_MS - 61_999, NOW_MS - 1_000
    client.input_bytes, client.output_bytes, client.commands = 500, 70, 4
    client.is_unix = True
    client.addr = client.laddr = b"/run/shoal:0"
    client.close_soon()
    link_of(client).query = 11
    link_of(client).queue = (2, 300)
    link_of(client).paused = True
    said = fields(bulk_text(house.run(client, "CLIENT INFO")))
    assert " ".join(said) == FIELDS
    assert said == dict.fromkeys(said, "0") | {
        "id": "1",
        "addr": "/run/shoal:0",
        "laddr": "/run/shoal:0",
        "fd": "8",
        "name": "",
        "age": "61",
        "idle": "1",
        "flags": "bcU",
        "multi": "-1",
        "qbuf": "11",
        "oll": "2",
        "omem": "300",
        "tot-mem": "311",
        "events": "rw",
        "cmd": "client|info",
        "user": "default",
        "redir": "-1",
        "resp": "2",
        "lib-name": "",
        "lib-ver": "",
        "tot-net-in": "500",
        "tot-net-out": "70",
        "tot-cmds": "4",
    }


def test_a_clock_set_back_makes_no_negative_age() -> None:
    house = House(1)
    client = house.client()
    house.now_ms -= 5_000
    said = fields(bulk_text(house.run(client, "CLIENT INFO")))
    assert (said["age"], said["idle"]) == ("0", "0")


def test_list_is_verbatim_in_resp3() -> None:
    house = House(2)
    client = house.client()
    house.run(client, "HELLO 3")
    for line in ("CLIENT LIST", "CLIENT INFO"):
        reply = house.run(client, line)
        assert reply.startswith(b"=")
        assert b"\r\ntxt:id=1 " in reply
        assert reply.endswith(b"\n\r\n")


def test_list_counts_the_commands_before_it() -> None:
    house = House(2)
    first, second = house.client(), house.client()
    house.run(first, "PING")
    house.run(second, "PING")
    lines = bulk_text(house.run(second, "CLIENT LIST")).splitlines()
    assert [fields(line)["tot-cmds"] for line in lines] == ["1", "1"]
    assert [fields(line)["cmd"] for line in lines] == ["ping", "client|list"]


@given(st.integers(1, 5), st.integers(1, 30), st.lists(st.integers(-1, 40), min_size=1))
def test_list_over_workers(workers: int, clients: int, asked: list[int]) -> None:
    house = House(workers)
    caller = [house.client() for _ in range(clients)][-1]
    everybody = list(range(1, clients + 1))
    for line in ("CLIENT LIST", "CLIENT LIST TYPE Normal"):
        assert listed(house, caller, line) == everybody
    for kind in ("PUBSUB", "master", "replica", "slave"):
        assert listed(house, caller, f"CLIENT LIST TYPE {kind}") == []
    line = "CLIENT LIST ID " + " ".join(map(str, asked))
    assert listed(house, caller, line) == [number for number in asked if number in everybody]


# -- CLIENT KILL -----------------------------------------------------------------------------------

# Six clients; the second sends the line. name: (line, reply, who is left).
ALL = (1, 2, 3, 4, 5, 6)
KILLS: dict[str, tuple[str, bytes, Sequence[int]]] = {
    "by address": ("CLIENT KILL 127.0.0.1:50004", OK, (1, 2, 3, 5, 6)),
    "oneself by address": ("CLIENT KILL 127.0.0.1:50002", OK, ALL),
    "nobody by address": ("CLIENT KILL 127.0.0.1:5000", b"-ERR No such client\r\n", ALL),
    "a word alone is an address": ("CLIENT KILL ID", b"-ERR No such client\r\n", ALL),
    "ID": ("CLIENT KILL id 4", b":1\r\n", (1, 2, 3, 5, 6)),
    "ID of nobody": ("CLIENT KILL ID 7", b":0\r\n", ALL),
    "the last ID counts": ("CLIENT KILL ID 4 ID 5", b":1\r\n", (1, 2, 3, 4, 6)),
    "oneself is skipped": ("CLIENT KILL ID 2", b":0\r\n", ALL),
    "oneself": ("CLIENT KILL ID 2 SKIPME no", b":1\r\n", ALL),
    "ADDR": ("CLIENT KILL ADDR 127.0.0.1:50001", b":1\r\n", (2, 3, 4, 5, 6)),
    "LADDR": ("CLIENT KILL LADDR 127.0.0.1:6379", b":5\r\n", (2,)),
    "LADDR of no listener": ("CLIENT KILL LADDR 127.0.0.1:6378", b":0\r\n", ALL),
    "USER": ("CLIENT KILL USER default SKIPME YES", b":5\r\n", (2,)),
    "TYPE": ("CLIENT KILL TYPE normal", b":5\r\n", (2,)),
    "TYPE pubsub": ("CLIENT KILL TYPE pubsub", b":0\r\n", ALL),
    "everybody": ("CLIENT KILL SKIPME no", b":6\r\n", (2,)),
    "MAXAGE": ("CLIENT KILL MAXAGE 3", b":2\r\n", (2, 4, 5, 6)),
    "all filters have to fit": ("CLIENT KILL MAXAGE 3 ID 6 TYPE normal", b":0\r\n", ALL),
    "several filters": (
        "CLIENT KILL ADDR 127.0.0.1:50003 LADDR 127.0.0.1:6379 ID 3 TYPE normal USER default "
        "MAXAGE 1",
        b":1\r\n",
        (1, 2, 4, 5, 6),
    ),
    "an error kills nobody": ("CLIENT KILL TYPE normal ID x", b"-ERR client-id", ALL),
}


@pytest.mark.parametrize(("line", "reply", "left"), KILLS.values(), ids=KILLS.keys())
@pytest.mark.parametrize("workers", [1, 3])
def test_kill(line: str, reply: bytes, left: Sequence[int], workers: int) -> None:
    house = House(workers)
    clients = [house.client() for _ in range(6)]
    for client in clients[:3]:
        client.created_ms -= 3_000
    for client in clients[3:]:
        client.created_ms -= 2_999
    assert house.run(clients[1], line).startswith(reply)
    assert tuple(house.ids()) == tuple(left)
    own = line.startswith("CLIENT KILL 127.0.0.1:50002") or "SKIPME no" in line
    assert clients[1].close_after_reply is own
    assert link_of(clients[1]).closed_for is None, "its reply comes first"
    for client in clients:
        if client.id not in left:
            assert link_of(client).closed_for is not None


# -- CLIENT PAUSE ----------------------------------------------------------------------------------

# Lines, in ms after the first; what of the pause is left at the time of the last: ms, writes only.
PAUSES: dict[str, tuple[Sequence[tuple[int, str]], int, bool]] = {
    "all": ([(0, "PAUSE 100")], 100, False),
    "all, said": ([(0, "PAUSE 100 all")], 100, False),
    "writes": ([(0, "PAUSE 100 write")], 100, True),
    "of no length": ([(0, "PAUSE 0")], 0, False),
    "a shorter one changes nothing": ([(0, "PAUSE 100"), (10, "PAUSE 20")], 90, False),
    "a longer one counts": ([(0, "PAUSE 100"), (10, "PAUSE 200")], 200, False),
    "writes do not weaken all": ([(0, "PAUSE 100"), (10, "PAUSE 200 WRITE")], 200, False),
    "all is more than writes": ([(0, "PAUSE 100 WRITE"), (10, "PAUSE 0 ALL")], 90, False),
    "after its end it is forgotten": ([(0, "PAUSE 100"), (100, "PAUSE 50 WRITE")], 50, True),
    "ended": ([(0, "PAUSE 100"), (10, "UNPAUSE")], 0, False),
}


@pytest.mark.parametrize(("lines", "left_ms", "writes_only"), PAUSES.values(), ids=PAUSES.keys())
def test_pause(lines: Sequence[tuple[int, str]], left_ms: int, writes_only: bool) -> None:
    house = House(3)
    client = house.client()
    for after_ms, line in lines:
        house.now_ms = NOW_MS + after_ms
        house.servers[2].store.now_ms += 1  # its turn begins later: the end is the same
        assert house.run(client, f"CLIENT {line}") == OK
    pauses = [server.pause for server in house.servers]
    assert len({pause.until_ms for pause in pauses}) == 1, "they end at one instant"
    assert max(pauses[0].until_ms - house.now_ms, 0) == left_ms
    if left_ms:
        assert {pause.writes_only for pause in pauses} == {writes_only}


# -- CLIENT REPLY, through the dispatcher ----------------------------------------------------------

# Pipelined lines, and the replies that come.
REPLIES: dict[str, tuple[str, str]] = {
    "on": ("CLIENT REPLY ON|PING", "+OK|+PONG"),
    "off": ("CLIENT REPLY OFF|PING|NOSUCH|CLIENT REPLY x|ECHO a", ""),
    "off and on": ("CLIENT REPLY OFF|PING|CLIENT REPLY ON|PING", "+OK|+PONG"),
    "skip": ("CLIENT REPLY SKIP|PING|ECHO a", "$1|a"),
    "skip an error": ("CLIENT REPLY SKIP|NOSUCH|ECHO a", "$1|a"),
    "skip an error of REPLY": ("CLIENT REPLY SKIP|CLIENT REPLY x|ECHO a", "$1|a"),
    "skip a wrong arity of REPLY": ("CLIENT REPLY SKIP|CLIENT REPLY|ECHO a", "$1|a"),
    "skip twice": ("CLIENT REPLY SKIP|CLIENT REPLY SKIP|PING|ECHO a", "$1|a"),
    "skip means nothing while off": (
        "CLIENT REPLY OFF|CLIENT REPLY SKIP|PING|PING|CLIENT REPLY ON",
        "+OK",
    ),
    "on ends a skip": ("CLIENT REPLY SKIP|CLIENT REPLY ON|ECHO a", "+OK|$1|a"),
    "off after a skip": ("CLIENT REPLY SKIP|CLIENT REPLY OFF|PING|PING|CLIENT REPLY ON", "+OK"),
    "RESET ends off": ("CLIENT REPLY OFF|PING|RESET|PING", "+RESET|+PONG"),
    "RESET may be skipped": ("CLIENT REPLY SKIP|RESET|PING", "+PONG"),
    "QUIT may be skipped": ("PING|CLIENT REPLY SKIP|QUIT", "+PONG"),
    "QUIT ends it": ("PING|QUIT|PING", "+PONG|+OK"),
}


@pytest.mark.parametrize(("lines", "replies"), REPLIES.values(), ids=REPLIES.keys())
def test_reply_modes(lines: str, replies: str) -> None:
    house = House(1)
    client = house.client()
    # The uplink and the participant are for keys and for other workers: nothing here gets there.
    dispatcher = Dispatcher(house.servers[0], [None], cast(Any, None), lambda: 0)
    dispatcher.start(lambda _ticket: None, {})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(
            ours, client, RequestReader(), dispatcher, lambda _fd, _events: None, lambda _: None
        )
        connection.accept_input(b"".join([pack(*split_line(line)) for line in lines.split("|")]))
        connection.flush()
        theirs.setblocking(False)
        said = b""
        try:
            said = theirs.recv(4096)
        except BlockingIOError:
            assert not replies
        assert said.decode().replace("\r\n", "|").rstrip("|") == replies
        assert connection.closed is ("QUIT" in lines)
