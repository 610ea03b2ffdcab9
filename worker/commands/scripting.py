"""Scripts (EVAL, SCRIPT) and functions (FCALL, FUNCTION); `worker/scripting/` runs them.

EVAL and FCALL run at the owner of their keys, as any command does, or at the client's home without
keys. What SCRIPT and FUNCTION change is changed on every worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.glob import glob_match
from shoal.proto.replies import (
    NULL,
    OK,
    Reply,
    array,
    bulk,
    bulk_array,
    integer,
    map_reply,
    set_reply,
    simple,
)
from shoal.proto.spec import CommandFlag, KeySpec
from shoal.worker.client import Client
from shoal.worker.commands import parse
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import (
    LockScope,
    PartAnswer,
    Scope,
    Spanning,
    command,
    merge_same,
)
from shoal.worker.scripting.functions import Function, Library
from shoal.worker.scripting.runs import FLAGS
from shoal.worker.scripting.service import scripting_of
from shoal.worker.server import Server

WRITE, READONLY, DENYOOM = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.DENYOOM
NOSCRIPT, STALE, LOADING = CommandFlag.NOSCRIPT, CommandFlag.STALE, CommandFlag.LOADING
ALLOW_BUSY: Final = CommandFlag.ALLOW_BUSY
RUNS: Final = NOSCRIPT | STALE | CommandFlag.SKIP_MONITOR | CommandFlag.NO_MANDATORY_KEYS

_WORST: Final = "We cannot tell how the keys will be used so we assume the worst, "
_KEYS: Final = (
    KeySpec(2, keynum=True, flags=("RW", "access", "update"), notes=f"{_WORST}RW and UPDATE"),
)
_KEYS_RO: Final = (KeySpec(2, keynum=True, flags=("RO", "access"), notes=f"{_WORST}RO and ACCESS"),)
_KEYS_OF_SHA: Final = (KeySpec(2, keynum=True, flags=("RW", "access", "update")),)
_KEYS_OF_SHA_RO: Final = (KeySpec(2, keynum=True, flags=("RO", "access")),)

_EVERY_NODE: Final = ("request_policy:all_nodes", "response_policy:all_succeeded")
_EVERY_SHARD: Final = ("request_policy:all_shards", "response_policy:all_succeeded")
_ONE_SHARD: Final = ("request_policy:all_shards", "response_policy:one_succeeded")


def _merge_kill(answers: Sequence[PartAnswer]) -> Reply:
    outcomes = {answer.reply for answer in answers if isinstance(answer.reply, bytes)}
    if bulk(b"OK") in outcomes:
        return OK
    if bulk(b"UNKILLABLE") in outcomes:
        raise errors.unkillable()
    raise errors.not_busy()


# -- scripts ---------------------------------------------------------------------------------------


@command(
    "EVAL",
    since="2.6.0",
    arity=-3,
    group="scripting",
    flags=RUNS,
    keys=_KEYS,
    acl=("scripting",),
    complexity="Depends on the script that is executed.",
    scope=Scope.SCRIPT,
    writes=True,
)
def eval_(ks: Keyspace, body: bytes, numkeys: bytes, *args: bytes) -> Reply:
    """Executes a server-side Lua script."""
    return scripting_of(ks.store).eval(ks, body, numkeys, args, read_only=False)


@command(
    "EVALSHA",
    since="2.6.0",
    arity=-3,
    group="scripting",
    flags=RUNS,
    keys=_KEYS_OF_SHA,
    acl=("scripting",),
    complexity="Depends on the script that is executed.",
    scope=Scope.SCRIPT,
    writes=True,
)
def evalsha(ks: Keyspace, sha: bytes, numkeys: bytes, *args: bytes) -> Reply:
    """Executes a server-side Lua script by SHA1 digest."""
    return scripting_of(ks.store).evalsha(ks, sha, numkeys, args, read_only=False)


@command(
    "EVAL_RO",
    since="7.0.0",
    arity=-3,
    group="scripting",
    flags=RUNS | READONLY,
    keys=_KEYS_RO,
    acl=("scripting",),
    complexity="Depends on the script that is executed.",
    scope=Scope.SCRIPT,
)
def eval_ro(ks: Keyspace, body: bytes, numkeys: bytes, *args: bytes) -> Reply:
    """Executes a read-only server-side Lua script."""
    return scripting_of(ks.store).eval(ks, body, numkeys, args, read_only=True)


@command(
    "EVALSHA_RO",
    since="7.0.0",
    arity=-3,
    group="scripting",
    flags=RUNS | READONLY,
    keys=_KEYS_OF_SHA_RO,
    acl=("scripting",),
    complexity="Depends on the script that is executed.",
    scope=Scope.SCRIPT,
)
def evalsha_ro(ks: Keyspace, sha: bytes, numkeys: bytes, *args: bytes) -> Reply:
    """Executes a read-only server-side Lua script by SHA1 digest."""
    return scripting_of(ks.store).evalsha(ks, sha, numkeys, args, read_only=True)


@command(
    "SCRIPT",
    since="2.6.0",
    arity=-2,
    group="scripting",
    complexity="Depends on subcommand.",
    scope=Scope.CLIENT,
)
def script(client: Client, *_: bytes) -> Reply:
    """A container for Lua scripts management commands."""
    raise AssertionError("a subcommand runs, or there is an error before")


@command(
    "SCRIPT|DEBUG",
    since="3.2.0",
    arity=3,
    group="scripting",
    flags=NOSCRIPT,
    acl=("scripting",),
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def script_debug(client: Client, mode: bytes) -> Reply:
    """Sets the debug mode of server-side Lua scripts."""
    word = mode.upper()
    if word == b"NO":
        return OK
    if word in (b"YES", b"SYNC"):
        raise errors.ReplyError("ERR scripts can't be debugged here")
    raise errors.script_debug_options()


def _merge_exists(answers: Sequence[PartAnswer]) -> Reply:
    parts = [answer.reply for answer in answers]
    return array(
        [integer(any(text != b"$-1\r\n" for text in texts)) for texts in zip(*parts, strict=True)]
    )


@command(
    "SCRIPT|EXISTS",
    since="2.6.0",
    arity=-3,
    group="scripting",
    flags=NOSCRIPT,
    acl=("scripting",),
    complexity="O(N) with N being the number of scripts to check (so checking a single script is "
    "an O(1) operation).",
    tips=("request_policy:all_shards", "response_policy:agg_logical_and"),
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_exists),
)
def script_exists(server: Server, *shas: bytes) -> Reply:
    """Determines whether server-side Lua scripts exist in the script cache."""
    # A part answers with the scripts themselves: homes fetch them so (Dispatcher.fetch_script).
    scripting = scripting_of(server.store)
    bodies = [scripting.body_of(sha) for sha in shas]
    return array([b"$-1\r\n" if body is None else bulk(body) for body in bodies])


def _check_flush(_: Client, options: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if len(options) > 1 or (options and options[0].upper() not in (b"SYNC", b"ASYNC")):
        raise errors.script_flush_options()
    return options


@command(
    "SCRIPT|FLUSH",
    since="2.6.0",
    arity=-2,
    group="scripting",
    flags=NOSCRIPT,
    acl=("scripting",),
    complexity="O(N) with N being the number of scripts in cache",
    tips=_EVERY_NODE,
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, merge_same, prepare=_check_flush),
    history=(("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers."),),
)
def script_flush(server: Server, *_: bytes) -> Reply:
    """Removes all server-side Lua scripts from the script cache."""
    scripting_of(server.store).flush()
    return OK


_SCRIPT_HELP: Final = (
    b"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"DEBUG (YES|SYNC|NO)",
    b"    Set the debug mode for subsequent scripts executed.",
    b"EXISTS <sha1> [<sha1> ...]",
    b"    Return information about the existence of the scripts in the script cache.",
    b"FLUSH [ASYNC|SYNC]",
    b"    Flush the Lua scripts cache. Very dangerous on replicas.",
    b"    When called without the optional mode argument, the behavior is determined by the",
    b"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    b"    * ASYNC: Asynchronously flush the scripts cache.",
    b"    * SYNC: Synchronously flush the scripts cache.",
    b"KILL",
    b"    Kill the currently executing Lua script.",
    b"LOAD <script>",
    b"    Load a script into the scripts cache without executing it.",
    b"HELP",
    b"    Print this help.",
)


@command(
    "SCRIPT|HELP",
    since="5.0.0",
    arity=2,
    group="scripting",
    flags=LOADING | STALE,
    acl=("scripting",),
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def script_help(client: Client) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _SCRIPT_HELP])


@command(
    "SCRIPT|KILL",
    since="2.6.0",
    arity=2,
    group="scripting",
    flags=NOSCRIPT | ALLOW_BUSY,
    acl=("scripting",),
    complexity="O(1)",
    tips=_ONE_SHARD,
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_kill),
)
def script_kill(server: Server) -> Reply:
    """Terminates a server-side Lua script during execution."""
    return bulk(scripting_of(server.store).killed(function=False))


@command(
    "SCRIPT|LOAD",
    since="2.6.0",
    arity=3,
    group="scripting",
    flags=NOSCRIPT | STALE,
    acl=("scripting",),
    complexity="O(N) with N being the length in bytes of the script body.",
    tips=_EVERY_NODE,
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, merge_same),
)
def script_load(server: Server, body: bytes) -> Reply:
    """Loads a server-side Lua script to the script cache."""
    return bulk(scripting_of(server.store).load(body, keep=True).sha)


# -- functions -------------------------------------------------------------------------------------


@command(
    "FUNCTION",
    since="7.0.0",
    arity=-2,
    group="scripting",
    complexity="Depends on subcommand.",
    scope=Scope.CLIENT,
)
def function(client: Client, *_: bytes) -> Reply:
    """A container for function commands."""
    raise AssertionError("a subcommand runs, or there is an error before")


# A library changes on every worker, and nothing else runs meanwhile: no call sees half of it.
_EVERYWHERE: Final = Spanning(LockScope.STORE, merge_same)


@command(
    "FUNCTION|DELETE",
    since="7.0.0",
    arity=3,
    group="scripting",
    flags=WRITE | NOSCRIPT,
    acl=("scripting",),
    complexity="O(1)",
    tips=_EVERY_SHARD,
    spanning=_EVERYWHERE,
)
def function_delete(ks: Keyspace, name: bytes) -> Reply:
    """Deletes a library and its functions."""
    scripting_of(ks.store).functions.delete(name)
    ks.store.dirty += 1
    return OK


@command(
    "FUNCTION|DUMP",
    since="7.0.0",
    arity=2,
    group="scripting",
    flags=NOSCRIPT,
    acl=("scripting",),
    complexity="O(N) where N is the number of functions",
)
def function_dump(ks: Keyspace) -> Reply:
    """Dumps all libraries into a serialized binary payload."""
    return bulk(scripting_of(ks.store).functions.dump())


def _check_function_flush(_: Client, options: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if len(options) > 1:
        raise errors.subcommand_syntax(b"FUNCTION", b"FLUSH")
    if options and options[0].upper() not in (b"SYNC", b"ASYNC"):
        raise errors.function_flush_options()
    return options


@command(
    "FUNCTION|FLUSH",
    since="7.0.0",
    arity=-2,
    group="scripting",
    flags=WRITE | NOSCRIPT,
    acl=("scripting",),
    complexity="O(N) where N is the number of functions deleted",
    tips=_EVERY_SHARD,
    spanning=Spanning(LockScope.STORE, merge_same, prepare=_check_function_flush),
)
def function_flush(ks: Keyspace, *_: bytes) -> Reply:
    """Deletes all libraries and functions."""
    scripting_of(ks.store).functions.flush()
    ks.store.dirty += 1
    return OK


_FUNCTION_HELP: Final = (
    b"FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"LOAD [REPLACE] <FUNCTION CODE>",
    b"    Create a new library with the given library name and code.",
    b"DELETE <LIBRARY NAME>",
    b"    Delete the given library.",
    b"LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    b"    Return general information on all the libraries:",
    b"    * Library name",
    b"    * The engine used to run the Library",
    b"    * Functions list",
    b"    * Library code (if WITHCODE is given)",
    b"    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    b"STATS",
    b"    Return information about the current function running:",
    b"    * Function name",
    b"    * Command used to run the function",
    b"    * Duration in MS that the function is running",
    b"    If no function is running, return nil",
    b"    In addition, returns a list of available engines.",
    b"KILL",
    b"    Kill the current running function.",
    b"FLUSH [ASYNC|SYNC]",
    b"    Delete all the libraries.",
    b"    When called without the optional mode argument, the behavior is determined by the",
    b"    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    b"    * ASYNC: Asynchronously flush the libraries.",
    b"    * SYNC: Synchronously flush the libraries.",
    b"DUMP",
    b"    Return a serialized payload representing the current libraries, can be restored using"
    b" FUNCTION RESTORE command",
    b"RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    b"    Restore the libraries represented by the given payload, it is possible to give a restore"
    b" policy to",
    b"    control how to handle existing libraries (default APPEND):",
    b"    * FLUSH: delete all existing libraries.",
    b"    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    b"    * REPLACE: appends the restored libraries to the existing libraries, On collision,"
    b" replace the old",
    b"      libraries with the new libraries (notice that even on this option there is a chance of"
    b" failure",
    b"      in case of functions name collision with another library).",
    b"HELP",
    b"    Print this help.",
)


@command(
    "FUNCTION|HELP",
    since="7.0.0",
    arity=2,
    group="scripting",
    flags=LOADING | STALE,
    acl=("scripting",),
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def function_help(client: Client) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _FUNCTION_HELP])


@command(
    "FUNCTION|KILL",
    since="7.0.0",
    arity=2,
    group="scripting",
    flags=NOSCRIPT | ALLOW_BUSY,
    acl=("scripting",),
    complexity="O(1)",
    tips=_ONE_SHARD,
    scope=Scope.SERVER,
    spanning=Spanning(LockScope.NOTHING, _merge_kill),
)
def function_kill(server: Server) -> Reply:
    """Terminates a function during execution."""
    return bulk(scripting_of(server.store).killed(function=True))


def _shown(one: Function) -> Reply:
    return map_reply(
        [
            (bulk(b"name"), bulk(one.name)),
            (bulk(b"description"), NULL if one.description is None else bulk(one.description)),
            (bulk(b"flags"), set_reply([simple(flag) for flag in FLAGS if flag in one.flags])),
        ]
    )


def _library(library: Library, with_code: bool) -> Reply:
    functions = array([_shown(one) for one in library.functions.values()])
    fields: list[tuple[Reply, Reply]] = [
        (bulk(b"library_name"), bulk(library.name)),
        (bulk(b"engine"), bulk(b"LUA")),
        (bulk(b"functions"), functions),
    ]
    if with_code:
        fields.append((bulk(b"library_code"), bulk(library.code)))
    return map_reply(fields)


@command(
    "FUNCTION|LIST",
    since="7.0.0",
    arity=-2,
    group="scripting",
    flags=NOSCRIPT,
    acl=("scripting",),
    complexity="O(N) where N is the number of functions",
    tips=("nondeterministic_output_order",),
)
def function_list(ks: Keyspace, *args: bytes) -> Reply:
    """Returns information about all libraries."""
    pattern: bytes | None = None
    with_code = False
    at = 0
    while at < len(args):
        word = parse.word(args[at])
        if word == b"WITHCODE" and not with_code:
            with_code = True
        elif word == b"LIBRARYNAME" and pattern is None:
            at += 1
            if at == len(args):
                raise errors.list_name_missing()
            pattern = args[at]
        else:
            raise errors.unknown_list_argument(args[at])
        at += 1
    libraries = scripting_of(ks.store).functions.libraries.values()
    return array(
        [
            _library(library, with_code)
            for library in libraries
            if pattern is None or glob_match(pattern, library.name, nocase=True)
        ]
    )


@command(
    "FUNCTION|LOAD",
    since="7.0.0",
    arity=-3,
    group="scripting",
    flags=WRITE | DENYOOM | NOSCRIPT,
    acl=("scripting",),
    complexity="O(1) (considering compilation time is redundant)",
    tips=_EVERY_SHARD,
    spanning=_EVERYWHERE,
)
def function_load(ks: Keyspace, *args: bytes) -> Reply:
    """Creates a library."""
    *options, code = args
    for option in options:
        if parse.word(option) != b"REPLACE":
            raise errors.unknown_load_option(option)
    name = scripting_of(ks.store).functions.load(code, replace=bool(options))
    ks.store.dirty += 1
    return bulk(name)


@command(
    "FUNCTION|RESTORE",
    since="7.0.0",
    arity=-3,
    group="scripting",
    flags=WRITE | DENYOOM | NOSCRIPT,
    acl=("scripting",),
    complexity="O(N) where N is the number of functions on the payload",
    tips=_EVERY_SHARD,
    spanning=_EVERYWHERE,
)
def function_restore(ks: Keyspace, payload: bytes, *policies: bytes) -> Reply:
    """Restores all libraries from a payload."""
    if len(policies) > 1:
        raise errors.subcommand_syntax(b"FUNCTION", b"RESTORE")
    policy = parse.word(policies[0]) if policies else b"APPEND"
    if policy not in (b"FLUSH", b"APPEND", b"REPLACE"):
        raise errors.bad_restore_policy()
    scripting_of(ks.store).functions.restore(payload, policy)
    ks.store.dirty += 1
    return OK


def _running(ks: Keyspace) -> Reply:
    scripting = scripting_of(ks.store)
    run = scripting.running
    if run is None:
        return NULL
    return map_reply(
        [
            (bulk(b"name"), bulk(run.name)),
            (bulk(b"command"), bulk_array(run.command)),
            (bulk(b"duration_ms"), integer(scripting.duration_ms(run))),
        ]
    )


@command(
    "FUNCTION|STATS",
    since="7.0.0",
    arity=2,
    group="scripting",
    flags=NOSCRIPT | ALLOW_BUSY,
    acl=("scripting",),
    complexity="O(1)",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)
def function_stats(ks: Keyspace) -> Reply:
    """Returns information about a function during execution."""
    functions = scripting_of(ks.store).functions
    counts = map_reply(
        [
            (bulk(b"libraries_count"), integer(len(functions.libraries))),
            (bulk(b"functions_count"), integer(len(functions.functions))),
        ]
    )
    return map_reply(
        [
            (bulk(b"running_script"), _running(ks)),
            (bulk(b"engines"), map_reply([(bulk(b"LUA"), counts)])),
        ]
    )


@command(
    "FCALL",
    since="7.0.0",
    arity=-3,
    group="scripting",
    flags=RUNS,
    keys=_KEYS,
    acl=("scripting",),
    complexity="Depends on the function that is executed.",
    scope=Scope.SCRIPT,
    writes=True,
)
def fcall(ks: Keyspace, name: bytes, numkeys: bytes, *args: bytes) -> Reply:
    """Invokes a function."""
    return scripting_of(ks.store).functions.call(ks, name, numkeys, args, read_only=False)


@command(
    "FCALL_RO",
    since="7.0.0",
    arity=-3,
    group="scripting",
    flags=RUNS | READONLY,
    keys=_KEYS_RO,
    acl=("scripting",),
    complexity="Depends on the function that is executed.",
    scope=Scope.SCRIPT,
)
def fcall_ro(ks: Keyspace, name: bytes, numkeys: bytes, *args: bytes) -> Reply:
    """Invokes a read-only function."""
    return scripting_of(ks.store).functions.call(ks, name, numkeys, args, read_only=True)
