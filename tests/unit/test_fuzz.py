"""The fuzzer itself: what it generates, what it takes for the same, how it shortens a script."""

import itertools
import re
from collections.abc import Sequence
from random import Random

import pytest
from shoal.worker.arguments import arguments_of
from shoal.worker.commands import load_all
from shoal.worker.registry import every_command
from support.fuzz.alike import alike
from support.fuzz.grammar import Argv, Target
from support.fuzz.pair import BATCH, Difference, batches
from support.fuzz.scripts import GROUPS, LEFT_OUT, Generator
from support.fuzz.shrink import as_table, shrink
from support.fuzz.special import special_of

SEEDS = range(15)


def generator(seed: int, *, logged: bool = False) -> Generator:
    """A generator of the commands we have, their arguments from our own table."""
    load_all()
    known = [
        Target(command, arguments_of(command.spec.name))
        for command in every_command()
        if command.spec.group in GROUPS and command.spec.name not in LEFT_OUT
    ]
    known = [target for target in known if not target.command.subcommands]
    return Generator(known, [b"payload"], seed, logged=logged)


def test_a_seed_and_a_number_make_one_script() -> None:
    first = generator(7).script(3, 300)
    assert first == generator(7).script(3, 300)
    assert first.steps != generator(7).script(4, 300).steps
    assert first.steps != generator(8).script(3, 300).steps


@pytest.mark.parametrize("seed", SEEDS)
def test_no_script_waits_for_ever_or_expires_soon(seed: int) -> None:
    for argv in generator(seed).script(0, 1000).steps:
        name = argv[0].lower()
        relative = {b"expire": 3, b"pexpire": 3, b"setex": 4, b"psetex": 4}.get(name) == len(argv)
        if relative and re.fullmatch(rb"[1-9]\d*", argv[2]):
            assert int(argv[2]) > 10_000, argv
        if name.startswith((b"bl", b"br", b"bz")) and len(argv) > 2:
            timeout = argv[1] if name.endswith(b"mpop") else argv[-1]
            assert not re.fullmatch(rb"0+|0*\.0+|[1-9]\d*(\.\d*)?", timeout), argv


@pytest.mark.parametrize("seed", SEEDS)
def test_no_script_for_a_log_says_that_more_was_read_than_added(seed: int) -> None:
    number = re.compile(rb"[1-9]\d*")
    made = generator(seed, logged=True)
    for script in (made.script(at, 1000) for at in range(8)):
        added = 0
        for argv in script.steps:
            words = [word.upper() for word in argv]
            for word, value in itertools.pairwise(words):
                if word == b"ENTRIESREAD" and words[0] == b"XGROUP":
                    assert not number.fullmatch(value), argv
                if word == b"ENTRIESADDED" and number.fullmatch(value):
                    assert int(value) > added, argv
                    added = int(value)


def test_scripts_call_every_command() -> None:
    made = generator(1)
    called = {argv[0].lower() for n in range(60) for argv in made.script(n, 1000).steps}
    every = {c.spec.name for c in every_command() if c.spec.group in GROUPS}
    assert {name.encode() for name in every - LEFT_OUT if "|" not in name} <= called | {
        b"object",
        b"xgroup",
        b"xinfo",
        *(name.encode() for name in LEFT_OUT),
    }


SAME = [
    ("KEYS *", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n"),
    ("HGETALL k", b"%2\r\n+a\r\n+1\r\n+b\r\n+2\r\n", b"%2\r\n+b\r\n+2\r\n+a\r\n+1\r\n"),
    ("PTTL k", b":90000\r\n", b":89990\r\n"),
    ("SRANDMEMBER k", b"$1\r\na\r\n", b"$2\r\nbb\r\n"),
    ("SORT k BY nosort", b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+a\r\n"),
    (
        "XPENDING k g - + 9",
        b"*1\r\n*4\r\n+1-1\r\n+c\r\n:5\r\n:1\r\n",
        b"*1\r\n*4\r\n+1-1\r\n+c\r\n:7\r\n:1\r\n",
    ),
    ("XINFO GROUPS k", b"*1\r\n$4\r\nidle\r\n:1\r\n", b"*1\r\n$4\r\nidle\r\n:22\r\n"),
]
OTHER = [
    ("GET k", b"$1\r\na\r\n", b"$1\r\nb\r\n"),
    ("KEYS *", b"*1\r\n$1\r\na\r\n", b"*1\r\n$1\r\nb\r\n"),
    ("HGETALL k", b"%2\r\n+a\r\n+1\r\n+b\r\n+2\r\n", b"%2\r\n+a\r\n+2\r\n+b\r\n+1\r\n"),
    ("PTTL k", b":90000\r\n", b":-1\r\n"),
    ("PTTL k", b":90000\r\n", b":60000\r\n"),
    ("SRANDMEMBER k", b"$1\r\na\r\n", b"$-1\r\n"),
    ("SRANDMEMBER k", b"$1\r\na\r\n", b"-ERR no\r\n"),
    ("SORT k", b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+a\r\n"),
    (
        "XPENDING k g - + 9",
        b"*1\r\n*4\r\n+1-1\r\n+c\r\n:5\r\n:1\r\n",
        b"*1\r\n*4\r\n+1-1\r\n+c\r\n:5\r\n:2\r\n",
    ),
    ("XINFO GROUPS k", b"*1\r\n$4\r\nidle\r\n:1\r\n", b"*1\r\n$4\r\nidle\r\n:-1\r\n"),
]


@pytest.mark.parametrize(("line", "theirs", "ours"), SAME)
def test_what_counts_as_the_same(line: str, theirs: bytes, ours: bytes) -> None:
    assert alike(tuple(line.encode().split()), theirs, ours)


@pytest.mark.parametrize(("line", "theirs", "ours"), OTHER)
def test_what_does_not(line: str, theirs: bytes, ours: bytes) -> None:
    assert not alike(tuple(line.encode().split()), theirs, ours)


def testbatches_cover_a_script_and_end_at_checks() -> None:
    random = Random(1)
    steps = [random.choice([(b"GET", b"k"), (b"spop", b"k")]) for _ in range(1000)]
    steps += [(b"GET", b"k")] * 500
    bounds = list(batches(steps, 100))
    assert [at for start, stop in bounds for at in range(start, stop)] == list(range(1500))
    assert set(range(100, 1600, 100)) <= {stop for _, stop in bounds}
    for start, stop in bounds:
        special = [argv for argv in steps[start:stop] if special_of(argv)]
        assert stop - start <= BATCH
        assert not special or stop - start == 1


class Needs:
    """In place of a pair: differs at the last of some steps if all of them were run in order."""

    def __init__(self, *needed: Argv) -> None:
        self._needed = needed

    def run(self, steps: Sequence[Argv], check_every: int = 500) -> Difference | None:
        wanted = iter(self._needed)
        step = next(wanted)
        for at, argv in enumerate(steps):
            if set(step) <= set(argv):
                step = next(wanted, (b"",))
                if step == (b"",):
                    return Difference(at + 1, argv, "1", "2")
        return None


def test_a_script_is_shortened_to_what_the_difference_needs() -> None:
    random = Random(5)
    noise = [(b"CMD%d" % random.randrange(9), b"k", b"%d" % n) for n in range(700)]
    needed = ((b"SADD", b"x", b"a"), (b"SADD", b"x", b"b"), (b"SREM", b"x", b"a"))
    steps: list[Argv] = [*noise]
    for place, argv in zip((50, 300, 650), needed, strict=True):
        steps[place] = (*argv, *(b"more%d" % n for n in range(20)))
    pair = Needs(*needed)
    difference = pair.run(steps)
    assert difference is not None
    found, last = shrink(pair, steps, difference)
    assert last.step == found[-1]
    assert [argv[:3] for argv in found] == list(needed)
    assert all(len(argv) <= 4 for argv in found)


def test_a_script_is_shown_as_a_table() -> None:
    steps = [(b"SET", b"k", b"a b"), (b"GET", b"k"), (b"SET", b"k", b"\xff"), (b"GET", b'"')]
    assert as_table("x", steps).splitlines() == [
        '    "x": [',
        "        (b'SET', b'k', b'a b'),",
        '        "GET k",',
        "        (b'SET', b'k', b'\\xff'),",
        "        (b'GET', b'\"'),",
        "    ],",
    ]
