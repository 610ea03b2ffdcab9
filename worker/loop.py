"""The turn of a worker: the only place that polls, and the order in which everything happens.

A turn receives from every ready client, then drains the pipes, then runs the peers' requests, then
the clients' commands. At its end it writes the log, sends one frame to each peer and to the
supervisor, and last the replies: so a reply leaves only after its effect is in the log, and
everything between processes is batched.

The order between partitions. A client's pipeline may run on several workers, yet who has heard of a
later effect of it also finds the earlier ones. Four rules give that (docs/partitions.md has the
argument, and the limits):
1. clients are received from before the pipes are drained, and peers' requests run before clients'
   commands;
2. frames run in the order of the time their senders stamped on them, and a frame stamped after the
   drain began is left for the next turn;
3. at a turn's end the frames go out before the replies to clients;
4. a sender with requests for several peers announces, by a counter in the shared page, when all
   frames of the turn are in the pipes; no receiver runs one of them before.
"""

from __future__ import annotations

import marshal
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from shoal.proto import messages as m
from shoal.proto.limits import CLIENT_READ_BYTES, EXPIRE_REST_MS, MAX_PEER_OUTBOX_BYTES
from shoal.proto.messages import COUNTER_STRIDE
from shoal.proto.resp_reader import RequestReader
from shoal.worker.aof import Segment
from shoal.worker.client import Client
from shoal.worker.connection import LARGE_BYTES, Block, ClientsCron, Connection
from shoal.worker.dispatch import Dispatcher
from shoal.worker.peers import LAST, Peer, Uplink
from shoal.worker.server import Server
from shoal.worker.tracking import TRACKING_NOTES

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
# How long complete replies wait for one that a peer owes, to be sent with it.
HEAD_WAIT_NS: Final = 5_000_000
IDLE_S: Final = 1.0
SPIN_S: Final = 0.001  # until a frame that is not announced yet is looked at again

# A frame of a peer that has not been run: stamp, sender, seq, requests.
Waiting = tuple[int, int, int, list[Any]]


class Stopped(Exception):  # noqa: N818  an end, not an error
    """The worker shall end: the supervisor said so, or has gone."""


class Loop:
    """A worker's event loop.

    Attributes:
        on_message: called with each message of the supervisor that is not the loop's own.
        on_descriptors: called with a channel message and the descriptors that came with it.
        cron: called every `cron_ms` with the monotonic time in ms; returns True to be called again
            soon (there is more to expire or to free than one slice).
        on_disk: called with the text of MISCONF when the log cannot be written, None when it can be
            again.
        may_leave: asked, after `leave`, whether nothing waits here but what the loop knows.
    """

    def __init__(
        self,
        server: Server,
        dispatcher: Dispatcher,
        peers: list[Peer | None],
        uplink: Uplink,
        channel: socket.socket,
        page: memoryview,
        stamp_ms: Callable[[int], int],
    ) -> None:
        """Poll the pipes and the channel; `stamp_ms(monotonic_ns)` is the clock of the log's
        stamps.
        """
        self._server = server
        self._store = server.store
        self._dispatcher = dispatcher
        self._peers = peers
        self._others = [peer for peer in peers if peer is not None]
        self._uplink = uplink
        self._channel = channel
        self._page = page
        self._counter_at = server.index * COUNTER_STRIDE
        self._stamp_ms = stamp_ms
        self._segment: Segment | None = server.segment
        self._seq = page[self._counter_at]  # our predecessor's frames may still be in the pipes
        self._announce = 0  # the seq to announce once the outboxes are empty, 0 for none
        self._inbox: list[Waiting] = []
        self._early = False  # one of them only came after its drain began
        self._conns: dict[int, Connection] = {}
        # Connections with replies, or places for them, behind one that has not come; since when.
        self._heads: dict[Connection, int] = {}
        # Replies that are not durable yet (appendfsync always, and the disk fails).
        self._holding = False
        self._held: list[Connection] = []
        self._held_late: list[tuple[Peer, int, bytes]] = []
        self._held_messages: list[tuple[Any, ...]] = []
        self._held_notes: list[tuple[Peer, tuple[Any, int]]] = []
        # Handles of held replies are negative, those of waiting commands positive.
        self._handle = -1
        self._poller = select.epoll()
        self._pipes = select.epoll()
        self._by_read_fd: dict[int, Peer | Uplink] = {}
        self._by_write_fd: dict[int, Peer | Uplink] = {}
        self._writers: set[int] = set()  # write ends polled for room
        self._poller.register(self._pipes.fileno(), IN)
        self._poller.register(channel.fileno(), IN)
        self._cron_due_ms = 0
        self._clients_cron = ClientsCron(server)
        self._serving = False
        self._stopping = False
        self._leaving = False
        self._disk_text: str | None = None
        self._left: set[int] = set()  # peers whose last frame to us has come
        self._received: list[tuple[Connection, bytes]] = []  # in this turn, to be run or running
        self._running = False
        self._kept_descriptors: deque[tuple[bytes, list[int]]] = deque()  # see `_pump`
        dispatcher.pump = self._pump
        self.cron_ms = 100
        self.on_message: Callable[[tuple[Any, ...]], None]
        self.on_descriptors: Callable[[bytes, list[int]], None]
        self.on_disk: Callable[[str | None], None]
        self.cron: Callable[[int], bool]
        self.may_leave: Callable[[], bool]
        self.watch(uplink)

    def serve(self) -> None:
        """Begin to run what the peers ask for, and the cron."""
        self._serving = True
        for peer in self._others:
            if peer.read_fd >= 0 and peer.read_fd not in self._by_read_fd:
                self.watch(peer)

    def leave(self) -> None:
        """Read no client any more; end when all that the peers have asked for is done."""
        self._leaving = True
        for conn in list(self._conns.values()):  # an idle one is closed at once
            conn.stop_reading()

    def stop(self) -> None:
        """End with this turn."""
        self._stopping = True

    # -- what is polled ----------------------------------------------------------------------------

    def watch(self, link: Peer | Uplink) -> None:
        """Poll a link's pipes, after they were made or replaced."""
        self._by_read_fd[link.read_fd] = link
        self._by_write_fd[link.write_fd] = link
        self._pipes.register(link.read_fd, IN)

    def unwatch(self, link: Peer | Uplink) -> None:
        """Stop polling a link's pipes, before they are closed or replaced."""
        if self._by_read_fd.pop(link.read_fd, None) is not None:
            self._pipes.unregister(link.read_fd)
        self._by_write_fd.pop(link.write_fd, None)
        if link.write_fd in self._writers:
            self._writers.discard(link.write_fd)
            self._poller.unregister(link.write_fd)
        if isinstance(link, Peer):
            # In place: `_drain` may be appending to it, with this very link's end in between.
            self._inbox[:] = [frame for frame in self._inbox if frame[1] != link.worker]
            self._held_late = [held for held in self._held_late if held[0] is not link]
            self._held_notes = [held for held in self._held_notes if held[0] is not link]

    def add_client(self, sock: socket.socket, client: Client, reader: RequestReader) -> None:
        """Serve a new client."""
        conn = Connection(
            sock, client, reader, self._dispatcher, self._poller.modify, self._client_gone
        )
        reader.authenticated = client.authenticated
        self._conns[conn.fd] = conn
        self._server.clients[client.id] = client
        stats = self._server.stats
        stats.connections += 1
        stats.peak_clients = max(stats.peak_clients, len(self._conns))
        self._poller.register(conn.fd, IN)

    def _client_gone(self, conn: Connection) -> None:
        self._poller.unregister(conn.fd)
        del self._conns[conn.fd]
        del self._server.clients[conn.client.id]
        self._count_io(conn.client)
        self._uplink.messages.append((m.CLOSED, 1))

    def _count_io(self, client: Client) -> None:
        """Keep a leaving client's bytes in the totals."""
        self._server.stats.net_input_bytes += client.input_bytes
        self._server.stats.net_output_bytes += client.output_bytes

    def close_idle(self) -> None:
        """Look for clients to disconnect, in a slice of them; called by the cron."""
        self._clients_cron.run()

    # -- the turn ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Take turns until Stopped is raised."""
        while True:
            self.turn(self._timeout_s())

    def _timeout_s(self) -> float:
        if self._dispatcher.resumable:
            return 0
        if not self._serving:
            return IDLE_S
        if self._inbox:
            return 0 if self._early else SPIN_S
        if self._heads:
            return HEAD_WAIT_NS / 1e9
        now_ms = self._dispatcher.now_ms  # of the turn that has just ended
        due_ms = self._cron_due_ms
        deadline_ms = self._dispatcher.blocking.next_deadline_ms()
        if deadline_ms is not None:
            due_ms = min(due_ms, deadline_ms)
        until_ms = self._server.pause.until_ms
        if until_ms:  # its end is the cron's, see _tick
            self._cron_due_ms = min(
                self._cron_due_ms, now_ms + max(until_ms - int(time.time() * 1000), 0)
            )
            due_ms = min(due_ms, self._cron_due_ms)
        return max(due_ms - now_ms, 0) / 1000

    def turn(self, timeout_s: float) -> None:
        """Wait for events up to `timeout_s` and do one turn."""
        events = self._poller.poll(timeout_s)
        started_ns = time.monotonic_ns()
        dispatcher = self._dispatcher
        dispatcher.now_ms = started_ns // 1_000_000
        self._store.now_ms = time.time_ns() // 1_000_000
        conns = self._conns
        self._received = received = []
        piped = bool(self._others or self._inbox)
        for fd, event in events:
            conn = conns.get(fd)
            if conn is not None:
                if event == IN:
                    try:
                        data = conn.recv(CLIENT_READ_BYTES)
                    except OSError as error:
                        conn.receive_failed(error)
                        continue
                    if data:
                        received.append((conn, data))
                    else:
                        conn.at_eof()
                    continue
                if event & OUT:
                    conn.send_more()
                if event & ~OUT and not conn.closed:
                    more = conn.receive()
                    if more is not None:
                        received.append((conn, more))
            elif fd == self._pipes.fileno():
                piped = True
            elif fd in self._by_write_fd:
                self._room(fd)
            else:
                self._take_descriptors()
        if piped:
            self._drain()
        if received:
            self._running = True
            dispatcher.run_batch(received)
            self._running = False
            received.clear()
        if self._kept_descriptors:
            self._take_descriptors()
        if dispatcher.resumable:
            dispatcher.run_resumable()
        if dispatcher.now_ms >= self._cron_due_ms and self._serving:
            self._cron_due_ms = dispatcher.now_ms + self.cron_ms
            self._tick()
        dispatcher.end_blocking()
        self._end_turn(started_ns)
        if self._stopping or (self._leaving and self._nothing_left()):
            raise Stopped
        stats = self._server.stats
        stats.turns += 1
        stats.turn_usec += (time.monotonic_ns() - started_ns) // 1000

    def _nothing_left(self) -> bool:
        """Tell whether every peer's last frame has come and everything in it is done and sent."""
        links = [*self._others, self._uplink]
        return (
            all(peer.worker in self._left for peer in self._others if peer.up)
            and not self._inbox
            and not self._held_late
            and not self._held_messages
            and not self._held_notes
            and not any(link.outbox_bytes for link in links)
            and self.may_leave()
        )

    def _tick(self) -> None:
        pause = self._server.pause
        if pause.until_ms and pause.until_ms <= self._store.now_ms:
            self._server.set_pause(0, False)
        for peer in self._others:
            if peer.parked:
                self._dispatcher.expire_parked(peer)
        segment = self._segment
        if segment is not None:
            if segment.on_time(self._stamp_ms(time.monotonic_ns())) and self._holding:
                self.release_held()
            self._look_at_disk(segment)
        if self.cron(self._dispatcher.now_ms):
            self._cron_due_ms = self._dispatcher.now_ms + EXPIRE_REST_MS
        if self._dispatcher.resumable:
            self._dispatcher.run_resumable()

    def _drain(self) -> None:
        """Read what is in the pipes and run the frames that may be run (rules 1, 2 and 4)."""
        began_ns = time.monotonic_ns()
        inbox = self._inbox
        for fd, _ in self._pipes.poll(0):
            link = self._by_read_fd.get(fd)
            if link is None:
                continue  # closed while this list was worked through
            frames = link.receive()
            if frames is None:
                self._lost(link)
                continue
            if isinstance(link, Peer):
                for stamp, seq, requests, replies, late, notes in frames:
                    if seq == LAST:
                        self._left.add(link.worker)
                        self._dispatcher.end_waiters(link)
                        continue
                    if replies or late:
                        self._dispatcher.take_replies(link, replies, late)
                    if notes:
                        self._dispatcher.take_notes(link, notes)
                    if requests:
                        inbox.append((stamp, link.worker, seq, requests))
            else:
                for stamp, seq, requests in frames:
                    inbox.append((stamp, m.SUPERVISOR, seq, requests))
        if inbox:
            self._run_inbox(began_ns)

    def _run_inbox(self, began_ns: int) -> None:
        inbox, self._inbox = self._inbox, []
        if len(inbox) > 1:
            inbox.sort(key=_stamp_and_sender)
        held: set[int] = set()
        page = self._page
        self._early = False
        for frame in inbox:
            stamp, sender, seq, requests = frame
            if stamp > began_ns:
                self._early = True
            if stamp > began_ns or sender in held or (seq and page[sender * COUNTER_STRIDE] < seq):
                held.add(sender)
                self._inbox.append(frame)
                continue
            if sender == m.SUPERVISOR:
                for message in requests:
                    self.on_message(message)
                continue
            peer = self._peers[sender]
            assert peer is not None
            left = requests
            if peer.outbox_bytes <= MAX_PEER_OUTBOX_BYTES:
                left = self._dispatcher.run_requests(peer, requests)
            if left:
                held.add(sender)
                self._inbox.append((stamp, sender, seq, left))

    def _lost(self, link: Peer | Uplink) -> None:
        """A pipe's other end has gone: of the supervisor for good, of a peer until it is
        replaced.
        """
        if link is self._uplink:
            raise Stopped
        self.unwatch(link)

    def _room(self, fd: int) -> None:
        """A pipe takes bytes again."""
        link = self._by_write_fd[fd]
        link.flush()
        if not link.outbox_bytes:
            self._poller.unregister(fd)
            self._writers.discard(fd)
        if isinstance(link, Peer):
            link.open = link.up and link.outbox_bytes <= MAX_PEER_OUTBOX_BYTES
            self._dispatcher.peer_drained(link)

    def _take_descriptors(self, *, clients_only: bool = False) -> None:
        """Take the descriptors that the supervisor hands over; its end closed means it has gone.

        Args:
            clients_only: keep those of pipes for the next turn.
        """
        while self._kept_descriptors and not clients_only:
            self.on_descriptors(*self._kept_descriptors.popleft())
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._channel, 4096, 2)
            except BlockingIOError:
                return
            if not data:
                raise Stopped
            if clients_only and marshal.loads(data)[0] != m.CLIENT:
                self._kept_descriptors.append((data, fds))
            else:
                self.on_descriptors(data, fds)

    # -- while a script is slow --------------------------------------------------------------------

    def _pump(self) -> None:
        """Serve a little in the middle of a turn, in which a script takes too long.

        Clients that have nothing under way are received from and answered: BUSY, mostly. What the
        supervisor says is kept for the next turn, but for an end, and for SCRIPT KILL, which is
        done at once. Frames of peers stay in their pipes. What the clients' commands ahead of the
        script have prepared leaves first, as at a turn's end.
        """
        dispatcher, uplink = self._dispatcher, self._uplink
        if self._running and dispatcher.flushable:
            # In place: `run_batch` holds the list.
            flushable = dispatcher.flushable
            dispatcher.flushable = list(flushable)
            flushable.clear()
            self._end_turn(time.monotonic_ns())
            flushable += dispatcher.flushable
            dispatcher.flushable = flushable
        prepared, dispatcher.flushable = dispatcher.flushable, []
        messages, uplink.messages = uplink.messages, []
        for conn, data in self._take_received():
            if not conn.closed:
                conn.accept_input(data)
        for fd, event in self._poller.poll(0):
            idle = self._conns.get(fd)
            if fd == self._channel.fileno():  # somebody may come to end the script
                self._take_descriptors(clients_only=True)
            elif (
                idle is not None
                and event == IN
                and idle is not dispatcher.script_conn
                and idle.is_idle
            ):
                more = idle.receive()
                if more:
                    idle.accept_input(more)
        if any(fd == uplink.read_fd for fd, _ in self._pipes.poll(0)):
            self._take_urgent()
        for conn in dispatcher.flushable:
            conn.flush(head=True)
        dispatcher.flushable = prepared
        if uplink.messages:
            uplink.send_turn(time.monotonic_ns())
            if uplink.outbox_bytes:
                self._wait_for_room(uplink)
        uplink.messages = messages

    def _take_received(self) -> list[tuple[Connection, bytes]]:
        """Take out of this turn what clients have sent and nobody has looked at yet."""
        received = self._received
        done = 0
        if self._running:  # up to the client whose script runs
            conns: list[Connection | None] = [conn for conn, _ in received]
            caller = self._dispatcher.script_conn
            done = conns.index(caller) + 1 if caller in conns else len(conns)
        left = received[done:]
        del received[done:]
        return left

    def _take_urgent(self) -> None:
        frames = self._uplink.receive()
        if frames is None:
            raise Stopped
        for stamp, seq, messages in frames:
            for message in messages:
                if message[0] == m.STOP:
                    raise Stopped
                if message[0] == m.LOCK:
                    self._dispatcher.take_early(message[2])
            self._inbox.append((stamp, m.SUPERVISOR, seq, messages))

    # -- the end of the turn -----------------------------------------------------------------------

    def _end_turn(self, started_ns: int) -> None:
        dispatcher = self._dispatcher
        segment = self._segment
        if segment is not None and (segment.pieces or self._holding):
            if segment.flush(self._stamp_ms(started_ns)):
                if self._holding:
                    self.release_held()
            elif self._holding:
                self._hold_parts()
            else:
                self._hold()
            self._look_at_disk(segment)
        dispatcher.logged_parts.clear()
        self._send_frames()
        flushable = dispatcher.flushable
        if flushable:
            dispatcher.flushable = []
            for conn in flushable:
                # As `conn.flush()` where nothing is out of the ordinary.
                if conn.waiting or conn.blocked or conn.big_bytes or conn.outbox_bytes or conn.eof:
                    # A blocked client gets what stands before the reply that it waits for.
                    conn.flush(head=conn.blocked is Block.KEYS)
                    if conn.owes_head:
                        self._heads.setdefault(conn, started_ns)
                    continue
                conn.in_flush = False
                conn.base = 0
                out = conn.out
                if not out:
                    continue
                reply: Any = out[0] if len(out) == 1 else b"".join(out)  # type: ignore[arg-type]
                out.clear()
                if len(reply) >= LARGE_BYTES:
                    conn.send_replies([reply])
                    continue
                conn.client.output_bytes += len(reply)
                try:
                    sent = conn.send(reply)
                except OSError as error:
                    conn.send_failed(reply, error)
                    continue
                if sent != len(reply):
                    conn.keep_unsent(reply, sent)
        if self._heads:
            self._flush_heads(started_ns)

    def _look_at_disk(self, segment: Segment) -> None:
        if segment.error_text is not self._disk_text:
            self._disk_text = segment.error_text
            self.on_disk(segment.error_text)

    def _send_frames(self) -> None:
        senders = [peer for peer in self._others if peer.leaving or peer.has_news()]
        uplink = self._uplink
        if senders or uplink.messages:
            stamp_ns = time.monotonic_ns()
            seq = 0
            if len(senders) > 1 and sum([bool(peer.requests) for peer in senders]) > 1:
                self._seq += 1
                seq = self._announce = self._seq
            if self._dispatcher.broker.told:
                self._dispatcher.broker.told = False
                if len(senders) > 1:
                    self._send_requests(senders, stamp_ns, seq)
                    senders = [peer for peer in senders if peer.leaving or peer.has_news()]
                    seq = 0
            for peer in senders:
                if peer.up or peer.leaving:
                    peer.send_turn(stamp_ns, seq)
                    if peer.leaving:
                        peer.leaving = False
                        peer.send((stamp_ns, LAST, [], [], [], []))
                    if peer.outbox_bytes:
                        self._wait_for_room(peer)
            if uplink.messages:
                uplink.send_turn(stamp_ns)
                if uplink.outbox_bytes:
                    self._wait_for_room(uplink)
        self._announce_sent()

    def _send_requests(self, senders: list[Peer], stamp_ns: int, seq: int) -> None:
        """Send what is no reply, and announce it, before any reply goes out.

        A reply to a hop may be heard before the frames behind it are sent. Rule 3 for the clients
        of peers: who hears it must not get ahead of what was told of its effect.
        """
        for peer in senders:
            if peer.up and peer.requests:
                peer.send_requests(stamp_ns, seq)
                if peer.outbox_bytes:
                    self._wait_for_room(peer)
        self._announce_sent()

    def _announce_sent(self) -> None:
        if self._announce and not any(map(self._owes_bytes, self._others)):
            self._page[self._counter_at] = self._announce
            self._announce = 0

    def _owes_bytes(self, peer: Peer) -> bool:
        """Tell whether frames for a living peer are not in its pipe yet."""
        return peer.outbox_bytes > 0 and peer.write_fd in self._by_write_fd

    def _wait_for_room(self, link: Peer | Uplink) -> None:
        # A pipe that is not watched any more is one whose reader has died.
        if link.write_fd in self._by_write_fd and link.write_fd not in self._writers:
            self._writers.add(link.write_fd)
            self._poller.register(link.write_fd, OUT)
        if isinstance(link, Peer):
            link.open = link.up and link.outbox_bytes <= MAX_PEER_OUTBOX_BYTES

    def _flush_heads(self, now_ns: int) -> None:
        """Send complete replies that stand in front of one a peer has owed for too long."""
        for conn, since_ns in list(self._heads.items()):
            if conn.closed or not conn.owes_head:
                del self._heads[conn]
            elif now_ns - since_ns >= HEAD_WAIT_NS:
                if conn.out[0] is not None and not conn.in_flush:
                    conn.flush(head=True)
                self._heads[conn] = now_ns  # the next reply may also be waited for too long

    # -- a log that cannot be written, under appendfsync always ------------------------------------

    def _hold(self) -> None:
        """Keep back every reply of this turn, in which the log failed, until it is durable.

        In the turns after this one no command writes, and reads go on: they may tell of what is not
        durable yet, which is the lesser evil.
        """
        self._holding = True
        dispatcher = self._dispatcher
        self._held, dispatcher.flushable = dispatcher.flushable, []  # in_flush stays set
        for conn in self._held:
            conn.hold()
        for peer in self._others:
            for at, reply in enumerate(peer.replies):
                if isinstance(reply, int):
                    continue  # it comes later anyway
                self._held_late.append((peer, self._handle, reply))
                peer.replies[at] = self._handle
                self._handle -= 1
            for handle, reply in peer.late:
                self._held_late.append((peer, handle, reply))
            peer.late = []
        self._hold_parts()

    def _hold_parts(self) -> None:
        """Keep back what tells the coordinator of parts that this turn logged, and peers of what
        their clients have read.
        """
        for peer in self._others:
            # That what was read is not true any more is not told before the reply that gives it.
            notes, peer.notes = peer.notes, []
            for note in notes:
                if note[1] in TRACKING_NOTES:
                    self._held_notes.append((peer, note))
                else:
                    peer.notes.append(note)
        logged = self._dispatcher.logged_parts
        messages, self._uplink.messages = self._uplink.messages, []
        for message in messages:
            held = message[0] == m.DONE and message[1] in logged
            (self._held_messages if held else self._uplink.messages).append(message)

    def release_held(self) -> None:
        """The log is durable again: let go what `_hold` kept back, in order."""
        self._holding = False
        self._dispatcher.flushable += self._held
        self._held = []
        for peer, handle, reply in self._held_late:
            peer.late.append((handle, reply))
        self._held_late = []
        for peer, note in self._held_notes:
            peer.notes.append(note)
        self._held_notes = []
        self._uplink.messages += self._held_messages
        self._held_messages = []


def _stamp_and_sender(frame: Waiting) -> tuple[int, int]:
    return frame[0], frame[1]
