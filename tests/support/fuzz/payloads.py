"""Serialized values for RESTORE, made by a real Redis."""

from __future__ import annotations

from support.raw import bulk_text, split_line
from support.servers import Server

# Of each type and encoding one; none whose order is a hash table's, which is another in each run.
_VALUES = (
    "SET k 12",
    "SET k 100000",
    "SET k hello",
    f"SET k {'x' * 200}",
    "RPUSH k a b 1 2 c",
    f"RPUSH k a {'y' * 9000} b",
    "SADD k 1 2 3",
    "SADD k 70000 5000000000",
    "SADD k a b c",
    "HSET k f v g 1",
    f"HSET k f {'z' * 100}",
    "ZADD k 1 a 2.5 b inf c",
    f"ZADD k 3 {'w' * 100}",
    "XADD k 5-1 f v g w",
    "PFADD k a b c d",
    "SETBIT k 77 1",
)


def payloads(oracle: Server) -> list[bytes]:
    """Return what DUMP gives for a value of each kind; the server is empty afterwards."""
    found = []
    with oracle.client() as client:
        for line in _VALUES:
            client.call(b"FLUSHALL")
            client.call(*split_line(line))
            found.append(bulk_text(client.call(b"DUMP", b"k")))
        client.call(b"FLUSHALL")
    return found
