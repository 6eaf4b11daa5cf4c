"""What a job did over time: nothing is lost in the bins, and nothing invented."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.bulk.report.history import Bins, History, Latencies, peak
from aiai_async.bulk.report.timeline import Timeline

ITEMS = st.lists(
    st.tuples(
        st.floats(0, 500),  # sent after so many seconds
        st.floats(0.01, 100),  # took so many
        st.integers(0, 4),  # images
        st.one_of(st.none(), st.floats(0, 5)),  # cost
    ),
    max_size=60,
)


def integrate(values: tuple[float | None, ...], bins: Bins) -> float:
    """The area below a series."""
    return sum((value or 0.0) * bins.length(place) for place, value in enumerate(values))


@given(items=ITEMS)
def test_nothing_is_lost(items: list[tuple[float, float, int, float | None]]) -> None:
    """Rates add up to the images, the mean in flight to the seconds of all requests, costs to their sum."""
    history = History(Timeline(((1000.0, 1600.0),)))
    for sent, latency, images, cost in items:
        end = 1000 + sent + latency
        history.add(at=end, sent_at=1000 + sent, latency=latency, images=images, cost=cost)
    rate, flight, spent = history.images_per_minute(), history.in_flight(), history.cumulative_cost()
    assert integrate(rate.values, rate.bins) / 60 == pytest.approx(sum(images for _, _, images, _ in items))
    assert integrate(flight.values, flight.bins) == pytest.approx(sum(latency for _, latency, _, _ in items))
    assert min(value or 0.0 for value in flight.values) >= -1e-6
    assert spent.values[-1] == pytest.approx(sum(cost or 0.0 for *_, cost in items))
    assert list(spent.values) == sorted(value or 0.0 for value in spent.values)
    assert history.has_cost == any(cost is not None for *_, cost in items)
    assert history.latencies.count == sum(1 for _, _, images, _ in items if images)


@given(values=st.lists(st.floats(0.002, 5000), min_size=1, max_size=300), percent=st.sampled_from([50, 90, 99, 100]))
def test_percentiles(values: list[float], percent: int) -> None:
    """Are within 2 % of those of the list."""
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
    assert latencies.percentile(percent) == pytest.approx(exact, rel=0.021)


def test_percentiles_of_nothing() -> None:
    """There are none; no latency at all counts as a millisecond."""
    latencies = Latencies()
    assert latencies.percentile(50) is None
    latencies.add(0.0)
    assert latencies.percentile(99) == pytest.approx(0.001, rel=0.03)


def test_percentiles_over_time() -> None:
    """Are those of what was answered in each part; where nothing was, there is none."""
    history = History(Timeline(((0.0, 60.0),)))
    for second in (*range(10), *range(40, 50)):
        latency = 2.0 if second < 10 else 8.0
        history.add(at=second + 0.5, sent_at=None, latency=latency, images=1, cost=None)
    values = history.latency(50).values
    assert values[0] == pytest.approx(2.0, rel=0.02) and values[20] == pytest.approx(8.0, rel=0.02)
    assert values[12] is None and statistics.mean(history.in_flight().values) == 0  # type: ignore[type-var] # all known


def test_a_job_of_which_no_time_is_known() -> None:
    """Has empty pictures."""
    history = History(Timeline(()))
    history.add(at=5.0, sent_at=4.0, latency=1.0, images=1, cost=1.0)
    assert history.images_per_minute().values == (0.0,) and not history.has_cost and history.latencies.count == 0


@given(duration=st.floats(0, 1e8), most=st.integers(1, 200))
def test_bins(duration: float, most: int) -> None:
    """Are few, cover the time without a gap, and each moment is in one that holds it."""
    bins = Bins.of(duration, most=most)
    assert 1 <= bins.count <= most + 1
    assert bins.begin(0) == 0 and bins.end(bins.count - 1) == duration
    for at in (0.0, duration / 3, duration):
        place = bins.find(at)
        assert bins.begin(place) <= at <= bins.end(place) + 1e-6


def test_peak() -> None:
    """Of nothing there is none."""
    assert peak([]) is None and peak([None]) is None and peak([None, 2.0]) == (1, 2.0)
