"""How far a job is: counts, speed, and when it may be done. Pure; time is an argument."""

from __future__ import annotations

import datetime as dt
from collections import deque
from typing import Final

import attrs

from aiai_async.bulk.costs import Spending
from aiai_async.bulk.items import State, Tally

# Long enough that images of half a minute give a steady rate.
_WINDOW_SECONDS: Final = 60


@attrs.frozen(kw_only=True)
class Progress:
    """How far a job is."""

    total: int
    """Items of the job."""
    done: int
    failed: int
    """Items that failed, for good or for now, and those whose links could not be fetched."""
    unknown: int
    """Items that may have been billed, and have no image."""
    in_flight: int
    """Items from sending until their files are durable."""
    images: int
    """Images of the items that are done, in all runs."""
    elapsed: float
    """Seconds since this run began to send."""
    rate: float
    """Images per minute, over the last minute."""
    limit: float | None = None
    """Images per minute that the key may have; None where that isn't known."""
    eta: float | None
    """Seconds until all is done, at the present rate; None where that isn't known."""
    waiting: str | None
    """Why requests wait and until when; None where they don't."""
    cost: float | None = None
    """US dollars that the answers of all runs cost, as far as that is known; None where it isn't of any."""
    unknown_costs: int = 0
    """Items that were answered and whose cost isn't known."""
    estimated_cost: float | None = None
    """US dollars that the whole job may come to; None where prices of what is left aren't known."""
    priced_on: tuple[dt.date, ...] = ()
    """The days of the prices that say so."""

    @property
    def remaining(self) -> int:
        """Items that this run or a later one will still send."""
        return self.total - self.done - self.failed - self.unknown


class Speed:
    """Counts what ended over the last minute, in seconds' steps, so that it stays small however fast the job is.

    Example:
        >>> speed = Speed(now=0.0)
        >>> speed.note(images=4, now=10.0)
        >>> speed.images_per_minute(now=30.0), speed.items_per_second(now=20.0)
        (8.0, 0.05)
    """

    def __init__(self, *, now: float) -> None:
        self._started_at: Final = now
        self._seconds: Final[deque[list[int]]] = deque()

    def note(self, *, images: int, now: float) -> None:
        """Note that an item ended with so many images."""
        second = int(now)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += images
        self._forget(now)

    def images_per_minute(self, *, now: float) -> float:
        """Give the rate of images."""
        self._forget(now)
        return sum(images for _, _, images in self._seconds) * 60 / self._window(now)

    def items_per_second(self, *, now: float) -> float:
        """Give the rate of items."""
        self._forget(now)
        return sum(items for _, items, _ in self._seconds) / self._window(now)

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] < now - _WINDOW_SECONDS:
            self._seconds.popleft()

    def _window(self, now: float) -> float:
        return max(1.0, min(_WINDOW_SECONDS, now - self._started_at))


def measure(
    tally: Tally,
    speed: Speed,
    *,
    in_flight: int,
    fetching: int,
    started_at: float,
    now: float,
    limit: float | None,
    waiting: str | None,
    spending: Spending | None = None,
) -> Progress:
    """Put together how far a job is."""
    # Links that are being fetched just now are no failure.
    failed = max(0, tally.count((State.FAILED, State.FAILED_FOR_NOW, State.LINKED)) - fetching)
    remaining = tally.total - tally[State.DONE] - failed - tally[State.UNKNOWN]
    pace = speed.items_per_second(now=now)
    # While all of it waits, the pace of a moment ago says nothing of how long it takes.
    is_held = waiting is not None and in_flight == 0
    return Progress(
        total=tally.total,
        done=tally[State.DONE],
        failed=failed,
        unknown=tally[State.UNKNOWN],
        in_flight=in_flight,
        images=tally.images,
        elapsed=now - started_at,
        rate=speed.images_per_minute(now=now),
        limit=limit,
        eta=remaining / pace if pace > 0 and remaining and not is_held else None,
        waiting=waiting,
        cost=None if spending is None else spending.shown,
        unknown_costs=0 if spending is None else spending.unknown,
        estimated_cost=None if spending is None else spending.estimate_whole(),
        priced_on=() if spending is None else spending.priced_on,
    )
