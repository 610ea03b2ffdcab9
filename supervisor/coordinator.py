"""The sequencer of spanning commands: tickets out, answers in (no I/O; docs/partitions.md has the
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

A command that cannot be cut into parts runs in *steps* (`supervisor/steps.py`): one for a borrowing
command, several for a transaction. Its ticket is given, locks, waits for the dead and ends as any
other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.limits import MAX_TICKET_BYTES, MAX_TICKETS
from shoal.proto.messages import (
    ANSWER,
    LOCK,
    REFUSE,
    RELEASE,
    RELEASED,
    RELOCK,
    RUN,
    SERVE,
)
from shoal.supervisor.steps import Outgoing, Step, Steps

# The home of a ticket whose home died. (The supervisor, -1, is never a home; it may have a part.)
NOBODY: Final = -2


class _Ticket:
    __slots__ = ("held", "home", "parts", "ref", "replies", "size_bytes", "steps")

    def __init__(
        self,
        home: int,
        ref: int,
        parts: dict[int, bytes],
        size_bytes: int,
        steps: Steps | None,
    ) -> None:
        self.home = home
        self.ref = ref
        self.parts = parts
        self.replies: dict[int, object] = {}
        self.size_bytes = size_bytes
        self.steps = steps
        self.held: set[int] = set()  # workers without which it must not be answered


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
        self._held: dict[int, _Ticket] = {}  # ended, and not answered yet: see HELD
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
        steps: Sequence[tuple[int, tuple[int, ...], bytes | None]] = (),
    ) -> Outgoing:
        """Give a home's command a ticket, or refuse it; `parts` belongs to the coordinator from now
        on. It is not empty: a ticket ends with the answer of its last part. If there are steps
        (`steps.Step`), their workers are among those of the parts.
        """
        assert parts
        size_bytes = sum(map(len, parts.values()))
        tickets = self._tickets
        if tickets and (
            len(tickets) + len(self._held) >= MAX_TICKETS
            or self._size_bytes + size_bytes > MAX_TICKET_BYTES
        ):
            return [(home, (REFUSE, ref, errors.try_again("too many spanning commands").text))]
        down = self._down
        if down or self._disk:
            text = self._obstacle(parts, write)
            if text is not None:
                return [(home, (REFUSE, ref, text))]
        number = self.next_ticket
        self.next_ticket = number + 1
        in_steps = Steps(number, parts, [Step(*step) for step in steps]) if steps else None
        tickets[number] = _Ticket(home, ref, parts, size_bytes, in_steps)
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
        if ticket.steps is not None:
            ticket.steps.on_done(worker)
            return self._moved(number, [])
        replies = ticket.replies
        assert worker in ticket.parts.keys() - replies.keys(), f"ticket {number}, worker {worker}"
        replies[worker] = reply
        if len(replies) < len(ticket.parts):
            return []
        return self._finish(number, ticket)

    def on_held(self, worker: int, number: int) -> None:
        """Answer this ticket when the worker has said SETTLED, or has died."""
        self._tickets[number].held.add(worker)

    def on_settled(self, worker: int, number: int) -> Outgoing:
        """Answer a ticket now, as far as this worker is concerned."""
        ticket = self._held.get(number)
        if ticket is None:
            ticket = self._tickets.get(number)
            if ticket is not None:  # before it has ended
                ticket.held.discard(worker)
            return []
        ticket.held.discard(worker)
        if ticket.held:
            return []
        del self._held[number]
        return self._answer(ticket)

    # -- steps -------------------------------------------------------------------------------------

    def on_lent(self, worker: int, number: int, attempt: int, chunk: bytes, last: bool) -> Outgoing:
        """As `Steps.on_lent`; nothing if the ticket was given up (`on_forget`) meanwhile."""
        if self._was_given_up(number):
            return []
        steps = self._steps(self._tickets[number])
        return self._moved(number, steps.on_lent(worker, attempt, chunk, last, self._down))

    def on_took(self, number: int, attempt: int, lender: int) -> Outgoing:
        """As `Steps.on_took`; as in `on_lent`."""
        if self._was_given_up(number):
            return []
        return self._steps(self._tickets[number]).on_took(attempt, lender, self._down)

    def on_abort(self, number: int) -> Outgoing:
        """As `Steps.on_abort`."""
        return self._moved(number, self._steps(self._tickets[number]).on_abort(self._down))

    def on_forget(self, home: int, ref: int) -> Outgoing:
        """As `Steps.on_forget`; nothing if the ticket has ended."""
        for number, ticket in self._tickets.items():
            if ticket.home == home and ticket.ref == ref and ticket.steps is not None:
                return self._moved(number, ticket.steps.on_forget(self._down))
        return []

    def on_effect(
        self, worker: int, number: int, attempt: int, whose: int, chunk: bytes
    ) -> Outgoing:
        """As `Steps.on_effect`."""
        steps = self._steps(self._tickets[number])
        return self._moved(number, steps.on_effect(worker, attempt, whose, chunk))

    def on_needs(
        self, worker: int, number: int, attempt: int, lenders: tuple[int, ...], blob: bytes
    ) -> Outgoing:
        """As `Steps.on_needs`."""
        steps = self._steps(self._tickets[number])
        return self._moved(number, steps.on_needs(worker, attempt, lenders, blob, self._down))

    def on_ran(self, worker: int, number: int, attempt: int, replies: list[object]) -> Outgoing:
        """As `Steps.on_ran`."""
        steps = self._steps(self._tickets[number])
        return self._moved(number, steps.on_ran(worker, attempt, replies, self._down))

    def on_apply_more(self, worker: int, number: int) -> Outgoing:
        """As `Steps.on_apply_more`."""
        steps = self._steps(self._tickets[number])
        return self._moved(number, steps.on_apply_more(worker, self._down))

    def _was_given_up(self, number: int) -> bool:
        """Tell whether a ticket has ended: what is lent again after a death may come behind."""
        return number not in self._tickets and number < self.next_ticket

    def _steps(self, ticket: _Ticket) -> Steps:
        assert ticket.steps is not None
        return ticket.steps

    def _moved(self, number: int, out: Outgoing, but: int = NOBODY) -> Outgoing:
        """Count what a ticket in steps keeps, and end it if it is at its end."""
        ticket = self._tickets[number]
        steps = self._steps(ticket)
        size_bytes = sum(map(len, ticket.parts.values())) + steps.size_bytes
        self._size_bytes += size_bytes - ticket.size_bytes
        ticket.size_bytes = size_bytes
        return out + self._finish(number, ticket, but) if steps.ended else out

    # -- deaths and disks --------------------------------------------------------------------------

    def on_worker_lost(self, worker: int) -> Outgoing:
        """Note a death, after all that the worker had sent was taken; its parts wait for its
        successor.

        Commands it sent as a home run on, and nobody is told.
        """
        self._down.add(worker)
        self._disk.pop(worker, None)
        for ticket in (*self._tickets.values(), *self._held.values()):
            if ticket.home == worker:
                ticket.home = NOBODY
        out: Outgoing = []
        for number in (*self._tickets, *self._held):
            out += self.on_settled(worker, number)
        return out

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
        returned: list[int] = []  # tickets that run in steps
        for number, ticket in list(self._tickets.items()):
            blob = ticket.parts.get(worker)
            if blob is None:
                continue
            if ticket.steps is not None:
                out += ticket.steps.on_worker_ready(worker, logged=number in logged)
                if ticket.steps.ended:  # no need to lock it here again
                    finished += self._moved(number, [], but=worker)
                else:
                    returned.append(number)
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
        self._down.remove(worker)
        self._overdue.discard(worker)
        for number in returned:
            steps = self._steps(self._tickets[number])
            finished += self._moved(number, steps.advance(self._down))
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
        down = self._down
        out: Outgoing = []
        if ticket.held:
            self._held[number] = ticket
        else:
            out = self._answer(ticket)
        release = (RELEASE, number)
        for worker in ticket.parts:
            if worker not in down and worker != but:
                out.append((worker, release))
        return out

    def _answer(self, ticket: _Ticket) -> Outgoing:
        home = ticket.home
        if home == NOBODY:
            return []
        replies = ticket.replies
        if ticket.steps is not None:
            replies = {home: ticket.steps.replies}
        return [(home, (ANSWER, ticket.ref, replies))]
