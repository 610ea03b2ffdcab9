"""Listpacks: short byte strings, one after the other, in one block of bytes.

A header has the size of the block (u32) and the number of elements (u16; 65535 stands for "count
them"), a byte of 255 ends it. An element is a first byte that tells what it is, its content, and
its size up to there, in groups of 7 bits that can be read backwards. What looks like a 64-bit
integer is kept as one. Numbers are little-endian.
Source: "Listpack specification" by Salvatore Sanfilippo.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from shoal.proto.errors import DamagedValueError
from shoal.proto.numbers import parse_int

HEADER: Final = Struct("<IH")
END: Final = b"\xff"
_UNCOUNTED: Final = 65535

_NINE: Final = ord("9")
_LONGEST_INTEGER: Final = 20


def encode(elements: Iterable[bytes]) -> bytes:
    """Return the listpack of these elements."""
    return join([entry(element) for element in elements])


def join(entries: list[bytes]) -> bytes:
    """Return the listpack of elements that are encoded already."""
    body = b"".join(entries)
    size = HEADER.size + len(body) + len(END)
    return HEADER.pack(size, min(len(entries), _UNCOUNTED)) + body + END


def entry(element: bytes) -> bytes:
    """Return one element as it stands in a listpack."""
    size = len(element)
    if 0 < size <= _LONGEST_INTEGER and element[0] <= _NINE:
        number = parse_int(element)
        if number is not None:
            return integer_entry(number)
    if size < 64:
        return b"%c%b%c" % (0x80 | size, element, size + 1)
    if size < 4096:
        return b"%c%c%b%b" % (0xE0 | size >> 8, size & 0xFF, element, _back_length(size + 2))
    return b"\xf0%b%b%b" % (size.to_bytes(4, "little"), element, _back_length(size + 5))


def integer_entry(number: int) -> bytes:
    """Return a signed 64-bit integer as it stands in a listpack."""
    if 0 <= number < 128:
        return b"%c\x01" % number
    if -4096 <= number < 4096:
        return b"%c%c\x02" % (0xC0 | number >> 8 & 0x1F, number & 0xFF)
    code, size = next(
        (code, size)
        for code, size in _INTEGER_BYTES.items()
        if -1 << 8 * size - 1 <= number < 1 << 8 * size - 1
    )
    return b"%c%b%c" % (code, number.to_bytes(size, "little", signed=True), size + 1)


_INTEGER_BYTES: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}


def _back_length(size: int) -> bytes:
    """Return the size of an entry, the highest bits first, a set bit where more precede."""
    groups = 1
    while size >= 1 << 7 * groups or (groups > 1 and size == (1 << 7 * groups) - 1):
        groups += 1
    return bytes(
        [
            size >> 7 * at & 0x7F | (0 if at == groups - 1 else 0x80)
            for at in range(groups - 1, -1, -1)
        ]
    )


def decode(data: bytes) -> list[bytes]:
    """Return the elements, integers as text. Raises: DamagedValueError: it is no listpack."""
    if len(data) < HEADER.size + len(END) or data[-1:] != END:
        raise DamagedValueError("a listpack without an end")
    size, count = HEADER.unpack_from(data)
    if size != len(data):
        raise DamagedValueError("a listpack of another size")
    found: list[bytes] = []
    at, end = HEADER.size, size - 1
    while at < end:
        code = data[at]
        if code < 0x80:
            found.append(b"%d" % code)
            length = 1
        elif code < 0xC0:
            length = 1 + (code & 0x3F)
            found.append(data[at + 1 : at + length])
        elif code < 0xE0:
            number = (code & 0x1F) << 8 | data[at + 1]
            found.append(b"%d" % (number - 8192 if number >= 4096 else number))
            length = 2
        elif code < 0xF0:
            length = 2 + ((code & 0x0F) << 8 | data[at + 1])
            found.append(data[at + 2 : at + length])
        elif code == 0xF0:
            length = 5 + int.from_bytes(data[at + 1 : at + 5], "little")
            found.append(data[at + 5 : at + length])
        elif code in _INTEGER_BYTES:
            length = 1 + _INTEGER_BYTES[code]
            found.append(b"%d" % int.from_bytes(data[at + 1 : at + length], "little", signed=True))
        else:
            raise DamagedValueError("an element of no known kind")
        at += length
        if length < 128:
            if at >= end or data[at] != length:
                raise DamagedValueError("an element of another size")
            at += 1
        else:
            back = _back_length(length) if length < end else b""
            if not back or data[at : at + len(back)] != back:
                raise DamagedValueError("an element of another size")
            at += len(back)
    if at != end or count not in (len(found), _UNCOUNTED):
        raise DamagedValueError("a listpack of another count")
    return found
