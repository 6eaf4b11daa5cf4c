"""The ramp: how many requests may be unheard of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.policy.ramp import Ramp, Unheard


def send(ramp: Ramp, now: float) -> Unheard:
    """Let a request go."""
    unheard = Unheard(now)
    ramp.send(unheard)
    return unheard


def send_all(ramp: Ramp, now: float, until: float) -> list[float]:
    """Send whatever may be sent, at once when it may; nothing is answered."""
    times = []
    while now <= until:
        at = ramp.ready_at(now)
        if at is not None and at <= now:
            ramp.sent(send(ramp, now), now)
            times.append(now)
            continue
        wakes = [each for each in (at, ramp.settles_at()) if each is not None]
        now = min(wakes)
    return times


def test_the_first_goes_alone() -> None:
    """The next waits until it was silent for long enough."""
    ramp = Ramp()
    assert ramp.ready_at(10.0) == 10.0
    unheard = send(ramp, 10.0)
    assert ramp.ready_at(10.0) is None
    ramp.sent(unheard, 10.0)
    assert ramp.settles_at() == 10.0 + ramp.silence
    assert ramp.ready_at(10.0 + ramp.silence) == 10.0 + ramp.silence
    assert (ramp.count, ramp.admitted) == (0, 1)


def test_silence_begins_when_it_is_written() -> None:
    """A connect may take a while; what isn't told to be written is thought to take as long as the others."""
    ramp = Ramp()
    unheard = send(ramp, 0.0)
    ramp.sent(unheard, 0.5)
    ramp.sent(unheard, 3.0)
    assert ramp.settles_at() == 0.5 + ramp.silence
    ramp.settle(0.5 + ramp.silence)
    assert ramp.count == 0
    send(ramp, 10.0)
    at = ramp.settles_at()
    assert at is not None
    assert at == pytest.approx(10.0 + 0.2 * 0.5 + ramp.silence)


def test_the_more_were_let_in_the_more_may_be_unheard_of() -> None:
    """Thousands in a fraction of a second, where a refusal comes back in milliseconds; spread, never in a batch."""
    ramp = Ramp()
    ramp.note_connect(0.0005)
    times = send_all(ramp, 0.0, 0.2)
    assert len(times) > 2000
    for first, last in ((0.0, 0.05), (0.05, 0.1), (0.1, 0.15)):
        one, other = (sum(at <= each < at + 0.05 for each in times) for at in (first, last))
        assert other > one
    ramp = Ramp()
    ramp.note_connect(0.05)
    assert 10 <= len(send_all(ramp, 0.0, 2.0)) <= 200


def test_an_answer_is_heard_sooner_than_silence() -> None:
    """And what is answered at once need not be spread."""
    ramp = Ramp()
    ramp.note_connect(1.0)
    assert ramp.silence == 1.0
    for number in range(50):
        now = number * 0.001
        assert ramp.ready_at(now) == now
        unheard = send(ramp, now)
        ramp.sent(unheard, now)
        ramp.hear(unheard, now + 0.001, admitted=True)
        ramp.hear(unheard, now + 0.001, admitted=True)
    assert (ramp.count, ramp.admitted) == (0, 50)
    assert ramp.settles_at() is None


def test_what_was_refused_is_no_sign() -> None:
    """Nor what came to nothing; the ramp begins anew then."""
    ramp = Ramp()
    ramp.note_connect(0.05)
    send_all(ramp, 0.0, 1.0)
    width = ramp.width
    ramp.settle(10.0)
    unheard = send(ramp, 10.0)
    admitted = ramp.admitted
    ramp.hear(unheard, 10.1, admitted=False)
    assert (ramp.admitted, ramp.count) == (admitted, 0)
    assert ramp.width >= width
    ramp.restart(10.1)
    send(ramp, 11.0)
    assert ramp.ready_at(11.0) is None


def test_how_long_a_refusal_takes_is_learned() -> None:
    """From connects, until there was one; one slow refusal says little."""
    ramp = Ramp()
    guess = ramp.silence
    assert 0 < guess < 0.1
    ramp.note_connect(0.05)
    assert ramp.silence == pytest.approx(0.15)
    ramp.note_connect(0.0001)
    assert ramp.silence == 0.005
    ramp.note_connect(20.0)
    assert ramp.silence == 1.0
    ramp.note_connect(0.05)
    ramp.note_refusal(30.0)
    assert ramp.silence < 0.25
    ramp.note_connect(0.0001)
    assert ramp.silence > 0.15
    for _ in range(50):
        ramp.note_refusal(0.2)
    assert ramp.silence == pytest.approx(0.303, rel=0.01)


def test_the_first_refusal_counts_where_nothing_is_known() -> None:
    """No connect was measured, as through a proxy."""
    ramp = Ramp()
    ramp.note_refusal(0.1)
    assert ramp.silence == pytest.approx(0.153)


def test_a_late_program_waits_longer_for_signs() -> None:
    """What was refused meanwhile may not have been read yet; it is forgotten slowly."""
    ramp = Ramp()
    before = ramp.silence
    ramp.note_lag(0.5)
    assert ramp.silence == before + 0.5
    ramp.note_lag(0.0)
    assert before < ramp.silence < before + 0.5
    ramp.note_lag(1000.0)
    assert ramp.silence == before + 1.0


def test_a_timer_that_fires_late_loses_nothing() -> None:
    """A few milliseconds are made up for."""
    ramp = Ramp()
    ramp.note_connect(1.0)
    ramp.width = 100.0
    send(ramp, 0.0)
    at = ramp.ready_at(0.0)
    assert at is not None
    send(ramp, at + 0.004)
    following = ramp.ready_at(at + 0.004)
    assert following == pytest.approx(2 * at - 0.001 if following != at + 0.004 else following, abs=0.006)


def test_limits_that_are_read_allow_more() -> None:
    """A refusal is rare then."""
    ramp = Ramp()
    ramp.is_informed = True
    for _ in range(15):
        send(ramp, 0.0)
    assert ramp.ready_at(0.0) is not None
    send(ramp, 0.0)
    assert ramp.ready_at(0.0) is None


def test_a_known_cap_may_go_at_once() -> None:
    """It was let in before."""
    ramp = Ramp()
    ramp.floor = 4.0
    for _ in range(3):
        send(ramp, 0.0)
    assert ramp.ready_at(0.0) is not None
    send(ramp, 0.0)
    assert ramp.ready_at(0.0) is None


def test_near_a_limit_few_are_unheard_of() -> None:
    """Each of them may be refused."""
    ramp = Ramp()
    ramp.width = 100.0
    ramp.is_careful = True
    for _ in range(8):
        send(ramp, 0.0)
    assert ramp.ready_at(0.0) is None
    ramp.is_careful = False
    assert ramp.ready_at(0.0) is not None


@given(
    steps=st.lists(
        st.tuples(st.floats(-1, 3), st.sampled_from(["send", "sent", "hear", "refuse", "settle", "lag", "connect"])),
        max_size=60,
    )
)
def test_it_counts_right_whatever_comes_in_whatever_order(steps: list[tuple[float, str]]) -> None:
    """Also where the clock jumps; somebody may always go after a while."""
    ramp, now, sent = Ramp(), 100.0, list[Unheard]()
    for step, what in steps:
        now += step
        if what == "send":
            sent.append(send(ramp, now))
        elif what == "settle":
            ramp.settle(now)
        elif what == "lag":
            ramp.note_lag(abs(step))
        elif what == "connect":
            ramp.note_connect(abs(step))
        elif sent and what == "sent":
            ramp.sent(sent[-1], now)
        elif sent:
            ramp.hear(sent.pop(0), now, admitted=what == "hear")
        assert ramp.count == sum(not each.heard for each in ramp._queue)
        assert (ramp.settles_at() is None) == (ramp.count == 0)
        assert ramp.ready_at(now) is not None or ramp.settles_at() is not None
    assert ramp.ready_at(now + 1000.0) is not None
    assert ramp.count == 0


def test_what_was_heard_of_is_not_held() -> None:
    """A ticket holds what was asked for, and nobody may ask again for hours."""
    ramp = Ramp()
    first, second, third = (send(ramp, now) for now in (1.0, 1.1, 1.2))
    ramp.hear(second, 2.0, admitted=True)
    assert list(ramp._queue) == [first, second, third]
    ramp.hear(first, 2.1, admitted=True)
    assert list(ramp._queue) == [third]
    ramp.hear(third, 2.2, admitted=False)
    assert not ramp._queue
