"""The control socket: RESP over a unix socket for its owner alone; `ctl.py` is its client."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

from shoal.proto.errors import ReplyError
from shoal.proto.limits import MAX_CONTROL_CLIENTS, MAX_CONTROL_REQUEST_BYTES
from shoal.proto.resp_reader import RequestReader
from shoal.supervisor.listener import listen_unix, remove_socket
from shoal.supervisor.loop import IN, OUT, Loop

Answer = Callable[[bytes], None]
"""Takes the encoded reply, once, at once or later."""


class Handler(Protocol):
    """Runs a request of the control socket."""

    def __call__(self, argv: list[bytes], answer: Answer) -> None:
        """Run it. Raises: ReplyError."""


class ControlSocket:
    """Accepts connections and gives their requests, one at a time each, to a handler.

    Attributes:
        path: absolute.
    """

    def __init__(self, path: str, loop: Loop, handler: Handler) -> None:
        """Listen. Raises: ListenError."""
        self.path = path
        self._loop = loop
        self._handler = handler
        self._clients: set[_Connection] = set()
        self._socket = listen_unix(path, MAX_CONTROL_CLIENTS, 0o600)
        loop.watch(self._socket.fileno(), IN, self._accept)

    def _accept(self, _: int) -> None:
        try:
            sock, _address = self._socket.accept()
        except OSError:  # it has gone again, or descriptors are short; the next one is accepted
            return
        if len(self._clients) >= MAX_CONTROL_CLIENTS:
            sock.close()
            return
        sock.setblocking(False)
        self._clients.add(_Connection(sock, self._loop, self._handler, self._clients.discard))

    def close(self) -> None:
        """Stop listening, close the connections and remove the path."""
        for client in list(self._clients):
            client.close()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        remove_socket(self.path)


class _Connection:
    """One connection; while a request is being run it is not read."""

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        handler: Handler,
        on_close: Callable[[_Connection], None],
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._handler = handler
        self._on_close = on_close
        self._reader = RequestReader()
        self._todo: deque[list[bytes]] = deque()
        self._out = bytearray()
        self._waits = False  # a request is being run
        self._running = False  # we are inside _run
        self._closed = False
        self._watch()

    def _watch(self) -> None:
        if not self._closed:
            # Who does not read its answers is not read either: they must not pile up here.
            events = OUT if self._out else 0 if self._waits else IN
            self._loop.watch(self._sock.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        try:
            if events & ~OUT:
                data = self._sock.recv(65536)
                if not data:
                    self.close()
                    return
                self._todo += self._reader.feed(data)
            self._flush()
        except BlockingIOError:
            pass
        except OSError:  # the other side has gone
            self.close()
            return
        if self._reader.pending_bytes > MAX_CONTROL_REQUEST_BYTES:
            self.close()
            return
        self._run()

    def _run(self) -> None:
        self._running = True
        while self._todo and not (self._waits or self._out or self._closed):
            argv = self._todo.popleft()
            self._waits = True
            try:
                self._handler(argv, self._answer)
            except ReplyError as error:
                self._answer(error.encode())
        self._running = False
        if self._reader.error is not None and not (self._waits or self._out or self._closed):
            self._out += b"-ERR %b\r\n" % self._reader.error
            self._try_flush()
            self.close()
            return
        self._watch()

    def _answer(self, reply: bytes) -> None:
        assert self._waits, "answered twice"
        self._waits = False
        if self._closed:
            return
        self._out += reply
        self._try_flush()
        if not self._running:
            self._run()

    def _try_flush(self) -> None:
        try:
            self._flush()
        except BlockingIOError:
            return
        except OSError:  # the other side has gone
            self.close()

    def _flush(self) -> None:
        while self._out:
            sent = self._sock.send(self._out)
            del self._out[:sent]

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.unwatch(self._sock.fileno())
        self._sock.close()
        self._on_close(self)
