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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shoal.proto import errors
from shoal.proto import messages as m
from shoal.proto.errors import ReplyError
from shoal.proto.frames import MARSHAL_VERSION
from shoal.proto.limits import CHUNK_BYTES, CHUNK_COMMANDS, MAX_KEY_ROUNDS
from shoal.proto.slots import key_slot
from shoal.worker.blocking import Waiter
from shoal.worker.keyspace import Database, Keyspace, Lent, Store, Value, expire_of
from shoal.worker.registry import UNLOGGED, Command, NeedKeys, Scope, is_wide, resolve
from shoal.worker.values import encoding, rebuild, type_name
from shoal.worker.values.list import List

if TYPE_CHECKING:
    from shoal.worker.tracking import Reader

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

# What a command says that it has done: database, argv, and the command that this is, None for what
# is none (`UNLOGGED`, `_NO_CHANGES`).
_Located = tuple[int, Argv, Command | None]

_NOTHING: Final = marshal.dumps([], 2)

# Of `UNLOGGED`: what OBJECT ENCODING said of the value.
_ENCODING: Final = b""

# In place of a command's name, of a change that is none: the owner enters a command that waits:
# key, home, handle, type, on_nokey (see `registry.Wait`), protocol, then the command.
WAIT: Final = b"\1"

NO_WAITER: Final = (-1, 0)

# Likewise, of a change that is none: the owner of the key notes that a client has read it: key,
# home, id.
TRACK: Final = b"\4"

_NO_CHANGES: Final = frozenset({WAIT, TRACK})

# Words of key specifications: the command writes to the key, and does not just take from it.
_WRITTEN: Final = frozenset({"OW", "insert", "update"})


class Borrowing(NamedTuple):
    """A command as its executor and its lenders know it.

    Attributes:
        argv: the command; resp: protocol of its client; db: the client's database.
        executor: the worker that runs it.
        extra: database and key of what to lend besides what argv names.
        everything: it runs under locks on all partitions, and what it turns out to need is lent to
            it without a new ticket.
        names: databases of which the names of all keys are lent, with stand-ins for values.
        waiter: of a command that may wait (`worker/spread_wait.py`) home and handle, and when it
            has waited already, the type and the keys that it waits for, one of which has to be
            there; else empty ones.
        reader: its client, if that tracks (`worker/tracking.py`).
    """

    argv: list[bytes]
    resp: int
    db: int
    executor: int
    extra: tuple[tuple[int, bytes], ...] = ()
    everything: bool = False
    names: tuple[int, ...] = ()
    waiter: tuple[int, int, bytes, tuple[bytes, ...]] | None = None
    reader: Reader | None = None


class Transacted(NamedTuple):
    """What a worker with a part in a transaction is told of it with the LOCK: the steps follow.

    Attributes:
        watcher: of the client's WATCH, 0 for none; watched: how many keys of this worker it has.
        write: some command in it writes, so all keys are locked for it alone.
        reader: as of `Borrowing`.
    """

    watcher: int
    watched: int
    write: bool
    reader: Reader | None = None


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
        rounds: how often it turned out to need more.
        changes: what was changed here and is not logged yet, in order.
        entered: the command waits, for keys of ours.
        told: who was told of what the ticket has changed here (`Blocking.serve_ready`).
    """

    command: Borrowing | Transacted
    attempt: int = m.RUN
    lending: Iterator[Change] | None = None
    loans: _Loans | None = None
    loans_attempt: int = -1
    telling: Iterator[tuple[int, Change]] | None = None
    held: tuple[int, Change] | None = None
    replies: list[bytes | list[bytes]] = field(default_factory=list)
    rounds: int = 0
    changes: list[Change] = field(default_factory=list)
    entered: bool = False
    told: list[Waiter] = field(default_factory=list)


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
        workers: int,
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
            index: this worker, of so many `workers`.
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
        self._index, self._workers = index, workers
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

    def waiter_of(self, ticket: int) -> tuple[int, int]:
        """Return home and handle if a ticket is a try of a command that waits."""
        part = self.parts.get(ticket)
        command = None if part is None else part.command
        if not isinstance(command, Borrowing) or command.waiter is None:
            return NO_WAITER
        return command.waiter[:2]

    def release(self, ticket: int) -> None:
        """Forget a ticket; one that does not run in steps is not known."""
        self.parts.pop(ticket, None)

    def _changes(self, command: Borrowing) -> Iterator[Change]:
        lent: set[tuple[int, bytes]] = set()
        for db, key, lend in loans_of(command, self._store.count):
            if self._owner(key) != self._index:
                continue
            lent.add((db, key))
            value = self._store.view(db).find(key)
            if value is not None:
                yield from _loan(db, key, value, command.argv, lend)
        for db in command.names:
            for key, value in self._store.database(db):
                if (db, key) not in lent:
                    yield from _loan(db, key, value, command.argv, None)
                    if expire_of(value):
                        yield db, (b"PEXPIREAT", key, b"%d" % expire_of(value))

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
            try:
                reply, effects = self._execute(command, loans)
            except NeedKeys as need:
                if part.rounds < MAX_KEY_ROUNDS:
                    part.rounds += 1
                    self._ask_for_more(ticket, part, command, need)
                    return
                reply, effects = errors.keys_keep_changing().encode(), []
            if not (may_change or resolve(command.argv).write):
                effects = [effect for effect in effects if _changes_nothing(effect)]
            left -= len(reply) if isinstance(reply, bytes) else sum(map(len, reply))
            part.replies.append(reply if left >= 0 else errors.reply_too_large().encode())
            found += effects
        found.sort(key=_whose)  # stable: the changes of one partition stay in order
        part.telling = _one_by_one(found)
        self._tell(ticket, part)

    def _ask_for_more(self, ticket: int, part: _Part, command: Borrowing, need: NeedKeys) -> None:
        """Have a command that has locked everything run again with more lent to it."""
        extra = tuple(dict.fromkeys((*command.extra, *need.keys)))
        names = tuple({*command.names, *need.names})
        again = command._replace(extra=extra, names=names)
        lenders = {self._owner(key) for _, key, _ in loans_of(again, self._store.count)}
        if names:
            lenders.update(range(self._workers))
        lenders.discard(self._index)
        blob = marshal.dumps([tuple(again)], MARSHAL_VERSION)
        self._send((m.NEEDS, ticket, part.attempt, tuple(sorted(lenders)), blob))

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
        is_foreign = bool(away or command.names)
        lent = Lent(keys, everything=command.everything, named=command.names)
        if is_foreign:
            loans = loans or _Loans()
            for db, key in away:
                loans.database(db).keys_in(key_slot(key))
            for db, key in keys.difference(away):
                store.view(db).find(key)  # what has expired goes now, and is logged so
            # What is lent had not expired, and it is not ours to say that it has.
            _install(store, loans, command.names)
            store.expire_paused = True
        store.borrowed = lent
        try:
            reply, effects = self._run(command)
            found += self._effects(command, reply, effects, recorder.keys)
            if command.reader is not None:
                home, client_id, _ = command.reader
                for key in store.tracking.take_away():
                    track = (TRACK, key, b"%d" % home, b"%d" % client_id)
                    found.append((self._owner(key), command.db, b"", track))
        finally:
            if command.reader is not None:
                store.tracking.take_away()  # of a run that was taken back
            store.remove_listener(recorder)
            store.log, store.expire_paused, store.borrowed = log, expire_paused, None
            if is_foreign or lent.is_whole:
                loans = loans or _Loans()
                _uninstall(store, loans, whole=lent.is_whole)
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
        script = resolve(command.argv).scope is Scope.SCRIPT
        located = list(_located(command.db, effects))
        if script and any(entry is not None and is_wide(entry) for _, _, entry in located):
            yield from self._effects_of_wide(located, changed)
            return
        whole = False  # the values of all changed keys are among them
        for db, argv, entry in located:
            if argv[0] == WAIT:
                yield self._owner(argv[1]), db, b"", argv
                continue
            keys = _keys_of(entry, argv)
            borrowed = None if entry is None else entry.borrowed
            owners = {self._owner(key) for key in keys} or {self._index}
            if len(owners) == 1:
                # A stream's groups may have changed, which is no change of the key. But what reads
                # a key that is already as at the end must not be done again.
                if not whole or all((db, key) not in changed for key in keys):
                    yield owners.pop(), db, b"", argv
            elif borrowed is not None and borrowed.apart is not None and not script:
                assert isinstance(reply, bytes)
                for one in borrowed.apart(argv, reply):
                    yield self._owner(one[1]), db, one[1], one
            elif not whole:
                whole = True
                for at, key in changed:
                    yield self._effect_of_value(at, key)

    def _effect_of_value(self, db: int, key: bytes) -> _Effect:
        return self._owner(key), db, key, _Value(self._store.view(db).stored(key))

    def _effects_of_wide(
        self, located: Sequence[_Located], changed: dict[tuple[int, bytes], None]
    ) -> Iterator[_Effect]:
        """The same of a script that has emptied or exchanged databases: first that, in every
        partition, then every key that it has named, as it is at the end.
        """
        places: dict[tuple[int, bytes], None] = {}
        exchanged: set[int] = set()
        for db, argv, entry in located:
            if entry is not None and is_wide(entry):
                if argv[0].lower() == b"swapdb":
                    exchanged.update(map(int, argv[1:]))
                for worker in range(self._workers):
                    yield worker, db, b"", argv
            else:
                places.update({(db, key): None for key in _keys_of(entry, argv)})
        named = {key for _, key in places}
        # In other databases too; that an exchange has changed all keys is said above.
        places.update({place: None for place in changed if place[1] in named})
        everywhere = {
            (other, key): None
            for db, key in places
            for other in (exchanged if db in exchanged else (db,))
        }
        lent = self._store.borrowed
        assert lent is not None
        for db, key in everywhere:
            is_known = self._owner(key) == self._index or lent.has(db, key)
            # A stand-in may have been deleted; more than that needs the value.
            if is_known or self._store.view(db).stored(key) is None:
                yield self._effect_of_value(db, key)

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
        tracking = store.tracking
        if tracking is not None:
            tracking.current = part.command.reader
        _apply(store, [change for change in changes if change[1][0] not in _NO_CHANGES])
        if tracking is not None:
            tracking.current = None
        store.now_ms, store.notify, store.log, store.dirty = now_ms, notify, log, dirty
        store.effects = None
        part.changes += _logged(changes)
        if not last:
            self._send((m.APPLY_MORE, ticket))
            return False
        changes, part.changes = part.changes, []
        real = [change for change in changes if change[1][0] not in _NO_CHANGES]
        # A start skips a ticket that is not in the log of each worker that it names. So who has
        # nothing to log says so too: that a client waits or tracks, or what no log holds, is no
        # change here, but others may have changed something.
        if real or (len(participants) > 1 and _may_write(part.command)):
            store.dirty_total += len(real)
            self._log(ticket, participants, real)
        for db, argv in changes:
            if argv[0] == WAIT:
                part.entered = True
                self._enter(db, argv[1:])
            elif argv[0] == TRACK:
                store.tracking.remember(argv[1], int(argv[2]), int(argv[3]))
        return True


def _may_write(command: Borrowing | Transacted) -> bool:
    return command.write if isinstance(command, Transacted) else resolve(command.argv).write


def _keys_of(entry: Command | None, argv: Argv) -> list[bytes]:
    """Return the keys that an effect changes."""
    return [argv[1]] if entry is None else [argv[at] for at in entry.spec.key_positions(argv)]


def _located(db: int, effects: Sequence[Argv]) -> Iterator[_Located]:
    """Yield effects with their databases, which a script may have changed, and their commands."""
    for argv in effects:
        if argv[0] == b"SELECT":
            db = int(argv[1])
        elif argv[0] in UNLOGGED or argv[0] in _NO_CHANGES:
            yield db, argv, None
        else:
            yield db, argv, resolve(list(argv))


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
    found += [(db, key, False) for db, key in command.extra if 0 <= db < databases]
    # A key that is named twice is lent once, and whole if it is wanted so.
    found.sort(key=_wholeness)
    return list({(db, key): (db, key, how) for db, key, how in found}.values())


def _wholeness(loan: tuple[int, bytes, bool | None]) -> int:
    return 0 if loan[2] is None else 1


def executor_key(
    command: Command, argv: Argv, extra: Sequence[tuple[int, bytes]] = ()
) -> bytes | None:
    """Return the key whose owner is to run the command: the first one that is written to, which
    need not travel then, else the first one; None if there is no key.
    """
    for spec in command.spec.keys:
        if not _WRITTEN.isdisjoint(spec.flags):
            for at in spec.positions(argv):
                return argv[at]
    positions = command.spec.key_positions(argv)
    if positions:
        return argv[positions[0]]
    return extra[0][1] if extra else None


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


UNLOGGED[_ENCODING] = _restore_encoding


def _commands_of(key: bytes, value: Value) -> Iterator[Argv]:
    """As `rebuild`, long strings in pieces."""
    for argv in rebuild(key, value):
        if argv[0] == b"SET" and len(argv[2]) > CHUNK_BYTES:
            yield (b"SET", key, argv[2][:CHUNK_BYTES], *argv[3:])
            for at in range(CHUNK_BYTES, len(argv[2]), CHUNK_BYTES):
                yield b"APPEND", key, argv[2][at : at + CHUNK_BYTES]
        else:
            yield argv


def _changes_nothing(effect: _Effect) -> bool:
    what = effect[3]
    return not isinstance(what, _Value) and what[0] in _NO_CHANGES


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
    return (change for change in changes if change[1][0] not in UNLOGGED)


def _apply(store: Store, changes: Sequence[Change]) -> None:
    for db, argv in changes:
        if argv[0] in UNLOGGED:
            UNLOGGED[argv[0]](store.view(db), *argv[1:])
            continue
        entry = resolve(list(argv))
        entry.handler(store.view(db), *argv[entry.skip :])


def _install(store: Store, loans: Store, names: Sequence[int]) -> None:
    """Let the partition have what was lent to it; the databases in `names` are whole then."""
    for lent in loans.databases():
        db = store.database(lent.index)
        for slot, table in _tables(lent).items():
            assert db.tables[slot] is None, f"slot {slot} was lent to its owner"
            db.tables[slot] = table
        db.size += lent.size
        db.volatile += lent.volatile
        db.subexpiry += lent.subexpiry
    for index in names:
        store.database(index).make_whole()


def _uninstall(store: Store, loans: Store, *, whole: bool) -> None:
    """Take it away again, as it is now; `whole`: some databases were."""
    if not whole:
        for lent in loans.databases():
            for slot in _tables(lent):
                store.database(lent.index).drop_table(slot)
        return
    for db in store.databases():
        db.make_partial(store.slots)
        store.gate.refresh(db)


def _tables(db: Database) -> dict[int, dict[bytes, Value]]:
    tables: Any = db.tables
    return dict(tables)
