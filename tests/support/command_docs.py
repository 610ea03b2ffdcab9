"""What redis-server says of its commands, as Python values."""

from typing import Any

from support.raw import bulk_text, split_reply
from support.servers import Oracle, Server

Docs = dict[str, Any]
"""A command, subcommand or argument, as COMMAND DOCS describes it."""


def decoded(reply: bytes) -> Any:
    """Return a RESP3 reply as str, int, None, list (arrays and sets) and dict (maps)."""
    header, items = split_reply(reply)
    kind = header[:1]
    if kind in (b"*", b"~", b">"):
        return [decoded(item) for item in items]
    if kind == b"%":
        values = [decoded(item) for item in items]
        return dict(zip(values[::2], values[1::2], strict=True))
    if kind == b"_":
        return None
    if kind == b":":
        return int(header[1:-2])
    if kind == b"+":
        return header[1:-2].decode()
    return bulk_text(reply).decode()


def documented(server: Server | None = None) -> dict[str, Docs]:
    """Return COMMAND DOCS of all commands and subcommands; of an oracle of its own by default."""
    if server is None:
        with Oracle() as oracle:
            return documented(oracle)
    with server.client() as client:
        client.call(b"HELLO", b"3")
        docs: dict[str, Docs] = decoded(client.call(b"COMMAND", b"DOCS"))
    for entry in list(docs.values()):
        docs.update(entry.get("subcommands", {}))
    return docs
