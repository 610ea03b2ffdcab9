"""Runs the commands of a log into a partition: no client, no reply, nothing expires meanwhile.

A command that is known, and yet answers with an error now, is passed over and counted, as Redis's
loader does: it was logged because it had worked, so what it met then is not the same now (a
threshold that CONFIG SET had changed, say), and a server that does not start would help nobody. The
start says so in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shoal.proto.errors import ReplyError
from shoal.worker.direct import DirectCommands
from shoal.worker.hot import Hot
from shoal.worker.keyspace import Store
from shoal.worker.registry import resolve
from shoal.worker.scripting.service import scripting_of


class ReplayError(Exception):
    """A logged command cannot be run: the log is of another version, or damaged."""


class Replayer:
    """Applies commands to a store, the usual ones in their fused form.

    Attributes:
        failed: how many commands answered with an error; first_failure: what the first of them was.
    """

    def __init__(self, store: Store) -> None:
        """Begin with database 0; the store's time stands still at 0 while commands are applied."""
        self._store = store
        self._db = 0
        self.failed = 0
        self.first_failure = ""
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
                    self._count_failure(command, reply[1:-2])
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
        except (ReplyError, ValueError, IndexError) as error:
            raise ReplayError(f"the log holds {_shown(argv)}, which fails: {error}") from None
        now_ms, log, store.now_ms, store.log = store.now_ms, store.log, 0, None
        try:
            entry.handler(store.view(self._db), *argv[entry.skip :])
        except ReplyError as error:
            self._count_failure(argv, error.text)
        finally:
            store.now_ms, store.log = now_ms, log
            store.effects = None
            store.dirty = 0

    def _count_failure(self, argv: list[bytes], text: bytes) -> None:
        if not self.failed:
            self.first_failure = f"{_shown(argv)}: {text.decode('utf-8', 'backslashreplace')}"
        self.failed += 1

    def clear(self) -> None:
        """Empty every database, forget the functions, and begin with database 0 again."""
        for db in self._store.databases():
            self._store.flush(db.index)
        self._store.garbage.clear()
        scripting_of(self._store).functions.flush()
        self._select(0)


def _shown(argv: Sequence[bytes]) -> str:
    return repr(b" ".join(argv)[:100])


def _ignore(_: bytes) -> None:
    pass
