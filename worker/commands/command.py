"""COMMAND: the command table, told to clients and used to find the keys of a command line.

Everything is derived from the `CommandSpec` of each command, but the arguments of COMMAND DOCS,
which have a notation and a module of their own (`worker/arguments.py`). Redis lists commands in the
order of a hash table with a random seed; here it is the order of declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from shoal.proto import errors
from shoal.proto.glob import compile_glob
from shoal.proto.replies import (
    NULL,
    Array,
    Node,
    Reply,
    array,
    bulk,
    bulk_array,
    integer,
    map_reply,
    set_reply,
    simple,
)
from shoal.proto.spec import CommandFlag, CommandSpec, KeySpec
from shoal.worker.arguments import arguments_of
from shoal.worker.client import Client
from shoal.worker.registry import COMMANDS, Command, Scope, command, every_command

LOADING_STALE: Final = CommandFlag.LOADING | CommandFlag.STALE
CONNECTION: Final = ("connection",)
UNORDERED: Final = ("nondeterministic_output_order",)

# -- COMMAND, COMMAND INFO -------------------------------------------------------------------------


def _text(text: str) -> bytes:
    return bulk(text.encode())


def _words(words: Iterable[str]) -> Node:
    return set_reply([simple(word.encode()) for word in words])


def _map(fields: Iterable[tuple[str, Reply]]) -> Node:
    return map_reply([(_text(name), value) for name, value in fields])


def _find(name: bytes) -> Command | None:
    """Return a command by name, or a subcommand by `container|name`, in any spelling."""
    container, bar, sub = name.lower().partition(b"|")
    entry = COMMANDS.get(container)
    return entry.subcommands.get(sub) if entry is not None and bar else entry


def _step(kind: str, fields: Iterable[tuple[str, Reply]]) -> Node:
    return _map([("type", _text(kind)), ("spec", _map(fields))])


def _key_spec(spec: KeySpec) -> Node:
    fields: list[tuple[str, Reply]] = []
    if spec.notes is not None:
        fields.append(("notes", _text(spec.notes)))
    fields.append(("flags", _words(spec.flags)))
    begin_search = _step("index", [("index", integer(spec.begin))])
    find_keys = _step(
        "range",
        [
            ("lastkey", integer(spec.last)),
            ("keystep", integer(spec.step)),
            ("limit", integer(spec.limit)),
        ],
    )
    if spec.unknown:
        begin_search = find_keys = _step("unknown", [])
    elif spec.keyword is not None:
        begin_search = _step(
            "keyword", [("keyword", _text(spec.keyword)), ("startfrom", integer(spec.begin))]
        )
    elif spec.keynum:
        find_keys = _step(
            "keynum",
            [("keynumidx", integer(0)), ("firstkey", integer(1)), ("keystep", integer(spec.step))],
        )
    return _map([*fields, ("begin_search", begin_search), ("find_keys", find_keys)])


def _info(entry: Command) -> Reply:
    spec = entry.spec
    subcommands: Node = set_reply([])
    if entry.subcommands:
        subcommands = array([_info(sub) for sub in entry.subcommands.values()])
    return array(
        [
            bulk(entry.name),
            integer(entry.arity),
            _words(str(flag.name).lower() for flag in spec.all_flags),
            *(integer(number) for number in spec.key_range()),
            _words(f"@{category}" for category in spec.categories()),
            set_reply([_text(tip) for tip in spec.tips]),
            set_reply([_key_spec(key) for key in spec.keys]),
            subcommands,
        ]
    )


@command(
    "COMMAND",
    since="2.8.13",
    arity=-1,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(N) where N is the total number of Redis commands",
    tips=UNORDERED,
    scope=Scope.CLIENT,
)
def command_(_: Client) -> Reply:
    """Returns detailed information about all commands."""
    return array([_info(entry) for entry in COMMANDS.values()])


@command(
    "COMMAND|INFO",
    since="2.8.13",
    arity=-2,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(N) where N is the number of commands to look up",
    tips=UNORDERED,
    scope=Scope.CLIENT,
    history=(("7.0.0", "Allowed to be called with no argument to get info on all commands."),),
)
def command_info(client: Client, *names: bytes) -> Reply:
    """Returns information about one, multiple or all commands."""
    if not names:
        return command_(client)
    found = map(_find, names)
    return array([NULL if entry is None else _info(entry) for entry in found])


@command(
    "COMMAND|COUNT",
    since="2.8.13",
    arity=2,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def command_count(_: Client) -> Reply:
    """Returns a count of commands."""
    return integer(len(COMMANDS))


# -- COMMAND DOCS ----------------------------------------------------------------------------------


def _docs(entry: Command) -> tuple[Reply, Reply]:
    spec = entry.spec
    fields: list[tuple[str, Reply]] = [
        ("summary", _text(spec.summary)),
        ("since", _text(spec.since)),
        ("group", _text(spec.group)),
    ]
    if spec.complexity:
        fields.append(("complexity", _text(spec.complexity)))
    if spec.doc_flags:
        fields.append(("doc_flags", _words(spec.doc_flags)))
    if spec.deprecated_since is not None:
        fields.append(("deprecated_since", _text(spec.deprecated_since)))
    if spec.replaced_by is not None:
        fields.append(("replaced_by", _text(spec.replaced_by)))
    if spec.history:
        changes: list[Reply] = [array(map(_text, change)) for change in spec.history]
        fields.append(("history", set_reply(changes)))
    if arguments := arguments_of(spec.name):
        fields.append(("arguments", array([argument.reply() for argument in arguments])))
    if entry.subcommands:
        fields.append(("subcommands", map_reply(map(_docs, entry.subcommands.values()))))
    return bulk(entry.name), _map(fields)


@command(
    "COMMAND|DOCS",
    since="7.0.0",
    arity=-2,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(N) where N is the number of commands to look up",
    tips=UNORDERED,
    scope=Scope.CLIENT,
)
def command_docs(_: Client, *names: bytes) -> Reply:
    """Returns documentary information about one, multiple or all commands."""
    found = map(_find, names) if names else COMMANDS.values()
    return map_reply([_docs(entry) for entry in found if entry is not None])


# -- COMMAND LIST ----------------------------------------------------------------------------------


def _by_category(category: bytes) -> Callable[[Command], bool]:
    name = category.lower().decode("latin-1")
    return lambda entry: name in entry.spec.categories()


def _by_pattern(pattern: bytes) -> Callable[[Command], bool]:
    matches = compile_glob(pattern, nocase=True)
    return lambda entry: matches(entry.name)


def _by_module(_: bytes) -> Callable[[Command], bool]:
    return lambda _: False  # there are no modules


_FILTERS: Final[dict[bytes, Callable[[bytes], Callable[[Command], bool]]]] = {
    b"MODULE": _by_module,
    b"ACLCAT": _by_category,
    b"PATTERN": _by_pattern,
}


@command(
    "COMMAND|LIST",
    since="7.0.0",
    arity=-2,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(N) where N is the total number of Redis commands",
    tips=UNORDERED,
    scope=Scope.CLIENT,
)
def command_list(_: Client, *args: bytes) -> Reply:
    """Returns a list of command names."""
    wanted: Callable[[Command], bool] | None = None
    if args:
        if len(args) != 3 or args[0].upper() != b"FILTERBY":
            raise errors.syntax_error()
        chosen = _FILTERS.get(args[1].upper())
        if chosen is None:
            raise errors.syntax_error()
        wanted = chosen(args[2])
    return bulk_array(entry.name for entry in every_command() if wanted is None or wanted(entry))


# -- COMMAND GETKEYS -------------------------------------------------------------------------------


def _is_key(spec: KeySpec) -> bool:
    return "not_key" not in spec.flags  # the channels of shard channels are routed like keys


def _flags_of(spec: CommandSpec, key: KeySpec, argv: Sequence[bytes]) -> tuple[str, ...]:
    if "variable_flags" not in key.flags:
        return tuple([flag for flag in key.flags if flag != "incomplete"])  # for this call it is
    assert spec.key_flags is not None, f"{spec.name}: variable_flags without key_flags"
    return spec.key_flags(argv)


def _keys(argv: Sequence[bytes]) -> list[tuple[bytes, tuple[str, ...]]]:
    """Return the keys of a command line, each with its flags. Raises: ReplyError, Redis's texts."""
    entry = COMMANDS.get(argv[0].lower())
    if entry is not None and entry.subcommands and len(argv) > 1:
        entry = entry.subcommands.get(argv[1].lower())
    if entry is None:
        raise errors.invalid_command_specified()
    spec = entry.spec
    specs = [key for key in spec.keys if _is_key(key)]
    if not specs:
        raise errors.no_key_arguments()
    if not spec.arity_fits(len(argv)):
        raise errors.invalid_arity_specified()
    found: list[tuple[bytes, tuple[str, ...]]] = []
    for key in specs:
        positions = key.positions(argv)
        # What a keyword announces may be missing (GEORADIUS's STORE), unless nothing else is a key.
        optional = key.unknown or key.find or (found and key.keyword is not None)
        if not positions and not optional:
            if CommandFlag.NO_MANDATORY_KEYS in spec.flags:
                return []
            raise errors.invalid_arguments_specified()
        flags = _flags_of(spec, key, argv)
        found += [(argv[at], flags) for at in positions]
    if not found and CommandFlag.NO_MANDATORY_KEYS not in spec.flags:  # MIGRATE k ... KEYS k
        raise errors.invalid_arguments_specified()
    return found


@command(
    "COMMAND|GETKEYS",
    since="2.8.13",
    arity=-3,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(N) where N is the number of arguments to the command",
    scope=Scope.CLIENT,
)
def command_getkeys(_: Client, *argv: bytes) -> Reply:
    """Extracts the key names from an arbitrary command."""
    return bulk_array(key for key, _ in _keys(argv))


@command(
    "COMMAND|GETKEYSANDFLAGS",
    since="7.0.0",
    arity=-3,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(N) where N is the number of arguments to the command",
    scope=Scope.CLIENT,
)
def command_getkeysandflags(_: Client, *argv: bytes) -> Reply:
    """Extracts the key names and access flags for an arbitrary command."""
    return Array([array([bulk(key), _words(flags)]) for key, flags in _keys(argv)])


# -- COMMAND HELP ----------------------------------------------------------------------------------

_HELP: Final = (
    b"COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"(no subcommand)",
    b"    Return details about all Redis commands.",
    b"COUNT",
    b"    Return the total number of commands in this Redis server.",
    b"LIST",
    b"    Return a list of all commands in this Redis server.",
    b"INFO [<command-name> ...]",
    b"    Return details about multiple Redis commands.",
    b"    If no command names are given, documentation details for all",
    b"    commands are returned.",
    b"DOCS [<command-name> ...]",
    b"    Return documentation details about multiple Redis commands.",
    b"    If no command names are given, documentation details for all",
    b"    commands are returned.",
    b"GETKEYS <full-command>",
    b"    Return the keys from a full Redis command.",
    b"GETKEYSANDFLAGS <full-command>",
    b"    Return the keys and the access flags from a full Redis command.",
    b"HELP",
    b"    Print this help.",
)


@command(
    "COMMAND|HELP",
    since="5.0.0",
    arity=2,
    group="server",
    flags=LOADING_STALE,
    acl=CONNECTION,
    complexity="O(1)",
    scope=Scope.CLIENT,
)
def command_help(_: Client) -> Reply:
    """Returns helpful text about the different subcommands."""
    return array([simple(line) for line in _HELP])
