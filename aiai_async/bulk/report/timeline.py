"""The time in which a job ran: that of its runs put together, without the nights between them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from aiai_async.bulk.records import RunRow

# A run that has only begun, or of which nothing but one moment is known, has a length all the same.
_SHORTEST: Final = 0.001


@attrs.frozen
class Timeline:
    """Stretches of time in Unix seconds, put one after another.

    Example:
        >>> timeline = Timeline(((100.0, 110.0), (500.0, 505.0)))
        >>> timeline.duration, timeline.joints
        (15.0, (10.0,))
        >>> timeline.place(104.0), timeline.place(300.0), timeline.place(502.0), timeline.place(9000.0)
        (4.0, 10.0, 12.0, 15.0)
    """

    spans: tuple[tuple[float, float], ...]
    """Begin and end of each, in order; none overlaps another."""

    @classmethod
    def of(cls, runs: Iterable[RunRow], extents: Mapping[int, tuple[float, float]], *, now: float | None) -> Timeline:
        """Make the timeline of a job.

        Args:
            runs: as the journal has them; one without an end was killed, or is the one that is under way.
            extents: by run, when its first item was sent and its last one ended. Of runs of before the journal kept
                them nothing else is known.
            now: Unix seconds, where the last run is under way; else None.
        """
        known = {row.run: row for row in runs}
        spans: list[tuple[float, float]] = []
        last_run = max(known, default=None)
        for number in sorted({*known, *extents}):
            row, extent = known.get(number), extents.get(number)
            begin = row.started_at if row is not None and row.started_at is not None else extent[0] if extent else None
            if begin is None:
                continue
            if row is not None and row.ended_at is not None:
                end = row.ended_at
            else:
                end = now if number == last_run and now is not None else extent[1] if extent else begin
            # A clock may have been set back.
            begin = max(begin, spans[-1][1]) if spans else begin
            spans.append((begin, max(end, begin + _SHORTEST)))
        return cls(tuple(spans))

    @property
    def duration(self) -> float:
        """Seconds in all."""
        return sum(end - begin for begin, end in self.spans)

    @property
    def joints(self) -> tuple[float, ...]:
        """Where each run but the first begins, in seconds of running time."""
        found: list[float] = []
        passed = 0.0
        for begin, end in self.spans[:-1]:
            passed += end - begin
            found.append(passed)
        return tuple(found)

    def place(self, at: float) -> float:
        """Turn Unix seconds into seconds of running time; what lies between two runs is where they meet."""
        passed = 0.0
        for begin, end in self.spans:
            if at < end:
                return passed + max(0.0, at - begin)
            passed += end - begin
        return passed
