"""A worker's process: builds the parts, hands them clock, random numbers and disk, loads, serves.

    forked -> SCAN -> LOAD -> (loop) CLOCK, RELEASED, LOCKs, SERVE -> clients and peers
                 \\-> RESPLIT -> LOAD

Before SERVE only the supervisor's pipe is read (proto/messages.py says why).
"""

from __future__ import annotations

import ctypes
import marshal
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

import psutil
from shoal.proto import errors
from shoal.proto import messages as m
from shoal.proto.aof_format import SegmentError
from shoal.proto.clock import StampClock
from shoal.proto.directives import Config
from shoal.proto.limits import EXPIRE_BUDGET_US, EXPIRE_REST_MS
from shoal.proto.log_line import LEVELS, Log
from shoal.proto.manifest import Base, WorkerFiles
from shoal.proto.resp_reader import RequestReader
from shoal.proto.slots import SLOTS, slot_range
from shoal.worker import aof
from shoal.worker.client import Client
from shoal.worker.commands import load_all
from shoal.worker.dispatch import Dispatcher
from shoal.worker.expire import ExpireCycle
from shoal.worker.keyspace import Store
from shoal.worker.loop import Loop, Stopped
from shoal.worker.migrate import transfer
from shoal.worker.participant import Participant
from shoal.worker.peers import Peer, Uplink
from shoal.worker.replay import Replayer, ReplayError
from shoal.worker.scripting.service import scripting_of
from shoal.worker.server import Facts, Server
from shoal.worker.values import rebuild
from shoal.worker.values.limits import LIMITS

Ends = tuple[int, int]

FIGURES_EVERY_MS: Final = 1000
CLIENTS_EVERY_MS: Final = 100  # ClientsCron reckons with that

# Free memory that is not given back to the system, and the size from which a block is mapped for
# itself, which glibc no longer adjusts when it is told the first. The options are from malloc.h.
KEPT_BYTES: Final = 32 << 20
MAPPED_BYTES: Final = 1 << 20
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

# At import, which is before the fork: the workers share these pages.
load_all()


def run(
    index: int, mesh: dict[int, Ends], uplink: Ends, channel: socket.socket, **given: Any
) -> int:
    """Be worker `index` until the supervisor ends it; return the exit code. Args: as Worker's."""
    _keep_some_memory()
    worker = Worker(index, mesh, uplink, channel, **given)
    try:
        worker.load()
        worker.serve()
    except Stopped:
        return worker.close()
    raise AssertionError("the loop ends by Stopped")


class Worker:
    """The parts of one worker, and what the supervisor tells them."""

    def __init__(
        self,
        index: int,
        mesh: dict[int, Ends],
        uplink: Ends,
        channel: socket.socket,
        *,
        workers: int,
        config: Config,
        log: Log,
        page: memoryview,
        generations: dict[int, int],
        facts: dict[str, Any],
    ) -> None:
        """Have everything but the keys and the log.

        Args:
            index: our number.
            mesh: our ends of the pipes to each peer that lives, by its number.
            uplink: our ends of the pipes to the supervisor.
            channel: our end of the socketpair to the supervisor.
            workers: how many there are.
            config: a copy, changed by CONFIG messages.
            log: the supervisor's, for a line in our name.
            page: the shared page of counters, of 64 bits each.
            generations: of each peer in `mesh`, and our own.
            facts: fields of `Facts`.
        """
        self._index = index
        self._workers = workers
        self._config = config
        self._log = log.of_process(os.getpid(), "C")
        self._channel = channel
        self._page = page
        self._disk = aof.Disk()
        self._directory = config.in_dir(config.appenddirname)
        self._uplink = Uplink(*uplink)
        self._peers: list[Peer | None] = [None] * workers
        self._generations = generations
        for number in range(workers):
            if number != index:
                self._peers[number] = Peer(number, *mesh.get(number, (-1, -1)))
                if number not in mesh:
                    self._set_open(self._peer(number), False)
        self._awaited: dict[int, int] = {}  # peers that are up in a generation whose pipes are due
        random = Random(int.from_bytes(os.urandom(16), "big"))
        self._store = Store(slot_range(index, workers), config.databases, random)
        self._server = Server(index, workers, config, self._store, Facts(**facts), os.getpid())
        self._process = psutil.Process()
        self._clock: StampClock | None = None
        self._backlog: list[m.Message] = []  # messages that came behind LOAD
        self._loaded = False
        self._source: aof.Source | None = None
        self._segment: aof.Segment | None = None
        self._loop: Loop
        self._dispatcher: Dispatcher
        self._participant: Participant
        self._expire = ExpireCycle(self._store, time.monotonic_ns)
        self._next_figures_ms = 0
        self._next_clients_ms = 0
        self._next_expire_ms = 0
        self._apply_config({})

    def _peer(self, number: int) -> Peer:
        peer = self._peers[number]
        assert peer is not None
        return peer

    # -- loading ----------------------------------------------------------------------------------

    def load(self) -> None:
        """Do what the supervisor says until the keys are in memory."""
        while True:
            for message in self._messages():
                kind = message[0]
                if kind == m.SCAN:
                    self._scan(message[1], message[2])
                elif kind == m.RESPLIT:
                    self._try(self._resplit, message[1], message[2])
                elif kind == m.LOAD:
                    self._try(self._load, message[1])
                elif kind == m.STOP:
                    raise Stopped
                else:
                    self._backlog.append(message)
            if self._loaded:
                return

    def _messages(self) -> list[m.Message]:
        """Wait for the supervisor's next frames."""
        poll = select.poll()
        poll.register(self._uplink.read_fd, select.POLLIN)
        while True:
            poll.poll()
            frames = self._uplink.receive()
            if frames is None:
                raise Stopped
            if frames:
                return [message for _, _, messages in frames for message in messages]

    def _tell(self, message: m.Message) -> None:
        """Send one message now, whatever its size: nothing else is going on."""
        uplink = self._uplink
        uplink.messages.append(message)
        uplink.send_turn(time.monotonic_ns())
        poll = select.poll()
        poll.register(uplink.write_fd, select.POLLOUT)
        while uplink.outbox_bytes:
            poll.poll()
            uplink.flush()

    def _try(self, step: Any, *args: Any) -> None:
        try:
            step(*args)
        except SegmentError as error:
            self._tell((m.FAILED, "", (error.name, error.offset, error.reason)))
        except (ReplayError, OSError, EOFError) as error:
            self._tell((m.FAILED, f"Loading the append only file: {error}", None))

    def _scan(self, files: Sequence[Any], exact: bool) -> None:
        try:
            reports = [
                aof.scan(self._disk, self._directory, _files(one), exact=exact).to_wire()
                for one in files
            ]
        except (OSError, EOFError) as error:
            self._tell((m.FAILED, f"Scanning the append only file: {error}", None))
            return
        self._tell((m.SCANNED, reports))

    def _load(self, segment: tuple[Any, ...] | None) -> None:
        if segment is None:
            self._loaded = True
            self._tell((m.LOADED, {"last_stamp_ms": 0, "base_bytes": 0}))
            return
        wire, end, skip, open_tickets, policy = segment
        source = aof.Source(_files(wire), end, frozenset(skip))
        started_ms = time.monotonic()
        replayer = Replayer(self._store)
        loaded = aof.load(
            self._disk,
            self._directory,
            source,
            replayer.apply,
            now_ms=time.time_ns() // 1_000_000,
            load_truncated=self._config.aof_load_truncated,
        )
        self._warn_of(loaded.removed)
        self._warn_of_failures(replayer)
        self._log.notice(
            f"DB loaded from append only file: {loaded.commands} commands,"
            f" {time.monotonic() - started_ms:.3f} seconds"
        )
        self._source = source
        self._segment = aof.open_segment(
            self._disk,
            self._directory,
            source.files,
            policy,
            aof.SyncThread(self._disk),
            open_tickets=open_tickets,
        )
        self._loaded = True
        self._tell((m.LOADED, {"last_stamp_ms": loaded.last_stamp_ms, "base_bytes": 0}))

    def _warn_of(self, removed: Sequence[aof.Removed]) -> None:
        for name, offset, size, kept_as in removed:
            self._log.warning(
                f"{name} is truncated at offset {offset}: the {size} bytes behind it were cut off,"
                f" and kept in {kept_as}"
            )

    def _warn_of_failures(self, replayer: Replayer) -> None:
        if replayer.failed:
            self._log.warning(
                f"{replayer.failed} commands of the append only file answered with an error and"
                f" were passed over, the first of them {replayer.first_failure}"
            )

    def _resplit(self, sources: Sequence[Any], name: str) -> None:
        """Write a base of our slots.

        All of a segment is replayed, not only what has our keys: a RENAME may have moved a key from
        a slot that will be another worker's.
        """
        parts = [aof.Source(_files(wire), end, frozenset(skip)) for wire, end, skip in sources]
        for number, source in enumerate(parts):
            if number % self._workers == self._index:
                # The old files go when the manifest is switched: what no base will have is kept.
                now_ms = time.time_ns() // 1_000_000
                self._warn_of(
                    aof.cut(self._disk, self._directory, source.files, source.end, now_ms)
                )
        store = Store(range(SLOTS), self._config.databases, Random(0))
        replayer = Replayer(store)
        ours = slot_range(self._index, self._workers)
        size, last_stamp_ms = aof.resplit(
            self._disk,
            self._directory,
            parts,
            name,
            apply=replayer.apply,
            owns=_everything,
            dump=lambda db: dump(store, db, ours),
            clear=replayer.clear,
            dbs=self._config.databases,
        )
        self._warn_of_failures(replayer)
        self._tell((m.LOADED, {"last_stamp_ms": last_stamp_ms, "base_bytes": size}))

    # -- serving ----------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve until Stopped."""
        server, store, segment = self._server, self._store, self._segment
        server.segment = segment
        if segment is not None:
            store.log = segment.log
        self._dispatcher = Dispatcher(server, self._peers, self._uplink, time.monotonic_ns)
        release = segment.release if segment is not None else _nothing_to_release
        self._dispatcher.start(release, self._generations)
        self._participant = self._dispatcher.participant
        self._set_hooks()
        loop = self._loop = Loop(
            server,
            self._dispatcher,
            self._peers,
            self._uplink,
            self._channel,
            self._page,
            self._stamp_ms,
        )
        loop.on_message = self._on_message
        loop.on_descriptors = self._on_descriptors
        loop.on_disk = self._on_disk
        loop.cron = self._cron
        loop.may_leave = self._may_leave
        self._apply_config({})
        for message in self._backlog:
            self._on_message(message)
        self._backlog.clear()
        loop.run()

    def _set_hooks(self) -> None:
        server = self._server
        server.on_pause_changed = self._dispatcher.pause_changed
        server.cpu_seconds = self._cpu_seconds
        server.memory_bytes = lambda: int(self._process.memory_info().rss)
        server.release_memory = _release_memory
        server.sleep = time.sleep
        server.log_warning = self._log.warning
        server.time_us = lambda: time.time_ns() // 1000
        server.reload = self._reload
        self._store.transfer = transfer
        server.sync_log = self._sync_log
        server.collect_counts = self._dispatcher.collect_hot_counts
        server.extra_info = self._extra_info
        server.on_reset_stats = self._expire.reset_stats
        scripting_of(self._store).around.log_script = self._log_script

    def _extra_info(self) -> dict[str, Any]:
        keys, on_nokey = self._dispatcher.blocking.key_counts()
        return {
            **self._dispatcher.broker.info(),
            **self._dispatcher.tracking.info(),
            "blocked_clients": sum(
                client.link.is_blocked() for client in self._server.clients.values()
            ),
            "watching_clients": self._dispatcher.transactions.watching_clients,
            "total_watched_keys": len(self._dispatcher.transactions.watches),
            **scripting_of(self._store).figures(),
            "total_blocking_keys": keys,
            "total_blocking_keys_on_nokey": on_nokey,
            "expired_stale_perc": self._expire.stale_percent,
            "expired_time_cap_reached_count": self._expire.time_cap_reached,
        }

    def _log_script(self, level: int, text: bytes) -> None:
        """Write what redis.log says; its levels are those of the log, from debug."""
        self._log.write(level, text.decode("utf-8", "surrogateescape"))

    def _sync_log(self) -> bool:
        assert self._segment is not None
        return self._segment.make_durable(self._stamp_ms(time.monotonic_ns()))

    def _cpu_seconds(self) -> tuple[float, float]:
        times = self._process.cpu_times()
        return times.user, times.system

    def _stamp_ms(self, monotonic_ns: int) -> int:
        assert self._clock is not None, "logged before CLOCK"
        return self._clock.now_ms(monotonic_ns)

    def _on_message(self, message: m.Message) -> None:
        kind = message[0]
        if self._dispatcher.on_message(message):
            pass
        elif kind == m.TOLD:
            self._dispatcher.on_told(message[1], message[2])
        elif kind == m.PEER:
            self._on_peer(*message[1:])
        elif kind == m.CONFIG:
            _, ref, pairs = message
            self._apply_config(self._config.set_many(pairs).after)
            self._uplink.messages.append((m.APPLIED, ref))
        elif kind == m.CLOCK:
            self._clock = StampClock(message[1], message[2])
        elif kind == m.RELEASED:
            assert self._segment is not None
            for ticket in message[1]:
                self._segment.release(ticket)
        elif kind == m.SERVE:
            if self._generations[self._index]:
                self._dispatcher.broker.await_sync()
            self._loop.serve()
        elif kind == m.LEAVE:
            self._loop.leave()
        else:
            assert kind == m.STOP, message
            self._loop.stop()

    def _on_descriptors(self, data: bytes, fds: list[int]) -> None:
        message = marshal.loads(data)
        if message[0] == m.PIPES:
            _, number, generation = message
            self._on_pipes(self._peer(number), generation, fds[0], fds[1])
            return
        _, client_id, addr, laddr, is_unix = message
        if not fds:  # the kernel drops what it has no descriptor for
            self._log.warning("Too many open files: a new client was dropped")
            self._uplink.messages.append((m.CLOSED, 1))
            return
        sock = socket.socket(fileno=fds[0])
        client = Client(self._server, client_id, addr, laddr, sock.fileno())
        client.is_unix = is_unix
        self._loop.add_client(sock, client, RequestReader())

    # -- peers ------------------------------------------------------------------------------------

    def _on_pipes(self, peer: Peer, generation: int, read_fd: int, write_fd: int) -> None:
        """Take the pipes to a peer's new process; its UP may have come already."""
        self._forget_process(peer)
        peer.read_fd, peer.write_fd = read_fd, write_fd
        self._generations[peer.worker] = generation
        self._dispatcher.forget_entered(peer.worker)
        self._loop.watch(peer)
        if self._awaited.pop(peer.worker, -1) == generation:
            self._set_up(peer)

    def _on_peer(self, number: int, state: int, generation: int) -> None:
        peer = self._peer(number)
        if state == m.UP:
            if self._generations.get(number) == generation:
                self._set_up(peer)
            else:
                self._awaited[number] = generation
        elif state == m.LEAVING:
            # As below: a later process must not be told that no more will come.
            if self._generations.get(number, -1) <= generation:
                self._set_open(peer, False)
                self._dispatcher.broker.peer_gone(peer)
                peer.leaving = True
        elif state == m.DOWN:
            self._awaited.pop(number, None)
            # The pipes of a later process may be here already, if this message was long on its way.
            if self._generations.get(number, -1) <= generation:
                self._forget_process(peer)
        else:
            peer.loading = True
            self._set_open(peer, False)  # who is started while it loads has its pipes already
            self._dispatcher.broker.peer_gone(peer)

    def _set_up(self, peer: Peer) -> None:
        peer.loading = False
        self._set_open(peer, True)
        self._dispatcher.broker.peer_up(peer)
        self._dispatcher.peer_up(peer)

    def _set_open(self, peer: Peer, is_open: bool) -> None:
        peer.up = peer.open = is_open

    def _forget_process(self, peer: Peer) -> None:
        """Take the replies a dead peer had still sent; what it did not answer is lost."""
        self._set_open(peer, False)
        self._dispatcher.broker.peer_gone(peer)
        if peer.read_fd < 0:
            return
        for _, _, _, replies, late, _ in peer.receive() or ():
            self._dispatcher.take_replies(peer, replies, late)
        self._loop.unwatch(peer)
        self._dispatcher.peer_lost(peer, peer.reset())
        self._dispatcher.peer_drained(peer)
        self._dispatcher.tracking.owner_lost(peer.worker)

    # -- log, clock, configuration ----------------------------------------------------------------

    def _on_disk(self, text: str | None) -> None:
        """The log cannot be written any more (text says why), or can be again."""
        if text is not None:
            self._log.warning(f"{text}: refusing writes until the disk is back")
        else:
            self._log.warning("The append only file can be written again")
        self._dispatcher.set_disk_error(text)
        self._uplink.messages.append((m.DISK, text is None, (text or "").encode()))

    def _cron(self, now_ms: int) -> bool:
        """Do what has become due; True when the expire cycle wants to go on soon."""
        again = now_ms < self._next_expire_ms  # it rests, and has more to do
        if not again:
            again = self._expire.run(EXPIRE_BUDGET_US)
            self._next_expire_ms = now_ms + EXPIRE_REST_MS if again else 0
        if now_ms >= self._next_clients_ms:
            self._next_clients_ms = now_ms + CLIENTS_EVERY_MS
            self._loop.close_idle()
            self._dispatcher.tracking.limit_table()
        self._server.sampler.sample(self._server, now_ms)
        if now_ms >= self._next_figures_ms:
            self._next_figures_ms = now_ms + FIGURES_EVERY_MS
            self._uplink.messages.append((m.FIGURES, self._figures(now_ms)))
        return again

    def _figures(self, now_ms: int) -> dict[str, Any]:
        stats, segment = self._server.stats, self._segment
        return {
            "at_ms": now_ms,
            "keys": sum([len(self._store.view(db.index)) for db in self._store.databases()]),
            "commands": stats.commands,
            "hops": stats.hops,
            "spanning": stats.spanning,
            "log_bytes": segment.info()["aof_current_size"] if segment is not None else 0,
            "log_lag_ms": segment.lag_ms(self._stamp_ms(time.monotonic_ns()))
            if segment is not None
            else 0,
        }

    def _apply_config(self, changed: dict[str, Any]) -> None:
        """Act on what has changed; without an argument on everything that is not read in place."""
        config = self._config
        RequestReader.proto_max_bulk_len = config.proto_max_bulk_len
        LIMITS.take(config)
        self._log.level = LEVELS.index(config.loglevel)
        if "appendfsync" in changed and self._segment is not None:
            self._segment.set_policy(config.appendfsync)
        if hasattr(self, "_dispatcher"):
            self._dispatcher.set_events(config.notify_keyspace_events)
        if hasattr(self, "_loop"):
            self._loop.cron_ms = 1000 // config.hz

    def _reload(self) -> None:
        """Forget all keys and load them again: from the log, or from their own dump without one."""
        store, segment = self._store, self._segment
        store.notify = None  # loading is no event
        self._dispatcher.tracking.pause()
        try:
            self._load_again(store, segment)
        finally:
            self._dispatcher.tracking.go_on()
            self._dispatcher.set_events(self._config.notify_keyspace_events)

    def _load_again(self, store: Store, segment: aof.Segment | None) -> None:
        replayer = Replayer(store)
        if segment is None:
            dumped = [
                (db.index, list(dump(store, db.index, store.slots))) for db in store.databases()
            ]
            replayer.clear()
            for db, commands in dumped:
                replayer.apply([b"SELECT", b"%d" % db])
                for argv in commands:
                    replayer.apply(argv)
            self._warn_of_failures(replayer)
            return
        assert self._source is not None
        # Merely flushed, what was logged last may still wait for a running fsync.
        if not self._sync_log():
            raise errors.aof_not_loaded()
        files, _, skip = self._source
        replayer.clear()
        aof.replay(self._disk, self._directory, aof.Source(files, 1 << 62, skip), replayer.apply)
        self._warn_of_failures(replayer)

    # -- the end ----------------------------------------------------------------------------------

    def _may_leave(self) -> bool:
        return not self._participant.waiters and not self._dispatcher.blocking.offers

    def close(self) -> int:
        """Write and sync the log; return the exit code."""
        if self._segment is None or self._clock is None:
            return 0
        try:
            self._segment.close(self._stamp_ms(time.monotonic_ns()))
        except OSError as error:
            self._log.warning(f"The append only file could not be written: {error.strerror}")
            return 1
        return 0


def dump(store: Store, db: int, slots: range) -> Iterator[tuple[bytes, ...]]:
    """Yield the commands that rebuild the keys of a database that lie in `slots`; with those of
    database 0 come the functions.
    """
    if db == 0:
        yield from scripting_of(store).functions.rebuild()
    view = store.view(db)
    for slot in slots:
        for key, value in view.db.keys_in(slot).items():
            yield from rebuild(key, value)


def _files(wire: tuple[Any, ...]) -> WorkerFiles:
    slots, base, incrs = wire
    return WorkerFiles(slots, None if base is None else Base(*base), incrs)


def _everything(_: object) -> bool:
    return True


def _nothing_to_release(_: int) -> None:
    pass


def _keep_some_memory() -> None:
    """Let free memory of KEPT_BYTES stay with us, if the C library (glibc) can be told so.

    By its own rule it gives back what is above 128 kB. The replies of one turn are more, so each
    turn would fault the same pages in again: a quarter of the time of an LRANGE of 100 elements.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_TRIM_THRESHOLD, KEPT_BYTES)
        set_option(_M_MMAP_THRESHOLD, MAPPED_BYTES)


def _release_memory() -> None:
    """Give free memory back to the system, if the C library can (glibc); it may take some ms."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
