"""The workers of `support/mesh.py` with real segments, on disks in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shoal.proto import messages as m
from shoal.proto.manifest import WorkerFiles
from shoal.supervisor.coordinator import Coordinator
from shoal.supervisor.recovery import decide_live
from shoal.worker.aof import Source, load, open_segment, scan
from shoal.worker.replay import Replayer
from support.disk import FakeDisk, FakeSyncer
from support.mesh import NOW_MS, Mesh, Node

DIRECTORY: Final = "/aof"


class LoggedMesh(Mesh):
    """Workers with a log. What a turn has logged is written before anything leaves the worker."""

    def __init__(self, workers: int, coordinator: type[Coordinator] = Coordinator) -> None:
        super().__init__(workers, coordinator)
        self.disks = [FakeDisk(index) for index in range(workers)]
        self.files = [WorkerFiles((), None, ("log",)) for _ in range(workers)]
        for node, disk in zip(self.nodes, self.disks, strict=True):
            disk.make_directory(DIRECTORY)
            disk.close(disk.open(f"{DIRECTORY}/log", create=True))
            self.load(node)

    def load(self, node: Node) -> Mapping[int, object]:
        """Let a worker have what its log holds; return the tickets in it without #REL."""
        index = node.index
        disk, files = self.disks[index], self.files[index]
        plan = decide_live(index, scan(disk, DIRECTORY, files))
        replayer = Replayer(node.store)
        source = Source(files, plan.end, plan.skip)
        load(disk, DIRECTORY, source, replayer.apply, now_ms=NOW_MS)
        assert not replayer.failed, replayer.first_failure
        segment = open_segment(
            disk, DIRECTORY, files, "no", FakeSyncer(disk), open_tickets=plan.logged
        )
        node.server.segment = node.dispatcher.segment = segment
        node.dispatcher.start(segment.release, node.generations)
        node.participant = node.dispatcher.participant
        node.store.log = segment.log
        return plan.logged

    def write_log(self, node: Node) -> None:
        assert node.dispatcher.segment is not None
        assert node.dispatcher.segment.flush(NOW_MS)

    def hear(self, node: Node) -> bool:
        if node.down and node.down[0][0] == m.RELEASED:
            assert node.dispatcher.segment is not None
            for ticket in node.down.popleft()[1]:
                node.dispatcher.segment.release(ticket)
            return True
        return super().hear(node)
