"""System calls made of memory: pipes, sockets, epoll, clocks, the page of counters.

`Machine` stands under the names `select`, `time` and `os` in the modules that call them, so that
the real loops of several workers run in one process. What is a matter of chance in a real one (who
goes first, what is on its way, who dies where) is decided by the two classes that are built on it:
`turns.World` preempts workers in front of each call, `simulation.Simulation` lets whole turns
happen, delays what is in the pipes, and lets processes die in front of any call.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any, Protocol

import hiredis
from shoal.worker.loop import IN, OUT


class Pipe:
    """One direction between two processes; the writer's end is `fd + 1`.

    Attributes:
        room: how many bytes it takes.
        data: what can be read.
        on_way: what was written and can't be read yet; empty unless the machine delays.
        written, read: whether the ends are open.
    """

    def __init__(self, fd: int, room: int) -> None:
        self.fd = fd
        self.room = room
        self.data = bytearray()
        self.on_way: deque[bytes] = deque()
        self.written = self.read = True

    @property
    def left(self) -> int:
        """How many bytes more it takes."""
        return self.room - len(self.data) - sum(map(len, self.on_way))

    @property
    def at_end(self) -> bool:
        """Whether a reader finds the end."""
        return not (self.written or self.data or self.on_way)


class Socket:
    """A connection as its home has it.

    Attributes:
        received: by the worker's end, not read yet.
        eof: the client has hung up; closed: the worker has.
    """

    def __init__(self, machine: Machine, fd: int) -> None:
        self.machine = machine
        self.fd = fd
        self.received = bytearray()
        self.replies: list[Any] = []
        self.eof = self.closed = False
        self._parser = hiredis.Reader()

    def fileno(self) -> int:
        return self.fd

    def take_received(self) -> list[Any]:
        """Take what has not been read back: the commands."""
        reader = hiredis.Reader()
        reader.feed(bytes(self.received))
        self.received.clear()
        found: list[Any] = []
        while (argv := reader.gets()) is not False:
            found.append(argv)
        return found

    def recv(self, size: int) -> bytes:
        self.machine.point("recv")
        data = bytes(self.received[:size])
        if not data and not self.eof:
            raise BlockingIOError
        del self.received[:size]
        return data

    def send(self, data: bytes) -> int:
        self.machine.point("send")
        if self.eof:
            return len(data)
        self._parser.feed(bytes(data))
        while (reply := self._parser.gets()) is not False:
            self.replies.append(reply)
        return len(data)

    def close(self) -> None:
        assert self.eof, "a worker closed a connection"
        self.closed = True


class Epoll:
    """A set of descriptors, asked by one worker."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.fd = machine.new_fd()
        self.masks: dict[int, int] = {}
        machine.epolls[self.fd] = self

    def fileno(self) -> int:
        return self.fd

    def register(self, fd: int, mask: int) -> None:
        assert fd not in self.masks
        self.masks[fd] = mask

    def modify(self, fd: int, mask: int) -> None:
        assert fd in self.masks
        self.masks[fd] = mask

    def unregister(self, fd: int) -> None:
        del self.masks[fd]

    def ready(self) -> list[tuple[int, int]]:
        status = self.machine.status
        return [(fd, mask & status(fd)) for fd, mask in self.masks.items() if mask & status(fd)]

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        if timeout_s:
            self.machine.wait(self, timeout_s)
        else:
            self.machine.point("poll")
        events = self.ready()
        self.machine.random.shuffle(events)
        return events


class Readable(Protocol):
    """What can be polled, and is no pipe, client or epoll: a channel of the supervisor."""

    def status(self) -> int:
        """Return the events that there are."""


class Page:
    """The shared page of counters; a call like the others."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.counters: dict[int, int] = {}

    def __getitem__(self, at: int) -> int:
        self.machine.point("page")
        return self.counters.get(at, 0)

    def __setitem__(self, at: int, value: int) -> None:
        self.machine.point("page")
        assert value >= self.counters.get(at, 0)
        self.counters[at] = value


class Machine:
    """Everything that processes ask of the machine.

    Args:
        random: decides what is a matter of chance.
        delays: what is written to a pipe can be read when somebody has said so.

    Attributes:
        now_ns: the monotonic time, and the wall clock; it moves at every look.
        delays: whether what is written to a pipe is on its way until somebody delivers it.
    """

    def __init__(self, random: Random, *, delays: bool = False) -> None:
        self.random = random
        self.delays = delays
        self.now_ns = 1_000_000_000_000
        self.epolls: dict[int, Epoll] = {}
        self.pipes: dict[int, Pipe] = {}  # by both ends
        self.sockets: dict[int, Socket] = {}
        self.others: dict[int, Readable] = {}
        self.page = Page(self)
        self._last_fd = 2

    def point(self, call: str) -> None:
        """Called in front of every call."""

    def wait(self, epoll: Epoll, timeout_s: float) -> None:
        """Wait until the epoll has something, or time has passed."""
        self.point("poll")

    @property
    def running(self) -> bool:
        """Whether the workers take turns; the machine may still be in the making."""
        return True

    def new_fd(self) -> int:
        self._last_fd += 1
        return self._last_fd

    def new_pipe(self, room: int = 1 << 16) -> Pipe:
        pipe = Pipe(self.new_fd(), room)
        self.new_fd()
        self.pipes[pipe.fd] = self.pipes[pipe.fd + 1] = pipe
        return pipe

    def new_socket(self) -> Socket:
        sock = Socket(self, self.new_fd())
        self.sockets[sock.fd] = sock
        return sock

    def status(self, fd: int) -> int:
        """Return the events of a descriptor."""
        pipe = self.pipes.get(fd)
        if pipe is not None:
            if fd == pipe.fd:
                return IN if pipe.data or pipe.at_end else 0
            return OUT if pipe.left > 0 or not pipe.read else 0
        sock = self.sockets.get(fd)
        if sock is not None:
            return (IN if sock.received or sock.eof else 0) | OUT
        epoll = self.epolls.get(fd)
        if epoll is not None:
            return IN if epoll.ready() else 0
        other = self.others.get(fd)
        return 0 if other is None else other.status()

    # -- under the names of select, time and os ---------------------------------------------------

    def epoll(self) -> Epoll:
        return Epoll(self)

    def monotonic_ns(self) -> int:
        self.point("clock")
        self.now_ns += self.random.randint(1, 2000)
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns

    def time(self) -> float:
        return self.now_ns / 1e9

    def read(self, fd: int, size: int) -> bytes:
        self.point("read")
        pipe = self.pipes[fd]
        data = bytes(pipe.data[:size])
        if not data and not pipe.at_end:
            raise BlockingIOError
        del pipe.data[:size]
        return data

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.point("write")
        pipe = self.pipes[fd]
        if not pipe.read:
            raise BrokenPipeError
        taken = min(len(data), pipe.left)
        if taken <= 0:
            raise BlockingIOError
        if self.delays:
            pipe.on_way.append(bytes(data[:taken]))
        else:
            pipe.data += data[:taken]
        return taken

    def close(self, fd: int) -> None:
        pipe = self.pipes[fd]
        if fd == pipe.fd:
            pipe.read = False
        else:
            pipe.written = False
