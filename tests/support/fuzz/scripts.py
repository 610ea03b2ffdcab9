"""Scripts: which commands follow each other, over which keys, all from one seed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from shoal.proto.slots import key_slot
from shoal.worker.arguments import parse
from shoal.worker.commands import load_all
from shoal.worker.registry import COMMANDS, every_command
from support.command_arguments import notation
from support.command_docs import Docs
from support.fuzz.grammar import Argv, Call, ChooseKey, Target
from support.fuzz.special import special_of
from support.fuzz.words import STREAM_NAMES, Words
from support.fuzz.wrapped import Wrapping

GROUPS: Final = (
    *("string", "bitmap", "list", "set", "hash", "sorted-set", "stream", "geo", "hyperloglog"),
    "generic",
)
# Of these groups, but not about the keys of one server, or of the clock, or of a build.
LEFT_OUT: Final = frozenset(
    ("migrate", "wait", "waitaof", "pfselftest", "object|help", "xgroup|help", "xinfo|help")
)

TAGGED: Final = tuple(b"{t}" + name for name in (b"a", b"b", b"c", b"d", b"e", b"w1", b"h", b""))
UNTAGGED: Final = (b"a", b"b", b"c", b"key:\x00\xff", b"{u}x", b"")

WEIGHT: Final = 10
WEIGHTS: Final = {
    **dict.fromkeys(("set", "sadd", "hset", "zadd", "xadd", "rpush", "lpush", "geoadd"), 40),
    **dict.fromkeys(("setbit", "bitfield", "pfadd", "xreadgroup", "hsetex", "append"), 25),
    **dict.fromkeys(("xgroup|create", "hexpire", "hpexpire", "hexpireat", "hpexpireat"), 15),
    **dict.fromkeys(("blpop", "brpop", "blmove", "blmpop", "brpoplpush"), 3),
    **dict.fromkeys(("bzpopmin", "bzpopmax", "bzmpop"), 3),
    **dict.fromkeys(("del", "unlink", "getdel", "move", "lcs", "dump", "xsetid", "ltrim"), 4),
    **dict.fromkeys(("keys", "scan", "randomkey", "object|freq", "object|idletime"), 3),
    **dict.fromkeys(("rename", "renamenx", "xgroup|destroy", "xgroup|delconsumer"), 4),
    **dict.fromkeys(("expire", "pexpire", "expireat", "pexpireat", "zremrangebyrank"), 6),
    **dict.fromkeys(("object|refcount", "pfdebug", "restore"), 3),
    **dict.fromkeys(("sort", "sort_ro", "copy"), 5),
}

# What a script may set at its start; `DEFAULTS` is what it is otherwise.
DEFAULTS: Final = {
    "list-max-listpack-size": (b"-2", (b"4", b"-1", b"128")),
    "hash-max-listpack-entries": (b"512", (b"4", b"16")),
    "hash-max-listpack-value": (b"64", (b"8",)),
    "set-max-intset-entries": (b"512", (b"4", b"16")),
    "set-max-listpack-entries": (b"128", (b"4", b"16")),
    "set-max-listpack-value": (b"64", (b"8",)),
    "zset-max-listpack-entries": (b"128", (b"4", b"0")),
    "zset-max-listpack-value": (b"64", (b"8",)),
    "stream-node-max-entries": (b"100", (b"2", b"5")),
    "hll-sparse-max-bytes": (b"3000", (b"100",)),
}


@dataclass(frozen=True)
class Script:
    """Commands that run on an empty server with default thresholds.

    Attributes:
        seed, number: what it was made from, together with the table of commands.
        steps: the commands.
    """

    seed: int
    number: int
    steps: tuple[Argv, ...]


def spread(script: Script) -> Script:
    """Return a script whose keys have no hash tag, some of its commands in MULTI or called by EVAL.

    Commands that may block are left out.
    SORT of a sorted set changes its encoding, which a set that was only lent does not keep.
    """
    steps = [
        tuple([word.replace(b"{t}", b"<t>") for word in argv])
        for argv in script.steps
        if argv[0].lower() not in (b"sort", b"sort_ro")
    ]
    fits = [argv[0] != b"CONFIG" and special_of(argv) is None for argv in steps]
    wrapping = Wrapping(Random(f"{script.seed}:{script.number}:wrapped"))
    wrapped = [argv for argv in wrapping.wrap(steps, fits) if not COMMANDS[argv[0].lower()].blocks]
    return Script(script.seed, script.number, tuple(wrapped))


def targets(docs: dict[str, Docs], chosen: Collection[str] = ()) -> list[Target]:
    """Return what scripts may call: Shoal's commands of the groups above.

    Args:
        docs: COMMAND DOCS of the Redis that is compared with.
        chosen: names or groups; if there are any, only these.
    """
    load_all()
    found = []
    for command in every_command():
        spec = command.spec
        wanted = not chosen or spec.group in chosen or spec.name in chosen
        if spec.group not in GROUPS or spec.name in LEFT_OUT or command.subcommands or not wanted:
            continue
        arguments = parse(notation(docs[spec.name].get("arguments", [])))
        found.append(Target(command, arguments))
    return found


def reset() -> list[Argv]:
    """Return the commands that put a server into the state in which a script starts."""
    config = [word for name, (value, _) in DEFAULTS.items() for word in (name.encode(), value)]
    return [(b"FLUSHALL",), (b"CONFIG", b"SET", *config)]


class Generator:
    """Makes scripts. logged: see `Words`."""

    def __init__(
        self,
        known: Iterable[Target],
        payloads: list[bytes],
        seed: int,
        *,
        logged: bool = False,
    ) -> None:
        self._targets = list(known)
        self._groups = sorted({target.group for target in self._targets} - {"generic"})
        self._payloads = payloads
        self._seed = seed
        self._logged = logged

    def script(self, number: int, length: int) -> Script:
        """Return the script of this number; it begins with thresholds, if it sets any."""
        random = Random(f"{self._seed}:{number}")
        words = Words(random, self._payloads, logged=self._logged)
        # A few types at a time, and mostly each key of one type: else nearly every call would find
        # the wrong one.
        focus = random.sample(self._groups, min(len(self._groups), random.choice((1, 2, 3))))
        owners = {key: random.choice(focus) for key in (*TAGGED, *UNTAGGED)} if focus else {}
        # Ranges of members are only defined where all scores are equal.
        words.flat = "sorted-set" in focus and random.random() < 0.4
        steps = [*_thresholds(random), *_first(focus, owners)]
        weights = [_weight(target, focus, flat=words.flat) for target in self._targets]
        while len(steps) < length:
            target = random.choices(self._targets, weights)[0]
            argv = Call(target, words, _key_chooser(target, words, owners)).argv()
            if _is_one_place(target, argv) and not _is_open(argv, flat=words.flat):
                if argv[0].lower().startswith(b"sort"):
                    steps.append(_ERRNO)
                steps.append(argv)
        return Script(self._seed, number, tuple(steps))


# SORT on Redis takes the ERANGE for its own that an earlier command left in errno (an id or a
# cursor beyond 64 bits). This resets it, and does nothing else.
_ERRNO: Final = (b"ZADD", b"{t}none", b"XX", b"1", b"m")


def _thresholds(random: Random) -> Iterable[Argv]:
    if random.random() < 0.5:
        for name, (_, others) in DEFAULTS.items():
            if random.random() < 0.5:
                yield b"CONFIG", b"SET", name.encode(), random.choice(others)


def _first(focus: Collection[str], owners: dict[bytes, str]) -> Iterable[Argv]:
    """Yield what most calls of a type need: consumer groups."""
    for key, owner in owners.items():
        if owner == "stream" and "stream" in focus:
            for group in STREAM_NAMES[:2]:
                yield b"XGROUP", b"CREATE", key, group, b"0", b"MKSTREAM"


_MIXES_SCORES: Final = ("zunionstore", "zinterstore", "zdiffstore", "restore")


def _weight(target: Target, focus: Collection[str], *, flat: bool) -> float:
    weight = float(WEIGHTS.get(target.name, WEIGHT))
    if flat and (target.group == "geo" or target.name in _MIXES_SCORES):
        return 0.0
    if target.group == "generic":
        return weight * 0.6
    return weight if target.group in focus else weight * 0.02


# Groups whose commands work on another group's type, too.
_RELATED: Final = {
    "bitmap": ("string",),
    "sorted-set": ("set",),
    "string": ("bitmap",),
}


def _key_chooser(target: Target, words: Words, owners: dict[bytes, str]) -> ChooseKey:
    """Return what chooses the keys of one call: all of one hash tag unless it may span."""
    random = words.random
    if target.name.startswith("sort"):
        names: tuple[bytes, ...] = TAGGED  # of the same tag as what its patterns name
    elif target.command.spanning is not None:
        names = TAGGED + UNTAGGED
    else:
        names = TAGGED if random.random() < 0.8 else UNTAGGED
    # A command for every type keeps to one of them: RENAME would mix them soon.
    group = target.group if target.group != "generic" else random.choice([*owners.values(), ""])
    related = (group, *_RELATED.get(group, ()))
    fitting = [name for name in names if owners.get(name) in related] or names
    if names is UNTAGGED:
        single = random.choice(fitting)
        return lambda: single
    return lambda: random.choice(fitting if random.random() < 0.97 else names)


def _is_one_place(target: Target, argv: Argv) -> bool:
    """Tell whether Shoal runs it with any number of workers: its keys are of one slot, or it spans
    partitions. A word that was dropped may make a key of another.
    """
    spec = target.command.spec
    if target.command.spanning is not None or not spec.arity_fits(len(argv)):
        return True
    return len({key_slot(argv[at]) for at in spec.key_positions(argv)}) <= 1


def _is_open(argv: Argv, *, flat: bool) -> bool:
    """Tell whether Redis leaves open what it does, so that two servers need not do the same."""
    words = {argv[0].lower(), *map(bytes.upper, argv[1:])}
    if b"bylex" in argv[0].lower() or argv[0].lower() == b"zlexcount" or b"BYLEX" in words:
        return not flat  # of members with different scores
    if b"sort" in words:
        return {b"BY", b"ALPHA", b"STORE"} <= words  # the order of equal weights
    return False
