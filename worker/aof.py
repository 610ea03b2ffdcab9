"""The segment: what this worker appends to its log, when that is durable, and how it is read back.

Commands append to `Segment.pieces` all through a turn; `flush` at its end stamps, joins and writes
them. The bytes then go through two queues:

    pieces -> unwritten -> kept -> gone
           flush       pwrite   fdatasync

`kept` is in the file, but not yet known to be on the disk. After a failed fsync the kernel may have
dropped those pages and call them clean, so a second fsync proves nothing: everything in `kept`
becomes unwritten again and is written at the same offset. A write that was cut short goes on where
it stopped. So no byte is ever lost or written out of order while the process lives, and the file is
at all times a prefix of the log: torn at its end perhaps, never in the middle. What always holds:

    synced + size of kept + torn == written
    written - torn + size of unwritten == total

Under `no` what is written is given away at once and counts as synced; another policy after it makes
up for that with an fsync before anything else is acknowledged or given away.

`flush` returns whether this turn may be acknowledged. Under `always` that is when all is synced.
Under the others it is always so, but for a turn with a part of a spanning command: that must have
been written, otherwise this worker's death would undo one half of a command whose other half stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Final, NamedTuple, Protocol

from shoal.proto.aof_format import (
    EXEC,
    MULTI,
    TICKET_MARK,
    Command,
    Part,
    Read,
    Release,
    ScanReport,
    SegmentError,
    SegmentReader,
    encode_command,
    encode_release,
    encode_select,
    encode_stamp,
    encode_ticket,
)
from shoal.proto.limits import (
    LOG_READ_BYTES,
    LOG_WRITE_BYTES,
    MAX_UNSYNCED_LOG_BYTES,
    MAX_UNWRITTEN_LOG_BYTES,
)
from shoal.proto.manifest import POLICIES, WorkerFiles

SYNC_EVERY_MS: Final = 1000
"""Between two fsyncs of everysec."""

POSTPONE_MS: Final = 2000
"""How long a write keeps away from a running fsync, behind which it might hang in the kernel."""

RETRY_MS: Final = 100
"""Between two attempts on a failing disk."""


class LogOverflowError(Exception):
    """The disk fails and MAX_UNWRITTEN_LOG_BYTES wait for it: this worker cannot go on."""


class Disk:
    """The calls on files that a worker makes. All raise OSError; tests hand in one that does."""

    def open(self, path: str, *, create: bool = False) -> int:
        """Open a file for reading and writing; with create, make or empty it."""
        flags = os.O_RDWR | os.O_CLOEXEC
        return os.open(path, flags | os.O_CREAT | os.O_TRUNC if create else flags, 0o644)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Return that many bytes, fewer only at the end of the file."""
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        blocks = [data]
        while data and (size := size - len(data)):
            offset += len(data)
            data = os.pread(fd, size, offset)
            blocks.append(data)
        return b"".join(blocks)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write once and return how many bytes were taken."""
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        """Return when the file's bytes and its size are on the disk."""
        os.fdatasync(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        """Set the file's size."""
        os.ftruncate(fd, size)

    def size(self, fd: int) -> int:
        """Return the file's size."""
        return os.fstat(fd).st_size

    def close(self, fd: int) -> None:
        """Close the file."""
        os.close(fd)

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class Synced(NamedTuple):
    """How an fsync ended; error is None if well."""

    error: OSError | None
    took_ms: int


class Syncer(Protocol):
    """Does fdatasync beside the loop, one at a time."""

    def start(self, fd: int) -> None:
        """Begin; none may be running."""

    def poll(self) -> Synced | None:
        """Return the outcome of the last `start`, once; None while it runs."""

    def wait(self) -> Synced:
        """Return that outcome when it is there."""

    def close(self) -> None:
        """End; none may be running."""


class SyncThread:
    """A Syncer with one thread, which starts with the first fsync (so that forking stays safe)."""

    def __init__(self, disk: Disk) -> None:
        """Sync files of this disk."""
        self._disk = disk
        self._jobs: SimpleQueue[int | None] = SimpleQueue()
        self._outcomes: SimpleQueue[Synced] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, fd: int) -> None:
        """Begin; none may be running."""
        if self._thread is None:
            # A daemon: a worker that dies of an exception must not hang in it.
            self._thread = threading.Thread(target=self._run, name="fsync", daemon=True)
            self._thread.start()
        self._jobs.put(fd)

    def poll(self) -> Synced | None:
        """Return the outcome of the last `start`, once; None while it runs."""
        return None if self._outcomes.empty() else self._outcomes.get()

    def wait(self) -> Synced:
        """Return that outcome when it is there."""
        return self._outcomes.get()

    def close(self) -> None:
        """End the thread; none may be running."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (fd := self._jobs.get()) is not None:
            started_ns = time.monotonic_ns()
            error = None
            try:
                self._disk.fdatasync(fd)
            except OSError as failure:
                error = failure
            self._outcomes.put(Synced(error, (time.monotonic_ns() - started_ns) // 1_000_000))


class Segment:
    """The end of the log, to which this worker appends.

    Attributes:
        pieces: RESP of this turn's changes; append to it (never replace it) after `select`.
        db: the last db selected in the log, -1 before the first.
        last_write_ok: False from a failed write or fsync until all that failed has been made good;
            meanwhile clients' writes must be refused, with `error_text`.
        error_text: Redis's MISCONF error, None while the disk is well; the same object until the
            text is another one.
        delayed_fsync: how often a write did not wait any longer for a running fsync.
        last_fsync_ms: how long the last fsync took.
    """

    def __init__(
        self,
        disk: Disk,
        fd: int,
        size: int,
        policy: str,
        syncer: Syncer,
        *,
        open_tickets: Iterable[int] = (),
        base_bytes: int = 0,
        older_bytes: int = 0,
    ) -> None:
        """Append to an open file; see `open_segment`.

        Args:
            disk: where the file is.
            fd: of the file; `close` closes it.
            size: of the file, which ends in a whole record.
            policy: always, everysec or no.
            syncer: for everysec; `close` closes it.
            open_tickets: those that the log holds without `#REL`.
            base_bytes: size of the base, for `info`.
            older_bytes: size of earlier incremental files, for `info`.
        """
        assert policy in POLICIES, policy
        self.pieces: list[bytes] = []
        self.db = -1
        self.last_write_ok = True
        self.error_text: str | None = None
        self.delayed_fsync = 0
        self.last_fsync_ms = 0
        self._disk = disk
        self._fd = fd
        self._policy = policy
        self._syncer = syncer
        self._open_tickets = set(open_tickets)
        self._base_bytes = base_bytes
        self._older_bytes = older_bytes
        self._selects: dict[int, bytes] = {}
        self._stamp_ms = 0
        self._ticket_at = -1  # index in pieces of the begun ticket's line, -1 outside
        self._begun: tuple[int, Sequence[int]] = (0, ())
        self._block_at = -1  # index in pieces where the running transaction began, -1 outside
        self._block_db = -1  # what was selected then
        self._block_is_several = False  # one of its commands had several effects
        self._unwritten: deque[bytes] = deque()
        self._unwritten_bytes = 0
        self._kept: deque[bytes] = deque()
        self._torn = 0  # bytes of unwritten[0] that are in the file
        self._synced = self._written = self._total = size  # offsets
        self._must_write = 0  # offset up to which the file must reach before an acknowledgement
        self._has_ticket = False  # this turn has
        self._given_away = False  # under `no`, and no fsync since
        self._syncing = False
        self._sync_target = size  # offset
        self._sync_started_ms = -SYNC_EVERY_MS
        self._durable_until_ms = 0  # what was flushed before is synced
        self._waits_since_ms = 0  # when the first came for which an fsync is due, if one is
        self._sync_failed = False  # and none succeeded since
        self._postponed_ms: int | None = None
        self._retry_at_ms = 0
        self._error: OSError | None = None  # while last_write_ok is False

    # -- what a turn adds -------------------------------------------------------------------------

    def select(self, db: int) -> None:
        """Log a SELECT unless db is selected."""
        if db != self.db:
            command = self._selects.get(db)
            if command is None:
                command = self._selects[db] = encode_select(db)
            self.pieces.append(command)
            self.db = db

    def log(self, db: int, argv: Sequence[bytes]) -> None:
        """Log one command."""
        if db != self.db:
            self.select(db)
        self.pieces.append(encode_command(argv))

    def log_all(self, db: int, effects: Sequence[Sequence[bytes]]) -> None:
        """Log commands that take effect together: between MULTI and EXEC if there are several."""
        if len(effects) == 1 or self._ticket_at >= 0 or self._block_at >= 0:
            self._block_is_several |= len(effects) > 1
            for argv in effects:
                self.log(db, argv)
        elif effects:
            self.pieces.append(MULTI)
            for argv in effects:
                self.log(db, argv)
            self.pieces.append(EXEC)

    def begin_block(self) -> None:
        """Let all that is logged up to `end_block` be one record."""
        assert self._block_at < 0, "a transaction inside a transaction"
        self._block_at = len(self.pieces)
        self._block_db = self.db
        self._block_is_several = False

    def drop_block(self) -> None:
        """Forget what was logged since `begin_block`."""
        del self.pieces[self._block_at :]
        self.db = self._block_db
        self._block_at = -1

    def end_block(self, *, several: bool) -> None:
        """Put what was logged since `begin_block` between MULTI and EXEC, if it is more than one
        effect: `several` says that more than one command has logged something. Inside of a ticket
        that stands there already.
        """
        at, self._block_at = self._block_at, -1
        if (several or self._block_is_several) and self._ticket_at < 0:
            self.pieces.insert(at, MULTI)
            self.pieces.append(EXEC)

    def log_ticket(
        self,
        ticket: int,
        participants: Sequence[int],
        reply: object,
        db: int,
        effects: Sequence[Sequence[bytes]],
    ) -> None:
        """Log a part of a spanning command, also if it changed nothing.

        Args:
            ticket: its number.
            participants: the workers that log a part of it, this one included.
            reply: kept if it is the bytes of a status or an integer, else left out.
            db: that the effects are for.
            effects: commands, or none.
        """
        self.begin_ticket(ticket, participants)
        self.log_all(db, effects)
        self.end_ticket(reply)

    def begin_ticket(self, ticket: int, participants: Sequence[int]) -> None:
        """Let all that is logged up to `end_ticket` be this ticket's part."""
        assert self._ticket_at < 0, f"ticket {ticket} inside ticket {self._begun[0]}"
        self._ticket_at = len(self.pieces)
        self._begun = ticket, participants
        self.pieces += (b"", MULTI)  # the line has the reply, which is not known yet

    def end_ticket(self, reply: object) -> None:
        """Close the part; reply as in `log_ticket`."""
        assert self._ticket_at >= 0, "no ticket was begun"
        ticket, participants = self._begun
        kept = reply if isinstance(reply, bytes) else b""
        self.pieces[self._ticket_at] = encode_ticket(ticket, participants, kept)
        self.pieces.append(EXEC)
        self._ticket_at = -1
        self._has_ticket = True
        self._open_tickets.add(ticket)

    def release(self, ticket: int) -> None:
        """Log that the ticket's locks are released, if the log holds a part of it."""
        if ticket in self._open_tickets:
            self._open_tickets.remove(ticket)
            self.pieces.append(encode_release(ticket))

    # -- the end of a turn ------------------------------------------------------------------------

    @property
    def acknowledged(self) -> bool:
        """Whether everything flushed so far may be acknowledged; see the module's text."""
        if self._policy == "always":
            return self._synced == self._total and not self._given_away
        return self._must_write <= self._written

    def flush(self, now_ms: int) -> bool:
        """Write this turn's pieces, and make them durable as the policy says.

        Args:
            now_ms: of the StampClock.
        Returns: `acknowledged`. If not, hold the replies until this or `on_time` returns True.
        Raises: LogOverflowError. A failing disk raises nothing, see `last_write_ok`.
        """
        if self.pieces:
            self._join_pieces(now_ms)
            if not self.last_write_ok and self._unwritten_bytes > MAX_UNWRITTEN_LOG_BYTES:
                raise LogOverflowError(f"{self._unwritten_bytes} bytes wait for the disk")
        self._work(now_ms)
        return self.acknowledged

    def on_time(self, now_ms: int) -> bool:
        """Do what has become due: fsync, a postponed write, a retry. Call it ten times a second.

        Returns: `acknowledged`. Raises: nothing.
        """
        self._work(now_ms)
        return self.acknowledged

    @property
    def durable(self) -> bool:
        """Whether all that was logged is on the disk."""
        return not self.pieces and self._synced == self._total and not self._given_away

    def make_durable(self, now_ms: int) -> bool:
        """Write and sync all that was logged, whatever the policy (WAITAOF); tell whether that has
        worked. Raises: nothing.
        """
        if self.pieces:
            self._join_pieces(now_ms)
        if self._syncing:
            self._on_synced(self._syncer.wait())
        if self._unwritten:
            self._write()
        if not self._unwritten and not self.durable:
            self._sync_now()
        return self.durable

    def set_policy(self, policy: str) -> None:
        """Change appendfsync; to always makes all that is there durable at the next flush."""
        assert policy in POLICIES, policy
        if self._syncing:
            # So that never two are under way, one of which hears of the other's error.
            self._on_synced(self._syncer.wait())
        self._policy = policy
        if policy == "no":
            self._give_away()
            self._sync_failed = False

    def close(self, now_ms: int) -> None:
        """Write and sync everything, whatever the policy, and close the file.

        Raises: OSError when that fails; the file is closed all the same.
        """
        try:
            if self.pieces:
                self._join_pieces(now_ms)
            if self._syncing:
                self._on_synced(self._syncer.wait())
            if not self._write():
                assert self._error is not None
                raise self._error
            self._disk.fdatasync(self._fd)
        finally:
            self._syncer.close()
            self._disk.close(self._fd)

    def lag_ms(self, now_ms: int) -> int:
        """Return for how long the oldest flushed byte has waited for its fsync; 0 under `no`."""
        if self._synced == self._total:
            return 0
        return max(now_ms - max(self._waits_since_ms, self._durable_until_ms), 0)

    def info(self) -> dict[str, int | str]:
        """Return this segment's share of INFO persistence, in Redis's names (but for the last)."""
        return {
            "aof_last_write_status": "ok" if self.last_write_ok else "err",
            "aof_current_size": self._base_bytes + self._older_bytes + self._total,
            "aof_base_size": self._base_bytes,
            "aof_buffer_length": self._total - self._written,
            "aof_pending_bio_fsync": int(self._syncing),
            "aof_delayed_fsync": self.delayed_fsync,
            "aof_last_fsync_ms": self.last_fsync_ms,
        }

    # -- queues -----------------------------------------------------------------------------------

    def _join_pieces(self, now_ms: int) -> None:
        """Make this turn's pieces, of which there are some, one item of unwritten."""
        pieces = self.pieces
        assert self._ticket_at < 0, f"ticket {self._begun[0]} was not ended"
        if now_ms > self._stamp_ms:
            self._stamp_ms = now_ms
        pieces.insert(0, encode_stamp(self._stamp_ms))
        data = b"".join(pieces)
        pieces.clear()
        self._unwritten.append(data)
        self._unwritten_bytes += len(data)
        if self._synced == self._total:
            self._waits_since_ms = now_ms
        self._total += len(data)
        if self._has_ticket:
            self._has_ticket = False
            self._must_write = self._total

    def _work(self, now_ms: int) -> None:
        if self._syncing:
            outcome = self._syncer.poll()
            if outcome is not None:
                self._on_synced(outcome)
        if not self.last_write_ok and (self._unwritten or self._sync_failed):
            if now_ms < self._retry_at_ms:
                return
            self._retry_at_ms = now_ms + RETRY_MS
        if self._unwritten:
            if self._syncing and self.last_write_ok and self._may_wait(now_ms):
                return
            self._postponed_ms = None
            self._write()
        if self._policy == "always":
            if (self._written > self._synced or self._given_away) and not self._unwritten:
                self._sync_now()
        elif self._policy == "everysec" and (self._kept or self._given_away):
            self._sync_beside(now_ms)
        if not self.last_write_ok and not self._sync_failed and not self._unwritten:
            self.last_write_ok = True
            self._error = self.error_text = None

    def _may_wait(self, now_ms: int) -> bool:
        """Tell whether to postpone the write because of a running fsync."""
        if self._must_write > self._written:
            return False
        if self._postponed_ms is None:
            self._postponed_ms = now_ms
        if (
            now_ms - self._postponed_ms < POSTPONE_MS
            and self._unwritten_bytes <= MAX_UNSYNCED_LOG_BYTES
        ):
            return True
        self.delayed_fsync += 1
        return False

    def _write(self) -> bool:
        """Write all that is unwritten; on failure keep the rest and return False."""
        unwritten = self._unwritten
        while unwritten:
            if len(unwritten) > 1 and not self._torn:
                self._join_some()
            data = unwritten[0]
            torn = self._torn
            try:
                rest = memoryview(data)[torn:] if torn else data
                count = self._disk.pwrite(self._fd, rest, self._written)
                if not count:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            except OSError as error:
                self._on_error(error)
                return False
            self._written += count
            if torn + count < len(data):
                self._torn = torn + count  # the next attempt says why
                continue
            self._torn = 0
            unwritten.popleft()
            self._unwritten_bytes -= len(data)
            self._kept.append(data)
        self._must_write = 0
        if self._policy == "no":
            self._give_away()
        return True

    def _join_some(self) -> None:
        """Join the first of the unwritten turns: after a failure there may be thousands."""
        unwritten = self._unwritten
        joined = [unwritten.popleft()]
        size = len(joined[0])
        while unwritten and size < LOG_WRITE_BYTES:
            joined.append(unwritten.popleft())
            size += len(joined[-1])
        unwritten.appendleft(b"".join(joined) if len(joined) > 1 else joined[0])

    def _sync_now(self) -> None:
        started_ns = time.monotonic_ns()
        error = None
        try:
            self._disk.fdatasync(self._fd)
        except OSError as failure:
            error = failure
        self._sync_target = self._written
        self._on_synced(Synced(error, (time.monotonic_ns() - started_ns) // 1_000_000))

    def _sync_beside(self, now_ms: int) -> None:
        """Start an fsync if it is time; wait for one if too much depends on it."""
        kept_bytes = self._written - self._torn - self._synced
        if self._syncing:
            if kept_bytes > 2 * MAX_UNSYNCED_LOG_BYTES:
                self.delayed_fsync += 1
                self._on_synced(self._syncer.wait())
        elif (
            self._sync_failed
            or now_ms - self._sync_started_ms >= SYNC_EVERY_MS
            or kept_bytes > MAX_UNSYNCED_LOG_BYTES
        ):
            self._syncing = True
            self._sync_target = self._written - self._torn
            self._sync_started_ms = now_ms
            self._syncer.start(self._fd)

    def _on_synced(self, outcome: Synced) -> None:
        self._syncing = False
        self.last_fsync_ms = outcome.took_ms
        if outcome.error is None:
            self._sync_failed = self._given_away = False
            self._let_go(self._sync_target)
            self._durable_until_ms = self._sync_started_ms
            return
        self._sync_failed = True
        self._on_error(outcome.error)
        self._unwritten.extendleft(reversed(self._kept))
        self._unwritten_bytes += self._written - self._torn - self._synced
        self._kept.clear()
        self._written = self._synced
        self._torn = 0

    def _give_away(self) -> None:
        """Leave to the kernel what is in the file but not synced."""
        if self._kept:
            self._given_away = True
            self._let_go(self._written - self._torn)

    def _let_go(self, offset: int) -> None:
        """Forget what is in the file before the offset, the end of something kept."""
        kept = self._kept
        while self._synced < offset:
            self._synced += len(kept.popleft())

    def _on_error(self, error: OSError) -> None:
        self.last_write_ok = False
        self._error = error
        text = f"MISCONF Errors writing to the AOF file: {error.strerror}"
        if text != self.error_text:
            self.error_text = text


def open_segment(
    disk: Disk,
    directory: str,
    files: WorkerFiles,
    policy: str,
    syncer: Syncer,
    *,
    open_tickets: Iterable[int] = (),
) -> Segment:
    """Open a worker's last incremental file, after `load`, for appending. Raises: OSError."""
    older_bytes = 0
    for name in files.incrs[:-1]:
        with _opened(disk, directory, name) as (_, size):
            older_bytes += size
    fd = disk.open(os.path.join(directory, files.incrs[-1]))
    return Segment(
        disk,
        fd,
        disk.size(fd),
        policy,
        syncer,
        open_tickets=open_tickets,
        base_bytes=0 if files.base is None else files.base.size,
        older_bytes=older_bytes,
    )


# -- reading back ---------------------------------------------------------------------------------


class Removed(NamedTuple):
    """The end of a file that was cut off, and the file beside it that has these bytes now."""

    name: str
    offset: int
    size: int
    kept_as: str


class Loaded(NamedTuple):
    """What a load did.

    Attributes:
        commands: applied.
        end: offset after the last one, through all the incremental files.
        last_stamp_ms: the last stamp of the segment, 0 without any.
        removed: what was cut off.
    """

    commands: int
    end: int
    last_stamp_ms: int
    removed: tuple[Removed, ...] = ()


class Source(NamedTuple):
    """A segment to read, as the recovery's plan has it.

    Attributes:
        files: of the worker.
        end: offset to stop at, through all its incremental files.
        skip: tickets whose parts never came into effect.
    """

    files: WorkerFiles
    end: int
    skip: Collection[int]


Apply = Callable[[Command], object]
Owns = Callable[[Command], bool]
Dump = Callable[[int], Iterable[Sequence[bytes]]]


def scan(disk: Disk, directory: str, files: WorkerFiles, *, exact: bool = False) -> ScanReport:
    """Look through a segment for what the recovery decides upon.

    Args:
        disk: where it is.
        directory: of the files.
        files: whose incremental files to scan; the base holds no ticket.
        exact: walk over the segment even if it holds no part of a spanning command. Otherwise that
            is left to the replay, so that the segment is parsed once.
    Returns: the report, with the damage if there is any. Raises: OSError.
    """
    report = ScanReport(base_ticket=0 if files.base is None else files.base.ticket)
    with contextlib.ExitStack() as stack:
        opened = [
            (name, *stack.enter_context(_opened(disk, directory, name))) for name in files.incrs
        ]
        report.size = report.end = sum(size for _, _, size in opened)
        report.exact = exact or any(_mentions(read, size, TICKET_MARK) for _, read, size in opened)
        if not report.exact:
            return report
        shift = 0
        for position, (name, read, size) in enumerate(opened, 1):
            reader = SegmentReader(read, size)
            try:
                _take_tickets(reader, report, shift)
                if reader.end < size and position < len(opened):
                    raise SegmentError(reader.end, "a record without its end")
            except SegmentError as error:
                report.damage = name, error.offset, error.reason
                return report
            report.last_stamp_ms = reader.last_stamp_ms or report.last_stamp_ms
            report.end = shift + reader.end
            shift += size
    return report


def _take_tickets(reader: SegmentReader, report: ScanReport, shift: int) -> None:
    for event in reader:
        if event.__class__ is list:
            continue
        if isinstance(event, Part):
            report.add_part(event.ticket, event.participants, event.reply, shift + event.offset)
        elif isinstance(event, Release):
            report.add_release(event.ticket, shift + event.offset)


def cut(
    disk: Disk, directory: str, files: WorkerFiles, end: int, now_ms: int
) -> tuple[Removed, ...]:
    """Cut a segment off at `end`, an offset through all its incremental files.

    The bytes behind it are first copied to `<name>.quarantine-<now_ms>`. A crash in between leaves
    the segment as it was, or cut at a later place: the decision about it would be the same.
    Returns: what was removed, to be logged. Raises: OSError.
    """
    removed: list[Removed] = []
    shift = 0
    with contextlib.ExitStack() as stack:
        tails: list[tuple[int, int]] = []
        for name in files.incrs:
            fd = disk.open(os.path.join(directory, name))
            stack.callback(disk.close, fd)
            size = disk.size(fd)
            offset = max(0, end - shift)
            shift += size
            if offset < size:
                kept_as = f"{name}.quarantine-{now_ms}"
                _copy(disk, fd, offset, size, os.path.join(directory, kept_as))
                tails.append((fd, offset))
                removed.append(Removed(name, offset, size - offset, kept_as))
        if removed:
            disk.sync_directory(directory)
        for fd, offset in reversed(tails):
            disk.ftruncate(fd, offset)
            disk.fdatasync(fd)
    return tuple(removed)


def replay(
    disk: Disk,
    directory: str,
    source: Source,
    apply: Apply,
    owns: Owns | None = None,
) -> Loaded:
    """Run a segment's commands, base first; changes no file.

    Args:
        disk: where it is.
        directory: of the files.
        source: what to read. Of skipped parts nothing but SELECT is applied.
        apply: called with each argv, SELECT included; MULTI and EXEC are not passed on, what is
            between them comes together or not at all.
        owns: with it only SELECT and commands for which it is true are applied.
    Returns: what was done; `end` is less than source.end if the tail is truncated.
    Raises: SegmentError with the file's name; OSError; what `apply` raises.
    """
    files, end, skip = source
    commands = stamp_ms = shift = done = 0
    if files.base is not None:
        with _opened(disk, directory, files.base.name) as (read, size):
            reader = SegmentReader(read, size)
            commands += _run(reader, files.base.name, skip, apply, owns)
            stamp_ms = reader.last_stamp_ms
            if size != files.base.size or reader.end < size:
                reason = f"{files.base.size} bytes are expected, of {size} are whole"
                raise SegmentError(reader.end, reason, files.base.name)
    for name in files.incrs:
        with _opened(disk, directory, name) as (read, size):
            reader = SegmentReader(read, max(0, min(size, end - shift)))
            commands += _run(reader, name, skip, apply, owns)
            stamp_ms = reader.last_stamp_ms or stamp_ms
            done = shift + reader.end
            shift += size
            if reader.end < reader.size:
                if name != files.incrs[-1]:
                    raise SegmentError(reader.end, "a record without its end", name)
                break
    return Loaded(commands, min(done, end), stamp_ms)


def _run(
    reader: SegmentReader, name: str, skip: Collection[int], apply: Apply, owns: Owns | None
) -> int:
    count = 0
    try:
        for event in reader:
            if event.__class__ is list:
                commands: list[Command] = event
            elif not isinstance(event, Part):
                continue
            elif event.ticket in skip:
                commands = [argv for argv in event.commands if argv[0] == b"SELECT"]
            else:
                commands = event.commands
            if owns is not None:
                commands = [argv for argv in commands if argv[0] == b"SELECT" or owns(argv)]
            for argv in commands:
                apply(argv)
            count += len(commands)
    except SegmentError as error:
        raise SegmentError(error.offset, error.reason, name) from None
    return count


def load(
    disk: Disk,
    directory: str,
    source: Source,
    apply: Apply,
    *,
    now_ms: int,
    load_truncated: bool = True,
) -> Loaded:
    """Bring a worker's own segment to the planned end, run it, and make it durable.

    Afterwards what was read is on the disk: otherwise a second crash could take parts away from
    tickets that have been found complete.

    Args:
        disk, directory, source, apply: as in `replay`.
        now_ms: for the names of the files with what is cut off.
        load_truncated: cut off a tail that only the replay finds (aof-load-truncated).
    Raises: as `replay`; SegmentError for such a tail without load_truncated.
    """
    removed = cut(disk, directory, source.files, source.end, now_ms)
    loaded = replay(disk, directory, source, apply)
    if loaded.end < source.end:
        if not load_truncated:
            raise SegmentError(loaded.end, "a truncated tail", source.files.incrs[-1])
        removed += cut(disk, directory, source.files, loaded.end, now_ms)
    for name in source.files.incrs:
        fd = disk.open(os.path.join(directory, name))
        try:
            disk.fdatasync(fd)
        finally:
            disk.close(fd)
    return loaded._replace(removed=removed)


def resplit(
    disk: Disk,
    directory: str,
    sources: Sequence[Source],
    name: str,
    *,
    apply: Apply,
    owns: Owns,
    dump: Dump,
    clear: Callable[[], None],
    dbs: int,
) -> tuple[int, int]:
    """Write a new worker's base out of all the old segments, for a changed number of workers.

    One segment after the other is run into the empty keyspace, dumped and cleared: a FLUSHALL in
    one of them concerns its own keys, not those that came from another.

    Args:
        disk: where they are.
        directory: of the files.
        sources: the old segments, cut already.
        name: of the base, which is made and synced.
        apply, owns: as in `replay`; owns must be true for commands without keys.
        dump: gives the commands that rebuild a db.
        clear: empties the keyspace, which is empty now and at the end.
        dbs: how many there are.
    Returns: the base's size, and the last stamp of all segments.
    Raises: as `replay`.
    """
    last_stamp_ms = 0
    fd = disk.open(os.path.join(directory, name), create=True)
    try:
        offset = 0
        for source in sources:
            loaded = replay(disk, directory, source, apply, owns)
            last_stamp_ms = max(last_stamp_ms, loaded.last_stamp_ms)
            for block in _encoded(dump, dbs):
                _write_whole(disk, fd, block, offset)
                offset += len(block)
            clear()
        # The clock must not go back behind a stamp that only the old segments have.
        stamp = encode_stamp(last_stamp_ms)
        _write_whole(disk, fd, stamp, offset)
        offset += len(stamp)
        disk.fdatasync(fd)
    finally:
        disk.close(fd)
    return offset, last_stamp_ms


def _encoded(dump: Dump, dbs: int) -> Iterator[bytes]:
    """Yield the dump as RESP, in blocks that a reader takes in one go."""
    pieces: list[bytes] = []
    size = 0
    for db in range(dbs):
        selected = False
        for argv in dump(db):
            if not selected:
                pieces.append(encode_select(db))
                selected = True
            pieces.append(encode_command(argv))
            size += len(pieces[-1])
            if size >= LOG_READ_BYTES:
                yield b"".join(pieces)
                pieces = []
                size = 0
    if pieces:
        yield b"".join(pieces)


@contextlib.contextmanager
def _opened(disk: Disk, directory: str, name: str) -> Iterator[tuple[Read, int]]:
    fd = disk.open(os.path.join(directory, name))
    try:
        yield lambda offset, size: disk.pread(fd, size, offset), disk.size(fd)
    finally:
        disk.close(fd)


def _mentions(read: Read, size: int, mark: bytes) -> bool:
    """Tell whether the bytes occur in the file, be it inside a value."""
    offset = 0
    end = b""
    while offset < size:
        block = read(offset, LOG_WRITE_BYTES)
        if not block:
            raise EOFError(f"the file ended at {offset}, it had {size} bytes")
        if mark in end + block[: len(mark)] or mark in block:
            return True
        end = block[-len(mark) :]
        offset += len(block)
    return False


def _copy(disk: Disk, fd: int, offset: int, size: int, path: str) -> None:
    """Copy the end of a file to a new one, and sync it."""
    target = disk.open(path, create=True)
    try:
        at = offset
        while at < size:
            block = disk.pread(fd, min(LOG_WRITE_BYTES, size - at), at)
            if not block:
                raise EOFError(f"{path}: the source ended at {at}, it had {size} bytes")
            _write_whole(disk, target, block, at - offset)
            at += len(block)
        disk.fdatasync(target)
    finally:
        disk.close(target)


def _write_whole(disk: Disk, fd: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        count = disk.pwrite(fd, rest, offset)
        if not count:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[count:]
        offset += count
