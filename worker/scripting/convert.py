"""Between Lua's values and Redis's: arguments of redis.call, replies to it, replies of scripts."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import hiredis
from lupa import lua51
from shoal.proto.numbers import format_double
from shoal.proto.replies import CRLF, Node, Reply, bulk, integer

if TYPE_CHECKING:
    from shoal.worker.scripting.engine import Runtime

_NUMBER: Final = re.compile(
    rb"[ \t-\r]*([+-]?(?:0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?\d+)?"
    rb"|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?|nan)))[ \t-\r]*"
)

_TYPES: Final = {bytes: "string", bool: "boolean", int: "number", float: "number"}


def type_name(value: Any) -> str:
    """Return what Lua's type() says of a value."""
    if value is None:
        return "nil"
    name = _TYPES.get(value.__class__)
    if name is None:
        name = lua51.lua_type(value)  # None for what is Python's: redis.call and the like
        if name is None:
            name = "function" if callable(value) else "userdata"
    return name


def number_of(value: Any) -> int | float | None:
    """Return a number, or the number that a string holds; None for anything else."""
    if value.__class__ is int or value.__class__ is float:
        return value
    if value.__class__ is not bytes:
        return None
    match = _NUMBER.fullmatch(value)
    if match is None:
        return None
    text = match[1].decode()
    number = float.fromhex(text) if "x" in text.lower() else float(text)
    return int(number) if number.is_integer() and abs(number) < 2.0**53 else number


def text_of(value: Any) -> bytes | None:
    """Return a string, or a number as Lua's tostring prints it; None for anything else."""
    if value.__class__ is bytes:
        return value
    if value.__class__ is int or value.__class__ is float:
        return _printed(value, b"%.14g")
    return None


def _printed(number: float, form: bytes) -> bytes:
    if math.isnan(number):
        return b"-nan" if math.copysign(1.0, number) < 0 else b"nan"
    return form % float(number)


# Up to here a whole number is printed as an integer.
_MAX_INTEGER: Final = 1 << 62


def argument_of(value: Any) -> bytes | None:
    """Return an argument of redis.call as bytes, None if it is neither string nor number."""
    kind = value.__class__
    if kind is bytes:
        return bytes(value)
    if kind is int and -_MAX_INTEGER <= value <= _MAX_INTEGER:
        return b"%d" % value
    if kind is int or kind is float:
        number = float(value)
        return format_double(number) if math.isfinite(number) else _printed(number, b"%.17g")
    return None


# -- what a call replied ---------------------------------------------------------------------------

NIL_2: Final = (b"$-1\r\n", b"*-1\r\n")


def value_of(runtime: Runtime, reply: bytes, resp: int) -> Any:
    """Return the Lua value of an encoded reply that is no error.

    Args: resp: the protocol it is encoded in: with 3, nil, booleans, doubles, maps and sets are
        told from others.
    Raises: RaisedError if memory ends.
    """
    mark = reply[0]
    if mark == 36:  # $
        end = reply.index(CRLF)
        if end == 3 and reply == b"$-1\r\n":
            return False
        size = len(reply)
        if size > _BIG:
            runtime.afford(2 * size)
        return reply[end + 2 : -2]
    if mark == 58:  # :
        return int(reply[1:-2])
    if mark == 43:  # +
        return runtime.table({b"ok": reply[1:-2]})
    runtime.afford(_SIZE_IN_LUA * len(reply))
    if mark == 42 and resp == 2 and b"\n+" not in reply and b"\n-" not in reply:
        if reply == b"*-1\r\n":
            return False
        parser = hiredis.Reader()
        parser.feed(reply)
        return _tables(runtime, parser.gets())
    value, _ = _Parser(runtime, reply).value(0)
    return value


# Replies above it are asked for; smaller ones fit into the slack, many times.
_BIG: Final = 1 << 16

# How much more an array takes in Lua than on the wire, at most: *1 of 4 bytes is a table.
_SIZE_IN_LUA: Final = 32


def _tables(runtime: Runtime, items: Any) -> Any:
    out = []
    for item in items:
        if item is None:
            out.append(False)
        elif item.__class__ is list:
            out.append(_tables(runtime, item))
        else:
            out.append(item)
    return runtime.table(out)


class _Parser:
    """Reads one reply of any type."""

    def __init__(self, runtime: Runtime, data: bytes) -> None:
        self._runtime = runtime
        self._data = data

    def value(self, at: int) -> tuple[Any, int]:
        """Return the Lua value of the reply that begins at `at`, and where it ends."""
        data, table = self._data, self._runtime.table
        end = data.index(CRLF, at)
        mark, line = data[at : at + 1], data[at + 1 : end]
        end += 2
        if mark == b":":
            return int(line), end
        if mark == b"+":
            return table({b"ok": line}), end
        if mark == b"-":
            return table({b"err": line, b"ignore_error_stats_update": True}), end
        if mark == b"_":
            return None, end
        if mark == b"#":
            return line == b"t", end
        if mark == b",":
            return table({b"double": float(line)}), end
        if mark == b"(":
            return table({b"big_number": line}), end
        size = int(line)
        if size < 0:
            return False, end
        if mark in (b"$", b"="):
            text = data[end : end + size]
            end += size + 2
            if mark == b"$":
                return text, end
            inner = table({b"format": text[:3], b"string": text[4:]})
            return table({b"verbatim_string": inner}), end
        if mark == b"%":
            pairs = table({})
            for _ in range(size):
                key, end = self.value(end)
                item, end = self.value(end)
                if key is not None:
                    pairs[key] = item
            return table({b"map": pairs}), end
        if mark == b"~":
            members = table({})
            for _ in range(size):
                key, end = self.value(end)
                if key is not None:
                    members[key] = True
            return table({b"set": members}), end
        items = {}
        for number in range(1, size + 1):
            item, end = self.value(end)
            if item is not None:
                items[number] = item
        return table(items), end


# -- what a script replied -------------------------------------------------------------------------


class TwoReplies(Node):
    """A script's reply, which RESP2 and RESP3 write differently."""

    __slots__ = ("_resp2", "_resp3")

    def __init__(self, resp2: bytes, resp3: bytes) -> None:
        self._resp2, self._resp3 = resp2, resp3

    def encode(self, resp: int) -> bytes:
        """Return the bytes for protocol version `resp`."""
        return self._resp2 if resp == 2 else self._resp3


NULL: Final = TwoReplies(b"$-1\r\n", b"_\r\n")


def integer_text(number: float) -> bytes:
    """Return the encoded integer of a number that is no integer, or a large one."""
    if not math.isfinite(number) or not -(2.0**63) <= number < 2.0**63:
        return b":%d\r\n" % -(1 << 63)
    return b":%d\r\n" % int(number)


def double_text(number: float, resp: int) -> bytes:
    """Return an encoded double."""
    text = b"nan" if math.isnan(number) else format_double(float(number))
    return bulk(text) if resp == 2 else b",%b\r\n" % text


def reply_of(value: Any) -> Reply:
    """Return the reply of a scalar that a script returned."""
    kind = value.__class__
    if kind is bytes:
        return bulk(value)
    if kind is int and -(1 << 63) <= value < 1 << 63:
        return integer(value)
    if value is None or value is False:
        return NULL
    if value is True:
        return integer(1)
    return integer_text(value)
