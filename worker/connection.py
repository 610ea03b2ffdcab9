"""A client's socket, its buffers, and the replies that are waiting to be sent."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from socket import socket
from typing import TYPE_CHECKING, Any, Final

from shoal.proto.limits import (
    CLIENT_READ_BYTES,
    MAX_PARKED_INPUT_BYTES,
    MAX_UNSENT_REPLY_BYTES,
)
from shoal.proto.resp_reader import RequestReader
from shoal.worker.client import Client, Link

if TYPE_CHECKING:
    from shoal.worker.dispatch import Dispatcher

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
_JOIN_BYTES: Final = 1 << 18  # replies are joined into sends of about this size


class Block(IntEnum):
    """Why a client's next command has to wait; NOTHING alone is false."""

    NOTHING = 0
    REPLY = 1  # for the replies under way: a spanning command, a call, a barrier
    PAUSED = 2  # CLIENT PAUSE
    PEER = 3  # a peer's outbox is full
    OUTPUT = 4  # too much that the client has not read
    CLOSING = 5  # nothing more will run; it closes once its replies are sent


class Connection(Link):
    """One connected client.

    Attributes:
        out: replies in request order; None is the place of one that has not come. `base` is the
            index of out[0] since the client connected, `waiting` the number of Nones and of
            unwanted replies to come.
        todo: commands received that have to wait behind the one that `blocked` the client; `retry`
            says that this very command is the first of them.
        hot, context: the fused commands and the hop context that fit the client's state
            (`Dispatcher.bind`).
        big_bytes: bytes of large replies in `out`.
        in_flush: it stands in the dispatcher's list of connections to flush.
        eof: the client has closed its side: close once its commands are answered.
    """

    __slots__ = (
        "_dispatcher",
        "_events",
        "_modify",
        "_outbox",
        "_todo_bytes",
        "base",
        "big_bytes",
        "blocked",
        "client",
        "closed",
        "context",
        "eof",
        "fd",
        "hot",
        "in_flush",
        "on_close",
        "out",
        "outbox_bytes",
        "over_soft_since_ms",
        "reader",
        "retry",
        "sock",
        "todo",
        "waiting",
    )

    def __init__(
        self,
        sock: socket,
        client: Client,
        reader: RequestReader,
        dispatcher: Dispatcher,
        modify: Callable[[int, int], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        """Serve a non-blocking socket; `modify(fd, events)` changes what the loop polls it for."""
        self.sock = sock
        self.fd = sock.fileno()
        self.client = client
        client.link = self
        self.reader = reader
        self._dispatcher = dispatcher
        self._modify = modify
        self.on_close = on_close
        self._events = IN
        self.out: list[bytes | None] = []
        self.base = 0
        self.waiting = 0
        self.big_bytes = 0
        self.todo: list[list[bytes]] = []
        self._todo_bytes = 0
        self.blocked = Block.NOTHING
        self.retry = False
        self.in_flush = False
        self.eof = False
        self.closed = False
        self._outbox: deque[memoryview] = deque()
        self.outbox_bytes = 0
        self.over_soft_since_ms = 0
        self.hot: Callable[[bytes], Any]
        self.context: tuple[int, int]
        dispatcher.bind(self)

    # -- receiving
    # ----------------------------------------------------------------------------------------

    def receive(self) -> bytes | None:
        """Read once; None when there is nothing to run (the connection may have been closed)."""
        try:
            data = self.sock.recv(CLIENT_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:  # reset by the client, or timed out by keepalive: it has gone
            self.close("read error")
            return None
        if not data:
            if self.waiting or self.blocked or self.out or self._outbox:
                self.eof = True  # what it sent before is still answered, as Redis does
                self._poll(self._events & ~IN)
            else:
                self.close("closed by the client")
            return None
        return data

    def accept_input(self, data: bytes) -> None:
        """Cut received bytes into commands and run them, or keep them behind what blocks the
        client.
        """
        client = self.client
        client.input_bytes += len(data)
        client.last_ms = self._dispatcher.store.now_ms
        if self.blocked is Block.CLOSING:
            return
        reader = self.reader
        commands = reader.feed(data)
        if self.blocked:
            self._todo_bytes += len(data)
            if self._todo_bytes > MAX_PARKED_INPUT_BYTES:
                self._poll(self._events & ~IN)
        if commands:
            self._dispatcher.run(self, commands)
        if reader.error is not None:
            self.protocol_error()

    def protocol_error(self) -> None:
        """Tell the client, behind its replies, that it broke the protocol, and close."""
        if self.blocked and self.blocked is not Block.CLOSING:
            return  # its earlier commands first; todo_drained comes back here
        if self.blocked is Block.CLOSING:
            return
        assert self.reader.error is not None
        self.out.append(b"-ERR %b\r\n" % self.reader.error)
        self.blocked = Block.CLOSING
        self.client.close_after_reply = True
        self._want_flush()

    def todo_drained(self) -> None:
        """Read again after the commands that had to wait were run."""
        if self.blocked or self.closed:
            return
        self._todo_bytes = 0
        if self.reader.error is not None:
            self.protocol_error()
        elif not self.eof and not self.outbox_bytes > MAX_UNSENT_REPLY_BYTES:
            self._poll(self._events | IN)
        elif self.eof:
            self._want_flush()

    def _want_flush(self) -> None:
        if not self.in_flush:
            self.in_flush = True
            self._dispatcher.flushable.append(self)

    # -- sending
    # ------------------------------------------------------------------------------------------

    def flush(self, *, head: bool = False) -> None:
        """Send the replies that are complete.

        Args:
            head: send what is complete in front of a reply that has not come; else wait for that,
                so that a pipeline is answered in one send.
        """
        self.in_flush = False
        if self.closed:
            return
        out = self.out
        if self.waiting:
            if not head:
                return
            count = out.index(None) if None in out else len(out)
            ready: list[Any] = out[:count]
            del out[:count]
            self.base += count
        else:
            ready = list(out)
            out.clear()
            self.base = 0
        if ready:
            self._send(ready)
        ending = self.eof or self.client.close_after_reply
        done = not self.waiting and not self._outbox
        if ending and done and self.blocked in (Block.NOTHING, Block.CLOSING):
            self.close("closed after the last reply")

    def _send(self, ready: list[bytes]) -> None:
        big = self.big_bytes
        self.big_bytes = 0
        data = b"".join(ready) if len(ready) > 1 else ready[0]
        self.client.output_bytes += len(data)
        if self._outbox:
            self._queue(memoryview(data))
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client has gone
            self.close("write error")
            return
        if sent < len(data):
            self._queue(memoryview(data)[sent:])
        elif big:
            self._dispatcher.output_drained(self)

    def _queue(self, data: memoryview) -> None:
        self._outbox.append(data)
        self.outbox_bytes += len(data)
        events = self._events | OUT
        if self.outbox_bytes > MAX_UNSENT_REPLY_BYTES:
            events &= ~IN
        self._poll(events)

    def send_more(self) -> None:
        """Go on sending: the socket takes bytes again."""
        outbox = self._outbox
        while outbox:
            try:
                sent = self.sock.send(outbox[0])
            except BlockingIOError:
                return
            except OSError:  # the client has gone
                self.close("write error")
                return
            self.outbox_bytes -= sent
            if sent == len(outbox[0]):
                outbox.popleft()
            else:
                outbox[0] = outbox[0][sent:]
        events = self._events & ~OUT
        if not self.eof and not self._todo_bytes > MAX_PARKED_INPUT_BYTES:
            events |= IN
        self._poll(events)
        self._dispatcher.output_drained(self)
        if self.eof or self.client.close_after_reply:
            self._want_flush()

    def _poll(self, events: int) -> None:
        if events != self._events and not self.closed:
            self._events = events
            self._modify(self.fd, events)

    # -- Link
    # ---------------------------------------------------------------------------------------------

    def state_changed(self) -> None:
        """Bind anew: the client's database, protocol, authentication or reply mode changed."""
        self.reader.authenticated = self.client.authenticated
        self._dispatcher.bind(self)

    def call_supervisor(self, request: tuple[Any, ...]) -> None:
        """Send a request whose answer will be the reply to the running command."""
        self._dispatcher.call_supervisor(self, request)

    def close(self, reason: str) -> None:
        """Close the connection now; replies that come later are dropped."""
        if self.closed:
            return
        self.closed = True
        self.todo.clear()
        self.out.clear()
        self._outbox.clear()
        self.outbox_bytes = 0
        self.on_close(self)
        self.sock.close()

    def query_bytes(self) -> int:
        """Return the bytes of the incomplete command."""
        return self.reader.pending_bytes

    def output_queue(self) -> tuple[int, int]:
        """Return number and bytes of the replies not sent."""
        return len(self.out) + len(self._outbox), self.outbox_bytes + self.big_bytes
