"""The panel's content, from what the scheduler says."""

from __future__ import annotations

import datetime as dt

from aiai_async import ImageRequest
from aiai_async._facts import Limits, LimitStatus, QueueStatus
from aiai_async.studio.limits import describe_limits, find_waits
from aiai_async.studio.runs import Run

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def make_queue(
    model: str | None = "m", *, waiting: int = 0, waiting_for: str | None = None, next_in: float | None = None
) -> QueueStatus:
    return QueueStatus(
        server="https://api.aiai.com",
        model=model,
        waiting=waiting,
        in_flight=1,
        waiting_for=waiting_for,
        next_in=next_in,
        paused_until=NOW + dt.timedelta(seconds=7.4),
        reason="refused",
        limits=(LimitStatus(name="images", model=model, source="learned", limit=5.0, remaining=1.2, window=60.0),),
    )


def make_run(number: int, model: str | None = "m", *, is_waiting: bool = True) -> Run:
    request = ImageRequest(prompt="A kite", model=model)
    run = Run(id=str(number), number=number, tab="tab", request=request, streams=True, now=0.0, began_at=0.0)
    run.is_waiting = is_waiting
    return run


def test_each_run_knows_whether_it_waits() -> None:
    """Also one that began before another, and was put back; others' queues are theirs."""
    runs = [make_run(1, is_waiting=False), make_run(2, is_waiting=False), make_run(5, "other")]
    runs[1:1] = [make_run(3), make_run(4)]
    limits = Limits([make_queue(waiting=2, waiting_for="images per minute", next_in=12.3)])
    words = "waiting for images per minute, the next goes in 12 s"
    assert find_waits(limits, runs) == {"3": words, "4": words}


def test_a_wait_of_a_moment_is_not_told() -> None:
    """As the command line does it; and a wait whose end isn't known has no seconds."""
    runs = [make_run(1, None)]
    assert find_waits(Limits([make_queue(None, waiting=1, waiting_for="requests", next_in=0.4)]), runs) == {}
    assert find_waits(Limits([make_queue(None, waiting=1, waiting_for="requests")]), runs) == {
        "1": "waiting for requests"
    }
    assert find_waits(Limits([make_queue(None)]), runs) == {}


def test_the_panel_says_what_the_client_knows() -> None:
    """In whole numbers: what nobody sees change is not sent again."""
    found = describe_limits(Limits([make_queue(waiting=1, waiting_for="images", next_in=12.3)]), [], NOW)
    assert found["words"] == "waiting 12 s for images, 1 in flight"
    [queue] = found["queues"]
    assert (queue["paused_for"], queue["reason"], queue["next_in"]) == (7, "refused", 12)
    assert queue["limits"] == [
        {"name": "images", "source": "learned", "limit": 5, "remaining": 1, "window": 60, "resets_in": None}
    ]
