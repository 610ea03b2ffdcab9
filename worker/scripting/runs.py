"""A run of a script or function: the runtime that it needs, what it is given, what it replied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from shoal.proto import errors
from shoal.proto.errors import ReplyError
from shoal.proto.numbers import parse_int
from shoal.proto.replies import Reply
from shoal.worker.scripting.api import ScriptRun, Surroundings
from shoal.worker.scripting.convert import TwoReplies, double_text, integer_text, reply_of
from shoal.worker.scripting.engine import MEMORY_ERROR, OutOfMemoryError, Runtime
from shoal.worker.scripting.libraries import Libraries
from shoal.worker.scripting.prelude import ENCODED, ENDED

FLAGS: Final = (
    b"no-writes",
    b"allow-oom",
    b"allow-stale",
    b"no-cluster",
    b"allow-cross-slot-keys",
)
"""What a script may say of itself, in the order in which Redis lists it."""


# Why a run ends that goes on only to find out what it needs; nobody hears it.
_FOUND_OUT: Final = b"ERR the script needs more keys"


class Lua:
    """A runtime that is made at its first use, and anew after it ran out of memory.

    Attributes:
        life: how many runtimes there have been; what one has compiled is of no use to the next.
    """

    def __init__(
        self,
        around: Surroundings,
        more: dict[str, Any],
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        """Make none yet.

        Args:
            around: the worker.
            more: what the prelude is offered beyond the API and the libraries.
            on_drop: called before a runtime goes: whoever has compiled something forgets it.
        """
        self.run = ScriptRun(around)
        self._around = around
        self._more = more
        self._on_drop = on_drop
        self._runtime: Runtime | None = None
        self.life = 0

    @property
    def runtime(self) -> Runtime:
        """The runtime that stands."""
        if self._runtime is None:
            libraries = Libraries()
            offered = {
                **self.run.offered(),
                **libraries.offered(),
                "integer_text": integer_text,
                "double_text": double_text,
                "resp": self._resp,
                **self._more,
            }
            # `resp` is asked at each reply that is a table.
            runtime = Runtime(offered, self._slow)
            libraries.runtime = self.run.runtime = self._runtime = runtime
            self.life += 1
        return self._runtime

    def _resp(self) -> int:
        return self.run.resp

    def _slow(self) -> bytes | None:
        if self.run.need is not None:
            return _FOUND_OUT
        return self._around.busy(self.run)

    def drop(self) -> None:
        """Throw the runtime away, and its memory with it."""
        if self._runtime is not None:
            self._on_drop()
            self._runtime.close()
            self._runtime = None
            del self.run.runtime

    @property
    def stands(self) -> bool:
        """Whether there is a runtime at the moment."""
        return self._runtime is not None


def run_to_end(lua: Lua, start: Callable[[], Any]) -> Any:
    """Let a run that has begun go on to its end, and return what it gives.

    Raises: NeedKeys, when the run was taken back; ReplyError.
    """
    run = lua.run
    result = None
    try:
        result = start()
    except OutOfMemoryError:
        lua.drop()
        if run.need is None:
            raise errors.script_out_of_memory() from None
    finally:
        run.end()
    if run.need is not None:
        raise run.need.raised()
    return result


def reply_of_result(lua: Lua, result: Any, name: bytes) -> Reply:
    """Return the reply of a run, as the prelude says how it ended.

    Raises: ReplyError for an error of the script that nobody has counted, and if it was ended from
        outside.
    """
    if result.__class__ is not tuple:
        return reply_of(result)
    if result[0] == ENCODED:
        return result[1] if len(result) == 2 else TwoReplies(result[1], result[2])
    if result[0] == ENDED:
        if result[1] == MEMORY_ERROR:
            lua.drop()
            raise errors.script_out_of_memory()
        _, text, source, line = result
        message, counted = b"ERR " + text, False
    else:
        _, text, source, line, counted = result
        message = b"ERR unknown error" if text is None else text
    if source is not None and line is not None:
        message = b"%b script: %b, on %b:%d." % (message, name, source, line)
    error = ReplyError(message)
    if counted:
        return error.encode()
    raise error


def keys_count(numkeys: bytes, args: Sequence[bytes]) -> int:
    """Return how many of the arguments are keys. Raises: ReplyError."""
    count = parse_int(numkeys)
    if count is None:
        raise errors.not_an_integer()
    if count > len(args):
        raise errors.numkeys_too_large()
    if count < 0:
        raise errors.numkeys_negative()
    return count


def check_may_write(around: Surroundings, read_only: bool) -> None:
    """Refuse a script or function that says it may write, where it may not. Raises: ReplyError."""
    if read_only:
        raise errors.script_with_write_flag()
    refusal = around.disk_error()
    if refusal is not None:
        raise ReplyError(refusal[1:-2])


def shebang_flags(body: bytes) -> frozenset[bytes] | None:
    """Return the flags in a script's first line, None if it has no shebang. Raises: ReplyError."""
    if not body.startswith(b"#!"):
        return None
    line, newline, _ = body.partition(b"\n")
    if not newline:
        raise errors.invalid_shebang()
    words = line.split()
    if words[0] != b"#!lua":
        raise errors.unexpected_shebang_engine(words[0])
    flags: set[bytes] = set()
    for word in words[1:]:
        if not word.startswith(b"flags="):
            raise errors.unknown_shebang_option(word)
        given = word.removeprefix(b"flags=")
        for flag in given.split(b",") if given else ():
            if flag not in FLAGS:
                raise errors.unexpected_shebang_flag(flag)
            flags.add(flag)
    return frozenset(flags)
