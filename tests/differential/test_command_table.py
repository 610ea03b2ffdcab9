"""The command table beside redis-server's: COMMAND and its subcommands, and what is made of them.

The handlers are called in process, over all commands we have; of a container only the subcommands
that we have too. A table at the end goes through whole servers.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from shoal.proto import errors
from shoal.proto.replies import array, encode
from shoal.proto.spec import ACL_CATEGORIES, CommandFlag, CommandSpec, KeySpec
from shoal.worker.arguments import parse
from shoal.worker.commands import load_all
from shoal.worker.registry import every_command, resolve
from support import command_arguments, command_page
from support.command_docs import decoded, documented
from support.differential import Case, Compare, Table, cases, shape, unordered
from support.raw import bulk_text, split_reply
from support.servers import Oracle

load_all()
NAMES = [entry.name for entry in every_command()]

Call = Callable[..., bytes]


@pytest.fixture
def redis(oracle: Oracle, resp: int) -> Iterator[Call]:
    """Ask redis-server: argv -> the reply's bytes."""
    with oracle.client() as client:
        if resp == 3:
            client.call(b"HELLO", b"3")
        yield client.call


@pytest.fixture
def shoal(resp: int) -> Call:
    """Ask our handlers: argv -> the reply's bytes."""
    return partial(ask, resp=resp)


def ask(*argv: bytes, resp: int = 3) -> bytes:
    """Return what the handler of a command answers, which needs nothing of its client."""
    try:
        entry = resolve(list(argv))
        return encode(entry.handler(None, *argv[entry.skip :]), resp)
    except errors.ReplyError as error:
        return error.encode()


def differences(
    theirs: dict[bytes, Any], ours: dict[bytes, Any]
) -> dict[bytes, tuple[str, Any, str, Any]]:
    return {
        name: ("redis", theirs[name], "shoal", ours[name])
        for name in NAMES
        if theirs[name] != ours[name]
    }


# -- COMMAND INFO ----------------------------------------------------------------------------------


def infos(call: Call) -> dict[bytes, list[bytes]]:
    """Return the ten items of each command, subcommands too, by name."""
    found: dict[bytes, list[bytes]] = {}

    def add(replies: list[bytes]) -> None:
        for reply in replies:
            _, items = split_reply(reply)
            found[bulk_text(items[0])] = items
            add(split_reply(items[9])[1])

    add(split_reply(call(b"COMMAND"))[1])
    return found


INFO: dict[str, slice] = {
    "name and arity": slice(0, 2),
    "flags": slice(2, 3),
    "first, last and step": slice(3, 6),
    "categories": slice(6, 7),
    "tips": slice(7, 8),
    "key specifications": slice(8, 9),
}


@pytest.mark.parametrize("items", INFO.values(), ids=INFO.keys())
def test_info(items: slice, redis: Call, shoal: Call) -> None:
    theirs, ours = infos(redis), infos(shoal)
    assert not differences(*({n: told[n][items] for n in NAMES} for told in (theirs, ours)))


def test_info_of_containers(redis: Call, shoal: Call) -> None:
    theirs, ours = infos(redis), infos(shoal)
    for name in NAMES:
        header, ours_of = split_reply(ours[name][9])
        if not ours_of:
            assert ours[name][9] == theirs[name][9], name
            continue
        assert header[:1] == split_reply(theirs[name][9])[0][:1]
        subcommands = [bulk_text(split_reply(sub)[1][0]) for sub in split_reply(theirs[name][9])[1]]
        assert {bulk_text(split_reply(sub)[1][0]) for sub in ours_of} <= set(subcommands)


def test_info_by_name(redis: Call, shoal: Call) -> None:
    plain = [name for name in NAMES if not split_reply(infos(shoal)[name][9])[1]]
    assert shoal(b"COMMAND", b"INFO", *plain) == redis(b"COMMAND", b"INFO", *plain)


def test_info_of_all_is_command(shoal: Call) -> None:
    assert shoal(b"COMMAND", b"INFO") == shoal(b"COMMAND")


# -- COMMAND DOCS ----------------------------------------------------------------------------------


def docs(call: Call) -> dict[bytes, dict[bytes, bytes]]:
    """Return the fields of each command, subcommands too, by name."""
    found: dict[bytes, dict[bytes, bytes]] = {}

    def add(reply: bytes) -> None:
        _, items = split_reply(reply)
        for name, told in zip(items[::2], items[1::2], strict=True):
            _, fields = split_reply(told)
            by_field = dict(zip(map(bulk_text, fields[::2]), fields[1::2], strict=True))
            found[bulk_text(name)] = by_field
            if b"subcommands" in by_field:
                add(by_field[b"subcommands"])

    add(call(b"COMMAND", b"DOCS"))
    return found


DOCS = (
    b"summary since group complexity doc_flags deprecated_since replaced_by history arguments"
).split()


@pytest.mark.parametrize("field", DOCS, ids=bytes.decode)
def test_docs(field: bytes, redis: Call, shoal: Call) -> None:
    theirs, ours = docs(redis), docs(shoal)
    assert not differences(*({n: told[n].get(field) for n in NAMES} for told in (theirs, ours)))


def test_docs_have_the_same_fields_in_order(redis: Call, shoal: Call) -> None:
    theirs, ours = docs(redis), docs(shoal)
    assert not differences(*({n: list(told[n]) for n in NAMES} for told in (theirs, ours)))


def test_docs_by_name(redis: Call, shoal: Call) -> None:
    plain = [name for name in NAMES if b"subcommands" not in docs(shoal)[name]]
    assert shoal(b"COMMAND", b"DOCS", *plain) == redis(b"COMMAND", b"DOCS", *plain)


# -- COMMAND LIST ----------------------------------------------------------------------------------

FILTERS: list[tuple[bytes, ...]] = [
    (),
    (b"FILTERBY", b"MODULE", b"vectorset"),
    *((b"filterby", b"aclcat", category.encode()) for category in ACL_CATEGORIES),
    (b"FILTERBY", b"ACLCAT", b"STRING"),
    (b"FILTERBY", b"ACLCAT", b"@string"),
    (b"FILTERBY", b"ACLCAT", b"\xff"),
    *((b"FILTERBY", b"PATTERN", p) for p in (b"*", b"get", b"[G-H]ET*", b"OBJECT*", b"*|e*", b"")),
]


@pytest.mark.parametrize("filters", FILTERS, ids=repr)
def test_list(filters: tuple[bytes, ...], redis: Call, shoal: Call) -> None:
    header, names = split_reply(redis(b"COMMAND", b"LIST", *filters))
    ours_header, ours = split_reply(shoal(b"COMMAND", b"LIST", *filters))
    assert ours_header[:1] == header[:1]
    assert sorted(map(bulk_text, ours)) == sorted({*map(bulk_text, names)} & {*NAMES})


# -- COMMAND GETKEYS -------------------------------------------------------------------------------


@pytest.mark.parametrize("sub", [b"GETKEYS", b"GETKEYSANDFLAGS"], ids=bytes.decode)
@pytest.mark.parametrize("count", range(7))
def test_keys_of_every_command(sub: bytes, count: int, redis: Call, shoal: Call) -> None:
    arguments = [b"%d" % (n % 3 + 1) for n in range(count)]  # some are counts of keys
    told: list[dict[bytes, bytes]] = [
        {name: call(b"COMMAND", sub, *name.split(b"|"), *arguments) for name in NAMES}
        for call in (redis, shoal)
    ]
    assert not differences(*told)


LINES = [
    "set k v GET",
    "set k v get EX 9",
    "set k v EX GET",
    "set get get",
    "set k v XX",
    "SET k v getx",
    "nope",
    "nope a",
    "object",
    "object nope k",
    "object encoding",
    "OBJECT Encoding k",
    "object encoding k more",
    "ping",
    "get",
    "get a b",
    "mset a",
    "mset a 1 b",
    "mset a 1 b 2",
    "command getkeys get k",
    "getex k PERSIST",
    "lcs a b LEN",
    "set k v GET GET",
]


@pytest.mark.parametrize("sub", [b"GETKEYS", b"GETKEYSANDFLAGS"], ids=bytes.decode)
@pytest.mark.parametrize("line", [*LINES, "object|encoding k", "''"])
def test_keys_of_a_line(sub: bytes, line: str, redis: Call, shoal: Call) -> None:
    argv = [word.encode().replace(b"''", b"") for word in line.split()]
    assert shoal(b"COMMAND", sub, *argv) == redis(b"COMMAND", sub, *argv)


# -- the language of the table: what it can say, beyond what it has to say today -------------------


def commands_of(oracle: Oracle) -> list[list[Any]]:
    """Return COMMAND INFO of everything redis-server has, as Python values."""
    with oracle.client() as client:
        client.call(b"HELLO", b"3")
        top = decoded(client.call(b"COMMAND"))
    return [entry for command in top for entry in (command, *command[9])]


def spec_of(told: list[Any]) -> CommandSpec:
    """Return a specification made of what COMMAND INFO tells."""
    keys = []
    for key in told[8]:
        begin, find = key["begin_search"], key["find_keys"]
        keys.append(
            KeySpec(
                begin["spec"].get("index", begin["spec"].get("startfrom", 0)),
                last=find["spec"].get("lastkey", 0),
                step=find["spec"].get("keystep", 1),
                limit=find["spec"].get("limit", 0),
                flags=tuple(key["flags"]),
                keynum=find["type"] == "keynum",
                notes=key.get("notes"),
                keyword=begin["spec"].get("keyword"),
                unknown=begin["type"] == "unknown",
            )
        )
    flags = CommandFlag.NONE
    for flag in told[2]:
        flags |= CommandFlag[flag.upper()] if flag != "movablekeys" else CommandFlag.NONE
    implied = {"read", "write", "fast", "slow"} | ({"admin"} & {*told[2]})
    declared = {category[1:] for category in told[6]} - implied
    return CommandSpec(told[0], told[1], flags, "", "", "", keys=tuple(keys), acl=(*declared,))


def test_the_table_can_say_what_redis_says(oracle: Oracle) -> None:
    told = [entry for entry in commands_of(oracle) if "module" not in entry[2]]
    assert len(told) > 300
    for entry in told:
        spec = spec_of(entry)
        flags = [str(flag.name).lower() for flag in spec.all_flags]
        categories = [f"@{category}" for category in spec.categories()]
        assert (entry[0], flags, categories) == (entry[0], entry[2], entry[6])
        assert (entry[0], *spec.key_range()) == (entry[0], *entry[3:6])


KEY_LINES = [
    "zunionstore d 2 a b",
    "zunionstore d 3 a b",
    "zunionstore d x a b",
    "zunionstore d 0 a b",
    "zunion 1 a",
    "xread STREAMS a b 0 0",
    "xread COUNT 1 streams a 0",
    "xread COUNT 1 a 0",
    "xreadgroup GROUP g c STREAMS a >",
    "migrate h 1 k 0 9",
    "migrate h 1  0 9 KEYS a b",
    "georadiusbymember k m 1 m STORE a STOREDIST b",
    "blpop a b 0",
    "pfmerge d",
    "pfmerge d a b",
    "bitop AND d a b",
    "blmpop 0 2 a b LEFT",
    "eval x 1 a b",
    "mset a 1 b 2",
]


@pytest.mark.parametrize("line", KEY_LINES)
def test_positions(line: str, oracle: Oracle) -> None:
    argv = [word.encode() for word in line.split(" ")]
    told = next(entry for entry in commands_of(oracle) if entry[0] == line.split(" ")[0])
    with oracle.client() as client:
        reply = client.call(b"COMMAND", b"GETKEYS", *argv)
    keys = [bulk_text(item) for item in split_reply(reply)[1]]
    positions = [list(spec.positions(argv)) for spec in spec_of(told).keys]
    if reply.startswith(b"-"):
        assert [] in positions
    else:
        found = [argv[at] for part in positions for at in part]
        assert found == keys or (found == [b"", *keys] and line.startswith("migrate"))


def test_the_notation_of_arguments_can_say_what_redis_says(oracle: Oracle) -> None:
    told = {n: d["arguments"] for n, d in documented(oracle).items() if "arguments" in d}
    assert len(told) > 250
    for name, arguments in told.items():
        line = command_arguments.notation(arguments)
        made = decoded(encode(array([part.reply() for part in parse(line)]), 3))
        assert (name, made) == (name, arguments), line


# -- what is generated -----------------------------------------------------------------------------


def test_generated_files_are_up_to_date(oracle: Oracle) -> None:
    told = documented(oracle)
    arguments = command_arguments.table(told)
    assert command_arguments.TABLE.read_text() == arguments, "run: make docs"
    assert command_page.PAGE.read_text() == command_page.page(told), "run: make docs"


# -- through whole servers -------------------------------------------------------------------------

COMMAND: Table = {
    "info": ["COMMAND INFO get SET nope object|encoding", unordered("COMMAND INFO get get")],
    "docs": ["COMMAND DOCS get SET nope object|help", "COMMAND DOCS nope"],
    "count": [shape("COMMAND COUNT"), "COMMAND COUNT x"],
    "list": ["COMMAND LIST FILTERBY PATTERN mse[t]", "COMMAND LIST FILTERBY ACLCAT nope"],
    "errors of list": [
        *("COMMAND LIST get", "COMMAND LIST FILTERBY", "COMMAND LIST FILTERBY ACLCAT"),
        *("COMMAND LIST FILTERBY nope get", "COMMAND LIST FILTERBY ACLCAT read write"),
    ],
    "keys": ["COMMAND GETKEYS mset a 1 b 2", "COMMAND GETKEYSANDFLAGS set k v get"],
    "errors of keys": [
        *("COMMAND GETKEYS", "COMMAND GETKEYS nope", "COMMAND GETKEYS ping", "COMMAND GETKEYS get"),
        *("COMMAND GETKEYSANDFLAGS", "COMMAND GETKEYSANDFLAGS object help"),
    ],
    "help": ["COMMAND HELP", "COMMAND HELP x", "COMMAND nope"],
}


@pytest.mark.parametrize("script", cases(COMMAND))
def test_command(script: Case, compare: Compare) -> None:
    compare(script)
