"""How fast to begin: by what wasn't refused.

Refusals are fast and images are slow, so a request that was not refused within a moment was let in: silence is
admission. The more were let in, the more may be on their way unheard of, spread over that moment, so that only what
left within one round trip of a refusal is refused too. Pure: `now` is an argument.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

# A refusal takes about as long as a connect; more, where the network or the server is busy.
_CONNECTS: Final = 3.0
_LEAST: Final = 0.005
_MOST: Final = 1.0
# Before anything is known of the network, which is until the first connect.
_FIRST_GUESS: Final = 0.01
_GROWTH: Final = 0.2
# Where limits are read from answers, a refusal is rare, and so many at once cost little.
_LEAST_WIDTH_INFORMED: Final = 16.0
_GROWTH_INFORMED: Final = 0.5
_CAREFUL_WIDTH: Final = 8.0
# Timers fire late by a few milliseconds: what they lose is made up for.
_DEBT: Final = 0.005
# The newest of what is averaged counts this much.
_WEIGHT: Final = 0.2


class Unheard:
    """A request on its way: it is unheard of until it is answered, or silent for long enough."""

    __slots__ = ("heard", "let_go_at", "written_at")

    def __init__(self, now: float) -> None:
        self.let_go_at: Final = now
        self.written_at: float | None = None
        """When silence began; None: it isn't known to be written."""
        self.heard = False


class Ramp:
    """Bounds how many requests are unheard of."""

    __slots__ = (
        "_answer",
        "_lag",
        "_next_at",
        "_queue",
        "_round_trip",
        "_was_refused",
        "_writing",
        "admitted",
        "count",
        "floor",
        "is_careful",
        "is_informed",
        "silence",
        "width",
    )

    def __init__(self) -> None:
        self._queue: Final[deque[Unheard]] = deque()
        """Those that were let go, in that order; some behind the first may be heard of already."""
        self.count = 0
        """How many are unheard of."""
        self.silence = _FIRST_GUESS
        """Seconds after which a request that was not refused was let in."""
        self._round_trip: float | None = None
        self._was_refused = False
        self._lag = 0.0
        self._writing = 0.0
        """Seconds from letting go to written: a connect, mostly."""
        self._answer = math.inf
        """Seconds from letting go to an answer."""
        self._next_at = 0.0
        self.width = 1.0
        """How many may be unheard of."""
        self.admitted = 0
        """How many were let in, in all."""
        self.is_informed = False
        """Whether limits are read from answers."""
        self.floor = 1.0
        """How many may be unheard of in any case: a cap that is known."""
        self.is_careful = False
        """Whether a limit is near."""

    def note_connect(self, seconds: float) -> None:
        """Learn from the shortest TCP connect how long a refusal takes, until one came."""
        if not self._was_refused:
            self._round_trip = _CONNECTS * seconds
            self._note_silence()

    def note_refusal(self, seconds: float) -> None:
        """Learn how long a refusal took after sending."""
        self._was_refused = True
        silence = 1.5 * seconds + 0.003
        before = silence if self._round_trip is None else self._round_trip
        # One slow refusal says little; that all are slow soon shows.
        self._round_trip = before + 0.2 * (min(silence, 4 * before) - before)
        self._note_silence()

    def note_lag(self, seconds: float) -> None:
        """Learn how late this program is: what was refused meanwhile may not have been read yet."""
        self._lag = max(0.8 * self._lag, min(seconds, _MOST))
        self._note_silence()

    def ready_at(self, now: float) -> float | None:
        """Give when the next may be sent; None: when one was heard of."""
        self.settle(now)
        if self.count == 0:
            return now
        if self.count + 1 > self._allowed:
            return None
        return self._next_at if self._next_at > now else now

    def settles_at(self) -> float | None:
        """Give when the next is silent for long enough; None: not before another is sent."""
        return self._settles(self._queue[0]) if self._queue else None

    def send(self, unheard: Unheard) -> None:
        """Note that a request is let go."""
        now = unheard.let_go_at
        self.count += 1
        # What is answered sooner than silence tells need not be waited for. No max() and min() here: they are calls,
        # and this is done for each request.
        moment = self.silence + self._writing
        if self._answer < moment:
            moment = self._answer
        at, earliest = self._next_at, now - _DEBT
        self._next_at = (at if at > earliest else earliest) + moment / self._allowed
        self._queue.append(unheard)

    def sent(self, unheard: Unheard, now: float) -> None:
        """Note that it was written: silence begins."""
        if unheard.written_at is None:
            unheard.written_at = now
            self._writing += _WEIGHT * (now - unheard.let_go_at - self._writing)

    def hear(self, unheard: Unheard, now: float, *, admitted: bool) -> None:
        """Note that a request was answered or came to nothing."""
        if unheard.heard:
            return
        unheard.heard = True
        self.count -= 1
        queue = self._queue
        while queue and queue[0].heard:
            # At once: it holds what was asked for, and this client may be idle for hours.
            queue.popleft()
        if admitted:
            took = now - unheard.let_go_at
            self._answer = took if self._answer == math.inf else self._answer + _WEIGHT * (took - self._answer)
            self._admit()

    def restart(self, now: float) -> None:
        """Begin anew after a refusal; what was silent for long enough until then counts no more."""
        self.settle(now)
        self.width = 1.0

    def settle(self, now: float) -> None:
        """Take what was silent for long enough as let in."""
        queue = self._queue
        silence = self.silence
        while queue:
            first = queue[0]
            if not first.heard:
                # Silence begins no sooner than it is let go, which is seen without a call.
                if first.let_go_at + silence > now or self._settles(first) > now:
                    break
                first.heard = True
                self.count -= 1
                self._admit()
            queue.popleft()

    def _settles(self, unheard: Unheard) -> float:
        """Give when a request is silent for long enough."""
        # Not every transport tells when a request was written.
        written_at = unheard.let_go_at + self._writing if unheard.written_at is None else unheard.written_at
        return written_at + self.silence

    def _note_silence(self) -> None:
        round_trip = _FIRST_GUESS if self._round_trip is None else min(_MOST, max(_LEAST, self._round_trip))
        self.silence = round_trip + self._lag

    @property
    def _allowed(self) -> float:
        """How many may be unheard of, at least 1."""
        if self.is_informed:
            return max(self.width, _LEAST_WIDTH_INFORMED, self.admitted * _GROWTH_INFORMED)
        width = _CAREFUL_WIDTH if self.is_careful and self.width > _CAREFUL_WIDTH else self.width
        return width if width > self.floor else self.floor

    def _admit(self) -> None:
        self.width += _GROWTH
        self.admitted += 1
