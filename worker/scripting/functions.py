"""Libraries of functions: how they are loaded, listed, dumped and called.

Every worker has all of them. The log has the commands that changed them, and a start runs these
again; a worker's runtime that ran out of memory is filled from the libraries' texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from shoal.proto import errors
from shoal.proto.errors import DamagedValueError, ReplyError
from shoal.proto.numbers import parse_int
from shoal.proto.quoting import split_args
from shoal.proto.rdb_format import FUNCTION_2, Writer, seal_bare, unseal
from shoal.proto.replies import Reply
from shoal.worker.scripting.convert import text_of, type_name
from shoal.worker.scripting.engine import MEMORY_ERROR, CompileError, OutOfMemoryError, RaisedError
from shoal.worker.scripting.prelude import ENDED
from shoal.worker.scripting.runs import (
    FLAGS,
    Lua,
    check_may_write,
    reply_of_result,
    run_to_end,
)

if TYPE_CHECKING:
    from shoal.worker.keyspace import Keyspace
    from shoal.worker.scripting.api import Surroundings

_ENGINE: Final = b"lua"
_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Function:
    """A registered function; its callback lies in Lua under `number`."""

    __slots__ = ("description", "flags", "name", "number")

    def __init__(
        self, name: bytes, number: int, description: bytes | None, flags: frozenset[bytes]
    ) -> None:
        self.name = name
        self.number = number
        self.description = description
        self.flags = flags


class Library:
    """A library: its text as it came, and what it has registered, by name."""

    __slots__ = ("code", "functions", "name")

    def __init__(self, name: bytes, code: bytes) -> None:
        self.name = name
        self.code = code
        self.functions: dict[bytes, Function] = {}


class Functions:
    """The libraries of one worker.

    Attributes:
        libraries: by name.
        functions: of all libraries, by name in lower case.
    """

    def __init__(self, around: Surroundings) -> None:
        """Begin without any."""
        self.libraries: dict[bytes, Library] = {}
        self.functions: dict[bytes, Function] = {}
        self.lua = Lua(around, {"functions": True, "register_function": self._register_function})
        self._around = around
        self._life = 0
        self._last_number = 0
        self._loading: Library | None = None

    # -- changes -----------------------------------------------------------------------------------

    def load(self, code: bytes, *, replace: bool) -> bytes:
        """Add a library (FUNCTION LOAD) and return its name. Raises: ReplyError."""
        name, engine = _metadata(code)
        if not _is_name(name):
            raise errors.bad_library_name()
        if engine.lower() != _ENGINE:
            raise errors.no_such_engine(engine)
        old = self.libraries.get(name)
        if old is not None and not replace:
            raise errors.library_exists(name)
        self._ready()
        library = self._loaded(Library(name, code))
        others = {
            function
            for one in self.libraries.values()
            if one is not old
            for function in map(bytes.lower, one.functions)
        }
        clash = next((f for f in library.functions if f.lower() in others), None)
        if clash is not None:
            self._forget(library)
            raise errors.function_exists(clash)
        if old is not None:
            self._unlink(old)
        self._link(library)
        return name

    def delete(self, name: bytes) -> None:
        """Remove a library (FUNCTION DELETE). Raises: ReplyError."""
        library = self.libraries.get(name)
        if library is None:
            raise errors.no_such_library()
        self._unlink(library)

    def flush(self) -> None:
        """Remove all libraries, and what they have left in Lua."""
        self.libraries.clear()
        self.functions.clear()
        self.lua.drop()

    def dump(self) -> bytes:
        """Return all libraries as one payload (FUNCTION DUMP)."""
        writer = Writer()
        for library in self.libraries.values():
            writer.raw(b"%c" % FUNCTION_2)
            writer.text(library.code)
        return seal_bare(writer.take())

    def restore(self, payload: bytes, policy: bytes) -> None:
        """Add the libraries of a payload (FUNCTION RESTORE), all of them or none.

        Args: policy: FLUSH, APPEND or REPLACE.
        Raises: ReplyError.
        """
        codes = _codes(payload)
        before = dict(self.libraries)
        wanted = [] if policy == b"FLUSH" else list(before)
        names = [_metadata(code)[0] for code in codes]
        if policy != b"REPLACE":
            clash = next((name for name in names if name in wanted), None)
            if clash is not None:
                raise errors.restored_library_exists(clash)
        if policy == b"FLUSH":
            self.flush()
        try:
            for code in codes:
                self.load(code, replace=policy == b"REPLACE")
        except ReplyError:
            # Back to what was: these texts have been loaded before.
            self.flush()
            for library in before.values():
                self.load(library.code, replace=True)
            raise

    def rebuild(self) -> list[tuple[bytes, ...]]:
        """Return the commands that make these libraries."""
        return [
            (b"FUNCTION", b"LOAD", b"REPLACE", library.code) for library in self.libraries.values()
        ]

    def _link(self, library: Library) -> None:
        self.libraries[library.name] = library
        for name, function in library.functions.items():
            self.functions[name.lower()] = function

    def _unlink(self, library: Library) -> None:
        del self.libraries[library.name]
        for name in library.functions:
            del self.functions[name.lower()]
        self._forget(library)

    def _forget(self, library: Library) -> None:
        if self._life == self.lua.life and self.lua.stands:
            for function in library.functions.values():
                self.lua.runtime.forget(function.number)

    def _ready(self) -> None:
        """Make sure that the runtime has all libraries: it may have been made anew."""
        runtime = self.lua.runtime
        assert runtime is not None
        if self._life != self.lua.life:
            self._life = self.lua.life
            libraries = list(self.libraries.values())
            self.libraries.clear()
            self.functions.clear()
            for library in libraries:
                self._link(self._loaded(Library(library.name, library.code)))

    def _loaded(self, library: Library) -> Library:
        """Run a library's text, which registers its functions."""
        code = library.code
        runtime = self.lua.runtime
        self._loading = library
        try:
            function = runtime.compile(code[code.index(b"\n") :], b"@user_function")
            failure = runtime.load_library(function)
        except CompileError as error:
            raise errors.library_does_not_compile(error.message) from None
        except OutOfMemoryError:
            self.lua.drop()
            raise errors.script_out_of_memory() from None
        finally:
            self._loading = None
        if failure is not None:
            self._forget(library)
            if failure[0] == ENDED and failure[1] == MEMORY_ERROR:
                self.lua.drop()
                raise errors.script_out_of_memory()
            raise errors.library_fails(failure[1] or b"ERR unknown error")
        if not library.functions:
            raise errors.no_functions_registered()
        return library

    # -- redis.register_function -------------------------------------------------------------------

    def _register_function(self, *args: Any) -> None:
        library = self._loading
        if library is None:
            raise _refused("redis.register_function can only be called on FUNCTION LOAD command")
        if not 1 <= len(args) <= 2:
            raise _refused("wrong number of arguments to redis.register_function")
        description: bytes | None = None
        flags: frozenset[bytes] = frozenset()
        if len(args) == 1:
            name, callback, description, flags = self._named(args[0])
        else:
            text = text_of(args[0])
            if text is None:
                raise _refused("first argument to redis.register_function must be a string")
            name, callback = text, args[1]
            if type_name(callback) != "function":
                raise _refused("second argument to redis.register_function must be a function")
        if not _is_name(name):
            raise RaisedError(errors.bad_library_name().text, RaisedError.TABLE)
        if name in library.functions:
            raise _refused("Function already exists in the library")
        self._last_number += 1
        self.lua.runtime.keep(self._last_number, callback)
        library.functions[name] = Function(name, self._last_number, description, flags)

    def _named(self, table: Any) -> tuple[bytes, Any, bytes | None, frozenset[bytes]]:
        """Return name, callback, description and flags out of a table of named arguments."""
        if type_name(table) != "table":
            raise _refused(
                "calling redis.register_function with a single argument is only applicable to Lua"
                " table (representing named arguments)."
            )
        name: bytes | None = None
        callback: Any = None
        description: bytes | None = None
        flags: frozenset[bytes] = frozenset()
        for key, value in self._pairs(table):
            word = text_of(key)
            if word is None:
                raise _refused(
                    "named argument key given to redis.register_function is not a string"
                )
            word = word.lower()
            if word == b"function_name":
                name = text_of(value)
                if name is None:
                    raise _refused(
                        "function_name argument given to redis.register_function must be a string"
                    )
            elif word == b"description":
                description = text_of(value)
                if description is None:
                    raise _refused(
                        "description argument given to redis.register_function must be a string"
                    )
            elif word == b"callback":
                if type_name(value) != "function":
                    raise _refused(
                        "callback argument given to redis.register_function must be a function"
                    )
                callback = value
            elif word == b"flags":
                if type_name(value) != "table":
                    raise _refused(
                        "flags argument to redis.register_function must be a table representing"
                        " function flags"
                    )
                flags = self._flags(value)
            else:
                raise _refused("unknown argument given to redis.register_function")
        if name is None:
            raise _refused("redis.register_function must get a function name argument")
        if callback is None:
            raise _refused("redis.register_function must get a callback argument")
        return name, callback, description, flags

    def _pairs(self, table: Any) -> list[tuple[Any, Any]]:
        listed = self.lua.runtime.listed(table)
        if not isinstance(listed, tuple):  # of an empty table: 0
            return []
        return list(zip(listed[1::2], listed[2::2], strict=True))

    def _flags(self, table: Any) -> frozenset[bytes]:
        """Return the flags in an array."""
        given = dict(self._pairs(table))
        flags = set()
        number = 1
        while number in given:
            flag = given[number]
            if flag.__class__ is not bytes or flag not in FLAGS:
                raise _refused("unknown flag given")
            flags.add(flag)
            number += 1
        return frozenset(flags)

    # -- calls -------------------------------------------------------------------------------------

    def call(
        self, ks: Keyspace, name: bytes, numkeys: bytes, args: Sequence[bytes], *, read_only: bool
    ) -> Reply:
        """Call a function (FCALL). Raises: ReplyError."""
        if name.lower() not in self.functions:
            raise errors.no_such_function()
        self._ready()
        function = self.functions[name.lower()]
        count = parse_int(numkeys)
        if count is None:
            raise errors.bad_number_of_keys()
        if count > len(args):
            raise errors.numkeys_too_large()
        if count < 0:
            raise errors.numkeys_negative()
        if b"no-writes" in function.flags:
            read_only = True
        else:
            check_may_write(self._around, read_only)
        lua = self.lua
        runtime = lua.runtime
        lua.run.begin(ks, args[:count], read_only, function.name)
        lua.run.command = (b"FCALL", name, numkeys, *args)
        result = run_to_end(lua, lambda: runtime.call(function.number, args[:count], args[count:]))
        return reply_of_result(lua, result, function.name)


def _refused(text: str) -> RaisedError:
    return RaisedError(f"ERR {text}".encode(), RaisedError.TABLE)


def _is_name(name: bytes) -> bool:
    return bool(name) and _NAME.issuperset(name)


def _metadata(code: bytes) -> tuple[bytes, bytes]:
    """Return name and engine of the first line of a library's text. Raises: ReplyError."""
    if not code.startswith(b"#!"):
        raise errors.missing_library_metadata()
    line, newline, _ = code.partition(b"\n")
    words = split_args(line) if newline else None
    if not words:
        raise errors.invalid_library_metadata()
    name: bytes | None = None
    for word in words[1:]:
        if word[:5].lower() != b"name=":
            raise errors.invalid_metadata_value(word)
        if name is not None:
            raise errors.several_library_names()
        name = word[5:]
    if name is None:
        raise errors.no_library_name()
    return name, words[0][2:]


def _codes(payload: bytes) -> list[bytes]:
    """Return the texts in a payload. Raises: ReplyError."""
    reader = unseal(payload)
    if reader is None:
        raise errors.bad_checksum()
    codes = []
    try:
        while not reader.at_end:
            if reader.byte() != FUNCTION_2:
                raise errors.not_a_function()
            codes.append(reader.text())
    except DamagedValueError:
        raise errors.functions_not_loaded() from None
    return codes
