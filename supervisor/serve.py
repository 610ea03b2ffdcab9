"""`shoal serve`: binds, forks, then sequences spanning commands and looks after the workers.

The supervisor owns the listening sockets and the processes, and no key. A round of its loop takes
what has come (connections, frames of the workers, signals, control requests), does what time asks
for, and sends each worker one frame with all that is for it.

    bind, lock the directory -> fork -> Startup: scan, decide, load -> CLOCK, SERVE -> accept

A worker that dies goes that way alone: its successor scans and loads its own segment, while the
others serve (design: docs/architecture.md).
"""

from __future__ import annotations

import json
import marshal
import mmap
import os
import secrets
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from shoal.proto import messages as m
from shoal.proto.aof_format import ScanReport
from shoal.proto.clock import first_stamp
from shoal.proto.directives import Config, pairs_of
from shoal.proto.errors import (
    ReplyError,
    no_shutdown,
    syntax_error,
    unknown_command,
    wrong_arity,
)
from shoal.proto.limits import (
    CRASH_WINDOW_MS,
    MAX_CRASHES,
    MAX_UNSENT_CLIENTS,
    MAX_WORKERS,
    PARK_MS,
)
from shoal.proto.log_line import LEVELS, Log
from shoal.proto.replies import OK, PONG, bulk, bulk_array, encode
from shoal.proto.slots import slot_range
from shoal.supervisor import recovery, status
from shoal.supervisor.control import Answer, ControlSocket
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.lifecycle import Event, State
from shoal.supervisor.listener import Arrival, Listener, ListenError, open_all
from shoal.supervisor.log import open_log
from shoal.supervisor.loop import IN, Loop, monotonic_ms, wall_ms
from shoal.supervisor.process import WorkerProcess
from shoal.supervisor.recovery import Directory, RecoveryError
from shoal.supervisor.signals import INTERRUPT, Signals
from shoal.supervisor.spawn import Ends, close_ends, exit_text, fork_worker, kill, pipe_pair, reap
from shoal.supervisor.startup import Startup, wire_files, wire_load
from shoal.supervisor.steps import Outgoing

# What a process needs beside its clients: pipes and channels, those of a successor too; all else.
DESCRIPTORS_PER_WORKER: Final = 8
OTHER_DESCRIPTORS: Final = 64
IDLE_MS: Final = 1000  # a round is taken at least this often

# What a worker that begins to serve is told of a peer that does not.
PEER_STATES: Final = {
    State.DOWN: m.DOWN,
    State.STARTING: m.LOADING,
    State.LOADING: m.LOADING,
    State.LEAVING: m.LEAVING,  # it waits for the last frame of everybody who is up
}

_PROTECTED: Final = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no"
    b" password is set for the default user. In this mode connections are only accepted from"
    b" the loopback interface. If you want to connect from external computers to Redis you may"
    b" adopt one of the following solutions: 1) Just disable protected mode sending the command"
    b" 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from"
    b" the same host the server is running, however MAKE SURE Redis is not publicly accessible"
    b" from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2)"
    b" Alternatively you can just disable the protected mode by editing the Redis configuration"
    b" file, and setting the protected mode option to 'no', and then restarting the server. 3)"
    b" If you started the server manually just for testing, restart it with the"
    b" '--protected-mode no' option. 4) Set up an authentication password for the default user."
    b" NOTE: You only need to do one of the above things in order for the server to start"
    b" accepting connections from the outside.\r\n"
)


def run(config: Config) -> int:
    """Serve until told to stop; return the exit code."""
    logfile = config.in_dir(config.logfile) if config.logfile else ""
    try:
        log = open_log(logfile, config.loglevel, os.getpid())
    except OSError as error:
        print(f"shoal: Can't open the log file {logfile}: {error.strerror}", file=sys.stderr)
        return 1
    log.notice(f"Shoal {version('shoal')} is starting, pid {os.getpid()}")
    os.chdir(config.dir)
    workers = worker_count(config, log)
    _raise_file_limit(config, workers, log)
    loop = Loop()
    listeners: list[Listener] = []
    directory: Directory | None = None
    control: ControlSocket | None = None
    pidfile: Path | None = None
    try:
        listeners = open_all(config)
        if config.appendonly:
            directory = recovery.open_directory(
                recovery.Disk(),
                config.in_dir(config.appenddirname),
                workers,
                config.appendfsync,
                os.getpid(),
            )
            for name in directory.leftovers:
                log.notice(f"Removed {name}, which no manifest names")
        supervisor = Supervisor(config, log, loop, workers, listeners, directory)
        if config.control_socket:
            path = config.in_dir(config.control_socket)
            control = ControlSocket(path, loop, supervisor.on_request)
            supervisor.control_path = path
        if config.pidfile:
            path = config.in_dir(config.pidfile)
            Path(path).write_text(f"{os.getpid()}\n")
            pidfile = Path(path)  # written: ours to delete
        return supervisor.run()
    except (ListenError, RecoveryError) as error:
        log.warning(str(error))
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        log.warning(f"{where}{error.strerror}")
        return 1
    finally:
        for listener in listeners:
            listener.close()
        if control is not None:
            control.close()
        if directory is not None:
            directory.close()
        if pidfile is not None:
            _delete(pidfile, log)
        loop.close()


def _delete(pidfile: Path, log: Log) -> None:
    try:
        pidfile.unlink(missing_ok=True)
    except OSError as error:
        log.warning(f"{pidfile} cannot be deleted: {error.strerror}")


def worker_count(config: Config, log: Log) -> int:
    """Return how many workers to run: as configured, or one for each CPU that we may use."""
    if config.workers is not None:
        return config.workers
    cpus = len(psutil.Process().cpu_affinity() or [0])
    quota = _cpu_quota()
    count = min(cpus, quota or cpus, MAX_WORKERS)
    log.notice(f"workers auto: {count} (CPUs of this process: {cpus}, quota: {quota or 'none'})")
    return count


def _cpu_quota() -> int | None:
    """Return the CPUs that the control group grants, rounded up; None without a limit."""
    try:
        allowed, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if allowed == "max" else max(-(-int(allowed) // int(period)), 1)


def _raise_file_limit(config: Config, workers: int, log: Log) -> None:
    """Allow as many descriptors as clients and pipes need, or say how many that will be."""
    process = psutil.Process()
    others = DESCRIPTORS_PER_WORKER * workers + OTHER_DESCRIPTORS
    wanted = config.maxclients + 4 * workers * workers + others  # all pipes exist while we fork
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    if soft in (psutil.RLIM_INFINITY, -1) or soft >= wanted:
        return
    limit = wanted if hard in (psutil.RLIM_INFINITY, -1) else min(wanted, hard)
    process.rlimit(psutil.RLIMIT_NOFILE, (limit, hard))
    if limit < wanted:
        log.warning(
            f"The limit of open files is {limit}; {wanted} are wanted for maxclients"
            f" {config.maxclients}. Raise it with ulimit -n."
        )


def _room_for_clients(workers: int) -> int:
    """Return how many clients fit under the limit of open files, if one process has them all."""
    soft, _ = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)
    if soft in (psutil.RLIM_INFINITY, -1):
        return sys.maxsize
    return max(soft - DESCRIPTORS_PER_WORKER * workers - OTHER_DESCRIPTORS, 1)


class Supervisor:
    """The processes, the coordinator, and what leads to them.

    Attributes:
        control_path: path of the control socket, "" without one.
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        loop: Loop,
        workers: int,
        listeners: list[Listener],
        directory: Directory | None,
    ) -> None:
        """Have everything bound and locked, and nothing forked."""
        self.control_path = ""
        self._config = config
        self._log = log
        self._loop = loop
        self._listeners = listeners
        self._directory = directory
        self._started_ms = monotonic_ms()
        self._signals = Signals()
        self._page = mmap.mmap(-1, workers * m.COUNTER_STRIDE * 8)
        self._workers = [WorkerProcess(i, loop, self._on_messages) for i in range(workers)]
        self._coordinator = Coordinator(workers, 1)
        self._client_room = _room_for_clients(workers)
        self._startup: Startup | None = None
        self._clock = (0, 0)
        self._next_client = 1
        self._connections = 0
        self._rejected = 0
        self._accepting = False
        self._accept_again_ms = 0  # when descriptors had run out
        self._stopping = False
        self._stop_at_ms = 0
        self._exit_code = 0
        self._restarting: dict[int, list[Answer]] = {}  # control requests that wait for a worker
        self._changes: dict[int, tuple[set[int], Answer]] = {}  # CONFIG SETs being applied
        self._last_change = 0
        self._process = psutil.Process()
        self._facts: dict[str, Any] = {
            "run_id": secrets.token_hex(20),
            "supervisor_pid": os.getpid(),
            "start_ms": wall_ms(),
            "config_file": config.file,
            "executable": psutil.Process().exe(),
            "version": version("shoal"),
            "port": next((one.port for one in listeners if one.port), 0),
            "listeners": [one.name for one in listeners],
        }

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Fork the workers, serve until told to stop, and return the exit code."""
        self._loop.watch(self._signals.fd, IN, self._on_signals)
        try:
            self._fork_all()
            self._flush()
            while not self._over():
                self._loop.wait(self._deadline_ms())
                self._on_time()
                self._flush()
        finally:
            self._kill_all()
        self._log.notice("Shoal is now ready to exit, bye bye...")
        return self._exit_code

    def _over(self) -> bool:
        return self._stopping and not any(worker.pid for worker in self._workers)

    def _deadline_ms(self) -> int:
        deadline_ms = monotonic_ms() + IDLE_MS
        if self._stopping:
            return min(deadline_ms, self._stop_at_ms)
        for worker in self._workers:
            if worker.life.state is State.DOWN:
                deadline_ms = min(deadline_ms, worker.life.restart_at_ms)
        return deadline_ms

    def _on_time(self) -> None:
        now_ms = monotonic_ms()
        if self._stopping:
            if now_ms >= self._stop_at_ms and not self._over():
                self._log.warning(
                    f"The workers did not end within shutdown-timeout"
                    f" ({self._config.shutdown_timeout} s): ending them now"
                )
                self._exit_code = 1
                self._kill_all()
                self._stop_at_ms = now_ms + IDLE_MS
            return
        for worker in self._workers:
            if worker.serving:
                continue
            if worker.life.state is State.LEAVING:
                self._bound_leaving(worker, now_ms)
                continue
            if worker.life.state is State.DOWN and now_ms >= worker.life.restart_at_ms:
                self._restart(worker)
            if not worker.overdue and now_ms - worker.down_since_ms >= PARK_MS:
                worker.overdue = True
                self._send_all(self._coordinator.on_deadline(worker.index))
        self._accept_if_possible()

    def _bound_leaving(self, worker: WorkerProcess, now_ms: int) -> None:
        """End a worker that cannot leave: a peer may hang, and never send its last frame."""
        if now_ms >= worker.leave_until_ms:
            self._log.warning(
                f"Worker {worker.index} could not leave within shutdown-timeout"
                f" ({self._config.shutdown_timeout} s): ending it now"
            )
            worker.leave_until_ms = now_ms + IDLE_MS
            kill(worker.pid)

    def _flush(self) -> None:
        stamp_ns = time.monotonic_ns()
        for worker in self._workers:
            worker.flush(stamp_ns)

    def _send(self, worker: int, message: m.Message) -> None:
        self._workers[worker].messages.append(message)

    def _send_all(self, outgoing: Outgoing) -> None:
        for worker, message in outgoing:
            if worker == m.SUPERVISOR:
                self._take_part(message)
            else:
                self._workers[worker].messages.append(message)

    # -- processes --------------------------------------------------------------------------------

    def _fork_all(self) -> None:
        now_ms = monotonic_ms()
        count = len(self._workers)
        meshes: list[dict[int, Ends]] = [{} for _ in range(count)]
        for first in range(count):
            for second in range(first):
                meshes[first][second], meshes[second][first] = pipe_pair()
        for worker in self._workers:
            self._fork(worker, meshes[worker.index], now_ms)
        for mesh in meshes:
            for ends in mesh.values():
                close_ends(ends)
        self._startup = Startup(
            count,
            self._directory,
            self._config.appendfsync,
            self._send,
            load_truncated=self._config.aof_load_truncated,
        )
        if self._startup.resplit:
            self._log.notice(f"Another number of workers ({count}): splitting the log anew")

    def _fork(self, worker: WorkerProcess, mesh: dict[int, Ends], now_ms: int) -> None:
        facts: dict[str, Any] = {
            "workers": len(self._workers),
            "config": self._config,
            "log": self._log,
            "page": memoryview(self._page).cast("Q"),
            "generations": {
                **{peer: self._workers[peer].life.restarts for peer in mesh},
                worker.index: worker.life.restarts + 1,  # counted when it is forked
            },
            "facts": self._facts,
        }
        kept = {self._log.fileno()}
        child = fork_worker(worker.index, mesh, facts, kept, self._signals.forget)
        worker.start(child, now_ms)
        worker.down_since_ms = now_ms

    def _restart(self, worker: WorkerProcess) -> None:
        """Fork a successor and give the survivors the new ends of the pipes to it."""
        now_ms = monotonic_ms()
        mesh: dict[int, Ends] = {}
        theirs: dict[int, Ends] = {}
        alive = [other for other in self._workers if other.pid]
        try:
            for other in alive:
                mesh[other.index], theirs[other.index] = pipe_pair()
            self._fork(worker, mesh, now_ms)
        except OSError as error:  # no memory, process or descriptor to be had now
            for ends in [*mesh.values(), *theirs.values()]:
                close_ends(ends)
            worker.life.restart_at_ms = now_ms + IDLE_MS
            self._log.warning(f"Worker {worker.index} cannot be started now: {error.strerror}")
            return
        generation = worker.life.restarts
        data = marshal.dumps((m.PIPES, worker.index, generation))
        for other in alive:
            other.hand_over(data, theirs[other.index])
            close_ends(mesh[other.index])
            self._tell_peer(other.index, worker, m.LOADING)
        self._log.notice(f"Worker {worker.index} starts again, pid {worker.pid}")
        if self._directory is None:
            worker.life.on(Event.SCANNED, now_ms)
            self._send(worker.index, (m.LOAD, None))
            self._log.warning(
                f"Worker {worker.index} starts empty: without appendonly its keys are lost"
            )
            return
        files = self._directory.manifest.workers[worker.index]
        self._send(worker.index, (m.SCAN, [wire_files(files)], False))

    def _tell_peer(self, to: int, about: WorkerProcess, state: int) -> None:
        self._send(to, (m.PEER, about.index, state, about.life.restarts))

    def _tell_all_peers(self, about: WorkerProcess, state: int) -> None:
        for other in self._workers:
            if other is not about and other.pid:
                self._tell_peer(other.index, about, state)

    def _reap(self) -> None:
        for pid, code in reap():
            for worker in self._workers:
                if worker.pid == pid:
                    self._on_death(worker, pid, code)

    def _on_death(self, worker: WorkerProcess, pid: int, code: int) -> None:
        was = worker.life.state
        worker.bury(monotonic_ms())
        self._send_all(self._coordinator.on_worker_lost(worker.index))
        for ref in [ref for ref, (waits, _) in self._changes.items() if worker.index in waits]:
            self._on_applied(ref, worker.index)
        if self._stopping:
            if code:
                self._log.warning(f"Worker {worker.index} ended with {exit_text(code)}")
                self._exit_code = 1
            return
        if was is not State.LEAVING or code:
            self._log.warning(f"Worker {worker.index} (pid {pid}) ended: {exit_text(code)}")
        self._tell_all_peers(worker, m.DOWN)
        if worker.life.hopeless:
            often = f"has died {MAX_CRASHES} times within {CRASH_WINDOW_MS // 1000} s"
            why = often if worker.life.has_served else "ended before it had ever served"
            self._give_up(f"Worker {worker.index} {why}: giving up")

    def _give_up(self, why: str) -> None:
        self._log.warning(why)
        if not self._stopping:
            self._stop()
        self._exit_code = 1

    def _kill_all(self) -> None:
        for worker in self._workers:
            if worker.pid:
                kill(worker.pid)

    # -- stopping ---------------------------------------------------------------------------------

    def _on_signals(self, _: int) -> None:
        for number in self._signals.take():
            name = self._signals.name(number)
            if name == "SIGCHLD":
                self._reap()
            elif not self._stopping:
                self._log.warning(f"Received {name}, scheduling shutdown...")
                self._stop()
            elif number == INTERRUPT:
                self._log.warning("A second SIGINT: ending the workers now")
                self._exit_code = 1
                self._kill_all()

    def _stop(self) -> None:
        self._stopping = True
        self._stop_at_ms = monotonic_ms() + self._config.shutdown_timeout * 1000
        self._set_accepting(False)
        for worker in self._workers:
            if worker.pid:
                worker.messages.append((m.STOP,))

    # -- clients ----------------------------------------------------------------------------------

    def _set_accepting(self, accepting: bool) -> None:
        if accepting == self._accepting:
            return
        self._accepting = accepting
        for listener in self._listeners:
            if accepting:
                self._loop.watch(listener.fileno(), IN, self._acceptor(listener))
            else:
                self._loop.unwatch(listener.fileno())

    def _acceptor(self, listener: Listener) -> Callable[[int], None]:
        def accept(_: int) -> None:
            try:
                arrivals = listener.accept_some(self._config.tcp_keepalive)
            except OSError as error:
                self._log.warning(f"Accepting a client connection: {error.strerror}")
                self._set_accepting(False)
                self._accept_again_ms = monotonic_ms() + IDLE_MS
                return
            for arrival in arrivals:
                self._hand_over(arrival)
            self._accept_if_possible()

        return accept

    def _accept_if_possible(self) -> None:
        startup = self._startup
        if self._stopping or startup is None or not startup.done:
            return
        serving = [worker for worker in self._workers if worker.serving]
        waiting = sum([len(worker.unsent) for worker in serving])
        self._set_accepting(
            bool(serving)
            and waiting < MAX_UNSENT_CLIENTS
            and monotonic_ms() >= self._accept_again_ms
        )

    def _hand_over(self, arrival: Arrival) -> None:
        sock = arrival.sock
        self._connections += 1
        total = sum([worker.clients for worker in self._workers])
        if total >= min(self._config.maxclients, self._client_room):
            self._rejected += 1
            self._refuse(arrival, b"-ERR max number of clients reached\r\n")
            return
        if not arrival.is_local and self._config.protected_mode and not self._config.requirepass:
            self._rejected += 1
            self._refuse(arrival, _PROTECTED)
            return
        serving = [worker for worker in self._workers if worker.serving]
        if not serving:  # it died a moment ago; the client may come again
            sock.close()
            return
        worker = min(serving, key=_client_count)
        worker.clients += 1
        data = marshal.dumps(
            (m.CLIENT, self._next_client, arrival.addr, arrival.laddr, arrival.is_unix)
        )
        self._next_client += 1
        worker.hand_over(data, (sock.detach(),))

    def _refuse(self, arrival: Arrival, text: bytes) -> None:
        """Say why, as far as the socket's buffer takes it, and close."""
        try:
            arrival.sock.send(text)
        except OSError as error:
            self._log.verbose(f"A refused client has gone: {error.strerror}")
        arrival.sock.close()

    # -- what workers say -------------------------------------------------------------------------

    def _on_messages(self, worker: WorkerProcess, messages: list[m.Message]) -> None:
        coordinator = self._coordinator
        for message in messages:
            kind = message[0]
            if kind == m.DONE:
                self._send_all(coordinator.on_done(worker.index, message[1], message[2]))
            elif kind == m.SPAN:
                self._send_all(coordinator.on_span(worker.index, *message[1:]))
            elif kind == m.LENT:
                self._send_all(coordinator.on_lent(worker.index, *message[1:]))
            elif kind == m.EFFECT:
                self._send_all(coordinator.on_effect(worker.index, *message[1:]))
            elif kind == m.RAN:
                self._send_all(coordinator.on_ran(worker.index, *message[1:]))
            elif kind == m.NEEDS:
                self._send_all(coordinator.on_needs(worker.index, *message[1:]))
            elif kind == m.FORGET:
                self._send_all(coordinator.on_forget(worker.index, message[1]))
            elif kind == m.HELD:
                coordinator.on_held(worker.index, message[1])
            elif kind == m.SETTLED:
                self._send_all(coordinator.on_settled(worker.index, message[1]))
            elif kind == m.ABORT:
                self._send_all(coordinator.on_abort(message[1]))
            elif kind == m.TOOK:
                self._send_all(coordinator.on_took(*message[1:]))
            elif kind == m.APPLY_MORE:
                self._send_all(coordinator.on_apply_more(worker.index, message[1]))
            elif kind == m.CLOSED:
                worker.clients -= message[1]
            elif kind == m.FIGURES:
                worker.meter.on_figures(message[1])
            elif kind == m.CALL:
                self._on_call(worker, message[1], message[2])
            elif kind == m.DISK:
                _, ok, text = message
                self._send_all(coordinator.on_disk_state(worker.index, ok, text))
            elif kind == m.APPLIED:
                self._on_applied(message[1], worker.index)
            elif kind == m.SCANNED:
                self._guarded(self._on_scanned, worker, message[1])
            elif kind == m.LOADED:
                self._guarded(self._on_loaded, worker, message[1])
            else:
                assert kind == m.FAILED, message
                _, text, damage = message
                self._give_up(recovery.damage_text(*damage) if damage else text)

    def _guarded(
        self, step: Callable[[WorkerProcess, Any], None], worker: WorkerProcess, said: Any
    ) -> None:
        """Do a step of the start; what stands in its way ends the server."""
        if self._stopping:
            return
        try:
            step(worker, said)
        except RecoveryError as error:
            self._give_up(str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self._give_up(f"The append only directory: {where}{error.strerror}")

    def _on_scanned(self, worker: WorkerProcess, reports: list[Any]) -> None:
        startup, directory = self._startup, self._directory
        assert startup is not None
        assert directory is not None
        worker.life.on(Event.SCANNED, monotonic_ms())
        if not startup.done:
            startup.on_scanned(worker.index, reports)
            return
        plan = recovery.decide_live(
            worker.index,
            ScanReport.from_wire(reports[0]),
            directory.manifest.skipped,
            load_truncated=self._config.aof_load_truncated,
        )
        startup.logged[worker.index] = plan.logged
        files = directory.manifest.workers[worker.index]
        self._send(worker.index, (m.LOAD, wire_load(files, plan, self._config.appendfsync)))

    def _on_loaded(self, worker: WorkerProcess, figures: dict[str, int]) -> None:
        startup = self._startup
        assert startup is not None
        if startup.done:
            self._let_serve(worker)
            return
        if worker.life.state is State.STARTING:  # nothing to scan
            worker.life.on(Event.SCANNED, monotonic_ms())
        startup.on_loaded(worker.index, figures)
        if startup.done:
            self._clock = first_stamp(wall_ms(), startup.last_stamp_ms), time.monotonic_ns()
            self._coordinator.next_ticket = startup.next_ticket
            for each in self._workers:
                self._let_serve(each)
            self._announce()

    def _let_serve(self, worker: WorkerProcess) -> None:
        startup = self._startup
        assert startup is not None
        if worker.life.restarts:  # at the first start everybody serves at once
            for other in self._workers:
                if other is not worker and not other.serving:
                    state = PEER_STATES[other.life.state]
                    self._tell_peer(worker.index, other, state)
        self._send(worker.index, (m.CLOCK, *self._clock))
        self._send_all(
            self._coordinator.on_worker_ready(worker.index, startup.logged[worker.index])
        )
        worker.life.on(Event.LOADED, monotonic_ms())
        worker.overdue = False
        if worker.life.restarts:
            self._tell_all_peers(worker, m.UP)
            self._log.notice(f"Worker {worker.index} serves again")
        for answer in self._restarting.pop(worker.index, []):
            answer(OK)

    def _announce(self) -> None:
        for listener in self._listeners:
            self._log.notice(f"Listening on {listener.name}")
        if self.control_path:
            self._log.notice(f"Control socket {self.control_path}")
        took_ms = monotonic_ms() - self._started_ms
        self._log.notice(f"{len(self._workers)} workers have started in {took_ms / 1000:.3f} s")
        self._accept_if_possible()
        self._log.notice("Ready to accept connections")

    # -- our own part of spanning commands, and requests of clients -------------------------------

    def _take_part(self, message: m.Message) -> None:
        """Answer our part of a command that also asks the supervisor."""
        if message[0] != m.LOCK:
            return
        _, ticket, blob, _, _ = message
        argv = marshal.loads(blob)[3]
        if argv[0].lower() == b"config":  # RESETSTAT
            self._connections = self._rejected = 0
        self._send_all(
            self._coordinator.on_done(m.SUPERVISOR, ticket, json.dumps(self._own_info()).encode())
        )

    def _own_info(self) -> dict[str, Any]:
        """Return the supervisor's share of INFO, as `shoal.worker.info` wants it."""
        times, system = self._process.cpu_times(), os.uname()
        return {
            "pid": os.getpid(),
            "cpu_user": times.user,
            "cpu_system": times.system,
            "cpu_user_children": times.children_user,
            "cpu_system_children": times.children_system,
            "memory_bytes": self._process.memory_info().rss,
            "total_system_memory": psutil.virtual_memory().total,
            "os": f"{system.sysname} {system.release} {system.machine}",
            "total_connections_received": self._connections,
            "rejected_connections": self._rejected,
            "restarts": [max(worker.life.restarts, 0) for worker in self._workers],
        }

    def _uptime_s(self) -> int:
        return (monotonic_ms() - self._started_ms) // 1000

    def _on_call(self, worker: WorkerProcess, ref: int, request: tuple[bytes, ...]) -> None:
        generation = worker.life.restarts

        def answer(reply: bytes) -> None:
            if worker.pid and worker.life.restarts == generation:
                worker.messages.append((m.TOLD, ref, reply))

        try:
            self._run_request(list(request), answer)
        except ReplyError as error:
            answer(error.encode())

    def on_request(self, argv: list[bytes], answer: Answer) -> None:
        """Run a request of the control socket; see `ctl.py`. Raises: ReplyError."""
        name = argv[0].lower()
        if name == b"ping":
            answer(PONG)
        elif name == b"status":
            answer(bulk(json.dumps(self._status()).encode()))
        elif name == b"restart-worker":
            self._restart_worker(argv, answer)
        elif name == b"log-level":
            if len(argv) != 2:
                raise wrong_arity(b"log-level")
            self._config_set([b"loglevel", argv[1]], answer)
        else:
            self._run_request(argv, answer)

    def _run_request(self, argv: list[bytes], answer: Answer) -> None:
        """Run what both clients and the control socket may ask."""
        name = argv[0].lower()
        if name == b"shutdown":
            self._shutdown([word.lower() for word in argv[1:]])
        elif name == b"config":
            words = [word.lower() for word in argv[1:2]]
            if words == [b"set"] and len(argv) > 3:
                self._config_set(argv[2:], answer)
            elif words == [b"get"] and len(argv) > 2:
                pairs = self._config.get_matching(argv[2:])
                answer(encode(bulk_array([text for pair in pairs for text in pair]), 2))
            else:
                raise wrong_arity(b"config")
        else:
            raise unknown_command(argv)

    def _shutdown(self, words: list[bytes]) -> None:
        """Stop; there is no answer but the end of the connection."""
        if b"abort" in words:
            raise no_shutdown()
        if set(words) - {b"nosave", b"save", b"now", b"force"}:
            raise syntax_error()
        if not self._stopping:
            self._log.warning("User requested shutdown...")
            self._stop()

    def _restart_worker(self, argv: list[bytes], answer: Answer) -> None:
        if len(argv) != 2:
            raise wrong_arity(b"restart-worker")
        last = len(self._workers) - 1
        # Not longer than any number of a worker: int() refuses thousands of digits.
        number = int(argv[1]) if argv[1].isdigit() and len(argv[1]) <= 9 else -1
        if not 0 <= number <= last:
            raise ReplyError(f"ERR no such worker; they are 0 to {last}")
        if self._stopping:
            raise ReplyError("ERR not now: the server is shutting down")
        worker = self._workers[number]
        if not worker.serving or any(not other.serving for other in self._workers):
            raise ReplyError("ERR not now: a worker is being restarted")
        self._log.notice(f"Worker {number} is asked to leave")
        now_ms = monotonic_ms()
        worker.life.on(Event.ASKED_TO_LEAVE, now_ms)
        worker.leave_until_ms = now_ms + self._config.shutdown_timeout * 1000
        self._restarting[number] = [answer]
        # FIFO: the peers' last requests are in their pipes before each says so in a frame of its
        # own.
        self._tell_all_peers(worker, m.LEAVING)
        self._send(number, (m.LEAVE,))

    # -- configuration ----------------------------------------------------------------------------

    def _config_set(self, args: list[bytes], answer: Answer) -> None:
        """Change directives here, then in every worker; answer when all have done so."""
        pairs = pairs_of(args)
        change = self._config.set_many(pairs)
        if "loglevel" in change.after:
            self._log.level = LEVELS.index(self._config.loglevel)
        if "maxclients" in change.after:
            self._accept_if_possible()
        self._last_change += 1
        ref = self._last_change
        alive = {worker.index for worker in self._workers if worker.pid}
        if not alive:  # whoever is forked next inherits it
            answer(OK)
            return
        self._changes[ref] = alive, answer
        for index in alive:
            self._send(index, (m.CONFIG, ref, pairs))

    def _on_applied(self, ref: int, worker: int) -> None:
        waits, answer = self._changes[ref]
        waits.discard(worker)
        if not waits:
            del self._changes[ref]
            answer(OK)

    # -- status -----------------------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        count = len(self._workers)
        rows = []
        for worker in self._workers:
            slots = slot_range(worker.index, count)
            rows.append(
                {
                    "worker": worker.index,
                    "pid": worker.pid or None,
                    "state": worker.life.state.value,
                    "slots": [slots[0], slots[-1]],
                    "clients": worker.clients,
                    "restarts": max(worker.life.restarts, 0),
                    **worker.meter.show(),
                }
            )
        return status.document(
            version("shoal"),
            self._uptime_s(),
            os.getpid(),
            self._facts["listeners"],
            rows,
        )


def _client_count(worker: WorkerProcess) -> int:
    return worker.clients
