"""Finding a rate or a window that no answer speaks of, from refusals alone."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.policy.discovery import RateFinder, SendLog

SILENCE = 0.01


def send(rates: RateFinder, times: list[float]) -> None:
    """Let requests go that are all let in."""
    for at in times:
        rates.send(at, SILENCE, is_canary=False)


def lock_out(rates: RateFinder, exhausted_at: float, recovered_at: float, *, is_told: bool = False) -> None:
    """Refuse one, and let the one in that tries at last."""
    rates.send(exhausted_at, SILENCE, is_canary=False)
    rates.take_back()
    rates.send(recovered_at, SILENCE, is_canary=True)
    rates.learn(exhausted_at=exhausted_at, refused_at=exhausted_at, recovered_at=recovered_at, is_told=is_told)


def evenly(count: int, first: float, step: float) -> list[float]:
    """Give so many times."""
    return [first + number * step for number in range(count)]


def test_nothing_is_known_before_a_refusal() -> None:
    """Nor does it hold anything back."""
    rates = RateFinder()
    assert rates.pace(SILENCE) == math.inf
    send(rates, evenly(1000, 0.0, 0.001))
    assert rates.ready_at(1.0) == 1.0
    assert (rates.rate, rates.window, rates.is_full, rates.is_raising, rates.is_probe(1.0)) == (
        None,
        None,
        False,
        False,
        False,
    )


def test_a_bucket_shows_as_a_rate() -> None:
    """From one exhaustion to the next so many in so many seconds: no window is seen, since it is back so soon."""
    rates = RateFinder()
    send(rates, evenly(80, 0.0, 0.25))
    lock_out(rates, 20.0, 21.0)
    assert rates.window is None
    assert rates.rate == pytest.approx(80 / 20.5, rel=0.05), "the burst is in it"
    send(rates, evenly(39, 21.5, 0.95))
    lock_out(rates, 59.0, 60.0)
    assert rates.rate == pytest.approx(1.0, rel=0.1)
    assert rates.ready_at(60.0) == pytest.approx(61.5, rel=0.1)


def test_it_paces_evenly_then_faster_and_faster() -> None:
    """A rise of the limit is found; a timer that is a little late loses nothing."""
    rates = RateFinder()
    send(rates, evenly(80, 0.0, 0.25))
    lock_out(rates, 80.0, 81.0)
    rate = rates.rate
    assert rate is not None
    assert rates.pace(SILENCE) == pytest.approx(rate, rel=0.01)
    now, times = 81.0, []
    for _ in range(400):
        now = max(now, rates.ready_at(now)) + 0.001
        rates.send(now, SILENCE, is_canary=False)
        times.append(now)
    assert (times[21] - times[1]) / 20 == pytest.approx(1 / rate, rel=0.05)
    assert rates.pace(SILENCE) > 4 * rate


def test_a_server_that_let_nothing_in_before_tells_of_no_limit() -> None:
    """It refused the very first request."""
    rates = RateFinder()
    lock_out(rates, 0.0, 5.0)
    assert rates.rate is None
    assert rates.ready_at(5.0) == 5.0


def test_a_window_shows_by_its_long_lockout() -> None:
    """So many go in any such time, as fast as they like; then it is full."""
    rates = RateFinder()
    send(rates, evenly(20, 0.0, 0.1))
    lock_out(rates, 2.0, 60.0)
    assert rates.window is not None
    assert (rates.window.limit, rates.window.window) == (20, 60.0)
    assert not rates.is_full
    send(rates, evenly(19, 60.1, 0.1))
    assert rates.is_full
    assert rates.ready_at(62.0) == pytest.approx(120.0, abs=0.5)


def test_a_few_in_a_window_are_no_window() -> None:
    """A bucket that holds one locks out for most of the time, too."""
    rates = RateFinder()
    send(rates, [0.0, 0.1])
    lock_out(rates, 0.2, 60.0)
    assert rates.window is None


def test_a_window_that_locks_out_sooner_is_none() -> None:
    """It becomes a rate again."""
    rates = RateFinder()
    send(rates, evenly(20, 0.0, 0.1))
    lock_out(rates, 2.0, 60.0)
    send(rates, evenly(10, 60.1, 2.0))
    lock_out(rates, 82.0, 83.0)
    assert rates.window is None
    assert rates.rate is not None


def in_a_window(limit: int = 20) -> tuple[RateFinder, float]:
    """Make one that knows a window, and is just at its end; several have passed."""
    rates = RateFinder()
    send(rates, evenly(limit, 0.0, 0.1))
    lock_out(rates, 0.1 * limit, 60.0)
    now = 60.0
    for _ in range(4):
        while not rates.is_probe(now):
            at = rates.ready_at(now)
            if at > now + 30:
                return rates, now
            now = max(at, now) + 0.1
            rates.send(now, SILENCE, is_canary=False)
        now = rates.ready_at(now)
    return rates, now


def test_one_more_than_a_window_holds_is_tried_now_and_then() -> None:
    """Where it is let in, more are tried, twice as many each time."""
    rates = RateFinder()
    send(rates, evenly(20, 0.0, 0.1))
    lock_out(rates, 2.0, 60.0)
    window = rates.window
    assert window is not None
    now, tried = 60.0, 0
    for _ in range(200):
        at = rates.ready_at(now)
        now = max(now, at) + 0.01
        if rates.is_probe(now):
            tried += 1
            rates.send(now, SILENCE, is_canary=False)
            break
        rates.send(now, SILENCE, is_canary=False)
    assert tried == 1
    assert now > 120.0, "not in the first window"
    assert not rates.is_raising
    rates.raise_window()
    assert (window.limit, rates.is_raising, rates.is_full) == (21, True, True)
    assert rates.ready_at(now) == now
    rates.send(now, SILENCE, is_canary=False)
    rates.raise_window()
    assert window.limit == 23
    RateFinder().raise_window()


def test_a_request_of_the_next_window_that_is_refused_leaves_the_one_before() -> None:
    """It had not begun."""
    rates = RateFinder()
    send(rates, evenly(20, 0.0, 0.1))
    lock_out(rates, 2.0, 60.0)
    send(rates, evenly(19, 60.1, 0.1))
    assert rates.is_full
    rates.send(120.1, SILENCE, is_canary=False)
    assert not rates.is_full
    rates.take_back()
    assert rates.is_full
    rates.take_back()
    assert not rates.is_full


def test_a_fixed_window_is_told_apart_from_what_is_left_of_it() -> None:
    """Locked out at once again after a long lockout: the cycle goes on."""
    rates = RateFinder()
    send(rates, evenly(20, 0.0, 0.1))
    lock_out(rates, 2.0, 60.0)
    rate = rates.rate
    lock_out(rates, 60.2, 62.0)
    assert rates.rate == rate
    send(rates, evenly(19, 62.1, 0.1))
    lock_out(rates, 64.2, 122.0)
    assert rates.rate == pytest.approx(20 / 60, rel=0.1)


def test_told_ends_are_exact() -> None:
    """From end to end, whatever was under way at an exhaustion."""
    told, looked_for = RateFinder(), RateFinder()
    for rates, is_told in ((told, True), (looked_for, False)):
        send(rates, evenly(60, 0.0, 0.5))
        lock_out(rates, 30.0, 31.0, is_told=is_told)
        send(rates, evenly(29, 32.0, 1.0))
        lock_out(rates, 60.5, 61.0, is_told=is_told)
    assert told.rate == pytest.approx(30 / 30)
    assert looked_for.rate == pytest.approx(30 / 30.5)


def test_a_short_look_changes_the_rate_a_little_unless_it_fell_far() -> None:
    """Luck is not believed; a real drop is."""
    rates = RateFinder()
    send(rates, evenly(100, 0.0, 0.1))
    lock_out(rates, 10.0, 11.0, is_told=True)
    first = rates.rate
    assert first is not None
    send(rates, evenly(9, 11.1, 0.1))
    lock_out(rates, 12.0, 13.0, is_told=True)
    assert rates.rate == pytest.approx(first * 0.7)
    send(rates, evenly(2, 20.0, 10.0))
    lock_out(rates, 60.0, 61.0, is_told=True)
    assert rates.rate is not None
    assert rates.rate < first / 3


def test_two_far_slower_cycles_are_a_new_limit() -> None:
    """What was before is forgotten at once."""
    rates = RateFinder()
    now = 0.0
    for step in (0.1, 0.1, 0.1, 0.1, 1.0, 1.0):
        send(rates, evenly(29, now + step, step))
        lock_out(rates, now + 30 * step, now + 31 * step, is_told=True)
        now += 31 * step
    assert rates.rate == pytest.approx(1.0, rel=0.1)


class TestSearch:
    """Where the end of a lockout is looked for."""

    def test_at_windows_that_people_choose(self) -> None:
        """Counted from the exhaustion, a little later each; beyond them every two minutes."""
        rates, now, found = RateFinder(), 100.0, []
        for _ in range(30):
            now = rates.search(100.0, now)
            found.append(round(now - 100.0, 1))
        assert found == sorted(found)
        assert 0.0 < found[0] <= 1.0
        assert {1.0, 5.0, 10.0, 20.1, 30.1, 60.2, 120.4} <= set(found)
        assert found[29] - found[28] == 120.0

    def test_by_the_rate_where_one_is_known(self) -> None:
        """First after two requests' time, then doubling, at most half a minute."""
        rates = RateFinder()
        send(rates, evenly(80, 0.0, 0.25))
        lock_out(rates, 20.0, 20.5)
        rate = rates.rate
        assert rate is not None
        assert rates.search(100.0, 100.0) == pytest.approx(100.0 + 2 / rate)
        assert rates.search(100.0, 110.0) == 120.0
        assert rates.search(100.0, 200.0) == 230.0

    def test_at_the_windows_end_where_one_is_known(self) -> None:
        """Then soon after it, where the window is a usual one; then at longer ones."""
        rates = RateFinder()
        send(rates, evenly(20, 0.0, 0.1))
        lock_out(rates, 2.0, 60.18)
        send(rates, evenly(19, 60.3, 0.1))
        now, found = 63.0, []
        for _ in range(9):
            now = rates.search(63.0, now)
            found.append(round(now - 60.18, 1))
        assert found[0] == 60.2
        assert found[1:4] == [61.4, 62.6, 65.0]
        assert 120.4 in found

    def test_an_unusual_window_is_followed_by_usual_ones(self) -> None:
        """It may have been guessed too short."""
        rates = RateFinder()
        send(rates, evenly(20, 0.0, 0.1))
        lock_out(rates, 2.0, 45.0)
        send(rates, evenly(19, 45.1, 0.1))
        assert rates.search(48.0, 48.0) == 90.0
        assert rates.search(48.0, 90.0) == pytest.approx(45.0 + 60 * 1.003)

    def test_by_the_rate_in_a_window_that_is_not_used_up(self) -> None:
        """Its end explains nothing then."""
        rates = RateFinder()
        send(rates, evenly(20, 0.0, 0.1))
        lock_out(rates, 2.0, 60.0)
        send(rates, evenly(5, 60.1, 0.1))
        assert rates.search(61.0, 61.0) < 75.0


class TestSendLog:
    """When requests were sent, in few entries."""

    def test_neighbours_are_put_together(self) -> None:
        """However many there are, none is lost."""
        log = SendLog()
        for number in range(10_000):
            log.append(float(number))
        assert len(log.entries) < 512
        assert sum(count for _, count in log.entries) == 10_000
        assert [at for at, _ in log.entries] == sorted(at for at, _ in log.entries)

    def test_the_newest_is_taken_back(self) -> None:
        """Out of several that were put together, too; out of none, nothing."""
        log = SendLog()
        log.pop()
        for number in range(512):
            log.append(float(number))
        log.pop()
        assert log.entries[-1] == (511.0, 1)
        log.pop()
        assert log.entries[-1] == (509.0, 2)

    @given(steps=st.lists(st.booleans(), max_size=50), before=st.integers(0, 1500))
    def test_it_counts_right(self, steps: list[bool], before: int) -> None:
        """Whatever is appended and taken back."""
        log, count = SendLog(), 0
        for is_sent in [True] * before + steps:
            log.append(1.0) if is_sent else log.pop()
            count = count + 1 if is_sent else max(0, count - 1)
            assert len(log.entries) < 512
        assert sum(each for _, each in log.entries) == count


@given(
    cycles=st.lists(
        st.tuples(
            st.integers(0, 30),
            st.sampled_from([0.0, 0.01, 1.0, 30.0]),
            st.sampled_from([0.0, 0.01, 1.0, 60.0, 1000.0]),
            st.booleans(),
            st.integers(0, 3),
        ),
        max_size=8,
    )
)
def test_whatever_is_seen_there_is_a_rate_that_lets_somebody_go(
    cycles: list[tuple[int, float, float, bool, int]],
) -> None:
    """Above 0 and finite, also where the clock stands still."""
    rates, now = RateFinder(), 100.0
    rates.send(now, SILENCE, is_canary=False)
    for count, step, locked, is_told, taken_back in cycles:
        for _ in range(count):
            now += step
            rates.send(now, SILENCE, is_canary=False)
        for _ in range(taken_back):
            rates.take_back()
        began_at = now
        now += locked
        rates.send(now, SILENCE, is_canary=True)
        rates.learn(exhausted_at=began_at, refused_at=began_at, recovered_at=now, is_told=is_told)
        assert rates.rate is None or 0 < rates.rate < math.inf
        assert now <= rates.ready_at(now) < math.inf
        assert rates.search(now, now) > now
