"""The connection of MIGRATE to the server that takes the keys.

It blocks this worker, and with it all commands on its keys, for up to the command's timeout: as in
Redis, that is what makes the move atomic.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.aof_format import encode_command
from shoal.proto.errors import ReplyError
from shoal.proto.limits import MAX_REQUEST_LINE_BYTES

_DIGITS: Final = re.compile(rb"[ \t-\r]*([+-]?\d+)")


def transfer(
    host: bytes, port: bytes, timeout_ms: int, commands: Sequence[Sequence[bytes]]
) -> tuple[list[bytes], ReplyError | None]:
    """Send commands to a server and read their replies, which are lines (statuses or errors).

    Returns: the replies that came, and why the rest of them did not.
    """
    deadline = time.monotonic() + timeout_ms / 1000
    number = _DIGITS.match(port)
    try:
        # As C's atoi and the resolver take it: what is no number is port 0.
        found = socket.getaddrinfo(
            host.decode("utf-8", "surrogateescape"),
            (int(number[1]) if number else 0) & 0xFFFF if port[:1] != b"-" else -1,
            type=socket.SOCK_STREAM,
        )
    except (OSError, UnicodeError, OverflowError):
        return [], errors.migrate_failed("connecting to the client")
    family, kind, protocol, _, address = found[0]
    replies: list[bytes] = []
    with socket.socket(family, kind, protocol) as sock:
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
            for argv in commands:
                sock.settimeout(_left(deadline))
                sock.sendall(encode_command(argv))
        except OSError:
            return [], errors.migrate_failed("writing to target instance")
        try:
            received = b""
            while len(replies) < len(commands):
                line, end, rest = received.partition(b"\r\n")
                if end:
                    replies.append(line)
                    received = rest
                    continue
                sock.settimeout(_left(deadline))
                data = sock.recv(1 << 16)
                if not data or len(received) > MAX_REQUEST_LINE_BYTES:
                    raise OSError
                received += data
        except OSError:
            return replies, errors.migrate_failed("reading from target instance")
    return replies, None


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)
