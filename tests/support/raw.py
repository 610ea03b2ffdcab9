"""A client that hides nothing: bytes out, the exact bytes of one reply back.

It shares no code with Shoal, so a framing mistake there cannot hide in its tests. It knows
where a reply of RESP2 or RESP3 ends, and nothing about what a reply means.
"""

import io
import re
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

Address = tuple[str, int] | str
"""A TCP address (host, port), or the path of a Unix socket."""

TIMEOUT_S = 30.0  # generous: it only turns a server that hangs into a failure

_LINES = b"+-:_,#("  # simple, error, integer, null, double, boolean, big number
_BULKS = b"$!="  # bulk, bulk error, verbatim
# Replies that follow the header, as (factor, addend) of its count. An attribute is n pairs and
# then the reply it describes.
_AGGREGATES = {b"*": (1, 0), b"~": (1, 0), b">": (1, 0), b"%": (2, 0), b"|": (2, 1)}

_WORD = re.compile(
    rb"""\s*(?: "(?P<double>(?:\\x[0-9a-fA-F]{2}|\\.|[^"\\])*)"
              | '(?P<single>(?:\\'|[^'])*)'
              | (?P<plain>[^\s"']+) )(?=\s|$)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<char>.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_line(line: str) -> list[bytes]:
    r"""Split a line into argv with the quoting of redis-cli: "a\x00b\n", 'it\'s', plain.

    Raises ValueError on quotes that do not balance, or that end in the middle of a word.
    """
    data = line.encode().strip()
    argv: list[bytes] = []
    position = 0
    while position < len(data):
        word = _WORD.match(data, position)
        if word is None:
            raise ValueError(f"unbalanced quotes in {line!r}")
        if word["double"] is not None:
            argv.append(_ESCAPE.sub(_unescape, word["double"]))
        elif word["single"] is not None:
            argv.append(word["single"].replace(b"\\'", b"'"))
        else:
            argv.append(word["plain"])
        position = word.end()
    return argv


def _unescape(escape: re.Match[bytes]) -> bytes:
    if escape["hex"] is not None:
        return bytes.fromhex(escape["hex"].decode())
    return _ESCAPED.get(escape["char"], escape["char"])


def pack(*argv: bytes) -> bytes:
    """Encode a command as the array of bulk strings that clients send."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


def read_reply(stream: BinaryIO) -> bytes:
    """Read one reply and return its exact bytes. A push is a reply like any other.

    Raises EOFError when the stream ends first, ValueError on bytes that start no reply.
    """
    head = _read_line(stream)
    kind = head[:1]
    if kind in _LINES:
        return head
    size = int(head[1:-2])
    if kind in _BULKS:
        return head if size < 0 else head + _read_exactly(stream, size + 2)
    if kind not in _AGGREGATES:
        raise ValueError(f"no reply starts with {head!r}")
    if size < 0:
        return head
    factor, addend = _AGGREGATES[kind]
    return head + b"".join([read_reply(stream) for _ in range(size * factor + addend)])


def split_reply(reply: bytes) -> tuple[bytes, list[bytes]]:
    """Cut an aggregate reply into its header line and its items, whose bytes stay exact.

    A map's items are key, value, key, value. Any other reply is all header.
    """
    if reply[:1] not in _AGGREGATES:
        return reply, []
    stream = io.BytesIO(reply)
    return stream.readline(), list(_items(stream, len(reply)))


def bulk_text(reply: bytes) -> bytes:
    """Return the payload of a bulk or verbatim reply, without the verbatim's 'txt:'."""
    head, _, rest = reply.partition(b"\r\n")
    if head[:1] not in (b"$", b"=") or head == b"$-1":
        raise ValueError(f"not a bulk: {reply[:80]!r}")
    return rest[4:-2] if head[:1] == b"=" else rest[:-2]


def _items(stream: io.BytesIO, end: int) -> Iterator[bytes]:
    while stream.tell() < end:
        yield read_reply(stream)


def _read_line(stream: BinaryIO) -> bytes:
    line = stream.readline()
    while line.endswith(b"\n") and not line.endswith(b"\r\n"):  # a stray LF belongs to the line
        line += stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError(f"the connection ended after {line!r}")
    return line


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError(f"the connection ended {size - len(data)} bytes before the end of a bulk")
    return data


class RawClient:
    """One blocking connection. Every read has a timeout, so a hang becomes a TimeoutError."""

    def __init__(self, address: Address, timeout_s: float = TIMEOUT_S) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout_s)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream: BinaryIO = self.socket.makefile("rb")

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def call(self, *argv: bytes) -> bytes:
        """Send one command and return the exact bytes of the next reply."""
        self.send(pack(*argv))
        return self.read_reply()

    def call_line(self, line: str) -> bytes:
        r"""Send one command written as a line, `SET k "v\x001"`, and return the next reply."""
        return self.call(*split_line(line))

    def read_reply(self) -> bytes:
        """Return the exact bytes of the next reply; EOFError when the server closes first."""
        return read_reply(self.stream)

    def read_until_closed(self) -> bytes:
        """Return all that comes until the server closes. A reset counts as closing."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = self.stream.read(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Say that nothing more comes, and wait until the server has let go of the connection."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            self.read_until_closed()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            # Not connected any more: the server closed first, which is what was wanted.
        self.close()

    def close(self) -> None:
        """Drop the connection without a word."""
        self.stream.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
