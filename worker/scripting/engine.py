"""One Lua runtime: its sandbox, its limits, and how Python calls into it and is called.

Two stand in a worker that runs scripts, one for EVAL and one for libraries of functions, as in
Redis; neither is made before its first use. What a script may call of Python are C closures over
the callables of a `Host`: they show no attributes, and `attribute_filter` refuses what would get
around that. A runtime that has run out of its memory is thrown away.

Memory: the allocator refuses what exceeds MAX_SCRIPT_MEMORY_BYTES, and Lua raises an error from
wherever it is. It must not be inside of a callback, whose frames it would jump over: so a callback
that has something to hand back asks `afford` first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lupa import lua51
from shoal.proto.limits import (
    MAX_SCRIPT_MEMORY_BYTES,
    SCRIPT_HOOK_COUNT,
    SCRIPT_MEMORY_SLACK_BYTES,
)
from shoal.worker.scripting.prelude import CHUNK_NAME, PRELUDE

MEMORY_ERROR: Final = b"not enough memory"

# Arguments of one call on Lua's C stack, which has room for 8000 in all.
_MAX_ARGUMENTS: Final = 1000

Value = Any
"""A Lua value: bytes, int, float, bool, None, or a table or function of lupa."""


class CompileError(Exception):
    """The text is no Lua; the message is Lua's."""

    def __init__(self, message: bytes) -> None:
        super().__init__(message)
        self.message = message


class RaisedError(Exception):
    """A Lua error that a callback raises.

    Attributes:
        text: of the error.
        kind: POSITIONED for a string behind the place of the call, as luaL_error makes it; TABLE
            for a table with the text as `err`; COUNTED for such a table of an error that the
            statistics have; FATAL if the script must end and cannot catch it.
    """

    POSITIONED: Final = None
    TABLE: Final = 0
    COUNTED: Final = 1
    FATAL: Final = 2

    def __init__(self, text: bytes, kind: int | None = POSITIONED) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind


class OutOfMemoryError(Exception):
    """A script needed more than MAX_SCRIPT_MEMORY_BYTES; the runtime is to be thrown away."""


def _no_attributes(_object: object, name: object, _is_setting: bool) -> str:
    raise AttributeError("no attributes")


class Runtime:
    """A Lua runtime with the sandbox of `prelude.PRELUDE`.

    Attributes:
        bug: what a callback raised that is no `RaisedError`; the run raises it at its end.
    """

    def __init__(self, offered: Mapping[str, Any], slow: Callable[[], bytes | None]) -> None:
        """Make the sandbox.

        Args:
            offered: by name, the callables and values that the prelude asks for.
            slow: called every SCRIPT_HOOK_COUNT instructions; what it returns, if not None, ends
                the script.
        """
        self.bug: BaseException | None = None
        self._lua = lua51.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_no_attributes,
            overflow_handler=float,
            max_memory=MAX_SCRIPT_MEMORY_BYTES,
        )
        own = {"explain": self._explain, "slow": slow}

        def host(name: bytes) -> Any:
            key = name.decode()
            return own[key] if key in own else offered[key]

        chunk = self._lua.compile(PRELUDE, name=CHUNK_NAME)
        (
            self._run,
            self._run_lists,
            self._call,
            self._call_lists,
            self._load_library,
            self._load_text,
            self.keep,
            self.forget,
            self.listed,
            self._where,
            self.cjson_encode,
            self.cjson_decode,
            self.null,
        ) = chunk(host, SCRIPT_HOOK_COUNT, MEMORY_ERROR)

    def close(self) -> None:
        """Free the runtime, which holds this object as this object holds it."""
        for name in list(vars(self)):
            if name != "bug":
                delattr(self, name)

    # -- calling Lua -------------------------------------------------------------------------------

    def compile(self, text: bytes, name: bytes) -> Any:
        """Return the function of a script's text; `name` is that of the chunk. Raises:
        CompileError.
        """
        loaded = self._guarded(self._load_text, text, name)
        if isinstance(loaded, tuple):
            raise CompileError(loaded[1])
        return loaded

    def run(self, function: Any, keys: Sequence[bytes], args: Sequence[bytes]) -> Any:
        """Run a script and return what `finish` of the prelude does.

        Raises: OutOfMemoryError; what a callback raised, if that was a bug.
        """
        if len(keys) + len(args) <= _MAX_ARGUMENTS:
            return self._guarded(self._run, function, len(keys), *keys, *args)
        table = self._lua.table_from
        self._reserve(keys, args)
        return self._guarded(self._run_lists, function, table(keys), table(args))

    def call(self, number: int, keys: Sequence[bytes], args: Sequence[bytes]) -> Any:
        """Call a library's function that was kept under `number`; as `run`."""
        if len(keys) + len(args) <= _MAX_ARGUMENTS:
            return self._guarded(self._call, number, len(keys), *keys, *args)
        table = self._lua.table_from
        self._reserve(keys, args)
        return self._guarded(self._call_lists, number, table(keys), table(args))

    def load_library(self, function: Any) -> Any:
        """Run a library's text, with the globals that it has then; as `run`, None
        if it went well.
        """
        return self._guarded(self._load_library, function)

    def _guarded(self, function: Any, *args: Any) -> Any:
        self._reserve(args)
        try:
            result = function(*args)
        except lua51.LuaMemoryError:
            raise OutOfMemoryError from None
        except lua51.LuaError as error:  # it was met while the result was put together
            if MEMORY_ERROR.decode() in str(error):
                raise OutOfMemoryError from None
            if self.bug is None:
                raise
        if self.bug is not None:
            bug, self.bug = self.bug, None
            raise bug
        return result

    def _reserve(self, *lists: Sequence[Any]) -> None:
        """Make sure that there is room for what is pushed outside of a protected call."""
        size = 0
        for items in lists:
            for item in items:
                if item.__class__ is bytes:
                    size += len(item) + 64
        if self._lua.get_memory_used() + size > MAX_SCRIPT_MEMORY_BYTES - SCRIPT_MEMORY_SLACK_BYTES:
            self._lua.gccollect()
            free = MAX_SCRIPT_MEMORY_BYTES - self._lua.get_memory_used()
            if size > free - SCRIPT_MEMORY_SLACK_BYTES:
                raise OutOfMemoryError

    # -- for callbacks -----------------------------------------------------------------------------

    def table(self, items: Any) -> Any:
        """Return a new Lua table of a list or a dict. `afford` comes first."""
        return self._lua.table_from(items)

    def afford(self, size: int) -> None:
        """Make sure that a callback's result of about `size` bytes can be pushed.

        Raises: RaisedError, which ends the script.
        """
        if self._lua.get_memory_used() + size > MAX_SCRIPT_MEMORY_BYTES - SCRIPT_MEMORY_SLACK_BYTES:
            # For the error itself; nobody uses this runtime again.
            self._lua.set_max_memory(MAX_SCRIPT_MEMORY_BYTES + SCRIPT_MEMORY_SLACK_BYTES)
            raise RaisedError(MEMORY_ERROR, RaisedError.FATAL)

    def where(self) -> tuple[bytes, bytes]:
        """Return the place in the script that has called, as it stands before an error, and the
        name by which it has.
        """
        place, name = self._where()
        return place, name

    def _explain(self, error: BaseException) -> tuple[bytes, int | None]:
        """Say what a Python exception stands for in Lua."""
        if isinstance(error, RaisedError):
            return error.text, error.kind
        self.bug = error
        return b"internal error", RaisedError.FATAL
