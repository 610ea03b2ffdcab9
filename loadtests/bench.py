"""Shoal, two redis-servers and fakeredis under redis-benchmark, interleaved on one machine.

One question: how much CPU does a command cost on each server? Run it from the repository's root,
`python -m loadtests.bench`; loadtests/README.md says how to read what it writes.
"""

import argparse
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from loadtests.cells import (
    BenchError,
    Cell,
    Sample,
    calibrate,
    measure,
    preload,
    spanning_cells,
    string_cells,
    type_cells,
)
from loadtests.machine import describe, load_average
from loadtests.plot import draw
from loadtests.report import Results, bounds, markdown
from loadtests.servers import (
    DEFAULT_SERVERS,
    POLICIES,
    NotInstalledError,
    Server,
    ServerError,
    running,
    version_of,
)

RESULTS = Path(__file__).parent / "results"
QUICK_CELLS = ["GET P1", "SET P1", "GET P16", "INCR P16", "MSET P16", "SET P16", "SET P16 everysec"]
# One tick of the CPU clock is 10 ms, for each process and side: 1.5 s keep it near one percent.
CPU_SECONDS, QUICK_CPU_SECONDS = 1.5, 0.9
WALL_SECONDS, QUICK_WALL_SECONDS = 5.0, 3.0
REPEAT, QUICK_REPEAT = 5, 2
BUDGET_SECONDS, QUICK_BUDGET_SECONDS = 23 * 60.0, 3.5 * 60.0


class Bench:
    """The rounds: in each, every server runs every cell once, in an order that rotates."""

    def __init__(self, servers: list[str], cells: list[Cell], quick: bool, data_dir: Path | None):
        """Nothing is started before run_round."""
        self._servers = servers
        self._cells = cells
        self._cpu_s = QUICK_CPU_SECONDS if quick else CPU_SECONDS
        self._wall_s = QUICK_WALL_SECONDS if quick else WALL_SECONDS
        self._data_dir = data_dir
        self._requests: dict[tuple[str, Cell], int] = {}
        self.results: Results = {}
        self.failures: list[str] = []
        self.miscounts: set[str] = set()
        self.calibration_s = 0.0

    def run_round(self, number: int) -> None:
        """Measure every cell on every server once, on fresh servers."""
        for policy in POLICIES:
            cells = [cell for cell in self._cells if cell.policy == policy]
            # fakeredis keeps no append only file.
            names = [n for n in self._servers if policy == "no" or n != "fakeredis"]
            if not cells:
                continue
            with ExitStack() as stack:
                started = [self._start(stack, name, policy, cells) for name in names]
                servers = [server for server in started if server is not None]
                for position, cell in enumerate(cells):
                    # No server may always run first, or always after the same one.
                    turn = (number + position) % max(1, len(servers))
                    for server in servers[turn:] + servers[:turn]:
                        self._run(server, cell, number)

    def _start(self, stack: ExitStack, name: str, policy: str, cells: list[Cell]) -> Server | None:
        try:
            server = stack.enter_context(running(name, policy, self._data_dir))
            if not all(cell.is_type for cell in cells):
                preload(server)
        except (ServerError, BenchError, OSError) as error:
            self._fail(f"{name}, append only file {policy}: {error}")
            return None
        return server

    def _run(self, server: Server, cell: Cell, number: int) -> None:
        key = (server.name, cell)
        try:
            if key not in self._requests:
                begun = time.monotonic()
                self._requests[key] = calibrate(server, cell, self._cpu_s, self._wall_s)
                self.calibration_s += time.monotonic() - begun
            sample = measure(server, cell, self._requests[key])
        except (ServerError, BenchError, OSError) as error:
            self._fail(str(error))
            return
        self.results.setdefault(key, {})[number] = sample
        if sample.counted not in (None, sample.requests):
            said = f"{server.name}: commandstats is wrong about {cell.command}"
            print(f"{said}: {sample.counted}, sent were {sample.requests}", file=sys.stderr)
            self.miscounts.add(said)
        print(_line(server.name, cell, sample), flush=True)

    def _fail(self, what: str) -> None:
        print(f"FAILED {what}", file=sys.stderr, flush=True)
        self.failures.append(what)


def main() -> int:
    """Run, write the results, print the bounds; return 1 if a server or the benchmark broke."""
    options = _options()
    # SystemExit unwinds the stack, which stops the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers, missing = _installed(options.servers)
    cells = _selected(options.group, options.only, options.quick)
    out = options.out or (RESULTS / "quick" if options.quick else RESULTS)
    repeat = options.repeat or (QUICK_REPEAT if options.quick else REPEAT)
    budget_s = options.budget or (QUICK_BUDGET_SECONDS if options.quick else BUDGET_SECONDS)
    out.mkdir(parents=True, exist_ok=True)
    if options.profile:
        return _profile(servers, cells, out, options.data_dir)

    machine = describe(servers, (options.data_dir or Path(tempfile.gettempdir())).resolve())
    machine["Load average before"] = load_average()
    bench = Bench(servers, cells, options.quick, options.data_dir)
    begun, done, round_s = time.monotonic(), 0, 0.0
    for number in range(repeat):
        elapsed_s = time.monotonic() - begun
        if elapsed_s + round_s > budget_s:
            print(f"Stopping after {done} of {repeat} rounds: {elapsed_s:.0f} s are gone")
            break
        print(f"Round {number + 1} of {repeat}", flush=True)
        bench.run_round(number)
        # Only the first round calibrates, so this is what the next one will take.
        done, round_s = number + 1, (time.monotonic() - begun - bench.calibration_s) / (number + 1)
    machine["Load average after"] = load_average()
    machine["Rounds"] = str(done)
    machine["Commands counted"] = "; ".join(sorted(bench.miscounts)) or "as many as were sent"
    machine["Not measured"] = "; ".join(missing + bench.failures) or "nothing left out"

    judged = bounds(bench.results)
    text = markdown(bench.results, servers, cells, machine, judged)
    name = "bench"
    if all(cell.is_type for cell in cells):
        name = "types"
    elif all(cell.is_spanning for cell in cells):
        name = "spanning"
    (out / f"{name}.md").write_text(text)
    (out / f"{name}.json").write_text(_json(bench.results, machine) + "\n")
    draw(bench.results, servers, cells, machine, out / f"{name}.png")
    for bound in judged:
        print(bound.line())
    print(f"Wrote {name}.md, {name}.json and {name}.png; {time.monotonic() - begun:.0f} s")
    return 1 if bench.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cells, rounds and seconds")
    parser.add_argument(
        "--group",
        choices=("strings", "types", "spanning", "all"),
        help="which cells: by default those on strings, or any that --only names",
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="cells to run, comma separated shell patterns: 'SET P16*', 'GET P1,*always'",
    )
    parser.add_argument(
        "--servers",
        metavar="NAMES",
        help=f"comma separated, default {','.join(DEFAULT_SERVERS)}; shoal-N has N workers",
    )
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="start no round beyond it")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the results go")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where servers keep files")
    parser.add_argument(
        "--profile", action="store_true", help="no table: py-spy on the first server, first cell"
    )
    return parser.parse_args()


def _installed(asked: str | None) -> tuple[list[str], list[str]]:
    """Return the servers to run, and why others are not; one that was asked for must be there."""
    present, missing = [], []
    for name in asked.split(",") if asked else DEFAULT_SERVERS:
        try:
            version_of(name)
            present.append(name)
        except NotInstalledError as error:
            if asked:
                raise
            missing.append(str(error))
            print(f"Not measured: {error}", file=sys.stderr)
    return present, missing


def _selected(group: str | None, only: str | None, quick: bool) -> list[Cell]:
    """Return the cells to run; without a group those on strings, or of all those that `only`
    names.
    """
    if group is None:
        group = "all" if only else "strings"
    groups = {"strings": string_cells, "types": type_cells, "spanning": spanning_cells}
    known = [cell for name, list_ in groups.items() if group in (name, "all") for cell in list_()]
    quick_ones = QUICK_CELLS if quick and group in ("strings", "all") else ["*"]
    patterns = only.split(",") if only else quick_ones
    cells = [c for c in known if any(fnmatch.fnmatch(c.name, p) for p in patterns)]
    if not cells:
        raise SystemExit(f"no cell matches {only}; there are {[c.name for c in known]}")
    return cells


def _line(name: str, cell: Cell, sample: Sample) -> str:
    return (
        f"  {cell.name:16} {name:10} {sample.cpu_us:9.2f} us "
        f"({sample.user_us:.2f} user, {sample.system_us:.2f} system) "
        f"{sample.throughput:10.0f}/s p50 {sample.p50_ms:.3f} ms p99 {sample.p99_ms:.3f} ms"
        f" foreign {sample.foreign_cores:.2f}"
    )


def _json(results: Results, machine: dict[str, str]) -> str:
    samples = [
        {"server": name, **asdict(cell), "round": number, **asdict(sample)}
        for (name, cell), rounds in results.items()
        for number, sample in rounds.items()
    ]
    return json.dumps({"machine": machine, "samples": samples}, indent=1)


def _profile(servers: list[str], cells: list[Cell], out: Path, data_dir: Path | None) -> int:
    """Let py-spy watch all processes of one server during one cell; write its raw stacks."""
    beside_python = Path(sys.executable).parent
    spy = shutil.which("py-spy", path=os.pathsep.join([str(beside_python), os.environ["PATH"]]))
    if spy is None:
        raise SystemExit("--profile needs py-spy: pip install py-spy")
    name, cell = servers[0], cells[0]
    target = out / f"profile-{name}-{cell.name.replace(' ', '-')}.txt"
    with running(name, cell.policy, data_dir) as server:
        preload(server)
        requests = calibrate(server, cell, cpu_s=8.0, wall_s=8.0)
        argv = f"{spy} record --pid {server.processes[0].pid} --subprocesses"
        argv += " --duration 6 --rate 200 --format raw --output"
        recording = subprocess.Popen([*argv.split(), str(target)])
        try:
            measure(server, cell, requests)
        finally:
            code = recording.wait(60)
    if code:
        return code
    own: dict[str, int] = {}
    for line in target.read_text().splitlines():
        stack, count = line.rsplit(" ", 1)
        leaf = stack.rsplit(";", 1)[-1]
        own[leaf] = own.get(leaf, 0) + int(count)
    total = sum(own.values())
    for leaf, samples in sorted(own.items(), key=lambda item: -item[1])[:25]:
        print(f"{100 * samples / total:5.1f} % {leaf}")
    print(f"Wrote {target.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
