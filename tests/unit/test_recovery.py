"""The decision about the segments after a crash, and the directory that they are in.

A property runs workers with real segments on a fake disk, lets the power fail, and recovers.
"""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from shoal.proto.aof_format import ScanReport
from shoal.proto.clock import first_stamp
from shoal.proto.manifest import (
    MANIFEST_NAME,
    Base,
    Manifest,
    WorkerFiles,
    decode_manifest,
    encode_manifest,
    incr_name,
)
from shoal.proto.slots import key_slot, owner_of, slot_range
from shoal.supervisor import recovery
from shoal.supervisor.recovery import (
    LOCK_NAME,
    Directory,
    Plan,
    RecoveryError,
    SegmentPlan,
    decide,
    decide_live,
    next_ticket,
    open_directory,
    settle,
)
from shoal.worker import aof
from shoal.worker.aof import Segment, Source
from support.disk import FakeDisk, FakeSyncer, PowerError

# -- the decision, in tables ----------------------------------------------------------------------


def report_of(text: str, base_ticket: int = 0) -> ScanReport:
    """Return the report of a segment in which every word is one byte long.

    `5:01` is worker 0's or 1's part of ticket 5, `-5` its `#REL`, anything else a record without
    a ticket.
    """
    words = text.split()
    report = ScanReport(size=len(words), end=len(words), base_ticket=base_ticket)
    for at, word in enumerate(words):
        ticket, colon, workers = word.partition(":")
        if colon:
            report.add_part(int(ticket), tuple(map(int, workers)), b"+OK", at)
        elif word.startswith("-"):
            report.add_release(int(word[1:]), at)
    return report


def outline(plan: Plan) -> list[tuple[int, set[int]]]:
    """Return (end, skipped tickets) of each segment."""
    return [(segment.end, set(segment.skip)) for segment in plan.segments]


# Segments by worker, their ends, and the tickets that each of them skips.
DECISIONS: dict[str, tuple[list[str], list[int], list[set[int]]]] = {
    "nothing": (["", ""], [0, 0], [set(), set()]),
    "no tickets": (["w w w", "w"], [3, 1], [set(), set()]),
    "complete and released": (["w 5:01 -5 w", "5:01 -5 w"], [4, 3], [set(), set()]),
    "complete, nowhere released": (["5:01 w", "5:01"], [2, 1], [set(), set()]),
    "complete, released in one": (["5:01 -5 w", "5:01 w"], [3, 2], [set(), set()]),
    "a part is lost": (["w 5:01 w", "w"], [3, 1], [{5}, set()]),
    "all parts are lost": (["w", "w", "5:23 -5", "5:23 -5"], [1, 1, 2, 2], [set()] * 4),
    "one of three is lost": (["5:012 w", "5:012", "w"], [2, 1, 1], [{5}, {5}, set()]),
    "what follows a skipped part stays": (["5:01 w 6:01 -6 w", "6:01"], [5, 1], [{5}, set()]),
    "the #REL of an incomplete ticket cuts": (["5:01 w -5 w w", "w"], [2, 1], [{5}, set()]),
    "it cuts every segment": (["5:012 -5 w", "w 5:012 -5", "w"], [1, 2, 1], [{5}, {5}, set()]),
    "the first of two": (["5:01 6:01 -6 w -5", ""], [2, 0], [{5, 6}, set()]),
    "the cut takes another ticket with it": (
        ["5:01 -5 6:02 w", "", "w 6:02 w"],
        [1, 0, 3],
        [{5}, set(), {6}],
    ),
    "and that one's #REL cuts elsewhere, and so on": (
        ["5:01 -5 6:02 -6", "", "6:02 w -6 7:23 -7", "7:23 w -7 8:34 w", "w 8:34 -8 w"],
        [1, 0, 2, 2, 2],
        [{5}, set(), {6}, {7}, {8}],
    ),
    "back to where it began": (
        ["7:01 w 5:01 -5 6:01 -7", "7:01 -7 6:01 -6 w"],
        [3, 3],
        [{5}, {6}],
    ),
    "a #REL that is lost anyway": (["5:01 -5 w", "5:01"], [3, 1], [set(), set()]),
}


@pytest.mark.parametrize(("segments", "ends", "skips"), DECISIONS.values(), ids=DECISIONS.keys())
def test_decide(segments: list[str], ends: list[int], skips: list[set[int]]) -> None:
    plan = decide([report_of(text) for text in segments])
    assert [segment.end for segment in plan.segments] == ends
    assert [segment.skip for segment in plan.segments] == skips
    assert plan.skipped == tuple(sorted(set().union(*skips)))
    # Cut there, the decision is the same: a second crash changes nothing.
    again = [" ".join(text.split()[:end]) for text, end in zip(segments, ends, strict=True)]
    assert outline(decide([report_of(text) for text in again])) == outline(plan)


def test_a_base_holds_its_tickets() -> None:
    reports = [report_of("5:01 -5 w"), report_of("w", base_ticket=5)]
    assert decide(reports).segments[0] == SegmentPlan(3, frozenset(), {})
    reports[1].base_ticket = 4
    assert decide(reports).segments[0] == SegmentPlan(1, frozenset({5}), {})


def test_a_ticket_once_skipped_stays_skipped() -> None:
    # Ticket 5 lost a part in an earlier crash, and this worker went on behind it.
    reports = [report_of("5:01 w 6:01 -6"), report_of("w 6:01")]
    plan = decide(reports, [5])
    assert outline(plan) == [(4, {5}), (2, set())]
    assert plan.skipped == (5,)
    # Its #REL was cut off then. Nothing is cut for it a second time.
    assert outline(decide([report_of("5:01 -5 w"), report_of("")], [5])) == [(3, {5}), (0, set())]
    # Nor does it come back if it looks complete: what followed it did not know of it.
    assert decide([report_of("5:01"), report_of("5:01")], [5]).segments[1].skip == {5}


def test_skipped_tickets_that_no_segment_holds_are_forgotten() -> None:
    assert decide([report_of("w"), report_of("6:01")], [5, 6]).skipped == (6,)


def test_logged_are_the_open_ones_with_their_reply() -> None:
    first = report_of("5:01 6:01 7:02 -5 8:02")
    first.open_replies |= {6: b":2", 7: b""}
    plan = decide([first, report_of("5:01 6:01"), report_of("7:02")])
    assert plan.segments[0].logged == {6: b":2\r\n", 7: b""}
    assert plan.segments[0].skip == {8}
    assert plan.segments[1].logged == {5: b"+OK\r\n", 6: b"+OK\r\n"}
    assert plan.last_ticket == 8


def test_a_ticket_whose_release_was_cut_off_is_open_again() -> None:
    plan = decide([report_of("4:01 5:01 -5 -4"), report_of("4:01")])
    assert plan.segments[0] == SegmentPlan(2, frozenset({5}), {4: b""})


def test_decide_live_trusts_the_others() -> None:
    report = report_of("4:01 5:01 6:01 -6 w")
    plan = decide_live(0, report, [4])
    assert plan == SegmentPlan(5, frozenset({4}), {5: b"+OK\r\n"})


@pytest.mark.parametrize("live", [False, True])
def test_what_a_start_refuses(live: bool) -> None:
    def judge(report: ScanReport, *, load_truncated: bool = True) -> None:
        if live:
            decide_live(0, report, load_truncated=load_truncated)
        else:
            decide([report, report_of("w")], load_truncated=load_truncated)

    report = report_of("w w w")
    report.end = 1
    judge(report)
    with pytest.raises(RecoveryError, match=r"last 2 bytes of worker 0.*aof-load-truncated is no"):
        judge(report, load_truncated=False)
    report.damage = "appendonly.0.1.incr.aof", 1234, "bad length b'x'"
    with pytest.raises(RecoveryError) as caught:
        judge(report)
    said = str(caught.value)
    assert "appendonly.0.1.incr.aof: bad length b'x' at offset 1234" in said
    assert "redis-check-aof --fix appendonly.0.1.incr.aof" in said, "the way out"
    assert "the other workers' files then end" in said, "and its price"


@pytest.mark.parametrize("text", ["5:12", "5:02"])
def test_segments_of_different_sets_are_refused(text: str) -> None:
    with pytest.raises(RecoveryError, match="it is not of this set"):
        decide([report_of(text), report_of("")])


MANIFEST = Manifest(
    (
        WorkerFiles(((0, 8191),), None, (incr_name(0, 1),)),
        WorkerFiles(((8192, 16383),), None, (incr_name(1, 1),)),
    ),
    "everysec",
    50,
    (40,),
)


@pytest.mark.parametrize(("last", "expected"), [(0, 50), (50, 50), (60, 60)])
def test_no_ticket_is_given_twice(last: int, expected: int) -> None:
    plan = Plan((), (41, 43), last)
    settled = settle(MANIFEST, plan, "always")
    assert settled == MANIFEST._replace(
        appendfsync="always", last_ticket=expected, skipped=(41, 43)
    )
    assert next_ticket(MANIFEST, plan) == next_ticket(settled, plan) == expected + 1


def test_a_cut_off_ticket_is_not_given_again() -> None:
    plan = decide([report_of("5:01 -5 9:01 -12"), report_of("")])
    assert plan.segments[0].end == 1
    assert next_ticket(MANIFEST._replace(last_ticket=0), plan) == 13


# -- the decision, after crashes ------------------------------------------------------------------

KEYS = [b"k%d" % number for number in range(8)]


@dataclass
class Write:
    """What a client wrote.

    Attributes:
        keys: worker -> the key there.
        ticket: 0 if there is only one.
        ends: worker -> the size of its log after the turn with the part.
        waits: the workers whose log has not acknowledged the part.
        kept: whether it has to survive every crash from now on.
    """

    keys: dict[int, bytes]
    ticket: int
    ends: dict[int, int] = field(default_factory=dict)
    waits: set[int] = field(default_factory=set)
    kept: bool = False


class Workers:
    """Workers that write tickets and single keys into real segments on one fake disk.

    What it models of the rest: a key of a ticket is locked on its worker from the part on, until
    that worker logs `#REL`, which it may do when all participants have acknowledged the part.
    """

    def __init__(self, seed: int, policy: str, ends: Sequence[str]) -> None:
        self.random = Random(seed)
        self.policy = policy
        self.ends = ends  # how a life may end: "power" is lost, or "kill" all processes
        self.end = ends[0]
        self.count = self.random.randint(2, 4)
        self.disk = FakeDisk(seed)
        self.disk.drop_pages = "kill" not in ends  # else nothing could be said of what is kept
        self.now_ms = 1
        self.number = 0
        self.writes: dict[int, Write] = {}  # by value
        self.order: dict[tuple[int, bytes], list[int]] = {}  # what stands in a log, by key
        self.open()
        self.start(self.recover())

    def open(self) -> None:
        self.directory = open_directory(self.disk, "dir", self.count, self.policy, 1)

    def start(self, plan: Plan) -> None:
        """Serve: the segments are loaded."""
        self.next_ticket = next_ticket(self.directory.manifest, plan)
        self.locked: set[tuple[int, bytes]] = set()
        self.releases: list[tuple[int, Write]] = []
        self.syncers = [FakeSyncer(self.disk) for _ in range(self.count)]
        self.segments: list[Segment] = []
        for worker, files in enumerate(self.directory.manifest.workers):
            logged = plan.segments[worker].logged
            segment = aof.open_segment(
                self.disk, "dir", files, self.policy, self.syncers[worker], open_tickets=logged
            )
            for ticket in logged:  # complete, and no coordinator knows of it
                segment.release(ticket)
            self.segments.append(segment)

    # -- turns

    def run(self, turns: int) -> None:
        """Take turns, of any worker, while disks fail now and then."""
        random = self.random
        for _ in range(turns):
            self.now_ms += random.choice((0, 1, 150))
            worker = random.randrange(self.count)
            chance = random.random()
            if chance < 0.03:
                self.disk.fail(random.choice(("pwrite", "fdatasync")), errno.ENOSPC, errno.EIO)
            elif chance < 0.06:
                self.disk.shorten(random.randint(1, 50))
            if self.syncers[worker].running is not None and random.random() < 0.3:
                self.syncers[worker].finish()
            for _ in range(random.randint(0, 3)):
                self.write(worker)
            for item in [item for item in self.releases if item[0] == worker]:
                if random.random() < 0.5:
                    self.release(*item)
            self.end_turn(worker)

    def write(self, home: int) -> None:
        """Let a client write a key of its home, or of others too, unless one is locked."""
        random = self.random
        others = [worker for worker in range(self.count) if worker != home]
        more = random.randint(1, len(others)) if random.random() < 0.5 else 0
        keys = {worker: random.choice(KEYS) for worker in [home, *random.sample(others, more)]}
        if not self.locked.isdisjoint(keys.items()):
            return
        self.number += 1
        write = self.writes[self.number] = Write(keys, 0, waits=set(keys))
        if more:
            write.ticket = self.next_ticket
            self.next_ticket += 1
        for worker, key in keys.items():
            self.order.setdefault((worker, key), []).append(self.number)
            argv = (b"SET", key, b"%d" % self.number)
            if more:
                self.locked.add((worker, key))
                self.segments[worker].log_ticket(write.ticket, tuple(keys), b"+OK", 0, [argv])
            else:
                self.segments[worker].log(0, argv)

    def release(self, worker: int, write: Write) -> None:
        self.releases.remove((worker, write))
        self.segments[worker].release(write.ticket)
        self.locked.remove((worker, write.keys[worker]))

    def end_turn(self, worker: int) -> None:
        acknowledged = self.segments[worker].flush(self.now_ms)
        size = self.segments[worker].info()["aof_current_size"]
        for write in self.writes.values():
            if worker in write.waits:
                write.ends.setdefault(worker, int(size))
                if acknowledged:
                    write.waits.remove(worker)
                    if not write.waits:
                        write.kept |= self.policy == "always"
                        if write.ticket:
                            self.releases += [(each, write) for each in write.keys]

    # -- the end, and the next start

    def stop(self) -> None:
        """Lose the power, or kill all processes."""
        self.disk.repair()
        self.end = self.random.choice(self.ends)
        if self.end == "power":
            self.disk.crash()
            return
        written = []
        for segment in self.segments:
            info = segment.info()
            written.append(int(info["aof_current_size"]) - int(info["aof_buffer_length"]))
        for write in self.writes.values():
            # What the turn wrote is in the page cache; a ticket is only acknowledged when it is.
            write.kept |= all(write.ends.get(w, 1 << 62) <= written[w] for w in write.keys)
            write.kept |= bool(write.ticket) and not write.waits
        self.disk.kill()

    def plan(self) -> tuple[Plan, list[bool]]:
        """Return the decision, and of each segment whether its end is proven."""
        manifest = self.directory.manifest
        reports = [aof.scan(self.disk, "dir", files) for files in manifest.workers]
        return decide(reports, manifest.skipped), [report.exact for report in reports]

    def recover(self) -> Plan:
        """Scan, decide, load, save the manifest, check; that may be interrupted anywhere."""
        plan, exact = self.plan()
        while True:
            self.disk.crash_before = self.random.choice((None, *range(4 * self.count)))
            try:
                applied = self.load(plan)
                self.directory.save(settle(self.directory.manifest, plan, self.policy))
                break
            except PowerError:
                if self.end == "power":
                    self.disk.crash()
                else:
                    self.disk.kill()
                self.open()
                again, exact_again = self.plan()
                for old, new, proven in zip(plan.segments, again.segments, exact, strict=True):
                    assert new.skip == old.skip
                    assert new.end == old.end or (not proven and new.end < old.end)
                plan, exact = again, exact_again
        self.disk.crash_before = None
        self.check(applied)
        return plan

    def load(self, plan: Plan) -> list[list[tuple[bytes, int]]]:
        """Load all segments; return the keys and values that each set."""
        applied: list[list[tuple[bytes, int]]] = []
        for files, segment in zip(self.directory.manifest.workers, plan.segments, strict=True):
            found: list[tuple[bytes, int]] = []

            def apply(argv: Sequence[bytes], found: list[tuple[bytes, int]] = found) -> None:
                if argv[0] == b"SET":
                    found.append((argv[1], int(argv[2])))

            source = Source(files, segment.end, segment.skip)
            loaded = aof.load(self.disk, "dir", source, apply, now_ms=self.now_ms)
            self.now_ms = first_stamp(self.now_ms, loaded.last_stamp_ms)
            applied.append(found)
        return applied

    def check(self, applied: Sequence[Sequence[tuple[bytes, int]]]) -> None:
        """Compare what was loaded with what was written, and forget what is lost."""
        visible: dict[int, set[int]] = {}
        by_key: dict[tuple[int, bytes], list[int]] = {}
        for worker, found in enumerate(applied):
            for key, number in found:
                by_key.setdefault((worker, key), []).append(number)
                visible.setdefault(number, set()).add(worker)
        for where, order in self.order.items():
            # A later value without an earlier one would be a read of what never was.
            seen = by_key.get(where, [])
            assert seen == order[: len(seen)], f"{where}: {order}"
            self.order[where] = seen
        for number, write in list(self.writes.items()):
            workers = visible.get(number, set())
            assert workers in (set(), set(write.keys)), f"half of {write} is visible: {workers}"
            if workers:
                write.kept = True  # whoever reads it now may rely on it
                write.waits.clear()
            else:
                assert not write.kept, f"{write} was acknowledged, and is lost"
                del self.writes[number]


@pytest.mark.parametrize("policy", ["always", "everysec"])
@pytest.mark.parametrize("ends", [("power",), ("kill",), ("kill", "power")], ids="-".join)
@pytest.mark.parametrize("seed", range(80))
def test_crashes(seed: int, ends: Sequence[str], policy: str) -> None:
    workers = Workers(seed, policy, ends)
    for _ in range(3):
        workers.run(workers.random.randint(1, 40))
        workers.stop()
        workers.open()
        workers.start(workers.recover())


# -- the directory --------------------------------------------------------------------------------


def opened(disk: FakeDisk, workers: int = 2) -> Directory:
    return open_directory(disk, "dir", workers, "everysec", 123)


def names(disk: FakeDisk) -> set[str]:
    return set(disk.names("dir")) - {LOCK_NAME}


def each_step(seeds: int = 3) -> Iterator[tuple[int, FakeDisk]]:
    """Yield (steps until the power fails, an empty disk), from 0 on; the caller ends the loop."""
    for steps in range(1000):
        for seed in range(seeds):
            yield steps, FakeDisk(1000 * seed + steps)
    raise AssertionError("it never ends")


def test_a_new_directory() -> None:
    disk = FakeDisk()
    directory = opened(disk, 3)
    assert directory.created
    assert directory.leftovers == []
    slots = [slot_range(worker, 3) for worker in range(3)]
    assert directory.manifest == Manifest(
        tuple(
            WorkerFiles(((slots[w][0], slots[w][-1]),), None, (incr_name(w, 1),)) for w in range(3)
        ),
        "everysec",
    )
    assert decode_manifest(disk.durable(f"dir/{MANIFEST_NAME}")) == directory.manifest
    assert names(disk) == {MANIFEST_NAME, *directory.manifest.names()}
    directory.close()
    assert disk.descriptors == 0
    again = open_directory(disk, "dir", 5, "always", 124)
    assert again.manifest == directory.manifest, "the number of workers and the policy are the old"
    assert not again.created


def test_a_directory_is_made_wherever_power_fails() -> None:
    for steps, disk in each_step():
        disk.crash_before = steps
        try:
            manifest = opened(disk).manifest
        except PowerError:
            disk.crash()
            assert opened(disk).manifest == Manifest(
                (
                    WorkerFiles(((0, 8191),), None, (incr_name(0, 1),)),
                    WorkerFiles(((8192, 16383),), None, (incr_name(1, 1),)),
                ),
                "everysec",
            )
            assert names(disk) == {MANIFEST_NAME, incr_name(0, 1), incr_name(1, 1)}
        else:
            assert steps > 10
            disk.crash()
            assert opened(disk).manifest == manifest, "durable when it is there"
            return


def test_a_manifest_is_replaced_wherever_power_fails() -> None:
    for steps, disk in each_step():
        directory = opened(disk)
        old = directory.manifest
        new = old._replace(appendfsync="always", last_ticket=61, skipped=(57, 59, 60))
        disk.crash_before = steps
        try:
            directory.save(new)
        except PowerError:
            disk.crash()
            again = opened(disk)
            assert again.manifest in (old, new)
            assert names(disk) == {MANIFEST_NAME, *old.names()}
        else:
            assert steps > 4
            disk.crash()
            assert opened(disk).manifest == new
            return


def test_an_unchanged_manifest_is_not_written() -> None:
    disk = FakeDisk()
    opened(disk).close()
    directory = opened(disk)
    written = disk.calls["write_file"]
    directory.save(directory.manifest)
    assert disk.calls["write_file"] == written


@pytest.mark.parametrize("call", ["write_file", "rename", "sync_directory"])
def test_a_manifest_that_cannot_be_saved(call: str) -> None:
    disk = FakeDisk()
    directory = opened(disk)
    old = directory.manifest
    new = old._replace(last_ticket=61)
    disk.fail(call, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        directory.save(new)
    assert directory.manifest == old
    found = decode_manifest(disk.data(f"dir/{MANIFEST_NAME}"))
    assert found == (new if call == "sync_directory" else old)
    directory.save(new)
    directory.close()
    assert opened(disk).manifest == new


def test_another_number_of_workers_wherever_power_fails() -> None:
    data = [b"*1\r\n$4\r\nold0\r\n", b"*1\r\n$4\r\nold1\r\n"]
    for steps, disk in each_step():
        directory = opened(disk)
        for files, text in zip(directory.manifest.workers, data, strict=True):
            disk.put(f"dir/{files.incrs[0]}", text)
        old = directory.manifest
        settled = old._replace(last_ticket=61, skipped=(57,), appendfsync="always")
        disk.crash_before = steps
        switched = False
        try:
            made = directory.prepare(3)
            for worker, files in enumerate(made):
                assert files.base is not None
                disk.write_file(f"dir/{files.base.name}", b"x" * (worker + 1))
            directory.switch(made, [1, 2, 3], settled)
            switched = True
        except PowerError:
            pass
        disk.crash()
        again = opened(disk)
        if again.manifest == old:
            assert not switched
            for files, text in zip(old.workers, data, strict=True):
                assert disk.data(f"dir/{files.incrs[0]}") == text
        else:
            assert again.manifest == Manifest(
                tuple(
                    WorkerFiles(
                        ((slot_range(w, 3)[0], slot_range(w, 3)[-1]),),
                        Base(f"appendonly.{w}.2.base.aof", w + 1, 61),
                        (f"appendonly.{w}.2.incr.aof",),
                    )
                    for w in range(3)
                ),
                "always",
                61,
            )
            for worker in range(3):
                assert disk.data(f"dir/appendonly.{worker}.2.base.aof") == b"x" * (worker + 1)
        assert names(disk) == {MANIFEST_NAME, *again.manifest.names()}
        if switched:
            assert steps > 20
            return


def test_leftovers_are_removed_and_other_files_are_not() -> None:
    disk = FakeDisk()
    opened(disk).close()
    leftovers = ["appendonly.0.7.incr.aof", "appendonly.9.1.base.aof", "shoal.manifest.tmp"]
    others = ["appendonly.0.1.incr.aof.quarantine-5", "notes", "appendonly.aof.1.incr.aof"]
    for name in leftovers + others:
        disk.put(f"dir/{name}", b"data")
    directory = opened(disk)
    assert directory.leftovers == leftovers
    assert names(disk) == {MANIFEST_NAME, *directory.manifest.names(), *others}


def refused(disk: FakeDisk, match: str) -> None:
    """Open, see it refused, and nothing touched."""
    before = {name: disk.data(f"dir/{name}") for name in names(disk)}
    with pytest.raises(RecoveryError, match=match):
        opened(disk)
    assert {name: disk.data(f"dir/{name}") for name in names(disk)} == before
    assert disk.descriptors == 0, "the lock is held"


def test_missing_files_are_named() -> None:
    disk = FakeDisk()
    opened(disk).close()
    disk.unlink(f"dir/{incr_name(1, 1)}")
    disk.put("dir/appendonly.0.7.incr.aof", b"a leftover stays, it may be of use")
    refused(disk, re.escape(f"names {incr_name(1, 1)}, which the directory lacks"))


@pytest.mark.parametrize("data", [b"", b"format 1\n", encode_manifest(MANIFEST)[:-1], b"\0" * 300])
def test_a_damaged_manifest(data: bytes) -> None:
    disk = FakeDisk()
    opened(disk).close()
    disk.put(f"dir/{MANIFEST_NAME}", data)
    refused(disk, "shoal.manifest is damaged: .* Restore it")


def test_a_later_format_is_not_called_damaged_without_saying_so() -> None:
    disk = FakeDisk()
    opened(disk).close()
    disk.put(f"dir/{MANIFEST_NAME}", encode_manifest(MANIFEST).replace(b"format 1", b"format 2"))
    refused(disk, "only format 1 is known")


def test_data_without_a_manifest() -> None:
    disk = FakeDisk()
    disk.put(f"dir/{incr_name(0, 4)}", b"data")
    refused(disk, "has data, but there is no shoal.manifest")


@pytest.mark.parametrize(
    "name",
    [
        "appendonly.aof.manifest",
        "appendonly.aof.1.base.rdb",
        "appendonly.aof.1.base.aof",
        "appendonly.aof.1.incr.aof",
        "dump.rdb",
    ],
)
def test_the_files_of_redis_are_refused(name: str) -> None:
    disk = FakeDisk()
    disk.put(f"dir/{name}", b"data")
    refused(disk, re.escape(f"a file of Redis, {name}"))


def test_a_directory_belongs_to_one_server() -> None:
    disk = FakeDisk()
    directory = opened(disk)
    with pytest.raises(RecoveryError, match="in use"):
        opened(disk)
    directory.close()
    opened(disk)


def test_the_real_lock_and_the_real_calls(tmp_path: Path) -> None:
    disk = recovery.Disk()
    path = str(tmp_path / "appendonlydir")
    directory = open_directory(disk, path, 2, "always", 4711)
    with pytest.raises(RecoveryError, match=rf"{path} is in use by a live server \(pid 4711\)"):
        open_directory(disk, path, 2, "always", 4712)
    new = directory.manifest._replace(last_ticket=9)
    directory.save(new)
    directory.close()
    (tmp_path / "appendonlydir" / "appendonly.7.7.incr.aof").write_bytes(b"x")
    again = open_directory(disk, path, 2, "always", 4712)
    assert again.manifest == new
    assert again.leftovers == ["appendonly.7.7.incr.aof"]
    assert (tmp_path / "appendonlydir" / LOCK_NAME).read_bytes() == b"4712\n"
    assert names_of(path) == {LOCK_NAME, MANIFEST_NAME, *new.names()}
    again.close()


def names_of(path: str) -> set[str]:
    return set(os.listdir(path))


def test_a_child_keeps_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    disk = recovery.Disk()
    path = str(tmp_path / LOCK_NAME)
    fd = disk.lock(path, 4711)
    child = os.dup(fd)  # what fork does: the same open file
    disk.unlock(fd)
    with pytest.raises(RecoveryError, match="pid 4711"):
        disk.lock(path, 4712)
    os.close(child)
    disk.unlock(disk.lock(path, 4712))


# -- all of it: another number of workers, with power failing anywhere ----------------------------


def write_with(disk: FakeDisk, workers: int) -> dict[bytes, bytes]:
    """Serve a new directory for a while; return what it holds. Ticket 2 is incomplete."""
    directory = opened(disk, workers)
    held: dict[bytes, bytes] = {}
    for worker, files in enumerate(directory.manifest.workers):
        segment = aof.open_segment(disk, "dir", files, "always", FakeSyncer(disk))
        key = next(key for key in KEYS if owner_of(key_slot(key), workers) == worker)
        held[key] = b"2"
        segment.log(0, [b"SET", key, b"1"])
        segment.log_ticket(1, range(workers), b"+OK\r\n", 0, [[b"SET", key, b"2"]])
        segment.release(1)
        segment.flush(10)
        if not worker:
            segment.log_ticket(2, range(workers), b"+OK\r\n", 0, [[b"SET", key, b"never"]])
            segment.flush(20)
        segment.close(20)
    directory.close()
    return held


def setter(keys: dict[bytes, bytes]) -> aof.Apply:
    """Return what runs the SETs of a log."""

    def apply(argv: list[bytes]) -> None:
        if argv[0] == b"SET":
            keys[argv[1]] = argv[2]

    return apply


def owning(slots: range) -> aof.Owns:
    return lambda argv: key_slot(argv[1]) in slots


def dumper(keys: dict[bytes, bytes]) -> aof.Dump:
    return lambda db: [] if db else [[b"SET", *item] for item in keys.items()]


def contents(disk: FakeDisk, directory: Directory) -> tuple[dict[bytes, bytes], Plan]:
    """Load all segments."""
    manifest = directory.manifest
    reports = [aof.scan(disk, "dir", files, exact=True) for files in manifest.workers]
    plan = decide(reports, manifest.skipped)
    held: dict[bytes, bytes] = {}
    for files, segment in zip(manifest.workers, plan.segments, strict=True):
        source = Source(files, segment.end, segment.skip)
        aof.load(disk, "dir", source, setter(held), now_ms=9)
    return held, plan


def change_workers(disk: FakeDisk, directory: Directory, workers: int) -> None:
    """Do what a start does that finds another number of workers."""
    _, plan = contents(disk, directory)
    old = directory.manifest
    sources = [
        Source(files, segment.end, segment.skip)
        for files, segment in zip(old.workers, plan.segments, strict=True)
    ]
    made = directory.prepare(workers)
    sizes = []
    for worker, files in enumerate(made):
        assert files.base is not None
        keys: dict[bytes, bytes] = {}
        size, stamp_ms = aof.resplit(
            disk,
            "dir",
            sources,
            files.base.name,
            apply=setter(keys),
            owns=owning(slot_range(worker, workers)),
            dump=dumper(keys),
            clear=keys.clear,
            dbs=2,
        )
        assert stamp_ms == 20
        sizes.append(size)
    directory.switch(made, sizes, settle(old, plan, "always"))


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 1), (2, 3), (3, 2)])
def test_nothing_is_lost_on_the_way_to_another_number_of_workers(old: int, new: int) -> None:
    for steps, disk in each_step(seeds=1):
        held = write_with(disk, old)
        if old == 1:
            held[min(held)] = b"never"  # ticket 2 is whole: this worker is all there are
        directory = opened(disk)
        disk.crash_before = steps
        changed = False
        try:
            change_workers(disk, directory, new)
            changed = True
        except PowerError:
            pass
        disk.crash()
        again = opened(disk)
        assert len(again.manifest.workers) == new or (
            not changed and len(again.manifest.workers) == old
        )
        found, plan = contents(disk, again)
        assert found == held
        assert next_ticket(again.manifest, plan) == 3, "ticket 2 must not be given again"
        assert names(disk) - {MANIFEST_NAME} == again.manifest.names()
        if changed:
            assert steps > 20
            return
