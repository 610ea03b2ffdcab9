"""The start of all workers: what is sent to whom, and what the directory holds afterwards.

The directory is real, on a disk in memory; workers are lists of messages, and what they report is
written here.
"""

import errno
import marshal
from collections.abc import Sequence
from typing import Any

import pytest
from shoal.proto import messages as m
from shoal.proto.aof_format import ScanReport
from shoal.proto.manifest import MANIFEST_NAME, Manifest
from shoal.proto.slots import slot_range
from shoal.supervisor.recovery import Directory, RecoveryError, open_directory
from shoal.supervisor.startup import Startup
from support.disk import FakeDisk

FIGURES = {"last_stamp_ms": 0, "base_bytes": 0}


def report(*parts: str, size: int = 100, end: int = 100, stamp_ms: int = 0) -> list[Any]:
    """Return one report on the wire: `5:01` is a part of ticket 5 of both workers, `-5` its end."""
    found = ScanReport(size=size, end=end, last_stamp_ms=stamp_ms)
    for at, part in enumerate(parts):
        ticket, colon, workers = part.partition(":")
        if colon:
            found.add_part(int(ticket), tuple(map(int, workers)), b"+OK", at)
        else:
            found.add_release(int(part[1:]), at)
    return [found.to_wire()]


class Start:
    """One start with so many workers, on a directory of so many."""

    def __init__(
        self,
        workers: int,
        old: int | None = None,
        *,
        policy: str = "everysec",
        load_truncated: bool = True,
        disk: FakeDisk | None = None,
    ) -> None:
        self.disk = disk or FakeDisk()
        self.sent: list[tuple[int, m.Message]] = []
        self.directory: Directory | None = None
        if old is not None:
            self.directory = open_directory(self.disk, "dir", old, "everysec", 1)
        self.startup = Startup(
            workers, self.directory, policy, self._send, load_truncated=load_truncated
        )

    def _send(self, worker: int, message: m.Message) -> None:
        assert marshal.loads(marshal.dumps(message)) == message, "does not survive the wire"
        self.sent.append((worker, message))

    def take(self, kind: int) -> dict[int, tuple[Any, ...]]:
        """Return what each worker was sent since the last call, all of one kind."""
        sent, self.sent = self.sent, []
        assert {message[0] for _, message in sent} <= {kind}
        found = {worker: message[1:] for worker, message in sent}
        assert len(found) == len(sent), "two messages to one worker"
        return found

    @property
    def manifest(self) -> Manifest:
        assert self.directory is not None
        return self.directory.manifest

    def loaded(self, *figures: dict[str, int]) -> None:
        """Let the workers say that they are done, the last one first."""
        for worker, said in reversed(list(enumerate(figures))):
            assert not self.startup.done
            self.startup.on_loaded(worker, said)


def test_without_a_log_there_is_nothing_to_do() -> None:
    start = Start(3)
    assert start.take(m.LOAD) == {0: (None,), 1: (None,), 2: (None,)}
    start.loaded(FIGURES, FIGURES, FIGURES)
    startup = start.startup
    assert startup.done
    assert not startup.resplit
    assert (startup.next_ticket, startup.last_stamp_ms) == (1, 0)
    assert start.sent == []


def test_the_same_number_of_workers() -> None:
    start = Start(2, 2, policy="always")
    shares = start.take(m.SCAN)
    assert shares == {
        worker: ([(((slots[0], slots[-1]),), None, (f"appendonly.{worker}.1.incr.aof",))], False)
        for worker in (0, 1)
        for slots in [slot_range(worker, 2)]
    }
    # Ticket 5 is whole and released in one only, 7 is incomplete, 6 is over.
    start.startup.on_scanned(1, report("6:01", "5:01", "-5", "-6"))
    assert start.sent == []
    assert start.startup.next_ticket == 1
    start.startup.on_scanned(0, report("6:01", "-6", "5:01", "7:01"))
    loads = start.take(m.LOAD)
    assert loads == {
        0: ((shares[0][0][0], 100, (7,), (5,), "always"),),
        1: ((shares[1][0][0], 100, (), (), "always"),),
    }
    assert start.startup.logged == [{5: b"+OK\r\n"}, {}]
    assert start.startup.next_ticket == 8
    assert (start.manifest.appendfsync, start.manifest.last_ticket) == ("everysec", 0)

    start.loaded({**FIGURES, "last_stamp_ms": 70}, {**FIGURES, "last_stamp_ms": 90})
    assert start.startup.done
    assert start.startup.last_stamp_ms == 90
    saved = start.manifest
    assert (saved.appendfsync, saved.last_ticket, saved.skipped) == ("always", 7, (7,))
    assert start.sent == []


def test_a_ticket_once_skipped_stays_skipped_at_the_next_start() -> None:
    first = Start(2, 2)
    first.startup.on_scanned(0, report("7:01"))
    first.startup.on_scanned(1, report())
    first.loaded(FIGURES, FIGURES)
    assert first.directory is not None
    first.directory.close()
    again = Start(2, 2, disk=first.disk)
    again.take(m.SCAN)
    again.startup.on_scanned(0, report("7:01", "8:01"))
    again.startup.on_scanned(1, report("8:01"))
    assert again.take(m.LOAD)[0][0][2:4] == ((7,), (8,))
    assert again.startup.next_ticket == 9


CHANGES = [(1, 2), (1, 3), (2, 5), (3, 2), (3, 1), (5, 2)]


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=str)
def test_another_number_of_workers(old: int, new: int) -> None:
    start = Start(new, old)
    startup = start.startup
    before = start.manifest
    assert startup.resplit
    shares = start.take(m.SCAN)
    assert sorted(shares) == list(range(new))  # also those for whom there is nothing to look at
    scanned = {worker: [files[2][0] for files in share] for worker, (share, _) in shares.items()}
    assert scanned == {
        worker: [f"appendonly.{n}.1.incr.aof" for n in range(worker, old, new)]
        for worker in range(new)
    }
    assert all(exact for _, exact in shares.values())
    parts = "01234"[:old]
    for worker in reversed(range(new)):
        assert start.sent == []  # until the last segment's report is there
        reports = [
            wire
            for number in range(worker, old, new)
            for wire in report(f"5:{parts}", *([f"6:{parts}"] if number == 0 else []))
        ]
        startup.on_scanned(worker, reports)

    splits = start.take(m.RESPLIT)
    whole = old == 1  # then ticket 6 has all its parts
    sources = [
        ((((slots[0], slots[-1]),), None, (f"appendonly.{n}.1.incr.aof",)), 100, skip)
        for n in range(old)
        for slots in [slot_range(n, old)]
        for skip in [(6,) if n == 0 and not whole else ()]
    ]
    assert splits == {n: (sources, f"appendonly.{n}.2.base.aof") for n in range(new)}
    assert start.manifest == before

    for worker in range(new):
        start.disk.put(f"dir/appendonly.{worker}.2.base.aof", b"x" * (worker + 1))
    start.loaded(*({"last_stamp_ms": 50 + n, "base_bytes": n + 1} for n in range(new)))
    assert not startup.done
    assert not startup.resplit
    assert len(start.manifest.workers) == new
    loads = start.take(m.LOAD)
    for worker in range(new):
        slots = slot_range(worker, new)
        files = (
            ((slots[0], slots[-1]),),
            (f"appendonly.{worker}.2.base.aof", worker + 1, 6),
            (f"appendonly.{worker}.2.incr.aof",),
        )
        assert loads[worker] == ((files, 0, (), (), "everysec"),)
    assert list(startup.logged) == [{}] * new
    names = set(start.disk.names("dir")) - {MANIFEST_NAME, "lock"}
    assert names == start.manifest.names()

    # The bases have no stamp of their own that counts more than those of the old segments.
    start.loaded(*[FIGURES] * new)
    assert startup.done
    assert startup.last_stamp_ms == 50 + new - 1
    assert startup.next_ticket == 7
    assert start.manifest.last_ticket == 6
    assert start.manifest.skipped == ()


def test_a_start_that_was_split_anew_is_an_ordinary_one_the_next_time() -> None:
    first = Start(3, 2)
    first.take(m.SCAN)
    for worker, reports in enumerate((report(), report(), [])):
        first.startup.on_scanned(worker, reports)
    first.take(m.RESPLIT)
    for worker in range(3):
        first.disk.put(f"dir/appendonly.{worker}.2.base.aof", b"x")
    first.loaded(*[{"last_stamp_ms": 5, "base_bytes": 1}] * 3)
    first.loaded(*[FIGURES] * 3)
    assert first.directory is not None
    first.directory.close()
    again = Start(3, 3, disk=first.disk)
    assert not again.startup.resplit
    assert [exact for _, exact in again.take(m.SCAN).values()] == [False] * 3


def damaged() -> list[Any]:
    found = ScanReport(size=100, end=40, damage=("appendonly.0.1.incr.aof", 40, "no '*'"))
    return [found.to_wire()]


ERRORS: dict[str, tuple[Sequence[list[Any]], bool, str]] = {
    "damage": ([damaged(), report()], True, "appendonly.0.1.incr.aof: no '\\*' at offset 40"),
    "damage elsewhere": ([report(), damaged()], True, "no '\\*' at offset 40"),
    "a truncated tail that is not allowed": (
        [report(), report(end=90)],
        False,
        "last 10 bytes of worker 1's append only file are half a record",
    ),
    "of another set": ([report("5:07"), report()], True, "it is not of this set"),
}


@pytest.mark.parametrize(("reports", "truncated", "text"), ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("workers", [2, 1])
def test_what_ends_the_start(
    reports: Sequence[list[Any]], truncated: bool, text: str, workers: int
) -> None:
    start = Start(workers, 2, load_truncated=truncated)
    start.take(m.SCAN)
    before = start.manifest
    shares = [[one for n in reports[worker::workers] for one in n] for worker in range(workers)]
    *first, last = enumerate(shares)
    for worker, share in first:
        start.startup.on_scanned(worker, share)
    with pytest.raises(RecoveryError, match=text):
        start.startup.on_scanned(*last)
    assert start.sent == []  # nothing was cut
    assert start.manifest == before
    assert not start.startup.done


def test_a_truncated_tail_is_cut_when_that_is_allowed() -> None:
    start = Start(1, 1)
    start.take(m.SCAN)
    start.startup.on_scanned(0, report(end=90))
    assert start.take(m.LOAD)[0][0][1] == 90


@pytest.mark.parametrize("call", ["write_file", "rename", "sync_directory"])
def test_a_manifest_that_cannot_be_saved_is_no_start(call: str) -> None:
    start = Start(1, 1, policy="always")
    start.startup.on_scanned(0, report())
    start.disk.fail(call, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        start.startup.on_loaded(0, FIGURES)
    assert not start.startup.done


def test_new_files_that_cannot_be_made_are_no_start() -> None:
    start = Start(2, 1)
    start.take(m.SCAN)
    start.startup.on_scanned(1, [])
    start.disk.fail("write_file", errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        start.startup.on_scanned(0, report())
    assert start.sent == []
    assert len(start.manifest.workers) == 1
