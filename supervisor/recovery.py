"""What a start makes of the segments, and the directory that they are in.

A start has two phases. First each segment is scanned (by workers, in parallel) for the parts of
spanning commands, then `decide` says from all the reports where each segment ends and which parts
are skipped. After a crash the segments end where their disks stopped, so of a ticket some parts may
be lost. The rule:

- A ticket is *complete* when every participant's segment holds its part before that segment's end.
- The part of an incomplete ticket is skipped where it is found. Nothing that was logged behind it
  can depend on it: its keys were locked.
- That holds up to its `#REL`: there the locks go, and what follows may depend on the part that is
  lost elsewhere. So a segment ends before the first `#REL` of an incomplete ticket.
- An earlier end may make more tickets incomplete; repeat until nothing changes.

Under `always` nobody logs a `#REL` before every part is on its disk, so nothing is cut and whatever
was acknowledged stays. A ticket skipped once must stay so, also when one worker restarts alone and
has only its own segment to look at, therefore the manifest has the list of the skipped.

The directory changes hands atomically with its manifest: files are made and synced before a
manifest names them and deleted after none does. What no manifest names is a leftover of a crash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from shoal.proto.aof_format import ScanReport
from shoal.proto.limits import MAX_MANIFEST_BYTES
from shoal.proto.manifest import (
    MANIFEST_NAME,
    Base,
    Manifest,
    ManifestError,
    WorkerFiles,
    base_name,
    decode_manifest,
    encode_manifest,
    incr_name,
    parse_name,
)
from shoal.proto.slots import slot_range

LOCK_NAME: Final = "lock"
_TEMPORARY_NAME: Final = f"{MANIFEST_NAME}.tmp"
_REDIS_FILE: Final = re.compile(r".*\.(manifest|rdb|(base|incr)\.aof)")


class RecoveryError(Exception):
    """The server cannot start on this data; the text says why and what to do."""


# -- the decision ---------------------------------------------------------------------------------


class SegmentPlan(NamedTuple):
    """What becomes of one segment.

    Attributes:
        end: offset, through all its incremental files; what is behind it is cut off.
        skip: tickets whose parts in it are not applied.
        logged: the other tickets that it holds without `#REL`, with the part's reply (empty if that
            was not kept): their locks may still have to be taken, and `Segment` may release them.
    """

    end: int
    skip: frozenset[int]
    logged: Mapping[int, bytes]


class Plan(NamedTuple):
    """The decision.

    Attributes:
        segments: by worker.
        skipped: all the tickets that are skipped somewhere, ascending; for the manifest.
        last_ticket: the largest in any segment.
    """

    segments: tuple[SegmentPlan, ...]
    skipped: tuple[int, ...]
    last_ticket: int


def decide(
    reports: Sequence[ScanReport], skipped: Collection[int] = (), *, load_truncated: bool = True
) -> Plan:
    """Find the consistent end of all segments, after a crash or not.

    Args:
        reports: of every worker's segment, by worker.
        skipped: as the manifest has them.
        load_truncated: accept a segment that ends in the middle of a record.
    Raises: RecoveryError when a segment is damaged.
    """
    for worker, report in enumerate(reports):
        check_report(worker, report, load_truncated=load_truncated)
    held = _tickets_by_group(reports)
    ends = [report.end for report in reports]
    while True:
        missing = _missing(reports, held)
        cut = False
        for worker, report in enumerate(reports):
            end = _first_release(report, missing.difference(skipped), ends[worker])
            if end < ends[worker]:
                ends[worker] = end
                first = bisect_left(report.offsets, end)
                for ticket, group in zip(
                    report.tickets[first:], report.groups[first:], strict=True
                ):
                    held[report.participants[group]][worker].discard(ticket)
                cut = True
        if not cut:
            break
    incomplete = missing.union(skipped)
    segments = tuple(
        _plan(report, end, incomplete) for report, end in zip(reports, ends, strict=True)
    )
    return Plan(
        segments,
        tuple(sorted(frozenset().union(*(segment.skip for segment in segments)))),
        max((report.last_ticket for report in reports), default=0),
    )


def decide_live(
    worker: int,
    report: ScanReport,
    skipped: Collection[int] = (),
    *,
    load_truncated: bool = True,
) -> SegmentPlan:
    """Decide for a worker that died alone: its other tickets are complete, or will be.

    The coordinator lives, and has the parts of every ticket in flight redone that a log lacks.
    Which of `logged` it still knows, and which are just missing their `#REL`, it says itself
    (`Coordinator.on_worker_ready`).
    Args and Raises: as in `decide`.
    """
    check_report(worker, report, load_truncated=load_truncated)
    return _plan(report, report.end, frozenset(skipped))


def check_report(worker: int, report: ScanReport, *, load_truncated: bool = True) -> None:
    """Refuse a segment that a start must not touch. Raises: RecoveryError."""
    if report.damage is not None:
        raise RecoveryError(damage_text(*report.damage))
    if report.end < report.size and not load_truncated:
        raise RecoveryError(
            f"the last {report.size - report.end} bytes of worker {worker}'s append only file are"
            " half a record, and aof-load-truncated is no. With yes they are cut off (and kept in"
            " a file beside)."
        )


def damage_text(name: str, offset: int, reason: str) -> str:
    """Return what a start says of a damaged file, and the way out."""
    return (
        f"Bad file format reading the append only file {name}: {reason} at offset {offset}. Make a"
        f" backup of the directory, then either repair that place by hand, or run redis-check-aof"
        f" --fix {name}, which drops everything from there on. Spanning commands that lose a part"
        " by that are left out on the next start, and the other workers' files then end where the"
        " first of them had released its keys."
    )


Held = dict[tuple[int, ...], dict[int, set[int]]]


def _tickets_by_group(reports: Sequence[ScanReport]) -> Held:
    """Return participants -> worker -> tickets of theirs that its segment holds."""
    held: Held = {}
    for worker, report in enumerate(reports):
        by_group: list[set[int]] = []
        for group in report.participants:
            if worker not in group or group[-1] >= len(reports):
                raise RecoveryError(
                    f"worker {worker}'s append only file names participants {group} of a spanning"
                    f" command, but the manifest has {len(reports)} workers: it is not of this set"
                )
            workers = held.setdefault(group, {number: set() for number in group})
            by_group.append(workers[worker])
        for ticket, index in zip(report.tickets, report.groups, strict=True):
            by_group[index].add(ticket)
    return held


def _missing(reports: Sequence[ScanReport], held: Held) -> set[int]:
    """Return the tickets that not all their participants hold."""
    missing: set[int] = set()
    for workers in held.values():
        found = set().union(*workers.values())
        for worker, tickets in workers.items():
            base = reports[worker].base_ticket
            missing.update(ticket for ticket in found - tickets if ticket > base)
    return missing


def _first_release(report: ScanReport, tickets: set[int], end: int) -> int:
    """Return where the first of the tickets is released before the end, else the end."""
    if tickets:
        for ticket, at in zip(report.released, report.released_at, strict=True):
            if at >= end:
                break
            if ticket in tickets:
                return at
    return end


def _plan(report: ScanReport, end: int, incomplete: Collection[int]) -> SegmentPlan:
    tickets = set(report.tickets[: bisect_left(report.offsets, end)])
    skip = tickets.intersection(incomplete)
    released = report.released[: bisect_left(report.released_at, end)]
    replies = report.open_replies
    logged: dict[int, bytes] = {}
    for ticket in sorted(tickets.difference(skip, released)):
        reply = replies.get(ticket, b"")  # of one whose #REL was cut off nobody asks any more
        logged[ticket] = reply + b"\r\n" if reply else b""
    return SegmentPlan(end, frozenset(skip), logged)


def settle(manifest: Manifest, plan: Plan, policy: str) -> Manifest:
    """Return the manifest to be saved when all segments are loaded, before anything is served.

    Args:
        manifest: the one that the plan was made with.
        plan: what was done.
        policy: appendfsync from now on.
    """
    return manifest._replace(
        appendfsync=policy,
        last_ticket=max(manifest.last_ticket, plan.last_ticket),
        skipped=plan.skipped,
    )


def next_ticket(manifest: Manifest, plan: Plan) -> int:
    """Return the first ticket that may be given: no segment holds it or a later one."""
    return 1 + max(manifest.last_ticket, plan.last_ticket)


# -- the directory --------------------------------------------------------------------------------


class Disk:
    """The calls on the directory. All raise OSError; tests hand in one that does."""

    def make_directory(self, path: str) -> None:
        """Make it, if it is missing."""
        os.makedirs(path, mode=0o755, exist_ok=True)

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return os.listdir(path)

    def file_size(self, path: str) -> int:
        """Return a file's size."""
        return os.stat(path).st_size

    def read_file(self, path: str, limit: int) -> bytes:
        """Return the first bytes of a file, up to a limit."""
        with open(path, "rb") as file:
            return file.read(limit)

    def write_file(self, path: str, data: bytes) -> None:
        """Make a file, or replace its bytes, and sync it."""
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, source: str, target: str) -> None:
        """Rename a file over another."""
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        """Delete a file."""
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str, pid: int) -> int:
        """Lock a file and write the pid into it; return its descriptor.

        The lock belongs to the open file, which forked processes share: it is gone when the last of
        them is. Raises: RecoveryError with the pid in the file if it is locked already.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % pid, 0)
        except OSError as error:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            os.close(fd)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise RecoveryError(
                f"{os.path.dirname(path)} is in use by a live server (pid {holder or 'unknown'})."
                " Stop it, or give this one another dir or appenddirname."
            ) from None
        return fd

    def unlock(self, fd: int) -> None:
        """Close the lock; other processes may still have it."""
        os.close(fd)


class Directory:
    """An append only directory that this server has for itself.

    Attributes:
        path: of the directory.
        manifest: as it is on the disk.
        created: whether it was empty.
        leftovers: names of files that a crash had left behind, removed at the opening.
    """

    def __init__(self, disk: Disk, path: str, lock_fd: int) -> None:
        """Used by `open_directory`."""
        self.path = path
        self.manifest: Manifest
        self.created = False
        self.leftovers: list[str] = []
        self._disk = disk
        self._lock_fd = lock_fd

    def save(self, manifest: Manifest) -> None:
        """Replace the manifest, if it changes, and delete what it no longer names.

        Raises: OSError; then the old or the new one is in force, and `manifest` the old one.
        """
        if not self.created and manifest == self.manifest:
            return
        path = os.path.join(self.path, _TEMPORARY_NAME)
        self._disk.write_file(path, encode_manifest(manifest))
        self._disk.rename(path, os.path.join(self.path, MANIFEST_NAME))
        self._disk.sync_directory(self.path)
        self.manifest = manifest
        self._remove_unnamed()

    def prepare(self, workers: int) -> tuple[WorkerFiles, ...]:
        """Make files for another number of workers; no manifest names them yet.

        Returns: for each its slots, an empty incremental file that is there, and the name of a base
            that it has to write.
        """
        sequence = self.manifest.next_sequence()
        made: list[WorkerFiles] = []
        for worker in range(workers):
            slots = slot_range(worker, workers)
            name = incr_name(worker, sequence)
            self._disk.write_file(os.path.join(self.path, name), b"")
            base = Base(base_name(worker, sequence), 0, 0)
            made.append(WorkerFiles(((slots[0], slots[-1]),), base, (name,)))
        self._disk.sync_directory(self.path)
        return tuple(made)

    def switch(self, files: Sequence[WorkerFiles], sizes: Sequence[int], settled: Manifest) -> None:
        """Let the new files take the place of the old ones, which are deleted.

        Args:
            files: from `prepare`; the bases are written and synced by now.
            sizes: of the bases.
            settled: the old manifest after `settle`: tickets and policy are taken from it.
        Raises: OSError, as `save`.
        """
        self._disk.sync_directory(self.path)  # the bases' names
        last = settled.last_ticket
        workers: list[WorkerFiles] = []
        for new, size in zip(files, sizes, strict=True):
            assert new.base is not None
            workers.append(new._replace(base=Base(new.base.name, size, last)))
        self.save(Manifest(tuple(workers), settled.appendfsync, last))

    def close(self) -> None:
        """Give up our hold of the lock; workers that live on keep theirs."""
        self._disk.unlock(self._lock_fd)

    def _open(self, workers: int, policy: str) -> None:
        names = self._disk.names(self.path)
        if MANIFEST_NAME in names:
            self._load(set(names))
        else:
            self._create(names, workers, policy)
        self.leftovers = self._remove_unnamed()

    def _load(self, names: set[str]) -> None:
        path = os.path.join(self.path, MANIFEST_NAME)
        try:
            self.manifest = decode_manifest(self._disk.read_file(path, MAX_MANIFEST_BYTES))
        except ManifestError as error:
            raise RecoveryError(
                f"{path} is damaged: {error}. Restore it, or move the directory away to start"
                " empty."
            ) from None
        missing = sorted(self.manifest.names() - names)
        if missing:
            raise RecoveryError(
                f"{path} names {', '.join(missing)}, which the directory lacks. Restore it, or move"
                " the directory away to start empty."
            )

    def _create(self, names: list[str], workers: int, policy: str) -> None:
        for name in sorted(names):
            if name == _TEMPORARY_NAME:
                continue  # of an earlier first start, which a crash ended
            if _is_ours(name):
                path = os.path.join(self.path, name)
                if self._disk.file_size(path):
                    raise RecoveryError(
                        f"{path} has data, but there is no {MANIFEST_NAME}. Restore it, or move the"
                        " directory away to start empty."
                    )
            elif _REDIS_FILE.fullmatch(name):
                raise RecoveryError(
                    f"{self.path} has a file of Redis, {name}. Give Shoal another appenddirname;"
                    " its data can be copied from the running Redis."
                )
        self.created = True
        self.manifest = Manifest((), policy)
        files = tuple(new._replace(base=None) for new in self.prepare(workers))
        self.save(Manifest(files, policy))

    def _remove_unnamed(self) -> list[str]:
        named = self.manifest.names()
        names = sorted(self._disk.names(self.path))
        unnamed = [name for name in names if _is_ours(name) and name not in named]
        for name in unnamed:
            self._disk.unlink(os.path.join(self.path, name))
        return unnamed


def _is_ours(name: str) -> bool:
    """Tell whether a file is one that a manifest has to name, or a manifest in the making."""
    if name == _TEMPORARY_NAME:
        return True
    try:
        parse_name(name)
    except ManifestError:
        return False
    return True


def open_directory(disk: Disk, path: str, workers: int, policy: str, pid: int) -> Directory:
    """Lock a directory and read its manifest; make what is missing.

    Args:
        disk: where it is.
        path: of the directory, in an existing one.
        workers: how many a new manifest gets; an old one may have another number: see `prepare`.
        policy: appendfsync for a new manifest; an old one keeps its own until `settle`.
        pid: of this process.
    Raises: RecoveryError; OSError.
    """
    disk.make_directory(path)
    disk.sync_directory(os.path.dirname(os.path.abspath(path)))
    directory = Directory(disk, path, disk.lock(os.path.join(path, LOCK_NAME), pid))
    try:
        directory._open(workers, policy)
    except BaseException:
        directory.close()
        raise
    return directory
