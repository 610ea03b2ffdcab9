"""What a worker does from time to time, and how often."""

from types import SimpleNamespace
from typing import Any, cast

from shoal.proto.limits import EXPIRE_BUDGET_US, EXPIRE_REST_MS
from shoal.worker.main import CLIENTS_EVERY_MS, FIGURES_EVERY_MS, Worker


class Rhythm:
    """A worker's cron, called at given times; what it does is counted.

    Attributes:
        behind: the expire cycle has more to do than one slice.
    """

    def __init__(self) -> None:
        self.behind = False
        self.slices: list[int] = []
        self.looks: list[int] = []
        self.samples: list[int] = []
        self.figures: list[int] = []
        self.now_ms = 0
        worker = self.worker = Worker.__new__(Worker)
        worker._next_expire_ms = worker._next_clients_ms = worker._next_figures_ms = 0
        worker._expire = cast(Any, SimpleNamespace(run=self._slice))
        worker._loop = cast(Any, SimpleNamespace(close_idle=lambda: self.looks.append(self.now_ms)))
        sampler = SimpleNamespace(sample=lambda _, now_ms: self.samples.append(now_ms))
        worker._server = cast(Any, SimpleNamespace(sampler=sampler))
        tracking = SimpleNamespace(limit_table=lambda: None)
        worker._dispatcher = cast(Any, SimpleNamespace(tracking=tracking))
        worker._uplink = cast(Any, SimpleNamespace(messages=[]))
        worker._figures = lambda now_ms: {"at_ms": now_ms}  # type: ignore[method-assign]

    def _slice(self, budget_us: int) -> bool:
        assert budget_us == EXPIRE_BUDGET_US
        self.slices.append(self.now_ms)
        return self.behind

    def cron(self, now_ms: int) -> bool:
        self.now_ms = now_ms
        return self.worker._cron(now_ms)

    def follow(self, until_ms: int) -> None:
        """Call it as the loop does: at each 100 ms, or after a rest when it wants to go on."""
        now_ms = 0
        while now_ms < until_ms:
            now_ms += EXPIRE_REST_MS if self.cron(now_ms) else 100


def test_a_quarter_of_the_time_goes_to_keys_while_there_are_more() -> None:
    for behind, slices in (True, 1000 // EXPIRE_REST_MS), (False, 10):
        rhythm = Rhythm()
        rhythm.behind = behind
        rhythm.follow(1000)
        assert len(rhythm.slices) == slices


def test_a_call_in_the_rest_does_not_end_it() -> None:
    rhythm = Rhythm()
    rhythm.behind = True
    assert rhythm.cron(1000)
    assert rhythm.cron(1000 + EXPIRE_REST_MS - 1)
    assert rhythm.slices == [1000]
    assert rhythm.cron(1000 + EXPIRE_REST_MS)
    rhythm.behind = False
    assert not rhythm.cron(1000 + 2 * EXPIRE_REST_MS)
    assert len(rhythm.slices) == 3


def test_clients_and_figures_keep_their_pace() -> None:
    rhythm = Rhythm()
    rhythm.behind = True
    rhythm.follow(3000)
    assert rhythm.looks == list(range(0, 3000, CLIENTS_EVERY_MS))
    messages = rhythm.worker._uplink.messages
    assert [figures["at_ms"] for _, figures in messages] == list(range(0, 3000, FIGURES_EVERY_MS))
