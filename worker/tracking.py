"""Client-side caching: who has read which key, and who is told when it changes (no I/O).

As owner. The table holds, for each key that a client has read, its *readers*. The request of a
client that tracks says so (`Reader`, a part of the context of a hop or of a ticket's part); after a
command that only reads, its keys get this reader. The first change of the key takes its readers out
and tells their homes. As in Redis a key is known by its name alone, whatever the database.

As home. `Caching` is the state of one of our clients (CLIENT TRACKING). What an owner tells goes
from here to the client, or to the one that it redirects to, perhaps over that one's home.

BCAST. Every worker knows the prefixes that every other one's clients want. At a turn's end the keys
that have changed go to the homes, which look for their own clients' prefixes.

No invalidation is lost, nor comes too early (docs/partitions.md):
- a reader is noted in the turn in which the command reads, before anything else can change the key;
- an invalidation is a *note* in a frame: a home takes it behind all replies of that frame, and of
  earlier ones, so behind the reply whose value it makes stale (`Connection.push_behind`);
- what there is no room for is owed: instead the home is told later to let its clients forget all
  (FORGET). The same when an owner dies, and its table with it.

What always holds: while any client of any worker tracks, or the table is not empty, the fused
writes, which tell nobody, are not in the tables of commands (`is_active`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from shoal.proto import errors
from shoal.proto.errors import ReplyError
from shoal.proto.limits import MAX_FLUSHES_UNDER_WAY, MAX_UNSENT_NEWS_BYTES
from shoal.proto.numbers import parse_int
from shoal.proto.replies import bulk, integer
from shoal.proto.slots import key_slot
from shoal.proto.spec import CommandFlag
from shoal.worker.registry import Command, Scope

if TYPE_CHECKING:
    from shoal.proto.directives import Config
    from shoal.worker.client import Client
    from shoal.worker.keyspace import Store
    from shoal.worker.peers import Peer

Reader = tuple[int, int, int]
"""A client as owners know it: its home, its id, and REMEMBER, NOLOOP or both."""

REMEMBER: Final = 1  # what it reads now is to be tracked
NOLOOP: Final = 2  # what it changes itself is not told

# Notes between workers (worker/peers.py), each with what it is about:
INVALIDATED: Final = 20  # (key, ids of clients that have read it)
BROADCAST: Final = 21  # [(key, id of the client that changed it, 0 for none)]
FLUSHED: Final = 22  # the ticket of a flush that was done there
FORGET: Final = 23  # None: something was lost
TRACKING_NOTES: Final = frozenset({INVALIDATED, BROADCAST, FLUSHED, FORGET})

# News between workers (worker/broker.py), after their kind:
# TRACKING: whether any client of the sender tracks, and the prefixes that they want.
State = tuple[bool, tuple[bytes, ...]]

_EVICTED_AT_ONCE: Final = 100  # keys, when the table is too large: Redis's effort
_NOBODY: Final = 0  # no client has this id


class Caching:
    """What CLIENT TRACKING ON has made of a client.

    Attributes:
        redirect: the id of the client that is told instead, 0 for none; redirect_home: its worker.
        broken: that client has gone.
        bcast, optin, optout, noloop: the options.
        given: CLIENT CACHING was called for the next command.
        prefixes: of BCAST.
    """

    __slots__ = (
        "bcast",
        "broken",
        "given",
        "noloop",
        "optin",
        "optout",
        "prefixes",
        "redirect",
        "redirect_home",
    )

    def __init__(self, options: Options, redirect_home: int, prefixes: Iterable[bytes]) -> None:
        """Begin with options that fit each other."""
        self.redirect, self.redirect_home = options.redirect, redirect_home
        self.broken = self.given = False
        self.bcast, self.noloop = options.bcast, options.noloop
        self.optin, self.optout = options.optin, options.optout
        self.prefixes: dict[bytes, None] = dict.fromkeys(prefixes)

    @property
    def remembers(self) -> bool:
        """Whether what the next command reads is tracked."""
        if self.bcast:
            return False
        return self.given if self.optin else not (self.optout and self.given)


def reader_of(client: Client) -> Reader | None:
    """Return what owners have to know of the client for its next command, None for nothing."""
    state = client.tracking
    if state is None:
        return None
    flags = REMEMBER * state.remembers + NOLOOP * state.noloop
    return (client.server.index, client.id, flags) if flags else None


# -- CLIENT TRACKING -------------------------------------------------------------------------------


@dataclass(slots=True)
class Options:
    """Arguments of CLIENT TRACKING.

    Attributes:
        on: ON or OFF; None for anything else, which is an error once the rest is known to be right.
        redirect: 0 for none.
        error: what was found behind REDIRECT, whose client must exist first.
    """

    on: bool | None
    redirect: int = 0
    bcast: bool = False
    optin: bool = False
    optout: bool = False
    noloop: bool = False
    prefixes: list[bytes] = field(default_factory=list)
    error: ReplyError | None = None


def parse_options(args: Sequence[bytes]) -> Options:
    """Parse what follows CLIENT TRACKING. Raises: ReplyError."""
    options = Options({b"ON": True, b"OFF": False}.get(args[0].upper()))
    rest = iter(args[1:])
    for word in rest:
        try:
            _parse_option(options, word.upper(), rest)
        except ReplyError as error:
            if not options.redirect:
                raise
            options.error = error
            break
    return options


def _parse_option(options: Options, word: bytes, rest: Any) -> None:
    if word in (b"REDIRECT", b"PREFIX"):
        value = next(rest, None)
        if value is None:
            raise errors.syntax_error()
        if word == b"PREFIX":
            options.prefixes.append(value)
            return
        if options.redirect:
            raise errors.redirects_twice()
        number = parse_int(value)
        if number is None:
            raise errors.not_an_integer()
        if number <= 0:
            raise errors.no_client_to_redirect_to()
        options.redirect = number
    elif word in (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"):
        setattr(options, word.decode().lower(), True)
    else:
        raise errors.syntax_error()


def check_options(options: Options, state: Caching | None) -> None:
    """Raise ReplyError for options that don't fit each other, or the client's state."""
    if options.error is not None:
        raise options.error
    if options.on is None:
        raise errors.syntax_error()
    if not options.on:
        return
    if options.prefixes and not options.bcast:
        raise errors.prefix_without_bcast()
    if state is not None and state.bcast != options.bcast:
        raise errors.cannot_switch_bcast()
    if options.bcast and (options.optin or options.optout):
        raise errors.opt_with_bcast()
    if options.optin and options.optout:
        raise errors.optin_and_optout()
    if state is not None and ((options.optin and state.optout) or (options.optout and state.optin)):
        raise errors.cannot_switch_opt()
    if options.bcast:
        _check_prefixes(options.prefixes, () if state is None else tuple(state.prefixes))


def _check_prefixes(prefixes: Sequence[bytes], known: Sequence[bytes]) -> None:
    for at, prefix in enumerate(prefixes):
        for other in known:
            if _overlap(prefix, other):
                raise errors.prefix_overlaps(prefix, other, known=True)
        for other in prefixes[at + 1 :]:
            if _overlap(prefix, other):
                raise errors.prefix_overlaps(prefix, other, known=False)


def _overlap(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


def state_after(options: Options, redirect_home: int, state: Caching | None) -> Caching | None:
    """Return a client's state after CLIENT TRACKING with options that were checked."""
    if not options.on:
        return None
    prefixes: list[bytes] = []
    if options.bcast:
        prefixes = [*(() if state is None else state.prefixes), *(options.prefixes or [b""])]
    after = Caching(options, redirect_home, prefixes)
    after.given = state is not None and state.given
    return after


def trial_of(state: Caching | None, argv: Sequence[bytes]) -> Caching | None:
    """Return what a queued CLIENT TRACKING or CLIENT CACHING will make of a client's state; nobody
    else hears of it. Raises: ReplyError.
    """
    if argv[1].upper() == b"TRACKING":
        options = parse_options(argv[2:])
        check_options(options, state)
        return state_after(options, 0, state)
    check_caching(state, argv[2])
    state = copy(state)
    assert state is not None
    state.given = True
    return state


def check_caching(state: Caching | None, word: bytes) -> None:
    """Raise ReplyError if CLIENT CACHING may not be called with this word."""
    word = word.upper()
    if state is None:
        raise errors.no_caching_mode()
    if word not in (b"YES", b"NO"):
        raise errors.syntax_error()
    if word == b"YES" and not state.optin:
        raise errors.caching_needs(b"YES", b"OPTIN")
    if word == b"NO" and not state.optout:
        raise errors.caching_needs(b"NO", b"OPTOUT")


# -- the worker ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What tracking needs of its worker.

    Attributes:
        clients: ours, by id.
        peers: by worker, None for ourselves.
        push: `push(client, data, ahead)` sends bytes to a client of ours; ahead: in front of the
            reply that it waits for.
        redirect: `redirect(peer, target, client, body)` lets a worker tell its client `target` what
            our client is to be told; both are ids.
        announce: tells the other workers our `state`.
        set_active: `is_active` has changed.
    """

    clients: dict[int, Client]
    peers: Sequence[Peer | None]
    push: Callable[[Client, bytes, bool], None]
    redirect: Callable[[Peer, int, int, bytes], None]
    announce: Callable[[], None]
    set_active: Callable[[], None]


class Tracking:
    """All about client-side caching of one worker, as owner and as home.

    Attributes:
        current: whose command runs, if its client tracks.
        ticket: of the spanning command that runs, 0 for none.
        is_active: see the module's text.
        due: there is something for `end_turn` to do.
        away: keys of other workers that the running command has read, which were lent to us.
    """

    def __init__(self, index: int, store: Store, config: Config, around: Surroundings) -> None:
        """Begin with no client that tracks."""
        self._index = index
        self._store = store
        self._config = config
        self._around = around
        self.current: Reader | None = None
        self.ticket = 0
        self.is_active = False
        self.due = False
        self.away: list[bytes] = []
        self._table: dict[bytes, dict[tuple[int, int], None]] = {}
        self._items = 0  # readers in the table
        self._trackers: dict[int, Client] = {}  # ours, by id
        self._wanted: dict[bytes, dict[int, Client]] = {}  # by prefix those with BCAST
        self._states: dict[int, State] = {}  # of every worker, ourselves included; none for nobody
        self._prefixes: dict[int, tuple[bytes, ...]] = {}  # worker -> those of BCAST, if any
        self._changed: dict[bytes, int] = {}  # keys for BCAST, with who changed each last
        self._owed: set[int] = set()  # homes that have to forget
        self._owed_redirects: dict[int, dict[int, int]] = {}  # home -> target's id -> who redirects
        self._flushes: dict[int, dict[int, int]] = {}  # ticket -> worker -> flushes it has told
        self._listening = False

    # -- as owner ----------------------------------------------------------------------------------

    def ran(self, command: Command, argv: Sequence[bytes]) -> None:
        """A command of `current` has run: remember the keys that it has read."""
        reader = self.current
        if (
            reader is not None
            and reader[2] & REMEMBER
            and CommandFlag.READONLY in command.spec.flags
            and command.scope is Scope.KEYSPACE
        ):
            for at in command.spec.key_positions(argv):
                self.remember(argv[at], reader[0], reader[1])

    def remember(self, key: bytes, home: int, client_id: int) -> None:
        """Let a client know of the next change of a key."""
        if key_slot(key) not in self._store.slots:
            self.away.append(key)
            return
        readers = self._table.get(key)
        if readers is None:
            readers = self._table[key] = {}
            if len(self._table) == 1:
                self._update()
            limit = self._limit()
            if limit and len(self._table) > limit:
                self._evict(limit)
        if (home, client_id) not in readers:
            readers[home, client_id] = None
            self._items += 1

    def take_away(self) -> list[bytes]:
        """Return the keys of others that were read, and forget them."""
        keys, self.away = self.away, []
        return keys

    def _limit(self) -> int:
        """Return our share of tracking-table-max-keys, 0 for no limit."""
        limit = int(self._config.tracking_table_max_keys)
        workers = len(self._around.peers)
        return max(limit // workers, 1) if limit else 0

    def limit_table(self) -> None:
        """Make the table smaller if the limit was lowered; called by the cron."""
        limit = self._limit()
        if limit and len(self._table) > limit:
            self._evict(limit)

    def _evict(self, limit: int) -> None:
        count = min(len(self._table) - limit, _EVICTED_AT_ONCE)
        for key in list(islice(self._table, count)):
            self._invalidate(key, _NOBODY)

    # The store's listener.

    def changed(self, db: int, key: bytes) -> None:
        """A key changed, came or went."""
        current = self.current
        if key in self._table:
            self._invalidate(key, current[1] if current and current[2] & NOLOOP else _NOBODY)
        if self._prefixes:
            store = self._store
            if store.borrowed is not None and key_slot(key) not in store.slots:
                return  # its owner tells, when it hears of the change
            self._changed[key] = current[1] if current is not None else _NOBODY
            self.due = True

    def flushing(self, db: int, other: int | None) -> None:
        """As in Redis only the whole command is told (`flushed`), and SWAPDB is not."""

    def _invalidate(self, key: bytes, changer: int) -> None:
        readers = self._table.pop(key)
        self._items -= len(readers)
        if not self._table:
            self._update()
        remote: dict[int, list[int]] = {}
        for home, client_id in readers:
            if client_id == changer:
                continue
            if home == self._index:
                self._tell_client(client_id, key)
            else:
                remote.setdefault(home, []).append(client_id)
        for home, ids in remote.items():
            self._note(home, (key, tuple(ids)), INVALIDATED)

    def flushed(self) -> None:
        """FLUSHALL or FLUSHDB was done here, or the keys were loaded anew."""
        if self._table:
            self._table.clear()
            self._items = 0
            self._update()
        # To every home, whether or not its clients track: it waits for all of us.
        for home, peer in enumerate(self._around.peers):
            if peer is not None:
                self._note(home, self.ticket, FLUSHED)
        self._hear_flush(self._index, self.ticket)

    def pause(self) -> None:
        """The keys are about to be loaded anew: that is no change, and `go_on` has to follow."""
        self._store.tracking = None
        if self._listening:
            self._store.remove_listener(self)

    def go_on(self) -> None:
        """They were: nothing that was read is known to be true."""
        self._store.tracking = self
        if self._listening:
            self._store.add_listener(self)
        self.flushed()

    def _note(self, home: int, about: object, what: int) -> None:
        peer = self._around.peers[home]
        assert peer is not None
        if not peer.up:
            return  # its clients have gone
        if peer.outbox_bytes > MAX_UNSENT_NEWS_BYTES:
            self._owed.add(home)
            self.due = True
            return
        peer.notes.append((about, what))

    def end_turn(self) -> None:
        """Tell what BCAST wants of this turn, and what is owed, if there is room now."""
        self.due = False
        if self._changed:
            changed, self._changed = self._changed, {}
            for home, prefixes in self._prefixes.items():
                wanted = [item for item in sorted(changed.items()) if item[0].startswith(prefixes)]
                if not wanted:
                    continue
                if home == self._index:
                    self._broadcast(wanted)
                else:
                    self._note(home, wanted, BROADCAST)
        peers = self._around.peers
        for home in list(self._owed):
            peer = peers[home]
            assert peer is not None
            if peer.outbox_bytes <= MAX_UNSENT_NEWS_BYTES:
                self._owed.discard(home)
                self._note(home, None, FORGET)
        for home, targets in list(self._owed_redirects.items()):
            peer = peers[home]
            assert peer is not None
            if peer.outbox_bytes <= MAX_UNSENT_NEWS_BYTES:
                del self._owed_redirects[home]
                for client_id in targets.values():
                    self._tell_client(client_id, None)
        self.due = bool(self._owed or self._owed_redirects)

    # -- what the workers know of each other -------------------------------------------------------

    def state(self) -> State:
        """Return what the other workers shall know of our clients."""
        return bool(self._trackers), tuple(self._wanted)

    def hear_state(self, worker: int, state: State) -> None:
        """Take what a worker says of its clients."""
        tracks, prefixes = state
        if tracks:
            self._states[worker] = state
        else:
            self._states.pop(worker, None)
        if prefixes:
            self._prefixes[worker] = prefixes
        else:
            self._prefixes.pop(worker, None)
        if not self._states:
            self._table.clear()
            self._items = 0
        self._update()

    def peer_gone(self, worker: int) -> None:
        """A worker has no clients any more: it has died, or will end."""
        self.hear_state(worker, (False, ()))
        self._owed.discard(worker)
        self._owed_redirects.pop(worker, None)

    def owner_lost(self, worker: int) -> None:
        """A worker has died, all that it had still sent was taken: with its table it has forgotten
        what our clients had read there.
        """
        self.forget_all()
        for ticket in list(self._flushes):
            self._flushes[ticket].pop(worker, None)
            self._settle_flush(ticket, gone=worker)

    def _update(self) -> None:
        """Listen to changes, and keep fused writes away, as long as somebody wants to know."""
        listens = bool(self._table or self._prefixes)
        if listens is not self._listening:
            self._listening = listens
            if listens:
                self._store.add_listener(self)
            else:
                self._store.remove_listener(self)
        is_active = bool(self._states or self._table)
        if is_active is not self.is_active:
            self.is_active = is_active
            self._around.set_active()

    # -- as home -----------------------------------------------------------------------------------

    def set_state(self, client: Client, state: Caching | None) -> bool:
        """Change a client's state; tell whether the other workers have to hear of it."""
        before, old = self.state(), client.tracking
        client.tracking = state
        for prefix in () if old is None else old.prefixes:
            del self._wanted[prefix][client.id]
            if not self._wanted[prefix]:
                del self._wanted[prefix]
        for prefix in () if state is None else state.prefixes:
            self._wanted.setdefault(prefix, {})[client.id] = client
        if state is None:
            self._trackers.pop(client.id, None)
        else:
            self._trackers[client.id] = client
        client.link.state_changed()
        if self.state() == before:
            return False
        self.hear_state(self._index, self.state())
        return True

    def end(self, client: Client) -> None:
        """A client tracks no more: RESET, or it has gone."""
        if self.set_state(client, None):
            self._around.announce()

    def hear(self, worker: int, about: Any, what: int) -> None:
        """Take a note of an owner."""
        if what == INVALIDATED:
            key, ids = about
            for client_id in ids:
                self._tell_client(client_id, key)
        elif what == BROADCAST:
            self._broadcast(about)
        elif what == FLUSHED:
            self._hear_flush(worker, about)
        else:
            assert what == FORGET, what
            self.forget_all()

    def forget_all(self) -> None:
        """Let all our clients that track forget what they have."""
        for client in list(self._trackers.values()):
            self._send(client, None)

    def forget_broadcast(self) -> None:
        """The same of those with BCAST: a worker has started anew that did not know of them."""
        for client in list(self._trackers.values()):
            if client.tracking is not None and client.tracking.bcast:
                self._send(client, None)

    def _hear_flush(self, worker: int, ticket: int) -> None:
        """A flush was done in a partition. A client is told when it was done in all of them, behind
        the replies that any of them had sent before.
        """
        told = self._flushes.setdefault(ticket, {})
        told[worker] = told.get(worker, 0) + 1
        self._settle_flush(ticket)

    def _settle_flush(self, ticket: int, gone: int = -1) -> None:
        told, peers = self._flushes[ticket], self._around.peers
        awaited = {
            worker
            for worker, peer in enumerate(peers)
            if (peer is None or peer.up) and worker != gone
        }
        if not ticket or awaited <= told.keys():
            left = {worker: count - 1 for worker, count in told.items() if count > 1}
            if left and ticket:
                self._flushes[ticket] = left
            else:
                del self._flushes[ticket]
            self.forget_all()
        elif len(self._flushes) > MAX_FLUSHES_UNDER_WAY:
            # Of those that a worker has told again after its restart nobody else will tell.
            self._flushes.clear()
            self.forget_all()

    def _tell_client(self, client_id: int, key: bytes | None) -> None:
        client = self._trackers.get(client_id)
        # Who has changed to BCAST is not told of what it read before.
        if client is None or client.tracking is None or client.tracking.bcast:
            return
        self._send(client, None if key is None else [key])

    def _broadcast(self, changed: Sequence[tuple[bytes, int]]) -> None:
        for prefix in sorted(self._wanted):
            found = [item for item in changed if item[0].startswith(prefix)]
            for client in list(self._wanted[prefix].values()) if found else ():
                assert client.tracking is not None
                own = client.id if client.tracking.noloop else -1
                keys = [key for key, changer in found if changer != own]
                if keys:
                    self._send(client, keys)

    def _send(self, client: Client, keys: Sequence[bytes] | None) -> None:
        """Tell a client of ours, or whom it redirects to: forget these keys, or (None) all."""
        state = client.tracking
        assert state is not None
        if keys is None:
            body = b"_\r\n" if client.resp == 3 else b"$-1\r\n"
        else:
            body = b"*%d\r\n%b" % (len(keys), b"".join(map(bulk, keys)))
        if not state.redirect:
            # Redis answers FLUSHALL and FLUSHDB behind what it tells of them.
            ahead = keys is None and client.multi is None and client.last_command in _FLUSHES
            self._push(client, body, redirected=False, ahead=ahead)
            return
        peer = self._around.peers[state.redirect_home]
        if peer is None:
            target = self._around.clients.get(state.redirect)
            if target is None:
                self._is_broken(client, state)
            else:
                self._push(target, body, redirected=True)
        elif not peer.up or state.broken:
            self._is_broken(client, state)
        elif peer.outbox_bytes > MAX_UNSENT_NEWS_BYTES:
            self._owed_redirects.setdefault(peer.worker, {})[state.redirect] = client.id
            self.due = True
        else:
            self._around.redirect(peer, state.redirect, client.id, body)

    def redirected(self, client_id: int, body: bytes) -> bool:
        """Tell a client of ours what another worker's redirects to it; False if it has gone."""
        target = self._around.clients.get(client_id)
        if target is None:
            return False
        self._push(target, body, redirected=True)
        return True

    def redirect_is_broken(self, client_id: int, target: int) -> None:
        """A worker says that it has not the client that one of ours redirects to."""
        client = self._trackers.get(client_id)
        state = None if client is None else client.tracking
        if client is not None and state is not None and state.redirect == target:
            self._is_broken(client, state)

    def _is_broken(self, client: Client, state: Caching) -> None:
        state.broken = True
        if client.resp == 3:
            data = b">2\r\n$21\r\ntracking-redir-broken\r\n" + integer(state.redirect)
            self._around.push(client, data, False)

    def _push(self, client: Client, body: bytes, *, redirected: bool, ahead: bool = False) -> None:
        if client.resp == 3:
            self._around.push(client, b">2\r\n$10\r\ninvalidate\r\n" + body, ahead)
        elif redirected and client.pubsub is not None and client.pubsub.is_subscriber:
            data = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n" + body
            self._around.push(client, data, ahead)

    # -- figures -----------------------------------------------------------------------------------

    def info(self) -> dict[str, int]:
        """Return what INFO tells: of our clients, of our table; prefixes are of all workers."""
        prefixes = {prefix for found in self._prefixes.values() for prefix in found}
        return {
            "tracking_clients": len(self._trackers),
            "tracking_total_keys": len(self._table),
            "tracking_total_items": self._items,
            "tracking_total_prefixes": len(prefixes),
        }


_FLUSHES: Final = frozenset({b"flushall", b"flushdb"})
