"""The cells about what concerns more than one key or client: many keys, transactions, scripts,
messages, handed-over elements. `loadtests/driver.py` sends them, and figures are per request.

Keys and values are those of the other cells: `key:` and twelve digits, 64 bytes, all present.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass

from shoal.proto.slots import SLOTS, key_slot

from loadtests.driver import Client, Driven, Request, drive, hand_over, pack
from loadtests.servers import Server
from loadtests.type_cells import KEYS, VALUE

CLIENTS = 50
SUBSCRIBERS = 100
PUBLISHERS = 10
_REQUESTS = 2000  # different ones of a cell
_SEED = 1

Words = tuple[str, ...]
Run = Callable[[int], Driven]
"""Has so many requests answered."""
Prepared = Callable[[Server], AbstractContextManager[Run]]
"""Connects to a server, and gives what runs requests there."""
Make = Callable[[random.Random], list[Words]]
"""Makes the commands of one request."""


@dataclass(frozen=True)
class SpanningCell:
    """A kind of request.

    Attributes:
        what: a request is, for the report.
        prepared: runs it.
    """

    what: str
    prepared: Prepared


def _key(rng: random.Random) -> str:
    return f"key:{rng.randrange(KEYS):012d}"


def _many(command: str, *, values: bool) -> Make:
    """Return what makes a command of ten random keys."""

    def commands(rng: random.Random) -> list[Words]:
        keys = [_key(rng) for _ in range(10)]
        return [(command, *[word for key in keys for word in ((key, VALUE) if values else (key,))])]

    return commands


def _sets(rng: random.Random, tags: Sequence[str]) -> list[Words]:
    return [("SET", f"{{{tag}}}:{number}", VALUE) for number, tag in enumerate(tags)]


def _tags(partition: range) -> list[str]:
    """Return tags whose slots lie in a range."""
    return [tag for n in range(20_000) if key_slot((tag := f"t{n}").encode()) in partition]


# In the first and in the last partition, with two workers and with four.
_FIRST, _LAST = _tags(range(SLOTS // 4)), _tags(range(3 * SLOTS // 4, SLOTS))


def _transaction(rng: random.Random) -> list[Words]:
    tag = f"t{rng.randrange(KEYS)}"
    return [("MULTI",), *_sets(rng, [tag] * 3), ("EXEC",)]


def _without_multi(rng: random.Random) -> list[Words]:
    """Make the same commands, PING in place of MULTI and EXEC: so much is sent and answered."""
    return [("PING",), *_transaction(rng)[1:-1], ("PING",)]


def _over_two(rng: random.Random) -> list[Words]:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    return [("MULTI",), *_sets(rng, [first, last, first]), ("EXEC",)]


def _script(text: str, key: str) -> Make:
    return lambda rng: [("EVAL", text, "1", f"{key}:{rng.randrange(KEYS):012d}")]


def _of(make: Make) -> Prepared:
    """Let all clients send random requests of a kind."""

    @contextmanager
    def prepared(server: Server) -> Iterator[Run]:
        rng = random.Random(_SEED)
        requests = [pack(*make(rng)) for _ in range(_REQUESTS)]
        with ExitStack() as stack:
            # The answers are of one length, and a client says so when one is not.
            known = _connected(stack, server).with_length(requests[0]).answer_bytes
            requests = [Request(r.data, r.replies, known) for r in requests]
            share = _REQUESTS // CLIENTS
            clients = [
                _connected(stack, server, requests[n * share :] + requests[: n * share])
                for n in range(CLIENTS)
            ]
            yield lambda count: drive(clients, count)

    return prepared


def _connected(stack: ExitStack, server: Server, requests: Sequence[Request] = ()) -> Client:
    client = Client(server.port, requests)
    stack.enter_context(closing(client.socket))
    return client


@contextmanager
def _publishing(server: Server) -> Iterator[Run]:
    """Let clients of one worker publish to clients of the others, where there are others."""
    with ExitStack() as stack:
        control = _connected(stack, server)
        publishers: list[Client] = []
        subscribers: list[Client] = []
        here: bytes | None = None
        while len(subscribers) < SUBSCRIBERS or len(publishers) < PUBLISHERS:
            before = _clients_of_workers(control)
            client = _connected(stack, server)
            client.call(pack(("PING",)))
            after = _clients_of_workers(control)
            worker = max(after, key=lambda n: after[n] - before[n])
            here = worker if here is None else here
            if len(publishers) < PUBLISHERS and worker == here:
                publishers.append(client)
            elif len(subscribers) < SUBSCRIBERS and (len(after) == 1 or worker != here):
                client.call(pack(("SUBSCRIBE", "channel")))
                subscribers.append(client)
        publish = publishers[0].with_length(pack(("PUBLISH", "channel", VALUE)))
        heard_bytes = sum(subscriber.receive(1)[1] for subscriber in subscribers)
        for publisher in publishers:
            publisher.repeat([publish])
        yield lambda count: drive(publishers, count, subscribers, heard_bytes)


_WORKER = re.compile(rb"worker(\d+):pid=\d+,clients=(\d+)")


def _clients_of_workers(control: Client) -> dict[bytes, int]:
    """Return how many clients each worker has; one entry where there are no workers."""
    (info,) = control.call(pack(("INFO", "everything")))
    assert isinstance(info, bytes)
    return {n: int(count) for n, count in _WORKER.findall(info)} or {b"": 0}


@contextmanager
def _handing_over(server: Server) -> Iterator[Run]:
    """Let clients push to a queue each, on which another waits."""
    with ExitStack() as stack:
        pairs: list[tuple[Client, Client]] = []
        control = _connected(stack, server)
        for number in range(CLIENTS // 2):
            queue = f"queue:{number:012d}"
            push = control.with_length(pack(("RPUSH", queue, VALUE)))
            pop = control.with_length(pack(("BLPOP", queue, "0")))
            pairs.append((_connected(stack, server, [push]), _connected(stack, server, [pop])))
        yield lambda count: hand_over(pairs, count)


_LOOP = "for i = 1, 1000 do redis.call('INCR', KEYS[1]) end return 1"

SPANNING_CELLS = {
    "MGET 10": SpanningCell("MGET of ten random keys", _of(_many("MGET", values=False))),
    "MSET 10": SpanningCell("MSET of ten random keys", _of(_many("MSET", values=True))),
    "MULTI 3": SpanningCell("MULTI, three SET of one hash tag, EXEC", _of(_transaction)),
    "MULTI 3 alone": SpanningCell("the same with PING for MULTI and EXEC", _of(_without_multi)),
    "MULTI 3 over two": SpanningCell("MULTI, three SET in two partitions, EXEC", _of(_over_two)),
    "EVAL GET": SpanningCell(
        "a script of one GET", _of(_script("return redis.call('GET', KEYS[1])", "key"))
    ),
    "EVAL loop": SpanningCell("a script of 1,000 INCR", _of(_script(_LOOP, "counter"))),
    "PUBLISH 100": SpanningCell(
        "PUBLISH to 100 subscribers, at other workers if there are any", _publishing
    ),
    "BLPOP": SpanningCell("BLPOP that waits, and the RPUSH that serves it", _handing_over),
}
"""By the name of the cell, in the order in which they are measured and shown."""
