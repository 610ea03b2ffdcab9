"""What scripts have turned out to need, so that the next run asks for it at once (no I/O).

A home remembers, for a script and the keys that it declares, which others it needed. If that was
the same twice, the third call begins with them. What is asked for too much only costs, and what is
missing is found out as ever: so a wrong guess never changes a result. A call whose guess was wrong
has to be the same twice again, and so has each after LEARNED_USES, as it may need less by now.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from shoal.proto.limits import LEARNED_USES, MAX_LEARNED_CALLS

Call = tuple[bytes, int, tuple[bytes, ...]]
"""A script or function, the client's database, the declared keys."""

Keys = tuple[tuple[int, bytes], ...]


class _Needed(NamedTuple):
    keys: Keys
    is_sure: bool
    uses: int


class Learned:
    """What calls have needed, the least recently used first."""

    def __init__(self) -> None:
        """Know nothing."""
        self._calls: OrderedDict[Call, _Needed] = OrderedDict()

    def __len__(self) -> int:
        """Return how many calls are remembered."""
        return len(self._calls)

    def keys_of(self, call: Call) -> Keys:
        """Return what a call is likely to need, nothing if that is not known."""
        needed = self._calls.get(call)
        if needed is None or not needed.is_sure:
            return ()
        if needed.uses == LEARNED_USES:
            del self._calls[call]
            return ()
        self._calls[call] = needed._replace(uses=needed.uses + 1)
        self._calls.move_to_end(call)
        return needed.keys

    def found(self, call: Call, keys: Sequence[tuple[int, bytes]]) -> None:
        """A call has turned out to need these keys, which it had not been given."""
        found = tuple(sorted(keys))
        known = self._calls.pop(call, None)
        is_sure = known is not None and known.keys == found and not known.is_sure
        self._calls[call] = _Needed(found, is_sure, 0)
        if len(self._calls) > MAX_LEARNED_CALLS:
            self._calls.popitem(last=False)
