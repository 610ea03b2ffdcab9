"""The commands of connections beside redis-server: HELLO, AUTH, SELECT, RESET, CLIENT."""

import re
from collections.abc import Iterator, Sequence

import pytest
from support.differential import (
    Case,
    Compare,
    Step,
    Table,
    cases,
    closes,
    mask,
    on,
    reply,
    sends,
    shape,
)
from support.raw import RawClient, split_line
from support.servers import Oracle, Server, Shoal, wait_until


def hello(line: str) -> Step:
    """Compare HELLO but for the client's id, and for the modules, of which Shoal has none."""
    return mask(r"(?s)(?<=id\r\n:)\d+|(?<=modules\r\n).*", line)


# What differs between two servers and two connections, or is kept in other buffers by Shoal.
OWN = (
    r"\b(id|l?addr|fd|qbuf|qbuf-free|argv-mem|rbs|rbp|oll|omem|tot-mem|age|idle|tot-net-out)=[^ ]*"
)


def info(line: str = "CLIENT INFO") -> Step:
    """Compare a line of CLIENT INFO: the fields and their order, and what must be equal."""
    return mask(OWN, line)


ARITY: Table = {
    f"wrong number of arguments: {line}": [line]
    for line in (
        "AUTH",
        "ECHO",
        "ECHO a b",
        "PING a b",
        "SELECT",
        "SELECT 1 2",
        "RESET x",
        "CLIENT",
        "CLIENT NOSUCH",
        "CLIENT ID x",
        "client info x",
        "CLIENT LIST TYPE",
        "CLIENT KILL",
        "CLIENT SETNAME",
        "CLIENT SETNAME a b",
        "CLIENT GETNAME x",
        "CLIENT SETINFO",
        "CLIENT SETINFO LIB-NAME",
        "CLIENT NO-EVICT",
        "CLIENT NO-TOUCH on on",
        "CLIENT PAUSE",
        "CLIENT PAUSE 1 ALL x",
        "CLIENT UNPAUSE x",
        "CLIENT REPLY",
        "CLIENT REPLY ON x",
        "CLIENT UNBLOCK",
        "CLIENT UNBLOCK 1 ERROR x",
        "CLIENT GETREDIR x",
        "CLIENT TRACKINGINFO x",
        "CLIENT HELP x",
    )
}

SIMPLE: Table = {
    "PING": ["PING", "ping hello", 'PING ""', (b"PING", b"\x00\r\n\xff"), "PING PING"],
    "ECHO": ["ECHO hello", (b"ECHO", b"\x00\r\n\xff"), 'ECHO ""'],
    "SELECT": ["SET k 0", "SELECT 9", "GET k", "SET k 9", "SELECT 0", "GET k", "SELECT 9", "GET k"],
    "SELECT what is not there": ["SELECT 16", "SELECT -1", "SELECT 2147483647"],
    "SELECT what is no int": [
        "SELECT a",
        'SELECT ""',
        "SELECT 0x1",
        "SELECT 01",
        "SELECT 2147483648",
        "SELECT -2147483649",
        "SELECT 9223372036854775808",
    ],
    "a failed SELECT changes nothing": ["SET k v", "SELECT 99", "GET k"],
    "QUIT": [closes("QUIT")],
    "QUIT with arguments": [closes("QUIT now please")],
    "QUIT ends a pipeline": [closes(b"PING\r\nQUIT\r\nPING\r\n")],
    "AUTH without a password set": [
        "AUTH x",
        "AUTH default x",
        'AUTH default ""',
        "AUTH Default x",
        "AUTH nobody x",
        "AUTH a b c",
    ],
}

HELLO: Table = {
    "tells and changes the protocol": [
        hello("HELLO"),
        hello("HELLO 3"),
        hello("HELLO"),
        "GET nosuch",
        hello("HELLO 2"),
        "GET nosuch",
        hello("HELLO"),
    ],
    "version is no integer": ["HELLO x", 'HELLO ""', "HELLO 3.0", "HELLO 9223372036854775808"],
    "version is no version": ["HELLO 0", "HELLO 1", "HELLO 4", "HELLO -2", "HELLO 4 FOO"],
    "SETNAME": [
        hello("HELLO 3 SETNAME me"),
        "CLIENT GETNAME",
        hello('HELLO 2 setname ""'),
        "CLIENT GETNAME",
    ],
    "AUTH and SETNAME in any order": [
        hello("HELLO 2 AUTH default x SETNAME a"),
        "CLIENT GETNAME",
        hello("HELLO 3 setname b auth default y"),
        "CLIENT GETNAME",
        hello("HELLO 2 SETNAME c SETNAME d AUTH nobody x AUTH default x"),
        "CLIENT GETNAME",
    ],
    "options that are none": [
        "HELLO 3 FOO",
        "HELLO 3 AUTH",
        "HELLO 3 auth default",
        "HELLO 3 SETNAME",
        "HELLO 3 SETNAME a b",
        "HELLO SETNAME a",
    ],
    "an error changes nothing": [
        "CLIENT SETNAME before",
        "HELLO 2 SETNAME after AUTH nobody x",
        "HELLO 3 SETNAME after FOO",
        "HELLO 3 SETNAME 'a b'",
        "HELLO 3 SETNAME 'a b' FOO",
        "HELLO 4 SETNAME after",
        "CLIENT GETNAME",
        hello("HELLO"),
    ],
}

STATE: Table = {
    "CLIENT ID": [shape("CLIENT ID")],
    "CLIENT INFO": [info()],
    "CLIENT INFO says what was set": [
        "CLIENT SETNAME me",
        "CLIENT SETINFO LIB-NAME lib",
        "CLIENT SETINFO lib-ver 1.0.0",
        "CLIENT NO-EVICT ON",
        "CLIENT NO-TOUCH on",
        "SELECT 7",
        info(),
        "CLIENT NO-EVICT off",
        "CLIENT NO-TOUCH OFF",
        info(),
    ],
    "SETNAME": [
        "CLIENT GETNAME",
        "CLIENT SETNAME !~",
        "CLIENT GETNAME",
        "CLIENT SETNAME 'a b'",
        r'CLIENT SETNAME "a\n"',
        r'CLIENT SETNAME "\x7f"',
        r'CLIENT SETNAME "\xc3\xa9"',
        "CLIENT GETNAME",
        'CLIENT SETNAME ""',
        "CLIENT GETNAME",
    ],
    "SETINFO": [
        "CLIENT SETINFO lib-name redis-py(x_v1)",
        "CLIENT SETINFO LIB-VER 1.0",
        info(),
        'CLIENT SETINFO LIB-NAME ""',
        info(),
        "CLIENT SETINFO lib-name 'a b'",
        "CLIENT SETINFO LIB-VER 'a b'",
        "CLIENT SETINFO name a",
    ],
    "NO-EVICT and NO-TOUCH want ON or OFF": ["CLIENT NO-EVICT yes", "CLIENT NO-TOUCH 1"],
    "tracking is off": ["CLIENT GETREDIR", "CLIENT TRACKINGINFO"],
    "RESET": [
        "SET k v",
        "CLIENT SETNAME me",
        "CLIENT SETINFO LIB-NAME lib",
        "CLIENT NO-EVICT ON",
        "CLIENT NO-TOUCH ON",
        "SELECT 7",
        "RESET",
        info(),
        "GET k",
        "CLIENT GETNAME",
    ],
    "UNBLOCK": [
        "CLIENT UNBLOCK 999999999",
        "CLIENT UNBLOCK -1",
        "CLIENT UNBLOCK 999999999 timeout",
        "CLIENT UNBLOCK 999999999 ERROR",
        "CLIENT UNBLOCK 1 x",
        "CLIENT UNBLOCK x x",
        "CLIENT UNBLOCK x",
        'CLIENT UNBLOCK ""',
    ],
}


def steps(line: str) -> list[Step]:
    """Lines in one; those with a - in front get no reply."""
    each = [part.strip() for part in line.split("|")]
    return [sends(part[1:]) if part[0] == "-" else Case(part).steps[0] for part in each]


# Redis leaves a client connected that says QUIT while it wants no replies; Shoal closes.
REPLY: Table = {
    name: steps(lines)
    for name, lines in {
        "ON": "CLIENT REPLY on | PING 1",
        "neither": "CLIENT REPLY x | PING 1",
        "OFF": "-CLIENT REPLY OFF | -PING 1 | -NOSUCH | -CLIENT REPLY x | CLIENT REPLY ON | PING 2",
        "OFF, with keys of any worker": (
            "-CLIENT REPLY OFF | -SET a 1 | -SET b 2 | -MSET c 3 d 4 | -DBSIZE | CLIENT REPLY ON"
            "| MGET a b c d"
        ),
        "SKIP": "-CLIENT REPLY SKIP | -PING 1 | PING 2",
        "SKIP a key of any worker": (
            "-CLIENT REPLY SKIP | -SET a 1 | -CLIENT REPLY SKIP | -SET b 2 | MGET a b"
            "| -CLIENT REPLY SKIP | -MGET a b c d | PING 3"
        ),
        "SKIP an error": "-CLIENT REPLY SKIP | -NOSUCH | PING 1",
        "SKIP an error of REPLY": "-CLIENT REPLY SKIP | -CLIENT REPLY x | PING 1",
        "SKIP a wrong arity of REPLY": "-CLIENT REPLY SKIP | -CLIENT REPLY ON x | PING 1",
        "SKIP twice": "-CLIENT REPLY SKIP | -CLIENT REPLY SKIP | -PING 1 | PING 2",
        "SKIP, then ON": "-CLIENT REPLY SKIP | CLIENT REPLY ON | PING 1",
        "SKIP, then OFF": "-CLIENT REPLY SKIP | -CLIENT REPLY OFF | -PING | CLIENT REPLY ON",
        "SKIP while OFF": (
            "-CLIENT REPLY OFF | -CLIENT REPLY SKIP | -PING | -PING | CLIENT REPLY ON | PING 1"
        ),
        "SKIP, then RESET": "-CLIENT REPLY SKIP | -RESET | PING 1",
        "OFF, then RESET": "-CLIENT REPLY OFF | -PING | RESET | PING 1",
    }.items()
}

UNPAUSE = ("CLIENT UNPAUSE",)

PAUSE: Table = {
    "errors": [
        "CLIENT PAUSE x",
        "CLIENT PAUSE 1.5",
        "CLIENT PAUSE -1",
        "CLIENT PAUSE 9223372036854775807",
        "CLIENT PAUSE 9223372036854775808",
        "CLIENT PAUSE 1 x",
        "CLIENT PAUSE x x",
    ],
    "UNPAUSE without a pause": ["CLIENT UNPAUSE"],
    "of no length": ["CLIENT PAUSE 0", "PING", "SET k v"],
    "writes wait until UNPAUSE": Case(
        "CLIENT PAUSE 600000 WRITE",
        *[on(name, sends(f"SET {name} v")) for name in "bcd"],
        "MGET b c d",
        "PING",
        "DBSIZE",
        "CLIENT UNPAUSE",
        *[on(name, reply()) for name in "bcd"],
        "MGET b c d",
        cleanup=UNPAUSE,
    ),
    "what spans partitions waits too": Case(
        "CLIENT PAUSE 600000 write",
        on("b", sends("MSET a 1 b 2 c 3 d 4")),
        on("c", "MGET a b c d"),
        on("d", sends("FLUSHALL")),
        "DBSIZE",
        "CLIENT UNPAUSE",
        on("b", reply()),
        on("d", reply()),
        cleanup=UNPAUSE,
    ),
    "commands behind one that waits keep their order": Case(
        "SET k old",
        "CLIENT PAUSE 600000 WRITE",
        on("b", sends("GET k")),
        on("b", sends("SET k new")),
        on("b", sends("GET k")),
        on("b", reply()),
        "GET k",
        "CLIENT UNPAUSE",
        on("b", reply(2)),
        cleanup=UNPAUSE,
    ),
    "a pause of writes ends": ["CLIENT PAUSE 100 WRITE", "SET k v", "GET k"],
    "a pause of everything ends": ["CLIENT PAUSE 100", "PING", "SET k v"],
    "a shorter pause does not shorten": Case(
        "CLIENT PAUSE 600000 WRITE",
        "CLIENT PAUSE 1 WRITE",
        on("b", sends("SET k v")),
        "GET k",
        "CLIENT UNPAUSE",
        on("b", reply()),
        cleanup=UNPAUSE,
    ),
}

ERRORS: Table = {
    "LIST": [
        "CLIENT LIST TYPE x",
        "CLIENT LIST TYPE normal x",
        "CLIENT LIST TYPE normal ID 1",
        "CLIENT LIST ID",
        "CLIENT LIST ID x",
        "CLIENT LIST ID 1 x",
        'CLIENT LIST ID ""',
        "CLIENT LIST ID 9223372036854775808",
        "CLIENT LIST x",
        "CLIENT LIST USER default",
        "CLIENT LIST NOT-ID 1",
        "CLIENT LIST TYPE pubsub",
        "CLIENT LIST TYPE MASTER",
        "CLIENT LIST TYPE replica",
        "CLIENT LIST TYPE slave",
        "CLIENT LIST ID 0 -1 999999999",
    ],
    "KILL": [
        "CLIENT KILL x",
        'CLIENT KILL ""',
        "CLIENT KILL ID",
        "CLIENT KILL ID 999999999",
        "CLIENT KILL ID x",
        "CLIENT KILL ID 0",
        "CLIENT KILL ID -1",
        "CLIENT KILL ID 9223372036854775808",
        "CLIENT KILL ID 999999998 ID 999999999",
        "CLIENT KILL ID 999999998 999999999",
        "CLIENT KILL ID 0 TYPE",
        "CLIENT KILL ID 999999999 TYPE",
        "CLIENT KILL ID 999999999 FOO x",
        "CLIENT KILL TYPE x",
        "CLIENT KILL TYPE x y",
        "CLIENT KILL TYPE pubsub",
        "CLIENT KILL TYPE MASTER",
        "CLIENT KILL TYPE replica",
        "CLIENT KILL TYPE slave",
        "CLIENT KILL USER x",
        r'CLIENT KILL USER "a\r\nb"',
        "CLIENT KILL USER Default",
        "CLIENT KILL ADDR x",
        "CLIENT KILL LADDR x",
        "CLIENT KILL MAXAGE x",
        "CLIENT KILL MAXAGE 0",
        "CLIENT KILL MAXAGE -1",
        "CLIENT KILL MAXAGE 100000",
        "CLIENT KILL MAXAGE 9223372036854775808",
        "CLIENT KILL SKIPME x",
        "CLIENT KILL NOT-ID 1",
        "CLIENT KILL NAME x",
    ],
}


@pytest.mark.parametrize("script", cases(ARITY, SIMPLE, HELLO, STATE, REPLY, PAUSE, ERRORS))
def test_connection(script: Case, compare: Compare) -> None:
    compare(script)


# -- commands that name other clients --------------------------------------------------------------


class Guests:
    """Clients a, b and c of a server, and their ids and addresses to put into lines.

    `first` are lines that each of them says first.
    """

    def __init__(self, server: Server, *first: str) -> None:
        self.clients: dict[str, RawClient] = {}
        self.names: dict[str, str] = {}
        for name in "abc":
            client = self.clients[name] = server.client()
            for line in first:
                client.call_line(line)
            number = client.call(b"CLIENT", b"ID")[1:-2].decode()
            host, port = client.socket.getsockname()
            here, listening = client.socket.getpeername()
            self.names |= {name: number, f"{name}_addr": f"{host}:{port}"}
            self.names["laddr"] = f"{here}:{listening}"

    def call(self, line: str) -> bytes:
        """Run a line with `{a}`, `{a_addr}` and `{laddr}` in it at client a."""
        return self.clients["a"].call_line(line.format(**self.names))

    def listed(self, line: str) -> list[str]:
        """Run a CLIENT LIST; return the names of the clients in it, in its order."""
        ids = re.findall(rb"(?:^|\n|txt:)id=(\d+) ", self.call(line))
        back = {number: name for name, number in self.names.items()}
        return [back[number.decode()] for number in ids if number.decode() in back]

    def line(self, name: str) -> bytes:
        """Return the reply of a CLIENT LIST of one client."""
        return self.call(f"CLIENT LIST ID {self.names[name]}")

    def closed(self, name: str) -> bool:
        """Tell whether the server has closed this client, by what the client then reads."""
        try:
            return self.clients[name].call(b"PING") != b"+PONG\r\n"
        except (EOFError, ConnectionError):
            return True

    def finish(self) -> None:
        for client in self.clients.values():
            client.close()


@pytest.fixture
def both(oracle: Oracle, subject: Shoal) -> Iterator[tuple[Guests, Guests]]:
    """The same clients of both servers."""
    theirs, ours = Guests(oracle), Guests(subject)
    yield theirs, ours
    theirs.finish()
    ours.finish()


# name: (a line of client a, which clients are gone then)
KILL: dict[str, tuple[str, Sequence[str]]] = {
    "the old form": ("CLIENT KILL {b_addr}", "b"),
    "the old form, oneself": ("CLIENT KILL {a_addr}", "a"),
    "ID": ("CLIENT KILL ID {c}", "c"),
    "the last ID": ("CLIENT KILL ID {c} ID {b}", "b"),
    "ID of oneself": ("CLIENT KILL ID {a}", ""),
    "ID of oneself with SKIPME no": ("CLIENT KILL ID {a} SKIPME no", "a"),
    "ADDR": ("CLIENT KILL ADDR {b_addr} TYPE normal USER default", "b"),
    "ADDR of oneself": ("CLIENT KILL ADDR {a_addr}", ""),
    "LADDR": ("CLIENT KILL LADDR {laddr} ID {b}", "b"),
    "too young": ("CLIENT KILL MAXAGE 1000 SKIPME NO", ""),
    "another's LADDR": ("CLIENT KILL LADDR {b_addr} ID {b}", ""),
    "another type": ("CLIENT KILL ID {b} TYPE pubsub", ""),
}


@pytest.mark.parametrize(("line", "gone"), KILL.values(), ids=KILL.keys())
def test_kill(line: str, gone: Sequence[str], both: tuple[Guests, Guests]) -> None:
    theirs, ours = both
    assert ours.call(line) == theirs.call(line)
    for guests in both:
        assert [name for name in "abc" if guests.closed(name)] == list(gone)


LIST: dict[str, str] = {
    "all": "CLIENT LIST",
    "by type": "CLIENT LIST TYPE normal",
    "in the order of the ids": "CLIENT LIST ID {c} {a} {b} {a} 999999999",
    "none": "CLIENT LIST TYPE pubsub",
}


@pytest.mark.parametrize("line", LIST.values(), ids=LIST.keys())
def test_list(line: str, both: tuple[Guests, Guests]) -> None:
    theirs, ours = both
    assert ours.listed(line) == theirs.listed(line)


def test_list_shows_what_each_client_is(both: tuple[Guests, Guests]) -> None:
    def line_of(guests: Guests, name: str) -> bytes:
        guests.clients["b"].call_line("HELLO 3 SETNAME bee")
        guests.clients["b"].call_line("SELECT 5")
        guests.clients["c"].call_line("CLIENT SETINFO LIB-NAME lib")
        guests.clients["c"].call_line("GeT k")
        # What `a` has sent names the others by their ids, of one digit or two.
        return re.sub(rf"{OWN}|tot-net-in=[^ ]*".encode(), b"*", guests.line(name))

    theirs, ours = both
    for name in "abc":
        # The header has the length of what is masked.
        expected, found = line_of(theirs, name), line_of(ours, name)
        assert found.partition(b"\n")[2] == expected.partition(b"\n")[2]
        assert b" tot-cmds=" in found


def test_list_shows_who_waits_for_the_end_of_a_pause(both: tuple[Guests, Guests]) -> None:
    def check(guests: Guests) -> None:
        assert guests.call("CLIENT PAUSE 600000 WRITE") == b"+OK\r\n"
        guests.clients["b"].send(b"SET k v\r\n")
        wait_until(lambda: b" flags=b " in guests.line("b"), "b waits")
        assert b" flags=N " in guests.line("c")
        assert guests.call("CLIENT UNBLOCK {b}") == b":0\r\n"
        assert guests.call("CLIENT UNPAUSE") == b"+OK\r\n"
        assert guests.clients["b"].read_reply() == b"+OK\r\n"
        assert b" flags=N " in guests.line("b")

    for guests in both:
        check(guests)


def test_help_names_what_there_is(oracle: Oracle, subject: Shoal) -> None:
    def sections(server: Server) -> list[bytes]:
        """The texts of the subcommands, each with the lines that explain it."""
        lines = re.findall(rb"\+(.*)\r\n", server.raw("CLIENT HELP"))
        return re.split(rb"\n(?=\S)", b"\n".join(lines))

    assert sections(subject) == sections(oracle)


# -- a password ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked() -> Iterator[tuple[Oracle, Shoal]]:
    """Both servers, with a password."""
    password = ("--requirepass", "secret")
    with Oracle(*password) as oracle, Shoal("--appendonly", "no", *password, workers=2) as shoal:
        yield oracle, shoal


PASSWORD: dict[str, list[str]] = {
    "nothing without it": [
        "PING",
        "GET k",
        "CLIENT ID",
        "CLIENT REPLY OFF",
        "NOSUCH",
        "GET",
        "CLIENT",
        "CLIENT NOSUCH",
        "RESET",
        "QUIT",
    ],
    "AUTH": ["AUTH secret", "PING", "GET k", "AUTH default secret", "PING"],
    "AUTH wrong": [
        "AUTH secre",
        "AUTH secretx",
        'AUTH ""',
        "AUTH default x",
        "AUTH nobody secret",
        "AUTH default secret x",
        "PING",
    ],
    "AUTH wrong later": ["AUTH secret", "AUTH x", "PING", "AUTH default x", "PING"],
    "RESET": ["AUTH secret", "RESET", "PING", "AUTH secret", "PING"],
    "HELLO without it": ["HELLO", "HELLO 3", "HELLO 3 SETNAME a", "HELLO 4", "HELLO x", "PING"],
    "HELLO with it": ["HELLO 3 AUTH default secret SETNAME a", "CLIENT GETNAME", "GET k"],
    "HELLO with a wrong one": [
        "HELLO 3 AUTH default x",
        "HELLO 3 AUTH nobody secret",
        "HELLO 3 AUTH secret",
        "HELLO 3 AUTH default secret SETNAME 'a b'",
        "HELLO 3 AUTH default secret FOO",
        "HELLO 4 AUTH default secret",
        "PING",
    ],
    "HELLO with a wrong one later": ["AUTH secret", "HELLO 3 AUTH default x", "GET k"],
    "QUIT": ["QUIT"],
}

MODULES = re.compile(rb"(?s)(?<=id\r\n:)\d+|(?<=modules\r\n).*")


@pytest.mark.parametrize("lines", PASSWORD.values(), ids=PASSWORD.keys())
def test_password(lines: list[str], locked: tuple[Oracle, Shoal]) -> None:
    oracle, shoal = locked
    with oracle.client() as theirs, shoal.client() as ours:
        for line in lines:
            found, expected = (
                MODULES.sub(b"*", client.call(*split_line(line))) for client in (ours, theirs)
            )
            assert found == expected, line
        if lines[-1] == "QUIT":
            assert ours.read_until_closed() == theirs.read_until_closed() == b""


def test_kill_everybody_else(locked: tuple[Oracle, Shoal]) -> None:
    """On servers without other clients: those of other tests are kept open."""
    for server in locked:
        guests = Guests(server, "AUTH secret")
        assert guests.call("CLIENT KILL TYPE normal USER default") == b":2\r\n"
        assert [name for name in "abc" if guests.closed(name)] == ["b", "c"]
        assert guests.call("CLIENT KILL SKIPME no") == b":1\r\n"
        assert guests.closed("a")
        guests.finish()


def test_many_arguments_behind_auth(locked: tuple[Oracle, Shoal]) -> None:
    """Before AUTH a command has 10 arguments at most; behind it in a pipeline it is like any."""
    pipeline = b"AUTH secret\r\n*12\r\n$3\r\nDEL\r\n" + b"$1\r\nk\r\n" * 11 + b"PING\r\n"
    for server in locked:
        with server.client() as client:
            client.send(pipeline)
            assert [client.read_reply() for _ in range(3)] == [b"+OK\r\n", b":0\r\n", b"+PONG\r\n"]
