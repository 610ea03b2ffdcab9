"""Scripts and functions of one worker: the cache of scripts, the libraries, and their runs.

A script is cached where it ran: at the owner of its keys. An EVALSHA whose home does not know the
script asks the other workers for it, and then sends it with its text, as an EVAL: so it runs
wherever its keys are, whoever has brought it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from shoal.proto import errors
from shoal.proto.limits import MAX_EVAL_SCRIPTS
from shoal.proto.replies import Reply
from shoal.worker.scripting.api import ScriptRun, Surroundings
from shoal.worker.scripting.engine import CompileError, OutOfMemoryError
from shoal.worker.scripting.functions import Functions
from shoal.worker.scripting.runs import (
    Lua,
    check_may_write,
    keys_count,
    reply_of_result,
    run_to_end,
    shebang_flags,
)

if TYPE_CHECKING:
    from shoal.worker.keyspace import Keyspace, Store


_UNASKED: Final = object()


class Script:
    """A script in the cache.

    Attributes:
        sha: 40 hex digits.
        flags: of its shebang line, None without one.
        function: of Lua; life: of the runtime that has compiled it.
        kept: SCRIPT LOAD has brought it: it stays until SCRIPT FLUSH.
    """

    __slots__ = ("body", "flags", "function", "kept", "life", "sha")

    def __init__(self, sha: bytes, body: bytes, flags: frozenset[bytes] | None) -> None:
        self.sha = sha
        self.body = body
        self.flags = flags
        self.function: Any = None
        self.life = 0
        self.kept = False


EVALS_OF_SHAS: Final = {b"evalsha": b"EVAL", b"evalsha_ro": b"EVAL_RO"}
"""Commands that call a script by its name, and those that do so with its text."""


def with_text(argv: list[bytes], text: bytes) -> list[bytes]:
    """Return a command of EVALS_OF_SHAS as the one with the text."""
    return [EVALS_OF_SHAS[argv[0].lower()], text, *argv[2:]]


def sha_of(body: bytes) -> bytes:
    """Return a script's name."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest().encode()


class Scripting:
    """What the commands of scripts and functions act on.

    Attributes:
        around: the worker, as far as scripts need it.
        functions: the libraries.
    """

    def __init__(self, store: Store) -> None:
        """Begin without scripts and functions."""
        self.around = Surroundings(store)
        self._lua = Lua(self.around, {"functions": False}, self._forget_compiled)
        self._scripts: dict[bytes, Script] = {}
        self._by_body: dict[bytes, Script] = {}
        self._evicted: OrderedDict[bytes, None] = OrderedDict()  # may be, the oldest first
        self._absent: dict[bytes, None] = {}  # nobody had them; each is asked for once
        self.evictions = 0
        self.functions = Functions(self.around)
        # Of parts that have come; so many as the coordinator lets through.
        self._kills: deque[bytes] = deque()

    # -- the cache ---------------------------------------------------------------------------------

    def load(self, body: bytes, *, keep: bool) -> Script:
        """Return the script of this text, compiled. Raises: ReplyError."""
        script = self._by_body.get(body)
        if script is None:
            script = Script(sha_of(body), body, shebang_flags(body))
            script.function = self._compiled(script)
            script.life = self._lua.life
            self._scripts[script.sha] = self._by_body[body] = script
            if not keep:
                self._evicted[script.sha] = None
                if len(self._evicted) > MAX_EVAL_SCRIPTS:
                    self._evict()
        elif not script.kept:
            self._evicted.move_to_end(script.sha)
        if keep and not script.kept:
            script.kept = True
            self._evicted.pop(script.sha, None)
        return script

    def _evict(self) -> None:
        sha, _ = self._evicted.popitem(last=False)
        del self._by_body[self._scripts.pop(sha).body]
        self.evictions += 1

    def _compiled(self, script: Script) -> Any:
        text = script.body
        if script.flags is not None:  # the line stays, for the numbers of those behind it
            text = text[text.index(b"\n") :]
        try:
            return self._lua.runtime.compile(text, b"@user_script")
        except CompileError as error:
            raise errors.script_does_not_compile(error.message) from None
        except OutOfMemoryError:
            self._lua.drop()
            raise errors.script_out_of_memory() from None

    def body_of(self, sha: bytes) -> bytes | None:
        """Return the text of a script in the cache."""
        script = self._scripts.get(sha.lower())
        return None if script is None else script.body

    def _forget_compiled(self) -> None:
        for script in self._scripts.values():
            script.function = None

    def fetched(self, sha: bytes, answers: Iterable[object]) -> None:
        """Take what the workers' SCRIPT EXISTS have answered: a script's text from one of them, or
        nothing.
        """
        for answer in answers:
            if isinstance(answer, list) and answer[0] != b"$-1\r\n":
                text = answer[0]
                self.load(text[text.index(b"\n") + 1 : -2], keep=False)
                return
        if len(self._absent) > MAX_EVAL_SCRIPTS:
            self._absent.clear()
        self._absent[sha] = None

    def is_to_be_asked_for(self, sha: bytes) -> bool:
        """Tell whether to ask the others for a script that is not here; not again, once, after
        nobody had it.
        """
        if len(sha) != 40 or self.body_of(sha) is not None:
            return False
        return self._absent.pop(sha, _UNASKED) is _UNASKED

    def flush(self) -> None:
        """Forget all scripts, and what they have left in Lua."""
        self._scripts.clear()
        self._by_body.clear()
        self._evicted.clear()
        self._lua.drop()

    def figures(self) -> dict[str, int]:
        """Return what INFO says: scripts, evictions and libraries."""
        return {
            "number_of_cached_scripts": len(self._scripts),
            "evicted_scripts": self.evictions,
            "number_of_libraries": len(self.functions.libraries),
            "number_of_functions": len(self.functions.functions),
        }

    # -- slow runs ---------------------------------------------------------------------------------

    @property
    def running(self) -> ScriptRun | None:
        """What runs, None if nothing does."""
        for run in (self._lua.run, self.functions.lua.run):
            if run.running:
                return run
        return None

    def duration_ms(self, run: ScriptRun) -> int:
        """Return how long it has been running."""
        return (self.around.clock_ns() - run.started_ns) // 1_000_000

    def kill(self, *, function: bool) -> bytes:
        """Try to end the script, or the function, that runs; return OK, UNKILLABLE or NOTBUSY."""
        run = self.running
        if run is None or bool(run.command) != function:
            return b"NOTBUSY"
        return b"OK" if run.kill() else b"UNKILLABLE"

    def kill_early(self, *, function: bool) -> None:
        """The same, for a part of SCRIPT KILL that has come and will run after the script."""
        self._kills.append(self.kill(function=function))

    def killed(self, *, function: bool) -> bytes:
        """Return what a part of SCRIPT KILL has done, now or when it came."""
        return self._kills.popleft() if self._kills else self.kill(function=function)

    # -- runs --------------------------------------------------------------------------------------

    def eval(
        self,
        ks: Keyspace,
        body: bytes,
        numkeys: bytes,
        args: Sequence[bytes],
        *,
        read_only: bool,
    ) -> Reply:
        """Run a script (EVAL). Raises: ReplyError."""
        count = keys_count(numkeys, args)
        script = self._by_body.get(body)
        if script is None or not script.kept:
            script = self.load(body, keep=False)
        return self._run(ks, script, args[:count], args[count:], read_only)

    def evalsha(
        self,
        ks: Keyspace,
        sha: bytes,
        numkeys: bytes,
        args: Sequence[bytes],
        *,
        read_only: bool,
    ) -> Reply:
        """Run a script of the cache (EVALSHA). Raises: ReplyError."""
        if len(sha) != 40:
            raise errors.no_script()
        count = keys_count(numkeys, args)
        script = self._scripts.get(sha) or self._scripts.get(sha.lower())
        if script is None:
            raise errors.no_script()
        if not script.kept:
            self._evicted.move_to_end(script.sha)
        return self._run(ks, script, args[:count], args[count:], read_only)

    def _run(
        self,
        ks: Keyspace,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes],
        read_only: bool,
    ) -> Reply:
        flags = script.flags
        if flags is not None:
            if b"no-writes" in flags:
                read_only = True
            else:
                check_may_write(self.around, read_only)
        lua = self._lua
        runtime = lua.runtime
        if script.life != lua.life:
            script.function, script.life = self._compiled(script), lua.life
        run = lua.run
        run.begin(ks, keys, read_only, script.sha)
        result = run_to_end(lua, lambda: runtime.run(script.function, keys, args))
        return reply_of_result(lua, result, script.sha)


def scripting_of(store: Store) -> Scripting:
    """Return the scripts and functions of a partition."""
    scripting = store.scripting
    if scripting is None:
        scripting = store.scripting = Scripting(store)
    assert isinstance(scripting, Scripting)
    return scripting
