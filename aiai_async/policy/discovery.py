"""Finding a rate or a window that no answer speaks of.

All that is seen of them are refusals. From one exhaustion to the next so many were let in within so many seconds: that
is the rate, whatever the server counts by. Pure: `now` is an argument. It knows nothing of what is in flight.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import attrs

from aiai_async.policy.ceilings import TINY, Ceiling

# Admissions after which the pace has doubled, where nothing was refused: low enough to find a rise, high enough to
# keep refusals few. The only sharp parameter.
_PLATEAU: Final = 140.0
_LEAST_SURE: Final = 0.2
_PLATEAU_MOMENTS: Final = 25.0
# In a window one more than it holds is tried after so many, at its end, where waiting would follow anyway.
_PLATEAU_IN_WINDOW: Final = 50
# So many admissions are enough to know a rate.
_ENOUGH: Final = 20
# A short look may raise or lower the rate by this at once; only much less is believed.
_MOST_CHANGE: Final = 0.3
_REAL_DROP: Final = 1 / 3
_CHANGED: Final = 0.6
_DEBT: Final = 0.005
_SLACK: Final = 0.5
# Where the end of a lockout is not said: windows that people choose, a little later each.
_WINDOWS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
_MARGIN: Final = 1.003
_MOST_STEP: Final = 120.0
# Once a rate is known the end is near: first try, in sends; then doubling.
_FIRST_BY_RATE: Final = 2.0
_MOST_STEP_BY_RATE: Final = 30.0
# A lockout of this part of a cycle or more is a window's.
_WINDOW_SHARE: Final = 0.5
_LEAST_IN_WINDOW: Final = 3
# Locked out before this part of a window: it is none.
_MISSED: Final = 0.5
# A cycle that lets in no more than this part of the one before, at once after a long lockout, is no cycle.
_STILL_LOCKED: Final = 0.05


@attrs.frozen(kw_only=True, eq=False)
class Cycle:
    """From one exhaustion to the next."""

    began_at: float
    ended_at: float
    admitted: int
    is_first: bool
    """Whether it has the burst in it that was there in the beginning."""


class RateFinder:
    """Estimates a hidden rate from refusals, and paces by it, faster and faster until the next.

    Where the server locks the key out for most of a cycle it keeps a window: then so many go in any such time, as fast
    as the ramp lets them; else one at a time.
    """

    __slots__ = (
        "_admitted",
        "_before",
        "_cycles",
        "_in_window",
        "_is_merged",
        "_known",
        "_log",
        "_next_at",
        "_opened_at",
        "_raise",
        "_since",
        "_since_probe",
        "rate",
        "window",
    )

    def __init__(self) -> None:
        self.rate: float | None = None
        """Requests a second; None: not known."""
        self.window: Ceiling | None = None
        """The window that the server seems to keep; None: it doesn't seem to."""
        self._cycles: Final[deque[Cycle]] = deque(maxlen=_ENOUGH)
        self._admitted = 0
        """Let in since the last exhaustion."""
        self._since: float | None = None
        """When that was, or when the first was sent."""
        self._opened_at = 0.0
        """When the first was let in after it, or in the window that is under way."""
        self._in_window = 0
        """Let in since then."""
        self._log = SendLog()
        """When those were sent."""
        self._before: tuple[float, int, SendLog] | None = None
        """The same of the window before, until a request is let in in this one."""
        self._is_merged = False
        self._known = 0
        """How many admissions the rate is known by."""
        self._since_probe = 0
        self._raise = 0
        """By how much the window was raised last; 0: the last try was refused."""
        self._next_at = 0.0

    def pace(self, silence: float) -> float:
        """Give how many a second are tried now; infinite where nothing is known."""
        if self.rate is None:
            return math.inf
        sure = min(1.0, max(_LEAST_SURE, self._known / _ENOUGH))
        plateau = max(_PLATEAU * sure, _PLATEAU_MOMENTS * silence * self.rate)
        return self.rate * (1 + (self._admitted / plateau) ** 3)

    def ready_at(self, now: float) -> float:
        """Give when the next may be sent."""
        if self.window is not None:
            may_probe = self._raise > 0 or self._since_probe >= _PLATEAU_IN_WINDOW
            return now if may_probe and self.is_probe(now) else self.window.ready_at(1.0, now)
        return now if self.rate is None else max(now, self._next_at)

    @property
    def is_unknown(self) -> bool:
        """Whether neither a rate nor a window is known."""
        return self.rate is None and self.window is None

    @property
    def is_full(self) -> bool:
        """Whether a window is known and used up, or more than it held is tried."""
        return self.window is not None and (self._in_window >= self.window.limit or self._raise > 0)

    @property
    def is_raising(self) -> bool:
        """Whether more than a window held is tried."""
        return self._raise > 0

    def is_probe(self, now: float) -> bool:
        """Tell whether the next tries whether a window holds more than it did."""
        window = self.window
        return window is not None and self._in_window >= window.limit and now < self._opened_at + window.window

    def send(self, now: float, silence: float, *, is_canary: bool) -> None:
        """Note that a request is let go; a canary is part of the window before, until `learn` knows better."""
        if self._since is None:
            self._since = self._opened_at = now
        if self.window is not None:
            self._since_probe = 0 if self.is_probe(now) else self._since_probe + 1
            if now >= self._opened_at + self.window.window and not is_canary:
                self._before = self._opened_at, self._in_window, self._log
                self._opened_at, self._in_window, self._log = now, 0, SendLog()
        self._admitted += 1
        self._in_window += 1
        self._log.append(now)
        if self.window is not None:
            self.window.take(1.0, now)
        elif self.rate is not None:
            self._next_at = max(self._next_at, now - _DEBT) + 1 / self.pace(silence)

    def take_back(self) -> None:
        """Note that a request was refused or never sent."""
        self._admitted = max(0, self._admitted - 1)
        self._in_window = max(0, self._in_window - 1)
        self._log.pop()
        if self._in_window == 0 and self._before is not None:
            # It had not begun.
            self._opened_at, self._in_window, self._log = self._before
            self._before = None

    def raise_window(self) -> None:
        """Note that one more than the window held was let in."""
        if self.window is not None:
            self._raise = 2 * self._raise or 1
            self.window.limit += self._raise

    def search(self, began_at: float, now: float) -> float:
        """Give when a lockout that began then, and holds still, may be over.

        Windows are counted from the end of the first burst: a sliding one, and one that counts refusals, is free again
        only then. Later ones from when the window before was open.
        """
        if self.rate is not None and (self.window is None or self._in_window < _MISSED * self.window.limit):
            return now + min(_MOST_STEP_BY_RATE, max(_FIRST_BY_RATE / self.rate, now - began_at))
        if self.window is None:
            origin, lengths = began_at, [window * _MARGIN for window in _WINDOWS]
        else:
            # Where a whole window was used up, nothing is to be expected before its end; then soon.
            known = self.window.window
            origin, lengths = self._opened_at, [known]
            is_usual = any(abs(known / (window * _MARGIN) - 1) < 0.01 for window in _WINDOWS)
            if is_usual:
                lengths += [known * (1 + 0.02 * 2**k) for k in range(6)]
            lengths += [window * _MARGIN for window in _WINDOWS if window * _MARGIN > known]
        for length in lengths:
            at = origin + length
            # A try takes its own time: one that would follow on its heels teaches nothing.
            if at > now + 0.01 * length:
                return at
        return now + _MOST_STEP

    def learn(
        self, *, exhausted_at: float, refused_at: float, recovered_at: float, is_told: bool, blur: float = 0.0
    ) -> None:
        """Learn from a cycle that is over: a limit was hit, and a request was let in again.

        Args:
            exhausted_at: when the first was refused that was sent after the last reaction.
            refused_at: when the last one was.
            recovered_at: when the one was sent that was let in then; it belongs to the next cycle.
            is_told: whether the server said when that would be. Then it is as exact a mark as the exhaustion, and a
                better one, since what was on its way at the exhaustion doesn't blur it.
            blur: seconds by which letting go and arriving may differ, from one request to another.
        """
        assert self._since is not None
        admitted = self._admitted - 1
        active, locked_before = exhausted_at - self._opened_at, self._opened_at - self._since
        last = self._cycles[-1] if self._cycles else None
        if (
            last is not None
            and not self._is_merged
            and admitted <= max(1.0, _STILL_LOCKED * last.admitted)
            and last.admitted >= _LEAST_IN_WINDOW
            and active < 0.1 * locked_before
        ):
            self._is_merged = True
            self._cycles[-1] = attrs.evolve(last, admitted=last.admitted + admitted)
            self._admitted = self._in_window = 1
            return
        if last is None and admitted <= 0:
            # Nothing was let in before: a server that answers so to all tells of no limit.
            self._admitted = self._in_window = 1
            self._since = self._opened_at = recovered_at
            return
        self._is_merged = False
        ended_at = recovered_at if is_told else exhausted_at
        self._cycles.append(Cycle(began_at=self._since, ended_at=ended_at, admitted=admitted, is_first=last is None))
        self._suppose_window(exhausted_at, recovered_at, blur)
        self._estimate((recovered_at + refused_at) / 2)
        self._admitted = self._in_window = 1
        self._since_probe = self._raise = 0
        self._since, self._opened_at = ended_at, recovered_at
        self._log = SendLog()
        self._log.append(recovered_at)
        # Half a request of slack: without it the least haste is refused.
        self._next_at = recovered_at + (1 + _SLACK) / self.pace(0.0)

    def _suppose_window(self, exhausted_at: float, recovered_at: float, blur: float) -> None:
        """Take it for a window's where the lockout was most of the time since it was open."""
        length = recovered_at - self._opened_at
        admitted = self._in_window - 1
        # The last entry is the one that was let in now. A window that was known is waited for without a refusal.
        locked = recovered_at - (exhausted_at if self.window is None else self._log.entries[-2:][0][0])
        self.window = None
        if admitted >= _LEAST_IN_WINDOW and locked >= _WINDOW_SHARE * length:
            # The margin of what is searched for is mostly more than that.
            self.window = Ceiling(admitted, length + max(0.0, blur - (_MARGIN - 1) * length))
            for at, count in self._log.entries:
                self.window.take(count, at)

    def _estimate(self, recovered_at: float) -> None:
        self._forget_before_change()
        # From one exhaustion to the next is exact; after the first, whose burst isn't, there is only the recovery.
        ended_at = recovered_at if len(self._cycles) == 1 else self._cycles[-1].ended_at
        admitted, began_at = 0, ended_at
        for cycle in reversed(self._cycles):
            if admitted and cycle.is_first:
                break
            admitted += cycle.admitted
            began_at = cycle.began_at
            if admitted >= _ENOUGH:
                break
        self._known = admitted
        found = max(admitted, 0.5) / max(ended_at - began_at, TINY)
        if self.rate is None or admitted >= _ENOUGH or found <= _REAL_DROP * self.rate:
            self.rate = found
        else:
            self.rate = min(max(found, self.rate * (1 - _MOST_CHANGE)), self.rate * (1 + _MOST_CHANGE))

    def _forget_before_change(self) -> None:
        """Drop what was before the limit changed: two cycles in a row that are far slower than the estimate show it."""
        if self.rate is None or len(self._cycles) < 3:
            return
        one, other = self._cycles[-2], self._cycles[-1]
        seconds = other.ended_at - one.began_at
        if one.admitted + other.admitted < _CHANGED * self.rate * seconds:
            self._cycles.clear()
            self._cycles.extend((one, other))


class SendLog:
    """When requests were sent, in at most some hundred entries: neighbours are put together where there are more."""

    __slots__ = ("entries",)

    _MOST: Final = 512

    def __init__(self) -> None:
        self.entries: list[tuple[float, int]] = []
        """Times, and how many until then."""

    def append(self, now: float) -> None:
        """Note a request."""
        self.entries.append((now, 1))
        if len(self.entries) >= self._MOST:
            pairs = zip(self.entries[::2], self.entries[1::2], strict=True)
            self.entries = [(later, one + other) for (_, one), (later, other) in pairs]

    def pop(self) -> None:
        """Take the newest back."""
        if self.entries:
            at, count = self.entries.pop()
            if count > 1:
                self.entries.append((at, count - 1))
