"""The control socket, over a real unix socket; a stand-in runs the requests."""

import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shoal.proto.errors import ReplyError
from shoal.proto.limits import MAX_CONTROL_CLIENTS, MAX_CONTROL_REQUEST_BYTES
from shoal.supervisor.control import Answer, ControlSocket
from shoal.supervisor.listener import ListenError
from shoal.supervisor.loop import Loop, monotonic_ms

BOUND_S = 30.0  # only turns a hang into a failure


class World:
    """A control socket and its loop.

    Attributes:
        asked: the requests that the handler has been given.
        later: what answers those that it has not answered at once.
    """

    def __init__(self, directory: str) -> None:
        self.path = f"{directory}/s"
        self.loop = Loop()
        self.asked: list[list[bytes]] = []
        self.later: list[Answer] = []
        self.control = ControlSocket(self.path, self.loop, self._run)
        self._clients: list[socket.socket] = []

    def _run(self, argv: list[bytes], answer: Answer) -> None:
        self.asked.append(argv)
        if argv[0] == b"LATER":
            self.later.append(answer)
        elif argv[0] == b"ERROR":
            raise ReplyError("ERR no such thing")
        elif argv[0] == b"BIG":
            answer(b"x" * int(argv[1]))
        else:
            answer(b"+%b\r\n" % argv[0])

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect(self.path)
        self._clients.append(client)
        return client

    def until(self, condition: Callable[[], object]) -> None:
        """Turn the loop until something is so."""
        deadline_ms = monotonic_ms() + int(BOUND_S * 1000)
        while not condition():
            assert monotonic_ms() < deadline_ms, "it does not come to pass"
            self.loop.wait(monotonic_ms() + 10)

    def settle(self) -> None:
        """Turn the loop until there is nothing to do."""
        while self.loop._poll.poll(0):
            self.loop.wait(0)

    def read(self, client: socket.socket, size: int) -> bytes:
        """Read so many bytes, or up to the end."""
        got = bytearray()
        ended = []

        def more() -> bool:
            with contextlib.suppress(BlockingIOError):
                data = client.recv(size - len(got))
                got.extend(data)
                if not data:
                    ended.append(True)
            return bool(ended) or len(got) >= size

        self.until(more)
        return bytes(got)

    def end(self) -> None:
        self.control.close()
        self.loop.close()
        for client in self._clients:
            client.close()


@pytest.fixture
def world() -> Iterator[World]:
    # Not tmp_path: a unix socket's path may not exceed 107 bytes.
    with tempfile.TemporaryDirectory(prefix="shoal-") as directory:
        found = World(directory)
        yield found
        found.end()


def test_the_socket_is_its_owners_alone_and_goes_with_the_server() -> None:
    with tempfile.TemporaryDirectory(prefix="shoal-") as directory:
        world = World(directory)
        assert stat.S_IMODE(os.stat(world.path).st_mode) == 0o600
        world.end()
        assert not Path(world.path).exists()


def test_a_second_server_is_refused(world: World) -> None:
    with pytest.raises(ListenError, match="a live server listens there"):
        ControlSocket(world.path, world.loop, world._run)
    client = world.connect()
    client.send(b"PING\r\n")
    assert world.read(client, 7) == b"+PING\r\n"


def test_requests_of_both_forms(world: World) -> None:
    client = world.connect()
    client.send(b"ONE a b\r\n*2\r\n$3\r\nTWO\r\n$2\r\n\0\n\r\nERROR\r\nTHREE\r\n")
    expected = b"+ONE\r\n+TWO\r\n-ERR no such thing\r\n+THREE\r\n"
    assert world.read(client, len(expected)) == expected
    assert world.asked == [[b"ONE", b"a", b"b"], [b"TWO", b"\0\n"], [b"ERROR"], [b"THREE"]]


def test_a_request_in_pieces(world: World) -> None:
    client = world.connect()
    for byte in b"*1\r\n$4\r\nPING\r\n":
        client.send(bytes([byte]))
        world.settle()
    assert world.read(client, 7) == b"+PING\r\n"


def test_one_at_a_time_of_each_client(world: World) -> None:
    client, other = world.connect(), world.connect()
    client.send(b"LATER\r\nAFTER\r\n")
    world.until(lambda: world.later)
    client.send(b"LAST\r\n")
    other.send(b"OTHER\r\n")
    assert world.read(other, 8) == b"+OTHER\r\n"
    world.settle()  # and does not spin on the input that it does not read
    assert world.asked == [[b"LATER"], [b"OTHER"]]
    world.later.pop()(b":1\r\n")
    assert world.read(client, 19) == b":1\r\n+AFTER\r\n+LAST\r\n"


def test_who_has_gone_is_not_answered(world: World) -> None:
    client = world.connect()
    client.send(b"LATER\r\nAFTER\r\n")
    world.until(lambda: world.later)
    client.close()
    world.until(lambda: not world.control._clients)
    world.later.pop()(b":1\r\n")
    world.settle()
    assert world.asked == [[b"LATER"]]


def test_a_large_answer_is_sent_as_it_is_read(world: World) -> None:
    client = world.connect()
    client.send(b"BIG 5000000\r\nPING\r\n")
    world.settle()
    assert world.read(client, 5_000_007) == b"x" * 5_000_000 + b"+PING\r\n"


def test_who_does_not_read_is_not_read(world: World) -> None:
    client = world.connect()
    client.send(b"BIG 1000000\r\n" * 20)
    world.settle()
    assert len(world.asked) == 1
    assert world.read(client, 20_000_000) == b"x" * 20_000_000
    assert len(world.asked) == 20


BROKEN = {
    "a wrong count": (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    "behind a request": (
        b"PING\r\n*1\r\n+\r\n",
        b"+PING\r\n-ERR Protocol error: expected '$', got '+'\r\n",
    ),
    "a line without an end": (b"x" * (MAX_CONTROL_REQUEST_BYTES + 1), b""),
    "a request that is too large": (
        b"*1\r\n$1000000\r\n" + b"x" * (MAX_CONTROL_REQUEST_BYTES + 1),
        b"",
    ),
}


@pytest.mark.parametrize(("sent", "answer"), BROKEN.values(), ids=BROKEN.keys())
def test_what_closes_the_connection(world: World, sent: bytes, answer: bytes) -> None:
    client = world.connect()
    view = memoryview(sent)

    def all_sent() -> bool:
        nonlocal view
        with contextlib.suppress(BlockingIOError):
            view = view[client.send(view) :]
        return not view

    world.until(all_sent)
    try:
        assert world.read(client, len(answer) + 1) == answer
    except ConnectionResetError:  # what it did not read was thrown away
        assert not answer
    assert not world.control._clients


def test_no_more_clients_than_that(world: World) -> None:
    clients = [world.connect() for _ in range(MAX_CONTROL_CLIENTS)]
    world.until(lambda: len(world.control._clients) == MAX_CONTROL_CLIENTS)
    late = world.connect()
    assert world.read(late, 1) == b""
    clients[0].close()
    world.until(lambda: len(world.control._clients) == MAX_CONTROL_CLIENTS - 1)
    again = world.connect()
    again.send(b"PING\r\n")
    assert world.read(again, 7) == b"+PING\r\n"


def test_closing_ends_the_connections(world: World) -> None:
    client = world.connect()
    client.send(b"LATER\r\n")
    world.until(lambda: world.later)
    world.control.close()
    assert client.recv(1) == b""
    world.later.pop()(b":1\r\n")  # nobody is there, and it does no harm
    world.control = ControlSocket(world.path, world.loop, world._run)
