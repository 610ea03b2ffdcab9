"""From the arguments that COMMAND DOCS tells of a command to calls of it, most of them valid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shoal.proto.spec import CommandFlag
from shoal.worker.arguments import Argument
from shoal.worker.registry import Command
from support.fuzz.words import Words

Argv = tuple[bytes, ...]
ChooseKey = Callable[[], bytes]

# An argument that says how often the next one is repeated.
COUNTS: Final = ("numkeys", "numfields", "numids")
# What grows by many elements at once now and then, to get over the thresholds of encodings.
MANY: Final = ("element", "member", "data")
# Of another word in place of one of theirs, these would wait for ever, let a key expire while the
# two servers are not at the same point, or take hundreds of megabytes.
STRICT: Final = ("setrange", "setbit", "bitfield", "srandmember", "hrandfield", "zrandmember")
TIMED: Final = ("set", "getex", "setex", "psetex", "restore", "hsetex", "hgetex")
# Of another word in a log, these might say that a group has read more than there were; see `Words`.
COUNTED: Final = ("xsetid", "xgroup|create", "xgroup|setid")


@dataclass(frozen=True)
class Target:
    """A command or subcommand that scripts call.

    Attributes:
        command: its entry in Shoal's table.
        arguments: from COMMAND DOCS of the Redis it is compared with.
    """

    command: Command
    arguments: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """Lower case; `xgroup|create` for a subcommand."""
        return self.command.spec.name

    @property
    def group(self) -> str:
        """As COMMAND DOCS has it: `sorted-set`."""
        return self.command.spec.group

    @property
    def blocking(self) -> bool:
        """Whether it may wait."""
        return CommandFlag.BLOCKING in self.command.spec.flags

    @property
    def grows(self) -> bool:
        """Whether it may use more memory."""
        return CommandFlag.DENYOOM in self.command.spec.flags


class Call:
    """Builds one call of a target."""

    def __init__(self, target: Target, words: Words, key: ChooseKey) -> None:
        self.target = target
        self._words = words
        self._random = words.random
        self._key = key
        self._keys = 0  # how many the last run of them had, for WEIGHTS

    def argv(self) -> Argv:
        """Return the words of the call, name included."""
        name = self.target.name
        self._words.clean = self._words.chance(0.8)
        if self._words.chance(0.05):
            name = "".join(self._random.choice((c, c.upper())) for c in name)
        elif self._words.chance(0.9):
            name = name.upper()
        argv = [*name.encode().split(b"|"), *self._arguments()]
        if not self._words.clean and not self._words.flat and self._words.chance(0.2):
            self._spoil(argv)
        return tuple(argv)

    def _spoil(self, argv: list[bytes]) -> None:
        """Drop, repeat, replace or add a word; for some commands only what stays harmless."""
        name = self.target.name
        first = 1 + self.target.name.count("|")
        ways = [self._drop]
        if name not in STRICT:
            ways.append(self._repeat)
            if not self.target.blocking:
                ways.append(self._add)
                counted = self._words.logged and name in COUNTED
                if name not in TIMED and "expire" not in name and not counted:
                    ways.append(self._replace)
        elif name == "bitfield":
            return
        at = self._random.randrange(first, len(argv) + 1)
        if at < len(argv):
            self._random.choice(ways)(argv, at)
        elif self._add in ways:
            self._add(argv, at)

    def _drop(self, argv: list[bytes], at: int) -> None:
        del argv[at]

    def _repeat(self, argv: list[bytes], at: int) -> None:
        argv.insert(at, argv[at])

    def _add(self, argv: list[bytes], at: int) -> None:
        argv.insert(at, self._words.junk())

    def _replace(self, argv: list[bytes], at: int) -> None:
        argv[at] = self._words.junk()

    def _arguments(self) -> list[bytes]:
        special = SPECIAL.get(self.target.name)
        if special is not None and self._words.chance(0.8):
            return special(self)
        return self._sequence(self.target.arguments)

    # -- what a tree cannot tell -------------------------------------------------------------------

    def zrange(self) -> list[bytes]:
        """Return arguments of ZRANGE or ZRANGESTORE whose bounds are of the kind of its options."""
        words, options = self._words, []
        by, bound = self._random.choice(
            (
                (b"", Words.index),
                (b"BYSCORE", Words.score_bound),
                (b"BYLEX", Words.lex_bound),
            )
        )
        low, high = bound(words), bound(words)
        if by:
            options.append([by])
            if words.chance(0.4):
                options.append([b"LIMIT", words.index(), words.count()])
        if words.chance(0.3):
            options.append([b"REV"])
            low, high = high, low
        if self.target.name == "zrange" and words.chance(0.4):
            options.append([b"WITHSCORES"])
        self._random.shuffle(options)
        keys = [self._key() for _ in range(self.target.name.count("store") + 1)]
        return [*keys, low, high, *(word for option in options for word in option)]

    # -- the tree ----------------------------------------------------------------------------------

    def _sequence(self, arguments: Sequence[Argument]) -> list[bytes]:
        """Return the words of arguments that follow each other, options at times in any order."""
        pieces: list[list[bytes]] = []
        options: list[int] = []
        repeats = 0
        for at, argument in enumerate(arguments):
            following = arguments[at + 1] if at + 1 < len(arguments) else None
            if "optional" in argument.flags:
                if not self._words.chance(self._share(argument)):
                    continue
                options.append(len(pieces))
            if argument.name in COUNTS and following is not None and "multiple" in following.flags:
                repeats = self._repeats(following)
                pieces.append([self._words.junk() if self._words.wrong() else b"%d" % repeats])
                continue
            if "multiple" in argument.flags:
                repeats = repeats or self._repeats(argument)
                if argument.kind == "key":
                    self._keys = repeats
                pieces.append(self._multiple(argument, repeats))
                if not (
                    following is not None and argument.kind == "key" and following.name == "id"
                ):
                    repeats = 0  # else as many ids as there were keys
                continue
            pieces.append(self._one(argument))
        if len(options) > 1 and self._words.chance(0.3):
            order = options[:]
            self._random.shuffle(order)
            shuffled = pieces[:]
            for to, source in zip(options, order, strict=True):
                shuffled[to] = pieces[source]
            pieces = shuffled
        return [word for piece in pieces for word in piece]

    def _share(self, argument: Argument) -> float:
        return 0.85 if "multiple" in argument.flags and not argument.token else 0.3

    def _repeats(self, argument: Argument) -> int:
        if argument.name == "weight" and self._words.chance(0.95):
            return self._keys or 1
        may_be_many = argument.name in MANY and self.target.grows and not _has_key(argument)
        if may_be_many and self._words.chance(0.04):
            return self._random.randint(20, 160)
        repeats = 1
        while repeats < 5 and self._words.chance(0.4):
            repeats += 1
        return repeats

    def _multiple(self, argument: Argument, repeats: int) -> list[bytes]:
        token = [argument.token.encode()] if argument.token else []
        out: list[bytes] = []
        for _ in range(repeats):
            if token and (not out or "multiple_token" in argument.flags):
                out += token
            out += self._value(argument)
        return out

    def _one(self, argument: Argument) -> list[bytes]:
        if argument.kind == "pure-token":
            return [self._token(argument)]
        if argument.token:
            return [self._token(argument), *self._value(argument)]
        return self._value(argument)

    def _token(self, argument: Argument) -> bytes:
        assert argument.token is not None
        token = argument.token.encode()
        return token.lower() if self._words.chance(0.1) else token

    def _value(self, argument: Argument) -> list[bytes]:
        if argument.kind == "block":
            return self._sequence(argument.arguments)
        if argument.kind == "oneof":
            # XADD's `*` takes the clock's time, which is never the same on two servers.
            choices = [part for part in argument.arguments if part.token != "*"]
            return self._one(self._random.choice(choices))
        if argument.kind == "key":
            return [self._key()]
        return [self._words.for_argument(self.target.name, argument.name, argument.kind)]


SPECIAL: Final = {"zrange": Call.zrange, "zrangestore": Call.zrange}
"""Commands whose arguments depend on each other: built by hand most of the time."""


def _has_key(argument: Argument) -> bool:
    return argument.kind == "key" or any(map(_has_key, argument.arguments))
