"""The games of `make litmus` notice what must not be."""

from collections.abc import Callable
from typing import Any, cast

from support.litmus import FORBIDDEN
from support.litmus.real import Connection, Queue, Rounds, Tally


class Recorder:
    """A connection without a server."""

    take: Callable[[Any], None]

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)


def recorders(count: int) -> Any:
    return cast(list[Connection], [Recorder() for _ in range(count)])


def test_a_payload_that_is_missing() -> None:
    tally = Tally(2)
    a, b = recorders(2)
    queue = Queue(1, a, b, tally)
    assert len(a.sent) == 2
    for number, payload in ((0, b"0"), (1, None)):
        b.take([b"queue", b"%d" % number])
        b.take(payload)
    assert queue.over
    assert tally.misses == ["payload and queue: 1 was popped, no payload"]


def test_an_outcome_that_must_not_be() -> None:
    name = "store buffering, one pipelines"
    tally = Tally(2)
    done: list[bytes] = []
    first, second = recorders(2)
    game = Rounds(name, 1, FORBIDDEN[name], [first, second], tally, done.append)
    for reads in ((None, b"1"), (None, None)):
        for client, read in zip((first, second), reads, strict=True):
            client.take(b"OK")
            client.take(read)
    assert game.over
    assert len(done) == 4
    assert tally.misses == [f"{name}: ((0,), (0,))"]
