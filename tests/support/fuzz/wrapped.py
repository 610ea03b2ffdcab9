"""Commands inside of others: several in a MULTI, in one script, or one called by a script.

A transaction is one step, so that no batch, no look at what is held and no shrinking cuts it: the
name MULTI with the commands after it, each behind the number of its words. `unfolded` gives what is
sent. A script has its commands in ARGV in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Final

from shoal.proto.errors import ReplyError
from shoal.worker.registry import Command, resolve
from support.fuzz.grammar import Argv

MULTI: Final = b"MULTI"
_CALLS_ONE: Final = b"return redis.call(unpack(ARGV))"
_CALLS_ALL: Final = b"""\
local replies, at = {}, 1
while ARGV[at] do
  local size = tonumber(ARGV[at])
  replies[#replies + 1] = redis.pcall(unpack(ARGV, at + 1, at + size))
  at = at + size + 1
end
return replies"""
# These change the encoding of a hash though they set no time: one that was only lent keeps its own.
_CHANGE_ENCODING: Final = (
    *("hexpire", "hpexpire", "hexpireat", "hpexpireat"),
    *("hgetex", "hsetex", "hpersist"),
)
# Lua can put no more values on its stack than some thousands.
MAX_WORDS: Final = 1000


def transaction(commands: Iterable[Argv]) -> Argv:
    """Return the step that runs these in a MULTI."""
    return MULTI, *_counted(commands)


def script(commands: Sequence[Argv], *, declares: Callable[[bytes], bool]) -> Argv | None:
    """Return the call of a script that calls these.

    A single one is called by redis.call, several by redis.pcall, each whatever the others met.

    Args:
        commands: what is called.
        declares: whether the script declares a key of theirs.
    Returns: None if that cannot be.
    """
    found = [_command(argv) for argv in commands]
    if any(one is None for one in found) or sum(map(len, commands)) > MAX_WORDS:
        return None
    keys: dict[bytes, None] = {}
    for argv, command in zip(commands, found, strict=True):
        assert command is not None
        keys.update((argv[at], None) for at in command.spec.key_positions(list(argv)))
    named = tuple(filter(declares, keys))
    head = (b"%d" % len(named), *named)
    if len(commands) == 1:
        return b"EVAL", _CALLS_ONE, *head, *commands[0]
    return b"EVAL", _CALLS_ALL, *head, *_counted(commands)


def _command(argv: Argv) -> Command | None:
    """Return the entry of a command over keys; None for any other, or one that is not valid."""
    try:
        command = resolve(list(argv))
    except ReplyError:
        return None
    if command.spec.name in _CHANGE_ENCODING:
        return None
    return command if command.spec.keys else None


def _counted(commands: Iterable[Argv]) -> Iterator[bytes]:
    for argv in commands:
        yield b"%d" % len(argv)
        yield from argv


def _uncounted(words: Sequence[bytes]) -> list[Argv]:
    """Return the commands again; where a word has been left out, those before it."""
    commands = []
    at = 0
    while at < len(words) and words[at].isdigit() and 0 < int(words[at]) < len(words) - at:
        end = at + 1 + int(words[at])
        commands.append(tuple(words[at + 1 : end]))
        at = end
    return commands


def queued(argv: Argv) -> list[Argv] | None:
    """Return the commands of a transaction, None of any other step."""
    if argv[0] != MULTI or len(argv) == 1:
        return None
    return _uncounted(argv[1:])


def called(argv: Argv) -> list[Argv] | None:
    """Return what a script calls: a list of one if the reply is that one's."""
    if argv[0] != b"EVAL" or len(argv) < 3 or not argv[2].isdigit():
        return None
    words = argv[3 + int(argv[2]) :]
    return [words] if argv[1] == _CALLS_ONE else _uncounted(words)


def is_counted(argv: Argv) -> bool:
    """Tell whether words of a step say how many words follow: without some it is another."""
    return queued(argv) is not None or (argv[0] == b"EVAL" and argv[1:2] == (_CALLS_ALL,))


def calls_one(argv: Argv) -> bool:
    """Tell whether a script's reply is that of the command which it calls."""
    return argv[1] == _CALLS_ONE


def unfolded(steps: Iterable[Argv]) -> Iterator[Argv]:
    """Yield what is sent."""
    for argv in steps:
        commands = queued(argv)
        if commands is None:
            yield argv
        else:
            yield from ((MULTI,), *commands, (b"EXEC",))


class Wrapping:
    """Wraps a share of a script's commands."""

    def __init__(self, random: Random) -> None:
        """Draw from `random`."""
        self._random = random

    def wrap(self, steps: Sequence[Argv], fits: Sequence[bool]) -> Iterator[Argv]:
        """Yield the steps, some of them wrapped.

        Args:
            steps: the commands.
            fits: which of them may stand inside of others.
        """
        random = self._random
        at = 0
        while at < len(steps):
            if not fits[at] or random.random() < 0.7:
                yield steps[at]
                at += 1
                continue
            size = random.choice((1, 1, 2, 3, 8))
            end = at + 1
            while end < min(at + size, len(steps)) and fits[end]:
                end += 1
            yield from self._wrapped(steps[at:end])
            at = end

    def _declares(self) -> Callable[[bytes], bool]:
        """Declare all keys, none, or some."""
        share = self._random.choice((1.0, 1.0, 0.0, 0.5))
        return lambda _: self._random.random() < share

    def _wrapped(self, commands: Sequence[Argv]) -> Iterator[Argv]:
        random = self._random
        if random.random() < 0.5:
            called = script(commands, declares=self._declares())
            if called is not None:
                yield called
                return
        inside: list[Argv] = []
        for argv in commands:
            is_called = random.random() < 0.2
            called = script([argv], declares=self._declares()) if is_called else None
            inside.append(argv if called is None else called)
        yield transaction(inside)
