"""A process at the other end of two pipes: frames in, frames out, what a full pipe did not take.

The system calls come in as an argument (the module `os` will do), so that this module stays pure
and a test can hand in pipes of its own.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from shoal.proto.frames import FrameReader, encode_frame
from shoal.proto.limits import PIPE_READ_BYTES


class PipeCalls(Protocol):
    """The calls on non-blocking pipe ends; they raise what those of `os` raise."""

    def read(self, fd: int, length: int, /) -> bytes:
        """Return what is there, b"" at the end."""

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        """Return how many bytes were taken."""

    def close(self, fd: int, /) -> None:
        """Close one end."""


class Link:
    """One process at the other end of two pipes.

    Attributes:
        read_fd, write_fd: our ends of the pipes, -1 while there is nobody.
        outbox_bytes: bytes of frames that the pipe did not take yet.
    """

    __slots__ = ("_calls", "_outbox", "_reader", "outbox_bytes", "read_fd", "write_fd")

    def __init__(self, read_fd: int, write_fd: int, calls: PipeCalls) -> None:
        """Take over two non-blocking pipe ends, or -1 and -1."""
        self.read_fd = read_fd
        self.write_fd = write_fd
        self._calls = calls
        self._reader = FrameReader()
        self._outbox: deque[memoryview] = deque()
        self.outbox_bytes = 0

    def receive(self) -> list[Any] | None:
        """Read all there is and return the complete messages; None when the other side has gone."""
        messages: list[Any] = []
        read, fd = self._calls.read, self.read_fd
        while True:
            try:
                data = read(fd, PIPE_READ_BYTES)
            except BlockingIOError:
                return messages
            if not data:
                return messages or None
            messages += self._reader.feed(data)
            if len(data) < PIPE_READ_BYTES:
                return messages

    def send(self, message: Any) -> None:
        """Send one frame, behind what waits; a vanished reader is noticed when reading."""
        frame = encode_frame(message)
        if not self._outbox:
            try:
                sent = self._calls.write(self.write_fd, frame)
            except BlockingIOError:
                sent = 0
            except BrokenPipeError:
                return
            if sent == len(frame):
                return
            self._outbox.append(memoryview(frame)[sent:])
            self.outbox_bytes += len(frame) - sent
            return
        self._outbox.append(memoryview(frame))
        self.outbox_bytes += len(frame)

    def flush(self) -> None:
        """Go on sending what waits in the outbox."""
        outbox = self._outbox
        while outbox:
            try:
                sent = self._calls.write(self.write_fd, outbox[0])
            except BlockingIOError:
                return
            except BrokenPipeError:
                outbox.clear()
                self.outbox_bytes = 0
                return
            self.outbox_bytes -= sent
            if sent == len(outbox[0]):
                outbox.popleft()
            else:
                outbox[0] = outbox[0][sent:]

    def close(self) -> None:
        """Close both ends and forget what was not sent."""
        for fd in (self.read_fd, self.write_fd):
            if fd >= 0:
                self._calls.close(fd)
        self.read_fd = self.write_fd = -1
        self._reader = FrameReader()
        self._outbox.clear()
        self.outbox_bytes = 0
