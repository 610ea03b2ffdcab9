"""A run that may be taken back, as if it had never been (no I/O).

With several workers a script, or a transaction with one, may turn out to need keys of other
partitions when it has written already. What it has done is undone then, and it runs again with
those keys. So a trial keeps two lists while it goes on:

- how to undo each change, the last one first: what was stored at a key before the run's first write
  to it, a copy, or of a big value what of it is changed (`worker/undo.py`); the tables of a
  database that it empties;
- what is to be told if the run stays: keyspace events, messages, errors to be counted, and which
  keys have changed, for those who wait for keys, watch them or track them. Nobody hears of anything
  before.

`commit` tells, `undo` undoes. The store knows the trial that goes on (`Store.trial`). With one
worker there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from shoal.proto.slots import key_slot
from shoal.worker.keyspace import expire_of
from shoal.worker.registry import may_change
from shoal.worker.undo import undo_of
from shoal.worker.values import is_big, twin_of

if TYPE_CHECKING:
    from shoal.worker.keyspace import Store
    from shoal.worker.registry import Command


# These take the whole value away, and leave it as it is.
_TAKE_ALL: Final = frozenset({b"del", b"unlink", b"getdel"})

_CHANGE_EXPIRE: Final = frozenset({b"expire", b"pexpire", b"expireat", b"pexpireat", b"persist"})

# What goes over the network can't be taken back.
SENDS: Final = b"migrate"


def places_of(
    command: Command, argv: Sequence[bytes], db: int, databases: int
) -> list[tuple[int, bytes]]:
    """Return database and key of all that a command names, of so many databases."""
    places = [(db, argv[at]) for at in command.spec.key_positions(argv)]
    borrowed = command.borrowed
    if places and borrowed is not None and borrowed.database is not None:
        there = borrowed.database(argv)
        if there is not None and there != db and 0 <= there < databases:
            places[-1:] = [places[0], (there, places[-1][1])]
    return places


class Trial:
    """What has happened to a partition since it began; see the module's text.

    Attributes:
        sealed: something was done that can't be taken back (MIGRATE): no `undo` any more.
    """

    def __init__(self, store: Store) -> None:
        """Begin: from now on the store tells nobody."""
        assert store.trial is None, "a trial inside a trial"
        self._store = store
        self.sealed = False
        self._changes: list[Callable[[], object]] = []
        self._kept: set[tuple[int, bytes]] = set()
        self._told: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._counts: dict[Command, tuple[int, int, int]] = {}
        self._figures = store.figures()
        self._garbage = len(store.garbage)
        self._whole: set[int] = set()  # ids of values that are kept as they are, not copied
        self._lacking: list[tuple[int, int]] = []  # database, slot
        self._notify = store.notify
        if store.notify is not None:
            store.notify = partial(self.tell, store.notify)
        store.trial = self
        store.bind_listeners()

    # -- before a change ---------------------------------------------------------------------------

    def keep(self, db: int, key: bytes, *, intact: bool = False) -> None:
        """Remember what is stored at a key, before the first write to it.

        Args: intact: what follows takes the value away as it is; so it need not be copied.
        """
        if (db, key) in self._kept:
            return
        self._kept.add((db, key))
        view = self._store.view(db)
        value = view.stored(key)
        if value is not None and value.__class__ is not bytes:
            if intact:
                self._whole.add(id(value))
            else:
                value = twin_of(value)
        self._changes.append(partial(view.put_back, key, value))

    def keep_for(self, command: Command, argv: Sequence[bytes], db: int) -> None:
        """Remember what a command with keys may change, all of which are here."""
        self.count(command)
        if may_change(command):
            self.keep_places(command, argv, places_of(command, argv, db, self._store.count))
            self.sealed |= command.name == SENDS

    def keep_places(
        self, command: Command, argv: Sequence[bytes], places: Sequence[tuple[int, bytes]]
    ) -> None:
        """The same, `places` being what it names."""
        for db, key in places:
            if (db, key) in self._kept:
                continue
            if len(places) == 1 and self._keep_part(command, argv, db, key):
                continue
            self.keep(db, key, intact=command.name in _TAKE_ALL)

    def _keep_part(self, command: Command, argv: Sequence[bytes], db: int, key: bytes) -> bool:
        """Remember what a command on a big value changes in it, if that will do."""
        view = self._store.view(db)
        value = view.stored(key)
        if value is None or not is_big(value):
            return False
        if command.name in _CHANGE_EXPIRE:
            # A time that has passed takes the value away, as it is.
            self._whole.add(id(value))
            self._changes.append(partial(view.put_back_expire, key, value, expire_of(value)))
            return True
        undo = undo_of(command.name, argv, value)
        if undo is None:
            return False
        self._changes.append(lambda: undo(view.stored(key)))
        return True

    def keep_database(self, db: int) -> None:
        """Remember all of a database that is about to be emptied."""
        database = self._store.database(db)
        self._changes.append(partial(self._store.refill, database, database.contents()))
        self._kept.clear()  # what is written from now on is undone before

    def keep_swap(self, first: int, second: int) -> None:
        """Remember that two databases are about to be exchanged."""
        self._changes.append(partial(self._store.exchange, first, second))
        self._kept.clear()

    def count(self, command: Command) -> None:
        """Remember the statistics of a command that is about to be called."""
        if command not in self._counts:
            self._counts[command] = command.calls, command.rejected, command.failed

    def pretend(self, db: int, key: bytes) -> None:
        """Let a key of another partition be missing, so that the run can go on to find out what
        else it needs; it will be taken back.
        """
        slot, database = key_slot(key), self._store.database(db)
        if database.tables[slot] is None:
            database.tables[slot] = {}
            self._lacking.append((db, slot))

    # -- what is told ------------------------------------------------------------------------------

    def tell(self, say: Callable[..., object], *args: Any) -> None:
        """Call this when the run stays."""
        self._told.append((say, args))

    def changed(self, db: int, key: bytes) -> None:
        """A key changed, came or went."""
        self._told.append((self._changed, (db, key)))

    def _changed(self, db: int, key: bytes) -> None:
        if self._store.on_change is not None:  # the first one told may have ended the listening
            self._store.on_change(db, key)

    def flushing(self, db: int, other: int | None) -> None:
        """A database is emptied, or gets the contents of `other`: that changes each of its keys."""
        for index in (db,) if other is None else (db, other):
            for slot in self._store.slots:
                for key in self._store.database(index).keys_in(slot):
                    self.changed(db, key)

    # -- the end -----------------------------------------------------------------------------------

    def commit(self) -> None:
        """The run stays: tell what it has to tell, in order."""
        self._leave()
        for say, args in self._told:
            say(*args)

    def undo(self) -> None:
        """Let everything be as it was."""
        store = self._store
        garbage = store.garbage
        thrown = [garbage.pop() for _ in range(len(garbage) - self._garbage)]
        for change in reversed(self._changes):
            change()
        # A table among them was a database's, and is again.
        garbage += [
            one for one in thrown if not isinstance(one, dict) and id(one) not in self._whole
        ]
        for db, slot in self._lacking:
            store.database(db).drop_table(slot)
        for command, counts in self._counts.items():
            command.calls, command.rejected, command.failed = counts
        store.set_figures(self._figures)
        self._leave()

    def _leave(self) -> None:
        store = self._store
        store.notify = self._notify
        store.trial = None
        store.bind_listeners()
