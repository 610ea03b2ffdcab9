"""Medians, bounds and the Markdown table."""

import statistics
from dataclasses import dataclass

from loadtests.cells import CLIENTS, COMMANDS, PIPELINES, VALUE_BYTES, Cell, Sample, type_cells
from loadtests.spanning_cells import SPANNING_CELLS
from loadtests.type_cells import KEYS, TYPE_CELLS

# (server, cell) -> round -> sample.
Results = dict[tuple[str, Cell], dict[int, Sample]]

ONE_WORKER_LIMITS = {1: 1.15, 16: 1.5, 64: 1.7}
TWO_WORKERS_LIMIT = 1.6
FOUR_WORKERS_LIMIT = 1.25
EVERYSEC_LIMIT = 1.25
TYPE_LIMIT = 2.0
TRANSACTION_LIMIT = 1.3


@dataclass(frozen=True)
class Bound:
    """A promise about a ratio of CPU times per command, and what was measured.

    ratio, lowest, highest: over the rounds. us, base_us: medians, microseconds per command.
    """

    what: str
    limit: float
    ratio: float
    lowest: float
    highest: float
    us: float
    base_us: float

    @property
    def met(self) -> bool:
        """Whether the ratio is within the limit."""
        return self.ratio <= self.limit

    def line(self) -> str:
        """Say it in one line."""
        return (
            f"{'met   ' if self.met else 'MISSED'} {self.what}: {self.ratio:.2f}x, "
            f"limit {self.limit}x ({self.us:.2f} us against {self.base_us:.2f} us, "
            f"rounds {self.lowest:.2f} to {self.highest:.2f})"
        )


def bounds(results: Results) -> list[Bound]:
    """Judge the bounds of which both sides were measured."""
    asked: list[tuple[str, str, Cell, str, Cell, float]] = []
    for command in COMMANDS:
        for pipeline in PIPELINES:
            cell = Cell(command, pipeline, "no")
            what = f"{cell.name}, one worker against redis-7"
            asked.append((what, "shoal-1", cell, "redis-7", cell, ONE_WORKER_LIMITS[pipeline]))
    for more, fewer, limit in ((2, 1, TWO_WORKERS_LIMIT), (4, 2, FOUR_WORKERS_LIMIT)):
        for command in COMMANDS:
            cell = Cell(command, 16, "no")
            what = f"{cell.name}, {more} workers against {fewer}"
            asked.append((what, f"shoal-{more}", cell, f"shoal-{fewer}", cell, limit))
    plain, everysec = Cell("SET", 16, "no"), Cell("SET", 16, "everysec")
    for name in ("shoal-1", "shoal-2", "shoal-4"):
        what = f"SET P16, {name}, everysec against no append only file"
        asked.append((what, name, everysec, name, plain, EVERYSEC_LIMIT))
    for cell in type_cells():
        what = f"{cell.name}, one worker against redis-7"
        asked.append((what, "shoal-1", cell, "redis-7", cell, TYPE_LIMIT))
    transaction, alone = Cell("MULTI 3", 1, "no"), Cell("MULTI 3 alone", 1, "no")
    for name in ("shoal-1", "shoal-2", "shoal-4", "redis-7"):
        what = f"MULTI, 3 SET, EXEC against its commands without MULTI, {name}"
        asked.append((what, name, transaction, name, alone, TRANSACTION_LIMIT))
    judged = []
    for what, name, cell, base_name, base_cell, limit in asked:
        rounds, base = results.get((name, cell), {}), results.get((base_name, base_cell), {})
        # Within a round the two were measured next to each other, so noise hit both alike.
        ratios = [s.cpu_us / base[n].cpu_us for n, s in rounds.items() if n in base]
        if ratios:
            judged.append(
                Bound(
                    what,
                    limit,
                    statistics.median(ratios),
                    min(ratios),
                    max(ratios),
                    statistics.median(s.cpu_us for s in rounds.values()),
                    statistics.median(s.cpu_us for s in base.values()),
                )
            )
    return judged


def median(results: Results, name: str, cell: Cell) -> Sample | None:
    """Return the median of each figure over the rounds, None where nothing was measured."""
    samples = list(results.get((name, cell), {}).values())
    if not samples:
        return None
    return Sample(
        requests=samples[0].requests,
        counted=samples[0].counted,
        seconds=statistics.median(s.seconds for s in samples),
        throughput=statistics.median(s.throughput for s in samples),
        p50_ms=statistics.median(s.p50_ms for s in samples),
        p99_ms=statistics.median(s.p99_ms for s in samples),
        user_us=statistics.median(s.user_us for s in samples),
        system_us=statistics.median(s.system_us for s in samples),
        foreign_cores=statistics.median(s.foreign_cores for s in samples),
    )


def reading_order(cells: list[Cell]) -> list[Cell]:
    """Sort cells for a reader: by policy, command and pipeline."""
    policies, commands = ["no", "everysec", "always"], [*COMMANDS, *TYPE_CELLS, *SPANNING_CELLS]
    return sorted(
        cells, key=lambda c: (policies.index(c.policy), commands.index(c.command), c.pipeline)
    )


def markdown(
    results: Results,
    servers: list[str],
    cells: list[Cell],
    machine: dict[str, str],
    judged: list[Bound],
) -> str:
    """Write the report."""
    ordered = reading_order(cells)
    lines = [
        "# Benchmark results",
        "",
        f"redis-benchmark, {CLIENTS} clients, {KEYS} random keys, values of {VALUE_BYTES} bytes, "
        "all keys present; P is the pipeline.",
        "Medians over the rounds; CPU is user and system time of all processes of the server.",
        "",
        *table(["Machine", ""], [[label, text] for label, text in machine.items()]),
        "",
        "## CPU per command, microseconds",
        "",
    ]
    rows = []
    for cell in ordered:
        medians = [median(results, name, cell) for name in servers]
        rows.append([cell.name, *[f"{m.cpu_us:.2f}" if m else "-" for m in medians]])
    lines += table(["", *servers], rows)
    requests = [c for c in ordered if c.is_spanning]
    if requests:
        lines += ["", "## Requests", "", "Figures of these are per request, which is:", ""]
        rows = [[c.name, SPANNING_CELLS[c.command].what] for c in requests]
        lines += table(["", "what a client sends at once"], rows)
    lines += ["", "## Bounds", ""]
    if not judged:
        lines.append("None: of no bound were both sides measured.")
    lines += table(
        ["", "CPU", "against", "ratio", "rounds", "limit", ""],
        [
            [
                b.what,
                f"{b.us:.2f} us",
                f"{b.base_us:.2f} us",
                f"{b.ratio:.2f}",
                f"{b.lowest:.2f} to {b.highest:.2f}",
                f"{b.limit}",
                "met" if b.met else "**missed**",
            ]
            for b in judged
        ],
    )
    lines += ["", "## All figures", ""]
    rows = []
    for cell in ordered:
        for name in servers:
            m = median(results, name, cell)
            if m is not None:
                figures = [f"{m.throughput:.0f}", f"{m.p50_ms:.2f}", f"{m.p99_ms:.2f}"]
                figures += [f"{m.user_us:.2f}", f"{m.system_us:.2f}", f"{m.foreign_cores:.2f}"]
                rows.append([cell.name, name, *figures])
    header = ["", "server", "commands/s", "p50 ms", "p99 ms", "user us", "system us", "noise cores"]
    lines += table(header, rows)
    return "\n".join(lines) + "\n"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    body = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(row) + " |" for row in body]
