"""From a command to its reply: checks, routing, execution, the log.

A command of a client is tried in this order (docs/architecture.md has the picture):
1. its fused form in the connection's hot table: done in one call, or it says which slot the key
   has;
2. a key of another worker: a hop, sent with this turn's frame; a placeholder keeps the reply's
   place;
3. the generic way, `execute`: look up, arity, authentication, pause, then by scope and keys: run
   here, hop, or send parts to the coordinator.

Replies leave in request order, because `Connection.out` holds them in that order and is sent only
as far as it is complete. A client waits (`blocked`) while a spanning command or a call to the
supervisor is under way, and a spanning command waits until the client's earlier hops are answered:
so effects happen in the order sent.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shoal.proto import errors
from shoal.proto import messages as m
from shoal.proto.errors import ReplyError
from shoal.proto.limits import (
    KEY_ROUNDS_UNTIL_EVERYTHING,
    MAX_FRAME_BYTES,
    MAX_HOP_REPLY_BYTES,
    MAX_HOPS_IN_FLIGHT,
    MAX_KEY_ROUNDS,
    MAX_PEER_OUTBOX_BYTES,
    MAX_UNSENT_REPLY_BYTES,
    PARK_MS,
)
from shoal.proto.messages import CALL, DONE, SPAN, SUPERVISOR
from shoal.proto.replies import OK, Array, Reply, encode
from shoal.proto.slots import SLOTS, key_slot, owner_of
from shoal.proto.spec import CommandFlag
from shoal.worker import contexts
from shoal.worker.blocking import Blocking, State, Waiter
from shoal.worker.borrowing import (
    WAIT,
    Borrower,
    Borrowing,
    Change,
    Transacted,
    executor_key,
)
from shoal.worker.broker import Broker
from shoal.worker.client import ReplyMode
from shoal.worker.connection import Block, Connection
from shoal.worker.direct import BIG_REPLY, DirectCommands
from shoal.worker.hot import Hot
from shoal.worker.hot_streams import HotStreams
from shoal.worker.hot_values import HotValues
from shoal.worker.multi import (
    NEED,
    Act,
    Spread,
    StandIn,
    Transaction,
    Transactions,
    Ways,
    Wider,
    claim_of,
)
from shoal.worker.notify import notifier, notifies_of_misses
from shoal.worker.participant import NOT_DONE, Claim, Part, Participant
from shoal.worker.peers import (
    CANCEL,
    ERROR,
    LEAVE,
    NUMBERS_PER_LIFE,
    OFFER,
    READY,
    TAKE,
    TIMEOUT,
    TOUCHED,
    Context,
    Hop,
    Peer,
    Uplink,
    context_of,
    split_context,
)
from shoal.worker.registry import (
    COMMANDS,
    LATER,
    Command,
    LockScope,
    NeedKeys,
    PartAnswer,
    Scope,
    Wait,
    is_wide,
    may_change,
    resolve,
    spans_databases,
)
from shoal.worker.scripting.api import ScriptRun
from shoal.worker.scripting.learned import Call, Learned
from shoal.worker.scripting.service import EVALS_OF_SHAS, scripting_of, with_text
from shoal.worker.server import Server
from shoal.worker.spread_wait import SpreadWait, SpreadWaits
from shoal.worker.tracking import TRACKING_NOTES, Reader, Surroundings, Tracking, reader_of
from shoal.worker.values.list import List
from shoal.worker.values.sorted_set import SortedSet
from shoal.worker.values.stream import Stream

if TYPE_CHECKING:
    from shoal.worker.aof import Segment


def _nothing() -> None:
    pass


_HTTP: Final = (b"post", b"host:")
Stop = bool
Run = Callable[[Command, list[bytes], int, int], bytes | Wait]
"""`Dispatcher._run_safely`, perhaps for a client that tracks."""

_GONE: Final = object()

# What blocking commands wait for.
_KINDS: Final[dict[bytes, type]] = {b"list": List, b"zset": SortedSet, b"stream": Stream}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_EXEC: Final = "exec"  # as a request of a home, see worker/multi.py


class _Span:
    """A spanning command under way at its home.

    Attributes:
        positions: worker -> which of the command's keys it has.
        borrowing: the command again, if it is a borrowing one.
        wait: if it may wait.
    """

    __slots__ = ("at", "borrowing", "command", "conn", "positions", "resp", "wait")

    def __init__(
        self,
        conn: Connection,
        at: int,
        command: Command,
        positions: dict[int, list[int]],
        resp: int,
        borrowing: _Rounds | None = None,
        wait: SpreadWait | None = None,
    ) -> None:
        self.conn, self.at, self.command, self.positions = conn, at, command, positions
        self.resp = resp
        self.borrowing = borrowing
        self.wait = wait


class _Rounds(NamedTuple):
    """A borrowing command at its home: the keys that it has turned out to need, round by round."""

    argv: list[bytes]
    db: int
    extra: tuple[tuple[int, bytes], ...] = ()
    everything: bool = False
    names: tuple[int, ...] = ()
    rounds: int = 0
    reader: Reader | None = None


class _Fetch:
    """A script that a home asks all workers for."""

    __slots__ = ("conn", "sha")

    def __init__(self, conn: Connection, sha: bytes) -> None:
        self.conn, self.sha = conn, sha


class RemoteWait:
    """A blocking command of our client that its owner has not answered.

    Attributes:
        peer: the owner; hop: the request; handle: what the owner calls it, None until it has said
            that the answer comes later.
        ending: TIMEOUT or ERROR once CLIENT UNBLOCK has asked for that.
        taken: the owner was told to serve it: from then on it may have been done.
    """

    __slots__ = ("ending", "handle", "hop", "peer", "taken")

    def __init__(self, peer: Peer, hop: Hop) -> None:
        self.peer, self.hop = peer, hop
        self.handle: int | None = None
        self.ending: int | None = None
        self.taken = False


class Dispatcher:
    """Runs the commands of this worker's clients, of its peers, and its parts of spanning commands.

    Attributes:
        flushable: connections with something to send at the turn's end.
        resumable: connections whose blocked commands may go on, in this order; each stands there
            once, and goes on if nothing else has blocked it meanwhile.
        logged_parts: tickets of the parts logged in this turn.
        disk_error: why writes are refused (an encoded error reply), None while the log can be
            written.
        participant, blocking, transactions: made by `start`; `participant.busy` is empty while no
            lock is held here.
    """

    def __init__(
        self,
        server: Server,
        peers: list[Peer | None],
        uplink: Uplink,
        clock_ns: Callable[[], int],
    ) -> None:
        """Serve for worker `server.index`; `peers[i]` is None for ourselves; `clock_ns` is
        monotonic.
        """
        self.server = server
        self.store = server.store
        self.peers = peers
        self.uplink = uplink
        self.participant: Participant
        self.blocking: Blocking
        self.borrower: Borrower
        self.spread_waits: SpreadWaits
        self._entered: dict[tuple[int, int], Waiter] = {}  # home, handle: waits for keys here too
        self._generations: dict[int, int] = {}
        self._ended: dict[int, int] = {}  # worker -> its last generation that we know to be dead
        self.transactions: Transactions
        self.segment: Segment | None = server.segment
        self._clock_ns = clock_ns
        self.broker = server.broker = Broker(self, peers)
        self.tracking = server.tracking = self.store.tracking = Tracking(
            server.index,
            self.store,
            server.config,
            Surroundings(
                server.clients,
                peers,
                self.broker.push_tracking,
                self.broker.send_redirected,
                self.broker.announce_tracking,
                self._choose_fused,
            ),
        )
        self._slot_peer: list[Peer | None] = [
            peers[owner_of(slot, server.workers)] for slot in range(SLOTS)
        ]
        self.flushable: list[Connection] = []
        self.resumable: dict[Connection, None] = {}
        self.logged_parts: set[int] = set()
        self.disk_error: bytes | None = None
        # Of a hop or a part: the supervisor puts those of all workers into one frame.
        self._max_reply_bytes = min(MAX_HOP_REPLY_BYTES, MAX_FRAME_BYTES // (server.workers + 1))
        self._paused: dict[Connection, None] = {}
        self._slow: ScriptRun | None = None  # a script that runs too long
        self._learned = Learned()  # what scripts have turned out to need
        self.script_conn: Connection | None = None  # the last that has called one
        self.pump: Callable[[], None] = _nothing  # the loop's: serves a little while one is slow
        self._hots: dict[Context, tuple[Hot, HotValues, HotStreams, DirectCommands]] = {}
        self._contexts: dict[Context, Context] = {}
        self._tables: dict[tuple[int, int, bool, bool], dict[bytes, Callable[..., Any]]] = {}
        self._fused_reads = self._fused_writes = True
        self._tells_misses = False
        self._refs: dict[int, _Span | _Fetch | Spread | Wider | tuple[Connection, int]] = {}
        self._last_ref = 0
        self._last_handle = 0
        self.now_ms = 0  # monotonic, set by the loop once per turn: deadlines

    def start(self, log_release: Callable[[int], None], generations: dict[int, int]) -> None:
        """Make what needs the dispatcher itself: locks and blocked commands.

        Args:
            log_release: as for `Participant`.
            generations: of each worker's process as far as we know it, our own included; what is
                missing is 0. Kept up to date by the caller.
        """
        self._generations = generations
        generation = generations.get(self.server.index, 0)
        gate = self.store.gate
        self.participant = Participant(self.execute_part, gate, log_release)
        self.blocking = Blocking(self.store, gate, self.participant, self._let_go, self._attempt)
        self.borrower = Borrower(
            self.store,
            self.server.index,
            self.server.workers,
            self._owner,
            self._run_borrowing,
            self._may_run,
            self._log_changes,
            self._send_up,
            lambda text: self.server.log_warning(text),  # what that is, is set later
            self._enter_spread,
            self._max_reply_bytes,
        )
        self.spread_waits = SpreadWaits(
            self.blocking,
            self._try_spread,
            self._leave_spread,
            self._answer_spread,
            lambda ref: self._send_up((m.FORGET, ref)),
            self._held_by_pause,
            generation * NUMBERS_PER_LIFE,
        )
        ways = Ways(
            participant=self.participant,
            bind=self.bind,
            block=self._block,
            call=self._call,
            call_supervisor=self.call_supervisor,
            merge=self._merge,
            count_error=self._count_error,
            exec_spanning=self._exec_spanning,
            fill=self.fill,
            generation=generation,
            reply_and_serve=self.reply_and_serve,
            held_by_pause=self._held_by_pause,
            hold_by_pause=self._hold_by_pause,
            hop=self._hop_or_run,
            hop_table=self._hop_table,
            run_for=self._run_for,
            send_hop=self.send_hop,
            send_steps=self._send_steps,
            hold=self.hold,
            serve_and=self._serve_and,
            serve_ready=self._serve_ready,
            span=self._span,
            span_alone=self._span_alone,
            with_text=self._with_text,
            fetch_for_queue=self._fetch_for_queue,
            disk_error=lambda: self.disk_error,
            now_ms=lambda: self.now_ms,
            slot_peer=self._slot_peer,
            peers=self.peers,
        )
        self.transactions = Transactions(self.server, ways)
        self.server.transactions = self.store.transactions = self.transactions
        self._scripting = scripting_of(self.store)
        around = self._scripting.around
        around.server = self.server
        around.span_alone = self._answer_alone
        around.is_locked = self._is_held
        around.disk_error = lambda: self.disk_error
        around.count_error = self._count_error
        around.clock_ns = self._clock_ns
        around.busy = self._while_it_runs
        around.ended = self._slow_has_ended

    # -- a connection's state ----------------------------------------------------------------------

    def bind(self, conn: Connection) -> None:
        """Choose the hot table and the hop context that fit the client's state."""
        client = conn.client
        plain = (
            client.authenticated
            and self._slow is None
            and client.reply_mode is ReplyMode.ON
            and conn.blocked is not Block.CLOSING
        )
        pause = self.server.pause
        paused = pause.until_ms > self.store.now_ms
        reads = plain and not (paused and not pause.writes_only)
        writes = plain and not paused and self.disk_error is None
        conn.context = self._context(client.db, client.resp)
        conn.hot = self._table(client.db, client.resp, reads, writes).get
        if client.tracking is not None:
            conn.hot = contexts.find_nothing if client.multi is not None else self._find_tracked
        if client.multi is not None:
            client.multi.outside = conn.hot
            conn.hot = client.multi.table(plain=reads and writes)
        if client.pubsub is not None or self.broker.fed:
            conn.hot = contexts.find_for(
                client, conn.hot, self.broker, self._count_error, plain=reads
            )

    def rebind_all(self) -> None:
        """Bind every connection anew: the disk's state or a pause has changed."""
        for client in self.server.clients.values():
            if isinstance(client.link, Connection):
                self.bind(client.link)

    def set_disk_error(self, text: str | None) -> None:
        """Refuse writes with this MISCONF text from now on, or (None) accept them again."""
        self.disk_error = None if text is None else ReplyError(text).encode()
        self.rebind_all()

    def pause_changed(self) -> None:
        """Let waiting clients try again after CLIENT PAUSE, UNPAUSE or the end of a pause."""
        self.rebind_all()
        waiting, self._paused = self._paused, {}
        for conn in waiting:
            self._unblock(conn)
        self.spread_waits.pause_changed()

    def forget_paused(self, conn: Connection) -> None:
        """A client has gone that a pause held back."""
        self._paused.pop(conn, None)

    def _context(self, db: int, resp: int) -> Context:
        return self._contexts.setdefault((db, resp), (db, resp))

    def _table(
        self, db: int, resp: int, reads: bool, writes: bool
    ) -> dict[bytes, Callable[..., Any]]:
        """Return the fused commands, and the short way of others, that fit a client's state."""
        where = (db, resp, reads, writes)
        table = self._tables.get(where)
        if table is None:
            ways = self._hots.get((db, resp))
            if ways is None:
                store, segment = self.store, self.segment
                direct = DirectCommands(store, db, resp, segment, self._count_error)
                short = direct.table(reads=True, writes=True)
                values = HotValues(store, db, resp, segment, short)
                streams = HotStreams(store, db, resp, segment, short)
                ways = (Hot(store, db, resp, segment), values, streams, direct)
                self._hots[db, resp] = ways
            table = self._tables[where] = {}
            for way in reversed(ways):
                fused = way is not ways[-1]
                table.update(
                    way.table(
                        reads=reads and (self._fused_reads or not fused),
                        writes=writes and (self._fused_writes or not fused),
                    )
                )
            if writes:
                table[b"PUBLISH"] = table[b"publish"] = self.broker.publish_now
            if reads and writes:
                table[b"MULTI"] = table[b"multi"] = self.transactions.fused_multi
        return table

    def set_events(self, flags: bytes) -> None:
        """Take the value of notify-keyspace-events: fused commands tell of no event, so those that
        would have to are not used.
        """
        self.store.notify = notifier(flags, self.broker.send_event)
        self._tells_misses = notifies_of_misses(flags)
        self._choose_fused()

    def _choose_fused(self) -> None:
        """Use the fused commands that tell nobody as far as nobody has to be told."""
        reads = not self._tells_misses
        writes = self.store.notify is None and not self.tracking.is_active
        if (self._fused_reads, self._fused_writes) != (reads, writes):
            self._fused_reads, self._fused_writes = reads, writes
            self._tables.clear()
            self.rebind_all()

    def collect_hot_counts(self) -> None:
        """Add the fused commands' counts to the command table and the statistics."""
        for ways in self._hots.values():
            for way in ways:
                for name, calls in way.take_counts().items():
                    COMMANDS[name].calls += calls
        COMMANDS[b"publish"].calls += self.broker.take_count()

    # -- a client's commands -----------------------------------------------------------------------

    def run(self, conn: Connection, commands: list[list[bytes]]) -> None:
        """Run a client's commands in order, until done or until one has to wait."""
        if conn.blocked:
            conn.todo += commands
        else:
            self.run_batch([(conn, commands)])

    def run_batch(self, batch: list[tuple[Connection, Any]]) -> None:
        """Run commands of many clients: for each what was received, or what was cut already.

        It is `Connection.accept_input`, `run` and the hop of a fused command in one loop, for the
        machine's sake; whatever is out of the ordinary goes the plain way.

        Args:
            batch: bytes as received; or commands, of a client that has no earlier ones to wait for.
        """
        now_ms = self.store.now_ms
        slot_peer = self._slot_peer
        flushable = self.flushable
        ran = 0
        for conn, commands in batch:
            client = conn.client
            reader = None
            if commands.__class__ is bytes:
                reader = conn.reader
                if conn.blocked or not reader.authenticated:
                    conn.accept_input(commands)
                    continue
                client.input_bytes += len(commands)
                client.last_ms = now_ms
                commands = reader.feed(commands)
            ran += len(commands)
            client.commands += len(commands)
            out = conn.out
            hot = conn.hot
            context = conn.context
            at = conn.base + len(out)  # of the next reply
            room = MAX_HOPS_IN_FLIGHT - conn.waiting
            hops = 0  # not in conn.waiting yet
            fused = None
            rest = iter(commands)
            for argv in rest:
                fused = hot(argv[0])
                if fused is not None:
                    reply = fused(argv)
                    if reply.__class__ is bytes:
                        out.append(reply)
                        at += 1
                        continue
                    if reply.__class__ is tuple:
                        conn.waiting += hops
                        hops = 0
                        if reply[0] is None:  # MULTI, EXEC, a client that tracks
                            reply[1](conn)
                            fused = None  # it keeps account of itself
                        else:
                            self._reply(conn, reply[0])
                        if conn.blocked:
                            ran -= self._keep_for_later(conn, argv, list(rest))
                            break
                        hot, context = conn.hot, conn.context
                        at = conn.base + len(out)
                        room = MAX_HOPS_IN_FLIGHT - conn.waiting
                        continue
                    if reply is not None:
                        peer = slot_peer[reply]
                        if peer is not None and peer.open and hops < room:
                            requests = peer.requests
                            if peer.context is not context:
                                requests.append(context)
                                peer.context = context
                            requests.append(argv)
                            peer.pending.append((conn, at, argv, context))
                            out.append(None)
                            at += 1
                            hops += 1
                            continue
                conn.waiting += hops
                fused = None
                if self.execute(conn, argv):
                    hops = 0
                    ran -= self._keep_for_later(conn, argv, list(rest))
                    break
                hot, context = conn.hot, conn.context
                at = conn.base + len(out)
                room = MAX_HOPS_IN_FLIGHT - conn.waiting
                hops = 0
            conn.waiting += hops
            if fused is not None:
                client.last_command = argv[0]
            if not conn.in_flush:
                conn.in_flush = True
                flushable.append(conn)
            if reader is not None:
                if reader.error is not None:
                    conn.protocol_error()
                elif not commands:
                    conn.check_query_limit()
        self.server.stats.commands += ran

    def _keep_for_later(self, conn: Connection, argv: list[bytes], left: list[list[bytes]]) -> int:
        """Put aside what stands behind a command that blocks; return how many were not run."""
        if conn.blocked is Block.CLOSING:
            conn.drop_input()
            return 0
        if conn.retry:  # this very command has not been run
            left.insert(0, argv)
            conn.retry = False
        conn.todo = left + conn.todo
        conn.client.commands -= len(left)
        return len(left)

    def execute(self, conn: Connection, argv: list[bytes]) -> Stop:
        """Run one command the generic way; tell whether the client's next ones have to wait.

        The reply is appended, or its placeholder. With `conn.retry` set nothing was done: the
        command itself has to wait.
        """
        client = conn.client
        try:
            command = resolve(argv)
            if command.guard is not None:
                command.guard(client)
            if not client.authenticated and not command.no_auth:
                command.rejected += 1
                raise errors.noauth()
            client.last_command = command.name
            pause = self.server.pause
            if pause.until_ms and self.held_by_pause(command):
                return self._hold_by_pause(conn)
            if command.scope is Scope.KEYSPACE:
                return self._route(conn, command, argv)
            if command.scope is Scope.SERVER:
                return self._span(conn, command, argv, [])
            if command.scope is Scope.SCRIPT:
                return self._script(conn, command, argv)
            reply = self._call(command, command.handler, client, argv)
            if reply is LATER:
                return bool(conn.blocked)
        except ReplyError as error:
            if argv[0].lower() in _HTTP:
                return self._refuse_http(conn)
            self._count_error(error.text)
            reply = error.encode()
        self.reply_and_serve(conn, encode(reply, client.resp))
        if client.close_after_reply:
            conn.blocked = Block.CLOSING
            return True
        return bool(conn.blocked)

    # A client that tracks finds nothing else in its table than `_run_tracked`.

    def _find_tracked(self, _: bytes) -> Callable[[list[bytes]], Any]:
        return self._tracked

    def _tracked(self, argv: list[bytes]) -> tuple[None, Callable[[Connection], None]]:
        return None, lambda conn: self._run_tracked(conn, argv)

    def _run_tracked(self, conn: Connection, argv: list[bytes]) -> None:
        """Run a command the generic way for a client that tracks, and that owners have to know."""
        client = conn.client
        if self.broker.pushes:  # what changed before it reads
            self.broker.flush()
        plain, reader = conn.context, reader_of(client)
        context = plain if reader is None else context_of(client.db, client.resp, reader)
        conn.context = context
        self.execute(conn, argv)
        if conn.context is context:
            conn.context = plain
        state = client.tracking
        if state is None or not state.given or client.multi is not None:
            return
        if not (conn.blocked and conn.retry) and argv[0].lower() != b"client":
            state.given = False

    def _refuse_http(self, conn: Connection) -> Stop:
        """Close on a browser's request at once, as Redis does: a web page may have sent it."""
        self.server.log_warning(
            "Somebody sends POST or Host: to this server. A web page may be trying to use its"
            f" visitor's browser to reach it. Connection from {conn.client.addr.decode()} closed."
        )
        conn.close("HTTP")
        return True

    def held_by_pause(self, command: Command) -> bool:
        """Tell whether CLIENT PAUSE holds a command back now."""
        return self._held_by_pause(may_change(command))

    def _held_by_pause(self, write: bool) -> bool:
        pause = self.server.pause
        if pause.until_ms <= self.store.now_ms:
            return False
        return write or not pause.writes_only

    def _hold_by_pause(self, conn: Connection) -> Stop:
        self._paused[conn] = None
        return self._block(conn, Block.PAUSED, retry=True)

    def _reply(self, conn: Connection, reply: bytes) -> None:
        client = conn.client
        if client.reply_mode is not ReplyMode.ON:
            if client.reply_mode is ReplyMode.SKIP_NEXT:
                client.set_reply_mode(ReplyMode.SKIP)
            elif client.reply_mode is ReplyMode.SKIP:
                client.set_reply_mode(ReplyMode.ON)
            return
        conn.out.append(reply)
        if len(reply) >= BIG_REPLY:
            conn.big_bytes += len(reply)
            if conn.big_bytes > MAX_UNSENT_REPLY_BYTES and not conn.blocked:
                self._block(conn, Block.OUTPUT)

    def reply_and_serve(self, conn: Connection, reply: bytes) -> None:
        """Give a client its reply, and then serve those who wait for what its command has changed;
        while some of them are tried, the reply is held back.
        """
        at = len(conn.out)
        self._reply(conn, reply)
        replied = len(conn.out) > at
        told = self._serve_ready()
        if told and replied and not conn.blocked and not conn.client.close_after_reply:
            conn.out[at] = None
            at += conn.base
            conn.waiting += 1
            self.hold(told, lambda: self.fill(conn, at, reply))
            self._block(conn, Block.REPLY)

    def _placeholder(self, conn: Connection) -> int:
        """Keep the reply's place and return its index, -1 when the client wants no reply."""
        conn.waiting += 1
        client = conn.client
        if client.reply_mode is not ReplyMode.ON:
            if client.reply_mode is ReplyMode.SKIP:
                client.set_reply_mode(ReplyMode.ON)
            return -1
        conn.out.append(None)
        return conn.base + len(conn.out) - 1

    def fill(self, conn: Connection, at: int, reply: bytes) -> None:
        """Put a reply that came later in its place."""
        if at >= 0 and not conn.closed:
            conn.out[at - conn.base] = reply
        self._filled(conn, 1)

    def answer_later(self, conn: Connection) -> Callable[[bytes], None]:
        """Let a client wait for the reply to its command; return what gives it."""
        at = self._placeholder(conn)
        self._block(conn, Block.REPLY)

        def answer(reply: bytes) -> None:
            if reply[:1] == b"-":
                self._count_error(reply[1:-2])
            self.fill(conn, at, reply)

        return answer

    def _filled(self, conn: Connection, count: int) -> None:
        """So many of a client's replies have come: go on when none is missing any more."""
        conn.waiting -= count
        if not conn.waiting and not conn.closed:
            if conn.blocked is Block.REPLY or conn.blocked is Block.KEYS:
                conn.wait = None
                self._unblock(conn)
            if not conn.in_flush:
                conn.in_flush = True
                self.flushable.append(conn)

    def _block(self, conn: Connection, why: Block, *, retry: bool = False) -> Stop:
        conn.blocked = why
        conn.retry = retry
        return True

    def _unblock(self, conn: Connection) -> None:
        if conn.blocked is not Block.CLOSING and not conn.closed:
            conn.blocked = Block.TURN
            self.resumable[conn] = None

    def wait_for_turn(self, conn: Connection) -> None:
        """Let a client go on in the next turn."""
        conn.blocked = Block.TURN
        self.resumable[conn] = None

    def output_drained(self, conn: Connection) -> None:
        """Let a client go on that waited for its replies to be sent."""
        if conn.blocked is Block.OUTPUT:
            self._unblock(conn)

    def run_resumable(self) -> None:
        """Run the commands of clients that need not wait any longer; those that this lets go on
        have their turn next.
        """
        resumable, self.resumable = self.resumable, {}
        for conn in resumable:
            if conn.blocked is not Block.TURN:  # closed meanwhile, or its replies must go first
                continue
            conn.blocked = Block.NOTHING
            todo, conn.todo = conn.todo, []
            if todo:
                self.run(conn, todo)
            conn.todo_drained()

    # -- routing -----------------------------------------------------------------------------------

    def _route(self, conn: Connection, command: Command, argv: list[bytes]) -> Stop:
        spec = command.spec
        if self.server.workers == 1:
            if not spec.keys and command.spanning is not None:
                return self._span(conn, command, argv, [])
            return self._run_here(conn, command, argv)
        if command.route is not None:
            return self._hop_or_run(conn, command, argv, command.route(argv))
        positions = spec.key_positions(argv) if spec.keys else []
        if not positions:
            if command.spanning is not None and not spec.keys:
                return self._span(conn, command, argv, [])
            return self._run_here(conn, command, argv)
        slot = key_slot(argv[positions[0]])
        if len(positions) > 1:
            slot_peer = self._slot_peer
            peer = slot_peer[slot]
            for at in positions:
                if slot_peer[key_slot(argv[at])] is not peer:
                    if command.spanning is not None:
                        return self._span(conn, command, argv, positions)
                    return self._borrow(conn, command, argv)
        return self._hop_or_run(conn, command, argv, slot)

    def _hop_or_run(self, conn: Connection, command: Command, argv: list[bytes], slot: int) -> Stop:
        peer = self._slot_peer[slot]
        if peer is None:
            return self._run_here(conn, command, argv)
        if peer.outbox_bytes > MAX_PEER_OUTBOX_BYTES:
            peer.stalled.append(conn)
            return self._block(conn, Block.PEER, retry=True)
        if conn.waiting >= MAX_HOPS_IN_FLIGHT:
            return self._block(conn, Block.REPLY, retry=True)
        if not peer.up and not peer.can_park(argv):
            raise errors.try_again(
                "too many commands wait for the key's worker, which is restarting"
            )
        context = conn.context
        hop: Hop = (conn, self._placeholder(conn), argv, context)
        if peer.up:
            self.send_hop(peer, hop)
        else:
            peer.park(self.now_ms + PARK_MS, hop)
        if command.blocks:
            conn.wait = RemoteWait(peer, hop)
            return self._block(conn, Block.KEYS)
        if command.roams:  # it may have to go on otherwise: nothing of the client before
            return self._block(conn, Block.REPLY)
        return False

    def send_hop(self, peer: Peer, hop: Hop) -> None:
        """Add a request to the peer's next frame."""
        context = hop[3]
        if peer.context is not context:
            peer.requests.append(context)
            peer.context = context
        peer.requests.append(hop[2])
        peer.pending.append(hop)

    def _run_here(self, conn: Connection, command: Command, argv: list[bytes]) -> Stop:
        db, resp, reader = split_context(conn.context)
        run = self._runner(reader)
        if self.participant.busy:
            at = self._placeholder(conn)

            def resume() -> None:
                if command.blocks and conn.closed:
                    self._filled(conn, 1)
                    return
                try:
                    reply = run(command, argv, db, resp)
                except NeedKeys as need:
                    rounds = _Rounds(argv, db, reader=reader)
                    self._run_with(conn, at, command, resp, rounds, need)
                    if not conn.blocked:  # it was admitted at once, and spans from now on
                        self._block(conn, Block.REPLY)
                    return
                if isinstance(reply, Wait):
                    self._wait_here(conn, at, command, argv, reply, reader)
                    self._serve_ready()
                else:
                    self._serve_and(lambda: self.fill(conn, at, reply))

            try:
                admitted = self._admit(command, argv, db, resume)
            except ReplyError as error:
                self.fill(conn, at, error.encode())
                return bool(conn.blocked)
            if admitted:
                resume()
            elif command.blocks or command.roams:
                # It may have to wait, or go on otherwise, when it runs; nothing of the client
                # before.
                self._block(conn, Block.REPLY)
            return bool(conn.blocked)
        try:
            reply = run(command, argv, db, resp)
        except NeedKeys as need:
            if conn.waiting:  # a barrier, as in front of every spanning command
                return self._block(conn, Block.REPLY, retry=True)
            at = self._placeholder(conn)
            rounds = _Rounds(argv, db, reader=reader)
            self._run_with(conn, at, command, resp, rounds, need)
            return self._block(conn, Block.REPLY)
        if isinstance(reply, Wait):
            self._wait_here(conn, self._placeholder(conn), command, argv, reply, reader)
            self._serve_ready()
        else:
            self.reply_and_serve(conn, reply)
        return bool(conn.blocked)

    def _admit(
        self, command: Command, argv: list[bytes], db: int, resume: Callable[[], None]
    ) -> bool:
        spec = command.spec
        keys: tuple[bytes, ...] | None = ()
        if command.spec.name == _EXEC:
            return self.participant.admit(*claim_of(argv), command.write, resume)
        if spans_databases(command, argv, db):
            return self.participant.admit(None, None, command.write, resume)
        if spec.keys:
            keys = tuple([argv[at] for at in spec.key_positions(argv)])
            if any(one.unknown and one.find is None for one in spec.keys):
                keys = None  # SORT reads keys that only its run can name
        return self.participant.admit(db, keys, command.write, resume)

    # -- running -----------------------------------------------------------------------------------

    def _run_safely(self, command: Command, argv: list[bytes], db: int, resp: int) -> bytes | Wait:
        """Run a command over this partition's keys, log what it changed, and return the encoded
        reply.

        The caller serves those who wait for what it changed, when it has put the reply in its
        place.
        """
        # Each command that a script calls is refused for itself.
        if command.write and self.disk_error is not None and command.scope is not Scope.SCRIPT:
            command.rejected += 1
            self._count_error(self.disk_error[1:-2])
            if command.spec.name == _EXEC:
                return self._refuse_exec(argv, ReplyError(self.disk_error[1:-2]))
            return self.disk_error
        store = self.store
        try:
            reply = self._call(command, command.handler, store.view(db), argv)
        except ReplyError as error:
            self._count_error(error.text)
            reply = error.encode()
        if store.dirty or store.effects:
            self._log_effects(db, argv)
        return reply if reply.__class__ is Wait else encode(reply, resp)

    def _runner(self, reader: Reader | None) -> Run:
        """Return what runs commands of such a client."""
        return self._run_safely if reader is None else partial(self._run_for, reader)

    def _run_for(
        self, reader: Reader | None, command: Command, argv: list[bytes], db: int, resp: int
    ) -> bytes | Wait:
        """The same for a client that tracks, if it is one."""
        tracking = self.tracking
        before, tracking.current = tracking.current, reader
        try:
            reply = self._run_safely(command, argv, db, resp)
            if reader is not None:
                tracking.ran(command, argv)
        finally:
            tracking.current = before
        return reply

    def _call(
        self,
        command: Command,
        handler: Callable[..., Any],
        first: Any,
        argv: list[bytes],
        calls: int = 1,
    ) -> Reply:
        """Call a handler with everything around it: dirty, effects, statistics.

        `calls` is 0 for a part of a spanning command, which its home counts.
        """
        store = self.store
        store.dirty = 0
        store.effects = None
        started = self._clock_ns()
        try:
            reply: Reply = handler(first, *argv[command.skip :])
        except ReplyError:
            command.failed += calls
            raise
        except NeedKeys:  # it will be run, and counted, elsewhere
            calls = 0
            raise
        finally:
            command.calls += calls
            command.timed += calls
            command.usec += (self._clock_ns() - started) // 1000
        return reply

    def _log_effects(self, db: int, argv: list[bytes]) -> None:
        store = self.store
        store.dirty_total += store.dirty
        if self.segment is not None:
            effects = store.effects if store.effects is not None else [tuple(argv)]
            self.segment.log_all(db, effects)

    def _count_error(self, text: bytes) -> None:
        if self.store.trial is not None:
            self.store.trial.tell(self._count_error, text)
            return
        stats = self.server.stats
        stats.error_replies += 1
        code = text.split(b" ", 1)[0]
        if code in stats.errors or len(stats.errors) < 128:
            stats.errors[code] = stats.errors.get(code, 0) + 1

    # -- peers -------------------------------------------------------------------------------------

    def run_requests(self, peer: Peer, requests: list[Any]) -> list[Any]:
        """Run a peer's requests; return what is left when its replies have become too large for one
        turn.
        """
        context = self._context(0, 2)
        hot = self._hop_table(context)
        append = peer.replies.append
        rest = iter(requests)
        for argv in rest:
            if argv.__class__ is tuple:
                if len(argv) > 2:
                    self.broker.take_news(peer, argv)
                    continue
                context = argv
                hot = self._hop_table(context)
                continue
            fused = hot(argv[0])
            if fused is not None:
                reply = fused(argv)
                if reply.__class__ is bytes:
                    append(reply)
                    continue
                answer: bytes | int
                if reply.__class__ is tuple:
                    answer = self._hop_reply(reply[0])
                else:
                    answer = self._run_and_serve(peer, context, argv)
            else:
                answer = self._run_and_serve(peer, context, argv)
            append(answer)
            if answer.__class__ is bytes and len(answer) >= BIG_REPLY:
                peer.reply_bytes += len(answer)
                if peer.reply_bytes > MAX_PEER_OUTBOX_BYTES:
                    left = list(rest)
                    return [context, *left] if left else left
        return []

    def _hop_table(self, context: Context) -> Callable[[bytes], Any]:
        if context[0].__class__ is tuple:
            return contexts.find_nothing
        return self._table(*context, True, self.disk_error is None).get

    def _run_and_serve(self, peer: Peer, context: Context, argv: list[bytes]) -> bytes | int:
        answer = self._execute_hop(peer, context, argv)
        told = self._serve_ready()
        if not told or isinstance(answer, int):
            return answer
        reply, life = answer, peer.life
        handle = self._last_handle = self._last_handle + 1
        self.hold(told, lambda: self._answer_late(peer, life, handle, reply))
        return handle

    def _answer_late(self, peer: Peer, life: int, handle: int, reply: bytes) -> None:
        if peer.life == life:  # else who asked has died, and its successor knows nothing
            peer.late.append((handle, reply))

    def _execute_hop(self, peer: Peer, context: Context, argv: list[bytes]) -> bytes | int:
        command = resolve(argv)
        db, resp, reader = split_context(context)
        run = self._runner(reader)
        if self.participant.busy:
            handle = self._last_handle + 1
            waited = False
            life = peer.life

            def resume() -> None:
                ending: Any = peer.waiters.pop(handle, _GONE) if command.blocks else None
                if ending is _GONE:
                    return  # its client has gone: it must not be handed anything
                try:
                    reply = self._run_hop(run, command, argv, db, resp)
                except NeedKeys as need:
                    reply = _need(need)
                if isinstance(reply, Wait):
                    self._wait_for_peer(peer, handle, command, argv, context, reply)
                    if ending is not None:
                        self.take_notes(peer, [(handle, ending)])
                    self._serve_ready()
                else:
                    answer = reply
                    self._serve_and(lambda: self._answer_late(peer, life, handle, answer))

            try:
                waited = not self._admit(command, argv, db, resume)
            except ReplyError as error:
                if command.spec.name == _EXEC:
                    return self._refuse_exec(argv, error)
                return error.encode()
            if waited:
                self._last_handle = handle
                if command.blocks:
                    peer.waiters[handle] = None
                return handle
        try:
            reply = self._run_hop(run, command, argv, db, resp)
        except NeedKeys as need:
            self._last_handle += 1
            peer.late.append((self._last_handle, _need(need)))
            return self._last_handle
        if isinstance(reply, Wait):
            self._last_handle += 1
            self._wait_for_peer(peer, self._last_handle, command, argv, context, reply)
            return self._last_handle
        return reply

    def _run_hop(
        self, run: Run, command: Command, argv: list[bytes], db: int, resp: int
    ) -> bytes | Wait:
        reply = run(command, argv, db, resp)
        return reply if isinstance(reply, Wait) else self._hop_reply(reply)

    def _refuse_exec(self, argv: list[bytes], error: ReplyError) -> bytes:
        self.transactions.refuse(argv)
        return errors.exec_aborted(error).encode()

    def _hop_reply(self, reply: bytes) -> bytes:
        return reply if len(reply) <= self._max_reply_bytes else errors.reply_too_large().encode()

    def take_replies(
        self, peer: Peer, replies: list[bytes | int], late: list[tuple[int, bytes]]
    ) -> None:
        """Fill in what a peer answered to our hops."""
        popleft = peer.pending.popleft
        self.server.stats.hops += len(replies)
        # A pipeline's hops follow each other: what is the same for a client's is done once.
        conn: Connection | None = None
        count = base = 0
        out: list[bytes | None] = []
        for reply in replies:
            hop = popleft()
            if isinstance(reply, int):
                peer.deferred[reply] = hop
                if hop[0].wait is not None:
                    self._answered_later(hop, reply)
                continue
            if hop[0] is not conn:
                if conn is not None:
                    self._filled(conn, count)
                conn, count = hop[0], 0
                out, base = conn.out, conn.base
            count += 1
            at = hop[1]
            if at >= 0 and not conn.closed:
                out[at - base] = reply
        if conn is not None:
            self._filled(conn, count)
        for handle, reply in late:
            deferred = peer.deferred.pop(handle, None)
            if deferred is None:
                continue  # its client has gone, and the owner did not know yet
            if reply[:1] == NEED:
                conn, at, argv, context = deferred
                if resolve(argv).spec.name == _EXEC:
                    Wider(self.transactions, conn, at, argv).send()
                    continue
                db, resp, reader = split_context(context)
                rounds = _Rounds(argv, db, reader=reader)
                self._run_with(conn, at, resolve(argv), resp, rounds, _needed(reply))
            else:
                self.fill(deferred[0], deferred[1], reply)

    def peer_lost(self, peer: Peer, lost: list[Hop]) -> None:
        """Deal with the hops a dead worker has not answered: reads are sent again, writes are
        uncertain. What was blocked there has not been done, and its time starts anew.
        """
        self.end_waiters(peer)
        self.transactions.peer_lost(peer)
        for hop in lost:
            conn, at, argv, _ = hop
            if conn.closed:
                self._filled(conn, 1)
                continue
            if self.transactions.is_over(argv):  # and what ends it there is lost too
                self.fill(conn, at, OK)
                continue
            command = resolve(argv)
            wait = conn.wait
            blocked = isinstance(wait, RemoteWait) and wait.hop is hop and wait.handle is not None
            if blocked:
                assert isinstance(wait, RemoteWait)
                blocked = not wait.taken
                wait.handle = None
            if command.write and not blocked:
                self.fill(conn, at, errors.outcome_unknown().encode())
            elif peer.can_park(argv):
                peer.park(self.now_ms + PARK_MS, hop)
            else:
                self.fill(conn, at, errors.try_again("the key's worker is restarting").encode())

    def end_waiters(self, peer: Peer) -> None:
        """Forget the commands of a peer's clients that block here: it has died, or has said its
        last.
        """
        self.transactions.home_lost(peer)
        self._ended[peer.worker] = self._generations.get(peer.worker, 0)
        self.forget_entered(peer.worker)
        waiters, peer.waiters = peer.waiters, {}
        for waiter in waiters.values():
            if isinstance(waiter, Waiter):
                self.blocking.end(waiter, None)

    def forget_entered(self, home: int) -> None:
        """Forget what earlier processes of a home had entered here."""
        for where in [where for where in self._entered if where[0] == home]:
            if not self._may_live(*where):
                self.blocking.end(self._entered.pop(where), None)

    def _may_live(self, home: int, handle: int) -> bool:
        """Tell whether the process that gave a handle may still be there."""
        generation = handle // NUMBERS_PER_LIFE
        known = self._generations.get(home, 0)
        return generation >= known and generation > self._ended.get(home, -1)

    def peer_up(self, peer: Peer) -> None:
        """Send what waited for a worker that serves again."""
        while peer.parked:
            self.send_hop(peer, peer.unpark())
        if self.spread_waits:
            self.spread_waits.worker_up(peer.worker)

    def expire_parked(self, peer: Peer) -> None:
        """Answer the hops that have waited too long for a worker."""
        while peer.parked and peer.parked[0][0] <= self.now_ms:
            conn, at, _, _ = peer.unpark()
            error = (
                errors.loading() if peer.loading else errors.try_again("the key's worker is down")
            )
            self.fill(conn, at, error.encode())

    def peer_drained(self, peer: Peer) -> None:
        """Let the clients go on that waited for the peer's outbox."""
        if peer.stalled and peer.outbox_bytes <= MAX_PEER_OUTBOX_BYTES // 2:
            stalled, peer.stalled = peer.stalled, []
            for conn in stalled:
                self._unblock(conn)

    # -- blocking commands -------------------------------------------------------------------------

    def _serve_ready(self) -> Sequence[Waiter]:
        """Serve those who wait for what a command has changed; return as `Blocking.serve_ready`:
        its answer is to be held back for them.
        """
        broker = self.broker
        if broker.pushes:  # what the command published, before what it leads to
            broker.flush()
        if self.blocking.ready:
            return self.blocking.serve_ready()
        return ()

    def hold(self, told: Sequence[Waiter], answer: Callable[[], None]) -> None:
        """As `Blocking.hold`."""
        self.blocking.hold(told, self.now_ms, answer)

    def _serve_and(self, answer: Callable[[], None]) -> None:
        """Serve those who wait for what a command has changed, and answer it."""
        told = self._serve_ready()
        if told:
            self.hold(told, answer)
        else:
            answer()

    def _hold_ticket(self, ticket: int, told: Sequence[Waiter]) -> None:
        """Let a command over partitions, about to be DONE here, be answered later."""
        self._send_up((m.HELD, ticket))
        self.hold(told, lambda: self._send_up((m.SETTLED, ticket)))

    def end_blocking(self) -> None:
        """At the turn's end: what expiry has changed, and whose time has passed."""
        blocking = self.blocking
        deadline_ms = blocking.next_deadline_ms()
        if deadline_ms is not None and deadline_ms <= self.now_ms:
            blocking.on_time(self.now_ms)
        if blocking.ready:
            blocking.serve_ready()
        if self.broker.pushes:
            self.broker.flush()
        if self.tracking.due:
            self.tracking.end_turn()
            if self.broker.pushes:
                self.broker.flush()

    def _attempt(self, waiter: Waiter) -> bytes | None:
        """Run a blocked command again; None if it still has to wait."""
        command, argv = waiter.command, waiter.argv
        reply = self._run_for(waiter.reader, command, argv, waiter.db, waiter.resp)
        return None if isinstance(reply, Wait) else reply

    def _let_go(self, claim: Claim) -> None:
        self._send_done(self.participant.let_go(claim))

    def _wait_here(
        self,
        conn: Connection,
        at: int,
        command: Command,
        argv: list[bytes],
        wait: Wait,
        reader: Reader | None = None,
    ) -> None:
        """Block a client of ours by our keys."""
        if conn.closed:
            self._filled(conn, 1)
            return
        if conn.eof:  # came while the command waited for a lock
            conn.close("closed by the client while its command was blocked")
            return
        client = conn.client
        conn.wait = waiter = Waiter(
            command,
            argv,
            client.db,
            client.resp,
            wait,
            self.now_ms,
            lambda reply: self.fill(conn, at, reply),
            None,
        )
        waiter.reader = reader
        self._block(conn, Block.KEYS)
        self.blocking.add(waiter)

    def _wait_for_peer(
        self,
        peer: Peer,
        handle: int,
        command: Command,
        argv: list[bytes],
        context: Context,
        wait: Wait,
    ) -> None:
        """Let a command of a peer's client wait for one of our keys."""

        def answer(reply: bytes) -> None:
            if peer.waiters.pop(handle, None) is not None:
                peer.late.append((handle, reply))

        def offer() -> None:
            peer.notes.append((handle, OFFER))

        asks = command.write and not wait.on_nokey
        db, resp, reader = split_context(context)
        waiter = Waiter(command, argv, db, resp, wait, self.now_ms, answer, offer if asks else None)
        waiter.reader = reader
        peer.waiters[handle] = waiter
        self.blocking.add(waiter)

    def _answered_later(self, hop: Hop, handle: int) -> None:
        """The owner has said that a hop's reply comes later: a blocking command waits there."""
        conn = hop[0]
        wait = conn.wait
        if not isinstance(wait, RemoteWait) or wait.hop is not hop:
            return
        wait.handle = handle
        if conn.closed:
            self._cancel(wait)
        elif wait.ending is not None:
            wait.peer.notes.append((handle, wait.ending))

    def take_notes(self, peer: Peer, notes: list[tuple[Any, int]]) -> None:
        """Deal with what a peer says of blocked commands: of its clients here, of ours there; and
        of what our clients have cached.
        """
        for handle, what in notes:
            if what in TRACKING_NOTES:
                self.tracking.hear(peer.worker, handle, what)
                continue
            if what == OFFER:
                self._offered(peer, handle)
                continue
            if what == TOUCHED:
                self.transactions.touched(handle)
                continue
            if what == READY:
                self.spread_waits.ready(handle)
                continue
            if what == LEAVE:
                self._hear_leave(peer.worker, handle)
                continue
            waiter = peer.waiters.get(handle)
            if not isinstance(waiter, Waiter):  # answered meanwhile, or it still waits for a lock
                if what == CANCEL:
                    peer.waiters.pop(handle, None)
                elif handle in peer.waiters:
                    peer.waiters[handle] = what
            elif what == TAKE:
                self.blocking.take(waiter)
            elif what == CANCEL:
                del peer.waiters[handle]
                self.blocking.end(waiter, None)
            elif what == TIMEOUT:
                self.blocking.end(waiter, waiter.timeout_reply)
            else:
                self.blocking.end(waiter, errors.unblocked().encode())

    def _offered(self, peer: Peer, handle: int) -> None:
        """An owner could serve a command of our client."""
        hop = peer.deferred.get(handle)
        if hop is None or not peer.up:
            return  # cancelled, as it will hear; or it leaves, and the command is sent again
        wait = hop[0].wait
        assert isinstance(wait, RemoteWait)
        if wait.ending is None:  # else it will hear of that
            wait.taken = True
            peer.notes.append((handle, TAKE))

    def stop_waiting(self, conn: Connection) -> None:
        """A client has gone that is blocked."""
        wait = conn.wait
        if isinstance(wait, Waiter):
            conn.wait = None
            self.blocking.end(wait, None)
            self._filled(conn, 1)
        elif isinstance(wait, SpreadWait):
            self.spread_waits.client_gone(wait)
        elif wait is not None and wait.handle is not None:
            self._cancel(wait)
        # Else the owner is told when it says that the reply comes later.

    def _cancel(self, wait: RemoteWait) -> None:
        assert wait.handle is not None
        wait.peer.notes.append((wait.handle, CANCEL))
        if wait.peer.deferred.pop(wait.handle, None) is not None:
            self._filled(wait.hop[0], 1)

    def unblock(self, conn: Connection, *, with_error: bool) -> bool:
        """End a client's blocking command (CLIENT UNBLOCK); False if that is under way already."""
        wait = conn.wait
        if isinstance(wait, Waiter):
            if wait.state is State.GONE:
                return False
            reply = errors.unblocked().encode() if with_error else wait.timeout_reply
            self.blocking.end(wait, reply)
            return True
        if isinstance(wait, SpreadWait):
            error = errors.unblocked().encode() if with_error else None
            return self.spread_waits.unblock(wait, error)
        if wait is None or wait.ending is not None:
            return False
        wait.ending = ERROR if with_error else TIMEOUT
        if wait.handle is not None:
            wait.peer.notes.append((wait.handle, wait.ending))
        return True

    # -- transactions ------------------------------------------------------------------------------

    def _exec_spanning(self, conn: Connection, transaction: Transaction) -> Reply:
        """Run a transaction whose keys, watched ones included, lie in several partitions, or which
        concerns all of them; `transaction` is still its client's.

        Returns: its reply, or LATER after a place was kept for it. Raises: ReplyError.
        """
        if conn.waiting:  # a barrier: all our earlier commands first
            self._block(conn, Block.REPLY, retry=True)
            return LATER
        exec_ = Spread(self.transactions, conn, transaction)
        self._send_steps(exec_, exec_.parts(), transaction.write)
        return LATER

    def _send_steps(self, exec_: Spread | Wider, parts: dict[int, bytes], write: bool) -> None:
        self.server.stats.spanning += 1
        self._last_ref += 1
        self._refs[self._last_ref] = exec_
        steps = tuple(exec_.plan.steps)
        self.uplink.messages.append((SPAN, self._last_ref, parts, write, steps))

    # -- spanning commands -------------------------------------------------------------------------

    def _span(
        self, conn: Connection, command: Command, argv: list[bytes], positions: list[int]
    ) -> Stop:
        spanning = command.spanning
        assert spanning is not None
        if conn.waiting:  # a barrier: all our earlier commands first
            return self._block(conn, Block.REPLY, retry=True)
        client = conn.client
        if spanning.prepare is not None:
            argv = [*argv[: command.skip], *spanning.prepare(client, tuple(argv[command.skip :]))]
        *_, reader = split_context(conn.context)
        tracked = () if reader is None else (reader,)
        workers = self.server.workers
        if workers == 1 and not spanning.supervisor:
            reply = self._span_alone(command, argv, client.db, client.resp)
            if isinstance(reply, Wait):
                self._wait_here(conn, self._placeholder(conn), command, argv, reply)
            else:
                self._reply(conn, reply)
            self._serve_ready()
            return self._after_server_command(conn)
        db: int | None = client.db
        ordinals: dict[int, list[int]] = {}
        parts: dict[int, bytes] = {}
        if spanning.locks is LockScope.KEYS:
            step = command.spec.keys[0].step
            slot_peer, index = self._slot_peer, self.server.index
            argvs: dict[int, list[bytes]] = {}
            keys: dict[int, list[bytes]] = {}
            for ordinal, at in enumerate(positions):
                key = argv[at]
                peer = slot_peer[key_slot(key)]
                worker = index if peer is None else peer.worker
                if worker not in argvs:
                    argvs[worker] = argv[: command.skip]
                    keys[worker] = []
                    ordinals[worker] = []
                argvs[worker] += argv[at : at + step]
                keys[worker].append(key)
                ordinals[worker].append(ordinal)
            for worker, part_argv in argvs.items():
                part = (db, tuple(keys[worker]), command.write, part_argv, client.resp, client.db)
                parts[worker] = marshal.dumps(part + tracked, 2)
        else:
            locked = () if spanning.locks is LockScope.NOTHING else None
            if spanning.locks is LockScope.STORE:
                db = None
            blob = marshal.dumps((db, locked, command.write, argv, client.resp, client.db), 2)
            parts = dict.fromkeys(range(workers), blob)
            if spanning.supervisor:
                parts[SUPERVISOR] = blob
        self.server.stats.spanning += 1
        at = self._placeholder(conn)
        self._last_ref += 1
        self._refs[self._last_ref] = _Span(conn, at, command, ordinals, client.resp)
        self.uplink.messages.append((SPAN, self._last_ref, parts, command.write, ()))
        return self._block(conn, Block.REPLY)

    def _after_server_command(self, conn: Connection) -> Stop:
        if conn.client.close_after_reply:
            conn.blocked = Block.CLOSING
        return bool(conn.blocked)

    def _span_alone(self, command: Command, argv: list[bytes], db: int, resp: int) -> bytes | Wait:
        """Do all of a spanning command where there is one partition."""
        if command.write and self.disk_error is not None:
            return self.disk_error
        reply = self._answer_alone(command, argv, db, resp)
        if self.store.dirty or self.store.effects:
            self._log_effects(db, argv)
        return reply

    def _answer_alone(
        self, command: Command, argv: list[bytes], db: int, resp: int
    ) -> bytes | Wait:
        """The same for a script, which logs later."""
        reply = self._part_reply(command, argv, db, resp)
        return self._merge(command, [PartAnswer(self.server.index, (), reply)], resp)

    def decode_part(self, blob: bytes) -> Part:
        """Return a part as the participant wants it."""
        db, keys, write, argv, resp, client_db, *more = marshal.loads(blob)
        if argv is None:
            return Part(db, keys, write, Transacted(resp, client_db, write, *more))
        if len(more) > 1:
            return Part(db, keys, write, Borrowing(argv, resp, client_db, *more))
        return Part(db, keys, write, (argv, resp, client_db, *more))

    def on_message(self, message: m.Message) -> bool:
        """Take what the coordinator says of spanning commands; False if it is about something
        else.
        """
        kind, *rest = message
        if kind == m.ANSWER:
            self.on_answer(*rest)
        elif kind == m.LOCK:
            ticket, blob, participants, mode = rest
            part = self.decode_part(blob)
            if isinstance(part.command, (Borrowing, Transacted)):
                self.borrower.enter(ticket, part.command)
            self._send_done(self.participant.on_lock(ticket, part, participants, mode))
        elif kind == m.RELEASE:
            self._try_is_over(*rest)
            self.borrower.release(*rest)
            self._send_done(self.participant.on_release(*rest))
        elif kind == m.REFUSE:
            self.on_refuse(*rest)
        elif kind == m.LOAN:
            self.borrower.take(*rest)
        elif kind == m.MORE:
            self.borrower.more(*rest)
        elif kind == m.EXECUTE:
            self.tracking.ticket = rest[0]
            self.borrower.execute(*rest)
            self.tracking.ticket = 0
            self.borrower.parts[rest[0]].told += self._serve_ready()
        elif kind == m.APPLY:
            done = self.borrower.apply(*rest)
            ours = self.borrower.parts[rest[0]]
            ours.told += self._serve_ready()
            # A try that has ended in vain may be wanted again soon, after its answer.
            if done and ours.told and not ours.entered:
                self._hold_ticket(rest[0], ours.told)
            if done:
                self._send_done([(rest[0], b"")])
        elif kind == m.LEND:
            self.borrower.lend(*rest)
        else:
            return False
        return True

    def _send_done(self, done: list[tuple[int, object]]) -> None:
        self.uplink.messages += [(DONE, ticket, reply) for ticket, reply in done]

    def _may_run(self, watcher: int, watched: int) -> bool:
        return self.transactions.watches.may_run(watcher, watched)

    def _send_up(self, message: m.Message) -> None:
        self.uplink.messages.append(message)

    def execute_part(self, part: Part, ticket: int, participants: tuple[int, ...]) -> object:
        """Run our part of a spanning command, all its locks granted, and log it under its
        ticket.
        """
        command_of_part: Any = part.command  # what decode_part put there
        if isinstance(command_of_part, (Borrowing, Transacted)):
            self.borrower.granted(ticket)
            return NOT_DONE
        argv, resp, db, *more = command_of_part
        command = resolve(argv)
        tracking = self.tracking
        tracking.ticket = ticket
        if more:
            (tracking.current,) = more
        reply = self._part_reply(command, argv, db, resp)
        if more:
            tracking.ran(command, argv)
            tracking.current = None
        tracking.ticket = 0
        store = self.store
        store.dirty_total += store.dirty
        if part.write and self.segment is not None:
            effects: list[tuple[bytes, ...]] = []
            if store.effects is not None:
                effects = store.effects
            elif store.dirty:
                effects = [tuple(argv)]
            self.segment.log_ticket(ticket, participants, reply, db, effects)
            self.logged_parts.add(ticket)
        told = self._serve_ready()  # they queue behind this ticket's locks
        if told:
            self._hold_ticket(ticket, told)
        return reply

    def _part_reply(
        self, command: Command, argv: list[bytes], db: int, resp: int
    ) -> bytes | list[bytes]:
        spanning = command.spanning
        assert spanning is not None
        first = self.server if command.scope is Scope.SERVER else self.store.view(db)
        try:
            reply = self._call(command, spanning.part or command.handler, first, argv, calls=0)
        except ReplyError as error:
            return error.encode()
        if isinstance(reply, Array):
            items = [encode(item, resp) for item in reply.items]
            size = sum(map(len, items))
            return items if size <= self._max_reply_bytes else errors.reply_too_large().encode()
        return encode(reply, resp)

    def _merge(self, command: Command, answers: list[PartAnswer], resp: int) -> bytes | Wait:
        spanning = command.spanning
        assert spanning is not None
        command.calls += 1
        command.timed += 1
        replies = [answer.reply for answer in answers if isinstance(answer.reply, bytes)]
        failure = next((reply for reply in replies if reply[:1] == b"-"), None)
        if failure is None:
            try:
                reply = spanning.merge(answers)
                return reply if isinstance(reply, Wait) else encode(reply, resp)
            except ReplyError as error:
                failure = error.encode()
        command.failed += 1
        self._count_error(failure[1:-2])
        return failure

    def on_answer(self, ref: int, replies: dict[int, Any]) -> None:
        """The coordinator has all parts' answers to one of our clients' commands."""
        span = self._refs.pop(ref)
        if isinstance(span, _Fetch):
            self._fetched(span, replies.values())
            return
        if isinstance(span, (Spread, Wider)):
            (ran,) = replies.values()
            span.answered(ran)
            return
        assert isinstance(span, _Span)
        if span.borrowing is not None:
            (ran,) = replies.values()
            if ran is None:  # FORGET came in time
                assert span.wait is not None
                self.spread_waits.forgotten(span.wait)
                return
            (reply,) = ran
            self._on_ran(span, span.borrowing, reply)
            return
        answers = [
            PartAnswer(worker, tuple(span.positions.get(worker, ())), replies[worker])
            for worker in sorted(replies)
        ]
        reply = self._merge(span.command, answers, span.resp)
        if isinstance(reply, Wait) and isinstance(span.conn, StandIn):
            self.fill(span.conn, span.at, reply.encode(span.resp))
        elif isinstance(reply, Wait):
            self._wait_here(span.conn, span.at, span.command, [span.command.name], reply)
        else:
            self.fill(span.conn, span.at, reply)
        if span.conn.client.close_after_reply:  # CLIENT KILL of itself
            span.conn.blocked = Block.CLOSING
            span.conn.drop_input()

    # -- borrowing commands ------------------------------------------------------------------------

    def _borrow(self, conn: Connection, command: Command, argv: list[bytes]) -> Stop:
        """Run a command over several partitions that needs their values together."""
        if not command.blocks:
            return self._start_borrowing(conn, command, argv)
        if conn.waiting:  # a barrier: all our earlier commands first
            return self._block(conn, Block.REPLY, retry=True)
        db, resp, reader = split_context(conn.context)
        at = self._placeholder(conn)
        self._block(conn, Block.KEYS)
        conn.wait = self.spread_waits.begin(conn, at, command, argv, db, resp, reader)
        return True

    def _start_borrowing(
        self,
        conn: Connection,
        command: Command,
        argv: list[bytes],
        extra: tuple[tuple[int, bytes], ...] = (),
    ) -> Stop:
        """Run a borrowing command, which is likely to need these keys besides those it names."""
        if conn.waiting:  # a barrier: all our earlier commands first
            return self._block(conn, Block.REPLY, retry=True)
        db, resp, reader = split_context(conn.context)
        rounds = _Rounds(argv, db, extra, reader=reader)
        self._send_borrowing(conn, self._placeholder(conn), command, resp, rounds)
        return self._block(conn, Block.REPLY)

    def _send_borrowing(
        self,
        conn: Connection,
        at: int,
        command: Command,
        resp: int,
        rounds: _Rounds,
        wait: SpreadWait | None = None,
    ) -> None:
        argv, db, extra, everything, names, _, reader = rounds
        keys: dict[int, list[bytes]] = {}
        if everything:
            keys = {worker: [] for worker in range(self.server.workers)}
        for key in [
            *(argv[at] for at in command.spec.key_positions(argv)),
            *(key for _, key in extra),
        ]:
            keys.setdefault(self._owner(key), []).append(key)
        first = executor_key(command, argv, extra)
        executor = self.server.index if first is None else self._owner(first)
        several = everything or any(one != db for one, _ in extra)
        several |= spans_databases(command, argv, db)
        waiter = None if wait is None else (self.server.index, wait.handle, wait.kind, wait.keys)
        borrowing = (argv, resp, db, executor, extra, everything, names, waiter, reader)
        parts = {
            worker: marshal.dumps(
                (
                    None if several else db,
                    None if several else tuple(owned),
                    command.write,
                    *borrowing,
                ),
                2,
            )
            for worker, owned in keys.items()
        }
        self.server.stats.spanning += 1
        self._last_ref += 1
        self._refs[self._last_ref] = _Span(conn, at, command, {}, resp, rounds, wait)
        lenders = tuple([worker for worker in parts if worker != executor])
        steps = ((executor, lenders, None, 1),)
        self.uplink.messages.append((SPAN, self._last_ref, parts, command.write, steps))

    def _owner(self, key: bytes) -> int:
        peer = self._slot_peer[key_slot(key)]
        return self.server.index if peer is None else peer.worker

    def _run_borrowing(
        self, borrowing: Borrowing
    ) -> tuple[bytes | list[bytes], list[Sequence[bytes]]]:
        """Run a borrowing command here, its executor, where all its values are now; return the
        reply, or NEED and the keys that it needs too, and its effects.
        """
        tracking = self.tracking
        tracking.current = borrowing.reader
        try:
            return self._run_borrowed(borrowing)
        finally:
            if borrowing.reader is not None:
                tracking.ran(resolve(borrowing.argv), borrowing.argv)
            tracking.current = None

    def _run_borrowed(
        self, borrowing: Borrowing
    ) -> tuple[bytes | list[bytes], list[Sequence[bytes]]]:
        argv, resp, db = borrowing.argv, borrowing.resp, borrowing.db
        command = resolve(argv)
        store = self.store
        if is_wide(command):
            reply = self._part_reply(command, argv, db, resp)
            return reply, self._effects_of(command, argv)
        if borrowing.waiter is not None and borrowing.waiter[2]:
            _, _, name, keys = borrowing.waiter
            kind, view = _KINDS[name], store.view(db)
            if not any(view.find(key).__class__ is kind for key in keys):
                store.dirty, store.effects = 0, None
                return self._wait_spread(borrowing, Wait(keys, 0, kind, b""))
        try:
            node = self._call(command, command.handler, store.view(db), argv, calls=0)
            if isinstance(node, Wait) and borrowing.waiter is not None:
                return self._wait_spread(borrowing, node)
            reply = self._hop_reply(encode(node, resp))
        except ReplyError as error:
            reply = error.encode()  # what a script had done before stays done
        except NeedKeys as need:
            if borrowing.everything:
                self.server.stats.script_retries += command.scope is Scope.SCRIPT
                raise
            return _need(need), []
        return reply, self._effects_of(command, argv)

    def _effects_of(self, command: Command, argv: list[bytes]) -> list[Sequence[bytes]]:
        """Return what the command that has just run has to say of its changes."""
        store = self.store
        if store.effects is not None:
            return list(store.effects)
        return [argv] if store.dirty else []

    def _log_changes(
        self, ticket: int, participants: Sequence[int], changes: Sequence[Change]
    ) -> None:
        segment = self.segment
        if segment is None:
            return
        segment.begin_ticket(ticket, participants)
        for db, argv in changes:
            segment.log(db, argv)
        segment.end_ticket(b"")
        self.logged_parts.add(ticket)

    def _on_ran(self, span: _Span, rounds: _Rounds, reply: bytes) -> None:
        """A borrowing command of our client has been run."""
        command = span.command
        if reply[:1] == WAIT:
            assert span.wait is not None
            argv, kind, keys, timeout_ms, workers, at_last = marshal.loads(reply[1:])
            self.spread_waits.not_served(
                span.wait, argv, kind, keys, timeout_ms, workers, at_last, self.now_ms
            )
            return
        if reply[:1] == NEED:
            self._run_with(span.conn, span.at, command, span.resp, rounds, _needed(reply))
            return
        command.calls += 1
        command.timed += 1
        if reply[:1] == b"-":
            command.failed += 1
            self._count_error(reply[1:-2])
        if rounds.rounds and command.scope is Scope.SCRIPT and not rounds.everything:
            self._learned.found(_call_of(command, rounds.argv, rounds.db), rounds.extra)
        if span.wait is not None:
            self.spread_waits.served(span.wait, reply)
        else:
            self.fill(span.conn, span.at, reply)

    # -- blocking commands over several partitions (worker/spread_wait.py) -------------------------

    def _wait_spread(self, borrowing: Borrowing, wait: Wait) -> tuple[bytes, list[Sequence[bytes]]]:
        """Let a command wait that we, its executor, cannot serve: as its reply and effects."""
        assert borrowing.waiter is not None
        home, handle, _, _ = borrowing.waiter
        workers = tuple(dict.fromkeys(map(self._owner, wait.keys)))
        reply = encode(wait.timeout_reply, borrowing.resp)
        argv = borrowing.argv
        command = resolve(argv)
        effects = self._effects_of(command, argv)  # XREADGROUP may have made a consumer
        name, keys = _NAMES[wait.kind], tuple(dict.fromkeys(wait.keys))
        head = b"%d" % home, b"%d" % handle, name, b"%d" % wait.on_nokey, b"%d" % borrowing.resp
        effects += [(WAIT, key, *head, *argv) for key in keys]
        if wait.argv is not None:
            argv = [*argv[: command.skip], *wait.argv]
        if wait.on_nokey:  # it is tried whatever is there
            name, keys = b"", ()
        return WAIT + marshal.dumps((argv, name, keys, wait.timeout_ms, workers, reply), 2), effects

    def _enter_spread(self, db: int, entry: Sequence[bytes]) -> None:
        """Enter a command into the queue of a key of ours."""
        key, home, handle, kind, on_nokey, resp, *argv = entry
        where = int(home), int(handle)
        if not self._may_live(*where):
            return  # it died after its try had begun
        known = self._entered.get(where)
        if known is not None:
            if key in known.keys:
                return  # it keeps its place
            self.blocking.end(known, None)  # it has more keys here
        keys = (*(() if known is None else known.keys), key)
        wait = Wait(keys, 0, _KINDS[kind], b"", on_nokey=on_nokey == b"1")
        waiter = self._entered[where] = Waiter(
            resolve(argv), argv, db, int(resp), wait, self.now_ms, _nobody, self._teller(*where)
        )
        waiter.spread = True
        self.blocking.add(waiter)

    def _teller(self, home: int, handle: int) -> Callable[[], None]:
        """Return what tells a home that a key is ready for its command."""
        peer = self.peers[home]
        if peer is None:
            return lambda: self.spread_waits.ready(handle)
        return lambda: peer.notes.append((handle, READY))

    def _try_spread(self, wait: SpreadWait) -> None:
        rounds = _Rounds(wait.argv, wait.db, reader=wait.reader)
        self._send_borrowing(wait.conn, wait.at, wait.command, wait.resp, rounds, wait)
        wait.ref = self._last_ref

    def _leave_spread(self, worker: int, handle: int) -> None:
        peer = self.peers[worker]
        if peer is None:
            self._hear_leave(worker, handle)
        elif peer.up:
            peer.notes.append((handle, LEAVE))

    def _hear_leave(self, home: int, handle: int) -> None:
        """A command that may have been entered here waits no longer."""
        waiter = self._entered.pop((home, handle), None)
        if waiter is not None:
            self.blocking.end(waiter, None)

    def _try_is_over(self, ticket: int) -> None:
        """The locks of a ticket are about to be let go: if it is a try of a command that was
        entered here, that has been entered again, or waits no longer.
        """
        where = self.borrower.waiter_of(ticket)
        waiter = self._entered.get(where)
        if waiter is None:
            return
        if self.borrower.parts[ticket].entered:
            self.blocking.passed(waiter)
        else:
            self._hear_leave(*where)

    def _answer_spread(self, wait: SpreadWait, reply: bytes | None) -> None:
        conn = wait.conn
        conn.wait = None
        if reply is None:
            self._filled(conn, 1)
        else:
            self.fill(conn, wait.at, reply)

    # -- borrowing commands, on ------------------------------------------------------------------

    def _run_with(
        self,
        conn: Connection,
        at: int,
        command: Command,
        resp: int,
        rounds: _Rounds,
        need: NeedKeys,
    ) -> None:
        """Run a command again that has turned out to need more keys."""
        if rounds.rounds == MAX_KEY_ROUNDS:
            self.fill(conn, at, errors.keys_keep_changing().encode())
            return
        if command.scope is Scope.SCRIPT:
            self.server.stats.script_retries += 1
        again = rounds._replace(
            argv=self._with_text(rounds.argv),  # it may run where nobody knows it
            extra=tuple(dict.fromkeys((*rounds.extra, *need.keys))),
            # What others change in between can't make it need other keys for ever.
            everything=rounds.everything
            or need.everything
            or (command.scope is Scope.SCRIPT and rounds.rounds + 1 >= KEY_ROUNDS_UNTIL_EVERYTHING),
            names=tuple({*rounds.names, *need.names}),
            rounds=rounds.rounds + 1,
        )
        self._send_borrowing(conn, at, resolve(again.argv), resp, again)

    def on_refuse(self, ref: int, text: bytes) -> None:
        """The coordinator has refused a spanning command; nothing was run."""
        span = self._refs.pop(ref)
        if isinstance(span, _Fetch):  # NOSCRIPT: the client may try with the script itself
            self._fetched(span, ())
            return
        if isinstance(span, (Spread, Wider)):
            span.refused(text)
            return
        assert isinstance(span, _Span)
        if span.wait is not None:
            self.spread_waits.served(span.wait, ReplyError(text).encode())
            return
        self.fill(span.conn, span.at, ReplyError(text).encode())

    # -- scripts -----------------------------------------------------------------------------------

    def _script(self, conn: Connection, command: Command, argv: list[bytes]) -> Stop:
        """Run a script or function at the owner of its keys, which may not have the script."""
        self.script_conn = conn
        if self.server.workers == 1:
            return self._route(conn, command, argv)
        if command.name in EVALS_OF_SHAS:
            sha = argv[1]
            if self._scripting.is_to_be_asked_for(sha):
                return self._fetch_script(conn, sha)
            if self._scripting.body_of(sha) is None:
                return self._route(conn, command, argv)
            keys = [argv[at] for at in command.spec.key_positions(argv)]
            if self._learned or any(self._slot_peer[key_slot(key)] is not None for key in keys):
                argv = self._with_text(argv)
                command = resolve(argv)
        if self._learned:
            extra = self._learned.keys_of(_call_of(command, argv, conn.client.db))
            if extra:
                return self._start_borrowing(conn, command, argv, extra)
        return self._route(conn, command, argv)

    def _with_text(self, argv: list[bytes]) -> list[bytes]:
        """Return an EVALSHA as the EVAL of its script, if we know that."""
        if argv[0].lower() not in EVALS_OF_SHAS:
            return argv
        text = self._scripting.body_of(argv[1])
        return argv if text is None else with_text(argv, text)

    def _fetch_for_queue(self, command: Command, argv: list[bytes]) -> Act | None:
        """Return what asks for the script of an EVALSHA that is about to be queued: EXEC sends its
        text. None if there is nothing to ask.
        """
        if self.server.workers == 1 or command.name not in EVALS_OF_SHAS:
            return None
        sha = argv[1]
        if not self._scripting.is_to_be_asked_for(sha):
            return None
        return lambda conn: self._fetch_script(conn, sha)

    def _fetch_script(self, conn: Connection, sha: bytes) -> Stop:
        """Ask all workers for a script that we do not know; the command is tried again then."""
        if not conn.waiting:
            argv = [b"SCRIPT", b"EXISTS", sha]
            blob = marshal.dumps((0, (), False, argv, 2, 0), 2)
            self._last_ref += 1
            self._refs[self._last_ref] = _Fetch(conn, sha)
            parts = dict.fromkeys(range(self.server.workers), blob)
            self.uplink.messages.append((SPAN, self._last_ref, parts, False, ()))
            conn.waiting += 1
        return self._block(conn, Block.REPLY, retry=True)

    def _fetched(self, fetch: _Fetch, answers: Iterable[object]) -> None:
        self._scripting.fetched(fetch.sha, answers)
        self._filled(fetch.conn, 1)

    def _while_it_runs(self, run: ScriptRun) -> bytes | None:
        """A script takes its time: serve a little if that is too much; say why it must end."""
        limit_ms = self.server.config.busy_reply_threshold
        if limit_ms <= 0 or self._clock_ns() - run.started_ns < limit_ms * 1_000_000:
            return None
        if self._slow is None:
            self._slow = run
            run.slow = True
            # All commands of clients go this way now, and cost nothing at other times.
            self.execute = self._execute_while_slow  # type: ignore[method-assign]
            self.rebind_all()
        self.pump()
        return run.killed

    def _slow_has_ended(self) -> None:
        self._slow = None
        del self.execute
        self.rebind_all()

    def _execute_while_slow(self, conn: Connection, argv: list[bytes]) -> Stop:
        """Run one of the few commands that are allowed, refuse any other with BUSY."""
        run = self._slow
        assert run is not None
        try:
            command = resolve(argv)
            allowed = CommandFlag.ALLOW_BUSY in command.spec.flags
            kind = command.name.partition(b"|")[0]
            if kind in (b"script", b"function"):  # each has its KILL
                allowed = allowed and (kind == b"function") == bool(run.command)
            elif kind == b"shutdown":
                allowed = b"NOSAVE" in map(bytes.upper, argv)
            if conn.client.authenticated and not allowed:
                raise errors.busy_function() if run.command else errors.busy_script()
            if conn.client.authenticated and command.name.endswith(b"|kill"):
                # No need to ask the others; and our part would have to wait for the script.
                if not run.kill():
                    raise errors.unkillable()
                self._reply(conn, OK)
                return bool(conn.blocked)
        except ReplyError as error:
            self._count_error(error.text)
            self._reply(conn, error.encode())
            return bool(conn.blocked)
        return Dispatcher.execute(self, conn, argv)

    def take_early(self, blob: bytes) -> None:
        """A part has come while a script is slow, and is run after it: if it is a kill, that is
        done now.
        """
        command: Any = self.decode_part(blob).command
        words = [word.upper() for word in command[0][:2]]
        if words in ([b"SCRIPT", b"KILL"], [b"FUNCTION", b"KILL"]):
            self._scripting.kill_early(function=words[0] == b"FUNCTION")

    def _is_held(self, db: int, key: bytes, write: bool) -> bool:
        """Tell whether a spanning command holds a key's slot, for a script that did not wait."""
        if not self.participant.busy:
            return False
        slot = key_slot(key)
        if write:
            return self.store.gate.is_locked(db, slot)
        return self.store.database(db).read[slot] is None

    def call_supervisor(self, conn: Connection, request: tuple[Any, ...]) -> None:
        """Send a client's request to the supervisor; its reply fills the placeholder."""
        self._last_ref += 1
        self._refs[self._last_ref] = (conn, self._placeholder(conn))
        self.uplink.messages.append((CALL, self._last_ref, request))
        self._block(conn, Block.REPLY)

    def on_told(self, ref: int, reply: bytes) -> None:
        """The supervisor has answered a request."""
        waiting = self._refs.pop(ref)
        assert isinstance(waiting, tuple)
        self.fill(*waiting, reply)


def _call_of(command: Command, argv: list[bytes], db: int) -> Call:
    """Return what says of a script's call which keys it needs."""
    return argv[1], db, tuple([argv[at] for at in command.spec.key_positions(argv)])


def _need(need: NeedKeys) -> bytes:
    """Return what stands in place of the reply."""
    return NEED + marshal.dumps((need.keys, need.everything, need.names), 2)


def _needed(reply: bytes) -> NeedKeys:
    """Return what such a reply asks for."""
    keys, everything, names = marshal.loads(reply[1:])
    return NeedKeys(keys, everything=everything, names=names)


def _nobody(_: bytes) -> None:
    raise AssertionError("a command that waits here for its home is answered there")
