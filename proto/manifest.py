"""The manifest of an append only directory: which files hold the data, of how many workers.

A text file, replaced as a whole. Its last line is the CRC-32 of what is before it, in hex:

    format 1
    appendfsync everysec
    last_ticket 61
    skipped 57,59-60
    worker 0 slots 0-8191
    base 0 appendonly.0.3.base.aof size 1048576 ticket 40
    incr 0 appendonly.0.4.incr.aof
    worker 1 slots 8192-16383
    incr 1 appendonly.1.4.incr.aof
    sum 0f3a9c12

The data of a worker is its base, if it has one, and then its incremental files, in their order.
"""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

from shoal.proto.aof_format import decode_numbers, encode_numbers
from shoal.proto.limits import MAX_WORKERS
from shoal.proto.slots import SLOTS

FORMAT: Final = 1
MANIFEST_NAME: Final = "shoal.manifest"
POLICIES: Final = ("always", "everysec", "no")

_FILE: Final = re.compile(r"appendonly\.(0|[1-9][0-9]*)\.([1-9][0-9]*)\.(base|incr)\.aof")


class ManifestError(Exception):
    """The manifest is not what Shoal wrote, or not of a format that it knows."""


class Base(NamedTuple):
    """A base file.

    Attributes:
        name: of the file.
        size: in bytes; it never changes.
        ticket: every ticket up to this one that concerns its worker is in it, or was skipped.
    """

    name: str
    size: int
    ticket: int


class WorkerFiles(NamedTuple):
    """What belongs to one worker.

    Attributes:
        slots: those it owns, as ranges (first, last), ascending.
        base: None if there is none.
        incrs: names of the incremental files; to the last one it is appended.
    """

    slots: tuple[tuple[int, int], ...]
    base: Base | None
    incrs: tuple[str, ...]


class Manifest(NamedTuple):
    """Everything the manifest says.

    Attributes:
        workers: by number.
        appendfsync: the policy under which the files are written.
        last_ticket: no ticket up to this one may be given again.
        skipped: tickets that stand in a segment although they never came into effect (the part of
            another worker was lost in a crash), ascending.
    """

    workers: tuple[WorkerFiles, ...]
    appendfsync: str
    last_ticket: int = 0
    skipped: tuple[int, ...] = ()

    def names(self) -> set[str]:
        """Return the names of all its files."""
        bases = {files.base.name for files in self.workers if files.base is not None}
        return bases.union(*(files.incrs for files in self.workers))

    def next_sequence(self) -> int:
        """Return a sequence number that no file has yet."""
        return 1 + max((parse_name(name)[1] for name in self.names()), default=0)


def incr_name(worker: int, sequence: int) -> str:
    """Return the name of an incremental file.

    >>> incr_name(0, 4)
    'appendonly.0.4.incr.aof'
    """
    return f"appendonly.{worker}.{sequence}.incr.aof"


def base_name(worker: int, sequence: int) -> str:
    """Return the name of a base file.

    >>> base_name(0, 3)
    'appendonly.0.3.base.aof'
    """
    return f"appendonly.{worker}.{sequence}.base.aof"


def parse_name(name: str) -> tuple[int, int, str]:
    """Return worker, sequence number and "base" or "incr". Raises: ManifestError.

    >>> parse_name("appendonly.0.4.incr.aof")
    (0, 4, 'incr')
    """
    found = _FILE.fullmatch(name)
    if found is None:
        raise ManifestError(f"{name!r} is no name of a base or an incremental file")
    return int(found[1]), int(found[2]), found[3]


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the text of the file."""
    lines = [
        f"format {FORMAT}",
        f"appendfsync {manifest.appendfsync}",
        f"last_ticket {manifest.last_ticket}",
    ]
    if manifest.skipped:
        lines.append(f"skipped {encode_numbers(manifest.skipped)}")
    for number, files in enumerate(manifest.workers):
        ranges = ",".join(f"{first}-{last}" for first, last in files.slots)
        lines.append(f"worker {number} slots {ranges}")
        if files.base is not None:
            name, size, ticket = files.base
            lines.append(f"base {number} {name} size {size} ticket {ticket}")
        lines += [f"incr {number} {name}" for name in files.incrs]
    text = ("\n".join(lines) + "\n").encode()
    return b"%bsum %08x\n" % (text, zlib.crc32(text))


def decode_manifest(data: bytes) -> Manifest:
    """Return what `encode_manifest` was given. Raises: ManifestError."""
    at = data.rfind(b"sum ")
    if data.startswith(b"format ") and not data.startswith(b"format %d\n" % FORMAT):
        raise ManifestError(f"{data[:20]!r}: only format {FORMAT} is known")
    if at < 0 or data[at:] != b"sum %08x\n" % zlib.crc32(data[:at]):
        raise ManifestError("the checksum in its last line is not that of the lines before it")
    try:
        return _Lines(data[:at].decode("ascii")).manifest()
    except (ValueError, IndexError) as error:
        raise ManifestError(str(error)) from None


class _Lines:
    """The lines of a manifest, in their order."""

    def __init__(self, text: str) -> None:
        self._lines = [line.split(" ") for line in text.splitlines()]
        self._at = 0

    def manifest(self) -> Manifest:
        self._words("format")
        (policy,) = self._words("appendfsync")
        if policy not in POLICIES:
            raise ManifestError(f"appendfsync {policy!r} is none of {POLICIES}")
        (last_ticket,) = self._words("last_ticket")
        skipped: tuple[int, ...] = ()
        if self._next() == "skipped":
            skipped = decode_numbers(self._words("skipped")[0], int(last_ticket) + 1)
        workers: list[WorkerFiles] = []
        while self._next() == "worker":
            workers.append(self._worker(len(workers)))
        if self._next():
            raise ManifestError(f"line {self._at + 1} is not expected: {self._lines[self._at]}")
        manifest = Manifest(tuple(workers), policy, int(last_ticket), skipped)
        _check(manifest)
        return manifest

    def _worker(self, worker: int) -> WorkerFiles:
        number, _, ranges = self._words("worker")
        if int(number) != worker:
            raise ManifestError(f"worker {number} where worker {worker} is expected")
        slots = [item.split("-") for item in ranges.split(",")]
        base = None
        if self._next() == "base":
            _, name, _, size, _, ticket = self._words("base")
            base = Base(name, int(size), int(ticket))
        incrs: list[str] = []
        while self._next() == "incr":
            incrs.append(self._words("incr")[1])
        return WorkerFiles(
            tuple((int(first), int(last)) for first, last in slots), base, tuple(incrs)
        )

    def _next(self) -> str:
        return self._lines[self._at][0] if self._at < len(self._lines) else ""

    def _words(self, kind: str) -> list[str]:
        first, *words = self._lines[self._at]
        if first != kind:
            raise ManifestError(f"line {self._at + 1} is {first!r}, expected {kind!r}")
        self._at += 1
        return words


def _check(manifest: Manifest) -> None:
    """Check what the text cannot: every slot has one owner, every worker a file of its own."""
    if not 1 <= len(manifest.workers) <= MAX_WORKERS:
        raise ManifestError(f"{len(manifest.workers)} workers, limit {MAX_WORKERS}")
    ranges = sorted(pair for files in manifest.workers for pair in files.slots)
    expected = 0
    for first, last in ranges:
        if first != expected or last < first:
            raise ManifestError(f"slot {expected} is not owned once")
        expected = last + 1
    if expected != SLOTS:
        raise ManifestError(f"slot {expected} is not owned once")
    seen: set[str] = set()
    for number, files in enumerate(manifest.workers):
        if not files.incrs:
            raise ManifestError(f"worker {number} has no incremental file")
        named = [(name, "incr") for name in files.incrs]
        if files.base is not None:
            named.append((files.base.name, "base"))
        for name, kind in named:
            worker, _, found = parse_name(name)
            if (worker, found) != (number, kind) or name in seen:
                raise ManifestError(f"{name} as {kind} file of worker {number}")
            seen.add(name)
