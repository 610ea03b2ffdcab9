"""The keys of one partition, and the one door through which they change.

`Store` is the partition: its databases, the hooks that hang on a change, and what the running
command wants logged. `Database` is one numbered database: `db -> slot -> dict of key -> value`.
`Keyspace` is the view of one database that command handlers get.

A value is a plain `bytes` (a string that never expires) or an object with an `expire_ms` attribute:
`values.string.String`, or the class of another Redis type. So `value.__class__ is bytes` answers
"present, a string, cannot be expired" in one test.

What always holds, for every database:
- `tables[slot]` is a dict exactly for the slots of this partition, else None.
- `read[slot]` and `write[slot]` are that same dict, or None while the slot is closed to the fused
  commands of `worker/hot.py` (a lock, a waiting command; later a pending snapshot). Closed is "not
  mine" to them, so an idle server pays nothing for the test.
- `size` is the number of keys, `volatile` the number of those with an expire time, `subexpiry` the
  number of hashes with fields that have one; `next_expire[slot]` is at most the earliest expire
  time in the slot, of keys and of fields, for every slot that has one.
"""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

from shoal.proto import errors
from shoal.proto.slots import SLOTS, key_slot
from shoal.worker.values import is_big
from shoal.worker.values.hash import Hash
from shoal.worker.values.string import String

if TYPE_CHECKING:
    from shoal.worker.trial import Trial

# bytes, String, or an object with expire_ms; mypy has no closed union for what is yet to come
Value = Any
Table = dict[bytes, Value]

Transfer = Callable[
    [bytes, bytes, int, Sequence[Sequence[bytes]]], tuple[list[bytes], errors.ReplyError | None]
]

NO_EXPIRE: Final = -1
NO_KEY: Final = -2


def expire_of(value: Value) -> int:
    """Return the expire time of a stored value in ms since the epoch, 0 for never."""
    return 0 if value.__class__ is bytes else int(value.expire_ms)


class Database:
    """One numbered database of a partition; see the module's text for what its tables hold."""

    __slots__ = (
        "index",
        "next_expire",
        "read",
        "size",
        "slots",
        "subexpiry",
        "tables",
        "volatile",
        "write",
    )

    def __init__(self, index: int, slots: range) -> None:
        """Make an empty database that owns `slots`."""
        self.index = index
        self.slots = slots
        self.tables: list[Table | None] = [None] * SLOTS
        for slot in slots:
            self.tables[slot] = {}
        self.read: list[Table | None] = list(self.tables)
        self.write: list[Table | None] = list(self.tables)
        self.size = 0
        self.volatile = 0
        self.subexpiry = 0
        self.next_expire: dict[int, int] = {}

    def make_whole(self) -> None:
        """Have a table for the slots of other partitions too, for a command that has borrowed what
        is in them (`worker/borrowing.py`), until `make_partial`.
        """
        self.slots = range(SLOTS)
        self.tables[:] = [{} if table is None else table for table in self.tables]

    def make_partial(self, own: range) -> None:
        """Have only the partition's own slots again, and what is in them."""
        self.slots = own
        for slot in (*range(own.start), *range(own.stop, SLOTS)):
            if self.tables[slot] is not None:
                self.drop_table(slot)

    def contents(self) -> tuple[Any, ...]:
        """Return all that is in it, for `Store.refill`."""
        counts = self.size, self.volatile, self.subexpiry
        return list(self.tables), counts, dict(self.next_expire)

    def drop_table(self, slot: int) -> None:
        """Take the table of a slot away that is not of this partition, and what is in it."""
        table = self.keys_in(slot)
        self.tables[slot] = None
        self.next_expire.pop(slot, None)
        self.size -= len(table)
        for value in table.values():
            self.volatile -= expire_of(value) != 0
            self.subexpiry -= value.__class__ is Hash and value.times is not None

    def keys_in(self, slot: int) -> Table:
        """Return the table of an owned slot."""
        table = self.tables[slot]
        assert table is not None, f"slot {slot} is not in this partition"
        return table

    def __iter__(self) -> Iterator[tuple[bytes, Value]]:
        """Iterate over all keys and stored values, slot by slot; nothing may change meanwhile."""
        for slot in self.slots:
            yield from self.keys_in(slot).items()


class Gate:
    """Closes slots to the fused commands while something stands between them and the keys.

    Every `close` is paired with one `open` of the same arguments. A whole database (key None) or
    all databases (db None) close by name and are counted apart from the slots. A key that a blocked
    command waits for closes its slot to writes too (`await_key`), but that is no lock.
    """

    def __init__(self, store: Store) -> None:
        """Guard the databases of `store`."""
        self._store = store
        # db -> slot -> how often it is closed to reads, how often to writes, how often awaited
        self._slots: dict[int, dict[int, list[int]]] = {}
        self._wide: dict[int | None, list[int]] = {}  # db or None for all -> the same

    def close(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        """Close one key's slot, a database, or everything, for writes only or for reads too."""
        if key is None:
            self._count_wide(db, write_only, 1)
            return
        assert db is not None
        slots = self._slots.get(db)
        if slots is None:
            slots = self._slots[db] = {}
        slot = key_slot(key)
        counts = slots.get(slot)
        if counts is None:
            counts = slots[slot] = [0, 0, 0]
            self._store.database(db).write[slot] = None
        counts[1] += 1
        if not write_only:
            counts[0] += 1
            self._store.database(db).read[slot] = None

    def await_key(self, db: int, key: bytes) -> None:
        """Close a key's slot to fused writes, which would wake nobody."""
        self.close(db, key, True)
        self._slots[db][key_slot(key)][2] += 1

    def forget_key(self, db: int, key: bytes) -> None:
        """Undo one `await_key`."""
        self._slots[db][key_slot(key)][2] -= 1
        self.open(db, key, True)

    def is_locked(self, db: int, slot: int) -> bool:
        """Tell whether a lock closes the slot to writes."""
        if self._wide_counts(db)[1]:
            return True
        counts = self._slots.get(db, {}).get(slot)
        return counts is not None and counts[1] > counts[2]

    def open(self, db: int | None, key: bytes | None, write_only: bool) -> None:
        """Undo one `close` with the same arguments."""
        if key is None:
            self._count_wide(db, write_only, -1)
            return
        assert db is not None
        slots = self._slots[db]
        slot = key_slot(key)
        counts = slots[slot]
        counts[1] -= 1
        if not write_only:
            counts[0] -= 1
        if not counts[1]:
            del slots[slot]
        if not counts[0]:
            self._refresh(self._store.database(db), slot)

    def _count_wide(self, db: int | None, write_only: bool, step: int) -> None:
        wide = self._wide.setdefault(db, [0, 0])
        wide[0] += 0 if write_only else step
        wide[1] += step
        if wide == [0, 0]:
            del self._wide[db]
        for database in self._store.databases() if db is None else [self._store.database(db)]:
            self.refresh(database)

    def refresh(self, database: Database) -> None:
        """Set the fused commands' tables of a database anew, after it was made or its tables
        changed.
        """
        reads, writes = self._wide_counts(database.index)
        shut: list[Table | None] = [None] * SLOTS
        database.read[:] = shut if reads else database.tables
        database.write[:] = shut if writes else database.tables
        for slot in self._slots.get(database.index, ()):
            self._refresh(database, slot)

    def _wide_counts(self, db: int) -> tuple[int, int]:
        if not self._wide:
            return 0, 0
        one, every = self._wide.get(db, [0, 0]), self._wide.get(None, [0, 0])
        return one[0] + every[0], one[1] + every[1]

    def _refresh(self, database: Database, slot: int) -> None:
        reads, writes = self._wide_counts(database.index) if self._wide else (0, 0)
        slots = self._slots.get(database.index)
        counts = slots.get(slot) if slots else None
        table = database.tables[slot]
        database.read[slot] = None if reads or (counts and counts[0]) else table
        database.write[slot] = None if writes or counts else table


class Lent:
    """What a command in steps may use here (`worker/borrowing.py`): the values of other workers
    that are here meanwhile, and what of our own is locked for it.

    SWAPDB exchanges databases while the command runs: the names in here are those of the beginning.

    Attributes:
        keys: (database, key) of what it has named.
        everything: it has locked all partitions, so all that is our own is its own.
        named: databases of which every key is here, those of other partitions perhaps by a
            stand-in.
        emptied: databases that it has emptied: none of their keys needs lending any more.
        is_whole: some database was made whole.
    """

    __slots__ = ("_origin", "emptied", "everything", "is_whole", "keys", "named")

    def __init__(
        self, keys: set[tuple[int, bytes]], *, everything: bool = False, named: Sequence[int] = ()
    ) -> None:
        """Lend these keys."""
        self.keys = keys
        self.everything = everything
        self.named = frozenset(named)
        self.is_whole = bool(named)
        self.emptied: set[int] = set()
        self._origin: dict[int, int] = {}

    def origin(self, db: int) -> int:
        """Return the number that a database had at the beginning."""
        return self._origin.get(db, db)

    def swap(self, first: int, second: int) -> None:
        """SWAPDB."""
        self._origin[first], self._origin[second] = self.origin(second), self.origin(first)

    def has(self, db: int, key: bytes) -> bool:
        """Tell whether the value of a key is here, and locked."""
        db = self.origin(db)
        return (db, key) in self.keys or db in self.emptied

    def has_names(self, db: int) -> bool:
        """Tell whether all keys of a database are here, at least by stand-ins."""
        db = self.origin(db)
        return db in self.named or db in self.emptied


class Listener(Protocol):
    """Who is told of changes: blocked commands, watched keys."""

    def changed(self, db: int, key: bytes) -> None:
        """A key changed, came or went."""

    def flushing(self, db: int, other: int | None) -> None:
        """A database is about to be emptied, or to get the contents of `other`."""


class Store:
    """One partition: its databases, and what is around the command that runs.

    Attributes:
        now_ms: wall clock of this turn, ms since the epoch; set by the loop once per turn.
        dirty: changes made by the running command; the dispatcher resets it.
        effects: what to log instead of the command itself; None means the command as it came.
        log: called as `log(db, argv)` for an effect that precedes the running command (an expired
            key's DEL), None when nothing is logged.
        notify: called as `notify(db, kind, event, key)`; kind is a letter of
            notify-keyspace-events.
        on_change: called as `on_change(db, key)` when a key changed, for those who listen
            (`add_listener`); None when nobody does.
        transfer: the connection of MIGRATE, `worker.migrate.transfer`.
        transactions: runs what homes send of a MULTI.
        tracking: who caches what, `worker.tracking.Tracking`; None before the worker serves.
        on_flush: called as `on_flush(db, other)` before a database is emptied, or gets the contents
            of `other`; None when nobody listens.
    """

    def __init__(self, slots: range, databases: int, random: Random) -> None:
        """Make an empty partition that owns `slots`, with `databases` numbered databases."""
        self.slots = slots
        self.count = databases
        self.random = random
        self._dbs: dict[int, Database] = {}
        self._views: dict[int, Keyspace] = {}
        self.gate = Gate(self)
        self.now_ms = 0
        self.dirty = 0
        self.effects: list[tuple[bytes, ...]] | None = None
        self.log: Callable[[int, tuple[bytes, ...]], None] | None = None
        self.notify: Callable[[int, bytes, bytes, bytes], None] | None = None
        self.on_change: Callable[[int, bytes], None] | None = None
        self.on_flush: Callable[[int, int | None], None] | None = None
        self._listeners: tuple[Listener, ...] = ()
        self.transfer: Transfer
        self.borrowed: Lent | None = None  # of the command in steps that runs
        self.trial: Trial | None = None  # the run that may be taken back (`worker/trial.py`)
        self.transactions: Any  # worker.multi.Transactions
        self.tracking: Any = None
        # worker.scripting.service.Scripting, made at its first use
        self.scripting: Any = None
        self.active_expire = True
        self.expire_paused = False  # CLIENT PAUSE: what has expired is missing, but stays for now
        self.hits = 0
        self.misses = 0
        self.expired_keys = 0
        self.expired_subkeys = 0  # fields of hashes
        self.dirty_total = 0  # changes since start: rdb_changes_since_last_save of INFO
        self.garbage: deque[Any] = deque()  # emptied tables and big values, freed in slices

    def database(self, index: int) -> Database:
        """Return a database, made at its first use. Raises: ReplyError outside the configured
        count.
        """
        db = self._dbs.get(index)
        if db is None:
            if not 0 <= index < self.count:
                raise errors.db_index_out_of_range()
            db = self._dbs[index] = Database(index, self.slots)
            self.gate.refresh(db)
        return db

    def has_database(self, index: int) -> bool:
        """Tell whether a database is in use."""
        return index in self._dbs

    def databases(self) -> list[Database]:
        """Return the databases in use, by index."""
        return [self._dbs[index] for index in sorted(self._dbs)]

    def view(self, index: int) -> Keyspace:
        """Return the handlers' view of a database."""
        view = self._views.get(index)
        if view is None:
            view = self._views[index] = Keyspace(self, self.database(index))
        return view

    def swap(self, first: int, second: int) -> None:
        """Exchange the contents of two databases (SWAPDB); views and fused tables stay valid."""
        for one, other in ((first, second), (second, first)) if first != second else ():
            if self.on_flush is not None:  # the first call may end the listening
                self.on_flush(one, other)
        if self.trial is not None:
            self.trial.keep_swap(first, second)
        self.exchange(first, second)

    def exchange(self, first: int, second: int) -> None:
        """The same, and tell nobody."""
        a, b = self.database(first), self.database(second)
        a.tables[:], b.tables[:] = b.tables[:], a.tables[:]
        a.size, b.size = b.size, a.size
        a.volatile, b.volatile = b.volatile, a.volatile
        a.subexpiry, b.subexpiry = b.subexpiry, a.subexpiry
        a.next_expire, b.next_expire = b.next_expire, a.next_expire
        self.gate.refresh(a)
        self.gate.refresh(b)

    def flush(self, index: int) -> int:
        """Empty a database and return the number of keys removed; memory is freed in slices
        later.
        """
        db = self.database(index)
        if self.on_flush is not None:
            self.on_flush(index, None)
        if self.trial is not None:
            self.trial.keep_database(index)
        removed, db.size, db.volatile, db.subexpiry = db.size, 0, 0, 0
        db.next_expire = {}
        for slot in db.slots:
            table = db.keys_in(slot)
            if table:
                self.garbage.append(table)
                db.tables[slot] = {}
        self.gate.refresh(db)
        return removed

    def refill(self, db: Database, contents: tuple[Any, ...]) -> None:
        """Let a database have again what it had (`Database.contents`)."""
        db.tables[:], (db.size, db.volatile, db.subexpiry), db.next_expire = contents
        self.gate.refresh(db)

    def figures(self) -> tuple[int, ...]:
        """Return the counters of what commands do here."""
        return (
            self.hits,
            self.misses,
            self.expired_keys,
            self.expired_subkeys,
            self.dirty_total,
        )

    def set_figures(self, figures: tuple[int, ...]) -> None:
        """Let them be as they were."""
        (
            self.hits,
            self.misses,
            self.expired_keys,
            self.expired_subkeys,
            self.dirty_total,
        ) = figures

    def flushed(self) -> None:
        """Say that one or all databases were emptied, or loaded anew, to those who cache keys."""
        if self.tracking is not None:
            self.tracking.flushed()

    def has(self, db: int, key: bytes) -> bool:
        """Tell whether a key of this partition is stored, expired or not."""
        return key in self.database(db).keys_in(key_slot(key))

    def is_expired(self, db: int, key: bytes) -> bool:
        """Tell whether a key of this partition is stored whose time has passed; it stays."""
        value = self.database(db).keys_in(key_slot(key)).get(key)
        return value is not None and 0 < expire_of(value) <= self.now_ms

    def add_listener(self, listener: Listener) -> None:
        """Tell `listener` of every change from now on."""
        assert listener not in self._listeners
        self._listeners = (*self._listeners, listener)
        self.bind_listeners()

    def remove_listener(self, listener: Listener) -> None:
        """Tell `listener` of no change any more, if it was told."""
        self._listeners = tuple([one for one in self._listeners if one is not listener])
        self.bind_listeners()

    def bind_listeners(self) -> None:
        """Nobody costs nothing, one is called without a step in between; during a trial it is told
        in their place.
        """
        listeners = self._listeners
        if not listeners:
            self.on_change = self.on_flush = None
        elif self.trial is not None:
            self.on_change, self.on_flush = self.trial.changed, self.trial.flushing
        elif len(listeners) == 1:
            self.on_change, self.on_flush = listeners[0].changed, listeners[0].flushing
        else:
            self.on_change, self.on_flush = self._tell_change, self._tell_flush

    def _tell_change(self, db: int, key: bytes) -> None:
        for listener in self._listeners:
            listener.changed(db, key)

    def _tell_flush(self, db: int, other: int | None) -> None:
        for listener in self._listeners:
            listener.flushing(db, other)

    def free_some(self, steps: int) -> None:
        """Free up to about `steps` entries of what flushes and deletions left behind: tables of
        slots, and values that are big. Nobody else may hold them.
        """
        garbage = self.garbage
        while garbage and steps > 0:
            item = garbage[0]
            if not isinstance(item, dict):
                steps -= item.free(steps) + 1
                if not len(item):
                    garbage.popleft()
                continue
            while item and steps > 0:
                _, value = item.popitem()
                steps -= 1
                if is_big(value):
                    garbage.append(value)
            if not item:
                garbage.popleft()


class Keyspace:
    """One database, as command handlers see it: the only way they read and change keys.

    A key is looked up through `lookup_read` or `lookup_write`, which delete it first if it has
    expired and then check its type. A change goes through `set`, `update`, `delete`, `set_expire`
    or `persist`; a value object changed in place is announced with `changed`. Each change counts as
    dirty, and a command that was dirty is logged as it came, unless it said something else with
    `propagate`.
    """

    __slots__ = ("_db", "store")

    def __init__(self, store: Store, db: Database) -> None:
        """Look at `db` of `store`."""
        self.store = store
        self._db = db

    # -- facts -------------------------------------------------------------------------------------

    @property
    def db(self) -> Database:
        """The database itself, for iteration and counts."""
        return self._db

    @property
    def now_ms(self) -> int:
        """Wall clock of this turn, ms since the epoch."""
        return self.store.now_ms

    @property
    def random(self) -> Random:
        """The partition's source of randomness."""
        return self.store.random

    def other(self, index: int) -> Keyspace:
        """Return the view of another database. Raises: ReplyError if there is no such database."""
        return self.store.view(index)

    # -- reading -----------------------------------------------------------------------------------

    def find(self, key: bytes) -> Value | None:
        """Return what is stored at key (bytes, or an object with expire_ms), None if missing or
        expired.
        """
        table = self._db.tables[crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)]
        assert table is not None, f"{key!r} is not in this partition"
        value = table.get(key)
        if value is None or value.__class__ is bytes:
            return value
        if value.expire_ms and value.expire_ms <= self.store.now_ms:
            if not self.store.expire_paused:
                self.expire_now(key)
            return None
        return value

    def lookup_read(self, key: bytes, kind: type | None = None) -> Any:
        """Return the value at key for reading, None if missing; counts a keyspace hit or miss.

        Args:
            key: the key.
            kind: the class it must have, `bytes` for strings; None accepts every type.
        Returns: for a string its bytes (or the bytearray that holds them: copy before keeping),
            else the object.
        Raises: ReplyError WRONGTYPE.
        """
        value = self.find(key)
        if value is None:
            self.store.misses += 1
            self.notify(b"m", b"keymiss", key)
            return None
        self.store.hits += 1
        return value if value.__class__ is kind else _typed(value, kind)

    def lookup_write(self, key: bytes, kind: type | None = None) -> Any:
        """Return the value at key for changing it, None if missing; as `lookup_read`, without the
        counts.
        """
        value = self.find(key)
        return value if value is None or value.__class__ is kind else _typed(value, kind)

    def lookup_buffer(self, key: bytes, kind: type[bytearray] = bytearray) -> Any:
        """Return the string at key as a buffer to change in place, None if missing.

        What holds the string becomes a `kind` of its own, if it is none yet; that is no change, and
        shows in OBJECT ENCODING alone. A change of the buffer is announced with `changed`.

        Raises: ReplyError WRONGTYPE, and what `kind` raises for a string that it cannot hold.
        """
        table = self._db.tables[crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)]
        assert table is not None, f"{key!r} is not in this partition"
        value = table.get(key)
        if value.__class__ is String and value.data.__class__ is kind and not value.expire_ms:
            return value.data  # the usual case first: SETBIT and PFADD live on it
        value = self.find(key)
        if value is None:
            return None
        if value.__class__ is bytes:
            buffer: bytes | bytearray = kind(value)
            table[key] = String(buffer)
            return buffer
        if value.__class__ is not String:
            raise errors.wrong_type()
        buffer = value.data
        if buffer.__class__ is not kind:
            buffer = value.data = kind(buffer)
        return buffer

    @property
    def is_whole(self) -> bool:
        """Whether this partition has every slot: then it owns every key."""
        return len(self.store.slots) == SLOTS

    def owns(self, key: bytes) -> bool:
        """Tell whether key is here; only a key that routing could not see (one that SORT makes of a
        pattern) may not.
        """
        store, index, slot = self.store, self._db.index, key_slot(key)
        lent = store.borrowed
        if lent is not None and lent.has(index, key):
            return True
        if slot not in store.slots:
            return False
        if lent is None and store.trial is None:
            return True
        # It was not waited for: a command over partitions may hold it.
        return (lent is not None and lent.everything) or not store.gate.is_locked(index, slot)

    def stored(self, key: bytes) -> Value | None:
        """Return what is stored at key, expired or not, None if nothing is."""
        return self._db.keys_in(key_slot(key)).get(key)

    def exists(self, key: bytes) -> bool:
        """Tell whether key is there and not expired."""
        return self.find(key) is not None

    def expire_at(self, key: bytes) -> int:
        """Return key's expire time in ms since the epoch, NO_EXPIRE (-1), or NO_KEY (-2)."""
        value = self.find(key)
        if value is None:
            return NO_KEY
        return expire_of(value) or NO_EXPIRE

    # -- changing ----------------------------------------------------------------------------------

    def set(self, key: bytes, value: Value, expire_ms: int = 0) -> None:
        """Store a value, replacing what was there and its expire time.

        Args:
            key: the key.
            value: `bytes` or `bytearray` for a string, else an object of a value class.
            expire_ms: ms since the epoch, 0 for never.
        """
        db = self._db
        slot = key_slot(key)
        table = db.keys_in(slot)
        old = table.get(key)
        if old is None:
            db.size += 1
            self.notify(b"n", b"new", key)
        elif old.__class__ is not bytes:
            if old.expire_ms:
                db.volatile -= 1
            if old.__class__ is Hash and old.times is not None:
                db.subexpiry -= 1
            if old is not value and is_big(old):
                self.store.garbage.append(old)
        # Only now: the old value may be this very object, about to get another expire time.
        if value.__class__ is bytes:
            if expire_ms:
                value = String(value, expire_ms)
        elif value.__class__ is bytearray:
            value = String(value, expire_ms)
        else:
            value.expire_ms = expire_ms
            if value.__class__ is Hash and value.times is not None:
                db.subexpiry += 1
                self._hint(slot, value.earliest())
        table[key] = value
        if expire_ms:
            db.volatile += 1
            self._hint(slot, expire_ms)
        self.changed(key)

    def update(self, key: bytes, data: bytes | bytearray) -> None:
        """Replace the string at key, which exists or not, and keep its expire time."""
        value = self._db.keys_in(key_slot(key)).get(key)
        self.set(key, data, 0 if value is None else expire_of(value))

    def delete(self, key: bytes) -> bool:
        """Remove key; tell whether it was there. An expired key counts as missing (and is
        removed). A big value is freed in slices.
        """
        value = self.take(key)
        if value is None:
            return False
        if is_big(value):
            self.store.garbage.append(value)
        return True

    def take(self, key: bytes) -> Value | None:
        """Remove key and return what was stored there, None if it was missing (or expired): it may
        be stored elsewhere.
        """
        value = self.find(key)
        if value is not None:
            self._remove(key)
            self.changed(key)
        return value

    def store_result(self, key: bytes, value: Value | None) -> Value | None:
        """Put a computed value at key, or nothing (None): what the STORE commands do.

        Returns: what was there before, which is about to be freed: to look at its type, no more.
        """
        old = self.find(key)
        if value is None:
            if old is not None:
                self.delete(key)
        else:
            self.set(key, value)
        return old

    def set_expire(self, key: bytes, expire_ms: int) -> None:
        """Give an existing key an expire time, ms since the epoch (in the future)."""
        db = self._db
        slot = key_slot(key)
        table = db.keys_in(slot)
        value = table[key]
        if value.__class__ is bytes:
            table[key] = String(value, expire_ms)
            db.volatile += 1
        else:
            if not value.expire_ms:
                db.volatile += 1
            value.expire_ms = expire_ms
        self._hint(slot, expire_ms)
        self.changed(key)

    def persist(self, key: bytes) -> bool:
        """Remove key's expire time; tell whether it had one."""
        value = self.find(key)
        if value is None or not expire_of(value):
            return False
        self._db.volatile -= 1
        if isinstance(value, String) and isinstance(value.data, bytes):
            self._db.keys_in(key_slot(key))[key] = value.data
        else:
            value.expire_ms = 0
        self.changed(key)
        return True

    def put_back(self, key: bytes, value: Value | None) -> None:
        """Let key be as it was, None for missing, as if nothing had happened: nobody is told."""
        db = self._db
        slot = key_slot(key)
        table = db.keys_in(slot)
        if value is None:
            if key in table:
                self._remove(key)
            return
        old = table.get(key)
        if old is None:
            db.size += 1
        elif old.__class__ is not bytes:  # its place in the table is kept
            self._uncount(old)
        table[key] = value
        expire_ms = expire_of(value)
        if expire_ms:
            db.volatile += 1
            self._hint(slot, expire_ms)
        if value.__class__ is Hash and value.times is not None:
            db.subexpiry += 1
            self._hint(slot, value.earliest())

    def changed(self, key: bytes) -> None:
        """Say that key's value changed in place; `set`, `delete` and the like say it themselves."""
        store = self.store
        store.dirty += 1
        if store.on_change is not None:
            store.on_change(self._db.index, key)

    def touched(self, key: bytes) -> None:
        """Say that key is changed to those who watch it, as in Redis, though nothing is to be
        logged.
        """
        if self.store.on_change is not None:
            self.store.on_change(self._db.index, key)

    def removed(self, key: bytes, value: Value, kind: bytes, event: bytes) -> None:
        """Say that elements of the collection at key were removed; it goes with the last of them.

        Args: value: the collection, as it is now; kind, event: of the removal, as for `notify`.
        """
        self.notify(kind, event, key)
        if len(value):
            self.changed(key)
        else:
            self.delete(key)
            self.notify(b"g", b"del", key)

    def changed_inside(self, key: bytes) -> None:
        """Say that something in key's value changed which is logged, but is no change to those who
        watch the key: a stream's consumer groups, as in Redis.
        """
        self.store.dirty += 1

    def expire_now(self, key: bytes) -> None:
        """Remove a key whose expire time has passed, and log that as a DEL."""
        store = self.store
        if store.trial is not None:
            store.trial.keep(self._db.index, key, intact=True)
        value = self._remove(key)
        if is_big(value):
            store.garbage.append(value)
        store.expired_keys += 1
        if store.log is not None:
            store.log(self._db.index, (b"DEL", key))
        if store.on_change is not None:
            store.on_change(self._db.index, key)
        self.notify(b"x", b"expired", key)

    def field_times_changed(self, key: bytes, value: Hash, had: bool, at_ms: int = 0) -> None:
        """Say that fields of the hash at key got or lost expire times.

        Args:
            key: the key.
            value: the hash, as it is now.
            had: whether any of its fields had an expire time before.
            at_ms: the time that fields got, ms since the epoch; 0 if none did.
        """
        self._db.subexpiry += (value.times is not None) - had
        if at_ms:
            self._hint(key_slot(key), at_ms)

    def expire_fields(self, key: bytes, value: Hash, fields: Sequence[bytes]) -> None:
        """Remove fields of the hash at key, whose expire time has passed, and log that as HDELs;
        while expiry is paused they stay. `remove_if_empty` has to follow.
        """
        store = self.store
        if store.expire_paused:
            return
        if store.trial is not None:
            store.trial.keep(self._db.index, key)
        value.remove(fields)
        self.field_times_changed(key, value, True)
        store.expired_subkeys += len(fields)
        if store.log is not None:
            for field in fields:
                store.log(self._db.index, (b"HDEL", key, field))
        if store.on_change is not None:
            store.on_change(self._db.index, key)
        self.notify(b"h", b"hexpired", key)

    def remove_if_empty(self, key: bytes, value: Hash) -> bool:
        """Remove the hash at key if all its fields have expired; tell whether it was so. Their HDEL
        is in the log, and empties it there too.
        """
        if len(value):
            return False
        self._remove(key)
        self.notify(b"g", b"del", key)
        return True

    def flush(self) -> int:
        """Empty this database; return the number of keys removed."""
        removed = self.store.flush(self._db.index)
        self.store.dirty += removed
        return removed

    # -- saying ------------------------------------------------------------------------------------

    def propagate(self, *argv: bytes) -> None:
        """Log this effect in place of the command; said several times, the effects are logged in
        order.
        """
        if self.store.effects is None:
            self.store.effects = []
        self.store.effects.append(argv)

    def notify(self, kind: bytes, event: bytes, key: bytes) -> None:
        """Publish a keyspace event; kind is its letter in notify-keyspace-events (`$`, `g`, `x`,
        ...).
        """
        if self.store.notify is not None:
            self.store.notify(self._db.index, kind, event, key)

    # -- all keys ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of keys, expired ones that are still there included."""
        return self._db.size

    def live_keys(self, slot: int) -> Iterator[tuple[bytes, Value]]:
        """Iterate over a slot's keys that have not expired, with their stored values."""
        now_ms = self.store.now_ms
        for key, value in self._db.keys_in(slot).items():
            if value.__class__ is bytes or not value.expire_ms or value.expire_ms > now_ms:
                yield key, value

    def random_key(self) -> bytes | None:
        """Return a live key, each with the same chance; None when there is none. Expired ones it
        meets go.
        """
        db, random = self._db, self.random
        if self.store.expire_paused:  # they stay, so they must not be met
            live = [key for slot in db.slots for key, _ in self.live_keys(slot)]
            return random.choice(live) if live else None
        first, stop = db.slots.start, db.slots.stop
        while db.size:
            # ends[i]: how many keys the slots up to the i-th hold. Expired keys leave holes in that
            # count, so it is made anew after as many picks as there were keys: by then most of them
            # have gone.
            tables: list[Any] = db.tables[first:stop]  # all ours, so none of them is None
            ends = list(accumulate(map(len, tables)))
            for _ in range(ends[-1]):
                pick = random.randrange(ends[-1])
                index = bisect_right(ends, pick)
                keys = db.keys_in(first + index)
                back = ends[index] - pick  # counted from the end of the slot's share, from 1
                if back <= len(keys):
                    key = next(islice(keys, back - 1, None))
                    if self.find(key) is not None:
                        return key
        return None

    # -- inside ------------------------------------------------------------------------------------

    def _hint(self, slot: int, expire_ms: int) -> None:
        hints = self._db.next_expire
        known = hints.get(slot)
        if known is None or expire_ms < known:
            hints[slot] = expire_ms

    def _remove(self, key: bytes) -> Value:
        db = self._db
        value = db.keys_in(key_slot(key)).pop(key)
        db.size -= 1
        if value.__class__ is not bytes:
            self._uncount(value)
        return value

    def _uncount(self, value: Value) -> None:
        """Count a value no longer, which is not `bytes`."""
        if value.expire_ms:
            self._db.volatile -= 1
        if value.__class__ is Hash and value.times is not None:
            self._db.subexpiry -= 1


def _typed(value: Value, kind: type | None) -> Any:
    if value.__class__ is bytes:
        if kind is not None and kind is not bytes:
            raise errors.wrong_type()
        return value
    if value.__class__ is String:
        if kind is not None and kind is not bytes:
            raise errors.wrong_type()
        return value.data
    if kind is not None and value.__class__ is not kind:
        raise errors.wrong_type()
    return value
