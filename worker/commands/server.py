"""INFO, CONFIG, SHUTDOWN, DEBUG and the other commands about the server itself.

What concerns every process runs on every worker, and the answers meet at the home: INFO's parts are
JSON, which `worker/info.py` makes and merges. What changes the configuration or ends the server is
for the supervisor: the handler checks what it can and passes the words on. DEBUG is one command
whose forms run in different scopes; each is a variant of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Final

from shoal.proto import errors
from shoal.proto.directive_types import parse_memory
from shoal.proto.directives import pairs_of
from shoal.proto.messages import SUPERVISOR
from shoal.proto.numbers import parse_int
from shoal.proto.replies import (
    NULL,
    OK,
    Reply,
    array,
    boolean,
    bulk,
    bulk_array,
    double,
    encode,
    integer,
    map_reply,
    set_reply,
    simple,
    verbatim,
)
from shoal.proto.spec import REDIS_VERSION, CommandFlag, key_at
from shoal.worker.client import Client
from shoal.worker.info import lru_clock, part, render, reset_stats, wanted
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import (
    LockScope,
    PartAnswer,
    Scope,
    Spanning,
    command,
    merge_same,
    variant,
)
from shoal.worker.server import Server
from shoal.worker.values import encoding

LOADING_STALE: Final = CommandFlag.LOADING | CommandFlag.STALE
ADMIN: Final = CommandFlag.ADMIN | CommandFlag.NOSCRIPT | LOADING_STALE
FAST: Final = CommandFlag.FAST

ALL_NODES: Final = ("request_policy:all_nodes", "response_policy:all_succeeded")

_EVERY_WORKER: Final = Spanning(LockScope.NOTHING, merge_same)


# -- INFO ------------------------------------------------------------------------------------------


def _merge_info(answers: Sequence[PartAnswer]) -> Reply:
    documents = {}
    for answer in answers:
        assert isinstance(answer.reply, bytes)
        documents[answer.worker] = json.loads(answer.reply)
    supervisor = documents.pop(SUPERVISOR, {})
    return verbatim(render(list(documents.values()), supervisor))


@command(
    "INFO",
    since="1.0.0",
    arity=-1,
    group="server",
    flags=LOADING_STALE,
    acl=("dangerous",),
    complexity="O(1)",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_info, supervisor=True),
    history=(("7.0.0", "Added support for taking multiple section arguments."),),
)
def info(server: Server, *sections: bytes) -> Reply:
    """Returns information and statistics about the server."""
    return json.dumps(part(server, wanted(sections))).encode()


# -- CONFIG ----------------------------------------------------------------------------------------


@command(
    "CONFIG",
    since="2.0.0",
    arity=-2,
    group="server",
    complexity="Depends on subcommand.",
    scope=Scope.CLIENT,
)
def config(client: Client, *_: bytes) -> Reply:
    """A container for server configuration commands."""
    raise AssertionError("a subcommand runs, or there is an error before")


@command(
    "CONFIG|SET",
    since="2.0.0",
    arity=-4,
    group="server",
    flags=ADMIN,
    complexity="O(N) when N is the number of configuration parameters provided",
    tips=ALL_NODES,
    scope=Scope.CLIENT,
    history=(("7.0.0", "Added the ability to set multiple parameters in one call."),),
)
def config_set(client: Client, *args: bytes) -> Reply:
    """Sets configuration parameters in-flight."""
    pairs_of(args)
    return client.call_supervisor(b"CONFIG", b"SET", *args)


@command(
    "CONFIG|GET",
    since="2.0.0",
    arity=-3,
    group="server",
    flags=ADMIN,
    complexity="O(N) when N is the number of configuration parameters provided",
    scope=Scope.CLIENT,
    history=(("7.0.0", "Added the ability to pass multiple pattern parameters in one call"),),
)
def config_get(client: Client, *patterns: bytes) -> Reply:
    """Returns the effective values of configuration parameters."""
    found = client.server.config.get_matching(patterns)
    return map_reply([(bulk(name), bulk(text)) for name, text in found])


def _merge_reset(_: Sequence[PartAnswer]) -> Reply:
    return OK  # the supervisor's answer is a JSON document, as for every command it takes part in


@command(
    "CONFIG|RESETSTAT",
    since="2.0.0",
    arity=2,
    group="server",
    flags=ADMIN,
    complexity="O(1)",
    tips=ALL_NODES,
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_reset, supervisor=True),
)
def config_resetstat(server: Server) -> Reply:
    """Resets the server's statistics."""
    reset_stats(server)
    return OK


_CONFIG_HELP: Final = (
    b"CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"GET <pattern>",
    b"    Return parameters matching the glob-like <pattern> and their values.",
    b"SET <directive> <value>",
    b"    Set the configuration <directive> to <value>.",
    b"RESETSTAT",
    b"    Reset statistics reported by the INFO command.",
    b"HELP",
    b"    Print this help.",
)


@command(
    "CONFIG|HELP",
    since="5.0.0",
    arity=2,
    group="server",
    flags=LOADING_STALE,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def config_help(client: Client) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _CONFIG_HELP])


# -- time, end, art --------------------------------------------------------------------------------


@command(
    "TIME",
    since="2.6.0",
    arity=1,
    group="server",
    flags=LOADING_STALE | FAST,
    complexity="O(1)",
    tips=("nondeterministic_output",),
    scope=Scope.CLIENT,
)
def time(client: Client) -> Reply:
    """Returns the server time."""
    return bulk_array(b"%d" % number for number in divmod(client.server.time_us(), 1_000_000))


@command(
    "LASTSAVE",
    since="1.0.0",
    arity=1,
    group="server",
    flags=LOADING_STALE | FAST,
    acl=("admin", "dangerous"),
    complexity="O(1)",
    tips=("nondeterministic_output",),
    scope=Scope.CLIENT,
)
def lastsave(client: Client) -> Reply:
    """Returns the Unix timestamp of the last successful save to disk."""
    # Before its first save Redis says when it was started, and we save no snapshots.
    return integer(client.server.facts.start_ms // 1000)


@command(
    "SHUTDOWN",
    since="1.0.0",
    arity=-1,
    group="server",
    flags=ADMIN | CommandFlag.NO_MULTI | CommandFlag.ALLOW_BUSY,
    complexity="O(N) when saving, where N is the total number of keys in all databases when saving "
    "data, otherwise O(1)",
    scope=Scope.CLIENT,
    history=(("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers."),),
)
def shutdown(client: Client, *options: bytes) -> Reply:
    """Synchronously saves the database(s) to disk and shuts down the Redis server."""
    words = [option.upper() for option in options]
    if not {*words} <= {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"}:
        raise errors.syntax_error()
    if (b"SAVE" in words and b"NOSAVE" in words) or (b"ABORT" in words and {*words} > {b"ABORT"}):
        raise errors.syntax_error()
    return client.call_supervisor(b"SHUTDOWN", *words)


# Versions of Redis whose LOLWUT has a picture, and how many numbers it takes.
_PICTURES: Final = {5: 3, 6: 2, 8: 0}
_FISH: Final = ("><>", "><)>", "><((°>", "><(((º>", "><>")
_WATER_COLUMNS: Final = 44
_WATER_ROWS: Final = 9
_WATER_MAX: Final = 128


def _shoal(random: Random, columns: int, rows: int) -> str:
    """Draw a shoal: fish of all sizes, one way, densest in the middle; bubbles around them."""
    lines = []
    for row in range(rows):
        distance = abs(row - (rows - 1) / 2) / (rows / 2)
        line = " " * random.randrange(1 + int(columns * distance / 2))
        while len(line) < columns * (1 - distance / 3):
            line += random.choice(_FISH) if random.random() < 0.6 else random.choice(" .°o")
            line += " " * random.randrange(1, 6)
        lines.append(line[:columns].rstrip())
    return "\n".join(lines)


@command(
    "LOLWUT",
    since="5.0.0",
    arity=-1,
    group="server",
    flags=CommandFlag.READONLY | FAST,
    scope=Scope.CLIENT,
)
def lolwut(client: Client, *args: bytes) -> Reply:
    """Displays computer art and the Redis version"""
    version = 8
    if len(args) >= 2 and args[0].upper() == b"VERSION":
        number = parse_int(args[1])
        if number is None:
            raise errors.not_an_integer()
        version, args = number, args[2:]
    text = f"Redis ver. {REDIS_VERSION}\n"
    if version in _PICTURES:
        size = [parse_int(arg) for arg in args[: _PICTURES[version]]]
        given = [max(1, min(number, _WATER_MAX)) for number in size if number is not None]
        if len(given) < len(size):
            raise errors.not_an_integer()
        columns, rows = (*given[:2], *(_WATER_COLUMNS, _WATER_ROWS)[len(given) :])
        text = f"{_shoal(client.server.store.random, columns, rows)}\n\n{text}"
    return verbatim(text.encode())


# -- DEBUG -----------------------------------------------------------------------------------------


def _may_debug(client: Client) -> None:
    allowed = client.server.config.enable_debug_command
    host = client.addr.rpartition(b":")[0].strip(b"[]")
    local = client.is_unix or host in (b"127.0.0.1", b"::1")
    if not (allowed == "yes" or (allowed == "local" and local)):
        raise errors.debug_not_allowed()


@command(
    "DEBUG",
    since="1.0.0",
    arity=-2,
    group="server",
    flags=ADMIN,
    complexity="Depends on subcommand.",
    doc_flags=("syscmd",),
    scope=Scope.CLIENT,
    guard=_may_debug,
)
def debug(client: Client, word: bytes, *_: bytes) -> Reply:
    """A container for debugging commands."""
    raise errors.unknown_subcommand_or_arity(b"debug", word)


# How strtod and atoi read: a number at the start, else 0.
_FLOAT: Final = re.compile(rb"[ \t-\r]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_INTEGER: Final = re.compile(rb"[ \t-\r]*([+-]?\d+)")
_MAX_SLEEP_S: Final = 1e9


@variant("DEBUG", "SLEEP", arity=3, scope=Scope.SERVER, spanning=_EVERY_WORKER)
def debug_sleep(server: Server, seconds: bytes) -> Reply:
    """Stop every worker for so many seconds; nobody is served meanwhile."""
    found = _FLOAT.match(seconds)
    wait_s = float(found[1]) if found else 0.0
    if 0 < wait_s < _MAX_SLEEP_S:
        server.sleep(wait_s)
    return OK


@variant("DEBUG", "SET-ACTIVE-EXPIRE", arity=3, scope=Scope.SERVER, spanning=_EVERY_WORKER)
def debug_set_active_expire(server: Server, flag: bytes) -> Reply:
    """Let the expire cycle run, or (0) not."""
    found = _INTEGER.match(flag)
    server.store.active_expire = found is not None and int(found[1]) != 0
    return OK


@variant("DEBUG", "OBJECT", arity=3, scope=Scope.KEYSPACE, keys=key_at(2))
def debug_object(ks: Keyspace, key: bytes) -> Reply:
    """Describe the value at key, as Redis does but for serializedlength: nothing is serialized."""
    value = ks.find(key)
    if value is None:
        raise errors.no_such_key()
    # Access times are not tracked: idle for 0 seconds, as OBJECT IDLETIME says.
    return simple(
        b"Value at:0x%x refcount:1 encoding:%b lru:%d lru_seconds_idle:0"
        % (id(value), encoding(key, value), lru_clock(ks.now_ms))
    )


def _reload(server: Server) -> Reply:
    server.reload()
    # What was replayed is in the log already.
    server.store.dirty, server.store.effects = 0, None
    return OK


_EVERY_KEY: Final = Spanning(LockScope.STORE, merge_same)


@variant("DEBUG", "RELOAD", arity=-2, scope=Scope.SERVER, spanning=_EVERY_KEY, write=True)
def debug_reload(server: Server, *options: bytes) -> Reply:
    """Forget all keys and load them again, from the log or else from a dump of their own."""
    words = {option.upper() for option in options}
    if not words <= {b"MERGE", b"NOFLUSH", b"NOSAVE"}:
        raise errors.debug_reload_options()
    if words:
        raise errors.ReplyError("ERR there is no snapshot that DEBUG RELOAD could load so")
    return _reload(server)


@variant("DEBUG", "LOADAOF", arity=-2, scope=Scope.SERVER, spanning=_EVERY_KEY, write=True)
def debug_loadaof(server: Server, *_: bytes) -> Reply:
    """Forget all keys and read them from the log again."""
    if server.segment is None:
        raise errors.aof_not_loaded()
    return _reload(server)


@variant("DEBUG", "ERROR", arity=3, scope=Scope.CLIENT)
def debug_error(client: Client, text: bytes) -> Reply:
    """Reply with this error, without counting it as one."""
    return errors.ReplyError(text).encode()


@variant("DEBUG", "LOG", arity=3, scope=Scope.CLIENT)
def debug_log(client: Client, text: bytes) -> Reply:
    """Write a line to the server's log."""
    client.server.log_warning(f"DEBUG LOG: {text.decode('utf-8', 'surrogateescape')}")
    return OK


_BIG_NUMBER: Final = b"1234567999999999999999999999999999999"
_AFTER_ATTRIBUTE: Final = bulk(b"Some real reply following the attribute")
_AFTER_PUSH: Final = bulk(b"Some real reply following the push reply")
_PROTOCOL: Final[dict[bytes, Reply]] = {
    b"string": bulk(b"Hello World"),
    b"integer": integer(12345),
    b"double": double(3.141),
    b"null": NULL,
    b"array": array([integer(number) for number in range(3)]),
    b"set": set_reply([integer(number) for number in range(3)]),
    b"map": map_reply([(integer(number), boolean(number == 1)) for number in range(3)]),
    b"verbatim": verbatim(b"This is a verbatim\nstring"),
    b"true": boolean(True),
    b"false": boolean(False),
}
# Types that no command replies with; (RESP2, RESP3), whole.
_PROTOCOL_WHOLE: Final = {
    b"bignum": (bulk(_BIG_NUMBER), b"(%b\r\n" % _BIG_NUMBER),
    b"attrib": (
        _AFTER_ATTRIBUTE,
        b"|1\r\n"
        + bulk(b"key-popularity")
        + encode(array([bulk(b"key:123"), integer(90)]), 3)
        + _AFTER_ATTRIBUTE,
    ),
    # The reply goes first: a push waits for the end of the command.
    b"push": (
        errors.resp2_not_supported().encode(),
        _AFTER_PUSH + b">2\r\n" + bulk(b"server-cpu-usage") + integer(42),
    ),
}


@variant("DEBUG", "PROTOCOL", arity=3, scope=Scope.CLIENT)
def debug_protocol(client: Client, kind: bytes) -> Reply:
    """Reply with a value of a type of the protocol."""
    name = kind.lower()
    if name in _PROTOCOL:
        return _PROTOCOL[name]
    if name in _PROTOCOL_WHOLE:
        return _PROTOCOL_WHOLE[name][client.resp == 3]
    raise errors.unknown_protocol_type()


@variant("DEBUG", "QUICKLIST-PACKED-THRESHOLD", arity=3, scope=Scope.CLIENT)
def debug_packed_threshold(client: Client, size: bytes) -> Reply:
    """Accept a threshold of Redis's list nodes; our lists have none, so nothing changes."""
    number = parse_memory(size)
    if number is None or number > 4 * 1024**3 - 1024**2:
        raise errors.not_a_packed_threshold()
    return OK


@variant("DEBUG", "DICT-RESIZING", arity=3, scope=Scope.CLIENT)
def debug_dict_resizing(client: Client, flag: bytes) -> Reply:
    """Accept whether Redis's hash tables may shrink; ours are dicts, so nothing changes."""
    return OK


_DEBUG_HELP: Final = (
    b"DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"DICT-RESIZING <0|1>",
    b"    Accepted without effect.",
    b"ERROR <string>",
    b"    Return a Redis protocol error with <string> as message. Useful for clients",
    b"    unit tests to simulate Redis errors.",
    b"LOADAOF",
    b"    Flush the AOF buffers on disk and reload the AOF in memory.",
    b"LOG <message>",
    b"    Write <message> to the server log.",
    b"OBJECT <key>",
    b"    Show low level info about `key` and associated value.",
    b"PROTOCOL <type>",
    b"    Reply with a test value of the specified type. <type> can be: string,",
    b"    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    b"    true, false.",
    b"QUICKLIST-PACKED-THRESHOLD <size>",
    b"    Accepted without effect.",
    b"RELOAD",
    b"    Flush the database and load it again, from the AOF if there is one.",
    b"SET-ACTIVE-EXPIRE <0|1>",
    b"    Setting it to 0 disables expiring keys in background when they are not",
    b"    accessed. Setting it to 1 reenables back the default.",
    b"SLEEP <seconds>",
    b"    Stop the server for <seconds>. Decimals allowed.",
    b"HELP",
    b"    Print this help.",
)


@variant("DEBUG", "HELP", arity=2, scope=Scope.CLIENT)
def debug_help(client: Client) -> Reply:
    """List what DEBUG can do here."""
    return array([simple(line) for line in _DEBUG_HELP])
