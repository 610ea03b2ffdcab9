"""Runs the commands of a log into a partition: no client, no reply, nothing expires meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shoal.proto.errors import ReplyError
from shoal.worker.direct import DirectCommands
from shoal.worker.hot import Hot
from shoal.worker.keyspace import Store
from shoal.worker.registry import resolve


class ReplayError(Exception):
    """A logged command cannot be run: the log is of another version, or damaged."""


class Replayer:
    """Applies commands to a store, the usual ones in their fused form."""

    def __init__(self, store: Store) -> None:
        """Begin with database 0; the store's time stands still at 0 while commands are applied."""
        self._store = store
        self._db = 0
        self._hots: dict[int, dict[bytes, Callable[..., Any]]] = {}
        self._directs: dict[int, dict[bytes, Callable[..., Any]]] = {}
        self._select(0)

    def _select(self, db: int) -> None:
        self._db = db
        if db not in self._hots:
            self._hots[db] = Hot(self._store, db, 2, None).table(reads=False, writes=True)
            direct = DirectCommands(self._store, db, 2, None, _ignore)
            self._directs[db] = direct.table(reads=False, writes=True)
        self._hot, self._direct = self._hots[db], self._directs[db]

    def apply(self, argv: Sequence[bytes]) -> None:
        """Run one command, SELECT included. Raises: ReplayError."""
        command = list(argv)
        name = command[0]
        fused = self._hot.get(name)
        if fused is not None and fused(command).__class__ is bytes:
            return
        direct = self._direct.get(name)
        if direct is not None:
            # Whether a key has expired was decided when its DEL was logged, not now.
            store = self._store
            now_ms, log, store.now_ms, store.log = store.now_ms, store.log, 0, None
            reply = direct(command)
            store.now_ms, store.log = now_ms, log
            if reply.__class__ is bytes:
                if reply[:1] == b"-":
                    raise _failed(command, reply[1:-2].decode("utf-8", "backslashreplace"))
                return
            if reply.__class__ is tuple:
                return
        self._apply_slowly(command)

    def _apply_slowly(self, argv: list[bytes]) -> None:
        store = self._store
        try:
            if argv[0].upper() == b"SELECT":
                self._select(int(argv[1]))
                return
            entry = resolve(argv)
            now_ms, log, store.now_ms, store.log = store.now_ms, store.log, 0, None
            try:
                entry.handler(store.view(self._db), *argv[entry.skip :])
            finally:
                store.now_ms, store.log = now_ms, log
                store.effects = None
                store.dirty = 0
        except (ReplyError, ValueError, IndexError) as error:
            raise _failed(argv, str(error)) from None

    def clear(self) -> None:
        """Empty every database, and begin with database 0 again."""
        for db in self._store.databases():
            self._store.flush(db.index)
        self._store.garbage.clear()
        self._select(0)


def _failed(argv: Sequence[bytes], why: str) -> ReplayError:
    shown = b" ".join(argv)[:100]
    return ReplayError(f"the log holds {shown!r}, which fails: {why}")


def _ignore(_: bytes) -> None:
    pass
