"""The registry of subscriptions beside a naive model, and the brokers of several workers."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from shoal.proto.glob import glob_match
from shoal.proto.replies import bulk
from shoal.worker.pubsub import CHANNEL, FEED, PATTERN, SHARD, Change, Registry
from support.mesh import Caller, Mesh, keys_of

NAMES = st.sampled_from([b"a", b"ab", b"b", b"", b"a*", b"?", b"[ab]", b"*"])
KINDS = st.sampled_from([CHANNEL, PATTERN, SHARD])
SUBSCRIBERS = st.integers(0, 4)
PEERS = st.integers(1, 3)


class RegistryMachine(RuleBasedStateMachine):
    """A registry, and lists of what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.registry: Registry[int] = Registry()
        self.local: dict[tuple[int, bytes, int], Change | None] = {}
        self.remote: dict[tuple[int, bytes, int], int] = {}

    @rule(kind=KINDS, name=NAMES, who=SUBSCRIBERS, known=st.sets(PEERS), settled=st.booleans())
    def add(self, kind: int, name: bytes, who: int, known: set[int], settled: bool) -> None:
        if (kind, name, who) not in self.local:
            change = None if settled else Change(joins=True)
            if change is not None:
                change.known |= known
            self.registry.add(kind, name, who, change)
            self.local[kind, name, who] = change

    @precondition(lambda self: self.local)
    @rule(data=st.data(), known=st.sets(PEERS))
    def go_on(self, data: st.DataObject, known: set[int]) -> None:
        """Settle who joins; let who is settled begin to leave; let who leaves go."""
        one = data.draw(st.sampled_from(sorted(self.local)))
        change = self.local[one]
        if change is None:
            leaving = self.local[one] = Change(joins=False)
            leaving.known |= known
            self.registry.leave(*one, leaving)
        elif change.joins:
            self.registry.settle(*one)
            self.local[one] = None
        else:
            self.registry.remove(*one)
            del self.local[one]

    @precondition(lambda self: self.local)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(sorted(self.local)))
        self.registry.remove(*one)
        del self.local[one]

    @rule(kind=KINDS, name=NAMES, worker=PEERS, count=st.integers(0, 2))
    def hear(self, kind: int, name: bytes, worker: int, count: int) -> None:
        self.registry.hear(worker, (kind, name, count))
        self.remote.pop((kind, name, worker), None)
        if count:
            self.remote[kind, name, worker] = count

    @rule(worker=PEERS)
    def forget(self, worker: int) -> None:
        self.registry.forget(worker)
        self.remote = {one: count for one, count in self.remote.items() if one[2] != worker}

    @rule(kind=st.sampled_from([CHANNEL, SHARD]), name=NAMES, sender=st.one_of(st.none(), PEERS))
    def message(self, kind: int, name: bytes, sender: int | None) -> None:
        found: Counter[Any] = Counter()
        for pattern, topic in self.registry.matching(kind, name):
            found.update((pattern, who) for who in topic.receivers(sender))
            found.update({(pattern, "remote"): sum(topic.remote.values())})
        wanted: Counter[Any] = Counter()
        for (of, topic_name, who), change in self.local.items():
            by_pattern = kind == CHANNEL and of == PATTERN and glob_match(topic_name, name)
            if by_pattern or (of == kind and topic_name == name):
                wanted[topic_name if by_pattern else None, who] += (
                    change is None or sender is None or change.joins == (sender in change.known)
                )
        for (of, topic_name, _), count in self.remote.items():
            if of == kind and topic_name == name:
                wanted[None, "remote"] += count
            elif kind == CHANNEL and of == PATTERN and glob_match(topic_name, name):
                wanted[topic_name, "remote"] += count
        assert +found == +wanted

    @invariant()
    def figures(self) -> None:
        topics = {one[:2] for one in self.local} | {one[:2] for one in self.remote}
        staying = Counter(
            one[:2] for one, change in self.local.items() if change is None or change.joins
        )
        assert self.registry.announced_all() == [
            (*topic, staying[topic]) for topic in self._in_order(topics) if staying[topic]
        ]
        for kind in (CHANNEL, PATTERN, SHARD, FEED):
            assert set(self.registry.names(kind, None)) == {n for k, n in topics if k == kind}
        for topic in topics:
            here = sum(one[:2] == topic for one in self.local)
            there = sum(count for one, count in self.remote.items() if one[:2] == topic)
            assert self.registry.count(*topic) == here + there

    def _in_order(self, topics: set[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Return topics in the registry's order, which says nothing."""
        order = [(k, n) for k, names in enumerate(self.registry.topics) for n in names]
        assert set(order) == topics
        return order


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(deadline=None)


# -- brokers of several workers, whose frames come in any order ------------------------------------


def message(channel: str, text: str) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n" + bulk(channel.encode()) + bulk(text.encode())


def confirmed(word: str, channel: str, count: int) -> bytes:
    return b"*3\r\n" + bulk(word.encode()) + bulk(channel.encode()) + b":%d\r\n" % count


class Listener:
    """A subscriber that is asked to come and go, and checks what it is told in the meantime."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.got = b""
        self.asked: list[str] = []

    def ask(self, word: str) -> None:
        self.caller.send(f"{word} c")
        self.asked.append(word)

    def listen(self) -> None:
        self.got += self.caller.take()


@pytest.mark.parametrize("seed", range(150))
def test_counts_and_order(seed: int) -> None:
    """Each message is delivered as often as it was counted, to those subscribed, in order."""
    random = Random(seed)
    mesh = Mesh(random.choice((1, 2, 3, 4)))
    homes = range(len(mesh.nodes))
    listeners = [Listener(mesh.connect(random.choice(homes))) for _ in range(4)]
    publishers = [mesh.connect(random.choice(homes)) for _ in range(3)]
    sent: list[list[str]] = [[] for _ in publishers]
    counts: list[bytes] = [b""] * len(publishers)
    for _ in range(60):
        what = random.random()
        if what < 0.2:
            listener = random.choice(listeners)
            joins = not listener.asked or listener.asked[-1] == "UNSUBSCRIBE"
            listener.ask("SUBSCRIBE" if joins else "UNSUBSCRIBE")
        elif what < 0.4:
            number = random.randrange(len(publishers))
            text = f"{number}:{len(sent[number])}"
            sent[number].append(text)
            publishers[number].send(f"PUBLISH c {text}")
        for _ in range(random.randrange(4)):
            steps = mesh.steps()
            if steps:
                random.choice(steps)()
    mesh.settle(random)
    received: Counter[str] = Counter()
    for listener in listeners:
        listener.listen()
        received.update(replayed(listener))
    for number, publisher in enumerate(publishers):
        counts[number] = publisher.take()
        told = [int(line) for line in counts[number].replace(b":", b"").split()]
        assert told == [received[text] for text in sent[number]]


def replayed(listener: Listener) -> list[str]:
    """Return the messages; each must stand between confirmations, in its publisher's order."""
    asked = iter(listener.asked)
    subscribed = False
    texts: list[str] = []
    parts = listener.got.split(b"*3\r\n")
    assert parts.pop(0) == b""
    for part in parts:
        words = part.split(b"\r\n")
        if words[1] == b"message":
            assert subscribed, listener.got
            texts.append(words[5].decode())
            continue
        assert words[1] == next(asked).lower().encode(), listener.got
        subscribed = words[1] == b"subscribe"
    assert next(asked, None) is None
    for publisher in {text.split(":")[0] for text in texts}:
        numbers = [int(t.split(":")[1]) for t in texts if t.split(":")[0] == publisher]
        assert numbers == sorted(numbers)
    return texts


@pytest.mark.parametrize("seed", range(50))
def test_after_the_confirmation_nothing_is_missed(seed: int) -> None:
    random = Random(seed)
    mesh = Mesh(random.choice((2, 3, 4)))
    homes = range(len(mesh.nodes))
    listener, publisher = mesh.connect(random.choice(homes)), mesh.connect(random.choice(homes))
    got = b""
    for number in range(10):
        listener.send("SUBSCRIBE c")
        while not got.endswith(confirmed("subscribe", "c", 1)):
            random.choice(mesh.steps())()
            got += listener.take()
        publisher.send(f"PUBLISH c {number}")
        mesh.settle(random)
        assert publisher.take() == b":1\r\n"
        assert listener.take() == message("c", str(number))
        listener.send("UNSUBSCRIBE c")
        got = b""
        while not got.endswith(confirmed("unsubscribe", "c", 0)):
            random.choice(mesh.steps())()
            got += listener.take()
        publisher.send("PUBLISH c late")
        mesh.settle(random)
        assert publisher.take() == b":0\r\n"
        assert listener.take() == b""


def test_who_has_gone_is_not_counted() -> None:
    mesh = Mesh(3)
    gone, stays, publisher = mesh.connect(1), mesh.connect(1), mesh.connect(0)
    for listener in (gone, stays):
        listener.send("SUBSCRIBE c d", "PSUBSCRIBE x")
        mesh.settle()
    gone.send("UNSUBSCRIBE d")
    gone.conn.close("gone in the middle of a change")
    mesh.settle()
    publisher.send("PUBLISH c x", "PUBLISH d x", "PUBLISH x x", "PUBSUB NUMSUB c d")
    mesh.settle()
    ones = b":1\r\n:1\r\n:1\r\n"
    assert publisher.take() == ones + b"*4\r\n$1\r\nc\r\n:1\r\n$1\r\nd\r\n:1\r\n"
    stays.conn.close("gone too")
    mesh.settle()
    for node in mesh.nodes:
        assert node.dispatcher.broker.registry.topics == ({}, {}, {}, {})
        assert node.server.subscribers == 0
    assert gone.client.pubsub is None


def test_a_worker_that_dies_takes_its_subscribers_along() -> None:
    mesh = Mesh(3)
    listener, publisher, late = mesh.connect(1), mesh.connect(0), mesh.connect(2)
    listener.send("SUBSCRIBE c")
    mesh.settle()
    late.send("SUBSCRIBE d")  # which waits for worker 1 too
    for node in (mesh.nodes[0], mesh.nodes[2]):
        peer = node.peer(1)
        peer.up = peer.open = False
        node.dispatcher.broker.peer_gone(peer)
    while not late.sock.got:
        for node in (mesh.nodes[0], mesh.nodes[2]):
            mesh.turn(node)
        mesh.carry(mesh.nodes[0], mesh.nodes[2])
        mesh.carry(mesh.nodes[2], mesh.nodes[0])
    assert late.take() == confirmed("subscribe", "d", 1)
    publisher.send("PUBLISH c x", "PUBLISH d x")
    mesh.turn(mesh.nodes[0])
    assert publisher.take() == b":0\r\n:1\r\n"


def test_a_new_worker_publishes_when_it_knows_the_subscriptions() -> None:
    mesh = Mesh(3)
    listener, publisher = mesh.connect(1), mesh.connect(0)
    fresh = mesh.nodes[0].dispatcher.broker
    for node in mesh.nodes[1:]:  # as if worker 0 were not there yet
        node.peer(0).up = False
    listener.send("SUBSCRIBE c")
    mesh.settle()
    assert listener.take() == confirmed("subscribe", "c", 1)
    fresh.await_sync()
    publisher.send("PUBLISH c x")
    fresh.send_event(b"c", b"event")
    mesh.settle()
    assert publisher.take() == b""
    for node in mesh.nodes[1:]:
        node.peer(0).up = True
        node.dispatcher.broker.peer_up(node.peer(0))
    mesh.settle()
    assert publisher.take() == b":1\r\n"
    assert listener.take() == message("c", "event") + message("c", "x")


def test_a_new_worker_waits_for_nobody_that_is_gone() -> None:
    mesh = Mesh(2)
    publisher = mesh.connect(0)
    broker = mesh.nodes[0].dispatcher.broker
    broker.await_sync()
    publisher.send("PUBLISH c x")
    mesh.settle()
    assert publisher.take() == b""
    broker.peer_gone(mesh.nodes[0].peer(1))
    mesh.settle()
    assert publisher.take() == b":0\r\n"


def test_a_push_for_one_client() -> None:
    mesh = Mesh(2)
    old, new = mesh.connect(1), mesh.connect(1)
    new.send("HELLO 3")
    mesh.settle()
    new.take()
    broker = mesh.nodes[0].dispatcher.broker
    for caller in (old, new):
        broker.push_to(1, caller.client.id, None, b">1\r\n+x\r\n")
    broker.push_to(1, 999, b"*1\r\n+x\r\n", b">1\r\n+x\r\n")
    broker.push_to(1, old.client.id, b"*1\r\n+y\r\n", b">1\r\n+y\r\n")
    mesh.settle()
    assert old.take() == b"*1\r\n+y\r\n"
    assert new.take() == b">1\r\n+x\r\n"


def test_a_message_overtakes_what_a_peer_owes_but_no_other_message() -> None:
    mesh = Mesh(2)
    listener, publisher = mesh.connect(0), mesh.connect(0)
    listener.send("HELLO 3", "SUBSCRIBE c")
    mesh.settle()
    listener.take()
    far = keys_of(1, 2, 1)[0]
    listener.send(f"GET {far}", "PING", f"GET {far}", f"BLPOP {far} 0")
    for text in ("1", "2"):
        publisher.send(f"PUBLISH c {text}")
        mesh.nodes[0].dispatcher.end_blocking()
    pushes = message("c", "1").replace(b"*", b">") + message("c", "2").replace(b"*", b">")
    mesh.settle()
    assert listener.take() == pushes  # the loop sends what stands before BLPOP's reply a bit later
    publisher.send("PUBLISH c 3")
    mesh.settle()
    replies = b"_\r\n+PONG\r\n_\r\n"
    assert listener.take() == replies + message("c", "3").replace(
        b"*", b">"
    )  # though it is blocked
    publisher.send(f"RPUSH {far} v")
    mesh.settle()
    assert listener.take() == b"*2\r\n" + bulk(far.encode()) + bulk(b"v")


def test_a_slow_subscriber_is_cut_and_slows_nobody() -> None:
    mesh = Mesh(2)
    slow, quick, publisher = mesh.connect(1), mesh.connect(1), mesh.connect(0)
    for listener in (slow, quick):
        listener.send("SUBSCRIBE c")
    mesh.settle()
    slow.sock.full = True
    text = "x" * 1_000_000
    counts = []
    for _ in range(40):
        publisher.send(f"PUBLISH c {text}")
        mesh.settle()
        counts.append(publisher.take())
        assert quick.take().endswith(message("c", text))
    assert slow.conn.closed
    assert counts[30] == b":2\r\n"
    assert counts[-1] == b":1\r\n"
    assert mesh.nodes[1].server.stats.output_limit_disconnections == 1


def test_monitor_costs_nothing_when_nobody_looks() -> None:
    mesh = Mesh(2)
    plain, monitor = mesh.connect(0), mesh.connect(1)
    usual = plain.conn.hot
    monitor.send("MONITOR")
    mesh.settle()
    assert plain.conn.hot != usual
    monitor.send("RESET")
    mesh.settle()
    assert plain.conn.hot == usual
