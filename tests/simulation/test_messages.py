"""Messages and the order between partitions: who hears of something finds what came before it.

As in test_order.py the loops are the real ones, preempted at every system call. Three ways to hear:
a message that its publisher sent behind a write, in one pipeline; an event of a write that came
behind another write; and a message that was published after the reply to a write was heard, which
must come behind that write's event.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import pytest
from shoal.worker.loop import Loop
from support import turns
from support.seeds import blocks, repeat
from support.turns import RepliesFirst, Script, World, key_of

ROUNDS: Final = 10
LOOKS: Final = 400
MUTANT_SEEDS: Final = range(600)


class MissedError(AssertionError):
    """A message was heard, and something that came before it was not found."""


def heard(replies: list[Any]) -> list[tuple[bytes, bytes]]:
    """Return channel and text of the messages among replies."""
    return [(r[1], r[2]) for r in replies if isinstance(r, list) and r[0] == b"message"]


def publisher(payload: bytes, ready: list[int]) -> Script:
    """Write a payload and publish its number, in one pipeline, when the listener is there."""
    while not ready:
        yield 0, [[b"PING"]]
    for number in range(1, ROUNDS + 1):
        text = b"%d" % number
        replies = yield 0, [[b"SET", payload, text], [b"PUBLISH", b"news", text]]
        assert replies == [b"OK", 1]


def listener(payload: bytes, ready: list[int], channel: bytes) -> Script:
    """Hear a number on the channel, and look for the payload over another connection."""
    replies = yield 0, [[b"SUBSCRIBE", channel]]
    assert replies == [[b"subscribe", channel, 1]]
    ready.append(1)
    told = 0
    for _ in range(LOOKS):
        replies = yield 0, [[b"PING"]]
        for _, text in heard(replies):
            told += 1
            if text.isdigit() and int(text) != told:
                raise AssertionError(f"{text!r} is not message number {told}")
            (found,) = yield 1, [[b"GET", payload]]
            if int(found or 0) < told:
                raise MissedError(f"{payload!r} is {found!r}, and message {told} was heard")
        if told == ROUNDS:
            return


def writer(payload: bytes, entry: bytes, ready: list[int]) -> Script:
    """Write a payload and an entry, whose event the listener hears, in one pipeline."""
    while not ready:
        yield 0, [[b"PING"]]
    for number in range(1, ROUNDS + 1):
        yield 0, [[b"SET", payload, b"%d" % number], [b"SET", entry, b"x"]]


def teller(key: bytes, ready: list[int]) -> Script:
    """Write, and when that is answered publish it over another connection."""
    while len(ready) < 2:
        yield 0, [[b"PING"]]
    for number in range(1, ROUNDS + 1):
        yield 0, [[b"SET", key, b"x"]]
        yield 1, [[b"PUBLISH", b"told", b"%d" % number]]


def counter(key: bytes, ready: list[int]) -> Script:
    """Hear of writes by their events, and that they are done; no event may be missing then."""
    for channel in (b"__keyspace@0__:" + key, b"told"):
        yield 0, [[b"SUBSCRIBE", channel]]
        ready.append(1)
    events = 0
    for _ in range(LOOKS):
        replies = yield 0, [[b"PING"]]
        for channel, text in heard(replies):
            if channel != b"told":
                events += 1
            elif events < int(text):
                raise MissedError(f"{events} events, and write {text!r} was told of")
            elif events == ROUNDS:
                return


def noise(keys: list[bytes], random: Random) -> Script:
    """Keep the pipes busy."""
    while True:
        yield 0, [[b"GET", random.choice(keys)]]


def litmus(seed: int) -> None:
    """Run a seed. Raises: MissedError."""
    random = Random(seed)
    workers = random.choice((2, 3, 3, 4))
    world = World(seed, workers)
    for loop in world._loops:
        loop._dispatcher.set_events(b"K$")
    keys = [key_of(random.randrange(workers), workers, f"{n}:") for n in range(5)]
    homes = random.choices(range(workers), k=8)
    ready: list[list[int]] = [[], [], []]
    if random.random() < 0.7:
        world.connect(publisher(keys[0], ready[0]), homes[0])
        world.connect(listener(keys[0], ready[0], b"news"), homes[1], homes[2])
    if random.random() < 0.7:
        world.connect(writer(keys[1], keys[2], ready[1]), homes[3])
        channel = b"__keyspace@0__:" + keys[2]
        world.connect(listener(keys[1], ready[1], channel), homes[4], homes[5])
    world.connect(teller(keys[3], ready[2]), homes[6], random.randrange(workers))
    world.connect(counter(keys[3], ready[2]), homes[7])
    world.connect(noise(keys, random), random.randrange(workers), endless=True)
    world.run()


@pytest.mark.parametrize("seeds", blocks("0-199"), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_who_hears_finds_what_came_before(seeds: range) -> None:
    for seed in seeds:
        with repeat(seed):
            litmus(seed)


class RepliesToHopsFirst(Loop):
    """Replies to hops go out with what was told of their effects, not behind it."""

    def _send_requests(self, senders: object, stamp_ns: int, seq: int) -> None:
        for peer in self._others:
            if peer.up and peer.has_news():
                peer.send_turn(stamp_ns, seq)
        self._announce_sent()


@pytest.mark.parametrize("broken", [RepliesToHopsFirst, RepliesFirst])
def test_without_the_rule_something_is_missed(
    broken: type[Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "Loop", broken)
    assert any(misses(seed) for seed in MUTANT_SEEDS)


def misses(seed: int) -> bool:
    try:
        litmus(seed)
    except MissedError:
        return True
    return False
