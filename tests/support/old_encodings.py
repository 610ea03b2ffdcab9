"""Naive encoders of what only old servers wrote, for tests of what reads it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from shoal.proto.numbers import parse_int


def length(number: int) -> bytes:
    """Return a number as lengths are written in RDB, in 32 bits."""
    return b"\x80" + struct.pack(">I", number)


def text(data: bytes) -> bytes:
    """Return a string as it is written in RDB, neither as an integer nor compressed."""
    return length(len(data)) + data


def ziplist(elements: Sequence[bytes]) -> bytes:
    """Return a ziplist, with strings of any form that has room for them."""
    body = b""
    before, last = 0, 10
    for at, element in enumerate(elements):
        last = 10 + len(body)
        back = bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)
        number = parse_int(element)
        if number is not None and 0 <= number <= 12:
            entry = bytes([0xF1 + number])
        elif number is not None:
            size, code = next(
                (size, code)
                for size, code in ((1, 0xFE), (2, 0xC0), (3, 0xF0), (4, 0xD0), (8, 0xE0))
                if -1 << 8 * size - 1 <= number < 1 << 8 * size - 1
            )
            entry = bytes([code]) + number.to_bytes(size, "little", signed=True)
        elif len(element) < 64 and at % 3:
            entry = bytes([len(element)]) + element
        elif len(element) < 16384 and at % 3 < 2:
            entry = struct.pack(">H", 0x4000 | len(element)) + element
        else:
            entry = b"\x80" + struct.pack(">I", len(element)) + element
        body += back + entry
        before = len(back) + len(entry)
    return struct.pack("<IIH", 11 + len(body), last, len(elements)) + body + b"\xff"


def zipmap(elements: Sequence[bytes]) -> bytes:
    """Return a zipmap of keys and values, alternating, with some room behind the values."""
    body = b""
    for at, element in enumerate(elements):
        size = len(element)
        body += bytes([size]) if size < 254 else b"\xfe" + struct.pack("<I", size)
        if at % 2:
            unused = at % 3
            body += bytes([unused]) + element + b"?" * unused
        else:
            body += element
    return bytes([min(len(elements) // 2, 254)]) + body + b"\xff"
