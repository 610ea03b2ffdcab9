"""The types of configuration directives: how a value is read, checked and shown.

Error texts are those redis-server 8.2 puts under a bad line of its configuration file, or at the
end of "CONFIG SET failed". `directives.py` declares the directives.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, Self, TypeVar, overload

from shoal.proto.limits import MAX_BIND_ADDRESSES, MAX_UNIX_PATH_BYTES, MAX_WORKERS
from shoal.proto.numbers import parse_int

T = TypeVar("T")

INT_MAX: Final = 2**31 - 1
UINT_MAX: Final = 2**32 - 1
LLONG_MAX: Final = 2**63 - 1
ULLONG_MAX: Final = 2**64 - 1


class DirectiveError(Exception):
    """A value was refused; the message is Redis's reason, without the directive's name."""


class Scope(enum.Flag):
    """The processes that act on a directive: to them a change must be told."""

    SUPERVISOR = enum.auto()
    WORKER = enum.auto()
    BOTH = SUPERVISOR | WORKER


class Mutability(enum.Enum):
    """Whether CONFIG SET may change a directive; the value is the reason it gives if not."""

    MUTABLE = ""
    IMMUTABLE = "can't set immutable config"
    # Redis allows these with enable-protected-configs, which Shoal does not have.
    PROTECTED = "can't set protected config"


class Directive(Generic[T]):
    """One directive. As an attribute of Config it names itself, and gives the value's type to mypy.

    Attributes:
        name: as in redis.conf, from the attribute's name with `_` as `-`.
        attribute: the attribute's name.
        default: value of a Config nobody changed.
        scope, mutability, help: see Scope and Mutability; one line.
        only: why nothing but the default is accepted, or "".
        alias: an older name, which CONFIG GET lists beside the new one, or "".
    """

    name: str
    attribute: str

    def __init__(
        self,
        default: T,
        scope: Scope,
        mutability: Mutability,
        help: str,
        only: str = "",
        alias: str = "",
    ) -> None:
        """Declare a directive."""
        self.default = default
        self.scope = scope
        self.mutability = mutability
        self.help = help
        self.only = only
        self.alias = alias

    def __set_name__(self, owner: type, attribute: str) -> None:
        """Take the name of the attribute."""
        self.attribute = attribute
        self.name = attribute.replace("_", "-")

    # There is no __set__: Config keeps values in its instance dictionary, so reading one costs no
    # call.
    @overload
    def __get__(self, config: None, owner: type) -> Self: ...
    @overload
    def __get__(self, config: object, owner: type) -> T: ...
    def __get__(self, config: object | None, owner: type) -> Self | T:
        """Return the directive of the class, the default of an instance that has no value yet."""
        return self if config is None else self.default

    def parse(self, text: bytes, current: T) -> T:
        """Return the value of CONFIG SET's text; `current` is the value until now.

        Raises: DirectiveError.
        """
        raise NotImplementedError

    def render(self, value: T) -> bytes:
        """Return the text CONFIG GET shows."""
        raise NotImplementedError

    def parse_args(self, args: Sequence[bytes], current: T) -> T:
        """Return the value of a configuration line's arguments.

        Raises: DirectiveError.
        """
        if len(args) != 1:
            raise DirectiveError("wrong number of arguments")
        return self.parse(args[0], current)

    def accept(self, value: T) -> T:
        """Return the value unless only the default is accepted.

        Raises: DirectiveError.
        """
        if self.only and value != self.default:
            default = self.render(self.default).decode() or '""'
            raise DirectiveError(f"only {default} is accepted: {self.only}")
        return value


class IntDirective(Directive[int]):
    """An integer between two bounds; an `unsigned` one has its own error for negative values."""

    def __init__(
        self,
        default: int,
        scope: Scope,
        mutability: Mutability,
        help: str,
        low: int = 0,
        high: int = INT_MAX,
        unsigned: bool = False,
        clamp: tuple[int, int] | None = None,
        only: str = "",
        alias: str = "",
    ) -> None:
        """Declare it; a value accepted but outside of `clamp` is moved to its nearer end."""
        super().__init__(default, scope, mutability, help, only, alias)
        self.low = low
        self.high = high
        self.unsigned = unsigned
        self.clamp = clamp

    def parse(self, text: bytes, current: int) -> int:
        """Read a decimal integer without sign (but `-`), spaces and leading zeros, or raise."""
        value = parse_int(text)
        if value is None:
            raise DirectiveError("argument couldn't be parsed into an integer")
        self.check(value)
        if self.clamp is not None:
            value = max(self.clamp[0], min(value, self.clamp[1]))
        return value

    def check(self, value: int) -> None:
        """Raise DirectiveError if the value is out of bounds."""
        if self.unsigned and not 0 <= value <= LLONG_MAX:
            raise DirectiveError("argument must be greater or equal to 0")
        if not self.low <= value <= self.high:
            low, high = self.render(self.low).decode(), self.render(self.high).decode()
            raise DirectiveError(f"argument must be between {low} and {high} inclusive")

    def render(self, value: int) -> bytes:
        """Return decimal digits."""
        return b"%d" % value


_UNITS = {
    b"": 1,
    b"b": 1,
    b"k": 1000,
    b"kb": 1024,
    b"m": 1000**2,
    b"mb": 1024**2,
    b"g": 1000**3,
    b"gb": 1024**3,
}


def parse_memory(text: bytes) -> int | None:
    """Read a size in bytes, `100`, `64mb`, `1g`; None if it is none. No digits are 0."""
    parts = re.fullmatch(rb"([0-9]{0,127})([a-zA-Z]{0,2})", text)
    if parts is None or (unit := _UNITS.get(parts[2].lower())) is None:
        return None
    return int(parts[1] or b"0") * unit


class MemoryDirective(IntDirective):
    """A size in bytes, written with or without a unit and printed without."""

    def parse(self, text: bytes, current: int) -> int:
        """Read digits and an optional unit, or raise."""
        value = parse_memory(text)
        if value is None:
            raise DirectiveError("argument must be a memory value")
        self.check(value)
        return value


class OctalDirective(IntDirective):
    """Permission bits."""

    def parse(self, text: bytes, current: int) -> int:
        """Read octal digits, or raise."""
        if not re.fullmatch(rb"-?[0-7]{1,20}", text):
            raise DirectiveError("argument couldn't be parsed as an octal number")
        value = int(text, 8)
        self.check(value)
        return value

    def render(self, value: int) -> bytes:
        """Return octal digits."""
        return b"%o" % value


class BoolDirective(Directive[bool]):
    """yes or no."""

    def parse(self, text: bytes, current: bool) -> bool:
        """Read yes or no in any case, or raise."""
        value = {b"yes": True, b"no": False}.get(text.lower())
        if value is None:
            raise DirectiveError("argument must be 'yes' or 'no'")
        return value

    def render(self, value: bool) -> bytes:
        """Return yes or no."""
        return b"yes" if value else b"no"


class EnumDirective(Directive[str]):
    """One word of a list."""

    def __init__(
        self,
        default: str,
        words: Sequence[str],
        scope: Scope,
        mutability: Mutability,
        help: str,
        only: str = "",
    ) -> None:
        """Declare it; the error lists the words in the order given."""
        super().__init__(default, scope, mutability, help, only)
        self.words = tuple(words)

    def parse(self, text: bytes, current: str) -> str:
        """Read one of the words in any case, or raise."""
        word = text.lower().decode("latin-1")
        if word not in self.words:
            listed = ", ".join(self.words)
            raise DirectiveError(f"argument(s) must be one of the following: {listed}")
        return word

    def render(self, value: str) -> bytes:
        """Return the word."""
        return value.encode()


class SecretDirective(Directive[bytes]):
    """Bytes that are compared, never shown in a log."""

    def parse(self, text: bytes, current: bytes) -> bytes:
        """Take the bytes as they are."""
        return text

    def render(self, value: bytes) -> bytes:
        """Return the bytes."""
        return value


class PathDirective(Directive[str]):
    """A path. One that is not absolute starts in `dir`; see Config.in_dir."""

    def parse(self, text: bytes, current: str) -> str:
        """Decode the path, or raise."""
        if b"\0" in text:
            raise DirectiveError("a path can't contain a NUL byte")
        return text.decode("utf-8", "surrogateescape")

    def render(self, value: str) -> bytes:
        """Return the bytes of the path."""
        return value.encode("utf-8", "surrogateescape")


class SocketPathDirective(PathDirective):
    """The path of a unix socket, which the system limits in length."""

    def parse(self, text: bytes, current: str) -> str:
        """Decode the path, or raise."""
        check_socket_path(text)
        return super().parse(text, current)


def check_socket_path(path: bytes) -> None:
    """Raise DirectiveError if the path is too long for a unix socket."""
    if len(path) > MAX_UNIX_PATH_BYTES:
        limit = MAX_UNIX_PATH_BYTES + 1
        raise DirectiveError(f"unix socket path too long ({len(path)}), must be under {limit}")


class ControlPathDirective(SocketPathDirective):
    """The path of a unix socket that has to be somewhere."""

    def parse(self, text: bytes, current: str) -> str:
        """Decode the path, or raise."""
        if not text:
            raise DirectiveError(f"{self.name} can't be empty")
        return super().parse(text, current)


class DirNameDirective(PathDirective):
    """The name of a folder in `dir`."""

    def parse(self, text: bytes, current: str) -> str:
        """Decode the name, or raise."""
        if not text:
            raise DirectiveError(f"{self.name} can't be empty")
        if b"/" in text or text in (b".", b".."):
            raise DirectiveError(f"{self.name} can't be a path, just a dirname")
        return super().parse(text, current)


class BindDirective(Directive[tuple[str, ...]]):
    """Addresses to listen on; one with a `-` in front may be missing, `*` is all of IPv4."""

    def parse(self, text: bytes, current: tuple[str, ...]) -> tuple[str, ...]:
        """Read addresses with spaces between them, or raise."""
        addresses = tuple(text.decode("utf-8", "surrogateescape").split())
        if len(addresses) > MAX_BIND_ADDRESSES:
            raise DirectiveError("Too many bind addresses specified.")
        return addresses

    def parse_args(self, args: Sequence[bytes], current: tuple[str, ...]) -> tuple[str, ...]:
        """Read the addresses of a line, or raise."""
        return self.parse(b" ".join(args), current)

    def render(self, value: tuple[str, ...]) -> bytes:
        """Return the addresses with a space between them."""
        return " ".join(value).encode("utf-8", "surrogateescape")


class WorkersDirective(Directive[int | None]):
    """A number of workers, or None for auto."""

    def parse(self, text: bytes, current: int | None) -> int | None:
        """Read a number or `auto`, or raise."""
        if text.lower() == b"auto":
            return None
        if not re.fullmatch(rb"[1-9][0-9]{0,9}", text) or int(text) > MAX_WORKERS:
            raise DirectiveError(f"argument must be auto, or between 1 and {MAX_WORKERS} inclusive")
        return int(text)

    def render(self, value: int | None) -> bytes:
        """Return the number or `auto`."""
        return b"auto" if value is None else b"%d" % value


class SavePoint(NamedTuple):
    """Take a snapshot after this many seconds if this many keys have changed."""

    seconds: int
    changes: int


class SaveDirective(Directive[tuple[SavePoint, ...]]):
    """Pairs of seconds and changes; lines add up, and an empty text forgets those before."""

    def parse(self, text: bytes, current: tuple[SavePoint, ...]) -> tuple[SavePoint, ...]:
        """Read the pairs that replace the current ones, or raise."""
        return self._pairs(text.split(b" ")) if text else ()

    def parse_args(
        self, args: Sequence[bytes], current: tuple[SavePoint, ...]
    ) -> tuple[SavePoint, ...]:
        """Read a line: it adds to the current pairs, or raise."""
        if not args:
            return current
        text = b" ".join(args)
        return current + self._pairs(text.split(b" ")) if text else ()

    def _pairs(self, words: list[bytes]) -> tuple[SavePoint, ...]:
        if len(words) % 2 or not all(re.fullmatch(rb"[0-9]{1,18}", word) for word in words):
            raise DirectiveError("Invalid save parameters")
        numbers = [int(word) for word in words]
        points = tuple(map(SavePoint, numbers[::2], numbers[1::2]))
        if not all(1 <= point.seconds <= INT_MAX >= point.changes for point in points):
            raise DirectiveError("Invalid save parameters")
        return points

    def render(self, value: tuple[SavePoint, ...]) -> bytes:
        """Return the numbers with a space between them."""
        return b" ".join(b"%d %d" % point for point in value)


class BufferLimit(NamedTuple):
    """When a client that does not read its replies is disconnected; 0 is never.

    At once over hard_bytes, or after soft_seconds over soft_bytes.
    """

    hard_bytes: int
    soft_bytes: int
    soft_seconds: int


class BufferLimits(NamedTuple):
    """The limit of each class of clients."""

    normal: BufferLimit
    slave: BufferLimit
    pubsub: BufferLimit


class BufferLimitsDirective(Directive[BufferLimits]):
    """Groups of four words, class hard soft seconds; a class that is not named keeps its limit."""

    def parse(self, text: bytes, current: BufferLimits) -> BufferLimits:
        """Read the groups over the current limits, or raise."""
        if not text:
            return current
        words = text.split(b" ")
        if len(words) % 4:
            raise DirectiveError("Wrong number of arguments in buffer limit configuration.")
        limits = current._asdict()
        for at in range(0, len(words), 4):
            name = words[at].lower().decode("latin-1")
            name = "slave" if name == "replica" else name
            if name not in limits:
                raise DirectiveError(
                    "Invalid client class specified in buffer limit configuration."
                )
            limits[name] = self._limit(*words[at + 1 : at + 4])
        return BufferLimits(**limits)

    def parse_args(self, args: Sequence[bytes], current: BufferLimits) -> BufferLimits:
        """Read a line, or raise."""
        return self.parse(b" ".join(args), current)

    def _limit(self, hard: bytes, soft: bytes, seconds: bytes) -> BufferLimit:
        hard_bytes, soft_bytes = parse_memory(hard), parse_memory(soft)
        soft_seconds = (
            int(seconds or b"0") if re.fullmatch(rb"([+-]?[0-9]{1,20})?", seconds) else -1
        )
        if hard_bytes is None or soft_bytes is None or not 0 <= soft_seconds <= INT_MAX:
            raise DirectiveError(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            )
        return BufferLimit(min(hard_bytes, ULLONG_MAX), min(soft_bytes, ULLONG_MAX), soft_seconds)

    def render(self, value: BufferLimits) -> bytes:
        """Return a group for each class."""
        return b" ".join(
            b"%b %d %d %d" % (name.encode(), *limit) for name, limit in value._asdict().items()
        )


_EVENT_CLASSES = b"g$lshzxetd"
"""What `A` stands for."""

_EVENTS_SHOWN = _EVENT_CLASSES + b"noc" + b"KEm"
"""All flags, in the order CONFIG GET shows them."""


class EventsDirective(Directive[bytes]):
    """The flags of notify-keyspace-events, in the order CONFIG GET shows them, none left out."""

    def parse(self, text: bytes, current: bytes) -> bytes:
        """Read flags in any order, or raise."""
        flags = set(text.replace(b"A", _EVENT_CLASSES))
        if not flags <= set(_EVENTS_SHOWN):
            raise DirectiveError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        return bytes(flag for flag in _EVENTS_SHOWN if flag in flags)

    def render(self, value: bytes) -> bytes:
        """Return the flags, with `A` for all that it stands for."""
        if set(value) >= set(_EVENT_CLASSES):
            # Redis shows none of n, o and c beside A.
            return b"A" + bytes(flag for flag in b"KEm" if flag in value)
        return value
