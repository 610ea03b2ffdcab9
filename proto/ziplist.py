"""Ziplists and zipmaps: what held small lists, sorted sets and hashes before listpacks. Only read.

Source: "Redis RDB file format" of the rdbtools project, and the dumps of old servers.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from shoal.proto.errors import DamagedValueError

# Bytes of it all, offset of the last element, number of elements (65535: count them).
_HEADER: Final = Struct("<IIH")
_UNCOUNTED: Final = 65535
_END: Final = 0xFF
# In place of a length of one byte: four more follow.
_LONG: Final = 0xFE
_INTEGER_BYTES: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def decode(data: bytes) -> list[bytes]:
    """Return the elements of a ziplist, integers as text. Raises: DamagedValueError."""
    if len(data) <= _HEADER.size or data[-1] != _END:
        raise DamagedValueError("a ziplist without an end")
    size, tail, count = _HEADER.unpack_from(data)
    if size != len(data):
        raise DamagedValueError("a ziplist of another size")
    found: list[bytes] = []
    at, end, before = _HEADER.size, size - 1, 0
    last = at
    while at < end:
        last = start = at
        # Each element begins with the size of the one before it.
        back = data[at]
        at += 1
        if back == _LONG:
            back = int.from_bytes(data[at : at + 4], "little")
            at += 4
        if back != before or at >= end:
            raise DamagedValueError("an element of another size")
        code = data[at]
        at += 1
        if code < 0xC0:
            if code < 0x40:
                length = code
            elif code < 0x80:
                length = (code & 0x3F) << 8 | data[at]
                at += 1
            else:
                length = int.from_bytes(data[at : at + 4], "big")
                at += 4
            found.append(data[at : at + length])
        elif code in _INTEGER_BYTES:
            length = _INTEGER_BYTES[code]
            number = int.from_bytes(data[at : at + length], "little", signed=True)
            found.append(b"%d" % number)
        elif 0xF1 <= code <= 0xFD:
            length = 0
            found.append(b"%d" % (code - 0xF1))
        else:
            raise DamagedValueError("an element of no known kind")
        at += length
        before = at - start
    if at != end or tail != last or count not in (len(found), _UNCOUNTED):
        raise DamagedValueError("a ziplist of another count")
    return found


def decode_zipmap(data: bytes) -> list[bytes]:
    """Return keys and values of a zipmap, alternating. Raises: DamagedValueError."""
    found: list[bytes] = []
    at, end = 1, len(data) - 1  # the first byte is a count that need not be right
    if end < at or data[end] != _END:
        raise DamagedValueError("a zipmap without an end")
    while at < end:
        length = data[at]
        at += 1
        if length == _LONG:
            length = int.from_bytes(data[at : at + 4], "little")
            at += 4
        elif length > _LONG:
            raise DamagedValueError("an element of no known kind")
        unused = 0
        if len(found) % 2:  # behind a value there may be room
            if at >= end:
                break
            unused = data[at]
            at += 1
        found.append(data[at : at + length])
        at += length + unused
    if at != end or len(found) % 2:
        raise DamagedValueError("a zipmap that is cut short")
    return found
