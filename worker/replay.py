"""Runs the commands of a log into a partition: no client, no reply, nothing expires meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from shoal.proto.errors import ReplyError
from shoal.worker.hot import Hot, HotTable
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
        self._tables: dict[int, HotTable] = {}
        self._hot = self._table(0)

    def _table(self, db: int) -> HotTable:
        table = self._tables.get(db)
        if table is None:
            table = Hot(self._store, db, 2, None).table(reads=False, writes=True)
            self._tables[db] = table
        return table

    def apply(self, argv: Sequence[bytes]) -> None:
        """Run one command, SELECT included. Raises: ReplayError."""
        command = list(argv)
        fused = self._hot.get(command[0])
        if fused is not None and fused(command).__class__ is bytes:
            return
        self._apply_slowly(command)

    def _apply_slowly(self, argv: list[bytes]) -> None:
        store = self._store
        try:
            if argv[0].upper() == b"SELECT":
                self._db = int(argv[1])
                self._hot = self._table(self._db)
                return
            entry = resolve(argv)
            # Whether a key has expired was decided when its DEL was logged, not now.
            now_ms, log, store.now_ms, store.log = store.now_ms, store.log, 0, None
            try:
                entry.handler(store.view(self._db), *argv[entry.skip :])
            finally:
                store.now_ms, store.log = now_ms, log
                store.effects = None
                store.dirty = 0
        except (ReplyError, ValueError, IndexError) as error:
            shown = b" ".join(argv)[:100]
            raise ReplayError(f"the log holds {shown!r}, which fails: {error}") from None

    def clear(self) -> None:
        """Empty every database, and begin with database 0 again."""
        for db in self._store.databases():
            self._store.flush(db.index)
        self._store.garbage.clear()
        self._db = 0
        self._hot = self._table(0)
