"""The short way of the commands with one key that are not fused.

A command whose only key is its first argument needs no search for its name, its keys and their
owner: the connection's hot table leads straight to a `Direct`, which checks the arity, finds the
slot's table as the fused commands do (`worker/hot.py`), and calls the plain handler. What it leaves
out is what costs as much as a short handler itself; the rest of `Dispatcher.execute` it does too.

It returns the reply's bytes, as a tuple of one if they are many (who does not read them has to
wait), the key's slot if that is not ours or is closed, and None if the command must go the generic
way. Every TIMED-th call goes there, where its time is taken: INFO commandstats reckons with these.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import Final

from shoal.proto.errors import ReplyError
from shoal.proto.replies import Node
from shoal.proto.slots import key_slot
from shoal.worker.aof import Segment
from shoal.worker.keyspace import Store
from shoal.worker.registry import COMMANDS, Command, Scope

BIG_REPLY: Final = 4096
TIMED: Final = 128

Answer = bytes | tuple[bytes] | int | None


def is_direct(entry: Command) -> bool:
    """Tell whether a command can go the short way."""
    keys = entry.spec.keys
    return (
        entry.scope is Scope.KEYSPACE
        and len(keys) == 1
        and keys[0].begin == 1
        and not (keys[0].last or keys[0].keynum or keys[0].keyword or keys[0].unknown)
        and entry.spanning is None
        and entry.route is None
        and entry.guard is None
        and not (entry.subcommands or entry.variants or entry.blocks)
        and entry.name != b"move"  # whoever waits for it in the other database is served at once
    )


class Direct:
    """One command over one database, for one protocol version."""

    __slots__ = (
        "_arity",
        "_count_error",
        "_db",
        "_entry",
        "_handler",
        "_resp",
        "_segment",
        "_store",
        "_tables",
        "_until_timed",
        "_view",
        "calls",
    )

    def __init__(
        self,
        entry: Command,
        store: Store,
        db: int,
        resp: int,
        segment: Segment | None,
        count_error: Callable[[bytes], None],
    ) -> None:
        """Bind to the tables of a database; `count_error` is told the text of every error reply."""
        database = store.database(db)
        self._entry = entry
        self._handler = entry.handler
        self._arity = entry.arity
        self._store = store
        self._view = store.view(db)
        self._tables = database.write if entry.write else database.read
        self._db = db
        self._resp = resp
        self._segment = segment
        self._count_error = count_error
        self._until_timed = TIMED
        self.calls = 0

    def run(self, argv: list[bytes]) -> Answer:
        """Run the command; see the module's text."""
        count = len(argv)
        arity = self._arity
        if count != arity and (arity >= 0 or count < -arity):
            return None
        key = argv[1]
        slot = crc_hqx(key, 0) & 16383 if 123 not in key else key_slot(key)
        if self._tables[slot] is None:
            return slot
        self._until_timed -= 1
        if not self._until_timed:
            self._until_timed = TIMED
            return None
        store = self._store
        store.dirty = 0
        store.effects = None
        self.calls += 1
        try:
            if count == 2:
                reply = self._handler(self._view, key)
            elif count == 3:
                reply = self._handler(self._view, key, argv[2])
            else:
                reply = self._handler(self._view, *argv[1:])
        except ReplyError as error:
            self._entry.failed += 1
            self._count_error(error.text)
            reply = error.encode()
        if store.dirty or store.effects:
            store.dirty_total += store.dirty
            segment = self._segment
            if segment is not None:
                if store.effects is None:
                    segment.log(self._db, argv)
                else:
                    segment.log_all(self._db, store.effects)
        if reply.__class__ is not bytes:
            assert isinstance(reply, Node)
            reply = reply.encode(self._resp)
        return reply if len(reply) < BIG_REPLY else (reply,)


class DirectCommands:
    """All commands that can go the short way, over one database and for one protocol version."""

    def __init__(
        self,
        store: Store,
        db: int,
        resp: int,
        segment: Segment | None,
        count_error: Callable[[bytes], None],
    ) -> None:
        """Bind them; arguments as of `Direct`."""
        self._bound = {
            name: Direct(entry, store, db, resp, segment, count_error)
            for name, entry in COMMANDS.items()
            if is_direct(entry)
        }

    def table(self, *, reads: bool, writes: bool) -> dict[bytes, Callable[[list[bytes]], Answer]]:
        """Return them by name, upper and lower case."""
        found: dict[bytes, Callable[[list[bytes]], Answer]] = {}
        for name, direct in self._bound.items():
            if writes if COMMANDS[name].write else reads:
                found[name] = found[name.upper()] = direct.run
        return found

    def take_counts(self) -> dict[bytes, int]:
        """Return the calls of each command since the last time, and start again at zero."""
        counts = {name: direct.calls for name, direct in self._bound.items() if direct.calls}
        for name in counts:
            self._bound[name].calls = 0
        return counts
