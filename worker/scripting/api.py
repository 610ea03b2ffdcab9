"""`redis.call` and what stands beside it: how a running script acts on this partition.

One `ScriptRun` serves all runs of a runtime, one after the other. Every command that a script calls
passes through `ScriptRun.call`: there it is looked up, allowed or not, its keys are checked, its
handler runs, and its effects are put aside. After the run they are the effects of the script, which
are logged as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from shoal.proto import errors
from shoal.proto.errors import ReplyError
from shoal.proto.limits import MAX_CALLS_TO_FIND_KEYS
from shoal.proto.numbers import parse_int
from shoal.proto.replies import encode
from shoal.proto.slots import key_slot
from shoal.proto.spec import REDIS_VERSION, CommandFlag
from shoal.worker.client import Client
from shoal.worker.registry import LATER, Command, NeedKeys, Scope, Wait, find, may_change
from shoal.worker.scripting.convert import argument_of, value_of
from shoal.worker.scripting.engine import RaisedError, Value
from shoal.worker.trial import SENDS, Trial, places_of

if TYPE_CHECKING:
    from shoal.worker.keyspace import Keyspace, Store
    from shoal.worker.scripting.engine import Runtime
    from shoal.worker.server import Server

# To these it is enough to know that a key is there, and of what type.
_ASK_NO_VALUE: Final = frozenset({b"del", b"unlink", b"exists", b"type", b"touch"})

# Which databases these empty, out of the script's and the count.
_FLUSHED: Final[dict[bytes, Callable[[int, int], tuple[int, ...]]]] = {
    b"flushdb": lambda db, _: (db,),
    b"flushall": lambda _, count: tuple(range(count)),
}
_SWAPS: Final = b"swapdb"

REPL_ALL: Final = 3

KILLED: Final = b"Script killed by user with SCRIPT KILL..."


class Surroundings:
    """What a run needs of the worker around it.

    Attributes:
        server: None while the log is replayed, when no script runs.
        span_alone: `span_alone(command, argv, db, resp)` does all of a spanning command where there
            is one partition, and returns its encoded reply.
        is_locked: `is_locked(db, key, write)` tells whether a spanning command holds keys of its
            slot; None when nobody does.
        disk_error: returns why writes are refused, an encoded error, or None.
        count_error: is told the text of every error that a call meets.
        log_script: writes what redis.log says, with its level from 0 to 3.
        busy: asked every SCRIPT_HOOK_COUNT instructions, with the run; returns why it must end, or
            None. ended: called after a run that was `slow`.
        clock_ns: monotonic.
    """

    def __init__(self, store: Store) -> None:
        """Surround the partition `store`, with nothing yet."""
        self.store = store
        self.server: Server | None = None
        self.span_alone: Callable[[Command, list[bytes], int, int], bytes | Wait]
        self.is_locked: Callable[[int, bytes, bool], bool] | None = None
        self.disk_error: Callable[[], bytes | None] = _none
        self.count_error: Callable[[bytes], None] = _ignore
        self.log_script: Callable[[int, bytes], None] = _ignore_log
        self.busy: Callable[[ScriptRun], bytes | None] = _never
        self.ended: Callable[[], None] = _none
        self.clock_ns: Callable[[], int] = lambda: 0


def _none() -> None:
    return None


def _ignore(_: bytes) -> None:
    pass


def _ignore_log(_: int, __: bytes) -> None:
    pass


def _never(_: ScriptRun) -> None:
    return None


class _Plan:
    """What is known of a command before its arguments."""

    __slots__ = (
        "asks_no_value",
        "command",
        "handler",
        "key_first",
        "least",
        "most",
        "simple",
        "write",
    )

    def __init__(self, command: Command) -> None:
        self.command = command
        self.handler = command.handler
        keys = command.spec.keys
        # The only key is the first argument.
        self.key_first = (
            len(keys) == 1
            and keys[0].begin == 1
            and not (keys[0].last or keys[0].keynum or keys[0].keyword or keys[0].unknown)
            and (command.borrowed is None or command.borrowed.database is None)
        )
        arity = command.arity
        self.least, self.most = (arity, arity) if arity >= 0 else (-arity, 1 << 31)
        self.write = may_change(command)
        self.asks_no_value = command.name in _ASK_NO_VALUE
        # Nothing but arity and rights stands between it and its handler.
        self.simple = (
            command.scope is Scope.KEYSPACE
            and bool(keys)
            and CommandFlag.NOSCRIPT not in command.spec.flags
            and command.guard is None
            and command.route is None
            and not (command.subcommands or command.variants)
        )


class _Need:
    """What a run lacks; as `NeedKeys`."""

    __slots__ = ("everything", "keys", "names")

    def __init__(self) -> None:
        self.keys: dict[tuple[int, bytes], None] = {}
        self.everything = False
        self.names: set[int] = set()

    def raised(self) -> NeedKeys:
        """Return what to raise, for the run to end."""
        return NeedKeys(self.keys, everything=self.everything, names=self.names)


class ScriptRun:
    """The script that runs, as redis.call sees it.

    Attributes:
        name: of the script, 40 hex digits, or of the function.
        resp: protocol of the replies to calls, and of booleans that the script returns.
        read_only: writes are refused.
        wrote: it has changed something: it can't be killed any more.
        need: what it lacks, None while that is nothing: it will be taken back, and goes on only to
            find out what else it needs.
        running: a script runs; outside of a run no command can be called.
        started_ns: when it began (monotonic).
        slow: it has run longer than busy-reply-threshold.
        killed: why it must end, None while it may go on.
        command: what has called it, for FUNCTION STATS; empty for scripts.
    """

    def __init__(self, around: Surroundings) -> None:
        """Begin outside of a run."""
        self._around = around
        self._store = around.store
        self.runtime: Runtime
        self._plans: dict[bytes, _Plan] = {}
        self._view: Keyspace
        self._db = 0
        self._selected = -1  # the db that the effects put aside are for
        self._home_db = 0
        self._effects: list[tuple[bytes, ...]] = []
        self._dirty = 0
        self._declared: Collection[bytes] = ()
        self._trial: Trial | None = None  # with several workers
        self._began_trial = False
        self._calls_left = 0  # once something is lacking
        self.need: _Need | None = None
        self._client: Client | None = None
        self.name = b""
        self._log_before: Callable[[int, tuple[bytes, ...]], None] | None = None
        self.resp = 2
        self.read_only = False
        self.wrote = False
        self.running = False
        self.started_ns = 0
        self.slow = False
        self.killed: bytes | None = None
        self.command: tuple[bytes, ...] = ()

    def offered(self) -> dict[str, Any]:
        """Return the functions by the names that the prelude asks for."""
        parts = [int(part) for part in REDIS_VERSION.split(".")]
        return {
            "call": self.call,
            "pcall": self.pcall,
            "sha1hex": self.sha1hex,
            "setresp": self.setresp,
            "set_repl": self.set_repl,
            "acl_check_cmd": self.acl_check_cmd,
            "log": self.log,
            "version": REDIS_VERSION.encode(),
            "version_number": parts[0] << 16 | parts[1] << 8 | parts[2],
        }

    # -- a run -------------------------------------------------------------------------------------

    def begin(self, ks: Keyspace, keys: Collection[bytes], read_only: bool, name: bytes) -> None:
        """Let a script of this name run over `ks`, which has declared `keys`."""
        store = self._store
        around = self._around
        tracking = store.tracking
        if tracking is not None and tracking.current is not None:
            self._run = self._run_tracked  # type: ignore[method-assign]
        self._view = ks
        self._db = self._home_db = ks.db.index
        self._declared = keys
        self._trial, self._began_trial = None, False
        if around.server is not None and around.server.workers > 1:
            self._begin_trial()
        self.name = name
        self.resp = 2
        self.read_only = read_only
        self.wrote = False
        self.need = None
        self.running = True
        self.slow = False
        self.killed = None
        self._dirty = 0
        self._effects = []
        self._selected = self._db
        self.started_ns = around.clock_ns()
        # What expires meanwhile has its place between the script's effects.
        self._log_before = store.log
        if store.log is not None:
            store.log = self._put_aside

    def _begin_trial(self) -> None:
        store = self._store
        self._began_trial = store.trial is None
        self._trial = Trial(store) if store.trial is None else store.trial

    def end(self) -> None:
        """Hand what the script has changed to whoever ran it, as the effects of one command; if it
        lacks something, take it back instead. (In a transaction that is taken back as a whole.)
        """
        store = self._store
        store.log = self._log_before
        self.running = False
        self._client = None
        self.__dict__.pop("_run", None)
        trial, self._trial = self._trial, None
        if self.need is not None:
            if self.slow:
                self._around.ended()
            if self._began_trial:
                assert trial is not None
                trial.undo()
            store.dirty, store.effects = 0, None
            return
        if self._began_trial:
            assert trial is not None
            trial.commit()
        if self._selected != self._home_db:
            self._effects.append((b"SELECT", b"%d" % self._home_db))
        if self.slow:
            self._around.ended()
        store.dirty = self._dirty
        store.effects = self._effects or None

    def kill(self) -> bool:
        """Let the run end at its next look at the time; False if it has written something."""
        if self.wrote:
            return False
        self.killed = KILLED
        return True

    def _put_aside(self, db: int, argv: tuple[bytes, ...]) -> None:
        if db != self._selected:
            self._effects.append((b"SELECT", b"%d" % db))
            self._selected = db
        self._effects.append(argv)

    # -- commands ----------------------------------------------------------------------------------

    def call(self, *args: Value) -> Value:
        """redis.call: the reply as a Lua value; an error of the command is one of the script."""
        reply = self._reply(args)
        if reply[0] == 45:  # -
            raise RaisedError(reply[1:-2], RaisedError.COUNTED)
        return value_of(self.runtime, reply, self.resp)

    def pcall(self, *args: Value) -> Value:
        """redis.pcall: as redis.call, and an error is a table with `err`."""
        try:
            reply = self._reply(args)
        except RaisedError as error:
            if error.kind == RaisedError.FATAL:
                raise
            return self._error_table(error.text, False)
        if reply[0] == 45:
            return self._error_table(reply[1:-2], True)
        return value_of(self.runtime, reply, self.resp)

    def _error_table(self, text: bytes, counted: bool) -> Value:
        self.runtime.afford(len(text))
        fields: dict[bytes, Value] = {b"err": text}
        if counted:
            fields[b"ignore_error_stats_update"] = True
        return self.runtime.table(fields)

    def _reply(self, args: tuple[Value, ...]) -> bytes:
        """Run a command and return its encoded reply, an error too."""
        if not self.running:
            raise RaisedError(
                b"ERR redis.call/pcall can only be called inside a script invocation",
                RaisedError.TABLE,
            )
        argv = _texts(args)
        if self.need is not None:
            self._calls_left -= 1
            if not self._calls_left:
                raise self.need.raised()
        plan = self._plans.get(argv[0])
        if plan is None:
            plan = self._plan(argv)
            if plan is None:
                return self._refuse(_UNKNOWN)
        if self._trial is not None:
            self._trial.count(plan.command)
        if not plan.least <= len(argv) <= plan.most:
            plan.command.rejected += 1
            return self._refuse(_WRONG_ARITY)
        if not plan.simple:
            return self._special(plan, argv)
        if plan.write:
            refusal = self._write_refused(plan)
            if refusal is not None:
                return refusal
        if self._trial is not None:
            refusal = self._reach(plan, argv)
            if refusal is not None:
                return refusal
        return self._run(plan, argv, self._view)

    def _plan(self, argv: list[bytes]) -> _Plan | None:
        entry = find(argv[0])
        if entry is None:
            return None
        if len(argv) > 1:
            if entry.subcommands:
                sub = entry.subcommands.get(argv[1].lower())
                return None if sub is None else _Plan(sub)
            if entry.variants:
                return _Plan(entry)  # DEBUG: no script may call it
        plan = _Plan(entry)
        if not entry.subcommands:
            # Bounded: the spellings that scripts use of the names in the table.
            if len(self._plans) > 4096:
                self._plans.clear()
            self._plans[argv[0]] = plan
        return plan

    def _refuse(self, refusal: bytes) -> bytes:
        self._around.count_error(refusal[1:-2])
        return refusal

    def _write_refused(self, plan: _Plan) -> bytes | None:
        if self.read_only:
            return self._refuse(_READ_ONLY)
        if plan.command.write:
            refusal = self._around.disk_error()
            if refusal is not None:
                return self._refuse(refusal)
        return None

    def _reach(self, plan: _Plan, argv: list[bytes]) -> bytes | None:
        """See to it that a command's keys are here, that nobody else holds them, and that what it
        changes can be undone; return why it can't run.

        Raises: NeedKeys, if there is no sense in going on without them.
        """
        trial = self._trial
        assert trial is not None
        if plan.key_first:
            places = [(self._db, argv[1])]
        else:
            places = places_of(plan.command, argv, self._db, self._store.count)
        for db, key in places:
            if not self._has(plan, db, key):
                if trial.sealed:
                    return self._refuse(errors.script_sealed().encode())
                self._lack(db, key)
        lent = self._store.borrowed
        if lent is not None and lent.emptied:
            for db, key in places:
                trial.pretend(db, key)
        if plan.write:
            trial.keep_places(plan.command, argv, places)
        if plan.command.name == SENDS:
            if self.need is not None:
                raise self.need.raised()
            trial.sealed = True
        return None

    def _has(self, plan: _Plan, db: int, key: bytes) -> bool:
        """Tell whether a key is here, for this run."""
        lent = self._store.borrowed
        is_own = key_slot(key) in self._store.slots
        if lent is not None:
            if lent.has(db, key) or (is_own and lent.everything):
                return True
            return plan.asks_no_value and lent.has_names(db)
        # Declared keys were waited for; in another database they are others.
        declared = key in self._declared and db == self._home_db
        return is_own and (declared or not self._is_locked(db, key, plan.write))

    def _is_locked(self, db: int, key: bytes, write: bool) -> bool:
        is_locked = self._around.is_locked
        return is_locked is not None and is_locked(db, key, write)

    def _lack(self, db: int, key: bytes) -> None:
        """Note that a key is lacking, and go on as if it were missing, or as a stand-in of it is:
        so the next run asks for all that this one finds out. Raises: NeedKeys.
        """
        self._note(db, key)
        if key_slot(key) in self._store.slots:
            if self._store.borrowed is None or self._is_locked(db, key, True):
                raise self._needed().raised()  # what is there is not to be seen yet
            return
        assert self._trial is not None
        self._trial.pretend(db, key)

    def _note(self, db: int, key: bytes) -> None:
        lent = self._store.borrowed
        self._needed().keys[db if lent is None else lent.origin(db), key] = None

    def _needed(self) -> _Need:
        if self.need is None:
            self.need = _Need()
            self._calls_left = MAX_CALLS_TO_FIND_KEYS
        return self.need

    def _run(self, plan: _Plan, argv: list[bytes], first: Any) -> bytes:
        """Call a handler, and put its effects aside."""
        store = self._store
        store.dirty = 0
        store.effects = None
        command = plan.command
        command.calls += 1
        try:
            reply = encode(plan.handler(first, *argv[command.skip :]), self.resp)
        except ReplyError as error:
            command.failed += 1
            self._around.count_error(error.text)
            reply = error.encode()
        except NeedKeys as more:  # of SORT
            for db, key in more.keys:
                self._note(db, key)
            raise self._needed().raised() from None
        dirty, effects = store.dirty, store.effects
        if dirty or effects:
            self._take(dirty, [tuple(argv)] if effects is None else effects)
        return reply

    def _run_tracked(self, plan: _Plan, argv: list[bytes], first: Any) -> bytes:
        """The same for a client that tracks: what the calls read, it has read."""
        reply = ScriptRun._run(self, plan, argv, first)
        self._store.tracking.ran(plan.command, argv)
        return reply

    def _take(self, dirty: int, effects: list[tuple[bytes, ...]]) -> None:
        """Put the effects of a call aside."""
        self._dirty += dirty
        self.wrote = True
        if self._selected != self._db:
            self._effects.append((b"SELECT", b"%d" % self._db))
            self._selected = self._db
        self._effects += effects

    def _special(self, plan: _Plan, argv: list[bytes]) -> bytes:
        """Run what is no command over keys, or is not allowed."""
        command, spec = plan.command, plan.command.spec
        if CommandFlag.NOSCRIPT in spec.flags or command.guard is not None:
            return self._refuse(_NOT_ALLOWED)
        if plan.write:
            refusal = self._write_refused(plan)
            if refusal is not None:
                return refusal
        server = self._around.server
        assert server is not None
        if command.scope is Scope.CLIENT:
            return self._run_for_client(plan, argv, server)
        if command.scope is Scope.KEYSPACE and not (command.spanning or command.route):
            if self._trial is not None:
                refusal = self._reach(plan, argv)
                if refusal is not None:
                    return refusal
            return self._run(plan, argv, self._view)
        spanning = command.spanning
        if spanning is not None and (
            spanning.supervisor or (self._trial is not None and command.scope is Scope.SERVER)
        ):
            return self._refuse(errors.script_spans_processes(command.name).encode())
        if self._trial is not None:
            return self._run_wide(plan, argv)
        if spanning is None or spec.keys:
            return self._run(plan, argv, self._view)
        store = self._store
        store.dirty, store.effects = 0, None
        reply = encode(self._around.span_alone(command, argv, self._db, self.resp), self.resp)
        dirty, effects = store.dirty, store.effects
        if dirty or effects:
            self._take(dirty, [tuple(argv)] if effects is None else effects)
        return reply

    def _run_wide(self, plan: _Plan, argv: list[bytes]) -> bytes:
        """Run a command over whole databases: where all is locked, and here as far as it has to be.

        Raises: NeedKeys.
        """
        command, store = plan.command, self._store
        lent, trial = store.borrowed, self._trial
        assert trial is not None
        if lent is None and self._has_slot(command, argv):
            return self._run(plan, argv, self._view)
        listed = self._listed(command, argv)
        everything = lent is not None and lent.everything
        if not everything or any(not lent.has_names(db) for db in listed if lent is not None):
            if trial.sealed:
                return self._refuse(errors.script_sealed().encode())
            need = self._needed()
            need.everything = True
            need.names.update([db if lent is None else lent.origin(db) for db in listed])
            raise need.raised()
        assert lent is not None
        flushed = _FLUSHED.get(command.name)
        emptied = () if flushed is None else flushed(self._db, store.count)
        for db in emptied:
            if len(emptied) == 1 or store.has_database(db):
                lent.is_whole = True
                store.database(db).make_whole()
        reply = self._run(plan, argv, self._view)
        if reply[:1] != b"-":
            if emptied and not store.dirty:  # there may be keys elsewhere
                self._take(0, [tuple(argv)])
            lent.emptied.update([lent.origin(db) for db in emptied])
            if command.name == _SWAPS:
                lent.swap(*listed)
        return reply

    def _has_slot(self, command: Command, argv: list[bytes]) -> bool:
        """Tell whether a command concerns one slot only, which is ours and which nobody holds."""
        spanning = command.spanning
        if spanning is None or spanning.slot is None:
            return False
        slot = spanning.slot(*argv[command.skip :])
        return (
            slot is not None and slot in self._store.slots and self._view.db.read[slot] is not None
        )

    def _listed(self, command: Command, argv: list[bytes]) -> tuple[int, ...]:
        """Return the databases of which all keys have to be here."""
        if command.name in _FLUSHED:
            return ()
        if command.name != _SWAPS:
            return (self._db,)
        numbers = [parse_int(word) for word in argv[1:]]
        return tuple([one for one in numbers if one is not None and 0 <= one < self._store.count])

    def _run_for_client(self, plan: _Plan, argv: list[bytes], server: Server) -> bytes:
        """Run a command that wants a client, with one that has only database and protocol."""
        command = plan.command
        client = self._client
        if client is None:
            client = self._client = Client(server, 0, b"", b"", -1)
            client.authenticated = True
        client.db, client.resp = self._db, self.resp
        command.calls += 1
        try:
            reply = command.handler(client, *argv[command.skip :])
        except ReplyError as error:
            command.failed += 1
            self._around.count_error(error.text)
            return error.encode()
        assert reply is not LATER, command.name
        if client.db != self._db:
            self._db = client.db
            self._view = self._store.view(client.db)
        return encode(reply, self.resp)

    # -- beside it ---------------------------------------------------------------------------------

    def sha1hex(self, *args: Value) -> bytes:
        """redis.sha1hex."""
        if len(args) != 1:
            raise RaisedError(b"ERR wrong number of arguments", RaisedError.TABLE)
        text = argument_text(args[0])
        return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()

    def setresp(self, *args: Value) -> None:
        """redis.setresp: the protocol of the replies to calls."""
        if len(args) != 1:
            raise RaisedError(b"ERR redis.setresp() requires one argument.", RaisedError.TABLE)
        number = _integer(args[0])
        if number not in (2, 3):
            raise RaisedError(b"ERR RESP version must be 2 or 3.", RaisedError.TABLE)
        self.resp = number

    def set_repl(self, *args: Value) -> None:
        """redis.set_repl: checked; what a script changes is always logged."""
        if len(args) != 1:
            raise RaisedError(b"ERR redis.set_repl() requires one argument.", RaisedError.TABLE)
        if _integer(args[0]) & ~REPL_ALL:
            raise RaisedError(
                b"ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or"
                b" REPL_NONE.",
                RaisedError.TABLE,
            )

    def acl_check_cmd(self, *args: Value) -> bool:
        """redis.acl_check_cmd: whether the client may call this; all of them may do all."""
        argv = _texts(args)
        entry = find(argv[0])
        known = entry is not None
        if entry is not None and entry.subcommands and len(argv) > 1:
            known = argv[1].lower() in entry.subcommands
        if not known:
            raise RaisedError(
                b"ERR Invalid command passed to redis.acl_check_cmd()", RaisedError.TABLE
            )
        return True

    def log(self, *args: Value) -> None:
        """redis.log: a line in the server's log."""
        if len(args) < 2:
            raise RaisedError(b"ERR redis.log() requires two arguments or more.", RaisedError.TABLE)
        if args[0].__class__ not in (int, float):
            raise RaisedError(
                b"ERR First argument must be a number (log level).", RaisedError.TABLE
            )
        level = int(args[0])
        if not 0 <= level <= 3:
            raise RaisedError(b"ERR Invalid log level.", RaisedError.TABLE)
        texts = [argument_text(arg) for arg in args[1:]]
        log, text = self._around.log_script, b" ".join(texts)
        if self._trial is None:
            log(level, text)
        else:
            self._trial.tell(log, level, text)


def _integer(value: Value) -> int:
    """Return a number as an int, 0 for what is none, as lua_tonumber and a cast do."""
    text = argument_of(value)
    try:
        return 0 if text is None else int(float(text))
    except (ValueError, OverflowError):
        return 0


def argument_text(value: Value) -> bytes:
    """Return a string or number as Lua's tostring does, empty for anything else."""
    if value.__class__ is float:
        return b"%.14g" % value
    text = argument_of(value)
    return b"" if text is None else text


def _texts(args: tuple[Value, ...]) -> list[bytes]:
    """Return the arguments of a command as bytes. Raises: RaisedError."""
    if not args:
        raise RaisedError(
            b"ERR Please specify at least one argument for this redis lib call", RaisedError.TABLE
        )
    argv = list(args)
    for at, arg in enumerate(argv):
        if arg.__class__ is not bytes:
            text = argument_of(arg)
            if text is None:
                raise RaisedError(
                    b"ERR Lua redis lib command arguments must be strings or integers",
                    RaisedError.TABLE,
                )
            argv[at] = text
    return argv


_UNKNOWN: Final = b"-ERR Unknown Redis command called from script\r\n"
_WRONG_ARITY: Final = b"-ERR Wrong number of args calling Redis command from script\r\n"
_NOT_ALLOWED: Final = b"-ERR This Redis command is not allowed from script\r\n"
_READ_ONLY: Final = b"-ERR Write commands are not allowed from read-only scripts.\r\n"
