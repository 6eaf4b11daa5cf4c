"""What all runs of a job may spend, in images and in US dollars: nothing is admitted that could pass it. Pure.

What is in flight counts at what it may cost at most, what may have been billed counts as spent.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

# Sums of a million costs are off by less; a budget of exactly three images must take three.
_ROUNDING: Final = 1e-9

Exhausted = Literal["max_images", "max_cost"]
"""Which budget has no room."""


class Budget:
    """How much may be asked for in all runs of a job; nothing is admitted that could pass it.

    Args:
        limit: None is no limit.
        spent: what was spent before, counted what may have been.

    Example:
        >>> budget = Budget(3, spent=1)
        >>> budget.take(2), budget.take(1)
        (True, False)
        >>> budget.settle(taken=2, used=1)
        >>> budget.take(1)
        True
    """

    def __init__(self, limit: float | None, *, spent: float = 0) -> None:
        self.limit: Final = limit
        self.used = spent
        """What is spent or being asked for."""

    def has_room_for(self, amount: float) -> bool:
        """Tell whether so much is left."""
        return self.limit is None or amount <= 0 or self.used + amount <= self.limit + _ROUNDING

    def take(self, amount: float) -> bool:
        """Take so much if it is left; tell whether it was."""
        if not self.has_room_for(amount):
            return False
        self.used += amount
        return True

    def settle(self, *, taken: float, used: float) -> None:
        """Give back what was taken and not used."""
        self.used += used - taken


@attrs.frozen
class Charge:
    """What an item takes, or took, of both budgets."""

    images: int
    usd: float


class Budgets:
    """Both budgets of a job: what is taken is taken of both, or of neither.

    Args:
        images: how many may be asked for.
        cost: US dollars that may be spent.
    """

    def __init__(self, images: Budget, cost: Budget) -> None:
        self.images: Final = images
        self.cost: Final = cost

    def find_exhausted(self, charge: Charge) -> Exhausted | None:
        """Tell which budget has no room for it; None: both have."""
        if not self.images.has_room_for(charge.images):
            return "max_images"
        return None if self.cost.has_room_for(charge.usd) else "max_cost"

    def take(self, charge: Charge) -> bool:
        """Take so much of both if it is left; tell whether it was."""
        if self.find_exhausted(charge) is not None:
            return False
        return self.images.take(charge.images) and self.cost.take(charge.usd)

    def settle(self, *, taken: Charge, used: Charge) -> None:
        """Give back what was taken and not used; what was used and not taken is taken now, room or not."""
        self.images.settle(taken=taken.images, used=used.images)
        self.cost.settle(taken=taken.usd, used=used.usd)
