"""Runs scripts on a real Redis and on Shoal, in batches, and finds the first difference."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from support.fuzz.alike import alike
from support.fuzz.grammar import Argv
from support.fuzz.scripts import reset
from support.fuzz.special import Both, special_of
from support.fuzz.state import Contents, apart, contents, differences, logged
from support.raw import RawClient, pack, read_reply
from support.servers import Server

BATCH: Final = 80
BOUND_S: Final = 20.0  # a server that takes longer for one batch hangs

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
            found: Unlike | None
            if stop - start == 1 and (special := special_of(steps[start])) is not None:
                unlike = special(Both(*self.clients, self.resp), steps[start])
                found = None if unlike is None else (0, *unlike)
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


def batches(steps: Sequence[Argv], check_every: int) -> Iterator[tuple[int, int]]:
    """Cut a script: special commands alone, else up to BATCH, none beyond a check."""
    start = 0
    for at, argv in enumerate(steps):
        alone = special_of(argv) is not None
        if alone and start < at:
            yield start, at
            start = at
        if alone or at + 1 - start == BATCH or (at + 1) % check_every == 0:
            yield start, at + 1
            start = at + 1
    if start < len(steps):
        yield start, len(steps)


def _receive(client: RawClient, end: bytes) -> bytes:
    """Return what comes until the mark, without it."""
    data = bytearray()
    while not data.endswith(end):
        piece = client.socket.recv(1 << 16)
        if not piece:
            raise EOFError(f"the connection ended after {bytes(data[-200:])!r}")
        data += piece
    return bytes(data[: -len(end)])
