"""The start of all workers together: scan, decide, load; what each is told next
(docs/persistence.md).

    scan every segment -> decide -> load -> save the manifest
                            |
                            +-- another number of workers: write new bases, switch the manifest,
                            load

`Startup` does no I/O but that of the directory it is given; messages go through `send`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.proto import messages as m
from shoal.proto.aof_format import ScanReport
from shoal.proto.manifest import WorkerFiles
from shoal.supervisor import recovery
from shoal.supervisor.recovery import Directory, Plan, SegmentPlan

Send = Callable[[int, m.Message], None]


def wire_files(files: WorkerFiles) -> tuple[Any, ...]:
    """Return a manifest's entry as marshal takes it."""
    base = None if files.base is None else tuple(files.base)
    return files.slots, base, files.incrs


def wire_load(files: WorkerFiles, plan: SegmentPlan, policy: str) -> tuple[Any, ...]:
    """Return the segment of a LOAD message."""
    return wire_files(files), plan.end, tuple(plan.skip), tuple(plan.logged), policy


class Startup:
    """The first start of all workers.

    Attributes:
        logged: by worker, the tickets with the replies that its segment holds without `#REL`.
        next_ticket: the first that may be given.
        last_stamp_ms: the largest in any segment.
        done: everything is in memory, and the manifest is saved.
    """

    def __init__(
        self,
        workers: int,
        directory: Directory | None,
        policy: str,
        send: Send,
        *,
        load_truncated: bool,
    ) -> None:
        """Begin: without a directory there is nothing to scan."""
        self.logged: list[Mapping[int, bytes]] = [{}] * workers
        self.next_ticket = 1
        self.last_stamp_ms = 0
        self.done = False
        self._workers = workers
        self._directory = directory
        self._policy = policy
        self._send = send
        self._load_truncated = load_truncated
        self._reports: dict[int, ScanReport] = {}
        self._loaded: dict[int, dict[str, int]] = {}
        self._plan: Plan | None = None
        self._new_files: tuple[WorkerFiles, ...] | None = None  # while new bases are being written
        if directory is None:
            for worker in range(workers):
                send(worker, (m.LOAD, None))
            return
        segments = directory.manifest.workers
        # To be split anew each must be known to its very end; else the load finds it.
        exact = len(segments) != workers
        for worker in range(workers):
            share = [wire_files(files) for files in segments[worker::workers]]
            send(worker, (m.SCAN, share, exact))

    @property
    def resplit(self) -> bool:
        """Whether the number of workers has changed."""
        directory = self._directory
        return directory is not None and len(directory.manifest.workers) != self._workers

    def on_scanned(self, worker: int, reports: list[Any]) -> None:
        """Take a worker's reports; the last ones decide. Raises: RecoveryError; OSError."""
        directory = self._directory
        assert directory is not None
        for position, wire in enumerate(reports):
            self._reports[worker + position * self._workers] = ScanReport.from_wire(wire)
        manifest = directory.manifest
        count = len(manifest.workers)
        if len(self._reports) < count or self._plan is not None:
            return
        plan = self._plan = recovery.decide(
            [self._reports[number] for number in range(count)],
            manifest.skipped,
            load_truncated=self._load_truncated,
        )
        self.next_ticket = recovery.next_ticket(manifest, plan)
        if count == self._workers:
            self._load(plan)
            return
        self._new_files = directory.prepare(self._workers)
        sources = [
            (wire_files(files), segment.end, tuple(segment.skip))
            for files, segment in zip(manifest.workers, plan.segments, strict=True)
        ]
        for number, files in enumerate(self._new_files):
            assert files.base is not None
            self._send(number, (m.RESPLIT, sources, files.base.name))

    def _load(self, plan: Plan) -> None:
        assert self._directory is not None
        files = self._directory.manifest.workers
        self.logged = [segment.logged for segment in plan.segments]
        for number, segment in enumerate(plan.segments):
            self._send(number, (m.LOAD, wire_load(files[number], segment, self._policy)))

    def on_loaded(self, worker: int, figures: dict[str, int]) -> None:
        """Note that a worker is done; the last one ends the step. Raises: OSError."""
        self._loaded[worker] = figures
        if len(self._loaded) < self._workers:
            return
        loaded, self._loaded = self._loaded, {}
        self.last_stamp_ms = max(
            self.last_stamp_ms, *(figures["last_stamp_ms"] for figures in loaded.values())
        )
        directory, plan = self._directory, self._plan
        if directory is None:
            self.done = True
            return
        assert plan is not None
        settled = recovery.settle(directory.manifest, plan, self._policy)
        if self._new_files is None:
            directory.save(settled)
            self.done = True
            return
        sizes = [loaded[number]["base_bytes"] for number in range(self._workers)]
        directory.switch(self._new_files, sizes, settled)
        self._new_files = None
        # The bases hold everything: of the new segments nothing is skipped, cut or open.
        fresh = Plan((SegmentPlan(0, frozenset(), {}),) * self._workers, (), 0)
        self._plan = fresh
        self._load(fresh)
