"""One worker's process, from the outside: its pipes, its channel, what waits to be sent to it."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from shoal.proto.messages import Message
from shoal.proto.pipes import Link
from shoal.supervisor.lifecycle import Event, Lifecycle, State
from shoal.supervisor.loop import IN, OUT, Loop
from shoal.supervisor.spawn import Child
from shoal.supervisor.status import Meter

OnMessages = Callable[["WorkerProcess", list[Message]], None]


class WorkerProcess:
    """A worker's place among the processes; its process comes and goes.

    Attributes:
        index: its number.
        life: its state and history.
        meter: its figures.
        pid: of the process, 0 while there is none.
        messages: for the next frame.
        clients: connections that it has, or that are on the way to it.
        unsent: descriptors that its channel did not take yet.
        down_since_ms: monotonic, since its last process died or (at the start) was forked.
        leave_until_ms: monotonic, when it is ended if it is still leaving.
        overdue: new spanning commands no longer wait for it.
    """

    def __init__(self, index: int, loop: Loop, on_messages: OnMessages) -> None:
        """Have no process yet."""
        self.index = index
        self.life = Lifecycle()
        self.meter = Meter()
        self.pid = 0
        self.messages: list[Message] = []
        self.clients = 0
        self.unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self.down_since_ms = 0
        self.leave_until_ms = 0
        self.overdue = False
        self._loop = loop
        self._on_messages = on_messages
        self._link = Link(-1, -1, os)
        self._channel: socket.socket | None = None

    @property
    def serving(self) -> bool:
        """Whether clients may be handed to it."""
        return self.life.state is State.SERVING

    def start(self, child: Child, now_ms: int) -> None:
        """Take a process that was just forked."""
        self.life.on(Event.FORKED, now_ms)
        self.meter.on_start(child.pid)
        self.pid = child.pid
        self._link = Link(*child.ends, os)
        self._channel = child.channel
        self.messages = []
        self._loop.watch(self._link.read_fd, IN, self._readable)

    def _readable(self, _: int) -> None:
        frames = self._link.receive()
        if frames is None:  # it has died; SIGCHLD tells the rest
            self._loop.unwatch(self._link.read_fd)
            return
        self._take(frames)

    def _take(self, frames: list[Any]) -> None:
        for _, _, messages in frames:
            self._on_messages(self, messages)

    def flush(self, stamp_ns: int) -> None:
        """Send one frame with the messages that have gathered; try again with descriptors."""
        if self.unsent and self.pid:
            self._send_descriptors(0)
        if self.messages and self.pid:
            messages, self.messages = self.messages, []
            self._link.send((stamp_ns, 0, messages))
            if self._link.outbox_bytes:
                self._loop.watch(self._link.write_fd, OUT, self._writable)

    def _writable(self, _: int) -> None:
        self._link.flush()
        if not self._link.outbox_bytes:
            self._loop.unwatch(self._link.write_fd)

    def hand_over(self, data: bytes, fds: tuple[int, ...]) -> None:
        """Pass descriptors, which are closed here then; those the channel has no room for wait."""
        self.unsent.append((data, fds))
        if len(self.unsent) == 1:
            self._send_descriptors(0)

    def _send_descriptors(self, _: int) -> None:
        channel = self._channel
        assert channel is not None
        while self.unsent:
            data, fds = self.unsent[0]
            try:
                socket.send_fds(channel, [data], fds)
            except BlockingIOError:
                self._loop.watch(channel.fileno(), OUT, self._send_descriptors)
                return
            except OSError:  # it has died: `bury` closes them; else `flush` tries again
                break
            self.unsent.popleft()
            _close_all(fds)
        self._loop.unwatch(channel.fileno())

    def bury(self, now_ms: int) -> None:
        """Take what the dead process had still sent, and close all that led to it."""
        while True:
            frames = self._link.receive()
            if not frames:
                break
            self._take(frames)
        self._loop.unwatch(self._link.read_fd)
        self._loop.unwatch(self._link.write_fd)
        self._link.close()
        assert self._channel is not None
        self._loop.unwatch(self._channel.fileno())
        self._channel.close()
        self._channel = None
        while self.unsent:
            _close_all(self.unsent.popleft()[1])
        self.messages = []
        self.pid = 0
        self.clients = 0
        self.down_since_ms = now_ms
        self.overdue = False
        self.meter.on_death()
        self.life.on(Event.DIED, now_ms)


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
