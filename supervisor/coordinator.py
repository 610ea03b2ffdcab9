r"""The sequencer of spanning commands: tickets out, answers in (no I/O; docs/partitions.md has the
why).

Each command gets the next ticket, and one LOCK goes to every worker that has a part in it. A worker
runs its part once it is granted the locks, answers DONE, and holds them. When all are DONE, every
lock of the command is held at one instant, between the command's arrival and its answer: that is
where it takes effect, for everybody. Then the home gets the answers and the workers a RELEASE.

The caller sends what a method returns, in order, each worker's over one FIFO channel. What always
holds:
- The LOCKs to one worker ascend by ticket, over its death too, so all workers queue alike: no
  deadlock.
- A ticket lives until every part is DONE, whatever dies meanwhile. Its parts are kept that long.
- A worker is down from `on_worker_lost` (and before its first start) to `on_worker_ready`; it is
  sent nothing. It serves nothing before SERVE, when it holds again the locks of every live ticket
  that it has a part in: otherwise a client could read there what the dead worker wrote under a
  lock.
- Whether its part must run again is the log's word: logged parts ran, and their answer stands in
  the log.

A *borrowing* command runs as a whole in one worker, its executor, over values that the others lend:

    LENDING --LENT by all: EXECUTE--> RUNNING --RAN--> APPLYING --DONE by all with effects--> ended
       ^                                 |       \--(it changed nothing)-----------------------^
       +---- the executor has died ------+

- Up to RAN nothing is decided, no log holds anything, and the locks keep all values as they were:
  so the command may run again, as a new *attempt*. Messages of an earlier attempt are dropped.
- From RAN on the coordinator holds all that the command changes, the *effects*, until every worker
  concerned has them in its log. So whoever dies then gets its effects again, unless its log has
  them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shoal.proto import errors
from shoal.proto.limits import MAX_TICKET_BYTES, MAX_TICKETS
from shoal.proto.messages import (
    ANSWER,
    APPLY,
    EXECUTE,
    LOAN,
    LOCK,
    MORE,
    REFUSE,
    RELEASE,
    RELEASED,
    RELEND,
    RELOCK,
    RUN,
    SERVE,
    Message,
)

Outgoing = list[tuple[int, Message]]

# The home of a ticket whose home died. (The supervisor, -1, is never a home; it may have a part.)
NOBODY: Final = -2


class _Ticket:
    __slots__ = ("borrowing", "home", "parts", "ref", "replies", "size_bytes")

    def __init__(
        self,
        home: int,
        ref: int,
        parts: dict[int, bytes],
        size_bytes: int,
        borrowing: _Borrowing | None,
    ) -> None:
        self.home = home
        self.ref = ref
        self.parts = parts
        self.replies: dict[int, object] = {}
        self.size_bytes = size_bytes
        self.borrowing = borrowing


class _Borrowing:
    """What is more to a borrowing command.

    Attributes:
        executor: the worker that runs it.
        attempt: from RUN upwards, how often it was begun.
        lent: who has lent all that it has to, in this attempt; the executor, by being granted.
        effects: worker -> the chunks of what the command changes there.
        decided: it has run, and everything that it changes is in `effects`.
        reply: of the command.
        left: when decided, the workers that have not logged their effects; each with the number of
            chunks sent to it.
    """

    __slots__ = ("attempt", "decided", "effects", "executor", "left", "lent", "reply")

    def __init__(self, executor: int) -> None:
        self.executor = executor
        self.attempt = RUN
        self.lent: set[int] = set()
        self.effects: dict[int, list[bytes]] = {}
        self.decided = False
        self.reply: object = None
        self.left: dict[int, int] = {}


class Coordinator:
    """Run spanning commands over the workers; methods take events and return `(worker, message)` to
    send.
    """

    def __init__(self, workers: int, next_ticket: int) -> None:
        """Start with all workers down.

        Args:
            workers: how many there are, numbered from 0.
            next_ticket: above every ticket that any log or base holds, and positive.
        """
        assert next_ticket > 0
        self.next_ticket = next_ticket
        self._tickets: dict[int, _Ticket] = {}  # ascending, as they were given
        self._size_bytes = 0
        self._down = set(range(workers))
        self._overdue: set[int] = set()  # those of the down that new commands no longer wait for
        self._disk: dict[int, bytes] = {}  # worker -> why it takes no writes

    @property
    def in_flight(self) -> int:
        """The number of tickets given and not yet complete."""
        return len(self._tickets)

    @property
    def in_flight_bytes(self) -> int:
        """The bytes of parts kept for them."""
        return self._size_bytes

    def on_span(
        self,
        home: int,
        ref: int,
        parts: dict[int, bytes],
        write: bool,
        executor: int | None = None,
    ) -> Outgoing:
        """Give a home's command a ticket, or refuse it; `parts` belongs to the coordinator from now
        on. It is not empty: a ticket ends with the answer of its last part. With an executor, one
        of the workers in `parts`, it is a borrowing command.
        """
        assert parts
        size_bytes = sum(map(len, parts.values()))
        tickets = self._tickets
        if tickets and (
            len(tickets) >= MAX_TICKETS or self._size_bytes + size_bytes > MAX_TICKET_BYTES
        ):
            return [(home, (REFUSE, ref, errors.try_again("too many spanning commands").text))]
        down = self._down
        if down or self._disk:
            text = self._obstacle(parts, write)
            if text is not None:
                return [(home, (REFUSE, ref, text))]
        number = self.next_ticket
        self.next_ticket = number + 1
        borrowing = None if executor is None else _Borrowing(executor)
        tickets[number] = _Ticket(home, ref, parts, size_bytes, borrowing)
        self._size_bytes += size_bytes
        everyone = tuple(parts)
        return [
            (worker, (LOCK, number, blob, everyone, RUN))
            for worker, blob in parts.items()
            if worker not in down
        ]

    def on_done(self, worker: int, number: int, reply: object) -> Outgoing:
        """Take a part's answer; the last one ends the ticket."""
        ticket = self._tickets[number]
        if ticket.borrowing is not None:
            return self._on_applied(worker, number, ticket, ticket.borrowing)
        replies = ticket.replies
        assert worker in ticket.parts.keys() - replies.keys(), f"ticket {number}, worker {worker}"
        replies[worker] = reply
        if len(replies) < len(ticket.parts):
            return []
        return self._finish(number, ticket)

    # -- borrowing ---------------------------------------------------------------------------------

    def on_lent(self, worker: int, number: int, attempt: int, chunk: bytes, last: bool) -> Outgoing:
        """Pass a piece of what a worker lends to the executor; the last piece of all starts it."""
        ticket, borrowing = self._attempt(number, attempt)
        if ticket is None or borrowing is None:
            return []
        executor = borrowing.executor
        out: Outgoing = []
        if worker != executor:
            out.append((executor, (LOAN, number, attempt, worker, chunk, last)))
        if last:
            borrowing.lent.add(worker)
            if len(borrowing.lent) == len(ticket.parts):
                out.append((executor, (EXECUTE, number, attempt)))
        return [] if executor in self._down else out

    def on_took(self, number: int, attempt: int, lender: int) -> Outgoing:
        """The executor has taken a piece that was not the last: its lender may send the next."""
        ticket, _ = self._attempt(number, attempt)
        if ticket is None or lender in self._down:
            return []
        return [(lender, (MORE, number, attempt))]

    def on_effect(
        self, worker: int, number: int, attempt: int, whose: int, chunk: bytes
    ) -> Outgoing:
        """Keep a piece of what the command changes in the partition of `whose`; ask for the
        next.
        """
        ticket, borrowing = self._attempt(number, attempt)
        if ticket is None or borrowing is None:
            return []
        assert worker == borrowing.executor
        borrowing.effects.setdefault(whose, []).append(chunk)
        ticket.size_bytes += len(chunk)
        self._size_bytes += len(chunk)
        return [(worker, (MORE, number, attempt))]

    def on_ran(self, worker: int, number: int, attempt: int, reply: object) -> Outgoing:
        """The command has run, and all its effects have come: it is decided."""
        ticket, borrowing = self._attempt(number, attempt)
        if ticket is None or borrowing is None:
            return []
        assert worker == borrowing.executor
        borrowing.decided = True
        borrowing.reply = reply
        if not borrowing.effects:
            return self._finish(number, ticket)
        borrowing.left = dict.fromkeys(borrowing.effects, 0)
        out: Outgoing = []
        for whose in borrowing.effects:
            if whose not in self._down:
                out += self._apply(whose, number, borrowing)
        return out

    def on_apply_more(self, worker: int, number: int) -> Outgoing:
        """A worker has taken a piece of its effects that was not the last."""
        ticket = self._tickets[number]
        assert ticket.borrowing is not None
        return self._apply(worker, number, ticket.borrowing)

    def _attempt(self, number: int, attempt: int) -> tuple[_Ticket | None, _Borrowing | None]:
        """Return the ticket, if this attempt of it is still under way."""
        ticket = self._tickets[number]
        borrowing = ticket.borrowing
        assert borrowing is not None
        if attempt != borrowing.attempt:
            return None, None
        assert not borrowing.decided
        return ticket, borrowing

    def _apply(self, worker: int, number: int, borrowing: _Borrowing) -> Outgoing:
        """Send a worker the next piece of its effects."""
        chunks, at = borrowing.effects[worker], borrowing.left[worker]
        borrowing.left[worker] = at + 1
        last = at + 1 == len(chunks)
        return [(worker, (APPLY, number, tuple(borrowing.effects), chunks[at], last))]

    def _on_applied(
        self, worker: int, number: int, ticket: _Ticket, borrowing: _Borrowing
    ) -> Outgoing:
        del borrowing.left[worker]
        return [] if borrowing.left else self._finish(number, ticket)

    def _begin_again(self, number: int, ticket: _Ticket, borrowing: _Borrowing) -> Outgoing:
        """Start another attempt, in all workers that are up."""
        borrowing.attempt += 1
        borrowing.lent.clear()
        dropped = sum(len(chunk) for chunks in borrowing.effects.values() for chunk in chunks)
        borrowing.effects.clear()
        ticket.size_bytes -= dropped
        self._size_bytes -= dropped
        message = (RELEND, number, borrowing.attempt)
        return [(worker, message) for worker in ticket.parts if worker not in self._down]

    def _return_to(
        self,
        worker: int,
        number: int,
        ticket: _Ticket,
        borrowing: _Borrowing,
        logged: Mapping[int, object],
        finished: Outgoing,
    ) -> Outgoing:
        """Bring a worker back, still down here, that has a part in a borrowing command."""
        blob = ticket.parts[worker]
        relock = (worker, (LOCK, number, blob, tuple(ticket.parts), RELOCK))
        if borrowing.decided:
            if worker not in borrowing.left:
                return [relock]
            if number in logged:  # its DONE was lost
                del borrowing.left[worker]
                if not borrowing.left:
                    finished += self._finish(number, ticket, but=worker)
                    return []
                return [relock]
            borrowing.left[worker] = 0
            return [relock, *self._apply(worker, number, borrowing)]
        if worker in borrowing.lent and worker != borrowing.executor:
            return [relock]
        # What it had lent in part, or was lent, is lost.
        finished += self._begin_again(number, ticket, borrowing)
        return [(worker, (LOCK, number, blob, tuple(ticket.parts), borrowing.attempt))]

    # -- deaths and disks --------------------------------------------------------------------------

    def on_worker_lost(self, worker: int) -> Outgoing:
        """Note a death, after all that the worker had sent was taken; its parts wait for its
        successor.

        Commands it sent as a home run on, and nobody is told.
        """
        self._down.add(worker)
        self._disk.pop(worker, None)
        for ticket in self._tickets.values():
            if ticket.home == worker:
                ticket.home = NOBODY
        return []

    def on_deadline(self, worker: int) -> Outgoing:
        """Refuse new commands on a worker that is down for too long; those with a ticket still
        wait.
        """
        if worker in self._down:
            self._overdue.add(worker)
        return []

    def on_worker_ready(self, worker: int, logged: Mapping[int, object]) -> Outgoing:
        """Bring a worker back that has loaded its partition.

        Args:
            worker: it must be down.
            logged: the tickets, with the reply, of the parts that its log holds without a `#REL`.
        """
        out: Outgoing = []
        finished: Outgoing = []
        for number, ticket in list(self._tickets.items()):
            blob = ticket.parts.get(worker)
            if blob is None:
                continue
            if ticket.borrowing is not None:
                out += self._return_to(worker, number, ticket, ticket.borrowing, logged, finished)
                continue
            replies = ticket.replies
            mode = RELOCK
            if worker not in replies:
                if number not in logged:
                    mode = RUN
                else:  # it ran, and its DONE was lost
                    replies[worker] = logged[number]
                    if len(replies) == len(ticket.parts):
                        finished += self._finish(number, ticket, but=worker)
                        continue  # all the parts ran: no need to lock it here again
            out.append((worker, (LOCK, number, blob, tuple(ticket.parts), mode)))
        released = tuple(sorted(logged.keys() - self._tickets.keys()))
        if released:  # ahead of the LOCKs: what they run is logged behind these tickets' #REL
            assert released[-1] < self.next_ticket
            out.insert(0, (worker, (RELEASED, released)))
        out.append((worker, (SERVE,)))
        self._down.remove(worker)  # only now: so nothing else was sent to it in between
        self._overdue.discard(worker)
        return out + finished

    def on_disk_state(self, worker: int, ok: bool, text: bytes) -> Outgoing:
        """Refuse new writes on a worker whose log cannot be written, with `text`, until `ok`."""
        if ok:
            self._disk.pop(worker, None)
        else:
            self._disk[worker] = text
        return []

    def _obstacle(self, parts: dict[int, bytes], write: bool) -> bytes | None:
        for worker in parts:
            if worker in self._overdue:
                return errors.try_again(f"worker {worker} is down").text
            if write and worker in self._disk:
                return self._disk[worker]
        return None

    def _finish(self, number: int, ticket: _Ticket, but: int = NOBODY) -> Outgoing:
        """Answer, then release everywhere but at the worker that comes back without these locks."""
        del self._tickets[number]
        self._size_bytes -= ticket.size_bytes
        home, down = ticket.home, self._down
        out: Outgoing = []
        replies = ticket.replies
        if ticket.borrowing is not None:
            replies = {ticket.borrowing.executor: ticket.borrowing.reply}
        if home != NOBODY:
            out.append((home, (ANSWER, ticket.ref, replies)))
        release = (RELEASE, number)
        for worker in ticket.parts:
            if worker not in down and worker != but:
                out.append((worker, release))
        return out
