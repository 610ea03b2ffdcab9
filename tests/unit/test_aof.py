"""The segment: what a turn writes, when it is durable, failing disks; reading back, cutting, load.

Disks and fsyncs are those of support/disk.py; the two tests of the real ones say so.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from shoal.proto.aof_format import ScanReport, SegmentError
from shoal.proto.manifest import POLICIES, Base, WorkerFiles
from shoal.proto.slots import SLOTS, key_slot, owner_of, slot_range
from shoal.worker import aof
from shoal.worker.aof import (
    POSTPONE_MS,
    RETRY_MS,
    SYNC_EVERY_MS,
    Disk,
    LogOverflowError,
    Segment,
    Source,
    SyncThread,
    cut,
    load,
    open_segment,
    replay,
    resplit,
    scan,
)
from support.disk import FakeDisk, FakeSyncer, PowerError

NAME = "appendonly.0.1.incr.aof"
SECOND = "appendonly.0.2.incr.aof"
PATH = f"dir/{NAME}"
NOW_MS = 1_000
FILES = WorkerFiles(((0, SLOTS - 1),), None, (NAME,))
TWO_FILES = FILES._replace(incrs=(NAME, SECOND))

NO_SPACE = "MISCONF Errors writing to the AOF file: No space left on device"
INPUT_OUTPUT = "MISCONF Errors writing to the AOF file: Input/output error"


def log(*lines: str) -> bytes:
    """Return a log: each line an annotation, or a command as one types it."""
    made = bytearray()
    for line in lines:
        if line.startswith("#"):
            made += f"{line}\r\n".encode()
        else:
            words = line.split()
            made += b"*%d\r\n" % len(words)
            for word in words:
                made += f"${len(word)}\r\n{word}\r\n".encode()
    return bytes(made)


class Bench:
    """A segment on a fake disk, and its file."""

    def __init__(self, policy: str, before: bytes = b"", open_tickets: Sequence[int] = ()) -> None:
        self.disk = FakeDisk()
        self.disk.put(PATH, before)
        self.syncer = FakeSyncer(self.disk)
        self.segment = open_segment(
            self.disk, "dir", FILES, policy, self.syncer, open_tickets=open_tickets
        )
        self.now_ms = NOW_MS

    @property
    def file(self) -> bytes:
        return self.disk.data(PATH)

    @property
    def durable(self) -> bytes:
        return self.disk.durable(PATH)

    def set(self, value: str, db: int = 0) -> bool:
        """Take a turn with one SET."""
        self.segment.log(db, [b"SET", b"k", value.encode()])
        return self.segment.flush(self.now_ms)

    def after(self, ms: int) -> bool:
        """Let the loop's timer run, that much later."""
        self.now_ms += ms
        return self.segment.on_time(self.now_ms)


SET_A: Sequence[bytes] = (b"SET", b"a", b"1")
SET_B: Sequence[bytes] = (b"SET", b"b", b"2")
Do = Callable[[Segment], None]


def one_command(segment: Segment) -> None:
    segment.log(0, SET_A)


def two_of_a_db(segment: Segment) -> None:
    segment.log(3, SET_A)
    segment.log(3, SET_B)


def three_of_two_dbs(segment: Segment) -> None:
    segment.log(3, SET_A)
    segment.log(0, SET_B)
    segment.log(3, SET_A)


def two_selects(segment: Segment) -> None:
    segment.select(2)
    segment.select(2)


def ticket_by_steps(segment: Segment) -> None:
    segment.log(0, SET_A)
    segment.begin_ticket(5, (0, 1))
    segment.log_all(0, [SET_A, SET_B])
    segment.log(1, SET_A)
    segment.end_ticket(b":2\r\n")
    segment.log(1, SET_B)


def releases(segment: Segment) -> None:
    for ticket in (6, 7, 7, 99):
        segment.release(ticket)


# Turns, each in its own write, and the lines of the file.
TURNS: dict[str, tuple[list[Do], str]] = {
    "nothing": ([lambda s: None], ""),
    "one command": ([one_command], "#TS:1000|SELECT 0|SET a 1"),
    "one stamp a turn, SELECT only on change": (
        [two_of_a_db, three_of_two_dbs],
        "#TS:1000|SELECT 3|SET a 1|SET b 2|#TS:1000|SET a 1|SELECT 0|SET b 2|SELECT 3|SET a 1",
    ),
    "select alone, as the fused commands call it": ([two_selects], "#TS:1000|SELECT 2"),
    "one effect needs no MULTI": (
        [lambda s: s.log_all(0, [SET_A])],
        "#TS:1000|SELECT 0|SET a 1",
    ),
    "no effects": ([lambda s: s.log_all(0, [])], ""),
    "several effects": (
        [lambda s: s.log_all(4, [SET_A, SET_B])],
        "#TS:1000|MULTI|SELECT 4|SET a 1|SET b 2|EXEC",
    ),
    "ticket": (
        [lambda s: s.log_ticket(7, (2, 0, 1), b"+OK\r\n", 0, [SET_A, SET_B])],
        "#TS:1000|#TICKET:7:0-2:+OK|MULTI|SELECT 0|SET a 1|SET b 2|EXEC",
    ),
    "ticket that changed nothing": (
        [lambda s: s.log_ticket(7, (0, 3), [b":1\r\n"], 0, [])],
        "#TS:1000|#TICKET:7:0,3:|MULTI|EXEC",
    ),
    "a reply that is no status and no integer": (
        [lambda s: s.log_ticket(7, (0, 1), b"$1\r\nx\r\n", 0, [SET_A])],
        "#TS:1000|#TICKET:7:0-1:|MULTI|SELECT 0|SET a 1|EXEC",
    ),
    "ticket between others": (
        [ticket_by_steps],
        "#TS:1000|SELECT 0|SET a 1|#TICKET:5:0-1::2|MULTI|SET a 1|SET b 2|SELECT 1|SET a 1|EXEC|"
        "SET b 2",
    ),
    "release once, of what is held": (
        [lambda s: s.log_ticket(7, (0, 1), b":1\r\n", 0, [SET_A]), releases],
        "#TS:1000|#TICKET:7:0-1::1|MULTI|SELECT 0|SET a 1|EXEC|#TS:1000|#REL:7|#REL:99",
    ),
}


@pytest.mark.parametrize(("turns", "lines"), TURNS.values(), ids=TURNS.keys())
@pytest.mark.parametrize("policy", POLICIES)
def test_what_turns_write(turns: list[Do], lines: str, policy: str) -> None:
    bench = Bench(policy, b"before", open_tickets=[99])
    for turn in turns:
        turn(bench.segment)
        assert bench.segment.flush(NOW_MS)
        if bench.syncer.running is not None:
            bench.syncer.finish()
    assert bench.file == b"before" + log(*lines.split("|")[: len(lines)])


def test_a_stamp_never_goes_back() -> None:
    bench = Bench("no")
    for now_ms in (5, 9, 7, 9, 10):
        bench.now_ms = now_ms
        bench.set("v")
    stamps = [line for line in bench.file.split(b"\r\n") if line.startswith(b"#TS:")]
    assert stamps == [b"#TS:5", b"#TS:9", b"#TS:9", b"#TS:9", b"#TS:10"]


def test_a_ticket_must_be_ended_and_not_be_nested() -> None:
    segment = Bench("no").segment
    with pytest.raises(AssertionError, match="no ticket"):
        segment.end_ticket(b"+OK\r\n")
    segment.begin_ticket(5, (0, 1))
    with pytest.raises(AssertionError, match="ticket 6 inside ticket 5"):
        segment.begin_ticket(6, (0, 1))
    with pytest.raises(AssertionError, match="ticket 5 was not ended"):
        segment.flush(NOW_MS)


# -- policies -------------------------------------------------------------------------------------


def test_always_syncs_once_a_turn_before_it_acknowledges() -> None:
    bench = Bench("always")
    for i in range(100):
        bench.segment.log(0, [b"SET", b"%d" % i, b"v"])
    assert bench.segment.flush(NOW_MS)
    assert bench.durable == bench.file != b""
    assert bench.segment.flush(NOW_MS)  # an empty turn costs nothing
    assert bench.after(5000)
    assert (bench.disk.calls["pwrite"], bench.disk.calls["fdatasync"]) == (1, 1)
    assert bench.syncer.running is None


def test_no_never_syncs() -> None:
    bench = Bench("no")
    for _ in range(5):
        assert bench.set("v")
        assert bench.after(SYNC_EVERY_MS)
    assert bench.disk.calls["fdatasync"] == 0
    assert bench.disk.calls["pwrite"] == 5
    assert bench.segment.info()["aof_buffer_length"] == 0


def test_everysec_syncs_beside_and_once_a_second() -> None:
    bench = Bench("everysec")
    assert bench.set("1")
    assert bench.syncer.running is not None
    assert bench.disk.calls["fdatasync"] == 0, "the turn waits for no fsync"
    assert bench.segment.info()["aof_pending_bio_fsync"] == 1
    bench.syncer.finish(took_ms=7)
    assert bench.set("2")
    assert bench.segment.last_fsync_ms == 7
    assert bench.after(SYNC_EVERY_MS - 1)
    assert bench.syncer.running is None, "within the second"
    assert bench.durable != bench.file
    bench.after(1)
    assert bench.syncer.running is not None
    bench.syncer.finish()
    assert bench.durable == bench.file
    bench.after(10 * SYNC_EVERY_MS)
    assert bench.syncer.running is None, "nothing to sync"


def test_everysec_keeps_away_from_a_running_fsync() -> None:
    bench = Bench("everysec")
    bench.set("1")
    written = bench.file
    assert bench.set("2"), "acknowledged: everysec may lose a second"
    assert bench.file == written, "not written while the fsync runs"
    assert bench.segment.info()["aof_buffer_length"] == len(log("#TS:1000", "SET k 2"))
    bench.syncer.finish()
    assert bench.after(1)
    assert bench.file.endswith(log("SET k 2"))
    assert bench.segment.delayed_fsync == 0


def test_a_postponed_write_is_not_put_off_forever() -> None:
    bench = Bench("everysec")
    bench.set("1")
    bench.set("2")
    bench.after(POSTPONE_MS - 1)
    assert not bench.file.endswith(log("SET k 2"))
    bench.after(1)
    assert bench.file.endswith(log("SET k 2"))
    assert bench.segment.delayed_fsync == 1
    # The fsync that runs may have begun before: it does not make this write durable.
    bench.syncer.finish()
    bench.after(1)
    assert bench.syncer.running is not None
    bench.syncer.finish()
    assert bench.durable == bench.file


def test_a_part_of_a_ticket_does_not_wait_for_a_running_fsync() -> None:
    bench = Bench("everysec")
    bench.set("1")
    bench.set("2")
    bench.segment.log_ticket(5, (0, 1), b"+OK\r\n", 0, [SET_A])
    assert bench.segment.flush(NOW_MS)
    assert bench.file.endswith(
        log("SET k 2", "#TS:1000", "#TICKET:5:0-1:+OK", "MULTI", "SET a 1", "EXEC")
    )


def test_much_that_waits_is_written_and_synced_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aof, "MAX_UNSYNCED_LOG_BYTES", 1000)
    bench = Bench("everysec")
    bench.set("1")
    bench.set("x" * 1001)
    assert bench.file.endswith(b"x\r\n"), "too much to postpone"
    assert bench.segment.delayed_fsync == 1
    bench.syncer.finish()
    bench.after(1)
    assert bench.syncer.running is not None, "too much to wait for the second"
    bench.set("x" * 1001)  # more than twice the bound is kept: this turn waits for the disk
    assert bench.syncer.running is None
    assert bench.segment.delayed_fsync == 3


def test_the_lag_is_the_age_of_the_oldest_unsynced_byte() -> None:
    bench = Bench("everysec")
    assert bench.segment.lag_ms(NOW_MS) == 0
    bench.set("1")
    assert bench.segment.lag_ms(NOW_MS + 40) == 40
    bench.syncer.finish()
    bench.after(100)
    assert bench.segment.lag_ms(bench.now_ms) == 0
    bench.now_ms += 60_000
    bench.set("2")
    assert bench.segment.lag_ms(bench.now_ms + 5) == 5, "idle is no lag"
    bench.after(300)
    bench.set("3")
    bench.syncer.finish()
    bench.after(0)
    assert 0 < bench.segment.lag_ms(bench.now_ms) <= 300


@pytest.mark.parametrize("policy", ["always", "no"])
def test_there_is_no_lag_without_waiting(policy: str) -> None:
    bench = Bench(policy)
    bench.set("1")
    bench.now_ms += 60_000
    bench.set("2")
    assert bench.segment.lag_ms(bench.now_ms + 5) == 0
    bench.disk.broken["pwrite"] = errno.ENOSPC
    bench.set("3")
    assert bench.segment.lag_ms(bench.now_ms + 5) == 5


# -- failing disks --------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("code", "text"), [(errno.ENOSPC, NO_SPACE), (errno.EIO, INPUT_OUTPUT)])
def test_a_write_fails_until_the_disk_is_well(policy: str, code: int, text: str) -> None:
    bench = Bench(policy)
    bench.disk.broken["pwrite"] = code
    assert bench.set("1") == (policy != "always")
    assert not bench.segment.last_write_ok
    assert bench.segment.error_text == text
    assert bench.segment.info()["aof_last_write_status"] == "err"
    assert bench.file == b""
    before = bench.disk.calls["pwrite"]
    said = bench.segment.error_text
    for _ in range(100):
        assert bench.after(RETRY_MS // 10) == (policy != "always")
        assert bench.segment.error_text is said, "news, each time, to who looks for a change"
    assert 10 <= bench.disk.calls["pwrite"] - before <= 11, "attempts are RETRY_MS apart"
    bench.set("2")
    bench.disk.repair()
    assert bench.after(RETRY_MS)
    assert bench.segment.last_write_ok
    assert bench.segment.error_text is None
    assert bench.segment.info()["aof_last_write_status"] == "ok"
    stamp = f"#TS:{bench.now_ms - RETRY_MS}"
    assert bench.file == log("#TS:1000", "SELECT 0", "SET k 1", stamp, "SET k 2")
    assert (bench.durable == bench.file) == (policy == "always")


def test_a_part_of_a_ticket_is_not_acknowledged_before_it_is_written() -> None:
    bench = Bench("no")
    bench.disk.broken["pwrite"] = errno.ENOSPC
    assert bench.set("1"), "no promises without a ticket"
    bench.segment.log_ticket(5, (0, 1), b"+OK\r\n", 0, [SET_A])
    assert not bench.segment.flush(NOW_MS)
    assert not bench.set("2"), "replies leave in order"
    bench.disk.repair()
    assert bench.after(RETRY_MS)


def test_a_short_write_goes_on_where_it_stopped() -> None:
    bench = Bench("always")
    bench.disk.shorten(3, 1, 2)
    assert bench.set("1")
    assert bench.file == bench.durable == log("#TS:1000", "SELECT 0", "SET k 1")
    assert bench.disk.calls["pwrite"] == 4
    assert bench.segment.last_write_ok


def test_a_short_write_and_then_no_space() -> None:
    bench = Bench("always")
    whole = log("#TS:1000", "SELECT 0", "SET k 1")
    bench.disk.shorten(20)
    bench.disk.fail("pwrite", 0, errno.ENOSPC)
    assert not bench.set("1")
    assert bench.file == whole[:20], "half a record, and it may stay so"
    assert bench.segment.error_text == NO_SPACE
    bench.set("2")
    assert bench.after(RETRY_MS)
    assert bench.file == bench.durable == whole + log("#TS:1000", "SET k 2")


def test_a_write_that_takes_nothing_is_an_error() -> None:
    bench = Bench("always")
    bench.disk.shorten(0)
    assert not bench.set("1")
    assert bench.segment.error_text == INPUT_OUTPUT
    assert bench.after(RETRY_MS)


def test_what_a_failed_fsync_may_have_dropped_is_written_again() -> None:
    bench = Bench("always")
    bench.set("1")
    safe = bench.durable
    bench.disk.fail("fdatasync", errno.EIO)
    assert not bench.set("2")
    assert bench.segment.error_text == INPUT_OUTPUT
    assert bench.file[: len(safe)] == safe
    assert bench.file.rstrip(b"\0") == safe, "the disk has dropped the pages"
    assert bench.after(RETRY_MS)
    assert bench.durable == bench.file == safe + log("#TS:1000", "SET k 2")
    assert bench.segment.last_write_ok


def test_a_failed_fsync_of_everysec_takes_back_what_came_behind_it() -> None:
    bench = Bench("everysec")
    bench.set("1")
    bench.set("2")
    bench.after(POSTPONE_MS)  # written while the fsync runs
    bench.disk.fail("fdatasync", errno.EIO, errno.EIO)
    bench.syncer.finish()
    assert bench.set("3"), "everysec acknowledges; that writes are refused is the dispatcher's work"
    assert bench.segment.error_text == INPUT_OUTPUT
    assert bench.syncer.running is not None, "written again, and the next attempt runs"
    bench.syncer.finish()
    bench.after(1)
    assert not bench.segment.last_write_ok
    bench.after(RETRY_MS)
    bench.syncer.finish()
    bench.after(1)
    assert bench.segment.last_write_ok
    assert bench.durable == bench.file
    assert bench.file == log(
        "#TS:1000", "SELECT 0", "SET k 1", "#TS:1000", "SET k 2", "#TS:3000", "SET k 3"
    )


def torn(bench: Bench) -> None:
    """Take a turn while an fsync runs; 20 bytes of it get into the file, and no more."""
    bench.set("1")
    bench.disk.shorten(20)
    bench.disk.fail("pwrite", 0, errno.ENOSPC)
    bench.segment.log_ticket(5, (0, 1), b"+OK\r\n", 0, [SET_A])  # waits for no fsync
    assert not bench.segment.flush(NOW_MS)
    assert bench.segment.error_text == NO_SPACE


TORN = log(
    *(
        "#TS:1000",
        "SELECT 0",
        "SET k 1",
        "#TS:1000",
        "#TICKET:5:0-1:+OK",
        "MULTI",
        "SET a 1",
        "EXEC",
    )
)


def test_an_fsync_fails_while_half_a_turn_is_in_the_file() -> None:
    bench = Bench("everysec")
    torn(bench)
    bench.disk.fail("fdatasync", errno.EIO)
    bench.syncer.finish()
    bench.after(RETRY_MS)
    bench.syncer.finish()
    assert bench.after(RETRY_MS)
    assert bench.segment.last_write_ok
    assert bench.file == TORN


def test_an_fsync_begins_while_half_a_turn_is_in_the_file() -> None:
    bench = Bench("everysec")
    bench.set("1")
    bench.syncer.finish()
    bench.set("2")
    bench.disk.shorten(20)
    bench.disk.fail("pwrite", 0, *[errno.ENOSPC] * 2)
    bench.set("3")
    bench.after(SYNC_EVERY_MS)
    assert bench.segment.error_text == NO_SPACE
    bench.syncer.finish()
    bench.after(RETRY_MS)
    assert bench.segment.last_write_ok
    bench.after(SYNC_EVERY_MS)
    bench.syncer.finish()
    assert (
        bench.file
        == bench.durable
        == log("#TS:1000", "SELECT 0", "SET k 1")
        + b"".join(log("#TS:1000", f"SET k {value}") for value in (2, 3))
    )


def test_thousands_of_turns_that_waited_are_joined() -> None:
    bench = Bench("always")
    bench.disk.broken["pwrite"] = errno.ENOSPC
    for i in range(5000):
        bench.set(str(i))
    bench.disk.repair()
    before = bench.disk.calls["pwrite"]
    assert bench.after(RETRY_MS)
    assert bench.disk.calls["pwrite"] == before + 1
    assert bench.durable == log("#TS:1000", "SELECT 0", "SET k 0") + b"".join(
        log("#TS:1000", f"SET k {i}") for i in range(1, 5000)
    )


def test_too_much_waits_for_a_failing_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aof, "MAX_UNWRITTEN_LOG_BYTES", 1000)
    bench = Bench("everysec")
    bench.set("x" * 2000)  # no bound for a disk that is well
    bench.syncer.finish()
    bench.disk.broken["pwrite"] = errno.ENOSPC
    assert bench.set("x" * 900)
    with pytest.raises(LogOverflowError, match=r"\d+ bytes wait for the disk"):
        bench.set("x" * 900)
    bench.disk.repair()
    bench.segment.close(NOW_MS)  # nothing is lost even so
    assert bench.durable.count(b"$900\r\n") == 2


# -- another policy, the end ----------------------------------------------------------------------


@pytest.mark.parametrize("old", POLICIES)
def test_always_from_now_on_makes_the_past_durable(old: str) -> None:
    bench = Bench(old)
    bench.set("1")
    bench.set("2")
    bench.segment.set_policy("always")
    assert bench.segment.acknowledged == (old == "always")
    assert bench.segment.flush(NOW_MS)
    assert (
        bench.durable == bench.file == log("#TS:1000", "SELECT 0", "SET k 1", "#TS:1000", "SET k 2")
    )


def test_everysec_from_now_on_makes_the_past_durable() -> None:
    bench = Bench("no")
    bench.set("1")
    bench.segment.set_policy("everysec")
    bench.after(1)
    assert bench.syncer.running is not None
    bench.syncer.finish()
    bench.after(1)
    assert bench.durable == bench.file != b""
    bench.after(SYNC_EVERY_MS)
    assert bench.syncer.running is None, "and once is enough"


def test_no_from_now_on_forgets_what_is_in_the_file() -> None:
    bench = Bench("everysec")
    bench.set("1")
    bench.segment.set_policy("no")  # waits for the fsync that runs
    assert bench.durable == bench.file
    bench.set("2")
    bench.after(SYNC_EVERY_MS)
    assert bench.syncer.running is None


def test_a_change_of_policy_hears_of_a_failed_fsync() -> None:
    bench = Bench("everysec")
    bench.set("1")
    bench.disk.fail("fdatasync", errno.EIO)
    bench.segment.set_policy("no")
    assert bench.segment.error_text == INPUT_OUTPUT
    assert bench.after(RETRY_MS)
    assert bench.segment.last_write_ok
    assert bench.file == log("#TS:1000", "SELECT 0", "SET k 1")


@pytest.mark.parametrize("policy", POLICIES)
def test_close_makes_everything_durable(policy: str) -> None:
    bench = Bench(policy)
    bench.set("1")
    bench.segment.log(0, SET_A)  # of a turn that has not ended
    bench.segment.close(NOW_MS)
    assert bench.durable == log("#TS:1000", "SELECT 0", "SET k 1", "#TS:1000", "SET a 1")
    assert bench.disk.descriptors == 0
    assert bench.syncer.closed


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_close_on_a_failing_disk(policy: str, call: str) -> None:
    bench = Bench(policy)
    bench.disk.broken[call] = errno.EIO
    bench.set("1")
    with pytest.raises(OSError, match="Input/output error"):
        bench.segment.close(NOW_MS)
    assert bench.disk.descriptors == 0
    assert bench.syncer.closed


def test_close_says_so_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aof, "MAX_UNWRITTEN_LOG_BYTES", 1000)
    bench = Bench("everysec")
    bench.disk.broken["pwrite"] = errno.ENOSPC
    bench.segment.log(0, [b"SET", b"k", b"x" * 2000])
    bench.segment.flush(NOW_MS)
    bench.segment.log(0, SET_A)
    with pytest.raises(OSError, match="No space left"):
        bench.segment.close(NOW_MS)
    assert bench.disk.descriptors == 0
    assert bench.syncer.closed


# -- all of it against a model --------------------------------------------------------------------

words = st.text("abc", min_size=1, max_size=30)
effects = st.lists(words.map(lambda value: f"SET k {value}"), max_size=3)
items: st.SearchStrategy[tuple[str, int, list[str]]] = st.one_of(
    st.tuples(
        st.just("log"),
        st.integers(0, 2),
        st.lists(words.map(lambda v: f"SET k {v}"), min_size=1, max_size=1),
    ),
    st.tuples(st.just("all"), st.integers(0, 2), effects),
    st.tuples(st.just("ticket"), st.integers(0, 2), effects),
    st.tuples(st.just("release"), st.just(0), st.just([])),
)


class SegmentMachine(RuleBasedStateMachine):
    """Turns, time, other policies and a disk that fails, beside the log as it ought to be."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench("always", log("SELECT 7", "SET before 1"))
        self.log = self.bench.file
        self.policy = "always"
        self.db = -1
        self.ticket = 0
        self.open: list[int] = []
        self.codes: set[int] = {errno.EIO}

    def lines(self, db: int, lines: Sequence[str], *, block: bool) -> list[str]:
        """Return what is expected in the log of commands, for `db` to be changed by."""
        made = list(lines)
        if lines and db != self.db:
            made.insert(0, f"SELECT {db}")
            self.db = db
        return ["MULTI", *made, "EXEC"] if block else made

    @rule(turn=st.lists(items, max_size=5), step_ms=st.integers(0, 30))
    def take_a_turn(self, turn: list[tuple[str, int, list[str]]], step_ms: int) -> None:
        segment = self.bench.segment
        self.bench.now_ms += step_ms
        expected: list[str] = []
        part = False
        for kind, db, lines in turn:
            argvs = [line.encode().split() for line in lines]
            if kind == "log":
                segment.log(db, argvs[0])
                expected += self.lines(db, lines, block=False)
            elif kind == "all":
                segment.log_all(db, argvs)
                expected += self.lines(db, lines, block=len(lines) > 1)
            elif kind == "ticket":
                self.ticket += 1
                self.open.append(self.ticket)
                segment.log_ticket(self.ticket, (0, 3), b"+OK\r\n", db, argvs)
                expected.append(f"#TICKET:{self.ticket}:0,3:+OK")
                expected += self.lines(db, lines, block=True)
                part = True
            elif self.open:
                ticket = self.open.pop(0)
                segment.release(ticket)
                expected.append(f"#REL:{ticket}")
        if expected:
            self.log += log(f"#TS:{self.bench.now_ms}", *expected)
        acknowledged = segment.flush(self.bench.now_ms)
        self.check(acknowledged)
        if part and acknowledged:
            assert self.bench.file == self.log, "the part is not in the file"

    @rule(ms=st.sampled_from([1, RETRY_MS, SYNC_EVERY_MS, POSTPONE_MS]))
    def let_time_pass(self, ms: int) -> None:
        self.check(self.bench.after(ms))

    def check(self, acknowledged: bool) -> None:
        if self.policy == "always":
            assert acknowledged == (self.bench.durable == self.log)
        if not acknowledged:
            assert not self.bench.segment.last_write_ok

    @precondition(lambda self: self.bench.syncer.running is not None)
    @rule()
    def end_the_fsync(self) -> None:
        self.bench.syncer.finish()

    @rule(policy=st.sampled_from(POLICIES))
    def change_policy(self, policy: str) -> None:
        self.bench.segment.set_policy(policy)
        self.policy = policy
        if policy == "no":
            # What is written under it is given away: a later fsync that fails may lose it.
            self.bench.disk.drop_pages = False

    @rule(
        call=st.sampled_from(["pwrite", "fdatasync"]),
        code=st.sampled_from([errno.ENOSPC, errno.EIO]),
        times=st.integers(1, 3),
    )
    def let_some_calls_fail(self, call: str, code: int, times: int) -> None:
        self.bench.disk.fail(call, *[code] * times)
        self.codes.add(code)

    @rule(
        call=st.sampled_from(["pwrite", "fdatasync"]),
        code=st.sampled_from([errno.ENOSPC, errno.EIO]),
    )
    def let_a_call_fail(self, call: str, code: int) -> None:
        self.bench.disk.broken[call] = code
        self.codes.add(code)

    @rule(counts=st.lists(st.integers(0, 60), min_size=1, max_size=4))
    def take_less(self, counts: list[int]) -> None:
        self.bench.disk.shorten(*counts)

    @rule(count=st.integers(1, 60))
    def tear(self, count: int) -> None:
        self.bench.disk.shorten(count)
        self.bench.disk.fail("pwrite", 0, errno.ENOSPC)
        self.codes.add(errno.ENOSPC)

    @rule()
    def repair(self) -> None:
        self.bench.disk.repair()

    @invariant()
    def the_queues_add_up(self) -> None:
        segment = self.bench.segment
        kept = sum(map(len, segment._kept))
        unwritten = sum(map(len, segment._unwritten))
        assert segment._synced + kept + segment._torn == segment._written
        assert segment._written - segment._torn + unwritten == segment._total == len(self.log)
        assert segment._unwritten_bytes == unwritten
        assert 0 <= segment._torn < (len(segment._unwritten[0]) if segment._unwritten else 1)
        assert segment.info()["aof_current_size"] == len(self.log)

    @invariant()
    def the_file_is_a_prefix_of_the_log(self) -> None:
        bench = self.bench
        synced, written = bench.segment._synced, bench.segment._written
        assert bench.file[:synced] == self.log[:synced]
        if bench.disk.drop_pages:
            assert bench.durable[:synced] == self.log[:synced]
        if not bench.syncer.untaken:  # else it may have dropped what the segment does not know of
            assert bench.file[:written] == self.log[:written]
        whole = bench.file.rstrip(b"\0")
        assert whole == self.log[: len(whole)]

    @invariant()
    def an_error_has_a_text(self) -> None:
        segment = self.bench.segment
        assert segment.last_write_ok == (segment.error_text is None)
        texts = {f"MISCONF Errors writing to the AOF file: {os.strerror(c)}" for c in self.codes}
        assert segment.error_text is None or segment.error_text in texts

    def teardown(self) -> None:
        bench = self.bench
        bench.disk.repair()
        for _ in range(5):
            if bench.syncer.running is not None:
                bench.syncer.finish()
            acknowledged = bench.after(POSTPONE_MS)
        assert acknowledged
        assert bench.segment.last_write_ok
        assert bench.file == self.log
        if self.policy != "no":
            assert bench.durable == self.log
        bench.segment.close(bench.now_ms)
        assert bench.durable == self.log
        assert bench.disk.descriptors == 0


TestSegment = SegmentMachine.TestCase
TestSegment.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, derandomize=True
)


# -- the real calls -------------------------------------------------------------------------------


def test_the_real_disk_and_the_real_thread(tmp_path: Path) -> None:
    disk = Disk()
    os.close(disk.open(str(tmp_path / NAME), create=True))
    disk.sync_directory(str(tmp_path))
    segment = open_segment(disk, str(tmp_path), FILES, "everysec", SyncThread(disk))
    segment.log(0, SET_A)
    assert segment.flush(NOW_MS)
    segment.set_policy("always")  # waits for the thread
    segment.log(0, SET_B)
    assert segment.flush(NOW_MS)
    segment.close(NOW_MS)
    expected = log("#TS:1000", "SELECT 0", "SET a 1", "#TS:1000", "SET b 2")
    assert (tmp_path / NAME).read_bytes() == expected
    fd = disk.open(str(tmp_path / NAME))
    assert disk.size(fd) == len(expected)
    assert disk.pread(fd, 10, 9) == expected[9:19]
    assert disk.pread(fd, 1000, 9) == expected[9:]
    assert disk.pread(fd, 10, 1000) == b""
    disk.ftruncate(fd, 3)
    disk.close(fd)
    assert (tmp_path / NAME).read_bytes() == expected[:3]


def test_the_thread_tells_of_a_failed_fsync() -> None:
    syncer = SyncThread(Disk())
    assert syncer.poll() is None
    reading, writing = os.pipe()
    try:
        syncer.start(writing)
        outcome = syncer.wait()
    finally:
        os.close(reading)
        os.close(writing)
        syncer.close()
    assert outcome.error is not None
    assert outcome.error.errno == errno.EINVAL  # a pipe cannot be synced
    assert syncer.poll() is None


# -- reading back ---------------------------------------------------------------------------------


class Model:
    """db -> key -> value, changed by the few commands that these logs hold."""

    def __init__(self) -> None:
        self.dbs: dict[int, dict[bytes, bytes]] = {}
        self.selected = 0

    def apply(self, argv: Sequence[bytes]) -> None:
        name, *rest = argv
        db = self.dbs.setdefault(self.selected, {})
        if name == b"SELECT":
            self.selected = int(rest[0])
        elif name == b"SET":
            db[rest[0]] = rest[1]
        elif name == b"DEL":
            db.pop(rest[0], None)
        elif name == b"FLUSHALL":
            self.dbs.clear()
        elif name == b"FLUSHDB":
            db.clear()
        else:
            first, second = int(rest[0]), int(rest[1])
            assert name == b"SWAPDB"
            one, other = self.dbs.get(first, {}), self.dbs.get(second, {})
            self.dbs |= {first: other, second: one}

    def dump(self, db: int) -> Iterator[list[bytes]]:
        return ([b"SET", key, value] for key, value in self.dbs.get(db, {}).items())

    def contents(self) -> dict[tuple[int, bytes], bytes]:
        return {(db, key): value for db, keys in self.dbs.items() for key, value in keys.items()}


def on_disk(*contents: bytes, seed: int = 0) -> tuple[FakeDisk, WorkerFiles]:
    """Return a disk with incremental files, all synced."""
    disk = FakeDisk(seed)
    names = tuple(f"appendonly.0.{number}.incr.aof" for number in range(1, len(contents) + 1))
    for name, data in zip(names, contents, strict=True):
        disk.put(f"dir/{name}", data)
    return disk, FILES._replace(incrs=names)


def whole(files: WorkerFiles, disk: FakeDisk) -> Source:
    return Source(files, sum(len(disk.data(f"dir/{name}")) for name in files.incrs), ())


def applied(disk: FakeDisk, source: Source) -> list[str]:
    """Replay, and return the commands as one types them."""
    said: list[str] = []
    replay(disk, "dir", source, lambda argv: said.append(b" ".join(argv).decode()))
    return said


BEFORE = log("#TS:8", "SELECT 2", "SET before 1")
LAST = {
    "command": log("SET a 1"),
    "block": log("MULTI", "SET a 1", "SET b 2", "EXEC"),
    "ticket": log("#TICKET:5:0-1:+OK", "MULTI", "SET a 1", "EXEC"),
    "release": log("#REL:4"),
    "stamp": log("#TS:9"),
}


@pytest.mark.parametrize("last", LAST.values(), ids=LAST.keys())
@pytest.mark.parametrize("exact", [True, False])
def test_a_tail_truncated_at_any_byte(last: bytes, exact: bool) -> None:
    for size in range(1, len(last)):
        disk, files = on_disk(BEFORE + last[:size])
        report = scan(disk, "dir", files, exact=exact)
        assert report.damage is None
        assert report.size == len(BEFORE) + size
        assert report.end == (len(BEFORE) if report.exact else report.size)
        model = Model()
        source = Source(files, report.end, ())
        loaded = load(disk, "dir", source, model.apply, now_ms=77)
        assert loaded[:3] == (2, len(BEFORE), 8)
        assert model.contents() == {(2, b"before"): b"1"}
        kept_as = f"{NAME}.quarantine-77"
        assert loaded.removed == ((NAME, len(BEFORE), size, kept_as),)
        assert disk.data(PATH) == disk.durable(PATH) == BEFORE
        assert disk.durable(f"dir/{kept_as}") == last[:size]
        assert disk.descriptors == 0


def test_a_tail_that_only_the_replay_finds_can_be_refused() -> None:
    disk, files = on_disk(BEFORE + log("SET a 1")[:-1])
    report = scan(disk, "dir", files)
    assert not report.exact
    with pytest.raises(SegmentError) as caught:
        load(
            disk,
            "dir",
            Source(files, report.end, ()),
            Model().apply,
            now_ms=7,
            load_truncated=False,
        )
    assert (caught.value.name, caught.value.offset) == (NAME, len(BEFORE))
    assert len(disk.data(PATH)) == report.size
    assert disk.descriptors == 0


@pytest.mark.parametrize("zeros", [1, 4095, 200_000])
def test_zeros_behind_the_log_are_a_truncated_tail(zeros: int) -> None:
    disk, files = on_disk(BEFORE + bytes(zeros))
    assert scan(disk, "dir", files, exact=True).end == len(BEFORE)
    loaded = load(disk, "dir", whole(files, disk), Model().apply, now_ms=7)
    assert loaded.removed[0][1:3] == (len(BEFORE), zeros)
    assert disk.durable(PATH) == BEFORE


def test_damage_in_the_middle_has_a_file_and_an_offset_in_it() -> None:
    bad = BEFORE + log("#TICKET:5:0-1:+OK", "MULTI", "EXEC")
    data = bad + b"junk\r\n" + log("SET a 1")
    disk, files = on_disk(BEFORE, data)
    report = scan(disk, "dir", files)
    assert report.damage == (SECOND, len(bad), "expected '*', found b'j'")
    assert list(report.tickets) == [5], "what is before the damage is reported"
    with pytest.raises(SegmentError) as caught:
        applied(disk, whole(files, disk))
    assert (caught.value.name, caught.value.offset) == (SECOND, len(bad))
    assert disk.descriptors == 0


def test_half_a_record_is_damage_where_another_file_follows() -> None:
    data = BEFORE + log("#TICKET:5:0-1:+OK", "MULTI", "EXEC")
    disk, files = on_disk(data + log("SET a 1")[:9], BEFORE)
    assert scan(disk, "dir", files).damage == (NAME, len(data), "a record without its end")
    with pytest.raises(SegmentError, match="without its end") as caught:
        applied(disk, whole(files, disk))
    assert (caught.value.name, caught.value.offset) == (NAME, len(data))


FIRST_FILE = log("#TS:3", "SELECT 1", "#TICKET:5:0,2:+OK", "MULTI", "SET a 1", "EXEC")
SECOND_FILE = log(
    "#TS:5", "#REL:5", "#TICKET:6:0-1::1", "MULTI", "SELECT 0", "SET b 2", "EXEC", "SET c 3"
)


def test_offsets_go_through_all_files() -> None:
    disk, files = on_disk(FIRST_FILE, SECOND_FILE)
    report = scan(disk, "dir", files)
    size = len(FIRST_FILE)
    expected = ScanReport(size=size + len(SECOND_FILE), end=size + len(SECOND_FILE))
    expected.last_stamp_ms = 5
    expected.add_part(5, (0, 2), b"+OK", FIRST_FILE.index(b"#TICKET"))
    expected.add_release(5, size + SECOND_FILE.index(b"#REL"))
    expected.add_part(6, (0, 1), b":1", size + SECOND_FILE.index(b"#TICKET"))
    assert report == expected
    assert applied(disk, whole(files, disk)) == [
        "SELECT 1", "SET a 1", "SELECT 0", "SET b 2", "SET c 3",
    ]  # fmt: skip


def test_the_last_stamp_of_all_files_counts() -> None:
    disk, files = on_disk(FIRST_FILE, log("SET c 3"), b"")
    assert scan(disk, "dir", files).last_stamp_ms == 3
    assert load(disk, "dir", whole(files, disk), Model().apply, now_ms=1).last_stamp_ms == 3


def test_a_skipped_part_still_selects() -> None:
    disk, files = on_disk(FIRST_FILE, SECOND_FILE)
    assert applied(disk, whole(files, disk)._replace(skip={6})) == [
        "SELECT 1", "SET a 1", "SELECT 0", "SET c 3",
    ]  # fmt: skip


@pytest.mark.parametrize("end", [len(FIRST_FILE) + 7, len(FIRST_FILE), len(log("#TS:3"))])
def test_a_cut_wherever_power_fails(end: int) -> None:
    """Steps of `load` on two files, each with a crash in front: the decision stays possible."""
    steps = 0
    while True:
        disk, files = on_disk(FIRST_FILE, SECOND_FILE, seed=steps)
        disk.crash_before = steps
        try:
            loaded = load(disk, "dir", Source(files, end, ()), Model().apply, now_ms=9)
            break
        except PowerError:
            disk.crash()
        found = b"".join(disk.data(f"dir/{name}") for name in files.incrs)
        assert len(found) >= end
        assert found == (FIRST_FILE + SECOND_FILE)[: len(found)], "cut in the middle"
        for name, before in zip(files.incrs, (FIRST_FILE, SECOND_FILE), strict=True):
            remains = disk.data(f"dir/{name}")
            if remains != before:
                assert remains + disk.data(f"dir/{name}.quarantine-9") == before
        again = load(disk, "dir", Source(files, end, ()), Model().apply, now_ms=10)
        assert again.end == end
        steps += 1
    assert steps > 6
    kept = b"".join(disk.durable(f"dir/{item.kept_as}") for item in loaded.removed)
    assert kept == (FIRST_FILE + SECOND_FILE)[end:]
    assert [disk.durable(f"dir/{name}") for name in files.incrs] == [
        FIRST_FILE[:end],
        SECOND_FILE[: max(0, end - len(FIRST_FILE))],
    ]


def test_cutting_nothing_touches_nothing() -> None:
    disk, files = on_disk(FIRST_FILE, SECOND_FILE)
    assert cut(disk, "dir", files, len(FIRST_FILE + SECOND_FILE), 9) == ()
    assert not disk.calls.keys() & {"pwrite", "ftruncate", "fdatasync", "sync_directory"}


def test_the_base_comes_first_and_has_its_size() -> None:
    disk, files = on_disk(log("SELECT 0", "SET a 2"))
    base = log("SELECT 3", "SET a 1", "#TS:41")
    disk.put("dir/appendonly.0.1.base.aof", base)
    files = files._replace(base=Base("appendonly.0.1.base.aof", len(base), 9))
    assert applied(disk, whole(files, disk)) == ["SELECT 3", "SET a 1", "SELECT 0", "SET a 2"]
    assert load(disk, "dir", whole(files, disk), Model().apply, now_ms=1).last_stamp_ms == 41
    assert scan(disk, "dir", files).base_ticket == 9
    for wrong in (base[:-1], base[:-9], base + log("#TS:42"), b""):
        disk.put("dir/appendonly.0.1.base.aof", wrong)
        with pytest.raises(SegmentError, match=f"{len(base)} bytes are expected") as caught:
            applied(disk, whole(files, disk))
        assert caught.value.name == "appendonly.0.1.base.aof"


def test_a_mark_across_two_reads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    data = log("SET a 1", "#TICKET:5:0-1:+OK", "MULTI", "EXEC")
    for size in range(9, 40):
        monkeypatch.setattr(aof, "LOG_WRITE_BYTES", size)
        disk, files = on_disk(data)
        assert list(scan(disk, "dir", files).tickets) == [5], size


# -- another number of workers --------------------------------------------------------------------

keys = st.sampled_from([b"k%d" % i for i in range(12)])
changes = st.one_of(
    st.tuples(st.just(b"SET"), keys, st.binary(max_size=5)),
    st.tuples(st.just(b"SET"), keys, st.binary(max_size=5)),
    st.tuples(st.just(b"DEL"), keys),
)
everywhere = st.sampled_from(
    [(b"FLUSHALL",), (b"FLUSHDB",), (b"SWAPDB", b"0", b"1"), (b"SWAPDB", b"2", b"1")]
)
DBS = 3


def directory_of(
    workers: int, history: Sequence[tuple[int, int, tuple[bytes, ...]]]
) -> tuple[FakeDisk, list[WorkerFiles], dict[tuple[int, bytes], bytes]]:
    """Write a history with several workers; return the files, and what all of them hold.

    Args:
        workers: each owns its share of the slots.
        history: worker (modulo; for a command without keys), db, command. Each is a turn.
    """
    disk = FakeDisk()
    segments, models, made = [], [], []
    for worker in range(workers):
        name = f"appendonly.{worker}.1.incr.aof"
        disk.put(f"dir/{name}", b"")
        files = WorkerFiles((), None, (name,))
        made.append(files)
        segments.append(open_segment(disk, "dir", files, "no", FakeSyncer(disk)))
        models.append(Model())
    for now_ms, (number, db, argv) in enumerate(history, 100):
        keyed = argv[0] in (b"SET", b"DEL")
        worker = owner_of(key_slot(argv[1]), workers) if keyed else number % workers
        segments[worker].log(db, argv)
        segments[worker].flush(now_ms)
        models[worker].apply((b"SELECT", b"%d" % db))
        models[worker].apply(argv)
    for segment in segments:
        segment.close(0)
    held: dict[tuple[int, bytes], bytes] = {}
    for model in models:
        held |= model.contents()
    return disk, made, held


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, DBS - 1), changes | everywhere), max_size=40
    ),
    st.sampled_from([1, 100, 1 << 16]),
)
def test_segments_are_split_anew(
    old: int, new: int, history: list[tuple[int, int, tuple[bytes, ...]]], block: int
) -> None:
    # A FLUSHALL of one worker here stands for one whose other parts are elsewhere in their logs: it
    # must not touch what comes from the other segments.
    disk, made, held = directory_of(old, history)
    last_ms = 99 + len(history) if history else 0
    found: dict[tuple[int, bytes], bytes] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aof, "LOG_READ_BYTES", block)
        for worker in range(new):
            slots = slot_range(worker, new)
            model = Model()
            name = f"appendonly.{worker}.2.base.aof"
            size, stamp_ms = resplit(
                disk,
                "dir",
                [whole(files, disk) for files in made],
                name,
                apply=model.apply,
                owns=lambda argv, slots=slots: (  # type: ignore[misc]
                    argv[0] not in (b"SET", b"DEL") or key_slot(argv[1]) in slots
                ),
                dump=model.dump,
                clear=model.dbs.clear,
                dbs=DBS,
            )
            assert stamp_ms == last_ms
            assert model.contents() == {}
            assert size == len(disk.data(f"dir/{name}")) == len(disk.durable(f"dir/{name}"))
            disk.put(f"dir/appendonly.{worker}.2.incr.aof", b"")
            base = Base(name, size, 0)
            files = WorkerFiles((), base, (f"appendonly.{worker}.2.incr.aof",))
            newcomer = Model()
            loaded = load(disk, "dir", Source(files, 0, ()), newcomer.apply, now_ms=1)
            assert loaded.last_stamp_ms == last_ms, "a stamp would go back"
            part = newcomer.contents()
            assert all(key_slot(key) in slots for _, key in part)
            assert not part.keys() & found.keys()
            found |= part
    assert found == held
    assert disk.descriptors == 0


def test_a_skipped_part_does_not_come_back_with_another_number_of_workers() -> None:
    disk, files = on_disk(FIRST_FILE, SECOND_FILE)
    model = Model()
    resplit(
        disk,
        "dir",
        [whole(files, disk)._replace(skip={5})],
        "appendonly.0.3.base.aof",
        apply=model.apply,
        owns=lambda argv: True,
        dump=model.dump,
        clear=model.dbs.clear,
        dbs=DBS,
    )
    assert disk.data("dir/appendonly.0.3.base.aof") == log(
        "SELECT 0", "SET b 2", "SET c 3", "#TS:5"
    )
