"""LZF, the compression of strings in dumped values and snapshots.

A stream is a sequence of two kinds of pieces, told by their first byte. Below 32 it is the number
of literal bytes that follow, less one. Else its upper three bits are the length of a copy, less two
(7: the next byte is added), and the others, with one more byte, how far back it begins, less one.

The compressor makes the choices of Redis's, so that its output is the same bytes: the place where
three bytes were last seen is looked up by a hash of 16 bits, nothing is ever taken from the first
position, and of the bytes that a copy covers only the last two positions are remembered. It takes
0.3 us for a byte of what does not repeat itself.
Source: Marc Lehmann's description of the format; for the choices, the dumps of redis-server 8.2.
"""

from __future__ import annotations

from typing import Final

from shoal.proto.errors import DamagedValueError

_MAX_LITERALS: Final = 1 << 5
_MAX_DISTANCE: Final = 1 << 13
_MAX_COPY: Final = (1 << 8) + (1 << 3)

# A copy of the greatest length takes three bytes: nothing grows by more.
MAX_RATIO: Final = _MAX_COPY // 3 + 1


def compress(data: bytes, limit: int) -> bytes | None:
    """Return data compressed to at most `limit` bytes, None if that is not (quite) possible."""
    size = len(data)
    out = bytearray()
    seen: dict[int, int] = {}  # hash of three bytes -> where they were last seen
    recall = seen.get
    at = 0
    start = 0  # of the literals that are not in `out` yet
    last = size - 2  # no three bytes begin here
    room = _room(limit - 1)
    while at < last:
        second, third = data[at + 1], data[at + 2]
        slot = (data[at] << 8 | second) - (second << 8 | third) * 5 & 0xFFFF
        found = recall(slot, 0)
        seen[slot] = at
        if (
            found
            and at - found <= _MAX_DISTANCE
            and data[found + 2] == third
            and data[found] == data[at]
            and data[found + 1] == second
        ):
            literals = at - start
            if _written(out, literals) - (literals % _MAX_LITERALS == 0) + 4 >= limit:
                return None
            _put_literals(out, data, start, at)
            length = _length(data, found, at, min(last - at, _MAX_COPY))
            distance = at - found - 1
            more = length - 2
            if more < 7:
                out.append(distance >> 8 | more << 5)
            else:
                out.append(distance >> 8 | 7 << 5)
                out.append(more - 7)
            out.append(distance & 0xFF)
            at += length
            start = at
            room = _room(limit - 1 - len(out))
            if at >= last:
                break
            for near in (at - 2, at - 1):
                second = data[near + 1]
                slot = (data[near] << 8 | second) - (second << 8 | data[near + 2]) * 5 & 0xFFFF
                seen[slot] = near
        else:
            if at - start >= room:
                return None
            at += 1
    if _written(out, at - start) + 3 > limit:
        return None
    _put_literals(out, data, start, size)
    return bytes(out)


def _written(out: bytearray, literals: int) -> int:
    """Return the size of the output with so many literals, and one byte for the next piece."""
    return len(out) + literals + literals // _MAX_LITERALS + 1


def _room(size: int) -> int:
    """Return from how many literals on they, and the bytes that tell their number, fill `size`."""
    runs, rest = divmod(size, _MAX_LITERALS + 1)
    return _MAX_LITERALS * runs + rest


def _length(data: bytes, found: int, at: int, most: int) -> int:
    """Return for how many bytes two places are the same; three are, and `most` are enough."""
    # The first 19 bytes are compared whatever the bound, if it is above 16.
    most = max(most, 3 if most <= 16 else 19)
    if data[found : found + most] == data[at : at + most]:
        return most
    length = 3
    while data[found + length] == data[at + length]:
        length += 1
    return length


def _put_literals(out: bytearray, data: bytes, start: int, end: int) -> None:
    for at in range(start, end, _MAX_LITERALS):
        piece = data[at : min(at + _MAX_LITERALS, end)]
        out.append(len(piece) - 1)
        out += piece


def decompress(data: bytes, size: int) -> bytes:
    """Return what was compressed, `size` bytes. Raises: DamagedValueError: it cannot be."""
    if size > MAX_RATIO * len(data):
        raise DamagedValueError("more bytes than LZF can hold")
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            code = data[at]
            at += 1
            if code < _MAX_LITERALS:
                out += data[at : at + code + 1]
                at += code + 1
                continue
            length = (code >> 5) + 2
            if length == 9:
                length += data[at]
                at += 1
            start = len(out) - ((code & 31) << 8 | data[at]) - 1
            at += 1
            if start < 0:
                raise DamagedValueError("a copy from before the start")
            piece = out[start : start + length]
            while len(piece) < length:  # it copies what it makes
                piece += piece[: length - len(piece)]
            out += piece
            if len(out) > size:
                raise DamagedValueError("too many bytes")
    except IndexError:
        raise DamagedValueError("cut short") from None
    if len(out) != size:
        raise DamagedValueError("another length than announced")
    return bytes(out)
