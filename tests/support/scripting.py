"""Scripts in tables of tests, and a partition that runs them without a server."""

from __future__ import annotations

from random import Random

from shoal.proto.directives import Config
from shoal.proto.errors import ReplyError
from shoal.proto.replies import encode
from shoal.proto.slots import SLOTS
from shoal.worker.commands import load_all
from shoal.worker.keyspace import Store
from shoal.worker.scripting.service import Scripting, scripting_of
from shoal.worker.server import Facts, Server
from support.keyspace import NOW_MS

load_all()

Argv = tuple[bytes, ...]


def lua(text: str) -> Argv:
    """Return the EVAL of a script, with one key, k, and two arguments."""
    return b"EVAL", text.encode("latin-1"), b"1", b"k", b"a1", b"a2"


def lua_ro(text: str) -> Argv:
    """The same with EVAL_RO."""
    return b"EVAL_RO", *lua(text)[1:]


def library(text: str) -> Argv:
    """Return the FUNCTION LOAD that replaces library `lib` by one of this text."""
    return b"FUNCTION", b"LOAD", b"REPLACE", b"#!lua name=lib\n" + text.encode("latin-1")


def worker() -> Server:
    """Return the only worker of a server."""
    store = Store(range(SLOTS), 16, Random(1))
    facts = Facts("", 0, 0, "", "", "", 0, [])
    return Server(0, 1, Config(), store, facts, 0)


class Scripts:
    """A partition whose scripts run at once.

    Attributes:
        logged: what the last script has logged.
    """

    def __init__(self) -> None:
        self.store = Store(range(SLOTS), 16, Random(1))
        self.store.now_ms = NOW_MS
        self.store.log = lambda db, argv: None
        self.scripting: Scripting = scripting_of(self.store)
        self.scripting.around.server = worker()
        self.logged: list[Argv] = []

    def run(self, text: str, *args: bytes, keys: tuple[bytes, ...] = (), resp: int = 2) -> bytes:
        """Run a script and return its encoded reply."""
        store = self.store
        store.dirty, store.effects = 0, None
        count = b"%d" % len(keys)
        body = text.encode("latin-1")
        try:
            reply = self.scripting.eval(store.view(0), body, count, (*keys, *args), read_only=False)
            return encode(reply, resp)
        except ReplyError as error:
            return error.encode()
        finally:
            self.logged = list(store.effects or ())
