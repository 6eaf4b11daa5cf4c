"""Refills: how much a limit is, and how that comes back, found out from what answers say of it.

A window ends at one point in time, whatever is sent; the point where a bucket is full moves by what is taken; the point
where a sliding window is whole moves with time. So two readings tell which it is, or the wait that one refusal names.
Pure. It knows nothing of what is left now, nor of what is under way.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import attrs

from aiai_async._facts import LimitFact
from aiai_async.policy.ceilings import MINUTE, Unit

Shape = Literal["unknown", "bucket", "window", "sliding"]

# A shape is believed when it is this many votes ahead.
_BELIEF: Final = 2
_MOST_VOTES: Final = 4
# Seconds by which figures are off: rounding to a millisecond, timers.
_JITTER: Final = 0.004
# A window measured to be this close to what is thought is that.
_WINDOW_OFF: Final = 0.1
# So much has to come back before it tells how fast it does.
_LEAST_GAIN: Final = 3.0
# And over so long: within less, answers that overtake one another look like a bucket that fills.
_LEAST_GAIN_TIME: Final = 0.1


@attrs.frozen(kw_only=True, eq=False)
class Reading:
    """When an answer's figures were taken, and after which request."""

    place: int
    """The place, in the order of writing, of the last request that they count."""
    at: float
    jitter: float
    """How far `at` may be off, in seconds."""
    is_fresh: bool
    """Whether it holds now, too."""


class _Base:
    """A reading that later ones are compared with."""

    __slots__ = ("at", "coarseness", "jitter", "point", "spent")

    def __init__(self, reading: Reading, point: float, coarseness: float) -> None:
        self.at: Final = reading.at
        self.jitter: Final = reading.jitter
        self.point: Final = point
        """When the limit was to be whole again."""
        self.coarseness: Final = coarseness
        self.spent = 0.0
        """What was sent since."""


class Refill:
    """How one limit comes back, as far as is known. See the module.

    Args:
        unit: what the limit counts.
    """

    __slots__ = (
        "_base",
        "_candidate",
        "_gained_from",
        "_is_rate_seen",
        "_longest_reset",
        "_unit",
        "_votes",
        "capacity",
        "is_window_known",
        "limit",
        "shape",
        "window",
    )

    def __init__(self, unit: Unit) -> None:
        self.limit = math.inf
        self.capacity = math.inf
        """How much a bucket holds."""
        self.window = MINUTE
        """In how many seconds all of it comes back, as far as is known."""
        self.is_window_known = False
        """Whether the server said that, or a window was seen to end."""
        self.shape: Shape = "unknown"
        """What it is: so many votes ahead of the others."""
        self._unit: Final = unit
        self._is_rate_seen = False
        """Whether figures agree with how fast it is thought to fill."""
        self._base: _Base | None = None
        """A reading that later ones are compared with."""
        self._candidate = 0.0
        """Seconds in which one unit comes back, as the last pair of readings had it."""
        self._longest_reset = 0.0
        self._gained_from: tuple[float, float, float] | None = None
        """The limit, when it was read, and what was left then less what was sent since."""
        self._votes: Final[dict[Shape, int]] = {"bucket": 0, "window": 0, "sliding": 0}

    @property
    def length(self) -> float:
        """How long a window is, in seconds: as seen, else the longest wait that was named."""
        return self.window if self.is_window_known or not self._longest_reset else self._longest_reset

    @property
    def rate(self) -> float:
        """How much comes back in a second, in the long run."""
        return self.limit / self.window

    @property
    def is_rate_doubtful(self) -> bool:
        """Whether it is only supposed that a bucket fills once a minute."""
        return not self.is_window_known and not self._is_rate_seen and self._unit != "tokens"

    def set_limit(self, limit: float) -> None:
        """Take over what the limit is now; how it comes back is as before."""
        self.limit = self.capacity = limit
        self._base = None

    def set_window(self, window: float) -> None:
        """Take over how long the server says that its window is."""
        self.window, self.is_window_known = window, True

    def quicken(self) -> bool:
        """Note that a request was let in that should have found nothing left; gives whether that tells anything."""
        if self.is_rate_doubtful:
            self.window /= 2
            return True
        return False

    def compare(self, fact: LimitFact, reading: Reading, spent: float) -> None:
        """Compare a reading with an earlier one, since the newest of which `spent` was sent."""
        assert fact.resets_in is not None
        assert fact.remaining is not None
        point = reading.at + fact.resets_in
        self._longest_reset = max(self._longest_reset, fact.resets_in)
        base = self._base
        if base is None:
            self._base = _Base(reading, point, fact.resolution)
            return
        base.spent += spent
        spent = base.spent
        moved, passed = point - base.point, reading.at - base.at
        tolerance = _JITTER + max(base.jitter, reading.jitter) + max(base.coarseness, fact.resolution)
        unit_in = self.window / self.limit
        fits: list[Shape] = []
        if abs(moved) <= tolerance:
            fits.append("window")
        if abs(moved - spent * unit_in) <= tolerance:
            # A window that was used up moves by its length, as a bucket does by all that it holds.
            if moved < self.window - tolerance:
                fits.append("bucket")
        elif moved > 4 * tolerance and spent > 0 and reading.is_fresh and self._may_have_another_window:
            # Perhaps a bucket of another window than a minute: the same twice is believed.
            found, before, self._candidate = moved / spent, self._candidate, moved / spent
            if abs(found - before) <= 0.05 * found and abs(moved - passed) > tolerance:
                fits.append("bucket")
                window = found * self.limit
                if abs(window / self.window - 1) > _WINDOW_OFF:
                    self.window = window
        is_rollover = "bucket" not in fits and moved > 4 * tolerance and passed < 1.5 * moved
        if self.shape == "window" and is_rollover and reading.is_fresh:
            self.window, self.is_window_known = moved, True
        elif self.shape == "bucket":
            # A bucket may hold less than a minute's worth.
            held = fact.remaining + fact.resets_in * self.rate
            self.capacity = self.limit if held > self.limit - 1.5 else max(1.0, math.floor(held + 0.5))
        # Where nothing was sent between, they look alike: a later reading will tell.
        is_telling = spent * unit_in > 2 * tolerance and len(fits) == 1
        if is_telling:
            self._count(fits[0], 1)
            self._is_rate_seen |= fits == ["bucket"]
        if is_telling or passed > self.window / 2 or (not fits and passed > 2 * tolerance):
            self._base = _Base(reading, point, fact.resolution)

    def note_gain(self, remaining: float, reading: Reading, spent: float) -> None:
        """Correct how fast a bucket fills where more came back than it should have."""
        if self._gained_from is None or self._gained_from[0] != self.limit or self._unit == "tokens":
            self._gained_from = self.limit, reading.at, remaining
            return
        _, at, before = self._gained_from
        self._gained_from = self.limit, at, before - spent
        gained, passed = remaining - before + spent, reading.at - at + reading.jitter
        if gained >= _LEAST_GAIN and passed >= _LEAST_GAIN_TIME + 5 * reading.jitter:
            self._gained_from = self.limit, reading.at, remaining
            # What is left is said in whole numbers: up to one may have been there before.
            found = (gained - 1) / passed
            if self.shape != "window" and not self.is_window_known and found > (1 + _WINDOW_OFF) * self.rate:
                self.window = self.limit / found
        elif passed > self.window:
            self._gained_from = self.limit, reading.at, remaining

    def read_refusal(self, fact: LimitFact, cost: float, retry_after: float | None) -> None:
        """Learn from how long the refusal of a request asks to wait; `cost` is what it would have taken."""
        if retry_after is None or fact.remaining is None or fact.resets_in is None or fact.limit is None:
            return
        tolerance = _JITTER + max(fact.resolution, 1.0 if retry_after == int(retry_after) else 0.0)
        rest = fact.limit - cost
        if fact.remaining >= cost or fact.resets_in <= 2 * tolerance or rest <= 0:
            return
        # Of a bucket that holds the whole limit: from being able to do this to being full, the rest comes back.
        unit_in = (fact.resets_in - retry_after) / rest
        if abs(fact.resets_in - retry_after) <= tolerance:
            # A bucket that one request fills has both equal.
            if cost * 2 <= fact.limit:
                self._count("window", 2)
        elif retry_after <= tolerance:
            pass
        elif retry_after <= cost * unit_in + tolerance:
            found = unit_in * fact.limit
            may_differ = not self.is_window_known and self._unit != "tokens"
            if may_differ and abs(found / self.window - 1) > _WINDOW_OFF:
                # Figures of one moment don't depend on what others use; those of two do.
                self.window = MINUTE if abs(found / MINUTE - 1) <= _WINDOW_OFF else found
            self._is_rate_seen = True
            self._count("bucket", 2)
        elif retry_after <= cost * self.window / fact.limit + tolerance:
            # One that holds less than the limit.
            self._count("bucket", 2)
        else:
            # A bucket would be back sooner, a window has one end.
            self._count("sliding", 2)

    @property
    def _may_have_another_window(self) -> bool:
        """Whether it is open in what time it comes back; what tokens cost is too vague to tell."""
        return self.shape != "bucket" and self.is_rate_doubtful

    def _count(self, shape: Shape, votes: int) -> None:
        for each in self._votes:
            if each == shape:
                self._votes[each] = min(_MOST_VOTES, self._votes[each] + votes)
            else:
                self._votes[each] = max(0, self._votes[each] - votes)
        first, second = sorted(self._votes, key=self._votes.__getitem__, reverse=True)[:2]
        self.shape = first if self._votes[first] - self._votes[second] >= _BELIEF else "unknown"
