"""The time that a job ran: no nights, no negative stretches, whatever is known of its runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.bulk.records import RunRow
from aiai_async.bulk.report.timeline import Timeline

CASES = {
    "one that ended": ([RunRow(run=1, started_at=10.0, ended_at=20.0)], {1: (11.0, 19.0)}, None, ((10.0, 20.0),)),
    "one that was killed: up to what it did last": (
        [RunRow(run=1, started_at=10.0)],
        {1: (11.0, 15.0)},
        None,
        ((10.0, 15.0),),
    ),
    "one that is under way: up to now": ([RunRow(run=1, started_at=10.0)], {1: (11.0, 15.0)}, 30.0, ((10.0, 30.0),)),
    "one that was killed before one that is under way": (
        [RunRow(run=1, started_at=10.0), RunRow(run=2, started_at=50.0)],
        {1: (11.0, 15.0)},
        60.0,
        ((10.0, 15.0), (50.0, 60.0)),
    ),
    "one that only began": ([RunRow(run=1, started_at=10.0)], {}, None, ((10.0, 10.001),)),
    "one of before the journal knew runs": ([], {3: (11.0, 15.0)}, None, ((11.0, 15.0),)),
    "such a one, then another": (
        [RunRow(run=2, started_at=50.0, ended_at=60.0)],
        {1: (11.0, 15.0), 2: (51.0, 59.0)},
        None,
        ((11.0, 15.0), (50.0, 60.0)),
    ),
    "a clock that was set back": (
        [RunRow(run=1, started_at=10.0, ended_at=20.0), RunRow(run=2, started_at=5.0, ended_at=25.0)],
        {},
        None,
        ((10.0, 20.0), (20.0, 25.0)),
    ),
    "one of which nothing is known": ([RunRow(run=1)], {}, None, ()),
    "none": ([], {}, None, ()),
}


@pytest.mark.parametrize(("runs", "extents", "now", "spans"), CASES.values(), ids=CASES)
def test_what_is_known_of_runs(
    runs: list[RunRow],
    extents: dict[int, tuple[float, float]],
    now: float | None,
    spans: tuple[tuple[float, float], ...],
) -> None:
    """Becomes stretches of time."""
    found = Timeline.of(runs, extents, now=now)
    assert found.spans == spans
    assert found.duration == pytest.approx(sum(end - begin for begin, end in spans))
    assert len(found.joints) == max(0, len(spans) - 1)


@given(
    edges=st.lists(st.floats(0, 1e9), min_size=2, max_size=12, unique=True).map(sorted), at=st.lists(st.floats(0, 1e9))
)
def test_places_are_in_order(edges: list[float], at: list[float]) -> None:
    """And between 0 and the duration: later in the world is never earlier in the job."""
    timeline = Timeline(tuple(zip(edges[::2], edges[1::2], strict=False)))
    places = [timeline.place(moment) for moment in sorted(at)]
    assert places == sorted(places)
    assert all(0 <= place <= timeline.duration * (1 + 1e-9) for place in places)
