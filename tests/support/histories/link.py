"""A client's connection, and the recorder of what it asks and hears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from support.histories.history import Anomaly, Call, Outcome, What
from support.raw import Address, RawClient, pack

RECEIVE_BYTES: Final = 65536
# Promised by their texts: nothing has run (proto/errors.py, docs/partitions.md).
REFUSALS: Final = ("TRYAGAIN", "LOADING", "EXECABORT")
UNSURE: Final = "may have been executed"
MOST_ODDITIES: Final = 20  # of a round; more say nothing new

Argv = tuple[bytes, ...]


class RefusedError(Exception):
    """A command was answered by an error that promises that it did nothing."""


class UnsureError(Exception):
    """A command was answered by an error that leaves its outcome open."""


class OddError(Exception):
    """An answer that should not be."""


class Link(RawClient):
    """One connection of one client; replies are Python values."""

    def __init__(self, address: Address, client: int) -> None:
        super().__init__(address)
        self.client = client
        self._reader = hiredis.Reader()

    def ask(self, *commands: Argv) -> list[Any]:
        """Send commands in one piece and return the replies, errors among them as values.

        Raises: EOFError, OSError when the connection breaks; TimeoutError when it hangs.
        """
        self.send(b"".join(pack(*argv) for argv in commands))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is not False:
                replies.append(reply)
                continue
            data = self.socket.recv(RECEIVE_BYTES)
            if not data:
                raise EOFError("the server has closed")
            self._reader.feed(data)
        return replies


def answer_of(reply: Any) -> Any:
    """Return a reply that is no error. Raises: RefusedError, UnsureError, OddError."""
    if isinstance(reply, hiredis.ReplyError):
        text = str(reply)
        if text.startswith(REFUSALS):
            raise RefusedError(text)
        if UNSURE in text:
            raise UnsureError(text)
        raise OddError(text)
    return reply


class Recorder:
    """The history of one workload, which its clients write together.

    Attributes:
        calls: by the time of their ends.
        odd: what was not as any workload expects: a hang, an unheard-of error.
    """

    def __init__(self) -> None:
        self.calls: list[Call[Any]] = []
        self.odd: list[Anomaly] = []

    def complain(self, name: str, text: str) -> None:
        """Keep an anomaly that was seen at once."""
        if len(self.odd) < MOST_ODDITIES:
            self.odd.append(Anomaly(name, text))

    def run(
        self,
        link: Link,
        what: What,
        commands: Sequence[Argv],
        read: Callable[[Any], Any],
    ) -> Call[What]:
        """Send the commands of one operation, and record what the last of them is answered.

        Args:
            link: whose client does it.
            what: what the history calls it.
            commands: sent in one piece.
            read: makes the history's reply of the last one's; may raise as `answer_of` does.
        Raises: EOFError, OSError when the connection broke; the call is then of unknown outcome.
        """
        called = time.monotonic_ns()
        returned: int | None = None
        reply = None
        outcome = Outcome.UNKNOWN
        try:
            last = link.ask(*commands)[-1]
            returned = time.monotonic_ns()
            reply = read(answer_of(last))
            outcome = Outcome.DONE
        except RefusedError:
            outcome = Outcome.REFUSED
        except UnsureError:
            returned = None
        except (
            OddError,
            TypeError,
            ValueError,
        ) as error:  # or of another shape
            returned = None
            self.complain("unexpected answer", f"{error!r} to {what}")
        except TimeoutError:
            self.complain("no answer", f"to {what}")
            raise
        finally:
            call = Call(link.client, what, called, returned, outcome, reply)
            self.calls.append(call)  # one bytecode: no lock is needed
        return call

    def count(self, outcome: Outcome) -> int:
        """Return how many calls had an outcome."""
        return sum(call.outcome is outcome for call in self.calls)


class Rotation:
    """Keys in use, some in each partition; each makes way for a new one after so many uses.

    So the history of a key stays short, whatever the length of a run. Used by many threads.
    """

    def __init__(
        self, prefix: bytes, owner: Callable[[bytes], int], workers: int, each: int, uses: int
    ) -> None:
        """Make `each` keys for every worker; `owner` tells the worker of a key."""
        self.all: list[bytes] = []
        self._prefix, self._owner, self._uses = prefix, owner, uses
        self._number = 0
        self._lock = threading.Lock()
        self._left: dict[bytes, int] = {}
        self._current = [[self._new(worker) for _ in range(each)] for worker in range(workers)]

    def _new(self, worker: int) -> bytes:
        while True:
            self._number += 1
            key = b"%b:%d" % (self._prefix, self._number)
            if self._owner(key) == worker:
                self.all.append(key)
                self._left[key] = self._uses
                return key

    def take(self, choose: Callable[[list[list[bytes]]], list[bytes]]) -> list[bytes]:
        """Let `choose` pick among the keys in use, by worker, and count a use of each it picks."""
        with self._lock:
            chosen = choose(self._current)
            for key in set(chosen):
                self._left[key] -= 1
                if not self._left[key]:
                    del self._left[key]
                    for worker, keys in enumerate(self._current):
                        if key in keys:
                            keys[keys.index(key)] = self._new(worker)
            return chosen


def keys_of(prefix: bytes, owner: Callable[[bytes], int], workers: int, each: int) -> list[bytes]:
    """Return so many keys of every worker, neighbours in different partitions."""
    rotation = Rotation(prefix, owner, workers, each, 1)
    return rotation.take(lambda current: [k for row in zip(*current, strict=True) for k in row])
