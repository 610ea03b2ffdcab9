"""A small RESP client of our own: the load tests must see each reply as it came."""

import socket
from typing import Any

import hiredis

Arg = bytes | str | int
Command = tuple[Arg, ...]
# A tree of int, bytes, None, list and hiredis.ReplyError: recursive, so Any to the type checker.
Reply = Any

RECV_BYTES = 65_536
_MISSING = object()


class Connection:
    """One blocking RESP2 connection; under Locust, gevent's patched sockets make it cooperative."""

    def __init__(self, host: str, port: int, timeout_s: float = 10.0) -> None:
        """Connect; raises OSError. timeout_s bounds the connect and each wait for a reply."""
        self._socket = socket.create_connection((host, port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(notEnoughData=_MISSING)

    def call(self, *argv: Arg) -> Reply:
        """Send one command and return its reply; an error reply is returned, not raised."""
        return self.pipeline([argv])[0]

    def pipeline(self, commands: list[Command]) -> list[Reply]:
        """Send commands in one go and return as many replies.

        Raises OSError when the connection ends or times out, hiredis.ProtocolError when what came
        is not RESP, RuntimeError when replies came that nobody asked for.
        """
        # hiredis annotates pack_command as taking a 1-tuple; any tuple is what it wants.
        packed = [hiredis.pack_command(argv) for argv in commands]  # type: ignore[arg-type]
        self._socket.sendall(b"".join(packed))
        replies: list[Reply] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is _MISSING:
                data = self._socket.recv(RECV_BYTES)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                self._reader.feed(data)
            else:
                replies.append(reply)
        if self._reader.has_data():
            raise RuntimeError("more replies than commands")
        return replies

    def close(self) -> None:
        """Close the socket; the connection must not be used afterwards."""
        self._socket.close()
