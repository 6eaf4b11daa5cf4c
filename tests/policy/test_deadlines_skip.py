"""Time in which nobody read is left out of what runs, but not out of the whole call."""

from __future__ import annotations

import math

import pytest

from aiai_async.policy.deadlines import Deadlines, Timeout


def make(**times: float | None) -> Deadlines:
    """Make deadlines of a call that began at 100; what isn't given has no bound."""
    return Deadlines(Timeout(**{"first_byte": None, "stall": None, "total": None, **times}), started_at=100.0)


def test_a_time_that_is_skipped_is_no_stall() -> None:
    """The caller was at work between two steps of a stream; what runs ends that much later."""
    deadlines = make(stall=10)
    deadlines.progress(200.0)
    deadlines.skip(35.0)
    assert (deadlines.at, deadlines.phase, deadlines.seconds) == (245.0, "stall", 10)
    deadlines.skip(5.0)
    assert deadlines.at == 250.0
    deadlines.progress(300.0)
    assert deadlines.at == 310.0


def test_a_time_that_is_skipped_is_not_waited_for_the_first_byte_either() -> None:
    """The same before the first image."""
    deadlines = make(first_byte=10)
    deadlines.sent(200.0)
    deadlines.skip(1.5)
    assert (deadlines.at, deadlines.phase) == (211.5, "first_byte")


def test_the_whole_call_goes_on_meanwhile() -> None:
    """A slow caller doesn't make a call endless."""
    deadlines = make(stall=10, total=150)
    deadlines.progress(200.0)
    deadlines.skip(1000.0)
    assert deadlines.at == 250.0
    assert deadlines.time_left(200.0) == 50.0


@pytest.mark.parametrize("note", ["pause", "sent", "progress"])
def test_where_nothing_runs_nothing_is_skipped(note: str) -> None:
    """What has no bound gets none."""
    deadlines = make()
    if note == "pause":
        deadlines.pause()
    else:
        getattr(deadlines, note)(200.0)
    deadlines.skip(5.0)
    assert deadlines.at == math.inf
