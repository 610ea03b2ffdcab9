"""Blocking commands whose keys lie in several partitions (no I/O).

Such a command is a borrowing one (`worker/borrowing.py`). If its handler cannot serve it, it is
entered, while the locks are still held, in the queues of its keys at all their owners; so nothing
that comes later is missed. An owner whose key has become ready tells the home (READY); the home
tries the command again, as a borrowing one:

    TRYING --not served: every owner has entered it--> WAITING --READY of an owner--> TRYING
       |                                                  |
       +--served, and the owners know: the reply          +--timeout, CLIENT UNBLOCK, client gone:
                                                             LEAVE to the owners

The owners learn the outcome from the ticket of the try itself: when it lets their locks go, they
have entered the command anew, or it has been served (`Dispatcher._try_is_over`).

Trying it again makes sense only if one of the keys still has the awaited type, as in
`worker/blocking.py`: its executor looks first, for the key may be gone by then, or be of another
type, of which one who waits must not hear.

An element leaves its list only in TRYING, for a client that was there when the try began; if the
client goes meanwhile the coordinator is told (FORGET) and gives the try up, unless it runs already.
Timeouts are the home's. An owner that dies forgets whom it had entered: the home tries again when
its successor serves, which enters it anew. A home that dies is forgotten by all owners; and what a
try that it had begun enters after that is dropped, by the handle, which tells the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.worker.blocking import Blocking, State, Waiter
from shoal.worker.registry import Command, Wait

if TYPE_CHECKING:
    from shoal.worker.connection import Connection
    from shoal.worker.tracking import Reader


class SpreadWait:
    """One command, at its home.

    Attributes:
        conn, at: its client, and the reply's place; command, argv, db, resp: what is tried.
        reader: that client, if it tracks (`worker/tracking.py`).
        handle: its name at the owners.
        kind, keys: what it waits for; empty before the first try has ended.
        workers: the owners that have entered it; empty before the first try has ended.
        ref: of the try under way, 0 for none.
        again: a key became ready during the try, or a pause.
        gone: the client has.
        waiter: has its time; made when the first try has ended.
    """

    __slots__ = (
        "again",
        "argv",
        "at",
        "command",
        "conn",
        "db",
        "gone",
        "handle",
        "keys",
        "kind",
        "reader",
        "ref",
        "resp",
        "waiter",
        "workers",
    )

    def __init__(
        self,
        conn: Connection,
        at: int,
        command: Command,
        argv: list[bytes],
        db: int,
        resp: int,
        reader: Reader | None,
        handle: int,
    ) -> None:
        """Describe a command that is about to be tried."""
        self.conn, self.at = conn, at
        self.command, self.argv, self.db, self.resp = command, argv, db, resp
        self.reader = reader
        self.handle = handle
        self.kind = b""
        self.keys: tuple[bytes, ...] = ()
        self.workers: tuple[int, ...] = ()
        self.ref = 0
        self.again = self.gone = False
        self.waiter: Waiter | None = None


class SpreadWaits:
    """The commands of one home that wait, or are tried, for keys of several partitions."""

    def __init__(
        self,
        blocking: Blocking,
        try_it: Callable[[SpreadWait], None],
        leave: Callable[[int, int], None],
        answer: Callable[[SpreadWait, bytes | None], None],
        forget: Callable[[int], None],
        is_held: Callable[[bool], bool],
        last_handle: int,
    ) -> None:
        """Start with none.

        Args:
            blocking: this worker's; it has the timeouts.
            try_it: sends the command, and sets `ref`.
            leave: (worker, handle) tells an owner LEAVE.
            answer: gives the client its reply; None if it has gone.
            forget: (ref) gives a try up if it does not run yet.
            is_held: (write) tells whether CLIENT PAUSE holds such a command back.
            last_handle: above all those of our predecessors.
        """
        self._blocking = blocking
        self._try = try_it
        self._tell_leave = leave
        self._answer = answer
        self._forget = forget
        self._is_held = is_held
        self._waits: dict[int, SpreadWait] = {}
        self._last_handle = last_handle

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._waits)

    def begin(
        self,
        conn: Connection,
        at: int,
        command: Command,
        argv: list[bytes],
        db: int,
        resp: int,
        reader: Reader | None,
    ) -> SpreadWait:
        """Try a command for the first time."""
        self._last_handle += 1
        wait = SpreadWait(conn, at, command, argv, db, resp, reader, self._last_handle)
        self._waits[wait.handle] = wait
        self._try(wait)
        return wait

    def not_served(
        self,
        wait: SpreadWait,
        argv: list[bytes],
        kind: bytes,
        keys: tuple[bytes, ...],
        timeout_ms: int,
        workers: tuple[int, ...],
        reply: bytes,
        now_ms: int,
    ) -> None:
        """A try has ended: the owners have entered the command.

        Args:
            argv: what is tried from now on.
            kind, keys: what it waits for; empty if it is to be tried whatever is there.
            timeout_ms: of the command, 0 for none.
            workers: the owners.
            reply: what the client gets after that time.
            now_ms: monotonic.
        """
        wait.argv = argv
        wait.ref = 0
        waiter = wait.waiter
        if waiter is None:
            no_keys = Wait((), timeout_ms, object, reply)
            waiter = wait.waiter = Waiter(
                wait.command,
                wait.argv,
                wait.db,
                wait.resp,
                no_keys,
                now_ms,
                lambda answer: self._leave(wait, answer),
                None,
            )
            self._blocking.add(waiter)
        wait.kind, wait.keys, wait.workers = kind, keys, workers
        waiter.state = State.WAITING
        if wait.gone:
            self._blocking.end(waiter, None)
            self._leave(wait, None)
        elif waiter.overdue:
            self._blocking.end(waiter, waiter.timeout_reply)
        elif wait.again:
            self.ready(wait.handle)

    def served(self, wait: SpreadWait, reply: bytes) -> None:
        """A try has ended with a reply, or was refused with one."""
        wait.ref = 0
        waiter = wait.waiter
        if waiter is None:
            self._leave(wait, reply)
        else:
            self._blocking.end(waiter, reply)

    def forgotten(self, wait: SpreadWait) -> None:
        """A try was given up."""
        wait.ref = 0
        if wait.waiter is not None:
            self._blocking.end(wait.waiter, None)
        self._leave(wait, None)

    def ready(self, handle: int) -> None:
        """An owner says that a key is ready."""
        wait = self._waits.get(handle)
        if wait is None:
            return  # it leaves, as the owner will hear
        if wait.ref or self._is_held(wait.command.write):
            wait.again = True
        else:
            self._try_again(wait)

    def pause_changed(self) -> None:
        """CLIENT PAUSE may not hold back any more what became ready meanwhile."""
        for wait in list(self._waits.values()):
            if wait.again and not wait.ref:
                self.ready(wait.handle)

    def worker_up(self, worker: int) -> None:
        """A worker serves again, and knows of no wait."""
        for wait in list(self._waits.values()):
            if worker in wait.workers:
                self.ready(wait.handle)

    def client_gone(self, wait: SpreadWait) -> None:
        """The client has gone."""
        wait.gone = True
        if wait.ref:
            self._forget(wait.ref)
        elif wait.waiter is not None:
            self._blocking.end(wait.waiter, None)
            self._leave(wait, None)

    def unblock(self, wait: SpreadWait, reply: bytes | None) -> bool:
        """End a wait, with this reply or as after its timeout; False before it waits."""
        waiter = wait.waiter
        if waiter is None or waiter.state is State.GONE:
            return False
        if reply is None:
            reply = waiter.timeout_reply
        if wait.ref:  # it may be served yet
            waiter.timeout_reply = reply
            waiter.overdue = True
        else:
            self._blocking.end(waiter, reply)
        return True

    def _try_again(self, wait: SpreadWait) -> None:
        wait.again = False
        assert wait.waiter is not None
        wait.waiter.state = State.QUEUED  # whose time may pass, but which is not answered then
        self._try(wait)

    def _leave(self, wait: SpreadWait, reply: bytes | None) -> None:
        del self._waits[wait.handle]
        for worker in wait.workers:
            self._tell_leave(worker, wait.handle)
        self._answer(wait, reply)
