"""The workers of `support/logged_mesh.py` with everything that may go wrong at any moment.

- Any worker dies, between two turns or in the middle of what a turn sends; its clients are gone
  with it. What had been sent arrives, then the end of the pipe, of which the survivors hear in
  their own time. A successor loads the log, takes its locks back, and serves.
- A pipe between two workers takes nothing for a while, and what is sent stays with the sender.
- A client's socket takes nothing for a while. A client vanishes, or closes its half.
- Time passes: commands that block or wait for a worker come to their end, and so does a pause.

What `worker/main.py` does about peers that come and go, and `worker/loop.py` about full pipes, is
done here in the same order.
"""

from __future__ import annotations

import marshal
from random import Random
from typing import Any, Final

from shoal.proto import messages as m
from shoal.worker.connection import Block
from support.logged_mesh import LoggedMesh
from support.mesh import NOW_MS, Caller, MemoryPeer, Node, coordinated

# A full pipe to a peer makes its clients wait from here on.
OUTBOX_BYTES: Final = 300

_GONE, _UP = "gone", "up"  # what the supervisor tells of a peer


class FaultyMesh(LoggedMesh):
    """All the workers, and what befalls them.

    Attributes:
        random: decides.
        dead: workers that have no process.
        deaths: how many there were.
    """

    def __init__(self, workers: int, random: Random) -> None:
        self.random = random
        self.dead: set[int] = set()
        self.serving: set[int] = set(range(workers))
        self.lives = [0] * workers
        # What a dead worker had sent to another that has not heard of its death.
        self.remains: dict[tuple[int, int], list[bytes]] = {}
        self.deaths = 0
        self.now_ms = 0
        super().__init__(workers)

    # -- what a turn sends ---------------------------------------------------------------------

    def turn(self, node: Node) -> None:
        self._turn(node, None)

    def _turn(self, node: Node, frames: int | None) -> None:
        """Take a turn, of which so many frames leave; then the worker dies. None for all."""
        left = frames
        node.dispatcher.run_resumable()
        node.dispatcher.end_blocking()
        self.write_log(node)
        for peer in node.peers:
            if peer is not None and peer.has_news() and peer.up:
                if left == 0:
                    return
                left = None if left is None else left - 1
                peer.send_turn(0, 0)
                peer.open = peer.up and peer.outbox_bytes <= OUTBOX_BYTES
        if left == 0:
            return
        messages, node.uplink.messages = node.uplink.messages, []
        for kind, *rest in messages:
            self.send(coordinated(self.coordinator, node.index, kind, rest))
        if frames is not None:
            return
        flushable, node.dispatcher.flushable = node.dispatcher.flushable, []
        for conn in flushable:
            conn.flush(head=conn.blocked is Block.KEYS)

    # -- what arrives --------------------------------------------------------------------------

    def carry(self, source: Node, target: Node) -> bool:
        assert self._are_linked(source, target)
        return super().carry(source, target)

    def _are_linked(self, a: Node, b: Node) -> bool:
        """Tell whether the pipes of the two lead to each other."""
        return (
            a.generations.get(b.index, 0) == self.lives[b.index]
            and b.generations.get(a.index, 0) == self.lives[a.index]
        )

    def is_alive(self, node: Node) -> bool:
        return node.index not in self.dead

    def can_carry(self, source: Node, target: Node) -> bool:
        peer = source.peer(target.index)
        return (
            bool(peer.wire)
            and not peer.full
            and target.index in self.serving
            and self._are_linked(source, target)
        )

    def hear(self, node: Node) -> bool:
        message: Any = node.down[0]
        if message[0] in (_GONE, _UP):
            node.down.popleft()
            peer = node.peer(message[1])
            if message[0] == _GONE:
                self._forget(node, peer)
            else:
                self._meet(node, peer, message[2])
            return True
        if message[0] == m.SERVE and node.index not in self.serving:
            self.serving.add(node.index)
            for other in self.nodes:
                if other is not node and other.index in self.serving:
                    other.down.append((_UP, node.index, self.lives[node.index]))
                    self._meet(node, node.peer(other.index), self.lives[other.index])
        return super().hear(node)

    def _forget(self, node: Node, peer: MemoryPeer) -> None:
        """As `Worker._forget_process`."""
        peer.up = peer.open = False
        node.dispatcher.broker.peer_gone(peer)
        dead = self.remains.pop((peer.worker, node.index), None)
        for frame in dead or ():
            _, _, _, replies, late, _ = marshal.loads(frame)
            node.dispatcher.take_replies(peer, replies, late)
        peer.wire.clear()
        peer.full, peer.outbox_bytes = False, 0
        node.dispatcher.peer_lost(peer, peer.reset())
        node.dispatcher.peer_drained(peer)

    def _meet(self, node: Node, peer: MemoryPeer, life: int) -> None:
        """As `Worker._set_up`, with the pipes."""
        if life != self.lives[peer.worker] or peer.worker in self.dead:
            return  # it has died again
        node.generations[peer.worker] = life
        node.dispatcher.forget_entered(peer.worker)
        peer.up = peer.open = True
        node.dispatcher.broker.peer_up(peer)
        node.dispatcher.peer_up(peer)

    # -- deaths --------------------------------------------------------------------------------

    def kill(self, index: int) -> None:
        """End a worker, perhaps in the middle of what its turn sends."""
        node = self.nodes[index]
        self.deaths += 1
        if index in self.serving and self.random.random() < 0.7:
            self._turn(node, self.random.randrange(len(self.nodes) + 1))
        self.disks[index].kill()
        self.coordinator.on_worker_lost(index)
        for other in self.nodes:
            if other is node:
                continue
            if self._are_linked(node, other):
                self.remains[index, other.index] = list(node.peer(other.index).wire)
            if other.generations.get(index, 0) == self.lives[index]:
                other.down.append((_GONE, index))
        self.lives[index] += 1
        self.dead.add(index)
        self.serving.discard(index)
        self.nodes[index] = Node(index, len(self.nodes), node.client_ids)
        self.nodes[index].generations.update(dict.fromkeys(range(len(self.nodes)), -1))
        self.nodes[index].generations[index] = self.lives[index]
        for peer in self.nodes[index].peers:
            if peer is not None:
                peer.up = peer.open = False

    def revive(self, index: int) -> None:
        """Let a successor begin; it serves when it has heard SERVE."""
        node = self.nodes[index]
        node.dispatcher.now_ms = self.now_ms
        logged = self.load(node)
        node.store.now_ms = NOW_MS + self.now_ms
        self.dead.discard(index)
        self.send(self.coordinator.on_worker_ready(index, logged))

    def move(self, count: int) -> None:
        """Let so many things happen that can."""
        for _ in range(count):
            steps = self.steps()
            if not steps:
                return
            self.random.choice(steps)()

    def tick(self, ms: int) -> None:
        """Let time pass. As `Loop._tick`."""
        self.now_ms += ms
        for node in self.nodes:
            if node.index not in self.serving:
                continue
            dispatcher = node.dispatcher
            dispatcher.now_ms = self.now_ms
            node.store.now_ms = NOW_MS + self.now_ms
            pause = node.server.pause
            if pause.until_ms and pause.until_ms <= node.store.now_ms:
                node.server.set_pause(0, False)
            for peer in node.peers:
                if peer is not None and peer.parked:
                    dispatcher.expire_parked(peer)
            self.turn(node)

    def fill_pipe(self, node: Node, index: int) -> None:
        """Let a pipe take nothing."""
        node.peer(index).full = True

    def empty_pipes(self) -> None:
        """Let all pipes take something again. As `Loop._room`."""
        for node in self.nodes:
            for peer in node.peers:
                if peer is not None and peer.full:
                    peer.full, peer.outbox_bytes = False, 0
                    peer.open = peer.up
                    node.dispatcher.peer_drained(peer)

    def lives_on(self, caller: Caller) -> bool:
        """Tell whether a client's home is the process that it was connected to, and serves."""
        return self.nodes[caller.node.index] is caller.node and not caller.conn.closed

    def come_to_rest(self) -> None:
        """End every fault, and do all that there is to do, time included."""
        for index in list(self.dead):
            self.revive(index)
        for _ in range(40):
            self.empty_pipes()
            self.settle(self.random)
            self.tick(1000)
        self.settle(self.random)
