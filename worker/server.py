"""What the commands of one worker share: configuration, clients, statistics, the partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.worker.info import Sampler
from shoal.worker.keyspace import Store

if TYPE_CHECKING:
    from shoal.proto.directives import Config
    from shoal.worker.aof import Segment
    from shoal.worker.broker import Broker
    from shoal.worker.client import Client
    from shoal.worker.multi import Transactions
    from shoal.worker.tracking import Tracking


@dataclass(slots=True)
class Facts:
    """What the supervisor tells a worker once, at the fork.

    Attributes:
        run_id: 40 hex digits, new at each start of the server.
        supervisor_pid: process id of the supervisor (INFO's process_id).
        start_ms: wall clock of the server's start, ms since the epoch.
        config_file: absolute path, or "".
        executable: what INFO shows as executable.
        version: Shoal's version.
        port: the TCP port in use, 0 if none.
        listeners: `127.0.0.1:6379`, `unix:/path`, ...
    """

    run_id: str
    supervisor_pid: int
    start_ms: int
    config_file: str
    executable: str
    version: str
    port: int
    listeners: list[str]


@dataclass(slots=True)
class Stats:
    """Counters of one worker since its start or CONFIG RESETSTAT; INFO adds them up over the
    workers.
    """

    commands: int = 0
    connections: int = 0
    net_input_bytes: int = 0
    net_output_bytes: int = 0
    hops: int = 0  # commands of our clients run by a peer
    script_retries: int = 0  # runs of scripts that were taken back, to be run with more keys
    spanning: int = 0  # commands of our clients that went to the coordinator
    error_replies: int = 0
    errors: dict[bytes, int] = field(default_factory=dict)  # by error code: INFO errorstats
    output_limit_disconnections: int = 0
    query_limit_disconnections: int = 0
    turns: int = 0
    turn_usec: int = 0  # time spent in turns, without waiting: eventloop_duration_sum
    peak_clients: int = 0


@dataclass(slots=True)
class Pause:
    """CLIENT PAUSE: which commands wait, and until when."""

    until_ms: int = 0  # wall clock, ms since the epoch; 0 for no pause
    writes_only: bool = False


class Server:
    """One worker, as commands of the scopes CLIENT and SERVER see it.

    Attributes:
        index, workers: number of this worker, and how many there are.
        clients: connected clients of this worker by id.
        segment: the log, None with appendonly no.
        pause: the running CLIENT PAUSE; change it with `set_pause`.
        broker: pub/sub and MONITOR, made by the dispatcher.
        subscribers: clients of this worker that have subscribed to something.
    """

    def __init__(
        self, index: int, workers: int, config: Config, store: Store, facts: Facts, pid: int
    ) -> None:
        """Start with no clients."""
        self.index, self.workers = index, workers
        self.config = config
        self.store = store
        self.facts = facts
        self.pid = pid
        self.stats = Stats()
        self.clients: dict[int, Client] = {}
        self.segment: Segment | None = None
        self.pause = Pause()
        self.broker: Broker
        self.subscribers = 0
        self.on_pause_changed: Callable[[], None] = _nothing
        self.cpu_seconds: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)  # user, system
        self.memory_bytes: Callable[[], int] = lambda: 0
        # MEMORY PURGE: gives what the allocator keeps back to the system
        self.release_memory: Callable[[], None] = _nothing
        self.sleep: Callable[[float], None] = _ignore
        # DEBUG LOADAOF: flush, forget and replay the log
        self.reload: Callable[[], None] = _nothing
        # WAITAOF: makes the log durable, tells whether it is
        self.sync_log: Callable[[], bool] = lambda: False
        # DEBUG LOG, at the level warning
        self.log_warning: Callable[[str], None] = _ignore
        self.time_us: Callable[[], int] = lambda: 0  # wall clock, microseconds since the epoch
        # Figures that other parts keep, for INFO, by the names that worker/info.py lists.
        self.extra_info: Callable[[], dict[str, Any]] = dict
        # Adds what the fused commands have counted to the command table.
        self.collect_counts: Callable[[], None] = _nothing
        # CONFIG RESETSTAT: other parts start their own counters anew.
        self.on_reset_stats: Callable[[], None] = _nothing
        self.sampler = Sampler()
        self.transactions: Transactions  # the dispatcher's
        self.tracking: Tracking  # likewise

    def set_pause(self, until_ms: int, writes_only: bool) -> None:
        """Start, extend or (until_ms 0) end a pause; as in Redis it never becomes shorter or
        weaker.
        """
        pause = self.pause
        self.store.expire_paused = until_ms != 0
        if until_ms == 0:
            pause.until_ms, pause.writes_only = 0, False
        else:
            running = pause.until_ms > self.store.now_ms
            pause.writes_only = writes_only and (pause.writes_only if running else True)
            pause.until_ms = max(until_ms, pause.until_ms) if running else until_ms
        self.on_pause_changed()


def _nothing() -> None:
    pass


def _ignore(_: Any) -> None:
    pass
