"""Commands over several partitions that run in steps: one ticket of them (no I/O).

A borrowing command has one step: its *executor* runs it, over its own keys and over values that
the other workers lend. A transaction has several, each with an executor of its own, and perhaps
lenders. All locks are held from before the first step until after the last, so nobody sees them:

    GRANTING --all are granted--> a step --RAN--> the next one ... --the last RAN--> CLOSING
                                  ^     |                                               |
                                  +-----+ its executor, or a lender, died     all have logged:
                                                                              the ticket ends

- What a step changes are its *effects*, commands for each partition. The executor has its own in
  memory at once; those for others are applied there before the next step.
- Until CLOSING nothing is in a log. The coordinator keeps the effects of all steps that have ended:
  so whoever comes back with an empty memory gets its own again, and a step that had not ended
  begins anew, as another *attempt*. Messages of an earlier attempt are dropped.
- A step that ends its executor each time it runs is not tried for ever: at the ticket's second such
  death it is given up. Its commands are answered with an error, as ones that have failed, and the
  ticket goes on: nothing of the step has left its executor, so there is nothing to take back, and
  what the other steps do counts, as that of the other commands of a transaction in which one fails.
- In CLOSING every worker with effects logs them under the ticket, with the last APPLY, and says
  DONE. A worker that dies then has them in its log, or gets them all again.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from shoal.proto import errors
from shoal.proto.limits import MAX_FRAME_BYTES, MAX_STEP_DEATHS
from shoal.proto.messages import APPLY, EXECUTE, LEND, LOAN, LOCK, MORE, RELOCK, RUN, Message

Outgoing = list[tuple[int, Message]]


class Step(NamedTuple):
    """A step, as the home plans it; on the wire it is a plain tuple.

    Attributes:
        executor: the worker that runs it.
        lenders: other workers that lend it values.
        blob: what is run, None for what the parts themselves say.
        commands: how many these are.
    """

    executor: int
    lenders: tuple[int, ...]
    blob: bytes | None
    commands: int


class Steps:
    """The state of one ticket that runs in steps. Methods return what is to be sent.

    Attributes:
        size_bytes: of the effects that are kept.
        ended: nothing is left to be done but to answer and to release.
        replies: of the steps that have ended; a list each. None if a worker said ABORT.
    """

    def __init__(self, number: int, parts: dict[int, bytes], steps: Iterable[Step]) -> None:
        """Begin ticket `number`, whose LOCKs are being sent."""
        self._number = number
        self._parts = parts
        self._steps = tuple(steps)
        self._at = 0
        self._granted: set[int] = set()
        self._attempt = RUN
        # Of a borrowing command the parts say what is lent: it is, with the grant, without LEND.
        self._begun = self._steps[0].blob is None
        self._executing = False
        self._lent: set[int] = set()
        self._told: dict[int, list[bytes]] = {}  # effects of the step under way
        self._chunks: dict[int, list[bytes]] = {}  # worker -> effects of those that have ended
        self._sent: dict[int, int] = {}  # worker -> how many of them it has, or is being sent
        self._applying: set[int] = set()  # who has not taken yet what it was sent last
        self._left: set[int] | None = None  # in CLOSING: who has not logged
        self._aborted = False
        self._deaths = 0  # of executors, while they ran a step
        self._reply_bytes = 0
        self.size_bytes = 0
        self.ended = False
        self.replies: list[object] | None = []

    # -- what workers say --------------------------------------------------------------------------

    def on_lent(
        self, worker: int, attempt: int, chunk: bytes, last: bool, down: AbstractSet[int]
    ) -> Outgoing:
        """Take a piece of what a worker lends; one of attempt 0 says that it is granted."""
        out: Outgoing = []
        executor = self._step.executor
        if attempt == self._attempt and self._begun and worker in self._step.lenders:
            if executor not in down:
                out.append((executor, (LOAN, self._number, attempt, worker, chunk, last)))
            if last:
                self._lent.add(worker)
        if attempt == RUN:  # already the first piece: when the executor dies, no last one comes
            self._granted.add(worker)
        return out + self.advance(down)

    def on_took(self, attempt: int, lender: int, down: AbstractSet[int]) -> Outgoing:
        """The executor has taken a piece that was not the last: its lender may send the next."""
        if attempt != self._attempt or lender in down:
            return []
        return [(lender, (MORE, self._number, attempt))]

    def on_abort(self, down: AbstractSet[int]) -> Outgoing:
        """A worker has found that the ticket must not run; it is granted there."""
        self._aborted = True
        return self.advance(down)

    def on_forget(self, down: AbstractSet[int]) -> Outgoing:
        """Nobody wants it any more: end it, unless the first step runs or has run."""
        if self._at or self._executing or self._left is not None:
            return []
        self._aborted = True
        return self.advance(down)

    def on_effect(self, worker: int, attempt: int, whose: int, chunk: bytes) -> Outgoing:
        """Keep a piece of what the step changes in the partition of `whose`; ask for the next."""
        if attempt != self._attempt:
            return []
        assert worker == self._step.executor
        self._told.setdefault(whose, []).append(chunk)
        self.size_bytes += len(chunk)
        return [(worker, (MORE, self._number, attempt))]

    def on_needs(
        self,
        worker: int,
        attempt: int,
        lenders: tuple[int, ...],
        blob: bytes,
        down: AbstractSet[int],
    ) -> Outgoing:
        """The step, which was taken back, needs more than it was lent: begin it anew with that. Its
        locks cover it: they are on everything.
        """
        if attempt != self._attempt:
            return []
        assert worker == self._step.executor
        steps = list(self._steps)
        steps[self._at] = self._step._replace(lenders=lenders, blob=blob)
        self._steps = tuple(steps)
        self._begin_again()
        return self.advance(down)

    def on_ran(
        self, worker: int, attempt: int, replies: list[object], down: AbstractSet[int]
    ) -> Outgoing:
        """The step has run, and all its effects have come."""
        if attempt != self._attempt:
            return []
        assert worker == self._step.executor
        self._reply_bytes += sum(map(_size_of, replies))
        if self._reply_bytes > MAX_FRAME_BYTES // 2:  # they have to fit into the ANSWER
            replies = [errors.reply_too_large().encode()] * len(replies)
        for whose, chunks in self._told.items():
            self._chunks.setdefault(whose, []).extend(chunks)
            self._sent.setdefault(whose, 0)
        if worker in self._chunks:
            self._sent[worker] = len(self._chunks[worker])
        self._told = {}
        self._end_step(replies)
        return self.advance(down)

    def _end_step(self, replies: list[object]) -> None:
        assert self.replies is not None
        self.replies += replies
        self._executing = self._begun = False
        self._lent.clear()
        self._attempt += 1
        self._at += 1
        if self._at == len(self._steps):
            self._left = set(self._chunks)
            self.ended = not self._left

    def on_apply_more(self, worker: int, down: AbstractSet[int]) -> Outgoing:
        """A worker has taken a piece of its effects that was not the last."""
        self._applying.discard(worker)
        return self.advance(down)

    def on_done(self, worker: int) -> None:
        """A worker has logged its effects."""
        assert self._left is not None
        self._left.remove(worker)
        self.ended = not self._left

    # -- what is next ------------------------------------------------------------------------------

    @property
    def _step(self) -> Step:
        return self._steps[min(self._at, len(self._steps) - 1)]

    def advance(self, down: AbstractSet[int]) -> Outgoing:
        """Send what can be sent now; `down` are the workers that nothing can be sent to."""
        if len(self._granted) < len(self._parts) or self.ended:
            return []
        if self._aborted:
            self.replies = None
            self.ended = True
            return []
        if self._left is not None:
            return self._close(down)
        out = self._catch_up(down)
        if any(self._sent[worker] < len(chunks) for worker, chunks in self._chunks.items()):
            return out
        if self._applying:
            return out
        step, number = self._step, self._number
        if not self._begun and down.isdisjoint((step.executor, *step.lenders)):
            self._begun = True
            message = (LEND, number, self._attempt, step.blob)
            out += [(lender, message) for lender in step.lenders]
        lent = self._begun and self._lent.issuperset(step.lenders)
        if lent and not self._executing and step.executor not in down:
            self._executing = True
            out.append((step.executor, (EXECUTE, number, self._attempt, step.blob)))
        return out

    def _catch_up(self, down: AbstractSet[int]) -> Outgoing:
        """Send each worker the next piece of what earlier steps have changed there."""
        out: Outgoing = []
        for worker, chunks in self._chunks.items():
            at = self._sent[worker]
            if at < len(chunks) and worker not in self._applying and worker not in down:
                self._sent[worker] = at + 1
                self._applying.add(worker)
                out.append((worker, (APPLY, self._number, (), chunks[at], False)))
        return out

    def _close(self, down: AbstractSet[int]) -> Outgoing:
        """Let each worker with effects have all of them, and log them with the last piece."""
        out: Outgoing = []
        everyone = tuple(self._chunks)
        assert self._left is not None
        for worker in everyone:
            if worker not in self._left or worker in self._applying or worker in down:
                continue
            chunks, at = self._chunks[worker], self._sent[worker]
            last = at + 1 >= len(chunks)
            chunk = chunks[at] if at < len(chunks) else b""
            self._sent[worker] = at + 1
            self._applying.add(worker)
            out.append((worker, (APPLY, self._number, everyone, chunk, last)))
        return out

    # -- deaths ------------------------------------------------------------------------------------

    def on_worker_ready(self, worker: int, *, logged: bool) -> Outgoing:
        """Let a worker that has died have its locks again; `advance` has to follow.

        Args:
            logged: its log holds this ticket's effects.
        """
        number, blob, everyone = self._number, self._parts[worker], tuple(self._parts)
        relock = (worker, (LOCK, number, blob, everyone, RELOCK))
        self._applying.discard(worker)
        if self._left is not None:
            if logged:  # its DONE was lost
                self._left.discard(worker)
                self.ended = not self._left
                return [] if self.ended else [relock]
            if worker in self._left:
                self._sent[worker] = 0
            return [relock]
        if worker in self._sent:
            self._sent[worker] = 0
        step = self._step
        lost = worker == step.executor or (worker in step.lenders and worker not in self._lent)
        if self._begun and lost:
            self._deaths += self._executing
            self._forget_told()
            if self._executing and self._deaths >= MAX_STEP_DEATHS:
                self._end_step([errors.command_ended_its_worker().encode()] * step.commands)
                if self.ended:
                    return []
            else:
                self._begin_again()
        if worker in self._granted:
            return [relock]
        return [(worker, (LOCK, number, blob, everyone, RUN))]

    def _begin_again(self) -> None:
        """Let the step under way be begun anew: what was lent, or run, is lost."""
        self._attempt += 1
        self._begun = self._executing = False
        self._lent.clear()
        self._forget_told()

    def _forget_told(self) -> None:
        self.size_bytes -= sum(len(chunk) for chunks in self._told.values() for chunk in chunks)
        self._told = {}


def _size_of(reply: object) -> int:
    """Return the bytes of a reply, or of the items of one."""
    if isinstance(reply, list):
        return sum(map(len, reply))
    assert isinstance(reply, bytes)
    return len(reply)
