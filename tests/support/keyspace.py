"""A partition for tests, and what always holds of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from shoal.proto.errors import ReplyError
from shoal.proto.replies import Reply, encode
from shoal.proto.slots import SLOTS, key_slot
from shoal.worker.keyspace import Keyspace, Store, expire_of
from shoal.worker.registry import resolve
from shoal.worker.values import rebuild
from shoal.worker.values.hash import Hash
from shoal.worker.values.set import Set
from shoal.worker.values.stream import Stream
from shoal.worker.values.string import String
from support.raw import split_line

NOW_MS = 1_700_000_000_000


class Partition:
    """A store, and what a command on it leaves behind.

    Attributes:
        db: the database that commands run on.
        logged: (db, argv) that the last command logs, the DEL of an expired key included.
        events: the keyspace events of the last command, `0 g:del key`: database, kind, event, key.
    """

    def __init__(self, slots: range = range(SLOTS), databases: int = 16, seed: int = 1) -> None:
        self.store = Store(slots, databases, Random(seed))
        self.store.now_ms = NOW_MS
        self.store.log = lambda db, argv: self.logged.append((db, argv))
        self.store.notify = self._notify
        self.db = 0
        self.logged: list[tuple[int, tuple[bytes, ...]]] = []
        self.events: list[str] = []

    def _notify(self, db: int, kind: bytes, event: bytes, key: bytes) -> None:
        self.events.append(f"{db} {kind.decode()}:{event.decode()} {key.decode()}")

    @classmethod
    def after(
        cls,
        *lines: str,
        pass_ms: int = 0,
        slots: range = range(SLOTS),
        databases: int = 16,
        seed: int = 1,
    ) -> Partition:
        """Return a partition in which these lines have run, so long ago; none of them failed."""
        partition = cls(slots, databases, seed)
        for line in lines:
            reply = partition.run(split_line(line))
            assert reply[:1] != b"-", (line, reply)
        partition.store.now_ms += pass_ms
        return partition

    @property
    def ks(self) -> Keyspace:
        """The view of the current database."""
        return self.store.view(self.db)

    def run(self, argv: Sequence[bytes], resp: int = 2) -> bytes:
        """Run a command as the dispatcher does; return its encoded reply, or its error."""
        store = self.store
        self.logged, self.events, store.dirty, store.effects = [], [], 0, None
        try:
            command = resolve(list(argv))
            answer: Reply = command.handler(self.ks, *argv[command.skip :])
        except ReplyError as error:
            assert not store.dirty, "an error after a change"
            return error.encode()
        # PFCOUNT keeps its estimate in the string.
        assert command.write or command.name == b"pfcount" or not store.dirty, "a read that changes"
        if store.dirty:
            said = [tuple(argv)] if store.effects is None else store.effects
            self.logged += [(self.db, effect) for effect in said]
        return encode(answer, resp)

    def live(self) -> dict[tuple[int, bytes], tuple[bytes, int]]:
        """Return (db, key) -> (data, expire time or 0) of all strings that have not expired."""
        found = {}
        for at, value in self._live_values():
            data = value if value.__class__ is bytes else bytes(value.data)
            found[at] = (data, expire_of(value))
        return found

    def contents(self, *, encodings: bool = True) -> dict[tuple[int, bytes], object]:
        """Return (db, key) -> what has not expired, of every type, with its expire time and, if
        wanted, its encoding: the data of strings, of the others the commands that make them. The
        order of sets does not count.
        """
        found: dict[tuple[int, bytes], object] = {}
        for at, value in self._live_values():
            if isinstance(value, (bytes, String)):
                data = value if isinstance(value, bytes) else bytes(value.data)
                found[at] = (data, expire_of(value))
                continue
            value.check()
            assert len(value) or isinstance(value, Stream), at
            made = list(rebuild(at[1], value))
            if isinstance(value, Set):
                made = sorted((word,) for argv in made for word in argv)
            found[at] = (value.encoding if encodings else b"", made)
        return found

    def _live_values(self) -> Iterator[tuple[tuple[int, bytes], Any]]:
        for database in self.store.databases():
            view = self.store.view(database.index)
            for slot in database.slots:
                for key, value in view.live_keys(slot):
                    yield (database.index, key), value


def check_log(before: Sequence[str], line: str, **options: Any) -> None:
    """Assert that what a line logs leads to the same keys, where `before` has run (options: as of
    `Partition.after`).
    """
    first, second = (Partition.after(*before, **options) for _ in range(2))
    first.run(split_line(line))
    for db, argv in first.logged:
        second.db = db
        second.run(argv)
    assert first.contents() == second.contents()
    check_store(first.store)
    check_store(second.store)


def check_watchers(
    before: Sequence[str], line: str, *, encodings: bool = True, **options: Any
) -> None:
    """Assert that whoever watches keys hears of all that a line changes, as far as `contents` shows
    it; arguments as above.
    """
    partition = Partition.after(*before, **options)
    changed = set()
    partition.store.on_change = lambda db, key: changed.add((db, key))
    then = partition.contents(encodings=encodings)
    partition.run(split_line(line))
    now = partition.contents(encodings=encodings)
    assert {at for at in then | now if then.get(at) != now.get(at)} <= changed


def check_store(store: Store, *, in_visit: int | None = None) -> None:
    """Assert what the text of worker/keyspace.py says always holds.

    Args:
        in_visit: the slot that the expire cycle is in the middle of, whose hint it keeps.
    """
    for db in store.databases():
        assert db.tables.count(None) == SLOTS - len(store.slots), "tables of others' slots"
        size = volatile = subexpiry = 0
        for slot in db.slots:
            table = db.tables[slot]
            assert table is not None, f"slot {slot} has no table"
            assert db.read[slot] is table or db.read[slot] is None, f"slot {slot}: stale read table"
            assert db.write[slot] is table or db.write[slot] is None, f"slot {slot}: stale write"
            assert db.write[slot] is None or db.read[slot] is table, f"slot {slot}: writes only"
            size += len(table)
            for key, value in table.items():
                assert key_slot(key) == slot, key
                assert value.__class__ is not bytearray, key
                expire_ms = expire_of(value)
                times = [expire_ms] if expire_ms else []
                volatile += len(times)
                if value.__class__ is Hash:
                    value.check()
                    assert len(value), f"{key!r} is empty"
                    if value.times is not None:
                        subexpiry += 1
                        times.append(value.earliest())
                if times and slot != in_visit:
                    hint = db.next_expire.get(slot)
                    assert hint is not None, f"{key!r} is volatile, slot {slot} has no hint"
                    assert hint <= min(times), f"{key!r} expires before the hint of slot {slot}"
        assert db.size == size
        assert db.volatile == volatile
        assert db.subexpiry == subexpiry
        assert all(slot in db.slots for slot in db.next_expire)
