"""A worker's states as the supervisor sees them, and its patience with one that dies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.proto.limits import CRASH_WINDOW_MS, FIRST_RESTART_DELAY_MS, MAX_CRASHES
from shoal.supervisor.lifecycle import NEXT, Event, Lifecycle, State

WAY = {
    State.DOWN: [],
    State.STARTING: [Event.FORKED],
    State.LOADING: [Event.FORKED, Event.SCANNED],
    State.SERVING: [Event.FORKED, Event.SCANNED, Event.LOADED],
    State.LEAVING: [Event.FORKED, Event.SCANNED, Event.LOADED, Event.ASKED_TO_LEAVE],
}
START = WAY[State.SERVING]


def led(to: State) -> Lifecycle:
    """Return a worker that has come to a state for the first time."""
    life = Lifecycle()
    for event in WAY[to]:
        life.on(event, 0)
    assert life.state is to
    return life


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_each_event_in_each_state(state: State, event: Event) -> None:
    life = led(state)
    if (state, event) in NEXT:
        life.on(event, 5)
        assert life.state is NEXT[state, event]
        return
    with pytest.raises(KeyError):
        life.on(event, 5)
    assert life.state is state


def test_the_table_leads_from_every_state_to_every_other() -> None:
    for start in State:
        reached = {start}
        for _ in State:
            reached |= {target for (source, _), target in NEXT.items() if source in reached}
        assert reached == set(State)


def test_restarts_are_counted_from_the_second_start() -> None:
    life = Lifecycle()
    for count in range(4):
        for event in START:
            life.on(event, 0)
        assert life.restarts == count
        life.on(Event.ASKED_TO_LEAVE, 0)
        life.on(Event.DIED, 0)


@pytest.mark.parametrize("state", [State.STARTING, State.LOADING])
def test_who_dies_before_it_has_ever_served_is_hopeless(state: State) -> None:
    life = led(state)
    life.on(Event.DIED, 7)
    assert (life.hopeless, life.has_served) == (True, False)


def test_who_has_served_may_fail_to_start_once() -> None:
    life = led(State.SERVING)
    life.on(Event.DIED, 0)
    life.on(Event.FORKED, 0)
    life.on(Event.DIED, 0)
    assert (life.hopeless, life.restart_at_ms) == (False, FIRST_RESTART_DELAY_MS)


def test_each_death_in_a_row_makes_it_wait_twice_as_long() -> None:
    life = Lifecycle()
    delays = []
    now_ms = 1000
    for _ in range(MAX_CRASHES):
        assert not life.hopeless
        for event in [*START, Event.DIED]:
            life.on(event, now_ms)
        delays.append(life.restart_at_ms - now_ms)
        now_ms = life.restart_at_ms
    assert delays == [0, *(FIRST_RESTART_DELAY_MS << n for n in range(MAX_CRASHES - 1))]
    assert life.hopeless


def test_who_leaves_when_asked_is_started_again_at_once_and_for_ever() -> None:
    life = Lifecycle()
    for now_ms in range(3 * MAX_CRASHES):
        for event in [*START, Event.ASKED_TO_LEAVE, Event.DIED]:
            life.on(event, now_ms)
        assert (life.restart_at_ms, life.hopeless) == (now_ms, False)


@given(st.lists(st.integers(0, CRASH_WINDOW_MS), max_size=20))
def test_patience_is_about_the_deaths_within_the_window(pauses: list[int]) -> None:
    life = Lifecycle()
    deaths: list[int] = []
    now_ms = 0
    for pause_ms in pauses:
        now_ms = max(now_ms + pause_ms, life.restart_at_ms)
        for event in [*START, Event.DIED]:
            life.on(event, now_ms)
        deaths.append(now_ms)
        recent = sum(now_ms - at_ms < CRASH_WINDOW_MS for at_ms in deaths)
        delay_ms = FIRST_RESTART_DELAY_MS << (recent - 2) if recent > 1 else 0
        if recent >= MAX_CRASHES:
            assert life.hopeless
            return
        assert (life.hopeless, life.restart_at_ms) == (False, now_ms + delay_ms)
