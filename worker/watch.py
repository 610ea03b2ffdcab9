"""Watched keys of this partition: who watches which, and who may still run a transaction (no I/O).

A *watcher* is one series of WATCH of one client, which EXEC, DISCARD, UNWATCH or the client's end
closes; its home numbers it, and the next series has another number. So what is said of one that has
ended, and is still on its way, concerns nobody.

    WATCHING --(a watched key changed, went or came)--> TOUCHED
        \\--(EXEC finds a key expired that was not when it was watched)--> refused

As in Redis: a touched watcher has no keys any more, and is only kept to be refused; a key that had
expired already when it was watched may be deleted without touching anybody, for it has been gone
all along; a change that is none (DEL of a missing key) never gets here, because no command says
`Keyspace.changed` of it.

A worker that dies loses its watchers. An EXEC that names one that is not here, or not with as many
keys as its home knows of, is refused: it may only ever fail too often.

What always holds: a watcher stands under each of its keys in `_by_key`, and the gate is closed to
fused writes, which would touch nobody, once for each key in `_by_key`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from shoal.worker.keyspace import Listener

Key = tuple[int, bytes]  # database, key


class Gate(Protocol):
    """What watched keys need of `keyspace.Gate`."""

    def await_key(self, db: int, key: bytes) -> None:
        """Close a key's slot to fused writes."""

    def forget_key(self, db: int, key: bytes) -> None:
        """Undo one `await_key`."""


class Keys(Protocol):
    """What watched keys need of `keyspace.Store`."""

    @property
    def gate(self) -> Gate:
        """What closes slots to the fused commands."""

    def has(self, db: int, key: bytes) -> bool:
        """Tell whether a key is stored, expired or not."""

    def is_expired(self, db: int, key: bytes) -> bool:
        """Tell whether a key is stored whose time has passed."""

    def add_listener(self, listener: Listener) -> None:
        """Tell `listener` what changes from now on."""

    def remove_listener(self, listener: Listener) -> None:
        """Tell `listener` nothing more."""


class _Watcher:
    """Attributes: the keys, each with whether it had expired when it was watched; touched."""

    __slots__ = ("keys", "touched")

    def __init__(self) -> None:
        self.keys: dict[Key, bool] = {}
        self.touched = False


class Watches:
    """The watchers of this partition's keys, of all homes."""

    def __init__(self, store: Keys, tell: Callable[[int], None]) -> None:
        """Start without watchers.

        Args:
            store: the partition; it tells us of changes while anybody watches.
            tell: called with a watcher that was touched just now.
        """
        self._store = store
        self._tell = tell
        self._watchers: dict[int, _Watcher] = {}
        self._by_key: dict[int, dict[bytes, set[int]]] = {}

    def __len__(self) -> int:
        """Return the number of watched keys."""
        return sum(map(len, self._by_key.values()))

    def watch(self, number: int, db: int, keys: Iterable[bytes]) -> None:
        """Let a watcher, new or known, watch further keys of a database."""
        watcher = self._watchers.get(number)
        if watcher is None:
            watcher = self._watchers[number] = _Watcher()
        if watcher.touched:
            return
        for key in keys:
            if (db, key) in watcher.keys:
                continue
            watcher.keys[db, key] = self._store.is_expired(db, key)
            if not self._by_key:
                self._store.add_listener(self)
            numbers = self._by_key.setdefault(db, {}).setdefault(key, set())
            if not numbers:
                self._store.gate.await_key(db, key)
            numbers.add(number)

    def may_run(self, number: int, count: int) -> bool:
        """Tell whether a transaction may run whose watcher has, as its home says, `count` keys
        here; the watcher ends.
        """
        watcher = self._watchers.get(number)
        if watcher is None:
            return False
        may = not watcher.touched and len(watcher.keys) == count
        for (db, key), was_expired in watcher.keys.items():
            if not was_expired and self._store.is_expired(db, key):
                may = False
        self.end(number)
        return may

    def end(self, number: int) -> None:
        """Forget a watcher, if there is one."""
        watcher = self._watchers.pop(number, None)
        if watcher is not None:
            self._forget_keys(number, watcher)

    def end_all(self, of: Callable[[int], bool]) -> None:
        """Forget all watchers for which `of` is true: their home has gone."""
        for number in [number for number in self._watchers if of(number)]:
            self.end(number)

    # -- the store tells -------------------------------------------------------------------------

    def changed(self, db: int, key: bytes) -> None:
        """A key changed, came or went; if it went, it is not stored any more."""
        keys = self._by_key.get(db)
        numbers = keys.get(key) if keys else None
        if not numbers:
            return
        for number in list(numbers):
            watcher = self._watchers[number]
            if watcher.keys[db, key] and not self._store.has(db, key):
                watcher.keys[db, key] = False  # it was gone before
            else:
                self._touch(number, watcher)

    def flushing(self, db: int, other: int | None) -> None:
        """A database is about to be emptied, or (`other`) to get the contents of another one."""
        store = self._store
        for key, numbers in list(self._by_key.get(db, {}).items()):
            is_there = store.has(db, key)
            comes = other is not None and store.has(other, key)
            if not (is_there or comes):
                continue
            will_be_expired = other is not None and store.is_expired(other, key)
            for number in list(numbers):
                watcher = self._watchers[number]
                if watcher.keys[db, key]:  # it has been gone all along
                    if not comes:
                        watcher.keys[db, key] = False
                    elif not will_be_expired:
                        self._touch(number, watcher)
                elif not is_there and will_be_expired:
                    watcher.keys[db, key] = True  # what comes is gone already
                else:
                    self._touch(number, watcher)

    def _touch(self, number: int, watcher: _Watcher) -> None:
        watcher.touched = True
        self._forget_keys(number, watcher)
        self._tell(number)

    def _forget_keys(self, number: int, watcher: _Watcher) -> None:
        keys, watcher.keys = watcher.keys, {}
        for db, key in keys:
            by_key = self._by_key[db]
            numbers = by_key[key]
            numbers.discard(number)
            if not numbers:
                del by_key[key]
                self._store.gate.forget_key(db, key)
                if not by_key:
                    del self._by_key[db]
        if keys and not self._by_key:
            self._store.remove_listener(self)
