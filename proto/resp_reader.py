r"""Cut received bytes into commands: Redis's request protocol.

hiredis parses replies. That is a superset of requests in some ways (`+OK`, integers, nested arrays)
and a subset in others (inline commands, limits, the texts of errors). So bytes take one of three
ways:

1. One short command, the usual case without pipelining: `bytes.split` at CRLF, then every length is
   compared with its header. What passes is exactly one command, nothing else could be.
2. A pipeline: `hiredis.Reader` cuts it, and we accept the result only on a proof (see `_Pipeline`)
   that the bytes were whole commands of bulk strings and nothing else. hiredis holds nothing
   between two calls, so one Reader serves all connections.
3. Everything else: `RequestReader._parse`, the state machine, which is what defines the protocol
   here. Whatever 1 and 2 do not accept comes here from its first byte, as nothing was executed yet.

What always holds: the three ways give the same commands for the same bytes, however the bytes are
cut; a byte is looked at a bounded number of times, so a value of 100 MB that comes in small pieces
costs O(size).

Redis is lenient in two places, and so are we: the byte behind the CR of a header, and the two
behind an argument, may be any. A NUL in a line hides the rest of it from Redis (it searches with
strchr): such a line never ends, and it becomes too big in the end.
"""

from __future__ import annotations

import re
from io import BytesIO
from itertools import chain
from typing import ClassVar, Final

import hiredis
from shoal.proto.limits import (
    MAX_REQUEST_ARGS,
    MAX_REQUEST_LINE_BYTES,
    MAX_UNAUTHENTICATED_ARG_BYTES,
    MAX_UNAUTHENTICATED_ARGS,
)
from shoal.proto.numbers import parse_int
from shoal.proto.quoting import split_args

_STAR: Final = ord("*")
_LF: Final = ord("\n")

# Way 1 takes chunks up to this; for longer ones the search for CRLF costs more than hiredis.
_SHORT_BYTES: Final = 1024
# `*n` -> the parts between CRLFs of a whole command with n arguments.
_PARTS: Final = {b"*%d" % n: 2 * n + 2 for n in range(1, 10)}
_BULK_HEADERS: Final = [b"$%d" % n for n in range(_SHORT_BYTES)]

# Way 2: hiredis slows down beyond 64 kB, and copying large values twice costs more than the state
# machine.
_PIPELINE_BYTES: Final = 1 << 18
_LARGE_COMMAND_BYTES: Final = 4096
_MAX_FILLERS: Final = 4096
# What hiredis may keep of its buffer while it is idle: it would allocate again for every larger
# chunk.
_IDLE_BUFFER_BYTES: Final = 1 << 17

_ARRAY_HEADERS: Final = [b"*%d\r\n" % n for n in range(_SHORT_BYTES)]
_ARGUMENT_HEADERS: Final = [b"\r\n$%d\r\n" % n for n in range(_SHORT_BYTES)]

# Types of reply, other than `*`, for which hiredis allocates the announced number of elements at
# once: ~ > | %
_large_other: Final = re.compile(rb"[~>|%][0-9]{3}").search
_large_array: Final = re.compile(rb"\*[0-9]{3}").search
_announced: Final = re.compile(rb"[*~>|%]([0-9]{3,7})").findall

# What Python adds to the bytes of an argument: its object's header, and the list's pointer to it.
_ARG_BYTES: Final = 48

# A push: no request has it, and hiredis gives it a class of its own.
_FILLER: Final = b">0\r\n"

_join: Final = b"".join


class _Pipeline:
    r"""Way 2: hiredis behind a proof.

    An array header in front, for as many elements as there are `*`, makes hiredis return the whole
    chunk by one call. The result is taken when all of this holds:

    - hiredis returned the array and has no bytes left: the chunk was that many whole replies. If a
      `*` stood in a value, the array is short of elements, and fillers complete it; they
      are given only if no byte is left, so none can become part of a value.
    - Every reply is a non-empty iterable of bytes, by joining it: no integer, null, error or nested
      array.
    - No other type gives bytes or iterables of bytes, by their absence: + = ( % ~ > |. If one of
      these bytes is in the chunk, which a value may well have, there must be a `$` behind a CRLF
      for each argument. If that proves nothing, the commands are encoded again and compared. (`*0`
      has no place here either way: it is no command.)

    Arguments of streams are `*`, `>`, `~` or `=` alone. None of these begins a reply if a CRLF
    follows, as hiredis fails without a number there; so they count for nothing above.

    Before that, the element counts in the chunk must not add up to more than the chunk could
    hold, because hiredis allocates an array when it sees its header.
    """

    __slots__ = ("_feed", "_gets", "_has_data", "_lone_stars")

    def __init__(self) -> None:
        self._lone_stars = False
        self._renew()

    def _renew(self) -> None:
        """Take a new hiredis.Reader: the old one holds something, or has failed."""
        reader = hiredis.Reader()
        reader.setmaxbuf(_IDLE_BUFFER_BYTES)
        self._feed = reader.feed
        self._gets = reader.gets
        self._has_data = reader.has_data

    def split(self, data: bytes) -> list[list[bytes]] | None:
        """Return the commands of data if it is whole commands and nothing else, else None.

        None may also mean "not worth it here". data begins with `*`.
        """
        if data[-1] != _LF:
            return None
        # Several times faster than data.count(b"*").
        stars = len(data) - len(data.replace(b"*", b""))
        if self._lone_stars:  # so it was the last time
            lone = data.count(b"*\r\n")
            stars -= lone
            self._lone_stars = lone > 0
        if len(data) > _LARGE_COMMAND_BYTES * stars or len(data) > _PIPELINE_BYTES:
            return None
        # `int in bytes` is memchr; a bytes object on the left would cost ten times as much.
        aggregates = (
            (62 in data and _may_begin(data, b">"))
            or (126 in data and _may_begin(data, b"~"))
            or 124 in data
            or 37 in data
        )
        doubtful = aggregates or 43 in data or 40 in data or (61 in data and _may_begin(data, b"="))
        large = _large_array(data) or (aggregates and _large_other(data))
        if large and self._announces_too_much(data):
            return None
        try:
            self._feed(_ARRAY_HEADERS[stars] if stars < _SHORT_BYTES else b"*%d\r\n" % stars)
            self._feed(data)
            commands: list[list[bytes]] | bool = self._gets()
            if commands is False:
                commands = self._fill_up(stars)
            if self._has_data():
                self._renew()
                return None
            if not isinstance(commands, list):
                return None
            if doubtful:
                whole = all(commands) and self._are_bulk_strings(data, commands, aggregates)
                return commands if whole else None
            return commands if all(map(_join, commands)) else None
        except (hiredis.HiredisError, TypeError):
            # TypeError: not all bytes; or a key of a map that cannot be hashed, from hiredis.
            self._renew()
            return None

    @staticmethod
    def _are_bulk_strings(data: bytes, commands: list[list[bytes]], aggregates: bool) -> bool:
        """Tell whether the commands are exactly what data says, though other types look alike.

        Args:
            data: a chunk.
            commands: what hiredis made of it.
            aggregates: it has bytes that may begin other aggregates than arrays.
        Raises: TypeError when something is not a list of bytes.
        """
        args = _join(chain.from_iterable(commands))
        if aggregates or 13 in args or 36 in args or b"$0\r" in data:
            return _encode(commands) == data
        # None of the arguments is empty or has a CR or a `$`, so a `$` behind a CRLF can only be a
        # header: not a value's first byte, nor one of the two that hiredis skips behind a value.
        return data.count(b"\r\n$") == sum(map(len, commands))

    @staticmethod
    def _announces_too_much(data: bytes) -> bool:
        """Tell whether there are more elements announced than the data could hold, of 6 bytes
        each.
        """
        return sum(map(int, _announced(data))) * 6 > len(data)

    def _fill_up(self, stars: int) -> list[list[bytes]] | bool:
        """Complete the array hiredis waits for; return its elements before the fillers."""
        if self._has_data() or stars > _MAX_FILLERS:
            self._renew()
            return False
        self._feed(_FILLER * (stars - 1))
        commands: list[list[bytes]] | bool = self._gets()
        self._renew()
        if not isinstance(commands, list):
            return False
        types = list(map(type, commands))
        if hiredis.PushNotification not in types:
            return (
                False  # they completed the last command of a chunk that was cut behind an argument
            )
        self._lone_stars = True
        del commands[types.index(hiredis.PushNotification) :]
        return commands


def _may_begin(data: bytes, mark: bytes) -> bool:
    """Tell whether a byte is anywhere in data but in front of a CRLF."""
    return len(data) - len(data.replace(mark, b"")) > data.count(mark + b"\r\n")


_split_pipeline: Final = _Pipeline().split


def _encode(commands: list[list[bytes]]) -> bytes:
    """Encode commands as requests. Raises TypeError when something is not a list of bytes."""
    out: list[bytes] = []
    for argv in commands:
        out.append(b"*%d" % len(argv))
        for arg in argv:
            size = len(arg)
            out += (
                _ARGUMENT_HEADERS[size] if size < _SHORT_BYTES else b"\r\n$%d\r\n" % size,
                arg,
            )
        out.append(b"\r\n")
    return _join(out)


class RequestReader:
    """Cuts one connection's bytes into commands.

    Attributes:
        error: None, or the text of the protocol error that ended the input (`b"Protocol error:
            ..."`): the client is told, behind the replies to the commands before, and its
            connection closes.
        authenticated: while False, commands are limited to 10 arguments of 16 kB.
        deferred: bytes wait that may be too much for a client that is not authenticated, behind
            commands that may authenticate it: call `feed(b"")` when those have been run.
        proto_max_bulk_len: the directive, of the class: it counts for all connections.
    """

    __slots__ = (
        "_aligned",
        "_argv",
        "_argv_bytes",
        "_bulk",
        "_bulk_bytes",
        "_deferred",
        "_endless",
        "_line",
        "_missing",
        "authenticated",
        "error",
    )

    proto_max_bulk_len: ClassVar[int] = 512 * 1024 * 1024

    def __init__(self, authenticated: bool = True) -> None:
        """Start at the boundary of a command."""
        self.authenticated = authenticated
        self.error: bytes | None = None
        # Nothing is held below, and there is no error.
        self._aligned = True
        # The arguments so far of an incomplete command, and how many are to come.
        self._argv: list[bytes] = []
        self._argv_bytes = 0
        self._missing = 0
        # An incomplete argument, and how many bytes it will have. getvalue() of a BytesIO does not
        # copy.
        self._bulk: BytesIO | None = None
        self._bulk_bytes = 0
        # An incomplete line, and whether a NUL keeps it from ever ending.
        self._line = bytearray()
        self._endless = False
        self._deferred = b""

    @property
    def deferred(self) -> bool:
        """Whether `feed(b"")` must be called after the commands returned have been run."""
        return bool(self._deferred)

    @property
    def pending_bytes(self) -> int:
        """Bytes of memory the incomplete command takes."""
        bulk = 0 if self._bulk is None else self._bulk.tell()
        return self._argv_bytes + bulk + len(self._line) + len(self._deferred)

    @property
    def argument_bytes(self) -> tuple[int, int]:
        """Size of the incomplete argument, or of the incomplete line so far; and what is there."""
        if self._bulk is not None:
            return self._bulk_bytes, self._bulk.tell()
        return len(self._line), len(self._line)

    def start(self, size: int) -> bytes:
        """Return up to that many first bytes of the incomplete argument or line."""
        return bytes(self._line[:size]) if self._bulk is None else self._bulk.getvalue()[:size]

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Return the commands that data completes, in order; none of them is empty.

        After a protocol error, the commands before it; then nothing more. It takes anything, but
        chunks of up to 64 kB are cut the fastest.
        """
        size = len(data)
        if self._aligned and self.authenticated and size > 4:
            if size < _SHORT_BYTES:
                # As many parts as the command has by its header (of one digit), and a rest.
                parts = data.split(b"\r\n", 2 * data[1] - 95)
                if _PARTS.get(parts[0]) == len(parts) and not parts[-1]:
                    argv = parts[2::2]
                    at = 1
                    for arg in argv:
                        if parts[at] != _BULK_HEADERS[len(arg)]:
                            break
                        at += 2
                    else:
                        return [argv]
            if data[0] == _STAR:
                commands = _split_pipeline(data)
                if commands is not None:
                    return commands
        return self._feed_any(data)

    def _feed_any(self, data: bytes) -> list[list[bytes]]:
        """Finish the command begun, cut off as many as possible in way 2, and parse the rest."""
        commands: list[list[bytes]] = []
        if self.error is not None:
            return commands
        if self._deferred:
            data = self._deferred + data
            self._deferred = b""
        at = 0
        if not self._aligned:
            at = self._parse(data, 0, commands, once=True)
        if self._aligned and self.authenticated and at < len(data) and data[at] == _STAR:
            # feed has tried all of the data when `at` is 0.
            end, whole = len(data), _split_pipeline(data[at:]) if at else None
            if whole is None:
                # Perhaps the chunk ends in the middle of its last command.
                end = data.rfind(b"\r\n*", at) + 2
                whole = _split_pipeline(data[at:end]) if end > at else None
            if whole is not None:
                commands += whole
                at = end
        if self.error is None:
            self._parse(data, at, commands)
        return commands

    def _parse(
        self, data: bytes, at: int, commands: list[list[bytes]], *, once: bool = False
    ) -> int:
        """Way 3: take data[at:], append the commands it completes, and hold what is incomplete.

        Args:
            once: return behind the first command's end.
        Returns: the position behind what was taken: all of it, unless `once`.
        """
        size = len(data)
        while at < size:
            if self._bulk is not None:
                at = self._take_bulk(self._bulk, data, at)
            else:
                start = at
                line, at = self._take_line(data, at)
                if line is None:
                    break
                fault = self._take_header(line) if self._missing else self._begin(line, commands)
                if fault is not None and fault.startswith(b"unauthenticated") and commands:
                    # One of the commands before may be AUTH.
                    self._deferred = data[start:]
                    at = size
                    break
                if fault is not None:
                    self.error = b"Protocol error: " + fault
                    break
            if not self._missing:
                if self._argv:
                    commands.append(self._argv)
                    self._argv = []
                    self._argv_bytes = 0
                if once:
                    break
        self._aligned = not (self._missing or self._line or self._deferred or self.error)
        return at

    def _take_line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """Return the line at hand without its end, None if it is incomplete; and the position
        behind.
        """
        held = self._line
        if self._missing or (held[0] if held else data[at]) == _STAR:
            if held and held[-1] == 13 and not self._endless:
                line = bytes(held[:-1])
                held.clear()
                return line, at + 1
            end = data.find(b"\r", at)
            behind = end + 2
            kind = b"bulk count string" if self._missing else b"mbulk count string"
        else:
            end = data.find(b"\n", at)
            behind = end + 1
            kind = b"inline request"
        if data.find(b"\0", at, end if end >= 0 else len(data)) >= 0:
            self._endless = True
        if self._endless or end < 0 or behind > len(data):
            held += data[at:]
            if len(held) > MAX_REQUEST_LINE_BYTES and (self._endless or end < 0):
                self.error = b"Protocol error: too big " + kind
            return None, len(data)
        if not held:
            return data[at:end], behind
        line = bytes(held) + data[at:end]
        held.clear()
        return line, behind

    def _begin(self, line: bytes, commands: list[list[bytes]]) -> bytes | None:
        """Take a command's first line, an array's header or all of an inline command; return a
        fault.
        """
        if line[:1] != b"*":
            # Of CR LF, the CR is still there.
            words = split_args(line.removesuffix(b"\r"))
            if words is None:
                return b"unbalanced quotes in request"
            if words:
                commands.append(words)
            return None
        count = parse_int(line[1:])
        if count is None or count > MAX_REQUEST_ARGS:
            return b"invalid multibulk length"
        if count > MAX_UNAUTHENTICATED_ARGS and not self.authenticated:
            return b"unauthenticated multibulk length"
        self._missing = max(count, 0)
        return None

    def _take_header(self, line: bytes) -> bytes | None:
        """Take an argument's header; return a fault."""
        if line[:1] != b"$":
            # An error reply has no line ends; an empty line begins with its CR.
            found = b" " if line[:1] in (b"", b"\n") else line[:1]
            return b"expected '$', got '%b'" % found
        size = parse_int(line[1:])
        if size is None or not 0 <= size <= self.proto_max_bulk_len:
            return b"invalid bulk length"
        if size > MAX_UNAUTHENTICATED_ARG_BYTES and not self.authenticated:
            return b"unauthenticated bulk length"
        self._bulk = BytesIO()
        self._bulk_bytes = size
        return None

    def _take_bulk(self, bulk: BytesIO, data: bytes, at: int) -> int:
        """Take bytes of an argument and of the two behind it; return the position behind."""
        wanted = self._bulk_bytes + 2 - bulk.tell()
        taken = bulk.write(data[at : at + wanted])
        if taken == wanted:
            bulk.truncate(self._bulk_bytes)
            self._argv.append(bulk.getvalue())
            self._argv_bytes += self._bulk_bytes + _ARG_BYTES
            self._missing -= 1
            self._bulk = None
        return at + taken
