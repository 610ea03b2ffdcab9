"""The commands, a module for each data type or COMMAND group."""

from __future__ import annotations

import importlib
from typing import Final

FAMILIES: Final = (
    "strings",
    "bitmaps",
    "hyperloglog",
    "lists",
    "sets",
    "hashes",
    "sorted_sets",
    "streams",
    "consumer_groups",
    "keys",
    "dump",
    "sort",
    "geo",
    "waiting",
    "migrate",
    "transactions",
    "scripting",
    "pubsub",
    "connection",
    "client",
    "server",
    "memory",
    "command",
)
"""The modules of this folder, in the order in which COMMAND lists what they declare."""


def load_all() -> None:
    """Import every family, which fills `shoal.worker.registry.COMMANDS`."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
