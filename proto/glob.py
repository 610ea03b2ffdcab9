r"""Glob patterns, as KEYS, SCAN, PSUBSCRIBE, CONFIG GET and ACL match them.

What is special in a pattern, and what one would not expect; all of it is observed on redis-server
8.2:

- `*` any bytes; `?` one byte; `\x` the byte x; a `\` at the end is itself.
- `[...]` one byte of a class, `[^...]` one byte outside. In a class, `\x` is x, `a-z` is a range,
  in either order, whose last byte may be any, even `]` or `\`. Ranges compare signed bytes:
  `[\x80-a]` holds everything below `a`. A class that is never closed ends with the pattern. `[]`
  matches no byte and `[^]` every one.
- The empty string matches the empty pattern alone: `*` needs one byte. (KEYS and SCAN take the
  pattern `*` for no pattern at all, so they do return the empty key. That is theirs to do.)
- A pattern with more than 1000 runs of `*` that have something behind them matches nothing.

A pattern is compiled once. Runs of `*` cut it into pieces of fixed length; each piece is taken at
the leftmost place where it fits, which never needs to be undone, so a match costs O(pattern * data)
at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

Matcher = Callable[[bytes], bool]
Piece = list[bytes | frozenset[int]]
"""What stands between two runs of `*`: literal bytes, and the sets allowed for one byte."""

MAX_STARS: Final = 1000

# Longer patterns are compiled each time: kept ones must not add up to much memory.
_KEPT_BYTES: Final = 1024

_LITERAL: Final = re.compile(rb"[^*?\[\\]+")
_ANY: Final = frozenset(range(256))


def glob_match(pattern: bytes, data: bytes, nocase: bool = False) -> bool:
    """Tell whether data matches the pattern; `nocase` folds ASCII letters."""
    return compile_glob(pattern, nocase)(data)


def compile_glob(pattern: bytes, nocase: bool = False) -> Matcher:
    """Return a function that tells whether its argument matches the pattern.

    >>> is_user = compile_glob(b"user:[0-9]*")
    >>> is_user(b"user:1000"), is_user(b"user:")
    (True, False)
    """
    if len(pattern) > _KEPT_BYTES:
        return _compile(pattern, nocase)
    return _compile_kept(pattern, nocase)


def _compile(pattern: bytes, nocase: bool) -> Matcher:
    pieces = _cut(pattern, nocase)
    if len(pieces) > MAX_STARS + 1 + (not pieces[-1]):
        return _nothing
    match [None if nocase and piece else _literal(piece) for piece in pieces]:
        case [bytes() as whole]:
            return whole.__eq__
        case [b"", b""]:
            return bool
        case [bytes() as prefix, b""]:
            return lambda data: data.startswith(prefix)
        case [b"", bytes() as suffix]:
            return lambda data: data.endswith(suffix)
        case [b"", bytes() as middle, b""]:
            # `middle in data` costs three times as much: bytes are tried as an integer first.
            return lambda data: data.find(middle) >= 0
    fullmatch = re.compile(_regex(pieces, nocase), re.DOTALL).fullmatch
    if len(pattern) > _KEPT_BYTES:
        re.purge()  # re keeps what it compiled
    return lambda data: fullmatch(data) is not None


_compile_kept: Final = lru_cache(maxsize=128)(_compile)


def _nothing(data: bytes) -> bool:
    """Match no data."""
    return False


def _cut(pattern: bytes, nocase: bool) -> list[Piece]:
    """Cut a pattern at its runs of `*`."""
    pieces: list[Piece] = [[]]
    position, size = 0, len(pattern)
    while position < size:
        if literal := _LITERAL.match(pattern, position):
            pieces[-1].append(literal[0])
            position = literal.end()
            continue
        special = pattern[position : position + 1]
        position += 1
        if special == b"*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append([])
        elif special == b"?":
            pieces[-1].append(_ANY)
        elif special == b"[":
            allowed, position = _class(pattern, position, nocase)
            pieces[-1].append(allowed)
        else:
            pieces[-1].append(pattern[position : position + 1] or special)
            position += 1
    return pieces


def _class(pattern: bytes, position: int, nocase: bool) -> tuple[frozenset[int], int]:
    """Read a class from behind its `[`; return the bytes it allows and the position behind it."""
    negated = pattern[position : position + 1] == b"^"
    position += negated
    allowed: set[int] = set()
    while position < len(pattern) and (char := pattern[position]) != ord("]"):
        left = len(pattern) - position
        if char == ord("\\") and left >= 2:
            # Case counts for an escaped byte, even where it is ignored elsewhere.
            allowed.add(pattern[position + 1])
            position += 2
        elif left >= 3 and pattern[position + 1] == ord("-"):
            allowed |= _range(char, pattern[position + 2], nocase)
            position += 3
        else:
            one = pattern[position : position + 1]
            allowed.update(one.lower() + one.upper() if nocase else one)
            position += 1
    return (_ANY - allowed if negated else frozenset(allowed)), position + 1


def _range(first: int, last: int, nocase: bool) -> set[int]:
    """Return the bytes from first to last, as signed chars, in whichever order they come."""
    low, high = sorted((_signed(first), _signed(last)))
    if nocase:
        # Folded after they are put in order, as in Redis: `[Z-a]` folded is the empty `[z-a]`.
        low, high = _lower(low), _lower(high)
    return {b for b in range(256) if low <= (_lower(_signed(b)) if nocase else _signed(b)) <= high}


def _signed(byte: int) -> int:
    return byte - 256 if byte >= 128 else byte


def _lower(char: int) -> int:
    return char + 32 if ord("A") <= char <= ord("Z") else char


def _literal(piece: Piece) -> bytes | None:
    """Return the one string a piece matches, None when it has sets."""
    parts = [part for part in piece if isinstance(part, bytes)]
    return b"".join(parts) if len(parts) == len(piece) else None


def _regex(pieces: list[Piece], nocase: bool) -> bytes:
    """Translate the pieces; the atomic groups keep the leftmost fit, so nothing is tried twice."""
    first, *others = [b"".join(_regex_part(part, nocase) for part in piece) for piece in pieces]
    if not others:
        return first
    inner = b"".join(b"(?>.*?%b)" % piece for piece in others[:-1])
    return b"%b%b.*%b" % (first, inner, others[-1])


def _regex_part(part: bytes | frozenset[int], nocase: bool) -> bytes:
    if isinstance(part, bytes):
        return (b"(?i:%b)" if nocase else b"%b") % re.escape(part)
    if len(part) == 256:
        return b"."
    return b"[%b]" % b"".join(b"\\x%02x" % b for b in sorted(part)) if part else b"(?!)"
