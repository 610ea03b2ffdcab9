r"""The append only file: records and annotations, as they are written and as they are read back.

A segment is what Redis calls an AOF: commands as RESP arrays of bulk strings. Lines that begin
with `#` are annotations; Redis's loader and redis-check-aof skip them:

    #TS:1732288888000       the time in ms, first line of every turn's write
    #TICKET:57:0-2,5:+OK    a part of ticket 57; workers 0, 1, 2 and 5 log one each; the answer
                            here. MULTI, commands (or none), EXEC follow
    #REL:57                 the locks of ticket 57 are released here

A *record* is an annotation, a command, or all of MULTI .. EXEC with the `#TICKET` before it. Half a
record at the end of a segment is a truncated tail; so are zeros, which a power loss may leave
there. Unknown annotations are skipped. As in Redis's loader the two bytes after a bulk string are
not looked at, but at the very end of the file. There are no checksums: damage inside a value goes
unseen, as in Redis.

`SegmentReader` has two speeds. The fast one hands hiredis the bytes up to the next annotation; a
`#` counts as one only if hiredis has consumed all before it, so text in a value that looks like an
annotation does no harm. After *anything* out of the ordinary (a protocol error, a large value, an
end in the middle) the plain one walks byte by byte from the last *checkpoint*: the start of an
annotation outside MULTI that was proven to be one. It leaves out what was given away already, says
exactly what is wrong and where, and if nothing is, lets the fast one go on.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple, cast

import hiredis
from shoal.proto.limits import (
    LOG_READ_BYTES,
    MAX_ANNOTATION_BYTES,
    MAX_LOGGED_BULK_BYTES,
    MAX_LOGGED_REPLY_BYTES,
    MAX_WORKERS,
)

MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"
# hiredis declares a tuple of one.
_pack: Callable[[tuple[bytes, ...]], bytes] = cast(Any, hiredis.pack_command)

_LOGGED_REPLY: Final = re.compile(rb"[+:][^\r\n]*")

TICKET_MARK: Final = b"#TICKET:"
"""A file in which these bytes occur nowhere holds no part of a spanning command."""

Command = list[bytes]
Read = Callable[[int, int], bytes]
"""`read(offset, size)`: that many bytes of the file, fewer only at its end."""


class SegmentError(Exception):
    """Damage before the end of a segment.

    Attributes:
        offset: of the damage, in bytes.
        reason: what is wrong there.
        name: of the file; the reader does not know it, its caller does.
    """

    def __init__(self, offset: int, reason: str, name: str = "") -> None:
        super().__init__(f"{name or 'segment'}: {reason} at offset {offset}")
        self.offset = offset
        self.reason = reason
        self.name = name


# -- writing --------------------------------------------------------------------------------------


def encode_command(argv: Sequence[bytes]) -> bytes:
    """Return a command as it stands in the log."""
    return _pack(tuple(argv))


def encode_select(db: int) -> bytes:
    """Return the SELECT that precedes commands on another db.

    >>> encode_select(3)
    b'*2\\r\\n$6\\r\\nSELECT\\r\\n$1\\r\\n3\\r\\n'
    """
    return encode_command((b"SELECT", b"%d" % db))


def encode_stamp(now_ms: int) -> bytes:
    """Return the first line of a turn's write.

    >>> encode_stamp(1732288888000)
    b'#TS:1732288888000\\r\\n'
    """
    return b"#TS:%d\r\n" % now_ms


def encode_ticket(ticket: int, participants: Sequence[int], reply: bytes) -> bytes:
    """Return the line ahead of a part's MULTI.

    Args:
        ticket: its number, positive.
        participants: the workers that log a part of it.
        reply: the part's RESP reply; kept (without CRLF) if it is a status or an integer of up to
            MAX_LOGGED_REPLY_BYTES, else the field is empty.
    Raises: ValueError when the line would be longer than other readers take.

    >>> encode_ticket(57, (0, 1, 2, 5), b"+OK\\r\\n")
    b'#TICKET:57:0-2,5:+OK\\r\\n'
    """
    reply = reply.removesuffix(b"\r\n")
    if len(reply) > MAX_LOGGED_REPLY_BYTES or _LOGGED_REPLY.fullmatch(reply) is None:
        reply = b""
    line = b"#TICKET:%d:%b:%b\r\n" % (ticket, encode_numbers(participants).encode(), reply)
    if len(line) > MAX_ANNOTATION_BYTES:
        raise ValueError(f"annotation of {len(line)} bytes, limit {MAX_ANNOTATION_BYTES}")
    return line


def encode_release(ticket: int) -> bytes:
    """Return the line that says that a ticket's locks are released.

    >>> encode_release(57)
    b'#REL:57\\r\\n'
    """
    return b"#REL:%d\r\n" % ticket


def encode_numbers(numbers: Sequence[int]) -> str:
    """Return numbers as ranges.

    >>> encode_numbers((7, 0, 1, 2, 4, 5))
    '0-2,4-5,7'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def decode_numbers(text: str, limit: int) -> tuple[int, ...]:
    """Return the numbers of ranges; inverse of `encode_numbers`.

    Raises: ValueError unless they ascend and are below the limit.

    >>> decode_numbers("0-2,4-5,7", 8)
    (0, 1, 2, 4, 5, 7)
    """
    numbers: list[int] = []
    for item in text.split(",") if text else ():
        low, dash, high = item.partition("-")
        first = _decimal(low)
        last = _decimal(high) if dash else first
        if not (numbers[-1] if numbers else -1) < first <= last < limit:
            raise ValueError(f"{text!r} is no ascending list of numbers below {limit}")
        numbers += range(first, last + 1)
    return tuple(numbers)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and len(text) > 1):
        raise ValueError(f"{text!r} is no number")
    return int(text)


# -- reading --------------------------------------------------------------------------------------


class Part(NamedTuple):
    """One worker's share of a ticket, whole.

    Attributes:
        offset: of its `#TICKET` line.
        ticket, participants, reply: as in `encode_ticket`, the reply without CRLF or empty.
        commands: those between MULTI and EXEC.
    """

    offset: int
    ticket: int
    participants: tuple[int, ...]
    reply: bytes
    commands: list[Command]


class Release(NamedTuple):
    """A `#REL` line and its offset."""

    offset: int
    ticket: int


Event = list[Command] | Part | Release
"""A list is a run of commands that are whole records; MULTI and EXEC are left out."""

_STAMP: Final = re.compile(rb"#TS:(0|[1-9][0-9]{0,17})\r\n")
_TICKET: Final = re.compile(rb"#TICKET:([1-9][0-9]{0,17}):([0-9,-]*):((?:[+:][^\r\n]*)?)\r\n")
_RELEASE: Final = re.compile(rb"#REL:([1-9][0-9]{0,17})\r\n")
_KNOWN: Final = (b"#TS:", TICKET_MARK, b"#REL:")
_COUNT: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_MAX_COUNT_LINE: Final = 20

_LISTS: Final = {list}
_PROBE: Final = b"*1\r\n$5\r\nprobe\r\n"
_PROBED: Final = [b"probe"]
_MAX_HELD_BYTES: Final = 1 << 20  # of one unfinished command in hiredis, which copies as it grows
_HASH: Final = b"#"[0]
_STAR: Final = b"*"[0]


class _OddError(Exception):
    """This is no segment; `at` is the offset, -1 for that of the command or annotation."""

    def __init__(self, reason: str, at: int = -1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


class _EndError(Exception):
    """The segment ends in the middle of a record."""


class _Assembler:
    """Commands and annotations in, events out; refuses what cannot follow what was before."""

    def __init__(self) -> None:
        self._block: list[Command] | None = None  # of the open MULTI
        # The block's, or the next one's.
        self._ticket: tuple[int, int, tuple[int, ...], bytes] | None = None

    @property
    def closed(self) -> bool:
        """Whether a record ends here."""
        return self._block is None and self._ticket is None

    def take(self, commands: list[Command]) -> list[Event]:
        """Return the events that the commands complete."""
        events: list[Event] = []
        plain: list[Command] = []
        block, ticket = self._block, self._ticket
        for argv in commands:
            if len(argv) < 2:
                if not argv:
                    raise _OddError("a command without a name")
                name = argv[0].upper()
                if name == b"MULTI":
                    if block is not None:
                        raise _OddError("MULTI inside MULTI")
                    block = []
                    continue
                if name == b"EXEC":
                    if block is None:
                        raise _OddError("EXEC without MULTI")
                    if ticket is None:
                        plain += block
                    else:
                        if plain:
                            events.append(plain)
                            plain = []
                        events.append(Part(*ticket, block))
                        ticket = None
                    block = None
                    continue
            if block is not None:
                block.append(argv)
            elif ticket is not None:
                raise _OddError("#TICKET without MULTI")
            else:
                plain.append(argv)
        if plain:
            events.append(plain)
        self._block, self._ticket = block, ticket
        return events

    def annotate(self, line: bytes, offset: int) -> Release | None:
        """Take an annotation, with its CRLF, that is not a stamp."""
        found = _TICKET.fullmatch(line)
        if found is not None:
            if not self.closed:
                raise _OddError("#TICKET inside MULTI", offset)
            try:
                participants = decode_numbers(found[2].decode(), MAX_WORKERS)
            except ValueError as error:
                raise _OddError(f"malformed annotation: {error}", offset) from None
            self._ticket = (offset, int(found[1]), participants, found[3])
            return None
        found = _RELEASE.fullmatch(line)
        if found is not None:
            if not self.closed:
                raise _OddError("#REL inside MULTI", offset)
            return Release(offset, int(found[1]))
        if line.startswith(_KNOWN):
            raise _OddError(f"malformed annotation {line[:40]!r}", offset)
        return None


class SegmentReader:
    """Walk over a segment, once: `for event in reader`.

    The events are those of a prefix of the segment in whole records. After the loop `end` and
    `last_stamp_ms` are known.

    Attributes:
        size: bytes to read; the file may be longer.
        end: offset after the last whole record; less than `size` when the tail is truncated.
        last_stamp_ms: the last stamp before `end`, 0 if there is none.
    """

    def __init__(self, read: Read, size: int) -> None:
        """Read the first `size` bytes through `read`."""
        self.size = size
        self.end = 0
        self.last_stamp_ms = 0
        self._read = read
        self._data_size = size  # without what cannot be whole, see the function
        self._done = False
        self._checkpoint = 0
        self._given = 0  # how many commands and parts after the checkpoint the caller has
        self._stamp_ms = 0  # the last before the checkpoint
        self._reached = 0  # the plain walk hands over at the first record that starts here or later

    def __iter__(self) -> Iterator[Event]:
        """Yield the events. Raises: SegmentError at damage, after the events before it."""
        self._data_size = _data_size(self._read, self.size)
        while not self._done:
            yield from self._fast()
            if not self._done:
                yield from self._plain()

    def _finish(self, end: int, stamp_ms: int) -> None:
        self.end = end
        self.last_stamp_ms = stamp_ms
        self._done = True

    def _window(self, offset: int) -> bytes:
        """Return the next bytes, without an annotation that they may contain half of."""
        size = self._data_size
        window = self._read(offset, min(LOG_READ_BYTES, size - offset))
        if not window and offset < size:
            raise EOFError(f"the file ended at {offset}, it had {size} bytes")
        if offset + len(window) < size:
            mark = window.rfind(b"\n#", max(0, len(window) - MAX_ANNOTATION_BYTES - 1)) + 1
            if mark and window.find(b"\r\n", mark) < 0:
                return window[:mark]
        return window

    def _fast(self) -> Iterator[Event]:
        """Yield events up to the end, or up to anything that is out of the ordinary."""
        parser = hiredis.Reader()
        feed, gets, unfinished = parser.feed, parser.gets, parser.has_data
        assembler = _Assembler()
        offset = self._checkpoint
        stamp_ms = self._stamp_ms
        batch: list[Any] = []
        fresh = True  # a record starts here, unless the file is damaged
        held = 0
        while window := self._window(offset):
            length = len(window)
            self._reached = offset + length
            add, find = batch.append, window.find
            proven = False  # whether there is a checkpoint in this window
            stamp = None
            start = 0
            mark = 0 if window[0] == _HASH else find(b"\n#") + 1 or -1
            try:
                while True:
                    stop = mark if mark >= 0 else length
                    if stop > start:
                        if fresh:
                            if window[start] != _STAR:
                                return
                            fresh = False
                        feed(window, start, stop - start)
                        while (argv := gets()) is not False:
                            add(argv)
                    if mark < 0:
                        break
                    if unfinished():  # inside a value
                        start = mark
                        mark = find(b"\n#", mark) + 1 or -1
                        continue
                    found = _STAMP.match(window, mark)
                    if found is None or not proven:
                        if not _between_commands(parser):
                            return
                        for event in _events(batch, assembler):
                            yield event
                            self._given += len(event) if event.__class__ is list else 1
                        batch = []
                        add = batch.append
                        if assembler.closed:
                            if stamp is not None:
                                stamp_ms = int(stamp[1])
                            self._checkpoint = offset + mark
                            self._given = 0
                            self._stamp_ms = stamp_ms
                            proven = True
                    if found is not None:
                        stamp = found
                        start = found.end()
                    else:
                        start = find(b"\r\n", mark, mark + MAX_ANNOTATION_BYTES) + 2
                        if start < 2:
                            return
                        release = assembler.annotate(window[mark:start], offset + mark)
                        if release is not None:
                            yield release
                            self._given += 1
                    fresh = True
                    mark = find(b"\n#", start - 1) + 1 or -1
                for event in _events(batch, assembler):
                    yield event
                    self._given += len(event) if event.__class__ is list else 1
            except (hiredis.ProtocolError, _OddError):
                return
            batch = []
            if stamp is not None:
                stamp_ms = int(stamp[1])
            offset += length
            held = held + length if unfinished() else 0
            if held > _MAX_HELD_BYTES:
                return
        if assembler.closed and not unfinished() and _between_commands(parser):
            self._finish(offset, stamp_ms)

    def _plain(self) -> Iterator[Event]:
        """Yield what the caller has not, from the checkpoint to the record at `_reached`."""
        cursor = _Cursor(self._read, self._checkpoint, self._data_size)
        assembler = _Assembler()
        skip = self._given
        record = self._checkpoint
        stamp_ms = stamp_at_record = self._stamp_ms
        item = record
        try:
            while cursor.offset < cursor.size:
                item = cursor.offset
                if assembler.closed:
                    record = item
                    stamp_at_record = stamp_ms
                    if record >= self._reached:
                        self._checkpoint = record
                        self._given = 0
                        self._stamp_ms = stamp_ms
                        return
                events: list[Event]
                if cursor.at_annotation():
                    line = cursor.annotation()
                    found = _STAMP.fullmatch(line)
                    if found is not None:
                        stamp_ms = int(found[1])
                        continue
                    release = assembler.annotate(line, item)
                    events = [] if release is None else [release]
                else:
                    events = assembler.take([cursor.command()])
                for event in events:
                    if event.__class__ is not list:
                        if skip:
                            skip -= 1
                        else:
                            yield event
                    elif skip < len(event):
                        yield event[skip:]
                        skip = 0
                    else:
                        skip -= len(event)
        except _EndError:
            self._finish(record, stamp_at_record)
            return
        except _OddError as odd:
            raise SegmentError(item if odd.at < 0 else odd.at, odd.reason) from None
        if assembler.closed:
            record, stamp_at_record = cursor.offset, stamp_ms
        self._finish(record, stamp_at_record)


def _between_commands(parser: hiredis.Reader) -> bool:
    """Tell whether a command ended with the last byte; the parser must have used up all of them.

    It has also done that between two arguments, where a damaged file may have an annotation.
    """
    parser.feed(_PROBE)
    try:
        return bool(parser.gets() == _PROBED)
    except hiredis.ProtocolError:
        return False


def _events(batch: list[Any], assembler: _Assembler) -> list[Event]:
    """Check what hiredis parsed: it takes all of RESP3, a segment holds arrays of bulk strings."""
    if not batch:
        return []
    if set(map(type, batch)) != _LISTS:
        raise _OddError("not a command")
    try:
        b"".join(chain.from_iterable(batch))
    except TypeError:
        raise _OddError("an argument that is not a bulk string") from None
    if assembler.closed and min(map(len, batch)) > 1:
        return [batch]
    return assembler.take(batch)


def _data_size(read: Read, size: int) -> int:
    """Return how many bytes can be whole records: a segment ends in CRLF.

    Trailing zeros are left out. If the last two bytes are no CRLF then the last of them is left out
    too, so that the record there ends too early in both walks, whatever they think of its CRLF.
    """
    while size:
        start = max(0, size - LOG_READ_BYTES)
        block = read(start, size - start)
        if len(block) < size - start:
            raise EOFError(f"the file ended at {start + len(block)}, it had {size} bytes")
        block = block.rstrip(b"\0")
        if block:
            end = start + len(block)
            return end if read(max(0, end - 2), min(end, 2)) == b"\r\n" else end - 1
        size = start
    return 0


class _Cursor:
    """Take a segment apart byte by byte. Methods raise _EndError when the data ends too early."""

    def __init__(self, read: Read, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size
        self._read = read
        self._buffer = b""
        self._start = offset  # of the buffer in the file

    def at_annotation(self) -> bool:
        return self._peek(1) == b"#"

    def annotation(self) -> bytes:
        return self._line(MAX_ANNOTATION_BYTES, "an annotation")

    def command(self) -> Command:
        self._expect(b"*")
        return [self._bulk() for _ in range(self._count("number of arguments"))]

    def _bulk(self) -> bytes:
        self._expect(b"$")
        at = self.offset
        size = self._count("length")
        if size > MAX_LOGGED_BULK_BYTES:
            raise _OddError(f"length {size}, limit {MAX_LOGGED_BULK_BYTES}", at)
        if size + 2 > self.size - self.offset:
            raise _EndError
        return self._take(size + 2)[:-2]

    def _expect(self, kind: bytes) -> None:
        at = self.offset
        found = self._take(1)
        if found != kind:
            raise _OddError(f"expected {kind.decode()!r}, found {found!r}", at)

    def _count(self, what: str) -> int:
        at = self.offset
        line = self._line(_MAX_COUNT_LINE, what)[:-2]
        if _COUNT.fullmatch(line) is None:
            raise _OddError(f"bad {what} {line!r}", at)
        return int(line)

    def _line(self, limit: int, what: str) -> bytes:
        """Take a line with its CRLF, of up to `limit` bytes."""
        end = self._peek(limit).find(b"\r\n")
        if end < 0:
            if self.size - self.offset < limit:
                raise _EndError
            raise _OddError(f"{what} without end", self.offset)
        return self._take(end + 2)

    def _take(self, size: int) -> bytes:
        data = self._peek(size)
        if len(data) < size:
            raise _EndError
        self.offset += size
        return data

    def _peek(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        size = min(size, self.size - self.offset)
        start = self.offset - self._start
        if start + size > len(self._buffer):
            whole = min(max(size, LOG_READ_BYTES), self.size - self.offset)
            self._buffer = self._read(self.offset, whole)
            self._start = self.offset
            start = 0
            if len(self._buffer) < size:
                raise EOFError(f"the file ended at {self.offset}, it had {self.size} bytes")
        return self._buffer[start : start + size]


# -- what a scan tells ----------------------------------------------------------------------------


def _numbers() -> array[int]:
    return array("q")


@dataclass
class ScanReport:
    """What a worker found in one segment, for the supervisor's decision.

    Offsets count through all incremental files of the segment, as if they were one. A segment may
    hold millions of tickets, so they are kept in parallel arrays, in the order of the log.

    Attributes:
        size: bytes.
        end: where the last whole record ends; less than size if the tail is truncated.
        exact: False when the segment holds no ticket and was not walked over: then `end` is `size`
            without proof, no stamp is known, and the replay finds what is wrong.
        last_stamp_ms: 0 if there is none.
        damage: file, offset in it and reason; what follows it was not read.
        base_ticket: every ticket up to this one that concerns this worker is settled: in the base,
            or skipped before that was written.
        tickets, offsets, groups: of each part; a group is an index into participants.
        participants: the sets of workers that occur, ascending.
        released, released_at: of each `#REL`.
        open_replies: tickets without `#REL`, with the part's reply (empty if it was not kept).
    """

    size: int = 0
    end: int = 0
    exact: bool = True
    last_stamp_ms: int = 0
    damage: tuple[str, int, str] | None = None
    base_ticket: int = 0
    tickets: array[int] = field(default_factory=_numbers)
    offsets: array[int] = field(default_factory=_numbers)
    groups: array[int] = field(default_factory=_numbers)
    participants: list[tuple[int, ...]] = field(default_factory=list)
    released: array[int] = field(default_factory=_numbers)
    released_at: array[int] = field(default_factory=_numbers)
    open_replies: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._group_of = {group: index for index, group in enumerate(self.participants)}

    def add_part(self, ticket: int, participants: tuple[int, ...], reply: bytes, at: int) -> None:
        """Note a part at offset `at`."""
        group = self._group_of.get(participants)
        if group is None:
            group = self._group_of[participants] = len(self.participants)
            self.participants.append(participants)
        self.tickets.append(ticket)
        self.offsets.append(at)
        self.groups.append(group)
        self.open_replies[ticket] = reply

    def add_release(self, ticket: int, at: int) -> None:
        """Note a `#REL` at offset `at`."""
        self.released.append(ticket)
        self.released_at.append(at)
        self.open_replies.pop(ticket, None)

    @property
    def last_ticket(self) -> int:
        """The largest ticket that the segment names, base included; 0 without any."""
        return max(self.base_ticket, max(self.tickets, default=0), max(self.released, default=0))

    def to_wire(self) -> tuple[Any, ...]:
        """Return the report as marshal takes it."""
        arrays = (self.tickets, self.offsets, self.groups, self.released, self.released_at)
        return (
            self.size,
            self.end,
            self.exact,
            self.last_stamp_ms,
            self.damage,
            self.base_ticket,
            tuple(numbers.tobytes() for numbers in arrays),
            self.participants,
            self.open_replies,
        )

    @classmethod
    def from_wire(cls, wire: tuple[Any, ...]) -> ScanReport:
        """Return what `to_wire` was called on."""
        size, end, exact, stamp_ms, damage, base_ticket, arrays, participants, replies = wire
        tickets, offsets, groups, released, released_at = (array("q", data) for data in arrays)
        return cls(
            size,
            end,
            exact,
            stamp_ms,
            damage,
            base_ticket,
            tickets,
            offsets,
            groups,
            participants,
            released,
            released_at,
            replies,
        )
