"""Which time of a call runs out next: time is a number here."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from aiai_async.policy.deadlines import Deadlines, Timeout


def test_the_timeout_has_the_documented_defaults() -> None:
    """Users read them in the documentation."""
    assert attrs.asdict(Timeout()) == {"connect": 5, "first_byte": None, "stall": 120, "total": 600, "queue": None}


def test_a_number_means_the_total() -> None:
    """And a Timeout is taken as it is."""
    assert Timeout.of(30) == Timeout(total=30)
    timeout = Timeout(connect=1)
    assert Timeout.of(timeout) is timeout


@pytest.mark.parametrize("value", [0, -1, "5", True, math.nan], ids=repr)
@pytest.mark.parametrize("name", ["connect", "first_byte", "stall", "total", "queue"])
def test_a_time_of_nonsense_is_refused(name: str, value: Any) -> None:
    """By its name, with what to give instead."""
    with pytest.raises(ValueError, match=f"{name}: .* give a number above 0, or None"):
        Timeout(**{name: value})
    with pytest.raises(ValueError):
        Timeout.of(value)


@pytest.mark.parametrize("name", ["connect", "first_byte", "stall", "total", "queue"])
def test_each_time_may_have_no_bound(name: str) -> None:
    """None."""
    assert getattr(Timeout(**{name: None}), name) is None


def make(started_at: float = 100.0, **times: float | None) -> Deadlines:
    """Make deadlines of a call; what isn't given has no bound."""
    return Deadlines(Timeout(**{"first_byte": None, "stall": None, "total": None, **times}), started_at=started_at)


def state(deadlines: Deadlines) -> tuple[float, str, float | None]:
    """Give what runs out next, when, and how long it is."""
    return deadlines.at, deadlines.phase, deadlines.seconds


def test_without_bounds_nothing_runs_out() -> None:
    """In no phase."""
    deadlines = make()
    for note in (deadlines.pause, lambda: deadlines.sent(101.0), lambda: deadlines.progress(102.0)):
        note()
        assert deadlines.at == math.inf
    assert deadlines.time_left(1e9) == math.inf


def test_total_runs_from_the_start_through_every_phase() -> None:
    """All the attempts, and the waits between them."""
    deadlines = make(total=600)
    assert state(deadlines) == (700.0, "total", 600)
    deadlines.sent(101.0)
    assert deadlines.at == 700.0
    deadlines.progress(102.0)
    assert deadlines.at == 700.0
    deadlines.pause()
    assert state(deadlines) == (700.0, "total", 600)
    assert deadlines.time_left(650.0) == 50.0


def test_first_byte_runs_from_sending() -> None:
    """And no longer when a byte of an image has come."""
    deadlines = make(first_byte=30, total=600)
    assert state(deadlines) == (700.0, "total", 600)
    deadlines.sent(110.0)
    assert state(deadlines) == (140.0, "first_byte", 30)
    deadlines.progress(139.0)
    assert state(deadlines) == (700.0, "total", 600)


def test_stall_runs_between_pieces() -> None:
    """Each piece starts it anew; before the first it doesn't run."""
    deadlines = make(stall=10, total=600)
    deadlines.sent(110.0)
    assert deadlines.at == 700.0
    deadlines.progress(200.0)
    assert state(deadlines) == (210.0, "stall", 10)
    deadlines.progress(209.0)
    assert state(deadlines) == (219.0, "stall", 10)


def test_the_sooner_one_is_named() -> None:
    """Near the end of the call it is `total` that runs out, whatever else runs."""
    deadlines = make(first_byte=30, stall=30, total=60)
    deadlines.sent(150.0)
    assert state(deadlines) == (160.0, "total", 60)
    deadlines.progress(155.0)
    assert state(deadlines) == (160.0, "total", 60)


def test_the_callers_own_code_is_not_a_stall() -> None:
    """While a sink writes, only `total` runs."""
    deadlines = make(stall=10, total=600)
    deadlines.progress(200.0)
    deadlines.pause()
    assert state(deadlines) == (700.0, "total", 600)


def test_the_wait_for_a_permit_is_left_out_of_total() -> None:
    """By moving its end."""
    deadlines = make(total=600)
    deadlines.postpone(50.0)
    assert deadlines.at == 750.0
    assert deadlines.time_left(700.0) == 50.0


def test_the_bound_of_waiting_in_the_queue_runs_there_alone() -> None:
    """No deadline of an attempt is its."""
    deadlines = make(queue=1)
    deadlines.sent(110.0)
    deadlines.progress(120.0)
    assert deadlines.at == math.inf
    assert deadlines.timeout.queue == 1
