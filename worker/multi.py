"""MULTI and EXEC: what a client queues, where it runs, and how the answer comes together.

A client's side (`Transaction`, `Watching`, at its home). After MULTI the client's hot table leads
every command to `Transaction.queue` (`Dispatcher.bind`); so nobody else asks whether a client is in
a MULTI. What is queued was resolved once, and is kept with its `Command`.

EXEC looks where the keys of the queue, and the watched ones, lie (`Transactions.execute`):

- all here (always with one worker), and nothing that has to be asked of other processes: the queue
  runs at once, in order, `_run_here`;
- all in one other partition, keys only: one hop, `EXEC write <block>` (`commands/transactions.py`),
  whose reply is the client's;
- some commands concern the client or the server: the *block*, what concerns keys, runs in its
  partition as above; then the home runs the others in order, each perhaps with a question to
  another process, and puts the replies together (`_Finish`). The commands of the block can tell
  nothing from that: of the client they know the database and the protocol only, which SELECT and
  HELLO are tried for beforehand, on a copy of the client (`block_of`);
- several partitions: a ticket that runs in steps (`Spread`), then as above.

The owner (`run_block`) waits for the locks of all keys as any command does, asks `Watches` whether
a watched key was touched, and runs the block without a break; who waits for its keys is served
after it. What it changed is one record of the log.

A series of WATCH has a number, by which owners know it (`worker/watch.py`); they say TOUCHED when a
key of it was, so that the home need not ask, and CLIENT LIST shows it.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from shoal.proto import errors
from shoal.proto.errors import ReplyError
from shoal.proto.frames import MARSHAL_VERSION
from shoal.proto.limits import MAX_PEER_OUTBOX_BYTES, MAX_TRANSACTION_BYTES, PARK_MS
from shoal.proto.replies import NULL_ARRAY, OK, QUEUED, Node, Reply, encode
from shoal.proto.slots import key_slot, slot_range
from shoal.proto.spec import CommandFlag
from shoal.worker.client import Client, Link, ReplyMode
from shoal.worker.connection import Block, Connection
from shoal.worker.exec_plan import Plan, plan_of
from shoal.worker.peers import NUMBERS_PER_LIFE, TOUCHED, Context, Peer, context_of, split_context
from shoal.worker.registry import (
    COMMANDS,
    LATER,
    Command,
    LockScope,
    NeedKeys,
    Scope,
    find,
    is_wide,
    may_change,
    resolve,
    spans_databases,
)
from shoal.worker.scripting.service import EVALS_OF_SHAS, sha_of, with_text
from shoal.worker.tracking import Reader, reader_of, trial_of
from shoal.worker.trial import Trial
from shoal.worker.watch import Watches

if TYPE_CHECKING:
    from shoal.worker.blocking import Waiter
    from shoal.worker.participant import Participant
    from shoal.worker.peers import Hop
    from shoal.worker.server import Server

Hot = Callable[[bytes], Any]
# What `Dispatcher.run_batch` takes from a fused command: a reply; one to be given the generic way;
# what to do with the connection; None for the generic way.
Act = Callable[[Connection], object]
Queued = bytes | tuple[bytes] | tuple[None, Act] | None
Step = tuple[Command, list[bytes]]

# Never queued.
_AT_ONCE: Final = frozenset({"multi", "exec", "discard", "watch", "quit", "reset"})
# These tell the other workers, and wait for all of them to know; Redis queues them.
_LISTENING: Final = frozenset(
    name.encode() for kind in ("", "p", "s") for name in (f"{kind}subscribe", f"{kind}unsubscribe")
)
# These write the log out, or read it: they cannot stand inside of a record of it.
_SYNCING: Final = frozenset({"debug", "waitaof"})
# Asks the supervisor.
_CALLS: Final = "config|set"
_EVALS: Final = frozenset({b"eval", b"eval_ro"})
_CONTEXT_CHANGERS: Final = frozenset({"select", "hello", "auth"})
_TRACKING_CHANGERS: Final = frozenset({"client|tracking", "client|caching"})
_EXECS: Final = (b"EXEC", b"exec")
_ANY: Final = (0, 2)  # the context of a request to which it means nothing
_MARSHALLED: Final = b"["  # what a marshalled list begins with, and no reply
_HTTP: Final = (b"post", b"host:")
_PER_ARGUMENT_BYTES: Final = 8  # of multi-mem in CLIENT LIST: Redis's pointer to it

# What stands in place of a reply's type when the command has to be run again with more keys.
NEED: Final = b"\0"

EXEC: Final = b"EXEC"
# Words after EXEC, of the requests that homes send; no client may.
READ: Final = b"read"
WRITE: Final = b"write"
WATCH: Final = b"watch"
UNWATCH: Final = b"unwatch"


class Transaction:
    """What a client has queued since MULTI; after EXEC it is kept for the client's next MULTI.

    Attributes:
        commands: the queue; always the same list.
        brought: the texts of the scripts of its EVALs, by name, with several workers.
        odd: it holds more than commands of one key.
        failed: a command was refused: EXEC will be too; failed_writes: it had queued what CLIENT
            PAUSE WRITE holds back.
        doomed: nothing more is queued, for EXEC will be refused.
        outside: what the connection's hot table would be without MULTI.
        limit_at: above so many bytes received of the client it is time to count what is queued.
        plain, careful: hot tables, in which every name leads to what queues the command. `plain` is
            for when nothing is out of the ordinary with the client or the server.
    """

    __slots__ = (
        "brought",
        "careful",
        "client",
        "commands",
        "doomed",
        "failed",
        "failed_writes",
        "limit_at",
        "odd",
        "outside",
        "plain",
    )

    def __init__(
        self,
        client: Client,
        find: Callable[[bytes], Command | None],
        execute: tuple[None, Act],
        queue_carefully: Callable[[Client, list[bytes]], Queued],
    ) -> None:
        """Make one for a client, to be begun by `begin`.

        Args:
            client: whose it is.
            find: finds a command of one key by a usual spelling of its name.
            execute: how EXEC is answered where nothing is out of the ordinary.
            queue_carefully: queues any other command.
        """
        self.client = client
        commands = self.commands = list[Step]()
        self.brought: dict[bytes, bytes] = {}
        self.limit_at = 0
        self.odd = self.doomed = self.failed = self.failed_writes = False
        self.outside: Hot

        def queue(argv: list[bytes]) -> Queued:
            command = find(argv[0])
            if command is None:
                if argv[0] in _EXECS and len(argv) == 1:
                    return execute
                return queue_carefully(client, argv)
            arity = command.arity
            if len(argv) != arity and (arity > 0 or len(argv) < -arity):
                return queue_carefully(client, argv)
            if client.input_bytes > self.limit_at:
                return queue_carefully(client, argv)
            commands.append((command, argv))
            return QUEUED

        self.plain: Hot = lambda _: queue
        self.careful: Hot = lambda _: lambda argv: queue_carefully(client, argv)

    def with_own_text(self, command: Command, argv: list[bytes]) -> list[bytes]:
        """Return an EVALSHA of a script that an earlier EVAL of the queue brings as an EVAL: they
        may run in different workers.
        """
        if not self.odd:  # the first out of the ordinary in this transaction
            self.brought.clear()
        if command.name in _EVALS:
            self.brought[sha_of(argv[1])] = argv[1]
        if command.name not in EVALS_OF_SHAS:
            return argv
        text = self.brought.get(argv[1].lower())
        return argv if text is None else with_text(argv, text)

    def begin(self, limit_at: int, *, doomed: bool) -> None:
        """Begin anew, with an empty queue; arguments as the attributes."""
        self.limit_at = limit_at
        self.odd = self.failed = self.failed_writes = False
        self.doomed = doomed

    def table(self, *, plain: bool) -> Hot:
        """Return the hot table; `plain` as in the class."""
        return self.plain if plain and not self.doomed else self.careful

    def free(self) -> None:
        """Break the cycles, as the garbage collector is off: the client has gone."""
        self.commands.clear()
        self.brought.clear()
        del self.plain, self.careful

    def doom(self) -> None:
        """EXEC will be refused: queue nothing more."""
        self.doomed = True
        if isinstance(self.client.link, Connection):
            self.client.link.hot = self.careful

    def fail(self) -> None:
        """A command was refused."""
        self.failed = True
        self.failed_writes = self.is_paused_with_writes
        self.commands.clear()
        self.doom()

    @property
    def write(self) -> bool:
        """Whether a queued command writes."""
        return any(command.write for command, _ in self.commands)

    @property
    def roams(self) -> bool:
        """Whether a queued command may turn out to need keys that it does not name."""
        return any(command.roams for command, _ in self.commands)

    @property
    def is_paused_with_writes(self) -> bool:
        """Whether CLIENT PAUSE WRITE holds its EXEC back."""
        return self.failed_writes or any(may_change(command) for command, _ in self.commands)

    @property
    def size_bytes(self) -> int:
        """Bytes of the queued arguments."""
        return sum([sum(map(len, argv)) for _, argv in self.commands])

    @property
    def memory_bytes(self) -> int:
        """What CLIENT LIST shows as multi-mem: a pointer to each argument counts."""
        return self.size_bytes + _PER_ARGUMENT_BYTES * sum(len(argv) for _, argv in self.commands)


class Watching:
    """What a client watches.

    Attributes:
        number: of this series of WATCH.
        keys: database and key; empty once touched, as in Redis.
        counts: worker -> how many of them it has been asked to watch; kept.
        touched: one of them has changed.
    """

    __slots__ = ("client", "counts", "keys", "number", "touched")

    def __init__(self, number: int, client: Client) -> None:
        """Begin without keys."""
        self.number = number
        self.client = client
        self.keys: dict[tuple[int, bytes], None] = {}
        self.counts: dict[int, int] = {}
        self.touched = False

    def touch(self) -> None:
        """A watched key has changed: EXEC will answer null."""
        self.touched = True
        self.keys.clear()
        if self.client.multi is not None:
            self.client.multi.doom()


class StandIn:
    """Stands where a `Connection` does that waits for replies, and hands them to `then`.

    To the dispatcher it is a blocked connection: when no reply is missing any more it may go on,
    and going on means `then(replies)`.
    """

    __slots__ = (
        "base",
        "blocked",
        "client",
        "closed",
        "context",
        "eof",
        "in_flush",
        "out",
        "retry",
        "then",
        "todo",
        "wait",
        "waiting",
    )

    def __init__(self, client: Client, then: Callable[[list[bytes]], None] | None) -> None:
        """Wait for replies that `client` causes; without `then` nobody wants them."""
        self.client = copy(client)
        self.client.reply_mode = ReplyMode.ON
        self.client.link = Link()
        self.client.multi = self.client.kept_multi = None
        self.client.watching = None
        self.context = (client.db, client.resp)
        self.then = then
        self.out: list[bytes | None] = []
        self.base = 0
        self.waiting = 0
        self.blocked = Block.REPLY
        self.retry = False
        self.closed = then is None
        self.eof = False
        self.in_flush = True  # there is nothing to flush, ever
        self.todo: list[list[bytes]] = []
        self.wait = None

    def todo_drained(self) -> None:
        """Every reply is there."""
        then, self.then = self.then, None
        if then is not None:
            then(cast(list[bytes], self.out))

    def drop_input(self) -> None:
        """There is no input."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What transactions need of the dispatcher; each is its method of that name, but `generation`,
    which is this process's.
    """

    participant: Participant
    bind: Callable[[Connection], None]
    block: Callable[..., bool]
    call: Callable[..., Reply]
    call_supervisor: Callable[[Connection, tuple[Any, ...]], None]
    merge: Callable[..., Any]
    count_error: Callable[[bytes], None]
    exec_spanning: Callable[[Connection, Transaction], Node | bytes]
    fill: Callable[[Connection, int, bytes], None]
    generation: int
    held_by_pause: Callable[[bool], bool]
    hold_by_pause: Callable[[Connection], bool]
    hop: Callable[[Connection, Command, list[bytes], int], bool]
    hop_table: Callable[[Context], Hot]
    reply_and_serve: Callable[[Connection, bytes], None]
    run_for: Callable[[Reader | None, Command, list[bytes], int, int], Reply]
    send_hop: Callable[[Peer, Hop], None]
    send_steps: Callable[..., None]
    hold: Callable[[Sequence[Waiter], Callable[[], None]], None]
    serve_and: Callable[[Callable[[], None]], None]
    serve_ready: Callable[[], Sequence[Waiter]]
    span: Callable[[Connection, Command, list[bytes], list[int]], bool]
    span_alone: Callable[[Command, list[bytes], int, int], Reply]
    with_text: Callable[[list[bytes]], list[bytes]]
    fetch_for_queue: Callable[[Command, list[bytes]], Act | None]
    disk_error: Callable[[], bytes | None]
    now_ms: Callable[[], int]
    slot_peer: Sequence[Peer | None]
    peers: Sequence[Peer | None]


class Transactions:
    """All about MULTI, EXEC and WATCH of one worker, as home and as owner.

    Attributes:
        watches: who watches keys of this partition.
    """

    def __init__(self, server: Server, ways: Ways) -> None:
        """Begin without any."""
        self.ways = ways
        self._server = server
        self._store = server.store
        self.index, self.workers = server.index, server.workers
        self._series: dict[int, Watching] = {}  # of our clients, by number
        self._last_number = ways.generation * NUMBERS_PER_LIFE
        self.watches = Watches(self._store, self._tell_touched)
        self._config = server.config
        self._busy = ways.participant.busy
        self._one_key_names: dict[bytes, Command] = {}
        self._multi, self._exec = COMMANDS[b"multi"], COMMANDS[b"exec"]
        self._begin_act: tuple[None, Act] = (None, self._begin_now)
        self._execute_act: tuple[None, Act] = (None, self._execute_now)
        for name, command in COMMANDS.items():
            if _is_plain(command) and _has_one_key(command):
                self._one_key_names[name] = self._one_key_names[name.upper()] = command
        self._one_key = frozenset(self._one_key_names.values())

    @property
    def watching_clients(self) -> int:
        """How many of our clients watch keys."""
        return sum(bool(watching.keys) for watching in self._series.values())

    # -- queueing --------------------------------------------------------------------------------

    def begin(self, client: Client) -> None:
        """MULTI."""
        self._begin(client)
        self.ways.bind(_connection_of(client))

    def _begin(self, client: Client) -> Transaction:
        if client.multi is not None:
            raise errors.nested_multi()
        watching = client.watching
        transaction = client.kept_multi
        if transaction is None:
            transaction = client.kept_multi = Transaction(
                client, self._one_key_names.get, self._execute_act, self._queue_carefully
            )
        transaction.begin(
            client.input_bytes + self._limit_bytes(),
            doomed=watching is not None and watching.touched,
        )
        client.multi = transaction
        return transaction

    def fused_multi(self, argv: list[bytes]) -> tuple[None, Act] | None:
        """MULTI of a client with whom nothing is out of the ordinary."""
        return self._begin_act if len(argv) == 1 else None

    def _begin_now(self, conn: Connection) -> None:
        client = conn.client
        transaction = client.kept_multi
        if transaction is None or client.watching is not None:
            transaction = self._begin(client)
            hot = transaction.table(plain=True)
        else:  # as `_begin`
            transaction.limit_at = client.input_bytes + self._config.client_query_buffer_limit
            transaction.odd = transaction.failed = transaction.doomed = False
            transaction.failed_writes = False
            client.multi = transaction
            hot = transaction.plain
        transaction.outside = conn.hot
        conn.hot = hot
        conn.out.append(OK)
        client.last_command = b"multi"
        self._multi.calls += 1

    def _execute_now(self, conn: Connection) -> None:
        """EXEC of such a client."""
        client = conn.client
        client.last_command = b"exec"
        self._exec.calls += 1
        transaction = client.multi
        assert transaction is not None
        try:
            reply: Reply
            if (
                self.workers == 1
                and not transaction.odd
                and client.watching is None
                and not self._busy
            ):
                reply = self._run_here(conn, transaction)
            else:
                reply = self.execute(client)
        except ReplyError as error:
            self._exec.failed += 1
            self.ways.count_error(error.text)
            reply = error.encode()
        if reply is not LATER:
            self.ways.reply_and_serve(conn, encode(reply, client.resp))
            if client.close_after_reply:
                conn.blocked = Block.CLOSING

    def _limit_bytes(self) -> int:
        return min(self._config.client_query_buffer_limit, MAX_TRANSACTION_BYTES)

    def _queue_carefully(self, client: Client, argv: list[bytes]) -> Queued:
        """Check a command as Redis does before it queues one; None if it goes the generic way."""
        ways, transaction = self.ways, client.multi
        assert transaction is not None
        entry = find(argv[0])
        try:
            if entry is not None and entry.spec.name in _AT_ONCE:
                if not entry.spec.arity_fits(len(argv)):
                    entry.rejected += 1
                    raise errors.wrong_arity(entry.name)
                return None
            command = resolve(argv)
            if command.guard is not None:
                command.guard(client)
            if CommandFlag.NO_MULTI in command.spec.flags or command.name in _LISTENING:
                command.rejected += 1
                raise errors.not_in_transaction()
            disk_error = ways.disk_error()
            if command.write and disk_error is not None and self._is_ours(command, argv):
                raise ReplyError(disk_error[1:-2])
        except ReplyError as error:
            if argv[0].lower() in _HTTP:
                return None
            ways.count_error(error.text)
            transaction.fail()
            if entry is not None and entry.spec.name == "exec":
                self.discard(client)
            return (error.encode(),)
        if ways.held_by_pause(may_change(command)):
            return None  # where it is held back
        if not transaction.doomed:
            if command.scope is Scope.SCRIPT and self.workers > 1:
                argv = transaction.with_own_text(command, argv)
                command = resolve(argv)
                fetch = ways.fetch_for_queue(command, argv)
                if fetch is not None:  # the command comes again
                    return None, fetch
            transaction.commands.append((command, argv))
            transaction.odd = True
            if client.input_bytes > transaction.limit_at and self._is_too_large(client):
                return (b"",)
        client.last_command = command.name
        return (QUEUED,)

    def _is_at_ease(self, client: Client) -> bool:
        """Tell whether EXEC need not look at anything but the transaction."""
        return (
            client.reply_mode is ReplyMode.ON
            and not self._server.pause.until_ms
            and self.ways.disk_error() is None
        )

    def _is_ours(self, command: Command, argv: list[bytes]) -> bool:
        positions = command.spec.key_positions(argv) if command.spec.keys else ()
        return self.workers == 1 or any(self.owner(argv[at]) == self.index for at in positions)

    def _is_too_large(self, client: Client) -> bool:
        """Count what is queued, and close if it is too much: to Redis it is a part of the query
        buffer.
        """
        transaction = client.multi
        assert transaction is not None
        limit, size = self._limit_bytes(), transaction.size_bytes + client.query_bytes
        if size <= limit:
            transaction.limit_at = client.input_bytes + limit - size
            return False
        _connection_of(client).close_over_query_limit()
        return True

    def discard(self, client: Client) -> None:
        """End the transaction and what is watched: DISCARD, and whatever else ends a MULTI."""
        self.end_multi(client)
        self.unwatch(client)

    def client_gone(self, client: Client) -> None:
        """A connection has closed."""
        kept, client.kept_multi = client.kept_multi, None
        if client.multi is not None or client.watching is not None:
            self.discard(client)
        if kept is not None:
            kept.free()

    def end_multi(self, client: Client) -> None:
        """Leave MULTI, if the client is in one."""
        transaction, client.multi = client.multi, None
        if transaction is not None:
            transaction.commands.clear()
            if isinstance(client.link, Connection):
                client.link.hot = transaction.outside
            if client.tracking is not None:
                client.tracking.given = False
                client.link.state_changed()

    # -- watching, at the home -------------------------------------------------------------------

    def watch(self, client: Client, keys: tuple[bytes, ...]) -> Node | bytes:
        """WATCH; LATER if other workers are asked."""
        if client.multi is not None:
            raise errors.watch_in_multi()
        conn, db = _connection_of(client), client.db
        watching = client.watching
        known = watching.keys if watching is not None else {}
        by_worker: dict[int, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            if (db, key) not in known:
                by_worker.setdefault(self.owner(key), []).append(key)
        if any(self._stalled(conn, worker) for worker in by_worker):
            return LATER
        if watching is None:
            self._last_number += 1
            number = self._last_number * self.workers + self.index
            watching = client.watching = self._series[number] = Watching(number, client)
        for worker, wanted in by_worker.items():
            watching.keys.update([((db, key), None) for key in wanted])
            watching.counts[worker] = watching.counts.get(worker, 0) + len(wanted)
        if watching.touched:
            return OK
        here = by_worker.pop(self.index, None)
        if here is not None:
            self.watches.watch(watching.number, db, here)
        if not by_worker:
            return OK
        number_arg = b"%d" % watching.number
        requests = [
            (worker, [EXEC, WATCH, number_arg, *wanted]) for worker, wanted in by_worker.items()
        ]
        if len(requests) == 1:
            worker, request = requests[0]
            self._hop(conn, request, worker)
            return LATER
        fill = self.ways.fill
        at = _place(conn)
        self.ways.block(conn, Block.REPLY)

        def then(replies: list[bytes]) -> None:
            failed = [reply for reply in replies if reply != OK]
            fill(conn, at, failed[0] if failed else OK)

        stand_in = StandIn(client, then)
        for worker, request in requests:
            self._hop(stand_in, request, worker)
        return LATER

    def unwatch(self, client: Client) -> None:
        """Watch nothing any more."""
        watching, client.watching = client.watching, None
        if watching is not None:
            self.end_series(watching, None)

    def end_series(self, watching: Watching, executing: int | None) -> None:
        """Tell the owners that a series has ended, but for the one that runs its EXEC, which ends
        it there.
        """
        del self._series[watching.number]
        self.end_watching(watching, executing)

    def end_watching(self, watching: Watching, executing: int | None = None) -> None:
        """The same of a series that is not listed any more."""
        for worker in watching.counts:
            if worker == executing:
                continue
            peer = self.ways.peers[worker]
            if peer is None:
                self.watches.end(watching.number)
                continue
            # A request, not a note: it has to come behind the WATCH that it ends.
            request = [EXEC, UNWATCH, b"%d" % watching.number]
            hop: Hop = (cast(Connection, StandIn(watching.client, None)), -1, request, _ANY)
            if peer.up:
                self.ways.send_hop(peer, hop)
            else:
                peer.park(self.ways.now_ms() + PARK_MS, hop)

    def is_over(self, request: list[bytes]) -> bool:
        """Tell whether a request to an owner is a WATCH of a client that has gone meanwhile."""
        return request[:2] == [EXEC, WATCH] and int(request[2]) not in self._series

    def touched(self, number: int) -> None:
        """An owner says that a key of a series was touched."""
        watching = self._series.get(number)
        if watching is not None:
            watching.touch()

    def _tell_touched(self, number: int) -> None:
        peer = self.ways.peers[number % self.workers]
        if peer is None:
            self.touched(number)
        else:
            peer.notes.append((number, TOUCHED))

    def peer_lost(self, peer: Peer) -> None:
        """An owner has died, and what it watched for us is not watched any more."""
        for watching in self._series.values():
            if peer.worker in watching.counts:
                watching.touch()

    def home_lost(self, peer: Peer) -> None:
        """A home has died: nobody asks any more for what its clients watched."""
        self.watches.end_all(lambda number: number % self.workers == peer.worker)

    # -- EXEC, at the home -----------------------------------------------------------------------

    def execute(self, client: Client) -> Node | bytes:
        """EXEC; LATER if its reply is on its way, or has been put in its place."""
        transaction = client.multi
        if transaction is None:
            raise errors.exec_without_multi()
        ways, conn = self.ways, _connection_of(client)
        if not self._is_at_ease(client):
            disk_error = ways.disk_error()
            if disk_error is not None and self.workers == 1 and transaction.write:
                self.discard(client)
                raise errors.exec_aborted(ReplyError(disk_error[1:-2]))
            if ways.held_by_pause(transaction.is_paused_with_writes):
                ways.hold_by_pause(conn)
                return LATER
        if transaction.failed:
            self.discard(client)
            raise errors.exec_aborted()
        watching = client.watching
        if watching is not None and watching.touched:
            self.discard(client)
            return NULL_ARRAY
        try:
            where, at_home, asks = self._plan(client, transaction.commands)
        except ReplyError as error:
            self.discard(client)
            raise errors.exec_aborted(error) from None
        if where is None:
            return ways.exec_spanning(conn, transaction)
        if where == self.index and not asks and not ways.participant.busy:
            return self._run_here(conn, transaction)
        if self._stalled(conn, where):
            return LATER
        try:
            if where == self.index or at_home:
                return _Finish(self, conn, transaction, where).start()
            request = self.request(client, transaction, where, joined=True)
            self.leave(client, where)
            roams = transaction.roams
            self.end_multi(client)
            self._hop(conn, request, where)
            if roams:  # nothing of the client before it
                ways.block(conn, Block.REPLY)
        except ReplyError as error:
            raise errors.exec_aborted(error) from None
        return LATER

    def leave_to_parts(self, client: Client) -> None:
        """An EXEC is on its way to all owners of what is watched, which end it."""
        watching, client.watching = client.watching, None
        if watching is not None:
            del self._series[watching.number]

    def leave(self, client: Client, where: int) -> None:
        """An EXEC is on its way to the owner, which ends there what is watched."""
        watching, client.watching = client.watching, None
        if watching is not None:
            self.end_series(watching, where)

    def _stalled(self, conn: Connection, worker: int) -> bool:
        """Let the client wait and try again if it sends faster than another worker takes it."""
        peer = self.ways.peers[worker]
        if peer is None or peer.outbox_bytes <= MAX_PEER_OUTBOX_BYTES:
            return False
        peer.stalled.append(conn)
        return self.ways.block(conn, Block.PEER, retry=True)

    def _hop(self, conn: Connection | StandIn, request: list[bytes], worker: int) -> None:
        slot = slot_range(worker, self.workers).start
        self.ways.hop(cast(Connection, conn), resolve(request), request, slot)

    def hop(self, stand_in: StandIn, request: list[bytes], worker: int) -> None:
        """Send a request whose reply is the stand-in's. Raises: ReplyError TRYAGAIN."""
        self._hop(stand_in, request, worker)

    def owner(self, key: bytes) -> int:
        """Return the worker that has a key."""
        return self.worker_of(key_slot(key))

    def worker_of(self, slot: int) -> int:
        """Return the worker that has a slot."""
        peer = self.ways.slot_peer[slot]
        return self.index if peer is None else peer.worker

    def _plan(self, client: Client, steps: list[Step]) -> tuple[int | None, bool, bool]:
        """Find where a transaction's keys are.

        Returns: the worker, None for several; whether some commands are the home's; whether any of
            those has to ask another process.
        Raises: ReplyError of a command that names no place (SCAN).
        """
        alone = self.workers == 1
        watching = client.watching
        wanted = set() if watching is None else set(watching.counts)
        at_home = asks = False
        one_key = self._one_key
        for command, argv in steps:
            if command in one_key:
                if not alone:
                    wanted.add(self.owner(argv[1]))
                continue
            if command.roams and not alone:  # it may turn out to need other partitions
                if watching is not None:
                    return None, True, True
                asks = True
            spanning, keys = command.spanning, command.spec.keys
            if command.scope is Scope.CLIENT:
                at_home = True
                asks |= command.spec.name == _CALLS
            elif command.scope is Scope.SERVER:
                assert spanning is not None
                at_home = True
                asks |= spanning.supervisor or not alone or command.spec.name in _SYNCING
                if not alone and spanning.locks is not LockScope.NOTHING:
                    return None, True, True
            elif alone:
                pass
            elif command.route is not None:
                wanted.add(self.worker_of(command.route(argv)))
            elif keys:
                wanted.update([self.owner(argv[at]) for at in command.spec.key_positions(argv)])
            elif spanning is not None:
                return None, True, True
        if len(wanted) > 1:
            return None, at_home, asks
        return (wanted.pop() if wanted else self.index), at_home, asks

    def _run_here(self, conn: Connection, transaction: Transaction) -> Node | bytes:
        """Run all of a transaction now: everything that it needs is here.

        Who gives its client the reply then calls `Ways.serve_ready`: what is told of the
        transaction comes behind.
        """
        client = conn.client
        watching = client.watching
        if watching is not None:
            may_run = self.watches.may_run(watching.number, watching.counts.get(self.index, 0))
            self.leave(client, self.index)
            if not may_run:
                self.end_multi(client)
                return NULL_ARRAY
        steps = transaction.commands
        segment = self._server.segment
        pieces: list[bytes] = []
        if segment is not None:
            pieces = segment.pieces
            segment.begin_block()
        logged, times = len(pieces), 0
        replies: list[bytes] = []
        if client.reply_mode is not ReplyMode.OFF:
            replies.append(b"*%d\r\n" % len(steps))
        hot = transaction.outside
        for command, argv in steps:
            fused = hot(argv[0])
            reply = None if fused is None else fused(argv)
            if reply.__class__ is bytes:
                replies.append(reply)
            elif reply.__class__ is tuple:
                replies += reply
            else:
                reply = self._run_step(client, command, argv)
                if client.reply_mode is not ReplyMode.OFF:
                    replies.append(reply)
                hot = transaction.outside
            if len(pieces) != logged:
                logged = len(pieces)
                times += 1
        if segment is not None:
            segment.end_block(several=times > 1)
        self.end_multi(client)
        reply = b"".join(replies)
        if client.reply_mode is not ReplyMode.ON:
            _settle_reply_mode(client)
            conn.out.append(reply)
            self.ways.serve_ready()
            return LATER
        return reply

    def _run_step(self, client: Client, command: Command, argv: list[bytes]) -> bytes:
        """Run one command of a client whose keys, if any, are all here."""
        if command.on_keys:
            return self._run_in_block(command, argv, client.db, client.resp, reader_of(client))
        if command.scope is Scope.CLIENT:
            reply = self.run_at_home(client, command, argv)
            assert reply is not None, argv[0]
            return reply
        return self.run_alone(client, command, argv)

    def run_at_home(self, client: Client, command: Command, argv: list[bytes]) -> bytes | None:
        """Run a command about the client; None if its reply comes later."""
        try:
            reply = self.ways.call(command, command.handler, client, argv)
        except ReplyError as error:
            self.ways.count_error(error.text)
            return error.encode()
        if command.spec.name == "client|reply" and client.reply_mode is not ReplyMode.ON:
            return b""
        return None if reply is LATER else encode(reply, client.resp)

    def run_alone(self, client: Client, command: Command, argv: list[bytes]) -> bytes:
        """Run a command about the server, where this worker is all of it."""
        assert command.spanning is not None
        prepare = command.spanning.prepare
        if prepare is not None:
            try:
                argv = [*argv[: command.skip], *prepare(client, tuple(argv[command.skip :]))]
            except ReplyError as error:
                self.ways.count_error(error.text)
                return error.encode()
        return encode(self.ways.span_alone(command, argv, client.db, client.resp), client.resp)

    def request(
        self, client: Client, transaction: Transaction, where: int, *, joined: bool
    ) -> list[bytes]:
        """Return the request for a transaction's block.

        Args:
            client: whose transaction it is; its database and protocol are those of the beginning.
            transaction: what it queued.
            where: the owner that is asked.
            joined: the answer is the reply to EXEC; else a marshalled list of the replies, or that
                reply if it is no array.
        """
        watching = client.watching
        number, count = (
            (0, 0)
            if watching is None
            else (
                watching.number,
                watching.counts.get(where, 0),
            )
        )
        items = list(block_of(client, transaction.commands, self.ways.with_text))
        roams = self.workers > 1 and transaction.roams
        blob = marshal.dumps((number, count, joined, roams, items), MARSHAL_VERSION)
        return [EXEC, WRITE if transaction.write else READ, blob]

    # -- EXEC, at the owner ----------------------------------------------------------------------

    def run_request(self, blob: bytes) -> bytes:
        """Run what `request` has made, all locks granted, and return its answer.

        Raises: NeedKeys, and then nothing has been run.
        """
        number, count, joined, roams, items = marshal.loads(blob)
        if roams:
            assert not number, "what is watched ends with the run"
            replies: list[bytes] | None = self._run_block_tentatively(items)
        else:
            replies = self.run_block(number, count, items)
        self._store.dirty = 0  # all is logged
        self._store.effects = None
        if replies is None:
            return NULL_ARRAY.encode(split_context(items[0])[1])
        return _answer_of(replies, joined=joined)

    def refuse(self, argv: list[bytes]) -> None:
        """End what is watched by a request that is not run."""
        if argv[1] in (READ, WRITE):
            self.watches.end(marshal.loads(argv[2])[0])

    def run_block(self, number: int, count: int, items: Sequence[Any]) -> list[bytes] | None:
        """Run the commands of a transaction that concern this partition, all locks granted.

        Args:
            number: of the watcher, 0 for none; it ends here.
            count: how many keys of this partition it watches.
            items: argvs, each under the last context before it; the first is a context.
        Returns: the replies; None if a watched key was touched, and nothing was run.
        """
        if number and not self.watches.may_run(number, count):
            return None
        segment = self._server.segment
        pieces: list[bytes] = []
        if segment is not None:
            pieces = segment.pieces
            segment.begin_block()
        logged, times = len(pieces), 0
        replies: list[bytes] = []
        db = resp = 0
        reader: Reader | None = None
        hot: Hot
        for item in items:
            if item.__class__ is tuple:
                db, resp, reader = split_context(item)
                hot = self.ways.hop_table(item)
                continue
            fused = hot(item[0])
            reply = None if fused is None else fused(item)
            if reply.__class__ is bytes:
                replies.append(reply)
            elif reply.__class__ is tuple:
                replies += reply
            else:
                replies.append(self._run_in_block(resolve(item), item, db, resp, reader))
            if len(pieces) != logged:
                logged = len(pieces)
                times += 1
        if segment is not None:
            segment.end_block(several=times > 1)
        return replies

    def count_retry(self) -> None:
        """A block with scripts was taken back, to be run with more keys."""
        self._server.stats.script_retries += 1

    def replies_of(self, plan: Plan, replies: list[Any]) -> list[bytes]:
        """Return the replies of a transaction that has run in steps, its commands counted."""
        found = plan.replies_of(replies, self.ways.merge)
        for (command, _), reply in zip(plan.commands, found, strict=True):
            if is_wide(command):
                continue  # counted as it was merged
            command.calls += 1
            if reply[:1] == b"-":
                command.failed += 1
                self.ways.count_error(reply[1:-2])
        return found

    def plan(self, items: Sequence[Any], watched: Sequence[tuple[int, bytes]]) -> Plan:
        """Plan a transaction that runs in steps; arguments as of `plan_of`."""
        return plan_of(
            items,
            watched,
            workers=self.workers,
            home=self.index,
            owner=self.owner,
            slot_owner=self.worker_of,
        )

    def _run_block_tentatively(self, items: Sequence[Any]) -> list[bytes]:
        """As `run_block`, where a script may turn out to need keys of other partitions. Raises:
        NeedKeys, and then nothing has been run.
        """
        segment = self._server.segment
        if segment is not None:
            segment.begin_block()
        trial = Trial(self._store)
        replies: list[bytes] = []
        db = resp = 0
        reader: Reader | None = None
        try:
            for item in items:
                if item.__class__ is tuple:
                    db, resp, reader = split_context(item)
                    continue
                command = resolve(item)
                if command.scope is Scope.KEYSPACE:
                    trial.keep_for(command, item, db)
                try:
                    reply = self.ways.run_for(reader, command, item, db, resp)
                except NeedKeys:
                    if not trial.sealed:
                        raise
                    reply = errors.script_sealed().encode()
                replies.append(encode(reply, resp))
        except NeedKeys:
            trial.undo()
            if segment is not None:
                segment.drop_block()
            raise
        trial.commit()
        if segment is not None:
            segment.end_block(several=len(replies) > 1)
        return replies

    def _run_in_block(
        self, command: Command, argv: list[bytes], db: int, resp: int, reader: Reader | None
    ) -> bytes:
        if command.spanning is not None and not command.spec.keys:  # there is one partition
            return encode(self.ways.span_alone(command, argv, db, resp), resp)
        return encode(self.ways.run_for(reader, command, argv, db, resp), resp)


class _Finish:
    """An EXEC whose reply is put together of a block's and of the home's own commands, or whose
    block may have to wait. Its client waits meanwhile.
    """

    def __init__(
        self, transactions: Transactions, conn: Connection, transaction: Transaction, where: int
    ) -> None:
        self._transactions = transactions
        self._conn = conn
        self._client = conn.client
        self._transaction = transaction
        self._where = where
        self._steps: Iterator[Step] = iter(list(transaction.commands))
        self._count = len(transaction.commands)
        self._block: Iterator[bytes] = iter(())
        self._replies: list[bytes] = []
        self._at = 0

    def start(self) -> Node:
        """Send or run the block. Raises: ReplyError if that is refused."""
        transactions, client = self._transactions, self._client
        request = transactions.request(client, self._transaction, self._where, joined=False)
        transactions.leave(client, self._where)
        try:
            if self._where == transactions.index:
                self._run_block(request)
            else:
                self._take_place()
                transactions.hop(StandIn(client, self._answered), request, self._where)
        except ReplyError:
            transactions.refuse(request)
            transactions.end_multi(client)
            raise
        return LATER

    def _take_place(self) -> None:
        self._at = _place(self._conn)
        self._transactions.ways.block(self._conn, Block.REPLY)

    def _run_block(self, request: list[bytes]) -> None:
        transactions = self._transactions
        ways = transactions.ways

        def resume() -> None:
            disk_error = ways.disk_error()
            if disk_error is not None and self._transaction.write:
                transactions.refuse(request)
                error = errors.exec_aborted(ReplyError(disk_error[1:-2]))
                self._end(error.encode())
                return
            try:
                answer = transactions.run_request(request[2])
            except NeedKeys:  # and nothing of it was done
                stand_in = StandIn(self._client, self._answered)
                Wider(transactions, cast(Connection, stand_in), _place(stand_in), request).send()
                return
            ways.serve_and(lambda: self._answered([answer]))

        admitted = ways.participant.admit(*claim_of(request), self._transaction.write, resume)
        self._take_place()
        if admitted:
            resume()

    def _answered(self, replies: list[bytes]) -> None:
        (answer,) = replies
        if answer[:1] != _MARSHALLED:
            self._end(answer)
            return
        self.ran(marshal.loads(answer))

    def _go_on(self) -> None:
        for command, argv in self._steps:
            if command.on_keys:
                reply: bytes | None = next(self._block)
            else:
                reply = self._run_at_home(command, argv)
            if reply is None:
                return  # `_told` goes on
            self._add(reply)
        _settle_reply_mode(self._client)
        self._end(b"".join(self._replies))

    def ran(self, replies: list[bytes]) -> None:
        """The commands that concern keys have been run; the home's own are left."""
        self._block = iter(replies)
        self._add(b"*%d\r\n" % self._count)
        self._go_on()

    def _told(self, replies: list[bytes]) -> None:
        (reply,) = replies
        self._add(reply)
        self._go_on()

    def _add(self, reply: bytes) -> None:
        if self._client.reply_mode is not ReplyMode.OFF:
            self._replies.append(reply)

    def _run_at_home(self, command: Command, argv: list[bytes]) -> bytes | None:
        """Run a command of the home; None if another process is asked."""
        transactions, client = self._transactions, self._client
        ways = transactions.ways
        if command.scope is Scope.SERVER:
            assert command.spanning is not None
            if transactions.workers == 1 and not command.spanning.supervisor:
                return transactions.run_alone(client, command, argv)
            stand_in = cast(Connection, StandIn(client, self._told))
            try:
                ways.span(stand_in, command, argv, [])
            except ReplyError as error:
                ways.count_error(error.text)
                return error.encode()
            return None
        if command.spec.name != _CALLS:
            return transactions.run_at_home(client, command, argv)
        link, stand_in = client.link, cast(Connection, StandIn(client, self._told))
        client.link = _CallLink(lambda request: ways.call_supervisor(stand_in, request))
        try:
            return transactions.run_at_home(client, command, argv)
        finally:
            client.link = link

    def _end(self, reply: bytes) -> None:
        conn, client, transactions = self._conn, self._client, self._transactions
        if client.multi is self._transaction:
            transactions.end_multi(client)
        transactions.ways.fill(conn, self._at, reply)
        if client.close_after_reply and not conn.closed:
            conn.blocked = Block.CLOSING
            conn.drop_input()


class Spread(_Finish):
    """An EXEC over several partitions: its steps run under one ticket (`worker/exec_plan.py`).

    Attributes:
        plan: what was sent.
    """

    def __init__(
        self, transactions: Transactions, conn: Connection, transaction: Transaction
    ) -> None:
        super().__init__(transactions, conn, transaction, -1)
        client = conn.client
        self._resp = client.resp
        self._watching = watching = client.watching
        ways = transactions.ways
        self.plan = transactions.plan(
            list(block_of(client, transaction.commands, ways.with_text)),
            () if watching is None else tuple(watching.keys),
        )

    def parts(self) -> dict[int, bytes]:
        """Return the part of each worker, and keep the reply's place."""
        watching, write = self._watching, self._transaction.write
        parts: dict[int, bytes] = {}
        for worker, (db, keys) in self.plan.locks.items():
            watched = 0 if watching is None else watching.counts.get(worker, 0)
            number = watching.number if watching is not None and watched else 0
            part = (db, keys, write, None, number, watched, reader_of(self._client))
            parts[worker] = marshal.dumps(part, MARSHAL_VERSION)
        self._transactions.leave_to_parts(self._client)
        self._take_place()
        return parts

    def answered(self, replies: list[Any] | None) -> None:
        """All steps have run; None if a watched key was touched, and none has."""
        if replies is None:
            self._end(NULL_ARRAY.encode(self._resp))
            return
        found = self._transactions.replies_of(self.plan, replies)
        self.ran(found)

    def refused(self, text: bytes) -> None:
        """Nothing has run, and nothing will."""
        if self._watching is not None:
            self._transactions.end_watching(self._watching)
        self._end(errors.exec_aborted(ReplyError(text)).encode())


class Wider:
    """A transaction's block that has turned out to need other partitions, and was taken back: it
    runs in steps now, under locks on everything.

    Attributes:
        plan: what was sent.
    """

    def __init__(
        self, transactions: Transactions, conn: Connection, at: int, request: list[bytes]
    ) -> None:
        """Let `request` be answered at place `at` of a connection."""
        self._transactions, self._conn, self._at = transactions, conn, at
        _, _, self._joined, _, items = marshal.loads(request[2])
        self._write = request[1] == WRITE
        _, _, self._reader = split_context(items[0])
        self.plan = transactions.plan(items, ())

    def send(self) -> None:
        """Send it to the coordinator."""
        self._transactions.count_retry()
        parts = {
            worker: marshal.dumps(
                (db, keys, self._write, None, 0, 0, self._reader), MARSHAL_VERSION
            )
            for worker, (db, keys) in self.plan.locks.items()
        }
        self._transactions.ways.send_steps(self, parts, self._write)

    def answered(self, replies: list[Any] | None) -> None:
        """All steps have run."""
        assert replies is not None, "nothing is watched"
        found = self._transactions.replies_of(self.plan, replies)
        self._transactions.ways.fill(self._conn, self._at, _answer_of(found, joined=self._joined))

    def refused(self, text: bytes) -> None:
        """Nothing has run, and nothing will."""
        error = errors.exec_aborted(ReplyError(text))
        self._transactions.ways.fill(self._conn, self._at, error.encode())


class _CallLink(Link):
    """The link of a client while a command of its EXEC asks the supervisor."""

    def __init__(self, ask: Callable[[tuple[Any, ...]], None]) -> None:
        self._ask = ask

    def call_supervisor(self, request: tuple[Any, ...]) -> None:
        self._ask(request)


def block_of(
    client: Client, steps: Sequence[Step], with_text: Callable[[list[bytes]], list[bytes]]
) -> Iterator[Any]:
    """Yield the commands of a queue that concern keys, each under its context, which is yielded
    when it changes: as it is at the beginning, or as SELECT, HELLO and CLIENT TRACKING in the queue
    will have made it.
    """
    context = context_of(client.db, client.resp, reader_of(client))
    yield context
    trial: Client | None = None
    for command, argv in steps:
        if command.on_keys:
            # Who runs it may not know the script.
            yield argv if command.scope is Scope.KEYSPACE else with_text(argv)
        elif command.spec.name in _CONTEXT_CHANGERS or command.spec.name in _TRACKING_CHANGERS:
            if trial is None:
                trial = StandIn(client, None).client
            with suppress(ReplyError):
                if command.spec.name in _CONTEXT_CHANGERS:
                    command.handler(trial, *argv[1:])
                else:
                    trial.tracking = trial_of(trial.tracking, argv)
            after = context_of(trial.db, trial.resp, reader_of(trial))
            if after != context:
                context = after
                yield context


def _answer_of(replies: list[bytes], *, joined: bool) -> bytes:
    """Return what a request for a block is answered; see `Transactions.request`."""
    if joined:
        return b"*%d\r\n%b" % (len(replies), b"".join(replies))
    return marshal.dumps(replies, MARSHAL_VERSION)


def claim_of(request: list[bytes]) -> tuple[int | None, tuple[bytes, ...] | None]:
    """Return what a request of a home locks, as `Participant.admit` wants it.

    WATCH and UNWATCH lock nothing: a change that runs is seen, whoever holds the lock.
    """
    if request[1] not in (READ, WRITE):
        return 0, ()
    dbs: set[int] = set()
    keys: list[bytes] = []
    everything = False
    db = 0
    for item in marshal.loads(request[2])[4]:
        if isinstance(item, tuple):
            db = split_context(item)[0]
            continue
        command = resolve(item)
        spec = command.spec
        if not spec.keys:
            if command.spanning is not None:
                return None, None
            continue
        if spans_databases(command, item, db):
            return None, None
        dbs.add(db)
        keys += [item[at] for at in spec.key_positions(item)]
        # SORT reads keys that only its run can name.
        everything |= any(one.unknown and one.find is None for one in spec.keys)
    if len(dbs) > 1:
        return None, None
    return (dbs.pop() if dbs else 0), None if everything else tuple(keys)


def _is_plain(command: Command) -> bool:
    """Tell whether nothing but the number of its arguments decides how a command is queued."""
    return not (
        command.subcommands
        or command.variants
        or command.guard is not None
        or command.spec.name in _AT_ONCE
        or CommandFlag.NO_MULTI in command.spec.flags
        or command.name in _LISTENING
    )


def _has_one_key(command: Command) -> bool:
    """Tell whether a command's first argument is its key, and no other is."""
    keys = command.spec.keys
    return (
        command.scope is Scope.KEYSPACE
        and len(keys) == 1
        and keys[0].begin == 1
        and not (keys[0].last or keys[0].keynum or keys[0].keyword or keys[0].unknown)
        and command.route is None
    )


def _settle_reply_mode(client: Client) -> None:
    """After EXEC: a CLIENT REPLY SKIP in it skips the reply to the next command."""
    if client.reply_mode is ReplyMode.SKIP_NEXT:
        client.set_reply_mode(ReplyMode.SKIP)


def _connection_of(client: Client) -> Connection:
    link = client.link
    assert isinstance(link, Connection)
    return link


def _place(conn: Connection | StandIn) -> int:
    """Keep the place of a reply that comes later, whatever the client wants by then."""
    conn.waiting += 1
    conn.out.append(None)
    return conn.base + len(conn.out) - 1
