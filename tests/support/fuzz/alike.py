"""When two replies to the same command count as the same. Without a rule: if their bytes are equal.

Free are only the order in which hash tables are read, random picks, and the clocks of two servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from support.fuzz.grammar import Argv
from support.fuzz.wrapped import called, calls_one
from support.raw import split_reply

Rule = Callable[[Argv, bytes, bytes], bool]

# Two servers read a batch at times that differ by this much at most.
CLOCKS_APART_MS: Final = 10_000

_SUBCOMMAND: Final = re.compile(rb"-ERR unknown subcommand or wrong number of arguments for '")
_INTEGER: Final = re.compile(rb":(-?\d+)\r\n")
# Times of XINFO: since when something is idle, and milliseconds since the epoch.
_IDLE: Final = re.compile(rb"(\$(?:4\r\nidle|8\r\ninactive)\r\n):\d+")
_EPOCH_MS: Final = re.compile(rb":[12]\d{12}\r")
# It is 0 in a payload of Shoal's, if the stream came with a command over several partitions.
_NEVER_SEEN: Final = re.compile(rb"(\$9\r\nseen-time\r\n):0\r")


def alike(argv: Argv, theirs: bytes, ours: bytes) -> bool:
    """Tell whether these replies of Redis and Shoal to argv count as the same."""
    if theirs == ours:
        return True
    name = argv[0].lower()
    if theirs[:1] == b"-" or ours[:1] == b"-":
        # Redis names the subcommand as the client wrote it.
        return _SUBCOMMAND.match(ours) is not None and theirs.lower() == ours.lower()
    rule = RULES.get(name)
    return rule is not None and rule(argv, theirs, ours)


def alike_all(commands: Sequence[Argv], theirs: bytes, ours: bytes) -> bool:
    """Tell whether two arrays of replies, one to each of the commands, count as the same."""
    if b"-" in (theirs[:1], ours[:1]):
        return theirs == ours
    (header, a), (other_header, b) = split_reply(theirs), split_reply(ours)
    if header != other_header or len(a) != len(commands):
        return False
    return all(map(alike, commands, a, b))


def _scripted(argv: Argv, theirs: bytes, ours: bytes) -> bool:
    """Compare what is left of a reply when it has been a Lua value."""
    commands = called(argv)
    if not commands:
        return False
    if calls_one(argv):
        return alike(commands[0], theirs, ours)
    return alike_all(commands, theirs, ours)


def _by(normalise: Callable[[bytes], bytes]) -> Rule:
    return lambda _argv, theirs, ours: normalise(theirs) == normalise(ours)


def unordered(reply: bytes) -> bytes:
    """Return a reply whose items are sorted."""
    header, items = split_reply(reply)
    return header + b"".join(sorted(items))


def unordered_pairs(reply: bytes) -> bytes:
    """Return a flat array of pairs, or a map, whose pairs are sorted."""
    header, items = split_reply(reply)
    return header + b"".join(sorted(a + b for a, b in zip(items[::2], items[1::2], strict=True)))


def shape(reply: bytes) -> bytes:
    """Return only types and counts."""
    header, items = split_reply(reply)
    if not items:
        return header if header[:1] in b"*~%_" or header[:3] == b"$-1" else header[:1]
    return header + b"".join(map(shape, items))


def near(argv: Argv, theirs: bytes, ours: bytes) -> bool:
    """Tell whether the integers differ by no more than the clocks do; -1 and -2 are no times."""
    by = (
        CLOCKS_APART_MS if argv[0][:2].lower() in (b"pt", b"pe", b"hp") else CLOCKS_APART_MS // 1000
    )
    if _INTEGER.sub(b":", theirs) != _INTEGER.sub(b":", ours):
        return False
    pairs = zip(_INTEGER.findall(theirs), _INTEGER.findall(ours), strict=True)
    return all(near_ms(int(a), int(b), by) for a, b in pairs)


def near_ms(a: int, b: int, by: int = CLOCKS_APART_MS) -> bool:
    """Tell whether two times, or what is said in place of one, count as the same."""
    return a == b or (a >= 0 and b >= 0 and abs(a - b) <= by)


def timeless(reply: bytes) -> bytes:
    """Return a reply of XINFO without its times."""
    reply = _NEVER_SEEN.sub(rb"\1:T\r", reply)
    return _EPOCH_MS.sub(b":T\r", _IDLE.sub(rb"\1:T", reply))


def _pending(argv: Argv, theirs: bytes, ours: bytes) -> bool:
    if len(argv) == 3:
        return False
    return _without_idle(theirs) == _without_idle(ours)


def _without_idle(reply: bytes) -> bytes:
    header, entries = split_reply(reply)
    kept = [header]
    for entry in entries:
        head, items = split_reply(entry)
        kept += [head, *items[:2], *items[3:]]
    return b"".join(kept)


def _sorted_by(argv: Argv, theirs: bytes, ours: bytes) -> bool:
    """SORT leaves the order open where its BY says nothing, or the same of several elements, as
    does strcoll of those that are equal up to a NUL.
    """
    words = [word.upper() for word in argv]
    gets = words.count(b"GET")
    if b"BY" not in words and b"ALPHA" not in words:
        return False
    if b"LIMIT" in words:
        return split_reply(theirs)[0] == split_reply(ours)[0]
    return _rows(theirs, gets) == _rows(ours, gets)


def _rows(reply: bytes, width: int) -> tuple[bytes, Sequence[object]]:
    header, items = split_reply(reply)
    if width <= 1:
        return header, sorted(items)
    return header, sorted(zip(*[iter(items)] * width, strict=True))


def _places(argv: Argv, theirs: bytes, ours: bytes) -> bool:
    """Places at the same distance come in any order."""
    words = {word.upper() for word in argv}
    (header, a), (other_header, b) = split_reply(theirs), split_reply(ours)
    if header != other_header:
        return False
    if b"WITHDIST" in words and [_second(x) for x in a] != [_second(x) for x in b]:
        return False
    return sorted(a) == sorted(b)


def _second(reply: bytes) -> bytes:
    return split_reply(reply)[1][1]


def _object(argv: Argv, theirs: bytes, ours: bytes) -> bool:
    word = argv[1].lower()
    if word == b"encoding":
        return same_encoding(theirs, ours)
    return word in (b"idletime", b"refcount") and shape(theirs) == shape(ours)


def same_encoding(theirs: bytes, ours: bytes) -> bool:
    """Tell whether two answers of OBJECT ENCODING count as the same.

    Redis remembers how a string came about: INCRBYFLOAT leaves an integer as text, and with an
    expire time it had less room to be "embstr". Shoal says what its length and its text are.
    """
    return theirs == ours or (theirs in _STRING and ours in _STRING)


_STRING: Final = (b"$3\r\nint\r\n", b"$6\r\nembstr\r\n", b"$3\r\nraw\r\n")


RULES: Final[dict[bytes, Rule]] = {
    **dict.fromkeys((b"keys", b"smembers", b"sinter", b"sunion", b"sdiff"), _by(unordered)),
    **dict.fromkeys((b"hkeys", b"hvals"), _by(unordered)),
    b"hgetall": _by(unordered_pairs),
    **dict.fromkeys((b"ttl", b"pttl", b"expiretime", b"pexpiretime"), near),
    **dict.fromkeys((b"httl", b"hpttl", b"hexpiretime", b"hpexpiretime"), near),
    **dict.fromkeys((b"randomkey", b"srandmember", b"hrandfield", b"zrandmember"), _by(shape)),
    b"dump": _by(shape),
    b"object": _object,
    b"xinfo": _by(timeless),
    b"xpending": _pending,
    **dict.fromkeys((b"geosearch", b"georadius", b"georadiusbymember"), _places),
    **dict.fromkeys((b"georadius_ro", b"georadiusbymember_ro"), _places),
    b"eval": _scripted,
    b"sort": _sorted_by,
    b"sort_ro": _sorted_by,
}
