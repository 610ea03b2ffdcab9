"""The pipes of a worker: one pair to each other worker, one to the supervisor.

Both are non-blocking and both directions are frames (`proto/frames.py`). A link gathers what a turn
has for the other side and sends it as one frame at the turn's end; what the pipe does not take
waits in the outbox.

Frames between workers are `(stamp_ns, seq, requests, replies, late)`:
- stamp_ns: the sender's monotonic time; receivers run the frames they have in this order.
- seq: 0, or the number that the sender's counter in the shared page must reach before the frame may
  be run (the sender had frames for several peers in that turn, and says so when all are in the
  pipes).
- requests: argv lists, each under the last context `(db, resp)` before it.
- replies: in the order of the requests they answer; an int instead of bytes says "later, under this
  handle".
- late: `(handle, reply)` pairs.

Frames from and to the supervisor are `(stamp_ns, 0, messages)`, see `proto/messages.py`.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

from shoal.proto.frames import FrameReader, encode_frame
from shoal.proto.limits import PIPE_READ_BYTES

if TYPE_CHECKING:
    from shoal.worker.connection import Connection

Context = tuple[int, int]  # database, protocol version
# A hop that waits for its reply: connection, index of the placeholder, argv, context.
Hop = tuple["Connection", int, list[bytes], Context]


class Link:
    """One process at the other end of two pipes.

    Attributes:
        read_fd, write_fd: our ends of the pipes, -1 while there is nobody.
        outbox_bytes: bytes of frames that the pipe did not take yet.
    """

    __slots__ = ("_outbox", "_reader", "outbox_bytes", "read_fd", "write_fd")

    def __init__(self, read_fd: int, write_fd: int) -> None:
        """Take over two non-blocking pipe ends."""
        self.read_fd = read_fd
        self.write_fd = write_fd
        self._reader = FrameReader()
        self._outbox: deque[memoryview] = deque()
        self.outbox_bytes = 0

    def receive(self) -> list[Any] | None:
        """Read all there is and return the complete messages; None when the other side has gone."""
        messages: list[Any] = []
        while True:
            try:
                data = os.read(self.read_fd, PIPE_READ_BYTES)
            except BlockingIOError:
                return messages
            if not data:
                return messages or None
            messages += self._reader.feed(data)
            if len(data) < PIPE_READ_BYTES:
                return messages

    def send(self, message: Any) -> None:
        """Send one frame, behind whatever is waiting; a vanished reader is noticed when reading."""
        frame = encode_frame(message)
        if not self._outbox:
            try:
                sent = os.write(self.write_fd, frame)
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
                sent = os.write(self.write_fd, outbox[0])
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
                os.close(fd)
        self.read_fd = self.write_fd = -1
        self._reader = FrameReader()
        self._outbox.clear()
        self.outbox_bytes = 0


class Peer(Link):
    """Another worker.

    Attributes:
        worker: its number.
        open: it serves and its outbox is short: hops may go straight into the next frame.
        up: it serves; else commands for it wait in `parked` until a deadline.
        loading: it is being replaced and reads its log.
        requests, replies, late: what the next frame takes along; `context` is that of the last
            request in it.
        reply_bytes: size of `replies`, counted for large ones only.
        pending: hops sent, in order, whose reply has not come; `deferred` those that will come
            late.
        parked: hops not sent while the worker is down, with the monotonic deadline in ms.
        stalled: connections that wait until the outbox is short again.
    """

    __slots__ = (
        "context",
        "deferred",
        "late",
        "loading",
        "open",
        "parked",
        "pending",
        "replies",
        "reply_bytes",
        "requests",
        "stalled",
        "up",
        "worker",
    )

    def __init__(self, worker: int, read_fd: int, write_fd: int) -> None:
        """Link to worker number `worker`."""
        super().__init__(read_fd, write_fd)
        self.worker = worker
        self.up = self.open = True
        self.loading = False
        self.requests: list[Any] = []
        self.context: Context | None = None
        self.replies: list[bytes | int] = []
        self.reply_bytes = 0
        self.late: list[tuple[int, bytes]] = []
        self.pending: deque[Hop] = deque()
        self.deferred: dict[int, Hop] = {}
        self.parked: deque[tuple[int, Hop]] = deque()
        self.stalled: list[Connection] = []

    def has_news(self) -> bool:
        """Tell whether there is anything for the next frame."""
        return bool(self.requests or self.replies or self.late)

    def send_turn(self, stamp_ns: int, seq: int) -> None:
        """Send what this turn gathered as one frame."""
        self.send((stamp_ns, seq, self.requests, self.replies, self.late))
        self.requests, self.replies, self.late = [], [], []
        self.context = None
        self.reply_bytes = 0

    def replace(self, read_fd: int, write_fd: int) -> list[Hop]:
        """Take new pipe ends after the worker died; return the hops whose outcome is unknown, in
        order.
        """
        self.close()
        self.read_fd, self.write_fd = read_fd, write_fd
        lost = [*self.deferred.values(), *self.pending]
        self.deferred.clear()
        self.pending.clear()
        self.requests, self.replies, self.late = [], [], []
        self.context = None
        self.reply_bytes = 0
        return lost


class Uplink(Link):
    """The supervisor.

    Attributes:
        messages: what the next frame takes along.
    """

    __slots__ = ("messages",)

    def __init__(self, read_fd: int, write_fd: int) -> None:
        """Link to the supervisor."""
        super().__init__(read_fd, write_fd)
        self.messages: list[tuple[Any, ...]] = []

    def send_turn(self, stamp_ns: int) -> None:
        """Send what this turn gathered as one frame."""
        messages, self.messages = self.messages, []
        self.send((stamp_ns, 0, messages))
