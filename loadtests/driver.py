"""A load of requests that redis-benchmark has no test for: transactions, messages, handed-over
elements.

Each client writes one prepared request, waits until all bytes of its replies are there, and writes
the next. Before the measurement each kind of request is sent once and its replies are parsed: from
then on only their lengths are counted, so that this process costs as little as it can.
"""

import itertools
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import hiredis

RECV_BYTES = 262_144
WAIT_SECONDS = 20.0
_MISSING = object()


class DriveError(Exception):
    """The server answered an error, something of another length, or nothing."""


@dataclass(frozen=True)
class Request:
    """What a client writes at once, and how many replies that has; `answer_bytes` is their length
    once it is known.
    """

    data: bytes
    replies: int
    answer_bytes: int = 0


@dataclass(frozen=True)
class Driven:
    """What a run took.

    Attributes:
        seconds: from the first write to the last reply.
        latencies_s: of each request, sorted.
    """

    seconds: float
    latencies_s: list[float]

    def quantile_ms(self, q: float) -> float:
        """Return a quantile of the latencies."""
        return (
            self.latencies_s[min(len(self.latencies_s) - 1, int(q * len(self.latencies_s)))] * 1e3
        )


def pack(*commands: Sequence[str | bytes]) -> Request:
    """Make a request of commands that have one reply each."""
    # hiredis annotates pack_command as taking a 1-tuple; any tuple is what it wants.
    data = [hiredis.pack_command(tuple(words)) for words in commands]  # type: ignore[arg-type]
    return Request(b"".join(data), len(commands))


class Client:
    """A connection and the requests that it writes in turn."""

    def __init__(self, port: int, requests: Sequence[Request]) -> None:
        """Connect; raises OSError."""
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests: Iterator[Request] = itertools.cycle(requests)
        self._missing = 0
        self._since = 0.0

    def write(self, now: float) -> None:
        """Write the next request; its answer's length must be known."""
        request = next(self._requests)
        self._missing += request.answer_bytes
        self._since = now
        self.socket.sendall(request.data)

    def read(self) -> float | None:
        """Receive; return when the request was written that is answered now, None if bytes are
        missing. Raises: DriveError.
        """
        data = self.socket.recv(RECV_BYTES)
        self._missing -= len(data)
        if self._missing > 0 and data:
            return None
        if self._missing or not data:
            raise DriveError(f"not the length of the first reply: ...{data[-100:]!r}")
        return self._since

    def repeat(self, requests: Sequence[Request]) -> None:
        """Write these from now on."""
        self._requests = itertools.cycle(requests)

    def call(self, request: Request) -> list[object]:
        """Send a request and return its replies. Raises: DriveError if one is an error."""
        self.socket.sendall(request.data)
        return self.receive(request.replies)[0]

    def with_length(self, request: Request) -> Request:
        """Send a request; return it with the length of its answer. Raises: as `call`."""
        self.socket.sendall(request.data)
        return Request(request.data, request.replies, self.receive(request.replies)[1])

    def receive(self, count: int) -> tuple[list[object], int]:
        """Return so many replies, and how many bytes they were. Raises: as `call`."""
        reader, length = hiredis.Reader(notEnoughData=_MISSING), 0
        replies: list[object] = []
        while len(replies) < count:
            reply = reader.gets()
            if reply is not _MISSING:
                _check(reply)
                replies.append(reply)
                continue
            data = self.socket.recv(RECV_BYTES)
            if not data:
                raise DriveError("the server closed the connection")
            length += len(data)
            reader.feed(data)
        return replies, length


def _check(reply: object) -> None:
    if isinstance(reply, hiredis.ReplyError):
        raise DriveError(str(reply))
    if isinstance(reply, list):
        for item in reply:
            _check(item)


def drive(
    clients: Sequence[Client],
    count: int,
    sinks: Sequence[Client] = (),
    sunk_bytes: int = 0,
) -> Driven:
    """Let the clients have so many requests answered in all.

    Args:
        clients: one request of each is under way.
        count: of requests.
        sinks: clients to which the server sends of its own accord.
        sunk_bytes: how much comes there for each request, over all of them; it is waited for.
    Raises: DriveError, OSError.
    """
    poll = select.epoll()
    by_fd = {client.socket.fileno(): client for client in clients}
    sink_of = {sink.socket.fileno(): sink.socket for sink in sinks}
    for fd in (*by_fd, *sink_of):
        poll.register(fd, select.EPOLLIN)
    latencies: list[float] = []
    left, due = count, count * sunk_bytes
    began = now = time.perf_counter()
    for client in clients[:count]:
        client.write(now)
        left -= 1
    try:
        while len(latencies) < count or due > 0:
            ready = poll.poll(WAIT_SECONDS)
            if not ready:
                raise DriveError(f"{len(latencies)} of {count} requests answered, then silence")
            now = time.perf_counter()
            for fd, _ in ready:
                if fd in sink_of:
                    due -= len(sink_of[fd].recv(RECV_BYTES))
                    continue
                client = by_fd[fd]
                since = client.read()
                if since is None:
                    continue
                latencies.append(now - since)
                if left:
                    client.write(now)
                    left -= 1
    finally:
        poll.close()
    if due:
        raise DriveError(f"{-due} bytes too many were sent to those who only listen")
    return Driven(time.perf_counter() - began, sorted(latencies))


def hand_over(pairs: Sequence[tuple[Client, Client]], count: int) -> Driven:
    """Let pairs hand over so many elements: the second of a pair waits, then the first pushes.

    A latency is that from the push to the element's arrival. Raises: DriveError, OSError.
    """
    poll = select.epoll()
    pair_of = {client.socket.fileno(): pair for pair in pairs for client in pair}
    for fd in pair_of:
        poll.register(fd, select.EPOLLIN)
    latencies: list[float] = []
    missing = dict.fromkeys([pushing for pushing, _ in pairs], 0)
    left = count

    def begin(pair: tuple[Client, Client]) -> None:
        nonlocal left
        if left:
            left -= 1
            missing[pair[0]] = 2
            now = time.perf_counter()
            pair[1].write(now)
            pair[0].write(now)

    began = time.perf_counter()
    for pair in pairs:
        begin(pair)
    try:
        while len(latencies) < count:
            ready = poll.poll(WAIT_SECONDS)
            if not ready:
                raise DriveError(f"{len(latencies)} of {count} handed over, then silence")
            now = time.perf_counter()
            for fd, _ in ready:
                pair = pair_of[fd]
                client = pair[0] if pair[0].socket.fileno() == fd else pair[1]
                since = client.read()
                if since is None:
                    continue
                if client is pair[1]:
                    latencies.append(now - since)
                missing[pair[0]] -= 1
                if not missing[pair[0]]:
                    begin(pair)
    finally:
        poll.close()
    return Driven(time.perf_counter() - began, sorted(latencies))
