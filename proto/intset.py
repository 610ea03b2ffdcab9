"""Intsets: sorted integers of 16, 32 or 64 bits, all of one width, little-endian.

Source: the dumps of redis-server; a header has the width in bytes and the number of integers.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import pairwise
from struct import Struct
from typing import Final

from shoal.proto.errors import DamagedValueError

_HEADER: Final = Struct("<II")
_CODES: Final = {2: "h", 4: "i", 8: "q"}


def encode(numbers: Sequence[int]) -> bytes:
    """Return the intset of these integers, which ascend; of the least width that holds them."""
    width = 2
    if numbers:
        while not -1 << 8 * width - 1 <= numbers[0] <= numbers[-1] < 1 << 8 * width - 1:
            width *= 2
    content = array(_CODES[width], numbers)
    if sys.byteorder == "big":
        content.byteswap()
    return _HEADER.pack(width, len(numbers)) + content.tobytes()


def decode(data: bytes) -> list[int]:
    """Return the integers, which ascend. Raises: DamagedValueError: it is no intset."""
    if len(data) < _HEADER.size:
        raise DamagedValueError("an intset without a header")
    width, count = _HEADER.unpack_from(data)
    if width not in _CODES or len(data) != _HEADER.size + width * count:
        raise DamagedValueError("an intset of another size")
    content = array(_CODES[width], data[_HEADER.size :])
    if sys.byteorder == "big":
        content.byteswap()
    numbers = content.tolist()
    if any(first >= second for first, second in pairwise(numbers)):
        raise DamagedValueError("an intset out of order")
    return numbers
