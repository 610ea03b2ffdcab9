"""Frames: what travels in the pipes between two processes.

A frame is its payload's size, u32 big-endian, then the payload: one marshalled object. `marshal` is
the cheapest encoding for lists of bytes (docs/performance.md); both ends run the same interpreter,
since one is forked from the other. What the objects are is in `proto/messages.py`.
"""

from __future__ import annotations

import marshal
from struct import Struct
from typing import Any, Final

from shoal.proto.errors import FrameError
from shoal.proto.limits import MAX_FRAME_BYTES

HEADER: Final = Struct(">I")
# Later ones look for repeated objects, which costs more than it saves here.
MARSHAL_VERSION: Final = 2


def encode_frame(message: Any) -> bytes:
    """Return the frame of one marshal-able object. Raises: FrameError when it is over
    MAX_FRAME_BYTES.
    """
    payload = marshal.dumps(message, MARSHAL_VERSION)
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"frame of {len(payload)} bytes, limit {MAX_FRAME_BYTES}")
    return HEADER.pack(len(payload)) + payload


class FrameReader:
    """Cut the bytes of one pipe into frames, however they were cut on the way."""

    __slots__ = ("_missing", "_parts")

    def __init__(self) -> None:
        """Start at a frame's beginning."""
        self._parts: list[bytes] = []
        self._missing = 0  # bytes until the pieces are worth joining

    def feed(self, data: bytes) -> list[Any]:
        """Take what was read and return the messages that are complete now, in order.

        Raises: FrameError when a size is over MAX_FRAME_BYTES; the link is then of no more use.
        """
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:  # a big frame is joined once, not at every read
                return []
            data = b"".join(self._parts)
            self._parts = []
        messages = []
        at, size = 0, len(data)
        while size - at >= 4:
            (length,) = HEADER.unpack_from(data, at)
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"frame of {length} bytes, limit {MAX_FRAME_BYTES}")
            end = at + 4 + length
            if end > size:
                self._missing = end - size
                break
            messages.append(marshal.loads(memoryview(data)[at + 4 : end]))
            at = end
        else:
            self._missing = 4 - (size - at)
        if at < size:
            self._parts.append(data[at:] if at else data)
        return messages
