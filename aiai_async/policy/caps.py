"""Finding a cap on simultaneous requests that no answer speaks of.

All that is seen of it are refusals. One that is over as soon as another request has ended is a cap's. Pure, and without
time: numbers of requests in flight are all it is told. It knows nothing of rates.
"""

from __future__ import annotations

from typing import Final

# A cap looks like a rate where answers take long, so one more than the cap is tried after so many.
_FIRST_PROBE: Final = 12
_MOST_PROBE: Final = 300
_MOST_REFUTATIONS: Final = 3
# Of what goes under a cap no more than this part is refused by it; more is refused for another reason.
_MOST_REFUSED: Final = 0.2
_LEAST_REFUSED: Final = 4
# The tries of one more are so far apart at least: so many refusals sooner are none of them.
_MOST_STRIKES: Final = 3
# A refusal beside this part of the cap or more is the cap's: how many are in flight looks different to the server.
_NEAR_CAP: Final = 0.7


class CapFinder:
    """Tells a cap on simultaneous requests from a rate: it lets the next in when one that was in flight is done."""

    __slots__ = (
        "_probe_after",
        "_raise",
        "_refused",
        "_refutations",
        "_sent",
        "_since_probe",
        "_since_refusal",
        "_strikes",
        "cap",
        "held",
        "is_suspected",
        "is_tried",
    )

    def __init__(self) -> None:
        self.cap: int | None = None
        """Most requests in flight; None: no cap is known."""
        self.is_suspected = False
        """Whether the lockout that is under way may be a cap's."""
        self.held = 0
        """How many were in flight as it began, all refusals taken out."""
        self.is_tried = False
        """Whether a request was let go on a completion in it."""
        self._refutations = 0
        self._sent = self._refused = 0
        """How many were let go since the cap was found, and how many of them were refused."""
        self._since_refusal = 0
        self._strikes = 0
        self._since_probe = 0
        self._probe_after = _FIRST_PROBE
        self._raise = 0
        """By how much the cap was raised last; 0: the last try was refused."""

    def allows(self, in_flight: int) -> bool:
        """Tell whether another may go."""
        if self.cap is None or in_flight < self.cap:
            return True
        return in_flight == self.cap and (self._raise > 0 or self._since_probe >= self._probe_after)

    def send(self, in_flight: int) -> None:
        """Note that a request is let go while so many others are in flight."""
        self._sent += 1
        self._since_refusal += 1
        if self.cap is not None:
            self._since_probe = 0 if in_flight >= self.cap else self._since_probe + 1

    def admit(self, in_flight: int) -> None:
        """Note that a request was let in beside so many others: more than the cap may be."""
        if self.cap is not None and in_flight >= self.cap:
            self._raise = 2 * self._raise or 1
            self.cap += self._raise

    def refuse(self, in_flight: int) -> bool:
        """Note that a request was refused beside so many others; gives whether the cap explains it."""
        if self.cap is None:
            return False
        self._refused += 1
        self._strikes = self._strikes + 1 if self._since_refusal < _FIRST_PROBE else 0
        self._since_refusal = 0
        is_too_often = self._strikes >= _MOST_STRIKES or (
            self._refused >= _LEAST_REFUSED and self._refused > _MOST_REFUSED * self._sent
        )
        if in_flight < _NEAR_CAP * self.cap or is_too_often:
            self.cap = None
            self._refutations += 1
            return False
        if self._raise:
            # More was tried than there was.
            self.cap, self._raise = self.cap - self._raise, 0
        if in_flight < self.cap:
            self.cap = max(1, in_flight)
        else:
            self._probe_after = min(_MOST_PROBE, self._probe_after * 4)
        self._since_probe = 0
        return True

    def refuse_late(self) -> None:
        """Note that a request was refused that was on its way at an earlier refusal."""
        self.held = max(0, self.held - 1)
        self._refused += 1

    def suspect(self, in_flight: int) -> None:
        """Note that a lockout began that says nothing of how long, while so many others are in flight."""
        self.is_suspected = in_flight > 0 and self._refutations < _MOST_REFUTATIONS
        self.is_tried = False
        self.held = in_flight

    def confirm(self) -> bool:
        """Note that the request that went on a completion was let in; gives whether that makes a cap."""
        is_cap, self.is_suspected = self.is_suspected and self.held > 0, False
        if is_cap:
            self.suppose(self.held)
        return is_cap

    def suppose(self, cap: int) -> None:
        """Take a cap as given, until it is refuted."""
        if cap != self.cap:
            self._probe_after = _FIRST_PROBE
        self.cap, self._since_probe, self._raise = cap, 0, 0
        self._sent = self._refused = 0
        self._since_refusal, self._strikes = _FIRST_PROBE, 0
