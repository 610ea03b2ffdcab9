"""The active expire cycle: keys, and fields of hashes, that nobody reads any more are deleted too,
and flushed memory is freed.

`Database.next_expire` tells for each slot a time before which nothing in it expires. A round goes
over the databases, collects the slots whose time has come, and visits one after the other: what has
expired is deleted through the keyspace's door (so it is logged, as DEL or HDEL), and the slot's
hint becomes exact. `run` makes steps of the round until its budget is spent and goes on from there
the next time; so a round is a generator, and each `yield` in it is a place where the loop may turn
to its clients. A step is one slot, or SLICE keys of a large one, and at most SLICE fields of their
hashes; between steps also a slice of the store's garbage is freed, so neither starves the other.

Between two steps anything may happen to the keys. A visit of a large slot begins with a list of its
keys; the hint is taken out, and put back at the end (or when the visit is broken off), together
with what `Keyspace` has hinted for new keys meanwhile. That is the one exception to the keyspace's
rule for hints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from shoal.worker.keyspace import Database, Keyspace, Store, Table, Value
from shoal.worker.values.hash import NEVER, Hash

# Keys looked at, and fields deleted, between two looks at the clock: 0.1 to 0.3 ms if all expire.
SLICE: Final = 128
# Entries of garbage freed in one step, some 0.01 ms. Each may be the last one in a block of memory
# that goes back to the system, which takes another 0.05 ms: of a table, freed in the order of
# hashes, nearly all of them do so in the last steps.
GARBAGE_STEPS: Final = 64
# Weight of one run in the running estimate of keys that are expired and still there, as in Redis.
STALE_WEIGHT: Final = 0.05


class ExpireCycle:
    """Deletes the keys of one partition whose expire time has passed, in slices.

    Attributes:
        time_cap_reached: how often the budget ended a run (expired_time_cap_reached_count of INFO).
        visiting: the large slot whose hint is taken out, None for none.
        stale_percent: running estimate of how many percent of the keys with an expire time have
            expired and are
            still there (expired_stale_perc of INFO).
    """

    def __init__(self, store: Store, clock_ns: Callable[[], int]) -> None:
        """Work on `store`; `clock_ns` is monotonic, in nanoseconds."""
        self._store = store
        self._clock_ns = clock_ns
        self._round: Iterator[None] | None = None
        self.visiting: int | None = None
        self._volatile = 0  # keys with an expire time that this run has looked at
        self._expired = 0  # and those of them that it deleted
        self.time_cap_reached = 0
        self.stale_percent = 0.0

    def run(self, budget_us: int) -> bool:
        """Delete what has expired by `store.now_ms`, and free garbage, until the budget is spent.

        Args:
            budget_us: monotonic microseconds; looked at after each step, so it is passed by one
                step at most.
        Returns: whether it stopped early: there is more to do, come back soon.
        """
        store, clock_ns = self._store, self._clock_ns
        deadline_ns = clock_ns() + budget_us * 1000
        self._volatile = self._expired = 0
        expiring = store.active_expire and not store.expire_paused
        if expiring and self._round is None:
            self._round = self._make_round()
        while True:
            if expiring:
                assert self._round is not None
                if next(self._round, _END) is _END:
                    self._round = None
                    expiring = False
            if store.garbage:
                store.free_some(GARBAGE_STEPS)
            elif not expiring:
                break
            if clock_ns() >= deadline_ns:
                self.time_cap_reached += 1
                break
        if self._volatile:
            percent = 100.0 * self._expired / self._volatile
            self.stale_percent += STALE_WEIGHT * (percent - self.stale_percent)
        return expiring or bool(store.garbage)

    def reset_stats(self) -> None:
        """Count from zero again (CONFIG RESETSTAT)."""
        self.time_cap_reached = 0
        self.stale_percent = 0.0

    def _make_round(self) -> Iterator[None]:
        """Visit every slot that is due, yielding after each step."""
        store = self._store
        for db in store.databases():
            hints = db.next_expire
            if not hints:
                continue
            now_ms = store.now_ms
            due = [slot for slot, at_ms in hints.items() if at_ms <= now_ms]
            yield
            for slot in due:
                # Looked at again: since the last step the slot may have been visited, flushed,
                # swapped or closed.
                if db.next_expire.get(slot, NEVER) <= store.now_ms and self._may_visit(db, slot):
                    table = db.keys_in(slot)
                    if len(table) > SLICE:
                        yield from self._visit_in_slices(db, slot, table)
                        yield
                        continue
                    # Again as long as a hash has more fields that are due than one step deletes.
                    while self._visit(db, slot, table):
                        yield
                        if db.tables[slot] is not table or not self._may_visit(db, slot):
                            break  # flushed, swapped or closed meanwhile
                    yield

    def _may_visit(self, db: Database, slot: int) -> bool:
        """Tell whether no lock is in the way; who only waits for a key is no reason to keep it."""
        return db.write[slot] is not None or not self._store.gate.is_locked(db.index, slot)

    def _visit(self, db: Database, slot: int, table: Table) -> bool:
        """Delete what has expired in a slot, make its hint exact, and tell whether more is due."""
        earliest = self._delete_expired(db, list(table.items()))
        if earliest == NEVER:
            del db.next_expire[slot]
        else:
            db.next_expire[slot] = earliest
        return earliest <= self._store.now_ms

    def _visit_in_slices(self, db: Database, slot: int, table: Table) -> Iterator[None]:
        hints = db.next_expire
        earliest = hints.pop(slot)
        self.visiting = slot
        later = NEVER
        keys = list(table)
        yield
        start = 0
        while start < len(keys):
            if db.tables[slot] is not table or not self._may_visit(db, slot):
                break  # flushed, swapped or closed meanwhile
            piece = [(key, table[key]) for key in keys[start : start + SLICE] if key in table]
            first = self._delete_expired(db, piece)
            if first > self._store.now_ms:
                later = min(later, first)
                start += SLICE
            yield
        else:
            earliest = later
        # If it was broken off, the old hint still holds. After a flush or a swap `hints` is garbage
        # or went along.
        earliest = min(earliest, hints.get(slot, NEVER))
        if earliest != NEVER:
            hints[slot] = earliest
        self.visiting = None

    def _delete_expired(self, db: Database, items: list[tuple[bytes, Value]]) -> int:
        """Delete those of the keys that have expired, and up to SLICE fields of the others.

        Returns: when the first of what is left expires; that has passed if a hash has more fields
            that are due.
        """
        earliest = NEVER
        expired, hashes = [], []
        now_ms = self._store.now_ms
        for item in items:
            value = item[1]
            if value.__class__ is not bytes:
                at_ms = value.expire_ms
                if at_ms:
                    self._volatile += 1
                    if at_ms <= now_ms:
                        expired.append(item)
                        continue
                    if at_ms < earliest:
                        earliest = at_ms
                if value.__class__ is Hash and value.times is not None:
                    hashes.append(item)
        self._delete(db, expired)
        if hashes:
            earliest = min(earliest, self._delete_fields(db, hashes))
        return earliest

    def _delete_fields(self, db: Database, hashes: list[tuple[bytes, Hash]]) -> int:
        """Delete up to SLICE fields that have expired; return when the first of the others does."""
        ks: Keyspace = self._store.view(db.index)
        earliest, left = NEVER, SLICE
        for key, value in hashes:
            due = value.due(ks.now_ms, left) if left else []
            if due:
                left -= len(due)
                ks.expire_fields(key, value, due)
                ks.remove_if_empty(key, value)
            earliest = min(earliest, value.earliest())
        return earliest

    def _delete(self, db: Database, expired: list[tuple[bytes, Value]]) -> None:
        if not expired:
            return
        self._expired += len(expired)
        ks: Keyspace = self._store.view(db.index)
        for key, _ in expired:
            ks.expire_now(key)


_END: Final = object()
