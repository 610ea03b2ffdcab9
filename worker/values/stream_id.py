"""IDs of stream entries: two unsigned 64-bit numbers, `ms-seq`.

Everywhere but at the edges an ID is one integer, `ms << 64 | seq`: that sorts as Redis sorts IDs,
and the next one is one more, also where seq overflows into ms.
"""

from __future__ import annotations

from typing import Final

from shoal.proto.numbers import parse_uint64

SEQ_BITS: Final = 64
SEQ_MASK: Final = (1 << SEQ_BITS) - 1
MAX_ID: Final = (1 << 2 * SEQ_BITS) - 1

# How sequence numbers below FEW are printed: formatting them costs three times as much.
FEW: Final = 1024
SEQ_TEXTS: Final = [b"-%d" % seq for seq in range(FEW)]

# Redis copies an ID into a buffer of 128 bytes, of which one ends it.
_MAX_TEXT_BYTES: Final = 127
# Digits that surely fit 64 bits.
_SAFE_DIGITS: Final = 19


def format_id(entry_id: int) -> bytes:
    """Print an ID.

    >>> format_id((5 << 64) + 7)
    b'5-7'
    """
    seq = entry_id & 0xFFFF_FFFF_FFFF_FFFF
    if seq < FEW:
        return b"%d" % (entry_id >> 64) + SEQ_TEXTS[seq]
    return b"%d-%d" % (entry_id >> 64, seq)


def parse_id(text: bytes, missing_seq: int = 0) -> int | None:
    """Return an ID, None if the text is none; `missing_seq` counts where only the ms are given.

    >>> parse_id(b"5-7") == (5 << 64) + 7, parse_id(b"5", 3) == (5 << 64) + 3, parse_id(b"5-")
    (True, True, None)
    """
    ms, dash, seq = text.partition(b"-")
    if ms.isdigit() and len(ms) <= _SAFE_DIGITS:
        if seq.isdigit() and len(seq) <= _SAFE_DIGITS:
            return int(ms) << SEQ_BITS | int(seq)
        if not dash:
            return int(ms) << SEQ_BITS | missing_seq
    if len(text) > _MAX_TEXT_BYTES:
        return None
    ms, dash, seq = text.partition(b"\0")[0].partition(b"-")
    high = parse_uint64(ms)
    low = parse_uint64(seq) if dash else missing_seq
    return None if high is None or low is None else high << SEQ_BITS | low
