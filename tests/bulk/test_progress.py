"""How far a job is; time is a number here."""

from __future__ import annotations

from aiai_async.bulk.items import State, Tally
from aiai_async.bulk.progress import Speed, measure


def test_rates_are_those_of_the_last_minute() -> None:
    """And of less where less has passed; however many end, a minute's seconds are kept."""
    speed = Speed(now=0.0)
    assert speed.images_per_minute(now=0.0) == 0
    for number in range(100_000):
        speed.note(images=2, now=number / 500)
    # 500 items a second.
    assert 58_000 <= speed.images_per_minute(now=200.0) <= 61_000
    assert len(speed._seconds) <= 62
    assert speed.items_per_second(now=400.0) == 0


def test_progress() -> None:
    """Links that are being fetched have not failed; without a pace there is no time left to tell."""
    tally = Tally({State.PENDING: 5, State.DONE: 2, State.LINKED: 2, State.FAILED: 1, State.UNKNOWN: 1}, images=2)
    speed = Speed(now=0.0)
    options = {"in_flight": 1, "started_at": 0.0, "limit": 5.0, "waiting": None}
    progress = measure(tally, speed, fetching=1, now=10.0, **options)  # type: ignore[arg-type] # they are what it takes
    assert (progress.total, progress.done, progress.failed, progress.unknown, progress.remaining) == (11, 2, 2, 1, 6)
    assert (progress.eta, progress.limit, progress.elapsed) == (None, 5.0, 10.0)
    speed.note(images=1, now=10.0)
    assert measure(tally, speed, fetching=1, now=10.0, **options).eta == 60.0  # type: ignore[arg-type] # as above


def test_while_all_of_it_waits_nobody_knows_how_long() -> None:
    """The pace of a moment ago, before a limit was used up, would promise seconds where it takes minutes."""
    tally, speed = Tally({State.PENDING: 3, State.DONE: 5}, images=5), Speed(now=0.0)
    speed.note(images=5, now=1.0)
    options = {"fetching": 0, "started_at": 0.0, "now": 2.0, "limit": None, "waiting": "waiting 56 s"}
    assert measure(tally, speed, in_flight=0, **options).eta is None  # type: ignore[arg-type] # they are what it takes
    assert measure(tally, speed, in_flight=1, **options).eta is not None  # type: ignore[arg-type] # as above
