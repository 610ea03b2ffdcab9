"""The command table by itself: complete, consistent, and the notation of arguments."""

from pathlib import Path

import pytest
import shoal.worker.commands
from shoal.proto.spec import CommandFlag, CommandSpec, KeySpec, key_at, keys_from
from shoal.worker.arguments import Argument, arguments_of, parse
from shoal.worker.commands import FAMILIES, load_all
from shoal.worker.registry import Command, every_command

load_all()
ENTRIES = list(every_command())


def test_every_family_is_listed() -> None:
    folder = Path(shoal.worker.commands.__path__[0])
    shared = {"parse", "store"}  # what several families have in common
    assert set(FAMILIES) == {path.stem for path in folder.glob("[!_]*.py")} - shared
    assert len(set(FAMILIES)) == len(FAMILIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.spec.name)
def test_a_command_is_consistent(entry: Command) -> None:
    spec = entry.spec
    variable = any("variable_flags" in key.flags for key in spec.keys)
    assert variable == (spec.key_flags is not None)
    for argument in arguments_of(spec.name):
        assert argument.key_spec is None or argument.key_spec < len(spec.keys)
    if "|" in spec.name:
        assert not entry.subcommands
        assert entry.skip == 2


# -- keys ------------------------------------------------------------------------------------------

STREAMS = KeySpec(1, last=-1, limit=2, keyword="STREAMS")
POSITIONS: dict[str, tuple[tuple[KeySpec, ...], str, list[int]]] = {
    "one key": (key_at(1), "get k", [1]),
    "missing": (key_at(1), "get", []),
    "to the end": (keys_from(1), "del a b c", [1, 2, 3]),
    "but the last": (keys_from(1, last=-2), "blpop a b 0", [1, 2]),
    "every other": (keys_from(1, step=2), "mset a 1 b 2", [1, 3]),
    "counted": ((KeySpec(1, keynum=True),), "zunion 2 a b WITHSCORES", [2, 3]),
    "counted, too many": ((KeySpec(1, keynum=True),), "zunion 3 a b", []),
    "counted, none": ((KeySpec(1, keynum=True),), "zunion 0 a", []),
    "counted, no number": ((KeySpec(1, keynum=True),), "zunion x a", []),
    "after a keyword, half": ((STREAMS,), "xread COUNT 1 streams a b 0 0", [4, 5]),
    "without the keyword": ((STREAMS,), "xread COUNT 1 a 0", []),
    "keyword last": ((STREAMS,), "xread STREAMS", []),
    "keyword backwards": ((KeySpec(-2, last=-1, keyword="KEYS"),), "m KEYS 1 keys a b", [4, 5]),
    "unknown": ((*key_at(1), KeySpec(0, unknown=True)), "sort a BY b", [1]),
}


@pytest.mark.parametrize(("keys", "line", "positions"), POSITIONS.values(), ids=POSITIONS.keys())
def test_key_positions(keys: tuple[KeySpec, ...], line: str, positions: list[int]) -> None:
    spec = CommandSpec("x", -1, CommandFlag.NONE, "1.0.0", "generic", "X.", keys=keys)
    assert spec.key_positions(line.encode().split()) == positions


# -- the notation of arguments ---------------------------------------------------------------------

PARSED: dict[str, Argument] = {
    "value": Argument("value", "string"),
    "count:integer": Argument("count", "integer"),
    "key:key": Argument("key", "key", key_spec=0),
    "key:key1...": Argument("key", "key", key_spec=1, flags=("multiple",)),
    "[NX]": Argument("nx", "pure-token", token="NX", flags=("optional",)),
    "EX=seconds:integer@2.6.12": Argument("seconds", "integer", token="EX", since="2.6.12"),
    '"~"=near:token': Argument("near", "pure-token", token="~"),
    '""=nothing:token': Argument("nothing", "pure-token", token=""),
    'old"ip:port"@-2.8.12': Argument("old", "string", "ip:port", deprecated_since="2.8.12"),
    '[GET=by:pattern1"p"@7.0.0...!]': Argument(
        *("by", "pattern", "p", 1, "GET", "7.0.0", "", ("optional", "multiple", "multiple_token"))
    ),
    "pair(a b)...": Argument(
        "pair",
        "block",
        flags=("multiple",),
        arguments=(Argument("a", "string"), Argument("b", "string")),
    ),
    "[one(A| b)@6.2.0]": Argument(
        "one",
        "oneof",
        since="6.2.0",
        flags=("optional",),
        arguments=(Argument("a", "pure-token", token="A"), Argument("b", "string")),
    ),
}


@pytest.mark.parametrize(("line", "argument"), PARSED.items(), ids=PARSED.keys())
def test_notation(line: str, argument: Argument) -> None:
    assert parse(line) == (argument,)
    assert parse(f"x {line} y") == (Argument("x", "string"), argument, Argument("y", "string"))


@pytest.mark.parametrize("line", ["[a", "a]", "a(b", "a|b", "(a)", "a)", "=a", "a:", "[]", '"a'])
def test_broken_notation(line: str) -> None:
    with pytest.raises(ValueError, match=r"missing|unexpected|no argument"):
        parse(line)


def test_a_command_without_arguments_has_none() -> None:
    assert arguments_of("dbsize") == ()
