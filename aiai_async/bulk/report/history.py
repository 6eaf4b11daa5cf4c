"""How a job went over time: rates, what was in flight, latencies, cost. Pure; its size is fixed.

Time is cut into bins; latencies are counted in classes of 4 %, so that percentiles need no list of them.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs

from aiai_async.bulk.report.timeline import Timeline

_STEPS: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400),
)
_MOST_BINS: Final = 90
# Of a tenth of the items that fall into one the slowest still mean something.
_MOST_LATENCY_BINS: Final = 30
_CLASS: Final = math.log(1.04)
_SHORTEST: Final = 0.001

PERCENTILES: Final = (50, 90, 99)


@attrs.frozen
class Bins:
    """Running time cut into equal parts, of which the last may be longer or shorter by half.

    Example:
        >>> bins = Bins.of(130.0, most=10)
        >>> bins.width, bins.count, bins.find(129.0), bins.length(8)
        (15, 9, 8, 10.0)
    """

    width: float
    count: int
    duration: float

    @classmethod
    def of(cls, duration: float, *, most: int) -> Bins:
        """Choose a width that people reckon with."""
        least = duration / most
        place = bisect.bisect_left(_STEPS, least)
        width = _STEPS[place] if place < len(_STEPS) else math.ceil(least / 86400) * 86400
        return cls(width, max(1, math.floor(duration / width + 0.5)), duration)

    def find(self, at: float) -> int:
        """Tell in which bin a moment is."""
        return min(self.count - 1, max(0, int(at / self.width)))

    def begin(self, place: int) -> float:
        """Tell where a bin begins."""
        return place * self.width

    def end(self, place: int) -> float:
        """Tell where a bin ends."""
        return self.duration if place == self.count - 1 else (place + 1) * self.width

    def length(self, place: int) -> float:
        """Tell how long a bin is."""
        return max(_SHORTEST, self.end(place) - self.begin(place))


@attrs.frozen
class Series:
    """A value for each bin; None where there is none."""

    bins: Bins
    values: tuple[float | None, ...]


class Latencies:
    """Counts latencies, each to within 2 %.

    Example:
        >>> latencies = Latencies()
        >>> for value in range(1, 101): latencies.add(float(value))
        >>> [round(latencies.percentile(share)) for share in (50, 90, 99)]
        [51, 91, 98]
    """

    __slots__ = ("_classes", "count")

    def __init__(self) -> None:
        self._classes: Final[Counter[int]] = Counter()
        self.count = 0

    def add(self, value: float) -> None:
        """Count one."""
        self._classes[round(math.log(max(value, _SHORTEST)) / _CLASS)] += 1
        self.count += 1

    def percentile(self, percent: float) -> float | None:
        """Give the value that so many percent don't pass; None where there is none."""
        rank = math.ceil(self.count * percent / 100)
        for place in sorted(self._classes):
            rank -= self._classes[place]
            if rank <= 0:
                return math.exp(place * _CLASS)
        return None


class History:
    """What a job did, item by item in any order.

    Args:
        timeline: of its runs.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline: Final = timeline
        self._bins: Final = Bins.of(timeline.duration, most=_MOST_BINS)
        self._coarse: Final = Bins.of(timeline.duration, most=_MOST_LATENCY_BINS)
        self._images: Final = [0] * self._bins.count
        # Seconds in flight of those that begin or end in a bin, and how many more pass through all of it.
        self._busy: Final = [0.0] * self._bins.count
        self._passing: Final = [0] * (self._bins.count + 1)
        self._latencies: Final = [Latencies() for _ in range(self._coarse.count)]
        self._cost: Final = [0.0] * self._bins.count
        self.latencies: Final = Latencies()
        """Those of all items that were answered."""
        self.has_cost = False
        """Whether any cost is known."""

    def add(self, *, at: float, sent_at: float | None, latency: float | None, images: int, cost: float | None) -> None:
        """Note an item that ended.

        Args:
            at: when it did, in Unix seconds.
            sent_at: when its first attempt was let go; None where that isn't known.
            latency: seconds from then to its answer; None where that isn't known.
            images: how many it brought.
            cost: US dollars; None where that isn't known.
        """
        if not self.timeline.spans:
            return
        place = self.timeline.place(at)
        found = self._bins.find(place)
        self._images[found] += images
        if cost is not None:
            self._cost[found] += cost
            self.has_cost = True
        if latency is None:
            return
        if images:
            self.latencies.add(latency)
            self._latencies[self._coarse.find(place)].add(latency)
        if sent_at is not None:
            self._note_flight(self.timeline.place(sent_at), self.timeline.place(sent_at + latency))

    def _note_flight(self, begin: float, end: float) -> None:
        first, last = self._bins.find(begin), self._bins.find(end)
        if first == last:
            self._busy[first] += end - begin
            return
        self._busy[first] += self._bins.end(first) - begin
        self._busy[last] += end - self._bins.begin(last)
        self._passing[first + 1] += 1
        self._passing[last] -= 1

    def images_per_minute(self) -> Series:
        """Give the images of each bin, as a rate."""
        bins = self._bins
        return Series(bins, tuple(number * 60 / bins.length(place) for place, number in enumerate(self._images)))

    def in_flight(self) -> Series:
        """Give how many items were in flight, the mean over each bin."""
        values: list[float] = []
        passing = 0
        for place, busy in enumerate(self._busy):
            passing += self._passing[place]
            values.append(passing + busy / self._bins.length(place))
        return Series(self._bins, tuple(values))

    def latency(self, percent: float) -> Series:
        """Give a percentile of the latencies of what was answered in each bin."""
        return Series(self._coarse, tuple(latencies.percentile(percent) for latencies in self._latencies))

    def cumulative_cost(self) -> Series:
        """Give what was spent up to the end of each bin, in US dollars, as far as it is known."""
        values: list[float] = []
        total = 0.0
        for cost in self._cost:
            total += cost
            values.append(total)
        return Series(self._bins, tuple(values))


def peak(values: Sequence[float | None]) -> tuple[int, float] | None:
    """Find the largest value and its place; None where there is none.

    Example:
        >>> peak([1.0, None, 3.0, 3.0])
        (2, 3.0)
    """
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    return max(known, key=lambda pair: pair[1], default=None)
