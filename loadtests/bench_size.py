"""Does a command cost more when the value is large? Time per call at 1,000 to 1,000,000 elements.

The first part runs in this process, without sockets: the cases of tests/support/size_cases.py on
values of three sizes, then what concerns a whole value: making it, scanning, copying, deleting and
emptying it. The second part asks real servers: how long does another client's PING take while
values of a million elements are deleted? Run it from the repository's root with tests/ in
PYTHONPATH (`make bench-size`); loadtests/README.md says how to read what it writes.

A median is that of wall clock times, as the CPU clock takes longer to read than many a call; half
of the calls and more are not interrupted, so it is CPU time all the same. A worst call is by the
CPU clock: what the machine does meanwhile does not count.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import hiredis
from shoal.worker.expire import GARBAGE_STEPS
from support.size_cases import CASES, TYPES, Case, Sized, bulks_of, call, fill, prepare

from loadtests.machine import describe
from loadtests.report import table
from loadtests.resp import Command, Connection
from loadtests.servers import NotInstalledError, Server, ServerError, running

RESULTS = Path(__file__).parent / "results"
SIZES = [1_000, 30_000, 1_000_000]
CALLS = 2000
SERVERS = ["shoal-1", "redis-8"]
PIPELINE = 200
# Of whole values and of PINGs.
ROUNDS = 3
# Of PINGs before and after what another client does: enough to free a million elements.
BEFORE_S, AFTER_S = 0.2, 1.2
SLICE_LIMIT_MS = 5.0

SCANS = {"hash": b"HSCAN", "set": b"SSCAN", "zset": b"ZSCAN"}
# What takes one element away; a hash's needs a field, a stream's one less than there are.
EMPTIED_BY = {
    "list": (b"LPOP",),
    "hash": (b"HDEL",),
    "set": (b"SPOP",),
    "zset": (b"ZPOPMIN",),
    "lex": (b"ZPOPMAX",),
    "stream": (b"XTRIM", b"MAXLEN"),
}


@dataclass(frozen=True)
class Cost:
    """Of many calls of one kind: median and worst, microseconds."""

    median_us: float
    worst_us: float


class Calls:
    """Times of a sequence of calls that is made several times over: of each call the shortest.

    What a value does to itself it does at the same place each time; what the machine does, it does
    anywhere.
    """

    def __init__(self) -> None:
        self._ns = array("q")
        self._at = 0

    def again(self) -> None:
        """Begin anew with the first one."""
        self._at = 0

    def add(self, ns: int) -> None:
        """Note what the next call took."""
        if self._at == len(self._ns):
            self._ns.append(ns)
        elif ns < self._ns[self._at]:
            self._ns[self._at] = ns
        self._at += 1

    def __len__(self) -> int:
        return len(self._ns)

    @property
    def sum_ms(self) -> float:
        """All together, milliseconds."""
        return sum(self._ns) / 1e6

    @property
    def worst_ms(self) -> float:
        """The worst of them, milliseconds."""
        return max(self._ns, default=0) / 1e6


@dataclass
class Whole:
    """What concerns a whole value."""

    fill: Calls = field(default_factory=Calls)
    scan: Calls = field(default_factory=Calls)
    copy: Calls = field(default_factory=Calls)
    empty: Calls = field(default_factory=Calls)
    delete: Calls = field(default_factory=Calls)
    free: Calls = field(default_factory=Calls)

    def again(self) -> None:
        """Begin another round."""
        for calls in (self.fill, self.scan, self.copy, self.empty, self.delete, self.free):
            calls.again()


@dataclass
class Results:
    """All that was measured in this process."""

    costs: dict[tuple[Case, int], Cost] = field(default_factory=dict)
    wholes: dict[tuple[str, int], Whole] = field(default_factory=dict)


class Stopwatch:
    """Measures calls with the CPU clock of this thread, less what reading it takes."""

    def __init__(self) -> None:
        pauses = []
        for _ in range(1000):
            begun = time.thread_time_ns()
            pauses.append(time.thread_time_ns() - begun)
        self._own_ns = round(statistics.median(pauses))

    def since(self, begun_ns: int) -> int:
        """Return the nanoseconds since `time.thread_time_ns` was `begun_ns`."""
        return max(0, time.thread_time_ns() - begun_ns - self._own_ns)


# -- in this process -------------------------------------------------------------------------------


def measure_case(case: Case, at: Sized, count: int, watch: Stopwatch) -> Cost:
    """Run a case so many times."""
    calls = case.calls(at)
    argv = next(calls)
    store, ks = at.store, at.ks
    wall, worst = [], 0
    for _ in range(count):
        handler, args = prepare(argv)
        store.dirty, store.effects = 0, None
        cpu = time.thread_time_ns()
        begun = time.perf_counter_ns()
        reply = call(handler, ks, args)
        wall.append(time.perf_counter_ns() - begun)
        worst = max(worst, watch.since(cpu))
        argv = calls.send(reply)
    return Cost(statistics.median(wall) / 1000, worst / 1000)


def measure_whole(kind: str, at: Sized, watch: Stopwatch, found: Whole) -> None:
    """Scan, copy, empty and delete the value of a kind; it is gone then."""
    key = kind.encode()

    def timed(calls: Calls, *argv: bytes) -> bytes:
        begun = time.thread_time_ns()
        reply = at.run(*argv)
        calls.add(watch.since(begun))
        return reply

    cursor = b"0"
    while kind in SCANS:
        cursor = bulks_of(timed(found.scan, SCANS[kind], key, cursor, b"COUNT", b"100"))[0]
        if cursor == b"0":
            break
    timed(found.copy, b"COPY", key, b"copy")
    name, *options = EMPTIED_BY[kind]
    for left in reversed(range(at.size)):
        words = [name, b"copy", *options]
        if kind == "hash":
            words.append(b"field:%07d" % left)
        elif kind == "stream":
            words.append(b"%d" % left)
        timed(found.empty, *words)
    at.run(b"DEL", b"copy")  # there is one only of the stream, with the pending entries
    at.store.free_some(sys.maxsize)
    timed(found.delete, b"DEL", key)
    while at.store.garbage:
        begun = time.thread_time_ns()
        at.store.free_some(GARBAGE_STEPS)
        found.free.add(watch.since(begun))
    if len(at.ks):
        raise RuntimeError(f"the {kind} is not empty")


def measure_fill(kind: str, at: Sized, watch: Stopwatch, found: Whole) -> None:
    """Fill a value element by element."""
    ks = at.ks
    for argv in fill(kind, at.size, at_once=1):
        handler, args = prepare(argv)
        at.store.effects = None
        begun = time.thread_time_ns()
        call(handler, ks, args)
        found.fill.add(watch.since(begun))
    at.take_ids(kind)


def measure(sizes: list[int], kinds: list[str], count: int) -> Results:
    """Measure all cases of these kinds."""
    results = Results()
    watch = Stopwatch()
    # As in a worker.
    gc.disable()
    gc.freeze()
    for size in sizes:
        for kind in kinds:
            at = Sized(size)
            at.fill(kind)
            for case in (case for case in CASES if case.kind == kind):
                results.costs[case, size] = measure_case(case, at, count, watch)
            whole = results.wholes[kind, size] = Whole()
            for _ in range(ROUNDS):
                whole.again()
                at = Sized(size)
                measure_fill(kind, at, watch, whole)
                measure_whole(kind, at, watch, whole)
            print(f"  {kind} of {size:,} elements", flush=True)
    return results


# -- real servers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Latency:
    """Of one client's PINGs while another client did something; milliseconds but for the count."""

    pings: int
    p50_ms: float
    p999_ms: float
    worst_ms: float
    call_ms: float


class Pinger:
    """A client that sends one PING after the other, in a thread of its own."""

    def __init__(self, server: Server) -> None:
        self._connection = server.connect()
        self._stop = threading.Event()
        self._seconds: list[float] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        connection, seconds, stop = self._connection, self._seconds, self._stop
        while not stop.is_set():
            begun = time.perf_counter()
            connection.call("PING")
            seconds.append(time.perf_counter() - begun)

    def __enter__(self) -> "Pinger":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def latency(self, call_ms: float) -> Latency:
        """Sum up, once it has ended."""
        ordered = sorted(self._seconds)
        return Latency(
            len(ordered),
            ordered[len(ordered) // 2] * 1000,
            ordered[len(ordered) * 999 // 1000] * 1000,
            ordered[-1] * 1000,
            call_ms,
        )


def _fill_server(connection: Connection, kind: str, size: int) -> None:
    commands: Iterator[Command] = map(tuple, fill(kind, size))
    while chunk := list(islice(commands, PIPELINE)):
        for reply in connection.pipeline(chunk):
            if isinstance(reply, hiredis.ReplyError):
                raise ServerError(f"{kind}: {reply}")


def measure_pings(name: str, kinds: list[str], size: int) -> dict[tuple[str, str], Latency]:
    """Return (kind, what was done) -> latency: of ROUNDS rounds the one with the least worst PING.

    What a server does to itself it does in every round, and what the machine does in some.
    """
    rounds: dict[tuple[str, str], list[Latency]] = {}
    with running(name) as server:
        first = Connection("127.0.0.1", server.port, timeout_s=120.0)

        def timed(*argv: bytes) -> float:
            begun = time.perf_counter()
            reply = first.call(*argv)
            if isinstance(reply, hiredis.ReplyError) or not reply:
                raise ServerError(f"{name}: {argv!r}: {reply!r}")
            return (time.perf_counter() - begun) * 1000

        def watched(kind: str, what: str, *argv: bytes) -> None:
            with Pinger(server) as pinger:
                time.sleep(BEFORE_S)
                call_ms = timed(*argv)
                time.sleep(AFTER_S)
            rounds.setdefault((kind, what), []).append(pinger.latency(call_ms))

        for _ in range(ROUNDS):
            watched("", "nothing", b"PING")
        for kind in kinds:
            key = kind.encode()
            copy = b"copy:{%b}" % key
            _fill_server(first, kind, size)
            for _ in range(ROUNDS):
                watched(kind, "COPY", b"COPY", key, copy)
                watched(kind, "DEL", b"DEL", copy)
                timed(b"COPY", key, copy)
                watched(kind, "UNLINK", b"UNLINK", copy)
                timed(b"COPY", key, copy)
                watched(kind, "expired", b"PEXPIRE", copy, b"100")
            timed(b"UNLINK", key)
            time.sleep(AFTER_S)
            print(f"  {name}: {kind}", flush=True)
        first.close()
    return {done: min(found, key=lambda one: one.worst_ms) for done, found in rounds.items()}


# -- the report ------------------------------------------------------------------------------------


def markdown(
    results: Results,
    pings: dict[str, dict[tuple[str, str], Latency]],
    sizes: list[int],
    machine: dict[str, str],
) -> str:
    """Write the report."""
    lines = [
        "# Size",
        "",
        "Microseconds per call, without client and connection, at values of so many elements: the "
        "median, and in brackets the worst single call. Growth is that of the median from the "
        "smallest to the largest; beside it what Redis's documentation says, N being the size of "
        "the value, M that of the reply, S the distance to the nearer end.",
        "",
    ]
    rows = []
    for case in CASES:
        costs = [results.costs.get((case, size)) for size in sizes]
        known = [cost for cost in costs if cost is not None]
        if not known:
            continue
        growth = f"{known[-1].median_us / known[0].median_us:.1f}"
        figures = [f"{cost.median_us:.1f} ({cost.worst_us:.0f})" if cost else "-" for cost in costs]
        rows.append([case.kind, case.name, *figures, growth, case.complexity])
    sized = [f"{size:,}" for size in sizes]
    lines += table(["", "", *sized, "growth", "Redis"], rows)
    lines += [
        "",
        "## Whole values",
        "",
        "Milliseconds. Of filling it one element at a time, of emptying it so, of a scan with "
        f"COUNT 100, and of the slices in which it is freed after DEL ({GARBAGE_STEPS} elements "
        f"each) the worst single call, bold above {SLICE_LIMIT_MS:.0f}; of scan and freeing also "
        f"the sum and the number of calls. All of it {ROUNDS} times over, and of each call the "
        "shortest time: what the machine does meanwhile does not count. COPY is one call, O(N) in "
        "Redis too. A stream has a consumer group in which all its entries are pending.",
        "",
    ]
    rows = []
    for (kind, size), whole in sorted(
        results.wholes.items(), key=lambda item: (TYPES.index(item[0][0]), item[0][1])
    ):
        rows.append(
            [
                f"{kind} of {size:,}",
                _worst(whole.fill),
                f"{whole.scan.sum_ms:.1f} / {len(whole.scan)}" if len(whole.scan) else "-",
                _worst(whole.scan) if len(whole.scan) else "-",
                f"{whole.copy.sum_ms:.1f}",
                _worst(whole.delete),
                f"{whole.free.sum_ms:.1f} / {len(whole.free)}",
                _worst(whole.free),
                _worst(whole.empty),
            ]
        )
    header = ["", "fill: worst", "scan: sum / calls", "scan: worst", "COPY", "DEL"]
    lines += table([*header, "freed: sum / calls", "freed: worst", "empty: worst"], rows)
    if pings:
        lines += _ping_lines(pings, sizes[-1])
    lines += ["", *table(["Machine", ""], [[label, text] for label, text in machine.items()]), ""]
    return "\n".join(lines)


def _ping_lines(pings: dict[str, dict[tuple[str, str], Latency]], size: int) -> list[str]:
    asked = list(next(iter(pings.values())))
    rows = []
    for kind, what in asked:
        row = [f"{what} {kind}".rstrip()]
        for found in pings.values():
            one = found[kind, what]
            row += [f"{one.call_ms:.1f}", f"{one.p50_ms:.2f}", f"{one.p999_ms:.2f}"]
            row.append(f"{one.worst_ms:.1f}")
        rows.append(row)
    header = [
        f"{name}{word}" for name in pings for word in (": call", " PING p50", " p99.9", " worst")
    ]
    return [
        "",
        "## Another client's PING",
        "",
        f"Milliseconds that a client's PINGs take while another one removes a value of {size:,} "
        f"elements, from {BEFORE_S} s before until {AFTER_S} s after it; the call is that of the "
        f"other client. Of {ROUNDS} rounds the one with the least worst PING. Client and server "
        "share the machine: compare with the first line.",
        "",
        *table(["", *header], rows),
    ]


def _worst(calls: Calls) -> str:
    ms = calls.worst_ms
    return f"**{ms:.2f}**" if ms > SLICE_LIMIT_MS else f"{ms:.2f}"


def main() -> int:
    """Measure, write the tables; return 1 if a server broke."""
    options = _options()
    kinds = options.only.split(",") if options.only else list(TYPES)
    if not set(kinds) <= set(TYPES):
        raise SystemExit(f"no such kind in {options.only}: {','.join(TYPES)}")
    sizes = [int(size) for size in options.sizes.split(",")]
    servers = options.servers.split(",") if options.servers else []
    results = measure(sizes, kinds, options.calls)
    pings = {}
    failed = False
    for name in servers:
        try:
            pings[name] = measure_pings(name, [kind for kind in kinds if kind != "lex"], sizes[-1])
        except NotInstalledError as error:
            print(f"not measured: {error}", file=sys.stderr, flush=True)
        except (ServerError, OSError) as error:
            print(f"FAILED {name}: {error}", file=sys.stderr, flush=True)
            failed = True
    machine = describe([*pings] or ["shoal-1"], Path(tempfile.gettempdir()).resolve())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "size.md").write_text(markdown(results, pings, sizes, machine))
    print(f"Wrote {options.out.name}/size.md")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_size", description=__doc__)
    parser.add_argument(
        "--sizes", default=",".join(map(str, SIZES)), metavar="N,N", help="numbers of elements"
    )
    parser.add_argument("--only", metavar="KINDS", help=f"comma separated: {','.join(TYPES)}")
    parser.add_argument("--calls", type=int, default=CALLS, metavar="N", help="calls of each case")
    parser.add_argument(
        "--servers", default=",".join(SERVERS), metavar="NAMES", help="to be pinged; '' for none"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="of the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
