"""The sizes up to which collections are compact, as the configuration names them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final


@dataclass(slots=True)
class Limits:
    """Thresholds of OBJECT ENCODING, and of what a stream keeps together; defaults of Redis 8.2.

    Attributes: as the directives of redis.conf, which says what they mean.
    """

    list_max_listpack_size: int = -2
    hash_max_listpack_entries: int = 512
    hash_max_listpack_value: int = 64
    set_max_intset_entries: int = 512
    set_max_listpack_entries: int = 128
    set_max_listpack_value: int = 64
    zset_max_listpack_entries: int = 128
    zset_max_listpack_value: int = 64
    stream_node_max_bytes: int = 4096
    stream_node_max_entries: int = 100
    hll_sparse_max_bytes: int = 3000

    def take(self, config: Any) -> None:
        """Take over the directives of these names."""
        for name in _NAMES:
            setattr(self, name, getattr(config, name))


_NAMES: Final = tuple(field.name for field in fields(Limits))

# One for the process, as the values of a worker all follow one configuration.
LIMITS: Final = Limits()
