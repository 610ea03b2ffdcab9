"""Workers in the process of the test: the Server of each, without a loop, and clients of it."""

from random import Random

from shoal.proto.directives import Config
from shoal.proto.slots import SLOTS
from shoal.worker.client import Client
from shoal.worker.keyspace import Store
from shoal.worker.server import Facts, Server
from support.keyspace import NOW_MS


def make_server(index: int = 0, workers: int = 1) -> Server:
    """Return worker `index` of so many, empty, started 100 seconds ago."""
    slots = range(SLOTS * index // workers, SLOTS * (index + 1) // workers)
    store = Store(slots, 16, Random(index))
    store.now_ms = NOW_MS
    facts = Facts(
        run_id="0123456789" * 4,
        supervisor_pid=4711,
        start_ms=NOW_MS - 100_000,
        config_file="",
        executable="/usr/bin/shoal",
        version="0.1.0",
        port=6379,
        listeners=["127.0.0.1:6379", "[::1]:6379", "unix:/run/shoal.sock"],
    )
    return Server(index, workers, Config(), store, facts, 5000 + index)


def make_client(server: Server, addr: bytes = b"127.0.0.1:50000", resp: int = 2) -> Client:
    """Return a client of this worker, without a connection."""
    client = Client(server, len(server.clients) + 1, addr, b"127.0.0.1:6379", 7)
    client.resp = resp
    server.clients[client.id] = client
    return client
