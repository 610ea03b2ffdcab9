"""Blocked commands: who waits for which key of this partition, and who is served next (no I/O).

A blocking command that its handler could not serve (`registry.Wait`) becomes a `Waiter` at the
owner of its keys, in the order in which the commands came. When a key of the awaited type has
changed, then, after the whole command that changed it and before any other, the waiters of that key
are tried again in that order: the handler runs as if the command came only now.

    WAITING --(a key is ready, no lock in the way)--> served, or WAITING again
       |  \\--(locked, or its client is another worker's)--> QUEUED --(locks granted)--> OFFERED
       |                                                      |                            |
       |<-------(no longer ready)-----------------------------+      home says TAKE: served
       +--> GONE: timeout, CLIENT UNBLOCK, the client or its worker has gone

An element must not be taken for a client that has gone already, which only its home knows. So for
a client of another worker the owner locks the keys and offers first; the home answers TAKE, or
CANCEL when the client has gone. The lock lasts one round trip; commands on those keys, and the next
waiter, queue behind it, as behind the lock of a spanning command. What only reads, and XREADGROUP,
whose entries stay pending and can be claimed, take nothing away and need no offer.

A waiter may wait for keys of other partitions too (`spread`). Then its home tries it, as a command
over partitions (`worker/spread_wait.py`), and it is in one of these states here:

    waits --a key is ready: READY to its home--> told --a try ends that has served it, or its
      ^                                           |      home says LEAVE--> GONE
      +-----a try ends that has not served it-----+

A try ends here when it lets the locks of its keys go, all of which it has held: so whatever the
home was told of before, the try has seen.

If it takes something away, those behind it in the queue of the key wait for their turn (`behind`).
The reply of the command that has made the key ready is held back until the outcome (`Hold`): so
who knows of the push finds that the element has gone, as if it had been popped at once.

What always holds:
- a waiter stands under each of its keys in `_by_key` unless it is GONE, and the gate is closed to
  fused writes once for each of these keys;
- a waiter has a claim exactly in QUEUED and OFFERED, and when GONE from QUEUED until it is granted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from shoal.proto.limits import HOLD_MS
from shoal.proto.replies import encode
from shoal.worker.keyspace import Gate, Store
from shoal.worker.participant import Claim
from shoal.worker.registry import Command, Wait

if TYPE_CHECKING:
    from shoal.worker.tracking import Reader

# Waiters that have gone stay in the heap of timeouts until it is mostly theirs.
_HEAP_SLACK: Final = 64


class State(Enum):
    """See the module's text."""

    WAITING = auto()
    QUEUED = auto()
    OFFERED = auto()
    GONE = auto()


class Waiter:
    """A blocked command.

    Attributes:
        argv: the command, its name first; what the handler is called with from now on.
        db, resp: of its client.
        keys: what it waits for; all_keys: what it needs locked when it runs.
        kind, on_nokey, timeout_reply: as in `Wait`.
        deadline_ms: monotonic, 0 for none; overdue: it has passed while the waiter was not WAITING.
        spread: it waits for keys of other partitions too, so it is not run here: its home is told
            by `offer`, and tries.
        told: the home has been told, and no try has ended here since.
        behind: key -> those who came later and have to wait for the outcome.
        holds: what is held back until the outcome.
        reader: its client, if that tracks (`worker/tracking.py`).
        answer: gives its client the reply.
        offer: asks its home; None if it can be answered at once.
    """

    __slots__ = (
        "all_keys",
        "answer",
        "argv",
        "behind",
        "claim",
        "command",
        "db",
        "deadline_ms",
        "holds",
        "keys",
        "kind",
        "offer",
        "on_nokey",
        "overdue",
        "reader",
        "resp",
        "spread",
        "state",
        "timeout_reply",
        "told",
    )

    def __init__(
        self,
        command: Command,
        argv: list[bytes],
        db: int,
        resp: int,
        wait: Wait,
        now_ms: int,
        answer: Callable[[bytes], None],
        offer: Callable[[], None] | None,
    ) -> None:
        """Describe a command that `wait` came of, at `now_ms` (monotonic)."""
        self.command = command
        self.all_keys = tuple([argv[at] for at in command.spec.key_positions(argv)])
        self.argv = argv if wait.argv is None else [*argv[: command.skip], *wait.argv]
        self.db, self.resp = db, resp
        self.keys = tuple(dict.fromkeys(wait.keys))
        self.kind = wait.kind
        self.on_nokey = wait.on_nokey
        self.timeout_reply = encode(wait.timeout_reply, resp)
        self.deadline_ms = now_ms + wait.timeout_ms if wait.timeout_ms else 0
        self.overdue = False
        self.answer = answer
        self.offer = offer
        self.state = State.WAITING
        self.claim: Claim | None = None
        self.reader: Reader | None = None
        self.spread = self.told = False
        self.behind: dict[tuple[int, bytes], list[Waiter]] = {}
        self.holds: list[Hold] = []


class Hold:
    """An answer that is held back until it is known what has become of spread waiters."""

    __slots__ = ("_answer", "_left", "deadline_ms")

    def __init__(self, answer: Callable[[], None], deadline_ms: int) -> None:
        """Hold back what `answer` does, until a monotonic time at most."""
        self._answer: Callable[[], None] | None = answer
        self._left = 1
        self.deadline_ms = deadline_ms

    @property
    def over(self) -> bool:
        """Whether the answer has been given."""
        return self._answer is None

    def wait_for(self, told: Sequence[Waiter]) -> None:
        """Wait for the next tries of these too."""
        self._left += len(told)
        for waiter in told:
            waiter.holds.append(self)

    def one_less(self) -> None:
        """One of those that are waited for is decided."""
        self._left -= 1
        if not self._left:
            self.end()

    def end(self) -> None:
        """Answer now, if that has not been done."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer()


class Locks(Protocol):
    """What waiters need of `Participant`."""

    @property
    def busy(self) -> object:
        """True when any lock is held or waited for."""

    def acquire(self, db: int, keys: Sequence[bytes], granted: Callable[[], None]) -> Claim:
        """Queue for the keys; `granted` is called later, unless the claim does not wait at all."""


class Blocking:
    """The blocked commands whose keys this partition owns."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        locks: Locks,
        let_go: Callable[[Claim], None],
        attempt: Callable[[Waiter], bytes | None],
    ) -> None:
        """Start without waiters.

        Args:
            store: it tells us of changes while anybody waits.
            gate: closed to fused writes of awaited keys.
            locks: this worker's.
            let_go: gives a claim of theirs back.
            attempt: runs a waiter's command; returns its reply, None if it still has to wait.
        """
        self._store = store
        self._gate = gate
        self._locks = locks
        self._let_go = let_go
        self._attempt = attempt
        self._by_key: dict[int, dict[bytes, dict[Waiter, None]]] = {}
        # Keys that have changed, with those of their waiters that are left to try, None for all.
        self._ready: dict[tuple[int, bytes], list[Waiter] | None] = {}
        self._serving = False
        self._holds: deque[Hold] = deque()  # by their time; some are over
        self._timeouts: list[tuple[int, int, Waiter]] = []
        self._numbers = count()
        self._timed = 0  # waiters with a deadline that are not GONE
        self.offers = 0  # OFFERED waiters

    @property
    def ready(self) -> bool:
        """Whether a key has changed that somebody waits for."""
        return bool(self._ready)

    def key_counts(self) -> tuple[int, int]:
        """Return how many keys are waited for, and how many of them by on_nokey waiters."""
        queues = [queue for keys in self._by_key.values() for queue in keys.values()]
        return len(queues), sum(any(one.on_nokey for one in queue) for queue in queues)

    def add(self, waiter: Waiter) -> None:
        """Let a command wait; one without keys waits for its time to pass."""
        if waiter.keys and not self._by_key:
            self._store.add_listener(self)
        for key in waiter.keys:
            queue = self._by_key.setdefault(waiter.db, {}).setdefault(key, {})
            queue[waiter] = None
            self._gate.await_key(waiter.db, key)
        if waiter.deadline_ms:
            self._timed += 1
            heappush(self._timeouts, (waiter.deadline_ms, next(self._numbers), waiter))

    # -- a key is ready ----------------------------------------------------------------------------

    def changed(self, db: int, key: bytes) -> None:
        """A key changed: those who wait for it are tried after the command."""
        keys = self._by_key.get(db)
        if keys and key in keys:
            self._ready[db, key] = None

    def flushing(self, db: int, other: int | None) -> None:
        """A database is emptied or exchanged: likewise for all its keys."""
        for key in self._by_key.get(db, ()):
            self._ready[db, key] = None

    def serve_ready(self) -> list[Waiter]:
        """Try the waiters of the keys that have changed; to be called after every command.

        Returns: those whose homes have to try them; what became of them, a `hold` learns.
        """
        if self._serving:
            return []  # a waiter's own command made it ready: the loop below goes on with it
        self._serving = True
        told: dict[Waiter, None] = {}
        while self._ready:
            where = next(iter(self._ready))
            db, key = where
            waiters = self._ready.pop(where)
            if waiters is None:
                waiters = list(self._by_key.get(db, {}).get(key, ()))
            for at, waiter in enumerate(waiters):
                if waiter.state is not State.WAITING or not self._is_ready(waiter, (key,)):
                    continue
                if not waiter.spread:
                    self._serve(waiter)
                    continue
                self._tell(waiter)
                told[waiter] = None
                if waiter.command.write:  # it may take away what those behind it wait for
                    waiter.behind[where] = waiters[at + 1 :]
                    break
        self._serving = False
        return list(told)

    def _tell(self, waiter: Waiter) -> None:
        if not waiter.told:
            waiter.told = True
            assert waiter.offer is not None
            waiter.offer()

    def _is_ready(self, waiter: Waiter, keys: Sequence[bytes]) -> bool:
        """Tell whether trying it again makes sense; only by this the offers stay few."""
        if waiter.on_nokey:
            return True
        view = self._store.view(waiter.db)
        return any(view.find(key).__class__ is waiter.kind for key in keys)

    def _serve(self, waiter: Waiter) -> None:
        if waiter.offer is None and not self._locks.busy:
            self._run(waiter)
            return
        waiter.state = State.QUEUED
        claim = self._locks.acquire(waiter.db, waiter.all_keys, lambda: self._granted(waiter))
        waiter.claim = claim
        if not claim.waits:
            self._granted(waiter)

    def _granted(self, waiter: Waiter) -> None:
        if waiter.state is State.GONE:
            self._release(waiter)
        elif not self._is_ready(waiter, waiter.keys):
            self._wait_again(waiter)
        elif waiter.offer is not None:
            waiter.state = State.OFFERED
            self.offers += 1
            waiter.offer()
        else:
            self._run(waiter)

    def take(self, waiter: Waiter) -> None:
        """Its home wants what was offered."""
        assert waiter.state is State.OFFERED, waiter.state
        self.offers -= 1
        self._run(waiter)
        self.serve_ready()

    def _run(self, waiter: Waiter) -> None:
        reply = self._attempt(waiter)
        if reply is None:
            self._wait_again(waiter)
            return
        self._forget(waiter)
        self._release(waiter)
        waiter.answer(reply)

    def _wait_again(self, waiter: Waiter) -> None:
        waiter.state = State.WAITING
        self._release(waiter)
        if waiter.overdue:
            self.end(waiter, waiter.timeout_reply)

    # -- those that wait for keys of other partitions too ------------------------------------------

    def hold(self, told: Sequence[Waiter], now_ms: int, answer: Callable[[], None]) -> None:
        """Call `answer` when it is known what has become of waiters that `serve_ready` returned,
        or when that takes too long; now_ms is monotonic.
        """
        hold = Hold(answer, now_ms + HOLD_MS)
        self._holds.append(hold)
        hold.wait_for(told)
        hold.one_less()

    def passed(self, waiter: Waiter) -> None:
        """A try of a spread waiter has ended, and the waiter waits on. Its keys have been locked
        until now: so it was told before the try had them, and the try has seen why.
        """
        waiter.told = False
        holds, waiter.holds = waiter.holds, []
        self._go_on_behind(waiter)
        self._decided(holds)

    def _go_on_behind(self, waiter: Waiter) -> None:
        behind, waiter.behind = waiter.behind, {}
        for where, waiters in behind.items():
            self._ready.setdefault(where, waiters)

    def _decided(self, holds: Sequence[Hold]) -> None:
        told = self.serve_ready()
        for hold in holds:
            hold.wait_for(told)
            hold.one_less()

    # -- the end -----------------------------------------------------------------------------------

    def end(self, waiter: Waiter, reply: bytes | None) -> None:
        """Let a waiter wait no longer: answer it, or (None) just forget it."""
        state = waiter.state
        if state is State.GONE:
            return
        self._forget(waiter)
        if state is State.OFFERED:
            self.offers -= 1
            self._release(waiter)
        if reply is not None:
            waiter.answer(reply)
        if waiter.spread:
            self._go_on_behind(waiter)
            self._decided(waiter.holds)

    def next_deadline_ms(self) -> int | None:
        """Return when `on_time` has something to do, monotonic ms; None for never."""
        timeouts, holds = self._timeouts, self._holds
        while timeouts and timeouts[0][2].state is State.GONE:
            heappop(timeouts)
        while holds and holds[0].over:
            holds.popleft()
        if holds:
            held_ms = holds[0].deadline_ms
            return min(held_ms, timeouts[0][0]) if timeouts else held_ms
        return timeouts[0][0] if timeouts else None

    def on_time(self, now_ms: int) -> None:
        """Answer the waiters whose time has passed; now_ms is monotonic."""
        timeouts = self._timeouts
        while timeouts and timeouts[0][0] <= now_ms:
            waiter = heappop(timeouts)[2]
            if waiter.state is State.WAITING:
                self.end(waiter, waiter.timeout_reply)
            else:
                waiter.overdue = True
        holds = self._holds
        while holds and (holds[0].over or holds[0].deadline_ms <= now_ms):
            holds.popleft().end()

    def _forget(self, waiter: Waiter) -> None:
        waiter.state = State.GONE
        for key in waiter.keys:
            keys = self._by_key[waiter.db]
            queue = keys[key]
            del queue[waiter]
            if not queue:
                del keys[key]
                self._ready.pop((waiter.db, key), None)
                if not keys:
                    del self._by_key[waiter.db]
            self._gate.forget_key(waiter.db, key)
        if waiter.keys and not self._by_key:
            self._store.remove_listener(self)
        if waiter.deadline_ms:
            self._timed -= 1
            if len(self._timeouts) > 2 * self._timed + _HEAP_SLACK:
                self._timeouts = [one for one in self._timeouts if one[2].state is not State.GONE]
                heapify(self._timeouts)

    def _release(self, waiter: Waiter) -> None:
        claim, waiter.claim = waiter.claim, None
        if claim is not None:
            self._let_go(claim)
