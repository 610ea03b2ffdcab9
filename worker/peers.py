"""The pipes of a worker: one pair to each other worker, one to the supervisor.

Both are non-blocking and both directions are frames (`proto/frames.py`). A link gathers what a turn
has for the other side and sends it as one frame at the turn's end; what the pipe does not take
waits in the outbox.

Frames between workers are `(stamp_ns, seq, requests, replies, late, notes)`:
- stamp_ns: the sender's monotonic time; receivers run the frames they have in this order.
- seq: 0, or the number that the sender's counter in the shared page must reach before the frame may
  be run (the sender had frames for several peers in that turn, and says so when all are in the
  pipes).
- requests: argv lists, each under the last context `(db, resp)` before it; among them, as tuples of
  three or more, what `worker/broker.py` tells, which has no reply.
- replies: in the order of the requests they answer; an int instead of bytes says "later, under this
  handle".
- late: `(handle, reply)` pairs.
- notes: `(handle, what)` pairs about commands that block at their owner: OFFER from the owner;
  TAKE, CANCEL, TIMEOUT or ERROR from the home (`worker/blocking.py`). And TOUCHED from the owner of
  a watched key, and what `worker/tracking.py` tells, with what that is about as the handle. They
  are taken behind the frame's replies.

The last frame to a worker that leaves has the seq LAST and nothing else.

Frames from and to the supervisor are `(stamp_ns, 0, messages)`, see `proto/messages.py`.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from shoal.proto.limits import MAX_PARKED_HOP_BYTES, MAX_PARKED_HOPS
from shoal.proto.pipes import Link

if TYPE_CHECKING:
    from shoal.worker.blocking import Waiter
    from shoal.worker.connection import Connection
    from shoal.worker.tracking import Reader

LAST: Final = -1

# Notes about a blocked command. The owner could serve it: does its client still want that?
OFFER: Final = 0
# It does.
TAKE: Final = 1
# The client has gone.
CANCEL: Final = 2
# CLIENT UNBLOCK.
TIMEOUT: Final = 3
ERROR: Final = 4

# Not about a blocked command: a key was touched that the handle's series of WATCH watches
# (worker/multi.py).
TOUCHED: Final = 5

# About a command that waits for keys of several partitions (worker/spread_wait.py), under its
# home's handle. The owner: a key is ready. The home: it waits no longer.
READY: Final = 6
LEAVE: Final = 7

# What a process numbers and others remember (waits for keys of several partitions, series of WATCH)
# begins at its generation times this: nothing is ever taken for its predecessor's.
NUMBERS_PER_LIFE: Final = 1 << 32

# Database and protocol version; of a client that tracks, this and the client: ((db, resp), Reader).
Context = tuple[Any, Any]
# A hop that waits for its reply: connection, index of the placeholder, argv, context.
Hop = tuple["Connection", int, list[bytes], Context]


def context_of(db: int, resp: int, reader: Reader | None) -> Context:
    """Return the context of a client's command."""
    return (db, resp) if reader is None else ((db, resp), reader)


def split_context(context: Context) -> tuple[int, int, Reader | None]:
    """Return database, protocol version and the client that tracks, if it does."""
    first, second = context
    return (first, second, None) if first.__class__ is int else (*first, second)


class Peer(Link):
    """Another worker.

    Attributes:
        worker: its number.
        open: it serves and its outbox is short: hops may go straight into the next frame.
        up: it serves; else commands for it wait in `parked` until a deadline.
        loading: it is being replaced and reads its log.
        life: how many of its processes have died.
        leaving: our last frame to this process is due: it says that no more will come.
        requests, replies, late, notes: what the next frame takes along; `context` is that of the
            last request in it.
        reply_bytes: size of `replies`, counted for large ones only.
        pending: hops sent, in order, whose reply has not come; `deferred` those that will come
            late.
        parked: hops not sent while the worker is down, with the monotonic deadline in ms;
            `parked_bytes` is the size of their arguments.
        stalled: connections that wait until the outbox is short again.
        waiters: commands of the peer's clients that block here, by handle; None for one that waits
            for a lock and may yet block, TIMEOUT or ERROR if that is then to end at once.
    """

    __slots__ = (
        "context",
        "deferred",
        "late",
        "leaving",
        "life",
        "loading",
        "notes",
        "open",
        "parked",
        "parked_bytes",
        "pending",
        "replies",
        "reply_bytes",
        "requests",
        "stalled",
        "up",
        "waiters",
        "worker",
    )

    def __init__(self, worker: int, read_fd: int, write_fd: int) -> None:
        """Link to worker number `worker`."""
        super().__init__(read_fd, write_fd, os)
        self.worker = worker
        self.up = self.open = True
        self.loading = False
        self.leaving = False
        self.life = 0
        self.requests: list[Any] = []
        self.context: Context | None = None
        self.replies: list[bytes | int] = []
        self.reply_bytes = 0
        self.late: list[tuple[int, bytes]] = []
        self.pending: deque[Hop] = deque()
        self.deferred: dict[int, Hop] = {}
        self.parked: deque[tuple[int, Hop]] = deque()
        self.parked_bytes = 0
        self.stalled: list[Connection] = []
        self.notes: list[tuple[Any, int]] = []
        self.waiters: dict[int, Waiter | int | None] = {}

    def can_park(self, argv: list[bytes]) -> bool:
        """Tell whether one more command may wait for the worker."""
        if not self.parked:
            return True  # whatever its size: the query buffer has bounded it
        size_bytes = self.parked_bytes + sum(map(len, argv))
        return len(self.parked) < MAX_PARKED_HOPS and size_bytes <= MAX_PARKED_HOP_BYTES

    def park(self, deadline_ms: int, hop: Hop) -> None:
        """Let a hop wait for the worker until a monotonic time."""
        self.parked.append((deadline_ms, hop))
        self.parked_bytes += sum(map(len, hop[2]))

    def unpark(self) -> Hop:
        """Take the hop that has waited the longest."""
        hop = self.parked.popleft()[1]
        self.parked_bytes -= sum(map(len, hop[2]))
        return hop

    def has_news(self) -> bool:
        """Tell whether there is anything for the next frame."""
        return bool(self.requests or self.replies or self.late or self.notes)

    def send_turn(self, stamp_ns: int, seq: int) -> None:
        """Send what this turn gathered as one frame."""
        self.send((stamp_ns, seq, self.requests, self.replies, self.late, self.notes))
        self.requests, self.replies, self.late, self.notes = [], [], [], []
        self.context = None
        self.reply_bytes = 0

    def send_requests(self, stamp_ns: int, seq: int) -> None:
        """Send the requests of this turn as a frame of their own."""
        self.send((stamp_ns, seq, self.requests, [], [], []))
        self.requests = []
        self.context = None

    def reset(self) -> list[Hop]:
        """Close the pipes to a dead process; return the hops whose outcome is unknown, in order."""
        self.close()
        self.leaving = False
        self.life += 1
        lost = [*self.deferred.values(), *self.pending]
        self.deferred.clear()
        self.pending.clear()
        self.requests, self.replies, self.late, self.notes = [], [], [], []
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
        super().__init__(read_fd, write_fd, os)
        self.messages: list[tuple[Any, ...]] = []

    def send_turn(self, stamp_ns: int) -> None:
        """Send what this turn gathered as one frame."""
        messages, self.messages = self.messages, []
        self.send((stamp_ns, 0, messages))
