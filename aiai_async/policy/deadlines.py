"""Which time of a call runs out next."""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

from aiai_async._errors import Phase


def _seconds(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and value > 0):  # type: ignore[operator] # it is a number here
        raise ValueError(
            f"{attribute.name}: {value!r} is no time in seconds; give a number above 0, or None for no bound"
        )


@attrs.frozen(kw_only=True)
class Timeout:
    """How long the parts of one call may take, in seconds; None is no bound.

    Raises:
        ValueError: a time is not above 0.

    Example:
        >>> Timeout(total=30)
        Timeout(connect=5, first_byte=None, stall=120, total=30, queue=None)
    """

    connect: float | None = attrs.field(default=5, validator=_seconds)
    """To look up the host, connect and agree on TLS. Nothing was sent when this runs out."""
    first_byte: float | None = attrs.field(default=None, validator=_seconds)
    """From the end of sending to the first byte of an image or, in a stream, of an event's data."""
    stall: float | None = attrs.field(default=120, validator=_seconds)
    """Between two pieces of images or of events' data, counted from the first; comments don't count."""
    total: float | None = attrs.field(default=600, validator=_seconds)
    """The whole call: every attempt, the waits between them, the body. Waiting for a permit doesn't count."""
    queue: float | None = attrs.field(default=None, validator=_seconds)
    """Waiting to be let go, by rate limits and `max_connections`, all of it together."""

    @classmethod
    def of(cls, value: Timeout | float) -> Timeout:
        """Take a number as the total.

        Raises:
            ValueError: it is neither a Timeout nor a number above 0.
        """
        return value if isinstance(value, cls) else cls(total=value)  # type: ignore[arg-type] # a number; else refused


class Deadlines:
    """The deadlines of one call. Points in time are seconds of one steady clock.

    Args:
        timeout: the bounds.
        started_at: when the call began.
    """

    __slots__ = ("_next", "_phase", "_total_at", "at", "timeout")

    def __init__(self, timeout: Timeout, *, started_at: float) -> None:
        self.timeout: Final = timeout
        self._total_at = math.inf if timeout.total is None else started_at + timeout.total
        self._phase: Phase = "total"
        self._next = math.inf
        self.at = self._total_at
        """When the next of them runs out; infinite where none does."""

    @property
    def phase(self) -> Phase:
        """Which time runs out at `at`."""
        return self._phase if self._next < self._total_at else "total"

    @property
    def seconds(self) -> float | None:
        """The length of the time that runs out at `at`."""
        bounds = {"first_byte": self.timeout.first_byte, "stall": self.timeout.stall}
        return bounds.get(self.phase, self.timeout.total)

    def pause(self) -> None:
        """Let only `total` run: before an attempt was sent, and while the caller's own code is at work."""
        self._set(math.inf, "total")

    def sent(self, now: float) -> None:
        """Note that the request was sent."""
        self._set(math.inf if self.timeout.first_byte is None else now + self.timeout.first_byte, "first_byte")

    def progress(self, now: float) -> None:
        """Note that a piece of an image came."""
        self._set(math.inf if self.timeout.stall is None else now + self.timeout.stall, "stall")

    def postpone(self, seconds: float) -> None:
        """Leave a time out of `total`, such as the wait for a permit."""
        self._total_at += seconds
        self.at = min(self._next, self._total_at)

    def skip(self, seconds: float) -> None:
        """Leave a time out of what runs now, but not out of `total`: nobody read meanwhile."""
        self._next += seconds
        self.at = min(self._next, self._total_at)

    def time_left(self, now: float) -> float:
        """Seconds until `total` is over; infinite where it has no bound."""
        return self._total_at - now

    def _set(self, at: float, phase: Phase) -> None:
        self._next = at
        self._phase = phase
        self.at = at if at < self._total_at else self._total_at
