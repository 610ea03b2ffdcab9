"""The values of keys, a class for each Redis type; plain strings are `bytes`.

What a stored value is to the commands that take every type. A class for another type than string
has:

- `type_name` and `encoding`, bytes, as TYPE and OBJECT ENCODING answer;
- `expire_ms`, the key's expire time (0 for never), which only the keyspace changes;
- `__len__`, the number of its elements; 0 only between a command's change and its deletion;
- `copy()`: the same elements, nothing shared that changes, no expire time;
- `commands(key)`: yields the commands that rebuild it, each of a bounded number of elements;
- `memory_bytes(samples)`: the bytes it takes, estimated from so many elements, 0 for all of them;
- `free(steps)`: lets go of about `steps` elements and returns their number; called until it is
  empty, and nothing else is called in between;
- `check()`: asserts its invariants (tests).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from shoal.proto.numbers import parse_int
from shoal.worker.values.string import String

# Redis 8.2 keeps key and short string in one allocation of 64 bytes, of which an object takes 16,
# the headers and ends of the two 7, and an expire time 8. What fits is "embstr". (Measured on
# 8.2.3; it remembers more: a long key that got its expire time late may show "embstr" there up to
# 41.)
EMBEDDED_BYTES: Final = 41
EMBEDDED_BYTES_VOLATILE: Final = 33

# Elements above which a value is freed in slices; the bound of Redis's lazy freeing.
LAZY_FREE_ABOVE: Final = 64


def type_name(value: Any) -> bytes:
    """Return the name of a stored value's type, as TYPE answers."""
    if value.__class__ is bytes or value.__class__ is String:
        return b"string"
    name: bytes = value.type_name
    return name


def encoding(key: bytes, value: Any) -> bytes:
    """Return what OBJECT ENCODING calls the value stored at key."""
    limit = EMBEDDED_BYTES
    if value.__class__ is String:
        if value.expire_ms:
            limit = EMBEDDED_BYTES_VOLATILE
        value = value.data
        if value.__class__ is bytearray:
            return b"raw"
    if value.__class__ is bytes:
        if parse_int(value) is not None:
            return b"int"
        return b"embstr" if len(key) + len(value) <= limit else b"raw"
    name: bytes = value.encoding
    return name


def copy_value(value: Any) -> Any:
    """Return a copy of a stored value that may be stored elsewhere, without its expire time."""
    if value.__class__ is bytes:
        return value
    if value.__class__ is String:
        return value.data if value.data.__class__ is bytes else bytearray(value.data)
    return value.copy()


def twin_of(value: Any) -> Any:
    """Return a copy of a stored value that stands for it at its key, its expire time included."""
    if value.__class__ is bytes:
        return value
    if value.__class__ is String:
        return String(copy_value(value), value.expire_ms)
    twin = value.copy()
    twin.expire_ms = value.expire_ms
    return twin


def is_big(value: Any) -> bool:
    """Tell whether freeing a stored value takes long enough to be left for later."""
    if value.__class__ is bytes or value.__class__ is String:
        return False
    size: int = len(value)
    if value.type_name == b"stream":
        size += value.pending
    return size > LAZY_FREE_ABOVE


def rebuild(key: bytes, value: Any) -> Iterator[tuple[bytes, ...]]:
    """Yield the commands that make a stored value again, its expire time included."""
    if value.__class__ is bytes:
        yield b"SET", key, value
    elif value.__class__ is String:
        if value.expire_ms:
            yield b"SET", key, bytes(value.data), b"PXAT", b"%d" % value.expire_ms
        else:
            yield b"SET", key, bytes(value.data)
    else:
        yield from value.commands(key)
        if value.expire_ms:
            yield b"PEXPIREAT", key, b"%d" % value.expire_ms


def memory_bytes(value: Any, samples: int) -> int:
    """Return about how many bytes a stored value takes; see `memory_bytes` of a value class."""
    if value.__class__ is bytes:
        return sys.getsizeof(value)
    if value.__class__ is String:
        return sys.getsizeof(value) + sys.getsizeof(value.data)
    size: int = value.memory_bytes(samples)
    return size
