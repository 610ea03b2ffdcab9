"""A client's socket, its buffers, and the replies that are waiting to be sent.

What always holds:
- `todo` and `_parked` are empty while the client is not blocked: no later command is run before an
  earlier one.
- The socket is polled for input unless the client has closed its side, or more than
  client-query-buffer-limit of what it sent is parked behind what blocks it (`_update_polling`).
- What is parked is run one read a turn, as what is received: so nobody else waits longer for it.
- Of one client is kept: an incomplete command of client-query-buffer-limit and one read; as much
  input that is parked, as it came; MAX_UNSENT_REPLY_BYTES of replies, those of one read and those
  of the hops under way; less if client-output-buffer-limit says so.

A client with that many unsent replies is blocked, but read on: a library that sends all of a large
pipeline before it reads the first reply must come to its end. Requests are smaller than replies.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import islice
from socket import socket
from typing import TYPE_CHECKING, Any, Final

from shoal.proto.limits import (
    CLIENT_READ_BYTES,
    CLIENTS_CRON_MIN,
    CLIENTS_CRON_SHARE,
    MAX_COMMAND_BYTES,
    MAX_SEND_PIECES,
    MAX_UNREAD_PUSH_BYTES,
    MAX_UNSENT_REPLY_BYTES,
)
from shoal.proto.quoting import quote_arg
from shoal.proto.resp_reader import RequestReader
from shoal.worker.client import Client, Link, ReplyMode
from shoal.worker.commands.client import describe

if TYPE_CHECKING:
    from shoal.worker.blocking import Waiter
    from shoal.worker.dispatch import Dispatcher, RemoteWait
    from shoal.worker.peers import Context
    from shoal.worker.server import Server
    from shoal.worker.spread_wait import SpreadWait

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
# Edge-triggered: EPOLLHUP, which nobody can ask not to be told, is then told once.
_ONCE: Final = select.EPOLLET
# Replies from here on are sent as they are, shorter ones are joined: a copy costs more than a piece
# of sendmsg. Less than this is not compared with the limits unless the socket does not take it.
LARGE_BYTES: Final = 1 << 16
_SHOWN_BYTES: Final = 64  # of an incomplete command, in the log


class Block(IntEnum):
    """Why a client's next command has to wait; NOTHING alone is false."""

    NOTHING = 0
    REPLY = 1  # for the replies under way: a spanning command, a call, a barrier
    PAUSED = 2  # CLIENT PAUSE
    PEER = 3  # a peer's outbox is full
    OUTPUT = 4  # too much that the client has not read
    TURN = 5  # for its turn: nothing else is in its way
    CLOSING = 6  # nothing more will run; it closes once its replies are sent
    KEYS = 7  # for a key, in a blocking command


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
        big_bytes: bytes of large replies and of pushes in `out`; not 0 also when a command waits
            for their end.
        in_flush: it stands in the dispatcher's list of connections to flush.
        wait: the blocking command under way (`Dispatcher`), None for none.
        eof: the client has closed its side: close once its commands are answered.
    """

    __slots__ = (
        "_dispatcher",
        "_events",
        "_modify",
        "_outbox",
        "_parked",
        "_parked_bytes",
        "_stopped",
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
        "recv",
        "retry",
        "send",
        "sock",
        "todo",
        "wait",
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
        self.recv, self.send = sock.recv, sock.send  # looked up once
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
        # Pieces of one read's size: a client may send byte by byte, and an object has a header.
        self._parked: deque[bytearray] = deque()
        self._parked_bytes = 0
        self.blocked = Block.NOTHING
        self.retry = False
        self.in_flush = False
        self.eof = False
        self._stopped = False
        self.closed = False
        self.wait: Waiter | RemoteWait | SpreadWait | None = None
        self._outbox: deque[memoryview] = deque()
        self.outbox_bytes = 0
        self.over_soft_since_ms = 0
        self.hot: Callable[[bytes], Any]
        self.context: Context
        dispatcher.bind(self)

    # -- receiving ---------------------------------------------------------------------------------

    def receive(self) -> bytes | None:
        """Read once; None when there is nothing to run (the connection may have been closed)."""
        try:
            data = self.recv(CLIENT_READ_BYTES)
        except OSError as error:
            self.receive_failed(error)
            return None
        if not data:
            self.at_eof()
            return None
        return data

    def receive_failed(self, error: OSError) -> None:
        """Close after a failed read: reset by the client, or timed out by keepalive."""
        if not isinstance(error, BlockingIOError):
            self.close("read error")

    def at_eof(self) -> None:
        """The client has closed its side: answer what it sent before, as Redis does, and close."""
        if self.blocked in (Block.PAUSED, Block.KEYS):
            # Redis does not run what it has held back, and whom a key is awaited for has gone.
            self.close("closed by the client while its command was blocked")
        elif self.waiting or self.blocked or self._has_input() or self.out or self._outbox:
            self.eof = True
            self._update_polling()
        else:
            self.close("closed by the client")

    def _has_input(self) -> bool:
        """Tell whether something that was received has not been run."""
        return bool(self.todo or self._parked)

    def drop_input(self) -> None:
        """Forget what was received and not run: the connection is closing."""
        self.todo.clear()
        self._parked.clear()
        self._parked_bytes = 0

    def accept_input(self, data: bytes) -> None:
        """Cut received bytes into commands and run them, or park them behind what blocks the
        client.
        """
        client = self.client
        client.input_bytes += len(data)
        client.last_ms = self._dispatcher.store.now_ms
        if self.blocked is Block.CLOSING:
            return
        if self.blocked:
            parked = self._parked
            if parked and len(parked[-1]) + len(data) <= CLIENT_READ_BYTES:
                parked[-1] += data
            else:
                parked.append(bytearray(data))
            self._parked_bytes += len(data)
            self._update_polling()
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Run what these bytes complete; nothing stands before them."""
        reader = self.reader
        if not reader.authenticated:
            self._accept_step_by_step(data)
            return
        commands = reader.feed(data)
        if commands:
            self._dispatcher.run(self, commands)
        else:
            self.check_query_limit()
        if reader.error is not None:
            self.protocol_error()

    def _accept_step_by_step(self, data: bytes) -> None:
        """As `accept_input`: what may be too much before AUTH is not looked at before AUTH was
        run.
        """
        reader = self.reader
        commands = reader.feed(data)
        while commands and not self.closed:
            self._dispatcher.run(self, commands)
            if self.blocked or not reader.deferred:
                break  # if blocked, todo_drained goes on
            commands = reader.feed(b"")
        self._update_polling()
        if reader.error is not None:
            self.protocol_error()

    def check_query_limit(self) -> None:
        """Close if the incomplete command is too large, or will be after one more read."""
        reader = self.reader
        config = self._dispatcher.server.config
        limit = config.client_query_buffer_limit
        wanted, received = reader.argument_bytes
        # Redis counts one argument and its CRLF, and does so before it runs the command.
        too_large = wanted + 2 > limit and received + CLIENT_READ_BYTES > limit
        if too_large or reader.pending_bytes > max(limit, MAX_COMMAND_BYTES):
            self.close_over_query_limit()

    def close_over_query_limit(self) -> None:
        """Close: what was received and not run, an incomplete command or a MULTI, is too much."""
        server = self._dispatcher.server
        start = quote_arg(self.reader.start(_SHOWN_BYTES)).decode("latin-1")
        server.stats.query_limit_disconnections += 1
        server.log_warning(
            f"Closing client that reached max query buffer length: {self._described()}"
            f" (qbuf initial bytes: {start})"
        )
        self.close("query buffer limit")

    def _described(self) -> str:
        return describe(self.client, 0).decode("utf-8", "surrogateescape").rstrip("\n")

    def protocol_error(self) -> None:
        """Tell the client, behind its replies, that it broke the protocol, and close."""
        if self.blocked or self.todo or self.closed:
            return  # its earlier commands first; todo_drained comes back here
        assert self.reader.error is not None
        if self.client.reply_mode is ReplyMode.ON:
            self.out.append(b"-ERR %b\r\n" % self.reader.error)
        self.blocked = Block.CLOSING
        self.client.close_after_reply = True
        self.drop_input()
        self._want_flush()

    def todo_drained(self) -> None:
        """Go on with what was parked, after the commands that had to wait were run."""
        if self.blocked or self.closed:
            return
        if self.reader.deferred:
            self._accept_step_by_step(b"")
        elif self.reader.error is not None:
            self.protocol_error()
        parked = self._parked
        if parked and not self.blocked:
            data = bytes(parked.popleft())
            self._parked_bytes -= len(data)
            self.client.last_ms = self._dispatcher.store.now_ms
            self._take(data)
            if parked and not self.blocked:
                self._dispatcher.wait_for_turn(self)
        self._update_polling()
        if self.eof:
            self._want_flush()

    def _want_flush(self) -> None:
        if not self.in_flush:
            self.in_flush = True
            self._dispatcher.flushable.append(self)

    # -- sending -----------------------------------------------------------------------------------

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
            self.send_replies(ready)
        ending = self.eof or self.client.close_after_reply
        if (
            ending
            and not (self.waiting or self._outbox)
            and (self.blocked is Block.CLOSING or not self._has_input())
            and self.blocked in (Block.NOTHING, Block.CLOSING)
        ):
            self.close("closed after the last reply")

    def push(self, data: bytes) -> None:
        """Send bytes that are no reply, in front of those that have not come: whoever is blocked
        gets them too, and they come in the order in which they were pushed.
        """
        if self.closed or self.client.close_after_reply:
            return
        out = self.out
        if self.waiting and None in out:
            out.insert(out.index(None), data)
            self.base -= 1  # all that have not come stand one place further
        else:
            out.append(data)
        self._count_push(data)

    def _count_push(self, data: bytes) -> None:
        # Not for the large ones alone: what waits here is bounded, even when nothing may be sent.
        self.big_bytes += len(data)
        if self.big_bytes > MAX_UNSENT_REPLY_BYTES and self._over_limit(
            self.outbox_bytes + self.big_bytes, to_send=True
        ):
            return
        self._want_flush()

    def push_behind(self, data: bytes, *, ahead: bool = False) -> None:
        """Send bytes that are no reply, behind every reply that has come: they may say that it is
        not true any more.

        While the client waits for one command, which is then the last one, they come behind its
        reply too: as in Redis, where nothing comes between a command and its reply.

        Args:
            ahead: in front of that reply.
        """
        out = self.out
        if not self.waiting or None not in out or (self.blocked is Block.REPLY and not ahead):
            self._append_push(data)
            return
        last = len(out) - 1
        while last >= 0 and out[last] is None:
            last -= 1
        if last < out.index(None):
            self.push(data)
            return
        if self.closed or self.client.close_after_reply:
            return
        # It becomes the end of that reply, for those that have not come must keep their places.
        reply = out[last]
        assert reply is not None
        out[last] = reply + data
        self._count_push(data)

    def _append_push(self, data: bytes) -> None:
        if not (self.closed or self.client.close_after_reply):
            self.out.append(data)
            self._count_push(data)

    def hold(self) -> None:
        """Let the client wait with its next command until its replies, which the dispatcher keeps
        back, have been sent.
        """
        if self.out and self.blocked in _NO_OBSTACLE:
            self.blocked = Block.OUTPUT
            self.big_bytes = self.big_bytes or 1

    def send_replies(self, ready: list[bytes]) -> None:
        """Send complete replies, and keep what the socket does not take."""
        big = self.big_bytes
        self.big_bytes = 0
        if big >= LARGE_BYTES or self._outbox:
            self._send_pieces(list(_pieces(ready)))
            return
        data = b"".join(ready) if len(ready) > 1 else ready[0]
        size = len(data)
        if size >= LARGE_BYTES and self._over_limit(size, to_send=True):
            return
        self.client.output_bytes += size
        try:
            sent = self.send(data)
        except OSError as error:
            self.send_failed(data, error)
            return
        if sent < size:
            self.keep_unsent(data, sent)
        elif big:
            self._dispatcher.output_drained(self)

    def send_failed(self, data: bytes, error: OSError) -> None:
        """Keep what a full socket did not take; close if the client has gone."""
        if isinstance(error, BlockingIOError):
            self.keep_unsent(data, 0)
        else:
            self.close("write error")

    def keep_unsent(self, data: bytes, sent: int) -> None:
        """Keep the end of what the socket took only a part of."""
        self._outbox.append(memoryview(data)[sent:])
        self.outbox_bytes = len(data) - sent
        if not self._over_limit(self.outbox_bytes):
            self._wait_for_reader()
            self._update_polling()

    def _wait_for_reader(self) -> None:
        """Run nothing more of a client that has too many unsent replies."""
        if self.outbox_bytes > MAX_UNSENT_REPLY_BYTES and self.blocked in _NO_OBSTACLE:
            self.blocked = Block.OUTPUT

    def _send_pieces(self, pieces: list[bytes]) -> None:
        size = sum(map(len, pieces))
        if self._over_limit(self.outbox_bytes + size, to_send=True):
            return
        self.client.output_bytes += size
        waits = bool(self._outbox)
        self._outbox += map(memoryview, pieces)
        self.outbox_bytes += size
        if not waits and not self._write():
            return
        if not self._outbox:
            self._dispatcher.output_drained(self)
        elif not self._over_limit(self.outbox_bytes):
            self._wait_for_reader()
            self._update_polling()

    def send_more(self) -> None:
        """Go on sending: the socket takes bytes again."""
        before = self.outbox_bytes
        if not self._write():
            return
        if self.outbox_bytes < before:
            self.client.last_ms = self._dispatcher.store.now_ms
        self._update_polling()
        if not self._outbox:
            self.over_soft_since_ms = 0
            self._dispatcher.output_drained(self)
            if self.eof or self.client.close_after_reply:
                self._want_flush()

    def _write(self) -> bool:
        """Send of the outbox what the socket takes; False if the connection had to be closed."""
        outbox = self._outbox
        while outbox:
            try:
                if len(outbox) == 1:
                    sent = self.sock.send(outbox[0])
                else:
                    sent = self.sock.sendmsg(list(islice(outbox, MAX_SEND_PIECES)))
            except BlockingIOError:
                return True
            except OSError:  # the client has gone
                self.close("write error")
                return False
            self.outbox_bytes -= sent
            while outbox and sent >= len(outbox[0]):
                sent -= len(outbox.popleft())
            if sent:
                outbox[0] = outbox[0][sent:]
        return True

    def _over_limit(self, unsent_bytes: int, *, to_send: bool = False) -> bool:
        """Close the connection if so many bytes of replies are over client-output-buffer-limit.

        Args:
            unsent_bytes: of replies; as in Redis the hard limit counts what is about to be sent.
            to_send: the socket may yet take them all, so the time over the soft limit does not
                begin.
        """
        server = self._dispatcher.server
        limits = server.config.client_output_buffer_limit
        subs = self.client.pubsub
        limit = limits.pubsub if subs is not None and subs.is_subscriber else limits.normal
        hard_bytes, soft_bytes, soft_seconds = limit
        if subs is not None:
            hard_bytes = hard_bytes or MAX_UNREAD_PUSH_BYTES
        over = bool(hard_bytes) and unsent_bytes >= hard_bytes
        if not to_send:
            if not soft_bytes or unsent_bytes < soft_bytes:
                self.over_soft_since_ms = 0
            elif not self.over_soft_since_ms:
                self.over_soft_since_ms = self._dispatcher.store.now_ms
            elif self._dispatcher.store.now_ms - self.over_soft_since_ms > soft_seconds * 1000:
                over = True
        if over:
            server.stats.output_limit_disconnections += 1
            server.log_warning(
                f"Client {self._described()} scheduled to be closed ASAP for overcoming of output"
                " buffer limits."
            )
            self.close("output buffer limit")
        return over

    def stop_reading(self) -> None:
        """Take no more input, for good: the worker is about to end."""
        self._stopped = True
        self._update_polling()

    def _update_polling(self) -> None:
        """Poll for what the state of the buffers asks for."""
        events = 0
        if self.eof or self._stopped:
            events = _ONCE
        elif not (
            self.reader.deferred
            or self._parked_bytes > self._dispatcher.server.config.client_query_buffer_limit
        ):
            events = IN
        if self._outbox:
            events |= OUT
        if events != self._events and not self.closed:
            self._events = events
            self._modify(self.fd, events)

    # -- time --------------------------------------------------------------------------------------

    def on_time(self, now_ms: int, timeout_ms: int) -> None:
        """Close if the client has been idle, or over its soft limit, for too long.

        Args:
            now_ms: wall clock, ms since the epoch.
            timeout_ms: the directive timeout; 0 for never.
        """
        if self.outbox_bytes and self._over_limit(self.outbox_bytes):
            return
        # A client that waits for us is not idle, and a subscriber only listens.
        owed = self.waiting or self.blocked in _WAITING_FOR_US or self.client.pubsub is not None
        if timeout_ms and not owed and now_ms - self.client.last_ms > timeout_ms:
            self.close("idle")

    # -- Link --------------------------------------------------------------------------------------

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
        if self.blocked is Block.PAUSED:
            self._dispatcher.forget_paused(self)
        if self.wait is not None:
            self._dispatcher.stop_waiting(self)
        self.client.gone()
        self.blocked = Block.CLOSING  # nothing more of it is run
        self.drop_input()
        self.out.clear()
        self._outbox.clear()
        self.outbox_bytes = 0
        if self.client.pubsub is not None:
            self._dispatcher.broker.client_gone(self.client)
        self.on_close(self)
        self.sock.close()
        # The cycle is broken by hand, as the garbage collector is off.
        self.client.link = Link()

    def query_bytes(self) -> int:
        """Return the bytes of the incomplete command and of what is parked."""
        return self.reader.pending_bytes + self._parked_bytes

    def output_queue(self) -> tuple[int, int]:
        """Return number and bytes of the replies not sent."""
        ready = [reply for reply in self.out if reply is not None]
        return len(ready) + len(self._outbox), sum(map(len, ready)) + self.outbox_bytes

    def is_paused(self) -> bool:
        """Tell whether CLIENT PAUSE holds a command of the client back."""
        return self.blocked is Block.PAUSED

    def is_blocked(self) -> bool:
        """Tell whether the client is in a blocking command."""
        return self.blocked is Block.KEYS

    def unblock(self, *, with_error: bool) -> bool:
        """End a blocking command as after its timeout, or with an error; tell whether there is
        one.
        """
        return self.blocked is Block.KEYS and self._dispatcher.unblock(self, with_error=with_error)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of this client is under way: no command, no reply."""
        return not (
            self.closed
            or self.waiting
            or self.blocked
            or self.out
            or self._outbox
            or self._has_input()
        )

    @property
    def owes_head(self) -> bool:
        """Whether replies may stand in front of one that has not come."""
        if self.blocked is Block.KEYS and len(self.out) == 1:
            return False  # that one's is the only place, and nobody knows when it comes
        return bool(self.waiting and self.out)


_WAITING_FOR_US: Final = frozenset({Block.REPLY, Block.PAUSED, Block.PEER, Block.TURN, Block.KEYS})
_NO_OBSTACLE: Final = frozenset({Block.NOTHING, Block.TURN})


def _pieces(replies: list[bytes]) -> Iterator[bytes]:
    """Yield large replies as they are, and what stands between them joined."""
    small: list[bytes] = []
    for reply in replies:
        if len(reply) < LARGE_BYTES:
            small.append(reply)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield reply
    if small:
        yield b"".join(small)


class ClientsCron:
    """Closes clients that are idle, or over their soft limit, for too long; looks at each about
    once a second.
    """

    def __init__(self, server: Server) -> None:
        """Look after the clients of this worker."""
        self._server = server
        self._left: list[Client] = []  # of the round, not looked at yet
        self._slice = 0

    def run(self) -> None:
        """Look at the next slice of the clients; to be called ten times a second."""
        server = self._server
        timeout_ms = server.config.timeout * 1000
        limits = server.config.client_output_buffer_limit
        soft = limits.normal.soft_bytes or (server.subscribers and limits.pubsub.soft_bytes)
        if not timeout_ms and not soft:
            self._left.clear()
            return
        if not self._left:
            self._left = list(server.clients.values())
            self._slice = max(CLIENTS_CRON_MIN, -(-len(self._left) // CLIENTS_CRON_SHARE))
        now_ms = server.store.now_ms
        left = self._left
        for _ in range(self._slice):
            if not left:
                return
            link = left.pop().link
            if isinstance(link, Connection):
                link.on_time(now_ms, timeout_ms)
