"""Budgets: what is left of a limit that the server speaks of, followed between its answers by what is sent.

What a budget is told: what was sent, what of it was refused or never sent, and what answers say; how the limit comes
back is its `Refill`'s to find out. Until that is known it keeps two levels, that of a bucket and that of a window.
Pure: `now` is an argument, seconds of one steady clock. It knows nothing of waiters, pauses or who decides.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from aiai_async._facts import LimitFact
from aiai_async.policy.ceilings import TINY, Ceiling, unit_of
from aiai_async.policy.refills import Reading, Refill, Shape

# Where nothing says in what time a bucket fills, a wait longer than this many seconds is tried to be cut short,
# after this part of it.
_LEAST_DOUBT: Final = 0.5
_DOUBT_PART: Final = 0.2
# Single costs are off the average by this many mean deviations at most.
_SAFETY: Final = 4.0


@attrs.frozen(eq=False)
class Note:
    """What was thought to be left of a budget after a request."""

    kept: float
    """If it is a window."""
    refilled: float
    """If it is a bucket."""
    limit: float
    """What the limit was."""


class Budget:
    """A limit that the server speaks of, followed between its answers by what was sent.

    Until it is known how it comes back, the earlier of bucket and window counts, and one request tries it.

    Args:
        name: as the server calls it.
    """

    __slots__ = (
        "_at",
        "_deviation",
        "_has_rolled",
        "_kept",
        "_kept_shift",
        "_log",
        "_outstanding",
        "_refilled",
        "_refilled_shift",
        "_taken_at",
        "_unwritten",
        "_written",
        "anchor",
        "blur",
        "is_shared",
        "name",
        "refill",
        "reset_at",
        "scale",
        "taken",
        "unit",
    )

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.unit: Final = unit_of(name)
        self.refill: Final = Refill(self.unit)
        """How it comes back."""
        self.reset_at: float | None = None
        """When a window ends, or a bucket is full; None: not known, or passed."""
        self.blur = 0.0
        """How far apart, in seconds, sending and arriving may be."""
        self._has_rolled = False
        """Whether a window was seen to end."""
        self._taken_at = 0.0
        self.is_shared = False
        """Whether several queues use it."""
        self.taken = 0.0
        """What was taken of it so far, in all."""
        self.scale = 1.0
        """True cost by estimated cost."""
        self._deviation = 0.0
        """How far single costs are off that."""
        self._refilled = 0.0
        """What is left if it is a bucket."""
        self._kept = 0.0
        """What is left if it is a window."""
        self._kept_shift = self._refilled_shift = 0.0
        """By how much they were corrected so far, in all."""
        self._at = -math.inf
        self.anchor = -1
        """The place of the newest request whose answer was read."""
        self._written: Final[dict[int, tuple[float, float]]] = {}
        """What was written after the newest reading's request: cost and time by place."""
        self._unwritten: Final[dict[int, float]] = {}
        """What was let go and is not written yet: cost by number."""
        self._outstanding = 0.0
        """How much both are."""
        self._log: Ceiling | None = None
        """What was sent in a sliding window."""

    @property
    def limit(self) -> float:
        """How much it is, in all; infinite: not known yet."""
        return self.refill.limit

    @property
    def capacity(self) -> float:
        """How much a bucket holds."""
        return self.refill.capacity

    @property
    def window(self) -> float:
        """In how many seconds all of it comes back, as far as is known."""
        return self.refill.window

    @property
    def is_window_known(self) -> bool:
        """Whether the server said that, or a window was seen to end."""
        return self.refill.is_window_known

    @property
    def shape(self) -> Shape:
        """How it comes back, as far as is known."""
        return self.refill.shape

    @property
    def length(self) -> float:
        """How long a window is, in seconds: as seen, else the longest wait that was named."""
        return self.refill.length

    @property
    def rate(self) -> float:
        """How much comes back in a second, in the long run."""
        return self.refill.rate

    def available(self, now: float) -> float:
        """Give how much is left, as far as is known."""
        self._advance(now)
        shape = self.refill.shape
        if shape == "bucket":
            return self._refilled
        if shape == "sliding" and self._log is not None:
            self._log.ready_at(0.0, now)
            return self._log.limit - self._log.used
        return self._kept

    def ready_at(self, cost: float, now: float) -> tuple[float, bool]:
        """Give when `cost` may be taken, and whether that is sure; not sure is for one request to try."""
        refill = self.refill
        cost = min(cost * (self.scale + _SAFETY * self._deviation), refill.capacity, refill.limit)
        self._advance(now)
        shape = refill.shape
        if shape == "sliding" and self._log is not None:
            return self._log.ready_at(cost, now), True
        doubt = self._deviation / self.scale * self._outstanding
        missing = min(cost + doubt, refill.capacity) - self._refilled
        by_bucket = now if missing <= TINY else now + missing / refill.rate
        if shape == "bucket":
            if not refill.is_rate_doubtful or by_bucket - now <= _LEAST_DOUBT:
                return by_bucket, True
            # Perhaps it fills faster than once a minute, which nothing says: one request tries it before.
            tried_at = self._taken_at + max(_LEAST_DOUBT, _DOUBT_PART * (by_bucket - self._taken_at))
            return min(by_bucket, max(now, tried_at)), False
        by_window = (
            now if min(cost + doubt, refill.limit) - self._kept <= TINY or self.reset_at is None else self.reset_at
        )
        if shape == "window":
            return by_window, True
        return min(by_bucket, by_window), max(by_bucket, by_window) <= now

    def take(self, number: int, cost: float, now: float) -> None:
        """Note that a request was let go."""
        cost *= self.scale
        self._advance(now)
        if self.reset_at is None and self.refill.limit < math.inf:
            self.reset_at = now + self.refill.length
            if self._has_rolled:
                # What is under way may count in the new window, if it was late to arrive.
                self._kept = self.refill.limit - self._outstanding
        self._unwritten[number] = cost
        self._taken_at = now
        self._outstanding += cost
        self.taken += cost
        self._refilled -= cost
        self._kept -= cost
        if self._log is not None:
            self._log.take(cost, now)

    def is_doubted(self, cost: float, now: float) -> bool:
        """Tell whether a request that goes now tries whether it fills faster than is thought."""
        self._advance(now)
        refill = self.refill
        is_doubtful = refill.shape == "bucket" and refill.is_rate_doubtful
        return is_doubtful and self._refilled < min(cost, refill.capacity) - TINY

    def quicken(self) -> None:
        """Note that a request was let in that should have found nothing left."""
        if self.refill.quicken():
            self._set(max(self._kept, 0.0), max(self._refilled, 0.0))

    def write(self, number: int, place: int, now: float) -> None:
        """Note that a request was written, after all those that have a lower place: servers count in that order."""
        if (cost := self._unwritten.pop(number, None)) is not None:
            self._written[place] = cost, now

    def give_back(self, number: int, place: int, now: float) -> None:
        """Note that a request was refused or never sent."""
        cost = self._unwritten.pop(number, 0.0) or self._written.pop(place, (0.0, 0.0))[0]
        self._outstanding -= cost
        self.taken -= cost
        self._advance(now)
        self._refilled = min(self.refill.capacity, self._refilled + cost)
        self._kept = min(self.refill.limit, self._kept + cost)

    def measure(self, found: float, weight: float) -> None:
        """Note that a request cost `found` times what was estimated; it counts for so much of the average."""
        before = self.scale
        self.scale += weight * (found - before)
        self._deviation += weight * (abs(found - self.scale) - self._deviation)
        # Those under way are thought to cost as much more.
        factor = self.scale / before
        for place, (cost, at) in self._written.items():
            self._written[place] = cost * factor, at
        for number, cost in self._unwritten.items():
            self._unwritten[number] = cost * factor
        more = self._outstanding * (factor - 1)
        self._outstanding += more
        self._set(self._kept - more, self._refilled - more)

    def read(self, fact: LimitFact, reading: Reading, now: float, noted: Note | None = None) -> None:
        """Take over what an answer says.

        Args:
            fact: what it says.
            reading: when that held.
            now: when the answer came.
            noted: what was thought to be left then; where it differs, what is left now is corrected by as much. None:
                it is worked out from what was sent since.
        """
        self._advance(now)
        if reading.place < self.anchor:
            return
        refill = self.refill
        if fact.window is not None:
            refill.set_window(fact.window)
        is_new_limit = fact.limit is not None and fact.limit != refill.limit
        if is_new_limit:
            assert fact.limit is not None
            # What is left of the old limit says nothing of the new one.
            refill.set_limit(fact.limit)
            self._log = None
        spent = self._settle(reading.place)
        if fact.remaining is None:
            self.lower(refill.limit, now)
            return
        if self.is_shared and noted is None and not reading.is_fresh and not is_new_limit:
            # An old figure with nothing to compare it with: what other queues sent meanwhile isn't known.
            return
        if refill.limit == math.inf:
            refill.set_limit(max(1.0, fact.remaining + spent))
        if fact.resets_in is not None:
            refill.compare(fact, reading, spent)
        if reading.is_fresh:
            refill.note_gain(fact.remaining, reading, spent)
        if self._log is None:
            self._log = Ceiling(refill.limit, refill.length)
            self._log.take(max(0.0, refill.limit - fact.remaining) + self._outstanding, now)
        self._log.window = refill.length
        reset_at = None if fact.resets_in is None else reading.at + reading.jitter + fact.resets_in
        is_over = reset_at is not None and reset_at <= now and fact.resets_in != 0
        if noted is None or reading.is_fresh or noted.limit != refill.limit:
            passed = max(0.0, now - reading.at - reading.jitter)
            refilled = min(refill.capacity, fact.remaining + refill.rate * passed) - self._outstanding
            self._set(refill.limit - self._outstanding if is_over else fact.remaining - self._outstanding, refilled)
        else:
            kept = 0.0 if is_over else self._correct(fact.remaining - noted.kept - self._kept_shift)
            refilled = self._correct(fact.remaining - noted.refilled - self._refilled_shift, reading.jitter)
            self._set(self._kept + kept, min(refill.capacity, self._refilled + refilled))
        if reset_at is not None and not (is_over and not reading.is_fresh):
            self.reset_at = None if is_over or (fact.resets_in == 0 and fact.remaining < 1) else reset_at
        self._at = now

    def read_refusal(self, fact: LimitFact, cost: float, retry_after: float | None) -> None:
        """Learn from how long the refusal of a request asks to wait how this limit comes back."""
        self.refill.read_refusal(fact, cost * self.scale, retry_after)

    def note(self) -> Note:
        """Note what is thought to be left, for what the answer to the request that is sent now will say."""
        return Note(self._kept - self._kept_shift, self._refilled - self._refilled_shift, self.refill.limit)

    def level(self, note: Note) -> float:
        """Give what was thought to be left, in the light of what was learned since."""
        if self.refill.shape == "bucket":
            return note.refilled + self._refilled_shift
        return note.kept + self._kept_shift

    def _settle(self, place: int) -> float:
        """Forget what was sent until that request, and give how much it was."""
        spent = 0.0
        while self._written and (first := next(iter(self._written))) <= place:
            spent += self._written.pop(first)[0]
        self._outstanding = self._outstanding - spent if self._written or self._unwritten else 0.0
        self.anchor = max(self.anchor, place)
        return spent

    def _set(self, kept: float, refilled: float) -> None:
        # What was noted before is wrong by as much.
        self._kept_shift += kept - self._kept
        self._refilled_shift += refilled - self._refilled
        self._kept, self._refilled = kept, refilled

    def _correct(self, off: float, jitter: float = 0.0) -> float:
        """Leave out what is only rounding: figures are whole numbers."""
        return 0.0 if -1.0 < off <= max(1.0, self.refill.rate * jitter) else off

    def lower(self, remaining: float, now: float) -> None:
        """Suppose that no more than this is left, where more was thought of."""
        self._advance(now)
        self._set(min(self._kept, remaining), min(self._refilled, remaining))

    def _advance(self, now: float) -> None:
        if now > self._at:
            refill = self.refill
            if self._at > -math.inf and refill.limit < math.inf:
                self._refilled = min(refill.capacity, self._refilled + refill.rate * (now - self._at))
            self._at = now
        if self.reset_at is not None and now >= self.reset_at:
            # What was sent just before may have arrived just after.
            began_at, self.reset_at = self.reset_at - self.blur, None
            self._has_rolled = True
            self._kept = self.refill.limit
            self._kept -= sum(self._unwritten.values())
            for cost, at in reversed(self._written.values()):
                if at < began_at:
                    break
                self._kept -= cost
