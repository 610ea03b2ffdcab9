"""What a command states about itself; the key positions are redis-server's COMMAND GETKEYS."""

import pytest
from shoal.proto.spec import CommandFlag, CommandSpec, KeySpec, key_at, keys_from

F = CommandFlag


def spec(
    *keys: KeySpec, flags: CommandFlag = F.NONE, acl: tuple[str, ...] = (), arity: int = -1
) -> CommandSpec:
    """Return a specification of which only these parts matter."""
    return CommandSpec("x", arity, flags, "1.0.0", "generic", "X.", keys=keys, acl=acl)


GET, MGET, MSET = key_at(1), keys_from(1), keys_from(1, step=2)
RENAME = (*key_at(1), *key_at(2))
LCS = keys_from(1, last=1)
XREAD = (KeySpec(1, last=-1, limit=2, keyword="STREAMS"),)
ZUNION = (KeySpec(1, keynum=True),)
ZUNIONSTORE = (*key_at(1), KeySpec(2, keynum=True))
BLPOP = keys_from(1, last=-2)
MIGRATE = (KeySpec(3), KeySpec(-2, last=-1, keyword="KEYS"))
SORT = (*key_at(1), KeySpec(0, unknown=True), KeySpec(0, unknown=True))

# (specifications, argv, indexes of the keys)
POSITIONS: list[tuple[tuple[KeySpec, ...], str, list[int]]] = [
    (GET, "GET a", [1]),
    (GET, "GET", []),
    (GET, "SET a b EX 1", [1]),
    (MGET, "MGET a", [1]),
    (MGET, "MGET a b c", [1, 2, 3]),
    (MGET, "MGET", []),
    (MSET, "MSET a 1 b 2", [1, 3]),
    (MSET, "MSET a", [1]),
    (RENAME, "RENAME a b", [1, 2]),
    (RENAME, "RENAME a", [1]),
    (LCS, "LCS a b LEN", [1, 2]),
    (LCS, "LCS a", [1]),
    (BLPOP, "BLPOP a b 0", [1, 2]),
    (BLPOP, "BLPOP 0", []),
    (XREAD, "XREAD STREAMS a b 0 0", [2, 3]),
    (XREAD, "XREAD COUNT 2 streams a 0", [4]),
    (XREAD, "XREAD COUNT 2", []),
    (ZUNION, "ZUNION 2 a b WITHSCORES", [2, 3]),
    (ZUNION, "ZUNION 1 a", [2]),
    (ZUNION, "ZUNION 0 a", []),
    (ZUNION, "ZUNION -1 a", []),
    (ZUNION, "ZUNION x a", []),
    (ZUNION, "ZUNION", []),
    (ZUNION, "ZUNION 3 a b", []),
    (ZUNION, "ZUNION 99999999999999999999 a b", []),
    (ZUNIONSTORE, "ZUNIONSTORE d 2 a b", [1, 3, 4]),
    (MIGRATE, "MIGRATE host port a 0 0", [3]),
    (SORT, "SORT a BY w_*", [1]),
]


@pytest.mark.parametrize(("keys", "line", "positions"), POSITIONS, ids=[p[1] for p in POSITIONS])
def test_key_positions(keys: tuple[KeySpec, ...], line: str, positions: list[int]) -> None:
    assert spec(*keys).key_positions(line.encode().split()) == positions


def test_a_count_of_a_billion_keys_takes_no_memory() -> None:
    argv = [b"ZUNION", b"1000000000", b"a"]
    assert len(ZUNION[0].positions(argv)) == 0
    assert len(ZUNION[0].positions([b"ZUNION", b"9" * 5000, b"a"])) == 0


# First, last and step, as COMMAND INFO shows them.
RANGES = [
    ((), (0, 0, 0)),
    (GET, (1, 1, 1)),
    (MGET, (1, -1, 1)),
    (MSET, (1, -1, 2)),
    (RENAME, (1, 2, 1)),
    (LCS, (1, 2, 1)),
    (BLPOP, (1, -2, 1)),
    (key_at(2), (2, 2, 1)),
    (XREAD, (0, 0, 0)),
    (ZUNION, (0, 0, 0)),
    (ZUNIONSTORE, (1, 1, 1)),
    (SORT, (1, 1, 1)),
]


@pytest.mark.parametrize(("keys", "shown"), RANGES, ids=range(len(RANGES)))
def test_key_range(keys: tuple[KeySpec, ...], shown: tuple[int, int, int]) -> None:
    assert spec(*keys).key_range() == shown


@pytest.mark.parametrize(
    ("arity", "allowed"), [(1, {1}), (2, {2}), (-1, {1, 2, 3, 4}), (-3, {3, 4})]
)
def test_arity(arity: int, allowed: set[int]) -> None:
    assert {count for count in range(1, 5) if spec(arity=arity).arity_fits(count)} == allowed


# ACL categories, in whichever order.
CATEGORIES: list[tuple[CommandFlag, tuple[str, ...], set[str]]] = [
    (F.READONLY | F.FAST, ("string",), {"read", "string", "fast"}),
    (F.WRITE | F.DENYOOM, ("string",), {"write", "string", "slow"}),
    (F.ADMIN, (), {"admin", "dangerous", "slow"}),
    (F.ADMIN, ("dangerous", "admin"), {"admin", "dangerous", "slow"}),
    (F.PUBSUB | F.FAST, (), {"pubsub", "fast"}),
    (F.WRITE | F.BLOCKING, ("list",), {"write", "list", "slow", "blocking"}),
    (F.READONLY, ("scripting",), {"scripting", "slow"}),
    (F.NONE, (), {"slow"}),
]


@pytest.mark.parametrize(("flags", "declared", "all_of_them"), CATEGORIES)
def test_categories(flags: CommandFlag, declared: tuple[str, ...], all_of_them: set[str]) -> None:
    found = spec(flags=flags, acl=declared).categories()
    assert set(found) == all_of_them
    assert len(found) == len(all_of_them)


def test_key_flags_are_words() -> None:
    assert key_at(1, "RW access update")[0].flags == ("RW", "access", "update")
    assert keys_from(1, "RO")[0].flags == ("RO",)
    assert key_at(1)[0].flags == ()


@pytest.mark.parametrize("keys", [XREAD, ZUNION, ZUNIONSTORE, SORT])
def test_keys_that_no_range_tells_are_movable(keys: tuple[KeySpec, ...]) -> None:
    assert F.MOVABLEKEYS in spec(*keys, flags=F.READONLY).all_flags
    assert spec(*MGET, flags=F.READONLY).all_flags == F.READONLY
