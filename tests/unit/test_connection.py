"""A client's connection over a socketpair; what runs its commands is a stand-in that is told when.

The limits' tables were tried on redis-server 8.2.
"""

import contextlib
import gc
import select
import socket
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.proto.directives import Config
from shoal.proto.limits import (
    CLIENT_READ_BYTES,
    CLIENTS_CRON_MIN,
    MAX_UNSENT_REPLY_BYTES,
)
from shoal.proto.resp_reader import RequestReader
from shoal.worker.client import Client, ReplyMode
from shoal.worker.connection import IN, OUT, Block, ClientsCron, Connection
from shoal.worker.dispatch import Dispatcher
from shoal.worker.keyspace import Store
from shoal.worker.server import Server

NOW_MS = 1_700_000_000_000
NOBODY = cast(Any, None)
KB, MB = 1 << 10, 1 << 20


class Runner:
    """Stands in for the dispatcher: keeps the commands, and lets `on_command` act on each."""

    def __init__(self) -> None:
        self.config = Config()
        self.store = Store(range(1), 16, Random(1))
        self.store.now_ms = NOW_MS
        self.server = Server(0, 1, self.config, self.store, NOBODY, 1)
        self.logged: list[str] = []
        self.server.log_warning = self.logged.append
        self.flushable: list[Connection] = []
        self.commands: list[list[bytes]] = []
        self.drained = 0
        self.turns = 0  # that a client asked for, to go on
        self.paused: list[Connection] = []
        self.on_command: Callable[[Connection, list[bytes]], None] = lambda conn, argv: None

    def bind(self, conn: Connection) -> None:
        pass

    def run(self, conn: Connection, commands: list[list[bytes]]) -> None:
        rest = [*conn.todo, *commands]
        conn.todo = []
        while rest and not conn.blocked:
            argv = rest.pop(0)
            self.commands.append(argv)
            self.on_command(conn, argv)
        if not conn.closed:
            conn.todo = rest

    def wait_for_turn(self, conn: Connection) -> None:
        self.turns += 1
        conn.blocked = Block.TURN

    def output_drained(self, conn: Connection) -> None:
        self.drained += 1
        if conn.blocked is Block.OUTPUT:
            conn.blocked = Block.NOTHING

    def forget_paused(self, conn: Connection) -> None:
        self.paused.append(conn)


class Ends:
    """A connection and the client's end of its socket.

    Attributes:
        events: what the connection asked to be polled for.
    """

    def __init__(self, runner: Runner | None = None, *, authenticated: bool = True) -> None:
        self.runner = runner or Runner()
        ours, self.far = socket.socketpair()
        for end in (ours, self.far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KB)
        self.events: int = IN
        self.asked = 0
        self.client = Client(self.runner.server, len(self.runner.server.clients) + 1, b"a", b"b", 9)
        self.client.authenticated = authenticated
        self.conn = Connection(
            ours,
            self.client,
            RequestReader(authenticated),
            cast(Dispatcher, self.runner),
            self._modify,
            self._gone,
        )
        self.runner.server.clients[self.client.id] = self.client

    def _modify(self, fd: int, events: int) -> None:
        assert fd == self.conn.fd
        self.events = events
        self.asked += 1

    def _gone(self, conn: Connection) -> None:
        del self.runner.server.clients[conn.client.id]

    def pump(self, data: bytes) -> None:
        """Send from the client, as far as the connection reads; the rest is dropped."""
        view = memoryview(data)
        while not self.conn.closed and self.events & IN:
            if view:
                with contextlib.suppress(BlockingIOError):
                    view = view[self.far.send(view) :]
            received = self.conn.receive()
            if received is None:
                if not view:
                    return
                continue
            self.conn.accept_input(received)
            self.flush()

    def flush(self) -> None:
        """Do what the turn does at its end."""
        flushable, self.runner.flushable = self.runner.flushable, []
        for conn in flushable:
            conn.flush()

    def go_on(self) -> None:
        """Do what the turn does with a client that need not wait any longer."""
        self.conn.blocked = Block.NOTHING
        self.runner.run(self.conn, [])
        self.conn.todo_drained()

    def reply(self, *replies: bytes | None) -> None:
        """Queue replies (None for one that has not come) and flush."""
        self.conn.out += replies
        self.conn.waiting += replies.count(None)
        self.conn.flush()

    def read(self) -> bytes:
        """Take all the client can get, letting the connection send more."""
        got = bytearray()
        while True:
            try:
                data = self.far.recv(1 << 20)
            except BlockingIOError:
                if self.conn.closed or not self.events & OUT:
                    return bytes(got)
                self.conn.send_more()
                continue
            if not data:
                return bytes(got)
            got += data

    def at_end(self) -> bool:
        """Tell whether the client sees the end, with nothing before it."""
        try:
            return self.far.recv(1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.conn.close("end of the test")
        self.far.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = Ends()
    yield pair
    pair.close()


def bulk_set(size: int) -> bytes:
    return b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (size, b"x" * size)


# -- sending ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from([1, 5, 4096, 65_535, 65_536, 300_000]), max_size=5), max_size=6
    ),
    st.booleans(),
)
def test_replies_arrive_whole_and_in_order(turns: list[list[int]], counted: bool) -> None:
    pair = Ends()
    sent = b""
    for number, sizes in enumerate(turns):
        replies = [b"%d" % ((number * 7 + at) % 10) * size for at, size in enumerate(sizes)]
        if counted:
            pair.conn.big_bytes = sum(size for size in sizes if size >= 4096)
        pair.reply(*replies)
        sent += b"".join(replies)
    assert pair.read() == sent
    assert pair.conn.outbox_bytes == 0
    assert pair.client.output_bytes == len(sent)
    pair.close()


def test_head_is_sent_before_what_has_not_come(ends: Ends) -> None:
    ends.reply(b"+1\r\n", None, b"+3\r\n")
    assert ends.read() == b""
    ends.conn.flush(head=True)
    assert ends.read() == b"+1\r\n"
    ends.conn.out[1 - ends.conn.base] = b"+2\r\n"
    ends.conn.waiting = 0
    ends.conn.flush()
    assert ends.read() == b"+2\r\n+3\r\n"


@pytest.mark.parametrize("counted", [True, False], ids=["while they are made", "when sent"])
def test_who_does_not_read_is_read_on_but_nothing_is_run(ends: Ends, counted: bool) -> None:
    size = 4 * MAX_UNSENT_REPLY_BYTES
    if counted:
        ends.conn.blocked, ends.conn.big_bytes = Block.OUTPUT, size
    ends.reply(b"x" * size)
    assert (ends.events, ends.conn.blocked, ends.runner.drained) == (IN | OUT, Block.OUTPUT, 0)
    ends.pump(PING * 3)
    assert (ends.runner.commands, ends.conn.query_bytes()) == ([], 3 * len(PING))
    assert len(ends.read()) == size
    assert (ends.events, ends.runner.drained, ends.conn.blocked) == (IN, 1, Block.NOTHING)
    ends.go_on()
    assert (len(ends.runner.commands), ends.conn.query_bytes()) == (3, 0)


def test_who_has_a_turn_to_come_waits_all_the_same_for_his_replies_to_go(ends: Ends) -> None:
    ends.runner.wait_for_turn(ends.conn)
    ends.reply(b"x" * 4 * MB)
    assert ends.conn.blocked is Block.OUTPUT


def test_who_has_a_turn_to_come_is_held_all_the_same(ends: Ends) -> None:
    ends.conn.out.append(b"+OK\r\n")
    ends.runner.wait_for_turn(ends.conn)
    ends.conn.hold()
    assert ends.conn.blocked is Block.OUTPUT


@pytest.mark.parametrize("why", [Block.REPLY, Block.PAUSED, Block.PEER])
def test_unsent_replies_do_not_replace_another_reason_to_wait(ends: Ends, why: Block) -> None:
    ends.conn.blocked = why
    ends.reply(b"x" * 4 * MB)
    ends.conn.out.append(b"+OK\r\n")
    ends.conn.hold()
    assert ends.conn.blocked is why


def test_a_held_client_waits_until_its_replies_are_sent(ends: Ends) -> None:
    ends.conn.out.append(b"+OK\r\n")
    ends.conn.hold()
    held = ends.conn.blocked
    ends.conn.flush()
    sent = ends.conn.blocked
    ends.conn.hold()  # nothing is kept back: it may go on
    assert (held, sent, ends.conn.blocked) == (Block.OUTPUT, Block.NOTHING, Block.NOTHING)


@pytest.mark.parametrize("size", [1, 300_000], ids=["small", "in pieces"])
def test_a_client_that_has_gone_is_closed_by_the_write(ends: Ends, size: int) -> None:
    ends.far.close()
    ends.conn.big_bytes = size if size > 1 else 0
    ends.reply(b"x" * size)
    assert ends.conn.closed
    assert ends.runner.server.clients == {}


# -- client-output-buffer-limit -------------------------------------------------------------------

# normal: hard, soft, seconds; sizes of the replies of one turn; whether Redis closes.
HARD = [
    (b"normal 0 0 0", [8 * MB], False),
    (b"normal 100000 0 0", [90_000], False),
    (b"normal 100000 0 0", [150_000], True),
    (b"normal 100000 0 0", [50_000] * 3, True),
    (b"normal 0 100000 60", [150_000], False),
]


@pytest.mark.parametrize(("limit", "sizes", "closes"), HARD)
@pytest.mark.parametrize("counted", [True, False])
def test_hard_limit(
    ends: Ends, limit: bytes, sizes: list[int], closes: bool, counted: bool
) -> None:
    ends.runner.config.set_at_start(b"client-output-buffer-limit", limit.split())
    if counted:
        ends.conn.big_bytes = sum(sizes)
    ends.reply(*[b"x" * size for size in sizes])
    assert ends.conn.closed == closes
    stats = ends.runner.server.stats
    assert stats.output_limit_disconnections == closes
    if closes:
        assert ends.at_end()  # nothing of it was sent
        (line,) = ends.runner.logged
        assert line.startswith("Client id=1 addr=a ")
        assert line.endswith(" scheduled to be closed ASAP for overcoming of output buffer limits.")
    else:
        assert len(ends.read()) == sum(sizes)


def test_hard_limit_counts_what_waits_already(ends: Ends) -> None:
    ends.runner.config.set_at_start(b"client-output-buffer-limit", [b"normal", b"3mb", b"0", b"0"])
    ends.reply(b"x" * 2 * MB)
    assert not ends.conn.closed
    ends.reply(b"x" * (3 * MB - ends.conn.outbox_bytes))
    assert ends.conn.closed


def test_soft_limit_counts_the_time_over_it(ends: Ends) -> None:
    runner = ends.runner
    runner.config.set_at_start(b"client-output-buffer-limit", [b"normal", b"0", b"1mb", b"10"])
    ends.reply(b"x" * 2 * MB)
    ends.conn.on_time(NOW_MS + 60_000, 0)  # begins to count at the store's time
    runner.store.now_ms += 10_000
    ends.conn.on_time(runner.store.now_ms, 0)
    assert not ends.conn.closed
    assert len(ends.read()) == 2 * MB
    ends.reply(b"x" * 2 * MB)
    runner.store.now_ms += 10_000  # 20 s since it was over the limit first, 10 s without a break
    ends.conn.on_time(runner.store.now_ms, 0)
    assert not ends.conn.closed
    runner.store.now_ms += 1
    ends.conn.on_time(runner.store.now_ms, 0)
    assert ends.conn.closed
    assert runner.server.stats.output_limit_disconnections == 1


# -- client-query-buffer-limit --------------------------------------------------------------------

QUERY = {
    "as large as the limit with its CRLF": (bulk_set(MB - 2), True),
    "one more": (bulk_set(MB - 1), False),
    "much more": (bulk_set(3 * MB), False),
    "two arguments below it": (
        b"*5\r\n$4\r\nMSET\r\n"
        + b"".join(b"$1\r\n%b\r\n$700000\r\n%b\r\n" % (k, b"x" * 700_000) for k in (b"a", b"b")),
        True,
    ),
}


@pytest.mark.parametrize(("data", "runs"), QUERY.values(), ids=QUERY.keys())
def test_query_buffer_limit(ends: Ends, data: bytes, runs: bool) -> None:
    ends.runner.config.set_at_start(b"client-query-buffer-limit", [b"1mb"])
    ends.pump(data)
    assert len(ends.runner.commands) == runs
    assert ends.conn.closed != runs
    assert ends.runner.server.stats.query_limit_disconnections == (not runs)
    if not runs:
        (line,) = ends.runner.logged
        assert line.startswith("Closing client that reached max query buffer length: id=1 addr=a ")
        assert line.endswith(f'(qbuf initial bytes: "{"x" * 64}")')


# -- input behind a blocked command ---------------------------------------------------------------

PING = b"*1\r\n$4\r\nPING\r\n"


def numbered(numbers: range) -> bytes:
    """Return a pipeline of commands that are all different and of one size."""
    return b"".join([b"*1\r\n$9\r\n%09d\r\n" % number for number in numbers])


def block_for(why: Block) -> Callable[[Connection, list[bytes]], None]:
    def block(conn: Connection, _: list[bytes]) -> None:
        conn.blocked = why

    return block


BLOCKS = [Block.REPLY, Block.PAUSED, Block.PEER, Block.OUTPUT, Block.TURN]


@pytest.mark.parametrize("why", BLOCKS, ids=lambda why: why.name)
def test_parked_input_is_bounded_and_runs_in_order(ends: Ends, why: Block) -> None:
    ends.runner.config.set_at_start(b"client-query-buffer-limit", [b"1mb"])
    ends.runner.on_command = block_for(why)
    ends.pump(numbered(range(3 * MB // 19)))
    assert ends.events == 0
    assert len(ends.runner.commands) == 1
    parked = ends.conn.query_bytes()
    assert MB < parked <= MB + CLIENT_READ_BYTES + len(numbered(range(1)))

    ends.runner.on_command = lambda conn, argv: None
    ends.go_on()
    while ends.conn.blocked:
        ends.go_on()
    assert (ends.events, ends.conn.query_bytes()) == (IN, ends.conn.reader.pending_bytes)
    numbers = [int(argv[0]) for argv in ends.runner.commands]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) * 19 > parked


def test_parked_input_is_run_a_read_at_a_time(ends: Ends) -> None:
    """As what is received: in between it is everybody else's turn."""
    ends.conn.blocked = Block.REPLY
    count = 40 * CLIENT_READ_BYTES // 19
    ends.pump(numbered(range(count)))
    ends.runner.store.now_ms += 5000
    last = 0
    while len(ends.runner.commands) < count:
        ends.go_on()
        assert 0 < len(ends.runner.commands) - last <= CLIENT_READ_BYTES // 19 + 1
        last = len(ends.runner.commands)
    assert ends.runner.turns >= 39
    assert ends.client.last_ms == ends.runner.store.now_ms  # it is not idle
    assert not ends.conn.blocked


def test_input_byte_by_byte_is_parked_in_large_pieces(ends: Ends) -> None:
    ends.conn.blocked = Block.REPLY
    data = numbered(range(2 * CLIENT_READ_BYTES // 19))
    for at in range(len(data)):
        ends.conn.accept_input(data[at : at + 1])
    assert ends.conn.query_bytes() == len(data)
    ends.go_on()
    ends.go_on()
    assert len(ends.runner.commands) == len(data) // 19


def test_what_blocks_again_keeps_the_rest_parked(ends: Ends) -> None:
    ends.conn.blocked = Block.REPLY
    ends.pump(numbered(range(5)))
    ends.runner.on_command = block_for(Block.REPLY)
    for count in range(1, 6):
        ends.pump(numbered(range(count + 4, count + 5)))
        ends.go_on()
        assert [int(argv[0]) for argv in ends.runner.commands] == list(range(count))


def test_a_large_command_behind_a_blocked_one_is_parked_input(ends: Ends) -> None:
    ends.runner.config.set_at_start(b"client-query-buffer-limit", [b"2mb"])
    ends.conn.blocked = Block.REPLY
    ends.pump(bulk_set(8 * MB))
    assert ends.events == 0
    assert ends.conn.query_bytes() <= 2 * MB + CLIENT_READ_BYTES


def test_a_large_command_may_be_parked_and_received_in_parts(ends: Ends) -> None:
    ends.conn.blocked = Block.REPLY
    data = bulk_set(3 * MB)
    ends.pump(data[: 2 * MB])
    ends.go_on()
    while ends.conn.blocked:
        ends.go_on()
    ends.pump(data[2 * MB :])
    assert [len(arg) for argv in ends.runner.commands for arg in argv] == [3, 1, 3 * MB]


def test_a_parked_command_over_the_limit_closes(ends: Ends) -> None:
    ends.runner.config.set_at_start(b"client-query-buffer-limit", [b"1mb"])
    ends.conn.blocked = Block.REPLY
    ends.pump(PING + bulk_set(3 * MB))
    ends.go_on()
    for _ in range(100):
        if ends.conn.closed:
            break
        if ends.conn.blocked:
            ends.go_on()
        else:
            ends.pump(b"x" * CLIENT_READ_BYTES)
    assert (ends.conn.closed, ends.runner.server.stats.query_limit_disconnections) == (True, 1)
    assert ends.runner.commands == [[b"PING"]]


def test_parked_input_keeps_the_socket_unread_when_output_has_gone(ends: Ends) -> None:
    ends.runner.config.set_at_start(b"client-query-buffer-limit", [b"1mb"])
    ends.conn.blocked = Block.REPLY
    ends.pump(bulk_set(8 * MB))
    ends.reply(b"x" * 2 * MB)
    assert ends.events == OUT
    assert len(ends.read()) == 2 * MB
    assert ends.events == 0


# -- the ends of a connection ---------------------------------------------------------------------


def test_idle_client_that_closes_is_closed(ends: Ends) -> None:
    ends.far.shutdown(socket.SHUT_WR)
    assert ends.conn.receive() is None
    assert ends.conn.closed


def test_half_closed_client_gets_its_replies(ends: Ends) -> None:
    ends.runner.on_command = lambda conn, argv: conn.out.append(None)
    ends.conn.waiting = 1
    ends.pump(PING)
    ends.far.shutdown(socket.SHUT_WR)
    assert ends.conn.receive() is None
    assert not ends.conn.closed
    assert not ends.events & IN
    ends.conn.out[0] = b"+PONG\r\n"
    ends.conn.waiting = 0
    ends.conn.flush()
    assert ends.conn.closed
    assert ends.read() == b"+PONG\r\n"
    assert ends.at_end()


def test_half_closed_client_gets_the_replies_to_what_it_parked(ends: Ends) -> None:
    """OUTPUT ends inside of the flush: that must not be taken for the end of everything."""

    def large(conn: Connection, _: list[bytes]) -> None:
        conn.out.append(b"x" * 100)
        conn.blocked, conn.big_bytes = Block.OUTPUT, 100

    ends.runner.on_command = large
    ends.pump(PING * 3)
    ends.far.shutdown(socket.SHUT_WR)
    assert ends.conn.receive() is None
    replies = 0
    for _ in range(3):
        ends.conn.flush()
        ends.go_on()
        replies += len(ends.read()) // 100
    ends.flush()
    assert (replies, ends.conn.closed) == (3, True)


def test_half_closed_client_gets_the_replies_to_all_its_parked_turns(ends: Ends) -> None:
    ends.conn.blocked = Block.REPLY
    count = 5 * CLIENT_READ_BYTES // len(PING)
    ends.pump(PING * count)
    ends.far.shutdown(socket.SHUT_WR)
    assert ends.conn.receive() is None
    ends.runner.on_command = lambda conn, argv: conn.out.append(b"+")
    replies = 0
    for _ in range(5):
        assert not ends.conn.closed
        ends.go_on()
        ends.conn.flush()
        replies += len(ends.read())
    ends.flush()
    assert (replies, ends.conn.closed) == (count, True)


@pytest.mark.parametrize("behind", [PING, PING * 2 * (CLIENT_READ_BYTES // len(PING))])
def test_a_client_that_asks_to_be_closed_is_closed_whatever_is_parked(
    ends: Ends, behind: bytes
) -> None:
    """QUIT in parked input, and more behind it, in its own read and in later ones."""

    def quit_(conn: Connection, argv: list[bytes]) -> None:
        conn.out.append(b"+OK\r\n")
        conn.client.close_soon()
        conn.blocked = Block.CLOSING
        conn.drop_input()

    ends.conn.blocked = Block.REPLY
    ends.pump(b"*1\r\n$4\r\nQUIT\r\n" + behind)
    ends.runner.on_command = quit_
    ends.go_on()
    ends.conn.flush()
    assert (ends.read(), ends.conn.closed) == (b"+OK\r\n", True)


def test_a_pause_forgets_who_leaves(ends: Ends) -> None:
    def pause(conn: Connection, _: list[bytes]) -> None:
        conn.blocked = Block.PAUSED

    ends.runner.on_command = pause
    ends.pump(PING)
    ends.far.shutdown(socket.SHUT_WR)
    assert ends.conn.receive() is None
    assert ends.conn.closed
    assert ends.runner.paused == [ends.conn]


@pytest.mark.parametrize("why", [Block.REPLY, Block.PEER, Block.OUTPUT, Block.TURN])
def test_a_closed_end_does_not_keep_the_loop_busy(why: Block) -> None:
    """EPOLLHUP cannot be switched off, and comes at every poll unless it is edge-triggered."""
    pair = Ends()
    with select.epoll() as poller:
        poller.register(pair.conn.fd, IN)
        pair.conn._modify = poller.modify
        pair.conn.blocked = why
        pair.far.close()
        for _ in range(3):
            for _, event in poller.poll(0):
                assert event & (IN | select.EPOLLHUP)
                pair.conn.receive()
        assert not pair.conn.closed
        assert poller.poll(0) == []
    pair.close()


def test_a_reset_closes(ends: Ends) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    ends.conn.sock.close()
    ends.conn.sock, ends.conn.blocked = ours, Block.REPLY
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    assert select.select([ours], [], [], 30)[0]
    assert ends.conn.receive() is None
    assert ends.conn.closed


def test_nothing_runs_behind_a_close(ends: Ends) -> None:
    ends.runner.on_command = lambda conn, argv: conn.close("killed")
    ends.pump(PING * 3)
    assert len(ends.runner.commands) == 1
    assert ends.conn.todo == []


def test_a_closed_connection_leaves_no_cycle() -> None:
    """The workers run without the garbage collector."""
    pair = Ends()
    pair.pump(PING)
    pair.close()
    pair.conn._modify = pair.conn.on_close = cast(Any, None)  # the test's own cycle
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        del pair
        gc.collect()
        assert not [thing for thing in gc.garbage if isinstance(thing, Connection | Client)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


# -- protocol errors ------------------------------------------------------------------------------

BROKEN = b"*1\r\n+\r\n"
TEXT = b"-ERR Protocol error: expected '$', got '+'\r\n"


def test_protocol_error_comes_behind_what_has_not_come(ends: Ends) -> None:
    ends.conn.out.append(None)
    ends.conn.waiting = 1
    ends.pump(BROKEN + PING)
    assert not ends.conn.closed
    assert ends.runner.commands == []
    ends.pump(PING)  # is thrown away
    ends.conn.out[0] = b"+OK\r\n"
    ends.conn.waiting = 0
    ends.conn.flush()
    assert ends.read() == b"+OK\r\n" + TEXT
    assert ends.conn.closed


def test_protocol_error_comes_behind_parked_commands(ends: Ends) -> None:
    def block(conn: Connection, _: list[bytes]) -> None:
        conn.blocked = Block.PEER

    ends.runner.on_command = block
    ends.pump(PING * 2 + BROKEN)
    assert ends.conn.out == []
    ends.runner.on_command = lambda conn, argv: conn.out.append(b"+PONG\r\n")
    ends.conn.blocked = Block.NOTHING
    ends.conn.protocol_error()  # not before the commands in front of it
    assert ends.conn.out == []
    ends.go_on()
    ends.flush()
    assert ends.read() == b"+PONG\r\n" + TEXT
    assert ends.conn.closed


def test_protocol_error_ends_what_is_parked_behind_it(ends: Ends) -> None:
    """In one read with what blocked, or itself parked; nothing behind it keeps the client open."""
    ends.runner.on_command = block_for(Block.REPLY)
    ends.pump(PING + BROKEN)
    ends.pump(PING * 2)
    ends.runner.on_command = lambda conn, argv: conn.out.append(b"+PONG\r\n")
    ends.go_on()
    ends.flush()
    assert (ends.read(), ends.conn.closed) == (TEXT, True)


def test_protocol_error_in_parked_input(ends: Ends) -> None:
    ends.conn.blocked = Block.REPLY
    ends.pump(PING + BROKEN + PING * 2 * (CLIENT_READ_BYTES // len(PING)))
    ends.runner.on_command = lambda conn, argv: conn.out.append(b"+PONG\r\n")
    ends.go_on()
    ends.flush()
    assert (ends.read(), ends.conn.closed) == (b"+PONG\r\n" + TEXT, True)


@pytest.mark.parametrize("mode", [ReplyMode.OFF, ReplyMode.SKIP])
def test_no_protocol_error_without_replies(ends: Ends, mode: ReplyMode) -> None:
    ends.client.reply_mode = mode
    ends.pump(BROKEN)
    assert ends.at_end()


def test_what_stands_behind_auth_is_read_after_it() -> None:
    """10 arguments of 16 kB are the most before AUTH, which may be in the same read."""
    pair = Ends(authenticated=False)

    def auth(conn: Connection, argv: list[bytes]) -> None:
        if argv[0] == b"AUTH":
            conn.client.set_authenticated(b"default")

    pair.runner.on_command = auth
    pair.pump(b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n" + bulk_set(20_000) + PING)
    assert [argv[0] for argv in pair.runner.commands] == [b"AUTH", b"SET", b"PING"]
    assert pair.conn.reader.error is None
    pair.close()


def test_what_stands_behind_a_refused_auth_breaks_the_protocol() -> None:
    pair = Ends(authenticated=False)
    pair.pump(b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n" + bulk_set(20_000))
    assert pair.read() == b"-ERR Protocol error: unauthenticated bulk length\r\n"
    assert pair.conn.closed
    pair.close()


def test_a_blocked_auth_keeps_what_stands_behind_it_unread() -> None:
    pair = Ends(authenticated=False)

    def pause(conn: Connection, _: list[bytes]) -> None:
        conn.blocked = Block.REPLY

    pair.runner.on_command = pause
    pair.pump(b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n" + bulk_set(20_000))
    assert pair.events == 0
    assert pair.conn.reader.error is None
    pair.conn.blocked = Block.NOTHING
    pair.runner.on_command = lambda conn, argv: None
    pair.client.set_authenticated(b"default")
    pair.conn.todo_drained()
    assert [argv[0] for argv in pair.runner.commands] == [b"AUTH", b"SET"]
    assert pair.events == IN
    pair.close()


def test_parked_auth_lets_in_what_is_parked_behind_it() -> None:
    pair = Ends(authenticated=False)

    def auth(conn: Connection, argv: list[bytes]) -> None:
        if argv[0] == b"AUTH":
            conn.client.set_authenticated(b"default")

    pair.conn.blocked = Block.PAUSED
    pair.runner.on_command = auth
    pair.pump(b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n" + bulk_set(20_000) + bulk_set(200_000) + PING)
    pair.go_on()
    while pair.conn.blocked:
        pair.go_on()
    assert [argv[0] for argv in pair.runner.commands] == [b"AUTH", b"SET", b"SET", b"PING"]
    assert (pair.events, pair.conn.reader.error) == (IN, None)
    pair.close()


# -- timeout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, CLIENTS_CRON_MIN, 100])
def test_idle_clients_are_closed_within_a_second(count: int) -> None:
    runner = Runner()
    runner.config.set_at_start(b"timeout", [b"5"])
    pairs = [Ends(runner) for _ in range(count)]
    fresh, owed = Ends(runner), Ends(runner)
    owed.conn.waiting = 1
    runner.store.now_ms += 5001
    fresh.client.last_ms = runner.store.now_ms
    cron = ClientsCron(runner.server)
    for _ in range(11):
        cron.run()
    assert [pair.conn.closed for pair in pairs] == [True] * count
    assert not fresh.conn.closed
    assert not owed.conn.closed
    for pair in [*pairs, fresh, owed]:
        pair.close()


def test_a_cron_without_limits_looks_at_nobody(ends: Ends) -> None:
    ends.runner.store.now_ms += 1 << 40
    ClientsCron(ends.runner.server).run()
    assert not ends.conn.closed


@pytest.mark.parametrize(
    ("why", "closes"),
    [
        (Block.REPLY, False),
        (Block.PAUSED, False),
        (Block.PEER, False),
        (Block.TURN, False),
        (Block.OUTPUT, True),
    ],
)
def test_who_waits_for_us_is_not_idle(ends: Ends, why: Block, closes: bool) -> None:
    ends.conn.blocked = why
    ends.conn.on_time(NOW_MS + 2000, 1000)
    assert ends.conn.closed == closes


def test_who_reads_is_not_idle(ends: Ends) -> None:
    ends.reply(b"x" * 2 * MB)
    ends.runner.store.now_ms += 60_000
    ends.read()
    ends.conn.on_time(ends.runner.store.now_ms + 500, 1000)
    assert not ends.conn.closed
