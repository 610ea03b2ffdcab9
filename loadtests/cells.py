"""One cell of the benchmark: what is sent, how long, and what one measurement of it says."""

import csv
import io
import math
import re
import resource
import subprocess
import time
from dataclasses import dataclass

import hiredis

from loadtests.driver import DriveError
from loadtests.machine import busy_seconds
from loadtests.servers import Server
from loadtests.spanning_cells import SPANNING_CELLS
from loadtests.type_cells import KEYS, TYPE_CELLS, LayError

CLIENTS = 50
VALUE_BYTES = 64
COMMANDS = ["GET", "SET", "INCR", "MSET"]
PIPELINES = [1, 16, 64]
RUN_SECONDS = 180.0

# Keys per MSET when the keys are laid down before the measurement.
_PRELOAD_KEYS = 100


class BenchError(Exception):
    """redis-benchmark failed, or the server answered an error."""


@dataclass(frozen=True)
class Cell:
    """What redis-benchmark sends, or our own driver, and how the server logs it.

    command: one of COMMANDS, which redis-benchmark has a test for, or a name in TYPE_CELLS, or one
    in SPANNING_CELLS, which it cannot send.
    """

    command: str
    pipeline: int
    policy: str

    @property
    def counted_as(self) -> str:
        """The name in INFO commandstats."""
        return TYPE_CELLS[self.command].command if self.is_type else self.command

    @property
    def is_type(self) -> bool:
        """Whether it is one of the data types' cells."""
        return self.command in TYPE_CELLS

    @property
    def is_spanning(self) -> bool:
        """Whether our own driver sends it."""
        return self.command in SPANNING_CELLS

    def benchmark_argv(self) -> list[str]:
        """Return what follows redis-benchmark's general options."""
        if not self.is_type:
            return ["-r", str(KEYS), "-t", self.command.lower()]
        cell = TYPE_CELLS[self.command]
        return ["-r", str(cell.keys), *cell.line]

    @property
    def name(self) -> str:
        """The name --only matches: `SET P16 everysec`, without the policy for appendonly no."""
        name = f"{self.command} P{self.pipeline}"
        return name if self.policy == "no" else f"{name} {self.policy}"


@dataclass(frozen=True)
class Sample:
    """One run of redis-benchmark.

    Times are in seconds, but latencies in milliseconds and CPU in microseconds per command.
    counted: what the server's commandstats say of requests, None where it keeps none.
    foreign_cores: how many cores the rest of the machine kept busy meanwhile; noise if not small.
    """

    requests: int
    counted: int | None
    seconds: float
    throughput: float
    p50_ms: float
    p99_ms: float
    user_us: float
    system_us: float
    foreign_cores: float

    @property
    def cpu_us(self) -> float:
        """User and system CPU of all processes of the server, microseconds per command."""
        return self.user_us + self.system_us


def type_cells() -> list[Cell]:
    """List the data types' cells."""
    return [Cell(name, 16, "no") for name in TYPE_CELLS]


def string_cells() -> list[Cell]:
    """List the other cells in measuring order.

    The cells with an append only file follow right after SET at pipeline 16 without one, to which
    they are compared.
    """
    plain = [Cell(c, p, "no") for c in ["GET", "INCR", "MSET", "SET"] for p in [64, 1, 16]]
    logged = [Cell("SET", p, policy) for policy in ("everysec", "always") for p in (16, 1)]
    return plain + logged


def spanning_cells() -> list[Cell]:
    """List the cells about transactions, scripts and messages."""
    return [Cell(name, 1, "no") for name in SPANNING_CELLS]


def preload(server: Server) -> None:
    """Set every key redis-benchmark may draw, so that GET hits and INCR finds its counter."""
    connection = server.connect()
    try:
        for prefix, value in (("key", b"x" * VALUE_BYTES), ("counter", b"0")):
            for first in range(0, KEYS, _PRELOAD_KEYS):
                names = [f"{prefix}:{i:012d}" for i in range(first, first + _PRELOAD_KEYS)]
                reply = connection.call("MSET", *[word for n in names for word in (n, value)])
                if reply not in (b"OK", "OK"):
                    raise BenchError(f"{server.name}: MSET answered {reply!r}")
    finally:
        connection.close()


def measure(server: Server, cell: Cell, requests: int) -> Sample:
    """Run redis-benchmark once; requests must be a multiple of the pipeline.

    redis-benchmark sends whole pipelines, so it then sends exactly this many commands; where the
    server keeps commandstats, they are noted beside it. Raises BenchError, ServerError.
    """
    assert requests % cell.pipeline == 0, (cell, requests)
    if cell.is_spanning:
        return _measure_driven(server, cell, requests)
    _lay(server, cell, requests)
    general = f"redis-benchmark -p {server.port} -c {CLIENTS} -d {VALUE_BYTES} --csv"
    general += f" -P {cell.pipeline} -n {requests}"
    argv = [*general.split(), *cell.benchmark_argv()]
    calls_before, failed_before = _calls(server, cell.counted_as)
    # The windows nest: what starting redis-benchmark costs is foreign to the server.
    children_before = _children_seconds()
    busy_before = busy_seconds()
    before, begun = server.cpu(), time.monotonic()
    try:
        run = subprocess.run(argv, capture_output=True, timeout=RUN_SECONDS, check=False, text=True)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{server.name}, {cell.name}: not done in {RUN_SECONDS} s") from error
    seconds, cpu = time.monotonic() - begun, server.cpu() - before
    busy = busy_seconds() - busy_before
    client = _children_seconds() - children_before
    row = _read_csv(run.stdout)
    if run.returncode or row is None:
        said = (run.stdout[-500:] + run.stderr[-500:]).strip()
        raise BenchError(f"{server.name}, {cell.name}: redis-benchmark failed: {said}")
    calls, failed = _calls(server, cell.counted_as)
    if failed != failed_before:
        raise BenchError(f"{server.name}, {cell.name}: {failed - failed_before} calls failed")
    return Sample(
        requests=requests,
        counted=None if calls is None or calls_before is None else calls - calls_before,
        seconds=seconds,
        throughput=float(row["rps"]),
        p50_ms=float(row["p50_latency_ms"]),
        p99_ms=float(row["p99_latency_ms"]),
        user_us=cpu.user_s * 1e6 / requests,
        system_us=cpu.system_s * 1e6 / requests,
        foreign_cores=max(0.0, busy - client - cpu.user_s - cpu.system_s) / seconds,
    )


def _measure_driven(server: Server, cell: Cell, requests: int) -> Sample:
    """Let our own driver send the requests; the figures are per request."""
    busy_before, own_before = busy_seconds(), time.process_time()
    try:
        with SPANNING_CELLS[cell.command].prepared(server) as run:
            # What the connections cost is no part of it.
            before = server.cpu()
            driven = run(requests)
            cpu = server.cpu() - before
    except (DriveError, OSError) as error:
        raise BenchError(f"{server.name}, {cell.name}: {error}") from error
    foreign_s = busy_seconds() - busy_before - (time.process_time() - own_before)
    return Sample(
        requests=requests,
        counted=None,
        seconds=driven.seconds,
        throughput=requests / driven.seconds,
        p50_ms=driven.quantile_ms(0.5),
        p99_ms=driven.quantile_ms(0.99),
        user_us=cpu.user_s * 1e6 / requests,
        system_us=cpu.system_s * 1e6 / requests,
        foreign_cores=max(0.0, foreign_s - cpu.user_s - cpu.system_s) / driven.seconds,
    )


def calibrate(server: Server, cell: Cell, cpu_s: float, wall_s: float) -> int:
    """Return how many requests make the server spend cpu_s of CPU, within wall_s of time."""
    requests = 20 * CLIENTS * cell.pipeline
    while True:
        sample = measure(server, cell, requests)
        if sample.cpu_us * requests >= 0.15e6 or sample.seconds > min(1.0, wall_s):
            break
        requests *= 4
    wanted = min(cpu_s * 1e6 / max(sample.cpu_us, 0.01), wall_s * sample.throughput)
    pipelines = math.ceil(wanted / cell.pipeline)
    # Fewer than four pipelines per client would measure little but the start and the end.
    return max(pipelines, 4 * CLIENTS) * cell.pipeline


def _lay(server: Server, cell: Cell, requests: int) -> None:
    """Lay down what the requests need; raises BenchError."""
    if not cell.is_type:
        return
    connection = server.connect()
    try:
        TYPE_CELLS[cell.command].lay(connection, requests)
    except LayError as error:
        raise BenchError(f"{server.name}, {cell.name}: {error}") from error
    finally:
        connection.close()


def _calls(server: Server, command: str) -> tuple[int | None, int]:
    """Return how often a command ran, from INFO commandstats, None where there is no such thing,
    and how often it failed.
    """
    connection = server.connect()
    try:
        info = connection.call("INFO", "commandstats")
    finally:
        connection.close()
    if isinstance(info, hiredis.ReplyError) or b"cmdstat_" not in info:
        return None, 0
    match = re.search(
        rb"cmdstat_%s:calls=(\d+).*?failed_calls=(\d+)" % command.lower().encode(), info
    )
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read_csv(output: str) -> dict[str, str] | None:
    """Return the only row; None unless there is exactly one."""
    lines = [line for line in output.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    return rows[0] if len(rows) == 1 else None
