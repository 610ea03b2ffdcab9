"""How many bytes does an element cost on Shoal, beside redis-server?

For each kind of value a fresh server is filled through pipelines, and what the resident memory of
all its processes has grown by is divided by the number of elements. Run it from the repository's
root, `python -m loadtests.bench_memory`; loadtests/README.md says how to read what it writes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import hiredis

from loadtests.machine import describe
from loadtests.report import table
from loadtests.resp import Command
from loadtests.servers import Server, ServerError, running

RESULTS = Path(__file__).parent / "results"
SERVERS = ["redis-7", "shoal-1", "shoal-2"]
BASE = "redis-7"
COUNT = 1_000_000
PIPELINE = 500

SMALL_LIMIT = 2.5
BIG_LIMIT = 2.0


@dataclass(frozen=True)
class Kind:
    """What a server is filled with.

    fill: count -> commands that make so many elements; each must be answered without an error.
    limit: bound of the ratio of Shoal's bytes per element to redis-server's.
    """

    name: str
    what: str
    limit: float
    fill: Callable[[int], Iterator[Command]]


@dataclass(frozen=True)
class Measured:
    """Bytes of one element, and seconds that the filling took, this client included."""

    bytes_each: float
    seconds: float


def _strings(count: int) -> Iterator[Command]:
    value = b"x" * 64
    return (("SET", b"key:%07d" % i, value) for i in range(count))


def _hashes(count: int) -> Iterator[Command]:
    for i in range(count):
        fields = [word for n in range(5) for word in (b"field:%d" % n, b"%010d" % (i + n))]
        yield "HSET", b"hash:%07d" % i, *fields


def _many(words: list[bytes], *start: str) -> Iterator[Command]:
    """Yield commands of 100 of the words each."""
    for at in range(0, len(words), 100):
        yield *start, *words[at : at + 100]


def _sorted_set(count: int) -> Iterator[Command]:
    # In an order that is neither that of the scores nor that of the members: 7919 is prime.
    pairs = ((b"%d" % (i * 7919 % count), b"member:%07d" % i) for i in range(count))
    return _many([word for pair in pairs for word in pair], "ZADD", "zset")


def _list(count: int) -> Iterator[Command]:
    return _many([b"element:%07d" % i for i in range(count)], "RPUSH", "list")


def _set(count: int) -> Iterator[Command]:
    return _many([b"member:%07d" % i for i in range(count)], "SADD", "set")


def _stream(count: int) -> Iterator[Command]:
    first_ms = 1_700_000_000_000
    ids = (b"%d-0" % (first_ms + i) for i in range(count))
    return (("XADD", "stream", entry, "field", b"value:%07d" % i) for i, entry in enumerate(ids))


KINDS = [
    Kind("strings", "strings of 64 bytes", SMALL_LIMIT, _strings),
    Kind("hashes", "hashes of 5 fields of 10 bytes", SMALL_LIMIT, _hashes),
    Kind("zset", "members of one sorted set", BIG_LIMIT, _sorted_set),
    Kind("list", "elements of one list", BIG_LIMIT, _list),
    Kind("set", "members of one set", BIG_LIMIT, _set),
    Kind("stream", "entries of one stream", BIG_LIMIT, _stream),
]


def measure(name: str, kind: Kind, count: int) -> Measured:
    """Fill a fresh server; raises ServerError if it cannot be started or answers an error."""
    with running(name) as server:
        before = _resident(server)
        begun = time.monotonic()
        connection = server.connect()
        try:
            commands = kind.fill(count)
            while chunk := list(islice(commands, PIPELINE)):
                for reply in connection.pipeline(chunk):
                    if isinstance(reply, hiredis.ReplyError):
                        raise ServerError(f"{name}, {kind.name}: {reply}")
        finally:
            connection.close()
        return Measured((_resident(server) - before) / count, time.monotonic() - begun)


def _resident(server: Server) -> int:
    """Return the resident memory of all processes of a server, bytes."""
    return sum(process.memory_info().rss for process in server.processes)


def markdown(
    results: dict[tuple[str, str], Measured],
    servers: list[str],
    kinds: list[Kind],
    count: int,
    machine: dict[str, str],
) -> str:
    """Write the report."""
    ours = [name for name in servers if name != BASE]
    rows = []
    for kind in kinds:
        base = results.get((BASE, kind.name))
        row = [kind.what, _bytes(base)]
        for name in ours:
            found = results.get((name, kind.name))
            ratio = found.bytes_each / base.bytes_each if found and base else None
            missed = ratio is not None and ratio > kind.limit
            row += [_bytes(found), _ratio(ratio, missed=missed)]
        rows.append([*row, f"{kind.limit}"])
    header = ["", BASE, *[word for name in ours for word in (name, "ratio")], "limit"]
    seconds = [
        [kind.what, *[_seconds(results.get((name, kind.name))) for name in servers]]
        for kind in kinds
    ]
    return "\n".join(
        [
            "# Memory",
            "",
            f"Bytes per element: growth of the resident memory of all processes of a fresh server "
            f"that is filled with {count:,} elements.",
            "",
            *table(header, rows),
            "",
            "Seconds to fill it, most of them this client's:",
            "",
            *table(["", *servers], seconds),
            "",
            *table(["Machine", ""], [[label, text] for label, text in machine.items()]),
            "",
        ]
    )


def _bytes(found: Measured | None) -> str:
    return "-" if found is None else f"{found.bytes_each:.1f}"


def _seconds(found: Measured | None) -> str:
    return "-" if found is None else f"{found.seconds:.1f}"


def _ratio(ratio: float | None, *, missed: bool) -> str:
    if ratio is None:
        return "-"
    return f"**{ratio:.2f}**" if missed else f"{ratio:.2f}"


def main() -> int:
    """Measure, write the table; return 1 if a server broke."""
    options = _options()
    chosen = options.only.split(",") if options.only else [kind.name for kind in KINDS]
    kinds = [kind for kind in KINDS if kind.name in chosen]
    if len(kinds) < len(chosen):
        raise SystemExit(f"no such kind in {options.only}: {[kind.name for kind in KINDS]}")
    servers = options.servers.split(",")
    results: dict[tuple[str, str], Measured] = {}
    failed = False
    for kind in kinds:
        for name in servers:
            try:
                found = measure(name, kind, options.count)
            except (ServerError, OSError) as error:
                print(f"FAILED {name}, {kind.name}: {error}", file=sys.stderr, flush=True)
                failed = True
                continue
            results[name, kind.name] = found
            each, seconds = found.bytes_each, found.seconds
            print(f"  {kind.name:8} {name:8} {each:8.1f} bytes each, {seconds:.1f} s", flush=True)
    machine = describe(servers, Path(tempfile.gettempdir()).resolve())
    text = markdown(results, servers, kinds, options.count, machine)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "memory.md").write_text(text)
    print(f"Wrote {options.out.name}/memory.md; bold is above its limit")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_memory", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help="elements")
    parser.add_argument(
        "--only", metavar="KINDS", help=f"comma separated: {','.join(kind.name for kind in KINDS)}"
    )
    parser.add_argument(
        "--servers", default=",".join(SERVERS), metavar="NAMES", help="comma separated"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="of the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
