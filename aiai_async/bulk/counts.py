"""What is counted for requests of which nobody knows yet what they cost, and counted anew once such images are dearer.

A server may charge more than any table says. So until an answer has told what images with some settings cost, only a
part of what is left is risked on them; and when one has, all that is counted for them is counted anew. Pure.
"""

from __future__ import annotations

from typing import Final

import attrs

from aiai_async.bulk.costs import Settings

RISKED: Final = 0.25
"""The part of what is left that may be in flight with settings of which no answer has told the cost."""
# Sums of a million amounts are off by less.
_ROUNDING: Final = 1e-9


@attrs.define
class Counted:
    """What is counted for one request."""

    settings: Settings
    n: int
    """Images that it asks for."""
    usd: float


class Counts:
    """What is counted for items by their indexes: those in flight, and those that rest, for they may have been billed.

    Example:
        >>> counts, cheap = Counts(), ("painter", None, None)
        >>> counts.fly(0, Counted(cheap, n=2, usd=0.02))
        >>> counts.may_fly(cheap, 0.01, left=0.10), counts.may_fly(cheap, 0.01, left=0.12)
        (False, True)
        >>> counts.tell(cheap, 0.04)
        0.06
        >>> counts.land(0)
        Counted(settings=('painter', None, None), n=2, usd=0.08)
    """

    def __init__(self) -> None:
        self.flying: Final[dict[int, Counted]] = {}
        self.resting: Final[dict[int, Counted]] = {}
        self._told: Final[set[Settings]] = set()
        self._untold_usd: Final[dict[Settings, float]] = {}
        self._untold_flying = 0

    def fly(self, index: int, counted: Counted) -> None:
        """Count for an item that is sent, or is about to be."""
        self.flying[index] = counted
        self._add(counted.settings, counted.usd, flying=1)

    def land(self, index: int) -> Counted | None:
        """Count nothing more for an item that was in flight; give what was."""
        counted = self.flying.pop(index, None)
        if counted is not None:
            self._add(counted.settings, -counted.usd, flying=-1)
        return counted

    def rest(self, index: int, counted: Counted) -> None:
        """Count for an item that is not in flight, and may have been billed."""
        self.resting[index] = counted
        self._add(counted.settings, counted.usd)

    def wake(self, index: int) -> None:
        """Count nothing more for an item that rested."""
        counted = self.resting.pop(index, None)
        if counted is not None:
            self._add(counted.settings, -counted.usd)

    def may_fly(self, settings: Settings, usd: float, *, left: float) -> bool:
        """Tell whether so much more may be risked on these settings; at least one item may always be in flight.

        Args:
            settings: of the next item.
            usd: what it may cost more than what is counted for it.
            left: US dollars of the budget that are left, before what is counted here for untold settings.
        """
        if settings in self._told or not self._untold_flying:
            return True
        return self.untold_usd + usd <= left * RISKED + _ROUNDING

    @property
    def untold_usd(self) -> float:
        """What is counted for settings of which no answer has told what they cost."""
        return sum(self._untold_usd.values())

    def tell(self, settings: Settings, each: float) -> float:
        """Note what an image with these settings cost; give how much more is counted now."""
        if settings not in self._told:
            self._told.add(settings)
            self._untold_usd.pop(settings, None)
            self._untold_flying -= sum(counted.settings == settings for counted in self.flying.values())
        raised = 0.0
        for counted in (*self.flying.values(), *self.resting.values()):
            if counted.settings == settings and each * counted.n > counted.usd:
                raised += each * counted.n - counted.usd
                counted.usd = each * counted.n
        return raised

    def _add(self, settings: Settings, usd: float, *, flying: int = 0) -> None:
        if settings not in self._told:
            self._untold_usd[settings] = self._untold_usd.get(settings, 0.0) + usd
            self._untold_flying += flying
