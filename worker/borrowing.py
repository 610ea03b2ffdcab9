"""Commands over the keys of several partitions that run in steps (no I/O).

A borrowing command needs values of several partitions together. It runs once, in one worker, its
*executor*: the plain handler, over its own keys and over values that the other workers lend it.
What it changes goes back as *effects*, commands for each partition. A transaction is a series of
such steps, most of which need nothing lent. docs/partitions.md has the messages;
`supervisor/steps.py` sends them.

Nothing of it is in a log before the last APPLY. What a step changes in its executor's own partition
it changes as it runs, behind the locks, and keeps to be logged; should the executor die, that is
gone with it, and the coordinator has it done again.

A value travels as the commands that rebuild it, in chunks of a bounded size, each of which is sent
when the one before has been taken: so a large value holds up nobody, and fills no pipe. Two kinds
of keys are not lent as they are: what the command only overwrites is there or not, and a command
may declare what less it can do with (`registry.Borrowed`).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from shoal.proto import errors
from shoal.proto import messages as m
from shoal.proto.errors import ReplyError
from shoal.proto.limits import CHUNK_BYTES, CHUNK_COMMANDS
from shoal.proto.slots import key_slot
from shoal.worker.keyspace import Database, Keyspace, Store, Value, expire_of
from shoal.worker.registry import Command, Scope, resolve
from shoal.worker.values import encoding, rebuild, type_name
from shoal.worker.values.hash import Hash
from shoal.worker.values.list import List

Argv = Sequence[bytes]
Change = tuple[int, Argv]  # database, command

# What stands for a value of which only its presence and type matter, by type.
_STAND_INS: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"string": (b"SET", b"", b""),
    b"list": (b"RPUSH", b"", b""),
    b"set": (b"SADD", b"", b""),
    b"hash": (b"HSET", b"", b"", b""),
    b"zset": (b"ZADD", b"", b"0", b""),
    b"stream": (b"XADD", b"", b"1-1", b"", b""),
}


# The worker concerned, the database, the key of a value, and a command, or that value.
_Effect = tuple[int, int, bytes, Any]

_NOTHING: Final = marshal.dumps([], 2)

# In place of a command's name: what OBJECT ENCODING said of the value. Never logged.
_ENCODING: Final = b""

# Likewise, of a change that is none: the owner of the key enters a command that waits for it:
# key, home, handle, type, protocol, then the command.
WAIT: Final = b"\1"

# Words of key specifications: the command writes to the key, and does not just take from it.
_WRITTEN: Final = frozenset({"OW", "insert", "update"})


class Borrowing(NamedTuple):
    """A command as its executor and its lenders know it.

    Attributes:
        argv: the command; resp: protocol of its client; db: the client's database.
        executor: the worker that runs it.
        extra: keys to lend besides those that argv names.
        waiter: home and handle of a command that may wait (`worker/spread_wait.py`).
    """

    argv: list[bytes]
    resp: int
    db: int
    executor: int
    extra: tuple[bytes, ...]
    waiter: tuple[int, int] | None = None


class Transacted(NamedTuple):
    """What a worker with a part in a transaction is told of it with the LOCK: the steps follow.

    Attributes:
        watcher: of the client's WATCH, 0 for none; watched: how many keys of this worker it has.
        write: some command in it writes, so all keys are locked for it alone.
    """

    watcher: int
    watched: int
    write: bool


class _Tables(dict[int, dict[bytes, Value]]):
    """Tables by slot, made as they are asked for."""

    def __missing__(self, slot: int) -> dict[bytes, Value]:
        table = self[slot] = {}
        return table


class _LoanDatabase(Database):
    """A database of borrowed values: it has whatever slot is asked for."""

    __slots__ = ()

    def __init__(self, index: int) -> None:
        super().__init__(index, range(0))
        tables: Any = _Tables()  # asked by slot only, never as a list
        self.tables = tables


class _Loans(Store):
    """Borrowed values, while they arrive."""

    def __init__(self) -> None:
        super().__init__(range(0), 1 << 31, _NO_RANDOM)  # at time 0, when nothing expires

    def database(self, index: int) -> Database:
        db = self._dbs.get(index)
        if db is None:
            db = self._dbs[index] = _LoanDatabase(index)
        return db


_NO_RANDOM: Final = Random(0)  # what rebuilds a value is not random


@dataclass(slots=True)
class _Part:
    """What this worker has to do with one ticket.

    Attributes:
        command: what the LOCK said.
        attempt: of the last LEND or EXECUTE.
        lending: what is left to be lent.
        loans: what has been lent to us, the executor; in `loans_attempt`.
        telling: what is left to be told of the effects, after a step has run; `held` comes first.
        replies: of the step.
        changes: what was changed here and is not logged yet, in order.
    """

    command: Borrowing | Transacted
    attempt: int = m.RUN
    lending: Iterator[Change] | None = None
    loans: _Loans | None = None
    loans_attempt: int = -1
    telling: Iterator[tuple[int, Change]] | None = None
    held: tuple[int, Change] | None = None
    replies: list[bytes | list[bytes]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


class _Recorder:
    """Notes which keys a command changes."""

    def __init__(self) -> None:
        self.keys: dict[tuple[int, bytes], None] = {}

    def changed(self, db: int, key: bytes) -> None:
        self.keys[db, key] = None

    def flushing(self, db: int, other: int | None) -> None:
        """A flush is logged as what it is."""


class Borrower:
    """This worker's part in commands that run in steps: it lends, runs, applies and logs.

    Attributes:
        parts: by ticket, until the ticket's locks are released here.
    """

    def __init__(
        self,
        store: Store,
        index: int,
        owner: Callable[[bytes], int],
        run: Callable[[Borrowing], tuple[bytes | list[bytes], list[Argv]]],
        may_run: Callable[[int, int], bool],
        log: Callable[[int, Sequence[int], Sequence[Change]], None],
        send: Callable[[m.Message], None],
        warn: Callable[[str], None],
        enter: Callable[[int, Argv], None],
        max_reply_bytes: int,
    ) -> None:
        """Start without any.

        Args:
            store: this partition.
            index: this worker.
            owner: key -> the worker that has it.
            run: runs a command's handler; returns the reply and what it says are its effects.
            may_run: (watcher, watched) -> whether none of the keys that it watches was touched.
            log: called with ticket, participants and changes, to log them as the ticket's part.
            send: sends the coordinator a message.
            warn: writes a line of the server's log.
            enter: called with database and what follows WAIT.
            max_reply_bytes: of the replies of one step.
        """
        self.parts: dict[int, _Part] = {}
        self._store = store
        self._index = index
        self._owner = owner
        self._run = run
        self._may_run = may_run
        self._log = log
        self._send = send
        self._warn = warn
        self._enter = enter
        self._max_reply_bytes = max_reply_bytes

    # -- lending -----------------------------------------------------------------------------------

    def enter(self, ticket: int, command: Borrowing | Transacted) -> None:
        """Take note of a LOCK."""
        self.parts[ticket] = _Part(command)

    def granted(self, ticket: int) -> None:
        """Our keys are locked: say so, and lend what the LOCK has asked for."""
        part = self.parts[ticket]
        command = part.command
        if isinstance(command, Borrowing):
            part.lending = iter(())
            if command.executor != self._index:
                part.lending = self._changes(command)
            self._lend(ticket, part)
            return
        if command.watcher and not self._may_run(command.watcher, command.watched):
            self._send((m.ABORT, ticket))
        self._send((m.LENT, ticket, m.RUN, _NOTHING, True))

    def lend(self, ticket: int, attempt: int, blob: bytes | None) -> None:
        """Lend for a step, perhaps once more: a worker has died that had a part in it."""
        part = self.parts[ticket]
        part.attempt = attempt
        (command,) = _commands(part, blob)
        part.lending = self._changes(command)
        self._lend(ticket, part)

    def more(self, ticket: int, attempt: int) -> None:
        """Send the next chunk: of what we lend, or of the effects."""
        part = self.parts[ticket]
        if attempt != part.attempt:
            return
        if part.telling is not None:
            self._tell(ticket, part)
        else:
            self._lend(ticket, part)

    def release(self, ticket: int) -> None:
        """Forget a ticket; one that does not run in steps is not known."""
        self.parts.pop(ticket, None)

    def _changes(self, command: Borrowing) -> Iterator[Change]:
        for db, key, lend in loans_of(command, self._store.count):
            if self._owner(key) != self._index:
                continue
            value = self._store.view(db).find(key)
            if value is not None:
                yield from _loan(db, key, value, command.argv, lend)

    def _lend(self, ticket: int, part: _Part) -> None:
        assert part.lending is not None
        changes: list[Change] = []
        size = 0
        for change in part.lending:
            changes.append(change)
            size += sum(map(len, change[1]))
            if size >= CHUNK_BYTES or len(changes) >= CHUNK_COMMANDS:
                self._send((m.LENT, ticket, part.attempt, marshal.dumps(changes, 2), False))
                return
        part.lending = None
        self._send((m.LENT, ticket, part.attempt, marshal.dumps(changes, 2), True))

    # -- running -----------------------------------------------------------------------------------

    def take(self, ticket: int, attempt: int, lender: int, chunk: bytes, last: bool) -> None:
        """Take a piece of what another worker lends us; the coordinator drops what is of an
        earlier attempt.
        """
        part = self.parts[ticket]
        if part.loans is None or part.loans_attempt != attempt:
            part.loans, part.loans_attempt = _Loans(), attempt
        for db, argv in marshal.loads(chunk):
            self._rebuild(part.loans, db, argv)
        if not last:
            self._send((m.TOOK, ticket, attempt, lender))

    def _rebuild(self, loans: _Loans, db: int, argv: Argv) -> None:
        try:
            _apply(loans, [(db, argv)])
        except ReplyError as error:
            # As when a log is replayed: only a value that came of a damaged payload can say so.
            shown = b" ".join(argv)[:100]
            self._warn(f"{shown!r}, which rebuilds a value, was passed over: {error}")

    def execute(self, ticket: int, attempt: int, blob: bytes | None) -> None:
        """Run a step: everything it needs is here."""
        part = self.parts[ticket]
        part.attempt = attempt
        loans = part.loans if part.loans_attempt == attempt else None
        part.loans = None
        found: list[_Effect] = []
        part.replies = []
        left = self._max_reply_bytes
        # PFCOUNT changes what it reads, and what is read may expire: that is told, and so logged,
        # only where the keys are locked for us alone.
        may_change = isinstance(part.command, Transacted) and part.command.write
        for command in _commands(part, blob):
            reply, effects = self._execute(command, loans)
            if not (may_change or resolve(command.argv).write):
                effects = []
            left -= len(reply) if isinstance(reply, bytes) else sum(map(len, reply))
            part.replies.append(reply if left >= 0 else errors.reply_too_large().encode())
            found += effects
        found.sort(key=_whose)  # stable: the changes of one partition stay in order
        part.telling = _one_by_one(found)
        self._tell(ticket, part)

    def _execute(
        self, command: Borrowing, loans: _Loans | None
    ) -> tuple[bytes | list[bytes], list[_Effect]]:
        store, index = self._store, self._index
        found: list[_Effect] = []
        log, expire_paused = store.log, store.expire_paused

        def note_expired(db: int, argv: tuple[bytes, ...]) -> None:
            found.append((index, db, argv[1], argv))

        recorder = _Recorder()
        store.add_listener(recorder)
        store.log = note_expired
        keys = {(db, key) for db, key, _ in loans_of(command, store.count)}
        away = [(db, key) for db, key in keys if self._owner(key) != index]
        if away:
            loans = loans or _Loans()
            for db, key in away:
                loans.database(db).keys_in(key_slot(key))
            for db, key in keys.difference(away):
                store.view(db).find(key)  # what has expired goes now, and is logged so
            # What is lent had not expired, and it is not ours to say that it has.
            _install(store, loans)
            store.expire_paused = True
        store.borrowed = keys
        try:
            reply, effects = self._run(command)
            found += self._effects(command, reply, effects, recorder.keys)
        finally:
            store.remove_listener(recorder)
            store.log, store.expire_paused, store.borrowed = log, expire_paused, None
            if away:
                assert loans is not None
                _uninstall(store, loans)
        return reply, found

    def _effects(
        self,
        command: Borrowing,
        reply: bytes | list[bytes],
        effects: Sequence[Argv],
        changed: dict[tuple[int, bytes], None],
    ) -> Iterator[_Effect]:
        """Yield what has changed: the worker concerned, the database, the key, and either the
        command that made the change or the value that is there now, None for none.
        """
        db = command.db
        script = resolve(command.argv).scope is Scope.SCRIPT
        whole = False  # the values of all changed keys are among them
        for argv in effects:
            if argv[0] == WAIT:
                yield self._owner(argv[1]), db, b"", argv
                continue
            if argv[0] == b"SELECT":  # a script has changed it
                db = int(argv[1])
                continue
            entry = resolve(list(argv))
            keys = [argv[at] for at in entry.spec.key_positions(argv)]
            borrowed = entry.borrowed
            owners = {self._owner(key) for key in keys} or {self._index}
            if len(owners) == 1:
                # A stream's groups may have changed, which is no change of the key.
                if not whole or any((db, key) not in changed for key in keys):
                    yield owners.pop(), db, b"", argv
            elif borrowed is not None and borrowed.apart is not None and not script:
                assert isinstance(reply, bytes)
                for one in borrowed.apart(argv, reply):
                    yield self._owner(one[1]), db, one[1], one
            elif not whole:
                whole = True
                for at, key in changed:
                    yield self._owner(key), at, key, _Value(self._store.view(at).stored(key))

    def _tell(self, ticket: int, part: _Part) -> None:
        """Send the next chunk of the effects: those of one worker."""
        telling = part.telling
        assert telling is not None
        changes: list[Change] = []
        size, whose = 0, -1
        while True:
            item = part.held if part.held is not None else next(telling, None)
            part.held = None
            if item is None:
                break
            full = size >= CHUNK_BYTES or len(changes) >= CHUNK_COMMANDS
            if changes and (item[0] != whose or full):
                part.held = item
                break
            whose, change = item
            changes.append(change)
            size += sum(map(len, change[1]))
        if changes:
            if whose == self._index:
                part.changes += _logged(changes)
            chunk = marshal.dumps(changes, 2)
            self._send((m.EFFECT, ticket, part.attempt, whose, chunk))
        else:
            part.telling = None
            self._send((m.RAN, ticket, part.attempt, part.replies))

    # -- applying ----------------------------------------------------------------------------------

    def apply(self, ticket: int, participants: Sequence[int], chunk: bytes, last: bool) -> bool:
        """Make the changes of a chunk, and with the last one log all that this ticket has changed
        here; tell whether it was the last.
        """
        part = self.parts[ticket]
        changes = marshal.loads(chunk) if chunk else []
        store = self._store
        now_ms, notify, log, dirty = store.now_ms, store.notify, store.log, store.dirty
        # The executor has told the events, and whether a key had expired was its to say.
        store.now_ms, store.notify, store.log = 0, None, None
        _apply(store, [change for change in changes if change[1][0] != WAIT])
        store.now_ms, store.notify, store.log, store.dirty = now_ms, notify, log, dirty
        store.effects = None
        part.changes += _logged(changes)
        if not last:
            self._send((m.APPLY_MORE, ticket))
            return False
        changes, part.changes = part.changes, []
        real = [change for change in changes if change[1][0] != WAIT]
        if real:  # a command that waits changes nothing, anywhere
            store.dirty_total += len(real)
            self._log(ticket, participants, real)
        for db, argv in changes:
            if argv[0] == WAIT:
                self._enter(db, argv[1:])
        return True


def _commands(part: _Part, blob: bytes | None) -> list[Borrowing]:
    """Return what a step runs."""
    if blob is None:
        assert isinstance(part.command, Borrowing)
        return [part.command]
    return [Borrowing(*one) for one in marshal.loads(blob)]


class _Value(NamedTuple):
    """What is stored at a key, as an effect."""

    value: Value | None


def loans_of(command: Borrowing, databases: int) -> list[tuple[int, bytes, bool | None]]:
    """Return database and key of everything the command needs, and how it is lent: False as it is,
    None by a stand-in, True by what `Borrowed.lend` of the command says. There are so many
    databases; one that is not among them is an error that the command will find.
    """
    argv = command.argv
    entry = resolve(argv)
    borrowed = entry.borrowed
    reduced = borrowed is not None and borrowed.lend is not None
    other = borrowed.database(argv) if borrowed is not None and borrowed.database else None
    if other is not None and not 0 <= other < databases:
        other = None
    found: list[tuple[int, bytes, bool | None]] = []
    for spec in entry.spec.keys:
        overwritten = "OW" in spec.flags
        db = command.db if other is None or not overwritten else other
        found += [(db, argv[at], None if overwritten else reduced) for at in spec.positions(argv)]
    found += [(command.db, key, False) for key in command.extra]
    # A key that is named twice is lent once, and whole if it is wanted so.
    found.sort(key=_wholeness)
    return list({(db, key): (db, key, how) for db, key, how in found}.values())


def _wholeness(loan: tuple[int, bytes, bool | None]) -> int:
    return 0 if loan[2] is None else 1


def executor_key(command: Command, argv: Argv, extra: Sequence[bytes]) -> bytes:
    """Return the key whose owner is to run the command: the first one that is written to, which
    need not travel then, else the first one.
    """
    for spec in command.spec.keys:
        if not _WRITTEN.isdisjoint(spec.flags):
            for at in spec.positions(argv):
                return argv[at]
    positions = command.spec.key_positions(argv)
    return argv[positions[0]] if positions else extra[0]


def _loan(db: int, key: bytes, value: Value, argv: Argv, lend: bool | None) -> Iterator[Change]:
    if lend is None:
        name, _, *rest = _STAND_INS[type_name(value)]
        yield db, (name, key, *rest)
        return
    if lend:
        borrowed = resolve(list(argv)).borrowed
        assert borrowed is not None
        assert borrowed.lend is not None
        reduced = borrowed.lend(argv, key, value)
        if reduced is None:
            yield from _loan(db, key, value, argv, None)
            return
        value = reduced
    for one in _commands_of(key, value):
        yield db, one
    yield db, (_ENCODING, key, encoding(key, value))


def _restore_encoding(ks: Keyspace, key: bytes, name: bytes) -> None:
    """Let a value that was rebuilt have an encoding that came of its history."""
    value: Any = ks.stored(key)
    if encoding(key, value) == name:
        return
    kind = type_name(value)
    if kind == b"string" and name == b"raw":
        ks.update(key, bytearray(value if value.__class__ is bytes else value.data))
    elif kind == b"list" and name == b"quicklist":
        ks.set(key, List.of_nodes(value.nodes(), listpack=False), value.expire_ms)
    elif kind == b"zset" and name == b"skiplist":
        value.to_skiplist()
    elif kind == b"set" and name == b"hashtable":
        value.to_hashtable()
    elif kind == b"hash" and name == b"listpackex":
        value.become_listpackex()
    elif kind == b"hash" and name == b"hashtable":
        value.encoding = name


def _commands_of(key: bytes, value: Value) -> Iterator[Argv]:
    """As `rebuild`, long strings in pieces."""
    for argv in rebuild(key, value):
        if argv[0] == b"SET" and len(argv[2]) > CHUNK_BYTES:
            yield (b"SET", key, argv[2][:CHUNK_BYTES], *argv[3:])
            for at in range(CHUNK_BYTES, len(argv[2]), CHUNK_BYTES):
                yield b"APPEND", key, argv[2][at : at + CHUNK_BYTES]
        else:
            yield argv


def _whose(effect: _Effect) -> int:
    return effect[0]


def _one_by_one(
    effects: Sequence[_Effect],
) -> Iterator[tuple[int, Change]]:
    """Yield each change with the worker it concerns; values are taken apart as it goes on."""
    for whose, db, key, what in effects:
        if not isinstance(what, _Value):
            yield whose, (db, what)
            continue
        if what.value is None or not _is_string(what.value):
            yield whose, (db, (b"DEL", key))
        if what.value is not None:
            for argv in _commands_of(key, what.value):
                yield whose, (db, argv)
            yield whose, (db, (_ENCODING, key, encoding(key, what.value)))


def _is_string(value: Value) -> bool:
    return type_name(value) == b"string"


def _logged(changes: Iterable[Change]) -> Iterator[Change]:
    return (change for change in changes if change[1][0] != _ENCODING)


def _apply(store: Store, changes: Sequence[Change]) -> None:
    for db, argv in changes:
        if argv[0] == _ENCODING:
            _restore_encoding(store.view(db), argv[1], argv[2])
            continue
        entry = resolve(list(argv))
        entry.handler(store.view(db), *argv[entry.skip :])


def _install(store: Store, loans: Store) -> None:
    """Let the partition have what was lent to it."""
    for lent in loans.databases():
        db = store.database(lent.index)
        for slot, table in _tables(lent).items():
            assert db.tables[slot] is None, f"slot {slot} was lent to its owner"
            db.tables[slot] = table
        db.size += lent.size
        db.volatile += lent.volatile
        db.subexpiry += lent.subexpiry


def _uninstall(store: Store, loans: Store) -> None:
    """Take it away again, as it is now."""
    for lent in loans.databases():
        db = store.database(lent.index)
        for slot, table in _tables(lent).items():
            db.tables[slot] = None
            db.next_expire.pop(slot, None)
            db.size -= len(table)
            for value in table.values():
                db.volatile -= expire_of(value) != 0
                db.subexpiry -= value.__class__ is Hash and value.times is not None


def _tables(db: Database) -> dict[int, dict[bytes, Value]]:
    tables: Any = db.tables
    return dict(tables)
