"""Runs scripts on a real Redis and on Shoal, in batches, and finds the first difference."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from support.fuzz.alike import alike, unordered, unordered_pairs
from support.fuzz.grammar import Argv
from support.fuzz.scripts import reset
from support.fuzz.state import Contents, apart, contents, differences, logged
from support.raw import RawClient, bulk_text, pack, read_reply, split_reply
from support.servers import Server

BATCH: Final = 80
BOUND_S: Final = 20.0  # a server that takes longer for one batch hangs
SCANS: Final = {b"SCAN": 1, b"HSCAN": 2, b"SSCAN": 2, b"ZSCAN": 2}
"""Where the cursor stands."""


Unlike = tuple[int, bytes, bytes]
"""Index of a step among those run together, and what Redis and Shoal answered to it."""


class Difference(NamedTuple):
    """Where two servers part.

    Attributes:
        at: how many steps of the script have run, this one included.
        step: the command whose replies differ; None if what they hold does.
        theirs, ours: the replies; lines that tell what is held differently.
    """

    at: int
    step: Argv | None
    theirs: str
    ours: str


class Pair:
    """A real Redis and Shoal, with a connection to each.

    Attributes:
        oracle, subject: the servers.
        resp: version of the protocol.
        reloads: whether Shoal reads its log again after a script, which must change nothing.
    """

    def __init__(
        self, oracle: Server, subject: Server, resp: int, *, reloads: bool = False
    ) -> None:
        self.oracle = oracle
        self.subject = subject
        self.resp = resp
        self.reloads = reloads
        self._batches = 0
        self._clients: tuple[RawClient, RawClient] | None = None

    @property
    def clients(self) -> tuple[RawClient, RawClient]:
        """The connections, Redis's first; made anew after one broke."""
        if self._clients is None:
            both = RawClient(self.oracle.address, BOUND_S), RawClient(self.subject.address, BOUND_S)
            for client in both:
                client.call(b"HELLO", b"%d" % self.resp)
                # What expired goes when it is looked at, not when a timer finds it.
                client.call(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0")
            self._clients = both
        return self._clients

    def close(self) -> None:
        """Drop the connections."""
        if self._clients is not None:
            for client in self._clients:
                client.close()
            self._clients = None

    def run(self, steps: Sequence[Argv], check_every: int = 500) -> Difference | None:
        """Run a script on both servers, emptied before; return where they part.

        Args:
            steps: the commands.
            check_every: after so many steps all that is held is compared, and at the end.
        """
        self._at = 0
        try:
            for argv in reset():
                for client in self.clients:
                    assert client.call(*argv) == b"+OK\r\n", argv
            return self._run(steps, check_every)
        except (OSError, EOFError) as error:
            self.close()
            return self._broken(error)

    def _broken(self, error: Exception) -> Difference:
        assert self.oracle.running, f"{self.oracle.output[-3000:]}\n{error!r}"
        said = "\n".join(self.subject.lines[-30:])
        if not self.subject.running:  # it gave up: begin anew, with an empty log
            self.subject.kill()
            shutil.rmtree(self.subject.directory / "appendonlydir", ignore_errors=True)
            self.subject.start()
        return Difference(
            self._at, None, "", f"{error!r} in the batch up to here; it said:\n{said}"
        )

    def _run(self, steps: Sequence[Argv], check_every: int) -> Difference | None:
        for start, stop in batches(steps, check_every):
            self._at = stop
            if stop - start == 1 and (special := SPECIAL.get(steps[start][0].upper())) is not None:
                found = special(self, steps[start])
            else:
                found = self._batch(steps[start:stop])
            if found is not None:
                at, *replies = found
                return Difference(start + at + 1, steps[start + at], *apart(*replies))
            if stop % check_every == 0 or stop == len(steps):
                theirs, ours = map(contents, self.clients)
                lines = differences(theirs, ours)
                if not lines and self.reloads and stop == len(steps):
                    lines = self._reload(ours)
                if lines:
                    return Difference(stop, None, "", "\n".join(lines))
        return None

    def _reload(self, held: Contents) -> list[str]:
        """Let Shoal read its log; return what it holds otherwise than before."""
        client = self.clients[1]
        reply = client.call(b"DEBUG", b"LOADAOF")
        if reply != b"+OK\r\n":
            return [f"DEBUG LOADAOF: {reply!r}"]
        lines = differences(logged(held), logged(contents(client)), encodings=False)
        return [f"after DEBUG LOADAOF: {line}" for line in lines]

    def _batch(self, steps: Sequence[Argv]) -> Unlike | None:
        """Run commands in one go; return index and replies of the first that differ."""
        self._batches += 1
        mark = b"end of batch %d" % self._batches
        data = b"".join([pack(*argv) for argv in (*steps, (b"ECHO", mark))])
        end = b"$%d\r\n%b\r\n" % (len(mark), mark)
        for client in self.clients:
            client.send(data)
        theirs, ours = (_receive(client, end) for client in self.clients)
        if theirs == ours:
            return None
        streams = io.BytesIO(theirs), io.BytesIO(ours)
        for at, argv in enumerate(steps):
            a, b = map(read_reply, streams)
            if not alike(argv, a, b):
                return at, a, b
        return None

    # -- commands that are not run alike on both ---------------------------------------------------

    def scan(self, argv: Argv) -> Unlike | None:
        """Scan to the end on both; what is found must be the same, in whatever order and pieces."""
        at = SCANS[argv[0].upper()]
        theirs, ours = (self._scan(client, argv, at) for client in self.clients)
        # Of a cursor that no scan gave only the errors are compared.
        free = argv[at : at + 1] != (b"0",) and b"-" not in (theirs[:1], ours[:1])
        return None if free or theirs == ours else (0, theirs, ours)

    def _scan(self, client: RawClient, argv: Argv, at: int) -> bytes:
        """Return an error as it is, else the distinct elements, sorted."""
        found: set[bytes] = set()
        step = 2 if argv[0].upper() in (b"HSCAN", b"ZSCAN") else 1
        if b"NOVALUES" in map(bytes.upper, argv):
            step = 1
        from_start = len(argv) > at and argv[at] == b"0"
        while True:
            reply = client.call(*argv)
            header, items = split_reply(reply)
            if not items:
                return reply
            cursor, elements = bulk_text(items[0]), split_reply(items[1])[1]
            found.update(b"".join(row) for row in zip(*[iter(elements)] * step, strict=True))
            if cursor == b"0" or not from_start:
                return header + b"".join(sorted(found))
            argv = (*argv[:at], cursor, *argv[at + 1 :])

    def spop(self, argv: Argv) -> Unlike | None:
        """Let Shoal pick, and have the same members removed from Redis's set."""
        theirs, ours = self.clients
        reply = ours.call(*argv)
        header, items = split_reply(reply)
        members = items if header[:1] in b"*~" else [reply] if reply[:1] == b"$" else []
        if not members or reply == b"$-1\r\n":
            expected = theirs.call(*argv)
            return None if expected == reply else (0, expected, reply)
        size = int(theirs.call(b"SCARD", argv[1])[1:-2])
        wanted = 1 if len(argv) == 2 else min(int(argv[2]), size)
        removed = theirs.call(b"SREM", argv[1], *map(bulk_text, members))
        kind = b"$" if len(argv) == 2 else b"~" if self.resp == 3 else b"*"
        if removed == b":%d\r\n" % wanted and len(members) == wanted and header[:1] == kind:
            # Of many, SPOP makes a new set of those that are left, which may be a listpack again;
            # SREM leaves it as it is.
            self._make_anew(argv[1])
            return None
        return 0, b"(members of its set that were removed) " + removed, reply

    def _make_anew(self, key: bytes) -> None:
        encodings = {client.call(b"OBJECT", b"ENCODING", key) for client in self.clients}
        if len(encodings) > 1:
            for client in self.clients:
                client.call(b"SUNIONSTORE", key, key)

    def dump(self, argv: Argv) -> Unlike | None:
        """Dump the key on both, and let each restore what the other said."""
        redis, shoal = self.clients
        theirs, ours = redis.call(*argv), shoal.call(*argv)
        if theirs[:1] != b"$" or ours[:1] != b"$" or b"$-1\r\n" in (theirs, ours):
            return None if theirs == ours else (0, theirs, ours)
        is_hash_table = redis.call(b"OBJECT", b"ENCODING", argv[1]) == b"$9\r\nhashtable\r\n"
        restore = (b"RESTORE", argv[1], b"0")
        by_redis = redis.call(*restore, bulk_text(ours), b"REPLACE")
        by_shoal = shoal.call(*restore, bulk_text(theirs), b"REPLACE")
        if by_redis != b"+OK\r\n" or by_shoal != b"+OK\r\n":
            return 0, b"RESTORE of Shoal's: " + by_redis, b"RESTORE of Redis's: " + by_shoal
        if is_hash_table:
            # A small one becomes a listpack, in the order of the table it was, which is free.
            theirs, ours = (_elements(client, argv[1]) for client in self.clients)
            for client in self.clients:
                client.call(b"DEL", argv[1])
            return None if theirs == ours else (0, theirs, ours)
        return None


SPECIAL: Final = {
    **dict.fromkeys(SCANS, Pair.scan),
    b"SPOP": Pair.spop,
    b"DUMP": Pair.dump,
}


def batches(steps: Sequence[Argv], check_every: int) -> Iterator[tuple[int, int]]:
    """Cut a script: special commands alone, else up to BATCH, none beyond a check."""
    start = 0
    for at, argv in enumerate(steps):
        special = argv[0].upper() in SPECIAL
        if special and start < at:
            yield start, at
            start = at
        if special or at + 1 - start == BATCH or (at + 1) % check_every == 0:
            yield start, at + 1
            start = at + 1
    if start < len(steps):
        yield start, len(steps)


def _elements(client: RawClient, key: bytes) -> bytes:
    """Return the members of a set or the pairs of a hash, sorted."""
    reply = client.call(b"SMEMBERS", key)
    return unordered(reply) if reply[:1] != b"-" else unordered_pairs(client.call(b"HGETALL", key))


def _receive(client: RawClient, end: bytes) -> bytes:
    """Return what comes until the mark, without it."""
    data = bytearray()
    while not data.endswith(end):
        piece = client.socket.recv(1 << 16)
        if not piece:
            raise EOFError(f"the connection ended after {bytes(data[-200:])!r}")
        data += piece
    return bytes(data[: -len(end)])
