"""A worker's half of spanning commands: the locks on its keys, and who waits for them (no I/O).

A claim is one command's place in the queues of everything it touches: keys, a database, or all of
them. A ticket's claim stays until the coordinator releases it; an ordinary command makes one only
when it must wait, and leaves as it runs. A claim depends on each earlier one that it conflicts with
(they overlap and one of them writes) and is granted when all those have left, so every queue is
first come, first served: readers share, a writer does not starve, and a client's commands on one
key stay in order.

Only the end of a key's queue is kept: the last writer, if it is still there, and the readers after
it. A new reader depends on that writer, a new writer on all of them; what stands before, they wait
for themselves. Claims on a database or on everything are few: they are kept in a list, and compare
themselves with all claims.

What always holds:
- A claim depends on earlier claims only, or on one that went ahead (`acquire`); those depend on
  granted claims and on each other only; and tickets arrive in one order everywhere: no cycle, no
  deadlock.
- What leaves has no dependency left; a ticket that came first is never run behind one that came
  later.
- For every claim, granted or waiting, the gate is closed once for each of its keys (or its
  database).
- Claims granted together run in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final, NamedTuple, Protocol

from shoal.proto import errors
from shoal.proto.limits import MAX_LOCK_WAITERS
from shoal.proto.messages import RELOCK


class Part(NamedTuple):
    """One worker's share of a spanning command.

    Attributes:
        db: the database, None for all.
        keys: the keys to lock, in any order, repeated or not; None locks the whole database (or
            all), an empty tuple nothing.
        write: lock for oneself alone, not shared.
        command: what to execute; the locks do not look into it.
    """

    db: int | None
    keys: tuple[bytes, ...] | None
    write: bool
    command: object


class Gate(Protocol):
    """Keeps the fused commands away from what is claimed; each close is paired with an open
    alike.
    """

    def close(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        """Send commands on the key (None: the whole db, of None: all) to `Participant.admit`."""

    def open(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        """Undo one close."""


NOT_DONE: Final = object()
"""What `execute` returns when the part is not done: its DONE comes later, by another way."""

Execute = Callable[[Part, int, tuple[int, ...]], object]
Done = list[tuple[int, object]]


class Claim:
    """A place in the queues; see the module's text.

    Attributes:
        number: the ticket, or for an ordinary command a negative number.
        order: rises with every claim of this worker.
        waits: how many conflicts with earlier claims are left; granted at 0.
        blocks: the later claims that wait for this one, once for each conflict.
        part, participants: of a ticket; resume: of an ordinary command.
        stays: it holds its locks until `let_go`, although it is no ticket.
        granted: nothing is in its way, and it has been run, or told so.
    """

    __slots__ = (
        "blocks",
        "db",
        "granted",
        "keys",
        "number",
        "order",
        "part",
        "participants",
        "resume",
        "stays",
        "waits",
        "write",
    )

    def __init__(
        self, number: int, order: int, db: int | None, keys: Sequence[bytes] | None, write: bool
    ) -> None:
        """Make a claim that stands in no queue yet."""
        self.number = number
        self.order = order
        self.db = db
        self.keys = keys
        self.write = write
        self.waits = 0
        self.blocks: list[Claim] = []
        self.part: Part | None = None
        self.participants: tuple[int, ...] = ()
        self.resume: Callable[[], None] | None = None
        self.stays = False
        self.granted = False

    def __lt__(self, other: Claim) -> bool:
        """Order the granted by arrival."""
        return self.order < other.order


class Participant:
    """The locks of one partition.

    Attributes:
        busy: the claims by number, in order of arrival. While it is empty every ordinary command
            may run; else ask `admit`. (A fused command need not ask: the gate is closed where the
            answer may be no.)
    """

    def __init__(self, execute: Execute, gate: Gate, log_release: Callable[[int], None]) -> None:
        """Start without locks.

        Args:
            execute: called as `execute(part, ticket, participants)` on grant, returns the reply; it
                logs a write part with its ticket, participants and reply even if it changed
                nothing.
            gate: closed over all that is claimed.
            log_release: called with the ticket of a write part at its release, before anything that
                waited for it runs, so that its `#REL` stands before their effects in the log.
        """
        self.busy: dict[int, Claim] = {}
        self._execute = execute
        self._close = gate.close
        self._open = gate.open
        self._log_release = log_release
        self._ends: dict[int, dict[bytes, list[Claim]]] = {}  # db -> key -> end of its queue
        self._wide: list[Claim] = []  # those on a database or on everything
        self._arrivals = 0
        self._last_ticket = 0
        self._waiters = 0  # ordinary commands that wait
        self._ready: list[Claim] = []  # heap of the granted that have not run yet
        self._draining = False

    @property
    def waiters(self) -> int:
        """The number of ordinary commands that wait."""
        return self._waiters

    def locked_tickets(self) -> list[tuple[int, bool]]:
        """Return the tickets here, ascending, each with whether it is granted."""
        return [(number, not claim.waits) for number, claim in self.busy.items() if number > 0]

    def idle(self) -> bool:
        """Tell whether nothing is left of any claim: what tests ask at the end of a run."""
        left = self.busy or self._wide or self._waiters or self._ready or any(self._ends.values())
        return not left

    def on_lock(self, ticket: int, part: Part, participants: tuple[int, ...], mode: int) -> Done:
        """Queue a ticket for its locks, and run its part if it is granted at once.

        Args:
            ticket: above every earlier one of this process.
            part: what to lock and run.
            participants: all the workers in this ticket.
            mode: RELOCK if the log holds the part: then it is granted at once and nothing runs.
        Returns: the DONE to send, if any.
        """
        assert ticket > self._last_ticket, f"ticket {ticket} after {self._last_ticket}"
        self._last_ticket = ticket
        db, keys, write, _ = part
        order = self._arrivals = self._arrivals + 1
        claim = Claim(ticket, order, db, keys, write)
        self._enter(claim)
        claim.granted = not claim.waits
        if mode == RELOCK:
            assert claim.granted, f"ticket {ticket} held its locks, now it would wait"
            return []
        if claim.waits:
            claim.part = part
            claim.participants = participants
            return []
        reply = self._execute(part, ticket, participants)
        return [] if reply is NOT_DONE else [(ticket, reply)]

    def on_release(self, ticket: int) -> Done:
        """Let a ticket's locks go and run, in order, all that it had kept waiting.

        Ordinary commands are resumed inside this call; returns the DONEs to send.
        """
        claim = self.busy[ticket]
        assert not claim.waits, f"ticket {ticket} is released before it was granted"
        if claim.write:
            self._log_release(ticket)
        self._leave(claim)
        return self._drain() if self._ready else []

    def admit(
        self,
        db: int | None,
        keys: Sequence[bytes] | None,
        write: bool,
        resume: Callable[[], None],
    ) -> bool:
        """Tell whether an ordinary command may run now; if not, it has its place and `resume` is
        called later.

        Args: as in `Part`; `resume` runs the command, and raises nothing.
        Raises: ReplyError TRYAGAIN when too many wait.
        """
        if not self._conflicts(db, keys, write):
            return True
        if self._waiters >= MAX_LOCK_WAITERS:
            raise errors.try_again("too many commands wait for spanning commands")
        order = self._arrivals = self._arrivals + 1
        claim = Claim(-order, order, db, keys, write)
        claim.resume = resume
        self._waiters += 1
        self._enter(claim)
        return False

    def acquire(self, db: int, keys: Sequence[bytes], granted: Callable[[], None]) -> Claim:
        """Claim keys for oneself alone until `let_go`, ahead of all that wait for them: what a
        blocked command does that is offered what it waited for.

        Returns: the claim. If it waits for those that hold the keys, `granted` is called when it
            does no longer.
        """
        order = self._arrivals = self._arrivals + 1
        claim = Claim(-order, order, db, tuple(dict.fromkeys(keys)), True)
        claim.resume = granted
        claim.stays = True
        self._enter_first(claim)
        claim.granted = not claim.waits
        return claim

    def let_go(self, claim: Claim) -> Done:
        """Give a granted claim of `acquire` back; as `on_release`."""
        self._leave(claim)
        return self._drain() if self._ready and not self._draining else []

    def _conflicts(self, db: int | None, keys: Sequence[bytes] | None, write: bool) -> bool:
        if keys is None:
            return any(_clash(claim, db, write) for claim in self.busy.values())
        if not keys:
            return False
        if self._wide and any(_clash(claim, db, write) for claim in self._wide):
            return True
        assert db is not None
        ends = self._ends.get(db)
        if ends:
            for key in keys:
                end = ends.get(key)
                if end is not None and (write or end[0].write):
                    return True
        return False

    def _enter(self, claim: Claim) -> None:
        db, keys, write = claim.db, claim.keys, claim.write
        waits = 0
        if keys is None:
            self._close(db, None, not write)
            for other in self.busy.values():
                if _clash(other, db, write):
                    other.blocks.append(claim)
                    waits += 1
            self._wide.append(claim)
        elif keys:
            assert db is not None
            for other in self._wide:
                if _clash(other, db, write):
                    other.blocks.append(claim)
                    waits += 1
            ends = self._ends.get(db)
            if ends is None:
                ends = self._ends[db] = {}
            close = self._close
            for key in keys:
                close(db, key, not write)
                end = ends.get(key)
                if end is None:
                    ends[key] = [claim]
                elif end[-1] is claim:
                    pass  # the command names the key twice
                elif write:
                    for other in end:
                        other.blocks.append(claim)
                    waits += len(end)
                    ends[key] = [claim]
                else:
                    if end[0].write:
                        end[0].blocks.append(claim)
                        waits += 1
                    end.append(claim)
        claim.waits = waits
        self.busy[claim.number] = claim

    def _enter_first(self, claim: Claim) -> None:
        """Let a claim for oneself alone wait for nobody but those that are granted, and those that
        went ahead before it.
        """
        db, keys = claim.db, claim.keys
        assert db is not None
        assert keys is not None
        wanted = frozenset(keys)
        for other in self.busy.values():
            if other.keys is None:
                overlaps = other.db is None or other.db == db
            else:
                overlaps = other.db == db and not wanted.isdisjoint(other.keys)
            if not overlaps:
                continue
            first, second = (claim, other) if _is_behind(other) else (other, claim)
            first.blocks.append(second)
            second.waits += 1
        ends = self._ends.setdefault(db, {})
        for key in keys:
            self._close(db, key, False)
            end = ends.get(key, [])
            if not (end and end[0].write and _is_behind(end[0])):
                ends[key] = [claim, *filter(_is_behind, end)]
        self.busy[claim.number] = claim

    def _leave(self, claim: Claim) -> None:
        del self.busy[claim.number]
        db, keys, write_only = claim.db, claim.keys, not claim.write
        if keys is None:
            self._wide.remove(claim)
            self._open(db, None, write_only)
        elif keys:
            assert db is not None
            ends, reopen = self._ends[db], self._open
            for key in keys:
                reopen(db, key, write_only)
                end = ends.get(key)  # None when the command names the key twice
                if end is None:
                    continue
                if len(end) == 1:
                    if end[0] is claim:
                        del ends[key]
                elif claim in end:  # else a writer came since, and stands for it
                    end.remove(claim)
        for other in claim.blocks:
            other.waits -= 1
            if not other.waits:
                heappush(self._ready, other)

    def _drain(self) -> Done:
        """Run what is ready, oldest first; an ordinary command leaves, which may make more
        ready.
        """
        assert not self._draining, "a resumed command released a ticket"
        self._draining = True
        done: Done = []
        ready = self._ready
        while ready:
            claim = heappop(ready)
            if claim.waits or claim.granted:
                continue  # one that went ahead stands before it, or it stood here twice
            claim.granted = True
            resume, part = claim.resume, claim.part
            if claim.stays:
                assert resume is not None
                resume()
            elif resume is not None:
                self._waiters -= 1
                self._leave(claim)
                resume()
            else:
                assert part is not None
                claim.part = None
                reply = self._execute(part, claim.number, claim.participants)
                if reply is not NOT_DONE:
                    done.append((claim.number, reply))
        self._draining = False
        return done


def _is_behind(claim: Claim) -> bool:
    """Tell whether a claim lets one that goes ahead pass."""
    return not (claim.granted or claim.stays)


def _clash(claim: Claim, db: int | None, write: bool) -> bool:
    """Tell whether a claim conflicts with another on some key of db, one of the two being wide."""
    return (
        (write or claim.write)
        and (db is None or claim.db is None or claim.db == db)
        and (claim.keys is None or len(claim.keys) > 0)
    )
