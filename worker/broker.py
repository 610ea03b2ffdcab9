"""What reaches clients unasked: messages of pub/sub, keyspace events, MONITOR's lines.

The broker stands between the registry (`worker/pubsub.py`: who wants what), the clients of this
worker, and the other workers. What it tells those travels among the requests of the frames between
workers, as tuples of three or more (`News`), because it must come in order with them:

- (ANNOUNCE, ref, topics): my clients' subscriptions have changed; answer with (KNOWN, ref, None), a
  ref of 0 wants no answer. Topics are `Announced` of the registry.
- (SYNC, 0, topics): all my subscriptions; the first that a worker hears which has started anew.
- (MESSAGE, kind, channel, message): deliver this; for each worker that has a subscriber one.
- (LINE, 0, line): a line for MONITOR.
- (PUSH, client id, bytes for RESP2 or None, bytes for RESP3): for one client.
- (TRACKING, ref, state): of our clients, for `worker/tracking.py`; answered by KNOWN.
- (LOCATE, ref, client id): is that client yours? (KNOWN, ref, yes or no) says it.
- (REDIRECTED, client id, by whom, body): tell this client that of ours what it caches is not true;
  if it has gone, (BROKEN, by whom, client id) comes back.

PUBLISH needs no round trip: the sender knows the counts. Whoever subscribes pays: the confirmation
waits for one round trip to all workers, and meanwhile the client's next command waits, and so do
messages to a client that joins (`Subscriptions.held`), for they come behind the confirmation.

A worker that starts anew does not publish before every other one has told it its subscriptions
(`_unsynced`): PUBLISH waits, events are kept. What is told to a worker that is down or leaving is
told to nobody: its clients have gone.

Messages are put into the clients' queues (`Connection.push`) by `flush`, after the running
command's reply or at the turn's end: as in Redis, a client that publishes to itself hears the reply
first. They go out with the replies, behind the frames, so what holds for replies holds for them:
who sees a message finds what its publisher had done before (docs/partitions.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from shoal.proto import errors
from shoal.proto.errors import ReplyError
from shoal.proto.limits import (
    MAX_EVENTS_BEFORE_SYNC,
    MAX_HELD_PUSH_BYTES,
    MAX_PEER_OUTBOX_BYTES,
    MAX_UNSENT_NEWS_BYTES,
)
from shoal.proto.replies import NULL, OK, ZERO, Node, Reply, bulk, encode, integer, push
from shoal.worker.client import Client, ReplyMode
from shoal.worker.connection import Block, Connection
from shoal.worker.pubsub import CHANNEL, FEED, PATTERN, SHARD, Announced, Change, Registry, Topic
from shoal.worker.registry import LATER, Command
from shoal.worker.tracking import Options, check_options, state_after

if TYPE_CHECKING:
    from shoal.worker.dispatch import Dispatcher
    from shoal.worker.peers import Peer

ANNOUNCE: Final = 0
KNOWN: Final = 1
SYNC: Final = 2
MESSAGE: Final = 3
LINE: Final = 4
PUSH: Final = 5
TRACKING: Final = 6
LOCATE: Final = 7
REDIRECTED: Final = 8
BROKEN: Final = 9

News = tuple[Any, ...]

JOINED: Final = (b"subscribe", b"psubscribe", b"ssubscribe")
LEFT: Final = (b"unsubscribe", b"punsubscribe", b"sunsubscribe")
NOTHING: Final = b""  # a reply of no bytes

# How the bytes of a push are meant: as they are; without their first one, which depends on the
# protocol; as they are, and behind replies that have come (`Connection.push_behind`).
AS_IS: Final = 0
HEADLESS: Final = 1
BEHIND: Final = 2
_FEED_NAME: Final = b""


class Subscriptions:
    """What one client has subscribed to.

    Attributes:
        names: by kind the names, in the order in which they were subscribed to.
        change: what is under way, None for nothing.
        held: messages that come behind the confirmation of `change`; None if they need not wait.
        held_bytes: their size.
    """

    __slots__ = ("change", "held", "held_bytes", "names")

    def __init__(self) -> None:
        """Start with none."""
        self.names: tuple[dict[bytes, None], ...] = ({}, {}, {}, {})
        self.change: _Pending | None = None
        self.held: list[bytes] | None = None
        self.held_bytes = 0

    @property
    def is_subscriber(self) -> bool:
        """Whether the client receives messages of pub/sub."""
        return bool(self.names[CHANNEL] or self.names[PATTERN] or self.names[SHARD])

    @property
    def is_monitor(self) -> bool:
        """Whether the client receives all commands."""
        return bool(self.names[FEED])

    def count(self, kind: int) -> int:
        """Return the number that a confirmation of this kind tells."""
        if kind == SHARD:
            return len(self.names[SHARD])
        return len(self.names[CHANNEL]) + len(self.names[PATTERN])


class _Pending(Change):
    """A change of one client's subscriptions that not every worker knows of.

    Attributes:
        awaited: the workers that have not answered; topics: kinds and names that change.
        reply: what the client then gets, and whether CLIENT REPLY OFF keeps it back.
    """

    __slots__ = ("awaited", "client", "is_push", "reply", "topics")

    def __init__(self, client: Client, topics: list[tuple[int, bytes]], *, joins: bool) -> None:
        super().__init__(joins=joins)
        self.client = client
        self.topics = topics
        self.awaited: set[int] = set()
        self.reply = NOTHING
        self.is_push = True


class _Question:
    """What all other workers were asked, or told.

    Attributes:
        awaited: those that have not answered; answers: of the others.
        then: called with the answers when all are there, or their workers gone.
    """

    __slots__ = ("answers", "awaited", "then")

    def __init__(self, awaited: set[int], then: Callable[[dict[int, Any]], None]) -> None:
        self.awaited = awaited
        self.answers: dict[int, Any] = {}
        self.then = then


class Broker:
    """The pub/sub of one worker.

    Attributes:
        registry: who has subscribed to what.
        pushes: what `flush` has to hand out: to whom, the bytes, and AS_IS, HEADLESS or BEHIND.
        fed: somebody wants to see all commands.
        told: in this turn an effect was told that has to be sent before the reply to a hop.
    """

    def __init__(self, dispatcher: Dispatcher, peers: Sequence[Peer | None]) -> None:
        """Serve the clients of `dispatcher`."""
        self.registry: Registry[Client] = Registry()
        self._channels, self._patterns, *_ = self.registry.topics
        self._published = 0
        self.pushes: list[tuple[list[Client], bytes, int]] = []
        self.fed = False
        self.told = False
        self._dispatcher = dispatcher
        self._server = dispatcher.server
        self._peers = peers
        self._others = [peer for peer in peers if peer is not None]
        self._last_ref = 0
        self._changes: dict[int, _Pending] = {}
        self._questions: dict[int, _Question] = {}
        self._unsynced: set[int] = set()
        self._waiting: list[Connection] = []  # to publish, until the others have told us theirs
        self._early: deque[tuple[bytes, bytes]] = deque()  # events that wait likewise
        self.lost = 0  # messages that there was no room for

    # -- a client's commands -----------------------------------------------------------------------

    def subscribe(self, client: Client, kind: int, names: Sequence[bytes]) -> Reply:
        """Subscribe a client; return the confirmations, or LATER."""
        conn = client.link
        assert isinstance(conn, Connection)
        if self._has_to_wait(conn):
            return LATER
        self.flush()
        subs = client.pubsub
        if subs is None:
            subs = client.pubsub = Subscriptions()
        self._server.subscribers += not subs.is_subscriber
        change = _Pending(client, [], joins=True)
        mine = subs.names[kind]
        confirmations = []
        for name in names:
            if name not in mine:
                mine[name] = None
                change.topics.append((kind, name))
                self.registry.add(kind, name, client, change)
            confirmations.append(_confirmation(JOINED[kind], bulk(name), subs.count(kind)))
        conn.state_changed()
        return self._begin(conn, subs, change, _joined(confirmations, client.resp), is_push=True)

    def unsubscribe(self, client: Client, kind: int, names: Sequence[bytes]) -> Reply:
        """End subscriptions of a client, all of the kind without names; return as `subscribe`."""
        conn = client.link
        assert isinstance(conn, Connection)
        if self._has_to_wait(conn):
            return LATER
        self.flush()
        subs = client.pubsub or Subscriptions()
        change = _Pending(client, [], joins=False)
        left = dict.fromkeys(subs.names[kind])
        count = subs.count(kind)
        confirmations = []
        for name in names or list(left):
            if name in left:
                del left[name]
                count -= 1
                change.topics.append((kind, name))
                self.registry.leave(kind, name, client, change)
            confirmations.append(_confirmation(LEFT[kind], bulk(name), count))
        if not confirmations:
            confirmations.append(_confirmation(LEFT[kind], NULL, count))
        return self._begin(conn, subs, change, _joined(confirmations, client.resp), is_push=True)

    def reset(self, client: Client, reply: bytes) -> Reply:
        """Do RESET for a client that has subscriptions, which end without confirmation, MONITOR
        too; return `reply`, or LATER.
        """
        conn, subs = client.link, client.pubsub
        assert isinstance(conn, Connection)
        assert subs is not None
        if self._has_to_wait(conn):
            return LATER
        self.flush()
        client.reset()
        change = _Pending(client, [], joins=False)
        for kind, names in enumerate(subs.names):
            for name in names:
                change.topics.append((kind, name))
                self.registry.leave(kind, name, client, change)
        return self._begin(conn, subs, change, reply, is_push=False)

    def monitor(self, client: Client) -> Reply:
        """Show a client all commands (MONITOR); return as `subscribe`."""
        if client.multi is not None:  # its EXEC runs
            raise errors.no_monitor_in_transaction()
        conn = client.link
        assert isinstance(conn, Connection)
        if self._has_to_wait(conn):
            return LATER
        self.flush()
        subs = client.pubsub
        if subs is None:
            subs = client.pubsub = Subscriptions()
        if subs.is_monitor:
            return NOTHING  # Redis says nothing to the second one either
        subs.names[FEED][_FEED_NAME] = None
        change = _Pending(client, [(FEED, _FEED_NAME)], joins=True)
        self.registry.add(FEED, _FEED_NAME, client, change)
        conn.state_changed()
        return self._begin(conn, subs, change, OK, is_push=False)

    def publish(self, client: Client, kind: int, channel: bytes, message: bytes) -> Reply:
        """Publish a message of a client; return how many get it, or LATER."""
        conn = client.link
        if client.multi is not None:  # in EXEC, which goes on whatever is in the way
            return integer(self.send(kind, channel, message))
        if isinstance(conn, Connection) and (self._unsynced or self._is_stalled(conn)):
            if self._unsynced:
                conn.blocked, conn.retry = Block.PEER, True
                self._waiting.append(conn)
            return LATER
        # A script's reply may go to a peer: the message has to leave before it.
        in_script = not isinstance(conn, Connection)
        trial = self._server.store.trial
        if in_script and trial is not None:  # it leaves when the script stays
            trial.tell(self._send_effect, kind, channel, message)
            return integer(self.registry.receivers(kind, channel))
        return integer(self.send(kind, channel, message, is_effect=in_script))

    def _send_effect(self, kind: int, channel: bytes, message: bytes) -> None:
        self.send(kind, channel, message, is_effect=True)

    def publish_now(self, argv: list[bytes]) -> bytes | None:
        """PUBLISH as a fused command (`worker/hot.py`), None if it has to wait or is wrong."""
        if len(argv) != 3 or self._unsynced:
            return None
        channel = argv[1]
        if channel not in self._channels and not self._patterns:
            self._published += 1
            return ZERO
        for peer in self._others:
            if peer.outbox_bytes > MAX_PEER_OUTBOX_BYTES:
                return None
        self._published += 1
        return integer(self.send(CHANNEL, channel, argv[2]))

    def take_count(self) -> int:
        """Return the calls of `publish_now` since the last time."""
        published, self._published = self._published, 0
        return published

    def client_gone(self, client: Client) -> None:
        """A client that has subscriptions has gone."""
        subs, client.pubsub = client.pubsub, None
        assert subs is not None
        self._server.subscribers -= subs.is_subscriber
        if subs.change is not None:
            self._changes = {
                ref: change for ref, change in self._changes.items() if change is not subs.change
            }
            subs.change = None
        topics = [(kind, name) for kind, names in enumerate(subs.names) for name in names]
        for kind, name in topics:
            self.registry.remove(kind, name, client)
        self._announce(topics, 0)
        self._look_at_feed()

    # -- a change of subscriptions -----------------------------------------------------------------

    def _has_to_wait(self, conn: Connection) -> bool:
        """Let a client wait whose earlier replies are missing: the confirmation comes after them,
        and messages after that.
        """
        if conn.waiting:
            conn.blocked, conn.retry = Block.REPLY, True
            return True
        return self._is_stalled(conn)

    def _is_stalled(self, conn: Connection) -> bool:
        """Let a client wait while too much waits for a peer's pipe."""
        for peer in self._others:
            if peer.up and peer.outbox_bytes > MAX_PEER_OUTBOX_BYTES:
                peer.stalled.append(conn)
                conn.blocked, conn.retry = Block.PEER, True
                return True
        return False

    def _begin(
        self,
        conn: Connection,
        subs: Subscriptions,
        change: _Pending,
        reply: bytes,
        *,
        is_push: bool,
    ) -> Reply:
        """Tell the others of a change, and answer when they know."""
        change.reply, change.is_push = reply, is_push
        awaited = {peer.worker for peer in self._others if peer.up} if change.topics else set()
        change.awaited = awaited
        if not awaited:
            self._apply(change)
            return self._answer(change)
        self._last_ref += 1
        self._changes[self._last_ref] = change
        self._announce(change.topics, self._last_ref)
        subs.change = change
        if change.joins:
            subs.held = []
        conn.waiting += 1
        conn.blocked = Block.REPLY
        self._look_at_feed()
        return LATER

    def _announce(self, topics: list[tuple[int, bytes]], ref: int) -> None:
        if topics:
            announced = [self.registry.announced(kind, name) for kind, name in topics]
            for peer in self._others:
                if peer.up:
                    peer.requests.append((ANNOUNCE, ref, announced))

    def _apply(self, change: _Pending) -> None:
        """Everybody knows."""
        client, registry = change.client, self.registry
        for kind, name in change.topics:
            if change.joins:
                registry.settle(kind, name, client)
            else:
                registry.remove(kind, name, client)
        self._look_at_feed()
        if change.joins or not change.topics:
            return
        subs = client.pubsub
        assert subs is not None
        was_subscriber = subs.is_subscriber
        for kind, name in change.topics:
            del subs.names[kind][name]
        if not (subs.is_subscriber or subs.is_monitor):
            client.pubsub = None
        self._server.subscribers -= was_subscriber and not subs.is_subscriber
        client.link.state_changed()

    def _answer(self, change: _Pending) -> bytes:
        """Return the reply to a command that need not wait."""
        client = change.client
        if change.is_push and client.reply_mode is not ReplyMode.ON:
            client.link.push(change.reply)  # which CLIENT REPLY does not keep back
            return NOTHING
        return change.reply

    def _known(self, ref: int, worker: int) -> None:
        change = self._changes.get(ref)
        if change is None:
            return  # its client has gone
        change.known.add(worker)
        change.awaited.discard(worker)
        if change.awaited:
            return
        del self._changes[ref]
        self.flush()  # what was published before is delivered by the rules of before
        client = change.client
        subs, conn = client.pubsub, client.link
        assert subs is not None
        assert isinstance(conn, Connection)
        held, subs.held, subs.held_bytes, subs.change = subs.held, None, 0, None
        self._apply(change)
        if change.is_push or client.reply_mode is ReplyMode.ON:
            conn.push(change.reply)
        if client.reply_mode is ReplyMode.SKIP:
            client.set_reply_mode(ReplyMode.ON)
        for data in held or ():
            conn.push(data)
        self._dispatcher.fill(conn, -1, NOTHING)

    # -- messages ----------------------------------------------------------------------------------

    def send(self, kind: int, channel: bytes, message: bytes, *, is_effect: bool = False) -> int:
        """Send a message to all that have subscribed; return how many clients that are.

        Args:
            is_effect: of a command that may have come from a peer, which will hear the reply.
        """
        registry = self.registry
        if channel not in registry.topics[kind] and (kind or not registry.topics[PATTERN]):
            return 0
        count = 0
        workers: set[int] = set()
        for pattern, topic in registry.matching(kind, channel):
            if topic.local:
                count += len(topic.local)
                self._push(topic, None, kind, pattern, channel, message)
            if topic.remote:
                count += sum(topic.remote.values())
                workers.update(topic.remote)
        if workers:
            self._tell(workers, (MESSAGE, kind, channel, message))
            self.told = self.told or is_effect
        return count

    def send_event(self, channel: bytes, message: bytes) -> None:
        """Publish a keyspace event, which nobody waits for."""
        if self._unsynced:
            if len(self._early) < MAX_EVENTS_BEFORE_SYNC:
                self._early.append((channel, message))
            else:
                self._lose()
            return
        self.send(CHANNEL, channel, message, is_effect=True)

    def _push(
        self,
        topic: Topic[Client],
        sender: int | None,
        kind: int,
        pattern: bytes | None,
        channel: bytes,
        message: bytes,
    ) -> None:
        clients = topic.receivers(sender)
        if not clients:
            return
        if pattern is not None:
            body = b"4\r\n$8\r\npmessage\r\n%b%b%b" % (bulk(pattern), bulk(channel), bulk(message))
        elif kind == SHARD:
            body = b"3\r\n$8\r\nsmessage\r\n%b%b" % (bulk(channel), bulk(message))
        else:
            body = b"3\r\n$7\r\nmessage\r\n%b%b" % (bulk(channel), bulk(message))
        self.pushes.append((clients, body, HEADLESS))

    def _tell(self, workers: Iterable[int], news: News) -> None:
        for worker in workers:
            peer = self._peers[worker]
            assert peer is not None
            if peer.outbox_bytes > MAX_UNSENT_NEWS_BYTES:
                self._lose()
            elif peer.up:
                peer.requests.append(news)

    def _lose(self) -> None:
        """Count a message that there is no room for; say so now and then."""
        self.lost += 1
        if self.lost & (self.lost - 1) == 0:
            self._server.log_warning(
                f"Messages and events for other workers that do not keep up are lost: {self.lost}"
            )

    def feed(self, line: bytes, leaver: Client | None) -> None:
        """Show a line to all that MONITOR, but for one that is about to leave."""
        topic = self.registry.topics[FEED].get(_FEED_NAME)
        if topic is None:
            return
        self._push_line(topic, None, line, leaver)
        if topic.remote:
            self._tell(set(topic.remote), (LINE, 0, line))

    def _push_line(
        self,
        topic: Topic[Client],
        sender: int | None,
        line: bytes,
        leaver: Client | None = None,
    ) -> None:
        # A line is a reply to MONITOR, no push: CLIENT REPLY OFF keeps it back.
        clients = [
            client
            for client in topic.receivers(sender)
            if client.reply_mode is ReplyMode.ON and client is not leaver
        ]
        if clients:
            self.pushes.append((clients, line, AS_IS))

    def is_paused(self, command: Command) -> bool:
        """Tell whether CLIENT PAUSE holds a command back, which is then shown later."""
        return self._dispatcher.held_by_pause(command)

    def push_to(self, worker: int, client_id: int, resp2: bytes | None, resp3: bytes) -> None:
        """Send a push to a client of any worker, if it is still there; in order with messages.

        Args:
            resp2: its bytes for a client of RESP2, None if that gets none.
        """
        peer = self._peers[worker]
        if peer is not None:
            self._tell({worker}, (PUSH, client_id, resp2, resp3))
            self.told = True
            return
        client = self._server.clients.get(client_id)
        if client is not None:
            data = resp3 if client.resp == 3 else resp2
            if data is not None:
                self.pushes.append(([client], data, AS_IS))

    def flush(self) -> None:
        """Put into the clients' queues what is due."""
        while self.pushes:  # who is cut here may have been published about
            pushes, self.pushes = self.pushes, []
            for clients, body, how in pushes:
                arrays = pushed = body
                if how == HEADLESS:
                    arrays = pushed = NOTHING
                for client in clients:
                    if client.resp == 3:
                        data = pushed = pushed or b">" + body
                    else:
                        data = arrays = arrays or b"*" + body
                    subs = client.pubsub
                    if subs is None or subs.held is None:
                        if how == BEHIND:
                            client.link.push_behind(data)
                        else:
                            client.link.push(data)
                    else:
                        self._hold(client, subs, data)

    def _hold(self, client: Client, subs: Subscriptions, data: bytes) -> None:
        assert subs.held is not None
        subs.held.append(data)
        subs.held_bytes += len(data)
        if subs.held_bytes > MAX_HELD_PUSH_BYTES:
            client.link.close("output buffer limit")

    # -- the other workers -------------------------------------------------------------------------

    def take_news(self, peer: Peer, news: News) -> None:
        """Deal with what another worker tells."""
        what = news[0]
        if what == MESSAGE:
            _, kind, channel, message = news
            for pattern, topic in self.registry.matching(kind, channel):
                if topic.local:
                    self._push(topic, peer.worker, kind, pattern, channel, message)
        elif what == ANNOUNCE:
            self._hear(peer.worker, news[2])
            if news[1]:
                self.flush()
                if peer.up:
                    peer.requests.append((KNOWN, news[1], None))
        elif what == KNOWN:
            self._answered(news[1], peer.worker, news[2])
            self._known(news[1], peer.worker)
        elif what == LINE:
            topic_ = self.registry.topics[FEED].get(_FEED_NAME)
            if topic_ is not None:
                self._push_line(topic_, peer.worker, news[2])
        elif what == PUSH:
            self.push_to(self._server.index, news[1], news[2], news[3])
        elif what == REDIRECTED:
            _, target, client_id, body = news
            if not self._server.tracking.redirected(target, body) and peer.up:
                peer.requests.append((BROKEN, client_id, target))
        elif what == BROKEN:
            self._server.tracking.redirect_is_broken(news[1], news[2])
        elif what in (TRACKING, LOCATE):
            _, ref, about = news
            answer = about in self._server.clients
            if what == TRACKING:
                self._server.tracking.hear_state(peer.worker, about)
            if ref and peer.up:
                peer.requests.append((KNOWN, ref, answer))
        else:
            assert what == SYNC, news
            self._hear(peer.worker, news[2])
            self._synced(peer.worker)

    # -- client-side caching -----------------------------------------------------------------------

    def locate(self, client_id: int, then: Callable[[int | None], None]) -> None:
        """Find the worker of a client; `then` gets None if there is no such client."""
        if client_id in self._server.clients:
            then(self._server.index)
            return

        def answered(answers: dict[int, Any]) -> None:
            then(next((worker for worker, is_there in answers.items() if is_there), None))

        self._ask(LOCATE, client_id, answered)

    def track(self, client: Client, options: Options) -> Reply:
        """Do CLIENT TRACKING; return its reply, or LATER. Raises: ReplyError.

        With several workers OK comes when all of them know. In a transaction, which waits for
        nobody, they will know before they run the client's next commands.
        """
        tracking, conn = self._server.tracking, client.link
        if not self._others or client.multi is not None:
            if options.redirect and options.redirect not in self._server.clients:
                if self._others:
                    raise errors.redirect_in_transaction()
                raise errors.no_client_to_redirect_to()
            check_options(options, client.tracking)
            after = state_after(options, self._server.index, client.tracking)
            if tracking.set_state(client, after):
                self.announce_tracking()
            return OK
        assert isinstance(conn, Connection)
        if not options.redirect:
            check_options(options, client.tracking)
        answer = self._dispatcher.answer_later(conn)

        def located(home: int | None) -> None:
            if conn.closed:
                answer(NOTHING)
                return
            try:
                if home is None:
                    raise errors.no_client_to_redirect_to()
                check_options(options, client.tracking)
            except ReplyError as error:
                answer(error.encode())
                return
            is_news = tracking.set_state(client, state_after(options, home, client.tracking))
            if options.on:
                self.announce_tracking(lambda: answer(OK))
                return
            if is_news:
                self.announce_tracking()
            answer(OK)

        if options.redirect:
            self.locate(options.redirect, located)
        else:
            located(self._server.index)
        return LATER

    def announce_tracking(self, then: Callable[[], None] | None = None) -> None:
        """Tell the other workers which clients of ours track; `then` is called when all know."""
        state = self._server.tracking.state()
        if then is not None:
            self._ask(TRACKING, state, lambda _: then())
            return
        for peer in self._others:
            if peer.up:
                peer.requests.append((TRACKING, 0, state))

    def send_redirected(self, peer: Peer, target: int, client_id: int, body: bytes) -> None:
        """Let another worker tell its client what one of ours is to be told."""
        peer.requests.append((REDIRECTED, target, client_id, body))

    def push_tracking(self, client: Client, data: bytes, ahead: bool) -> None:
        """Tell a client of ours about what it has cached.

        Args:
            ahead: now, in front of the reply that it waits for.
        """
        if ahead:
            client.link.push_behind(data, ahead=True)
        else:
            self.pushes.append(([client], data, BEHIND))

    def _ask(self, what: int, about: object, then: Callable[[dict[int, Any]], None]) -> None:
        awaited = {peer.worker for peer in self._others if peer.up}
        if not awaited:
            then({})
            return
        self._last_ref += 1
        self._questions[self._last_ref] = _Question(awaited, then)
        for peer in self._others:
            if peer.up:
                peer.requests.append((what, self._last_ref, about))

    def _answered(self, ref: int, worker: int, answer: object) -> None:
        """A worker has answered a question; None: it has gone."""
        question = self._questions.get(ref)
        if question is None or worker not in question.awaited:
            return
        question.awaited.discard(worker)
        question.answers[worker] = answer
        if not question.awaited:
            del self._questions[ref]
            question.then(question.answers)

    # -- the other workers, on ---------------------------------------------------------------------

    def _hear(self, worker: int, topics: list[Announced]) -> None:
        for announced in topics:
            self.registry.hear(worker, announced)
        self._look_at_feed()

    def await_sync(self) -> None:
        """We have started anew: all that are up will tell us their subscriptions."""
        self._unsynced = {peer.worker for peer in self._others if peer.up}

    def peer_up(self, peer: Peer) -> None:
        """A worker serves again: it has to know who wants what."""
        for change in self._changes.values():
            change.known.add(peer.worker)
        peer.requests.append((SYNC, 0, self.registry.announced_all()))
        tracking = self._server.tracking
        self._last_ref += 1
        # What changed there before it has heard of us was told to nobody.
        self._questions[self._last_ref] = _Question(
            {peer.worker}, lambda _: tracking.forget_broadcast()
        )
        peer.requests.append((TRACKING, self._last_ref, tracking.state()))

    def peer_gone(self, peer: Peer) -> None:
        """A worker has died, is about to leave, or does not serve yet: it has no clients."""
        worker = peer.worker
        self.registry.forget(worker)
        self._server.tracking.peer_gone(worker)
        self._look_at_feed()
        for ref in list(self._questions):
            self._answered(ref, worker, None)
        for ref, change in list(self._changes.items()):
            if worker in change.awaited:
                self._known(ref, worker)
        self._synced(worker)

    def _synced(self, worker: int) -> None:
        if worker not in self._unsynced:
            return
        self._unsynced.discard(worker)
        if self._unsynced:
            return
        while self._early:
            self.send(CHANNEL, *self._early.popleft())
        waiting, self._waiting = self._waiting, []
        for conn in waiting:
            if conn.blocked is Block.PEER:
                self._dispatcher.wait_for_turn(conn)

    def _look_at_feed(self) -> None:
        """Show commands from now on, or no longer, if MONITOR's first client came or last went."""
        fed = bool(self.registry.topics[FEED])
        if fed is not self.fed:
            self.fed = fed
            self._dispatcher.rebind_all()

    # -- figures -----------------------------------------------------------------------------------

    def info(self) -> dict[str, int]:
        """Return what INFO tells: our clients, and the topics of all workers."""
        channels, patterns, shards, _ = self.registry.topics
        return {
            "pubsub_clients": self._server.subscribers,
            "pubsub_channels": len(channels),
            "pubsub_patterns": len(patterns),
            "pubsubshard_channels": len(shards),
        }


def _confirmation(word: bytes, name: Reply, count: int) -> Node:
    return push([bulk(word), name, integer(count)])


def _joined(confirmations: list[Node], resp: int) -> bytes:
    return b"".join([encode(one, resp) for one in confirmations])
